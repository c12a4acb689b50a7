"""What every method does with its grids first and last: check and normalise them, and turn them into class scores."""

import functools
import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ShapeError
from plait.fusion.contraction import average

Shape = tuple[int, ...]
HeadKind = Literal["mean", "flatten", "hidden"]


def mean_of(modality: str) -> str:
    """The name, which no modality can have, under which the mean of a grid over its positions may stand beside it."""
    return f"{modality}.mean"


class Entry(nn.Module):
    """Grids as they enter a method: their shapes checked, a LayerNorm over channels on each if `normalise`.

    Where nothing but the `mean` of a grid is asked for, it may come averaged already, `(batch, channels)`: `averages`
    names the modalities of which this is so. Of those in `averages_beside` the mean may come too, as `mean_of` them.

    Raises:
        ShapeError: a modality is missing, or a grid is not `(batch, *shape)`, or its mean not `(batch, channels)`.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        normalise: bool,
        averages: bool = False,
        beside: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.averages_beside = frozenset(() if normalise else beside)
        self.averages = frozenset(shapes if averages and not normalise else ())
        for name, shape in shapes.items():
            if not shape or min(shape) < 1:
                raise ShapeError(
                    f"modality {name!r} has grid shape {shape}, expected (*grid, channels), all at least 1"
                )
        self.shapes = dict(shapes)
        self.norms = nn.ModuleDict(
            {name: nn.LayerNorm(s[-1]) for name, s in shapes.items()} if normalise else {}
        )

    def forward(self, grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The grids named in `shapes`, each `(b, *shape)`, and known means; others are left out."""
        for name, shape in self.shapes.items():
            if name not in grids:
                got = ", ".join(grids) or "none"
                raise ShapeError(
                    f"modality {name!r} is missing: got {got}; expected a grid {('batch', *shape)}"
                )
            averaged = name in self.averages and tuple(grids[name].shape[1:]) == shape[-1:]
            if not averaged and (tuple(grids[name].shape[1:]) != shape or grids[name].ndim != len(shape) + 1):
                got = str(tuple(grids[name].shape))
                raise ShapeError(f"modality {name!r} has shape {got}, expected {('batch', *shape)}")
        batch, *others = (grids[name].shape[0] for name in self.shapes)
        if any(
            other != batch for other in others
        ):  # not a set: sizes that are yet to be known cannot be hashed
            got = ", ".join(f"{name} {grids[name].shape[0]}" for name in self.shapes)
            raise ShapeError(f"modalities have different batch sizes ({got}), expected the same")
        entered = {name: self.norms[name](grids[name]) if self.norms else grids[name] for name in self.shapes}
        for name in self.averages_beside:
            if mean_of(name) in grids:
                mean, expected = grids[mean_of(name)], (grids[name].shape[0], self.shapes[name][-1])
                if tuple(mean.shape) != expected:
                    raise ShapeError(
                        f"mean of modality {name!r} has shape {tuple(mean.shape)}, expected {expected}"
                    )
                entered[mean_of(name)] = mean
        return entered


class Head(nn.Module):
    """Class scores from one grid or several, concatenated.

    `mean` averages each grid over its positions; `flatten` keeps all of them; `hidden` puts a linear layer of the same
    width and a ReLU on each position and averages then. A linear layer over the concatenation gives the logits; it is
    kept, and its weights, as one part for each grid, for under `flatten` joining the grids would copy millions of
    numbers, and every grid would get a gradient if one does.

    Raises:
        ShapeError: `kind` is none of these.
    """

    def __init__(self, shapes: Sequence[Shape], classes: int, kind: str) -> None:
        super().__init__()
        if kind not in get_args(HeadKind):
            raise ShapeError(f"head is {kind!r}, expected one of: {', '.join(get_args(HeadKind))}")
        if classes < 1:
            raise ShapeError(f"classes is {classes}, expected at least 1")
        self.kind = kind
        widths = [s[-1] for s in shapes]
        self.hidden = nn.ModuleList([nn.Linear(n, n) for n in widths] if kind == "hidden" else [])
        inputs = [torch.Size(s).numel() for s in shapes] if kind == "flatten" else widths
        classify = nn.Linear(sum(inputs), classes)
        self.weights = nn.ParameterList(
            part.clone() for part in torch.split(classify.weight.detach(), inputs, dim=1)
        )
        self.bias = classify.bias

    def forward(self, grids: Sequence[Tensor]) -> Float[Tensor, "b classes"]:
        """Logits; under `mean`, grids that are already averaged to `(b, channels)` are as good as whole ones."""
        if self.kind == "flatten":
            return self._classified([grid.flatten(1) for grid in grids])
        if self.kind == "hidden":
            grids = [layer(grid).relu() for layer, grid in zip(self.hidden, grids, strict=True)]
        features = [average(grid) for grid in grids]
        with torch.autocast(features[0].device.type, enabled=False):  # few numbers, and the last ones
            return self._classified(features)

    def _classified(self, features: Sequence[Tensor]) -> Tensor:
        """The linear layer, part by part."""
        parts = [F.linear(part, weight) for part, weight in zip(features, self.weights, strict=True)]
        return functools.reduce(operator.add, parts, self.bias)
