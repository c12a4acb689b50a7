"""Shimmer: the tables that Consensys exports, one of each sensor or several sensors side by side.

A line `sep=`, the names of the columns (`DEVICE_Accel_LN_X_CAL`), a line of their units, readings. Times
are `DEVICE_Timestamp_Unix_CAL` (milliseconds since 1970, by the computer's clock when the sensor was
docked), after synchronisation `DEVICE_TimestampSync_Unix_CAL`, or either as a date (`FormattedUnix`,
without a zone).
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from plait.errors import DataError
from plait.recordings.clocks import seconds_of
from plait.recordings.formats.sensed import Format, Sensed, beginning
from plait.recordings.tables import Table, numbers, read_table, texts

STAMP = re.compile(r"(?P<device>.+?)_(?P<kind>Timestamp(?:Sync)?)_(?P<form>Unix|FormattedUnix)_CAL")
HEADED = re.compile(r"_Timestamp(Sync)?_(Formatted)?Unix_CAL\"?(?=[\t\r\n,;|]|$)")
ACCELERATION = ("Accel_LN_{}", "Accel_WR_{}", "Accel_{}")  # low noise, wide range; of an older one
PREFERRED = (("TimestampSync", "Unix"), ("Timestamp", "Unix"), ("TimestampSync", "FormattedUnix"))
COUNTERS = re.compile(r"(System_)?Timestamp|Event_Marker|Packet", re.IGNORECASE)


def fits(path: Path) -> bool:
    """Whether a text file has columns of a Shimmer's times."""
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return False
    first = beginning(path).decode("utf-8-sig", errors="replace")
    return HEADED.search(first) is not None


def read(path: Path) -> Iterator[Sensed]:
    """One stream of each device, called like it, with its calibrated columns.

    Raises:
        DataError: it is no table, or a device has no calibrated readings.
    """
    table = read_table(path, logger=True)
    stamps: dict[str, dict[tuple[str, str], str]] = {}
    for name in table.frame.columns:
        if match := STAMP.fullmatch(name):
            stamps.setdefault(match["device"], {})[match["kind"], match["form"]] = name
    if not stamps:
        raise DataError(f"{path}: no column of a Shimmer's times, expected DEVICE_Timestamp_Unix_CAL")
    columns: dict[str, list[str]] = {device: [] for device in stamps}
    for name in table.frame.columns:
        if devices := [device for device in stamps if name.startswith(f"{device}_")]:
            columns[max(devices, key=len)].append(name)  # what is of `Leg_R` is not of `Leg`
    for device, found in stamps.items():
        choice = next((pair for pair in PREFERRED if pair in found), next(iter(found)))
        yield _device(table, device, columns[device], found[choice], choice)


def _device(table: Table, device: str, columns: list[str], stamp: str, choice: tuple[str, str]) -> Sensed:
    cells = texts(table, stamp)
    table = table.take((cells != "").to_numpy())  # beside a longer sensor, the others are padding
    if not len(table.frame):
        raise DataError(f"{table.file}: no times in column {stamp!r}, expected some")
    written = choice[1] == "FormattedUnix"
    said = table.units.get(stamp, "").strip("* ")
    if not written and said not in ("", "ms"):
        raise DataError(f"{table.file}: times in {stamp!r} in {said!r}, expected ms")
    table, times = seconds_of(table, stamp, "iso" if written else "ms")
    own = [name for name in columns if name.endswith("_CAL")]
    short = {name: name.removeprefix(f"{device}_").removesuffix("_CAL") for name in own}
    readings = {name: label for name, label in short.items() if not COUNTERS.match(label)}
    if not readings:
        raise DataError(f"{table.file}: no calibrated column of {device}, expected {device}_..._CAL")
    values = np.stack([numbers(table, name) for name in readings], axis=1)
    labels = tuple(readings.values())
    units = {
        label: unit for name, label in readings.items() if (unit := table.units.get(name, "").strip("* "))
    }
    axes = next((axes for form in ACCELERATION if {*(axes := _axes(form))} <= {*labels}), ())
    stated = "as a date, taken as UTC: the file says no zone" if written else "milliseconds since 1970"
    notes = [
        f"times in {stamp!r}, {stated}; the computer's clock, carried on by the sensor's own crystal "
        "from when it was docked",
        *(f"acceleration: {', '.join(axes)}" for _ in axes[:1]),
        *table.notes,
    ]
    if choice[0] == "TimestampSync":
        notes.append("times are those that Consensys has synchronised among its sensors")
    raw = [name for name in columns if name.endswith("_RAW")]
    if raw:
        notes.append(f"uncalibrated, left out: {', '.join(raw)}")
    clock = f"Shimmer {table.file.parent.name}" if choice[0] == "TimestampSync" else ""
    return Sensed(device, times, values, labels, units, axes, clock, notes=tuple(notes))


def _axes(form: str) -> tuple[str, ...]:
    return tuple(form.format(axis) for axis in "XYZ")


SHIMMER = Format("shimmer", fits, read)
