"""A frozen encoder over clips, once: the grids of all of them in one memory-mapped float16 array, and its index."""

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, is_dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, cast

import numpy as np
import polars as pl
import torch
from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass as checked
from torch import Tensor, nn

from plait.clips import Cut, decided_by, mapped, tensors
from plait.clips.windows import window
from plait.cluster import Cluster
from plait.encoders.engine import Run, accelerate, digest, engine_version
from plait.errors import ConfigError, DataError
from plait.machine import wide_products
from plait.sources import describe, made, resolve, source_key
from plait.store import atomic, cache_folder, content_key, made_once, write_json
from plait.types import Dataset, Modality, Recording, Stream

T = TypeVar("T")
Progress = Callable[[int, int, str], None]
SAID_S = 5.0  # between two words on progress
SHARES, MOST_CLIPS = 4, 64  # tasks for each place on a cluster; clips of one


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Extraction:
    """How features are made: `use`, an encoder's `"package.module:Name"`, called with the clip's shape and `args`.

    `engine` runs it, on `batch` clips at once.
    """

    use: str
    args: dict[str, Any] = field(default_factory=dict)
    engine: Literal["torch", "compile", "openvino"] = "torch"
    batch: PositiveInt = 1

    @property
    def name(self) -> str:
        """The encoder's name, without its module."""
        return self.use.rpartition(":")[2]


@dataclass(frozen=True)
class Features:
    """Where they lie: `array` `(clips, *grid)`, float16; `index`, a row per clip in the same order; `settings`."""

    array: Path
    index: Path
    settings: Path

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one clip's grid."""
        return tuple(mapped(self.array).shape[1:])


def extract(
    dataset: Dataset,
    cuts: Sequence[Cut],
    name: str,
    how: Extraction,
    *,
    device: str = "cpu",
    where: str = "features",
    progress: Progress = lambda done, total, label: None,
    cluster: Cluster | None = None,
) -> Features:
    """The features of modality `name` of all clips, found in the cache or made now.

    They are kept under a key of the encoder's weights, settings and code, the engine with its version, and the
    contents of the clips. Batches that are written stay: whoever is stopped goes on from there, and comes to the same
    file. `where` names the setting in errors; `progress` is told clips done, clips in all, and what is being done.
    The nodes of a `cluster` share the work; the batches are the same.

    Raises:
        ConfigError: the encoder or the engine cannot be had, or gives no tensor.
        DataError: a clip cannot be read, or gives values that float16 cannot hold.
        PlaitError: what the encoder refuses.
    """
    modality = dataset.modality(name)
    first = next(tensors(modality, cuts[:1]))
    encoder = _encoder(how, tuple(first.shape), where).eval().requires_grad_(False)
    settings = {
        "encoder": how.use,
        "args": {key: _said(value) for key, value in how.args.items()},
        "weights": digest(encoder),
        "engine": engine_version(how.engine),
        "batch": how.batch,
        "device": device,
        "torch": torch.__version__,
        "sources": source_key([resolve(how.use, where), modality.prepare, window, accelerate]),
        "modality": [modality.samples, modality.rate_hz, describe(modality.prepare)],
        "clips": _content(dataset, modality, cuts),
    }
    folder, key = cache_folder("features"), content_key(settings)
    found = Features(*(folder / f"{key}.{ending}" for ending in ("npy", "parquet", "json")))
    with made_once(found.array, resumed=True) as part:
        if part is not None:
            _made(part, modality, cuts, how, _Encode(encoder, how, device, where), progress, cluster)
            write_json(found.settings, settings)
            with atomic(found.index) as index:
                _index(cuts).write_parquet(index)
    return found


def _encoder(how: Extraction, shape: tuple[int, ...], where: str) -> nn.Module:
    """The encoder, always the same: what it draws at random comes from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return made(resolve(how.use, where), (shape,), how.args, where)


def _said(value: Any) -> Any:
    """A setting in terms of JSON; of a file only that it is one, for its weights are what counts."""
    return "file" if isinstance(value, str) and Path(value).is_file() else json.loads(json.dumps(value, default=repr))


def _content(dataset: Dataset, modality: Modality, cuts: Sequence[Cut]) -> Any:
    """What decides the clips' contents, or, where recordings do not say, a key of the contents themselves."""
    said = decided_by(dataset, modality, cuts)
    if said is None:
        content = sha256()
        for tensor in tensors(modality, cuts):
            content.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
        return content.hexdigest()
    return content_key(said["clips"] + [said["recordings"], said["sources"]])


