"""Planned, paired comparisons: each fusion against the baselines over the same modalities.

People differ far more than methods do, so both are tested on the same people: one difference per subject.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from plait.analysis.metrics import by_subject
from plait.errors import DataError
from plait.results import MethodFacts

ALPHA = 0.05
TOO_FEW = "too few subjects to tell"
EXACT_UP_TO = 20  # subjects; 2^20 sign flips
SCHEMA: dict[str, type[pl.DataType]] = {
    "fusion": pl.String,
    "baseline": pl.String,
    "baseline_kind": pl.String,
    "subjects": pl.Int64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
    "verdict": pl.String,
}


class Plan(NamedTuple):
    """One planned comparison: `fusion` and `baseline` are methods, `kind` says what the baseline is."""

    fusion: str
    baseline: str
    kind: str


def planned(methods: Mapping[str, MethodFacts], predictions: pl.DataFrame) -> list[Plan]:
    """The comparisons of a study, fixed by what its methods are.

    Each fusion is compared, over the same set of modalities, with each average, with each flattened and each
    pooled concatenation that has its encoders from the same place, and with the best single of its
    modalities. Best is the single with the highest mean of its subjects' accuracies on these same test
    subjects (ties: the first): chosen with hindsight, which favours the single.

    Raises:
        DataError: a method has no predictions.
    """
    means = dict(by_subject(predictions).group_by("method").agg(pl.col("accuracy").mean()).iter_rows())
    missing = [name for name in methods if name not in means]
    if missing:
        raise DataError(
            f"predictions: none of method {missing[0]!r}, expected some of every method of the study"
        )
    plans = []
    for fusion, row in methods.items():
        if row.kind != "fusion" or row.sweep:
            continue
        fused = set(row.modalities)
        for kind in ("average", "flattened concat", "pooled concat"):
            plans += [
                Plan(fusion, name, kind)
                for name, other in methods.items()
                if set(other.modalities) == fused
                and _baseline_kind(other) == kind
                and (kind == "average" or other.encoders == row.encoders)
            ]
        singles = [name for name, m in methods.items() if m.kind == "single" and set(m.modalities) <= fused]
        if singles:
            plans.append(Plan(fusion, max(singles, key=means.__getitem__), "best single"))
    return plans


def compare(predictions: pl.DataFrame, methods: Mapping[str, MethodFacts]) -> pl.DataFrame:
    """Every planned comparison: accuracy of `fusion` minus `baseline`, paired by subject, seeds averaged.

    * `subjects`: how many subjects both were tested on.
    * `difference`: mean over subjects of the difference in accuracy, between -1 and 1.
    * `low`, `high`: Student-t 95 % interval of that mean, not adjusted; null for a single subject.
    * `p`: two-sided sign-flip test of the differences; null where even 2 / 2^subjects is above 0.05.
    * `p_holm`: `p`, adjusted by Holm over all planned comparisons of the study.
    * `verdict`: `better` or `worse` where `p_holm` is at most 0.05, else `no difference shown`; `too few
      subjects to tell` where the smallest possible p, times the number of comparisons, is above 0.05.

    Raises:
        DataError: a method has no predictions, or the two of a comparison share no subject.
    """
    plans = planned(methods, predictions)
    accuracies = by_subject(predictions)
    paired = [_differences(accuracies, plan) for plan in plans]
    p = [sign_flip(d) if _smallest_p(len(d)) <= ALPHA else None for d in paired]
    adjusted = holm(np.array([1.0 if value is None else value for value in p]))
    rows = []
    for plan, d, raw, corrected in zip(plans, paired, p, adjusted, strict=True):
        low, high = t_interval(d)
        mean = float(d.mean())
        p_holm = None if raw is None else float(corrected)
        verdict = _verdict(mean, p_holm, _smallest_p(len(d)) * len(plans))
        rows.append((*plan, len(d), mean, low, high, raw, p_holm, verdict))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def t_interval(differences: np.ndarray) -> tuple[float | None, float | None]:
    """Student-t 95 % interval of the mean of `differences`, shape `(subjects,)`; None for a single one."""
    n = len(differences)
    if n < 2:
        return None, None
    half = stats.t.ppf(1 - ALPHA / 2, n - 1) * np.std(differences, ddof=1) / np.sqrt(n)
    return float(differences.mean() - half), float(differences.mean() + half)


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p of the sign-flip test: the share of sign patterns whose mean is at least as far from zero.

    If the two methods were alike, each subject's difference could as well have had the other sign. Exact up
    to 20 subjects: all 2^n patterns. Beyond, 2^20 random ones with a fixed seed
    (`scipy.stats.permutation_test`).
    """
    if len(differences) <= EXACT_UP_TO:
        sums = np.zeros(1)
        for d in differences:  # all sums at once: milliseconds; scipy enumerates 2^19 patterns in seconds
            sums = np.concatenate([sums + d, sums - d])
        return float(np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9))  # ties are ties despite rounding
    result = stats.permutation_test(
        (differences,),
        lambda flipped, axis: np.round(np.mean(flipped, axis=axis), 12),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**EXACT_UP_TO,
        batch=2**14,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjustment of `p`, shape `(tests,)`: the k-th smallest (from 0) times tests - k, rising."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _baseline_kind(row: MethodFacts) -> str | None:
    match row.kind, row.head:
        case "average", _:
            return "average"
        case "concat", "flatten":
            return "flattened concat"
        case "concat", "mean":
            return "pooled concat"
        case _:
            return None


def _differences(accuracies: pl.DataFrame, plan: Plan) -> np.ndarray:
    """Accuracy of the fusion minus the baseline's, one per subject of both, shape `(subjects,)`."""
    fusion, baseline = (accuracies.filter(pl.col("method") == name) for name in (plan.fusion, plan.baseline))
    both = fusion.join(baseline, on="subject", suffix="_baseline", maintain_order="left")
    if both.is_empty():
        raise DataError(f"predictions: methods {plan.fusion!r} and {plan.baseline!r} share no subject")
    return (both["accuracy"] - both["accuracy_baseline"]).to_numpy()


def _smallest_p(subjects: int) -> float:
    """The smallest p of a two-sided sign-flip test: all differences have one sign, or all the other."""
    return max(2.0 / 2.0**subjects, 2.0 / 2.0**EXACT_UP_TO)


def _verdict(difference: float, p_holm: float | None, smallest: float) -> str:
    if p_holm is None or smallest > ALPHA:
        return TOO_FEW
    if p_holm > ALPHA:
        return "no difference shown"
    return "better" if difference > 0 else "worse"
