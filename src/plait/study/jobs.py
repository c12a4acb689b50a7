"""One job = (method, fold, seed): its key, its folder on disk, and how it is done."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from plait.clips import Clips
from plait.compute.machine import keep_memory, settled, settled_numerics, wide_products
from plait.config import Encoder, Method, Protocol, Study, Train
from plait.contents import describe, settings
from plait.objects import resolve, source_key
from plait.results import TRAIN_WEIGHTS, WEIGHTS, JobFacts, job_folder, scored, write_job
from plait.store import atomic, content_key
from plait.training.fit import Trained, fit
from plait.training.network import maker, save_weights
from plait.types import Dataset, Fold


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

    `clips` are what the method is given, of the people of the batch's folds alone: where a modality has features,
    these. `donors` are keys of jobs that have to
    be done before, by the modality whose encoder comes from there. Jobs of one `batch` are done at once.
    """

    label: str
    method: Method
    train: Train
    protocol: Protocol
    clips: Clips
    fold: Fold
    seed: int
    donors: dict[str, str]
    batch: str
    decides: dict[str, Any]

    @property
    def key(self) -> str:
        """Equal for jobs whose results are equal, whatever they are called."""
        return content_key(self.decides)


def plan(
    study: Study, dataset: Dataset, clips: Mapping[str, Clips], folds: Sequence[Fold], setting: Setting
) -> dict[tuple[str, str, int], Job]:
    """The jobs of a study by (method, fold, seed), donors first; rows that come to the same thing share a job's key.

    `clips` are what each method is given, by its name.
    """
    jobs: dict[tuple[str, str, int], Job] = {}
    here = settled_numerics(setting.device)
    for name in study.order():
        method = study.method(name)
        train = study.training(name)
        shared = {**_decides(method, train, study, dataset, setting), "numerics": here}
        own: dict[tuple[str, ...], tuple[Clips, str]] = {}  # clips of some people, and their key
        takes = {modality: own.donor for modality, own in method.encoders.items() if own.donor}
        for seed in study.seeds:
            for beside in _groups(folds, train.folds_at_once):
                people = tuple(sorted({who for fold in beside for who in (*fold.train, *fold.val, *fold.test)}))
                if people not in own:
                    seen = clips[name].among(people)
                    own[people] = seen, seen.key(method.modalities)
                seen, content = own[people]
                donors = [{m: jobs[donor, fold.name, seed].key for m, donor in takes.items()} for fold in beside]
                decides = [
                    {**shared, "clips": content, "fold": _parts(fold), "seed": seed, "donors": given}
                    for fold, given in zip(beside, donors, strict=True)
                ]
                batch = content_key(decides)
                for fold, given, decided in zip(beside, donors, decides, strict=True):
                    jobs[name, fold.name, seed] = Job(
                        label=f"{name}, fold {fold.name}, seed {seed}",
                        method=method,
                        train=train,
                        protocol=study.protocol,
                        clips=seen,
                        fold=fold,
                        seed=seed,
                        donors=given,
                        batch=batch,
                        decides={**decided, "batch": batch} if len(beside) > 1 else decided,
                    )
    return jobs


def run_jobs(jobs: Sequence[Job], setting: Setting) -> None:
    """Train and score the jobs of one batch; each leaves an atomic folder, unless one stands already.

    It holds predictions, validation, history, weights, and what decided them. On a CPU these are the same whatever the
    process has computed, drawn or set in torch before, with `setting.threads` threads and the same instructions.
    """
    one = jobs[0]
    keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        dataset: Dataset = resolve(setting.dataset, "dataset")
        donors = [{modality: setting.folder(key) for modality, key in job.donors.items()} for job in jobs]
        folds = [job.fold for job in jobs]
        with settled(), wide_products(), torch.random.fork_rng(devices=[]):
            trained = fit(
                one.method, one.train, one.protocol, dataset, one.clips, folds, one.seed, setting.device, donors
            )
    finally:
        torch.set_num_threads(before)
    for job, done in zip(jobs, trained, strict=True):
        if not setting.folder(job.key).exists():
            _leave(job, done, dataset, setting.folder(job.key))


def _leave(job: Job, done: Trained, dataset: Dataset, path: Path) -> None:
    clips, fold = job.clips, job.fold
    with atomic(path) as folder:
        folder.mkdir()
        test, val = (
            scored([clips.table[row] for row in rows], scores, dataset.activities)
            for rows, scores in ((clips.of(fold.test), done.test), (clips.of(fold.val), done.val))
        )
        save_weights(done.network, folder / WEIGHTS)
        if done.chosen is not None:
            save_weights(done.chosen, folder / TRAIN_WEIGHTS)
        parameters = sum(p.numel() for p in done.network.parameters() if p.requires_grad)
        facts = JobFacts(done.seconds, parameters, _failure(done))
        write_job(folder, facts, job.decides, test, val, done.history)


def _failure(done: Trained) -> str | None:
    """Why a job's scores are none, if so; it is done all the same, and would fail again."""
    if all(np.isfinite(scores).all() for scores in (done.test, done.val)):
        return None
    wrong = done.history.filter(~pl.col("loss").is_finite())
    if wrong.is_empty():
        return "its network gives scores that are no numbers"
    return f"training diverged: from epoch {wrong['epoch'][0]} on the loss is no number"


def _groups(folds: Sequence[Fold], size: int) -> Iterator[Sequence[Fold]]:
    for start in range(0, len(folds), size):
        yield folds[start : start + size]


def _parts(fold: Fold) -> dict[str, tuple[str, ...]]:
    return {"train": fold.train, "val": fold.val, "test": fold.test}


def _decides(method: Method, train: Train, study: Study, dataset: Dataset, setting: Setting) -> dict[str, Any]:
    """What decides the results of a method's jobs whatever the fold, in terms of JSON, but for clips and processor.

    Raises:
        ConfigError: a setting or an object that it names holds something whose content cannot be told.
        DataError: a file that it names cannot be read.
    """
    words = {*study.modalities, *dataset.activities}  # a folder may be called like them

    def told(path: str, args: Mapping[str, Any]) -> list[Any]:
        return [describe(resolve(path, "study")), settings(args, words)]

    encoders: dict[str, Any] = {}
    for name in method.modalities:
        own = method.encoders.get(name, Encoder())
        made = [describe(maker(own, dataset, name)), settings(own.args, words)]
        encoders[name] = [own.frozen, own.donor is not None, made]
    assert method.use is not None
    plain = asdict(replace(train, folds_at_once=1))  # the batch says which folds
    named = {"optimizer": told(train.optimizer, train.args), "args": None, "schedule": None}
    if train.schedule:
        named["schedule"] = told(train.schedule.use, train.schedule.args)
    return {
        "method": told(method.use, method.args),
        "augment": {name: told(path, {}) for name, path in method.augment.items()},
        "encoders": encoders,
        "train": {**plain, **named},
        "refit": study.protocol.refit,
        "activities": dataset.activities,
        "sources": source_key(_named(method, train, dataset)),
        "threads": setting.threads,
        "device": setting.device,
        "torch": torch.__version__,
    }


def _named(method: Method, train: Train, dataset: Dataset) -> list[Any]:
    """Every object a method's settings name, and the loop that trains it."""
    paths = [method.use, train.optimizer, *method.augment.values()]
    paths += [train.schedule.use] if train.schedule else []
    encoders = [maker(method.encoders.get(name, Encoder()), dataset, name) for name in method.modalities]
    return [fit, *encoders, *(resolve(path, "study") for path in paths if path)]
