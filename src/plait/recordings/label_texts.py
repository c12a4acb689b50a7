"""Labels in text without names of columns: Audacity's label track, ELAN's tab-delimited export, VIA's CSV."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from plait.errors import DataError
from plait.names import plain
from plait.recordings import layouts
from plait.recordings.annotations import (
    CLOCK,
    NUMBER,
    Entry,
    Footage,
    LabelClock,
    LabelSettings,
    listed,
    refuse_unused,
    way_out,
    whole,
)
from plait.recordings.owners import EVERY, key, name_of, nobody, own
from plait.recordings.tables import CSV, read_bytes
from plait.recordings.unended import check_last

TIMES = ("label_unit", "label_zero")  # what a person may say of times in all of them
VIA = "# CSV_HEADER ="
TIME = re.compile(rf"(?:{CLOCK.pattern}|[+-]?[0-9]+(?:\.[0-9]+)?)")
ONE_FORM = 3  # columns: begin, end and duration
AGREE_S = 0.0015  # ELAN writes whole milliseconds
Lines = list[tuple[int, list[str]]]


def lines_of(file: Path) -> Lines | None:
    """The cells of each line of such a file, with its number; None if it is none of them."""
    if file.suffix.lower() not in CSV:
        return None
    try:
        text, _ = layouts.text_of(file, read_bytes(file), legacy=False)
    except DataError:
        return None
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if _is_via(text):
        return [(number, layouts.cells(line, ",")) for number, line in numbered if not line.startswith("#")]
    # Audacity writes a line of frequencies, which begins with a backslash, under a label that has some.
    lines = [(number, line.split("\t")) for number, line in numbered if not line.startswith("\\")]
    if lines and (_is_audacity(lines[0][1]) or (len(lines[0][1]) > 3 and _time_cells(lines[0][1]))):
        return lines
    return None


def _is_via(text: str) -> bool:
    head = [line for line in text.splitlines() if line.strip()][:20]
    return any(line.startswith(VIA) for line in head)


def _is_audacity(cells: Sequence[str]) -> bool:
    times = [cell.strip().replace(",", ".") for cell in cells[:2]]
    return 2 <= len(cells) <= 3 and all(map(NUMBER.fullmatch, times))


def _time_cells(cells: Sequence[str]) -> range | None:
    """Which cells of ELAN's line are times: two or more in a row, the last one right before the value."""
    timed = [i for i, cell in enumerate(cells[1:-1], 1) if TIME.fullmatch(cell.strip())]
    if len(timed) < 2 or timed != list(range(timed[0], len(cells) - 1)):
        return None
    return range(timed[0], len(cells) - 1)


