"""A simulated GloVid: raw recordings of a chest camera and two gloves, drawn and felt from one motion.

`plait simulate` writes them; this opens them once they are recordings or clips.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from plait.clips import Windows, open_clips, open_windows
from plait.datasets.glovid import EXPECTED_HANDS, READING_HZ, READINGS, HandsDataset, glove_net, gloves
from plait.encoders.video import VideoNet
from plait.pretrained import efficientnet_lite0
from plait.recordings.video import rgb
from plait.types import Modality, Recording

FRAMES, FRAME_HZ = 32, 6.0
WINDOWS = Windows(READINGS / READING_HZ, unlabelled="neutral")


def recordings(data: Path) -> Iterator[Recording]:
    """From a clip table, or from recordings, cut into every window that fits.

    Raises:
        DataError: what opening them refuses.
    """
    if (data / "clips.parquet").is_file():
        yield from open_clips(data)
    else:
        yield from open_windows(data, WINDOWS, tuple(EXPECTED_HANDS), ("video", "left", "right"))


def thumbnails(video: np.ndarray) -> Tensor:
    """RGB (32, 56, 56, 3) in [-1, 1]: each pixel the mean of 4 x 4."""
    pictures = torch.from_numpy(np.ascontiguousarray(video)).permute(0, 3, 1, 2).float()
    small: Tensor = avg_pool2d(pictures / 127.5 - 1, 4).permute(0, 2, 3, 1).half()
    return small


class MotionNet(nn.Module):
    """A small video network that sees each pixel relative to its mean in the clip: what is still vanishes."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.net = VideoNet(shape)

    def forward(self, clips: Tensor) -> Tensor:
        """The grid `(b, 8, 3, 3, 48)` of clips `(b, 32, 56, 56, 3)`."""
        grid: Tensor = self.net(2 * (clips - clips.mean(1, keepdim=True)))
        return grid


SIMULATED = HandsDataset(
    name="simulated",
    activities=tuple(EXPECTED_HANDS),
    modalities=(
        Modality("video", ("video",), FRAMES, FRAME_HZ, rgb, efficientnet_lite0),
        Modality("thumbnails", ("video",), FRAMES, FRAME_HZ, thumbnails, MotionNet),
        Modality("gloves", ("left", "right"), READINGS, READING_HZ, gloves, glove_net),
    ),
    recordings=recordings,
    cite="Simulated by plait; no publication.",
    hands=EXPECTED_HANDS,
    windows=WINDOWS,
)
