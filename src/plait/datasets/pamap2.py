"""PAMAP2: everyday activities by nine people with IMUs on the wrist, the chest and the ankle.

`PAMAP2_Dataset` as it is unpacked: `Protocol/subject101.dat` to `subject109.dat`, and `Optional/` of five of
them. A line has 54 numbers between blanks, a hundred lines a second: time (s), activity, heart rate, and 17
of each IMU (hand, chest, ankle): temperature, acceleration to 16 g and once more to 6 g (m/s2), turning
(rad/s), magnetic field (uT), orientation. Of these the acceleration to 16 g and the turning are read: the
other accelerometer saturates in running and is not calibrated to the first, as the authors say, and the
orientation is invalid. Lost packets are NaN: up to `GAP_S` is bridged, longer gaps are none of that IMU.

Activity 0, what lies between activities, is time without a label. The protocol's twelve activities are
`PAMAP2`; with the optional recordings and their six more it is `PAMAP2_ALL`. Not everybody did everything;
109 did nothing of the protocol but rope jumping.

Licence: CC BY 4.0 (UCI Machine Learning Repository, doi:10.24432/C5NW2H): name the authors and cite.
"""

import re
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
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
    long_net,
    number_table,
    recording,
    spans_of,
    windowed,
)
from plait.errors import DataError
from plait.recordings.sensors import SensorLog
from plait.store import read_bytes
from plait.types import Modality, Recording, Windows

PROTOCOL = {
    1: "lying",
    2: "sitting",
    3: "standing",
    4: "walking",
    5: "running",
    6: "cycling",
    7: "Nordic walking",
    12: "ascending stairs",
    13: "descending stairs",
    16: "vacuum cleaning",
    17: "ironing",
    24: "rope jumping",
}
OPTIONAL = {
    9: "watching TV",
    10: "computer work",
    11: "car driving",
    18: "folding laundry",
    19: "house cleaning",
    20: "playing soccer",
}
ALL = dict(sorted({**PROTOCOL, **OPTIONAL}.items()))
PLACES = {"hand": 3, "chest": 20, "ankle": 37}  # the first of its 17 columns
ACCELERATION, TURNING = 1, 7  # the first of three columns, from there
NAMES = tuple(f"{kind}_{axis}" for kind in ("acc", "gyro") for axis in "xyz")
WIDTH, RATE_HZ, CLIP_HZ = 54, 100.0, 50.0
FASTEST = 35.0  # rad/s, 2000 degrees/s: no gyroscope of these can read more, and degrees a second soon do
WINDOWS = Windows(5.0)
NAMED = re.compile(r"subject10[1-9]\.dat")
FOLDERS = {"Protocol": PROTOCOL, "Optional": ALL}


def whole(data: Path, optional: bool = False) -> Iterator[Recording]:
    """The recordings in `data` with their labels: a person's protocol, `101`, then what they did besides.

    Args:
        data: `PAMAP2_Dataset`, or a folder that holds it.
        optional: with `Optional/`, recordings called such as `101-optional`.

    Raises:
        DataError: no file of PAMAP2, one twice, or one that is not what its name says.
    """
    if not data.is_dir():
        raise DataError(f"{data}: no such folder, expected PAMAP2_Dataset")
    wanted = ["Protocol", "Optional"] if optional else ["Protocol"]
    found: dict[str, Path] = {}
    for file in sorted(data.rglob("*.dat")):
        folder, person = file.parent.name, file.stem.removeprefix("subject")
        if not NAMED.fullmatch(file.name):
            raise DataError(f"{file}: a file of another name, expected subject101.dat to subject109.dat")
        if folder not in FOLDERS:
            raise DataError(
                f"{file}: expected it in a folder Protocol or Optional, which says its activities"
            )
        name = person if folder == "Protocol" else f"{person}-optional"
        if name in found:
            raise DataError(f"{file}: the same file as {found[name]}, expected it once")
        found[name] = file
    if not any(file.parent.name == "Protocol" for file in found.values()):
        raise DataError(f"{data}: no Protocol/subject101.dat or the like, expected PAMAP2_Dataset")
    for name, file in sorted(found.items()):
        if file.parent.name in wanted:
            yield recording(read, file, name, name.partition("-")[0])


