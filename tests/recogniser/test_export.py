"""Exported networks, opened without plait, give the network's probabilities, or a line says why not."""

import importlib.util
import json
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import plait
from plait.datasets.simulated import MotionNet
from plait.encoders.depth import DepthNet
from plait.encoders.frames import FrameNet
from plait.encoders.glove import SignalNet
from plait.encoders.grid import GridNet
from plait.encoders.i3d import I3D
from plait.encoders.skeleton import SkeletonNet
from plait.encoders.standard import Standard
from plait.encoders.tokens import TokenGrid
from plait.encoders.video3d import Clip3D
from plait.errors import ConfigError
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
from plait.recogniser.export import Exported, Several, export
from plait.recogniser.program_files import ENDINGS, NAMES, PROBABILITIES
from plait.training.network import Network, grid_shape
from tests.shapes import unchecked

INSTALLED = importlib.util.find_spec("onnxruntime") is not None
ONNX = pytest.param("onnx", marks=pytest.mark.skipif(not INSTALLED, reason="needs plait[export]"))
FORMATS = pytest.mark.parametrize("to", [ONNX, "torch"])
CLASSES = 4
pytestmark = pytest.mark.usefixtures("operations_listed_once")


@pytest.fixture(autouse=True)
def _shapes_unchecked():
    with unchecked():
        yield


def picture_network():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU())


def resized(shape):
    """As ResNet-50 of `plait.pretrained`, with a smaller network and smaller pictures."""
    import torchvision

    preset = torchvision.models.ResNet50_Weights.IMAGENET1K_V2.transforms(antialias=True)
    preset.resize_size, preset.crop_size = [12], [9]
    standard = Standard(preset)
    return FrameNet(picture_network(), shape, prepare=lambda images: standard((images + 1) / 2))


def grey(shape):
    return FrameNet(picture_network(), shape, neighbours=True, size=9, pool="space")


def tokens(shape):
    transformers = pytest.importorskip("transformers")
    sizes = {"image_size": 16, "patch_size": 8, "num_frames": 4, "hidden_size": 8, "intermediate_size": 8}
    config = transformers.VideoMAEConfig(**sizes, num_hidden_layers=1, num_attention_heads=2)
    return TokenGrid(transformers.VideoMAEModel(config), shape)


def clip_network(shape):
    import torchvision

    preset = torchvision.models.video.S3D_Weights.KINETICS400_V1.transforms()
    preset.resize_size, preset.crop_size = [18, 18], [16, 16]
    return Clip3D(nn.Conv3d(3, 4, 3, stride=2), shape, Standard(preset))


class Counting(nn.Module):
    """Somebody's own, whose `len(clips)` no trace can follow: its code must be read."""

    def forward(self, clips):
        return clips.reshape(len(clips), 4)


ENCODERS = {
    "motion": ((8, 17, 17, 3), MotionNet),
    "depth": ((9, 37, 33), partial(DepthNet, patches=4, places=5, body=6, channels=4)),
    "skeleton": ((13, 5, 3), partial(SkeletonNet, body=6, own=4, channels=3)),
    "features": ((9, 2, 2, 7), partial(GridNet, width=5, temporal=(4, 3), motion=True)),
    "inertial": (
        (18, 6),
        partial(
            SignalNet,
            widths=(6, 8),
            kernels=(5, 3),
            pools=(2, 1),
            units=4,
            norm=True,
            dropout=0.1,
            standardise=True,
        ),
    ),
    "kinetics": ((5, 32, 32, 3), lambda shape: I3D("MaxPool3d_3a_3x3")),
    "pictures": ((3, 15, 17, 3), resized),
    "grey": ((3, 12, 14), grey),
    "tokens": ((6, 20, 18, 3), tokens),
    "clip": ((4, 20, 24, 3), clip_network),
    "places": ((3, 2, 2, 6), nn.Identity),
    "steps": ((7, 5), nn.Identity),
    "vector": ((4,), nn.Identity),
    "counted": ((2, 2), lambda shape: Counting()),
}
NETWORKS = {
    "led": ("places steps vector", partial(Led, lead="places")),
    "led, flat": ("features inertial", partial(Led, lead="inertial", pool=2, head="flatten", normalise=True)),
    "led, hidden": ("vector steps", partial(Led, lead="vector", norm=True, scale=True, head="hidden")),
    "led, uniform": ("steps vector", partial(Led, lead="steps", uniform=True)),
    "symmetric": ("motion skeleton", partial(Symmetric, embedding=9, zero_h=True)),
    "symmetric, flat": (
        "places steps",
        partial(Symmetric, pool=3, normalise=True, norm=True, scale=True, head="flatten"),
    ),
    "concat": ("tokens clip", Concat),
    "concat, mean": ("depth grey", partial(Concat, head="mean", normalise=True)),
    "concat, hidden": ("pictures vector", partial(Concat, head="hidden")),
    "single of two": ("kinetics vector", partial(Single, modality="kinetics", head="flatten")),
    "gated": ("places vector", partial(Gated, normalise=True)),
    "tensor fusion": ("steps vector", partial(TensorFusion, embedding=3)),
    "low rank": ("places steps vector", LowRank),
    "cross-attention": ("places vector", CrossAttention),
    "bottleneck": ("steps vector", Bottleneck),
    "binding": ("places steps", Binding),
}
BOTH = ["led", "concat, hidden"]  # ONNX comes by way of the other
CASES = [pytest.param(name, "onnx", marks=ONNX.marks) for name in NETWORKS]
CASES += [(name, "torch") for name in BOTH]


