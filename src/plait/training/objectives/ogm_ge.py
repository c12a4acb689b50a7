"""Slower gradients for the sensor that runs ahead of the others (OGM-GE).

Source: Peng, Wei, Deng, Wang, Hu, Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR 2022,
arXiv 2203.15332.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ConfigError, quote
from plait.training.objectives.base import MOST, Objective, Scene, Step, share


class OGM_GE(Objective):
    """Gradients of each sensor's encoder times `k_m = 1 - tanh(alpha rho_m)` where `rho_m > 1`, else 1.

    `s_m` is the sum over a batch's clips of the probability that sensor m alone gives the right activity, and
    `rho_m = s_m / mean of s over the other sensors`: with two sensors the paper's ratio. Probabilities are
    those of the method's outputs `logits.NAME`, one for each modality, where it has them (`Concat` has: its
    linear layer's part for the sensor, with an equal share of the bias). Of other methods, which make no sum
    of sensors, they are those of a linear probe on the mean of each encoder's grid, trained beside the
    network: no gradient of it reaches the encoders, and its loss is not counted.

    With `enhance`, each parameter of the encoders gets Gaussian noise besides, whose SD is that of the
    gradient over the parameter's elements, after modulation, as the authors' code has it.

    Args:
        alpha: how strongly the leading sensor is slowed.
        enhance: generalisation enhancement, the GE of the name.
        until: epochs after which gradients are left as they are; by default none.

    Raises:
        ConfigError: a setting is out of range, there are fewer than two sensors, or no encoder is trained.
    """

    def __init__(self, alpha: float = 0.5, enhance: bool = True, until: int | None = None) -> None:
        super().__init__()
        if until is not None and (isinstance(until, bool) or not isinstance(until, int) or until < 1):
            raise ConfigError(f"until is {quote(until)}, expected a whole number of at least 1")
        self.alpha, self.enhance, self.until = share(alpha, "alpha", MOST), enhance, until
        self.probes = nn.ModuleDict()
        self.logits: dict[str, Tensor] = {}

    def prepare(self, scene: Scene) -> None:
        """Probes, where the method does not say what each sensor tells.

        Raises:
            ConfigError: the method has one modality, or trains no encoder.
        """
        network = scene.network
        if len(network.encoders) < 2:
            raise ConfigError("compares sensors, expected a method of at least two modalities")
        if not any(p.requires_grad for p in network.encoders.parameters()):
            raise ConfigError("the method trains no encoder, so there are no gradients to modulate")
        if not {named(name) for name in network.encoders} <= scene.outputs:
            shapes = network.shapes.items()
            self.probes = nn.ModuleDict({name: nn.Linear(s[-1], scene.classes) for name, s in shapes})

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """What it was; probes are trained along."""
        if not self.probes:
            self.logits = {
                n: step.outputs[named(n)] for n in step.network.encoders if named(n) in step.outputs
            }
            return loss
        self.logits = {name: probe(step.mean(name).detach()) for name, probe in self.probes.items()}
        probing = torch.stack([F.cross_entropy(logits, step.target) for logits in self.logits.values()]).sum()
        return loss + (probing - probing.detach())

    @torch.no_grad()
    def gradients(self, step: Step) -> None:
        """Modulate them."""
        over = self.until is not None and step.draws.epoch >= self.until
        if over or len(self.logits) < len(step.network.encoders):  # some clips lack a sensor
            return
        for name, factor in coefficients(self.logits, step.target, self.alpha).items():
            generator = step.draws.generator(f"noise/{name}")
            for parameter in step.network.encoders[name].parameters():
                if parameter.grad is None:
                    continue
                parameter.grad *= factor
                if self.enhance and parameter.numel() > 1:
                    noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                    parameter.grad += noise.to(parameter.device) * parameter.grad.std()


def named(modality: str) -> str:
    """What a method calls the logits that one sensor gives."""
    return f"logits.{modality}"


def coefficients(logits: Mapping[str, Tensor], target: Tensor, alpha: float) -> dict[str, float]:
    """By modality, what gradients of its encoder are multiplied by.

    Args:
        logits: `(b, classes)` of each sensor alone.
        target: `(b,)`.
        alpha: as in `OGM_GE`.
    """
    rights = {name: each.detach().softmax(1).gather(1, target[:, None]) for name, each in logits.items()}
    sums = {name: float(right.sum()) for name, right in rights.items()}
    found = {}
    for name, own in sums.items():
        others = (sum(sums.values()) - own) / (len(sums) - 1)
        ratio = own / max(others, 1e-12)
        found[name] = 1 - math.tanh(alpha * ratio) if ratio > 1 else 1.0
    return found
