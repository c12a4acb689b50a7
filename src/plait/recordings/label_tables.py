"""Labels in tables: whose rows they are, a row for each label, or rows that only begin or end one."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from plait.errors import DataError
from plait.names import natural, plain
from plait.recordings.annotations import (
    NUMBER,
    Entry,
    Footage,
    LabelClock,
    LabelSettings,
    listed,
    other_length,
    unit_of,
    way_out,
)
from plait.recordings.label_columns import (
    ENDS,
    LENGTHS,
    MARKED,
    MARKS,
    PEOPLE,
    ROUNDS,
    VIDEOS,
    Sheet,
    Times,
    activity_column,
    event_columns,
    is_text,
    other_columns,
    time_columns,
    words,
)
from plait.recordings.owners import EVERY, films, key, nobody, own
from plait.recordings.tables import MISSING, Table

TOUCH_S = 1e-6  # less than this is rounding, no overlap
OFF_RATE = 0.005  # rates of frames that differ by less were rounded
RATES = {("frame", "rate"), ("frames", "per")}
APART_S = 0.1  # times that are written twice and differ by less were rounded
FRACTION = re.compile(r"[-+]?[0-9]*[.,][0-9]+")


def read(
    table: Table, settings: LabelSettings, footage: Footage | None, told: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """The entries of a table that are about `footage`, and what was settled.

    Raises:
        DataError: a column is missing or one of several, no row is about it, or a time is none.
    """
    sheet = Sheet(table)
    times = time_columns(sheet.names)
    events = None if times else event_columns(sheet)
    if times is None and events is None:
        raise _no_times(sheet)
    used = set(times.columns.values()) if times else set(events or ())
    written = [row for row in range(len(table.frame)) if any(sheet.cells[name][row] for name in sheet.names)]
    others = other_columns(sheet, used, settings)
    rows = _own_rows(sheet, written, others, settings, footage, told)
    activity = activity_column(sheet, written, used, settings, told)
    rows = [row for row in rows if any(sheet.cells[name][row] for name in (*used, activity))]
    first = times.columns["start"] if times else (events or ("",))[0]
    said = settings.label_unit or (times and times.unit) or unit_of([sheet.cells[first][row] for row in rows])
    unit = said or "s"
    if unit != "s":
        told.append(f"{table.file.name}: times in {unit}{' from 0' if unit == 'frames' else ''}")
    _refuse_offset(sheet, rows)
    if unit in ("frames", "timecode"):
        _refuse_rate(sheet, rows, settings, footage)
    clock = LabelClock(table.file, unit, settings, footage, table.decimal_comma)
    if times:
        entries = [_entry(sheet, row, times.columns, activity, clock) for row in rows]
        _refuse_clocks(sheet, rows, entries)
        _compare_times(sheet, rows, entries, times, clock, told)
    else:
        assert events is not None
        entries = list(_paired(sheet, rows, events, activity, clock))
    if times and EVERY not in settings.labels_of:
        _refuse_accounts(sheet, rows, entries, [name for name in others if name != activity])
    _compare_lengths(sheet, rows, footage, told)
    _tell_groups(sheet, rows, [name for name in others if name != activity], told)
    return entries, replace(settings, activity_column=activity, label_unit=said or None)


def _entry(sheet: Sheet, row: int, columns: dict[str, str], activity: str, clock: LabelClock) -> Entry:
    cells = {field: sheet.cells[name][row] for field, name in columns.items()}
    where, what = sheet.where(row), plain(sheet.cells[activity][row])
    start_s = clock.seconds(cells["start"], where)
    end = cells.get("stop", cells.get("duration", ""))
    if end.lower() in MISSING and _marked(sheet, row) == "point":
        return Entry(where, start_s, start_s, what)
    if "stop" in cells:
        return Entry(where, start_s, clock.seconds(end, where), what)
    if clock.unit not in ("s", "ms", "us"):
        raise DataError(f"{clock.file}: durations beside starts in {clock.unit}, expected a column of stops")
    length = replace(clock, settings=replace(clock.settings, label_zero=None), footage=None)
    return Entry(where, start_s, start_s + length.seconds(end, where), what)


def _marked(sheet: Sheet, row: int) -> str | None:
    """What a row's mark says: start, stop or point."""
    cells = (sheet.cells[sheet.named[name]][row] for name in MARKED if name in sheet.named)
    return next((MARKS[key(cell)] for cell in cells if key(cell) in MARKS), None)