def _index(cuts: Sequence[Cut]) -> pl.DataFrame:
    """Which row is which clip."""
    rows = [
        (row, clip.name, clip.recording, clip.subject, clip.activity, clip.start_s, clip.stop_s)
        for row, (_, clip) in enumerate(cuts)
    ]
    columns = ["row", "clip", "recording", "subject", "activity", "start_s", "stop_s"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@dataclass(frozen=True)
class _Encode:
    """The encoder, and how it is run over clips, batch by batch."""

    encoder: nn.Module
    how: Extraction
    device: str
    where: str

    def __call__(self, clips: Iterator[Tensor]) -> Iterator[np.ndarray]:
        """The rows of each batch, `(batch, *grid)`, float16, while the next clips are decoded."""
        run: Run | None = None
        size, name = self.how.batch, self.how.name
        for batch in _ahead(_batches(clips, size)):
            short = size - len(batch)
            full = torch.cat([batch, batch[-1:].expand(short, *batch.shape[1:])]) if short else batch
            full = full.float().to(self.device)
            run = run or accelerate(self.encoder.to(self.device), full, self.how.engine)
            with wide_products():
                grid = run(full)
            if not isinstance(grid, Tensor) or grid.ndim < 2 or len(grid) != size:
                got = f"shape {tuple(grid.shape)}" if isinstance(grid, Tensor) else type(grid).__name__
                raise ConfigError(f"{self.where}: {name} gave {got}, expected a tensor of {size} grids")
            with np.errstate(over="ignore"):
                rows = grid[: len(batch)].cpu().numpy().astype("<f2")
            if not np.isfinite(rows).all():
                raise DataError(f"{self.where}: {name} gives values that are not finite in float16")
            yield rows


def _made(
    part: Path,
    modality: Modality,
    cuts: Sequence[Cut],
    how: Extraction,
    encode: _Encode,
    progress: Progress,
    cluster: Cluster | None,
) -> None:
    """Append what is missing to the unfinished array."""
    title = f"clips of {modality.name} through {how.name}"
    total = len(cuts)
    with part.open("r+b" if part.exists() else "w+b") as file:
        done = _whole(file, total, how.batch)
        progress(done, total, title)
        said_s = time.monotonic()
        left = cuts[done:]
        made = _shared(cluster, modality, left, how, encode) if cluster and left else encode(tensors(modality, left))
        for rows in made:
            if done == 0:
                header = {"descr": "<f2", "fortran_order": False, "shape": (total, *rows.shape[1:])}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(rows.tobytes())
            file.flush()
            done += len(rows)
            if done == total or time.monotonic() - said_s > SAID_S:
                said_s = time.monotonic()
                progress(done, total, title)
        os.fsync(file.fileno())


def _shared(
    cluster: Cluster, modality: Modality, cuts: Sequence[Cut], how: Extraction, encode: _Encode
) -> Iterator[np.ndarray]:
    """The rows that the nodes of a cluster make, in order; a task is some whole batches."""
    kept = cluster.keep(encode)
    share = min(math.ceil(len(cuts) / (SHARES * cluster.room())), MOST_CLIPS)
    size = math.ceil(share / how.batch) * how.batch
    sent = {recording: _reading(recording, modality, {}) for recording, _ in cuts}

    def tasks() -> Iterator[tuple[list[Path], tuple[Any, ...]]]:
        for start in range(0, len(cuts), size):
            own = [(sent[recording], clip) for recording, clip in cuts[start : start + size]]
            files = dict.fromkeys(f for recording, _ in own for f in map(_file, recording.streams.values()) if f)
            yield list(files), (kept, modality, own)

    return cluster.each(_share, tasks())


def _share(where: Mapping[Path, Path], encode: _Encode, modality: Modality, cuts: Sequence[Cut]) -> np.ndarray:
    """The rows of some clips, whose recordings' files lie where `where` says."""
    here = {recording: _reading(recording, modality, where) for recording, _ in cuts}
    return np.concatenate(list(encode(tensors(modality, [(here[recording], clip) for recording, clip in cuts]))))


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


def _whole(file: BinaryIO, total: int, batch: int) -> int:
    """How many clips an unfinished array holds in whole batches; what is behind them is cut off."""
    try:
        np.lib.format.read_magic(file)
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        start, row = file.tell(), int(np.prod(shape[1:])) * kind.itemsize
    except ValueError:
        start, row = 0, 0
    held = (file.seek(0, os.SEEK_END) - start) // row if row else 0
    done = held if held >= total else held // batch * batch
    file.seek(start + done * row if done else 0)
    file.truncate()
    return done


def _batches(clips: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    batch: list[Tensor] = []
    for clip in clips:
        batch.append(clip)
        if len(batch) == size:
            yield torch.stack(batch)
            batch = []
    if batch:
        yield torch.stack(batch)


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
