"""Public networks with weights from files: random here, of the public keys and shapes."""

import copy
import inspect
import pickle
from functools import partial

import pytest
import torch
import torchvision
import transformers
from safetensors.torch import save_file
from torch import nn

from plait import download, pretrained
from plait.encoders.i3d import I3D
from plait.encoders.standard import Standard, middle
from plait.encoders.tokens import TokenGrid
from plait.errors import DataError, ShapeError
from plait.features.engine import folded

CLIP = (8, 64, 64, 3)


def random(network):
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm3d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    return network.eval()


def file(network, path):
    torch.save(network.state_dict(), path)
    return str(path)


@pytest.mark.parametrize("published", ["V1", "V2"])
def test_resnet_is_the_last_convolution_pooled(tmp_path, published):
    network = random(torchvision.models.resnet50())
    weights = file(network, tmp_path / "resnet.pt")
    net = pretrained.resnet50((2, 240, 320, 3), published=published, weights=weights).eval()
    clips = torch.rand(1, 2, 240, 320, 3) * 2 - 1
    ready = torchvision.models.ResNet50_Weights[f"IMAGENET1K_{published}"].transforms()
    with torch.no_grad():
        images = ready((clips[0].permute(0, 3, 1, 2) + 1) / 2)
        network.fc = nn.Identity()  # what is left is the mean over space of the last convolution
        expected = network(images).mean(0, keepdim=True)
        torch.testing.assert_close(net(clips), expected, rtol=1e-4, atol=1e-5)
    assert images.shape == (2, 3, 224, 224) and expected.shape == (1, 2048)


@pytest.mark.parametrize("name, channels", [("s3d", 832), ("r2plus1d_18", 512)])
def test_video_networks_of_torchvision(tmp_path, name, channels):
    network = random(getattr(torchvision.models.video, name)())
    made = getattr(pretrained, name)(CLIP, weights=file(network, tmp_path / "net.pt")).eval()
    clips = torch.rand(1, *CLIP) * 2 - 1
    classes = {
        "s3d": torchvision.models.video.S3D_Weights,
        "r2plus1d_18": torchvision.models.video.R2Plus1D_18_Weights,
    }
    with torch.no_grad():
        preset = classes[name].KINETICS400_V1.transforms()
        preset.resize_size = [min(preset.resize_size)]  # clips are no films of 4:3
        ready = preset((clips + 1).permute(0, 1, 4, 2, 3) / 2)
        grid = made(clips)
        assert grid.shape[0] == 1 and grid.shape[-1] == channels
        seen = []
        if name == "s3d":  # whose classifier wants more frames
            seen.append(network.features[:15](ready))
        else:
            network.layer4.register_forward_hook(lambda module, args, out: seen.append(out))
            network(ready)
        torch.testing.assert_close(grid, seen[0].permute(0, 2, 3, 4, 1))
    with pytest.raises(ShapeError, match="expected \\(frames, height, width, 3\\)"):
        getattr(pretrained, name)((16, 64, 64), weights=str(tmp_path / "net.pt"))


PRESETS = [
    torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms(antialias=True),
    torchvision.models.ResNet50_Weights.IMAGENET1K_V2.transforms(antialias=True),
    torchvision.models.video.S3D_Weights.KINETICS400_V1.transforms(),
    torchvision.models.video.R2Plus1D_18_Weights.KINETICS400_V1.transforms(),
]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [(224, 224), (100, 180), (360, 270)])
def test_plain_arithmetic_is_what_torchvision_does(preset, size):
    pictures = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    in_proportion = copy.copy(preset)
    in_proportion.resize_size = [min(preset.resize_size)]
    theirs = in_proportion(pictures)
    theirs = theirs if theirs.shape[0] == 2 else theirs.transpose(0, 1)  # a video's channels come first
    exact = 2e-6 if min(size) > 256 else 5e-5  # enlarged, with another rounding of where pixels lie
    torch.testing.assert_close(Standard(preset)(pictures), theirs, rtol=0, atol=exact)


@pytest.mark.parametrize("size", [(112, 112), (224, 224), (240, 320), (320, 240), (112, 224), (256, 144)])
@pytest.mark.parametrize("prepare", [*map(Standard, PRESETS), partial(middle, side=96)])
def test_a_disc_stays_a_disc(prepare, size):
    tall, wide = size
    down, right = torch.meshgrid(torch.arange(tall), torch.arange(wide), indexing="ij")
    radius = min(size) / 4
    disc = ((down - (tall - 1) / 2) ** 2 + (right - (wide - 1) / 2) ** 2 < radius**2).float()
    seen = prepare(disc.expand(1, 3, tall, wide))[0, 0]
    bright = seen > (seen.max() + seen.min()) / 2
    height, width = int(bright.any(1).sum()), int(bright.any(0).sum())
    assert abs(height - width) <= 2
    assert seen.shape[0] == seen.shape[1] and height > 0.4 * len(seen)


