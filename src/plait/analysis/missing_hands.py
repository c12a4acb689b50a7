"""Fig. 8: how accurate models are where hands are missing from the picture; whether fusion gains most there.

A table of hands has a row per clip: `clip` and `missing`, as `plait hands detect` writes it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from plait.analysis.claims import ALPHA, CLAIMS, singles_of, verdict_above
from plait.analysis.signflips import SignFlips
from plait.results import MethodFacts

MOST_MISSING = 2
CLAIM = "gains most at two missing hands"
SCHEMA: dict[str, type[pl.DataType]] = {
    "method": pl.String,
    "missing": pl.Int64,
    "clips": pl.Int64,
    "subjects": pl.Int64,
    "accuracy": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def missing_hands(
    methods: Mapping[str, MethodFacts], predictions: pl.DataFrame, hands: pl.DataFrame
) -> pl.DataFrame:
    """Accuracy by how many hands are missing: `method, missing, clips, subjects, accuracy, low, high`.

    `accuracy` is the share of right clips, seeds averaged, clips alike; `low`, `high` its `share_interval`.
    """
    cells = _count_right(predictions, hands)
    rows: list[tuple[Any, ...]] = []
    for method in methods:
        for missing in sorted(cells["missing"].unique()):
            people = cells.filter(pl.col("method") == method, pl.col("missing") == missing)
            right, clips = people["right"].to_numpy(), people["clips"].to_numpy()
            n, accuracy = int(clips.sum()), float(right.sum() / clips.sum())
            rows.append((method, missing, n, len(people), accuracy, *share_interval(right, clips)))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def visibility_claims(
    methods: Mapping[str, MethodFacts], predictions: pl.DataFrame, hands: pl.DataFrame
) -> pl.DataFrame:
    """The paper's claim on Fig. 8 for each fusion and single, in the columns of `claims.paper_claims`.

    The gain at so many missing hands is the fusion's share of right clips minus the single's, on the same
    clips. The effect is the gain at two minus the larger of those at none and at one, with the 95 % interval
    of that difference of ratios by sign flips over subjects, linearised. The claim holds where the intervals
    against none and against one both lie above zero, fails where one lies below, and is unclear in between;
    nothing is said where no clip has two hands missing, or every clip has.
    """
    cells = _count_right(predictions, hands)
    order = cells["subject"].unique().sort().to_list()
    levels = sorted(cells["missing"].unique())
    if MOST_MISSING not in levels or len(levels) < 2:
        return pl.DataFrame(schema=CLAIMS)
    rows: list[tuple[Any, ...]] = []
    for fusion in (name for name, row in methods.items() if row.kind == "fusion" and not row.sweep):
        for single in singles_of(methods, fusion):
            gain = {k: _gain(cells, fusion, single, k, order) for k in levels}
            more = [_difference(gain[MOST_MISSING], gain[k]) for k in levels if k != MOST_MISSING]
            effect, low, high = min(more, key=lambda difference: difference[0])
            verdicts = {verdict_above(lower, upper) for _, lower, upper in more}
            verdict = next(worst for worst in ("fails", "unclear", "holds") if worst in verdicts)
            rows.append((CLAIM, fusion, single, effect, low, high, verdict))
    return pl.DataFrame(rows, schema=CLAIMS, orient="row")


def agreement(hands: pl.DataFrame) -> tuple[int, int]:
    """In how many clips the detected `count` is the truly `visible` one, of how many where that is known."""
    known = hands.filter(pl.col("visible").is_not_null())
    return int((known["count"] == known["visible"]).sum()), len(known)


def share_interval(right: np.ndarray, clips: np.ndarray) -> tuple[float | None, float | None]:
    """Korn and Graubard's (1998) 95 % interval of the share `right.sum() / clips.sum()`, both `(subjects,)`.

    It is Clopper and Pearson's, of as many independent clips as the spread between subjects says these are
    worth, and for as few degrees of freedom as there are subjects; None for a single subject.
    """
    subjects, n = len(clips), float(clips.sum())
    if subjects < 2:
        return None, None
    share = float(right.sum()) / n
    variance = _variance((right - share * clips) / n)
    worth = share * (1 - share) / variance if variance > 0 else n
    narrower = stats.t.ppf(1 - ALPHA / 2, n - 1) / stats.t.ppf(1 - ALPHA / 2, subjects - 1)
    worth = min(n, worth * float(narrower) ** 2)
    hits, misses = worth * share, worth * (1 - share)
    low = float(stats.beta.ppf(ALPHA / 2, hits, misses + 1)) if share > 0 else 0.0
    high = float(stats.beta.ppf(1 - ALPHA / 2, hits + 1, misses)) if share < 1 else 1.0
    return low, high


def _count_right(predictions: pl.DataFrame, hands: pl.DataFrame) -> pl.DataFrame:
    """Per method, number of missing hands and subject: `right` clips, seeds averaged, of so many `clips`."""
    per_clip = (
        predictions.group_by("method", "subject", "clip", maintain_order=True)
        .agg(right=(pl.col("activity") == pl.col("predicted")).mean())
        .join(hands.select("clip", "missing"), on="clip")
    )
    return (
        per_clip.group_by("method", "missing", "subject", maintain_order=True)
        .agg(pl.col("right").sum(), clips=pl.len().cast(pl.Int64))
        .sort("method", "missing", "subject")
    )


def _gain(
    cells: pl.DataFrame, fusion: str, single: str, missing: int, subjects: list[str]
) -> tuple[float, np.ndarray]:
    """The gain at so many missing hands, and what each of `subjects` adds to its error."""
    level = cells.filter(pl.col("missing") == missing)
    fused, alone = (
        {row["subject"]: row for row in level.filter(pl.col("method") == name).to_dicts()}
        for name in (fusion, single)
    )
    none = {"right": 0.0, "clips": 0}
    d = np.array([fused.get(s, none)["right"] - alone.get(s, none)["right"] for s in subjects])
    clips = np.array([fused.get(s, none)["clips"] for s in subjects])
    gain = float(d.sum() / clips.sum())
    return gain, (d - gain * clips) / clips.sum()


def _difference(
    two: tuple[float, np.ndarray], less: tuple[float, np.ndarray]
) -> tuple[float, float | None, float | None]:
    """The one gain minus the other, and its interval."""
    effect, parts = two[0] - less[0], two[1] - less[1]
    return effect, *SignFlips(effect + len(parts) * parts).interval()


def _variance(parts: np.ndarray) -> float:
    """The variance of a sum of independent subjects' parts, whose mean is 0."""
    return float(len(parts) / (len(parts) - 1) * (parts**2).sum())
