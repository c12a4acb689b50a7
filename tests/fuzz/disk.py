"""A disk that is full at every write of each verb, or read-only: one line each time, and then it goes on.

    unshare --mount --map-root-user python -m tests.fuzz.disk
        [--stops 50] [--verbs VERB ...] [--folder FOLDER]

Every verb works on a disk of its own (tmpfs) that has room for what is there before, and a little more each
time that the verb stops; before that, the disk is read-only once. What it ends with is compared with what it
leaves where there is room. Prints how often it stopped with which line; the exit code is 1 if it stopped
otherwise, left something behind that is none of its results, or ended with other bytes.
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.verbs import VERBS, Ended, differing, done, files, left_behind, prepare

MOST = 1 << 20  # KiB: room for everything


def mounted(folder: Path, *options: str) -> None:
    """Make `folder` a disk in memory, or change the one that it is."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "none", str(folder)], check=True)


def used_kib(folder: Path) -> int:
    """What is taken of a disk."""
    disk = os.statvfs(folder)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024


def refilled(work: Path, ready: Path) -> None:
    """A new disk at `work`, with room, that holds what is in `ready`."""
    subprocess.run(["umount", str(work)], check=False, stderr=subprocess.DEVNULL)
    mounted(work, f"size={MOST}k")
    shutil.copytree(ready, work, dirs_exist_ok=True)
    (work / "tmp").mkdir(exist_ok=True)


def complaint(verb: str, found: Ended) -> str:
    """What is wrong with how a verb stopped."""
    return f"{verb}: {found.wrong}" if found.wrong else ""


def tried(verb: str, root: Path, stops: int) -> tuple[Counter[str], list[str]]:
    """How often a verb stopped with which line, and what went wrong."""
    ready, work = prepare(verb, root), root / "work"
    refilled(work, ready)
    before = used_kib(work)
    assert done(verb, work).code == 0
    expected, step = files(work), max(4, -(-(used_kib(work) - before) // stops) // 4 * 4)
    refilled(work, ready)
    mounted(work, "remount", "ro")
    said: Counter[str] = Counter()
    wrong = [complaint(verb, done(verb, work))]
    for kib in range(before + step, MOST, step):
        mounted(work, "remount", "rw", f"size={kib}k")
        found = done(verb, work)
        if found.code == 0:
            break
        line = found.last.replace(str(work), "DISK")
        said[re.sub(r"[0-9a-f]{32}|\.making-\S+|\w{8}\.(?=sock|tmp)", "*", line)] += 1
        wrong.append(complaint(verb, found))
    behind = left_behind(work)
    wrong += [f"{verb}: left behind: {', '.join(behind)[:500]}"] if behind else []
    if differs := [name for name in differing(expected, work) if name not in behind]:
        wrong.append(f"{verb}: {len(differs)} files differ: {', '.join(differs)[:500]}")
    subprocess.run(["umount", str(work)], check=True)
    return said, [line for line in wrong if line]


def main() -> None:
    """Try each verb in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--verbs", nargs="+", choices=list(VERBS), default=list(VERBS))
    parser.add_argument("--folder", type=Path, help="where to work; by default a temporary folder")
    chosen = parser.parse_args()
    complaints: Counter[str] = Counter()
    for verb in chosen.verbs:
        root = Path(tempfile.mkdtemp(prefix="disk-", dir=chosen.folder))
        try:
            said, wrong = tried(verb, root, chosen.stops)
        finally:
            shutil.rmtree(root, ignore_errors=True)
        print(f"{verb}: stopped {said.total()} times, {len(wrong)} wrong", flush=True)
        for line, count in said.most_common():
            print(f"{count:5} x {line[:300]}", flush=True)
        complaints.update(wrong)
    for line, count in complaints.most_common():
        print(f"WRONG, {count} x {line}")
    raise SystemExit(1 if complaints else 0)


if __name__ == "__main__":
    main()
