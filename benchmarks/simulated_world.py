"""How hard the simulated world is: each sensor alone, every person left out once, and what the truth allows.

    python benchmarks/simulated_world.py --out DIR [--people 8] [--clips 40] [--seed 1] [--knob away=0.2 ...]

It simulates at 6 frames a second (all that the video network sees), ingests, synchronises, cuts, and trains
the single sensors of `studies/simulated-world.toml`: `static`, `gloves`, `video`. No fusion is trained: the
world is calibrated with this, and may not depend on what fusion makes of it. What stands in DIR is not made
again; `plait run studies/simulated-world.toml --data DIR/clips --out DIR/run` goes on with the fusions, and
`--standing`, which trains nothing, prints of each method of that run how it does where which sensor tells.

What the truth allows is `plait.simulator.truth.bounds`: the accuracy of who knows of each clip whether the
video or the gloves tell its activity, by the simulation's design, and guesses where neither does.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import polars as pl

from plait.cli.options import Executor
from plait.cli.simulated import simulated_clips
from plait.cli.studies import run_shown
from plait.simulator.truth import bounds, told
from plait.simulator.world import HARD
from plait.store import write_json
from plait.study.shipped import study_file

SINGLES = ("static", "gloves", "video")
FPS = 6


def main() -> None:
    """Simulate, train, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--clips", type=int, default=40, help="of each person")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--knob", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--only", action="append", choices=SINGLES, help="by default all three")
    parser.add_argument("--standing", action="store_true", help="train nothing, look at the run in DIR/run")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    args = parser.parse_args()
    knobs = {name: float(value) for name, _, value in (knob.partition("=") for knob in args.knob)}
    chosen = args.only or [*SINGLES]
    world, start = replace(HARD, **knobs), time.perf_counter()
    if chosen == ["gloves"]:  # which need no pictures
        patch("plait.cli.simulated.HEIGHT", 64).start()
    clips = simulated_clips(
        args.out, args.people, args.clips, args.workers, world=world, seed=args.seed, fps=FPS
    )
    simulated_s = time.perf_counter() - start
    table = pl.read_parquet(clips / "clips.parquet")
    by_recording = table.partition_by("recording", as_dict=True)
    truth = pl.concat([told(args.out / "raw" / name, part) for (name,), part in by_recording.items()])
    oracle = bounds(truth)
    print(f"simulated and cut in {simulated_s:.0f} s; told by design, %: {oracle}", flush=True)
    run = args.out / "run"
    if args.standing:
        print_by_sensor(pl.read_parquet(run / "predictions.parquet"), truth)
        return
    run_shown(study_file("simulated-world"), clips, run, Executor.inline, workers=args.workers, only=chosen)
    print(f"all in {time.perf_counter() - start:.0f} s")
    if args.json:
        write_json(args.json, {"oracle": oracle, "simulated_s": simulated_s})


def print_by_sensor(predictions: pl.DataFrame, truth: pl.DataFrame) -> None:
    """Print accuracy in % of each method, on all clips and by which sensor tells (`told`)."""
    tells = {(True, True): "both", (True, False): "only video", (False, True): "only gloves"}
    group = [tells.get(pair, "neither") for pair in truth.select("video", "gloves").iter_rows()]
    clips = truth.select("clip").with_columns(tells=pl.Series(group))
    right = predictions.with_columns(right=100.0 * (pl.col("activity") == pl.col("predicted")))
    rows = right.join(clips, on="clip", validate="m:1")
    everything = rows.with_columns(tells=pl.lit("all"))
    table = pl.concat([everything, rows]).pivot(
        "tells", index="method", values="right", aggregate_function="mean"
    )
    with pl.Config(tbl_rows=-1, float_precision=1):
        print(table)
    print({str(name): len(part) for (name,), part in clips.partition_by("tells", as_dict=True).items()})
    alone = right.filter(pl.col("method").is_in(["gloves", "video"]))
    best = alone.group_by("clip").agg(pl.col("right").max())["right"]
    print(f"gloves or video right: {best.to_numpy().mean():.1f} %")


if __name__ == "__main__":
    main()
