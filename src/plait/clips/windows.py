"""Which windows a recording is cut into, and a modality's tensor of one."""

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from plait.clips.dropped import (
    AFTER,
    BEFORE,
    GAP,
    MIXED,
    NO_LABEL,
    NO_STREAM,
    SHORT,
    SURPLUS,
    UNLABELLED,
    by_reason,
)
from plait.errors import DataError, PlaitError, own_code
from plait.recordings.video import Video
from plait.types import LONGEST_S, Dropped, Modality, Recording, Span, Stream, Windows

ROUNDING_S = 1e-6
FINEST_S = 0.04  # the smallest stride a count may come to
MOST_WINDOWS = 1_000_000  # windows between two moments


def window(modality: Modality, streams: Mapping[str, Stream], start_s: float, stop_s: float) -> Tensor:
    """The one function that cuts windows: a modality's tensor of a clip.

    Args:
        modality: with a rate, `samples` readings from `start_s` on; without, the whole span resampled.
        streams: the recording's, by name.
        start_s: when the clip starts, on the recording's clock.
        stop_s: when it stops.

    Raises:
        DataError: a stream cannot be read there.
        ConfigError: the modality's `prepare` fails.
    """
    return prepared(modality, readings(modality, streams, start_s, stop_s))


def readings(
    modality: Modality, streams: Mapping[str, Stream], start_s: float, stop_s: float
) -> list[np.ndarray]:
    """What a modality's streams give in a window: one array `(samples, *reading)` each.

    Args:
        modality: as in `window`.
        streams: the recording's, by name.
        start_s: when the window starts, on the recording's clock.
        stop_s: when it stops.

    Raises:
        DataError: a stream cannot be read there.
    """
    seconds = moments(modality, start_s, stop_s)
    return [streams[name].at(seconds) for name in modality.streams]


def prepared(modality: Modality, arrays: Sequence[np.ndarray]) -> Tensor:
    """A modality's tensor of a window's readings.

    Raises:
        ConfigError: the modality's `prepare` fails.
    """
    given = ", ".join(f"{array.dtype} {array.shape}" for array in arrays)
    with own_code(f"its prepare, given {given}"):
        return modality.prepare(*arrays)


def moments(modality: Modality, start_s: float, stop_s: float) -> np.ndarray:
    """The seconds at which a clip's readings are taken."""
    if modality.rate_hz is None:
        return np.linspace(start_s, stop_s, modality.samples)
    return start_s + np.arange(modality.samples) / modality.rate_hz


def longest_s(modalities: Sequence[Modality]) -> float | None:
    """Seconds of the longest window among `modalities`; None where all take whole spans."""
    return max((m.samples / m.rate_hz for m in modalities if m.rate_hz is not None), default=None)


class Window(NamedTuple):
    """A stretch of a recording, the activity that fills most of it, and the share that it fills."""

    start_s: float
    stop_s: float
    activity: str
    purity: float


class Placed(NamedTuple):
    """The windows of one recording, in order of time, and those that were none."""

    windows: list[Window]
    dropped: list[Dropped]


def place(
    recordings: Sequence[Recording], windows: Windows, streams: Sequence[str] | None = None
) -> list[list[Window]]:
    """The windows of each recording: `placed`, without what was dropped.

    Raises:
        DataError: as it does.
    """
    return [placement.windows for placement in placed(recordings, windows, streams)]


def placed(
    recordings: Sequence[Recording], windows: Windows, streams: Sequence[str] | None = None
) -> list[Placed]:
    """The windows of each recording where all of `streams` (by default every one) that it has have readings.

    Every window that its labels would hold is among its windows or is counted as dropped, by reason.

    Raises:
        DataError: a subject has fewer windows than `windows.count` at a stride of 40 ms.
    """
    timelines = [_Timeline(recording, windows, streams) for recording in recordings]
    if windows.count is None:
        stride_s = windows.stride_s or windows.seconds
        return [Placed(timeline.windows(stride_s), timeline.dropped(stride_s)) for timeline in timelines]
    chosen: list[list[Window]] = [[] for _ in recordings]
    dropped: list[list[Dropped]] = [[] for _ in recordings]
    recordings_of: dict[str, list[int]] = {}
    for i, recording in enumerate(recordings):
        recordings_of.setdefault(recording.subject, []).append(i)
    for subject, indices in recordings_of.items():
        stride_s = _longest_stride_s([timelines[i] for i in indices], windows, subject)
        pool = [(i, window) for i in indices for window in timelines[i].windows(stride_s)]
        left = Counter((i, window.activity) for i, window in pool)
        for number in np.round(np.linspace(0, len(pool) - 1, windows.count)).astype(int):
            i, window = pool[number]
            chosen[i].append(window)
            left[i, window.activity] -= 1
        for i in indices:
            dropped[i] = timelines[i].dropped(stride_s)
        for (i, activity), count in sorted(left.items()):
            if count > 0:
                dropped[i].append(Dropped(recordings[i].name, subject, activity, SURPLUS, count))
    return [Placed(*lists) for lists in zip(chosen, dropped, strict=True)]


