"""Rows of a study's table that are made of other rows' scores: averages, mixtures, firsts, ensembles.

Stacks are fitted, and so are jobs (`study/stacks.py`); here they are rows like those of networks.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from plait.analysis.calibration import temperature
from plait.config import Method, Study
from plait.fusion import First, Mixture, combined
from plait.results import COLUMNS, UNSEEN, read_scores
from plait.study.jobs import At, Setting
from plait.study.work import Item


def scores_of(study: Study, jobs: Mapping[At, Item], setting: Setting, name: str) -> pl.DataFrame:
    """All jobs' `PREDICTIONS` or `VALIDATION` as one table."""
    parts = [
        read_scores(setting.folder(job.key), name).with_columns(
            study=pl.lit(study.name),
            method=pl.lit(method),
            fold=pl.lit(fold),
            seed=pl.lit(seed, dtype=pl.Int64),
        )
        for (method, fold, seed), job in jobs.items()
    ]
    return pl.concat(parts).select(COLUMNS)


def with_made(
    study: Study, table: pl.DataFrame, validation: pl.DataFrame, names: Sequence[str]
) -> pl.DataFrame:
    """A predictions table of what was trained, with the rows that are made of it.

    An ensemble's rows are of no seed (null), for they are of all.

    Args:
        study: whose methods these are.
        table: scores of test or of validation clips.
        validation: scores of validation clips, by which mixtures are calibrated; perhaps none.
        names: activities in the order of the scores.

    Raises:
        DataError: rows are not of the same clips.
    """
    if table.is_empty():
        return table
    rows = {str(name): part for (name,), part in table.group_by("method", maintain_order=True)}
    made = sorted(study.methods.items(), key=lambda row: bool(row[1].ensemble))  # which are made of others
    for row, method in made:
        if method.average:
            rows[row] = combined({name: rows[name] for name in method.average}, row, names)
        elif method.first:
            rows[row] = combined({name: rows[name] for name in method.first}, row, names, First())
        elif method.mixture:
            rows[row] = _mixture(row, method, rows, validation, names)
        elif method.ensemble:
            rows[row] = _ensemble(row, rows[method.ensemble], names)
    return pl.concat(rows.values())


def mixing(method: Method, validation: Sequence[pl.DataFrame], names: Sequence[str]) -> Mixture:
    """How a mixture weighs its methods, by what each said of the people who validate in one fold.

    Args:
        method: the mixture.
        validation: of each of its methods, one fold and seed; none or empty where nobody validates.
        names: activities in the order of the scores.
    """
    temperatures = [1.0] * len(method.mixture)
    if method.args["calibrated"] and validation:
        temperatures = [temperature(*_said(table, names)) for table in validation]
    return Mixture(method.args["confidence"], temperatures)


def _said(table: pl.DataFrame, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the clips of which something is said, and the places of what was done."""
    seen = table.filter(pl.col("predicted") != UNSEEN)
    scores = np.array(seen["scores"].to_list(), dtype=np.float64).reshape(-1, len(names))
    return scores, np.array([names.index(name) for name in seen["activity"]], dtype=np.int64)


def _mixture(
    row: str,
    method: Method,
    rows: dict[str, pl.DataFrame],
    validation: pl.DataFrame,
    names: Sequence[str],
) -> pl.DataFrame:
    """A mixture, fold by fold and seed by seed, for each has temperatures of its own."""
    at = ["fold", "seed"]
    whose = [validation.filter(pl.col("method") == name) for name in method.mixture]
    judged = [part.partition_by(at, as_dict=True) for part in whose]
    parts = [rows[name].partition_by(at, as_dict=True, maintain_order=True) for name in method.mixture]
    made = []
    for place in parts[0]:
        tables = {
            name: part.get(place, rows[name].clear())
            for name, part in zip(method.mixture, parts, strict=True)
        }
        how = mixing(method, [part[place] for part in judged if place in part], names)
        made.append(combined(tables, row, names, how))
    return pl.concat(made)


def _ensemble(row: str, table: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The mean over seeds."""
    nobodys = pl.lit(None, dtype=pl.Int64).alias("seed")
    seeds = table.partition_by("seed", as_dict=True, maintain_order=True)
    return combined(
        {f"seed {seed}": part.with_columns(nobodys) for (seed,), part in seeds.items()}, row, names
    )
