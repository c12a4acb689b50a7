"""Cameras as sources: of this machine, of the network, and a file in the place of one."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from threading import Condition, Thread
from threading import Event as Flag
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from plait.errors import DataError, PlaitError, PlaitWarning, one_line
from plait.live.devices import SILENT_S, address_of, opened_at
from plait.live.events import Arrived, Ended, Event, Opening
from plait.live.reel import UNIT_S, Coded, Reel, Ticks, due
from plait.recordings.media import video_track
from plait.recordings.packets import TOLERANCE_S
from plait.recordings.picture import shaped

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)  # before it is tried again; then always the last
BEHIND, LATE_S = 2, 1.0  # packets, or seconds, that may wait before pictures are left out
MOST_BYTES = 1 << 26  # of packets that wait
SHORT_SIDE, CROP = 256, 224  # as recorded videos are opened


def warn(line: str) -> None:
    """Say what goes on otherwise than was asked for."""
    warnings.warn(line, PlaitWarning, stacklevel=2)


class _Begins(NamedTuple):
    """A camera has been opened."""

    track: VideoStream


class _Ends(NamedTuple):
    """It is to be closed once its packets are `let_go`; what to say of it; whether nothing follows."""

    let_go: Flag
    line: str | None
    last: bool


class _Came(NamedTuple):
    """A packet, when it came, and whether others before it had to make room."""

    packet: "Packet[VideoStream]"
    own_s: float
    torn: bool = False


class Camera:
    """Pictures of a camera, shaped as recorded ones are, each at the time of its packet's arrival.

    A thread reads packets, whoever iterates decodes them. Where he is slower than the camera, pictures are
    left out and counted in `dropped`: of codecs whose pictures stand alone, all but the newest are not
    decoded; of others, they are decoded but not shaped, and, a second late, passed over up to the next key
    frame. So are pictures that are damaged. A camera that ends or is silent for `SILENT_S` is said once and
    tried again, until `close`. A file is played at its own pace, to its end.

    Args:
        stream: what the video is called in a recording.
        address: see `plait.live.devices.address_of`.
        tell: what takes every packet that is to be recorded, see `plait.live.reel.Coded`; it may be set
            until the first picture is asked for.
        say: takes a line for a person.

    Raises:
        ConfigError: it is no address.
        DataError: the camera cannot be opened, or has no video.
    """

    def __init__(
        self,
        stream: str,
        address: str,
        tell: Callable[[Coded], object] | None = None,
        say: Callable[[str], object] = warn,
    ) -> None:
        self.stream, self.address, self.tell, self.say = stream, address_of(address), tell, say
        with opened_at(
            self.address
        ) as container:  # and closed: what came until it is iterated would be stale
            track = video_track(container, self.address.shown)
            rate = track.average_rate or track.guessed_rate
        # Times are whole milliseconds, as recorded: the tolerance is that of a recording.
        tolerance_s = TOLERANCE_S + UNIT_S / 2
        self.openings = (Opening(stream, rate_hz=float(rate or 0.0), tolerance_s=tolerance_s),)
        self._unseen = self._overrun = 0
        self._closed = Flag()
        self._changed = Condition()
        self._coming: deque[_Begins | _Came | _Ends] = deque()
        self._bytes = 0
        self._ticks, self._reformatter = Ticks(), VideoReformatter()
        self._reel: Reel | None = None
        self._aspect = Fraction(1)
        self._failed: BaseException | None = None
        self._shown = False  # whether anything was

    def __iter__(self) -> Iterator[Event]:
        """Pictures, one at a time; waits for them."""
        Thread(target=self._reading, name=f"camera {self.stream}", daemon=True).start()
        coming: _Begins | _Came | _Ends | None = None
        try:
            while (coming := self._next()) is not None:
                for shown_s, frame in self._frames(coming):
                    yield Arrived(self.stream, np.array([shown_s]), self._picture(frame)[None], shown_s)
                if isinstance(coming, _Ends):
                    self._unseen, self._reel = self.dropped - self._overrun, None
                    coming.let_go.set()
                    if coming.line is not None:
                        self.say(coming.line)
                    if coming.last:
                        yield Ended(self.stream, None, time.monotonic())
                        return
        finally:
            self.close()
            for left in (coming, *self._coming):
                if isinstance(left, _Ends):
                    left.let_go.set()

    @property
    def dropped(self) -> int:
        """How many pictures were left out, for want of time or because they were damaged."""
        return self._unseen + self._overrun + (self._reel.lost if self._reel else 0)

    def close(self) -> None:
        """End it, from any thread."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()

    def _frames(self, coming: "_Begins | _Came | _Ends") -> list[tuple[float, VideoFrame]]:
        """The frames that are to be shown once something has come, with their times."""
        if isinstance(coming, _Begins):
            self._reel = Reel(self.stream, coming.track, self._ticks, self.tell)
            self._aspect = coming.track.sample_aspect_ratio or Fraction(1)
        if self._reel is None or isinstance(coming, _Begins):
            return []
        frames = self._reel.rest() if isinstance(coming, _Ends) else self._decoded(self._reel, coming)
        if self._shown and len(self._coming) > BEHIND:
            self._unseen += len(frames)
            return []
        self._shown = self._shown or bool(frames)
        return frames

    def _decoded(self, reel: Reel, came: _Came) -> list[tuple[float, VideoFrame]]:
        """What comes out of the decoder once a packet has come, unless there is no time to look at it."""
        with self._changed:
            after = [other for other in self._coming if isinstance(other, _Came)]
        if self._shown and after and reel.alone:
            reel.skip(came.packet, came.own_s)
            self._unseen += 1
            return []
        late = self._shown and after and after[-1].own_s - came.own_s > LATE_S
        if (came.torn and not reel.alone) or (late and any(other.packet.is_keyframe for other in after)):
            reel.lose()
        return reel.take(came.packet, came.own_s)

    def _picture(self, frame: VideoFrame) -> np.ndarray:
        try:
            return shaped(frame, self._reformatter, self._aspect, SHORT_SIDE, CROP)
        except PlaitError as error:
            raise type(error)(f"{self.address.shown}: {error}") from None

    def _next(self) -> _Begins | _Came | _Ends | None:
        """What has come next; None once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._coming or self._failed or self._closed.is_set())
            if self._failed is not None:
                raise self._failed
            if self._closed.is_set():
                return None
            coming = self._coming.popleft()
            if isinstance(coming, _Came):
                self._bytes -= coming.packet.size
            return coming

    def _put(self, coming: _Begins | _Came | _Ends) -> None:
        with self._changed:
            self._coming.append(coming)
            if isinstance(coming, _Came):
                self._bytes += coming.packet.size
            while self._bytes > MOST_BYTES and isinstance(first := self._coming[0], _Came):
                self._coming.popleft()
                self._bytes -= first.packet.size
                self._overrun += 1
                if self._coming and isinstance(after := self._coming[0], _Came):
                    self._coming[0] = after._replace(torn=True)
            self._changed.notify_all()

    def _reading(self) -> None:
        """The reading thread; what nobody has thought of is raised where pictures are waited for."""
        try:
            self._read()
        except BaseException as error:
            with self._changed:
                self._failed = error
                self._changed.notify_all()

    def _read(self) -> None:
        """Put whatever comes where it is waited for; open the camera again, should it end."""
        tries, file = 0, self.address.file is not None
        while not self._closed.is_set():
            trouble = None if file else "has ended"
            let_go = Flag()
            try:
                with opened_at(self.address) as container:
                    track = video_track(container, self.address.shown)
                    self._put(_Begins(track))
                    try:
                        for came in self._packets(container, track):
                            self._put(came)
                            tries = 0
                            if self._closed.is_set():
                                break
                    except av.ExitError:
                        trouble = f"has given no picture for {SILENT_S:g} s"
                    except (av.FFmpegError, OSError) as error:
                        trouble = f"cannot be read: {error.strerror or one_line(error)}"
                    self._end(let_go, trouble, tries)
                    let_go.wait(1.0)  # not to be closed under whoever looks at its packets
            except DataError as error:
                trouble = str(error).removeprefix(f"{self.address.shown}: ")
                self._end(let_go, trouble, tries)
            if file:
                return
            self._closed.wait(WAITS_S[min(tries, len(WAITS_S) - 1)])
            tries += 1

    def _end(self, let_go: Flag, trouble: str | None, tries: int) -> None:
        """Say that a camera has ended, and wait until nobody looks at its packets any more."""
        file = self.address.file is not None
        line = None
        if trouble is not None and tries == 0:
            line = f"{self.address.shown}: {trouble}" + ("" if file else "; tried again until it is back")
        self._put(_Ends(let_go, line, file))
        while not let_go.wait(0.1) and not self._closed.is_set():
            pass

    def _packets(self, container: InputContainer, track: VideoStream) -> Iterator[_Came]:
        """Packets as they come; of a file, when their time has come."""
        if self.address.file is None:
            for packet in container.demux(track):
                if packet.size:
                    yield _Came(packet, time.monotonic())
            return
        start_s: float | None = None
        for packet, decoded_s, shown_s in due(container.demux(track)):
            start_s = time.monotonic() if start_s is None else start_s
            if self._closed.wait(max(0.0, start_s + decoded_s - time.monotonic())):
                return
            yield _Came(packet, start_s + shown_s)
