"""A signal's channels about the mean and spread of the training clips, whatever else is in a batch."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from plait.errors import ShapeError

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
    if (
        isinstance(encoder, Calibrated)
        and callable(encoder.calibrate)
        and not isinstance(encoder.calibrate, nn.Module)
    ):
        yield encoder
    elif isinstance(encoder, nn.Sequential) and len(encoder):
        yield from calibrated(encoder[0])


def uncalibrated(encoder: nn.Module) -> str | None:
    """What in an encoder still waits for `calibrate`, in words; None if nothing does."""
    for name, part in encoder.named_modules():
        if isinstance(part, Standardise) and not part.mean.any() and bool((part.sd == 1).all()):
            return f"its {name!r}, a Standardise" if name else "a Standardise"
    return None


def calibrates(part: nn.Module) -> bool:
    """Whether a part has a method `calibrate` that is somebody's own: no setting or part of that name."""
    attributes = vars(part)
    if "calibrate" in attributes:
        return callable(attributes["calibrate"])
    kind = next((kind for kind in type(part).__mro__ if "calibrate" in vars(kind)), None)
    return kind is not None and callable(vars(kind)["calibrate"]) and not kind.__module__.startswith("plait.")


def neglected(encoder: nn.Module, show: Callable[[nn.Module], None] = lambda encoder: None) -> list[str]:
    """Parts of somebody's own with a method `calibrate` that `show(encoder)` does not call, in words.

    Whether a part needs it is not known: only that nothing calls it and that its numbers stay as they are. Of
    parts within parts the outer one is named. plait's own need it where `uncalibrated` says so.
    """
    parts = {name: part for name, part in encoder.named_modules() if calibrates(part)}
    before = {name: _numbers(part) for name, part in parts.items()}
    called: set[str] = set()
    with ExitStack() as stack:
        for name, part in parts.items():
            stack.enter_context(_heard(part, partial(called.add, name)))
        show(encoder)
    left: list[str] = []
    for name, part in parts.items():
        inner = any(not outer or name.startswith(f"{outer}.") for outer in left)
        if not inner and name not in called and _same(before[name], _numbers(part)):
            left.append(name)
    classes = {name: type(part).__name__ for name, part in parts.items()}
    return [f"its {name!r}, a {classes[name]}" if name else f"a {classes[name]}" for name in left]


@contextmanager
def _heard(part: nn.Module, heard: Callable[[], None]) -> Iterator[None]:
    """Have `part.calibrate` call `heard` first."""
    attributes: dict[str, Any] = vars(part)
    before = {name: attributes[name] for name in ("calibrate",) if name in attributes}
    method: Any = part.calibrate
    attributes["calibrate"] = partial(_first, heard, method)
    try:
        yield
    finally:
        attributes.pop("calibrate", None)
        attributes.update(before)


def _first(heard: Callable[[], None], call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    heard()
    return call(*args, **named)


def _numbers(part: nn.Module) -> dict[str, Tensor]:
    numbers = (*part.named_parameters(), *part.named_buffers())
    return {name: number.detach().clone() for name, number in numbers if not is_lazy(number)}


def _same(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    return before.keys() == after.keys() and all(_equal(before[name], after[name]) for name in before)


def _equal(a: Tensor, b: Tensor) -> bool:
    try:
        return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())
    except (RuntimeError, NotImplementedError):  # sparse, quantised or of few bits: nothing is known of them
        return True
