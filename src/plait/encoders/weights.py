"""Weights from a file: nothing but tensors is ever read."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from plait.errors import DataError


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of one that `torch.save` wrote.

    Raises:
        DataError: it cannot be read, is cut short, or holds anything else than tensors by name, such as code.
    """
    expected = "expected a network's weights as .pt or .safetensors"
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: no file, {expected}")
    try:
        safe = path.suffix == ".safetensors"
        weights = load_file(path) if safe else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, ... by the damage
        kind = "cannot be read" if isinstance(error, OSError | SafetensorError) else "holds no plain weights"
        raise DataError(f"{path}: {kind}, {expected}") from error
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise DataError(f"{path}: holds no tensors by name, {expected}")
    return dict(weights)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy the weights that `network` has from `weights`; others are left aside.

    Raises:
        DataError: a weight is missing or of another shape; `path` names the file.
    """
    for name, tensor in network.state_dict().items():
        weight = weights.get(name)
        if weight is None and name.endswith("num_batches_tracked"):  # older files do not count
            continue
        if weight is None or weight.shape != tensor.shape:
            got = "nothing" if weight is None else tuple(weight.shape)
            raise DataError(f"{path}: {name}: {got}, expected a tensor of shape {tuple(tensor.shape)}")
        tensor.copy_(weight)
