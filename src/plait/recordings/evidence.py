"""What speaks for an offset of a log: motion seen and felt alike, claps heard and felt alike, against chance.

Each is a likelihood ratio: how much likelier the recording is if the offset is right than if log and video
have nothing to do with each other. By chance a ratio reaches k in at most one of k cases, however short the
recording, so `confidences` needs no table of lengths.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy import fft, ndimage, signal

from plait.types import Readings

BAND_HZ = (0.15, 4.5)  # in which hands move
BLOCK_S = 0.5  # of motion: longer than whitened curves remember
LINE = 5  # bins of half a cycle a recording over which spectra are averaged: a steady rhythm fills no more
LAG_S = 0.19  # between the offsets at which chance is looked at
PEAK_S = 0.3  # around an offset, in which what is seen there is its own
APART_S = 2.0  # claps closer together count once: a rhythm tells little, however long
FELT = 0.5  # share of what is heard that the hand is taken to feel, if any
CLOSE_S = 0.04  # how far from where it is heard a clap is felt
LATER = 1.5e-4  # how much farther, for each second since the start
CLAPS_AT_MOST = 1e3  # so that claps alone never decide


def whitened(curve: Readings, rate_hz: float) -> Readings:
    """`curve` (n,), evenly sampled, with every frequency of `BAND_HZ` below 0.45 `rate_hz` equally strong.

    It is the phase transform (Knapp and Carter 1976) with spectra averaged over `LINE` bins. What repeats
    itself, such as walking, is then no stronger than the rest, and two rhythms do not pass for one motion.
    """
    count, step_s = len(curve.values), float(curve.times[1] - curve.times[0])
    ends = signal.windows.tukey(count, min(1.0, 2.0 / (count * step_s)))
    size = fft.next_fast_len(2 * count, real=True)
    spectrum = fft.rfft(curve.values * ends, size)
    hz = fft.rfftfreq(size, step_s)
    strength = np.sqrt(ndimage.convolve1d(np.abs(spectrum) ** 2, np.full(LINE, 1 / LINE)))
    inside = (hz > BAND_HZ[0]) & (hz < top_hz(rate_hz)) & (strength > 1e-6 * strength.max())
    flat = fft.irfft(np.divide(spectrum, strength, out=np.zeros_like(spectrum), where=inside), size)[:count]
    return Readings(curve.times, flat / (np.std(flat) + 1e-12))


def top_hz(rate_hz: float) -> float:
    """The highest frequency that is compared of a curve read `rate_hz` times a second."""
    return min(BAND_HZ[1], 0.45 * rate_hz)


def motion_ratios(
    seen: Readings, moved: Readings, lines: Sequence[tuple[float, float]], max_offset_s: float
) -> np.ndarray:
    """Logarithms of the likelihood ratios of some clocks, by the motion that is seen and felt.

    The products of both curves are summed over blocks. By chance these sums have the mean 0. Of n blocks with
    mean m and mean square s, the ratio of a normal mean to none is `(1 - m^2 / s)^(-(n - 1) / 2) / sqrt(n)`:
    divided by their own squares, a few violent blocks do not decide (Efron 1969). Where rhythms meet, sums
    scatter more from offset to offset than within one; m is divided by as much.

    Args:
        seen: the motion in the video, whitened.
        moved: the motion of the log, whitened, on its own clock; NaN where unknown.
        lines: `(offset_s, drift)` of each clock; drift in seconds a second.
        max_offset_s: how far to both sides of 0 other offsets are looked at, to know chance.
    """
    likeness, blocks = np.array([_alike(seen, moved, *line) for line in lines]).T
    best_s = lines[int(np.argmax(likeness))][0]
    others = [
        _alike(seen, moved, offset_s, 0.0)[0]
        for offset_s in np.arange(-max_offset_s, max_offset_s, LAG_S)
        if abs(offset_s - best_s) > PEAK_S
    ]
    usual = sqrt(max(1.0, float(np.mean(np.square(others))) if others else 1.0))
    share = np.minimum(np.maximum(likeness / usual, 0.0) ** 2 / blocks, 1 - 1e-9)
    ratios: np.ndarray = -0.5 * (blocks - 1) * np.log1p(-share) - 0.5 * np.log(blocks)
    return ratios


def _alike(seen: Readings, moved: Readings, offset_s: float, drift: float) -> tuple[float, int]:
    """The sum of products over the root of the sum of squares of their blocks, and the number of blocks."""
    own_s = (seen.times + offset_s) * (1 + drift)
    product = seen.values * np.interp(own_s, moved.times, moved.values, left=np.nan, right=np.nan)
    size = max(round(BLOCK_S / float(seen.times[1] - seen.times[0])), 1)
    sums = product[: len(product) // size * size].reshape(-1, size).sum(axis=1)
    sums = sums[np.isfinite(sums)]
    squares = float(np.sum(sums**2))
    return (float(sums.sum()) / sqrt(squares), len(sums)) if squares > 0 else (0.0, max(len(sums), 1))


def clap_ratio(heard: np.ndarray, felt: np.ndarray, offset_s: float, start_s: float, stop_s: float) -> float:
    """Logarithm of the likelihood ratio of an offset, by the claps that are heard and felt.

    By chance a clap is felt where it is heard as often as the log is within reach of one; if the offset is
    right, in `FELT` of all cases more, or, one case in two, not at all (a room with other people in it).

    Args:
        heard: `(n,)` seconds of the video's clock.
        felt: `(m,)` seconds of the log's clock, ascending.
        offset_s: the log's clock minus the video's.
        start_s: seconds of the log's clock from which claps are compared.
        stop_s: seconds up to which they are.
    """
    if len(heard) == 0 or len(felt) == 0 or stop_s <= start_s:
        return 0.0
    ratio = 0.0
    for group in np.split(heard, np.flatnonzero(np.diff(heard) > APART_S) + 1):
        if not start_s <= group[0] + offset_s <= stop_s:
            continue
        close_s = CLOSE_S + LATER * abs(float(group[-1]))
        within_s = float(np.minimum(np.diff(felt, append=np.inf), 2 * close_s).sum())
        chance = min(len(group) * within_s / (stop_s - start_s), 1.0)
        met = np.abs(felt[:, None] - group - offset_s).min() <= close_s
        ratio += np.log(FELT / chance + 1 - FELT) if met else np.log(1 - FELT)
    return float(np.logaddexp(0.0, min(ratio, np.log(CLAPS_AT_MOST))) - np.log(2))


def confidences(ratios: np.ndarray, rate_hz: float, max_offset_s: float) -> np.ndarray:
    """The probability that each offset is the right one, from the logarithms of all likelihood ratios.

    Before looking, it is as likely that the log has nothing to do with the video as that it is its own, and
    all offsets are equally likely: as many as a curve of `rate_hz` has independent ones (Rice 1944).
    """
    offsets = max(2 * max_offset_s * top_hz(rate_hz) / sqrt(3), 1.0)
    top = max(float(ratios.max(initial=0.0)), 0.0)
    weights = np.exp(ratios - top)
    probabilities: np.ndarray = weights / (offsets * np.exp(-top) + weights.sum())
    return probabilities
