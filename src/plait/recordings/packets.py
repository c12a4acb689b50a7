"""The packets of a video track: which are shown, in which order, and when."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream
from jaxtyping import Float64, Int64

from plait.errors import DataError, PlaitWarning
from plait.recordings.extent import extent
from plait.recordings.media import decode, decoder, opened, unlike_a_player, video_track
from plait.recordings.stamps import NO_TIME, filled, steady

TOLERANCE_S = 1e-4  # times that were rounded still name their frame; a frame at 240 Hz lasts 40 times as long
PADDING_S = 0.15  # encoders of sound begin early and fill their last packet: if shorter, no picture is missed
UNTIMED = ("avi", "mxf", "asf")  # formats whose times are of decoding, or come out as if they were
STATED = ("matroska", "mov", "flv", "asf")  # formats whose headers say how long they are
SHORT = 0.95  # of what a header states: less is a file that was cut off
SPARE_S = 1.0  # headers are as much off without anything missing
LOOKED_AT = 100  # pictures that tell whether a track's are stored in order of display


@dataclass(frozen=True, eq=False)
class Packets:
    """The packets of a video track, numbered in the file's (decoding) order, and when its pictures are shown.

    Args:
        order: ascends with the order of display; the packet's `pts` where these can be trusted.
        marks: `(stamp, size)` of each packet, which tell it from others.
        by_dts: whether the stamps of `marks` are each packet's `dts`, not its `pts`.
        keys: numbers of the packets from which decoding may start.
        shown: numbers of the packets that are displayed, in order of display.
        times: seconds at which these are displayed.
        start_s: the file's own time of its first picture or sound, where the clock starts as a player's does.
        stop_s: seconds at which the last picture ends.
        tolerance_s: by how much `times` are rounded at most.
        aspect: a pixel's width over its height.
    """

    order: Int64[np.ndarray, " packets"]
    marks: Int64[np.ndarray, "packets 2"]
    by_dts: bool
    keys: Int64[np.ndarray, " keys"]
    shown: Int64[np.ndarray, " frames"]
    times: Float64[np.ndarray, " frames"]
    start_s: float
    stop_s: float
    tolerance_s: float
    aspect: Fraction

    def mark(self, packet: "Packet[VideoStream]") -> tuple[int, int]:
        """What tells `packet` from others, wherever reading starts."""
        stamp = packet.dts if self.by_dts else packet.pts
        return (NO_TIME if stamp is None else stamp, packet.size)

    @cached_property
    def number_of(self) -> dict[tuple[int, int], int]:
        """A packet's number by its mark, where no other has the same."""
        marks, first, counts = np.unique(self.marks, axis=0, return_index=True, return_counts=True)
        once = counts == 1
        return dict(zip(map(tuple, marks[once].tolist()), first[once].tolist(), strict=True))

    def starts(self, wanted: np.ndarray, back: int) -> np.ndarray:
        """Where decoding must start for each of `wanted` (ascending), or `back` groups of pictures before.

        A frame shown before the key frame that it follows in the file (open group) needs the group before.
        """
        group = np.searchsorted(self.keys, wanted, side="right") - 1
        leads = self.order[wanted] < self.order[self.keys[group]]
        first = self.keys[np.maximum(group - leads - back, 0)]
        return np.minimum.accumulate(first[::-1])[::-1]


class _Table(NamedTuple):
    """What the packets of a video track say, a row each."""

    pts: np.ndarray
    dts: np.ndarray
    duration: np.ndarray
    size: np.ndarray
    key: np.ndarray
    hidden: np.ndarray
    corrupt: np.ndarray


