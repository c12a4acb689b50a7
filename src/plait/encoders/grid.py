"""What is trained on top of frozen features of video: every place followed through time."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ShapeError


class GridNet(nn.Module):
    """A grid over time and places `(t, *places, c)` to a narrower one with fewer steps.

    One linear map for all places, then convolutions of three steps over time that halve the steps, rounded
    up. Batch normalisation and a ReLU follow each. The grid is
    `(t / 2**len(temporal), *places, temporal[-1])`, or `(t, *places, width)` without convolutions.

    Args:
        shape: of what comes in: at least an axis of time and the channels.
        width: channels after the linear map.
        temporal: channels after each convolution over time.
        motion: each place's departure from its mean over the clip goes in, so that a still background
            vanishes.

    Raises:
        ShapeError: there is no axis of time.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        width: int = 48,
        temporal: Sequence[int] = (48, 48),
        motion: bool = False,
    ) -> None:
        super().__init__()
        if len(shape) < 2:
            raise ShapeError(f"GridNet: got features of shape {tuple(shape)}, expected (time, ..., channels)")
        self.places, self.motion = tuple(shape[1:-1]), motion
        self.linear = nn.Linear(shape[-1], width, bias=False)
        self.norm = nn.BatchNorm1d(width)
        stages: list[nn.Module] = []
        for before, after in pairwise((width, *temporal)):
            convolution = nn.Conv1d(before, after, 3, stride=2, padding=1, bias=False)
            stages += [convolution, nn.BatchNorm1d(after), nn.ReLU()]
        self.time = nn.Sequential(*stages)

    def forward(self, features: Float[Tensor, "b t *places c"]) -> Float[Tensor, "b s *places d"]:
        """The grid of each clip."""
        if self.motion:
            features = features - features.mean(1, keepdim=True)
        narrow = self.linear(features.flatten(2, -2) if self.places else features.unsqueeze(2))
        lines = rearrange(narrow, "b t v c -> (b v) c t")
        followed = self.time(torch.relu(self.norm(lines)))
        grid: Tensor = rearrange(followed, "(b v) c t -> b t v c", b=features.shape[0])
        return grid.reshape(*grid.shape[:2], *self.places, grid.shape[-1])
