"""Streams that a fault has changed, and what it changes of one: its own readings, before any resampling."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from plait.recordings.folder import Synced
from plait.recordings.sensors import SensorLog
from plait.recordings.video import Video
from plait.types import Readings, Stream

MOST = 50_000_000  # numbers of a stream that is read whole
PROBED = 64  # readings at which a stream is asked whether it joins its readings by straight lines
PICTURE = 8  # rows and columns of a picture, at least


class Native(NamedTuple):
    """A stream's own readings, and how a stream of the same kind is made of other ones.

    Args:
        times: `(n,)`, in seconds on the recording's clock.
        values: `(n, *reading)`, floats, NaN where a log knows nothing.
        names: of the columns, where a log has names.
        among: the stream of the readings in the places of a mask `(n,)`, with these values `(n, *reading)`.
    """

    times: np.ndarray
    values: np.ndarray
    names: tuple[str, ...] | None
    among: Callable[[np.ndarray, np.ndarray], Stream]

    def made(self, values: np.ndarray) -> Stream:
        """The stream with other values at the same times."""
        return self.among(np.ones(len(self.times), np.bool_), values)

    def sd(self) -> np.ndarray:
        """Each channel's standard deviation over the recording; of pictures one for all pixels."""
        axis = None if is_picture(self.values.shape[1:]) else 0
        known = np.isfinite(self.values)
        count = np.maximum(known.sum(axis=axis), 1)
        values = np.where(known, self.values, 0.0).astype(np.float64)
        mean = values.sum(axis=axis) / count
        spread: np.ndarray = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=axis) / count)
        return spread


class _Same:
    """A stream as a key: equal to itself alone."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __hash__(self) -> int:
        return id(self.stream)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.stream is self.stream


def native(stream: Stream) -> Native | None:
    """A stream's own readings; None of one that shows what it has as it is: pictures, counts, whole arrays.

    Logs are low-passed and resampled as ever by what `among` makes. Another stream is read whole if it is
    found to join floats by straight lines, as `Readings` does.

    Raises:
        DataError: it cannot be read.
    """
    return _native(_Same(stream))


@functools.lru_cache(maxsize=16)  # clips are taken recording by recording
def _native(same: _Same) -> Native | None:
    stream: Any = same.stream
    if type(stream) is Readings:
        if stream.values.dtype.kind != "f":
            return None
        return Native(stream.times, stream.values, None, lambda m, v: Readings(stream.times[m], v[m]))
    if type(stream) is SensorLog:
        return _of_log(stream, stream.times, lambda log: log)
    if type(stream) is Synced:
        return _of_log(stream.log, stream.times, lambda log: Synced(log, stream.clock))
    if isinstance(stream, Video):
        return None
    times = np.asarray(stream.times)
    one = stream.at(times[:1])
    if one.dtype.kind != "f" or one.size * len(times) > MOST:
        return None
    found = times[np.linspace(0, len(times) - 1, min(PROBED, len(times))).astype(int)]
    asked = np.sort(np.concatenate([found, found[:-1] + 0.3 * np.diff(found)]))
    values = stream.at(times)
    if not np.array_equal(Readings(times, values).at(asked), stream.at(asked), equal_nan=True):
        return None
    return Native(times, values, None, lambda m, v: Readings(times[m], v[m]))


def _of_log(log: SensorLog, times: np.ndarray, clocked: Callable[[SensorLog], Stream]) -> Native:
    return Native(
        times, log.values, log.names, lambda m, v: clocked(replace(log, times=log.times[m], values=v[m]))
    )


def reading_of(stream: Stream) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and kind of one reading.

    Raises:
        DataError: it cannot be read.
    """
    values = getattr(stream, "values", None)
    one = values[:1] if isinstance(values, np.ndarray) else stream.at(np.asarray(stream.times)[:1])
    return tuple(one.shape[1:]), one.dtype


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether a reading is a picture: rows and columns, with up to four channels or none of their own."""
    flat = len(shape) == 2 or (len(shape) == 3 and shape[2] <= 4)
    return flat and min(shape[:2]) >= PICTURE


@dataclass(frozen=True, eq=False)
class Altered:
    """A `Stream` whose readings are changed as they are shown: `change` from `(n, *reading)` to the same."""

    base: Stream
    change: Callable[[np.ndarray], np.ndarray]

    @property
    def times(self) -> np.ndarray:
        """Seconds of each reading."""
        return self.base.times

    @property
    def has(self) -> Callable[[np.ndarray], np.ndarray]:
        """As the stream's own, if it has one."""
        found: Callable[[np.ndarray], np.ndarray] = self.base.has  # type: ignore[attr-defined]
        return found

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """What the stream shows, changed; of whole numbers the nearest that they can hold."""
        shown = self.base.at(seconds)
        changed = self.change(shown)
        if shown.dtype.kind in "iu":
            ends = np.iinfo(shown.dtype)
            changed = np.clip(np.rint(changed), ends.min, ends.max)
        kept: np.ndarray = changed.astype(shown.dtype)
        return kept


@dataclass(frozen=True, eq=False)
class Elsewhen:
    """A `Stream` that shows at each moment what it has at another.

    Args:
        base: the stream.
        looked: from seconds asked for to those that are shown, `(n,)`.
        times: seconds of each reading, as they are stamped now.
    """

    base: Stream
    looked: Callable[[np.ndarray], np.ndarray]
    times: np.ndarray

    @property
    def has(self) -> Callable[[np.ndarray], np.ndarray]:
        """As the stream's own, if it has one."""
        found = self.base.has  # type: ignore[attr-defined]
        return lambda seconds: found(self.looked(np.asarray(seconds, dtype=np.float64)))

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """What the stream has at the other moments."""
        return self.base.at(self.looked(np.asarray(seconds, dtype=np.float64)))


def channels(shape: tuple[int, ...]) -> int:
    """How many numbers a reading has."""
    return math.prod(shape)