def _paired(
    sheet: Sheet, rows: Sequence[int], events: tuple[str, str], activity: str, clock: LabelClock
) -> Iterator[Entry]:
    """A label from each start to the next stop of its activity and of its person."""
    time, mark = events
    people = sheet.among(PEOPLE)
    opened: dict[tuple[str, ...], tuple[float, str]] = {}
    for seconds, row in sorted(
        (clock.seconds(sheet.cells[time][row], sheet.where(row)), row) for row in rows
    ):
        where, said = sheet.where(row), sheet.cells[mark][row]
        whose = (plain(sheet.cells[activity][row]), *(sheet.cells[name][row] for name in people))
        what = MARKS.get(key(said))
        if what == "point":
            yield Entry(where, seconds, seconds, whose[0])
        elif what == "start" and whose not in opened:
            opened[whose] = (seconds, where)
        elif what == "stop" and whose in opened:
            start_s, began = opened.pop(whose)
            yield Entry(began, start_s, seconds, whose[0])
        else:
            raise DataError(
                f"{clock.file}: {where}: {whose[0]!r} is marked {said!r}, expected its starts and stops in turn"
            )
    for whose, (_, where) in opened.items():
        raise DataError(f"{clock.file}: {where}: {whose[0]!r} starts and never stops, expected a stop")


def _own_rows(
    sheet: Sheet,
    rows: list[int],
    others: Sequence[str],
    settings: LabelSettings,
    footage: Footage | None,
    told: list[str],
) -> list[int]:
    """The rows that are about this recording, where columns say which they are about.

    A column says so by its name, by holding names of video files, or by naming this recording among others.
    """
    file, wanted, before = sheet.table.file, {key(name) for name in settings.labels_of}, len(rows)
    if EVERY in wanted:
        return rows
    found, silent = set[str](), list[str]()
    people = sheet.among(PEOPLE)
    filmed = [name for name in (*people, *others) if _all_films(sheet.cells[name][row] for row in rows)]
    videos = [*sheet.among(VIDEOS), *filmed]
    for name in dict.fromkeys((*videos, *people, *others)):
        cells, place = sheet.cells[name], f"column {name!r}"
        values = sorted({cells[row] for row in rows} - {""})
        unknown_column = name not in videos and name not in people
        if unknown_column and (len(values) < 2 or not (wanted or _groups(cells[row] for row in rows))):
            continue
        chosen = {value for value in values if key(value) in wanted}
        found |= {key(value) for value in chosen}
        if not chosen and values and footage is not None:
            chosen = own(values, footage, file, place)
        if not chosen and name in videos and not wanted and (len(values) > 1 or (values and footage)):
            raise nobody(file, place, values, footage)
        if not chosen:
            silent += [] if unknown_column else [name]
            continue
        empty = next((row for row in rows if not cells[row]), None)
        if empty is not None:
            raise DataError(
                f"{sheet.table.at(empty)}: {place} is empty, expected a name as in the other rows"
            )
        rows = [row for row in rows if cells[row] in chosen]
        told.append(f"{file.name}: rows whose {place} says {listed(sorted(chosen))}")
    if unknown := wanted - found:
        raise DataError(
            f"{file}: labels_of is {min(unknown)!r}, expected a video, session or person that a row names"
        )
    for name in silent:
        values = sorted({sheet.cells[name][row] for row in rows} - {""})
        if len(values) > 1:
            raise DataError(
                f"{file}: column {name!r} says {listed(values)}, expected to know whose labels are meant; "
                f"{way_out('labels_of', values[0])}, or {EVERY} for every row"
            )
        if values:
            told.append(f"{file.name}: column {name!r} says {values[0]!r}, which is not looked at")
    if len(rows) < before:
        told.append(f"{file.name}: {before - len(rows)} rows are about others and left out")
    return rows


