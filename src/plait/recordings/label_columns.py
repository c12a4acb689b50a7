"""Which columns of a table are the times and the activities of labels."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from plait.errors import DataError
from plait.recordings.annotations import LabelSettings, LabelUnit, listed, way_out
from plait.recordings.owners import key
from plait.recordings.tables import Table, texts

ENDS = {
    "start": ("start", "begin", "onset", "from", "in", "beginning", "starting"),
    "stop": ("stop", "end", "offset", "to", "out", "until", "ending"),
    "duration": ("duration", "dur", "length"),
}
AROUND = {"time", "times", "timestamp", "segment", "temporal", "event", "label", "at", "position", "t"}
BEST: tuple[LabelUnit | None, ...] = ("s", "ms", "us", "iso", None, "timecode", "frames")


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WRITTEN: dict[LabelUnit, str] = {
    "s": "s,sec,secs,second,seconds,ss msec,hh mm ss,hh mm ss ms,hh mm ss mmm,hms",
    "ms": "ms,msec,millis,millisecond,milliseconds",
    "us": "us,usec,micros,microsecond,microseconds",
    "frames": "frame,frames,frame number,frame index,frame no",
    "timecode": "timecode,tc,smpte,hh mm ss ff",
    "iso": "iso,utc",
}
UNITS = {_names(name): unit for unit, names in WRITTEN.items() for name in names.split(",")}
ACTIVITY = _names(
    "activity activities label labels class action actions behavior behaviour gesture task step annotation "
    "event category tag state code verb noun"
)
LOOSE = _names("name text value description comment comments note notes type title what content narration")
VIDEOS = _names(
    "video videos video_file video_name video_filename video_id video_path vid file filename file_name "
    "file_path filepath path media media_file media_file_path media_file_name media_name movie movie_name "
    "film clip recording recording_id recording_name file_list url uri"
)
PEOPLE = _names(
    "session session_id session_name subject subject_id subject_name participant participant_id "
    "participant_name person person_id observation observation_id observation_name actor user user_id worker "
    "wearer operator patient proband source annotator annotator_id coder rater"
)
ROUNDS = _names("trial take block repetition rep run round sequence seq part")
# of the video:
LENGTHS = {("total", "length"), ("media", "duration"), ("video", "duration"), ("video", "length")}
NO_ACTIVITY = {"start", "stop", "begin", "end", "duration", "time", "date", "fps", "length"}
MARKS = {
    **dict.fromkeys(("start", "begin", "on", "state start"), "start"),
    **dict.fromkeys(("stop", "end", "off", "state stop"), "stop"),
    **dict.fromkeys(("point", "point event"), "point"),
}
MARKED = ("status", "behavior_type", "event_type", "type", "event", "mark")
QUOTED_FORMULA = (
    r"^'(['\s]*[=+\-@\t\r])"  # how spreadsheets, and `store.write_csv`, mark text that is no formula
)
NUMERIC = re.compile(r"[-+0-9.,:; eE]*|nan|na|null", re.IGNORECASE)


class Sheet:
    """The cells of a table as text, by column; which rows are looked at is the reader's business."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.names: list[str] = table.frame.columns

    @cached_property
    def cells(self) -> dict[str, list[str]]:
        """Each column's cells, stripped, empty where there is nothing, without the `'` of `'=text`."""
        return {
            name: texts(self.table, name).str.replace(QUOTED_FORMULA, "$1").to_list() for name in self.names
        }

    @cached_property
    def named(self) -> dict[str, str]:
        """Columns by their words: `media_file` for `Media file`."""
        return {"_".join(words(name)): name for name in reversed(self.names)}

    def where(self, row: int) -> str:
        """Where a row stands in the file."""
        return f"{self.table.place} {self.table.rows[row]}"

    def among(self, known: Sequence[str]) -> list[str]:
        """The columns whose words are one of `known`."""
        return [name for name in self.names if "_".join(words(name)) in known]


class Times(NamedTuple):
    """Columns of times.

    Args:
        columns: by what they hold: `start`, `stop`, `duration`.
        unit: of theirs, if names tell it.
        again: by other units, columns that say starts and stops in these too.
        besides: by what they hold, further columns that are called so, in the same unit.
    """

    columns: dict[str, str]
    unit: LabelUnit | None
    again: dict[LabelUnit, dict[str, str]]
    besides: dict[str, list[str]]


def words(name: str) -> tuple[str, ...]:
    """The words of a column's name: `startTime`, `Start (s)` and `start_s` have two."""
    return tuple(re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()))


def time_columns(names: Sequence[str]) -> Times | None:
    """The columns of starts and of stops or durations, in the unit that says most; None if there are none."""
    by_unit: dict[LabelUnit | None, dict[str, list[str]]] = {}
    for name in names:
        parts = words(name)
        if parts[:2] == ("time", "offset"):  # BORIS': where its times count from
            continue
        unit, rest = _unit_in(parts)
        bare = tuple(part for part in rest if part not in AROUND)
        field = next((end for end, synonyms in ENDS.items() if len(bare) == 1 and bare[0] in synonyms), None)
        if field:
            by_unit.setdefault(unit, {}).setdefault(field, []).append(name)
    for unit in (unit for unit in BEST if unit in by_unit):
        called = {**by_unit.get(None, {}), **by_unit[unit]}
        if "start" in called and ("stop" in called or "duration" in called):
            columns, besides = _first(called)
            others = {
                other: _first(fields)[0]
                for other, fields in by_unit.items()
                if other not in (unit, None) and {"start", "stop"} <= fields.keys()
            }
            return Times(columns, unit, others, besides)
    return None


