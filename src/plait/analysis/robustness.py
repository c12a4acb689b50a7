"""What faults cost: accuracy by severity, what is kept of it, and which sensor a method relies on.

Every function takes `results.PERSONS`, the accuracy of each method on each person under each condition, seeds
averaged. A person counts once: accuracies are means over people. Shares lie between 0 and 1.

*Relative robustness* is the accuracy with the fault over that without, *absolute robustness* one minus what
is lost of it (Schiappa et al., A Large-scale Robustness Analysis of Video Action Recognition Models, CVPR
2023, arXiv 2207.01398), and the area is that under accuracy by severity (as in MultiBench, Liang et al.,
NeurIPS 2021, arXiv 2107.07502), here above chance.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from plait.analysis.claims import t_interval
from plait.analysis.signflips import SignFlips
from plait.results import MethodFacts

GONE, REPLACED = "absent", "stand-in"  # faults by which one tells what a method relies on
_WHERE = {"fault": pl.String, "modality": pl.String}
_SHARES = pl.Float64
CURVES: dict[str, Any] = {
    **_WHERE,
    "severity": pl.Float64,
    "unit": pl.String,
    "method": pl.String,
    "people": pl.Int64,
    **dict.fromkeys(("accuracy", "low", "high", "relative", "absolute"), _SHARES),
}
ROBUSTNESS: dict[str, Any] = {
    **_WHERE,
    "method": pl.String,
    "people": pl.Int64,
    **dict.fromkeys(("clean", "worst", "relative", "absolute", "area"), _SHARES),
}
RELIANCE: dict[str, Any] = {
    "method": pl.String,
    "modality": pl.String,
    "people": pl.Int64,
    **dict.fromkeys(("clean", "without", "difference", "low", "high", "stand_in"), _SHARES),
}


def curves(people: pl.DataFrame, methods: Sequence[str]) -> pl.DataFrame:
    """Accuracy by severity, as `CURVES`: every curve begins at severity 0, clips as recorded.

    * `accuracy`: mean over people; `low`, `high` Student's 95 % interval of it, None for a single person.
    * `relative`: accuracy over that at 0, None where that is 0; `absolute`: 1 minus what is lost from 0 on.

    Args:
        people: as above.
        methods: in the order of the rows.
    """
    clean = _by_method(people.filter(pl.col("fault") == ""))
    rows: list[tuple[Any, ...]] = []
    for fault, modality, unit in _conditions(people):
        table = people.filter(pl.col("fault") == fault, pl.col("modality") == modality)
        steps = {step: _by_method(part) for (step,), part in table.group_by("severity", maintain_order=True)}
        for method in methods:
            if method not in next(iter(steps.values())):
                continue
            first = clean[method]
            for step, shares in [(0.0, first), *((step, by[method]) for step, by in steps.items())]:
                mean, start = float(shares.mean()), float(first.mean())
                kept = (mean / start if start else None), 1 - (start - mean)
                where = fault, modality, step, unit, method, len(shares)
                rows.append((*where, mean, *t_interval(shares), *kept))
    return pl.DataFrame(rows, schema=CURVES, orient="row")


def robustness(curved: pl.DataFrame, chance: float) -> pl.DataFrame:
    """One row for each fault, modality and method, as `ROBUSTNESS`.

    * `clean`: accuracy on clips as recorded; `worst`: at the highest severity.
    * `relative`, `absolute`: means over the severities above 0.
    * `area`: mean accuracy over severity, by trapezoids from 0 to the highest, minus chance.

    Args:
        curved: `curves`.
        chance: the accuracy of saying one activity always, `metrics.chance`.
    """
    rows: list[tuple[Any, ...]] = []
    for where, curve in curved.group_by("fault", "modality", "method", maintain_order=True):
        x, y = curve["severity"].to_numpy(), curve["accuracy"].to_numpy()
        area = float(np.trapezoid(y, x) / x[-1]) - chance
        worse = curve.filter(pl.col("severity") > 0)
        kept = worse["relative"].mean(), worse["absolute"].mean()
        rows.append((*where, curve["people"][0], float(y[0]), float(y[-1]), *kept, area))
    return pl.DataFrame(rows, schema=ROBUSTNESS, orient="row")


def reliance(people: pl.DataFrame, methods: dict[str, MethodFacts]) -> pl.DataFrame:
    """What each method of several modalities is without each of them, as `RELIANCE`.

    `difference` is accuracy without the modality minus that with it, `low` and `high` its 95 % interval by
    sign flips over people; `stand_in` the accuracy where the mean of training clips stands in, None where
    that was not asked.

    Args:
        people: as above.
        methods: of the run.
    """
    clean = _by_method(people.filter(pl.col("fault") == ""))
    rows: list[tuple[Any, ...]] = []
    for method, facts in methods.items():
        if method not in clean or len(facts.modalities) < 2:
            continue
        for modality in facts.modalities:
            of = people.filter(pl.col("modality") == modality)
            gone, replaced = (_by_method(of.filter(pl.col("fault") == name)) for name in (GONE, REPLACED))
            if method not in gone:
                continue
            lost = gone[method] - clean[method]
            stand_in = float(replaced[method].mean()) if method in replaced else None
            means = float(clean[method].mean()), float(gone[method].mean()), float(lost.mean())
            where = method, modality, len(lost)
            rows.append((*where, *means, *SignFlips(lost).interval(), stand_in))
    return pl.DataFrame(rows, schema=RELIANCE, orient="row")


def _conditions(people: pl.DataFrame) -> list[tuple[str, str, str]]:
    """Each fault, modality and unit, in the order in which they are met."""
    table = people.filter(pl.col("fault") != "").select("fault", "modality", "unit")
    return table.unique(maintain_order=True).rows()


def _by_method(people: pl.DataFrame) -> dict[str, np.ndarray]:
    """Accuracies by method, in the order of people."""
    ordered = people.sort("method", "subject")
    return {name: part["accuracy"].to_numpy() for (name,), part in ordered.group_by("method")}
