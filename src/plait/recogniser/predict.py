"""A recogniser over whole recordings, window after window: what was recognised when.

OUT/timeline.parquet   `timeline.WINDOWS`, a row for each window
OUT/segments.csv       what windows come to, and `NAME.eaf`, `segments.json`, `NAME.svg`
OUT/predict.json       `Predicted`
OUT/.predicting/       windows that are done, of a prediction that is not
"""

import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from plait.compute.ahead import ahead
from plait.compute.machine import settled_numerics
from plait.contents import describe
from plait.errors import ConfigError, DataError, PlaitWarning, first_fault
from plait.keying import source_key
from plait.progress import Progress, Step, silent
from plait.recogniser.decoding import Decoding
from plait.recogniser.lacking import absent, fewer
from plait.recogniser.levels import unlike
from plait.recogniser.model import ModelFacts, Unlabelled
from plait.recogniser.recognise import recognise, rows_of
from plait.recogniser.recogniser import Recogniser, refuse_missing
from plait.recogniser.timeline import TIMELINE, WINDOWS, write_timeline
from plait.recogniser.windows import (
    Seen,
    Sliding,
    extents_of,
    labels_of,
    odd_lengths,
    scored_extent,
    seen,
)
from plait.recogniser.writers import file_stems, write_segments
from plait.recordings.same_columns import Columns, columns_of
from plait.recordings.video import Video
from plait.results import write_table
from plait.store import checksum, content_key, locked, read_json, read_parquet, sweep, taken, write_json
from plait.types import Modality, Readings, Recording, Span, Windows

PREDICTED, PARTS = "predict.json", ".predicting"
SESSION = "session.json"  # of `plait live`, which leaves the rest when it ends
SCORES, BY_ACTIVITY = "scores.json", "scores.csv"  # of `plait score`
AT_ONCE = 64  # windows of a part
AHEAD = 2  # windows that are read while one is looked at
_STRICT = ConfigDict(extra="forbid")


@checked(frozen=True, config=_STRICT)
class Whole:
    """One recording, as it was predicted.

    Args:
        start_s, stop_s: from when to when it is scored, on its clock (`windows.scored_extent`).
        labels: what was done when, if somebody has said so: start, stop, activity.
        video: its video's file, if it has one.
        subject: who is recorded.
        labels_file: that the labels were read from, if it is known.
        labels_sha256: its checksum then.
    """

    start_s: float
    stop_s: float
    labels: tuple[tuple[float, float, str], ...] = ()
    video: str | None = None
    subject: str = ""
    labels_file: str | None = None
    labels_sha256: str | None = None

    @property
    def spans(self) -> tuple[Span, ...]:
        """Its labels."""
        return tuple(Span(*label) for label in self.labels)


@checked(frozen=True, config=_STRICT)
class Predicted:
    """What `predict.json` says.

    Args:
        key: of all that decided the prediction.
        model: the model's key.
        method: what the model was trained as.
        activities: in the order of the scores.
        recordings: by name.
        seconds: the length of a window; without, a window is a whole recording.
        stride_s: from one window's start to the next one's.
        decoding: how windows' scores became segments.
        transitions: between activities, where decoding asks for them.
        unlabelled: what time without a label is.
        smoothed: the share of the time in which decoding says something else than the scores alone.
        trained_on: the people whom the model was trained on.
        row: `results.row_key` of the run's row that the model has the settings of, if it was fitted by a run.
    """

    key: str
    model: str
    method: str
    activities: tuple[str, ...]
    recordings: dict[str, Whole]
    seconds: float | None = None
    stride_s: float | None = None
    decoding: Decoding = field(default_factory=Decoding)
    transitions: tuple[tuple[float, ...], ...] = ()
    unlabelled: Unlabelled = field(default_factory=Unlabelled)
    smoothed: float = 0.0
    trained_on: tuple[str, ...] = ()
    row: str = ""


class Task(NamedTuple):
    """One recording to be predicted, its windows, and its labels."""

    recording: Recording
    windows: list[tuple[float, float]]
    labels: tuple[Span, ...]


