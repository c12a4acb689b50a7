"""The pooled operation as one step of autograd, and of a uniform relation without one: the same function."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from plait.fusion import Led, NonLocal, Symmetric, contraction, nonlocal_, orders, pooled
from plait.fusion.contraction import Affine, average, positions
from plait.fusion.grids import mean_of

ORDERS = ["embedding", "lead", "context"]
WIDTHS = st.integers(1, 5)
GRIDS = st.lists(st.integers(1, 4), max_size=3).map(tuple)


def block_and_grids(lead, context, embedding, x_grid, y_grid, batch=2, dtype=torch.float64, **options):
    torch.manual_seed(0)
    block = NonLocal(lead, context, embedding, **options).to(dtype)
    for weight in block.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.7)
    x = torch.randn(batch, *x_grid, lead, dtype=dtype, requires_grad=True)
    y = torch.randn(batch, *y_grid, context, dtype=dtype, requires_grad=True)
    return block, x, y


def maps(block):
    return [Affine(layer.weight, layer.bias) for layer in (block.theta, block.phi, block.g, block.h)]


def written(block, x, y):
    return positions(block.as_written(x, y)).mean(1)


def present(block, x, y):
    """`NonLocal.pooled` as `contraction` makes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nonlocal_, "takes", lambda *given: None)
        return block.pooled(x, y)


def gradients(made, leaves):
    """Of a weighted sum; zero where the graph does not reach."""
    weights = torch.linspace(-1, 2, made.numel(), dtype=made.dtype).reshape(made.shape)
    found = torch.autograd.grad((made * weights).sum(), leaves, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(leaf) if one is None else one for one, leaf in zip(found, leaves, strict=True)]


def assert_same(ours, other, leaves, tolerance=1e-10):
    torch.testing.assert_close(ours, other, rtol=tolerance, atol=tolerance)
    for one, two in zip(gradients(ours, leaves), gradients(other, leaves), strict=True):
        torch.testing.assert_close(one, two, rtol=tolerance, atol=tolerance)


@pytest.fixture
def made_at_once(monkeypatch):
    """The orders in which `Pooled` was applied, in turn."""
    taken = []

    def spy(*given):
        taken.append(given[-1])
        return pooled.pooled(*given)

    monkeypatch.setattr(nonlocal_, "pooled", spy)
    return taken


@given(WIDTHS, WIDTHS, WIDTHS, GRIDS, GRIDS, st.integers(1, 3), st.booleans(), st.data())
def test_every_order_is_what_the_paper_writes(lead, context, embedding, xg, yg, batch, scale, data):
    block, x, y = block_and_grids(lead, context, embedding, xg, yg, batch, scale=scale)
    leaves = [x, y, *block.parameters()]
    for leaf in leaves:  # only some want a gradient, as where encoders are frozen
        leaf.requires_grad_(data.draw(st.booleans()))
    wanting = [leaf for leaf in leaves if leaf.requires_grad]
    for taken in ORDERS:
        ours = pooled.pooled(*maps(block), x, y, block.scale, taken)
        assert ours.requires_grad == bool(wanting)
        if wanting:
            assert_same(ours, written(block, x, y), wanting)
            assert_same(ours, present(block, x, y), wanting)
        else:
            torch.testing.assert_close(ours, written(block, x, y))


@pytest.mark.parametrize("taken", ORDERS)
@pytest.mark.parametrize("grids", [((2, 2), (3,)), ((), (4,)), ((3,), ())])
def test_gradients_are_those_of_small_differences(taken, grids):
    block, x, y = block_and_grids(3, 2, 2, *grids, scale=True)
    weights = [weight.detach().requires_grad_() for one in maps(block) for weight in one]

    def made(x, y, *weights):
        each = [Affine(*weights[at : at + 2]) for at in range(0, 8, 2)]
        return pooled.pooled(*each, x, y, block.scale, taken)

    assert torch.autograd.gradcheck(made, (x, y, *weights))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ((32, 32, 16, (3, 3, 4), (3, 4, 2)), "embedding"),
        ((64, 32, 32, (13,), (3, 3, 4)), "context"),
        ((40, 5, 20, (30,), (2,)), "lead"),
    ],
)
def test_a_block_in_training_is_made_at_once_in_the_cheapest_order(made_at_once, sizes, taken, dtype):
    block, x, y = block_and_grids(*sizes, dtype=dtype)
    tolerance = 1e-10 if dtype == torch.float64 else 2e-3  # logits of float32 are large here
    leaves = [x, y, *block.parameters()]
    assert_same(block.pooled(x, y), present(block, x, y), leaves, tolerance)
    assert made_at_once == [taken]


def test_weights_that_are_frozen_and_grids_that_lie_otherwise(made_at_once):
    block, x, y = block_and_grids(5, 4, 3, (4, 6), (7,))
    block.theta.requires_grad_(False), block.phi.requires_grad_(False)
    turned, moved = x.transpose(1, 2), y.flip(1)
    leaves = [x, y, *block.g.parameters(), *block.h.parameters()]
    assert_same(block.pooled(turned, moved), written(block, turned, moved), leaves)
    ours = block.pooled(turned, moved).sum(0).expand(3, -1)  # a gradient that is one number many times
    assert_same(ours, written(block, turned, moved).sum(0).expand(3, -1), leaves)
    assert len(made_at_once) == 2


