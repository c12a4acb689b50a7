"""A clip table on disk: which window of which recording, by whom, doing what, and out of which files."""

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked
from torch import Tensor
from torch.utils import data as torch_data

from plait.clips.dropped import told
from plait.clips.people import People, check_names, check_recordings
from plait.clips.windows import Placed, Window, placed, window
from plait.errors import ConfigError, DataError, first_fault, one_line
from plait.names import plain
from plait.recordings.folder import Synced, open_recording, read_description, recording_folders
from plait.store import checksum, content_key, read_parquet, write_bytes
from plait.types import Clip, Dataset, Dropped, Recording, Span, Windows

TABLE = "clips.parquet"
EVERYBODY = People()
LONGEST_S = 1e9  # on any clock of a video
ORIGIN = pl.Struct({"stream": pl.String, "file": pl.String, "start_s": pl.Float64, "stop_s": pl.Float64})
SCHEMA: dict[str, Any] = {
    "clip": pl.String,
    "recording": pl.String,
    "subject": pl.String,
    "activity": pl.String,
    "start_s": pl.Float64,
    "stop_s": pl.Float64,
    "purity": pl.Float64,
    "origins": pl.List(ORIGIN),
}


@checked(frozen=True)
class _Said:
    """What a clip table says of itself."""

    recordings: str
    windows: dict[str, Any]
    activities: list[str]
    dataset: str | None = None
    key: str = ""
    dropped: list[Dropped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse windows that are none."""
        try:
            Windows(**self.windows)
        except (TypeError, ConfigError) as error:
            raise ValueError(one_line(error)) from error


class _Opened(NamedTuple):
    """A recording, and the files of its streams with their checksums."""

    recording: Recording
    files: dict[str, tuple[str, str]]
    placed: Placed


class _Cut(NamedTuple):
    """All recordings in a folder, and what is to be said of them."""

    opened: list[_Opened]
    notes: list[str]


def write_clips(
    recordings: Path,
    out: Path,
    windows: Windows,
    *,
    activities: Sequence[str] | None = None,
    streams: Sequence[str] | None = None,
    dataset: str | None = None,
    people: People = EVERYBODY,
) -> pl.DataFrame:
    """Cut the recordings in a folder into windows; write and return the clip table, `out/clips.parquet`.

    A row per clip: `clip, recording, subject, activity, start_s, stop_s` (the video's clock), `purity`, and `origins`,
    per stream its file and the window on its own clock. The file also holds the settings, where `recordings` lie
    relative to `out`, the `"package.module:NAME"` of the data set that it was cut for, if any, and which windows were
    dropped. A table that stands already, cut from the same files alike, is left as it is.

    Raises:
        DataError: no window at all, an activity that is not among `activities`, one of `streams` that no recording has,
            clips of two subjects that share samples, people or activities that look alike and of whom `people` does not
            say who they are, or what opening a recording refuses.
    """
    cut = _cut(recordings, windows, activities, streams, people)
    rows = [row for one in cut.opened for row in _rows(one)]
    dropped = [lost for one in cut.opened for lost in one.placed.dropped]
    if not rows:
        why = "; ".join(told(dropped, [])[:2])
        raise DataError(
            f"{recordings}: no window of {windows.seconds:g} s fits, expected labels at least as long; {why}"
        )
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    said = {
        "recordings": os.path.relpath(recordings.resolve(), out.resolve()),
        "windows": asdict(windows),
        "activities": list(activities or sorted(set(table["activity"]))),
        "dataset": dataset,
        "key": content_key(
            [[one.recording.name, one.recording.content(list(one.recording.streams))] for one in cut.opened]
        ),
        "dropped": [asdict(lost) for lost in dropped],
        "notes": cut.notes,
    }
    content = io.BytesIO()
    table.write_parquet(content, metadata={"plait": json.dumps(said, sort_keys=True)})
    if not (out / TABLE).is_file() or (out / TABLE).read_bytes() != content.getvalue():
        write_bytes(out / TABLE, content.getvalue())
    return table


def told_of(folder: Path) -> list[str]:
    """What is to be said of the clips in a table: what was dropped, who or what has none, what counts twice.

    Raises:
        DataError: the table cannot be read.
    """
    table, said = read_clips(folder)
    clips = [
        Clip(*row)
        for row in table.select("clip", "recording", "subject", "activity", "start_s", "stop_s").rows()
    ]
    lines: list[str] = said["notes"]
    return lines + told(said["dropped"], clips, said["activities"])


def read_clips(folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """A clip table, and what it says of itself.

    That is `recordings` (a path), `windows`, `activities`, `dataset`, `key`, `dropped` and `notes`.

    Raises:
        DataError: it is missing or no clip table.
    """
    path = folder / TABLE
    again = "remove it and run `plait clips` again" if path.exists() else "`plait clips` makes it"
    table = read_parquet(path, again, SCHEMA)
    if table.schema != SCHEMA:
        raise DataError(f"{path}: columns {', '.join(table.columns)}, expected {', '.join(SCHEMA)}; {again}")
    try:
        said = TypeAdapter(_Said).validate_json(pl.read_parquet_metadata(path).get("plait", "{}"))
    except ValidationError as error:
        raise DataError(f"{path}: says of itself: {first_fault(error)}; {again}") from error
    for clip, start_s, stop_s in table.select("clip", "start_s", "stop_s").iter_rows():
        if not -LONGEST_S <= start_s < stop_s <= LONGEST_S:
            raise DataError(
                f"{path}: clip {clip!r}: from {start_s} s to {stop_s} s, expected a later stop; {again}"
            )
    lie_at = Path(os.path.normpath(folder.resolve() / said.recordings))
    return table, {**vars(said), "recordings": lie_at}


def open_clips(folder: Path) -> Iterator[Recording]:
    """The recordings of a clip table, each with its clips as its spans: a `Dataset`'s `recordings`.

    One without clips comes without streams, for what it says was dropped.

    Raises:
        DataError: the table or a recording cannot be read.
    """
    table, said = read_clips(folder)
    dropped: dict[str, list[Dropped]] = {}
    for lost in said["dropped"]:
        dropped.setdefault(lost.recording, []).append(lost)
    for (name, subject), rows in table.group_by("recording", "subject", maintain_order=True):
        recording = open_recording(_folder(said["recordings"], str(name)))
        spans = tuple(Span(*row) for row in rows.select("start_s", "stop_s", "activity").iter_rows())
        own = tuple(dropped.pop(str(name), ()))
        yield replace(recording, subject=str(subject), spans=spans, dropped=own)
    for name, own_dropped in dropped.items():
        yield Recording(name, own_dropped[0].subject, {}, (), dropped=tuple(own_dropped))


def open_windows(
    recordings: Path,
    windows: Windows,
    activities: Sequence[str] | None = None,
    streams: Sequence[str] | None = None,
) -> Iterator[Recording]:
    """The recordings in a folder, each with its windows as its spans: clips without a table on disk.

    Raises:
        DataError: as `write_clips`, save for who is who: a study asks.
    """
    for one in _cut(recordings, windows, activities, streams, None).opened:
        spans = tuple(Span(w.start_s, w.stop_s, w.activity) for w in one.placed.windows)
        yield replace(one.recording, spans=spans, dropped=tuple(one.placed.dropped))


class LazyClips(torch_data.Dataset[tuple[dict[str, Tensor], int]]):
    """A torch `Dataset` over a clip table: `(tensor by modality, number of the activity)`, read when asked for.

    Raises:
        DataError: the table cannot be read, holds an activity that `dataset` does not have, or windows that are
            shorter than those of a modality.
    """

    def __init__(self, folder: Path, dataset: Dataset, modalities: Sequence[str] | None = None) -> None:
        self.dataset = dataset
        self.modalities = [
            dataset.modality(name) for name in modalities or [m.name for m in dataset.modalities]
        ]
        self.table, said = read_clips(folder)
        self.recordings: Path = said["recordings"]
        self.opened: dict[str, Recording] = {}
        _known(folder, set(self.table["activity"]), dataset.activities)
        for modality in self.modalities:
            needs_s = modality.samples / modality.rate_hz if modality.rate_hz else 0.0
            if needs_s > said["windows"]["seconds"] + 1e-6:
                has = f"windows of {said['windows']['seconds']:g} s"
                raise DataError(f"{folder / TABLE}: {has}, expected {needs_s:g} s for {modality.name}")

    def __len__(self) -> int:
        """How many clips there are."""
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], int]:
        """One clip."""
        row = self.table.row(index, named=True)
        if row["recording"] not in self.opened:
            self.opened[row["recording"]] = open_recording(_folder(self.recordings, row["recording"]))
        streams = self.opened[row["recording"]].streams
        for stream in (stream for modality in self.modalities for stream in modality.streams):
            if stream not in streams:
                raise DataError(f"{self.recordings}: recording {row['recording']}: no stream {stream!r}")
        tensors = {m.name: window(m, streams, row["start_s"], row["stop_s"]) for m in self.modalities}
        return tensors, self.dataset.activities.index(row["activity"])


def _folder(recordings: Path, name: str) -> Path:
    """Where the recording called `name` lies; `recordings` may be the recording itself."""
    return recordings if recordings.name == name and not (recordings / name).is_dir() else recordings / name


def _cut(
    root: Path,
    windows: Windows,
    activities: Sequence[str] | None,
    streams: Sequence[str] | None,
    people: People | None,
) -> _Cut:
    """Every recording under `root` with its windows."""
    opened, files = [], []
    for folder in recording_folders(root):
        recording = open_recording(folder)
        labels = {span.activity for span in recording.spans} | ({windows.unlabelled} - {None})
        if activities is not None:
            _known(folder, labels, activities)
        described = read_description(folder)
        named = {"video": described.video, **{name: log.file for name, log in described.logs.items()}}
        files.append({name: (file, checksum(folder / file)) for name, file in named.items()})
        opened.append(
            replace(recording, subject=people.called(recording.subject) if people else recording.subject)
        )
    for stream in streams or ():
        if all(stream not in recording.streams for recording in opened):
            got = ", ".join(opened[0].streams)
            raise DataError(
                f"{root / opened[0].name}: no stream {stream!r}, nor elsewhere; expected it beside: {got}"
            )
    if people:
        check_names(root, opened, people, activities or ())
    each = placed(opened, windows, streams)
    cut = [_Opened(*one) for one in zip(opened, files, each, strict=True)]
    _apart(root, cut)
    notes = check_recordings(root, opened, people) if people else []
    for one in opened:
        if absent := [stream for stream in streams or () if stream not in one.streams]:
            notes.append(
                f"recording {one.name} has no {', '.join(absent)}: its clips are for what does without"
            )
    return _Cut(cut, notes)


def _known(where: Path, labels: set[Any], activities: Sequence[str]) -> None:
    known = {plain(activity) for activity in activities}
    for label in sorted(labels):
        if plain(label) not in known:
            raise DataError(f"{where}: activity {label!r}, expected one of: {', '.join(activities)}")


def _rows(one: _Opened) -> Iterator[tuple[Any, ...]]:
    recording = one.recording
    windows = one.placed.windows
    for number, w in enumerate(windows):
        name = recording.name if len(windows) == 1 else f"{recording.name}/{number:04d}"
        origins = [
            {"stream": stream, "file": file, **_own(recording, stream, w)}
            for stream, (file, _) in one.files.items()
        ]
        yield (name, recording.name, recording.subject, w.activity, w.start_s, w.stop_s, w.purity, origins)


def _own(recording: Recording, stream: str, w: Window) -> Mapping[str, float]:
    """A window on a stream's own clock."""
    ends = np.array([w.start_s, w.stop_s])
    one = recording.streams[stream]
    start_s, stop_s = one.clock(ends) if isinstance(one, Synced) else ends
    return {"start_s": float(start_s), "stop_s": float(stop_s)}


def _apart(root: Path, cut: Sequence[_Opened]) -> None:
    """Refuse windows of two subjects that share samples: one file in two recordings, ingested under two names."""
    uses: dict[str, list[tuple[float, float, str, str, str]]] = {}
    for one in cut:
        for stream, (file, content) in one.files.items():
            for w in one.placed.windows:
                own = _own(one.recording, stream, w)
                uses.setdefault(content, []).append(
                    (own["start_s"], own["stop_s"], one.recording.subject, one.recording.name, file)
                )
    for used in uses.values():
        used.sort()
        for before, after in pairwise(used):
            if before[2] != after[2] and after[0] < before[1] - 1e-6:
                raise DataError(
                    f"{root}: {before[3]} ({before[4]}, subject {before[2]}) and {after[3]} ({after[4]}, subject "
                    f"{after[2]}) share samples at {after[0]:.2f} s, expected one subject for one stretch of a file"
                )
