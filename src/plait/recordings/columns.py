"""What columns of a logger's table are, by name and values: times, clocks, counters, sensors, readings."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from plait.errors import DataError
from plait.recordings.clocks import TimeUnit, fraction_unit
from plait.recordings.tables import Table, numbers, texts
from plait.recordings.time_units import IN_NAMES, unit_named


def vocabulary(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-zµμ]+")
TIMES = vocabulary(
    "time times timestamp timestamps stamp epoch datetime date clock elapsed unix utc ts seconds secs "
    "millis micros milliseconds microseconds nanoseconds"
)
PLAIN_TIMES = frozenset(("t", "s", "ms", "us", "ns", "sec"))  # where the name says nothing else
COUNTERS = vocabulary(
    "unnamed index idx counter count counts cnt packet packets pkt seq sequence frame frames sample "
    "samples row rows line no nr num number id uuid serial battery batt bat soc steps hour hours minute "
    "minutes second day month year"
)
LABELS = vocabulary("label labels activity activities class target annotation")
SENSORS = vocabulary(
    "sensor sensors device dev source channel node imu stream side hand limb placement location type name "
    "mac address addr tag topic id segment site board module mote tracker unit"
)
CHARGE = vocabulary("battery batt vbat vbatt soc")
STATES = vocabulary(
    "true false yes no on off open closed pressed released up down ok err error good poor bad valid invalid "
    "idle busy active inactive start stop"
)
READINGS = vocabulary(
    "acc accel acceleration accelerometer gyr gyro gyroscope mag magnetometer quat quaternion qw qx qy qz "
    "roll pitch yaw heading euler angle temp temperature degree degrees bpm hr heart heartrate pulse eda "
    "gsr emg ecg eeg ppg bvp spo2 flex bend force pressure press fsr load strain lux light humidity thumb "
    "middle ring pinky finger x y z ax ay az gx gy gz mx my mz wx wy wz lin linear gravity"
)
FINGERS = vocabulary("thumb middle ring pinky finger")
AXES = re.compile(
    r"(.*\W|.*_)?(acc(el|eleration)?|a|la|lin(ear)?_?acc)[ _.-]*(?P<axis>[xyz123])\b.*", re.IGNORECASE
)
LONG_AXES = re.compile(
    r"(.*[^a-z])?acc(el(eration|erometer)?)?([^a-z].*)?[^a-z](?P<axis>[xyz])([^a-z].*)?", re.IGNORECASE
)
BARE_AXES = re.compile(r"([xyz])([ _-]?axis)?(\W.*)?", re.IGNORECASE)
FILLS = re.compile(
    r"-?9{3,}(\.9+)?|-?32767|-32768|65535|-?8388607|-8388608|-?2147483647|-2147483648|4294967295"
    r"|-?1(0{10}|e20)"
)
NEVER_NONE = vocabulary(  # readings of which are never 0
    "bpm hr heart heartrate pulse spo2 temp temperature humidity pressure baro barometer"
)
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
    ranks: dict[str, tuple[bool, float, int]] = {}
    for place, name in enumerate(table.frame.columns):
        parts = words(name)
        bare = [part for part in parts if part not in IN_NAMES] or parts
        if not TIMES & set(parts) and not (len(bare) == 1 and bare[0] in PLAIN_TIMES):
            continue
        if (values := numbers_in(table, name)) is not None:
            values = values[np.isfinite(values)]
            moves = np.diff(values)
            if np.sum(moves < 0) > 1 and _begins_again(values, moves[moves != 0]):
                continue  # a part of a time: the seconds of a minute
        forward, shared = _as_clock(table.frame[name], values)
        ranks[name] = (not forward, round(shared, 2), place)
    whole = [n for n in ranks if not any(fraction_of(table, other, n) for other in ranks if other != n)]
    return min(whole, key=ranks.__getitem__, default=None)


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
    others = set(words(name)) - set(words(time)) - TIMES - IN_NAMES.keys()
    named = None if others else unit_named(name)  # a latency in milliseconds is none
    whole = numbers_in(table, time)
    if whole is None:  # written: equal cells are one time
        cells = texts(table, time)
        if cells.str.contains(r"\d:\d+[.,]\d*[1-9]").any():
            return None
        whole = np.cumsum((cells != cells.shift(1)).fill_null(False).to_numpy()).astype(np.float64)
    elif (whole != np.round(whole)).any():
        return None
    return fraction_unit(whole, values) or fraction_unit(whole, values, named)


def _as_clock(column: pl.Series, values: np.ndarray | None) -> tuple[bool, float]:
    """Whether times, written or `values`, go forward, and the share of rows with that of the row before."""
    if values is None:
        shared = float((column == column.shift(1)).fill_null(True).mean() or 0.0)  # type: ignore[arg-type]
        return column.n_unique() > 1, shared
    steps = np.diff(values)
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

    A column that rises or falls all the time, or counts up and begins again, tells how late it is: activities
    done one after another are told apart by it alone. It is no reading unless its name says so.
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
        parts = set(words(name)) - ({"index"} if hand else set())
        clock_name = bool(parts & (COUNTERS | TIMES))
        form = _clock_form(values[np.isfinite(values)], loose=clock_name)
        counter_name = parts & COUNTERS or name.lower() in ("", "unnamed")
        if parts & LABELS:
            left.append(Left(name, "labels by its name"))
        elif parts & CHARGE and form != "constant":  # however noisily it falls
            left.append(Left(name, form or "a battery by its name"))
        elif form is None or (form == "constant" and not counter_name):
            kept.append(name)
        elif parts & READINGS and not clock_name:
            kept.append(name)
            kept_though.append(Left(name, form))
        else:
            left.append(Left(name, form))
    return kept, left, kept_though


def _clock_form(values: np.ndarray, *, loose: bool) -> str | None:
    """How finite `values` (n,) behave like a clock or counter, if they do; `loose` where the name says so."""
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
        wraps = _begins_again(sign * values, sign * moves) or _wraps(sign * values, sign * moves)
        if wraps and up.sum() >= 4:
            return f"{counts} and begins again"
        if enough and up.mean() >= least:
            return f"{verb} throughout, like a clock or a counter"
    slope, start = np.polyfit(np.arange(len(values)), values, 1)
    off = np.std(values - slope * np.arange(len(values)) - start)
    if off < abs(slope) * (0.1 * len(values) if loose else ROWS):
        return "goes with the number of the row"
    return None


def _begins_again(values: np.ndarray, moves: np.ndarray) -> bool:
    """Whether values rise by equal steps, and fall by most of their range in between, as counters wrap."""
    rises, falls = moves[moves > 0], moves[moves < 0]
    if not len(falls) or len(rises) < 2 * len(falls):
        return False
    step = float(np.median(rises))
    equal = np.mean(np.abs(rises - step) <= 0.25 * step) >= 0.8
    return bool(equal and (falls <= -0.5 * np.ptp(values)).all() and np.ptp(values) > 1.5 * step)


def _wraps(values: np.ndarray, moves: np.ndarray) -> bool:
    """Whether whole numbers rise, by however much where packets are lost, or fall by half their range."""
    rises, falls = moves[moves > 0], moves[moves < 0]
    if not len(falls) or len(rises) < 4 * len(falls) or (values != np.round(values)).any():
        return False
    return bool((falls <= -0.5 * np.ptp(values)).all() and (rises < 0.5 * np.ptp(values)).all())


def fill_in(table: Table, name: str) -> tuple[float, int, float, float] | None:
    """A value that column `name` may hold for want of a reading, its number of rows, the range of the others.

    It is one that people fill in (-9999, the ends of whole numbers) and lies farther from the others than
    these are wide; or lies half as far, occurs repeatedly, and is below zero where nothing else is, or zero
    where the column's name says that nothing can be.
    """
    values = numbers_in(table, name)
    if values is None:
        return None
    values = values[np.isfinite(values)]
    never_zero = bool(NEVER_NONE & set(words(name)))
    lowest, highest = float(values.min()), float(values.max())
    for ends in ((lowest,), (highest,), (lowest, highest)):
        fills = [end for end in ends if FILLS.fullmatch(f"{end:.12g}".replace("e+", "e"))]
        for value in fills or [end for end in ends if end < 0 or (end == 0 and never_zero)]:
            others, rows = values[~np.isin(values, ends)], int(np.sum(values == value))
            if len(others) < len(values) / 4 or len(np.unique(others)) < DISTINCT:
                continue
            low, high = float(others.min()), float(others.max())
            distance, width = max(low - value, value - high), high - low
            repeated = rows >= 3 and low >= 0 and (value < 0 or low > 0)
            if (fills and distance > width) or (not fills and repeated and distance > width / 2):
                return value, rows, low, high
    return None


def told_apart_by(
    table: Table, time: str | None, times: np.ndarray | None
) -> tuple[str, dict[str, int]] | None:
    """The column that tells which of several sensors each row is of, and the number of rows by its values.

    Sensors take turns: the column changes often, and regularly; or one speaks now and then, alone and
    regularly; or times go forward, or are all different, only among the rows of each. Where the name does not
    say that it tells sensors, and its values are numbers or hardly change, what they read must differ too.
    """
    count = len(table.frame)
    if count < 10:
        return None
    columns = [name for name in table.frame.columns if name != time]
    for name in columns:
        parts = set(words(name))
        if table.frame[name].head(MANY).n_unique() > SENSORS_AT_MOST:
            continue
        cells = texts(table, name)
        kinds = cells.unique().sort().to_list()
        if not 2 <= len(kinds) <= min(SENSORS_AT_MOST, count // 4) or "" in kinds:
            continue
        is_text = numbers_in(table, name) is None
        if parts & LABELS or {kind.lower() for kind in kinds} <= STATES:
            continue
        if not is_text and (parts & READINGS or cells.str.contains(r"[.,]\d*[1-9]").any()):
            continue
        code = cells.rank("dense").to_numpy().astype(np.int64) - 1
        rows_of = [np.flatnonzero(code == kind) for kind in range(len(kinds))]
        changes = float(np.mean(np.diff(code) != 0))
        turns = changes >= 0.2 and all(map(_regular, rows_of))
        marks = kinds == ["0", "1"] and np.mean(code) <= 0.5  # what happens now and then
        alone = not marks and _rare_are_alone(rows_of)
        mixed = bool((np.diff(code) < 0).any())  # else it tells parts of the log
        back = times is not None and mixed and _back_but_for_each(times, rows_of)
        shared = times is not None and _shared_but_for_each(times, code)
        if parts & SENSORS:
            apart = changes >= 0.05 or back or shared or alone
        elif is_text:
            apart = back or shared or changes >= 0.2 or (alone and _differ(table, columns, name, code))
        elif parts & COUNTERS:
            apart = False
        else:
            apart = back or ((turns or shared or alone) and _differ(table, columns, name, code))
        if apart:
            return name, {kind: len(rows) for kind, rows in zip(kinds, rows_of, strict=True)}
    return None


def _regular(rows: np.ndarray) -> bool:
    """Whether a sensor's rows come in turn: gaps between them hardly vary."""
    gaps = np.diff(rows)
    return len(gaps) >= 4 and float(np.std(gaps)) < 0.5 * float(np.mean(gaps))


