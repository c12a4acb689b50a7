"""The heterogeneous non-local operation: one grid of features attends to another of any shape.

Source: Byvshev, Mettes, Xiao, Heterogeneous Non-Local Fusion for Multimodal Activity Recognition, ICMR 2020, eqs. 2-4.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from plait.errors import ShapeError

_HALVES = (torch.bfloat16, torch.float16)
PAIRS = 2**24  # pairs (i, j) that are held at once, 64 MB in float32, unless one row of each clip has more


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

    **Memory.** `forward` and `pooled` never hold more than `PAIRS` pairs (i, j): beyond, the lead's positions are taken
    block by block, and a block's relation is made once more for its gradient. `torch.func.vmap` (folds at once) takes
    no more than that of each network.

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
        return self._comparison(x, y, whole=True)(positions(x))

    def relation(self, x: Float[Tensor, "b *grid n"], y: Float[Tensor, "b *context m"]) -> Float[Tensor, "b i j"]:
        """`f(x_i, y_j) / C(x_i, y)` of eqs. 2-4: a softmax over j, so that every row sums to one."""
        return _softmax(self.logits(x, y))

    def forward(self, x: Float[Tensor, "b *grid n"], y: Float[Tensor, "b *context m"]) -> Float[Tensor, "b *grid n"]:
        """`h(z(x, y))`, of the same shape as `x`."""
        return self.onto(None, x, y)

    def onto(
        self, total: Float[Tensor, "b *grid n"] | None, x: Float[Tensor, "b *grid n"], y: Float[Tensor, "b *context m"]
    ) -> Float[Tensor, "b *grid n"]:
        """`total + h(z(x, y))`, a term of eq. 6 added in the pass that makes it; no `total` is zero."""
        self._check(x, y)
        compare, gather = self._comparison(x, y), self._gathering(_sizes(x)[0], y)

        def enforced(rows: Tensor, *onto: Tensor) -> Tensor:
            relation = _softmax(compare(rows))
            if self.norm is None:
                return gather(relation, *onto)
            normed: Tensor = self.norm(gather(relation))
            return normed + onto[0] if onto else normed

        blocks = list(self._blockwise(enforced, y, x, *([] if total is None else [total])))
        return (torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0]).reshape(x.shape)

    def enforcing(self, relation: Float[Tensor, "b i j"], y: Float[Tensor, "b *context m"]) -> Float[Tensor, "b i n"]:
        """`h(z)` from a relation that is given: rows over the context's positions that sum to one."""
        gathered = self._gathering(relation.shape[1], y)(relation)
        return gathered if self.norm is None else self.norm(gathered)

    def pooled(self, x: Float[Tensor, "b *grid n"], y: Float[Tensor, "b *context m"]) -> Float[Tensor, "b n"]:
        """The mean of `forward` over the lead's positions, without making the lead's grid.

        `mean_i(h(sum_j a_ij g(y_j))) = h(sum_j mean_i(a_ij) g(y_j))`: the gathering is linear. With `norm` it is not,
        and the grid is made after all.
        """
        if self.norm is not None:
            return average(self(x, y))
        self._check(x, y)
        compare = self._comparison(x, y)
        i = _sizes(x)[0]
        sums = self._blockwise(lambda rows: _softmax(compare(rows)).sum(dim=1, keepdim=True), y, x)
        share = functools.reduce(operator.add, sums) / i
        # With one row of each clip, making halves of the weights would take longer than the products.
        whole = self.pool > 1 or y.dtype in _HALVES
        with nullcontext() if whole else torch.autocast(y.device.type, enabled=False):
            return self._gathering(1, y)(share).squeeze(1)

    def _comparison(self, x: Tensor, y: Tensor, whole: bool = False) -> Callable[[Tensor], Tensor]:
        """From rows `(b, r, n)` of the lead to logits `(b, r, j)`, taken among whichever channels are cheapest.

        Unless they are wanted `whole`, what is constant along j may be missing: it cancels in the softmax.
        """
        (i, n), k = _sizes(x), self.theta.out_features
        theta, phi, scale = self.theta, self.phi, self.scale
        if self.pool > 1:  # no map can be pulled through a maximum: only the lead's side has a choice
            keys = self._pooled(phi(y))
            j = int(keys.shape[1])
            if i * n * k + i * j * k <= j * k * n + i * j * n:
                return lambda rows: _products(theta(rows), keys, scale=scale)
            moved, offset = keys @ theta.weight, (keys @ theta.bias)[:, None]
            return lambda rows: _products(rows, moved, offset, scale=scale)
        context, b, (j, m) = positions(y), _batch(y), _sizes(y)
        by_lead = _pair_cost(b * j, m, k, n) + b * i * j * n
        by_embedding = b * (i * n * k + j * m * k + i * j * k)
        by_context = _pair_cost(b * i, n, k, m) + b * i * j * m
        if by_embedding <= min(by_lead, by_context):
            keys = phi(context)
            return lambda rows: _products(theta(rows), keys, scale=scale)
        if by_lead <= by_context:
            keys = _pair(context, (phi.weight, phi.bias if whole else None), (theta.weight.mT, None))
            offset = F.linear(context, (theta.bias @ phi.weight)[None], (theta.bias @ phi.bias)[None])
            return lambda rows: _products(rows, keys, offset.mT, scale=scale)

        def compared(rows: Tensor) -> Tensor:
            queries = _pair(rows, (theta.weight, theta.bias), (phi.weight.mT, None))
            constant = phi.bias @ theta.bias
            offset = (
                F.linear(rows, (phi.bias @ theta.weight)[None], constant[None]) if whole else constant.view(1, 1, 1)
            )
            return _products(queries, context, offset, scale)

        return compared

    def _gathering(self, i: int, y: Tensor) -> Callable[..., Tensor]:
        """From rows `(b, r, j)` of a relation, which sum to one, to `h(sum_j a_ij g(y_j))`; `i` rows are to come.

        Rows `(b, r, n)` given besides are added.
        """
        g, h = self.g, self.h
        m, k, n = g.in_features, h.in_features, h.out_features
        if self.pool > 1:
            values = self._pooled(g(y))
            j = int(values.shape[1])
            if i * k * (j + n) <= j * n * (k + i):
                return lambda relation, *onto: _sum(F.linear(relation @ values, h.weight, h.bias), *onto)
            moved = F.linear(values, h.weight, h.bias)
            return lambda relation, *onto: _spread(relation, moved, *onto)
        context, b, (j, _) = positions(y), _batch(y), _sizes(y)
        by_lead = _pair_cost(b * j, m, k, n) + b * i * j * n
        by_embedding = b * (j * m * k + i * j * k + i * k * n)
        by_context = b * i * j * m + _pair_cost(b * i, m, k, n)
        if by_embedding <= min(by_lead, by_context):
            values = g(context)
            return lambda relation, *onto: _sum(F.linear(relation @ values, h.weight, h.bias), *onto)
        if by_lead <= by_context:
            moved = _pair(context, (g.weight, g.bias), (h.weight, h.bias))
            return lambda relation, *onto: _spread(relation, moved, *onto)
        return lambda relation, *onto: _sum(_pair(relation @ context, (g.weight, g.bias), (h.weight, h.bias)), *onto)

    def _blockwise(self, made: Callable[..., Tensor], y: Tensor, *grids: Tensor) -> Iterator[Tensor]:
        """What `made` makes of the rows of the lead and of grids like it, as many at once as keep to `PAIRS`.

        Where there are several blocks, each is made once more for its gradient.
        """
        rows = [positions(grid) for grid in grids]
        compared = math.prod(-(-size // self.pool) for size in y.shape[1:-1])
        size = max(PAIRS // max(_batch(y) * compared, 1), 1)
        for block in zip(*(torch.split(own, size, dim=1) for own in rows), strict=True):
            if block[0].shape[1] == rows[0].shape[1] or not torch.is_grad_enabled():
                yield made(*block)
            else:
                yield checkpoint(made, *block, use_reentrant=False, preserve_rng_state=False)

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


def _batch(grid: Tensor) -> int:
    """How many clips there are; 1 where that is left open, as when a network is exported or traced for any batch.

    Orders of products are chosen by it, and no choice changes what comes out.
    """
    size = grid.shape[0]
    return size if type(size) is int else 1


def _sizes(grid: Tensor) -> tuple[int, int]:
    """How many positions a grid has, and channels."""
    return math.prod(int(size) for size in grid.shape[1:-1]), int(grid.shape[-1])


def average(grid: Float[Tensor, "b *grid n"]) -> Float[Tensor, "b n"]:
    """The mean over a grid's positions; of halves, float32 under autocast, which casts what needs it."""
    rows = positions(grid)
    if rows.dtype not in _HALVES:
        return rows.mean(dim=1)
    if rows.dtype == torch.float16:  # which has no numbers for large sums
        return _given_back(rows.mean(dim=1, dtype=torch.float32), rows.dtype)
    sums = torch.bmm(rows.new_ones(1, 1, 1).expand(rows.shape[0], 1, rows.shape[1]), rows)  # faster than sum
    return _given_back(sums.squeeze(1).float() / rows.shape[1], rows.dtype)


def _products(one: Tensor, other: Tensor, offset: Tensor | None = None, scale: float = 1.0) -> Float[Tensor, "b i j"]:
    """Inner products of all rows of two `(b, rows, channels)`, with `offset` added, times `scale`.

    The fewer rows stand on the left: matrix libraries are slower the other way round.
    """
    if one.shape[1] > other.shape[1]:
        return _products(other, one, None if offset is None else offset.mT, scale).mT
    found = torch.bmm(one, other.mT) if offset is None else torch.baddbmm(offset, one, other.mT)
    return found if scale == 1 else found * scale


class Spread(torch.autograd.Function):
    """`total + relation @ values`; its gradients are taken with the fewer rows on the left, as `_products` does."""

    generate_vmap_rule = True

    @staticmethod
    def forward(relation: Tensor, values: Tensor, total: Tensor) -> Tensor:
        """The sum, `(b, i, n)`."""
        return torch.baddbmm(total, relation, values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep what the gradients need."""
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of all three."""
        relation, values = ctx.saved_tensors
        return _products(grown, values), torch.bmm(relation.mT, grown), grown


def _spread(relation: Tensor, values: Tensor, total: Tensor | None = None) -> Float[Tensor, "b i n"]:
    """`relation @ values`, added to `total`."""
    if total is None:
        return relation @ values
    device = total.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else total.dtype
    spread: Tensor = Spread.apply(relation.to(kind), values.to(kind), total.to(kind))
    return spread


def _sum(gathered: Tensor, total: Tensor | None = None) -> Tensor:
    return gathered if total is None else gathered + total


def _softmax(logits: Float[Tensor, "b i j"]) -> Float[Tensor, "b i j"]:
    """A softmax over j, in the order in which the logits lie in memory; halves as `average` has them."""
    kind = logits.dtype
    if kind in _HALVES:
        logits = logits.float()
    return _given_back(logits.softmax(-1) if logits.stride(-1) == 1 else logits.mT.softmax(-2).mT, kind)


def _given_back(made: Tensor, kind: torch.dtype) -> Tensor:
    """What was made in float32, as a network of halves takes it; autocast casts by itself."""
    return made if torch.is_autocast_enabled(made.device.type) else made.to(kind)


_Affine = tuple[Tensor, Tensor | None]


def _pair_cost(rows: int, start: int, middle: int, end: int) -> int:
    """Multiplications of two linear maps over `rows`: one after the other, or their product made first."""
    return min(rows * middle * (start + end), start * middle * end + rows * start * end)


def _pair(rows: Tensor, first: _Affine, second: _Affine) -> Tensor:
    """Two affine maps `(weight, bias)` in the cheaper order; the sum of costs is `_pair_cost`'s."""
    (inner, shift), (outer, last) = first, second
    count, (middle, start), end = _batch(rows) * math.prod(rows.shape[1:-1]), inner.shape, outer.shape[0]
    if count * middle * (start + end) <= start * middle * end + count * start * end:
        return F.linear(F.linear(rows, inner, shift), outer, last)
    bias = last if shift is None else outer @ shift if last is None else outer @ shift + last
    return F.linear(rows, outer @ inner, bias)
