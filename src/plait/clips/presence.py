"""Which sensors a stretch of a recording has: they are there, have begun, not ended, and have no gap."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from plait.clips.dropped import AFTER, BEFORE, GAP, NO_STREAM, SCHEMA
from plait.clips.windows import ROUNDING_S, covers, ends_of, inner, moments, silent_s
from plait.recordings.sensors import SensorLog
from plait.recordings.video import Video
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
        asked: whether somebody has asked what is missing. If so, readings that are NaN are none; else only
            those of logs, where gaps are NaN, and others are left to whoever reads them, and refuses them.
    """

    def __init__(self, recording: Recording, modalities: Sequence[Modality], asked: bool = True) -> None:
        self.recording, self.modalities, self.asked = recording, modalities, asked

    def lacks(self, clip: Clip) -> Iterator[Lack]:
        """The modalities that have no readings in some of a clip.

        Of three samples or more the first and the last may lie beyond a stream's readings, as far as those
        hold; and a stream of a single reading is there wherever that holds.
        """
        for modality in self.modalities:
            seconds = moments(modality, clip.start_s, clip.stop_s)
            for name in modality.streams:
                if lost := self._lost(name, seconds):
                    why = Dropped(clip.recording, clip.subject, clip.activity, windows=1, stream=name, **lost)
                    yield Lack(clip.name, modality.name, why)
                    break

    def _lost(self, name: str, seconds: np.ndarray) -> dict[str, Any]:
        """Why a stream has no readings at all of these moments, from when to when; empty if it has."""
        if name not in self.recording.streams:
            return {"reason": NO_STREAM}
        stream, needed = self.recording.streams[name], inner(seconds)
        begins_s, ends_s = self._ends[name]
        if begins_s != ends_s:
            if begins_s > needed[0] + ROUNDING_S:
                return {"reason": BEFORE, "stop_s": begins_s}
            if ends_s < needed[-1] - ROUNDING_S:
                return {"reason": AFTER, "start_s": ends_s}
            silent = self._silent_s[name]
            first, last = np.searchsorted(silent, [seconds[0], seconds[-1]])
            if last > first:
                return {"reason": GAP, "start_s": float(silent[first]), "stop_s": float(silent[last - 1])}
            if not covers(stream, needed):
                return {"reason": GAP, "start_s": float(needed[0]), "stop_s": float(needed[-1])}
        unknown = self._unknown_s(stream, seconds)
        if not unknown:
            return {}
        if unknown[-1] < begins_s:
            return {"reason": BEFORE, "stop_s": begins_s}
        if unknown[0] > ends_s:
            return {"reason": AFTER, "start_s": ends_s}
        return {"reason": GAP, "start_s": unknown[0], "stop_s": unknown[-1]}

    def _unknown_s(self, stream: Stream, seconds: np.ndarray) -> list[float]:
        """Which of the moments that are read are NaN: in gaps too short to be seen, or far from an end."""
        if isinstance(stream, Video) or not self._is_asked(stream):
            return []
        values = stream.at(seconds).reshape(len(seconds), -1)
        unknown: list[float] = seconds[~np.isfinite(values).all(axis=1)].tolist()
        return unknown

    @cached_property
    def _ends(self) -> dict[str, tuple[float, float]]:
        """When each stream begins and ends."""
        streams = self.recording.streams
        names = dict.fromkeys(name for modality in self.modalities for name in modality.streams)
        return {name: ends_of(streams[name]) for name in names if name in streams}

    @cached_property
    def _silent_s(self) -> dict[str, np.ndarray]:
        """Moments without a reading of each stream; one that would have to be read for it has none."""
        return {
            name: silent_s(self.recording.streams[name], self.recording.name, *ends)
            if self._is_asked(self.recording.streams[name])
            else np.empty(0)
            for name, ends in self._ends.items()
        }

    def _is_asked(self, stream: Stream) -> bool:
        """Whether a stream is asked for its gaps: a video, a log, or readings in memory, few numbers each."""
        log = getattr(stream, "log", stream)
        if isinstance(stream, Video) or isinstance(log, SensorLog):
            return True
        values = getattr(stream, "values", None)
        at_hand = isinstance(values, np.ndarray) and values.dtype.kind == "f" and values[0].size <= LARGE
        return self.asked and at_hand


def lacking_table(lacking: Sequence[Lack]) -> pl.DataFrame:
    """One row for each: `clip, recording, subject, modality, reason, stream, start_s, stop_s`."""
    rows = [{"clip": lack.clip, "modality": lack.modality, **vars(lack.why)} for lack in lacking]
    return pl.DataFrame(rows, schema={"modality": pl.String, "clip": pl.String, **SCHEMA}).select(COLUMNS)
