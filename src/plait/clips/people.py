"""One person, one name: who seems to be in a data set twice, and what the user says of them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from plait.clips.rows import Rows
from plait.clips.windows import ROUNDING_S
from plait.errors import ConfigError, DataError
from plait.names import alike, natural, plain
from plait.types import Clip, Recording, Stream

Side = Literal["subject", "session"]  # what folds keep apart
RICH = 16  # different values: fewer may agree by chance
PIECE, PIECES = 1024, 16  # values of a clip's tensor in a piece, and pieces


@dataclass(frozen=True)
class People:
    """What the user says of names.

    The names in each of `same` are one person, called by the first; those in each of `different` are several.

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
        for names, others in combinations(self.same, 2):
            if both := sorted({*map(plain, names)} & {*map(plain, others)}, key=natural):
                expected = "expected all names of one in one list"
                raise ConfigError(f"same_person: {both[0]!r} is two persons, {expected}")

    def called(self, subject: str) -> str:
        """The name of whoever is called `subject`."""
        subject = plain(subject)
        return next((plain(names[0]) for names in self.same if subject in map(plain, names)), subject)

    def unknown(self, subjects: Iterable[str]) -> list[str]:
        """What to say of names that nobody in a data set has, though `same` names them."""
        present = {*map(plain, subjects)}
        absent = [(name, names) for names in self.same for name in names if plain(name) not in present]
        return [f"same_person = {list(names)}: nobody is called {name!r}" for name, names in absent]

    def told_apart(self, one: str, other: str) -> bool:
        """Whether the user says that these two are not the same."""
        return any({one, other} <= {*map(plain, names)} for names in self.different)


def check_names(
    where: Path,
    recordings: Sequence[Recording],
    people: People,
    activities: Iterable[str] = (),
    by: Side = "subject",
) -> None:
    """Refuse persons, and activities, whose names look alike, unless the user says that they are different.

    So are sessions, where folds are made of them: one session under two names would stand on both sides.

    Args:
        where: the folder, for the error.
        recordings: their subjects are called as `people` calls them.
        people: what the user says of names.
        activities: looked at beside those of the recordings' spans.
        by: what folds are made of.

    Raises:
        DataError: naming both, and a recording of each.
    """
    by_subject = {recording.subject: recording.name for recording in reversed(recordings)}
    if "" in by_subject:
        empty = by_subject[""]
        raise DataError(f"{where}: recording {empty}: the subject is empty, expected who was recorded")
    for names in alike(by_subject):
        if not people.told_apart(*names):
            both = _with_recordings(names, by_subject)
            raise DataError(f"{where}: subjects {both} look alike; {_remedies(*names)}")
    by_session = {plain(recording.session): recording.name for recording in reversed(recordings)}
    for names in alike(by_session) if by == "session" else ():
        if not people.told_apart(*names):
            both = _with_recordings(names, by_session)
            raise DataError(
                f"{where}: sessions {both} look alike, expected one spelling of one session; "
                f"if they are two: {_setting('different', *names)}"
            )
    by_activity = {
        plain(span.activity): recording.name for recording in reversed(recordings) for span in recording.spans
    }
    for names in alike({*by_activity, *map(plain, activities)}, person=False):
        if not people.told_apart(*names):
            both = _with_recordings(names, by_activity)
            raise DataError(
                f"{where}: activities {both} look alike, expected one spelling of one activity; "
                f"if they are two: {_setting('different', *names)}"
            )


