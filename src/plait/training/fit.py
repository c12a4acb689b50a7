"""Training: one fold by a plain loop over epochs and batches, or several folds at once, with an optional refit."""

import copy
import itertools
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.clips import Clips
from plait.config import Method, Protocol, Train
from plait.encoders.standardise import calibrated
from plait.errors import ConfigError, PlaitError, one_line
from plait.results import TRAIN_WEIGHTS, WEIGHTS
from plait.training.course import Batch, Course, Inputs, augments_of, optimizer_of, scores
from plait.training.folds_together import Stack
from plait.training.grid_cache import drawn_grids, known_grids
from plait.training.network import Network, build, inherit
from plait.types import Dataset, Fold

HISTORY: dict[str, type[pl.DataType]] = {
    "phase": pl.String,
    "epoch": pl.Int64,
    "loss": pl.Float64,
    "val_accuracy": pl.Float64,
    "val_loss": pl.Float64,
}

CALIBRATED_AT_ONCE = 64  # clips; whatever batches are trained with


@dataclass(frozen=True)
class Trained:
    """What one job leaves: its network, probabilities `(clips, classes)` on its test and validation clips, the epochs.

    `chosen` is the network that validation chose, where `network` has been trained once more on more people. `seconds`
    are an equal share where several folds were trained at once.
    """

    network: Network
    chosen: Network | None
    test: np.ndarray
    val: np.ndarray
    history: pl.DataFrame
    seconds: float


def fit(
    method: Method,
    train: Train,
    protocol: Protocol,
    dataset: Dataset,
    clips: Clips,
    folds: Sequence[Fold],
    seed: int,
    device: str,
    donors: Sequence[Mapping[str, Path]],
) -> list[Trained]:
    """Train `method` on each fold's training subjects, as its validation subjects decide; score its test subjects.

    Several folds are trained at once. With `protocol.refit` a second network starts from the same seed and is trained
    on training and validation subjects for as many epochs as the first one's choice; the test scores are then the
    second's, the validation scores still the first's. `donors` are, fold by fold, the folders of finished jobs, by the
    modality whose encoder is taken from there; each phase takes the donor's network of the same phase.

    Raises:
        ConfigError: several folds, and a network that cannot be trained several at once.
    """
    start = time.perf_counter()
    rows = [{part: clips.of(getattr(fold, part)) for part in ("train", "val", "test")} for fold in folds]
    classes, precision = len(dataset.activities), getattr(torch, train.precision)

    def begun(phase: str, fold: int, rows: np.ndarray, val: np.ndarray | None, epochs: int | None) -> Course:
        torch.manual_seed(seed)
        network = build(method, dataset, clips.shapes, "methods", precision).to(device)
        name = TRAIN_WEIGHTS if protocol.refit and phase == "train" else WEIGHTS
        given = {modality: folder / name for modality, folder in donors[fold].items()}
        inherit(network, given)
        calibrate(network, clips, rows, given, device)
        grids = known_grids(network, method, given, clips, device)
        inputs = Inputs(clips, grids, method.modalities, device)
        return Course(network, inputs, method, train, dataset, phase, rows, val, seed, epochs)

    courses = [
        begun("train", i, own["train"], own["val"] if len(own["val"]) else None, None) for i, own in enumerate(rows)
    ]
    epochs = followed(courses, train)
    val = [scores(one.network, one.inputs, own["val"], classes) for one, own in zip(courses, rows, strict=True)]
    final = courses
    if protocol.refit:
        both = [np.sort(np.concatenate([own["train"], own["val"]])) for own in rows]
        final = [begun("refit", i, both[i], None, epochs[i]) for i in range(len(folds))]
        followed(final, train)
    seconds = (time.perf_counter() - start) / len(folds)
    return [
        Trained(
            last.network,
            first.network if protocol.refit else None,
            scores(last.network, last.inputs, own["test"], classes),
            said,
            pl.DataFrame(first.history + (last.history if protocol.refit else []), HISTORY, orient="row"),
            seconds,
        )
        for first, last, own, said in zip(courses, final, rows, val, strict=True)
    ]


def calibrate(network: Network, clips: Clips, rows: np.ndarray, donated: Collection[str], device: str) -> None:
    """Show the training clips `rows`, unaugmented, to the encoders that want to see them before they are trained.

    An encoder that another method has trained keeps what it learned there, in the same fold.
    """
    batches = np.array_split(rows, math.ceil(len(rows) / CALIBRATED_AT_ONCE))
    for name, encoder in network.encoders.items():
        for part in () if name in donated else calibrated(encoder):
            with torch.no_grad():
                part.calibrate(clips.batch([name], at)[name].to(device) for at in batches)


def followed(courses: Sequence[Course], train: Train) -> list[int]:
    """Train every course to its end; the epochs that each has chosen."""
    if len(courses) == 1:
        _alone(courses[0], train)
    else:
        _together(courses, train)
    return [course.finish() for course in courses]


