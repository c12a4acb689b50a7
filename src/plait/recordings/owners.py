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
    *(
        ".mp4",
        ".mov",
        ".mkv",
        ".avi",
        ".m4v",
        ".webm",
        ".ts",
        ".mts",
        ".m2ts",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
    ),
    *(".ogv", ".mxf", ".lrv"),
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
    listing = re.fullmatch(r'\[ *"(.*)" *\]', text)  # a list of one, as VIA writes it
    text = listing[1] if listing else text
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
    """Those of `values` that name this recording: its video's file, else the recording or its subject; perhaps none.

    Upper and lower case, directories, endings and Unicode's compositions do not count, unless two of the values
    differ by them alone: then directory and ending tell them apart. Where one directory is called as the recording or
    its subject, what lies in others is not this recording's. A value may list several videos that are seen together.

    Raises:
        DataError: several do, and nothing tells which is meant; or it comes after another video on one clock.
    """
    video, names = name_of(footage.video), {key(name) for name in footage.names if name}
    apart = {value: _meant(value, video, file, place) for value in values}
    found = {value: name for value, name in apart.items() if name.stem == video.stem}
    found = found or {v: name for v, name in apart.items() if {name.stem, name.stem + name.ending} & names}
    if {name.folder for name in apart.values()} & names and video.stem not in names:
        found = {value: name for value, name in found.items() if not name.folder or name.folder in names}
    if len({name.folder for name in found.values() if name.folder}) > 1:
        found = {value: name for value, name in found.items() if name.folder in names} or found
    if len({name.ending for name in found.values() if name.ending}) > 1:
        found = {value: name for value, name in found.items() if name.ending == video.ending} or found
    different = {(name.folder, name.ending) for name in found.values()}
    folders, endings = ({pair[i] for pair in different if pair[i]} for i in (0, 1))
    stems = {name.stem for name in found.values()}
    if max(len(folders), len(endings), len(stems)) > 1:
        raise DataError(
            f"{file}: {place}: {listed(sorted(found))} may all be {footage.video!r}, expected one; "
            f"{way_out('labels_of', sorted(found)[0])}"
        )
    return set(found)


def _meant(value: str, video: Name, file: Path, place: str) -> Name:
    """The name in a value, or of several videos this one; `;` parts those that follow one another on one clock."""
    for row in value.split("|") if len(films(value)) > 1 else ():
        listing = [name_of(part) for part in row.split(";") if part.strip()]
        mine = next((i for i, name in enumerate(listing) if name.stem == video.stem), None)
        if mine:
            raise DataError(
                f"{file}: {place}: {value!r} has this video after others, on one clock, expected times counted from "
                "its own start; observe it alone, or leave only its rows in a file and "
                f"{way_out('label_zero', 'TIME')}, the time at which it starts, and {way_out('labels_of', EVERY)}"
            )
        if mine is not None:
            return listing[mine]
    return name_of(value)


def nobody(
    file: Path, place: str, values: Iterable[str], footage: Footage | None, every: bool = True
) -> DataError:
    """The error that none of `values` names this recording; `every`: all of them may be said to."""
    there = sorted(set(values))
    names = (footage.video, *footage.names) if footage else ("not known here",)
    known = listed(list(dict.fromkeys(name for name in names if name)))
    stems = {name_of(name).stem for name in names}
    like = [value for value in there if any(alike([name_of(value).stem, stem]) for stem in stems)]
    return DataError(
        f"{file}: {place} says {listed(there)}, expected one that names this recording ({known}); "
        f"if one does, {way_out('labels_of', next(iter(like + there), 'NAME'))}"
        + (f", or {EVERY} for every row" if every else "")
    )
