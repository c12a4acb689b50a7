"""How well activities are found as events: average precision, edit score, F1 at an overlap, kinds of error.

Overlaps and lengths are in seconds that count (`Stretch.counted`): where unlabelled time is left out, a
segment that goes on through it is one segment, no longer for it.

Shares lie between 0 and 1; the papers give most of them in percent.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from plait.analysis.stretches import Run, Stretch, bounds, check_activities, runs, with_null, within
from plait.types import Segment

TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
OVERLAPS = (0.1, 0.25, 0.5)
ROUNDING = 1e-9  # of a share
TRUE_EVENTS = ("labelled", "correct", "deleted", "fragmented", "merged", "fragmented_merged")
FOUND_EVENTS = ("predicted", "inserted", "fragmenting", "merging", "fragmenting_merging")
TIMES = ("right_s", "deletion_s", "fragmenting_s", "underfill_s", "insertion_s", "merge_s", "overfill_s")


def average_precisions(
    stretches: Sequence[Stretch], activities: Sequence[str], tious: Sequence[float] = TIOUS
) -> np.ndarray:
    """Average precision of each activity at each temporal IoU, `(activities, tious)`, as ActivityNet has it.

    The predictions of an activity in all stretches, from the highest score on, each take the label with the
    highest IoU among those of their stretch that are still free, if that is at least the threshold; else they
    are wrong. Precision is interpolated: at each recall the highest that is reached there or later (VOC
    2011). The mean over activities is mAP. ActivityNet's own code leaves the order of equal scores open; here
    it is that of the recordings' names, then of time; of labels with equal IoU the earliest is taken.

    Segments count as they are given: two that touch are two. An activity without a label is NaN.

    Raises:
        DataError: a label or prediction is not of `activities`.
        ConfigError: an activity is there twice.
    """
    check_activities(stretches, activities)
    return np.array([_average_precision(stretches, activity, tious) for activity in activities]).reshape(
        len(activities), len(tious)
    )


def edit_score(stretches: Sequence[Stretch], null: bool = False) -> float | None:
    """Segmental edit score (C. Lea et al., 2016): are the activities right, and in the right order?

    One minus the Levenshtein distance of the recognised activities to those labelled, over the longer of the
    two sequences; mean over stretches. Segments of one activity that touch are one.

    Args:
        stretches: at least some of them with a label or a prediction: those with neither have no score.
        null: unlabelled time counts as an activity; by default it is passed over.
    """
    scores = []
    for stretch in stretches:
        truth, found = ([run.activity for run in side] for side in _sides(stretch, null))
        if truth or found:
            scores.append(1 - _levenshtein(found, truth) / max(len(truth), len(found)))
    return float(np.mean(scores)) if scores else None


def f1_at(
    stretches: Sequence[Stretch], overlaps: Sequence[float] = OVERLAPS, null: bool = False
) -> dict[float, float | None]:
    """Segmental F1 at each overlap (C. Lea et al., CVPR 2017): how many segments are right, long or short.

    From the first to the last, a predicted segment is right if the label of its activity with the highest IoU
    reaches the overlap and no earlier segment has taken it; it takes no other instead. Right, wrong and
    missed segments are summed over stretches, as Y. Abu Farha and J. Gall do (MS-TCN, CVPR 2019); Lea et al.
    average F1 over recordings. Segments of one activity that touch are one. None where there are no segments.

    Args:
        stretches: what is compared.
        overlaps: thresholds of IoU.
        null: unlabelled time counts as an activity; by default it is passed over.
    """
    right = dict.fromkeys(overlaps, 0)
    segments = 0
    for stretch in stretches:
        truth, found = _sides(stretch, null)
        segments += len(truth) + len(found)
        same = np.array([[run.activity == label.activity for label in truth] for run in found], np.bool_)
        if same.any():
            iou = np.where(same, _iou(_counted(stretch, found), _counted(stretch, truth)), 0.0)
            for overlap in overlaps:
                hits = iou.max(axis=1) >= overlap - ROUNDING
                # A label is right once, whichever of the segments that reach it came first.
                right[overlap] += len(np.unique(iou.argmax(axis=1)[hits]))
    return {overlap: 2 * right[overlap] / segments if segments else None for overlap in overlaps}


def event_errors(stretches: Sequence[Stretch], activities: Sequence[str]) -> pl.DataFrame:
    """Kinds of error of each activity against all else (J. A. Ward et al., ACM TIST 2(1), 2011).

    A row per activity; segments of one activity that touch are one event. Of the labelled events, each is one
    of `correct` (it and a single prediction overlap, and nothing else does with either), `deleted` (no
    prediction overlaps it), `fragmented` (several do), `merged` (one that overlaps other labels too) or
    `fragmented_merged` (both). Of the predicted events, those that are not correct are `inserted` (overlap no
    label), `merging` (several), `fragmenting` (one that is fragmented) or both.

    In seconds, labelled time is `right_s`, `deletion_s` (a whole event is missed), `fragmenting_s` (a gap
    between two right parts of an event) or `underfill_s` (its start or its end is missed). Time wrongly
    recognised is `insertion_s`, `merge_s` (between two events that a prediction joins) or `overfill_s`
    (before or after one).

    Raises:
        DataError: a label or prediction is not of `activities`.
        ConfigError: an activity is there twice.
    """
    check_activities(stretches, activities)
    columns = (*TRUE_EVENTS, *FOUND_EVENTS, *TIMES)
    totals = {activity: np.zeros(len(columns)) for activity in activities}
    for stretch in stretches:
        truth, found = _sides(stretch, null=False)
        for activity in activities:
            labels = [run for run in truth if run.activity == activity]
            predictions = [run for run in found if run.activity == activity]
            if labels or predictions:
                ends = _counted(stretch, labels), _counted(stretch, predictions)
                totals[activity] += [*_counts(*ends), *_seconds(stretch, labels, predictions)]
    table = pl.DataFrame(list(totals.values()), schema=dict.fromkeys(columns, pl.Float64), orient="row")
    events = pl.col(*TRUE_EVENTS, *FOUND_EVENTS).cast(pl.Int64)
    return table.select(pl.Series("activity", list(activities), pl.String), events, pl.col(TIMES))


def _average_precision(stretches: Sequence[Stretch], activity: str, tious: Sequence[float]) -> np.ndarray:
    labels = [
        _counted(stretch, [s for s in stretch.truth if s.activity == activity]) for stretch in stretches
    ]
    count = sum(map(len, labels))
    if count == 0:
        return np.full(len(tious), np.nan)
    ranked = sorted(
        (-segment.score, stretch.recording, segment, number)
        for number, stretch in enumerate(stretches)
        for segment in stretch.found
        if segment.activity == activity and np.diff(_counted(stretch, [segment])) > 0
    )
    free = [np.ones((len(tious), len(spans)), np.bool_) for spans in labels]
    right = np.zeros((len(tious), len(ranked)))
    for rank, (*_, segment, number) in enumerate(ranked):
        iou = _iou(_counted(stretches[number], [segment]), labels[number])[0]
        for row, tiou in enumerate(tious):
            reached = np.flatnonzero(free[number][row] & (iou >= tiou - ROUNDING))
            if len(reached):
                free[number][row, reached[iou[reached].argmax()]] = False
                right[row, rank] = 1
    precision = right.cumsum(axis=1) / np.arange(1, len(ranked) + 1)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.asarray((highest * right).sum(axis=1) / count)


def _sides(stretch: Stretch, null: bool) -> tuple[list[Run], list[Run]]:
    """The runs of the labels and of the predictions, those that count."""
    sides = runs(stretch.truth), runs(stretch.found)
    if null:
        sides = with_null(sides[0], stretch.extent), with_null(sides[1], stretch.extent)
    truth, found = ([run for run in side if np.diff(_counted(stretch, [run])) > 0] for side in sides)
    return truth, found


def _counted(stretch: Stretch, segments: Sequence[Segment] | Sequence[Run]) -> np.ndarray:
    """When each of the segments starts and stops, `(segments, 2)`, in seconds that count."""
    return stretch.counted(bounds(segments))


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of spans `(n, 2)` with spans `(m, 2)`: `(n, m)`."""
    union = np.diff(first) + np.diff(second).T - _common_s(first, second)
    return np.asarray(_common_s(first, second) / union)


