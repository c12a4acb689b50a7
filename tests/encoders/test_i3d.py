"""I3D against a second formulation: padding by the formula, functional convolutions, weights by key."""

import math
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from plait.encoders.i3d import ENDPOINTS, I3D, MIXED, load_i3d
from plait.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def weights():
    """Arbitrary values under the public keys, of a size that keeps activations alive."""
    torch.manual_seed(0)
    made = {}
    for name, value in I3D("logits").state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var") or name.endswith("bn.weight"):
            made[name] = 0.5 + torch.rand(value.shape)
        elif value.ndim == 5:
            made[name] = torch.randn(value.shape) * math.sqrt(2 / value[0].numel())
        else:
            made[name] = 0.1 * torch.randn(value.shape)
    return made


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("i3d") / "rgb_imagenet.pt"
    torch.save(weights, path)
    return path


def padded(x, kernel, stride):
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True)):
        n = x.shape[2 + axis]
        total = max((math.ceil(n / s) - 1) * s + k - n, 0)
        before = torch.zeros_like(x.narrow(2 + axis, 0, 1)).repeat_interleave(total // 2, dim=2 + axis)
        after = torch.zeros_like(x.narrow(2 + axis, 0, 1)).repeat_interleave(total - total // 2, dim=2 + axis)
        x = torch.cat([before, x, after], dim=2 + axis)
    return x


def reference(video, w):
    def unit(x, name, stride=1):
        kernel = w[f"{name}.conv3d.weight"]
        x = F.conv3d(padded(x, kernel.shape[2:], (stride,) * 3), kernel, stride=stride)
        scale = w[f"{name}.bn.weight"] / torch.sqrt(w[f"{name}.bn.running_var"] + 1e-3)
        shift = w[f"{name}.bn.bias"] - w[f"{name}.bn.running_mean"] * scale
        return (x * scale.view(1, -1, 1, 1, 1) + shift.view(1, -1, 1, 1, 1)).clamp(min=0)

    def pool(x, kernel, stride):
        return F.max_pool3d(padded(x, kernel, stride), kernel, stride)

    def mixed(x, name):
        one = unit(x, f"{name}.b0")
        two = unit(unit(x, f"{name}.b1a"), f"{name}.b1b")
        three = unit(unit(x, f"{name}.b2a"), f"{name}.b2b")
        return torch.cat([one, two, three, unit(pool(x, (3, 3, 3), (1, 1, 1)), f"{name}.b3b")], 1)

    x = unit(video.permute(0, 4, 1, 2, 3), "Conv3d_1a_7x7", 2)
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = unit(unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3")
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = pool(mixed(mixed(x, "Mixed_3b"), "Mixed_3c"), (3, 3, 3), (2, 2, 2))
    for name in ("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"):
        x = mixed(x, name)
    return mixed(pool(x, (2, 2, 2), (2, 2, 2)), "Mixed_5b").permute(0, 2, 3, 4, 1)


@pytest.mark.parametrize(
    ("size", "grid"),
    [((79, 64, 48), (10, 2, 2, 832)), ((24, 80, 80), (3, 3, 3, 832)), ((17, 100, 90), (3, 4, 3, 832))],
)
def test_the_grid_is_that_of_the_reference(file, weights, size, grid):
    video = torch.rand(1, *size, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        got, expected = load_i3d(file)(video), reference(video, weights)
    assert tuple(got.shape[1:]) == grid
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert expected.abs().mean() > 1e-3


def test_the_grid_of_a_clip_of_the_paper_s():
    with torch.device("meta"):
        assert I3D()(torch.empty(1, 79, 224, 224, 3)).shape == (1, 10, 7, 7, 832)


def test_widths_add_up():
    widths = [w[0] + w[2] + w[4] + w[5] for w in MIXED.values()]
    assert widths == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


def test_safetensors_and_pt_are_the_same_and_further_keys_do_not_matter(file, weights, tmp_path):
    save_file({**weights, "other": torch.zeros(1)}, tmp_path / "i3d.safetensors")
    video = torch.rand(1, 9, 32, 32, 3)
    one, two = load_i3d(file, "Mixed_3b")(video), load_i3d(tmp_path / "i3d.safetensors", "Mixed_3b")(video)
    assert torch.equal(one, two) and one.shape[-1] == 256


def test_frozen_means_frozen(file):
    whole = torch.nn.Sequential(load_i3d(file, "Mixed_3b")).train()
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    whole(torch.rand(2, 9, 32, 32, 3))
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
    assert not any(parameter.requires_grad for parameter in whole.parameters())


def test_the_classifier_can_be_used_and_fine_tuned(file):
    network = load_i3d(file, "logits")
    assert network(torch.rand(1, 16, 64, 64, 3)).shape == (1, 400)
    own = I3D("logits", classes=8).train()
    own(torch.rand(2, 16, 64, 64, 3)).sum().backward()
    assert all(parameter.grad is not None for parameter in own.parameters())


class Code:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("content", [pickle.dumps(Code()), b"PK\x03\x04 truncated", b""])
def test_files_that_are_no_weights_are_refused(tmp_path, content, capsys):
    (tmp_path / "i3d.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"i3d.pt: .*expected a network's weights"):
        load_i3d(tmp_path / "i3d.pt")
    assert "run" not in capsys.readouterr().out


def test_wrong_shapes_and_endpoints_are_named(weights, tmp_path):
    save_file({**weights, "Mixed_5b.b0.conv3d.weight": torch.zeros(1)}, tmp_path / "i3d.safetensors")
    with pytest.raises(
        DataError, match=r"Mixed_5b.b0.conv3d.weight: \(1,\), expected a tensor of shape \(256, 832, 1"
    ):
        load_i3d(tmp_path / "i3d.safetensors")
    with pytest.raises(ConfigError, match="endpoint 'Mixed_9'"):
        I3D("Mixed_9")
    assert len(ENDPOINTS) == 17
