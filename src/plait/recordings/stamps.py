"""From a video's time stamps to seconds: stamps that are coarse, missing, or out of the pictures' order."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Float64, Int64

NO_TIME = np.iinfo(np.int64).min
# Units between these round a frame's time noticeably, and do not count frames either.
FINE_S, COARSE_S = 1e-4, 0.01
UNITS = 3  # a frame must last as many, or rounding cannot be told from frames left out
SLACK = 0.05  # of a unit
NTSC = tuple(Fraction(1000 * rate, 1001) for rate in (24, 30, 60, 120))
COMMON: tuple[Fraction | int, ...] = (24, 25, 30, 48, 50, 60, 90, 100, 120, 240, *NTSC)


def filled(stamps: Int64[np.ndarray, " frames"]) -> Int64[np.ndarray, " frames"] | None:
    """Stamps in order of display, those that are missing (`NO_TIME`) evenly between their neighbours.

    None where fewer than two are known of several, or where they do not ascend.
    """
    stamped = np.flatnonzero(stamps != NO_TIME)
    if len(stamped) < min(2, len(stamps)) or (np.diff(stamps[stamped]) <= 0).any():
        return None
    if len(stamped) == len(stamps):
        return stamps
    numbers = np.arange(len(stamps))
    between = np.interp(numbers, stamped, stamps[stamped])
    step = (stamps[stamped[-1]] - stamps[stamped[0]]) / (stamped[-1] - stamped[0])
    before, after = np.maximum(stamped[0] - numbers, 0), np.maximum(numbers - stamped[-1], 0)
    complete = np.round(between + (after - before) * step).astype(np.int64)
    return complete if (np.diff(complete) > 0).all() else None


def steady(
    stamps: Int64[np.ndarray, " frames"], unit_s: float, rates: Sequence[Fraction | int]
) -> tuple[Float64[np.ndarray, " frames"], float]:
    """Ascending stamps, in units, as before they were rounded to units, and by how many they may be off.

    Frames may be left out. No frame moves by more than a unit. `rates`, in frames per second, are those that
    the file states; others are tried too. Stamps of no constant rate, or whose unit rounds nothing, stay.
    """
    as_they_are = stamps.astype(np.float64)
    if len(stamps) < 2 or not FINE_S < unit_s <= COARSE_S:
        return as_they_are, 0.0
    gaps = np.diff(stamps)
    frames = np.concatenate([[0], np.cumsum(np.round(gaps / np.median(gaps)))])
    mean = float(np.polyfit(frames, stamps - stamps[0], 1)[0]) if frames[-1] > 0 else 0.0
    periods = [1 / (float(rate) * unit_s) for rate in (*rates, *COMMON)] + [mean]
    fits = [fit for period in periods if period >= UNITS and (fit := _regular(stamps, period)) is not None]
    if not fits:
        return as_they_are, min(0.5, float(gaps.min()) / 4)
    apart = max(float(np.abs(fit - fits[0]).max()) for fit in fits)  # rates that the stamps cannot tell apart
    return fits[0], min(1.0, apart if len(fits) > 1 else 1.0)


def _regular(stamps: np.ndarray, period: float) -> np.ndarray | None:
    """Multiples of a period, in units, that are the stamps but for rounding; None if there are none."""
    frames = np.round((stamps - stamps[0]) / period)
    origins = stamps - frames * period
    if np.ptp(origins) > 1 + SLACK or (np.diff(frames) < 1).any():
        return None
    # Encoders count frames from the file's zero, and round to the nearest unit or to the one before or after.
    from_zero = round(float(origins.mean()) / period) * period
    origin = from_zero if np.abs(origins - from_zero).max() <= 1 + SLACK else float(stamps[0])
    return np.asarray(origin + frames * period)
