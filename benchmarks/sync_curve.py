"""How often `plait sync` is sure, by length: of logs that are the video's, and of logs that are not.

    python benchmarks/sync_curve.py [--recordings 12] [--others 3] [--seed 0] [--json FILE] [--plot FILE]

For each length and each kind of work, recordings with known truth are made, with no, one or two claps and
four other sounds and jerks each. Every log is laid on its own video, and on those of others who do the same
work: with sound and without. Logs that only hiss or lie still come to every video as well. A wrong offset is
one more than 100 ms off, anywhere in the recording. How often each confidence was right is told over all of
them, half of each.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from common import finish, machine, options, said
from plait.compute.machine import cores
from plait.recordings.sync import align, claps_heard
from plait.report.drawing import COLOURS, for_file, style
from plait.simulator.activities import WORK
from plait.store import write_text
from plait.types import Readings
from signals import Signals, simulate
from sync import worst_error_s

LENGTHS_S = (20, 30, 40, 50, 60, 75, 90, 120, 180)
WRONG_S = 0.1
CONFIDENT = (0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0)


@dataclass(frozen=True)
class Trial:
    """One log laid on one video: which work, how many claps (-1: without sound), whether it is its own."""

    work: str
    seconds: int
    claps: int
    own: bool
    confidence: float
    sure: bool
    error_s: float


def recording(number: int, seed: int, work: str, seconds: int) -> Signals:
    """A recording of a kind of work and a length, with `number % 3` claps."""
    rng = np.random.default_rng((seed, number, seconds, list(WORK).index(work)))
    return simulate(int(rng.integers(2**31)), duration_s=seconds, claps=number % 3, work=WORK[work])


def trials(work: str, seconds: int, recordings: int, others: int, seed: int) -> list[Trial]:
    """Every log on its own video and on `others` others', with and without sound."""
    made = [recording(number, seed, work, seconds) for number in range(recordings)]
    rng = np.random.default_rng((seed, seconds, list(WORK).index(work), 1))
    tried = []
    for number, video in enumerate(made):
        sound = claps_heard(video.audio)
        strangers: list[Readings] = []
        for other in rng.choice(
            np.delete(np.arange(recordings), number), min(others, recordings - 1), replace=False
        ):
            strangers += made[other].logs.values()
        times = np.arange(0, seconds, 0.04)
        strangers += [
            Readings(times, rng.normal(size=(len(times), 3))),
            Readings(times, np.ones((len(times), 3))),
        ]
        for heard, claps in ((sound, number % 3), (np.empty(0), -1)):
            for name, log in video.logs.items():
                fit = align(heard, video.motion, log)
                error_s = worst_error_s(fit, video, name)
                tried.append(Trial(work, seconds, claps, True, fit.confidence, fit.status == "sure", error_s))
            for log in strangers:
                fit = align(heard, video.motion, log)
                tried.append(Trial(work, seconds, claps, False, fit.confidence, fit.status == "sure", np.inf))
    return tried


def share(tried: Sequence[Trial]) -> dict[str, Any]:
    """How many of these are sure, and how many of those are wrong."""
    sure = [one for one in tried if one.sure]
    return {
        "logs": len(tried),
        "sure": len(sure) / max(len(tried), 1),
        "wrong": sum(one.error_s > WRONG_S for one in sure),
        "median_ms": 1e3 * float(np.median([one.error_s for one in sure])) if sure else None,
    }


def reliability(tried: Sequence[Trial]) -> list[dict[str, float]]:
    """Of each range of confidences, how often it was right; strangers weigh as much as videos' own logs."""
    weight = {own: 1 / max(sum(one.own == own for one in tried), 1) for own in (True, False)}
    rows = []
    for low, high in pairwise(CONFIDENT):
        inside = [one for one in tried if low <= one.confidence < high or (high == 1 and one.confidence == 1)]
        total = sum(weight[one.own] for one in inside)
        right = sum(weight[one.own] for one in inside if one.error_s <= WRONG_S)
        rows.append({"from": low, "to": high, "logs": len(inside), "right": right / total if total else 0.0})
    return rows


