"""How fast and how strong a model's sensors were, and whether a recording's are like them.

Another unit (m/s2 for g, degrees for radians) or a logger that was set to a lower rate changes neither shapes
nor names: a network sees readings that it never saw, and says something all the same.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from plait.recordings.folder import unsynced
from plait.recordings.sensors import SensorLog
from plait.types import Modality, Recording, Stream

STRONG = 0.9  # of the absolute readings lie below a column's level
FACTOR = 5.0  # between levels of people, at least, that no person is
SLOWER = 0.8  # of the lowest rate
COLUMNS = 64  # of a log; what has more is told by one level
REPEATED = 3  # readings of one value that may stand for none
FAR = 50.0  # times a level, where no sensor's end of scale lies
AXES_AT_MOST = 4  # of one sensor
MOST = 2**16  # readings that are looked at
AXES = re.compile(r"(?<![a-z])[xyz](?![a-z])"), re.compile(r"[wxyz](?![a-z\d])"), re.compile(r"\d+$")


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class StreamFacts:
    """What a stream was like in the recordings that a model was trained on.

    Args:
        rate_hz: the lowest and the highest rate, by the median of the readings' spacing.
        levels: of each column, or of all together, the lowest and the highest level of a recording: what
            nine in ten absolute readings stay below. None of what is no numbers in memory.
    """

    rate_hz: tuple[float, float]
    levels: tuple[tuple[float, float], ...] = ()


@dataclass
class Streams:
    """What the streams of some names are like, recording by recording.

    Args:
        names: of the streams.
        rates: of each, in the recordings that have it.
        levels: likewise, of those with numbers in memory.
    """

    names: Sequence[str]
    rates: dict[str, list[float]] = field(default_factory=dict)
    levels: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, recording: Recording) -> None:
        """Look at a recording."""
        for name in self.names:
            stream = recording.streams.get(name)
            if stream is not None and (rate_hz := _rate_hz(stream)) > 0:
                self.rates.setdefault(name, []).append(rate_hz)
                if (levels := _levels(stream)) is not None:
                    self.levels.setdefault(name, []).append(levels)

    @property
    def facts(self) -> dict[str, StreamFacts]:
        """What all of them are like."""
        return {
            name: StreamFacts((min(rates), max(rates)), _ranges(self.levels.get(name, [])))
            for name, rates in sorted(self.rates.items())
        }


def _ranges(levels: Sequence[np.ndarray]) -> tuple[tuple[float, float], ...]:
    """The lowest and highest level of each column, 0 of one that says nothing; none where columns differ."""
    if not levels or len({len(one) for one in levels}) > 1:
        return ()
    table = np.stack(levels).T
    return tuple(
        (float(np.nanmin(column)), float(np.nanmax(column))) if np.isfinite(column).any() else (0.0, 0.0)
        for column in table
    )


def unlike(
    known: Mapping[str, StreamFacts],
    recording: Recording,
    modalities: Sequence[Modality],
    seconds: float | None = None,
) -> list[str]:
    """What of a recording's streams is not as it was in the recordings that a model was trained on.

    Args:
        known: what it was.
        recording: whose streams are looked at.
        modalities: what is made of them.
        seconds: the length of a window, if all have one.
    """
    return [
        f"recording {recording.name}: {line}"
        for name, facts in known.items()
        if (stream := recording.streams.get(name)) is not None
        for line in unlike_stream(facts, name, stream, modalities, seconds, " (scale in recording.toml)")
    ]


def unlike_stream(
    facts: StreamFacts,
    name: str,
    stream: Stream | SensorLog,
    modalities: Sequence[Modality],
    seconds: float | None = None,
    advice: str = "",
) -> Iterator[str]:
    """What of a stream is not as it was in the recordings that a model was trained on.

    Args:
        facts: what it was.
        name: what it is called.
        stream: which is looked at.
        modalities: what is made of the streams.
        seconds: the length of a window, if all have one.
        advice: how to say that its unit is another one.
    """
    rate_hz = _rate_hz(stream)
    wanted = [m.rate_hz or m.samples / (seconds or math.inf) for m in modalities if name in m.streams]
    if 0 < rate_hz < SLOWER * facts.rate_hz[0] and any(rate_hz < 0.95 * one for one in wanted):
        yield (
            f"{name} has {rate_hz:.3g} readings a second, the model was trained on {facts.rate_hz[0]:.3g} or "
            "more: what is faster is not there"
        )
    absolute = _absolute(stream)
    if absolute is None or absolute.shape[1] != len(facts.levels):
        return
    levels = _levels_of(absolute)
    ratios = {
        column: level / min(max(level, low), high)
        for column, (level, (low, high)) in enumerate(zip(levels.tolist(), facts.levels, strict=True))
        if math.isfinite(level) and level > 0 and low > 0
    }
    names = getattr(unsynced(stream), "names", ())
    fills: dict[float, list[int]] = {}
    for column, (_, high) in enumerate(facts.levels):
        if (fill := _fill(absolute[:, column], high)) is not None:
            fills.setdefault(fill, []).append(column)
    for fill, columns in fills.items():
        what = f"{name}{_which(columns, names, len(levels))} has ±{fill:.6g} again and again"
        yield f"{what}, far above all else: for want of a reading? (missing)"
    for group in quantities(names, len(levels)):
        what = f"{name}{_which(group, names, len(levels))}"
        own = [ratios[column] for column in group if column in ratios]
        if _turned(group, levels, facts):
            continue
        stronger = [one for one in own if one >= FACTOR]
        weaker = [one for one in own if one <= 1 / FACTOR]
        for side, why in (
            (stronger, "moved far more, or in another unit?"),
            (weaker, "at rest throughout, or in another unit?"),
        ):
            if len(side) > len(own) / 2:
                yield (
                    f"{what} has readings {np.median(side):.3g} times those that the model was trained on: "
                    f"{why}{advice}"
                )


def _turned(group: Sequence[int], levels: np.ndarray, facts: StreamFacts) -> bool:
    """Whether the axes of one sensor are as strong together as they were: it lies, or faces, otherwise."""
    known = [column for column in group if math.isfinite(levels[column])]
    if not 1 < len(known) <= AXES_AT_MOST:
        return False
    low, high = (max(facts.levels[column][end] for column in known) for end in (0, 1))
    strongest = float(levels[known].max())
    return 0 < low <= FACTOR * strongest and strongest < FACTOR * high


def quantities(names: Sequence[str], count: int) -> list[list[int]]:
    """Columns that measure the same, by their numbers: a unit that is another one is that of all of them.

    Those are it whose names differ by an axis or by the number at their end (`acc_x`, `acc_y`; `gx`, `gy`);
    of six or nine that names do not tell apart, three in a row. Those that are called like no other are one
    more quantity; a single one beside others is not judged.

    Args:
        names: of the columns, if they have some.
        count: how many there are.
    """
    alike: dict[str, list[int]] = {}
    for column, name in enumerate(names if len(names) == count else [""] * count):
        alike.setdefault(_bare(name), []).append(column)
    if len(alike) == 1 and count in (6, 9):
        return [[*range(first, first + 3)] for first in range(0, count, 3)]
    alone = [column for group in alike.values() if len(group) == 1 for column in group]
    found = [group for group in alike.values() if len(group) > 1]
    return found if found and len(alone) < 2 else [*found, alone] if alone else found


def _bare(name: str) -> str:
    """A column's name without the axis, or else the number, that tells it from others of its quantity."""
    lower = name.lower()
    return next((bare for one in AXES if (bare := one.sub("", lower, count=1)) != lower), lower)


