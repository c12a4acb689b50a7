"""Gated, tensor and low-rank fusion against their equations, written as loops over clips and channels."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import ShapeError
from plait.fusion import Concat, Gated, LowRank, TensorFusion
from plait.fusion.grids import mean_of
from tests.fusion.oracle import affine, grid_rows
from tests.fusion.test_methods import HEADS, SHAPES, assert_same_function, grids_for, head, made

METHODS = [Gated, LowRank, TensorFusion]


def pooled(grid):
    rows = grid_rows(grid)
    return sum(rows) / len(rows)


def by_clip(one, method, grids):
    """What `one` makes of each clip's means, `(b, width)`."""
    count = len(next(iter(grids.values())))
    return torch.stack([one(method, {n: pooled(g[clip]) for n, g in grids.items()}) for clip in range(count)])


def gated(method, means):
    """The unit of one clip, channel by channel."""
    names = list(method.features)
    starts = dict(zip(names, itertools.accumulate(method.channels, initial=0), strict=False))
    seen = {n: method.gates.weight[:, starts[n] : starts[n] + len(means[n])] for n in means}
    width = method.gates.weight.shape[0] // len(names)
    channels = []
    for c in range(width):
        opened = {n: sum(seen[m][names.index(n) * width + c] @ means[m] for m in means) for n in means}
        if method.softmax:
            total = sum(value.exp() for value in opened.values())
            gates = {n: value.exp() / total for n, value in opened.items()}
        else:
            gates = {n: 1 / (1 + (-value).exp()) for n, value in opened.items()}
        channels.append(sum(gates[n] * torch.tanh(method.features[n].weight[c] @ means[n]) for n in means))
    return torch.stack(channels)


def embedded(method, means):
    """`z_m` of every modality, zeros where it is absent, with a one behind it."""
    layers = method.embedded.layers
    found = {}
    for name, n in method.embedded.widths.items():
        z = torch.zeros(n, dtype=torch.float64)
        if name in means:
            z = affine(layers[name], means[name]).clamp(min=0) if name in layers else means[name]
        found[name] = torch.cat([z, torch.ones(1, dtype=z.dtype)])
    return found


def tensor(method, means):
    """`W Z + b` of one clip, product by product."""
    vectors = list(embedded(method, means).values())
    places = itertools.product(*(range(len(v)) for v in vectors))
    products = [math.prod(v[i] for v, i in zip(vectors, place, strict=True)) for place in places]
    return (
        sum(z * column for z, column in zip(products, method.fuse.weight.T, strict=True)) + method.fuse.bias
    )


def low_rank(method, means):
    """`sum_r prod_m w_m^r [z_m; 1] + b` of one clip, rank by rank."""
    total = method.bias
    width = len(total)
    for r in range(method.rank):
        product = torch.ones(width, dtype=torch.float64)
        for name, z in embedded(method, means).items():
            factor = method.factors[name]
            w = torch.cat([factor.weight, factor.bias[:, None]], 1)[r * width : (r + 1) * width]
            product = product * (w @ z)
        total = total + product
    return total


ORACLES = {Gated: gated, LowRank: low_rank, TensorFusion: tensor}


@given(SHAPES, HEADS, st.integers(1, 3), st.sampled_from(["softmax", "sigmoid"]))
def test_gated_is_its_equations(shapes, kind, width, gates):
    method, grids = made(Gated(shapes, 3, width, gates, head=kind)), grids_for(shapes)
    loops = head(method, [by_clip(gated, method, grids)])
    assert_same_function(method(grids), loops, grids, method)


@given(SHAPES, HEADS, st.sampled_from([None, 1, 2]))
def test_tensor_fusion_is_its_equations(shapes, kind, embedding):
    method, grids = made(TensorFusion(shapes, 3, 2, embedding, head=kind)), grids_for(shapes)
    loops = head(method, [by_clip(tensor, method, grids)])
    assert_same_function(method(grids), loops, grids, method)


