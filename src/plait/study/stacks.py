"""A stack's job = (stack, fold, seed): a layer over scores, fitted on those of people whom no network saw.

In each fold the people who train are dealt to groups, and the stack's methods are trained anew for each on
the others: these are jobs like all others, of folds within the fold. The layer is fitted on what they say of
the groups, and applied to the scores of the fold's own jobs.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from safetensors.torch import save_file
from threadpoolctl import threadpool_limits

from plait.clips import Clips
from plait.compute.machine import settled, settled_numerics
from plait.config import Study
from plait.encoders.weights import read_weights
from plait.errors import DataError
from plait.fusion import Stack
from plait.fusion.scores import read_scores as as_tensors
from plait.keying import source_key
from plait.results import (
    EPOCH,
    JOB,
    PREDICTIONS,
    SCORED,
    UNSEEN,
    VALIDATION,
    WEIGHTS,
    JobFacts,
    read_job,
    read_scores,
    write_job,
)
from plait.store import atomic, content_key
from plait.study.folds import inner_folds
from plait.study.jobs import At, Job, Setting, plan
from plait.training.stacking import fit_stack
from plait.types import Dataset, Fold


@dataclass(frozen=True)
class StackJob:
    """A layer to be fitted, and the key of everything that decides it.

    Args:
        label: what it is, for a person.
        methods: keys of the fold's jobs whose scores it is applied to.
        inner: keys of the jobs on whose scores it is fitted, for each group in the order of `methods`.
        activities: in the order of the scores.
        l2: one, or several to choose from.
        decides: all that decides its result, in terms of JSON.
    """

    label: str
    methods: tuple[str, ...]
    inner: tuple[tuple[str, ...], ...]
    activities: tuple[str, ...]
    l2: tuple[float, ...]
    decides: dict[str, Any]
    cost: float = 0.0  # next to nothing beside a network's

    @property
    def key(self) -> str:
        """Equal for jobs whose results are equal, whatever they are called."""
        return content_key(self.decides)

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the jobs that have to be done before."""
        return tuple(dict.fromkeys([*self.methods, *(key for group in self.inner for key in group)]))

    def reads(self, setting: Setting) -> tuple[Path, ...]:
        """What those jobs left, but for networks."""
        paths = [setting.folder(key) / name for key in self.needs for name in (JOB, PREDICTIONS, VALIDATION)]
        return tuple(path for path in paths if path.exists())

    def moved(self, where: Mapping[Path, Path]) -> "StackJob":
        """The same job: it reads no arrays."""
        return self

    def run(self, setting: Setting) -> None:
        """Fit and score; leaves an atomic folder with the layer's weights, unless one stands already."""
        start, path = time.perf_counter(), setting.folder(self.key)
        before = torch.get_num_threads()
        torch.set_num_threads(setting.threads)
        try:
            with settled(), threadpool_limits(setting.threads):
                layer, facts, decided = self._fitted(setting)
        finally:
            torch.set_num_threads(before)
        test, val = (self._scored(layer, setting, name) for name in (PREDICTIONS, VALIDATION))
        facts = replace(facts, seconds=facts.seconds + time.perf_counter() - start)
        if path.exists():
            return
        with atomic(path) as folder:
            folder.mkdir()
            write_job(folder, facts, {**self.decides, **decided}, test, val, pl.DataFrame(schema=EPOCH))
            save_file(dict(layer.state_dict()), folder / WEIGHTS)

    def _fitted(self, setting: Setting) -> tuple[Stack, JobFacts, dict[str, Any]]:
        """The layer, what its job says of itself, and what was chosen."""
        layer = Stack(len(self.methods), len(self.activities))
        networks = {key: read_job(setting.folder(key)) for group in self.inner for key in group}
        seconds = sum(facts.seconds for facts in networks.values())
        parameters = layer.weight.numel() + layer.bias.numel()
        failed = next((facts.failed for facts in networks.values() if facts.failed), None)
        if failed:
            return layer, JobFacts(seconds, parameters, f"a network of a fold within: {failed}"), {}
        groups = [self._tables(setting, keys, PREDICTIONS) for keys in self.inner]
        truth = np.concatenate([self._truth(tables[0]) for tables in groups])
        numbers = np.repeat(np.arange(len(groups)), [tables[0].height for tables in groups])
        read = [as_tensors(tables, UNSEEN) for tables in groups if not tables[0].is_empty()]
        scores, says = (torch.cat(part, dim=1) for part in zip(*read, strict=True))
        try:
            layer, l2 = fit_stack(scores, says, truth, numbers, self.l2)
        except ValueError as error:
            return layer, JobFacts(seconds, parameters, str(error)), {}
        return layer, JobFacts(seconds, parameters), {"l2 chosen": l2}

    def _scored(self, layer: Stack, setting: Setting, name: str) -> pl.DataFrame:
        """The layer over the scores of the fold's own jobs, as `SCORED`."""
        tables = self._tables(setting, self.methods, name)
        if tables[0].is_empty():
            return tables[0].cast(pl.Schema(SCORED))
        return stacked(layer, tables, self.activities)

    def _tables(self, setting: Setting, keys: Sequence[str], name: str) -> list[pl.DataFrame]:
        """What jobs say of the same clips.

        Raises:
            DataError: they are not of the same clips.
        """
        tables = [read_scores(setting.folder(key), name).select(list(SCORED)) for key in keys]
        same = ["clip", "subject", "activity"]
        for key, table in zip(keys, tables, strict=True):
            if not table.select(same).equals(tables[0].select(same)):
                raise DataError(f"{setting.folder(key) / name}: of other clips than {keys[0]}'s; run again")
        return tables

    def _truth(self, table: pl.DataFrame) -> np.ndarray:
        return np.array([self.activities.index(name) for name in table["activity"]], dtype=np.int64)


