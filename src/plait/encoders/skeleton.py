"""The skeleton network: convolutions over time shared by all joints, and learned mixing between joints."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ShapeError


class MixJoints(nn.Module):
    """Each joint receives a learned mixture of all joints, per channel group; starts near the identity."""

    def __init__(self, joints: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(joints).repeat(groups, 1, 1) + torch.randn(groups, joints, joints) / joints)

    def forward(self, x: Float[Tensor, "b c t v"]) -> Float[Tensor, "b c t v"]:
        grouped = rearrange(x, "b (g c) t v -> b g c t v", g=len(self.weight))
        return rearrange(einsum(grouped, self.weight, "b g c t v, g v w -> b g c t w"), "b g c t w -> b (g c) t w")


class SkeletonNet(nn.Module):
    def __init__(self, shape: tuple[int, ...], *, widths: Sequence[int] = (32, 32, 64), kernel: int = 5, strides: Sequence[int] = (2, 2, 1), groups: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ShapeError(f"skeleton network: got shape {tuple(shape)}, expected (frames, joints, coordinates)")
        _, joints, coordinates = shape
        self.inputs = nn.BatchNorm1d(joints * coordinates)
        stages: list[nn.Module] = []
        self.embed = nn.Conv2d(2*coordinates, widths[0], 1)
        for (i, o), s in zip(pairwise((widths[0], *widths)), strides, strict=True):
            stages += [MixJoints(joints, groups), nn.Conv2d(i, o, (kernel, 1), (s, 1), (kernel // 2, 0)), nn.BatchNorm2d(o), nn.ReLU()]
            if dropout > 0:
                stages.append(nn.Dropout2d(dropout))
        self.stages = nn.Sequential(*stages)

    def forward(self, skeleton):
        x = rearrange(skeleton, "b t v c -> b c t v")
        x = torch.cat((x, x - x[:, :, :1]), 1)
        x = self.stages(self.embed(x))
        return rearrange(x, "b c t v -> b t v c")
