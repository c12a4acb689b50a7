"""Which moment of a sensor's clock is which moment of the video's: claps and motion, each checking the other."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage, signal
from scipy.integrate import cumulative_trapezoid

from plait.types import Readings

RATE_HZ = 50.0  # of the two curves of motion that are compared
WINDOW_S = 20.0  # of motion that tells one lag
ALIKE = 0.25  # the least correlation of such a window
REACH_S = 0.3  # how far such a lag may lie from the recording's
CLAP_S, MOTION_S = 0.012, 0.030  # standard errors of one clap's lag, of one window's
LOUDER_DB, HARDER = 12.0, 8.0  # what counts as a clap: over the room's noise, over the hand's usual jerk
SURE = 0.6  # share of the windows of motion that must agree
MANY, HINT, HINT_RIVAL = 12, 0.4, 0.5  # with so many claps, and most of all candidates, fewer windows need agree
RIVAL = 0.6  # of the best one's agreement: from there on another candidate makes it doubtful
TOGETHER_S = 0.05  # residual up to which lags agree: windows that have nothing to do with each other scatter by 0.17
TRIED = 8


@dataclass(frozen=True)
class Candidate:
    """One way to lay a stream on the video: how many claps agree, and which share of the windows of motion."""

    offset_s: float
    drift_ppm: float
    residual_ms: float
    claps: int
    agreement: float


@dataclass(frozen=True)
class Fit:
    """`stream_clock_s = (video_clock_s + offset_s) * (1 + drift_ppm * 1e-6)`, and how far to trust it.

    `residual_ms` is the root mean square of what claps and windows of motion leave unexplained; `confidence` is between
    0 and 1, at least 0.5 if sure. `unsure` means: look at the picture, then take one of `candidates`, best first, or
    give an offset by hand.
    """

    offset_s: float
    drift_ppm: float
    residual_ms: float
    confidence: float
    status: Literal["sure", "unsure", "manual"]
    candidates: tuple[Candidate, ...] = ()


def claps_heard(audio: Readings) -> np.ndarray:
    """Seconds at which something sharp begins in `audio` (n,): a jump of 12 dB over the last second's noise."""
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
    heard: np.ndarray = audio.times[0] + np.array(onsets, dtype=float) * step / rate
    return heard


def claps_felt(acceleration: Readings) -> np.ndarray:
    """Seconds at which a hand stops dead: `acceleration` (n, 3) leaves its neighbours' median far beyond the usual."""
    values, times = acceleration.values, acceleration.times
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
    """How fast a hand moves to and fro, (n,): `acceleration` without gravity, integrated within 0.4 to 6 Hz."""
    times = np.arange(acceleration.times[0], acceleration.times[-1], 1 / RATE_HZ)
    band = signal.butter(2, (0.4, 6.0), "bandpass", fs=RATE_HZ, output="sos")
    moved = cumulative_trapezoid(signal.sosfiltfilt(band, acceleration.at(times), axis=0), times, axis=0, initial=0)
    slow = signal.butter(2, 0.4, "highpass", fs=RATE_HZ, output="sos")
    return Readings(times, np.linalg.norm(signal.sosfiltfilt(slow, moved, axis=0), axis=1))


def align(heard: np.ndarray, motion: Readings, acceleration: Readings, *, max_offset_s: float = 10.0) -> Fit:
    """Lay one stream on the video.

    `heard` are `claps_heard` of the video's sound, empty without sound; `motion` (n,), how much the picture has changed
    since the frame before, is on the video's clock, `acceleration` (n, 3) on the stream's. Offsets up to `max_offset_s`
    either way are considered.

    Claps that are both heard and felt, and motion that is seen and felt alike, suggest offsets. For each, every window
    of motion and every clap tells a lag; a line through those that agree gives offset and drift. The offset on which
    most windows agree wins, and is sure if no other comes close: windows do not agree by chance, whereas a hand that
    works hits things as often as somebody claps. A hand that rests half of the time agrees on few windows; it is sure
    if a dozen claps and knocks agree too, more than for any other offset.
    """
    if min(np.ptp(motion.times), np.ptp(acceleration.times)) < WINDOW_S:
        return Fit(0.0, 0.0, 0.0, 0.0, "unsure")
    between = Readings((motion.times[1:] + motion.times[:-1]) / 2, motion.values[1:])  # when the change took place
    felt, seen, moved = claps_felt(acceleration), _curve(between), _curve(hand_speed(acceleration))
    fitted = [_fitted(at, heard, felt, seen, moved) for at in _suggested(heard, felt, seen, moved, max_offset_s)]
    ranked = sorted((one for one in fitted if one), key=lambda one: one.agreement + 0.02 * one.claps, reverse=True)
    candidates = [one for i, one in enumerate(ranked) if all(abs(one.offset_s - o.offset_s) > 0.1 for o in ranked[:i])]
    if not candidates:
        return Fit(0.0, 0.0, 0.0, 0.0, "unsure")
    best = candidates[0]
    rival = max((one.agreement for one in candidates[1:]), default=0.0) / max(best.agreement, 1e-9)
    steady = best.residual_ms < 1e3 * TOGETHER_S
    others = max((one.claps for one in candidates[1:]), default=0)
    struck = best.claps >= MANY and best.claps > others and best.agreement >= HINT and rival <= HINT_RIVAL
    sure = steady and ((best.agreement >= SURE and rival <= RIVAL) or struck)
    clear = best.agreement * (1 - rival) * max(1 - best.residual_ms / (2e3 * TOGETHER_S), 0.0)
    return Fit(
        best.offset_s,
        best.drift_ppm,
        best.residual_ms,
        float(0.5 + 0.5 * clear if sure else 0.49 * clear),
        "sure" if sure else "unsure",
        tuple(candidates[:5]),
    )


