"""GloVid: a chest camera and two smart gloves, eight activities of maintenance work (Byvshev, Mettes, Xiao, ICMR 2020).

The recordings were never published. Whoever holds them, or clips already cut, runs the paper's study from one of

* a folder of recordings (`plait ingest --template gopro-gloves`, then `plait sync`), cut here into 200 clips a subject;
* a clip table that `plait clips` made of such a folder;
* preprocessed clips: `video.npy` (n, 79, 224, 224, 3) uint8 RGB, `gloves.npy` (n, 134, 18), the left hand's nine
  readings first, and `clips.csv` with the columns `clip, subject, activity` in the same order;
* features, as the authors promised them: the same with `video.npy` (n, 10, 7, 7, 832), float16 or float32, I3D's
  `Mixed_5b` of each clip. This form is a data set of its own, `GLOVID_FEATURES`, whose study,
  `studies/glovid-features.toml`, needs no video network.

`clips.csv` may have a column `hands`: how many hands most frames of a clip show, 0 to 2 (Fig. 8). `form` says which of
these a folder is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from plait.clips import Windows, open_clips, open_windows
from plait.contents import describe
from plait.encoders.glove import GloveNet
from plait.encoders.video import VideoNet
from plait.errors import DataError, one_line
from plait.recordings.video import rgb
from plait.store import content_key, read_bytes, regular
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
PICTURES = (FRAMES, 224, 224, 3)
GRID = (10, 7, 7, 832)  # I3D's Mixed_5b of a clip
GRID_HZ = GRID[0] * FRAME_HZ / FRAMES
READINGS, READING_HZ = 134, 25.0
CHANNELS = 9  # a hand: five flex, three of acceleration, one of pressure
HANDS = 2
PER_SUBJECT = 200
STREAMS = ("video", "left", "right")
COLUMNS = ["clip", "subject", "activity"]
WINDOWS = Windows(READINGS / READING_HZ, unlabelled="neutral", count=PER_SUBJECT)


Form = Literal["recordings", "clip table", "preprocessed", "features"]


def form(data: Path) -> Form:
    """Which of the forms above the folder `data` is.

    Raises:
        DataError: its `video.npy` is none of them.
    """
    if (data / "clips.parquet").is_file():
        return "clip table"
    if not any((data / name).is_file() for name in ("video.npy", "gloves.npy", "clips.csv")):
        return "recordings"
    return _form_of(_array(data / "video.npy"), data / "video.npy", None)


def recordings(data: Path) -> Iterator[Recording]:
    """GloVid from a clip table, from preprocessed clips, or from recordings.

    Raises:
        DataError: a file is missing, damaged, or not of the shape above.
    """
    found = form(data)
    if found == "clip table":
        yield from open_clips(data)
    elif found == "recordings":
        yield from open_windows(data, WINDOWS, tuple(EXPECTED_HANDS), STREAMS)
    elif found == "features":
        raise DataError(
            f"{data / 'video.npy'}: holds features, expected pictures; `plait reproduce glovid` or `plait run "
            "studies/glovid-features.toml` takes them as they are"
        )
    else:
        yield from _arrays(data, "preprocessed")


def feature_recordings(data: Path) -> Iterator[Recording]:
    """GloVid from features.

    Raises:
        DataError: a file is missing, damaged, or not of the shape above.
    """
    if (found := form(data)) != "features":
        raise DataError(
            f"{data}: holds {found}, expected features, a video.npy of float16 or float32 (n, {_said(GRID)}); `plait "
            "reproduce glovid` or `plait run studies/glovid.toml` takes what is there"
        )
    yield from _arrays(data, "features")


@dataclass(frozen=True, eq=False)
class Row:
    """A `Stream` of one clip's pictures or grids, read from the mapped array when asked for."""

    file: Path
    row: int
    steps: int
    rate_hz: float

    @property
    def times(self) -> np.ndarray:
        """Seconds of each step."""
        return np.arange(self.steps) / self.rate_hz

    @cached_property
    def content_key(self) -> str:
        """Equal for equal steps: of the clip alone, so that others may come and go."""
        return content_key([describe(_array(self.file)[self.row]), self.steps, self.rate_hz])

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """What lies at each of `seconds`, `(n, *step)`, as it is kept.

        Raises:
            DataError: values that are not finite.
        """
        shown = np.clip(np.floor(np.asarray(seconds) * self.rate_hz + 1e-3).astype(int), 0, self.steps - 1)
        steps: np.ndarray = _array(self.file)[self.row][shown]
        if steps.dtype.kind == "f" and not np.isfinite(steps).all():
            raise DataError(f"{self.file}: row {self.row}: values that are not finite, expected numbers only")
        return steps


def hands_seen(data: Path) -> dict[str, int] | None:
    """How many hands each clip shows, by its name, where `clips.csv` says it in a column `hands`; else None.

    Raises:
        DataError: the file cannot be read, or says something else than 0, 1 or 2.
    """
    path = data / "clips.csv"
    if not path.is_file() or (data / "clips.parquet").is_file():
        return None
    table = _listed(path)
    if "hands" not in table.columns:
        return None
    allowed = [str(count) for count in range(HANDS + 1)]
    for clip, said in table.select("clip", "hands").iter_rows():
        if said is None or said.strip() not in allowed:
            raise DataError(f"{path}: clip {clip!r}: hands is {said!r}, expected {', '.join(allowed)}")
    return {clip: int(said) for clip, said in table.select("clip", "hands").iter_rows()}


