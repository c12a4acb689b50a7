"""Video as a stream, on the clock that starts as a player's does: with the file's first picture or sound."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from jaxtyping import Bool, Float16, Float64, Int64, UInt8
from torch import Tensor

from plait.contents import describe
from plait.errors import DataError, PlaitWarning, ShapeError
from plait.recordings.decoding import frames
from plait.recordings.packets import PADDING_S, Packets, read_packets
from plait.recordings.picture import shaped, stretched
from plait.store import content_key
from plait.types import Readings

MOTION_WIDTH = 160
SLACK_S = 1e-6
COLOURS = (torch.arange(256) / 127.5 - 1).half().numpy()  # of each level


@dataclass(frozen=True, eq=False)
class Video:
    """A `Stream` of RGB frames, decoded when asked for, resized to `short_side` and centre-cropped to `crop`.

    They are as a player shows them: upright, mirrored where the file says so, their pixels square. `None`
    leaves out the resize or the crop.

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
        """Seconds at which each displayed frame appears; the first is after 0 where sound begins before it.

        Raises:
            DataError: the file is missing, no video, or truncated.
        """
        return self._packets.times

    @property
    def ends(self) -> tuple[float, float]:
        """Seconds between which there are pictures: the first's time, 0 if just after, and the last's end."""
        first = float(self.times[0])
        return (0.0 if first < PADDING_S else first), self._packets.stop_s

    @property
    def content_key(self) -> str:
        """Equal for equal files that are shown alike."""
        return content_key(describe(self))

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
        rounded = np.asarray(seconds, np.float64) + self._packets.tolerance_s
        return np.maximum(np.searchsorted(self.times, rounded, side="right") - 1, 0)

    def has(self, seconds: np.ndarray) -> Bool[np.ndarray, " n"]:
        """Whether each of `seconds` lies between its ends: a picture stands until the next, or the end."""
        first_s, stop_s = self.ends
        return np.asarray((seconds >= first_s - SLACK_S) & (seconds <= stop_s + SLACK_S))

    @property
    def tolerance_s(self) -> float:
        """By how much `times` are rounded at most."""
        return self._packets.tolerance_s

    @cached_property
    def lasts_s(self) -> float:
        """For how long a picture stands that is followed by none: the median spacing."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 1.0

    def decoded(self, shown: np.ndarray, back: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """The frames of these numbers (ascending), each with its number, as they are decoded.

        A frame that cannot be decoded is left out; `back` groups of pictures earlier, it may be.
        """
        wanted = np.sort(self._packets.shown[shown])
        number_of = dict(zip(self._packets.shown[shown].tolist(), shown.tolist(), strict=True))
        for packet, picture in frames(self.file, self._packets, wanted, self._picture, back):
            if packet in number_of:  # once, whatever the decoder says twice
                yield number_of.pop(packet), picture

    @cached_property
    def _packets(self) -> Packets:
        return read_packets(self.file)

    def _pictures(self, shown: np.ndarray) -> np.ndarray:
        """The frames of these numbers, ascending, each once."""
        row_of = {number: row for row, number in enumerate(shown.tolist())}
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
                time_s = self.times[min(row_of)]
                raise DataError(
                    f"{self.file}: the frame at {time_s:.3f} s cannot be decoded, expected an undamaged file"
                )
            back = max(1, 2 * back)  # what did not come out may need more than its group of pictures
        return pictures

    def _picture(self, frame: VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
        try:
            return shaped(frame, reformatter, self._packets.aspect, self.short_side, self.crop)
        except (DataError, ShapeError) as error:
            raise type(error)(f"{self.file}: {error}") from None


class Forward:
    """A `Stream` of a video whose coming calls are known: frames that windows share are decoded once.

    `windows` are the seconds of the calls of `at` to come, in about their order. A frame is kept until the
    last window that shows it has been asked for.
    """

    def __init__(self, video: Video, windows: Sequence[np.ndarray]) -> None:
        self.video = video
        self.uses: Counter[int] = Counter()
        for seconds in windows:
            self.uses.update(np.unique(video.shown(seconds)).tolist())
        self.coming = video.decoded(np.array(sorted(self.uses), np.int64)) if self.uses else iter(())
        self.kept: dict[int, np.ndarray] = {}
        self.reached = -1

    @property
    def times(self) -> np.ndarray:
        """Seconds at which each displayed frame appears."""
        return self.video.times

    def has(self, seconds: np.ndarray) -> Bool[np.ndarray, " n"]:
        """As `Video.has`."""
        return self.video.has(seconds)

    def at(self, seconds: np.ndarray) -> UInt8[np.ndarray, "n height width 3"]:
        """As `Video.at`."""
        shown, where = np.unique(self.video.shown(seconds), return_inverse=True)
        numbers: list[int] = shown.tolist()
        while numbers and self.reached < numbers[-1] and (frame := next(self.coming, None)):
            self.reached, picture = frame
            self.kept[self.reached] = picture
        pictures = [self.kept[number] for number in numbers if number in self.kept]
        for number in numbers:
            self.uses[number] -= 1
            if self.uses[number] <= 0:
                self.kept.pop(number, None)
        if not numbers or len(pictures) < len(numbers) or len({picture.shape for picture in pictures}) > 1:
            return self.video.at(seconds)  # which looks again, or says what is wrong
        return np.stack([pictures[row] for row in where])


def rgb(video: UInt8[np.ndarray, "n height width 3"]) -> Float16[Tensor, "n height width 3"]:
    """Frames with colours in [-1, 1], x / 127.5 - 1, as I3D was trained (Carreira, Zisserman, CVPR 2017).

    Raises:
        ShapeError: these are no pictures.
    """
    if video.dtype != np.uint8 or video.ndim != 4:
        raise ShapeError(f"got {video.dtype} {video.shape}, expected pictures: uint8 (n, height, width, 3)")
    return torch.from_numpy(np.take(COLOURS, video))


def motion_energy(file: Path) -> Readings:
    """Mean absolute difference of each frame to the one before, in grey levels, at each frame's time.

    The first is 0. Frames that cannot be decoded are left out, and their number is said.

    Raises:
        DataError: the file is missing, no video, truncated, or nothing can be decoded.
    """
    packets = read_packets(file)
    numbers, energy = _decode_motion(file, packets, whole=False)
    if len(numbers) < len(packets.times):  # some files call a packet a key frame that is none
        numbers, energy = _decode_motion(file, packets, whole=True)
    if not numbers:
        raise DataError(f"{file}: no frame can be decoded, expected an undamaged video")
    if missing := len(packets.times) - len(numbers):
        message = (
            f"{file}: {missing} of {len(packets.times)} frames cannot be decoded, left out of its motion"
        )
        warnings.warn(message, PlaitWarning, stacklevel=2)
    return Readings(packets.times[numbers], np.array(energy, np.float32))


def _decode_motion(file: Path, packets: Packets, whole: bool) -> tuple[list[int], list[float]]:
    """The numbers of the frames that can be decoded, ascending, and how each differs from the one before."""
    number_of = {packet: number for number, packet in enumerate(packets.shown.tolist())}
    numbers: list[int] = []
    energy: list[float] = []
    before: np.ndarray | None = None
    every = np.arange(packets.keys[0], len(packets.order))
    for packet, grey in frames(file, packets, every, _grey, whole=whole):
        number = number_of.get(packet)
        if number is None or (numbers and number <= numbers[-1]):
            continue
        same_size = before is not None and before.shape == grey.shape
        energy.append(float(np.abs(grey - before).mean()) if same_size else 0.0)
        numbers.append(number)
        before = grey
    return numbers, energy


def _grey(frame: VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """A frame's grey levels, `MOTION_WIDTH` wide."""
    height = max(1, round(MOTION_WIDTH * frame.height / frame.width))
    grey = reformatter.reformat(frame, MOTION_WIDTH, height, "gray", interpolation=Interpolation.AREA)
    return stretched(grey.to_ndarray(), frame).astype(np.int16)
