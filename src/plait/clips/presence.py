"""Which sensors a stretch of a recording has: they are there, have begun, not ended, and have no gap."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl

from plait.clips.dropped import AFTER, BEFORE, GAP, NO_STREAM, SCHEMA
from plait.clips.windows import ROUNDING_S, ends_of, silent_s
from plait.types import Clip, Dropped, Modality, Recording, Stream

COLUMNS = ("clip", "recording", "subject", "modality", "reason", "stream", "start_s", "stop_s")
LARGE = 4096  # numbers of a reading that is not looked at


class Lack(NamedTuple):
    """A modality of which a clip has nothing, and why: as it would be dropped."""

    clip: str
    modality: str
    why: Dropped


class Sensors:
    """What a recording has of some modalities, and when.

    Args:
        recording: which.
        modalities: those that clips are asked for.
    """

    def __init__(self, recording: Recording, modalities: Sequence[Modality]) -> None:
        self.recording, self.modalities = recording, modalities

    @cached_property
    def extents(self) -> dict[str, tuple[float, float]]:
        """When each stream begins and ends; one of a single reading is always there."""
        ends = extents_of(self.recording, self.modalities)
        return {name: end if end[0] < end[1] else (-math.inf, math.inf) for name, end in ends.items()}

    @cached_property
    def silent_s(self) -> dict[str, np.ndarray]:
        """Moments without a reading of each stream that lies in memory; others are not read for it."""
        return {
            name: silent_s(self.recording.streams[name], self.recording.name, *ends)
            for name, ends in self.extents.items()
            if math.isfinite(ends[0]) and _is_at_hand(self.recording.streams[name])
        }

    def lacks(self, clip: Clip) -> Iterator[Lack]:
        """The modalities that have no readings in some of a clip.

        Up to one sample at either end may be beyond a stream's readings, whose end then holds.
        """
        for modality in self.modalities:
            if modality.rate_hz is not None:
                step_s = 1 / modality.rate_hz
            else:
                step_s = (clip.stop_s - clip.start_s) / max(modality.samples - 1, 1)
            lost = self._lost(modality, clip, step_s)
            if lost is not None:
                about = clip.recording, clip.subject, clip.activity
                reason, stream, start_s, stop_s = lost
                yield Lack(clip.name, modality.name, Dropped(*about, reason, 1, stream, start_s, stop_s))

    def _lost(
        self, modality: Modality, clip: Clip, step_s: float
    ) -> tuple[str, str, float | None, float | None] | None:
        """Why a clip has nothing of a modality: reason, stream, and from when to when that has no reading."""
        start_s, stop_s = clip.start_s, read_until(modality, clip.start_s, clip.stop_s)
        for name in modality.streams:
            if name not in self.recording.streams:
                return NO_STREAM, name, None, None
            begins_s, ends_s = self.extents[name]
            if begins_s > start_s + step_s + ROUNDING_S:
                return BEFORE, name, None, begins_s
            if ends_s < stop_s - step_s - ROUNDING_S:
                return AFTER, name, ends_s, None
            silent = self.silent_s.get(name, np.empty(0))
            first, last = np.searchsorted(silent, [start_s, stop_s])
            if last > first:
                return GAP, name, float(silent[first]), float(silent[last - 1])
        return None


def lacking_table(lacking: Sequence[Lack]) -> pl.DataFrame:
    """One row for each: `clip, recording, subject, modality, reason, stream, start_s, stop_s`."""
    rows = [{"clip": lack.clip, "modality": lack.modality, **vars(lack.why)} for lack in lacking]
    return pl.DataFrame(rows, schema={"modality": pl.String, "clip": pl.String, **SCHEMA}).select(COLUMNS)


def extents_of(recording: Recording, modalities: Sequence[Modality]) -> dict[str, tuple[float, float]]:
    """When the streams of `modalities` that a recording has begin and end, in seconds on its clock."""
    names = dict.fromkeys(name for modality in modalities for name in modality.streams)
    return {name: ends_of(recording.streams[name]) for name in names if name in recording.streams}


def covered(
    modality: Modality, extents: Mapping[str, tuple[float, float]], start_s: float, stop_s: float
) -> bool:
    """Whether all streams of a modality have begun before a window, and end after what of it is read."""
    stop_s = read_until(modality, start_s, stop_s)
    return all(
        name in extents
        and extents[name][0] <= start_s + ROUNDING_S
        and extents[name][1] >= stop_s - ROUNDING_S
        for name in modality.streams
    )


def read_until(modality: Modality, start_s: float, stop_s: float) -> float:
    """When the last sample of a window is over."""
    return stop_s if modality.rate_hz is None else start_s + modality.samples / modality.rate_hz


def _is_at_hand(stream: Stream) -> bool:
    """Whether a stream's readings are few numbers each, and lie in memory."""
    values = getattr(getattr(stream, "log", stream), "values", None)
    return isinstance(values, np.ndarray) and values.dtype.kind == "f" and values[0].size <= LARGE
