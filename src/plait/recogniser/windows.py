"""A recording as a recogniser sees it: which windows there are, and what each sensor gives of them."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from plait.clips import read_clips
from plait.clips.listing import opened_by, survey
from plait.clips.table import TABLE, recordings_of
from plait.clips.windows import ROUNDING_S, covered, cut, ends_of, filled, longest_s, moments
from plait.datasets.windowed import Windowed
from plait.errors import DataError
from plait.names import plain
from plait.recordings.folder import DESCRIPTION, open_recording, recording_folders
from plait.recordings.video import Forward, Video
from plait.types import Dataset, Modality, Recording, Span, Stream, Windows

MOST_WINDOWS = 10_000_000  # of a recording
BEYOND = 0.25  # of the shortest or the longest clip of training


class Seen(NamedTuple):
    """A window, `start_s` to `stop_s` on the recording's clock, with a tensor of each modality present."""

    start_s: float
    stop_s: float
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Sliding:
    """How windows are slid over recordings.

    A window begins at every whole multiple of `stride_s` on the recording's clock, whatever sensor starts or
    stops when.

    Args:
        seconds: the length of a window; without, the whole recording is one.
        stride_s: from one window's start to the next one's.
    """

    seconds: float | None
    stride_s: float | None = None

    @property
    def between(self) -> str | None:
        """What to say where a stride is longer than a window; None: it is not."""
        if self.seconds is None or self.stride_s is None or self.stride_s <= self.seconds + ROUNDING_S:
            return None
        missed_s = self.stride_s - self.seconds
        return (
            f"windows of {self.seconds:g} s, {self.stride_s:g} s apart: nothing is seen in {missed_s:g} s "
            "between two, which count as nothing recognised; expected a stride of a window at most"
        )

    def windows(self, extents: Mapping[str, tuple[float, float]]) -> list[tuple[float, float]]:
        """All windows from 0 s on that lie between the first reading of any stream and the last of any.

        Raises:
            DataError: there are too many.
        """
        extent = extent_of(extents)
        if extent is None:
            return []
        first_s, last_s = max(0.0, extent[0]), extent[1]
        if self.seconds is None:
            return [(first_s, last_s)] if last_s > first_s else []
        stride_s = self.stride_s or self.seconds
        first = math.ceil((first_s - ROUNDING_S) / stride_s)
        count = (last_s + ROUNDING_S - self.seconds) / stride_s - first
        if count > MOST_WINDOWS:
            raise DataError(f"{count:.4g} windows {stride_s:g} s apart, expected {MOST_WINDOWS:,} at most")
        starts = [number * stride_s for number in range(first, first + math.floor(count) + 1)]
        return [(start_s, start_s + self.seconds) for start_s in starts]


def extents_of(recording: Recording, modalities: Sequence[Modality]) -> dict[str, tuple[float, float]]:
    """When the streams of `modalities` that a recording has begin and end, in seconds on its clock."""
    names = dict.fromkeys(name for modality in modalities for name in modality.streams)
    return {name: ends_of(recording.streams[name]) for name in names if name in recording.streams}


def extent_of(extents: Mapping[str, tuple[float, float]]) -> tuple[float, float] | None:
    """From the first reading of any stream to the last of any, in seconds; None without streams."""
    if not extents:
        return None
    return min(start for start, _ in extents.values()), max(stop for _, stop in extents.values())


def scored_extent(recording: Recording, modalities: Sequence[Modality]) -> tuple[float, float] | None:
    """From when to when a recording is scored, in seconds; None where there is nothing of it.

    From 0 s, as windows are, or from the first reading of any stream of `modalities`, to the last of any; and
    wherever somebody has labelled what any stream at all has recorded, so that who has stopped seeing is not
    excused, and a label that lies elsewhere by mistake decides nothing.
    """
    extent = extent_of(extents_of(recording, modalities))
    if extent is None:
        return None
    first_s, last_s = min(max(0.0, extent[0]), extent[1]), extent[1]
    ends = [ends_of(stream) for stream in recording.streams.values()]
    begun_s, ended_s = min(start_s for start_s, _ in ends), max(stop_s for _, stop_s in ends)
    for span in recording.spans:
        start_s, stop_s = max(span.start_s, begun_s), min(span.stop_s, ended_s)
        if start_s < stop_s:
            first_s, last_s = min(first_s, start_s), max(last_s, stop_s)
    return first_s, last_s


def odd_lengths(lasting_s: tuple[float, float] | None, windows: Sequence[tuple[float, float]]) -> str | None:
    """What to say where windows are far shorter or longer than what a model was trained on.

    Args:
        lasting_s: the shortest and the longest clip of its training, if they count.
        windows: start and stop of each.
    """
    if lasting_s is None:
        return None
    low_s, high_s = lasting_s
    lasts_s = [stop_s - start_s for start_s, stop_s in windows]
    odd_s = [s for s in lasts_s if not (1 - BEYOND) * low_s <= s <= (1 + BEYOND) * high_s]
    if not odd_s:
        return None
    what = f"{len(odd_s)} of {len(lasts_s)} windows last {min(odd_s):.3g} to {max(odd_s):.3g} s"
    return f"{what}, the model was trained on clips of {low_s:.3g} to {high_s:.3g} s, each seen as a whole"


