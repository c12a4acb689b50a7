"""One modality alone."""

from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ShapeError
from plait.fusion.grids import Entry, Head, Reads, Shape


class Single(nn.Module):
    """Class scores from one modality's grid; the others are not looked at.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        classes: number of activities.
        modality: the one that is looked at.
        head: `mean`, `flatten` or `hidden`.
        normalise: a LayerNorm over channels on the grid as it enters.

    Raises:
        ShapeError: `modality` or `head` is unknown, or the grid is not of its shape.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        modality: str,
        head: str = "mean",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        if modality not in shapes:
            raise ShapeError(f"modality is {modality!r}, expected one of: {', '.join(shapes)}")
        # One product with a row for each clip gains nothing from halves of its weight.
        reads = Reads(mean={modality} if head == "mean" else set(), float32=head != "hidden")
        self.entry = Entry({modality: shapes[modality]}, normalise, reads)
        self.reads = self.entry.reads
        self.head = Head([shapes[modality]], classes, head)

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from the grid `(b, *shape)` of the one modality."""
        logits: Tensor = self.head(list(self.entry(grids).values()))
        return logits
