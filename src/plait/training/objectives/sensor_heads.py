"""Each sensor's own head beside the fusion's, with weights that are given or measured (G-Blend).

Source: Wang, Tran, Feiszli, What Makes Training Multi-modal Classification Networks Hard?, CVPR 2020,
arXiv 1905.12681: the weighted sum of losses, and weights by the overfitting-to-generalisation ratio.
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ConfigError, quote
from plait.training.objectives.base import MOST, Looks, Objective, Scene, Step, Trial, share

FUSION = "logits"  # the name of the method's own loss among weights
LEAST = 1e-2  # overfitting, in nats, below which it counts as this much: what is smaller is noise


class SensorHeads(Objective):
    """`fusion x loss + sum_m w_m CE(head_m(mean of the grid of m))`: each sensor tells activities by itself.

    A head is linear, over the grid as the encoder makes it, whatever the fusion is denied of it. Heads are
    trained beside the network and not kept: the fusion alone is tested.

    With `weights = "g-blend"` the weights, the fusion's included, sum to one and are measured before the
    first epoch, in this job, from the network as it begins: it is trained for `epochs` epochs twice, once by
    the sum of the heads' losses (of which each reaches one encoder and one head, so that this is every
    sensor's training alone), once by the fusion's loss alone, on the training people, with the study's
    optimizer. Of each loss L, without smoothing and augmentation, with V of the people who validate and T of
    those who train, `blended` makes a weight of G = V_0 - V_n and O = (V_n - T_n) - (V_0 - T_0). Then all
    begins anew with these weights, which stay (offline G-Blend). A refit takes the weights that were measured
    before it.

    Args:
        weights: of all sensors' losses, or by modality (0 where none is given), or `"g-blend"`.
        fusion: the weight of what is made small otherwise; not with `"g-blend"`.
        epochs: that weights are measured over.

    Raises:
        ConfigError: a weight is none, or nobody validates whom G-Blend could measure on.
    """

    def __init__(
        self, weights: float | Mapping[str, float] | str = 1.0, fusion: float = 1.0, epochs: int = 10
    ) -> None:
        super().__init__()
        self.blends = weights == "g-blend"
        if isinstance(weights, str) and not self.blends:
            raise ConfigError(
                f"weights is {quote(weights)}, expected a number, numbers by modality, or 'g-blend'"
            )
        if self.blends and fusion != 1:
            raise ConfigError("fusion is a weight, and 'g-blend' measures it: expected none")
        if isinstance(epochs, bool) or not isinstance(epochs, int) or not 1 <= epochs <= 10**6:
            raise ConfigError(f"epochs is {quote(epochs)}, expected a whole number of at least 1")
        self.given: Any = weights
        self.fusion, self.epochs = share(fusion, "fusion", MOST), epochs
        self.weights: dict[str, float] = {}
        self.heads = nn.ModuleDict()

    def prepare(self, scene: Scene) -> None:
        """A head for each modality; the weights that are given.

        Raises:
            ConfigError: a weight is of no modality, or is measured on people who validate, and nobody does.
        """
        shapes = scene.network.shapes
        if self.blends and not scene.refit and not len(scene.val):
            nobody = "weights is 'g-blend', which is measured on people who validate, and nobody does"
            raise ConfigError(f"{nobody}: expected val_subjects, or weights as numbers")
        if isinstance(self.given, Mapping):
            for name in self.given:
                if name not in shapes:
                    expected = ", ".join(shapes)
                    raise ConfigError(f"weights: unknown modality {name!r}, expected some of: {expected}")
            own = {name: self.given.get(name, 0.0) for name in shapes}
        else:
            own = dict.fromkeys(shapes, 0.0 if self.blends else self.given)
        self.weights = {name: share(weight, f"weights of {name}", MOST) for name, weight in own.items()}
        self.heads = nn.ModuleDict({name: nn.Linear(s[-1], scene.classes) for name, s in shapes.items()})

    def measure(self, scene: Scene, trial: Trial) -> None:
        """The weights, where they are G-Blend's."""
        if not self.blends:
            return
        alone = SensorHeads(1.0, fusion=0.0)
        alone.prepare(scene)
        found: dict[str, tuple[float, float]] = {}
        for objective, names in ((alone, list(self.heads)), (Objective(), [FUSION])):
            start, end = trial(objective, 0), trial(objective, self.epochs)
            for name in names:
                train, val = (
                    _loss(start, name, rows) - _loss(end, name, rows) for rows in (scene.train, scene.val)
                )
                found[name] = val, train - val
        self._take(blended(found))

    def follow(self, earlier: Self) -> None:
        """The weights that were measured."""
        if self.blends:
            self._take(earlier.measured)

    @property
    def measured(self) -> dict[str, float]:
        """The weights of G-Blend, that of the method's own loss as `logits`."""
        return {FUSION: self.fusion, **self.weights} if self.blends else {}

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The weighted sum."""
        total = loss if self.fusion == 1 else self.fusion * loss
        for name, weight in self.weights.items():
            if weight:
                total = total + weight * step.cross_entropy(self.heads[name](step.mean(name)))
        return total

    def _take(self, weights: Mapping[str, float]) -> None:
        self.fusion = weights[FUSION]
        self.weights = {name: weights[name] for name in self.heads}


def blended(found: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Weights in proportion to `G / O^2`, that sum to one.

    What has not generalised (G <= 0) weighs nothing; an overfitting O below `LEAST`, negative ones included,
    counts as `LEAST`, as far as a few validation people can tell. If nothing generalises, all weigh the same.

    Args:
        found: by name, how far validation loss fell (G), and how much less than the training loss (O).
    """
    raw = {name: max(gain, 0.0) / max(over, LEAST) ** 2 for name, (gain, over) in found.items()}
    total = sum(raw.values())
    return {name: value / total if total > 0 else 1 / len(raw) for name, value in raw.items()}


def _loss(looks: Looks, name: str, rows: np.ndarray) -> float:
    """The mean cross-entropy of a head, or of the method's logits, over clips."""
    [objective] = looks.objectives
    total = 0.0
    for step in looks.look(rows):
        with torch.inference_mode():
            logits = step.outputs[FUSION]
            if name != FUSION:
                assert isinstance(objective, SensorHeads)
                logits = objective.heads[name](step.mean(name))
            total += float(F.cross_entropy(logits, step.target, reduction="sum"))
    return total / len(rows)
