"""Which moment of a sensor's clock is which of the video's: claps and motion, each checking the other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage, signal
from scipy.integrate import cumulative_trapezoid

from plait.recordings.evidence import clap_ratio, confidences, motion_ratios, whitened
from plait.types import Readings

RATE_HZ = 50.0  # of the two curves of motion that are compared
WINDOW_S = 20.0  # of motion that tells one lag, or half of a shorter recording
ALIKE = 0.25  # the least correlation of such a window
REACH_S = 0.3  # how far such a lag may lie from the recording's
CLAP_S, MOTION_S = 0.012, 0.030  # standard errors of one clap's lag, of one window's
LOUDER_DB, HARDER = 12.0, 8.0  # what counts as a clap: over the room's noise, over the hand's usual jerk
SHORTEST_S = 10.0  # of motion both seen and felt
SURE = 0.999  # least confidence: at most one in a thousand logs that are not the video's gets there
TOGETHER_S = 0.05  # residual up to which lags agree: those of unrelated windows scatter by 0.17
GAP_S = 1.0  # between two readings, in which nothing is known
TRIED = 8
# From which on nearly every recording is sure, and every other (`benchmarks/sync_curve.py`).
ENOUGH_S, WITH_CLAPS_S = 60.0, 30.0


@dataclass(frozen=True)
class Candidate:
    """One way to lay a stream on the video.

    Args:
        offset_s, drift_ppm, residual_ms: as of a `Fit`.
        claps: how many agree.
        agreement: which share of the windows of motion agrees.
    """

    offset_s: float
    drift_ppm: float
    residual_ms: float
    claps: int
    agreement: float


@dataclass(frozen=True)
class Fit:
    """`stream_clock_s = (video_clock_s + offset_s) * (1 + drift_ppm * 1e-6)`, and how far to trust it.

    Args:
        offset_s: of the stream's clock at the video's zero.
        drift_ppm: microseconds that the stream's clock gains in a second.
        residual_ms: root mean square of what claps and windows of motion leave unexplained.
        confidence: probability that the offset is right, at least `SURE` if sure.
        status: `unsure`: look at the picture, then take one of the candidates, or give an offset by hand.
        candidates: best first.
        why: what makes it unsure, or where else it is from.
    """

    offset_s: float
    drift_ppm: float
    residual_ms: float
    confidence: float
    status: Literal["sure", "unsure", "manual"]
    candidates: tuple[Candidate, ...] = ()
    why: str = ""


def claps_heard(audio: Readings) -> np.ndarray:
    """Seconds at which something sharp begins in `audio` (n,): it jumps 12 dB over a second's noise."""
    if len(audio.times) < 2:
        return np.empty(0)
    rate = 1 / float(np.median(np.diff(audio.times)))
    step = max(round(0.002 * rate), 1)
    cut_hz = min(800.0, 0.3 * rate)
    high = signal.sosfilt(signal.butter(2, cut_hz, "highpass", fs=rate, output="sos"), audio.values)
    energy = np.add.reduceat(high**2, np.arange(0, len(high), step)) / step + 1e-12
    per_s = rate / step
    louder: np.ndarray = 10 * np.log10(energy / ndimage.median_filter(energy, round(per_s) | 1))
    peaks, _ = signal.find_peaks(louder, height=LOUDER_DB, distance=max(round(0.3 * per_s), 1))
    onsets: list[int] = []
    for peak in peaks.tolist():
        first = max(peak - round(0.04 * per_s), 0)
        onsets.append(int(first) + int(np.argmax(louder[first : peak + 1] > louder[peak] - 10)))
    return np.asarray(audio.times[0] + np.array(onsets, dtype=float) * step / rate)


