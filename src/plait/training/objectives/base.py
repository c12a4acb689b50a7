"""What an objective is: a module that a course asks for clips, absences, a loss, and a word on gradients.

Objectives stand in a row. Each has its say at four points of a step, and by default says nothing::

    clips(rows, draws)            which clips' sensors are taken instead        -> tensors -> encoders ->
    grids held(modalities, count, draws)  which clips go on without which grids       -> method -> outputs
    loss(step, loss)              what is made small, from what those before it say; first the cross-entropy
    gradients(step)               what becomes of gradients, before the optimizer follows them
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ConfigError
from plait.fusion.contraction import HALVES
from plait.fusion.grids import read_mean
from plait.training.network import Network
from plait.types import Clip

MOST = 1e6  # a weight
Instead = dict[str, np.ndarray]  # by modality, the clips whose sensor is taken


def number_of(draw: str) -> int:
    """A seed for whatever is drawn under a name."""
    return int.from_bytes(sha256(draw.encode()).digest()[:7])


@dataclass(frozen=True)
class Draws:
    """What may be drawn in a batch: by the seed, the epoch (from 0), the batch and a name alone."""

    seed: int
    epoch: int
    batch: int

    def generator(self, name: str) -> torch.Generator:
        """A generator of its own, on the CPU, for what is drawn under a name."""
        return torch.Generator().manual_seed(number_of(self.named(name)))

    def named(self, name: str) -> str:
        """The whole name of a draw."""
        return f"{self.seed}/{self.epoch}/{self.batch}/{name}"


@dataclass(frozen=True)
class Step:
    """A batch on its way, as a loss sees it.

    Args:
        network: that is trained.
        tensors: `(b, *shape)` by modality, of encoders that compute.
        grids: what encoders have made, and grids or means that are known, before any are withheld.
        outputs: what the method has made, `logits` `(b, classes)` among them.
        target: `(b,)`, the places of the clips' activities.
        draws: what may be drawn.
        smoothing: `train.label_smoothing`.
    """

    network: Network
    tensors: Mapping[str, Tensor]
    grids: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    target: Int[Tensor, " b"]
    draws: Draws
    smoothing: float = 0.0

    def cross_entropy(self, logits: Float[Tensor, "b classes"]) -> Tensor:
        """The mean cross-entropy of logits over the clips, with labels smoothed as the study says."""
        return F.cross_entropy(logits, self.target, label_smoothing=self.smoothing)

    def mean(self, modality: str) -> Float[Tensor, "b n"]:
        """A modality's grid, averaged over its positions; of halves, float32."""
        mean = read_mean(self.grids, modality)
        return mean.float() if mean.dtype in HALVES else mean


class Looks(Protocol):
    """A network after some training, and what it makes of clips."""

    @property
    def objectives(self) -> "Sequence[Objective]":
        """What it was trained by."""

    def look(self, rows: np.ndarray) -> Iterator[Step]:
        """The clips in these rows, unaugmented, in batches, without gradients; draws are none."""


Trial = Callable[
    ["Objective", int], Looks
]  # another training from the start, by one objective, of so many epochs


@dataclass(frozen=True)
class Scene:
    """What an objective is trained in.

    Args:
        network: as it begins; its `shapes` are those of its grids.
        clips: the table that rows refer to.
        train: rows of the clips that train.
        val: rows of the clips that validate; empty where nobody does.
        classes: how many activities there are.
        outputs: what the method names beside and with `logits`.
        refit: the clips that validated train, too, and what was measured on them holds.
        teachers: trained encoders by modality, frozen.
        taught: the shapes of their grids.
    """

    network: Network
    clips: Sequence[Clip]
    train: np.ndarray
    val: np.ndarray
    classes: int
    outputs: frozenset[str]
    refit: bool = False
    teachers: Mapping[str, nn.Module] = field(default_factory=dict)
    taught: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class Objective(nn.Module):
    """Nothing but what the row has said before it; parameters of its own are trained and not kept."""

    def stand_ins(self, modalities: Sequence[str]) -> dict[str, bool]:
        """The modalities that the network is to have stand-ins for, and whether these are trained."""
        return {}

    def prepare(self, scene: Scene) -> None:
        """Make what depends on shapes and people, with torch's global generator as it stands.

        Raises:
            ConfigError: it cannot be trained so; one line.
        """

    def measure(self, scene: Scene, trial: Trial) -> None:
        """Find what must be known before the first epoch; not called in a refit."""

    def follow(self, earlier: Self) -> None:
        """Take over what `earlier`, of the same settings, has measured: called in a refit."""

    @property
    def measured(self) -> dict[str, float]:
        """What `measure` has found, for the job's record."""
        return {}

    def clips(self, rows: np.ndarray, draws: Draws) -> Instead:
        """By modality, rows of the clips whose sensor is taken instead of those of `rows`, place by place."""
        return {}

    def held(self, modalities: Sequence[str], count: int, draws: Draws) -> dict[str, Tensor]:
        """By modality, which of so many clips keep their grid, `(b,)`, bool; those not named keep it all."""
        return {}

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """What is made small; `loss` is what those before it say, for the first the cross-entropy."""
        return loss

    def gradients(self, step: Step) -> None:
        """Change gradients, after they have been computed."""


def share(value: float, name: str, below: float = 1.0) -> float:
    """A number from 0 up to and without `below`.

    Raises:
        ConfigError: it is another.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        raise ConfigError(f"{name} is {value!r}, expected a number of at least 0 and below {below:g}")
    return float(value)


def some_of(names: Sequence[str] | None, modalities: Sequence[str], what: str = "modalities") -> list[str]:
    """The modalities that a setting names, by default all.

    Raises:
        ConfigError: one is none of the method's.
    """
    for name in names or ():
        if name not in modalities:
            raise ConfigError(f"{what}: unknown modality {name!r}, expected some of: {', '.join(modalities)}")
    return [name for name in modalities if names is None or name in names]
