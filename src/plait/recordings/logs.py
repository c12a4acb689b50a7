"""Sensor logs: a file of readings, however irregular, to a stream."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import polars as pl
import polars.selectors as cs
from jaxtyping import Float64

from plait.errors import ConfigError, DataError
from plait.patterns import matching
from plait.recordings.arrivals import as_taken
from plait.recordings.between import SLACK_S, Between, Ends, NamedColumns, check, completed
from plait.recordings.clocks import (
    WHOLE,
    TimeUnit,
    apart,
    check_unit,
    gaps,
    in_order,
    seconds_of,
    went_on,
    with_fraction,
)
from plait.recordings.curved import Seen, look
from plait.recordings.sensors import SensorLog
from plait.recordings.tables import LARGEST, Cell, Table, no_column, numbers, read_table, texts

__all__ = ["Log", "SensorLog", "TimeUnit", "read_log", "read_rows", "scaled", "where"]


@dataclass(frozen=True)
class Log:
    """How a sensor log is to be read.

    Args:
        columns: names or patterns ("flex*"), in this order; those of one pattern in the file's order.
        time: the column of times; without, readings are `rate_hz` apart.
        time_unit: of the times: one of `TimeUnit`, or how many make a second; "iso": written times, in UTC
            unless they say otherwise.
        fraction: the column of the rest, where `time` counts whole seconds.
        fraction_unit: of the rest.
        rate_hz: readings a second, where there are no times; frames a second, where these are time codes.
        scale: what values are multiplied by.
        max_gap_s: where readings are farther apart, in seconds, nothing is known in between.
        absolute: times stay as they are; else the clock starts at the first reading.
        where: rows are read only if each of these columns holds its value.
        clock_set: lines at which the clock was set: it goes on as if it had not been.
        same_time: whether readings of one time are spread or averaged, see `plait.recordings.clocks.apart`.
        header_line: the line of a text file that names its columns; looked for by default.
        names: of a text file's columns, where no line has them.
        decimal: the decimal sign; any other sign within numbers then sets thousands apart.
        missing: cells (-9999, "ERR") that hold no reading.
        first_line, last_line: between which rows are read, as lines of a text file, rows of a parquet file.
        circular: columns that are angles, with their two ends, before `scale`; false: it only looks like one.
        quaternions: the four columns of each, in any order; false: there are none.
        held: columns that stay at a reading until the next one, such as states.

    Raises:
        ConfigError: a setting is out of range, or neither `time` nor `rate_hz` is given.
    """

    columns: tuple[str, ...]
    time: str | None = None
    time_unit: TimeUnit | float = "s"
    fraction: str | None = None
    fraction_unit: TimeUnit | float = "ms"
    rate_hz: float | None = None
    scale: float = 1.0
    max_gap_s: float = 1.0
    absolute: bool = False
    where: Mapping[str, Cell] = field(default_factory=dict)
    clock_set: tuple[int, ...] = ()
    same_time: Literal["spread", "mean"] = "spread"
    header_line: int | None = None
    names: tuple[str, ...] = ()
    decimal: Literal[",", "."] | None = None
    missing: tuple[Cell, ...] = ()
    first_line: int | None = None
    last_line: int | None = None
    circular: Mapping[str, Ends | bool] = field(default_factory=dict)
    quaternions: tuple[tuple[str, ...], ...] | bool = ()
    held: tuple[str, ...] = ()

    @property
    def named(self) -> NamedColumns:
        """The columns that are not linear in between, as they are named."""
        return NamedColumns(self.circular, self.quaternions, self.held)

    def __post_init__(self) -> None:
        """Refuse settings that say nothing or nonsense."""
        if not self.columns:
            raise ConfigError("log: columns is empty, expected names or patterns")
        for name, unit in (("time_unit", self.time_unit), ("fraction_unit", self.fraction_unit)):
            if not check_unit(unit):
                units = ", ".join(get_args(TimeUnit))
                raise ConfigError(
                    f"log: {name} is {unit!r}, expected one of {units}, or how many in a second"
                )
        if self.time is None and self.rate_hz is None:
            raise ConfigError(
                "log: neither time nor rate_hz is given, expected the column of times or a rate"
            )
        if self.time_unit == "timecode" and self.rate_hz is None:
            raise ConfigError(
                "log: time_unit is timecode, expected rate_hz, its frames in a second, beside it"
            )
        if self.rate_hz is not None and not (0 < self.rate_hz < math.inf):
            raise ConfigError(f"log: rate_hz is {self.rate_hz}, expected a number above 0")
        if not math.isfinite(self.scale) or self.scale == 0:
            raise ConfigError(f"log: scale is {self.scale}, expected a finite number, not 0")
        if not (0 <= self.max_gap_s < math.inf):
            raise ConfigError(f"log: max_gap_s is {self.max_gap_s}, expected 0 or more")
        if self.same_time not in ("spread", "mean"):
            raise ConfigError(f"log: same_time is {self.same_time!r}, expected spread or mean")


def read_log(file: Path, log: Log, said: list[str] | None = None) -> SensorLog:
    """The readings in a CSV or parquet file; `said` grows by what a person should know of them.

    Missing values are bridged linearly where the readings on both sides are at most `log.max_gap_s` apart.
    Rows without a time are dropped; rows out of order by at most one sample are sorted; rows of one instant
    (to the nanosecond) are set apart, or averaged but for columns that are not linear, which keep the first.

    Raises:
        DataError: the file is missing or damaged, lacks a column, holds text for a number or no number in a
            column, or an angle beyond its ends; its clock runs backwards or jumps forward by more than a day,
            more than 1 % of its rows have no time, or so many share one that nobody knows when they were, or
            are less than a nanosecond apart.
    """
    return _log_of(file, log, _cells(file, log, [] if said is None else said))


def read_and_look(
    file: Path,
    log: Log,
    said: list[str],
    called: str = "",
    units: Mapping[str, str] | None = None,
) -> tuple[SensorLog, Seen]:
    """The same, and which columns look as if they were not linear, save for those of which `log` speaks.

    Args:
        file: of the log.
        log: how it is to be read.
        said: grows by what a person should know.
        called: the log's name.
        units: of its columns, where they are known.
    """
    cells = _cells(file, log, said)
    about = (log.max_gap_s, log.named, called)
    if log.scale == 1:
        seen = look(cells.names, cells.times, cells.values, *about, units)
    else:  # it may be what makes degrees of them
        seen = look(cells.names, cells.times, cells.values / log.scale, *about, units)
        found = look(cells.names, cells.times, cells.values, *about).circular
        scaled_too = {name: (_unscaled(ends, log.scale), count) for name, (ends, count) in found.items()}
        seen = seen._replace(circular={**scaled_too, **seen.circular})
    return _log_of(file, log, cells), seen


def _unscaled(ends: Ends, scale: float) -> Ends:
    low, high = sorted(end / scale for end in ends)
    return low, high


class _Cells(NamedTuple):
    """What the cells of a log say, in order of time; NaN where they are empty."""

    times: np.ndarray
    values: np.ndarray
    names: tuple[str, ...]
    between: Between


def _cells(file: Path, log: Log, said: list[str]) -> _Cells:
    table = read_rows(file, log)
    said += table.notes
    table = _without_padding(table, log, said)
    if log.time is None:
        assert log.rate_hz is not None
        times = np.arange(len(table.frame)) / log.rate_hz
    else:
        table, times = times_of(table, log)
    names = _columns(table, log)
    values = np.stack([scaled(table, name, log.scale) for name in names], axis=1)
    if log.time is not None:
        table, times, values = as_taken(table, times, values, said)
        times = went_on(table, times, log.clock_set)
    order = in_order(table, times, log.clock_set)
    start_s = 0.0 if log.absolute else order.times[0]
    order = order._replace(times=np.round(order.times - start_s, 9))
    between = not_linear(file, log, names, values)
    before, rows = order.times, values[order.rows]
    order, values = apart(table, order, rows, mean=log.same_time == "mean", said=said)
    if log.same_time == "mean" and len(values) < len(rows):
        _keep_first(between, before, rows, order.times, values)
    if gap := gaps(table, order, log.max_gap_s):
        said.append(gap)
    times = order.times if log.absolute else np.round(order.times - order.times[0], 9)
    if not (np.diff(times) > 0).all():
        setting = "time_unit" if log.time else "rate_hz"
        raise DataError(f"{file}: readings less than a nanosecond apart, expected more: is {setting} right?")
    return _Cells(times, values, names, between)


def _log_of(file: Path, log: Log, cells: _Cells) -> SensorLog:
    times, values, names, between = cells
    for number, (column, name) in enumerate(zip(values.T, names, strict=True)):
        if number not in between.columns:
            _bridge(times, column, log.max_gap_s)
        if np.isnan(column).all():
            raise DataError(f"{file}: column {name!r} holds no number, expected some")
    completed(between, times, values, log.max_gap_s)
    return SensorLog(times, values.astype(np.float32), names, log.max_gap_s, between)


def not_linear(file: Path, log: Log, names: tuple[str, ...], values: np.ndarray | None = None) -> Between:
    """Which of a log's columns are not linear between readings, as it is said; its readings are looked at.

    Raises:
        DataError: one is not there, or an angle is beyond its ends.
    """
    try:
        between = log.named.of(names, log.scale)
        if values is not None:
            check(between, names, values)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    return between


def _keep_first(
    between: Between, times: np.ndarray, rows: np.ndarray, instants: np.ndarray, values: np.ndarray
) -> None:
    """Have the means of `instants`, in `values`, be the first of what is averaged, `rows` of `times`.

    Of columns that are not linear: two angles have a mean, but not that of their numbers.
    """
    known = between.known(rows)
    for column in between.columns:
        at = np.flatnonzero(known[:, column])
        first = np.minimum(np.searchsorted(times[at], instants), max(len(at) - 1, 0))
        there = times[at][first] == instants if len(at) else np.zeros(len(instants), np.bool_)
        values[there, column] = rows[at[first[there]], column]


def times_of(table: Table, log: Log) -> tuple[Table, Float64[np.ndarray, "rows"]]:
    """The rows that have a time, and their times in seconds.

    Raises:
        DataError: there is no such column, a cell is no time, or more than 1 % of the rows have none.
    """
    assert log.time is not None
    for name in (log.time, log.fraction):
        if name is not None and name not in table.frame.columns:
            raise no_column(table, name, table.frame.columns)
    table, times = seconds_of(table, log.time, log.time_unit, log.rate_hz)
    if log.fraction is None:
        return table, times
    return with_fraction(table, times, log.fraction, log.fraction_unit)


def read_rows(file: Path, log: Log) -> Table:
    """The rows of a log's file that are meant.

    Raises:
        DataError: the file is missing or damaged, lacks a column that `log.where` names, or no row is meant.
    """
    table = read_table(file, header_line=log.header_line, names=log.names, logger=True)
    table = replace(table, decimal=log.decimal, missing=log.missing)
    table = where(table, log)
    lines = np.asarray(table.rows)
    keep = (lines >= (log.first_line or 0)) & (lines <= (log.last_line or np.inf))
    if not keep.any():
        conditions = ", ".join(f"{name} = {value!r}" for name, value in log.where.items())
        raise DataError(f"{file}: no row where {conditions or 'first_line, last_line'}, expected some")
    return table.take(keep)


def where(table: Table, log: Log) -> Table:
    """The rows in which the columns that `log.where` names hold what it says.

    Raises:
        DataError: there is no such column.
    """
    keep = np.ones(len(table.frame), bool)
    for name, value in log.where.items():
        if name not in table.frame.columns:
            raise no_column(table, name, table.frame.columns)
        cells = texts(table, name)
        wanted = pl.Series([str(value)])
        same = cells.cast(pl.Float64, strict=False) == wanted.cast(pl.Float64, strict=False)  # 1 and 1.0
        keep &= ((cells == wanted) | same.fill_null(False)).to_numpy()
    return table.take(keep)


def _without_padding(table: Table, log: Log, said: list[str]) -> Table:
    """The rows with a time or a reading: beside a longer log in the same table, the others are padding."""
    if log.time is None or log.time not in table.frame.columns:
        return table
    cells = table.frame.select(log.time, *_columns(table, log))
    text = pl.col(pl.String).fill_null("").str.strip_chars() != ""
    filled = cells.select(pl.any_horizontal(text, (~cs.string()).is_not_null())).to_series().to_numpy()
    if filled.all() or not filled.any():
        return table
    said.append(f"{np.sum(~filled)} rows hold neither a time nor a reading: left out")
    return table.take(filled)


def _columns(table: Table, log: Log) -> tuple[str, ...]:
    """The columns that the names and patterns stand for, each once."""
    names = [name for name in table.frame.columns if name not in (log.time, log.fraction, WHOLE)]
    columns: list[str] = []
    for pattern in log.columns:
        matches = matching(pattern, names)
        if not matches:
            raise no_column(table, pattern, names)
        columns += matches
    return tuple(dict.fromkeys(columns))


def scaled(table: Table, name: str, scale: float) -> Float64[np.ndarray, "rows"]:
    """A column's numbers, multiplied.

    Raises:
        DataError: a cell is no number, or too large a one.
    """
    values = numbers(table, name)
    large = np.abs(values) > LARGEST / max(abs(scale), 1.0)
    if large.any():
        row = int(large.argmax())
        raise DataError(
            f"{table.at(row)}: {values[row]} in column {name!r}, expected at most {LARGEST:g} when scaled"
        )
    return np.asarray(values * scale)


def _bridge(times: np.ndarray, column: np.ndarray, max_gap_s: float) -> None:
    """Fill the missing values of `column` in place where those around are at most `max_gap_s` apart."""
    rows, holes = np.flatnonzero(np.isfinite(column)), np.flatnonzero(np.isnan(column))
    if not len(rows) or not len(holes):
        return
    around = np.concatenate([times[:1], times[rows], times[-1:]])
    gaps_s = np.diff(around)[np.searchsorted(rows, holes)]
    short = holes[gaps_s <= max_gap_s + SLACK_S]
    column[short] = np.interp(times[short], times[rows], column[rows])
