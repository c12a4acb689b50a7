"""OpenPack: packing of parcels by 16 people, four IMUs, two Empatica E4 and a camera's key points.

Its release 1.0.0 as it is unpacked, `Uxxxx/atr/atr0N/Sxxxx.csv` and so on (`KINDS`, `KEYPOINTS`), labelled by
`Uxxxx/annotation/openpack-operations-1hz/Sxxxx.csv`: ten operations in slots of one second of the wall clock.
8100 is what is ignored: nothing is trained on it, nothing scored. A session without labels is left out, with
a warning; so is whatever else the folder holds (depth, the 3-D key points, the scanner's logs).

A clip is one labelled slot: a window of `seconds` around it, moved inwards at the ends of a recording. Macro
F1 over clips, pooled, is then the challenge's score: over all ten operations, 0 for one that is never right
(`openpack_toolkit.codalab.operation_segmentation`). The challenge takes the last of a slot's predictions;
here a slot has one.

Users U0202, U0203, U0204, U0205 and U0210 are U0105, U0108, U0110, U0107 and U0103 at a later time, as the
toolkit's list of users says. Subjects here are people, called by their first name, so that nobody stands in
two parts of a fold; recordings and sessions are called `U0202-S0100`.

Acceleration is documented in g and is refused where its median is far from 1 (`atr`). The E4's is documented
in g as well, but the rows that the documentation shows come to 1/9.81; it is taken as it is, and the network
standardises it. The toolkit's correction is made too: of `U0101/atr/atr01/S0500.csv` the first row is left
out, for its time is wrong. Its list of errors (sensors worn the wrong way round, ATR03 and ATR04 swapped) is
not acted on; the published split leaves most of those sessions out of the test.

The key points' folder is the one that the toolkit names; that of the 3-D ones is not the same in the
documentation as in the release, so they are not read.

Licence: CC BY-NC-SA 4.0 (doi:10.5281/zenodo.5909086): name the authors, no commercial use, share alike. Its
pictures have a licence of their own.
"""

import io
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from plait.clips.dropped import SHORT
from plait.clips.windows import ends_of
from plait.datasets.log import Log, Read, kept
from plait.datasets.published import Metric, Published
from plait.datasets.windowed import Windowed
from plait.encoders.glove import SignalNet
from plait.encoders.skeleton import SkeletonNet
from plait.errors import DataError, PlaitWarning, one_line, quote
from plait.store import read_bytes
from plait.types import Dropped, Modality, Recording, Span, Stream, Windows

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
SECONDS = 10.0  # what a network sees of the time around a slot
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
KEYPOINTS = "kinect/2d-kpt/mmpose-hrnet-w48-posetrack18-384x288-posewarper-stage2/single"
JOINTS = 17  # of COCO
SHOULDERS, HIPS = [5, 6], [11, 12]
POSE_HZ = 15.0
WRONG_FIRST_ROW = ("U0101", "right wrist", "S0500")
MACRO_F1 = "macro F1"
PILOT = "openpack-torch's README (2022): the pilot's split, `studies/openpack-pilot.toml`"
PUBLISHED = (
    Published("U-Net, accelerations", {MACRO_F1: 0.3747}, PILOT),
    Published("DeepConvLSTM, accelerations", {MACRO_F1: 0.7695}, PILOT),
    Published("ST-GCN, key points", {MACRO_F1: 0.6106}, PILOT),
)  # of the challenge's own split that README has none


