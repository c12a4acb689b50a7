"""Patch tokens of video transformers back to a grid, on tiny models of random weights."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import VideoMAEConfig, VideoMAEImageProcessor, VideoMAEModel, VJEPA2Config, VJEPA2Model

from plait import pretrained
from plait.encoders.tokens import IMAGENET, TokenGrid, read_preprocessor
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


LEVELS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
SAID = [
    {},
    {"image_mean": [0.5, 0.4, 0.6], "image_std": [0.5, 0.25, 0.3]},
    {"do_normalize": False},
    {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    {"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]},
]


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("name", ["preprocessor_config.json", "video_preprocessor_config.json"])
def test_colours_are_what_the_models_own_preprocessor_makes_of_them(tmp_path, said, name):
    model = videomae()
    model.save_pretrained(tmp_path)
    sides = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    own = VideoMAEImageProcessor(**sides, **{"image_mean": IMAGENET[0], "image_std": IMAGENET[1], **said})
    (tmp_path / name).write_text(own.to_json_string())
    net = pretrained.hugging_face((6, 32, 32, 3), model=str(tmp_path)).eval()
    clips = torch.from_numpy(LEVELS)[None] / 127.5 - 1
    with torch.no_grad():
        expected = model(**own(list(LEVELS), return_tensors="pt")).last_hidden_state
        torch.testing.assert_close(net(clips).flatten(1, 3), expected, rtol=1e-4, atol=1e-4)


def test_settings_stand_in_place_of_what_is_read(tmp_path):
    videomae().save_pretrained(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text('{"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5]}')
    net = pretrained.hugging_face((6, 32, 32, 3), model=str(tmp_path), mean=[0.5] * 3)
    assert net.mean.tolist() == [0.5] * 3 == net.std.tolist()
    file.write_text("{}")
    assert (
        TokenGrid(videomae(), (6, 32, 32, 3)).mean.tolist()
        == pretrained.hugging_face((6, 32, 32, 3), model=str(tmp_path)).mean.tolist()
    )


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"image_mean": [0.5]}', '{"image_std": [0, 1, 1]}', '{"rescale_factor": -1}']
)
def test_a_preprocessor_that_says_something_else_is_refused(tmp_path, text):
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(DataError, match="preprocessor_config.json: .*expected a preprocessor's") as caught:
        read_preprocessor(tmp_path / "preprocessor_config.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="cannot be read"):
        read_preprocessor(tmp_path / "none.json")
