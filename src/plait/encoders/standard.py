"""What published weights want of pictures, in arithmetic that `torch.export` can write down."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.transforms import functional as F


class Standard(nn.Module):
    """The transforms of torchvision's `preset` on pictures in [0, 1]: resized, cropped, standardised.

    The short side is resized to the preset's and the long one in proportion, the middle is kept. Presets of
    videos name both sides, 128 x 171 for films of 4:3, and would distort any other.

    torchvision's own `Normalize` looks at its tensors' values and kinds in a way that no graph can say; the
    numbers are the same.
    """

    def __init__(self, preset: Any) -> None:
        super().__init__()
        self.short_side, self.crop_size = min(preset.resize_size), list(preset.crop_size)
        self.interpolation, self.antialias = preset.interpolation, getattr(preset, "antialias", False)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(preset.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preset.std).view(-1, 1, 1), persistent=False)

    def forward(self, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 u v"]:
        """The pictures as the weights know them."""
        shrinks = min(pictures.shape[-2:]) > self.short_side  # else nothing is averaged
        antialias = self.antialias and shrinks
        resized = F.resize(pictures, [self.short_side], self.interpolation, antialias=antialias)
        cropped: Tensor = F.center_crop(resized, self.crop_size)
        return (cropped - self.mean) / self.std


def middle(pictures: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n c side side"]:
    """The middle square of pictures whose short side is resized to `side`: what is round stays round."""
    resized = F.resize(pictures, [side], F.InterpolationMode.BILINEAR, antialias=True)
    square: Tensor = F.center_crop(resized, [side])
    return square
