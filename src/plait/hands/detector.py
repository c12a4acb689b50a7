"""Detectors of hands: one interface, and RetinaNet on two backbones behind it.

A detector is a function from frames `(n, height, width, 3)`, uint8 RGB, to boxes with scores in each.
`open_detector` gives one from a trained folder, from MediaPipe's palm model, or from a user's own code.
"""

import itertools
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.detection import (
    RetinaNet,
    RetinaNet_ResNet50_FPN_V2_Weights,
    retinanet_resnet50_fpn_v2,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork

from plait.download import Remote, fetch
from plait.encoders.weights import load_weights, read_weights
from plait.errors import ConfigError, DataError, first_fault
from plait.hands.detections import Detector, Found
from plait.hands.palm import open_palm
from plait.objects import resolve
from plait.pretrained import lite0
from plait.store import atomic, checksum, content_key, read_bytes, write_json

DESCRIPTION, WEIGHTS = "detector.json", "weights.safetensors"
SIDES = {"lite0": 192, "resnet50": 480}
CHANNELS = 64  # of the small pyramid
SIZES = ((24, 34), (48, 68), (96, 136))  # of its anchors, in pixels, at strides 8, 16, 32
RATIOS = (0.7, 1.4)  # height to width
MOST_BOXES = 10  # boxes of a frame
AT_ONCE = 16  # frames


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class DetectorFacts:
    """What `detector.json` says: network, pixels of a picture's shorter side in it, how it was trained."""

    network: Literal["lite0", "resnet50"]
    side: PositiveInt
    trained: dict[str, Any] = field(default_factory=dict)


class Pyramid(nn.Module):
    """EfficientNet-Lite0's maps at strides 8, 16 and 32 as a feature pyramid (Lin et al., CVPR 2017).

    What comes before stride 8 is not trained: edges and colours are known already, and it costs the most.
    """

    out_channels = CHANNELS
    stages = (2, 3, 4)

    def __init__(self) -> None:
        super().__init__()
        network = lite0()
        network.prune_intermediate_layers(list(self.stages), prune_norm=True, prune_head=True)  # type: ignore[operator]
        channels = [network.feature_info[i]["num_chs"] for i in self.stages]  # type: ignore[index]
        for early in ("conv_stem", "bn1", "blocks.0", "blocks.1"):
            network.get_submodule(early).requires_grad_(False)
        self.network, self.maps = network, FeaturePyramidNetwork(channels, CHANNELS)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The maps `(n, 64, h / stride, w / stride)` of images in [-1, 1]."""
        stages = self.network.forward_intermediates(  # type: ignore[operator]
            images, indices=list(self.stages), intermediates_only=True
        )
        maps: dict[str, Tensor] = self.maps(OrderedDict(zip("012", stages, strict=True)))
        return maps


def build(network: str, side: int) -> RetinaNet:
    """RetinaNet (Lin et al., ICCV 2017) with one class, a hand.

    `lite0` has EfficientNet-Lite0 with ImageNet weights behind a pyramid of three levels and four anchors a
    place; `resnet50` is torchvision's `retinanet_resnet50_fpn_v2`, without weights.
    """
    sizes = {"min_size": side, "max_size": 2 * side}
    common: dict[str, Any] = {**sizes, "detections_per_img": MOST_BOXES, "nms_thresh": 0.6}
    if network == "lite0":
        anchors = AnchorGenerator(SIZES, (RATIOS,) * len(SIZES))
        half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}  # it takes images in [-1, 1]
        return RetinaNet(Pyramid(), 1, anchor_generator=anchors, size_divisible=32, **half, **common)
    retinanet: RetinaNet = retinanet_resnet50_fpn_v2(
        weights=None, weights_backbone=None, num_classes=1, **common
    )
    return retinanet


def pretrained(network: str, side: int, weights: Path | None = None) -> RetinaNet:
    """A network to be trained on hands; `resnet50` starts from COCO, downloaded once, or from `weights`.

    Raises:
        ConfigError: `lite0` is given weights; its own come with a package.
        DataError: the weights cannot be had, or are another network's.
    """
    retinanet = build(network, side)
    if network == "lite0":
        if weights is not None:
            raise ConfigError("--weights: lite0 brings its own, expected --network resnet50 with it")
        return retinanet
    url = RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1.url
    path = weights or fetch(Remote(url, sha256=url[-12:-4]))  # its name ends in its checksum's first digits
    # What tells classes apart stays as built: COCO has 91.
    classes = {name: value for name, value in retinanet.state_dict().items() if "cls_logits" in name}
    load_weights(retinanet, read_weights(path) | classes, path)
    for early in ("conv1", "layer1"):
        retinanet.backbone.body.get_submodule(early).requires_grad_(False)
    return retinanet


@dataclass(frozen=True, eq=False)
class TrainedDetector:
    """A RetinaNet as a detector; `key` stands for its weights and settings."""

    network: RetinaNet
    key: str
    device: str = "cpu"

    def __call__(self, frames: np.ndarray) -> list[Found]:
        """What it finds in frames `(n, height, width, 3)`, the surest first."""
        detections: list[Found] = []
        self.network.eval()
        with torch.inference_mode():
            for start in range(0, len(frames), AT_ONCE):
                part = np.ascontiguousarray(frames[start : start + AT_ONCE])
                images = torch.from_numpy(part).to(self.device).permute(0, 3, 1, 2).float() / 255
                for output in self.network(list(images)):
                    boxes, scores = output["boxes"].cpu().numpy(), output["scores"].cpu().numpy()
                    detections.append(Found(boxes, scores))
        return detections


def save(network: RetinaNet, facts: DetectorFacts, out: Path) -> None:
    """Write a detector as the folder `out`, whole or not at all."""
    with atomic(out) as making:
        making.mkdir()
        weights = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
        save_file(weights, making / WEIGHTS)
        write_json(making / DESCRIPTION, asdict(facts))


def read_description(folder: Path) -> DetectorFacts:
    """What a detector's `detector.json` says.

    Raises:
        DataError: it is missing or damaged.
    """
    path = folder / DESCRIPTION
    try:
        facts: DetectorFacts = TypeAdapter(DetectorFacts).validate_json(read_bytes(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; `plait hands train` makes it") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}") from error
    return facts


def open_detector(name: str, device: str = "cpu") -> Detector:
    """The detector at `name`: a folder of `plait hands train`, a `.tflite` file, or `package.module:Name`.

    Raises:
        ConfigError: there is no such object, or an extra is not installed.
        DataError: a file is missing, damaged or of another kind.
    """
    path = Path(name)
    if path.suffix == ".tflite":
        return open_palm(path)
    if ":" in name and not path.exists():
        detector: Detector = resolve(name, "--detector")
        if not callable(detector):
            got = type(detector).__name__
            raise ConfigError(f"--detector {name}: a {got}, expected a function of frames")
        return detector
    facts, weights = read_description(path), path / WEIGHTS
    network = build(facts.network, facts.side)
    load_weights(network, read_weights(weights), weights)
    network.to(device).eval().requires_grad_(False)
    key = content_key([facts.network, facts.side, checksum(weights)])
    return TrainedDetector(network, key, device)


def detected(detector: Detector, pictures: Iterable[np.ndarray]) -> list[Found]:
    """What a detector finds in pictures `(height, width, 3)`, neighbours of one size at once."""
    detections: list[Found] = []
    for _, group in itertools.groupby(pictures, key=lambda picture: picture.shape):
        while batch := list(itertools.islice(group, AT_ONCE)):
            detections += detector(np.stack(batch))
    return detections
