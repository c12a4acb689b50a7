"""Units: lengths of vectors and spreads of channels that a factor between two units puts out of line."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from plait.doctor.finding import Finding
from plait.doctor.peers import MAD, Seen, apart, expected, of_people, plain, seen
from plait.doctor.sampled import Signal, kind, pictures, signals
from plait.doctor.words import listed
from plait.types import Recording

STANDARD_GRAVITY = 9.80665
CONVERSIONS = {  # factors that units are taken for each other by; two or three is what people differ by
    "g and m/s2": STANDARD_GRAVITY,
    "degrees and radians": 180 / math.pi,
    "thousandths and whole units (mm and m, mg and g)": 1000.0,
    "mg and m/s2": 1000 / STANDARD_GRAVITY,
    "cm and m": 100.0,
    "mm and cm": 10.0,
}
STEADY = 0.1  # relative spread of a vector's length up to which it is a constant one, such as gravity's
NEAR = 0.12  # of a constant vector's length: a factor is met so closely, gains of sensors included
NEAR_SPREAD = 0.5  # of a spread, in natural logarithms: people move up to so differently
CANNOT_BE = {  # lengths of gravity that no unit gives, and how they come about
    1 / STANDARD_GRAVITY: "g, divided by 9.81",
    STANDARD_GRAVITY**2: "m/s2, multiplied by 9.81",
    1000 * STANDARD_GRAVITY: "mg, multiplied by 9.81",
    STANDARD_GRAVITY / 1000: "m/s2, divided by 1000",
    1 / 1000: "g, divided by 1000",
}
CLAIMS = (  # what a column's name claims: its unit, gravity's length or the most that limbs turn by
    (re.compile(r"acc.*(m[/_ .]?s\^?-?(2|²)|mps2|ms2)"), "m/s2", STANDARD_GRAVITY),
    (re.compile(r"acc.*[ _(\[]m?g[)\]]?$"), "g", 1.0),
)
TURN = re.compile(r"(gyr|rot|ang|omega)")
MOST_RAD_S = 60.0  # twice what a fast arm reaches: 2000 deg/s are 35 rad/s


class Scale(NamedTuple):
    """A vector's or channel's scale: its median length, the relative spread of that, and its own spread."""

    label: str
    length: float
    steadiness: float
    spread: float
    most: float


def scales(recording: Recording) -> dict[str, list[Scale]]:
    """By stream, the scale of each triple of axes, and of each channel that is in none."""
    found = {name: _scales(signal) for name, signal in signals(recording)}
    for name, seen_ in pictures(recording):
        if seen_.levels is None:
            known = seen_.small[seen_.small > 0]
            level = float(np.median(known)) if len(known) else 0.0
            found[name] = [Scale("", level, math.inf, level, level)]
    return found


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


def conversion(log_ratio: float, near: float) -> str | None:
    """The two units that a ratio is the factor between, up to `near` in natural logarithms."""
    miss = {units: abs(abs(log_ratio) - math.log(factor)) for units, factor in CONVERSIONS.items()}
    nearest = min(miss, key=miss.__getitem__)
    return nearest if miss[nearest] <= near else None


def log_scales(
    facts: Mapping[str, tuple[str, dict[str, list[Scale]]]], stream: str
) -> tuple[dict[str, tuple[str, np.ndarray]], np.ndarray, list[str]]:
    """A stream's logarithmic scales by recording, which of them are lengths of constant vectors, and labels.

    A vector is constant where its length hardly changes in most recordings: gravity, or the earth's field.
    """
    of_stream = {name: (done, found[stream]) for name, (done, found) in facts.items() if stream in found}
    counts = [len(found) for _, found in of_stream.values()]
    count = max(set(counts), key=counts.count)
    of_stream = {name: (done, found) for name, (done, found) in of_stream.items() if len(found) == count}
    steadiness = np.array([[one.steadiness for one in found] for _, found in of_stream.values()])
    constant = np.median(steadiness, axis=0) <= STEADY if count else np.zeros(0, np.bool_)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = {
            name: (
                done,
                np.log(
                    [one.length if fixed else one.spread for one, fixed in zip(found, constant, strict=True)]
                ),
            )
            for name, (done, found) in of_stream.items()
        }
    logs = {name: (done, np.where(np.isfinite(row), row, np.nan)) for name, (done, row) in logs.items()}
    labels = [one.label for one in next(iter(of_stream.values()))[1]]
    return logs, constant, labels


@dataclass(frozen=True)
class Units:
    """A person's numbers are off by the factor between two units; or no unit gives what gravity measures.

    A vector whose length stays within 10 % most of the time is gravity's (or the earth's field): a factor
    must be met to 12 %, and people differ by 3 % anyway. Elsewhere spreads are compared, within an activity
    where three others did it: a factor must be met to half a natural logarithm, and people differ by that.
    Factors are 9.81, 57.3, 1000, 102, 100 and 10, no smaller ones: people differ by two or three. Against one
    other person, or two, nobody is sure, and either may be wrong. Columns whose names claim a unit are held
    to it.
    """

    name: str = "units"

    def look(self, recording: Recording) -> tuple[str, dict[str, list[Scale]]]:
        """The scale of each vector and channel."""
        return kind(recording), scales(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Other units, a finding for each person and stream."""
        every: dict[str, tuple[str, dict[str, list[Scale]]]] = dict(facts)  # type: ignore[arg-type]
        findings = []
        for stream in sorted({name for _, found in every.values() for name in found}):
            findings += self._of_people(stream, every, people)
            findings += self._absolute(stream, every)
        return findings

    def _of_people(
        self, stream: str, every: Mapping[str, tuple[str, dict[str, list[Scale]]]], people: Mapping[str, str]
    ) -> list[Finding]:
        logs, constant, labels = log_scales(every, stream)
        table = seen(logs, people)
        if table is None or not len(labels):
            return []
        tight, loose = apart(table, 0.03), apart(table, NEAR_SPREAD)
        findings = []
        for place, person in enumerate(tight.people):
            hits: dict[str, list[int]] = {}
            for number, fixed in enumerate(constant):
                off = tight if fixed else loose
                shift, clear = float(off.off[place, number]), float(off.clear[place, number])
                units = conversion(shift, NEAR if fixed else NEAR_SPREAD) if math.isfinite(shift) else None
                if units and clear >= CLEAR:
                    hits.setdefault(units, []).append(number)
            for units, numbers in hits.items():
                number = max(numbers, key=lambda one: (constant[one], loose.clear[place, one]))
                off = tight if constant[number] else loose
                shift = float(off.off[place, number])
                what = "length" if constant[number] else "spread"
                which = f" ({labels[number]})" if labels[number] else ""
                findings.append(
                    Finding(
                        self.name,
                        "fault",
                        f"person {person}, {stream}",
                        float(off.sure[place, number]),
                        f"The {what} of {stream}{which} is {plain(math.exp(abs(shift)))} times "
                        f"{'larger' if shift > 0 else 'smaller'} than that of "
                        f"{of_people(len(off.people) - 1)}, as "
                        f"{units} would be.",
                        HARM,
                        "Bring this person's readings to the others' unit."
                        + (" With so few people, look which is right." if len(off.people) < FEW else ""),
                    )
                )
        return findings + self._of_recordings(stream, table, constant, labels, findings)

    def _of_recordings(
        self, stream: str, table: Seen, constant: np.ndarray, labels: list[str], told: list[Finding]
    ) -> list[Finding]:
        """Single recordings that are a factor off what others' say, where their person is not."""
        residuals = table.values - expected(table)
        spread = np.maximum(
            MAD * np.nanmedian(np.abs(residuals), axis=0), np.where(constant, 0.03, NEAR_SPREAD)
        )
        odd: dict[str, tuple[str, int]] = {}
        for row, (name, person) in enumerate(zip(table.names, table.people, strict=True)):
            if any(one.where.startswith(f"person {person},") for one in told):
                continue
            for number in np.flatnonzero(np.abs(residuals[row]) > STRAYS * spread):
                units = conversion(residuals[row, number], NEAR if constant[number] else NEAR_SPREAD)
                if units:
                    odd.setdefault(name, (units, int(number)))
        if not odd or len(set(table.people)) < FEW:
            return []
        worst = next(iter(odd))
        units, number = odd[worst]
        shift = residuals[table.names.index(worst), number]
        which = f" ({labels[number]})" if labels[number] else ""
        return [
            Finding(
                self.name,
                "fault",
                f"recording{'s' if len(odd) > 1 else ''} {listed(list(odd))}, {stream}",
                0.8,
                f"{stream}{which} is {plain(math.exp(abs(shift)))} times "
                f"{'stronger' if shift > 0 else 'weaker'} in "
                f"{worst} than in others' recordings, as {units} would be.",
                HARM,
                "Bring these recordings' readings to the others' unit.",
            )
        ]

    def _absolute(
        self, stream: str, every: Mapping[str, tuple[str, dict[str, list[Scale]]]]
    ) -> list[Finding]:
        logs, constant, labels = log_scales(every, stream)
        lengths = np.exp(np.nanmedian(np.array([row for _, row in logs.values()]), axis=0))
        most = np.nanmedian([[one.most for one in every[name][1][stream]] for name in logs], axis=0)
        findings = []
        for number, label in enumerate(labels):
            said = label.lower()
            claims = [
                (unit, length) for form, unit, length in CLAIMS if any(map(form.search, said.split(", ")))
            ]
            first = number == 0 and label.startswith("channel")
            if constant[number] and (first or "acc" in said):
                why = [
                    how for length, how in CANNOT_BE.items() if abs(math.log(lengths[number] / length)) < NEAR
                ]
                claimed = [
                    f"not {plain(length)} as {unit} would be"
                    for unit, length in claims
                    if abs(math.log(lengths[number] / length)) > 2 * NEAR
                ]
                for reason in why or claimed:
                    findings.append(
                        self._cannot_be(
                            stream,
                            label,
                            f"At rest it measures {plain(lengths[number])}, "
                            + (f"which no unit gives: it looks like {reason}" if why else reason),
                        )
                    )
            if TURN.search(said) and "rad" in said and most[number] > MOST_RAD_S:
                findings.append(
                    self._cannot_be(
                        stream,
                        label,
                        f"It turns by up to {plain(most[number])} rad/s, more than any limb does",
                    )
                )
        return findings

    def _cannot_be(self, stream: str, label: str, what: str) -> Finding:
        return Finding(
            self.name,
            "warning",
            f"all recordings, {stream}",
            0.9,
            f"{stream} ({label}): {what}.",
            "Thresholds and augmentations in physical units are off; features that were trained on right "
            "units fail.",
            "Find out the unit and convert the column.",
        )


CLEAR = 0.8  # a factor that is met is half of the evidence
STRAYS = 5.0  # spreads by which a recording is off at least
HARM = (
    "Networks see a person of another strength altogether; means and standard deviations of training are "
    "spoilt "
    "for everyone."
)
FEW = 4  # people
