"""Attention bottlenecks: modalities speak to each other through a few tokens that they share.

Source: Nagrani, Yang, Arnab, Jansen, Schmid, Sun, Attention Bottlenecks for Multimodal Fusion (MBT),
arXiv 2107.00135, section 3.3, eqs. 8 and 9.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.fusion.contraction import average
from plait.fusion.grids import Entry, Head, Reads, Shape, check_sizes
from plait.fusion.transformer import SPREAD, MultiHead, Tokens, mlp


class Layer(nn.Module):
    """A transformer's layer: tokens attend to each other, then an MLP, both residual, normalised before.

    Args:
        width: channels of the tokens.
        heads: of attention.
        times: how many times `width` the MLP has between its layers.
    """

    def __init__(self, width: int, heads: int, times: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attend = MultiHead(width, heads)
        self.mlp = mlp(width, times)

    def forward(self, x: Float[Tensor, "b i n"]) -> Float[Tensor, "b i n"]:
        """The tokens, each in the light of all."""
        normed = self.norm(x)
        x = x + self.attend(normed, normed)
        after: Tensor = x + self.mlp(x)
        return after


class Bottleneck(nn.Module):
    """Class scores from modalities whose tokens attend to themselves and to a few tokens that all share.

    In each layer every modality i has a transformer of its own, over its tokens and the bottleneck's; what
    they make of the bottleneck is averaged::

        [x_i', s_i'] = Transformer_i([x_i, s])    (8)
        s'           = mean_i s_i'                (9)

    What one modality knows reaches another a layer later, so that one layer fuses nothing but scores. Each
    grid becomes tokens of one width, a learned vector added for each position. Instead of the paper's class
    tokens, a modality's tokens are averaged; as there, one classifier sees each modality, and its scores are
    averaged over them. The paper's layers before the first exchange are left to the encoders.

    Of a single modality it is a plain transformer, with some learned tokens behind the others. A modality
    that is absent is in no average.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        classes: number of activities.
        bottlenecks: how many tokens are shared (B).
        layers: how many layers (L).
        width: channels of the tokens.
        heads: of attention; they divide `width`.
        mlp: how many times `width` the MLP has between its layers.
        head: `mean`, a linear layer, or `hidden`, with a hidden layer before it; what comes to it has no
            positions, so that `flatten` is `mean`.
        normalise: a LayerNorm over channels on each grid as it enters.

    Raises:
        ShapeError: a size or `head` does not fit, a grid is not of its shape, or none is there.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        bottlenecks: int = 4,
        layers: int = 2,
        width: int = 64,
        heads: int = 4,
        mlp: int = 4,
        head: str = "mean",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        check_sizes("Bottleneck", width=width, bottlenecks=bottlenecks, layers=layers)
        self.entry = Entry(shapes, normalise, Reads(optional=set(shapes)))
        self.reads = self.entry.reads
        # Drawn first: from one seed every method's head starts alike, as comparisons need it.
        self.head = Head([(width,)], classes, head)
        self.tokens = Tokens(shapes, width)
        self.shared = nn.Parameter(SPREAD * torch.randn(bottlenecks, width))
        self.layers = nn.ModuleList(
            [nn.ModuleDict({name: Layer(width, heads, mlp) for name in shapes}) for _ in range(layers)]
        )

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality; any but one may be absent."""
        tokens = self.tokens(self.entry(grids))
        batch = next(iter(tokens.values())).shape[0]
        shared = self.shared.expand(batch, -1, -1)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            heard = []
            for name, x in tokens.items():
                joined = layer[name](torch.cat([x, shared], dim=1))
                tokens[name], own = torch.split(joined, [x.shape[1], shared.shape[1]], dim=1)
                heard.append(own)
            shared = torch.stack(heard).mean(dim=0)
        logits: Tensor = self.head([torch.stack([average(x) for x in tokens.values()]).mean(dim=0)])
        return logits
