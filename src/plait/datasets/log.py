"""Logs of data sets: the rows of a file, read when they are asked for, with their times and their gaps."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plait.clips.windows import ROUNDING_S
from plait.contents import describe
from plait.errors import DataError
from plait.store import checksum, content_key
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
    whole = np.flatnonzero(np.isfinite(times) & np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    found, first = np.unique(times[whole], return_index=True)
    moved = bool((np.diff(times[whole]) < 0).any())
    return Kept(found, whole[first], len(times) - len(found), moved)


@dataclass(frozen=True, eq=False)
class Log:
    """A `Stream` of one file, linear between its readings; its values are read when they are asked for.

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

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Readings at `seconds`, interpolated linearly, shape `(len(seconds), *reading)`.

        Raises:
            DataError: the file cannot be read any more, or is another by now.
        """
        values = _values(self.file, self.read, self.content)
        if not len(seconds):
            return np.empty((0, *values.shape[1:]), np.float32)
        first, last = np.searchsorted(self.times, [np.min(seconds), np.max(seconds)])
        near = slice(max(int(first) - 1, 0), int(last) + 1)
        return Readings(self.times[near], values[self.rows[near]]).at(seconds)

    def has(self, seconds: np.ndarray) -> np.ndarray:
        """At which of `seconds` there is a reading, or one on either side and no gap: `(len(seconds),)`."""
        lasts_s = float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0
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