def plan(
    recogniser: Recogniser,
    recordings: Iterable[Recording],
    sliding: Sliding,
    *,
    clips: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    cut: Windows | None = None,
) -> list[Task]:
    """The recordings that are to be predicted, each with its windows.

    Args:
        recogniser: who sees them.
        recordings: each under a name of its own.
        sliding: how windows are slid over them.
        clips: windows by recording, in the place of those that are slid.
        cut: how clips were cut, which says what unlabelled time is.

    Raises:
        DataError: two recordings of one name, or none, or logs with columns in another order.
        PlaitError: a recording of which the recogniser would see nothing.
    """
    modalities = list(recogniser.modalities.values())
    columns = Columns(recogniser.facts.columns, "the recordings that the model was trained on")
    used = {stream for modality in modalities for stream in modality.streams}
    if clips is None and sliding.between is not None:
        warnings.warn(sliding.between, PlaitWarning, stacklevel=2)
    tasks: dict[str, Task] = {}
    arrays: dict[tuple[int, tuple[int, ...]], Recording] = {}
    for recording in recordings:
        if recording.name in tasks:
            raise DataError(f"two recordings are called {recording.name!r}, expected names that differ")
        _tell_shared(recording, used, arrays)
        refuse_missing(recogniser, recording.streams, f"recording {recording.name}")
        columns.check(columns_of(recording.streams), f"recording {recording.name}", used)
        extents = extents_of(recording, modalities)
        windows = sliding.windows(extents) if clips is None else list(clips.get(recording.name, ()))
        if not windows and clips is None:
            least = f"a window of {sliding.seconds:g} s" if sliding.seconds else "any window"
            line = f"recording {recording.name}: shorter than {least}: nothing is seen in it"
            warnings.warn(line, PlaitWarning, stacklevel=2)
        for line in unlike(recogniser.facts.streams, recording, modalities, sliding.seconds):
            warnings.warn(line, PlaitWarning, stacklevel=2)
        if (odd := odd_lengths(recogniser.facts.lasting_s, windows)) is not None:
            warnings.warn(f"recording {recording.name}: {odd}", PlaitWarning, stacklevel=2)
        labels = labels_of(recording, cut, modalities, recogniser.activities)
        tasks[recording.name] = Task(recording, windows, labels)
    if not tasks:
        raise DataError("no recordings, expected one at least")
    return list(tasks.values())


def _tell_shared(
    recording: Recording, used: Iterable[str], arrays: dict[tuple[int, tuple[int, ...]], Recording]
) -> None:
    """Say where two people are one array, as if they share a sensor; `arrays` are those seen, by place."""
    for name in used:
        stream = recording.streams.get(name)
        if not isinstance(stream, Readings):
            continue
        lies = stream.values.__array_interface__["data"][0], stream.values.shape
        other = arrays.setdefault(lies, recording)
        if other.subject != recording.subject:
            warnings.warn(
                f"{name} of recording {other.name} and of other people is one array: right if they share a "
                "sensor; an array that is filled anew for each holds the last one alone",
                PlaitWarning,
                stacklevel=3,
            )
            return


def timeline(
    recogniser: Recogniser,
    tasks: Sequence[Task],
    parts: Path | None = None,
    progress: Progress = silent,
) -> pl.DataFrame:
    """What a recogniser sees in every window of some recordings, one after another: `WINDOWS`.

    Windows in which too few sensors are there have no row. Each is looked at by itself, so that it comes to
    the same scores whoever else is there, and live.

    Args:
        recogniser: who looks.
        tasks: at what.
        parts: the folder of windows that are done, from which a stopped prediction goes on.
        progress: told how many windows are done.
    """
    total, done = sum(len(task.windows) for task in tasks), 0
    tables = [pl.DataFrame(schema=WINDOWS)]
    progress(Step(0, total, "windows", "begins"))
    for task in tasks:
        key = _key(recogniser, task)
        groups = [task.windows[at : at + AT_ONCE] for at in range(0, len(task.windows), AT_ONCE)]
        files = [
            None if parts is None or key is None else parts / f"{key}-{n:06d}.parquet"
            for n in range(len(groups))
        ]
        standing = [None if file is None or not file.exists() else _read_part(file) for file in files]
        missing = [
            window for group, table in zip(groups, standing, strict=True) if table is None for window in group
        ]
        coming = ahead(seen(task.recording, list(recogniser.modalities.values()), missing), AHEAD)
        for group, file, table in zip(groups, files, standing, strict=True):
            if table is None:
                table = _look(recogniser, task.recording.name, islice(coming, len(group)))
                if file is not None:
                    write_table(table, file)
            tables.append(table)
            done += len(group)
            progress(Step(done, total, task.recording.name))
    return pl.concat(tables)


