"""Score fusion: what several networks say of a clip made one, behind the classifiers.

Each way is a module from the networks' probabilities, and which of them say anything of a clip, to
probabilities; `combined` applies one to predictions tables.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from plait.errors import DataError

LEAST = 1e-12  # of a probability whose logarithm is taken
LEAST_READ = 1e-6  # of a probability that a layer reads
LEAST_NAT = 1e-3  # of an entropy: what is surer, p > 0.9999, would hang on last digits
ROW = ["study", "fold", "seed", "clip", "subject", "activity"]


class Average(nn.Module):
    """The mean of those who say something (section 5.1)."""

    def forward(
        self, scores: Float[Tensor, "m b classes"], says: Bool[Tensor, "m b"]
    ) -> Float[Tensor, "b classes"]:
        """Probabilities from those of `m` networks."""
        return _mean(scores, says.to(scores.dtype))


class Mixture(nn.Module):
    """The mean, each network weighted by how sure it is of the clip.

    Weights are one over the entropy of a network's probabilities (H. Misra, H. Bourlard and V. Tyagi, New
    entropy based combination rules in HMM/ANN multi-stream ASR, ICASSP 2003), or its highest probability.
    Where all are equally sure, this is the average.

    Args:
        confidence: `entropy`, which counts as 0.001 nat at least, or `highest`.
        temperatures: of each network: `softmax(log p / temperature)` stands for p (C. Guo et al., ICML 2017).
    """

    def __init__(self, confidence: Literal["entropy", "highest"], temperatures: Sequence[float]) -> None:
        super().__init__()
        self.confidence = confidence
        self.temperatures: Tensor
        self.register_buffer("temperatures", torch.tensor(temperatures, dtype=torch.float64))

    def forward(
        self, scores: Float[Tensor, "m b classes"], says: Bool[Tensor, "m b"]
    ) -> Float[Tensor, "b classes"]:
        """Probabilities from those of `m` networks, in the order of the temperatures."""
        temperatures = self.temperatures.to(scores.dtype)[:, None, None]
        tempered = (_logs(scores) / temperatures).softmax(-1)
        scores = torch.where(temperatures == 1, scores, tempered)
        if self.confidence == "highest":
            sure = scores.amax(-1)
        else:
            sure = 1 / (-(scores * _logs(scores)).sum(-1)).clamp(min=LEAST_NAT)
        return _mean(scores, says.to(scores.dtype) * sure)


class First(nn.Module):
    """The first that says something, so the rest are there for clips that lack one of its sensors."""

    def forward(
        self, scores: Float[Tensor, "m b classes"], says: Bool[Tensor, "m b"]
    ) -> Float[Tensor, "b classes"]:
        """Probabilities from those of `m` networks, in their order."""
        return _mean(scores, (says & (says.cumsum(0) == 1)).to(scores.dtype))


class Stack(nn.Module):
    """A logistic layer over the networks' scores (D. Wolpert, Stacked generalization, Neural Networks 1992).

    It reads the logarithms of their probabilities, less their mean over the classes, so that a network that
    says nothing of a clip adds nothing.

    Args:
        methods: how many networks.
        classes: how many activities.
    """

    def __init__(self, methods: int, classes: int) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", torch.zeros(classes, methods, classes, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(classes, dtype=torch.float64))

    @staticmethod
    def features(
        scores: Float[Tensor, "m b classes"], says: Bool[Tensor, "m b"]
    ) -> Float[Tensor, "b m classes"]:
        """What the layer reads of each clip."""
        logs = scores.clamp(min=LEAST_READ).log()
        centred = (logs - logs.mean(-1, keepdim=True)) * says[:, :, None].to(scores.dtype)
        return centred.transpose(0, 1)

    def forward(
        self, scores: Float[Tensor, "m b classes"], says: Bool[Tensor, "m b"]
    ) -> Float[Tensor, "b classes"]:
        """Probabilities from those of `m` networks."""
        weight, bias = self.weight.to(scores.dtype), self.bias.to(scores.dtype)
        read = self.features(scores, says).flatten(1)
        return torch.softmax(read @ weight.flatten(1).T + bias, -1)


Fused = Average | First | Mixture | Stack


def _logs(scores: Tensor) -> Tensor:
    return scores.clamp(min=LEAST).log()


def _mean(scores: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean over networks; of all of them where none has weight."""
    weights = torch.where(weights.sum(0) > 0, weights, torch.ones_like(weights))[:, :, None]
    return (scores * weights).sum(0) / weights.sum(0)


def read_scores(tables: Sequence[pl.DataFrame], unseen: str = "") -> tuple[Tensor, Tensor]:
    """Probabilities `(tables, clips, activities)`, float64, and which tables say something of which clip.

    Args:
        tables: predictions of the same clips in the same order.
        unseen: what is predicted of a clip of which nothing is said.
    """
    scores = torch.from_numpy(np.array([table["scores"].to_list() for table in tables], dtype=np.float64))
    says = torch.tensor([(table["predicted"] != unseen).to_list() for table in tables], dtype=torch.bool)
    return scores, says


def combined(
    tables: Mapping[str, pl.DataFrame], name: str, activities: Sequence[str], how: Fused | None = None
) -> pl.DataFrame:
    """One predictions table of several, clip by clip.

    Tables that predict nothing of a clip, `""`, have no part in its scores; where all do, so does the result.

    Args:
        tables: what is combined, by what errors call it; one or more.
        name: what the result calls its method.
        activities: in the order of the scores; ties go to the first.
        how: by default the average.

    Raises:
        DataError: the tables are not of the same clips in the same folds and seeds.
    """
    parts = {called: table.sort(ROW) for called, table in tables.items()}
    first = next(iter(parts))
    for called, part in parts.items():
        if part.is_empty() or not part.select(ROW).equals(parts[first].select(ROW)):
            raise DataError(f"{name!r}: {called!r} has not scored the same clips as {first!r}")
    scores, says = read_scores(list(parts.values()))
    fused = (how or Average())(scores, says).float()
    best = zip(fused.numpy().argmax(axis=1).tolist(), says.any(dim=0).tolist(), strict=True)
    return parts[first].with_columns(
        method=pl.lit(name),
        predicted=pl.Series([activities[place] if said else "" for place, said in best], dtype=pl.String),
        scores=pl.Series(fused.tolist(), dtype=pl.List(pl.Float32)),
    )


def average_scores(
    predictions: pl.DataFrame, methods: Sequence[str], name: str, activities: Sequence[str]
) -> pl.DataFrame:
    """Average score fusion (section 5.1): `combined` of some methods of one predictions table.

    Args:
        predictions: a predictions table.
        methods: whose scores are averaged; two or more.
        name: what the result calls its method.
        activities: in the order of the scores; ties go to the first.

    Raises:
        DataError: the methods did not score the same clips in the same folds and seeds.
    """
    tables = {method: predictions.filter(pl.col("method") == method) for method in methods}
    return combined(tables, name, activities)