def _first(called: dict[str, list[str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Of the columns of each field the one that is called so most plainly, and the others, if any."""
    first = {field: min(names, key=lambda name: _rank(field, name)) for field, names in called.items()}
    rest = {field: [name for name in names if name != first[field]] for field, names in called.items()}
    return first, {field: names for field, names in rest.items() if names}


def _unit_in(parts: tuple[str, ...]) -> tuple[LabelUnit | None, tuple[str, ...]]:
    """The unit that a column's words end with, or begin with, and the other words."""
    for n in range(min(4, len(parts) - 1), 0, -1):
        if parts[-n:] in UNITS:
            return UNITS[parts[-n:]], parts[:-n]
    first = UNITS.get(parts[:1]) if len(parts) > 1 else None
    return (first, parts[1:]) if first else (None, parts)


def _rank(field: str, name: str) -> int:
    return min(ENDS[field].index(word) for word in words(name) if word in ENDS[field])


def event_columns(sheet: Sheet) -> tuple[str, str] | None:
    """The columns of times and marks (START, STOP, POINT) of a table with a row for each event, as BORIS'."""
    time = next((sheet.named[name] for name in ("time", "time_s", "timestamp") if name in sheet.named), None)
    if time is None:
        return None
    for mark in (sheet.named[name] for name in MARKED if name in sheet.named):
        different = texts(sheet.table, mark).unique()
        marks = {key(cell) for cell in different[: 2 * len(MARKS)]} - {""}
        if marks and marks <= MARKS.keys():
            return time, mark
    return None


def is_labels(table: Table) -> bool:
    """Whether a table has columns of times and one of text, as labels do and logs do not."""
    sheet = Sheet(table)
    times = time_columns(sheet.names)
    used = set(times.columns.values()) if times else set(event_columns(sheet) or ())
    rest = [name for name in sheet.names if name not in used]
    return bool(used) and any(_is_called(n, ACTIVITY + LOOSE) or is_text(sheet.cells[n]) for n in rest)


def is_text(cells: Sequence[str]) -> bool:
    """Whether cells are of text rather than of numbers."""
    return any(not NUMERIC.fullmatch(cell) for cell in cells)


def other_columns(sheet: Sheet, used: set[str], settings: LabelSettings) -> list[str]:
    """The columns that, by their names, are neither times nor activities nor say whom a row is about."""
    free = [name for name in _free_columns(sheet, used) if name != settings.activity_column]
    activities = [name for name in free if _is_called(name, ACTIVITY)]
    if not activities and not settings.activity_column:
        activities = [name for name in free if _is_called(name, LOOSE)]
    return [name for name in free if name not in activities]


def activity_column(
    sheet: Sheet, rows: Sequence[int], used: set[str], settings: LabelSettings, told: list[str]
) -> str:
    """The column of activities: the one that is called so, if it can be.

    Args:
        sheet: the table.
        rows: numbers of the rows by which columns are judged.
        used: the columns of times.
        settings: of which `activity_column` goes before anything that is guessed.
        told: grows by the column that is taken, and those that are not.

    Raises:
        DataError: none or several may be it.
    """
    file, named = sheet.table.file, settings.activity_column
    if named is not None:
        if named not in sheet.names:
            raise DataError(
                f"{file}: no column {named!r} of activities, expected one of: {listed(sheet.names, 30)}"
            )
        return named
    free = _free_columns(sheet, used)
    strict = [name for name in free if _is_called(name, ACTIVITY)]
    loose = [name for name in free if name not in strict and _is_called(name, LOOSE)]
    other = [name for name in free if name not in strict + loose and _is_plausible(sheet, rows, name)]
    candidates = strict or (loose + other if loose else [])
    if not candidates:
        raise DataError(
            f"{file}: no column for the activity, expected one of: {', '.join(ACTIVITY[:8])}; there are: "
            f"{listed(sheet.names, 30)}; {way_out('activity_column', 'NAME')}"
        )
    plausible = [name for name in candidates if _is_plausible(sheet, rows, name)] or candidates
    called = [name for name in candidates if _is_called(name, ("activity",))]
    if called and called[0] in plausible:
        plausible = called[:1]
    elif called:  # but it is the same throughout, or differs in every row
        plausible = candidates
    if len(plausible) > 1:
        samples = {name: list(dict.fromkeys(sheet.cells[name][row] for row in rows)) for name in plausible}
        choices = "; ".join(f"{name!r} ({listed(cells, 3)})" for name, cells in samples.items())
        raise DataError(
            f"{file}: several columns may be the activity, expected one of: {choices}; "
            f"{way_out('activity_column', plausible[0])}"
        )
    activity = plausible[0]
    rest = [name for name in strict + loose + other if name != activity]
    told.append(f"{file.name}: activities in {activity!r}{f', not {listed(rest)}' if rest else ''}")
    return activity


def _free_columns(sheet: Sheet, used: set[str]) -> list[str]:
    """The columns that may hold activities: no times, and nobody's names."""
    taken = {*used, *sheet.among(VIDEOS + PEOPLE + ROUNDS)}
    return [name for name in sheet.names if name not in taken and not NO_ACTIVITY & set(words(name))]


def _is_called(name: str, synonyms: Sequence[str]) -> bool:
    parts = words(name)
    parts = tuple(part for part in parts if part not in ("name", "names", "id")) or parts
    return len(parts) == 1 and parts[0] in synonyms


def _is_plausible(sheet: Sheet, rows: Sequence[int], name: str) -> bool:
    """Whether a column may tell activities: its text is neither the same throughout nor new in each row."""
    cells = [sheet.cells[name][row] for row in rows]
    different = len(set(cells))
    if not is_text(cells) or not all(cells):
        return False
    return len(rows) < 2 or (different > 1 and (different < len(rows) or len(rows) < 4))
