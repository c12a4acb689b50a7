"""The frames of chosen packets."""

import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import av
import numpy as np
import torch
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from plait.errors import DataError
from plait.recordings.media import decode, decoder, opened, video_track
from plait.recordings.packets import Packets
from plait.recordings.stamps import NO_TIME

T = TypeVar("T")
Look = Callable[[VideoFrame, VideoReformatter], T]
# Pictures with their packets' numbers; None ends a share.
Coming = Generator[tuple[int, T] | None, None, None]
Numbered = Iterator[tuple[int, "Packet[VideoStream]"]]
TRIES = 8  # key frames further and further ahead that are searched for before a file is read from its start
SHARE, DECODERS = 64, 4  # packets, at least, after which it is another decoder's turn
AHEAD_BYTES = 1 << 26  # of pictures that each decoder may be ahead


def frames(
    file: Path, packets: Packets, wanted: np.ndarray, look: Look[T], back: int = 0, whole: bool = False
) -> Iterator[tuple[int, T]]:
    """What `look` makes of the wanted frames, each with its packet's number.

    Groups of pictures are decoded by `DECODERS` of one thread each in turn, side by side where torch may have
    threads: what comes out, of damaged files too, does not depend on that, and one core has as many decoders.
    A frame that cannot be decoded is left out, with those up to the next key frame, which may be made of it.

    Args:
        file: the video.
        packets: its packets.
        wanted: numbers of packets, ascending.
        look: from a frame, and a reformatter to resize it with, to what is wanted of it.
        back: groups of pictures that decoding starts before the one it must; if any, one decoder does all.
        whole: one decoder does all.

    Raises:
        DataError: the file cannot be read, or pictures come in another order than their times say.
    """
    shares = _shares(packets, wanted, back, math.inf if back or whole else SHARE)
    if len(shares) > 1 and not _has_index(file, packets, shares[-1].stretches[0][0]):
        shares = _shares(packets, wanted, back, math.inf)  # each would read the file from its start
    count = min(DECODERS, len(shares))
    decoders = [_decoded(file, packets, shares[turn::count], look, back) for turn in range(count)]
    if count == 1 or torch.get_num_threads() == 1:
        for number in range(len(shares)):
            yield from iter(partial(next, decoders[number % count]), None)
    else:
        yield from _side_by_side(decoders, len(shares))


class _Share(NamedTuple):
    """Stretches from a key frame's packet to the last that is wanted of it, and all that are wanted."""

    stretches: list[tuple[int, int]]
    wanted: set[int]


def _shares(packets: Packets, wanted: np.ndarray, back: int, least: float) -> list[_Share]:
    """What decoders have to do, in order; each but the last at least so many packets.

    What is shown before the key frame that it follows in the file is left to the decoder that comes there.
    """
    shares, packed = [_Share([], set())], 0
    starts = packets.starts(wanted, back).tolist()
    for start, group in groupby(zip(starts, wanted.tolist(), strict=True), itemgetter(0)):
        if packed >= least:
            shares.append(_Share([], set()))
            packed = 0
        numbers, (stretches, sought) = [number for _, number in group], shares[-1]
        packed += numbers[-1] - start + 1
        if stretches and start <= stretches[-1][1] + 1:
            start = stretches.pop()[0]
        stretches.append((start, numbers[-1]))
        sought.update(numbers)
    return shares


def _decoded(file: Path, packets: Packets, shares: Sequence[_Share], look: Look[T], back: int) -> Coming[T]:
    """The frames that are wanted of some shares, and None after each share, by one decoder."""
    reformatter = VideoReformatter()
    with decoder(file) as (container, track):
        context = track.codec_context
        # H.264 marks the pictures that no other refers to (nal_ref_idc 0): those can be passed over.
        passes = context.name == "h264" and not back
        if back:  # wait for as many frames as the standard allows before any is output
            context.options = {"strict": "1"}
        for share in shares:
            for start, last in share.stretches:
                intact = start == packets.keys[0]  # some files call a packet a key frame that is none
                reached, damaged = NO_TIME, -1
                context.flush_buffers()
                for sent, packet in _up_to(last, _packets_from(file, container, track, packets, start)):
                    passed = passes and sent not in share.wanted and packet is not None
                    context.skip_frame = "NONREF" if passed else "DEFAULT"
                    for number, frame in decode(track, packet, sent):
                        order = packets.order[number]
                        if frame is None:
                            if not NO_TIME < order < packets.order[start]:  # whose group is not read
                                damaged = number
                            continue
                        intact = intact or frame.key_frame
                        if frame.key_frame and number > damaged:
                            damaged = -1
                        if not intact or -1 < damaged < number:
                            continue
                        if order < reached:
                            raise DataError(
                                f"{file}: pictures come in another order than their times say, "
                                "expected one order (a copy as .mp4 has it)"
                            )
                        reached = order
                        if number in share.wanted:
                            yield number, look(frame, reformatter)
            yield None


