"""Grids that training does not change: of frozen encoders, and of features; they are read, not made anew."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from plait.clips import Clips, Rows, mapped
from plait.clips.rows import BFLOAT16
from plait.compute.machine import numerics
from plait.config import Method
from plait.contents import network_key
from plait.errors import DataError
from plait.features.rounding import Rounding
from plait.fusion.contraction import average
from plait.fusion.grids import mean_of
from plait.store import cache_folder, content_key, made_once
from plait.training.network import Network, grid_shape

FORMAT = 3  # of the arrays that are derived here: another number, and they are made anew
_HALF = np.dtype("<f2")


def known_grids(
    network: Network,
    method: Method,
    donors: Mapping[str, Path],
    clips: Clips,
    device: str,
    folder: Path | None = None,
    among: Collection[str] | None = None,
) -> Clips:
    """The grids of all clips by modality, as far as training does not change them.

    A frozen encoder's are made once, from clips as they are, and kept in the cache in float16 under the
    donor's job and weights. A modality without an encoder, as features are, is its own grid unless it is
    augmented. Means that the method `Reads` stand beside or instead of the grid as `mean_of` the modality, in
    float32 and in the cache too. A network that computes in bfloat16 reads float16 from a copy in bfloat16,
    as large again.

    Args:
        network: whose grids these are, with the donors' weights.
        method: what it was built from.
        donors: the file of a frozen encoder's weights in its donor's job, by modality.
        clips: what the method is given.
        device: what frozen encoders compute on.
        folder: where arrays are kept; by default the cache's.
        among: the modalities that are asked for; by default all.

    Raises:
        DataError: a frozen encoder's grid holds values that float16 cannot, or the cache cannot be written.
    """
    kept = folder or cache_folder("grids")
    arrays: dict[str, Rows] = {}
    for modality in _known(network, method):
        if among is not None and modality not in among:
            continue
        encoder, grid = network.encoders[modality], clips.arrays[modality]
        if type(encoder) is not nn.Identity:
            grid = _frozen(encoder.eval(), modality, donors[modality], clips, device, kept)
        forms = _forms(network, modality, grid.shape, grid.dtype)
        if forms.grid:
            arrays[modality] = _rounded(grid, modality, kept) if forms.rounded else grid
        if forms.mean:
            arrays[mean_of(modality)] = _means(grid, kept)
    return Clips(clips.table, arrays, {m: rows.shape for m, rows in arrays.items()})


def drawn_grids(network: Network, method: Method, clips: Clips, count: int) -> dict[str, Tensor]:
    """Random numbers in the place of what `known_grids` gives, of the same shapes and kinds.

    Args:
        network: whose grids are meant.
        method: what it was built from.
        clips: what the method is given.
        count: of how many clips.
    """
    grids: dict[str, Tensor] = {}
    for modality in _known(network, method):
        encoder, array = network.encoders[modality], clips.arrays[modality]
        features = type(encoder) is nn.Identity
        shape = array.shape if features else grid_shape(encoder, clips.shapes[modality])
        forms = _forms(network, modality, shape, array.dtype if features else _HALF)
        grid = torch.rand(count, *shape)
        if forms.grid:
            grids[modality] = grid.bfloat16() if forms.rounded else grid
        if forms.mean:
            grids[mean_of(modality)] = average(grid)
    return grids


def _known(network: Network, method: Method) -> list[str]:
    """The modalities whose grids training does not change."""
    return [
        modality
        for modality, encoder in network.encoders.items()
        if modality in network.frozen or (type(encoder) is nn.Identity and modality not in method.augment)
    ]


class _Forms(NamedTuple):
    """The forms in which a method is given a known grid: itself, in bfloat16 if `rounded`, and its mean."""

    grid: bool
    rounded: bool
    mean: bool


def _forms(network: Network, modality: str, shape: tuple[int, ...], dtype: np.dtype) -> _Forms:
    reads, has_positions = network.reads, len(shape) > 1
    alone = has_positions and modality in reads.mean
    rounded = network.precision == torch.bfloat16 and dtype == np.float16
    return _Forms(not alone, rounded, alone or (has_positions and modality in reads.both))


def _frozen(encoder: nn.Module, modality: str, donor: Path, clips: Clips, device: str, folder: Path) -> Rows:
    """The grids of all clips under a frozen encoder, of each file's by themselves, in one file."""
    array = clips.arrays[modality]
    # The donor's job stands for code and clips, its weights for what it came to, here or on another machine.
    how = [network_key(encoder), device, torch.get_num_threads(), numerics(device), FORMAT]
    key = content_key([donor.parent.name, modality, *how, [file.stem for file in array.files]])
    parts, rounding = [Rows.of(file) for file in array.files], Rounding()

    def encode(part: Rows, rows: np.ndarray) -> Tensor:
        grids: Tensor = encoder(part.read(rows).to(device)).cpu()
        rounding.add(grids)
        return grids.half()

    grids = (encode(part, rows) for part in parts for rows in _batches(len(part)))
    path = folder / f"{key}.npy"
    _keep(path, sum(map(len, parts)), _HALF, grids, f"the frozen encoder of {modality}")
    expected = "expected one that centres or scales what it gives, for a frozen one's grids are kept so"
    rounding.tell(f"encoders.{modality}: ", expected)
    return array.behind_each_other(path)


