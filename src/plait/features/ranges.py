"""Whether clips lie in the range that a network of pictures was made for."""

import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress

import numpy as np
from torch import Tensor, nn

from plait.encoders.frames import FrameNet
from plait.errors import PlaitError, PlaitWarning

LOOKED_AT = 8  # clips, evenly from all
BEYOND, OFTEN = 0.05, 0.01  # of the range, and of the values that are so far beyond its ends
LEAST = 0.01  # of the range; [0, 1] in place of 0 to 255 fills 0.004


def check_range(
    encoder: nn.Module,
    modality: str,
    read: Callable[[list[int]], Iterable[Tensor]],
    count: int,
    encoder_name: str,
    where: str,
) -> None:
    """Warn of some clips whose values are not those that the encoder calls `black_and_white`, if it does.

    A clip that cannot be read is refused by who reads it next, and passed over here.

    Args:
        encoder: of clips of the modality.
        modality: its name.
        read: from places among the clips that the encoder is to be given to their tensors.
        count: how many clips there are.
        encoder_name: what the warning calls it.
        where: the setting that the warning names.
    """
    expected: tuple[float, float] | None = getattr(encoder, "black_and_white", None)
    if expected is None or not count:
        return
    chosen = sorted(set(np.linspace(0, count - 1, LOOKED_AT).round().astype(int).tolist()))
    with suppress(PlaitError, OSError):
        found = other_range(read(chosen), *expected)
        if found:
            got = f"{modality} goes from {found[0]:.4g} to {found[1]:.4g} in {len(chosen)} clips"
            own = ", or set low and high among its args" if isinstance(encoder, FrameNet) else ""
            remedy = f"have the modality's prepare give these{own}"
            line = f"{where}: {got}, expected {expected[0]:g} (black) to {expected[1]:g} (white), which "
            warnings.warn(f"{line}{encoder_name} was made for: {remedy}", PlaitWarning, stacklevel=3)


def other_range(clips: Iterable[Tensor], low: float, high: float) -> tuple[float, float] | None:
    """The least and the greatest value of all clips, if they can hardly be of the range from `low` to `high`.

    So it is where one value in a hundred is beyond an end by more than 5 % of the range; where they fill less
    than 1 % of it; or where it reaches below zero and they never do. Clips of one value (a sensor that is
    missing, a black picture) tell nothing.
    """
    count, beyond, least, most = 0, 0, np.inf, -np.inf
    slack = BEYOND * (high - low)
    for clip in clips:
        values = clip.float()
        start, stop = (float(end) for end in values.aminmax()) if values.numel() else (0.0, 0.0)
        if start < stop:
            count += values.numel()
            beyond += int(((values < low - slack) | (values > high + slack)).sum())
            least, most = min(least, start), max(most, stop)
    if count == 0:
        return None
    never_below = low < 0 <= least
    unlikely = never_below or beyond > OFTEN * count or most - least < LEAST * (high - low)
    return (least, most) if unlikely else None
