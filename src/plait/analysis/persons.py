"""Who is hard, and why, as pure functions of the predictions: a person's accuracy and mistakes beside all others'."""

import polars as pl

from plait.analysis.metrics import by_subject, subject_confusion

SHOWN = 3


def beside_others(predictions: pl.DataFrame) -> pl.DataFrame:
    """Accuracy of each method on each subject and on everybody else: `method, subject, accuracy, clips, others`.

    `others` is the mean of the other subjects' accuracies, seeds averaged; null for a single subject.
    """
    total, n = pl.col("accuracy").sum().over("method"), pl.len().over("method")
    others = pl.when(n > 1).then((total - pl.col("accuracy")) / (n - 1))
    return by_subject(predictions).with_columns(others=others)


def mistakes(predictions: pl.DataFrame, most: int = SHOWN) -> pl.DataFrame:
    """What of a person's is taken for what, more often than of everybody else's; at most `most` pairs a person.

    `method, subject, activity, predicted, clips, share, others`: `share` of the person's clips of `activity` that were
    taken for `predicted`, seeds together, `others` the same share of all other people's clips. The pairs that cost the
    person most clips beyond what the others' share would have cost come first. Nobody else did it: no comparison.
    """
    pair, own, each = (
        ["method", "activity", "predicted"],
        ["method", "subject", "activity"],
        ["method", "activity"],
    )
    of, of_all = pl.col("clips").sum().over(own), pl.col("clips").sum().over(each)
    return (
        subject_confusion(predictions)
        .with_columns(
            of=of, elsewhere=pl.col("clips").sum().over(pair) - pl.col("clips"), of_others=of_all - of
        )
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
    own = accuracies.filter((pl.col("method") == method) & (pl.col("accuracy") < pl.col("others")))
    n = accuracies["subject"].n_unique()
    return own.sort("accuracy", maintain_order=True)["subject"].head(min(SHOWN, n // 2)).to_list()