def check_recordings(
    where: Path, recordings: Sequence[Recording], people: People, by: Side = "subject"
) -> list[str]:
    """Refuse a recording of one person that is another's as well; returns notes on doubles of one person.

    Two recordings are the same if labels of both lie at one time, and the files that they were read from are
    equal, or a stream of each that lies in memory.

    Args:
        where: the folder, for the error.
        recordings: whose.
        people: who are different although they share recordings.
        by: what no two of may share a recording: people, or sessions and people.

    Raises:
        DataError: naming both.
    """
    notes = []
    for recording, other, equal in _copies(recordings):
        subject = recording.subject
        sides = getattr(recording, by), getattr(other, by)
        if sides[0] != sides[1] and by == "session":
            raise _double(where, (sides[0], recording.name), (sides[1], other.name), equal, by)
        if subject == other.subject:
            pair = f"recordings {recording.name} and {other.name} of {subject}"
            notes.append(f"{pair} are the same ({equal}), and count twice")
        elif not people.told_apart(subject, other.subject):
            raise _double(where, (subject, recording.name), (other.subject, other.name), equal)
    return notes


def check_clips(
    where: Path,
    clips: Sequence[Clip],
    arrays: Sequence[tuple[str, np.ndarray | Rows]],
    people: People,
    by: Side = "subject",
) -> None:
    """Refuse clips of two persons whose tensors are the same, whatever they were read from.

    A large row is looked at in places, and compared as a whole if these agree. Clips of few different values
    may agree by chance: then it takes half of a person's clips.

    Args:
        where: the folder, for the error.
        clips: whose.
        arrays: modalities' names, each with an array or `Rows` of a row per clip.
        people: who are different although their clips are the same.
        by: what folds are made of, where it is not people: no two sessions may share clips.

    Raises:
        DataError: naming both persons, or sessions, and recordings.
    """
    clips = [replace(clip, subject=getattr(clip, by)) for clip in clips]
    people = people if by == "subject" else People()  # who speak of people
    digests: list[list[bytes]] = [[] for _ in clips]
    for modality, array in arrays:
        seen: dict[bytes, dict[str, int]] = {}
        for row, clip in enumerate(clips):
            digest = _digest_pieces(array[row])
            digests[row].append(digest)
            rows = seen.setdefault(digest, {})  # by subject
            others = len(rows) > (clip.subject in rows)
            for subject, before in rows.items() if others and _is_rich(array[row]) else ():
                apart = subject == clip.subject or people.told_apart(subject, clip.subject)
                if not apart and np.array_equal(array[before], array[row]):
                    raise _double(where, _origin(clips[before]), _origin(clip), modality, by)
            rows.setdefault(clip.subject, row)
    first: dict[str, dict[bytes, int]] = {}
    for row, clip in enumerate(clips):
        first.setdefault(clip.subject, {}).setdefault(b"".join(digests[row]), row)
    for (subject, other), shared in _sharing(first).items():
        half = max(1, min(len(first[subject]), len(first[other])) / 2)
        if len(shared) < half or people.told_apart(subject, other):
            continue
        pairs = sorted((first[subject][digest], first[other][digest]) for digest in shared)
        pairs = [(a, b) for a, b in pairs if all(np.array_equal(array[a], array[b]) for _, array in arrays)]
        if len(pairs) < half:
            continue
        some = [a for a, _ in pairs[:PIECES]]
        heads = (np.concatenate([array[a].reshape(-1)[:PIECE] for a in some]) for _, array in arrays)
        if any(map(_is_rich, heads)):
            a, b = pairs[0]
            raise _double(where, _origin(clips[a]), _origin(clips[b]), f"{len(pairs)} clips", by)


def _sharing(held: Mapping[str, Mapping[bytes, int]]) -> dict[tuple[str, str], list[bytes]]:
    """What two subjects both hold, for each pair of them that do, in the order of `held`."""
    holders: dict[bytes, list[str]] = {}
    for subject, digests in held.items():
        for digest in digests:
            holders.setdefault(digest, []).append(subject)
    shared: dict[tuple[str, str], list[bytes]] = {}
    for digest, subjects in holders.items():
        for pair in combinations(subjects, 2):
            shared.setdefault(pair, []).append(digest)
    place = {subject: at for at, subject in enumerate(held)}
    return {pair: shared[pair] for pair in sorted(shared, key=lambda pair: [place[who] for who in pair])}


