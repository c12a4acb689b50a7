"""What a graphics card computes is what the CPU computes: networks, training, features, recognisers.

Without CUDA these are skipped; `PLAIT_TEST_DEVICE=cpu` tries the tests themselves.
"""

import copy
import os
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from plait.clips import listed
from plait.compute.machine import settled
from plait.encoders.depth import DepthNet
from plait.encoders.frames import FrameNet
from plait.encoders.glove import GloveNet, SignalNet
from plait.encoders.grid import GridNet
from plait.encoders.i3d import I3D
from plait.encoders.skeleton import SkeletonNet
from plait.encoders.video import VideoNet
from plait.errors import ConfigError
from plait.features import Extraction, extract
from plait.features.engine import accelerate
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
    contraction,
    orders,
)
from plait.fusion.attention import attentions, without
from plait.pretrained import efficientnet_lite0
from plait.recogniser.fitting import fit_model
from plait.recogniser.recogniser import Recogniser
from plait.study.run import run_study
from plait.training.rmsprop import RMSprop, one_pass
from plait.trust import Trust
from tests import tiny
from tests.recogniser import world
from tests.test_features import keyed

DEVICE = os.environ.get("PLAIT_TEST_DEVICE") or ("cuda" if torch.cuda.is_available() else "")
pytestmark = pytest.mark.skipif(not DEVICE, reason="no CUDA here; PLAIT_TEST_DEVICE=cpu tries the tests")
TESTS = Trust(frozenset({"tests"}))


def apart(got, true):
    """The norm of the difference over that of the truth, in float64; infinite if not a number."""
    got, true = got.detach().cpu().double(), true.detach().cpu().double()
    found = float((got - true).norm() / true.norm().clamp(min=1e-30))
    return found if np.isfinite(found) else np.inf


def stepped(network, inputs):
    """What a network gives, and the gradients of its weights and of the inputs that take one."""
    made = network(inputs)
    weights = torch.linspace(-1, 1, made.numel(), device=made.device).reshape(made.shape)
    leaves = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    given = inputs.items() if isinstance(inputs, dict) else {"": inputs}.items()
    leaves |= {f"input {name}": grid for name, grid in given if grid.requires_grad}
    gradients = torch.autograd.grad((made * weights).sum(), list(leaves.values()), allow_unused=True)
    used = {name: one for name, one in zip(leaves, gradients, strict=True) if one is not None}
    return made, used


def moved(inputs, device, dtype=torch.float32):
    if isinstance(inputs, dict):
        return {name: moved(one, device, dtype) for name, one in inputs.items()}
    return inputs.detach().to(device, dtype).requires_grad_(inputs.requires_grad)


def assert_alike(network, inputs, output=1e-5, gradient=1e-4):
    """On the card a network gives what it gives on the CPU, near what it gives in float64.

    A gradient that float32 cannot tell from zero, as of a bias before a normalisation, is compared with the
    largest gradient there is.
    """
    exact = copy.deepcopy(network).double()
    there = copy.deepcopy(network).to(DEVICE)
    with settled():
        made, gradients = stepped(there, moved(inputs, DEVICE))
        true, expected = stepped(exact, moved(inputs, "cpu", torch.float64))
        ours, _ = stepped(network, moved(inputs, "cpu"))
    assert made.device.type == torch.device(DEVICE).type
    assert apart(made, true) < output and apart(made, ours) < output
    largest = max(float(one.norm()) for one in expected.values())
    assert gradients.keys() == expected.keys()
    for name, one in gradients.items():
        off = float((one.cpu().double() - expected[name]).norm())
        assert off < gradient * max(float(expected[name].norm()), 1e-3 * largest), name


def pictures():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, bias=False), nn.BatchNorm2d(8), nn.ReLU())


