"""Media files: opening them, and their tracks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from plait.errors import DataError
from plait.store import regular

Track = TypeVar("Track", bound=av.stream.Stream)


@contextmanager
def opened(file: Path) -> Iterator[InputContainer]:
    """Open a media file.

    Raises:
        DataError: FFmpeg refuses the file, now or while it is read.
    """
    try:
        regular(file)
        # An absolute path, for FFmpeg takes the colon of a relative "take1:2.mp4" for a protocol's.
        with av.open(str(file.absolute()), "r", metadata_errors="replace") as container:
            yield container
    except (av.FFmpegError, OSError) as error:
        message = error.strerror or error
        raise DataError(f"{file}: cannot be read, expected a whole video file: {message}") from error


def video_track(container: InputContainer, file: Path | str, alone: bool = True) -> VideoStream:
    """The first video track that is no cover picture, as a rule alone.

    A decoder has one thread: several race on what is damaged, so that each reading gives other pictures.

    Raises:
        DataError: there is none, or FFmpeg has no decoder for it.
    """
    for track in container.streams.video:
        if not track.disposition & Disposition.attached_pic:
            track = only(container, track, file) if alone else decodable(track, file)
            track.codec_context.thread_type, track.codec_context.thread_count = ThreadType.NONE, 1
            return track
    raise DataError(f"{file}: no video track, expected one")


def decodable(track: Track, file: Path | str) -> Track:
    """`track` itself.

    Raises:
        DataError: FFmpeg has no decoder for it.
    """
    if getattr(track, "codec_context", None) is None:  # which PyAV's types do not say
        kind = track.type
        raise DataError(f"{file}: its {kind} track cannot be decoded, expected a format that FFmpeg knows")
    return track


def only(container: InputContainer, track: Track, file: Path | str) -> Track:
    """`track`, with every other track of the file set to be skipped.

    Raises:
        DataError: FFmpeg has no decoder for it.
    """
    for other in container.streams:
        if other.index != track.index:
            other.discard = Discard.all
    return decodable(track, file)


@contextmanager
def decoder(file: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a media file to decode its video; leaving, wait for the decoder's threads.

    They free what `decode` hung on the packets, for which they need Python, which PyAV keeps from them while
    it closes.

    Raises:
        DataError: as `opened` and `video_track`.
    """
    with opened(file) as container:
        track = video_track(container, file)
        try:
            yield container, track
        finally:
            track.codec_context.flush_buffers()


def decode(
    track: VideoStream, packet: "Packet[VideoStream] | None", number: int = 0
) -> list[tuple[int, VideoFrame | None]]:
    """What comes out of the decoder when packet `number` goes in, or, with None, all that is left in it.

    Each frame with its own packet's number; frames that the decoder calls damaged are left out. A packet that
    cannot be decoded has None for its frame.
    """
    track.codec_context.copy_opaque = True
    if packet is not None:
        packet.opaque = (number,)  # an object of its own, for PyAV tells them by identity
    try:
        frames = [(frame.opaque, frame) for frame in track.codec_context.decode(packet)]
    except av.EOFError:
        return []
    except av.InvalidDataError:
        return [(number, None)]
    return [(mark[0], frame) for mark, frame in frames if isinstance(mark, tuple) and not frame.is_corrupt]
