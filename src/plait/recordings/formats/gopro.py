"""GoPro: the camera's own inertial sensors, from the video itself (HERO5 and later).

Readings have no times. Each packet of the track holds about a second of them and has its place in the
video; all readings of a sensor lie on the line that fits best through where their packets begin. What is
read is laid on x, y and z by `ORIN` (letters in the order of the data, small ones negative); of cameras
without it, first firmwares among them, `UNSAID` has the order. GoPro's axes: z up, x right, y back, of a
camera that stands upright. (github.com/gopro/gpmf-parser, its README's tables, issues 56, 100, 165)
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from av.stream import Discard

from plait.errors import DataError
from plait.recordings.formats.gpmf import Item, streams
from plait.recordings.formats.sensed import Format, Sensed
from plait.recordings.media import opened
from plait.recordings.packets import read_packets
from plait.store import explained

MOVIES = (".mp4", ".mov")
SENSORS = {"ACCL": ("camera_acc", "m/s^2"), "GYRO": ("camera_gyr", "rad/s")}
UNSAID = {"hero6": "YxZ", "hero7": "YxZ", "fusion": "yXZ"}  # by the beginning of a device's name
FIRST = "ZXY"  # HERO5, which calls itself "Camera"
OFF_S = 0.25  # of a packet's start from the line: the camera has lost some


@dataclass
class _Gathered:
    """What the packets have said of one sensor."""

    device: str
    axes: str = ""
    unit: str = ""
    starts_s: list[float] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)


def fits(path: Path) -> bool:
    """Whether a video has a track of GoPro's metadata."""
    if path.suffix.lower() not in MOVIES or not path.is_file():
        return False
    try:
        return bool(_packets(path, 1))
    except DataError:
        return False


def read(path: Path) -> Iterator[Sensed]:
    """`camera_acc` and `camera_gyr`, on the video's clock.

    Raises:
        DataError: the track is damaged.
    """
    packets = _packets(path)
    explained(path, 8.0 * sum(len(content) for _, _, content in packets))
    start_s = read_packets(path).start_s
    found: dict[str, _Gathered] = {}
    for number, (begins_s, _, content) in enumerate(packets, 1):
        try:
            for device, described in streams(content):
                _gather(found, device, described, begins_s - start_s)
        except DataError as error:
            raise DataError(f"{path}: its metadata's packet {number}: {error}") from error
    ends_s = packets[-1][0] + packets[-1][1] - start_s if packets else 0.0
    for key, gathered in found.items():
        try:
            yield _sensed(key, gathered, ends_s)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


def _packets(path: Path, most: int | None = None) -> list[tuple[float, float, bytes]]:
    """Start, length (in seconds of the file) and content of the packets, all or the first, of its track."""
    with opened(path) as container:
        tracks = [track.index for track in container.streams if track.type == "data"]
    for track in tracks:
        if found := _packets_of(path, track, most):
            return found
    return []


def _packets_of(path: Path, index: int, most: int | None) -> list[tuple[float, float, bytes]]:
    found: list[tuple[float, float, bytes]] = []
    with opened(path) as container:
        for track in container.streams:
            track.discard = Discard.default if track.index == index else Discard.all
        unit = float(container.streams[index].time_base or 0)
        for packet in container.demux(container.streams[index]):
            if not packet.size:
                continue
            content, stamp = bytes(packet), packet.dts if packet.pts is None else packet.pts
            if content[:4] != b"DEVC" and not found:
                return []  # another kind of metadata
            if stamp is None:
                raise DataError(f"{path}: a packet of its metadata has no time, expected one")
            found.append((stamp * unit, (packet.duration or 0) * unit, content))
            if len(found) == most:
                break
    return found


def _gather(found: dict[str, _Gathered], device: str, described: list[Item], begins_s: float) -> None:
    """Add what one stream of a packet says."""
    scale, axes, unit = np.ones(1), "", ""
    for item in described:
        if item.key == "SCAL":
            scale = item.numbers().ravel()
            if not (np.isfinite(scale) & (scale != 0)).all():
                raise DataError(f"SCAL {scale.tolist()}, expected numbers other than 0")
        elif item.key == "ORIN":
            axes = item.text()
        elif item.key == "SIUN":
            unit = item.text()
        elif item.key in SENSORS:
            values = item.numbers()
            if values.shape[1] != 3 or len(scale) not in (1, 3):
                raise DataError(
                    f"{item.key}: {values.shape[1]} elements, scale of {len(scale)}, expected 3 axes"
                )
            gathered = found.setdefault(item.key, _Gathered(device, axes, unit))
            if gathered.device == device:  # of several devices, the camera is the first
                gathered.axes = gathered.axes or axes
                gathered.starts_s.append(begins_s)
                gathered.values.append(values / scale)


def _sensed(key: str, gathered: _Gathered, ends_s: float) -> Sensed:
    name, unit = SENSORS[key]
    values = np.concatenate(gathered.values)
    times, how = _times(gathered, ends_s)
    order = gathered.axes or _unsaid(gathered.device)
    if sorted(order.lower()) != ["x", "y", "z"]:
        raise DataError(f"{key}: ORIN {order!r}, expected each of x, y and z once")
    signs = np.array([1.0 if axis.isupper() else -1.0 for axis in order])
    values = (values * signs)[:, [order.lower().index(axis) for axis in "xyz"]]
    columns = tuple(f"{name.removeprefix('camera_')}_{axis}" for axis in "xyz")
    stated = gathered.unit.replace("²", "^2").replace("µ", "u")
    said = f"data order {order}"
    if not gathered.axes:
        said += f", which is not said: {'as a HERO5 has it' if order == FIRST else 'by its tables'}"
    notes = (f"{gathered.device or 'camera'}, {key}: {said}", f"times: {how}; a guess within some 10 ms")
    units = dict.fromkeys(columns, stated or unit)
    axes = columns if key == "ACCL" else ()
    return Sensed(name, times, values, columns, units, axes, on_video=True, notes=notes)


def _unsaid(device: str) -> str:
    """The order of the data of a camera that does not say it."""
    name = device.lower().removeprefix("gopro ")
    return next((order for begins, order in UNSAID.items() if name.startswith(begins)), FIRST)


def _times(gathered: _Gathered, ends_s: float) -> tuple[np.ndarray, str]:
    """When each reading was, on the line through its packets' beginnings, and how that was told."""
    counts = np.array([len(values) for values in gathered.values])
    starts = np.array([*gathered.starts_s, ends_s])
    if not (np.diff(starts[:-1]) > 0).all():
        raise DataError("packets out of order, expected each later than the one before")
    if starts[-1] <= starts[-2]:
        step = np.median(np.diff(starts[:-1])) if len(counts) > 1 else 1.0
        starts[-1] = starts[-2] + step
    before = np.concatenate([[0], np.cumsum(counts)])
    known = slice(-1) if len(counts) > 2 else slice(None)  # the last packet may be full or not
    step_s, offset_s = np.polyfit(before[known], starts[known], 1)
    off_s = float(np.abs(offset_s + step_s * before - starts)[known].max())
    if step_s > 0 and off_s < OFF_S:
        times = offset_s + step_s * np.arange(before[-1])
        return times, f"{1 / step_s:.5g} Hz, fitted through {len(counts)} packets"
    packets = zip(starts[:-1], starts[1:], counts, strict=True)
    within = [start + (stop - start) * np.arange(count) / count for start, stop, count in packets if count]
    return np.concatenate(within), f"spread in each packet, for they lie up to {off_s:.2g} s off a line"


GOPRO = Format("gopro", fits, read)
