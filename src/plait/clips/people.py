"""One person, one name: who seems to be in a data set twice, and what the user says of them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from plait.clips.rows import Rows
from plait.clips.windows import ROUNDING_S
from plait.errors import ConfigError, DataError
from plait.names import alike, natural, plain
from plait.types import Clip, Recording, Stream

RICH = 16  # different values: fewer may agree by chance
PIECE, PIECES = 1024, 16  # values at a time, times, of a clip's tensor


@dataclass(frozen=True)
class People:
    """What the user says of names: each of `same` is one person, called by the first; those of `different` are several.

    Raises:
        ConfigError: a name alone, or in two persons.
    """

    same: tuple[tuple[str, ...], ...] = ()
    different: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what says nothing, or two things."""
        for key, groups in (("same_person", self.same), ("different", self.different)):
            for names in groups:
                if len(set(names)) < 2:
                    raise ConfigError(f"{key}: got {list(names)}, expected two names or more")
        for one, other in combinations(self.same, 2):
            if both := sorted({*map(plain, one)} & {*map(plain, other)}, key=natural):
                raise ConfigError(
                    f"same_person: {both[0]!r} is two persons, expected all names of one in one list"
                )

    def called(self, subject: str) -> str:
        """The name of whoever is called `subject`."""
        subject = plain(subject)
        return next((plain(names[0]) for names in self.same if subject in map(plain, names)), subject)

    def unknown(self, subjects: Iterable[str]) -> list[str]:
        """What to say of names that nobody in a data set has, though `same` names them."""
        known = {*map(plain, subjects)}
        asked = [(name, names) for names in self.same for name in names if plain(name) not in known]
        return [f"same_person = {list(names)}: nobody is called {name!r}" for name, names in asked]

    def told_apart(self, one: str, other: str) -> bool:
        """Whether the user says that these two are not the same."""
        return any({one, other} <= {*map(plain, names)} for names in self.different)


def check_names(
    where: Path, recordings: Sequence[Recording], people: People, activities: Iterable[str] = ()
) -> None:
    """Refuse people, and activities, whose names look alike, unless the user says that they are different.

    `recordings` have the subjects that `people` gives them; `activities` are looked at beside those of their spans.

    Raises:
        DataError: naming both, and a recording of each.
    """
    first = {recording.subject: recording.name for recording in reversed(recordings)}
    if "" in first:
        raise DataError(f"{where}: recording {first['']}: the subject is empty, expected who was recorded")
    for one, other in alike(first):
        if not people.told_apart(one, other):
            raise DataError(
                f"{where}: subjects {one!r} (recording {first[one]}) and {other!r} (recording {first[other]}) look "
                f"alike; {_ways(one, other)}"
            )
    by_activity = {
        plain(span.activity): recording.name for recording in reversed(recordings) for span in recording.spans
    }
    for one, other in alike({*by_activity, *map(plain, activities)}, person=False):
        if not people.told_apart(one, other):
            shown = [
                f"{a!r} (recording {by_activity[a]})" if a in by_activity else repr(a) for a in (one, other)
            ]
            raise DataError(
                f"{where}: activities {' and '.join(shown)} look alike, expected one spelling of one activity; "
                f"if they are two: {_said('different', one, other)}"
            )


def check_recordings(where: Path, recordings: Sequence[Recording], people: People) -> list[str]:
    """Refuse a recording of one person that is another's as well; returns what to say of doubles of one person.

    Recordings are the same if the files that they were read from are, or a stream of theirs that lies in memory, and
    labels of both lie at one time.

    Raises:
        DataError: naming both.
    """
    notes = []
    for one, other, what in _copies(recordings):
        if one.subject == other.subject:
            notes.append(
                f"recordings {one.name} and {other.name} of {one.subject} are the same ({what}), and count twice"
            )
        elif not people.told_apart(one.subject, other.subject):
            raise _twice(where, (one.subject, one.name), (other.subject, other.name), what)
    return notes


