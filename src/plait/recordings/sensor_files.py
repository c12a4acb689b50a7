"""Sensors' own files in a recording: each stream of theirs becomes a table, which is ingested as any log."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from plait.errors import ConfigError, DataError, own_code
from plait.patterns import matching
from plait.recordings.folder import Description, LogFile
from plait.recordings.formats.known import FORMATS, format_of, named
from plait.recordings.formats.sensed import TIME, Format, Sensed
from plait.recordings.gather import stream_name
from plait.recordings.unknown_logs import describe_log
from plait.store import checksum, content_key
from plait.trust import NOBODY, Trust


@dataclass(frozen=True)
class Made:
    """A table that was made of one stream of a sensor's own file.

    Args:
        file: the table, called like the stream.
        original: the name of what it was made of.
        settings: of `LogFile`, by what the format says.
        clock: tables with the same, if it is not empty, have times of one clock.
        on_video: its clock is the video's.
        ticks: it has to be said how many of its times' units make a second.
    """

    file: Path
    original: str
    settings: Mapping[str, Any]
    clock: str
    on_video: bool
    ticks: bool


class Formats:
    """Which format each file is in: as somebody says, or as its first bytes do.

    Args:
        said: names of `FORMATS`, or functions of one's own as `module:Name`, by files or patterns of them.
        trust: whose code may run.

    Raises:
        ConfigError: there is no such format, or its code is not trusted.
    """

    def __init__(self, said: Mapping[str, str] | None = None, trust: Trust = NOBODY) -> None:
        self.said: dict[str, Format] = {}
        for pattern, name in (said or {}).items():
            where = f"--format {pattern}={name}"
            if ":" not in name:
                self.said[pattern] = named(name, where)
                continue
            function = trust.own(name, where)
            if not callable(function):
                raise ConfigError(f"{where}: {name} is no function, expected one from a file to its streams")
            self.said[pattern] = Format(where, lambda path: False, _own(function, where))

    def of(self, path: Path) -> Format | None:
        """The format of a file or a folder, None where it is no sensor's own."""
        for pattern, each in self.said.items():
            if matching(pattern, [path.name]):
                return each
        return format_of(path)


def _own(function: Any, where: str) -> Any:
    """A function of somebody's own, whose errors are one line and whose streams are looked at."""

    def read(path: Path) -> Iterator[Sensed]:
        with own_code(where, passing=()):
            found = list(function(path))
        for sensed in found:
            if not isinstance(sensed, Sensed):
                kind = type(sensed).__name__
                raise ConfigError(f"{where}: gives a {kind}, expected plait.recordings.formats.sensed.Sensed")
        yield from found

    return read


def tables(
    files: Sequence[Path], formats: Formats, folder: Path, told: list[str], video: str | None = None
) -> tuple[list[Path], list[Made], dict[str, str]]:
    """The files with the sensors' own among them replaced by tables, those, and the originals' checksums.

    Args:
        files: of a recording.
        formats: which are sensors' own.
        folder: where the tables are made.
        told: grows by what each format says.
        video: the only one of the videos whose own sensors are meant.

    Raises:
        DataError: a sensor's file is damaged, needs what is not installed, or two streams have one name.
    """
    rest: list[Path] = []
    found: list[tuple[Path, Sensed]] = []
    originals: dict[str, str] = {}
    for file in files:
        each = formats.of(file)
        if each is None or each is FORMATS["gopro"]:
            rest.append(file)
        if each is None or (each is FORMATS["gopro"] and video not in (None, file.name)):
            continue
        try:
            streams = list(each.streams(file))
        except DataError as error:
            if each is not FORMATS["gopro"]:
                raise
            told.append(f"{file.name}: the camera's own sensors cannot be read, left out: {error}")
            continue
        found += [(file, sensed) for sensed in streams]
        originals[file.name] = _checksum(file)
        names = ", ".join(sensed.name or "one" for sensed in streams) or "none"
        told.append(f"{file.name}: {each.name}, streams: {names}")
    taken = {file.name for file in rest}
    made = [
        _written(file, stream, sensed, folder, taken, told)
        for (file, sensed), stream in zip(found, _names(found, told), strict=True)
    ]
    return [*rest, *(one.file for one in made)], made, originals


