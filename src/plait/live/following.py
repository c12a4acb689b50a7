"""From a sender's clock to the session's: what is measured now and then is followed, and so is drift."""

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import theilslopes

from plait.errors import DataError

STEADY = (
    500e-6  # seconds a second by which a clock drifts at most that is a computer's, or known for a moment
)
LOOSE, LOOSE_S = 0.02, 5.0  # any clock's, and what it takes to tell
SLEW = 0.1  # seconds a second by which what is better known is approached
STEP_S = 0.1  # what is farther off is no drift: a clock that was set
FINE_S = 1e-4  # what cannot be measured better
STALE_S = 30.0  # readings are from no longer ago
BIN_S = 1.0  # of arrivals, of which the one that took least counts
DOUBT, AGREEING = 3, 5  # measurements in a row that speak against a clock, and for another one
MOST = 1000  # measurements in a window


class Line(NamedTuple):
    """A clock: `own_s + offset_s` at `own_s`, and from there on `slope` seconds a second more."""

    own_s: float
    offset_s: float
    slope: float = 0.0

    def __call__(self, own_s: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
        """The session's seconds."""
        times: np.ndarray = own_s + self.offset_s + (own_s - self.own_s) * self.slope
        return times


Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, float]]


class Placed(NamedTuple):
    """Readings on the session's clock.

    Args:
        kept: whether each reading has a time, `(n,)`.
        times: of those that have, in seconds.
    """

    kept: Bool[np.ndarray, "n"]
    times: Float64[np.ndarray, "kept"]


class Following:
    """The session's times of a sender's readings, from measurements of how its clock differs.

    A line is fitted to the measurements of the last `window_s`. Where it changes, times approach the new one
    by `SLEW`, so that they are in order. What is farther than `STEP_S` from the line counts as soon as
    `AGREEING` measurements in a row say the same: then the clock was set, and what was known of it is
    forgotten. Safe to be measured from another thread.

    Args:
        fit: offset and slope, at 0, of a line through `(own_s, offset_s, error_s)`, each `(n,)`.
        window_s: how long a measurement counts.
        disorder_s: by how many seconds readings may come after later ones.
    """

    def __init__(self, fit: Fit, window_s: float, disorder_s: float = 0.0) -> None:
        self.fit, self.window_s, self.disorder_s = fit, window_s, max(disorder_s, STEP_S)
        self.line: Line | None = None
        self.left_out = 0
        self._lock = Lock()
        self._measures: deque[tuple[float, float, float]] = deque(maxlen=MOST)
        self._odd: deque[tuple[float, float, float]] = deque(maxlen=AGREEING)
        self._lag_s, self._lag_at_s = 0.0, 0.0
        self._last_s = self._newest_s = -np.inf  # own, and the session's, of the last reading

    def measure(self, own_s: float, session_s: float, error_s: float = 0.0) -> float | None:
        """Take a measurement; says by how many seconds the sender's clock was set, where that is seen.

        Args:
            own_s: what the sender's clock showed.
            session_s: what the session's showed.
            error_s: by how much that may be wrong.
        """
        measure = own_s, session_s - own_s, error_s
        with self._lock:
            if self.line is not None and len(self._measures) >= AGREEING:
                off_s = session_s - float(self.line(np.array([own_s]))[0])
                if abs(off_s) > STEP_S + error_s:
                    self._odd.append(measure)
                    if not self._agree(AGREEING):
                        return None
                    self._measures = deque(self._odd, maxlen=MOST)
                    self._odd.clear()
                    self._fit()
                    return -off_s
            self._odd.clear()
            self._measures.append(measure)
            while sum(self._measures[0][:2]) < session_s - self.window_s:
                self._measures.popleft()
            self._fit()
            return None

    def place(self, own_s: Float64[np.ndarray, "n"], arrived_s: float) -> Placed:
        """The session's times of readings that have arrived by then; strictly increasing if `own_s` are.

        A reading is left out if its time cannot be, for it would be later than its arrival, or long before
        it, or before that of one taken earlier; or if the last `DOUBT` measurements agree against the line.
        Then the sender's clock was set, and is not yet known again.

        Raises:
            DataError: nothing has been measured yet.
        """
        with self._lock:
            if self.line is None:
                raise DataError("live: the sender's clock has not been measured yet")
            times = self._at(own_s)
            kept = (times <= arrived_s + STEP_S) & (times >= arrived_s - STALE_S)
            kept &= times > self._newest_s - np.where(own_s <= self._last_s, self.disorder_s, 0.0)
            kept &= not self._agree(DOUBT)
            if kept.any():
                last = int(np.argmax(np.where(kept, own_s, -np.inf)))
                if times[last] > self._newest_s:
                    self._last_s, self._newest_s = float(own_s[last]), float(times[last])
            self.left_out += int(np.sum(~kept))
            return Placed(kept, times[kept])

    def _agree(self, count: int) -> bool:
        """Whether the last `count` measurements speak against the line, and for the same."""
        offsets = [offset_s for _, offset_s, _ in self._odd][-count:]
        return len(offsets) == count and max(offsets) - min(offsets) <= STEP_S

    def _at(self, own_s: np.ndarray) -> np.ndarray:
        assert self.line is not None
        since_s = np.maximum(own_s - self._lag_at_s, 0.0)
        lag_s = np.sign(self._lag_s) * np.maximum(abs(self._lag_s) - SLEW * since_s, 0.0)
        times: np.ndarray = self.line(own_s) + lag_s
        return times

    def _fit(self) -> None:
        own_s, offset_s, error_s = np.array(self._measures).T
        last_s, last_offset_s = float(own_s[-1]), float(offset_s[-1])
        offset, slope = self.fit(own_s - last_s, offset_s - last_offset_s, error_s)
        line = Line(last_s, last_offset_s + offset, slope)
        if np.isfinite(self._last_s) and self.line is not None:
            at = np.array([self._last_s])
            self._lag_s, self._lag_at_s = float((self._at(at) - line(at))[0]), self._last_s
            if abs(self._lag_s) > STEP_S:
                self._lag_s = 0.0
        self.line = line


