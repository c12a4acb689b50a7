"""What a model is made from: a study's method, its clips, and a run that knows how good it is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars as pl
import torch

from plait.clips import Clips, Cut, tensors
from plait.clips.arrays import rows_with
from plait.config import Encoder, Method, Study
from plait.contents import network_key
from plait.errors import ConfigError
from plait.features.extraction import frozen_encoder
from plait.keying import source_key
from plait.names import natural, plain
from plait.objects import resolve
from plait.progress import Progress
from plait.recogniser.fused import fusing_of, row_of
from plait.recogniser.held import code_of
from plait.recogniser.model import EncoderFacts, ModelFacts, NetworkFacts, SensorFacts, Training
from plait.recogniser.windows import Sliding, windows_of
from plait.results import UNSEEN, row_key
from plait.study.facts import commit, versions
from plait.study.finished import FinishedRun
from plait.study.folds import check_classes, doers, folds_of
from plait.study.inputs import inputs
from plait.study.run import Say, check_methods, check_prepares
from plait.study.shuffled import clips_of, people_of
from plait.training.network import Network, maker, restored
from plait.trust import NOBODY, OWN, Trust
from plait.types import Dataset, Fold, Windows


class Source(NamedTuple):
    """What a model is made from: the study with the method alone, its data set, and what it was given."""

    study: Study
    dataset: Dataset
    data: Path
    cuts: list[Cut]
    clips: dict[str, Clips]
    fold: Fold
    left_out: tuple[str, ...]
    run: FinishedRun | None


def source_of(
    study: Study,
    method: str,
    data: Path,
    run: Path | None,
    leave_out: Sequence[str],
    say: Say,
    progress: Progress,
    trust: Trust = NOBODY,
) -> Source:
    """What a model is made from, checked.

    Args:
        study: whose method is wanted.
        method: its name.
        data: where the recordings lie.
        run: a finished run of the study, if there is one.
        leave_out: people whose clips are not looked at.
        say: called with each line to know.
        progress: told how many clips have features.
        trust: whose code the run may name besides what the study names.

    Raises:
        ConfigError: the study, the method, the people or the run do not fit.
        DataError: a file is missing or damaged.
    """
    if study.protocol.shuffle_labels is not None:
        raise ConfigError("protocol.shuffle_labels: a control teaches nothing, expected none")
    if method not in study.methods:
        raise ConfigError(f"methods: no method {method!r}, expected one of: {', '.join(study.methods)}")
    trust = Trust(trust.modules | _named_by(study), trust.all)
    study = study.only([method])
    if not study.methods[method].ensemble:
        study = replace(study, seeds=study.seeds[:1])
    dataset = OWN.dataset(study.dataset, "dataset")
    listing = clips_of(study, dataset, data)
    for line in listing.told(dataset.activities):
        say(line)
    called = people_of(study).called
    named = {called(plain(name)) for name in study.protocol.subjects}
    everybody = sorted({clip.subject for _, clip in listing.cuts}, key=natural)
    if named:
        everybody = [name for name in everybody if name in named]
        say(f"protocol.subjects: only {', '.join(everybody)} take part")
    absent = [called(plain(name)) for name in leave_out]
    if unknown := [name for name in absent if name not in everybody]:
        raise ConfigError(
            f"--leave-out {unknown[0]}: nobody of that name, expected some of: {', '.join(everybody)}"
        )
    people = [name for name in everybody if name not in absent]
    cuts = [cut for cut in listing.cuts if cut[1].subject in people]
    who_does = doers((clip for _, clip in cuts), "subject")
    check_classes(Fold("everyone", tuple(people), (), ()), who_does, dataset.activities)
    finished = None
    if run is not None:
        finished = FinishedRun.open(run, data, trust)
        _check_run(study, dataset, finished, listing.cuts)
    whole = {clip.subject for _, clip in cuts if not clip.lacks}
    fold = _fold(study, people, whole, finished)
    study = replace(study, protocol=replace(study.protocol, refit=bool(fold.val)))
    check_prepares(study, dataset, cuts)
    clips = inputs(study, dataset, cuts, progress=progress)
    for line in check_methods(study, dataset, cuts, data, clips, (fold,), choosing=bool(fold.val)):
        say(line)
    return Source(study, dataset, data, cuts, clips, fold, tuple(absent), finished)


def _named_by(study: Study) -> frozenset[str]:
    """The modules that a study names, which whoever starts it runs."""
    paths = [study.dataset, *(path for _, method, _ in study.trainings() for _, path in method.networks())]
    return frozenset(path.partition(":")[0] for path in paths)


def folds_without(run: FinishedRun, people: Collection[str]) -> list[Fold]:
    """The folds of a run in which none of these people trained or validated.

    Raises:
        ConfigError: there is none.
    """
    found = [
        fold
        for fold in folds_of(run.study.protocol, [clip for _, clip in run.cuts])
        if not people or (fold.by == "subject" and not set(people) & {*fold.train, *fold.val})
    ]
    if not found:
        some = ", ".join(sorted(people, key=natural))
        raise ConfigError(
            f"{run.folder}: {some} took part in every fold, expected a run without them (protocol.subjects), "
            "or no --run"
        )
    return found


def _check_run(study: Study, dataset: Dataset, run: FinishedRun, cuts: Sequence[Cut]) -> None:
    """Refuse a run of other methods, people or clips, whose epochs and scores would say nothing of these."""
    mine, theirs = study.protocol, run.study.protocol
    if (mine.same_person, mine.different) != (theirs.same_person, theirs.different):
        raise ConfigError(f"{run.folder}: other people are one there, expected a run of this study")
    if theirs.shuffle_labels is not None:
        raise ConfigError(f"{run.folder}: a control with shuffled labels, expected a run of this study")
    names = {clip.name for _, clip in cuts}
    mine_of = pl.col("method").is_in(study.methods) & (pl.col("predicted") != UNSEEN)
    if other := set(run.results.predictions.filter(mine_of)["clip"]) - names:
        raise ConfigError(f"{run.folder}: a run of other clips, such as {min(other)}, expected one of these")
    for name, method, train in study.trainings():
        if name not in run.study.methods:
            raise ConfigError(f"{run.folder}: no method {name!r}, expected a run of this study")
        if run.study.method(name) != method or run.study.training(name) != train:
            raise ConfigError(
                f"{run.folder}: method {name!r} has other settings there, expected a run of this study"
            )
    for name, row in study.methods.items():
        if row.making and run.study.methods.get(name) != row:
            raise ConfigError(f"{run.folder}: no row {name!r} like this one, expected a run of this study")
        if row.ensemble and run.study.seeds != study.seeds:
            raise ConfigError(
                f"{run.folder}: {name!r} is over other seeds there, expected a run of this study"
            )
    if run.study.dataset != study.dataset:
        raise ConfigError(f"{run.folder}: a run of {run.study.dataset}, expected one of {study.dataset}")


def _fold(study: Study, people: Sequence[str], whole: Collection[str], run: FinishedRun | None) -> Fold:
    """Everyone trains; where epochs are yet to be chosen, the last people validate before.

    These are among the people who have a clip that lacks nothing, `whole`.
    """
    chooses = any(train.choose == "best" for _, _, train in study.trainings())
    count = study.protocol.val_subjects or 0
    if run is not None or not (chooses or count):
        return Fold("everyone", tuple(people), (), ())
    count = max(count, 1) if chooses else count
    judges = [name for name in people if name in whole][-count:]
    rest = tuple(name for name in people if name not in judges)
    if len(judges) < count or not rest:
        raise ConfigError(
            f"protocol.val_subjects: {count} of {len(people)} people, expected somebody left to train"
        )
    return Fold("everyone", rest, tuple(judges), ())


def trained(source: Source, name: str, weights: Path) -> Network:
    """A method's network with its weights from a file.

    Raises:
        DataError: they cannot be read, or are of other code.
    """
    method, shapes = source.study.method(name), source.clips[name].shapes
    precision = getattr(torch, source.study.training(name).precision)
    return restored(method, source.dataset, shapes, f"methods.{name}", weights, precision)


def sliding_of(source: Source, stride_s: float | None) -> tuple[Sliding, Windows | None]:
    """How windows are slid over recordings, and how clips were cut."""
    modalities = [source.dataset.modality(name) for name in source.study.needed]
    seconds, cut = windows_of(source.dataset, source.data, modalities)
    if seconds is None:
        return Sliding(None), cut
    return Sliding(seconds, stride_s or source.study.evaluate.stride_s or seconds / 2), cut


def facts_of(
    source: Source,
    key: str,
    epochs: Mapping[str, int],
    sliding: Sliding,
    method: str | None = None,
    seed: int | None = None,
) -> ModelFacts:
    """What a model says before temperature and decoding are chosen.

    Args:
        source: what it is made from.
        key: of all that decides it.
        epochs: how many each network was trained, by its method's name.
        sliding: how windows are slid over recordings.
        method: which of the study's; by default the one that no other is made from.
        seed: whose networks; by default the first, of an ensemble all.
    """
    study, dataset = source.study, source.dataset
    if method is None:
        made_from = {name for each in study.methods.values() for name in each.sources}
        [method] = study.methods.keys() - made_from
    row = row_of(study, method, seed)
    names = tuple(dict.fromkeys(part.method for part in row.parts))
    modalities = dict.fromkeys(m for name in names for m in study.methods[name].modalities)
    sensors = {}
    for name in modalities:
        modality = dataset.modality(name)
        sensors[name] = SensorFacts(
            modality.streams,
            modality.samples,
            _tensor_shape(source, name),
            code_of(modality.prepare),
            modality.rate_hz,
        )
    networks = {}
    for network, name, _ in row.parts:
        spelled, train = study.method(name), study.training(name)
        assert spelled.use is not None
        networks[network] = NetworkFacts(
            spelled.use,
            source_key([resolve(spelled.use, f"methods.{name}.use")]),
            {m: _encoder_facts(source, name, spelled, m) for m in spelled.modalities},
            epochs.get(name, 0),
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
        fusing=fusing_of(row, None, dataset.activities),
        training=Training(
            people,
            _clips_read(source, names),
            row.parts[0].seed,
            source.left_out,
            seeds=study.seeds if study.methods[method].ensemble else (),
            row=row_key(source.run.methods, method) if source.run else "",
        ),
        seconds=sliding.seconds,
        stride_s=sliding.stride_s,
        cite=dataset.cite,
        versions=versions(),
        commit=commit(),
    )


def _clips_read(source: Source, names: Sequence[str]) -> int:
    """How many clips some of these methods is trained on: those that hold all that it reads."""
    reads = [source.study.methods[name].modalities for name in names]
    return sum(any(clip.holds(modalities) for modalities in reads) for _, clip in source.cuts)


def _tensor_shape(source: Source, name: str) -> tuple[int, ...]:
    """The shape of a modality's tensor, before features are made of it."""
    first = source.cuts[rows_with(source.cuts, name)[0]]
    return tuple(next(tensors(source.dataset.modality(name), [first])).shape)


def _encoder_facts(source: Source, name: str, method: Method, modality: str) -> EncoderFacts:
    """What a model says of a network's encoder."""
    encoder = method.encoders.get(modality, Encoder())
    where, weights = f"methods.{name}.encoders.{modality}", None
    if encoder.features:
        shape = _tensor_shape(source, modality)
        weights = network_key(frozen_encoder(encoder.features, shape, f"{where}.features"))
    return EncoderFacts(
        source.clips[name].shapes[modality],
        source_key([maker(encoder, source.dataset, modality, f"methods.{name}")]),
        encoder.use,
        encoder.args,
        encoder.frozen,
        encoder.features,
        weights,
        encoder.trainable,
    )
