"""Sensor logs: a file of readings, however irregular, to a stream."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
from jaxtyping import Float64

from plait.errors import ConfigError, DataError
from plait.recordings.sensors import SLACK_S, SensorLog
from plait.recordings.tables import Table, no_column, numbers, read_table

__all__ = ["Log", "SensorLog", "read_log"]

TimeUnit = Literal["s", "ms", "us", "ns", "iso"]
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
LATEST_S = 1e11  # the year 5138: later "seconds" are some other unit
LARGEST = 1e30  # far inside float32
UNTIMED = 0.01  # share of rows that may lack a time


@dataclass(frozen=True)
class Log:
    """How a sensor log is to be read.

    `columns` are names or patterns ("flex*"), in this order; a pattern's columns come in the file's order. `time` names
    the column of times, in `time_unit` ("iso": ISO 8601, UTC unless it says otherwise); without one, readings are
    `rate_hz` apart. Values are multiplied by `scale`. Where readings are more than `max_gap_s` apart, nothing is known
    in between. Clocks start at the first reading unless `absolute`.

    Raises:
        ConfigError: a setting is out of range, or neither `time` nor `rate_hz` is given.
    """

    columns: tuple[str, ...]
    time: str | None = None
    time_unit: TimeUnit = "s"
    rate_hz: float | None = None
    scale: float = 1.0
    max_gap_s: float = 1.0
    absolute: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that say nothing or nonsense."""
        if not self.columns:
            raise ConfigError("log: columns is empty, expected names or patterns")
        if self.time_unit not in get_args(TimeUnit):
            raise ConfigError(f"log: time_unit is {self.time_unit!r}, expected one of {', '.join(get_args(TimeUnit))}")
        if self.time is None and self.rate_hz is None:
            raise ConfigError("log: neither time nor rate_hz is given, expected the column of times or a rate")
        if self.rate_hz is not None and not (0 < self.rate_hz < math.inf):
            raise ConfigError(f"log: rate_hz is {self.rate_hz}, expected a number above 0")
        if not math.isfinite(self.scale) or self.scale == 0:
            raise ConfigError(f"log: scale is {self.scale}, expected a finite number, not 0")
        if not (0 <= self.max_gap_s < math.inf):
            raise ConfigError(f"log: max_gap_s is {self.max_gap_s}, expected 0 or more")


def read_log(file: Path, log: Log) -> SensorLog:
    """The readings in a CSV or parquet file.

    Readings of one instant (to the nanosecond) are averaged. Missing values are bridged linearly where the readings on
    both sides are at most `log.max_gap_s` apart. Rows without a time are dropped; rows out of order by at most one
    sample are sorted.

    Raises:
        DataError: the file is missing or damaged, lacks a column, holds text for a number or no number in a column,
            its clock runs backwards, or more than 1 % of its rows have no time.
    """
    table = read_table(file)
    if log.time is None:
        assert log.rate_hz is not None
        times = np.arange(len(table.frame)) / log.rate_hz
    else:
        if log.time not in table.frame.columns:
            raise no_column(table, log.time, table.frame.columns)
        table, times = _timed(table, log.time, log.time_unit)
    names = _columns(table, log)
    values = np.stack([_values(table, name, log.scale) for name in names], axis=1)
    order = _forward(table, times)
    start_s = 0.0 if log.absolute else times[order[0]]
    times, values = _average(np.round(times[order] - start_s, 9), values[order])
    for column, name in zip(values.T, names, strict=True):
        _bridge(times, column, log.max_gap_s)
        if np.isnan(column).all():
            raise DataError(f"{file}: column {name!r} holds no number, expected some")
    return SensorLog(times, values.astype(np.float32), names, log.max_gap_s)


def _columns(table: Table, log: Log) -> tuple[str, ...]:
    """The columns that the names and patterns stand for, each once."""
    names = [name for name in table.frame.columns if name != log.time]
    found: dict[str, None] = {}
    for wanted in log.columns:
        matching = [wanted] if wanted in names else [name for name in names if fnmatchcase(name, wanted)]
        if not matching:
            raise no_column(table, wanted, names)
        found.update(dict.fromkeys(matching))
    return tuple(found)


