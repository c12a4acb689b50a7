"""Recordings of several kinds, as sensors give them, to look at with nothing wrong, or with a fault planted.

People differ in strength, pace, sensor gain and bias, mounting (15 degrees) and where the camera stands.
"""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from plait.recordings.sensors import SensorLog
from plait.types import Readings, Recording, Span

NAMES = tuple(f"{kind}_{axis}" for kind in ("acc", "gyr") for axis in "xyz")
GRAVITY = {"left": (0.75, 0.2, 0.62), "right": (-0.75, 0.2, 0.62), "thigh": (0.1, -0.98, 0.17)}
KINDS = ("steady", "coarse", "radio", "gentle")


def world(seed=0, kind="steady", people=6, repeats=2, seconds=16.0):
    """Recordings of two activities: two wrists (50 Hz), a thigh (100 Hz), a camera (10 Hz), joints (20 Hz).

    `coarse`: sensors of few digits, often at rest; `radio`: stamps with jitter, lost readings and pauses;
    `gentle`: little motion in little light.
    """
    found = []
    for person in range(people):
        own = np.random.default_rng([seed, person])
        traits = {
            "strength": np.exp(own.normal(0, 0.3)) * (0.2 if kind == "gentle" else 1.0),
            "pace": own.uniform(0.8, 1.2),
            "mount": {name: Rotation.from_rotvec(own.normal(0, 0.15, 3)) for name in GRAVITY},
            "gain": own.normal(1, 0.015),
            "shift": own.normal(0, 1.0, 2),
            "light": own.uniform(0.7, 1.1) * (0.5 if kind == "gentle" else 1.0),
        }
        for activity in ("wave", "walk"):
            for repeat in range(repeats):
                rng = np.random.default_rng([seed, person, len(activity) * 7 + ord(activity[1]), repeat])
                streams = {name: _imu(name, activity, traits, seconds, rng, kind) for name in GRAVITY}
                streams["camera"] = _camera(activity, traits, seconds, rng, kind)
                streams["skeleton"] = _skeleton(activity, traits, seconds, rng)
                span = Span(0.0, seconds, activity)
                found.append(Recording(f"{person}-{activity}-{repeat}", str(person), streams, (span,)))
    return found


def _times(rate_hz, seconds, rng, kind):
    count = int(seconds * rate_hz)
    times = (np.arange(count) + rng.uniform(0, 1)) / (rate_hz * (1 + rng.normal(0, 0.0005)))
    if kind == "radio":
        times = times + rng.uniform(-0.2, 0.2, count) / rate_hz
        lost = rng.random(count) < 0.02
        start = rng.integers(count)
        lost[start : start + int(rng.uniform(0, 0.15) * rate_hz)] = True
        times = times[~lost]
    return times


def _motion(activity, times, pace, rng):
    """An oscillation that is never quite the same, `(n, 3)`, at rest a fifth of the time."""
    hz, shape = {"wave": (1.6, (0.6, 0.2, 0.3)), "walk": (0.9, (0.2, 0.5, 0.3))}[activity]
    phase = 2 * np.pi * hz * pace * times + np.cumsum(rng.normal(0, 0.03, len(times)))
    envelope = np.clip(1 + 0.8 * np.sin(2 * np.pi * times / 7 + rng.uniform(0, 6)), 0.05, None)
    parts = [np.sin(phase), np.sin(2 * phase + 1) + 0.3 * np.cos(phase), np.cos(phase + 0.5)]
    return envelope[:, None] * np.stack(parts, axis=1) * shape


def _imu(name, activity, traits, seconds, rng, kind):
    rate_hz = 100.0 if name == "thigh" else 50.0
    times = _times(rate_hz, seconds, rng, kind)
    motion = _motion(activity, times, traits["pace"], rng) * traits["strength"]
    motion *= {"thigh": (0.3 if activity == "wave" else 1.0), "left": 0.6}.get(name, 1.0)
    mount = traits["mount"][name]
    acc = traits["gain"] * mount.apply(motion + GRAVITY[name]) + rng.normal(0, 0.01, (len(times), 3))
    rate = 90 * mount.apply(np.roll(motion, 1, axis=1)) + rng.normal(0, 1.0, (len(times), 3))
    if kind == "coarse":
        acc, rate = np.round(acc * 64) / 64, np.round(rate)
    values = np.concatenate([acc, rate], axis=1).astype(np.float32)
    return Readings(times, values[:, :3]) if name == "thigh" else SensorLog(times, values, NAMES)


def _camera(activity, traits, seconds, rng, kind):
    """A lamp at the left and a bright hand that moves at the right, `(n, 24, 32)`, 256 levels."""
    times = _times(10.0, seconds, rng, kind)
    motion = _motion(activity, times, traits["pace"], rng)
    rows, columns = np.mgrid[:24, :32]
    down, along = traits["shift"]
    lamp = 60 + 100 * np.exp(-((rows - 5 - down) ** 2 + (columns - 6 - along) ** 2) / 20)
    where = np.stack([12 + down + 6 * motion[:, 1], 23 + along + 5 * motion[:, 0]], axis=1)
    off = (rows - where[:, :1, None]) ** 2 + (columns - where[:, 1:, None]) ** 2
    film = lamp + 80 * np.exp(-off / 12) + rng.normal(0, 2, (len(times), 24, 32))
    return Readings(times, np.clip(traits["light"] * film, 0, 255).astype(np.uint8))


def _skeleton(activity, traits, seconds, rng):
    """Six joints in metres, `(n, 6, 3)`."""
    times = np.arange(int(seconds * 20)) / 20
    motion = _motion(activity, times, traits["pace"], rng)
    rest = np.random.default_rng(5).normal(0, 0.4, (6, 3)) + np.array([0, 0, 2.5])
    joints = rest + motion[:, None] * np.linspace(0, 0.5, 6)[:, None]
    joints += rng.normal(0, 0.004, joints.shape)
    return Readings(times, joints.astype(np.float32))


def verdict(checks, recordings):
    """What checks find, each shown one recording after the other."""
    facts = {check.name: {} for check in checks}
    for recording in recordings:
        for check in checks:
            facts[check.name][recording.name] = check.look(recording)
    people = {recording.name: recording.subject for recording in recordings}
    return [finding for check in checks for finding in check.judge(facts[check.name], people)]


def planted(recordings, who, change):
    """The recordings with changed streams of a person, `"3"`, or of one recording, `"3-wave-1"`."""
    return [
        replace(one, streams=change(dict(one.streams))) if who in (one.subject, one.name) else one
        for one in recordings
    ]


def with_values(stream, change):
    """A stream whose readings `(n, channels...)` are changed."""
    values = change(stream.values.astype(np.float64) if stream.values.dtype.kind == "f" else stream.values)
    return replace(stream, values=np.asarray(values, stream.values.dtype))


def with_times(stream, change):
    """A stream whose times are changed."""
    return replace(stream, times=change(np.asarray(stream.times, np.float64)))
