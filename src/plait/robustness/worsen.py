"""Test clips made worse: a fault acts on streams, and the same windows are cut from them in the same way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.clips import Cut
from plait.clips.windows import covered, moments, prepared, readings
from plait.errors import ConfigError, DataError, PlaitError, own_code
from plait.robustness.faults import Absent, Occasion, StandIn
from plait.store import content_key
from plait.types import Clip, Modality, Recording, Stream


@dataclass(frozen=True)
class Condition:
    """A fault of one modality at one severity.

    Args:
        called: the fault's name.
        fault: the fault.
        modality: what it befalls.
        severity: in the fault's unit; at 0 nothing is changed.
        seed: of what is drawn.
    """

    called: str
    fault: Any
    modality: str
    severity: float
    seed: int = 0

    @property
    def is_cut(self) -> bool:
        """Whether there are readings to be cut: the modality is neither gone nor replaced."""
        return self.severity == 0 or not isinstance(self.fault, Absent | StandIn)

    @property
    def is_replaced(self) -> bool:
        """Whether the mean of training clips stands in."""
        return self.severity > 0 and isinstance(self.fault, StandIn)


def worsened(modality: Modality, recording: Recording, clip: Clip, condition: Condition) -> Recording:
    """A recording with the streams of `modality` as they are, in this clip, with the fault.

    Raises:
        DataError: a stream cannot be read.
        ConfigError: a user's own fault fails, or gives no streams.
    """
    streams = {name: recording.streams[name] for name in modality.streams}
    content = recording.content(list(streams))
    if condition.severity == 0:
        return replace(recording, streams=streams)
    seconds = moments(modality, clip.start_s, clip.stop_s)
    draws = f"{condition.seed}/{condition.called}/{condition.modality}"
    at = Occasion(recording.name, clip.name, float(seconds[0]), float(seconds[-1]), draws)
    where = f"fault {condition.called} of {condition.modality}"
    with own_code(where):
        worse = dict(condition.fault.worsen(streams, condition.severity, at))
    for name, stream in worse.items():
        if name not in streams or not callable(getattr(stream, "at", None)):
            got = f"gave {name!r}, a {type(stream).__name__}"
            raise ConfigError(f"{where}: {got}, expected some of the streams that it was given, changed")
    key = None
    if content is not None:  # what decides the fault is in the key of whoever keeps something
        key = content_key([content, draws, condition.severity, at.start_s, at.stop_s, clip.name])
    return replace(recording, streams=worse, key=key)


def cut_worse(modality: Modality, before: Recording, worse: Recording, clip: Clip) -> Tensor | None:
    """A modality's tensor of a clip, as `plait.clips.windows.cut` makes it; None where nothing is left of it.

    That is so where a stream is gone, has no readings in some of the window where it had some before, or
    readings of which nothing can be prepared.

    Raises:
        DataError: a stream cannot be read.
        ConfigError: the modality's `prepare` fails.
    """
    window = clip.start_s, clip.stop_s
    if not set(modality.streams) <= worse.streams.keys():
        return None
    if covered(modality, before.streams, window) and not covered(modality, worse.streams, window):
        return None
    where = f"recording {before.name}, modality {modality.name}, made worse"
    try:
        arrays = readings(modality, worse.streams, *window)
    except PlaitError as error:
        raise type(error)(f"{where}: {error}") from error
    if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in arrays):
        return None
    try:
        tensor = prepared(modality, arrays)
    except DataError:
        return None  # as of depth in which nobody is seen
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not bool(tensor.isfinite().all()):
        return None
    return tensor.to(torch.float16 if tensor.dtype == torch.float16 else torch.float32)


class Kept:
    """Clips that were made worse, in one file of a folder that goes with them.

    Args:
        folder: where the file lies.
        shape: of a clip's tensor.
        count: of all clips.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], count: int) -> None:
        self.file, self.shape, self.count = folder / "worse.npy", shape, count
        self.array: np.ndarray | None = None

    def put(self, row: int, tensor: Tensor, where: str) -> None:
        """Write one clip.

        Raises:
            DataError: it is not of the others' shape.
        """
        if tuple(tensor.shape) != self.shape:
            raise DataError(f"{where}: clip of shape {tuple(tensor.shape)}, expected {self.shape} as before")
        values = tensor.numpy()
        if self.array is None:
            kind = "<f2" if values.dtype == np.float16 else "<f4"
            self.array = np.lib.format.open_memmap(self.file, "w+", kind, (self.count, *self.shape))
        self.array[row] = values

    def close(self) -> None:
        """Write out what was put."""
        if self.array is not None:
            self.array.flush()  # type: ignore[attr-defined]
            self.array = None


def cut_all(
    modality: Modality, cuts: Sequence[Cut], condition: Condition
) -> Iterator[tuple[int, Cut, Tensor]]:
    """The clips of which something is left, by number: the worsened recording with the clip, and its tensor.

    Raises:
        PlaitError: as `worsened` and `cut_worse`.
    """
    for row, (recording, clip) in enumerate(cuts):
        if not clip.holds([modality.name]):
            continue
        worse = worsened(modality, recording, clip, condition)
        tensor = cut_worse(modality, recording, worse, clip)
        if tensor is not None:
            yield row, (worse, clip), tensor


def files_of(streams: Mapping[str, Stream]) -> list[Path]:
    """The files that streams read when they are asked, as far as they are dataclasses that hold paths."""
    found: list[Path] = []

    def note(file: Path) -> Path:
        found.append(file)
        return file

    for stream in streams.values():
        _relocated(stream, note)
    return [file for file in dict.fromkeys(found) if file.is_file()]


def moved(recording: Recording, where: Mapping[Path, Path]) -> Recording:
    """A recording whose streams read their files where these lie now."""
    streams = {
        name: _relocated(stream, lambda file: where.get(file, file))
        for name, stream in recording.streams.items()
    }
    return replace(recording, streams=streams)


def _relocated(value: Any, place: Any) -> Any:
    """A value with every path in it at another place; what holds none is itself."""
    if isinstance(value, Path):
        return place(value)
    if is_dataclass(value) and not isinstance(value, type):
        own = {one.name: getattr(value, one.name) for one in fields(value) if one.init}
        new = {name: _relocated(item, place) for name, item in own.items()}
        return replace(value, **new) if any(new[name] is not own[name] for name in own) else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        items = [_relocated(item, place) for item in value]
        return type(value)(*items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value