def claps_felt(acceleration: Readings) -> np.ndarray:
    """Seconds at which a hand stops dead: `acceleration` (n, 3) is far from its neighbours' median."""
    values, times = acceleration.values, acceleration.times
    if len(times) < 2:
        return np.empty(0)
    sharp = np.linalg.norm(values - ndimage.median_filter(values, (7, 1)), axis=1)
    usual = np.median(sharp) + 1e-9
    gap = max(round(0.3 / float(np.median(np.diff(times)))), 1)
    peaks, _ = signal.find_peaks(np.pad(sharp, 1), height=HARDER * usual, distance=gap)
    felt = []
    for peak in peaks - 1:
        near = slice(max(peak - 1, 0), peak + 2)
        felt.append(np.average(times[near], weights=sharp[near] ** 2))
    return np.array(felt, dtype=float)


def hand_speed(acceleration: Readings) -> Readings:
    """How fast a hand moves to and fro, (n,): `acceleration` without gravity, integrated from 0.4 to 6 Hz."""
    times = np.arange(acceleration.times[0], acceleration.times[-1] + 0.5 / RATE_HZ, 1 / RATE_HZ)
    band = signal.butter(2, (0.4, 6.0), "bandpass", fs=RATE_HZ, output="sos")
    moved = cumulative_trapezoid(_filter_both_ways(band, acceleration.at(times)), times, axis=0, initial=0)
    slow = signal.butter(2, 0.4, "highpass", fs=RATE_HZ, output="sos")
    return Readings(times, np.linalg.norm(_filter_both_ways(slow, moved), axis=1))


