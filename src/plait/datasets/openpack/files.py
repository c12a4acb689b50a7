"""OpenPack's files: where they lie, logs of sensors, key points, labels."""

import json
import re
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from plait.datasets.log import Kept, Log, Read, columns_of, kept
from plait.errors import DataError, PlaitWarning, one_line, quote
from plait.store import read_bytes
from plait.types import Stream

OPERATIONS = {
    100: "Picking",
    200: "Relocate Item Label",
    300: "Assemble Box",
    400: "Insert Items",
    500: "Close Box",
    600: "Attach Box Label",
    700: "Scan Label",
    800: "Attach Shipping Label",
    900: "Put on Back Table",
    1000: "Fill out Order",
}
IGNORED = (8100, 8200)  # null; a system error, which is null among operations
SAME_PERSON = {"U0202": "U0105", "U0203": "U0108", "U0204": "U0110", "U0205": "U0107", "U0210": "U0103"}
SLOT_MS = 1000
GAP_S = 1.0


class Kind(NamedTuple):
    """Where one sensor's files lie, its columns behind the time's, and how often it reads."""

    folder: str
    time: str
    columns: tuple[str, ...]
    rate_hz: float


IMU = tuple(f"{kind}_{axis}" for kind in ("acc", "gyro") for axis in "xyz") + tuple(
    f"quat_{axis}" for axis in "wxyz"
)  # g, degrees a second
E4 = {"acc": (("acc_x", "acc_y", "acc_z"), 32.0), "bvp": (("bvp",), 64.0), "eda": (("eda",), 4.0)} | {
    "temp": (("temp",), 4.0)
}
PLACES = {"atr01": "right wrist", "atr02": "left wrist", "atr03": "right arm", "atr04": "left arm"}
SIDES = {"e401": "right", "e402": "left"}
KINDS = {place: Kind(f"atr/{device}", "unixtime", IMU, 30.0) for device, place in PLACES.items()} | {
    f"{side} {kind}": Kind(f"e4/{device}/{kind}", "time", columns, rate_hz)
    for device, side in SIDES.items()
    for kind, (columns, rate_hz) in E4.items()
}
LABELS = "annotation/openpack-operations-1hz"
KEYPOINTS = "kinect/2d-kpt/mmpose-hrnet-w48-posetrack18-384x288-posewarper-stage2/single"
JOINTS = 17  # of COCO
SHOULDERS, HIPS = [5, 6], [11, 12]
POSE_HZ = 15.0
WRONG_FIRST_ROW = ("U0101", "right wrist", "S0500")


class Noted(NamedTuple):
    """What is to be said of the files once all are open."""

    unlabelled: list[Path]  # labels that are not there, or are null throughout
    silent: list[Path]  # labels of sessions of which no sensor has a file
    mended: list[Path]  # with rows that are no readings
    unknown: dict[str, Path]  # columns that are not OpenPack's, and where

    def warn(self, data: Path) -> None:
        """Say it."""
        for files, what in (
            (self.unlabelled, "no labels but null: the session is left out"),
            (self.silent, "labels, but no sensor has a file of the session: it is left out"),
            (self.mended, "rows that are no readings of their own: the others are taken, in order"),
        ):
            if files:
                text = f"{data}: {len(files)} files, the first {files[0]}: {what}"
                warnings.warn(text, PlaitWarning, stacklevel=3)
        if self.unknown:
            names = ", ".join(f"{name} ({file})" for name, file in list(self.unknown.items())[:4])
            text = f"{data}: columns that are not OpenPack's are ignored: {names}"
            warnings.warn(text, PlaitWarning, stacklevel=3)


def users(data: Path) -> list[Path]:
    """The users' folders, by name.

    Raises:
        DataError: there is no such folder, no user in it, or one lies there twice.
    """
    if not data.is_dir():
        raise DataError(f"{data}: no such folder")
    found = sorted(
        path for path in data.rglob("U[0-9][0-9][0-9][0-9]") if path.is_dir() and "__MACOSX" not in path.parts
    )
    if not found:
        raise DataError(f"{data}: no folder of a user, expected some such as U0101 with atr/ and annotation/")
    names = [folder.name for folder in found]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{data}: {name} lies there {names.count(name)} times, expected it once")
    return found


def sessions(folder: Path) -> dict[str, bool]:
    """The sessions that a user has labels or a sensor's file of, and whether the latter.

    Raises:
        DataError: a file is called otherwise than a session.
    """
    found: dict[str, bool] = {}
    places = [(LABELS, "csv"), *((kind.folder, "csv") for kind in KINDS.values()), (KEYPOINTS, "json")]
    for place, suffix in places:
        for file in (folder / place).glob(f"[!.]*.{suffix}"):
            if not re.fullmatch(r"S\d{4}", file.stem):
                raise DataError(f"{file}: a file of another name, expected one such as S0100.{suffix}")
            found[file.stem] = found.get(file.stem, False) or place != LABELS
    return dict(sorted(found.items()))


