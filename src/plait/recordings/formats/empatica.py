"""Empatica E4: the folder or zip of a session, as E4 connect gives it, or single files of one.

`ACC.csv` (1/64 g), `BVP.csv`, `EDA.csv` (microsiemens), `TEMP.csv` (degrees Celsius) and `HR.csv` have no
names of columns: the first row is the start in seconds since 1970 (UTC), the second the rate, the rest
readings. `IBI.csv` has its start in the first row, then seconds since it and the interval between beats;
`tags.csv` holds presses of the button. (Empatica, "Data export and formatting from E4 connect", and
`info.txt` in every export.)
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from plait.errors import DataError
from plait.recordings.formats.archive import Archive, names_in
from plait.recordings.formats.sensed import Format, Sensed, beginning
from plait.recordings.unended import doubt

ROWS = {  # what each file holds: its columns and their unit
    "acc.csv": (("acc_x", "acc_y", "acc_z"), "g"),
    "bvp.csv": (("bvp",), ""),
    "eda.csv": (("eda",), "uS"),
    "temp.csv": (("temperature",), "degC"),
    "hr.csv": (("heart_rate",), "1/min"),
}
PER_G = 64.0
HEAD = 2  # rows of start and rate
BEATS, PRESSES = "ibi.csv", "tags.csv"
NUMBERS = re.compile(
    rb"\s*\d{9,10}(\.\d*)?(,\s*\d{9,10}(\.\d*)?)*\s*\n\s*\d+(\.\d*)?(,\s*\d+(\.\d*)?)*\s*(\n|$)"
)
NAMED = re.compile(rb"[^\n]*[a-z]", re.IGNORECASE)  # a table of somebody else's, with names of columns
BEGUN = re.compile(rb"\s*\d{9,10}(\.\d*)?\s*,\s*IBI\s*(\n|$)", re.IGNORECASE)


def fits(path: Path) -> bool:
    """Whether a folder or zip holds E4 files, or a file is one."""
    name = path.name.lower()
    if path.is_file() and name in (*ROWS, BEATS, PRESSES):
        first = path if name != PRESSES else path.parent / "ACC.csv"
        return _begins(first, BEGUN if name == BEATS else NUMBERS)
    if not (path.is_dir() or path.suffix.lower() == ".zip"):
        return False
    names = names_in(path)
    if "acc.csv" not in names or len(names & {*ROWS, BEATS, PRESSES}) < 2:
        return False
    return not path.is_dir() or not _begins(Archive(path, {"acc.csv"}).where("acc.csv"), NAMED)


def _begins(file: Path, pattern: re.Pattern[bytes]) -> bool:
    first = beginning(file).removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    return pattern.match(first) is not None


def read(path: Path) -> Iterator[Sensed]:
    """The streams of a session: `acc`, `bvp`, `eda`, `temp`, `hr`, `ibi`, as far as they are there.

    Raises:
        DataError: a file is not laid out as E4 connect does.
    """
    whole = path.is_dir() or path.suffix.lower() == ".zip"
    archive = Archive(path) if whole else Archive(path.parent, {path.name.lower()})
    folder = path if whole else path.parent
    off: list[str] = []
    found: list[Sensed] = []
    for name in sorted({*archive} & {*ROWS, BEATS}):
        where = archive.where(name)
        cells, notes = _cells(where, archive[name], 2 if name == BEATS else len(ROWS[name][0]))
        if len(cells) < (3 if name == BEATS else 4):  # the sensor was off
            off.append(name)
            continue
        sensed = _beats(where, cells, folder) if name == BEATS else _rows(where, name, cells, folder)
        found.append(replace(sensed, notes=(*sensed.notes, *notes)))
    if off and found:
        first = found[0]
        found[0] = replace(first, notes=(*first.notes, f"no two readings, left out: {', '.join(off)}"))
    yield from found


def _rows(where: Path, name: str, cells: list[list[float]], folder: Path) -> Sensed:
    columns, unit = ROWS[name]
    starts, rates = cells[0], cells[1]
    if any(len(row) != len(columns) for row in cells):
        row = next(number for number, row in enumerate(cells, 1) if len(row) != len(columns))
        raise DataError(f"{where}: line {row}: {len(cells[row - 1])} cells, expected {len(columns)}")
    if len({*starts}) > 1 or len({*rates}) > 1 or not 0 < rates[0] <= 1e4:
        raise DataError(f"{where}: starts {starts}, rates {rates}, expected one of each, the rate above 0")
    values = np.array(cells[2:])
    notes = [_clock(starts[0])]
    if name == "acc.csv":
        values = values / PER_G
        notes.append(f"counts divided by {PER_G:g}: g")
    times = starts[0] + np.arange(len(values)) / rates[0]
    units = dict.fromkeys(columns, unit) if unit else {}
    axes = columns if name == "acc.csv" else ()
    return Sensed(
        where.stem.lower(), times, values, columns, units, axes, f"E4 {folder.name}", notes=tuple(notes)
    )


def _beats(where: Path, cells: list[list[float]], folder: Path) -> Sensed:
    rows = np.array([row for row in cells[1:] if len(row) == 2])
    if len(rows) < len(cells) - 1:
        raise DataError(f"{where}: a row without two cells, expected seconds since the start and an interval")
    notes = (_clock(cells[0][0]), "a reading for each beat that was found, at its own time")
    times = cells[0][0] + rows[:, 0]
    return Sensed("ibi", times, rows[:, 1:], ("ibi",), {"ibi": "s"}, clock=f"E4 {folder.name}", notes=notes)


def _clock(start_s: float) -> str:
    start = np.datetime64(round(start_s), "s")
    return f"starts {start} UTC, by the clock of the phone or computer that the E4 was set by"


def _cells(where: Path, content: bytes, columns: int) -> tuple[list[list[float]], list[str]]:
    """The rows of a file as numbers; a last one that was cut off is left out, which the second list says.

    A row's place is its time: none may be missing.
    """
    text = content.decode("utf-8-sig", errors="replace")
    lines = text.rstrip().splitlines()
    notes = []
    numbered = [(number, line.split(",")) for number, line in enumerate(lines, 1)]
    found = doubt(text, numbered[HEAD:])
    why = found.why if found else ""
    if not text.endswith("\n") and len(lines) > HEAD and len(numbered[-1][1]) < columns:
        why = f"it has {len(numbered[-1][1])} of {columns} cells"
    if why:
        notes = [f"line {len(lines)} may be cut off ({why}): left out, and what was to follow is missing"]
        del lines[-1]
    rows = []
    for number, line in enumerate(lines, 1):
        cells = [cell for cell in line.split(",") if cell.strip() and cell.strip().upper() != "IBI"]
        try:
            row = [float(cell) for cell in cells]
        except ValueError as error:
            raise DataError(f"{where}: line {number}: {line[:80]!r}, expected numbers") from error
        if not np.isfinite(row).all():
            raise DataError(f"{where}: line {number}: {line[:80]!r}, expected finite numbers")
        if not row:
            raise DataError(f"{where}: line {number} is empty, expected a reading in each")
        rows.append(row)
    return rows, notes


EMPATICA = Format("empatica-e4", fits, read)
