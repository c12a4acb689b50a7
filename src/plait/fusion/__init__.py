"""Methods: from a dict of channels-last grids to class scores."""

from plait.fusion.grids import Reads, mean_of, read_mean
from plait.fusion.late import Concat
from plait.fusion.led import Enforced, Led
from plait.fusion.nonlocal_ import NonLocal
from plait.fusion.scores import Average, Mixture, Stack, average_scores, combined
from plait.fusion.single import Single
from plait.fusion.symmetric import Symmetric

__all__ = [
    "Average",
    "Concat",
    "Enforced",
    "Led",
    "Mixture",
    "NonLocal",
    "Reads",
    "Single",
    "Stack",
    "Symmetric",
    "average_scores",
    "combined",
    "mean_of",
    "read_mean",
]
