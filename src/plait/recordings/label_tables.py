"""Labels in tables: whose rows they are, a row for each label, or rows that only begin or end one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from plait.errors import DataError
from plait.names import natural, plain
from plait.recordings.annotations import (
    COUNTED,
    NUMBER,
    Entry,
    Footage,
    LabelClock,
    LabelSettings,
    listed,
    other_length,
    refuse_unused,
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
from plait.recordings.layouts import MISSING
from plait.recordings.owners import EVERY, films, key, nobody, own
from plait.recordings.tables import Table

USED = ("activity_column", "labels_of", "label_unit", "label_zero")  # of a person's settings
TOUCH_S = 1e-6  # less than this is rounding, no overlap
OFF_RATE = 0.005  # rates of frames that differ by less were rounded
RATES = {("frame", "rate"), ("frames", "per")}
LASTING = ("s", "ms", "us")  # units that durations may be in
APART_S = 0.1  # times that are written twice and differ by less were rounded
FRACTION = re.compile(r"[-+]?[0-9]*[.,][0-9]+")


def read(
    table: Table, settings: LabelSettings, footage: Footage | None, told: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """The entries of a table that are about one video, and the settings with what was settled.

    Args:
        table: its columns are found by their names and their cells.
        settings: what is said of them, which goes before what is guessed.
        footage: the video that rows are taken for; None: it is not known.
        told: grows by what was assumed and left out.

    Raises:
        DataError: a column is missing or one of several, no row is about the video, or a time is none.
    """
    sheet = Sheet(table)
    times = time_columns(sheet.names)
    events = None if times else event_columns(sheet)
    if times:
        used, starts = set(times.columns.values()), times.columns["start"]
    elif events:
        used, starts = set(events), events[0]
    else:
        raise _no_times(sheet)
    written = [row for row in range(len(table.frame)) if any(sheet.cells[name][row] for name in sheet.names)]
    others = other_columns(sheet, used, settings)
    rows = _rows_about(sheet, written, others, settings, footage, told)
    activity = activity_column(sheet, written, used, settings, told)
    others = [name for name in others if name != activity]
    rows = [row for row in rows if any(sheet.cells[name][row] for name in (*used, activity))]
    stated = settings.label_unit or (times and times.unit)
    stated = stated or unit_of([sheet.cells[starts][row] for row in rows])
    unit = stated or "s"
    if unit != "s":
        zero = f" from {settings.label_zero or 0}" if unit == "frames" else ""
        told.append(f"{table.file.name}: times in {unit}{zero}")
    refuse_unused(table.file, "a table", settings, USED, unit)
    _refuse_offset(sheet, rows)
    if unit in COUNTED:
        _refuse_rate(sheet, rows, settings, footage)
    clock = LabelClock(table.file, unit, settings, footage, table.decimal_comma)
    if times:
        entries = [_entry(sheet, row, times.columns, activity, clock) for row in rows]
        _look_besides(sheet, rows, times, clock, told)
        _refuse_clocks(sheet, rows, entries)
        _compare_times(sheet, rows, entries, times, clock, told)
        if EVERY not in settings.labels_of:
            _refuse_accounts(sheet, rows, entries, others)
    else:
        assert events is not None
        entries = list(_pair(sheet, rows, events, activity, clock))
    _compare_lengths(sheet, rows, footage, told)
    _tell_groups(sheet, rows, others, told)
    return entries, replace(settings, activity_column=activity, label_unit=stated or None)


def _entry(sheet: Sheet, row: int, columns: dict[str, str], activity: str, clock: LabelClock) -> Entry:
    cells = {field: sheet.cells[name][row] for field, name in columns.items()}
    where, label = sheet.where(row), plain(sheet.cells[activity][row])
    start_s = clock.seconds(cells["start"], where)
    end = cells.get("stop", cells.get("duration", ""))
    if end.lower() in MISSING and _mark(sheet, row) == "point":
        return Entry(where, start_s, start_s, label)
    if "stop" in cells:
        return Entry(where, start_s, clock.seconds(end, where), label)
    if clock.unit not in LASTING:
        raise DataError(f"{clock.file}: durations beside starts in {clock.unit}, expected a column of stops")
    return Entry(where, start_s, start_s + _duration_s(end, where, clock), label)


def _duration_s(cell: str, where: str, clock: LabelClock) -> float:
    """A duration, which counts from no zero."""
    return replace(clock, settings=LabelSettings(), footage=None).seconds(cell, where)


def _mark(sheet: Sheet, row: int) -> str | None:
    """What a row's mark says: start, stop or point."""
    cells = (sheet.cells[sheet.named[name]][row] for name in MARKED if name in sheet.named)
    return next((MARKS[key(cell)] for cell in cells if key(cell) in MARKS), None)


