"""Opportunity: morning routines of four people in a kitchen, with sensors all over their bodies.

`OpportunityUCIDataset/dataset/` as it is unpacked: `S1-ADL1.dat` to `S4-ADL5.dat` and `S1-Drill.dat` to
`S4-Drill.dat`. A line has 250 numbers between blanks, thirty lines a second: milliseconds, 242 of sensors and
seven labels. Read are the challenge's 113 columns, those of the body: twelve accelerometers (mg), five IMUs
(acceleration in mg, turning, magnetic field) and two shoes of 16 columns each; not the IMUs' quaternions, nor
what objects and rooms felt. `PLACES` says which columns lie where. The challenge's list of columns gives
turning as the original value times 1000, in an unknown unit (IMUs) or in mm/s (shoes). It is taken for
thousandths of rad/s, a guess that both makers' manuals bear out: Xsens' sensors, calibrated, give m/s2 (from
which the mg were made), rad/s, and the magnetic field in shares of the earth's; InterSense's library gives
rad/s. IMUs and accelerometers in another unit than mg are refused; the shoes' is not looked at.

Lost packets are NaN: up to `GAP_S` is bridged, in longer gaps the sensor is missing. The challenge's own
baselines interpolate across all of them, so their clips are more than these. The older files of the challenge
itself (116 columns, labels such as 506616) are refused.

`OPPORTUNITY` are the 17 gestures of `ML_Both_Arms` (column 250) and null, 18 classes; `OPPORTUNITY_GESTURES`
the gestures alone; `LOCOMOTION` the four postures (column 244) and null. Windows are 0.8 s (24 samples) every
0.4 s, called after what fills more than half of them, and none where nothing does; DeepConvLSTM's authors
call them after their last sample and leave none out. All metrics are of such windows. Published ones are of
samples where `source` says so.

The challenge trains on all runs of S1 and on Drill and ADL1 to ADL3 of S2 and S3, and tests ADL4 and ADL5 of
these: `protocol.kind = "fixed-sessions"`; sessions are called as files are, `S2-ADL4`. S4 takes no part.

Licence: CC BY 4.0 (UCI Machine Learning Repository, doi:10.24432/C5M027): name the authors and cite.
"""

import re
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plait.datasets.published import Metric, Published
from plait.datasets.windowed import Windowed
from plait.datasets.worn import (
    GAP_S,
    OFF,
    Opened,
    check_gravity,
    in_order,
    number_table,
    recording,
    short_net,
    spans_of,
    windowed,
)
from plait.errors import DataError
from plait.recordings.between import Between
from plait.recordings.sensors import SensorLog
from plait.store import read_bytes
from plait.types import Modality, Recording, Windows

NULL = "null"
GESTURES = {
    406516: "open door 1",
    406517: "open door 2",
    404516: "close door 1",
    404517: "close door 2",
    406520: "open fridge",
    404520: "close fridge",
    406505: "open dishwasher",
    404505: "close dishwasher",
    406519: "open drawer 1",
    404519: "close drawer 1",
    406511: "open drawer 2",
    404511: "close drawer 2",
    406508: "open drawer 3",
    404508: "close drawer 3",
    408512: "clean table",
    407521: "drink from cup",
    405506: "toggle switch",
}
POSTURES = {1: "stand", 2: "walk", 4: "sit", 5: "lie"}
Track = Literal["gestures", "locomotion"]
LABELS = {"gestures": (249, GESTURES), "locomotion": (243, POSTURES)}  # column from 0 on, and its codes


class Place(NamedTuple):
    """Which columns a sensor has, from 0 on, what they are called, and by what each is divided."""

    columns: tuple[int, ...]
    names: tuple[str, ...]
    scale: tuple[float, ...]


def _axes(*kinds: str) -> tuple[str, ...]:
    return tuple(f"{kind}_{axis}" for kind in kinds for axis in "xyz")


def _accelerometer(first: int) -> Place:
    return Place(tuple(range(first, first + 3)), _axes("acc"), (1000.0,) * 3)


def _imu(first: int) -> Place:
    return Place(tuple(range(first, first + 9)), _axes("acc", "gyro", "mag"), (1000.0,) * 9)


ANGLES = (*_axes("angle"), "compass")


