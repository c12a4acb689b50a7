"""Whether what arrives is as fast and as strong as what a model was trained on."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from plait.live.events import Arrived, Event, Opening
from plait.recogniser.levels import StreamFacts, unlike_stream
from plait.recordings.sensors import SensorLog
from plait.types import Modality

LOOKED_S = 60.0  # of a stream that are looked at
LEAST_S = 5.0  # if it ends before


@dataclass
class _Heard:
    """What has arrived of a stream."""

    opening: Opening
    times: list[np.ndarray] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    first_s: float = math.inf
    last_s: float = -math.inf

    def add(self, event: Arrived) -> None:
        self.times.append(event.times)
        if self.opening.names:  # pictures have no level
            self.values.append(event.values)
        self.first_s = min(self.first_s, float(event.times.min()))
        self.last_s = max(self.last_s, float(event.times.max()))

    @property
    def lasts_s(self) -> float:
        """For how long it has been heard."""
        return self.last_s - self.first_s

    def log(self) -> SensorLog:
        """All of it in the order of its times; pictures as readings without columns."""
        times, first = np.unique(np.concatenate(self.times), return_index=True)
        values = np.concatenate(self.values)[first] if self.values else np.empty((len(times), 0), np.float32)
        return SensorLog(times, values, self.opening.names, between=self.opening.between)


class Likeness:
    """Looks once at each stream, at its first minute, or what there was of it.

    Args:
        known: what streams were like in the recordings that the model was trained on.
        openings: of the streams.
        modalities: what is made of them.
        seconds: the length of a window, if all have one.
    """

    def __init__(
        self,
        known: Mapping[str, StreamFacts],
        openings: Sequence[Opening],
        modalities: Sequence[Modality],
        seconds: float | None,
    ) -> None:
        self.known, self.modalities, self.seconds = known, modalities, seconds
        self._heard = {opening.stream: _Heard(opening) for opening in openings if opening.stream in known}

    def heard(self, event: Event) -> list[str]:
        """What is not as it was, as soon as an event tells; each line names its stream."""
        heard = self._heard.get(event.stream)
        if heard is None:
            return []
        if isinstance(event, Arrived) and len(event.times):
            heard.add(event)
        if heard.lasts_s < (LOOKED_S if isinstance(event, Arrived) else LEAST_S):
            return []
        return self._look(event.stream)

    def rest(self) -> Iterator[str]:
        """What is not as it was of streams whose first minute a session's end has cut short."""
        for stream in [name for name, heard in self._heard.items() if heard.lasts_s >= LEAST_S]:
            yield from self._look(stream)

    def _look(self, stream: str) -> list[str]:
        log = self._heard.pop(stream).log()
        return list(unlike_stream(self.known[stream], stream, log, self.modalities, self.seconds))
