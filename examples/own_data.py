"""A data set of your own: a folder of SUBJECT_ACTIVITY_TRIAL.csv, a watch and a breathing belt at 50 Hz."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from plait.encoders.glove import SignalNet
from plait.recordings.sensors import SensorLog
from plait.types import Dataset, Modality, Recording, Span

RATE_HZ = 50.0
COLUMNS = {"watch": ["x", "y", "z"], "belt": ["breath"]}


def recordings(data: Path) -> Iterator[Recording]:
    """One recording and one activity per file."""
    for file in sorted(data.glob("*.csv")):
        subject, activity, _ = file.stem.split("_")
        table = pl.read_csv(file)
        times = np.arange(table.height) / RATE_HZ
        values = {name: table.select(of).to_numpy().astype(np.float32) for name, of in COLUMNS.items()}
        streams = {name: SensorLog(times, values[name], tuple(of)) for name, of in COLUMNS.items()}
        yield Recording(file.stem, subject, dict(streams), (Span(0.0, float(times[-1]), activity),))


def standardised(readings: np.ndarray) -> Tensor:
    """Every channel to mean 0 and deviation 1 over the clip."""
    return torch.from_numpy((readings - readings.mean(0)) / (readings.std(0) + 1e-6)).float()


WATCH = Modality("watch", ("watch",), 64, 25.0, standardised, SignalNet)
BELT = Modality("belt", ("belt",), 32, 12.5, standardised, partial(SignalNet, widths=(8, 8, 8), units=8))
ACTIVITIES = ("walk", "climb", "rest")
DATASET = Dataset("watch and belt", ACTIVITIES, (WATCH, BELT), recordings, "recorded by ourselves")
