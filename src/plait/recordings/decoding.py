"""The frames of chosen packets."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from plait.errors import DataError
from plait.recordings.media import decode, decoder, opened, video_track
from plait.recordings.packets import Packets
from plait.recordings.stamps import NO_TIME

TRIES = 8  # key frames further and further ahead that are searched for before a file is read from its start


def frames(file: Path, packets: Packets, wanted: np.ndarray, back: int = 0) -> Iterator[tuple[int, VideoFrame]]:
    """The frames of the packets numbered `wanted` (ascending), and others, decoding each group of pictures once.

    Each with its packet's number. A frame that cannot be decoded is left out, with those that follow it up to the next
    key frame, which may be made of it. Decoding starts `back` groups of pictures before the one it needs to.

    Raises:
        DataError: the file cannot be read, or pictures come in another order than their times say.
    """
    stretches: list[tuple[int, int]] = []
    for start, last in zip(packets.starts(wanted, back).tolist(), wanted.tolist(), strict=True):
        if stretches and start <= stretches[-1][1] + 1:
            start = stretches.pop()[0]
        stretches.append((start, last))
    sought = set(wanted.tolist())
    with decoder(file) as (container, track):
        context = track.codec_context
        # H.264 marks the pictures that no other refers to (nal_ref_idc 0): those can be passed over.
        passes = context.name == "h264" and not back
        if back:
            context.options = {"strict": "1"}  # wait for as many frames as the standard allows before any is output
        for start, last in stretches:
            whole = start == packets.keys[0]  # some files call a packet a key frame that is none
            reached, damaged = NO_TIME, -1
            context.flush_buffers()
            for number, packet in _ending(_packets_from(file, container, track, packets, start), last):
                context.skip_frame = "NONREF" if passes and number not in sought and packet is not None else "DEFAULT"
                for one, frame in decode(track, packet, number):
                    if frame is None:
                        if not NO_TIME < packets.order[one] < packets.order[start]:  # whose group is not read
                            damaged = one
                        continue
                    whole = whole or frame.key_frame
                    if frame.key_frame and one > damaged:
                        damaged = -1
                    if not whole or -1 < damaged < one:
                        continue
                    if packets.order[one] < reached:
                        raise DataError(
                            f"{file}: pictures come in another order than their times say, expected one order "
                            "(a copy as .mp4 has it)"
                        )
                    reached = packets.order[one]
                    yield one, frame


def _ending(
    numbered: Iterator["tuple[int, Packet[VideoStream]]"], last: int
) -> Iterator["tuple[int, Packet[VideoStream] | None]"]:
    """The packets up to number `last`, and None, which empties the decoder."""
    for number, packet in numbered:
        yield number, packet
        if number >= last:
            break
    yield last, None


def _packets_from(
    file: Path, container: InputContainer, track: VideoStream, packets: Packets, start: int
) -> Iterator["tuple[int, Packet[VideoStream]]"]:
    """The packets from number `start` on, a key frame's, with their numbers."""
    ahead = packets.marks[packets.keys[packets.keys <= start], 0][::-1][:TRIES].tolist()
    for stamp in ahead:
        try:
            container.seek(stamp, stream=track)
        except (av.FFmpegError, OverflowError):
            continue
        coming = (packet for packet in container.demux(track) if packet.size)
        first = next(coming, None)
        lands = None if first is None else packets.number_of.get(packets.mark(first))
        if first is None or lands is None or lands > start:
            continue  # landed somewhere unknown or too late: try from further ahead
        for number, packet in enumerate(chain([first], coming), lands):
            if number >= start:
                yield number, packet
        return
    with opened(file) as again:  # a file without an index
        for number, packet in enumerate(one for one in again.demux(video_track(again, file)) if one.size):
            if number >= start:
                yield number, packet