def drawn(rows: Sequence[dict[str, Any]]) -> Figure:
    """Sure against length, on the left of the videos' own logs, on the right of strangers'."""
    with mpl.rc_context(style()):
        figure = Figure(figsize=(8.2, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        lines = (
            ("two claps", "fusion", "D"),
            ("motion alone", "single", "o"),
            ("motion alone, other work", "muted", "^"),
        )
        for name, colour, marker in lines:
            left.plot(
                [row["seconds"] for row in rows],
                [100 * row[name]["sure"] for row in rows],
                color=COLOURS[colour][0],
                marker=marker,
                label=name,
            )
        left.set_title("its own log: sure, %", loc="left")
        left.legend(frameon=False, loc="lower right")
        seconds = [row["seconds"] for row in rows]
        for name, colour, marker in (
            ("a stranger's log", "combined", "s"),
            ("the worst kind of work", "muted", "^"),
        ):
            right.plot(
                seconds,
                [1000 * row[name]["sure"] for row in rows],
                color=COLOURS[colour][0],
                marker=marker,
                label=name,
            )
        right.axhline(1, color=COLOURS["ink"][0], linewidth=0.8, linestyle=":")
        right.set_ylim(bottom=0)
        right.set_title("a stranger's log: sure, of 1,000", loc="left")
        right.legend(frameon=False, loc="upper right")
        for axes in (left, right):
            axes.tick_params(labelleft=True)
            axes.set_xlabel("seconds of the recording")
            axes.grid(visible=True)
    return figure


def main() -> None:
    """Measure, print and draw."""
    parser = options(__doc__)
    parser.add_argument("--recordings", type=int, default=12, help="of each length and kind of work")
    parser.add_argument("--others", type=int, default=3, help="videos of others that each log is laid on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="file for the plot, .svg")
    args = parser.parse_args()
    lengths = (30, 60) if args.quick else LENGTHS_S
    recordings, others = (2, 1) if args.quick else (args.recordings, args.others)
    cells = list(product(WORK, lengths))
    one = partial(trials, recordings=recordings, others=others, seed=args.seed)
    with ProcessPoolExecutor(cores()) as pool:
        tried = [trial for found in pool.map(one, *zip(*cells, strict=True)) for trial in found]
    rows: list[dict[str, Any]] = []
    for seconds in lengths:
        own = [one for one in tried if one.own and one.seconds == seconds]
        strange = [one for one in tried if not one.own and one.seconds == seconds]
        kinds = {work: share([one for one in strange if one.work == work]) for work in WORK}
        rows.append(
            {
                "seconds": seconds,
                "two claps": share([one for one in own if one.work == "bouts" and one.claps == 2]),
                "motion alone": share([one for one in own if one.work == "bouts" and one.claps < 0]),
                "motion alone, other work": share(
                    [one for one in own if one.work != "bouts" and one.claps < 0]
                ),
                "all": share(own),
                "a stranger's log": share(strange),
                "the worst kind of work": max(kinds.values(), key=lambda kind: kind["sure"]),
                "kinds": kinds,
                "own kinds": {work: share([one for one in own if one.work == work]) for work in WORK},
            }
        )
    told = {**machine(1), "seed": args.seed, "rows": rows, "reliability": reliability(tried)}
    told["strangers"] = share([one for one in tried if not one.own])
    print(said(told))
    print("seconds  two claps  motion alone  other work  wrong of all  strangers sure")
    for row in rows:
        stranger = row["a stranger's log"]
        print(
            f"{row['seconds']:7}  {row['two claps']['sure']:9.0%}  {row['motion alone']['sure']:12.0%}  "
            f"{row['motion alone, other work']['sure']:10.0%}  "
            f"{row['all']['wrong']:5} / {row['all']['logs']:<4}  "
            f"{round(stranger['sure'] * stranger['logs']):5} of {stranger['logs']}"
        )
    for bin_ in told["reliability"]:
        print(
            f"confidence {bin_['from']:g} to {bin_['to']:g}: {bin_['logs']} logs, right {bin_['right']:.2%}"
        )
    finish(args.json, told)
    for file in filter(None, [args.plot, args.json and args.json.with_suffix(".svg")]):
        write_text(file, for_file(drawn(rows)))


if __name__ == "__main__":
    main()
