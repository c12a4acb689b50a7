"""Methods leave plait: exported and traced for any number of clips, they give what they gave."""

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from plait.fusion import Concat, Led, Single, Symmetric

SHAPES = {"video": (3, 2, 2, 12), "gloves": (7, 5), "pulse": (4,)}
METHODS = [
    (Led, {"lead": "video"}),
    (Led, {"lead": "gloves", "pool": 2, "head": "flatten"}),
    (Led, {"lead": "pulse", "norm": True, "scale": True, "head": "hidden"}),
    (Symmetric, {"embedding": 30, "normalise": True}),
    (Concat, {}),
    (Single, {"modality": "video"}),
]


class Positional(nn.Module):
    """A method that takes its grids one after the other, as tracing wants them."""

    def __init__(self, method):
        super().__init__()
        self.method = method

    def forward(self, *grids):
        return self.method(dict(zip(SHAPES, grids, strict=True)))


def grids(batch):
    torch.manual_seed(batch)
    return tuple(torch.randn(batch, *shape) for shape in SHAPES.values())


def called(case):
    if not isinstance(case, tuple):
        return None
    return f"{case[0].__name__}-{'-'.join(map(str, case[1].values())) or 'plain'}"


@pytest.mark.parametrize("case", METHODS, ids=called)
def test_any_number_of_clips(case):
    kind, options = case
    torch.manual_seed(0)
    method = Positional(kind(SHAPES, 6, **options)).eval()
    batch = Dim("batch", min=1, max=4096)
    exported = export(method, grids(3), dynamic_shapes=(tuple({0: batch} for _ in SHAPES),)).module()
    for size in (1, 2, 3, 8):
        torch.testing.assert_close(exported(*grids(size)), method(*grids(size)), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("case", METHODS[::2], ids=called)
def test_a_trace_of_one_batch_takes_another(case):
    kind, options = case
    torch.manual_seed(0)
    method = Positional(kind(SHAPES, 6, **options)).eval()
    traced = torch.jit.trace(method, grids(3))
    for size in (1, 3, 8):
        torch.testing.assert_close(traced(*grids(size)), method(*grids(size)), rtol=1e-5, atol=1e-6)
