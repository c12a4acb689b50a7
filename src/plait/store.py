"""Files on disk: atomic writes, content keys, the cache folder."""

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import threading
import time
import tomllib
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import tomli_w
from filelock import FileLock, Timeout

from plait.errors import DataError, PlaitError, PlaitWarning, one_line

if TYPE_CHECKING:
    import polars as pl

UMASK = os.umask(0o077)  # which cannot be read without being set
os.umask(UMASK)
MAKING = ".making-"  # what temporary folders' names begin with
HELD = ".lock"  # in a temporary folder: locked as long as its process lives
FRESH_S = 0.1  # between the making of a temporary folder and its lock
FORM = 1  # of what lies in the cache: where it is another, entries are made anew
ROOM, RATIO = 1 << 29, 50  # a file may come to half a GiB in memory, or to fifty times its size
DEEPEST, DOTS, DEEP = 50, 500, "nested too deeply"
_STDERR = threading.RLock()
SETTLED_S = 2.0  # a file that was changed less long ago may change again without another time stamp
_checksums: dict[tuple[int, ...], str] = {}  # of files, by their state
MANY, AGAIN_S = 1000, 60.0  # files of a folder that is swept no more often than that
_next_sweep: dict[Path, float] = {}  # of such folders
_warned: set[tuple[Path, int, int]] = set()  # which files have been said to be damaged


@contextmanager
def scratch(folder: Path, name: str) -> Iterator[Path]:
    """A temporary folder inside `folder`, gone afterwards; what should stay is moved out of it.

    Those of processes that were killed go first (`sweep`).

    Raises:
        DataError: the folder cannot be written, or the disk is full; `name` says what was to be made. What
            the system refuses of a file elsewhere is said of that file.
    """
    with ExitStack() as ending:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
            temporary = Path(tempfile.mkdtemp(prefix=MAKING, dir=folder))
            ending.callback(shutil.rmtree, temporary, ignore_errors=True)
            lock = FileLock(temporary / HELD, fallback_to_soft=False)
            ending.callback(lock.release)
            with suppress(OSError, NotImplementedError):  # without locks nothing is swept
                lock.acquire()
            yield temporary
        except PlaitError:
            raise
        except Exception as error:
            if (reason := _refusal(error)) is None:
                raise
            if isinstance(error, OSError) and _is_elsewhere(error.filename, folder):
                raise DataError(f"{error.filename}: {reason}") from error
            raise DataError(f"{folder / name}: cannot be written: {reason}") from error


def _is_elsewhere(path: object, folder: Path) -> bool:
    """Whether what an error names is none of the files that are made in `folder`."""
    return isinstance(path, str | Path) and not Path(path).is_relative_to(folder)


def _refusal(error: Exception) -> str | None:
    """Why the system refused to write, if an error of Python's or of a Rust library's (polars) says so."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    number = re.search(r"\(os error (\d+)\)", str(error))
    return os.strerror(int(number[1])) if number else None


def sweep(folder: Path) -> None:
    """Remove temporary folders in `folder` whose processes were killed; what was whole takes its place.

    A folder of thousands of files is looked through once a minute: each look would take longer than most
    writes.
    """
    if time.monotonic() < _next_sweep.get(folder, 0.0):
        return
    try:
        names = [inner.name for inner in folder.iterdir()]
    except OSError:
        return  # not there, or not to be read
    if len(names) > MANY:
        _next_sweep[folder] = time.monotonic() + AGAIN_S
    for temporary in (folder / name for name in names if name.startswith(MAKING)):
        try:
            if not (temporary / HELD).is_file() or time.time() - temporary.stat().st_mtime < FRESH_S:
                continue  # no temporary folder, or one that is not locked yet
            with locked(temporary / HELD, wait=False):
                for inner in temporary.iterdir() if (temporary / "old").exists() else ():
                    target = folder / inner.name
                    if inner.name not in ("old", HELD) and not target.exists():
                        inner.replace(target)  # the old one had made room for it
                shutil.rmtree(temporary, ignore_errors=True)
        except (OSError, DataError):
            continue  # somebody's, or gone


def taken(path: Path, besides: Collection[str] = ()) -> bool:
    """Whether something stands at `path` that is no folder, or a folder that holds more than `besides`.

    Locks, and temporary folders that a killed process has left, are nothing.
    """
    if not path.is_dir():
        return path.exists()
    names = {inner.name for inner in path.iterdir()} - {HELD, *besides}
    return any(not name.startswith(MAKING) for name in names)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path for a file or a folder to be made, which takes `path`'s place only on success.

    By then it is on the disk, so that no loss of power leaves less than what stood before. It may be read by
    whoever may read new files here.

    Raises:
        DataError: it cannot be written, or the disk is full. What stood at `path` still stands.
    """
    with scratch(path.parent, path.name) as folder:
        target = folder / path.name
        yield target
        for inner in [target, *target.rglob("*")] if target.is_dir() else [target]:
            inner.chmod((0o777 if inner.is_dir() else 0o666) & ~UMASK)
            _write_out(inner)
        if path.is_dir():
            path.replace(folder / "old")
        target.replace(path)
        _write_out(path.parent)


