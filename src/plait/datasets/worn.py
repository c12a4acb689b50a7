"""Sensors worn in several places, each of which a data set keeps in files of its own: what such sets share.

A placement is a `Worn` stream: a `SensorLog` that is read when it is asked for, so that packets that were
lost are gaps, and a recording costs no memory before it is looked at. Windows are laid by the clock of the
labels, whatever sensors did (`windowed`); what a window lacks is found where clips are listed, and a study's
`missing` says what becomes of it.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
from jaxtyping import Float
from torch import nn

from plait.clips.windows import placed
from plait.contents import describe
from plait.encoders.glove import SignalNet
from plait.errors import DataError, PlaitWarning, one_line
from plait.recordings.sensors import SensorLog
from plait.recordings.unended import check_end
from plait.store import content_key
from plait.types import Readings, Recording, Span, Windows

CLOCK = "clock"
G = 9.80665  # m/s2
GAP_S = 0.5  # readings that are farther apart have a gap between them
OFF = 3.1  # of another unit than m/s2, or another than g, is what is more than the root of 9.8 off


class Opened(NamedTuple):
    """What was read of one recording: the log of each placement, its labels, and a checksum of its files."""

    logs: Mapping[str, SensorLog]
    labels: tuple[Span, ...]
    content: str


class Files(Protocol):
    """A place that is several files; two of the same files are equal."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where they lie, archives for what is in them."""
        ...

    def __hash__(self) -> int:
        """Equal for equal places."""
        ...


Place = Path | Files
Read = Callable[[Any], Opened]  # from a place


