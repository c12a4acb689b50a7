"""A signal's channels about the mean and spread of the training clips, whatever else is in a batch."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from plait.errors import ShapeError

Calibrate = Callable[[Iterable[Tensor]], None]
CONSTANT = 1e-6  # of a channel's largest reading: a smaller SD is what rounding makes of a constant


@runtime_checkable
class Calibrated(Protocol):
    """An encoder that wants to see the training clips once before it is trained.

    `calibrate` is called with batches `(b, *shape)` of all training clips of the fold, unaugmented, in the
    order of the clip table, before the first epoch. What it learns belongs into buffers, so that it is stored
    with the weights.
    """

    def calibrate(self, clips: Iterable[Tensor]) -> None:
        """Take what the training clips tell."""
        ...


class Standardise(nn.Module):
    """Readings `(b, *samples, channels)` minus each channel's mean, over its SD, both of the training clips.

    Until `calibrate` has been called it leaves readings as they are. A channel that is constant in the
    training clips is centred only. The numbers are buffers: part of the weights, no parameters, and the same
    in training and use, so what becomes of a clip does not depend on what it is batched with.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("sd", torch.ones(channels))

    def calibrate(self, clips: Iterable[Tensor]) -> None:
        """Take mean and SD of all readings of `clips`, batches `(b, *samples, channels)`.

        In float64 and one pass: Chan, Golub, LeVeque 1983.

        Raises:
            ShapeError: the readings have another number of channels, or there are none.
        """
        channels = len(self.mean)
        count = 0
        mean, squares, largest = torch.zeros(3, channels, dtype=torch.float64)
        for batch in clips:
            if batch.shape[-1] != channels:
                got = f"clips of shape {tuple(batch.shape[1:])}"
                raise ShapeError(f"standardise: got {got}, expected {channels} channels")
            rows = batch.detach().cpu().double().reshape(-1, channels)
            n, centre = len(rows), rows.mean(0)
            squares += ((rows - centre) ** 2).sum(0) + (centre - mean) ** 2 * (count * n / (count + n))
            mean += (centre - mean) * (n / (count + n))
            largest = torch.maximum(largest, rows.abs().amax(0))
            count += n
        if count == 0:
            raise ShapeError("standardise: got no clip, expected the training clips")
        sd = (squares / count).sqrt()
        self.mean.copy_(mean)
        self.sd.copy_(torch.where(sd > CONSTANT * largest, sd, torch.ones_like(sd)))

    def forward(self, readings: Float[Tensor, "b *samples channels"]) -> Float[Tensor, "b *samples channels"]:
        """The same shape."""
        return (readings - self.mean) / self.sd


def calibrated(encoder: nn.Module) -> Iterator[Calibrated]:
    """What in an encoder sees clips as they are and wants to be calibrated: itself, or a sequence's first."""
    if isinstance(encoder, Calibrated):
        yield encoder
    elif isinstance(encoder, nn.Sequential) and len(encoder):
        yield from calibrated(encoder[0])


def uncalibrated(encoder: nn.Module) -> str | None:
    """What in an encoder still waits for `calibrate`, in words; None if nothing does."""
    for name, part in encoder.named_modules():
        if isinstance(part, Standardise) and not part.mean.any() and bool((part.sd == 1).all()):
            return f"its {name!r}, a Standardise" if name else "a Standardise"
    return None


def neglected(encoder: nn.Module, show: Callable[[nn.Module], None] = lambda encoder: None) -> list[str]:
    """What in an encoder has a method `calibrate` that `show(encoder)` does not come to, in words.

    Whether a part of somebody's own needs it is not known: only that nothing calls it, and that its numbers
    stay as they are. A `Standardise` is `uncalibrated`'s.
    """
    asked: set[str] = set()
    modules = dict(encoder.named_modules())
    wanting = {name: part for name, part in modules.items() if isinstance(part, Calibrated)}
    parts = {name: part for name, part in wanting.items() if not isinstance(part, Standardise)}
    before = {name: _numbers(modules[name]) for name in parts}
    attributes = {name: modules[name].__dict__ for name in parts}
    own = {name: {k: held[k] for k in held.keys() & {"calibrate"}} for name, held in attributes.items()}
    for name, part in parts.items():
        attributes[name]["calibrate"] = partial(_listen, asked, name, part.calibrate)
    try:
        show(encoder)
    finally:
        for name, held in attributes.items():
            del held["calibrate"]
            held.update(own[name])
    return [
        f"its {name!r}, a {type(part).__name__}" if name else f"a {type(part).__name__}"
        for name, part in parts.items()
        if name not in asked and all(map(_same, before[name], _numbers(modules[name])))
    ]


def _listen(asked: set[str], name: str, own: Calibrate, clips: Iterable[Tensor]) -> None:
    asked.add(name)
    own(clips)


def _numbers(part: nn.Module) -> list[Tensor]:
    numbers = (*part.parameters(), *part.buffers())
    return [number.detach().clone() for number in numbers if not is_lazy(number)]


def _same(one: Tensor, other: Tensor) -> bool:
    return bool(((one == other) | ((one != one) & (other != other))).all())