def _all_films(cells: Iterable[str]) -> bool:
    """Whether cells name video files, and nothing else."""
    different = set(cells)
    return bool(different) and all(map(films, different))


def _groups(cells: Iterable[str]) -> bool:
    """Whether cells are of text that tells groups of rows apart, and not each row from the others."""
    listing = list(cells)
    different = set(listing)
    return is_text(listing) and (len(different) < len(listing) or len(listing) < 4)


def _refuse_accounts(
    sheet: Sheet, rows: Sequence[int], entries: Sequence[Entry], others: Sequence[str]
) -> None:
    """Refuse two accounts of one time, as of two annotators: rows that say the same at once, told apart by a column."""
    pairs = list(_at_once(entries))
    if 2 * len({i for pair in pairs for i in pair}) < len(entries) or not pairs:
        return
    for name in others:
        cells = [sheet.cells[name][row] for row in rows]
        few = len(set(cells)) < len(cells) and not any(FRACTION.fullmatch(cell) for cell in cells)
        if few and all(cells) and all(cells[i] != cells[j] for i, j in pairs):
            values = sorted(set(cells))
            raise DataError(
                f"{sheet.table.file}: column {name!r}: labels of {listed(values)} say the same at one time, expected "
                f"one account of it; {way_out('labels_of', values[0])}, or {EVERY} for every row"
            )


def _refuse_rate(sheet: Sheet, rows: Sequence[int], settings: LabelSettings, footage: Footage | None) -> None:
    """Refuse frames that were counted at another rate than the video's, as a column says."""
    if footage is None or settings.label_fps is not None:
        return
    shown_hz = 1 / footage.step_s
    for name in (
        name for name in sheet.names if {"fps", "framerate"} & set(words(name)) or words(name)[:2] in RATES
    ):
        for row in rows:
            said = sheet.cells[name][row].replace(",", ".")
            if NUMBER.fullmatch(said) and abs(float(said) - shown_hz) > OFF_RATE * shown_hz:
                raise DataError(
                    f"{sheet.table.at(row)}: column {name!r} says {said} frames a second, and {footage.video!r} shows "
                    f"{shown_hz:.5g}, expected to know how frames are counted; {way_out('label_fps', said)}"
                )


def _tell_groups(sheet: Sheet, rows: Sequence[int], others: Sequence[str], told: list[str]) -> None:
    """Say which columns of whole numbers tell groups of rows apart and are not looked at; those of text are said."""
    for name in others:
        cells = [sheet.cells[name][row] for row in rows]
        values = sorted(set(cells) - {""}, key=natural)
        if 1 < len(values) <= len(cells) / 2 and all(cell.isdecimal() for cell in values):
            told.append(
                f"{sheet.table.file.name}: column {name!r} says {listed(values, 4)} and is not looked at: are all rows "
                "of this recording?"
            )


