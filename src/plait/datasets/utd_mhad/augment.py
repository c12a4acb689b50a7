"""Other people, worn otherwise, at another pace: augmentations from a batch to a batch, for training only."""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from plait.datasets.augment import pictures_at, rotations, warp, zooms


def rotate_rescale_warp(clips: Float[Tensor, "b samples 6"]) -> Float[Tensor, "b samples 6"]:
    """An inertial sensor worn a little differently, by someone of another strength and pace."""
    vectors = rearrange(clips, "b t (sensor xyz) -> b t sensor xyz", xyz=3)
    turned = einsum(rotations(len(clips), (0.2, 0.2, 0.2)), vectors, "b i j, b t sensor j -> b t sensor i")
    scale = 1 + 0.1 * torch.randn(len(clips), 1, 6)
    rescaled = rearrange(turned, "b t sensor xyz -> b t (sensor xyz)") * scale
    return warp(rescaled) + 0.02 * torch.randn_like(clips)


def turn_rescale_warp(clips: Float[Tensor, "b frames 20 3"]) -> Float[Tensor, "b frames 20 3"]:
    """A body turned a little, mostly about the vertical, of other proportions and pace."""
    turned = einsum(rotations(len(clips), (0.05, 0.2, 0.05)), clips, "b i j, b t joint j -> b t joint i")
    rescaled = turned * (1 + 0.1 * torch.randn(len(clips), 1, 1, 3))
    displaced = rescaled + 0.02 * torch.randn(len(clips), 1, 20, 3)
    return warp(displaced) + 0.01 * torch.randn_like(clips)


def shift_crop(clips: Float[Tensor, "b frames height width"]) -> Float[Tensor, "b frames height width"]:
    """A person cropped a little differently, of another build and pace.

    Shifted by up to 4 % and zoomed by up to 10 % of the picture, and in time as the other sensors; arms reach
    farther or less far, and the whole person stands nearer or farther than the clip's median says.
    """
    count, _, height, width = clips.shape
    warped = warp(clips)
    moved = pictures_at(warped, *zooms(count, height, width, 0.04))
    reach, place = 0.1 * torch.randn(2, count, 1, 1, 1)
    person = torch.threshold_(moved, 0.05, torch.inf)  # what is nobody stays infinite: faster than a mask
    reached = person.mul_(1 + reach).add_(place - reach)  # (person - 1) * (1 + reach) + 1 + place
    return reached.nan_to_num_(nan=torch.nan, posinf=0.0, neginf=0.0)
