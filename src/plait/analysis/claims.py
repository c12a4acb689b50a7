"""The paper's analyses as pure functions of the predictions: gain by activity, accuracy by width, its claims.

Each takes the table that `plait run` writes and what `run.json` says of its methods. Differences are paired: taken
within a subject, seeds averaged first, then averaged over subjects, with a Student-t 95 % interval.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from plait.analysis.compare import t_interval
from plait.analysis.metrics import by_subject
from plait.results import MethodFacts

RESAMPLES = 9999
VIDEO = "video"
CLAIMS: dict[str, type[pl.DataType]] = {
    "claim": pl.String,
    "fusion": pl.String,
    "against": pl.String,
    "effect": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "verdict": pl.String,
}


def singles_of(methods: Mapping[str, MethodFacts], fusion: str) -> list[str]:
    """The single modalities that `fusion` is made of: the video's first, as in the paper, or the lead's; then others.

    Of several methods on one modality the one with the fusion's encoder stands for it, of these the one with its head,
    of these the one that is called like the modality, or else the first in the study. A lead that is no video comes
    first where no modality is called `video`; without either they come as in the study.
    """
    own = methods[fusion]

    def fits(name: str) -> tuple[bool, bool, bool]:
        row, (modality, *_) = methods[name], methods[name].modalities
        encoder = own.encoders.get(modality)
        alike = encoder == row.encoders.get(modality) or (encoder is not None and encoder.donor == name)
        return alike, row.head == own.head, name == modality

    best: dict[tuple[str, ...], str] = {}
    for name, row in methods.items():
        if row.kind == "single" and set(row.modalities) <= set(own.modalities) and not row.sweep:
            before = best.get(row.modalities)
            if before is None or fits(name) > fits(before):
                best[row.modalities] = name
    first = VIDEO if VIDEO in own.modalities else own.args.get("lead")
    return sorted(best.values(), key=lambda name: methods[name].modalities != (first,))


def gains(
    methods: Mapping[str, MethodFacts], predictions: pl.DataFrame, activities: Sequence[str]
) -> pl.DataFrame:
    """Fig. 6: recall of every fusion minus that of each of its single modalities, activity by activity.

    `fusion, single, activity, gain, low, high, subjects`: activities are sorted by their gain over the first of
    `singles_of`, the video in the paper, the largest first. Subjects who never performed an activity do not count.
    """
    recall = (
        predictions.group_by("method", "activity", "subject", "seed")
        .agg(recall=(pl.col("activity") == pl.col("predicted")).mean())
        .group_by("method", "activity", "subject")
        .agg(pl.col("recall").mean())
        .sort("method", "activity", "subject")
    )
    rows: list[tuple[Any, ...]] = []
    for fusion in (name for name, row in methods.items() if row.kind == "fusion" and not row.sweep):
        order: list[str] = []
        for single in singles_of(methods, fusion):
            found = {}
            for activity in activities:
                own, other = (
                    recall.filter((pl.col("method") == name) & (pl.col("activity") == activity))
                    for name in (fusion, single)
                )
                both = own.join(other, on="subject", suffix="_single", maintain_order="left")
                d = (both["recall"] - both["recall_single"]).to_numpy()
                if len(d):
                    found[activity] = (float(d.mean()), *t_interval(d), len(d))
            order = order or sorted(found, key=lambda activity: -found[activity][0])
            rows += [(fusion, single, activity, *found[activity]) for activity in order]
    schema = ["fusion", "single", "activity", "gain", "low", "high", "subjects"]
    kinds = [pl.String, pl.String, pl.String, pl.Float64, pl.Float64, pl.Float64, pl.Int64]
    return pl.DataFrame(rows, schema=dict(zip(schema, kinds, strict=True)), orient="row")


def widths(methods: Mapping[str, MethodFacts], predictions: pl.DataFrame) -> pl.DataFrame:
    """Fig. 7: accuracy against the width K of the embedding, of methods that differ in nothing else.

    `series, embedding, method, accuracy, low, high`: a series is called after the fusion that was swept; the interval
    is of the mean over subjects. Series of fewer than three widths are left out.
    """
    accuracies = by_subject(predictions)
    rows: list[tuple[Any, ...]] = []
    for name, row in methods.items():
        if set(row.sweep) == {"embedding"}:
            own = accuracies.filter(pl.col("method") == name)["accuracy"].to_numpy()
            rows.append(
                (name.partition("[")[0], row.sweep["embedding"], name, float(own.mean()), *t_interval(own))
            )
    schema = ["series", "embedding", "method", "accuracy", "low", "high"]
    kinds = [pl.String, pl.Int64, pl.String, pl.Float64, pl.Float64, pl.Float64]
    table = pl.DataFrame(rows, schema=dict(zip(schema, kinds, strict=True)), orient="row")
    return table.filter(pl.len().over("series") >= 3).sort("series", "embedding", maintain_order=True)


def paper_claims(
    methods: Mapping[str, MethodFacts], predictions: pl.DataFrame, activities: Sequence[str]
) -> pl.DataFrame:
    """What the paper says of fusion, tested on this study: `claim, fusion, against, effect, low, high, verdict`.

    * `better than the single`: mean difference in accuracy, against each single modality.
    * `no activity is worse`: the smallest gain of any activity, against each single modality (Fig. 6). It holds where
      no activity's gain is below zero, and fails where the interval of some activity lies below zero.
    * `K = ... beats the single`: the narrowest width of a sweep, against each single modality (Fig. 7).
    * `subjects differ less`: SD over subjects of the fusion minus that of the single (section 5.1), the interval from a
      bootstrap over subjects.

    Each but the second holds where the interval lies on the claim's side of zero, fails where it lies on the other, and
    is unclear in between. Effects are shares of clips. Intervals are each by itself.
    """
    accuracies = by_subject(predictions)
    of = {
        name: accuracies.filter(pl.col("method") == name).sort("subject")["accuracy"].to_numpy()
        for name in methods
    }
    table = gains(methods, predictions, activities)
    rows: list[tuple[Any, ...]] = []
    for fusion, row in methods.items():
        if row.kind != "fusion":
            continue
        for single in singles_of(methods, fusion):
            d = of[fusion] - of[single]
            if row.sweep:
                own = [m for m in methods.values() if m.sweep.keys() == row.sweep.keys() and m.use == row.use]
                if set(row.sweep) != {"embedding"} or row.sweep != min((m.sweep for m in own), key=_width):
                    continue
                claim = f"K = {row.sweep['embedding']} beats the single"
                rows.append(
                    (claim, fusion, single, float(d.mean()), *t_interval(d), verdict_above(*t_interval(d)))
                )
                continue
            rows.append(
                (
                    "better than the single",
                    fusion,
                    single,
                    float(d.mean()),
                    *t_interval(d),
                    verdict_above(*t_interval(d)),
                )
            )
            own_gains = table.filter((pl.col("fusion") == fusion) & (pl.col("single") == single))
            worst = own_gains.sort("gain", maintain_order=True).row(0, named=True)
            verdict = _none_below(own_gains)
            rows.append((f"no activity is worse (lowest: {worst['activity']})", fusion, single))
            rows[-1] += (worst["gain"], worst["low"], worst["high"], verdict)
            effect, low, high = _spread(of[fusion], of[single])
            verdict = verdict_above(None if high is None else -high, None if low is None else -low)
            rows.append(("subjects differ less (SD)", fusion, single, effect, low, high, verdict))
    return pl.DataFrame(rows, schema=CLAIMS, orient="row").sort("claim", maintain_order=True)


def _width(sweep: Mapping[str, Any]) -> int:
    return int(sweep["embedding"])


def verdict_above(low: float | None, high: float | None) -> str:
    """Whether an interval lies above zero."""
    if low is None or high is None or low <= 0 <= high:
        return "unclear"
    return "holds" if low > 0 else "fails"


def _none_below(gained: pl.DataFrame) -> str:
    """Whether no activity lost: judged by every activity's interval."""
    if (gained["high"] < 0).any():
        return "fails"
    return "holds" if (gained["gain"] >= 0).all() and gained["low"].null_count() == 0 else "unclear"


def _spread(fusion: np.ndarray, single: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """SD over subjects of the one minus that of the other, with a percentile-bootstrap 95 % interval over subjects."""
    if len(fusion) < 2:
        return None, None, None

    def difference(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        found: np.ndarray = np.std(a, ddof=1, axis=axis) - np.std(b, ddof=1, axis=axis)
        return found

    told = stats.bootstrap(
        (fusion, single),
        difference,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(difference(fusion, single)), float(told.low), float(told.high)
