"""Labels: who wrote them in a spreadsheet, in ELAN or as ActivityNet's JSON gets the same spans."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat

from pympi.Elan import Eaf  # type: ignore[import-untyped]

from plait.errors import DataError, one_line
from plait.recordings.tables import CSV, Table, read_bytes, read_table
from plait.types import Span

COLUMNS = {
    "start": ("start", "start_s", "begin", "begin_s", "onset", "onset_s", "start_time", "begin_time"),
    "stop": ("stop", "stop_s", "end", "end_s", "offset", "offset_s", "stop_time", "end_time"),
    "duration": ("duration", "duration_s"),
    "activity": ("activity", "label", "class", "name"),
}
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
CLOCK = re.compile(r"(?:([0-9]{1,6}):)?([0-9]{1,2}):([0-9]{1,2}(?:\.[0-9]*)?)")
LONGEST_S = 1e11
TOUCH_S = 1e-6  # less than this is rounding, no overlap


class Entry(NamedTuple):
    """One label as a file has it, and where."""

    where: str
    start_s: float
    stop_s: float
    activity: str


def read_labels(file: Path, tier: str | None = None, video: str | None = None) -> tuple[Span, ...]:
    """The spans in a label file, by start; spans of one activity that overlap become one.

    CSV (`.csv`, `.tsv`, `.txt`) with columns for start, stop or duration, and activity, in seconds or `hh:mm:ss.mmm`;
    ELAN (`.eaf`), where `tier` names one of several tiers; THUMOS' and ActivityNet's JSON (`.json`), where `video`
    names one of several entries.

    Raises:
        DataError: the file is missing, damaged or holds no label; a label is empty, negative or reversed; two of
            different activities overlap; or it is not clear which tier or video is meant.
    """
    suffix = file.suffix.lower()
    if suffix in CSV:
        entries = list(_table(read_table(file)))
    elif suffix == ".eaf":
        entries = list(_elan(file, tier))
    elif suffix == ".json":
        entries = list(_json(file, video))
    else:
        raise DataError(f"{file}: labels are expected to be one of {', '.join(CSV)}, .eaf or .json")
    if not entries:
        raise DataError(f"{file}: no labels, expected some")
    for entry in entries:
        _check(file, entry)
    return _join(file, sorted(entries, key=lambda entry: (entry.start_s, entry.stop_s)))


def _check(file: Path, entry: Entry) -> None:
    if not entry.activity:
        raise DataError(f"{file}: {entry.where}: the activity is empty, expected a name")
    if not 0 <= entry.start_s < entry.stop_s <= LONGEST_S:
        raise DataError(
            f"{file}: {entry.where}: {entry.activity!r} is from {entry.start_s} s to {entry.stop_s} s, "
            "expected a start of 0 or more and a later stop"
        )


def _join(file: Path, entries: list[Entry]) -> tuple[Span, ...]:
    """Spans of checked entries in order."""
    joined: list[Entry] = []
    for entry in entries:
        last = joined[-1] if joined else None
        if last is None or entry.start_s >= last.stop_s - TOUCH_S:
            joined.append(entry)
        elif entry.activity == last.activity:
            joined[-1] = last._replace(stop_s=max(last.stop_s, entry.stop_s))
        else:
            raise DataError(
                f"{file}: {entry.where}: {entry.activity!r} starts at {entry.start_s} s, expected it not before "
                f"{last.activity!r} ({last.where}) ends at {last.stop_s} s"
            )
    return tuple(Span(entry.start_s, entry.stop_s, entry.activity) for entry in joined)


def label_columns(table: Table) -> dict[str, str]:
    """The columns for `start`, `stop`, `duration` and `activity`, as far as a table has them under a usual name."""
    plain = {re.sub(r"[^a-z]+", "_", name.lower()).strip("_"): name for name in reversed(table.frame.columns)}
    return {field: plain[name] for field, names in COLUMNS.items() for name in reversed(names) if name in plain}


def _table(table: Table) -> Iterator[Entry]:
    """Entries of a table, rows without any text left out."""
    found = label_columns(table)
    end = "duration" if "duration" in found and "stop" not in found else "stop"
    for field in ("start", end, "activity"):
        if field not in found:
            named, there = ", ".join(COLUMNS[field]), ", ".join(repr(name) for name in table.frame.columns[:30])
            raise DataError(f"{table.file}: no column for the {field}, expected one of: {named}; there are: {there}")
    cells = [table.frame[found[field]].fill_null("").str.strip_chars() for field in ("start", end, "activity")]
    for row, (start, stop, activity) in enumerate(zip(*cells, strict=True)):
        if not (start or stop or activity):
            continue
        start_s, stop_s = _seconds(table, row, start), _seconds(table, row, stop)
        where = f"{table.place} {table.rows[row]}"
        yield Entry(where, start_s, stop_s if end == "stop" else start_s + stop_s, _plain(activity))


def _seconds(table: Table, row: int, text: str) -> float:
    """Seconds of `12.5` or `00:00:12.5`."""
    number = text.replace(",", ".") if table.decimal_comma else text
    clock = CLOCK.fullmatch(number)
    if clock and int(clock[2]) < 60 and float(clock[3]) < 60:
        return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
    if not NUMBER.fullmatch(number):
        raise DataError(f"{table.at(row)}: {text[:80]!r}, expected a time in seconds or as hh:mm:ss.mmm")
    return float(number)


def _elan(file: Path, tier: str | None) -> Iterator[Entry]:
    """Entries of the tier called `tier`, or of the only one with labels."""
    _refuse_doctype(file, read_bytes(file))
    try:
        eaf = Eaf(file, suppress_version_warning=True)
    except Exception as error:  # pympi raises KeyError, IndexError, ValueError, ... where a file is not as expected
        raise DataError(
            f"{file}: cannot be read, expected ELAN's .eaf: {type(error).__name__} {one_line(error)}"
        ) from error
    tiers = [name for name, (aligned, _, _, _) in eaf.tiers.items() if aligned]
    if tier is None and len(tiers) == 1:
        tier = tiers[0]
    if tier not in tiers:
        which = "several tiers hold" if tier is None and tiers else "no tier holds"
        named = "" if tier is None else f" and is called {tier!r}"
        listed = ", ".join(repr(name) for name in tiers) or "none at all"
        raise DataError(f"{file}: {which} labels with times of their own{named}, expected one of: {listed}")
    for name, (start, stop, activity, _) in eaf.tiers[tier][0].items():
        times = [eaf.timeslots.get(slot) for slot in (start, stop)]
        if any(time is None or abs(time) > LONGEST_S for time in times):
            raise DataError(f"{file}: annotation {name!r}: no time for its start or stop, expected both in ms")
        yield Entry(f"annotation {name!r}", times[0] / 1000, times[1] / 1000, _plain(activity))


def _refuse_doctype(file: Path, content: bytes) -> None:
    """Refuse XML that declares entities (ELAN's never does) before anything expands them."""

    def refuse(*_: object) -> None:
        raise DataError(f"{file}: holds a DOCTYPE, expected ELAN's .eaf, which has none")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DataError(f"{file}: cannot be read, expected ELAN's .eaf: {one_line(error)}") from error


def _json(file: Path, video: str | None) -> Iterator[Entry]:
    """Entries of the video called `video`, or of the only one."""
    try:
        content: Any = json.loads(read_bytes(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read, expected JSON: {one_line(error)}") from error
    videos = _field(file, content, "database", dict, "the file")
    if video is None and len(videos) == 1:
        video = next(iter(videos))
    if video not in videos:
        named = "no name was given" if video is None else f"{video!r} is not among them"
        listed = ", ".join(repr(name) for name in list(videos)[:30]) or "none at all"
        raise DataError(f"{file}: holds {len(videos)} videos and {named}, expected one of: {listed}")
    for i, annotation in enumerate(_field(file, videos[video], "annotations", list, f"video {video!r}"), 1):
        where = f"video {video!r}, annotation {i}"
        segment = _field(file, annotation, "segment", list, where)
        if len(segment) != 2 or not all(type(time) in (int, float) and abs(time) <= LONGEST_S for time in segment):
            raise DataError(f"{file}: {where}: segment is {str(segment)[:80]}, expected [start, stop] in seconds")
        activity = _field(file, annotation, "label", str, where)
        yield Entry(where, float(segment[0]), float(segment[1]), _plain(activity))


def _field(file: Path, holder: Any, name: str, kind: type[Any], where: str) -> Any:
    value = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(value, kind):
        expected = {"dict": "an object", "list": "a list", "str": "text"}[kind.__name__]
        raise DataError(f"{file}: {where}: no {name!r}, expected {expected} there")
    return value


def _plain(text: str) -> str:
    return " ".join(text.split())
