"""Which frozen encoder makes features, and how it is run over clips, batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor, nn

from plait.compute.ahead import ahead
from plait.compute.machine import settled, wide_products
from plait.errors import ConfigError, DataError, own_code
from plait.features.engine import Encode, accelerate
from plait.features.rounding import Rounding


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Extraction:
    """How features are made.

    Args:
        use: the encoder, `"package.module:Name"`, called with the clip's shape and `args`.
        args: its settings.
        engine: what runs it.
        batch: clips at once.
        cut: names or patterns of its blocks: features are the activations in front of the first of these.
    """

    use: str
    args: dict[str, Any] = field(default_factory=dict)
    engine: Literal["torch", "compile", "openvino"] = "torch"
    batch: Annotated[int, Field(ge=1, le=4096)] = 1
    cut: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The encoder's name, without its module."""
        return self.use.rpartition(":")[2]


@dataclass
class Encoding:
    """The encoder, how it is run over clips, batch by batch, and what rounding has taken from its grids."""

    encoder: nn.Module
    how: Extraction
    device: str
    where: str
    run: Encode | None = None
    rounding: Rounding = field(default_factory=Rounding)

    def __reduce__(self) -> tuple[Any, ...]:
        return Encoding, (self.encoder, self.how, self.device, self.where)  # the rest is made anew elsewhere

    def __call__(self, clips: Iterator[Tensor], counts: Sequence[int]) -> Iterator[np.ndarray]:
        """The rows of each batch, `(batch, *grid)`, float16, while the next clips are decoded.

        A batch holds clips of one of the groups that follow each other, of `counts` clips.
        """
        size, name = self.how.batch, self.how.name
        for batch in ahead(_batches(clips, size, counts)):
            short = size - len(batch)
            full = torch.cat([batch, batch[-1:].expand(short, *batch.shape[1:])]) if short else batch
            full = full.float().to(self.device)
            failure = f"{self.where}: {name} fails on clips of {tuple(full.shape[1:])}"
            with own_code(failure, passing=(OSError,)):
                self.run = self.run or accelerate(self.encoder.to(self.device), full, self.how.engine)
                with settled(), wide_products():
                    grid = self.run(full)
            if not isinstance(grid, Tensor) or grid.ndim < 2 or len(grid) != size:
                got = f"shape {tuple(grid.shape)}" if isinstance(grid, Tensor) else type(grid).__name__
                raise ConfigError(f"{self.where}: {name} gave {got}, expected a tensor of {size} grids")
            grid = grid[: len(batch)].cpu()
            with np.errstate(over="ignore"):
                rows = grid.numpy().astype("<f2")
            if not np.isfinite(rows).all():
                raise DataError(f"{self.where}: {name} gives values that are not finite in float16")
            self.rounding.add(grid)
            yield rows


def _batches(clips: Iterator[Tensor], size: int, counts: Sequence[int]) -> Iterator[Tensor]:
    """Stacks of `size` clips; the last of each group of so many clips may be smaller."""
    for count in counts:
        for start in range(0, count, size):
            yield torch.stack([next(clips) for _ in range(min(size, count - start))])
