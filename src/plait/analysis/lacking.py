"""Accuracy where sensors are missing: by what clips lack, for each method on the same clips."""

import polars as pl

from plait.results import UNSEEN

NOTHING = "nothing"
SCHEMA: dict[str, type[pl.DataType]] = {
    "method": pl.String,
    "lacks": pl.String,
    "clips": pl.Int64,
    "subjects": pl.Int64,
    "unseen": pl.Int64,
    "accuracy": pl.Float64,
}


def by_lack(predictions: pl.DataFrame, lacking: pl.DataFrame | None) -> pl.DataFrame:
    """One row for each method and set of modalities that clips lack, as `SCHEMA`; clips that lack none first.

    * `lacks`: the modalities, or `nothing`.
    * `clips`, `subjects`: how many there are.
    * `unseen`: how many of these clips the method says nothing of, for it cannot do without what they lack.
    * `accuracy`: share of right clips among all of these, seeds averaged; an unseen one is not right.

    Args:
        predictions: a predictions table.
        lacking: `clip, modality`, a row for each that a clip lacks; None: none lacks any, so there is no row.
    """
    if lacking is None:
        return pl.DataFrame(schema=SCHEMA)
    lacks = lacking.group_by("clip", maintain_order=True).agg(lacks=pl.col("modality").str.join(" + "))
    unseen = pl.col("predicted") == UNSEEN
    right = (pl.col("activity") == pl.col("predicted")).mean()
    ranks = [pl.col("place"), pl.col("lacks") != NOTHING, pl.col("lacks")]
    return (
        predictions.join(lacks, on="clip", how="left", maintain_order="left")
        .with_columns(pl.col("lacks").fill_null(NOTHING), place=pl.col("method").rank("dense"))
        .group_by("method", "place", "lacks", maintain_order=True)
        .agg(
            clips=pl.col("clip").n_unique().cast(pl.Int64),
            subjects=pl.col("subject").n_unique().cast(pl.Int64),
            unseen=pl.col("clip").filter(unseen).n_unique().cast(pl.Int64),
            accuracy=right,
        )
        .sort(ranks, maintain_order=True)
        .select(list(SCHEMA))
    )
