"""What a microphone, a camera and two gloves would tell of one motion, each on a clock of its own."""

from dataclasses import dataclass

import numpy as np
from scipy import signal

from plait.simulator.activities import FINE_HZ, Work, bouts
from plait.types import Readings

AUDIO_HZ = 8000
GRAVITY = 9.81


@dataclass(frozen=True)
class Signals:
    """One recording as its sensors give it, and the truth.

    `audio` (n,) and `motion` (frames,), how much the picture changes, are on the video's clock; each of
    `logs`, the acceleration (n, 3) of a hand in m/s^2, is on its own, which starts at its first reading:
    `stream_clock_s = (video_clock_s + offset_s) * (1 + drift_ppm * 1e-6)`. `claps_s` are on the video's
    clock.
    """

    audio: Readings
    motion: Readings
    logs: dict[str, Readings]
    offset_s: dict[str, float]
    drift_ppm: dict[str, float]
    claps_s: tuple[float, ...]


def simulate(
    seed: int,
    *,
    duration_s: float = 150.0,
    claps: int = 1,
    impostors: int = 4,
    max_offset_s: float = 5.0,
    max_drift_ppm: float = 200.0,
    rate_hz: float = 25.0,
    frame_rate_hz: float = 30.0,
    work: Work = bouts,
) -> Signals:
    """A person works with both hands, claps `claps` times, and other things are heard and felt.

    `work` moves a hand. Each of `impostors` is at random a noise that no hand makes, a hit of one hand that
    is heard, or a jerk of one hand that is not. Logs start and stop up to `max_offset_s` apart from the
    video, drift by up to `max_drift_ppm`, and jitter by 8 % of a sample interval; the sensors' own low-pass
    smears what is faster than they sample.
    """
    rng = np.random.default_rng(seed)
    margin_s = max_offset_s + 2
    time = np.arange(-margin_s, duration_s + margin_s, 1 / FINE_HZ)  # on the video's clock
    velocity = {hand: work(time, rng) for hand in ("left", "right")}
    impacts = {hand: np.zeros(len(time)) for hand in velocity}
    heard = []
    first_s = rng.uniform(1.5, 6.0)
    clap_s = [first_s] if claps else []
    clap_s += sorted(rng.uniform(0.3, 0.97, max(claps - 1, 0)) * (duration_s - 5))
    for at in clap_s:
        strength = rng.uniform(0.7, 1.3)
        heard.append((at, strength))
        for hand in velocity:
            _hit(time, at, strength, velocity[hand], impacts[hand])
    for _ in range(impostors):
        at, strength, kind = rng.uniform(0.5, duration_s - 1), rng.uniform(0.4, 1.2), rng.integers(3)
        if kind < 2:
            heard.append((at, strength))
        if kind > 0:
            hand = rng.choice(["left", "right"])
            _hit(time, at, strength, velocity[hand], impacts[hand])
    frames = np.arange(0.0, duration_s, 1 / frame_rate_hz)
    logs, offsets, drifts = {}, {}, {}
    for hand, own in velocity.items():
        offset, drift = rng.uniform(-max_offset_s, max_offset_s), rng.uniform(-max_drift_ppm, max_drift_ppm)
        acceleration = _felt(time, own, impacts[hand], rate_hz, rng)
        start_s, stop_s = rng.uniform(-1, 0), duration_s + rng.uniform(0, 1)
        video_s = np.arange(start_s, stop_s, 1 / rate_hz)
        video_s = video_s + rng.uniform(-0.08, 0.08, len(video_s)) / rate_hz
        own_s = (video_s + offset) * (1 + drift * 1e-6)
        values = np.stack([np.interp(video_s, time, axis) for axis in acceleration], axis=1)
        logs[hand] = Readings(own_s - own_s[0], values + rng.normal(0, 0.15, values.shape))
        offsets[hand], drifts[hand] = offset - own_s[0] / (1 + drift * 1e-6), drift
    return Signals(
        Readings(*_sound(duration_s, heard, rng)),
        Readings(frames, _seen(frames, time, velocity, rng)),
        logs,
        offsets,
        drifts,
        tuple(clap_s),
    )


def _hit(time: np.ndarray, at: float, strength: float, velocity: np.ndarray, impact: np.ndarray) -> None:
    """A hand swings in for 150 ms, stops dead at `at`, and rings for some 10 ms."""
    swing = (time > at - 0.15) & (time < at)
    velocity[0, swing] += strength * np.sin(np.pi / 2 * (time[swing] - at + 0.15) / 0.15)
    after = (time >= at) & (time < at + 0.1)
    impact[after] += 250 * strength * np.exp(-(time[after] - at) / 0.01)


def _felt(
    time: np.ndarray, velocity: np.ndarray, impact: np.ndarray, rate_hz: float, rng: np.random.Generator
) -> np.ndarray:
    """Acceleration (3, n) in m/s^2 as a sensor of `rate_hz` gives it: motion, impacts, gravity that turns."""
    slow = signal.butter(2, 0.15, fs=FINE_HZ, output="sos")
    turning = signal.sosfiltfilt(slow, rng.normal(size=(3, len(time))))
    down = turning / turning.std() + [[0.0], [0.0], [2.0]]
    gravity = GRAVITY * down / np.linalg.norm(down, axis=0)
    direction = rng.normal(size=(3, 1))
    raw = (
        np.gradient(velocity, 1 / FINE_HZ, axis=1) + gravity + impact * direction / np.linalg.norm(direction)
    )
    return signal.sosfiltfilt(signal.butter(1, 0.45 * rate_hz, fs=FINE_HZ, output="sos"), raw, axis=1)


def _seen(
    frames: np.ndarray, time: np.ndarray, velocity: dict[str, np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Change from the frame before: how far the hands moved, the body's sway, and noise of the picture."""
    moved = np.zeros(len(frames))
    before = np.concatenate((2 * frames[:1] - frames[1:2], frames[:-1]))
    for own in velocity.values():
        path = np.cumsum(np.linalg.norm(own[:2], axis=0)) / FINE_HZ
        moved += np.interp(frames, time, path) - np.interp(before, time, path)
    sway = np.abs(
        signal.sosfiltfilt(signal.butter(2, 0.5, fs=30, output="sos"), rng.normal(size=len(frames)))
    )
    seen: np.ndarray = (
        moved
        + 0.3 * moved.std() * sway / sway.std()
        + 0.2 * moved.std() * np.abs(rng.normal(size=len(frames)))
    )
    return seen


def _sound(
    duration_s: float, heard: list[tuple[float, float]], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and audio (n,): room noise, and for all that is heard a burst that dies away in some 20 ms."""
    seconds = np.arange(0.0, duration_s, 1 / AUDIO_HZ)
    audio = 0.01 * rng.normal(size=len(seconds))
    for at, strength in heard:
        since = seconds - at
        there = (since >= 0) & (since < 0.2)
        audio[there] += 0.5 * strength * np.exp(-since[there] / 0.02) * rng.normal(size=there.sum())
    return seconds, np.clip(audio, -1, 1)