def recordings(data: Path, seconds: float | None = SECONDS) -> Iterator[Recording]:
    """The sessions in `data` in order; each labelled slot is a span of `seconds` around it.

    A recording's clock begins at a whole second of the wall clock, with its first reading. A sensor whose
    file is missing is missing from the recording. Rows without a time of their own, or with something else
    than finite numbers, are no readings, and columns that are not OpenPack's are ignored; warnings say so.

    Args:
        data: the folder of users, or one that holds it.
        seconds: how long spans are; None: they are the labels, slots of one operation that touch as one.

    Raises:
        DataError: nothing of OpenPack lies there, or a file is not what its name says.
    """
    unlabelled: list[Path] = []
    mended: list[Path] = []
    unknown: dict[str, Path] = {}
    for folder in _users(data):
        user = folder.name
        for session in _sessions(folder):
            file = folder / "annotation" / "openpack-operations-1hz" / f"{session}.csv"
            if not file.is_file():
                unlabelled.append(file)
                continue
            slots = read_slots(file, user, session)
            origin_ms, streams = _streams(folder, session, mended, unknown)
            name, subject = f"{user}-{session}", SAME_PERSON.get(user, user)
            whole = Recording(name, subject, streams, _labels(slots, origin_ms), session=name)
            yield whole if seconds is None else _around(whole, seconds)
    for files, what in (
        (unlabelled, "no such file: sessions without labels are left out"),
        (mended, "rows that are no readings of their own: the others are taken, in order"),
    ):
        if files:
            warnings.warn(f"{data}: {len(files)} files, the first {files[0]}: {what}", PlaitWarning, 2)
    if unknown:
        names = ", ".join(f"{name} ({file})" for name, file in list(unknown.items())[:4])
        warnings.warn(f"{data}: columns that are not OpenPack's are ignored: {names}", PlaitWarning, 2)


def _users(data: Path) -> list[Path]:
    """The users' folders, by name."""
    if not data.is_dir():
        raise DataError(f"{data}: no such folder")
    found = sorted(path for path in data.rglob("U[0-9][0-9][0-9][0-9]") if path.is_dir())
    if not found:
        raise DataError(f"{data}: no folder of a user, expected some such as U0101 with atr/ and annotation/")
    names = [folder.name for folder in found]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{data}: {name} lies there {names.count(name)} times, expected it once")
    return found


def _sessions(folder: Path) -> list[str]:
    """The sessions that a user has any file of that is read."""
    found = set()
    for kind, suffix in [*((kind.folder, "csv") for kind in KINDS.values()), (KEYPOINTS, "json")]:
        for file in (folder / kind).glob(f"*.{suffix}"):
            if not re.fullmatch(r"S\d{4}", file.stem):
                raise DataError(f"{file}: a file of another name, expected one such as S0100.{suffix}")
            found.add(file.stem)
    return sorted(found)


def read_slots(file: Path, user: str, session: str) -> list[tuple[int, int]]:
    """The labels of a session, null among them: milliseconds of a slot's start, and its operation's number.

    Raises:
        DataError: a column is missing, a row is of somebody else, or a slot or a label is none.
    """
    columns = {"unixtime": pl.Int64, "user": pl.String, "session": pl.String, "id": pl.Int64}
    table = _csv(file, columns)
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


def _labels(slots: Iterable[tuple[int, int]], origin_ms: int) -> tuple[Span, ...]:
    """Slots of one operation that touch, as one label; null is none."""
    spans: list[Span] = []
    for time, label in slots:
        if label in IGNORED:
            continue
        start_s = (time - origin_ms) / 1000
        if spans and spans[-1].activity == OPERATIONS[label] and spans[-1].stop_s == start_s:
            spans[-1] = replace(spans[-1], stop_s=start_s + 1)
        else:
            spans.append(Span(start_s, start_s + 1, OPERATIONS[label]))
    return tuple(spans)


