"""What a recogniser saw of recordings, window by window: `timeline.parquet`."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from plait.errors import DataError
from plait.results import Schema, write_table
from plait.store import read_parquet

TIMELINE = "timeline.parquet"
WINDOWS: Schema = {
    "recording": pl.String,
    "start_s": pl.Float64,
    "stop_s": pl.Float64,
    "predicted": pl.String,
    "scores": pl.List(pl.Float32),
    "seen": pl.List(pl.String),
}


def write_timeline(table: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Write `timeline.parquet`, a row for each window, in the order of recordings and time.

    Args:
        table: with the columns `WINDOWS`: the window on its recording's clock, the activity with the highest
            score, the scores in the order of the model's activities, and the modalities that were there.
        folder: where.

    Raises:
        DataError: the folder cannot be written.
    """
    return write_table(table.select(list(WINDOWS)), folder / TIMELINE)


def read_timeline(folder: Path, activities: Sequence[str]) -> pl.DataFrame:
    """What `timeline.parquet` holds.

    Raises:
        DataError: it is missing, damaged, or of other activities.
    """
    path, remedy = folder / TIMELINE, "run `plait predict` again"
    table = read_parquet(path, remedy, WINDOWS)
    if table.schema != WINDOWS:
        raise DataError(
            f"{path}: columns {', '.join(table.columns)}, expected {', '.join(WINDOWS)}; {remedy}"
        )
    lasts = table["stop_s"] - table["start_s"]
    if not (lasts.is_finite() & (lasts > 0)).fill_null(False).all():
        raise DataError(f"{path}: a window that does not last, expected a later stop_s; {remedy}")
    if not table.is_empty():
        wide = table["scores"].list.len()
        if wide.null_count() or wide.min() != len(activities) or wide.max() != len(activities):
            raise DataError(f"{path}: scores of other activities, expected {len(activities)}; {remedy}")
    return table
