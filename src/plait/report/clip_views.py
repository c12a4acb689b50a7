"""What was recorded of a clip, made small enough to look at: a film, moving joints, signals."""

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np

from plait.clips.windows import moments, window
from plait.report.sheet import SIDE, is_joints, picture
from plait.types import Clip, Modality, Recording

FILM_SIDE, FPS, CHANNELS, POINTS = 192, 8, 6, 120
# Which joints hang together, by data set and modality: the first Kinect's, as UTD-MHAD numbers them from 0.
# Elsewhere joints are shown without bones: distances alone do not tell them.
SPINE, ARMS = ((0, 1), (1, 2), (2, 3)), ((1, 4), (4, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11))
LEGS = ((3, 12), (12, 13), (13, 14), (14, 15), (3, 16), (16, 17), (17, 18), (18, 19))
BONES = {("UTD-MHAD", "skeleton"): SPINE + ARMS + LEGS}


def frame_times(modality: Modality, clip: Clip, fps: float = FPS) -> np.ndarray:
    """The seconds of a film of a clip."""
    seconds = moments(modality, clip.start_s, clip.stop_s)
    start, length = float(seconds[0]), float(seconds[-1] - seconds[0])
    times: np.ndarray = start + np.arange(max(1, round(length * fps))) / fps
    return times


def frames(
    modality: Modality, recording: Recording, clip: Clip, seconds: np.ndarray, side: int = SIDE
) -> list[np.ndarray] | None:
    """A clip's pictures, RGB, on which a map over a network's grid can lie; None where readings are none.

    Colours are as recorded, the middle square of them. Depth of which a network is given one picture for each
    moment is as the network is given it, larger numbers lighter.

    Args:
        modality: Its first stream is shown.
        recording: What the clip was cut from.
        clip: The span whose window the network is given.
        seconds: When, on the recording's clock, shape `(frames,)`.
        side: Pixels of a picture's side.
    """
    stream = recording.streams[modality.streams[0]]
    first = stream.at(seconds[:1])[0]
    if picture(first, side) is None:
        return None
    if first.ndim == 2:
        depth = window(modality, recording.streams, clip.start_s, clip.stop_s).float().numpy()
        times = moments(modality, clip.start_s, clip.stop_s)
        if depth.ndim == 3 and len(depth) == len(times) and min(depth.shape[1:]) >= 32:
            brightest = max(float(np.percentile(depth, 99.8)), 1e-9)
            grey = (255 * np.clip(depth / brightest, 0, 1)).astype(np.uint8)
            nearest = np.abs(times[:, None] - seconds).argmin(axis=0)
            return _as_pictures(np.repeat(grey[nearest, :, :, None], 3, axis=3), side)
    return _as_pictures(stream.at(seconds), side)


def filmed(modality: Modality, recording: Recording, clip: Clip) -> bytes | None:
    """A clip's pictures as a small H.264 film; None where its readings are no pictures."""
    pictures = frames(modality, recording, clip, frame_times(modality, clip), FILM_SIDE)
    if pictures is None:
        return None
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"crf": "28", "preset": "veryfast", "threads": "1"}
        track = container.add_stream("libx264", rate=Fraction(FPS), options=options)
        track.width = track.height = FILM_SIDE
        track.pix_fmt = "yuv420p"
        for image in pictures:
            container.mux(track.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(track.encode())
    return buffer.getvalue()


def moving_joints(
    dataset: str, modality: Modality, recording: Recording, clip: Clip
) -> dict[str, Any] | None:
    """A clip's joints as `frames` of `[x, y]` between 0 and 1, y downwards; None if readings are no joints.

    Args:
        dataset: The data set's name, by which `BONES` knows which joints hang together.
        modality: Of a single stream, else it has no joints.
        recording: What the clip was cut from.
        clip: Which.
    """
    seconds = frame_times(modality, clip, 2 * FPS)
    positions = recording.streams[modality.streams[0]].at(seconds)
    if len(modality.streams) > 1 or not is_joints(positions[0]):
        return None
    frames = [[[round(float(x), 3), round(float(y), 3)] for x, y in frame] for frame in flattened(positions)]
    return {"modality": modality.name, "frames": frames, "bones": BONES.get((dataset, modality.name), ())}


def flattened(positions: np.ndarray) -> np.ndarray:
    """Joints `(frames, joints, 3)`, y upwards, as a camera sees them: `(frames, joints, 2)`, from 0 to 1."""
    places = positions[..., :2] * np.array([1.0, -1.0])
    low, high = places.reshape(-1, 2).min(0), places.reshape(-1, 2).max(0)
    size = max(float((high - low).max()), 1e-9)
    fitted: np.ndarray = (places - (low + high) / 2) / size + 0.5
    return fitted


def signals(modality: Modality, recording: Recording, clip: Clip) -> dict[str, Any] | None:
    """A clip's liveliest channels as lines between 0 and 1; None for pictures, joints and grids."""
    times = moments(modality, clip.start_s, clip.stop_s)
    seconds = np.linspace(float(times[0]), float(times[-1]), POINTS)
    if any(recording.streams[name].at(seconds[:1])[0].ndim > 2 for name in modality.streams):
        return None  # places and channels: frozen features
    readings = [recording.streams[name].at(seconds) for name in modality.streams]
    if picture(readings[0][0]) is not None or (len(readings) == 1 and is_joints(readings[0][0])):
        return None
    values = np.concatenate([stream.reshape(POINTS, -1) for stream in readings], axis=1).astype(float)
    spread = values.std(0) / np.maximum(np.abs(values).mean(0), 1e-9)
    channels = values[:, np.sort(np.argsort(-spread)[:CHANNELS])]
    low, high = channels.min(0), channels.max(0)
    lines = (channels - low) / np.maximum(high - low, 1e-9)
    return {"modality": modality.name, "lines": [[round(float(v), 3) for v in line] for line in lines.T]}


def _as_pictures(readings: Sequence[np.ndarray] | np.ndarray, side: int) -> list[np.ndarray]:
    return [image for reading in readings if (image := picture(reading, side)) is not None]
