"""Clips as memory-mapped arrays, per modality and recording."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from plait.clips.decided import Reading, contents_of, recipe
from plait.clips.listing import Cut, listed
from plait.clips.people import Side
from plait.clips.rows import Rows
from plait.clips.windows import moments, window
from plait.errors import ConfigError, DataError, PlaitError
from plait.recordings.video import Forward, Video
from plait.store import cache_folder, content_key, scratch, seal, sound, write_json
from plait.types import Clip, Dataset, Modality, Recording

T = TypeVar("T")


@dataclass(frozen=True)
class Clips:
    """A clip table and, per modality, an array of one row per clip, but of clips that lack the modality.

    `arrays` are mapped, not read: clips cost no memory of their own, and other processes share them. `shapes`
    are the tensors' shapes without the batch axis.
    """

    table: tuple[Clip, ...]
    arrays: dict[str, Rows]
    shapes: dict[str, tuple[int, ...]]

    def key(self, modalities: Sequence[str]) -> str:
        """A key of the clips' contents, as far as `modalities` go."""
        clips = [clip.row for clip in self.table]
        return content_key([clips, [[name, self.arrays[name].names] for name in modalities]])

    def of(self, names: Sequence[str], by: Side = "subject") -> np.ndarray:
        """Row numbers of the clips of these subjects, or sessions, in the table's order."""
        numbers, sides = self._sides(by)
        wanted = np.zeros(len(numbers), dtype=np.bool_)
        wanted[[numbers[name] for name in names if name in numbers]] = True
        rows: np.ndarray = np.flatnonzero(wanted[sides]).astype(np.int64, copy=False)
        return rows

    def holding(self, modalities: Iterable[str], rows: np.ndarray) -> np.ndarray:
        """Those of the clips in `rows` that have something of each of `modalities`."""
        wanted, (kinds, lacks) = tuple(modalities), self._lacks
        holds = np.array([set(kind).isdisjoint(wanted) for kind in kinds], dtype=np.bool_)
        held: np.ndarray = rows[holds[lacks[rows]]].astype(np.int64, copy=False)
        return held

    def alike(
        self, modalities: Iterable[str], rows: np.ndarray
    ) -> Iterator[tuple[frozenset[str], np.ndarray]]:
        """Which of `modalities` clips have, with the places in `rows` of those that have just these."""
        wanted, (kinds, lacks) = frozenset(modalities), self._lacks
        of = lacks[rows]
        found, first = np.unique(of, return_index=True)
        alike: dict[frozenset[str], list[int]] = {}
        for kind in found[np.argsort(first)].tolist():
            alike.setdefault(wanted.difference(kinds[kind]), []).append(kind)
        for held, numbers in alike.items():
            yield held, np.flatnonzero(np.isin(of, numbers)).astype(np.int64, copy=False)

    def _sides(self, by: Side) -> tuple[dict[str, int], np.ndarray]:
        """Subjects, or sessions, numbered as they are met, and whose each clip is, `(clips,)`."""
        if by not in self._numbered:
            self._numbered[by] = _numbers(getattr(clip, by) for clip in self.table)
        return self._numbered[by]

    @cached_property
    def _numbered(self) -> dict[Side, tuple[dict[str, int], np.ndarray]]:
        return {}

    @cached_property
    def _lacks(self) -> tuple[list[tuple[str, ...]], np.ndarray]:
        """What clips lack, each once, and which of these each clip does, `(clips,)`."""
        numbers, lacks = _numbers(clip.lacks for clip in self.table)
        return list(numbers), lacks

    def __reduce__(self) -> tuple[Any, ...]:
        """What goes to another process: nothing that is made of the rest."""
        return Clips, (self.table, self.arrays, self.shapes)

    def among(self, names: Sequence[str], by: Side = "subject") -> "Clips":
        """The clips of these subjects, or sessions, in the table's order: equal whoever else there is."""
        rows: list[int] = self.of(names, by).tolist()
        arrays = {name: array.among(rows) for name, array in self.arrays.items()}
        return Clips(tuple(self.table[row] for row in rows), arrays, self.shapes)

    def loaded(self, most: int, among: Iterable[str]) -> "Clips":
        """The same clips, arrays read once: of the smallest modalities, up to `most` bytes in all."""
        arrays, left = dict(self.arrays), most
        for name in sorted(among, key=lambda name: arrays[name].nbytes):
            left -= arrays[name].nbytes
            if left >= 0:
                arrays[name] = arrays[name].loaded()
        return replace(self, arrays=arrays)

    def batch(self, modalities: Sequence[str], rows: np.ndarray) -> dict[str, Tensor]:
        """Tensors `(len(rows), *shape)` by modality: float32, save for what is kept in bfloat16.

        What the first of these clips lacks is left out, and all others must lack it too.
        """
        absent = {name for name in modalities if len(rows) and not self.arrays[name].has(int(rows[0]))}
        return {name: self.arrays[name].read(rows) for name in modalities if name not in absent}


