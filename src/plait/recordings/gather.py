"""Which files a recording is made of: those of a folder but what cameras and computers leave beside them."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from plait.errors import DataError
from plait.names import encodable
from plait.recordings.layouts import text_of
from plait.recordings.tables import read_bytes

BESIDE = (  # previews, thumbnails, folder settings, documents: never a recording's
    *(".thm", ".lrv", ".lrf", ".pfsx", ".ini", ".db", ".lnk", ".url", ".xmp", ".md", ".pdf", ".html"),
    *(".jpg", ".jpeg", ".png", ".gif", ".heic", ".gpr", ".dng"),
)
DOCUMENTS = ("readme", "license", "licence", "changelog", "notice")
NUMBER = re.compile(r"[-+]?[0-9][-0-9.:,eE+T ]*Z?")
CHAPTER = re.compile(r"(?:GOPR|G[HXLP][0-9]{2})([0-9]{4})", re.IGNORECASE)  # of a GoPro's recording


def gather(
    sources: Sequence[Path], told: list[str], is_sensors: Callable[[Path], bool] = lambda folder: False
) -> list[Path]:
    """The files in one folder, or `sources` themselves; `told` grows by what is left out.

    Folders are left out but those that are a sensor's own, which `is_sensors` says.

    Raises:
        DataError: a source is no file, two have one name, or a name is not UTF-8.
    """
    in_folder = len(sources) == 1 and sources[0].is_dir()
    try:
        candidates = sorted(sources[0].iterdir()) if in_folder else list(sources)
    except OSError as error:
        raise DataError(f"{sources[0]}: cannot be read: {error.strerror}") from error
    files: dict[str, Path] = {}
    for file in candidates:
        if file.name.startswith("."):
            continue
        if not encodable(file.name):
            raise DataError(
                f"a file called {_printable(file.name)!r}: its name is not in UTF-8, "
                "expected one that is: rename it"
            )
        if in_folder and file.is_dir() and not is_sensors(file):
            told.append(f"{file.name}: a folder, left out")
        elif _is_by_product(file):
            told.append(f"{file.name}: not of the recording, left out")
        elif not file.is_file() and not (file.is_dir() and is_sensors(file)):
            kind = "a folder" if file.is_dir() else "a pipe or a device"
            kind = kind if file.exists() else "no such file"
            raise DataError(
                f"{file}: {kind}, expected a video, sensor logs and labels, or one folder of them"
            )
        elif file.name in files:
            raise DataError(f"{file}: called like {files[file.name]}, expected names that differ")
        else:
            files[file.name] = file
    if not files:
        raise DataError(
            f"{sources[0]}: no file of a recording in it, expected a video, sensor logs and labels"
        )
    return list(files.values())


def _is_by_product(file: Path) -> bool:
    suffix = file.suffix.lower()
    return suffix in BESIDE or (suffix in ("", ".txt") and file.stem.lower().startswith(DOCUMENTS))


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def is_prose(file: Path) -> bool:
    """Whether a `.txt` file is text for people: few of its lines have cells, one of them a number."""
    text, _ = text_of(file, read_bytes(file), legacy=True)
    lines = [line for line in text.splitlines()[1:1000] if line.strip()]
    tabular = 0
    for line in lines:
        cells = re.split(r"[\t;,|]", line)
        separated = len(cells) > 1
        cells = cells if separated else line.split()
        numbers = sum(NUMBER.fullmatch(cell.strip()) is not None for cell in cells)
        tabular += len(cells) > 1 and numbers > (0 if separated else len(cells) // 2)
    return 2 * tabular < len(lines)


def only_video(videos: Sequence[Path], where: Path) -> Path:
    """The video, if there is one.

    Raises:
        DataError: there is none, or several: chapters of one recording, or different ones.
    """
    if len(videos) == 1:
        return videos[0]
    listed = ", ".join(video.name for video in videos) or "none"
    matches = [CHAPTER.fullmatch(video.stem) for video in videos]
    numbers = {match[1] if match else "" for match in matches}
    if len(videos) > 1 and len(numbers) == 1 and (number := numbers.pop()):
        ordered = sorted(videos, key=lambda file: (file.stem.upper()[:4] != "GOPR", file.stem.upper()))
        names = " ".join(f"\"file '{file.name}'\"" for file in ordered)
        raise DataError(
            f"{where}: {listed} are the chapters of one recording, expected one video; "
            "join them without a loss: "
            f"printf '%s\\n' {names} > chapters.txt; ffmpeg -f concat -safe 0 -i chapters.txt -c copy "
            f"{number}{ordered[0].suffix}; then leave the chapters out"
        )
    raise DataError(f"{where}: expected exactly one video, got: {listed}; name the files that are meant")


def recording_name(name: str) -> str:
    """A recording's name, which is its folder's.

    Raises:
        DataError: it cannot be the name of a folder.
    """
    fit = name and not name.startswith(".") and not re.search(r"[/\\\x00-\x1f\x7f]", name)
    if not fit or not encodable(name) or len(name.encode()) > 200:
        raise DataError(
            f"--name {_printable(name)!r}: "
            "expected a folder's name without slashes and without a dot before it"
        )
    return name


def stream_name(stem: str) -> str:
    """A stream's name of a file's: letters and digits of any script in lower case, the rest an underscore."""
    text = unicodedata.normalize("NFC", stem).lower()
    kept = "".join(c if c.isalnum() or unicodedata.category(c).startswith("M") else "_" for c in text)
    return re.sub("_+", "_", kept).strip("_") or "log"
