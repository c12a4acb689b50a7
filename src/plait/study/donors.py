"""Encoders that another method, the donor, has trained: their weights, and the grids of those that stay frozen."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from plait.clips import Clips
from plait.errors import DataError
from plait.store import atomic, cache_folder, content_key
from plait.study.network import Network

PHASES = {"train": "train-weights.safetensors", "refit": "weights.safetensors"}


def save_weights(network: Network, path: Path) -> None:
    """A network's parameters and buffers as a safetensors file."""
    save_file({n: w.detach().cpu().contiguous().clone() for n, w in network.state_dict().items()}, path)


def inherit(network: Network, donors: Mapping[str, Path], phase: str) -> None:
    """Give `network` the encoders, by modality, that the donors' finished jobs left in their folders.

    With refit every job leaves two networks: one that has not seen the validation subjects, for whoever still has to
    choose an epoch on them (`phase="train"`), and the refitted one (`phase="refit"`).

    Raises:
        DataError: a weights file is missing or damaged.
    """
    for modality, folder in donors.items():
        path = weights_file(folder, phase)
        prefix = f"encoders.{modality}."
        try:
            with safe_open(path, framework="pt") as file:
                weights = {n.removeprefix(prefix): file.get_tensor(n) for n in file.keys() if n.startswith(prefix)}  # noqa: SIM118 - no mapping
            network.encoders[modality].load_state_dict(weights)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise DataError(f"{path}: not readable; remove its folder and run again") from error


def weights_file(folder: Path, phase: str) -> Path:
    """Where a finished job keeps the network of `phase`; without refit there is one network for both."""
    path = folder / PHASES[phase]
    return path if path.exists() else folder / PHASES["refit"]


def frozen_grids(network: Network, donors: Mapping[str, Path], clips: Clips, phase: str, device: str) -> Clips:
    """The grids of all clips under each frozen encoder: `arrays` and `shapes` are the grids', in float16.

    They are made once, from clips as they are, and kept in the cache under the donor's key.
    """
    arrays: dict[str, Path] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for modality in network.frozen:
        made_by = weights_file(donors[modality], phase)
        path = cache_folder("grids") / f"{content_key([made_by.parent.name, made_by.name, modality])}.npy"
        if not path.exists():
            _encode(network.encoders[modality].eval(), clips, modality, device, path)
        arrays[modality], shapes[modality] = path, tuple(np.load(path, mmap_mode="r", allow_pickle=False).shape[1:])
    return Clips(clips.table, arrays, shapes)


def _encode(encoder: nn.Module, clips: Clips, modality: str, device: str, path: Path) -> None:
    """Write the grids of all clips, batch by batch."""
    with atomic(path) as made, made.open("wb") as file, torch.inference_mode():
        for rows in np.array_split(np.arange(len(clips.table)), math.ceil(len(clips.table) / 64)):
            grid = encoder(clips.batch([modality], rows)[modality].to(device)).cpu().numpy().astype("<f2")
            if rows[0] == 0:
                header = {"descr": "<f2", "fortran_order": False, "shape": (len(clips.table), *grid.shape[1:])}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(grid.tobytes())
