"""Encoders that another method, the donor, has trained: their weights, and the grids of those that stay frozen."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from plait.clips import Clips, mapped
from plait.encoders.engine import digest
from plait.errors import DataError
from plait.store import atomic, cache_folder, content_key
from plait.study.network import Network

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
            with safe_open(path, framework="pt") as file:
                weights = {n.removeprefix(prefix): file.get_tensor(n) for n in file.keys() if n.startswith(prefix)}  # noqa: SIM118 - no mapping
            network.encoders[modality].load_state_dict(weights)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise DataError(f"{path}: not readable; remove its folder and run again") from error


def frozen_grids(network: Network, donors: Mapping[str, Path], clips: Clips, device: str) -> Clips:
    """The grids of all clips under each frozen encoder: `arrays` and `shapes` are the grids', in float16.

    They are made once, from clips as they are, and kept in the cache under the donor's job and weights.

    Raises:
        DataError: a grid holds values that float16 cannot.
    """
    arrays: dict[str, Path] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for modality in network.frozen:
        encoder = network.encoders[modality].eval()
        # The donor's job stands for code and clips, its weights for what it came to, here or on another machine.
        key = content_key([donors[modality].parent.name, modality, digest(encoder)])
        path = cache_folder("grids") / f"{key}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):  # all that wait for a donor start at once: one of them encodes
                if not path.exists():
                    _encode(encoder, clips, modality, device, path)
        arrays[modality], shapes[modality] = path, tuple(mapped(path).shape[1:])
    return Clips(clips.table, arrays, shapes)


def _encode(encoder: nn.Module, clips: Clips, modality: str, device: str, path: Path) -> None:
    """Write the grids of all clips, batch by batch."""
    with atomic(path) as made, made.open("wb") as file, torch.inference_mode():
        for rows in np.array_split(np.arange(len(clips.table)), math.ceil(len(clips.table) / 64)):
            grid = encoder(clips.batch([modality], rows)[modality].to(device)).cpu().numpy().astype("<f2")
            if not np.isfinite(grid).all():
                raise DataError(f"{path}: the frozen encoder of {modality} gives values too large for float16")
            if rows[0] == 0:
                header = {"descr": "<f2", "fortran_order": False, "shape": (len(clips.table), *grid.shape[1:])}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(grid.tobytes())