def _write_out(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk; where none can open folders, the system does."""
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
    lock = FileLock(path, blocking=wait, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise
    except OSError as error:
        raise DataError(f"{path.parent}: cannot be locked: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def made_once(
    path: Path, resumed: bool = False, said: Mapping[str, Any] | None = None
) -> Iterator[Path | None]:
    """A path for a file to be made, which takes `path`'s place on success; None if the file stands already.

    One process at a time makes it, and those that wait find it made. What a killed process leaves, the next
    one finds under the same name; if it is `resumed`, also what an error leaves. With `said`, the file is
    sealed: a JSON file beside it holds that, its size and its checksum, and a file that is not as its seal
    says does not stand.

    Raises:
        DataError: it cannot be written, the disk is full, or a file that it is made of cannot be read.
    """
    making = path.with_name(f"{MAKING}{path.name}")

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
            verb = "written" if error.filename in (None, str(making)) else f"made: {error.filename}"
            raise DataError(f"{path}: cannot be {verb}: {error.strerror or error}") from error


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

    Of one that does not, a warning says so, for it is about to be made again.
    """
    try:
        stats = path.stat()
    except OSError:
        return False
    fault = _fault(path, stats.st_size)
    mark = (path, stats.st_size, stats.st_mtime_ns)
    if fault and mark not in _warned:
        _warned.add(mark)
        warnings.warn(f"{path}: {fault}, made again", PlaitWarning, stacklevel=2)
    return fault is None


def _fault(path: Path, size: int) -> str | None:
    """What is wrong with a file, by its seal."""
    try:
        contents = json.loads(sealing(path).read_bytes())
        if contents["form"] != FORM:
            return "of an older form"
        return None if contents["size"] == size and contents["sha256"] == checksum(path) else "damaged"
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return "without a seal that can be read"


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic(path) as target:
        target.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with atomic(path) as target:
        target.write_bytes(content)


def write_csv(path: Path, table: "pl.DataFrame") -> None:
    """Write a table as CSV, whole or not at all; a text that a spreadsheet would run begins with `'`."""
    import polars as pl

    texts = pl.col([name for name, kind in table.schema.items() if kind == pl.String])
    formula = texts.str.contains(r"^['\s]*[=+\-@\t\r]") & texts.cast(pl.Float64, strict=False).is_null()
    safe = table.with_columns(pl.when(formula).then("'" + texts).otherwise(texts).name.keep())
    write_text(path, safe.write_csv())


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_toml(path: Path, value: Mapping[str, Any]) -> None:
    """Write a TOML file, whole or not at all; what is None or empty is left out."""
    write_text(path, tomli_w.dumps(_plain(value)))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item not in (None, {}, (), [])}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def checksum(file: Path) -> str:
    """A file's SHA-256, read piece by piece; once in a process, as long as the file stays as it is.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            state = _state(opened.fileno())
            if state in _checksums:
                return _checksums[state]
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            if state == _state(opened.fileno()) and time.time() - max(state[3:]) / 1e9 > SETTLED_S:
                _checksums[state] = digest
            return digest
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error


def _state(descriptor: int) -> tuple[int, ...]:
    """What changes when a file is written or put in another's place."""
    stats = os.fstat(descriptor)
    return stats.st_dev, stats.st_ino, stats.st_size, stats.st_mtime_ns, stats.st_ctime_ns


