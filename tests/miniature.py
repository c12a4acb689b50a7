"""GloVid in miniature, made of random numbers: a few clips whose grids and gloves tell the activity."""

import numpy as np
import polars as pl
from torch import nn
from torch.nn import functional as F

from plait.datasets.glovid import EXPECTED_HANDS, GRID, PICTURES
from plait.hands.detections import Found

ACTIVITIES = tuple(EXPECTED_HANDS)


class Blocks(nn.Module):
    """Stands where I3D stands, whose weights are not to be had: colours averaged to its grid."""

    def __init__(self, shape):
        super().__init__()

    def forward(self, video):
        return F.adaptive_avg_pool3d(video.movedim(-1, 1), GRID[:3]).movedim(1, -1)


def finds_one(pictures):
    """One hand in every picture."""
    return [Found(np.array([[0.0, 0.0, 9.0, 9.0]]), np.array([0.9])) for _ in pictures]


def write_arrays(folder, video, people=4, each=8, kind=np.float16, hands=True):
    """`video.npy`, pictures or grids (None: none), `gloves.npy` and `clips.csv`, some clips a person."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    n = people * each
    said = [ACTIVITIES[(row + row // each) % 8] for row in range(n)]
    number = np.array([ACTIVITIES.index(activity) for activity in said])
    waves = np.sin(np.arange(134)[:, None] * (1 + number[:, None, None]) / 9)
    gloves = 300 + 40 * waves + rng.normal(0, 40, (n, 134, 18))
    np.save(folder / "gloves.npy", gloves.astype(np.float32))
    if video == "grids":
        grids = np.lib.format.open_memmap(folder / "video.npy", "w+", kind, (n, *GRID))
        seen = np.maximum(rng.standard_normal((8, GRID[-1])), 0)
        for row, activity in enumerate(number):
            grids[row] = np.maximum(rng.standard_normal(GRID, np.float32) + seen[activity], 0)
    elif video == "pictures":
        pictures = np.lib.format.open_memmap(folder / "video.npy", "w+", np.uint8, (n, *PICTURES))
        for row, activity in enumerate(number):
            pictures[row, :, 20 * activity : 20 * activity + 20] = 20 + 25 * activity
            pictures[row, 0, 0] = rng.integers(0, 256, PICTURES[2:])  # no two people have the same clip
    rows = [
        (f"p{row // each}-{row % each}", f"p{row // each}", activity) for row, activity in enumerate(said)
    ]
    table = pl.DataFrame(rows, schema=["clip", "subject", "activity"], orient="row")
    if hands:
        expected = np.array([EXPECTED_HANDS[activity] for activity in said])
        table = table.with_columns(hands=pl.Series(np.maximum(expected - rng.integers(0, 3, n), 0)))
    table.write_csv(folder / "clips.csv")
    return folder
