"""Tensor fusion: every product of one feature from each modality, and of any fewer.

Source: Zadeh, Chen, Poria, Cambria, Morency, Tensor Fusion Network for Multimodal Sentiment Analysis,
arXiv 1707.07250, section 4.2; as the linear map of a tensor in Liu et al., arXiv 1806.00064, eqs. 1 and 2.
"""

import math
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ShapeError
from plait.fusion.grids import Entry, Head, Reads, Shape, check_sizes, read_means

LARGEST = 2**25  # weights of the tensor's map, 134 MB in float32 before gradients and the optimizer's state


class Embedded(nn.Module):
    """The features `z_m` that are multiplied: the grids' means, or what a layer and a ReLU make of each.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        embedding: channels that the layer gives; without it there is no layer.

    Raises:
        ShapeError: `embedding` is below 1.
    """

    def __init__(self, shapes: Mapping[str, Shape], embedding: int | None) -> None:
        super().__init__()
        self.widths = {name: shape[-1] for name, shape in shapes.items()}
        self.layers = nn.ModuleDict()
        if embedding is not None:
            check_sizes("tensor fusion", embedding=embedding)
            self.layers.update({name: nn.Linear(n, embedding) for name, n in self.widths.items()})
            self.widths = dict.fromkeys(self.widths, embedding)

    def forward(self, grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`z_m`, `(b, n)`, of each modality that is there."""
        means = read_means(grids, self.widths)
        return {name: self.layers[name](x).relu() if self.layers else x for name, x in means.items()}


class TensorFusion(nn.Module):
    """Class scores from the outer product of the modalities' features, each with a one behind it.

    `Z = [z_1; 1] x ... x [z_M; 1]` (outer products) holds every feature, and every product of features of two
    and more modalities; `h = W Z + b`. A modality that is absent has `z_m = 0`, which leaves what the others
    make among themselves. `LowRank` is the same with a `W` of few factors.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        classes: number of activities.
        width: channels of `h`.
        embedding: channels to which a layer and a ReLU bring each modality first, as the paper's subnetworks
            do; by default the means of the grids are multiplied as they are.
        head: `mean`, a linear layer, or `hidden`, with a hidden layer before it; `h` has no positions, and
            `flatten` is `mean`.
        normalise: a LayerNorm over channels on each grid as it enters.

    Raises:
        ShapeError: `W` would have more than `LARGEST` weights, `width`, `embedding` or `head` do not fit, a
            grid is not of its shape, or none is there.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        width: int = 64,
        embedding: int | None = None,
        head: str = "mean",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        check_sizes("TensorFusion", width=width)
        reads = Reads(mean=set(shapes), float32=True, optional=set(shapes))
        self.entry = Entry(shapes, normalise, reads)
        self.reads = self.entry.reads
        # Drawn first: from one seed every method's head starts alike, as comparisons need it.
        self.head = Head([(width,)], classes, head)
        self.embedded = Embedded(shapes, embedding)
        products = math.prod(n + 1 for n in self.embedded.widths.values())
        if products * width > LARGEST:
            sizes = " x ".join(f"({name} {n} + 1)" for name, n in self.embedded.widths.items())
            raise ShapeError(
                f"TensorFusion: {sizes} x width {width} are {products * width:,} weights, expected at most "
                f"{LARGEST:,}: a smaller embedding or width, or LowRank"
            )
        self.fuse = nn.Linear(products, width)

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality; any but one may be absent."""
        features = self.embedded(self.entry(grids))
        like = next(iter(features.values()))
        outer = like.new_ones(like.shape[0], 1)
        for name, n in self.embedded.widths.items():
            z = features[name] if name in features else like.new_zeros(like.shape[0], n)
            outer = (outer.unsqueeze(2) * F.pad(z, (0, 1), value=1.0).unsqueeze(1)).flatten(1)
        logits: Tensor = self.head([self.fuse(outer)])
        return logits
