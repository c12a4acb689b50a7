"""A finished job's network, and what it was given of a clip: for looking into it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from plait.analysis.choice import Choice, choose
from plait.analysis.likeness import changed
from plait.clips import Clips, Cut
from plait.compute.machine import settled_numerics
from plait.config import Study
from plait.errors import ConfigError, DataError
from plait.results import (
    PREDICTIONS,
    STUDY,
    TRAIN_WEIGHTS,
    WEIGHTS,
    MethodFacts,
    Results,
    job_folder,
    read_decided,
    read_results,
    read_scores,
)
from plait.study.facts import people_facts, streams_of
from plait.study.inputs import inputs
from plait.study.load import load_study
from plait.study.shuffled import clips_of
from plait.training.network import Network, restored
from plait.trust import NOBODY, Trust
from plait.types import Dataset


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, opened: its study, data set and clips, and what it came to."""

    folder: Path
    study: Study
    dataset: Dataset
    cuts: list[Cut]
    results: Results

    @property
    def methods(self) -> Mapping[str, MethodFacts]:
        """What its methods were, by name."""
        return self.results.facts.methods

    @classmethod
    def open(cls, folder: Path, data: Path | None = None, trust: Trust = NOBODY) -> "FinishedRun":
        """The run in `folder`; `data` is where its clips lie now, if not where they lay then.

        Raises:
            ConfigError: its study names things that are not there, or that are not plait's and not trusted.
            DataError: a file is missing or damaged, or the clips are not what they were.
        """
        study = load_study(folder / STUDY, whole=False)
        results = read_results(folder)
        dataset = trust.dataset(study.dataset, f"{folder / STUDY}: dataset")
        for name, method in study.methods.items():
            for where, path in method.networks():
                trust.network(path, f"{folder / STUDY}: methods.{name}.{where}")
        if dataset.activities != results.facts.activities:
            then, here = (", ".join(names) for names in (results.facts.activities, dataset.activities))
            raise DataError(
                f"{folder}: a run of other activities: {then}; {study.dataset} has {here}, in this order"
            )
        source = data or Path(results.facts.data or ".")
        cuts = clips_of(study, dataset, source).cuts
        now = replace(results.facts, streams=streams_of(study, dataset), people=people_facts(cuts))
        if why := changed(results.facts, now, results.facts.people):
            expected = "expected what it was run on; run it again, or give its own --data"
            raise DataError(f"{folder}: {why} in {source} than when it was run: {expected}")
        return cls(folder, study, dataset, cuts, results)

    def row(self, clip: str) -> int:
        """The number of the clip called `clip`.

        Raises:
            ConfigError: there is none.
        """
        for number, (_, one) in enumerate(self.cuts):
            if one.name == clip:
                return number
        some = ", ".join(one.name for _, one in self.cuts[:3])
        raise ConfigError(f"no clip {clip!r} in {self.folder}, expected one such as {some}")

    def choice(self) -> Choice | None:
        """The fusion that stands for the others, as in Table 2; None where the run has none."""
        return choose(self.dataset.name, self.methods, self.study.modalities, self.results.validation)

    def clips(self, method: str) -> Clips:
        """What `method` was given, all clips.

        Raises:
            ConfigError: the run has no such method, or trained none of that name.
        """
        if method not in self.methods or not self.methods[method].use:
            known = ", ".join(name for name, row in self.methods.items() if row.use)
            raise ConfigError(f"no trained method {method!r} in {self.folder}, expected one of: {known}")
        alone = self.study.only([method])
        # Features are found again by the device and the threads that made them.
        device, threads = self.results.facts.device, self.results.facts.feature_threads
        return inputs(alone, self.dataset, self.cuts, device, threads=threads)[method]

    def fold_of(self, method: str, clip: str) -> str:
        """The `fold/seed` of the job that tested the clip called `clip`: the first seed's.

        Raises:
            ConfigError: no fold tests it, or several do.
        """
        rows = self.results.predictions.filter(pl.col("method") == method, pl.col("clip") == clip)
        folds = rows["fold"].unique().to_list()
        found = [key for key in self.methods[method].keys if key.rpartition("/")[0] in folds]
        if len(folds) != 1 or not found:
            known = ", ".join(found or self.methods[method].keys)
            who = f"{len(folds)} folds test" if folds else "no fold tests"
            raise ConfigError(f"{who} clip {clip!r}, expected --fold, one of: {known}")
        return found[0]

    def tested(self, method: str, fold: str) -> np.ndarray:
        """The numbers of the clips that `method` was tested on in `fold` (`fold/seed`).

        Raises:
            ConfigError: there is no such fold.
            DataError: the job's predictions cannot be read.
        """
        names = set(read_scores(self._job(method, fold), PREDICTIONS)["clip"])
        return np.array(
            [row for row, (_, clip) in enumerate(self.cuts) if clip.name in names], dtype=np.int64
        )

    def network(self, method: str, fold: str, clips: Clips) -> Network:
        """The network that `method` ended with in `fold` (`fold/seed`), in eval mode.

        Raises:
            ConfigError: there is no such fold.
            DataError: its weights are missing, damaged, or of another version of the code; or these clips are
                not those that it was given.
        """
        self._check_clips(method, fold, clips)
        spelled, path = self.study.method(method), self.weights(method, fold)
        return restored(spelled, self.dataset, clips.shapes, f"methods.{method}", path)

    def weights(self, method: str, fold: str) -> Path:
        """The weights that `method` ended with in `fold` (`fold/seed`).

        Raises:
            ConfigError: there is no such fold.
        """
        return self._job(method, fold) / WEIGHTS

    def chosen_weights(self, method: str, fold: str) -> Path:
        """The weights of `method` in `fold` (`fold/seed`) that have not seen who validated.

        Raises:
            ConfigError: there is no such fold.
        """
        folder = self._job(method, fold)
        return folder / (TRAIN_WEIGHTS if (folder / TRAIN_WEIGHTS).is_file() else WEIGHTS)

    def _check_clips(self, method: str, fold: str, clips: Clips) -> None:
        """Refuse clips, or features, that the job was not given; other processors have other digits."""
        decided = read_decided(self._job(method, fold))
        if decided.get("numerics") != settled_numerics(decided["device"]):
            return
        parts = decided["fold"]
        people = {*parts["train"], *parts["val"], *parts["test"]}
        given = clips.among(sorted(people), parts["by"])
        if given.key(self.methods[method].modalities) != decided["clips"]:
            others = (
                "clips are others (other data, or cut or made into features otherwise) than when it was run"
            )
            raise DataError(
                f"{self.folder}: {method}, fold {fold}: {others}; run it again, or give its own --data"
            )

    def _job(self, method: str, fold: str) -> Path:
        """The folder of the job."""
        key = self.methods[method].keys.get(fold)
        if key is None:
            raise ConfigError(f"no fold {fold!r}, expected one of: {', '.join(self.methods[method].keys)}")
        return job_folder(self.folder, key)


def grids_of(
    network: Network, clips: Clips, method_modalities: tuple[str, ...], rows: np.ndarray
) -> dict[str, Tensor]:
    """The grids of the clips in `rows`, `(len(rows), *shape)` by modality; they lack none of these."""
    batch = clips.batch(method_modalities, rows)
    with torch.inference_mode():
        return {name: encoder(batch[name]) for name, encoder in network.encoders.items()}
