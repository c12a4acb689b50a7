"""A study from its file to one table: plan, refuse what cannot work, do what is missing, assemble."""

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter

from plait.analysis.benchmark import write_benchmark
from plait.clips import Clips, Cut, Listing
from plait.clips.dropped import table_of
from plait.clips.people import check_clips
from plait.clips.presence import lacking_table
from plait.clips.steady import unsteady
from plait.compute.cluster import MOST_TASKS, joined
from plait.compute.crew import Crew
from plait.compute.executors import EXECUTORS, workers_of
from plait.compute.machine import cores, device_called
from plait.compute.schedule import do_missing
from plait.config import Study
from plait.errors import ConfigError, DataError, PlaitError, PlaitWarning
from plait.keying import keying
from plait.objects import resolve
from plait.progress import Progress, silent
from plait.recordings.decoding import DECODERS
from plait.results import (
    CONTINUOUS,
    DROPPED,
    LACKING,
    ORDER,
    PREDICTIONS,
    VALIDATION,
    read_job,
    write_run,
    write_table,
)
from plait.store import locked, write_csv
from plait.study.examined import findings_of
from plait.study.facts import method_facts, run_facts
from plait.study.finished import FinishedRun
from plait.study.folds import (
    by_of,
    check_choice,
    check_classes,
    check_held,
    check_strangers,
    doers,
    folds_of,
    inner_folds,
)
from plait.study.inputs import inputs
from plait.study.jobs import Job, Setting
from plait.study.load import load_study
from plait.study.made import scores_of, with_made
from plait.study.shuffled import as_control, check_out, clips_of, people_of
from plait.study.stacks import StackJob
from plait.study.trackers import check_trackers, teller
from plait.study.work import Plan, plan_all, work_of
from plait.training.fit import check, check_scores, dealt_norms
from plait.training.network import build
from plait.training.objectives.row import (
    Teacher,
    objectives_of,
    prepare,
    scene_of,
    stand_ins_for,
    try_step,
)
from plait.training.rates import hurried
from plait.trust import OWN
from plait.types import Clip, Dataset, Fold

Say = Callable[[str], object]
LOG = logging.getLogger("plait")
SETTING = re.compile(r"(dataset|methods|modalities|protocol|train)\b")


