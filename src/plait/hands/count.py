"""How many hands each clip shows: the mode of its frames' counts, and how many are missing."""

import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torchvision.ops import nms

from plait.clips import Cut, decided_by, survey
from plait.clips.windows import moments
from plait.contents import describe
from plait.errors import ConfigError, DataError
from plait.hands.detections import Detector, Found
from plait.hands.table import SCHEMA, TABLE
from plait.keying import source_key
from plait.progress import Progress, Step, silent
from plait.recordings.video import Forward, Video
from plait.simulator.truth import TRUTH, hand_boxes, raw_folders
from plait.store import checksum, content_key, read_parquet, write_bytes
from plait.types import Clip, Dataset, Stream

SCORE, OVERLAP, HANDS_OF_ONE = 0.4, 0.6, 2  # focal loss leaves scores low
CHUNK = 64  # frames in memory at once


def kept(found: Found, score: float = SCORE) -> Found:
    """The boxes of a frame that count: the two surest of `score` or more that overlap no surer one.

    Two boxes whose intersection is more than 0.6 of their union are one hand.
    """
    sure = found.scores >= score
    boxes, scores = found.boxes[sure], found.scores[sure]
    rows = nms(torch.from_numpy(boxes).float(), torch.from_numpy(scores).float(), OVERLAP).numpy()
    rows = rows[:HANDS_OF_ONE]
    return Found(boxes[rows], scores[rows])


def mode(counts: np.ndarray) -> int:
    """The commonest of counts `(frames,)`; of several the largest: a hand seen half of the time was there."""
    often = np.bincount(counts)
    return int(np.flatnonzero(often == often.max())[-1])


def clips_to_count(
    dataset: Dataset, data: Path, name: str, modalities: Sequence[str] | None = None
) -> list[Cut]:
    """The clips that show something of a modality, as a study cuts them: by the longest window.

    Args:
        dataset: whose `recordings` open `data`.
        data: the folder.
        name: of the modality.
        modalities: the study's; by default all of the data set's.

    Raises:
        DataError: as `plait.clips.listing.survey`.
    """
    names = [modality.name for modality in dataset.modalities] if modalities is None else [*modalities]
    return survey(dataset, data, list(dict.fromkeys([*names, name])), needed=[name]).cuts


def count_clips(
    dataset: Dataset,
    cuts: Sequence[Cut],
    name: str,
    detector: Detector,
    *,
    score: float = SCORE,
    truth: Mapping[str, Path] | None = None,
    progress: Progress = silent,
) -> pl.DataFrame:
    """Count the hands of every clip; a frame that clips share is looked at once.

    A row per clip: `clip, subject, activity, start_s, stop_s, frames, count` (the mode over its frames),
    `expected` (the data set's, by activity), `missing` (how many fewer than expected, at least 0), and
    `visible`, the true count where it is known (the mode as well), else null.

    Args:
        dataset: whose `hands` says how many an activity takes.
        cuts: the clips, each with its recording.
        name: of the modality whose frames are looked at.
        detector: what finds hands in them.
        score: the least that a box must have to count.
        truth: raw recordings by their video's checksum, as `truths` gives them.
        progress: told how many clips of how many are counted, and of which recording.

    Raises:
        ConfigError: the data set does not say how many hands an activity takes.
        DataError: the modality is not of RGB frames, or one cannot be read.
    """
    modality = dataset.modality(name)
    hands = expected_hands(dataset)
    rows: list[tuple[Any, ...]] = []
    progress(Step(0, len(cuts), "clips", "begins"))
    for recording, group in itertools.groupby(cuts, key=lambda pair: pair[0]):
        clips = [clip for _, clip in group]
        stream = recording.streams[modality.streams[0]]
        windows = [moments(modality, clip.start_s, clip.stop_s) for clip in clips]
        where = f"recording {recording.name}, modality {name}"
        counts = _count_frames(stream, windows, detector, score, where)
        visible = _count_visible(stream, windows, truth or {})
        for clip, frames, true in zip(clips, counts, visible, strict=True):
            rows.append(_row(clip, len(frames), mode(frames), hands[clip.activity], true))
        progress(Step(len(rows), len(cuts), recording.name))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def write_counts(
    dataset: Dataset,
    cuts: Sequence[Cut],
    name: str,
    detector: Detector,
    out: Path,
    *,
    score: float = SCORE,
    truth: Sequence[Path] = (),
    progress: Progress = silent,
) -> pl.DataFrame:
    """Count the hands of every clip, and write the table; returns it.

    One that stands already, made by the same detector from the same clips, is left as it is.

    Args:
        dataset: whose `hands` says how many an activity takes.
        cuts: the clips, each with its recording.
        name: of the modality whose frames are looked at.
        detector: what finds hands in them.
        out: the file, `.parquet`, or the folder of `hands.parquet`.
        score: the least that a box must have to count.
        truth: raw recordings that `plait simulate` wrote, or folders of them.
        progress: told how many clips of how many are counted, and of which recording.

    Raises:
        ConfigError: as `count_clips`.
        DataError: as `count_clips`, or a file cannot be read or written.
    """
    path = out if out.suffix == ".parquet" else out / TABLE
    raws = truths(truth)
    decided = decided_by(dataset, dataset.modality(name), cuts)
    how = getattr(detector, "key", None) or [describe(detector), source_key([detector])]
    key = content_key(
        [
            [how, score, decided, source_key([count_clips])],
            {video: checksum(raw / TRUTH) for video, raw in raws.items()},
            [[clip.name, clip.subject, clip.activity] for _, clip in cuts],
            dict(expected_hands(dataset)),
        ]
    )
    if decided is not None and path.is_file() and _read_key(path) == key:
        return read_parquet(path, "remove it and run again")
    table = count_clips(dataset, cuts, name, detector, score=score, truth=raws, progress=progress)
    return _write(table, path, {"plait": json.dumps({"key": key, "score": score})})


