"""WEAR: 18 kinds of outdoor workout by 22 people, four wrist and ankle accelerometers, a camera on the head.

A folder as it is downloaded, at any depth but in this order (`60fps` and `50hz` may be missing):

* `annotations/60fps/wear_split_N.json`: `database.sbj_i.{subset, duration, fps, annotations}`, `label_dict`.
  Split N trains on all but one of sbj_0 to sbj_17 and validates on that one, as `studies/wear.toml` does;
  `splits` reads who that is, and a warning says where a file says otherwise;
* `raw/inertial/50hz/sbj_i.csv`: `sbj_id`, twelve columns of acceleration (g, within 8), `label`. Its rows are
  readings 0.02 s apart. A label that is empty or `null` is null, a reading that is empty is a gap;
* `processed/i3d_features/60fps/60_frames_30_stride/sbj_i.npy`, `(n, 2048)`, or the columns from 600 on of
  `combined_features`: a row for every half second, of the second that begins there;
* `processed/inertial_features/...`, `(n, 600)`, the raw readings once more, channel by channel: they stand in
  for a raw file that is missing, whose labels are then those of the annotations;
* a film `sbj_i.mp4` anywhere below `raw`. Where films lie was not to be found out without the data.

`WEAR` is the benchmark's: the 18 people whom the split files name. The release has six recordings more, of
which sbj_18 and sbj_19 are sbj_0 and sbj_14 at a later time (by two who compared them with the challenge's
`sbj_0_2` and `sbj_14_2`): subjects here are people, called by their first name.
`WEAR_EVERYBODY` has all that lies there.

Each placement is a modality, and so are I3D's features and the film. A recording is a file. Clips are windows
of a second every half second, null among their activities; one in which no activity has more than half is
left out, where WEAR's code takes the label of its last sample.

WEAR's metrics are of whole recordings: `plait.analysis.samplewise`, after a majority filter of 15 s (its
configurations' 751 samples), means over people. Published figures are of a filter of 10 s; by the paper's
supplement that of 15 s takes 0.1 points from F1. They were copied from a participant's excerpt of the paper
(arXiv:2304.05088v4, Table 2), not from the paper itself, which could not be read; their rows say so.

`plait.datasets.wear.challenge:CHALLENGE` is the third WEAR challenge (HASCA 2026, on Kaggle), as far as its
labels are public: its training people, `train/inertial_feat/sbj_i.csv` and `train/videomae_feat/sbj_i.npy`,
`(frames, 768)` at 30 frames a second; a second recording of a person is called `sbj_0_2`. A clip is a second,
back to back, of one placement, which is drawn for each second anew and not told (the modality
`placed-acceleration` tells it, as the challenge's `sensor_location` does), and the frames 8 to 22 of its 30,
counted from 0 (of "the middle 15" its participants make these, or those from 7 to 21). It is scored by macro
F1 over all nineteen classes. The layout is that of participants' code; the hidden test people are not read.

Licence: CC BY-NC-SA 4.0: name the authors, no commercial use, share alike. The challenge has its own rules.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from plait.clips.windows import filled
from plait.datasets.log import Log
from plait.datasets.published import Metric, Published
from plait.datasets.wear.files import (
    ACTIVITIES,
    CHANNELS,
    CITE,
    FEATURE_HZ,
    FILTER_S,
    I3D,
    NAME,
    NULL,
    PLACEMENTS,
    RATE_HZ,
    SAME_PERSON,
    SECOND,
    SIGNAL,
    WINDOWS,
    array_of,
    by_name,
    check_length,
    cut,
    end_s,
    folder_of,
    of_csv,
    placements,
    plain,
    read_array,
    read_split,
    root_of,
    split_files,
    splits,
    warn,
)
from plait.datasets.windowed import Windowed
from plait.encoders.grid import GridNet
from plait.encoders.video import VideoNet
from plait.errors import DataError, quote
from plait.names import natural
from plait.recordings.video import Video, rgb
from plait.types import Modality, Recording, Span, Windows


def recordings(data: Path, windows: Windows | None = WINDOWS, everybody: bool = False) -> Iterator[Recording]:
    """The recordings that split files name, in order; with `windows` for spans, or else their labels.

    A recording's clock starts with its first reading. What is missing of features or films is missing from
    it. Warnings say who has no file although the annotations name them, which columns are ignored, and what
    is in another unit than g.

    Args:
        data: the folder of `annotations` and `raw`, or one that holds it.
        windows: how recordings are cut; None: spans are the labels, null not among them.
        everybody: also those that lie there and no split file names.

    Raises:
        DataError: nothing of WEAR lies there, or a file is not what its name says.
    """
    root = root_of(data, "annotations")
    database = _database(root)
    files = by_name(folder_of(root / "raw" / "inertial", "50hz"), "csv")
    features = {
        kind: by_name(folder_of(root / "processed" / f"{kind}_features", "60fps/60_frames_30_stride"), "npy")
        for kind in ("inertial", "i3d", "combined")
    }
    films = {
        file.stem: file
        for file in sorted((root / "raw").rglob("sbj_*"))
        if file.suffix.lower() == ".mp4" and NAME.fullmatch(file.stem)
    }
    there = {*files, *features["inertial"], *features["combined"]}
    if not there:
        raise DataError(f"{root}: nobody's readings, expected such as raw/inertial/50hz/sbj_0.csv")
    if absent := sorted(database.keys() - there, key=natural):
        warn(f"{root}: no file of {', '.join(absent)}, whom the annotations name: numbers are of the others")
    for name in sorted(there if everybody else there & database.keys(), key=natural):
        whose = {kind: found[name] for kind, found in features.items() if name in found}
        said = database.get(name)
        raw = files.get(name)
        whole = of_csv(raw, name, said) if raw else _of_features(whose, name, said, root)
        streams = dict(whole.streams)
        if (i3d := whose.get("i3d", whose.get("combined"))) is not None:
            streams["i3d"] = _i3d(i3d, end_s(whole))
        if name in films:
            streams["video"] = Video(films[name])
        subject = SAME_PERSON.get(whole.subject, whole.subject)
        yield cut(replace(whole, subject=subject, streams=streams), windows)


def _database(root: Path) -> Mapping[str, Any]:
    """What the split files say of each recording, of which they differ in nothing but its part.

    Raises:
        DataError: they are of several sets of recordings.
    """
    files = split_files(root)
    first = read_split(files[0])
    tested: set[str] = set()
    for file, (_, test) in zip(files, splits(root).values(), strict=True):
        if odd := read_split(file).keys() ^ first.keys():
            raise DataError(f"{file}: {min(odd)} is not in it and in {files[0].name}, expected both")
        if len(test) != 1 or test[0] in tested:
            got = ", ".join(test) or "nobody"
            warn(
                f"{file}: validates on {got}, expected one whom no other file does; studies/wear.toml leaves "
                "one subject out whatever the files say"
            )
        tested.update(test)
    return first


def _of_features(
    files: Mapping[str, Path], name: str, about: Mapping[str, Any] | None, root: Path
) -> Recording:
    """A recording of the inertial features, labelled by what the annotations say of it."""
    file = files.get("inertial", files.get("combined"))
    if file is None or about is None:
        raise DataError(f"{root}: {name} has neither raw readings nor annotations, expected one of them")
    values = _seconds(file)
    check_length(file, len(values) / RATE_HZ, about)
    streams = placements(file, read_seconds, values)
    return Recording(name, name, streams, _annotated(name, about, root, len(values) / RATE_HZ))


def _annotated(name: str, about: Mapping[str, Any], root: Path, lasts_s: float) -> tuple[Span, ...]:
    """The labels of a recording by the annotations, none of which overlap or lie outside."""
    where = f"{root}: annotations of {name}"
    entries = about.get("annotations")
    if not isinstance(entries, list):
        raise DataError(f"{where}: {quote(entries)}, expected a list")
    spans = []
    for entry in entries:
        try:
            (start_s, stop_s), label = map(float, entry["segment"]), entry["label"]
            span = Span(start_s, stop_s, label)
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise DataError(f"{where}: {quote(entry)}, expected a label and a segment in seconds") from error
        if label not in ACTIVITIES:
            raise DataError(f"{where}: label {quote(label)}, expected WEAR's activities")
        if not -1.5 <= start_s < stop_s <= lasts_s + 1.5:
            got = f"{label} from {start_s:g} s to {stop_s:g} s"
            raise DataError(f"{where}: {got}, expected it within the recording's {lasts_s:.2f} s")
        spans.append(span)
    spans.sort(key=lambda span: span.start_s)
    for before, after in pairwise(spans):
        if after.start_s < before.stop_s - 1 / RATE_HZ:
            got = f"{before.activity} to {before.stop_s:g} s and {after.activity} from {after.start_s:g} s"
            raise DataError(f"{where}: {got}, expected one after the other")
    if not spans:
        warn(f"{where}: no label, expected some of WEAR's activities")
    return tuple(filled(spans))


def _i3d(file: Path, stop_s: float) -> Log:
    """I3D's features as a stream: in force from the start of the second that they are of."""
    rows = len(array_of(file, I3D))
    if abs(rows / FEATURE_HZ - stop_s) > 2:
        got = f"{rows} rows, {rows / FEATURE_HZ:.1f} s at one for every half second"
        raise DataError(f"{file}: {got}, expected the readings' {stop_s:.1f} s")
    numbers = np.arange(rows + 1)
    return Log(file, read_i3d, numbers / FEATURE_HZ, numbers, 1.0)


