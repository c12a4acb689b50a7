"""The non-local family's options: each is loops over heads, i and j, and has the plain function in it."""

import itertools
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch.nn import functional as F

from plait.errors import ShapeError
from plait.fusion import Concat, Led, NonLocal, Symmetric, contraction, mean_of
from plait.fusion.attention import attentions, without
from plait.fusion.clock import KNOTS
from tests.fusion import oracle
from tests.fusion.test_methods import HEADS, SHAPES, assert_same_function, grids_for, head, made
from tests.fusion.test_nonlocal import ORDERS, Largest, assert_same, block_and_grids, gradients

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "width": st.integers(2, 5),
        "heads": st.integers(1, 3),
        "depth": st.integers(1, 3),
        "mlp": st.integers(1, 2),
        "clock": st.just(True),
        "beside": st.booleans(),
        "pool": st.integers(1, 3),
        "scale": st.booleans(),
        "norm": st.booleans(),
    },
)
NORMS = {"norm", "mlp"}  # over one channel a LayerNorm is constant, its gradient a difference of huge numbers
WIDE = {"width": 6, "heads": 2, "depth": 2, "mlp": 2, "clock": True, "beside": True}
EACH = [{name: value} for name, value in WIDE.items()]


def fitting(shapes, options, leads):
    """Options without what these shapes cannot have."""
    options = dict(options)
    if "width" not in options and min(shapes[lead][-1] for lead in leads) == 1:
        options = {name: value for name, value in options.items() if name not in NORMS}
    timed = [name for name, shape in shapes.items() if len(shape) > 1]
    if len(timed) < 2 or not set(timed) & set(leads):
        options.pop("clock", None)
    return options


def looped(method, grids):
    """The whole method, from grids to logits, by loops."""
    entered = oracle.lifted(method.lift, grids)
    leads = [method.enforced] if isinstance(method, Led) else list(method.leads)
    ends = {enforced.lead: oracle.blocks_in_a_row(enforced, entered) for enforced in leads}
    if not method.beside:
        return head(method, list(ends.values()))
    if isinstance(method, Led):
        return head(method, [ends.get(name, grid) for name, grid in entered.items()])
    return head(method, [*ends.values(), *entered.values()])


@settings(max_examples=30)
@given(SHAPES, HEADS, OPTIONS, st.booleans())
def test_any_options_are_loops_over_heads_and_positions(shapes, kind, options, symmetric):
    options = fitting(shapes, options, shapes if symmetric else ["a"])
    use = Symmetric if symmetric else partial(Led, lead="a")
    method = made(use(shapes, 3, head=kind, **options))
    grids = grids_for(shapes)
    assert_same_function(method(grids), looped(method, grids), grids, method)


FEW = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple).filter(lambda grid: math.prod(grid) < 17)


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 3), FEW, FEW, st.integers(1, 3), st.booleans())
def test_a_block_of_several_heads_with_a_clock_is_loops(heads, width, x_grid, y_grid, pool, scale):
    block, x, y = block_and_grids(
        3, 4, heads * width, x_grid, y_grid, heads=heads, clock=True, pool=pool, scale=scale
    )
    assert block.scale == (1 / width**0.5 if scale else 1)
    loops = oracle.batched(oracle.many_heads, block, x, y)
    assert_same([block(x, y), block.as_written(x, y)], [loops, loops])
    assert_same(gradients(block(x, y), block, x, y), gradients(loops, block, x, y))
    mean = contraction.positions(loops).mean(1)
    assert_same([block.pooled(x, y)], [mean])
    assert_same(gradients(block.pooled(x, y), block, x, y), gradients(mean, block, x, y))
    relations = block.logits_of_heads(x, y).softmax(-1)
    assert_same([block.enforcing(relations, y).reshape(x.shape)], [loops])
    assert_same([block.relation(x, y)], [relations.mean(1)])


