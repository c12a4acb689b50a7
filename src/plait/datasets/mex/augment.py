"""Augmentations of MEx from a batch to a batch, for training only."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from plait.datasets.augment import warp


def flip_warp(clips: Float[Tensor, "b samples 3"]) -> Float[Tensor, "b samples 3"]:
    """An accelerometer worn upside down, the other way round or on the other limb, at another pace.

    People of MEx wore theirs in all these ways: each axis keeps its sign or loses it.
    """
    signs = 2.0 * torch.randint(0, 2, (len(clips), 1, 3)) - 1
    return warp(clips * signs)


def shift_rescale_warp(clips: Float[Tensor, "b frames h w"]) -> Float[Tensor, "b frames h w"]:
    """Someone who lies elsewhere on the mat, is larger or smaller, heavier or lighter, at another pace.

    Shifted by up to 8 % and zoomed by up to 10 % of the picture; what lies beyond its edge is as at the edge.
    """
    count, frames, height, width = clips.shape
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = 1 + (2 * torch.rand(2, count) - 1) * 0.1
    theta[:, :, 2] = (2 * torch.rand(count, 2) - 1) * 0.08 * 2  # the picture is two units wide
    grid = F.affine_grid(theta, [count, frames, height, width], align_corners=False)
    moved = F.grid_sample(clips, grid, align_corners=False, padding_mode="border")
    return warp(moved).mul_(1 + 0.1 * torch.randn(count, 1, 1, 1))
