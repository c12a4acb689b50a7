"""Axes of sensors in a few numbers, and the ways to exchange them and turn their signs."""

import itertools
import re
from typing import NamedTuple

import numpy as np

from plait.doctor.sampled import kind, signals
from plait.types import Recording

NO_GRAVITY = re.compile(r"gyr|rot|ang|omega|mag|compass|orient|quat")  # what does not say where down is
WORN = 4  # triples of axes that one sensor has at most: more are joints of a body
READINGS = 16  # from which on a mean and a covariance say anything
ALIKE_OFF = 0.1  # distance that tells no two turns apart


def _turns() -> np.ndarray:
    """The 48 matrices that exchange axes and turn their signs, simple ones first: `(48, 3, 3)`."""
    axes = [np.eye(3)[list(order)] for order in itertools.permutations(range(3))]
    signs = [np.diag(sign) for sign in itertools.product([1.0, -1.0], repeat=3)]
    turns = [sign @ order for order in axes for sign in signs]
    return np.array(sorted(turns, key=lambda turn: (-int((np.diag(turn) != 0).sum()), -turn.sum())))


TURNS = _turns()


class Worn(NamedTuple):
    """A sensor's axes and channels in a few numbers.

    Args:
        means, covariances: of its triples that gravity acts on, `(triples, 3)` and `(triples, 3, 3)`, in
            lengths of the vectors.
        channels: means and logarithmic spreads of all channels, `(2 * channels,)`.
    """

    means: list[list[float]]
    covariances: list[list[list[float]]]
    channels: list[float]


def look(recording: Recording) -> tuple[str, dict[str, Worn]]:
    """What was done; and each sensor's axes and channels, by stream."""
    found = {}
    for name, signal in signals(recording):
        values = signal.values.astype(np.float64)
        values = values[np.isfinite(values).all(axis=1)]
        if len(values) < READINGS:
            continue
        worn = signal.axes if len(signal.axes) <= WORN else signal.axes[:0]
        triples = [one for one in worn if not NO_GRAVITY.search(f"{name} {signal.names[one[0]]}".lower())]
        means, covariances = np.zeros((len(triples), 3)), np.zeros((len(triples), 3, 3))
        for place, triple in enumerate(triples):
            vectors = values[:, triple]
            scale = max(float(np.sqrt((vectors**2).sum(axis=1).mean())), 1e-12)
            means[place] = vectors.mean(axis=0) / scale
            covariances[place] = np.cov(vectors.T) / scale**2
        with np.errstate(divide="ignore"):
            spread = np.maximum(np.log(values.std(axis=0)), -20.0)
        channels = np.concatenate([values.mean(axis=0), spread])
        found[name] = Worn(means.tolist(), covariances.tolist(), channels.tolist())
    return kind(recording), found


def distances(
    means: np.ndarray, covariances: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """How far turned sensors are from others: `(48,)`, 2 where gravity is the other way round.

    Args:
        means: `(3,)`, of the sensor, in lengths of the vectors.
        covariances: `(3, 3)`, of the sensor.
        mean: `(3,)`, the others'.
        covariance: `(3, 3)`, the others'.
    """
    turned = TURNS @ means
    spread = TURNS @ covariances @ TURNS.transpose(0, 2, 1)
    off = np.linalg.norm(turned - mean, axis=1)
    return np.asarray(np.sqrt(off**2 + np.linalg.norm(spread - covariance, axis=(1, 2)) ** 2))


def simplest(off: np.ndarray) -> int:
    """The turn that fits, of those that fit about as well the one that changes the least."""
    return int(np.argmax(off <= off.min() + ALIKE_OFF))
