"""The mean of the non-local operation over the lead's positions as one step of autograd.

On small grids half of a training step goes into what surrounds products: views, copies and autograd's nodes.
`Pooled` is `NonLocal.pooled` of one head with its gradients written out by hand, in the cheapest order of
products; `takes` says where it is taken. Elsewhere `contraction` makes the same.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from plait.fusion import contraction, orders
from plait.fusion.contraction import (
    Affine,
    comparison,
    gathering,
    inner_products,
    positions,
    sizes,
    sizes_of,
    softmax,
)
from plait.fusion.orders import Order, autocasts, costs

KINDS = (torch.float32, torch.float64)


def pooled(
    theta: Affine, phi: Affine, g: Affine, h: Affine, x: Tensor, y: Tensor, scale: float, taken: Order
) -> Float[Tensor, "b n"]:
    """`mean_i(h(sum_j softmax_j(scale theta(x_i)^T phi(y_j)) g(y_j)))`.

    Args:
        theta: from the lead's channels to the embedding's.
        phi: from the context's channels to the embedding's.
        g: from the context's channels to the embedding's.
        h: from the embedding's channels to the lead's.
        x: the lead `(b, *grid, n)`.
        y: the context `(b, *context, m)`.
        scale: what logits are multiplied by.
        taken: the order of products of logits, as `takes` says.
    """
    made: Tensor = Pooled.apply(positions(x), positions(y), *theta, *phi, *g, *h, scale, taken)
    return made


def takes(theta: Affine, h: Affine, x: Tensor, y: Tensor) -> Order | None:
    """The order of products in which `pooled` makes the logits, or None where it is not to be used.

    It is used where gradients are wanted, on a processor, of numbers that are no halves; not where a graph of
    operations is recorded, nor where the relation is so large that it is taken in blocks or never held. The
    order is the cheapest as in `orders.costs`, but of `theta` and `phi` the product is always made first:
    their gradients come of it, too.
    """
    if not torch.is_grad_enabled() or not (x.is_cpu and y.is_cpu) or autocasts("cpu") or recorded(x):
        return None
    if x.dtype not in KINDS or y.dtype != x.dtype or theta.weight.dtype != x.dtype:
        return None
    if not any(one.requires_grad for one in (h.weight, h.bias, theta.weight, x, y)):
        return None
    given = sizes_of(*sizes(x), int(theta.weight.shape[0]), y)
    if not 0 < given.pairs <= min(contraction.PAIRS, orders.LARGE):
        return None
    merged = given.n * given.m * given.k
    spent = costs(given)
    spent |= {
        "lead": merged + given.clips * given.j * given.n * (given.m + given.i),
        "context": merged + given.clips * given.i * given.m * (given.n + given.j),
    }
    return min(spent, key=lambda taken: spent[taken])


def recorded(x: Tensor) -> bool:
    """Whether operations are recorded or transformed, by an export, a compiler, a trace or `torch.func`."""
    traced = type(x.shape[0]) is not int or torch.compiler.is_compiling()
    return traced or torch._C._are_functorch_transforms_active()


class Pooled(torch.autograd.Function):
    """`pooled` of flat positions.

    Logits are products of queries `(b, i, c)` and keys `(b, j, c)`, in the embedding or among the lead's or
    the context's channels; what is constant along j, `phi`'s bias with it, cancels in the softmax. The
    relation lies with its longer side last, along which a processor computes several numbers at once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        y: Tensor,
        theta: Tensor,
        theta_bias: Tensor,
        phi: Tensor,
        phi_bias: Tensor,
        g: Tensor,
        g_bias: Tensor,
        h: Tensor,
        h_bias: Tensor,
        scale: float,
        taken: Order,
    ) -> Tensor:
        """The mean, `(b, n)`; all that its gradients need is kept."""
        (b, i, n), (_, j, m) = x.shape, y.shape
        merged = offset = None
        if taken == "embedding":
            queries = torch.addmm(theta_bias, _flat(x), theta.t()).view(b, i, -1)
            keys = torch.mm(_flat(y), phi.t()).view(b, j, -1)
        else:
            merged, shift = torch.mm(theta.t(), phi), torch.mv(phi.t(), theta_bias)
            if taken == "context":
                queries, keys = torch.addmm(shift, _flat(x), merged).view(b, i, m), y
            else:
                queries, keys = x, torch.mm(_flat(y), merged.t()).view(b, j, n)
                offset = torch.mv(_flat(y), shift).view(b, j)
        if j <= i:
            offset = None if offset is None else offset.unsqueeze(2)
            relation = inner_products(keys, queries, offset, scale, as_they_are=True).softmax(1)
            share = relation.mean(2)
        else:
            offset = None if offset is None else offset.unsqueeze(1)
            relation = inner_products(queries, keys, offset, scale, as_they_are=True).softmax(2)
            share = relation.mean(1)
        gathered = torch.bmm(share.unsqueeze(1), y).squeeze(1)
        embedded = torch.addmm(g_bias, gathered, g.t())
        ctx.scale, ctx.taken = scale, taken
        given = x, y, theta, theta_bias, phi, phi_bias, g, g_bias, h, h_bias
        ctx.save_for_backward(*given, merged, queries, keys, relation, share, gathered, embedded)
        return torch.addmm(h_bias, embedded, h.t())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of all tensors that want one; `phi`'s bias has zero."""
        saved = ctx.saved_tensors  # asked for once: checkpoints make them again, and allow no more
        given, kept = saved[:10], saved[10:]
        if torch.is_grad_enabled():
            return *_differentiable(given, gradient, ctx.needs_input_grad[:10], ctx.scale), None, None
        x, y, theta, theta_bias, phi, _, g, _, h, _ = given
        merged, queries, keys, relation, share, gathered, embedded = kept
        dy: Tensor | None = None
        wanted, i = ctx.needs_input_grad, x.shape[1]
        dx = d_theta = d_theta_bias = d_phi = d_g = d_g_bias = d_h = d_h_bias = None
        if any(wanted[8:10]):
            d_h, d_h_bias = torch.mm(gradient.t(), embedded), gradient.sum(0)
        if any(wanted[:8]):
            d_embedded = torch.mm(gradient, h)
        if any(wanted[6:8]):
            d_g, d_g_bias = torch.mm(d_embedded.t(), gathered), d_embedded.sum(0)
        if any(wanted[:5]):
            d_gathered = torch.mm(d_embedded, g)
            # The mean gives every row of the relation the same gradient.
            d_share = torch.bmm(d_gathered.unsqueeze(1), y.mT).mul_(ctx.scale / i)
            by_key, by_query = _softmax_backward(d_share, relation, i)
            dy = torch.bmm(share.unsqueeze(2), d_gathered.unsqueeze(1)) if wanted[1] else None
            if ctx.taken == "embedding":
                d_queries, d_keys = torch.bmm(by_query, keys), torch.bmm(by_key, queries)
                d_theta, d_theta_bias = torch.mm(_flat(d_queries).t(), _flat(x)), _flat(d_queries).sum(0)
                d_phi = torch.mm(_flat(d_keys).t(), _flat(y))
                dx = d_queries @ theta if wanted[0] else None
                if dy is not None:
                    dy.add_(d_keys @ phi)
            elif ctx.taken == "context":
                d_queries = torch.bmm(by_query, y)
                d_merged, d_shift = torch.mm(_flat(x).t(), _flat(d_queries)), _flat(d_queries).sum(0)
                dx = d_queries @ merged.t() if wanted[0] else None
                if dy is not None:
                    dy.baddbmm_(by_key, queries)
            else:
                d_keys, d_offset = torch.bmm(by_key, x), by_key.sum(2)
                d_merged, d_shift = torch.mm(_flat(d_keys).t(), _flat(y)), _flat(y).t() @ d_offset.view(-1)
                dx = torch.bmm(by_query, keys) if wanted[0] else None
                if dy is not None:
                    dy.add_(d_keys @ merged).addcmul_(d_offset.unsqueeze(2), theta_bias @ phi)
            if merged is not None:
                d_theta, d_theta_bias = torch.mm(phi, d_merged.t()), torch.mv(phi, d_shift)
                d_phi = torch.addmm(torch.outer(theta_bias, d_shift), theta, d_merged)
        d_phi_bias = torch.zeros_like(theta_bias) if wanted[5] else None
        return dx, dy, d_theta, d_theta_bias, d_phi, d_phi_bias, d_g, d_g_bias, d_h, d_h_bias, None, None


