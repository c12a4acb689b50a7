"""Symmetric fusion: every modality leads once."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from plait.fusion.grids import Entry, Head, Reads, Shape
from plait.fusion.led import Enforced


class Symmetric(nn.Module):
    """Each modality leads once, all others its context; the enforced grids are concatenated, fully connected.

    Section 3.2, Fig. 3 (3).

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        classes: number of activities.
        embedding: width K in which grids are compared; half of each lead's own channels by default.
        head: `mean`, `flatten` or `hidden`.
        normalise: a LayerNorm over channels on each grid as it enters.
        **block: `pool`, `scale`, `zero_h`, `norm` of `NonLocal`.

    Raises:
        ShapeError: fewer than two modalities, an unknown head, or a grid that is not of its shape.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        embedding: int | None = None,
        head: str = "mean",
        normalise: bool = False,
        **block: Any,
    ) -> None:
        super().__init__()
        self.entry = Entry(shapes, normalise, Reads(both=set(shapes) if head == "mean" else set()))
        self.reads = self.entry.reads
        # Drawn first: from one seed every method's head starts alike, as comparisons need it.
        self.head = Head(list(shapes.values()), classes, head)
        self.leads = nn.ModuleList([Enforced(shapes, lead, embedding, **block) for lead in shapes])

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality."""
        entered = self.entry(grids)
        pooled = self.head.kind == "mean"
        logits: Tensor = self.head([enforced(entered, pooled=pooled) for enforced in self.leads])
        return logits
