"""One rule says in which order products are taken; fused, a block is what the paper writes."""

import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from plait.fusion import Led, NonLocal, Symmetric, nonlocal_, orders
from plait.fusion.heads import ALIGNED, attended
from plait.fusion.orders import Sizes, costs, fuses, order

POSITIONS, CHANNELS = st.integers(1, 3000), st.integers(1, 900)
SIZES = st.builds(
    Sizes, st.integers(1, 64), POSITIONS, CHANNELS, POSITIONS, CHANNELS, CHANNELS, st.integers(1, 8),
    st.booleans(),
)  # fmt: skip
FLOAT32, HALF = torch.float32, torch.bfloat16
# Grids of benchmarks/attention.py and fusion.py, as docs/performance.md has them.
VIDEO_LED, GLOVE_LED = (490, 832, 28, 64, 416), (28, 64, 490, 832, 32)
DEPTH_LED, CAMERAS = (512, 48, 16, 64, 24), (392, 832, 392, 832, 416)
NARROW, WIDE, LARGEST = (3136, 64, 3136, 64, 32), (3136, 256, 3136, 256, 128), (12544, 64, 12544, 64, 32)


@given(SIZES)
def test_a_processor_and_devices_unknown_take_what_costs_least(sizes):
    found = costs(sizes)
    for device in ("cpu", "meta", "mps"):
        assert found[order(sizes, device)] == min(found.values())
        assert order(sizes, device) == order(sizes, device, HALF)


@given(SIZES, st.sampled_from([FLOAT32, HALF]))
def test_a_card_gives_up_no_more_than_launches_are_worth(sizes, dtype):
    found, taken = costs(sizes), order(sizes, "cuda", dtype)
    most = orders.SPARE["cuda"][dtype == HALF]
    assert sizes.heads * (found[taken] - min(found.values())) <= most
    if taken != "embedding":
        assert sizes.heads * (found["embedding"] - found[taken]) > most


@given(SIZES, st.sampled_from(["cpu", "cuda", "mps", "meta"]))
def test_only_large_relations_in_the_embedding_are_fused_where_there_is_a_kernel(sizes, device):
    for dtype in (FLOAT32, HALF, torch.float64):
        kernel = device == "cpu" or (device == "cuda" and dtype != torch.float64)
        large = sizes.clips * sizes.heads * sizes.i * sizes.j > orders.LARGE
        in_embedding = order(sizes, device, dtype) == "embedding"
        assert fuses(sizes, device, dtype) == (kernel and large and in_embedding)


@pytest.mark.parametrize("grids", [VIDEO_LED, GLOVE_LED, DEPTH_LED, CAMERAS])
def test_small_batches_of_the_paper_s_grids_are_the_textbook_s_on_a_card(grids):
    for dtype, clips in itertools.product((FLOAT32, HALF), (1, 8, 16)):
        sizes = Sizes(clips, *grids)
        assert order(sizes, "cuda", dtype) == "embedding" and not fuses(sizes, "cuda", dtype)


def test_large_batches_of_the_video_are_taken_among_its_channels_on_a_card():
    assert order(Sizes(64, *VIDEO_LED), "cuda") == order(Sizes(8, *VIDEO_LED), "cpu") == "lead"
    assert order(Sizes(64, *VIDEO_LED), "cuda", HALF) == "embedding"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("grids", [NARROW, WIDE, LARGEST])
def test_large_grids_are_fused(grids, device):
    for dtype, clips in itertools.product((FLOAT32, HALF), (1, 8)):
        assert fuses(Sizes(clips, *grids), device, dtype)


@pytest.fixture
def all_in_the_embedding(monkeypatch):
    monkeypatch.setattr(orders, "SPARE", dict.fromkeys(("cpu", "meta"), (2**62, 2**62)))


@pytest.fixture
def all_fused(monkeypatch, all_in_the_embedding):
    monkeypatch.setattr(orders, "LARGE", 0)


OPTIONS = {
    "plain": {},
    "scaled, normalised": {"scale": True, "norm": True},
    "pooled": {"pool": 2},
    "heads": {"heads": 2, "scale": True},
    "heads, pooled, normalised": {"heads": 4, "pool": 3, "norm": True},
    "uniform": {"uniform": True},
}
SHAPES = [((5, 3, 2, 9), (7, 4)), ((11, 4), (3, 2, 2, 9)), ((9,), (6, 5)), ((4, 6), (8,))]


def made(block, lead, context, dtype, form):
    """Outputs of a form, with something added and pooled, and all gradients."""
    torch.manual_seed(1)
    x = torch.randn(2, *lead, dtype=dtype, requires_grad=True)
    y = torch.randn(2, *context, dtype=dtype, requires_grad=True)
    rows = (2, -1, lead[-1])
    if form == "as written":
        outputs = [block.as_written(x, y), x + block.as_written(x, y)]
        outputs.append(block.as_written(x, y).reshape(rows).mean(1))
    else:
        outputs = [block(x, y), block.onto(x, x, y), block.pooled(x, y)]
    weighed = sum(
        (one * torch.linspace(-1, 1, one.numel(), dtype=dtype).view_as(one)).sum() for one in outputs
    )
    leaves = [x, y, *(weight for weight in block.parameters() if weight.requires_grad)]
    return [*outputs, *torch.autograd.grad(weighed, leaves)]


