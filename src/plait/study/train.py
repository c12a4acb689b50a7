"""One training: a plain loop over epochs and batches, with validation, early stopping and an optional refit."""

import inspect
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.clips import Clips
from plait.errors import ConfigError
from plait.study.config import Method, Protocol, Train, resolve
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


@dataclass(frozen=True)
class Trained:
    """What one job leaves: a network, probabilities `(clips, classes)` on its test and validation clips, the epochs."""

    network: Network
    test: np.ndarray
    val: np.ndarray
    history: pl.DataFrame
    seconds: float


def fit(
    method: Method, train: Train, protocol: Protocol, dataset: Dataset, clips: Clips, fold: Fold, seed: int, device: str
) -> Trained:
    """Train `method` on a fold's training subjects, as its validation subjects decide, and score its test subjects.

    With `protocol.refit` a second network starts from the same seed and is trained on training and validation
    subjects for as many epochs as the first one's choice; the test scores are then the second's, the validation
    scores still the first's.
    """
    start = time.perf_counter()
    rows = {part: clips.of(getattr(fold, part)) for part in ("train", "val", "test")}
    chosen = _trained(method, train, dataset, clips, rows["train"], rows["val"], seed, device)
    network, history = chosen.network, chosen.history
    val = scores(network, clips, method.modalities, rows["val"], device)
    if protocol.refit:
        both = np.sort(np.concatenate([rows["train"], rows["val"]]))
        again = _trained(method, train, dataset, clips, both, None, seed, device, epochs=chosen.epochs)
        network, history = again.network, history + again.history
    test = scores(network, clips, method.modalities, rows["test"], device)
    return Trained(network, test, val, pl.DataFrame(history, HISTORY, orient="row"), time.perf_counter() - start)


def scores(network: Network, clips: Clips, modalities: tuple[str, ...], rows: np.ndarray, device: str) -> np.ndarray:
    """Probabilities `(len(rows), classes)`, float32, in the order of the data set's activities."""
    network.eval()
    with torch.inference_mode():
        batches = [clips.batch(modalities, part) for part in np.array_split(rows, math.ceil(len(rows) / 64))]
        logits = [network({name: x.to(device) for name, x in batch.items()}) for batch in batches]
        return torch.cat(logits).float().softmax(dim=1).cpu().numpy()


def check(method: Method, train: Train, network: Network, where: str) -> None:
    """Refuse an optimizer, schedule or augmentation that cannot be made, before anything is trained.

    Raises:
        ConfigError: naming the setting.
    """
    _optimizer(train, network, where, steps=100)
    _augments(method, where)


@dataclass(frozen=True)
class _Run:
    network: Network
    epochs: int
    history: list[tuple[str, int, float, float | None, float | None]]


def _trained(
    method: Method,
    train: Train,
    dataset: Dataset,
    clips: Clips,
    rows: np.ndarray,
    val: np.ndarray | None,
    seed: int,
    device: str,
    epochs: int | None = None,
) -> _Run:
    """Train for `epochs`, or as long as validation says; the network keeps the chosen epoch's weights."""
    torch.manual_seed(seed)
    network = build(method, dataset, clips.shapes, "methods").to(device)
    shuffle = torch.Generator().manual_seed(seed)
    steps = math.ceil(len(rows) / train.batch_size)
    optimizer, schedule = _optimizer(train, network, "train", steps * train.max_epochs)
    augments = _augments(method, "methods")
    labels = torch.tensor([dataset.activities.index(clip.activity) for clip in clips.table])
    phase = "refit" if val is None else "train"
    history: list[tuple[str, int, float, float | None, float | None]] = []
    best, best_accuracy, best_weights = 0, -1.0, network.state_dict()
    for epoch in range(1, (epochs or train.max_epochs) + 1):
        network.train()
        total = 0.0
        order = rows[torch.randperm(len(rows), generator=shuffle).numpy()]
        for at in np.split(order, range(train.batch_size, len(order), train.batch_size)):
            clip = {name: augments[name](x).to(device) for name, x in clips.batch(method.modalities, at).items()}
            target = labels[at].to(device)
            loss = F.cross_entropy(network(clip), target, label_smoothing=train.label_smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if schedule is not None:
                schedule.step()
            total += float(loss.detach()) * len(at)
        if val is None:
            history.append((phase, epoch, total / len(rows), None, None))
            continue
        probabilities = scores(network, clips, method.modalities, val, device)
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
        return _Run(network, best, history)
    return _Run(network, len(history), history)


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
    """One function per modality from a batch to a batch, drawing from torch's global generator."""
    paths = {name: method.augment.get(name) for name in method.modalities}
    made = {n: resolve(path, f"{where}.augment.{n}") if path else _unchanged for n, path in paths.items()}
    for name, augment in made.items():
        if not callable(augment):
            raise ConfigError(f"{where}.augment.{name}: {paths[name]!r} is no function, expected batch -> batch")
    return made


def _unchanged(batch: Tensor) -> Tensor:
    return batch