def moved(module):
    """As after training: whatever training moves is somewhere else."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    for weights in module.parameters():
        if weights.requires_grad:
            weights.data += 0.1 * torch.randn_like(weights)
    return module.eval()


def network(names, method, **own):
    encoders = {name: ENCODERS[name][1](ENCODERS[name][0]) for name in names.split()}
    grids = {name: grid_shape(encoder, ENCODERS[name][0]) for name, encoder in encoders.items()}
    return moved(Network(encoders, method(grids, CLASSES), **own))


def clips(shapes, count=4):
    return {name: torch.rand(count, *shape) * 2 - 1 for name, shape in shapes.items()}


def shapes_of(module):
    return {name: ENCODERS[name][0] for name in module.modalities}


def opened(path, to):
    """What a file does, by the library alone."""
    if to == "torch":
        return torch.export.load(path).module()
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    assert [each.name for each in session.get_outputs()] == [PROBABILITIES]
    return lambda *clips: torch.from_numpy(
        session.run(None, {name: clip.numpy() for name, clip in zip(names, clips, strict=True)})[0]
    )


@pytest.mark.parametrize("name, to", CASES)
def test_a_file_gives_the_probabilities_of_the_network(tmp_path, name, to):
    trained = network(*NETWORKS[name])
    module = Exported(trained, temperature=1.7)
    path = tmp_path / f"network{ENDINGS[to]}"
    shapes = shapes_of(module)
    difference = export(module, shapes, path, to, samples=clips(shapes))
    assert 0 <= difference < 1e-5 and list(tmp_path.iterdir()) == [path]
    for code in (plait.__file__, __file__):  # where it lies is nobody's business
        assert str(Path(code).parent).encode() not in path.read_bytes()
    run = opened(path, to)
    for count in (1, 6):
        others = clips(shapes, count)
        with torch.no_grad():
            expected = (trained(others) / 1.7).softmax(1)
            torch.testing.assert_close(run(*others.values()), expected, rtol=1e-4, atol=1e-6)


@FORMATS
def test_an_average_shares_clips(tmp_path, to):
    first, second = network("places vector", Concat), network("vector counted", Concat)
    module = Several([Exported(first, 2.0), Exported(second)])
    assert module.modalities == ("places", "vector", "counted")
    shapes = shapes_of(module)
    export(module, shapes, tmp_path / f"average{ENDINGS[to]}", to, samples=clips(shapes, 2))
    others = clips(shapes, 3)
    with torch.no_grad():
        expected = ((first(others) / 2).softmax(1) + second(others).softmax(1)) / 2
    given = opened(tmp_path / f"average{ENDINGS[to]}", to)(*others.values())
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-6)


@FORMATS
def test_what_features_are_made_by_comes_along(tmp_path, to):
    shape = (7, 9, 9, 3)
    front = moved(FrameNet(picture_network(), shape))
    front.at_once = 2  # as the engine leaves it
    grid = GridNet((7, 4, 4, 4), width=5, temporal=(3,))
    trained = moved(Network({"video": grid}, Single({"video": (4, 4, 4, 3)}, CLASSES, "video")))
    path = tmp_path / f"whole{ENDINGS[to]}"
    sample = clips({"video": shape})
    export(Exported(trained, front={"video": front}), {"video": shape}, path, to, samples=sample)
    with torch.no_grad():
        expected = trained({"video": front(sample["video"])}).softmax(1)
    torch.testing.assert_close(opened(path, to)(sample["video"]), expected, rtol=1e-4, atol=1e-6)
    assert front.at_once == 2
    with pytest.raises(
        ConfigError, match="front of 'sound', expected one of the network's modalities: video"
    ):
        Exported(trained, front={"sound": front})


def test_halves_leave_as_floats(tmp_path):
    led = partial(Led, lead="steps", head="flatten")
    trained = network("steps vector", led, precision=torch.bfloat16)
    module = Exported(trained)
    shapes = shapes_of(module)
    sample = clips(shapes)
    export(module, shapes, tmp_path / "network.pt2", "torch", samples=sample)
    trained.precision = torch.float32
    with torch.no_grad():
        expected = trained(sample).softmax(1)
    run = opened(tmp_path / "network.pt2", "torch")
    torch.testing.assert_close(run(*sample.values()), expected, rtol=1e-5, atol=1e-6)
    names = {NAMES: ""}
    program = torch.export.load(tmp_path / "network.pt2", extra_files=names)
    assert json.loads(names[NAMES]) == ["steps", "vector"]
    assert not program.example_inputs  # nobody's clips are in it


class Branching(nn.Module):
    """What no graph can say."""

    def forward(self, x):
        return 2 * x if x.sum().item() > 0 else x


class Airy(nn.Module):
    """What ONNX has no operation for."""

    def forward(self, x):
        return torch.special.airy_ai(x)


class Fickle(nn.Module):
    """Another network once it is exported."""

    def forward(self, x):
        return x if torch.compiler.is_exporting() else x.flip(-1)


class Wrapped(nn.Module):
    """A method of somebody's own."""

    def __init__(self, method, last):
        super().__init__()
        self.method, self.last = method, last

    def forward(self, grids):
        return self.last(self.method(grids))


