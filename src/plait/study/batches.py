"""The jobs of a study as work for an executor: what is done at once, what it reads, needs and leaves."""

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from plait.compute.executors import Work
from plait.results import JOBS, TRAIN_WEIGHTS, WEIGHTS
from plait.study.jobs import Job, Setting, run_jobs

Batch = tuple[Job, ...]


def work_on(setting: Setting) -> Work[Batch]:
    """Batches of jobs as work for an executor."""
    return Work(
        setting.out,
        do=functools.partial(_do, setting=setting),
        leaves=lambda batch: tuple(f"{JOBS}/{job.key}" for job in batch),
        needs=lambda batch: tuple({f"{JOBS}/{key}": None for job in batch for key in job.donors.values()}),
        reads=functools.partial(_reads, setting=setting),
        moved=_moved,
        cost=_cost,
        label=lambda batch: " and ".join(filter(None, [batch[0].label, _others(len(batch) - 1)])),
    )


def _others(count: int) -> str:
    return f"{count} more folds" if count > 1 else "one more fold" if count else ""


def batched(jobs: Mapping[tuple[str, str, int], Job]) -> list[Batch]:
    """The jobs that are done at once, together, each once; donors first, as they come."""
    batches: dict[str, dict[str, Job]] = {}
    for job in jobs.values():
        batches.setdefault(job.batch, {})[job.key] = job
    return [tuple(batch.values()) for batch in batches.values()]


def _do(batch: Batch, out: Path, setting: Setting) -> None:
    run_jobs(batch, replace(setting, out=out))


def _reads(batch: Batch, setting: Setting) -> tuple[Path, ...]:
    """The arrays of the jobs' modalities, and their donors' weights."""
    arrays = dict.fromkeys(file for job in batch for m in job.method.modalities for file in job.clips.arrays[m].files)
    donors = dict.fromkeys(key for job in batch for key in job.donors.values())
    weights = [setting.folder(key) / name for key in donors for name in (WEIGHTS, TRAIN_WEIGHTS)]
    return (*arrays, *(path for path in weights if path.exists()))


def _moved(batch: Batch, where: Mapping[Path, Path]) -> Batch:
    """The same jobs, reading arrays at other paths."""
    arrays = {name: rows.made(lambda file: where.get(file, file)) for name, rows in batch[0].clips.arrays.items()}
    return tuple(replace(job, clips=replace(job.clips, arrays=arrays)) for job in batch)


def _cost(batch: Batch) -> float:
    """About how long a batch takes: values read in an epoch times the most epochs."""
    values = sum(math.prod(batch[0].clips.shapes[m]) for m in batch[0].method.modalities)
    clips = sum(len(job.clips.of(job.fold.train)) for job in batch)
    return float(values * clips * batch[0].train.max_epochs)
