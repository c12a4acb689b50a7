"""Video and its audio track as streams, on the clock that starts at the first displayed frame."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import av
import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import Float16, Float64, Int64, UInt8
from torch import Tensor

from plait.errors import DataError, ShapeError
from plait.recordings.media import Packets, frames, only, opened, read_packets
from plait.types import Readings

TOLERANCE_S = 1e-4  # times that were rounded still name their frame; a frame at 240 Hz lasts 40 times as long
GAP_S = 0.05  # audio time stamps that jump by more than this are a gap, by less the rounding of the file format
MOTION_WIDTH = 160
COLOURS = (torch.arange(256) / 127.5 - 1).half().numpy()  # of each level


@dataclass(frozen=True, eq=False)
class Video:
    """A `Stream` of RGB frames, decoded when asked for, upright, resized to `short_side` and centre-cropped to `crop`.

    `None` leaves out the resize or the crop.

    Raises:
        ShapeError: the crop is larger than the short side.
    """

    file: Path
    short_side: int | None = 256
    crop: int | None = 224

    def __post_init__(self) -> None:
        """Refuse sizes that no frame can have."""
        sizes = [size for size in (self.crop, self.short_side) if size is not None]
        if min(sizes, default=1) < 1 or sizes != sorted(sizes):
            raise ShapeError(
                f"video: crop {self.crop} of short side {self.short_side}, expected 1 <= crop <= short side"
            )

    @cached_property
    def times(self) -> Float64[np.ndarray, " frames"]:
        """Seconds of each displayed frame since the first.

        Raises:
            DataError: the file is missing, no video, or truncated.
        """
        packets = self._packets
        shown = packets.pts[packets.shown]
        seconds: np.ndarray = (shown - shown[0]) * packets.time_base.numerator / packets.time_base.denominator
        return seconds

    def at(self, seconds: np.ndarray) -> UInt8[np.ndarray, "n height width 3"]:
        """The frame on display at each of `seconds`, in any order; beyond both ends the first and the last.

        Raises:
            DataError: the file is missing, no video, truncated, or a frame cannot be decoded.
            ShapeError: a frame is smaller than the crop.
        """
        if len(seconds) == 0:
            return self.at(np.zeros(1))[:0]
        shown, where = np.unique(self.shown(seconds), return_inverse=True)
        pictures = self._pictures(shown)
        return pictures if np.array_equal(where, np.arange(len(shown))) else pictures[where]

    def shown(self, seconds: np.ndarray) -> Int64[np.ndarray, " n"]:
        """Which displayed frame, by number, is on display at each of `seconds`."""
        asked = np.searchsorted(self.times, np.asarray(seconds, np.float64) + TOLERANCE_S, side="right") - 1
        return np.maximum(asked, 0)

    def decoded(self, shown: np.ndarray, back: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """The frames of these numbers (ascending), each with its number, as they are decoded.

        A frame that cannot be decoded is left out; `back` groups of pictures earlier, it may be.
        """
        number_of = dict(zip(self._packets.pts[self._packets.shown[shown]].tolist(), shown.tolist(), strict=True))
        reformatter = VideoReformatter()
        for frame in frames(self.file, self._packets, np.sort(self._packets.shown[shown]), back):
            if frame.pts is not None and not frame.is_corrupt and frame.pts in number_of:
                yield number_of.pop(frame.pts), self._picture(frame, reformatter)

    @cached_property
    def _packets(self) -> Packets:
        return read_packets(self.file)

    def _pictures(self, shown: np.ndarray) -> np.ndarray:
        """The frames of these numbers, ascending, each once."""
        row_of = dict(zip(shown.tolist(), range(len(shown)), strict=True))
        pictures = np.empty((0,), np.uint8)
        back = 0
        while row_of:
            for number, picture in self.decoded(np.array(list(row_of)), back):
                if len(pictures) == 0:
                    pictures = np.empty((len(shown), *picture.shape), np.uint8)
                if picture.shape != pictures.shape[1:]:
                    raise DataError(f"{self.file}: frames change their size, expected one size throughout")
                pictures[row_of.pop(number)] = picture
            if row_of and back >= len(self._packets.keys):
                second = self.times[min(row_of)]
                raise DataError(
                    f"{self.file}: the frame at {second:.3f} s cannot be decoded, expected an undamaged file"
                )
            back = max(1, 2 * back)  # what did not come out may need more than its group of pictures
        return pictures

    def _picture(self, frame: VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
        """One decoded frame, resized, upright and cropped."""
        scale = 1.0 if self.short_side is None else self.short_side / min(frame.width, frame.height)
        width, height = round(frame.width * scale), round(frame.height * scale)
        # One step from the decoded format to small RGB; area averages what it shrinks.
        small = reformatter.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA)
        picture = np.rot90(small.to_ndarray(), round(frame.rotation / 90))  # anticlockwise, as the file says to show it
        if self.crop is None:
            return picture
        if self.crop > min(picture.shape[:2]):
            raise ShapeError(f"{self.file}: frames of {width} x {height}, expected at least the crop, {self.crop}")
        top, left = (picture.shape[0] - self.crop) // 2, (picture.shape[1] - self.crop) // 2
        return picture[top : top + self.crop, left : left + self.crop]


class Forward:
    """A `Stream` of a video whose coming calls are known: frames that windows share are decoded once.

    `windows` are the seconds of the calls of `at` to come, in about their order. A frame is kept until the last window
    that shows it has been asked for.
    """

    def __init__(self, video: Video, windows: Sequence[np.ndarray]) -> None:
        self.video = video
        self.uses = Counter(number for seconds in windows for number in np.unique(video.shown(seconds)).tolist())
        self.coming = video.decoded(np.array(sorted(self.uses), np.int64)) if self.uses else iter(())
        self.kept: dict[int, np.ndarray] = {}
        self.reached = -1

    @property
    def times(self) -> np.ndarray:
        """Seconds of each displayed frame since the first."""
        return self.video.times

    def at(self, seconds: np.ndarray) -> UInt8[np.ndarray, "n height width 3"]:
        """As `Video.at`."""
        shown, where = np.unique(self.video.shown(seconds), return_inverse=True)
        numbers: list[int] = shown.tolist()
        while numbers and self.reached < numbers[-1] and (came := next(self.coming, None)):
            self.reached = came[0]
            self.kept[came[0]] = came[1]
        pictures = [self.kept[number] for number in numbers if number in self.kept]
        for number in numbers:
            self.uses[number] -= 1
            if self.uses[number] <= 0:
                self.kept.pop(number, None)
        if not numbers or len(pictures) < len(numbers) or len({picture.shape for picture in pictures}) > 1:
            return self.video.at(seconds)  # which looks again, or says what is wrong
        return np.stack([pictures[row] for row in where])


def rgb(video: UInt8[np.ndarray, "n height width 3"]) -> Float16[Tensor, "n height width 3"]:
    """Frames with colours in [-1, 1], x / 127.5 - 1 as the paper has it."""
    return torch.from_numpy(np.take(COLOURS, video))


def motion_energy(file: Path) -> Readings:
    """Mean absolute difference of each frame to the one before, in grey levels, at each frame's time; first: 0.

    Raises:
        DataError: the file is missing, no video, truncated, or nothing can be decoded.
    """
    packets = read_packets(file)
    reformatter = VideoReformatter()
    pts: list[int] = []
    energy: list[float] = []
    before: np.ndarray | None = None
    displayed = set(packets.pts[packets.shown].tolist())
    for frame in frames(file, packets, np.arange(packets.keys[0], len(packets.pts))):
        if frame.pts is None or frame.pts not in displayed or (pts and frame.pts <= pts[-1]):
            continue
        height = max(1, round(MOTION_WIDTH * frame.height / frame.width))
        grey = reformatter.reformat(frame, MOTION_WIDTH, height, "gray", interpolation=Interpolation.AREA)
        now = grey.to_ndarray().astype(np.int16)
        energy.append(0.0 if before is None or before.shape != now.shape else float(np.abs(now - before).mean()))
        pts.append(frame.pts)
        before = now
    if not pts:
        raise DataError(f"{file}: no frame can be decoded, expected an undamaged video")
    times = np.array(pts) * float(packets.time_base) - packets.start_s
    return Readings(times, np.array(energy, np.float32))


def read_audio(file: Path, rate_hz: int = 16_000) -> Readings:
    """A video's audio as one channel, float32, at `rate_hz` on the video's clock: it may start before 0.

    Gaps are silent.

    Raises:
        DataError: the file is missing, no video, truncated, has no audio track, or the audio cannot be decoded.
    """
    start_s = read_packets(file).start_s
    pieces: list[np.ndarray] = []
    begins_s, samples = 0.0, 0
    with opened(file) as container:
        if not container.streams.audio:
            raise DataError(f"{file}: no audio track, expected one")
        track = only(container, container.streams.audio[0], file)
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate_hz)
        decoded = (frame for packet in container.demux(track) for frame in packet.decode())
        for frame in chain(decoded, [None]):
            for piece in resampler.resample(frame):
                values = piece.to_ndarray()[0]
                time_s = begins_s + samples / rate_hz if piece.time is None else piece.time
                if not pieces:
                    begins_s = time_s
                late_s = time_s - (begins_s + samples / rate_hz)
                if late_s > GAP_S:
                    pieces.append(np.zeros(round(late_s * rate_hz), np.float32))
                    samples += len(pieces[-1])
                elif late_s < -GAP_S:
                    values = values[round(-late_s * rate_hz) :]
                pieces.append(values)
                samples += len(values)
    if samples == 0:
        raise DataError(f"{file}: its audio track is empty, expected sound")
    return Readings(begins_s - start_s + np.arange(samples) / rate_hz, np.concatenate(pieces))
