"""Methods: from a dict of channels-last grids to class scores."""

from plait.fusion.grids import Reads, mean_of, read_mean
from plait.fusion.late import Concat, average_scores
from plait.fusion.led import Enforced, Led
from plait.fusion.nonlocal_ import NonLocal
from plait.fusion.single import Single
from plait.fusion.symmetric import Symmetric

__all__ = [
    "Concat",
    "Enforced",
    "Led",
    "NonLocal",
    "Reads",
    "Single",
    "Symmetric",
    "average_scores",
    "mean_of",
    "read_mean",
]
