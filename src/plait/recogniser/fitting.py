"""A study's winner, trained on everyone: STUDY, METHOD -> MODEL."""

import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, astuple, replace
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
import torch
from torch import nn

from plait.compute.executors import workers_of
from plait.compute.machine import device_called
from plait.compute.schedule import do_missing
from plait.errors import ConfigError, DataError, PlaitWarning
from plait.keying import keying, source_key
from plait.names import plain
from plait.progress import Progress, silent
from plait.recogniser.card import card
from plait.recogniser.fused import fusing_of, layers_of, row_of
from plait.recogniser.levels import Streams
from plait.recogniser.model import (
    MODEL,
    ModelFacts,
    read_facts,
    write_model,
)
from plait.recogniser.probe import answer
from plait.recogniser.source import Source, facts_of, folds_without, sliding_of, source_of, trained
from plait.recogniser.validation import tuned
from plait.recogniser.windows import Sliding, whole_recordings
from plait.recordings.between import LINEAR, Between
from plait.recordings.same_columns import between_of, columns_of
from plait.results import (
    FACTS,
    VALIDATION,
    WEIGHTS,
    read_histories,
    read_history,
    read_job,
)
from plait.store import checksum, content_key, taken
from plait.study.jobs import Setting
from plait.study.load import load_study
from plait.study.made import scores_of, with_made
from plait.study.run import Say, check_workers, naming
from plait.study.stacks import read_layer
from plait.study.work import Plan, plan_all, work_of
from plait.trust import NOBODY, Trust
from plait.types import Windows

WORK = ".fitting"  # of a model's folder: networks that are done, of a fit that is not


