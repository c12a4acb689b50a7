"""A study from its file to one predictions table: plan, refuse what cannot work, do what is missing, assemble."""

import inspect
import logging
import platform
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl
import torch
from pydantic import TypeAdapter

from plait.clips import Cut
from plait.clips.dropped import table_of
from plait.clips.people import check_clips
from plait.compute.cluster import joined
from plait.compute.executors import EXECUTORS, inline, processes, remote
from plait.compute.machine import cores, device_called
from plait.compute.schedule import do_missing
from plait.config import Encoder, Method, Study
from plait.errors import ConfigError, DataError, PlaitError
from plait.features import Extraction
from plait.fusion import Concat, Single, average_scores
from plait.objects import resolve
from plait.results import (
    COLUMNS,
    ORDER,
    PREDICTIONS,
    STUDY,
    VALIDATION,
    JobFacts,
    Kind,
    MethodFacts,
    Origin,
    RunFacts,
    read_job,
    read_scores,
    write_run,
)
from plait.store import locked, write_csv, write_toml
from plait.study.finished import FinishedRun
from plait.study.folds import check_choice, check_classes, folds
from plait.study.inputs import inputs
from plait.study.jobs import At, Job, Setting, distinct, plan, work_of
from plait.study.load import load_study
from plait.study.shuffled import as_control, check_out, clips_of, people_of
from plait.training.fit import check
from plait.training.network import build
from plait.trust import OWN
from plait.types import Dataset

Progress = Callable[[int, int, str], None]
Say = Callable[[str], object]
LOG = logging.getLogger("plait")
SETTING = re.compile(r"(dataset|methods|modalities|protocol|train)\b")
MOST_AT_ONCE = 1024  # threads of a job, or jobs at once


