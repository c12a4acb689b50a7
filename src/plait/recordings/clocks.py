"""The times of a log's rows: from cells to seconds, clocks that were set, rows that share a time, gaps."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

import numpy as np
import polars as pl
from jaxtyping import Float64

from plait.errors import DataError
from plait.recordings.tables import Table, numbers, texts
from plait.recordings.timecodes import TIMECODE, timecode_s

TimeUnit = Literal["s", "ms", "us", "ns", "min", "h", "d", "ticks", "iso", "timecode"]
UNITS: dict[str, float] = {
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,  # spreadsheets, MATLAB
    "ticks": 1e-7,  # .NET, Windows
}
LATEST_S = 3e11  # the year 11476: later "seconds" are some other unit
LONGEST_STEP_S = 86400.0  # from one reading to the next
COARSEST_S = 1.0  # times that rows may share
JUMP, JUMP_S = 10, 0.2  # a step of so many times the usual one, and so many seconds, is said
CROWD = 3  # times as many rows as usual may share a time
FEW = 10  # rows that do not tell the fraction of a second
FRACTIONS: tuple[tuple[float, TimeUnit | float], ...] = (
    (1.0, "s"),
    (100.0, 100.0),
    (1e3, "ms"),
    (1e6, "us"),
    (1e9, "ns"),
)
WHOLE = "\0whole"  # a column that no file has
SET_AT_MOST = 12  # times in one log
LAST = 5  # rows at an end that may be a summary
UNTIMED = 0.01  # share of rows that may lack a time
NONE = ("nan", "na", "n/a", "null", "none")
CLOCK = re.compile(
    r"(?:(?P<date>\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4})[ T,]+)?(?:(?P<h>\d{1,2}):)?(?P<m>\d{1,2}):(?P<s>\d{1,2})"
    r"(?:[.,:](?P<part>\d{1,9}))?(?: ?(?P<half>[AP])\.?M\.?)?",
    re.IGNORECASE,
)


class Order(NamedTuple):
    """Rows in time: which row comes when, and its seconds."""

    rows: np.ndarray
    times: Float64[np.ndarray, "n"]


def seconds_of(
    table: Table, name: str, unit: TimeUnit | float, rate_hz: float | None = None
) -> tuple[Table, Float64[np.ndarray, "rows"]]:
    """The rows that have a time in column `name`, and their times in seconds.

    `unit` is one of `TimeUnit`, or a number: so many in a second. "iso" stands for written times: ISO 8601,
    dates with slashes or points, or times of day; "timecode" for `hh:mm:ss:ff` at `rate_hz` frames a second.

    Raises:
        DataError: a cell is no time, or more than 1 % of the rows have none.
    """
    if table.place == "line":  # rows of separators only are blank lines
        written = table.frame.select(pl.any_horizontal(pl.all().fill_null("").str.strip_chars() != ""))
        table = table.take(written.to_series().to_numpy())
        if not len(table.frame):
            raise DataError(f"{table.file}: every row is empty, expected readings")
    column = table.frame[name]
    if column.dtype == pl.Datetime:
        times = column.dt.epoch("us").cast(pl.Float64).to_numpy() / 1e6
    elif column.dtype in (pl.Duration, pl.Time):
        per_second = {"ns": 1e9, "us": 1e6, "ms": 1e3}[getattr(column.dtype, "time_unit", "ns")]
        times = column.cast(pl.Int64).cast(pl.Float64).to_numpy() / per_second
    elif unit == "iso":
        times = _written_times(table, name)
    elif unit == "timecode":
        times = _timecodes(table, name, rate_hz or 0.0)
    elif isinstance(unit, str):
        times = numbers(table, name) * UNITS[unit]
    else:
        times = numbers(table, name) / unit
    far = np.abs(times) > LATEST_S
    if far.any():
        row = int(far.argmax())
        raise DataError(
            f"{table.at(row)}: {column[row]} in column {name!r} is no time in {unit}: is time_unit right?"
        )
    timed = np.isfinite(times)
    if np.mean(~timed) > UNTIMED or not timed.any():
        raise DataError(
            f"{table.file}: {np.sum(~timed)} of {len(times)} rows have no time in {name!r}, expected few"
        )
    return table.take(timed), times[timed]


def with_fraction(
    table: Table, whole: Float64[np.ndarray, "rows"], name: str, unit: TimeUnit | float
) -> tuple[Table, Float64[np.ndarray, "rows"]]:
    """Times of whole seconds and the fraction of each; rows that lack it are left out.

    Args:
        table: the rows.
        whole: whole seconds of each row.
        name: the column of the fractions.
        unit: theirs, as `seconds_of` takes it.

    Raises:
        DataError: a cell is no number, or more than 1 % of the rows have none.
    """
    table, fraction = seconds_of(table.with_column(WHOLE, whole), name, unit)
    return table, table.frame[WHOLE].to_numpy() + fraction


def fraction_unit(
    whole: np.ndarray, values: np.ndarray, named: TimeUnit | None = None
) -> TimeUnit | float | None:
    """The unit in which `values` (n,) are the fractions of a second that `whole` (n,) lack, None if in none.

    They are fractions if they lie within a second, rise while `whole` stays and fall where it rises; or if
    their unit is `named`, and they lie within a second of it. Few rows may be odd.
    """
    finite = np.isfinite(whole) & np.isfinite(values)
    if np.mean(finite) < 0.9 or finite.sum() < FEW or values[finite].min() < 0:
        return None
    steps, moves, largest = np.diff(whole[finite]), np.diff(values[finite]), float(values[finite].max())
    stays, rises = steps == 0, steps > 0
    if (~stays & ~rises).sum() > UNTIMED * len(steps) or not (moves != 0).any():
        return None
    if (moves[stays] < 0).sum() > UNTIMED * len(steps):
        return None
    if named is not None:
        return named if UNITS.get(named, 1.0) < 1 and largest * UNITS[named] < 1 else None
    if rises.sum() < 2 or stays.mean() < 0.3:
        return None
    if np.mean(moves[rises] < 0) < 0.8 or np.mean(moves[stays] > 0) < 0.3:
        return None
    return next((unit for second, unit in FRACTIONS if second / 2 <= largest < second), None)


def _written_times(table: Table, name: str) -> Float64[np.ndarray, "rows"]:
    """Seconds of written times; those without a zone are UTC, and a time of day goes on at midnight."""
    cells = texts(table, name)
    times = np.full(len(cells), np.nan)
    not_iso: list[int] = []
    for row, cell in enumerate(cells):
        if not cell or cell.lower() in NONE:
            continue
        try:
            moment = datetime.fromisoformat(cell.removesuffix(" UTC"))
        except ValueError:
            not_iso.append(row)
        else:
            times[row] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not_iso:
        if np.isfinite(times).any():
            raise _no_time(table, name, not_iso[0], cells)
        _read_clock_times(table, name, cells, not_iso, times)
    return times


def _timecodes(table: Table, name: str, rate_hz: float) -> Float64[np.ndarray, "rows"]:
    """Seconds of time codes, which go on at midnight."""
    cells = texts(table, name)
    times = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if not cell or cell.lower() in NONE:
            continue
        code = TIMECODE.fullmatch(cell)
        if code is None or (seconds := timecode_s(code, rate_hz)) is None:
            expected = f"expected a time code hh:mm:ss:ff at {rate_hz:g} frames a second, as rate_hz says"
            raise DataError(f"{table.at(row)}: {cell[:80]!r} in column {name!r}, {expected}")
        times[row] = seconds
    timed = np.isfinite(times)
    clock_s = times[timed]
    times[timed] += 86400.0 * np.cumsum(np.diff(clock_s, prepend=clock_s[:1]) < -43200.0)
    return times


def _read_clock_times(table: Table, name: str, cells: pl.Series, rows: list[int], times: np.ndarray) -> None:
    """Fill `times` from cells such as `5/6/2024 12:00:00.5 PM`, `12:00:00.5`, or `12:00.5` in minutes."""
    matches: list[re.Match[str]] = []
    for row in rows:
        if not (match := CLOCK.fullmatch(cells[row])):
            raise _no_time(table, name, row, cells)
        matches.append(match)
    if not any(match["h"] or match["part"] for match in matches):
        raise DataError(
            f"{table.at(rows[0])}: {cells[rows[0]][:80]!r} in column {name!r} may be minutes or hours, "
            "expected hh:mm:ss, or mm:ss with a fraction"
        )
    day_of = _days(table, name, [match["date"] for match in matches])
    for row, match in zip(rows, matches, strict=True):
        hour = int(match["h"] or 0)
        if match["half"]:
            hour = hour % 12 + 12 * (match["half"].lower() == "p")
        part = float(f"0.{match['part']}") if match["part"] else 0.0
        minute, second = int(match["m"]), int(match["s"])
        if hour > 24 or minute > 59 or second > 60:
            raise _no_time(table, name, row, cells)
        times[row] = day_of[match["date"]] * 86400 + hour * 3600 + minute * 60 + second + part
    if set(day_of) == {None}:  # without dates, a clock that goes back has gone round
        round_s = 86400.0 if matches[0]["h"] else 3600.0
        clock_s = times[rows]
        times[rows] += round_s * np.cumsum(np.diff(clock_s, prepend=clock_s[0]) < -round_s / 2)


def _days(table: Table, name: str, dates: Sequence[str | None]) -> dict[str | None, int]:
    """The number of each date's day, whichever way round dates are written.

    Raises:
        DataError: day and month can be taken for each other, and it matters.
    """
    distinct = list(dict.fromkeys(dates))
    if len(distinct) == 1:
        return {distinct[0]: 0}
    spaced = [re.sub(r"[-/.]", " ", date or "") for date in distinct]
    readings: list[list[int]] = []
    for form in ("%Y %m %d", "%d %m %Y", "%m %d %Y", "%d %m %y", "%m %d %y"):
        try:
            days = [datetime.strptime(date, form).toordinal() for date in spaced]
        except ValueError:
            continue
        relative = [day - days[0] for day in days]
        if min(np.diff(days)) > 0 and relative not in readings:
            readings.append(relative)
    daily = [days for days in readings if max(np.diff(days)) == 1] or readings
    if len(daily) != 1:
        raise DataError(
            f"{table.file}: dates in column {name!r}, such as {distinct[1]}, may be day or month first, "
            "expected ISO 8601"
        )
    return dict(zip(distinct, daily[0], strict=True))


def _no_time(table: Table, name: str, row: int, cells: pl.Series) -> DataError:
    return DataError(f"{table.at(row)}: {cells[row][:80]!r} in column {name!r}, expected an ISO 8601 time")


def went_on(
    table: Table, times: Float64[np.ndarray, "rows"], set_at: Sequence[int]
) -> Float64[np.ndarray, "rows"]:
    """Times of a clock that was set at the lines `set_at`: from there on it goes on as if it had not been.

    Raises:
        DataError: there is no such line, or nothing before it.
    """
    if not set_at:
        return times
    steps = np.append(times[0], np.diff(times))
    usual_s = usual_step_s(steps[1:])
    for line in set_at:
        row = table.rows.index(line) if line in table.rows else 0
        if row == 0:
            raise DataError(
                f"{table.file}: clock_set names {table.place} {line}, expected a later row than the first, "
                "and none that was sent again"
            )
        steps[row] = usual_s
    continued: np.ndarray = np.cumsum(steps)
    return continued


def usual_step_s(steps: np.ndarray) -> float:
    """The median of the steps forward, 0 if there are none."""
    return float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0


def in_order(table: Table, times: Float64[np.ndarray, "rows"], set_at: Sequence[int] = ()) -> Order:
    """Rows in the order of their times; those out of order by at most one sample are sorted.

    `set_at` are lines at which the clock is known to have been set: an error names them beside the others.

    Raises:
        DataError: the clock runs backwards, or jumps forward by more than a day.
    """
    steps = np.diff(times)
    usual_s = usual_step_s(steps)
    far = steps > LONGEST_STEP_S
    latest = np.maximum.accumulate(times)
    back = latest - times > usual_s * (1 + 1e-6)
    if far.any() and not back[: int(far.argmax()) + 1].any():
        row = int(far.argmax()) + 1
        raise DataError(
            f"{table.at(row)}: the clock jumps forward by {duration(steps[row - 1])} "
            f"({steps[row - 1]:.10g} s), expected less than a day; {_advice(table, steps, usual_s, set_at)}"
        )
    if back.any():
        row = int(back.argmax())
        raise DataError(
            f"{table.at(row)}: the clock runs backwards from {latest[row]:.6f} s to {times[row]:.6f} s, "
            f"expected times in order; {_advice(table, steps, usual_s, set_at)}"
        )
    rows = np.argsort(times, kind="stable")
    return Order(rows, times[rows])


def _advice(table: Table, steps: np.ndarray, usual_s: float, set_at: Sequence[int]) -> str:
    """What to do about a clock that runs backwards or jumps, with the lines at which it does."""
    jumps = np.flatnonzero((steps > LONGEST_STEP_S) | (steps < -usual_s * (1 + 1e-6))) + 1
    lines = sorted({*set_at, *(table.rows[row] for row in jumps)})
    if len(jumps) > SET_AT_MOST:
        return (
            f"it does so {len(jumps)} times, so these are no times of one clock: is it another column, "
            "are there several sensors, or do fractions lack their zeros (5.7 for 5.007)? "
            "If rows are evenly spaced, say rate_hz"
        )
    advice = f"if it was set there, say clock_set = {lines}"
    if len(jumps) and jumps[0] >= len(table.rows) - LAST:
        advice += f"; if what follows is no reading but a summary, last_line = {table.rows[jumps[0] - 1]}"
    elif len(jumps) and jumps[-1] <= LAST:
        advice += f"; if what stands before is no reading, first_line = {table.rows[jumps[-1]]}"
    return advice


def apart(
    table: Table, order: Order, values: np.ndarray, *, mean: bool, said: list[str]
) -> tuple[Order, np.ndarray]:
    """One reading per time, and its values.

    Rows that repeat others are dropped. Rows of one time that each fill other columns are joined. Any others
    were taken one after another by a clock coarser than their rate: they are spread over the time until the
    next one, or, where times come as irregularly as packets arrive, over the time since the one before.

    Args:
        table: the rows, for errors.
        order: which row comes when.
        values: `(n, columns)` in that order, NaN where a cell is empty.
        mean: average the rows of one time instead of spreading them.
        said: grows by what was done.

    Raises:
        DataError: rows share times more than a second apart, or too many share one to know when each was.
    """
    rows, times = order
    instants, first, counts = np.unique(times, return_index=True, return_counts=True)
    if len(instants) == len(times):
        return order, values
    shared = f"{counts[counts > 1].sum()} of {len(times)} rows share {np.sum(counts > 1)} times"
    same = np.diff(times, prepend=-np.inf) == 0
    before = np.roll(values, 1, axis=0)
    repeated = ((values == before) | (np.isnan(values) & np.isnan(before))).all(axis=1)
    filled = np.add.reduceat(np.isfinite(values).astype(np.int64), first)
    if repeated[same].all():
        said.append(f"{same.sum()} rows repeat the one before them, times and all: left out")
        return Order(rows[~same], times[~same]), values[~same]
    if mean or (filled <= 1).all():
        how = "averaged" if mean else "each fills other columns, so they are joined"
        said.append(f"{shared}: {how}")
        total = np.add.reduceat(np.nan_to_num(values), first)
        joined = np.divide(total, filled, out=np.full_like(total, np.nan), where=filled > 0)
        return Order(rows[first], instants), joined
    spread, how = _spread(table, rows, instants, first, counts)
    said.append(f"{shared}: {how}")
    return Order(rows, spread), values


def _spread(
    table: Table, rows: np.ndarray, instants: np.ndarray, first: np.ndarray, counts: np.ndarray
) -> tuple[Float64[np.ndarray, "n"], str]:
    """Times for rows of which `counts` share each of `instants`, and how they were found."""
    steps = np.diff(instants)
    usual_s = float(np.median(steps)) if len(steps) else np.inf
    if len(instants) < 3 or usual_s > COARSEST_S * (1 + 1e-6):
        wide = f", {usual_s:g} s apart" if len(steps) else ""
        raise DataError(
            f"{table.file}: {counts.sum()} rows share {len(instants)} times{wide}, expected a time for each, "
            "or times no coarser than a second; if the rows are evenly spaced, say rate_hz"
        )
    full = (steps <= 1.5 * usual_s) & (counts[:-1] >= 0.8 * np.median(counts))
    rate_hz = float(np.sum(counts[:-1][full]) / np.sum(steps[full]))
    before, after = np.append(np.inf, steps), np.append(steps, np.inf)
    room_s = np.maximum(usual_s, np.where(np.isfinite(before), before, 0.0))
    crowd = counts > np.maximum(CROWD * rate_hz * room_s, CROWD)
    if crowd.any():
        group = int(crowd.argmax())
        raise DataError(
            f"{table.at(int(rows[first[group]]))}: {counts[group]} rows share this time, "
            f"at {rate_hz:.3g} readings a second, expected a time for each; "
            'say same_time = "mean" to average them, or clock_set, or rate_hz'
        )
    number = np.arange(counts.sum()) - np.repeat(first, counts)
    regular = np.mean(np.abs(steps - np.round(steps / usual_s) * usual_s) < 0.01 * usual_s) > 0.8
    if regular or np.median(counts) < 2:
        width_s = np.where(after <= 1.5 * usual_s, after, usual_s)
        partial = counts < 0.8 * rate_hz * width_s
        spacing_s = np.where(partial, 1 / rate_hz, width_s / counts)
        # The first rows of a stretch, which began within this time.
        late = partial & (before > 1.5 * usual_s) & (np.median(counts) > 1)
        start_s = instants + np.where(late, width_s - counts * spacing_s, 0.0)
        how = "until the next time"
    else:
        spacing_s = np.minimum(np.where(np.isfinite(before), before / counts, np.inf), 1 / rate_hz)
        start_s = instants - (counts - 1) * spacing_s
        how = "since the time before, as packets come"
    times = np.repeat(start_s, counts) + number * np.repeat(spacing_s, counts)
    return times, f"spread evenly {how}, {rate_hz:.4g} readings a second"


def gaps(table: Table, order: Order, max_gap_s: float) -> str | None:
    """What to say of a log without a reading for longer than `max_gap_s`: how often, how long, where.

    Where there is no such gap, the same of steps far longer than usual.
    """
    steps = np.diff(order.times)
    wide = np.flatnonzero(steps > max_gap_s)
    event, effect = "no reading for", "windows there are left out"
    if len(steps) and np.median(steps) > max_gap_s:
        effect += f"; usually readings are {np.median(steps):.3g} s apart, expected a longer max_gap_s"
    if not len(wide) and len(steps):  # or a clock that was set a little forward
        wide = np.flatnonzero(steps > max(JUMP * float(np.median(steps)), JUMP_S))
        event, effect = "readings are bridged over", f"usually they are {np.median(steps):.3g} s apart"
    if not len(wide):
        return None
    places = []
    for i in np.sort(wide[np.argsort(steps[wide], kind="stable")[::-1][:3]]):  # the longest
        in_units = f" ({duration(steps[i])})" if steps[i] >= 120 else ""
        line, since_s = table.rows[order.rows[i + 1]], order.times[i] - order.times[0]
        places.append(f"{steps[i]:.6g} s{in_units} before {table.place} {line} (at {since_s:.6g} s)")
    many = "" if len(wide) <= 3 else f"{len(wide)} times, {steps[wide].sum():.6g} s in all; the longest: "
    return f"{event} {many}{', '.join(places)}: {effect}"


def duration(seconds: float) -> str:
    """A stretch of time as a person says it."""
    for name, size in (("years", 31557600.0), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.4g} s"


def check_unit(unit: object) -> bool:
    """Whether `unit` is one that `seconds_of` takes."""
    if isinstance(unit, str):
        return unit in get_args(TimeUnit)
    return isinstance(unit, int | float) and not isinstance(unit, bool) and 0 < unit < np.inf
