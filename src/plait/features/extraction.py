"""A frozen encoder over clips, once: their grids in a memory-mapped float16 array for each recording."""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field, is_dataclass, replace
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
from plait.compute.cluster import Cluster
from plait.compute.machine import settled, settled_numerics, wide_products
from plait.contents import describe, network_key, settings
from plait.errors import ConfigError, DataError, own_code
from plait.features.engine import Encode, accelerate, engine_version
from plait.objects import made, resolve, source_key
from plait.store import atomic, cache_folder, content_key, made_once, sound
from plait.types import Dataset, Modality, Recording, Stream

T = TypeVar("T")
Progress = Callable[[int, int, str], None]
SAID_S = 5.0  # between two words on progress
SHARES, MOST_CLIPS = 4, 64  # tasks for each place on a cluster; clips of one
AT_ONCE = 64  # arrays that are locked together, and made in one go


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Extraction:
    """How features are made: `use`, an encoder's `"package.module:Name"`, called with the clip's shape and `args`.

    `engine` runs it, on `batch` clips at once.
    """

    use: str
    args: dict[str, Any] = field(default_factory=dict)
    engine: Literal["torch", "compile", "openvino"] = "torch"
    batch: Annotated[int, Field(ge=1, le=4096)] = 1

    @property
    def name(self) -> str:
        """The encoder's name, without its module."""
        return self.use.rpartition(":")[2]


@dataclass(frozen=True)
class Features:
    """Where they lie: `rows` of `(*grid)`, float16, one per clip in the order of `cuts`; `settings` made them."""

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
        folder = cache_folder("features")
        made_of = [self.rows.names, [astuple(clip) for _, clip in self.cuts]]
        array = folder / f"all-{content_key(made_of)}.npy"
        with made_once(array, said={"made": "a copy of features, as one array"}) as making:
            if making is not None:
                self.rows.joined(making)
        with atomic(array.with_suffix(".parquet")) as index:
            _index(self.cuts).write_parquet(index)
        return array, array.with_suffix(".parquet")


def extract(
    dataset: Dataset,
    cuts: Sequence[Cut],
    name: str,
    how: Extraction,
    *,
    device: str = "cpu",
    threads: int | None = None,
    where: str = "features",
    progress: Progress = lambda done, total, label: None,
    cluster: Cluster | None = None,
) -> Features:
    """The features of modality `name` of all clips, found in the cache or made now.

    They are kept for each recording (of recordings of one clip, for each subject) under a key of the encoder's weights,
    settings and code, the engine with its version, `threads` (by default torch's), what else decides numbers here, and
    the contents of its clips. Batches never hold clips of two of these. Those that are written stay: whoever is stopped
    goes on from there, and comes to the same files. `where` names the setting in errors; `progress` is told clips done,
    clips in all, and what is being done. The nodes of a `cluster` share the work; the batches are the same.

    Raises:
        ConfigError: the encoder or the engine cannot be had, or gives no tensor; or it, `prepare` or `recordings` hold
            something whose content cannot be told.
        DataError: a clip cannot be read, or gives values that float16 cannot hold.
        PlaitError: what the encoder refuses.
    """
    modality = dataset.modality(name)
    before = torch.get_num_threads()
    threads = cluster.threads if cluster else threads or before
    encoder, shared = _decided(dataset, cuts, modality, how, device, threads, where)
    parts = together(cuts)
    files = kept_in(dataset, modality, [[cuts[row] for row in part] for part in parts], shared)
    missing = {
        file: [cuts[row] for row in part] for part, file in zip(parts, files, strict=True) if not sound(file)
    }
    encode = _Encode(encoder, how, device, where)
    said = {"settings": shared, "made": f"{name} through {how.name}"}
    standing = sum(len(part) for part, file in zip(parts, files, strict=True) if file not in missing)
    told = _Told(progress, f"clips of {name} through {how.name}", len(cuts), standing)
    torch.set_num_threads(threads)
    try:
        for some in _by(AT_ONCE, list(missing)):
            with ExitStack() as all_of_them:
                mine: dict[Path, _Making] = {}
                for file in sorted(some):  # so do other runs: nobody waits for somebody who waits for them
                    own = ExitStack()
                    part = own.enter_context(made_once(file, resumed=True, said=said))
                    all_of_them.push(own)
                    if part is None:
                        told(len(missing[file]))  # another run has made it meanwhile
                    else:
                        mine[file] = _Making(part, missing[file], own)
                _made([mine[file] for file in some if file in mine], modality, how, encode, told, cluster)
    finally:
        torch.set_num_threads(before)
    return Features(rows_of(parts, files), cuts, shared)


