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
    for one in dropped:
        counts[_reason(one.reason, one.stream)] += one.windows
    return ", ".join(f"{n} {reason}" for reason, n in counts.most_common())


def told(dropped: Sequence[Dropped], clips: Sequence[Clip], activities: Iterable[str] = ()) -> list[str]:
    """What was dropped, in lines for a person: in all, by recording and stream, and what has no clip.

    `activities` are those that are expected.
    """
    lines = []
    if dropped:
        n = sum(one.windows for one in dropped)
        lines.append(f"{n} of {n + len(clips)} windows dropped: {by_reason(dropped)}")
        groups: dict[tuple[str, str, str | None], list[Dropped]] = {}
        for one in dropped:
            if one.reason != SURPLUS:
                groups.setdefault((one.recording, one.reason, one.stream), []).append(one)
        ordered = sorted(groups.items(), key=lambda group: (-_windows(group[1]), natural(group[0][0])))
        lines += [f"  {_line(*group)}" for group in ordered[:LINES]]
        if left := [one for _, group in ordered[LINES:] for one in group]:
            lines.append(
                f"  and {len(ordered) - LINES} more like these, {_windows(left)} windows: {by_reason(left)}"
            )
    return lines + _lacking(dropped, clips, activities)


def table_of(dropped: Sequence[Dropped]) -> pl.DataFrame:
    """One row for each: `recording, subject, activity, reason, windows, stream, start_s, stop_s`."""
    return pl.DataFrame([vars(one) for one in dropped], schema=SCHEMA)


def _lacking(dropped: Sequence[Dropped], clips: Sequence[Clip], activities: Iterable[str]) -> list[str]:
    """Activities and people that have no clip, or not one of each other."""
    counts = Counter((clip.subject, clip.activity) for clip in clips)
    people = {clip.subject for clip in clips} | {one.subject for one in dropped}
    known = {clip.activity for clip in clips} | {one.activity for one in dropped if one.activity is not None}
    lines = [
        f"{who}: no clip at all"
        for who in sorted(people, key=natural)
        if all(subject != who for subject, _ in counts)
    ]
    present = sorted({subject for subject, _ in counts}, key=natural)
    for activity in dict.fromkeys([*activities, *sorted(known, key=natural)]):
        without = [who for who in present if not counts[who, activity]]
        lost = sum(one.windows for one in dropped if one.activity == activity and one.reason != SURPLUS)
        why = f" ({lost} dropped)" if lost else ""
        if without and len(without) == len(present):
            lines.append(f"activity {activity!r}: no clip at all{why}")
        elif without:
            lines.append(f"activity {activity!r}: no clip of {_some(without)}{why}")
    return lines


def _line(key: tuple[str, str, str | None], group: Sequence[Dropped]) -> str:
    recording, reason, stream = key
    counts: Counter[str] = Counter()
    for one in group:
        counts[one.activity or ""] += one.windows
    of = ", ".join(f"{n} of {activity}" if activity else str(n) for activity, n in counts.items())
    spans = sorted(
        {(one.start_s, one.stop_s) for one in group if one.start_s is not None and one.stop_s is not None}
    )
    where = ""
    if spans:
        longest = max(spans, key=lambda span: span[1] - span[0])
        where = f" from {longest[0]:.2f} s to {longest[1]:.2f} s ({longest[1] - longest[0]:.1f} s)"
        where += ", the longest of several" if len(spans) > 1 else ""
    elif group[0].start_s is not None:
        where = f" at {group[0].start_s:.2f} s"
    elif group[0].stop_s is not None:
        where = f" at {group[0].stop_s:.2f} s"
    return f"{recording}: {of}: {_reason(reason, stream)}{where}"


def _reason(reason: str, stream: str | None) -> str:
    return f"{reason} of {stream}" if stream else reason


def _windows(group: Iterable[Dropped]) -> int:
    return sum(one.windows for one in group)


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
