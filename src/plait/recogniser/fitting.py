"""A study's winner, trained on everyone: STUDY, METHOD -> MODEL."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from plait.clips import tensors
from plait.compute.executors import inline, processes
from plait.compute.machine import cores, device_called
from plait.compute.schedule import do_missing
from plait.config import Encoder, Method
from plait.contents import describe, network_key
from plait.errors import ConfigError, DataError
from plait.features.extraction import frozen_encoder
from plait.names import natural
from plait.objects import resolve
from plait.progress import Progress, silent
from plait.recogniser.card import card
from plait.recogniser.model import (
    MODEL,
    EncoderFacts,
    ModelFacts,
    NetworkFacts,
    SensorFacts,
    Training,
    read_facts,
    write_model,
)
from plait.recogniser.recogniser import digest_of
from plait.recogniser.source import Source, source_of, trained
from plait.recogniser.validation import tuned
from plait.recogniser.windows import Sliding, windows_of
from plait.results import (
    FACTS,
    JOBS,
    VALIDATION,
    WEIGHTS,
    read_histories,
    read_history,
    read_job,
)
from plait.store import checksum, content_key, taken
from plait.study.facts import commit, versions
from plait.study.jobs import Job, Setting, distinct, plan, work_of
from plait.study.load import load_study
from plait.study.run import Say, check_workers, naming
from plait.training.network import maker
from plait.types import Windows


def fit_model(
    study: Path | str | Mapping[str, Any],
    method: str,
    data: Path,
    out: Path,
    *,
    run: Path | None = None,
    leave_out: Sequence[str] = (),
    sets: Sequence[str] = (),
    stride_s: float | None = None,
    executor: str = "inline",
    workers: int | None = None,
    threads: int = 1,
    device: str = "auto",
    progress: Progress = silent,
    say: Say = print,
) -> ModelFacts:
    """Train a method of a study, and those that it is made from, on everyone; leave a model's folder.

    Epochs are the median of those that the folds of `run` chose. Without a run, or where its methods take all
    epochs, the study's rule holds: where a method chooses its best epoch, the last people validate, and it is
    trained once more with them for as many. Temperature, decoding and threshold are chosen on the people who
    validated, by networks that have not seen them: those of the run's folds, or those before the last
    training.

    Args:
        study: a study file, or a mapping of the same form.
        method: which one.
        data: where the recordings lie.
        out: the model's folder; a fit that was stopped goes on in it.
        run: a finished run of the study.
        leave_out: people whose clips are not looked at.
        sets: `key.path=value`, settings in the place of the file's.
        stride_s: from one window's start to the next one's; by default the study's, or half a window.
        executor: `inline` or `processes`.
        workers: jobs at once.
        threads: of each job.
        device: what is computed on.
        progress: told which jobs are done.
        say: called with each line to know.

    Raises:
        ConfigError: the study, the method or the run do not fit; `out` holds something else.
        DataError: a file is missing or damaged.
    """
    check_workers(executor, workers, threads)
    if executor == "ray":
        raise ConfigError("executor is 'ray', expected one of: inline, processes")
    if taken(out) and not any((out / name).exists() for name in (MODEL, JOBS)):
        raise ConfigError(f"{out}: holds files that no fit has left: expected another folder")
    with ExitStack() as stack:
        stack.enter_context(naming(study))
        source = source_of(load_study(study, sets), method, data, run, leave_out, say, progress)
        setting = Setting(source.study.dataset, out.resolve(), threads, device_called(device))
        epochs = _epochs(source, say)
        planned = plan(source.study, source.dataset, source.clips, (source.fold,), setting, epochs)
        jobs = {name: job for (name, _, _), job in planned.items()}
        sliding, cut = _sliding(source, stride_s)
        key = _key(source, jobs, sliding, cut)
        if (out / MODEL).is_file() and (standing := read_facts(out)).key == key:
            shutil.rmtree(out / JOBS, ignore_errors=True)
            return standing
        work = work_of(setting)
        pool = inline(work)
        if executor == "processes":
            pool = processes(work, workers or max(1, cores() // threads), threads)
        do_missing(distinct(planned), work, pool, progress)
        for job in jobs.values():
            if failed := read_job(setting.folder(job.key)).failed:
                raise DataError(f"{job.label}: {failed}")
    facts = _facts(source, key, epochs, jobs, setting, sliding)
    facts = tuned(source, facts, jobs, setting, sliding, cut, progress, say)
    networks = {
        name: trained(source, name, setting.folder(jobs[name].key) / WEIGHTS) for name in facts.networks
    }
    write_model(out, facts, networks, card(facts, source.run.results if source.run else None))
    shutil.rmtree(out / JOBS, ignore_errors=True)
    shutil.rmtree(out / ".locks", ignore_errors=True)
    return facts


def _epochs(source: Source, say: Say) -> dict[str, int]:
    """How many epochs each method takes, where the folds of a run chose them: their median."""
    if source.run is None:
        return {}
    histories = read_histories(source.run.folder, source.run.results.facts).filter(pl.col("phase") == "train")
    found: dict[str, int] = {}
    for name, _, train in source.study.trainings():
        if train.choose == "last":
            continue
        chosen = [
            int(rows["epoch"][int(rows["val_accuracy"].arg_max() or 0)])
            for _, rows in histories.filter(pl.col("method") == name).group_by(
                "fold", "seed", maintain_order=True
            )
        ]
        if not chosen:
            raise DataError(f"{source.run.folder}: no history of {name!r}, expected that of its folds")
        found[name] = max(1, round(median(chosen)))
        spread = f"{len(chosen)} jobs' ({min(chosen)} to {max(chosen)})"
        say(f"{name}: {found[name]} epochs, the median of {spread}")
    return found


def _sliding(source: Source, stride_s: float | None) -> tuple[Sliding, Windows | None]:
    """How windows are slid over recordings, and how clips were cut."""
    modalities = [source.dataset.modality(name) for name in source.study.needed]
    seconds, cut = windows_of(source.dataset, source.data, modalities)
    if seconds is None:
        return Sliding(None), cut
    return Sliding(seconds, stride_s or source.study.evaluate.stride_s or seconds / 2), cut


def _key(source: Source, jobs: Mapping[str, Job], sliding: Sliding, cut: Windows | None) -> str:
    """All that decides a model."""
    run = source.run
    tables = [] if run is None else [checksum(run.folder / name) for name in (FACTS, VALIDATION)]
    return content_key(
        [
            {name: job.key for name, job in jobs.items()},
            source.study.unlabelled,
            {name: list(method.average) for name, method in source.study.methods.items()},
            tables,
            [sliding.seconds, sliding.stride_s],
            None if cut is None else asdict(cut),
            describe(fit_model),
        ]
    )


def _facts(
    source: Source,
    key: str,
    epochs: Mapping[str, int],
    jobs: Mapping[str, Job],
    setting: Setting,
    sliding: Sliding,
) -> ModelFacts:
    """What the model says before temperature and decoding are chosen."""
    study, dataset = source.study, source.dataset
    [method] = [name for name in study.methods if not any(name in m.sources for m in study.methods.values())]
    names = study.methods[method].average or (method,)
    modalities = dict.fromkeys(m for name in names for m in study.methods[name].modalities)
    sensors = {}
    for name in modalities:
        modality = dataset.modality(name)
        sensors[name] = SensorFacts(
            modality.streams,
            modality.samples,
            _tensor_shape(source, name),
            digest_of(modality.prepare),
            modality.rate_hz,
        )
    networks = {}
    for name in names:
        spelled, train = study.method(name), study.training(name)
        assert spelled.use is not None
        job = setting.folder(jobs[name].key)
        networks[name] = NetworkFacts(
            spelled.use,
            digest_of(resolve(spelled.use, f"methods.{name}.use")),
            {m: _encoder_facts(source, name, spelled, m) for m in spelled.modalities},
            _epochs_taken(job),
            spelled.args,
            train.precision,
        )
    people = tuple(sorted({*source.fold.train, *source.fold.val}, key=natural))
    return ModelFacts(
        key=key,
        study=study.name,
        method=method,
        dataset=study.dataset,
        activities=dataset.activities,
        sensors=sensors,
        networks=networks,
        training=Training(people, len(source.cuts), study.seeds[0], source.left_out, _rule(source, epochs)),
        seconds=sliding.seconds,
        stride_s=sliding.stride_s,
        cite=dataset.cite,
        versions=versions(),
        commit=commit(),
    )


def _tensor_shape(source: Source, name: str) -> tuple[int, ...]:
    """The shape of a modality's tensor, before features are made of it."""
    return tuple(next(tensors(source.dataset.modality(name), source.cuts[:1])).shape)


def _encoder_facts(source: Source, name: str, method: Method, modality: str) -> EncoderFacts:
    """What a model says of a network's encoder."""
    encoder = method.encoders.get(modality, Encoder())
    where, weights = f"methods.{name}.encoders.{modality}", None
    if encoder.features:
        shape = _tensor_shape(source, modality)
        weights = network_key(frozen_encoder(encoder.features, shape, f"{where}.features"))
    return EncoderFacts(
        source.clips[name].shapes[modality],
        digest_of(maker(encoder, source.dataset, modality, f"methods.{name}")),
        encoder.use,
        encoder.args,
        encoder.frozen,
        encoder.features,
        weights,
    )


def _epochs_taken(job: Path) -> int:
    """How many epochs the last training of a job took."""
    phases = read_history(job)["phase"]
    return int((phases == phases[-1]).sum())


def _rule(source: Source, epochs: Mapping[str, int]) -> str:
    """What chose how many epochs networks were trained."""
    if epochs:
        return "the median of those that the jobs of its run chose"
    if source.fold.val:
        return f"chosen in validation on {', '.join(source.fold.val)}, then trained once more with them"
    return "all that the study says"
