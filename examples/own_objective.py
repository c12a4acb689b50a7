"""An objective of your own, with a method that names what it reads: gates that shall not forget a sensor."""

import torch
from torch import Tensor

from own_method import Gated
from plait.fusion import read_mean
from plait.training.objectives import Objective, Step


class OpenGated(Gated):
    """`Gated`, which says how it weighs its sensors."""

    def outputs(self, grids: dict[str, Tensor]) -> dict[str, Tensor]:
        """`logits`, and `gates` `(b, modalities)`: a row for each clip in all that is named."""
        means = torch.cat([read_mean(grids, name) for name in self.scores], dim=1)
        return {"logits": self(grids), "gates": self.gate(means).softmax(dim=1)}


class Balanced(Objective):
    """What is made small besides: how far the gates' mean over a batch is from equal, in nats."""

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__()
        self.weight = weight

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The loss that was there, and the divergence."""
        mean = step.outputs["gates"].mean(dim=0)
        return loss + self.weight * (mean * (mean * len(mean)).log()).sum()
