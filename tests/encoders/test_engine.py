"""Every engine gives the numbers of the network as it is."""

import importlib
import shutil
from functools import partial

import pytest
import torch
from torch import nn

from plait.encoders.frames import FrameNet
from plait.encoders.i3d import I3D
from plait.errors import ConfigError, PlaitWarning
from plait.features.engine import accelerate, engine_version, folded
from plait.pretrained import efficientnet_lite0

COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")


class Odd(nn.Module):
    """Normalisations that may be folded, and not: after a branch, without a convolution, in 2D and 3D."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv3d(3, 8, 3, bias=True)
        self.two = nn.Conv3d(8, 8, 1, groups=2)
        self.three = nn.Conv2d(8, 4, 1)
        self.norms = nn.ModuleList([nn.BatchNorm3d(8), nn.BatchNorm3d(8, affine=False), nn.BatchNorm2d(4)])
        self.first = nn.BatchNorm3d(3)
        for norm in (*self.norms, self.first):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)

    def forward(self, video):
        x = self.one(self.first(video.permute(0, 4, 1, 2, 3)))
        x = self.norms[0](x) + x  # the convolution is used twice
        x = self.norms[1](self.two(x)).mean(2)
        return self.norms[2](self.three(x)).permute(0, 2, 3, 1)


class ByValue(nn.Module):
    """What no graph can say."""

    def forward(self, x):
        return x * 2 if x.sum().item() > 0 else x


def i3d(endpoint="Mixed_3c"):
    network = I3D(endpoint)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm3d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    return network, (1, 9, 34, 32, 3)


def lite0():
    return efficientnet_lite0((9, 64, 64, 3), stride=8), (1, 9, 64, 64, 3)


def odd():
    return Odd(), (2, 5, 12, 12, 3)


@pytest.mark.parametrize(
    ("make", "engine"),
    [
        *((make, engine) for make in (i3d, lite0, odd) for engine in ("torch", "openvino")),
        # a module is enough to compile; the others take long
        pytest.param(partial(i3d, "Mixed_3b"), "compile", id="i3d-compile", marks=COMPILER),
    ],
)
@pytest.mark.filterwarnings("ignore")  # engines warn of their own future
def test_engines_agree(make, engine):
    network, shape = make()
    clips = torch.rand(shape) * 2 - 1
    with torch.inference_mode():
        expected = network.eval()(clips)
    run = accelerate(network, torch.zeros(shape), engine)
    got = run(clips)
    assert got.shape == expected.shape and expected.abs().max() > 0.01
    assert (got - expected).abs().max() <= 1e-3 * expected.abs().max()
    assert torch.equal(run(clips), got)


def test_what_can_be_folded_is():
    network, shape = i3d()
    graph = folded(network.eval(), torch.zeros(shape)).graph
    left = [node for node in graph.nodes if "batch_norm" in str(node.target)]
    assert len([part for part in network.modules() if isinstance(part, nn.BatchNorm3d)]) == 15 and not left
    network, shape = odd()
    graph = folded(network.eval(), torch.zeros(shape)).graph
    assert len([node for node in graph.nodes if "batch_norm" in str(node.target)]) == 2


def test_a_network_without_a_graph_runs_as_it_is():
    with pytest.warns(
        PlaitWarning, match=r"^ByValue: torch.export cannot write it down \(.*\); it runs as it is, slower$"
    ):
        run = accelerate(ByValue(), torch.ones(1, 2))
    assert torch.equal(run(torch.full((1, 2), 3.0)), torch.full((1, 2), 6.0))
    assert torch.equal(run(torch.full((1, 2), -3.0)), torch.full((1, 2), -3.0))


def test_a_picture_network_is_written_down_for_a_piece_of_the_frames_and_not_for_each(monkeypatch):
    written, export = [], torch.export.export

    def seen(module, example):
        written.append(tuple(example[0].shape))
        return export(module, example)

    monkeypatch.setattr(torch.export, "export", seen)
    network = FrameNet(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), (19, 8, 8, 3)).eval()
    network.network[1].running_mean.normal_()
    clips = torch.rand(2, 19, 8, 8, 3) * 2 - 1
    with torch.no_grad():
        expected = network(clips)
    run = accelerate(network, clips)
    assert written == [(8, 3, 8, 8), (6, 3, 8, 8)]  # of 38 frames
    torch.testing.assert_close(run(clips), expected)
    torch.testing.assert_close(run(clips[:1]), expected[:1])  # whose last piece is another


def test_openvino_says_in_a_line_what_it_cannot_take():
    with pytest.raises(
        ConfigError, match=r"^engine 'openvino': ByValue cannot be converted .* engine 'torch' takes it$"
    ):
        accelerate(ByValue(), torch.ones(1, 2), "openvino")


def test_engines_that_are_not_there(monkeypatch):
    with pytest.raises(ConfigError, match="engine 'fast', expected one of: torch, compile, openvino"):
        accelerate(nn.Identity(), torch.zeros(1, 2), "fast")
    absent = importlib.metadata.PackageNotFoundError("openvino")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: (_ for _ in ()).throw(absent))
    with pytest.raises(ConfigError, match=r"'openvino' is not installed: pip install 'plait\[openvino\]'"):
        engine_version("openvino")
