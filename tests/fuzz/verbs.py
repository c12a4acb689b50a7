"""Verbs of plait on small recordings, each in a forked process: to import everything anew takes longer.

Whoever forks must not have computed with polars or torch, whose threads a fork lacks: it would wait for them.
"""

import csv
import importlib
import os
import shutil
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import tomli_w

from plait.cli import main as plait
from tests import test_features, tiny
from tests.commands import LOADED

SIMULATED = "plait.datasets.simulated:SIMULATED"
SMALL = ["--subjects", "1", "--clips", "8", "--height", "96", "--fps", "10", "--workers", "1"]
SUMMED = (
    f"{test_features.__name__}:{test_features.Summed.__name__}"  # imported here, with what most verbs import
)
TRUSTED = ["--trust", "tests.tiny", "--trust", "tests.test_features"]
for module in LOADED:
    with suppress(ImportError):
        importlib.import_module(module)
VERBS = {
    "simulate": ["simulate", "--out", "{work}/raw", *SMALL],
    "ingest": ["ingest", "{work}/raw/01", "--out", "{work}/recordings"],
    "sync": ["sync", "{work}/recordings"],
    "clips": ["clips", "{work}/recordings", "--out", "{work}/clips", "--dataset", SIMULATED],
    "features": ["features", "{work}/clips", "--encoder", SUMMED, "--modality", "gloves"],
    "run": ["run", "{work}/study.toml", "--data", "{work}", "--out", "{work}/run", "--executor", "inline"],
    "report": ["report", "{work}/run"],
    "attention": ["attention", "{work}/run", "r1/0000", "--method", "led", *TRUSTED],
}
BEFORE = {
    "ingest": ["simulate"],
    "sync": ["simulate", "ingest"],
    "clips": ["simulate", "ingest", "sync"],
    "features": ["simulate", "ingest", "sync", "clips"],
    "report": ["run"],
    "attention": ["run"],
}
TIMED = ("job.json", "run.json", "history.parquet", "table.md", "table.tex")  # which say how long things took
FEATURES = {"features": {"use": SUMMED}}
METHODS = {
    "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}, "encoders": {"a": FEATURES}},
    "b": {"use": "plait.fusion:Single", "args": {"modality": "b"}},
    "led": {
        "use": "plait.fusion:Led",
        "args": {"lead": "b"},
        "encoders": {"b": {"from": "b", "frozen": True}},
    },
    "average": {"average": ["a", "b"]},
}
STUDY = {"train": {"max_epochs": 1}, "seeds": [0], "methods": METHODS}


class Ended(NamedTuple):
    """How a verb ended: its exit code (negative: the signal that killed it), and all that it said."""

    code: int
    said: str

    @property
    def last(self) -> str:
        return (self.said.splitlines() or [""])[-1]

    @property
    def wrong(self) -> str:
        """What there is to complain of in a bad end, which should be one line of plait's and exit code 2."""
        if self.code == 2 and "Traceback" not in self.said and self.said.count("plait: ") == 1:
            return "" if self.last.startswith("plait: ") else f"not the last line: {self.last}"
        return f"exit code {self.code}: {self.said[-2000:]}"


class Started:
    """A verb on its way, in a process group of its own, which sees only folders below `work`."""

    def __init__(self, verb: str, work: Path) -> None:
        (work / "tmp").mkdir(exist_ok=True)
        self.told = work.with_name("said")
        environment = {"PLAIT_CACHE": str(work / "cache"), "TMPDIR": str(work / "tmp")}
        self.child = _forked([part.format(work=work) for part in VERBS[verb]], self.told, environment)

    def end(self) -> Ended:
        """Wait for it."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        return Ended(code, self.told.read_text())


def _forked(command: list[str], said: Path, environment: dict[str, str]) -> int:
    if child := os.fork():
        return child
    code = 1
    try:
        os.setsid()
        with said.open("w") as into:
            for stream in (1, 2):
                os.dup2(into.fileno(), stream)
        os.environ |= environment
        tempfile.tempdir = None
        sys.argv = ["plait", *command]
        plait()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def done(verb: str, work: Path) -> Ended:
    """Run a verb to its end."""
    return Started(verb, work).end()


def prepare(verb: str, root: Path) -> Path:
    """A folder in which all that a verb needs is there."""
    ready = root / f"ready-{verb}"
    work = root / "work"  # the same place each time, for tables name it
    work.mkdir(exist_ok=True)
    (work / "study.toml").write_text(tomli_w.dumps(tiny.study(**STUDY)))
    for earlier in BEFORE.get(verb, []):
        found = done(earlier, work)
        assert found.code == 0, found
    shutil.copytree(work, ready)
    for path in work.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return ready


def files(work: Path) -> dict[str, bytes]:
    """Every file but the caller's and locks; those that tell how long it took are only named."""
    found = {}
    for path in sorted(work.rglob("*")):
        name = str(path.relative_to(work))
        if path.is_file() and not name.endswith(".lock") and "/.locks/" not in f"/{name}":
            found[name] = b"" if path.name in TIMED or path.suffix in (".html", ".pdf") else path.read_bytes()
            if path.name == "table.csv":  # without polars, whose threads a fork would not have
                rows = csv.DictReader(path.read_text().splitlines())
                found[name] = repr([{**row, "train_seconds": ""} for row in rows]).encode()
    return found


def left_behind(work: Path) -> list[str]:
    """What was made on the way."""
    # torch's own
    temporary = [path for path in (work / "tmp").rglob("*") if "torchinductor_" not in str(path)]
    return sorted(
        str(path.relative_to(work)) for path in [*work.rglob(".making-*"), *work.rglob("*.part"), *temporary]
    )


def differing(expected: dict[str, bytes], work: Path) -> list[str]:
    """What a folder lacks, has besides, or has otherwise."""
    found = files(work)
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
