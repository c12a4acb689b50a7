"""Cross-attention and bottlenecks against their equations, as loops over tokens and heads; and torch's."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plait.errors import ShapeError
from plait.fusion import Bottleneck, CrossAttention
from plait.fusion.transformer import MultiHead
from tests.fusion.oracle import affine, grid_rows
from tests.fusion.test_methods import HEADS, SHAPES, assert_same_function, grids_for, head, made

SIZES = st.fixed_dictionaries(
    {"heads": st.integers(1, 2), "mlp": st.integers(1, 2), "layers": st.integers(1, 2)}
)
WIDTH = 4
TIGHT = {"width": WIDTH, "heads": 2, "mlp": 2}


def tokens(method, name, grid):
    """A clip's tokens, position by position."""
    lift, place = method.tokens.lift[name], method.tokens.place[name]
    return [affine(lift, row) + place[i] for i, row in enumerate(grid_rows(grid))]


def normed(norm, x):
    centred = x - x.mean()
    return norm.weight * centred / (centred.square().mean() + norm.eps).sqrt() + norm.bias


def attended(block, x, y):
    """Multi-head attention of one clip, head by head, token by token."""
    size = block.query.out_features // block.heads
    gathered = []
    for token in x:
        parts = []
        for h in range(block.heads):
            part = slice(h * size, (h + 1) * size)
            query = affine(block.query, token)[part]
            f = [torch.exp(query @ affine(block.key, other)[part] / math.sqrt(size)) for other in y]
            parts.append(sum(e * affine(block.value, o)[part] for e, o in zip(f, y, strict=True)) / sum(f))
        gathered.append(affine(block.out, torch.cat(parts)))
    return gathered


def through_mlp(mlp, x):
    norm, first, _, second = mlp
    inner = affine(first, normed(norm, x))
    return affine(second, inner * (1 + torch.erf(inner / math.sqrt(2))) / 2)  # GELU


def added(x, y):
    return [a + b for a, b in zip(x, y, strict=True)]


def cross(method, grids, lead):
    """The lead's tokens `(i, width)` of one clip behind all blocks."""
    x = tokens(method, lead, grids[lead])
    for layer in method.leads[lead]:
        queries, total = [normed(layer.norm, token) for token in x], x
        for name, block in layer.attend.items():
            if name in grids:
                y = [normed(layer.norms[name], token) for token in tokens(method, name, grids[name])]
                total = added(total, attended(block, queries, y))
        x = added(total, [through_mlp(layer.mlp, token) for token in total])
    return torch.stack(x)


def bottleneck(method, grids):
    """What the head sees of one clip, `(width,)`."""
    x = {name: tokens(method, name, grid) for name, grid in grids.items()}
    shared = list(method.shared)
    for layer in method.layers:
        heard = []
        for name in x:
            joined = [*x[name], *shared]
            own = layer[name]
            y = [normed(own.norm, token) for token in joined]
            joined = added(joined, attended(own.attend, y, y))
            joined = added(joined, [through_mlp(own.mlp, token) for token in joined])
            x[name] = joined[: len(x[name])]
            heard.append(joined[len(x[name]) :])
        shared = [sum(each) / len(heard) for each in zip(*heard, strict=True)]
    return sum(sum(own) / len(own) for own in x.values()) / len(x)


def by_clip(one, method, grids, *args):
    count = len(next(iter(grids.values())))
    return torch.stack([one(method, {n: g[i] for n, g in grids.items()}, *args) for i in range(count)])


@settings(max_examples=30)
@given(SHAPES, HEADS, SIZES, st.booleans())
def test_cross_attention_is_its_equations(shapes, kind, sizes, led):
    lead = "b" if led else None
    method = made(CrossAttention(shapes, 3, lead, WIDTH, head=kind, **sizes))
    grids = grids_for(shapes)
    leads = [by_clip(cross, method, grids, name) for name in ([lead] if led else shapes)]
    assert_same_function(method(grids), head(method, leads), grids, method)


@settings(max_examples=30)
@given(SHAPES, HEADS, SIZES, st.integers(1, 2))
def test_bottleneck_is_its_equations(shapes, kind, sizes, shared):
    method = made(Bottleneck(shapes, 3, shared, width=WIDTH, head=kind, **sizes))
    grids = grids_for(shapes)
    loops = head(method, [by_clip(bottleneck, method, grids)])
    assert_same_function(method(grids), loops, grids, method)


def test_attention_is_torch_s_own():
    torch.manual_seed(0)
    block, own = MultiHead(12, 3), nn.MultiheadAttention(12, 3, batch_first=True)
    layers = (block.query, block.key, block.value)
    own.in_proj_weight.data = torch.cat([layer.weight for layer in layers])
    own.in_proj_bias.data = torch.cat([layer.bias for layer in layers])
    own.out_proj.load_state_dict(block.out.state_dict())
    x, y = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    torch.testing.assert_close(block(x, y), own(x, y, y)[0], rtol=1e-5, atol=1e-6)


