"""Temporal binding: what happens within one stretch of time is fused, then the stretches are averaged.

Source: Kazakos, Nagrani, Zisserman, Damen, EPIC-Fusion: Audio-Visual Temporal Binding for Egocentric Action
Recognition (TBN), arXiv 1908.08498, sections 3.1 and 3.2.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ShapeError
from plait.fusion.grids import Entry, Head, Reads, Shape, check_sizes


class Windows(nn.Module):
    """Means of a grid over equal stretches of its first axis, and over all of its other axes.

    A step that lies in two stretches counts in each by the part that lies there, so that windows of grids of
    any number of steps are the same stretches of the clip; their mean is the grid's.

    Args:
        steps: of the grid in time.
        windows: how many stretches.
    """

    def __init__(self, steps: int, windows: int) -> None:
        super().__init__()
        edges = torch.arange(windows + 1, dtype=torch.float64) * steps / windows
        first = torch.arange(steps, dtype=torch.float64)
        inside = torch.minimum(edges[1:, None], first + 1) - torch.maximum(edges[:-1, None], first)
        self.share: Tensor
        self.register_buffer("share", (inside.clamp(min=0) * windows / steps).float(), persistent=False)

    def forward(self, grid: Float[Tensor, "b t *places n"]) -> Float[Tensor, "b w n"]:
        """The means."""
        lines = grid.reshape(*grid.shape[:2], torch.Size(grid.shape[2:-1]).numel(), grid.shape[-1]).mean(
            dim=2
        )
        return self.share.to(lines.dtype) @ lines


class Binding(nn.Module):
    """Class scores from the modalities' features of each window, joined and fused; averaged over the windows.

    Window k of every modality is the k-th of equal stretches of the clip. Their features are joined, a hidden
    layer with a ReLU fuses them, with the same weights in every window, and the scores of the windows are
    averaged: fusion before aggregation over time. The paper draws one frame of each modality at random from
    within a window while it trains; here a window's features are averaged, and the encoders are not shared
    with the windows. With one window it is pooled concatenation through a hidden layer.

    Grids have no clock. Their first axis is taken for time, from the clip's beginning to its end, as all of
    plait's encoders give it; a grid without any axis is refused. None of the modalities may be absent.

    Args:
        shapes: grid shape `(time, *places, channels)` of each modality.
        classes: number of activities.
        windows: how many there are; the paper trains with 3.
        width: channels of the hidden layer.
        head: `mean`, the average of the windows' scores; `flatten`, a linear layer over the windows in their
            order; or `hidden`, with another hidden layer before the average.
        normalise: a LayerNorm over channels on each grid as it enters.

    Raises:
        ShapeError: a grid has no axis of time or is not of its shape, or a size or `head` does not fit.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        classes: int,
        windows: int = 3,
        width: int = 64,
        head: str = "mean",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        check_sizes("Binding", windows=windows, width=width)
        self.entry = Entry(shapes, normalise, Reads())
        self.reads = self.entry.reads
        for name, shape in shapes.items():
            if len(shape) < 2:
                raise ShapeError(
                    f"Binding: modality {name!r} has grid shape {shape} without time, expected "
                    "(time, *places, channels)"
                )
        # Drawn first: from one seed every method's head starts alike, as comparisons need it.
        self.head = Head([(windows, width)], classes, head)
        self.windows = nn.ModuleDict({name: Windows(shape[0], windows) for name, shape in shapes.items()})
        self.fuse = nn.Linear(sum(shape[-1] for shape in shapes.values()), width)

    def forward(self, grids: dict[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one channels-last grid `(b, *shape)` per modality."""
        entered = self.entry(grids)
        bound = torch.cat([window(entered[name]) for name, window in self.windows.items()], dim=2)
        logits: Tensor = self.head([self.fuse(bound).relu()])
        return logits
