"""What lies between two readings where that is no straight line: angles, quaternions, states.

An angle that goes from 179 to -179 degrees has moved by two and not by 358; a quaternion and its negative are
one orientation, and a sensor may change from one to the other; between two states there is none. Resampled as
they are written, such columns show what never was.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Float64

from plait.errors import DataError, quote
from plait.patterns import matching
from plait.types import Readings

Ends = tuple[float, float]
SLACK_S = 1e-6  # epoch seconds in 64 bits are no finer
BEYOND = 0.01  # of a turn, by which an angle may pass its ends: rounding, a sensor's slack


@dataclass(frozen=True)
class Between:
    """Columns of a log, by their numbers, that are not linear between readings.

    Args:
        circular: angles and their two ends, which are one direction: `(column, low, high)`.
        quaternions: the four columns of each.
        held: columns that stay at a reading until the next one.
    """

    circular: tuple[tuple[int, float, float], ...] = ()
    quaternions: tuple[tuple[int, ...], ...] = ()
    held: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.circular or self.quaternions or self.held)

    @property
    def columns(self) -> list[int]:
        """All of them."""
        circular = (column for column, _, _ in self.circular)
        return sorted({*circular, *(c for four in self.quaternions for c in four), *self.held})

    def joined(self, other: "Between") -> "Between":
        """Both; of a column that both speak of, what this one says."""
        mine = {*self.columns}
        circular = [*self.circular, *(one for one in other.circular if one[0] not in mine)]
        fours = [*self.quaternions, *(four for four in other.quaternions if mine.isdisjoint(four))]
        return Between(
            tuple(sorted(circular)), tuple(fours), (*self.held, *(c for c in other.held if c not in mine))
        )

    def named(self, names: Sequence[str]) -> "Named":
        """The same by the names of columns."""
        return Named(
            {names[column]: (low, high) for column, low, high in self.circular},
            tuple(tuple(names[column] for column in four) for four in self.quaternions),
            tuple(names[column] for column in self.held),
        )

    def known(self, values: Float32[np.ndarray, "n columns"]) -> Bool[np.ndarray, "n columns"]:
        """Which of the numbers `(n, columns)` are known: of a quaternion all four or none."""
        known: np.ndarray = np.isfinite(values)
        for four in self.quaternions:
            known[:, four] = known[:, four].all(axis=1, keepdims=True)
        return known


LINEAR = Between()


@dataclass(frozen=True)
class Named:
    """The same, as files say it: by names of columns, or patterns of them.

    Args:
        circular: the ends of angles; false: it only looks like one.
        quaternions: names of four columns each.
        held: names.
    """

    circular: Mapping[str, Ends | bool] = field(default_factory=dict)
    quaternions: tuple[tuple[str, ...], ...] = ()
    held: tuple[str, ...] = ()

    def of(self, names: Sequence[str], scale: float = 1.0) -> Between:
        """Where these are among a log's columns.

        Args:
            names: of the log's columns.
            scale: what the log's numbers have been multiplied by, which the ends have not.

        Raises:
            DataError: a column is not there, or is meant twice; ends are none; a quaternion has not four.
        """
        circular: dict[int, Ends] = {}
        straight: set[int] = set()
        for pattern, ends in self.circular.items():
            places = _places(pattern, names, "circular")
            if ends is False:
                straight |= {*places}
                continue
            if ends is True or not (math.isfinite(ends[1] - ends[0]) and ends[0] < ends[1]):
                raise DataError(f"circular.{pattern}: {ends}, expected its two ends, such as [-180, 180]")
            low, high = sorted(end * scale for end in ends)
            circular |= dict.fromkeys(places, (low, high))
        for four in self.quaternions:
            if len(four) != 4:
                raise DataError(f"quaternions: {quote(list(four))}, expected the names of four columns")
        fours = tuple(
            tuple(place for name in four for place in _places(name, names, "quaternions"))
            for four in self.quaternions
        )
        held = tuple(dict.fromkeys(place for name in self.held for place in _places(name, names, "held")))
        found = Between(tuple((c, *circular[c]) for c in sorted(circular.keys() - straight)), fours, held)
        every = [c for c, _, _ in found.circular] + [c for four in fours for c in four] + list(held)
        if twice := [names[c] for c in found.columns if every.count(c) > 1]:
            raise DataError(f"column {twice[0]!r} is meant twice by circular, quaternions and held")
        if wrong := [four for four, places in zip(self.quaternions, fours, strict=True) if len(places) != 4]:
            raise DataError(f"quaternions: {quote(list(wrong[0]))}, expected the names of four columns")
        return found


def _places(pattern: str, names: Sequence[str], setting: str) -> list[int]:
    found = matching(pattern, names)
    if not found:
        raise DataError(f"{setting}: no column {pattern!r}, expected some of: {', '.join(names)}")
    return [names.index(name) for name in found]


def check(between: Between, names: Sequence[str], values: np.ndarray) -> None:
    """Refuse angles beyond their ends.

    Raises:
        DataError: one is.
    """
    for column, low, high in between.circular:
        slack, finite = BEYOND * (high - low), values[np.isfinite(values[:, column]), column]
        far = finite[(finite < low - slack) | (finite > high + slack)]
        if len(far):
            ends = f"expected {low:g} to {high:g}, the ends that circular says"
            raise DataError(f"column {names[column]!r} holds {far[0]:g}, {ends}")


@dataclass(frozen=True, eq=False)
class Straight:
    """Readings without a gap, some of whose columns are not linear, made so.

    Of angles whole turns are added, of quaternions signs changed, so that readings follow each other closely.
    Where nothing passes an end and no sign changes, that is nothing.

    Args:
        readings: one row per time, as they are written.
        turns: that are added to each number, `(n, columns)`.
        signs: that each is multiplied by.
        ends: of each column, infinite if it is no angle.
        held: columns that are held.
    """

    readings: Readings
    turns: Float64[np.ndarray, "n columns"]
    signs: Float64[np.ndarray, "n columns"]
    ends: Float64[np.ndarray, "2 columns"]
    held: list[int]

    @classmethod
    def of(cls, between: Between, columns: np.ndarray, readings: Readings) -> "Straight | None":
        """Some of a log's columns, None if all of them are linear."""
        place = {column: number for number, column in enumerate(columns.tolist())}
        values = readings.values.astype(np.float64)
        turns, signs = np.zeros_like(values), np.ones_like(values)
        ends = np.full((2, len(columns)), [[-np.inf], [np.inf]])
        for column, low, high in between.circular:
            if column in place:
                moves = np.diff(values[:, place[column]]) / (high - low)
                turns[1:, place[column]] = -np.cumsum(np.rint(moves))
                ends[:, place[column]] = low, high
        for four in between.quaternions:
            if four[0] in place:
                at = [place[column] for column in four]
                against = (values[1:, at] * values[:-1, at]).sum(axis=1) < 0
                signs[1:, at] = np.cumprod(np.where(against, -1.0, 1.0))[:, None]
        held = [place[column] for column in between.held if column in place]
        if not (held or np.isfinite(ends).any() or any(four[0] in place for four in between.quaternions)):
            return None
        return cls(readings, turns, signs, ends, held)

    def around(self, seconds: np.ndarray, reach_s: float) -> Readings:
        """What decides readings at `seconds`, as they follow from the one before the first of these."""
        times = self.readings.times
        first = max(int(np.searchsorted(times, seconds.min() - reach_s, side="right")) - 1, 0)
        rows = slice(first, int(np.searchsorted(times, seconds.max() + reach_s)) + 1)
        begun = self._before(seconds.min())
        values = self.readings.values[rows] * (self.signs[rows] * self.signs[begun])
        turn = np.where(np.isfinite(self.ends[0]), self.ends[1] - self.ends[0], 0.0)
        return Readings(times[rows], values + (self.turns[rows] - self.turns[begun]) * turn)

    def told(self, seconds: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What was found by `around` for `seconds`, as the sensor tells it: between its ends, in its sign."""
        rows = self._before(seconds)
        values = values * (self.signs[rows] * self.signs[self._before(seconds.min())])
        for column in np.flatnonzero(np.isfinite(self.ends[0])):
            (low, high), angles = self.ends[:, column], values[:, column]
            turns = np.ceil(np.maximum(angles - high, 0) / (high - low))
            turns -= np.ceil(np.maximum(low - angles, 0) / (high - low))
            values[:, column] = angles - turns * (high - low)
        values[:, self.held] = self.readings.values[rows][:, self.held]
        return values

    def _before(self, seconds: np.ndarray) -> np.ndarray:
        """The row of the last reading at or before each moment, the first of all before that."""
        found = np.searchsorted(self.readings.times, seconds + SLACK_S, side="right") - 1
        return np.asarray(np.maximum(found, 0))
