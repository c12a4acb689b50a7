"""Training: one fold by a plain loop over epochs and batches, with an optional refit."""

import copy
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from plait.clips import Clips
from plait.compute.seeds import OWN_DRAWS, left_alone, seed_all
from plait.config import Encoder, Method, Train
from plait.encoders.chain import Tuned
from plait.encoders.standardise import calibrated, neglected, uncalibrated
from plait.errors import ConfigError, PlaitError, PlaitWarning
from plait.features.alone import is_plait_s
from plait.features.ranges import check_range
from plait.fusion.grids import is_known
from plait.results import EPOCH, TRAIN_WEIGHTS, WEIGHTS
from plait.training.alone import dependent
from plait.training.course import Course, Phase, Task, augments_of, optimizer_of, refusing, seeded
from plait.training.grid_cache import drawn_grids, known_grids
from plait.training.inputs import Inputs
from plait.training.network import Network, build, inherit
from plait.training.objectives.base import Objective, number_of
from plait.training.objectives.row import Teacher, objectives_of, prepare, scene_of, stand_ins_for

PLAIN = "plait.training.objectives:CrossEntropy"
IN_MEMORY = 2**27  # bytes of clips and grids that a training reads once; what takes more is read by batches
CALIBRATED_AT_ONCE = 64  # clips; whatever batches are trained with


@dataclass(frozen=True)
class Trained:
    """What one job leaves.

    Args:
        network: the last one.
        chosen: the one that validation chose, where `network` has been trained once more on more people.
        test: probabilities `(clips, classes)` on the test clips.
        val: the same on the validation clips.
        history: a row of `EPOCH` for each epoch.
        seconds: that all of it took.
        measured: what objectives have measured, by their names.
    """

    network: Network
    chosen: Network | None
    test: np.ndarray
    val: np.ndarray
    history: pl.DataFrame
    seconds: float
    measured: dict[str, dict[str, float]] = field(default_factory=dict)


def fit(task: Task) -> Trained:
    """Train on a fold's training subjects, as its validation subjects decide; score its test subjects.

    With `task.refit` a second network starts from the same seed and is trained on training and validation
    subjects for as many epochs as validation chose. Test scores are then the second's, validation scores
    still the first's. Each phase takes the donors' networks of the same phase.

    Clips that lack some of what the method reads are scored, but neither train nor decide.
    """
    start = time.perf_counter()
    fold, reads = task.fold, task.method.modalities
    everybody = [task.clips.of(names, fold.by) for names in (fold.train, fold.val, fold.test)]
    (_, val_clips, test), (train, val, _) = everybody, [task.clips.holding(reads, rows) for rows in everybody]
    first = last = _start(task, Phase("train", train, val if len(val) else None, task.epochs))
    epochs = _train(first)
    val_scores = first.scores(val_clips)
    history, chosen = first.history, None
    if task.refit:
        last = _start(task, Phase("refit", np.sort(np.concatenate([train, val])), None, epochs), first)
        _train(last)
        history, chosen = history + last.history, first.network
    seconds = time.perf_counter() - start
    table = pl.DataFrame(history, EPOCH, orient="row")
    measured = {type(one).__name__: one.measured for one in last.objectives if one.measured}
    return Trained(last.network, chosen, last.scores(test), val_scores, table, seconds, measured)


