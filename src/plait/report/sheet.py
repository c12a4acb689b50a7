"""Fig. 4: a contact sheet, one frame for each activity."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from plait.clips import Cut
from plait.errors import DataError, PlaitWarning
from plait.store import write_bytes
from plait.types import Dataset, Stream

SHEET = "contact.jpg"
SIDE = 224


def write_sheet(dataset: Dataset, cuts: Sequence[Cut], run: Path) -> Path | None:
    """Write the middle frame of one clip of each activity into the folder `run`.

    Activities come in the data set's order, subjects take turns; an activity that nobody performed has no
    tile. None where no stream is of pictures, or, with a warning, where pictures cannot be read.

    Raises:
        DataError: the folder cannot be written.
    """
    streams = dict.fromkeys(name for modality in dataset.modalities for name in modality.streams)
    subjects = list(dict.fromkeys(clip.subject for _, clip in cuts))
    tiles: list[np.ndarray] = []
    for number, activity in enumerate(dataset.activities):
        performed = [cut for cut in cuts if cut[1].activity == activity]
        performed = [cut for cut in performed if not cut[1].lacks] or performed
        turn = [cut for cut in performed if cut[1].subject == subjects[number % len(subjects)]]
        if not performed:
            continue
        recording, clip = (turn or performed)[0]
        middle = np.array([(clip.start_s + clip.stop_s) / 2])
        views = [recording.streams[name] for name in streams if name in recording.streams]
        try:
            frame = _first_picture(views, middle)
        except DataError as error:
            warnings.warn(f"the page has no contact sheet: {error}", PlaitWarning, stacklevel=2)
            return None
        if frame is None:
            return None
        tiles.append(frame)
    columns = 4 if len(tiles) <= 12 else 6
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    sheet = np.full((SIDE * len(rows), max(row.shape[1] for row in rows), 3), 255, np.uint8)
    for number, row in enumerate(rows):
        sheet[number * SIDE : (number + 1) * SIDE, : row.shape[1]] = row
    _, content = cv2.imencode(".jpg", sheet[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    write_bytes(run / SHEET, content.tobytes())
    return run / SHEET


def _first_picture(streams: Sequence[Stream], second: np.ndarray) -> np.ndarray | None:
    """The picture of the first stream that has one then; streams that cannot be read are passed over.

    Raises:
        DataError: the first of these streams' error, where no other has a picture.
    """
    errors = []
    for stream in streams:
        try:
            frame = picture(stream.at(second)[0])
        except DataError as error:
            errors.append(error)
        else:
            if frame is not None:
                return frame
    if errors:
        raise errors[0]
    return None


def picture(reading: np.ndarray, side: int = SIDE) -> np.ndarray | None:
    """A reading as a square RGB picture: colours as they are, depth in grey, nearer is lighter; else None."""
    if reading.ndim == 3 and reading.shape[2] == 3 and reading.dtype == np.uint8:
        colours = reading
    elif reading.ndim == 2 and min(reading.shape) >= 32:
        measured = reading > 0
        near, far = np.percentile(reading[measured], (1, 99)) if measured.any() else (0.0, 1.0)
        grey = np.where(measured, 255 - 190 * np.clip((reading - near) / max(far - near, 1e-6), 0, 1), 0)
        colours = np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    else:
        return None
    short = min(colours.shape[:2])
    top, left = (colours.shape[0] - short) // 2, (colours.shape[1] - short) // 2
    square = np.ascontiguousarray(colours[top : top + short, left : left + short])
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)


def is_joints(reading: np.ndarray) -> bool:
    """Whether a reading is the places of a body's joints in space: ten rows of three numbers or more."""
    return reading.ndim == 2 and reading.shape[0] >= 10 and reading.shape[1] == 3