@dataclass(frozen=True, eq=False)
class Worn:
    """A `Stream` of one placement, or of one of its sensors.

    Args:
        read: from a place to all that is there; a function of a module.
        place: where the recording lies.
        name: which of its logs.
        content: the checksum of the recording's files when it was opened.
    """

    read: Read
    place: Place
    name: str
    content: str

    @property
    def log(self) -> SensorLog:
        """Its readings.

        Raises:
            DataError: the files cannot be read any more, or are others by now.
        """
        found = opened(self.read, self.place, states(self.place))
        if found.content != self.content:
            raise DataError(f"{self.place}: changed while it was read")
        return found.logs[self.name]

    @property
    def times(self) -> np.ndarray:
        """Seconds of each reading on the recording's clock."""
        return self.log.times

    @cached_property
    def content_key(self) -> str:
        """Equal for equal files that are read alike."""
        return content_key([self.content, self.name, describe(self.read)])

    def has(self, seconds: np.ndarray) -> np.ndarray:
        """At which of `seconds` the log has begun and not ended: `SensorLog.has`."""
        return self.log.has(seconds)

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Readings at `seconds`, `(len(seconds), columns)`, NaN in gaps: `SensorLog.at`.

        Raises:
            DataError: as `log`.
        """
        return self.log.at(seconds)


@lru_cache(maxsize=2)  # clips are listed and cut recording by recording
def opened(read: Read, place: Place, states: tuple[tuple[int, ...], ...]) -> Opened:
    """What is read of a recording whose files are in these `states`; the last two are kept."""
    return read(place)


def states(place: Place) -> tuple[tuple[int, ...], ...]:
    """What changes when a recording's files are written or replaced.

    Raises:
        DataError: one is not there.
    """
    files = [place] if isinstance(place, Path) else place.paths
    try:
        stats = [file.stat() for file in files]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror or error}") from error
    return tuple((found.st_ino, found.st_size, found.st_mtime_ns) for found in stats)


def recording(read: Read, place: Place, name: str, subject: str) -> Recording:
    """A recording with a stream for each log, and its labels; sessions are called as recordings are.

    Raises:
        DataError: what `read` refuses.
    """
    found = opened(read, place, states(place))
    streams = {log: Worn(read, place, log, found.content) for log in found.logs}
    return Recording(name, subject, dict(streams), found.labels, session=name)


def windowed(whole: Iterator[Recording], windows: Windows) -> Iterator[Recording]:
    """Recordings with their windows for spans, from the first to the last reading of any sensor."""
    for one in whole:
        logs = [stream.log for stream in one.streams.values() if isinstance(stream, Worn)]
        first_s = min(float(log.times[0]) for log in logs)
        last_s = max(float(log.times[-1]) + log.lasts_s for log in logs)
        ticks_s = np.linspace(first_s, last_s, max(2, math.ceil(10 * (last_s - first_s))) + 1)[:-1]
        clock = Readings(ticks_s, np.zeros(len(ticks_s)))
        [cut] = placed([replace(one, streams={CLOCK: clock})], windows)
        spans = tuple(Span(window.start_s, window.stop_s, window.activity) for window in cut.windows)
        yield replace(one, spans=spans, dropped=tuple(cut.dropped))


def number_table(text: bytes, where: str, width: int, columns: list[int]) -> Float[np.ndarray, "n columns"]:
    """Some columns of a file of numbers between blanks, float64, NaN where the file says so.

    Args:
        text: the file.
        where: its path, for errors.
        width: how many columns every line must have.
        columns: numbers of those that are wanted, from 0 on.

    Raises:
        DataError: no line, one with another number of columns or cut off, or something that is no number.
    """
    odd = (b"\t", b"  ", b"\r", b" \n", b"\n ")
    if text != text.strip(b" ") or any(blanks in text for blanks in odd):
        text = re.sub(rb"[ \t]+", b" ", text.replace(b"\r\n", b"\n"))
        text = re.sub(rb"^ | $", b"", text, flags=re.MULTILINE)
    lines = text.rstrip(b"\n").split(b"\n")
    for number, line in enumerate(lines, 1):  # polars says nothing of columns too many
        if line.count(b" ") != width - 1:
            got = f"{len(line.split())} columns"
            raise DataError(f"{where}: line {number}: {got}, expected {width} numbers between blanks")
    check_end(where, text, " ", header=False)
    wanted = sorted({*columns})
    try:
        table = pl.read_csv(
            io.BytesIO(text.rstrip(b"\n")),
            separator=" ",
            has_header=False,
            quote_char=None,
            columns=wanted,
            schema_overrides={f"column_{column + 1}": pl.Float64 for column in wanted},
        )
    except Exception as error:  # polars has many kinds
        expected = f"expected {width} numbers on each line"
        raise DataError(f"{where}: cannot be read, {expected}: {one_line(error)}") from error
    return table.to_numpy()[:, [wanted.index(column) for column in columns]]


def in_order(times_s: np.ndarray, where: str, rate_hz: float) -> np.ndarray:
    """The numbers of the rows whose times increase: all, but of several of one moment the first.

    Raises:
        DataError: fewer than two, a time that is no number, times that step back, or another rate.
    """
    if len(times_s) < 2 or not np.isfinite(times_s).all():
        got = f"{len(times_s)} lines" if len(times_s) < 2 else "a time that is no number"
        raise DataError(f"{where}: {got}, expected two readings or more, each with its time")
    steps = np.diff(times_s)
    if (steps < 0).any():
        line = int((steps < 0).argmax()) + 2
        raise DataError(f"{where}: line {line}: a time before the line above, expected them in order")
    rows: np.ndarray = np.flatnonzero(np.concatenate([[True], steps > 0]))
    if len(rows) < len(times_s):
        what = f"{len(times_s) - len(rows)} lines of a moment that was there before: left out"
        warnings.warn(f"{where}: {what}", PlaitWarning, stacklevel=2)
    found_hz = 1 / float(np.median(np.diff(times_s[rows]))) if len(rows) > 1 else 0.0
    if not 0.7 * rate_hz <= found_hz <= 1.4 * rate_hz:
        raise DataError(f"{where}: {found_hz:.4g} readings a second, expected about {rate_hz:g}")
    return rows


def together(ends: list[tuple[float, float]]) -> tuple[float, float]:
    """From when to when most is read, of devices that read so: by how many they are and for how long."""
    starts, stops = sorted({start for start, _ in ends}), sorted({stop for _, stop in ends})
    stretches = [(start, stop) for start in starts for stop in stops if start < stop]

    def read_s(stretch: tuple[float, float]) -> float:
        whole = sum(start <= stretch[0] and stretch[1] <= stop for start, stop in ends)
        return round(whole * (stretch[1] - stretch[0]), 3)

    return max(stretches, key=read_s)  # of several the first


def check_gravity(values: np.ndarray, where: str, g: float, unit: str, off: float = OFF) -> None:
    """Refuse accelerations `(n, 3)` in another unit than the one in which gravity is `g`.

    Who jumps falls half of the time, and then feels little: what is not `off` times more or less may be.

    Raises:
        DataError: the median of their sizes is farther from gravity.
    """
    sizes = np.linalg.norm(values[np.isfinite(values).all(axis=1)], axis=1)
    median = float(np.median(sizes)) if len(sizes) else g
    if not g / off < median < g * off:
        got = f"accelerations of {median:.4g} in the median"
        raise DataError(f"{where}: {got}, expected about {g:g}, for they are in {unit}")


def spans_of(
    codes: np.ndarray, rows: np.ndarray, times_s: np.ndarray, names: Mapping[int, str], where: str
) -> tuple[Span, ...]:
    """Runs of one label as spans, up to the time of the next row; rows of code 0 have none.

    Args:
        codes: of all lines of the file.
        rows: the numbers of those that count, from 0 on.
        times_s: when these were; none is labelled across a gap of more than `GAP_S`.
        names: of the codes.
        where: for errors.

    Raises:
        DataError: a label that has no name.
    """
    strange = ~np.isin(codes, [0, *names])
    if strange.any():
        line = int(strange.argmax())
        got = "empty" if np.isnan(codes[line]) else f"{codes[line]:.10g}"
        expected = f"expected 0 or one of {', '.join(map(str, names))}"
        raise DataError(f"{where}: line {line + 1}: label {got}, {expected}")
    found, steps_s = codes[rows].astype(np.int64), np.diff(times_s)
    lasts_s = float(np.median(steps_s))
    edges = np.flatnonzero((np.diff(found) != 0) | (steps_s > GAP_S)) + 1
    starts, stops = np.concatenate([[0], edges]), np.concatenate([edges, [len(found)]])
    ends_s = np.append(np.where(steps_s > GAP_S, times_s[:-1] + lasts_s, times_s[1:]), times_s[-1] + lasts_s)
    return tuple(
        Span(float(times_s[start]), float(ends_s[stop - 1]), names[int(found[start])])
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        if found[start] != 0
    )


def signal_net(shape: tuple[int, ...], kernels: tuple[int, ...], pools: tuple[int, ...]) -> nn.Module:
    """The signal network, channels standardised by the training clips."""
    return SignalNet(shape, widths=(24, 32, 48), kernels=kernels, pools=pools, norm=True, standardise=True)


short_net = partial(signal_net, kernels=(5, 3, 3), pools=(1, 2, 1))  # windows of about 25 to 60 samples
long_net = partial(signal_net, kernels=(5, 5, 3), pools=(4, 2, 2))  # windows of about 200 samples or more
