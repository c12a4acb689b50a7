"""MM-Fit: workouts of ten exercises, by two watches, two phones, an earbud, and poses from a camera.

The release as it is unpacked, `wNN/wNN_MODALITY.npy` and `wNN/wNN_labels.csv`, 21 workouts by ten people
(`PERSON`). Sensors are (n, 5): frame, milliseconds, x, y, z; the pulse is (n, 3). `pose_3d` is (3, n, 18): a
column of frames, then the 17 joints of Human3.6M, in mm, the third coordinate upward; `pose_2d` is
(2, n, 19), OpenPose's 18 joints in pixels. (The authors' notebook says 33 columns for the former; files have
18, and others are refused.) Labels, without a header: first frame, last frame, repetitions, exercise. What no
label names is `non_activity`.

Frames are the camera's, 30 a second for the most part, and each reading of a sensor says at which frame and
at which millisecond it was taken: poses and labels, which have frames alone, are put on the milliseconds'
clock by these. A workout without any sensor has 30 frames a second.

Clips are the authors' windows: 5 s, here every second (theirs every 0.2 s; `mm_fit` takes a stride), between
the first and the last pose. They label a window by its middle; here it is the exercise that fills more than
half, which is the same where neither a set nor the pause behind it is shorter than 5 s. Sensors, some of
500 readings a second, are low-passed and read at 50. A sensor that is missing, or silent
for more than a second, is missing from the clip; the authors put noughts there.

The published split is one of workouts: `w09`, `w10`, `w11` test people who are trained on, `w00`, `w05`,
`w12`, `w13`, `w20` people who are not; two of the three that validate are of people who are trained on. So
sessions are workouts, and studies name these (`kind = "fixed-sessions"`).

Units of the sensors are not documented; networks standardise each channel. The pulse (1 Hz) and the phones'
magnetometers are streams without a modality.

Licence: the authors' code is MIT; their record of the data (doi:10.5281/zenodo.7672767) is said to be under
CC BY 4.0, which asks to name them. This could not be looked up at the source; see mmfit.github.io.
"""

import csv
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plait.clips.windows import placed
from plait.datasets.log import Log, Read, kept
from plait.datasets.published import Metric, Published
from plait.datasets.windowed import Windowed
from plait.encoders.glove import SignalNet
from plait.encoders.skeleton import SkeletonNet
from plait.errors import DataError, PlaitWarning, one_line, quote
from plait.store import read_bytes, regular
from plait.types import Modality, Recording, Span, Stream, Windows

EXERCISES = (
    "squats",
    "lunges",
    "bicep_curls",
    "situps",
    "pushups",
    "tricep_extensions",
    "dumbbell_rows",
    "jumping_jacks",
    "dumbbell_shoulder_press",
    "lateral_shoulder_raises",
)
NULL = "non_activity"
PERSON = {f"w{number:02d}": person for number, person in enumerate("201012010101340156789")}  # by workout
SENSORS = {
    f"{device}_{kind}": 3 for device in ("sw_l", "sw_r", "sp_l", "sp_r", "eb_l") for kind in ("acc", "gyr")
} | {"sp_l_mag": 3, "sp_r_mag": 3, "sw_l_hr": 1, "sw_r_hr": 1}  # and how many numbers a reading has
POSES = {"pose_2d": (2, 18), "pose_3d": (3, 17)}  # and coordinates, joints
DEVICES = {"left-watch": "sw_l", "right-watch": "sw_r", "left-phone": "sp_l", "right-phone": "sp_r"} | {
    "earbud": "eb_l"
}
SECONDS, STRIDE_S, SENSOR_HZ, FRAME_HZ = 5.0, 1.0, 50.0, 30.0
LEAST_HZ, MOST_HZ = 40.0, 2000.0  # of an accelerometer or gyroscope; the fastest has 500
HALF = 0.500002  # of a window: more than half
GAP_S = {"hr": 10.0}  # between two readings that leave nothing out; a second for the others
HIP, THORAX = 0, 8
NECK, HIPS = 1, [8, 11]  # of `pose_2d`
ACCURACY = "accuracy"
PAPER = "the paper's abstract (2020): people who were not seen, `studies/mm-fit.toml`"
PUBLISHED = (
    Published("all devices", {ACCURACY: 0.96}, PAPER),
    Published("smartwatch", {ACCURACY: 0.94}, PAPER),
    Published("smartphone", {ACCURACY: 0.85}, PAPER),
    Published("earbud", {ACCURACY: 0.82}, PAPER),
)


