"""Two methods on the same people: what a study planned to decide, and what else it describes.

People differ far more than methods do, so both are tested on the same people: one difference per person,
seeds averaged first. Only contrasts that a study names are tested (`decide`); all others are described by
intervals (`describe`).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from plait.analysis.metrics import by_subject, first_best
from plait.analysis.signflips import SignFlips, detectable
from plait.config import Comparisons
from plait.errors import DataError
from plait.results import MethodFacts

NOT_RUN = "not run"
DESCRIBED: dict[str, type[pl.DataType]] = {
    "fusion": pl.String,
    "baseline": pl.String,
    "baseline_kind": pl.String,
    "subjects": pl.Int64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}
DECIDED: dict[str, type[pl.DataType]] = {
    "method": pl.String,
    "baseline": pl.String,
    "subjects": pl.Int64,
    "seeds": pl.Int64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "p_adjusted": pl.Float64,
    "p_equivalent": pl.Float64,
    "person_sd": pl.Float64,
    "seed_sd": pl.Float64,
    "detectable": pl.Float64,
    "draws": pl.Int64,
    "verdict": pl.String,
}


class Pair(NamedTuple):
    """Two methods to be described beside each other; `kind` says what the baseline is."""

    fusion: str
    baseline: str
    kind: str


def pairs(methods: Mapping[str, MethodFacts], predictions: pl.DataFrame) -> list[Pair]:
    """What a study's methods are described against, fixed by what they are.

    Each fusion stands, over the same set of modalities, beside each average, mixture and stack, each
    flattened and each pooled concatenation that has its encoders from the same place, and the best single of
    its modalities. Ensembles stand beside none, for a fusion's accuracy is that of one seed. Best is
    the single with the highest mean of its subjects' accuracies on these same test subjects (ties: the
    first): chosen with hindsight, which favours the single. Rows of a sweep are nobody's baseline.

    Raises:
        DataError: a method has no predictions.
    """
    means = dict(by_subject(predictions).group_by("method").agg(pl.col("accuracy").mean()).iter_rows())
    missing = [name for name in methods if name not in means]
    if missing:
        raise DataError(
            f"predictions: none of method {missing[0]!r}, expected some of every method of the study"
        )
    rows = {name: row for name, row in methods.items() if not row.sweep}
    found = []
    for fusion, row in rows.items():
        if row.kind != "fusion":
            continue
        fused = set(row.modalities)
        for kind in ("average", "mixture", "stack", "flattened concat", "pooled concat"):
            found += [
                Pair(fusion, name, kind)
                for name, other in rows.items()
                if set(other.modalities) == fused
                and _baseline_kind(other) == kind
                and (not kind.endswith("concat") or other.encoders == row.encoders)
            ]
        singles = [name for name, m in rows.items() if m.kind == "single" and set(m.modalities) <= fused]
        if singles:
            found.append(Pair(fusion, first_best(singles, means), "best single"))
    return found


def describe(predictions: pl.DataFrame, methods: Mapping[str, MethodFacts]) -> pl.DataFrame:
    """Every pair of `pairs`, as `DESCRIBED`: `fusion` minus `baseline`, paired by subject.

    * `difference`: mean over subjects of the difference in accuracy, between -1 and 1.
    * `low`, `high`: its 95 % interval by sign flips, each by itself; null where so few subjects set no limit.

    Raises:
        DataError: a method has no predictions, or the two of a pair share no subject.
    """
    accuracies = by_subject(predictions)
    rows = []
    for pair in pairs(methods, predictions):
        d = paired(accuracies, pair.fusion, pair.baseline)
        rows.append((*pair, len(d), float(d.mean()), *SignFlips(d).interval()))
    return pl.DataFrame(rows, schema=DESCRIBED, orient="row")


def decide(predictions: pl.DataFrame, comparisons: Comparisons) -> pl.DataFrame:
    """Every contrast that a study planned, as `DECIDED`: `method` minus `baseline`, paired by subject.

    * `difference`, `low`, `high`: as in `describe`; the interval has the level 1 - alpha, each by itself.
    * `p`: two-sided sign-flip test that the mean difference is zero.
    * `p_adjusted`: of a sequence, the largest p so far; by Holm, over all contrasts. One that was not run
      counts as p = 1.
    * `p_equivalent`: two one-sided sign-flip tests that the difference is within `margin` of zero, by Holm
      over all contrasts; null without a margin.
    * `person_sd`: SD over people of the difference, the seeds' part taken off; `seed_sd`: SD over seeds
      within a person. With one seed the first holds both, and the second is null. An ensemble over seeds
      has one accuracy a person, which is held against that of each seed of the other method: the seeds' part
      is the other's alone. Of two ensembles there are no seeds.
    * `detectable`: the difference that as many people, spread as these are, show in four studies of five.
    * `draws`: how many random patterns of signs were drawn; null where all were taken.
    * `verdict`: `better` or `worse` where `p_adjusted` is at most alpha, else `equivalent` where
      `p_equivalent` is, else `undecided`; `not run`.

    Raises:
        DataError: the two of a contrast share no subject, or not all seeds.
    """
    runs = set(predictions["method"].unique())
    measured: list[dict[str, Any]] = [
        measure(_by_seed(predictions, method, baseline), comparisons)
        if {method, baseline} <= runs
        else {"verdict": NOT_RUN}
        for method, baseline in comparisons.contrasts
    ]
    p = [row.get("p", 1.0) for row in measured]
    adjusted = np.maximum.accumulate(p) if comparisons.order == "sequence" else holm(p)
    equivalent = holm([1.0 if (value := row.get("p_equivalent")) is None else value for row in measured])
    rows = []
    for (method, baseline), row, by_order, by_holm in zip(
        comparisons.contrasts, measured, adjusted, equivalent, strict=True
    ):
        row |= {"method": method, "baseline": baseline}
        if "difference" in row:
            row["p_adjusted"] = float(by_order)
            if row["p_equivalent"] is not None:
                row["p_equivalent"] = float(by_holm)
            row["verdict"] = _verdict(row, comparisons.alpha)
        rows.append({name: row.get(name) for name in DECIDED})
    return pl.DataFrame(rows, schema=DECIDED, orient="row")


def paired(accuracies: pl.DataFrame, method: str, baseline: str) -> np.ndarray:
    """Accuracy of `method` minus that of `baseline`, one per subject of both, shape `(subjects,)`.

    Args:
        accuracies: `metrics.by_subject`.
        method: the one.
        baseline: the other.

    Raises:
        DataError: they share no subject.
    """
    d = differences(accuracies, method, baseline, "accuracy")
    if not len(d):
        raise DataError(f"predictions: methods {method!r} and {baseline!r} share no subject")
    return d


def differences(table: pl.DataFrame, method: str, baseline: str, column: str) -> np.ndarray:
    """A column of `method` minus that of `baseline`, one per subject of both, perhaps none.

    Args:
        table: a row for each method and subject.
        method: the one.
        baseline: the other.
        column: what is subtracted.
    """
    one, other = (table.filter(pl.col("method") == name) for name in (method, baseline))
    both = one.join(other, on="subject", suffix="_baseline", maintain_order="left")
    return (both[column] - both[f"{column}_baseline"]).to_numpy()


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjustment: the k-th smallest (from 0) times tests - k, rising, at most 1."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def measure(differences: np.ndarray, comparisons: Comparisons) -> dict[str, Any]:
    """One contrast by itself: its columns of `DECIDED`, unadjusted, and the verdict that these allow.

    Args:
        differences: in accuracy, `(people, seeds)`.
        comparisons: margin, alpha, and of how many contrasts this is one.
    """
    by_seed = differences.astype(np.float64)
    d = by_seed.mean(axis=1)
    people, seeds = by_seed.shape
    tests = SignFlips(d)
    low, high = tests.interval(1 - comparisons.alpha)
    seed_variance = float(by_seed.var(axis=1, ddof=1).mean()) if seeds > 1 else 0.0
    spread = float(d.std(ddof=1)) if people > 1 else None
    several = max(len(comparisons.contrasts), 1) if comparisons.order == "holm" else 1
    p = tests.p()
    row = {
        "subjects": people,
        "seeds": seeds,
        "difference": float(d.mean()),
        "low": low,
        "high": high,
        "p": p,
        "p_adjusted": p,
        "p_equivalent": tests.p_equivalent(comparisons.margin) if comparisons.margin else None,
        "person_sd": None if spread is None else math.sqrt(max(0.0, spread**2 - seed_variance / seeds)),
        "seed_sd": math.sqrt(seed_variance) if seeds > 1 else None,
        "detectable": None if spread is None else detectable(spread, people, comparisons.alpha / several),
        "draws": tests.draws,
    }
    return {**row, "verdict": _verdict(row, comparisons.alpha)}


def _by_seed(predictions: pl.DataFrame, method: str, baseline: str) -> np.ndarray:
    """Differences in accuracy of every person and seed, shape `(people, seeds)`."""
    key = ["method", "subject", "seed"]
    right = (pl.col("activity") == pl.col("predicted")).mean().alias("accuracy")
    table = predictions.filter(pl.col("method").is_in([method, baseline])).group_by(key).agg(right)
    one, other = (table.filter(pl.col("method") == name) for name in (method, baseline))
    ensembles = [part["seed"].is_null().all() for part in (one, other)]
    if not all(ensembles):  # an ensemble, of no seed, is held against each of the other's
        every = table.select("seed").drop_nulls().unique()
        one, other = (
            part.drop("seed").join(every, how="cross") if of_all else part
            for part, of_all in zip((one, other), ensembles, strict=True)
        )
    both = one.join(other, on=["subject", "seed"], suffix="_baseline", nulls_equal=True)
    people, seeds = both["subject"].n_unique(), both["seed"].n_unique()
    where = f"predictions: methods {method!r} and {baseline!r}"
    if not people:
        raise DataError(f"{where} share no subject")
    if {both.height, one.height, other.height} != {people * seeds}:
        raise DataError(f"{where} were not tested on the same subjects with the same seeds")
    d = both.select("subject", "seed", d=pl.col("accuracy") - pl.col("accuracy_baseline"))
    return d.sort("subject", "seed")["d"].to_numpy().reshape(people, seeds)


def _baseline_kind(row: MethodFacts) -> str | None:
    match row.kind, row.head:
        case ("average" | "mixture" | "stack") as kind, _:
            return kind
        case "concat", "flatten":
            return "flattened concat"
        case "concat", "mean":
            return "pooled concat"
        case _:
            return None


def _verdict(row: Mapping[str, Any], alpha: float) -> str:
    if row["p_adjusted"] <= alpha:
        return "better" if row["difference"] > 0 else "worse"
    equivalent = row["p_equivalent"] is not None and row["p_equivalent"] <= alpha
    return "equivalent" if equivalent else "undecided"