def _pair(
    sheet: Sheet, rows: Sequence[int], events: tuple[str, str], activity: str, clock: LabelClock
) -> Iterator[Entry]:
    """A label from each start to the next stop of its activity and of its person."""
    time, mark = events
    people = sheet.among(PEOPLE)
    begun: dict[tuple[str, ...], tuple[float, str]] = {}
    in_order = sorted((clock.seconds(sheet.cells[time][row], sheet.where(row)), row) for row in rows)
    for seconds, row in in_order:
        where, cell = sheet.where(row), sheet.cells[mark][row]
        label = plain(sheet.cells[activity][row])
        pair = (label, *(sheet.cells[name][row] for name in people))
        kind = MARKS.get(key(cell))
        if kind == "point":
            yield Entry(where, seconds, seconds, label)
        elif kind == "start" and pair not in begun:
            begun[pair] = (seconds, where)
        elif kind == "stop" and pair in begun:
            start_s, begun_at = begun.pop(pair)
            yield Entry(begun_at, start_s, seconds, label)
        else:
            raise DataError(
                f"{clock.file}: {where}: {label!r} is marked {cell!r}, expected its starts and stops in turn"
            )
    for (label, *_), (_, where) in begun.items():
        raise DataError(f"{clock.file}: {where}: {label!r} starts and never stops, expected a stop")


def _rows_about(
    sheet: Sheet,
    rows: list[int],
    others: Sequence[str],
    settings: LabelSettings,
    footage: Footage | None,
    notes: list[str],
) -> list[int]:
    """The rows that are about this recording, where columns say which they are about.

    A column says so by its name, by holding names of video files, or by naming this recording among others.
    """
    file, wanted, before = sheet.table.file, {key(name) for name in settings.labels_of}, len(rows)
    if EVERY in wanted:
        return rows
    named: set[str] = set()  # of what is wanted, by some row
    silent: list[str] = []  # columns that name others, or do not say
    people = sheet.among(PEOPLE)
    videos = sheet.among(VIDEOS)
    for name in (*people, *others):
        different = {sheet.cells[name][row] for row in rows}
        if different and all(map(films, different)):
            videos.append(name)
    for name in dict.fromkeys((*videos, *people, *others)):
        cells, place = sheet.cells[name], f"column {name!r}"
        values = sorted({cells[row] for row in rows} - {""})
        unclear = name not in videos and name not in people
        if unclear and (len(values) < 2 or not (wanted or _groups([cells[row] for row in rows]))):
            continue
        chosen = {value for value in values if key(value) in wanted}
        named |= {key(value) for value in chosen}
        if not chosen and values and footage is not None:
            chosen = own(values, footage, file, place)
        if not chosen and name in videos and not wanted and (len(values) > 1 or (values and footage)):
            raise nobody(file, place, values, footage)
        if not chosen:
            silent += [] if unclear else [name]
            continue
        empty = next((row for row in rows if not cells[row]), None)
        if empty is not None:
            raise DataError(
                f"{sheet.table.at(empty)}: {place} is empty, expected a name as in the other rows"
            )
        rows = [row for row in rows if cells[row] in chosen]
        notes.append(f"{file.name}: rows whose {place} says {listed(sorted(chosen))}")
    if unknown := wanted - named:
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
            notes.append(f"{file.name}: column {name!r} says {values[0]!r}, which is not looked at")
    if len(rows) < before:
        notes.append(f"{file.name}: {before - len(rows)} rows are about others and left out")
    return rows


def _groups(cells: Sequence[str]) -> bool:
    """Whether cells are of text that tells groups of rows apart, and not each row from the others."""
    return is_text(cells) and (len(set(cells)) < len(cells) or len(cells) < 4)


def _refuse_accounts(
    sheet: Sheet, rows: Sequence[int], entries: Sequence[Entry], others: Sequence[str]
) -> None:
    """Refuse two accounts of one time, as of two annotators: a column tells rows apart that say the same."""
    pairs = list(_at_once(entries))
    if 2 * len({i for pair in pairs for i in pair}) < len(entries) or not pairs:
        return
    for name in others:
        cells = [sheet.cells[name][row] for row in rows]
        few = len(set(cells)) < len(cells) and not any(FRACTION.fullmatch(cell) for cell in cells)
        if few and all(cells) and all(cells[i] != cells[j] for i, j in pairs):
            values = sorted(set(cells))
            raise DataError(
                f"{sheet.table.file}: column {name!r}: labels of {listed(values)} say the same at one time, "
                f"expected one account of it; {way_out('labels_of', values[0])}, or {EVERY} for every row"
            )


