"""A disk that is full at every write of a small study: each ends with one line, and more room lets it go on.

    unshare --mount --map-root-user python -m tests.fuzz.disk FOLDER [--step KIB] [--most KIB]

FOLDER becomes a disk of its own (tmpfs), which grows by a step each time the study stops. What it ends with is compared
with the same study on a disk with room. Prints how often it stopped with which line.
"""

import argparse
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import tomli_w

from tests import tiny
from tests.fuzz.forked import ended, forked

FEATURES = {"features": {"use": "tests.test_features:Summed"}}
METHODS = {
    "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}, "encoders": {"a": FEATURES}},
    "b": {"use": "plait.fusion:Single", "args": {"modality": "b"}},
    "led": {"use": "plait.fusion:Led", "args": {"lead": "b"}, "encoders": {"b": {"from": "b", "frozen": True}}},
    "average": {"average": ["a", "b"]},
}
STUDY = {"train": {"max_epochs": 1}, "seeds": [0], "methods": METHODS}


def mounted(folder: Path, kib: int, again: bool) -> None:
    """Make `folder` a disk of so many KiB, or change the size of the one that it is."""
    how = ["-o", f"{'remount,' if again else ''}size={kib}k"]
    subprocess.run(["mount", "-t", "tmpfs", *how, "none", str(folder)], check=True)


def tried(command: list[str], said: Path) -> tuple[int, str]:
    """How a command of plait's ends, and what it said at last."""
    return ended(forked(command, said), said)


def files(folder: Path) -> dict[str, bytes]:
    """What does not tell how long it took: predictions, weights and figures."""
    found = (path for path in folder.rglob("*") if path.suffix in (".parquet", ".safetensors", ".svg"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def main() -> None:
    """Run the study on a disk that grows, and with room, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--step", type=int, default=16)
    parser.add_argument("--most", type=int, default=20_000)
    chosen = parser.parse_args()
    disk, room, told = (chosen.folder / name for name in ("disk", "room", "said"))
    for folder in (disk, room):
        folder.mkdir(parents=True, exist_ok=True)
    study = chosen.folder / "study.toml"
    study.write_text(tomli_w.dumps(tiny.study(**STUDY)))
    command = ["run", str(study), "--data", str(chosen.folder), "--executor", "inline", "--out"]
    stopped: Counter[str] = Counter()
    for number, kib in enumerate(range(chosen.step, chosen.most, chosen.step)):
        mounted(disk, kib, again=number > 0)
        os.environ["PLAIT_CACHE"] = str(disk / "cache")
        code, said = tried([*command, str(disk / "run")], told)
        if code == 0:
            break
        line = re.sub(r"[0-9a-f]{32}|\.making-\S+", "*", said.replace(str(disk), "DISK"))
        line = f"{'' if code == 2 else f'WRONG, exit code {code}: '}{line}"
        if not stopped[line]:
            print(f"at {kib} KiB: {line}", flush=True)
        stopped[line] += 1
    os.environ["PLAIT_CACHE"] = str(room / "cache")
    assert tried([*command, str(room / "run")], told)[0] == 0
    for line, count in stopped.most_common():
        print(f"{count:5} x {line}")
    same = files(disk / "run") == files(room / "run")
    left = [str(path.relative_to(disk)) for path in disk.rglob(".making-*")]
    print(f"stopped {stopped.total()} times below {kib} KiB; ended with the same bytes: {same}; left behind: {left}")
    raise SystemExit(0 if same and not left and not any("WRONG" in line for line in stopped) else 1)


if __name__ == "__main__":
    main()
