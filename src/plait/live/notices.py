"""What a person should know while a session goes on: said once, when it begins, and when it is over."""

from collections.abc import Callable

from plait.live.cutter import Cutter
from plait.live.events import Arrived, Event
from plait.live.placing import warn


class Notices:
    """Lines on sensors and windows, each when something has changed.

    Args:
        cutter: who is there, by what it has been given.
        say: takes a line.
    """

    def __init__(self, cutter: Cutter, say: Callable[[str], object]) -> None:
        self.cutter, self.say = cutter, say
        self._there: dict[str, str] = {}  # what was said last of each stream
        self._late: set[str] = set()
        self._blind = self._no_numbers = False

    def heard(self, event: Event | None) -> None:
        """Say who has fallen silent or behind, is back, or has ended; and whose readings come too late."""
        at = f"{self.cutter.coming:9.1f} s  "
        for name, ring in self.cutter.rings.items():
            now = "has ended" if ring.ended else "is silent, or behind" if ring.hushed else "is back"
            before = self._there.setdefault(name, "is back")
            if now != before and name not in self.cutter.unheard:
                self._there[name] = now
                self.say(f"{at}{name} {now}")
        origin_s = self.cutter.origin_s
        if not isinstance(event, Arrived) or event.stream in self._late or origin_s is None:
            return
        ring = self.cutter.rings[event.stream]
        if ring.late and ring.clock is not None:
            self._late.add(event.stream)
            lag_s = event.arrived_s - origin_s - float(ring.clock.video_s(event.times[:1])[0])
            self.say(
                f"{at}{event.stream}: readings come {lag_s:.1f} s after they were taken, when windows that "
                "ask for them are over: a longer --patience waits for them"
            )

    def unheard(self, after_s: float) -> None:
        """Say which sensors have given nothing since the session began."""
        if not (unheard := self.cutter.unheard):
            return
        goes_on = "windows are scored without"
        if self.cutter.waiting:
            goes_on = "the recording's clock begins with the first picture: no window is scored before it"
        warn(f"live: {', '.join(unheard)}: nothing has come in {after_s:g} s; {goes_on}")

    def window(self, stop_s: float, lacks: str | None) -> None:
        """Say when nothing can be recognised any more, and when it can again; `lacks` says why not."""
        if (lacks is not None) != self._blind:
            self._blind = lacks is not None
            self.say(f"{stop_s:9.1f} s  {lacks or 'recognised again'}")

    def no_numbers(self, start_s: float) -> None:
        """Say, once, that scores are no numbers."""
        if not self._no_numbers:
            self._no_numbers = True
            what = f"live: the window from {start_s:.2f} s: its scores are no numbers"
            warn(f"{what}; left out, as are others like it")
