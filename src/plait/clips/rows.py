"""Several `.npy` files read as one array, mapped: a file per recording, or of whatever was made at once."""

import math
import os
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.errors import DataError

BFLOAT16 = np.dtype("<i2")  # in files of arrays: the bits of a kind that numpy does not know
NOWHERE = -1, -1  # the place of a row that is in no file
LARGE = 2**14  # numbers of a row that is converted as it is read


class Rows:
    """An array of rows, each in one of `files`, at `places`: which file, and which row of it; or nowhere.

    All files hold rows of one shape, of floats or of the bits of bfloat16.

    Args:
        files: which hold them.
        places: `(file, row)` of each, or None; or int32 `(rows, 2)`, -1 for nowhere, which is not changed.
    """

    def __init__(
        self, files: tuple[Path, ...], places: Sequence[tuple[int, int] | None] | np.ndarray
    ) -> None:
        if not isinstance(places, np.ndarray):
            places = np.array([NOWHERE if found is None else found for found in places], dtype=np.int32)
        self.files, self._at = files, places.reshape(-1, 2)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rows) or type(other) is not type(self):
            return NotImplemented
        return self.files == other.files and np.array_equal(self._at, other._at)

    def __hash__(self) -> int:
        return hash((self.files, self._at.tobytes()))

    @classmethod
    def of(cls, file: Path) -> "Rows":
        """The rows of one file.

        Raises:
            DataError: it cannot be read.
        """
        rows = np.arange(len(mapped(file)), dtype=np.int32)
        return cls((file,), np.stack([np.zeros_like(rows), rows], axis=1))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._at)

    def __getitem__(self, row: int) -> np.ndarray:
        """One row as it is kept; of one that is nowhere, no numbers: shape `(0,)`."""
        file, place = self._at[row].tolist()
        if file < 0:
            return np.empty(0, self.dtype)
        values: np.ndarray = self._maps[file][place]
        return values

    def __reduce__(self) -> tuple[Any, ...]:
        """What goes to another process: no maps."""
        return Rows, (self.files, self._at)

    @property
    def places(self) -> list[tuple[int, int] | None]:
        """Which file each row is in, and which row of it; None: nowhere."""
        return [None if file < 0 else (file, place) for file, place in self._at.tolist()]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row."""
        return tuple(self._maps[0].shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """What the first file is kept in."""
        return self._maps[0].dtype

    @property
    def names(self) -> list[Any]:
        """What the rows hold, for files that are called by what is in them."""
        return [[file.stem for file in self.files], self.places]

    def among(self, rows: Sequence[int]) -> "Rows":
        """Some of the rows, and the files that hold them; equal whatever else the others held."""
        places = self._at[np.asarray(rows, dtype=np.int64)]
        met, first = np.unique(places[places[:, 0] >= 0, 0], return_index=True)
        files = met[np.argsort(first)]  # in the order in which they are met
        numbers = np.full(len(self.files) + 1, -1, dtype=np.int32)  # the last is nowhere's
        numbers[files] = np.arange(len(files))
        places[:, 0] = numbers[places[:, 0]]
        return Rows(tuple(self.files[file] for file in files.tolist()), places)

    def made(self, make: Callable[[Path], Path]) -> "Rows":
        """The same rows in what `make` makes of each file, or in where it says that the file lies."""
        return Rows(tuple(make(file) for file in self.files), self._at)

    def behind_each_other(self, file: Path) -> "Rows":
        """The same rows in one file, in which all rows of one of `files` stand before those of the next."""
        first = np.cumsum([0, *map(len, self._maps)], dtype=np.int32)
        there = self._at[:, 0] >= 0
        places = np.full_like(self._at, -1)
        places[there] = np.stack([np.zeros_like(first), first], axis=1)[self._at[there, 0]]
        places[there, 1] += self._at[there, 1]
        return Rows((file,), places)

    def has(self, row: int) -> bool:
        """Whether a row is anywhere."""
        return bool(self._at[row, 0] >= 0)

    def spread(self, at: Sequence[int], length: int) -> "Rows":
        """An array of `length` rows that has these rows at the numbers `at`, and no others."""
        if len(at) == length:
            return self
        places = np.full((length, 2), -1, dtype=np.int32)
        places[np.asarray(at, dtype=np.int64)] = self._at
        return Rows(self.files, places)

    def read(self, rows: np.ndarray) -> Tensor:
        """A tensor `(len(rows), *shape)`: float32, or what is kept in bfloat16 as it is.

        Large rows are converted one by one as they are read, while in the processor's cache.

        Raises:
            DataError: a file cannot be read, or a row is nowhere.
        """
        if (self._at[rows, 0] < 0).any():
            raise DataError("rows of clips that lack a modality, expected those of clips that have it")
        if self.dtype == BFLOAT16:
            batch = torch.empty((len(rows), *self.shape), dtype=torch.bfloat16)
            bits = batch.view(torch.int16).numpy()
            for place, row in enumerate(rows.tolist()):
                bits[place] = self[row]
            return batch
        if len(rows) == 0 or self._maps[0][:1].size >= LARGE:
            batch = torch.empty((len(rows), *self.shape))
            for row, tensor in zip(rows.tolist(), batch, strict=True):
                tensor.copy_(torch.from_numpy(self[row]))
            return batch
        if len(self.files) == 1:
            return torch.from_numpy(self._maps[0][self._at[rows, 1]]).float()
        return torch.from_numpy(np.array([self[row] for row in rows.tolist()])).float()

    @property
    def nbytes(self) -> int:
        """What all rows take in memory, as they are read."""
        return len(self) * math.prod(self.shape) * (2 if self.dtype == BFLOAT16 else 4)

    def loaded(self) -> "Rows":
        """The same rows, read once, all at the first time that some are."""
        return Loaded(self.files, self._at)

    def joined(self, into: Path) -> None:
        """Write all rows as one `.npy` file."""
        with into.open("wb") as file:
            header = {"descr": self.dtype.str, "fortran_order": False, "shape": (len(self), *self.shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for row in range(len(self)):
                file.write(np.ascontiguousarray(self[row]).tobytes())

    @cached_property
    def _maps(self) -> list[np.ndarray]:
        arrays = [mapped(file) for file in self.files]
        shape = arrays[0].shape[1:]
        for file, array in zip(self.files, arrays, strict=True):
            if array.shape[1:] != shape:
                raise DataError(f"{file}: rows of shape {array.shape[1:]}, expected {shape} as in the others")
        return arrays

    @property
    def _held(self) -> np.ndarray:
        held: np.ndarray = self._at[:, 0] >= 0
        return held


class Loaded(Rows):
    """Rows that lie in memory as soon as some have been read."""

    def read(self, rows: np.ndarray) -> Tensor:
        """As `Rows.read`."""
        if (self._at[rows, 0] < 0).any():
            return super().read(rows)  # which refuses them
        return self._values.index_select(0, self._numbers[torch.from_numpy(rows)])

    @cached_property
    def _values(self) -> Tensor:
        """All rows that are anywhere."""
        return super().read(np.flatnonzero(self._held))

    @cached_property
    def _numbers(self) -> Tensor:
        """The number of each row among these."""
        return torch.from_numpy(np.cumsum(self._held) - 1)


def mapped(path: Path) -> np.ndarray:
    """The array of a `.npy` file, mapped; what is written to it is in this process alone.

    Raises:
        DataError: it cannot be read.
    """
    try:
        state = path.stat()
        return _map(path, state.st_ino, state.st_size, state.st_mtime_ns)
    except (OSError, ValueError, EOFError, RuntimeError) as error:
        if "Cannot allocate memory" in str(error):  # the file is as it should be
            most = "or more files than a process may map (on Linux vm.max_map_count)"
            raise DataError(f"{path}: cannot be mapped: too little memory, {most}") from error
        raise DataError(f"{path}: not a readable .npy file; remove it and run again") from error


def forget_maps() -> None:
    """Let go of files that were mapped and may be gone: until then a disk keeps room for them."""
    _map.cache_clear()


@lru_cache(maxsize=4096)
def _map(path: Path, inode: int, size: int, changed_ns: int) -> np.ndarray:
    """The array; its file is closed, for there may be more of them than a process can hold open."""
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
        else:
            shape, fortran, kind = np.lib.format.read_array_header_2_0(file)
        start = file.tell()
    length = int(np.prod(shape)) * kind.itemsize
    if kind.hasobject or start + length > size:
        raise ValueError("objects, or cut short")
    whole = torch.UntypedStorage.from_file(os.fspath(path), shared=False, nbytes=start + length)
    content = torch.empty(0, dtype=torch.uint8).set_(whole).numpy()[start:]  # type: ignore[arg-type]
    array: np.ndarray = content.view(kind).reshape(shape, order="F" if fortran else "C")
    return array
