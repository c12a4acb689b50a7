"""Encoders that are to keep what single-sensor networks have learned (UMT).

Source: Du, Teng, Li, Liu, Yuan, Wang, Yuan, Zhao, On Uni-Modal Feature Learning in Supervised Multi-Modal
Learning, ICML 2023, arXiv 2305.01233: Uni-Modal Teacher.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ConfigError
from plait.fusion.contraction import average
from plait.training.objectives.base import MOST, Objective, Scene, Step, share


class Distilled(Objective):
    """`loss + weight x sum_m MSE(encoder_m(x_m), teacher_m(x_m))`: features as the teachers' are.

    A teacher is another method's encoder of the same fold and seed, trained before, frozen, in eval mode:
    `teachers = { depth = "depth" }` beside `use`. It sees the very tensors that the encoder sees, augmented
    or mixed; in a refit it is the teacher's that was trained on the same people. Modalities without a teacher
    are trained as ever.

    Args:
        weight: of the mean squared differences.
        pooled: compares grids averaged over their positions, else position by position.

    Raises:
        ConfigError: there is no teacher, an encoder is not trained, or the grids are of different shapes.
    """

    def __init__(self, weight: float = 1.0, pooled: bool = False) -> None:
        super().__init__()
        self.weight, self.pooled = share(weight, "weight", MOST), pooled
        self.teachers: dict[str, nn.Module] = {}  # no submodules: nothing of theirs is trained

    def prepare(self, scene: Scene) -> None:
        """The teachers.

        Raises:
            ConfigError: there are no teachers, nothing that they could teach, or grids of another shape.
        """
        network = scene.network
        if not scene.teachers:
            raise ConfigError("teaches nothing without teachers, expected teachers = { MODALITY = METHOD }")
        for name in scene.teachers:
            if not any(parameter.requires_grad for parameter in network.encoders[name].parameters()):
                raise ConfigError(
                    f"teachers.{name}: no encoder of {name} is trained, so there is nothing to teach"
                )
            theirs, own = scene.taught[name], network.shapes[name]
            if theirs != own:
                raise ConfigError(
                    f"teachers.{name}: its grid is {theirs}, the method's {own}, expected the same"
                )
        self.teachers = dict(scene.teachers)

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The weighted sum."""
        if not self.weight:
            return loss
        total = loss
        for name, teacher in self.teachers.items():
            with torch.no_grad():
                taught = teacher(step.tensors[name])
            own = step.grids[name]
            if self.pooled:
                own, taught = average(own), average(taught)
            total = total + self.weight * F.mse_loss(own, taught)
        return total
