"""One training: a plain loop over epochs and batches, with validation, early stopping and an optional refit."""

import inspect
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.clips import Clips
from plait.errors import ConfigError, one_line
from plait.sources import resolve
from plait.study.config import Method, Protocol, Train
from plait.study.donors import TRAIN_WEIGHTS, WEIGHTS, frozen_grids, inherit
from plait.study.network import Network, build
from plait.types import Dataset, Fold

HISTORY: dict[str, type[pl.DataType]] = {
    "phase": pl.String,
    "epoch": pl.Int64,
    "loss": pl.Float64,
    "val_accuracy": pl.Float64,
    "val_loss": pl.Float64,
}

Augment = Callable[[Tensor], Tensor]
Batch = dict[str, Tensor]


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


def fit(
    method: Method,
    train: Train,
    protocol: Protocol,
    dataset: Dataset,
    clips: Clips,
    fold: Fold,
    seed: int,
    device: str,
    donors: Mapping[str, Path] = MappingProxyType({}),
) -> Trained:
    """Train `method` on a fold's training subjects, as its validation subjects decide, and score its test subjects.

    With `protocol.refit` a second network starts from the same seed and is trained on training and validation
    subjects for as many epochs as the first one's choice; the test scores are then the second's, the validation
    scores still the first's. `donors` are the folders of finished jobs, by the modality whose encoder is taken from
    there; each phase takes the donor's network of the same phase.
    """
    start = time.perf_counter()
    rows = {part: clips.of(getattr(fold, part)) for part in ("train", "val", "test")}

    def trained(phase: str, rows: np.ndarray, val: np.ndarray | None, epochs: int | None) -> _Run:
        torch.manual_seed(seed)
        network = build(method, dataset, clips.shapes, "methods").to(device)
        name = TRAIN_WEIGHTS if protocol.refit and phase == "train" else WEIGHTS
        given = {modality: folder / name for modality, folder in donors.items()}
        inherit(network, given)
        inputs = Inputs(clips, frozen_grids(network, given, clips, device), method.modalities, device)
        return _trained(network, method, train, dataset, inputs, phase, rows, val, seed, epochs)

    one = trained("train", rows["train"], rows["val"] if len(rows["val"]) else None, None)
    final, chosen, history = one, None, one.history
    val = scores(one.network, one.inputs, rows["val"], len(dataset.activities))
    if protocol.refit:
        both = np.sort(np.concatenate([rows["train"], rows["val"]]))
        final, chosen = trained("refit", both, None, one.epochs), one.network
        history = one.history + final.history
    test = scores(final.network, final.inputs, rows["test"], len(dataset.activities))
    epochs = pl.DataFrame(history, HISTORY, orient="row")
    return Trained(final.network, chosen, test, val, epochs, time.perf_counter() - start)


@dataclass(frozen=True)
class Inputs:
    """What a network is given of each clip: tensors for the encoders that compute, grids for the frozen ones."""

    clips: Clips
    grids: Clips
    modalities: tuple[str, ...]
    device: str

    def batch(self, rows: np.ndarray, augments: Mapping[str, Augment] = MappingProxyType({})) -> tuple[Batch, Batch]:
        """Tensors and grids of the clips in `rows`, by modality; `augments` are applied to tensors."""
        tensors = self.clips.batch([name for name in self.modalities if name not in self.grids.arrays], rows)
        augmented = {name: augments[name](x) if name in augments else x for name, x in tensors.items()}
        grids = self.grids.batch(list(self.grids.arrays), rows)
        return (
            {name: x.to(self.device) for name, x in augmented.items()},
            {name: x.to(self.device) for name, x in grids.items()},
        )


