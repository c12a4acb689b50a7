"""Kills at random moments: each verb, started again until it is done, leaves what it leaves undisturbed.

    python -m tests.fuzz.kills [--kills 50] [--seed 0] [--folder FOLDER]

Every verb runs on small generated recordings in a process group of its own, which is killed (SIGKILL) at a
random moment of the time that it takes undisturbed, a few times in a row; then it is let go on. All bytes
that it leaves are compared with those of an undisturbed run, and what lies beside them is listed: temporary
files in the folder, in the cache, beside recordings and in the system's temporary folder. Prints counts; the
exit code is 1 if a run differs, ends otherwise than well, or leaves something behind.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

from plait.store import FRESH_S
from tests.fuzz.verbs import VERBS, Started, differing, done, files, left_behind, prepare


def killed(verb: str, work: Path, after_s: float) -> bool:
    """Whether a verb was still at work when it was killed."""
    child = Started(verb, work).child
    time.sleep(after_s)
    if os.waitpid(child, os.WNOHANG)[0]:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


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
        each = -(-chosen.kills // len(chosen.verbs))
        for verb in chosen.verbs:
            ready, work = prepare(verb, root), root / "work"
            shutil.copytree(ready, work, dirs_exist_ok=True)
            began = time.monotonic()
            first = done(verb, work)
            assert first.code == 0, first
            takes_s = time.monotonic() - began
            expected = files(work)
            while counts[f"{verb}: killed"] < each:
                shutil.rmtree(work)
                shutil.copytree(ready, work)
                for _ in range(rng.randint(1, 4)):
                    in_time = killed(verb, work, rng.uniform(0, 1) * takes_s)
                    counts[f"{verb}: killed" if in_time else "late"] += 1
                counts[f"{verb}: left by a kill"] += bool(left_behind(work))
                time.sleep(FRESH_S)
                last = done(verb, work)
                if last.code != 0:
                    wrong.append(f"{verb}: exit code {last.code}: {last.last}")
                if behind := left_behind(work):
                    wrong.append(f"{verb}: left behind: {', '.join(behind)}")
                if differs := [name for name in differing(expected, work) if name not in behind]:
                    wrong.append(f"{verb}: differs: {', '.join(differs)}")
                for line in wrong[told:]:
                    print(line, flush=True)
                told = len(wrong)
            shutil.rmtree(work)
            print(
                f"{verb}: takes {takes_s:.1f} s",
                json.dumps({k: n for k, n in counts.items() if verb in k}),
                flush=True,
            )
    finally:
        shutil.rmtree(root, ignore_errors=True)
    for line, count in Counter(wrong).most_common():
        print(f"{count:5} x {line}")
    print(f"{sum(n for name, n in counts.items() if name.endswith(': killed'))} kills; {len(wrong)} wrong")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
