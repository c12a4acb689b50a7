"""UTD-MHAD: 27 activities by 8 subjects, 4 trials each, seen by a Kinect and one inertial sensor.

There are no time stamps. Depth and skeleton share the Kinect's clock, nominally 30 frames a second. The inertial
sensor's clock is another: between 2.4 and 4.5 samples fall on a frame, so its nominal 50 Hz cannot hold, and its
samples are spread evenly over the Kinect's time instead. It sits on the right wrist for activities 1 to 21 and on the
right thigh for 22 to 27.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Float
from scipy.io import loadmat
from torch import Tensor

from plait.encoders.glove import SignalNet
from plait.encoders.skeleton import SkeletonNet
from plait.errors import DataError
from plait.types import Dataset, Modality, Readings, Recording, Span

ACTIVITIES = (
    "swipe left",
    "swipe right",
    "wave",
    "clap",
    "throw",
    "arm cross",
    "basketball shoot",
    "draw x",
    "draw circle clockwise",
    "draw circle counterclockwise",
    "draw triangle",
    "bowling",
    "boxing",
    "baseball swing",
    "tennis swing",
    "arm curl",
    "tennis serve",
    "push",
    "knock",
    "catch",
    "pick up and throw",
    "jog",
    "walk",
    "sit to stand",
    "stand to sit",
    "lunge",
    "squat",
)
FRAME_S = 1 / 30
SHOULDER_CENTRE, HIP_CENTRE = 1, 3
HALF_TURN_DEG = 180.0


class Kind(NamedTuple):
    """Where one kind of file lies, what its variable is called, and its axes (None: as many as were recorded)."""

    folder: str
    variable: str
    shape: tuple[int | None, ...]


KINDS = {
    "inertial": Kind("Inertial", "d_iner", (None, 6)),
    "skeleton": Kind("Skeleton", "d_skel", (20, 3, None)),
}


def recordings(data: Path) -> Iterator[Recording]:
    """The recordings under `data`, in the official layout, by activity, subject and trial.

    A folder with fewer subjects, activities or trials is fine; files other than `.mat` are ignored.

    Raises:
        DataError: a folder or file is missing, damaged, wrongly named, or does not hold what its name says.
    """
    names = {kind: _named(data, kind) for kind in KINDS}
    for name in sorted(set().union(*names.values()), key=_numbers):
        files = {}
        for kind, found in names.items():
            if name not in found:
                raise DataError(f"{_file(data, kind, name)}: missing, expected beside the other files of {name}")
            files[kind] = _read(_file(data, kind, name), KINDS[kind])
        action, subject, _ = _numbers(name)
        skeleton = np.moveaxis(files["skeleton"], 2, 0)
        stop_s = (len(skeleton) - 1) * FRAME_S
        streams = {
            # Relative time: first sample at the first frame, last at the last, whatever rate that makes.
            "inertial": Readings(np.linspace(0.0, stop_s, len(files["inertial"])), files["inertial"]),
            "skeleton": Readings(np.arange(len(skeleton)) * FRAME_S, skeleton),
        }
        yield Recording(name, str(subject), dict(streams), (Span(0.0, stop_s, ACTIVITIES[action - 1]),))


def _named(data: Path, kind: str) -> set[str]:
    """The names of the recordings that have a file of `kind`."""
    folder = data / KINDS[kind].folder
    if not folder.is_dir():
        expected = " and ".join(f"{k.folder}/" for k in KINDS.values())
        raise DataError(f"{folder}: no such folder, expected {expected} in UTD-MHAD's folder")
    names = set()
    for file in folder.iterdir():
        if file.suffix.lower() != ".mat":
            continue
        name, tail = file.name.removesuffix(f"_{kind}.mat"), f"_{kind}.mat"
        action = _numbers(name)[0] if file.name.endswith(tail) else 0
        if not 1 <= action <= len(ACTIVITIES):
            raise DataError(f"{file}: expected a name like a1_s1_t1{tail}, with activities 1 to {len(ACTIVITIES)}")
        names.add(name)
    if not names:
        raise DataError(f"{folder}: empty, expected files like a1_s1_t1_{kind}.mat")
    return names


def _numbers(name: str) -> tuple[int, int, int]:
    """Activity, subject and trial of `a1_s1_t1`; zeros for any other name."""
    match = re.fullmatch(r"a([1-9][0-9]*)_s([1-9][0-9]*)_t([1-9][0-9]*)", name)
    return (int(match[1]), int(match[2]), int(match[3])) if match else (0, 0, 0)


def _file(data: Path, kind: str, name: str) -> Path:
    return data / KINDS[kind].folder / f"{name}_{kind}.mat"


def _read(file: Path, kind: Kind) -> Float[np.ndarray, "..."]:
    """The variable of a `.mat` file, checked, as float32."""
    try:
        values = loadmat(file, variable_names=[kind.variable]).get(kind.variable)
    except Exception as error:  # damaged files raise anything: ValueError, OSError, zlib.error, MatReadError, ...
        raise DataError(f"{file}: cannot be read, expected a .mat file: {_line(error)}") from error
    if values is None:
        raise DataError(f"{file}: no variable {kind.variable!r}, expected one")
    shape = ", ".join("any" if n is None else str(n) for n in kind.shape)
    fits = values.ndim == len(kind.shape) and all(
        n >= 2 if wanted is None else n == wanted for n, wanted in zip(values.shape, kind.shape, strict=True)
    )
    if not fits or values.dtype.kind not in "fiu":
        got = f"{values.dtype} {values.shape}"
        raise DataError(f"{file}: {kind.variable} is {got}, expected numbers of shape ({shape}), two or more for any")
    if not np.isfinite(values).all():
        raise DataError(f"{file}: {kind.variable} holds NaN or infinity, expected finite numbers")
    return np.asarray(values, dtype=np.float32)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def in_physical_units(inertial: np.ndarray) -> Float[Tensor, "samples 6"]:
    """Acceleration in g, angular rate in half turns per second (180 deg/s): both then vary by about one half."""
    return torch.from_numpy(inertial.astype(np.float32)) / torch.tensor([1.0] * 3 + [HALF_TURN_DEG] * 3)


def body_centred(skeleton: np.ndarray) -> Float[Tensor, "frames 20 3"]:
    """Positions from the hips' mean place over the clip, in lengths of the spine (mean distance hips to shoulders).

    So it matters neither where a person stands nor how tall they are, while squatting and walking still show.

    Raises:
        DataError: the spine has no length.
    """
    positions = torch.from_numpy(skeleton.astype(np.float32))
    hips, shoulders = positions[:, HIP_CENTRE], positions[:, SHOULDER_CENTRE]
    spine = (shoulders - hips).norm(dim=-1).mean()
    if not spine > 0:
        raise DataError("skeleton: shoulders and hips are at one place, expected them apart")
    centred: Tensor = (positions - hips.mean(0)) / spine
    return centred


def rotate_rescale_warp(clips: Float[Tensor, "b samples 6"]) -> Float[Tensor, "b samples 6"]:
    """An inertial sensor worn a little differently by someone of another strength and pace; for training only."""
    vectors = rearrange(clips, "b t (sensor xyz) -> b t sensor xyz", xyz=3)
    turned = einsum(_rotations(len(clips), (0.2, 0.2, 0.2)), vectors, "b i j, b t sensor j -> b t sensor i")
    rescaled = rearrange(turned, "b t sensor xyz -> b t (sensor xyz)") * (1 + 0.1 * torch.randn(len(clips), 1, 6))
    return _warp(rescaled) + 0.02 * torch.randn_like(clips)


def turn_rescale_warp(clips: Float[Tensor, "b frames 20 3"]) -> Float[Tensor, "b frames 20 3"]:
    """A body turned a little, mostly about the vertical, of other proportions and pace; for training only."""
    turned = einsum(_rotations(len(clips), (0.05, 0.2, 0.05)), clips, "b i j, b t joint j -> b t joint i")
    rescaled = turned * (1 + 0.1 * torch.randn(len(clips), 1, 1, 3))
    displaced = rescaled + 0.02 * torch.randn(len(clips), 1, 20, 3)
    return _warp(displaced) + 0.01 * torch.randn_like(clips)


def _rotations(count: int, spread_rad: tuple[float, float, float]) -> Float[Tensor, "b 3 3"]:
    """Random rotations, normal about each axis: exponentials of skew-symmetric matrices."""
    x, y, z = (torch.randn(count, 3) * torch.tensor(spread_rad)).unbind(1)
    nought = torch.zeros(count)
    skew = torch.stack((nought, -z, y, z, nought, -x, -y, x, nought), 1)
    return torch.matrix_exp(rearrange(skew, "b (i j) -> b i j", i=3))


def _warp(clips: Float[Tensor, "b t *reading"]) -> Float[Tensor, "b t *reading"]:
    """Each clip shifted by up to 5 %, stretched by up to 10 % and bent by up to 7 % of its length in time.

    Linear between readings; beyond its ends a clip stands still.
    """
    count, samples = clips.shape[:2]
    shift, stretch, bend = (2 * torch.rand(3, count, 1) - 1) * torch.tensor([[[0.05]], [[0.1]], [[0.07]]])
    time = torch.linspace(0, 1, samples)
    at = 0.5 + shift + (time - 0.5) * (1 + stretch) + bend * torch.sin(torch.pi * time)
    at = (at * (samples - 1)).clamp(0, samples - 1)
    before = at.long().clamp(max=samples - 2)
    rows = torch.arange(count)[:, None]
    share = (at - before).reshape(count, samples, *[1] * (clips.ndim - 2))
    return torch.lerp(clips[rows, before], clips[rows, before + 1], share)


UTD_MHAD = Dataset(
    name="UTD-MHAD",
    activities=ACTIVITIES,
    modalities=(
        Modality(
            "inertial",
            ("inertial",),
            samples=64,
            rate_hz=None,
            prepare=in_physical_units,
            encoder=partial(SignalNet, widths=(24, 32, 48), norm=True),
        ),
        Modality("skeleton", ("skeleton",), samples=32, rate_hz=None, prepare=body_centred, encoder=SkeletonNet),
    ),
    recordings=recordings,
    cite="C. Chen, R. Jafari, N. Kehtarnavaz. UTD-MHAD: A multimodal dataset for human action recognition utilizing a "
    "depth camera and a wearable inertial sensor. ICIP 2015.",
)
