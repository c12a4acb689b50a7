"""Columns that look as if they were no straight line between readings: angles, quaternions, states."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from plait.patterns import matching
from plait.recordings.between import BEYOND, SLACK_S, Ends, Named
from plait.recordings.columns import vocabulary, words

TURNS: tuple[Ends, ...] = ((-180.0, 180.0), (0.0, 360.0), (-math.pi, math.pi), (0.0, 2 * math.pi))
WIDE = 0.75  # of a turn, at least, that readings span which go round
STEP = 0.25  # of a turn, at most, by which readings move that pass the ends
USUAL = 3.0  # times what others move by, where nothing else says that it is an angle
ANGLES = vocabulary(
    "roll pitch yaw heading euler eul angle angles azimuth bearing course compass orientation direction "
    "attitude phase longitude lon lng theta phi deg degree degrees rad radian radians"
)
RATES = vocabulary("rate rates velocity speed gyro gyr gyroscope angular omega dps sec")
AXIS = re.compile(r"(.*?)([wxyz]|[0-4])(\W.*)?", re.IGNORECASE | re.DOTALL)
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
        quaternions: those that change their sign, and how often.
        doubtful: as `circular`, of columns whose names say nothing of an angle.
        states: columns of a few whole numbers whose names say that they are states.
    """

    circular: Mapping[str, tuple[Ends, int]]
    quaternions: Mapping[tuple[str, ...], int]
    doubtful: Mapping[str, tuple[Ends, int]]
    states: tuple[str, ...]


def look(
    names: Sequence[str],
    times: np.ndarray,
    values: np.ndarray,
    max_gap_s: float,
    said: Named,
    called: str = "",
    units: Mapping[str, str] | None = None,
) -> Seen:
    """What a log's readings look like, save for columns that somebody has spoken of.

    Args:
        names: of its columns.
        times: in seconds, `(n,)`.
        values: `(n, columns)`, NaN where unknown.
        max_gap_s: where readings are farther apart, nothing is known in between.
        said: what is said of some of them.
        called: the log's name, which may tell what its columns are.
        units: of the columns, where they are known.
    """
    circular: dict[str, tuple[Ends, int]] = {}
    doubtful: dict[str, tuple[Ends, int]] = {}
    named = {*said.held, *(name for four in said.quaternions for name in four)}
    spoken_of = {each for one in (*said.circular, *named) for each in matching(one, names)}
    for name, column in zip(names, values.T, strict=True):
        if name in spoken_of:
            continue
        told = {*words(f"{name} {(units or {}).get(name, '')}")}
        if told & RATES:
            continue
        angle = bool((told | {*words(called)}) & ANGLES)
        rows = np.flatnonzero(np.isfinite(column))
        beside = np.diff(times[rows]) <= max_gap_s + SLACK_S
        if found := _round(column[rows].astype(np.float64), beside, strict=not angle):
            (circular if angle else doubtful)[name] = found
    quaternions = {
        four: count
        for four in fours(names)
        if not spoken_of & {*four} and (count := _turned(names, times, values, max_gap_s, four))
    }
    states = tuple(
        name
        for name, column in zip(names, values.T, strict=True)
        if name not in spoken_of and STATES & {*words(name)} and _is_state(column[np.isfinite(column)])
    )
    return Seen(circular, quaternions, doubtful, states)


def remarks(seen: Seen, set_by: str) -> list[str]:
    """What to say of columns that look as if they were not linear, and are taken for it.

    Args:
        seen: what they look like.
        set_by: what to write before a setting.
    """
    said = []
    for name, (ends, count) in {**seen.circular, **seen.doubtful}.items():
        doubt = f", or {set_by}circular.{name}=false if it is none" if name in seen.doubtful else ""
        said.append(
            f"{passing(name, ends, count)}: in between are readings that never were; if it is an angle, "
            f"say {set_by}circular.{name}={written(ends)}{doubt}"
        )
    for four, count in seen.quaternions.items():
        said.append(
            f"{', '.join(map(repr, four))} change their sign {count} times, as a quaternion may: in between "
            f"are readings that never were; say {set_by}quaternions={json.dumps([four], ensure_ascii=False)}"
        )
    if seen.states:
        said.append(
            f"{', '.join(map(repr, seen.states))}: a few whole numbers, in between are readings of none; if "
            f"they are states, say {set_by}held={json.dumps(list(seen.states), ensure_ascii=False)}"
        )
    return said


def passing(name: str, ends: Ends, count: int) -> str:
    """What a column does that goes round."""
    return f"{name!r} passes from one end of {ends[0]:.4g} to {ends[1]:.4g} to the other {count} times"


def written(ends: Ends) -> str:
    """Ends as a setting."""
    return f"[{ends[0]:.15g},{ends[1]:.15g}]"


def _round(column: np.ndarray, beside: np.ndarray, strict: bool) -> tuple[Ends, int] | None:
    """The ends that a column passes, and how often; `strict` where its name does not say that it is an angle.

    A step from one end to the other that is a small one, if both are one direction, of readings that move by
    small ones elsewhere, too.
    """
    if len(column) < 3:
        return None
    lowest, highest = column.min(), column.max()
    for low, high in TURNS[:2] if strict else TURNS:
        turn = high - low
        slack = BEYOND * turn
        if lowest < low - slack or highest > high + slack or highest - lowest < WIDE * turn:
            continue
        if strict and (lowest > low + 2 * slack or highest < high - 2 * slack):
            continue
        moves = np.diff(column)[beside] / turn
        passes = np.abs(moves) > 0.5
        short = np.abs(moves - np.rint(moves))
        if not passes.any() or np.median(short) > STEP / 2:
            continue
        if not strict and np.quantile(short[passes], 0.9) <= STEP:
            return (low, high), int(passes.sum())
        usual = float(np.quantile(short[~passes], 0.95)) if not passes.all() else 0.0
        if strict and short[passes].max() <= min(max(USUAL * usual, 2 * BEYOND), STEP / 2):
            return (low, high), int(passes.sum())
    return None


def fours(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Columns that are called alike but for w, x, y, z, or four numbers, in that order."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name in names:
        if match := AXIS.fullmatch(name):
            stem, axis, rest = match[1].lower(), match[2].lower(), (match[3] or "").lower()
            groups.setdefault((stem, rest), {})[axis] = name
    found = []
    for axes in groups.values():
        for wanted in ("wxyz", "0123", "1234"):
            if all(axis in axes for axis in wanted):
                found.append(tuple(axes[axis] for axis in wanted))
                break
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


def _is_state(column: np.ndarray) -> bool:
    kinds = np.unique(column)
    return bool(3 <= len(kinds) <= FEW and (kinds == np.round(kinds)).all())