def read_slots(file: Path, user: str, session: str) -> list[tuple[int, int]]:
    """The labels of a session, null among them: milliseconds of a slot's start, and its operation's number.

    Raises:
        DataError: a column is missing, a row is of somebody else, or a slot or a label is none.
    """
    columns = {"unixtime": pl.Int64, "user": pl.String, "session": pl.String, "id": pl.Int64}
    table, _ = columns_of(file, columns)
    slots: list[tuple[int, int]] = []
    for line, (time, who, which, label) in enumerate(table.iter_rows(), 2):
        where = f"{file}: line {line}"
        if (who, which) != (user, session):
            raise DataError(f"{where}: of {who} and {which}, expected {user} and {session}")
        if label not in OPERATIONS and label not in IGNORED:
            expected = ", ".join(map(str, [*OPERATIONS, IGNORED[0]]))
            got = "empty" if label is None else label
            raise DataError(f"{where}: id is {got}, expected one of: {expected}")
        if time is None or time % SLOT_MS or (slots and time <= slots[-1][0]):
            raise DataError(
                f"{where}: unixtime is {time}, expected whole seconds in ms, later with each line"
            )
        slots.append((time, label))
    return slots


def streams_of(folder: Path, session: str, noted: Noted) -> tuple[int, dict[str, Stream]]:
    """The streams of a session, and when its clock begins, in milliseconds since 1970."""
    found: dict[str, tuple[Path, Read, Kept]] = {}
    for name, kind in KINDS.items():
        file = folder / kind.folder / f"{session}.csv"
        if file.is_file():
            types = {kind.time: pl.Float64, **dict.fromkeys(kind.columns, pl.Float32)}
            table, unknown = columns_of(file, types)
            noted.unknown.update(dict.fromkeys(unknown, file))
            stamps, values = table.to_series().to_numpy().copy(), table[:, 1:].to_numpy(order="c")
            known = int((folder.name, name, session) == WRONG_FIRST_ROW)
            stamps[:known] = np.nan
            taken = _taken(file, name, stamps, values, kind.rate_hz)
            if taken.moved or taken.lost > known:
                noted.mended.append(file)
            found[name] = file, partial(read_values, columns=kind.columns), taken
    file = folder / KEYPOINTS / f"{session}.json"
    if file.is_file():
        taken = _taken(file, "keypoints", *_keypoints(file), POSE_HZ)
        if taken.moved or taken.lost:
            noted.mended.append(file)
        found["keypoints"] = file, read_keypoints, taken
    origin_ms = int(min(taken.times[0] for *_, taken in found.values())) // SLOT_MS * SLOT_MS
    return origin_ms, {
        name: Log(file, read, (taken.times - origin_ms) / 1000, taken.rows, GAP_S)
        for name, (file, read, taken) in found.items()
    }


def _taken(file: Path, name: str, stamps: np.ndarray, values: np.ndarray, rate_hz: float) -> Kept:
    """The readings of a log; refused where it is none of this sensor.

    Raises:
        DataError: too few readings, another rate, an IMU in another unit.
    """
    taken = kept(stamps, values)
    times_ms = taken.times
    if len(times_ms) < 2:
        raise DataError(f"{file}: {len(times_ms)} readings, expected two or more")
    rate = 1000 / float(np.median(np.diff(times_ms)))
    if not 0.7 * rate_hz < rate < 1.4 * rate_hz:
        raise DataError(f"{file}: {rate:.4g} readings a second, expected about {rate_hz:g}, and times in ms")
    if name in PLACES.values():
        size = float(np.median(np.linalg.norm(values[taken.rows, :3], axis=1)))
        if not 0.5 < size < 2:
            raise DataError(f"{file}: an acceleration of {size:.3g} for the most part, expected about 1 (g)")
    return taken


def read_values(file: Path, columns: tuple[str, ...]) -> Float[np.ndarray, "n columns"]:
    """Some columns of a log, float32; an empty cell is NaN.

    Raises:
        DataError: one is missing, or holds something else than numbers.
    """
    return columns_of(file, dict.fromkeys(columns, pl.Float32))[0].to_numpy(order="c")


def read_keypoints(file: Path) -> Float[np.ndarray, "n 17 3"]:
    """Where each joint is, in pixels, and how sure that is; float32.

    Raises:
        DataError: the file is no JSON of key points.
    """
    return _keypoints(file)[1]


def _keypoints(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of each frame, and its key points: nested or flat, the documentation has both."""
    try:
        found = json.loads(read_bytes(file))["annotations"]
        times = np.array([one["image_id"] for one in found], np.float64)
        joints = np.array([np.ravel(one["keypoints"]) for one in found], np.float32).reshape(-1, JOINTS, 3)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        expected = f'"annotations", each with an "image_id" in ms and {JOINTS} "keypoints" x, y, score'
        raise DataError(f"{file}: cannot be read, expected {expected}: {quote(one_line(error))}") from error
    if len(times) != len(joints):
        raise DataError(f"{file}: {len(times)} frames and {len(joints)} bodies, expected as many")
    return times, joints
