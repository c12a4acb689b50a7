"""Asymmetric fusion: one modality leads, every other is its context (eqs. 5 and 6)."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ShapeError
from plait.fusion.grids import Entry, Head, Reads, Shape, read_mean
from plait.fusion.nonlocal_ import NonLocal


def check_lead(shapes: Mapping[str, Shape], lead: str) -> None:
    """Refuse a lead that is none of the modalities, or the only one.

    Raises:
        ShapeError: naming it.
    """
    if lead not in shapes:
        raise ShapeError(f"lead is {lead!r}, expected one of the modalities: {', '.join(shapes)}")
    if len(shapes) < 2:
        raise ShapeError(f"lead {lead!r} is the only modality, expected at least one other as context")


class Enforced(nn.Module):
    """The lead's grid enforced by every other modality: `x + sum_r h^r(z^r(x, y^r))`, eq. 6; eq. 5 with one.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        lead: the modality that leads.
        embedding: width K in which grids are compared; by default half of the lead's channels, at least 1.
        **block: `pool`, `scale`, `zero_h`, `norm` of every `NonLocal`.

    Raises:
        ShapeError: `lead` is none of the modalities, or there is no other one.
    """

    def __init__(
        self, shapes: Mapping[str, Shape], lead: str, embedding: int | None = None, **block: Any
    ) -> None:
        super().__init__()
        check_lead(shapes, lead)
        self.lead = lead
        width = shapes[lead][-1]
        embedding = max(width // 2, 1) if embedding is None else embedding
        self.blocks = nn.ModuleDict()
        for name, shape in shapes.items():
            if name != lead:
                self.blocks[name] = NonLocal(width, shape[-1], embedding, **block)

    def forward(self, grids: Mapping[str, Tensor], pooled: bool = False) -> Float[Tensor, "b *grid n"]:
        """The enforced grid, of the lead's shape; if `pooled`, its mean over positions without making it.

        A context that is absent adds nothing to the sum of eq. 6.
        """
        x = grids[self.lead]
        enforced = read_mean(grids, self.lead) if pooled else x
        for name, block in self.blocks.items():
            assert isinstance(block, NonLocal)
            if name not in grids:
                continue
            if pooled:
                enforced = enforced + block.pooled(x, grids[name])
            else:
                enforced = block.onto(enforced, x, grids[name])
        return enforced


class Led(nn.Module):
    """Class scores from the lead's grid, enforced by all other modalities (eqs. 5 and 6).

    `Led({"video": (10, 7, 7, 832), "gloves": (28, 64)}, 8, lead="video")` is the paper's video-led fusion.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        classes: number of activities.
        lead: the modality that leads.
        embedding: width K in which grids are compared; half of the lead's channels by default.
        head: `mean`, `flatten` or `hidden`.
        normalise: a LayerNorm over channels on each grid as it enters.
        **block: `pool`, `scale`, `zero_h`, `norm` of `NonLocal`.

    Raises:
        ShapeError: the shapes, `lead` or `head` do not fit, or a grid is not of its shape.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        lead: str,
        embedding: int | None = None,
        head: str = "mean",
        normalise: bool = False,
        **block: Any,
    ) -> None:
        super().__init__()
        check_lead(shapes, lead)
        both, contexts = {lead} if head == "mean" else set(), shapes.keys() - {lead}
        self.entry = Entry(shapes, normalise, Reads(both=both, optional=contexts))
        self.reads = self.entry.reads
        # Drawn first: from one seed every method's head starts alike, as comparisons need it.
        self.head = Head([shapes[lead]], classes, head)
        self.enforced = Enforced(shapes, lead, embedding, **block)

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality; contexts may be absent."""
        enforced = self.enforced(self.entry(grids), pooled=self.head.kind == "mean")
        logits: Tensor = self.head([enforced])
        return logits