def scores(network: Network, inputs: Inputs, rows: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities `(len(rows), classes)`, float32, in the order of the data set's activities."""
    if len(rows) == 0:
        return np.empty((0, classes), dtype=np.float32)
    network.eval()
    with torch.inference_mode():
        logits = [network(*inputs.batch(part)) for part in np.array_split(rows, math.ceil(len(rows) / 64))]
        return torch.cat(logits).float().softmax(dim=1).cpu().numpy()


def check(method: Method, train: Train, network: Network, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse an optimizer, schedule or augmentation that cannot work, before anything is trained.

    Raises:
        ConfigError: naming the setting.
    """
    _optimizer(train, network, where, steps=100)
    for name, augment in _augments(method, where).items():
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


@dataclass(frozen=True)
class _Run:
    network: Network
    inputs: Inputs
    epochs: int
    history: list[tuple[str, int, float, float | None, float | None]]


def _trained(
    network: Network,
    method: Method,
    train: Train,
    dataset: Dataset,
    inputs: Inputs,
    phase: str,
    rows: np.ndarray,
    val: np.ndarray | None,
    seed: int,
    epochs: int | None,
) -> _Run:
    """Train for `epochs`, or as long as validation says; the network keeps the chosen epoch's weights."""
    shuffle = torch.Generator().manual_seed(seed)
    steps = math.ceil(len(rows) / train.batch_size)
    optimizer, schedule = _optimizer(train, network, "train", steps * train.max_epochs)
    augments = _augments(method, "methods")
    labels = torch.tensor([dataset.activities.index(clip.activity) for clip in inputs.clips.table])
    history: list[tuple[str, int, float, float | None, float | None]] = []
    best, best_accuracy, best_weights = 0, -1.0, network.state_dict()
    for epoch in range(1, (epochs or train.max_epochs) + 1):
        network.train()
        total = 0.0
        order = rows[torch.randperm(len(rows), generator=shuffle).numpy()]
        for at in np.split(order, range(train.batch_size, len(order), train.batch_size)):
            clip, grids = inputs.batch(at, augments)
            target = labels[at].to(inputs.device)
            loss = F.cross_entropy(network(clip, grids), target, label_smoothing=train.label_smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if schedule is not None:
                schedule.step()
            total += float(loss.detach()) * len(at)
        if val is None:
            history.append((phase, epoch, total / len(rows), None, None))
            continue
        probabilities = scores(network, inputs, val, len(dataset.activities))
        truth = labels[val].numpy()
        accuracy = float((probabilities.argmax(axis=1) == truth).mean())
        val_loss = float(-np.log(probabilities[np.arange(len(truth)), truth].clip(1e-12)).mean())
        history.append((phase, epoch, total / len(rows), accuracy, val_loss))
        if train.choose == "best" and accuracy > best_accuracy:
            best, best_accuracy = epoch, accuracy
            best_weights = {name: weight.clone() for name, weight in network.state_dict().items()}
        if train.choose == "best" and epoch - best >= train.patience:
            break
    if val is not None and train.choose == "best":
        network.load_state_dict(best_weights)
        return _Run(network, inputs, best, history)
    return _Run(network, inputs, len(history), history)


def _optimizer(train: Train, network: Network, where: str, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    """The optimizer over a network's parameters and its schedule over `steps` batches, or None."""
    use = resolve(train.optimizer, f"{where}.optimizer")
    try:
        optimizer = use([p for p in network.parameters() if p.requires_grad], **train.args)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}.args: {train.optimizer}: {error}") from error
    if train.schedule is None:
        return optimizer, None
    make = resolve(train.schedule.use, f"{where}.schedule.use")
    try:
        taken = inspect.signature(make).parameters
        length = {name: steps for name in ("total_steps", "T_max") if name in taken}
        return optimizer, make(optimizer, **{**length, **train.schedule.args})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}.schedule.args: {train.schedule.use}: {error}") from error


def _augments(method: Method, where: str) -> Mapping[str, Augment]:
    """The functions of `method.augment`, from a batch to a batch, drawing from torch's global generator."""
    made = {name: resolve(path, f"{where}.augment.{name}") for name, path in method.augment.items()}
    for name, augment in made.items():
        if not callable(augment):
            path = method.augment[name]
            raise ConfigError(f"{where}.augment.{name}: {path!r} is no function, expected batch -> batch")
    return made
