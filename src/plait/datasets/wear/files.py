"""WEAR's files: where they lie, tables of raw readings, arrays of features, what split files say."""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from plait.clips.windows import placed
from plait.datasets.log import Log, columns_of, kept
from plait.encoders.glove import SignalNet
from plait.errors import DataError, PlaitWarning, one_line, quote
from plait.names import natural
from plait.store import read_json, regular
from plait.types import Readings, Recording, Span, Stream, Windows

NULL = "null"
ACTIVITIES = (
    "jogging",
    "jogging (rotating arms)",
    "jogging (skipping)",
    "jogging (sidesteps)",
    "jogging (butt-kicks)",
    "stretching (triceps)",
    "stretching (lunging)",
    "stretching (shoulders)",
    "stretching (hamstrings)",
    "stretching (lumbar rotation)",
    "push-ups",
    "push-ups (complex)",
    "sit-ups",
    "sit-ups (complex)",
    "burpees",
    "lunges",
    "lunges (complex)",
    "bench-dips",
)
PLACEMENTS = ("right_arm", "right_leg", "left_leg", "left_arm")
AXES = {name: tuple(f"{name}_acc_{axis}" for axis in "xyz") for name in PLACEMENTS}
CHANNELS = [channel for axes in AXES.values() for channel in axes]
RATE_HZ, SECOND = 50.0, 50  # of raw readings; how many of them a row of features has
GAP_S = 0.1  # two readings that lie farther apart have nothing between them
FEATURE_HZ, I3D = 2.0, 2048
WINDOWS = Windows(1.0, purity=0.51, unlabelled=NULL, margins=True, stride_s=0.5)
FILTER_S = 15.0
TILES = Windows(1.0, purity=0.51, unlabelled=NULL, margins=True)
VIDEOMAE_HZ, VIDEOMAE, MIDDLE = 30.0, 768, slice(8, 23)
CITE = (
    "M. Bock, H. Kuehne, K. Van Laerhoven, M. Moeller. WEAR: An Outdoor Sports Dataset for Wearable and "
    "Egocentric Activity Recognition. IMWUT 8(4), 2024. doi:10.1145/3699776."
)
SAME_PERSON = {"sbj_18": "sbj_0", "sbj_19": "sbj_14"}  # a second time; the challenge numbers otherwise
NAME = re.compile(r"(sbj_\d+)(_\d+)?")


def root_of(data: Path, inside: str) -> Path:
    """The folder with a folder `inside`.

    Raises:
        DataError: there is no such folder, or not exactly one `inside`.
    """
    if not data.is_dir():
        raise DataError(f"{data}: no such folder")
    if (data / inside).is_dir():
        return data
    found = sorted(path.parent for path in data.glob(f"*/{inside}"))
    if len(found) != 1:
        raise DataError(f"{data}: {len(found)} folders called {inside}, expected one")
    return found[0]


def folder_of(folder: Path, rate: str) -> Path:
    """A folder's subfolder for one rate, or itself where WEAR's earlier layout has none."""
    for place in (folder / rate, folder / rate.rpartition("/")[2]):
        if place.is_dir():
            return place
    return folder


def by_name(folder: Path, ending: str) -> dict[str, Path]:
    """A folder's files of people's, by name.

    Raises:
        DataError: a file is called otherwise than WEAR's.
    """
    found = {file.stem: file for file in sorted(folder.glob(f"[!.]*.{ending}"))}
    if odd := [file for name, file in found.items() if not NAME.fullmatch(name)]:
        raise DataError(f"{odd[0]}: a file of another name, expected one such as sbj_0.{ending}")
    return found


def split_files(root: Path) -> list[Path]:
    """The files of the splits, in order.

    Raises:
        DataError: there is none.
    """
    folder = folder_of(root / "annotations", "60fps")
    found = sorted(folder.glob("wear_split_*.json"), key=lambda file: natural(file.stem))
    if not found:
        raise DataError(f"{folder}: no annotations, expected wear_split_1.json and others")
    return found