def _at_once(entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    """The pairs of entries that say the same at one time."""
    begun: dict[str, list[int]] = {}
    for i in sorted(range(len(entries)), key=lambda i: entries[i].start_s):
        entry = entries[i]
        open_ = [j for j in begun.get(entry.activity, []) if entries[j].stop_s > entry.start_s + TOUCH_S]
        yield from ((j, i) for j in open_ if entry.stop_s > entry.start_s + TOUCH_S)
        begun[entry.activity] = [*open_, i]


def _compare_times(
    sheet: Sheet,
    rows: Sequence[int],
    entries: Sequence[Entry],
    times: Times,
    clock: LabelClock,
    told: list[str],
) -> None:
    """Say where a table has the times of its labels twice, and they differ."""
    for unit, columns in times.again.items():
        again = replace(clock, unit=unit)
        for row, entry in zip(rows, entries, strict=True):
            try:
                other = _entry(sheet, row, columns, columns["start"], again)
            except DataError:
                break  # of no use for comparing
            if max(abs(other.start_s - entry.start_s), abs(other.stop_s - entry.stop_s)) > APART_S:
                names = listed([columns["start"], columns["stop"]])
                told.append(
                    f"{clock.file.name}: {names} say {other.start_s:.5g} to {other.stop_s:.5g} s where "
                    f"{times.columns['start']!r} says {entry.start_s:.5g} ({entry.where}), and are not looked at"
                )
                break
    if {"stop", "duration"} <= times.columns.keys() and clock.unit in ("s", "ms", "us"):
        lasts = replace(clock, settings=LabelSettings(), footage=None)
        name = times.columns["duration"]
        for row, entry in zip(rows, entries, strict=True):
            try:
                length_s = lasts.seconds(sheet.cells[name][row], entry.where)
            except DataError:
                break
            if abs(length_s - (entry.stop_s - entry.start_s)) > APART_S:
                told.append(
                    f"{clock.file.name}: {name!r} is not from start to stop ({entry.where}), not looked at"
                )
                break


def _compare_lengths(sheet: Sheet, rows: Sequence[int], footage: Footage | None, told: list[str]) -> None:
    """Say where a table states another length of the video than it has."""
    for name in (name for name in sheet.names if words(name)[:2] in LENGTHS):
        clock = LabelClock(sheet.table.file, "s", LabelSettings(), None, sheet.table.decimal_comma)
        for cell in {sheet.cells[name][row] for row in rows}:
            try:
                doubt = other_length(sheet.table.file, clock.seconds(cell, name), footage)
            except DataError:
                continue
            if doubt and doubt not in told:
                told.append(doubt)


def _refuse_clocks(sheet: Sheet, rows: Sequence[int], entries: Sequence[Entry]) -> None:
    """Refuse rounds (trials, takes) whose labels overlap: each seems to have a clock of its own."""
    for name in sheet.among(ROUNDS):
        spans: dict[str, tuple[float, float]] = {}
        for row, entry in zip(rows, entries, strict=True):
            start_s, stop_s = spans.get(sheet.cells[name][row], entry[1:3])
            spans[sheet.cells[name][row]] = (min(start_s, entry.start_s), max(stop_s, entry.stop_s))
        in_order = sorted(spans.values())
        if any(later[0] < sooner[1] - TOUCH_S for sooner, later in pairwise(in_order)):
            raise DataError(
                f"{sheet.table.file}: column {name!r}: the labels of {listed(list(spans))} overlap in time, expected "
                "all of them on the clock of one video; leave only this video's rows in the file"
            )


def _refuse_offset(sheet: Sheet, rows: Sequence[int]) -> None:
    """Refuse times that were counted from elsewhere, as BORIS' `Time offset (s)` says."""
    for name in (name for name in sheet.names if words(name)[:2] == ("time", "offset")):
        for row in rows:
            if sheet.cells[name][row].strip("0.,:+-"):
                raise DataError(
                    f"{sheet.table.at(row)}: {name!r} is {sheet.cells[name][row]!r}, expected 0: times counted from "
                    "the start of the video"
                )


def _no_times(sheet: Sheet) -> DataError:
    file, there = sheet.table.file, listed(sheet.names, 30)
    for field in ("start", "stop"):
        if not any(set(words(name)) & set(ENDS[field]) for name in sheet.names):
            return DataError(
                f"{file}: no column for the {field}, expected one of: {', '.join(ENDS[field])}; there are: {there}"
            )
    return DataError(f"{file}: no columns for start and stop that go together, there are: {there}")
