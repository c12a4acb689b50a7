"""Networks cut between their blocks: front and rest are the whole; what is trained, and what is not."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from plait import pretrained
from plait.encoders.chain import Chain, Tuned, flat
from plait.encoders.frames import FrameNet, Stage
from plait.encoders.i3d import I3D
from plait.errors import ConfigError
from plait.features.cut import front_of, tuned_of

VIDEO = (9, 32, 32, 3)


def alive(network):
    """Statistics of normalisations as training leaves them: not 0 and 1."""
    torch.manual_seed(1)
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    return network


def i3d(shape):
    return alive(I3D("Mixed_5c")).freeze()


def classifier(shape):
    return alive(I3D("logits", classes=3)).freeze()


def from_file(name, network):
    def make(shape, monkeypatch):
        monkeypatch.setattr(pretrained, "_load", lambda to, *_: alive(to))
        return getattr(pretrained, name)(shape)

    return make


NETWORKS = {
    "i3d": (lambda shape, _: i3d(shape), ["Mixed_5c", "Mixed_4d", "Conv3d_2c_3x3", "Conv3d_1a_7x7"]),
    "classifier": (lambda shape, _: classifier(shape), ["logits", "Mixed_5b"]),
    "s3d": (from_file("s3d", None), ["Mixed_5b", "Mixed_4e", "Conv3d_1a_7x7"]),
    "r2plus1d_18": (from_file("r2plus1d_18", None), ["layer4.1", "layer2.0", "stem"]),
    "resnet50": (from_file("resnet50", None), ["layer4.2", "layer4.0", "layer3.5", "conv1"]),
    "lite0": (lambda s, _: pretrained.efficientnet_lite0(s), ["blocks.6.0", "blocks.4.2", "bn1", "conv_stem"]),
    "lite0-16": (
        lambda s, _: pretrained.efficientnet_lite0(s, stride=16, pool="space", neighbours=True),
        ["blocks.4.0", "blocks.0.0"],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_front_and_rest_are_the_whole(name, monkeypatch):
    make, cuts = NETWORKS[name]
    shape = (9, 224, 224, 3) if name == "classifier" else VIDEO
    shape = (3, *VIDEO[1:]) if name in ("resnet50", "lite0", "lite0-16") else shape
    whole = make(shape, monkeypatch).eval()
    clips = torch.rand(1 if name == "classifier" else 2, *shape) * 2 - 1
    with torch.no_grad():
        expected = whole(clips)
        for first in cuts:
            names = list(whole.chain().blocks)
            chain = copy.deepcopy(whole).chain()
            front = chain.front(names.index(first)).eval()
            rest = Tuned(chain, [first]).eval()
            activations = front(clips)
            assert activations.ndim == 5 and len(rest.blocks) == len(names) - names.index(first)
            torch.testing.assert_close(rest(activations), expected, rtol=1e-5, atol=1e-5)
