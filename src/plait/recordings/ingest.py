"""A person's own files to a recording: guess what they are, say so, copy them, leave the originals alone."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import polars as pl

from plait.errors import DataError
from plait.recordings.folder import (
    Description,
    LogFile,
    check_labels,
    parse_description,
    read_description,
    write_description,
)
from plait.recordings.labels import label_columns, read_labels
from plait.recordings.logs import TimeUnit, read_log
from plait.recordings.tables import CSV, Table, numbers, read_table
from plait.recordings.video import Video
from plait.store import atomic, checksum

TEMPLATES = {path.stem: path for path in sorted((Path(__file__).parent / "templates").glob("*.toml"))}
VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".m4v", ".webm", ".ts", ".mts")
TABLES = (*CSV, ".parquet")
TIME = re.compile(
    r"(time ?stamp|time|epoch|t|date ?time|clock|seconds?|millis(econds)?|micros)(_?(s|ms|us|ns|iso|utc))?"
)
AXES = re.compile(r"(.*\W|.*_)?(acc(el|eleration)?|a|la|lin(ear)?_?acc)[ _.-]*[xyz123]\b.*", re.IGNORECASE)
UNITS: dict[TimeUnit, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
LIKELY_S = (1e-4, 2.0)  # between two readings of a sensor


def ingest(
    sources: Sequence[Path],
    out: Path,
    subject: str | None = None,
    name: str | None = None,
    template: str | None = None,
) -> tuple[Path, list[str]]:
    """Make the folder of one recording in `out` from a video, sensor logs and labels; tell what was assumed.

    `sources` are files, or one folder of them. Files are copied with their checksums recorded. The recording is called
    `name`, by default like the folder or the video; `subject` like the recording. Where a `recording.toml` lies among
    the files, it says what is what and nothing is guessed; nor with a `template`, a file of the same form whose files
    are patterns ("*left*.csv"), or one of `TEMPLATES` by name.

    Raises:
        DataError: no video or several, a file that is none of these, a log whose columns cannot be told, or a recording
            of that name that stands already with other files.
    """
    files = sorted(sources[0].iterdir()) if len(sources) == 1 and sources[0].is_dir() else list(sources)
    files = [file for file in files if not file.name.startswith(".")]
    for file in files:
        if not file.is_file():
            raise DataError(f"{file}: no such file, expected a video, sensor logs and labels, or one folder of them")
    given = next((file for file in files if file.name == "recording.toml"), None)
    told: list[str] = []
    if given:
        described = read_description(given.parent)
        files = [given.parent / n for n in described.files]
        told.append(f"{given.name}: taken as it is")
    elif template:
        described = _matched(files, TEMPLATES.get(template, Path(template)), told)
        files = [file for file in files if file.name in described.files]
    else:
        described = _guessed(files, subject, told)
    by_name = {file.name: file for file in files}
    if described.labels:
        labels = by_name[described.labels]
        check_labels(labels, read_labels(labels, described.tier), Video(by_name[described.video]))
    called = name or (sources[0].name if sources[0].is_dir() else Path(described.video).stem)
    folder = out / called
    sums = {file.name: checksum(file) for file in files}
    if folder.exists():
        if read_description(folder).sha256 == sums:
            return folder, [f"{folder}: stands already, made from the same files"]
        raise DataError(f"{folder}: stands already, made from other files; give another --name or remove it")
    with atomic(folder) as making:
        making.mkdir()
        for file in files:
            shutil.copy2(file, making / file.name)
        described = replace(described, subject=subject or described.subject or called, sha256=sums)
        write_description(making, described)
    return folder, [*told, f"subject: {described.subject!r}"]


def _matched(files: Sequence[Path], path: Path, told: list[str]) -> Description:
    """A template with every pattern replaced by the one file that it stands for."""
    pattern_of = parse_description(path)

    def only(stream: str, pattern: str) -> str:
        found = [file.name for file in files if fnmatchcase(file.name.lower(), pattern.lower())]
        if len(found) != 1:
            got = ", ".join(found) or "none"
            raise DataError(f"{path}: {stream}: expected exactly one file like {pattern!r}, got: {got}")
        told.append(f"{found[0]}: {stream}")
        return found[0]

    logs = {name: replace(log, file=only(name, log.file)) for name, log in pattern_of.logs.items()}
    labels = only("labels", pattern_of.labels) if pattern_of.labels else None
    described = replace(pattern_of, video=only("video", pattern_of.video), logs=logs, labels=labels)
    if len(set(described.files)) < len(described.files):
        raise DataError(f"{path}: one file stands for two streams, expected patterns that tell them apart")
    for log in logs.values():
        read_log(next(file for file in files if file.name == log.file), log.log())
    return described


def _guessed(files: Sequence[Path], subject: str | None, told: list[str]) -> Description:
    videos = [file for file in files if file.suffix.lower() in VIDEOS]
    if len(videos) != 1:
        found = ", ".join(file.name for file in videos) or "none"
        raise DataError(f"{files[0].parent if files else '.'}: expected exactly one video, got: {found}")
    Video(videos[0]).times  # noqa: B018 - a video that cannot be read is said so now
    told.append(f"{videos[0].name}: the video, whose clock is everyone's")
    labels: str | None = None
    logs: dict[str, LogFile] = {}
    for file in files:
        suffix = file.suffix.lower()
        if file in videos:
            continue
        table = read_table(file) if suffix in TABLES else None
        if suffix in (".eaf", ".json") or (table and {"start", "activity"} <= label_columns(table).keys()):
            if labels:
                raise DataError(f"{file}: labels, but so is {labels}; expected one file of labels")
            read_labels(file)
            labels = file.name
            told.append(f"{file.name}: labels")
        elif table:
            stream = re.sub(r"[^a-z0-9]+", "_", file.stem.lower()).strip("_") or "log"
            if stream in logs or stream == "video":
                raise DataError(f"{file}: two files for the stream {stream!r}, expected names that differ")
            logs[stream] = _log(table, told)
            rate_hz = read_log(file, logs[stream].log()).rate_hz
            if rate_hz and 3 / rate_hz > logs[stream].max_gap_s:  # a slow sensor: three readings make a gap
                logs[stream] = replace(logs[stream], max_gap_s=3 / rate_hz)
        else:
            expected = ", ".join((*VIDEOS, *TABLES, ".eaf", ".json"))
            raise DataError(f"{file}: not known what this is, expected one of: {expected}")
    return Description(subject=subject or "", video=videos[0].name, logs=logs, labels=labels)


def _log(table: Table, told: list[str]) -> LogFile:
    """Which column is the time, in which unit, and which columns are readings."""
    names = table.frame.columns
    time = next((name for name in names if TIME.fullmatch(name.strip().lower())), None)
    if time is None:
        listed = ", ".join(repr(name) for name in names[:30])
        raise DataError(f"{table.file}: no column of times known by its name, name it in recording.toml: {listed}")
    unit = _unit(table, time)
    readings = [name for name in names if name != time and _number(table, name)]
    if not readings:
        raise DataError(f"{table.file}: no column of numbers beside {time!r}, expected readings")
    acceleration = [name for name in readings if AXES.fullmatch(name)][:3]
    moved = ", ".join(acceleration) if len(acceleration) == 3 else "not known, so it cannot be synchronised by itself"
    told.append(f"{table.file.name}: times in {time!r} ({unit}), {len(readings)} columns; acceleration: {moved}")
    return LogFile(
        table.file.name,
        tuple(readings),
        time,
        unit,
        acceleration=tuple(acceleration) if len(acceleration) == 3 else (),
    )


def _unit(table: Table, time: str) -> TimeUnit:
    """The unit in which successive times are as far apart as a sensor's readings are."""
    column = table.frame[time]
    if column.dtype == pl.Datetime or not _number(table, time):
        return "iso"
    said: TimeUnit | None = next((unit for unit in UNITS if time.lower().endswith(f"_{unit}")), None)
    if said:
        return said
    steps = np.diff(numbers(table, time))
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0
    return next((unit for unit, size in UNITS.items() if LIKELY_S[0] <= step * size <= LIKELY_S[1]), "s")


def _number(table: Table, name: str) -> bool:
    """Whether a column holds numbers; one that does but for some cells is an error in the file, no column of text."""
    try:
        return bool(np.isfinite(numbers(table, name)).any())
    except DataError:
        cells = table.frame[name].cast(pl.String, strict=False).drop_nulls().str.replace(",", ".", literal=True)
        parsed = cells.str.strip_chars().cast(pl.Float64, strict=False).is_not_null().sum()
        if parsed > len(cells) / 2:
            raise
        return False
