"""A run's networks on whole recordings of the people they were tested on: frames and segments, not clips."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from plait.analysis.benchmark import Found, write_benchmark
from plait.analysis.continuous import scores
from plait.analysis.stretches import Stretch
from plait.compute.machine import device_here
from plait.errors import PlaitWarning
from plait.progress import Progress, silent
from plait.recogniser.fused import Row, in_fold, row_of
from plait.recogniser.model import ModelFacts
from plait.recogniser.predict import plan, timeline
from plait.recogniser.recognise import recognise, rows_of
from plait.recogniser.recogniser import Front
from plait.recogniser.score import STEP_S, named, stretch, summary
from plait.recogniser.source import Source, facts_of, sliding_of
from plait.recogniser.validation import recogniser_of, unlabelled_time, whole_by
from plait.recogniser.windows import Sliding, labels_of, scored_extent
from plait.results import CONTINUOUS
from plait.store import content_key, write_csv
from plait.study.finished import FinishedRun
from plait.study.folds import by_of, folds_of
from plait.types import Fold, Recording, Windows

PARTS = "continuous"  # of a run's folder: windows that are done


def write_continuous(run: FinishedRun, progress: Progress = silent) -> pl.DataFrame:
    """Score every method of a run on its test people's whole recordings, as `RUN/continuous.csv`.

    A row per method and seed (of an ensemble one, without), over all folds: `recordings` (those with labels
    that have every sensor which some method reads, as clips have, and a line says which do not; where
    `missing` is `without`, all that have some modality of the study, and nothing is recognised in those that
    the method cannot see), then the columns of `score.summary`. So all methods stand on the same recordings.
    The data set's own metrics of recordings, if it names some, are added to `RUN/benchmark.parquet`.
    Windows are slid over each recording and their scores averaged where they overlap; nothing is smoothed,
    for smoothing is chosen by whoever fits a model. A recording is scored over one time for all methods, that
    of all sensors of the study and of its labels. Windows that are done are not looked at again.

    Args:
        run: a finished one.
        progress: told how many windows are done.

    Raises:
        ConfigError: what time without a label is, is said in two ways.
        DataError: a recording cannot be read, or has labels that overlap.
    """
    rows: list[pl.DataFrame] = []
    everything: list[Found] = []
    fronts: dict[str, Front] = {}
    recordings: dict[str, list[Recording]] = {}
    for method in run.study.methods:
        source = _source(run, method)
        recordings = recordings or _recordings(run, source)
        sliding, cut = sliding_of(source, None)
        ensemble = run.study.methods[method].ensemble
        for seed in (None,) if ensemble else run.study.seeds:
            facts = facts_of(source, "", {}, sliding, method, seed)
            facts = replace(facts, unlabelled=unlabelled_time(source.study, cut))
            row = row_of(source.study, method, seed)
            folds = _stretches(run, source, facts, row, cut, recordings, fronts, progress)
            everything.append(Found(method, seed, folds, named(facts)))
            stretches = [one for found in folds.values() for one in found]
            table = summary(scores(stretches, named(facts), STEP_S))
            about = {"method": pl.String, "seed": pl.Int64, "recordings": pl.Int64}
            whose = pl.DataFrame([(method, seed, len(stretches))], schema=about, orient="row")
            rows.append(pl.concat([whose, table], how="horizontal"))
    result = pl.concat(rows)
    write_csv(run.folder / CONTINUOUS, result)
    write_benchmark(run.folder, run.dataset, run.results.predictions, everything)
    return result


def _source(run: FinishedRun, method: str) -> Source:
    """A run's method, as models are made from it."""
    study = run.study.only([method])
    names = [name for name, _, _ in study.trainings()]
    clips = {name: run.clips(name) for name in names}
    data = Path(run.results.facts.data or ".")
    return Source(study, run.dataset, data, run.cuts, clips, Fold("all", (), (), ()), (), run)


def _recordings(run: FinishedRun, source: Source) -> dict[str, list[Recording]]:
    """The recordings of each person, or session; those alone with all sensors, unless clips do without."""
    recordings = whole_by(source, by_of(run.study.protocol))
    if run.study.missing == "without":
        return recordings
    needed = {stream for name in run.study.needed for stream in run.dataset.modality(name).streams}
    for theirs in recordings.values():
        for recording in theirs:
            if lacks := sorted(needed - recording.streams.keys()):
                line = (
                    f"recording {recording.name}: no {', '.join(lacks)}, which some method reads: not scored"
                )
                warnings.warn(f"{line} as a whole recording", PlaitWarning, stacklevel=3)
    return {
        side: [one for one in theirs if needed <= one.streams.keys()] for side, theirs in recordings.items()
    }


def _stretches(
    run: FinishedRun,
    source: Source,
    facts: ModelFacts,
    row: Row,
    cut: Windows | None,
    recordings: Mapping[str, list[Recording]],
    fronts: dict[str, Front],
    progress: Progress,
) -> dict[str, list[Stretch]]:
    """Labels and what was recognised, fold by fold, by the networks that had not seen who is tested there."""
    sliding, device = Sliding(facts.seconds, facts.stride_s), device_here(run.results.facts.device)
    folds: dict[str, list[Stretch]] = {}
    needed = [run.dataset.modality(name) for name in run.study.needed]  # all methods are scored over one time
    for fold in folds_of(run.study.protocol, [clip for _, clip in run.cuts]):
        weights = {part.network: run.weights(part.method, f"{fold.name}/{part.seed}") for part in row.parts}
        fusing, layers, jobs = in_fold(run, row, fold.name)
        key = content_key([*(path.parent.name for path in weights.values()), *jobs])
        facts = replace(facts, key=key, fusing=fusing)
        recogniser = recogniser_of(source, facts, weights, fronts, layers, device)
        everything = [recording for side in fold.test for recording in recordings.get(side, ())]
        theirs = [r for r in everything if recogniser.can_see(recogniser.present(r.streams))]
        found = folds.setdefault(fold.name, [])
        if run.study.missing == "without":
            found += _unseen(run, facts, cut, [r for r in everything if r not in theirs])
        if not theirs:
            continue
        tasks = plan(recogniser, theirs, sliding, cut=cut)
        table = timeline(recogniser, tasks, run.folder / PARTS, progress)
        for task in tasks:
            if not task.labels:
                continue
            extent = scored_extent(task.recording, needed)
            assert extent is not None  # it has a modality that can be seen
            segments = recognise(facts, rows_of(table, task.recording.name)).segments
            found.append(stretch(facts, task.recording.name, extent, task.labels, segments))
    return folds


def _unseen(
    run: FinishedRun, facts: ModelFacts, cut: Windows | None, recordings: Sequence[Recording]
) -> list[Stretch]:
    """Labels of recordings of which a method sees nothing, and others might: nothing is recognised there."""
    needed = [run.dataset.modality(name) for name in run.study.needed]
    found: list[Stretch] = []
    for recording in recordings:
        some = [modality for modality in needed if set(modality.streams) <= recording.streams.keys()]
        labels = labels_of(recording, cut, some, facts.activities)
        extent = scored_extent(recording, needed)
        if extent is not None and labels:
            found.append(stretch(facts, recording.name, extent, labels, ()))
    return found