def recordings(data: Path, windows: Windows | None = None) -> Iterator[Recording]:
    """The workouts in `data`, in order, cut into `windows`; without, their labels are their spans.

    Rows without a time of their own, or with something else than finite numbers, are no readings, and rows
    out of order are put in it; a warning says in how many files.

    Args:
        data: the folder of workouts, or one that holds it.
        windows: how they are cut.

    Raises:
        DataError: nothing of MM-Fit lies there, or a file is not what its name says.
    """
    mended: list[Path] = []
    for folder in _workouts(data):
        workout = folder.name
        streams, second_of = _streams(folder, mended)
        if not streams:
            raise DataError(f"{folder}: no file such as {workout}_sw_l_acc.npy, expected one or more")
        file = folder / f"{workout}_labels.csv"
        labels = read_labels(file)
        seconds = second_of(np.array([ends for *ends, _ in labels], float).reshape(-1, 2)).tolist()
        spans = tuple(
            Span(start_s, stop_s, exercise)
            for (start_s, stop_s), (*_, exercise) in zip(seconds, labels, strict=True)
        )
        ends_s = max(float(stream.times[-1]) for stream in streams.values())
        if late := [
            (start, span) for (start, *_), span in zip(labels, spans, strict=True) if span.start_s >= ends_s
        ]:
            got = f"{late[0][1].activity} from frame {late[0][0]} on, {late[0][1].start_s:.0f} s"
            raise DataError(f"{file}: {got}, expected it before the last reading at {ends_s:.0f} s")
        whole = Recording(workout, PERSON[workout], streams, spans, session=workout)
        if windows is None:
            yield whole
            continue
        [cut] = placed([whole], windows, [name for name in ("pose_3d", "pose_2d") if name in streams] or None)
        spans = tuple(Span(window.start_s, window.stop_s, window.activity) for window in cut.windows)
        yield replace(whole, spans=spans, dropped=tuple(cut.dropped))
    if mended:
        what = "rows that are no readings of their own: the others are taken, in order"
        warnings.warn(f"{data}: {len(mended)} files, the first {mended[0]}: {what}", PlaitWarning, 2)


def _workouts(data: Path) -> list[Path]:
    """The workouts' folders, by name."""
    if not data.is_dir():
        raise DataError(f"{data}: no such folder")
    paths = [path for path in sorted(data.rglob("w[0-9][0-9]")) if path.is_dir()]
    found: dict[str, Path] = {}
    for path in paths:
        if "__MACOSX" not in path.parts and found.setdefault(path.name, path) != path:
            raise DataError(f"{path}: {path.name} lies at {found[path.name]} as well, expected it once")
    if not found:
        raise DataError(f"{data}: no folder of a workout, expected some of w00 to w20")
    if unknown := sorted(found.keys() - PERSON.keys()):
        raise DataError(f"{found[unknown[0]]}: whose workout is it? expected some of w00 to w20")
    return [found[name] for name in sorted(found)]


def read_labels(file: Path) -> list[tuple[int, int, str]]:
    """First and last frame of each set, and its exercise, in order.

    Raises:
        DataError: the file cannot be read or has no set, a line is no such label, or two sets share frames.
    """
    try:
        lines = list(csv.reader(io.StringIO(read_bytes(file).decode("utf-8-sig"))))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read, expected labels: {one_line(error)}") from error
    labels = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*\d+\s*,\s*(\w+)\s*", ",".join(line))
        if not match or match[3] not in EXERCISES or not int(match[1]) < int(match[2]):
            got = f"line {number}: {quote(','.join(line))}"
            expected = f"two frames, a count and one of: {', '.join(EXERCISES)}"
            raise DataError(f"{file}: {got}, expected {expected}")
        labels.append((int(match[1]), int(match[2]), match[3]))
    if not labels:
        raise DataError(f"{file}: no set, expected one or more: a workout without would be all {NULL}")
    labels.sort()
    for before, after in pairwise(labels):
        if after[0] < before[1]:
            got = f"sets of frames {before[0]} to {before[1]} and {after[0]} to {after[1]}"
            raise DataError(f"{file}: {got}, expected one after the other")
    return labels


