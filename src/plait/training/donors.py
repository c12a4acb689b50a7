"""Encoders that another method, the donor, has trained: their weights."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file

from plait.encoders.weights import read_weights
from plait.errors import DataError
from plait.training.network import Network

# With refit a job leaves two networks: one that has not seen the validation subjects, for whoever still has to choose
# an epoch on them, and the one that was trained once more.
WEIGHTS, TRAIN_WEIGHTS = "weights.safetensors", "train-weights.safetensors"


def save_weights(network: Network, path: Path) -> None:
    """A network's parameters and buffers as a safetensors file."""
    save_file({n: w.detach().cpu().contiguous().clone() for n, w in network.state_dict().items()}, path)


def inherit(network: Network, donors: Mapping[str, Path]) -> None:
    """Give `network` the encoders, by modality, of the donors' networks, kept in these files.

    Raises:
        DataError: a file is missing or damaged.
    """
    for modality, path in donors.items():
        prefix = f"encoders.{modality}."
        try:
            held = read_weights(path)
            weights = {name.removeprefix(prefix): held[name] for name in held if name.startswith(prefix)}
            network.encoders[modality].load_state_dict(weights)
        except (DataError, RuntimeError) as error:
            raise DataError(f"{path}: not readable; remove its folder and run again") from error
