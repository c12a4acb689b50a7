"""What a camera on the chest sees: a panel, tools, and two gloved hands, drawn with OpenCV."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from plait.simulator.cycles import (
    BUTTONS,
    CAP,
    DRIVER,
    HAMMER,
    NAIL,
    PANEL_Z,
    PLUG,
    SCREWS,
    SOCKETS,
    TRAY,
)
from plait.simulator.motion import Motion, Pose, joints

SHIFT = 4  # bits of a pixel's fraction in OpenCV's coordinates
SLIP_S = 0.25  # how long a camera takes to slip
PALM = [1, 5, 9, 13, 17]
Colour = tuple[float, float, float]
TOOLS: tuple[Colour, ...] = (
    (52, 54, 60),  # plug
    (205, 120, 40),  # cap
    (200, 60, 40),  # the screwdriver's handle
    (150, 105, 60),  # the hammer's
)


def thickness(points: np.ndarray, size: float, height: int) -> np.ndarray:
    """How thick a finger of joints (..., 21, 3), in metres, looks in a picture of this height, in pixels."""
    depth = np.maximum(points[..., 2].mean(-1), 0.15)
    pixels: np.ndarray = 0.022 * size * 0.98 * height / depth
    return pixels


def hand_box(pixels: np.ndarray, thick: np.ndarray | float) -> np.ndarray:
    """The box (..., 4), left, top, right, bottom, around a hand's joints (..., 21, 2) in pixels."""
    half = np.asarray(thick)[..., None] / 2
    return np.concatenate([pixels.min(-2) - half, pixels.max(-2) + half], axis=-1)


def in_view(boxes: np.ndarray, view: tuple[float, float, float, float]) -> np.ndarray:
    """Boxes (..., 4) cut off at the edges of `view`, a box as well; NaN where less than a third shows."""
    cut = np.clip(boxes, view[:2] * 2, view[2:] * 2)
    share = np.prod(cut[..., 2:] - cut[..., :2], -1) / np.prod(boxes[..., 2:] - boxes[..., :2], -1)
    return np.where(share[..., None] >= 1 / 3, cut, np.nan)


@dataclass(frozen=True)
class Look:
    """What differs between subjects' pictures."""

    glove: Colour
    sleeve: Colour
    wall: Colour
    panel: Colour
    light: float  # a factor on all colours
    tilt: float  # of the camera, in radians
    shift: tuple[float, float]  # of the camera, in metres to the right and down
    size: float  # of the hands, as a multiple
    sway: float  # how far the camera sways, in metres
    tools: tuple[Colour, ...] = TOOLS  # colours of them, in this order
    blur: float = 0.0  # SD of a Gaussian, in parts of the picture's height


class Slip(NamedTuple):
    """The camera has slipped from `start_s` to `stop_s`: it looks `by` metres, x and y, past the middle."""

    start_s: float
    stop_s: float
    by: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Scene:
    """The camera's view of a motion."""

    motion: Motion  # what the hands do
    look: Look  # what differs between subjects' pictures
    width: int  # of a picture, in pixels
    height: int  # of a picture, in pixels
    seed: tuple[int, ...]  # of the camera's sway
    slips: tuple[Slip, ...] = ()  # when the camera looks elsewhere

    def frames(self, seconds: np.ndarray) -> "list[Frame]":
        """What is where at each of `seconds`: everything but the drawing, for all of them at once."""
        rng = np.random.default_rng(list(self.seed))
        phases = rng.uniform(0, 2 * np.pi, (3, 3))
        turns = [2 * np.pi * hertz * seconds[:, None] for hertz in (0.11, 0.23, 0.31)]
        sway = sum(np.sin(turn + phases[i]) / (i + 1) for i, turn in enumerate(turns))
        camera = np.asarray(sway) * self.look.sway * [1.0, 0.7, 0.5]
        for slip in self.slips:
            edges = [slip.start_s - SLIP_S, slip.start_s, slip.stop_s, slip.stop_s + SLIP_S]
            camera = camera + np.interp(seconds, edges, [0, 1, 1, 0])[:, None] * [*slip.by, 0.0]
        light = self.look.light * (1 + 0.04 * np.sin(0.4 * seconds + phases[0, 0]))
        poses = {side: at(seconds) for side, at in self.motion.hands.items()}
        points = {side: joints(pose, side, self.look.size) for side, pose in poses.items()}
        frames = []
        for i in range(len(seconds)):
            pixels = {side: self.project(points[side][i], camera[i]) for side in points}
            frames.append(Frame(self, i, camera[i], float(light[i]), poses, points, pixels))
        return frames

    def project(self, points: np.ndarray, camera: np.ndarray) -> np.ndarray:
        """Pixels (n, 2) of points (n, 3) seen by a camera that has moved by `camera`."""
        cos, sin = np.cos(self.look.tilt), np.sin(self.look.tilt)
        x, y, z = (np.asarray(points) - camera - [*self.look.shift, 0.0]).T
        z = np.maximum(z, 0.08)
        focal = 0.98 * self.height
        u, v = focal * x / z, focal * y / z
        return np.stack([self.width / 2 + cos * u - sin * v, self.height / 2 + sin * u + cos * v], axis=1)


