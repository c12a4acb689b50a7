"""A frozen encoder over clips, once: their grids in a memory-mapped float16 array for each recording."""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, is_dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import polars as pl
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor, nn

from plait.clips import Cut, Rows, tensors
from plait.clips.arrays import contents_of, recipe, rows_of, together
from plait.compute.ahead import ahead
from plait.compute.cluster import Cluster
from plait.compute.machine import settled, settled_numerics, wide_products
from plait.contents import describe, network_key, settings
from plait.errors import ConfigError, DataError, own_code
from plait.features.cut import drawn_alike, front_of, tuned_of
from plait.features.engine import Encode, accelerate, engine_version
from plait.objects import resolve, source_key
from plait.progress import Progress, Step, silent
from plait.store import atomic, cache_folder, content_key, made_once, sound
from plait.types import Dataset, Modality, Recording, Stream

T = TypeVar("T")
SAID_S = 5.0  # between two words on progress
SHARES, MOST_CLIPS = 4, 64  # tasks for each place on a cluster; clips of one
AT_ONCE = 64  # arrays that are locked together, and made in one go


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Extraction:
    """How features are made.

    Args:
        use: the encoder, `"package.module:Name"`, called with the clip's shape and `args`.
        args: its settings.
        engine: what runs it.
        batch: clips at once.
        cut: names or patterns of its blocks: features are the activations in front of the first of these.
    """

    use: str
    args: dict[str, Any] = field(default_factory=dict)
    engine: Literal["torch", "compile", "openvino"] = "torch"
    batch: Annotated[int, Field(ge=1, le=4096)] = 1
    cut: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The encoder's name, without its module."""
        return self.use.rpartition(":")[2]


@dataclass(frozen=True)
class Features:
    """Where they lie: `rows` of `(*grid)`, float16, one per clip in `cuts`; `settings` made them."""

    rows: Rows
    cuts: Sequence[Cut]
    settings: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one clip's grid."""
        return self.rows.shape

    def written(self) -> tuple[Path, Path]:
        """One array of all rows in the cache, and its index, a row per clip in the same order.

        Raises:
            DataError: the cache cannot be written.
        """
        clips = [clip.row for _, clip in self.cuts]
        array = cache_folder("features") / f"all-{content_key([self.rows.names, clips])}.npy"
        index = array.with_suffix(".parquet")
        with made_once(array, said={"made": "a copy of features, as one array"}) as making:
            if making is not None:
                self.rows.joined(making)
        columns = ["row", "clip", "recording", "subject", "activity", "start_s", "stop_s", "session"]
        table = pl.DataFrame([(row, *clip) for row, clip in enumerate(clips)], columns, orient="row")
        with atomic(index) as making:
            table.write_parquet(making)
        return array, index


def extract(
    dataset: Dataset,
    cuts: Sequence[Cut],
    name: str,
    how: Extraction,
    *,
    device: str = "cpu",
    threads: int | None = None,
    where: str = "features",
    progress: Progress = silent,
    cluster: Cluster | None = None,
) -> Features:
    """The features of one modality of all clips, found in the cache or made now.

    They are kept for each recording (of recordings of one clip, for each subject) under a key of the
    encoder's weights, settings and code, the engine with its version, the threads, what else decides numbers
    here, and the contents of its clips. Of an encoder that is `cut` the key holds the weights behind the cut,
    too: whoever trains these begins with them, and a job is known by what it is given. Batches never hold
    clips of two of these files. What is written stays: a run that is stopped goes on from there, and comes to
    the same files.

    Args:
        dataset: whose clips these are.
        cuts: the clips, in the order of the rows.
        name: the modality's.
        how: the encoder and how it is run.
        device: where it is run.
        threads: of torch, by default as many as it has now; of a cluster, its own.
        where: the setting that errors name.
        progress: called with clips done, clips in all, and what is being done.
        cluster: its nodes share the batches, which are the same ones.

    Raises:
        ConfigError: the encoder or the engine cannot be had, or gives no tensor; or it, `prepare` or
            `recordings` hold something whose content cannot be told.
        DataError: a clip cannot be read, or gives values that float16 cannot hold.
        PlaitError: what the encoder refuses.
    """
    modality = dataset.modality(name)
    before = torch.get_num_threads()
    threads = cluster.threads if cluster else threads or before
    encoder, decided = _decide(cuts, modality, how, device, threads, where)
    parts = together(cuts)
    files = kept_in(dataset, modality, [[cuts[row] for row in part] for part in parts], decided)
    pairs = zip(parts, files, strict=True)
    missing = {file: [cuts[row] for row in part] for part, file in pairs if not sound(file)}
    encode = _Encode(encoder, how, device, where)
    title = f"{name} through {how.name}"
    standing = len(cuts) - sum(map(len, missing.values()))
    count = _Count(progress, f"clips of {title}", len(cuts), standing)
    torch.set_num_threads(threads)
    try:
        for group in _batched(list(missing), AT_ONCE):
            with ExitStack() as locks:
                arrays: dict[Path, _Array] = {}
                for file in sorted(group):  # so do other runs: nobody waits for somebody who waits for them
                    lock = ExitStack()
                    seal = {"settings": decided, "made": title}
                    part = lock.enter_context(made_once(file, resumed=True, said=seal))
                    locks.push(lock)
                    if part is None:
                        count(len(missing[file]))  # another run has made it meanwhile
                    else:
                        arrays[file] = _Array(part, missing[file], lock)
                unfinished = [arrays[file] for file in group if file in arrays]
                _fill(unfinished, modality, encode, count, cluster)
    finally:
        torch.set_num_threads(before)
    return Features(rows_of(parts, files), cuts, decided)


