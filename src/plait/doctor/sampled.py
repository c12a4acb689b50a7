"""What checks see of a stream: all of its times, and as many of its readings as fit into little memory.

A recording of an hour is never read whole: signals beyond `NUMBERS` are read in stretches of consecutive
readings, spread evenly; of pictures 240 to 2000, the more the smaller they are, in bursts of neighbours, each
made small at once. What has more than `WIDEST` numbers a reading and is no picture is a grid of features or
a cloud of points: its numbers are no channels, and only copies of them are looked for.
"""

import functools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from plait.recordings.folder import unsynced
from plait.recordings.sensors import SensorLog
from plait.types import Readings, Recording, Stream

NUMBERS = 4_000_000  # of a signal, 16 MB
STRETCHES = 64  # in which a longer one is read
PICTURES, MOST_PICTURES, BURST = 240, 2000, 4  # as many as fit into `AT_ONCE`, within these
AT_ONCE = 16_000_000  # numbers of pictures that are asked for in one call
WIDEST = 512  # numbers of a reading that are channels; a network's features have no unit and no range
SIDE = 32  # of a small picture, at most
PICTURE = 8  # rows and columns of a picture, at least


@dataclass(frozen=True, eq=False)
class Signal:
    """A stream of numbers.

    Args:
        times: `(n,)`, of all of its readings.
        rows: `(m,)`, which of these were read, ascending.
        values: `(m, channels)`, NaN where unknown.
        names: of the channels.
        axes: `(triples, 3)`, which channels are axes x, y, z of one kind.
    """

    times: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    names: tuple[str, ...]
    axes: np.ndarray

    @property
    def neighbours(self) -> np.ndarray:
        """`(m - 1,)`, whether a reading that was read is followed by the next one of the stream."""
        return np.asarray(np.diff(self.rows) == 1)


@dataclass(frozen=True, eq=False)
class Pictures:
    """A stream of pictures.

    Args:
        times: `(n,)`, of all of them.
        rows: `(m,)`, which of these were looked at, ascending.
        small: `(m, height, width)`, grey, at most `SIDE` a side.
        change: `(m,)`, mean absolute difference to the one before, in levels; NaN where that was not seen.
        levels: how many there are, 256 of a camera's, else None.
    """

    times: np.ndarray
    rows: np.ndarray
    small: np.ndarray
    change: np.ndarray
    levels: int | None


class _Same:
    """A stream as a key: equal to itself alone."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __hash__(self) -> int:
        return id(self.stream)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.stream is self.stream


def signals(recording: Recording, widest: float = WIDEST) -> Iterator[tuple[str, Signal]]:
    """The streams of numbers, by name; what has more than `widest` numbers a reading is a network's features.

    Raises:
        DataError: a stream cannot be read.
    """
    for name, stream in recording.streams.items():
        if of_pictures(name, stream) or _one(stream).size > widest:
            continue
        if (found := _signal(_Same(stream))) is not None:
            yield name, found


def pictures(recording: Recording) -> Iterator[tuple[str, Pictures]]:
    """The streams of pictures, by name.

    Raises:
        DataError: a stream cannot be read.
    """
    for name, stream in recording.streams.items():
        if of_pictures(name, stream) and (found := _pictures(_Same(stream))) is not None:
            yield name, found


_FILMS: set[tuple[type, str]] = set()  # kinds of streams that a name has stood for, and that gave pictures


def of_pictures(name: str, stream: Stream) -> bool:
    """Whether a stream is of pictures; what is decoded when asked for is asked once in a process.

    Raises:
        DataError: it cannot be read.
    """
    if (type(stream), name) in _FILMS:
        return True
    shape, own = getattr(stream, "shape", None), _held(stream)
    if own is not None:
        shape = own.shape[1:]
    elif not isinstance(shape, tuple):
        if not (one := _one(stream)).size or not _is_picture(one.shape):
            return False
        _FILMS.add((type(stream), name))
        return True
    return _is_picture(shape)


def kind(recording: Recording) -> str:
    """The activity, where a recording shows a single one; else none."""
    activities = {span.activity for span in recording.spans}
    return activities.pop() if len(activities) == 1 else ""


def _held(stream: Stream) -> np.ndarray | None:
    """The readings of a stream that lies in memory."""
    log = unsynced(stream)
    return log.values if isinstance(log, SensorLog | Readings) else None


def _one(stream: Stream) -> np.ndarray:
    """A stream's first reading; nothing of one without any."""
    times = np.asarray(stream.times, np.float64)
    held = _held(stream)
    return np.asarray(held[:1] if held is not None else stream.at(times[:1]))[0] if len(times) else times


