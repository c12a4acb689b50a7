"""Gated fusion: gates that have seen every modality say how much each of them counts.

Source: Arevalo, Solorio, Montes-y-Gómez, González, Gated Multimodal Units for Information Fusion,
arXiv 1702.01992, section 3.1.
"""

import functools
import operator
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ShapeError
from plait.fusion.grids import Entry, Head, Reads, Shape, check_sizes, read_means

Gates = Literal["softmax", "sigmoid"]


class Gated(nn.Module):
    """Class scores from the modalities' pooled features, weighted channel by channel by gates.

    With `x_m` the mean of modality m over its positions, and `[x_1, ..., x_M]` all of them joined::

        h_m = tanh(W_m x_m)
        z_m = gate_m(V_m [x_1, ..., x_M])
        h   = sum_m z_m * h_m

    `sigmoid` gates are the paper's unit for any number of modalities (its figure 2a): each has a gate of its
    own. For two the paper takes one gate z and its complement, `h = z * h_1 + (1 - z) * h_2`; `softmax` gates
    over the modalities are what generalises that, for of two they are a sigmoid, of `(V_1 - V_2) [x_1, x_2]`,
    and its complement. As in the paper no layer has a bias. Where all gates are equal, `h` is the mean of the
    `h_m`.

    A modality that is absent is in no gate and in no sum; softmax gates of the others sum to one.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        classes: number of activities.
        width: channels of `h`.
        gates: `softmax` or `sigmoid`.
        head: `mean`, a linear layer, or `hidden`, with a hidden layer before it; `h` has no positions, and
            `flatten` is `mean`.
        normalise: a LayerNorm over channels on each grid as it enters.

    Raises:
        ShapeError: `width`, `gates` or `head` do not fit, a grid is not of its shape, or none is there.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        width: int = 64,
        gates: str = "softmax",
        head: str = "mean",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        check_sizes("Gated", width=width)
        if gates not in get_args(Gates):
            raise ShapeError(f"gates is {gates!r}, expected one of: {', '.join(get_args(Gates))}")
        reads = Reads(mean=set(shapes), float32=True, optional=set(shapes))
        self.entry = Entry(shapes, normalise, reads)
        self.reads = self.entry.reads
        # Drawn first: from one seed every method's head starts alike, as comparisons need it.
        self.head = Head([(width,)], classes, head)
        self.channels = [shape[-1] for shape in shapes.values()]
        self.features = nn.ModuleDict(
            {name: nn.Linear(shape[-1], width, bias=False) for name, shape in shapes.items()}
        )
        self.gates = nn.Linear(sum(self.channels), len(shapes) * width, bias=False)
        self.softmax = gates == "softmax"

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality; any but one may be absent."""
        means = read_means(self.entry(grids), self.entry.shapes)
        seen = torch.split(self.gates.weight, self.channels, dim=1)
        sums = [
            F.linear(means[name], part)
            for name, part in zip(self.features, seen, strict=True)
            if name in means
        ]
        each = functools.reduce(operator.add, sums).chunk(len(self.channels), dim=1)
        opened = torch.stack(
            [gate for name, gate in zip(self.features, each, strict=True) if name in means], dim=1
        )
        gates = opened.softmax(dim=1) if self.softmax else opened.sigmoid()
        features = torch.stack([self.features[name](mean).tanh() for name, mean in means.items()], dim=1)
        logits: Tensor = self.head([(gates * features).sum(dim=1)])
        return logits
