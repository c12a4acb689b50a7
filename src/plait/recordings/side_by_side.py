"""Sensors side by side in one table, each with a column of times of its own."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from plait.recordings.columns import PLAIN_TIMES, TIMES, WORD, numbers_in
from plait.recordings.tables import Table
from plait.recordings.time_units import IN_NAMES

PART = re.compile(rf"{WORD.pattern}|\d+")
PADDED = 0.01  # share of rows in which one clock says something and the other does not
APART = 0.1  # share of a log's length by which two clocks that go differently part


class Beside(NamedTuple):
    """A column of times of its own, and the readings that go with it by their names."""

    time: str
    columns: tuple[str, ...]


def beside(table: Table, time: str, columns: Sequence[str]) -> list[Beside]:
    """The readings among `columns` that have other times than those in the column `time`.

    By their names they go with another column of times (`R_time` and `R_x`, `time_2` and `x_2`) and not with
    `time`; and that other one is filled in other rows, or goes at another pace.
    """
    sensors = []
    for other in table.frame.columns:
        mark = _mark(other, columns)
        if other == time or not mark or mark <= set(_parts(time)) or not _part_ways(table, time, other):
            continue
        marked = tuple(name for name in columns if name != other and mark <= set(_parts(name)))
        if marked:
            sensors.append(Beside(other, marked))
    return sensors


def _parts(name: str) -> list[str]:
    return [part.lower() for part in PART.findall(name)]


def _mark(name: str, columns: Sequence[str]) -> frozenset[str]:
    """What a column of times is called beside that and its unit, none where it is none.

    What is no unit elsewhere is none here: beside `hr_x`, `time_hr` is no time in hours.
    """
    parts = frozenset(_parts(name))
    if not parts & (TIMES | PLAIN_TIMES):
        return frozenset()
    first = {_parts(column)[0] for column in columns if _parts(column)}
    return parts - TIMES - PLAIN_TIMES - (IN_NAMES.keys() - first)


def _part_ways(table: Table, time: str, other: str) -> bool:
    """Whether two columns of times are of two clocks: filled in other rows, or at another pace."""
    times, others = numbers_in(table, time), numbers_in(table, other)
    if times is None or others is None:
        filled = [table.frame[name].is_not_null().to_numpy() for name in (time, other)]
        return bool(np.mean(filled[0] != filled[1]) > PADDED)
    if np.mean(np.isfinite(times) != np.isfinite(others)) > PADDED:
        return True
    both = np.isfinite(times) & np.isfinite(others)
    if not both.any():
        return True
    times, others = times[both] - times[both][0], others[both] - others[both][0]
    if not np.ptp(times) or not np.ptp(others):
        return False
    unit = 10.0 ** np.round(np.log10(np.ptp(others) / np.ptp(times)))
    return bool(np.max(np.abs(others / unit - times)) > APART * np.ptp(times))