def _is_picture(shape: Sequence[int]) -> bool:
    flat = len(shape) == 2 or (len(shape) == 3 and shape[2] <= 4)
    return flat and min(shape[:2]) >= PICTURE


@functools.lru_cache(maxsize=16)  # checks look at one recording after the other
def _signal(same: _Same) -> Signal | None:
    stream = same.stream
    times, one = np.asarray(stream.times, np.float64), _one(stream)
    if len(times) == 0 or one.size == 0 or one.dtype.kind not in "fiub":
        return None
    log = unsynced(stream)
    held = _held(stream)
    rows = _stretches(len(times), max(NUMBERS // max(one.size, 1), STRETCHES), STRETCHES)
    values = np.asarray(held[rows] if held is not None else stream.at(times[rows]), np.float32)
    names = log.names if isinstance(log, SensorLog) else _places(one.shape)
    axes = _named_axes(names) if isinstance(log, SensorLog) else _placed_axes(one.shape)
    return Signal(times, rows, values.reshape(len(rows), -1), names, axes)


def _stretches(count: int, most: int, stretches: int) -> np.ndarray:
    """At most about `most` of `count` rows, in runs of neighbours that are spread evenly."""
    if count <= most:
        return np.arange(count)
    length = max(most // stretches, 1)
    starts = np.linspace(0, count - length, stretches).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(length))


@functools.lru_cache(maxsize=4)
def _pictures(same: _Same) -> Pictures | None:
    stream = same.stream
    times, one = np.asarray(stream.times, np.float64), _one(stream)
    if len(times) == 0 or one.dtype.kind not in "fiub":
        return None
    most = min(max(AT_ONCE // one.size, PICTURES), MOST_PICTURES)
    rows = _stretches(len(times), most, most // BURST)
    step = max(AT_ONCE // one.size // BURST, 1) * BURST
    small, change, before, row_before = [], [], None, -2
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        for row, picture in zip(some, stream.at(times[some]), strict=True):
            near = before is not None and before.shape == picture.shape and row == row_before + 1
            change.append(_difference(before, picture) if near and before is not None else math.nan)
            small.append(_small(picture))
            before, row_before = picture, int(row)
    levels = 256 if one.dtype == np.uint8 else None
    return Pictures(times, rows, np.array(small), np.array(change), levels)


def _difference(before: np.ndarray, picture: np.ndarray) -> float:
    return float(np.abs(picture.astype(np.float32) - before.astype(np.float32)).mean())


def _small(picture: np.ndarray) -> np.ndarray:
    """Grey, at most `SIDE` a side."""
    grey = picture.astype(np.float32)
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    scale = min(1.0, SIDE / max(grey.shape))
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))


@functools.lru_cache(maxsize=4)  # a grid has many, and all recordings the same
def _places(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names of numbers that have none: their places."""
    places = np.ndindex(*shape)
    return tuple("channel " + ".".join(map(str, place)) if place else "channel" for place in places)


AXIS = re.compile(r"(.*?)([xyz])((?:[ _(\[].*)?)")


def _named_axes(names: Sequence[str]) -> np.ndarray:
    """Channels called alike but for x, y, z, which end a name or stand before its unit."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for place, name in enumerate(names):
        if match := AXIS.fullmatch(name.lower()):
            found.setdefault((match[1], match[3]), {})[match[2]] = place
    triples = [[places[axis] for axis in "xyz"] for places in found.values() if len(places) == 3]
    return np.array(triples, np.int64).reshape(-1, 3)


def _placed_axes(shape: Sequence[int]) -> np.ndarray:
    """Readings whose last axis has three numbers, or of six or nine in a row."""
    if (shape and shape[-1] == 3) or tuple(shape) in ((6,), (9,)):
        return np.arange(math.prod(shape)).reshape(-1, 3)
    return np.zeros((0, 3), np.int64)
