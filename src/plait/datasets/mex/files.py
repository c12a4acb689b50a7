"""MEx's files: a folder, or the archives it is downloaded as, to recordings of four sensors on one clock."""

import io
import math
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float32

from plait.clips.dropped import AFTER, BEFORE
from plait.clips.windows import placed
from plait.contents import describe
from plait.errors import DataError, PlaitWarning, one_line, quote
from plait.names import natural
from plait.recordings.unended import check_end
from plait.store import content_key, explained, read_bytes, regular
from plait.types import Dropped, Readings, Recording, Span, Stream, Windows

EXERCISES = (
    "knee rolling",
    "bridging",
    "pelvic tilt",
    "clam",
    "extension in lying",
    "prone punches",
    "superman",
)
WINDOWS = Windows(5.0)
STAMP = "%Y-%m-%d %H:%M:%S%.f"


class Kind(NamedTuple):
    """Where one sensor's files lie, what ends their names, and the shape of a reading."""

    folder: str
    suffix: str
    shape: tuple[int, ...]


KINDS = {
    "thigh": Kind("act", "act", (3,)),  # g, along the sensor's three axes
    "wrist": Kind("acw", "acw", (3,)),
    "depth": Kind("dc_0.05_0.05", "dc", (12, 16)),  # from above, a twentieth of 240x320; 0 to 1
    "mat": Kind("pm_1.0_1.0", "pm", (32, 16)),  # pressure, the sensor's own unit
}
NAME = re.compile(r"(?P<exercise>\d\d)_(?P<suffix>[a-z]+)_(?P<side>\d)\.csv")


class Place(NamedTuple):
    """A file of the data set: in a folder, or `member` of an archive."""

    file: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.file) if self.member is None else f"{self.file}: {self.member}"

    def read(self) -> bytes:
        """What is in it.

        Raises:
            DataError: it cannot be read, or comes to more than its size explains.
        """
        try:
            if self.member is None:
                return read_bytes(self.file)
            archive = _archive(self.file)
            explained(self.file, archive.getinfo(self.member).file_size)
            return archive.read(self.member)
        except DataError:
            raise
        except Exception as error:  # damaged archives raise anything: BadZipFile, zlib.error, ...
            raise DataError(f"{self}: cannot be read: {one_line(error)}") from error


@dataclass(frozen=True, eq=False)
class Log:
    """A `Stream` of one file; its readings are read when they are asked for, not before.

    `rows` are the file's lines in the order of their `times`, in seconds on the recording's clock, the first
    of each moment; `content` stands for what the file holds.
    """

    place: Place
    shape: tuple[int, ...]
    times: np.ndarray
    rows: np.ndarray
    content: str

    @cached_property
    def content_key(self) -> str:
        """Equal for equal files that begin at the same moment of their recordings."""
        return content_key([self.content, float(self.times[0]), list(self.shape), describe(read_values)])

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Readings at `seconds`, interpolated linearly, shape `(len(seconds), *reading)`.

        Raises:
            DataError: the file cannot be read any more, or holds something else than numbers.
        """
        values = read_values(self.place, self.shape, self.content)
        return Readings(self.times, values[self.rows]).at(seconds)


def recordings(data: Path, windows: Windows = WINDOWS) -> Iterator[Recording]:
    """The recordings in `data`, cut into `windows`: one of each person, exercise and side, in this order.

    `data` is the folder that holds the four sensors' folders, at any depth, or an archive of it, or a folder
    with several archives. A recording's clock starts with its first reading; its windows lie where all of its
    sensors have readings. A sensor whose file is missing is missing from the recording. Lines out of order
    are sorted, and of several of one moment the first is kept; a warning says in how many files.

    Raises:
        DataError: nothing of MEx lies there, a file lies there twice, or one is not what its name says.
    """
    mended: list[Place] = []
    for (person, exercise, side), places in _places(data).items():
        stamps = {kind: _stamps(place, KINDS[kind].shape) for kind, place in places.items()}
        mended += [places[kind] for kind, read in stamps.items() if read.mended]
        start_us = min(read.times_us[0] for read in stamps.values())
        streams: dict[str, Stream] = {
            kind: Log(
                places[kind], KINDS[kind].shape, (read.times_us - start_us) / 1e6, read.rows, read.content
            )
            for kind, read in stamps.items()
        }
        name = f"{person}_{exercise:02d}_{side}"
        begin_s = {kind: float(stream.times[0]) for kind, stream in streams.items()}
        end_s = {kind: float(stream.times[-1]) for kind, stream in streams.items()}
        first, last = max(begin_s, key=begin_s.__getitem__), min(end_s, key=end_s.__getitem__)
        if not begin_s[first] < end_s[last]:
            raise DataError(f"{places[first]}: begins after {places[last]} has ended, expected one clock")
        activity = EXERCISES[exercise - 1]
        whole = Recording(name, person, streams, (Span(begin_s[first], end_s[last], activity),))
        [cut] = placed([whole], windows)
        spans = tuple(Span(window.start_s, window.stop_s, activity) for window in cut.windows)
        outside = [(BEFORE, first, 0.0, begin_s[first]), (AFTER, last, end_s[last], max(end_s.values()))]
        dropped = [
            Dropped(name, person, activity, reason, lost, stream, from_s, to_s)
            for reason, stream, from_s, to_s in outside
            if (lost := int((to_s - from_s) / (windows.stride_s or windows.seconds)))
        ]
        yield replace(whole, spans=spans, dropped=(*cut.dropped, *dropped))
    if mended:
        what = "lines out of order or of one moment: sorted, the first of each moment kept"
        warnings.warn(
            f"{data}: {len(mended)} files, the first {mended[0]}: {what}", PlaitWarning, stacklevel=2
        )


class _Stamps(NamedTuple):
    """A file's time stamps: microseconds since 1970 of its `rows`, in order; and if it had to be mended."""

    times_us: np.ndarray
    rows: np.ndarray
    mended: bool
    content: str


