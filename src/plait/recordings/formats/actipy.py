"""Axivity's CWA and ActiGraph's GT3X, read by actipy (extra `actipy`), which needs Java.

Values are as the device stored them: nothing is filtered, calibrated, resampled, or taken for not worn.
Acceleration in g; a gyroscope (AX6) in degrees a second. Times are the device's own clock, set by a
computer, without a zone.
"""

import contextlib
import io
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from plait.errors import DataError, one_line
from plait.recordings.formats.archive import Archive
from plait.recordings.formats.sensed import Format, Sensed, beginning
from plait.store import unechoed

UNITS = {
    **dict.fromkeys(("x", "y", "z"), "g"),
    **dict.fromkeys(("gyro_x", "gyro_y", "gyro_z"), "deg/s"),
    "temperature": "degC",
    "light": "lx",
}
SLOW = ("temperature", "light")  # once in a block of samples
NAMES = {**{axis: f"acc_{axis}" for axis in "xyz"}, **{f"gyro_{axis}": f"gyr_{axis}" for axis in "xyz"}}
CONVERTER = {
    ".cwa": "OMGUI (Axivity) exports it as CSV",
    ".gt3x": "ActiLife (ActiGraph) exports its raw data as CSV",
}


def fits_axivity(path: Path) -> bool:
    """Whether a file is called and begins as CWA does."""
    return path.suffix.lower() == ".cwa" and beginning(path, 2) in (b"MD", b"AX")


def fits_actigraph(path: Path) -> bool:
    """Whether a file is called and begins as GT3X does, which is a zip."""
    return path.suffix.lower() == ".gt3x" and beginning(path, 2) == b"PK"


def read(path: Path) -> Iterator[Sensed]:
    """One stream of all that the device measured at its rate, called like the file.

    Raises:
        DataError: actipy or Java are not installed, or the file is damaged or holds nothing.
    """
    if not (fits_axivity(path) or fits_actigraph(path)):
        raise DataError(f"{path}: neither called nor begun as CWA or GT3X are, expected a .cwa or .gt3x")
    way_out = CONVERTER[path.suffix.lower()]
    try:
        from actipy import read_device
    except ImportError as error:
        raise DataError(f"{path}: read by actipy: pip install 'plait[actipy]'; or {way_out}") from error
    if shutil.which("java") is None:
        raise DataError(
            f"{path}: read by actipy, which needs Java: install a Java runtime (8 or later); or {way_out}"
        )
    if path.suffix.lower() == ".gt3x":
        Archive(path)  # what it says of its sizes is looked at
    said = io.StringIO()
    try:
        with unechoed(), contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pandas says to actipy
            frame, about = read_device(
                os.fspath(path.absolute()),
                lowpass_hz=None,
                calibrate_gravity=False,
                detect_nonwear=False,
                resample_hz=None,
                verbose=False,
            )
    except (Exception, MemoryError) as error:  # of damaged files, anything
        ended = isinstance(error, subprocess.CalledProcessError)
        why = "its reader found it damaged" if ended else one_line(error)
        raise DataError(f"{path}: cannot be read by actipy, expected a whole file: {why}") from error
    if len(frame) < 2:
        raise DataError(f"{path}: {len(frame)} readings, expected some")
    times = frame.index.to_numpy().astype("datetime64[ns]").astype(np.int64) / 1e9
    columns = [name for name in UNITS if name in frame.columns and name not in SLOW]
    values = np.stack([frame[name].to_numpy(np.float32) for name in columns], axis=1)
    names = tuple(NAMES[name] for name in columns)
    start = np.datetime64(round(float(times[0])), "s")
    notes = [
        f"{about['Device']} {about['DeviceID']} at {about['SampleRate']:g} Hz: values as stored, neither "
        "filtered nor calibrated",
        f"starts {start} by the device's clock, which says no zone: taken as UTC; times in whole ms",
    ]
    if about["ReadErrors"]:
        notes.append(f"{about['ReadErrors']} blocks could not be read, or their times went back: left out")
    if left := [name for name in SLOW if name in frame.columns]:
        notes.append(f"left out: {', '.join(left)}")
    units = {NAMES[name]: UNITS[name] for name in columns}
    yield Sensed("", times, values, names, units, names[:3], notes=tuple(notes))


AXIVITY = Format("axivity", fits_axivity, read)
ACTIGRAPH = Format("actigraph", fits_actigraph, read)
