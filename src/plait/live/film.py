"""A video that is written as it comes, and can be read whenever its writer dies."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from plait.errors import DataError, one_line
from plait.live.reel import UNIT_S, Coded

CLUSTER_MS = 500  # of pictures that are written at a time
UNIT = Fraction(1, round(1 / UNIT_S))
# Every grey level is kept, and hardly any work done.
LOSSLESS = {"preset": "ultrafast", "qp": "0", "tune": "zerolatency"}
GOOD = {"preset": "veryfast", "crf": "20", "tune": "zerolatency"}
KEY_EVERY = 60  # pictures
READ_AS = (224, 256)  # who reads a recording takes the middle of pictures whose short side is so long


class Film:
    """A Matroska file of one video: a camera's packets as they are, or pictures, encoded.

    The first picture is at 0 s; times are whole milliseconds. Pictures that were cut from larger ones, as
    those of a session, get a black frame, so that reading cuts the same picture out again.

    Args:
        file: where.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.origin_s: float | None = None  # of the first picture, on its own clock
        self.left_out = 0  # for they were of another size or codec
        self._container: OutputContainer | None = None
        self._track: VideoStream | None = None
        self._like: tuple[object, ...] = ()
        self._last = -1

    def begin(self, coded: Coded) -> bool:
        """Whether a camera's picture can be written; opens the file for the first, while its track is there.

        Raises:
            DataError: it cannot be written.
        """
        context = coded.track.codec_context
        like = context.codec.canonical_name, context.width, context.height
        if self.origin_s is None and coded.key:
            self._like = like
            try:
                container = self._opened()
                raw = isinstance(coded.content, VideoFrame)
                if raw or like[0] not in container.supported_codecs:
                    self._encode(container, "libx264", "yuv420p", (context.width, context.height), GOOD)
                    assert self._track is not None
                    if aspect := coded.track.sample_aspect_ratio:
                        self._track.codec_context.sample_aspect_ratio = aspect
                else:
                    self._track = container.add_stream_from_template(coded.track, opaque=True)
                    self._track.time_base = UNIT
            except (av.FFmpegError, OSError, ValueError) as error:
                raise self._refusal(error) from error
            self.origin_s = coded.shown_s
        fits = self._container is not None and self._like == like
        self.left_out += not fits
        return fits

    def write(self, coded: Coded) -> None:
        """Write what a camera gave, for which the film was begun."""
        assert self.origin_s is not None and self._track is not None
        shown, order = (round((s - self.origin_s) / UNIT_S) for s in (coded.shown_s, coded.order_s))
        if shown < 0:
            return
        if isinstance(coded.content, VideoFrame):
            self._write_frame(coded.content, shown)
            return
        packet: Packet[Stream] = Packet(coded.content)
        packet.stream, packet.time_base = self._track, UNIT
        packet.pts, packet.dts, packet.is_keyframe = shown, max(order, 0), coded.key
        self._mux([packet])

    def write_picture(self, picture: np.ndarray, own_s: float) -> None:
        """Write a picture `(height, width, 3)` of uint8, without a loss.

        Raises:
            DataError: it cannot be written.
        """
        inner, outer = READ_AS
        if picture.shape[:2] == (inner, inner):
            edge = (outer - inner) // 2
            picture = np.pad(picture, ((edge, edge), (edge, edge), (0, 0)))
        height, width = picture.shape[:2]
        if self.origin_s is None:
            self._like, self.origin_s = (height, width), own_s
            try:
                self._encode(self._opened(), "libx264rgb", "rgb24", (width, height), LOSSLESS)
            except (av.FFmpegError, OSError, ValueError) as error:
                raise self._refusal(error) from error
        assert self.origin_s is not None
        shown = round((own_s - self.origin_s) / UNIT_S)
        if self._like != (height, width) or shown <= self._last:
            self.left_out += 1
            return
        self._write_frame(VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24"), shown)

    def close(self) -> None:
        """Write what is left, and the end.

        Raises:
            DataError: it cannot be written.
        """
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if self._track is not None and self._encodes:
                container.mux(self._track.encode())
            container.close()
        except (av.FFmpegError, OSError) as error:
            raise self._refusal(error) from error

    _encodes = False

    def _opened(self) -> OutputContainer:
        options = {"cluster_time_limit": str(CLUSTER_MS), "flush_packets": "1"}
        self._container = av.open(str(self.file.absolute()), "w", "matroska", options=options)
        return self._container

    def _encode(
        self,
        container: OutputContainer,
        codec: str,
        form: str,
        size: tuple[int, int],
        options: dict[str, str],
    ) -> None:
        track = container.add_stream(codec, options=options)
        assert isinstance(track, VideoStream)
        track.width, track.height = size
        track.pix_fmt, track.time_base = form, UNIT
        context = track.codec_context
        context.time_base, context.gop_size, context.thread_count = UNIT, KEY_EVERY, 1
        self._track, self._encodes = track, True

    def _write_frame(self, frame: VideoFrame, shown: int) -> None:
        assert self._track is not None
        self._last = shown
        frame.pts, frame.time_base = shown, UNIT
        try:
            packets = self._track.encode(frame)
        except av.FFmpegError as error:
            raise self._refusal(error) from error
        self._mux(packets)

    def _mux(self, packets: "Sequence[Packet[Stream]]") -> None:
        assert self._container is not None
        try:
            self._container.mux(packets)
        except (av.FFmpegError, OSError) as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> DataError:
        reason = getattr(error, "strerror", None) or one_line(error)
        return DataError(f"{self.file}: cannot be written: {reason}")
