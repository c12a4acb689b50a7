"""What transformers are made of: tokens of one width, multi-head attention, a residual MLP.

Source: Vaswani et al., Attention Is All You Need, arXiv 1706.03762, section 3.2.2; with the normalisation
before each part, as Dosovitskiy et al., arXiv 2010.11929, eqs. 1 to 3.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ShapeError
from plait.fusion.contraction import positions
from plait.fusion.grids import Shape, check_sizes

SPREAD = 0.02  # standard deviation with which tokens that are learned begin


class Tokens(nn.Module):
    """Grids as tokens of one width: a linear map of every position, and a learned vector for each.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        width: channels of the tokens.
    """

    def __init__(self, shapes: Mapping[str, Shape], width: int) -> None:
        super().__init__()
        self.lift = nn.ModuleDict({name: nn.Linear(shape[-1], width) for name, shape in shapes.items()})
        self.place = nn.ParameterDict(
            {
                name: SPREAD * torch.randn(torch.Size(shape[:-1]).numel(), width)
                for name, shape in shapes.items()
            }
        )

    def forward(self, grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tokens `(b, positions, width)` of each grid that is there."""
        lifted = {name: layer(positions(grids[name])) for name, layer in self.lift.items() if name in grids}
        return {name: rows + self.place[name] for name, rows in lifted.items()}


class MultiHead(nn.Module):
    """Multi-head attention of tokens `x` to tokens `y`, scaled by one over the root of a head's channels.

    Args:
        width: channels of the tokens.
        heads: into how many parts queries, keys and values are divided.

    Raises:
        ShapeError: a size is below 1, or `heads` does not divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        check_sizes("attention", width=width, heads=heads)
        if width % heads:
            raise ShapeError(f"attention: width is {width}, expected a multiple of heads, {heads}")
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b i n"], y: Float[Tensor, "b j n"]) -> Float[Tensor, "b i n"]:
        """What each of `x` gathers from `y`."""
        layers = ((self.query, x), (self.key, y), (self.value, y))
        parts = [layer(rows).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer, rows in layers]
        gathered: Tensor = self.out(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        return gathered


def mlp(width: int, times: int) -> nn.Sequential:
    """The part behind attention: a LayerNorm, then two layers with a GELU and `times` the channels between.

    Raises:
        ShapeError: a size is below 1.
    """
    check_sizes("MLP", width=width, mlp=times)
    between = times * width
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, between), nn.GELU(), nn.Linear(between, width))