def _refuse_rate(sheet: Sheet, rows: Sequence[int], settings: LabelSettings, footage: Footage | None) -> None:
    """Refuse frames that were counted at another rate than the video's, as a column says."""
    if footage is None or settings.label_fps is not None:
        return
    video_hz = 1 / footage.step_s
    for name in sheet.names:
        if not {"fps", "framerate"} & set(words(name)) and words(name)[:2] not in RATES:
            continue
        for row in rows:
            rate = sheet.cells[name][row].replace(",", ".")
            if NUMBER.fullmatch(rate) and abs(float(rate) - video_hz) > OFF_RATE * video_hz:
                raise DataError(
                    f"{sheet.table.at(row)}: column {name!r} says {rate} frames a second, and "
                    f"{footage.video!r} shows {video_hz:.5g}, expected to know how frames are counted; "
                    f"{way_out('label_fps', rate)}"
                )


def _tell_groups(sheet: Sheet, rows: Sequence[int], others: Sequence[str], notes: list[str]) -> None:
    """Say which columns of whole numbers tell groups of rows apart, and are not looked at."""
    for name in others:
        cells = [sheet.cells[name][row] for row in rows]
        values = sorted(set(cells) - {""}, key=natural)
        if 1 < len(values) <= len(cells) / 2 and all(value.isdecimal() for value in values):
            notes.append(
                f"{sheet.table.file.name}: column {name!r} says {listed(values, 4)} and is not looked at: "
                "are all rows of this recording?"
            )