def _means(grid: Rows, folder: Path) -> Rows:
    """The mean over its positions of every clip's grid."""
    how = ["averages", torch.get_num_threads(), numerics(), FORMAT]
    return _derived(grid, folder, how, np.dtype("<f4"), lambda x: x.flatten(1, -2).mean(dim=1))


def _rounded(grid: Rows, modality: str, folder: Path) -> Rows:
    """Every clip's grid in bfloat16."""
    rounding = Rounding(torch.bfloat16)
    rounded = _derived(grid, folder, ["bfloat16", FORMAT], BFLOAT16, partial(_round, rounding))
    rounding.tell(
        f"train.precision: of {modality}, ", "expected features that are centred or scaled, or float32"
    )
    return rounded


def _round(rounding: Rounding, grids: Tensor) -> Tensor:
    """The bits of grids in bfloat16; `rounding` looks at what that takes from them."""
    rounding.add(grids)
    return grids.bfloat16().view(torch.int16)


def _derived(
    grid: Rows, folder: Path, how: list[Any], dtype: np.dtype, derive: Callable[[Tensor], Tensor]
) -> Rows:
    """What `derive` makes of every clip's grid, in `folder`, of each file's by themselves."""

    def make(file: Path) -> Path:
        array = mapped(file)
        key = content_key([file.stem, file.stat().st_size, how])

        def derive_rows(rows: np.ndarray) -> Tensor:
            return derive(torch.from_numpy(array[rows]).float())

        path = folder / f"{key}.npy"
        _keep(path, len(array), dtype, map(derive_rows, _batches(len(array))), f"{how[0]} of {file}")
        return path

    return grid.made(make)


def _batches(count: int) -> list[np.ndarray]:
    """The numbers of rows that are worked on at once."""
    return np.array_split(np.arange(count), math.ceil(count / 64))


def _keep(path: Path, count: int, dtype: np.dtype, made: Iterable[Tensor], origin: str) -> None:
    """An array of `count` rows at `path`, written as batches are `made`, unless it stands there already."""
    with made_once(path, said={"made": origin}) as making, torch.inference_mode():
        if making is None:
            return
        with making.open("wb") as file:
            for batch in made:
                rows = batch.numpy().astype(dtype, copy=False)
                if not np.isfinite(rows).all():
                    raise DataError(f"{path}: {origin} gives values too large for {dtype}")
                if file.tell() == 0:
                    header = {"descr": dtype.str, "fortran_order": False, "shape": (count, *rows.shape[1:])}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(rows.tobytes())
