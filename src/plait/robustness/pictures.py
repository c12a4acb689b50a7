"""Faults of cameras, picture by picture, as they are shown and before anything is made of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from plait.robustness.streams import Altered, is_picture, reading_of
from plait.types import Stream

if TYPE_CHECKING:
    from plait.robustness.faults import Occasion


class _Pictures:
    """What faults of cameras share."""

    def fits(self, streams: Mapping[str, Stream]) -> bool:
        """Whether all streams are pictures: rows and columns, 8 or more of each."""
        return all(is_picture(reading_of(stream)[0]) for stream in streams.values())


@dataclass(frozen=True)
class Dark:
    """The light fails: every level is so much lower. It befalls pictures of light alone, of whole levels."""

    name: str = "dark"
    unit: str = "share of the light that is lost"
    severities: tuple[float, ...] = (0.5, 0.75, 0.9, 0.97)

    def fits(self, streams: Mapping[str, Stream]) -> bool:
        """Whether all streams are pictures of 256 levels."""
        found = [reading_of(stream) for stream in streams.values()]
        return all(is_picture(shape) and kind == np.uint8 for shape, kind in found)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams in less light."""
        return _each(streams, lambda shown: shown * np.float32(1 - severity))


@dataclass(frozen=True)
class Blurred(_Pictures):
    """The picture is out of focus: a Gaussian over rows and columns, its edge continued by reflection."""

    name: str = "blurred"
    unit: str = "SD of the blur, % of the picture's shorter side"
    severities: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams out of focus."""

        def change(shown: np.ndarray) -> np.ndarray:
            sd = severity / 100 * min(shown.shape[1:3])
            float32 = shown.astype(np.float32)
            blurred = [
                cv2.GaussianBlur(picture, (0, 0), sd, borderType=cv2.BORDER_REFLECT) for picture in float32
            ]
            return np.array(blurred, np.float32).reshape(shown.shape)

        return _each(streams, change)


@dataclass(frozen=True)
class Occluded(_Pictures):
    """Something stands before the camera: a rectangle like the picture, 0 throughout, at a place per clip."""

    name: str = "occluded"
    unit: str = "share of the picture's area"
    severities: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75)

    def worsen(self, streams: Mapping[str, Stream], severity: float, at: "Occasion") -> dict[str, Stream]:
        """The streams with the rectangle."""

        def change(shown: np.ndarray) -> np.ndarray:
            sides = [min(side, round(side * severity**0.5)) for side in shown.shape[1:3]]
            draws = at.of_clip().random(2)
            top, left = (
                int(draw * (side - size + 1))
                for draw, side, size in zip(draws, shown.shape[1:3], sides, strict=True)
            )
            covered = shown.copy()
            covered[:, top : top + sides[0], left : left + sides[1]] = 0
            return covered

        return _each(streams, change)


def _each(streams: Mapping[str, Stream], change: Callable[[np.ndarray], np.ndarray]) -> dict[str, Stream]:
    return {name: Altered(stream, change) for name, stream in streams.items()}
