"""A data set that needs no files: generated recordings of a camera and a wrist sensor; labels need both.

A shape crosses a camera's view: again and again rightward, again and again leftward, or to and fro. A wrist
swings: steadily, quickening, or slowing down. The activity is the pair, and every subject has the nine pairs
equally often. Neither sensor sees what the other does: whoever knows one is right one time in three at best.
Which way things go shows over time alone: all motions visit the same places; slowing is quickening reversed.

Subjects differ: size, pace and brightness of the shape, background, clutter, noise and mounting of the
camera; pace, gain, bias, noise and mounting of the wrist sensor. A fixed seed decides everything.

It demonstrates and tests the whole line, on any machine, in minutes. It is no model of people, cameras or
sensors, and its numbers say nothing about methods on real data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from plait.contents import describe
from plait.encoders.glove import SignalNet
from plait.encoders.video import VideoNet
from plait.store import content_key
from plait.types import Dataset, Modality, Readings, Recording, Span, Stream

SUBJECTS = ("1", "2", "3", "4", "5", "6")
MOTIONS = ("rightward", "leftward", "to-and-fro")
RHYTHMS = ("steady", "quickening", "slowing")
REPEATS = 8
SIDE = 24
CAMERA_HZ = 10.0
WRIST_HZ = 50.0
SEED = 7


def recordings(data: Path) -> Iterator[Recording]:
    """One recording per subject, 72 labelled spans each; `data` is ignored, for nothing is read."""
    for subject in SUBJECTS:
        plan, camera, wrist = (np.random.default_rng([SEED, int(subject), part]) for part in range(3))
        spans = _plan(plan)
        streams: dict[str, Stream] = {"camera": _camera(spans, camera), "wrist": _wrist(spans, wrist)}
        yield Recording(f"subject-{subject}", subject, streams, spans)


def _plan(rng: np.random.Generator) -> tuple[Span, ...]:
    """Every activity equally often, in random order, with pauses between."""
    spans, stop_s = [], 0.0
    for activity in rng.permutation(np.repeat(ACTIVITIES, REPEATS)):
        start_s = stop_s + rng.uniform(0.4, 0.9)
        stop_s = start_s + rng.uniform(1.7, 1.9)
        spans.append(Span(start_s, stop_s, str(activity)))
    return tuple(spans)


@dataclass(frozen=True, eq=False)
class Camera:
    """A `Stream` whose frames are drawn when asked for: the same at the same time, in whatever order."""

    times: np.ndarray  # `(n,)`, seconds of the frames
    centres: np.ndarray  # `(n, 2)`, row and column of the shape in each, in pixels
    background: np.ndarray  # `(24, 24)`, as shares of full scale
    brightness: float  # the shape's, a share of full scale
    radius: float  # the shape's, in pixels
    noise: float  # its standard deviation, a share of full scale
    seed: int  # with a frame's number it decides what is drawn at random

    @cached_property
    def content_key(self) -> str:
        """Equal for equal frames."""
        return content_key(describe(self))

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """The nearest frames, shape `(len(seconds), 24, 24)`, uint8."""
        nearest = np.searchsorted((self.times[1:] + self.times[:-1]) / 2, seconds)
        frames = [self._draw(int(number)) for number in nearest]
        return np.array(frames, dtype=np.uint8).reshape(-1, SIDE, SIDE)

    def _draw(self, number: int) -> np.ndarray:
        """A frame: background, a passing blot, the shape, flicker and noise."""
        rng = np.random.default_rng([self.seed, number])
        blot, flicker = rng.uniform(0, SIDE, 2), rng.normal(1.0, 0.06)
        frame = _paint(self.background, blot, self.radius, rng.uniform(0, 0.6), 0.3)
        centre = self.centres[number] + rng.normal(0, 0.4, 2)
        frame = _paint(frame, centre, self.radius, self.brightness, 1.0)
        frame = frame * flicker + rng.normal(0, self.noise, frame.shape)
        return (np.clip(frame, 0, 1) * 255).astype(np.uint8)


def _paint(
    frame: np.ndarray, centre: np.ndarray, radius: float, brightness: float, strength: float
) -> np.ndarray:
    """A disc with a soft edge, over the frame."""
    row, column = np.ogrid[:SIDE, :SIDE]
    cover = strength * np.clip(radius + 0.5 - np.hypot(row - centre[0], column - centre[1]), 0, 1)
    painted: np.ndarray = frame + cover * (brightness - frame)
    return painted


def _camera(spans: tuple[Span, ...], rng: np.random.Generator) -> Camera:
    """How the shape moves, and what this subject's camera makes of it."""
    times = np.arange(0.0, spans[-1].stop_s + 1.0, 1 / CAMERA_HZ)
    centres = np.full((len(times), 2), -SIDE, dtype=float)  # out of sight, but for the spans
    pace, radius = rng.uniform(24, 32), rng.uniform(3.5, 5.0)
    tilt, offset = rng.normal(0, 0.1), rng.normal(0, 1.0, 2)
    for span in spans:
        motion = span.activity.split()[0]
        inside = (times >= span.start_s) & (times < span.stop_s)
        length = SIDE + 2 * radius
        path = rng.uniform(0, 2 * length) + pace * rng.uniform(0.9, 1.1) * (times[inside] - span.start_s)
        to_and_fro = np.abs(path % (2 * length) - length)
        along = {"rightward": path % length, "leftward": -path % length}.get(motion, to_and_fro) - length / 2
        centres[inside] = SIDE / 2 + offset + along[:, None] * [np.sin(tilt), np.cos(tilt)]
        centres[inside, 0] += rng.normal(0, 1.0)
    background = np.tile(rng.uniform(0.1, 0.35), (SIDE, SIDE))
    for _ in range(2):
        centre, size = rng.uniform(0, SIDE, 2), rng.uniform(2, 5)
        background = _paint(background, centre, size, rng.uniform(0.0, 0.6), 0.6)
    return Camera(
        times=times,
        centres=centres,
        background=background,
        brightness=rng.uniform(0.75, 1.0),
        radius=radius,
        noise=rng.uniform(0.02, 0.07),
        seed=int(rng.integers(2**31)),
    )


