"""A logger's file that nobody has described: what it holds, guessed, checked against the video, and said."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import DataError
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
from plait.recordings.folder import LogFile, log_file
from plait.recordings.logs import SensorLog, read_log, read_rows, times_of
from plait.recordings.side_by_side import beside
from plait.recordings.tables import Table, texts, thousands
from plait.recordings.time_units import guess_unit, written_clock

SET_S = 10.0  # a clock that jumps farther may have been set
LINES = 60  # full minutes that are named
BEFORE = {"columns": ("*",), "rate_hz": 1.0}  # settings that say nothing yet


def describe_log(
    file: Path, stream: str, video_s: float, said: Mapping[str, Any], told: list[str]
) -> LogFile:
    """How the log in `file`, beside a video of `video_s` seconds, is to be read; `told` grows by what was assumed.

    What is `said`, settings of `LogFile`, goes before anything that is guessed.

    Raises:
        DataError: the file cannot be read, or it is not clear what is a time, in which unit, of which sensor a row is,
            or what is a reading; the message says what to set.
    """
    answer = f"--set logs.{stream}."
    try:
        return _described(file, stream, video_s, {"file": file.name, **said}, answer, told)
    except DataError as error:
        if "say " in str(error) and "--set" not in str(error):  # a key that `read_log` asks for
            raise DataError(f"{error} ({answer}KEY=VALUE)") from error
        raise


def _described(
    file: Path, stream: str, video_s: float, said: Mapping[str, Any], answer: str, told: list[str]
) -> LogFile:
    table = read_rows(file, log_file({**BEFORE, **said}, file).log())
    if (grouped := thousands(table)) is not None:
        cell = next(cell for cell in table.frame[grouped] if {",", "."} & {*(cell or "")})
        raise DataError(
            f"{file}: {cell!r} in column {grouped!r} may be thousands or have decimals, expected to be told: "
            f"{answer}decimal=. or {answer}decimal=,"
        )
    time = said.get("time") or (None if "rate_hz" in said else time_column(table))
    if time is None and "rate_hz" not in said:
        raise _no_time(table, answer)
    if time is not None and time not in table.frame.columns:
        listed = ", ".join(repr(name) for name in table.frame.columns[:30])
        raise DataError(f"{file}: no column {time!r} of times, expected one of: {listed}")
    notes = list(table.notes)
    if "columns" not in said:
        _refuse_several(table, time, answer)
    if time is not None and not {"time_unit", "clock_set"} & said.keys():
        _refuse_written(table, time, answer)
    unit = None if time is None else said.get("time_unit") or _unit(table, time, video_s, answer)
    clock = (
        {}
        if time is None
        else {"time": time, "time_unit": unit, **_fraction(table, time, str(unit), said, notes)}
    )
    skip = (*said.get("where", ()), *([clock["fraction"]] if "fraction" in clock else ()))
    found = [] if "columns" in said else _readings(table, time, skip, answer, notes)
    if time is not None and found:
        _refuse_beside(table, time, found, answer)
    settings = {"columns": tuple(found), **clock, **said}
    how_read: list[str] = []
    read = read_log(file, log_file(settings, file).log(), how_read)
    if "missing" not in said:
        _refuse_fills(table, read.names, answer)
    settings = {
        "acceleration": acceleration(read.names, stream),
        **settings,
        "columns": said.get("columns", read.names),
    }
    if (
        read.rate_hz and 3 / read.rate_hz > 1 and "max_gap_s" not in said
    ):  # a slow sensor: three readings make a gap
        settings["max_gap_s"] = 3 / read.rate_hz
        how_read.clear()
        read = read_log(file, log_file(settings, file).log(), how_read)
    log = log_file(settings, file)
    notes += [*how_read, *_bursts(read)]
    how = f"times in {time!r} ({log.time_unit})" if time else "rows evenly spaced"
    by = ", ".join(log.acceleration) or "not known, so it cannot be synchronised by itself"
    long = f"{duration(float(np.ptp(read.times)))} at {read.rate_hz:.3g} Hz, beside a video of {duration(video_s)}"
    told.append(f"{file.name}: {how}, {len(read.names)} columns; acceleration: {by}; {long}")
    told += [f"{file.name}: {note}" for note in notes]
    if time is not None and "clock_set" not in said:
        _refuse_jump(file, log, read.times, video_s, answer)
    return log


def _bursts(read: SensorLog) -> list[str]:
    """What to say of readings whose times come in bursts."""
    steps = np.diff(read.times)
    steps = steps[steps <= read.max_gap_s]
    if len(steps) < 10 or np.median(steps) > 0.2 * np.mean(steps):
        return []
    return [
        f"times come in bursts, one every {np.median(steps):.2g} s within them and every {np.mean(steps):.2g} s on "
        "average: they may tell when packets arrived; if rows are evenly spaced, say rate_hz"
    ]


def _no_time(table: Table, answer: str) -> DataError:
    listed = ", ".join(repr(name) for name in table.frame.columns[:30])
    clocks = [left.name for left in readings(table, None)[1] if left.why != "no numbers"]
    like = f" ({', '.join(map(repr, clocks[:5]))} may be one)" if clocks else ""
    rate = f"{table.rate_hz:g}" if table.rate_hz else "HZ"
    return DataError(
        f"{table.file}: no column of times known by its name{like}, expected one of: {listed}; "
        f"say {answer}time=NAME, or {answer}rate_hz={rate} for rows that are evenly spaced; "
        "if it is no log of a sensor, give the files that are meant, without it"
    )


def _refuse_several(table: Table, time: str | None, answer: str) -> None:
    """Refuse rows of several sensors as the readings of one.

    Raises:
        DataError: a column tells sensors apart.
    """
    values = None if time is None else numbers_in(table, time)
    if values is None and time is not None:
        values = texts(table, time).rank("dense").to_numpy()
    if values is not None and not np.isfinite(values).all():
        values = None
    apart = told_apart_by(table, time, values)
    if apart is None:
        return
    name, kinds = apart
    counted = ", ".join(f"{kind}: {rows} rows" for kind, rows in list(kinds.items())[:8])
    first = shlex.quote(f"{answer.removeprefix('--set ')}where.{name}={next(iter(kinds))}")
    others = (
        shlex.quote(f"logs.NAME.where.{name}=...")
        if shlex.quote(name) != name
        else f"logs.NAME.where.{name}=..."
    )
    raise DataError(
        f"{table.file}: rows of several sensors, told apart by column {name!r} ({counted}), expected one sensor a "
        f"stream; say --set {first}, and for each other one a stream of its own with this file "
        f"(--set {shlex.quote(f'logs.NAME.file={table.file.name}')} --set {others}); "
        f"or, if it is a reading, {answer}columns=[...]"
    )


def _refuse_beside(table: Table, time: str, columns: list[str], answer: str) -> None:
    """Refuse readings with times of their own as readings at the times in `time`.

    Raises:
        DataError: there are some.
    """
    found = beside(table, time, columns)
    if not found:
        return
    named = " and ".join(f"{', '.join(map(repr, one.columns))} ({one.time!r})" for one in found)
    theirs = {name for one in found for name in one.columns}
    own = [name for name in columns if name not in theirs]
    first = found[0]
    other = [f"file={table.file.name}", f"time={first.time}", f"columns={_listed(first.columns)}"]
    ways = [f"{answer.removeprefix('--set ')}columns={_listed(own)}"] if own else []
    ways += [f"logs.NAME.{one}" for one in other]
    raise DataError(
        f"{table.file}: {named} have times of their own beside {time!r}, expected the times of one sensor; for each a "
        f"stream of its own, say {' '.join(f'--set {shlex.quote(way)}' for way in ways)}"
    )


def _refuse_fills(table: Table, names: Sequence[str], answer: str) -> None:
    """Refuse values that stand for no reading as readings.

    Raises:
        DataError: a column may hold some.
    """
    found = [(name, fill) for name in names if (fill := fill_in(table, name))]
    if not found:
        return
    told = "; ".join(
        f"{value:.12g} in {rows} rows of column {name!r}, whose others are {low:.6g} to {high:.6g}"
        for name, (value, rows, low, high) in found[:4]
    )
    values = ",".join(f"{value:.12g}" for value in dict.fromkeys(fill[0] for _, fill in found))
    raise DataError(
        f"{table.file}: {told}: may stand for no reading, expected to be told: {answer}missing=[{values}], "
        f"or {answer}missing=[] if it is one"
    )


def _listed(names: Sequence[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False, separators=(",", ":"))


def _refuse_written(table: Table, time: str, answer: str) -> None:
    """Refuse times of day written as numbers (115959) as so many seconds.

    Raises:
        DataError: they are.
    """
    values = numbers_in(table, time)
    found = None if values is None else written_clock(values)
    if values is None or found is None:
        return
    places = [table.rows[row] for row in found.rows]
    like = (
        f"dates and times of day, such as {values[0]:.15g},"
        if found.dated
        else "times of day, such as 115959,"
    )
    ways = f"{answer}rate_hz=HZ if rows are evenly spaced"
    if not found.dated and len(places) <= LINES:
        lines = ",".join(map(str, places))
        ways = f"{answer}clock_set=[{lines}], the lines of full minutes, and {answer}time_unit={found.unit}; or {ways}"
    raise DataError(
        f"{table.file}: numbers in {time!r} are {like} expected seconds, or times with colons; say {ways}"
    )


def _unit(table: Table, time: str, video_s: float, answer: str) -> TimeUnit:
    """The unit of the times.

    Raises:
        DataError: two units are possible.
    """
    values = numbers_in(table, time)
    if values is None or table.frame[time].dtype.is_temporal():
        return "iso"
    values = values[np.isfinite(values)]
    guess = guess_unit(time, values, max(video_s, 1e-3), table.units.get(time))
    if guess.unit is None:
        choices = " or ".join(f"{answer}time_unit={unit}" for unit in guess.possible)
        ticks = float(np.median(np.diff(values))) * table.rate_hz if table.rate_hz else 0.0
        choices += (
            f" or ={ticks:g}, ticks in a second ({table.rate_hz:g} Hz above the names)" if ticks > 0 else ""
        )
        raise DataError(
            f"{table.file}: times in {time!r} ({values[0]:.15g}, {values[min(1, len(values) - 1)]:.15g}, ...) may be "
            f"{guess.why}, beside a video of {video_s:.4g} s; expected to be told: {choices}"
        )
    return guess.unit


def _fraction(
    table: Table, time: str, unit: str, said: Mapping[str, Any], notes: list[str]
) -> dict[str, Any]:
    """Settings that name the column of the fractions of a second, where whole seconds stand in `time`."""
    found = fraction_column(table, time) if unit in ("s", "iso") and "fraction" not in said else None
    if found is None:
        return {}
    name, size = found
    notes.append(f"{name!r} is the fraction of the second that {time!r} counts: joined")
    return {"fraction": name, "fraction_unit": size}


def _readings(
    table: Table, time: str | None, skip: tuple[str, ...], answer: str, notes: list[str]
) -> list[str]:
    """The columns of readings.

    Raises:
        DataError: there is none.
    """
    kept, left, though = readings(table, time, skip)
    clocks = [one for one in left if one.why != "no numbers"]
    if not kept:
        beside = f" beside {time!r}" if time else ""
        which = "; ".join(f"{one.name!r} {one.why}" for one in clocks) or "none"
        raise DataError(
            f"{table.file}: no column of numbers{beside} is a reading, expected one: {which}; "
            f"if one is, say {answer}columns=[...]"
        )
    if left:
        reasons: dict[str, list[str]] = {}
        for one in left:
            reasons.setdefault(one.why, []).append(repr(one.name))
        listed = "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
        notes.append(f"no readings, left out: {listed}")
    notes += [f"{one.name!r} {one.why}: kept as a reading for its name" for one in though]
    return kept


def _refuse_jump(file: Path, log: LogFile, times: np.ndarray, video_s: float, answer: str) -> None:
    """Refuse a log that is as long as the video but for a jump of its clock: it was set, most likely.

    Raises:
        DataError: it is.
    """
    steps = np.diff(times)
    if not len(steps):
        return
    jumps = steps > max(SET_S, 20 * float(np.median(steps)))
    without_s = float(steps[~jumps].sum())
    if (
        not jumps.any()
        or not 0.75 * video_s < without_s < 1.25 * video_s
        or times[-1] - times[0] < 1.5 * video_s
    ):
        return
    table, seconds = times_of(read_rows(file, log.log()), log.log())
    far = np.flatnonzero(np.diff(seconds) > max(SET_S, 20 * float(np.median(steps))))
    places = [table.rows[row + 1] for row in far]
    sizes = ", ".join(
        f"{seconds[row + 1] - seconds[row]:.6g} s before {table.place} {table.rows[row + 1]}" for row in far
    )
    raise DataError(
        f"{file}: the clock jumps forward by {sizes}, and the log is as long as the video ({video_s:.4g} s) without "
        f"that; say {answer}clock_set={places} if it was set there, {answer}clock_set=[] if nothing was recorded"
    )
