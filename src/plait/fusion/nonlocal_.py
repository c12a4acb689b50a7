"""The heterogeneous non-local operation: one grid of features attends to another of any shape.

Source: Byvshev, Mettes, Xiao, Heterogeneous Non-Local Fusion for Multimodal Activity Recognition, ICMR 2020, eqs. 2-4.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ShapeError


class NonLocal(nn.Module):
    """`h(z(x, y))` of eqs. 2-4, without the residual of eq. 5.

    Every position i of the lead `x` gathers the context `y`, weighted by a softmax over the context's positions j::

        z_i = sum_j softmax_j(theta(x_i)^T phi(y_j)) g(y_j)

    Both grids are channels-last with any number of grid axes, none included; only the embedding's width must agree.
    As in the paper there is no 1/sqrt(K) scale, and all four maps have biases. `scale`, `zero_h`, `norm` and `pool`
    are the usual variations, off by default.

    **Cost.** `theta(x_i)^T phi(y_j)` and `h(sum_j a_ij g(y_j))` are chains of linear maps, so the inner product over
    channels and the sum over positions may be taken among the lead's channels, in the embedding (the textbook's
    order) or among the context's channels: the same function at a very different price. The cheapest is chosen from
    the shapes. The biases come along: rows of the softmax sum to one.

    Args:
        lead: channels of `x` (the paper's N).
        context: channels of `y` (M).
        embedding: channels in which the two are compared (K).
        pool: maximum over blocks of this many positions along every axis of the context, applied to `phi(y)` and
            `g(y)`; the last block may be smaller.
        scale: divide the logits by sqrt(K).
        zero_h: start with `h` at zero, so that the block starts as the identity.
        norm: a LayerNorm over channels after `h`.

    Raises:
        ShapeError: a width or `pool` below 1, or grids that are not of these widths or of different batch sizes.
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

    def logits(self, x: Float[Tensor, "b *grid n"], y: Float[Tensor, "b *context m"]) -> Float[Tensor, "b i j"]:
        """`theta(x_i)^T phi(y_j)`, biases and all: f of eq. 3 is its exponential. i and j run over flat positions."""
        self._check(x, y)
        queries = positions(x)
        if self.pool > 1:
            return self.scale * self._compare_pooled(queries, self._pooled(self.phi(y)))
        return self.scale * self._compare(queries, positions(y))

    def relation(self, x: Float[Tensor, "b *grid n"], y: Float[Tensor, "b *context m"]) -> Float[Tensor, "b i j"]:
        """`f(x_i, y_j) / C(x_i, y)` of eqs. 2-4: a softmax over j, so that every row sums to one."""
        return self.logits(x, y).softmax(dim=-1)

    def forward(self, x: Float[Tensor, "b *grid n"], y: Float[Tensor, "b *context m"]) -> Float[Tensor, "b *grid n"]:
        """`h(z(x, y))`, of the same shape as `x`."""
        return self.enforcing(self.relation(x, y), y).reshape(x.shape)

    def enforcing(self, relation: Float[Tensor, "b i j"], y: Float[Tensor, "b *context m"]) -> Float[Tensor, "b i n"]:
        """`h(z)` from a relation that is given: rows over the context's positions that sum to one."""
        gathered = self._gather(relation, y)
        return gathered if self.norm is None else self.norm(gathered)

    def pooled(self, x: Float[Tensor, "b *grid n"], y: Float[Tensor, "b *context m"]) -> Float[Tensor, "b n"]:
        """The mean of `forward` over the lead's positions, without making the lead's grid.

        `mean_i(h(sum_j a_ij g(y_j))) = h(sum_j mean_i(a_ij) g(y_j))`: the gathering is linear. With `norm` it is not,
        and the grid is made after all.
        """
        if self.norm is not None:
            return positions(self(x, y)).mean(dim=1)
        return self._gather(self.relation(x, y).mean(dim=1, keepdim=True), y).squeeze(1)

    def _compare(self, x: Tensor, y: Tensor) -> Tensor:
        """Inner products `theta(x_i)^T phi(y_j)` among whichever channels are cheapest."""
        (b, i, n), j, m, k = x.shape, y.shape[1], y.shape[2], self.theta.out_features
        theta, phi = self.theta, self.phi
        lead = _pair_cost(b * j, m, k, n) + b * i * j * n
        embedding = b * (i * n * k + j * m * k + i * j * k)
        context = _pair_cost(b * i, n, k, m) + b * i * j * m
        if embedding <= min(lead, context):
            return torch.bmm(theta(x), phi(y).mT)
        if lead <= context:
            keys = _pair(y, (phi.weight, phi.bias), (theta.weight.mT, None))
            offset = F.linear(y, (theta.bias @ phi.weight)[None], (theta.bias @ phi.bias)[None])  # phi(y_j) . bias
            return torch.baddbmm(offset.mT, x, keys.mT)
        queries = _pair(x, (theta.weight, theta.bias), (phi.weight.mT, None))
        offset = F.linear(x, (phi.bias @ theta.weight)[None], (phi.bias @ theta.bias)[None])  # theta(x_i) . bias
        return torch.baddbmm(offset, queries, y.mT)

    def _compare_pooled(self, x: Tensor, keys: Tensor) -> Tensor:
        """The same where `keys` are already `phi(y)`, pooled: no map can be pulled through a maximum."""
        (_, i, n), (_, j, k) = x.shape, keys.shape
        if i * n * k + i * j * k <= j * k * n + i * j * n:
            return torch.bmm(self.theta(x), keys.mT)
        offset = keys @ self.theta.bias
        return torch.baddbmm(offset[:, None], x, (keys @ self.theta.weight).mT)

    def _gather(self, relation: Tensor, y: Tensor) -> Tensor:
        """`h(sum_j a_ij g(y_j))`, summed among whichever channels are cheapest; rows of `relation` sum to one."""
        g, h = self.g, self.h
        (b, i, j), m, k, n = relation.shape, g.in_features, h.in_features, h.out_features
        if self.pool > 1:
            values = self._pooled(g(y))
            if i * k * (j + n) <= j * n * (k + i):
                return F.linear(relation @ values, h.weight, h.bias)
            return relation @ F.linear(values, h.weight, h.bias)
        y = positions(y)
        lead = _pair_cost(b * j, m, k, n) + b * i * j * n
        embedding = b * (j * m * k + i * j * k + i * k * n)
        context = b * i * j * m + _pair_cost(b * i, m, k, n)
        if embedding <= min(lead, context):
            return F.linear(relation @ g(y), h.weight, h.bias)
        if lead <= context:
            return relation @ _pair(y, (g.weight, g.bias), (h.weight, h.bias))
        return _pair(relation @ y, (g.weight, g.bias), (h.weight, h.bias))

    def _pooled(self, grid: Tensor) -> Tensor:
        """Maxima over blocks of `pool` along every grid axis, the last block perhaps smaller; positions flattened."""
        for axis in range(1, grid.ndim - 1):
            lines = grid.movedim(axis, -1)
            blocks = F.max_pool1d(lines.flatten(0, -2), self.pool, ceil_mode=True)
            grid = blocks.reshape(*lines.shape[:-1], -1).movedim(-1, axis)
        return positions(grid)

    def _check(self, x: Tensor, y: Tensor) -> None:
        for name, grid, width in (("lead", x, self.theta.in_features), ("context", y, self.phi.in_features)):
            if grid.ndim < 2 or grid.shape[-1] != width:
                raise ShapeError(f"NonLocal: {name} has shape {tuple(grid.shape)}, expected (batch, *grid, {width})")
        if x.shape[0] != y.shape[0]:
            raise ShapeError(f"NonLocal: lead has batch {x.shape[0]} and context {y.shape[0]}, expected the same")


def positions(grid: Float[Tensor, "b *grid n"]) -> Float[Tensor, "b i n"]:
    """The grid's axes flattened into one; a plain vector is one position."""
    return grid.reshape(grid.shape[0], math.prod(grid.shape[1:-1]), grid.shape[-1])


_Affine = tuple[Tensor, Tensor | None]


def _pair_cost(rows: int, start: int, middle: int, end: int) -> int:
    """Multiplications of two linear maps over `rows`: one after the other, or their product made first."""
    return min(rows * middle * (start + end), start * middle * end + rows * start * end)


def _pair(rows: Tensor, first: _Affine, second: _Affine) -> Tensor:
    """Two affine maps `(weight, bias)` in the cheaper order; the sum of costs is `_pair_cost`'s."""
    (inner, shift), (outer, last) = first, second
    count, (middle, start), end = math.prod(rows.shape[:-1]), inner.shape, outer.shape[0]
    if count * middle * (start + end) <= start * middle * end + count * start * end:
        return F.linear(F.linear(rows, inner, shift), outer, last)
    bias = last if shift is None else outer @ shift if last is None else outer @ shift + last
    return F.linear(rows, outer @ inner, bias)
