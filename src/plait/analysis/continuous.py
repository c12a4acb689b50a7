"""Predictions for whole recordings against their labels: all scores that papers report of them.

A recording is labelled in places and recognised in places; all else is null. Frames tell how much time is
right, events how many activities are: a recogniser that flickers may have good frames and poor events.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from plait.analysis.events import (
    FOUND_EVENTS,
    OVERLAPS,
    TIOUS,
    TRUE_EVENTS,
    average_precisions,
    edit_score,
    event_errors,
    f1_at,
)
from plait.analysis.stretches import DECIMALS, Stretch, check_activities, within
from plait.errors import ConfigError
from plait.types import FINEST_S, LONGEST_S, Segment


class Scores(NamedTuple):
    """How good predictions for whole recordings are: shares from 0 to 1, None where nothing is to be scored.

    Frames are pooled over recordings. A macro mean is over the classes that occur in the labels or in the
    predictions of the frames it is about; 0 counts for what is divided by nothing (the precision of an
    activity never predicted, the recall of one never labelled). WEAR's script counts 1 there, OpenPack's
    takes the mean over all activities, those that do not occur included, with 0.

    Args:
        frames, labelled: how many frames there are, and how many have a label.
        accuracy: share of right frames, null where no label is.
        accuracy_labelled: the same of the frames with a label.
        precision, recall, macro_f1: macro means over activities and null, of all frames (as WEAR reports).
        macro_f1_activities: of all frames, over activities alone: null is not averaged over.
        macro_f1_labelled: of the frames with a label, over activities alone; null predicted there is a miss
            (as OpenPack reports).
        mean_ap: mean of `mean_ap_at`.
        mean_ap_at: by temporal IoU, the mean of `average_precisions` over the activities with a label; from
            all recordings at once, while WEAR's script averages it over folds.
        edit: `edit_score`.
        f1_at: by overlap, the function of that name.
        events: by kind of error, how many events there are of any activity, as in `event_errors`.
        by_activity: a row per activity, last null (whose `activity` is null): `activity, frames` (labelled),
            `precision, recall, f1` of all frames, null if neither labelled nor predicted; `f1_labelled` of
            frames with a label; `average_precision`, mean over IoUs; and the columns of `event_errors`.
    """

    frames: int
    labelled: int
    accuracy: float | None
    accuracy_labelled: float | None
    precision: float | None
    recall: float | None
    macro_f1: float | None
    macro_f1_activities: float | None
    macro_f1_labelled: float | None
    mean_ap: float | None
    mean_ap_at: dict[float, float | None]
    edit: float | None
    f1_at: dict[float, float | None]
    events: dict[str, int]
    by_activity: pl.DataFrame


def scores(stretches: Sequence[Stretch], activities: Sequence[str], step_s: float) -> Scores:
    """All scores of the predictions in `stretches`, whatever the order in which these come.

    Args:
        stretches: labels and predictions of recordings.
        activities: all that may be labelled or predicted, null not among them.
        step_s: from one frame to the next, in seconds.

    Raises:
        DataError: a label or prediction is not of `activities`.
        ConfigError: `step_s` is out of range, or an activity is there twice.
    """
    stretches = sorted(stretches, key=lambda stretch: (stretch.recording, stretch.extent))
    confusion = frame_confusion(stretches, activities, step_s)
    labelled = confusion[:-1]
    everywhere, inside = precision_recall_f1(confusion), precision_recall_f1(labelled)
    precisions = average_precisions(stretches, activities)
    mean_ap_at = {tiou: _mean(column) for tiou, column in zip(TIOUS, precisions.T, strict=True)}
    errors = event_errors(stretches, activities)
    return Scores(
        frames=int(confusion.sum()),
        labelled=int(labelled.sum()),
        accuracy=_share(confusion),
        accuracy_labelled=_share(labelled),
        precision=_mean(everywhere[:, 0]),
        recall=_mean(everywhere[:, 1]),
        macro_f1=_mean(everywhere[:, 2]),
        macro_f1_activities=_mean(everywhere[:-1, 2]),
        macro_f1_labelled=_mean(inside[:, 2]),
        mean_ap=_mean(precisions),
        mean_ap_at=mean_ap_at,
        edit=edit_score(stretches),
        f1_at=f1_at(stretches, OVERLAPS),
        events={kind: int(errors[kind].sum()) for kind in (*TRUE_EVENTS, *FOUND_EVENTS)},
        by_activity=_by_activity(activities, confusion, precisions).join(
            errors, on="activity", how="left", maintain_order="left"
        ),
    )


def frame_confusion(stretches: Sequence[Stretch], activities: Sequence[str], step_s: float) -> np.ndarray:
    """Frames by label and by prediction, `(activities + 1, activities + 1)`; the last of both is null.

    Frames are `step_s` long from the start of the extent on. Each shows what is there at its centre; one
    whose centre is not within the extent is none.

    Raises:
        DataError: a label or prediction is not of `activities`.
        ConfigError: `step_s` is out of range, or an activity is there twice.
    """
    check_activities(stretches, activities)
    if not FINEST_S <= step_s <= LONGEST_S:
        raise ConfigError(f"scores: step_s is {step_s}, expected {FINEST_S:g} to {LONGEST_S:g}")
    classes = len(activities) + 1
    confusion = np.zeros(classes * classes, np.int64)
    for stretch in stretches:
        truth, found = frames(stretch, activities, step_s)
        confusion += np.bincount(truth * classes + found, minlength=len(confusion))
    return confusion.reshape(classes, classes)


def frames(stretch: Stretch, activities: Sequence[str], step_s: float) -> tuple[np.ndarray, np.ndarray]:
    """What is labelled and what is recognised in each frame, as in `frame_confusion`: two times `(frames,)`.

    Numbers are places among `activities`; the one behind the last is null. Where time without a label does
    not count, nothing is recognised in it.
    """
    start_s, stop_s = stretch.extent
    count = max(0, int(np.ceil((stop_s - start_s) / step_s - 0.5 - 1e-9)))
    centres = np.round(start_s + (np.arange(count) + 0.5) * step_s, DECIMALS)
    truth, found = (_sampled(centres, side, activities) for side in (stretch.truth, stretch.found))
    return truth, np.where(truth == len(activities), truth, found) if stretch.leave_out else found


def precision_recall_f1(confusion: np.ndarray) -> np.ndarray:
    """Precision, recall and F1 of each class, `(classes, 3)`.

    `confusion` counts by label and by prediction, `(classes, predictions)`; predictions beyond the classes
    are all wrong. A quotient by nothing is 0; a class that is neither labelled nor predicted has NaN.
    """
    right = np.diag(confusion).astype(np.float64)
    labelled, predicted = confusion.sum(axis=1), confusion.sum(axis=0)[: len(confusion)]
    parts = np.stack([right, right, 2 * right], axis=1)
    wholes = np.stack([predicted, labelled, predicted + labelled], axis=1)
    shares: np.ndarray = np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)
    shares[labelled + predicted == 0] = np.nan
    return shares


def _sampled(centres: np.ndarray, segments: Sequence[Segment], activities: Sequence[str]) -> np.ndarray:
    """The place of what is there at each centre among the activities; behind the last: null."""
    places = {activity: place for place, activity in enumerate(activities)}
    classes = np.array([*(places[segment.activity] for segment in segments), len(activities)])
    return np.asarray(classes[within(centres, segments)])


def _by_activity(activities: Sequence[str], confusion: np.ndarray, precisions: np.ndarray) -> pl.DataFrame:
    """What frames and segments say of each activity, and of null in the last row."""
    everywhere, inside = precision_recall_f1(confusion), precision_recall_f1(confusion[:-1])
    table = pl.DataFrame(
        {
            "activity": pl.Series([*activities, None], dtype=pl.String),
            "frames": confusion.sum(axis=1),
            "precision": everywhere[:, 0],
            "recall": everywhere[:, 1],
            "f1": everywhere[:, 2],
            "f1_labelled": np.append(inside[:, 2], np.nan),
            "average_precision": np.append(precisions.mean(axis=1), np.nan),
        }
    )
    return table.with_columns(pl.col(pl.Float64).fill_nan(None))


def _share(confusion: np.ndarray) -> float | None:
    """The share of right frames, of those that there are."""
    return float(np.trace(confusion) / confusion.sum()) if confusion.sum() else None


def _mean(values: np.ndarray) -> float | None:
    """The mean of the values that there are."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None