def _places(data: Path) -> dict[tuple[str, int, int], dict[str, Place]]:
    """Where the files lie: by person, exercise and side, then by sensor."""
    if not data.exists():
        raise DataError(f"{data}: no such file or folder")
    if data.is_file():
        places = _members(data)
    else:
        places = [Place(file) for file in sorted(data.rglob("*.csv"))]
        for archive in sorted(data.glob("*.zip")):
            places += _members(archive)
    of_folder = {kind.folder: name for name, kind in KINDS.items()}
    found: dict[tuple[str, int, int], dict[str, Place]] = {}
    for place in places:
        path = PurePosixPath(place.member or place.file.as_posix())
        folder, person = (["", "", *path.parts])[-3:-1]
        if folder not in of_folder or "__MACOSX" in path.parts:
            continue
        sensor = of_folder[folder]
        match = NAME.fullmatch(path.name)
        exercise = int(match["exercise"]) if match and match["suffix"] == KINDS[sensor].suffix else 0
        if not 1 <= exercise <= len(EXERCISES) or not re.fullmatch(r"\d+", person):
            expected = (
                f"{folder}/PERSON/EE_{KINDS[sensor].suffix}_N.csv, exercises 01 to {len(EXERCISES):02d}"
            )
            raise DataError(f"{place}: a file of another name, expected {expected}")
        assert match is not None
        recording = found.setdefault((person, exercise, int(match["side"])), {})
        if sensor in recording:
            raise DataError(f"{place}: the same file as {recording[sensor]}, expected it once")
        recording[sensor] = place
    if not found:
        folders = ", ".join(kind.folder for kind in KINDS.values())
        raise DataError(f"{data}: no file of MEx, expected folders {folders}, or an archive of them")
    return dict(sorted(found.items(), key=lambda item: (natural(item[0][0]), *item[0][1:])))


def _members(file: Path) -> list[Place]:
    """The `.csv` files of an archive."""
    try:
        return [Place(file, name) for name in sorted(_archive(file).namelist()) if name.endswith(".csv")]
    except Exception as error:
        raise DataError(f"{file}: cannot be read, expected a .zip archive: {one_line(error)}") from error


def _archive(file: Path) -> zipfile.ZipFile:
    """An archive whose table of contents is read once, as long as the file stays as it is."""
    state = regular(file).stat()
    return _opened(file, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4)  # the data set comes as two
def _opened(file: Path, inode: int, size: int, changed_ns: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(file)


def _stamps(place: Place, shape: tuple[int, ...]) -> _Stamps:
    """The time stamps of a file.

    Raises:
        DataError: a line starts with something else than a time, or has not as many numbers as a reading.
    """
    text = place.read()
    column = _table(place, text, shape, [0]).to_series()
    stamps = column.str.to_datetime(STAMP, strict=False, time_unit="us")
    if stamps.null_count():
        line = int(stamps.is_null().arg_max() or 0)
        expected = "a time such as 2018-11-08 11:34:51.474000"
        raise DataError(f"{place}: line {line + 1}: {quote(column[line])}, expected {expected}")
    moments_us = stamps.dt.timestamp("us").to_numpy()
    if len(moments_us) < 2:
        raise DataError(f"{place}: {len(moments_us)} lines, expected two readings or more")
    kept_us, rows = np.unique(moments_us, return_index=True)
    mended = not np.array_equal(kept_us, moments_us)
    return _Stamps(kept_us, rows, mended, sha256(text).hexdigest())


@lru_cache(maxsize=2 * len(KINDS))  # windows are cut recording by recording
def read_values(place: Place, shape: tuple[int, ...], content: str) -> Float32[np.ndarray, "n *reading"]:
    """The readings of a file, `(lines, *shape)`, in the order of its lines; `content` is its checksum.

    Raises:
        DataError: the file is another by now, or a line does not hold as many finite numbers as `shape` has.
    """
    text = place.read()
    if sha256(text).hexdigest() != content:
        raise DataError(f"{place}: changed while it was read")
    count = math.prod(shape)
    values = _table(place, text, shape, range(1, count + 1)).to_numpy()
    broken = ~np.isfinite(values).all(axis=1)
    if broken.any():
        line = int(broken.argmax())
        raise DataError(f"{place}: line {line + 1}: not {count} finite numbers behind the time, as expected")
    return np.ascontiguousarray(values, dtype=np.float32).reshape(-1, *shape)


def _table(place: Place, text: bytes, shape: tuple[int, ...], columns: Sequence[int]) -> pl.DataFrame:
    """Some columns of a file without a header, which has a time and a reading of `shape` on each line."""
    check_end(place, text, ",", header=False)
    try:
        return pl.read_csv(
            io.BytesIO(text),
            has_header=False,
            columns=columns,
            schema_overrides=[pl.String, *[pl.Float32] * math.prod(shape)],
        )
    except Exception as error:  # polars has many kinds
        expected = f"a time and {math.prod(shape)} numbers on each line"
        raise DataError(f"{place}: cannot be read, expected {expected}: {one_line(error)}") from error