def test_films_of_4_to_3_are_as_published():
    preset = PRESETS[-1]
    down, right = torch.meshgrid(torch.linspace(-1, 1, 240), torch.linspace(-1, 1, 320), indexing="ij")
    pictures = torch.stack([down, right, down * right])[None] / 2 + 0.5
    torch.testing.assert_close(
        Standard(preset)(pictures), preset(pictures).transpose(0, 1), rtol=0, atol=0.03
    )


def hugging_face():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.VideoMAEConfig(image_size=32, patch_size=8, num_frames=6, tubelet_size=2, **sizes)
    return TokenGrid(transformers.VideoMAEModel(config), (6, 32, 32, 3)), (6, 32, 32, 3)


EVERY = {
    "resnet50": lambda path: _made(
        pretrained.resnet50, random(torchvision.models.resnet50()), path, (2, 40, 48, 3)
    ),
    "s3d": lambda path: _made(pretrained.s3d, random(torchvision.models.video.s3d()), path, (8, 40, 48, 3)),
    "r2plus1d_18": lambda path: _made(
        pretrained.r2plus1d_18, torchvision.models.video.r2plus1d_18(), path, (4, 40, 48, 3)
    ),
    "i3d": lambda path: _made(pretrained.i3d, I3D("Mixed_5b"), path, (9, 32, 32, 3)),
    "efficientnet_lite0": lambda path: (pretrained.efficientnet_lite0((2, 64, 64, 3)), (2, 64, 64, 3)),
    "hugging_face": lambda path: hugging_face(),
}


def _made(make, network, path, shape):
    return make(shape, weights=file(network, path)), shape


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_network_can_be_written_down(tmp_path, name):
    assert set(EVERY) == {
        name
        for name, one in vars(pretrained).items()
        if inspect.isfunction(one)
        and one.__module__ == pretrained.__name__
        and "shape" in inspect.signature(one).parameters
    }
    network, shape = EVERY[name](tmp_path / "net.pt")
    graph = folded(network.eval().requires_grad_(False), torch.zeros(1, *shape))
    assert not [node for node in graph.graph.nodes if "batch_norm" in str(node.target)]
    if name in ("resnet50", "s3d"):  # as tests/encoders/test_engine.py asks of I3D
        clips = torch.rand(1, *shape) * 2 - 1
        with torch.inference_mode():
            expected, got = network(clips), graph(clips)
        assert got.shape == expected.shape and expected.abs().max() > 0
        assert (got - expected).abs().max() <= 1e-3 * expected.abs().max()


def test_i3d_from_a_file(tmp_path):
    network = random(I3D("Mixed_3b"))
    save_file(network.state_dict(), tmp_path / "i3d.safetensors")
    net = pretrained.i3d((9, 32, 32, 3), endpoint="Mixed_3b", weights=str(tmp_path / "i3d.safetensors"))
    clips = torch.rand(1, 9, 32, 32, 3)
    assert torch.equal(net(clips), network(clips)) and not any(p.requires_grad for p in net.parameters())
    with pytest.raises(ShapeError, match="I3D: got a clip of shape \\(9, 32, 32\\)"):
        pretrained.i3d((9, 32, 32), weights=str(tmp_path / "i3d.safetensors"))


def test_without_weights_the_published_ones_are_asked_for(monkeypatch):
    asked = []

    def fetched(remote, folder=None):
        asked.append(remote)
        raise DataError("no network")

    monkeypatch.setattr(pretrained, "fetch", fetched)
    for make in (pretrained.resnet50, pretrained.s3d, pretrained.r2plus1d_18, pretrained.i3d):
        with pytest.raises(DataError, match="no network"):
            make(CLIP)
    assert [remote.sha256 for remote in asked[:3]] == ["0676ba61", "d76dad2f", "91a641e6"]  # of 2020, V1
    assert all(remote.url.startswith("https://download.pytorch.org/models/") for remote in asked[:3])
    assert asked[3] is download.I3D_RGB


class Code:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("damage", ["code", "cut", "text", "list", "absent", "shape"])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_files_that_are_no_weights_are_refused(tmp_path, damage, ending, capsys):
    path = tmp_path / f"net.{ending}"
    network = I3D("Conv3d_1a_7x7")
    save = torch.save if ending == "pt" else save_file
    save(network.state_dict(), path)
    match damage:
        case "code":
            path.write_bytes(pickle.dumps(Code()))
        case "cut":
            path.write_bytes(path.read_bytes()[:-1000])
        case "text":
            path.write_text("<html>not found</html>")
        case "list":
            torch.save([1, 2], path)
        case "absent":
            path.unlink()
        case "shape":
            save(
                {name: value[:1] if value.ndim else value for name, value in network.state_dict().items()},
                path,
            )
    with pytest.raises(DataError, match=f"net.{ending}: .*expected a") as caught:
        pretrained.i3d(CLIP, endpoint="Conv3d_1a_7x7", weights=str(path))
    assert "\n" not in str(caught.value) and "run" not in capsys.readouterr().out
