"""How hands move at work: kinds of motion, some of which are easily taken for each other."""

from collections.abc import Callable

import numpy as np
from scipy import signal

FINE_HZ = 500  # the motion itself
Work = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def bouts(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Velocity of a hand (3, n) in m/s: bouts of a few seconds, up to three times a second to and fro."""
    edges = np.cumsum(rng.uniform(0.6, 4.0, int((time[-1] - time[0]) / 1.5)))
    return _shake(time, edges, rng.uniform(0.2, 1.0, len(edges) + 1), rng)


def script(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bouts that everybody does at the same time, to half a second: velocity (3, n) in m/s."""
    edges = np.cumsum(np.random.default_rng(0).uniform(1.5, 8.0, int((time[-1] - time[0]) / 1.5)))
    edges = np.sort(edges + rng.normal(0, 0.5, len(edges)))
    return _shake(time, edges, rng.uniform(0.3, 1.0, len(edges) + 1), rng)


def rests(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stillness but for two to four stretches of 2 to 8 s: velocity (3, n) in m/s."""
    velocity = bouts(time, rng)
    awake = np.full(len(time), 0.02)
    for start_s in rng.uniform(time[0], time[-1], rng.integers(2, 5)):
        awake[(time > start_s) & (time < start_s + rng.uniform(2, 8))] = 1.0
    return velocity * signal.sosfiltfilt(signal.butter(2, 2.0, fs=FINE_HZ, output="sos"), awake)


def hammering(time: np.ndarray, rng: np.random.Generator, jitter: float = 0.02) -> np.ndarray:
    """One blow a second, everybody's, each 2 % early or late: velocity (3, n) in m/s."""
    beats = time[0] + np.cumsum(1 + jitter * rng.normal(size=round(1.3 * (time[-1] - time[0]))))
    noise = _noise(time, rng)
    velocity: np.ndarray = 0.12 * noise / noise.std()
    direction = np.abs(rng.normal(size=3))
    direction /= np.linalg.norm(direction)
    for beat in beats:
        for start_s, peak in ((beat - 0.25, -0.8), (beat, 0.8)):
            first, last = np.searchsorted(time, [start_s, start_s + 0.25])
            swing = np.sin(np.linspace(0, np.pi, last - first)) * peak * (1 + 0.1 * rng.normal())
            velocity[:, first:last] += direction[:, None] * swing
    return velocity


def metronome(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hammering to the same beat, to 3 ms: velocity (3, n) in m/s."""
    return hammering(time, rng, 0.003)


def walking(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Arms that swing at 1.7 to 2 steps a second: velocity (3, n) in m/s."""
    slow = signal.sosfiltfilt(signal.butter(1, 0.3, fs=FINE_HZ, output="sos"), rng.normal(size=len(time)))
    steps = np.cumsum(rng.uniform(1.7, 2.0) * (1 + 0.3 * slow)) / FINE_HZ
    phase = 2 * np.pi * steps + rng.uniform(0, 2 * np.pi)
    swing = np.stack([0.8 * np.sin(phase / 2), 0.3 * np.sin(phase), 0.2 * np.cos(phase)])
    noise = _noise(time, rng)
    velocity: np.ndarray = swing + 0.15 * noise / noise.std()
    return velocity


WORK: dict[str, Work] = {
    "bouts": bouts,
    "script": script,
    "rests": rests,
    "hammering": hammering,
    "metronome": metronome,
    "walking": walking,
}


def _shake(time: np.ndarray, edges: np.ndarray, level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """To and fro between every other pair of `edges`, as strongly as `level` says."""
    bout = np.searchsorted(edges, time - time[0])
    busy = (bout % 2).astype(float)
    smooth = signal.sosfiltfilt(signal.butter(2, 2.0, fs=FINE_HZ, output="sos"), busy * level[bout] + 0.05)
    noise = _noise(time, rng)
    velocity: np.ndarray = 0.4 * smooth * noise / noise.std()
    return velocity


def _noise(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise (3, n) between 0.3 and 3 Hz."""
    band = signal.butter(2, (0.3, 3.0), "bandpass", fs=FINE_HZ, output="sos")
    noise: np.ndarray = signal.sosfiltfilt(band, rng.normal(size=(3, len(time))))
    return noise
