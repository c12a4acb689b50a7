"""What lies in the cache, stage by stage: how large, how old, of which form. And how it is removed."""

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
from plait.store import FORM, MAKING, cache_folder, locked, sealing

STAGES = {
    "clips": "clips as they were cut",
    "features": "what frozen encoders made of clips",
    "grids": "what jobs made of clips and features: of frozen encoders, averages, copies",
    "weights": "downloaded weights",
    "models": "recognisers from the Hugging Face hub",
    "doctor": "what the doctor saw of recordings",
    "sent": "files that a cluster's driver has sent",
}
_SEALED = ("clips", "features", "grids")  # each file has a seal beside it
_HASH = re.compile("[0-9a-f]{32}")
_NAMED = re.compile("(.+-)?[0-9a-f]{32}")
_MODEL = re.compile("[^.].*--.+--[0-9a-f]{40}")  # a folder: its repository, its commit
HOUR_S, DAY_S = 3600.0, 86_400.0


class State(StrEnum):
    """Whether an entry can be of use."""

    whole = "whole"
    old = "old"  # of an older form, or without a seal: no key of today's leads there
    unfinished = "unfinished"  # what a run that was stopped goes on with, or has left for good


@dataclass(frozen=True)
class Entry:
    """Files that stand and go together.

    Args:
        stage: one of `STAGES`.
        owner: the chief of the files, or their folder.
        files: all of them, the owner among them if it is one.
        size: their bytes.
        used_s: when one of them was last read or written, as far as the file system says.
        state: whether it can be of use.
        made: what it is, as its seal says, or its name.
    """

    stage: str
    owner: Path
    files: tuple[Path, ...]
    size: int
    used_s: float
    state: State
    made: str = ""


def entries(stages: Sequence[str] = ()) -> list[Entry]:
    """All entries of `stages`, by default of every one. Nothing is read but seals, and no link is followed.

    Raises:
        ConfigError: there is no such stage.
        DataError: the cache cannot be read.
    """
    for name in stages:
        if name not in STAGES:
            raise ConfigError(f"stage {name!r}, expected one of: {', '.join(STAGES)}")
    return [entry for stage in stages or STAGES for entry in _entries_of(stage)]


def clean(found: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Remove entries: gives those that went, and those that stay because somebody is at work on them.

    Raises:
        DataError: a file cannot be removed.
    """
    gone: list[Entry] = []
    kept: list[Entry] = []
    for entry in found:
        (gone if _remove(entry) else kept).append(entry)
    return gone, kept


def useless(found: Sequence[Entry]) -> list[Entry]:
    """The entries that no run of today's finds, and those that stopped runs left a day or longer ago."""
    unfinished = [entry for entry in found if entry.state is State.unfinished]
    return [entry for entry in found if entry.state is State.old] + older(unfinished, 1.0)


def older(found: Sequence[Entry], days: float) -> list[Entry]:
    """The entries that were last used more than so many days ago."""
    return [entry for entry in found if time.time() - entry.used_s > days * DAY_S]


def _entries_of(stage: str) -> Iterator[Entry]:
    """What plait has written into one stage, told by its names."""
    root = cache_folder(stage)
    stats = {} if root.is_symlink() else dict(_files(root))
    groups: dict[Path, list[Path]] = {}
    for path in sorted(stats):
        if (owner := _owner(stage, path)) is not None:
            groups.setdefault(owner, []).append(path)
    for owner, group in groups.items():
        temporary = any(part.startswith(MAKING) for part in owner.relative_to(root).parts)
        if temporary or owner.suffix == ".part":
            state, made = State.unfinished, ""
        elif stage in _SEALED:
            state, made = _sealed(owner)
        else:
            state, made = State.whole, owner.name
        size = sum(stats[path].st_size for path in group)
        used_s = max(max(stats[path].st_mtime, stats[path].st_atime) for path in group)
        yield Entry(stage, owner, tuple(group), size, used_s, state, made)


def _owner(stage: str, path: Path) -> Path | None:
    """The file or folder that `path` belongs to, perhaps itself; None for locks and what is not plait's."""
    if path.name.endswith(".lock"):
        return None
    if stage == "models":
        return path.parent if _MODEL.fullmatch(path.parent.name) else None
    if stage not in _SEALED or path.name.startswith(MAKING) or path.parent.name.startswith(MAKING):
        return path
    if not _NAMED.fullmatch(path.stem) or path.suffix not in (".npy", ".json", ".parquet"):
        return None
    if stage == "clips" and path.suffix == ".json" and not _HASH.fullmatch(path.stem):  # a pointer, no seal
        return path.with_name(f"{Path(_pointed(path)).stem or path.stem}.npy")
    return path.with_suffix(".npy")


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every plain file below a folder; links are passed by."""
    try:
        for folder, _, names in os.walk(root, followlinks=False, onerror=_raise_unless_gone):
            for name in names:
                path = Path(folder) / name
                if path.is_file() and not path.is_symlink():
                    yield path, path.lstat()
    except OSError as error:
        raise DataError(f"{error.filename or root}: cannot be read: {error.strerror}") from error


def _raise_unless_gone(error: OSError) -> None:
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
        seal = json.loads(sealing(path).read_bytes())
        fits = seal["form"] == FORM and seal["size"] == path.stat().st_size
        return State.whole if fits else State.old, str(seal.get("made", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return State.old, ""


def _remove(entry: Entry) -> bool:
    """Remove the files of an entry, unless a process is at work on it; whether they went."""
    owner = entry.owner
    if owner.parent.name.startswith(MAKING) and time.time() - entry.used_s < HOUR_S:
        return False  # it has no lock: clips that are being cut
    name = owner.name.removeprefix(MAKING).removesuffix(".part")
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
    for folder in (owner, owner.parent):
        if folder.is_dir() and folder != cache_folder(entry.stage) and not any(folder.iterdir()):
            folder.rmdir()
    return True