def _differentiable(
    given: tuple[Tensor, ...], gradient: Tensor, wanted: tuple[bool, ...], scale: float
) -> Iterator[Tensor | None]:
    """The gradients that are wanted of what is given, made of operations that have gradients of their own.

    Of aliases: what is given may itself be made of something else that is given, as a lead that the same
    block made, and the way through that is not this operation's.
    """
    given = tuple(one.view_as(one) for one in given)
    x, y, *weights = given
    theta, phi, g, h = (Affine(*weights[at : at + 2]) for at in range(0, 8, 2))
    share = softmax(comparison(theta, phi, x, y, scale=scale)(x)).mean(1, keepdim=True)
    made = gathering(g, h, 1, y)(share).squeeze(1)
    inputs = [one for one, is_wanted in zip(given, wanted, strict=True) if is_wanted]
    found = iter(torch.autograd.grad(made, inputs, gradient, create_graph=True, allow_unused=True))
    return (next(found) if is_wanted else None for is_wanted in wanted)


def _flat(rows: Float[Tensor, "b r c"]) -> Float[Tensor, "br c"]:
    """Rows of all clips, one below the other."""
    return rows.reshape(-1, rows.shape[-1])


def _softmax_backward(
    d_share: Float[Tensor, "b 1 j"], relation: Tensor, i: int
) -> tuple[Float[Tensor, "b j i"], Float[Tensor, "b i j"]]:
    """The gradient of logits, by key and by query, from what each of the relation's `i` rows has of it."""
    if d_share.shape[2] <= i:
        by_key = torch.sub(d_share.mT, torch.bmm(d_share, relation)).mul_(relation)
        return by_key, by_key.mT
    by_query = torch.sub(d_share, torch.bmm(d_share, relation.mT).mT).mul_(relation)
    return by_query.mT, by_query
