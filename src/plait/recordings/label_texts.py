"""Labels in text without names of columns: Audacity's label track, ELAN's tab-delimited export, VIA's CSV."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from plait.errors import DataError
from plait.names import plain
from plait.recordings.annotations import (
    CLOCK,
    NUMBER,
    Entry,
    Footage,
    LabelClock,
    LabelSettings,
    listed,
    way_out,
    whole,
)
from plait.recordings.layouts import text_of
from plait.recordings.owners import EVERY, key, name_of, nobody, own
from plait.recordings.tables import CSV, read_bytes

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
        text, _ = text_of(file, read_bytes(file), legacy=False)
    except DataError:
        return None
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if any(line.startswith(VIA) for _, line in numbered[:20]):
        written = [(number, line) for number, line in numbered if not line.startswith("#")]
        return [(number, _cells(line)) for number, line in written]
    # Audacity writes a line of frequencies, which begins with a backslash, under a label that has some.
    cells = [(number, line.split("\t")) for number, line in numbered if not line.startswith("\\")]
    if cells and (_audacity(cells[0][1]) or (len(cells[0][1]) > 3 and _times(cells[0][1]) is not None)):
        return cells
    return None


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _audacity(cells: Sequence[str]) -> bool:
    return 2 <= len(cells) <= 3 and all(
        NUMBER.fullmatch(cell.strip().replace(",", ".")) for cell in cells[:2]
    )


def _times(cells: Sequence[str]) -> range | None:
    """Which cells of ELAN's line are times: an unbroken run before the last cell, after the tier."""
    timed = [i for i, cell in enumerate(cells[1:-1], 1) if TIME.fullmatch(cell.strip())]
    whole = bool(timed) and timed == list(range(timed[0], timed[-1] + 1)) and timed[-1] == len(cells) - 2
    return range(timed[0], timed[-1] + 1) if whole and len(timed) > 1 else None


