"""What lies in the cache: by stage, how large, how old, of which form; and how it goes."""

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from filelock import Timeout

from plait.errors import ConfigError, DataError
from plait.store import FORM, cache_folder, locked, sealing

STAGES = {
    "clips": "clips as they were cut",
    "features": "what frozen encoders made of clips",
    "grids": "what jobs made of clips and features: of frozen encoders, averages, copies",
    "weights": "downloaded weights",
    "sent": "files that a cluster's driver has sent",
}
_SEALED = ("clips", "features", "grids")  # each file has a seal beside it
_HASH = re.compile("[0-9a-f]{32}")
_NAMED = re.compile("(.+-)?[0-9a-f]{32}")
HOUR_S, DAY_S = 3600.0, 86_400.0


class State(StrEnum):
    """Whether an entry can be of use."""

    whole = "whole"
    old = "old"  # of an older form, or without a seal: no key of today's leads there
    unfinished = "unfinished"  # what a run that was stopped goes on with, or has left for good


@dataclass(frozen=True)
class Entry:
    """Files that stand and go together, `owner` the chief of them.

    `used_s` is when one of them was last read or written, as far as the file system says.
    """

    stage: str
    owner: Path
    files: tuple[Path, ...]
    size: int
    used_s: float
    state: State
    made: str = ""


def entries(stages: Sequence[str] = ()) -> list[Entry]:
    """All entries of some stages, by default of every one. Nothing is read but seals, and no link is followed.

    Raises:
        ConfigError: there is no such stage.
        DataError: the cache cannot be read.
    """
    for name in stages:
        if name not in STAGES:
            raise ConfigError(f"stage {name!r}, expected one of: {', '.join(STAGES)}")
    return [entry for stage in stages or STAGES for entry in _of(stage)]


def clean(found: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Remove entries; those that went, and those that did not, for somebody is at work on them.

    Raises:
        DataError: a file cannot be removed.
    """
    gone: list[Entry] = []
    kept: list[Entry] = []
    for entry in found:
        (gone if _removed(entry) else kept).append(entry)
    return gone, kept


def useless(found: Sequence[Entry]) -> list[Entry]:
    """The entries that no run of today's finds, and what runs that were stopped have left for a day or more."""
    left = older([entry for entry in found if entry.state is State.unfinished], 1.0)
    return [entry for entry in found if entry.state is State.old] + left


def older(found: Sequence[Entry], days: float) -> list[Entry]:
    """The entries that were last used more than so many days ago."""
    return [entry for entry in found if time.time() - entry.used_s > days * DAY_S]


def _of(stage: str) -> Iterator[Entry]:
    """The entries of one stage: what plait writes there, told by its names."""
    root = cache_folder(stage)
    files = {} if root.is_symlink() else dict(_files(root))
    groups: dict[Path, list[Path]] = {}
    for path in sorted(files):
        if (owner := _owner(stage, path)) is not None:
            groups.setdefault(owner, []).append(path)
    for owner, group in groups.items():
        if owner.suffix == ".part" or any(
            part.startswith(".making-") for part in owner.relative_to(root).parts
        ):
            state, made = State.unfinished, ""
        elif stage in _SEALED:
            state, made = _sealed(owner)
        else:
            state, made = State.whole, owner.name
        used_s = max(max(files[one].st_mtime, files[one].st_atime) for one in group)
        yield Entry(stage, owner, tuple(group), sum(files[one].st_size for one in group), used_s, state, made)


def _owner(stage: str, path: Path) -> Path | None:
    """The file that another belongs to, itself perhaps; None for what is not plait's, and for locks."""
    if path.name.endswith(".lock"):
        return None
    if stage not in _SEALED or path.name.startswith(".making-") or path.parent.name.startswith(".making-"):
        return path
    if not _NAMED.fullmatch(path.stem) or path.suffix not in (".npy", ".json", ".parquet"):
        return None
    if (
        stage == "clips" and path.suffix == ".json" and not _HASH.fullmatch(path.stem)
    ):  # which says what array it means
        return path.with_name(f"{Path(_pointed(path)).stem or path.stem}.npy")
    return path.with_suffix(".npy")


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every plain file below a folder; links are passed by."""
    try:
        for folder, names, files in os.walk(root, followlinks=False, onerror=_refused):
            names[:] = [name for name in names if not (Path(folder) / name).is_symlink()]
            for name in files:
                path = Path(folder) / name
                if path.is_file() and not path.is_symlink():
                    yield path, path.lstat()
    except OSError as error:
        raise DataError(f"{error.filename or root}: cannot be read: {error.strerror}") from error


def _refused(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _pointed(entry: Path) -> str:
    """The array that a pointer names."""
    try:
        return str(json.loads(entry.read_bytes())["array"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _sealed(path: Path) -> tuple[State, str]:
    """What the seal of a file says; its contents are not read."""
    try:
        said = json.loads(sealing(path).read_bytes())
        sound = said["form"] == FORM and said["size"] == path.stat().st_size
        return State.whole if sound else State.old, str(said.get("made", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return State.old, ""


def _removed(entry: Entry) -> bool:
    """Remove the files of an entry, unless a process is at work on it."""
    owner = entry.owner
    if owner.parent.name.startswith(".making-") and time.time() - entry.used_s < HOUR_S:
        return False  # it has no lock: clips that are being cut
    name = owner.name.removeprefix(".making-").removesuffix(".part")
    lock = owner.with_name(f"{name}.lock" if entry.stage == "weights" else f".{name}.lock")
    try:
        with locked(lock, wait=False):
            for path in entry.files:
                path.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
    except Timeout:
        return False
    except OSError as error:
        raise DataError(f"{owner}: cannot be removed: {error.strerror}") from error
    if owner.parent != cache_folder(entry.stage) and not any(owner.parent.iterdir()):
        owner.parent.rmdir()
    return True
