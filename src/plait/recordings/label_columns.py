"""Which columns of a table are the times and the activities of labels."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import polars as pl

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
UNITS = {_names(words): unit for unit, names in WRITTEN.items() for words in names.split(",")}
ACTIVITY = _names(
    "activity activities label labels class action actions behavior behaviour gesture task step annotation event "
    "category tag state code verb noun"
)
LOOSE = _names("name text value description comment comments note notes type title what content narration")
VIDEOS = _names(
    "video videos video_file video_name video_filename video_id video_path vid file filename file_name file_path "
    "filepath path media media_file media_file_path media_file_name media_name movie movie_name film clip recording "
    "recording_id recording_name file_list url uri"
)
PEOPLE = _names(
    "session session_id session_name subject subject_id subject_name participant participant_id participant_name "
    "person person_id observation observation_id observation_name actor user user_id worker wearer operator patient "
    "proband source annotator annotator_id coder rater"
)
ROUNDS = _names("trial take block repetition rep run round sequence seq part")
LENGTHS = {
    ("total", "length"),
    ("media", "duration"),
    ("video", "duration"),
    ("video", "length"),
}  # of the video
NO_ACTIVITY = {"start", "stop", "begin", "end", "duration", "time", "date", "fps", "length"}
MARKS = {
    **dict.fromkeys(("start", "begin", "on", "state start"), "start"),
    **dict.fromkeys(("stop", "end", "off", "state stop"), "stop"),
    **dict.fromkeys(("point", "point event"), "point"),
}
MARKED = ("status", "behavior_type", "event_type", "type", "event", "mark")
NUMERIC = re.compile(r"[-+0-9.,:; eE]*|nan|na|null", re.IGNORECASE)


class Sheet:
    """The cells of a table as text, by column; which rows are looked at is the reader's business."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.names: list[str] = table.frame.columns

    @cached_property
    def cells(self) -> dict[str, list[str]]:
        """Each column's cells, stripped, empty where there is nothing."""
        text = pl.DataFrame([texts(self.table, name) for name in self.table.frame.columns])
        return {name: text[name].to_list() for name in text.columns}

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
    """Columns of times by what they say (`start`, `stop`, `duration`), and their unit where their names tell it."""

    columns: dict[str, str]
    unit: LabelUnit | None
    again: dict[LabelUnit, dict[str, str]] = {}  # noqa: RUF012  # starts and stops said in other units too


def words(name: str) -> tuple[str, ...]:
    """The words of a column's name: `startTime`, `Start (s)` and `start_s` have two."""
    return tuple(re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()))


def time_columns(names: Sequence[str]) -> Times | None:
    """The columns of starts and of stops or durations, in the unit that says most; None where there are none."""
    found: dict[LabelUnit | None, dict[str, str]] = {}
    for name in names:
        said = words(name)
        if said[:2] == ("time", "offset"):  # BORIS': where its times count from
            continue
        unit, rest = _unit_in(said)
        bare = tuple(word for word in rest if word not in AROUND)
        field = next((end for end, known in ENDS.items() if len(bare) == 1 and bare[0] in known), None)
        if field:
            held = found.setdefault(unit, {})
            held[field] = min(held.get(field, name), name, key=lambda n: _rank(field, n))
    for unit in (unit for unit in BEST if unit in found):
        fields = {**found.get(None, {}), **found[unit]}
        if "start" in fields and ("stop" in fields or "duration" in fields):
            again = {
                u: own
                for u, own in found.items()
                if u not in (unit, None) and {"start", "stop"} <= own.keys()
            }
            return Times(fields, unit, again)
    return None


def _unit_in(said: tuple[str, ...]) -> tuple[LabelUnit | None, tuple[str, ...]]:
    """The unit that a column's words end with, or begin with, and the other words."""
    for n in range(min(4, len(said) - 1), 0, -1):
        if said[-n:] in UNITS:
            return UNITS[said[-n:]], said[:-n]
    first = UNITS.get(said[:1]) if len(said) > 1 else None
    return (first, said[1:]) if first else (None, said)


def _rank(field: str, name: str) -> int:
    return min(ENDS[field].index(word) for word in words(name) if word in ENDS[field])