def test_no_clips_have_no_mean_and_gradients_of_zero():
    block, x, y = block_and_grids(3, 4, 2, (5,), (6,), batch=0)
    made = block.pooled(x, y)
    made.sum().backward()
    assert made.shape == (0, 3) and x.grad.shape == x.shape
    assert all(not weight.grad.any() for weight in block.parameters())


def test_phi_s_bias_gets_a_gradient_so_that_optimisers_treat_it_as_before():
    block, x, y = block_and_grids(3, 4, 2, (5,), (6,))
    block.pooled(x, y).sum().backward()
    assert block.phi.bias.grad is not None and not block.phi.bias.grad.any()


@pytest.mark.parametrize(
    "options", [{"heads": 2}, {"clock": True}, {"norm": True}, {"pool": 2}, {"heads": 2, "clock": True}]
)
def test_variations_are_made_as_before(made_at_once, options):
    block, x, y = block_and_grids(4, 3, 2, (5, 2), (6,), **options)
    leaves = [x, y, *block.parameters()]
    assert_same(block.pooled(x, y), written(block, x, y), leaves, 1e-8)
    assert made_at_once == []


def test_without_gradients_and_under_autocast_nothing_is_kept(made_at_once):
    block, x, y = block_and_grids(4, 3, 2, (5, 2), (6,), dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(block.pooled(x, y), written(block, x, y))
    with torch.inference_mode():
        block.pooled(x, y)
    with torch.autocast("cpu", torch.bfloat16):
        assert block.pooled(x, y).requires_grad
    halves = copy.deepcopy(block).bfloat16()
    assert halves.pooled(x.bfloat16(), y.bfloat16()).dtype == torch.bfloat16
    empty = copy.deepcopy(block).to("meta")
    assert empty.pooled(x.to("meta"), y.to("meta")).shape == (2, 4)
    frozen = copy.deepcopy(block).requires_grad_(False)
    assert not frozen.pooled(x.detach(), y.detach()).requires_grad
    assert made_at_once == []


@pytest.mark.parametrize(("module", "bound"), [(contraction, "PAIRS"), (orders, "LARGE")])
def test_large_relations_are_made_as_before(made_at_once, monkeypatch, module, bound):
    block, x, y = block_and_grids(4, 3, 2, (5, 2), (6,))
    monkeypatch.setattr(module, bound, 2 * 10 * 6)
    whole = block.pooled(x, y)
    monkeypatch.setattr(module, bound, 2 * 10 * 6 - 1)
    assert_same(block.pooled(x, y), whole, [x, y, *block.parameters()])
    assert len(made_at_once) == 1


def test_what_records_or_transforms_operations_sees_them_all(made_at_once):
    """An export and `torch.func`, each with gradients on."""
    block, x, y = block_and_grids(4, 3, 2, (5,), (6,), dtype=torch.float32)
    whole = written(block, x, y)

    class Pools(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = block

        def forward(self, x, y):
            return self.block.pooled(x, y)

    torch.testing.assert_close(torch.export.export(Pools(), (x, y)).module()(x, y), whole)
    per_clip = torch.vmap(lambda x, y: block.pooled(x[None], y[None])[0])(x, y)
    torch.testing.assert_close(per_clip, whole)
    by_x = torch.func.grad(lambda x: block.pooled(x, y).sum())(x)
    torch.testing.assert_close(by_x, torch.autograd.grad(whole.sum(), x)[0], rtol=1e-4, atol=1e-5)
    assert made_at_once == []


@pytest.mark.parametrize("taken", ORDERS)
def test_second_derivatives_are_those_of_the_equations(taken):
    block, x, y = block_and_grids(4, 3, 2, (5,), (6,))
    leaves = [x, y, *block.parameters()]
    for power in (1, 2):  # of a sum alone, the gradient that comes in has no graph
        penalties = []
        for made in (pooled.pooled(*maps(block), x, y, block.scale, taken), written(block, x, y)):
            first = torch.autograd.grad(made.pow(power).sum(), leaves, create_graph=True, allow_unused=True)
            penalties.append(
                torch.stack([one.square().sum() for one in first if one is not None]).sum()[None]
            )
        assert_same(*penalties, leaves)
    inputs = [x, y, *(weight for one in maps(block) for weight in one)]
    frozen = [leaf.detach().requires_grad_(leaf is x) for leaf in inputs]
    each = [Affine(*frozen[at : at + 2]) for at in range(2, 10, 2)]
    made = pooled.pooled(*each, *frozen[:2], block.scale, taken)
    (by_x,) = torch.autograd.grad(made.sum(), frozen[0], create_graph=True)
    assert by_x.requires_grad


def test_what_else_the_same_weights_and_grids_made_is_no_part_of_the_gradient():
    """With `create_graph`, gradients of a lead that the same block made, of a context made of the lead."""
    block, x, y = block_and_grids(4, 4, 2, (5,), (6,))
    leaves = [x, y, *block.parameters()]
    lead = block.as_written(x, y)
    for rows, context in ((lead, y), (x, x), (x, x.sin()), (lead, lead)):
        found = []
        for made in (block.pooled(rows, context), written(block, rows, context)):
            first = torch.autograd.grad(made.square().sum(), leaves, create_graph=True, allow_unused=True)
            found.append(
                [
                    torch.zeros_like(leaf) if one is None else one
                    for one, leaf in zip(first, leaves, strict=True)
                ]
            )
        for one, two in zip(*found, strict=True):
            torch.testing.assert_close(one, two)
        ours, theirs = (sum(one.square().sum() for one in firsts)[None] for firsts in found)
        assert_same(ours, theirs, leaves, 1e-8)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_makes_it_again(made_at_once, reentrant):
    block, x, y = block_and_grids(4, 3, 2, (5,), (6,))
    leaves = [x, y, *block.parameters()]
    checkpoint(block.pooled, x, y, use_reentrant=reentrant).square().sum().backward()
    expected = torch.autograd.grad(written(block, x, y).square().sum(), leaves, allow_unused=True)
    for leaf, one in zip(leaves, expected, strict=True):
        torch.testing.assert_close(leaf.grad, torch.zeros_like(leaf) if one is None else one)
    assert made_at_once


POOLED = st.sampled_from(
    [{}, {"pool": 2}, {"norm": True}, {"heads": 2}, {"pool": 3, "norm": True, "scale": True}]
)


@given(st.integers(2, 5), WIDTHS, GRIDS, GRIDS, POOLED)
def test_of_a_uniform_relation_everything_is_the_mean_s(lead, context, xg, yg, options):
    block, x, y = block_and_grids(lead, context, 4, xg, yg, uniform=True, **options)
    leaves = [x, y, *(weight for weight in block.parameters() if weight.requires_grad)]
    for ours, whole in (
        (block(x, y), block.as_written(x, y)),
        (block.onto(x, x, y), x + block.as_written(x, y)),
        (block.pooled(x, y), written(block, x, y)),
    ):
        assert_same(ours, whole, leaves, 1e-7 if "norm" in options else 1e-10)
    relation = block.relation(x, y)
    torch.testing.assert_close(relation, torch.full_like(relation, 1 / relation.shape[-1]))


def test_a_uniform_relation_is_not_made(monkeypatch):
    def made(*given, **more):
        raise AssertionError("a relation was made")

    for options in ({}, {"pool": 2}, {"norm": True}, {"heads": 2}):
        block, x, y = block_and_grids(4, 3, 2, (5, 2), (6,), uniform=True, **options)
        with monkeypatch.context() as patch:
            patch.setattr(nonlocal_, "softmax", made)
            patch.setattr(nonlocal_, "takes", made)
            block(x, y), block.onto(x, x, y), block.pooled(x, y)


def test_a_clock_makes_a_uniform_relation_one_of_time():
    block, x, y = block_and_grids(4, 3, 2, (5, 2), (6,), uniform=True, clock=True)
    for weight in block.clock.parameters():
        torch.nn.init.normal_(weight)
    leaves = [x, y, *(weight for weight in block.parameters() if weight.requires_grad)]
    assert_same(block.pooled(x, y), written(block, x, y), leaves)
    assert_same(block(x, y), block.as_written(x, y), leaves)
    assert (block.relation(x, y) - 1 / 6).abs().max() > 1e-3


@pytest.mark.parametrize(
    "make",
    [partial(Led, lead="a"), partial(Led, lead="a", width=5), Symmetric, partial(Symmetric, beside=True)],
)
def test_a_mean_that_is_known_stands_for_the_context(make):
    shapes = {"a": (5, 3), "b": (4, 2, 6), "c": (7,)}
    torch.manual_seed(0)
    method = make(shapes, 4, uniform=True).double()
    grids = {name: torch.randn(2, *shape, dtype=torch.float64) for name, shape in shapes.items()}
    means = {mean_of(name): average(grid) for name, grid in grids.items()}
    torch.testing.assert_close(method(grids | means), method(grids))


def test_a_relation_that_is_learned_is_not_loaded_as_a_uniform_one():
    make = partial(Led, {"a": (5, 3), "b": (4, 2)}, 4, lead="a")
    learned, uniform = make(), partial(make, uniform=True)
    with pytest.raises(RuntimeError, match=r"enforced\.blocks\.b.*theta and phi of a uniform relation"):
        uniform().load_state_dict(learned.state_dict())
    uniform().load_state_dict(uniform().state_dict())
    timed = {"uniform": True, "clock": True}
    NonLocal(3, 4, 2, **timed).load_state_dict(NonLocal(3, 4, 2, **timed).state_dict())
