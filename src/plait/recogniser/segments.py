"""From scores of windows that overlap to segments: time is cut into slots, and like neighbours are joined."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from plait.clips.windows import ROUNDING_S
from plait.errors import DataError
from plait.types import Segment

REFUSED = -1  # the label of a slot of which nothing is said


@dataclass(frozen=True, eq=False)
class Slots:
    """Stretches of time in order, none overlapping another, and the scores in each; elsewhere is a gap.

    `starts_s` and `stops_s` have shape `(slots,)`, `scores` has shape `(slots, classes)`.
    """

    starts_s: np.ndarray
    stops_s: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.starts_s)

    @property
    def lengths_s(self) -> np.ndarray:
        """How long each slot is, in seconds."""
        lengths: np.ndarray = self.stops_s - self.starts_s
        return lengths

    def runs(self) -> Iterator["Slots"]:
        """The slots between one gap and the next, in order of time."""
        for first, last in stretches(self, np.zeros(len(self))):
            yield Slots(self.starts_s[first:last], self.stops_s[first:last], self.scores[first:last])


def slots(starts_s: np.ndarray, stops_s: np.ndarray, scores: np.ndarray) -> Slots:
    """Time cut wherever a window starts or stops, and in each slot the mean score of the windows over it.

    Moments less than a microsecond apart are one, the earliest of them. A slot depends on nothing but the
    windows that touch it, whose scores are added in order of their starts: slots that stop before the latest
    window starts, or as it does, stay as they are whatever windows follow.

    Args:
        starts_s: of the windows, `(windows,)`, in any order.
        stops_s: likewise.
        scores: likewise, `(windows, classes)`.

    Raises:
        DataError: shapes that disagree, numbers that are not finite, or a window that ends as it starts.
    """
    starts_s, stops_s = np.asarray(starts_s, dtype=np.float64), np.asarray(stops_s, dtype=np.float64)
    scores = np.asarray(scores, dtype=np.float64)
    _check(starts_s, stops_s, scores)
    order = np.lexsort((stops_s, starts_s))
    edges = np.sort(np.concatenate([starts_s, stops_s]))
    edges = edges[np.diff(edges, prepend=-np.inf) > ROUNDING_S]
    places = np.searchsorted(edges, np.stack([starts_s, stops_s]), side="right") - 1
    sums, windows = np.zeros((len(edges), scores.shape[1])), np.zeros(len(edges))
    for window in order:
        first, last = places[:, window]
        sums[first:last] += scores[window]
        windows[first:last] += 1
    covered = np.flatnonzero(windows)
    return Slots(edges[covered], edges[covered + 1], sums[covered] / windows[covered, None])


def _check(starts_s: np.ndarray, stops_s: np.ndarray, scores: np.ndarray) -> None:
    if starts_s.ndim != 1 or starts_s.shape != stops_s.shape or scores.shape[:1] != starts_s.shape:
        shapes = f"starts {starts_s.shape}, stops {stops_s.shape}, scores {scores.shape}"
        raise DataError(f"windows: {shapes}, expected (n,), (n,) and (n, classes)")
    if scores.ndim != 2:
        raise DataError(f"windows: scores of shape {scores.shape}, expected (n, classes)")
    sound = np.isfinite(stops_s - starts_s) & (stops_s - starts_s > ROUNDING_S)
    if not sound.all():
        window = int(np.flatnonzero(~sound)[0])
        where = f"from {starts_s[window]} s to {stops_s[window]} s"
        raise DataError(f"windows: number {window} is {where}, expected finite numbers and a later end")
    if not np.isfinite(scores).all():
        window = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise DataError(f"windows: number {window}: scores {scores[window]}, expected finite numbers")


def stretches(slots: Slots, labels: np.ndarray) -> list[tuple[int, int]]:
    """First slot, and the one behind the last, of each run of slots with one label and without a gap."""
    if not len(slots):
        return []
    gap = slots.starts_s[1:] - slots.stops_s[:-1] > ROUNDING_S
    inner = np.flatnonzero(gap | (np.diff(labels) != 0)) + 1
    return list(pairwise([0, *inner.tolist(), len(slots)]))


def segments(
    slots: Slots,
    labels: np.ndarray,
    activities: Sequence[str],
    unlabelled: str | None = None,
    leave_out: bool = True,
) -> list[Segment]:
    """Neighbouring slots of one label as one segment; its score is the mean over its time.

    Args:
        slots: as `slots` gives them.
        labels: of each, a place among `activities` or `REFUSED`, `(slots,)`.
        activities: in the order of the scores.
        unlabelled: the name of what is nothing: refused slots count as it, whether it is an activity or not.
            The score of a name that is none is what the highest score leaves.
        leave_out: nothing, and what was refused, gives no segment. Without a name, refused slots never do.
    """
    places = {activity: place for place, activity in enumerate(activities)}
    nothing = places.get(unlabelled, REFUSED) if unlabelled is not None else REFUSED
    labels = np.where(labels == REFUSED, nothing, labels)
    found = []
    for first, last in stretches(slots, labels):
        label = int(labels[first])
        refused = label == REFUSED
        name = unlabelled if refused else activities[label]
        if name is None or (leave_out and name == unlabelled):
            continue
        part = slots.scores[first:last]
        values = 1 - part.max(axis=1) if refused else part[:, label]
        lengths_s = slots.lengths_s[first:last]
        score = float(np.clip((values * lengths_s).sum() / lengths_s.sum(), 0, 1))
        found.append(Segment(float(slots.starts_s[first]), float(slots.stops_s[last - 1]), name, score))
    return found
