"""One job = (method, fold, seed): its key, its folder on disk, and how it is done."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from plait.clips import Clips
from plait.errors import DataError
from plait.sources import describe, resolve, source_key
from plait.store import atomic, content_key, read_json, write_json
from plait.study.config import Encoder, Method, Protocol, Study, Train
from plait.study.donors import TRAIN_WEIGHTS, WEIGHTS, save_weights
from plait.study.network import maker
from plait.study.train import fit
from plait.types import Dataset, Fold

SCORES: dict[str, pl.DataType | type[pl.DataType]] = {
    "clip": pl.String,
    "subject": pl.String,
    "activity": pl.String,
    "predicted": pl.String,
    "scores": pl.List(pl.Float32),
}


@dataclass(frozen=True)
class Setting:
    """What all jobs of a study share: where its results lie, and what it runs on."""

    dataset: str
    out: Path
    threads: int
    device: str

    def folder(self, key: str) -> Path:
        """Where the job of this key leaves its results; it stands once the job is finished, and whole."""
        return self.out / "jobs" / key


@dataclass(frozen=True)
class Job:
    """A training to be done, and the key of everything that decides its result.

    `clips` are what the method is given: where a modality has features, these. `donors` are keys of jobs that have to
    be done before, by the modality whose encoder comes from there.
    """

    label: str
    method: Method
    train: Train
    protocol: Protocol
    clips: Clips
    fold: Fold
    seed: int
    donors: dict[str, str]
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
    for name in study.order():
        method = study.method(name)
        train = study.training(name)
        shared = {
            "use": method.use,
            "args": method.args,
            "augment": method.augment,
            "encoders": _encoders(method, dataset),
            "train": asdict(train),
            "refit": study.protocol.refit,
            "activities": dataset.activities,
            "clips": clips[name].key(method.modalities),
            "sources": source_key(_named(method, train, dataset)),
            "threads": setting.threads,
            "device": setting.device,
            "torch": torch.__version__,
        }
        for fold in folds:
            for seed in study.seeds:
                parts = {"train": fold.train, "val": fold.val, "test": fold.test}
                label = f"{name}, fold {fold.name}, seed {seed}"
                given = {m: own.donor for m, own in method.encoders.items() if own.donor}
                donors = {m: jobs[donor, fold.name, seed].key for m, donor in given.items()}
                decides = {**shared, "fold": parts, "seed": seed, "donors": donors}
                jobs[name, fold.name, seed] = Job(
                    label, method, train, study.protocol, clips[name], fold, seed, donors, decides
                )
    return jobs


def run_job(job: Job, setting: Setting) -> None:
    """Train, score and leave one atomic folder: predictions, validation, history, weights, and what decided them."""
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        dataset: Dataset = resolve(setting.dataset, "dataset")
        clips, fold = job.clips, job.fold
        donors = {modality: setting.folder(key) for modality, key in job.donors.items()}
        done = fit(job.method, job.train, job.protocol, dataset, clips, fold, job.seed, setting.device, donors)
    finally:
        torch.set_num_threads(before)
    with atomic(setting.folder(job.key)) as folder:
        folder.mkdir()
        _scored(clips, clips.of(fold.test), done.test, dataset).write_parquet(folder / "predictions.parquet")
        _scored(clips, clips.of(fold.val), done.val, dataset).write_parquet(folder / "validation.parquet")
        done.history.write_parquet(folder / "history.parquet")
        save_weights(done.network, folder / WEIGHTS)
        if done.chosen is not None:
            save_weights(done.chosen, folder / TRAIN_WEIGHTS)
        parameters = sum(p.numel() for p in done.network.parameters() if p.requires_grad)
        write_json(folder / "job.json", {"seconds": done.seconds, "parameters": parameters, "decided by": job.decides})


def read_scores(folder: Path, name: str) -> pl.DataFrame:
    """A finished job's `predictions` or `validation`.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / f"{name}.parquet"
    try:
        return pl.read_parquet(path, schema=SCORES)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: not readable; remove its folder and run again") from error


def read_facts(folder: Path) -> dict[str, Any]:
    """A finished job's `seconds` and `parameters`.

    Raises:
        DataError: the file is damaged.
    """
    facts: dict[str, Any] = read_json(folder / "job.json")
    return facts


def _scored(clips: Clips, rows: np.ndarray, scores: np.ndarray, dataset: Dataset) -> pl.DataFrame:
    table = [clips.table[row] for row in rows]
    return pl.DataFrame(
        {
            "clip": [clip.name for clip in table],
            "subject": [clip.subject for clip in table],
            "activity": [clip.activity for clip in table],
            "predicted": [dataset.activities[best] for best in scores.argmax(axis=1)],
            "scores": scores.tolist(),
        },
        schema=SCORES,
    )


def _encoders(method: Method, dataset: Dataset) -> dict[str, Any]:
    """What makes each modality's encoder, in terms of JSON."""
    made: dict[str, Any] = {}
    for name in method.modalities:
        own = method.encoders.get(name, Encoder())
        make = {"use": own.use, "args": own.args} if own.use else describe(maker(own, dataset, name))
        made[name] = {"frozen": own.frozen, "make": make} if own.donor else make
    return made


def _named(method: Method, train: Train, dataset: Dataset) -> list[Any]:
    """Every object a method's settings name, and the loop that trains it."""
    paths = [method.use, train.optimizer, *method.augment.values()]
    paths += [train.schedule.use] if train.schedule else []
    encoders = [maker(method.encoders.get(name, Encoder()), dataset, name) for name in method.modalities]
    return [fit, *encoders, *(resolve(path, "study") for path in paths if path)]
