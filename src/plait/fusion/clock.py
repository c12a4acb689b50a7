"""When two positions are, relative to each other: a learned term of the logits.

A scalar for each head and relative position is added to the logits, as in T5 (Raffel et al., JMLR 2020,
section 2.1) and Swin (Liu et al., ICCV 2021, eq. 4). There positions are counted. Steps of two sensors differ
in length, so here the difference is one of time, and the scalar is read off a table, between its entries by
linear interpolation.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.fusion.contraction import HALVES, sizes

KNOTS = 17  # entries of a table: the window's length in eight parts, to either side


class RelativeTime(nn.Module):
    """What is added to the logits of lead position i and context position j, by their difference of times.

    A grid's first axis is time, over the same window for all: of T steps, step t stands at (t + 1/2) / T.
    Under `pool` a context's position is a block of steps and stands in their middle. Tables start at zero.

    Args:
        heads: how many heads there are; each has a table.
        pool: as in `NonLocal`.
    """

    def __init__(self, heads: int, pool: int = 1) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(heads, KNOTS))
        self.pool = pool

    def of_lead(self, x: Float[Tensor, "b *grid n"]) -> Float[Tensor, "1 i 1"]:
        """The time of every position of the lead, 0 to 1."""
        steps = int(x.shape[1])
        return self._centres(steps, x.device).repeat_interleave(sizes(x)[0] // steps).view(1, -1, 1)

    def forward(
        self, times: Float[Tensor, "1 r 1"], y: Float[Tensor, "b *context m"], alike: int = 1
    ) -> Float[Tensor, "h r j"]:
        """The term for positions of the lead at these times, `alike` in a row at each, and the context's."""
        steps = int(y.shape[1])
        there = self._centres(steps, y.device)
        starts = range(0, steps, self.pool)
        if self.pool > 1:
            there = torch.stack([there[start : start + self.pool].mean() for start in starts])
        place = (times.view(-1, 1)[::alike] - there + 1) * ((KNOTS - 1) / 2)
        knots = torch.arange(KNOTS, device=y.device, dtype=place.dtype)
        hats = (1 - (place[..., None] - knots).abs()).clamp(min=0)  # two neighbours, which sum to one
        with torch.autocast(y.device.type, enabled=False):
            term = (hats @ self.table.to(hats.dtype).mT).movedim(-1, 0)
        places = 1
        for size in y.shape[2:-1]:
            places *= -(-int(size) // self.pool)
        pairs = term[:, :, None, :, None].expand(-1, -1, alike, -1, places)
        return pairs.flatten(3).flatten(1, 2)

    def held(self, y: Tensor) -> int:
        """How many numbers `forward` holds for each of the lead's positions."""
        return KNOTS * int(y.shape[1]) + len(self.table) * sizes(y)[0]

    def _centres(self, steps: int, device: torch.device) -> Tensor:
        dtype = torch.float32 if self.table.dtype in HALVES else self.table.dtype
        return (torch.arange(steps, device=device, dtype=dtype) + 0.5) / steps
