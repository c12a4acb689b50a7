"""What the windows of one recording come to: slots, their labels, segments."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl

from plait.recogniser.decoding import Decoding, decode, highest
from plait.recogniser.model import Unlabelled
from plait.recogniser.segments import Slots, segments, slots
from plait.types import Segment


class Reads(Protocol):
    """How windows are read: by a model, or as they were in a prediction."""

    @property
    def activities(self) -> tuple[str, ...]:
        """In the order of the scores."""
        ...

    @property
    def decoding(self) -> Decoding:
        """How slots get labels."""
        ...

    @property
    def transitions(self) -> tuple[tuple[float, ...], ...]:
        """Between activities, where decoding asks for them."""
        ...

    @property
    def unlabelled(self) -> Unlabelled:
        """What time without a label is."""
        ...


@dataclass(frozen=True)
class Recognised:
    """What was recognised in one recording.

    Args:
        slots: the time, cut where windows begin and end, each piece with the mean score of those over it.
        labels: of each slot, a place among the activities, or `REFUSED`.
        segments: what these come to, without the activity that stands for none.
    """

    slots: Slots
    labels: np.ndarray
    segments: list[Segment]

    @property
    def changed_s(self) -> float:
        """The seconds in which decoding says something else than the scores alone."""
        return float(self.slots.lengths_s[self.labels != highest(self.slots)].sum())


def recognise(how: Reads, table: pl.DataFrame) -> Recognised:
    """What the windows of one recording come to.

    Args:
        how: they are read.
        table: `timeline.WINDOWS`, of one recording.
    """
    found = slots_of(how, table)
    labels = decode(found, how.decoding, how.transitions or None)
    return Recognised(found, labels, segments(found, labels, how.activities, how.unlabelled.activity))


def slots_of(how: Reads, table: pl.DataFrame) -> Slots:
    """The slots of one recording's windows, `timeline.WINDOWS`."""
    scores = np.array(table["scores"].to_list(), np.float64).reshape(len(table), len(how.activities))
    return slots(table["start_s"].to_numpy(), table["stop_s"].to_numpy(), scores)


def rows_of(table: pl.DataFrame, recording: str) -> pl.DataFrame:
    """The windows of one recording, in order of time."""
    return table.filter(pl.col("recording") == recording).sort("start_s", maintain_order=True)