def regular(path: Path) -> Path:
    """`path` itself, once it is known to be a file: pipes and devices may have no end.

    Raises:
        OSError: it is not there.
        DataError: it is something else than a file.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise DataError(f"{path}: {kind}, expected a file")
    return path


def explained(path: Path, size: float) -> None:
    """Refuse a file that would come to `size` bytes in memory, if that is far more than it has itself.

    Raises:
        DataError: it says that it holds so much.
    """
    if size > ROOM + RATIO * path.stat().st_size:
        got = f"says that it holds {size / 1e9:.4g} GB"
        raise DataError(f"{path}: {got}, expected no more than its size explains")


def read_bytes(path: Path) -> bytes:
    """What is in a file.

    Raises:
        OSError: it cannot be read.
        DataError: it is no file, or larger than the memory.
    """
    try:
        return regular(path).read_bytes()
    except (MemoryError, OverflowError) as error:
        got = f"{path.stat().st_size / 1e9:.4g} GB"
        raise DataError(f"{path}: {got}, expected less than the memory holds") from error


def read_json(path: Path, remedy: str = "remove it and run again") -> Any:
    """What a JSON file of plait's own says; `remedy` is what to do where it cannot be read.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return shallow(json.loads(read_bytes(path)))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable; {remedy}") from error


def toml_of(text: str) -> dict[str, Any]:
    """What a text says as TOML.

    Raises:
        ValueError: it is none.
    """
    if any(part.count(".") > DOTS for part in re.split(r"[=,\[\]{}\n]", text)):
        raise ValueError(DEEP)  # which the parser takes minutes for
    try:
        table: dict[str, Any] = shallow(tomllib.loads(text))
    except RecursionError:
        raise ValueError(DEEP) from None
    return table


def shallow(value: Any) -> Any:
    """`value` itself, tables and lists within each other.

    Raises:
        ValueError: it is nested deeper than anything that plait writes or reads.
    """
    layer = [value]
    for _ in range(DEEPEST):
        parts = [part for part in layer if isinstance(part, dict | list)]
        if not parts:
            return value
        layer = [inner for part in parts for inner in (part.values() if isinstance(part, dict) else part)]
    raise ValueError(DEEP)


def read_parquet(path: Path, remedy: str, schema: "Mapping[str, Any] | None" = None) -> "pl.DataFrame":
    """A table; the columns of `schema` are there, of their types, and hold a value in every row.

    `remedy` is what to do where it is otherwise.

    Raises:
        DataError: it is missing, damaged, says that it holds far more than it can, or is of another schema.
    """
    import polars as pl

    try:
        with unechoed(), regular(path).open("rb") as file:
            count = pl.scan_parquet(file).select(pl.len()).collect().item()
            file.seek(0)
            explained(path, 8.0 * count * len(pl.read_parquet_schema(file)))
            file.seek(0)
            table = pl.read_parquet(file)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {remedy}") from error
    except (Exception, pl.exceptions.PanicException) as error:  # damaged files raise anything
        why = f"cannot be read, expected a parquet file ({one_line(error)})"
        raise DataError(f"{path}: {why}; {remedy}") from error
    for name, kind in (schema or {}).items():
        if name not in table.columns:
            raise DataError(f"{path}: no column {name!r}, expected {', '.join(schema or ())}; {remedy}")
        if table.schema[name] != kind:
            got = f"column {name!r} is of type {table.schema[name]}"
            raise DataError(f"{path}: {got}, expected {kind}; {remedy}")
        if (empty := table[name].is_null()).any():
            raise DataError(f"{path}: row {empty.arg_max()}: no {name}, expected one in every row; {remedy}")
    return table


@contextmanager
def unechoed() -> Iterator[None]:
    """Hide what a library's own threads write to the process's stderr: a damaged file has its error."""
    with _STDERR:
        try:
            stderr = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def content_key(value: Any) -> str:
    """A hexadecimal key of anything JSON can say: equal values, equal keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def cache_folder(stage: str) -> Path:
    """Where `stage` keeps what can be made again: under `$PLAIT_CACHE`, by default the user's cache folder.

    What is made here is its user's alone: others could put arrays in the place of others.
    """
    root = Path(os.environ.get("PLAIT_CACHE") or platformdirs.user_cache_dir("plait")).absolute()
    with suppress(OSError):  # who writes into it says what is wrong
        root.mkdir(0o700, parents=True, exist_ok=True)
    return root / stage
