"""The products of the non-local operation, in the order that costs least and in blocks that fit into memory.

`theta(x_i)^T phi(y_j)` and `h(sum_j a_ij g(y_j))` are chains of linear maps: the inner product over channels
and the sum over positions may be taken among the lead's channels, in the embedding (the textbook's order) or
among the context's channels. Which, `orders` says. Biases come along: rows of a softmax sum to one. Several
heads are several chains of fewer channels in the embedding.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from plait.fusion.heads import apart, by_head, joined, together
from plait.fusion.orders import Sizes, autocasts, compared, kind_of, order

HALVES = (torch.bfloat16, torch.float16)
PAIRS = 2**24  # pairs (i, j) that are held at once, 64 MB in float32, unless one row of each clip has more

_Affine = tuple[Tensor, Tensor | None]


class Affine(NamedTuple):
    """A linear map and what it adds: `weight (out, in)`, `bias (out,)`."""

    weight: Tensor
    bias: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """What it makes of `(..., in)`."""
        return F.linear(rows, self.weight, self.bias)

    def parts(self, heads: int) -> "list[Affine]":
        """The maps to every head's part of what comes out."""
        if heads == 1:
            return [self]
        return [Affine(*part) for part in zip(self.weight.chunk(heads), self.bias.chunk(heads), strict=True)]


def comparison(
    theta: Affine,
    phi: Affine,
    x: Tensor,
    y: Tensor,
    pool: int = 1,
    scale: float = 1.0,
    whole: bool = False,
    heads: int = 1,
) -> Callable[[Tensor], Tensor]:
    """Logits `theta(x_i)^T phi(y_j)`, `(b, r, j)`, of rows `(b, r, n)` of the lead, in the cheapest order.

    Args:
        theta: from the lead's channels to the embedding's.
        phi: from the context's channels to the embedding's.
        x: the lead `(b, *grid, n)`, for its size.
        y: the context `(b, *context, m)`.
        pool: of so many positions along every axis of the context, the largest of `phi(y)` is taken.
        scale: what logits are multiplied by.
        whole: with what is constant along j; a softmax cancels it, and without this it may be missing.
        heads: if several, each compares a part of the embedding, and logits are `(b, heads, r, j)`. Keys of
            all heads stand side by side where the products allow it.
    """
    maps = list(zip(theta.parts(heads), phi.parts(heads), strict=True))
    taken = order(sizes_of(*sizes(x), int(theta.weight.shape[0]), y, pool, heads), *kind_of(y))
    if pool > 1:  # no map can be pulled through a maximum: only the lead's side has a choice
        keys = maxima(phi(y), pool)
        if taken == "embedding":
            return lambda rows: _products_of_heads(theta(rows), keys, scale, heads)
        parts = [(one, part) for (one, _), part in zip(maps, keys.chunk(heads, -1), strict=True)]
        lead_keys = joined([part @ one.weight for one, part in parts], 1)
        offset = joined([(part @ one.bias)[:, None] for one, part in parts], 2)
        return lambda rows: apart(inner_products(rows, lead_keys, offset, scale=scale), heads)
    context = positions(y)
    if taken == "embedding":
        keys = phi(context)
        return lambda rows: _products_of_heads(theta(rows), keys, scale, heads)
    if taken == "lead":
        lead_keys = joined(
            [_pair(context, (p.weight, p.bias if whole else None), (t.weight.mT, None)) for t, p in maps], 1
        )
        offset = joined(
            [F.linear(context, (t.bias @ p.weight)[None], (t.bias @ p.bias)[None]).mT for t, p in maps], 2
        )
        return lambda rows: apart(inner_products(rows, lead_keys, offset, scale=scale), heads)

    return partial(_context_compared, maps, context, scale, whole, heads)


def gathering(
    g: Affine, h: Affine, i: int, y: Tensor, pool: int = 1, heads: int = 1
) -> Callable[..., Tensor]:
    """From rows `(b, r, j)` of a relation, which sum to one, to `h(sum_j a_ij g(y_j))`, `(b, r, n)`.

    Rows `(b, r, n)` that it is given besides are added.

    Args:
        g: from the context's channels to the embedding's.
        h: from the embedding's channels to the lead's.
        i: how many rows are to come.
        y: the context `(b, *context, m)`.
        pool: of so many positions along every axis of the context, the largest of `g(y)` is taken.
        heads: if several, each has its relation, `(b, heads, r, j)`, and gathers a part of the embedding.
    """
    k, n = int(g.weight.shape[0]), int(h.weight.shape[0])
    taken = order(sizes_of(i, n, k, y, pool, heads), *kind_of(y))
    # A row of each head's relation sums to one: what h adds comes along with one of them.
    weights = (h.weight,) if heads == 1 else h.weight.chunk(heads, dim=1)
    biases: list[Tensor | None] = [h.bias, *[None] * (heads - 1)]
    outer = list(zip(weights, biases, strict=True))
    if pool > 1:
        values = maxima(g(y), pool)
        if taken == "embedding":
            return lambda relation, *onto: _add(h(_gathered(relation, values, heads)), *onto)
        parts = zip(values.chunk(heads, -1), outer, strict=True)
        lead_values = joined([F.linear(part, *one) for part, one in parts], 1)
        return lambda relation, *onto: _spread(together(relation, heads), lead_values, *onto)
    context = positions(y)
    if taken == "embedding":
        values = g(context)
        return lambda relation, *onto: _add(h(_gathered(relation, values, heads)), *onto)
    maps = list(zip(g.parts(heads), outer, strict=True))
    if taken == "lead":
        lead_values = joined([_pair(context, *one) for one in maps], 1)
        return lambda relation, *onto: _spread(together(relation, heads), lead_values, *onto)
    return partial(_context_gathered, maps, context, heads)


