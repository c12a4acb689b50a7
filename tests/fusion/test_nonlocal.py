from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch.utils._python_dispatch import TorchDispatchMode

from plait.errors import ShapeError
from plait.fusion import Concat, Led, NonLocal, Single, Symmetric, contraction
from plait.fusion.contraction import average
from tests.fusion import oracle

SIZES = st.integers(1, 4)
GRIDS = st.lists(st.integers(1, 4), min_size=0, max_size=3).map(tuple)


def block_and_grids(lead, context, embedding, x_grid, y_grid, batch=2, **options):
    torch.manual_seed(0)
    block = NonLocal(lead, context, embedding, **options).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    x = torch.randn(batch, *x_grid, lead, dtype=torch.float64, requires_grad=True)
    y = torch.randn(batch, *y_grid, context, dtype=torch.float64, requires_grad=True)
    return block, x, y


def gradients(output, block, x, y):
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    leaves = [x, y, *block.parameters()]
    return torch.autograd.grad((output * weights).sum(), leaves, retain_graph=True, allow_unused=False)


def assert_same(one, other, tolerance=1e-10):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@given(SIZES, SIZES, SIZES, GRIDS, GRIDS, st.integers(1, 3), st.booleans(), st.booleans())
def test_outputs_and_gradients_are_those_of_explicit_loops(
    lead, context, embedding, xg, yg, pool, scale, norm
):
    block, x, y = block_and_grids(lead, context, embedding, xg, yg, pool=pool, scale=scale, norm=norm)
    loops = oracle.batched(oracle.non_local, block, x, y)
    ours = block(x, y)
    assert ours.shape == x.shape
    assert_same([ours, block.as_written(x, y)], [loops, loops])
    # A LayerNorm over one channel is constant: its input's gradient is a difference of huge numbers.
    if not (norm and lead == 1):
        assert_same(gradients(ours, block, x, y), gradients(loops, block, x, y), 1e-8 if norm else 1e-10)


@given(SIZES, SIZES, SIZES, GRIDS, GRIDS, st.integers(1, 3), st.booleans())
def test_logits_and_relation_are_those_of_explicit_loops(lead, context, embedding, xg, yg, pool, scale):
    block, x, y = block_and_grids(lead, context, embedding, xg, yg, pool=pool, scale=scale)
    loops = oracle.batched(oracle.logits, block, x, y)
    assert_same([block.logits(x, y)], [loops])
    relation = block.relation(x, y)
    assert_same([relation], [loops.exp() / loops.exp().sum(-1, keepdim=True)])
    torch.testing.assert_close(relation.sum(-1), torch.ones_like(relation[..., 0]))


@given(SIZES, SIZES, SIZES, GRIDS, GRIDS, st.integers(1, 3), st.booleans())
def test_pooled_is_the_mean_of_the_whole_grid(lead, context, embedding, xg, yg, pool, norm):
    block, x, y = block_and_grids(lead, context, embedding, xg, yg, pool=pool, norm=norm)
    whole = contraction.positions(block(x, y)).mean(dim=1)
    assert_same([block.pooled(x, y)], [whole])
    if not (norm and lead == 1):
        assert_same(gradients(block.pooled(x, y), block, x, y), gradients(whole, block, x, y), 1e-8)


# Shapes for which each order of association wins:
# lead, context, embedding, lead's positions, context's positions.
ORDERS = {
    "embedding": (8, 8, 1, 6, 6),
    "lead": (6, 5, 3, 40, 1),
    "lead, merged": (3, 7, 40, 40, 30),
    "context": (4, 6, 3, 1, 40),
    "context, merged": (8, 3, 40, 30, 40),
}


