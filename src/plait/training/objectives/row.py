"""Objectives in a row: made of settings, prepared for a network, tried, and asked for a loss."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from plait.clips import Clips
from plait.compute.seeds import left_alone, seed_all
from plait.config import Encoder, Method, Train
from plait.errors import ConfigError, PlaitError, own_code
from plait.fusion.grids import is_known
from plait.objects import made, resolve
from plait.training.grid_cache import drawn_grids
from plait.training.network import Network, encoder_of, give, grid_shape, maker, names_outputs
from plait.training.objectives.base import Draws, Objective, Scene, Step, number_of
from plait.types import Dataset


class Teacher(NamedTuple):
    """Another method's encoder: how it is made, and the file of its weights, if there is one yet."""

    encoder: Encoder
    weights: Path | None = None


def objectives_of(train: Train, where: str) -> tuple[Objective, ...]:
    """The objectives of `train`, which know of no network yet.

    Raises:
        ConfigError: naming the setting that does not do.
    """
    row: list[Objective] = []
    for setting in train.objective:
        here = f"{where}.objective"
        objective = made(resolve(setting.use, f"{here}.use"), (), setting.args, f"{here}.args: {setting.use}")
        if not isinstance(objective, Objective):
            kind = type(objective).__name__
            raise ConfigError(
                f"{here}.use: {setting.use} made a {kind}, expected an Objective of plait.training"
            )
        if any(type(objective) is type(other) for other in row):
            raise ConfigError(f"{here}: {setting.use} stands there twice, expected each once")
        row.append(objective)
    return tuple(row)


def stand_ins_for(row: Sequence[Objective], modalities: Sequence[str], where: str) -> dict[str, bool]:
    """The stand-ins that the network is to have, and which of them are trained.

    Raises:
        ConfigError: naming the objective that asks for one of another modality.
    """
    found: dict[str, bool] = {}
    for objective in row:
        with _as_said(objective, where):
            found |= objective.stand_ins(modalities)
    return found


def teachers_of(
    teachers: Mapping[str, Teacher], dataset: Dataset, shapes: Mapping[str, tuple[int, ...]], where: str
) -> tuple[dict[str, nn.Module], dict[str, tuple[int, ...]]]:
    """Teachers' encoders by modality, frozen, on the CPU, and the shapes of their grids.

    Raises:
        ConfigError: one cannot be made.
        DataError: its weights are missing or damaged.
    """
    encoders: dict[str, nn.Module] = {}
    for name, (encoder, weights) in teachers.items():
        here = f"{where}.objective.teachers.{name}"
        make = maker(encoder, dataset, name, where)
        encoders[name] = encoder_of(encoder, make, shapes[name], here)
        if weights is not None:
            give(encoders[name], name, weights)
        encoders[name].eval().requires_grad_(False)
    return encoders, {name: grid_shape(encoder, shapes[name]) for name, encoder in encoders.items()}


def scene_of(
    network: Network,
    dataset: Dataset,
    clips: Clips,
    rows: tuple[np.ndarray, np.ndarray],
    teachers: Mapping[str, Teacher],
    where: str,
    refit: bool = False,
) -> Scene:
    """What objectives are trained in.

    Args:
        network: as it begins.
        dataset: whose activities and encoders.
        clips: what the method is given.
        rows: of the clips that train, and of those that validate.
        teachers: by modality.
        where: what errors call the training.
        refit: as in `Scene`.

    Raises:
        ConfigError: a teacher or the method's outputs do not do.
        DataError: a teacher's weights are missing or damaged.
    """
    encoders, taught = teachers_of(teachers, dataset, clips.shapes, where)
    device = next(iter(network.parameters())).device
    encoders = {name: encoder.to(device) for name, encoder in encoders.items()}
    outputs, classes = named_outputs(network), len(dataset.activities)
    return Scene(network, clips.table, *rows, classes, outputs, refit, encoders, taught)


def prepare(row: Sequence[Objective], scene: Scene, seed: int, where: str) -> None:
    """Prepare all; what they draw is theirs, and leaves torch's global generator as it was.

    Raises:
        ConfigError: naming the objective that cannot be trained so.
    """
    for objective in row:
        with left_alone(), _as_said(objective, where):
            seed_all(number_of(f"{seed}/{type(objective).__name__}"))
            objective.prepare(scene)


@contextmanager
def _as_said(objective: Objective, where: str) -> Iterator[None]:
    """Whatever an objective raises is one line that names it."""
    called = f"{where}.objective: {type(objective).__name__}"
    with own_code(called, passing=()):
        try:
            yield
        except PlaitError as error:
            raise ConfigError(f"{called}: {error}") from error


def named_outputs(network: Network) -> frozenset[str]:
    """What a network's method names when it is asked for all outputs: a dry run on zeros.

    Raises:
        ConfigError: it fails, or names no `logits`.
    """
    method = network.method
    if not names_outputs(method):
        return frozenset(["logits"])
    training, like = network.training, next(network.parameters())
    called = f"{type(method).__name__}.outputs"
    with own_code(called, passing=()), torch.no_grad():
        grids = {name: like.new_zeros(2, *shape) for name, shape in network.shapes.items()}
        outputs = network.eval().outputs(grids, more=True)
        network.train(training)
        rows = {name: tuple(tensor.shape)[:1] for name, tensor in outputs.items()}
    if "logits" not in rows or set(rows.values()) != {(2,)}:
        got = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in outputs.items()) or "nothing"
        raise ConfigError(
            f"{called} of 2 clips: got {got}, expected 'logits', and a row for each clip in all"
        )
    return frozenset(rows)


def step_of(
    row: Sequence[Objective],
    network: Network,
    batch: tuple[Mapping[str, Tensor], Mapping[str, Tensor], Tensor],
    draws: Draws,
    smoothing: float,
) -> tuple[Step, Tensor]:
    """A batch on its way through network and objectives, and what is made small on it.

    Args:
        row: the objectives.
        network: in training mode.
        batch: tensors, known grids, and the places of activities.
        draws: what may be drawn.
        smoothing: of labels.
    """
    tensors, known, target = batch
    grids = network.enter(tensors, known)
    held: dict[str, Tensor] = {}
    for objective in row:
        of = objective.held(list(network.encoders), len(target), draws)
        held |= {name: keeps.to(target.device) for name, keeps in of.items()}
    outputs = network.outputs(grids, held, more=bool(row))
    step = Step(network, tensors, grids, outputs, target, draws, smoothing)
    loss = step.cross_entropy(outputs["logits"])
    for objective in row:
        loss = objective.loss(step, loss)
    return step, loss


def try_step(
    row: Sequence[Objective],
    train: Train,
    network: Network,
    method: Method,
    clips: Clips,
    classes: int,
    where: str,
) -> None:
    """Take a step by objectives that are prepared, on drawn numbers; some fail no earlier.

    Raises:
        ConfigError: naming the objectives.
    """
    called = ", ".join(type(objective).__name__ for objective in row)
    with own_code(f"{where}.objective: {called}", passing=()), left_alone():
        known = drawn_grids(network, method, clips, 4)
        computed = [name for name in network.encoders if not is_known(name, known)]
        tensors = {name: torch.rand(4, *clips.shapes[name]) for name in computed}
        batch = tensors, known, torch.arange(4) % classes
        step, loss = step_of(
            row, copy.deepcopy(network).train(), batch, Draws(0, 0, 0), train.label_smoothing
        )
        loss.backward()  # type: ignore[no-untyped-call]
        for objective in row:
            objective.gradients(step)
