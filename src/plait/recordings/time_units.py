"""In which unit a column of times counts: by its name, by sane dates, by the length of the video."""

import re
from typing import NamedTuple, cast

import numpy as np

from plait.recordings.clocks import UNITS, TimeUnit, duration

IN_NAMES: dict[str, TimeUnit] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "µs", "μs", "usec", "usecs"), "us"),
    **dict.fromkeys(("micro", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nsecs", "nano", "nanos", "nanosecond", "nanoseconds"), "ns"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days", "datenum"), "d"),
}
YEAR_S = 31556952.0
DATES: dict[
    TimeUnit, list[tuple[float, float]]
] = {  # values that are dates between 1991 and 2100, and since when they count
    "s": [(21 * YEAR_S, 130 * YEAR_S)],
    "ms": [(21e3 * YEAR_S, 130e3 * YEAR_S)],
    "us": [(21e6 * YEAR_S, 130e6 * YEAR_S)],
    "ns": [(21e9 * YEAR_S, 130e9 * YEAR_S)],
    # Spreadsheets, MATLAB, Julian days.
    "d": [(33239.0, 73051.0), (727199.0, 767011.0), (2448257.0, 2488070.0)],
    "ticks": [(6.280e17, 6.624e17), (1.231e17, 1.575e17)],  # .NET, Windows
}
USUAL: tuple[TimeUnit, ...] = ("s", "ms", "us", "ns")
UPTIME_S = 5 * YEAR_S  # how long a clock may have run that does not tell the date
LONGEST_LOG_S = 31 * 86400.0
# Ranges, each with its points: of shares of the video's length, and of readings a second.
LONG = ((0.5, 2.0, 0), (0.2, 20.0, 1), (0.2, 1000.0, 2), (0.02, np.inf, 3))
FAST = ((1.0, 1000.0, 0), (0.1, 2000.0, 1), (1 / 60, 20000.0, 2), (1 / 600, 20000.0, 3))
WRITTEN: dict[TimeUnit, float] = {"s": 1.0, "ms": 1e3, "us": 1e6}  # 115959, and more digits behind
NEXT_MINUTE = (40, 4040, 764040)  # from 59 seconds to 100, at a full hour, at midnight with a date
CLEAR = 3  # points by which one unit must be likelier than any other


class Guess(NamedTuple):
    """A unit, and what speaks for it; or, where `unit` is None, the units that are possible."""

    unit: TimeUnit | None
    why: str
    possible: tuple[TimeUnit, ...] = ()


class Written(NamedTuple):
    """Times of day written as numbers: whether with dates, the unit of the last digits, rows that skip."""

    dated: bool
    unit: TimeUnit
    rows: tuple[int, ...]


class Fit(NamedTuple):
    """How little likely it is that times are in a unit.

    Args:
        unit: one that is possible.
        points: against it; less is likelier.
        words: how long and how fast the log then is.
        as_long: whether it is then about as long as the video.
    """

    unit: TimeUnit
    points: int
    words: str
    as_long: bool


def unit_named(name: str) -> TimeUnit | None:
    """The unit that a column's name says: `t_ms`, `Timestamp (ms)`, `seconds_elapsed`, `timeNs`."""
    parts = re.findall(r"[A-Z]+(?![a-zµμ])|[A-Z]?[a-zµμ]+", name)
    last = parts[-1].lower() if parts else ""
    if last in IN_NAMES:
        return IN_NAMES[last]
    long = {IN_NAMES[part.lower()] for part in parts if len(part) > 3 and part.lower() in IN_NAMES}
    return long.pop() if len(long) == 1 else None


