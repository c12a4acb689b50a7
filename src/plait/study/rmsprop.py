"""RMSprop in one pass over weights and gradients."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import Parameter

_LATE = 2.0**23  # steps after which Adam no longer corrects its moments; float32 still counts on from there


class RMSprop(torch.optim.Adam):
    """`torch.optim.RMSprop` without momentum, decay or centring, by the kernel that torch has for Adam.

    torch goes five times over the memory of every weight; a head of millions of weights waits for that. Adam without a
    first moment (beta_1 = 0, beta_2 = alpha) whose bias corrections are one, for its count of steps starts late, is the
    same update, w - lr g / (sqrt(v) + eps), in one pass. Agrees with torch's up to rounding.
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float, alpha: float, eps: float) -> None:
        super().__init__(parameters, lr=lr, betas=(0.0, alpha), eps=eps, fused=True)
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {
                    "step": torch.tensor(_LATE, device=parameter.device),
                    "exp_avg": parameter,  # until there is a gradient: `_aliased`
                    "exp_avg_sq": torch.zeros_like(parameter),
                }

        self.register_step_pre_hook(_aliased)


def _aliased(optimizer: torch.optim.Optimizer, *called: Any) -> None:
    """With a beta_1 of 0, what is written to the first moment is the gradient, so that is where it may lie."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["exp_avg"] = parameter.grad


def one_pass(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """`optimizer`, or its like in one pass where there is one: a plain `torch.optim.RMSprop` that has not stepped."""
    if type(optimizer) is not torch.optim.RMSprop or len(optimizer.param_groups) != 1:
        return optimizer
    (group,) = optimizer.param_groups
    changed = [name for name in ("momentum", "weight_decay", "centered", "maximize", "differentiable") if group[name]]
    devices = {parameter.device.type for parameter in group["params"]}
    if changed or group["alpha"] > 0.9999 or not devices <= {"cpu", "cuda"}:
        return optimizer
    return RMSprop(group["params"], group["lr"], group["alpha"], group["eps"])