def _batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _decide(
    cuts: Sequence[Cut], modality: Modality, how: Extraction, device: str, threads: int, where: str
) -> tuple[nn.Module, dict[str, Any]]:
    """The encoder, and all that decides the features of whatever clips, in terms of JSON."""
    shape = tuple(next(tensors(modality, cuts[:1])).shape)
    make, encoder = resolve(how.use, where), frozen_encoder(how, shape, where)
    classes = {type(part) for part in encoder.modules()}
    parts = sorted(classes, key=lambda cls: (cls.__module__, cls.__qualname__))
    return encoder, {
        "encoder": describe(make),
        "args": settings(how.args),
        "weights": network_key(encoder),
        "shape": shape,
        "engine": engine_version(how.engine),
        "batch": how.batch,
        "device": device,
        "threads": threads,
        "torch": torch.__version__,
        "sources": source_key([make, *parts, accelerate]),
        "clips": recipe(modality),
        "numerics": settled_numerics(device),
        **({"cut": [how.cut, network_key(tuned_of(make, how.args, how.cut, where))]} if how.cut else {}),
    }


def frozen_encoder(how: Extraction, shape: tuple[int, ...], where: str) -> nn.Module:
    """The encoder of features, as it always is: what it draws at random is the same.

    Args:
        how: which one.
        shape: of a clip's tensor.
        where: the setting that errors name.

    Raises:
        PlaitError: it cannot be had.
    """
    make = resolve(how.use, where)
    if how.cut:
        encoder = front_of(make, shape, how.args, how.cut, where)
    else:
        encoder = drawn_alike(make, shape, how.args, where)
    return encoder.eval().requires_grad_(False)


def kept_in(
    dataset: Dataset, modality: Modality, parts: Sequence[Sequence[Cut]], decided: Mapping[str, Any]
) -> list[Path]:
    """Where features lie, or will.

    Args:
        dataset: whose clips these are.
        modality: of the clips.
        parts: the clips of each file.
        decided: what decides the features of whatever clips.
    """
    keys = [content_key([decided, _content(dataset, modality, part)]) for part in parts]
    return [cache_folder("features") / f"{key}.npy" for key in keys]


def _content(dataset: Dataset, modality: Modality, cuts: Sequence[Cut]) -> Any:
    """What of the recordings' contents the clips are or, where these do not say, a hash of the clips."""
    contents = contents_of(dataset, modality, cuts)
    if contents is not None:
        return contents
    digest = sha256()
    for tensor in tensors(modality, cuts):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


@dataclass
class _Count:
    """Progress: of all clips, so many are done."""

    progress: Progress
    title: str
    total: int
    done: int
    reported_s: float = -math.inf

    def __call__(self, more: int) -> None:
        self.done += more
        if self.done == self.total or time.monotonic() - self.reported_s > SAID_S:
            state: Literal["begins", "done"] = "done" if math.isfinite(self.reported_s) else "begins"
            self.reported_s = time.monotonic()
            self.progress(Step(self.done, self.total, self.title, state))


@dataclass
class _Encode:
    """The encoder, and how it is run over clips, batch by batch."""

    encoder: nn.Module
    how: Extraction
    device: str
    where: str
    run: Encode | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _Encode, (self.encoder, self.how, self.device, self.where)  # `run` is made anew elsewhere

    def __call__(self, clips: Iterator[Tensor], counts: Sequence[int]) -> Iterator[np.ndarray]:
        """The rows of each batch, `(batch, *grid)`, float16, while the next clips are decoded.

        A batch holds clips of one of the groups that follow each other, of `counts` clips.
        """
        size, name = self.how.batch, self.how.name
        for batch in ahead(_batches(clips, size, counts)):
            short = size - len(batch)
            full = torch.cat([batch, batch[-1:].expand(short, *batch.shape[1:])]) if short else batch
            full = full.float().to(self.device)
            failure = f"{self.where}: {name} fails on clips of {tuple(full.shape[1:])}"
            with own_code(failure, passing=(OSError,)):
                self.run = self.run or accelerate(self.encoder.to(self.device), full, self.how.engine)
                with settled(), wide_products():
                    grid = self.run(full)
            if not isinstance(grid, Tensor) or grid.ndim < 2 or len(grid) != size:
                got = f"shape {tuple(grid.shape)}" if isinstance(grid, Tensor) else type(grid).__name__
                raise ConfigError(f"{self.where}: {name} gave {got}, expected a tensor of {size} grids")
            with np.errstate(over="ignore"):
                rows = grid[: len(batch)].cpu().numpy().astype("<f2")
            if not np.isfinite(rows).all():
                raise DataError(f"{self.where}: {name} gives values that are not finite in float16")
            yield rows