def _start(task: Task, phase: Phase, earlier: Course | None = None) -> Course:
    """A network that has seen nothing yet, but for what its donors have.

    In a refit, objectives take over what those of the `earlier` course have measured.
    """
    seed_all(task.seed)
    precision, objectives = getattr(torch, task.train.precision), objectives_of(task.train, "train")
    stand_ins = stand_ins_for(objectives, task.method.modalities, "train")
    shapes = task.clips.shapes
    network = build(task.method, task.dataset, shapes, "methods", precision, stand_ins).to(task.device)
    name = TRAIN_WEIGHTS if task.refit and phase.name == "train" else WEIGHTS
    donated = {modality: folder / name for modality, folder in task.donors.items()}
    inherit(network, donated)
    _calibrate(network, task, phase.rows)
    grids = known_grids(network, task.method, donated, task.clips, task.device)
    computed = [name for name in task.method.modalities if not is_known(name, grids.arrays)]
    clips = task.clips.loaded(IN_MEMORY // 2, computed)
    inputs = Inputs(clips, grids.loaded(IN_MEMORY // 2, grids.arrays), task.method.modalities, task.device)
    if objectives:
        taught = {m: Teacher(encoder, folder / name) for m, (folder, encoder) in task.teachers.items()}
        rows = phase.rows, np.array([], np.int64) if phase.val is None else phase.val
        scene = scene_of(network, task.dataset, task.clips, rows, taught, "train", earlier is not None)
        prepare(objectives, scene, task.seed, "train")
        for objective in objectives:
            objective.to(task.device)
        for at, objective in enumerate(objectives):
            if earlier is not None:
                objective.follow(earlier.objectives[at])
                continue
            with left_alone():
                objective.measure(scene, partial(_tried, task, phase, network, inputs))
    if task.ranks.number:
        seed_all(number_of(f"{task.seed}/device {task.ranks.number}"))  # others' clips, other draws
    return Course(task, phase, network, inputs, objectives)


def _tried(
    task: Task, phase: Phase, network: Network, inputs: Inputs, objective: Objective, epochs: int
) -> Course:
    """Copies of a network and an objective, trained for some epochs while nobody validates."""
    alone = Phase("trial", phase.rows, None, epochs)
    course = Course(task, alone, copy.deepcopy(network), inputs, [copy.deepcopy(objective).to(task.device)])
    if epochs:
        _train(course)
    return course


def _train(course: Course) -> int:
    """The plain loop, to the end of a course; how many epochs led to the weights that were chosen."""
    while not course.over:
        with course.products():
            for batch in course.batches():
                course.clear()
                mean = 0.0
                for tensors, grids, target, share in course.parts(*batch):
                    loss = course.loss(tensors, grids, target)
                    loss = loss if share == 1 else loss * share
                    loss.backward()  # type: ignore[no-untyped-call]
                    mean += float(loss.detach())
                course.step(mean)
        course.close()
    return course.finish()


def _calibrate(network: Network, task: Task, rows: np.ndarray) -> None:
    """Show the training clips `rows`, unaugmented, to encoders that want to see them before they are trained.

    An encoder that another method has trained keeps what it learned there, in the same fold.
    """
    groups = np.array_split(rows, math.ceil(len(rows) / CALIBRATED_AT_ONCE))
    for name, encoder in network.encoders.items():
        for part in () if name in task.donors else calibrated(encoder):
            with torch.no_grad():
                part.calibrate(task.clips.batch([name], group)[name].to(task.device) for group in groups)


def _show_one(shape: Sequence[int], where: str, encoder: nn.Module) -> None:
    """Calibrate an encoder by two clips of `shape` at random."""
    for part in calibrated(encoder):
        with refusing(f"{where}: calibrate fails"), left_alone(), torch.no_grad():
            part.calibrate(iter([torch.rand(2, *shape)]))


def _read(clips: Clips, name: str, rows: np.ndarray, places: Sequence[int]) -> Tensor:
    return clips.batch([name], rows[list(places)])[name]


def check(method: Method, train: Train, anew: Callable[[], Network], clips: Clips, where: str) -> Network:
    """Refuse calibration, precision, optimizer, schedule or augmentation that would fail in training.

    A part of an encoder whose `calibrate` nobody calls is warned of, and so is one of somebody's own whose
    output for a clip is not that clip's and its weights' alone (`plait.training.alone`), or that was made for
    values in another range than the clips' (`plait.features.ranges`).

    Args:
        method: what is to be trained.
        train: how.
        anew: builds its network.
        clips: what the method is given.
        where: what errors call the method.

    Returns:
        The network as it is built.

    Raises:
        ConfigError: naming the setting.
    """
    with left_alone():
        network = anew()
    shapes, encoders = {name: clips.shapes[name] for name in method.modalities}, dict[str, nn.Module]()
    for name, encoder in network.encoders.items():
        shown = copy.deepcopy(encoder) if next(calibrated(encoder), None) is not None else encoder
        encoders[name] = shown
        left = neglected(shown, partial(_show_one, shapes[name], f"{where}.encoders.{name}"))
        if part_of_it := uncalibrated(shown):
            expected = (
                "expected a method calibrate of the encoder that does, or nn.Sequential with it in front"
            )
            raise ConfigError(f"{where}.encoders.{name}: nobody calibrates {part_of_it}, {expected}")
        for part in left:  # the same words of all methods are said once
            expected = "if it needs that, give the encoder a method calibrate that does"
            if isinstance(encoder, Tuned):
                expected = "blocks are shown no clips, expected it to hold what it needs already"
            what = f"encoders.{name}: nobody calls calibrate of {part}"
            warnings.warn(f"{what}: {expected}", PlaitWarning, stacklevel=2)
        own = method.encoders.get(name, Encoder())
        if own.features is None and own.donor is None:  # of features, and of donors, it has been looked at
            rows = clips.holding([name], np.arange(len(clips.table)))
            read = partial(_read, clips, name, rows)
            check_range(encoder, name, read, len(rows), type(encoder).__name__, f"encoders.{name}")
    if part_of_it := uncalibrated(network.method):
        expected = "expected it in an encoder, which is shown the training clips"
        raise ConfigError(f"{where}: nobody calibrates {part_of_it}, of method {method.use}, {expected}")
    for part in neglected(network.method):
        what = f"method {method.use}: nobody calls calibrate of {part}"
        expected = "methods are shown no clips before they are trained: an encoder may be"
        warnings.warn(f"{what}: {expected}", PlaitWarning, stacklevel=2)
    with refusing(f"{where}: fails", passing=(PlaitError,)), left_alone():
        for line in dependent(network, shapes, encoders, anew):
            warnings.warn(line, PlaitWarning, stacklevel=2)
    if network.precision != torch.float32:
        failure = f"{where}.train.precision: fails in {train.precision}"
        with refusing(failure, passing=(PlaitError,)), left_alone():
            copy.deepcopy(network)(*_drawn(network, method, clips)).sum().backward()
    for name, encoder in network.encoders.items():
        if isinstance(encoder, Tuned) and encoder.checkpoint:
            check_again(encoder, shapes[name], f"{where}.encoders.{name}.trainable")
    for setting in ("devices", "accumulate"):
        if getattr(train, setting) > 1 and any(one.use != PLAIN for one in train.objective):
            plain = "for others look at whole batches"
            raise ConfigError(f"{where}.train.{setting}: expected no objective but {PLAIN}, {plain}")
    _try_steps(train, copy.deepcopy(network), f"{where}.train")
    for name, augment in augments_of(method, where).items():
        here = f"{where}.augment.{name}"
        drawn = torch.rand(2, *shapes[name])
        with refusing(f"{here}: fails on clips of shape {shapes[name]}"), left_alone():
            changed, again = (seeded(augment, here, drawn.clone()) for _ in range(2))
        if not isinstance(changed, Tensor) or changed.shape != drawn.shape:
            got = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
            raise ConfigError(f"{here}: made {got} of {tuple(drawn.shape)}, expected the same shape")
        if not torch.allclose(changed, again, equal_nan=True):
            warnings.warn(f"augment.{name}: {method.augment[name]} {OWN_DRAWS}", PlaitWarning, stacklevel=2)
    return network


def check_scores(
    network: Network, method: Method, clips: Clips, activities: Sequence[str], where: str
) -> None:
    """Refuse a method of somebody's own that gives no logit for each activity; warn of one that gives shares.

    Raises:
        ConfigError: it fails, or gives something else.
    """
    if is_plait_s(network.method):
        return
    with refusing(f"{where}: fails", passing=(PlaitError,)), left_alone(), torch.no_grad():
        logits: Any = copy.deepcopy(network).eval()(*_drawn(network, method, clips))
    expected = (2, len(activities))
    if not isinstance(logits, Tensor) or logits.shape != expected:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        wanted = f"expected {expected}, a logit for each of: {', '.join(activities)}"
        raise ConfigError(f"{where}: {method.use} gives {got} of 2 clips, {wanted}")
    shares = (logits >= 0).all() and torch.allclose(logits.sum(1), torch.ones(2))
    if len(activities) > 1 and shares and not torch.allclose(logits, logits.mean()):  # as zero weights give
        warnings.warn(
            f"method {method.use}: gives probabilities, expected logits: a softmax is taken of them, in "
            "training, too: it learns less, and no score is near 1",
            PlaitWarning,
            stacklevel=2,
        )


def _drawn(network: Network, method: Method, clips: Clips) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Two clips at random, as a network is given them: tensors, and grids of what is known of its clips."""
    grids = drawn_grids(network, method, clips, 2)
    computed = [name for name in method.modalities if not is_known(name, grids)]
    return {name: torch.rand(2, *clips.shapes[name]) for name in computed}, grids


def check_again(encoder: Tuned, shape: tuple[int, ...], where: str) -> None:
    """Refuse blocks of which something moves whenever they compute, where checkpoints have them do so twice.

    Raises:
        ConfigError: naming what moves.
    """
    tried = copy.deepcopy(encoder).train()
    with refusing(f"{where}: fails"), left_alone(), torch.no_grad():
        tried(torch.rand(2, *shape))
    before = encoder.state_dict()
    if moved := [name for name, value in tried.state_dict().items() if not torch.equal(value, before[name])]:
        raise ConfigError(f"{where}.checkpoint: {moved[0]} moves with every batch, and would move twice")


def _try_steps(train: Train, network: Network, where: str) -> None:
    """Take two steps without a gradient, as training will: some settings are refused no earlier.

    Raises:
        ConfigError: naming the setting that does not do.
    """
    optimizer, schedule = optimizer_of(train, network, where, steps=100)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    with refusing(f"{where}.args: {train.optimizer}"):
        for _ in range(2):
            optimizer.step()
    if train.schedule is not None:
        with refusing(f"{where}.schedule.args: {train.schedule.use}"):
            for _ in range(2):
                schedule.step()


def dealt_norms(name: str, train: Train, network: Network) -> list[str]:
    """A line where batch normalisations see parts of batches, so that other numbers come out."""
    parts = train.devices * train.accumulate
    if parts == 1:  # and a network of somebody's own is not touched
        return []
    network.train()
    if not any(isinstance(part, _BatchNorm) and part.training for part in network.modules()):
        return []
    size = math.ceil(train.batch_size / parts)
    return [
        f"{name}: batch normalisations are given {size} clips at once, not the {train.batch_size} of a batch"
    ]