def run_study(
    source: Path | str | Mapping[str, Any],
    data: Path,
    out: Path,
    *,
    sets: Sequence[str] = (),
    only: Sequence[str] = (),
    executor: str = "inline",
    workers: int | None = None,
    threads: int = 1,
    device: str = "auto",
    ray_address: str | None = None,
    progress: Progress = lambda done, total, label: None,
    say: Say = LOG.warning,
    then: Callable[[FinishedRun], object] = lambda finished: None,
) -> None:
    """Run a study over `data` and leave its predictions in `out`; what `out` already holds is not done again.

    `sets` override settings; `only` names the methods that are wanted, all by default; tables then hold these alone.
    A job takes `threads` threads; `workers` jobs are in work at once, by default as many as the cores that this
    process may use, or that the Ray cluster at `ray_address` has, allow. Several runs may share one `out`: each job is
    done by one of them. `progress` is told jobs done, jobs in all, and which one was just finished, or that other
    runs are waited for; `say`, what to know of the clips before, such as what was dropped, a line at a time; `then` is
    given the finished run once its tables are written, before another run may write its own.

    Raises:
        ConfigError: the study cannot work as it stands, or a setting is out of range; nothing has been trained.
        DataError: a file of `data` is missing or damaged, or `out` cannot be written; or,
            once all others are done and written, the training of a job came to no numbers.
    """
    if executor not in EXECUTORS:
        raise ConfigError(f"executor is {executor!r}, expected one of: {', '.join(EXECUTORS)}")
    for name, value in (("threads", threads), ("workers", workers)):
        if value is not None and not 1 <= value <= MOST_AT_ONCE:
            raise ConfigError(f"{name} is {value}, expected 1 to {MOST_AT_ONCE}")
    study = as_control(load_study(source, sets))
    if only:
        study = study.only(only)
    with ExitStack() as stack:
        stack.enter_context(_naming(source))
        dataset = OWN.dataset(study.dataset, "dataset")
        device = device_called(device, elsewhere=executor == "ray")
        listing = clips_of(study, dataset, data)
        for line in (said := listing.told(dataset.activities)):
            say(line)
        cuts = listing.cuts
        table = [clip for _, clip in cuts]
        check_out(study, out)
        setting = Setting(study.dataset, out.resolve(), threads, device)
        parts = folds(study.protocol, [clip.subject for clip in table])
        for fold in parts:
            check_classes(fold, table, dataset.activities)
        if executor == "ray":
            _import_all(study)
        cluster = stack.enter_context(joined(ray_address, threads, device)) if executor == "ray" else None
        made_by = cluster.threads if cluster else torch.get_num_threads()
        clips = inputs(study, dataset, cuts, device, progress, cluster)
        arrays = {rows: name for view in clips.values() for name, rows in view.arrays.items()}
        check_clips(data, table, [(name, rows) for rows, name in arrays.items()], people_of(study))
        for name, method, train in study.trainings():
            network = build(
                method, dataset, clips[name].shapes, f"methods.{name}", getattr(torch, train.precision)
            )
            check(method, train, network, clips[name], f"methods.{name}")
            for fold in parts:
                check_choice(fold, train.choose, f"methods.{name}.train")
        jobs = plan(study, dataset, clips, parts, setting)
        work = work_of(setting)
        if cluster:
            pool = remote(work, workers, cluster)
        elif executor == "processes":
            pool = processes(work, workers or max(1, cores() // threads), threads)
        else:
            pool = inline(work)
        do_missing(distinct(jobs), work, pool, progress)
    facts = {at: read_job(setting.folder(job.key)) for at, job in jobs.items()}
    failed = {at: f"{jobs[at].label}: {why}" for at, one in facts.items() if (why := one.failed)}
    for line in failed.values():
        say(f"failed: {line}")
    study = study.without({name for name, _, _ in failed})
    if not study.methods:
        raise DataError(f"{out}: no method without a failed job: {next(iter(failed.values()))}")
    with reporting(out):
        done = {at: job for at, job in jobs.items() if at[0] in study.methods}
        finished = _leave(
            study, dataset, cuts, data, done, facts, setting, made_by, said, list(failed.values())
        )
        if listing.dropped:
            write_csv(out / "dropped.csv", table_of(listing.dropped))
        else:
            (out / "dropped.csv").unlink(missing_ok=True)
        then(finished)
    if failed:
        some = "; ".join([*failed.values()][:3])
        raise DataError(
            f"{len(failed)} of {len(jobs)} jobs failed, the others are done and shown in {out}: {some}"
        )


@contextmanager
def _naming(source: Path | str | Mapping[str, Any]) -> Iterator[None]:
    """What is wrong with a setting of a study that was read from a file is said with the file's name."""
    try:
        yield
    except PlaitError as error:
        if isinstance(source, Mapping) or not SETTING.match(str(error)):
            raise
        raise type(error)(f"{source}: {error}") from error


@contextmanager
def reporting(out: Path) -> Iterator[None]:
    """Hold the tables and the page of a run, which another may be about to write at this moment.

    Raises:
        DataError: the folder cannot be written.
    """
    if not out.is_dir():  # whoever reads it says so
        yield
        return
    with locked(out / ".locks" / "report"):
        yield


def _leave(
    study: Study,
    dataset: Dataset,
    cuts: list[Cut],
    data: Path,
    jobs: Mapping[At, Job],
    facts: Mapping[At, JobFacts],
    setting: Setting,
    feature_threads: int,
    said: Sequence[str],
    failed: Sequence[str],
) -> FinishedRun:
    """Write what was run, and the scores of all jobs."""
    out = setting.out
    methods = _methods(study, jobs, facts)
    write_toml(out / STUDY, TypeAdapter(Study).dump_python(study, by_alias=True))
    run = RunFacts(
        study=study.name,
        dataset=dataset.name,
        cite=dataset.cite,
        activities=dataset.activities,
        modalities=study.modalities,
        protocol=asdict(study.protocol),
        seeds=study.seeds,
        methods=methods,
        versions=_versions(),
        data=str(data.resolve()) if data else None,
        commit=_commit(),
        device=setting.device,
        threads=setting.threads,
        feature_threads=feature_threads,
        cores=cores(),
        seconds=sum(row.train_seconds for row in methods.values()),
        said=tuple(said),
        failed=tuple(failed),
    )
    validation = _assembled(study, dataset, jobs, setting, VALIDATION)
    write_run(out, run, _assembled(study, dataset, jobs, setting, PREDICTIONS), validation)
    return FinishedRun(out, study, dataset, cuts, methods, setting.device, feature_threads)


def _import_all(study: Study) -> None:
    """Import every module that the study names: what has been imported is what other machines are given."""
    for name, method, train in study.trainings():
        encoders = [part for own in method.encoders.values() for part in (own, own.features) if part]
        parts = [*encoders, train.schedule] if train.schedule else encoders
        for path in (method.use, train.optimizer, *method.augment.values(), *(part.use for part in parts)):
            if path:
                resolve(path, f"methods.{name}")


def _assembled(
    study: Study, dataset: Dataset, jobs: Mapping[tuple[str, str, int], Job], setting: Setting, name: str
) -> pl.DataFrame:
    """All jobs' scores as one table, with the averages, sorted by method, seed, fold, clip."""
    parts = [
        read_scores(setting.folder(job.key), name).with_columns(
            study=pl.lit(study.name),
            method=pl.lit(method),
            fold=pl.lit(fold),
            seed=pl.lit(seed, dtype=pl.Int64),
        )
        for (method, fold, seed), job in jobs.items()
    ]
    table = pl.concat(parts).select(COLUMNS)
    averages = [
        average_scores(table, method.average, row, dataset.activities)
        for row, method in study.methods.items()
        if method.average and not table.is_empty()  # nobody validates: no scores to average
    ]
    return pl.concat([table, *averages]).sort(ORDER)


def _methods(study: Study, jobs: Mapping[At, Job], facts: Mapping[At, JobFacts]) -> dict[str, MethodFacts]:
    """What the run knows of each method besides its scores."""
    methods: dict[str, MethodFacts] = {}
    for name, method in study.methods.items():
        trained = [facts[at] for at in jobs if at[0] == name]
        methods[name] = MethodFacts(
            kind=_kind(method),
            modalities=method.modalities,
            head=_head(method),
            use=method.use,
            args=method.args,
            encoders={m: _origin(encoder) for m, encoder in method.encoders.items()},
            average=method.average,
            sweep=method.swept,
            keys={f"{fold}/{seed}": job.key for (row, fold, seed), job in jobs.items() if row == name},
            parameters=trained[0].parameters if trained else 0,
            jobs=len(trained),
            train_seconds=sum(job.seconds for job in trained),
        )
    return methods


def _origin(encoder: Encoder) -> Origin:
    def called(part: Extraction | Encoder) -> str:
        return f"{part.use} {part.args}" if part.args else str(part.use)

    return Origin(
        donor=encoder.donor,
        frozen=encoder.frozen,
        features=called(encoder.features) if encoder.features else None,
        network=called(encoder) if encoder.use else None,
    )


def _kind(method: Method) -> Kind:
    if not method.use:
        return "average"
    use = resolve(method.use, "use")
    if use is Single or len(method.modalities) == 1:
        return "single"
    return "concat" if use is Concat else "fusion"


def _head(method: Method) -> str | None:
    if not method.use:
        return None
    default = inspect.signature(resolve(method.use, "use")).parameters.get("head")
    head = method.args.get("head", default.default if default else None)
    return head if isinstance(head, str) else None


def _versions() -> dict[str, str]:
    packages = ("plait", "torch", "numpy", "polars", "scipy", "scikit-learn")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def _commit() -> str | None:
    """The commit of plait's own source, `+` behind it if there are changes; None outside a git checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed.strip() else "")
