"""The skeleton network: each joint's own motion, in the light of the whole body's."""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from plait.errors import ShapeError

STRIDE = 4  # frames between two positions of the grid


class SkeletonNet(nn.Module):
    """The joints of a moving body, to a grid over time and joints: a relation can be shown on either axis.

    Every joint keeps a place of its own in the grid: a convolution over time with weights of its own sees its
    places and velocities and no other joint's. What the body does as a whole, which no joint knows, is seen
    by two dense convolutions over time and added to all joints alike; a layer that all joints share gives the
    grid. Velocities count: without them, accuracy on unseen people falls markedly. A few simple variants that
    share convolutions over joints, with learned mixing between them, scored no better in small trials.

    Args:
        shape: a clip's, `(frames, joints, coordinates)`.
        body: channels of the convolutions over the whole body.
        own: channels of each joint's own convolution.
        channels: channels of the grid.
        kernel: frames that a joint's own convolution sees.

    Raises:
        ShapeError: `shape` is not `(frames, joints, coordinates)`.
    """

    def __init__(
        self, shape: tuple[int, ...], *, body: int = 64, own: int = 32, channels: int = 32, kernel: int = 9
    ) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape) < 1:
            expected = "(frames, joints, coordinates)"
            raise ShapeError(f"skeleton network: got shape {tuple(shape)}, expected {expected}")
        _, joints, coordinates = shape
        features = 2 * coordinates
        self.body = nn.Sequential(
            nn.Conv1d(joints * features, body, 5, stride=2, padding=2),
            nn.BatchNorm1d(body),
            nn.ReLU(),
            nn.Conv1d(body, body, 5, stride=2, padding=2),
            nn.BatchNorm1d(body),
            nn.ReLU(),
        )
        self.kernel = kernel
        self.own = nn.Parameter(torch.randn(joints, features * kernel, own) / (features * kernel) ** 0.5)
        self.place = nn.Parameter(torch.randn(joints, own) / 10)
        self.context = nn.Linear(body, own, bias=False)
        self.own_norm = nn.BatchNorm1d(own)
        self.out = nn.Linear(own, channels, bias=False)
        self.out_norm = nn.BatchNorm1d(channels)

    def forward(self, skeleton: Float[Tensor, "b frames joints xyz"]) -> Float[Tensor, "b t joints c"]:
        """The grid `(b, ceil(frames / 4), joints, channels)`."""
        velocity = torch.diff(skeleton, dim=1, prepend=skeleton[:, :1])
        motion = torch.cat((skeleton, 5 * velocity), -1)
        body = rearrange(self.body(rearrange(motion, "b t v c -> b (v c) t")), "b c t -> b t 1 c")
        side = self.kernel // 2
        windows = functional.pad(motion, (0, 0, 0, 0, side, side)).unfold(1, self.kernel, STRIDE)
        moved = einsum(rearrange(windows, "b t v c k -> b t v (c k)"), self.own, "b t v n, v n c -> b t v c")
        joints = _normalised(moved + self.place + self.context(body), self.own_norm).relu()
        return _normalised(self.out(joints), self.out_norm).relu()


def _normalised(grid: Float[Tensor, "b t v c"], norm: nn.BatchNorm1d) -> Float[Tensor, "b t v c"]:
    """Batch normalisation over all but the last axis."""
    normed: Tensor = norm(rearrange(grid, "b t v c -> (b t v) c"))
    return normed.view(grid.shape)