def _copies(recordings: Sequence[Recording]) -> Iterator[tuple[Recording, Recording, str]]:
    """Pairs of recordings, labelled at one time, with the same files or stream; and which of these it is."""
    holders: dict[tuple[str, str], list[Recording]] = {}
    reported: set[tuple[int, int]] = set()
    for recording in recordings:
        contents = [("files", recording.key, "its files")] if recording.key else []
        for name, stream in recording.streams.items():
            values = _values(stream)
            kind = "files" if values is None else "values"
            content = getattr(stream, "content_key", None) if values is None else _digest(values)
            contents += [(kind, content, name)] if content else []
        for kind, content, name in contents:
            others = holders.setdefault((kind, content), [])
            for other in others:
                pair = id(other), id(recording)
                if other is not recording and pair not in reported and _at_one_time(other, recording):
                    reported.add(pair)
                    yield other, recording, name
            others.append(recording)


def _at_one_time(recording: Recording, other: Recording) -> bool:
    """Whether labels of both lie at one time: two people may take turns before one camera."""
    pairs = ((a, b) for a in recording.spans for b in other.spans)
    return any(min(a.stop_s, b.stop_s) - max(a.start_s, b.start_s) > ROUNDING_S for a, b in pairs)


def _values(stream: Stream) -> np.ndarray | None:
    """The values of a stream that lies in memory."""
    values: Any = getattr(getattr(stream, "log", stream), "values", None)
    return values if isinstance(values, np.ndarray) else None


def _digest(values: np.ndarray) -> str | None:
    """A digest of a stream's values; None if there are few different ones, or none."""
    if values.dtype.hasobject or not _is_rich(values):
        return None
    return hashlib.blake2b(np.ascontiguousarray(values).data).hexdigest()


def _is_rich(values: np.ndarray) -> bool:
    """Whether there are many different values; most arrays show it in their first."""
    flat = values.ravel()
    return len(np.unique(flat[:PIECE])) >= RICH or len(np.unique(flat)) >= RICH


def _digest_pieces(row: np.ndarray) -> bytes:
    """A digest of a clip's values; of pieces from start to end, if they are many."""
    flat = row.reshape(-1)
    if len(flat) > PIECE * PIECES:
        starts = np.linspace(0, len(flat) - PIECE, PIECES).astype(int)
        flat = np.concatenate([flat[start : start + PIECE] for start in starts])
    return hashlib.blake2b(np.ascontiguousarray(flat).data, digest_size=16).digest()


def _with_recordings(names: Iterable[str], recordings: Mapping[str, str]) -> str:
    """Names that look alike, each with a recording that has it, if any has."""
    places = {name: f" (recording {recording})" for name, recording in recordings.items()}
    return " and ".join(f"{name!r}{places.get(name, '')}" for name in names)


def _origin(clip: Clip) -> tuple[str, str]:
    return clip.subject, clip.recording


def _double(
    where: Path, origin: tuple[str, str], other: tuple[str, str], equal: str, by: Side = "subject"
) -> DataError:
    """The error that two recordings, each a subject or a session and a name, are the same in `equal`."""
    both = [f"recording {name} ({by} {side!r})" for side, name in (origin, other)]
    remedies = _remedies(origin[0], other[0]) if by == "subject" else "say that both are of one session"
    return DataError(
        f"{where}: {both[0]} and {both[1]} are the same: equal values in {equal}; remove one, or {remedies}"
    )


def _remedies(subject: str, other: str) -> str:
    same, different = (_setting(key, subject, other) for key in ("same_person", "different"))
    return f"if they are one person: {same}; if two: {different}"


def _setting(key: str, name: str, other: str) -> str:
    """How a user says it, the shorter name first: in a study file, and to `plait clips`."""
    name, other = sorted((name, other), key=lambda text: (len(text), natural(text)))
    option = f"--{key.replace('_', '-')} '{name}={other}'"
    return f"{key} = [[{_quote(name)}, {_quote(other)}]] in [protocol], {option}"


def _quote(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
