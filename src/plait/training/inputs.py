"""What a network is given of clips, batch by batch, where it computes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from plait.clips import Clips
from plait.compute.ahead import ahead
from plait.fusion.grids import is_known, mean_of

Augment = Callable[[Tensor], Tensor]
Tensors = dict[str, Tensor]  # of some clips, by modality
Batch = tuple[Tensors, Tensors]  # some clips as a network takes them: tensors, and grids that are known


@dataclass(frozen=True)
class Inputs:
    """What a network is given of each clip: tensors for encoders that compute, and grids that are known.

    Args:
        clips: the clips with their tensors.
        grids: the same clips with grids that are known, and means.
        modalities: those that the network takes.
        device: where batches are put.
    """

    clips: Clips
    grids: Clips
    modalities: tuple[str, ...]
    device: str

    def batch(
        self,
        rows: np.ndarray,
        augments: Mapping[str, Augment] = MappingProxyType({}),
        instead: Mapping[str, np.ndarray] = MappingProxyType({}),
    ) -> Batch:
        """Tensors and grids of the clips in `rows`, or of those `instead` where a modality is named there.

        `augments`, by modality, are applied to tensors.
        """
        return self.moved(self.read(rows, instead), augments)

    @property
    def on_card(self) -> bool:
        """Whether batches are put on a graphics card."""
        return torch.device(self.device).type == "cuda"

    def read(self, rows: np.ndarray, instead: Mapping[str, np.ndarray] = MappingProxyType({})) -> Batch:
        """The same, unaugmented, in this machine's memory."""
        computed = [name for name in self.modalities if not is_known(name, self.grids.arrays)]
        swapped = {key: others for name, others in instead.items() for key in (name, mean_of(name))}
        tensors = self.clips.batch([name for name in computed if name not in swapped], rows)
        grids = self.grids.batch([name for name in self.grids.arrays if name not in swapped], rows)
        for name, others in swapped.items():
            if name in self.grids.arrays:
                grids |= self.grids.batch([name], others)
            elif name in computed:
                tensors |= self.clips.batch([name], others)
        return tensors, grids

    def reading(self, groups: Sequence[np.ndarray]) -> Iterator[Batch]:
        """What `read` gives of each group of rows in turn.

        For a card it lies in pages that stay where they are, and the next group is read by a thread while
        the card is at work; nothing is drawn there.
        """
        read = (self.read(rows) for rows in groups)
        return ahead(map(_kept_in_place, read), depth=1) if self.on_card else read

    def moved(self, batch: Batch, augments: Mapping[str, Augment] = MappingProxyType({})) -> Batch:
        """What was read, augmented, on the device; a card copies it while the processor goes on."""
        tensors, grids = batch
        tensors |= {name: augments[name](x) for name, x in tensors.items() if name in augments}
        return (
            {name: x.to(self.device, non_blocking=self.on_card) for name, x in tensors.items()},
            {name: x.to(self.device, non_blocking=self.on_card) for name, x in grids.items()},
        )


def _kept_in_place(batch: Batch) -> Batch:
    """A batch in page-locked memory, where there is a card that could copy from it."""
    if not torch.cuda.is_available():
        return batch
    tensors, grids = ({name: x.pin_memory() for name, x in part.items()} for part in batch)
    return tensors, grids