class Arrivals:
    """A sender's clock told by when its readings arrive: those that took least are on a line.

    What the way takes at least is in the offset and cannot be told.

    Args:
        window_s: how long an arrival counts.
        disorder_s: by how many seconds readings may come after later ones.
    """

    def __init__(self, window_s: float = 60.0, disorder_s: float = 0.0) -> None:
        self.following = Following(below, window_s, disorder_s)
        self._least: tuple[float, float] | None = None
        self._until_s = -np.inf

    def arrive(self, own_s: float, arrived_s: float) -> float | None:
        """Take an arrival; says by how many seconds the sender's clock was set, where that is seen."""
        least = self._least
        if least is None or arrived_s - own_s < least[1] - least[0]:
            self._least = own_s, arrived_s
        line = self.following.line
        early = line is None or arrived_s < line(np.array([own_s]))[0] - FINE_S
        if early or arrived_s >= self._until_s:
            least = (own_s, arrived_s) if early or self._least is None else self._least
            self._least, self._until_s = None, arrived_s + BIN_S
            return self.following.measure(*least)
        return None


def through(
    own_s: Float64[np.ndarray, "n"], offset_s: Float64[np.ndarray, "n"], error_s: Float64[np.ndarray, "n"]
) -> tuple[float, float]:
    """Offset and slope of a line through measurements that may be off to both sides, by their errors.

    Theil and Sen's line tells which are outliers; the others are weighted by their errors.
    """
    slope = 0.0
    if np.ptp(own_s) > 0:
        slope = float(np.clip(theilslopes(offset_s, own_s)[0], -STEADY, STEADY))
    rest = offset_s - slope * own_s
    rest -= np.median(rest)
    usual_s = max(1.5 * float(np.median(np.abs(rest))), float(np.median(error_s)), FINE_S)
    inside = np.abs(rest) <= 3 * np.maximum(usual_s, error_s)
    own_s, offset_s = own_s[inside], offset_s[inside]
    weights = 1 / (error_s[inside] + FINE_S) ** 2
    mean_s, mean_offset_s = np.average(own_s, weights=weights), np.average(offset_s, weights=weights)
    spread = float(np.sum(weights * (own_s - mean_s) ** 2))
    if spread > 0:
        slope = float(np.sum(weights * (own_s - mean_s) * (offset_s - mean_offset_s)) / spread)
        slope = float(np.clip(slope, -STEADY, STEADY))
    return float(mean_offset_s - slope * mean_s), slope


def below(
    own_s: Float64[np.ndarray, "n"], offset_s: Float64[np.ndarray, "n"], error_s: Float64[np.ndarray, "n"]
) -> tuple[float, float]:
    """Offset and slope of the highest line below measurements that are off to one side.

    The sum of their distances is least: that is the edge of the lower convex hull below their mean (Moon,
    Skelly and Towsley 1999, "Estimation and removal of clock skew from network delay measurements").
    """
    hull: list[tuple[float, float]] = []
    for point in sorted(zip(own_s.tolist(), offset_s.tolist(), strict=True)):
        if hull and hull[-1][0] == point[0]:
            continue
        while len(hull) > 1 and _bends_down(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    slope, mean_s = 0.0, float(np.mean(own_s))
    for left, right in pairwise(hull):
        if left[0] <= mean_s <= right[0]:
            slope = (right[1] - left[1]) / (right[0] - left[0])
    most = LOOSE if np.ptp(own_s) > LOOSE_S else STEADY
    slope = float(np.clip(slope, -most, most))
    return float(np.min(offset_s - slope * own_s)), slope


def _bends_down(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])