def _values(table: Table, name: str, scale: float) -> Float64[np.ndarray, "rows"]:
    found = numbers(table, name)
    large = np.abs(found) > LARGEST / max(abs(scale), 1.0)
    if large.any():
        row = int(large.argmax())
        raise DataError(f"{table.at(row)}: {found[row]} in column {name!r}, expected at most {LARGEST:g} when scaled")
    scaled: np.ndarray = found * scale
    return scaled


def _timed(table: Table, name: str, unit: TimeUnit) -> tuple[Table, Float64[np.ndarray, "rows"]]:
    """The rows that have a time, and their times in seconds."""
    if table.place == "line":  # rows of separators only are blank lines
        written = table.frame.select(pl.any_horizontal(pl.all().fill_null("").str.strip_chars() != ""))
        table = table.take(written.to_series().to_numpy())
        if not len(table.frame):
            raise DataError(f"{table.file}: every row is empty, expected readings")
    column = table.frame[name]
    if column.dtype == pl.Datetime:
        times = column.dt.epoch("us").cast(pl.Float64).to_numpy() / 1e6
    elif unit == "iso":
        times = _iso(table, name)
    else:
        times = numbers(table, name) / PER_SECOND[unit]
    far = np.abs(times) > LATEST_S
    if far.any():
        row = int(far.argmax())
        raise DataError(f"{table.at(row)}: {column[row]} in column {name!r} is no time in {unit}: is time_unit right?")
    known = np.isfinite(times)
    if np.mean(~known) > UNTIMED or not known.any():
        raise DataError(f"{table.file}: {np.sum(~known)} of {len(times)} rows have no time in {name!r}, expected few")
    return table.take(known), times[known]


def _iso(table: Table, name: str) -> Float64[np.ndarray, "rows"]:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    times = np.full(len(table.frame), np.nan)
    for row, cell in enumerate(table.frame[name].cast(pl.String, strict=False).fill_null("").str.strip_chars()):
        if not cell or cell.lower() in ("nan", "na", "null"):
            continue
        try:
            moment = datetime.fromisoformat(cell)
        except ValueError as error:
            raise DataError(f"{table.at(row)}: {cell[:80]!r} in column {name!r}, expected an ISO 8601 time") from error
        times[row] = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - epoch).total_seconds()
    return times


def _forward(table: Table, times: Float64[np.ndarray, "rows"]) -> np.ndarray:
    """The order of rows in time."""
    steps = np.diff(times)
    sample_s = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    latest = np.maximum.accumulate(times)
    back = latest - times > sample_s * (1 + 1e-6)
    if back.any():
        row = int(back.argmax())
        raise DataError(
            f"{table.at(row)}: the clock runs backwards from {latest[row]:.6f} s to {times[row]:.6f} s, "
            "expected times in order"
        )
    return np.argsort(times, kind="stable")


def _average(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One reading per instant: the mean of what is known."""
    instants, first = np.unique(times, return_index=True)
    if len(instants) == len(times):
        return times, values
    known = np.add.reduceat(np.isfinite(values).astype(np.float64), first)
    total = np.add.reduceat(np.nan_to_num(values), first)
    return instants, np.divide(total, known, out=np.full_like(total, np.nan), where=known > 0)


def _bridge(times: np.ndarray, column: np.ndarray, max_gap_s: float) -> None:
    """Fill the missing values of `column` in place where the known ones around are at most `max_gap_s` apart."""
    known = np.flatnonzero(np.isfinite(column))
    missing = np.flatnonzero(np.isnan(column))
    if not len(known) or not len(missing):
        return
    after = np.searchsorted(known, missing)
    stop_s = np.where(after < len(known), times[known[np.minimum(after, len(known) - 1)]], times[-1])
    start_s = np.where(after > 0, times[known[np.maximum(after - 1, 0)]], times[0])
    short = missing[stop_s - start_s <= max_gap_s + SLACK_S]
    column[short] = np.interp(times[short], times[known], column[known])