def _by(size: int, items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _decided(
    dataset: Dataset,
    cuts: Sequence[Cut],
    modality: Modality,
    how: Extraction,
    device: str,
    threads: int,
    where: str,
) -> tuple[nn.Module, dict[str, Any]]:
    """The encoder, and all that decides the features of whatever clips, in terms of JSON."""
    shape = tuple(next(tensors(modality, cuts[:1])).shape)
    make = resolve(how.use, where)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what it draws at random is always the same
        encoder = made(make, (shape,), how.args, where).eval().requires_grad_(False)
    parts = sorted(
        {type(part) for part in encoder.modules()}, key=lambda cls: (cls.__module__, cls.__qualname__)
    )
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
    }


def kept_in(
    dataset: Dataset, modality: Modality, parts: Sequence[Sequence[Cut]], decided: Mapping[str, Any]
) -> list[Path]:
    """Where the features of each of `parts` lie, or will; `decided` is what decides those of whatever clips."""
    keys = [content_key([decided, _content(dataset, modality, part)]) for part in parts]
    return [cache_folder("features") / f"{key}.npy" for key in keys]


def _content(dataset: Dataset, modality: Modality, cuts: Sequence[Cut]) -> Any:
    """What of the recordings' contents the clips are or, where these do not say, a hash of the clips themselves."""
    read = contents_of(dataset, modality, cuts)
    if read is not None:
        return read
    content = sha256()
    for tensor in tensors(modality, cuts):
        content.update(
            f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes()
        )
    return content.hexdigest()


class _Told:
    """Progress: of all clips, so many are done."""

    def __init__(self, progress: Progress, title: str, total: int, done: int) -> None:
        self.progress, self.title, self.total, self.done = progress, title, total, done
        self.said_s = -math.inf

    def __call__(self, more: int) -> None:
        self.done += more
        if self.done == self.total or time.monotonic() - self.said_s > SAID_S:
            self.said_s = time.monotonic()
            self.progress(self.done, self.total, self.title)