def _look(recogniser: Recogniser, name: str, windows: Iterable[Seen]) -> pl.DataFrame:
    """The rows of some windows of a recording, each looked at as soon as it is read."""
    rows = [
        row_of(name, window[:2], recogniser.activities, recogniser(window.tensors), window.tensors)
        for window in windows
        if recogniser.can_see(window.tensors)
    ]
    return pl.DataFrame(rows, schema=WINDOWS, orient="row")


def row_of(
    recording: str,
    window: tuple[float, float],
    activities: Sequence[str],
    scores: np.ndarray,
    seen: Iterable[str],
) -> tuple[Any, ...]:
    """A row of `WINDOWS`: of equal scores, the first activity's is the highest."""
    return recording, *window, activities[int(scores.argmax())], scores.tolist(), list(seen)


def _key(recogniser: Recogniser, task: Task) -> str | None:
    """A key of all that decides a recording's windows; None where a recording does not say its content."""
    streams = list(extents_of(task.recording, list(recogniser.modalities.values())))
    content = task.recording.content(streams)
    if content is None:
        return None
    how = [torch.get_num_threads(), settled_numerics(recogniser.device), torch.__version__]
    return content_key(
        [recogniser.code, asdict(recogniser.facts), task.recording.name, content, streams, task.windows, how]
    )


def _read_part(file: Path) -> pl.DataFrame | None:
    try:
        table = read_parquet(file, "", WINDOWS)
    except DataError:
        return None  # made again
    return table if table.schema == WINDOWS else None


def predict(
    recogniser: Recogniser,
    tasks: Sequence[Task],
    sliding: Sliding,
    out: Path,
    progress: Progress = silent,
) -> Predicted:
    """Predict recordings, and leave `out`; what `out` holds already, of the same, is not made again.

    Sensors that recordings lack, or that see fewer windows than others, are said.

    Args:
        recogniser: who recognises.
        tasks: what `plan` says.
        sliding: how windows were slid.
        out: the folder.
        progress: told how many windows are done.

    Raises:
        ConfigError: `out` holds something else.
        DataError: a recording cannot be read, or the folder cannot be written.
    """
    key, lasting = prediction_key(recogniser, tasks)
    ours = any((out / name).exists() for name in (PREDICTED, PARTS))
    if not ours and taken(out, besides=(TIMELINE, SESSION)):
        raise ConfigError(f"{out}: holds files that no prediction has left: expected another folder")
    for task in tasks:
        if (line := absent(recogniser.facts.sensors, task.recording.streams)) is not None:
            warnings.warn(f"recording {task.recording.name}: {line}", PlaitWarning, stacklevel=2)
    (out / PARTS).mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock"):
        if (out / PREDICTED).is_file():
            before = _standing(out)
            if before is not None and before.key == key and lasting:
                shutil.rmtree(out / PARTS, ignore_errors=True)
                return before
            _clear(out, before)
        sweep(out)
        table = timeline(recogniser, tasks, out / PARTS, progress)
        modalities = list(recogniser.modalities.values())
        wholes = {task.recording.name: whole(task, modalities) for task in tasks}
        predicted = write_prediction(out, recogniser.facts, sliding, table, wholes, key)
        shutil.rmtree(out / PARTS, ignore_errors=True)
    for task in tasks:
        seen_by = table.filter(pl.col("recording") == task.recording.name)["seen"]
        line = fewer(recogniser.present(task.recording.streams), seen_by, len(task.windows))
        if line is not None:
            warnings.warn(f"recording {task.recording.name}: {line}", PlaitWarning, stacklevel=2)
    return predicted


