"""The heterogeneous non-local operation: one grid of features attends to another of any shape.

Source: Byvshev, Mettes, Xiao, Heterogeneous Non-Local Fusion for Multimodal Activity Recognition, ICMR 2020,
eqs. 2-4.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ShapeError
from plait.fusion.clock import RelativeTime
from plait.fusion.contraction import (
    HALVES,
    Affine,
    average,
    blockwise,
    comparison,
    gathering,
    maxima,
    positions,
    sizes,
    sizes_of,
    softmax,
)
from plait.fusion.heads import ALIGNED, attended
from plait.fusion.orders import autocasts, fuses, kind_of
from plait.fusion.pooled import pooled, takes

LeadGrid = Float[Tensor, "b *grid n"]
ContextGrid = Float[Tensor, "b *context m"]
Rows = Callable[..., Tensor]  # of rows of a lead or of a relation, and what belongs to them


class NonLocal(nn.Module):
    """`h(z(x, y))` of eqs. 2-4, without the residual of eq. 5.

    Every position i of the lead `x` gathers the context `y`, weighted by a softmax over its positions j::

        z_i = sum_j softmax_j(theta(x_i)^T phi(y_j)) g(y_j)

    Both grids are channels-last with any number of grid axes, none included. As in the paper there is no
    1/sqrt(K) scale, and all four maps have biases. `pool`, `scale`, `zero_h`, `norm`, `heads` and `clock` are
    the usual variations, off by default.

    `as_written` is these equations, line by line. Everything else is the same function in the order of
    products that costs least (`orders`), and never holds more than `contraction.PAIRS` pairs (i, j): a large
    relation goes through torch's fused attention, which does not hold it. Where that has no kernel, or a
    clock stands in the logits, the lead's positions are taken block by block, and a block's relation is made
    once more for its gradient.

    Args:
        lead: channels of `x` (the paper's N).
        context: channels of `y` (M).
        embedding: channels in which the two are compared (K).
        pool: maximum of `phi(y)` and `g(y)` over blocks of this many positions along every axis of the
            context; the last block may be smaller.
        scale: divide the logits by sqrt(K), of several heads by that of a head's K.
        zero_h: start with `h` at zero, so that the block starts as the identity.
        norm: a LayerNorm over channels after `h`.
        uniform: `theta` and `phi` are zero and stay so: every position of the context weighs the same. It is
            the control for attention: what a relation adds is what this one lacks. Where `h(z)` is wanted
            it is then `h(g(y))` of the context's mean, and no relation is made. With `clock` it still learns
            what depends on time alone.
        heads: so many relations, each of its own part of the K channels, gather that part of `g(y)` (Vaswani
            et al., NeurIPS 2017, section 3.2.2); `h` makes one of them again.
        clock: a learned term of the logits by how much later a lead's position is than a context's
            (`RelativeTime`), zero at the start; both grids' first axis is then time over the same window.

    Raises:
        ShapeError: a width, `pool` or `heads` below 1, an embedding that is no multiple of `heads`, `zero_h`
            neither true nor false, grids that are not of these widths or lack a clock, or different batch
            sizes.

    Examples:
        >>> video, gloves = torch.randn(2, 5, 3, 3, 16), torch.randn(2, 7, 6)
        >>> block = NonLocal(lead=16, context=6, embedding=8)
        >>> (video + block(video, gloves)).shape
        torch.Size([2, 5, 3, 3, 16])
        >>> block.relation(video, gloves).shape
        torch.Size([2, 45, 7])
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
        heads: int = 1,
        clock: bool = False,
    ) -> None:
        super().__init__()
        widths = {"lead": lead, "context": context, "embedding": embedding, "pool": pool, "heads": heads}
        for name, size in widths.items():
            if size < 1:
                raise ShapeError(f"NonLocal: {name} is {size}, expected at least 1")
        if embedding % heads:
            raise ShapeError(f"NonLocal: embedding is {embedding}, expected a multiple of heads, {heads}")
        if not isinstance(zero_h, bool):  # a word of a study file is no setting of a module
            raise ShapeError(f"NonLocal: zero_h is {zero_h!r}, expected true or false")
        self.theta = nn.Linear(lead, embedding)
        self.phi = nn.Linear(context, embedding)
        self.g = nn.Linear(context, embedding)
        self.h = nn.Linear(embedding, lead)
        self.norm = nn.LayerNorm(lead) if norm else None
        self.pool = pool
        self.heads = heads
        self.alike = uniform and not clock  # the relation is 1/j whatever the grids hold
        self.scale = 1 / math.sqrt(embedding // heads) if scale else 1.0
        self.clock = RelativeTime(heads, pool) if clock else None
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
        z = []
        for head, (query, key, value) in enumerate(
            zip(*(grid.chunk(self.heads, dim=-1) for grid in (theta, phi, g)), strict=True)
        ):
            logits = query @ key.mT * self.scale
            if self.clock is not None:
                logits = logits + self.clock(self.clock.of_lead(x), y)[head]
            f = logits.exp()  # eq. 3
            relation = f / f.sum(dim=-1, keepdim=True)  # f / C, eq. 4
            z.append(relation @ value)  # eq. 2
        enforced: Tensor = self.h(torch.cat(z, dim=-1))
        return (enforced if self.norm is None else self.norm(enforced)).reshape(x.shape)

    def logits_of_heads(self, x: LeadGrid, y: ContextGrid) -> Float[Tensor, "b h i j"]:
        """`theta(x_i)^T phi(y_j)` of every head, biases and all, over flat positions."""
        self._check(x, y)
        logits = self._compare(x, y, whole=True)(positions(x), *self._times(x))
        return logits[:, None] if self.heads == 1 else logits

    def logits(self, x: LeadGrid, y: ContextGrid) -> Float[Tensor, "b i j"]:
        """`theta(x_i)^T phi(y_j)`, biases and all, over flat positions: f of eq. 3 is its exponential.

        Of several heads, what the mean of their f is the exponential of, when each head's largest in a clip
        is 1: a head that says everything louder is no more important for it.
        """
        logits = self.logits_of_heads(x, y)
        if self.heads == 1:
            return logits.squeeze(1)
        return (logits - logits.amax((2, 3), keepdim=True)).logsumexp(1) - math.log(self.heads)

    def relation(self, x: LeadGrid, y: ContextGrid) -> Float[Tensor, "b i j"]:
        """`f(x_i, y_j) / C(x_i, y)` of eqs. 2-4: a softmax over j, so that every row sums to one.

        Of several heads, their mean.
        """
        return softmax(self.logits_of_heads(x, y)).mean(1)

    def forward(self, x: LeadGrid, y: ContextGrid) -> LeadGrid:
        """`h(z(x, y))`, of the same shape as `x`."""
        return self.onto(None, x, y)

    def onto(self, total: LeadGrid | None, x: LeadGrid, y: ContextGrid) -> LeadGrid:
        """`total + h(z(x, y))`, a term of eq. 6 added in the pass that makes it; no `total` is zero."""
        self._check(x, y)
        if self.alike:
            row = torch.unflatten(self._of_mean(y, None), 0, (-1, *[1] * (x.ndim - 2)))
            return row.expand_as(x) if total is None else total + row
        if self._fuses(x, y):
            made: Tensor = self.h(self._fused(x, y))
            made = (made if self.norm is None else self.norm(made)).reshape(x.shape)
            return made if total is None else made + total
        compare, gather = self._compare(x, y), self._gather(sizes(x)[0], y)
        times = self._times(x)
        enforced = partial(self._enforced, compare, gather, len(times))
        blocks = list(self._blockwise(enforced, y, x, *times, *([] if total is None else [total])))
        return (torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0]).reshape(x.shape)

    def _enforced(self, compare: Rows, gather: Rows, of_times: int, rows: Tensor, *more: Tensor) -> Tensor:
        """Rows of `onto` from the lead's; `more` are their times, as many as there are, and their total."""
        onto = more[of_times:]
        relation = softmax(compare(rows, *more[:of_times]))
        if self.norm is None:
            return gather(relation, *onto)
        normed: Tensor = self.norm(gather(relation))
        return normed + onto[0] if onto else normed

    def enforcing(self, relation: Float[Tensor, "b *h i j"], y: ContextGrid) -> Float[Tensor, "b i n"]:
        """`h(z)` from a relation that is given: rows over the context's positions that sum to one.

        Of several heads it is one each, `(b, h, i, j)`, or one for all.
        """
        if relation.ndim == 4 and self.heads == 1:
            relation = relation.squeeze(1)
        elif relation.ndim == 3 and self.heads > 1:
            relation = relation[:, None].expand(-1, self.heads, -1, -1)
        gathered = self._gather(relation.shape[-2], y)(relation)
        return gathered if self.norm is None else self.norm(gathered)

    def pooled(
        self, x: LeadGrid, y: ContextGrid, mean: Float[Tensor, "b m"] | None = None
    ) -> Float[Tensor, "b n"]:
        """The mean of `forward` over the lead's positions, without making the lead's grid.

        `mean_i(h(sum_j a_ij g(y_j))) = h(sum_j mean_i(a_ij) g(y_j))`: the gathering is linear. With `norm` it
        is not, and the grid is made after all. A `uniform` block takes the `mean` of the context where it is
        known.
        """
        if self.norm is not None and not self.alike:
            return average(self(x, y))
        self._check(x, y)
        if not self.alike and self.pool == 1 and self.heads == 1 and self.clock is None:
            theta, phi, g, h = (Affine(m.weight, m.bias) for m in (self.theta, self.phi, self.g, self.h))
            taken = takes(theta, h, x, y)
            if taken is not None:
                return pooled(theta, phi, g, h, x, y, self.scale, taken)
        # With one row of each clip, making halves of the weights would take longer than the products.
        whole = self.pool > 1 or y.dtype in HALVES or not autocasts(y.device.type)
        last = nullcontext() if whole else torch.autocast(y.device.type, enabled=False)
        if self.alike:
            with last:
                return self._of_mean(y, mean)
        if self._fuses(x, y):
            gathered = average(self._fused(x, y))
            with last:
                enforced: Tensor = self.h(gathered)
            return enforced
        sums = self._blockwise(partial(_summed, self._compare(x, y)), y, x, *self._times(x))
        share = functools.reduce(operator.add, sums) / sizes(x)[0]
        with last:
            return self._gather(1, y)(share).squeeze(1)

    def _of_mean(self, y: Tensor, mean: Tensor | None) -> Float[Tensor, "b n"]:
        """What every position of the lead gets where all of the context weigh alike."""
        if self.pool > 1:
            gathered = average(maxima(self.g(y), self.pool))
        else:
            gathered = self.g(average(y) if mean is None else mean)
        enforced: Tensor = self.h(gathered)
        return enforced if self.norm is None else self.norm(enforced)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        """Refuse a relation that is not uniform, which would not be made."""
        super()._load_from_state_dict(state, prefix, *others)
        given = (f"{prefix}{layer}.{kind}" for layer in ("theta", "phi") for kind in ("weight", "bias"))
        if self.alike and any(name in state and bool(state[name].any()) for name in given):
            others[-1].append(f"{prefix or 'NonLocal'}: theta and phi of a uniform relation are not zero")

    def _fuses(self, x: Tensor, y: Tensor) -> bool:
        """Whether torch's fused attention takes the place of the relation; it knows no clock."""
        if self.clock is not None:
            return False
        given = sizes_of(*sizes(x), int(self.theta.out_features), y, self.pool, self.heads)
        return fuses(given, *kind_of(y))

    def _fused(self, x: Tensor, y: Tensor) -> Float[Tensor, "b i k"]:
        """`z` of eq. 2, by torch's fused attention."""
        keys, values = self.phi(y), self.g(y)
        flat = partial(maxima, pool=self.pool) if self.pool > 1 else positions
        aligned = 1 if y.device.type == "cpu" else ALIGNED
        return attended(self.theta(positions(x)), flat(keys), flat(values), self.scale, self.heads, aligned)

    def _times(self, x: Tensor) -> list[Tensor]:
        """When the lead's positions are, if that counts."""
        return [] if self.clock is None else [self.clock.of_lead(x)]

    def _compare(self, x: Tensor, y: Tensor, whole: bool = False) -> Rows:
        """From rows of the lead, and their times if these count, to logits."""
        theta, phi = Affine(self.theta.weight, self.theta.bias), Affine(self.phi.weight, self.phi.bias)
        products = comparison(theta, phi, x, y, self.pool, self.scale, whole, self.heads)
        return products if self.clock is None else partial(self._timed, self.clock, products, x, y)

    def _timed(
        self, clock: RelativeTime, products: Rows, x: Tensor, y: Tensor, rows: Tensor, times: Tensor
    ) -> Tensor:
        """Logits of rows of the lead with the clock's term."""
        logits, count = products(rows), sizes(x)[0]
        alike = count // int(x.shape[1]) if rows.shape[1] == count else 1  # of some rows, nothing is known
        term: Tensor = clock(times, y, alike).to(logits.dtype)
        return logits + (term if self.heads > 1 else term.squeeze(0))

    def _gather(self, i: int, y: Tensor) -> Rows:
        g, h = Affine(self.g.weight, self.g.bias), Affine(self.h.weight, self.h.bias)
        return gathering(g, h, i, y, self.pool, self.heads)

    def _blockwise(self, made: Rows, y: Tensor, *grids: Tensor) -> Iterator[Tensor]:
        aside = 0 if self.clock is None else self.clock.held(y)
        return blockwise(made, y, *grids, pool=self.pool, copies=self.heads, aside=aside)

    def _check(self, x: Tensor, y: Tensor) -> None:
        for name, grid, width in (("lead", x, self.theta.in_features), ("context", y, self.phi.in_features)):
            if grid.ndim < 2 or grid.shape[-1] != width:
                raise ShapeError(
                    f"NonLocal: {name} has shape {tuple(grid.shape)}, expected (batch, *grid, {width})"
                )
            if self.clock is not None and grid.ndim < 3:
                raise ShapeError(
                    f"NonLocal: {name} has shape {tuple(grid.shape)}: no time axis for the clock"
                )
        if x.shape[0] != y.shape[0]:
            raise ShapeError(
                f"NonLocal: lead has batch {x.shape[0]} and context {y.shape[0]}, expected the same"
            )


def _summed(compare: Rows, rows: Tensor, *times: Tensor) -> Tensor:
    """The sum of rows of the relation, `(b, 1, j)`."""
    return softmax(compare(rows, *times)).sum(dim=-2, keepdim=True)