def _longest_stride_s(timelines: Sequence["_Timeline"], windows: Windows, subject: str) -> float:
    """The longest stride, up to back to back, at which one subject has `windows.count` windows."""
    assert windows.count is not None

    def count(stride_s: float) -> int:
        return sum(len(timeline.windows(stride_s)) for timeline in timelines)

    if count(windows.seconds) >= windows.count:
        return windows.seconds
    short_s, long_s = min(FINEST_S, windows.seconds), windows.seconds
    most = count(short_s)
    if most < windows.count:
        why = by_reason(drop for timeline in timelines for drop in timeline.dropped(windows.seconds))
        raise DataError(
            f"subject {subject}: {most} windows of {windows.seconds:g} s at most, expected {windows.count}; "
            "label more time, or ask for fewer or a lower purity"
            + (f"; dropped, back to back: {why}" if why else "")
        )
    while long_s - short_s > 1e-3:
        middle_s = (short_s + long_s) / 2
        if count(middle_s) >= windows.count:
            short_s = middle_s
        else:
            long_s = middle_s
    return short_s


def filled(
    spans: Sequence[Span], unlabelled: str | None = None, around: tuple[float, float] | None = None
) -> list[Span]:
    """Labels in order of time, neighbours of one activity as one, with the time between if it has a name.

    Args:
        spans: labels.
        unlabelled: the activity of the time between two labels; None: none.
        around: also that of all the time before and after them, where these seconds lie within it.
    """
    found = sorted(spans, key=lambda span: span.start_s)
    if unlabelled is not None:
        edges = [(span.start_s, span.stop_s) for span in found]
        if around is not None:
            edges = [(-np.inf, around[0]), *edges, (around[1], np.inf)]
        reached = itertools.accumulate((stop for _, stop in edges), max)  # labels may lie within others
        gaps = [(before, after) for before, (after, _) in zip(reached, edges[1:], strict=False)]
        found += [Span(start, stop, unlabelled) for start, stop in gaps if stop - start > ROUNDING_S]
        found.sort(key=lambda span: span.start_s)
    joined: list[Span] = []
    for span in found:
        last = joined[-1] if joined else None
        if last and last.activity == span.activity and span.start_s - last.stop_s <= ROUNDING_S:
            joined[-1] = replace(last, stop_s=max(last.stop_s, span.stop_s))
        else:
            joined.append(span)
    return joined