def _wrist(spans: tuple[Span, ...], rng: np.random.Generator) -> Readings:
    """How the wrist swings, and what this subject's sensor makes of it: six channels, arbitrary units."""
    n = int((spans[-1].stop_s + 1.0) * WRIST_HZ)
    times = (np.arange(n) + rng.uniform(-0.3, 0.3, n)) / WRIST_HZ
    swings_s, strength = np.zeros(n), np.full(n, 0.1)
    pace = rng.uniform(3.2, 4.8)
    for span in spans:
        rhythm = span.activity.split()[1]
        inside = (times >= span.start_s) & (times < span.stop_s)
        done = (times[inside] - span.start_s) / (span.stop_s - span.start_s)
        change = {"steady": 0.0, "quickening": 1.0, "slowing": -1.0}[rhythm] * rng.uniform(1.1, 1.4)
        swings_s[inside] = pace * rng.uniform(0.9, 1.1) * (1 + change * (done - 0.5))
        strength[inside] = rng.uniform(0.7, 1.3)
    phase = 2 * np.pi * np.cumsum(swings_s) / WRIST_HZ
    swing = strength[:, None] * np.stack([np.sin(phase), np.cos(phase), 0.5 * np.sin(2 * phase)], axis=1)
    mounting = np.eye(3, 6) + np.eye(3, 6, 3) + rng.normal(0, 0.25, (3, 6))
    wander = np.cumsum(rng.normal(0, 0.03, (n, 6)), axis=0)
    values = rng.uniform(0.7, 1.4) * swing @ mounting + rng.normal(0, 0.5, 6)
    values += wander - wander.mean(0) + rng.normal(0, rng.uniform(0.1, 0.3), (n, 6))
    return Readings(times, values)


def _pixels(frames: np.ndarray) -> Tensor:
    """Each pixel about its mean over the clip, in quarters of full scale: a still background vanishes."""
    pixels = torch.from_numpy(frames).float() / 64
    return pixels - pixels.mean(0)


def _signal(readings: np.ndarray) -> Tensor:
    """Each channel about its mean over the clip."""
    return torch.from_numpy(readings - readings.mean(0)).float()


_video_net = partial(VideoNet, widths=(16, 32), temporal=(32, 32))
_signal_net = partial(SignalNet, widths=(16, 32, 32), units=16)
ACTIVITIES = tuple(f"{motion} {rhythm}" for motion in MOTIONS for rhythm in RHYTHMS)
GENERATED = Dataset(
    name="generated",
    activities=ACTIVITIES,
    modalities=(
        Modality("video", ("camera",), 16, CAMERA_HZ, _pixels, _video_net),
        Modality("signal", ("wrist",), 80, WRIST_HZ, _signal, _signal_net),
    ),
    recordings=recordings,
    cite="Generated by plait; no publication.",
)
