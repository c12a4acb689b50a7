"""What is true of a simulated recording, as clips show it: boxes of the hands in every frame."""

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from plait.errors import DataError, one_line
from plait.recordings.video import Video
from plait.simulator.scene import hand_box, in_view, thickness
from plait.store import explained, read_json, regular

TRUTH = "truth.npz"
FARTHEST = 1e6  # pixels, or metres


def raw_folders(sources: Sequence[Path]) -> list[Path]:
    """The raw recordings with their truth among `sources`: each is one, or a folder of them.

    Raises:
        DataError: one holds none.
    """
    folders: list[Path] = []
    for source in sources:
        raws = sorted(path.parent for path in source.glob(f"*/{TRUTH}"))
        if (source / TRUTH).is_file():
            raws = [source]
        if not raws:
            expected = "expected a raw recording that `plait simulate` wrote, or several"
            raise DataError(f"{source}: no {TRUTH}, {expected}")
        folders += raws
    return folders


def hand_boxes(raw: Path, video: Video) -> np.ndarray:
    """Boxes (frames, 2, 4) of the left and the right hand in pixels of `video`, of the recording in `raw`.

    Left, top, right, bottom, cut off at the picture's edges; NaN where less than a third of the hand shows. A
    hand that another one covers counts.

    Raises:
        DataError: the truth is missing, damaged, or not of this video.
    """
    path = raw / TRUTH
    try:
        with ZipFile(regular(path)) as packed:
            explained(path, sum(float(member.file_size) for member in packed.infolist()))
        with np.load(path, allow_pickle=False) as truth:
            joints, pixels = truth["joints"].astype(np.float64), truth["pixels"].astype(np.float64)
        size = float(read_json(raw / "truth.json")["person"]["size"])
    except DataError:
        raise
    except Exception as error:  # damaged files raise anything: zipfile's errors, zlib's, tokenize's, ...
        why = one_line(error)
        raise DataError(f"{path}: cannot be read, expected what `plait simulate` wrote: {why}") from error
    if any(points.ndim != 4 or not (np.abs(points) <= FARTHEST).all() for points in (joints, pixels)):
        raise DataError(f"{path}: joints or pixels are no points, expected what `plait simulate` wrote")
    if len(pixels) != len(video.times):
        raise DataError(f"{path}: {len(pixels)} frames, expected {len(video.times)} as in {video.file}")
    height, width = Video(video.file, None, None).at(np.zeros(1)).shape[1:3]
    boxes = hand_box(pixels, thickness(joints, size, height))
    scale = 1.0 if video.short_side is None else video.short_side / min(width, height)
    wide, tall = round(width * scale), round(height * scale)
    if video.crop is None:
        return in_view(boxes * scale, (0, 0, wide, tall))
    left, top = (wide - video.crop) // 2, (tall - video.crop) // 2
    return in_view(boxes * scale - [left, top, left, top], (0, 0, video.crop, video.crop))
