"""Late fusion: features concatenated in front of the classifier."""

from jaxtyping import Float
from torch import Tensor, nn

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

    def outputs(self, grids: dict[str, Tensor]) -> dict[str, Float[Tensor, "b classes"]]:
        """`logits`, and as `logits.NAME` what a modality adds to them, with an equal share of the bias."""
        parts = self.head.parts(list(self.entry(grids).values()))
        share = self.head.bias / len(parts)
        alone = {f"logits.{name}": part + share for name, part in zip(self.entry.shapes, parts, strict=True)}
        return {"logits": self.head.joined(parts), **alone}
