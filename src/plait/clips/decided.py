"""What decides clips' tensors, in terms of JSON: what recordings hold, and the code that reads them."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from plait.clips.listing import Cut
from plait.clips.windows import window
from plait.compute.machine import numerics
from plait.contents import describe
from plait.keying import source_key
from plait.types import Dataset, Modality, Recording


class Reading:
    """How a data set's recordings are read and cut, which is looked at once, however many these are.

    Args:
        dataset: whose recordings.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._streams: dict[frozenset[type], str] = {}
        self._recipes: dict[str, dict[str, Any]] = {}

    def streams(self, kinds: frozenset[type]) -> str:
        """A key of the code of these kinds of streams."""
        if kinds not in self._streams:
            self._streams[kinds] = source_key(kinds)
        return self._streams[kinds]

    def recipe(self, modality: str) -> dict[str, Any]:
        """The `recipe` of a modality, by its name."""
        if modality not in self._recipes:
            self._recipes[modality] = recipe(self.dataset.modality(modality))
        return self._recipes[modality]

    @cached_property
    def recordings(self) -> list[Any]:
        """How recordings are opened, and that code.

        Raises:
            ConfigError: `recordings` holds something whose content cannot be told.
        """
        reader = self.dataset.recordings
        return [describe(reader, apart=(Recording,)), source_key([reader])]


def decided_by(dataset: Dataset, modality: Modality, cuts: Sequence[Cut]) -> dict[str, Any] | None:
    """What decides the clips' tensors, as JSON; None where a recording does not say what it was read from.

    Names decide nothing: neither the modality's nor those of its streams.

    Raises:
        ConfigError: `prepare` or `recordings` hold something whose content cannot be told.
    """
    contents = contents_of(Reading(dataset), modality, cuts)
    return None if contents is None else {**recipe(modality), **contents}


def contents_of(reading: Reading, modality: Modality, cuts: Sequence[Cut]) -> dict[str, Any] | None:
    """Each clip's content and times, and the code that reads them; None where a recording does not say.

    A stream's key says all of it. A recording's key is of its files, so how these are opened counts as well.

    Raises:
        ConfigError: as `decided_by`.
    """
    recordings = list(dict.fromkeys(recording for recording, _ in cuts))
    keys = {recording: recording.content(modality.streams) for recording in recordings}
    if None in keys.values():
        return None
    whole = modality.rate_hz is None
    clips = [[keys[recording], clip.start_s, clip.stop_s if whole else None] for recording, clip in cuts]
    kinds = frozenset(type(recording.streams[name]) for recording in recordings for name in modality.streams)
    contents: dict[str, Any] = {"clips": clips, "streams": reading.streams(kinds)}
    if any(recording.key is not None for recording in recordings):
        contents["recordings"] = reading.recordings
    return contents


def recipe(modality: Modality) -> dict[str, Any]:
    """How a modality's clips are made of what is read, as JSON.

    Raises:
        ConfigError: `prepare` holds something whose content cannot be told.
    """
    return {
        "window": [modality.samples, modality.rate_hz, describe(modality.prepare)],
        "sources": source_key([modality.prepare, window]),
        "numerics": numerics(),
    }
