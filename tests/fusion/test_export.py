"""Methods leave plait: exported and traced for any number of clips, they give what they gave."""

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from plait.fusion import (
    Binding,
    Bottleneck,
    Concat,
    CrossAttention,
    Gated,
    Led,
    LowRank,
    Single,
    Symmetric,
    TensorFusion,
)

SHAPES = {"video": (3, 2, 2, 12), "gloves": (7, 5), "pulse": (4,)}
METHODS = [
    (Led, {"lead": "video"}),
    (Led, {"lead": "gloves", "pool": 2, "head": "flatten"}),
    (Led, {"lead": "pulse", "norm": True, "scale": True, "head": "hidden"}),
    (Symmetric, {"embedding": 30, "normalise": True}),
    (Led, {"lead": "gloves", "width": 8, "heads": 2, "clock": True, "pool": 2, "beside": True}),
    (Symmetric, {"heads": 3, "embedding": 3, "depth": 2, "mlp": 2, "clock": True}),
    (Led, {"lead": "video", "head": "hidden", "width": 40, "heads": 4, "depth": 2, "clock": True}),
    (Concat, {}),
    (Single, {"modality": "video"}),
    (Gated, {}),
    (Gated, {"gates": "sigmoid", "head": "hidden", "normalise": True}),
    (TensorFusion, {}),
    (LowRank, {"rank": 2, "embedding": 3}),
    (CrossAttention, {"layers": 2}),
    (CrossAttention, {"lead": "gloves", "head": "flatten"}),
    (Bottleneck, {"bottlenecks": 2}),
    (Binding, {"windows": 4}),
]


class Positional(nn.Module):
    """A method that takes its grids one after the other, as tracing wants them."""

    def __init__(self, method):
        super().__init__()
        self.method = method

    def forward(self, *grids):
        return self.method(dict(zip(self.method.entry.shapes, grids, strict=True)))


def positional(case):
    """A method of all modalities; of two where it wants time in each, or where its blocks are many."""
    kind, options = case
    torch.manual_seed(0)
    fewer = kind is Binding or "depth" in options
    shapes = {name: s for name, s in SHAPES.items() if not fewer or len(s) > 1}
    return Positional(kind({"video": SHAPES["video"]} if kind is Single else shapes, 6, **options)).eval()


def grids(method, batch):
    torch.manual_seed(batch)
    return tuple(torch.randn(batch, *shape) for shape in method.method.entry.shapes.values())


def called(case):
    if not isinstance(case, tuple):
        return None
    return f"{case[0].__name__}-{'-'.join(map(str, case[1].values())) or 'plain'}"


@pytest.mark.parametrize("case", METHODS, ids=called)
def test_any_number_of_clips(case):
    method = positional(case)
    example, batch = grids(method, 3), Dim("batch", min=1, max=4096)
    exported = export(method, example, dynamic_shapes=(tuple({0: batch} for _ in example),)).module()
    for size in (1, 2, 3, 8):
        given = grids(method, size)
        torch.testing.assert_close(exported(*given), method(*given), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("case", METHODS[::2], ids=called)
def test_a_trace_of_one_batch_takes_another(case):
    method = positional(case)
    traced = torch.jit.trace(method, grids(method, 3))
    for size in (1, 3, 8):
        given = grids(method, size)
        torch.testing.assert_close(traced(*given), method(*given), rtol=1e-5, atol=1e-6)