@keying()
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
    trust: Trust = NOBODY,
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
        workers: jobs at once; by default as for a study.
        threads: of each job.
        device: what is computed on.
        trust: whose code the run may name besides what the study names.
        progress: told which jobs are done.
        say: called with each line to know.

    Raises:
        ConfigError: the study, the method or the run do not fit; `out` holds something else.
        DataError: a file is missing or damaged.
    """
    check_workers(executor, workers, threads)
    if executor == "ray":
        raise ConfigError("executor is 'ray', expected one of: inline, processes")
    if taken(out) and not any((out / name).exists() for name in (MODEL, WORK)):
        raise ConfigError(f"{out}: holds files that no fit has left: expected another folder")
    computed_on = device_called(device)
    with ExitStack() as stack:
        stack.enter_context(naming(study))
        source = source_of(load_study(study, sets), method, data, run, leave_out, say, progress, trust)
        setting = Setting(source.study.dataset, out.resolve() / WORK, threads, computed_on)
        epochs = _epochs(source, say)
        plan = plan_all(source.study, source.dataset, source.clips, (source.fold,), setting, epochs)
        sliding, cut = sliding_of(source, stride_s)
        key = _key(source, plan, sliding, cut)
        if (standing := _standing(out)) is not None and standing.key == key:
            shutil.rmtree(out / WORK, ignore_errors=True)
            return standing
        work = work_of(setting)
        pool = workers_of(executor, work, workers, threads, device=setting.device)
        do_missing(plan.distinct(), work, pool, progress)
        for job in plan.rows.values():
            if failed := read_job(setting.folder(job.key)).failed:
                raise DataError(f"{job.label}: {failed}")
    folders = {(name, seed): setting.folder(job.key) for (name, _, seed), job in plan.rows.items()}
    taken_epochs = {
        name: _epochs_taken(folders[name, source.study.seeds[0]]) for name in source.study.order()
    }
    facts = facts_of(source, key, taken_epochs, sliding)
    training = replace(facts.training, epochs=_rule(source, epochs))
    facts = _streams(source, replace(facts, training=training))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        row, validation = row_of(source.study, facts.method), _validation(source, plan, setting)
        facts = replace(facts, fusing=fusing_of(row, validation, facts.activities))
        facts = tuned(source, facts, validation, folders, sliding, cut, progress, say, setting.device)
    finally:
        torch.set_num_threads(before)
    own = {
        part.network: trained(source, part.method, folders[part.method, part.seed] / WEIGHTS)
        for part in row.parts
    }
    asked = {name: replace(of, says=answer(own[name], of.shapes)) for name, of in facts.networks.items()}
    facts, networks = replace(facts, networks=asked), dict[str, nn.Module](own)
    for (name, over), group in zip(layers_of(facts.method, facts.fusing).items(), row.groups, strict=False):
        networks[name] = read_layer(folders[row.name, group[0].seed] / WEIGHTS, over, len(facts.activities))
    facts = write_model(out, facts, networks, card(facts, source.run.results if source.run else None))
    shutil.rmtree(out / WORK, ignore_errors=True)
    return facts


def _standing(out: Path) -> ModelFacts | None:
    """What the model in a folder says, if there is one that can be read; another is made in its place."""
    with suppress(DataError):
        return read_facts(out) if (out / MODEL).is_file() else None
    return None


def _epochs(source: Source, say: Say) -> dict[str, int]:
    """How many epochs each method takes, where the folds of a run chose them: their median."""
    if source.run is None:
        return {}
    seen = [fold.name for fold in folds_without(source.run, source.left_out)]
    histories = read_histories(source.run.folder, source.run.results.facts)
    histories = histories.filter(pl.col("phase") == "train", pl.col("fold").is_in(seen))
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


def _validation(source: Source, plan: Plan, setting: Setting) -> pl.DataFrame | None:
    """What was said of people who validated, by networks that had not seen them: the run's, or this fit's."""
    if source.run is None:
        table = scores_of(source.study, plan.rows, setting, VALIDATION)
        made = with_made(source.study, table, table, source.dataset.activities)
        return None if made.is_empty() else made
    said = source.run.results.validation
    seen = [fold.name for fold in folds_without(source.run, source.left_out)]
    return None if said is None else said.filter(pl.col("fold").is_in(seen))


def _key(source: Source, plan: Plan, sliding: Sliding, cut: Windows | None) -> str:
    """All that decides a model."""
    run = source.run
    tables = [] if run is None else [checksum(run.folder / name) for name in (FACTS, VALIDATION)]
    return content_key(
        [
            {f"{name}/{seed}": job.key for (name, _, seed), job in plan.rows.items()},
            source.study.unlabelled,
            {
                name: [m.making, list(m.made_of), m.args]
                for name, m in source.study.methods.items()
                if m.making
            },
            tables,
            [sliding.seconds, sliding.stride_s],
            None if cut is None else asdict(cut),
            _labels(source),
            source_key([fit_model]),
        ]
    )


def _labels(source: Source) -> list[Any]:
    """Which whole recordings there are, what they hold, how they are labelled: decoding is chosen on them."""
    return [
        [
            recording.name,
            recording.subject,
            recording.content(list(recording.streams)),
            *map(astuple, recording.spans),
        ]
        for recording in whole_recordings(source.dataset, source.data)
    ]


def _streams(source: Source, facts: ModelFacts) -> ModelFacts:
    """A model that knows the streams it looks at, by the recordings of whom it was trained on.

    What the columns of logs are called, which all have alike; which are not linear between readings, by any
    recording, for it shows only where an angle passes its ends; how fast they are, and how strong. Where
    clips are whole spans, also how long they last.
    """
    lasts_s = [clip.stop_s - clip.start_s for _, clip in source.cuts]
    used = {stream for sensor in facts.sensors.values() for stream in sensor.streams}
    trained, others = Streams(sorted(used)), Streams(sorted(used))
    columns: dict[str, tuple[str, ...]] = {}
    between: dict[str, Between] = {}
    for recording in whole_recordings(source.dataset, source.data):
        (trained if plain(recording.subject) in facts.training.people else others).add(recording)
        columns = columns_of(recording.streams) | columns
        for stream, own in between_of(recording.streams).items():
            known = between.get(stream, LINEAR)
            ends_of = {column: ends for column, *ends in known.circular}
            for column, *ends in own.circular:
                if ends_of.get(column, ends) != ends:
                    what = f"{recording.name}: {columns[stream][column]!r} of {stream} goes round at {ends}"
                    line = f"{what}, elsewhere at {ends_of[column]}: networks see two angles"
                    warnings.warn(line, PlaitWarning, stacklevel=2)
            between[stream] = known.joined(own)
    return replace(
        facts,
        columns={stream: names for stream, names in sorted(columns.items()) if stream in used},
        between={stream: own for stream, own in sorted(between.items()) if stream in used and own},
        streams=trained.facts or others.facts,
        lasting_s=(min(lasts_s), max(lasts_s)) if facts.seconds is None else None,
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