def blockwise(
    made: Callable[..., Tensor], y: Tensor, *grids: Tensor, pool: int = 1, copies: int = 1, aside: int = 0
) -> Iterator[Tensor]:
    """What `made` makes of the lead, block by block; of several blocks, each is made again for its gradient.

    Args:
        made: from rows `(b, r, n)` of each of `grids` to what is made of them.
        y: the context, for its size: a block has as many rows as `PAIRS` allows, at least one.
        *grids: the lead and others of its positions.
        pool: as in `comparison`.
        copies: how many relations are held at once.
        aside: numbers that are held for each of the lead's positions besides.
    """
    rows = [positions(grid) for grid in grids]
    pairs = copies * clips_of(y) * compared(extents(y), pool)
    size = max(PAIRS // max(pairs + aside, 1), 1)
    for block in zip(*(torch.split(grid_rows, size, dim=1) for grid_rows in rows), strict=True):
        if block[0].shape[1] == rows[0].shape[1] or not torch.is_grad_enabled():
            yield made(*block)
        else:
            yield checkpoint(made, *block, use_reentrant=False, preserve_rng_state=False)


def maxima(grid: Tensor, pool: int) -> Tensor:
    """Maxima over blocks of `pool` along every grid axis, the last perhaps smaller; positions flattened."""
    for axis in range(1, grid.ndim - 1):
        lines = grid.movedim(axis, -1)
        blocks = F.max_pool1d(lines.flatten(0, -2), min(pool, lines.shape[-1]), ceil_mode=True)
        grid = blocks.reshape(*lines.shape[:-1], -1).movedim(-1, axis)
    return positions(grid)


def positions(grid: Float[Tensor, "b *grid n"]) -> Float[Tensor, "b i n"]:
    """The grid's axes flattened into one; a plain vector is one position."""
    return grid.reshape(grid.shape[0], math.prod(grid.shape[1:-1]), grid.shape[-1])


def clips_of(grid: Tensor) -> int:
    """How many clips there are, or 1 where a network is exported or traced for any number.

    Orders of products are chosen by it, and no choice changes what comes out.
    """
    size = grid.shape[0]
    return size if type(size) is int else 1


def sizes(grid: Tensor) -> tuple[int, int]:
    """How many positions a grid has, and channels."""
    return math.prod(extents(grid)), int(grid.shape[-1])


def extents(grid: Tensor) -> tuple[int, ...]:
    """How long each axis of a grid is, in plain numbers, where it is traced too."""
    return tuple(int(size) for size in grid.shape[1:-1])


def sizes_of(i: int, n: int, embedding: int, y: Tensor, pool: int = 1, heads: int = 1) -> Sizes:
    """What `orders` asks of a lead of `i` positions and `n` channels and the context `y`."""
    j = compared(extents(y), pool)
    return Sizes(clips_of(y), i, n, j, int(y.shape[-1]), embedding // heads, heads, pool > 1)


def average(grid: Float[Tensor, "b *grid n"]) -> Float[Tensor, "b n"]:
    """The mean over a grid's positions; of halves, float32 under autocast, which casts what needs it."""
    rows = positions(grid)
    if rows.dtype not in HALVES:
        return rows.mean(dim=1)
    if rows.dtype == torch.float16:  # which has no numbers for large sums
        return _cast_back(rows.mean(dim=1, dtype=torch.float32), rows.dtype)
    sums = torch.bmm(rows.new_ones(1, 1, 1).expand(rows.shape[0], 1, rows.shape[1]), rows)  # faster than sum
    return _cast_back(sums.squeeze(1).float() / rows.shape[1], rows.dtype)


def inner_products(
    left: Tensor,
    right: Tensor,
    offset: Tensor | None = None,
    scale: float = 1.0,
    as_they_are: bool = False,
) -> Float[Tensor, "b i j"]:
    """Inner products of all rows of two `(b, rows, channels)`, with `offset` added, times `scale`.

    The fewer rows stand on the left: matrix libraries are slower the other way round; unless they are to
    stand as they are.
    """
    if left.shape[1] > right.shape[1] and not as_they_are:
        return inner_products(right, left, None if offset is None else offset.mT, scale).mT
    products = torch.bmm(left, right.mT) if offset is None else torch.baddbmm(offset, left, right.mT)
    return products if scale == 1 else products * scale


class Spread(torch.autograd.Function):
    """`total + relation @ values`, whose gradients have fewer rows on the left, as in `inner_products`."""

    @staticmethod
    def forward(relation: Tensor, values: Tensor, total: Tensor) -> Tensor:
        """The sum, `(b, i, n)`."""
        return torch.baddbmm(total, relation, values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep what the gradients need."""
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of all three."""
        relation, values = ctx.saved_tensors
        return inner_products(gradient, values), torch.bmm(relation.mT, gradient), gradient


def _context_compared(
    maps: Sequence[tuple[Affine, Affine]],
    context: Tensor,
    scale: float,
    whole: bool,
    heads: int,
    rows: Tensor,
) -> Tensor:
    """Logits of rows of the lead, taken through both maps into the context's channels."""
    queries = joined([_pair(rows, t, (p.weight.mT, None)) for t, p in maps], 1)
    constants = [p.bias @ t.bias for t, p in maps]
    if whole:
        offsets = [
            F.linear(rows, (p.bias @ t.weight)[None], constant[None])
            for (t, p), constant in zip(maps, constants, strict=True)
        ]
    else:
        offsets = [constant.view(1, 1, 1) for constant in constants]
    if heads > 1:
        offsets = [offset.expand(-1, rows.shape[1], -1) for offset in offsets]
    products = inner_products(queries, context, joined(offsets, 1), scale)
    return products if heads == 1 else torch.unflatten(products, 1, (heads, -1))


def _context_gathered(
    maps: Sequence[tuple[Affine, _Affine]], context: Tensor, heads: int, relation: Tensor, *onto: Tensor
) -> Tensor:
    """What rows of a relation gather of the context as it is, taken through both maps afterwards."""
    gathered = (relation if heads == 1 else relation.flatten(1, 2)) @ context
    for rows, one in zip(gathered.chunk(heads, dim=1), maps, strict=True):
        onto = (_add(_pair(rows, *one), *onto),)
    return onto[0]


def _spread(relation: Tensor, values: Tensor, total: Tensor | None = None) -> Float[Tensor, "b i n"]:
    """`relation @ values`, added to `total`."""
    if total is None:
        return relation @ values
    _, dtype = kind_of(total)
    spread: Tensor = Spread.apply(relation.to(dtype), values.to(dtype), total.to(dtype))
    return spread


def _add(gathered: Tensor, total: Tensor | None = None) -> Tensor:
    return gathered if total is None else gathered + total


def _products_of_heads(queries: Tensor, keys: Tensor, scale: float, heads: int) -> Tensor:
    """`inner_products` in the embedding, `(b, heads, i, j)` of several; on a card as a textbook has them."""
    card = queries.device.type != "cpu"
    if heads == 1:
        return inner_products(queries, keys, scale=scale, as_they_are=card)
    products = inner_products(by_head(queries, heads), by_head(keys, heads), scale=scale, as_they_are=card)
    return torch.unflatten(products, 0, (-1, heads))


def _gathered(relation: Tensor, values: Tensor, heads: int) -> Float[Tensor, "b i k"]:
    """`relation @ values` in the embedding, every head's part by its own relation."""
    if heads == 1:
        return relation @ values
    gathered = relation.flatten(0, 1) @ by_head(values, heads)
    return torch.unflatten(gathered, 0, (-1, heads)).transpose(1, 2).flatten(2)


def softmax(logits: Float[Tensor, "b *h i j"]) -> Float[Tensor, "b *h i j"]:
    """A softmax over j, in the order in which the logits lie in memory; halves as `average` has them."""
    dtype = logits.dtype
    if dtype in HALVES:
        logits = logits.float()
    if logits.stride(-1) != 1:
        made = logits.mT.softmax(-2).mT
    elif logits.ndim == 4 and logits.stride(1) < logits.stride(2):
        made = logits.transpose(1, 2).softmax(-1).transpose(1, 2)
    else:
        made = logits.softmax(-1)
    return _cast_back(made, dtype)


def _cast_back(result: Tensor, dtype: torch.dtype) -> Tensor:
    """What was computed in float32, as a network of halves takes it; autocast casts by itself."""
    return result if autocasts(result.device.type) else result.to(dtype)


def _pair(rows: Tensor, first: _Affine, second: _Affine) -> Tensor:
    """Two affine maps `(weight, bias)` in the cheaper order; the sum of costs is `orders.pair_cost`'s."""
    (inner, shift), (outer, last) = first, second
    count, (middle, start), end = clips_of(rows) * math.prod(rows.shape[1:-1]), inner.shape, outer.shape[0]
    if count * middle * (start + end) <= start * middle * end + count * start * end:
        return F.linear(F.linear(rows, inner, shift), outer, last)
    bias = last
    if shift is not None:
        bias = outer @ shift if last is None else outer @ shift + last
    return F.linear(rows, outer @ inner, bias)