@pytest.mark.parametrize("sizes", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("pool", [1, 2])
def test_every_order_of_association_holds_for_every_head(sizes, pool):
    lead, context, embedding, i, j = sizes
    block, x, y = block_and_grids(lead, context, 3 * embedding, (i,), (j,), heads=3, clock=True, pool=pool)
    written = block.as_written(x, y)
    assert_same([block(x, y), block.pooled(x, y)], [written, written.mean(1)])
    assert_same(gradients(block(x, y), block, x, y), gradients(written, block, x, y))


def test_a_pooled_block_stands_in_the_middle_of_its_steps():
    block = NonLocal(1, 1, 1, pool=2, clock=True)
    table = torch.linspace(-1, 1, KNOTS)  # the term is then the difference itself
    with torch.no_grad():
        block.clock.table.copy_(table[None])
        block.theta.weight.zero_(), block.theta.bias.zero_()
    found = block.logits(torch.zeros(1, 2, 1), torch.zeros(1, 5, 3, 1))
    wanted = torch.tensor([[t - s for s in (0.2, 0.2, 0.6, 0.6, 0.9, 0.9)] for t in (0.25, 0.75)])
    torch.testing.assert_close(found, wanted[None])


@pytest.mark.parametrize("kind", ["mean", "flatten", "hidden"])
@pytest.mark.parametrize("use", [Symmetric, partial(Led, lead="b")])
def test_every_option_has_the_plain_function_in_it(use, kind):
    """Identity maps, tables of zeros, blocks and weights of zeros: then all is as without the option."""
    shapes = {"a": (5, 4), "b": (3, 2, 4), "c": (4,)}
    grids = grids_for(shapes)
    plain = made(use(shapes, 3, head=kind))
    for option in [{"width": 4}, {"depth": 3}, {"mlp": 2}, {"clock": True}, {"beside": True}, {"heads": 1}]:
        method = made(use(shapes, 3, head=kind, **option))
        state = plain.state_dict()
        for name, weight in method.state_dict().items():
            if name in state and weight.shape == state[name].shape and "beside" not in option:
                weight.copy_(state[name])
            elif name.startswith("lift") and name.endswith("weight"):
                weight.copy_(torch.eye(4))
            elif "beside" not in option:
                weight.zero_()
        if "beside" in option:
            copy_beside(method, plain)
        torch.testing.assert_close(method(grids), plain(grids), msg=str(option), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def copy_beside(method, plain):
    """The plain method's weights, and zeros for the grids beside."""
    own, theirs = method.state_dict(), plain.state_dict()
    for name, weight in theirs.items():
        if not name.startswith(("head.weights", "head.hidden")):
            own[name].copy_(weight)
    names = list(method.entry.shapes)
    places = [names.index(method.enforced.lead)] if isinstance(method, Led) else range(len(names))
    for part in method.head.weights:
        part.zero_()
    for number, place in enumerate(places):
        method.head.weights[place].copy_(plain.head.weights[number])
        if plain.head.hidden:
            method.head.hidden[place].load_state_dict(plain.head.hidden[number].state_dict())


@pytest.mark.parametrize("kind", ["mean", "flatten", "hidden"])
@pytest.mark.parametrize("option", [{}, {"heads": 2}, {"depth": 2, "mlp": 2}, {"clock": True, "heads": 2}])
def test_beside_an_identity_a_led_fusion_starts_as_concatenation(kind, option):
    shapes, scores = {"a": (5, 4), "b": (4, 2, 6), "c": (3, 7)}, []
    grids = {name: torch.randn(2, *shape) for name, shape in shapes.items()}
    for make in (
        partial(Concat, head=kind),
        *(partial(Led, lead=lead, head=kind, beside=True, zero_h=True, **option) for lead in shapes),
    ):
        torch.manual_seed(3)
        scores.append(make(shapes, 4)(grids))
    assert_same(scores[1:], scores[:1] * 3, 1e-6)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["mean", "flatten", "hidden"])
@pytest.mark.parametrize("option", [*EACH, WIDE], ids=str)
def test_a_context_that_is_absent_adds_nothing(kind, option):
    shapes = {"a": (2, 3), "b": (4, 4), "c": (5, 2)}
    method = made(Led(shapes, 3, lead="b", head=kind, **option))
    grids = grids_for(shapes)
    for present in (["b"], ["b", "a"], ["b", "c"]):
        some = {name: grids[name] for name in present}
        entered = oracle.lifted(method.lift, some)
        x = entered["b"]
        for stage in method.enforced.stages:
            x = x + sum(stage.blocks[name](x, entered[name]) for name in present[1:])
            x = x if stage.mlp is None else stage.mlp(x)
        parts = [x] if not method.beside else [x if name == "b" else entered.get(name) for name in shapes]
        torch.testing.assert_close(method(some), method.head(parts))


def test_means_that_are_known_are_read_where_they_tell_all():
    shapes = {"a": (2, 3), "b": (4, 3)}
    led = partial(Led, shapes, 3, "a")
    assert led().reads.both == {"a"} and led(width=5, heads=2, clock=True, embedding=4).reads.both == {"a"}
    assert led(beside=True).reads.both == {"a", "b"} and led(beside=True, depth=2).reads.both == {"b"}
    assert led(depth=2).reads.both == led(mlp=1).reads.both == led(head="flatten").reads.both == set()
    assert Symmetric(shapes, 3, depth=2).reads.both == set()
    assert Symmetric(shapes, 3, mlp=2, beside=True).reads.both == {"a", "b"}
    grids = grids_for(shapes)
    known = {**grids, **{mean_of(name): grid.mean(1) for name, grid in grids.items()}}
    for options in ({}, *EACH, WIDE):
        for method in (made(led(**options)), made(Symmetric(shapes, 3, **options))):
            torch.testing.assert_close(method(known), method(grids))


@pytest.mark.parametrize("options", [{"heads": 4}, {"clock": True}, {"heads": 2, "clock": True, "pool": 2}])
def test_no_pairs_are_held_beyond_the_bound(monkeypatch, options):
    block, x, y = block_and_grids(3, 2, 4, (60,), (50,), **options)

    def all_of_it():
        made = [block(x, y), block.pooled(x, y)]
        return [*made, *gradients(made[0], block, x, y), *gradients(made[1], block, x, y)]

    wanted, bound = all_of_it(), KNOTS * 50 + 200
    assert 3 * bound < 2 * 60 * 50
    monkeypatch.setattr(contraction, "PAIRS", bound)
    with Largest() as largest:
        got = all_of_it()
    assert largest.numel <= bound
    assert_same(got, wanted, 1e-9)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("option", [*EACH, WIDE], ids=str)
def test_they_can_be_made_of_halves_and_under_autocast(option, kind):
    shapes = {"video": (4, 3, 3, 24), "gloves": (7, 8)}
    for use, head_kind in itertools.product((partial(Led, lead="gloves"), Symmetric), ("mean", "hidden")):
        torch.manual_seed(0)
        grids = {name: torch.randn(2, *shape).to(kind) for name, shape in shapes.items()}
        method = use(shapes, 5, head=head_kind, **option)
        whole = method({name: grid.float() for name, grid in grids.items()})
        if kind == torch.bfloat16:
            with torch.autocast("cpu", kind):
                torch.testing.assert_close(method(grids).float(), whole, rtol=0, atol=0.03)
        logits = method.to(kind)(grids)
        logits.sum().backward()
        assert logits.dtype == kind
        torch.testing.assert_close(logits.float(), whole, rtol=0, atol=0.04)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["mean", "flatten"])
