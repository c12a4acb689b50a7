"""The clock of a session."""

import math
import time
from threading import Event


class Pace:
    """Seconds on the clock of a session, on which readings arrive.

    Args:
        speed: how fast it goes: 1 for what happens now, or faster for a recording; infinite: it stands, and
            jumps to where somebody would wait for it.
        begins_s: what it shows at first; by default the machine's monotonic clock, so that sources may stamp
            with `time.monotonic()`.
    """

    def __init__(self, speed: float = 1.0, begins_s: float | None = None) -> None:
        self.speed, self._given_s = speed, begins_s
        self.begin()

    def begin(self) -> None:
        """Begin anew, now."""
        self._zero_s = time.monotonic()
        self._begins_s = self._zero_s if self._given_s is None else self._given_s
        self._reached_s = self._begins_s

    @property
    def waits(self) -> bool:
        """Whether time passes by itself."""
        return math.isfinite(self.speed)

    @property
    def recorded(self) -> bool:
        """Whether it is a recording's clock: what has not been read of that yet is not silent."""
        return self._given_s is not None

    def now(self) -> float:
        """Seconds now."""
        if not self.waits:
            return self._reached_s
        return self._begins_s + (time.monotonic() - self._zero_s) * self.speed

    def wait(self, until_s: float, stopped: Event) -> bool:
        """Wait for a moment; False where `stopped` was set before it came."""
        if not self.waits:
            self._reached_s = max(self._reached_s, until_s)
            return not stopped.is_set()
        while (left_s := (until_s - self.now()) / self.speed) > 0:
            if stopped.wait(min(left_s, 0.5)):
                return False
        return not stopped.is_set()
