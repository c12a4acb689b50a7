"""One job = (method, fold, seed): its key, how it is done, what it leaves, and all that as work for an executor."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from plait.clips import Clips
from plait.compute.executors import Work
from plait.compute.machine import keep_memory, settled, settled_numerics, wide_products
from plait.config import Encoder, Method, Study, Train, Training
from plait.contents import describe, settings
from plait.objects import resolve, source_key
from plait.results import JOBS, TRAIN_WEIGHTS, WEIGHTS, JobFacts, job_folder, scored, write_job
from plait.store import atomic, content_key
from plait.training.course import Task
from plait.training.fit import Trained, fit
from plait.training.network import maker, save_weights
from plait.types import Dataset, Fold

At = tuple[str, str, int]  # a job's method, fold and seed


@dataclass(frozen=True)
class Setting:
    """What all jobs of a study share: where its results lie, and what it runs on."""

    dataset: str
    out: Path
    threads: int
    device: str

    def folder(self, key: str) -> Path:
        """Where the job of this key leaves its results."""
        return job_folder(self.out, key)


@dataclass(frozen=True)
class Job:
    """A training to be done, and the key of everything that decides its result.

    `clips` are what the method is given, of the people of the fold alone: where a modality has features, these.
    `donors` are keys of jobs that have to be done before, by the modality whose encoder comes from there.
    """

    label: str
    method: Method
    train: Train
    clips: Clips
    fold: Fold
    seed: int
    refit: bool
    donors: dict[str, str]
    decides: dict[str, Any]

    @property
    def key(self) -> str:
        """Equal for jobs whose results are equal, whatever they are called."""
        return content_key(self.decides)


def plan(
    study: Study, dataset: Dataset, clips: Mapping[str, Clips], folds: Sequence[Fold], setting: Setting
) -> dict[At, Job]:
    """The jobs of a study by (method, fold, seed), donors first; rows that come to the same thing share a job's key.

    `clips` are what each method is given, by its name.
    """
    jobs: dict[At, Job] = {}
    numerics = settled_numerics(setting.device)
    for training in study.trainings():
        name, method, train = training
        shared = {**_decides(study, dataset, setting, training), "numerics": numerics}
        of_people: dict[tuple[str, ...], tuple[Clips, str]] = {}  # clips of some people, and their key
        donors_of = {
            modality: encoder.donor for modality, encoder in method.encoders.items() if encoder.donor
        }
        for seed in study.seeds:
            for fold in folds:
                people = tuple(sorted({*fold.train, *fold.val, *fold.test}))
                if people not in of_people:
                    seen = clips[name].among(people)
                    of_people[people] = seen, seen.key(method.modalities)
                seen, content = of_people[people]
                donors = {modality: jobs[donor, fold.name, seed].key for modality, donor in donors_of.items()}
                who = {"train": fold.train, "val": fold.val, "test": fold.test}
                jobs[name, fold.name, seed] = Job(
                    label=f"{name}, fold {fold.name}, seed {seed}",
                    method=method,
                    train=train,
                    clips=seen,
                    fold=fold,
                    seed=seed,
                    refit=study.protocol.refit,
                    donors=donors,
                    decides={**shared, "clips": content, "fold": who, "seed": seed, "donors": donors},
                )
    return jobs


def distinct(jobs: Mapping[At, Job]) -> list[Job]:
    """Each job once, whatever rows have it; donors first, as they come."""
    first: dict[str, Job] = {}
    for job in jobs.values():
        first.setdefault(job.key, job)
    return list(first.values())


def work_of(setting: Setting) -> Work[Job]:
    """Jobs as work for an executor."""
    return Work(
        setting.out,
        do=functools.partial(_do, setting=setting),
        leaves=lambda job: f"{JOBS}/{job.key}",
        needs=lambda job: tuple({f"{JOBS}/{key}": None for key in job.donors.values()}),
        reads=functools.partial(_reads, setting=setting),
        moved=_moved,
        cost=_cost,
        label=lambda job: job.label,
    )


def run_job(job: Job, setting: Setting) -> None:
    """Train and score; leaves an atomic folder, unless one stands already.

    It holds predictions, validation, history, weights, and what decided them. On a CPU these are the same whatever the
    process has computed, drawn or set in torch before, with `setting.threads` threads and the same instructions.
    """
    keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        dataset: Dataset = resolve(setting.dataset, "dataset")
        donors = {modality: setting.folder(key) for modality, key in job.donors.items()}
        task = Task(
            job.method, job.train, dataset, job.clips, job.fold, job.seed, job.refit, donors, setting.device
        )
        with settled(), wide_products(), torch.random.fork_rng(devices=[]):
            trained = fit(task)
    finally:
        torch.set_num_threads(before)
    if not setting.folder(job.key).exists():
        _leave(job, trained, dataset, setting.folder(job.key))


def _leave(job: Job, trained: Trained, dataset: Dataset, path: Path) -> None:
    clips, fold = job.clips, job.fold
    test, val = (
        scored([clips.table[row] for row in clips.of(subjects)], scores, dataset.activities)
        for subjects, scores in ((fold.test, trained.test), (fold.val, trained.val))
    )
    parameters = sum(p.numel() for p in trained.network.parameters() if p.requires_grad)
    facts = JobFacts(trained.seconds, parameters, _failure(trained))
    with atomic(path) as folder:
        folder.mkdir()
        write_job(folder, facts, job.decides, test, val, trained.history)
        save_weights(trained.network, folder / WEIGHTS)
        if trained.chosen is not None:
            save_weights(trained.chosen, folder / TRAIN_WEIGHTS)


def _failure(trained: Trained) -> str | None:
    """Why a job's scores are none, if so; it is done all the same, and would fail again."""
    if all(np.isfinite(scores).all() for scores in (trained.test, trained.val)):
        return None
    wrong = trained.history.filter(~pl.col("loss").is_finite())
    if wrong.is_empty():
        return "its network gives scores that are no numbers"
    return f"training diverged: from epoch {wrong['epoch'][0]} on the loss is no number"


