"""Xsens MTw (Awinda): the text file that MT Manager exports of each sensor, `NAME-000_00B42D4F.txt`.

Lines that begin with `//`, then names (`PacketCounter`, `SampleTimeFine`, `Acc_X` in m/s2, `Gyr_X` in
rad/s, `Mag_X` in the manufacturer's unit, `Quat_q0`, ...), apart by tabs. An MTw has no times of its own:
the packet counter (16 bits, it wraps) counts samples, and `Update Rate` above the names says how many make
a second; exports since 2022 leave that out.
"""

import glob
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from plait.errors import DataError
from plait.recordings.formats.sensed import Format, Sensed, beginning
from plait.recordings.tables import numbers, read_table, texts

COUNTER, WRAP = "PacketCounter", 1 << 16
RATE = re.compile(r"Update Rate:\s*(\d+(?:\.\d+)?)\s*Hz", re.IGNORECASE)
FIRST = re.compile(rf"^{COUNTER}\t.*\n\s*(\d+)\t", re.M)
DEVICE = re.compile(r"-\d{3}_([0-9A-F]{8})$", re.IGNORECASE)
KINDS = {"Acc_": "m/s^2", "FreeAcc_": "m/s^2", "Gyr_": "rad/s", "Mag_": "a.u.", "Quat_": "1", "Mat[": "1"}
ANGLES = dict.fromkeys(("Roll", "Pitch", "Yaw"), "deg")
AXES = ("Acc_X", "Acc_Y", "Acc_Z")


def fits(path: Path) -> bool:
    """Whether a text file begins as MT Manager's exports do, with its lines above the names."""
    first = _head(path)
    return (
        path.suffix.lower() in (".txt", ".csv")
        and first.startswith("//")
        and re.search(rf"^{COUNTER}\t", first, re.M) is not None
    )


def read(path: Path) -> Iterator[Sensed]:
    """The one stream of a sensor's file, called like the sensor (`00B42D4F`) or else like the file.

    Raises:
        DataError: it is no such table, or has no readings.
    """
    table = read_table(path, logger=True)
    if COUNTER not in table.frame.columns:
        raise DataError(f"{path}: no column {COUNTER!r}, expected an export of MT Manager's")
    counts = numbers(table, COUNTER)
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts >= WRAP).any():
        raise DataError(f"{path}: a {COUNTER} that is none, expected 0 to {WRAP - 1} in every row")
    steps = np.mod(np.diff(counts), WRAP)
    if (steps == 0).any() or (steps > WRAP // 2).any():
        row = int(((steps == 0) | (steps > WRAP // 2)).argmax())
        raise DataError(f"{table.at(row + 1)}: {COUNTER} goes back or stands still, expected one that counts")
    device = DEVICE.search(path.stem)
    ticks = (_start(path, counts[0]) if device else counts[0]) + np.concatenate([[0.0], np.cumsum(steps)])
    known = [name for name in table.frame.columns if name.startswith(tuple(KINDS)) or name in ANGLES]
    found = {name: numbers(table, name) for name in known if (texts(table, name) != "").any()}
    readings = {name: values for name, values in found.items() if np.isfinite(values).any()}
    if not readings:
        raise DataError(f"{path}: no readings, expected columns such as {AXES[0]}, Gyr_X, Quat_q0")
    units = {
        name: ANGLES.get(name) or next(KINDS[kind] for kind in KINDS if name.startswith(kind))
        for name in readings
    }
    notes = [f"units by MT Manager's documents: {', '.join(sorted({*units.values()} - {'1'}))}"]
    lost = int((steps - 1).sum())
    if lost:
        notes.append(f"{lost} packets were lost, as {COUNTER} says: gaps of their length")
    if "SampleTimeFine" in table.frame.columns and (texts(table, "SampleTimeFine").str.contains(r"\d")).any():
        notes.append(f"SampleTimeFine is not read, which an MTw does not fill: is it one? times: {COUNTER}")
    rate = RATE.search(_head(path))
    rate_hz = float(rate[1]) if rate else 0.0
    if rate_hz > 0:
        ticks = ticks / rate_hz
        notes.append(
            f"times: {COUNTER} at its update rate of {rate_hz:g} Hz, one for all of a station's sensors"
        )
    axes = AXES if {*AXES} <= {*readings} else ()
    yield Sensed(
        device[1].lower() if device else "",
        ticks,
        np.stack([*readings.values()], axis=1),
        tuple(readings),
        units,
        axes,
        f"Xsens {path.parent.name} {DEVICE.sub('', path.stem)}" if device else "",
        ticks=not rate_hz,
        notes=(*table.notes, *notes),
    )


def _head(path: Path) -> str:
    text = beginning(path, 1 << 14).decode("utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").lstrip()


def _start(path: Path, first: float) -> float:
    """The first count, in the round of the counter in which the station's first file beside it begins."""
    pattern = f"{glob.escape(DEVICE.sub('', path.stem))}-[0-9][0-9][0-9]_*{path.suffix}"
    files = sorted(file for file in path.parent.glob(pattern) if DEVICE.search(file.stem))
    begun = next((float(match[1]) for file in files if (match := FIRST.search(_head(file)))), first)
    return begun + (first - begun + WRAP // 2) % WRAP - WRAP // 2


XSENS = Format("xsens-mtw", fits, read)
