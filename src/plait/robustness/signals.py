"""Faults of signals: what a worn sensor says at its own rate is changed, before it is resampled."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from plait.robustness.axes import can_turn, sensors, triples, turning
from plait.robustness.streams import Altered, Native, channels, is_picture, native, reading_of
from plait.types import Stream

if TYPE_CHECKING:
    from plait.robustness.faults import Occasion


class _Signals:
    """What faults of signals share: they befall floats that are no pictures."""

    def fits(self, streams: Mapping[str, Stream]) -> bool:
        """Whether all streams are signals."""
        found = [native(stream) for stream in streams.values()]
        return all(one is not None and not is_picture(one.values.shape[1:]) for one in found)


@dataclass(frozen=True)
class Noisy:
    """White Gaussian noise upon every reading, new in every clip.

    A signal's SD is each channel's over the recording; a picture's is that of all pixels of what is shown.
    """

    name: str = "noisy"
    unit: str = "SD of the noise, in SDs of the signal"
    severities: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)

    def fits(self, streams: Mapping[str, Stream]) -> bool:
        """Whether all streams are signals or pictures."""
        return all(
            native(stream) is not None or is_picture(reading_of(stream)[0]) for stream in streams.values()
        )

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams with noise."""
        noisy: dict[str, Stream] = {}
        for name, stream in streams.items():
            own = native(stream)
            if own is None:
                noisy[name] = _grained(stream, severity, at, name)
                continue
            near, values = at.around(own.times), own.values.copy()
            noise = at.of_clip(name).standard_normal(values[near].shape)
            values[near] += (severity * own.sd() * noise).astype(values.dtype)
            noisy[name] = own.made(values)
        return noisy


def _grained(stream: Stream, severity: float, at: "Occasion", name: str) -> Stream:
    """Pictures with noise, the same each time they are asked for."""

    def change(shown: np.ndarray) -> np.ndarray:
        noise = at.of_clip(name).standard_normal(shown.shape, np.float32)
        grained: np.ndarray = shown + severity * float(shown.std()) * noise
        return grained

    return Altered(stream, change)


@dataclass(frozen=True)
class Biased(_Signals):
    """Every channel is off by a constant, whose sign is drawn for each channel of a recording."""

    name: str = "biased"
    unit: str = "offset, in SDs of the signal"
    severities: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams with offsets."""
        biased: dict[str, Stream] = {}
        for name, own in _natives(streams).items():
            signs = at.of_recording(name).choice([-1.0, 1.0], own.values.shape[1:])
            biased[name] = own.made((own.values + severity * own.sd() * signs).astype(own.values.dtype))
        return biased


@dataclass(frozen=True)
class Saturated(_Signals):
    """The sensor's range is too small: what lies beyond is cut off at its ends.

    The range of each channel is what it takes in the recording; a share of it is lost, half at either end.
    """

    name: str = "saturated"
    unit: str = "share of the range that is lost"
    severities: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams within narrower ranges."""
        cut: dict[str, Stream] = {}
        for name, own in _natives(streams).items():
            known = np.where(np.isfinite(own.values).any(axis=0), own.values, 0.0)
            low, high = np.nanmin(known, axis=0), np.nanmax(known, axis=0)
            lost = severity * (high - low) / 2
            cut[name] = own.made(np.clip(own.values, low + lost, high - lost).astype(own.values.dtype))
        return cut


