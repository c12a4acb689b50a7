"""RMSprop in one pass over weights and gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_LATE = 2.0**23  # a count of steps after which Adam no longer corrects its moments
_VARIATIONS = ("momentum", "weight_decay", "centered", "maximize", "differentiable")


class RMSprop(torch.optim.RMSprop):
    """`torch.optim.RMSprop` without momentum, decay or centring, by the kernel that torch has for Adam.

    torch goes five times over the memory of every weight; a head of millions of weights waits for that. Adam
    without a first moment (beta_1 = 0, beta_2 = alpha), told of a step so late that its bias corrections are
    one, is the same update in one pass, up to rounding: w - lr g / (sqrt(v) + eps). Weights are of one kind
    and on one device.
    """

    late: Tensor | None = None  # the count of steps that Adam is told, where the weights are

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Follow the gradients of all weights that have one; what `closure` gives, if anything."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            if self.late is None:  # made anew at each step, it would be copied to a card each time
                self.late = torch.tensor(_LATE, device=weights[0].device)
            for weight in weights:
                if "square_avg" not in self.state[weight]:
                    self.state[weight]["square_avg"] = torch.zeros_like(weight)
            torch._fused_adam_(
                weights,
                gradients,
                gradients,  # a first moment without memory is the gradient
                [self.state[weight]["square_avg"] for weight in weights],
                [],
                [self.late] * len(weights),
                lr=group["lr"],
                beta1=0.0,
                beta2=group["alpha"],
                eps=group["eps"],
                weight_decay=0.0,
                amsgrad=False,
                maximize=False,
            )
        return loss


def one_pass(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """`optimizer`, which has not stepped, or its like in one pass if it is a plain `torch.optim.RMSprop`."""
    if type(optimizer) is not torch.optim.RMSprop or len(optimizer.param_groups) != 1:
        return optimizer
    (group,) = optimizer.param_groups
    weights = group["params"]
    plain = group["alpha"] <= 0.9999 and not any(group[name] for name in _VARIATIONS)
    kinds = {(weight.device, weight.dtype) for weight in weights}
    if not plain or len(kinds) != 1 or weights[0].device.type not in ("cpu", "cuda"):
        return optimizer
    return RMSprop(weights, group["lr"], group["alpha"], group["eps"])
