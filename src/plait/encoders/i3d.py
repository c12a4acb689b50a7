"""I3D, the video network of the paper, with the keys and shapes of the public PyTorch weights."""

import copy
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from plait.encoders.chain import Chain
from plait.encoders.weights import load_weights, read_weights
from plait.errors import ConfigError

# Of each block: b0, b1a -> b1b, b2a -> b2b, b3b.
MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
ENDPOINTS = (
    "Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3", "MaxPool3d_3a_3x3", "Mixed_3b",
    "Mixed_3c", "MaxPool3d_4a_3x3", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f",
    "MaxPool3d_5a_2x2", "Mixed_5b", "Mixed_5c", "logits",
)  # fmt: skip
KINETICS = 400


def same_padding(sizes: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]) -> list[int]:
    """TensorFlow's 'SAME' padding as `pad` takes it: last axis first, the larger half at the end."""
    padding: list[int] = []
    for n, k, s in reversed(list(zip(sizes, kernel, stride, strict=True))):
        total = max(k - (s if n % s == 0 else n % s), 0)
        padding += [total // 2, total - total // 2]
    return padding


class Unit(nn.Module):
    """A 3-D convolution with 'SAME' padding, batch normalisation and ReLU.

    Args:
        channels_in, channels: before and after.
        kernel, stride: along time, height and width.
    """

    def __init__(
        self, channels_in: int, channels: int, kernel: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels_in, channels, kernel, stride, bias=False)  # type: ignore[arg-type]
        self.bn = nn.BatchNorm3d(channels, eps=1e-3)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d u v x"]:
        """The convolution's output."""
        padding = same_padding(tuple(x.shape[2:]), self.kernel, self.stride)
        out: Tensor = F.relu(self.bn(self.conv3d(F.pad(x, padding))))
        return out


class Pool(nn.Module):
    """Max-pooling with 'SAME' padding; what is padded is 0, as after a ReLU."""

    def __init__(self, kernel: tuple[int, ...], stride: tuple[int, ...]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c u v x"]:
        """The maxima."""
        padding = same_padding(tuple(x.shape[2:]), self.kernel, self.stride)
        out: Tensor = F.max_pool3d(F.pad(x, padding), self.kernel, self.stride)
        return out


class Mixed(nn.Module):
    """An inception block: four branches, side by side in the channels."""

    def __init__(self, channels_in: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        point, cube = (1, 1, 1), (3, 3, 3)
        self.b0 = Unit(channels_in, widths[0], point, point)
        self.b1a = Unit(channels_in, widths[1], point, point)
        self.b1b = Unit(widths[1], widths[2], cube, point)
        self.b2a = Unit(channels_in, widths[3], point, point)
        self.b2b = Unit(widths[3], widths[4], cube, point)
        self.b3a = Pool(cube, point)
        self.b3b = Unit(channels_in, widths[5], point, point)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d t h w"]:
        """The branches' outputs, concatenated."""
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(branches, dim=1)


class Logits(nn.Module):
    """The classifier: mean over 2 x 7 x 7, dropout, a 1x1x1 convolution."""

    def __init__(self, channels_in: int, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.conv3d = nn.Conv3d(channels_in, classes, 1)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b k u v x"]:
        """Logits at every position of the pooled grid."""
        pooled = F.avg_pool3d(x, (min(2, x.shape[2]), min(7, x.shape[3]), min(7, x.shape[4])), 1)
        out: Tensor = self.conv3d(self.dropout(pooled))
        return out


class I3D(nn.Module):
    """I3D up to an endpoint: video to a channels-last grid.

    At `Mixed_5b`, 79 x 224 x 224 gives 10 x 7 x 7 x 832. With the endpoint `logits` it is a classifier of
    `classes` activities, by default Kinetics', and gives their logits, averaged over time.

    Raises:
        ConfigError: there is no such endpoint.

    Source: Carreira, Zisserman, CVPR 2017; Byvshev, Mettes, Xiao, ICMR 2020, section 4.2.
    """

    black_and_white = (-1.0, 1.0)  # the clips' values that are so

    def __init__(self, endpoint: str = "Mixed_5b", *, classes: int = KINETICS) -> None:
        super().__init__()
        if endpoint not in ENDPOINTS:
            raise ConfigError(f"I3D: endpoint {endpoint!r}, expected one of: {', '.join(ENDPOINTS)}")
        self.endpoint = endpoint
        self.frozen = False
        self.names = ENDPOINTS[: ENDPOINTS.index(endpoint) + 1]
        channels = 3
        for name in self.names:
            stage, channels = _stage(name, channels, classes)
            self.add_module(name, stage)

    def freeze(self) -> "I3D":
        """No gradients and no moving statistics from here on, whatever `train` is called on."""
        self.frozen = True
        return self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "I3D":
        """Training mode, unless frozen."""
        return super().train(mode and not self.frozen)

    def forward(self, video: Float[Tensor, "b frames height width 3"]) -> Float[Tensor, "b *grid c"]:
        """The grid `(b, t, h, w, c)` of RGB in [-1, 1]; of the endpoint `logits`, `(b, classes)`."""
        x = rearrange(video, "b t h w c -> b c t h w")
        for name in self.names:
            x = self.get_submodule(name)(x)
        return x.mean(dim=(2, 3, 4)) if self.endpoint == "logits" else rearrange(x, "b c t h w -> b t h w c")

    def chain(self) -> Chain:
        """Its stages in a row."""
        blocks = {name: self.get_submodule(name) for name in self.names}
        return Chain(blocks, self._up_to, False, _mean if self.endpoint == "logits" else None)

    def _up_to(self, count: int) -> "I3D":
        """The same network, weights and all, as far as its first stages go."""
        front = copy.copy(self)
        front.names = self.names[:count]
        front.endpoint = "" if count < len(self.names) else self.endpoint
        front._modules = {name: self._modules[name] for name in front.names}
        return front


def _mean(grid: Float[Tensor, "b t h w k"]) -> Float[Tensor, "b k"]:
    return grid.mean(dim=(1, 2, 3))


def _stage(name: str, channels: int, classes: int) -> tuple[nn.Module, int]:
    """A stage by its public name, and its channels."""
    match name:
        case "Conv3d_1a_7x7":
            return Unit(channels, 64, (7, 7, 7), (2, 2, 2)), 64
        case "Conv3d_2b_1x1":
            return Unit(channels, 64, (1, 1, 1), (1, 1, 1)), 64
        case "Conv3d_2c_3x3":
            return Unit(channels, 192, (3, 3, 3), (1, 1, 1)), 192
        case "MaxPool3d_2a_3x3" | "MaxPool3d_3a_3x3":
            return Pool((1, 3, 3), (1, 2, 2)), channels
        case "MaxPool3d_4a_3x3":
            return Pool((3, 3, 3), (2, 2, 2)), channels
        case "MaxPool3d_5a_2x2":
            return Pool((2, 2, 2), (2, 2, 2)), channels
        case "logits":
            return Logits(channels, classes), classes
        case _:
            widths = MIXED[name]
            return Mixed(channels, widths), widths[0] + widths[2] + widths[4] + widths[5]


def load_i3d(path: Path | str, endpoint: str = "Mixed_5b") -> I3D:
    """I3D with the weights of a `.pt` or `.safetensors` file of the public keys: frozen, in eval mode.

    Raises:
        DataError: the file cannot be read, holds something else than tensors, or lacks a weight or its shape.
        ConfigError: there is no such endpoint.
    """
    path = Path(path)
    weights = read_weights(path)
    classifier = weights.get("logits.conv3d.weight")
    network = I3D(endpoint, classes=KINETICS if classifier is None else len(classifier))
    load_weights(network, weights, path)
    return network.freeze()
