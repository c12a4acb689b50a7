"""Every grid lifted to one width, so that no modality's channels are a bottleneck for the others."""

from collections.abc import Mapping

from torch import Tensor, nn

from plait.errors import ShapeError
from plait.fusion.grids import Shape, mean_of


def lifted_shapes(shapes: Mapping[str, Shape], width: int | None) -> dict[str, Shape]:
    """The shapes of the grids behind a `Lift` to `width`, or the same ones without.

    Raises:
        ShapeError: `width` is below 1.
    """
    if width is None:
        return dict(shapes)
    if width < 1:
        raise ShapeError(f"width is {width}, expected at least 1")
    return {name: (*shape[:-1], width) for name, shape in shapes.items()}


class Lift(nn.Module):
    """A linear map over the channels of each grid, to one width.

    Means go through the same map: it is linear.

    Args:
        shapes: grid shape `(*grid, channels)` of each modality.
        width: the channels of all grids behind it; None leaves them as they are.
    """

    def __init__(self, shapes: Mapping[str, Shape], width: int | None) -> None:
        super().__init__()
        self.shapes = lifted_shapes(shapes, width)
        maps = {} if width is None else {name: nn.Linear(shape[-1], width) for name, shape in shapes.items()}
        self.maps = nn.ModuleDict(maps)

    def forward(self, grids: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The grids that are there, and the means that are known, `(..., width)`."""
        if not self.maps:
            return dict(grids)
        return {
            key: layer(grids[key])
            for name, layer in self.maps.items()
            for key in (name, mean_of(name))
            if key in grids
        }
