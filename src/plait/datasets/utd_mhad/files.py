"""UTD-MHAD's files: the official folders of `.mat` files, to recordings on one clock."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt16
from scipy.io import loadmat, whosmat

from plait.contents import describe
from plait.errors import DataError, one_line
from plait.store import content_key, explained, regular
from plait.types import Readings, Recording, Span, Stream

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


class Kind(NamedTuple):
    """Where a kind of file lies, its variable's name, and its axes (None: as many as were recorded)."""

    folder: str
    variable: str
    shape: tuple[int | None, ...]


KINDS = {
    "depth": Kind("Depth", "d_depth", (240, 320, None)),
    "inertial": Kind("Inertial", "d_iner", (None, 6)),
    "skeleton": Kind("Skeleton", "d_skel", (20, 3, None)),
}


@dataclass(frozen=True, eq=False)
class DepthVideo:
    """A `Stream` of depth frames in mm, 0 where nobody is; its file is read when frames are asked for."""

    file: Path
    times: np.ndarray

    @property
    def content_key(self) -> str:
        """Equal for equal files that are shown alike."""
        return content_key(describe(self))

    def at(self, seconds: np.ndarray) -> UInt16[np.ndarray, "n 240 320"]:
        """The frame nearest to each of `seconds`: between depths of two surfaces nothing is.

        Raises:
            DataError: the file is missing, damaged, or has another number of frames than the skeleton.
        """
        depths = _read(self.file, KINDS["depth"])
        if depths.shape[2] != len(self.times):
            expected = f"expected {len(self.times)} as the skeleton has"
            raise DataError(f"{self.file}: d_depth has {depths.shape[2]} frames, {expected}")
        least, most = depths.min(), depths.max()
        if least < 0 or most > np.iinfo(np.uint16).max:
            raise DataError(f"{self.file}: d_depth holds {least} to {most}, expected 0 to 65535 mm")
        nearest = np.abs(self.times[:, None] - seconds).argmin(axis=0)
        frames: np.ndarray = np.moveaxis(depths, 2, 0)[nearest].astype(np.uint16)
        return frames


def recordings(data: Path) -> Iterator[Recording]:
    """The recordings under `data`, in the official layout, by activity, subject and trial.

    A folder with fewer subjects, activities or trials is fine; files other than `.mat` are ignored. `Depth/`
    may be absent or empty as long as nobody asks for depth.

    Raises:
        DataError: a folder or file is missing, damaged, wrongly named, or does not hold what its name says.
    """
    depth = data / KINDS["depth"].folder
    kinds = [kind for kind in KINDS if kind != "depth" or (depth.is_dir() and any(depth.glob("*.mat")))]
    names = {kind: _named(data, kind) for kind in kinds}
    for name in sorted(set().union(*names.values()), key=_numbers):
        for kind in kinds:
            if name not in names[kind]:
                missing = _file(data, kind, name)
                raise DataError(f"{missing}: missing, expected beside the other files of {name}")
        action, subject, _ = _numbers(name)
        files = {kind: _file(data, kind, name) for kind in KINDS}
        inertial = _read(files["inertial"], KINDS["inertial"]).astype(np.float32)
        skeleton = np.moveaxis(_read(files["skeleton"], KINDS["skeleton"]).astype(np.float32), 2, 0)
        frames = np.arange(len(skeleton)) * FRAME_S
        streams: dict[str, Stream] = {
            "depth": DepthVideo(files["depth"], frames),
            # Relative time: first sample at the first frame, last at the last, whatever rate that makes.
            "inertial": Readings(np.linspace(0.0, frames[-1], len(inertial)), inertial),
            "skeleton": Readings(frames, skeleton),
        }
        span = Span(0.0, float(frames[-1]), ACTIVITIES[action - 1])
        yield Recording(name, str(subject), streams, (span,))


def _named(data: Path, kind: str) -> set[str]:
    """The names of the recordings that have a file of `kind`."""
    folder = data / KINDS[kind].folder
    if not folder.is_dir():
        expected = " and ".join(f"{k.folder}/" for name, k in KINDS.items() if name != "depth")
        raise DataError(f"{folder}: no such folder, expected {expected} in UTD-MHAD's folder")
    names = set()
    for file in folder.iterdir():
        if file.suffix.lower() != ".mat":
            continue
        tail = f"_{kind}.mat"
        name = file.name.removesuffix(tail)
        action = _numbers(name)[0] if file.name.endswith(tail) else 0
        if not 1 <= action <= len(ACTIVITIES):
            expected = f"a name like a1_s1_t1{tail}, with activities 1 to {len(ACTIVITIES)}"
            raise DataError(f"{file}: expected {expected}")
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


def _read(file: Path, kind: Kind) -> np.ndarray:
    """The variable of a `.mat` file, checked."""
    try:
        for name, size, _ in whosmat(regular(file)):
            explained(file, 8.0 * math.prod(size) * (name == kind.variable))
        values = loadmat(file, variable_names=[kind.variable]).get(kind.variable)
    except DataError:
        raise
    except Exception as error:  # damaged files raise anything: ValueError, zlib.error, MatReadError, ...
        raise DataError(f"{file}: cannot be read, expected a .mat file: {one_line(error)}") from error
    if values is None:
        raise DataError(f"{file}: no variable {kind.variable!r}, expected one")
    axes = zip(values.shape, kind.shape, strict=False)
    fits = all(n >= 2 if expected is None else n == expected for n, expected in axes)
    if values.ndim != len(kind.shape) or not fits or values.dtype.kind not in "fiu":
        shape = ", ".join("any" if n is None else str(n) for n in kind.shape)
        expected_shape = f"expected numbers of shape ({shape}), two or more for any"
        raise DataError(f"{file}: {kind.variable} is {values.dtype} {values.shape}, {expected_shape}")
    if not np.isfinite(values).all():
        raise DataError(f"{file}: {kind.variable} holds NaN or infinity, expected finite numbers")
    return np.asarray(values)
