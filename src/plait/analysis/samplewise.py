"""Whole recordings sample by sample, smoothed by a majority filter, as WEAR's own evaluation scores them.

Metrics of recordings (`plait.datasets.published.Metric`): each takes, fold by fold, what was recognised in
the recordings of its test people, and is the mean over folds. Null is a class as others are, and the first:
of equally many samples the filter takes the class that comes first.

Source: github.com/mariusbock/wear, `postprocessing/majority_fil.py` and `utils.py`, from which two things
differ. There the end of a segment is its last sample, and a segment that lasts to the end of a recording is
none; here segments last as long as their samples. There segments with equal scores come in an order that is
left open; here in order of time (`plait.analysis.events.average_precisions`).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from plait.analysis.continuous import frames, precision_recall_f1
from plait.analysis.events import TIOUS, average_precisions
from plait.analysis.stretches import DECIMALS, Stretch
from plait.errors import ConfigError
from plait.types import Segment

Folds = Sequence[Sequence[Stretch]]


def precision(folds: Folds, activities: Sequence[str], step_s: float, filter_s: float = 0.0) -> float | None:
    """Mean precision over the activities and null that occur in a fold; 0 for one that is never right.

    Args:
        folds: what was recognised, fold by fold.
        activities: that are not null.
        step_s: from one sample to the next, in seconds.
        filter_s: the length of the majority filter, in seconds; 0: none.
    """
    return _mean_of(0, folds, activities, step_s, filter_s)


def recall(folds: Folds, activities: Sequence[str], step_s: float, filter_s: float = 0.0) -> float | None:
    """Mean recall, as `precision`."""
    return _mean_of(1, folds, activities, step_s, filter_s)


def f1(folds: Folds, activities: Sequence[str], step_s: float, filter_s: float = 0.0) -> float | None:
    """Mean F1, as `precision`."""
    return _mean_of(2, folds, activities, step_s, filter_s)


def mean_ap(
    folds: Folds,
    activities: Sequence[str],
    step_s: float,
    filter_s: float = 0.0,
    tious: Sequence[float] = TIOUS,
) -> float | None:
    """Mean average precision over temporal IoUs and the activities with a label.

    Samples of one activity are a segment. It has no score: all count alike, as in WEAR's evaluation of what
    is recognised sample by sample.

    Args:
        folds: as in `precision`.
        activities: likewise.
        step_s: likewise.
        filter_s: likewise.
        tious: temporal IoUs.
    """
    found = [[smoothed(stretch, activities, step_s, filter_s) for stretch in fold] for fold in folds]
    precisions = [average_precisions(fold, activities, tious) for fold in found]
    return _mean([float(np.nanmean(table)) for table in precisions if not np.isnan(table).all()])


def majority(labels: np.ndarray, length: int) -> np.ndarray:
    """The commonest label among the `length` around each of `labels` `(n,)`, whole numbers from 0 on.

    Near both ends, it is that of the first, or the last, `length`. Of equally many, the smallest.

    Args:
        labels: of samples, one after the other.
        length: an odd number of samples.

    Raises:
        ConfigError: an even number, or none.
    """
    if length < 1 or length % 2 == 0:
        raise ConfigError(f"majority filter: {length} samples, expected an odd number")
    n, half = len(labels), length // 2
    if n == 0:
        return labels
    counts = np.zeros((n + 1, int(labels.max()) + 1), np.int64)
    np.cumsum(labels[:, None] == np.arange(counts.shape[1]), axis=0, out=counts[1:])
    first = np.clip(np.arange(n) - half, 0, max(0, n - length))
    found: np.ndarray = (counts[np.minimum(first + length, n)] - counts[first]).argmax(axis=1)
    return found


def smoothed(stretch: Stretch, activities: Sequence[str], step_s: float, filter_s: float) -> Stretch:
    """A recording with the segments that its samples come to after the majority filter, all of score 1."""
    _, found = _samples(replace(stretch, leave_out=False), activities, step_s, filter_s)  # no edge of labels
    start_s, stop_s = stretch.extent
    edges = np.flatnonzero(np.diff(found, prepend=-1, append=-1))
    segments = [
        Segment(
            round(start_s + first * step_s, DECIMALS),
            round(min(start_s + last * step_s, stop_s), DECIMALS),
            activities[found[first] - 1],
        )
        for first, last in pairwise(edges.tolist())
        if found[first]
    ]
    return replace(stretch, predictions=segments)


def _mean_of(
    place: int, folds: Folds, activities: Sequence[str], step_s: float, filter_s: float
) -> float | None:
    """The mean over folds of one of `precision_recall_f1`'s columns, itself a mean over classes."""
    classes = len(activities) + 1
    means = []
    for fold in folds:
        confusion = np.zeros(classes * classes, np.int64)
        for stretch in fold:
            truth, found = _samples(stretch, activities, step_s, filter_s)
            confusion += np.bincount(truth * classes + found, minlength=len(confusion))
        if confusion.any():
            shares = precision_recall_f1(confusion.reshape(classes, classes))[:, place]
            means.append(float(np.nanmean(shares)))
    return _mean(means)


def _samples(
    stretch: Stretch, activities: Sequence[str], step_s: float, filter_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """What is labelled and what is recognised, sample by sample, smoothed; 0 is null, then the activities."""
    truth, found = ((side + 1) % (len(activities) + 1) for side in frames(stretch, activities, step_s))
    return truth, found if filter_s == 0 else majority(found, 2 * round(filter_s / step_s / 2) + 1)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
