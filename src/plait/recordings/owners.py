"""Whose labels: which of the names in a file stand for this recording."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from plait.errors import DataError
from plait.names import alike
from plait.recordings.annotations import Footage, listed, way_out

EVERY = "*"
FILMS = (
    *(".mp4", ".mov", ".mkv", ".avi", ".m4v", ".webm", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv"),
    *(".flv", ".3gp", ".ogv", ".mxf", ".lrv"),
)
MEDIA = (*FILMS, ".wav", ".mp3", ".m4a", ".aac", ".flac", ".csv", ".tsv", ".txt", ".eaf", ".json")
PLAYER = re.compile(r"player #\d+: *", re.IGNORECASE)  # how BORIS begins its media


class Name(NamedTuple):
    """A name, taken apart: the folder before it, what it is without its ending, and that."""

    folder: str
    stem: str
    ending: str


def key(text: str) -> str:
    """What two spellings of one name have in common."""
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).split())


def name_of(text: str) -> Name:
    """A file's name, its path or its address, or any other name, taken apart."""
    text = PLAYER.sub("", text.strip())
    text = text.partition("?")[0] if "://" in text else text
    if listing := re.fullmatch(r'\[ *"(.*)" *\]', text):  # a list of one, as VIA writes it
        text = listing[1]
    text = unquote(text) if text.startswith("file:") or "/" in text else text
    parts = [part for part in re.split(r"[/\\]+", text) if part not in ("", ".")] or [""]
    name = key(parts[-1])
    ending = Path(name).suffix if Path(name).suffix in MEDIA else ""
    return Name(key(parts[-2]) if len(parts) > 1 else "", name.removesuffix(ending), ending)


def films(text: str) -> list[str]:
    """The video files that a cell lists, in order; none unless each part of it is one."""
    parts = [part.strip() for part in re.split("[;|]", text) if part.strip()]
    return parts if parts and all(name_of(part).ending in FILMS for part in parts) else []


def own(values: Iterable[str], footage: Footage, file: Path, place: str) -> set[str]:
    """Those of `values` that name this recording: its video's file, else the recording or its subject.

    Upper and lower case, directories, endings and Unicode's compositions do not count, unless two of the
    values differ by them alone: then directory and ending tell them apart. Where one directory is called as
    the recording or its subject, what lies in others is not this recording's.

    Args:
        values: names, paths or addresses; one may list several videos that are seen together.
        footage: this recording's video and names.
        file: where the values are from, for errors.
        place: where in the file, for errors.

    Raises:
        DataError: several do, and nothing tells which is meant; or it comes after another video on one clock.
    """
    video, titles = name_of(footage.video), {key(name) for name in footage.names if name}
    names = {value: _meant(value, video, file, place) for value in values}
    filmed = {value: name for value, name in names.items() if name.stem == video.stem}
    titled = {v: name for v, name in names.items() if {name.stem, name.stem + name.ending} & titles}
    matches = filmed or titled
    if {name.folder for name in names.values()} & titles and video.stem not in titles:
        matches = {value: name for value, name in matches.items() if not name.folder or name.folder in titles}
    if len({name.folder for name in matches.values() if name.folder}) > 1:
        matches = {value: name for value, name in matches.items() if name.folder in titles} or matches
    if len({name.ending for name in matches.values() if name.ending}) > 1:
        matches = {value: name for value, name in matches.items() if name.ending == video.ending} or matches
    folders = {name.folder for name in matches.values() if name.folder}
    endings = {name.ending for name in matches.values() if name.ending}
    stems = {name.stem for name in matches.values()}
    if max(len(folders), len(endings), len(stems)) > 1:
        raise DataError(
            f"{file}: {place}: {listed(sorted(matches))} may all be {footage.video!r}, expected one; "
            f"{way_out('labels_of', sorted(matches)[0])}"
        )
    return set(matches)


def _meant(value: str, video: Name, file: Path, place: str) -> Name:
    """The name in a value; of several videos, this one. `;` parts those on one clock, `|` all others."""
    for part in value.split("|") if len(films(value)) > 1 else ():
        clips = [name_of(clip) for clip in part.split(";") if clip.strip()]
        index = next((i for i, clip in enumerate(clips) if clip.stem == video.stem), None)
        if index == 0:
            return clips[0]
        if index:
            raise DataError(
                f"{file}: {place}: {value!r} has this video after others, on one clock, expected times "
                "counted from its own start; observe it alone, or leave only its rows in a file and "
                f"{way_out('label_zero', 'TIME')}, the time at which it starts, and "
                f"{way_out('labels_of', EVERY)}"
            )
    return name_of(value)


def nobody(
    file: Path, place: str, values: Iterable[str], footage: Footage | None, every: bool = True
) -> DataError:
    """The error that none of the values names this recording.

    Args:
        file: where the values are from.
        place: where in the file.
        values: names of videos, sessions or people.
        footage: this recording's video and names; None: they are not known.
        every: all of the values may be said to.
    """
    there = sorted(set(values))
    names = (footage.video, *footage.names) if footage else ("not known here",)
    wanted = listed(list(dict.fromkeys(name for name in names if name)))
    stems = {name_of(name).stem for name in names}
    similar = [value for value in there if any(alike([name_of(value).stem, stem]) for stem in stems)]
    return DataError(
        f"{file}: {place} says {listed(there)}, expected one that names this recording ({wanted}); "
        f"if one does, {way_out('labels_of', next(iter(similar + there), 'NAME'))}"
        + (f", or {EVERY} for every row" if every else "")
    )
