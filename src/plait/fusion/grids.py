"""What every method does with its grids first and last: check and normalise them, and make class scores."""

import functools
import operator
from collections.abc import Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ShapeError
from plait.fusion.contraction import average

Shape = tuple[int, ...]
HeadKind = Literal["mean", "flatten", "hidden"]


@dataclass(frozen=True)
class Reads:
    """What a method reads of its grids, as it declares in an attribute `reads`; without one, all grids.

    Grids that training does not change, of frozen encoders and of features, are read from disk, and so are
    their means over positions, often a hundredth of their size. A mean `(b, channels)` comes under the name
    `mean_of(modality)`, and only where it is known: `read_mean` takes it, or else averages the grid.

    Args:
        mean: modalities of which only the mean is read; where it comes, the grid does not.
        both: modalities of which the grid and its mean are read.
        float32: computed in float32 whatever `train.precision` says: no product of it gains from halves.
        optional: modalities that may be absent: the method does without.
    """

    mean: AbstractSet[str] = frozenset()
    both: AbstractSet[str] = frozenset()
    float32: bool = False
    optional: AbstractSet[str] = frozenset()


def mean_of(modality: str) -> str:
    """The name, which no modality can have, of the mean of a modality's grid over its positions."""
    return f"{modality}.mean"


def read_mean(grids: Mapping[str, Tensor], modality: str) -> Float[Tensor, "b n"]:
    """The mean of a modality's grid over its positions: as it is known, or else of the grid."""
    mean = grids.get(mean_of(modality))
    return average(grids[modality]) if mean is None else mean


def own(grids: Mapping[str, Tensor], modality: str, pooled: bool) -> Tensor | None:
    """A modality's own grid, or its mean if `pooled`; None if it is absent."""
    if not is_known(modality, grids):
        return None
    return read_mean(grids, modality) if pooled else grids[modality]


def is_known(modality: str, grids: Container[str]) -> bool:
    """Whether a modality's grid, or its mean, stands among these names, so that no encoder need make it."""
    return modality in grids or mean_of(modality) in grids


def read_means(grids: Mapping[str, Tensor], modalities: Iterable[str]) -> dict[str, Tensor]:
    """The means, in this order, of those modalities that are there."""
    return {name: read_mean(grids, name) for name in modalities if is_known(name, grids)}


def check_sizes(of: str, **sizes: int) -> None:
    """Refuse sizes below 1.

    Raises:
        ShapeError: naming the first.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ShapeError(f"{of}: {name} is {size}, expected at least 1")


class Entry(nn.Module):
    """Grids as they enter a method: their shapes checked, a LayerNorm over channels on each if `normalise`.

    Its own `reads` is what is asked for, without means where the grids must be normalised first.

    Raises:
        ShapeError: a modality that is not optional is missing, or all are, a grid is not `(batch, *shape)`,
            or a mean not `(batch, channels)`.
    """

    def __init__(self, shapes: Mapping[str, Shape], normalise: bool, reads: Reads) -> None:
        super().__init__()
        self.reads = Reads(float32=reads.float32, optional=reads.optional) if normalise else reads
        for name, shape in shapes.items():
            if not shape or min(shape) < 1:
                raise ShapeError(
                    f"modality {name!r} has grid shape {shape}, expected (*grid, channels), all at least 1"
                )
        self.shapes = dict(shapes)
        normalised = shapes if normalise else {}
        self.norms = nn.ModuleDict({name: nn.LayerNorm(shape[-1]) for name, shape in normalised.items()})

    def forward(self, grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The grids of `shapes`, each `(b, *shape)`, beside or instead of them the means that are read.

        Raises:
            ShapeError: a grid or a mean has another shape than was said, none is there, or batches differ.
        """
        entered: dict[str, Tensor] = {}
        for name, shape in self.shapes.items():
            if name in self.reads.optional and not is_known(name, grids):
                continue
            mean = grids.get(mean_of(name))
            if name not in self.reads.mean or mean is None:
                entered[name] = self._enter(grids, name, shape)
            if mean is not None and (name in self.reads.mean or name in self.reads.both):
                if mean.ndim != 2 or mean.shape[1] != shape[-1]:
                    got, width = tuple(mean.shape), ("batch", shape[-1])
                    raise ShapeError(f"mean of modality {name!r} has shape {got}, expected {width}")
                entered[mean_of(name)] = mean
        if not entered:
            names = ", ".join(grids) or "none"
            raise ShapeError(f"no modality is there: got {names}; expected any of: {', '.join(self.shapes)}")
        batch, *others = (grid.shape[0] for grid in entered.values())
        if any(other != batch for other in others):  # no set: sizes yet to be known cannot be hashed
            sizes = ", ".join(f"{name} {grid.shape[0]}" for name, grid in entered.items())
            raise ShapeError(f"modalities have different batch sizes ({sizes}), expected the same")
        return entered

    def _enter(self, grids: Mapping[str, Tensor], name: str, shape: Shape) -> Tensor:
        expected = ("batch", *shape)
        if name not in grids:
            names = ", ".join(grids) or "none"
            raise ShapeError(f"modality {name!r} is missing: got {names}; expected a grid {expected}")
        grid = grids[name]
        if grid.ndim != len(expected) or tuple(grid.shape[1:]) != shape:
            raise ShapeError(f"modality {name!r} has shape {tuple(grid.shape)}, expected {expected}")
        return self.norms[name](grid) if self.norms else grid


class Head(nn.Module):
    """Class scores from one grid or several, concatenated.

    `mean` averages each grid over its positions; `flatten` keeps them all; `hidden` averages what a linear
    layer of the same width and a ReLU make of each position. A linear layer over the concatenation gives the
    logits. Its weights are kept as one part for each grid: joining the grids would, under `flatten`, copy
    millions of numbers, and give every grid a gradient if one needs it.

    Raises:
        ShapeError: `kind` is none of these, or there are no classes.
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
        weights = torch.split(classify.weight.detach(), inputs, dim=1)
        self.weights = nn.ParameterList(weight.clone() for weight in weights)
        self.bias = classify.bias

    def forward(self, grids: Sequence[Tensor | None]) -> Float[Tensor, "b classes"]:
        """Logits; under `mean`, grids may come averaged to `(b, channels)` already.

        What is absent, None, adds nothing to them.
        """
        return self.joined(self.parts(grids))

    def joined(self, parts: Sequence[Tensor]) -> Float[Tensor, "b classes"]:
        """Logits, of their parts."""
        return functools.reduce(operator.add, parts, self.bias)

    def parts(self, grids: Sequence[Tensor | None]) -> list[Tensor]:
        """What each grid that is there adds to the logits, `(b, classes)`: they are the sum and the bias."""
        there = [(number, grid) for number, grid in enumerate(grids) if grid is not None]
        if self.kind == "flatten":
            return self._classify([(number, grid.flatten(1)) for number, grid in there])
        if self.kind == "hidden":
            there = [(number, self.hidden[number](grid).relu()) for number, grid in there]
        features = [(number, average(grid)) for number, grid in there]
        with torch.autocast(features[0][1].device.type, enabled=False):  # few numbers, and the last ones
            return self._classify(features)

    def _classify(self, features: Sequence[tuple[int, Tensor]]) -> list[Tensor]:
        """The linear layer, part by part."""
        return [F.linear(part, self.weights[number]) for number, part in features]
