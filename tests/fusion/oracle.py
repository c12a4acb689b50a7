"""Eqs. 2-6 of the paper, written as loops over positions i and j: slow, and plain to read."""

import torch

from plait.fusion import NonLocal


def grid_rows(grid):
    """Positions of one grid without its batch axis, as a list of vectors."""
    return list(grid.reshape(-1, grid.shape[-1]))


def pooled_rows(grid, pool):
    """Maxima over blocks of `pool` along every axis (ceil mode), by enumerating every block."""
    axes = [range(0, size, pool) for size in grid.shape[:-1]]
    if not axes:
        return [grid]
    starts = torch.cartesian_prod(*[torch.tensor(list(axis)) for axis in axes]).reshape(-1, len(axes))
    blocks = [grid[tuple(slice(int(s), int(s) + pool) for s in start)] for start in starts]
    return [block.reshape(-1, grid.shape[-1]).max(dim=0).values for block in blocks]


def affine(layer, vector):
    return layer.weight @ vector + layer.bias


def logits(block: NonLocal, x, y):
    """`theta(x_i)^T phi(y_j)` for one clip, `(i, j)`."""
    phi = torch.stack([affine(block.phi, v) for v in grid_rows(y)]).reshape(*y.shape[:-1], -1)
    keys = pooled_rows(phi, block.pool)
    rows = [torch.stack([affine(block.theta, v) @ key for key in keys]) for v in grid_rows(x)]
    return torch.stack(rows) * block.scale


def non_local(block: NonLocal, x, y):
    """`h(z(x, y))` for one clip, of the shape of x."""
    g = torch.stack([affine(block.g, v) for v in grid_rows(y)]).reshape(*y.shape[:-1], -1)
    values = pooled_rows(g, block.pool)
    out = []
    for row in logits(block, x, y):
        f = [torch.exp(value) for value in row]
        total = sum(f)
        z = sum((f_ij / total) * value for f_ij, value in zip(f, values, strict=True))
        h = affine(block.h, z)
        out.append(h if block.norm is None else block.norm(h))
    return torch.stack(out).reshape(x.shape)


def batched(one, block, x, y):
    return torch.stack([one(block, a, b) for a, b in zip(x, y, strict=True)])


def enforced(module, grids):
    """Eq. 6: the lead plus what every context brings."""
    x = grids[module.lead]
    return x + sum(batched(non_local, block, x, grids[name]) for name, block in module.blocks.items())
