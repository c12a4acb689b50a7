"""The last seconds of each stream, as windows ask for them."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from plait.errors import DataError
from plait.live.events import Opening
from plait.live.order import AHEAD_S, InOrder
from plait.recordings.between import SLACK_S, carried
from plait.recordings.folder import Clock
from plait.recordings.sensors import SensorLog, reach_s

FEWEST = 64  # pictures for which there is room
MEASURED, MEASURED_S = 50, 3.0  # readings, or seconds of them, from which an unknown rate is taken


@dataclass(frozen=True, eq=False)
class Kept(SensorLog):
    """The last readings of a log whose rate is known."""

    known_hz: float = 0.0

    @property
    def rate_hz(self) -> float:
        """Readings per second of the whole log."""
        return self.known_hz


class Ring(ABC):
    """A `Stream` of the readings that have arrived and are still needed, on the recording's clock.

    Readings are taken in order of their times (`InOrder`); those that are left out are counted in `late`, to
    which `Cutter` adds those that come after a window that asks for them.
    """

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.clock: Clock | None = opening.clock
        self.first_s: float | None = None  # on its own clock, as are the next
        self.own_s = np.empty(0)
        self.late = 0
        self.asked_s = -math.inf  # up to where windows that did not wait for it have asked for readings
        self.ended = self.hushed = False
        self.stop_s: float | None = None
        self._order = InOrder(opening.disorder_s, AHEAD_S if opening.names else math.inf)

    @property
    def times(self) -> np.ndarray:
        """Seconds of each reading that is kept, on the recording's clock."""
        return self._clock.video_s(self.own_s)

    @property
    def reached_s(self) -> float:
        """Until when there are readings, on the recording's clock."""
        if self.ended and self.stop_s is not None:
            return self.stop_s
        if self.clock is None or not len(self.own_s):
            return -math.inf
        lasts_s = self.lasts_s if self.ended else 0.0
        return float(self._clock.video_s(self.own_s[-1:])[0]) + lasts_s

    @property
    def newest_s(self) -> float:
        """The latest time that has come, on its own clock."""
        return self._order.newest_s

    def add(self, times: np.ndarray, values: np.ndarray) -> None:
        """Take readings `(n, ...)` with their times `(n,)` on the stream's own clock."""
        left_out = self._order.add(times, values)
        self.late += left_out
        if left_out < len(times):
            self.hushed = False
        self._commit(self._order.take())

    def hush(self) -> None:
        """Take what waits: it is silent, or behind, for so long that it is not waited for."""
        self._commit(self._order.take(whole=True))
        self.hushed = True

    def end(self, stop_s: float | None) -> None:
        """Take what waits: there will be no more. `stop_s` is on the recording's clock."""
        self._order.settle()
        self._commit(self._order.take(whole=True))
        self.ended, self.stop_s = True, stop_s

    @abstractmethod
    def settled(self, seconds: np.ndarray) -> bool:
        """Whether nothing that may still come changes what is at some moments, in order."""

    @abstractmethod
    def needed_s(self, seconds: np.ndarray) -> float:
        """Up to where readings are needed for some moments, on the recording's clock."""

    @abstractmethod
    def has(self, seconds: np.ndarray) -> np.ndarray:
        """Whether there is a reading at each of some moments that are settled; gaps aside."""

    @abstractmethod
    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Readings at moments, `(n, ...)`, as of the whole stream."""

    @abstractmethod
    def forget(self, before_s: float) -> None:
        """Let go of what no moment from `before_s` on asks for."""

    @property
    @abstractmethod
    def lasts_s(self) -> float:
        """For how long a reading that has no successor holds."""

    @abstractmethod
    def _take(self, times: list[float], values: list[np.ndarray]) -> None:
        """Keep readings in order, later than all that are kept."""

    def _commit(self, ripe: list[tuple[float, np.ndarray]]) -> None:
        if ripe:
            if self.first_s is None:
                self.first_s = ripe[0][0]
            self._take([own_s for own_s, _ in ripe], [value for _, value in ripe])

    @property
    def _clock(self) -> Clock:
        assert self.clock is not None, "no window is cut before the recording's clock is known"
        return self.clock


class LogRing(Ring):
    """The last readings of a sensor log."""

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        columns = len(opening.names)
        self.rate_hz = opening.rate_hz
        self.values = np.empty((0, columns), np.float32)
        self.whole_s = np.full(columns, -math.inf)  # of each column's last number
        self._log: Kept | None = None

    @property
    def lasts_s(self) -> float:
        """The median spacing."""
        return 1.0 / self.rate_hz if self.rate_hz else 0.0

    def settled(self, seconds: np.ndarray) -> bool:
        """Whether every column has a number from where a low-pass reaches on, or has ended, or a gap."""
        if self.ended or self.hushed:
            return True
        if not len(self.own_s) or (not self.rate_hz and not self._measured()):
            return False
        own_s = self._clock(seconds)
        needed_s = own_s[-1] + self._reach_s(own_s)
        silent_s = self.own_s[-1] - self.whole_s
        return bool(((self.whole_s >= needed_s) | (silent_s > self.opening.max_gap_s + SLACK_S)).all())

    def needed_s(self, seconds: np.ndarray) -> float:
        """Up to where a low-pass reaches."""
        return float(seconds[-1]) + (self._reach_s(self._clock(seconds)) if self.rate_hz else 0.0)

    def has(self, seconds: np.ndarray) -> np.ndarray:
        """Whether moments lie between the first reading and the last, or the end of the last of all."""
        if self.first_s is None:
            return np.zeros(len(seconds), np.bool_)
        own_s = self._clock(np.asarray(seconds, np.float64))
        last_s = self.own_s[-1] + (self.lasts_s if self.ended else 0.0)
        return np.asarray((own_s >= self.first_s - SLACK_S) & (own_s <= last_s + SLACK_S))

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """As `SensorLog.at`."""
        if self._log is None:
            log = self.opening
            kept = self.own_s, self.values, log.names, log.max_gap_s, log.between
            self._log = Kept(*kept, known_hz=self.rate_hz)
        own_s = self._clock(np.asarray(seconds, np.float64))
        values = self._log.at(own_s)
        if not self.ended:  # the last reading that is kept is not the last of all, whose value would hold
            values[own_s > self.own_s[-1] + SLACK_S] = np.nan
        return values

    def forget(self, before_s: float) -> None:
        """Let go of readings that neither a moment nor a low-pass asks for."""
        own_s = self._clock(np.array([before_s]))[0] - self._behind_s - self.opening.max_gap_s
        first = int(np.searchsorted(self.own_s, own_s)) - 1
        if first > 0:
            self.own_s, self.values, self._log = self.own_s[first:].copy(), self.values[first:].copy(), None

    _behind_s = 0.0  # how far a low-pass reached at most

    def _reach_s(self, own_s: np.ndarray) -> float:
        spacing_s = float(np.median(np.diff(own_s))) if len(own_s) > 1 else 0.0
        reach = reach_s(spacing_s, self.rate_hz)
        self._behind_s = max(self._behind_s, reach)
        return reach

    def _measured(self) -> bool:
        if len(self.own_s) >= MEASURED or (
            len(self.own_s) > 2 and self.own_s[-1] - self.own_s[0] >= MEASURED_S
        ):
            self.rate_hz = 1.0 / float(np.median(np.diff(self.own_s)))
        return bool(self.rate_hz)

    def _take(self, times: list[float], values: list[np.ndarray]) -> None:
        rows = np.array(values, np.float32).reshape(len(times), -1)
        between, last = self.opening.between, slice(len(self.own_s[-1:]), None)
        both = np.concatenate([self.own_s[-1:], times]), np.concatenate([self.values[-1:], rows])
        carried(between, *both, self.opening.max_gap_s)
        rows = both[1][last]
        self.own_s = np.concatenate([self.own_s, times])
        self.values = np.concatenate([self.values, rows])
        for own_s, whole in zip(times, between.known(rows), strict=True):
            self.whole_s[whole] = own_s
        self._log = None


class VideoRing(Ring):
    """The last pictures of a video, in memory that is taken once: what comes and goes would leave holes."""

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self._store = np.empty((0, 0, 0, 3), np.uint8)
        self._begin = 0  # where the first of them lies

    @property
    def lasts_s(self) -> float:
        """The median spacing, as far as it is known."""
        if self.opening.rate_hz:
            return 1.0 / self.opening.rate_hz
        return float(np.median(np.diff(self.own_s))) if len(self.own_s) > 1 else 0.0

    def settled(self, seconds: np.ndarray) -> bool:
        """Whether the picture after the last moment is there."""
        last_s = self._clock(np.asarray(seconds[-1:]))[0] + self.opening.tolerance_s
        return self.ended or self.hushed or (len(self.own_s) > 0 and bool(self.own_s[-1] > last_s))

    def needed_s(self, seconds: np.ndarray) -> float:
        """The last moment."""
        return float(seconds[-1])

    def has(self, seconds: np.ndarray) -> np.ndarray:
        """As `Video.has`; of a camera that is silent, as if it had ended."""
        if self.first_s is None:
            return np.zeros(len(seconds), np.bool_)
        first_s = self.first_s if self.opening.begins_s is None else self.opening.begins_s
        own_s, last_s = self._clock(np.asarray(seconds, np.float64)), math.inf
        if self.ended and self.stop_s is not None:
            last_s = float(self._clock(np.array([self.stop_s]))[0])
        elif self.ended or (self.hushed and math.isfinite(self.opening.max_gap_s)):
            last_s = float(self.own_s[-1]) + self.lasts_s
        return np.asarray((own_s >= first_s - SLACK_S) & (own_s <= last_s + SLACK_S))

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """As `Video.at`: the picture on display at each moment."""
        places = (self._begin + self._shown(seconds)) % len(self._store)
        pictures: np.ndarray = self._store[places]
        return pictures

    def forget(self, before_s: float) -> None:
        """Let go of pictures that are no longer on display."""
        if len(self.own_s) and (first := int(self._shown(np.array([before_s]))[0])) > 0:
            self.own_s = self.own_s[first:].copy()
            self._begin = (self._begin + first) % len(self._store)

    def _shown(self, seconds: np.ndarray) -> np.ndarray:
        rounded = self._clock(np.asarray(seconds, np.float64)) + self.opening.tolerance_s
        return np.maximum(np.searchsorted(self.own_s, rounded, side="right") - 1, 0)

    def _take(self, times: list[float], values: list[np.ndarray]) -> None:
        kept = len(self.own_s)
        if kept + len(values) > len(self._store):
            store = np.empty((max(FEWEST, 2 * (kept + len(values))), *values[0].shape), values[0].dtype)
            if kept:
                store[:kept] = self._store[(self._begin + np.arange(kept)) % len(self._store)]
            self._store, self._begin = store, 0
        for number, picture in enumerate(values, kept):
            if picture.shape != self._store.shape[1:]:
                raise DataError(f"{self.opening.stream}: pictures change their size, expected one throughout")
            self._store[(self._begin + number) % len(self._store)] = picture
        self.own_s = np.concatenate([self.own_s, times])


def ring_of(opening: Opening) -> Ring:
    """An empty ring for a stream."""
    return LogRing(opening) if opening.names else VideoRing(opening)
