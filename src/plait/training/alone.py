"""Whether what a network makes of a clip is that clip's alone, whoever is beside it and whatever came before.

Studies score clips in batches, a recogniser window by window, and networks of an ensemble one after another:
of a part that normalises over its batch, draws at random, remembers, or writes into what it is given, these
are different numbers.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from plait.errors import PlaitError
from plait.fusion.grids import is_known
from plait.source import of_plait
from plait.training.network import Network

CLIPS = 3
CLOSE, ROUNDED = 1e-3, 5e-2  # of the largest number, as sums over a batch are rounded, in bfloat16 too


def dependent(network: Network, tensors: Mapping[str, Tensor], grids: Mapping[str, Tensor]) -> Iterator[str]:
    """A line for each part of somebody's own whose output for a clip is not that clip's alone.

    Args:
        network: as it is built; it is left as it is.
        tensors: some clips for all encoders.
        grids: for the method, where they are not computed.
    """
    tried = copy.deepcopy(network).eval()
    close = CLOSE if network.precision == torch.float32 else ROUNDED
    with torch.random.fork_rng([]), torch.inference_mode():
        entering = dict(grids)
        for name, tensor in tensors.items():
            encoder = tried.encoders[name]
            if not _is_plait_s(encoder):
                yield from _of(partial(_encoded, encoder), {name: tensor}, f"encoders.{name}", CLOSE)
            if not is_known(name, grids):
                entering[name] = encoder(tensor.clone())
        if not _is_plait_s(tried.method):
            what = f"method {type(tried.method).__name__}"
            yield from _of(lambda given: tried.outputs(given)["logits"], entering, what, close)


def _encoded(encoder: nn.Module, clips: Mapping[str, Tensor]) -> Tensor:
    grid: Tensor = encoder(*clips.values())
    return grid


def _is_plait_s(part: object) -> bool:
    return of_plait(type(part).__module__)


def _of(
    run: Callable[[dict[str, Tensor]], Tensor], clips: Mapping[str, Tensor], what: str, close: float
) -> Iterator[str]:
    """What is odd about a part."""
    given = _copies(clips)
    together = run(given)
    if any(not torch.equal(given[name], clips[name]) for name in clips):
        yield f"{what} writes into what it is given, which others are given too: expected it to make a copy"
    if not _close(run(_copies(clips)), together, close):
        yield (
            f"{what} does not come to the same when it is given the same clips again in eval mode: a study's "
            "scores are not a recogniser's; does it draw at random, or remember?"
        )
        return
    try:
        alone = torch.cat([run(_copies(clips, slice(n, n + 1))) for n in range(len(together))])
    except (PlaitError, RuntimeError, ValueError, IndexError) as error:
        yield f"{what} fails on a clip by itself, as a recogniser sees it: {str(error).splitlines()[0]}"
        return
    if alone.shape != together.shape or not _close(alone, together, close):
        yield (
            f"{what} makes of a clip what depends on the others in its batch in eval mode: a study's scores, "
            "for it looks at several clips at once, are not a recogniser's, which looks at one"
        )


def _copies(clips: Mapping[str, Tensor], at: slice = slice(None)) -> dict[str, Tensor]:
    return {name: tensor[at].clone() for name, tensor in clips.items()}


def _close(one: Tensor, other: Tensor, close: float) -> bool:
    if one.shape != other.shape:
        return False
    largest = float(other[other.isfinite()].abs().max()) if other.isfinite().any() else 0.0
    return torch.allclose(one, other, rtol=close, atol=close * largest, equal_nan=True)
