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


def middles(shape, pool=1):
    """When every position of a grid is, in the order of its rows: the middle of its steps, as a share."""
    steps = [list(range(s, min(s + pool, shape[0]))) for s in range(0, shape[0], pool)]
    times = [sum((step + 0.5) / shape[0] for step in block) / len(block) for block in steps]
    places = 1
    for size in shape[1:]:
        places *= len(range(0, size, pool))
    return [time for time in times for _ in range(places)]


def entry_of(table, difference):
    """The entry of a table over -1 to 1 at a difference, by linear interpolation."""
    place = (difference + 1) / 2 * (len(table) - 1)
    below = min(int(place), len(table) - 2)
    return table[below] + (place - below) * (table[below + 1] - table[below])


def many_heads(block: NonLocal, x, y):
    """`h(z(x, y))` of every head and clock, for one clip, of the shape of x."""
    theta = [affine(block.theta, v) for v in grid_rows(x)]
    phi, g = (
        pooled_rows(torch.stack([affine(m, v) for v in grid_rows(y)]).reshape(*y.shape[:-1], -1), block.pool)
        for m in (block.phi, block.g)
    )
    width = block.theta.out_features // block.heads
    out = []
    for i, query in enumerate(theta):
        z = []
        for head in range(block.heads):
            part = slice(head * width, (head + 1) * width)
            logits = [query[part] @ key[part] * block.scale for key in phi]
            if block.clock is not None:
                ours, theirs = middles(x.shape[:-1])[i], middles(y.shape[:-1], block.pool)
                table = block.clock.table[head]
                logits = [a + entry_of(table, ours - t) for a, t in zip(logits, theirs, strict=True)]
            f = [torch.exp(value) for value in logits]
            z.append(sum((f_ij / sum(f)) * value[part] for f_ij, value in zip(f, g, strict=True)))
        h = affine(block.h, torch.cat(z))
        out.append(h if block.norm is None else block.norm(h))
    return torch.stack(out).reshape(x.shape)


def residual_mlp(mlp, grid):
    """`x + outer(gelu(inner(LayerNorm(x))))`, position by position."""
    out = []
    for row in grid_rows(grid):
        centred = row - row.mean()
        normal = centred / (centred.square().mean() + mlp.norm.eps).sqrt() * mlp.norm.weight + mlp.norm.bias
        between = affine(mlp.inner, normal)
        gelu = between * 0.5 * (1 + torch.erf(between / 2**0.5))
        out.append(row + affine(mlp.outer, gelu))
    return torch.stack(out).reshape(grid.shape)


def lifted(lift, grids):
    """Every grid by its map, position by position."""
    if not lift.maps:
        return dict(grids)
    return {
        name: torch.stack([affine(lift.maps[name], row) for row in grid_rows(grid)]).reshape(
            *grid.shape[:-1], -1
        )
        for name, grid in grids.items()
    }


def blocks_in_a_row(enforced, grids):
    """Eq. 6 block after block, an MLP behind each."""
    x = grids[enforced.lead]
    for stage in [enforced, *enforced.deeper]:
        x = x + sum(batched(many_heads, b, x, grids[name]) for name, b in stage.blocks.items())
        if stage.mlp is not None:
            x = torch.stack([residual_mlp(stage.mlp, one) for one in x])
    return x