def read_i3d(file: Path) -> Float[np.ndarray, "n 2048"]:
    """I3D's features, float32, the last row twice: it stands until the second that it is of has passed.

    Raises:
        DataError: the file is no array of them.
    """
    values = read_array(file, I3D)
    return np.concatenate([values, values[-1:]])


def read_seconds(file: Path, name: str) -> Float[np.ndarray, "n 3"]:
    """The readings of one placement from a file of inertial features: the first half of each row's second.

    Raises:
        DataError: the file is no array of them.
    """
    at = 3 * PLACEMENTS.index(name)
    return np.ascontiguousarray(_seconds(file)[:, at : at + 3])


def _seconds(file: Path) -> Float[np.ndarray, "n 12"]:
    """All readings of a file of inertial features, float32: of each row's second the first half."""
    rows = np.asarray(array_of(file, len(CHANNELS) * SECOND)[:, : len(CHANNELS) * SECOND], np.float32)
    seconds = rows.reshape(-1, len(CHANNELS), SECOND).transpose(0, 2, 1)
    halves = seconds[:, : SECOND // 2].reshape(-1, len(CHANNELS))
    return np.concatenate([halves, seconds[-1, SECOND // 2 :]])


_SAMPLES = {"step_s": 1 / RATE_HZ, "filter_s": FILTER_S}
_PAPER = (
    "Bock et al., Table 2, as a participant of the challenge copied it: 18 people left out one by one, "
    "windows of 1 s, a filter of 10 s, mean of 3 seeds"
)
_TABLE_2 = {  # precision, recall, F1, mAP
    "Shallow DeepConvLSTM, inertial": (77.71, 77.41, 75.44, 59.14),
    "Attend-and-Discriminate, inertial": (79.97, 75.92, 74.67, 56.44),
    "ActionFormer, inertial": (65.88, 78.44, 68.40, 75.01),
    "TriDet, inertial": (68.18, 78.58, 70.36, 76.86),
    "ActionFormer, camera": (65.82, 75.34, 66.40, 79.32),
    "TriDet, camera": (67.42, 75.21, 66.88, 81.30),
    "ActionFormer, inertial + camera": (72.87, 83.24, 75.26, 81.03),
    "TriDet, inertial + camera": (73.39, 82.00, 75.09, 82.26),
}
_METRICS = {"precision": "precision", "recall": "recall", "F1": "f1", "mAP": "mean_ap"}

WEAR = Windowed(
    name="WEAR",
    activities=(NULL, *ACTIVITIES),
    modalities=(
        *(Modality(name.replace("_", "-"), (name,), SECOND, RATE_HZ, plain, SIGNAL) for name in PLACEMENTS),
        Modality("i3d", ("i3d",), 1, 1.0, plain, partial(GridNet, width=128, temporal=())),
        Modality("video", ("video",), 15, 15.0, rgb, VideoNet),
    ),
    recordings=recordings,
    cite=CITE,
    windows=WINDOWS,
    whole=partial(recordings, windows=None),
    metrics=tuple(
        Metric(name, f"plait.analysis.samplewise:{function}", _SAMPLES, of="recordings")
        for name, function in _METRICS.items()
    ),
    published=tuple(
        Published(model, {name: value / 100 for name, value in zip(_METRICS, row, strict=True)}, _PAPER)
        for model, row in _TABLE_2.items()
    ),
)
WEAR_EVERYBODY = replace(
    WEAR,
    name="WEAR, everybody",
    recordings=partial(recordings, everybody=True),
    whole=partial(recordings, windows=None, everybody=True),
    published=(),
)
