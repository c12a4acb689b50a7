"""RealWorld (HAR): eight activities of fifteen people with a phone or watch in seven places at once.

`realworld2016_dataset` as it is downloaded or unpacked: `proband1/data/acc_walking_csv.zip` and so on, in
which lies `acc_walking_chest.csv` with the columns `id, attr_time, attr_x, attr_y, attr_z`: milliseconds
since 1970, m/s2, about 50 a second; `gyr_walking_csv.zip` has `Gyroscope_walking_chest.csv` in rad/s. What
was recorded in several parts has archives in its archive: `acc_climbingup_csv.zip` holds
`acc_climbingup_1_csv.zip` to `acc_climbingup_3_csv.zip`, and of the gyroscope the first without a number; of
some activities there is a second part alone, `acc_walking_2_chest.csv`. Each part is a recording,
`4-walking-2` or `4-walking`. The other sensors (magnetic field, GPS, light, sound) and SQLite copies are not
read. Archives are read in memory; nothing is unpacked.

Some placements are missing: person 2 climbed up without the forearm, person 6 jumped without the thigh. Each
device has its own clock, and nobody synchronised them: an activity counts for as long as most devices read
together; one whose clock does not meet that is left out of its recording, with a warning.

Licence: none is stated in the files; the University of Mannheim gives the data away for research and asks to
cite the paper. Terms on its page were not to be had here, and what others' lists call it has no source: look
there before you publish or redistribute.
"""

import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from plait.datasets.published import Metric, Published
from plait.datasets.windowed import Windowed
from plait.datasets.worn import (
    GAP_S,
    G,
    Opened,
    check_gravity,
    in_order,
    recording,
    short_net,
    together,
    windowed,
)
from plait.errors import DataError, PlaitWarning, one_line
from plait.names import natural
from plait.recordings.sensors import SensorLog
from plait.recordings.unended import check_end
from plait.store import explained, read_bytes, regular
from plait.types import Modality, Recording, Span, Windows

ACTIVITIES = {
    "climbingdown": "climbing down",
    "climbingup": "climbing up",
    "jumping": "jumping",
    "lying": "lying",
    "running": "running",
    "sitting": "sitting",
    "standing": "standing",
    "walking": "walking",
}
PLACES = ("chest", "forearm", "head", "shin", "thigh", "upperarm", "waist")
SENSORS = {"acc": "acc", "Gyroscope": "gyr"}  # how files begin, and archives
OTHERS = ("MagneticField", "GPS", "Light", "Microphone", "mag", "gps", "lig", "mic")
COLUMNS = ("attr_time", "attr_x", "attr_y", "attr_z")
NAMES = {sensor: tuple(f"{sensor}_{axis}" for axis in "xyz") for sensor in SENSORS.values()}
RATE_HZ, DEEPEST = 50.0, 4  # all.zip: proband4.zip: acc_climbingup_csv.zip: acc_climbingup_2_csv.zip
FASTEST = 40.0  # rad/s
WINDOWS = Windows(1.0)
PERSON = re.compile(r"proband(\d+)", re.IGNORECASE)
ARCHIVE = re.compile(r"(?:acc|gyr)_[a-z]+(?:_(\d+))?_csv\.zip")
FOLDER = re.compile(r"(?:acc|gyr)_[a-z]+(?:_(\d+))?_csv(?:\.zip)?")  # the same, or what it was unpacked into
TABLE = re.compile(r"([A-Za-z]+)_([a-z]+)(?:_(\d+))?_([a-z]+)\.csv")


class File(NamedTuple):
    """A table: a file, or a member of an archive, or of one within it."""

    file: Path
    members: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ": ".join([str(self.file), *self.members])

    def read(self) -> bytes:
        """What is in it.

        Raises:
            DataError: it cannot be read, or comes to more than the archive's size explains.
        """
        try:
            if not self.members:
                return read_bytes(self.file)
            with zipfile.ZipFile(regular(self.file)) as archive:
                return _member(archive, self.members, self.file)
        except DataError:
            raise
        except Exception as error:  # damaged archives raise anything: BadZipFile, zlib.error, ...
            raise DataError(f"{self}: cannot be read: {one_line(error)}") from error