@pytest.mark.parametrize("sizes", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("pool", [1, 2])
def test_every_order_of_association_is_the_same_function(sizes, pool):
    lead, context, embedding, i, j = sizes
    block, x, y = block_and_grids(lead, context, embedding, (i,), (j,), pool=pool)
    loops = oracle.batched(oracle.non_local, block, x, y)
    assert_same([block(x, y)], [loops])
    assert_same(gradients(block(x, y), block, x, y), gradients(loops, block, x, y))
    assert_same([block.logits(x, y)], [oracle.batched(oracle.logits, block, x, y)])


def test_the_shapes_above_do_take_every_order(monkeypatch):
    taken = set()
    pair = contraction._pair

    def spy(rows, first, second):
        count, (middle, start), end = rows[..., 0].numel(), first[0].shape, second[0].shape[0]
        merged = count * middle * (start + end) > start * middle * end + count * start * end
        taken.add((start, end, merged))
        return pair(rows, first, second)

    monkeypatch.setattr(contraction, "_pair", spy)
    for lead, context, embedding, i, j in ORDERS.values():
        block, x, y = block_and_grids(lead, context, embedding, (i,), (j,))
        block.logits(x, y)
    assert taken == {(5, 6, False), (7, 3, True), (4, 6, False), (8, 3, True)}


@given(GRIDS, st.integers(1, 6), st.randoms(use_true_random=False))
def test_permutations(x_grid, j, random):
    block, x, y = block_and_grids(3, 4, 2, x_grid, (j,))
    order = list(range(j))
    random.shuffle(order)
    assert_same([block(x, y[:, order])], [block(x, y)])
    rows = contraction.positions(x)
    order = list(range(rows.shape[1]))
    random.shuffle(order)
    assert_same([block(rows[:, order], y)], [block(rows, y)[:, order]])


def test_a_vector_is_one_position():
    block, x, y = block_and_grids(3, 4, 2, (), ())
    assert_same([block(x, y)], [block(x[:, None], y[:, None])[:, 0]])
    assert block.relation(x, y).shape == (2, 1, 1)


@pytest.mark.parametrize(
    ("lead", "context", "i", "j"), [(6, 5, 40, 3), (5, 6, 3, 40), (6, 3, 40, 30), (2, 2, 1, 1)]
)
def test_the_bias_of_phi_has_a_gradient_and_it_is_zero(lead, context, i, j):
    block, x, y = block_and_grids(lead, context, 9, (i,), (j,))
    block(x, y).square().sum().backward()
    assert block.phi.bias.grad is not None
    assert block.phi.bias.grad.abs().max() < 1e-10 * block.phi.weight.grad.abs().max().clamp(min=1)


def test_pool_2_makes_the_paper_s_14_of_28():
    block = NonLocal(832, 64, 416, pool=2)
    assert block.relation(torch.randn(1, 10, 7, 7, 832), torch.randn(1, 28, 64)).shape == (1, 490, 14)


def test_zero_h_starts_at_zero_and_learns():
    block, x, y = block_and_grids(3, 4, 2, (5,), (6,))
    block = NonLocal(3, 4, 2, zero_h=True).double()
    assert torch.equal(block(x, y), torch.zeros_like(x))
    block(x, y).sum().backward()
    assert block.h.weight.grad.abs().max() > 0


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("norm", [False, True])
def test_a_uniform_relation_weighs_every_position_alike_and_stays_so(pool, norm):
    torch.manual_seed(0)
    block = NonLocal(3, 4, 2, pool, norm=norm, uniform=True).double()
    x, y = torch.randn(2, 5, 3).double(), torch.randn(2, 6, 4).double()
    assert torch.allclose(block.relation(x, y), torch.full((2, 5, 6 // pool), pool / 6).double())
    before = {name: weight.clone() for name, weight in block.named_parameters()}
    learned = [weight for weight in block.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        block(x, y).square().sum().backward()
        optimizer.step()
    stayed = {name for name, weight in block.named_parameters() if torch.equal(weight, before[name])}
    assert stayed == {"theta.weight", "theta.bias", "phi.weight", "phi.bias"}
    assert torch.allclose(block.relation(x, y), torch.full((2, 5, 6 // pool), pool / 6).double())
    assert torch.allclose(block(x, y), block.as_written(x, y))


def test_the_three_arms_of_a_comparison_start_as_one():
    """Symmetric with `zero_h`, also with a uniform relation, and pooled concatenation: the same scores."""
    shapes, scores = {"a": (5, 3), "b": (4, 2, 6), "c": (7,)}, []
    grids = {name: torch.randn(2, *shape) for name, shape in shapes.items()}
    for make in (
        partial(Symmetric, zero_h=True),
        partial(Symmetric, zero_h=True, uniform=True),
        partial(Concat, head="mean"),
    ):
        torch.manual_seed(3)
        scores.append(make(shapes, 4)(grids))
    assert_same(scores[1:], scores[:1] * 2, 1e-6)
    torch.manual_seed(3)
    led = Led(shapes, 4, "b", zero_h=True)
    torch.manual_seed(3)
    assert_same([led(grids)], [Single(shapes, 4, "b")(grids)], 1e-6)


def test_scale_divides_by_the_root_of_the_embedding():
    plain, x, y = block_and_grids(3, 4, 9, (5,), (6,))
    scaled, _, _ = block_and_grids(3, 4, 9, (5,), (6,), scale=True)
    assert_same([scaled.logits(x, y)], [plain.logits(x, y) / 3])


@pytest.mark.parametrize("wrong", ["lead", "context", "embedding", "pool"])
def test_widths_below_one_are_refused(wrong):
    sizes = {"lead": 3, "context": 4, "embedding": 2, "pool": 1} | {wrong: 0}
    with pytest.raises(ShapeError, match=f"{wrong} is 0, expected at least 1"):
        NonLocal(**sizes)


def test_wrong_grids_are_named():
    block = NonLocal(3, 4, 2)
    with pytest.raises(ShapeError, match=r"lead has shape \(2, 5, 4\), expected \(batch, \*grid, 3\)"):
        block(torch.zeros(2, 5, 4), torch.zeros(2, 5, 4))
    with pytest.raises(ShapeError, match=r"context has shape \(2, 3\), expected \(batch, \*grid, 4\)"):
        block(torch.zeros(2, 5, 3), torch.zeros(2, 3))
    with pytest.raises((ShapeError, TypeCheckError)):
        block(torch.zeros(2, 5, 3), torch.zeros(3, 5, 4))


def test_batches_differ_without_type_checks():
    with pytest.raises(ShapeError, match="lead has batch 2 and context 3"):
        NonLocal(3, 4, 2)._check(torch.zeros(2, 5, 3), torch.zeros(3, 5, 4))


def test_float32_orders_agree_at_the_paper_s_sizes():
    torch.manual_seed(0)
    for lead, context, x_grid, y_grid in [(832, 64, (10, 7, 7), (28,)), (64, 832, (28,), (10, 7, 7))]:
        block = NonLocal(lead, context, lead // 2)
        x, y = torch.randn(2, *x_grid, lead), torch.randn(2, *y_grid, context)
        q, k = block.theta(contraction.positions(x)), block.phi(contraction.positions(y))
        textbook = block.h((q @ k.mT).softmax(-1) @ block.g(contraction.positions(y))).reshape(x.shape)
        torch.testing.assert_close(block(x, y), textbook, rtol=1e-4, atol=1e-5)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, torch.Tensor):
                self.numel = max(self.numel, one.numel())
        return made


@pytest.mark.parametrize("sizes", [(3, 2, 2, 60, 50), (2, 3, 2, 50, 60)])
@pytest.mark.parametrize("options", [{}, {"pool": 2}, {"norm": True}, {"scale": True}])
def test_no_matrix_of_pairs_is_held_beyond_the_bound(monkeypatch, sizes, options):
    lead, context, embedding, i, j = sizes
    block, x, y = block_and_grids(lead, context, embedding, (i,), (j,), **options)
    whole = [block(x, y), block.pooled(x, y)]
    wanted = [*whole, *gradients(whole[0], block, x, y), *gradients(whole[1], block, x, y)]
    bound = 4 * max(i, j) * max(lead, context)  # room for the grids themselves, not for 2 x i x j pairs
    assert bound < i * j // block.pool
    monkeypatch.setattr(contraction, "PAIRS", bound)
    with Largest() as largest:
        blocked = [block(x, y), block.pooled(x, y)]
        got = [*blocked, *gradients(blocked[0], block, x, y), *gradients(blocked[1], block, x, y)]
    assert largest.numel <= bound
    assert_same(got, wanted, 1e-9)
    with torch.no_grad():
        assert_same([block(x, y), block.pooled(x, y)], whole)


def test_the_mean_of_many_halves_is_in_their_range():
    for kind in (torch.float16, torch.bfloat16):
        grid = torch.full((1, 79, 7, 7, 2), 30.0, dtype=kind)
        assert torch.equal(average(grid), torch.full((1, 2), 30.0, dtype=kind))
