"""Who is hard, and why, as pure functions of the predictions: accuracy and mistakes beside all others'."""

import polars as pl

from plait.analysis.metrics import by_subject, subject_confusion
from plait.results import UNSEEN

SHOWN = 3


def beside_others(predictions: pl.DataFrame) -> pl.DataFrame:
    """Each method on each subject and on all others: `method, subject, accuracy, clips, seed_sd, others`.

    `seed_sd` is the sample SD of a subject's accuracy over seeds, null for a single seed; `others` the mean
    of the other subjects' accuracies, seeds averaged, null for a single subject.
    """
    total, n = pl.col("accuracy").sum().over("method"), pl.len().over("method")
    others = pl.when(n > 1).then((total - pl.col("accuracy")) / (n - 1))
    right = (pl.col("activity") == pl.col("predicted")).mean()
    of_seeds = predictions.group_by("method", "subject", "seed", maintain_order=True).agg(right=right)
    spread = of_seeds.group_by("method", "subject", maintain_order=True).agg(seed_sd=pl.col("right").std())
    table = by_subject(predictions).join(spread, on=["method", "subject"], maintain_order="left")
    return table.with_columns(others=others)


def mistakes(predictions: pl.DataFrame, most: int = SHOWN) -> pl.DataFrame:
    """Pairs of activities that are mistaken for each other more often with one person than with all others.

    `method, subject, activity, predicted, clips, share, others`: `share` of the person's clips of `activity`
    that were taken for `predicted`, seeds together, `others` the same share of all other people's clips. At
    most `most` pairs a person, those first that cost most clips beyond what the others' share would have
    cost. An activity that nobody else performed is not compared.
    """
    clips = pl.col("clips")
    of = clips.sum().over("method", "subject", "activity")
    of_others = clips.sum().over("method", "activity") - of
    elsewhere = clips.sum().over("method", "activity", "predicted") - clips
    return (
        subject_confusion(predictions)
        .with_columns(of=of, of_others=of_others, elsewhere=elsewhere)
        .filter(pl.col("predicted") != UNSEEN)
        .filter((pl.col("activity") != pl.col("predicted")) & (pl.col("of_others") > 0))
        .with_columns(share=pl.col("clips") / pl.col("of"), others=pl.col("elsewhere") / pl.col("of_others"))
        .with_columns(extra=(pl.col("share") - pl.col("others")) * pl.col("of"))
        .filter(pl.col("extra") > 0)
        .sort("extra", descending=True, maintain_order=True)
        .group_by("method", "subject", maintain_order=True)
        .head(most)
        .select("method", "subject", "activity", "predicted", "clips", "share", "others")
    )


def hardest(accuracies: pl.DataFrame, method: str) -> list[str]:
    """The people on whom `method` is least accurate, the hardest first: up to three, at most half of all.

    `accuracies` is `beside_others`; who is no harder than everybody else is not among them.
    """
    harder = accuracies.filter((pl.col("method") == method) & (pl.col("accuracy") < pl.col("others")))
    n = accuracies["subject"].n_unique()
    return harder.sort("accuracy", maintain_order=True)["subject"].head(min(SHOWN, n // 2)).to_list()
