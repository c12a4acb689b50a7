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
Coming = Generator[
    tuple[int, T] | None, None, None
]  # pictures with their packets' numbers; None ends a share
TRIES = 8  # key frames further and further ahead that are searched for before a file is read from its start
SHARE, DECODERS = 64, 4  # packets, at least, after which it is another decoder's turn
AHEAD_BYTES = 1 << 26  # of pictures that each decoder may be ahead


def frames(
    file: Path, packets: Packets, wanted: np.ndarray, look: Look[T], back: int = 0, whole: bool = False
) -> Iterator[tuple[int, T]]:
    """What `look` makes of the frames of the packets numbered `wanted` (ascending), each with its packet's number.

    Groups of pictures are decoded by `DECODERS` of one thread each in turn, side by side where torch may have threads:
    what comes out, of damaged files too, does not depend on that, and one core has as many decoders. With `back`, which
    has decoding start so many groups before the one it needs to, or as a `whole`, one decoder does all. A frame that
    cannot be decoded is left out, with those that follow it up to the next key frame, which may be made of it.

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

    What is shown before the key frame that it follows in the file is left to the decoder that has come so far.
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
        if back:
            context.options = {
                "strict": "1"
            }  # wait for as many frames as the standard allows before any is output
        for (start, last), sought, ends in _stretches(shares):
            whole = start == packets.keys[0]  # some files call a packet a key frame that is none
            reached, damaged = NO_TIME, -1
            context.flush_buffers()
            for number, packet in _ending(_packets_from(file, container, track, packets, start), last):
                context.skip_frame = (
                    "NONREF" if passes and number not in sought and packet is not None else "DEFAULT"
                )
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
                    if one in sought:
                        yield one, look(frame, reformatter)
            if ends:
                yield None


def _stretches(shares: Sequence[_Share]) -> Iterator[tuple[tuple[int, int], set[int], bool]]:
    """Each stretch of each share, what is wanted of it, and whether it is its share's last."""
    for share in shares:
        for at, stretch in enumerate(share.stretches, 1):
            yield stretch, share.wanted, at == len(share.stretches)


class _Ahead(Generic[T]):
    """A thread that goes on with `made` until so many bytes of it wait to be asked for, or nobody asks any more."""

    def __init__(self, made: Coming[T]) -> None:
        self.made, self.changed = made, threading.Condition()
        self.ready: deque[tuple[int, T] | BaseException | None] = deque()
        self.waiting, self.left = 0, False
        threading.Thread(target=self._go_on, daemon=True).start()

    def _go_on(self) -> None:
        try:
            with closing(self.made):
                for one in self.made:
                    if not self._put(one):
                        break
        except BaseException as error:
            self._put(error)

    def _put(self, one: tuple[int, T] | BaseException | None) -> bool:
        """Whether somebody still asks, once there is room."""
        with self.changed:
            self.changed.wait_for(lambda: self.left or self.waiting <= AHEAD_BYTES)
            self.ready.append(one)
            self.waiting += _size(one)
            self.changed.notify()
            return not self.left

    def share(self) -> Iterator[tuple[int, T]]:
        """What comes up to the next None."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: len(self.ready) > 0)
                one = self.ready.popleft()
                self.waiting -= _size(one)
                self.changed.notify()
            if one is None:
                return
            if isinstance(one, BaseException):
                raise one
            yield one

    def leave(self) -> None:
        """Have the thread end with the picture it is at."""
        with self.changed:
            self.left = True
            self.ready.clear()
            self.changed.notify()


def _size(one: object) -> int:
    """Bytes of a picture, and some for whatever comes with it."""
    return 1024 + int(getattr(one[1], "nbytes", 0)) if isinstance(one, tuple) else 0


def _side_by_side(made: Sequence[Coming[T]], shares: int) -> Iterator[tuple[int, T]]:
    """A share of each, again and again, while all are at work on those to come."""
    ahead: list[_Ahead[T]] = []
    try:
        ahead.extend(map(_Ahead, made))
        for number in range(shares):
            yield from ahead[number % len(ahead)].share()
    finally:
        for one in ahead:
            one.leave()


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
    found = _searched(container, track, packets, start)
    if found is not None:
        yield from (one for one in found if one[0] >= start)
        return
    with opened(file) as again:  # a file without an index
        for number, packet in enumerate(one for one in again.demux(video_track(again, file)) if one.size):
            if number >= start:
                yield number, packet


def _searched(
    container: InputContainer, track: VideoStream, packets: Packets, start: int
) -> Iterator["tuple[int, Packet[VideoStream]]"] | None:
    """The packets from somewhere not behind number `start` on; None where the file's index does not lead there."""
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
        return enumerate(chain([first], coming), lands)
    return None


def _has_index(file: Path, packets: Packets, start: int) -> bool:
    """Whether decoding can start at packet `start` without reading much of what comes before it."""
    near = packets.keys[packets.keys <= start][-TRIES:][0]
    with opened(file) as container:
        found = _searched(container, video_track(container, file), packets, start)
        return found is not None and next(found)[0] >= near
