"""A frozen encoder over clips, once: their grids in a memory-mapped float16 array for each recording."""

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from plait.clips import Cut, Rows, tensors
from plait.clips.apart import sent
from plait.clips.arrays import rows_of, together
from plait.clips.decided import Reading, contents_of, recipe
from plait.compute.cluster import Cluster
from plait.compute.crew import Crew
from plait.compute.machine import settled, settled_numerics
from plait.compute.seeds import left_alone
from plait.contents import describe, network_key, settings
from plait.encoders.standardise import calibrates, neglected, uncalibrated
from plait.errors import ConfigError, PlaitWarning
from plait.features.alone import CLIPS, is_plait_s, odd
from plait.features.cut import check_whole, drawn_alike, front_of, tuned_of
from plait.features.encoding import Encoding, Extraction
from plait.features.engine import accelerate, engine_version
from plait.features.ranges import check_range
from plait.features.rounding import Rounding
from plait.features.sharing import batched, shared
from plait.keying import keying, source_key
from plait.objects import resolve
from plait.progress import Progress, Step, silent
from plait.store import atomic, cache_folder, content_key, made_once, sound
from plait.types import Dataset, Modality

SAID_S = 5.0  # between two words on progress
AT_ONCE = 64  # arrays that are locked together, and made in one go


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


