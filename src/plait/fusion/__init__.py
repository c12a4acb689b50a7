"""Methods: from a dict of channels-last grids to class scores."""

from plait.fusion.binding import Binding
from plait.fusion.bottleneck import Bottleneck
from plait.fusion.cross_attention import CrossAttention
from plait.fusion.gated import Gated
from plait.fusion.grids import Reads, mean_of, read_mean
from plait.fusion.late import Concat, average_scores
from plait.fusion.led import Enforced, Led
from plait.fusion.low_rank import LowRank
from plait.fusion.nonlocal_ import NonLocal
from plait.fusion.single import Single
from plait.fusion.symmetric import Symmetric
from plait.fusion.tensor_fusion import TensorFusion

__all__ = [
    "Binding",
    "Bottleneck",
    "Concat",
    "CrossAttention",
    "Enforced",
    "Gated",
    "Led",
    "LowRank",
    "NonLocal",
    "Reads",
    "Single",
    "Symmetric",
    "TensorFusion",
    "average_scores",
    "mean_of",
    "read_mean",
]
