"""What is brought to the doctor: a folder of recordings, a clip table, a data set, or a study's clips."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from plait.clips import Cut, open_clips
from plait.clips.listing import opened_by
from plait.clips.table import TABLE
from plait.doctor.examine import unreadable
from plait.doctor.finding import Finding
from plait.errors import PlaitError
from plait.recordings.folder import open_recording, recording_folders
from plait.types import Dataset, Recording


def brought(data: Path, dataset: Dataset | None, found: list[Finding]) -> Iterator[Recording]:
    """The recordings in a folder, one after the other.

    Args:
        data: the folder: of a data set, of recordings, or of a clip table (whose windows are its labels).
        dataset: whose recordings open it; None: they are plait's own.
        found: takes a finding for recordings that do not open, one for each reason.

    Raises:
        DataError: there is none, or a data set's folder cannot be read.
    """
    if dataset is not None:
        yield from opened_by(dataset, data)
    elif (data / TABLE).is_file():
        yield from open_clips(data)
    else:
        closed: dict[str, dict[str, str]] = defaultdict(dict)  # why, by recording, where it says the same
        for folder in recording_folders(data):
            try:
                recording = open_recording(folder)
            except PlaitError as error:
                closed[str(error).replace(str(folder), "")][folder.name] = str(error)
            else:
                yield recording
        found += [unreadable("", whys) for whys in closed.values()]


def of_study(cuts: Iterable[Cut], streams: Iterable[str]) -> list[Recording]:
    """The recordings of a study's clips, each once, with the streams alone that its methods read."""
    needed = set(streams)
    recordings = {id(recording): recording for recording, _ in cuts}
    return [
        replace(recording, streams={name: s for name, s in recording.streams.items() if name in needed})
        for recording in recordings.values()
    ]
