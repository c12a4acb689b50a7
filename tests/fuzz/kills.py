"""Kills at random moments: each verb is started again until it is done, and leaves what it leaves undisturbed.

    python -m tests.fuzz.kills [--kills 50] [--seed 0] [--folder FOLDER]

Every verb runs on small generated recordings in a process group of its own, which is killed (SIGKILL) at a random
moment of the time that it takes undisturbed, a few times in a row; then it is let go on. All bytes that it leaves are
compared with those of an undisturbed run, and what lies beside them is listed: temporary files in the folder, in the
cache, beside recordings and in the system's temporary folder. Prints counts; the exit code is 1 if a run differs, ends
otherwise than well, or leaves something behind.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import tomli_w

from plait.store import FRESH_S
from tests import tiny
from tests.fuzz.disk import METHODS, STUDY
from tests.fuzz.forked import ended, forked

SIMULATED = "plait.datasets.simulated:SIMULATED"
TIMED = ("job.json", "run.json", "history.parquet", "table.md", "table.tex")  # which say how long things took
VERBS = {
    "ingest": ["ingest", "{work}/raw/01", "--out", "{work}/recordings"],
    "sync": ["sync", "{work}/recordings"],
    "clips": ["clips", "{work}/recordings", "--out", "{work}/clips", "--dataset", SIMULATED],
    "features": ["features", "{work}/clips", "--encoder", "tests.test_features:Summed", "--modality", "gloves"],
    "run": ["run", "{work}/study.toml", "--data", "{work}", "--out", "{work}/run", "--executor", "inline"],
}
BEFORE = {"sync": ["ingest"], "clips": ["ingest", "sync"], "features": ["ingest", "sync", "clips"]}


def started(command: list[str], work: Path) -> tuple[int, Path]:
    """A verb on its way, which sees only folders below `work`, and where it tells what it says."""
    (work / "tmp").mkdir(exist_ok=True)
    said = work.with_name("said")
    words = [part.format(work=work) for part in command]
    return forked(words, said, PLAIT_CACHE=str(work / "cache"), TMPDIR=str(work / "tmp")), said


def done(command: list[str], work: Path) -> str:
    """Run a verb to its end; the last line that it said, if it did not end well."""
    code, line = ended(*started(command, work))
    return "" if code == 0 else f"exit code {code}: {line}"


def killed(command: list[str], work: Path, after_s: float) -> bool:
    """Whether a verb was still at work when it was killed."""
    child, _ = started(command, work)
    time.sleep(after_s)
    if os.waitpid(child, os.WNOHANG)[0]:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def files(work: Path) -> dict[str, bytes]:
    """Every file but those of the caller, locks, and those that tell how long it took, which are only named."""
    found = {}
    for path in sorted(work.rglob("*")):
        name = str(path.relative_to(work))
        if path.is_file() and not name.endswith(".lock") and "/.locks/" not in f"/{name}":
            found[name] = b"" if path.name in TIMED or name.endswith(".html") else path.read_bytes()
            if path.name == "table.csv":  # without polars, whose threads a fork would not have
                rows = csv.DictReader(path.read_text().splitlines())
                found[name] = repr([{**row, "train_seconds": ""} for row in rows]).encode()
    return found


def left_behind(work: Path) -> list[str]:
    """What was made on the way."""
    temporary = [path for path in (work / "tmp").rglob("*") if "torchinductor_" not in str(path)]  # torch's own
    return sorted(str(path.relative_to(work)) for path in [*work.rglob(".making-*"), *work.rglob("*.part"), *temporary])


def main() -> None:
    """Kill each verb in turn, as often as is asked for in all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="+", choices=list(VERBS), default=list(VERBS))
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    chosen = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="kills-", dir=chosen.folder))
    rng = random.Random(chosen.seed)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    told = 0
    try:
        base = root / "base"
        base.mkdir()
        small = ["--subjects", "1", "--clips", "8", "--height", "96", "--fps", "10", "--workers", "1"]
        assert not done(["simulate", "--out", "{work}/raw", *small], base)
        study = STUDY | {"methods": METHODS}
        (base / "study.toml").write_text(tomli_w.dumps(tiny.study(**study)))
        each = -(-chosen.kills // len(chosen.verbs))
        for verb in chosen.verbs:
            work = root / "work"  # the same place each time, for tables name it
            shutil.copytree(base, work)
            for earlier in BEFORE.get(verb, []):
                assert not (said := done(VERBS[earlier], work)), said
            ready = root / f"ready-{verb}"
            shutil.copytree(work, ready)
            began = time.monotonic()
            assert not (said := done(VERBS[verb], work)), said
            takes_s = time.monotonic() - began
            expected = files(work)
            while counts[f"{verb}: killed"] < each:
                shutil.rmtree(work)
                shutil.copytree(ready, work)
                for _ in range(rng.randint(1, 4)):
                    counts[f"{verb}: killed" if killed(VERBS[verb], work, rng.uniform(0, 1) * takes_s) else "late"] += 1
                middle = left_behind(work)
                counts[f"{verb}: left by a kill"] += bool(middle)
                time.sleep(FRESH_S)
                if said := done(VERBS[verb], work):
                    wrong.append(f"{verb}: {said}")
                found = files(work)
                differs = sorted(
                    name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
                )
                if behind := left_behind(work):
                    wrong.append(f"{verb}: left behind: {', '.join(behind)}")
                if differs := [name for name in differs if name not in behind]:
                    wrong.append(f"{verb}: differs: {', '.join(differs)}")
                for line in wrong[told:]:
                    print(line, flush=True)
                told = len(wrong)
            shutil.rmtree(work)
            print(
                f"{verb}: takes {takes_s:.1f} s", json.dumps({k: n for k, n in counts.items() if verb in k}), flush=True
            )
    finally:
        shutil.rmtree(root, ignore_errors=True)
    for line, count in Counter(wrong).most_common():
        print(f"{count:5} x {line}")
    print(f"{sum(n for name, n in counts.items() if name.endswith(': killed'))} kills; {len(wrong)} wrong")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
