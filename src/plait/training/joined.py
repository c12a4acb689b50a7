"""All weights as one vector: an optimizer that goes from weight to weight then has one to go to."""

import copy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from plait.encoders.chain import memory_of

# Whose step of a number depends on that number's own past alone, whatever tensor it stands in.
NUMBER_BY_NUMBER = frozenset(
    getattr(torch.optim, name)
    for name in ("Adadelta", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")
)
APART = 16  # numbers: weights begin where cache lines do, as by themselves, for products may depend on it
_VARIATIONS = ("fused", "differentiable", "capturable")


class Joined:
    """The weights of one of an optimizer's groups, from its first step to `part` as parts of one vector.

    torch's optimizers take a dozen small operations for each weight, and in the training of a small network a
    CPU waits for that. Of the vector they take the same dozen once, and the numbers are the same. A weight
    keeps its shape and its place in the network, but lies in the vector's memory. Once a weight goes without
    a gradient, each is followed by itself, as an optimizer leaves such a weight as it is; so is each once
    somebody has given one other memory (`weight.data = ...`), which the vector knows nothing of.

    Args:
        optimizer: which has not stepped.
        group: of its groups.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
        self.optimizer, self.group = optimizer, group
        self.weights: list[nn.Parameter] = list(group["params"])
        self.vector: nn.Parameter | None = None
        self.gradients: list[Tensor] = []  # places in the vector's
        self.memory: list[tuple[int, tuple[int, ...]]] = []  # where weights lie in the vector, and how
        self.apart = not joinable(optimizer, group)
        optimizer.register_step_pre_hook(lambda *_: self.gather())

    def gather(self) -> None:
        """Bring the weights' gradients together, as long as all have one and lie in the vector."""
        if self.apart:
            return
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        if len(gradients) < len(self.weights) or any(one.is_sparse for one in gradients):
            self.part()
            return
        if self.vector is None:
            self.vector = self._join()
        elif self._lying() != self.memory:
            self.part()
            return
        torch._foreach_copy_(self.gradients, gradients)

    def _join(self) -> nn.Parameter:
        vector = nn.Parameter(self.weights[0].new_zeros(sum(self._sizes())))
        vector.grad = torch.zeros_like(vector)
        for weight, place in zip(self.weights, self._places(vector.detach()), strict=True):
            weight.data = place.copy_(weight.detach())
        self.memory = self._lying()
        self.gradients = self._places(vector.grad)
        self.group["params"] = [vector]
        return vector

    def part(self) -> None:
        """Give each weight memory of its own again, and what the optimizer remembers of it."""
        self.apart = True
        if self.vector is None:
            return
        state = self.optimizer.state.pop(self.vector, {})
        shared = {name: value for name, value in state.items() if not self._is_vector(value)}
        memories = {name: self._places(value) for name, value in state.items() if name not in shared}
        for number, weight in enumerate(self.weights):
            weight.data = weight.data.clone()
            own = {name: places[number].clone() for name, places in memories.items()}
            own |= {name: copy.deepcopy(value) for name, value in shared.items()}
            if own:
                self.optimizer.state[weight] = own
        self.group["params"], self.vector, self.gradients = self.weights, None, []

    def _lying(self) -> list[tuple[int, tuple[int, ...]]]:
        """Where weights lie, and how."""
        return [(weight.data_ptr(), weight.stride()) for weight in self.weights]

    def _is_vector(self, value: object) -> bool:
        return torch.is_tensor(value) and self.vector is not None and value.shape == self.vector.shape

    def _places(self, vector: Tensor) -> list[Tensor]:
        """Where each weight lies in a vector."""
        parts = zip(self.weights, torch.split(vector, self._sizes()), strict=True)
        return [part[: weight.numel()].view(weight.shape) for weight, part in parts]

    def _sizes(self) -> list[int]:
        """What each weight takes of a vector."""
        return [-(-weight.numel() // APART) * APART for weight in self.weights]


def joinable(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> bool:
    """Whether an optimizer comes to the same numbers, and sooner, where a group's weights are one vector.

    Weights that share memory with others, of whichever group, are to go on doing so.
    """
    weights: list[nn.Parameter] = group["params"]
    everywhere = [weight for each in optimizer.param_groups for weight in each["params"]]
    memory = sorted(memory_of(weight) for weight in everywhere)
    apart = all(one[1] <= other[0] for one, other in pairwise(memory))
    kinds = {(weight.device.type, weight.dtype, weight.is_contiguous()) for weight in weights}
    one_kind = len(kinds) == 1 and kinds <= {("cpu", torch.float32, True), ("cpu", torch.float64, True)}
    plain = type(optimizer) in NUMBER_BY_NUMBER and not any(group.get(name) for name in _VARIATIONS)
    return plain and one_kind and apart and len(weights) > 1
