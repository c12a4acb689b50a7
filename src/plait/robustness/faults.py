"""What a fault is: a sensor that is worse than it was, step by step; and those that plait knows by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np

from plait.errors import ConfigError, own_code, quote
from plait.objects import resolve
from plait.robustness.pictures import Blurred, Dark, Occluded
from plait.robustness.signals import Biased, Dead, Noisy, OtherSide, Saturated, Turned
from plait.robustness.timing import Drifting, Dropped, Frozen, Gap, Late
from plait.types import Stream

MOST_STEPS = 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Occasion:
    """Where a fault befalls a clip, and what is drawn there: by names alone, in whatever order clips come.

    Draws are the same at every severity, so that steps differ in nothing but the step.

    Args:
        recording, clip: their names.
        start_s, stop_s: the first and the last moment that is read, on the recording's clock.
        draws: what names the draws besides: seed, fault, modality.
    """

    recording: str
    clip: str
    start_s: float
    stop_s: float
    draws: str

    @property
    def lasts_s(self) -> float:
        """Seconds from the first to the last moment."""
        return self.stop_s - self.start_s

    def of_recording(self, what: str = "") -> np.random.Generator:
        """A generator for what is the same throughout a recording, as how a sensor is worn."""
        return _drawing(f"{self.draws}/{self.recording}//{what}")

    def of_clip(self, what: str = "") -> np.random.Generator:
        """A generator for what differs from clip to clip, as noise."""
        return _drawing(f"{self.draws}/{self.recording}/{self.clip}/{what}")

    def around(self, times: np.ndarray) -> np.ndarray:
        """Which of `times` lie no farther outside the window than it is long: `(n,)`, bool."""
        near: np.ndarray = np.abs(times - (self.start_s + self.stop_s) / 2) <= 1.5 * self.lasts_s
        return near


def _drawing(named: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(sha256(named.encode()).digest()[:8]))


@runtime_checkable
class Fault(Protocol):
    """What may befall a sensor. One's own is any object or class with these, and may have `name` and `fits`.

    `fits(streams)` says whether it can befall a modality that is made of these streams; by default it can.
    """

    @property
    def unit(self) -> str:
        """What severities are counted in."""
        ...

    @property
    def severities(self) -> tuple[float, ...]:
        """The steps, from slight to severe; 0 would be none."""
        ...

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: Occasion) -> Mapping[str, Stream]:
        """A modality's streams, by name, as they are with the fault; one that is left out is gone."""
        ...


@dataclass(frozen=True)
class Absent:
    """The sensor is gone: methods that can do without do, all others recognise nothing."""

    name: str = "absent"
    unit: str = "gone"
    severities: tuple[float, ...] = (1.0,)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: Occasion) -> Mapping[str, Stream]:
        """No stream at all."""
        return {}


@dataclass(frozen=True)
class StandIn:
    """The sensor is gone, and the mean of the fold's training clips stands in its place, for every method."""

    name: str = "stand-in"
    unit: str = "gone, replaced"
    severities: tuple[float, ...] = (1.0,)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: Occasion) -> Mapping[str, Stream]:
        """No stream at all: what stands in is no reading."""
        return {}


FAULTS: dict[str, Any] = {
    fault.name: fault
    for fault in (
        Absent(),
        StandIn(),
        Gap(),
        Frozen(),
        Dropped(),
        Noisy(),
        Biased(),
        Saturated(),
        Dead(),
        Turned(),
        OtherSide(),
        Dark(),
        Blurred(),
        Occluded(),
        Late(),
        Drifting(),
    )
}


def named(name: str) -> tuple[str, Any]:
    """A fault and what it is called: one of `FAULTS`, or one's own, `"module:Name"`.

    Raises:
        ConfigError: there is none, or it is no fault.
    """
    if name in FAULTS:
        return name, FAULTS[name]
    where = f"--fault {name}"
    if ":" not in name:
        raise ConfigError(f"{where}: unknown, expected MODULE:NAME or one of: {', '.join(FAULTS)}")
    fault = resolve(name, where)
    if isinstance(fault, type):
        with own_code(where):
            fault = fault()
    if not isinstance(fault, Fault) or not callable(fault.worsen) or not isinstance(fault.unit, str):
        expected = "expected unit, severities and worsen(streams, severity, at)"
        raise ConfigError(f"{where}: is no fault, {expected}")
    steps, called = fault.severities, getattr(fault, "name", None) or name.rpartition(":")[2]
    if (
        not isinstance(steps, tuple | list)
        or not 1 <= len(steps) <= MOST_STEPS
        or not all(isinstance(step, int | float) and np.isfinite(step) and step > 0 for step in steps)
        or any(a >= b for a, b in pairwise(steps))
    ):
        raise ConfigError(
            f"{where}: severities are {quote(steps)}, expected 1 to {MOST_STEPS} numbers above 0 that grow"
        )
    if not isinstance(called, str) or not NAME.fullmatch(called) or called in FAULTS:
        raise ConfigError(
            f"{where}: is called {quote(called)}, expected letters, digits, '.', '_' and '-', and none of "
            "plait's names"
        )
    return called, fault


def fits(fault: Any, streams: Mapping[str, Stream]) -> bool:
    """Whether a fault can befall a modality that is made of `streams`.

    Raises:
        DataError: a stream cannot be read.
        ConfigError: a user's own `fits` fails.
    """
    own = getattr(fault, "fits", None)
    if own is None:
        return True
    with own_code(f"fault {type(fault).__name__}: fits"):
        return bool(own(streams))
