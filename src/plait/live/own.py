"""A sensor of one's own: a class or function that gives readings."""

import inspect
import queue
import time
from collections.abc import Iterable, Iterator
from threading import Event as Flag
from threading import Thread
from typing import Any

import numpy as np

from plait.errors import ConfigError, own_code, quote, raised
from plait.live.events import Ended, Event, Opening
from plait.live.following import STALE_S, Arrivals, Following, Line, through
from plait.live.placing import Placing, warn
from plait.trust import Trust

WAITING = 256  # readings that may wait
CHECK_S = 0.1  # between two looks at whether it is closed
CLOCKS = ("session", "arrival")
ADVICE = 'if the sensor has a clock of its own, say clock = "arrival"'


class Own:
    """The readings that a user's own code gives.

    What `module:Name` names is called without arguments, and gives an iterable of `(time_s, reading)`. Either
    of them says `names`, of a reading's columns; it may say `rate_hz`; `disorder_s`, the seconds by which
    readings may come after later ones; and `clock`: `"session"` if times are those of `time.monotonic()`, as
    by default, or `"arrival"` if they are a clock of the sensor's own, which is then told by when readings
    come. If it has a `close`, that is called in the end, from another thread.

    Args:
        stream: what it is called.
        path: `module:Name`.
        trust: whose code may run.

    Raises:
        ConfigError: its code is not trusted, fails, or does not say what it must.
    """

    def __init__(self, stream: str, path: str, trust: Trust) -> None:
        self.where = f"--stream {stream}={path}"
        make = trust.own(path, self.where)
        with own_code(self.where, passing=()):
            self.readings: Any = make() if callable(make) else make
        said = {
            name: getattr(self.readings, name, getattr(make, name, None))
            for name in ("names", "rate_hz", "clock", "disorder_s")
        }
        names, rate_hz, clock = said["names"], said["rate_hz"] or 0.0, said["clock"] or CLOCKS[0]
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise ConfigError(f"{self.where}: names is {quote(names)}, expected names of columns")
        names = tuple(map(str, names))
        if not names or len({*names}) < len(names):
            raise ConfigError(f"{self.where}: names is {quote(names)}, expected some that differ")
        if not isinstance(rate_hz, int | float) or not 0 <= rate_hz < np.inf:
            raise ConfigError(f"{self.where}: rate_hz is {quote(rate_hz)}, expected 0 or more")
        disorder_s = said["disorder_s"] or 0.0
        if not isinstance(disorder_s, int | float) or not 0 <= disorder_s <= STALE_S:
            expected = f"expected 0 to {STALE_S:g} seconds"
            raise ConfigError(f"{self.where}: disorder_s is {quote(disorder_s)}, {expected}")
        if clock not in CLOCKS:
            raise ConfigError(f"{self.where}: clock is {quote(clock)}, expected session or arrival")
        if not isinstance(self.readings, Iterable):
            raise ConfigError(f"{self.where}: gives no readings, expected an iterable of (time_s, reading)")
        self.openings = (Opening(stream, names, float(rate_hz), disorder_s=float(disorder_s)),)
        self._placing = Placing(stream, _clock(clock, float(disorder_s)), f"; {ADVICE}")
        self._begun = clock == "arrival"
        self._closed = Flag()
        self._items: queue.Queue[tuple[float, np.ndarray, float] | BaseException | None] = queue.Queue(
            WAITING
        )

    def __iter__(self) -> Iterator[Event]:
        """What its code gives.

        Raises:
            ConfigError: that fails, or gives something else than readings.
        """
        stream = self.openings[0].stream
        Thread(target=self._produce, name=f"plait-{stream}", daemon=True).start()
        while not self._closed.is_set():
            try:
                items = [self._items.get(timeout=CHECK_S)]
            except queue.Empty:
                continue
            while isinstance(items[-1], tuple) and len(items) < WAITING:
                try:
                    items.append(self._items.get_nowait())
                except queue.Empty:
                    break
            if readings := [item for item in items if isinstance(item, tuple)]:
                own_s, values, arrived_s = zip(*readings, strict=True)
                yield from self._arrived(np.array(own_s), np.stack(values), np.array(arrived_s))
            if isinstance(items[-1], BaseException):
                raise items[-1]
            if items[-1] is None:
                yield Ended(stream, None, time.monotonic())
                return

    def _arrived(self, own_s: np.ndarray, values: np.ndarray, arrived_s: np.ndarray) -> Iterator[Event]:
        off_s = own_s - arrived_s
        if not self._begun and (np.abs(off_s) > STALE_S).all():
            raise ConfigError(
                f"{self.where}: gave a time {off_s[0]:+.4g} s from now, expected seconds of "
                f"time.monotonic(); {ADVICE}"
            )
        self._begun = True
        yield from self._placing.events(own_s, values, arrived_s)

    @property
    def dropped(self) -> int:
        """How many readings were left out, for they have no time."""
        return self._placing.following.left_out

    def close(self) -> None:
        """End it."""
        if not self._closed.is_set():
            self._closed.set()
            Thread(target=self._close, daemon=True).start()

    def _close(self) -> None:
        close = getattr(self.readings, "close", None)
        if close is None or inspect.isgenerator(self.readings):  # which ends where it runs
            return
        try:
            close()
        except Exception as error:
            warn(f"{self.where}: cannot be closed: {raised(error)}")

    def _produce(self) -> None:
        """Run the user's code, in a thread of its own: it may wait for as long as it likes."""
        last: BaseException | None = None
        try:
            with own_code(self.where, passing=()):
                for item in self.readings:
                    if not self._put((*self._checked(item), time.monotonic())):
                        return
        except BaseException as error:
            last = error
        self._put(last)

    def _put(self, item: Any) -> bool:
        while not self._closed.is_set():
            try:
                self._items.put(item, timeout=CHECK_S)
            except queue.Full:
                continue
            return True
        return False

    def _checked(self, item: Any) -> tuple[float, np.ndarray]:
        try:
            own_s, reading = item
            own_s = float(own_s)
            values = np.array(reading, np.float32).reshape(-1)  # a copy: its own may be filled anew
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.where}: gave {quote(item)}, expected (time_s, reading)") from error
        names = self.openings[0].names
        if len(values) != len(names):
            raise ConfigError(f"{self.where}: gave {len(values)} numbers, expected {len(names)} as of names")
        if not np.isfinite(own_s):
            raise ConfigError(f"{self.where}: gave a time of {own_s}, expected seconds")
        return own_s, values


def _clock(clock: str, disorder_s: float) -> Following | Arrivals:
    """One that is told by arrivals, or the session's itself, which nobody measures."""
    if clock == "arrival":
        return Arrivals(disorder_s=disorder_s)
    following = Following(through, STALE_S, disorder_s)
    following.line = Line(0.0, 0.0)
    return following
