"""The paper's analyses as pure functions of the predictions: gain by activity, accuracy by width, its claims.

Each takes the table that `plait run` writes and what `run.json` says of its methods. Differences are paired:
taken within a subject, seeds averaged first, then averaged over subjects, with a 95 % interval by sign flips.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from plait.analysis.compare import differences, holm
from plait.analysis.metrics import by_subject
from plait.analysis.signflips import SignFlips, spread_p
from plait.results import MethodFacts

ALPHA = 0.05
WORSE = 0.05  # of an activity's clips: by less, an activity is not called worse
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
    of `singles_of`, the largest first. Subjects who never performed an activity do not count. The interval
    has 95 %, by sign flips, each by itself.
    """
    recalls = _recalls(predictions)
    rows: list[tuple[Any, ...]] = []
    for fusion in (name for name, row in methods.items() if row.kind == "fusion" and not row.sweep):
        order: list[str] = []
        for single in singles_of(methods, fusion):
            gain = {}
            for activity in activities:
                d = _paired(recalls, fusion, single, activity)
                if len(d):
                    gain[activity] = (float(d.mean()), *SignFlips(d).interval(), len(d))
            order = order or sorted(gain, key=lambda activity: -gain[activity][0])
            rows += [(fusion, single, activity, *gain[activity]) for activity in order]
    schema = ["fusion", "single", "activity", "gain", "low", "high", "subjects"]
    kinds = [pl.String, pl.String, pl.String, pl.Float64, pl.Float64, pl.Float64, pl.Int64]
    return pl.DataFrame(rows, schema=dict(zip(schema, kinds, strict=True)), orient="row")


def widths(methods: Mapping[str, MethodFacts], predictions: pl.DataFrame) -> pl.DataFrame:
    """Fig. 7: accuracy against the width K of the embedding, of methods that differ in nothing else.

    `series, embedding, method, accuracy, low, high`: a series is called after the fusion that was swept; the
    95 % interval is Student's, of the mean over subjects. Series of fewer than three widths are left out.
    """
    accuracies = by_subject(predictions)
    rows: list[tuple[Any, ...]] = []
    for series, of_series in _sweeps(methods).items():
        for width, name in of_series.items():
            shares = accuracies.filter(pl.col("method") == name)["accuracy"].to_numpy()
            rows.append((series, width, name, float(shares.mean()), *t_interval(shares)))
    schema = ["series", "embedding", "method", "accuracy", "low", "high"]
    kinds = [pl.String, pl.Int64, pl.String, pl.Float64, pl.Float64, pl.Float64]
    table = pl.DataFrame(rows, schema=dict(zip(schema, kinds, strict=True)), orient="row")
    return table.filter(pl.len().over("series") >= 3).sort("series", "embedding", maintain_order=True)