def read_packets(file: Path) -> Packets:
    """Find when each frame of a video is displayed, reading the file once; decoding where only that can tell.

    Packets that an edit list hides are not displayed, nor are those at the start that need a key frame not in
    the file. Formats that round times to whole milliseconds or so (Matroska, WebM, FLV, ASF, GIF) get those
    of their constant rate back. AVI and MXF, without times of display, show pictures in the order of
    decoding.

    What a player shows otherwise (`unlike_a_player`) is warned of.

    A file that ends before its header or its structure says is refused. One that may be as it was recorded,
    for it ends a little early, or within a packet without stating a length, is read with a warning. Where
    nothing tells (`extent`), a file that was cut off is a shorter one.

    Raises:
        DataError: the file is no video, is truncated, its frames carry no times, or these go back.
    """
    with opened(file) as container:
        name = container.format.name.split(",")[0]
        broken_off = _broken_off(file, name)
        track = video_track(container, file, alone=False)
        unit = track.time_base
        table, sounds, reached_s = _read(container, track)
        ends = max((entry.pos + entry.size for entry in track.index_entries), default=0)
        stated_s = (container.duration or 0) / 1e6 if name in STATED else 0.0
        begins_s = (container.start_time or 0) / 1e6
        # Where a format has no times, FFmpeg supposes 25 Hz.
        bare = Flags.no_timestamps in Flags(container.format.flags) or name.endswith("_pipe")
        codec = track.codec_context.codec
        rates = [rate for rate in (track.guessed_rate, track.average_rate, track.base_rate) if rate]
        aspect = track.sample_aspect_ratio or Fraction(1)
        notices = unlike_a_player(container, track)
    if table.corrupt.any() or ends > file.stat().st_size:
        raise DataError(f"{file}: truncated or damaged, expected a whole video file")
    for notice in notices:
        warnings.warn(f"{file}: {notice}", PlaitWarning, stacklevel=2)
    if broken_off:
        notice = "ends within a packet or without its end, as what was broken off does; read as it is"
        warnings.warn(f"{file}: {notice}", PlaitWarning, stacklevel=2)
    reached_s -= min(begins_s, 0.0)  # some headers count from the file's zero, some from its start
    if reached_s < min(SHORT * stated_s, stated_s - SPARE_S):
        raise DataError(
            f"{file}: truncated, ends at {reached_s:.1f} s, expected {stated_s:.1f} s as its header says"
        )
    if reached_s < stated_s - SPARE_S:
        notice = f"ends at {reached_s:.1f} s, though its header says {stated_s:.1f} s; read as far as it goes"
        warnings.warn(f"{file}: {notice}", PlaitWarning, stacklevel=2)
    order, keys, shown, stamps = _displayed(file, table, name in UNTIMED, codec.reorder)
    if stamps is None or unit is None or bare:
        raise DataError(
            f"{file}: no frames with times in its video track, expected some (a copy as .mp4 has them)"
        )
    if len(shown) == 0:
        raise DataError(f"{file}: no frame that can be displayed, expected some")
    regular, off = steady(stamps, float(unit), rates)
    seconds = regular * unit.numerator / unit.denominator
    gap_s = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    start_s = min([float(seconds[0]), *(start for start, _ in sounds)])
    stop_s = float(seconds[-1]) + max(float(table.duration[shown[-1]] * unit), gap_s)
    heard_s = max((stop for _, stop in sounds), default=stop_s)
    by_dts = order is not table.pts
    return Packets(
        order,
        np.stack([table.dts if by_dts else table.pts, table.size], axis=1),
        by_dts,
        keys,
        shown,
        seconds - start_s,
        start_s,
        (heard_s if heard_s > stop_s + PADDING_S else stop_s) - start_s,
        TOLERANCE_S + off * float(unit),
        aspect,
    )


def _broken_off(file: Path, form: str) -> bool:
    """Whether a file that does not state its size ends within a part of it; one that does is refused."""
    whole, size = extent(file, form), file.stat().st_size
    if whole is None or whole.size <= size:
        return False
    if whole.stated:
        raise DataError(f"{file}: truncated to {size} bytes, expected a whole video file, of {whole.size}")
    return True


