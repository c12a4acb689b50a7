import inspect
from functools import partial

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plait import fusion
from plait.errors import DataError, ShapeError
from plait.fusion import (
    Binding,
    Bottleneck,
    Concat,
    CrossAttention,
    Gated,
    Led,
    LowRank,
    NonLocal,
    Single,
    Symmetric,
    TensorFusion,
    average_scores,
)
from tests.fusion import oracle
from tests.test_cuda import METHODS

GRIDS = st.lists(st.integers(1, 3), min_size=0, max_size=3).map(tuple)
SHAPES = st.lists(st.tuples(GRIDS, st.integers(1, 4)), min_size=2, max_size=4).map(
    lambda parts: {name: (*grid, n) for name, (grid, n) in zip("abcd", parts, strict=False)}
)
HEADS = st.sampled_from(["mean", "flatten", "hidden"])
OPTIONS = st.fixed_dictionaries({"pool": st.integers(1, 2), "scale": st.booleans(), "norm": st.booleans()})


def grids_for(shapes, batch=2):
    torch.manual_seed(1)
    return {
        name: torch.randn(batch, *s, dtype=torch.float64, requires_grad=True) for name, s in shapes.items()
    }


def made(method):
    torch.manual_seed(2)
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return method.double()


def head(method, grids):
    """The heads of DESIGN.md by hand."""
    rows = [g.reshape(g.shape[0], -1, g.shape[-1]) for g in grids]
    if method.head.kind == "flatten":
        features = [r.reshape(len(r), -1) for r in rows]
    elif method.head.kind == "hidden":
        features = [layer(r).clamp(min=0).mean(1) for layer, r in zip(method.head.hidden, rows, strict=True)]
    else:
        features = [r.mean(1) for r in rows]
    return torch.cat(features, 1) @ torch.cat(list(method.head.weights), 1).mT + method.head.bias


