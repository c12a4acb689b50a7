"""What a sender with a clock of its own has sent, as it arrives on the session's clock."""

import warnings
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64

from plait.errors import PlaitWarning
from plait.live.events import Arrived
from plait.live.following import Arrivals, Following

SAID_S = 3.0  # for which readings are left out before that is said


def warn(line: str) -> None:
    """Say what a person should know, and go on."""
    warnings.warn(line, PlaitWarning, stacklevel=2)


class Placing:
    """Readings at a sender's own times -> events at the session's.

    Args:
        stream: what is arriving.
        clock: how the sender's clock is known: it is measured by somebody, or told by arrivals.
        advice: what to do if its times cannot be what they should be.
    """

    def __init__(self, stream: str, clock: Following | Arrivals, advice: str = "") -> None:
        self.stream, self.advice = stream, advice
        self.arrivals = clock if isinstance(clock, Arrivals) else None
        self.following = clock.following if isinstance(clock, Arrivals) else clock
        self._heard_s: float | None = None  # when a reading was placed last
        self._said = False

    def events(
        self,
        own_s: Float64[np.ndarray, "n"],
        values: Float[np.ndarray, "n columns"],
        arrived_s: Float64[np.ndarray, "n"],
    ) -> Iterator[Arrived]:
        """What has arrived: at most one event, none where no reading has a time.

        Args:
            own_s: when each reading was taken, on the sender's clock.
            values: the readings.
            arrived_s: when each arrived, on the session's clock.
        """
        now_s = float(arrived_s[-1])
        if self.arrivals is not None:
            least = int(np.argmin(arrived_s - own_s))
            self.tell(self.arrivals.arrive(float(own_s[least]), float(arrived_s[least])))
        placed = self.following.place(own_s, now_s)
        if self._heard_s is None or placed.kept.any():
            self._heard_s = now_s
        elif now_s - self._heard_s > SAID_S and not self._said:
            self._said = True
            off_s = float(self.following.line(own_s[-1:])[0]) - now_s if self.following.line else 0.0
            warn(
                f"live: {self.stream}: readings are stamped {off_s:+.4g} s from when they arrive: left out"
                f"{self.advice}"
            )
        if placed.kept.any():
            yield Arrived(self.stream, placed.times, values[placed.kept].astype(np.float32), now_s)

    def tell(self, set_s: float | None) -> None:
        """Say that the sender's clock was set, if it was."""
        if set_s is not None:
            self._said = False
            warn(f"live: {self.stream}: the sensor's clock was set by {set_s:+.4g} s: followed from now on")