def _filter_both_ways(sections: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` (n, 3) filtered by `sections` forwards and backwards, continued beyond both ends."""
    ends = min(3 * (2 * len(sections) + 1), len(values) - 1)
    return np.asarray(signal.sosfiltfilt(sections, values, axis=0, padlen=ends))


def align(heard: np.ndarray, motion: Readings, acceleration: Readings, *, max_offset_s: float = 10.0) -> Fit:
    """Lay one stream on the video.

    Claps that are both heard and felt, and motion that is seen and felt alike, suggest offsets. For each,
    every window of motion and every clap tells a lag; a line through those that agree gives offset and drift.
    How much likelier the recording is by each line than by chance (`evidence`) makes the confidence of the
    best: motion decides, claps help, for a hand that works hits things as often as somebody claps.

    Args:
        heard: `claps_heard` of the video's sound; empty without sound.
        motion: how much the picture has changed since the frame before, `(n,)`, on the video's clock.
        acceleration: `(n, 3)`, in whatever unit, on the stream's clock.
        max_offset_s: offsets up to this either way are considered; what a log holds beyond is not looked at.
    """
    acceleration = within(acceleration, motion.times[0] - max_offset_s, motion.times[-1] + max_offset_s)
    why = _unfit(motion, acceleration)
    if why:
        return Fit(0.0, 0.0, 0.0, 0.0, "unsure", (), why)
    between_s = (motion.times[1:] + motion.times[:-1]) / 2  # when the picture changed
    seen, moved = _curve(Readings(between_s, motion.values[1:])), _curve(hand_speed(acceleration))
    felt = claps_felt(acceleration)
    rate_hz = min(1 / float(np.median(np.diff(readings.times))) for readings in (motion, acceleration))
    covered = _covered(acceleration, moved.times)
    sight = whitened(seen, rate_hz)
    touch = whitened(Readings(moved.times, moved.values * covered), rate_hz)
    touch = Readings(moved.times, np.where(covered, touch.values, np.nan))

    def claps(offset_s: float) -> float:
        return clap_ratio(heard, felt, offset_s, moved.times[0], moved.times[-1])

    suggested = _suggest(heard, felt, sight, touch, claps, max_offset_s)
    if not suggested:
        why = f"nothing in common within {max_offset_s:g} s (--max-offset)"
        return Fit(0.0, 0.0, 0.0, 0.0, "unsure", (), why)
    lines = [_fit_line(offset_s, heard, felt, seen, moved) for offset_s in suggested]
    clocks = [(line.offset_s, line.drift_ppm * 1e-6) for line in lines]
    ratios = motion_ratios(sight, touch, clocks, max_offset_s) + [claps(line.offset_s) for line in lines]
    order = np.argsort(-ratios, kind="stable")
    offsets_s = np.array([line.offset_s for line in lines])
    kept = [i for n, i in enumerate(order) if (np.abs(offsets_s[order[:n]] - offsets_s[i]) > 0.15).all()]
    candidates, trust = [lines[i] for i in kept], confidences(ratios[kept], rate_hz, max_offset_s)
    best = candidates[0]
    steady = best.agreement > 0 and best.residual_ms < 1e3 * TOGETHER_S
    sure = steady and trust[0] >= SURE
    return Fit(
        best.offset_s,
        best.drift_ppm,
        best.residual_ms,
        float(trust[0] if steady else min(trust[0], 0.5)),
        "sure" if sure else "unsure",
        tuple(candidates[:5]),
        "" if sure else _doubt(min(float(np.ptp(seen.times)), float(np.ptp(moved.times)))),
    )


def within(acceleration: Readings, start_s: float, stop_s: float) -> Readings:
    """What was read from `start_s` to `stop_s`, if anything; else the first reading."""
    start, stop = np.searchsorted(acceleration.times, [start_s, stop_s])
    inside = slice(start, stop) if start < stop else slice(0, 1)
    return Readings(acceleration.times[inside], acceleration.values[inside])


def _unfit(motion: Readings, acceleration: Readings) -> str:
    """Why these cannot be laid on each other, if so."""
    for name, readings, times in (
        ("video", motion, motion.times[1:]),
        ("log", acceleration, acceleration.times),
    ):
        seconds = float(np.ptp(times)) if len(times) else 0.0
        if seconds < SHORTEST_S:
            return (
                f"{seconds:.3g} s of {name} to compare, expected at least {SHORTEST_S:g} s, "
                f"usually {ENOUGH_S:g} s"
            )
        if np.ptp(readings.values, axis=0).max() == 0:
            return f"the {name} does not move, expected motion"
    return ""


def _doubt(seconds: float) -> str:
    """What may help where chance would do as well."""
    if seconds < ENOUGH_S:
        return (
            f"{seconds:.0f} s are short: {ENOUGH_S:g} s are nearly always enough; "
            f"two claps far apart help from {WITH_CLAPS_S:g} s on"
        )
    return "motion seen and motion felt agree no better than chance: is it this video's log?"


def _covered(acceleration: Readings, times: np.ndarray) -> np.ndarray:
    """Whether the log was read near each of `times`."""
    steps = np.diff(acceleration.times)
    after = np.clip(np.searchsorted(acceleration.times, times), 1, len(steps))
    return np.asarray(steps[after - 1] <= max(GAP_S, 3 * float(np.median(steps))))


def _curve(readings: Readings) -> Readings:
    """A curve at `RATE_HZ` whose ups and downs compare: logarithmic, without trend, of unit size."""
    times = np.arange(readings.times[0], readings.times[-1], 1 / RATE_HZ)
    values = readings.at(times)
    values = ndimage.gaussian_filter1d(np.log1p(values / (np.median(values) + 1e-9)), 0.04 * RATE_HZ)
    values = values - ndimage.uniform_filter1d(values, round(6 * RATE_HZ))
    return Readings(times, np.clip(values / (np.std(values) + 1e-9), -3, 3))


def _suggest(
    heard: np.ndarray,
    felt: np.ndarray,
    seen: Readings,
    moved: Readings,
    claps: Callable[[float], float],
    max_offset_s: float,
) -> list[float]:
    """Offsets that claps or whitened motion suggest, the likeliest first, no two within 250 ms."""
    product = signal.correlate(np.nan_to_num(moved.values), seen.values, method="fft")
    shared = signal.correlate(np.ones(len(moved.values)), np.ones(len(seen.values)), method="fft")
    lags = signal.correlation_lags(len(moved.values), len(seen.values)) / RATE_HZ
    lags = lags + moved.times[0] - seen.times[0]
    among = (np.abs(lags) <= max_offset_s) & (shared > SHORTEST_S * RATE_HZ)
    lags, likeness = lags[among], (product / np.sqrt(np.maximum(shared, 1)))[among]
    if len(lags) == 0:
        return []
    likeness = likeness / (1.4826 * np.median(np.abs(likeness - np.median(likeness))) + 1e-9)
    peaks = signal.find_peaks(likeness, distance=round(0.2 * RATE_HZ))[0]
    pairs = (felt[:, None] - heard[None]).ravel()
    offsets = np.concatenate([lags[peaks], pairs[(pairs >= lags[0]) & (pairs <= lags[-1])]])
    motion = [likeness[np.abs(lags - offset) <= 0.12].max(initial=0.0) ** 2 / 2 for offset in offsets]
    ratios = np.array(motion) + [claps(offset) for offset in offsets]
    kept: list[float] = []
    for offset in offsets[np.argsort(-ratios, kind="stable")]:
        if len(kept) < TRIED and all(abs(offset - other) > 0.25 for other in kept):
            kept.append(float(offset))
    return kept


def _fit_line(
    offset_s: float, heard: np.ndarray, felt: np.ndarray, seen: Readings, moved: Readings
) -> Candidate:
    """The line through the lags of claps and windows of motion near `offset_s`; without lags, that offset."""
    lags: list[tuple[float, float, float]] = []  # of each clap and window: when it is, its lag, and its error
    for clap_s in heard:
        off_s = np.abs(felt - clap_s - offset_s)
        # It is felt within a sample or two, and the drift since the start.
        if off_s.min(initial=np.inf) <= 0.06 + 3e-4 * clap_s:
            lags.append((clap_s, felt[off_s.argmin()] - clap_s, CLAP_S))
    claps, windows = len(lags), 0
    shared_s = min(seen.times[-1], moved.times[-1] - offset_s) - max(seen.times[0], moved.times[0] - offset_s)
    size, reach = round(min(WINDOW_S, (shared_s - 2 * REACH_S) / 2) * RATE_HZ), round(REACH_S * RATE_HZ)
    for start in range(0, len(seen.times) - size + 1, size // 2):
        first_s = seen.times[start]
        around = first_s + offset_s + np.arange(-reach, size + reach) / RATE_HZ
        if around[0] < moved.times[0] or around[-1] > moved.times[-1]:
            continue
        windows += 1
        here, there = seen.values[start : start + size], moved.at(around)
        curve = np.correlate(there - there.mean(), here - here.mean())
        top = int(np.argmax(curve))
        if 0 < top < len(curve) - 1 and curve[top] > ALIKE * size * there.std() * here.std():
            left, peak, right = curve[top - 1 : top + 2]
            between = 0.5 * (left - right) / (left - 2 * peak + right)
            lag_s = offset_s + (top - reach + between) / RATE_HZ
            lags.append((first_s + size / RATE_HZ / 2, lag_s, MOTION_S))
    if not lags:
        return Candidate(offset_s, 0.0, 0.0, 0, 0.0)
    offset, drift, residual_s, kept = _fit_lags(*np.array(lags).T)
    agreement = float(kept[claps:].sum() / max(windows, 1))
    return Candidate(offset, drift * 1e6, residual_s * 1e3, int(kept[:claps].sum()), agreement)


def _fit_lags(
    seconds: np.ndarray, lags_s: np.ndarray, errors_s: np.ndarray
) -> tuple[float, float, float, np.ndarray]:
    """Offset and drift from lags `(seconds + offset) * (1 + drift) - seconds`, outliers left out.

    Drift has a prior of 100 ppm, so that a single clap or a short recording does not invent one. The third is
    the residual in seconds, the last which lags are no outliers.
    """
    kept = np.ones(len(seconds), dtype=bool)
    design = np.stack([np.ones(len(seconds)), seconds], axis=1)
    for _ in range(10):
        weighted = design * np.where(kept, 1 / errors_s**2, 0.0)[:, None]
        normal = weighted.T @ design + np.diag([0.0, 1 / 1e-4**2])
        centre, slope = np.linalg.solve(normal, weighted.T @ lags_s)
        off_s = np.abs(lags_s - centre - slope * seconds)
        near = off_s <= 3 * errors_s
        if not near.any() or (near == kept).all():
            break
        kept = near
    residual_s = float(np.sqrt(np.mean(off_s[kept] ** 2)))
    return float(centre / (1 + slope)), float(slope), residual_s, kept
