"""What two copies of one signal have in common, however they were cut, converted or read again.

Of each stream three small things are kept:

* digests of `RUN` consecutive readings, the smallest of all (bottom-k sketches, Broder 1997): equal values,
  wherever a copy was cut and whatever times it was given;
* digests of the order in which `ORDER` consecutive numbers of a column go up and down: the same in another
  unit, with another offset, upside down or in another column;
* the phases of the lowest `BINS` frequencies over the whole stretch, each as strong as another (Knapp and
  Carter 1976): much the same at another rate, smoothed or with some noise.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, UInt64
from numpy.lib.stride_tricks import sliding_window_view

RUN, RICH = 16, 8  # readings in a digest, and how many of them must differ
ORDER, TURNS, DISTINCT = 32, 10, 24  # numbers in a pattern, how often it turns at least, how many differ
KEPT, PATTERNS = 256, 128  # digests and patterns of a stream
BINS = 48  # frequencies, from half a dozen cycles on: the lowest are what everybody does
FIRST_BIN, SHIFTS = 6, 9
COLUMNS = 6  # of a stream that are compared, those that change most
LONGEST = 200_000  # readings that are looked at
STILL = 1e-6  # of a column's largest number, by which it leaves a straight line if it moves


def columns_of(values: Float[np.ndarray, "n columns"]) -> np.ndarray:
    """Which columns are compared: those that change most from reading to reading, for their size."""
    steps = np.abs(np.diff(values, axis=0)).mean(axis=0)
    return np.sort(np.argsort(-steps, kind="stable")[:COLUMNS])


def digests(values: Float[np.ndarray, "n columns"]) -> list[int]:
    """The smallest `KEPT` digests of runs of readings, `RICH` of which differ."""
    values = np.ascontiguousarray(values[:LONGEST], np.float32) + np.float32(0)  # one zero
    if len(values) < RUN:
        return []
    words = np.nan_to_num(values, nan=-0.123).view(np.uint32).astype(np.uint64)
    rows = _mixed(_folded(words))
    runs = _mixed(_folded(sliding_window_view(rows, RUN)))
    return _smallest(runs, lambda at: _distinct(sliding_window_view(rows, RUN)[at]) >= RICH, KEPT)


def patterns(values: Float[np.ndarray, "n columns"]) -> list[int]:
    """The smallest `PATTERNS` digests of the order of consecutive numbers of a column, those that tell."""
    found: list[int] = []
    for column in values[:LONGEST].T:
        column = np.nan_to_num(np.asarray(column, np.float32), nan=0.0)
        steps = np.sign(np.diff(column))
        if len(column) < ORDER or not steps.any():
            continue
        turned = np.r_[0, np.cumsum(steps[1:] * steps[:-1] < 0)]
        turns = turned[ORDER - 2 :] - np.r_[0, turned][: len(turned) - ORDER + 2]
        places = np.flatnonzero(turns >= TURNS)
        if not len(places):
            continue
        windows = sliding_window_view(column, ORDER)[places]
        rich = _distinct(windows) >= DISTINCT
        windows = windows[rich]
        up, down = (
            _mixed(_folded(np.argsort(sign * windows, axis=1, kind="stable").astype(np.uint64)))
            for sign in (1, -1)
        )
        found += np.minimum(up, down).tolist()
    return sorted(set(found))[:PATTERNS]


def phases(values: Float[np.ndarray, "n columns"]) -> list[list[float]]:
    """The phases of `BINS` frequencies of each column, in radians; none of fewer readings than tell them.

    Nor of a column that stands still or goes straight: its phases are rounding, the same in any recording.
    """
    if len(values) < 2 * (FIRST_BIN + BINS):
        return []
    values = np.nan_to_num(values[:LONGEST].astype(np.float64), nan=0.0)
    largest = np.abs(values).max(axis=0)
    values = values - np.linspace(values[0], values[-1], len(values))
    moving = np.abs(values).max(axis=0) > STILL * largest
    spectrum = np.fft.rfft(values[:, moving], axis=0)[FIRST_BIN : FIRST_BIN + BINS]
    return [[round(float(angle), 2) for angle in np.angle(column)] for column in spectrum.T]


def likeness(
    phases: Float[np.ndarray, "n columns bins"], rows: slice = slice(None)
) -> Float[np.ndarray, "k n"]:
    """How alike the phases of each two are, -1 to 1: by chance 0, give or take 0.7 / sqrt(columns bins).

    Of `rows` alone, where that is asked, each with all.

    A copy may begin a reading earlier or later than the other: the best of `SHIFTS` shifts is taken, the
    outermost of which is 0.6 % of the stretch.
    """
    waves = np.exp(1j * phases)
    other = waves.conj().reshape(len(waves), -1).T
    bins = FIRST_BIN + np.arange(phases.shape[2])
    turns = np.linspace(-2.0, 2.0, SHIFTS) / bins[-1]
    waves = waves[rows]
    shifted = ((waves * np.exp(1j * turn * bins)).reshape(len(waves), -1) for turn in turns)
    best = np.full((len(waves), other.shape[1]), -1.0)
    for own in shifted:
        best = np.maximum(best, (own @ other).real / own.shape[1])
    return best


def _folded(words: UInt64[np.ndarray, "n k"]) -> UInt64[np.ndarray, "n"]:
    """Each row as one number: a polynomial in an odd constant, without the numbers' upper bits."""
    folded = np.zeros(len(words), np.uint64)
    for column in range(words.shape[1]):
        folded = folded * np.uint64(0x9E3779B97F4A7C15) + words[:, column] + np.uint64(1)
        folded ^= folded >> np.uint64(29)
    return folded


def _mixed(numbers: UInt64[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    """Numbers whose order has nothing to do with what they were; of 52 bits, which JSON can say."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((numbers ^ (numbers >> np.uint64(31))) >> np.uint64(12))


def _distinct(rows: np.ndarray) -> np.ndarray:
    """How many different numbers each row has."""
    return np.asarray(1 + (np.diff(np.sort(rows, axis=1), axis=1) != 0).sum(axis=1))


def _smallest(
    numbers: UInt64[np.ndarray, "n"], fit: Callable[[np.ndarray], Bool[np.ndarray, "k"]], most: int
) -> list[int]:
    """The smallest different numbers whose places are fit."""
    kept: list[int] = []
    order = np.argsort(numbers, kind="stable")
    for part in np.array_split(order, max(1, len(order) // (4 * most))):
        kept = sorted({*kept, *numbers[part[fit(part)]].tolist()})
        if len(kept) >= most:
            break
    return kept[:most]