@keying()
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
    crew: Crew | None = None,
) -> Features:
    """The features of one modality of all clips, found in the cache or made now.

    They are kept for each recording (of recordings of one clip, for each subject) under a key of the
    encoder's weights, settings and code, the engine with its version, the threads, what else decides numbers
    here, and the contents of its clips. Of an encoder that is `cut` the key holds the weights behind the cut,
    too: whoever trains these begins with them, and a job is known by what it is given. Batches never hold
    clips of two of these files. What is written stays: a run that is stopped goes on from there, and comes to
    the same files. Of clips to be made features of, some are looked at first: a network of pictures that is
    given other values than it was made for is warned of.

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
        crew: its processes make several files at a time, each as one process would; where a recording cannot
            be read, those of all others are made first.

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
    if missing and not is_plait_s(encoder):
        _look_at(encoder, modality, next(iter(missing.values())), how)
    unmade = [cut for some in missing.values() for cut in some]
    check_range(encoder, modality.name, partial(_read, modality, unmade), len(unmade), how.name, where)
    encode = Encoding(encoder, how, device, where)
    title = f"{name} through {how.name}"
    standing = len(cuts) - sum(map(len, missing.values()))
    count = _Count(progress, f"clips of {title}", len(cuts), standing)
    seal = {"settings": decided, "made": title}
    if crew and not cluster and len(missing) > 1:
        longest = sorted(missing, key=lambda file: -len(missing[file]))  # first: nobody waits for it at last
        parts_of_it = [(file, sent(missing[file], modality)) for file in longest]
        for rounding in crew.each(partial(_make_apart, modality, encode, seal, threads), parts_of_it, count):
            encode.rounding.join(rounding)
        missing = {}
    torch.set_num_threads(threads)
    try:
        _make(missing, modality, encode, seal, count, cluster)
    finally:
        torch.set_num_threads(before)
    expected = "expected an encoder that centres or scales what it gives, for features are kept so"
    encode.rounding.tell(f"{where}: {how.name}: ", expected)
    return Features(rows_of(parts, files), cuts, decided)


def _make(
    missing: Mapping[Path, Sequence[Cut]],
    modality: Modality,
    encode: Encoding,
    seal: Mapping[str, Any],
    count: Callable[[int], object],
    cluster: Cluster | None = None,
) -> None:
    """Make files of features, each under its lock; what another run makes meanwhile is waited for."""
    for group in batched(list(missing), AT_ONCE):
        with ExitStack() as locks:
            arrays: dict[Path, _Array] = {}
            for file in sorted(group):  # so do other runs: nobody waits for somebody who waits for them
                lock = ExitStack()
                part = lock.enter_context(made_once(file, resumed=True, said=seal))
                locks.push(lock)
                if part is None:
                    count(len(missing[file]))  # another run has made it meanwhile
                else:
                    arrays[file] = _Array(part, missing[file], lock)
            unfinished = [arrays[file] for file in group if file in arrays]
            _fill(unfinished, modality, encode, count, cluster)


def _make_apart(
    modality: Modality,
    encode: Encoding,
    seal: Mapping[str, Any],
    threads: int,
    part: tuple[Path, Sequence[Cut]],
    more: Callable[[int], object],
) -> Rounding:
    """Make one file in a process of a crew; what was left of it is told with the first batch."""
    left: list[int] = []
    encode.rounding = Rounding()

    def count(some: int) -> None:
        if not left:
            left.append(some)
        else:
            more(some + left[0])
            left[0] = 0

    file, cuts = part
    torch.set_num_threads(threads)
    _make({file: cuts}, modality, encode, seal, count)
    more(sum(left))
    return encode.rounding


def _decide(
    cuts: Sequence[Cut], modality: Modality, how: Extraction, device: str, threads: int, where: str
) -> tuple[nn.Module, dict[str, Any]]:
    """The encoder, and all that decides the features of whatever clips, in terms of JSON."""
    shape = tuple(next(tensors(modality, cuts[:1])).shape)
    make, encoder = resolve(how.use, where), frozen_encoder(how, shape, where)
    left = neglected(encoder)
    if how.cut:
        whole = drawn_alike(make, shape, how.args, where)
        if calibrates(whole):
            left.append(f"a {type(whole).__name__}, of which blocks are trained")
        if not is_plait_s(whole):
            check_whole(make, shape, how.args, how.cut, where)
    for part in left:  # the same words of all methods are said once
        why = "features are made once for all folds, so that nobody calls calibrate of"
        expected = "expected it to hold what it needs already"
        warnings.warn(f"{how.use}: {why} {part}: {expected}", PlaitWarning, stacklevel=2)
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


def _read(modality: Modality, cuts: Sequence[Cut], places: Sequence[int]) -> Iterator[Tensor]:
    return tensors(modality, [cuts[place] for place in places])


def _look_at(encoder: nn.Module, modality: Modality, cuts: Sequence[Cut], how: Extraction) -> None:
    """Warn of an encoder of somebody's own that makes of some clips what is not each one's alone."""
    clips = torch.stack([*tensors(modality, cuts[: min(CLIPS, how.batch)])]).float()
    lines: list[str] = []
    with suppress(Exception), left_alone(), settled(), torch.no_grad():  # whoever makes features says why
        lines += odd(partial(_made_by, encoder), {"clips": clips}, how.use)
    for line in lines:  # the same words of all methods are said once
        warnings.warn(line, PlaitWarning, stacklevel=3)


def _made_by(encoder: nn.Module, given: Mapping[str, Tensor]) -> Tensor:
    features: Tensor = encoder(given["clips"])
    return features


def frozen_encoder(how: Extraction, shape: tuple[int, ...], where: str) -> nn.Module:
    """The encoder of features, as it always is: what it draws at random is the same.

    Args:
        how: which one.
        shape: of a clip's tensor.
        where: the setting that errors name.

    Raises:
        ConfigError: it wants to see training clips first.
        PlaitError: it cannot be had.
    """
    make = resolve(how.use, where)
    if how.cut:
        encoder = front_of(make, shape, how.args, how.cut, where)
    else:
        encoder = drawn_alike(make, shape, how.args, where)
    if part := uncalibrated(encoder):
        expected = "features are made once for all folds, expected an encoder that holds mean and SD already"
        raise ConfigError(f"{where}: nobody calibrates {part} of {how.use}: {expected}")
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
    reading = Reading(dataset)
    keys = [content_key([decided, _content(reading, modality, part)]) for part in parts]
    return [cache_folder("features") / f"{key}.npy" for key in keys]


def _content(reading: Reading, modality: Modality, cuts: Sequence[Cut]) -> Any:
    """What of the recordings' contents the clips are or, where these do not say, a hash of the clips."""
    contents = contents_of(reading, modality, cuts)
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


class _Array(NamedTuple):
    """An unfinished array, the clips that are to be in it, and the lock to be closed once they are."""

    part: Path
    cuts: Sequence[Cut]
    lock: ExitStack


def _fill(
    arrays: Sequence[_Array],
    modality: Modality,
    encode: Encoding,
    count: Callable[[int], object],
    cluster: Cluster | None,
) -> None:
    """Append what is missing to unfinished arrays; each takes its place as soon as it holds all."""
    lengths = [_trim(array.part, len(array.cuts), encode.how.batch) for array in arrays]
    count(sum(lengths))
    missing = [array.cuts[length:] for length, array in zip(lengths, arrays, strict=True)]
    if cluster and any(missing):
        batches = shared(cluster, modality, [cuts for cuts in missing if cuts], encode)
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
