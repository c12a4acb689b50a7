"""What lies between two readings where that is no straight line: angles, quaternions, states.

An angle that goes from 179 to -179 degrees has moved by two and not by 358; a quaternion and its negative are
one orientation, and a sensor may change from one to the other; between two states there is none. Resampled as
they are written, such columns show what never was.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64

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
        linear: columns that only look like one of these, as somebody has said.
    """

    circular: tuple[tuple[int, float, float], ...] = ()
    quaternions: tuple[tuple[int, ...], ...] = ()
    held: tuple[int, ...] = ()
    linear: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.circular or self.quaternions or self.held)

    @property
    def columns(self) -> list[int]:
        """All that are not linear."""
        circular = (column for column, _, _ in self.circular)
        return sorted({*circular, *(c for four in self.quaternions for c in four), *self.held})

    def joined(self, other: "Between") -> "Between":
        """Both; of a column that both speak of, what this one says."""
        mine = {*self.columns, *self.linear}
        circular = [*self.circular, *(one for one in other.circular if one[0] not in mine)]
        fours = [*self.quaternions, *(four for four in other.quaternions if mine.isdisjoint(four))]
        held, linear = (
            (*own, *(column for column in others if column not in mine))
            for own, others in ((self.held, other.held), (self.linear, other.linear))
        )
        return Between(tuple(sorted(circular)), tuple(fours), held, linear)

    def named(self, names: Sequence[str]) -> "NamedColumns":
        """The same by the names of columns."""
        circular: dict[str, Ends | bool] = {names[column]: (low, high) for column, low, high in self.circular}
        circular |= {names[column]: False for column in self.linear}
        fours = tuple(tuple(names[column] for column in four) for four in self.quaternions)
        return NamedColumns(circular, fours, tuple(names[column] for column in self.held))

    def known(self, values: np.ndarray) -> Bool[np.ndarray, "n columns"]:
        """Which of the numbers `(n, columns)` are known: of a quaternion all four or none."""
        known: np.ndarray = np.isfinite(values)
        for four in self.quaternions:
            known[:, four] = known[:, four].all(axis=1, keepdims=True)
        return known


LINEAR = Between()


@dataclass(frozen=True)
class NamedColumns:
    """The same, as files say it: by names of columns, or patterns of them, behind which names go.

    Args:
        circular: the ends of angles; false: it only looks like one.
        quaternions: names of four columns each; false: there are none, whatever looks like one.
        held: names.
    """

    circular: Mapping[str, Ends | bool] = field(default_factory=dict)
    quaternions: tuple[tuple[str, ...], ...] | bool = ()
    held: tuple[str, ...] = ()

    @property
    def fours(self) -> tuple[tuple[str, ...], ...]:
        """The quaternions that there are."""
        return () if isinstance(self.quaternions, bool) else self.quaternions

    @property
    def spoken_of(self) -> set[str]:
        """All names and patterns."""
        return {*self.circular, *self.held, *(name for four in self.fours for name in four)}

    def of(self, names: Sequence[str], scale: float = 1.0) -> Between:
        """Where these are among a log's columns.

        Args:
            names: of the log's columns.
            scale: what the log's numbers have been multiplied by, which the ends have not.

        Raises:
            DataError: a column is not there, or is meant twice; ends are none; a quaternion has not four.
        """
        if self.quaternions is True:
            raise DataError("quaternions: True, expected the names of four columns each, or false")
        circular = {names.index(name): ends for name, ends in self.circular.items() if name in names}
        by_pattern: dict[int, Ends | bool] = {}
        for pattern, ends in self.circular.items():
            if ends is True or (ends and not (math.isfinite(ends[1] - ends[0]) and ends[0] < ends[1])):
                raise DataError(f"circular.{pattern}: {ends}, expected its two ends, such as [-180, 180]")
            for column in [] if pattern in names else _places(pattern, names, "circular"):
                if by_pattern.setdefault(column, ends) != ends:
                    raise DataError(f"column {names[column]!r} is meant twice by circular")
        fours = tuple(
            tuple(place for name in four for place in _places(name, names, "quaternions"))
            for four in self.fours
        )
        if wrong := [four for four, at in zip(self.fours, fours, strict=True) if len({*at}) != 4]:
            raise DataError(f"quaternions: {quote(list(wrong[0]))}, expected the names of four columns")
        held = tuple(dict.fromkeys(place for name in self.held for place in _places(name, names, "held")))
        angles: list[tuple[int, float, float]] = []
        for column, ends in sorted({**by_pattern, **circular}.items()):
            if not isinstance(ends, bool):
                low, high = sorted(end * scale for end in ends)
                angles.append((column, low, high))
        linear = tuple(c for c, ends in sorted({**by_pattern, **circular}.items()) if ends is False)
        every = [c for c, _, _ in angles] + [c for four in fours for c in four] + [*held]
        if twice := [names[column] for column in every if every.count(column) > 1]:
            raise DataError(f"column {twice[0]!r} is meant twice by circular, quaternions and held")
        return Between(tuple(angles), fours, held, linear)


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
            ends = f"expected {low:g} to {high:g}, the ends that circular says; is it a reading (missing)?"
            raise DataError(f"column {names[column]!r} holds {far[0]:g}, {ends}")


