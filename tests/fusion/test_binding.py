"""Temporal binding against its definition, as loops over windows and steps."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plait.encoders.depth import DepthNet
from plait.encoders.frames import FrameNet
from plait.encoders.glove import SignalNet
from plait.encoders.grid import GridNet
from plait.encoders.i3d import I3D
from plait.encoders.skeleton import SkeletonNet
from plait.encoders.video3d import Clip3D
from plait.errors import ShapeError
from plait.fusion import Binding
from plait.training.network import grid_shape
from tests.fusion.oracle import affine, grid_rows
from tests.fusion.test_methods import HEADS, assert_same_function, grids_for, head, made

GRIDS = st.lists(st.integers(1, 3), min_size=0, max_size=2)
TIMED = st.lists(st.tuples(st.integers(1, 5), GRIDS, st.integers(1, 4)), min_size=1, max_size=3).map(
    lambda parts: {name: (t, *grid, n) for name, (t, grid, n) in zip("abc", parts, strict=False)}
)


def window(grid, k, windows):
    """A clip's mean over window k of its first axis, step by step."""
    steps = len(grid)
    total, weight = torch.zeros(grid.shape[-1], dtype=grid.dtype), 0.0
    for step in range(steps):
        begin, end = max(step / steps, k / windows), min((step + 1) / steps, (k + 1) / windows)
        if end > begin:
            rows = grid_rows(grid[step])
            total, weight = total + (end - begin) * sum(rows) / len(rows), weight + end - begin
    return total / weight


def bound(method, grids, windows):
    """The fused features `(b, windows, width)`."""
    clips = []
    for clip in range(len(next(iter(grids.values())))):
        joined = [torch.cat([window(g[clip], k, windows) for g in grids.values()]) for k in range(windows)]
        clips.append(torch.stack([affine(method.fuse, features).clamp(min=0) for features in joined]))
    return torch.stack(clips)


def share(steps, windows):
    """The part of each window that each step of a grid fills, `(windows, steps)`."""
    ends = [
        [((k + 1) / windows, k / windows, (t + 1) / steps, t / steps) for t in range(steps)]
        for k in range(windows)
    ]
    parts = [[max(min(end, last) - max(begin, first), 0) for end, begin, last, first in row] for row in ends]
    return windows * torch.tensor(parts, dtype=torch.float64)


@given(TIMED, HEADS, st.integers(1, 4))
def test_binding_is_its_definition(shapes, kind, windows):
    method, grids = made(Binding(shapes, 3, windows, width=5, head=kind)), grids_for(shapes)
    for name, own in method.windows.items():
        exact = share(shapes[name][0], windows)
        torch.testing.assert_close(own.share, exact, rtol=1e-6, atol=1e-6)  # they are kept in float32
        own.share = exact
    loops = head(method, [bound(method, grids, windows)])
    assert_same_function(method(grids), loops, grids, method)


def test_one_window_is_pooled_concatenation_through_a_hidden_layer():
    shapes = {"a": (4, 2, 3), "b": (5, 2)}
    method, grids = made(Binding(shapes, 3, windows=1)), grids_for(shapes)
    joined = torch.cat([grids["a"].mean((1, 2)), grids["b"].mean(1)], 1)
    network = nn.Sequential(method.fuse, nn.ReLU(), nn.Linear(64, 3))
    network[2].weight, network[2].bias = method.head.weights[0], method.head.bias
    torch.testing.assert_close(method(grids), network(joined), rtol=1e-6, atol=1e-6)


def test_the_scores_of_windows_are_averaged_and_what_happens_together_is_fused_together():
    shapes = {"a": (6, 3), "b": (3, 2)}
    method, grids = made(Binding(shapes, 4, windows=3)), grids_for(shapes)
    one = made(Binding({"a": (2, 3), "b": (1, 2)}, 4, windows=1))
    one.load_state_dict(method.state_dict())
    each = [one({"a": grids["a"][:, 2 * k : 2 * k + 2], "b": grids["b"][:, k : k + 1]}) for k in range(3)]
    torch.testing.assert_close(method(grids), sum(each) / 3, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "clip"),
    [
        (SignalNet, (134, 18)),
        (SkeletonNet, (16, 5, 3)),
        (partial(DepthNet, patches=4, places=5, body=6, channels=4), (8, 16, 16)),
        (partial(GridNet, width=4, temporal=(4,)), (8, 2, 3)),
        (partial(FrameNet, nn.Conv2d(3, 4, 2)), (6, 4, 4, 3)),
        (partial(FrameNet, nn.Conv2d(3, 4, 2), pool="space"), (6, 4, 4, 3)),
        (lambda shape: Clip3D(nn.Conv3d(3, 4, 2), shape, nn.Identity()), (4, 9, 9, 3)),
        (lambda shape: I3D(), (8, 32, 32, 3)),
    ],
)
def test_encoders_give_time_first(make, clip):
    """A clip that goes on for longer has a longer first axis, and is the same in all others."""
    short, long = (grid_shape(make(shape), shape) for shape in (clip, (3 * clip[0], *clip[1:])))
    assert long[0] > 2 * short[0] and long[1:] == short[1:]


def test_parameters():
    shapes = {"a": (4, 2, 3), "b": (5, 2)}
    for kind, last in (("mean", 7 * 4), ("flatten", 2 * 7 * 4), ("hidden", 7 * 8 + 7 * 4)):
        method = Binding(shapes, 4, windows=2, width=7, head=kind)
        assert sum(p.numel() for p in method.parameters()) == (3 + 2 + 1) * 7 + last + 4
    assert not any("share" in name for name in method.state_dict())
    assert math.isclose(sum(w.share.sum() for w in method.windows.values()), 4, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda s: Binding({**s, "pulse": (4,)}, 3),
            r"^Binding: modality 'pulse' has grid shape \(4,\) without time, expected \(time, \*places, "
            r"channels\)$",
        ),
        (lambda s: Binding(s, 3, windows=0), "Binding: windows is 0, expected at least 1"),
        (lambda s: Binding(s, 3, width=0), "Binding: width is 0, expected at least 1"),
        (lambda s: Binding(s, 3, head="max"), "head is 'max', expected one of: mean, flatten, hidden"),
        (lambda s: Binding(s, 3)({"a": torch.zeros(5, 4, 2, 3)}), "modality 'b' is missing: got a"),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ShapeError, match=message):
        make({"a": (4, 2, 3), "b": (5, 2)})
