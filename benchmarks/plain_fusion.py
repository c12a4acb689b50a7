"""Other fusion methods of plait's as one writes them with what torch has, holding the same weights.

Heads are `mean` ones: one linear layer. Each is checked against plait's by `fusion.py` before it is timed.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from plait.fusion import Binding, Bottleneck, CrossAttention, Gated, LowRank, TensorFusion
from plait.fusion.transformer import MultiHead, Tokens
from textbook import classifier, copied


class PlainGated(nn.Module):
    """`Gated` with softmax gates."""

    def __init__(self, method: Gated) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: unbiased(layer) for name, layer in method.features.items()})
        self.gates = unbiased(method.gates)
        self.classify = classifier(list(method.head.weights), method.head.bias)

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-last grids."""
        means = pooled(grids)
        gates = (
            self.gates(torch.cat(list(means.values()), 1))
            .view(len(means["video"]), len(means), -1)
            .softmax(1)
        )
        features = torch.stack([torch.tanh(self.layers[name](x)) for name, x in means.items()], 1)
        logits: Tensor = self.classify((gates * features).sum(1))
        return logits


class PlainTensor(nn.Module):
    """`TensorFusion` without an embedding."""

    def __init__(self, method: TensorFusion) -> None:
        super().__init__()
        self.fuse = copied(method.fuse)
        self.classify = classifier(list(method.head.weights), method.head.bias)

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-last grids."""
        first, *others = with_one(pooled(grids)).values()
        for z in others:
            first = torch.einsum("bi,bj->bij", first, z).flatten(1)
        logits: Tensor = self.classify(self.fuse(first))
        return logits


class PlainLowRank(nn.Module):
    """`LowRank` without an embedding, with factors `(rank, n + 1, width)` as its authors have them."""

    def __init__(self, method: LowRank) -> None:
        super().__init__()
        self.factors = nn.ParameterDict()
        for name, layer in method.factors.items():
            assert isinstance(layer, nn.Linear)
            column = torch.cat([layer.weight, layer.bias[:, None]], 1).detach()
            self.factors[name] = column.view(method.rank, -1, column.shape[1]).transpose(1, 2).contiguous()
        self.bias = nn.Parameter(method.bias.detach().clone())
        self.classify = classifier(list(method.head.weights), method.head.bias)

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-last grids."""
        product: Any = 1
        for name, z in with_one(pooled(grids)).items():
            product = product * torch.matmul(z, self.factors[name])
        logits: Tensor = self.classify(product.sum(0) + self.bias)
        return logits


class PlainCross(nn.Module):
    """`CrossAttention` of every pair, with `nn.MultiheadAttention`."""

    def __init__(self, method: CrossAttention) -> None:
        super().__init__()
        self.tokens = PlainTokens(method.tokens)
        self.leads = nn.ModuleDict()
        for lead, layers in method.leads.items():
            assert isinstance(layers, nn.ModuleList)
            self.leads[lead] = nn.ModuleList([self._layer(layer) for layer in layers])
        self.classify = classifier(list(method.head.weights), method.head.bias)

    @staticmethod
    def _layer(layer: Any) -> nn.ModuleDict:
        attend = {name: multihead(block) for name, block in layer.attend.items()}
        parts = {"norm": layer.norm, "norms": layer.norms, "mlp": layer.mlp}
        return nn.ModuleDict({**copy.deepcopy(parts), "attend": nn.ModuleDict(attend)})

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-last grids."""
        tokens = self.tokens(grids)
        features = []
        for lead, layers in self.leads.items():
            x = tokens[lead]
            layer: Any
            for layer in layers:  # type: ignore[attr-defined]
                queries = layer["norm"](x)
                for name, attend in layer["attend"].items():
                    y = layer["norms"][name](tokens[name])
                    x = x + attend(queries, y, y, need_weights=False)[0]
                x = x + layer["mlp"](x)
            features.append(x.mean(1))
        logits: Tensor = self.classify(torch.cat(features, 1))
        return logits


class PlainBottleneck(nn.Module):
    """`Bottleneck`, with `nn.TransformerEncoderLayer`."""

    def __init__(self, method: Bottleneck) -> None:
        super().__init__()
        self.tokens = PlainTokens(method.tokens)
        self.shared = nn.Parameter(method.shared.detach().clone())
        self.layers = nn.ModuleList()
        for layer in method.layers:
            assert isinstance(layer, nn.ModuleDict)
            self.layers.append(nn.ModuleDict({name: encoder_layer(own) for name, own in layer.items()}))
        self.classify = classifier(list(method.head.weights), method.head.bias)

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-last grids."""
        tokens = self.tokens(grids)
        shared = self.shared.expand(len(tokens["video"]), -1, -1)
        for layer in self.layers:
            heard = []
            for name, x in tokens.items():
                joined = layer[name](torch.cat([x, shared], 1))  # type: ignore[index]
                tokens[name] = joined[:, : x.shape[1]]
                heard.append(joined[:, x.shape[1] :])
            shared = torch.stack(heard).mean(0)
        logits = [self.classify(x.mean(1)) for x in tokens.values()]
        return torch.stack(logits).mean(0)


