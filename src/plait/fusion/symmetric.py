"""Symmetric fusion: every modality leads once."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from plait.fusion.enforced import Enforced, check_clock
from plait.fusion.grids import Entry, Head, Reads, Shape, own
from plait.fusion.lifted import Lift, lifted_shapes


class Symmetric(nn.Module):
    """Each modality leads once, all others its context; the enforced grids are concatenated, fully connected.

    Section 3.2, Fig. 3 (3).

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        classes: number of activities.
        embedding: width K in which grids are compared; half of each lead's own channels by default.
        head: `mean`, `flatten` or `hidden`.
        normalise: a LayerNorm over channels on each grid as it enters.
        width: all grids are lifted to so many channels first (`Lift`), in which blocks and head then work.
        beside: the grids as they are go to the head, too, behind the enforced ones.
        **block: `depth`, `mlp`, `heads`, `clock` of `Enforced`; `pool`, `scale`, `zero_h`, `norm`, `uniform`
            of `NonLocal`.

    Raises:
        ShapeError: fewer than two modalities, an unknown head, an option that does not fit, or a grid that is
            not of its shape.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        embedding: int | None = None,
        head: str = "mean",
        normalise: bool = False,
        *,
        width: int | None = None,
        beside: bool = False,
        **block: Any,
    ) -> None:
        super().__init__()
        if block.get("clock"):
            check_clock(shapes, shapes)
        lifted = lifted_shapes(shapes, width)
        reads_means = head == "mean" and (beside or Enforced.is_linear(block))
        self.entry = Entry(shapes, normalise, Reads(both=set(shapes) if reads_means else set()))
        self.reads = self.entry.reads
        self.beside = beside
        # Drawn first: from one seed every method's head starts alike, as comparisons need it.
        self.head = Head(list(lifted.values()) * (2 if beside else 1), classes, head)
        self.lift = Lift(shapes, width)
        self.leads = nn.ModuleList([Enforced(lifted, lead, embedding, **block) for lead in shapes])

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality."""
        entered = self.enter(grids)
        pooled = self.head.kind == "mean"
        return self.score(entered, [enforced(entered, pooled=pooled) for enforced in self.leads])

    def enter(self, grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The grids as blocks take them."""
        entered: dict[str, Tensor] = self.lift(self.entry(grids))
        return entered

    def score(self, entered: Mapping[str, Tensor], enforced: Sequence[Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from every lead's enforced grid, in the modalities' order, and the grids as they entered."""
        pooled = self.head.kind == "mean"
        others = [own(entered, name, pooled) for name in self.entry.shapes] if self.beside else []
        logits: Tensor = self.head([*enforced, *others])
        return logits
