"""Which order of products a non-local operation takes, and when torch's fused attention: one rule.

It knows the kind of device, sizes, and whether products are of halves; nothing is tried out, so that the
same network computes alike wherever it meets the same sizes. docs/performance.md has the tables behind it.

- A processor takes the order of fewest multiplications.
- A graphics card multiplies so fast that small networks wait for launches, of which the textbook's order, all
  in the embedding, has the fewest: another order must save more than `SPARE` multiplications.
- Where the relation has more than `LARGE` pairs and is taken in the embedding, torch's fused attention makes
  it and what it gathers in one pass that never holds it, on devices that have such a kernel.
"""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Order = Literal["embedding", "lead", "context"]

LARGE = 3 * 2**21  # pairs (i, j) of all clips and heads
# Multiplications that are not worth a longer row of launches, by device: of float32, of halves.
SPARE: Mapping[str, tuple[int, int]] = {"cuda": (2**32, 2**36)}
# Kinds of numbers for which torch has a fused kernel; for others it would hold the relation whole.
FUSED: Mapping[str, tuple[torch.dtype, ...]] = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
    "cuda": (torch.float32, torch.bfloat16, torch.float16),
}


class Sizes(NamedTuple):
    """Of a lead and a context that are compared.

    Args:
        clips: how many.
        i: positions of the lead.
        n: channels of the lead.
        j: positions of the context as they are compared, under `pool` fewer than it has.
        m: channels of the context.
        k: channels of the embedding, of one head.
        heads: how many relations.
        pooled: whether positions of the context are maxima, through which no map can be pulled.
    """

    clips: int
    i: int
    n: int
    j: int
    m: int
    k: int
    heads: int = 1
    pooled: bool = False

    @property
    def pairs(self) -> int:
        """How many numbers all relations have."""
        return self.clips * self.heads * self.i * self.j


def costs(sizes: Sizes) -> dict[Order, int]:
    """Multiplications of one head by the order of products: logits and gathering cost the same.

    The inner product, and the sum over positions, are taken in the embedding, or among the lead's or the
    context's channels.
    """
    b, i, n, j, m, k, _, pooled = sizes
    if pooled:
        return {"embedding": b * i * k * (n + j), "lead": b * j * n * (k + i)}
    return {
        "embedding": b * (i * n * k + j * m * k + i * j * k),
        "lead": pair_cost(b * j, m, k, n) + b * i * j * n,
        "context": pair_cost(b * i, n, k, m) + b * i * j * m,
    }


def pair_cost(rows: int, start: int, middle: int, end: int) -> int:
    """Multiplications of two linear maps over `rows`: one after the other, or their product made first."""
    return min(rows * middle * (start + end), start * middle * end + rows * start * end)


def order(sizes: Sizes, device: str, dtype: torch.dtype = torch.float32) -> Order:
    """The order in which products of a kind of numbers are taken on a kind of device; of equals the first."""
    found = costs(sizes)
    cheapest = min(found, key=lambda name: found[name])
    saved = sizes.heads * (found["embedding"] - found[cheapest])
    return "embedding" if saved <= SPARE.get(device, (0, 0))[dtype.itemsize == 2] else cheapest


def fuses(sizes: Sizes, device: str, dtype: torch.dtype) -> bool:
    """Whether torch's fused attention makes the relation, and what it gathers, in numbers of a kind."""
    large = sizes.pairs > LARGE and dtype in FUSED.get(device, ())
    return large and order(sizes, device, dtype) == "embedding"


def compared(context: tuple[int, ...], pool: int) -> int:
    """Positions of a context with these axes as they are compared: blocks of `pool` along every axis."""
    return math.prod(-(-size // pool) for size in context)


def kind_of(grid: Tensor) -> tuple[str, torch.dtype]:
    """The kind of device that products of a grid are made on, and of numbers, as autocast has them."""
    device = grid.device.type
    return device, torch.get_autocast_dtype(device) if autocasts(device) else grid.dtype


def autocasts(device: str) -> bool:
    """Whether autocast is on; there is none for tensors that hold nothing."""
    return device != "meta" and torch.is_autocast_enabled(device)