def splits(data: Path) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Who trains and who is tested by each split file, by its name without ending: `wear_split_1` and so on.

    Raises:
        DataError: a file is no annotations of WEAR, or there is none.
    """
    root = root_of(data, "annotations")
    found = {}
    for file in split_files(root):
        parts: dict[str, list[str]] = {"Training": [], "Validation": []}
        for name, about in read_split(file).items():
            if about.get("subset") not in parts:
                got = quote(about.get("subset"))
                raise DataError(f"{file}: {name}: subset is {got}, expected Training or Validation")
            parts[about["subset"]].append(name)
        train, test = (tuple(sorted(names, key=natural)) for names in parts.values())
        found[file.stem] = train, test
    return found


def read_split(file: Path) -> Mapping[str, Any]:
    """What a split file says of each recording.

    Raises:
        DataError: it is no annotations of WEAR, or names other activities.
    """
    content = read_json(file)
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict) or not all(isinstance(about, dict) for about in database.values()):
        raise DataError(f"{file}: no annotations of WEAR, expected a database of recordings")
    labels = content.get("label_dict")
    if not isinstance(labels, dict) or set(labels) != set(ACTIVITIES):
        odd = sorted(set(labels or ()) ^ set(ACTIVITIES))[0] if isinstance(labels, dict) else "none"
        raise DataError(f"{file}: label_dict: {quote(odd)}, expected WEAR's {len(ACTIVITIES)} activities")
    return database


def of_csv(file: Path, name: str, about: Mapping[str, Any] | None) -> Recording:
    """A recording of the raw readings and their labels; `about` is what the annotations say of it.

    Raises:
        DataError: it is no table of WEAR's, is of somebody else, has another length than the annotations say,
            a label that is none of WEAR's, or no placement with two readings.
    """
    table = _table(file)
    values = table.select(CHANNELS).to_numpy(order="c")
    lasts_s = len(table) / RATE_HZ
    check_length(file, lasts_s, about)
    persons = table["sbj_id"].drop_nulls().unique().to_list()
    if persons != [int(name.split("_")[1])]:
        raise DataError(f"{file}: sbj_id is {quote(persons[:3])}, expected {name.split('_')[1]} throughout")
    labels = table["label"].fill_null(NULL).replace("", NULL)
    if odd := sorted(set(labels.unique()) - {NULL, *ACTIVITIES}):
        line = int((labels == odd[0]).arg_max() or 0) + 2
        raise DataError(f"{file}: line {line}: label is {quote(odd[0])}, expected WEAR's activities or null")
    edges = [0, *(np.flatnonzero((labels != labels.shift()).to_numpy()[1:]) + 1).tolist(), len(labels)]
    spans = tuple(
        Span(first / RATE_HZ, last / RATE_HZ, labels[first])
        for first, last in pairwise(edges)
        if labels[first] != NULL
    )
    streams = placements(file, read_placement, values)
    size = float(np.nanmedian(np.linalg.norm(values.reshape(-1, 3), axis=1)))
    if not 0.5 < size < 2:
        warn(f"{file}: an acceleration of {size:.3g} for the most part, expected about 1 (g); taken as it is")
    if not spans:
        warn(f"{file}: no label but null, expected some of WEAR's activities")
    return Recording(name, name.rpartition("_")[0] if name.count("_") > 1 else name, streams, spans)


def placements(
    file: Path, read: Callable[..., np.ndarray], values: Float[np.ndarray, "n 12"]
) -> dict[str, Stream]:
    """A stream for each placement that has readings, 0.02 s apart; a row with an empty cell is none of it.

    Args:
        file: where they lie.
        read: how those of one placement are read, all rows.
        values: all of them.

    Raises:
        DataError: no placement has two readings.
    """
    streams: dict[str, Stream] = {}
    for at, name in enumerate(PLACEMENTS):
        found = kept(np.arange(len(values)) / RATE_HZ, values[:, 3 * at : 3 * at + 3])
        if len(found.times) > 1:
            streams[name] = Log(file, partial(read, name=name), found.times, found.rows, GAP_S)
    if not streams:
        raise DataError(f"{file}: no placement has two readings, expected numbers of four")
    return streams


def check_length(file: Path, lasts_s: float, about: Mapping[str, Any] | None) -> None:
    """Refuse what has not 50 readings a second, or is cut short, as the annotations tell.

    Raises:
        DataError: the annotations' `duration` differs from `lasts_s` by more than 1.5 s.
    """
    said = None if about is None else about.get("duration")
    if isinstance(said, int | float) and abs(said - lasts_s) > 1.5:
        got = f"{lasts_s:.2f} s at {RATE_HZ:g} readings a second"
        raise DataError(f"{file}: {got}, expected {said:.2f} s, as its annotations say")


def end_s(whole: Recording) -> float:
    """When the last of a recording's streams ends, in seconds."""
    return max((float(stream.times[-1]) for stream in whole.streams.values()), default=0.0)


