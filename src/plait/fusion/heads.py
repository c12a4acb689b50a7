"""Several relations of one embedding: each head's part of its channels, apart and side by side again."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

ALIGNED = 8  # channels of a head, of which torch's fused kernels for cards take multiples alone


def attended(
    queries: Float[Tensor, "b i k"],
    keys: Float[Tensor, "b j k"],
    values: Float[Tensor, "b j k"],
    scale: float,
    heads: int,
    aligned: int = 1,
) -> Float[Tensor, "b i k"]:
    """What rows of every head's relation gather in the embedding, by torch's fused attention.

    Args:
        queries: of the lead's rows.
        keys: of the context's positions.
        values: of the same.
        scale: what logits are multiplied by.
        heads: how many share the embedding.
        aligned: each head's channels are filled up with zeros, which change nothing, to a multiple of this.
    """
    width = int(queries.shape[-1]) // heads
    q, k, v = (_filled(rows, heads, width, aligned) for rows in (queries, keys, values))
    gathered = F.scaled_dot_product_attention(q, k, v, scale=scale)
    return gathered[..., :width].transpose(1, 2).flatten(2)


def _filled(rows: Float[Tensor, "b r k"], heads: int, width: int, aligned: int) -> Float[Tensor, "b h r w"]:
    """Each head's channels, of that width, filled up with zeros to a multiple of `aligned`."""
    parts = torch.unflatten(rows, 2, (heads, width)).transpose(1, 2)
    return F.pad(parts, (0, -width % aligned)) if width % aligned else parts


def by_head(rows: Float[Tensor, "b i k"], heads: int) -> Float[Tensor, "bh i l"]:
    """Every head's part of the embedding as clips of its own."""
    return torch.unflatten(rows, 2, (heads, -1)).transpose(1, 2).flatten(0, 1)


def joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    """What every head has, side by side."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim)


def apart(products: Float[Tensor, "b i hj"], heads: int) -> Tensor:
    """Products with keys side by side, `(b, heads, i, j)` of several heads."""
    return products if heads == 1 else torch.unflatten(products, 2, (heads, -1)).transpose(1, 2)


def together(relation: Tensor, heads: int) -> Float[Tensor, "b i hj"]:
    """Rows of all heads side by side, for values that are."""
    return relation if heads == 1 else relation.transpose(1, 2).flatten(2)