class PlainBinding(nn.Module):
    """`Binding`: every step repeated as often as there are windows, so that all windows have whole steps."""

    def __init__(self, method: Binding) -> None:
        super().__init__()
        first: Any = next(iter(method.windows.values()))
        self.windows = len(first.share)
        self.fuse = copied(method.fuse)
        self.classify = classifier(list(method.head.weights), method.head.bias)

    def forward(self, grids: Mapping[str, Tensor]) -> Tensor:
        """Logits from channels-last grids."""
        bound = []
        for grid in grids.values():
            lines = grid.flatten(2, -2).mean(2) if grid.ndim > 3 else grid
            repeated = lines.repeat_interleave(self.windows, 1)
            bound.append(repeated.view(len(grid), self.windows, grid.shape[1], -1).mean(2))
        logits: Tensor = self.classify(torch.relu(self.fuse(torch.cat(bound, 2)))).mean(1)
        return logits


class PlainTokens(nn.Module):
    """`Tokens`, with the same weights."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        lift: Any = tokens.lift
        self.lift = nn.ModuleDict({name: copied(layer) for name, layer in lift.items()})
        self.place = nn.ParameterDict({name: place.detach().clone() for name, place in tokens.place.items()})

    def forward(self, grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tokens of channels-last grids."""
        return {name: self.lift[name](grid.flatten(1, -2)) + self.place[name] for name, grid in grids.items()}


def unbiased(layer: nn.Module) -> nn.Linear:
    """A layer without a bias, with the same weights."""
    assert isinstance(layer, nn.Linear)
    made = nn.Linear(layer.in_features, layer.out_features, bias=False)
    made.load_state_dict(layer.state_dict())
    return made


def multihead(block: MultiHead) -> nn.MultiheadAttention:
    """Attention as torch has it, with the same weights."""
    made = nn.MultiheadAttention(block.query.in_features, block.heads, batch_first=True)
    _fill(made, block)
    return made


def encoder_layer(layer: Any) -> nn.TransformerEncoderLayer:
    """A layer as torch has it, with the same weights, in training mode without dropout."""
    norm, first, _, second = layer.mlp
    width, heads = first.in_features, layer.attend.heads
    made = nn.TransformerEncoderLayer(
        width, heads, first.out_features, 0.0, "gelu", batch_first=True, norm_first=True
    )
    _fill(made.self_attn, layer.attend)
    pairs = ((made.norm1, layer.norm), (made.norm2, norm), (made.linear1, first), (made.linear2, second))
    for mine, other in pairs:
        mine.load_state_dict(other.state_dict())
    return made


def _fill(made: nn.MultiheadAttention, block: MultiHead) -> None:
    layers = (block.query, block.key, block.value)
    weight, bias = (torch.cat([getattr(layer, part) for layer in layers]) for part in ("weight", "bias"))
    state = {"in_proj_weight": weight, "in_proj_bias": bias}
    made.load_state_dict({**state, **{f"out_proj.{key}": v for key, v in block.out.state_dict().items()}})


def pooled(grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The means of channels-last grids."""
    return {name: grid.flatten(1, -2).mean(1) for name, grid in grids.items()}


def with_one(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each with a column of ones behind it."""
    return {name: torch.cat([z, torch.ones_like(z[:, :1])], 1) for name, z in features.items()}


Shapes = dict[str, tuple[int, ...]]
OTHERS: dict[str, tuple[Callable[[Shapes, int], Any], Callable[[Any], nn.Module]]] = {
    "gated": (Gated, PlainGated),
    "tensor fusion": (TensorFusion, PlainTensor),
    "low rank": (LowRank, PlainLowRank),
    "cross-attention": (CrossAttention, PlainCross),
    "bottleneck": (Bottleneck, PlainBottleneck),
    "binding": (Binding, PlainBinding),
}