PAIR = {"a": (4,), "b": (6,)}


@pytest.mark.parametrize(
    "where, odd, to, why",
    [
        pytest.param("encoder", Branching, "onnx", "cannot be exported: .*data-dependent", marks=ONNX.marks),
        ("method", Branching, "torch", "cannot be exported: .*data-dependent"),
        pytest.param("encoder", Airy, "onnx", "cannot be exported: .*special_airy_ai", marks=ONNX.marks),
        pytest.param("method", Fickle, "onnx", "gives other numbers once exported", marks=ONNX.marks),
        ("encoder", Fickle, "torch", r"gives other numbers .* off\), expected at most 1e-04"),
    ],
)
def test_a_line_names_what_cannot_leave(tmp_path, capfd, where, odd, to, why):
    concat = moved(Concat(PAIR, CLASSES))
    if where == "encoder":
        trained, culprit = (
            Network({"a": nn.Identity(), "b": odd()}, concat),
            f"the encoder of 'b' \\({odd.__name__}\\)",
        )
    else:
        trained, culprit = (
            Network(dict.fromkeys(PAIR, nn.Identity()), Wrapped(concat, odd())),
            "the method Wrapped",
        )
    path = tmp_path / f"network{ENDINGS[to]}"
    path.write_bytes(b"what stood before")
    with pytest.raises(ConfigError, match=f"^{culprit} {why}") as caught:
        export(Exported(trained), PAIR, path, to, samples=clips(PAIR))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"what stood before"
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not INSTALLED, reason="needs plait[export]")
def test_inputs_have_the_names_of_modalities_whatever_these_are(tmp_path):
    import onnxruntime

    shapes = {"linear": (3, 4), "mean": (4,), PROBABILITIES: (2,), "left hand": (2,)}
    grids = {name: nn.Identity() for name in shapes}
    module = Exported(moved(Network(grids, Led(shapes, CLASSES, lead="linear"))))
    export(module, shapes, tmp_path / "network.onnx", samples=clips(shapes))
    inputs = onnxruntime.InferenceSession(tmp_path / "network.onnx").get_inputs()
    assert {each.name: tuple(each.shape) for each in inputs} == {n: ("batch", *s) for n, s in shapes.items()}


@pytest.mark.parametrize(
    "name, samples, line",
    [
        ("network.onnx", clips(PAIR), "expected a name that ends in .pt2"),
        ("network.pt2", clips({"a": (4,)}), "modality 'b' has no shape or no samples"),
        ("network.pt2", clips(PAIR | {"b": (5,)}), r"samples of 'b' have shape \(4, 5\), expected \(n, 6\)"),
        ("network.pt2", clips({"a": (4,)}) | clips({"b": (6,)}, 3), "n the same for every modality"),
        ("network.pt2", clips(PAIR, 0), "at least 1"),
    ],
)
def test_samples_and_names_that_do_not_fit(tmp_path, name, samples, line):
    trained = Network(dict.fromkeys(PAIR, nn.Identity()), Concat(PAIR, CLASSES))
    with pytest.raises(ConfigError, match=line):
        export(Exported(trained), PAIR, tmp_path / name, "torch", samples=samples)
    assert not list(tmp_path.iterdir())


def test_without_onnx_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    trained = Network(dict.fromkeys(PAIR, nn.Identity()), Concat(PAIR, CLASSES))
    with pytest.raises(ConfigError, match=r"onnx\w* is not installed: pip install 'plait\[export\]'"):
        export(Exported(trained), PAIR, tmp_path / "network.onnx", samples=clips(PAIR))
    assert not list(tmp_path.iterdir())


def test_a_label_that_changes_is_refused(tmp_path, monkeypatch):
    trained = Network({"a": nn.Identity()}, Single({"a": (4,)}, CLASSES, "a"))
    with torch.no_grad():
        for weights in trained.parameters():
            weights.zero_()  # all probabilities are a quarter, and the first label is taken

    def written(program, file, modalities, about):
        file.write_bytes(b"")
        return lambda clip: torch.full((len(clip), CLASSES), 0.25) + 1e-5 * torch.tensor([0, 0, 0, 1.0])

    monkeypatch.setattr("plait.recogniser.export.to_torch", written)
    with pytest.raises(ConfigError, match="some clips get other labels once exported"):
        export(Exported(trained), {"a": (4,)}, tmp_path / "a.pt2", "torch", samples=clips({"a": (4,)}))
    assert not list(tmp_path.iterdir())
