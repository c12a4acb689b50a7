"""Films cut into clips by several processes at a time, into the cache, where `stored` finds them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import torch

from plait.clips.arrays import cut_once, kept, rows_with, together
from plait.clips.decided import Reading, contents_of, recipe
from plait.clips.listing import Cut
from plait.compute.crew import Crew
from plait.keying import keying
from plait.recordings.video import Video
from plait.types import Dataset, Modality, Recording, Stream

NOWHERE: Mapping[Path, Path] = MappingProxyType({})
LEAST = 10**9  # bytes of films in all: less is cut sooner than processes have begun


@keying()
def cut_apart(dataset: Dataset, cuts: Sequence[Cut], modalities: Sequence[str], crew: Crew) -> None:
    """Have a crew cut the clips of modalities that are read from films, a recording each, unless they stand.

    Recordings that do not say what they were read from are left to `stored`, as are small films.

    Raises:
        DataError: as `stored`, once all other recordings are cut.
    """
    threads, reading = torch.get_num_threads(), Reading(dataset)
    for name in modalities:
        modality, how = dataset.modality(name), recipe(dataset.modality(name))
        held = [cuts[row] for row in rows_with(cuts, name)]
        parts: list[tuple[int, tuple[Sequence[Cut], Mapping[str, Any]]]] = []
        for part in together(held):
            group = [held[row] for row in part]
            recordings = dict.fromkeys(recording for recording, _ in group)
            streams = [recording.streams[stream] for recording in recordings for stream in modality.streams]
            films = {stream.file for stream in streams if isinstance(stream, Video)}
            contents = contents_of(reading, modality, group) if films else None
            if contents is not None and not kept({**how, **contents}):
                size = sum(film.stat().st_size for film in films)
                parts.append((size, (sent(group, modality), {**how, **contents})))
        if len(parts) > 1 and sum(size for size, _ in parts) >= LEAST:
            parts.sort(key=lambda part: -part[0])  # nobody is left with a long one in the end
            crew.each(partial(_cut, modality, threads), [part for _, part in parts])


def _cut(
    modality: Modality,
    threads: int,
    part: tuple[Sequence[Cut], Mapping[str, Any]],
    more: Callable[[int], object],
) -> None:
    cuts, decided = part
    torch.set_num_threads(threads)  # as where nobody helps: some sums depend on it
    cut_once(modality, cuts, decided, more)


def sent(cuts: Sequence[Cut], modality: Modality, where: Mapping[Path, Path] = NOWHERE) -> list[Cut]:
    """The same clips, with recordings as `_moved` has them, each once."""
    recordings = {recording: _moved(recording, modality, where) for recording, _ in cuts}
    return [(recordings[recording], clip) for recording, clip in cuts]


def _moved(recording: Recording, modality: Modality, where: Mapping[Path, Path]) -> Recording:
    """The streams that `modality` needs, nothing of them read yet, from where their files lie."""
    streams = {name: recording.streams[name] for name in modality.streams}
    for name, stream in streams.items():
        if file := file_of(stream):
            streams[name] = replace(cast(Any, stream), file=where.get(file, file))
    return replace(recording, streams=streams)


def file_of(stream: Stream) -> Path | None:
    """The `file` of a stream that is a dataclass and reads it when asked, as those of plait that do."""
    file = getattr(stream, "file", None)
    return file if is_dataclass(stream) and isinstance(file, Path) else None