@pytest.mark.parametrize("option", [*EACH, WIDE, {**WIDE, "pool": 2, "norm": True}], ids=str)
def test_attention_is_seen_and_deleted_under_every_option(kind, option):
    shapes = {"video": (3, 5, 2, 6), "imu": (7, 4), "room": (5,)}
    grids = grids_for(shapes)
    for method in (made(Led(shapes, 3, "imu", head=kind, **option)), made(Symmetric(shapes, 3, **option))):
        torch.testing.assert_close(without(method, grids, 0.0), method(grids))
        assert not torch.allclose(without(method, grids, 1.0), method(grids))
        for one in attentions(method, grids):
            assert one.relation.shape == one.logits.shape and one.over_time().shape[0] == 2
            torch.testing.assert_close(one.relation.sum(-1), torch.ones_like(one.relation[..., 0]))
            assert (one.heads, one.blocks) == (option.get("heads", 1), option.get("depth", 1))
    (words,) = {one.shown for one in attentions(method, grids)}
    assert words == ", ".join(
        word
        for name, word in (("heads", "the mean of 2 heads"), ("depth", "the last of 2 blocks"))
        if name in option
    )


@torch.no_grad()
def test_what_is_shown_is_the_last_block_s_and_the_heads_mean():
    shapes = {"a": (4, 3), "b": (5, 3)}
    method, grids = made(Led(shapes, 3, "a", depth=2, heads=3, embedding=6)), grids_for(shapes)
    (found,) = attentions(method, grids)
    (first,), (last,) = (stage.blocks.values() for stage in method.enforced.stages)
    x = grids["a"] + first(grids["a"], grids["b"])
    logits = last.logits_of_heads(x, grids["b"])
    torch.testing.assert_close(found.relation, logits.softmax(-1).mean(1))
    f = (logits - logits.amax((2, 3), keepdim=True)).exp()
    torch.testing.assert_close(found.logits.exp(), f.mean(1))
    torch.testing.assert_close(found.over_time(), f.mean(1) / f.mean(1).amax((1, 2), keepdim=True))