def _common_s(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Seconds that spans `(n, 2)` and spans `(m, 2)` have in common: `(n, m)`."""
    starts = np.maximum(first[:, None, 0], second[None, :, 0])
    stops = np.minimum(first[:, None, 1], second[None, :, 1])
    return np.asarray(np.maximum(stops - starts, 0.0))


def _levenshtein(first: Sequence[str | None], second: Sequence[str | None]) -> int:
    """The fewest insertions, deletions and substitutions that make one sequence of the other."""
    steps = np.arange(len(second) + 1)
    row = steps
    for place, item in enumerate(first, 1):
        different = np.array([item != other for other in second], np.int64)
        above = np.concatenate([[place], np.minimum(row[1:] + 1, row[:-1] + different)])
        row = np.minimum.accumulate(above - steps) + steps
    return int(row[-1])


def _counts(labels: np.ndarray, predictions: np.ndarray) -> list[int]:
    """One activity's events in one stretch, as `TRUE_EVENTS` and `FOUND_EVENTS`, from their ends `(n, 2)`."""
    overlap = _common_s(labels, predictions) > 0
    fragmented, merging = overlap.sum(axis=1) > 1, overlap.sum(axis=0) > 1
    merged, fragmenting = (overlap & merging).any(axis=1), (overlap & fragmented[:, None]).any(axis=0)
    deleted, inserted = ~overlap.any(axis=1), ~overlap.any(axis=0)
    correct = ~(deleted | fragmented | merged)
    true = correct, deleted, fragmented & ~merged, merged & ~fragmented, fragmented & merged
    found = inserted, fragmenting & ~merging, merging & ~fragmenting, fragmenting & merging
    kinds = [int(kind.sum()) for kind in (*true, *found)]
    return [len(labels), *kinds[:5], len(predictions), *kinds[5:]]


def _seconds(stretch: Stretch, labels: Sequence[Run], predictions: Sequence[Run]) -> list[float]:
    """One activity's time in one stretch, as `TIMES`.

    Between two boundaries, time is right, missed, wrong or none of these; what kind of error it is depends on
    how many of its two neighbours are right.
    """
    edges = np.unique(np.concatenate([bounds(labels), bounds(predictions)]))
    middles = (edges[1:] + edges[:-1]) / 2
    labelled, predicted = within(middles, labels) >= 0, within(middles, predictions) >= 0
    right = labelled & predicted
    padded = np.pad(right.astype(np.int64), 1)
    beside = padded[:-2] + padded[2:]
    missed = [labelled & ~predicted & (beside == neighbours) for neighbours in (0, 2, 1)]
    wrong = [predicted & ~labelled & (beside == neighbours) for neighbours in (0, 2, 1)]
    lengths_s = np.diff(stretch.counted(edges))
    return [float(lengths_s[part].sum()) for part in (right, *missed, *wrong)]
