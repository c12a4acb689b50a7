"""What the columns of a logger's table are, by their names and values: times, clocks, counters, sensors, readings."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from plait.errors import DataError
from plait.recordings.clocks import TimeUnit, fraction_unit
from plait.recordings.tables import Table, numbers, texts
from plait.recordings.time_units import IN_NAMES, unit_named


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-zµμ]+")
TIMES = _words(
    "time times timestamp timestamps stamp epoch datetime date clock elapsed unix utc ts seconds secs "
    "millis micros milliseconds microseconds nanoseconds"
)
PLAIN_TIMES = frozenset(("t", "s", "ms", "us", "ns", "sec"))  # where the name says nothing else
COUNTERS = _words(
    "unnamed index idx counter count counts cnt packet packets pkt seq sequence frame frames sample "
    "samples row rows line no nr num number id uuid serial battery batt bat soc steps hour hours minute "
    "minutes second day month year"
)
LABELS = _words("label labels activity activities class target annotation")
SENSORS = _words(
    "sensor sensors device dev source channel node imu stream side hand limb placement location type name "
    "mac address addr tag topic id segment site board module mote tracker unit"
)
CHARGE = _words("battery batt vbat vbatt soc")
STATES = _words(
    "true false yes no on off open closed pressed released up down ok err error good poor bad valid invalid "
    "idle busy active inactive start stop"
)
READINGS = _words(
    "acc accel acceleration accelerometer gyr gyro gyroscope mag magnetometer quat quaternion qw qx qy qz "
    "roll pitch yaw heading euler angle temp temperature degree degrees bpm hr heart heartrate pulse eda "
    "gsr emg ecg eeg ppg bvp spo2 flex bend force pressure press fsr load strain lux light humidity thumb "
    "middle ring pinky finger x y z ax ay az gx gy gz mx my mz wx wy wz lin linear gravity"
)
FINGERS = _words("thumb middle ring pinky finger")
AXES = re.compile(r"(.*\W|.*_)?(acc(el|eleration)?|a|la|lin(ear)?_?acc)[ _.-]*[xyz123]\b.*", re.IGNORECASE)
LONG_AXES = re.compile(
    r"(.*[^a-z])?acc(el(eration|erometer)?)?([^a-z].*)?[^a-z][xyz]([^a-z].*)?", re.IGNORECASE
)
BARE_AXES = re.compile(r"([xyz])([ _-]?axis)?(\W.*)?", re.IGNORECASE)
FILLS = re.compile(
    r"-?9{3,}(\.9+)?|-?32767|-32768|65535|-?8388607|-8388608|-?2147483647|-2147483648|4294967295|-?1(0{10}|e20)"
)
NEVER_NONE = _words(
    "bpm hr heart heartrate pulse spo2 temp temperature humidity pressure baro barometer"
)  # never 0
MONOTONE, NEARLY = 0.98, 0.9  # share of the changes that go one way; where the name says a counter
ROWS = 3  # a column that tells the number of the row no worse is a clock
FEW = 30  # rows from which on rising throughout is no accident
SENSORS_AT_MOST = 32
DISTINCT = 4  # values of a column that make it more than a switch
MANY = 5000  # rows that show how many values a column has


class Left(NamedTuple):
    """A column that is no reading, and why."""

    name: str
    why: str


def words(name: str) -> list[str]:
    """The words of a name: `SampleTimeFine`, `sample_time_fine` and `Sample time (fine)` have the same."""
    return [word.lower() for word in WORD.findall(name)]


def time_column(table: Table) -> str | None:
    """The column of times by its name; of several, one that goes forward and has the fewest equal times."""
    found = []
    for place, name in enumerate(table.frame.columns):
        said = words(name)
        bare = [word for word in said if word not in IN_NAMES] or said
        if not TIMES & set(said) and not (len(bare) == 1 and bare[0] in PLAIN_TIMES):
            continue
        if (values := numbers_in(table, name)) is not None:
            moves = np.diff(values[np.isfinite(values)])
            if np.sum(moves < 0) > 1 and _begins_again(values[np.isfinite(values)], moves[moves != 0]):
                continue  # a part of a time: the seconds of a minute
        forward, shared = _as_clock(table, name)
        found.append((not forward, round(shared, 2), place, name))
    named = [name for *_, name in found]
    whole = [
        one
        for one in found
        if not any(fraction_of(table, other, one[-1]) for other in named if other != one[-1])
    ]
    return min(whole)[-1] if whole else None


def fraction_column(table: Table, time: str) -> tuple[str, TimeUnit | float] | None:
    """The column of the fractions of a second that the times in `time` lack, and its unit."""
    for name in table.frame.columns:
        if name != time and (unit := fraction_of(table, time, name)):
            return name, unit
    return None


def fraction_of(table: Table, time: str, name: str) -> TimeUnit | float | None:
    """The unit in which column `name` is the fraction of the times in `time`, None if it is not."""
    values = numbers_in(table, name)
    if values is None or np.nanmin(values) < 0 or READINGS & set(words(name)):
        return None
    other = set(words(name)) - set(words(time)) - TIMES - IN_NAMES.keys()
    named = None if other else unit_named(name)  # a latency in milliseconds is none
    whole = numbers_in(table, time)
    if whole is None:  # written: equal cells are one time
        cells = texts(table, time)
        if cells.str.contains(r"\d:\d+[.,]\d*[1-9]").any():
            return None
        whole = np.cumsum((cells != cells.shift(1)).fill_null(False).to_numpy()).astype(np.float64)
    elif (whole != np.round(whole)).any():
        return None
    return fraction_unit(whole, values) or fraction_unit(whole, values, named)


def _as_clock(table: Table, name: str) -> tuple[bool, float]:
    """Whether a column goes forward as times do, and which share of its rows share a time with the row before."""
    if (values := numbers_in(table, name)) is None:
        column = table.frame[name]
        same = float((column == column.shift(1)).fill_null(True).mean() or 0.0)  # type: ignore[arg-type]
        return column.n_unique() > 1, same
    steps = np.diff(values[np.isfinite(values)])
    if not len(steps):
        return True, 0.0
    return bool(np.mean(steps >= 0) > NEARLY and (steps > 0).any()), float(np.mean(steps == 0))


def numbers_in(table: Table, name: str) -> np.ndarray | None:
    """A column's numbers, None if it holds text; one of numbers but for some cells is an error in the file.

    Raises:
        DataError: most cells are numbers, and one is not.
    """
    try:
        values = numbers(table, name)
        return values if np.isfinite(values).any() else None
    except DataError:
        column = table.frame[name]
        if column.dtype.is_temporal() or column.dtype.is_nested():
            return None
        cells = column.cast(pl.String, strict=False).drop_nulls().str.replace(",", ".", literal=True)
        parsed = cells.str.strip_chars().cast(pl.Float64, strict=False).is_not_null().sum()
        if parsed > len(cells) / 2:
            raise
        return None


def readings(
    table: Table, time: str | None, skip: Sequence[str] = ()
) -> tuple[list[str], list[Left], list[Left]]:
    """The columns that are readings, those that are none, and readings that look like a clock.

    A column that rises or falls all the time, or counts up and begins again, tells how late it is, so that activities
    done one after another are told by it alone. It is no reading unless its name says so. Text and labels are none.
    """
    kept: list[str] = []
    left: list[Left] = []
    kept_though: list[Left] = []
    hand = any(FINGERS & set(words(name)) for name in table.frame.columns)
    for name in table.frame.columns:
        if name == time or name in skip:
            continue
        values = numbers_in(table, name)
        if values is None:
            left.append(Left(name, "no numbers"))
            continue
        said = set(words(name)) - ({"index"} if hand else set())
        form = _form(values[np.isfinite(values)], loose=bool(said & (COUNTERS | TIMES)))
        if said & LABELS:
            left.append(Left(name, "labels by its name"))
        elif said & CHARGE and form != "constant":  # however noisily it falls
            left.append(Left(name, form or "a battery by its name"))
        elif form and said & READINGS and not said & (COUNTERS | TIMES):
            if form != "constant":
                kept_though.append(Left(name, form))
            kept.append(name)
        elif form == "constant":
            if said & COUNTERS or name.lower() in ("", "unnamed"):
                left.append(Left(name, form))
            else:
                kept.append(name)
        elif form:
            left.append(Left(name, form))
        else:
            kept.append(name)
    return kept, left, kept_though


def _form(values: np.ndarray, *, loose: bool) -> str | None:
    """How finite `values` (n,) behave like a clock or a counter, if they do; `loose` where their name says so too."""
    steps = np.diff(values)
    moves = steps[steps != 0]
    if not len(moves):
        return "constant"
    if not loose and len(values) < FEW:
        whole = (values == np.round(values)).all() and len(moves) == len(steps) and (moves == moves[0]).all()
        return "counts rows" if whole and len(moves) > 2 else None
    least = NEARLY if loose else MONOTONE
    enough = len(moves) >= (1 if loose else 5)
    for sign, verb, counts in ((1, "rises", "counts up"), (-1, "falls", "counts down")):
        up = sign * moves > 0
        if up.sum() >= 4 and (
            _begins_again(sign * values, sign * moves) or _wraps(sign * values, sign * moves)
        ):
            return f"{counts} and begins again"
        if enough and up.mean() >= least:
            return f"{verb} throughout, like a clock or a counter"
    slope, start = np.polyfit(np.arange(len(values)), values, 1)
    off = np.std(values - slope * np.arange(len(values)) - start)
    if off < abs(slope) * (0.1 * len(values) if loose else ROWS):
        return "goes with the number of the row"
    return None


def _begins_again(values: np.ndarray, moves: np.ndarray) -> bool:
    """Whether values rise by equal steps, and fall by most of their range in between: a counter that wraps."""
    rises, falls = moves[moves > 0], moves[moves < 0]
    if not len(falls) or len(rises) < 2 * len(falls):
        return False
    step = float(np.median(rises))
    equal = np.mean(np.abs(rises - step) <= 0.25 * step) >= 0.8
    return bool(equal and (falls <= -0.5 * np.ptp(values)).all() and np.ptp(values) > 1.5 * step)


def _wraps(values: np.ndarray, moves: np.ndarray) -> bool:
    """Whether whole numbers only rise, by whatever lost packets make of it, but where they fall by half their range."""
    rises, falls = moves[moves > 0], moves[moves < 0]
    if not len(falls) or len(rises) < 4 * len(falls) or (values != np.round(values)).any():
        return False
    return bool((falls <= -0.5 * np.ptp(values)).all() and (rises < 0.5 * np.ptp(values)).all())


def fill_in(table: Table, name: str) -> tuple[float, int, float, float] | None:
    """A value that column `name` may hold for want of a reading, in how many rows, and the range of all others.

    It is one that people fill in (-9999, the ends of whole numbers) and lies farther from the others than these are
    wide; or lies half as far, is there again and again, and is below zero where nothing else is, or zero where a name
    says that nothing can be.
    """
    values = numbers_in(table, name)
    if values is None:
        return None
    known = values[np.isfinite(values)]
    ends = float(known.min()), float(known.max())
    for drop in ((ends[0],), (ends[1],), ends):
        filled = [value for value in drop if FILLS.fullmatch(f"{value:.12g}".replace("e+", "e"))]
        for value in filled or [
            value for value in drop if value < 0 or (value == 0 and NEVER_NONE & set(words(name)))
        ]:
            others, rows = known[~np.isin(known, drop)], int(np.sum(known == value))
            if len(others) < len(known) / 4 or len(np.unique(others)) < DISTINCT:
                continue
            low, high = float(others.min()), float(others.max())
            again = rows >= 3 and low >= 0 and (value < 0 or low > 0)
            if max(low - value, value - high) > (high - low if filled else (high - low) / 2) and (
                filled or again
            ):
                return value, rows, low, high
    return None


def told_apart_by(
    table: Table, time: str | None, times: np.ndarray | None
) -> tuple[str, dict[str, int]] | None:
    """The column that tells which of several sensors each row is of, with its values and how many rows each has.

    Sensors take turns: the column changes often, and regularly; or one speaks now and then, alone and regularly; or
    times go forward, or are all different, only among the rows of each. Where the name does not say that it tells
    sensors, and its values are numbers or hardly change, what they read must differ too.
    """
    rows = len(table.frame)
    if rows < 10:
        return None
    columns = [name for name in table.frame.columns if name != time]
    for name in columns:
        said = set(words(name))
        if table.frame[name].head(MANY).n_unique() > SENSORS_AT_MOST:
            continue
        cells = texts(table, name)
        kinds = cells.unique().sort().to_list()
        if not 2 <= len(kinds) <= min(SENSORS_AT_MOST, rows // 4) or "" in kinds:
            continue
        text = numbers_in(table, name) is None
        if said & LABELS or (not text and (said & READINGS or _fractions(cells))):
            continue
        if {kind.lower() for kind in kinds} <= STATES:
            continue
        code = cells.rank("dense").to_numpy().astype(np.int64) - 1
        changes = float(np.mean(np.diff(code) != 0))
        turns = changes >= 0.2 and all(_regular(np.flatnonzero(code == one)) for one in range(len(kinds)))
        alone = _alone(code, len(kinds)) and (
            kinds != ["0", "1"] or np.mean(code) > 0.5
        )  # or marks what happens
        again = bool((np.diff(code) < 0).any())  # or it tells parts of the log
        back = times is not None and again and _back_but_not_so(times, code, len(kinds))
        shared = times is not None and _shared_but_not_so(times, code)
        if said & SENSORS:
            found = changes >= 0.05 or back or shared or alone
        elif text:
            found = back or shared or changes >= 0.2 or (alone and _differ(table, columns, name, code))
        else:
            found = not said & COUNTERS and (
                back or ((turns or shared or alone) and _differ(table, columns, name, code))
            )
        if found:
            return name, {kind: int(np.sum(code == i)) for i, kind in enumerate(kinds)}
    return None


def _fractions(cells: pl.Series) -> bool:
    return bool(cells.str.contains(r"[.,]\d*[1-9]").any())


def _regular(rows: np.ndarray) -> bool:
    """Whether a sensor's rows come in turn: gaps between them hardly vary."""
    gaps = np.diff(rows)
    return len(gaps) >= 4 and float(np.std(gaps)) < 0.5 * float(np.mean(gaps))