def recordings(data: Path, windows: Windows = WINDOWS, optional: bool = False) -> Iterator[Recording]:
    """The same, cut into `windows`.

    Raises:
        DataError: as `whole`.
    """
    return windowed(whole(data, optional), windows)


def read(file: Path) -> Opened:
    """A file's IMUs, times from its first line on, and its labels.

    Raises:
        DataError: it cannot be read, has other columns, units, a rate or an activity than PAMAP2's.
    """
    try:
        text = read_bytes(file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    columns = [0, 1]
    for first in PLACES.values():
        columns += [first + kind + axis for kind in (ACCELERATION, TURNING) for axis in range(3)]
    table = number_table(text, str(file), WIDTH, columns)
    rows = in_order(table[:, 0], str(file), RATE_HZ)
    times_s = table[rows, 0] - table[rows[0], 0]
    logs: dict[str, SensorLog] = {}
    for number, place in enumerate(PLACES):
        values = table[rows, 2 + 6 * number : 8 + 6 * number]
        where = f"{file}: {place}"
        check_gravity(values[:, :3], where, G, "m/s2")
        if len(turning := values[:, 3:][np.isfinite(values[:, 3:])]):
            high = float(np.quantile(np.abs(turning), 0.99))
            if high > FASTEST:
                raise DataError(f"{where}: turns by {high:.4g} and more, expected rad/s, not degrees")
        if np.isfinite(values).all(axis=1).any():
            logs[place] = SensorLog(times_s, values.astype(np.float32), NAMES, GAP_S)
    if not logs:
        raise DataError(f"{file}: no IMU has a reading, expected some of {', '.join(PLACES)}")
    labels = spans_of(table[:, 1], rows, times_s, FOLDERS[file.parent.name], str(file))
    return Opened(logs, labels, sha256(text).hexdigest())


def imu(readings: Float[np.ndarray, "samples 6"]) -> Float[Tensor, "samples 6"]:
    """Acceleration in g, turning in rad/s."""
    return torch.from_numpy(readings).float() / torch.tensor([G] * 3 + [1.0] * 3)


def pamap2(windows: Windows = WINDOWS, optional: bool = False) -> Windowed:
    """PAMAP2 in `windows` within its labels, at 50 Hz; with the `optional` recordings or without."""
    samples = round(windows.seconds * CLIP_HZ)
    return Windowed(
        name="PAMAP2, all activities" if optional else "PAMAP2",
        activities=tuple((ALL if optional else PROTOCOL).values()),
        modalities=tuple(Modality(place, (place,), samples, CLIP_HZ, imu, long_net) for place in PLACES),
        recordings=partial(recordings, windows=windows, optional=optional),
        cite="A. Reiss, D. Stricker. Introducing a New Benchmarked Dataset for Activity Monitoring. "
        "ISWC 2012.",
        windows=windows,
        whole=partial(whole, optional=optional),
        metrics=(
            Metric("accuracy", "plait.analysis.benchmark:accuracy"),
            Metric("macro F1", "plait.analysis.benchmark:macro_f1"),
            Metric("weighted F1", "plait.analysis.benchmark:weighted_f1"),
        ),
        published=() if optional else PUBLISHED,
    )


_SOURCE = (
    "Jordao et al., arXiv 1806.05226 (table of the authors' repository): leave one person out, 5 s windows"
)
PUBLISHED = tuple(
    Published(model, {"accuracy": accuracy}, _SOURCE)
    for model, accuracy in (
        ("Kwapisz et al.", 0.7127),
        ("Catal et al.", 0.8525),
        ("Kim et al.", 0.8157),
        ("Chen and Xue", 0.8306),
        ("Ha et al.", 0.7379),
        ("Ha and Choi", 0.7421),
    )
)
PAMAP2 = pamap2()
PAMAP2_ALL = pamap2(optional=True)