def _rare_are_alone(rows_of: Sequence[np.ndarray]) -> bool:
    """Whether all kinds but the commonest come one row at a time, regularly: slow sensors beside a fast."""
    rare = list(rows_of)
    rare.pop(int(np.argmax([len(rows) for rows in rows_of])))
    return all((np.diff(rows) > 1).all() and _regular(rows) for rows in rare)


def _back_but_for_each(times: np.ndarray, rows_of: Sequence[np.ndarray]) -> bool:
    """Whether times run backwards more than once, but not among the rows of each kind."""
    back = np.sum(np.diff(times) < 0) > 1
    return bool(back and all((np.diff(times[rows]) >= 0).all() for rows in rows_of))


def _shared_but_for_each(times: np.ndarray, code: np.ndarray) -> bool:
    """Whether rows share times, but not those of one kind."""
    order = np.lexsort((code, times))
    same = np.diff(times[order]) == 0
    return bool(same.mean() >= 0.2 and not (same & (np.diff(code[order]) == 0)).any())


def _differ(table: Table, columns: Sequence[str], name: str, code: np.ndarray) -> bool:
    """Whether what rows hold depends on their kind, in a third of the other columns.

    That is their mean; or which cells are filled; or rows of one kind go on from each other, and not from the
    row that stands between them.
    """
    counts = np.bincount(code)
    by_chance = (len(counts) - 1) / len(code)
    depends: list[bool] = []
    for other in columns:
        values = None if other == name else numbers_in(table, other)
        if values is None or _clock_form(values[np.isfinite(values)], loose=False):
            continue
        filled = np.isfinite(values).astype(np.float64)
        weights = values if filled.all() else filled
        means = np.bincount(code, weights=weights) / counts
        vary = np.var(means[code]) > (0.1 + 3 * by_chance) * np.var(weights) > 0
        depends.append(bool(vary) or _go_on_apart(values, code))
    return bool(depends) and sum(depends) >= len(depends) / 3


