"""A replay through `plait live` for an hour: memory, windows that were lost, latency, lag of the clock.

    python benchmarks/hour.py --out FOLDER                       (which makes the recording and the model)
    python benchmarks/live.py FOLDER [--speed 8] [--seconds 3600] [--stride 2] [--threads 1] [--json FILE]

The recording of `benchmarks/hour.py`, 640 x 480 at 30 frames a second and two gloves with own clocks, is
replayed at `--speed` for so many of its seconds, with the model that was made there: EfficientNet-Lite0's
frozen features of every frame, and both gloves. Twice a second RssAnon is read. It is flat if, after the
first tenth, the last third's highest is at most 32 MB above the first third's. Every window of the
recording must be scored or counted. Latency is from the moment when a window's last reading is taken to its
scores; the lag is how long the last thousand readings waited until they were taken, on the recording's clock.

--quick replays a few seconds of what --quick of `benchmarks/hour.py` makes.
"""

import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from common import finish, machine, options, rss_anon_mb, said
from plait.recogniser.windows import ingested
from plait.store import read_json

EVERY_S, MARGIN_MB = 0.5, 32.0


def replayed(folder: Path, out: Path, args: Any) -> tuple[list[float], float]:
    """RssAnon in MB of `plait live` from start to end, and the seconds it took."""
    (recording,) = (one for one in (folder / "another").iterdir() if one.is_dir())
    words = ["live", folder / "model", "--stream", f"replay:{recording}", "--out", out, "--speed", args.speed]
    words += ["--stride", args.stride, "--threads", args.threads, "--seconds", args.seconds]
    start, readings = time.monotonic(), list[float]()
    process = subprocess.Popen(
        [sys.executable, "-m", "plait.cli", *map(str, words)], stdout=subprocess.DEVNULL
    )
    while process.poll() is None:
        if (mb := rss_anon_mb(str(process.pid))) > 0:
            readings.append(mb)
        time.sleep(EVERY_S)
    assert process.returncode == 0, f"plait live: exit code {process.returncode}"
    return readings, time.monotonic() - start


def main() -> None:
    """Replay, and judge."""
    parser = options(__doc__)
    parser.add_argument("folder", type=Path, help="what benchmarks/hour.py --out made")
    parser.add_argument("--speed", type=float, default=8.0)
    parser.add_argument("--seconds", type=float, default=3600.0, help="of the recording")
    parser.add_argument("--stride", type=float, default=2.0, help="seconds from one window to the next")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.stride, args.threads = 20.0, 1.0, 1
    print(said(told := machine(args.threads)), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "live"
        readings, took_s = replayed(args.folder, out, args)
        session, facts = read_json(out / "session.json"), read_json(out / "predict.json")
        rows = len(pl.read_parquet(out / "timeline.parquet"))
    (recording,) = ingested([args.folder / "another"])
    lasts_s = min(args.seconds, next(iter(facts["recordings"].values()))["stop_s"])
    counted = sum(session["windows"].values())
    expected = math.floor((lasts_s - facts["seconds"]) / args.stride) + 1
    later = np.array(readings[len(readings) // 10 :])
    third = max(len(later) // 3, 1)
    first, last = float(later[:third].max()), float(later[-third:].max())
    print(f"  {recording.name}: {lasts_s:.0f} s at {args.speed:g} times its pace in {took_s:.0f} s")
    print(
        f"  RssAnon: peak {max(readings):.0f} MB, first third {first:.0f}, last third {last:.0f}; "
        f"flat within {MARGIN_MB:g} MB: {last - first <= MARGIN_MB}"
    )
    print(
        f"  windows: {session['windows']}, {counted} of about {expected}; {rows} rows; late {session['late']}"
    )
    for name, parts in session["latency_ms"].items():
        print(f"  latency, {name}: " + ", ".join(f"{part} {ms:.1f} ms" for part, ms in parts.items()))
    print(
        f"  lag at the end: median {session['lag_ms']['median']:.1f} ms, most {session['lag_ms']['most']:.1f}"
    )
    settings = {"speed": args.speed, "seconds": lasts_s, "stride_s": args.stride}
    memory = {"peak_mb": max(readings), "first_third_mb": first, "last_third_mb": last}
    finish(args.json, {**told, **settings, "took_s": took_s, "memory": memory, "rows": rows, **session})
    assert abs(counted - expected) <= 2, "windows are lost that were not counted"


if __name__ == "__main__":
    main()