def _shoe(first: int) -> Place:
    names = (*_axes("angle", "acc_room", "acc", "gyro", "gyro_room"), "compass")
    return Place(tuple(range(first, first + 16)), names, (180.0, *(180.0,) * 2, *(1000.0,) * 12, 180.0))


IMUS = {
    "back": 37,
    "right-upper-arm": 50,
    "right-lower-arm": 63,
    "left-upper-arm": 76,
    "left-lower-arm": 89,
}
SHOES = {"left-shoe": 102, "right-shoe": 118}
ACCELEROMETERS = {
    "acc-right-knee-above": 1,
    "acc-hip": 4,
    "acc-left-upper-arm-above": 7,
    "acc-right-upper-arm-below": 10,
    "acc-left-hand": 13,
    "acc-back": 16,
    "acc-right-knee-below": 19,
    "acc-right-wrist": 22,
    "acc-right-upper-arm-above": 25,
    "acc-left-upper-arm-below": 28,
    "acc-left-wrist": 31,
    "acc-right-hand": 34,
}
PLACES = {
    **{name: _imu(first) for name, first in IMUS.items()},
    **{name: _shoe(first) for name, first in SHOES.items()},
    **{name: _accelerometer(first) for name, first in ACCELEROMETERS.items()},
}
WIDTH, RATE_HZ = 250, 30.0
SAMPLES = 24
RUNS = ("ADL1", "ADL2", "ADL3", "ADL4", "ADL5", "Drill")
NAMED = re.compile(rf"S[1-4]-(?:{'|'.join(RUNS)})\.dat")


def whole(data: Path, track: Track = "gestures") -> Iterator[Recording]:
    """The runs in `data` with their labels: `S1-ADL1` and so on, each a session of its own.

    Args:
        data: the folder of the `.dat` files, or one that holds it.
        track: whose labels.

    Raises:
        DataError: no file of Opportunity, one twice, or one that is not what its name says.
    """
    if not data.is_dir():
        raise DataError(f"{data}: no such folder, expected OpportunityUCIDataset")
    found: dict[str, Path] = {}
    for file in sorted(data.rglob("*.dat")):
        if not NAMED.fullmatch(file.name):
            raise DataError(f"{file}: a file of another name, expected S1-{RUNS[0]}.dat to S4-{RUNS[-1]}.dat")
        if file.stem in found:
            raise DataError(f"{file}: the same file as {found[file.stem]}, expected it once")
        found[file.stem] = file
    if not found:
        raise DataError(f"{data}: no S1-ADL1.dat or the like, expected the folder dataset/ of Opportunity")
    for name, file in sorted(found.items()):
        yield recording(read_gestures if track == "gestures" else read_postures, file, name, name[:2])


def recordings(data: Path, windows: Windows, track: Track = "gestures") -> Iterator[Recording]:
    """The same, cut into `windows`.

    Raises:
        DataError: as `whole`.
    """
    return windowed(whole(data, track), windows)


def read_gestures(file: Path) -> Opened:
    """A run's sensors, times from its first line on, and its gestures.

    Raises:
        DataError: it cannot be read, has other columns, units, a rate or a label than Opportunity's.
    """
    return _read(file, "gestures")


def read_postures(file: Path) -> Opened:
    """The same with its postures for labels.

    Raises:
        DataError: as `read_gestures`.
    """
    return _read(file, "locomotion")