def sharpened(network):
    """Batch normalisations that do something, as trained ones."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm3d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    return network


ENCODERS = {
    "depth": (DepthNet, (32, 64, 64)),
    "gloves": (GloveNet, (134, 18)),
    "grid": (partial(GridNet, motion=True), (8, 4, 4, 24)),
    "i3d": (lambda shape: I3D("Mixed_3b"), (9, 32, 32, 3)),
    "pictures": (lambda shape: FrameNet(pictures(), shape, neighbours=True, size=24), (4, 32, 32, 3)),
    "signal": (partial(SignalNet, norm=True, standardise=True), (80, 6)),
    "skeleton": (SkeletonNet, (32, 20, 3)),
    "video": (VideoNet, (16, 32, 32)),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_in_training_is_the_cpu_s(name):
    make, shape = ENCODERS[name]
    network = make(shape)
    inputs = torch.randn(4, *shape)
    for part in network.modules():
        if hasattr(part, "calibrate"):
            part.calibrate([inputs])
    # A ReLU or a maximum that rounding decides otherwise moves a whole gradient.
    assert_alike(network, inputs, 1e-4, 1e-2)


@pytest.mark.parametrize("engine", ["torch", "compile"])
@pytest.mark.parametrize("name", ["i3d", "lite0"])
def test_a_frozen_encoder_by_an_engine_is_the_network_as_it_is(name, engine):
    shape = (9, 64, 64, 3)
    torch.manual_seed(0)
    network = sharpened(I3D("Mixed_3c") if name == "i3d" else efficientnet_lite0(shape, stride=16)).eval()
    clips = torch.rand(1, *shape) * 2 - 1
    with settled():
        with torch.inference_mode():
            expected = network.double()(clips.double())
        run = accelerate(network.float().to(DEVICE), clips.to(DEVICE), engine)
        assert apart(run(clips.to(DEVICE)), expected) < 1e-4


def test_openvino_says_that_it_runs_on_the_cpu():
    if torch.device(DEVICE).type != "cpu":
        with pytest.raises(ConfigError, match="^engine 'openvino' runs on the CPU[^\n]*$"):
            accelerate(nn.Identity(), torch.zeros(1, 2, device=DEVICE), "openvino")


SHAPES = {"video": (5, 3, 3, 40), "gloves": (28, 16), "static": (24,)}
METHODS = {
    "single": partial(Single, SHAPES, 8, "video"),
    "concat": partial(Concat, SHAPES, 8),
    "video-led": partial(Led, SHAPES, 8, "video"),
    "glove-led": partial(Led, SHAPES, 8, "gloves"),
    "scaled": partial(Led, SHAPES, 8, "video", scale=True, norm=True, normalise=True),
    "pooled": partial(Led, SHAPES, 8, "video", pool=2, embedding=3),
    "uniform": partial(Led, SHAPES, 8, "gloves", uniform=True),
    "symmetric": partial(Symmetric, SHAPES, 8),
    "wider": partial(Led, SHAPES, 8, "video", width=24, heads=4, depth=2, mlp=2, clock=True, beside=True),
    "heads": partial(Symmetric, SHAPES, 8, heads=2, pool=2),
    "gated": partial(Gated, SHAPES, 8),
    "gated apart": partial(Gated, SHAPES, 8, gates="sigmoid", normalise=True),
    "tensor": partial(TensorFusion, SHAPES, 8),
    "low-rank": partial(LowRank, SHAPES, 8, rank=2),
    "cross-attention": partial(CrossAttention, SHAPES, 8, layers=2),
    "bottleneck": partial(Bottleneck, SHAPES, 8, bottlenecks=2),
    "binding": partial(Binding, {name: SHAPES[name] for name in ("video", "gloves")}, 8),
}


def grids(method, batch=3):
    torch.manual_seed(1)
    return {name: torch.randn(batch, *shape).requires_grad_() for name, shape in method.entry.shapes.items()}


@pytest.mark.parametrize("head", ["mean", "flatten", "hidden"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_the_cpu_s(name, head):
    method = METHODS[name](head=head)
    assert_alike(method, grids(method), 1e-5, 1e-4)


@pytest.mark.parametrize("order", [(4, 90, 30), (90, 4, 30), (16, 16, 2), (64, 512, 8)])
@pytest.mark.parametrize("pairs", [contraction.PAIRS, 300])
def test_a_block_is_the_cpu_s_in_every_order_and_by_blocks(monkeypatch, order, pairs):
    monkeypatch.setattr(contraction, "PAIRS", pairs)
    monkeypatch.setattr(orders, "SPARE", {})
    monkeypatch.setattr(orders, "FUSED", {})
    assert_block_alike(*order)


@pytest.mark.parametrize("order", [(4, 90, 30), (90, 4, 26), (16, 16, 2), (64, 512, 8)])
@pytest.mark.parametrize("own", [{}, {"heads": 2}, {"pool": 2, "norm": True, "scale": True}])
@pytest.mark.parametrize("form", ["as ruled", "embedding", "fused"])
def test_a_block_is_the_cpu_s_in_every_form(monkeypatch, order, own, form):
    """The textbook's order, and torch's fused attention, also of widths that its kernels do not take."""
    if form != "as ruled":
        monkeypatch.setattr(orders, "SPARE", dict.fromkeys(("cpu", "cuda"), (2**62, 2**62)))
    if form == "fused":
        monkeypatch.setattr(orders, "LARGE", 0)
    assert_block_alike(*order, **own)


def test_a_large_relation_is_not_held_on_a_card():
    if torch.device(DEVICE).type != "cuda":
        pytest.skip("the memory of a card is measured")
    block = NonLocal(64, 64, 26).to(DEVICE)
    x = torch.randn(1, 12544, 64, device=DEVICE, requires_grad=True)
    with settled():
        torch.cuda.reset_peak_memory_stats(DEVICE)
        before = torch.cuda.memory_allocated(DEVICE)
        block(x, x).sum().backward()
        assert torch.cuda.max_memory_allocated(DEVICE) - before < 12544 * 12544  # a quarter of it in float32


def assert_block_alike(lead, context, embedding, **own):
    """What is added to the lead, and its mean."""
    torch.manual_seed(2)
    block = NonLocal(lead, context, embedding, **own)
    x, y = torch.randn(2, 6, 7, lead), torch.randn(2, 30, context)

    class Onto(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = block

        def forward(self, inputs):
            x, y = inputs["x"], inputs["y"]
            return self.block.onto(x, x, y) + self.block.pooled(x, y)[:, None, None]

    assert_alike(Onto(), {"x": x.requires_grad_(), "y": y.requires_grad_()})


@pytest.mark.parametrize("head", ["mean", "flatten", "hidden"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_in_bfloat16_is_near(name, head):
    method = METHODS[name](head=head)
    given = grids(method)
    with settled():
        true, expected = stepped(copy.deepcopy(method).double(), moved(given, "cpu", torch.float64))
        there = method.to(DEVICE)
        with torch.autocast(torch.device(DEVICE).type, torch.bfloat16):
            made = there(moved(given, DEVICE))
        leaves = [weight for name, weight in there.named_parameters() if name in expected]
        weights = torch.linspace(-1, 1, made.numel(), device=DEVICE).reshape(made.shape)
        gradients = torch.autograd.grad((made.float() * weights).sum(), leaves, allow_unused=True)
    assert apart(made, true) < 1 / 30
    whole = [torch.cat([one.cpu().double().flatten() for one in some]) for some in (gradients, [
        expected[name] for name, _ in there.named_parameters() if name in expected])]  # fmt: skip
    assert apart(*whole) < 1 / 20


def test_attention_and_deletion_are_the_cpu_s():
    for name in ("video-led", "symmetric"):
        method = METHODS[name]()
        given = {name: grid.detach() for name, grid in grids(method).items()}
        with settled(), torch.no_grad():
            for removed in ("attended", "random"):
                generators = [torch.Generator().manual_seed(3) for _ in range(2)]
                own = without(method, given, 0.3, removed, generators[0])
                there = copy.deepcopy(method).to(DEVICE)
                far = without(there, moved(given, DEVICE), 0.3, removed, generators[1])
                assert apart(far, own) < 1e-4
            for ours, theirs in zip(
                attentions(method, given), attentions(there, moved(given, DEVICE)), strict=True
            ):
                assert apart(theirs.over_time(), ours.over_time()) < 1e-4
                assert apart(theirs.query_dependence(), ours.query_dependence()) < 1e-4


def test_rmsprop_in_one_pass_is_torch_s():
    networks = [nn.Linear(50, 30).to(DEVICE) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    optimizers = [torch.optim.RMSprop(one.parameters(), 1e-2, alpha=0.9, eps=1e-7) for one in networks]
    optimizers[1] = one_pass(optimizers[1])
    assert type(optimizers[1]) is RMSprop
    for _ in range(20):
        x = torch.randn(16, 50).to(DEVICE)
        for network, optimizer in zip(networks, optimizers, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(network(x), torch.arange(16, device=DEVICE)).backward()
            optimizer.step()
    for ours, theirs in zip(networks[1].parameters(), networks[0].parameters(), strict=True):
        assert apart(ours, theirs) < 1e-5


def ran(out, study, data=None, device=DEVICE):
    """The predictions of a run, and the weights of its jobs by their folders' names."""
    run_study(study, data, out, device=device, executor="inline")
    files = sorted(out.glob("jobs/*/weights.safetensors"))
    return pl.read_parquet(out / "predictions.parquet"), {file.parent.name: load_file(file) for file in files}


