"""Which windows a recording is cut into, and a modality's tensor of one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
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
from plait.errors import DataError, own_code
from plait.recordings.video import Video
from plait.types import LONGEST_S, Dropped, Modality, Recording, Span, Stream, Windows

ROUNDING_S = 1e-6
FINEST_S = 0.04  # the smallest stride a count may come to
MOST_WINDOWS = 1_000_000  # windows between two moments


def window(modality: Modality, streams: Mapping[str, Stream], start_s: float, stop_s: float) -> Tensor:
    """The one function that cuts windows: a modality's tensor of a clip from `start_s` to `stop_s`.

    With a rate, `samples` readings from `start_s` on, whatever `stop_s`; without, the whole span resampled.

    Raises:
        DataError: a stream cannot be read there.
        ConfigError: the modality's `prepare` fails.
    """
    seconds = moments(modality, start_s, stop_s)
    readings = [streams[name].at(seconds) for name in modality.streams]
    with own_code(f"its prepare, given {', '.join(f'{one.dtype} {one.shape}' for one in readings)}"):
        return modality.prepare(*readings)


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
    return [one.windows for one in placed(recordings, windows, streams)]


def placed(
    recordings: Sequence[Recording], windows: Windows, streams: Sequence[str] | None = None
) -> list[Placed]:
    """The windows of each recording where all of `streams` (by default every one) that it has have readings.

    What its labels would hold, and what was dropped of that, why, is counted: every window is in one of the two.

    Raises:
        DataError: a subject has fewer windows than `windows.count` at a stride of 40 ms.
    """
    timelines = [_Timeline(recording, windows, streams) for recording in recordings]
    if windows.count is None:
        stride_s = windows.stride_s or windows.seconds
        return [Placed(timeline.windows(stride_s), timeline.dropped(stride_s)) for timeline in timelines]
    chosen: list[list[Window]] = [[] for _ in recordings]
    dropped: list[list[Dropped]] = [[] for _ in recordings]
    for subject in dict.fromkeys(recording.subject for recording in recordings):
        own = [i for i, recording in enumerate(recordings) if recording.subject == subject]
        stride_s, found = _enough([timelines[i] for i in own], windows, subject)
        flat = [
            (i, window) for i, windows_of_one in zip(own, found, strict=True) for window in windows_of_one
        ]
        for number in np.round(np.linspace(0, len(flat) - 1, windows.count)).astype(int):
            chosen[flat[number][0]].append(flat[number][1])
        for i, all_of_it in zip(own, found, strict=True):
            left = Counter(one.activity for one in all_of_it) - Counter(one.activity for one in chosen[i])
            surplus = [Dropped(recordings[i].name, subject, a, SURPLUS, n) for a, n in sorted(left.items())]
            dropped[i] = timelines[i].dropped(stride_s) + surplus
    return [Placed(*one) for one in zip(chosen, dropped, strict=True)]


def _enough(
    timelines: Sequence["_Timeline"], windows: Windows, subject: str
) -> tuple[float, list[list[Window]]]:
    """Windows of one subject at the longest stride up to back to back that gives `windows.count`, and that stride."""
    assert windows.count is not None

    def at(stride_s: float) -> list[list[Window]]:
        return [timeline.windows(stride_s) for timeline in timelines]

    def count(found: list[list[Window]]) -> int:
        return sum(len(one) for one in found)

    widest = at(windows.seconds)
    if count(widest) >= windows.count:
        return windows.seconds, widest
    short_s, long_s = min(FINEST_S, windows.seconds), windows.seconds
    best = at(short_s)
    if count(best) < windows.count:
        why = by_reason([one for timeline in timelines for one in timeline.dropped(windows.seconds)])
        raise DataError(
            f"subject {subject}: {count(best)} windows of {windows.seconds:g} s at most, expected {windows.count}; "
            f"label more time, or ask for fewer or a lower purity{f'; dropped, back to back: {why}' if why else ''}"
        )
    while long_s - short_s > 1e-3:
        middle_s = (short_s + long_s) / 2
        found = at(middle_s)
        if count(found) >= windows.count:
            short_s, best = middle_s, found
        else:
            long_s = middle_s
    return short_s, best


class _Laid(NamedTuple):
    """A window where there are readings: the activity that fills most of it, if any, and the share that it fills."""

    start_s: float
    activity: str | None
    share: float


class _Timeline:
    """One recording's labels, and where all its streams have readings."""

    def __init__(self, recording: Recording, windows: Windows, streams: Sequence[str] | None) -> None:
        self.recording, self.settings = recording, windows
        named = recording.streams if streams is None else streams
        self.streams = {name: recording.streams[name] for name in named if name in recording.streams}
        ends = {name: s.ends if isinstance(s, Video) else _ends(s.times) for name, s in self.streams.items()}
        self.first = max(ends, key=lambda name: ends[name][0], default=None)
        self.last = min(ends, key=lambda name: ends[name][1], default=None)
        self.start_s = max((start for start, _ in ends.values()), default=0.0)
        self.stop_s = min((stop for _, stop in ends.values()), default=0.0)
        self.spans = self._filled(recording.spans)
        self.unknown_s = {name: self._unknown(stream) for name, stream in self.streams.items()}
        self.runs_s: dict[str, list[np.ndarray]] = {}
        self.gaps: dict[tuple[str, int], tuple[str, float, float]] = {}
        self.gaps_s = np.unique(np.concatenate([np.empty(0), *self.unknown_s.values()]))

    def _filled(self, spans: Sequence[Span]) -> list[Span]:
        """Labels with the time between them, neighbours of one activity as one."""
        name = self.settings.unlabelled
        filled = sorted(spans, key=lambda span: span.start_s)
        if name is not None:
            edges = [(span.start_s, span.stop_s) for span in filled]
            if self.settings.margins or not edges:
                edges = [(-np.inf, self.start_s), *edges, (self.stop_s, np.inf)]
            gaps = [(before[1], after[0]) for before, after in pairwise(edges)]
            filled += [Span(start, stop, name) for start, stop in gaps if stop - start > ROUNDING_S]
            filled.sort(key=lambda span: span.start_s)
        joined: list[Span] = []
        for span in filled:
            last = joined[-1] if joined else None
            if last and last.activity == span.activity and span.start_s - last.stop_s <= ROUNDING_S:
                joined[-1] = replace(last, stop_s=max(last.stop_s, span.stop_s))
            else:
                joined.append(span)
        return joined

    def _unknown(self, stream: Stream) -> np.ndarray:
        """Moments, 0.1 s apart, at which a sensor has no reading; between a video's ends there is a picture."""
        if isinstance(stream, Video) or self.stop_s <= self.start_s:
            return np.empty(0)
        if self.stop_s - self.start_s > LONGEST_S:
            lasts = f"lasts {(self.stop_s - self.start_s) / 3600:.4g} hours"
            raise DataError(
                f"recording {self.recording.name}: {lasts}, expected {LONGEST_S / 3600:.4g} at most"
            )
        moments = np.arange(self.start_s, self.stop_s, 0.1)
        unknown: np.ndarray = moments[~np.isfinite(stream.at(moments).reshape(len(moments), -1)).all(axis=1)]
        return unknown

    def windows(self, stride_s: float) -> list[Window]:
        """All windows at this stride."""
        length = self.settings.seconds
        return [
            Window(one.start_s, one.start_s + length, one.activity, one.share)
            for one in self._laid(stride_s)
            if one.activity is not None and self._pure(one) and not self._broken(one)
        ]

    def dropped(self, stride_s: float) -> list[Dropped]:
        """What the labels would hold at this stride and `windows` does not give, by activity and reason."""
        counts = Counter(self._lost(stride_s))
        about = self.recording.name, self.recording.subject
        return [
            Dropped(*about, activity, reason, n, *where) for (activity, reason, *where), n in counts.items()
        ]

    def _lost(self, stride_s: float) -> Iterator[tuple[Any, ...]]:
        """Each of them: its activity, the reason, and the stream to blame with the seconds in which it says nothing."""
        settings = self.settings
        if not self.streams:
            yield from [(None, NO_STREAM)] * max(1, len(self.spans))
            return
        if not self.spans:
            yield from [(None, UNLABELLED)] * max(1, len(self._starts(self.start_s, self.stop_s, stride_s)))
            return
        if settings.purity == 1:
            for span in self.spans:
                yield from self._outside(span.start_s, span.stop_s, span.activity, stride_s)
        else:
            start_s, stop_s = self.spans[0].start_s, max(span.stop_s for span in self.spans)
            yield from self._outside(min(start_s, self.start_s), max(stop_s, self.stop_s), None, stride_s)
        for one in self._laid(stride_s):
            if one.activity is None:
                yield None, NO_LABEL
            elif not self._pure(one):
                yield one.activity, MIXED
            elif self._broken(one):
                yield one.activity, GAP, *self._gap(one)

    def _outside(self, start_s: float, stop_s: float, activity: str | None, stride_s: float) -> Iterator[Any]:
        """Windows between two moments that the first and the last reading cut off."""
        whole = len(self._starts(start_s, stop_s, stride_s))
        later = len(self._starts(max(start_s, self.start_s), stop_s, stride_s))
        inside = len(self._starts(max(start_s, self.start_s), min(stop_s, self.stop_s), stride_s))
        if not whole:
            yield activity, SHORT
        yield from [(activity, BEFORE, self.first, None, self.start_s)] * (whole - later)
        yield from [(activity, AFTER, self.last, self.stop_s, None)] * (later - inside)

    def _laid(self, stride_s: float) -> Iterator[_Laid]:
        """Every window at this stride that lies where there are readings, save for gaps."""
        if self.settings.purity == 1:
            for span in self.spans:
                first, last = max(span.start_s, self.start_s), min(span.stop_s, self.stop_s)
                yield from (_Laid(start, span.activity, 1.0) for start in self._starts(first, last, stride_s))
        else:
            for start in self._starts(self.start_s, self.stop_s, stride_s):
                yield _Laid(start, *self._most(start, start + self.settings.seconds))

    def _starts(self, start_s: float, stop_s: float, stride_s: float) -> list[float]:
        """Where windows begin that lie between two moments."""
        room = stop_s - start_s - self.settings.seconds + ROUNDING_S
        if room / stride_s > MOST_WINDOWS:
            raise DataError(
                f"recording {self.recording.name}: {room / stride_s:.4g} windows {stride_s:g} s apart, expected "
                f"{MOST_WINDOWS:,} at most; take a longer stride"
            )
        return [start_s + i * stride_s for i in range(int(room / stride_s) + 1)] if room >= 0 else []

    def _most(self, start_s: float, stop_s: float) -> tuple[str | None, float]:
        """The activity that fills most of a window, and its share."""
        filled: dict[str, float] = {}
        for span in self.spans:
            inside = min(span.stop_s, stop_s) - max(span.start_s, start_s)
            if inside > 0:
                filled[span.activity] = filled.get(span.activity, 0.0) + inside
        most = max(filled, key=lambda name: filled[name], default=None)
        return most, min(filled[most] / (stop_s - start_s), 1.0) if most is not None else 0.0

    def _pure(self, one: _Laid) -> bool:
        return one.share >= self.settings.purity - ROUNDING_S

    def _broken(self, one: _Laid) -> bool:
        """Whether some stream has no reading somewhere in a window."""
        first, last = np.searchsorted(self.gaps_s, [one.start_s, one.start_s + self.settings.seconds])
        return bool(last > first)

    def _gap(self, one: _Laid) -> tuple[str, float, float]:
        """The stream, and its columns if not all, that have no reading in a broken window, from when to when."""
        found = (
            (name, np.searchsorted(unknown_s, one.start_s)) for name, unknown_s in self.unknown_s.items()
        )
        stop_s = one.start_s + self.settings.seconds
        name, at = next(
            (n, i) for n, i in found if i < len(self.unknown_s[n]) and self.unknown_s[n][i] < stop_s
        )
        runs = self.runs_s.setdefault(
            name, np.split(u := self.unknown_s[name], np.flatnonzero(np.diff(u) > 0.15) + 1)
        )
        number = int(np.searchsorted(np.cumsum([len(run) for run in runs]), at, side="right"))
        if (name, number) not in self.gaps:
            columns, before_s, after_s = _around(self.streams[name], runs[number], self.start_s, self.stop_s)
            self.gaps[name, number] = f"{name} ({columns})" if columns else name, before_s, after_s
        return self.gaps[name, number]


