"""One modality alone."""

from plait.errors import ShapeError
from plait.fusion.grids import Shape
from plait.fusion.late import Concat


class Single(Concat):
    """Class scores from one modality's grid, a `Concat` of one; the others are not looked at.

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
        if modality not in shapes:
            raise ShapeError(f"modality is {modality!r}, expected one of: {', '.join(shapes)}")
        super().__init__({modality: shapes[modality]}, classes, head, normalise)