def check_clips(
    where: Path, clips: Sequence[Clip], arrays: Sequence[tuple[str, np.ndarray | Rows]], people: People
) -> None:
    """Refuse clips of two persons whose tensors are the same, whatever they were read from.

    `arrays` are of a modality each, a row per clip; a large row is looked at in places, and compared as a whole if
    these agree. Clips of few different values may agree by chance: then it takes half of a person's clips.

    Raises:
        DataError: naming both persons and recordings.
    """
    every: list[list[bytes]] = [[] for _ in clips]
    for modality, array in arrays:
        seen: dict[bytes, dict[str, int]] = {}
        for row, clip in enumerate(clips):
            every[row].append(_looked_at(array[row]))
            own = seen.setdefault(every[row][-1], {})
            for subject, before in own.items():
                apart = subject == clip.subject or people.told_apart(subject, clip.subject)
                if not apart and _is_rich(array[row]) and np.array_equal(array[before], array[row]):
                    raise _twice(where, _who(clips[before]), _who(clip), modality)
            own.setdefault(clip.subject, row)
    first: dict[str, dict[bytes, int]] = {}
    for row, clip in enumerate(clips):
        first.setdefault(clip.subject, {}).setdefault(b"".join(every[row]), row)
    for one, other in combinations(first, 2):  # people
        half = max(1, min(len(first[one]), len(first[other])) / 2)
        both = sorted((first[one][d], first[other][d]) for d in first[one].keys() & first[other].keys())
        if len(both) < half or people.told_apart(one, other):
            continue
        both = [(a, b) for a, b in both if all(np.array_equal(array[a], array[b]) for _, array in arrays)]
        some = [
            np.concatenate([array[a].reshape(-1)[:PIECE] for a, _ in both[:PIECES]])
            for _, array in arrays
            if both
        ]
        if len(both) >= half and any(map(_is_rich, some)):
            a, b = both[0]
            raise _twice(where, _who(clips[a]), _who(clips[b]), f"{len(both)} clips")


def _copies(recordings: Sequence[Recording]) -> Iterator[tuple[Recording, Recording, str]]:
    """Pairs of recordings with the same files, or a stream of the same values, labelled at one time; and which."""
    found: dict[tuple[str, str], list[Recording]] = {}
    told: set[tuple[int, int]] = set()
    for recording in recordings:
        contents = [("files", recording.key, "its files")] if recording.key else []
        for name, stream in recording.streams.items():
            in_memory = _values(stream) is not None
            content = _digest(stream) if in_memory else getattr(stream, "content_key", None)
            contents += [("values" if in_memory else "files", content, name)] if content else []
        for kind, content, what in contents:
            alike_to = found.setdefault((kind, content), [])
            for other in alike_to:
                pair = id(other), id(recording)
                if other is not recording and pair not in told and _at_one_time(other, recording):
                    told.add(pair)
                    yield other, recording, what
            alike_to.append(recording)


def _at_one_time(one: Recording, other: Recording) -> bool:
    """Whether labels of both lie at one time: two people may take turns before one camera."""
    pairs = ((a, b) for a in one.spans for b in other.spans)
    return any(min(a.stop_s, b.stop_s) - max(a.start_s, b.start_s) > ROUNDING_S for a, b in pairs)


def _digest(stream: Stream) -> str | None:
    """A digest of the values of a stream that lies in memory; None if there are few different ones, or none."""
    values = _values(stream)
    if values is None or values.dtype.hasobject or not _is_rich(values):
        return None
    return hashlib.blake2b(np.ascontiguousarray(values).data).hexdigest()


def _values(stream: Stream) -> np.ndarray | None:
    """The values of a stream that lies in memory."""
    values: Any = getattr(getattr(stream, "log", stream), "values", None)
    return values if isinstance(values, np.ndarray) else None


def _is_rich(values: np.ndarray) -> bool:
    """Whether there are many different values; most arrays show it in their first."""
    flat = values.ravel()
    return len(np.unique(flat[:PIECE])) >= RICH or len(np.unique(flat)) >= RICH


def _looked_at(row: np.ndarray) -> bytes:
    """A digest of a clip's values; of some of them, in all parts, if they are many."""
    flat = row.reshape(-1)
    if len(flat) > PIECE * PIECES:
        starts = np.linspace(0, len(flat) - PIECE, PIECES).astype(int)
        flat = np.concatenate([flat[start : start + PIECE] for start in starts])
    return hashlib.blake2b(np.ascontiguousarray(flat).data, digest_size=16).digest()


def _who(clip: Clip) -> tuple[str, str]:
    return clip.subject, clip.recording


def _twice(where: Path, one: tuple[str, str], other: tuple[str, str], what: str) -> DataError:
    who = [f"recording {recording} (subject {subject!r})" for subject, recording in (one, other)]
    return DataError(
        f"{where}: {who[0]} and {who[1]} are the same: equal values in {what}; remove one, or {_ways(one[0], other[0])}"
    )


def _ways(one: str, other: str) -> str:
    return f"if they are one person: {_said('same_person', one, other)}; if two: {_said('different', one, other)}"


def _said(key: str, one: str, other: str) -> str:
    """How a user says it, the shorter name first: in a study file, and to `plait clips`."""
    one, other = sorted((one, other), key=lambda name: (len(name), natural(name)))
    return f"{key} = [[{_quoted(one)}, {_quoted(other)}]] in [protocol], --{key.replace('_', '-')} '{one}={other}'"


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
