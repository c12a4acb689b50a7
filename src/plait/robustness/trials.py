"""One trial = (fault, modality, severity, fold): its clips are cut once, and every network looks at them."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from plait.clips import Clips, Cut, Rows
from plait.clips.decided import Reading, contents_of
from plait.clips.rows import forget_maps
from plait.compute.executors import Work
from plait.compute.machine import keep_memory, settled, wide_products
from plait.config import Encoder
from plait.contents import describe
from plait.errors import DataError
from plait.features import Extraction, extract
from plait.keying import source_key
from plait.results import ROBUSTNESS, SCORED, UNSEEN, WEIGHTS, scored
from plait.robustness.worsen import Condition, Kept, cut_all, files_of, moved
from plait.store import atomic, content_key, read_json, read_parquet, scratch, write_json
from plait.study.jobs import Job, Setting, dataset_here
from plait.training.course import scores
from plait.training.grid_cache import known_grids
from plait.training.inputs import Inputs
from plait.training.network import restored
from plait.types import Dataset

PARTS = f"{ROBUSTNESS}/parts"
PART, TABLE = "part.json", "scores.parquet"
PART_SCHEMA = {"job": pl.String, **SCORED}
AT_ONCE = 64  # training clips that are averaged at once


@dataclass(frozen=True)
class Trial:
    """Networks to be looked at under one condition, on the test clips of one fold.

    Args:
        label: what it is, for a person.
        condition: what befalls the clips; None: nothing.
        cuts: the fold's test clips, with what streams the condition needs.
        jobs: whose networks; all of one fold.
        key: of all that decides the worsened clips, and how they are looked at.
    """

    label: str
    condition: Condition | None
    cuts: tuple[Cut, ...]
    jobs: tuple[Job, ...]
    key: str

    @property
    def leaves(self) -> str:
        """The folder that it leaves in the run's."""
        return f"{PARTS}/{content_key([self.key, [job.key for job in self.jobs]])}"


def trial_key(
    reading: Reading, condition: Condition | None, cuts: Sequence[Cut], made: Any, code: str
) -> str:
    """A key of all that decides worsened clips; jobs' keys tell networks, fold, and the clips as they were.

    Args:
        reading: of the data set whose clips these are.
        condition: what befalls them.
        cuts: the clips.
        made: what the fault is, as `describe` tells it.
        code: that of the fault, and of whatever is done here, as `source_key` tells it.

    Raises:
        ConfigError: the data set holds something whose content cannot be told.
    """
    if condition is None:
        return content_key(["clean", code])
    settings = [condition.called, made, condition.severity, condition.seed, condition.modality]
    if not condition.is_cut:
        return content_key([settings, code])
    modality = reading.dataset.modality(condition.modality)
    held = [cut for cut in cuts if cut[1].holds([modality.name])]
    return content_key([settings, code, reading.recipe(modality.name), contents_of(reading, modality, held)])


def code_of(fault: Any) -> tuple[Any, str]:
    """What a fault is, and its code with that of trials.

    Raises:
        ConfigError: it holds something whose content cannot be told.
    """
    return describe(fault), source_key([carry_out, type(fault)])


