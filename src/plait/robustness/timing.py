"""Faults of time: readings that are lost or stand still, and clocks that are off."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plait.robustness.streams import Elsewhen, native
from plait.types import Stream

if TYPE_CHECKING:
    from plait.robustness.faults import Occasion


@dataclass(frozen=True)
class Gap:
    """The sensor is silent for a share of the window, at a place drawn for each clip.

    What a stream makes of a gap is its own affair: readings are joined across it, a picture stands until the
    next, and of a log that knows nothing in a long gap, the modality is absent.
    """

    name: str = "gap"
    unit: str = "share of the window without a reading"
    severities: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams without the readings in the gap."""
        start_s = at.start_s + at.of_clip().random() * (1 - severity) * at.lasts_s
        stop_s = start_s + severity * at.lasts_s

        def lost(times: np.ndarray) -> np.ndarray:
            inside: np.ndarray = (times > start_s) & (times < stop_s)
            return inside

        return _without(streams, lambda times, _: lost(times))


@dataclass(frozen=True)
class Frozen:
    """The sensor stands still for the last share of the window, and says what it said before."""

    name: str = "frozen"
    unit: str = "share of the window that stands still"
    severities: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams, of which nothing changes any more from some moment on."""
        from_s = at.stop_s - severity * at.lasts_s
        frozen: dict[str, Stream] = {}
        for name, stream in streams.items():
            own = native(stream)
            if own is None:
                frozen[name] = Elsewhen(stream, lambda seconds: np.minimum(seconds, from_s), stream.times)
                continue
            last = max(int(np.searchsorted(own.times, from_s, side="right")) - 1, 0)
            values = own.values.copy()
            values[last:] = own.values[last]
            frozen[name] = own.made(values)
        return frozen


@dataclass(frozen=True)
class Dropped:
    """Readings, or frames, are lost on their way, each with the same chance."""

    name: str = "dropped"
    unit: str = "share of readings that are lost"
    severities: tuple[float, ...] = (0.25, 0.5, 0.75, 0.9)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams with what is left."""

        def lost(times: np.ndarray, name: str) -> np.ndarray:
            near, gone = at.around(times), np.zeros(len(times), np.bool_)
            gone[near] = at.of_clip(name).random(int(near.sum())) < severity
            return gone

        return _without(streams, lost)


def _without(
    streams: Mapping[str, Stream], lost: Callable[[np.ndarray, str], np.ndarray]
) -> dict[str, Stream]:
    """The streams without readings that are `lost`, by their times `(n,)` and name; one without any is gone.

    Of a stream that shows what it has, the last that is left stands in for what is lost.
    """
    left: dict[str, Stream] = {}
    for name, stream in streams.items():
        own, times = native(stream), np.asarray(stream.times)
        gone = lost(times, name)
        if gone.all():
            continue
        left[name] = _held(stream, times, gone) if own is None else own.among(~gone, own.values)
    return left


def _held(stream: Stream, times: np.ndarray, gone: np.ndarray) -> Stream:
    """A stream that shows the last of its readings that are not `gone`; before all of these, the first."""
    places = np.where(gone, -1, np.arange(len(times)))
    standing = np.maximum.accumulate(places)  # the last that is left, up to each reading
    standing[standing < 0] = int(np.argmin(gone))

    def looked(seconds: np.ndarray) -> np.ndarray:
        shown = np.clip(np.searchsorted(times, seconds + SLACK_S, side="right") - 1, 0, len(times) - 1)
        moments: np.ndarray = np.where(gone[shown], times[standing[shown]], seconds)
        return moments

    return Elsewhen(stream, looked, times[~gone])


SLACK_S = 1e-6  # by which times may be rounded


@dataclass(frozen=True)
class Late:
    """The sensor's clock is off by some seconds, ahead or behind, as is drawn for each recording."""

    name: str = "late"
    unit: str = "seconds"
    severities: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams at other times."""
        off_s = severity * at.of_recording().choice([-1.0, 1.0])
        return {
            name: Elsewhen(stream, lambda seconds: seconds - off_s, np.asarray(stream.times) + off_s)
            for name, stream in streams.items()
        }


@dataclass(frozen=True)
class Drifting:
    """The sensor's clock was right at first and runs too fast or too slow, as is drawn for each recording."""

    name: str = "drifting"
    unit: str = "parts in a million"
    severities: tuple[float, ...] = (200.0, 1000.0, 5000.0, 20000.0)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams at other times, the more so the later."""
        pace = 1 + severity * 1e-6 * at.of_recording().choice([-1.0, 1.0])
        drifting: dict[str, Stream] = {}
        for name, stream in streams.items():
            times = np.asarray(stream.times)
            drifting[name] = _paced(stream, times, pace)
        return drifting


def _paced(stream: Stream, times: np.ndarray, pace: float) -> Stream:
    """A stream whose clock says `pace` seconds where one has passed, since its first reading."""
    first_s = float(times[0])
    return Elsewhen(
        stream, lambda seconds: first_s + (seconds - first_s) / pace, first_s + (times - first_s) * pace
    )