def _which(group: Sequence[int], names: Sequence[str], count: int) -> str:
    """A group of columns, in words behind a stream's name; nothing of all."""
    if len(group) == count:
        return ""
    if len(names) == count:
        return f" ({', '.join(names[column] for column in group)})"
    return f" (column{'s' * (len(group) > 1)} {', '.join(str(column + 1) for column in group)})"


def _rate_hz(stream: Stream | SensorLog) -> float:
    times = getattr(stream, "times", None)
    if not isinstance(times, np.ndarray) or len(times) < 2:
        return 0.0
    step_s = float(np.median(np.diff(times)))
    return 1 / step_s if step_s > 0 else 0.0


def _levels(stream: Stream | SensorLog) -> np.ndarray | None:
    """What nine in ten absolute readings of each column stay below; None of what holds none in memory."""
    absolute = _absolute(stream)
    return None if absolute is None else _levels_of(absolute)


def _levels_of(absolute: np.ndarray) -> np.ndarray:
    known = np.isfinite(absolute).any(axis=0)
    levels = np.full(absolute.shape[1], np.nan)
    levels[known] = np.nanquantile(absolute[:, known], STRONG, axis=0)
    return levels


def _fill(absolute: np.ndarray, high: float) -> float | None:
    """A value that stands for no reading: far above a level, often, and nothing comes half as near to it."""
    most = float(np.nanmax(absolute, initial=0.0))
    if not 0 < FAR * high <= most:
        return None
    far = absolute[absolute > most / 2]
    return most if len(far) >= REPEATED and (far == most).all() else None


def _absolute(stream: Stream | SensorLog) -> np.ndarray | None:
    """Absolute readings `(n, columns)`, NaN of angles, whose size is no level; None: none are in memory.

    Of more than `COLUMNS` they are one.
    """
    held: Any = unsynced(stream)
    values = getattr(held, "values", None)
    if (
        not isinstance(values, np.ndarray)
        or values.ndim < 2
        or not values.size
        or values.dtype.kind not in "fiu"
    ):
        return None
    rows = values[:: math.ceil(len(values) / MOST)].reshape(-1, math.prod(values.shape[1:]))
    if rows.shape[1] > COLUMNS:
        rows = rows[:: math.ceil(rows.size / MOST / COLUMNS)].reshape(-1, 1)
    absolute = np.abs(rows.astype(np.float64))
    if isinstance(held, SensorLog):
        absolute[:, [column for column, _, _ in held.between.circular]] = np.nan
    return absolute
