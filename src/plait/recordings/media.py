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

PROGRESSIVE = 1  # FFmpeg's AV_FIELD_PROGRESSIVE; it calls 0 what is not known
HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics of ITU-T H.273
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
    """The video track that a player shows, as a rule alone: the one of `video_tracks` that comes first.

    A decoder has one thread: several race on what is damaged, so that each reading gives other pictures.

    Raises:
        DataError: there is none, or FFmpeg has no decoder for it.
    """
    tracks = video_tracks(container)
    if not tracks:
        raise DataError(f"{file}: no video track, expected one")
    track = only(container, tracks[0], file) if alone else decodable(tracks[0], file)
    track.codec_context.thread_type, track.codec_context.thread_count = ThreadType.NONE, 1
    return track


def video_tracks(container: InputContainer) -> list[VideoStream]:
    """Video tracks that are no cover pictures; first the one that is marked as the default.

    Where several are, it is the first of these; where none is, the one that FFmpeg thinks best.
    """
    tracks = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    marked = [track for track in tracks if track.disposition & Disposition.default]
    first = next((track.index for track in marked), None if best is None else best.index)
    return sorted(tracks, key=lambda track: track.index != first)


def unlike_a_player(container: InputContainer, track: VideoStream) -> list[str]:
    """What a player shows otherwise than it is read here, or might, in words: tracks, colours, fields, alpha.

    Args:
        container: the file.
        track: the one of `video_track`, whose decoder is known.
    """
    said: list[str] = []
    if others := [other for other in video_tracks(container) if other.index != track.index]:
        left = ", ".join(map(_called, others))
        said.append(
            f"{1 + len(others)} video tracks: {_called(track)} is read, as players do, and not {left}"
        )
    if track.color_trc in HDR:
        kind = f"high dynamic range ({HDR[track.color_trc]})"
        said.append(f"{kind}, read without tone mapping: players show other colours, which a copy in SDR has")
    if track.codec_context.field_order > PROGRESSIVE:
        comb = "what moves has the edges of a comb; a deinterlaced copy has none"
        said.append(f"interlaced, read as it is: {comb}")
    if _has_alpha(track):
        said.append("has an alpha plane, which is not read: what is transparent in it is shown as opaque")
    return said


def _called(track: VideoStream) -> str:
    """A track in words: its number in the file, codec and size."""
    known = getattr(track, "codec_context", None) is not None  # which PyAV's types do not say
    about = f"{track.codec_context.name}, {track.width} x {track.height}" if known else "of no known format"
    return f"track {track.index} ({about})"


def _has_alpha(track: VideoStream) -> bool:
    """Whether pictures are stored with a plane of alpha; those of a GIF always come out with one."""
    form = track.format
    stored = form is not None and any(part.is_alpha for part in form.components)
    tags = {name.lower(): value for name, value in track.metadata.items()}
    return (stored and track.codec_context.name != "gif") or tags.get("alpha_mode") == "1"


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
