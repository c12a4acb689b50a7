"""Times of streams in a few numbers: ends, steps, gaps and rates."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from plait.types import Recording

QUARTER = 64  # readings in each quarter of a recording, from which on its rate says anything


class Times(NamedTuple):
    """A stream's times in a few numbers.

    Args:
        readings: how many there are.
        first_s, last_s: its ends.
        step_s: the median step.
        gap_s, gap_at_s: the longest step, and when it begins.
        alone: whether all other streams have readings within it.
        mean_step_s: the mean of steps up to three median ones.
        whole_step_s: the same, where one of two or three median ones counts as two or three, as of lost
        readings.
        uneven: natural logarithm of the fastest by the slowest rate of its quarters.
        label_s: when the recording's first label begins, infinite without any.
    """

    readings: int
    first_s: float
    last_s: float
    step_s: float
    gap_s: float
    gap_at_s: float
    alone: bool
    mean_step_s: float
    whole_step_s: float
    uneven: float
    label_s: float


def look(recording: Recording) -> dict[str, Times]:
    """Each stream's times in a few numbers."""
    times = {name: np.asarray(stream.times, np.float64) for name, stream in recording.streams.items()}
    label_s = min((span.start_s for span in recording.spans), default=math.inf)
    return {
        name: _facts(own, [other for its, other in times.items() if its != name], label_s)
        for name, own in times.items()
        if len(own) > 2
    }


def _facts(times: np.ndarray, others: list[np.ndarray], label_s: float) -> Times:
    steps = np.diff(times)
    at, step = int(np.argmax(steps)), float(np.median(steps))
    quarter_s = float(steps[at]) / 4
    inside = times[at] + quarter_s, times[at + 1] - quarter_s
    went_on = [((other > inside[0]) & (other < inside[1])).any() for other in others]
    ordinary = steps[steps <= 3 * step]
    quarters = (
        [float(part[part <= 3 * step].mean()) for part in np.array_split(steps, 4)]
        if len(steps) >= 4 * QUARTER
        else [1.0]
    )
    return Times(
        len(times),
        float(times[0]),
        float(times[-1]),
        step,
        float(steps[at]),
        float(times[at]),
        all(went_on),
        float(ordinary.mean()),
        float(ordinary.sum() / np.maximum(np.rint(ordinary / step), 1).sum()),
        float(np.log(max(quarters) / min(quarters))),
        label_s,
    )


def by_stream(facts: Mapping[str, dict[str, Times]]) -> dict[str, dict[str, Times]]:
    """The facts of each stream, by recording."""
    found: dict[str, dict[str, Times]] = {}
    for recording, streams in facts.items():
        for stream, times in streams.items():
            found.setdefault(stream, {})[recording] = times
    return found


def lags(
    every: Mapping[str, dict[str, Times]], end: Literal["first_s", "last_s"]
) -> dict[str, dict[str, float]]:
    """By stream and recording, how much later it begins or ends than the median of the others."""
    found: dict[str, dict[str, float]] = {}
    for recording, streams in every.items():
        for name, times in streams.items():
            found.setdefault(name, {})
            others = [getattr(other, end) for its, other in streams.items() if its != name]
            if others:
                found[name][recording] = float(getattr(times, end) - np.median(others))
    return found
