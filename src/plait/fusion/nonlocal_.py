"""The heterogeneous non-local operation: one grid of features attends to another of any shape.

Source: Byvshev, Mettes, Xiao, Heterogeneous Non-Local Fusion for Multimodal Activity Recognition, ICMR 2020,
eqs. 2-4.
"""

import functools
import math
import operator
from collections.abc import Callable
from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ShapeError
from plait.fusion.contraction import (
    HALVES,
    average,
    blockwise,
    comparison,
    gathering,
    maxima,
    positions,
    sizes,
    softmax,
)

LeadGrid = Float[Tensor, "b *grid n"]
ContextGrid = Float[Tensor, "b *context m"]


class NonLocal(nn.Module):
    """`h(z(x, y))` of eqs. 2-4, without the residual of eq. 5.

    Every position i of the lead `x` gathers the context `y`, weighted by a softmax over its positions j::

        z_i = sum_j softmax_j(theta(x_i)^T phi(y_j)) g(y_j)

    Both grids are channels-last with any number of grid axes, none included. As in the paper there is no
    1/sqrt(K) scale, and all four maps have biases. `pool`, `scale`, `zero_h` and `norm` are the usual
    variations, off by default.

    `as_written` is these equations, line by line. Everything else is the same function in the order of
    products that costs least (`contraction`), and never holds more than `contraction.PAIRS` pairs (i, j):
    beyond, the lead's positions are taken block by block, and a block's relation is made once more for its
    gradient.

    Args:
        lead: channels of `x` (the paper's N).
        context: channels of `y` (M).
        embedding: channels in which the two are compared (K).
        pool: maximum of `phi(y)` and `g(y)` over blocks of this many positions along every axis of the
            context; the last block may be smaller.
        scale: divide the logits by sqrt(K).
        zero_h: start with `h` at zero, so that the block starts as the identity.
        norm: a LayerNorm over channels after `h`.
        uniform: `theta` and `phi` are zero and stay so: every position of the context weighs the same. It is
            the control for attention: what a relation adds is what this one lacks.

    Raises:
        ShapeError: a width or `pool` below 1, grids that are not of these widths, or different batch sizes.
    """

    def __init__(
        self,
        lead: int,
        context: int,
        embedding: int,
        pool: int = 1,
        *,
        scale: bool = False,
        zero_h: bool = False,
        norm: bool = False,
        uniform: bool = False,
    ) -> None:
        super().__init__()
        for name, size in (("lead", lead), ("context", context), ("embedding", embedding), ("pool", pool)):
            if size < 1:
                raise ShapeError(f"NonLocal: {name} is {size}, expected at least 1")
        self.theta = nn.Linear(lead, embedding)
        self.phi = nn.Linear(context, embedding)
        self.g = nn.Linear(context, embedding)
        self.h = nn.Linear(embedding, lead)
        self.norm = nn.LayerNorm(lead) if norm else None
        self.pool = pool
        self.scale = 1 / math.sqrt(embedding) if scale else 1.0
        if zero_h:
            nn.init.zeros_(self.h.weight)
            nn.init.zeros_(self.h.bias)
        if uniform:
            for layer in (self.theta, self.phi):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
                layer.requires_grad_(False)

    def as_written(self, x: LeadGrid, y: ContextGrid) -> LeadGrid:
        """`h(z(x, y))` as the paper writes it: what `forward` is measured by."""
        self._check(x, y)
        theta, phi, g = self.theta(positions(x)), maxima(self.phi(y), self.pool), maxima(self.g(y), self.pool)
        f = (theta @ phi.mT * self.scale).exp()  # eq. 3
        relation = f / f.sum(dim=-1, keepdim=True)  # f / C, eq. 4
        z = relation @ g  # eq. 2
        enforced: Tensor = self.h(z) if self.norm is None else self.norm(self.h(z))
        return enforced.reshape(x.shape)

    def logits(self, x: LeadGrid, y: ContextGrid) -> Float[Tensor, "b i j"]:
        """`theta(x_i)^T phi(y_j)`, biases and all, over flat positions: f of eq. 3 is its exponential."""
        self._check(x, y)
        return self._compare(x, y, whole=True)(positions(x))

    def relation(self, x: LeadGrid, y: ContextGrid) -> Float[Tensor, "b i j"]:
        """`f(x_i, y_j) / C(x_i, y)` of eqs. 2-4: a softmax over j, so that every row sums to one."""
        return softmax(self.logits(x, y))

    def forward(self, x: LeadGrid, y: ContextGrid) -> LeadGrid:
        """`h(z(x, y))`, of the same shape as `x`."""
        return self.onto(None, x, y)

    def onto(self, total: LeadGrid | None, x: LeadGrid, y: ContextGrid) -> LeadGrid:
        """`total + h(z(x, y))`, a term of eq. 6 added in the pass that makes it; no `total` is zero."""
        self._check(x, y)
        compare, gather = self._compare(x, y), self._gather(sizes(x)[0], y)

        def enforced(rows: Tensor, *onto: Tensor) -> Tensor:
            relation = softmax(compare(rows))
            if self.norm is None:
                return gather(relation, *onto)
            normed: Tensor = self.norm(gather(relation))
            return normed + onto[0] if onto else normed

        blocks = list(blockwise(enforced, y, x, *([] if total is None else [total]), pool=self.pool))
        return (torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0]).reshape(x.shape)

    def enforcing(self, relation: Float[Tensor, "b i j"], y: ContextGrid) -> Float[Tensor, "b i n"]:
        """`h(z)` from a relation that is given: rows over the context's positions that sum to one."""
        gathered = self._gather(relation.shape[1], y)(relation)
        return gathered if self.norm is None else self.norm(gathered)

    def pooled(self, x: LeadGrid, y: ContextGrid) -> Float[Tensor, "b n"]:
        """The mean of `forward` over the lead's positions, without making the lead's grid.

        `mean_i(h(sum_j a_ij g(y_j))) = h(sum_j mean_i(a_ij) g(y_j))`: the gathering is linear. With `norm` it
        is not, and the grid is made after all.
        """
        if self.norm is not None:
            return average(self(x, y))
        self._check(x, y)
        compare = self._compare(x, y)
        i = sizes(x)[0]
        sums = blockwise(lambda rows: softmax(compare(rows)).sum(dim=1, keepdim=True), y, x, pool=self.pool)
        share = functools.reduce(operator.add, sums) / i
        # With one row of each clip, making halves of the weights would take longer than the products.
        whole = self.pool > 1 or y.dtype in HALVES
        with nullcontext() if whole else torch.autocast(y.device.type, enabled=False):
            return self._gather(1, y)(share).squeeze(1)

    def _compare(self, x: Tensor, y: Tensor, whole: bool = False) -> Callable[[Tensor], Tensor]:
        return comparison(self.theta, self.phi, x, y, self.pool, self.scale, whole)

    def _gather(self, i: int, y: Tensor) -> Callable[..., Tensor]:
        return gathering(self.g, self.h, i, y, self.pool)

    def _check(self, x: Tensor, y: Tensor) -> None:
        for name, grid, width in (("lead", x, self.theta.in_features), ("context", y, self.phi.in_features)):
            if grid.ndim < 2 or grid.shape[-1] != width:
                raise ShapeError(
                    f"NonLocal: {name} has shape {tuple(grid.shape)}, expected (batch, *grid, {width})"
                )
        if x.shape[0] != y.shape[0]:
            raise ShapeError(
                f"NonLocal: lead has batch {x.shape[0]} and context {y.shape[0]}, expected the same"
            )
