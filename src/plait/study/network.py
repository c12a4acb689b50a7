"""Encoders and a method as one network: a clip's tensors -> grids -> class scores."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.errors import ConfigError, PlaitError
from plait.study.config import Method, resolve
from plait.types import Dataset


class Network(nn.Module):
    """One encoder per modality, then a method over their grids; trained as one."""

    def __init__(self, encoders: Mapping[str, nn.Module], method: nn.Module) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.method = method

    def forward(self, clip: Mapping[str, Tensor]) -> Float[Tensor, "b classes"]:
        """Logits from one tensor `(b, *shape)` per modality."""
        logits: Tensor = self.method({name: encoder(clip[name]) for name, encoder in self.encoders.items()})
        return logits


def build(method: Method, dataset: Dataset, shapes: Mapping[str, tuple[int, ...]], where: str) -> Network:
    """The network of one method, freshly initialised from torch's global generator; `where` names it in errors.

    Raises:
        ConfigError: a class is not found, or does not take its arguments.
        PlaitError: what the encoders and the method themselves refuse.
    """
    encoders: dict[str, nn.Module] = {}
    for name in method.modalities:
        own = method.encoders.get(name)
        make = resolve(own.use, f"{where}.encoders.{name}.use") if own else dataset.modality(name).encoder
        encoders[name] = _made(make, (shapes[name],), own.args if own else {}, f"{where}.encoders.{name}")
    grids = {name: grid_shape(encoder, shapes[name]) for name, encoder in encoders.items()}
    assert method.use is not None
    use = resolve(method.use, f"{where}.use")
    return Network(encoders, _made(use, (grids, len(dataset.activities)), method.args, f"{where}.args"))


def grid_shape(encoder: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an encoder's grid without the batch axis, by a dry run on zeros."""
    training = encoder.training
    with torch.no_grad():
        grid = encoder.eval()(torch.zeros(2, *shape))
    encoder.train(training)
    return tuple(grid.shape[1:])


def _made(make: object, positional: tuple[object, ...], named: Mapping[str, object], where: str) -> nn.Module:
    try:
        made = make(*positional, **named)  # type: ignore[operator]
    except PlaitError as error:
        raise type(error)(f"{where}: {error}") from error
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"{where}: made a {type(made).__name__}, expected a torch.nn.Module")
    return made