def _around(stream: Stream, run_s: np.ndarray, start_s: float, stop_s: float) -> tuple[str, float, float]:
    """Which columns say nothing in a run of unknown moments, if not all, and the whole readings before and after it."""
    times, log = stream.times, getattr(stream, "log", stream)
    values = getattr(log, "values", None)
    silent: list[str] = []
    if isinstance(values, np.ndarray) and len(values) == len(times):
        known = np.isfinite(values.reshape(len(times), -1))
        inside = known[(times >= run_s[0]) & (times <= run_s[-1])].any(axis=0)
        names = getattr(log, "names", tuple(map(str, range(1, len(inside) + 1))))
        silent = [name for name, some in zip(names, inside, strict=False) if not some] if inside.any() else []
        times = times[known.all(axis=1)]
    earlier, later = times[times < run_s[0]], times[times > run_s[-1]]
    before_s, after_s = (
        float(earlier[-1]) if len(earlier) else start_s,
        float(later[0]) if len(later) else stop_s,
    )
    return ", ".join(silent), before_s, after_s


def _ends(times: np.ndarray) -> tuple[float, float]:
    """When readings begin and end: the last holds for the median spacing."""
    return float(times[0]), float(times[-1]) + (float(np.median(np.diff(times))) if len(times) > 1 else 0.0)
