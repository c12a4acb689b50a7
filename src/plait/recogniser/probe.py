"""What a network says of a clip that is made up: kept with a model, and asked again wherever it is loaded.

Code and weights may be those of the fit, and yet something else be computed: with a table that an encoder
reads from a file, with another version of a library.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from plait.compute.machine import settled, wide_products
from plait.training.network import Network

CLOSE, ROUNDED = 1e-2, 1e-4  # of how far logits lie apart, and of the largest
HALVES = 0.2  # of how far they lie apart, where a network computes in bfloat16
DIGITS = 6


def answer(network: Network, shapes: Mapping[str, tuple[int, ...]]) -> tuple[float, ...]:
    """Logits of a clip whose every tensor is a wave between 0 and 1; none where they are no numbers.

    Args:
        network: which is asked, in eval mode, on the CPU.
        shapes: of the tensors, by modality.
    """
    clip = {name: _wave(shape) for name, shape in shapes.items()}
    try:
        with settled(), wide_products(), torch.inference_mode():
            logits = network(clip)[0].tolist()
    except Exception:  # somebody's own part may want other numbers
        return ()
    return tuple(round(one, DIGITS) for one in logits) if all(map(math.isfinite, logits)) else ()


def differ(said: Sequence[float], says: Sequence[float], halves: bool) -> bool:
    """Whether logits are others by more than processors round.

    Args:
        said: at the fit.
        says: now.
        halves: the network computes in bfloat16.
    """
    if len(said) != len(says):
        return True
    allowed = (HALVES if halves else CLOSE) * (max(said) - min(said)) + ROUNDED * max(map(abs, said))
    furthest = max(abs(one - other) for one, other in zip(said, says, strict=True))
    return furthest > allowed + 10.0**-DIGITS


def _wave(shape: tuple[int, ...]) -> Tensor:
    """A batch of one, `(1, *shape)`."""
    places = torch.arange(math.prod(shape), dtype=torch.float64)
    return (0.5 + 0.5 * torch.sin(0.7 * places)).float().view(1, *shape)