def _names(found: Iterable[tuple[Path, Sensed]], told: list[str]) -> list[str]:
    """What each stream is called: its own name, its file's, or both where several have one name."""
    found = list(found)
    short = [stream_name(sensed.name or file.stem) for file, sensed in found]
    several = Counter(short)
    names = [
        name if several[name] == 1 else stream_name(f"{file.stem}_{sensed.name}")
        for name, (file, sensed) in zip(short, found, strict=True)
    ]
    for name, plain, (file, _) in zip(names, short, found, strict=True):
        if names.count(name) > 1:
            same = [other for each, (other, _) in zip(names, found, strict=True) if each == name]
            where = "names that differ" if {*same} == {file} else "names of files that tell them apart"
            raise DataError(f"{file}: two streams called {name!r}, expected {where}")
        if name != plain:
            told.append(f"{file.name}: {name}, for {plain} is there more than once")
    return names


def _written(file: Path, stream: str, sensed: Sensed, folder: Path, taken: set[str], told: list[str]) -> Made:
    target = folder / f"{stream}.parquet"
    if target.name in taken:
        raise DataError(
            f"{file}: its stream {stream!r} is called like {target.name}, expected names that differ"
        )
    columns = {name: sensed.values[:, number] for number, name in enumerate(sensed.columns)}
    pl.DataFrame({TIME: sensed.times, **columns}).write_parquet(target)
    told += [f"{target.name}: {note}" for note in sensed.notes]
    if sensed.units:
        kinds = dict.fromkeys(sensed.units.values())
        of = {unit: [name for name in sensed.columns if sensed.units.get(name) == unit] for unit in kinds}
        listed = "; ".join(f"{', '.join(names)}: {unit}" for unit, names in of.items())
        told.append(f"{target.name}: units: {listed}")
    settings: dict[str, Any] = {
        "columns": sensed.columns,
        "time": TIME,
        "units": dict(sensed.units),
        "acceleration": sensed.acceleration,
        "missing": (),
    }
    if not sensed.ticks:
        settings["time_unit"] = "s"
    if sensed.on_video:
        settings |= {"absolute": True, "clock_set": ()}
    return Made(target, file.name, settings, sensed.clock, sensed.on_video, sensed.ticks)


@contextmanager
def by_originals(made: Sequence[Made]) -> Iterator[None]:
    """Errors of tables that were made name what they were made of, for nobody has seen the tables.

    Raises:
        DataError: as it was raised within, with the originals' names.
    """
    try:
        yield
    except DataError as error:
        text = str(error)
        for one in made:
            text = text.replace(str(one.file), f"{one.original}: {one.file.stem}")
        if text == str(error):
            raise
        raise DataError(text) from error


def describe_made(
    made: Made, stream: str, video_s: float, said: Mapping[str, Any], notes: list[str]
) -> LogFile:
    """How the table that was made of a sensor's own stream is to be read; arguments as of `describe_log`.

    Raises:
        DataError: it is not known what its times are, or it is called like the video's stream.
    """
    if stream == "video":
        raise DataError(f"{made.original}: a stream called 'video', expected another name")
    if made.ticks and "time_unit" not in said:
        raise DataError(
            f"{made.original}: it does not say how many readings make a second, expected to be told: "
            f"--set logs.{stream}.time_unit=HZ"
        )
    return describe_log(made.file, stream, video_s, {**made.settings, **said}, notes)


def share_clocks(logs: dict[str, LogFile], made: Iterable[Made], notes: list[str]) -> None:
    """Let streams of one device have the clock of the first that tells how it is moved."""
    clock_of = {one.file.name: one.clock for one in made if one.clock and not one.on_video}
    groups: dict[str, list[str]] = {}
    for stream, log in logs.items():
        if log.file in clock_of:
            groups.setdefault(clock_of[log.file], []).append(stream)
    for clock, streams in groups.items():
        first = next((stream for stream in streams if logs[stream].acceleration), streams[0])
        others = [stream for stream in streams if stream != first and logs[stream].same_clock is None]
        if not others or logs[first].same_clock is not None:
            continue
        for stream in others:
            logs[stream] = replace(logs[stream], same_clock=first)
        notes.append(f"{clock}: {', '.join(others)} on the clock of {first}")


def traced(described: Description, made: Sequence[Made]) -> Description:
    """A description that says what tables were made of, and their units."""
    by_name = {one.file.name: one for one in made}
    logs = dict(described.logs)
    for stream, log in described.logs.items():
        if one := by_name.get(log.file):
            absolute = log.absolute or (one.on_video and one.original == described.video)
            logs[stream] = replace(log, units=log.units or one.settings["units"], absolute=absolute)
    made_from = {log.file: by_name[log.file].original for log in logs.values() if log.file in by_name}
    return replace(described, logs=logs, made_from=made_from or described.made_from)


def _checksum(path: Path) -> str:
    """A file's SHA-256, or a key of those in a folder."""
    if path.is_file():
        return checksum(path)
    return content_key({inner.name: checksum(inner) for inner in sorted(path.iterdir()) if inner.is_file()})
