"""Logs of data sets: the rows of a file, read when they are asked for, with their times and their gaps."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from plait.clips.windows import ROUNDING_S
from plait.contents import describe
from plait.errors import DataError, one_line
from plait.recordings.sensors import low_passed, reach_s
from plait.recordings.unended import check_end
from plait.store import checksum, content_key, read_bytes
from plait.types import Readings

Read = Callable[[Path], np.ndarray]  # a file's values, `(rows, *reading)`, float32
OPEN = 24  # files whose values are kept: clips are cut recording by recording


class Kept(NamedTuple):
    """Which rows of a file are readings, and when: those with finite numbers, in order, one a moment."""

    times: np.ndarray
    rows: np.ndarray
    lost: int  # rows without a time of their own, or with something else than finite numbers
    moved: bool  # whether rows were out of order


def kept(times: np.ndarray, values: np.ndarray) -> Kept:
    """The readings among a file's rows, `times` in whatever unit; of several of one moment the first."""
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    whole = np.flatnonzero(np.isfinite(times) & finite)
    found, first = np.unique(times[whole], return_index=True)
    moved = bool((np.diff(times[whole]) < 0).any())
    return Kept(found, whole[first], len(times) - len(found), moved)


def columns_of(file: Path, columns: Mapping[str, type[pl.DataType]]) -> tuple[pl.DataFrame, list[str]]:
    """These columns of a CSV file with a header, in this order, and the names of its others.

    An empty cell is null.

    Raises:
        DataError: a column is missing or there twice, a cell is not of its kind, or the file was cut off.
    """
    content = read_bytes(file)
    check_end(file, content, ",", header=True)
    line = content.split(b"\n", 1)[0].decode("utf-8-sig", "replace")
    names = [name.strip().strip('"') for name in line.split(",")]
    for name in columns:
        if names.count(name) != 1:
            got = f"column {name!r} {names.count(name)} times" if name in names else f"no column {name!r}"
            raise DataError(f"{file}: {got}, expected {', '.join(columns)}")
    try:
        table = pl.read_csv(io.BytesIO(content), columns=list(columns), schema_overrides=dict(columns))
    except pl.exceptions.PolarsError as error:
        why = one_line(error).partition(" The current offset")[0]
        raise DataError(f"{file}: cannot be read, expected numbers and names: {why}") from error
    return table.select(list(columns)), [name for name in names if name not in columns]


@dataclass(frozen=True, eq=False)
class Log:
    """A `Stream` of one file, whose values are read when they are asked for.

    It is linear between its readings. Asked at a lower rate than its own, it is low-passed, as logs of
    recordings are (`plait.recordings.sensors.SensorLog`): what the lower rate cannot show is no slow motion.

    Args:
        file: where they lie.
        read: how they are read: all rows of the file.
        times: of the readings, in seconds on the recording's clock, strictly increasing.
        rows: which of the file's rows they are.
        gap_s: two readings that lie farther apart have a gap between them, in which nothing is known.
    """

    file: Path
    read: Read
    times: np.ndarray
    rows: np.ndarray
    gap_s: float

    @cached_property
    def content(self) -> str:
        """The file's checksum when it was first looked at."""
        return checksum(self.file)

    @cached_property
    def content_key(self) -> str:
        """Equal for equal files that are read alike, at the same times."""
        return content_key([self.content, describe([self.read, self.times, self.rows, self.gap_s])])

    @cached_property
    def rate_hz(self) -> float:
        """Readings a second by the median of their spacing, 0 of a single reading."""
        spacing_s = float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0
        return 1.0 / spacing_s if spacing_s > 0 else 0.0

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Readings at `seconds`, interpolated linearly, shape `(len(seconds), *reading)`.

        Where their median spacing is that of a rate below 0.95 of the log's, a low-pass comes first.

        Raises:
            DataError: the file cannot be read any more, or is another by now.
        """
        values = _values(self.file, self.read, self.content)
        if not len(seconds):
            return np.empty((0, *values.shape[1:]), np.float32)
        spacing_s = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
        around_s = reach_s(spacing_s, self.rate_hz)
        first, last = np.searchsorted(self.times, [np.min(seconds) - around_s, np.max(seconds) + around_s])
        near = slice(max(int(first) - 1, 0), int(last) + 1)
        readings = Readings(self.times[near], values[self.rows[near]])
        if not around_s:
            return readings.at(seconds)
        flat = replace(readings, values=readings.values.reshape(len(readings.times), -1))
        within = np.clip(seconds, self.times[0], self.times[-1])
        found = low_passed(flat, within, spacing_s, self.rate_hz)
        return found.reshape(len(seconds), *values.shape[1:])

    def has(self, seconds: np.ndarray) -> np.ndarray:
        """At which of `seconds` there is a reading, or one on either side and no gap: `(len(seconds),)`."""
        lasts_s = 1.0 / self.rate_hz if self.rate_hz else 0.0
        after = np.searchsorted(self.times, seconds - ROUNDING_S)
        before_s = self.times[np.clip(after - 1, 0, None)]
        after_s = self.times[np.clip(after, None, len(self.times) - 1)]
        whole = (after_s - before_s <= self.gap_s) | (np.abs(after_s - seconds) <= ROUNDING_S)
        begun = seconds >= self.times[0] - ROUNDING_S
        inside: np.ndarray = whole & begun & (seconds <= self.times[-1] + lasts_s + ROUNDING_S)
        return inside


@lru_cache(maxsize=OPEN)
def _values(file: Path, read: Read, content: str) -> np.ndarray:
    """All values of a file that has this checksum."""
    if checksum(file) != content:
        raise DataError(f"{file}: changed while it was read")
    return read(file)