def guess_unit(name: str, values: np.ndarray, video_s: float, below: str | None = None) -> Guess:
    """The unit of a column of times beside a video.

    A name that says the unit, values that are a date near ours, a log about as long as the video, and a rate
    that sensors have speak for a unit; it is taken if nothing comes near. Where nothing but the rate does,
    whole numbers may as well be ticks of any clock, and a log shorter than half the video minutes.

    Args:
        name: of the column.
        values: its finite numbers, `(n,)`, in the order of rows.
        video_s: how long the video lasts, in seconds.
        below: a unit that stands below the name.
    """
    named = (IN_NAMES.get(below.strip().lower()) if below else None) or unit_named(name)
    steps = np.diff(values)
    forward = steps[steps > 0]
    median = float(np.median(values))
    dated = [unit for unit, spans in DATES.items() if any(low <= median < high for low, high in spans)]
    if not len(forward):
        return Guess(named or (dated[0] if dated else "s"), "one time only")
    steady = float(np.minimum(forward, 100 * np.median(forward)).sum())  # without pauses and jumps of a clock
    whole = float(np.ptp(values))
    rows = len(values)
    fits = [
        fit
        for unit in cast(list[TimeUnit], list(UNITS))
        if (fit := _fit(unit, values, steady, whole, video_s, named=unit == named, dated=unit in dated))
    ]
    fits.sort(key=lambda fit: fit.points)
    near = [fit for fit in fits if fit.points < fits[0].points + CLEAR]
    if len(near) == 1 and near[0].unit in (*USUAL, named, *dated):
        best = near[0]
        ticks, short = (values == np.round(values)).all(), whole * UNITS[best.unit] < video_s / 2
        rate_alone = not named and not dated and not best.as_long
        if not (rate_alone and (ticks or short)) and named in (None, best.unit):
            return Guess(best.unit, best.words)
    possible = {fit.unit: fit.words for fit in near}
    others: list[TimeUnit] = []
    if named:
        others = [named]
    elif len(possible) < 2 or not possible.keys() & {*USUAL, *dated}:
        others = [unit for unit in USUAL if 1 <= (rows - 1) / (steady * UNITS[unit]) <= 1000] or ["s"]
    if len({*possible, *others}) < 2:
        others += USUAL[:2]
    for unit in others:
        possible.setdefault(unit, _length_and_rate(steady * UNITS[unit], rows))
    return Guess(None, " or ".join(f"{unit} ({words})" for unit, words in possible.items()), tuple(possible))


def written_clock(values: np.ndarray) -> Written | None:
    """How numbers are times of day (115959, 20241231115959); None if they are not.

    Without dates they are told by the skips from 59 seconds to 100 alone; where no full minute is passed,
    they may as well be seconds.
    """
    if len(values) < 3 or not np.isfinite(values).all() or values.min() < 0:
        return None
    for unit, second in WRITTEN.items():
        clock = values / second
        steps = np.diff(clock)
        if (clock % 100 >= 60).any() or (clock // 100 % 100 >= 60).any() or (steps < 0).any():
            continue
        day = clock // 1e6
        year, month, hour = day // 10_000, day // 100 % 100, clock // 10_000 % 100
        if ((year >= 1991) & (year < 2100) & (month >= 1) & (month <= 12) & (hour < 24)).all():
            return Written(True, unit, ())
        rows = np.flatnonzero(np.diff(clock // 100) > 0) + 1
        usual = float(np.median(steps))
        over = steps[rows - 1][:, None] - np.array(NEXT_MINUTE)
        skips = ((over >= -1e-6) & (over <= max(5 * usual, 1.5))).any(axis=1)
        if len(rows) and skips.all() and usual < 20 and len(rows) < len(values) / 2:
            return Written(False, unit, tuple(map(int, rows)))
    return None


def _fit(
    unit: TimeUnit,
    values: np.ndarray,
    steady: float,
    whole: float,
    video_s: float,
    *,
    named: bool,
    dated: bool,
) -> Fit | None:
    """Points against a unit of values that last `whole`, `steady` without pauses; None if it cannot be."""
    size = UNITS[unit]
    length_s = steady * size
    if not dated and np.max(np.abs(values)) * size > UPTIME_S:
        return None
    if unit == "ticks" and not (dated or named):
        return None
    rows = len(values)
    fast = _points((rows - 1) / length_s, FAST)
    if fast is None or length_s > LONGEST_LOG_S:
        return None
    lengths = [_points(part * size / video_s, LONG) for part in (steady, whole)]
    long = min((points for points in lengths if points is not None), default=None)
    if long is None:
        if not named and not (dated and length_s > 1e-3 * video_s):
            return None
        long = 4
    sure = 6 if named else 0
    if dated:  # what ran for weeks and counts in nanoseconds looks like a date in microseconds
        sure += 3 if unit == "us" else 5
    rare = 0 if unit in USUAL or named or dated else 3
    return Fit(unit, long + fast + rare - sure, _length_and_rate(length_s, rows), long == 0)


def _points(value: float, ranges: tuple[tuple[float, float, int], ...]) -> int | None:
    return next((points for low, high, points in ranges if low <= value <= high), None)


def _length_and_rate(length_s: float, rows: int) -> str:
    rate_hz = (rows - 1) / length_s
    rate = f"{rate_hz:.3g} Hz" if rate_hz >= 1 else f"one every {duration(1 / rate_hz)}"
    return f"{duration(length_s)}, {rate}"
