"""Other people, worn otherwise, at another pace: what data sets' augmentations share; for training only."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def rotations(count: int, spread_rad: tuple[float, float, float]) -> Float[Tensor, "b 3 3"]:
    """Random rotations, normal about each axis: exponentials of skew-symmetric matrices."""
    x, y, z = (torch.randn(count, 3) * torch.tensor(spread_rad)).unbind(1)
    nought = torch.zeros(count)
    skew = torch.stack((nought, -z, y, z, nought, -x, -y, x, nought), 1)
    return torch.matrix_exp(rearrange(skew, "b (i j) -> b i j", i=3))


def warp(clips: Float[Tensor, "b t *reading"]) -> Float[Tensor, "b t *reading"]:
    """Each clip shifted by up to 5 %, stretched by up to 10 % and bent by up to 7 % of its length in time.

    Linear between readings; beyond its ends a clip stands still.
    """
    count, samples = clips.shape[:2]
    shift, stretch, bend = (2 * torch.rand(3, count, 1) - 1) * torch.tensor([[[0.05]], [[0.1]], [[0.07]]])
    time = torch.linspace(0, 1, samples)
    at = 0.5 + shift + (time - 0.5) * (1 + stretch) + bend * torch.sin(torch.pi * time)
    at = (at * (samples - 1)).clamp(0, samples - 1)
    before = at.long().clamp(max=samples - 2)
    share = (at - before).reshape(-1, *[1] * (clips.ndim - 2))
    rows = (before + samples * torch.arange(count)[:, None]).flatten()
    readings = clips.flatten(0, 1)
    earlier, later = readings.index_select(0, rows), readings.index_select(0, rows + 1)
    return earlier.lerp_(later, share).view(clips.shape)
