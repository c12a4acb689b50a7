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
# Which joints hang together, by data set and modality: the first Kinect's, as UTD-MHAD numbers them from 0. Elsewhere
# joints are shown without bones: distances alone do not tell them.
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
    """A clip's pictures at `seconds`, RGB and square, so that a map over a network's grid can lie on them.

    Colours are as recorded, their middle cut out. Depth that a network is given as one picture for each
    moment is as the network is given it, larger numbers lighter. None where readings are no pictures.
    """
    stream = recording.streams[modality.streams[0]]
    first = stream.at(seconds[:1])[0]
    if picture(first, side) is None:
        return None
    if first.ndim == 2:
        given = window(modality, recording.streams, clip.start_s, clip.stop_s).float().numpy()
        times = moments(modality, clip.start_s, clip.stop_s)
        if given.ndim == 3 and len(given) == len(times) and min(given.shape[1:]) >= 32:
            brightest = max(float(np.percentile(given, 99.8)), 1e-9)
            grey = (255 * np.clip(given / brightest, 0, 1)).astype(np.uint8)
            nearest = np.abs(times[:, None] - seconds).argmin(axis=0)
            return _pictures(np.repeat(grey[nearest, :, :, None], 3, axis=3), side)
    return _pictures(stream.at(seconds), side)


def filmed(modality: Modality, recording: Recording, clip: Clip) -> bytes | None:
    """A clip's pictures as a small H.264 film; None where its readings are no pictures."""
    shown = frames(modality, recording, clip, frame_times(modality, clip), FILM_SIDE)
    if shown is None:
        return None
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"crf": "28", "preset": "veryfast", "threads": "1"}
        track = container.add_stream("libx264", rate=Fraction(FPS), options=options)
        track.width = track.height = FILM_SIDE
        track.pix_fmt = "yuv420p"
        for frame in shown:
            container.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(track.encode())
    return buffer.getvalue()


def moving_joints(
    dataset: str, modality: Modality, recording: Recording, clip: Clip
) -> dict[str, Any] | None:
    """A clip's joints as `frames` of `[x, y]` between 0 and 1, y downwards, and the `bones` between them, if known.

    None where readings are no joints.
    """
    seconds = frame_times(modality, clip, 2 * FPS)
    positions = recording.streams[modality.streams[0]].at(seconds)
    if len(modality.streams) > 1 or not is_joints(positions[0]):
        return None
    frames = [[[round(float(x), 3), round(float(y), 3)] for x, y in frame] for frame in flattened(positions)]
    return {"modality": modality.name, "frames": frames, "bones": BONES.get((dataset, modality.name), ())}


def flattened(positions: np.ndarray) -> np.ndarray:
    """Joints `(frames, joints, 3)` as a camera sees them, the second axis upwards: `(frames, joints, 2)` in 0 to 1."""
    seen = positions[..., :2] * np.array([1.0, -1.0])
    low, high = seen.reshape(-1, 2).min(0), seen.reshape(-1, 2).max(0)
    size = max(float((high - low).max()), 1e-9)
    fitted: np.ndarray = (seen - (low + high) / 2) / size + 0.5
    return fitted


def signals(modality: Modality, recording: Recording, clip: Clip) -> dict[str, Any] | None:
    """A clip's signals as lines between 0 and 1, the liveliest channels first; None for pictures, joints and grids."""
    ends = moments(modality, clip.start_s, clip.stop_s)
    seconds = np.linspace(float(ends[0]), float(ends[-1]), POINTS)
    if any(recording.streams[name].at(seconds[:1])[0].ndim > 2 for name in modality.streams):
        return None  # places and channels: frozen features
    each = [recording.streams[name].at(seconds) for name in modality.streams]
    if picture(each[0][0]) is not None or (len(each) == 1 and is_joints(each[0][0])):
        return None
    values = np.concatenate([one.reshape(POINTS, -1) for one in each], axis=1).astype(float)
    spread = values.std(0) / np.maximum(np.abs(values).mean(0), 1e-9)
    kept = values[:, np.sort(np.argsort(-spread)[:CHANNELS])]
    low, high = kept.min(0), kept.max(0)
    lines = (kept - low) / np.maximum(high - low, 1e-9)
    return {"modality": modality.name, "lines": [[round(float(v), 3) for v in line] for line in lines.T]}


def _pictures(readings: Sequence[np.ndarray] | np.ndarray, side: int) -> list[np.ndarray]:
    return [shown for reading in readings if (shown := picture(reading, side)) is not None]
