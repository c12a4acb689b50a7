"""Whether what a part of a network makes of a clip is that clip's alone, whoever is beside it or was before.

Studies score clips in batches, a recogniser window by window, and networks of an ensemble one after another:
of a part that normalises over its batch, draws at random, remembers, or writes into what it is given, these
are different numbers.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from plait.errors import PlaitError
from plait.source import installed, of_plait

CLIPS = 3
CLOSE, ROUNDED = 1e-3, 1e-5  # of how far numbers lie apart, and of the largest
Clips = Mapping[str, Tensor]
Run = Callable[[dict[str, Tensor]], Tensor]


def is_plait_s(part: nn.Module) -> bool:
    """Whether it is plait's own, and has nothing of somebody's own within."""
    within = {type(each).__module__ for each in part.modules()}
    own = any(not of_plait(module) and not installed(module) for module in within)
    return type(part) is nn.Identity or (of_plait(type(part).__module__) and not own)


def odd(run: Run, clips: Clips, what: str) -> Iterator[str]:
    """What of a part's output, in eval mode, is not a clip's alone: a line each.

    Args:
        run: makes it of tensors `(b, ...)` by name.
        clips: such tensors, of at least one clip.
        what: it is called.
    """
    given = copies(clips)
    together = run(given)
    if any(not torch.allclose(given[name], clips[name], 0, 0, equal_nan=True) for name in clips):
        yield f"{what} writes into what it is given, which others are given too: expected it to make a copy"
    if not close(run(copies(clips)), together):
        yield (
            f"{what} does not come to the same when it is given the same clips again in eval mode: a study's "
            "scores are not a recogniser's; does it draw at random, or remember?"
        )
        return
    try:
        alone = torch.cat([run(copies(clips, slice(n, n + 1))) for n in range(len(together))])
    except (PlaitError, RuntimeError, ValueError, IndexError) as error:
        yield f"{what} fails on a clip by itself, as a recogniser sees it: {str(error).splitlines()[0]}"
        return
    if alone.shape != together.shape or not close(alone, together):
        yield (
            f"{what} makes of a clip what depends on the others in its batch in eval mode: a study's scores, "
            "for it looks at several clips at once, are not a recogniser's, which looks at one"
        )


def copies(clips: Clips, at: slice = slice(None)) -> dict[str, Tensor]:
    """Copies of some of the clips."""
    return {name: tensor[at].clone() for name, tensor in clips.items()}


def close(one: Tensor, other: Tensor, spread: Callable[[Tensor], Tensor] | None = None) -> bool:
    """Whether two differ by no more than sums over a batch are rounded.

    Args:
        one: `(b, ...)`.
        other: likewise.
        spread: how far the finite numbers of one lie apart; by default how far its clips do.
    """
    if one.shape != other.shape:
        return False
    known = torch.nan_to_num(other, 0.0, 0.0, 0.0)
    apart = float((spread or _of_clips)(known)) if known.numel() else 0.0
    largest = float(known.abs().max()) if known.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=CLOSE * apart + ROUNDED * largest, equal_nan=True)


def _of_clips(numbers: Tensor) -> Tensor:
    return (numbers - numbers.mean(dim=0)).abs().max()
