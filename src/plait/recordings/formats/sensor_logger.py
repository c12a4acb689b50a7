"""The app Sensor Logger (iOS, Android, Apple Watch, WearOS): the zip of a recording, or its unpacked folder.

A CSV of each sensor with `time` (nanoseconds since 1970, UTC, by the phone's clock), `seconds_elapsed` and
its readings; `Metadata.csv` says the platform and whether units and frames were standardised. What the
units are: `UNITS.md` and `CROSSPLATFORM.md` of github.com/tszheichoi/awesome-sensor-logger. Axes stand in
the files as `z, y, x`.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from plait.errors import DataError
from plait.recordings.formats.archive import Archive, names_in
from plait.recordings.formats.sensed import Format, Sensed, beginning
from plait.recordings.tables import Table, numbers, texts

XYZ = ("x", "y", "z")
ROTATION = tuple(f"rotationRate{axis}" for axis in "XYZ")
MOTION = tuple(f"acceleration{axis}" for axis in "XYZ")
GRAVITY = tuple(f"gravity{axis}" for axis in "XYZ")
QUATERNION = tuple(f"quaternion{axis}" for axis in "WXYZ")
BY_SETTING = "g or m/s^2"  # by whether units were standardised, and by the platform
WORN = {
    **dict.fromkeys(ROTATION, "rad/s"),
    **dict.fromkeys((*GRAVITY, *MOTION), BY_SETTING),
    **dict.fromkeys(QUATERNION, "1"),
    **dict.fromkeys(("pitch", "roll", "yaw"), "rad"),
}
SENSORS: dict[str, Mapping[str, str]] = {  # columns in the order in which they are taken, and their units
    "accelerometer": dict.fromkeys(XYZ, "m/s^2"),
    "accelerometeruncalibrated": dict.fromkeys(XYZ, BY_SETTING),
    "totalacceleration": dict.fromkeys(XYZ, "m/s^2"),
    "gravity": dict.fromkeys(XYZ, "m/s^2"),
    "gyroscope": dict.fromkeys(XYZ, "rad/s"),
    "gyroscopeuncalibrated": dict.fromkeys(XYZ, "rad/s"),
    "magnetometer": dict.fromkeys(XYZ, "uT"),
    "magnetometeruncalibrated": dict.fromkeys(XYZ, "uT"),
    "orientation": {
        **dict.fromkeys(("qw", "qx", "qy", "qz"), "1"),
        **dict.fromkeys(("roll", "pitch", "yaw"), "rad"),
    },
    "barometer": {"pressure": "hPa", "relativeAltitude": "m"},
    "light": {"lux": "lx"},
    "heartrate": {"bpm": "1/min"},
    "wristmotion": WORN,
    "headphone": {**WORN, **dict.fromkeys(GRAVITY, "m/s^2")},
    "watchmagnetometer": dict.fromkeys(XYZ, "uT"),
}
ACCELEROMETERS = ("accelerometer", "accelerometeruncalibrated", "totalacceleration")
FIRST = re.compile(r"\s*\"?time\"?,\"?seconds_elapsed\"?,")
ABOUT = "metadata.csv"
STANDARD_GRAVITY = 9.80665  # of the app, m/s2
TRUE = ("1", "true", "yes", "on")


def fits(path: Path) -> bool:
    """Whether a zip or a folder holds what the app writes, or a file is one of its tables."""
    if path.is_file() and path.suffix.lower() == ".csv":
        head = beginning(path).decode("utf-8-sig", errors="replace")
        return path.stem.lower() in SENSORS and FIRST.match(head) is not None
    if not path.is_dir() and path.suffix.lower() != ".zip":
        return False
    names = names_in(path)
    return ABOUT in names and any(f"{sensor}.csv" in names for sensor in SENSORS)


def read(path: Path) -> Iterator[Sensed]:
    """The streams of the motion sensors, heart rate, pressure and light, called like their files.

    Raises:
        DataError: a table lacks its times or its columns, or holds something else than numbers.
    """
    whole = path.is_dir() or path.suffix.lower() == ".zip"
    archive = Archive(path) if whole else Archive(path.parent, {path.name.lower(), ABOUT})
    about = _about(archive)
    sensors = [name.removesuffix(".csv") for name in sorted(archive) if name.removesuffix(".csv") in SENSORS]
    rest = [name for name in sorted(archive) if name.removesuffix(".csv") not in SENSORS and name != ABOUT]
    tables = {sensor: archive.table(f"{sensor}.csv") for sensor in sensors}
    if whole:  # a sensor that was switched on and measured nothing
        rest += [f"{sensor}.csv" for sensor, table in tables.items() if len(table.frame) < 2]
        tables = {sensor: table for sensor, table in tables.items() if len(table.frame) > 1}
    for number, (sensor, table) in enumerate(tables.items()):
        left_out = f"left out: {', '.join(rest)}" if rest and not number else ""
        yield _sensor(
            sensor, table, about, f"Sensor Logger {path.name if whole else path.parent.name}", left_out
        )


def _sensor(sensor: str, table: Table, about: Mapping[str, str], clock: str, left_out: str) -> Sensed:
    columns = [name for name in SENSORS[sensor] if name in table.frame.columns]
    if not columns or "time" not in table.frame.columns:
        expected = ", ".join(("time", *SENSORS[sensor]))
        raise DataError(f"{table.file}: columns {', '.join(table.frame.columns[:20])}, expected {expected}")
    times = numbers(table, "time") / 1e9
    values = np.stack([numbers(table, name) for name in columns], axis=1)
    notes = ["times: since 1970 (UTC) by the phone's clock" + _zone(about)]
    unit, how = _unit(sensor, about, _length(sensor, columns, values))
    units = {name: unit if SENSORS[sensor][name] == BY_SETTING else SENSORS[sensor][name] for name in columns}
    if BY_SETTING in (SENSORS[sensor][name] for name in columns):
        notes.append(f"acceleration is taken to be in {unit}: {how}")
    axes: tuple[str, ...] = ()
    if sensor in ACCELEROMETERS and {*XYZ} <= {*columns}:
        axes = XYZ
    elif {*MOTION} <= {*columns}:
        axes = MOTION
    if axes and sensor != "totalacceleration" and "uncalibrated" not in sensor:
        notes.append("acceleration without gravity")
    if axes and not _standardised(about) and about.get("platform", "").lower() == "ios":
        notes.append("iOS, not standardised: signs of acceleration and gravity are opposite to Android's")
    notes += [left_out] if left_out else []
    return Sensed(sensor, times, values, tuple(columns), units, axes, clock, notes=(*notes, *table.notes))


def _about(archive: Archive) -> dict[str, str]:
    """What `Metadata.csv` says, by names in lower case."""
    if ABOUT not in archive:
        return {}
    table = archive.table(ABOUT)
    if not len(table.frame):
        return {}
    return {name.strip().lower(): texts(table, name)[0] for name in table.frame.columns}


def _standardised(about: Mapping[str, str]) -> bool:
    return about.get("standardisation", "").lower() in TRUE


def _length(sensor: str, columns: list[str], values: np.ndarray) -> float:
    """How long gravity is by a table whose unit is left to a setting; NaN where it does not tell."""
    axes = {"wristmotion": GRAVITY, "accelerometeruncalibrated": XYZ}.get(sensor, ())
    if not axes or not {*axes} <= {*columns}:
        return np.nan
    lengths = np.linalg.norm(values[:, [columns.index(axis) for axis in axes]], axis=1)
    return float(np.median(lengths[np.isfinite(lengths)])) if np.isfinite(lengths).any() else np.nan


def _unit(sensor: str, about: Mapping[str, str], length: float) -> tuple[str, str]:
    """The unit of acceleration where a setting decides, and why; what is measured goes first."""
    unit, how = "g", f"a guess, for {ABOUT} does not say the platform"
    if _standardised(about):
        unit, how = "m/s^2", "units were standardised"
    elif about.get("platform", "").lower() == "android":
        unit, how = (
            "m/s^2",
            "Android" if sensor in ACCELEROMETERS else "a guess, for an Android's watch",
        )
    elif about.get("platform", "").lower() == "ios":
        unit, how = "g", "iOS, and units were not standardised"
    for measured, gravity in (("g", 1.0), ("m/s^2", STANDARD_GRAVITY)):
        if 0.7 < length / gravity < 1.4:
            but = f"though {ABOUT} would have it in {unit} ({how})"
            return measured, f"gravity is {length:.3g} there, {how if measured == unit else but}"
    return unit, how


def _zone(about: Mapping[str, str]) -> str:
    zone = about.get("recording timezone", "")
    return f"; recorded in {zone}" if zone else ""


SENSOR_LOGGER = Format("sensor-logger", fits, read)
