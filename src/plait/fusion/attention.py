"""What attends to what in a trained fusion, and whether it matters: maps, query dependence, deletion.

Of several heads, the mean is shown; of several blocks in a row, the last, which is the nearest to the scores.
"""

import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ConfigError
from plait.fusion.enforced import Enforced
from plait.fusion.led import Led
from plait.fusion.nonlocal_ import NonLocal
from plait.fusion.symmetric import Symmetric

Removed = Literal["attended", "random"]


@dataclass(frozen=True)
class Attention:
    """One lead and one context of a batch of clips.

    Args:
        lead: the modality that leads.
        context: the modality it attends to.
        lead_shape: axes of the lead's grid, without channels; `i` runs over its flat positions.
        context_shape: the same of the context as it is compared (smaller under `pool`), for `j`.
        logits: `(b, i, j)`.
        relation: their softmax over `j`.
        heads: how many heads both are the means of, as `NonLocal.logits` and `relation` say.
        blocks: how many blocks there are in a row; this is the last.
    """

    lead: str
    context: str
    lead_shape: tuple[int, ...]
    context_shape: tuple[int, ...]
    logits: Tensor
    relation: Tensor
    heads: int = 1
    blocks: int = 1

    @property
    def shown(self) -> str:
        """What it is of what could be shown, in words; empty where that is all."""
        words = [f"the mean of {self.heads} heads"] if self.heads > 1 else []
        words += [f"the last of {self.blocks} blocks"] if self.blocks > 1 else []
        return ", ".join(words)

    def over_time(self) -> Float[Tensor, "b t s"]:
        """Fig. 9: f of eq. 2, the logits' exponential, not normalised, summed over all axes but the first.

        Each clip's largest logit is subtracted first, so a map is known up to one factor a clip.
        """
        f = (self.logits - self.logits.amax((1, 2), keepdim=True)).exp()
        return _sum_over_places(f, self.lead_shape, self.context_shape)

    def relation_over_time(self) -> Float[Tensor, "b t s"]:
        """The relation, averaged over the lead's places and summed over the context's: rows sum to one."""
        places = math.prod(self.lead_shape[1:])
        return _sum_over_places(self.relation, self.lead_shape, self.context_shape) / places

    def query_dependence(self) -> Float[Tensor, " b"]:
        """How much the rows of the relation differ: mean total-variation distance of a row to the mean row.

        0 where all positions of the lead attend alike, whatever they hold; 1 at most.
        """
        return (self.relation - self.relation.mean(1, keepdim=True)).abs().sum(2).mean(1) / 2


def attentions(method: nn.Module, grids: Mapping[str, Tensor]) -> list[Attention]:
    """Every lead and context of a `Led` or `Symmetric`, on grids `(b, *shape)` by modality.

    A context that is absent, and that the method does without, has no map.

    Raises:
        ConfigError: the method is neither.
        ShapeError: a grid is not of its shape.
    """
    entered, leads = _enter(method, grids)
    return [one for enforced in leads for one in _maps(enforced, entered)]


def without(
    method: nn.Module,
    grids: Mapping[str, Tensor],
    share: float,
    removed: Removed = "attended",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "b classes"]:
    """The deletion test: class scores when a share of each context's positions is taken out of the relation.

    The other weights of a row are brought back to a sum of one. Positions are taken out of every head and
    block alike.

    Args:
        method: a `Led` or `Symmetric`.
        grids: `(b, *shape)` by modality.
        share: of the positions, 0 to 1; at least one position stays.
        removed: those `attended` to most by the map that `attentions` gives, on average over the lead's
            positions, or `random` ones.
        generator: what random ones are drawn from; torch's own by default.

    Raises:
        ConfigError: the method is neither `Led` nor `Symmetric`, or `share` is not in [0, 1].
        ShapeError: a grid is not of its shape.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share is {share}, expected a share between 0 and 1")
    entered, leads = _enter(method, grids)
    enforced_grids = []
    for enforced in leads:
        deleted = {}
        for one in _maps(enforced, entered):
            count = min(round(share * one.relation.shape[2]), one.relation.shape[2] - 1)
            if removed == "attended":
                rank = one.relation.mean(1)
            else:
                rank = torch.rand(*one.relation.shape[::2], generator=generator).to(one.relation.device)
            deleted[one.context] = torch.zeros_like(rank, dtype=torch.bool)
            deleted[one.context].scatter_(1, rank.topk(count, dim=1).indices, True)
        x = entered[enforced.lead]
        for stage in enforced.stages:
            total = x
            for name, block in _blocks(stage, entered):
                logits = block.logits_of_heads(x, entered[name])
                relation = logits.masked_fill(deleted[name][:, None, None], -torch.inf).softmax(-1)
                total = total + block.enforcing(relation, entered[name]).reshape(x.shape)
            x = total if stage.mlp is None else stage.mlp(total)
        enforced_grids.append(x)
    scores: Tensor = method.score(entered, enforced_grids)  # type: ignore[operator]
    return scores


def _enter(method: nn.Module, grids: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Enforced]]:
    """Grids as they enter, and every lead with its blocks."""
    if isinstance(method, Led):
        return method.enter(grids), [method.enforced]
    if isinstance(method, Symmetric):
        return method.enter(grids), [lead for lead in method.leads if isinstance(lead, Enforced)]
    raise ConfigError(f"{type(method).__name__} has no attention, expected Led or Symmetric")


def _maps(enforced: Enforced, entered: Mapping[str, Tensor]) -> Iterator[Attention]:
    """The maps of a lead's last block."""
    stages, x = enforced.stages, entered[enforced.lead]
    for stage in stages[:-1]:
        x = stage.once(x, entered)
    for name, block in _blocks(stages[-1], entered):
        y = entered[name]
        logits, shape = block.logits(x, y), tuple(-(-size // block.pool) for size in y.shape[1:-1])
        relation = logits.softmax(-1) if block.heads == 1 else block.relation(x, y)
        places = tuple(x.shape[1:-1])
        yield Attention(enforced.lead, name, places, shape, logits, relation, block.heads, len(stages))


def _blocks(enforced: Enforced, entered: Container[str]) -> Iterator[tuple[str, NonLocal]]:
    """The blocks of a lead whose contexts are there."""
    for name, block in enforced.blocks.items():
        assert isinstance(block, NonLocal)
        if name in entered:
            yield name, block


def _sum_over_places(pairs: Tensor, lead: tuple[int, ...], context: tuple[int, ...]) -> Tensor:
    """`(b, i, j)` summed over every axis of both grids but the first; a plain vector counts as one step."""
    t, s = (shape[0] if shape else 1 for shape in (lead, context))
    return pairs.reshape(len(pairs), t, pairs.shape[1] // t, s, pairs.shape[2] // s).sum((2, 4))