def plain_layer(layer):
    """torch's own transformer layer with the weights of one of ours."""
    width, block = layer.norm.normalized_shape[0], layer.attend
    norm, first, _, second = layer.mlp
    plain = nn.TransformerEncoderLayer(
        width, block.heads, first.out_features, 0.0, "gelu", batch_first=True, norm_first=True
    ).double()
    layers = (block.query, block.key, block.value)
    plain.self_attn.in_proj_weight.data = torch.cat([part.weight for part in layers])
    plain.self_attn.in_proj_bias.data = torch.cat([part.bias for part in layers])
    plain.self_attn.out_proj.load_state_dict(block.out.state_dict())
    for mine, others in (
        (plain.norm1, layer.norm),
        (plain.norm2, norm),
        (plain.linear1, first),
        (plain.linear2, second),
    ):
        mine.load_state_dict(others.state_dict())
    return plain


def test_a_bottleneck_of_one_modality_is_a_plain_transformer():
    shapes = {"a": (3, 2, 5)}
    method, grids = made(Bottleneck(shapes, 4, bottlenecks=2, layers=3, **TIGHT)), grids_for(shapes)
    x = torch.cat([method.tokens(grids)["a"], method.shared.expand(2, -1, -1)], 1)
    for layer in method.layers:
        x = plain_layer(layer["a"])(x)
    torch.testing.assert_close(method(grids), head(method, [x[:, :6].mean(1)]))


def test_blocks_whose_last_layers_are_zero_are_the_identity():
    shapes = {"a": (3, 2, 5), "b": (4, 3)}
    method, grids = made(CrossAttention(shapes, 4, "a", layers=2, **TIGHT)), grids_for(shapes)
    assert not torch.allclose(method(grids), head(method, [method.tokens(grids)["a"]]))
    for layer in method.leads["a"]:
        for last in (layer.attend["b"].out, layer.mlp[-1]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    torch.testing.assert_close(method(grids), head(method, [method.tokens(grids)["a"]]))


def test_one_layer_of_a_bottleneck_exchanges_nothing_and_two_do():
    shapes = {"a": (3, 5), "b": (4, 3)}
    grids = grids_for(shapes)
    for layers, exchange in ((1, False), (2, True)):
        method = made(Bottleneck(shapes, 4, layers=layers, **TIGHT))
        apart = [head(method, [by_clip(bottleneck, method, {n: g})]) for n, g in grids.items()]
        assert torch.allclose(method(grids), sum(apart) / 2) is not exchange


def test_who_is_absent_is_left_out():
    shapes = {"a": (2, 3), "b": (4,), "c": (5, 2)}
    grids = grids_for(shapes)
    led, shared = made(CrossAttention(shapes, 3, "a", **TIGHT)), made(Bottleneck(shapes, 3, **TIGHT))
    assert led.reads.optional == {"b", "c"} and shared.reads.optional == {"a", "b", "c"}
    for count in (1, 2):
        for present in itertools.combinations(shapes, count):
            some = {name: grids[name] for name in present}
            torch.testing.assert_close(shared(some), head(shared, [by_clip(bottleneck, shared, some)]))
            if "a" in present:
                torch.testing.assert_close(led(some), head(led, [by_clip(cross, led, some, "a")]))
    with pytest.raises(ShapeError, match="modality 'a' is missing: got b, c"):
        led({"b": grids["b"], "c": grids["c"]})
    with pytest.raises(ShapeError, match="modality 'c' is missing: got a, b"):
        CrossAttention(shapes, 3).double()({"a": grids["a"], "b": grids["b"]})
    with pytest.raises(ShapeError, match="no modality is there: got none; expected any of: a, b, c"):
        shared({})


def count(method):
    return sum(p.numel() for p in method.parameters())


@given(SHAPES, SIZES, st.integers(1, 3))
def test_parameters(shapes, sizes, shared):
    many, classes, w = len(shapes), 3, WIDTH
    lifted = sum((s[-1] + 1) * w + math.prod(s[:-1]) * w for s in shapes.values())
    attention, norm = 4 * (w + 1) * w, 2 * w
    times = sizes["mlp"]
    mlp = norm + (w + 1) * times * w + (times * w + 1) * w
    layer = norm + mlp + (many - 1) * (norm + attention)
    for lead, leads in (("a", 1), (None, many)):
        found = count(CrossAttention(shapes, classes, lead, w, **sizes))
        assert found == lifted + leads * (sizes["layers"] * layer + w * classes) + classes
    found = count(Bottleneck(shapes, classes, shared, width=w, **sizes))
    layers = sizes["layers"] * many * (norm + attention + mlp)
    assert found == lifted + shared * w + layers + (w + 1) * classes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: CrossAttention(s, 3, lead="c"), "lead is 'c', expected one of the modalities: a, b"),
        (
            lambda s: CrossAttention({"a": s["a"]}, 3),
            "CrossAttention: a is the only modality, expected two or more",
        ),
        (lambda s: CrossAttention(s, 3, width=6), "attention: width is 6, expected a multiple of heads, 4"),
        (lambda s: CrossAttention(s, 3, heads=0), "attention: heads is 0, expected at least 1"),
        (lambda s: CrossAttention(s, 3, layers=0), "CrossAttention: layers is 0, expected at least 1"),
        (lambda s: CrossAttention(s, 3, mlp=0), "MLP: mlp is 0, expected at least 1"),
        (lambda s: Bottleneck(s, 3, bottlenecks=0), "Bottleneck: bottlenecks is 0, expected at least 1"),
        (lambda s: Bottleneck(s, 3, heads=5), "attention: width is 64, expected a multiple of heads, 5"),
        (lambda s: Bottleneck(s, 3, head="max"), "head is 'max', expected one of: mean, flatten, hidden"),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ShapeError, match=message):
        make({"a": (2, 3), "b": (4,)})
