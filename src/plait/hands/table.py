"""The table of counted hands: its file, its columns."""

from typing import Any

import polars as pl

TABLE = "hands.parquet"
SCHEMA: dict[str, Any] = {
    "clip": pl.String,
    "subject": pl.String,
    "activity": pl.String,
    "start_s": pl.Float64,
    "stop_s": pl.Float64,
    "frames": pl.Int64,
    "count": pl.Int64,
    "expected": pl.Int64,
    "missing": pl.Int64,
    "visible": pl.Int64,
}
