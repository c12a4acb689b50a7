"""How hard the simulated world is: each sensor alone, every person left out once, and what the truth allows.

    python benchmarks/simulated_world.py --out DIR [--people 8] [--clips 40] [--seed 1] [--knob away=0.2 ...]

It simulates at 6 frames a second (all that the video network sees), ingests, synchronises, cuts, and trains the
demo's study on single sensors: `static`, `gloves`, `video`. No fusion is trained, for the world is calibrated with
this, and its difficulty must not depend on what fusion makes of it. What stands in DIR is not made again.

The truth's table says of how many clips the simulation lets a sensor tell the activity by design: the leading hand is
in the picture in half of the clip and the manner does not look like another activity's; the leading glove sits
firmly and the manner does not feel like another's.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl

from plait.cli.options import Executor
from plait.cli.simulated import simulated_clips
from plait.cli.studies import run_shown, study_file
from plait.simulator.world import HARD
from plait.store import read_json, write_json

SINGLES = ("static", "gloves", "video")
FPS = 6
LUCK = 1 / 8


def told(raw: Path, clips: pl.DataFrame) -> pl.DataFrame:
    """Of each clip of the recording `raw`: whether by design the video tells its activity, and the gloves do."""
    truth = read_json(raw / "truth.json")
    with np.load(raw / "truth.npz", allow_pickle=False) as arrays:
        shown = np.isfinite(arrays["boxes"][:, :, 0])
    fps, usual = truth["settings"]["fps"], 0 if truth["person"]["left_handed"] else 1
    rows = []
    for clip, start_s, stop_s, activity in clips.select("clip", "start_s", "stop_s", "activity").iter_rows():
        middle = (start_s + stop_s) / 2
        [at] = [s for s in truth["stretches"] if s["start_s"] <= middle < s["stop_s"]]
        assert at["activity"] == activity, (clip, at)
        hand = usual ^ at["other_hand"]
        seen = shown[int(start_s * fps) : int(stop_s * fps), hand].mean() >= 0.5 or activity == "neutral"
        video = bool(seen and not at["away"] and at["like"] != "look")
        gloves = bool(not at["loose"] and at["like"] != "feel")
        rows.append((clip, activity, at["like"], video, gloves))
    return pl.DataFrame(rows, schema=["clip", "activity", "like", "video", "gloves"], orient="row")


def allowed(clips: pl.DataFrame) -> dict[str, float]:
    """Accuracy in % of who knows what each sensor tells by design, and guesses where none does."""
    video, gloves = pl.col("video"), pl.col("gloves")
    found = {"video": video, "gloves": gloves, "both": video | gloves}
    said = {name: pl.when(tells).then(1.0).otherwise(LUCK).mean() for name, tells in found.items()}
    return {
        name: round(100 * float(value), 1) for name, value in clips.select(**said).row(0, named=True).items()
    }


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
    truth = pl.concat([told(args.out / "raw" / who, part) for (who,), part in table.group_by("subject")])
    oracle = allowed(truth)
    print(f"simulated and cut in {simulated_s:.0f} s; told by design, %: {oracle}", flush=True)
    run = args.out / "run"
    run_shown(study_file("demo"), clips, run, Executor.inline, workers=args.workers, only=chosen)
    print(f"all in {time.perf_counter() - start:.0f} s")
    if args.json:
        write_json(args.json, {"oracle": oracle, "simulated_s": simulated_s})


if __name__ == "__main__":
    main()