def _index(cuts: Sequence[Cut]) -> pl.DataFrame:
    """Which row is which clip."""
    rows = [
        (row, clip.name, clip.recording, clip.subject, clip.activity, clip.start_s, clip.stop_s)
        for row, (_, clip) in enumerate(cuts)
    ]
    columns = ["row", "clip", "recording", "subject", "activity", "start_s", "stop_s"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@dataclass
class _Encode:
    """The encoder, and how it is run over clips, batch by batch."""

    encoder: nn.Module
    how: Extraction
    device: str
    where: str
    run: Encode | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """What goes to another machine: what runs the encoder is made there."""
        return _Encode, (self.encoder, self.how, self.device, self.where)

    def __call__(self, clips: Iterator[Tensor], counts: Sequence[int]) -> Iterator[np.ndarray]:
        """The rows of each batch, `(batch, *grid)`, float16, while the next clips are decoded.

        A batch holds clips of one of the groups that follow each other, of `counts` clips.
        """
        size, name = self.how.batch, self.how.name
        for batch in _ahead(_batches(clips, size, counts)):
            short = size - len(batch)
            full = torch.cat([batch, batch[-1:].expand(short, *batch.shape[1:])]) if short else batch
            full = full.float().to(self.device)
            with own_code(
                f"{self.where}: {name} fails on clips of {tuple(full.shape[1:])}", passing=(OSError,)
            ):
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


class _Making(NamedTuple):
    """An unfinished array, the clips that are to be in it, and what is to be closed once they are."""

    part: Path
    cuts: Sequence[Cut]
    finish: ExitStack


def _made(
    parts: Sequence[_Making],
    modality: Modality,
    how: Extraction,
    encode: _Encode,
    told: _Told,
    cluster: Cluster | None,
) -> None:
    """Append what is missing to unfinished arrays; each takes its place as soon as it holds all."""
    held = [_whole(one.part, len(one.cuts), how.batch) for one in parts]
    told(sum(held))
    left = [one.cuts[done:] for done, one in zip(held, parts, strict=True)]
    if cluster and any(left):
        rows = _shared(cluster, modality, [cuts for cuts in left if cuts], how, encode)
    else:
        rows = encode(tensors(modality, [one for cuts in left for one in cuts]), [len(cuts) for cuts in left])
    for one, done in zip(parts, held, strict=True):
        if done < len(one.cuts):
            with one.part.open("r+b" if one.part.exists() else "w+b") as file:
                file.seek(0, os.SEEK_END)
                while done < len(one.cuts):
                    batch = next(rows)
                    if done == 0:
                        header = {
                            "descr": "<f2",
                            "fortran_order": False,
                            "shape": (len(one.cuts), *batch.shape[1:]),
                        }
                        np.lib.format.write_array_header_1_0(file, header)
                    file.write(batch.tobytes())
                    file.flush()
                    done += len(batch)
                    told(len(batch))
                os.fsync(file.fileno())
        one.finish.close()


def _shared(
    cluster: Cluster, modality: Modality, parts: Sequence[Sequence[Cut]], how: Extraction, encode: _Encode
) -> Iterator[np.ndarray]:
    """The rows of each part that the nodes of a cluster make, in order; a task is some whole batches of one part."""
    kept = cluster.keep(encode)
    share = min(math.ceil(sum(map(len, parts)) / (SHARES * cluster.room())), MOST_CLIPS)
    size = math.ceil(share / how.batch) * how.batch
    sent = {recording: _reading(recording, modality, {}) for cuts in parts for recording, _ in cuts}

    def tasks() -> Iterator[tuple[list[Path], tuple[Any, ...]]]:
        for cuts in parts:
            for some in _by(size, cuts):
                own = [(sent[recording], clip) for recording, clip in some]
                files = dict.fromkeys(
                    f for recording, _ in own for f in map(_file, recording.streams.values()) if f
                )
                yield list(files), (kept, modality, own)

    return cluster.each(_share, tasks())


def _share(
    where: Mapping[Path, Path], encode: _Encode, modality: Modality, cuts: Sequence[Cut]
) -> np.ndarray:
    """The rows of some clips, whose recordings' files lie where `where` says."""
    here = {recording: _reading(recording, modality, where) for recording, _ in cuts}
    own = [(here[recording], clip) for recording, clip in cuts]
    return np.concatenate(list(encode(tensors(modality, own), [len(own)])))


def _reading(recording: Recording, modality: Modality, where: Mapping[Path, Path]) -> Recording:
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


def _whole(part: Path, total: int, batch: int) -> int:
    """How many clips an unfinished array holds in whole batches; what is behind them is cut off."""
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
        done = min(held, total) if held >= total else held // batch * batch
        file.seek(start + done * row if done else 0)
        file.truncate()
    return done


def _batches(clips: Iterator[Tensor], size: int, counts: Sequence[int]) -> Iterator[Tensor]:
    """Stacks of `size` clips; the last of each group of so many clips may be smaller."""
    for count in counts:
        for start in range(0, count, size):
            yield torch.stack([next(clips) for _ in range(min(size, count - start))])


def _ahead(items: Iterator[T], depth: int = 2) -> Iterator[T]:
    """The same items, up to `depth` of them made in a thread before they are asked for."""
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, items, None) for _ in range(depth))
        try:
            while (item := coming.popleft().result()) is not None:
                coming.append(thread.submit(next, items, None))
                yield item
        finally:
            for future in coming:
                future.cancel()