def paper_claims(
    methods: Mapping[str, MethodFacts], predictions: pl.DataFrame, gained: pl.DataFrame
) -> pl.DataFrame:
    """What the paper says of fusion, tested here: `claim, fusion, against, effect, low, high, verdict`.

    Each fusion is held against each of its single modalities, by sign flips over people:

    * `better than the single`: mean difference in accuracy. It holds where its 95 % interval lies above zero,
      and fails where it lies below.
    * `K = ... beats the single`: the same at the narrowest width of each sweep over K alone (Fig. 7).
    * `no activity is worse by more than ...`: the smallest gain of any activity (Fig. 6). It holds where
      every activity is shown to lose less than that (one-sided, 5 % each), and fails where some activity is
      shown to lose anything (one-sided, 5 % by Holm over activities).
    * `subjects differ less`: SD over subjects of the fusion minus that of the single (section 5.1), by
      `spread_p` at 5 %; it has no interval.

    What is neither is unclear. Each claim that is not true holds, and each that is fails, in at most one
    study of twenty; over several claims nothing is adjusted. Effects are shares of clips.
    `gained` is `gains`.
    """
    by_person = by_subject(predictions).sort("subject")
    accuracies = {name: by_person.filter(pl.col("method") == name)["accuracy"].to_numpy() for name in methods}
    recalls = _recalls(predictions)
    narrowest = {names[min(names)] for names in _sweeps(methods).values()}
    rows: list[tuple[Any, ...]] = []
    for fusion, row in methods.items():
        if row.kind != "fusion":
            continue
        for single in singles_of(methods, fusion):
            d = accuracies[fusion] - accuracies[single]
            low, high = SignFlips(d).interval()
            better = (fusion, single, float(d.mean()), low, high, verdict_above(low, high))
            if row.sweep:
                if fusion in narrowest:
                    rows.append((f"K = {row.sweep['embedding']} beats the single", *better))
                continue
            rows.append(("better than the single", *better))
            by_activity = gained.filter(pl.col("fusion") == fusion, pl.col("single") == single)
            worst = by_activity.sort("gain", maintain_order=True).row(0, named=True)
            claim = f"no activity is worse by more than {WORSE:.0%} (lowest: {worst['activity']})"
            verdict = _none_worse(
                [_paired(recalls, fusion, single, each) for each in by_activity["activity"]]
            )
            rows.append((claim, fusion, single, worst["gain"], worst["low"], worst["high"], verdict))
            effect, verdict = _differs_less(accuracies[fusion], accuracies[single])
            rows.append(("subjects differ less (SD)", fusion, single, effect, None, None, verdict))
    return pl.DataFrame(rows, schema=CLAIMS, orient="row").sort("claim", maintain_order=True)


def _recalls(predictions: pl.DataFrame) -> pl.DataFrame:
    """Each method's `recall` by activity and subject, seeds averaged."""
    return (
        predictions.group_by("method", "activity", "subject", "seed")
        .agg(recall=(pl.col("activity") == pl.col("predicted")).mean())
        .group_by("method", "activity", "subject")
        .agg(pl.col("recall").mean())
        .sort("method", "activity", "subject")
    )


def _paired(recalls: pl.DataFrame, fusion: str, single: str, activity: str) -> np.ndarray:
    """Recall of the one minus that of the other, one for each subject who performed the activity."""
    return differences(recalls.filter(pl.col("activity") == activity), fusion, single, "recall")


def t_interval(shares: np.ndarray) -> tuple[float | None, float | None]:
    """Student's 95 % interval of the mean of `shares`, one per person; None for a single person."""
    n = len(shares)
    if n < 2:
        return None, None
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 1) * np.std(shares, ddof=1) / np.sqrt(n))
    return float(shares.mean()) - half, float(shares.mean()) + half


def _sweeps(methods: Mapping[str, MethodFacts]) -> dict[str, dict[int, str]]:
    """The rows of each sweep over the embedding's width alone, by the method that was swept and by width."""
    sweeps: dict[str, dict[int, str]] = {}
    for name, row in methods.items():
        if set(row.sweep) == {"embedding"}:
            width = row.sweep["embedding"]
            sweeps.setdefault(name.removesuffix(f"[embedding={width}]"), {})[width] = name
    return sweeps


def verdict_above(low: float | None, high: float | None) -> str:
    """Whether an interval lies above zero."""
    if low is None or high is None or low <= 0 <= high:
        return "unclear"
    return "holds" if low > 0 else "fails"


def _none_worse(differences: Sequence[np.ndarray]) -> str:
    """Whether no activity loses, given the differences in recall of each, one per person who did it."""
    tests = [SignFlips(d) for d in differences]
    if holm([test.p_below() for test in tests]).min() <= ALPHA:
        return "fails"
    return "holds" if max(test.p_above(-WORSE) for test in tests) <= ALPHA else "unclear"


def _differs_less(fusion: np.ndarray, single: np.ndarray) -> tuple[float | None, str]:
    """SD over subjects of the one minus that of the other, and whether it lies below zero."""
    if len(fusion) < 2:
        return None, "unclear"
    effect = float(np.std(fusion, ddof=1) - np.std(single, ddof=1))
    if spread_p(fusion, single) > ALPHA:
        return effect, "unclear"
    return effect, "holds" if effect < 0 else "fails"
