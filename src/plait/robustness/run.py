"""A finished study under sensors that fail, from its folder to one table: what is missing is done."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from plait.analysis.metrics import by_subject
from plait.clips import Cut
from plait.clips.decided import Reading
from plait.compute.cluster import joined
from plait.compute.executors import workers_of
from plait.compute.machine import device_called
from plait.compute.schedule import do_missing
from plait.config import Study
from plait.errors import ConfigError
from plait.keying import keying
from plait.progress import Progress, silent
from plait.results import COLUMNS, ORDER, PERSONS, ROBUSTNESS, read_facts, write_people
from plait.robustness.check import check_jobs, check_portable, check_scores
from plait.robustness.faults import FAULTS, fits, named
from plait.robustness.rows import made_of, rows_of
from plait.robustness.trials import Trial, code_of, read_part, standing, trial_key, trials_as_work
from plait.robustness.worsen import Condition
from plait.store import atomic, locked
from plait.study.finished import FinishedRun
from plait.study.folds import folds_of
from plait.study.inputs import inputs
from plait.study.jobs import At, Job, Setting, plan
from plait.study.run import Say, check_workers
from plait.trust import NOBODY, Trust
from plait.types import Recording

TABLE = "robustness.parquet"


@dataclass(frozen=True)
class _Asked:
    """What is to be done: networks by method, fold and seed, conditions in order, and trials for them."""

    study: Study
    jobs: dict[At, Job]
    conditions: list[Condition]
    units: dict[str, str]
    trials: dict[tuple[int | None, str], Trial]  # by number of the condition, or none, and fold


@keying()
def run_robustness(
    folder: Path,
    data: Path | None = None,
    *,
    faults: Sequence[str] = (),
    modalities: Sequence[str] = (),
    only: Sequence[str] = (),
    seed: int = 0,
    executor: str = "inline",
    workers: int | None = None,
    device: str | None = None,
    ray_address: str | None = None,
    trust: Trust = NOBODY,
    progress: Progress = silent,
    say: Say = print,
) -> FinishedRun:
    """Score the networks of a finished run on its test clips as they are with faults; nothing is trained.

    `RUN/robustness/robustness.parquet` has a row for each method, fold, seed, fault, modality, severity and
    test clip, `RUN/robustness/people.parquet` the accuracies by person. A method that does not read a
    modality has no rows of its faults. What is done is kept, and not done again.

    Args:
        folder: the run's.
        data: where its clips lie now, if not where they lay then.
        faults: names, or one's own as `"module:Name"`; by default all of plait's that can befall a modality.
        modalities: those that are befallen, one after the other; by default all that methods read.
        only: patterns of the methods that are looked at.
        seed: of what faults draw.
        executor: `inline`, `processes` or `ray`.
        workers: trials in work at once; by default as many as there is room for.
        device: what networks compute on; by default what they did.
        ray_address: of the cluster, as in `run_study`.
        trust: whose code may run because the run names it.
        progress: told which trials are done.
        say: called with each line to know.

    Raises:
        ConfigError: a fault, a modality or a method is unknown or does not fit.
        DataError: the run is not finished, or its clips, code or weights are not what they were.
    """
    facts = read_facts(folder)
    check_workers(executor, workers, facts.threads)
    computed_on = device_called(device or facts.device, executor == "ray")
    chosen = dict(named(name) for name in faults or FAULTS)
    if unknown := [name for name in modalities if name not in facts.modalities]:
        known = ", ".join(facts.modalities)
        raise ConfigError(f"--modality {unknown[0]}: unknown, expected some of: {known}")
    run = FinishedRun.open(folder, data, trust)
    study = run.study.only(only) if only else run.study
    with ExitStack() as stack:
        setting = Setting(study.dataset, folder.resolve(), facts.threads, computed_on)
        cluster = None
        if executor == "ray":
            cluster = stack.enter_context(joined(ray_address, setting.threads, setting.device))
        parts = folds_of(run.study.protocol, [clip for _, clip in run.cuts])
        # What clips lack is told by all methods of the run, whichever are looked at.
        clips = inputs(study, run.dataset, run.cuts, setting.device, progress, cluster, facts.feature_threads)
        jobs = plan(study, run.dataset, clips, parts, setting)
        jobs, moved = check_jobs(run, jobs)
        asked = _asked(run, study, jobs, chosen, modalities, bool(faults), seed)
        trials = _missing(folder, asked)
        if executor != "inline":
            check_portable(trials)
        work = trials_as_work(setting, facts.feature_threads)
        pool = workers_of(executor, work, workers, setting.threads, cluster, setting.device)
        do_missing(trials, work, pool, progress)
    with locked(folder / ".locks" / ROBUSTNESS):
        _write(run, asked, moved, say)
    return run


def _asked(
    run: FinishedRun,
    study: Study,
    jobs: dict[At, Job],
    faults: Mapping[str, Any],
    modalities: Sequence[str],
    by_name: bool,
    seed: int,
) -> _Asked:
    """Every fault of every modality that it can befall, step by step."""
    names = list(modalities) or [name for name in study.modalities if name in study.needed]
    if unread := [name for name in names if name not in study.needed]:
        raise ConfigError(f"--modality {unread[0]}: no method that is looked at reads it")
    conditions: list[Condition] = []
    for called, fault in faults.items():
        befallen = [name for name in names if fits(fault, _first(run, name).streams)]
        if not befallen and by_name:
            raise ConfigError(
                f"--fault {called}: cannot befall {' or '.join(names)}, by what is recorded there"
            )
        conditions += [
            Condition(called, fault, name, float(step), seed)
            for name in befallen
            for step in fault.severities
        ]
    told = {called: code_of(fault) for called, fault in faults.items()}
    trials: dict[tuple[int | None, str], Trial] = {}
    folds = {job.fold.name: job.fold for job in jobs.values()}
    (_, code), reading = code_of(None), Reading(run.dataset)
    bare: dict[tuple[Recording, str | None], Recording] = {}
    for fold in folds.values():
        cuts = [cut for cut in run.cuts if getattr(cut[1], fold.by) in fold.test]
        theirs = [job for (_, name, _), job in jobs.items() if name == fold.name]
        theirs = list({job.key: job for job in theirs}.values())
        key = trial_key(reading, None, cuts, None, code)
        label = f"as recorded, fold {fold.name}"
        trials[None, fold.name] = Trial(label, None, _bare(run, cuts, None, bare), tuple(theirs), key)
        for number, condition in enumerate(conditions):
            made, own = told[condition.called]
            readers = tuple(job for job in theirs if condition.modality in job.method.modalities)
            needed = condition.modality if condition.is_cut else None
            label = f"{condition.modality} {condition.called} {condition.severity:g}, fold {fold.name}"
            key = trial_key(reading, condition, cuts, made, own)
            trials[number, fold.name] = Trial(label, condition, _bare(run, cuts, needed, bare), readers, key)
    units = {called: str(fault.unit) for called, fault in faults.items()}
    return _Asked(study, jobs, conditions, units, trials)


def _first(run: FinishedRun, modality: str) -> Recording:
    """The first recording that has something of a modality, with the streams of it."""
    recording = next(recording for recording, clip in run.cuts if clip.holds([modality]))
    names = run.dataset.modality(modality).streams
    return replace(recording, streams={name: recording.streams[name] for name in names})


def _bare(
    run: FinishedRun,
    cuts: Sequence[Cut],
    modality: str | None,
    made: dict[tuple[Recording, str | None], Recording],
) -> tuple[Cut, ...]:
    """Clips with recordings that hold the streams of one modality alone: they may travel."""
    names = () if modality is None else run.dataset.modality(modality).streams

    def bare(recording: Recording) -> Recording:
        found = made.get((recording, modality))
        if found is None:
            streams = {name: recording.streams[name] for name in names if name in recording.streams}
            found = made[recording, modality] = replace(recording, streams=streams, spans=(), dropped=())
        return found

    return tuple((bare(recording), clip) for recording, clip in cuts)


def _missing(folder: Path, asked: _Asked) -> list[Trial]:
    """The trials with those networks that have not been looked at under their conditions."""
    done = standing(folder)
    missing = []
    for trial in asked.trials.values():
        jobs = tuple(job for job in trial.jobs if (trial.key, job.key) not in done)
        if jobs:
            missing.append(replace(trial, jobs=jobs))
    return missing


def _write(run: FinishedRun, asked: _Asked, moved: bool, say: Say) -> None:
    """The tables of what was done: condition after condition, for all of them may not fit into memory."""
    done, folder = standing(run.folder), run.folder / ROBUSTNESS
    clean = _scores(run, asked, None, done)
    check_scores(run, asked.study, clean, moved, say)
    people = [_people(clean, "", "", 0.0, "")]
    with atomic(folder / TABLE) as making:
        rows = making.with_name("rows")
        rows.mkdir()
        files = [rows / "clean.parquet"]
        _faulty(clean, "", "", 0.0).write_parquet(files[0])
        for number, condition in enumerate(asked.conditions):
            table = _scores(run, asked, number, done)
            readers = {at[0] for at, job in asked.jobs.items() if condition.modality in job.method.modalities}
            trained = {method for method, _, _ in asked.jobs}
            others = clean.filter(pl.col("method").is_in(trained - readers))
            both = pl.concat([table.select(COLUMNS), others.select(COLUMNS)])
            whole = rows_of(run, asked.study, both)
            affected = made_of(asked.study, readers)
            whole = whole.filter(pl.col("method").is_in(affected))
            where = condition.called, condition.modality, condition.severity
            people.append(_people(whole, *where, asked.units[condition.called]))
            files.append(rows / f"{number}.parquet")
            _faulty(whole, *where).write_parquet(files[-1])
        pl.scan_parquet(files).sink_parquet(making)
        for file in files:
            file.unlink()
        rows.rmdir()
    write_people(run.folder, run.results.facts, pl.concat(people))


def _scores(
    run: FinishedRun, asked: _Asked, number: int | None, done: Mapping[tuple[str, str], Path]
) -> pl.DataFrame:
    """What all networks say under a condition, by `ORDER`; under none with the averages of them."""
    parts = []
    for (method, fold, seed), job in asked.jobs.items():
        trial = asked.trials[number, fold]
        if job.key not in {one.key for one in trial.jobs}:
            continue
        table = read_part(done[trial.key, job.key]).filter(pl.col("job") == job.key)
        parts.append(
            table.with_columns(
                study=pl.lit(asked.study.name),
                method=pl.lit(method),
                fold=pl.lit(fold),
                seed=pl.lit(seed, pl.Int64),
            ).select(COLUMNS)
        )
    table = pl.concat(parts).sort(ORDER)
    return rows_of(run, asked.study, table) if number is None else table


def _faulty(table: pl.DataFrame, fault: str, modality: str, severity: float) -> pl.DataFrame:
    """Predictions with what they were made under."""
    first = ["study", "method", "fold", "seed", "fault", "modality", "severity"]
    told = table.with_columns(
        fault=pl.lit(fault), modality=pl.lit(modality), severity=pl.lit(severity, pl.Float64)
    )
    return told.select(*first, pl.exclude(first))


def _people(table: pl.DataFrame, fault: str, modality: str, severity: float, unit: str) -> pl.DataFrame:
    """Accuracy of each method on each person under a condition."""
    told = by_subject(table).with_columns(
        fault=pl.lit(fault),
        modality=pl.lit(modality),
        severity=pl.lit(severity, pl.Float64),
        unit=pl.lit(unit),
        clips=pl.col("clips").cast(pl.Int64),
    )
    return told.select(list(PERSONS))
