"""A replay through `plait live` for an hour: memory, windows that were lost, latency, lag of the clock.

    python benchmarks/live.py [--minutes 60] [--speed 8] [--stride 2] [--threads 1] [--seed 0] [--out FOLDER]
                              [--quick] [--json FILE]

What is replayed is what `benchmarks/hour.py` predicts, 640 x 480 at 30 frames a second and a glove on each
hand with a clock of its own; the model is the same, EfficientNet-Lite0's frozen features of every frame, and
both gloves. With --out, FOLDER keeps what was made, which is not made again; that of `benchmarks/hour.py
--out` will do.

Twice a second RssAnon is read, from the 64th window to the last. It is flat if, after the first tenth, the
last third's highest is at most 32 MB above the first third's. Every window must be scored or counted. Latency
is from the moment when a window's last reading arrives to its scores; the lag is how long the last thousand
readings waited until they were taken, on the recording's clock.
"""

import math
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from atwork import ANOTHER, QUICK, Reading, Size, prepare, watched
from common import finish, machine, options, said, thirds
from plait.store import read_json


def replayed(folder: Path, out: Path, args: Any) -> list[Reading]:
    """RssAnon of `plait live` from start to end."""
    stream = f"replay:{folder / 'another' / f'{ANOTHER:02d}'}"
    words = ["live", folder / "model", "--stream", stream, "--out", out, "--speed", args.speed]
    words += ["--stride", args.stride, "--threads", args.threads, "--seconds", 60 * args.minutes]
    timeline, over = out / "timeline.parquet", out / "session.json"
    return watched(words, lambda: timeline.exists() and not over.exists(), folder)


def judged(readings: list[Reading]) -> dict[str, Any]:
    """Whether memory grows while windows are looked at."""
    windows = [reading.mb for reading in readings if reading.windows] or [readings[-1].mb]
    peak = max(reading.mb for reading in readings)
    return {"peak_mb": peak, **thirds(windows[len(windows) // 10 :])}


def main() -> None:
    """Replay, and judge."""
    parser = options(__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the recording that are replayed")
    parser.add_argument("--speed", type=float, default=8.0)
    parser.add_argument("--stride", type=float, default=2.0, help="seconds from one window to the next")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for what is made")
    args = parser.parse_args()
    size = Size(6, 240.0, 60 * max(args.minutes, 2.0), 480, 30)
    if args.quick:
        size, args.minutes, args.stride = QUICK, 0.5, 1.0
    print(said(told := machine(args.threads)), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "model").exists():
            prepare(folder, size, args.seed, args.threads)
        out = Path(tempfile.mkdtemp(prefix="live-", dir=folder)) / "timeline"
        readings = replayed(folder, out, args)
        session, facts = read_json(out / "session.json"), read_json(out / "predict.json")
        rows = len(pl.read_parquet(out / "timeline.parquet"))
    (whole,) = facts["recordings"].values()
    lasts_s = min(60 * args.minutes, whole["stop_s"])
    took_s = readings[-1].seconds
    counted, memory = sum(session["windows"].values()), judged(readings)
    expected = math.floor((lasts_s - facts["seconds"]) / args.stride) + 1
    print(f"  {lasts_s:.0f} s of a recording in {took_s:.0f} s, at {args.speed:g} times its pace")
    print("  RssAnon: " + ", ".join(f"{name} {value:.0f}" for name, value in memory.items()))
    print(f"  windows: {session['windows']}, {counted} of {expected}, {rows} rows; late {session['late']}")
    for name, parts in session["latency_ms"].items():
        print(f"  latency, {name}, ms: " + ", ".join(f"{part} {ms:.1f}" for part, ms in parts.items()))
    lag = session["lag_ms"]
    print(f"  lag at the end, ms: median {lag['median']:.1f}, most {lag['most']:.1f}")
    settings = {"speed": args.speed, "seconds": lasts_s, "stride_s": args.stride, "seed": args.seed}
    if args.json:
        table = pl.DataFrame(readings, orient="row", schema=list(Reading._fields))
        table.write_csv(args.json.with_suffix(".csv"))
    finish(
        args.json, {**told, **settings, "took_s": took_s, "memory": memory, "expected": expected, **session}
    )
    assert abs(counted - expected) <= 3, "windows were lost that were not counted"
    assert args.quick or memory["flat"], "memory grows"


if __name__ == "__main__":
    main()