class Part(NamedTuple):
    """One part of one activity of one person: its tables by placement and sensor, such as `chest-acc`."""

    activity: str
    files: tuple[tuple[str, File], ...]

    def __str__(self) -> str:
        return str(self.files[0][1])

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that hold them."""
        return tuple(dict.fromkeys(file.file for _, file in self.files))


def whole(data: Path) -> Iterator[Recording]:
    """The recordings in `data`, each labelled with its activity: by person, activity and part.

    Args:
        data: the folder of the `proband` folders, at any depth; or the archive, or a folder that it lies in.

    Raises:
        DataError: no table of RealWorld, one twice, or one that is not what its name says.
    """
    for (person, activity, number), part in _parts(data).items():
        several = "" if number == 1 else f"-{number}"
        yield recording(read, part, f"{person}-{activity}{several}", person)


def recordings(data: Path, windows: Windows = WINDOWS) -> Iterator[Recording]:
    """The same, cut into `windows`.

    Raises:
        DataError: as `whole`.
    """
    return windowed(whole(data), windows)


def read(part: Part) -> Opened:
    """The logs of a part, times from its first reading on, and its label.

    Raises:
        DataError: a table cannot be read, or has other columns, units or another rate than RealWorld's.
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    digest = sha256()
    for name, file in part.files:
        text = file.read()
        if not file.members and not text.endswith(b"\n"):  # archives know whether they are whole
            what = "its last line has no end, as if it were cut off: left out"
            warnings.warn(f"{file}: {what}", PlaitWarning, stacklevel=2)
            text = text[: text.rfind(b"\n") + 1]
        digest.update(sha256(text).digest())
        found[name] = read_table(text, str(file), name.rpartition("-")[2])
    felt = [name for name in found if name.endswith("-acc")] or [*found]
    start_s, stop_s = together([(found[name][0][0], found[name][0][-1]) for name in felt])
    for name, file in part.files:
        if not found[name][0][0] < (start_s + stop_s) / 2 < found[name][0][-1]:
            what = "its clock does not meet those of the others: left out of its recording"
            warnings.warn(f"{file}: {what}", PlaitWarning, stacklevel=2)
            del found[name]
    origin_s = min(times[0] for times, _ in found.values())
    logs = {
        name: SensorLog(times - origin_s, values, NAMES[name.rpartition("-")[2]], GAP_S)
        for name, (times, values) in found.items()
    }
    label = Span(float(start_s - origin_s), float(stop_s - origin_s), ACTIVITIES[part.activity])
    return Opened(logs, (label,), digest.hexdigest())


def read_table(text: bytes, where: str, sensor: str) -> tuple[np.ndarray, np.ndarray]:
    """Seconds since 1970, `(n,)`, and readings, `(n, 3)`, of a table; lines that hold no number are left out.

    Raises:
        DataError: a column is missing, the file was cut off, or units or rate are others.
    """
    check_end(where, text, ",", header=True)
    try:
        table = pl.read_csv(io.BytesIO(text), infer_schema=False)
    except Exception as error:  # polars has many kinds
        expected = f"a table with the columns {', '.join(COLUMNS)}"
        raise DataError(f"{where}: cannot be read, expected {expected}: {one_line(error)}") from error
    if missing := [name for name in COLUMNS if name not in table.columns]:
        got = ", ".join(table.columns)
        raise DataError(f"{where}: no column {missing[0]!r}, expected {', '.join(COLUMNS)}, got {got}")
    numbers = table.select(pl.col(COLUMNS).str.strip_chars().cast(pl.Float64, strict=False)).to_numpy()
    finite = np.isfinite(numbers).all(axis=1)
    if not finite.all():
        line = int((~finite).argmax()) + 2
        what = f"{int((~finite).sum())} lines, the first {line}, without a time and three numbers: left out"
        warnings.warn(f"{where}: {what}", PlaitWarning, stacklevel=2)
    numbers = numbers[finite]
    back_s = -np.diff(numbers[:, 0]) / 1000
    if (back_s > 0).any():
        what = f"{int((back_s > 0).sum())} lines before the line above, by up to {back_s.max():.4g} s"
        warnings.warn(f"{where}: {what}: put in order of time", PlaitWarning, stacklevel=2)
    order = np.argsort(numbers[:, 0], kind="stable")
    rows = order[in_order(numbers[order, 0] / 1000, where, RATE_HZ)]
    values = numbers[rows, 1:].astype(np.float32)
    if sensor == "acc":
        check_gravity(values, where, G, "m/s2")
    elif float(np.quantile(np.abs(values), 0.99)) > FASTEST:
        high = float(np.quantile(np.abs(values), 0.99))
        raise DataError(f"{where}: turns by {high:.4g} and more, expected rad/s, not degrees")
    return numbers[rows, 0] / 1000, values


def _parts(data: Path) -> dict[tuple[str, str, int], Part]:
    """Where the tables lie: by person, activity and part."""
    found: dict[tuple[str, str, int], dict[str, File]] = {}
    for path, file in _tables(data):
        name, people = path.name, PERSON.findall(str(path.parent))
        match = TABLE.fullmatch(name)
        kind = match[1] if match else name.partition("_")[0]
        if kind in OTHERS:
            continue
        if match is None or kind not in SENSORS or match[2] not in ACTIVITIES or match[4] not in PLACES:
            example = "acc_walking_chest.csv or Gyroscope_walking_2_chest.csv"
            raise DataError(f"{file}: a table of another name, expected one such as {example}")
        if not people:
            raise DataError(f"{file}: of nobody, expected it in a folder such as proband1")
        outer = [FOLDER.fullmatch(folder) for folder in path.parent.parts]
        numbers = [folder[1] for folder in outer if folder and folder[1]]
        key = str(int(people[-1])), match[2], int([*numbers, match[3] or 1][0])
        stream = f"{match[4]}-{SENSORS[kind]}"
        if stream in (files := found.setdefault(key, {})):
            raise DataError(f"{file}: the same table as {files[stream]}, expected it once")
        files[stream] = file
    if not found:
        raise DataError(
            f"{data}: no table of RealWorld, expected proband1/data/acc_walking_csv.zip and so on"
        )
    ordered = sorted(found.items(), key=lambda item: (natural(item[0][0]), *item[0][1:]))
    for (person, activity, number), files in ordered:
        if not any(stream.endswith("-acc") for stream in files):
            what = f"person {person}, {activity}, part {number}: turning without acceleration"
            warnings.warn(f"{data}: {what}, none of it has both", PlaitWarning, stacklevel=2)
    return {key: Part(key[1], tuple(sorted(files.items()))) for key, files in ordered}