def write_known(dataset: Dataset, cuts: Sequence[Cut], counts: Mapping[str, int], out: Path) -> pl.DataFrame:
    """Write `hands.parquet` from counts that somebody else has made; returns the table, its `frames` all 0.

    Args:
        dataset: whose `hands` says how many an activity takes.
        cuts: the clips, each with its recording.
        counts: by the name of the clip.
        out: the folder of the table.

    Raises:
        DataError: a clip has no count, or the file cannot be written.
    """
    hands = expected_hands(dataset)
    rows: list[tuple[Any, ...]] = []
    for _, clip in cuts:
        if clip.name not in counts:
            raise DataError(f"hands: nothing of clip {clip.name!r}, expected a count of every clip")
        rows.append(_row(clip, 0, counts[clip.name], hands[clip.activity], None))
    return _write(pl.DataFrame(rows, schema=SCHEMA, orient="row"), out / TABLE, None)


def expected_hands(dataset: Dataset) -> Mapping[str, int]:
    """How many hands each activity takes, as the attribute `hands` of a data set says.

    Raises:
        ConfigError: it does not say so of every activity.
    """
    hands: Mapping[str, int] = getattr(dataset, "hands", {})
    for activity in dataset.activities:
        if activity not in hands:
            expected = "expected a number per activity"
            raise ConfigError(f"data set {dataset.name}: hands: nothing of {activity!r}, {expected}")
    return hands


def truths(sources: Sequence[Path]) -> dict[str, Path]:
    """Raw recordings by the checksum of their video, which a recording made of them has as well.

    Raises:
        DataError: a source holds no truth.
    """
    return {checksum(raw / "video.mp4"): raw for raw in raw_folders(sources)}


def _count_frames(
    stream: Stream, windows: Sequence[np.ndarray], detector: Detector, score: float, where: str
) -> list[np.ndarray]:
    """The count of each frame of each window."""
    seconds = np.concatenate(windows)
    seconds = stream.times[stream.shown(seconds)] if isinstance(stream, Video) else np.round(seconds, 6)
    unique, which = np.unique(seconds, return_inverse=True)
    chunks = [unique[start : start + CHUNK] for start in range(0, len(unique), CHUNK)]
    frames = Forward(stream, chunks) if isinstance(stream, Video) else stream
    counts: list[int] = []
    for chunk in chunks:
        pictures = frames.at(chunk)
        if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != np.uint8:
            got = f"{pictures.dtype} of shape {pictures.shape[1:]}"
            raise DataError(f"{where}: readings are {got}, expected RGB frames of uint8")
        counts += [len(kept(found, score).boxes) for found in detector(pictures)]
    return np.split(np.array(counts)[which], np.cumsum([len(window) for window in windows])[:-1])


def _count_visible(
    stream: Stream, windows: Sequence[np.ndarray], truth: Mapping[str, Path]
) -> list[int | None]:
    """The true count of each window, None where it is not known."""
    if truth and isinstance(stream, Video) and (raw := truth.get(checksum(stream.file))):
        visible = np.isfinite(hand_boxes(raw, stream)[:, :, 0]).sum(1)
        return [mode(visible[stream.shown(window)]) for window in windows]
    return [None] * len(windows)


def _row(clip: Clip, frames: int, count: int, expected: int, visible: int | None) -> tuple[Any, ...]:
    missing = max(0, expected - count)
    what = clip.name, clip.subject, clip.activity, clip.start_s, clip.stop_s
    return *what, frames, count, expected, missing, visible


def _write(table: pl.DataFrame, path: Path, metadata: dict[str, str] | None) -> pl.DataFrame:
    """Write a table, whole or not at all; returns it."""
    content = io.BytesIO()
    table.write_parquet(content, metadata=metadata)
    write_bytes(path, content.getvalue())
    return table


def _read_key(path: Path) -> str | None:
    """The key of the table in a file, None if it has none."""
    try:
        key: str = json.loads(pl.read_parquet_metadata(path)["plait"])["key"]
    except (OSError, KeyError, ValueError, TypeError, pl.exceptions.PolarsError):
        return None
    return key