@dataclass(frozen=True, eq=False)
class Frame:
    """One of several moments `n` of a `Scene`."""

    scene: Scene  # whose
    number: int  # which of the moments
    camera: np.ndarray  # `(3,)`, how far the camera has moved, in metres
    light: float  # a factor on all colours
    poses: dict[str, Pose]  # of each hand, at all moments
    points: dict[str, np.ndarray]  # of each hand the joints at all moments, `(n, 21, 3)`, in metres
    shown: dict[str, np.ndarray]  # of each hand the joints at this one, `(21, 2)`, in pixels

    def boxes(self) -> dict[str, tuple[float, float, float, float] | None]:
        """Each hand's box (left, top, right, bottom) in pixels; None if less than a third is in view."""
        view = 0, 0, self.scene.width, self.scene.height
        boxes: dict[str, tuple[float, float, float, float] | None] = {}
        for side, pixels in self.shown.items():
            left, top, right, bottom = in_view(hand_box(pixels, self._thickness(side)), view).tolist()
            boxes[side] = None if np.isnan(left) else (left, top, right, bottom)
        return boxes

    def draw(self) -> np.ndarray:
        """The picture (height, width, 3), RGB."""
        scene, look = self.scene, self.scene.look
        picture = np.empty((scene.height, scene.width, 3), np.uint8)
        picture[:] = _dim(look.wall, self.light)
        self._draw_panel(picture)
        for side in sorted(self.points, key=lambda side: -self.points[side][self.number, :, 2].mean()):
            self._draw_hand(picture, side)
        if look.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), look.blur * scene.height).astype(np.uint8, copy=False)
        return picture

    def _thickness(self, side: str) -> float:
        return float(thickness(self.points[side][self.number], self.scene.look.size, self.scene.height))

    def _project(self, points: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        return self.scene.project(np.asarray(points, dtype=float).reshape(-1, 3), self.camera)

    def _fill(self, picture: np.ndarray, corners: np.ndarray, colour: Colour) -> None:
        pixels = np.round(self._project(corners) * 2**SHIFT).astype(np.int32)
        cv2.fillPoly(picture, [pixels], _dim(colour, self.light), cv2.LINE_AA, SHIFT)

    def _disc(self, picture: np.ndarray, centre: np.ndarray, radius: float, colour: Colour) -> None:
        ((u, v),) = self._project(centre)
        middle = (round(u * 2**SHIFT), round(v * 2**SHIFT))
        size = round(radius * 0.98 * self.scene.height / centre[2] * 2**SHIFT)
        cv2.circle(picture, middle, size, _dim(colour, self.light), -1, cv2.LINE_AA, SHIFT)

    def _rod(self, picture: np.ndarray, ends: Sequence[np.ndarray], metres: float, colour: Colour) -> None:
        depth = max(float(np.mean([end[2] for end in ends])), 0.15)
        width = metres * 0.98 * self.scene.height / depth
        _draw_line(picture, self._project(ends), width, _dim(colour, self.light))

    def _draw_panel(self, picture: np.ndarray) -> None:
        z, colour = PANEL_Z, self.scene.look.panel
        self._fill(picture, _rectangle(-0.9, 0.24, 0.9, 0.9, z - 0.02), (96, 84, 72))
        self._fill(picture, _rectangle(-0.25, -0.2, 0.25, 0.2, z), colour)
        self._fill(picture, _rectangle(-0.235, -0.185, 0.235, 0.185, z), _lighten(colour))
        for socket in SOCKETS:
            self._disc(picture, socket + [0, 0, 0.03], 0.019, (40, 42, 48))
            self._disc(picture, socket + [0, 0, 0.03], 0.009, (15, 15, 18))
        for button, colour in zip(BUTTONS, ((190, 50, 45), (60, 150, 70), (220, 170, 50)), strict=True):
            self._disc(picture, button + [0, 0, 0.03], 0.024, (70, 72, 78))
            self._disc(picture, button + [0, 0, 0.03], 0.018, colour)
        for screw in SCREWS:
            self._disc(picture, screw + [0, 0, 0.03], 0.008, (150, 150, 155))
        self._fill(picture, _rectangle(TRAY[0] - 0.07, 0.205, TRAY[0] + 0.07, 0.25, 0.5), (70, 60, 52))
        self._rod(picture, [NAIL, NAIL + [0, 0.05, 0.02]], 0.006, (190, 190, 195))

    def _draw_hand(self, picture: np.ndarray, side: str) -> None:
        look, i = self.scene.look, self.number
        points, pixels, pose = self.points[side][i], self.shown[side], self.poses[side]
        if pixels[:, 1].min() > self.scene.height * 1.3:
            return
        width = self._thickness(side)
        glove, dark = _dim(look.glove, self.light), _dim(look.glove, 0.62 * self.light)
        elbow = points[0] + [0.10 if side == "right" else -0.10, 0.22, -0.16]
        _draw_line(picture, self._project([points[0], elbow]), 2.6 * width, _dim(look.sleeve, self.light))
        self._draw_tool(picture, int(pose.holds[i]), points, pose, side)
        palm = np.round(np.concatenate([pixels[:1], pixels[PALM]]) * 2**SHIFT).astype(np.int32)
        hull = cv2.convexHull(palm)
        fingers = [pixels[1 + 4 * finger : 5 + 4 * finger] for finger in range(5)]
        cv2.polylines(picture, [hull], True, dark, round(1.6 * width), cv2.LINE_AA, SHIFT)
        for finger in fingers:
            _draw_line(picture, finger, width, dark)
        cv2.fillPoly(picture, [hull], glove, cv2.LINE_AA, SHIFT)
        cv2.polylines(picture, [hull], True, glove, max(round(1.1 * width), 1), cv2.LINE_AA, SHIFT)
        for finger in fingers:
            _draw_line(picture, finger, 0.68 * width, glove)

    def _draw_tool(self, picture: np.ndarray, held: int, points: np.ndarray, pose: Pose, side: str) -> None:
        plug, cap, driver, hammer = self.scene.look.tools
        tip = points[[4, 8, 12]].mean(0)  # between thumb, index and middle finger
        turn = pose.rotation[self.number].as_matrix()
        across = 1.0 if side == "right" else -1.0
        if held == PLUG:
            cable = [tip, tip + [0.05, 0.12, -0.05], tip + [0.16 * across, 0.3, -0.1]]
            self._rod(picture, cable, 0.008, (30, 30, 34))
            self._rod(picture, [tip - [0, 0.005, -0.03], tip + [0, 0.02, 0]], 0.022, plug)
        elif held == CAP:
            self._disc(picture, tip + [0, -0.008, 0.01], 0.02, cap)
        elif held == DRIVER:
            spin = turn @ np.array([0.012 * across, 0.0, 0.0])
            self._rod(picture, [tip + spin, tip + [0, -0.05, 0.11]], 0.007, (175, 178, 185))
            self._rod(picture, [tip - [0, -0.03, 0.05] + spin, tip + [0, -0.01, 0.03]], 0.026, driver)
        elif held == HAMMER:
            palm = points[PALM].mean(0)
            head = palm + turn @ np.array([0.0, -0.03, 0.17])
            self._rod(picture, [palm, head], 0.014, hammer)
            half = turn @ np.array([0.0, 0.045, 0.01])
            self._rod(picture, [head - half, head + half], 0.030, (105, 108, 115))


def _rectangle(left: float, top: float, right: float, bottom: float, z: float) -> np.ndarray:
    return np.array([[left, top, z], [right, top, z], [right, bottom, z], [left, bottom, z]])


def _draw_line(picture: np.ndarray, pixels: np.ndarray, width: float, colour: Colour) -> None:
    points = np.round(np.clip(pixels, -2000, 6000) * 2**SHIFT).astype(np.int32)
    cv2.polylines(picture, [points], False, colour, max(round(width), 1), cv2.LINE_AA, SHIFT)


def _dim(colour: Colour, light: float) -> Colour:
    return (min(colour[0] * light, 255.0), min(colour[1] * light, 255.0), min(colour[2] * light, 255.0))


def _lighten(colour: Colour) -> Colour:
    return (min(colour[0] + 14, 255.0), min(colour[1] + 14, 255.0), min(colour[2] + 14, 255.0))