class Clock:
    """From frames to seconds: between two frames that a sensor has seen linear, beyond all 30 a second."""

    def __init__(self, frames: np.ndarray, seconds: np.ndarray) -> None:
        self.frames, self.seconds = frames, seconds

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Seconds of `frames`."""
        before, beyond = self.frames[0] - frames, frames - self.frames[-1]
        outside = np.clip(beyond, 0, None) - np.clip(before, 0, None)
        found: np.ndarray = np.interp(frames, self.frames, self.seconds) + outside / FRAME_HZ
        return found


def _streams(folder: Path, mended: list[Path]) -> tuple[dict[str, Stream], Clock]:
    """The streams of a workout on a clock that begins with the first reading, and that clock of frames."""
    files = {name: folder / f"{folder.name}_{name}.npy" for name in (*SENSORS, *POSES)}
    files = {name: file for name, file in files.items() if file.is_file()}
    arrays = {name: read_array(file, name) for name, file in files.items()}
    sensors = {name: array for name, array in arrays.items() if name in SENSORS}
    origin_ms, clock = 0.0, Clock(np.array([0.0, 1.0]), np.array([0.0, 1 / FRAME_HZ]))
    if sensors:
        name = max(sensors, key=lambda name: len(sensors[name]) if name.endswith("acc") else 0)
        origin_ms = float(np.fmin.reduce(np.concatenate([array[:, 1] for array in sensors.values()])))
        clock = _clock(files[name], sensors[name], origin_ms)
    streams: dict[str, Stream] = {}
    for name, array in arrays.items():
        sensor = name in SENSORS
        times = (array[:, 1] - origin_ms) / 1000 if sensor else clock(array[0, :, 0])
        found = kept(times, array[:, 2:] if sensor else np.moveaxis(array[:, :, 1:], 0, 2))
        if len(found.times) < 2:
            raise DataError(f"{files[name]}: {len(found.times)} readings, expected two or more")
        rate_hz = 1 / float(np.median(np.diff(found.times)))
        if name.endswith(("acc", "gyr")) and not LEAST_HZ <= rate_hz <= MOST_HZ:
            got = f"{rate_hz:.4g} readings a second"
            raise DataError(
                f"{files[name]}: {got}, expected {LEAST_HZ:g} or more, up to {MOST_HZ:g}, and times in ms"
            )
        if found.moved or found.lost:
            mended.append(files[name])
        gap_s = GAP_S.get(name.rpartition("_")[2], 1.0)
        read: Read = partial(read_values, name=name)
        streams[name] = Log(files[name], read, found.times, found.rows, gap_s)
    return streams, clock


def _clock(file: Path, rows: np.ndarray, origin_ms: float) -> Clock:
    """The clock of frames, by the first reading of each frame that a sensor has seen.

    Raises:
        DataError: a frame does not last for about a thirtieth of a second.
    """
    whole = rows[np.isfinite(rows[:, :2]).all(axis=1)]
    order = np.lexsort((whole[:, 1], whole[:, 0]))
    frames, first = np.unique(whole[order, 0], return_index=True)
    seconds = (whole[order, 1][first] - origin_ms) / 1000
    lasts = len(frames) > 1 and np.median(np.diff(seconds) / np.diff(frames)) * 1000
    if not 20 < lasts < 60:
        raise DataError(f"{file}: a frame lasts for {lasts:.4g} ms by its times, expected about 33")
    return Clock(frames, seconds)


def read_array(file: Path, name: str) -> np.ndarray:
    """A file's array, mapped.

    Raises:
        DataError: the file is damaged, or its array has another form than one of its `name`.
    """
    try:
        array = np.load(regular(file), mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged headers raise anything: SyntaxError, tokenize's, zipfile's, ...
        raise DataError(f"{file}: not a readable .npy file of plain numbers: {one_line(error)}") from error
    sensor = name in SENSORS
    expected = (None, 2 + SENSORS[name]) if sensor else (POSES[name][0], None, 1 + POSES[name][1])
    shape = getattr(array, "shape", ())
    fits = len(shape) == len(expected) and all(e in (None, n) for n, e in zip(shape, expected, strict=True))
    if not fits or array.dtype.kind not in "fiu" or 0 in shape:
        form = ", ".join("any" if length is None else str(length) for length in expected)
        raise DataError(f"{file}: {getattr(array, 'dtype', '?')} {shape}, expected numbers of shape ({form})")
    values: np.ndarray = array
    return values


def read_values(file: Path, name: str) -> np.ndarray:
    """A file's readings, `(n, channels)` of a sensor, `(n, joints, coordinates)` of a pose; float32.

    Raises:
        DataError: as `read_array`.
    """
    array = read_array(file, name)
    values = array[:, 2:] if name in SENSORS else np.moveaxis(array[:, :, 1:], 0, 2)
    return np.ascontiguousarray(values, np.float32)


def both(
    acceleration: Float[np.ndarray, "samples 3"], turning: Float[np.ndarray, "samples 3"]
) -> Float[Tensor, "samples 6"]:
    """A device's accelerometer and gyroscope."""
    return torch.from_numpy(np.concatenate([acceleration, turning], axis=1)).float()


