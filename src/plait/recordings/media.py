"""What lies in a media file: its tracks, when each packet is shown, and the frames of chosen packets."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from plait.errors import DataError

Track = TypeVar("Track", bound=av.stream.Stream)
NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True, eq=False)
class Packets:
    """The packets of a video track, numbered in the file's (decoding) order.

    `pts` `(packets,)` says when each is shown, in units of `time_base` seconds; `keys` are the numbers of those from
    which decoding may start; `shown` `(frames,)` are the numbers of those that are displayed, in order of display.
    """

    pts: np.ndarray
    keys: np.ndarray
    shown: np.ndarray
    time_base: Fraction

    @property
    def start_s(self) -> float:
        """When the first displayed frame is shown, on the file's own clock."""
        return float(int(self.pts[self.shown[0]]) * self.time_base)

    @cached_property
    def number_of(self) -> dict[int, int]:
        """A packet's number by its `pts`; the first one's where several share it."""
        return dict(zip(self.pts[::-1].tolist(), range(len(self.pts) - 1, -1, -1), strict=True))

    def starts(self, wanted: np.ndarray, back: int) -> np.ndarray:
        """Where decoding must start for each of `wanted` (ascending), or `back` groups of pictures before that.

        A frame shown before the key frame that it follows in the file (open group of pictures) needs the group before.
        """
        group = np.searchsorted(self.keys, wanted, side="right") - 1
        leads = self.pts[wanted] < self.pts[self.keys[group]]
        first = self.keys[np.maximum(group - leads - back, 0)]
        return np.minimum.accumulate(first[::-1])[::-1]


@contextmanager
def opened(file: Path) -> Iterator[InputContainer]:
    """Open a media file.

    Raises:
        DataError: FFmpeg refuses the file, now or while it is read.
    """
    try:
        # An absolute path, for FFmpeg takes the colon of a relative "take1:2.mp4" for a protocol's.
        with av.open(str(file.absolute()), "r", metadata_errors="replace") as container:
            yield container
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{file}: cannot be read, expected a whole video file: {error.strerror or error}") from error


def video_track(container: InputContainer, file: Path) -> VideoStream:
    """The first video track that is no cover picture, alone.

    Raises:
        DataError: there is none, or FFmpeg has no decoder for it.
    """
    for track in container.streams.video:
        if not track.disposition & Disposition.attached_pic:
            only(container, track, file).codec_context.thread_type = ThreadType.AUTO
            return track
    raise DataError(f"{file}: no video track, expected one")


def only(container: InputContainer, track: Track, file: Path) -> Track:
    """`track`, with every other track of the file set to be skipped.

    Raises:
        DataError: FFmpeg has no decoder for it.
    """
    if getattr(track, "codec_context", None) is None:  # which PyAV's types do not say
        raise DataError(f"{file}: its {track.type} track cannot be decoded, expected a format that FFmpeg knows")
    for other in container.streams:
        if other.index != track.index:
            other.discard = Discard.all
    return track


def read_packets(file: Path) -> Packets:
    """Find when each frame of a video is displayed, reading the file once and decoding nothing.

    Packets that an edit list hides are not displayed, nor are those at the start that need a key frame not in the file.

    Raises:
        DataError: the file is no video, is truncated, or its frames carry no times.
    """
    with opened(file) as container:
        track = video_track(container, file)
        packets = [
            (NO_TIME if packet.pts is None else packet.pts, packet.is_keyframe, packet.is_discard, packet.is_corrupt)
            for packet in container.demux(track)
            if packet.size
        ]
        pts, keyframe, hidden, corrupt = np.array(packets, np.int64).reshape(-1, 4).T.copy()
        ends = max((entry.pos + entry.size for entry in track.index_entries), default=0)
        time_base = track.time_base
    if corrupt.any() or ends > file.stat().st_size:
        raise DataError(f"{file}: truncated or damaged, expected a whole video file")
    timed = pts != NO_TIME
    keys = np.flatnonzero(timed & (keyframe == 1))
    if len(keys) == 0 or time_base is None:
        raise DataError(f"{file}: no frames with times in its video track, expected some (a copy as .mp4 has them)")
    numbers = np.flatnonzero(timed & (hidden == 0))
    numbers = numbers[(numbers >= keys[0]) & (pts[numbers] >= pts[keys[0]])]
    if len(numbers) == 0:
        raise DataError(f"{file}: no frame that can be displayed, expected some")
    shown = numbers[np.unique(pts[numbers], return_index=True)[1]]
    return Packets(pts, keys, shown, time_base)


def frames(file: Path, packets: Packets, wanted: np.ndarray, back: int = 0) -> Iterator[VideoFrame]:
    """The frames of the packets numbered `wanted` (ascending), and others, decoding each group of pictures once.

    A frame that cannot be decoded is left out. Decoding starts `back` groups of pictures before the one it needs to.

    Raises:
        DataError: the file cannot be read.
    """
    stretches: list[tuple[int, int]] = []
    for start, last in zip(packets.starts(wanted, back).tolist(), wanted.tolist(), strict=True):
        if stretches and start <= stretches[-1][1] + 1:
            start = stretches.pop()[0]
        stretches.append((start, last))
    sought = set(wanted.tolist())
    with opened(file) as container:
        track = video_track(container, file)
        context = track.codec_context
        # H.264 marks the pictures that no other refers to (nal_ref_idc 0): those can be passed over.
        passes = context.name == "h264" and not back
        if back:
            context.options = {"strict": "1"}  # wait for as many frames as the standard allows before any is output
        for start, last in stretches:
            for number, packet in _packets_from(file, container, track, packets, start):
                context.skip_frame = "NONREF" if passes and number not in sought else "DEFAULT"
                yield from _decode(track, packet)
                if number >= last:
                    break
            context.skip_frame = "DEFAULT"
            yield from _decode(track, None)


def _packets_from(
    file: Path, container: InputContainer, track: VideoStream, packets: Packets, start: int
) -> Iterator["tuple[int, Packet[VideoStream]]"]:
    """The packets from number `start` on, a key frame's, with their numbers."""
    ahead = packets.pts[packets.keys[packets.keys <= start]][::-1].tolist()
    for time in [*ahead, None]:
        try:
            # Last, the first byte: files without an index may not find the time of their first frame.
            container.seek(0 if time is None else time, stream=track, unsupported_byte_offset=time is None)
        except av.FFmpegError:
            continue
        coming = (packet for packet in container.demux(track) if packet.size)
        first = next(coming, None)
        lands = None if first is None or first.pts is None else packets.number_of.get(first.pts)
        if first is None or lands is None or lands > start:
            continue  # landed somewhere unknown or too late: try from further ahead
        for number, packet in enumerate(chain([first], coming), lands):
            if number >= start:
                yield number, packet
        return
    raise DataError(f"{file}: cannot be searched for frames, expected a file with an index")


def _decode(track: VideoStream, packet: "Packet[VideoStream] | None") -> list[VideoFrame]:
    """What comes out of the decoder when `packet` goes in, or, with None, all that is left in it."""
    try:
        return track.codec_context.decode(packet)
    except (av.InvalidDataError, av.EOFError):
        return []