@given(SHAPES, HEADS, st.integers(1, 3), st.sampled_from([None, 1, 2]))
def test_low_rank_is_its_equations(shapes, kind, rank, embedding):
    method, grids = made(LowRank(shapes, 3, 2, rank, embedding, head=kind)), grids_for(shapes)
    loops = head(method, [by_clip(low_rank, method, grids)])
    assert_same_function(method(grids), loops, grids, method)


def test_two_softmax_gates_are_the_paper_s_gate_and_its_complement():
    shapes = {"a": (3, 4), "b": (5,)}
    method, grids = made(Gated(shapes, 3, width=6)), grids_for(shapes)
    first, second = method.gates.weight.chunk(2)
    x_a, x_b = grids["a"].mean(1), grids["b"]
    z = torch.sigmoid(torch.cat([x_a, x_b], 1) @ (first - second).T)
    h_a, h_b = (torch.tanh(x @ method.features[n].weight.T) for n, x in (("a", x_a), ("b", x_b)))
    torch.testing.assert_close(method(grids), head(method, [z * h_a + (1 - z) * h_b]))


@given(SHAPES, st.sampled_from(["softmax", "sigmoid"]))
def test_equal_gates_are_the_mean_of_the_features(shapes, gates):
    method, grids = made(Gated(shapes, 3, width=5, gates=gates)), grids_for(shapes)
    torch.nn.init.zeros_(method.gates.weight)
    features = [
        torch.tanh(grid.reshape(2, -1, grid.shape[-1]).mean(1) @ method.features[n].weight.T)
        for n, grid in grids.items()
    ]
    share = 1 / len(shapes) if gates == "softmax" else 1 / 2
    torch.testing.assert_close(method(grids), head(method, [share * sum(features)]))


