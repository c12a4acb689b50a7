"""A method of your own: each modality's mean, weighted by a gate that has seen them all."""

import torch
from torch import Tensor, nn

from plait.fusion import Reads, read_mean


class Gated(nn.Module):
    """Class scores of each modality, summed with weights that depend on the clip."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], classes: int) -> None:
        super().__init__()
        self.reads = Reads(mean=set(shapes))  # features' means are then read from disk instead of features
        self.scores = nn.ModuleDict({name: nn.Linear(shape[-1], classes) for name, shape in shapes.items()})
        self.gate = nn.Linear(sum(shape[-1] for shape in shapes.values()), len(shapes))

    def forward(self, grids: dict[str, Tensor]) -> Tensor:
        """Logits `(b, classes)` from one channels-last grid `(b, *grid, channels)` per modality."""
        means = {name: read_mean(grids, name) for name in self.scores}
        weights = self.gate(torch.cat(list(means.values()), dim=1)).softmax(dim=1)
        scores = torch.stack([self.scores[name](mean) for name, mean in means.items()], dim=2)
        return torch.einsum("bcm,bm->bc", scores, weights)
