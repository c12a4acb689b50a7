"""An image network on every frame of a clip: the 2D baseline, or a network that knows pictures already."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from plait.encoders.chain import Chain, flat, in_a_row, with_parts
from plait.encoders.standard import middle
from plait.errors import ConfigError, ShapeError

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
Pool = Literal["none", "space", "all"]
# The axes of a grid `(b, t, u, v, c)` that are averaged.
_AXES: dict[str, tuple[int, ...]] = {"none": (), "space": (2, 3), "all": (1, 2, 3)}


class FrameNet(nn.Module):
    """Clips to a channels-last grid, `network` on every frame by itself.

    Args:
        network: images `(n, 3, height, width)` in [-1, 1] to feature maps `(n, channels, u, v)`.
        shape: a clip's, `(frames, height, width, 3)`, or `(frames, height, width)` for one channel such as
            depth.
        pool: `none` gives the grid `(frames, u, v, channels)`, `space` `(frames, channels)`, `all`
            `(channels,)`.
        neighbours: each frame goes in with the ones before and after it as the three colour channels, grey,
            so that a network of pictures sees motion; the first and the last frame stand for what is beyond.
        size: side of the square that is seen: the short side is resized to it, the middle kept; by default
            frames stay as they are.
        low, high: values of the clip that are black and white.
        prepare: what the network wants of images in [-1, 1].
        names: of the network's parts, if it is an `nn.Sequential`; by default as it calls them.

    Raises:
        ShapeError: `shape` is no video.
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, ...],
        *,
        pool: Pool = "none",
        neighbours: bool = False,
        size: int | None = None,
        low: float = -1.0,
        high: float = 1.0,
        prepare: Callable[[Tensor], Tensor] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
            expected = "(frames, height, width, 3) or (frames, height, width)"
            raise ShapeError(f"image network: got a clip of shape {tuple(shape)}, expected {expected}")
        if pool not in _AXES:
            raise ConfigError(f"image network: pool is {pool!r}, expected none, space or all")
        if not low < high or (size is not None and size < 1):
            got = f"low {low}, high {high}, size {size}"
            raise ConfigError(f"image network: {got}, expected low < high, size above 0")
        self.network, self.prepare = network, prepare
        self.shape, self.pool, self.neighbours, self.size = tuple(shape), pool, neighbours, size
        self.low, self.high = low, high
        self._names = tuple(names)
        self.at_once: int | None = None  # frames that go through the network together, all by default

    def forward(self, clips: Float[Tensor, "b *clip"]) -> Float[Tensor, "b *grid c"]:
        """The grid of each clip.

        Raises:
            ShapeError: the clips are not of the shape this encoder was made for.
        """
        if tuple(clips.shape[1:]) != self.shape:
            got = f"clips of shape {tuple(clips.shape[1:])}"
            raise ShapeError(f"image network: got {got}, expected {self.shape}")
        frames = clips
        if self.neighbours:
            signed = self._signed(clips)
            frames = neighbouring(signed if signed.ndim == 4 else signed @ signed.new_tensor(LUMA))
        frames = frames.flatten(0, 1)
        maps = torch.cat([self._maps(part) for part in torch.split(frames, self.at_once or len(frames))])
        grid: Tensor = rearrange(maps, "(b t) c u v -> b t u v c", b=clips.shape[0])
        return grid if self.pool == "none" else grid.mean(_AXES[self.pool])

    @property
    def black_and_white(self) -> tuple[float, float]:
        """The clips' values that are black and white."""
        return self.low, self.high

    @property
    def by_frame(self) -> bool:
        """Whether each step of the grid is made of one frame alone."""
        return not self.neighbours and self.pool != "all"

    def of_one_frame(self) -> "FrameNet":
        """The same network, weights and all, for clips of a single frame."""
        one = copy.copy(self)
        one.shape = (1, *self.shape[1:])
        return one

    def chain(self) -> Chain:
        """The parts of its network in a row.

        Raises:
            ConfigError: the network does not say what these are.
        """
        close = None if self.pool == "none" else partial(torch.mean, dim=_AXES[self.pool])
        return Chain(self._parts(), self._up_to, True, close)

    def _parts(self) -> dict[str, nn.Module]:
        if isinstance(self.network, Stage):
            return self.network.parts()
        return in_a_row(self.network, self._names)

    def _up_to(self, count: int) -> "FrameNet":
        """The same encoder, unpooled, as far as the first parts of its network go."""
        front = with_parts(self, network=nn.Sequential(*list(self._parts().values())[:count]))
        front.pool = "none"
        return front

    def _signed(self, values: Tensor) -> Tensor:
        """Black to -1, white to 1."""
        return (values - self.low) * (2 / (self.high - self.low)) - 1

    def _maps(self, frames: Tensor) -> Tensor:
        """The feature maps of some frames, `(n, h, w, 3)` in [-1, 1], or as they lie in the clips."""
        colours = frames if self.neighbours else self._signed(frames)
        colours = colours if colours.ndim == 4 else colours.unsqueeze(-1).expand(*colours.shape, 3)
        images = rearrange(colours, "n h w c -> n c h w")
        if self.size is not None:
            images = middle(images, self.size)
        maps: Tensor = self.network(images if self.prepare is None else self.prepare(images))
        return maps


def neighbouring(grey: Float[Tensor, "b t h w"]) -> Float[Tensor, "b t h w 3"]:
    """Each frame between the one before and the one after it."""
    before, after = torch.cat([grey[:, :1], grey[:, :-1]], 1), torch.cat([grey[:, 1:], grey[:, -1:]], 1)
    return torch.stack([before, grey, after], -1)


class Stage(nn.Module):
    """A network of timm's up to the feature map that is `stride` times smaller than the image.

    Raises:
        ConfigError: it has no such map.
    """

    def __init__(self, network: nn.Module, stride: int) -> None:
        super().__init__()
        strides = [info["reduction"] for info in network.feature_info]  # type: ignore[union-attr]
        if stride not in strides:
            expected = ", ".join(map(str, strides))
            raise ConfigError(f"image network: stride {stride}, expected one of: {expected}")
        self.index = strides.index(stride)
        prune: Any = network.prune_intermediate_layers
        prune([self.index], prune_norm=True, prune_head=True)
        self.network: Any = network

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c u v"]:
        """The feature map."""
        options = {"indices": [self.index], "stop_early": True, "intermediates_only": True}
        maps: list[Tensor] = self.network.forward_intermediates(images, **options)
        return maps[0]

    def parts(self) -> dict[str, nn.Module]:
        """What the feature map is made by, in a row, as timm calls it.

        Raises:
            ConfigError: a network of another family than EfficientNet's and MobileNet's.
        """
        if not all(hasattr(self.network, name) for name in ("conv_stem", "bn1", "blocks", "stage_ends")):
            kind = type(self.network).__name__
            raise ConfigError(
                f"image network: parts of timm's {kind} are not in a row, expected EfficientNet"
            )
        named = {name: getattr(self.network, name) for name in ("conv_stem", "bn1", "blocks")}
        return flat(named)
