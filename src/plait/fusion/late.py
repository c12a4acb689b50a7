"""Late fusion: features concatenated in front of the classifier, or scores averaged behind it."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import DataError
from plait.fusion.grids import Entry, Head, Reads, Shape


class Concat(nn.Module):
    """All grids concatenated in front of one linear layer.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        classes: number of activities.
        head: `flatten` is the paper's late feature concatenation (section 5.1); `mean` concatenates the
            grids' averages, a strong baseline on small data that is not in the paper; or `hidden`.
        normalise: a LayerNorm over channels on each grid as it enters.

    Raises:
        ShapeError: an unknown head, or a grid that is not of its shape.
    """

    def __init__(
        self, shapes: dict[str, Shape], classes: int, head: str = "flatten", normalise: bool = False
    ) -> None:
        super().__init__()
        # One product with a row for each clip gains nothing from halves of its weight.
        reads = Reads(mean=set(shapes) if head == "mean" else set(), float32=head != "hidden")
        self.entry = Entry(shapes, normalise, reads)
        self.reads = self.entry.reads
        self.head = Head(list(shapes.values()), classes, head)

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality."""
        logits: Tensor = self.head(list(self.entry(grids).values()))
        return logits


def average_scores(
    predictions: pl.DataFrame, methods: Sequence[str], name: str, activities: Sequence[str]
) -> pl.DataFrame:
    """Average score fusion (section 5.1): predictions whose scores are the mean of `methods`', clip by clip.

    Methods that predict nothing of a clip, `""`, are left out of its mean; where all do, so does the average.

    Args:
        predictions: a predictions table.
        methods: whose scores are averaged; two or more.
        name: what the result calls its method.
        activities: in the order of the scores; ties go to the first.

    Raises:
        DataError: the methods did not score the same clips in the same folds and seeds.
    """
    key = ["study", "fold", "seed", "clip", "subject", "activity"]
    parts = [predictions.filter(pl.col("method") == method).sort(key) for method in methods]
    for method, part in zip(methods, parts, strict=True):
        if part.is_empty() or not part.select(key).equals(parts[0].select(key)):
            raise DataError(f"average {name!r}: {method!r} has not scored the same clips as {methods[0]!r}")
    scores = np.array([part["scores"].to_list() for part in parts])
    says = np.array([(part["predicted"] != "").to_list() for part in parts])
    averaged = scores.mean(axis=0).astype(np.float32)
    for clip in np.flatnonzero(~says.all(axis=0) & says.any(axis=0)):
        averaged[clip] = scores[says[:, clip], clip].mean(axis=0)
    best = zip(averaged.argmax(axis=1).tolist(), np.any(says, axis=0).tolist(), strict=True)
    return parts[0].with_columns(
        method=pl.lit(name),
        predicted=pl.Series([activities[place] if said else "" for place, said in best], dtype=pl.String),
        scores=pl.Series(averaged.tolist(), dtype=pl.List(pl.Float32)),
    )
