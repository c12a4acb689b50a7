"""Non-local fusion as it is usually written: 1x1 convolutions on channels-first tensors, product by product.

So are what it is compared with, grids joined in front of one linear layer, and the glove network in front of
both. Parameters are called as plait's are, so that both can hold the same weights.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.encoders.glove import GloveNet
from plait.fusion import Concat, Led, NonLocal, Single, Symmetric
from plait.training.network import Network

CONVOLUTIONS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # by the number of grid axes


class Block(nn.Module):
    """`h(z(x, y))` of eqs. 2-4 on `(b, n, *grid)` and `(b, m, *context)`."""

    def __init__(self, block: NonLocal, lead_axes: int, context_axes: int) -> None:
        super().__init__()
        self.theta, self.h = _as_convolution(block.theta, lead_axes), _as_convolution(block.h, lead_axes)
        self.phi, self.g = _as_convolution(block.phi, context_axes), _as_convolution(block.g, context_axes)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The block's output, of `x`'s shape."""
        theta = self.theta(x).flatten(2).transpose(1, 2)
        relation = (theta @ self.phi(y).flatten(2)).softmax(dim=-1)
        z = (relation @ self.g(y).flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
        made: Tensor = self.h(z)
        return made


class Fused(nn.Module):
    """A `Led` or `Symmetric` of plait's, with its weights, the textbook's way; heads `mean` and `flatten`."""

    def __init__(self, method: Led | Symmetric) -> None:
        super().__init__()
        enforced: list[Any] = [method.enforced] if isinstance(method, Led) else list(method.leads)
        axes = {name: len(shape) - 1 for name, shape in method.entry.shapes.items()}
        self.leads = [one.lead for one in enforced]
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {name: Block(block, axes[one.lead], axes[name]) for name, block in one.blocks.items()}
            )
            for one in enforced
        )
        self.kind = method.head.kind
        parts = [part.detach() for part in method.head.weights]
        if self.kind == "flatten":  # the same weights where channels stand first
            shapes = [method.entry.shapes[lead] for lead in self.leads]
            parts = [
                part.reshape(-1, *shape).movedim(-1, 1).flatten(1)
                for part, shape in zip(parts, shapes, strict=True)
            ]
        self.classify = classifier(parts, method.head.bias)

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-first grids."""
        features = []
        for lead, blocks in zip(self.leads, self.blocks, strict=True):
            x = grids[lead]
            assert isinstance(blocks, nn.ModuleDict)
            for name, block in blocks.items():
                x = x + block(grids[lead], grids[name])
            features.append(x.flatten(1) if self.kind == "flatten" else x.flatten(2).mean(2))
        logits: Tensor = self.classify(torch.cat(features, 1))
        return logits


class Joined(nn.Module):
    """A `Concat` or `Single` of plait's, with the same weights: features joined, one linear layer."""

    def __init__(self, method: Concat | Single) -> None:
        super().__init__()
        self.names, self.kind = list(method.entry.shapes), method.head.kind
        self.classify = classifier([part.detach() for part in method.head.weights], method.head.bias)

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-last grids."""
        features = [grids[name] for name in self.names]
        if self.kind == "mean":
            features = [grid.flatten(1, -2).mean(1) if grid.ndim > 2 else grid for grid in features]
        logits: Tensor = self.classify(torch.cat([feature.flatten(1) for feature in features], 1))
        return logits


class Gloves(nn.Module):
    """A `GloveNet` of plait's, with the same weights, as convolutions along a line."""

    def __init__(self, network: GloveNet) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for stage in network.net.stages:
            if isinstance(stage, nn.Conv2d):
                made = nn.Conv1d(stage.in_channels, stage.out_channels, stage.kernel_size[1])
                assert stage.bias is not None
                made.load_state_dict({"weight": stage.weight.squeeze(2), "bias": stage.bias})
                stages.append(made)
            elif isinstance(stage, nn.MaxPool2d):
                assert isinstance(stage.kernel_size, tuple)
                stages.append(nn.MaxPool1d(stage.kernel_size[1]))
            else:
                stages.append(copy.deepcopy(stage))
        self.stages, self.lstm = nn.Sequential(*stages), copy.deepcopy(network.net.lstm)

    def forward(self, signal: Tensor) -> Tensor:
        """The grid `(b, 28, 64)` of `(b, 134, 18)`."""
        grid: Tensor = self.lstm(self.stages(signal.mT).mT)[0]
        return grid


