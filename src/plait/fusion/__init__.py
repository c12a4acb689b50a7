"""Methods: from a dict of channels-last grids to class scores."""

from plait.fusion.binding import Binding
from plait.fusion.bottleneck import Bottleneck
from plait.fusion.cross_attention import CrossAttention
from plait.fusion.gated import Gated
from plait.fusion.grids import Reads, mean_of, read_mean
from plait.fusion.late import Concat
from plait.fusion.led import Enforced, Led
from plait.fusion.low_rank import LowRank
from plait.fusion.nonlocal_ import NonLocal
from plait.fusion.scores import Average, First, Mixture, Stack, average_scores, combined
from plait.fusion.single import Single
from plait.fusion.symmetric import Symmetric
from plait.fusion.tensor_fusion import TensorFusion

__all__ = [
    "Average",
    "Binding",
    "Bottleneck",
    "Concat",
    "CrossAttention",
    "Enforced",
    "First",
    "Gated",
    "Led",
    "LowRank",
    "Mixture",
    "NonLocal",
    "Reads",
    "Single",
    "Stack",
    "Symmetric",
    "TensorFusion",
    "average_scores",
    "combined",
    "mean_of",
    "read_mean",
]
