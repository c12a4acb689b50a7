"""GloVid: a chest camera and two smart gloves, eight activities of maintenance work.

By Byvshev, Mettes and Xiao (ICMR 2020), who never published the recordings. Whoever holds them, or clips
already cut, runs the paper's study from one of

* a folder of recordings (`plait ingest --template gopro-gloves`, then `plait sync`), cut here into 200 clips
  a subject;
* a clip table that `plait clips` made of such a folder;
* preprocessed clips: `video.npy` (n, 79, 224, 224, 3) uint8 RGB, `gloves.npy` (n, 134, 18), the left hand's
  nine readings first, and `clips.csv` with the columns `clip, subject, activity` in the same order;
* features, as the authors promised them: the same with `video.npy` (n, 10, 7, 7, 832), float16 or float32,
  I3D's `Mixed_5b` of each clip. This form is a data set of its own, `GLOVID_FEATURES`, whose study,
  `studies/glovid-features.toml`, needs no video network.

`clips.csv` may have a column `hands`: how many hands most frames of a clip show, 0 to 2 (Fig. 8). `form` says
which of these a folder is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from plait.clips import Windows, open_clips, open_windows
from plait.contents import describe
from plait.datasets.published import Benchmark, Metric, Published
from plait.encoders.glove import GloveNet
from plait.encoders.video import VideoNet
from plait.errors import DataError, one_line
from plait.recordings.unended import check_end
from plait.recordings.video import rgb
from plait.store import content_key, read_bytes, regular
from plait.types import Modality, Readings, Recording, Span, Stream

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
# Accuracy and SD over 19 subjects as the paper prints them, by the row of its tables.
PUBLISHED = {
    "video, ResNet-50": (0.464, 0.085),
    "gloves": (0.681, 0.105),
    "video": (0.763, 0.079),
    "gloves-led": (0.801, 0.082),
    "video-led": (0.808, 0.077),
    "symmetric": (0.802, 0.080),
    "average of scores": (0.789, 0.082),
    "late concatenation": (0.793, 0.079),
}
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
    return _form_of(_open_array(data / "video.npy"), data / "video.npy", None)


def recordings(data: Path) -> Iterator[Recording]:
    """GloVid from a clip table, from preprocessed clips, or from recordings.

    Raises:
        DataError: a file is missing, damaged, or not of the shape above.
    """
    kind = form(data)
    if kind == "clip table":
        yield from open_clips(data)
    elif kind == "recordings":
        yield from open_windows(data, WINDOWS, tuple(EXPECTED_HANDS), STREAMS)
    elif kind == "features":
        raise DataError(
            f"{data / 'video.npy'}: holds features, expected pictures; `plait reproduce glovid` or "
            "`plait run studies/glovid-features.toml` takes them as they are"
        )
    else:
        yield from _open_clips(data, FRAMES, FRAME_HZ)


def feature_recordings(data: Path) -> Iterator[Recording]:
    """GloVid from features.

    Raises:
        DataError: a file is missing, damaged, or not of the shape above.
    """
    if (kind := form(data)) != "features":
        features = f"a video.npy of float16 or float32 (n, {_join(GRID)})"
        raise DataError(
            f"{data}: holds {kind}, expected features, {features}; `plait reproduce glovid` or `plait run "
            "studies/glovid.toml` takes what is there"
        )
    yield from _open_clips(data, GRID[0], GRID_HZ)


@dataclass(frozen=True, eq=False)
class Row:
    """A `Stream` of one clip's pictures or grids, read from the mapped array when asked for."""

    file: Path  # the array of all clips, `.npy`
    row: int  # the clip's row in it
    steps: int  # how many pictures or grids the clip has
    rate_hz: float  # how many of them in a second

    @property
    def times(self) -> np.ndarray:
        """Seconds of each step."""
        return np.arange(self.steps) / self.rate_hz

    @cached_property
    def content_key(self) -> str:
        """Equal for equal steps: of the clip alone, so that others may come and go."""
        return content_key([describe(_open_array(self.file)[self.row]), self.steps, self.rate_hz])

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """What lies at each of `seconds`, `(n, *step)`, as it is kept.

        Raises:
            DataError: values that are not finite.
        """
        numbers = np.floor(np.asarray(seconds) * self.rate_hz + 1e-3).astype(int)
        steps: np.ndarray = _open_array(self.file)[self.row][np.clip(numbers, 0, self.steps - 1)]
        if steps.dtype.kind == "f" and not np.isfinite(steps).all():
            raise DataError(f"{self.file}: row {self.row}: values that are not finite, expected numbers only")
        return steps


