"""What was done and what was recognised between two moments of a recording, as segments in order of time."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from plait.errors import ConfigError, DataError, quote
from plait.types import Segment, Span

DECIMALS = 6  # of seconds: what differs by less than a microsecond is rounding


class Run(NamedTuple):
    """A stretch of time without a change; without an activity where nothing is labelled or recognised."""

    start_s: float
    stop_s: float
    activity: str | None


@dataclass(frozen=True)
class Stretch:
    """Labels and predictions of one recording, to be compared from one moment to another.

    What lies outside the extent is cut off. Labels of one activity that overlap count as one; where two
    activities are labelled at once nobody could say what is right, so that is refused.

    Args:
        recording: whose they are.
        extent: from when to when they are compared, in seconds on the recording's clock.
        labels: what was done when; time without a label is null.
        predictions: what was recognised when; time without a prediction is null.
        null: a name that means null too, if there is one (`Windows.unlabelled`).
        leave_out: time without a label does not count: it has no length, and nothing recognised in it alone
            is wrong; a prediction that goes on through it is still one.

    Raises:
        DataError: the extent is none, a prediction is no stretch of time or has no finite score, two
            predictions overlap, or two labels of different activities do.
    """

    recording: str
    extent: tuple[float, float]
    labels: Sequence[Span]
    predictions: Sequence[Segment]
    null: str | None = None
    leave_out: bool = False

    def __post_init__(self) -> None:
        start_s, stop_s = self.extent
        if not (math.isfinite(stop_s - start_s) and start_s < stop_s):
            got = f"extent is from {start_s} s to {stop_s} s"
            raise DataError(f"recording {self.recording}: {got}, expected a later stop")
        for segment in self.predictions:
            length_s = segment.stop_s - segment.start_s
            if not (math.isfinite(length_s) and length_s > 0 and math.isfinite(segment.score)):
                got = f"prediction {quote(tuple(segment))}"
                raise DataError(
                    f"recording {self.recording}: {got}, expected a start, a later stop and a score"
                )
        _ = self.truth, self.found

    @cached_property
    def truth(self) -> tuple[Segment, ...]:
        """The labels within the extent, in order of time, none of them null."""
        labels = [Segment(span.start_s, span.stop_s, span.activity) for span in self.labels]
        return self._in_order("label", labels)

    @cached_property
    def found(self) -> tuple[Segment, ...]:
        """The predictions within the extent, in order of time, none of them null."""
        return self._in_order("prediction", self.predictions)

    def counted(self, moments: np.ndarray) -> np.ndarray:
        """How many seconds that count lie before each of the moments, of any shape; by default all count."""
        if not self.leave_out:
            return moments
        ends = bounds(self.truth)
        lengths_s = np.diff(ends, prepend=ends[:, :1])  # 0 from the start to the start, then to the stop
        edges, seconds = np.append(self.extent[0], ends), np.append(0.0, lengths_s.cumsum())
        return np.asarray(np.interp(moments, edges, seconds).round(DECIMALS))

    def _in_order(self, kind: str, segments: Iterable[Segment]) -> tuple[Segment, ...]:
        ordered: list[Segment] = []
        for segment in sorted(map(_rounded, segments)):
            last = ordered[-1] if ordered else None
            if last is None or segment.start_s >= last.stop_s:
                ordered.append(segment)
            elif kind == "label" and segment.activity == last.activity:
                ordered[-1] = last._replace(stop_s=max(last.stop_s, segment.stop_s))
            else:
                got = f"{kind} {quote(segment.activity)} starts at {segment.start_s} s"
                expected = f"expected it not before {quote(last.activity)} ends at {last.stop_s} s"
                raise DataError(f"recording {self.recording}: {got}, {expected}")
        start_s, stop_s = (round(end_s, DECIMALS) for end_s in self.extent)
        cut = (s._replace(start_s=max(s.start_s, start_s), stop_s=min(s.stop_s, stop_s)) for s in ordered)
        return tuple(s for s in cut if s.start_s < s.stop_s and s.activity != self.null)


def check_activities(stretches: Iterable[Stretch], activities: Sequence[str]) -> None:
    """Refuse labels and predictions that are not of `activities`.

    Raises:
        DataError: one is not.
        ConfigError: an activity is there twice.
    """
    if len(set(activities)) < len(activities):
        raise ConfigError(f"activities: got {quote(list(activities))}, expected each once")
    for stretch in stretches:
        for kind, segments in (("label", stretch.truth), ("prediction", stretch.found)):
            if odd := {segment.activity for segment in segments} - set(activities):
                got = f"{kind} {quote(min(odd, key=str))}"
                raise DataError(
                    f"recording {stretch.recording}: {got}, expected one of: {', '.join(activities)}"
                )


def runs(segments: Sequence[Segment]) -> list[Run]:
    """Ordered segments without their scores, those of one activity that touch as one."""
    joined: list[Run] = []
    for segment in segments:
        last = joined[-1] if joined else None
        if last and last.activity == segment.activity and last.stop_s == segment.start_s:
            joined[-1] = last._replace(stop_s=segment.stop_s)
        else:
            joined.append(Run(*segment[:3]))
    return joined


def with_null(ordered: Sequence[Run], extent: tuple[float, float]) -> list[Run]:
    """Ordered runs, and between them the rest of the extent as runs without an activity."""
    start_s, stop_s = (round(end_s, DECIMALS) for end_s in extent)
    starts, stops = [run.start_s for run in ordered], [run.stop_s for run in ordered]
    ends = zip([start_s, *stops], [*starts, stop_s], strict=True)
    gaps = [Run(before_s, after_s, None) for before_s, after_s in ends if before_s < after_s]
    return sorted([*ordered, *gaps], key=lambda run: run.start_s)


def within(moments: np.ndarray, segments: Sequence[Segment] | Sequence[Run]) -> np.ndarray:
    """Which of the ordered segments each of the moments `(n,)` lies in, its start included; -1: in none."""
    starts, stops = bounds(segments).T
    places = np.searchsorted(starts, moments, side="right") - 1
    inside: np.ndarray = places >= 0
    inside[inside] = moments[inside] < stops[places[inside]]
    return np.where(inside, places, -1)


def bounds(segments: Sequence[Segment] | Sequence[Run]) -> np.ndarray:
    """When each of the segments starts and stops, `(segments, 2)`, in seconds."""
    return np.array([segment[:2] for segment in segments], np.float64).reshape(-1, 2)


def _rounded(segment: Segment) -> Segment:
    start_s, stop_s = round(segment.start_s, DECIMALS), round(segment.stop_s, DECIMALS)
    return segment._replace(start_s=start_s, stop_s=stop_s)
