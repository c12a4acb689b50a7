"""Low-rank tensor fusion: the outer product of all modalities under a map of few factors, never made.

Source: Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency, Efficient Low-rank Multimodal Fusion with
Modality-Specific Factors, arXiv 1806.00064, eqs. 3 to 6.
"""

import functools
import operator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.fusion.grids import Entry, Head, Reads, Shape, check_sizes
from plait.fusion.tensor_fusion import Embedded


class LowRank(nn.Module):
    """`TensorFusion` whose `W` is a sum of `rank` outer products, one factor for each modality.

    With `W = sum_r w_1^r x ... x w_M^r` the map of the tensor is a product of maps of features::

        h = W Z + b = sum_r prod_m (w_m^r [z_m; 1]) + b

    channel by channel, with parameters that grow with the sum of the modalities' channels and not with their
    product. With as many factors as the tensor has products without its largest modality, it can be any `W`.
    Here `w_m^r [z_m; 1]` is a linear layer, whose bias is the column for the one. These columns start at one:
    a product of several small numbers would be next to nothing, and so would its gradients. A modality that
    is absent has `z_m = 0`, which leaves what the others make among themselves.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        classes: number of activities.
        width: channels of `h`.
        rank: how many factors each modality has.
        embedding: as in `TensorFusion`.
        head: `mean`, a linear layer, or `hidden`, with a hidden layer before it; `h` has no positions, and
            `flatten` is `mean`.
        normalise: a LayerNorm over channels on each grid as it enters.

    Raises:
        ShapeError: `width`, `rank`, `embedding` or `head` do not fit, a grid is not of its shape, or none is
            there.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        width: int = 64,
        rank: int = 4,
        embedding: int | None = None,
        head: str = "mean",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        check_sizes("LowRank", width=width, rank=rank)
        reads = Reads(mean=set(shapes), float32=True, optional=set(shapes))
        self.entry = Entry(shapes, normalise, reads)
        self.reads = self.entry.reads
        # Drawn first: from one seed every method's head starts alike, as comparisons need it.
        self.head = Head([(width,)], classes, head)
        self.embedded = Embedded(shapes, embedding)
        self.factors = nn.ModuleDict(
            {name: nn.Linear(n, rank * width) for name, n in self.embedded.widths.items()}
        )
        for factor in self.factors.values():
            assert isinstance(factor, nn.Linear)
            nn.init.ones_(factor.bias)
        self.rank = rank
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality; any but one may be absent."""
        features = self.embedded(self.entry(grids))
        factors = [self._factor(name, features.get(name)) for name in self.factors]
        products = functools.reduce(operator.mul, factors)
        logits: Tensor = self.head(
            [products.reshape(-1, self.rank, self.bias.shape[0]).sum(dim=1) + self.bias]
        )
        return logits

    def _factor(self, name: str, features: Tensor | None) -> Float[Tensor, "#b m"]:
        """`w_m^r [z_m; 1]` of every factor, rank by rank; the same for all clips where `z_m` is zero."""
        factor = self.factors[name]
        assert isinstance(factor, nn.Linear)
        made: Tensor = factor.bias[None] if features is None else factor(features)
        return made