@keying()
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
    doctor: bool = True,
    progress: Progress = silent,
    say: Say = LOG.warning,
    then: Callable[[FinishedRun], object] = lambda finished: None,
) -> None:
    """Run a study over `data` and leave its predictions in `out`; what `out` already holds is not done again.

    Several runs may share one `out`: each job is done by one of them.

    Args:
        source: a study file, or a mapping of the same form.
        data: where the recordings lie.
        out: the folder of the run.
        sets: `key.path=value`, settings in the place of the file's.
        only: patterns of the methods wanted, all by default; tables then hold these alone.
        executor: `inline`, `processes` or `ray`.
        workers: jobs in work at once; by default as many as the cores that this process may use, and on a
            card 4 GB of its free memory for each, or the nodes of the cluster, allow.
        threads: of each job; part of its key.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        ray_address: of the cluster; by default `$RAY_ADDRESS`, else this machine's, else a new one here.
        doctor: whether the doctor looks first, where the study does not say no (`plait.doctor`).
        progress: told which features and jobs are done, of how many.
        say: called with each line to know of the clips before training, such as what was dropped.
        then: called with the finished run once its tables are written, before another may write its own.

    Raises:
        ConfigError: the study cannot work as it stands, or a setting is out of range; nothing is trained.
        DataError: a file of `data` is missing or damaged, or `out` cannot be written; or, once all others are
            done and written, the training of a job came to no numbers.
    """
    check_workers(executor, workers, threads)
    study = as_control(load_study(source, sets))
    if only:
        study = study.only(only)
    with ExitStack() as stack:
        stack.enter_context(naming(source))
        check_trackers(study)
        dataset = OWN.dataset(study.dataset, "dataset")
        setting = Setting(study.dataset, out.resolve(), threads, device_called(device, executor == "ray"))
        listing = clips_of(study, dataset, data)
        for line in listing.told(dataset.activities):
            say(line)
        check_out(study, out)
        if doctor and study.doctor and study.protocol.shuffle_labels is None:
            for line in findings_of(study, dataset, data, listing):
                say(line)
        parts = _folds(study, dataset, listing.cuts)
        cluster = None
        if executor == "ray":
            _import_all(study)
            cluster = stack.enter_context(joined(ray_address, threads, setting.device))
        check_prepares(study, dataset, listing.cuts)
        many = min(workers or cores() // threads, cores() // DECODERS) if executor == "processes" else 1
        crew = Crew(many) if many > 1 else None
        clips = inputs(study, dataset, listing.cuts, setting.device, progress, cluster, crew=crew)
        for line in check_methods(study, dataset, listing.cuts, data, clips, parts):
            say(line)
        planned = _Planned(
            study,
            dataset,
            data,
            out,
            listing,
            setting,
            plan_all(study, dataset, clips, parts, setting),
            cluster.threads if cluster else torch.get_num_threads(),
        )
        for line in _costs(planned.plan):
            say(line)
        work, tell = work_of(setting), teller(planned.plan, study.name, setting)
        pool = workers_of(executor, work, workers, threads, cluster, setting.device)
        do_missing(planned.plan.distinct(), work, pool, progress, tell)
    _finish(planned, say, then)


class _Planned(NamedTuple):
    """A study whose jobs are planned; features were made by `feature_threads` threads."""

    study: Study
    dataset: Dataset
    data: Path
    out: Path
    listing: Listing
    setting: Setting
    plan: Plan
    feature_threads: int


def _finish(planned: _Planned, say: Say, then: Callable[[FinishedRun], object]) -> None:
    """Write what the finished jobs came to, those that failed apart."""
    study, dataset, data, out, listing, setting, (jobs, _), feature_threads = planned
    trained = {at: read_job(setting.folder(job.key)) for at, job in jobs.items()}
    failed = {at: f"{jobs[at].label}: {job.failed}" for at, job in trained.items() if job.failed}
    for line in failed.values():
        say(f"failed: {line}")
    study = study.without({method for method, _, _ in failed})
    if not study.methods:
        raise DataError(f"{out}: no method without a failed job: {next(iter(failed.values()))}")
    jobs = {at: job for at, job in jobs.items() if at[0] in study.methods}
    facts = run_facts(
        study,
        dataset,
        methods=method_facts(study, jobs, trained),
        seconds=sum({job.key: trained[at].seconds for at, job in jobs.items()}.values()),
        data=data,
        setting=setting,
        feature_threads=feature_threads,
        cuts=listing.cuts,
        said=listing.told(dataset.activities),
        failed=tuple(failed.values()),
    )
    with reporting(out):
        predictions, validation = (
            scores_of(study, jobs, setting, name) for name in (PREDICTIONS, VALIDATION)
        )
        tested, validated = (
            with_made(study, table, validation, dataset.activities).sort(ORDER)
            for table in (predictions, validation)
        )
        said = TypeAdapter(Study).dump_python(study, by_alias=True)
        results = write_run(out, facts, tested, validated, said)
        if listing.dropped:
            write_csv(out / DROPPED, table_of(listing.dropped))
        else:
            (out / DROPPED).unlink(missing_ok=True)
        if listing.lacking:
            write_table(lacking_table(listing.lacking), out / LACKING)
        else:
            (out / LACKING).unlink(missing_ok=True)
        (out / CONTINUOUS).unlink(missing_ok=True)  # of an earlier state
        write_benchmark(out, dataset, results.predictions)
        then(FinishedRun(out, study, dataset, listing.cuts, results))
    if failed:
        some = "; ".join([*failed.values()][:3])
        raise DataError(
            f"{len(failed)} of {len(trained)} jobs failed, the others are done and shown in {out}: {some}"
        )


@contextmanager
def naming(source: Path | str | Mapping[str, Any]) -> Iterator[None]:
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


def check_workers(executor: str, workers: int | None, threads: int) -> None:
    """Refuse an executor or numbers that there are not.

    Raises:
        ConfigError: naming it.
    """
    if executor not in EXECUTORS:
        raise ConfigError(f"executor is {executor!r}, expected one of: {', '.join(EXECUTORS)}")
    for name, count in (("threads", threads), ("workers", workers)):
        if count is not None and not 1 <= count <= MOST_TASKS:
            raise ConfigError(f"{name} is {count}, expected 1 to {MOST_TASKS}")


def _folds(study: Study, dataset: Dataset, cuts: Sequence[Cut]) -> tuple[Fold, ...]:
    """The folds of a study, each with training clips of every activity."""
    clips = [clip for _, clip in cuts]
    parts = folds_of(study.protocol, clips)
    who_does = doers(clips, by_of(study.protocol))
    for fold in parts:
        check_classes(fold, who_does, dataset.activities)
        if study.evaluate.continuous:
            check_strangers(fold, clips)
    return parts


def check_prepares(study: Study, dataset: Dataset, cuts: Sequence[Cut]) -> None:
    """Warn of a `prepare` of somebody's own that makes of readings what hangs on more than these."""
    for name in study.needed:
        if (line := unsteady(dataset.modality(name), cuts)) is not None:
            warnings.warn(line, PlaitWarning, stacklevel=2)


def check_methods(
    study: Study,
    dataset: Dataset,
    cuts: Sequence[Cut],
    data: Path,
    clips: Mapping[str, Clips],
    parts: Sequence[Fold],
    choosing: bool = True,
) -> list[str]:
    """Refuse clips and methods that cannot be trained on as they are; a line on each that sees not all clips.

    Args:
        study: its methods.
        dataset: its data set.
        cuts: its clips.
        data: where they lie, for errors.
        clips: what each method is given, by its name.
        parts: who trains, who validates and who is tested.
        choosing: whether epochs are yet to be chosen.
    """
    arrays = {rows: name for given in clips.values() for name, rows in given.arrays.items()}
    named = [(name, rows) for rows, name in arrays.items()]
    check_clips(data, [clip for _, clip in cuts], named, people_of(study), by_of(study.protocol))
    table, lines, hasty = [clip for _, clip in cuts], [], dict[str, None]()
    within = _within(study, dataset, table, parts)
    for name, method, train in study.trainings():
        where, precision = f"methods.{name}", getattr(torch, train.precision)
        objectives = objectives_of(train, f"{where}.train")
        stand_ins = stand_ins_for(objectives, method.modalities, f"{where}.train")
        anew = partial(build, method, dataset, clips[name].shapes, where, precision, stand_ins)
        network = check(method, train, anew, clips[name], where)
        check_scores(network, method, clips[name], dataset.activities, where)
        sides = [clips[name].of(fold.train, fold.by) for fold in parts]
        fewest = min(len(clips[name].holding(method.modalities, side)) for side in sides)
        hasty |= dict.fromkeys(hurried(train, network, fewest, f"{where}.train"))
        teachers = {m: Teacher(encoder) for m, (_, encoder) in study.teachers(train).items()}
        for fold in (*parts, *within.get(name, ())) if objectives else ():
            sides = [clips[name].of(names, fold.by) for names in (fold.train, fold.val)]
            rows = [clips[name].holding(method.modalities, side) for side in sides]
            scene = scene_of(network, dataset, clips[name], (rows[0], rows[1]), teachers, f"{where}.train")
            prepare(objectives, scene, 0, f"{where}.train")
        if objectives:
            try_step(
                objectives, train, network, method, clips[name], len(dataset.activities), f"{where}.train"
            )
        whole = [clip for clip in table if clip.holds(method.modalities)]
        who_does = {by: doers(whole, by) for by in {fold.by for fold in parts}}
        holding = {by: set().union(*done.values()) for by, done in who_does.items()}
        for fold in (*parts, *within.get(name, ())):
            if len(whole) < len(table):
                check_held(fold, who_does[fold.by], dataset.activities, method.modalities, where)
            if choosing:
                check_choice(fold, train.choose, f"{where}.train", holding[fold.by])
        lines += dealt_norms(name, train, network)
        reads = set(method.modalities)
        if unseen := [clip for clip in table if not network.sees(reads.difference(clip.lacks))]:
            absent = ", ".join(m for m in method.modalities if any(m in clip.lacks for clip in unseen))
            lines.append(
                f"{name} ({method.use}) sees nothing of {len(unseen)} of {len(table)} clips, for want of "
                f"{absent}: they count as not recognised"
            )
    for line in hasty:  # the same of all methods is said once
        warnings.warn(line, PlaitWarning, stacklevel=2)
    return lines


def _within(
    study: Study, dataset: Dataset, clips: Sequence[Clip], parts: Sequence[Fold]
) -> dict[str, list[Fold]]:
    """The folds within folds that stacks ask for, by the methods that are trained in them.

    Raises:
        ConfigError: too few people train, or one of these folds lacks an activity.
    """
    found: dict[str, list[Fold]] = {}
    who_does = doers(clips, by_of(study.protocol))
    for row, method in study.methods.items():
        for fold in parts if method.stack else ():
            within = inner_folds(fold, method.args["folds"], f"methods.{row}.args.folds")
            for part in within:
                check_classes(part, who_does, dataset.activities)
            for name in study.only(method.stack).order():
                found.setdefault(name, []).extend(within)
    return found


def _import_all(study: Study) -> None:
    """Import every module that the study names: what has been imported is what other machines are given."""
    for name, method, train in study.trainings():
        encoders = [part for own in method.encoders.values() for part in (own, own.features) if part]
        parts = [*encoders, *train.objective, *([train.schedule] if train.schedule else [])]
        for path in (method.use, train.optimizer, *method.augment.values(), *(part.use for part in parts)):
            if path:
                resolve(path, f"methods.{name}")


def _costs(plan: Plan) -> list[str]:
    """A line on what stacks cost, if there are any."""
    stacks = sorted({method for (method, _, _), job in plan.rows.items() if isinstance(job, StackJob)})
    if not stacks:
        return []
    others = {job.key for job in plan.rows.values() if isinstance(job, Job)}
    more = len({job.key for job in plan.inner} - others)
    return [
        f"stack {', '.join(stacks)}: {more} trainings in folds within folds, beside the {len(others)} of all "
        "methods"
    ]
