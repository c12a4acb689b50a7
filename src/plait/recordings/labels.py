"""Labels: who wrote them in a spreadsheet, in ELAN or another program gets the same spans."""

from pathlib import Path
from typing import NamedTuple

from plait.errors import DataError
from plait.recordings import elan, label_json, label_tables, label_texts
from plait.recordings.annotations import MOST_S, Entry, Footage, LabelSettings, way_out
from plait.recordings.label_tables import TOUCH_S
from plait.recordings.tables import CSV, read_table
from plait.types import Span

LATE_S = 1.0  # labelling tools round the end of a video
NOTHING = ("nan", "NaN", "NA", "N/A", "<NA>", "#N/A", "NaT", "None")  # as tables write it; null is a class
EARLY = 2e-2  # labels that end within this share of a video are suspicious: a minute of an hour is 1.7 %


class Labels(NamedTuple):
    """Spans by start, what was assumed and left out, and the settings with what was settled."""

    spans: tuple[Span, ...]
    told: tuple[str, ...]
    settings: LabelSettings


def read_labels(file: Path, settings: LabelSettings | None = None, footage: Footage | None = None) -> Labels:
    """The labels in a file; spans of one activity that overlap become one.

    Tables (`.csv`, `.tsv`, `.txt`) with columns for start, stop or duration, and activity, or with BORIS'
    rows of events; text as Audacity, ELAN and VIA write it; ELAN's `.eaf`; the JSON of THUMOS, ActivityNet
    and Label Studio. Where a file says which videos, sessions or people it is about, only what is about
    `footage` is taken. Points in time are left out.

    Raises:
        DataError: the file is missing, damaged or holds no label; a label is empty, negative or reversed, or
            ends after the video; two of different activities overlap; or it is not clear what is meant, and
            settings do not say.
    """
    settings = settings or LabelSettings()
    notes: list[str] = []
    suffix = file.suffix.lower()
    if suffix == ".eaf":
        entries, settings = elan.read(file, settings, footage, notes)
    elif suffix == ".json":
        entries, settings = label_json.read(file, settings, footage, notes)
    elif suffix not in CSV:
        raise DataError(f"{file}: labels are expected to be one of {', '.join(CSV)}, .eaf or .json")
    elif (lines := label_texts.lines_of(file)) is not None:
        entries, settings = label_texts.read(file, lines, settings, footage, notes)
    else:
        table = read_table(file)
        notes += [f"{file.name}: {note}" for note in table.notes]
        entries, settings = label_tables.read(table, settings, footage, notes)
    lasting = [entry for entry in entries if entry.stop_s != entry.start_s or not entry.activity]
    if len(lasting) < len(entries):
        notes.append(f"{file.name}: {len(entries) - len(lasting)} labels of a point in time are left out")
    if not lasting:
        raise DataError(f"{file}: no labels, expected some{' that last' if entries else ''}")
    for entry in lasting:
        if not entry.activity:
            raise DataError(f"{file}: {entry.where}: the activity is empty, expected a name")
        if not 0 <= entry.start_s < entry.stop_s <= MOST_S:
            raise DataError(
                f"{file}: {entry.where}: {entry.activity!r} is from {entry.start_s} s to {entry.stop_s} s, "
                "expected a start of 0 or more and a later stop"
            )
    if words := sorted({entry.activity for entry in lasting} & {*NOTHING}):
        empty = "which programs write for an empty cell: leave such rows out if none is meant"
        notes.append(f"{file.name}: activities are called {', '.join(words)}, {empty}")
    spans = _join(file, sorted(lasting, key=lambda entry: (entry.start_s, entry.stop_s)))
    if footage is not None:
        _compare(file, spans, settings, footage, notes)
    return Labels(spans, tuple(notes), settings)


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
                f"{file}: {entry.where}: {entry.activity!r} starts at {entry.start_s} s, expected it not "
                f"before {last.activity!r} ({last.where}) ends at {last.stop_s} s"
            )
    return tuple(Span(entry.start_s, entry.stop_s, entry.activity) for entry in joined)


def _compare(
    file: Path, spans: tuple[Span, ...], settings: LabelSettings, footage: Footage, notes: list[str]
) -> None:
    """Refuse labels that last over a second longer than the video; say if they end suspiciously early."""
    stop_s, begin_s = footage.stop_s, float(footage.times[0])
    last = max(spans, key=lambda span: span.stop_s)
    latest_s = max(span.start_s for span in spans)
    if last.stop_s > stop_s + LATE_S or latest_s > stop_s:
        units: list[str] = []  # in which the labels would lie within the video
        if settings.label_unit is None and file.suffix.lower() != ".eaf":
            if EARLY * stop_s < last.stop_s / 1e3 <= stop_s + LATE_S:
                units.append("ms")
            if last.stop_s <= len(footage.times) + 1 and all(span.start_s.is_integer() for span in spans):
                units.append("frames")
        hint = f"; if its times are {' or '.join(units)}: {way_out('label_unit', units[-1])}" if units else ""
        if not settings.label_zero:
            zero = way_out("label_zero", "TIME")
            hint += f"; if they count from elsewhere: {zero}, the time at which the video starts"
        raise DataError(
            f"{file}: {last.activity!r} ends at {last.stop_s:.2f} s, expected it within the video, "
            f"which ends at {stop_s:.2f} s{hint}"
        )
    if last.stop_s - begin_s < EARLY * (stop_s - begin_s):
        unit = settings.label_unit or "s"
        other = ", or minutes or h:mm, which are to be seconds or hh:mm:ss" if unit == "s" else ""
        notes.append(
            f"{file.name}: all labels lie in the first {last.stop_s:.3g} s of {stop_s:.0f} s: "
            f"are their times in {unit}{other}?"
        )
