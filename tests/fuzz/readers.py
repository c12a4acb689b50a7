"""Damaged, odd and hostile inputs for every reader: each is read, or refused in one line that names the file.

    python -m tests.fuzz.readers [--inputs 1000] [--seed 0] [--verbs] [--keep FOLDER] [READER ...]

One valid input of each reader is changed again and again (`tests.fuzz.mutations`) and read in a child
process. It may ask for 2 GiB more than the valid input took, and take 30 s. `--verbs` reads it through the
command line instead. Prints how many inputs ended how; one that ends with a traceback, with too much memory
or time, or in a line that names no file, is kept, and the exit code is 1.
"""

import argparse
import contextlib
import faulthandler
import io
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plait.errors import PlaitError, PlaitWarning
from tests.fuzz.inputs import READERS, VERBS, lacking
from tests.fuzz.mutations import SPECIAL, mutated

ROOM, LIMIT_S = 2 << 30, 30.0
READ, REFUSED = "read", "refused"


class Outcome(NamedTuple):
    """How reading one input ended, and what was said of it."""

    how: str
    said: str = ""


def outcome(read: Callable[[Path], object], file: Path) -> Outcome:
    """How `read` takes the input at `file`: its own errors are a line with it, its folder or an option."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", PlaitWarning)
            read(file)
    except PlaitError as error:
        said = str(error)
        named = any(name in said for name in (file.name, str(file.parent), "--"))
        return Outcome(REFUSED if named and len(said) < 3000 else "UNNAMED", said)
    except MemoryError:
        return Outcome("TOO LARGE", traceback.format_exc())
    except BaseException as error:
        kind = "TOO LARGE" if "allocate memory" in str(error) else "TRACEBACK"
        return Outcome(kind, traceback.format_exc())
    return Outcome(READ)


def written(content: bytes | str, file: Path) -> None:
    """Put an input in its place: bytes, or one of `SPECIAL`, which are no files of bytes."""
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    file.unlink(missing_ok=True)
    if isinstance(content, str):
        SPECIAL[content](file)
    else:
        file.write_bytes(content)


def _child(name: str, verbs: bool, folder: Path, pipe) -> None:
    """Read inputs that come through a pipe, and tell of each how it ended."""
    echoed = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - as long as the process lives
    os.dup2(echoed.fileno(), 2)
    faulthandler.enable()
    os.environ["PLAIT_CACHE"] = str(folder / "cache")
    quiet = io.StringIO()
    with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
        reader = (VERBS if verbs else READERS)[name]
        file = reader.make(folder)
        first = outcome(reader.read, file)
        pipe.send((str(file), file.read_bytes(), first))
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
        while (content := pipe.recv()) is not None:
            written(content, file)
            found = outcome(reader.read, file)
            if noise := os.pread(2, 3000, 0):
                found = Outcome("NOISE", noise.decode(errors="replace"))
                os.ftruncate(2, 0)
            pipe.send(found)


class Reading:
    """A child process that reads inputs, begun anew after each that it did not survive."""

    def __init__(self, name: str, verbs: bool) -> None:
        self.name, self.verbs = name, verbs
        self.begin()

    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="plait-fuzz-"))
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self.child = spawn.Process(
            target=_child, args=(self.name, self.verbs, self.folder, theirs), daemon=True
        )
        self.child.start()
        theirs.close()
        self.file, self.valid, first = self.pipe.recv()
        assert first.how == READ, first

    def end(self) -> None:
        self.child.kill()
        self.child.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tried(self, content: bytes | str) -> Outcome:
        """How this input ends."""
        try:
            self.pipe.send(content)
            found = self.pipe.recv() if self.pipe.poll(LIMIT_S) else Outcome("TOO SLOW")
        except (EOFError, ConnectionError):
            self.child.join()
            found = Outcome("DIED", f"exit code {self.child.exitcode}")
        if found.how in ("TOO SLOW", "DIED", "TOO LARGE"):
            self.end()
            self.begin()
        return found


def main() -> None:
    """Try every reader that is named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", metavar="READER")
    parser.add_argument("--inputs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", action="store_true")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "plait-fuzz-faults")
    chosen = parser.parse_args()
    known = VERBS if chosen.verbs else READERS
    count = chosen.inputs or (50 if chosen.verbs else 1000)
    faults = 0
    for name in chosen.readers or known:
        if missing := lacking(name):
            print(f"{name:<24}skipped: {missing} is not installed", flush=True)
            continue
        rng = np.random.default_rng([chosen.seed, *name.encode()])
        reading = Reading(name, chosen.verbs)
        counts: Counter[str] = Counter()
        told: set[str] = set()
        for number in range(count):
            special = list(SPECIAL)[number] if number < len(SPECIAL) else None
            content = special or mutated(reading.valid, known[name].form, rng)
            found = reading.tried(content)
            counts[found.how] += 1
            if found.how in (READ, REFUSED):
                continue
            faults += 1
            last = "\n".join(line[:300] for line in found.said.strip().splitlines()[-6:])
            if last not in told and len(told) < 8:
                told.add(last)
                chosen.keep.mkdir(parents=True, exist_ok=True)
                kept = (
                    chosen.keep
                    / f"{name.replace(' ', '-')}-{chosen.seed}-{number}{Path(reading.file).suffix}"
                )
                if isinstance(content, bytes):
                    kept.write_bytes(content)
                print(f"{name}: {found.how} {special or kept}\n{last}", file=sys.stderr)
        reading.end()
        print(f"{name:<24}" + ", ".join(f"{how} {n}" for how, n in counts.most_common()), flush=True)
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