def _read(file: Path, track: Track) -> Opened:
    try:
        text = read_bytes(file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    label, names = LABELS[track]
    columns = [0, label, *(column for place in PLACES.values() for column in place.columns)]
    table = number_table(text, str(file), WIDTH, columns)
    rows = in_order(table[:, 0] / 1000, str(file), RATE_HZ)
    times_s = (table[rows, 0] - table[rows[0], 0]) / 1000
    logs: dict[str, SensorLog] = {}
    at = 2
    for name, place in PLACES.items():
        values = table[rows, at : at + len(place.columns)]
        at += len(place.columns)
        if name not in SHOES:  # small accelerometers are less exact, and g or m/s2 a hundred times off
            off = OFF if name in IMUS else 10.0
            check_gravity(values[:, :3], f"{file}: {name}", 1000.0, "mg", off)
        if np.isfinite(values).all(axis=1).any():
            between = _angles(place.names, values)
            logs[name] = SensorLog(times_s, values.astype(np.float32), place.names, GAP_S, between)
    if not logs:
        raise DataError(f"{file}: no sensor has a reading, expected some of {', '.join(PLACES)}")
    labels = spans_of(table[:, 1], rows, times_s, names, f"{file}: column {label + 1}")
    return Opened(logs, labels, sha256(text).hexdigest())


def _angles(names: tuple[str, ...], values: np.ndarray) -> Between:
    """The angles among columns, in degrees: from -180 where one is below zero, else from 0."""
    circular: list[tuple[int, float, float]] = []
    for column in (names.index(name) for name in names if name in ANGLES):
        if np.isnan(values[:, column]).all():
            continue
        lowest, highest = np.nanmin(values[:, column]), np.nanmax(values[:, column])
        low = -180.0 if lowest < 0 else 0.0
        if low <= lowest and highest <= low + 360.0:
            circular.append((column, low, low + 360.0))
    return Between(tuple(circular))


def scaled(
    readings: Float[np.ndarray, "samples channels"], scale: tuple[float, ...]
) -> Float[Tensor, "samples channels"]:
    """Acceleration in g, turning in rad/s, the magnetic field in its own unit, angles in half turns."""
    return torch.from_numpy(readings).float() / torch.tensor(scale)


def opportunity(track: Track = "gestures", null: bool = True, stride_s: float = 0.4) -> Windowed:
    """Opportunity in windows of 0.8 s, `stride_s` apart.

    Args:
        track: gestures or locomotion.
        null: with time without a label as an activity of its own, or without it.
        stride_s: from one window's start to the next one's.
    """
    mostly = 0.5 + 5e-7  # of two that share a window the longer one
    windows = Windows(
        SAMPLES / RATE_HZ, mostly, unlabelled=NULL if null else None, margins=null, stride_s=stride_s
    )
    f1 = {"macro F1": "macro_f1", "weighted F1": "weighted_f1"}
    metrics = [Metric(name, f"plait.analysis.benchmark:{use}") for name, use in f1.items()]
    if null:
        without = {"without": [NULL]}
        metrics += [
            Metric(f"{name} without null", f"plait.analysis.benchmark:{use}", without)
            for name, use in f1.items()
        ]
    return Windowed(
        name=f"Opportunity, {track}" + ("" if null else " without null"),
        activities=(*LABELS[track][1].values(), *([NULL] if null else [])),
        modalities=tuple(
            Modality(name, (name,), SAMPLES, RATE_HZ, partial(scaled, scale=place.scale), short_net)
            for name, place in PLACES.items()
        ),
        recordings=partial(recordings, windows=windows, track=track),
        cite="R. Chavarriaga, H. Sagha, A. Calatroni, S. T. Digumarti, G. Tröster, J. d. R. Millán, "
        "D. Roggen. The Opportunity challenge: A benchmark database for on-body sensor-based activity "
        "recognition. Pattern Recognition Letters 34(15), 2013.",
        windows=windows,
        whole=partial(whole, track=track),
        metrics=tuple(metrics),
        published=PUBLISHED if null and track == "gestures" else (),
    )


# N. Ahmad et al.: An Effective, Reliable, and Robust Framework for Human Activity Recognition Using Wearable
# Sensors, Table 2. It takes these from others' papers and says that ADL2 of S1 validates and all else trains.
# Its F-score is taken for the macro one: null, 75.44 % of its samples, said always is 0.65 weighted.
# The reader that b-LSTM-S's authors gave away (nhammerla/deepHAR) tests ADL3 and ADL4 of S2 and S3 instead.
_SOURCE = (
    "quoted by Ahmad et al., Table 2: the challenge's test runs, sample by sample, 79 channels, S4 trains too"
)
PUBLISHED = (
    Published("LSTM baseline", {"macro F1": 0.659}, _SOURCE),
    Published("DeepConvLSTM", {"macro F1": 0.672}, _SOURCE),
    Published("b-LSTM-S", {"macro F1": 0.684}, _SOURCE),
    Published("attention model", {"macro F1": 0.707}, _SOURCE),
    Published("Attend and Discriminate", {"macro F1": 0.746}, _SOURCE),
)
OPPORTUNITY = opportunity()
OPPORTUNITY_GESTURES = opportunity(null=False)
LOCOMOTION = opportunity("locomotion")
