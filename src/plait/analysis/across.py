"""Methods of several runs on the same people, and one pair of methods over several data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import polars as pl

from plait.analysis.compare import DECIDED, decide, measure, paired
from plait.analysis.likeness import changed, shared_person
from plait.analysis.metrics import by_subject
from plait.config import Comparisons
from plait.errors import ConfigError, DataError
from plait.results import Results

POOLED, DESCRIBED_ONLY = "all people", "described"


def between_runs(
    runs: Mapping[str, Results],
    contrasts: Sequence[tuple[str, str]],
    comparisons: Comparisons,
    other_data: bool = False,
) -> pl.DataFrame:
    """Methods of the first run against those of every other, on the same clips in the same folds: `decide`.

    Args:
        runs: what each came to, by its name; of one data set.
        contrasts: a method of the first run, and the one of each other run that it is held against.
        comparisons: order, margin and alpha.
        other_data: whether what was recorded of those who are tested may differ.

    Returns:
        A table `DECIDED`, whose methods are called `method (run)`.

    Raises:
        ConfigError: a run has no such method, or another data set.
        DataError: two runs have not tested the same clips in the same folds with the same seeds, or clips of
            the same names hold something else.
    """
    (first, results), *others = runs.items()
    parts: dict[str, pl.DataFrame] = {}
    pairs = []
    for name, other in others:
        if other.facts.dataset != results.facts.dataset:
            kinds = f"{first} is of {results.facts.dataset}, {name} of {other.facts.dataset}"
            raise ConfigError(f"{kinds}: expected runs of one data set")
        for method, baseline in contrasts:
            one, two = _rows(first, results, method), _rows(name, other, baseline)
            _check_split((first, _by_seeds(results, one)), (name, _by_seeds(other, two)))
            called = f"{method} ({first})", f"{baseline} ({name})"
            parts |= zip(called, (one, two), strict=True)
            pairs.append(called)
        people = results.predictions["subject"].unique().to_list()
        if not other_data and (why := changed(results.facts, other.facts, people)):
            expected = "expected the same recordings, or --other-data where they differ on purpose"
            raise DataError(f"{first} and {name}: {why}: {expected}")
    columns = ["method", "seed", "clip", "subject", "activity", "predicted"]
    table = pl.concat(
        [part.with_columns(method=pl.lit(name)).select(columns) for name, part in parts.items()]
    )
    return decide(table, replace(comparisons, contrasts=tuple(pairs)))


def over_datasets(
    runs: Mapping[str, Results], contrast: tuple[str, str], comparisons: Comparisons
) -> pl.DataFrame:
    """One pair of methods over the people of several data sets, who count alike; seeds are averaged.

    Args:
        runs: what each came to, by its name; each of another data set.
        contrast: the two methods, which every run has.
        comparisons: margin and alpha.

    Returns:
        A table `DECIDED`: all people together, which is tested, then each data set, which is described: it
        has no p and its verdict says so. `method` is who was tested, `baseline` the two methods.

    Raises:
        ConfigError: two runs are of one data set, one has no such method, or is a control.
        DataError: somebody is in two runs.
    """
    for name, results in runs.items():
        if results.facts.protocol.get("shuffle_labels") is not None:
            raise ConfigError(
                f"{name}: a control with shuffled labels, expected runs with labels as they are"
            )
    for one, other in pairwise(sorted(runs, key=lambda name: runs[name].facts.dataset)):
        if runs[one].facts.dataset == runs[other].facts.dataset:
            kinds = f"{one} and {other} are both of {runs[one].facts.dataset}"
            raise ConfigError(f"{kinds}: expected runs of one data set, or each of another")
    for one, other in combinations(runs, 2):
        if why := shared_person(runs[one], runs[other]):
            raise DataError(f"{one} and {other}: {why}: expected runs of different people")
    differences = []
    for name, results in runs.items():
        table = pl.concat([_rows(name, results, method) for method in contrast])
        differences.append(paired(by_subject(table), *contrast))
    everybody = np.concatenate(differences)
    rows = []
    for who, part in [(POOLED, everybody), *zip(runs, differences, strict=True)]:
        row = measure(part[:, None], comparisons)
        row |= {"method": who, "baseline": f"{contrast[0]} − {contrast[1]}", "seeds": None}
        if who != POOLED:
            row |= dict.fromkeys(("p", "p_adjusted", "p_equivalent", "detectable"))
            row["verdict"] = DESCRIBED_ONLY
        rows.append({name: row.get(name) for name in DECIDED})
    return pl.DataFrame(rows, schema=DECIDED, orient="row")


def _rows(name: str, results: Results, method: str) -> pl.DataFrame:
    """A run's predictions by one method."""
    if method not in results.facts.methods:
        raise ConfigError(
            f"{name}: no method {method!r}, expected one of: {', '.join(results.facts.methods)}"
        )
    return results.predictions.filter(pl.col("method") == method)


def _by_seeds(results: Results, rows: pl.DataFrame) -> pl.DataFrame:
    """A method's rows; an ensemble's once for each of the seeds that it is over."""
    if not rows["seed"].is_null().all():
        return rows
    seeds = pl.DataFrame({"seed": results.facts.seeds}, schema={"seed": pl.Int64})
    return rows.drop("seed").join(seeds, how="cross")


def _check_split(one: tuple[str, pl.DataFrame], other: tuple[str, pl.DataFrame]) -> None:
    """Refuse two methods that were not tested on the same clips in the same folds, with the same seeds."""
    key = ["fold", "seed", "clip", "subject", "activity"]
    tables = [table.select(key).sort(key) for _, table in (one, other)]
    if tables[0].equals(tables[1]):
        return
    strange = pl.concat(
        [tables[0].join(tables[1], on=key, how="anti"), tables[1].join(tables[0], on=key, how="anti")]
    )
    where = ", ".join(f"{name} {value!r}" for name, value in strange.row(0, named=True).items())
    raise DataError(
        f"{one[0]} and {other[0]}: only one of them tested {where}: expected one split and the same seeds"
    )
