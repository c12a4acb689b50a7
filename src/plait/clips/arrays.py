"""Clips as one memory-mapped array per modality."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.clips.listing import Cut, listed
from plait.clips.windows import moments, window
from plait.errors import DataError
from plait.recordings.video import Forward, Video
from plait.sources import describe, source_key
from plait.store import cache_folder, content_key, read_json, scratch, write_json
from plait.types import Clip, Dataset, Modality, Stream

BFLOAT16 = np.dtype("<i2")  # in files of arrays: the bits of a kind that numpy does not know


@dataclass(frozen=True)
class Clips:
    """A clip table and, per modality, an array of one row per clip.

    `arrays` are `.npy` files that are mapped, not read, so that clips cost no memory of their own and other processes
    share them; of floats, or of the bits of bfloat16. `shapes` are the tensors' shapes without the batch axis.
    """

    table: tuple[Clip, ...]
    arrays: dict[str, Path]
    shapes: dict[str, tuple[int, ...]]

    def key(self, modalities: Sequence[str]) -> str:
        """A key of the clips' contents, as far as `modalities` go."""
        return content_key([[astuple(clip) for clip in self.table], [[m, self.arrays[m].stem] for m in modalities]])

    def of(self, subjects: Sequence[str]) -> np.ndarray:
        """Row numbers of the clips of `subjects`, in the table's order."""
        return np.array([i for i, clip in enumerate(self.table) if clip.subject in subjects], dtype=np.int64)

    def batch(self, modalities: Sequence[str], rows: np.ndarray) -> dict[str, Tensor]:
        """Tensors `(len(rows), *shape)` by modality: float32, save for what is kept in bfloat16."""
        return {name: _rows(mapped(self.arrays[name]), rows) for name in modalities}


def cut(dataset: Dataset, data: Path, modalities: Sequence[str]) -> Clips:
    """Cut every recording in `data` into clips of the named modalities: `listed`, then `stored`.

    Raises:
        DataError: as they do.
    """
    return stored(dataset, listed(dataset, data, modalities), modalities)


def stored(dataset: Dataset, cuts: Sequence[Cut], modalities: Sequence[str]) -> Clips:
    """The clips' tensors of the named modalities in the cache, cut unless they lie there already.

    An array made before from recordings of the same keys, by the same code, is found again.

    Raises:
        DataError: tensors of differing shapes, values that are not finite, or what reading a stream refuses.
    """
    made = {name: _array(dataset, dataset.modality(name), cuts) for name in modalities}
    table = tuple(clip for _, clip in cuts)
    return Clips(table, {m: path for m, (path, _) in made.items()}, {m: shape for m, (_, shape) in made.items()})


def tensors(modality: Modality, cuts: Sequence[Cut]) -> Iterator[Tensor]:
    """One modality's tensor of each clip in turn; a video's frame that several clips share is decoded once.

    Raises:
        DataError: as `stored`.
    """
    shape: tuple[int, ...] | None = None
    for recording, group in itertools.groupby(cuts, key=lambda one: one[0]):
        clips = [clip for _, clip in group]
        windows = [moments(modality, clip.start_s, clip.stop_s) for clip in clips]
        streams: dict[str, Stream] = {
            name: Forward(stream, windows) if isinstance(stream, Video) else stream
            for name, stream in ((name, recording.streams[name]) for name in modality.streams)
        }
        where = f"recording {recording.name}, modality {modality.name}"
        for clip in clips:
            try:
                tensor = window(modality, streams, clip.start_s, clip.stop_s)
            except DataError as error:
                raise DataError(f"{where}: {error}") from error
            if not _finite(tensor):
                raise DataError(f"{where}: values that are not finite, expected numbers only")
            if shape is not None and tuple(tensor.shape) != shape:
                raise DataError(f"{where}: clip of shape {tuple(tensor.shape)}, expected {shape} as in the others")
            shape = tuple(tensor.shape)
            yield tensor.to(torch.float16 if tensor.dtype == torch.float16 else torch.float32)


def _finite(tensor: Tensor) -> bool:
    """Whether all values are finite: the least and the greatest tell, for both are NaN where any value is."""
    return tensor.numel() == 0 or all(bool(end.isfinite()) for end in tensor.aminmax())


def decided_by(dataset: Dataset, modality: Modality, cuts: Sequence[Cut]) -> dict[str, Any] | None:
    """What decides the clips' tensors, in terms of JSON; None where a recording does not say what it was read from."""
    if any(recording.key is None for recording, _ in cuts):
        return None
    whole = modality.rate_hz is None
    return {
        "modality": [modality.name, modality.streams, modality.samples, modality.rate_hz, describe(modality.prepare)],
        "clips": [[recording.key, clip.start_s, clip.stop_s if whole else None] for recording, clip in cuts],
        "recordings": describe(dataset.recordings),
        "sources": source_key([dataset.recordings, modality.prepare, window]),
    }


def _array(dataset: Dataset, modality: Modality, cuts: Sequence[Cut]) -> tuple[Path, tuple[int, ...]]:
    """One modality's tensors of all clips as a `.npy` file in the cache, and the shape of one."""
    folder = cache_folder("clips")
    made_from = decided_by(dataset, modality, cuts)
    if made_from is None:
        return _made(folder, modality, cuts)
    entry = folder / f"{modality.name}-{content_key(made_from)}.json"
    if entry.exists():
        known = read_json(entry)
        if (folder / known["array"]).exists():
            return folder / known["array"], tuple(known["shape"])
    array, shape = _made(folder, modality, cuts)
    write_json(entry, {"array": array.name, "shape": shape})
    return array, shape


def _made(folder: Path, modality: Modality, cuts: Sequence[Cut]) -> tuple[Path, tuple[int, ...]]:
    """The array itself, written clip by clip and named by its contents."""
    digest = hashlib.sha256()
    shape: tuple[int, ...] = ()
    kind = "<f4"
    with scratch(folder, f"{modality.name}.npy") as making:
        with (making / "array.npy").open("wb") as file:  # plain writes: a full disk is an error here, not a crash
            for row, tensor in enumerate(tensors(modality, cuts)):
                if row == 0:
                    shape, kind = tuple(tensor.shape), "<f2" if tensor.dtype == torch.float16 else "<f4"
                    header = {"descr": kind, "fortran_order": False, "shape": (len(cuts), *shape)}
                    np.lib.format.write_array_header_1_0(file, header)
                    digest.update(str(header).encode())
                content = tensor.numpy().astype(kind, order="C").tobytes()
                digest.update(content)
                file.write(content)
        final = folder / f"{digest.hexdigest()[:32]}.npy"
        (making / "array.npy").replace(final)
    return final, shape


def _rows(array: np.ndarray, rows: np.ndarray) -> Tensor:
    """Rows of a mapped array; large ones are converted one by one as they are read, while in the processor's cache."""
    if array.dtype == BFLOAT16:
        made = torch.empty((len(rows), *array.shape[1:]), dtype=torch.bfloat16)
        for row, bits in zip(rows, made.view(torch.int16).numpy(), strict=True):
            bits[...] = array[row]
        return made
    if array[:1].size < 2**14:
        return torch.from_numpy(array[rows]).float()
    made = torch.empty((len(rows), *array.shape[1:]))
    for row, into in zip(rows, made, strict=True):
        into.copy_(torch.from_numpy(array[row : row + 1])[0])
    return made


@lru_cache(maxsize=64)
def mapped(path: Path) -> np.ndarray:
    """The array of a `.npy` file, mapped; what is written to it, is in this process alone.

    Raises:
        DataError: it cannot be read.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable .npy file; remove it and run again") from error
    return array
