"""Columns that look as if they were no straight line between readings: angles, quaternions, states."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from plait.patterns import matching
from plait.recordings.between import BEYOND, SLACK_S, Ends, NamedColumns
from plait.recordings.columns import vocabulary, words

DEGREES: tuple[Ends, ...] = ((-180.0, 180.0), (0.0, 360.0))
RADIANS: tuple[Ends, ...] = ((-math.pi, math.pi), (0.0, 2 * math.pi))
WIDE = 0.75  # of a turn, at least, that readings span which go round
STEP = 0.25  # of a turn, at most, by which nearly all readings move that pass the ends
USUAL = 3.0  # times what others move by, at most, is what readings move by that pass the ends; or this:
SMALL = 0.03, 0.02  # of a turn, where a name says that it is an angle, and where none does
STRAY = 0.002  # of the readings on either side may be none
MANY = 500  # readings from which on some may
ANGLES = vocabulary(
    "roll pitch yaw heading euler eul angle angles azimuth bearing course compass orientation direction "
    "attitude phase longitude lon lng theta phi deg degree degrees rad radian radians"
)
IN_DEGREES, IN_RADIANS = vocabulary("deg degree degrees"), vocabulary("rad radian radians")
RATES = vocabulary("rate rates velocity speed omega dps")
PER_SECOND = re.compile(r"/ ?s(?![a-z])|\bs ?\^? ?-1|(?<![a-z])per[_ ]?s(ec(ond)?)?(?![a-z])")
PERHAPS_RATES = vocabulary("gyro gyr gyroscope angular")
AXES = vocabulary("x y z axis")
PART = re.compile(r"(?:real|[wxyzsijkr]|[0-4])(?=[\W_]|$)", re.IGNORECASE)
PARTS = tuple(map(tuple, ("wxyz", "0123", "1234", "sxyz", "rijk", ("real", "i", "j", "k"))))
UNIT = 0.02  # by which the length of a quaternion is off at most, of nearly all
STATES = vocabulary(
    "state states status mode code gesture phase button switch contact touch event flag level stage step "
    "pressed grip door gear class category"
)
FEW = 12  # states


class Seen(NamedTuple):
    """What a log's readings look like.

    Args:
        circular: columns that go round, with their ends, and how often they pass these.
        doubtful: as `circular`, of columns that only may be angles.
        quaternions: those that change their sign, and how often.
        states: columns of a few whole numbers whose names say that they are states.
    """

    circular: Mapping[str, tuple[Ends, int]]
    doubtful: Mapping[str, tuple[Ends, int]]
    quaternions: Mapping[tuple[str, ...], int]
    states: tuple[str, ...]


def look(
    names: Sequence[str],
    times: np.ndarray,
    values: np.ndarray,
    max_gap_s: float,
    said: NamedColumns,
    called: str = "",
    units: Mapping[str, str] | None = None,
) -> Seen:
    """What a log's readings look like, save for columns that somebody has spoken of.

    Args:
        names: of its columns.
        times: in seconds, `(n,)`.
        values: `(n, columns)`, as they are written: NaN where a cell is empty.
        max_gap_s: where readings are farther apart, nothing is known in between.
        said: what is said of some of them.
        called: the log's name, which may tell what columns are that are called x, y, z.
        units: of the columns, where they are known.
    """
    spoken_of = {each for one in said.spoken_of for each in matching(one, names)}
    circular: dict[str, tuple[Ends, int]] = {}
    doubtful: dict[str, tuple[Ends, int]] = {}
    states: list[str] = []
    for name, column in zip(names, values.T, strict=True):
        rows = np.flatnonzero(np.isfinite(column))
        if name in spoken_of or not len(rows):
            continue
        readings = column[rows].astype(np.float64)
        beside = np.diff(times[rows]) <= max_gap_s + SLACK_S
        passed = _passed(readings, beside, name, (units or {}).get(name, ""), called)
        if passed is not None:
            ends, count, sure = passed
            (circular if sure else doubtful)[name] = ends, count
        elif STATES & {*words(name)} and _is_state(readings):
            states.append(name)
    quaternions = {
        four: count
        for four in (fours(names) if said.quaternions is not False else ())
        if not spoken_of & {*four} and (count := _turned(names, times, values, max_gap_s, four))
    }
    return Seen(circular, doubtful, quaternions, tuple(states))


def _passed(
    readings: np.ndarray, beside: np.ndarray, name: str, unit: str, called: str
) -> tuple[Ends, int, bool] | None:
    """The ends that an angle passes, how often, and whether it surely is one.

    A step from one end to the other that is a small one, if both are one direction, of readings that move by
    small ones elsewhere, too; where the name does not say that it is an angle, all of that is asked for. One
    whose name does, and which has steps of more than half a turn, may be one.
    """
    text = f"{name} {unit}"
    told = {*words(text)}
    if told & RATES or PER_SECOND.search(text):
        return None
    bare = {*words(name)} <= AXES and not told & (IN_DEGREES | IN_RADIANS)
    is_angle = bool(told & ANGLES or (bare and ANGLES & {*words(called)})) and not told & PERHAPS_RATES
    possible = DEGREES if told & IN_DEGREES or (readings == np.round(readings)).all() else DEGREES + RADIANS
    if told & IN_RADIANS and not told & IN_DEGREES:
        possible = RADIANS
    ends_of = (STRAY, 1 - STRAY) if len(readings) >= MANY else (0, 1)
    lowest, highest = np.quantile(readings, ends_of)
    for low, high in possible if is_angle else [ends for ends in possible if ends in DEGREES]:
        turn = high - low
        slack = BEYOND * turn
        if lowest < low - slack or highest > high + slack or highest - lowest < WIDE * turn:
            continue
        moves = np.diff(readings)[beside] / turn
        passes, short = np.abs(moves) > 0.5, np.abs(moves - np.rint(moves))
        if not passes.any():
            continue
        usual = float(np.quantile(short[~passes], 0.95)) if not passes.all() else 0.0
        smooth = np.median(short) <= STEP / 2 and np.quantile(short[passes], 0.9) <= STEP
        small = short[passes].max() <= max(USUAL * usual, SMALL[0 if is_angle else 1])
        if is_angle:
            return (low, high), int(passes.sum()), bool(smooth and small)
        reached = lowest <= low + 2 * slack and highest >= high - 2 * slack
        if reached and smooth and small and short[passes].max() <= STEP / 2:
            return (low, high), int(passes.sum()), False
    return None


def fours(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Columns that are called alike but for w, x, y, z, or four numbers, in that order."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name in names:
        for match in PART.finditer(name):
            around = name[: match.start()].lower(), name[match.end() :].lower()
            groups.setdefault(around, {})[match[0].lower()] = name
    found = []
    for group in groups.values():
        parts = next((parts for parts in PARTS if all(part in group for part in parts)), None)
        if parts is not None:
            found.append(tuple(group[part] for part in parts))
    return found


def _turned(
    names: Sequence[str], times: np.ndarray, values: np.ndarray, max_gap_s: float, four: tuple[str, ...]
) -> int:
    """How often four columns change their sign together, if they are quaternions."""
    numbers = values[:, [names.index(name) for name in four]].astype(np.float64)
    rows = np.flatnonzero(np.isfinite(numbers).all(axis=1))
    numbers = numbers[rows]
    if len(rows) < 3 or np.mean(np.abs(np.linalg.norm(numbers, axis=1) - 1) < UNIT) < 0.95:
        return 0
    along = (numbers[1:] * numbers[:-1]).sum(axis=1)[np.diff(times[rows]) <= max_gap_s + SLACK_S]
    return int((along < -0.5).sum()) if len(along) and np.median(np.abs(along)) > 0.9 else 0


def _is_state(readings: np.ndarray) -> bool:
    kinds = np.unique(readings)
    return bool(3 <= len(kinds) <= FEW and (kinds == np.round(kinds)).all())


def passing(name: str, ends: Ends, count: int) -> str:
    """What a column does that goes round."""
    times = "once" if count == 1 else f"{count} times"
    return f"{name!r} passes from one end of {ends[0]:.4g} to {ends[1]:.4g} to the other {times}"


def written(ends: Ends) -> str:
    """Ends as a list, which TOML and JSON read."""
    return f"[{ends[0]:.15g}, {ends[1]:.15g}]"


def unsaid(seen: Seen, stream: str) -> list[str]:
    """What to say of angles and quaternions of which a description says nothing: they are taken for numbers.

    Args:
        seen: what they look like.
        stream: the log's name in `recording.toml`.
    """
    table = f"logs.{stream if re.fullmatch(r'[A-Za-z0-9_-]+', stream) else _text(stream)}"
    never = "in between are readings that never were"
    lines = []
    for name, (ends, count) in {**seen.circular, **seen.doubtful}.items():
        doubt = ", or false if it is none" if name in seen.doubtful else ""
        lines.append(
            f"{passing(name, ends, count)}: {never}; if it is an angle, say {_text(name)} = {written(ends)} "
            f"under [{table}.circular]{doubt}"
        )
    for four, count in seen.quaternions.items():
        listed = ", ".join(map(repr, four))
        lines.append(
            f"{listed} change their sign {count} times, as a quaternion may: {never}; say "
            f"quaternions = [[{', '.join(map(_text, four))}]] under [{table}], or false if it is none"
        )
    return lines


def _text(name: str) -> str:
    """A text as TOML and JSON have it."""
    return json.dumps(name, ensure_ascii=False)
