"""Whether what a network makes of a clip is that clip's and its weights' alone, and its training its seed's.

Whoever takes a job's weights makes the network anew: what a part has drawn or learned and does not keep among
its weights is another one then. And what draws from generators of its own trains to something else each time.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plait.compute.seeds import OWN_DRAWS, left_alone, seed_all
from plait.features.alone import CLIPS, close, copies, is_plait_s, odd
from plait.training.network import Network


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
    others_method = not is_plait_s(network.method)
    others = [name for name, encoder in encoders.items() if others_method or not is_plait_s(encoder)]
    if not others:
        return
    with left_alone(), torch.no_grad():
        other, entering = anew().eval(), dict[str, Tensor]()
        for name in others:
            encoder, clips = copy.deepcopy(encoders[name]).eval(), {name: torch.rand(CLIPS, *shapes[name])}
            if not is_plait_s(encoder):
                part = _Part(f"encoders.{name}", encoder)
                yield from _lines(part, _Part(part.what, other.encoders[name]), clips, name in network.frozen)
            entering[name] = encoder(*copies(clips).values())
        if others_method:
            part = _Part(f"method {type(network.method).__name__}", copy.deepcopy(network).eval())
            yield from _lines(part, _Part(part.what, other), entering)


@dataclass(frozen=True)
class _Part:
    """A part of a network, in eval mode.

    Args:
        what: it is called.
        whole: an encoder, or a network whose method is meant.
    """

    what: str
    whole: nn.Module

    def __post_init__(self) -> None:
        if isinstance(self.whole, Network):
            self.whole.precision = torch.float32

    def __call__(self, given: Mapping[str, Tensor]) -> Tensor:
        made = self.whole.outputs(given)["logits"] if isinstance(self.whole, Network) else None
        grid: Tensor = self.whole(*given.values()) if made is None else made
        return grid

    @property
    def module(self) -> nn.Module:
        """The part itself."""
        return self.whole.method if isinstance(self.whole, Network) else self.whole

    def trained(self, clips: Mapping[str, Tensor]) -> tuple["_Part", Tensor | None]:
        """A copy that has seen clips as in training from a seed, and what it made of them, if anything."""
        part, made = _Part(self.what, copy.deepcopy(self.whole)), None
        seed_all(0)
        with suppress(Exception):
            part.module.train()
            made = part(copies(clips))
        part.module.eval()
        return part, made


def _lines(part: _Part, again: _Part, clips: Mapping[str, Tensor], frozen: bool = False) -> Iterator[str]:
    """What is odd about a part; `again` is one that was made once more."""
    if found := [*odd(part, clips, part.what)]:
        yield from found
        return
    if not frozen:
        (part, made), (_, once_more) = part.trained(clips), part.trained(clips)
        if made is not None and once_more is not None and not close(made, once_more):
            yield f"{part.what} {OWN_DRAWS}"
    try:
        again.module.load_state_dict(part.module.state_dict())
    except RuntimeError as error:
        fault = " ".join(str(error).split())
        yield (
            f"{part.what} does not take its own weights when it is made anew, as whoever uses them does: "
            f"{fault}"
        )
        return
    if not close(again(copies(clips)), part(copies(clips))):
        yield (
            f"{part.what} comes to something else when it is made anew and given its weights: what it holds "
            "besides is lost with its job, and a recogniser's scores are not a study's (a tensor is kept by "
            "register_buffer)"
        )
