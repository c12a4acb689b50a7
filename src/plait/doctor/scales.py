"""Scales: how long vectors are and how far channels spread, and which factors lie between units."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from plait.doctor.peers import MAD, middle
from plait.doctor.sampled import Signal, kind, pictures, signals
from plait.types import Recording

STANDARD_GRAVITY = 9.80665
OF_GRAVITY = {
    "g and m/s2": STANDARD_GRAVITY,
    "mg and g": 1000.0,
    "mg and m/s2": 1000 / STANDARD_GRAVITY,
}
OF_LENGTH = {"mm and m": 1000.0, "cm and m": 100.0, "mm and cm": 10.0}
OF_TURNS = {"degrees and radians": 180 / math.pi}
TURN = re.compile(r"gyr|rot|ang|omega")
STEADY = 0.1  # relative spread of a vector's length up to which it is a constant one, such as gravity's
SAME = 0.06  # natural logarithm by which a person's recordings differ in the length of a constant vector
NEAR = 0.12  # of a constant vector's length: a factor is met so closely, gains of sensors included
NEAR_SPREAD = 0.7  # of a spread, in natural logarithms: people move up to so differently
CONSTANT, SPREAD = 0.05, 0.4  # natural logarithms by which people differ anyway
JOINTS = 4  # triples from which on they are places of a body


class Scale(NamedTuple):
    """A vector or channel in a few numbers.

    Args:
        label: what its channels are called.
        length: the median length of a vector; NaN of a channel.
        steadiness: the spread between its quartiles, by the median.
        spread: the standard deviation, of a vector over its axes.
        most: the length that one in a thousand exceeds.
    """

    label: str
    length: float
    steadiness: float
    spread: float
    most: float


class Scales(NamedTuple):
    """A stream's natural logarithms of scales.

    Args:
        rows: by recording, what was done and `(numbers,)`: of a constant vector its length, else its spread.
        constant: `(numbers,)`, whether it is a constant vector.
        labels: of the numbers.
    """

    rows: dict[str, tuple[str, np.ndarray]]
    constant: np.ndarray
    labels: list[str]

    def factors(self, number: int) -> dict[str, float]:
        """What lies between the units that such a number may have, by their names."""
        label, triples = self.labels[number].lower(), sum("," in label for label in self.labels)
        named = not label.startswith("channel")
        if named and TURN.search(label):
            return OF_TURNS
        if named and "acc" in label:
            return OF_GRAVITY
        if triples > JOINTS:
            return OF_LENGTH
        if not named and triples == 2:  # of six numbers in a row
            return OF_TURNS if number else OF_GRAVITY
        return {**OF_GRAVITY, **OF_LENGTH, **({} if self.constant[number] else OF_TURNS)}

    @property
    def floors(self) -> np.ndarray:
        """`(numbers,)`, what people differ by anyway."""
        return np.asarray(np.where(self.constant, CONSTANT, SPREAD))

    def which(self, number: int) -> str:
        """Which channels a number is of, in words behind a stream's name."""
        return f" ({self.labels[number]})" if self.labels[number] else ""

    def conversion(self, number: int, log_ratio: float) -> str | None:
        """The two units that a ratio is the factor between: met closely by a constant vector, else about.

        Of several, a constant vector's are the first ones, for it is gravity rather than a place.
        """
        near = NEAR if self.constant[number] else NEAR_SPREAD
        factors = self.factors(number)
        miss = {units: abs(abs(log_ratio) - math.log(factor)) for units, factor in factors.items()}
        if not math.isfinite(log_ratio):
            return None
        fitting = [units for units, off in miss.items() if off <= near]
        if self.constant[number] and fitting:
            return fitting[0]
        nearest = min(miss, key=miss.__getitem__)
        return nearest if miss[nearest] <= near else None


def look(recording: Recording, decoded: bool = True) -> tuple[str, dict[str, list[Scale]]]:
    """What was done; and by stream, the scale of each triple of axes and of each channel that is in none.

    Args:
        recording: whose.
        decoded: whether pictures are looked at too, for depths and pressures have units.

    Raises:
        DataError: a stream cannot be read.
    """
    found = {name: _scales(signal) for name, signal in signals(recording)}
    for name, film in pictures(recording) if decoded else ():
        if film.levels is None:  # depths, or pressures
            known = film.small[film.small > 0]
            level = float(np.median(known)) if len(known) else math.nan
            found[name] = [Scale("", math.nan, math.inf, level, math.nan)]
    return kind(recording), found


def _scales(signal: Signal) -> list[Scale]:
    values, scales_ = signal.values.astype(np.float64), []
    in_axes = set(signal.axes.ravel().tolist())
    for triple in signal.axes:
        vectors = values[:, triple]
        vectors = vectors[np.isfinite(vectors).all(axis=1)]
        if len(vectors):
            lengths = np.linalg.norm(vectors, axis=1)
            low, length, high, most = np.quantile(lengths, [0.25, 0.5, 0.75, 0.999])
            spread = math.sqrt(vectors.var(axis=0).sum())
            steadiness = (high - low) / length if length else math.inf
            label = ", ".join(signal.names[place] for place in triple)
        else:
            label, length, steadiness, spread, most = "", math.nan, math.inf, math.nan, math.nan
        scales_.append(Scale(label, float(length), float(steadiness), spread, float(most)))
    for place in range(values.shape[1]):
        if place not in in_axes:
            known = values[np.isfinite(values[:, place]), place]
            spread = float(known.std()) if len(known) else math.nan
            scales_.append(Scale(signal.names[place], math.nan, math.inf, spread, math.nan))
    return scales_


def of_stream(
    facts: Mapping[str, tuple[str, dict[str, list[Scale]]]], stream: str, people: Mapping[str, str]
) -> Scales:
    """A stream's scales in all recordings that have as many of them as most.

    A vector is constant, as gravity is, where its length is that in all of a person's recordings, or, of
    people with a single one, where it hardly changes within most.
    """
    found = {name: (done, streams[stream]) for name, (done, streams) in facts.items() if stream in streams}
    counts = [len(one) for _, one in found.values()]
    count = max(set(counts), key=counts.count)
    found = {name: one for name, one in found.items() if len(one[1]) == count}
    constant = _constant(
        np.array([[scale.length for scale in one] for _, one in found.values()]).reshape(-1, count),
        np.array([[scale.steadiness for scale in one] for _, one in found.values()]).reshape(-1, count),
        [people[name] for name in found],
    )
    rows = {
        name: (
            done,
            _log([s.length if fixed else s.spread for s, fixed in zip(one, constant, strict=True)]),
        )
        for name, (done, one) in found.items()
    }
    return Scales(rows, constant, [scale.label for scale in next(iter(found.values()))[1]])


def _constant(lengths: np.ndarray, steadiness: np.ndarray, people: Sequence[str]) -> np.ndarray:
    """Which of `(recordings, numbers)` are lengths of constant vectors: `(numbers,)`."""
    steady = np.isfinite(lengths).any(axis=0) & (middle(steadiness) <= STEADY)
    owners = np.array(people)
    several = [owners == person for person in set(people) if people.count(person) > 1]
    if 2 * len(several) < len(set(people)):
        return np.asarray(steady)
    logs = _log(lengths)
    own = np.concatenate([np.abs(logs[rows] - middle(logs[rows])) for rows in several])
    return np.asarray((MAD * middle(own) <= SAME) | steady)


def _log(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Natural logarithms, NaN of what has none."""
    known = np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(known > 0, np.log(known), np.nan))