def standing(run: Path) -> dict[tuple[str, str], Path]:
    """The folders of what has been done in a run, by a trial's key and a job's.

    Raises:
        DataError: a part is damaged.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in sorted((run / PARTS).glob(f"*/{PART}")):
        said = read_json(path, "remove its folder and run again")
        try:
            found |= {(said["trial"], job): path.parent for job in said["jobs"]}
        except (TypeError, KeyError) as error:
            raise DataError(f"{path}: says no trial and jobs; remove its folder and run again") from error
    return found


@functools.lru_cache(maxsize=64)
def read_part(folder: Path) -> pl.DataFrame:
    """What a trial came to: `job`, then a table of schema `SCORED`.

    Raises:
        DataError: it is damaged.
    """
    return read_parquet(folder / TABLE, "remove its folder and run again", PART_SCHEMA)


def trials_as_work(setting: Setting, feature_threads: int | None) -> Work[Trial]:
    """Trials as work for an executor."""
    return Work(
        setting.out,
        do=functools.partial(_do, setting=setting, feature_threads=feature_threads),
        leaves=lambda trial: trial.leaves,
        needs=lambda trial: (),
        reads=functools.partial(_reads, setting=setting),
        moved=_moved,
        cost=lambda trial: float(len(trial.cuts) * len(trial.jobs)),
        label=lambda trial: trial.label,
    )


def _reads(trial: Trial, setting: Setting) -> tuple[Path, ...]:
    """Arrays of clips, weights, and the files of the streams that are cut."""
    files = [file for job in trial.jobs for file in (*job.reads(setting), setting.folder(job.key) / WEIGHTS)]
    recordings = dict.fromkeys(recording for recording, _ in trial.cuts)
    files += [file for recording in recordings for file in files_of(recording.streams)]
    return tuple(dict.fromkeys(files))


def _moved(trial: Trial, where: Mapping[Path, Path]) -> Trial:
    """The same trial, reading files at other places."""
    recordings = {recording: moved(recording, where) for recording, _ in trial.cuts}
    cuts = tuple((recordings[recording], clip) for recording, clip in trial.cuts)
    return replace(trial, cuts=cuts, jobs=tuple(job.moved(where) for job in trial.jobs))


def _do(trial: Trial, out: Path, setting: Setting, feature_threads: int | None) -> None:
    carry_out(trial, replace(setting, out=out), feature_threads)


def carry_out(trial: Trial, setting: Setting, feature_threads: int | None = None) -> None:
    """Cut the clips anew and score them by every network; leaves an atomic folder unless one stands already.

    The clips lie in the run's folder as long as they are looked at, and no longer.

    Raises:
        DataError: a stream, weights or clips cannot be read.
        ConfigError: a user's own fault fails.
    """
    keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        dataset = dataset_here(setting, trial.jobs[0])
        with settled(), wide_products(), torch.random.fork_rng(devices=[]), _aside(setting) as folder:
            given = _Given(trial, dataset, setting, folder, feature_threads)
            parts = [_scored(job, given, setting) for job in trial.jobs]
    finally:
        torch.set_num_threads(before)
    path = setting.out / trial.leaves
    if path.exists():
        return
    with atomic(path) as making:
        making.mkdir()
        pl.concat(parts).select(list(PART_SCHEMA)).write_parquet(making / TABLE)
        said = {"label": trial.label, "trial": trial.key, "jobs": [job.key for job in trial.jobs]}
        write_json(making / PART, said)


@contextmanager
def _aside(setting: Setting) -> Iterator[Path]:
    """A folder for clips and grids that nobody needs afterwards."""
    with scratch(setting.out / ROBUSTNESS / "clips", "clips made worse") as folder:
        try:
            yield folder
        finally:
            forget_maps()


class _Given:
    """What networks are given under a trial's condition: made once, whichever of them asks."""

    def __init__(
        self, trial: Trial, dataset: Dataset, setting: Setting, folder: Path, feature_threads: int | None
    ) -> None:
        self.trial, self.dataset, self.setting, self.folder = trial, dataset, setting, folder
        self.threads = feature_threads
        self.rows: dict[str, Rows] = {}
        self.worse: dict[int, Cut] = {}
        condition = trial.condition
        if condition is None or not condition.is_cut:
            return
        origins = [self._extraction(job) for job in trial.jobs]
        raw = [job for job, origin in zip(trial.jobs, origins, strict=True) if origin is None]
        kept = Kept(folder, raw[0].clips.shapes[condition.modality], len(trial.cuts)) if raw else None
        modality = dataset.modality(condition.modality)
        for row, (recording, clip), tensor in cut_all(modality, trial.cuts, condition):
            self.worse[row] = (recording, clip)
            if kept:
                kept.put(row, tensor, f"recording {recording.name}, modality {modality.name}, made worse")
        if kept:
            kept.close()
            self.rows["raw"] = Rows(
                (kept.file,) if self.worse else (),
                tuple((0, row) if row in self.worse else None for row in range(len(trial.cuts))),
            )

    def clips(self, job: Job) -> Clips:
        """The test clips of a job as its network is given them."""
        before = job.clips.among(job.fold.test, job.fold.by)
        condition = self.trial.condition
        if condition is None or condition.modality not in job.method.modalities:
            return before
        name = condition.modality
        if condition.is_replaced:
            mean = self._mean(job)
            held = before.arrays[name]
            rows = Rows(mean.files, tuple((held.has(row) and (0, 0)) or None for row in range(len(held))))
        elif not condition.is_cut:
            rows = Rows((), (None,) * len(before.table))
        else:
            rows = self._rows(job)
        table = [
            clip if rows.has(row) or not clip.holds([name]) else replace(clip, lacks=(*clip.lacks, name))
            for row, clip in enumerate(before.table)
        ]
        return Clips(tuple(table), {**before.arrays, name: rows}, before.shapes)

    def _extraction(self, job: Job) -> Extraction | None:
        assert self.trial.condition is not None
        return job.method.encoders.get(self.trial.condition.modality, Encoder()).features

    def _rows(self, job: Job) -> Rows:
        """The worsened clips, or features of them."""
        origin, condition = self._extraction(job), self.trial.condition
        assert condition is not None
        if origin is None:
            return self.rows["raw"]
        key, held = content_key(asdict(origin)), sorted(self.worse)
        if key not in self.rows:
            rows = Rows((), (None,) * len(self.trial.cuts))
            if held:
                made = extract(
                    self.dataset,
                    [self.worse[row] for row in held],
                    condition.modality,
                    origin,
                    device=self.setting.device,
                    threads=self.threads,
                )
                rows = made.rows.spread(held, len(self.trial.cuts))
            self.rows[key] = rows
        return self.rows[key]

    def _mean(self, job: Job) -> Rows:
        """The mean of a modality over the clips that the network was trained on."""
        assert self.trial.condition is not None
        name, fold = self.trial.condition.modality, job.fold
        trained = (*fold.train, *(fold.val if job.refit else ()))
        rows = job.clips.holding(job.method.modalities, job.clips.of(trained, fold.by))
        array = job.clips.arrays[name]
        key = content_key([array.among(rows.tolist()).names])
        if key not in self.rows:
            total = np.zeros(array.shape)
            for group in np.array_split(rows, -(-len(rows) // AT_ONCE)):
                total += array.read(group).double().sum(0).numpy()
            file = self.folder / f"mean-{key}.npy"
            np.save(file, (total / len(rows)).astype("<f4")[None])
            self.rows[key] = Rows.of(file)
        return self.rows[key]


def _scored(job: Job, given: _Given, setting: Setting) -> pl.DataFrame:
    """What a job's network says of the clips that it is given."""
    trial, dataset, method = given.trial, given.dataset, job.method
    clips, condition = given.clips(job), trial.condition
    if [clip.name for clip in clips.table] != [clip.name for _, clip in trial.cuts]:
        raise DataError(f"{trial.label}: the clips are others than those of {job.label}")
    weights, precision = setting.folder(job.key) / WEIGHTS, getattr(torch, job.train.precision)
    network = restored(method, dataset, clips.shapes, job.label, weights, precision).to(setting.device)
    donors = {name: setting.folder(key) / WEIGHTS for name, key in job.donors.items()}
    changed = condition.modality if condition is not None else None
    as_ever = [name for name in method.modalities if name != changed]
    grids = known_grids(network, method, donors, clips, setting.device, among=as_ever).arrays
    if changed in clips.arrays and clips.arrays[changed].files:
        folder = given.folder / "grids"
        anew = known_grids(network, method, donors, clips, setting.device, folder, [changed])
        grids = {**grids, **anew.arrays}
    known = Clips(clips.table, grids, {name: rows.shape for name, rows in grids.items()})
    inputs = Inputs(clips, known, method.modalities, setting.device)
    activities = dataset.activities
    probabilities = scores(network, inputs, np.arange(len(clips.table)), len(activities))
    lost = ~np.isfinite(probabilities).all(axis=1)
    probabilities[lost] = 1 / len(activities)
    reads = frozenset(method.modalities)
    seen = [network.sees(reads.difference(clip.lacks)) for clip in clips.table]
    table = scored(clips.table, probabilities, activities, seen)
    predicted = [UNSEEN if gone else name for gone, name in zip(lost, table["predicted"], strict=True)]
    return table.with_columns(pl.Series("predicted", predicted, pl.String), job=pl.lit(job.key))
