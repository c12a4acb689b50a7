"""What rounding takes from numbers: how far it moves those of a channel, beside how far these lie apart."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.errors import PlaitWarning

POSITIONS = 64  # of a clip's grid that are looked at, at even distances
LEAST = 8  # numbers of a channel that say how far they lie apart
MUCH = 0.05  # of a channel's SD
STEPS = (5, 10, 20, 50, 100)  # per cent; coarse, so that the same is said once
CONSTANT = 1e-6  # of a channel's mean, or of the largest SD: what lies closer together says nothing


@dataclass
class Rounding:
    """Running sums over clips, by channel: the last axis of their grids.

    Args:
        kind: what numbers are rounded to.
        count: numbers of each channel so far.
        mean: of these numbers, `(channels,)`, float64.
        spread: sum of the squares of their distances from it.
        moved: sum of the squares of what rounding adds to them.
    """

    kind: torch.dtype = torch.float16
    count: int = 0
    mean: Any = 0.0
    spread: Any = 0.0
    moved: Any = 0.0

    def add(self, grids: Tensor) -> None:
        """Look at some more clips' grids `(clips, *positions, channels)`, on the CPU and not yet rounded."""
        rows = grids.reshape(len(grids), -1, grids.shape[-1])
        if rows.shape[1] > POSITIONS:
            rows = rows[:, torch.linspace(0, rows.shape[1] - 1, POSITIONS).long()]
        rows = rows.flatten(0, 1)
        exact, rounded = rows.double().numpy(), rows.to(self.kind).double().numpy()
        with np.errstate(all="ignore"):  # numbers that are not finite are refused elsewhere
            mean = exact.mean(axis=0)
            spread, moved = ((exact - mean) ** 2).sum(axis=0), ((exact - rounded) ** 2).sum(axis=0)
        self.join(Rounding(self.kind, len(exact), mean, spread, moved))

    def join(self, other: "Rounding") -> None:
        """Take in the sums over other clips (T. F. Chan, G. H. Golub and R. J. LeVeque, 1979)."""
        if not other.count:
            return
        count, apart = self.count + other.count, other.mean - self.mean
        self.spread = self.spread + other.spread + apart**2 * (self.count * other.count / count)
        self.mean = self.mean + apart * (other.count / count)
        self.moved, self.count = self.moved + other.moved, count

    def tell(self, where: str, expected: str) -> None:
        """Warn of what is lost, if it is much: `where`, and what is `expected` instead."""
        if lost := self.lost():
            warnings.warn(f"{where}{lost}: {expected}", PlaitWarning, stacklevel=3)

    def lost(self) -> str | None:
        """How much is lost, in words, if it is much in any channel whose numbers are not constant."""
        if self.count < LEAST:
            return None
        spread, moved = (np.sqrt(sums / self.count) for sums in (self.spread, self.moved))
        varies = spread > CONSTANT * np.maximum(np.abs(self.mean), spread.max())
        shares = np.divide(moved, spread, out=np.zeros_like(moved), where=varies)
        if not (many := int((shares > MUCH).sum())):
            return None
        worst = max(step for step in STEPS if 100 * shares.max() >= step)
        kind, all_of_them = str(self.kind).removeprefix("torch."), math.prod(self.mean.shape)
        return f"{kind} moves {many} of {all_of_them} channels by {worst} % of their SD over clips or more"