def _tables(data: Path) -> Iterator[tuple[PurePosixPath, File]]:
    """Tables in folders and archives, each with its path, archives for folders."""
    if not data.exists():
        raise DataError(f"{data}: no such file or folder")
    files: Iterable[Path] = [data] if data.is_file() else sorted(data.rglob("*"))
    for file in files:
        path = PurePosixPath(file.name if data.is_file() else file.relative_to(data.parent).as_posix())
        if file.suffix == ".csv" and TABLE.fullmatch(file.name) and PERSON.search(str(path.parent)):
            yield path, File(file)
        elif file.suffix == ".zip" and (_holds_tables(file.name) or file.parent == data or file == data):
            try:
                with zipfile.ZipFile(regular(file)) as archive:
                    yield from _within(archive, path, File(file))
            except DataError:
                raise
            except Exception as error:
                raise DataError(
                    f"{file}: cannot be read, expected a .zip archive: {one_line(error)}"
                ) from error


def _holds_tables(name: str) -> bool:
    """Whether an archive is one of tables, or of all that a person has, such as `proband1.zip`."""
    return bool(ARCHIVE.fullmatch(name) or PERSON.fullmatch(name.removesuffix(".zip")))


def _within(
    archive: zipfile.ZipFile, path: PurePosixPath, place: File
) -> Iterator[tuple[PurePosixPath, File]]:
    """Tables in an archive, and in those of tables that it holds."""
    for name in sorted(archive.namelist(), key=natural):
        inner, file = path / name, File(place.file, (*place.members, name))
        last = inner.name
        if last.endswith(".csv") and "__MACOSX" not in inner.parts:
            yield inner, file
        elif _holds_tables(last) and "__MACOSX" not in inner.parts and len(file.members) < DEEPEST:
            content = _member(archive, (name,), place.file)
            with zipfile.ZipFile(io.BytesIO(content)) as deeper:
                yield from _within(deeper, inner, file)


def _member(archive: zipfile.ZipFile, members: tuple[str, ...], file: Path) -> bytes:
    """A member of an archive, or of one in it; none larger than the size of the `file` explains."""
    explained(file, archive.getinfo(members[0]).file_size)
    content = archive.read(members[0])
    if not members[1:]:
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as deeper:
        return _member(deeper, members[1:], file)


def in_si(*readings: Float[np.ndarray, "samples 3"]) -> Float[Tensor, "samples channels"]:
    """Acceleration in g and, if it is given, turning in rad/s."""
    felt = torch.from_numpy(readings[0]).float() / G
    return torch.cat([felt, *(torch.from_numpy(turning).float() for turning in readings[1:])], dim=1)


def realworld(windows: Windows = WINDOWS, gyroscope: bool = True) -> Windowed:
    """RealWorld in `windows`, a modality for each placement: acceleration, and turning with `gyroscope`."""
    samples = round(windows.seconds * RATE_HZ)
    sensors = SENSORS.values() if gyroscope else ["acc"]
    return Windowed(
        name="RealWorld" if gyroscope else "RealWorld, acceleration",
        activities=tuple(ACTIVITIES.values()),
        modalities=tuple(
            Modality(
                place, tuple(f"{place}-{sensor}" for sensor in sensors), samples, RATE_HZ, in_si, short_net
            )
            for place in PLACES
        ),
        recordings=partial(recordings, windows=windows),
        cite="T. Sztyler, H. Stuckenschmidt. On-body Localization of Wearable Devices: An Investigation of "
        "Position-Aware Activity Recognition. PerCom 2016. doi:10.1109/PERCOM.2016.7456521.",
        windows=windows,
        whole=whole,
        metrics=(
            Metric("macro F1 of a person", "plait.analysis.benchmark:macro_f1", {"by": "subject"}),
            Metric("macro F1", "plait.analysis.benchmark:macro_f1"),
            Metric("accuracy", "plait.analysis.benchmark:accuracy"),
        ),
        published=PUBLISHED,
    )


_LOG = "Bock et al., ISWC 2021 (logs iswcrwharjobs_239436_31 to 35 of the authors' repository): "
PUBLISHED = (  # of seeds 1 to 5: 72.69, 73.78, 74.70, 75.38 and 75.36
    Published(
        "shallow DeepConvLSTM",
        {"macro F1 of a person": 0.7438},
        f"{_LOG}forearm acceleration, leave one person out, 1 s windows, overlap 60 %, mean of 5 seeds",
    ),
)
REALWORLD = realworld()
REALWORLD_ACCELERATION = realworld(gyroscope=False)
