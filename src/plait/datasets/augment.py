"""Other people, worn otherwise, at another pace: what data sets' augmentations share; for training only."""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


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
    return read_at(clips, paces(*clips.shape[:2]))


def paces(count: int, samples: int) -> Float[Tensor, "b t"]:
    """Which reading of its clip stands at each sample of a warped one, fractions between two."""
    shift, stretch, bend = (2 * torch.rand(3, count, 1) - 1) * torch.tensor([[[0.05]], [[0.1]], [[0.07]]])
    time = torch.linspace(0, 1, samples)
    at = 0.5 + shift + (time - 0.5) * (1 + stretch) + bend * torch.sin(torch.pi * time)
    within: Tensor = (at * (samples - 1)).clamp(0, samples - 1)
    return within


def zooms(
    count: int, height: int, width: int, shift: float
) -> tuple[Float[Tensor, "b height"], Float[Tensor, "b width"]]:
    """Which row and column of its picture stand at each of a moved one, fractions between two.

    Both are zoomed by up to 10 % about the middle and moved by up to the share `shift` of the picture.
    """
    scales, moves = 1 + (2 * torch.rand(2, count) - 1) * 0.1, (2 * torch.rand(count, 2) - 1) * shift
    places = (
        (torch.arange(side) + 0.5 - side / 2) * scale[:, None] + side * (0.5 + move[:, None]) - 0.5
        for side, scale, move in zip((width, height), scales, moves.unbind(1), strict=True)
    )
    columns, rows = places
    return rows, columns


def read_at(clips: Float[Tensor, "b t *reading"], at: Float[Tensor, "b s"]) -> Float[Tensor, "b s *reading"]:
    """Readings at fractions between two, linear between these; beyond its ends a clip is zero."""
    count, samples = clips.shape[:2]
    places, shares = _neighbours(at, samples)
    places += samples * torch.arange(count).view(-1, 1, 1)
    read = _mixed(clips.reshape(count * samples, -1), places, shares)
    return read.view(*at.shape, *clips.shape[2:])


def pictures_at(
    clips: Float[Tensor, "b t height width"], rows: Float[Tensor, "b h"], columns: Float[Tensor, "b w"]
) -> Float[Tensor, "b t h w"]:
    """Pictures at fractions of rows and columns, linear between two of either; beyond an edge they are zero.

    Along rows by lookups of whole rows, along columns by a product: both pass faster than a lookup of every
    pixel's four neighbours (`torch.nn.functional.grid_sample`).
    """
    count, frames, height, width = clips.shape
    places, shares = _neighbours(rows, height)
    pictures = height * torch.arange(count * frames).view(count, frames, 1)
    found = _mixed(
        clips.flatten(0, 2),
        places.view(count, 1, -1) + pictures,
        shares.view(count, 1, -1).expand(-1, frames, -1),
    )
    moved = found.view(count, -1, width) @ _shares(columns.unsqueeze(1), torch.arange(width).unsqueeze(1))
    return moved.view(count, frames, rows.shape[1], -1)


def _neighbours(at: Float[Tensor, "b s"], count: int) -> tuple[Int[Tensor, "b s 2"], Float[Tensor, "b s 2"]]:
    """The two of `count` whole numbers next to each fraction, and their shares; of one, a second has none."""
    places = at.floor().clamp_(0, max(count - 2, 0)).unsqueeze(-1) + torch.arange(2)
    shares = _shares(at.unsqueeze(-1), places)
    if count == 1:
        places[..., 1], shares[..., 1] = 0, 0
    return places.long(), shares


def _shares(at: Float[Tensor, "*s"], places: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """What whole numbers have of fractions: all at the same place, nothing from one further on."""
    return torch.sub(at, places).abs_().neg_().add_(1).clamp_(min=0)


def _mixed(
    rows: Float[Tensor, "n c"], places: Int[Tensor, "*s 2"], shares: Float[Tensor, "*s 2"]
) -> Float[Tensor, "s c"]:
    """Sums of two rows each, times their shares."""
    return F.embedding_bag(places.reshape(-1, 2), rows, mode="sum", per_sample_weights=shares.reshape(-1, 2))