def _do(job: Job, out: Path, setting: Setting) -> None:
    run_job(job, replace(setting, out=out))


def _reads(job: Job, setting: Setting) -> tuple[Path, ...]:
    """The arrays of the job's modalities, and its donors' weights."""
    arrays = dict.fromkeys(file for m in job.method.modalities for file in job.clips.arrays[m].files)
    donors = dict.fromkeys(job.donors.values())
    weights = [setting.folder(key) / name for key in donors for name in (WEIGHTS, TRAIN_WEIGHTS)]
    return (*arrays, *(path for path in weights if path.exists()))


def _moved(job: Job, where: Mapping[Path, Path]) -> Job:
    """The same job, reading arrays at other paths."""
    arrays = {name: rows.made(lambda file: where.get(file, file)) for name, rows in job.clips.arrays.items()}
    return replace(job, clips=replace(job.clips, arrays=arrays))


def _cost(job: Job) -> float:
    """About how long a job takes: values read in an epoch times the most epochs."""
    values = sum(math.prod(job.clips.shapes[m]) for m in job.method.modalities)
    return float(values * len(job.clips.of(job.fold.train)) * job.train.max_epochs)


def _decides(study: Study, dataset: Dataset, setting: Setting, training: Training) -> dict[str, Any]:
    """What decides the results of a method's jobs whatever the fold, in terms of JSON, but for clips and processor.

    Raises:
        ConfigError: a setting or an object that it names holds something whose content cannot be told.
        DataError: a file that it names cannot be read.
    """
    _, method, train = training
    words = {*study.modalities, *dataset.activities}  # a folder may be called like them

    def described(path: str, args: Mapping[str, Any]) -> list[Any]:
        return [describe(resolve(path, "study")), settings(args, words)]

    encoders: dict[str, Any] = {}
    for name in method.modalities:
        encoder = method.encoders.get(name, Encoder())
        network = [describe(maker(encoder, dataset, name)), settings(encoder.args, words)]
        encoders[name] = [encoder.frozen, encoder.donor is not None, network]
    assert method.use is not None
    named = {"optimizer": described(train.optimizer, train.args), "args": None, "schedule": None}
    if train.schedule:
        named["schedule"] = described(train.schedule.use, train.schedule.args)
    return {
        "method": described(method.use, method.args),
        "augment": {name: described(path, {}) for name, path in method.augment.items()},
        "encoders": encoders,
        "train": {**asdict(train), **named},
        "refit": study.protocol.refit,
        "activities": dataset.activities,
        "sources": source_key(_code(method, train, dataset)),
        "threads": setting.threads,
        "device": setting.device,
        "torch": torch.__version__,
    }


def _code(method: Method, train: Train, dataset: Dataset) -> list[Any]:
    """Every object a method's settings name, and the loop that trains it."""
    paths = [method.use, train.optimizer, *method.augment.values()]
    paths += [train.schedule.use] if train.schedule else []
    encoders = [maker(method.encoders.get(name, Encoder()), dataset, name) for name in method.modalities]
    return [fit, *encoders, *(resolve(path, "study") for path in paths if path)]