class _Array(NamedTuple):
    """An unfinished array, the clips that are to be in it, and the lock to be closed once they are."""

    part: Path
    cuts: Sequence[Cut]
    lock: ExitStack


def _fill(
    arrays: Sequence[_Array], modality: Modality, encode: _Encode, count: _Count, cluster: Cluster | None
) -> None:
    """Append what is missing to unfinished arrays; each takes its place as soon as it holds all."""
    lengths = [_trim(array.part, len(array.cuts), encode.how.batch) for array in arrays]
    count(sum(lengths))
    missing = [array.cuts[length:] for length, array in zip(lengths, arrays, strict=True)]
    if cluster and any(missing):
        batches = _shared(cluster, modality, [cuts for cuts in missing if cuts], encode)
    else:
        clips = tensors(modality, [cut for cuts in missing for cut in cuts])
        batches = encode(clips, [len(cuts) for cuts in missing])
    for array, length in zip(arrays, lengths, strict=True):
        total = len(array.cuts)
        if length < total:
            with array.part.open("r+b" if array.part.exists() else "w+b") as file:
                file.seek(0, os.SEEK_END)
                while length < total:
                    rows = next(batches)
                    if length == 0:
                        header = {"descr": "<f2", "fortran_order": False, "shape": (total, *rows.shape[1:])}
                        np.lib.format.write_array_header_1_0(file, header)
                    file.write(rows.tobytes())
                    file.flush()
                    length += len(rows)
                    count(len(rows))
                os.fsync(file.fileno())
        array.lock.close()


def _shared(
    cluster: Cluster, modality: Modality, parts: Sequence[Sequence[Cut]], encode: _Encode
) -> Iterator[np.ndarray]:
    """The rows that the nodes of a cluster make, in order; a task is some whole batches of one part."""
    encoder = cluster.keep(encode)
    share = min(math.ceil(sum(map(len, parts)) / (SHARES * cluster.room())), MOST_CLIPS)
    size = math.ceil(share / encode.how.batch) * encode.how.batch
    recordings = {recording: _moved(recording, modality, {}) for cuts in parts for recording, _ in cuts}

    def tasks() -> Iterator[tuple[list[Path], tuple[Any, ...]]]:
        for part in parts:
            for batch in _batched(part, size):
                cuts = [(recordings[recording], clip) for recording, clip in batch]
                streams = [stream for recording, _ in cuts for stream in recording.streams.values()]
                files = dict.fromkeys(file for file in map(_file, streams) if file)
                yield list(files), (encoder, modality, cuts)

    return cluster.each(_encode_share, tasks())


def _encode_share(
    where: Mapping[Path, Path], encode: _Encode, modality: Modality, cuts: Sequence[Cut]
) -> np.ndarray:
    """The rows of some clips, whose recordings' files lie where `where` says."""
    recordings = {recording: _moved(recording, modality, where) for recording, _ in cuts}
    here = [(recordings[recording], clip) for recording, clip in cuts]
    return np.concatenate(list(encode(tensors(modality, here), [len(here)])))


def _moved(recording: Recording, modality: Modality, where: Mapping[Path, Path]) -> Recording:
    """The streams that `modality` needs, nothing of them read yet, from where their files lie."""
    streams = {name: recording.streams[name] for name in modality.streams}
    for name, stream in streams.items():
        if file := _file(stream):
            streams[name] = replace(cast(Any, stream), file=where.get(file, file))
    return replace(recording, streams=streams)


def _file(stream: Stream) -> Path | None:
    """The `file` of a stream that is a dataclass and reads it when asked, as those of plait that do."""
    file = getattr(stream, "file", None)
    return file if is_dataclass(stream) and isinstance(file, Path) else None


def _trim(part: Path, total: int, batch: int) -> int:
    """Cut off what an unfinished array holds behind whole batches; how many clips are left."""
    if not part.exists():
        return 0
    with part.open("r+b") as file:
        try:
            np.lib.format.read_magic(file)
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
            start, row = file.tell(), int(np.prod(shape[1:])) * kind.itemsize
        except ValueError:
            start, row = 0, 0
        held = (file.seek(0, os.SEEK_END) - start) // row if row else 0
        done = total if held >= total else held // batch * batch
        file.seek(start + done * row if done else 0)
        file.truncate()
    return done


def _batches(clips: Iterator[Tensor], size: int, counts: Sequence[int]) -> Iterator[Tensor]:
    """Stacks of `size` clips; the last of each group of so many clips may be smaller."""
    for count in counts:
        for start in range(0, count, size):
            yield torch.stack([next(clips) for _ in range(min(size, count - start))])