@torch.no_grad()
def test_what_is_deleted_is_deleted_from_every_block_and_head():
    shapes = {"a": (4, 3), "b": (5, 3)}
    method, grids = made(Led(shapes, 3, "a", depth=2, heads=2, mlp=1)), grids_for(shapes)
    (found,) = attentions(method, grids)
    gone = found.relation.mean(1).argmax(1)
    rest = torch.stack([torch.tensor([j for j in range(5) if j != g]) for g in gone.tolist()])
    left = {**grids, "b": grids["b"].gather(1, rest[..., None].expand(-1, -1, 3))}
    smaller = made(Led({**shapes, "b": (4, 3)}, 3, "a", depth=2, heads=2, mlp=1))
    torch.testing.assert_close(without(method, grids, 0.2), smaller(left))


def test_what_is_said_at_the_time_when_the_lead_fires_is_learned_by_the_clock_alone():
    """The lead fires at one step; the label is what the context says then. No feature tells the time."""
    generator = torch.Generator().manual_seed(0)
    n, steps, ticks, classes = 256, 4, 8, 3
    when = torch.randint(steps, (n,), generator=generator)
    values = torch.randint(classes, (n, steps), generator=generator)
    label = values[torch.arange(n), when]
    grids = {
        "lead": F.one_hot(when, steps).float()[..., None],
        "context": F.one_hot(values.repeat_interleave(2, 1), classes).float(),
    }
    shapes = {"lead": (steps, 1), "context": (ticks, classes)}

    def accuracy(**options):
        torch.manual_seed(0)
        method = Led(shapes, classes, "lead", 8, head="hidden", width=12, **options)
        optimizer = torch.optim.Adam(method.parameters(), lr=0.02)
        for _ in range(150):
            optimizer.zero_grad()
            F.cross_entropy(method(grids), label).backward()
            optimizer.step()
        return (method(grids).argmax(1) == label).float().mean().item()

    assert accuracy(clock=True) > 0.97
    assert accuracy() < 0.75  # the commonest value of four steps is right that often


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"width": 0}, "width is 0, expected at least 1"),
        ({"heads": 0}, "heads is 0, expected at least 1"),
        ({"heads": 2, "embedding": 3}, "embedding is 3, expected a multiple of heads, 2"),
        ({"depth": 0}, "depth is 0 and mlp 0, expected at least 1 and at least 0"),
        ({"mlp": -1}, "depth is 1 and mlp -1"),
        (
            {"clock": True},
            r"clock: no lead and context have a time axis each, got grids a \(2, 3\), b \(4,\)",
        ),
    ],
)
def test_wrong_options_are_named(option, message):
    shapes = {"a": (2, 3), "b": (4,)}
    for use in (Symmetric, partial(Led, lead="a")):
        with pytest.raises(ShapeError, match=message):
            use(shapes, 3, **option)


def test_a_word_is_no_setting_of_a_module():
    with pytest.raises((ShapeError, TypeCheckError), match="zero_h"):
        NonLocal(3, 4, 2, zero_h="pretrained")


def test_a_clock_needs_time_on_both_sides():
    with pytest.raises(ShapeError, match="clock: no lead and context"):
        Led({"a": (3,), "b": (4, 2), "c": (5, 2)}, 3, "a", clock=True)
    method = Symmetric({"a": (3,), "b": (4, 2), "c": (5, 2)}, 3, clock=True)
    timed = {(e.lead, name) for e in method.leads for name, block in e.blocks.items() if block.clock}
    assert timed == {("b", "c"), ("c", "b")}
    with pytest.raises(ShapeError, match=r"context has shape \(1, 4\): no time axis"):
        NonLocal(3, 4, 2, clock=True)(torch.zeros(1, 2, 3), torch.zeros(1, 4))


def test_zero_h_starts_every_block_as_the_identity():
    shapes = {"a": (5, 4), "b": (3, 2, 4)}
    method = Led(shapes, 3, "a", zero_h=True, **WIDE)
    entered = method.enter({name: torch.randn(2, *shape) for name, shape in shapes.items()})
    assert torch.equal(method.enforced(entered), entered["a"])