def cut(whole: Recording, windows: Windows | None) -> Recording:
    """A recording with its windows for spans, laid whatever its sensors did; see a study's `missing`."""
    if windows is None:
        return whole
    times = np.arange(round(end_s(whole) * RATE_HZ) + 1) / RATE_HZ
    clock = Readings(times, np.zeros((len(times), 1)))
    [found] = placed([replace(whole, streams={"clock": clock})], windows)
    spans = tuple(Span(window.start_s, window.stop_s, window.activity) for window in found.windows)
    return replace(whole, spans=spans, dropped=tuple(found.dropped))


def read_placement(file: Path, name: str) -> Float[np.ndarray, "n 3"]:
    """The readings of one placement, float32; an empty cell is NaN.

    Raises:
        DataError: the file is no table of WEAR's.
    """
    at = 3 * PLACEMENTS.index(name)
    return np.ascontiguousarray(readings_of(file)[1][:, at : at + 3])


def read_array(file: Path, columns: int) -> Float[np.ndarray, "n columns"]:
    """The last `columns` of a file of features, float32: those of `combined_features` stand last.

    Raises:
        DataError: it is no array of so many.
    """
    values = np.asarray(array_of(file, columns)[:, -columns:], np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{file}: values that are not finite, expected numbers only")
    return values


def _table(file: Path) -> pl.DataFrame:
    """A table of raw readings: its columns by name, labels as text."""
    columns: dict[str, type[pl.DataType]] = {
        "sbj_id": pl.Int64,
        **dict.fromkeys(CHANNELS, pl.Float32),
        "label": pl.String,
    }
    table, unknown = columns_of(file, columns)
    if unknown:
        warn(f"{file}: columns that are not WEAR's are ignored: {', '.join(map(quote, unknown[:4]))}")
    if len(table) < 2:
        raise DataError(f"{file}: {len(table)} readings, expected two or more")
    return table


def readings_of(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each row, and its twelve readings, float32; an empty cell is NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlaitWarning)  # said where the recording is opened
        values = _table(file).select(CHANNELS).to_numpy(order="c")
    return np.arange(len(values)) / RATE_HZ, values


def array_of(file: Path, columns: int) -> np.ndarray:
    """A mapped array of features with `columns` or, combined, more.

    Raises:
        DataError: it is no array of numbers of shape `(n, columns)` or of `combined_features`.
    """
    try:
        array: np.ndarray = np.load(regular(file), mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged headers raise anything
        raise DataError(f"{file}: not a readable .npy file of plain numbers: {one_line(error)}") from error
    combined = len(CHANNELS) * SECOND + I3D
    if (
        array.ndim != 2
        or array.dtype.kind != "f"
        or array.shape[1] not in (columns, combined)
        or not len(array)
    ):
        got = f"{array.dtype} of shape {array.shape}"
        raise DataError(f"{file}: {got}, expected numbers of shape (n, {columns})")
    return array


def warn(text: str) -> None:
    """Say what was guessed, or left out."""
    warnings.warn(text, PlaitWarning, stacklevel=3)


def plain(readings: Float[np.ndarray, "samples channels"]) -> Float[Tensor, "samples channels"]:
    """Readings as they are."""
    return torch.from_numpy(readings).float()


SIGNAL = partial(
    SignalNet, widths=(32, 48, 64), kernels=(5, 5, 3), pools=(2, 2, 1), norm=True, standardise=True
)
