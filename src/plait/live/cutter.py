"""Windows of what arrives, cut as soon as nothing that may still come would change them."""

from collections.abc import Sequence

import numpy as np

from plait.clips.windows import ROUNDING_S, cut, moments
from plait.errors import ConfigError
from plait.live.events import Arrived, Event, Opening
from plait.live.rings import Ring, ring_of
from plait.recogniser.windows import Seen, Sliding
from plait.recordings.folder import Clock
from plait.types import Modality

PATIENCE_S = 1.5  # without a reading, after which a sensor is not waited for
FIRST_S = 10.0  # for which the first picture is waited for: cameras take their time to be opened


class Cutter:
    """Readings -> windows, in order, as `plait.recogniser.windows.seen` cuts them from the whole recording.

    A window is ready once every sensor has readings for all of it, or has been silent for `patience_s`, or
    is behind by as much. Windows are the same if that is at least the longest gap that is bridged
    (`max_gap_s`) and the longest delay together.

    Args:
        modalities: what windows are made of.
        openings: the streams there are; a modality that lacks one is absent.
        sliding: how windows are slid; their length must be given.
        patience_s: how long a sensor that is silent, or behind, is waited for.
        recorded: the session's clock is the recording's.

    Raises:
        ConfigError: windows have no length, or two streams one name.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        openings: Sequence[Opening],
        sliding: Sliding,
        patience_s: float = PATIENCE_S,
        recorded: bool = False,
    ) -> None:
        if sliding.seconds is None:
            raise ConfigError("live: the model looks at recordings as a whole, expected one with windows")
        self.seconds, self.stride_s = sliding.seconds, sliding.stride_s or sliding.seconds
        self.patience_s = patience_s
        self.rings: dict[str, Ring] = {}
        for opening in openings:
            if opening.stream in self.rings:
                raise ConfigError(f"live: two sources give the stream {opening.stream!r}, expected one")
            self.rings[opening.stream] = ring_of(opening)
        self.modalities = [m for m in modalities if set(m.streams) <= self.rings.keys()]
        self._used = dict.fromkeys(name for modality in self.modalities for name in modality.streams)
        self._origin_s: float | None = 0.0 if recorded else None
        self._heard_s: dict[str, float] = {}
        self._begun_s = -np.inf
        self._next = 0

    @property
    def origin_s(self) -> float | None:
        """When the recording begins, on the session's clock, where streams are on that: with a picture."""
        return self._origin_s

    @property
    def unheard(self) -> tuple[str, ...]:
        """The streams that have given nothing yet, and have not ended."""
        rings = self.rings.items()
        return tuple(name for name, ring in rings if ring.newest_s == -np.inf and not ring.ended)

    @property
    def waiting(self) -> bool:
        """Whether it is not known yet when the recording begins."""
        return any(ring.clock is None for ring in self.rings.values())

    def begin(self, now_s: float) -> None:
        """Wait for all sensors from now on."""
        self._heard_s, self._begun_s = dict.fromkeys(self.rings, now_s), now_s

    def feed(self, event: Event) -> None:
        """Take what has arrived."""
        ring = self.rings[event.stream]
        if not isinstance(event, Arrived):
            ring.end(event.stop_s)
            return
        newest_s = ring.newest_s
        ring.add(event.times, event.values)
        if ring.newest_s > newest_s:  # a clock that stands still, or was set back, is as good as silence
            self._heard_s[event.stream] = event.arrived_s
            if ring.clock is not None:
                seconds = ring.clock.video_s(event.times[event.times > newest_s])
                ring.late += int(np.sum((seconds >= 0) & (seconds <= ring.asked_s)))

    def ready(self, now_s: float) -> list[tuple[float, float]]:
        """The windows that have become ready, in order; each is given once."""
        for name, ring in self.rings.items():
            silent_s = now_s - self._heard_s.setdefault(name, now_s)
            if silent_s > self.patience_s and not ring.hushed and not ring.ended:
                ring.hush()
        if not self._on_one_clock(now_s):
            return []
        found: list[tuple[float, float]] = []
        reached_s = max((self.rings[name].reached_s for name in self._used), default=0.0)
        while True:
            start_s = self._next * self.stride_s
            window = start_s, start_s + self.seconds
            if window[1] > reached_s + ROUNDING_S or not self._settled(window, now_s):
                return found
            found.append(window)
            self._next += 1
            for modality in self.modalities:
                seconds = moments(modality, *window)
                for ring in (self.rings[name] for name in modality.streams):
                    if ring.hushed:  # else nothing is missing
                        ring.asked_s = max(ring.asked_s, float(seconds[-1]))

    @property
    def coming(self) -> float:
        """When the next window begins."""
        return self._next * self.stride_s

    def cut(self, window: tuple[float, float]) -> Seen:
        """A window that is ready, with a tensor of each modality that has readings in all of it."""
        streams = {m.name: {name: self.rings[name] for name in m.streams} for m in self.modalities}
        return Seen(*window, cut(self.modalities, streams, window, "live"))

    def begun(self, modality: Modality, number: int) -> list[np.ndarray]:
        """Reading `number`, `(1, ...)`, of each of a modality's streams in the next window, if there."""
        seconds = moments(modality, self.coming, self.coming + self.seconds)[: number + 1]
        rings = [self.rings[name] for name in modality.streams]
        if any(ring.clock is None or not ring.settled(seconds) for ring in rings):
            return []
        there = all(ring.has(seconds[-1:]).all() for ring in rings)
        return [ring.at(seconds[-1:]) for ring in rings] if there else []

    def forget(self, window: tuple[float, float]) -> None:
        """Let go of what only this window and those before asked for."""
        for ring in self.rings.values():
            ring.forget(window[0] + self.stride_s)

    def _settled(self, window: tuple[float, float], now_s: float) -> bool:
        """Whether nothing that is waited for may change a window; who is behind is `hush`ed."""
        behind: list[Ring] = []
        for modality in self.modalities:
            seconds = moments(modality, *window)
            for name in modality.streams:
                ring = self.rings[name]
                if ring.settled(seconds):
                    continue
                if (
                    self._origin_s is None
                    or now_s - self._origin_s <= ring.needed_s(seconds) + self.patience_s
                ):
                    return False
                behind.append(ring)
        for ring in behind:
            ring.hush()
        return True

    def _on_one_clock(self, now_s: float) -> bool:
        """Whether the recording's clock is known: it begins with the first picture, or reading.

        It is the reading where no video comes within `FIRST_S`.
        """
        waiting = [ring for ring in self.rings.values() if ring.clock is None]
        if not waiting:
            return True
        begun = [ring for ring in waiting if ring.first_s is not None]
        early = now_s - self._begun_s <= max(FIRST_S, self.patience_s)
        videos = [ring for ring in waiting if not ring.opening.names and not ring.ended]
        videos = [ring for ring in videos if ring.first_s is not None or early]
        first = [ring for ring in videos if ring.first_s is not None] or ([] if videos else begun)
        if not first:
            return False
        self._origin_s = min(ring.first_s for ring in first if ring.first_s is not None)
        for ring in waiting:
            ring.clock = Clock(self._origin_s)
        return True
