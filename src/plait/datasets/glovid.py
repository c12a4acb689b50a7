"""GloVid: a chest camera and two smart gloves, eight activities of maintenance work (Byvshev, Mettes, Xiao, ICMR 2020).

The recordings were never published. Whoever holds them, or clips already cut, runs the paper's study from one of

* a folder of recordings (`plait ingest --template gopro-gloves`, then `plait sync`), cut here into 200 clips a subject;
* a clip table that `plait clips` made of such a folder;
* preprocessed clips: `video.npy` (n, 79, 224, 224, 3) uint8 RGB, `gloves.npy` (n, 134, 18), the left hand's nine
  readings first, and `clips.csv` with the columns `clip, subject, activity` in the same order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from plait.clips import Windows, mapped, open_clips, open_windows
from plait.encoders.glove import GloveNet
from plait.encoders.video import VideoNet
from plait.errors import DataError
from plait.recordings.video import rgb
from plait.types import Dataset, Modality, Readings, Recording, Span

EXPECTED_HANDS = {
    "neutral": 0,
    "pressing a button": 1,
    "unplugging the cables": 2,
    "plugging the cables": 2,
    "disassembling a button": 2,
    "assembling a button": 2,
    "using a screwdriver": 2,
    "using a hammer": 1,
}  # not listed in the paper: plait's assumption
FRAMES, FRAME_HZ = 79, 15.0
READINGS, READING_HZ = 134, 25.0
CHANNELS = 9  # a hand: five flex, three of acceleration, one of pressure
PER_SUBJECT = 200
WINDOWS = Windows(READINGS / READING_HZ, unlabelled="neutral", count=PER_SUBJECT)


def recordings(data: Path) -> Iterator[Recording]:
    """GloVid from a clip table, from preprocessed clips, or from recordings.

    Raises:
        DataError: a file is missing, damaged, or not of the shape above.
    """
    if (data / "clips.parquet").is_file():
        yield from open_clips(data)
    elif (data / "gloves.npy").is_file():
        yield from _preprocessed(data)
    else:
        yield from open_windows(data, WINDOWS, tuple(EXPECTED_HANDS), ("video", "left", "right"))


@dataclass(frozen=True, eq=False)
class Frames:
    """A `Stream` of one preprocessed clip's frames, read from the mapped array when asked for."""

    file: Path
    row: int

    @property
    def times(self) -> np.ndarray:
        """Seconds of each frame."""
        return np.arange(FRAMES) / FRAME_HZ

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """The frame on display at each of `seconds`, shape `(n, 224, 224, 3)`, uint8."""
        shown = np.clip(np.floor(np.asarray(seconds) * FRAME_HZ + 1e-3).astype(int), 0, FRAMES - 1)
        frames: np.ndarray = mapped(self.file)[self.row][shown]
        return frames


def _preprocessed(data: Path) -> Iterator[Recording]:
    table = _listed(data / "clips.csv")
    for name, shape in (("video", (FRAMES, 224, 224, 3)), ("gloves", (READINGS, 2 * CHANNELS))):
        if (got := mapped(data / f"{name}.npy").shape) != (len(table), *shape):
            raise DataError(
                f"{data / name}.npy: shape {got}, expected {(len(table), *shape)}, a row per line of clips.csv"
            )
    seconds = np.arange(READINGS) / READING_HZ
    for row, (clip, subject, activity) in enumerate(table.iter_rows()):
        gloves = np.asarray(mapped(data / "gloves.npy")[row], dtype=np.float32)
        hands = {"left": gloves[:, :CHANNELS], "right": gloves[:, CHANNELS:]}
        streams = {name: Readings(seconds, values) for name, values in hands.items()}
        span = Span(0.0, READINGS / READING_HZ, activity)
        yield Recording(clip, subject, {"video": Frames(data / "video.npy", row), **streams}, (span,))


def _listed(path: Path) -> pl.DataFrame:
    columns = ["clip", "subject", "activity"]
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot be read, expected the columns {', '.join(columns)}") from error
    if missing := [name for name in columns if name not in table.columns]:
        raise DataError(f"{path}: no column {missing[0]!r}, expected {', '.join(columns)}")
    if table.select(columns).null_count().sum_horizontal().item():
        raise DataError(f"{path}: an empty cell, expected a clip, a subject and an activity in every line")
    return table.select(columns)


def gloves(left: np.ndarray, right: np.ndarray) -> Tensor:
    """Both hands (134, 18) as they were read; the network standardises each channel by the training clips."""
    return torch.from_numpy(np.concatenate([left, right], axis=1)).float()


def _gloves(shape: tuple[int, ...]) -> nn.Module:
    return GloveNet(shape, standardise=True)


GLOVID = Dataset(
    name="glovid",
    activities=tuple(EXPECTED_HANDS),
    modalities=(
        Modality("video", ("video",), FRAMES, FRAME_HZ, rgb, VideoNet),
        Modality("gloves", ("left", "right"), READINGS, READING_HZ, gloves, _gloves),
    ),
    recordings=recordings,
    cite="Byvshev, Mettes, Xiao: Heterogeneous Non-Local Fusion for Multimodal Activity Recognition, ICMR 2020.",
    hands=EXPECTED_HANDS,
)
