"""From a camera's packets to pictures with their times, and to packets that may be written again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

UNIT_S = 1e-3  # between two pictures at least, and of their times: what Matroska can say
REORDERED = 17  # pictures, after which one that has not come out of the decoder will not
UNPACKED = ("rawvideo", "wrapped_avframe", "bitpacked", "v210", "v308", "v408", "v410", "yuv4")


class Coded(NamedTuple):
    """What a camera has given, for whoever writes it.

    Args:
        stream: which one.
        track: from which it came; it is there as long as it is being told.
        content: a packet's bytes; a frame, where packets hold pictures as they are.
        key: whether decoding may begin there.
        shown_s: when its picture appears, on the session's clock.
        order_s: not after any picture that is still to be told; it never goes back.
    """

    stream: str
    track: VideoStream
    content: bytes | VideoFrame
    key: bool
    shown_s: float
    order_s: float


class Ticks:
    """Times of pictures: whole milliseconds after the first, each later than the one before."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._last = -1

    def __call__(self, own_s: float) -> float:
        """The time of the next picture, which came at `own_s`."""
        if self._first_s is None:
            self._first_s = own_s
        self._last = max(round((own_s - self._first_s) / UNIT_S), self._last + 1)
        return self._first_s + self._last * UNIT_S


@dataclass
class _Waiting:
    """A packet, until its picture has come out of the decoder."""

    content: bytes | VideoFrame
    key: bool
    shown_s: float | None = None


class Reel:
    """The packets of a camera from when it was opened until it is closed.

    Of several pictures that wait in the decoder, the next one to be shown has the time of the packet that
    came first: of cameras without B-frames each has its own packet's. What is damaged is left out with all up
    to the next key frame, for it may be made of it, as when a recording is read.

    Args:
        stream: what it is called.
        track: its video, set to be decoded.
        ticks: which times pictures have.
        tell: takes every packet whose picture was shown, in their own order.
    """

    def __init__(
        self, stream: str, track: VideoStream, ticks: Ticks, tell: Callable[[Coded], object] | None
    ) -> None:
        self.stream, self.track, self.ticks, self.tell = stream, track, ticks, tell
        self.context = track.codec_context
        self.context.copy_opaque = True
        self.raw = self.context.codec.canonical_name in UNPACKED
        self.alone = self.context.codec.intra_only  # each picture by itself
        self.lost = 0
        self._begins = True  # with the next key frame
        self._sent = self._key = -1
        self._key_shown = False
        self._came_s: dict[int, float] = {}
        self._waiting: dict[int, _Waiting] = {}

    def take(self, packet: "Packet[VideoStream]", own_s: float) -> list[tuple[float, VideoFrame]]:
        """What is shown once a packet is there that came at `own_s`: times and pictures."""
        number = self._number(packet, own_s)
        if number is None:
            return []
        packet.opaque = (number,)  # an object of its own, for PyAV tells them by identity
        try:
            frames = None if packet.is_corrupt else self.context.decode(packet)
        except av.FFmpegError:
            frames = None
        if frames is None:
            self.lose()
            return []
        return self._shown(frames)

    def rest(self) -> list[tuple[float, VideoFrame]]:
        """What is left in the decoder when no packet will come."""
        try:
            return self._shown(self.context.decode(None))
        except av.FFmpegError:
            return []

    def skip(self, packet: "Packet[VideoStream]", own_s: float) -> None:
        """Do not look at a packet, which must be a picture by itself."""
        number = self._number(packet, own_s)
        if number is None:
            return
        if self.raw:
            del self._came_s[number], self._waiting[number]
        else:
            self._waiting[number].shown_s = self._time(number)
            self._release(number)

    def lose(self) -> None:
        """Leave out what waits, and what comes until the next key frame."""
        self.lost += len(self._waiting)
        self._waiting.clear()
        self._came_s.clear()
        self._begins = True

    def _number(self, packet: "Packet[VideoStream]", own_s: float) -> int | None:
        """The number of a packet that is to be shown."""
        if self._begins and (not packet.is_keyframe or packet.is_corrupt):
            self.lost += 1
            return None
        self._sent += 1
        if self._begins:
            self.context.flush_buffers()
            self._begins, self._key, self._key_shown = False, self._sent, False
        if not packet.is_discard:
            self._came_s[self._sent] = own_s
            kept = self.tell is not None and not self.raw
            self._waiting[self._sent] = _Waiting(bytes(packet) if kept else b"", packet.is_keyframe)
        return self._sent

    def _shown(self, frames: list[VideoFrame]) -> list[tuple[float, VideoFrame]]:
        found: list[tuple[float, VideoFrame]] = []
        for frame in frames:
            number = frame.opaque[0] if isinstance(frame.opaque, tuple) else -1
            if number not in self._waiting:
                continue
            self._key_shown = self._key_shown or number == self._key
            if not self._key_shown:  # made of what was there before the key frame, too
                del self._waiting[number]
                self._came_s.pop(number, None)
                continue
            if frame.is_corrupt:
                self.lose()
                break
            waiting = self._waiting[number]
            waiting.shown_s = self._time(number)
            if self.raw:
                waiting.content = frame
            found.append((waiting.shown_s, frame))
            self._release(number)
        return found

    def _time(self, number: int) -> float:
        """When the picture of a packet that is shown next appears."""
        if not self.context.has_b_frames:
            for gone in [n for n in self._came_s if n < number]:
                del self._came_s[gone]  # nothing came out
        own = number in self._came_s and not self.context.has_b_frames
        first = number if own else self._first_came()
        return self.ticks(self._came_s.pop(first))

    def _first_came(self) -> int:
        """The packet of those that wait in the decoder whose time is the earliest."""
        return min(self._came_s, key=lambda n: (self._came_s[n], n))

    def _release(self, number: int) -> None:
        """Tell of packets in the order in which they came, up to the first whose picture is still to come."""
        oldest = number - (REORDERED if self.context.has_b_frames else 0)
        while self._waiting:
            first = next(iter(self._waiting))
            waiting = self._waiting[first]
            if waiting.shown_s is None and first >= oldest:
                return
            order_s = min((w.shown_s for w in self._waiting.values() if w.shown_s is not None), default=0.0)
            del self._waiting[first]
            if waiting.shown_s is None:
                self.lost += 1
                if self.context.has_b_frames and self._came_s:
                    del self._came_s[self._first_came()]
            elif self.tell is not None:
                shown = waiting.content, waiting.key or self.raw, waiting.shown_s, order_s
                self.tell(Coded(self.stream, self.track, *shown))


class Due(NamedTuple):
    """A packet of a file, and seconds after its first one's: when to decode it, and when it is shown."""

    packet: "Packet[VideoStream]"
    decoded_s: float
    shown_s: float


def due(packets: Iterator["Packet[VideoStream]"]) -> Iterator[Due]:
    """The packets of a file that have times."""
    first: tuple[int, int] | None = None
    for packet in packets:
        stamps = [stamp for stamp in (packet.pts, packet.dts) if stamp is not None]
        if not packet.size or not stamps or packet.time_base is None:
            continue
        if first is None:
            first = stamps[0], stamps[-1]
        decoded, shown = stamps[-1] - first[1], stamps[0] - first[0]
        yield Due(packet, float(decoded * packet.time_base), float(shown * packet.time_base))