def _go_on_apart(values: np.ndarray, code: np.ndarray) -> bool:
    """Whether values of the commonest kind are nearer to each other than to those of others between them."""
    within = np.diff(values[code == np.argmax(np.bincount(code))])
    across = np.diff(values)[np.diff(code) != 0]
    within, across = within[np.isfinite(within)], across[np.isfinite(across)]
    return bool(len(within) and len(across) and np.mean(within**2) < 0.5 * np.mean(across**2))


def acceleration(names: Sequence[str], stream: str) -> tuple[str, ...]:
    """The three columns that tell how the sensor is moved, none where that is not known.

    Of several sensors, whose axes may stand in turn, the first one's: columns called alike but for the axis.
    """
    sensors: dict[tuple[str, str], dict[str, str]] = {}
    every: list[tuple[str, str]] = []
    for name in names:
        if match := AXES.fullmatch(name) or LONG_AXES.fullmatch(name):
            around = name[: match.start("axis")].lower(), name[match.end("axis") :].lower()
            sensors.setdefault(around, {})[match["axis"].lower()] = name
            every.append((match["axis"].lower(), name))
    for axes in [*sensors.values(), dict(every) if len(every) == 3 else {}]:
        if {*"xyz"} <= axes.keys() or {*"123"} <= axes.keys():
            return tuple(axes.values())[:3]
    bare = {match[1].lower(): name for name in names if (match := BARE_AXES.fullmatch(name))}
    in_g = all(re.search(r"\((m?g|m/s.*)\)", name) for name in bare.values())
    if len(bare) == 3 and (in_g or any(word.startswith("acc") for word in words(stream))):
        return tuple(name for name in names if name in bare.values())
    return ()
