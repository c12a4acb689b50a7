"""What people who validated speak for: temperature, decoding, and what is refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from plait.analysis.calibration import temperature
from plait.clips import Side
from plait.config import BY_SESSION, Study
from plait.errors import ConfigError
from plait.fusion import Stack
from plait.names import natural, plain
from plait.progress import Progress
from plait.recogniser.card import called
from plait.recogniser.decoding import transition_probabilities
from plait.recogniser.fused import in_fold, row_of
from plait.recogniser.model import (
    ModelFacts,
    Unlabelled,
)
from plait.recogniser.predict import plan as plan_windows
from plait.recogniser.predict import timeline
from plait.recogniser.recognise import rows_of, slots_of
from plait.recogniser.recogniser import Front, Recogniser, assembled
from plait.recogniser.source import Source, folds_without, trained
from plait.recogniser.tuning import (
    Labelled,
    candidates,
    choose,
    choose_threshold,
    macro_f1,
)
from plait.recogniser.windows import Sliding, labels_of, whole_recordings
from plait.results import (
    TRAIN_WEIGHTS,
    UNSEEN,
    WEIGHTS,
)
from plait.study.run import Say
from plait.study.shuffled import people_of
from plait.study.stacks import read_layer
from plait.types import Recording, Windows


def tuned(
    source: Source,
    facts: ModelFacts,
    validation: pl.DataFrame | None,
    folders: Mapping[tuple[str, int], Path],
    sliding: Sliding,
    cut: Windows | None,
    progress: Progress,
    say: Say,
    device: str = "cpu",
) -> ModelFacts:
    """The model with temperature, decoding and threshold as validation people speak for them.

    Args:
        source: what it is made from.
        facts: what it says so far.
        validation: what the study's rows said of people who validated.
        folders: of finished jobs, by method and seed.
        sliding: how windows are slid over recordings.
        cut: how clips were cut.
        progress: told how many windows are done.
        say: called with each line to know.
        device: what networks compute on.
    """
    facts = replace(facts, unlabelled=unlabelled_time(source.study, cut))
    scores, truth = _said(facts, validation)
    rounds = list(_rounds(source, facts, folders, device))
    if not len(truth) or not rounds:
        say("nobody validated who was not trained on: scores are as they come, and are not smoothed")
        return facts
    facts = replace(facts, temperature=temperature(scores, truth))
    people = sorted({name for _, names in rounds for name in names}, key=natural)
    chosen = f"validation on {', '.join(people)}, by networks that had not seen them"
    facts = replace(facts, training=replace(facts.training, settings=chosen))
    say(f"temperature {facts.temperature:.3f}, fitted on {len(truth)} clips of validation people")
    if sliding.seconds is None:
        return facts
    recordings = whole_by(source)
    labelled = _labelled(recordings, facts, rounds, sliding, cut, progress)
    if not labelled:
        return facts
    activity, refuses = facts.unlabelled.activity, facts.unlabelled.policy == "refuse"
    measure = partial(macro_f1, activities=facts.activities, unlabelled=activity, refusing=refuses)
    modalities = [source.dataset.modality(name) for name in facts.sensors]
    trained_on = [
        labels_of(recording, cut, modalities, facts.activities)
        for person in facts.training.people
        for recording in recordings.get(person, ())
    ]
    matrix = transition_probabilities(trained_on, facts.activities, sliding.seconds)
    tries = candidates(sliding.seconds)
    decoding, tried = choose(tries, labelled, measure, matrix)
    plain = tried.row(0, named=True)
    best = tried.row(tries.index(decoding), named=True)
    say(
        f"decoding: {called(decoding)}; of {len(tried)} tried on {len(labelled)} recordings of people who "
        f"validated; macro-F1 {_percent(plain['measure'])} without it, {_percent(best['measure'])} with it, "
        f"which changes {_percent(best['changed'])} of the time: {plain['stretches']} stretches become "
        f"{best['stretches']}"
    )
    if refuses:
        decoding, refused = choose_threshold(decoding, labelled, measure, matrix)
        facts = replace(facts, unlabelled=replace(facts.unlabelled, threshold=decoding.threshold))
        share = refused.filter(pl.col("threshold").eq_missing(decoding.threshold))["refused"].item()
        say(f"scores below {decoding.threshold} are refused: {_percent(share)} of the time")
    transitions = tuple(map(tuple, matrix.tolist())) if decoding.kind == "viterbi" else ()
    return replace(facts, decoding=decoding, transitions=transitions)


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.1%}"


def unlabelled_time(study: Study, cut: Windows | None) -> Unlabelled:
    """What unlabelled time is, as the study says and its clips were cut.

    Raises:
        ConfigError: the two contradict each other.
    """
    activity = None if cut is None else cut.unlabelled
    policy = study.unlabelled or ("leave-out" if activity is None else "activity")
    if (policy == "activity") != (activity is not None):
        how = "do not make unlabelled time an activity" if activity is None else f"make it {activity!r}"
        raise ConfigError(
            f"unlabelled is {policy!r}, but the clips' windows {how}: expected the same of both"
        )
    return Unlabelled(policy, activity)


def _said(facts: ModelFacts, table: pl.DataFrame | None) -> tuple[np.ndarray, np.ndarray]:
    """Scores `(clips, activities)` of people who validated, and the places of what they did."""
    said = None
    if table is not None:
        said = table.filter(pl.col("method") == facts.method, pl.col("predicted") != UNSEEN)
    if said is None or said.is_empty():
        return np.empty((0, len(facts.activities))), np.empty(0, np.int64)
    truth = [facts.activities.index(name) for name in said["activity"]]
    return np.array(said["scores"].to_list(), dtype=np.float64), np.array(truth, np.int64)


def _rounds(
    source: Source, facts: ModelFacts, folders: Mapping[tuple[str, int], Path], device: str
) -> Iterator[tuple[Recogniser, tuple[str, ...]]]:
    """Recognisers that have not seen some people, and who these are."""
    if source.run is None:
        if source.fold.val:
            row = row_of(source.study, facts.method)
            weights = {part.network: folders[part.method, part.seed] / TRAIN_WEIGHTS for part in row.parts}
            layers = tuple(
                read_layer(folders[row.name, group[0].seed] / WEIGHTS, len(group), len(facts.activities))
                for group in row.groups
                if facts.fusing.making == "stack"
            )
            yield recogniser_of(source, facts, weights, {}, layers, device), source.fold.val
        return
    run = source.run
    if run.study.protocol.kind in BY_SESSION:
        return  # whoever validated may have been trained on, on another day
    fronts: dict[str, Front] = {}
    row = row_of(run.study, facts.method)
    for fold in folds_without(run, source.left_out):
        if fold.val:
            weights = {
                part.network: run.chosen_weights(part.method, f"{fold.name}/{part.seed}")
                for part in row.parts
            }
            fusing, layers, _ = in_fold(run, row, fold.name)
            facts = replace(facts, fusing=fusing)
            yield recogniser_of(source, facts, weights, fronts, layers, device), fold.val


def recogniser_of(
    source: Source,
    facts: ModelFacts,
    weights: Mapping[str, Path],
    fronts: dict[str, Front],
    layers: Sequence[Stack] = (),
    device: str = "cpu",
) -> Recogniser:
    """A recogniser of networks that a study has trained.

    Args:
        source: the study, and what its methods were given.
        facts: what the recogniser says.
        weights: the networks' files, by name.
        fronts: frozen encoders that are there already; what is missing is added.
        layers: of a stack.
        device: what it computes on.
    """
    method_of = {part.network: part.method for part in row_of(source.study, facts.method).parts}
    networks = {name: trained(source, method_of[name], path) for name, path in weights.items()}
    return assembled(facts, source.dataset, networks, device, "model", fronts, layers)


def _labelled(
    by_person: Mapping[str, Sequence[Recording]],
    facts: ModelFacts,
    rounds: Sequence[tuple[Recogniser, tuple[str, ...]]],
    sliding: Sliding,
    cut: Windows | None,
    progress: Progress,
) -> list[Labelled]:
    """What networks made of whole recordings of people they had not seen, with their labels."""
    found = []
    for recogniser, people in rounds:
        recogniser.facts = facts
        recordings = [
            recording
            for person in people
            for recording in by_person.get(person, ())
            if recogniser.can_see(recogniser.present(recording.streams))
        ]
        if not recordings:
            continue
        tasks = plan_windows(recogniser, recordings, sliding, cut=cut)
        table = timeline(recogniser, tasks, progress=progress)
        for task in tasks:
            rows = rows_of(table, task.recording.name)
            if not rows.is_empty() and task.labels:
                found.append(Labelled(slots_of(facts, rows), task.labels))
    return found


def whole_by(source: Source, by: Side = "subject") -> dict[str, list[Recording]]:
    """The whole recordings of a study's data set, by whom they are of, or by their session."""
    called = people_of(source.study).called
    found: dict[str, list[Recording]] = {}
    for recording in whole_recordings(source.dataset, source.data):
        person, session = called(plain(recording.subject)), plain(recording.session)
        found.setdefault(person if by == "subject" else session, []).append(recording)
    return found
