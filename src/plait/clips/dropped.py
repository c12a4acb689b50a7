"""What became no clip: counted by reason, and said in a few lines."""

from collections import Counter
from collections.abc import Iterable, Sequence

import polars as pl

from plait.names import natural
from plait.types import Clip, Dropped

SHORT = "its label is shorter than a window"
BEFORE = "before the first reading"
AFTER = "after the last reading"
GAP = "no reading"
MIXED = "no activity fills enough of it"
NO_LABEL = "no label"
UNLABELLED = "the recording has no labels"
NO_STREAM = "no such stream"
SURPLUS = "more than the count asked for"
LINES = 12  # lines on single recordings
NAMES = 8  # subjects named in a line
SCHEMA: dict[str, type[pl.DataType]] = {
    "recording": pl.String,
    "subject": pl.String,
    "activity": pl.String,
    "reason": pl.String,
    "windows": pl.Int64,
    "stream": pl.String,
    "start_s": pl.Float64,
    "stop_s": pl.Float64,
}


def by_reason(dropped: Iterable[Dropped]) -> str:
    """How many windows were dropped for each reason, the most first."""
    counts: Counter[str] = Counter()
    for drop in dropped:
        counts[_name_reason(drop.reason, drop.stream)] += drop.windows
    return ", ".join(f"{n} {reason}" for reason, n in counts.most_common())


def told(dropped: Sequence[Dropped], clips: Sequence[Clip], activities: Iterable[str] = ()) -> list[str]:
    """What was dropped, in lines for a person: in all, by recording and stream, and what has no clip.

    `activities` are those that are expected.
    """
    lines = []
    if dropped:
        total = _count(dropped)
        lines.append(f"{total} of {total + len(clips)} windows dropped: {by_reason(dropped)}")
        lines += described([drop for drop in dropped if drop.reason != SURPLUS])
    return lines + _list_lacking(dropped, clips, activities)


def described(dropped: Iterable[Dropped]) -> list[str]:
    """Lines on what each recording lost, for which reason: those first that lost most, and how many more."""
    groups: dict[tuple[str, str, str | None], list[Dropped]] = {}
    for drop in dropped:
        groups.setdefault((drop.recording, drop.reason, drop.stream), []).append(drop)
    ordered = sorted(groups.items(), key=lambda group: (-_count(group[1]), natural(group[0][0])))
    lines = [f"  {_describe_group(*group)}" for group in ordered[:LINES]]
    if rest := [drop for _, group in ordered[LINES:] for drop in group]:
        more = len(ordered) - LINES
        lines.append(f"  and {more} more like these, {_count(rest)} windows: {by_reason(rest)}")
    return lines


def table_of(dropped: Sequence[Dropped]) -> pl.DataFrame:
    """One row for each: `recording, subject, activity, reason, windows, stream, start_s, stop_s`."""
    return pl.DataFrame([vars(drop) for drop in dropped], schema=SCHEMA)


def _list_lacking(dropped: Sequence[Dropped], clips: Sequence[Clip], activities: Iterable[str]) -> list[str]:
    """Lines on subjects without a clip, and on activities of which nobody has one, or not everybody."""
    counts = Counter((clip.subject, clip.activity) for clip in clips)
    present = sorted({clip.subject for clip in clips}, key=natural)
    absent = sorted({drop.subject for drop in dropped} - {*present}, key=natural)
    lines = [f"{subject}: no clip at all" for subject in absent]
    labels = {clip.activity for clip in clips}
    labels |= {drop.activity for drop in dropped if drop.activity is not None}
    for activity in dict.fromkeys([*activities, *sorted(labels, key=natural)]):
        without = [subject for subject in present if not counts[subject, activity]]
        lost = _count(drop for drop in dropped if drop.activity == activity and drop.reason != SURPLUS)
        why = f" ({lost} dropped)" if lost else ""
        if without and len(without) == len(present):
            lines.append(f"activity {activity!r}: no clip at all{why}")
        elif without:
            more = f" and {len(without) - NAMES} more" if len(without) > NAMES else ""
            lines.append(f"activity {activity!r}: no clip of {', '.join(without[:NAMES])}{more}{why}")
    return lines


def _describe_group(key: tuple[str, str, str | None], group: Sequence[Dropped]) -> str:
    """One line on what one recording lost for one reason: how many windows of which activities, and where."""
    recording, reason, stream = key
    counts: Counter[str] = Counter()
    for drop in group:
        counts[drop.activity or ""] += drop.windows
    of = ", ".join(f"{n} of {activity}" if activity else str(n) for activity, n in counts.items())
    ends = sorted({(d.start_s, d.stop_s) for d in group if d.start_s is not None and d.stop_s is not None})
    where = ""
    if ends:
        start_s, stop_s = max(ends, key=lambda pair: pair[1] - pair[0])
        where = f" from {start_s:.2f} s to {stop_s:.2f} s ({stop_s - start_s:.1f} s)"
        where += ", the longest of several" if len(ends) > 1 else ""
    elif group[0].start_s is not None:
        where = f" at {group[0].start_s:.2f} s"
    elif group[0].stop_s is not None:
        where = f" at {group[0].stop_s:.2f} s"
    return f"{recording}: {of}: {_name_reason(reason, stream)}{where}"


def _name_reason(reason: str, stream: str | None) -> str:
    return f"{reason} of {stream}" if stream else reason


def _count(dropped: Iterable[Dropped]) -> int:
    return sum(drop.windows for drop in dropped)
