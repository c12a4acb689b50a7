"""What smart gloves feel of a motion, and what a microphone hears."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import signal
from scipy.spatial.transform import Rotation

from plait.simulator.motion import FINE_HZ, Motion

GRAVITY = 9.81
RATE_HZ = 25.0
AUDIO_HZ = 16_000
HUM = 60 * AUDIO_HZ  # samples of the hum that are made at a time
FLEXIONS = tuple(f"flex_{finger}" for finger in range(1, 6))
READINGS = (*FLEXIONS, *(f"{kind}_{axis}" for kind in ("acc", "gyr", "mag") for axis in "xyz"), "pressure")
NORTH = np.array([0.2, 0.4, 0.9])


LOOSE_FEELS = 0.15  # of flexion, pressure and jolts that reach the sensors of a glove that has slipped
LOOSE_RAD = 0.8  # SD of how far it has turned on the hand, about each axis


@dataclass(frozen=True)
class Worn:
    """How one glove is worn."""

    turned: tuple[float, float, float] = (0.0, 0.0, 0.0)  # on the hand: a rotation vector, in radians
    gain: float = 0.15  # of a channel: even between 1 - gain and 1 + gain
    saturates: float = 9.0  # the largest flexion and pressure that is read
    loose: tuple[tuple[float, float], ...] = ()  # from when to when it has slipped, in seconds


SNUG = Worn()


def glove_log(
    motion: Motion,
    side: str,
    stop_s: float,
    offset_s: float,
    drift_ppm: float,
    seed: Sequence[int],
    worn: Worn = SNUG,
) -> tuple[pl.DataFrame, float]:
    """One glove's log on its own clock, and its offset as in `sync.json`, counted from the first reading.

    Columns: `time` in seconds, acceleration in m/s^2, angular rate in rad/s; flexion, magnetic field and
    pressure in arbitrary units. Gain, bias and noise are this glove's own.

    Args:
        motion: what it feels.
        side: "left" or "right".
        stop_s: when the video stops.
        offset_s: how far the glove's clock is ahead of the video's.
        drift_ppm: how much faster it runs.
        seed: of all that is drawn at random.
        worn: how the glove is worn.
    """
    rng = np.random.default_rng(list(seed))
    fine = np.arange(-2.0, stop_s + 2.0, 1 / FINE_HZ)
    pose = motion.hands[side](fine)
    feels, rotation = _coupling(fine, pose.rotation, worn, seed)
    turn = rotation.as_matrix()
    velocity = np.gradient(pose.position, 1 / FINE_HZ, axis=0)
    acceleration = np.gradient(velocity, 1 / FINE_HZ, axis=0) - [0.0, GRAVITY, 0.0]
    for at, strength in motion.hits[side]:
        since = fine - at
        ring = 60 * strength * np.exp(-np.maximum(since, 0) / 0.010) * ((since >= 0) & (since < 0.12))
        acceleration[:, 2] -= ring  # the hand is stopped
        acceleration[:, 1] += 0.5 * ring
    if worn.loose:
        acceleration = (acceleration + [0.0, GRAVITY, 0.0]) * feels[:, None] - [0.0, GRAVITY, 0.0]
    felt = np.einsum("nji,nj->ni", turn, acceleration)
    steps = (rotation[:-1].inv() * rotation[1:]).as_rotvec() * FINE_HZ
    rate = np.concatenate([steps, steps[-1:]])
    field = np.einsum("nji,j->ni", turn, NORTH)
    flexion, pressure = pose.flexion * feels[:, None], pose.pressure[:, None] * feels[:, None]
    ideal = np.concatenate([flexion, felt, rate, field, pressure], axis=1)
    ideal = signal.sosfiltfilt(signal.butter(1, 0.45 * RATE_HZ, fs=FINE_HZ, output="sos"), ideal, axis=0)
    start_s = rng.uniform(-1.0, 0.0)
    video_s = np.arange(start_s, stop_s + rng.uniform(0, 1), 1 / RATE_HZ)
    video_s = video_s + rng.uniform(-0.1, 0.1, len(video_s)) / RATE_HZ
    values = np.stack([np.interp(video_s, fine, column) for column in ideal.T], axis=1)
    gain = rng.uniform(1 - worn.gain, 1 + worn.gain, values.shape[1])
    bias = np.repeat([0.06, 0.15, 0.03, 0.05, 0.02], [5, 3, 3, 3, 1]) * rng.normal(size=values.shape[1])
    noise = np.repeat([0.015, 0.12, 0.03, 0.02, 0.015], [5, 3, 3, 3, 1])
    values = gain * values + bias
    flat = [*range(5), values.shape[1] - 1]
    values[:, flat] = np.minimum(values[:, flat], worn.saturates)
    values = values + noise * rng.normal(size=values.shape)
    pace = 1 + drift_ppm * 1e-6
    glove_s = (video_s + offset_s) * pace
    table = pl.DataFrame(values, schema=list(READINGS)).with_columns(pl.all().round(5))
    table = table.insert_column(0, pl.Series("time", np.round(glove_s + 100.0, 5)))
    return table, float(offset_s - glove_s[0] / pace)


def _coupling(
    seconds: np.ndarray, hand: Rotation, worn: Worn, seed: Sequence[int]
) -> tuple[np.ndarray, Rotation]:
    """How much of the hand reaches the sensors (n,), and how they are turned (n)."""
    feels, rotation = np.ones(len(seconds)), hand
    if any(worn.turned):
        rotation = rotation * Rotation.from_rotvec(worn.turned)
    if worn.loose:
        rng = np.random.default_rng([*seed, 0])
        turned = np.zeros((len(seconds), 3))
        for start_s, stop_s in worn.loose:
            within = (seconds >= start_s) & (seconds < stop_s)
            feels[within] = LOOSE_FEELS
            turned[within] = rng.normal(0, LOOSE_RAD, 3)
        rotation = rotation * Rotation.from_rotvec(turned)
    return feels, rotation


def audio(motion: Motion, stop_s: float, seed: Sequence[int]) -> np.ndarray:
    """Sound (n,) in [-1, 1] at 16 kHz: a room's hum and noise, and a burst for everything that is heard."""
    rng = np.random.default_rng(list(seed))
    n = int(stop_s * AUDIO_HZ)
    sound = rng.normal(size=n)
    sound *= 0.008
    for first in range(0, n, HUM):  # of an hour, whole arrays of it would take gigabytes
        piece = sound[first : first + HUM]
        piece += 0.004 * np.sin(2 * np.pi * 100 * np.arange(first, first + len(piece)) / AUDIO_HZ)
    for at, strength in motion.heard:
        first = round(at * AUDIO_HZ)
        length = min(int(0.15 * AUDIO_HZ), n - first)
        if first < 0 or length <= 0:
            continue
        fade = np.exp(-np.arange(length) / (0.018 * AUDIO_HZ))
        sound[first : first + length] += 0.4 * strength * fade * rng.normal(size=length)
    return np.clip(sound, -1, 1, out=sound).astype(np.float32)