def prediction_key(recogniser: Recogniser, tasks: Sequence[Task]) -> tuple[str, bool]:
    """A key of all that decides a prediction; and whether every recording says its content."""
    keys = [
        [task.recording.name, _key(recogniser, task), task.labels, _labels_sha256(task)] for task in tasks
    ]
    lasting = all(known is not None for _, known, *_ in keys)
    return content_key([asdict(recogniser.facts), describe(keys), source_key([predict])]), lasting


def write_prediction(
    out: Path,
    facts: ModelFacts,
    sliding: Sliding,
    table: pl.DataFrame,
    wholes: Mapping[str, Whole],
    key: str,
) -> Predicted:
    """Write what windows come to: the timeline, segments, and last `predict.json`.

    Args:
        out: the folder.
        facts: of the model.
        sliding: how windows were slid.
        table: `WINDOWS`, of all recordings.
        wholes: the recordings, by name.
        key: of all that decided the prediction.

    Raises:
        DataError: the folder cannot be written.
    """
    written = write_timeline(table, out)
    found = {name: recognise(facts, rows_of(written, name)) for name in wholes}
    write_segments(
        out,
        {name: one.segments for name, one in found.items()},
        {name: one.spans for name, one in wholes.items()},
        {name: Path(one.video) for name, one in wholes.items() if one.video},
    )
    lasting_s = sum(float(one.slots.lengths_s.sum()) for one in found.values())
    changed_s = sum(one.changed_s for one in found.values())
    predicted = Predicted(
        key=key,
        model=facts.key,
        method=facts.method,
        activities=facts.activities,
        recordings=dict(wholes),
        seconds=sliding.seconds,
        stride_s=sliding.stride_s,
        decoding=facts.decoding,
        transitions=facts.transitions,
        unlabelled=facts.unlabelled,
        smoothed=changed_s / lasting_s if lasting_s else 0.0,
        trained_on=facts.training.people,
        row=facts.training.row,
    )
    write_json(out / PREDICTED, asdict(predicted))
    return predicted


def _standing(out: Path) -> Predicted | None:
    """What stands in a prediction's folder, if it can be read; another is made in its place."""
    with suppress(DataError):
        return read_predicted(out)
    return None


def _clear(out: Path, before: Predicted | None) -> None:
    """Remove what an earlier prediction of something else has left."""
    for stem in file_stems(before.recordings if before else ()).values():
        for ending in (".eaf", ".svg"):
            (out / f"{stem}{ending}").unlink(missing_ok=True)
    for name in (SCORES, BY_ACTIVITY, PREDICTED):
        (out / name).unlink(missing_ok=True)


def whole(task: Task, modalities: Sequence[Modality]) -> Whole:
    """What `predict.json` says of a recording."""
    start_s, stop_s = scored_extent(task.recording, modalities) or (0.0, 0.0)
    video = next(
        (stream.file for stream in task.recording.streams.values() if isinstance(stream, Video)), None
    )
    file = task.recording.labels_file
    return Whole(
        start_s=start_s,
        stop_s=stop_s,
        labels=tuple((span.start_s, span.stop_s, span.activity) for span in task.labels),
        video=None if video is None else str(video.resolve()),
        subject=task.recording.subject,
        labels_file=None if file is None else str(file.resolve()),
        labels_sha256=_labels_sha256(task),
    )


def _labels_sha256(task: Task) -> str | None:
    """The checksum of the file of a recording's labels, if it is known."""
    file = task.recording.labels_file
    return None if file is None else checksum(file)


def read_predicted(out: Path) -> Predicted:
    """What `predict.json` says.

    Raises:
        DataError: it is missing or damaged.
    """
    path = out / PREDICTED
    if not path.is_file():
        raise DataError(f"{path}: not there, expected a folder that `plait predict` made")
    try:
        return TypeAdapter(Predicted).validate_python(read_json(path, "run `plait predict` again"))
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}; run `plait predict` again") from error
