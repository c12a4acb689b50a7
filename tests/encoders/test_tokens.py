"""Patch tokens of video transformers back to a grid, on tiny models of random weights."""

import pytest
import torch
from torch import nn
from transformers import VideoMAEConfig, VideoMAEModel, VJEPA2Config, VJEPA2Model

from plait import pretrained
from plait.encoders.tokens import TokenGrid
from plait.errors import ConfigError, DataError, ShapeError

pytestmark = pytest.mark.filterwarnings("ignore")  # of others, about their own future
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def videomae():
    torch.manual_seed(0)
    return VideoMAEModel(
        VideoMAEConfig(image_size=32, patch_size=8, num_frames=6, tubelet_size=2, **SIZES)
    ).eval()


def vjepa():
    torch.manual_seed(0)
    config = VJEPA2Config(crop_size=32, patch_size=8, frames_per_clip=6, tubelet_size=2, mlp_ratio=2, **SIZES)
    return VJEPA2Model(config).eval()


@pytest.mark.parametrize("make", [videomae, vjepa])
def test_tokens_lie_where_their_patches_were(make):
    """With attention cut off, a token depends on its own patch alone: what changes tells where it lies."""
    model = make()
    for name, part in model.named_modules():
        if name.endswith(("attention.output.dense", "attention.proj")):
            nn.init.zeros_(part.weight)
    net = TokenGrid(model, (6, 32, 32, 3))
    clips = torch.rand(2, 6, 32, 32, 3) * 2 - 1
    changed = clips.clone()
    changed[1, 4, 9, 30] += 1  # patch (2, 1, 3) of the second clip
    with torch.no_grad():
        before, after = net(clips), net(changed)
    assert before.shape == (2, 3, 4, 4, 8)
    assert ((after - before).abs().amax(-1) > 1e-6).nonzero().tolist() == [[1, 2, 1, 3]]


def test_clips_of_another_size_are_fitted():
    net = TokenGrid(videomae(), (9, 40, 40, 3), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    seen = []
    net.model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    clips = torch.linspace(-1, 1, 9).view(1, 9, 1, 1, 1).expand(1, 9, 40, 40, 3)
    with torch.no_grad():
        assert net(clips).shape == (1, 3, 4, 4, 8)
    # frames 0, 2, 3, 5, 6, 8 of 9; the mean and the deviation bring [0, 1] back to [-1, 1]
    torch.testing.assert_close(seen[0][0, :, 0, 0, 0], torch.tensor([0.0, 2, 3, 5, 6, 8]) / 4 - 1)
    assert seen[0].shape == (1, 6, 3, 32, 32)


def test_of_a_wide_clip_the_middle_is_seen():
    model = videomae()
    clips = torch.rand(1, 6, 32, 48, 3) * 2 - 1
    with torch.no_grad():
        expected = TokenGrid(model, (6, 32, 32, 3))(clips[:, :, :, 8:40])
        torch.testing.assert_close(TokenGrid(model, (6, 32, 48, 3))(clips), expected)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="video transformer: got a clip of shape"):
        TokenGrid(videomae(), (6, 32, 32))
    model = videomae()
    model.config = type("Config", (), {"model_type": "bert"})()
    with pytest.raises(ConfigError, match="bert is no VideoMAE or V-JEPA 2"):
        TokenGrid(model, (6, 32, 32, 3))


def test_a_model_from_a_folder_of_safetensors(tmp_path):
    model = videomae()
    model.save_pretrained(tmp_path)
    net = pretrained.hugging_face((6, 32, 32, 3), model=str(tmp_path)).eval()
    clips = torch.rand(1, 6, 32, 32, 3)
    with torch.no_grad():
        torch.testing.assert_close(net(clips), TokenGrid(model, (6, 32, 32, 3))(clips))
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="cannot be loaded") as caught:
        pretrained.hugging_face((6, 32, 32, 3), model=str(tmp_path))
    assert "\n" not in str(caught.value)