def _numbers(values: Iterable[T]) -> tuple[dict[T, int], np.ndarray]:
    """Values numbered as they are met, and the number of each, int32."""
    numbers: dict[T, int] = {}
    of = np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), dtype=np.int32)
    return numbers, of


def cut(dataset: Dataset, data: Path, modalities: Sequence[str]) -> Clips:
    """Cut every recording in `data` into clips of the named modalities: `listed`, then `stored`.

    Raises:
        DataError: as they do.
    """
    return stored(dataset, listed(dataset, data, modalities), modalities)


def stored(dataset: Dataset, cuts: Sequence[Cut], modalities: Sequence[str]) -> Clips:
    """The clips' tensors of the named modalities in the cache, cut unless they lie there already.

    What was made before of a recording of the same contents, by the same code, is found again.

    Raises:
        DataError: tensors of differing shapes, values that are not finite, a modality that all clips lack, or
            what reading a stream refuses.
    """
    arrays: dict[str, Rows] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name in modalities:
        held = rows_with(cuts, name)
        rows, shapes[name] = _store_one(dataset, dataset.modality(name), [cuts[row] for row in held])
        arrays[name] = rows.spread(held, len(cuts))
    return Clips(tuple(clip for _, clip in cuts), arrays, shapes)


def rows_with(cuts: Sequence[Cut], modality: str) -> list[int]:
    """The numbers of the clips that have something of a modality.

    Raises:
        DataError: none has.
    """
    held = [row for row, (_, clip) in enumerate(cuts) if clip.holds([modality])]
    if not held:
        raise DataError(f"no clip has anything of {modality}, expected some")
    return held


def together(cuts: Sequence[Cut]) -> list[list[int]]:
    """Which clips are kept together: those of a recording; of recordings of a single clip, a subject's.

    Whoever is added changes nothing of what the others have.
    """
    counts = Counter(recording for recording, _ in cuts)
    parts: dict[Recording | str, list[int]] = {}
    for row, (recording, clip) in enumerate(cuts):
        parts.setdefault(clip.subject if counts[recording] == 1 else recording, []).append(row)
    return list(parts.values())


def rows_of(parts: Sequence[Sequence[int]], files: Sequence[Path]) -> Rows:
    """The rows of all clips, of which `parts` lie in `files`; files that are the same are one."""
    numbers = {file: number for number, file in enumerate(dict.fromkeys(files))}
    places = np.empty((sum(map(len, parts)), 2), dtype=np.int32)
    for part, file in zip(parts, files, strict=True):
        places[np.asarray(part), 0] = numbers[file]
        places[np.asarray(part), 1] = np.arange(len(part))
    return Rows(tuple(numbers), places)


def tensors(modality: Modality, cuts: Sequence[Cut]) -> Iterator[Tensor]:
    """One modality's tensor of each clip in turn; a video's frame that several clips share is decoded once.

    Raises:
        DataError: as `stored`.
        ConfigError: the modality's `prepare` fails, or gives no tensor.
    """
    shape: tuple[int, ...] | None = None
    for recording, group in itertools.groupby(cuts, key=lambda pair: pair[0]):
        clips = [clip for _, clip in group]
        windows = [moments(modality, clip.start_s, clip.stop_s) for clip in clips]
        streams = {name: recording.streams[name] for name in modality.streams}
        for name, stream in streams.items():
            if isinstance(stream, Video):
                streams[name] = Forward(stream, windows)
        where = f"recording {recording.name}, modality {modality.name}"
        for clip in clips:
            try:
                tensor = window(modality, streams, clip.start_s, clip.stop_s)
            except PlaitError as error:
                kind = ConfigError if isinstance(error, ConfigError) else DataError
                raise kind(f"{where}: {error}") from error
            if not isinstance(tensor, Tensor) or tensor.is_complex():
                got = f"a tensor of {tensor.dtype}" if isinstance(tensor, Tensor) else type(tensor).__name__
                raise ConfigError(f"{where}: its prepare gave {got}, expected a tensor of real numbers")
            if not _is_finite(tensor):
                raise DataError(f"{where}: values that are not finite, expected numbers only")
            shape = _check_shape(where, tuple(tensor.shape), shape)
            yield tensor.to(torch.float16 if tensor.dtype == torch.float16 else torch.float32)