@dataclass(frozen=True)
class Dead(_Signals):
    """Some channels of the modality say 0 throughout; which, is drawn for each recording."""

    name: str = "dead-channel"
    unit: str = "channels"
    severities: tuple[float, ...] = (1.0, 2.0, 3.0)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams without what these channels say."""
        found = _natives(streams)
        total = sum(channels(own.values.shape[1:]) for own in found.values())
        lost, first = at.of_recording().permutation(total)[: round(severity)], 0
        silent: dict[str, Stream] = {}
        for name, own in found.items():
            count = channels(own.values.shape[1:])
            values = own.values.copy().reshape(len(own.times), count)
            values[:, [channel - first for channel in lost if first <= channel < first + count]] = 0
            silent[name] = own.made(values.reshape(own.values.shape))
            first += count
        return silent


@dataclass(frozen=True)
class Turned:
    """The sensor is worn turned: all its axes x, y, z by one angle about an axis drawn for each recording.

    Axes are columns of a log that are called `*x`, `*y`, `*z`; without names, readings whose last axis has
    three numbers, or of six in a row, which are two kinds. Streams of one sensor (`axes.sensors`) are turned
    alike. A log that also says how the sensor is held, or has vectors of the room, is left alone.
    """

    name: str = "turned"
    unit: str = "degrees"
    severities: tuple[float, ...] = (15.0, 45.0, 90.0, 180.0)

    def fits(self, streams: Mapping[str, Stream]) -> bool:
        """Whether all streams have three axes, and can be turned."""
        found = {name: native(stream) for name, stream in streams.items()}
        return all(own is not None and can_turn(name, own) for name, own in found.items())

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams of the turned sensors."""
        turned: dict[str, Stream] = {}
        of = sensors(streams)
        for name, own in _natives(streams).items():
            axis = at.of_recording(of[name]).standard_normal(3)
            turn = Rotation.from_rotvec(np.deg2rad(severity) * axis / np.linalg.norm(axis)).as_matrix()
            turned[name] = _mapped(own, [turn] * len(triples(own)))
        return turned


@dataclass(frozen=True)
class OtherSide:
    """The sensor is worn on the other wrist, or the other leg.

    Two streams of one modality are taken for each other. A single sensor is mirrored, all of its streams
    (`axes.sensors`): its first axis is taken for the one across the body, so of an acceleration the first
    number changes its sign, and of an angular rate (`axes.turning`) the other two do.
    """

    name: str = "other-side"
    unit: str = "swapped or mirrored"
    severities: tuple[float, ...] = (1.0,)

    def fits(self, streams: Mapping[str, Stream]) -> bool:
        """Whether there are two streams of one kind, or one sensor with axes, which can be mirrored."""
        if len(streams) == 2 and not _one_sensor(streams):
            (one, kind), (other, other_kind) = (reading_of(stream) for stream in streams.values())
            return one == other and kind == other_kind and not is_picture(one)
        own = {name: native(stream) for name, stream in streams.items()}
        return _one_sensor(streams) and all(
            one is not None and one.values.ndim == 2 and can_turn(name, one) for name, one in own.items()
        )

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams swapped, or those of the one sensor mirrored."""
        if not _one_sensor(streams):
            return dict(zip(streams, reversed(list(streams.values())), strict=True))
        mirrors = [np.diag([-1.0, 1.0, 1.0]), np.diag([1.0, -1.0, -1.0])]
        return {
            name: _mapped(own, [mirrors[rate] for rate in turning(name, own)])
            for name, own in _natives(streams).items()
        }


def _one_sensor(streams: Mapping[str, Stream]) -> bool:
    """Whether all streams are of one sensor."""
    return len(set(sensors(streams).values())) == 1


def _mapped(own: Native, maps: list[np.ndarray]) -> Stream:
    """Axes under linear maps, one for each of `triples`."""
    values = own.values.reshape(len(own.times), -1).copy()
    for columns, linear in zip(triples(own), maps, strict=True):
        values[:, columns] = (values[:, columns].astype(np.float64) @ linear.T).astype(values.dtype)
    return own.made(values.reshape(own.values.shape))


def _natives(streams: Mapping[str, Stream]) -> dict[str, Native]:
    """The streams' own readings; of a recording whose stream is of another kind than its like, none."""
    found = {name: native(stream) for name, stream in streams.items()}
    return {name: own for name, own in found.items() if own is not None}
