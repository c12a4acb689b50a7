"""Grids that training does not change: of frozen encoders, and of features; they are read, not made anew."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from plait.clips import Clips, mapped
from plait.encoders.engine import digest
from plait.errors import DataError
from plait.fusion.grids import mean_of
from plait.store import atomic, cache_folder, content_key
from plait.study.config import Method
from plait.study.network import Network


def known_grids(network: Network, method: Method, donors: Mapping[str, Path], clips: Clips, device: str) -> Clips:
    """The grids of all clips by modality, as far as training does not change them; `arrays` and `shapes` are theirs.

    A frozen encoder's are made once, from clips as they are, in float16, and kept in the cache under the donor's job
    and weights. A modality without an encoder, as features are, is its own grid unless it is augmented. Where the
    method asks for nothing but the average of a grid, the averages stand for it, in float32, kept in the cache too;
    where it asks for both, they stand beside it as `mean_of` the modality. A network that computes in bfloat16 reads
    what is kept in float16 from a copy in bfloat16, as large again.

    Raises:
        DataError: a frozen encoder's grid holds values that float16 cannot.
    """
    arrays: dict[str, Path] = {}
    for modality, encoder in network.encoders.items():
        if modality in network.frozen:
            arrays[modality] = _frozen(encoder.eval(), modality, donors[modality], clips, device)
        elif isinstance(encoder, nn.Identity) and modality not in method.augment:
            arrays[modality] = clips.arrays[modality]
        else:
            continue
        grid = arrays[modality]
        if mapped(grid).ndim > 2 and modality in getattr(network.method, "averages_beside", ()):
            arrays[mean_of(modality)] = _averages(grid)
        if mapped(grid).ndim > 2 and modality in getattr(network.method, "averages", ()):
            arrays[modality] = _averages(grid)
        elif network.precision == torch.bfloat16 and mapped(grid).dtype == np.float16:
            arrays[modality] = _rounded(grid)
    return Clips(clips.table, arrays, {m: tuple(mapped(path).shape[1:]) for m, path in arrays.items()})


def _frozen(encoder: nn.Module, modality: str, donor: Path, clips: Clips, device: str) -> Path:
    """The grids of all clips under a frozen encoder."""

    def encoded(rows: np.ndarray) -> Tensor:
        grids: Tensor = encoder(clips.batch([modality], rows)[modality].to(device))
        return grids.cpu().half()

    # The donor's job stands for code and clips, its weights for what it came to, here or on another machine.
    key = content_key([donor.parent.name, modality, digest(encoder)])
    return _kept(key, len(clips.table), encoded, f"the frozen encoder of {modality}")


def _averages(path: Path) -> Path:
    """The average of every grid of an array over its positions."""
    return _derived(path, "averages", lambda grids: grids.flatten(1, -2).mean(dim=1))


def _rounded(path: Path) -> Path:
    """An array in bfloat16."""
    return _derived(path, "bfloat16", lambda grids: grids.bfloat16().view(torch.int16))


def _derived(path: Path, name: str, made: Callable[[Tensor], Tensor]) -> Path:
    """What is made of the rows of an array, in the cache."""
    array = mapped(path)
    key = content_key([path.stem, path.stat().st_size, name])
    return _kept(key, len(array), lambda rows: made(torch.from_numpy(array[rows]).float()), str(path))


def _kept(key: str, count: int, made: Callable[[np.ndarray], Tensor], what: str) -> Path:
    """An array in the cache, written batch by batch unless it stands there already; integers are bits of bfloat16."""
    path = cache_folder("grids") / f"{key}.npy"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # all that wait for it start at once: one of them makes it
        if path.exists():
            return path
        with atomic(path) as making, making.open("wb") as file, torch.inference_mode():
            for rows in np.array_split(np.arange(count), math.ceil(count / 64)):
                grids = made(rows).numpy()
                if not np.isfinite(grids).all():
                    raise DataError(f"{path}: {what} gives values too large for {grids.dtype}")
                if rows[0] == 0:
                    kind = grids.dtype.newbyteorder("<").str
                    header = {"descr": kind, "fortran_order": False, "shape": (count, *grids.shape[1:])}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(grids.tobytes())
    return path