def seen(
    recording: Recording, modalities: Sequence[Modality], windows: Sequence[tuple[float, float]]
) -> Iterator[Seen]:
    """Each window of a recording with a tensor of each modality that has readings in all of it.

    A video is decoded forwards, each frame once. A modality is absent where one of its streams has not begun,
    has ended, or has a gap.

    Args:
        recording: of what.
        modalities: what tensors are made of.
        windows: start and stop of each, in seconds on the recording's clock, in order.

    Raises:
        DataError: a stream cannot be read.
        ConfigError: a `prepare` fails.
    """
    streams = {modality.name: _forward(modality, recording.streams, windows) for modality in modalities}
    for window in windows:
        yield Seen(*window, cut(modalities, streams, window, f"recording {recording.name}"))


def _forward(
    modality: Modality, streams: Mapping[str, Stream], windows: Sequence[tuple[float, float]]
) -> dict[str, Stream]:
    """A modality's streams; videos as they are read window after window."""
    found = {name: streams[name] for name in modality.streams if name in streams}
    if any(isinstance(stream, Video) for stream in found.values()):
        shown = [moments(modality, *window) for window in windows if covered(modality, found, window)]
        for name, stream in found.items():
            if isinstance(stream, Video):
                found[name] = Forward(stream, shown)
    return found


def windows_of(
    dataset: Dataset, data: Path, modalities: Sequence[Modality]
) -> tuple[float | None, Windows | None]:
    """The length of a data set's clips in seconds, or None where each is a whole span; and how they were cut.

    Raises:
        DataError: its clip table cannot be read.
    """
    windows = dataset.windows
    if (data / TABLE).is_file():
        windows = Windows(**read_clips(data)[1]["windows"])
    if windows is not None:
        return windows.seconds, windows
    return longest_s(modalities), None


def whole_recordings(dataset: Dataset, data: Path) -> Iterator[Recording]:
    """The recordings of a data set with their labels; of a clip table, those that it was cut from.

    Of a data set that cuts what `plait ingest` made into windows, they are what was made; one that cuts other
    files by itself says what they are (`Windowed.whole`), or has its windows as labels.

    Raises:
        DataError: they cannot be read.
    """
    if (data / TABLE).is_file():
        return recordings_of(data)
    if dataset.windows is not None and (any(data.glob(f"*/{DESCRIPTION}")) or (data / DESCRIPTION).is_file()):
        return ingested([data])
    if isinstance(dataset, Windowed) and dataset.whole is not None:
        dataset = replace(dataset, recordings=dataset.whole)
    return opened_by(dataset, data)


def labels_of(
    recording: Recording,
    windows: Windows | None,
    modalities: Sequence[Modality],
    activities: Sequence[str] = (),
) -> tuple[Span, ...]:
    """A recording's labels in order of time, those of one activity that touch as one.

    Where unlabelled time is an activity of its own, that is among them, unless nobody has labelled anything.

    Args:
        recording: whose.
        windows: how clips are cut, which says what unlabelled time is.
        modalities: between whose first and last reading it lies.
        activities: whose spelling labels are given.
    """
    spelled = {plain(activity): activity for activity in activities}
    spans = [replace(s, activity=spelled.get(plain(s.activity), s.activity)) for s in recording.spans]
    if windows is None or windows.unlabelled is None or not spans:
        return tuple(filled(spans))
    around = extent_of(extents_of(recording, modalities)) if windows.margins else None
    return tuple(filled(spans, windows.unlabelled, around))


def ingested(folders: Sequence[Path]) -> Iterator[Recording]:
    """The recordings that `plait ingest` made, each in its folder, or all in a folder of them.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    for folder in folders:
        for recording in recording_folders(folder):
            yield open_recording(recording)


def of_people(recordings: Iterable[Recording], people: Sequence[str], data: Path) -> Iterator[Recording]:
    """The recordings of some people, by default all.

    Args:
        recordings: of a data set.
        people: by name.
        data: where they lie, for errors.

    Raises:
        DataError: nobody has one of these names.
    """
    absent = [*people]
    for recording in recordings:
        name = plain(recording.subject)
        if not people or name in people:
            absent = [other for other in absent if other != name]
            yield recording
    if absent:
        raise DataError(f"{data}: no recording of {absent[0]!r}, expected people who are there")


def clipped(
    dataset: Dataset, data: Path, people: Sequence[str], modalities: Sequence[Modality]
) -> tuple[list[Recording], dict[str, list[tuple[float, float]]]]:
    """The recordings of a data set's clips, and the clips of each as windows: those that lack a sensor, too.

    Args:
        dataset: whose.
        data: where they lie.
        people: whose recordings; by default everybody's.
        modalities: what clips are cut for.

    Raises:
        DataError: there are none.
    """
    recordings: dict[str, Recording] = {}
    windows: dict[str, list[tuple[float, float]]] = {}
    names = [modality.name for modality in modalities]
    for recording, clip in survey(dataset, data, names, missing="without").cuts:
        recordings[recording.name] = recording
        windows.setdefault(recording.name, []).append((clip.start_s, clip.stop_s))
    found = list(of_people(recordings.values(), people, data))
    return found, {recording.name: windows[recording.name] for recording in found}
