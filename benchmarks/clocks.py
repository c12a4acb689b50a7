"""How well senders' clocks are followed for half an hour.

    python benchmarks/clocks.py [--minutes 30] [--quick] [--json FILE]

Senders (`tests/live/outlet.py`), each in a process of its own, send the time of day a hundred times a second
through the Lab Streaming Layer. One's machine has another clock, 1000 s ahead and 300 millionths too fast, of
which LSL measures the offset; it sends ever more seldom, for it sleeps by the true clock until the other one
says so, and is left out where no process may have a clock of its own. Two stamp by a
device's clock, 200 millionths too fast and 50 too slow, which is told by arrivals. A reading's error is the
time that it is given less what it says: the median tells the clock, the rest whoever holds up a sender
between looking at the time and stamping.
"""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np

from common import finish, machine, options, said
from plait.live.events import Ended
from plait.live.lsl import Outlet

TESTS = Path(__file__).parent.parent / "tests" / "live"
AHEAD_S, RATE_HZ = 1000, 100
LAST_S = 60.0  # of which the error at the end is told


class Sender(NamedTuple):
    """A process that sends, and what it is called."""

    name: str
    process: subprocess.Popen[bytes]
    stamps: str


def sender(stamps: str, drift_ppm: float, scratch: Path) -> Sender | None:
    """Have a sender begin; None where its machine cannot have another clock."""
    name, before, environment = f"plait-{uuid.uuid4().hex[:12]}", list[str](), dict(os.environ)
    if stamps == "lsl":
        before = ["unshare", "--time", "--monotonic", str(AHEAD_S), "--boottime", str(AHEAD_S)]
        shim = scratch / "drifting.so"
        make = ["cc", "-shared", "-fPIC", "-o", str(shim), str(TESTS / "drifting.c"), "-ldl"]
        try:
            for command in (make, [*before, "true"]):
                subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        environment |= {"LD_PRELOAD": str(shim), "DRIFT_PPM": str(drift_ppm)}
    words = [name, str(RATE_HZ), "", stamps, "-1.5e9", str(drift_ppm)]
    command = [*before, sys.executable, str(TESTS / "outlet.py"), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n", "the sender does not begin"
    return Sender(name, process, stamps)


def followed(source: Outlet, seconds: float, found: list[np.ndarray]) -> None:
    """Take what arrives for so long: seconds since the first, and errors in seconds, `(2, n)`."""
    begin_s: float | None = None
    for event in source:
        if isinstance(event, Ended):
            return
        begin_s = event.arrived_s if begin_s is None else begin_s
        off_s = event.times + (time.time() - time.monotonic()) - event.values[:, 0]
        off_s -= 1000 * np.round(off_s / 1000)
        found.append(np.stack([np.full(len(off_s), event.arrived_s - begin_s), off_s]))
        if event.arrived_s - begin_s > seconds:
            source.close()


def errors(found: Sequence[np.ndarray]) -> dict[str, float]:
    """What there is to say of a sender, in ms."""
    since_s, off_s = np.concatenate(found, axis=1)
    ms = 1e3 * off_s[since_s > 10]  # until then, drift is hardly to be seen
    last = 1e3 * off_s[since_s > since_s[-1] - LAST_S]
    return {
        "readings": len(off_s),
        "median": float(np.median(ms)),
        "99 of 100 within": float(np.quantile(np.abs(ms), 0.99)),
        "most": float(np.abs(ms).max()),
        "median at the end": float(np.median(last)),
        "most at the end": float(np.abs(last).max()),
    }


def main() -> None:
    """Send, follow, tell."""
    parser = options(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    args = parser.parse_args()
    minutes = 0.2 if args.quick else args.minutes
    print(said(told := machine(1)), flush=True)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        kinds = {"lsl +300 ppm": ("lsl", 300.0), "device +200 ppm": ("device", 200.0)}
        kinds["device -50 ppm"] = "device", -50.0
        every = {called: sender(*kind, Path(scratch)) for called, kind in kinds.items()}
        senders = {called: one for called, one in every.items() if one is not None}
        try:
            threads = []
            found: dict[str, list[np.ndarray]] = {called: [] for called in senders}
            for called, one in senders.items():
                clock = "lsl" if one.stamps == "lsl" else "arrival"
                source = Outlet(called, one.name, clock=clock, timeout_s=60.0)  # type: ignore[arg-type]
                threads.append(Thread(target=followed, args=(source, 60 * minutes, found[called])))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            for one in senders.values():
                one.process.kill()
    for called in kinds:
        if called not in senders:
            print(f"  {called}: left out, no process may have a clock of its own here")
            continue
        result[called] = errors(found[called])
        print(
            f"  {called}, ms: " + ", ".join(f"{name} {value:.3g}" for name, value in result[called].items())
        )
    finish(args.json, {**told, "minutes": minutes, "errors_ms": result})
    worst = max(abs(one["median at the end"]) for one in result.values())
    assert worst < 20, f"a clock is {worst:.1f} ms off at the end"


if __name__ == "__main__":
    main()