def stacked(layer: Stack, tables: Sequence[pl.DataFrame], activities: Sequence[str]) -> pl.DataFrame:
    """The first of `tables`, of the same clips in one order, with what a layer over all their scores says."""
    scores, says = as_tensors(tables, UNSEEN)
    fused = layer(scores, says).float()
    best = zip(fused.numpy().argmax(axis=1).tolist(), says.any(dim=0).tolist(), strict=True)
    predicted = [activities[place] if said else UNSEEN for place, said in best]
    return tables[0].with_columns(
        predicted=pl.Series(predicted, dtype=pl.String),
        scores=pl.Series(fused.tolist(), dtype=pl.List(pl.Float32)),
    )


class Stacks(NamedTuple):
    """The jobs of a study's stacks, and those of the folds within that they wait for, donors first."""

    jobs: dict[At, StackJob]
    inner: tuple[Job, ...]


def plan_stacks(
    study: Study,
    dataset: Dataset,
    clips: Mapping[str, Clips],
    folds: Sequence[Fold],
    setting: Setting,
    networks: Mapping[At, Job],
    epochs: Mapping[str, int] = MappingProxyType({}),
) -> Stacks:
    """The jobs of a study's stacks.

    Networks of folds within are never trained once more on who validates, so that a layer knows nothing of
    those people either.

    Args:
        study: its methods and seeds.
        dataset: whose activities are told apart.
        clips: what each method is given, by its name.
        folds: who trains, who validates and who is tested.
        setting: what the jobs share.
        networks: the jobs of the study's own folds.
        epochs: how many a method takes, by its name, where another training has chosen.
    """
    jobs: dict[At, StackJob] = {}
    inner: dict[str, Job] = {}
    for name, method in study.methods.items():
        if not method.stack:
            continue
        alone = study.only(method.stack)
        alone = replace(alone, protocol=replace(alone.protocol, refit=False))
        shared = {
            "stack": method.args["l2"],
            "activities": dataset.activities,
            "sources": source_key([StackJob]),
            "threads": setting.threads,
            "numerics": settled_numerics("cpu"),
        }
        groups = [inner_folds(fold, method.args["folds"], f"methods.{name}.args.folds") for fold in folds]
        within = plan(alone, dataset, clips, [part for parts in groups for part in parts], setting, epochs)
        inner |= {job.key: job for job in within.values() if job.key not in inner}
        for fold, parts in zip(folds, groups, strict=True):
            for seed in study.seeds:
                own = tuple(networks[row, fold.name, seed].key for row in method.stack)
                keys = tuple(
                    tuple(within[row, part.name, seed].key for row in method.stack) for part in parts
                )
                jobs[name, fold.name, seed] = StackJob(
                    label=f"{name}, fold {fold.name}, seed {seed}",
                    methods=own,
                    inner=keys,
                    activities=dataset.activities,
                    l2=method.args["l2"],
                    decides={**shared, "methods": own, "inner": keys},
                )
    return Stacks(jobs, tuple(inner.values()))


def read_layer(path: Path, methods: int, classes: int) -> Stack:
    """The layer that a stack's job left.

    Args:
        path: of its weights.
        methods: over how many networks' scores.
        classes: how many activities.

    Raises:
        DataError: the file is missing or damaged, or of another stack.
    """
    layer = Stack(methods, classes)
    try:
        layer.load_state_dict(read_weights(path))
    except (DataError, RuntimeError) as error:
        raise DataError(f"{path}: not readable, or of another stack; run the study again") from error
    return layer.eval()
