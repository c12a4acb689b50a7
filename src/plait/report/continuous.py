"""A run's scores on whole recordings, for the page."""

from pathlib import Path

import polars as pl

from plait.errors import DataError
from plait.report.captions import percent
from plait.results import AGAIN, CONTINUOUS

HEADS = {
    ("frames", "labelled"): "accuracy_labelled",
    ("frames", "all"): "accuracy",
    ("macro F1", "labelled"): "macro_f1_labelled",
    ("macro F1", "all"): "macro_f1",
    ("mAP", ""): "mean_ap",
    ("edit", ""): "edit",
    ("F1@50", ""): "f1_at_50",
}


def rows(run: Path | None) -> list[tuple[str, list[str]]]:
    """Each method with how many recordings, and the columns of `HEADS`, in %, the mean over seeds.

    None where a run has none.

    Raises:
        DataError: `continuous.csv` cannot be read.
    """
    if run is None or not (run / CONTINUOUS).is_file():
        return []
    path, columns = run / CONTINUOUS, list(HEADS.values())
    try:
        table = pl.read_csv(path, schema_overrides={"method": pl.String})
        means = table.group_by("method", maintain_order=True).agg(
            pl.col("recordings").cast(pl.Int64).max(), pl.col(columns).cast(pl.Float64).mean()
        )
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DataError(f"{path}: not readable, expected what a run writes; {AGAIN}") from error
    return [
        (row["method"], [str(row["recordings"]), *(percent(row[name]) for name in columns)])
        for row in means.to_dicts()
    ]
