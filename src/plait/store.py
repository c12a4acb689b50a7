"""Files on disk: atomic writes, content keys, the cache folder."""

import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import tomli_w
from filelock import FileLock, Timeout

from plait.errors import DataError, PlaitWarning

if TYPE_CHECKING:
    import polars as pl

UMASK = os.umask(0o077)  # which cannot be read without being set
os.umask(UMASK)
FORM = 1  # of what lies in the cache: where it is another, entries are made anew
SETTLED_S = 2.0  # a file that was changed less long ago may change again without another time stamp
_known: dict[tuple[int, ...], str] = {}  # checksums of files as they were found in this process
_told: set[tuple[Path, int, int]] = set()  # which files have been said to be damaged


@contextmanager
def scratch(folder: Path, name: str) -> Iterator[Path]:
    """A temporary folder inside `folder`, gone afterwards; what should stay is moved out of it.

    Raises:
        DataError: the folder cannot be written, or the disk is full; `name` says what was to be made.
    """
    made: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=folder))
        yield made
    except OSError as error:
        raise DataError(f"{folder / name}: cannot be written: {error.strerror or error}") from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path for a file or a folder to be made, which takes `path`'s place only on success.

    By then it is on the disk, so that no loss of power leaves less than what stood before, and whoever may read new
    files here may read it.

    Raises:
        DataError: it cannot be written, or the disk is full. What stood at `path` still stands.
    """
    with scratch(path.parent, path.name) as folder:
        made = folder / path.name
        yield made
        for one in [made, *made.rglob("*")] if made.is_dir() else [made]:
            one.chmod((0o777 if one.is_dir() else 0o666) & ~UMASK)
            _on_the_disk(one)
        if path.is_dir():
            path.replace(folder / "old")
        made.replace(path)
        _on_the_disk(path.parent)


def _on_the_disk(path: Path) -> None:
    """Have a file, or the names in a folder, written out; where folders cannot be opened, the system does that."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock at `path`, which the kernel gives up when its holder dies.

    Raises:
        filelock.Timeout: another process holds it, and one does not `wait`.
        DataError: it cannot be written, or the file system has no such locks.
    """
    held = FileLock(path, blocking=wait, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout:
        raise
    except OSError as error:
        raise DataError(f"{path.parent}: cannot be locked: {error.strerror or error}") from error
    try:
        yield
    finally:
        held.release()


@contextmanager
def made_once(path: Path, resumed: bool = False, said: Mapping[str, Any] | None = None) -> Iterator[Path | None]:
    """A path for a file to be made, which takes `path`'s place on success; None if the file stands already.

    One process at a time makes it, and those that wait find it made. What a killed process leaves is under the same
    name for the next one; if it is `resumed`, what an error leaves too. With `said`, the file is sealed: a JSON file
    beside it holds that, its size and its checksum, and one that is not as its seal says does not stand.

    Raises:
        DataError: it cannot be written, the disk is full, or a file that it is made of cannot be read.
    """
    making = path.with_name(f".making-{path.name}")

    def stands() -> bool:
        return path.exists() if said is None else sound(path)

    if stands():
        yield None
        return
    with locked(path.with_name(f".{path.name}.lock")):
        if stands():
            yield None
            return
        try:
            yield making
            if said is not None:
                seal(making, path, said)
            making.replace(path)
        except BaseException as error:
            if not resumed:
                making.unlink(missing_ok=True)
            if not isinstance(error, OSError):
                raise
            what = "written" if error.filename in (None, str(making)) else f"made: {error.filename}"
            raise DataError(f"{path}: cannot be {what}: {error.strerror or error}") from error


def sealing(path: Path) -> Path:
    """The file that holds the seal of `path`."""
    return path.with_suffix(".json")


def seal(made: Path, path: Path, said: Mapping[str, Any]) -> None:
    """Write the seal of the file `made`, which is about to become `path`: `said`, its size and its checksum.

    Raises:
        DataError: as `write_json`.
    """
    write_json(sealing(path), {"form": FORM, "size": made.stat().st_size, "sha256": checksum(made), **said})


def sound(path: Path) -> bool:
    """Whether a file of the cache stands as its seal says; its contents are read once in a process.

    One that stands otherwise is said so in a line, for it is about to be made again.
    """
    try:
        size, changed_ns = (found := path.stat()).st_size, found.st_mtime_ns
        wrong = _unsealed(path, size)
    except OSError:
        return False
    if wrong and (path, size, changed_ns) not in _told:
        _told.add((path, size, changed_ns))
        warnings.warn(f"{path}: {wrong}, made again", PlaitWarning, stacklevel=2)
    return wrong is None


def _unsealed(path: Path, size: int) -> str | None:
    """What is wrong with a file, by its seal."""
    try:
        said = json.loads(sealing(path).read_bytes())
        if said["form"] != FORM:
            return "of an older form"
        return None if said["size"] == size and said["sha256"] == checksum(path) else "damaged"
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return "without a seal that can be read"


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic(path) as made:
        made.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with atomic(path) as made:
        made.write_bytes(content)


def write_csv(path: Path, table: "pl.DataFrame") -> None:
    """Write a table as CSV, whole or not at all; a text that a spreadsheet would take for a formula begins with `'`."""
    import polars as pl

    texts = [name for name, kind in table.schema.items() if kind == pl.String]
    formula = pl.col(texts).str.contains(r"^[=+\-@\t\r]") & pl.col(texts).cast(pl.Float64, strict=False).is_null()
    safe = table.with_columns(pl.when(formula).then("'" + pl.col(texts)).otherwise(pl.col(texts)).name.keep())
    write_text(path, safe.write_csv())


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_toml(path: Path, value: Mapping[str, Any]) -> None:
    """Write a TOML file, whole or not at all; what is None or empty is left out."""
    write_text(path, tomli_w.dumps(_plain(value)))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None and item not in ({}, (), [])}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def checksum(file: Path) -> str:
    """A file's SHA-256, read piece by piece; once in a process, as long as the file stays as it is.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            before = _state(opened.fileno())
            if before not in _known:
                found = hashlib.file_digest(opened, "sha256").hexdigest()
                settled = time.time() - max(before[3:]) / 1e9 > SETTLED_S
                if before != _state(opened.fileno()) or not settled:
                    return found
                _known[before] = found
            return _known[before]
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error


def _state(descriptor: int) -> tuple[int, ...]:
    """What changes when a file is written or put in another's place."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_json(path: Path) -> Any:
    """What a JSON file of plait's own says.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable; remove it and run again") from error


def content_key(value: Any) -> str:
    """A hexadecimal key of anything JSON can say: equal values, equal keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def cache_folder(stage: str) -> Path:
    """Where `stage` keeps what can be made again: under `$PLAIT_CACHE`, by default in the user's cache folder.

    What is made here is its user's alone: others could put arrays in the place of others.
    """
    root = Path(os.environ.get("PLAIT_CACHE") or platformdirs.user_cache_dir("plait")).absolute()
    with suppress(OSError):  # who writes into it says what is wrong
        root.mkdir(0o700, parents=True, exist_ok=True)
    return root / stage
