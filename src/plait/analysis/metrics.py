"""Accuracy, F1 and confusion as pure functions of the predictions table.

Every function takes the table that `plait run` writes: one row per method, fold, seed and test clip, with the
columns `method, fold, seed, clip, subject, activity, predicted`. Shares lie between 0 and 1. Methods,
subjects and activities keep the order in which they are met or given.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

# However often seeds and folds test them.
CLIPS = pl.struct("subject", "clip").n_unique()
ROUNDING = 1e-9  # two means of shares of clips that come to the same lie no farther apart


def summary(predictions: pl.DataFrame, activities: Sequence[str]) -> pl.DataFrame:
    """One row per method: how good it is, how much that varies over people, and on what it was tested.

    * `accuracy`: share of right clips in a fold, averaged over seeds, then over folds.
    * `subject_sd`: sample standard deviation (n - 1) of the subjects' accuracies, seeds averaged first; null
      for a single subject.
    * `macro_f1`: unweighted mean of F1 over all `activities`, from all test clips pooled over folds, one per
      seed, averaged over seeds. An activity that is never right counts 0.
    * `folds`, `subjects`, `seeds`, `clips`: how many there are.
    * `balanced_accuracy`: mean recall over the activities that were performed, one per seed, averaged over
      seeds.
    """
    accuracy = by_fold(predictions).group_by("method").agg(pl.col("accuracy").mean())
    spread = by_subject(predictions).group_by("method").agg(subject_sd=pl.col("accuracy").std())
    over_activities = (
        by_activity(predictions, activities)
        .group_by("method")
        .agg(macro_f1=pl.col("f1").mean(), balanced_accuracy=pl.col("recall").mean())
    )
    counts = predictions.group_by("method", maintain_order=True).agg(
        folds=pl.col("fold").n_unique(),
        subjects=pl.col("subject").n_unique(),
        seeds=pl.col("seed").n_unique(),
        clips=pl.col("clip").n_unique(),
    )
    return (
        counts.join(accuracy, on="method", maintain_order="left")
        .join(spread, on="method", maintain_order="left")
        .join(over_activities, on="method", maintain_order="left")
        .select("method", "accuracy", "subject_sd", "macro_f1", *counts.columns[1:], "balanced_accuracy")
    )


def chance(predictions: pl.DataFrame, unit: str = "fold") -> tuple[str, float]:
    """The activity that is right most often where it is always said, and how often that is.

    An accuracy of the test clips as those of methods are, mean over each `unit` (`fold` or `subject`): what
    can be had without looking. It is 1 / activities where everybody does each as often, else more.
    """
    clips = predictions.unique(["fold", "clip"], maintain_order=True)
    units = clips[unit].n_unique()
    shares = clips.group_by(unit, "activity", maintain_order=True).agg(clips=pl.len())
    shares = shares.with_columns(share=pl.col("clips") / pl.col("clips").sum().over(unit))
    means = shares.group_by("activity", maintain_order=True).agg(pl.col("share").sum() / units)
    commonest, share = max(means.iter_rows(), key=lambda row: (row[1], row[0]))
    return str(commonest), float(share)


def first_best(names: Sequence[str], values: Mapping[str, float]) -> str:
    """The first of `names` with the highest value; sums in another order may differ in their last digits."""
    highest = max(values[name] for name in names)
    return next(name for name in names if values[name] >= highest - ROUNDING)


def by_subject(predictions: pl.DataFrame) -> pl.DataFrame:
    """Accuracy of each method on each subject, seeds averaged: `method, subject, accuracy, clips`."""
    return _accuracy(predictions, "subject")


def by_fold(predictions: pl.DataFrame) -> pl.DataFrame:
    """Accuracy of each method in each fold, seeds averaged: `method, fold, accuracy, clips`."""
    return _accuracy(predictions, "fold")


def by_epoch(histories: pl.DataFrame) -> pl.DataFrame:
    """Learning curves, mean over jobs, and how far folds lie apart.

    `method, phase, epoch, loss, val_accuracy, val_loss, jobs, loss_low, loss_high, val_loss_low,
    val_loss_high`: an epoch's mean is over the jobs that reached it, low and high are of the means over seeds
    of each fold that did. `histories` is `results.read_histories`.
    """
    epoch = ["method", "phase", "epoch"]
    means = pl.col("loss", "val_accuracy", "val_loss").mean()
    grouped = histories.group_by(epoch, maintain_order=True).agg(means, jobs=pl.len().cast(pl.Int64))
    losses = pl.col("loss", "val_loss")
    folds = histories.group_by([*epoch, "fold"], maintain_order=True).agg(losses.mean())
    lowest, highest = losses.min().name.suffix("_low"), losses.max().name.suffix("_high")
    spread = folds.group_by(epoch, maintain_order=True).agg(lowest, highest)
    ends = [f"{name}_{end}" for name in ("loss", "val_loss") for end in ("low", "high")]
    phases = pl.col("phase").replace_strict({"train": 0, "refit": 1}, default=2)
    order = [pl.col("method").rank("dense"), phases, pl.col("epoch")]
    table = grouped.join(spread, on=epoch, how="left", maintain_order="left")
    return table.select(*grouped.columns, *ends).sort(order, maintain_order=True)


def by_activity(predictions: pl.DataFrame, activities: Sequence[str]) -> pl.DataFrame:
    """How well each method knows each activity: `method, activity, recall, precision, f1, clips`.

    Test clips are pooled over folds, one value per seed, averaged over seeds; `clips` count once. `recall` is
    null for an activity that was never performed; `precision` and `f1` are 0 where nothing was ever right.
    The mean of a method's `f1` over `activities` is its macro F1.
    """
    parts = []
    for (method, _), rows in predictions.group_by("method", "seed", maintain_order=True):
        truth, predicted, times = _pairs(rows)
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, predicted, labels=list(activities), zero_division=0, sample_weight=times
        )
        table = pl.DataFrame(
            {"activity": list(activities), "recall": recall, "precision": precision, "f1": f1}
        )
        parts.append(table.select(pl.lit(method).alias("method"), pl.all()))
    counts = predictions.group_by("method", "activity").agg(clips=CLIPS)
    return (
        pl.concat(parts)
        .group_by("method", "activity", maintain_order=True)
        .agg(pl.col("recall", "precision", "f1").mean())
        .join(counts, on=["method", "activity"], how="left", maintain_order="left")
        .with_columns(pl.col("clips").fill_null(0), recall=pl.when(pl.col("clips") > 0).then("recall"))
    )


def confusion(predictions: pl.DataFrame, method: str, activities: Sequence[str]) -> np.ndarray:
    """Clips of `method` by true and predicted activity, `(activities, activities)`, over seeds and folds."""
    truth, predicted, times = _pairs(predictions.filter(pl.col("method") == method))
    counts: np.ndarray = confusion_matrix(
        truth, predicted, labels=list(activities), sample_weight=times.astype(np.int64)
    )
    return counts


def _pairs(rows: pl.DataFrame) -> tuple[list[str], list[str], np.ndarray]:
    """What was done and what was predicted, each pair once, and how often it occurs."""
    pairs = rows.group_by("activity", "predicted", maintain_order=True).len()
    return pairs["activity"].to_list(), pairs["predicted"].to_list(), pairs["len"].to_numpy()


def subject_confusion(predictions: pl.DataFrame) -> pl.DataFrame:
    """The same for each subject: `method, subject, activity, predicted, clips`, only the pairs that occur."""
    pair = ("method", "subject", "activity", "predicted")
    return predictions.group_by(pair, maintain_order=True).agg(clips=pl.len().cast(pl.Int64))


def _accuracy(predictions: pl.DataFrame, unit: str) -> pl.DataFrame:
    """Share of right clips per method and fold or subject (`unit`), seeds averaged; clips count once."""
    right = (pl.col("activity") == pl.col("predicted")).mean()
    return (
        predictions.group_by("method", unit, "seed", maintain_order=True)
        .agg(accuracy=right, clips=CLIPS)
        .group_by("method", unit, maintain_order=True)
        .agg(pl.col("accuracy").mean(), pl.col("clips").max())
    )
