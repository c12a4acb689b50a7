"""From the scores of a recogniser's networks to one: averaged, mixed, stacked, and over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from plait.config import Method, Study
from plait.fusion import Average, First, Mixture, Stack
from plait.recogniser.model import Fusing
from plait.study.finished import FinishedRun
from plait.study.made import mixing
from plait.study.stacks import read_layer


class Part(NamedTuple):
    """One of a recogniser's networks: what the model calls it, the study's method, and the seed."""

    network: str
    method: str
    seed: int


class Row(NamedTuple):
    """A row of a study as a recogniser has it: what is made for each seed, and the networks of each.

    Args:
        name: of the row that is made for each seed: of an ensemble, the row that it is of.
        method: that row.
        groups: the networks, for each seed.
    """

    name: str
    method: Method
    groups: tuple[tuple[Part, ...], ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All networks."""
        return tuple(part for group in self.groups for part in group)


def row_of(study: Study, method: str, seed: int | None = None) -> Row:
    """What a row of a study is made of, for one seed; an ensemble, for all.

    Args:
        study: whose row.
        method: its name.
        seed: which one; by default the first.
    """
    over = study.methods[method].ensemble
    name, row = over or method, study.methods[over or method]
    seeds = study.seeds if over else (study.seeds[0] if seed is None else seed,)
    groups = tuple(
        tuple(Part(f"{of}, seed {one}" if over else of, of, one) for of in row.made_of or (name,))
        for one in seeds
    )
    return Row(name, row, groups)


class Fused(nn.Module):
    """How the scores of several networks become one: each group's by itself; of several groups the mean.

    Args:
        groups: places of the networks of each group.
        hows: how a group's scores become one, for each.
    """

    def __init__(self, groups: Sequence[Sequence[int]], hows: Sequence[nn.Module]) -> None:
        super().__init__()
        self.groups = [list(group) for group in groups]
        self.hows = nn.ModuleList(hows)

    def forward(
        self, scores: Float[Tensor, "m b classes"], says: Bool[Tensor, "m b"]
    ) -> Float[Tensor, "b classes"]:
        """Probabilities from those of `m` networks, and which of them say something, in float64."""
        scores = scores.double()
        fused = [how(scores[group], says[group]) for group, how in zip(self.groups, self.hows, strict=True)]
        if len(fused) == 1:
            return torch.Tensor.float(fused[0])
        some = torch.stack([says[group].any(0) for group in self.groups])
        return torch.Tensor.float(Average()(torch.stack(fused), some))


def fused(networks: Sequence[str], fusing: Fusing, layers: Sequence[Stack] = ()) -> Fused:
    """How a model's networks are fused.

    Args:
        networks: in the order of their scores.
        fusing: as the model says.
        layers: of a stack, for each group.
    """
    groups = fusing.groups or (tuple(networks),)
    hows: Sequence[nn.Module] = [Average() for _ in groups]
    if fusing.making == "mixture":
        hows = [Mixture(fusing.confidence, temperatures) for temperatures in fusing.temperatures]
    elif fusing.making == "first":
        hows = [First() for _ in groups]
    elif fusing.making == "stack":
        hows = layers
    return Fused([[networks.index(name) for name in group] for group in groups], hows)


def fusing_of(row: Row, validation: pl.DataFrame | None, activities: Sequence[str]) -> Fusing:
    """What a model says of how its networks are fused.

    Args:
        row: of a study.
        validation: what the study's methods said of people who validated, by which a mixture is calibrated.
        activities: in the order of the scores.
    """
    making = row.method.making
    groups = tuple(tuple(part.network for part in group) for group in row.groups)
    if making == "stack" or making == "first":
        return Fusing(making, groups)
    if making != "mixture":
        return Fusing("average", groups)
    temperatures = []
    for group in row.groups:
        tables = [] if validation is None else [_of(validation, part) for part in group]
        given = tables if all(len(table) for table in tables) else []
        temperatures.append(tuple(mixing(row.method, given, activities).temperatures.tolist()))
    return Fusing("mixture", groups, row.method.args["confidence"], tuple(temperatures))


def _of(table: pl.DataFrame, part: Part) -> pl.DataFrame:
    return table.filter(pl.col("method") == part.method, pl.col("seed") == part.seed)


class InFold(NamedTuple):
    """How networks are fused that a run has trained in one fold; and its stack's layers, with their jobs."""

    fusing: Fusing
    layers: tuple[Stack, ...]
    jobs: tuple[str, ...]


def in_fold(run: FinishedRun, row: Row, fold: str) -> InFold:
    """How a run has fused the networks of a fold.

    Args:
        run: a finished one.
        row: of its study.
        fold: its name.

    Raises:
        DataError: a layer's weights cannot be read.
    """
    activities, validation = run.results.facts.activities, run.results.validation
    judged = None if validation is None else validation.filter(pl.col("fold") == fold)
    fusing = fusing_of(row, judged, activities)
    if fusing.making != "stack":
        return InFold(fusing, (), ())
    paths = [run.weights(row.name, f"{fold}/{group[0].seed}") for group in row.groups]
    layers = [read_layer(path, len(row.method.stack), len(activities)) for path in paths]
    return InFold(fusing, tuple(layers), tuple(path.parent.name for path in paths))


def layers_of(method: str, fusing: Fusing) -> dict[str, int]:
    """What a model calls the layers of a stack among its weights, and over how many networks each is."""
    if fusing.making != "stack":
        return {}
    return {f"{method}/{number}": len(group) for number, group in enumerate(fusing.groups)}
