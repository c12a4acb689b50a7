"""One decoded frame as a picture: square pixels, resized, the right way up, cropped."""

from fractions import Fraction

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from jaxtyping import UInt8

from plait.errors import DataError, ShapeError

WIDEST = 10  # times as wide as high, or as high as wide: a pixel beyond that is a damaged header
GREY = ("gray", "ya")  # how names of FFmpeg's formats without colours begin
FROM_LIMITED = np.clip(np.round((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


def shaped(
    frame: VideoFrame,
    reformatter: VideoReformatter,
    aspect: Fraction,
    short_side: int | None,
    crop: int | None,
) -> UInt8[np.ndarray, "height width 3"]:
    """A frame as RGB: its pixels made square, resized, the right way up, its middle cropped.

    Args:
        frame: the decoded frame.
        reformatter: resizes it.
        aspect: a stored pixel's width over its height.
        short_side: pixels of the shorter side; with None, the picture grows to square pixels.
        crop: pixels of the square that is kept; with None, the whole picture is.

    Raises:
        DataError: pixels more than ten times as wide as high, or as high as wide.
        ShapeError: the picture is smaller than the crop.
    """
    if not Fraction(1, WIDEST) <= aspect <= WIDEST:
        raise DataError(f"pixels {aspect} times as wide as high, expected between 1/{WIDEST} and {WIDEST}")
    width, height = frame.width * max(aspect, Fraction(1)), frame.height / min(aspect, Fraction(1))
    scale = Fraction(1) if short_side is None else short_side / min(width, height)
    # One step from the decoded format to small RGB, which averages under a triangle two pixels wide.
    small = reformatter.reformat(
        frame, round(width * scale), round(height * scale), "rgb24", interpolation=Interpolation.BILINEAR
    )
    upright = oriented(stretched(small.to_ndarray(), frame), frame)
    if crop is None:
        return upright
    tall, wide = upright.shape[:2]
    if crop > min(tall, wide):
        raise ShapeError(f"frames of {wide} x {tall}, expected at least the crop, {crop}")
    top, left = (tall - crop) // 2, (wide - crop) // 2
    return upright[top : top + crop, left : left + crop].copy()  # which does not keep the rest in memory


def stretched(levels: np.ndarray, frame: VideoFrame) -> np.ndarray:
    """Levels of a frame, 0 to 255, with what was stored as 16 black and as 235 white where it is grey.

    FFmpeg does so for colours, and takes every grey format for one of the whole range, whatever a frame says.
    """
    if frame.color_range == ColorRange.MPEG and frame.format.name.startswith(GREY):
        return np.take(FROM_LIMITED, levels)
    return levels


def oriented(stored: np.ndarray, frame: VideoFrame) -> np.ndarray:
    """A picture turned and mirrored as the frame's display matrix says, to the nearest right angle.

    The matrix, nine numbers `a b u c d v x y w` (ISO 14496-12, 6.2.2), shows a stored point `(x, y)` at
    `(a x + c y, b x + d y)`, up to a shift: one of eight orientations.
    """
    try:
        # Not `frame.side_data`: the frame keeps that, and that the frame, until such circles are sought.
        beside = SideDataContainer(frame)  # type: ignore[call-arg]  # which PyAV's types do not say
        matrix = bytes(beside[Type.DISPLAYMATRIX])
    except KeyError:
        return stored
    except ValueError:  # the frame carries something that PyAV has no name for
        return np.rot90(stored, round(frame.rotation / 90))
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(float)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return stored[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return stored.swapaxes(0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]
