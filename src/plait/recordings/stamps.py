"""From a video's time stamps to seconds: stamps that are coarse, missing, or in another order than its pictures."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Float64, Int64

NO_TIME = np.iinfo(np.int64).min
FINE_S, COARSE_S = 1e-4, 0.01  # units between these round a frame's time noticeably, and do not count frames either
UNITS = 3  # a frame must last as many, or rounding cannot be told from frames left out
SLACK = 0.05  # of a unit
COMMON: tuple[Fraction | int, ...] = (
    24,
    25,
    30,
    48,
    50,
    60,
    90,
    100,
    120,
    240,
    *(Fraction(1000 * rate, 1001) for rate in (24, 30, 60, 120)),
)


def filled(stamps: Int64[np.ndarray, " frames"]) -> Int64[np.ndarray, " frames"] | None:
    """Stamps in order of display, those that are missing (`NO_TIME`) evenly between their neighbours.

    None where fewer than two are known of several, or where they do not ascend.
    """
    known = np.flatnonzero(stamps != NO_TIME)
    if len(known) < min(2, len(stamps)) or (np.diff(stamps[known]) <= 0).any():
        return None
    if len(known) == len(stamps):
        return stamps
    at = np.arange(len(stamps))
    between = np.interp(at, known, stamps[known])
    step = (stamps[known[-1]] - stamps[known[0]]) / (known[-1] - known[0])
    before, after = np.maximum(known[0] - at, 0), np.maximum(at - known[-1], 0)
    made = np.round(between + (after - before) * step).astype(np.int64)
    return made if (np.diff(made) > 0).all() else None


def steady(
    stamps: Int64[np.ndarray, " frames"], unit_s: float, rates: Sequence[Fraction | int]
) -> Float64[np.ndarray, " frames"] | None:
    """Ascending stamps, in units, as they were before a constant rate was rounded to units; frames may be left out.

    No frame moves by more than a unit. `rates` are those to try first, in frames per second. None where the stamps
    are of no constant rate, or their unit rounds nothing.
    """
    if len(stamps) < 3 or not FINE_S < unit_s <= COARSE_S:
        return None
    gaps = np.diff(stamps)
    counted = np.concatenate([[0], np.cumsum(np.round(gaps / np.median(gaps)))])
    fitted = float(np.polyfit(counted, stamps - stamps[0], 1)[0]) if counted[-1] > 0 else 0.0
    of_rates = [1 / (float(rate) * unit_s) for rate in (*rates, *COMMON)]
    for period in (*of_rates[: len(rates)], fitted, *of_rates[len(rates) :]):
        if period < UNITS:
            continue
        frames = np.round((stamps - stamps[0]) / period)
        left = stamps - frames * period
        if np.ptp(left) > 1 + SLACK or (np.diff(frames) < 1).any():
            continue
        through_zero = round(float(left.mean()) / period) * period
        for most in (0.5, 1.0):  # rounded to the nearest unit, or down
            for origin in (through_zero, float(stamps[0])):
                if np.abs(left - origin).max() <= most + SLACK:
                    return np.asarray(origin + frames * period)
        return np.asarray((left.max() + left.min()) / 2 + frames * period)
    return None