def event_columns(sheet: Sheet) -> tuple[str, str] | None:
    """The columns of times and of marks (START, STOP, POINT) in a table with a row for each event, as BORIS has."""
    time = next((sheet.named[name] for name in ("time", "time_s", "timestamp") if name in sheet.named), None)
    for name in (sheet.named[name] for name in MARKED if time and name in sheet.named):
        different = texts(sheet.table, name).unique()
        marks = {key(cell) for cell in different[: 2 * len(MARKS)]} - {""}
        if marks and marks <= MARKS.keys():
            return time or "", name
    return None


def is_labels(table: Table) -> bool:
    """Whether a table has columns of times and one of text, as labels do and logs do not."""
    sheet = Sheet(table)
    times = time_columns(sheet.names)
    used = set(times.columns.values()) if times else set(event_columns(sheet) or ())
    rest = [name for name in sheet.names if name not in used]
    return bool(used) and any(_named(n, ACTIVITY + LOOSE) or is_text(sheet.cells[n]) for n in rest)


def is_text(cells: Sequence[str]) -> bool:
    """Whether cells are of text rather than of numbers."""
    return any(not NUMERIC.fullmatch(cell) for cell in cells)


def other_columns(sheet: Sheet, used: set[str], settings: LabelSettings) -> list[str]:
    """The columns that are neither times nor activities, and whose names do not say whose rows they tell apart."""
    taken = {*used, *sheet.among(VIDEOS + PEOPLE + ROUNDS), settings.activity_column}
    free = [name for name in sheet.names if name not in taken and not NO_ACTIVITY & set(words(name))]
    known = [name for name in free if _named(name, ACTIVITY)]
    maybe = known if known or settings.activity_column else [name for name in free if _named(name, LOOSE)]
    return [name for name in free if name not in maybe]


def activity_column(
    sheet: Sheet, rows: Sequence[int], used: set[str], settings: LabelSettings, told: list[str]
) -> str:
    """The column of activities: the one that is called so, if it can be; what else there is is told.

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
    owned = set(sheet.among(VIDEOS + PEOPLE + ROUNDS)) | used
    free = [name for name in sheet.names if name not in owned and not NO_ACTIVITY & set(words(name))]
    known = [name for name in free if _named(name, ACTIVITY)]
    loose = [name for name in free if name not in known and _named(name, LOOSE)]
    other = [name for name in free if name not in known + loose and _plausible(sheet, rows, name)]
    candidates = known or (loose + other if loose else [])
    if not candidates:
        raise DataError(
            f"{file}: no column for the activity, expected one of: {', '.join(ACTIVITY[:8])}; there are: "
            f"{listed(sheet.names, 30)}; {way_out('activity_column', 'NAME')}"
        )
    sound = [name for name in candidates if _plausible(sheet, rows, name)] or candidates
    called = [name for name in candidates if _named(name, ("activity",))]
    if called and called[0] in sound:
        sound = called[:1]
    elif called:  # but it is the same throughout, or differs in every row
        sound = candidates
    if len(sound) > 1:
        shown = "; ".join(
            f"{name!r} ({listed(list(dict.fromkeys(sheet.cells[name][row] for row in rows)), 3)})"
            for name in sound
        )
        raise DataError(
            f"{file}: several columns may be the activity, expected one of: {shown}; "
            f"{way_out('activity_column', sound[0])}"
        )
    others = list(dict.fromkeys(name for name in known + loose + other if name != sound[0]))
    told.append(f"{file.name}: activities in {sound[0]!r}{f', not {listed(others)}' if others else ''}")
    return sound[0]


def _named(name: str, known: Sequence[str]) -> bool:
    said = words(name)
    said = tuple(word for word in said if word not in ("name", "names", "id")) or said
    return len(said) == 1 and said[0] in known


def _plausible(sheet: Sheet, rows: Sequence[int], name: str) -> bool:
    """Whether a column may tell activities: text that is neither the same throughout nor different in each row."""
    values = [sheet.cells[name][row] for row in rows]
    different = len(set(values))
    if not is_text(values) or not all(values):
        return False
    return len(rows) < 2 or (different > 1 and (different < len(rows) or len(rows) < 4))
