"""One modality leads, all others are its contexts (eqs. 5 and 6)."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from plait.fusion.enforced import Enforced, check_clock, check_lead
from plait.fusion.grids import Entry, Head, Reads, Shape, own
from plait.fusion.lifted import Lift, lifted_shapes

__all__ = ["Enforced", "Led"]


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
        width: all grids are lifted to so many channels first (`Lift`), in which blocks and head then work.
        beside: the contexts' own grids go to the head, too, beside the enforced one, in the modalities'
            order; under `zero_h` it then starts as `Concat` does.
        **block: `depth`, `mlp`, `heads`, `clock` of `Enforced`; `pool`, `scale`, `zero_h`, `norm`, `uniform`
            of `NonLocal`.

    Raises:
        ShapeError: the shapes, `lead`, `head` or an option do not fit, or a grid is not of its shape.

    Examples:
        >>> grids = {"video": torch.randn(5, 4, 3, 3, 16), "gloves": torch.randn(5, 7, 6)}
        >>> shapes = {name: tuple(grid.shape[1:]) for name, grid in grids.items()}
        >>> Led(shapes, 8, lead="video")(grids).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        lead: str,
        embedding: int | None = None,
        head: str = "mean",
        normalise: bool = False,
        *,
        width: int | None = None,
        beside: bool = False,
        **block: Any,
    ) -> None:
        super().__init__()
        check_lead(shapes, lead)
        if block.get("clock"):
            check_clock(shapes, [lead])
        lifted, contexts = lifted_shapes(shapes, width), shapes.keys() - {lead}
        both: set[str] = set()
        if head == "mean":
            both = ({lead} if Enforced.is_linear(block) else set()) | (contexts if beside else set())
        self.entry = Entry(shapes, normalise, Reads(both=both, optional=contexts))
        self.reads = self.entry.reads
        self.beside = beside
        # Drawn first: from one seed every method's head starts alike, as comparisons need it.
        self.head = Head(list(lifted.values()) if beside else [lifted[lead]], classes, head)
        self.lift = Lift(shapes, width)
        self.enforced = Enforced(lifted, lead, embedding, **block)

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality; contexts may be absent."""
        entered = self.enter(grids)
        return self.score(entered, [self.enforced(entered, pooled=self.head.kind == "mean")])

    def enter(self, grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The grids as blocks take them."""
        entered: dict[str, Tensor] = self.lift(self.entry(grids))
        return entered

    def score(self, entered: Mapping[str, Tensor], enforced: Sequence[Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from the enforced grid, one in a list, and the grids as they entered."""
        if not self.beside:
            logits: Tensor = self.head(enforced)
            return logits
        lead, pooled = self.enforced.lead, self.head.kind == "mean"
        logits = self.head(
            [enforced[0] if name == lead else own(entered, name, pooled) for name in self.entry.shapes]
        )
        return logits
