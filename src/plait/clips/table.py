"""A clip table on disk: which window of which recording, by whom, doing what, and out of which files."""

import io
import json
import os
import warnings
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
from plait.errors import ConfigError, DataError, PlaitWarning, first_fault, one_line
from plait.names import plain
from plait.recordings.by_hand import some
from plait.recordings.folder import (
    Synced,
    open_recording,
    read_description,
    recording_folders,
    unsynced,
)
from plait.recordings.same_columns import Columns, columns_of
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
class _Metadata:
    """What a clip table says of itself."""

    recordings: str
    windows: dict[str, Any]
    activities: list[str]
    dataset: str | None = None
    key: str = ""
    dropped: list[Dropped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contents: dict[str, dict[str, str]] | None = None  # of recordings by name; None in older tables

    def __post_init__(self) -> None:
        """Refuse windows that are none."""
        try:
            Windows(**self.windows)
        except (TypeError, ConfigError) as error:
            raise ValueError(one_line(error)) from error


class _Opened(NamedTuple):
    """A recording, the files of its streams with their checksums, and what it held, as it was opened."""

    recording: Recording
    files: dict[str, tuple[str, str]]
    contents: dict[str, str]
    placed: Placed


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

    A row per clip: `clip, recording, subject, activity, start_s, stop_s` (the video's clock), `purity`, and
    `origins`, per stream its file and the window on its own clock. The file also says how it was cut, where
    the recordings lie relative to `out`, what they held, and what was dropped. A table that stands already,
    cut from the same files alike, is left as it is.

    Args:
        recordings: the folder of recordings.
        out: the folder of the table.
        windows: how recordings are cut.
        activities: those that labels may name; by default any.
        streams: those that must have readings in a window, where a recording has them; by default all.
        dataset: the `"package.module:NAME"` of the data set that the table is for, kept in it.
        people: what the user says of persons' names.

    Raises:
        DataError: no window at all, an activity that is not among `activities`, one of `streams` that no
            recording has, clips of two subjects that share samples, persons or activities that look alike
            and that `people` does not settle, or what opening a recording refuses.
    """
    opened, notes = _cut(recordings, windows, activities, streams, people)
    contents = {source.recording.name: source.contents for source in opened}
    tables = [_rows(source) for source in opened if source.placed.windows]
    dropped = [drop for source in opened for drop in source.placed.dropped]
    if not tables:
        why = "; ".join(told(dropped, [])[:2])
        raise DataError(
            f"{recordings}: no window of {windows.seconds:g} s fits, expected labels at least as long; {why}"
        )
    table = pl.concat(tables, rechunk=True)
    keys = [[r.name, r.content(list(r.streams))] for r, *_ in opened]
    metadata = {
        "recordings": os.path.relpath(recordings.resolve(), out.resolve()),
        "windows": asdict(windows),
        "activities": list(activities or sorted(set(table["activity"]))),
        "dataset": dataset,
        "key": content_key(keys),
        "dropped": [asdict(drop) for drop in dropped],
        "notes": notes,
        "contents": contents,
    }
    content = io.BytesIO()
    table.write_parquet(content, metadata={"plait": json.dumps(metadata, sort_keys=True)})
    if not (out / TABLE).is_file() or (out / TABLE).read_bytes() != content.getvalue():
        write_bytes(out / TABLE, content.getvalue())
    return table


def told_of(folder: Path) -> list[str]:
    """What is to be said of the clips in a table: what was dropped, who or what has none, what counts twice.

    Raises:
        DataError: the table cannot be read.
    """
    table, metadata = read_clips(folder)
    columns = table.select("clip", "recording", "subject", "activity", "start_s", "stop_s")
    clips = [Clip(*row) for row in columns.iter_rows()]
    notes: list[str] = metadata["notes"]
    return notes + told(metadata["dropped"], clips, metadata["activities"])


def read_clips(folder: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """A clip table, and what it says of itself.

    That is `recordings` (a path), `windows`, `activities`, `dataset`, `key`, `dropped`, `notes`, `contents`.

    Raises:
        DataError: it is missing or no clip table.
    """
    path = folder / TABLE
    remedy = "remove it and run `plait clips` again" if path.exists() else "`plait clips` makes it"
    table = read_parquet(path, remedy, SCHEMA)
    if table.schema != SCHEMA:
        raise DataError(f"{path}: columns {', '.join(table.columns)}, expected {', '.join(SCHEMA)}; {remedy}")
    try:
        metadata = TypeAdapter(_Metadata).validate_json(pl.read_parquet_metadata(path).get("plait", "{}"))
    except ValidationError as error:
        raise DataError(f"{path}: says of itself: {first_fault(error)}; {remedy}") from error
    start, stop = pl.col("start_s"), pl.col("stop_s")
    fits = (start >= -LONGEST_S) & (start < stop) & (stop <= LONGEST_S)  # NaN is above all
    for clip, start_s, stop_s in table.filter(~fits).select("clip", "start_s", "stop_s").head(1).iter_rows():
        got = f"from {start_s} s to {stop_s} s"
        raise DataError(f"{path}: clip {clip!r}: {got}, expected a later stop; {remedy}")
    recordings = Path(os.path.normpath(folder.resolve() / metadata.recordings))
    return table, {**vars(metadata), "recordings": recordings}


def open_clips(folder: Path) -> Iterator[Recording]:
    """The recordings of a clip table, each with its clips as its spans: a `Dataset`'s `recordings`.

    One without clips comes without streams, for what it says was dropped.

    Raises:
        DataError: the table or a recording cannot be read, or a recording is no longer what was cut.
    """
    table, metadata = read_clips(folder)
    _tell_new(folder, metadata)
    dropped: dict[str, list[Dropped]] = {}
    for drop in metadata["dropped"]:
        dropped.setdefault(drop.recording, []).append(drop)
    for (name, subject), rows in table.group_by("recording", "subject", maintain_order=True):
        recording = _open(folder, metadata, str(name))
        spans = tuple(Span(*row) for row in rows.select("start_s", "stop_s", "activity").iter_rows())
        drops = tuple(dropped.pop(str(name), ()))
        yield replace(recording, subject=str(subject), spans=spans, dropped=drops)
    for recording_name, rest in dropped.items():
        yield Recording(recording_name, rest[0].subject, {}, (), dropped=tuple(rest))


def recordings_of(folder: Path) -> Iterator[Recording]:
    """The recordings that a clip table was cut from, as they are, with all their labels.

    Raises:
        DataError: the table or a recording cannot be read, or a recording is no longer what was cut.
    """
    table, metadata = read_clips(folder)
    _tell_new(folder, metadata)
    pairs = table.select("recording", "subject").unique(maintain_order=True)
    for name, subject in pairs.iter_rows():
        yield replace(_open(folder, metadata, name), subject=subject)


def open_windows(
    recordings: Path,
    windows: Windows,
    activities: Sequence[str] | None = None,
    streams: Sequence[str] | None = None,
) -> Iterator[Recording]:
    """The recordings in a folder, each with its windows as its spans: clips without a table on disk.

    Args:
        recordings: the folder of recordings.
        windows: how they are cut.
        activities: those that labels may name; by default any.
        streams: those that must have readings in a window, where a recording has them; by default all.

    Raises:
        DataError: as `write_clips`, save for who is who: a study asks.
    """
    opened, _ = _cut(recordings, windows, activities, streams, None)
    for recording, *_, (clips, dropped) in opened:
        spans = tuple(Span(clip.start_s, clip.stop_s, clip.activity) for clip in clips)
        yield replace(recording, spans=spans, dropped=tuple(dropped))


class LazyClips(torch_data.Dataset[tuple[dict[str, Tensor], int]]):
    """A torch `Dataset` over a clip table: `(tensor by modality, number of the activity)`, read when needed.

    Raises:
        DataError: the table cannot be read, holds an activity that `dataset` does not have, or windows that
            are shorter than those of a modality.
    """

    def __init__(self, folder: Path, dataset: Dataset, modalities: Sequence[str] | None = None) -> None:
        self.dataset = dataset
        names = modalities or [modality.name for modality in dataset.modalities]
        self.modalities = [dataset.modality(name) for name in names]
        self.folder = folder
        self.table, self.metadata = read_clips(folder)
        self.recordings: Path = self.metadata["recordings"]
        _tell_new(folder, self.metadata)
        self.opened: dict[str, Recording] = {}
        self.columns = Columns()
        _check_activities(folder, set(self.table["activity"]), dataset.activities)
        length_s = self.metadata["windows"]["seconds"]
        for modality in self.modalities:
            needs_s = modality.samples / modality.rate_hz if modality.rate_hz else 0.0
            if needs_s > length_s + 1e-6:
                expected = f"expected {needs_s:g} s for {modality.name}"
                raise DataError(f"{folder / TABLE}: windows of {length_s:g} s, {expected}")

    def __len__(self) -> int:
        """How many clips there are."""
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], int]:
        """One clip."""
        row = self.table.row(index, named=True)
        used = [stream for modality in self.modalities for stream in modality.streams]
        if row["recording"] not in self.opened:
            recording = _open(self.folder, self.metadata, row["recording"])
            where = f"{self.recordings}: recording {row['recording']}"
            self.columns.check(columns_of(recording.streams), where, used)
            self.opened[row["recording"]] = recording
        streams = self.opened[row["recording"]].streams
        for stream in used:
            if stream not in streams:
                raise DataError(f"{self.recordings}: recording {row['recording']}: no stream {stream!r}")
        tensors = {m.name: window(m, streams, row["start_s"], row["stop_s"]) for m in self.modalities}
        return tensors, self.dataset.activities.index(row["activity"])


def _folder(recordings: Path, name: str) -> Path:
    """Where the recording called `name` lies; `recordings` may be the recording itself."""
    return recordings if recordings.name == name and not (recordings / name).is_dir() else recordings / name


def _open(folder: Path, metadata: Mapping[str, Any], name: str) -> Recording:
    """The recording called `name` of the clip table in `folder`.

    Raises:
        DataError: it cannot be read, or is no longer what was cut.
    """
    recording = open_recording(_folder(metadata["recordings"], name))
    cut = (metadata["contents"] or {}).get(name)
    now = _contents(recording) if cut is not None else {}
    if cut is not None and (others := ", ".join(kind for kind in now if now[kind] != cut.get(kind))):
        raise DataError(
            f"{folder / TABLE}: recording {name}: its {others}: others than when clips were cut, expected "
            f"the same; run `plait clips` again"
        )
    return recording


def _contents(recording: Recording) -> dict[str, str]:
    """What decides a recording's clips, by kind: names as they are, of all else keys."""
    clocks = {name: s.clock for name, s in recording.streams.items() if isinstance(s, Synced)}
    readings = replace(recording, streams={name: unsynced(s) for name, s in recording.streams.items()})
    return {
        "subject": recording.subject,
        "session": recording.session,
        "labels": content_key([[span.start_s, span.stop_s, span.activity] for span in recording.spans]),
        "clocks": content_key({name: [clock.offset_s, clock.drift_ppm] for name, clock in clocks.items()}),
        "readings": content_key([list(recording.streams), readings.content(list(recording.streams))]),
    }


def _tell_new(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Warn of recordings that have been added since clips were cut."""
    if metadata["contents"] is None:
        return
    folders = recording_folders(metadata["recordings"])
    if added := [path.name for path in folders if path.name not in metadata["contents"]]:
        line = f"{folder / TABLE}: without {some(added)}, added since clips were cut; run `plait clips` again"
        warnings.warn(line, PlaitWarning, stacklevel=3)


def _cut(
    root: Path,
    windows: Windows,
    activities: Sequence[str] | None,
    streams: Sequence[str] | None,
    people: People | None,
) -> tuple[list[_Opened], list[str]]:
    """Every recording under `root` with its windows, and what is to be said of them."""
    recordings, files, contents, columns = [], [], [], Columns()
    for folder in recording_folders(root):
        recording = open_recording(folder)
        if people:
            columns.compare_units(recording.streams, str(folder), streams or [*recording.streams])
        labels = {span.activity for span in recording.spans} | ({windows.unlabelled} - {None})
        if activities is not None:
            _check_activities(folder, labels, activities)
        described = read_description(folder)
        named = {"video": described.video, **{name: log.file for name, log in described.logs.items()}}
        files.append({name: (file, checksum(folder / file)) for name, file in named.items()})
        contents.append(_contents(recording))
        if people:
            recording = replace(recording, subject=people.called(recording.subject))
        recordings.append(recording)
    for stream in streams or ():
        if all(stream not in recording.streams for recording in recordings):
            first = recordings[0]
            expected = f"expected it beside: {', '.join(first.streams)}"
            raise DataError(f"{root / first.name}: no stream {stream!r}, nor elsewhere; {expected}")
    if people:
        check_names(root, recordings, people, activities or ())
    placements = placed(recordings, windows, streams)
    opened = [_Opened(*parts) for parts in zip(recordings, files, contents, placements, strict=True)]
    _refuse_shared_samples(root, opened)
    notes = check_recordings(root, recordings, people) if people else []
    for recording in recordings:
        if absent := ", ".join(stream for stream in streams or () if stream not in recording.streams):
            notes.append(f"recording {recording.name} has no {absent}: its clips are for what does without")
    return opened, notes


def _check_activities(where: Path, labels: set[Any], activities: Sequence[str]) -> None:
    allowed = {plain(activity) for activity in activities}
    for label in sorted(labels):
        if plain(label) not in allowed:
            raise DataError(f"{where}: activity {label!r}, expected one of: {', '.join(activities)}")


def _rows(source: _Opened) -> pl.DataFrame:
    """The table's rows of one recording."""
    recording, files, _, (windows, _) = source
    alone = len(windows) == 1
    names = [recording.name if alone else f"{recording.name}/{n:04d}" for n in range(len(windows))]
    origins = []
    for stream, (file, _) in files.items():
        ends = pl.DataFrame(_on_clock(recording, stream, windows), ["start_s", "stop_s"])
        origins.append(pl.struct(pl.lit(stream).alias("stream"), pl.lit(file).alias("file"), *ends))
    columns = {
        "clip": names,
        **{name: [getattr(clip, name) for clip in windows] for name in Window._fields},
        "recording": [recording.name] * len(windows),
        "subject": [recording.subject] * len(windows),
    }
    table = pl.DataFrame(columns, {name: kind for name, kind in SCHEMA.items() if name != "origins"})
    return table.with_columns(origins=pl.concat_list(origins)).select(list(SCHEMA)).cast(pl.Schema(SCHEMA))


def _on_clock(recording: Recording, stream: str, windows: Sequence[Window]) -> np.ndarray:
    """When windows start and stop on a stream's own clock, `(windows, 2)`."""
    ends = np.array([(clip.start_s, clip.stop_s) for clip in windows], dtype=np.float64).reshape(-1, 2)
    sensor = recording.streams[stream]
    return sensor.clock(ends) if isinstance(sensor, Synced) else ends


def _refuse_shared_samples(root: Path, opened: Sequence[_Opened]) -> None:
    """Refuse windows of two subjects that share samples: one file in two recordings, under two names."""
    uses: dict[str, list[tuple[_Opened, str, str]]] = {}
    for source in opened:
        for stream, (file, content) in source.files.items():
            uses.setdefault(content, []).append((source, stream, file))
    for uses_of in uses.values():
        clips: list[tuple[float, float, str, str, str]] = []
        for (recording, *_, (windows, _)), stream, file in uses_of if len(uses_of) > 1 else ():
            about = recording.subject, recording.name, file
            clips += [(*ends, *about) for ends in _on_clock(recording, stream, windows).tolist()]
        for before, after in pairwise(sorted(clips)):
            _, stop_s, subject, name, file = before
            start_s, _, other, other_name, other_file = after
            if subject != other and start_s < stop_s - 1e-6:
                both = f"{name} ({file}, subject {subject}) and {other_name} ({other_file}, subject {other})"
                expected = "expected one subject for one stretch of a file"
                raise DataError(f"{root}: {both} share samples at {start_s:.2f} s, {expected}")
