"""Training: one fold by a plain loop over epochs and batches, with an optional refit."""

import copy
import math
import time
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.clips import Clips
from plait.config import Method, Train
from plait.encoders.standardise import calibrated
from plait.errors import ConfigError, PlaitError, one_line
from plait.fusion.grids import is_known
from plait.results import TRAIN_WEIGHTS, WEIGHTS
from plait.training.course import Course, Inputs, Phase, Task, augments_of, optimizer_of
from plait.training.grid_cache import drawn_grids, known_grids
from plait.training.network import Network, build, inherit

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
    """What one job leaves.

    Args:
        network: the last one.
        chosen: the one that validation chose, where `network` has been trained once more on more people.
        test: probabilities `(clips, classes)` on the test clips.
        val: the same on the validation clips.
        history: a row of `HISTORY` for each epoch.
        seconds: that all of it took.
    """

    network: Network
    chosen: Network | None
    test: np.ndarray
    val: np.ndarray
    history: pl.DataFrame
    seconds: float


def fit(task: Task) -> Trained:
    """Train on a fold's training subjects, as its validation subjects decide; score its test subjects.

    With `task.refit` a second network starts from the same seed and is trained on training and validation
    subjects for as many epochs as validation chose. Test scores are then the second's, validation scores
    still the first's. Each phase takes the donors' networks of the same phase.
    """
    start = time.perf_counter()
    fold = task.fold
    train, val, test = (task.clips.of(subjects) for subjects in (fold.train, fold.val, fold.test))
    first = last = _start(task, Phase("train", train, val if len(val) else None))
    epochs = _train(first)
    val_scores = first.scores(val)
    history, chosen = first.history, None
    if task.refit:
        last = _start(task, Phase("refit", np.sort(np.concatenate([train, val])), None, epochs))
        _train(last)
        history, chosen = history + last.history, first.network
    seconds = time.perf_counter() - start
    table = pl.DataFrame(history, HISTORY, orient="row")
    return Trained(last.network, chosen, last.scores(test), val_scores, table, seconds)


def _start(task: Task, phase: Phase) -> Course:
    """A network that has seen nothing yet, but for what its donors have."""
    torch.manual_seed(task.seed)
    precision = getattr(torch, task.train.precision)
    network = build(task.method, task.dataset, task.clips.shapes, "methods", precision).to(task.device)
    name = TRAIN_WEIGHTS if task.refit and phase.name == "train" else WEIGHTS
    donated = {modality: folder / name for modality, folder in task.donors.items()}
    inherit(network, donated)
    calibrate(network, task.clips, phase.rows, donated, task.device)
    grids = known_grids(network, task.method, donated, task.clips, task.device)
    return Course(task, phase, network, Inputs(task.clips, grids, task.method.modalities, task.device))


def _train(course: Course) -> int:
    """The plain loop, to the end of a course; how many epochs led to the weights that were chosen."""
    smoothing = course.train.label_smoothing
    while not course.over:
        for tensors, grids, target in course.batches():
            loss = F.cross_entropy(course.network(tensors, grids), target, label_smoothing=smoothing)
            course.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            course.step(float(loss.detach()), len(target))
        course.close()
    return course.finish()


def calibrate(
    network: Network, clips: Clips, rows: np.ndarray, donated: Collection[str], device: str
) -> None:
    """Show the training clips, unaugmented, to the encoders that want to see them before they are trained.

    Args:
        network: whose encoders these are.
        clips: the clips with their tensors.
        rows: of the training clips.
        donated: modalities whose encoder another method has trained in this fold; it keeps what it learned.
        device: what is computed on.
    """
    batches = np.array_split(rows, math.ceil(len(rows) / CALIBRATED_AT_ONCE))
    for name, encoder in network.encoders.items():
        for part in () if name in donated else calibrated(encoder):
            with torch.no_grad():
                part.calibrate(clips.batch([name], batch)[name].to(device) for batch in batches)


def check(method: Method, train: Train, network: Network, clips: Clips, where: str) -> None:
    """Refuse calibration, precision, optimizer, schedule or augmentation that would fail in training.

    Args:
        method: what is to be trained.
        train: how.
        network: as it is built.
        clips: what the method is given.
        where: what errors call the method.

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
                computed = [name for name in shapes if not is_known(name, grids)]
                tensors = {name: torch.rand(2, *shapes[name]) for name in computed}
                copy.deepcopy(network)(tensors, grids).sum().backward()
        except PlaitError:
            raise
        except Exception as error:  # whatever in it does not take numbers of this kind
            failed = f"{where}.train.precision: fails in {train.precision}"
            raise ConfigError(f"{failed}: {one_line(error)}") from error
    _try_steps(train, copy.deepcopy(network), where)
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
            mismatch = f"made {got} of {tuple(batch.shape)}, expected the same shape"
            raise ConfigError(f"{where}.augment.{name}: {mismatch}")


def _try_steps(train: Train, network: Network, where: str) -> None:
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
