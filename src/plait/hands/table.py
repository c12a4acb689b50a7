"""The table of counted hands: its file, its columns."""

from typing import Any

import polars as pl

TABLE = "hands.parquet"
SCHEMA: dict[str, Any] = {
    "clip": pl.String,
    "subject": pl.String,
    "activity": pl.String,
    "frames": pl.Int64,
    "count": pl.Int64,
    "expected": pl.Int64,
    "missing": pl.Int64,
    "visible": pl.Int64,
}
