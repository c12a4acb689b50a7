"""What scores tell beyond who was right: likelihood, calibration, temperature, accuracy by coverage.

Scores are probabilities in the order of the activities. Each method's clips of all folds and seeds count
alike, save for calibration errors, which are of each seed. Of clips that a method cannot see, every activity
is equally likely: they count for the likelihood and for coverage, as those of which it is least sure, and say
nothing of calibration.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from plait.results import UNSEEN

BINS = 10  # of confidence, of equal width
SHARES = tuple(share / 20 for share in range(1, 21))  # of the clips, the surest first
LEAST = 1e-12  # of a probability
COLDEST, HOTTEST = 0.05, 20.0
SUMMARY: dict[str, type[pl.DataType]] = {
    "method": pl.String,
    "nll": pl.Float64,
    "ece": pl.Float64,
    "ece_by_chance": pl.Float64,
}
RELIABILITY: dict[str, type[pl.DataType]] = {
    "method": pl.String,
    "bin": pl.Int64,
    "confidence": pl.Float64,
    "accuracy": pl.Float64,
    "clips": pl.Int64,
}
COVERAGE: dict[str, type[pl.DataType]] = {
    "method": pl.String,
    "coverage": pl.Float64,
    "accuracy": pl.Float64,
}


def score_summary(predictions: pl.DataFrame, activities: Sequence[str]) -> pl.DataFrame:
    """One row per method, as `SUMMARY`.

    * `nll`: mean of -log p of the true activity, natural logarithm.
    * `ece`: expected calibration error (C. Guo et al., ICML 2017): over `BINS` bins of equal width, the mean
      distance between confidence and accuracy, weighted by clips; one per seed, averaged over seeds.
    * `ece_by_chance`: about what `ece` would be were the scores perfectly calibrated: with few clips in a bin
      it is above zero, so that only what exceeds it speaks against a model. Likewise of each seed, for
      several seeds' scores of one clip are of one clip.
    """
    rows = []
    for (method,), table in predictions.group_by("method", maintain_order=True):
        likelihoods, errors = [], []
        for seed in table.partition_by("seed", maintain_order=True):
            for _, confidence, right, likelihood, seen in _by_method(seed, activities):
                likelihoods.append(likelihood)
                errors.append(_calibration_errors(confidence[seen], right[seen]))
        if likelihoods:
            nll = float(-np.log(np.concatenate(likelihoods).clip(LEAST)).mean())
            rows.append((method, nll, *np.mean(errors, axis=0).tolist()))
    return pl.DataFrame(rows, schema=SUMMARY, orient="row")


def _calibration_errors(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """The expected calibration error of clips, and about what it is by chance, from `(clips,)` of each."""
    error = chance = 0.0
    for clips in _bins(confidence):
        sure, share = confidence[clips], len(clips) / len(confidence)
        error += share * abs(float(right[clips].mean() - sure.mean()))
        # The mean distance of a normal deviate of this variance from zero.
        chance += share * float(np.sqrt(2 / np.pi * (sure * (1 - sure)).sum()) / len(clips))
    return error, chance


def reliability(predictions: pl.DataFrame, activities: Sequence[str]) -> pl.DataFrame:
    """The reliability diagram: mean confidence and accuracy of each bin with clips, as `RELIABILITY`."""
    rows = []
    for method, confidence, right, _, seen in _by_method(predictions, activities):
        confidence, right = confidence[seen], right[seen]
        for number, clips in enumerate(_bins(confidence)):
            cell = float(confidence[clips].mean()), float(right[clips].mean()), len(clips)
            rows.append((method, number, *cell))
    return pl.DataFrame(rows, schema=RELIABILITY, orient="row")


def coverage(predictions: pl.DataFrame, activities: Sequence[str]) -> pl.DataFrame:
    """Accuracy on the share of the clips of which a method is surest, as `COVERAGE`; ties: as they come."""
    rows = []
    for method, confidence, right, _, _ in _by_method(predictions, activities):
        surest = right[np.argsort(-confidence, kind="stable")]
        for share in SHARES:
            rows.append((method, share, float(surest[: max(1, round(share * len(surest)))].mean())))
    return pl.DataFrame(rows, schema=COVERAGE, orient="row")


def _by_method(
    predictions: pl.DataFrame, activities: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Of each method's clips: largest score, whether it was right, the true one's score, if it was seen."""
    if "scores" not in predictions.columns:
        return
    places = {activity: place for place, activity in enumerate(activities)}
    for (method,), rows in predictions.group_by("method", maintain_order=True):
        scores = rows["scores"].list.to_array(len(activities)).to_numpy().astype(np.float64)
        truth = rows["activity"].replace_strict(places, return_dtype=pl.Int64).to_numpy()
        right = (rows["activity"] == rows["predicted"]).to_numpy()
        seen = (rows["predicted"] != UNSEEN).to_numpy()
        yield str(method), scores.max(axis=1), right, scores[np.arange(len(truth)), truth], seen


def _bins(confidence: np.ndarray) -> Iterator[np.ndarray]:
    """The clips of each bin that holds some, from the least sure on."""
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    for place in np.unique(places):
        yield np.flatnonzero(places == place)


def temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature, 0.05 to 20, that makes the truth likeliest (C. Guo et al., ICML 2017).

    It minimises the mean of -log p of the true class over `tempered` scores, with targets that leave other
    classes a share of 1 / (n + 2), as if one row more were wrong (J. Platt, 1999): where all n are right, no
    score becomes certain. 1 where no temperature is better: without rows, with a single class, or where all
    classes have one score.

    `probabilities` has shape `(n, classes)`, `truth` the places of the true classes, shape `(n,)`.
    """
    if len(truth) == 0 or probabilities.shape[1] < 2:
        return 1.0
    logs = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), LEAST, None))
    count, classes = logs.shape
    targets = np.full(logs.shape, 1 / (count + 2) / (classes - 1))
    targets[np.arange(count), truth] = 1 - 1 / (count + 2)

    def loss(log_temperature: float) -> float:
        cooled = logs / np.exp(log_temperature)
        return float((logsumexp(cooled, axis=1) - (targets * cooled).sum(axis=1)).mean())

    bounds = float(np.log(COLDEST)), float(np.log(HOTTEST))
    found = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)
    return float(np.exp(found)) if loss(found) < loss(0.0) - 1e-12 else 1.0


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """`softmax(log p / temperature)` of each row, none of p less than 1e-12, `(n, classes)`."""
    logs = np.log(np.clip(np.asarray(probabilities, dtype=np.float64), LEAST, None))
    hot: np.ndarray = softmax(logs / temperature, axis=1)
    return hot
