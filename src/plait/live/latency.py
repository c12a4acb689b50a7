"""How long it takes from the last reading's arrival to scores, and what of it."""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from torch import nn

from plait.recogniser.recogniser import Recogniser

KEPT = 100_000  # windows


class Latency(NamedTuple):
    """Seconds of one window.

    Args:
        total_s: from its last reading's arrival, of a picture before it is decoded, to its scores.
        arriving_s: until that was taken.
        waiting_s: until somebody looked.
        cutting_s: until its tensors were made.
        features_s: in frozen encoders before the networks.
        encoders_s: in the networks' encoders.
        fusion_s: in the methods.
    """

    total_s: float
    arriving_s: float = 0.0
    waiting_s: float = 0.0
    cutting_s: float = 0.0
    features_s: float = 0.0
    encoders_s: float = 0.0
    fusion_s: float = 0.0


class Latencies:
    """The latencies of a session's last windows."""

    def __init__(self) -> None:
        self.windows: deque[Latency] = deque(maxlen=KEPT)

    def add(self, latency: Latency) -> None:
        """One more window."""
        self.windows.append(latency)

    def quantile(self, share: float) -> Latency:
        """Each part's quantile."""
        if not self.windows:
            return Latency(0.0)
        return Latency(*np.quantile(np.array(self.windows), share, axis=0).tolist())


class Stopwatch:
    """Seconds that some modules take, by part.

    Args:
        parts: modules by what they are part of.
    """

    def __init__(self, parts: Mapping[str, Iterable[nn.Module]]) -> None:
        self.spent_s = dict.fromkeys(parts, 0.0)
        for name, modules in parts.items():
            for module in modules:
                module.register_forward_pre_hook(partial(self._begin, name))
                module.register_forward_hook(partial(self._end, name))

    def reset(self) -> None:
        """Begin at zero."""
        self.spent_s = dict.fromkeys(self.spent_s, 0.0)

    def _begin(self, name: str, *_: object) -> None:
        self.spent_s[name] -= time.monotonic()

    def _end(self, name: str, *_: object) -> None:
        self.spent_s[name] += time.monotonic()


def stopwatch(recogniser: Recogniser) -> Stopwatch:
    """Of a recogniser's networks: their encoders, and their methods."""
    networks = [member.network for member in recogniser.members]
    encoders = [encoder for network in networks for encoder in network.encoders.values()]
    return Stopwatch({"encoders": encoders, "fusion": [network.method for network in networks]})
