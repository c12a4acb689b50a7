"""The depth network: where a cropped person moves, place by place."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from plait.errors import ShapeError


class DepthNet(nn.Module):
    """A depth video of one person, cropped to them, to a grid over time, height and width.

    A 2D network sees `group` frames at once, folded into the batch. Each patch goes through three linear
    maps: of the patch as it is, of its departure from its average over the clip, of its change since the
    frames before. A 3x3 convolution follows, which halves height and width. As the person fills the picture,
    places mean something (an arm, the feet): like each joint in `SkeletonNet`, each then has a convolution
    over time of its own; what the whole picture does, by two dense layers over time, is added. Batch
    normalisation and a ReLU follow each.

    The grid is `(frames // group / 2, height // patch / 2, width // patch / 2, channels)`, the halves rounded
    up; frames, rows and columns beyond whole groups and patches are not seen.

    Args:
        shape: a clip's, `(frames, height, width)`.
        patches: channels of the patches.
        places: channels of the convolved picture.
        body: channels of the description of the picture as a whole.
        channels: channels of the grid.
        group: frames that are seen at once.
        patch: side of a patch in pixels.
        kernel: positions in time that a place's own convolution sees, odd.
        gain: size of the grid's features at the start. Most places stand still in most clips, so the average
            over places differs little between clips; at 1, a classifier on that average learns too slowly.

    Raises:
        ShapeError: `shape` is no depth video, or has fewer than two groups of frames or patches; a size is
            below 1, or `kernel` is even.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        patches: int = 48,
        places: int = 64,
        body: int = 48,
        channels: int = 48,
        group: int = 2,
        patch: int = 8,
        kernel: int = 5,
        gain: float = 4.0,
    ) -> None:
        super().__init__()
        if min(patches, places, body, channels, group, patch, kernel) < 1 or kernel % 2 == 0:
            got = f"kernel {kernel} and other sizes"
            raise ShapeError(f"depth network: got {got}, expected all at least 1, kernel odd")
        if len(shape) != 3 or shape[0] < 2 * group or min(shape[1:]) < 2 * patch:
            expected = f"(frames, height, width) with at least {2 * group} frames of {2 * patch}x{2 * patch}"
            raise ShapeError(f"depth network: got a clip of shape {tuple(shape)}, expected {expected}")
        self.shape = tuple(shape)
        self.group, self.patch, self.kernel = group, patch, kernel
        self.steps, rows, columns = shape[0] // group, shape[1] // patch, shape[2] // patch
        self.patches = nn.Linear(group * patch * patch, 3 * patches, bias=False)
        self.patch_norm = nn.BatchNorm2d(patches)
        self.picture = nn.Conv2d(patches, places, 3, stride=2, padding=1, bias=False)
        self.picture_norm = nn.BatchNorm2d(places)
        grid = -(-rows // 2) * -(-columns // 2)
        self.whole = nn.Sequential(
            nn.Conv1d(grid * places, body, 1, bias=False),
            nn.BatchNorm1d(body),
            nn.ReLU(),
            nn.Conv1d(body, body, 5, padding=2, bias=False),
            nn.BatchNorm1d(body),
            nn.ReLU(),
            nn.Conv1d(body, channels, 1, stride=2, bias=False),
        )
        self.own = nn.Parameter(torch.randn(grid, kernel * places, channels) / (kernel * places) ** 0.5)
        self.place = nn.Parameter(torch.randn(grid, channels) / 10)
        self.norm = nn.BatchNorm1d(channels)
        nn.init.constant_(self.norm.weight, gain)

    def forward(self, depth: Float[Tensor, "b frames height width"]) -> Float[Tensor, "b t h w c"]:
        """The grid of each clip.

        Raises:
            ShapeError: the clips are not of the shape this encoder was made for.
        """
        if tuple(depth.shape[1:]) != self.shape:
            got = f"clips of shape {tuple(depth.shape[1:])}"
            raise ShapeError(f"depth network: got {got}, expected {self.shape}")
        places = self.picture_norm(self.picture(self._frames(depth))).relu_()
        h, b = places.shape[2], depth.shape[0]
        steps = rearrange(places, "(t b) c h w -> (h w) t b c", b=b)
        moved = torch.baddbmm(
            self.place.unsqueeze(1), _windows(steps, self.kernel, 2).flatten(1, 2), self.own
        )
        grid = rearrange(moved, "v (t b) c -> v t b c", b=b) + self._described(steps)
        t = grid.shape[1]
        normed: Tensor = self.norm(rearrange(grid, "v t b c -> (b t v) c")).relu_()
        return rearrange(normed, "(b t h w) c -> b t h w c", b=b, t=t, h=h)

    def _frames(self, depth: Float[Tensor, "b frames height width"]) -> Float[Tensor, "tb c h w"]:
        """What patches show, groups of frames in the order of their time, each of all clips.

        The sum of linear maps of x_t, of x_t - mean(x) and of x_t - x_{t-1} is one of x_t and x_{t-1}, which
        is a convolution, and one of mean(x).
        """
        sides = {"g": self.group, "p": self.patch, "q": self.patch}
        still, departing, changing = rearrange(
            self.patches.weight, "(k c) (g p q) -> k c 1 g p q", k=3, **sides
        )
        stride = (self.group, self.patch, self.patch)
        groups = rearrange(depth[:, : self.steps * self.group], "b (t g) h w -> b t g h w", g=self.group)
        parts = (
            (depth, torch.cat((-changing, still + departing + changing), dim=2)),
            (depth[:, : self.group], still + departing),  # nothing came before the first group
            (groups.mean(dim=1), -departing),
        )
        # As torch sees it, both memory formats are these frames'; channels last, maps are as they are needed.
        convolved = (F.conv3d(x.unsqueeze(-1).movedim(-1, 1), w, stride=stride) for x, w in parts)
        later, first, mean = (rearrange(x, "b c t h w -> t b h w c") for x in convolved)
        seen = torch.cat((first, later)).add_(mean)
        maps = rearrange(seen, "t b h w c -> (t b) c h w")
        frames: Tensor = self.patch_norm(maps).relu_()
        return frames

    def _described(self, steps: Float[Tensor, "v t b c"]) -> Float[Tensor, "s b n"]:
        """What `whole` makes of the pictures, by products: these see clips beside each other."""
        _, t, b, c = steps.shape
        weight, norm, other_norm = self.whole.get_parameter, self.whole[1], self.whole[4]
        first = rearrange(weight("0.weight"), "n (c v) 1 -> n (v c)", c=c)
        body = norm(F.linear(rearrange(steps, "v t b c -> (t b) (v c)"), first)).relu_()
        second = weight("3.weight")
        windows = _windows(body.view(t, b, -1), second.shape[-1], 1).flatten(0, 1)
        followed = other_norm(F.linear(windows, rearrange(second, "n c k -> n (k c)"))).relu_()
        return F.linear(followed.view(t, b, -1)[::2], weight("6.weight").squeeze(2))


def _windows(steps: Float[Tensor, "*v t b c"], kernel: int, stride: int) -> Float[Tensor, "*v s b kc"]:
    """The channels of `kernel` steps side by side, about every `stride`-th of them; zeros beyond the ends."""
    side, count = kernel // 2, steps.shape[-3]
    padded = F.pad(steps, (0, 0, 0, 0, side, side))
    return torch.cat([padded[..., k : k + count : stride, :, :] for k in range(kernel)], dim=-1)
