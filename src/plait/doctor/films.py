"""Streams of pictures in a few numbers: what repeats, how light it is, and maps of what is where."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from plait.doctor.sampled import Pictures, kind, pictures
from plait.types import Recording

STILL = 0.02  # of the usual change: a lossy codec does not repeat a picture to the bit
RUN = 4  # repeated pictures in a row that are a frozen stretch, not a doubled rate
SIDE = 24  # of maps that are compared


class Film(NamedTuple):
    """A stream of pictures in a few numbers.

    Args:
        repeated: the share of pictures that repeat the one before, frozen stretches aside.
        frozen_s: the longest frozen stretch, in seconds.
        level, contrast: the mean, and the standard deviation over rows and columns.
        levels: how many there are, 256 of a camera's, else None.
        maps: `(2, 24, 24)`, of what moves and of the mean, each about its mean and of length 1.
    """

    repeated: float
    frozen_s: float
    level: float
    contrast: float
    levels: int | None
    maps: list[list[list[float]]]


def _of(found: Pictures) -> Film:
    seen_ = found.change[np.isfinite(found.change)]
    moving = seen_[seen_ > 0]
    bar = STILL * float(np.median(moving)) if len(moving) else 0.0
    still = np.isfinite(found.change) & (found.change <= bar)
    times = found.times[found.rows]
    frozen_s, start = 0.0, 0
    for place in range(1, len(still)):
        if np.isnan(found.change[place]):  # between two bursts: the same picture still?
            apart_ = float(np.abs(found.small[place] - found.small[place - 1]).mean())
            still[place] = still[place - 1] and apart_ <= bar
    short = np.zeros(len(still), np.bool_)
    for stop in np.flatnonzero(~np.append(still, False)):
        if stop - start > RUN:
            frozen_s = max(frozen_s, float(times[stop - 1] - times[start]))
        else:
            short[start + 1 : stop] = True
        start = int(stop)
    pairs = np.isfinite(found.change)
    small = found.small
    mean, moved = small.mean(axis=0), small.std(axis=0)
    shape = (SIDE, SIDE)
    maps = [unit(_fit(one, shape)).round(4).tolist() for one in (moved, mean)]
    return Film(
        float(short[pairs].mean()) if pairs.sum() >= RUN * 2 else 0.0,
        frozen_s,
        float(small.mean()),
        float(small.std(axis=(1, 2)).mean()),
        found.levels,
        maps,
    )


def _fit(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A picture at the places of another size, by its nearest pixels."""
    rows, columns = (np.arange(side) * have // side for side, have in zip(shape, picture.shape, strict=True))
    return np.asarray(picture[rows[:, None], columns])


def by_stream(facts: Mapping[str, object]) -> dict[str, dict[str, tuple[str, Film]]]:
    """What was done and the facts of each stream, by recording."""
    found: dict[str, dict[str, tuple[str, Film]]] = {}
    for recording, (done, films) in facts.items():  # type: ignore[misc]
        for stream, film in films.items():  # type: ignore[has-type]
            found.setdefault(stream, {})[recording] = (done, film)  # type: ignore[has-type]
    return found


def look(recording: Recording) -> tuple[str, dict[str, Film]]:
    """What was done; and each stream of pictures in a few numbers."""
    return kind(recording), {name: _of(found) for name, found in pictures(recording)}


def unit(picture: np.ndarray) -> np.ndarray:
    """About its mean, of length 1."""
    about = picture - picture.mean()
    return np.asarray(about / max(float(np.linalg.norm(about)), 1e-12))