class _Ahead(Generic[T]):
    """A thread that decodes until so many bytes of pictures wait to be asked for, or nobody asks any more."""

    def __init__(self, pictures: Coming[T]) -> None:
        self.pictures, self.changed = pictures, threading.Condition()
        self.ready: deque[tuple[int, T] | BaseException | None] = deque()
        self.waiting, self.left = 0, False
        threading.Thread(target=self._decode, daemon=True).start()

    def _decode(self) -> None:
        try:
            with closing(self.pictures):
                for picture in self.pictures:
                    if not self._put(picture):
                        break
        except BaseException as error:
            self._put(error)

    def _put(self, picture: tuple[int, T] | BaseException | None) -> bool:
        """Whether somebody still asks, once there is room."""
        with self.changed:
            self.changed.wait_for(lambda: self.left or self.waiting <= AHEAD_BYTES)
            self.ready.append(picture)
            self.waiting += _size(picture)
            self.changed.notify()
            return not self.left

    def share(self) -> Iterator[tuple[int, T]]:
        """What comes up to the next None."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: len(self.ready) > 0)
                picture = self.ready.popleft()
                self.waiting -= _size(picture)
                self.changed.notify()
            if picture is None:
                return
            if isinstance(picture, BaseException):
                raise picture
            yield picture

    def leave(self) -> None:
        """Have the thread end with the picture it is at."""
        with self.changed:
            self.left = True
            self.ready.clear()
            self.changed.notify()


def _size(picture: object) -> int:
    """Bytes of a picture, and some for whatever comes with it."""
    return 1024 + int(getattr(picture[1], "nbytes", 0)) if isinstance(picture, tuple) else 0


def _side_by_side(decoders: Sequence[Coming[T]], shares: int) -> Iterator[tuple[int, T]]:
    """A share of each decoder in turn, while all are at work on those to come."""
    threads: list[_Ahead[T]] = []
    try:
        threads.extend(map(_Ahead, decoders))
        for number in range(shares):
            yield from threads[number % len(threads)].share()
    finally:
        for thread in threads:
            thread.leave()


def _up_to(last: int, numbered: Numbered) -> Iterator["tuple[int, Packet[VideoStream] | None]"]:
    """The packets up to number `last`, and None, which empties the decoder."""
    for number, packet in numbered:
        yield number, packet
        if number >= last:
            break
    yield last, None


def _packets_from(
    file: Path, container: InputContainer, track: VideoStream, packets: Packets, start: int
) -> Numbered:
    """The packets from number `start` on, a key frame's, with their numbers."""
    numbered = _searched(container, track, packets, start)
    if numbered is not None:
        yield from (pair for pair in numbered if pair[0] >= start)
        return
    with opened(file) as rewound:  # a file without an index
        coming = (packet for packet in rewound.demux(video_track(rewound, file)) if packet.size)
        yield from (pair for pair in enumerate(coming) if pair[0] >= start)


def _searched(container: InputContainer, track: VideoStream, packets: Packets, start: int) -> Numbered | None:
    """The packets from number `start` or earlier on; None where the file's index does not lead there."""
    for stamp in packets.marks[packets.keys[packets.keys <= start], 0][::-1][:TRIES].tolist():
        try:
            container.seek(stamp, stream=track)
        except (av.FFmpegError, OverflowError):
            continue
        coming = (packet for packet in container.demux(track) if packet.size)
        first = next(coming, None)
        number = None if first is None else packets.number_of.get(packets.mark(first))
        if first is not None and number is not None and number <= start:
            return enumerate(chain([first], coming), number)
    return None  # all landed somewhere unknown or too late


def _has_index(file: Path, packets: Packets, start: int) -> bool:
    """Whether decoding can start at packet `start` without reading much of what comes before it."""
    near = packets.keys[packets.keys <= start][-TRIES:][0]
    with opened(file) as container:
        numbered = _searched(container, video_track(container, file), packets, start)
        return numbered is not None and next(numbered)[0] >= near