def assert_same_function(ours, loops, grids, method):
    torch.testing.assert_close(ours, loops, rtol=1e-10, atol=1e-10)
    weights = torch.linspace(-1, 1, ours.numel(), dtype=ours.dtype).reshape(ours.shape)
    leaves = [*grids.values(), *method.parameters()]
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), leaves, retain_graph=True),
        torch.autograd.grad((loops * weights).sum(), leaves, retain_graph=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@given(SHAPES, HEADS, OPTIONS)
def test_led_is_equation_6(shapes, kind, options):
    options["norm"] &= shapes["a"][-1] > 1
    method = made(Led(shapes, 5, lead="a", head=kind, **options))
    grids = grids_for(shapes)
    loops = head(method, [oracle.enforced(method.enforced, grids)])
    assert_same_function(method(grids), loops, grids, method)


@settings(max_examples=30)
@given(SHAPES, HEADS, OPTIONS)
def test_symmetric_lets_every_modality_lead_once(shapes, kind, options):
    options["norm"] &= min(s[-1] for s in shapes.values()) > 1
    method = made(Symmetric(shapes, 5, head=kind, **options))
    grids = grids_for(shapes)
    assert [enforced.lead for enforced in method.leads] == list(shapes)
    loops = head(method, [oracle.enforced(enforced, grids) for enforced in method.leads])
    assert_same_function(method(grids), loops, grids, method)


@given(SHAPES, HEADS)
def test_concat_and_single_are_their_heads(shapes, kind):
    grids = grids_for(shapes)
    concat = made(Concat(shapes, 5, head=kind))
    torch.testing.assert_close(concat(grids), head(concat, list(grids.values())))
    single = made(Single(shapes, 5, modality="b", head=kind))
    torch.testing.assert_close(single(grids), head(single, [grids["b"]]))
    assert torch.equal(single(grids), single({"b": grids["b"]}))


def test_defaults_are_the_paper_s():
    shapes = {"video": (10, 7, 7, 832), "gloves": (28, 64)}
    led = Led(shapes, 8, lead="video")
    (block,) = led.enforced.blocks.values()
    assert (block.theta.in_features, block.phi.in_features, block.theta.out_features) == (832, 64, 416)
    assert (block.pool, block.scale, block.norm, led.head.kind) == (1, 1.0, None, "mean")
    assert [
        e.blocks[o].theta.out_features
        for e, o in zip(Symmetric(shapes, 8).leads, ("gloves", "video"), strict=True)
    ] == [416, 32]
    assert [tuple(part.shape) for part in Concat(shapes, 8).head.weights] == [(8, 407_680), (8, 1_792)]
    assert Led({"a": (1,), "b": (4,)}, 2, lead="a").enforced.blocks["b"].theta.out_features == 1


def test_normalise_is_a_layernorm_on_each_grid_as_it_enters():
    shapes = {"a": (3, 4), "b": (2, 2, 5)}
    torch.manual_seed(0)
    plain = Led(shapes, 3, lead="a")
    normalised = Led(shapes, 3, lead="a", normalise=True)
    normalised.load_state_dict(plain.state_dict(), strict=False)
    grids = {name: torch.randn(2, *shape) for name, shape in shapes.items()}
    normal = {
        n: (g - g.mean(-1, keepdim=True)) / (g.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        for n, g in grids.items()
    }
    torch.testing.assert_close(normalised(grids), plain(normal))


def test_a_label_in_the_relation_is_learned_by_attention_and_not_by_pooled_concatenation():
    """The lead's position says which of the context's carries the label: only a relation finds it."""
    torch.manual_seed(0)
    b, j, c, classes = 512, 6, 4, 2
    which, labels = torch.randint(j, (b,)), torch.randint(classes, (b,))
    context = torch.zeros(b, j, j + c)
    context[:, :, :j] = torch.eye(j)
    noise = torch.randint(classes, (b, j))
    noise[torch.arange(b), which] = labels
    context[:, :, j:] = torch.nn.functional.one_hot(noise, c)
    grids = {"lead": torch.nn.functional.one_hot(which, j).float()[:, None], "context": context}
    shapes = {"lead": (1, j), "context": (j, j + c)}

    def accuracy(method):
        optimizer = torch.optim.Adam(method.parameters(), lr=0.02)
        for _ in range(150):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(method(grids), labels).backward()
            optimizer.step()
        return (method(grids).argmax(1) == labels).float().mean().item()

    assert accuracy(Led(shapes, classes, lead="lead", embedding=16)) > 0.99
    assert accuracy(Concat(shapes, classes, head="mean")) < 0.75


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: Led(s, 3, lead="depth"), "lead is 'depth', expected one of the modalities: a, b"),
        (lambda s: Led({"a": s["a"]}, 3, lead="a"), "lead 'a' is the only modality"),
        (lambda s: Single(s, 3, modality="x"), "modality is 'x', expected one of: a, b"),
        (lambda s: Concat(s, 3, head="max"), "head is 'max', expected one of: mean, flatten, hidden"),
        (lambda s: Concat(s, 0), "classes is 0, expected at least 1"),
        (
            lambda s: Concat({**s, "c": ()}, 3),
            r"modality 'c' has grid shape \(\), expected \(\*grid, channels\)",
        ),
        (lambda s: Led(s, 3, lead="a", embedding=0), "embedding is 0, expected at least 1"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(ShapeError, match=message):
        make({"a": (2, 3), "b": (4,)})


@pytest.mark.parametrize(
    "make", [lambda s: Led(s, 3, lead="a"), lambda s: Symmetric(s, 3), lambda s: Concat(s, 3)]
)
def test_wrong_grids_are_named(make):
    method = make({"a": (2, 3), "b": (4,)})
    good = {"a": torch.zeros(5, 2, 3), "b": torch.zeros(5, 4)}
    assert method(good).shape == (5, 3)
    for wrong, message in [
        ({"b": torch.zeros(5, 1, 4)}, r"modality 'b' has shape \(5, 1, 4\), expected \('batch', 4\)"),
        ({"a": torch.zeros(5, 2, 2)}, r"modality 'a' has shape \(5, 2, 2\), expected \('batch', 2, 3\)"),
        ({"b": torch.zeros(4, 4)}, r"different batch sizes \(a 5, b 4\)"),
    ]:
        with pytest.raises(ShapeError, match=message):
            method(good | wrong)
    with pytest.raises(ShapeError, match="modality 'a' is missing: got b"):
        method({"b": good["b"]})


@pytest.mark.parametrize("head", ["mean", "flatten", "hidden"])
def test_a_context_that_is_absent_adds_nothing_to_eq_6(head):
    torch.manual_seed(0)
    shapes = {"a": (2, 3), "b": (4,), "c": (5, 2)}
    method = Led(shapes, 3, lead="a", head=head)
    grids = {name: torch.randn(6, *shape) for name, shape in shapes.items()}
    for present in (["a"], ["a", "b"], ["a", "c"], ["a", "b", "c"]):
        x = grids["a"]
        for name in present[1:]:
            x = x + method.enforced.blocks[name](grids["a"], grids[name])
        found = method({name: grids[name] for name in present})
        assert torch.allclose(found, method.head([x]), atol=1e-5)
    with pytest.raises(ShapeError, match="modality 'a' is missing: got b, c"):
        method({"b": grids["b"], "c": grids["c"]})


def predictions(method, scores, clips=("c1", "c2")):
    names = ["run", "sit"]
    return pl.DataFrame(
        {
            "study": "s",
            "method": method,
            "fold": "f",
            "seed": 0,
            "clip": clips,
            "subject": "1",
            "activity": "run",
            "predicted": [names[row.index(max(row))] for row in scores],
            "scores": pl.Series(scores, dtype=pl.List(pl.Float32)),
        }
    )


def test_average_scores_is_the_mean_and_ties_go_to_the_first():
    table = pl.concat(
        [predictions("x", [[0.9, 0.1], [0.2, 0.8]]), predictions("y", [[0.1, 0.9], [0.0, 1.0]])]
    )
    averaged = average_scores(table, ["x", "y"], "mean", ["run", "sit"])
    assert averaged.columns == table.columns and averaged.schema == table.schema
    assert averaged["scores"].to_list() == [[0.5, 0.5], pytest.approx([0.1, 0.9])]
    assert averaged["predicted"].to_list() == ["run", "sit"]
    assert set(averaged["method"]) == {"mean"}


def test_average_scores_refuses_other_clips():
    table = pl.concat(
        [predictions("x", [[0.9, 0.1], [0.2, 0.8]]), predictions("y", [[0.1, 0.9]], clips=("c1",))]
    )
    with pytest.raises(DataError, match="'y' has not scored the same clips as 'x'"):
        average_scores(table, ["x", "y"], "mean", ["run", "sit"])


def test_blocks_stand_alone_inside_another_network():
    block = NonLocal(6, 5, 3)
    x, y = torch.randn(2, 4, 3, 6), torch.randn(2, 7, 5)
    assert (x + block(x, y)).shape == x.shape


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "make",
    [
        *(
            partial(Led, lead=lead, head=head)
            for lead in ("video", "gloves")
            for head in ("mean", "flatten", "hidden")
        ),
        partial(Led, lead="gloves", pool=2),
        partial(Led, lead="video", norm=True, normalise=True),
        partial(Led, lead="video", embedding=1, scale=True),
        *(partial(use, head=head) for use in (Symmetric, Concat) for head in ("mean", "flatten", "hidden")),
        partial(Single, modality="video"),
        *(
            partial(Gated, gates=gates, head=head)
            for gates, head in (("softmax", "mean"), ("sigmoid", "hidden"))
        ),
        *(partial(use, embedding=size) for use in (LowRank, TensorFusion) for size in (None, 4)),
        *(
            partial(CrossAttention, lead=lead, head=head)
            for lead, head in ((None, "mean"), ("video", "flatten"))
        ),
        *(partial(use, head=head) for use in (Bottleneck, Binding) for head in ("mean", "hidden")),
    ],
)
def test_methods_can_be_made_of_halves(make, kind):
    torch.manual_seed(0)
    shapes = {"video": (4, 3, 3, 24), "gloves": (7, 8)}
    grids = {name: torch.randn(2, *shape).to(kind) for name, shape in shapes.items()}
    method = make(shapes, 5)
    whole = method({name: grid.float() for name, grid in grids.items()})
    logits = method.to(kind)(grids)
    logits.sum().backward()
    assert logits.dtype == kind
    torch.testing.assert_close(logits.float(), whole, rtol=0, atol=0.03)


def test_every_method_is_among_those_that_a_card_is_tried_with():
    """A method that is added later is added to tests/test_cuda.py, or this names it."""
    public = {
        one
        for name in fusion.__all__
        if isinstance(one := getattr(fusion, name), type) and issubclass(one, nn.Module)
        if {"shapes", "classes"} <= inspect.signature(one).parameters.keys()
    }
    assert {Led, Symmetric, LowRank, Binding} <= public
    assert {type(make()) for make in METHODS.values()} == public