def _at_once(entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    """The pairs of entries that say the same at one time."""
    begun: dict[str, list[int]] = {}
    for i in sorted(range(len(entries)), key=lambda i: entries[i].start_s):
        entry = entries[i]
        earliest_s = entry.start_s + TOUCH_S
        lasting = [j for j in begun.get(entry.activity, []) if entries[j].stop_s > earliest_s]
        yield from ((j, i) for j in lasting if entry.stop_s > earliest_s)
        begun[entry.activity] = [*lasting, i]


def _compare_times(
    sheet: Sheet,
    rows: Sequence[int],
    entries: Sequence[Entry],
    times: Times,
    clock: LabelClock,
    notes: list[str],
) -> None:
    """Say where a table has the times of its labels twice, and they differ."""
    file = clock.file.name
    for unit, columns in times.again.items():
        for row, entry in zip(rows, entries, strict=True):
            try:
                other = _entry(sheet, row, columns, columns["start"], replace(clock, unit=unit))
            except DataError:
                break  # of no use for comparing
            if max(abs(other.start_s - entry.start_s), abs(other.stop_s - entry.stop_s)) > APART_S:
                notes.append(
                    f"{file}: {listed([columns['start'], columns['stop']])} say {other.start_s:.5g} to "
                    f"{other.stop_s:.5g} s where {times.columns['start']!r} says {entry.start_s:.5g} "
                    f"({entry.where}), and are not looked at"
                )
                break
    if {"stop", "duration"} <= times.columns.keys() and clock.unit in LASTING:
        name = times.columns["duration"]
        for row, entry in zip(rows, entries, strict=True):
            try:
                length_s = _duration_s(sheet.cells[name][row], entry.where, clock)
            except DataError:
                break
            if abs(length_s - (entry.stop_s - entry.start_s)) > APART_S:
                notes.append(f"{file}: {name!r} is not from start to stop ({entry.where}), not looked at")
                break


def _look_besides(
    sheet: Sheet, rows: Sequence[int], times: Times, clock: LabelClock, notes: list[str]
) -> None:
    """Refuse a second pair of columns, of starts and of what ends labels, that says other times.

    Those of further labels in the same rows, or of another hand: whichever is taken, the other would be left
    out, or a label would go from a start of one to a stop of the other. A pair that is later by the same in
    all rows, by more than all labels take, is of another clock; that, and a single column that says something
    else, is told.

    Raises:
        DataError: naming both columns and the row.
    """
    end, file = "stop" if "stop" in times.columns else "duration", sheet.table.file.name
    starts, ends = times.besides.get("start", []), times.besides.get(end, [])
    for fields, names in ((("start", end), pair) for pair in zip(starts, ends, strict=False)):
        columns = [times.columns[field] for field in fields]
        apart = {row: _apart(sheet, row, fields, columns, names, clock) for row in rows}
        said = {row: found for row, found in apart.items() if found is not None}
        tolerance_s = 1.0 if all(found.whole for found in said.values()) else APART_S
        later_s = [found.seconds[0] for found in said.values()]
        shift_s = min(later_s, default=0.0) if len(said) > 1 else 0.0
        if abs(shift_s) < max((found.last_s for found in said.values()), default=0.0):
            shift_s = 0.0  # no clock is so near
        if all(found.within(shift_s, end, tolerance_s) for found in said.values()):
            if abs(shift_s) > tolerance_s:
                notes.append(
                    f"{file}: {names[0]!r} is {shift_s:.6g} s later than {columns[0]!r} in all rows: "
                    "times of another clock, not looked at"
                )
            continue
        for row, found in said.items():
            for field, first, other, apart_s in zip(fields, columns, names, found.seconds, strict=True):
                if abs(apart_s) > tolerance_s:
                    raise DataError(
                        f"{sheet.table.at(row)}: {first!r} and {other!r} are {abs(apart_s):.5g} s apart, "
                        f"expected one {field} of a label: a row for each label, and one column that is "
                        "called so"
                    )
    paired = min(len(starts), len(ends))
    for field, name in (*(("start", name) for name in starts[paired:]), *((end, n) for n in ends[paired:])):
        first = times.columns[field]
        apart = {row: _apart(sheet, row, (field,), [first], [name], clock) for row in rows}
        if any(found and abs(found.seconds[0]) > APART_S for found in apart.values()):
            notes.append(f"{file}: {name!r} says something else than {first!r}, the {field}: not looked at")


class _Apart(NamedTuple):
    """By how many seconds further columns of a row are later, if they are whole seconds, the first's last."""

    seconds: list[float]
    whole: bool
    last_s: float

    def within(self, shift_s: float, end: str, tolerance_s: float) -> bool:
        """Whether they are the first ones, on a clock that is later by `shift_s`; durations know no clock."""
        shifts = (shift_s, 0.0 if end == "duration" else shift_s)
        pairs = zip(self.seconds, shifts, strict=False)
        return all(abs(found - shift) <= tolerance_s + 1e-9 for found, shift in pairs)


def _apart(
    sheet: Sheet,
    row: int,
    fields: Sequence[str],
    columns: Sequence[str],
    names: Sequence[str],
    clock: LabelClock,
) -> _Apart | None:
    """How far further columns are from the first; None where nothing is there, only zeros, or no time."""
    where, found = sheet.where(row), []
    for field, column, name in zip(fields, columns, names, strict=True):
        seconds = _duration_s if field == "duration" else _moment_s
        try:
            found.append([seconds(sheet.cells[which][row], where, clock) for which in (column, name)])
        except DataError:
            return None
    others = [other_s for _, other_s in found]
    if not any(others):
        return None
    apart_s, last_s = [other_s - first_s for first_s, other_s in found], max(first_s for first_s, _ in found)
    return _Apart(apart_s, all(other_s.is_integer() for other_s in others), last_s)


def _moment_s(cell: str, where: str, clock: LabelClock) -> float:
    """A moment on the video's clock."""
    return clock.seconds(cell, where)


def _compare_lengths(sheet: Sheet, rows: Sequence[int], footage: Footage | None, notes: list[str]) -> None:
    """Say where a table states another length of the video than it has."""
    clock = LabelClock(sheet.table.file, "s", LabelSettings(), None, sheet.table.decimal_comma)
    for name in (name for name in sheet.names if words(name)[:2] in LENGTHS):
        for cell in {sheet.cells[name][row] for row in rows}:
            try:
                doubt = other_length(sheet.table.file, clock.seconds(cell, name), footage)
            except DataError:
                continue
            if doubt and doubt not in notes:
                notes.append(doubt)


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
                f"{sheet.table.file}: column {name!r}: the labels of {listed(list(spans))} overlap in time, "
                "expected all of them on the clock of one video; leave only this video's rows in the file"
            )


def _refuse_offset(sheet: Sheet, rows: Sequence[int]) -> None:
    """Refuse times that were counted from elsewhere, as BORIS' `Time offset (s)` says."""
    for name in (name for name in sheet.names if words(name)[:2] == ("time", "offset")):
        for row in rows:
            offset = sheet.cells[name][row]
            if offset.strip("0.,:+-"):
                raise DataError(
                    f"{sheet.table.at(row)}: {name!r} is {offset!r}, expected 0: times counted from the "
                    "start of the video"
                )


def _no_times(sheet: Sheet) -> DataError:
    present = {word for name in sheet.names for word in words(name)}
    missing = [field for field in ("start", "stop") if not present & set(ENDS[field])]
    reason = "no columns for start and stop that go together,"
    if missing:
        reason = f"no column for the {missing[0]}, expected one of: {', '.join(ENDS[missing[0]])};"
    return DataError(f"{sheet.table.file}: {reason} there are: {listed(sheet.names, 30)}")
