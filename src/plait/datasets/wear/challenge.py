"""The third WEAR challenge (see `plait.datasets.wear`): seconds of one placement, and what a camera saw."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plait.datasets.log import Log, kept
from plait.datasets.published import Metric, Published
from plait.datasets.wear.files import (
    ACTIVITIES,
    CITE,
    GAP_S,
    MIDDLE,
    NULL,
    PLACEMENTS,
    RATE_HZ,
    SECOND,
    SIGNAL,
    TILES,
    VIDEOMAE,
    VIDEOMAE_HZ,
    array_of,
    by_name,
    cut,
    of_csv,
    plain,
    read_array,
    readings_of,
    root_of,
    warn,
)
from plait.datasets.windowed import Windowed
from plait.encoders.grid import GridNet
from plait.errors import DataError
from plait.names import natural
from plait.types import Modality, Recording, Stream, Windows


def challenge_recordings(data: Path, windows: Windows | None = TILES) -> Iterator[Recording]:
    """The challenge's training people; each second shows one placement, drawn by the recording's name.

    Args:
        data: the folder of `train`, or one that holds it.
        windows: as in `recordings`.

    Raises:
        DataError: nothing of the challenge lies there, or a file is not what its name says.
    """
    root = root_of(data, "train")
    files = by_name(root / "train" / "inertial_feat", "csv")
    videos = by_name(root / "train" / "videomae_feat", "npy")
    if not files:
        raise DataError(f"{root}: nobody's readings, expected such as train/inertial_feat/sbj_0.csv")
    if absent := sorted(files.keys() - videos.keys(), key=natural):
        warn(f"{root}: no train/videomae_feat of {', '.join(absent)}: their video is missing")
    for name in sorted(files, key=natural):
        whole = of_csv(files[name], name, None)
        times, values = readings_of(files[name])
        streams: dict[str, Stream] = {}
        for stream, read in (("acceleration", read_drawn), ("placement", read_draw)):
            drawn = partial(read, name=name)
            found = kept(times, read_drawn(files[name], name))
            streams[stream] = Log(files[name], drawn, found.times, found.rows, GAP_S)
        if name in videos:
            rows = len(array_of(videos[name], VIDEOMAE))
            frames = np.arange(rows)
            if abs(rows / VIDEOMAE_HZ - len(values) / RATE_HZ) > 1:
                got = f"{rows} frames, {rows / VIDEOMAE_HZ:.1f} s at {VIDEOMAE_HZ:g} a second"
                raise DataError(
                    f"{videos[name]}: {got}, expected the readings' {len(values) / RATE_HZ:.1f} s"
                )
            read_frames = partial(read_array, columns=VIDEOMAE)
            streams["videomae"] = Log(videos[name], read_frames, frames / VIDEOMAE_HZ, frames, GAP_S)
        yield cut(replace(whole, streams=streams), windows)


def read_drawn(file: Path, name: str) -> Float[np.ndarray, "n 3"]:
    """In each second the readings of the placement that is drawn for it (`draw`).

    Raises:
        DataError: the file is no table of WEAR's.
    """
    values = readings_of(file)[1].reshape(-1, len(PLACEMENTS), 3)
    return np.ascontiguousarray(values[np.arange(len(values)), draw(name, len(values))])


def read_draw(file: Path, name: str) -> Float[np.ndarray, "n 4"]:
    """Which placement that is: 1 for it, 0 for the others, in the order of `PLACEMENTS`.

    Raises:
        DataError: the file is no table of WEAR's.
    """
    places = draw(name, len(readings_of(file)[1]))
    return np.asarray(np.eye(len(PLACEMENTS), dtype=np.float32)[places])


def draw(name: str, rows: int) -> np.ndarray:
    """The placement of each of a recording's rows, `(rows,)`: one a second, by the recording's name."""
    drawn = np.random.default_rng([int(number) for number in re.findall(r"\d+", name)])
    return np.repeat(drawn.integers(len(PLACEMENTS), size=-(-rows // SECOND)), SECOND)[:rows]


def told(
    acceleration: Float[np.ndarray, "samples 3"], placement: Float[np.ndarray, "samples 4"]
) -> Float[Tensor, "samples 7"]:
    """Acceleration, and which placement it is of."""
    return torch.from_numpy(np.concatenate([acceleration, placement], axis=1)).float()


def middle(frames: Float[np.ndarray, "30 768"]) -> Float[Tensor, "15 768"]:
    """Those of a second's frames that the challenge shows, in float16."""
    return torch.from_numpy(np.ascontiguousarray(frames[MIDDLE])).half()


CHALLENGE = Windowed(
    name="WEAR challenge",
    activities=(NULL, *ACTIVITIES),
    modalities=(
        Modality("acceleration", ("acceleration",), SECOND, RATE_HZ, plain, SIGNAL),
        Modality("placed-acceleration", ("acceleration", "placement"), SECOND, RATE_HZ, told, SIGNAL),
        Modality(
            "video", ("videomae",), 30, VIDEOMAE_HZ, middle, partial(GridNet, width=128, temporal=(128,))
        ),
    ),
    recordings=challenge_recordings,
    cite=CITE,
    windows=TILES,
    whole=partial(challenge_recordings, windows=None),
    metrics=(Metric("macro F1", "plait.analysis.benchmark:macro_f1"),),
    published=(
        Published(
            "LightGBM on features made by hand and VideoMAE's components, placement told",
            {"macro F1": 0.634},
            "a participant's, not the organisers' (Kaggle notebook evelynyang02/wear-hasca-2026-baseline-"
            "v1-repro): the same clips, other folds of people, placements drawn otherwise; on the public "
            "leaderboard 0.646",
        ),
    ),
)
