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
    """What one job leaves: its network, probabilities `(clips, classes)` on its test and validation clips, the epochs.

    `chosen` is the network that validation chose, where `network` has been trained once more on more people.
    """

    network: Network
    chosen: Network | None
    test: np.ndarray
    val: np.ndarray
    history: pl.DataFrame
    seconds: float


def fit(task: Task) -> Trained:
    """Train on a fold's training subjects, as its validation subjects decide; score its test subjects.

    With `task.refit` a second network starts from the same seed and is trained on training and validation subjects for
    as many epochs as the first one's choice; the test scores are then the second's, the validation scores still the
    first's. Each phase takes the donors' networks of the same phase.
    """
    start = time.perf_counter()
    train, val, test = (
        task.clips.of(subjects) for subjects in (task.fold.train, task.fold.val, task.fold.test)
    )
    first = _begun(task, Phase("train", train, val if len(val) else None))
    epochs = _followed(first)
    validated = first.scores(val)
    last = first
    if task.refit:
        last = _begun(task, Phase("refit", np.sort(np.concatenate([train, val])), None, epochs))
        _followed(last)
    history = first.history + (last.history if task.refit else [])
    seconds = time.perf_counter() - start
    return Trained(
        last.network,
        first.network if task.refit else None,
        last.scores(test),
        validated,
        pl.DataFrame(history, HISTORY, orient="row"),
        seconds,
    )


def _begun(task: Task, phase: Phase) -> Course:
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


def _followed(course: Course) -> int:
    """The plain loop, to the end of a course; how many epochs led to the weights that were chosen."""
    while not course.over:
        for clips, grids, target in course.batches():
            loss = F.cross_entropy(
                course.network(clips, grids), target, label_smoothing=course.train.label_smoothing
            )
            course.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            course.step(float(loss.detach()), len(target))
        course.close()
    return course.finish()


def calibrate(
    network: Network, clips: Clips, rows: np.ndarray, donated: Collection[str], device: str
) -> None:
    """Show the training clips `rows`, unaugmented, to the encoders that want to see them before they are trained.

    An encoder that another method has trained keeps what it learned there, in the same fold.
    """
    batches = np.array_split(rows, math.ceil(len(rows) / CALIBRATED_AT_ONCE))
    for name, encoder in network.encoders.items():
        for part in () if name in donated else calibrated(encoder):
            with torch.no_grad():
                part.calibrate(clips.batch([name], at)[name].to(device) for at in batches)


def check(method: Method, train: Train, network: Network, clips: Clips, where: str) -> None:
    """Refuse what cannot work before anything is trained.

    Tried are calibration, precision, optimizer, schedule and augmentation.

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
                tensors = {
                    name: torch.rand(2, *shape) for name, shape in shapes.items() if not is_known(name, grids)
                }
                copy.deepcopy(network)(tensors, grids).sum().backward()
        except PlaitError:
            raise
        except Exception as error:  # whatever in it does not take numbers of this kind
            raise ConfigError(
                f"{where}.train.precision: fails in {train.precision}: {one_line(error)}"
            ) from error
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
            raise ConfigError(
                f"{where}.augment.{name}: made {got} of {tuple(batch.shape)}, expected the same shape"
            )


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