def assert_near(ours, true, dtype):
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    for got, wanted in zip(ours, true, strict=True):
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("form", ["all_in_the_embedding", "all_fused"])
def test_every_form_is_what_the_paper_writes(request, form, options, dtype):
    request.getfixturevalue(form)
    for lead, context in SHAPES:
        torch.manual_seed(0)
        block = NonLocal(lead[-1], context[-1], 8, **options).to(dtype)
        ours = made(block, lead, context, dtype, form)
        assert_near(ours, made(block, lead, context, dtype, "as written"), dtype)


class Seen(TorchDispatchMode):
    """Which operations there were, and the largest tensor that any made."""

    def __init__(self):
        super().__init__()
        self.names, self.numel = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.names.append(str(function))
        for one in result if isinstance(result, tuple | list) else [result]:
            if isinstance(one, torch.Tensor):
                self.numel = max(self.numel, one.numel())
        return result


def test_a_large_relation_is_never_held():
    block = NonLocal(4, 4, 2)
    x, y = (torch.randn(1, side, 4, requires_grad=True) for side in (3000, 2900))
    with Seen() as seen:
        block(x, y).sum().backward()
    assert any("flash_attention" in name for name in seen.names)
    assert seen.numel < 3000 * 2900 // 100


def test_a_clock_is_never_fused(all_fused):
    torch.manual_seed(0)
    block, x, y = NonLocal(3, 4, 2, clock=True), torch.randn(2, 5, 3), torch.randn(2, 6, 4)
    with Seen() as seen, torch.no_grad():
        ours = block(x, y)
    assert not any("attention" in name for name in seen.names)
    torch.testing.assert_close(ours, block.as_written(x, y))


@pytest.mark.parametrize("width", [1, 7, 8, 13])
@pytest.mark.parametrize("heads", [1, 3])
def test_channels_filled_up_for_a_card_s_kernels_change_nothing(width, heads):
    torch.manual_seed(0)
    rows = [torch.randn(2, size, heads * width, dtype=torch.float64) for size in (5, 6, 6)]
    plain, filled = (attended(*rows, 0.7, heads, aligned) for aligned in (1, ALIGNED))
    torch.testing.assert_close(filled, plain)


def test_sizes_alone_decide_on_meta_tensors_too(monkeypatch, all_fused):
    """Of a batch whose relation would take 5 GB, the same calls; torch fuses real tensors alone."""
    monkeypatch.setattr(orders, "FUSED", {"meta": (FLOAT32,)})
    called = []
    monkeypatch.setattr(nonlocal_, "attended", lambda *given: called.append(given) or attended(*given))
    block = NonLocal(64, 64, 20).to("meta")
    grid = torch.empty(8, 16, 28, 28, 64, device="meta", requires_grad=True)
    made_of_it = block(grid, grid)
    made_of_it.sum().backward()
    assert made_of_it.shape == grid.shape == grid.grad.shape and block.pooled(grid, grid).shape == (8, 64)
    assert [given[-1] for given in called] == [ALIGNED] * 2


def test_rows_of_a_small_relation_lie_together_on_a_card(all_in_the_embedding):
    """As the textbook's order has them, whose times stand in docs/performance.md."""
    for heads in (1, 2):
        block = NonLocal(6, 6, 2, heads=heads).to("meta")
        x, y = torch.empty(2, 9, 6, device="meta"), torch.empty(2, 4, 6, device="meta")
        assert block.logits_of_heads(x, y).stride(-1) == 1
        assert block(x, y).shape == x.shape and block.pooled(x, y).shape == (2, 6)


def test_at_the_paper_s_sizes_a_processor_s_bytes_are_those_of_the_cheapest_order(monkeypatch):
    """Whatever the rule has for cards and for large grids, studies on the CPU stay as they were."""
    shapes = {"video": (10, 7, 7, 832), "gloves": (28, 64)}
    torch.manual_seed(0)
    methods = [Led(shapes, 8, "video"), Led(shapes, 8, "gloves"), Symmetric(shapes, 8, head="flatten")]
    grids = {name: torch.randn(4, *shape) for name, shape in shapes.items()}

    def bytes_of(method):
        method = copy.deepcopy(method)
        logits = method(grids)
        logits.square().sum().backward()
        return [logits, *(weight.grad for weight in method.parameters() if weight.grad is not None)]

    ruled = [bytes_of(method) for method in methods]
    monkeypatch.setattr(orders, "SPARE", {})
    monkeypatch.setattr(orders, "FUSED", {})
    for ours, method in zip(ruled, methods, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, bytes_of(method), strict=True))
