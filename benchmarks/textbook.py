"""Non-local fusion as it is usually written: 1x1 convolutions on channels-first tensors, product by product.

So are what it is compared with, grids joined in front of one linear layer, and the glove network in front of
both. Parameters are called as plait's are, so that both can hold the same weights.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.encoders.glove import GloveNet
from plait.fusion import Concat, Led, NonLocal, Single, Symmetric, enforced
from plait.fusion.clock import RelativeTime
from plait.training.network import Network

CONVOLUTIONS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # by the number of grid axes


class Block(nn.Module):
    """`h(z(x, y))` of eqs. 2-4 on `(b, n, *grid)` and `(b, m, *context)`."""

    def __init__(self, block: NonLocal, lead_axes: int, context_axes: int) -> None:
        super().__init__()
        self.theta, self.h = _as_convolution(block.theta, lead_axes), _as_convolution(block.h, lead_axes)
        self.phi, self.g = _as_convolution(block.phi, context_axes), _as_convolution(block.g, context_axes)
        self.heads, self.clock = block.heads, None if block.clock is None else Clock(block.clock)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The block's output, of `x`'s shape."""
        if self.heads > 1 or self.clock is not None:
            return self.with_heads(x, y)
        theta = self.theta(x).flatten(2).transpose(1, 2)
        relation = (theta @ self.phi(y).flatten(2)).softmax(dim=-1)
        z = (relation @ self.g(y).flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
        made: Tensor = self.h(z)
        return made

    def with_heads(self, x: Tensor, y: Tensor) -> Tensor:
        """The same of several heads, `(b, heads, k, positions)` each."""
        theta, phi, g = (
            grid.flatten(2).unflatten(1, (self.heads, -1)) for grid in (self.theta(x), self.phi(y), self.g(y))
        )
        logits = theta.transpose(2, 3) @ phi
        if self.clock is not None:
            logits = logits + self.clock(x.shape[2:], y.shape[2:])
        z = (logits.softmax(dim=-1) @ g.transpose(2, 3)).transpose(2, 3)
        made: Tensor = self.h(z.flatten(1, 2).unflatten(2, x.shape[2:]))
        return made


class Clock(nn.Module):
    """A table of each head looked up at the difference of times, with linear interpolation."""

    def __init__(self, clock: RelativeTime) -> None:
        super().__init__()
        self.table = nn.Parameter(clock.table.detach().clone())

    def forward(self, lead: Sequence[int], context: Sequence[int]) -> Tensor:
        """What is added to the logits, `(heads, i, j)`, of grids with these axes."""
        ours, theirs = (
            ((torch.arange(axes[0], device=self.table.device) + 0.5) / axes[0]).repeat_interleave(
                math.prod(axes[1:])
            )
            for axes in (lead, context)
        )
        place = (ours[:, None] - theirs + 1) / 2 * (self.table.shape[1] - 1)
        below = place.long().clamp(max=self.table.shape[1] - 2)
        share = place - below
        return self.table[:, below] * (1 - share) + self.table[:, below + 1] * share


class Mlp(nn.Module):
    """The residual layer with its LayerNorm first, on `(b, n, *grid)`."""

    def __init__(self, mlp: enforced.Mlp) -> None:
        super().__init__()
        norm, inner, outer = (copy.deepcopy(part) for part in (mlp.norm, mlp.inner, mlp.outer))
        self.layers = nn.Sequential(norm, inner, nn.GELU(), outer)

    def forward(self, x: Tensor) -> Tensor:
        """Like `x`."""
        made: Tensor = x + self.layers(x.movedim(1, -1)).movedim(-1, 1)
        return made


class Fused(nn.Module):
    """A `Led` or `Symmetric` of plait's, with its weights, the textbook's way; heads `mean` and `flatten`."""

    def __init__(self, method: Led | Symmetric) -> None:
        super().__init__()
        leads: list[Any] = [method.enforced] if isinstance(method, Led) else list(method.leads)
        axes = {name: len(shape) - 1 for name, shape in method.entry.shapes.items()}
        self.leads = [one.lead for one in leads]
        self.lifts = nn.ModuleDict(
            {name: _as_convolution(layer, axes[name]) for name, layer in method.lift.maps.items()}
        )
        self.rows: Any = nn.ModuleList(
            nn.ModuleList(_stage(stage, axes) for stage in one.stages) for one in leads
        )
        self.kind = method.head.kind
        self.ends = _ends(method)
        parts = [part.detach() for part in method.head.weights]
        if self.kind == "flatten":  # the same weights where channels stand first
            shapes = [method.lift.shapes[name] for _, name in self.ends]
            parts = [
                part.reshape(-1, *shape).movedim(-1, 1).flatten(1)
                for part, shape in zip(parts, shapes, strict=True)
            ]
        self.classify = classifier(parts, method.head.bias)

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-first grids."""
        grids = {name: self.lifts[name](grid) for name, grid in grids.items()} if self.lifts else grids
        made = {("own", name): grid for name, grid in grids.items()}
        for lead, row in zip(self.leads, self.rows, strict=True):
            x = grids[lead]
            for stage in row:
                total = x
                for name, block in stage["blocks"].items():
                    total = total + block(x, grids[name])
                x = stage["mlp"](total)
            made["enforced", lead] = x
        ends = [made[end] for end in self.ends]
        features = [x.flatten(1) if self.kind == "flatten" else x.flatten(2).mean(2) for x in ends]
        logits: Tensor = self.classify(torch.cat(features, 1))
        return logits


def _stage(stage: Any, axes: Mapping[str, int]) -> nn.ModuleDict:
    """One block of a row: what enforces the lead, and what stands behind it."""
    blocks = {name: Block(block, axes[stage.lead], axes[name]) for name, block in stage.blocks.items()}
    mlp = nn.Identity() if stage.mlp is None else Mlp(stage.mlp)
    return nn.ModuleDict({"blocks": nn.ModuleDict(blocks), "mlp": mlp})


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
        self.kind, self.lifts = method.head.kind, method.lift.maps
        self.ends = _ends(method)
        self.clocks = nn.ModuleDict()
        for one in self.enforced:
            for number, stage in enumerate(one.stages):
                for name, block in stage.blocks.items():
                    if block.clock is not None:
                        self.clocks[f"{one.lead}-{number}-{name}"] = Clock(block.clock)
        self.classify = classifier([part.detach() for part in method.head.weights], method.head.bias)

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-last grids."""
        axes = {name: grid.shape[1:-1] for name, grid in grids.items()}
        rows = {name: grid.flatten(1, -2) for name, grid in grids.items()}
        if self.lifts:
            rows = {name: self.lifts[name](grid) for name, grid in rows.items()}
        made = {("own", name): grid for name, grid in rows.items()}
        for one in self.enforced:
            x = rows[one.lead]
            for number, stage in enumerate(one.stages):
                total = x
                for name, block in stage.blocks.items():
                    clock = f"{one.lead}-{number}-{name}"
                    term = self.clocks[clock](axes[one.lead], axes[name]) if clock in self.clocks else None
                    total = total + block.h(_attended(block, x, rows[name], term))
                x = total
                if stage.mlp is not None:
                    x = x + stage.mlp.outer(F.gelu(stage.mlp.inner(stage.mlp.norm(x))))
            made["enforced", one.lead] = x
        ends = [made[end] for end in self.ends]
        features = [end.flatten(1) if self.kind == "flatten" else end.mean(1) for end in ends]
        logits: Tensor = self.classify(torch.cat(features, 1))
        return logits


def _attended(block: Any, x: Tensor, y: Tensor, term: Tensor | None) -> Tensor:
    """`z` of eq. 2 by torch's own attention."""
    if block.heads == 1 and term is None:
        return F.scaled_dot_product_attention(block.theta(x), block.phi(y), block.g(y), scale=1.0)
    q, k, v = (
        grid.unflatten(2, (block.heads, -1)).transpose(1, 2)
        for grid in (block.theta(x), block.phi(y), block.g(y))
    )
    z = F.scaled_dot_product_attention(q, k, v, None if term is None else term.to(q.dtype), scale=1.0)
    return z.transpose(1, 2).flatten(2)


def _ends(method: Led | Symmetric) -> list[tuple[str, str]]:
    """What goes to the head, in its order."""
    names, led = list(method.entry.shapes), isinstance(method, Led)
    leads = [method.enforced.lead] if isinstance(method, Led) else names
    if method.beside and led:
        return [("enforced" if name in leads else "own", name) for name in names]
    return [("enforced", name) for name in leads] + [("own", name) for name in names if method.beside]


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