def _arrays(data: Path, wanted: Form) -> Iterator[Recording]:
    """A recording for each row of the arrays."""
    table = _listed(data / "clips.csv")
    video, readings = data / "video.npy", data / "gloves.npy"
    _form_of(_array(video), video, len(table))
    given = _array(readings)
    if given.dtype.kind not in "fiu" or given.shape != (len(table), READINGS, 2 * CHANNELS):
        raise _other(
            given, readings, len(table), [f"numbers of shape ({len(table)}, {READINGS}, {2 * CHANNELS})"]
        )
    seconds = np.arange(READINGS) / READING_HZ
    step = (GRID[0], GRID_HZ) if wanted == "features" else (FRAMES, FRAME_HZ)
    for row, (clip, subject, activity) in enumerate(table.select(COLUMNS).iter_rows()):
        both = np.asarray(given[row], dtype=np.float32)
        if not np.isfinite(both).all():
            raise DataError(
                f"{readings}: row {row} (clip {clip!r}): values that are not finite, expected numbers only"
            )
        hands = {"left": both[:, :CHANNELS], "right": both[:, CHANNELS:]}
        streams = {name: Readings(seconds, values) for name, values in hands.items()}
        span = Span(0.0, READINGS / READING_HZ, activity)
        yield Recording(clip, subject, {"video": Row(video, row, *step), **streams}, (span,))


def _form_of(array: np.ndarray, path: Path, rows: int | None) -> Form:
    """Whether an array holds pictures or features, of so many clips if that is known.

    Raises:
        DataError: it holds neither.
    """
    count = array.shape[0] if rows is None and array.ndim else rows
    if array.dtype == np.uint8 and array.shape == (count, *PICTURES):
        return "preprocessed"
    if array.dtype.kind == "f" and array.dtype.itemsize in (2, 4) and array.shape == (count, *GRID):
        return "features"
    n = "n" if rows is None else rows
    pictures = f"uint8 of shape ({n}, {_said(PICTURES)}), RGB pictures"
    grids = f"float16 or float32 of shape ({n}, {_said(GRID)}), I3D's Mixed_5b"
    raise _other(array, path, rows, [pictures, grids])


def _other(array: np.ndarray, path: Path, rows: int | None, forms: Sequence[str]) -> DataError:
    lines = "" if rows is None else f"; a row for each of the {rows} lines of clips.csv"
    return DataError(f"{path}: {array.dtype} of shape {array.shape}, expected {', or '.join(forms)}{lines}")


def _said(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _array(path: Path) -> np.ndarray:
    """A mapped array of the user's own."""
    try:
        stamp = regular(path).stat()
    except OSError as error:
        raise DataError(f"{path}: no such file, expected it beside clips.csv") from error
    return _mapped(path, (stamp.st_ino, stamp.st_mtime_ns, stamp.st_size))


@lru_cache(maxsize=4)
def _mapped(path: Path, stamp: tuple[int, int, int]) -> np.ndarray:
    """The array of a file that is as `stamp` says, whatever stood there before."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged headers raise anything: SyntaxError, tokenize's, zipfile's, ...
        raise DataError(f"{path}: not a readable .npy file of plain numbers: {one_line(error)}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: holds several arrays, expected a .npy file of one")
    return array


def _listed(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_csv(read_bytes(path), infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot be read, expected the columns {', '.join(COLUMNS)}") from error
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise DataError(f"{path}: no column {missing[0]!r}, expected {', '.join(COLUMNS)}")
    if table.select(COLUMNS).null_count().sum_horizontal().item():
        raise DataError(f"{path}: an empty cell, expected a clip, a subject and an activity in every line")
    return table


def kept(video: np.ndarray) -> Tensor:
    """Grids (10, 7, 7, 832) as they are, float16 or float32."""
    return torch.from_numpy(np.ascontiguousarray(video, dtype=video.dtype.newbyteorder("=")))


def _as_it_is(shape: tuple[int, ...]) -> nn.Module:
    return nn.Identity()


def gloves(left: np.ndarray, right: np.ndarray) -> Tensor:
    """Both hands (134, 18) as they were read; the network standardises each channel by the training clips."""
    return torch.from_numpy(np.concatenate([left, right], axis=1)).float()


def _gloves(shape: tuple[int, ...]) -> nn.Module:
    return GloveNet(shape, standardise=True)


@dataclass(frozen=True)
class HandsDataset(Dataset):
    """A data set that knows how many hands each activity takes, which `plait hands detect` counts against."""

    hands: Mapping[str, int] = field(default_factory=dict)


def _dataset(video: Modality, opened: Callable[[Path], Iterator[Recording]]) -> HandsDataset:
    return HandsDataset(
        name="glovid",
        activities=tuple(EXPECTED_HANDS),
        modalities=(
            video,
            Modality("gloves", ("left", "right"), READINGS, READING_HZ, gloves, _gloves),
        ),
        recordings=opened,
        cite="Byvshev, Mettes, Xiao: Heterogeneous Non-Local Fusion for Multimodal Activity Recognition, ICMR 2020.",
        hands=EXPECTED_HANDS,
        windows=WINDOWS,
    )


GLOVID = _dataset(Modality("video", ("video",), FRAMES, FRAME_HZ, rgb, VideoNet), recordings)
GLOVID_FEATURES = _dataset(
    Modality("video", ("video",), GRID[0], GRID_HZ, kept, _as_it_is), feature_recordings
)