def carried(between: Between, times: np.ndarray, values: np.ndarray, max_gap_s: float) -> None:
    """Fill empty cells of states in place: one stays until the next, as long as there are rows.

    Args:
        between: which columns.
        times: of the rows, `(n,)`, in seconds.
        values: `(n, columns)`, NaN where a cell is empty.
        max_gap_s: where rows are farther apart, nothing is known in between.
    """
    stretch = np.concatenate([[0], np.cumsum(np.diff(times) > max_gap_s + SLACK_S)])
    for column in between.held:
        rows = np.maximum.accumulate(np.where(np.isfinite(values[:, column]), np.arange(len(times)), -1))
        there = (rows >= 0) & (stretch[rows] == stretch)
        values[there, column] = values[rows[there], column]


def completed(between: Between, times: np.ndarray, values: np.ndarray, max_gap_s: float) -> None:
    """The same, and at both ends the nearest reading as far as `max_gap_s`, as of linear columns."""
    carried(between, times, values, max_gap_s)
    known = between.known(values)
    circular = ([column] for column, _, _ in between.circular)
    for columns in (*circular, *map(list, between.quaternions), *([column] for column in between.held)):
        rows = np.flatnonzero(known[:, columns[0]])
        for end, hole in ((0, slice(0, rows[0])), (-1, slice(rows[-1] + 1, None))) if len(rows) else ():
            if len(times[hole]) and abs(times[end] - times[rows[end]]) <= max_gap_s + SLACK_S:
                values[hole, columns] = values[rows[end], columns]


@dataclass(frozen=True, eq=False)
class Straight:
    """Readings without a gap, some of whose columns are not linear, made so.

    Of angles whole turns are added, of quaternions signs changed, so that readings follow each other closely.
    Where nothing passes an end and no sign changes, that is nothing.

    Args:
        readings: one row per time, as they are written.
        turns: that are added to each number, `(n, columns)`.
        passed: how often an end was passed until there, `(n, columns)`.
        signs: that each number is multiplied by, `(n, columns)`.
        ends: of each column, infinite if it is no angle.
        held: columns that are held.
    """

    readings: Readings
    turns: Float64[np.ndarray, "n columns"]
    passed: Float64[np.ndarray, "n columns"]
    signs: Float64[np.ndarray, "n columns"]
    ends: Float64[np.ndarray, "2 columns"]
    held: list[int]

    @classmethod
    def of(cls, between: Between, columns: np.ndarray, readings: Readings) -> "Straight | None":
        """Some of a log's columns, None if all of them are linear."""
        if not {*between.columns} & {*columns.tolist()}:
            return None
        place = {column: number for number, column in enumerate(columns.tolist())}
        values = readings.values.astype(np.float64)
        turns, passed, signs = np.zeros_like(values), np.zeros_like(values), np.ones_like(values)
        ends = np.full((2, len(columns)), [[-np.inf], [np.inf]])
        for column, low, high in between.circular:
            if column in place:
                moves = np.rint(np.diff(values[:, place[column]]) / (high - low))
                turns[1:, place[column]] = -np.cumsum(moves)
                passed[1:, place[column]] = np.cumsum(np.abs(moves))
                ends[:, place[column]] = low, high
        for four in between.quaternions:
            if four[0] in place:
                at = [place[column] for column in four]
                against = (values[1:, at] * values[:-1, at]).sum(axis=1) < 0
                signs[1:, at] = np.cumprod(np.where(against, -1.0, 1.0))[:, None]
        held = [place[column] for column in between.held if column in place]
        return cls(readings, turns, passed, signs, ends, held)

    def around(self, seconds: np.ndarray, reach_s: float) -> Readings:
        """What decides readings at `seconds`, made straight from the one before the first of these on."""
        times = self.readings.times
        first = int(self._before(seconds.min() - reach_s))
        rows = slice(first, int(np.searchsorted(times, seconds.max() + reach_s)) + 1)
        begun = self._before(seconds.min())
        values = self.readings.values[rows] * (self.signs[rows] * self.signs[begun])
        turn = np.where(np.isfinite(self.ends[0]), self.ends[1] - self.ends[0], 0.0)
        return Readings(times[rows], values + (self.turns[rows] - self.turns[begun]) * turn)

    def as_written(self, values: np.ndarray, seconds: np.ndarray, reach_s: float) -> np.ndarray:
        """What was made of `around` for `seconds`, as the sensor would write it: its turn and its sign.

        Between its ends, too, where an end is passed within reach; elsewhere it is what it would be of any
        column, for at rest at an end a filter's last ripple is no turn.
        """
        rows, begun = self._before(seconds), self._before(seconds.min())
        values = values * (self.signs[rows] * self.signs[begun])
        earliest = self._before(seconds - reach_s)
        latest = np.minimum(np.searchsorted(self.readings.times, seconds + reach_s), len(self.turns) - 1)
        for column in np.flatnonzero(np.isfinite(self.ends[0])):
            low, high = self.ends[:, column]
            angles = values[:, column] - (self.turns[rows, column] - self.turns[begun, column]) * (high - low)
            passing = self.passed[latest, column] > self.passed[earliest, column]
            over = np.ceil(np.maximum(angles - high, 0) / (high - low))
            under = np.ceil(np.maximum(low - angles, 0) / (high - low))
            values[:, column] = angles - passing * (over - under) * (high - low)
        values[:, self.held] = self.readings.values[rows][:, self.held]
        return values

    def _before(self, seconds: np.ndarray) -> np.ndarray:
        """The row of the last reading at or before each moment, the first of all before that."""
        found = np.searchsorted(self.readings.times, seconds + SLACK_S, side="right") - 1
        return np.asarray(np.maximum(found, 0))