def read(
    file: Path, lines: Lines, settings: LabelSettings, footage: Footage | None, told: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """The entries of a file, and the settings with what was settled.

    Args:
        file: text of one of these forms.
        lines: what `lines_of` has made of it.
        settings: what is said of its labels.
        footage: the video that labels are taken for; None: it is not known.
        told: grows by what was assumed and left out.

    Raises:
        DataError: a line is not like the first, or it is not clear which tier, video or attribute is meant.
    """
    clock = LabelClock(file, settings.label_unit or "s", settings, footage, decimal_comma=True)
    text, _ = layouts.text_of(file, read_bytes(file), legacy=False)
    told += [f"{file.name}: {note}" for note in check_last(file, text, lines)]
    if _is_via(text):
        told.append(f"{file.name}: VIA's temporal segments")
        return _read_via(file, lines, settings, clock, told)
    if not _is_audacity(lines[0][1]):
        return _read_elan(file, lines, settings, clock, told)
    refuse_unused(file, "Audacity's label track", settings, TIMES, clock.unit)
    told.append(f"{file.name}: starts, stops and labels without names of columns, as Audacity writes them")
    entries = []
    for number, cells in lines:
        where = f"line {number}"
        if not _is_audacity(cells):
            raise DataError(f"{file}: {where}: {listed(cells)}, expected start, stop and label with tabs")
        start_s, stop_s = (clock.seconds(cell, where) for cell in cells[:2])
        entries.append(Entry(where, start_s, stop_s, plain(cells[2] if cells[2:] else "")))
    return entries, settings


def _read_elan(
    file: Path, lines: Lines, settings: LabelSettings, clock: LabelClock, notes: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """The entries of ELAN's lines.

    Their cells: tier, participant, begin, end and perhaps duration in one or more forms each, and the value.
    """
    tiers = sorted({cells[0] for _, cells in lines})
    tier = settings.tier or (tiers[0] if len(tiers) == 1 else None)
    if tier not in tiers:
        raise DataError(
            f"{file}: labels of {len(tiers)} tiers, expected one of: {listed(tiers)}; "
            f"{way_out('tier', tiers[0])}"
        )
    refuse_unused(file, "ELAN's text", settings, ("tier", "labels_of", *TIMES), clock.unit)
    timed = _time_cells(lines[0][1]) or range(0)
    one_form = len(timed) <= ONE_FORM and all(NUMBER.fullmatch(lines[0][1][i].strip()) for i in timed)
    if settings.label_unit not in (None, "s") and not one_form:
        raise DataError(
            f"{file}: label_unit is {settings.label_unit!r}, expected none: its times say their unit"
        )
    bare = LabelClock(file, "s", LabelSettings(), None)
    rows: list[np.ndarray] = []
    of_tier = [(number, cells) for number, cells in lines if cells[0] == tier]
    kept = _lines_of_one(file, of_tier, timed, settings, clock, notes)
    for number, cells in kept:
        if _time_cells(cells) != timed:
            raise DataError(
                f"{file}: line {number}: {listed(cells)}, expected times where the first line has them"
            )
        rows.append(np.array([bare.seconds(cells[i], f"line {number}") for i in timed]))
    if not one_form:  # `_seconds` has found what is seconds
        clock = replace(clock, unit="s")
    starts, stops = (
        [clock.seconds(f"{time:f}", "a time") for time in times.tolist()]
        for times in _seconds(file, np.stack(rows))
    )
    notes.append(f"{file.name}: ELAN's text, tier {tier!r}")
    entries = [
        Entry(f"line {number}", start_s, stop_s, plain(cells[-1]))
        for (number, cells), start_s, stop_s in zip(kept, starts, stops, strict=True)
    ]
    return entries, replace(settings, tier=tier)


def _lines_of_one(
    file: Path, lines: Lines, timed: range, settings: LabelSettings, clock: LabelClock, notes: list[str]
) -> Lines:
    """The lines of one participant, where ELAN wrote several into the cell behind the tier."""
    participants = sorted({cells[1].strip() for _, cells in lines if timed.start > 1} - {""})
    wanted = {key(name) for name in settings.labels_of}
    if EVERY in settings.labels_of or (len(participants) < 2 and not wanted):
        return lines
    chosen = {name for name in participants if key(name) in wanted}
    if not wanted and clock.footage is not None:
        chosen = own(participants, clock.footage, file, "the participant")
    if not chosen:
        raise nobody(file, "the participant", participants, clock.footage)
    kept = [(number, cells) for number, cells in lines if cells[1].strip() in chosen]
    left = len(lines) - len(kept)
    notes.append(f"{file.name}: lines of {listed(sorted(chosen))}; {left} are of others and left out")
    return kept


def _seconds(file: Path, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops, seconds `(rows,)`, from `(rows, columns)` times in one or more forms that agree."""
    columns = times.shape[1]
    for moments in (3, 2):  # begin, end and duration; or begin and end
        forms, rest = divmod(columns, moments)
        if rest or not 1 <= forms <= 3:
            continue
        by_moment = times.reshape(len(times), moments, forms)
        scales = np.array([_scale(by_moment[..., i], by_moment[..., 0]) for i in range(forms)])
        if np.isnan(scales).any():
            continue
        seconds = by_moment * scales
        start, stop = seconds[:, 0, 0], seconds[:, 1, 0]
        agree = np.abs(seconds - seconds[..., :1]).max() <= AGREE_S
        if agree and (moments == 2 or np.abs(stop - start - seconds[:, 2, 0]).max() <= AGREE_S):
            return start, stop
    raise DataError(
        f"{file}: {columns} columns of times that do not agree, expected begin, end and duration of each"
    )


def _scale(form: np.ndarray, first: np.ndarray) -> float:
    """What makes seconds of a form beside the first: 1, or 0.001 for milliseconds; NaN if neither does."""
    for scale in (1.0, 1e-3):
        if np.abs(form * scale - first).max() <= AGREE_S:
            return scale
    return float("nan")


def _read_via(
    file: Path, lines: Lines, settings: LabelSettings, clock: LabelClock, notes: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """The entries of VIA's rows.

    Their cells: metadata_id, file_list, flags, temporal_coordinates, spatial_coordinates, metadata.
    """
    rows = []
    for number, cells in lines:
        try:
            times, metadata = json.loads(cells[3], parse_int=whole), json.loads(cells[5], parse_int=whole)
        except (IndexError, ValueError, RecursionError):
            times = metadata = None
        numeric = isinstance(times, list) and all(type(time) in (int, float) for time in times)
        if not numeric or not isinstance(metadata, dict):
            raise DataError(f"{file}: line {number}: {listed(cells)}, expected VIA's six cells")
        rows.append((f"line {number}", cells[1], times, metadata))
    refuse_unused(file, "VIA's CSV", settings, ("activity_column", "labels_of", *TIMES), clock.unit)
    videos = sorted({video for _, video, _, _ in rows})
    chosen, wanted = set(videos), {key(name) for name in settings.labels_of}
    if wanted and EVERY not in wanted:
        chosen = {video for video in videos if {key(video), "".join(name_of(video)[1:])} & wanted}
    elif clock.footage is not None and not wanted:
        chosen = own(videos, clock.footage, file, "file_list")
    if not chosen or (clock.footage is None and not wanted and len(videos) > 1):
        raise nobody(file, "file_list", videos, clock.footage)
    kept = [row for row in rows if row[1] in chosen and len(row[2]) in (1, 2)]
    if len(kept) < len(rows):
        left = len(rows) - len(kept)
        notes.append(f"{file.name}: {left} rows are about others or have no times, and left out")
    attributes = sorted({name for *_, metadata in kept for name in metadata})
    activity = settings.activity_column or (attributes[0] if len(attributes) == 1 else None)
    if activity not in attributes:
        raise DataError(
            f"{file}: attributes {listed(attributes)}, expected one that tells the activity; "
            f"{way_out('activity_column', attributes[0] if attributes else 'NAME')}"
        )
    entries = []
    for where, _, times, metadata in kept:
        start_s, stop_s = (clock.seconds(repr(float(time)), where) for time in (times[0], times[-1]))
        entries.append(Entry(where, start_s, stop_s, plain(str(metadata.get(activity, "")))))
    return entries, replace(settings, activity_column=activity)