def _read(container: InputContainer, track: VideoStream) -> tuple[_Table, list[tuple[float, float]], float]:
    """The packets of a track, where each sound track starts and stops, where the last packet of all ends."""
    indexed = container.format.name.startswith("mov") and len(track.index_entries) > 0
    for other in container.streams:
        if indexed and other.index != track.index:
            other.discard = Discard.all  # the header says where it ends
    rows: list[tuple[Any, ...]] = []
    stops: dict[int, float] = {}
    for packet in container.demux():
        if not packet.size:
            continue
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None and packet.stream.time_base is not None:
            stop = float((stamp + (packet.duration or 0)) * packet.stream.time_base)
            stops[packet.stream_index] = max(stop, stops.get(packet.stream_index, stop))
        if packet.stream_index == track.index:
            pts, dts = (NO_TIME if time is None else time for time in (packet.pts, packet.dts))
            flags = (packet.is_keyframe, packet.is_discard, packet.is_corrupt)
            rows.append((pts, dts, packet.duration or 0, packet.size, *flags))
    sounds: list[tuple[float, float]] = []
    for sound in container.streams.audio:
        if sound.start_time is not None and sound.time_base is not None:
            start = float(sound.start_time * sound.time_base)
            stop = start + float(sound.duration * sound.time_base) if indexed and sound.duration else start
            sounds.append((start, max(stop, stops.get(sound.index, stop))))
    table = _Table(*np.array(rows, np.int64).reshape(-1, len(_Table._fields)).T.copy())
    reached = max([*stops.values(), *(stop for _, stop in sounds)], default=0.0)
    return table, sounds, reached


def _displayed(
    file: Path, table: _Table, untimed: bool, reorders: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """The order of packets, the keys, which are shown, and their stamps, if they have any."""
    pts = np.full_like(table.pts, NO_TIME) if untimed else table.pts
    key, shown = table.key == 1, table.hidden == 0
    none = np.empty(0, np.int64)
    if not key.any():
        return pts, none, none, None
    missing = (pts == NO_TIME)[np.flatnonzero(key)[0] :]
    # Alone, as the second fields of interlaced pictures are.
    lone = not (missing[1:] & missing[:-1]).any() and not missing[:1].any()
    if not missing.any() or (lone and _ascending(pts[list(islice(_numbers(file), LOOKED_AT))])):
        keys = np.flatnonzero(key & (pts != NO_TIME))
        numbers = np.flatnonzero(shown & (pts != NO_TIME))
        numbers = numbers[(numbers >= keys[0]) & (pts[numbers] >= pts[keys[0]])]
        if (back := np.flatnonzero(np.diff(pts[keys[shown[keys]]]) < 0)).size:
            raise DataError(f"{file}: its times go back after key frame {back[0] + 1}, expected one clock")
        displayed = numbers[np.unique(pts[numbers], return_index=True)[1]]
        return pts, keys, displayed, pts[displayed]
    keys = np.flatnonzero(key)
    displayed = np.flatnonzero(shown)
    displayed = displayed[displayed >= keys[0]]
    if reorders and not (untimed and _ascending(np.array(list(islice(_numbers(file), LOOKED_AT))))):
        displayed = np.array(list(_numbers(file)), np.int64)
        displayed = displayed[shown[displayed]]
    order = np.full_like(pts, NO_TIME)
    order[displayed] = np.arange(len(displayed))
    stamps = np.sort(table.dts[displayed]) if untimed else pts[displayed]
    return order, keys, displayed, filled(stamps)


def _ascending(numbers: np.ndarray) -> bool:
    """Whether all are known and each is more than the one before."""
    return bool((numbers != NO_TIME).all() and (np.diff(numbers) > 0).all())


def _numbers(file: Path) -> Iterator[int]:
    """The numbers of the packets whose pictures come out of the decoder, in that order."""
    with decoder(file) as (container, track):
        sent = -1
        for packet in container.demux(track):
            sent += bool(packet.size)
            for number, frame in decode(track, packet if packet.size else None, sent):
                if frame:
                    yield number
