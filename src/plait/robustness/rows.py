"""Rows that are made of other rows, under a fault: by the layers, means and temperatures of the run."""

from collections.abc import Set

import polars as pl
import torch
from threadpoolctl import threadpool_limits

from plait.compute.machine import settled
from plait.config import Study
from plait.results import COLUMNS, ORDER, WEIGHTS, job_folder
from plait.study.finished import FinishedRun
from plait.study.made import with_made
from plait.study.stacks import read_layer, stacked


def rows_of(run: FinishedRun, study: Study, table: pl.DataFrame) -> pl.DataFrame:
    """What networks say, and what is made of it, by `ORDER`: averages, mixtures, stacks, ensembles.

    A stack's layer is the one that its job left; a mixture's temperatures are those of the run's validation.

    Args:
        run: whose layers and temperatures these are.
        study: the methods that are looked at.
        table: a predictions table of all of its networks.

    Raises:
        DataError: a layer cannot be read, or tables are not of the same clips.
    """
    facts = run.results.facts
    parts = {
        (str(method), str(fold), int(seed)): part
        for (method, fold, seed), part in table.group_by("method", "fold", "seed", maintain_order=True)
    }
    tables = [table]
    before = torch.get_num_threads()
    torch.set_num_threads(facts.threads)
    try:
        with settled(), threadpool_limits(facts.threads):
            for name, method in study.methods.items():
                for place, key in facts.methods[name].keys.items() if method.stack else ():
                    fold, _, seed = place.rpartition("/")
                    beneath = [parts[row, fold, int(seed)] for row in method.stack]
                    path = job_folder(run.folder, key) / WEIGHTS
                    layer = read_layer(path, len(beneath), len(facts.activities))
                    over = stacked(layer, beneath, facts.activities)
                    tables.append(over.with_columns(method=pl.lit(name)).select(COLUMNS))
    finally:
        torch.set_num_threads(before)
    validation = run.results.validation
    judged = table.clear() if validation is None else validation
    whole = pl.concat([part.select(COLUMNS) for part in tables])
    return with_made(study, whole, judged, facts.activities).sort(ORDER)


def made_of(study: Study, readers: Set[str]) -> set[str]:
    """Methods that read a modality, and rows that are made of theirs."""
    affected = set(readers)
    made = {name: set(method.made_of) for name, method in study.methods.items() if method.making}
    while more := {name for name, rows in made.items() if affected & rows} - affected:
        affected |= more
    return affected