def read(
    file: Path, lines: Lines, settings: LabelSettings, footage: Footage | None, told: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """The entries of what `lines_of` found.

    Raises:
        DataError: a line is not like the first, or it is not clear which tier, video or attribute is meant.
    """
    clock = LabelClock(file, settings.label_unit or "s", settings, footage, decimal_comma=True)
    if read_bytes(file).find(VIA.encode()) >= 0:
        told.append(f"{file.name}: VIA's temporal segments")
        return _via(file, lines, settings, clock, told)
    if _audacity(lines[0][1]):
        told.append(
            f"{file.name}: starts, stops and labels without names of columns, as Audacity writes them"
        )
        entries = []
        for number, cells in lines:
            if not _audacity(cells):
                raise DataError(
                    f"{file}: line {number}: {listed(cells)}, expected start, stop and label with tabs"
                )
            seconds = [clock.seconds(cell, f"line {number}") for cell in cells[:2]]
            entries.append(
                Entry(f"line {number}", seconds[0], seconds[1], plain(cells[2] if cells[2:] else ""))
            )
        return entries, settings
    return _elan(file, lines, settings, clock, told)


def _elan(
    file: Path, lines: Lines, settings: LabelSettings, clock: LabelClock, told: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """ELAN's lines: tier, participant, begin, end and perhaps duration in one or several forms each, and the value."""
    tiers = sorted({cells[0] for _, cells in lines})
    tier = settings.tier or (tiers[0] if len(tiers) == 1 else None)
    if tier not in tiers:
        raise DataError(
            f"{file}: labels of {len(tiers)} tiers, expected one of: {listed(tiers)}; {way_out('tier', tiers[0])}"
        )
    where = _times(lines[0][1]) or range(0)
    alone = len(where) <= ONE_FORM and all(NUMBER.fullmatch(lines[0][1][i].strip()) for i in where)
    if settings.label_unit not in (None, "s") and not alone:
        raise DataError(
            f"{file}: label_unit is {settings.label_unit!r}, expected none: its times say their unit"
        )
    bare = LabelClock(file, "s", LabelSettings(), None)
    rows: list[np.ndarray] = []
    mine = _of_one(
        file, [(number, cells) for number, cells in lines if cells[0] == tier], where, settings, clock, told
    )
    for number, cells in mine:
        if _times(cells) != where:
            raise DataError(
                f"{file}: line {number}: {listed(cells)}, expected times where the first line has them"
            )
        rows.append(np.array([bare.seconds(cells[i], f"line {number}") for i in where]))
    if not alone:  # `_forms` has found what is seconds
        clock = replace(clock, unit="s")
    starts, stops = (
        np.array([clock.seconds(f"{time:f}", "a time") for time in ends.tolist()])
        for ends in _forms(file, np.stack(rows))
    )
    told.append(f"{file.name}: ELAN's text, tier {tier!r}")
    entries = [
        Entry(f"line {number}", start_s, stop_s, plain(cells[-1]))
        for (number, cells), start_s, stop_s in zip(mine, starts.tolist(), stops.tolist(), strict=True)
    ]
    return entries, replace(settings, tier=tier)


def _of_one(
    file: Path, lines: Lines, where: range, settings: LabelSettings, clock: LabelClock, told: list[str]
) -> Lines:
    """The lines of one participant, where ELAN wrote several into the cell behind the tier."""
    people = sorted({cells[1].strip() for _, cells in lines if where.start > 1} - {""})
    if len(people) < 2 or EVERY in settings.labels_of:
        return lines
    wanted = {key(name) for name in settings.labels_of}
    chosen = {person for person in people if key(person) in wanted}
    if not wanted and clock.footage is not None:
        chosen = own(people, clock.footage, file, "the participant")
    if not chosen:
        raise nobody(file, "the participant", people, clock.footage)
    kept = [(number, cells) for number, cells in lines if cells[1].strip() in chosen]
    told.append(
        f"{file.name}: lines of {listed(sorted(chosen))}; {len(lines) - len(kept)} are of others and left out"
    )
    return kept


def _forms(file: Path, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops, seconds `(rows,)`, of `(rows, columns)` numbers in one or several forms that must agree."""
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
    """What makes seconds of a form beside the first: 1, or 0.001 for milliseconds."""
    if np.abs(form - first).max() <= AGREE_S:
        return 1.0
    return 1e-3 if np.abs(form * 1e-3 - first).max() <= AGREE_S else float("nan")


def _via(
    file: Path, lines: Lines, settings: LabelSettings, clock: LabelClock, told: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """VIA's rows: metadata_id, file_list, flags, temporal_coordinates, spatial_coordinates, metadata."""
    rows = []
    for number, cells in lines:
        try:
            times, said = json.loads(cells[3], parse_int=whole), json.loads(cells[5], parse_int=whole)
            fit = (
                isinstance(times, list)
                and all(type(t) in (int, float) for t in times)
                and isinstance(said, dict)
            )
        except (IndexError, ValueError, RecursionError):
            fit = False
        if not fit:
            raise DataError(f"{file}: line {number}: {listed(cells)}, expected VIA's six cells")
        rows.append((f"line {number}", cells[1], times, said))
    videos = sorted({video for _, video, _, _ in rows})
    chosen, wanted = set(videos), {key(name) for name in settings.labels_of}
    if wanted and EVERY not in wanted:
        chosen = {video for video in videos if {key(video), "".join(name_of(video)[1:])} & wanted}
    elif clock.footage is not None and not wanted:
        chosen = own(videos, clock.footage, file, "file_list")
    if not chosen or (clock.footage is None and not wanted and len(videos) > 1):
        raise nobody(file, "file_list", videos, clock.footage)
    mine = [row for row in rows if row[1] in chosen and len(row[2]) in (1, 2)]
    if len(mine) < len(rows):
        told.append(
            f"{file.name}: {len(rows) - len(mine)} rows are about others or have no times, and left out"
        )
    attributes = sorted({name for _, _, _, said in mine for name in said})
    named = settings.activity_column or (attributes[0] if len(attributes) == 1 else None)
    if named not in attributes:
        raise DataError(
            f"{file}: attributes {listed(attributes)}, expected one that tells the activity; "
            f"{way_out('activity_column', attributes[0] if attributes else 'NAME')}"
        )
    entries = []
    for where, _, times, said in mine:
        seconds = [clock.seconds(repr(float(time)), where) for time in (times[0], times[-1])]
        entries.append(Entry(where, seconds[0], seconds[1], plain(str(said.get(named, "")))))
    return entries, replace(settings, activity_column=named)