class _Timeline:
    """One recording's labels, and where all its streams have readings."""

    def __init__(self, recording: Recording, windows: Windows, streams: Sequence[str] | None) -> None:
        self.recording, self.settings = recording, windows
        named = recording.streams if streams is None else streams
        self.streams = {name: recording.streams[name] for name in named if name in recording.streams}
        ends = {name: ends_of(stream) for name, stream in self.streams.items()}
        self.first = max(ends, key=lambda name: ends[name][0], default=None)
        self.last = min(ends, key=lambda name: ends[name][1], default=None)
        self.start_s = max((start for start, _ in ends.values()), default=0.0)
        self.stop_s = min((stop for _, stop in ends.values()), default=0.0)
        around = (self.start_s, self.stop_s) if windows.margins or not recording.spans else None
        self.spans = filled(recording.spans, windows.unlabelled, around)
        within = recording.name, self.start_s, self.stop_s
        self.silent_s = {name: silent_s(stream, *within) for name, stream in self.streams.items()}
        self.any_silent_s = np.unique(np.concatenate([np.empty(0), *self.silent_s.values()]))
        self.gaps: dict[tuple[str, int], tuple[str, float, float]] = {}

    def windows(self, stride_s: float) -> list[Window]:
        """All windows at this stride."""
        return [
            Window(start_s, stop_s, activity, share)
            for start_s, stop_s, activity, share in self._candidates(stride_s)
            if activity is not None and self._is_pure(share) and not self._is_broken(start_s, stop_s)
        ]

    def dropped(self, stride_s: float) -> list[Dropped]:
        """What the labels would hold at this stride and `windows` does not give, by activity and reason."""
        counts = Counter(self._losses(stride_s))
        about = self.recording.name, self.recording.subject
        return [
            Dropped(*about, activity, reason, n, *where) for (activity, reason, *where), n in counts.items()
        ]

    def _losses(self, stride_s: float) -> Iterator[tuple[Any, ...]]:
        """Each of them: activity and reason; of a stream without readings its name, and from when to when."""
        if not self.streams:
            yield from [(None, NO_STREAM)] * max(1, len(self.spans))
            return
        if not self.spans:
            yield from [(None, UNLABELLED)] * max(1, len(self._starts(self.start_s, self.stop_s, stride_s)))
            return
        if self.settings.purity == 1:
            for span in self.spans:
                yield from self._outside(span.start_s, span.stop_s, span.activity, stride_s)
        else:
            start_s, stop_s = self.spans[0].start_s, max(span.stop_s for span in self.spans)
            yield from self._outside(min(start_s, self.start_s), max(stop_s, self.stop_s), None, stride_s)
        for start_s, stop_s, activity, share in self._candidates(stride_s):
            if activity is None:
                yield None, NO_LABEL
            elif not self._is_pure(share):
                yield activity, MIXED
            elif self._is_broken(start_s, stop_s):
                yield activity, GAP, *self._gap(start_s, stop_s)

    def _outside(self, start_s: float, stop_s: float, activity: str | None, stride_s: float) -> Iterator[Any]:
        """Windows between two moments that the first and the last reading cut off."""
        whole = len(self._starts(start_s, stop_s, stride_s))
        later = len(self._starts(max(start_s, self.start_s), stop_s, stride_s))
        inside = len(self._starts(max(start_s, self.start_s), min(stop_s, self.stop_s), stride_s))
        if not whole:
            yield activity, SHORT
        yield from [(activity, BEFORE, self.first, None, self.start_s)] * (whole - later)
        yield from [(activity, AFTER, self.last, self.stop_s, None)] * (later - inside)

    def _candidates(self, stride_s: float) -> Iterator[tuple[float, float, str | None, float]]:
        """Every window at this stride within all readings, gaps aside, its main activity, and its share."""
        length_s = self.settings.seconds
        if self.settings.purity == 1:
            for span in self.spans:
                first_s, last_s = max(span.start_s, self.start_s), min(span.stop_s, self.stop_s)
                for start_s in self._starts(first_s, last_s, stride_s):
                    yield start_s, start_s + length_s, span.activity, 1.0
        else:
            for start_s in self._starts(self.start_s, self.stop_s, stride_s):
                stop_s = start_s + length_s
                yield start_s, stop_s, *self._most(start_s, stop_s)

    def _starts(self, start_s: float, stop_s: float, stride_s: float) -> list[float]:
        """Where windows begin that lie between two moments."""
        room = stop_s - start_s - self.settings.seconds + ROUNDING_S
        if room / stride_s > MOST_WINDOWS:
            got = f"{room / stride_s:.4g} windows {stride_s:g} s apart"
            expected = f"expected {MOST_WINDOWS:,} at most; take a longer stride"
            raise DataError(f"recording {self.recording.name}: {got}, {expected}")
        return [start_s + i * stride_s for i in range(int(room / stride_s) + 1)] if room >= 0 else []

    def _most(self, start_s: float, stop_s: float) -> tuple[str | None, float]:
        """The activity that fills most of a window, and its share."""
        filled: dict[str, float] = {}
        starts, reached = self._edges
        for span in self.spans[bisect_right(reached, start_s) : bisect_left(starts, stop_s)]:
            inside = min(span.stop_s, stop_s) - max(span.start_s, start_s)
            if inside > 0:
                filled[span.activity] = filled.get(span.activity, 0.0) + inside
        if not filled:
            return None, 0.0
        most = max(filled, key=lambda name: filled[name])
        return most, min(filled[most] / (stop_s - start_s), 1.0)

    @cached_property
    def _edges(self) -> tuple[list[float], list[float]]:
        """When each label starts, and when the last of those up to it has stopped; both rise."""
        stops = itertools.accumulate((span.stop_s for span in self.spans), max)
        return [span.start_s for span in self.spans], list(stops)

    def _is_pure(self, share: float) -> bool:
        return share >= self.settings.purity - ROUNDING_S

    def _is_broken(self, start_s: float, stop_s: float) -> bool:
        """Whether some stream has no reading somewhere in a window."""
        first, last = np.searchsorted(self.any_silent_s, [start_s, stop_s])
        return bool(last > first)

    def _gap(self, start_s: float, stop_s: float) -> tuple[str, float, float]:
        """The stream, and its columns if not all, without a reading in a broken window, from when to when."""
        places = {name: np.searchsorted(s, [start_s, stop_s]) for name, s in self.silent_s.items()}
        name = next(name for name, (first, last) in places.items() if last > first)
        silent_s = self.silent_s[name]
        runs = np.flatnonzero(np.diff(silent_s) > 0.15) + 1
        number = int(np.searchsorted(runs, places[name][0], side="right"))
        if (name, number) not in self.gaps:
            run_s = np.split(silent_s, runs)[number]
            columns, before_s, after_s = _around(self.streams[name], run_s, self.start_s, self.stop_s)
            self.gaps[name, number] = f"{name} ({columns})" if columns else name, before_s, after_s
        return self.gaps[name, number]


