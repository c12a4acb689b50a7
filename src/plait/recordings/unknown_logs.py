"""A logger's file that nobody has described: what it holds, guessed, checked against the video, and said."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from plait.errors import DataError
from plait.recordings.between import NamedColumns
from plait.recordings.clocks import TimeUnit, duration
from plait.recordings.columns import (
    acceleration,
    fill_in,
    fraction_column,
    numbers_in,
    readings,
    time_column,
    told_apart_by,
)
from plait.recordings.curved import Seen, passing, written
from plait.recordings.folder import LogFile, log_file
from plait.recordings.logs import SensorLog, not_linear, read_and_look, read_rows, times_of
from plait.recordings.same_columns import unit_of
from plait.recordings.side_by_side import beside
from plait.recordings.tables import Table, texts, thousands
from plait.recordings.time_units import guess_unit, written_clock
from plait.recordings.timecodes import TIMECODE

CODED, RATES = 60, (24, 25, 30, 50, 60)  # frames a second of time codes
DENSE = 2  # rows a second, from which on the last digits of their times must say a part of it
SET_S = 10.0  # a clock that jumps farther may have been set
SHORTEST_S = 1e-3  # of a video that tells nothing of a log's length
LINES = 60  # full minutes that are named
BEFORE = {"columns": ("*",), "rate_hz": 1.0}  # settings that say nothing yet


def describe_log(
    file: Path, stream: str, video_s: float | None, said: Mapping[str, Any], told: list[str]
) -> LogFile:
    """How a log is to be read.

    Args:
        file: of the log.
        stream: what the log is called in the recording.
        video_s: how long the video beside it lasts, in seconds; None: there is none.
        said: settings of `LogFile`, which go before anything that is guessed.
        told: grows by what was assumed.

    Raises:
        DataError: the file cannot be read, or it is not clear what is a time, in which unit, of which sensor
            a row is, or what is a reading; the message says what to set.
    """
    answer = f"--set logs.{stream}."
    try:
        return _describe(file, stream, video_s, {"file": file.name, **said}, answer, told)
    except DataError as error:
        if "say " in str(error) and "--set" not in str(error):  # a key that `read_log` asks for
            raise DataError(f"{error} ({answer}KEY=VALUE)") from error
        raise


def _describe(
    file: Path, stream: str, video_s: float | None, said: Mapping[str, Any], answer: str, told: list[str]
) -> LogFile:
    table = read_rows(file, log_file({**BEFORE, **said}, file).log())
    if (column := thousands(table)) is not None:
        cell = next(cell for cell in table.frame[column] if {",", "."} & {*(cell or "")})
        raise DataError(
            f"{file}: {cell!r} in column {column!r} may be thousands or have decimals, expected to be told: "
            f"{answer}decimal=. or {answer}decimal=,"
        )
    evenly = "rate_hz" in said and said.get("time_unit") != "timecode"
    time = said.get("time") or (None if evenly else time_column(table))
    if time is None and not evenly:
        raise _no_time(table, answer)
    if time is not None and time not in table.frame.columns:
        raise DataError(f"{file}: no column {time!r} of times, expected one of: {_columns_of(table)}")
    notes = list(table.notes)
    if "columns" not in said:
        _refuse_several(table, time, answer)
    clock: dict[str, Any] = {}
    if time is not None:
        if not {"time_unit", "clock_set"} & said.keys():
            _refuse_written(table, time, answer)
            _refuse_codes(table, time, answer)
        unit = said.get("time_unit") or _time_unit(table, time, video_s, answer)
        clock = {"time": time, "time_unit": unit, **_fraction_settings(table, time, str(unit), said, notes)}
    skip = (*said.get("where", ()), *([clock["fraction"]] if "fraction" in clock else ()))
    columns = [] if "columns" in said else _choose_readings(table, time, skip, answer, notes)
    if "columns" not in said:  # who speaks of a column takes it for a reading, whatever it looks like
        spoken_of = log_file({**BEFORE, **said}, file).log().named.spoken_of
        taken = {*columns, *spoken_of} - {*skip, time}
        columns = [name for name in table.frame.columns if name in taken]
    if time is not None and columns:
        _refuse_beside(table, time, columns, answer)
    units = {name: table.units.get(name, "").strip("*[]() ") for name in columns}
    stated = {name: unit for name, unit in units.items() if unit_of(unit)}  # and no fill, no type
    settings = {"columns": tuple(columns), **clock, "units": stated, **said}
    how_read: list[str] = []
    described = log_file(settings, file)
    log, seen = read_and_look(file, described.log(), how_read, stream, described.units)
    if "missing" not in said:
        _refuse_fills(table, log.names, answer)
    settings = {"acceleration": acceleration(log.names, stream), **settings}
    settings["columns"] = said.get("columns", log.names)
    if log.rate_hz and 3 / log.rate_hz > 1 and "max_gap_s" not in said:  # of a slow sensor
        settings["max_gap_s"] = 3 / log.rate_hz
        how_read, described = [], log_file(settings, file)
        log, seen = read_and_look(file, described.log(), how_read, stream, described.units)
    described = log_file(settings, file)
    if curved := _not_linear(file, seen, described.log().named, answer, notes):
        settings |= curved
        described = log_file(settings, file)
        not_linear(file, described.log(), log.names, log.values)
    clocked = f"times in {time!r} ({described.time_unit})" if time else "rows evenly spaced"
    axes = ", ".join(described.acceleration) or "not known, so it cannot be synchronised by itself"
    beside_it = "" if video_s is None else f", beside a video of {duration(video_s)}"
    told.append(
        f"{file.name}: {clocked}, {len(log.names)} columns; acceleration: {axes}; "
        f"{duration(float(np.ptp(log.times)))} at {log.rate_hz:.3g} Hz{beside_it}"
    )
    remarks = dict.fromkeys((*notes, *how_read, *_bursts(log)))
    told += [f"{file.name}: {note}" for note in remarks]
    if time is not None and video_s is not None and "clock_set" not in said:
        _refuse_jump(file, described, log.times, video_s, answer)
    return described


def _not_linear(file: Path, seen: Seen, named: NamedColumns, answer: str, notes: list[str]) -> dict[str, Any]:
    """Settings of columns that are not linear between readings; refuse what only may be an angle."""
    if seen.doubtful:
        name, (ends, count) = next(iter(seen.doubtful.items()))
        either = [_say(answer, f"circular.{name}", value) for value in (written(ends), "false")]
        raise DataError(
            f"{file}: {passing(name, ends, count)}: it may be an angle, expected to be told: {either[0]}, or "
            f"{either[1]} if it is none"
        )
    settings: dict[str, Any] = {}
    if seen.circular:
        settings["circular"] = {**named.circular, **{name: ends for name, (ends, _) in seen.circular.items()}}
        notes += [
            f"{passing(name, ends, count)}: an angle, which goes round there (circular)"
            for name, (ends, count) in seen.circular.items()
        ]
    if seen.quaternions:
        settings["quaternions"] = (*named.fours, *seen.quaternions)
        notes += [
            f"{', '.join(map(repr, four))}: a quaternion, which changes its sign {count} times: one "
            "orientation all the same (quaternions)"
            for four, count in seen.quaternions.items()
        ]
    if seen.states:
        notes.append(
            f"{', '.join(map(repr, seen.states))}: a few whole numbers, in between are readings of none; if "
            f"they are states, say {_say(answer, 'held', _as_json([*named.held, *seen.states]))}"
        )
    return settings


def _say(answer: str, key: str, value: str) -> str:
    """A setting as it is to be written, on a command line in quotes."""
    option, space, prefix = answer.rpartition(" ")
    setting = f"{prefix}{key}={value}"
    return f"{option}{space}{shlex.quote(setting)}" if space else setting


def _bursts(log: SensorLog) -> list[str]:
    """What to say of readings whose times come in bursts."""
    steps = np.diff(log.times)
    steps = steps[steps <= log.max_gap_s]
    if len(steps) < 10 or np.median(steps) > 0.2 * np.mean(steps):
        return []
    return [
        f"times come in bursts, one every {np.median(steps):.2g} s within them and every "
        f"{np.mean(steps):.2g} s on average: they may tell when packets arrived; if rows are evenly spaced, "
        "say rate_hz"
    ]


def _columns_of(table: Table) -> str:
    return ", ".join(repr(name) for name in table.frame.columns[:30])


def _no_time(table: Table, answer: str) -> DataError:
    clocks = [left.name for left in readings(table, None)[1] if left.why != "no numbers"]
    like = f" ({', '.join(map(repr, clocks[:5]))} may be one)" if clocks else ""
    rate = f"{table.rate_hz:g}" if table.rate_hz else "HZ"
    return DataError(
        f"{table.file}: no column of times known by its name{like}, expected one of: {_columns_of(table)}; "
        f"say {answer}time=NAME, or {answer}rate_hz={rate} for rows that are evenly spaced; "
        "if it is no log of a sensor, give the files that are meant, without it"
    )


def _refuse_several(table: Table, time: str | None, answer: str) -> None:
    """Refuse rows of several sensors as the readings of one."""
    values = None
    if time is not None:
        values = numbers_in(table, time)
        if values is None:
            values = texts(table, time).rank("dense").to_numpy()
        if not np.isfinite(values).all():
            values = None
    sensors = told_apart_by(table, time, values)
    if sensors is None:
        return
    name, kinds = sensors
    counts = ", ".join(f"{kind}: {rows} rows" for kind, rows in list(kinds.items())[:8])
    first = shlex.quote(f"{answer.removeprefix('--set ')}where.{name}={next(iter(kinds))}")
    other = f"logs.NAME.where.{name}=..."
    if shlex.quote(name) != name:
        other = shlex.quote(other)
    raise DataError(
        f"{table.file}: rows of several sensors, told apart by column {name!r} ({counts}), expected one "
        f"sensor a stream; say --set {first}, and for each other one a stream of its own with this file "
        f"(--set {shlex.quote(f'logs.NAME.file={table.file.name}')} --set {other}); "
        f"or, if it is a reading, {answer}columns=[...]"
    )


def _refuse_beside(table: Table, time: str, columns: list[str], answer: str) -> None:
    """Refuse readings with times of their own as readings at the times in `time`."""
    sensors = beside(table, time, columns)
    if not sensors:
        return
    named = " and ".join(f"{', '.join(map(repr, sensor.columns))} ({sensor.time!r})" for sensor in sensors)
    others = {name for sensor in sensors for name in sensor.columns}
    rest = [name for name in columns if name not in others]
    settings = [f"{answer.removeprefix('--set ')}columns={_as_json(rest)}"] if rest else []
    settings += [
        f"logs.NAME.file={table.file.name}",
        f"logs.NAME.time={sensors[0].time}",
        f"logs.NAME.columns={_as_json(sensors[0].columns)}",
    ]
    raise DataError(
        f"{table.file}: {named} have times of their own beside {time!r}, expected the times of one sensor; "
        f"for each a stream of its own, say {' '.join(f'--set {shlex.quote(value)}' for value in settings)}"
    )


def _refuse_fills(table: Table, names: Sequence[str], answer: str) -> None:
    """Refuse values that stand for no reading as readings."""
    fills = [(name, fill) for name in names if (fill := fill_in(table, name))]
    if not fills:
        return
    places = "; ".join(
        f"{value:.12g} in {rows} rows of column {name!r}, whose others are {low:.6g} to {high:.6g}"
        for name, (value, rows, low, high) in fills[:4]
    )
    values = ",".join(f"{value:.12g}" for value in dict.fromkeys(fill[0] for _, fill in fills))
    raise DataError(
        f"{table.file}: {places}: may stand for no reading, expected to be told: {answer}missing=[{values}], "
        f"or {answer}missing=[] if it is one"
    )


def _as_json(names: Sequence[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False, separators=(",", ":"))


def _refuse_written(table: Table, time: str, answer: str) -> None:
    """Refuse times of day written as numbers (115959) as so many seconds."""
    values = numbers_in(table, time)
    written = None if values is None else written_clock(values)
    if values is None or written is None:
        return
    form = "times of day, such as 115959"
    if written.dated:
        form = f"dates and times of day, such as {values[0]:.15g}"
    remedy = f"{answer}rate_hz=HZ if rows are evenly spaced"
    if not written.dated and len(written.rows) <= LINES:
        lines = ",".join(str(table.rows[row]) for row in written.rows)
        minutes = f"{answer}clock_set=[{lines}], the lines of full minutes"
        remedy = f"{minutes}, and {answer}time_unit={written.unit}; or {remedy}"
    raise DataError(
        f"{table.file}: numbers in {time!r} are {form}, expected seconds, or times with colons; say {remedy}"
    )


def _refuse_codes(table: Table, time: str, answer: str) -> None:
    """Refuse to guess whether `00:00:01:12` counts frames or hundredths of a second.

    Two digits after the last colon, none of them 60 or more, several rows a second: either may be.
    """
    if table.frame[time].dtype != pl.String:
        return
    cells = [cell for cell in texts(table, time) if cell]
    codes = [code for code in map(TIMECODE.fullmatch, cells) if code and len(code[5]) == 2]
    most = max((int(code[5]) for code in codes), default=CODED)
    seconds = {code[0][:-3] for code in codes}
    if len(codes) < len(cells) or most >= CODED or len(codes) < DENSE * len(seconds):
        return
    rate = next(rate for rate in RATES if rate > most)
    raise DataError(
        f"{table.file}: times in {time!r} ({cells[0]}, {cells[1]}, ...) may be time codes hh:mm:ss:ff, for "
        f"their last digits end at {most:02d}, or hundredths; expected to be told: "
        f"{answer}time_unit=timecode and {answer}rate_hz={rate} (frames a second), or {answer}time_unit=iso"
    )


def _time_unit(table: Table, time: str, video_s: float | None, answer: str) -> TimeUnit:
    """The unit of the times; refuse two that are possible."""
    values = numbers_in(table, time)
    if values is None or table.frame[time].dtype.is_temporal():
        return "iso"
    values = values[np.isfinite(values)]
    guess = guess_unit(time, values, max(video_s or 0.0, SHORTEST_S), table.units.get(time))
    if guess.unit is None:
        choices = " or ".join(f"{answer}time_unit={unit}" for unit in guess.possible)
        ticks = float(np.median(np.diff(values))) * table.rate_hz if table.rate_hz else 0.0
        if ticks > 0:
            choices += f" or ={ticks:g}, ticks in a second ({table.rate_hz:g} Hz above the names)"
        beside_it = "" if video_s is None else f", beside a video of {video_s:.4g} s"
        raise DataError(
            f"{table.file}: times in {time!r} ({values[0]:.15g}, {values[:2][-1]:.15g}, ...) may be "
            f"{guess.why}{beside_it}; expected to be told: {choices}"
        )
    return guess.unit


def _fraction_settings(
    table: Table, time: str, unit: str, said: Mapping[str, Any], notes: list[str]
) -> dict[str, Any]:
    """Settings that name the column of the fractions of a second, where whole seconds stand in `time`."""
    fraction = fraction_column(table, time) if unit in ("s", "iso") and "fraction" not in said else None
    if fraction is None:
        return {}
    name, size = fraction
    notes.append(f"{name!r} is the fraction of the second that {time!r} counts: joined")
    return {"fraction": name, "fraction_unit": size}


def _choose_readings(
    table: Table, time: str | None, skip: tuple[str, ...], answer: str, notes: list[str]
) -> list[str]:
    """The columns of readings; refuse a table without."""
    kept, left, doubtful = readings(table, time, skip)
    if not kept:
        numeric = [column for column in left if column.why != "no numbers"]
        choices = "; ".join(f"{column.name!r} {column.why}" for column in numeric) or "none"
        raise DataError(
            f"{table.file}: no column of numbers{f' beside {time!r}' if time else ''} is a reading, expected "
            f"one: {choices}; if one is, say {answer}columns=[...]"
        )
    if left:
        reasons: dict[str, list[str]] = {}
        for column in left:
            reasons.setdefault(column.why, []).append(repr(column.name))
        listed = "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
        notes.append(f"no readings, left out: {listed}")
    notes += [f"{column.name!r} {column.why}: kept as a reading for its name" for column in doubtful]
    return kept


def _refuse_jump(file: Path, log: LogFile, times: np.ndarray, video_s: float, answer: str) -> None:
    """Refuse a log that is as long as the video but for a jump of its clock: it was set, most likely."""
    steps = np.diff(times)
    if not len(steps):
        return
    farthest_s = max(SET_S, 20 * float(np.median(steps)))
    jumps = steps > farthest_s
    without_s = float(steps[~jumps].sum())
    as_long = 0.75 * video_s < without_s < 1.25 * video_s
    if not jumps.any() or not as_long or times[-1] - times[0] < 1.5 * video_s:
        return
    table, seconds = times_of(read_rows(file, log.log()), log.log())
    steps = np.diff(seconds)
    far = np.flatnonzero(steps > farthest_s)
    places = [table.rows[row + 1] for row in far]
    sizes = ", ".join(f"{steps[row]:.6g} s before {table.place} {table.rows[row + 1]}" for row in far)
    raise DataError(
        f"{file}: the clock jumps forward by {sizes}, and the log is as long as the video ({video_s:.4g} s) "
        f"without that; say {answer}clock_set={places} if it was set there, {answer}clock_set=[] if nothing "
        "was recorded"
    )
