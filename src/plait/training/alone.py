"""Whether what a network makes of a clip is that clip's and its weights' alone.

Studies score clips in batches, a recogniser window by window, and networks of an ensemble one after another:
of a part that normalises over its batch, draws at random, remembers, or writes into what it is given, these
are different numbers. And whoever takes a job's weights makes the network anew: what a part has drawn or
learned and does not keep among its weights is another one then.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor, nn

from plait.errors import PlaitError
from plait.source import installed, of_plait
from plait.training.network import Network

CLIPS = 3
CLOSE, ROUNDED = 1e-3, 1e-5  # of how far clips lie apart, and of the largest number


def dependent(
    network: Network,
    shapes: Mapping[str, tuple[int, ...]],
    encoders: Mapping[str, nn.Module],
    anew: Callable[[], Network],
) -> Iterator[str]:
    """A line for each part of somebody's own whose output is not that clip's and its own weights' alone.

    Args:
        network: as it is built; it is left as it is.
        shapes: of what encoders are given, without the batch axis; random clips of these are tried.
        encoders: in the place of the network's, calibrated.
        anew: makes the network once more, as whoever has its weights does.
    """
    others_method = not _is_plait_s(network.method)
    others = [name for name, encoder in encoders.items() if others_method or not _is_plait_s(encoder)]
    if not others:
        return
    tried = copy.deepcopy(network).eval()
    tried.precision = torch.float32
    with torch.random.fork_rng([]), torch.no_grad():
        other = anew().eval()
        other.precision = torch.float32
        entering: dict[str, Tensor] = {}
        for name in others:
            encoder, clips = copy.deepcopy(encoders[name]).eval(), {name: torch.rand(CLIPS, *shapes[name])}
            if not _is_plait_s(encoder):
                what, run = f"encoders.{name}", partial(_encoded, encoder)
                found = [*_of(run, clips, what)]
                if not found and name not in network.frozen:
                    _train(encoder, run, clips)
                again = other.encoders[name]
                yield from found or _lost(encoder, run, again, partial(_encoded, again), clips, what)
            entering[name] = encoder(*_copies(clips).values())
        if others_method:
            what, run = f"method {type(tried.method).__name__}", partial(_logits, tried)
            if found := [*_of(run, entering, what)]:
                yield from found
                return
            _train(tried.method, run, entering)
            yield from _lost(tried.method, run, other.method, partial(_logits, other), entering, what)


def _encoded(encoder: nn.Module, clips: Mapping[str, Tensor]) -> Tensor:
    grid: Tensor = encoder(*clips.values())
    return grid


def _logits(network: Network, grids: Mapping[str, Tensor]) -> Tensor:
    return network.outputs(grids)["logits"]


def _is_plait_s(part: nn.Module) -> bool:
    """Whether it is plait's own, and has nothing of somebody's own within."""
    within = {type(each).__module__ for each in part.modules()}
    own = any(not of_plait(module) and not installed(module) for module in within)
    return type(part) is nn.Identity or (of_plait(type(part).__module__) and not own)


def _of(run: Callable[[dict[str, Tensor]], Tensor], clips: Mapping[str, Tensor], what: str) -> Iterator[str]:
    """What is odd about a part."""
    given = _copies(clips)
    together = run(given)
    if any(not torch.allclose(given[name], clips[name], 0, 0, equal_nan=True) for name in clips):
        yield f"{what} writes into what it is given, which others are given too: expected it to make a copy"
    if not _close(run(_copies(clips)), together):
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
    if alone.shape != together.shape or not _close(alone, together):
        yield (
            f"{what} makes of a clip what depends on the others in its batch in eval mode: a study's scores, "
            "for it looks at several clips at once, are not a recogniser's, which looks at one"
        )


def _train(part: nn.Module, run: Callable[[dict[str, Tensor]], Tensor], clips: Mapping[str, Tensor]) -> None:
    """Have a part see clips as in training, if it takes these; what it notes of them should be kept."""
    with suppress(Exception):
        part.train()
        run(_copies(clips))
    part.eval()


def _lost(
    part: nn.Module,
    run: Callable[[dict[str, Tensor]], Tensor],
    again: nn.Module,
    run_again: Callable[[dict[str, Tensor]], Tensor],
    clips: Mapping[str, Tensor],
    what: str,
) -> Iterator[str]:
    """Whether one that was made again and is given a part's weights comes to something else."""
    try:
        again.load_state_dict(part.state_dict())
    except RuntimeError as error:
        fault = " ".join(str(error).split())
        yield f"{what} does not take its own weights when it is made anew, as whoever uses them does: {fault}"
        return
    if not _close(run_again(_copies(clips)), run(_copies(clips))):
        yield (
            f"{what} comes to something else when it is made anew and given its weights: what it holds "
            "besides is lost with its job, and a recogniser's scores are not a study's (a tensor is kept by "
            "register_buffer)"
        )


def _copies(clips: Mapping[str, Tensor], at: slice = slice(None)) -> dict[str, Tensor]:
    return {name: tensor[at].clone() for name, tensor in clips.items()}


def _close(one: Tensor, other: Tensor) -> bool:
    """Whether two differ by no more than sums over a batch are rounded, by how far clips lie apart."""
    if one.shape != other.shape:
        return False
    known = torch.nan_to_num(other, 0.0, 0.0, 0.0)
    spread = float((known - known.mean(dim=0)).abs().max()) if known.numel() else 0.0
    largest = float(known.abs().max()) if known.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=CLOSE * spread + ROUNDED * largest, equal_nan=True)