def _check_shape(where: str, shape: tuple[int, ...], common: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of a clip's tensor, refused where the clips before it have another."""
    if common is not None and shape != common:
        raise DataError(f"{where}: clip of shape {shape}, expected {common} as in the others")
    return shape


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite: the least and the greatest tell, for both are NaN where any value is."""
    return tensor.numel() == 0 or all(bool(end.isfinite()) for end in tensor.aminmax())


def _store_one(dataset: Dataset, modality: Modality, cuts: Sequence[Cut]) -> tuple[Rows, tuple[int, ...]]:
    """One modality's tensors of all clips as `.npy` files in the cache, and the shape of one."""
    folder, how, reading = cache_folder("clips"), recipe(modality), Reading(dataset)
    parts, files = together(cuts), []
    common: tuple[int, ...] | None = None
    for part in parts:
        group = [cuts[row] for row in part]
        contents = contents_of(reading, modality, group)
        if contents is None:
            file, shape = _write_array(folder, modality, group)
        else:
            file, shape = cut_once(modality, group, {**how, **contents})
        common = _check_shape(f"recording {group[0][0].name}, modality {modality.name}", shape, common)
        files.append(file)
    assert common is not None  # there is no table without clips
    return rows_of(parts, files), common


def cut_once(
    modality: Modality,
    cuts: Sequence[Cut],
    decided: Mapping[str, Any],
    more: Callable[[int], object] = lambda clips: None,
) -> tuple[Path, tuple[int, ...]]:
    """The file of clips that are kept together, found by what decides them or cut now, and a clip's shape.

    Args:
        modality: of the clips.
        cuts: the clips.
        decided: all that decides what they are.
        more: told how many more are cut.

    Raises:
        DataError: as `stored`.
    """
    if found := kept(decided):
        return found
    folder = cache_folder("clips")
    file, shape = _write_array(folder, modality, cuts, more)
    write_json(_entry(decided), {"array": file.name, "shape": shape})
    return file, shape


def kept(decided: Mapping[str, Any]) -> tuple[Path, tuple[int, ...]] | None:
    """The file in the cache of clips that are decided so, and a clip's shape; None if it is to be made."""
    entry = _entry(decided)
    if not entry.exists():
        return None
    try:
        saved = json.loads(entry.read_bytes())
        file, shape = entry.parent / Path(saved["array"]).name, tuple(map(int, saved["shape"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # made again
    return (file, shape) if sound(file) else None


def _entry(decided: Mapping[str, Any]) -> Path:
    """The file that says where clips lie that are decided so."""
    return cache_folder("clips") / f"of-{content_key(decided)}.json"


def _write_array(
    folder: Path, modality: Modality, cuts: Sequence[Cut], more: Callable[[int], object] = lambda clips: None
) -> tuple[Path, tuple[int, ...]]:
    """The file itself, written clip by clip and named by its contents, and the shape of a clip."""
    digest = hashlib.sha256()
    shape: tuple[int, ...] = ()
    kind = "<f4"
    with scratch(folder, "clips.npy") as making:
        # Plain writes: a full disk is an error here, not a crash.
        with (making / "array.npy").open("wb") as file:
            for row, tensor in enumerate(tensors(modality, cuts)):
                if row == 0:
                    shape, kind = tuple(tensor.shape), "<f2" if tensor.dtype == torch.float16 else "<f4"
                    header = {"descr": kind, "fortran_order": False, "shape": (len(cuts), *shape)}
                    np.lib.format.write_array_header_1_0(file, header)
                    digest.update(str(header).encode())
                content = tensor.numpy().astype(kind, order="C").tobytes()
                digest.update(content)
                file.write(content)
                more(1)
        final = folder / f"{digest.hexdigest()[:32]}.npy"
        seal(making / "array.npy", final, {"made": f"clips of {modality.name}"})
        (making / "array.npy").replace(final)
    return final, shape