def hands_seen(data: Path) -> dict[str, int] | None:
    """How many hands each clip shows, by its name; None where `clips.csv` has no column `hands`.

    Raises:
        DataError: the file cannot be read, or says something else than 0, 1 or 2.
    """
    path = data / "clips.csv"
    if not path.is_file() or (data / "clips.parquet").is_file():
        return None
    table = _read_listing(path)
    if "hands" not in table.columns:
        return None
    allowed = [str(count) for count in range(HANDS + 1)]
    counts = {}
    for clip, text in table.select("clip", "hands").iter_rows():
        if text is None or text.strip() not in allowed:
            raise DataError(f"{path}: clip {clip!r}: hands is {text!r}, expected {', '.join(allowed)}")
        counts[clip] = int(text)
    return counts


def _open_clips(data: Path, steps: int, rate_hz: float) -> Iterator[Recording]:
    """A recording for each row of the arrays; a row of the video has so many steps at such a rate."""
    table = _read_listing(data / "clips.csv")
    video, gloves_file = data / "video.npy", data / "gloves.npy"
    _form_of(_open_array(video), video, len(table))
    readings, shape = _open_array(gloves_file), (len(table), READINGS, 2 * CHANNELS)
    if readings.dtype.kind not in "fiu" or readings.shape != shape:
        raise _wrong_array(readings, gloves_file, len(table), f"numbers of shape {shape}")
    seconds = np.arange(READINGS) / READING_HZ
    for row, (clip, subject, activity) in enumerate(table.select(COLUMNS).iter_rows()):
        values = np.asarray(readings[row], dtype=np.float32)
        if not np.isfinite(values).all():
            where = f"{gloves_file}: row {row} (clip {clip!r})"
            raise DataError(f"{where}: values that are not finite, expected numbers only")
        streams: dict[str, Stream] = {
            "video": Row(video, row, steps, rate_hz),
            "left": Readings(seconds, values[:, :CHANNELS]),
            "right": Readings(seconds, values[:, CHANNELS:]),
        }
        yield Recording(clip, subject, streams, (Span(0.0, READINGS / READING_HZ, activity),))


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
    pictures = f"uint8 of shape ({n}, {_join(PICTURES)}), RGB pictures"
    grids = f"float16 or float32 of shape ({n}, {_join(GRID)}), I3D's Mixed_5b"
    raise _wrong_array(array, path, rows, f"{pictures}, or {grids}")


def _wrong_array(array: np.ndarray, path: Path, rows: int | None, expected: str) -> DataError:
    lines = "" if rows is None else f"; a row for each of the {rows} lines of clips.csv"
    return DataError(f"{path}: {array.dtype} of shape {array.shape}, expected {expected}{lines}")


def _join(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _open_array(path: Path) -> np.ndarray:
    """A mapped array of the user's own."""
    try:
        state = regular(path).stat()
    except OSError as error:
        raise DataError(f"{path}: no such file, expected it beside clips.csv") from error
    return _map(path, (state.st_ino, state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=4)
def _map(path: Path, state: tuple[int, int, int]) -> np.ndarray:
    """The array of a file that is in this `state`, whatever stood there before."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged headers raise anything: SyntaxError, tokenize's, zipfile's, ...
        raise DataError(f"{path}: not a readable .npy file of plain numbers: {one_line(error)}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: holds several arrays, expected a .npy file of one")
    return array


def _read_listing(path: Path) -> pl.DataFrame:
    try:
        content = read_bytes(path)
        check_end(path, content, ",", header=True)
        table = pl.read_csv(content, infer_schema=False)
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


def gloves(left: np.ndarray, right: np.ndarray) -> Tensor:
    """Both hands (134, 18) as they were read; the network standardises each channel by the training clips."""
    return torch.from_numpy(np.concatenate([left, right], axis=1)).float()


@dataclass(frozen=True)
class HandsDataset(Benchmark):
    """A data set that knows how many hands each activity takes, which `plait hands detect` counts against."""

    hands: Mapping[str, int] = field(default_factory=dict)


glove_net = partial(GloveNet, standardise=True)  # the paper's, each channel standardised as it enters
_GLOVES = Modality("gloves", ("left", "right"), READINGS, READING_HZ, gloves, glove_net)
GLOVID = HandsDataset(
    name="glovid",
    activities=tuple(EXPECTED_HANDS),
    modalities=(Modality("video", ("video",), FRAMES, FRAME_HZ, rgb, VideoNet), _GLOVES),
    recordings=recordings,
    cite="Byvshev, Mettes, Xiao: Heterogeneous Non-Local Fusion for Multimodal Activity Recognition, "
    "ICMR 2020.",
    hands=EXPECTED_HANDS,
    windows=WINDOWS,
    metrics=(Metric("accuracy", "plait.analysis.benchmark:accuracy"),),
    published=tuple(
        Published(role, {"accuracy": accuracy}, "the paper, SD over 19 people", {"accuracy": sd}, role)
        for role, (accuracy, sd) in PUBLISHED.items()
    ),
)
GLOVID_FEATURES = replace(
    GLOVID,
    modalities=(Modality("video", ("video",), GRID[0], GRID_HZ, kept, nn.Identity), _GLOVES),
    recordings=feature_recordings,
)