def body(pose: Float[np.ndarray, "frames 17 3"]) -> Float[Tensor, "frames 17 3"]:
    """Joints about the hip's mean place over the clip, in mean lengths of the spine.

    Raises:
        DataError: the spine has no length.
    """
    return _about(torch.from_numpy(pose).float(), [HIP], THORAX)


def flat_body(pose: Float[np.ndarray, "frames 18 2"]) -> Float[Tensor, "frames 18 2"]:
    """The same of a pose in the picture: about the hips, in lengths from there to the neck.

    Raises:
        DataError: that has no length.
    """
    return _about(torch.from_numpy(pose).float(), HIPS, NECK)


def _about(joints: Tensor, low: list[int], high: int) -> Tensor:
    hips = joints[:, low].mean(1)
    spine = (joints[:, high] - hips).norm(dim=-1).mean()
    if not spine > 0:
        raise DataError("pose: hip and chest are at one place, expected them apart")
    centred: Tensor = (joints - hips.mean(0)[None, None]) / spine
    return centred


def mm_fit(stride_s: float = STRIDE_S) -> Windowed:
    """MM-Fit in windows of 5 s, `stride_s` apart; 0.2 is the authors'."""
    windows = Windows(SECONDS, purity=HALF, unlabelled=NULL, margins=True, stride_s=stride_s)
    signal = partial(
        SignalNet, widths=(24, 32, 48), kernels=(5, 5, 3), pools=(4, 2, 2), norm=True, standardise=True
    )
    samples, frames = round(SECONDS * SENSOR_HZ), round(SECONDS * FRAME_HZ)
    return Windowed(
        name="MM-Fit",
        activities=(*EXERCISES, NULL),
        modalities=(
            Modality("pose", ("pose_3d",), frames, FRAME_HZ, body, SkeletonNet),
            Modality("flat-pose", ("pose_2d",), frames, FRAME_HZ, flat_body, SkeletonNet),
            *(
                Modality(name, (f"{device}_acc", f"{device}_gyr"), samples, SENSOR_HZ, both, signal)
                for name, device in DEVICES.items()
            ),
        ),
        recordings=partial(recordings, windows=windows),
        cite="D. Strömbäck, S. Huang, V. Radu. MM-Fit: Multimodal Deep Learning for Automatic Exercise "
        "Logging across Sensing Devices. Proc. ACM IMWUT 4(4), 168, 2020. doi:10.1145/3432701.",
        windows=windows,
        whole=recordings,
        metrics=(Metric(ACCURACY, "plait.analysis.benchmark:accuracy"),),
        published=PUBLISHED,
    )


MM_FIT = mm_fit()