def _alone(code: np.ndarray, kinds: int) -> bool:
    """Whether all kinds but the commonest come one row at a time, regularly: slow sensors beside a fast one."""
    commonest = int(np.argmax(np.bincount(code)))
    rare = [np.flatnonzero(code == one) for one in range(kinds) if one != commonest]
    return all((np.diff(places) > 1).all() and _regular(places) for places in rare)


def _back_but_not_so(times: np.ndarray, code: np.ndarray, kinds: int) -> bool:
    """Whether times run backwards more than once, but not among the rows of each kind."""
    back = np.sum(np.diff(times) < 0) > 1
    return bool(back and all((np.diff(times[code == one]) >= 0).all() for one in range(kinds)))


def _shared_but_not_so(times: np.ndarray, code: np.ndarray) -> bool:
    """Whether rows share times, but not those of one kind."""
    order = np.lexsort((code, times))
    same = np.diff(times[order]) == 0
    return bool(same.mean() >= 0.2 and not (same & (np.diff(code[order]) == 0)).any())


def _differ(table: Table, columns: Sequence[str], name: str, code: np.ndarray) -> bool:
    """Whether what rows hold depends on their kind, in a third of the other columns.

    That is their mean; or which cells are filled; or rows of one kind go on from each other, and not from the row that
    stands between them.
    """
    told = []
    for other in columns:
        values = None if other == name else numbers_in(table, other)
        if values is None or _form(values[np.isfinite(values)], loose=False):
            continue
        counts = np.bincount(code)
        by_chance = (len(counts) - 1) / len(code)
        filled = np.isfinite(values).astype(np.float64)
        known = values if filled.all() else filled
        means = np.bincount(code, weights=known) / counts
        told.append(
            np.var(means[code]) > (0.1 + 3 * by_chance) * np.var(known) > 0 or _go_on_apart(values, code)
        )
    return bool(told) and sum(told) >= len(told) / 3


def _go_on_apart(values: np.ndarray, code: np.ndarray) -> bool:
    """Whether values of the commonest kind are nearer to each other than to those of others between them."""
    own = values[code == np.argmax(np.bincount(code))]
    across = np.diff(values)[np.diff(code) != 0]
    steps = np.diff(own)
    steps, across = steps[np.isfinite(steps)], across[np.isfinite(across)]
    return bool(len(steps) and len(across) and np.mean(steps**2) < 0.5 * np.mean(across**2))


def acceleration(names: Sequence[str], stream: str, units: Sequence[str] = ()) -> tuple[str, ...]:
    """The three columns that tell how the sensor is moved, none where that is not known."""
    found = [name for name in names if AXES.fullmatch(name) or LONG_AXES.fullmatch(name)]
    if len(found) >= 3:
        return tuple(found[:3])
    bare = {match[1].lower(): name for name in names if (match := BARE_AXES.fullmatch(name))}
    weighed = all(re.search(r"\((m?g|m/s.*)\)", name) for name in bare.values())
    if len(bare) == 3 and (any(word.startswith("acc") for word in words(stream)) or weighed):
        return tuple(name for name in names if name in bare.values())
    return ()
