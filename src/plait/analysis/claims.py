"""The paper's analyses as pure functions of the predictions: gain by activity, accuracy by width, its claims.

Each takes the table that `plait run` writes and what `run.json` says of its methods. Differences are paired:
taken within a subject, seeds averaged first, then averaged over subjects, with a Student-t 95 % interval.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    """The methods for the single modalities that `fusion` is made of, the video's first, as in the paper.

    Where no modality is called `video`, the lead's comes first; the others come as in the study. Of several
    methods on one modality the one with the fusion's encoder stands for it, of these the one with its head,
    of these the one that is called like the modality, or else the first in the study.
    """
    fused = methods[fusion]

    def likeness(name: str) -> tuple[bool, bool, bool]:
        row, (modality, *_) = methods[name], methods[name].modalities
        encoder = fused.encoders.get(modality)
        alike = encoder == row.encoders.get(modality) or (encoder is not None and encoder.donor == name)
        return alike, row.head == fused.head, name == modality

    singles: dict[tuple[str, ...], list[str]] = {}
    for name, row in methods.items():
        if row.kind == "single" and set(row.modalities) <= set(fused.modalities) and not row.sweep:
            singles.setdefault(row.modalities, []).append(name)
    first = VIDEO if VIDEO in fused.modalities else fused.args.get("lead")
    best = [max(names, key=likeness) for names in singles.values()]
    return sorted(best, key=lambda name: methods[name].modalities != (first,))


def gains(
    methods: Mapping[str, MethodFacts], predictions: pl.DataFrame, activities: Sequence[str]
) -> pl.DataFrame:
    """Fig. 6: recall of every fusion minus that of each of its single modalities, activity by activity.

    `fusion, single, activity, gain, low, high, subjects`: activities are sorted by their gain over the first
    of `singles_of`, the largest first. Subjects who never performed an activity do not count.
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
            gain = {}
            for activity in activities:
                fused, alone = (
                    recall.filter(pl.col("method") == name, pl.col("activity") == activity)
                    for name in (fusion, single)
                )
                both = fused.join(alone, on="subject", suffix="_single", maintain_order="left")
                d = (both["recall"] - both["recall_single"]).to_numpy()
                if len(d):
                    gain[activity] = (float(d.mean()), *t_interval(d), len(d))
            order = order or sorted(gain, key=lambda activity: -gain[activity][0])
            rows += [(fusion, single, activity, *gain[activity]) for activity in order]
    schema = ["fusion", "single", "activity", "gain", "low", "high", "subjects"]
    kinds = [pl.String, pl.String, pl.String, pl.Float64, pl.Float64, pl.Float64, pl.Int64]
    return pl.DataFrame(rows, schema=dict(zip(schema, kinds, strict=True)), orient="row")


def widths(methods: Mapping[str, MethodFacts], predictions: pl.DataFrame) -> pl.DataFrame:
    """Fig. 7: accuracy against the width K of the embedding, of methods that differ in nothing else.

    `series, embedding, method, accuracy, low, high`: a series is called after the fusion that was swept; the
    interval is of the mean over subjects. Series of fewer than three widths are left out.
    """
    accuracies = by_subject(predictions)
    rows: list[tuple[Any, ...]] = []
    for name, row in methods.items():
        if set(row.sweep) == {"embedding"}:
            series, width = name.partition("[")[0], row.sweep["embedding"]
            shares = accuracies.filter(pl.col("method") == name)["accuracy"].to_numpy()
            rows.append((series, width, name, float(shares.mean()), *t_interval(shares)))
    schema = ["series", "embedding", "method", "accuracy", "low", "high"]
    kinds = [pl.String, pl.Int64, pl.String, pl.Float64, pl.Float64, pl.Float64]
    table = pl.DataFrame(rows, schema=dict(zip(schema, kinds, strict=True)), orient="row")
    return table.filter(pl.len().over("series") >= 3).sort("series", "embedding", maintain_order=True)


def paper_claims(
    methods: Mapping[str, MethodFacts], predictions: pl.DataFrame, activities: Sequence[str]
) -> pl.DataFrame:
    """What the paper says of fusion, tested here: `claim, fusion, against, effect, low, high, verdict`.

    Each fusion is held against each of its single modalities:

    * `better than the single`: mean difference in accuracy.
    * `no activity is worse`: the smallest gain of any activity (Fig. 6). It holds where no activity's gain is
      below zero, and fails where the interval of some activity lies below zero.
    * `K = ... beats the single`: the same difference at the narrowest width of a sweep (Fig. 7).
    * `subjects differ less`: SD over subjects of the fusion minus that of the single (section 5.1), the
      interval from a bootstrap over subjects.

    Each but the second holds where the interval lies on the claim's side of zero, fails where it lies on the
    other, and is unclear in between. Effects are shares of clips. Intervals are each by itself.
    """
    by_person = by_subject(predictions).sort("subject")
    accuracies = {name: by_person.filter(pl.col("method") == name)["accuracy"].to_numpy() for name in methods}
    by_activity = gains(methods, predictions, activities)
    rows: list[tuple[Any, ...]] = []
    for fusion, row in methods.items():
        if row.kind != "fusion":
            continue
        for single in singles_of(methods, fusion):
            d = accuracies[fusion] - accuracies[single]
            low, high = t_interval(d)
            better = (fusion, single, float(d.mean()), low, high, verdict_above(low, high))
            if row.sweep:
                if _is_narrowest(row, methods.values()):
                    rows.append((f"K = {row.sweep['embedding']} beats the single", *better))
                continue
            rows.append(("better than the single", *better))
            gained = by_activity.filter(pl.col("fusion") == fusion, pl.col("single") == single)
            worst = gained.sort("gain", maintain_order=True).row(0, named=True)
            claim = f"no activity is worse (lowest: {worst['activity']})"
            low, high = worst["low"], worst["high"]
            rows.append((claim, fusion, single, worst["gain"], low, high, _none_below(gained)))
            effect, low, high = _sd_difference(accuracies[fusion], accuracies[single])
            verdict = verdict_above(None if high is None else -high, None if low is None else -low)
            rows.append(("subjects differ less (SD)", fusion, single, effect, low, high, verdict))
    return pl.DataFrame(rows, schema=CLAIMS, orient="row").sort("claim", maintain_order=True)


def _is_narrowest(row: MethodFacts, methods: Iterable[MethodFacts]) -> bool:
    """Whether a row has the smallest K of a sweep over nothing but K."""
    if set(row.sweep) != {"embedding"}:
        return False
    widths = [m.sweep["embedding"] for m in methods if set(m.sweep) == {"embedding"} and m.use == row.use]
    return bool(row.sweep["embedding"] == min(widths, key=int))


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


def _sd_difference(fusion: np.ndarray, single: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """SD over subjects of the one minus that of the other, with its 95 % percentile-bootstrap interval."""
    if len(fusion) < 2:
        return None, None, None

    def difference(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        sds: np.ndarray = np.std(a, ddof=1, axis=axis) - np.std(b, ddof=1, axis=axis)
        return sds

    interval = stats.bootstrap(
        (fusion, single),
        difference,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(difference(fusion, single)), float(interval.low), float(interval.high)