def scores(table):
    return np.stack(table.sort("method", "seed", "fold", "clip")["scores"].to_list())


def test_a_study_is_the_cpu_s_in_its_first_epochs(tmp_path):
    study = tiny.study(seeds=[0])
    ours, _ = ran(tmp_path / "here", study, device="cpu")
    theirs, _ = ran(tmp_path / "there", study)
    assert np.abs(scores(ours) - scores(theirs)).max() < 1e-2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_bytes(tmp_path, monkeypatch, precision):
    """Of networks with all that encoders have: convolutions, normalisations, pooling, an LSTM, dropout."""
    own = {
        "use": "plait.fusion:Symmetric",
        "args": {"head": "flatten"},
        "encoders": {
            "signal": {"use": "plait.encoders.glove:SignalNet", "args": {"norm": True, "dropout": 0.2}}
        },
    }
    study = {
        "name": "generated",
        "dataset": "plait.datasets.generated:GENERATED",
        "modalities": ["video", "signal"],
        "seeds": [0],
        "protocol": {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["4"]},
        "train": {"max_epochs": 2, "precision": precision, "args": {"lr": 1e-3}},
        "methods": {"symmetric": own, "led": {"use": "plait.fusion:Led", "args": {"lead": "video"}}},
    }
    first, weights = ran(tmp_path / "first", study, tmp_path)
    torch.rand(7, device=DEVICE)  # what else draws changes nothing
    again, same = ran(tmp_path / "again", study, tmp_path)
    assert first.drop("seconds", strict=False).equals(again.drop("seconds", strict=False))
    assert weights.keys() == same.keys() and len(weights) == 2
    for job, one in weights.items():
        for name, weight in one.items():
            assert weight.isfinite().all() and torch.equal(weight, same[job][name]), name