def _curve(readings: Readings) -> Readings:
    """A curve at `RATE_HZ` whose ups and downs compare: logarithmic, without its trend, outliers cut, unit size."""
    times = np.arange(readings.times[0], readings.times[-1], 1 / RATE_HZ)
    values = readings.at(times)
    values = ndimage.gaussian_filter1d(np.log1p(values / (np.median(values) + 1e-9)), 0.04 * RATE_HZ)
    values = values - ndimage.uniform_filter1d(values, round(6 * RATE_HZ))
    spread = np.std(values) + 1e-9
    return Readings(times, np.clip(values / spread, -3, 3))


def _suggested(
    heard: np.ndarray, felt: np.ndarray, seen: Readings, moved: Readings, max_offset_s: float
) -> list[float]:
    """Offsets that claps or motion suggest, the likeliest first, no two within 250 ms."""
    product = signal.correlate(moved.values, seen.values, method="fft")
    lags = signal.correlation_lags(len(moved.values), len(seen.values)) / RATE_HZ + moved.times[0] - seen.times[0]
    shared = signal.correlate(np.ones(len(moved.values)), np.ones(len(seen.values)), method="fft")
    within = (np.abs(lags) <= max_offset_s) & (shared > WINDOW_S * RATE_HZ)
    lags, alike = lags[within], (product / np.maximum(shared, 1))[within]
    if len(lags) == 0:
        return []
    alike = (alike - np.median(alike)) / (1.4826 * np.median(np.abs(alike - np.median(alike))) + 1e-9)
    peaks = signal.find_peaks(alike, distance=round(0.2 * RATE_HZ))[0]
    pairs = (felt[:, None] - heard[None]).ravel()
    offsets = np.concatenate([pairs[np.abs(pairs) <= max_offset_s], lags[peaks]])
    claps = [sum(_meets(clap, offset, felt) for clap in heard) for offset in offsets]
    likely = [alike[np.abs(lags - offset) <= 0.12].max(initial=0.0) for offset in offsets] + 1.5 * np.array(claps)
    kept: list[float] = []
    for offset in offsets[np.argsort(likely, kind="stable")[::-1]]:
        if len(kept) < TRIED and all(abs(offset - other) > 0.25 for other in kept):
            kept.append(float(offset))
    return kept


def _meets(clap_s: float, offset_s: float, felt: np.ndarray) -> bool:
    """Whether a clap heard at `clap_s` is felt: within a sample or two, and the drift since the start."""
    return bool(np.abs(felt - clap_s - offset_s).min(initial=np.inf) <= 0.06 + 3e-4 * clap_s)


def _fitted(offset_s: float, heard: np.ndarray, felt: np.ndarray, seen: Readings, moved: Readings) -> Candidate | None:
    """The line through what claps and windows of motion tell near `offset_s`, if they tell anything."""
    claps = [clap for clap in heard if _meets(clap, offset_s, felt)]
    told = [(clap, felt[np.abs(felt - clap - offset_s).argmin()] - clap, CLAP_S) for clap in claps]
    windows = 0
    size, reach = round(WINDOW_S * RATE_HZ), round(REACH_S * RATE_HZ)
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
            told.append((first_s + WINDOW_S / 2, offset_s + (top - reach + between) / RATE_HZ, MOTION_S))
    if windows < 3 or len(told) == 0:
        return None
    at, lag, error = np.array(told).T
    offset, drift, residual_s, kept = _line(at, lag, error)
    agreement = float(kept[len(claps) :].sum() / windows)
    return Candidate(offset, drift * 1e6, residual_s * 1e3, int(kept[: len(claps)].sum()), agreement)


def _line(at: np.ndarray, lag: np.ndarray, error_s: np.ndarray) -> tuple[float, float, float, np.ndarray]:
    """Offset and drift from lags `(at + offset) * (1 + drift) - at`, outliers left out.

    Drift has a prior of 100 ppm, so that a single clap or a short recording does not invent one.
    """
    kept = np.ones(len(at), dtype=bool)
    centre, slope = float(np.median(lag)), 0.0
    for _ in range(10):
        weight = np.where(kept, 1 / error_s**2, 0.0)
        design = np.stack([np.ones(len(at)), at], axis=1)
        normal = (design * weight[:, None]).T @ design + np.diag([0.0, 1 / 1e-4**2])
        centre, slope = np.linalg.solve(normal, (design * weight[:, None]).T @ lag)
        off = np.abs(lag - centre - slope * at)
        now = off <= 3 * error_s
        if not now.any() or (now == kept).all():
            break
        kept = now
    residual_s = float(np.sqrt(np.mean((lag - centre - slope * at)[kept] ** 2)))
    return float(centre / (1 + slope)), float(slope), residual_s, kept
