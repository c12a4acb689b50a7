"""Augmentations of MEx from a batch to a batch, for training only."""

import torch
from jaxtyping import Float
from torch import Tensor

from plait.datasets.augment import pictures_at, warp, zooms


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
    count, _, height, width = clips.shape
    rows, columns = zooms(count, height, width, 0.08)
    moved = pictures_at(clips, rows.clamp_(0, height - 1), columns.clamp_(0, width - 1))
    return warp(moved).mul_(1 + 0.1 * torch.randn(count, 1, 1, 1))