def test_features_are_the_cpu_s(tmp_path):
    dataset = keyed(tiny.TINY)
    cuts = listed(dataset, tmp_path, ["a"])
    how = Extraction("tests.test_features:Summed")
    made = [extract(dataset, cuts, "a", how, device=device) for device in ("cpu", DEVICE)]
    ours, theirs = (np.load(one.written()[0]).astype(np.float32) for one in made)
    assert ours.shape == theirs.shape and np.abs(ours - theirs).max() < 2e-3 * np.abs(ours).max()


@pytest.mark.parametrize("method", ["average", "frozen", "a-led"])
def test_a_model_fitted_here_recognises_there(tmp_path, method):
    study = world.study(seeds=[0])
    fit_model(study, method, tmp_path, tmp_path / "model", device=DEVICE, executor="inline", say=print)
    here, there = (
        Recogniser.load(tmp_path / "model", trust=TESTS, device=device) for device in ("cpu", DEVICE)
    )
    torch.manual_seed(0)
    for _ in range(20):
        clip = {"a": torch.randn(20, 2), "b": torch.randn(30, 2)}
        np.testing.assert_allclose(there(clip), here(clip), atol=1e-4)


def test_a_recogniser_with_a_front_is_the_cpu_s(tmp_path):
    """Features of a frozen network for one modality, an encoder for the other."""
    features = {"use": "tests.test_features:Summed"}
    study = world.study(
        seeds=[0],
        methods={
            "led": {
                "use": "plait.fusion:Led",
                "args": {"lead": "a"},
                "encoders": {"b": {"features": features}},
            }
        },
    )
    fit_model(study, "led", tmp_path, tmp_path / "model", device=DEVICE, executor="inline", say=print)
    here, there = (
        Recogniser.load(tmp_path / "model", trust=TESTS, device=device) for device in ("cpu", DEVICE)
    )
    for _ in range(5):
        clip = {"a": torch.randn(20, 2), "b": torch.randn(30, 2)}
        np.testing.assert_allclose(there(clip), here(clip), atol=1e-3)