@given(SHAPES, HEADS)
def test_low_rank_of_full_rank_is_tensor_fusion(shapes, kind):
    """With unit vectors for all modalities but the first, a factor of the first is a slice of the tensor."""
    width, grids = 2, grids_for(shapes)
    full = made(TensorFusion(shapes, 3, width, head=kind))
    sizes = [shape[-1] + 1 for shape in shapes.values()]
    places = list(itertools.product(*(range(size) for size in sizes[1:])))
    same = made(LowRank(shapes, 3, width, rank=len(places), head=kind))
    same.head.load_state_dict(full.head.state_dict())
    same.bias = full.fuse.bias
    slices = full.fuse.weight.reshape(width, *sizes).movedim(1, -1).reshape(width, len(places), sizes[0])
    factors = [slices.transpose(0, 1).reshape(len(places) * width, sizes[0])]
    for axis, size in enumerate(sizes[1:]):
        units = torch.eye(size, dtype=torch.float64)[[place[axis] for place in places]]
        factors.append(units.repeat_interleave(width, 0))
    ones = []
    for name, factor in zip(shapes, factors, strict=True):
        same.factors[name].weight.data, same.factors[name].bias.data = factor[:, :-1], factor[:, -1]
        ones.append(name)
    assert ones == list(same.factors)
    torch.testing.assert_close(same(grids), full(grids), rtol=1e-10, atol=1e-10)
    weights = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    mine, whole = ((method(grids) * weights).sum() for method in (same, full))
    first = same.factors[next(iter(shapes))]
    *by_grid, weight, bias = torch.autograd.grad(mine, [*grids.values(), first.weight, first.bias])
    *wanted, tensors = torch.autograd.grad(whole, [*grids.values(), full.fuse.weight])
    for a, b in zip(by_grid, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    slices = tensors.reshape(width, *sizes).movedim(1, -1).reshape(width, len(places), sizes[0])
    found = torch.cat([weight, bias[:, None]], 1)
    torch.testing.assert_close(found, slices.transpose(0, 1).reshape(found.shape), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("use", METHODS)
@pytest.mark.parametrize("embedding", [None, 3])
def test_who_is_absent_leaves_what_the_others_make_among_themselves(use, embedding):
    shapes = {"a": (2, 3), "b": (4,), "c": (5, 2)}
    options = {} if use is Gated else {"embedding": embedding}
    method, grids = made(use(shapes, 3, width=3, **options)), grids_for(shapes)
    assert method.reads.optional == set(shapes)
    for count in (1, 2):
        for present in itertools.combinations(shapes, count):
            some = {name: grids[name] for name in present}
            torch.testing.assert_close(method(some), head(method, [by_clip(ORACLES[use], method, some)]))
    with pytest.raises(ShapeError, match="no modality is there: got other; expected any of: a, b, c"):
        method({"other": grids["a"]})


@pytest.mark.parametrize("use", METHODS)
def test_means_that_are_known_stand_for_grids_unless_they_are_normalised(use):
    shapes = {"a": (2, 3, 3), "b": (4,)}
    method, grids = made(use(shapes, 3)), grids_for(shapes)
    known = {mean_of("a"): grids["a"].mean((1, 2)), "b": grids["b"]}
    torch.testing.assert_close(method(known), method(grids))
    normalised = use(shapes, 3, normalise=True).double()
    normalised.load_state_dict(method.state_dict(), strict=False)
    assert not normalised.reads.mean
    normal = {n: torch.nn.functional.layer_norm(g, g.shape[-1:]) for n, g in grids.items()}
    torch.testing.assert_close(normalised(grids), method(normal))


def count(method):
    return sum(p.numel() for p in method.parameters())


@given(SHAPES, st.integers(1, 5), st.integers(1, 4))
def test_parameters(shapes, width, rank):
    channels, classes = [shape[-1] for shape in shapes.values()], 3
    last = (width + 1) * classes
    assert count(Gated(shapes, classes, width)) == (len(channels) + 1) * sum(channels) * width + last
    tensors = math.prod(n + 1 for n in channels) * width + width
    assert count(TensorFusion(shapes, classes, width)) == tensors + last
    factors = rank * width * sum(n + 1 for n in channels) + width
    assert count(LowRank(shapes, classes, width, rank)) == factors + last
    layers = sum((n + 1) * 2 for n in channels)
    assert (
        count(TensorFusion(shapes, classes, width, 2)) == 3 ** len(channels) * width + width + layers + last
    )


def test_heads_are_drawn_first():
    shapes = {"a": (2, 3), "b": (4,)}
    drawn = []
    for use in (*METHODS, Concat):
        torch.manual_seed(0)
        drawn.append(use(shapes if use is not Concat else {"h": (64,)}, 5, head="mean").head.weights[0])
    assert all(torch.equal(one, drawn[-1]) for one in drawn)


def test_tensors_that_explode_are_refused_in_a_line():
    shapes = {"video": (10, 7, 7, 832), "gloves": (28, 64), "left": (30, 64)}
    line = (
        r"^TensorFusion: \(video 832 \+ 1\) x \(gloves 64 \+ 1\) x \(left 64 \+ 1\) x width 64 are "
        r"225,243,200 weights, expected at most 33,554,432: a smaller embedding or width, or LowRank$"
    )
    with pytest.raises(ShapeError, match=line):
        TensorFusion(shapes, 8)
    assert count(TensorFusion(shapes, 8, embedding=16)) < 10**6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: Gated(s, 3, width=0), "Gated: width is 0, expected at least 1"),
        (lambda s: Gated(s, 3, gates="max"), "gates is 'max', expected one of: softmax, sigmoid"),
        (lambda s: Gated(s, 3, head="max"), "head is 'max', expected one of: mean, flatten, hidden"),
        (lambda s: LowRank(s, 3, rank=0), "LowRank: rank is 0, expected at least 1"),
        (lambda s: LowRank(s, 3, embedding=0), "tensor fusion: embedding is 0, expected at least 1"),
        (lambda s: TensorFusion(s, 3, width=-1), "TensorFusion: width is -1, expected at least 1"),
        (lambda s: Gated(s, 3)({"a": torch.zeros(5, 2, 4)}), r"modality 'a' has shape \(5, 2, 4\), expected"),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ShapeError, match=message):
        make({"a": (2, 3), "b": (4,)})