def written_plainly(ours: Network) -> Network:
    """A network of plait's with the same weights whose encoders and method are the textbook's."""
    method = ours.method
    plainly: nn.Module
    if isinstance(method, Led | Symmetric):
        plainly = Fused(method)
    else:
        assert isinstance(method, Concat | Single)
        plainly = Joined(method)
    encoders = {
        name: Gloves(one) if isinstance(one, GloveNet) else one for name, one in ours.encoders.items()
    }
    return Network(encoders, plainly, ours.frozen)


def forward(network: Network, batch: Mapping[str, Tensor], as_they_lie: bool = False) -> Tensor:
    """Logits of a network that is written plainly.

    A textbook's grids have their channels first. Whoever writes such a study has them so on disk; the bytes
    of grids drawn at random may then be taken for it `as_they_lie`.
    """
    grids: dict[str, Tensor] = {}
    for name, encoder in network.encoders.items():
        grid = encoder(batch[name])
        if isinstance(network.method, Fused):
            lies = as_they_lie and isinstance(encoder, nn.Identity)
            grid = grid.reshape(len(grid), grid.shape[-1], *grid.shape[1:-1]) if lies else grid.movedim(-1, 1)
        grids[name] = grid
    logits: Tensor = network.method(grids)
    return logits


class Plain(nn.Module):
    """The same with what torch has: linear layers on channels-last grids, `scaled_dot_product_attention`."""

    def __init__(self, method: Led | Symmetric) -> None:
        super().__init__()
        self.enforced: list[Any] = [method.enforced] if isinstance(method, Led) else list(method.leads)
        self.kind = method.head.kind
        self.classify = classifier([part.detach() for part in method.head.weights], method.head.bias)

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-last grids."""
        features = []
        for one in self.enforced:
            x = made = grids[one.lead].flatten(1, -2)
            for name, block in one.blocks.items():
                y = grids[name].flatten(1, -2)
                z = F.scaled_dot_product_attention(block.theta(x), block.phi(y), block.g(y), scale=1.0)
                made = made + block.h(z)
            features.append(made.flatten(1) if self.kind == "flatten" else made.mean(1))
        logits: Tensor = self.classify(torch.cat(features, 1))
        return logits


def channels_first(grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The grids as a textbook has them; what takes a gradient takes one of its own."""
    return {
        name: grid.detach().movedim(-1, 1).contiguous().requires_grad_(grid.requires_grad)
        for name, grid in grids.items()
    }


def classifier(parts: Sequence[Tensor], bias: Tensor) -> nn.Linear:
    """One linear layer over joined grids, with the weights of one for each."""
    weight = torch.cat(list(parts), 1)
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.load_state_dict({"weight": weight, "bias": bias.detach()})
    return made


def copied(layer: nn.Linear) -> nn.Linear:
    """A layer of its own with the same weights."""
    made = nn.Linear(layer.in_features, layer.out_features)
    made.load_state_dict(layer.state_dict())
    return made


def _as_convolution(layer: nn.Module, axes: int) -> nn.Module:
    assert isinstance(layer, nn.Linear)
    if axes == 0:
        return copied(layer)
    made: nn.Module = CONVOLUTIONS[axes](layer.in_features, layer.out_features, 1)  # type: ignore[arg-type]
    weight: Any = made.weight
    made.load_state_dict({"weight": layer.weight.reshape(weight.shape), "bias": layer.bias})
    return made
