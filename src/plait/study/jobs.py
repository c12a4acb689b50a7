"""One job = (method, fold, seed): its key, how it is done, what it leaves."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn

from plait.clips import Clips
from plait.compute.machine import keep_memory, settled, settled_numerics, wide_products
from plait.compute.seeds import OWN_DRAWS, drawn_alike, left_alone
from plait.config import Encoder, Method, Study, Train, Training
from plait.contents import describe, network_key, settings
from plait.errors import ConfigError, PlaitError, PlaitWarning
from plait.keying import source_key
from plait.objects import resolve
from plait.results import TRAIN_WEIGHTS, WEIGHTS, JobFacts, job_folder, scored, write_job
from plait.source import of_plait
from plait.store import atomic, content_key
from plait.training.course import Task
from plait.training.fit import Trained, fit
from plait.training.network import build, maker, save_weights
from plait.training.ranks import Ranks, launch
from plait.types import Dataset, Fold

At = tuple[str, str, int]  # a job's method, fold and seed


@dataclass(frozen=True)
class Setting:
    """What all jobs of a study share.

    Args:
        dataset: `"package.module:Name"`.
        out: where results lie.
        threads: that a job takes.
        device: what it is computed on.
    """

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

    Args:
        label: what it is, for a person.
        method: what is trained.
        train: how.
        clips: what the method is given, features or tensors, of the people of the fold alone.
        fold: who trains, who validates and who is tested.
        seed: of weights, order and whatever else is drawn.
        refit: whether a network is trained once more, on who validated as well.
        donors: keys of jobs that have to be done before, by the modality whose encoder comes from there.
        decides: all that decides its result, in terms of JSON.
        teachers: keys of other jobs that have to be done before, by the modality whose encoder an objective
            looks at, with the settings of that encoder.
        epochs: how many it takes, where another training has chosen.
        made_as: the key under which it was done where another one would be made of it here.
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
    epochs: int | None = None
    made_as: str | None = None
    teachers: dict[str, tuple[str, Encoder]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Equal for jobs whose results are equal, whatever they are called."""
        return self.made_as or content_key(self.decides)

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the jobs that have to be done before."""
        return tuple(dict.fromkeys([*self.donors.values(), *(key for key, _ in self.teachers.values())]))

    @property
    def cost(self) -> float:
        """About how long it takes: values read in an epoch times the most epochs."""
        values = sum(math.prod(self.clips.shapes[m]) for m in self.method.modalities)
        return float(values * len(self.clips.of(self.fold.train, self.fold.by)) * self.train.max_epochs)

    def reads(self, setting: Setting) -> tuple[Path, ...]:
        """The arrays of its modalities, and the weights of its donors and teachers."""
        arrays = dict.fromkeys(file for m in self.method.modalities for file in self.clips.arrays[m].files)
        weights = [setting.folder(key) / name for key in self.needs for name in (WEIGHTS, TRAIN_WEIGHTS)]
        return (*arrays, *(path for path in weights if path.exists()))

    def moved(self, where: Mapping[Path, Path]) -> "Job":
        """The same job, reading arrays at other paths."""
        arrays = {m: rows.made(lambda file: where.get(file, file)) for m, rows in self.clips.arrays.items()}
        return replace(self, clips=replace(self.clips, arrays=arrays))

    def run(self, setting: Setting) -> None:
        """Train and score, as `run_job`."""
        run_job(self, setting)


def plan(
    study: Study,
    dataset: Dataset,
    clips: Mapping[str, Clips],
    folds: Sequence[Fold],
    setting: Setting,
    epochs: Mapping[str, int] = MappingProxyType({}),
) -> dict[At, Job]:
    """The trainings of a study by (method, fold, seed), donors first; what comes to the same shares a key.

    Args:
        study: its methods and seeds.
        dataset: whose activities are told apart.
        clips: what each method is given, by its name.
        folds: who trains, who validates and who is tested.
        setting: what the jobs share.
        epochs: how many a method takes, by its name, where another training has chosen.
    """
    jobs: dict[At, Job] = {}
    numerics = settled_numerics(setting.device)
    for training in study.trainings():
        name, method, train = training
        shared = {**_decides(study, dataset, setting, training), "numerics": numerics}
        if start := _start(method, dataset, clips[name].shapes, f"methods.{name}"):
            shared["start"] = start
        if name in epochs:
            shared["epochs"] = epochs[name]
        views: dict[tuple[str, ...], tuple[Clips, str]] = {}  # the clips of some people, and their key
        taught = study.teachers(train)
        donor_of = {m: encoder.donor for m, encoder in method.encoders.items() if encoder.donor}
        for seed in study.seeds:
            for fold in folds:
                subjects = tuple(sorted({*fold.train, *fold.val, *fold.test}))
                if subjects not in views:
                    view = clips[name].among(subjects, fold.by)
                    views[subjects] = view, view.key(method.modalities)
                view, content = views[subjects]
                donors = {modality: jobs[donor, fold.name, seed].key for modality, donor in donor_of.items()}
                teachers = {m: (jobs[who, fold.name, seed].key, own) for m, (who, own) in taught.items()}
                decides = {**shared, "clips": content, "seed": seed, "donors": donors}
                if teachers:
                    decides["teachers"] = {modality: key for modality, (key, _) in teachers.items()}
                parts = {"train": fold.train, "val": fold.val, "test": fold.test, "by": fold.by}
                jobs[name, fold.name, seed] = Job(
                    label=f"{name}, fold {fold.name}, seed {seed}",
                    method=method,
                    train=train,
                    clips=view,
                    fold=fold,
                    seed=seed,
                    refit=study.protocol.refit,
                    donors=donors,
                    decides={**decides, "fold": parts},
                    epochs=epochs.get(name),
                    teachers=teachers,
                )
    return jobs


def run_job(job: Job, setting: Setting) -> None:
    """Train and score; leaves an atomic folder, unless one stands already.

    It holds predictions, validation, history, weights, and what decided them. On a CPU these are the same
    whatever the process has computed, drawn or set in torch before, with `setting.threads` threads and the
    same instructions.

    Raises:
        PlaitError: where several devices share it, one of their processes failed.
    """
    if job.train.devices > 1:
        launch(job.train.devices, setting.device, partial(_take_part, job=job, setting=setting))
    else:
        _take_part(Ranks(), job, setting)


def dataset_here(setting: Setting, job: Job) -> Dataset:
    """The data set as this process has imported it, its activities in the order that the job was planned by.

    Raises:
        ConfigError: its activities are others here, or in another order, as those of a set are.
    """
    dataset: Dataset = resolve(setting.dataset, "dataset")
    planned = tuple(job.decides["activities"])
    if dataset.activities != planned:
        got, expected = ", ".join(dataset.activities), ", ".join(planned)
        raise ConfigError(
            f"dataset: {setting.dataset} has activities {got} in one process and {expected} in another, "
            "expected one order in all, for scores go by it: a set has none, sorted(...) has"
        )
    return dataset


def _take_part(ranks: Ranks, job: Job, setting: Setting) -> None:
    """Train as one of the devices that share a job; the first of them writes its folder."""
    keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        dataset = dataset_here(setting, job)
        donors = {modality: setting.folder(key) for modality, key in job.donors.items()}
        teachers = {modality: (setting.folder(key), own) for modality, (key, own) in job.teachers.items()}
        parts = (job.method, job.train, dataset, job.clips, job.fold, job.seed, job.refit)
        task = Task(*parts, donors, setting.device, job.epochs, teachers, ranks)
        with settled(), wide_products(), left_alone():
            trained = fit(task)
    finally:
        torch.set_num_threads(before)
    if ranks.number == 0 and not setting.folder(job.key).exists():
        _write(job, trained, dataset, setting.folder(job.key))


def _write(job: Job, trained: Trained, dataset: Dataset, path: Path) -> None:
    clips, fold, reads = job.clips, job.fold, set(job.method.modalities)

    def table(names: Sequence[str], scores: np.ndarray) -> pl.DataFrame:
        whose = [clips.table[row] for row in clips.of(names, fold.by)]
        seen = [trained.network.sees(reads.difference(clip.lacks)) for clip in whose]
        return scored(whose, scores, dataset.activities, seen)

    test, val = table(fold.test, trained.test), table(fold.val, trained.val)
    parameters = sum(p.numel() for p in trained.network.parameters() if p.requires_grad)
    facts = JobFacts(trained.seconds, parameters, _failure(trained), trained.measured)
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
    diverged = trained.history.filter(~pl.col("loss").is_finite())
    if diverged.is_empty():
        return "its network gives scores that are no numbers"
    return f"training diverged: from epoch {diverged['epoch'][0]} on the loss is no number"


def _start(method: Method, dataset: Dataset, shapes: Mapping[str, tuple[int, ...]], where: str) -> str | None:
    """A key of all that a network starts with where parts of it are not plait's, which may read it of files.

    None where seeds decide it, where nothing does, or where it cannot be built, as checks of methods say.
    """
    assert method.use is not None
    makers = [maker(method.encoders.get(name, Encoder()), dataset, name, where) for name in method.modalities]
    makers = [make for make in (*makers, resolve(method.use, where)) if make is not nn.Identity]
    if all(of_plait(getattr(make, "__module__", "")) for make in makers):
        return None
    keys: list[str] = []
    with suppress(PlaitError), settled():
        for _ in range(2):
            keys.append(network_key(drawn_alike(partial(build, method, dataset, shapes, where))))
    if len(set(keys)) < 2:
        return keys[0] if keys else None
    warnings.warn(f"network {OWN_DRAWS}", PlaitWarning, stacklevel=2)
    return None


def _decides(study: Study, dataset: Dataset, setting: Setting, training: Training) -> dict[str, Any]:
    """What decides the results of a method's jobs besides clips, folds and processor, in terms of JSON.

    Raises:
        ConfigError: a setting or an object that it names holds something whose content cannot be told.
        DataError: a file that it names cannot be read.
    """
    _, method, train = training
    names = {*study.modalities, *dataset.activities}  # a folder may be called like them

    def describe_setting(path: str, args: Mapping[str, Any]) -> list[Any]:
        return [describe(resolve(path, "study")), settings(args, names)]

    encoders: dict[str, Any] = {}
    makers: list[Callable[..., nn.Module]] = []
    for name in method.modalities:
        encoder = method.encoders.get(name, Encoder())
        makers.append(maker(encoder, dataset, name))
        network = [describe(makers[-1]), settings(encoder.args, names)]
        if encoder.trainable:
            network.append(asdict(encoder.trainable))
        encoders[name] = [encoder.frozen, encoder.donor is not None, network]
    assert method.use is not None
    paths = [method.use, train.optimizer, *method.augment.values()]
    optimizer, schedule = describe_setting(train.optimizer, train.args), None
    if train.schedule:
        paths.append(train.schedule.use)
        schedule = describe_setting(train.schedule.use, train.schedule.args)
    facts = {**asdict(train), "optimizer": optimizer, "args": None, "schedule": schedule}
    del facts["objective"], facts["log"]  # trackers are told of a job, and decide nothing
    for name in ("devices", "accumulate"):
        if facts[name] == 1:
            del facts[name]
    if train.objective:
        paths += [objective.use for objective in train.objective]
        facts["objective"] = [describe_setting(one.use, one.args) for one in train.objective]
    return {
        "method": describe_setting(method.use, method.args),
        "augment": {name: describe_setting(path, {}) for name, path in method.augment.items()},
        "encoders": encoders,
        "train": facts,
        "refit": study.protocol.refit,
        "activities": dataset.activities,
        "sources": source_key([fit, *makers, *(resolve(path, "study") for path in paths)]),
        "threads": setting.threads,
        "device": setting.device,
        "torch": torch.__version__,
    }
