"""All that a study has to do: networks, then the layers over their scores; and it as work for an executor."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from plait.clips import Clips
from plait.compute.executors import Work
from plait.config import Study
from plait.results import JOBS
from plait.study.jobs import At, Job, Setting, plan
from plait.study.stacks import StackJob, plan_stacks
from plait.types import Dataset, Fold

Item = Job | StackJob


class Plan(NamedTuple):
    """The jobs of a study's rows by (method, fold, seed), and those of folds within that stacks wait for."""

    rows: dict[At, Item]
    inner: tuple[Job, ...]

    def distinct(self) -> list[Item]:
        """Each job once, whatever rows have it; those that others wait for come first."""
        first: dict[str, Item] = {}
        networks = [job for job in self.rows.values() if isinstance(job, Job)]
        for job in (*networks, *self.inner, *self.rows.values()):
            first.setdefault(job.key, job)
        return list(first.values())


def plan_all(
    study: Study,
    dataset: Dataset,
    clips: Mapping[str, Clips],
    folds: Sequence[Fold],
    setting: Setting,
    epochs: Mapping[str, int] = MappingProxyType({}),
) -> Plan:
    """All jobs of a study.

    Args:
        study: its methods and seeds.
        dataset: whose activities are told apart.
        clips: what each method is given, by its name.
        folds: who trains, who validates and who is tested.
        setting: what the jobs share.
        epochs: how many a method takes, by its name, where another training has chosen.
    """
    networks = plan(study, dataset, clips, folds, setting, epochs)
    stacks = plan_stacks(study, dataset, clips, folds, setting, networks, epochs)
    return Plan({**networks, **stacks.jobs}, stacks.inner)


def work_of(setting: Setting) -> Work[Item]:
    """Jobs as work for an executor."""
    return Work(
        setting.out,
        do=functools.partial(_do, setting=setting),
        leaves=lambda job: f"{JOBS}/{job.key}",
        needs=lambda job: tuple(f"{JOBS}/{key}" for key in job.needs),
        reads=lambda job: job.reads(setting),
        moved=lambda job, where: job.moved(where),
        cost=lambda job: job.cost,
        label=lambda job: job.label,
    )


def _do(job: Item, out: Path, setting: Setting) -> None:
    job.run(replace(setting, out=out))