def _around(whole: Recording, seconds: float) -> Recording:
    """A recording with a span of `seconds` around each of its slots.

    At both ends of what the IMUs (or, without any, all sensors) have read spans are moved inwards, as long as
    the slot is still in them.
    """
    imus = [stream for name, stream in whole.streams.items() if name in PLACES.values()]
    ends = [ends_of(stream) for stream in imus or whole.streams.values()]
    begin_s, end_s = max(start for start, _ in ends), min(stop for _, stop in ends)
    margin_s = (seconds - 1) / 2
    spans, short = [], []
    for label in whole.spans:
        if end_s - begin_s < seconds:
            slots = round(label.stop_s - label.start_s)
            short.append(Dropped(whole.name, whole.subject, label.activity, SHORT, slots))
            continue
        for slot_s in np.arange(label.start_s, label.stop_s - 0.5).tolist():
            inside_s = float(np.clip(slot_s - margin_s, begin_s, end_s - seconds))
            start_s = float(np.clip(inside_s, slot_s + 1 - seconds, slot_s))
            spans.append(Span(start_s, start_s + seconds, label.activity))
    return replace(whole, spans=tuple(spans), dropped=tuple(short))


def _streams(
    folder: Path, session: str, mended: list[Path], unknown: dict[str, Path]
) -> tuple[int, dict[str, Stream]]:
    """The streams of a session, and when its clock begins, in milliseconds since 1970."""
    reads: dict[str, tuple[Path, Read]] = {
        name: (folder / kind.folder / f"{session}.csv", partial(read_values, columns=kind.columns))
        for name, kind in KINDS.items()
    }
    reads["keypoints"] = folder / KEYPOINTS / f"{session}.json", read_keypoints
    times_ms, rows = {}, {}
    for name, (file, read) in reads.items():
        if not file.is_file():
            continue
        if name == "keypoints":
            stamps, rate_hz = _keypoints(file)[0], POSE_HZ
        else:
            kind = KINDS[name]
            unknown |= dict.fromkeys(_header(file) - {kind.time, *kind.columns}, file)
            stamps, rate_hz = _csv(file, {kind.time: pl.Float64}).to_series().to_numpy().copy(), kind.rate_hz
        values = read(file)
        if (folder.name, name, session) == WRONG_FIRST_ROW:
            stamps[0] = np.nan
        found = kept(stamps, values)
        _check(file, name, found.times, values[found.rows], rate_hz)
        if found.moved or found.lost > ((folder.name, name, session) == WRONG_FIRST_ROW):
            mended.append(file)
        times_ms[name], rows[name] = found.times, found.rows
    origin_ms = int(min(times[0] for times in times_ms.values())) // SLOT_MS * SLOT_MS
    streams: dict[str, Stream] = {
        name: Log(*reads[name], (times - origin_ms) / 1000, rows[name], GAP_S)
        for name, times in times_ms.items()
    }
    return origin_ms, streams


def _check(file: Path, name: str, times_ms: np.ndarray, values: np.ndarray, rate_hz: float) -> None:
    """Refuse what is no log of this sensor: too few readings, another rate, an IMU in another unit."""
    if len(times_ms) < 2:
        raise DataError(f"{file}: {len(times_ms)} readings, expected two or more")
    rate = 1000 / float(np.median(np.diff(times_ms)))
    if not 0.7 * rate_hz < rate < 1.4 * rate_hz:
        raise DataError(f"{file}: {rate:.4g} readings a second, expected about {rate_hz:g}, and times in ms")
    if name in PLACES.values():
        size = float(np.median(np.linalg.norm(values[:, :3], axis=1)))
        if not 0.5 < size < 2:
            raise DataError(f"{file}: an acceleration of {size:.3g} for the most part, expected about 1 (g)")


def _header(file: Path) -> set[str]:
    """The names of a table's columns."""
    line = read_bytes(file).split(b"\n", 1)[0].decode("utf-8-sig", "replace")
    return {name.strip().strip('"') for name in line.split(",")}


def _csv(file: Path, columns: dict[str, type[pl.DataType]]) -> pl.DataFrame:
    """These columns of a table, in this order; an empty cell is null."""
    if missing := [name for name in columns if name not in _header(file)]:
        raise DataError(f"{file}: no column {missing[0]!r}, expected {', '.join(columns)}")
    try:
        table = pl.read_csv(io.BytesIO(read_bytes(file)), columns=list(columns), schema_overrides=columns)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{file}: cannot be read, expected numbers and names: {one_line(error)}") from error
    return table.select(list(columns))


