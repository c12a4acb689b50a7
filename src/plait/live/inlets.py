"""A connection to an outlet of the Lab Streaming Layer, whose clock is asked for again and again."""

import ctypes
import importlib
import os
import time
from contextlib import suppress
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import numpy as np

from plait.errors import ConfigError, DataError, one_line
from plait.live.following import Arrivals, Following, through
from plait.live.placing import Placing

CHECK_S = 0.1  # between two looks
KEPT_S = 10  # of readings that liblsl keeps for who is late
AT_ONCE = 1024  # readings
WINDOW_S = 120.0  # for which a measurement of the clock counts
PROBED_S = 0.5  # between two questions for the clock: liblsl measures it every two seconds
BRACKETS = 8  # readings of both clocks of this machine, the closest of which counts
QUIET = "[log]\nlevel = -3\n"  # lost outlets are said by us


class Inlet:
    """An inlet, and the thread that asks for its clock.

    Args:
        lsl: the library.
        info: which outlet.
        stream: what it is called.
        clock: how its clock is known.
        where: what errors begin with.
    """

    def __init__(self, lsl: Any, info: Any, stream: str, clock: str, where: str) -> None:
        self.lsl, self.where, self.uid = lsl, where, info.uid()
        if info.channel_format() == lsl.cf_string:
            raise DataError(f"{where}: the outlet sends text, expected numbers")
        self.names: tuple[str, ...] = ()
        self.inlet = lsl.StreamInlet(info, max_buflen=KEPT_S, recover=False)
        advice = "; if its sender stamps them by a clock of its own, say ?clock=arrival"
        self.placing = Placing(stream, Following(through, WINDOW_S), advice)
        self._asks: Thread | None = None
        if clock == "arrival":
            self.placing = Placing(stream, Arrivals())
        else:
            self._asks = Thread(target=self._ask, name=f"plait-clock-{stream}", daemon=True)
        self._heard_s = time.monotonic()
        self._closed, self._asked = Flag(), Flag()

    def open(self, timeout_s: float, stopped: Flag) -> None:
        """Connect, and wait until its clock is known.

        Raises:
            DataError: it does not answer in time.
        """
        until_s = time.monotonic() + timeout_s
        if self._asks is not None:
            self._asks.start()
        while not self.names or not (self._asks is None or self._asked.is_set()):
            if time.monotonic() > until_s or stopped.is_set():
                lacks = "does not answer"
                if self.names:
                    lacks = "does not tell its clock (by UDP: is it let through? ?clock=arrival does without)"
                raise DataError(f"{self.where}: the outlet {lacks} within {timeout_s:g} s")
            if self.names:
                self._asked.wait(CHECK_S)
                continue
            with suppress(self.lsl.util.TimeoutError):
                self.names = _names(self.inlet.info(CHECK_S))
        self._heard_s = time.monotonic()

    def pull(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What has come: times `(n,)`, readings `(n, channels)`, when they arrived `(n,)`; waits a moment."""
        sample, own_s = self.inlet.pull_sample(CHECK_S)
        if sample is None:
            return np.empty(0), np.empty((0, len(self.names))), np.empty(0)
        samples, times = self.inlet.pull_chunk(0.0, AT_ONCE)
        self._heard_s = time.monotonic()
        values = np.array([sample, *samples], np.float64)
        return np.array([own_s, *times]), values, np.full(1 + len(times), self._heard_s)

    @property
    def silent_s(self) -> float:
        """How long nothing has come."""
        return time.monotonic() - self._heard_s

    def close(self) -> None:
        """Let go of it; the inlet goes with the last who holds it."""
        self._closed.set()

    def _ask(self) -> None:
        """Measure the outlet's clock again and again."""
        last_s = None
        while not self._closed.is_set():
            try:
                measured = _correction(self.lsl, self.inlet, PROBED_S)
            except self.lsl.util.LostError:
                return
            except (self.lsl.util.TimeoutError, RuntimeError):
                measured = None
            if measured is not None and measured[0] != last_s:
                last_s, offset_s, error_s = measured
                between_s = self._between()
                set_s = self.placing.following.measure(last_s, last_s + offset_s + between_s, error_s)
                self.placing.tell(set_s)
                self._asked.set()
            self._closed.wait(PROBED_S)

    def _between(self) -> float:
        """By how much the session's clock is ahead of LSL's on this machine; both are steady."""
        found = []
        for _ in range(BRACKETS):
            before_s = time.monotonic()
            lsl_s = self.lsl.local_clock()
            after_s = time.monotonic()
            found.append((after_s - before_s, (before_s + after_s) / 2 - lsl_s))
        return float(min(found)[1])


def _correction(lsl: Any, inlet: Any, timeout_s: float) -> tuple[float, float, float]:
    """When LSL last measured the sender's clock, on that; what to add to its times; by how much that is off.

    `lsl_time_correction_ex`, of which pylsl gives the second only.
    """
    ask = lsl.lib.lib["lsl_time_correction_ex"]
    ask.restype = ctypes.c_double
    ask.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_double)] * 2, ctypes.c_double]
    ask.argtypes += [ctypes.POINTER(ctypes.c_int)]
    own_s, error_s, code = ctypes.c_double(), ctypes.c_double(), ctypes.c_int()
    offset_s = ask(inlet.obj, ctypes.byref(own_s), ctypes.byref(error_s), timeout_s, ctypes.byref(code))
    lsl.util.handle_error(code)
    return own_s.value, float(offset_s), error_s.value


def _names(info: Any) -> tuple[str, ...]:
    """The labels of an outlet's channels, their numbers where they have none or share them."""
    labels: list[str] = []
    channel = info.desc().child("channels").child("channel")
    while not channel.empty():
        labels.append(channel.child_value("label").strip())
        channel = channel.next_sibling("channel")
    count = info.channel_count()
    numbers = tuple(str(number) for number in range(1, count + 1))
    return tuple(labels) if len(labels) == count == len({*labels} - {""}) else numbers


def library() -> Any:
    """The module pylsl, silent unless somebody has configured it.

    Raises:
        ConfigError: it is not installed, or cannot be loaded.
    """
    try:
        lsl = importlib.import_module("pylsl")
    except ModuleNotFoundError as error:
        raise ConfigError("live: lsl: asks for pylsl: pip install 'plait[live]'") from error
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(f"live: lsl: pylsl cannot be loaded: {one_line(error)}") from error
    places = (
        Path("lsl_api.cfg"),
        Path("~/lsl_api/lsl_api.cfg").expanduser(),
        Path("/etc/lsl_api/lsl_api.cfg"),
    )
    configured = "LSLAPICFG" in os.environ or any(place.exists() for place in places)
    if hasattr(lsl, "set_config_content") and not configured:
        lsl.set_config_content(QUIET)
    return lsl
