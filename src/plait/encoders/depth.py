"""The depth network: where a cropped person moves, place by place."""

import torch
from einops import einsum, rearrange
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
        self.size = (rows * patch, columns * patch)
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
        cropped = depth[:, : self.steps * self.group, : self.size[0], : self.size[1]]
        sides = {"g": self.group, "p": self.patch, "q": self.patch}
        patches = rearrange(cropped, "b (t g) (h p) (w q) -> b t h w (g p q)", **sides)
        still, departing, changing = self.patches(patches).chunk(3, dim=-1)  # linear: differences come after
        departed = departing - departing.mean(dim=1, keepdim=True)
        changed = torch.diff(changing, dim=1, prepend=changing[:, :1])
        frames = self.patch_norm(rearrange(still + departed + changed, "b t h w c -> (b t) c h w")).relu()
        places = self.picture_norm(self.picture(frames)).relu()
        h, b = places.shape[2], len(depth)
        whole = self.whole(rearrange(places, "(b t) c h w -> b (c h w) t", b=b))
        side = self.kernel // 2
        lines = F.pad(rearrange(places, "(b t) c h w -> b t (h w) c", b=b), (0, 0, 0, 0, side, side))
        windows = rearrange(lines.unfold(1, self.kernel, 2), "b t v c k -> b t v (k c)")
        moved = einsum(windows, self.own, "b t v n, v n c -> b t v c") + self.place
        grid = rearrange(moved + rearrange(whole, "b c t -> b t 1 c"), "b t v c -> (b t v) c")
        normed: Tensor = self.norm(grid).relu()
        return rearrange(normed, "(b t h w) c -> b t h w c", b=b, t=moved.shape[1], h=h)