def _around(stream: Stream, run_s: np.ndarray, start_s: float, stop_s: float) -> tuple[str, float, float]:
    """The columns without a reading in a run of moments, if not all, and the whole readings around it."""
    times, log = stream.times, getattr(stream, "log", stream)
    values = getattr(log, "values", None)
    finite = np.ones((len(times), 1), dtype=np.bool_)
    if isinstance(values, np.ndarray) and len(values) == len(times):
        finite = np.isfinite(values.reshape(len(times), -1))
    whole = times[finite.all(axis=1)]
    earlier, later = whole[whole <= run_s[0] + ROUNDING_S], whole[whole >= run_s[-1] - ROUNDING_S]
    before_s = float(earlier[-1]) if len(earlier) else -np.inf
    after_s = float(later[0]) if len(later) else np.inf
    speaking = np.atleast_1d(finite[(times > before_s) & (times < after_s)].any(axis=0))
    names = getattr(log, "names", tuple(map(str, range(1, len(speaking) + 1))))
    silent = [name for name, speaks in zip(names, speaking, strict=False) if not speaks]
    ends_s = before_s if len(earlier) else start_s, after_s if len(later) else stop_s
    return ", ".join(silent) if speaking.any() else "", *ends_s


def covers(stream: Stream, seconds: np.ndarray) -> bool:
    """Whether a stream has begun before the first of some moments, in order, and ends after the last.

    One that knows where it has readings in between (`has`) is asked for all of them.
    """
    has = getattr(stream, "has", None)
    if has is not None:
        return bool(has(seconds).all())
    start_s, stop_s = ends_of(stream)
    return bool(start_s <= seconds[0] + ROUNDING_S and stop_s >= seconds[-1] - ROUNDING_S)


def cut(
    modalities: Sequence[Modality],
    streams: Mapping[str, Mapping[str, Stream]],
    window: tuple[float, float],
    where: str,
) -> dict[str, Tensor]:
    """The one function that cuts windows of whole recordings, and live: a tensor of each modality present.

    A modality is absent where one of its streams has not begun, has ended, or has a gap.

    Args:
        modalities: what tensors are made of.
        streams: by modality, its streams by name; those of a modality may be missing.
        window: start and stop, in seconds on the recording's clock.
        where: what errors call the recording.

    Raises:
        DataError: a stream cannot be read.
        ConfigError: a `prepare` fails.
    """
    tensors: dict[str, Tensor] = {}
    for modality in modalities:
        given = streams[modality.name]
        if not covered(modality, given, window):
            continue
        try:
            arrays = readings(modality, given, *window)
            if all(array.dtype.kind != "f" or np.isfinite(array).all() for array in arrays):
                tensors[modality.name] = prepared(modality, arrays)
        except PlaitError as error:
            raise type(error)(f"{where}, modality {modality.name}: {error}") from error
    return tensors


def covered(modality: Modality, streams: Mapping[str, Stream], window: tuple[float, float]) -> bool:
    """Whether all streams of a modality are there in all of a window that is read of it: see `inner`."""
    seconds = inner(moments(modality, *window))
    return all(name in streams and covers(streams[name], seconds) for name in modality.streams)


def inner(seconds: np.ndarray) -> np.ndarray:
    """Of a window's moments those at which a stream must be there: of three or more not the first and last.

    These may lie beyond its readings, whose ends then hold.
    """
    return seconds[1:-1] if len(seconds) > 2 else seconds


def ends_of(stream: Stream) -> tuple[float, float]:
    """When readings begin and end, in seconds: the last one lasts for the median spacing."""
    if isinstance(stream, Video):
        return stream.ends
    times = stream.times
    return float(times[0]), float(times[-1]) + (float(np.median(np.diff(times))) if len(times) > 1 else 0.0)


def silent_s(stream: Stream, recording: str, start_s: float, stop_s: float) -> np.ndarray:
    """Moments, 0.1 s apart, without a reading of a sensor; between a video's ends there is a picture.

    Args:
        stream: of the sensor.
        recording: its name, for the error.
        start_s: the first moment.
        stop_s: what all of them lie before.

    Raises:
        DataError: the two lie too far apart.
    """
    lasts_s = stop_s - start_s
    if isinstance(stream, Video) or lasts_s <= 0:
        return np.empty(0)
    if lasts_s > LONGEST_S:
        hours = f"lasts {lasts_s / 3600:.4g} hours, expected {LONGEST_S / 3600:.4g} at most"
        raise DataError(f"recording {recording}: {hours}")
    moments = np.arange(start_s, stop_s, 0.1)
    silent: np.ndarray = moments[~np.isfinite(stream.at(moments).reshape(len(moments), -1)).all(axis=1)]
    return silent