def read_values(file: Path, columns: tuple[str, ...]) -> Float[np.ndarray, "n columns"]:
    """Some columns of a log, float32; an empty cell is NaN.

    Raises:
        DataError: one is missing, or holds something else than numbers.
    """
    return _csv(file, dict.fromkeys(columns, pl.Float32)).to_numpy(order="c")


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
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        expected = f'"annotations", each with an "image_id" in ms and {JOINTS} "keypoints" x, y, score'
        raise DataError(f"{file}: cannot be read, expected {expected}: {quote(one_line(error))}") from error
    if len(times) != len(joints):
        raise DataError(f"{file}: {len(times)} frames and {len(joints)} bodies, expected as many")
    return times, joints


def imu(readings: Float[np.ndarray, "samples 10"]) -> Float[Tensor, "samples 6"]:
    """Acceleration and turning, without the orientation, whose frame differs from session to session."""
    return torch.from_numpy(np.ascontiguousarray(readings[:, :6])).float()


def plain(readings: Float[np.ndarray, "samples channels"]) -> Float[Tensor, "samples channels"]:
    """Readings as they are."""
    return torch.from_numpy(readings).float()


def body(readings: Float[np.ndarray, "frames 17 3"]) -> Float[Tensor, "frames 17 3"]:
    """Joints about the middle of the shoulders over the clip, in lengths of the trunk; scores as they are.

    Raises:
        DataError: the trunk has no length.
    """
    found = torch.from_numpy(readings).float()
    shoulders, hips = found[:, SHOULDERS, :2].mean(1), found[:, HIPS, :2].mean(1)
    trunk = (shoulders - hips).norm(dim=-1).mean()
    if not trunk > 0:
        raise DataError("key points: shoulders and hips are at one place, expected them apart")
    return torch.cat(((found[..., :2] - shoulders.mean(0)) / trunk, found[..., 2:]), -1)


def openpack(seconds: float = SECONDS) -> Windowed:
    """OpenPack in slots of which networks see `seconds`, 1 or more: the slot in the middle."""
    signal = partial(
        SignalNet, widths=(24, 32, 48), kernels=(3, 3, 3), pools=(2, 2, 1), norm=True, standardise=True
    )

    def sensor(name: str, stream: str, rate_hz: float, prepare: Callable[..., Tensor] = plain) -> Modality:
        return Modality(name, (stream,), round(seconds * rate_hz), rate_hz, prepare, signal)

    imus = [sensor(place.replace(" ", "-"), place, 30.0, imu) for place in PLACES.values()]
    e4 = [
        sensor(f"{side}-{kind}", f"{side} {kind}", rate_hz)
        for side in SIDES.values()
        for kind, (_, rate_hz) in E4.items()
    ]
    frames = round(seconds * POSE_HZ)
    return Windowed(
        name="OpenPack",
        activities=tuple(OPERATIONS.values()),
        modalities=(*imus, Modality("keypoints", ("keypoints",), frames, POSE_HZ, body, SkeletonNet), *e4),
        recordings=partial(recordings, seconds=seconds),
        cite="N. Yoshimura, J. Morales, T. Maekawa, T. Hara. OpenPack: A Large-scale Dataset for Recognizing "
        "Packaging Works in IoT-enabled Logistic Environments. PerCom 2024. doi:10.5281/zenodo.5909086.",
        windows=Windows(seconds, purity=1.0 if seconds <= 1 else 0.6, stride_s=1.0),
        whole=partial(recordings, seconds=None),
        metrics=(Metric(MACRO_F1, "plait.analysis.benchmark:macro_f1"),),
        published=PUBLISHED,
    )


OPENPACK = openpack()