def _alone(course: Course, train: Train) -> None:
    """The plain loop."""
    while not course.over:
        for clip, grids, target in course.batches():
            loss = F.cross_entropy(course.network(clip, grids), target, label_smoothing=train.label_smoothing)
            course.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            course.step(float(loss.detach()), len(target))
        course.close()


def _together(courses: Sequence[Course], train: Train) -> None:
    """The same for several courses at once: epochs and batches in step, networks stacked; who is over, leaves."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, label_smoothing=train.label_smoothing)

    streams = [torch.get_rng_state()] * len(courses)  # each course draws as it would by itself
    stack: Stack | None = None
    while going := [i for i, course in enumerate(courses) if not course.over]:
        if stack is None or len(stack.networks) != len(going):
            stack = Stack([courses[i].network for i in going])
        for step in itertools.zip_longest(*(_drawn(courses[i], i, streams) for i in going)):
            sizes = sorted({len(batch[2]) for batch in step if batch}, reverse=True)
            for size in sizes:
                which = [n for n, batch in enumerate(step) if batch and len(batch[2]) == size]
                clips, grids, targets = zip(*(step[n] for n in which), strict=True)
                inputs = (_side_by_side(clips), _side_by_side(grids))
                losses = stack.losses(which, inputs, torch.stack(targets), loss)
                for n, value in zip(which, losses.tolist(), strict=True):
                    courses[going[n]].step(value, size)
        for i in going:
            courses[i].close()


def _drawn(course: Course, number: int, streams: list[Tensor]) -> Iterator[tuple[Batch, Batch, Tensor]]:
    """A course's batches, each drawn from its own stream of random numbers."""
    batches = course.batches()
    while True:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(streams[number])
            batch = next(batches, None)
            streams[number] = torch.get_rng_state()
        if batch is None:
            return
        yield batch


def _side_by_side(batches: Sequence[Batch]) -> Batch:
    return {name: torch.stack([batch[name] for batch in batches]) for name in batches[0]}


def check(method: Method, train: Train, network: Network, clips: Clips, where: str) -> None:
    """Refuse what cannot work before anything is trained.

    Tried are calibration, precision, folds at once, optimizer, schedule and augmentation.

    `clips` are what the method is given.

    Raises:
        ConfigError: naming the setting.
    """
    shapes = {name: clips.shapes[name] for name in method.modalities}
    for name, encoder in network.encoders.items():
        for part in calibrated(copy.deepcopy(encoder)):
            try:
                with torch.random.fork_rng(devices=[]), torch.no_grad():
                    part.calibrate(iter([torch.rand(2, *shapes[name])]))
            except Exception as error:  # whatever it does not like about such clips
                raise ConfigError(f"{where}.encoders.{name}: calibrate fails: {one_line(error)}") from error
    if network.precision != torch.float32:
        try:
            with torch.random.fork_rng(devices=[]):
                grids = drawn_grids(network, method, clips, 2)
                tensors = {name: torch.rand(2, *shape) for name, shape in shapes.items() if name not in grids}
                copy.deepcopy(network)(tensors, grids).sum().backward()
        except PlaitError:
            raise
        except Exception as error:  # whatever in it does not take numbers of this kind
            raise ConfigError(f"{where}.train.precision: fails in {train.precision}: {one_line(error)}") from error
    if train.folds_at_once > 1:
        try:
            with torch.random.fork_rng(devices=[]):
                stack = Stack([copy.deepcopy(network), copy.deepcopy(network)])
                size = min(train.batch_size, len(clips.table))
                grids = _side_by_side([drawn_grids(network, method, clips, size)] * 2)
                tensors = {n: torch.rand(2, size, *s) for n, s in shapes.items() if n not in grids}
                targets = torch.zeros(2, size, dtype=torch.long)
                stack.losses([0, 1], (tensors, grids), targets, F.cross_entropy)
        except ConfigError as error:
            raise ConfigError(f"{where}.train.folds_at_once: {error}") from error
    _stepped(train, copy.deepcopy(network), where)
    for name, augment in augments_of(method, where).items():
        batch = torch.rand(2, *shapes[name])
        try:
            with torch.random.fork_rng(devices=[]):
                changed = augment(batch)
        except Exception as error:  # whatever it does not like about such clips
            failed = f"{where}.augment.{name}: fails on clips of shape {shapes[name]}"
            raise ConfigError(f"{failed}: {one_line(error)}") from error
        if not isinstance(changed, Tensor) or changed.shape != batch.shape:
            got = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
            raise ConfigError(f"{where}.augment.{name}: made {got} of {tuple(batch.shape)}, expected the same shape")


def _stepped(train: Train, network: Network, where: str) -> None:
    """Take two steps without a gradient, as training will: some settings are refused no earlier.

    Raises:
        ConfigError: naming the setting that does not do.
    """
    optimizer, schedule = optimizer_of(train, network, where, steps=100)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    setting = f"args: {train.optimizer}"
    try:
        for _ in range(2):
            optimizer.step()
        if schedule is not None and train.schedule is not None:
            setting = f"schedule.args: {train.schedule.use}"
            for _ in range(2):
                schedule.step()
    except Exception as error:
        raise ConfigError(f"{where}.{setting}: {one_line(error)}") from error
