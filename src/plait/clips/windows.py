"""Which windows a recording is cut into, and a modality's tensor of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from torch import Tensor

from plait.errors import ConfigError, DataError
from plait.recordings.video import Video
from plait.types import Modality, Recording, Span, Stream

ROUNDING_S = 1e-6
FINEST_S = 0.04  # the smallest stride a count may come to


def window(modality: Modality, streams: Mapping[str, Stream], start_s: float, stop_s: float) -> Tensor:
    """The one function that cuts windows: a modality's tensor of a clip from `start_s` to `stop_s`.

    With a rate, `samples` readings from `start_s` on, whatever `stop_s`; without, the whole span resampled.
    """
    seconds = moments(modality, start_s, stop_s)
    return modality.prepare(*(streams[name].at(seconds) for name in modality.streams))


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


@dataclass(frozen=True)
class Windows:
    """How recordings are cut into windows of `seconds`.

    With `purity = 1` windows lie inside labels, from each label's start on. With less they are laid over the whole
    recording, and one is kept if a single activity fills that share of it. Windows start `stride_s` apart, by default
    back to back. With `count`, every subject has that many: spread evenly over those there are or, if those are too
    few, at the longest stride that gives enough. Time between two labels is of the activity `unlabelled`, or of
    none; with `margins`, so is the time before the first and after the last.

    Raises:
        ConfigError: a setting is out of range.
    """

    seconds: float
    purity: float = 1.0
    unlabelled: str | None = None
    margins: bool = False
    stride_s: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cut nothing."""
        if not 0 < self.seconds < np.inf:
            raise ConfigError(f"windows: seconds is {self.seconds}, expected a length above 0")
        if not 0.5 < self.purity <= 1:
            raise ConfigError(f"windows: purity is {self.purity}, expected more than 0.5 and at most 1")
        if self.stride_s is not None and not 0 < self.stride_s < np.inf:
            raise ConfigError(f"windows: stride_s is {self.stride_s}, expected a step above 0")
        if self.count is not None and self.count < 1:
            raise ConfigError(f"windows: count is {self.count}, expected 1 or more per subject")
        if self.count is not None and self.stride_s is not None:
            raise ConfigError("windows: both count and stride_s are given, expected one of them")
        if self.margins and self.unlabelled is None:
            raise ConfigError("windows: margins without unlabelled, expected the activity of unlabelled time")


def place(
    recordings: Sequence[Recording], windows: Windows, streams: Sequence[str] | None = None
) -> list[list[Window]]:
    """The windows of each recording, in order of time, where all of `streams` (by default every one) have readings.

    Raises:
        DataError: a subject has fewer windows than `windows.count` at a stride of 40 ms.
    """
    timelines = [_Timeline(recording, windows, streams) for recording in recordings]
    if windows.count is None:
        return [timeline.windows(windows.stride_s or windows.seconds) for timeline in timelines]
    chosen: list[list[Window]] = [[] for _ in recordings]
    for subject in dict.fromkeys(recording.subject for recording in recordings):
        own = [i for i, recording in enumerate(recordings) if recording.subject == subject]
        found = _enough([timelines[i] for i in own], windows, subject)
        flat = [(i, window) for i, windows_of_one in zip(own, found, strict=True) for window in windows_of_one]
        for number in np.round(np.linspace(0, len(flat) - 1, windows.count)).astype(int):
            chosen[flat[number][0]].append(flat[number][1])
    return chosen


def _enough(timelines: Sequence["_Timeline"], windows: Windows, subject: str) -> list[list[Window]]:
    """Windows of one subject at the longest stride up to back to back that gives `windows.count`."""
    assert windows.count is not None

    def at(stride_s: float) -> list[list[Window]]:
        return [timeline.windows(stride_s) for timeline in timelines]

    def count(found: list[list[Window]]) -> int:
        return sum(len(one) for one in found)

    widest = at(windows.seconds)
    if count(widest) >= windows.count:
        return widest
    short_s, long_s = min(FINEST_S, windows.seconds), windows.seconds
    best = at(short_s)
    if count(best) < windows.count:
        raise DataError(
            f"subject {subject}: {count(best)} windows of {windows.seconds:g} s at most, expected {windows.count}; "
            "label more time, or ask for fewer or a lower purity"
        )
    while long_s - short_s > 1e-3:
        middle_s = (short_s + long_s) / 2
        found = at(middle_s)
        if count(found) >= windows.count:
            short_s, best = middle_s, found
        else:
            long_s = middle_s
    return best


class _Timeline:
    """One recording's labels, and where all its streams have readings."""

    def __init__(self, recording: Recording, windows: Windows, streams: Sequence[str] | None) -> None:
        self.settings = windows
        chosen = [recording.streams[name] for name in (recording.streams if streams is None else streams)]
        ends = [s.ends if isinstance(s, Video) else _ends(s.times) for s in chosen]
        self.start_s, self.stop_s = max(start for start, _ in ends), min(stop for _, stop in ends)
        self.spans = self._filled(recording.spans)
        self.unknown_s = self._unknown(chosen)

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

    def _unknown(self, streams: Sequence[Stream]) -> np.ndarray:
        """Moments, 0.1 s apart, at which some sensor has no reading; between a video's ends there is a picture."""
        moments = np.arange(self.start_s, self.stop_s, 0.1)
        unknown = np.zeros(len(moments), dtype=bool)
        for stream in streams:
            if not isinstance(stream, Video) and len(moments):
                readings = stream.at(moments).reshape(len(moments), -1)
                unknown |= ~np.isfinite(readings).all(axis=1)
        return moments[unknown]

    def windows(self, stride_s: float) -> list[Window]:
        """All windows at this stride."""
        length = self.settings.seconds
        found: list[Window] = []
        if self.settings.purity == 1:
            for span in self.spans:
                first = max(span.start_s, self.start_s)
                for start in _starts(first, min(span.stop_s, self.stop_s), length, stride_s):
                    found.append(Window(start, start + length, span.activity, 1.0))
        else:
            for start in _starts(self.start_s, self.stop_s, length, stride_s):
                activity, share = self._most(start, start + length)
                if activity is not None and share >= self.settings.purity - ROUNDING_S:
                    found.append(Window(start, start + length, activity, share))
        return [one for one in found if not self._gap(one)]

    def _most(self, start_s: float, stop_s: float) -> tuple[str | None, float]:
        """The activity that fills most of a window, and its share."""
        filled: dict[str, float] = {}
        for span in self.spans:
            inside = min(span.stop_s, stop_s) - max(span.start_s, start_s)
            if inside > 0:
                filled[span.activity] = filled.get(span.activity, 0.0) + inside
        most = max(filled, key=lambda name: filled[name], default=None)
        return most, min(filled[most] / (stop_s - start_s), 1.0) if most is not None else 0.0

    def _gap(self, one: Window) -> bool:
        first, last = np.searchsorted(self.unknown_s, [one.start_s, one.stop_s])
        return bool(last > first)


def _starts(start_s: float, stop_s: float, length_s: float, stride_s: float) -> list[float]:
    """Where windows of this length begin that lie between two moments."""
    room = stop_s - start_s - length_s + ROUNDING_S
    return [start_s + i * stride_s for i in range(int(room / stride_s) + 1)] if room >= 0 else []


def _ends(times: np.ndarray) -> tuple[float, float]:
    """When readings begin and end: the last holds for the median spacing."""
    return float(times[0]), float(times[-1]) + (float(np.median(np.diff(times))) if len(times) > 1 else 0.0)
