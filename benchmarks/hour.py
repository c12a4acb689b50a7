"""An hour of another person at work through `plait predict`: memory, speed, segments, five kills.

    python benchmarks/hour.py [--minutes 60] [--people 6] [--stride 2] [--threads 2] [--seed 0] [--kills 5]
                              [--out FOLDER] [--quick] [--json FILE]

Everything is generated (`plait.simulator`): four minutes each of some people, and an hour of somebody else,
640 x 480 at 30 frames a second, and a glove on each hand with a clock of its own. Stretches of 8 to 30 s of
seven activities follow each other, and now and then one of none. All else is done by commands, as a user
does: `plait ingest`, `sync`, `fit`, `predict`, `score`. The model is `glove-led` of `studies/demo.toml`:
EfficientNet-Lite0's frozen features of every frame, and both gloves.

Twice a second RssAnon of the command's processes is read, the memory that is no file's. It is flat if, after
the first tenth, the last third's highest is at most `margin_mb` above the first third's. The same is then
predicted once more and killed (SIGKILL) at random moments, one in each of as many equal parts of its course;
what it has left in the end is compared with what the other left, byte by byte. Last, some windows are taken
apart.

With --out, FOLDER keeps what was made, which is not made again, and hour.svg and hour.csv of the memory.
"""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
import torch
from matplotlib.figure import Figure

from atwork import ANOTHER, EVERY_S, QUICK, Reading, Size, done, plait, prepare, watched
from common import MARGIN_MB, finish, machine, options, said, thirds
from plait.recogniser.predict import AT_ONCE, PARTS, PREDICTED
from plait.recogniser.predict import plan as tasks_of
from plait.recogniser.recogniser import Recogniser
from plait.recogniser.windows import Seen, Sliding, ingested, seen
from plait.report.drawing import COLOURS, WIDTHS_IN, for_file, style
from plait.store import read_json, write_text
from plait.types import Modality

MOST_MB = 1500.0
APART = 40  # windows that are taken apart


def predict_words(folder: Path, out: Path, stride_s: float, threads: int) -> list[object]:
    """The command that is measured."""
    (recording,) = (one for one in (folder / "another").iterdir() if one.is_dir())
    return ["predict", folder / "model", recording, "--out", out, "--stride", stride_s, "--threads", threads]


def judged(readings: Sequence[Reading], lasts_s: float) -> dict[str, Any]:
    """Whether memory grows with what was looked at."""
    mb = np.array([reading.mb for reading in readings])
    begin_s = readings[-1].seconds / 10
    later = [one for one in readings if one.windows and one.seconds >= begin_s] or list(readings)
    at = np.array([reading.seconds for reading in later])
    windows = np.array([reading.mb for reading in later])
    hours = at / readings[-1].seconds * lasts_s / 3600
    slope = float(np.polyfit(hours, windows, 1)[0]) if len(later) > 2 else 0.0
    return {
        "readings": len(readings),
        "peak_mb": float(mb.max()),
        "after_a_tenth_mb": float(windows[0]),
        "last_mb": float(windows[-1]),
        "mb_per_recorded_hour": slope,
        **thirds(windows.tolist()),
    }


def killed(
    words: Sequence[object], out: Path, folder: Path, pace_s: float, kills: Sequence[float]
) -> list[int]:
    """Predict, killed again and again, and then to the end; how many parts were done at each kill.

    Args:
        words: the command.
        out: the folder of what is predicted.
        folder: of all.
        pace_s: of a part.
        kills: when: so many parts, and that share of the next.
    """

    def parts() -> int:
        return len([*(out / PARTS).glob("*.parquet")])

    found = []
    for kill in kills:
        process = plait(*words, log=folder / "commands.log", folder=folder)
        while process.poll() is None and parts() < int(kill):
            time.sleep(0.02)
        until = time.monotonic() + kill % 1 * pace_s
        while process.poll() is None and parts() == int(kill) and time.monotonic() < until:
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            found.append(parts())
    done(*words, folder=folder)
    return found


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder, with what they hold."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Spent(dict[str, float]):
    """Seconds by step."""

    def of(self, step: str, function: Any) -> Any:
        """The same function; its seconds count for `step`."""

        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self[step] = self.get(step, 0.0) + time.perf_counter() - start

        return timed


def taken_apart(folder: Path, stride_s: float, threads: int, apart: int) -> dict[str, float]:
    """Milliseconds of one of so many windows: read by one thread, and then looked at by `threads`."""
    recogniser, spent = Recogniser.load(folder / "model"), Spent()
    sliding = Sliding(recogniser.facts.seconds, stride_s)
    task = tasks_of(recogniser, ingested([folder / "another"]), sliding)[0]
    modalities: list[Modality] = [
        replace(modality, prepare=spent.of("prepare", modality.prepare))
        for modality in recogniser.modalities.values()
    ]
    torch.set_num_threads(1)  # or decoders are ahead of who asks
    read: Callable[[Iterator[Seen]], list[Seen]] = spent.of("read", list)
    windows = read(seen(task.recording, modalities, task.windows[:apart]))
    torch.set_num_threads(threads)
    windows = [window for window in windows if recogniser.can_see(window.tensors)]
    recogniser(windows[0].tensors)  # folds the network; does not count
    for front in recogniser.fronts.values():
        assert front.run is not None
        front.run = spent.of("encoder", front.run)
    look = spent.of("look", recogniser)
    for window in windows[1:]:
        look(window.tensors)
    reading, looking = 1e3 / apart, 1e3 / (len(windows) - 1)
    return {
        "decode": reading * (spent["read"] - spent["prepare"]),
        "prepare": reading * spent["prepare"],
        "encoder": looking * spent["encoder"],
        "gloves and fusion": looking * (spent["look"] - spent["encoder"]),
    }


def plot(readings: Sequence[Reading], most_mb: float) -> Figure:
    """Memory over time, under what was aimed at."""
    quiet = {"ytick.major.size": 0, "ytick.labelcolor": COLOURS["muted"][0]}
    with mpl.rc_context(style() | {"axes.grid.axis": "y", "ytick.labelleft": True, **quiet}):
        figure = Figure(figsize=(WIDTHS_IN["wide"], 3.0))
        axes = figure.add_axes((0.085, 0.17, 0.885, 0.77))
        ink, muted = COLOURS["fusion"][0], COLOURS["muted"][0]
        minutes = [reading.seconds / 60 for reading in readings]
        axes.plot(minutes, [reading.mb for reading in readings], color=ink, linewidth=1.5)
        axes.axhline(most_mb, color=muted, linewidth=1, linestyle=(0, (4, 3)))
        words = f"{most_mb:,.0f} MB, the most that was allowed"
        axes.annotate(words, (0, most_mb), (4, 4), textcoords="offset points", color=muted)
        axes.set_ylim(0, 1.2 * max(most_mb, *(reading.mb for reading in readings)))
        axes.set_xlim(0, minutes[-1])
        axes.set_xlabel("minutes of plait predict")
        axes.set_ylabel("RssAnon, MB")
        return figure


def measured(folder: Path, size: Size, args: Any) -> tuple[dict[str, Any], list[Reading]]:
    """All of it."""
    seconds = prepare(folder, size, args.seed, args.threads)
    for step, took_s in seconds.items():
        print(f"  {step}: {took_s:.0f} s", flush=True)
    whole, stopped = (Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder)) for name in ("whole", "stopped"))
    words = predict_words(folder, whole, args.stride, args.threads)
    load = os.getloadavg()[0]
    readings = watched(
        words,
        lambda: any((whole / PARTS).glob("*.parquet")) and not (whole / PREDICTED).exists(),
        folder,
    )
    took_s, memory = readings[-1].seconds, judged(readings, size.lasts_s)
    print(f"  predict: {took_s:.0f} s of {size.lasts_s:.0f} s: {size.lasts_s / took_s:.2f} times as fast")
    print(
        f"  RssAnon: peak {memory['peak_mb']:.0f} MB, after a tenth {memory['after_a_tenth_mb']:.0f}, last "
        f"{memory['last_mb']:.0f}, {memory['mb_per_recorded_hour']:+.1f} MB per recorded hour; flat within "
        f"{MARGIN_MB:g} MB: {memory['flat']}",
        flush=True,
    )
    before = files(whole)
    windows = len(pl.read_parquet(whole / "timeline.parquet"))
    done("score", whole, folder=folder)
    scores = read_json(whole / "scores.json")
    labels = read_json(whole / PREDICTED)["recordings"]
    stretches = sum(label[2] != "neutral" for one in labels.values() for label in one["labels"])
    found = len(pl.read_csv(whole / "segments.csv").filter(pl.col("activity") != "neutral"))
    f1, events = scores["f1_at"], scores["events"]
    print(
        f"  right: {scores['accuracy_labelled']:.1%} of the labelled time, {scores['accuracy']:.1%} of all; "
        f"F1@50 {f1['0.5']:.1%}, mAP {scores['mean_ap']:.1%}; {stretches} stretches labelled, {found} found; "
        + ", ".join(f"{kind} {count}" for kind, count in events.items()),
        flush=True,
    )
    words = predict_words(folder, stopped, args.stride, args.threads)
    rng, parts = random.Random(args.seed), -(-windows // AT_ONCE)
    pace_s = sum(reading.windows for reading in readings) * EVERY_S / parts
    when = [(number + rng.random()) / args.kills * parts for number in range(args.kills)]
    kills = killed(words, stopped, folder, pace_s, when)
    after = files(stopped)
    differ = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    print(
        f"  killed {len(kills)} times, with {kills} parts done; {len(after)} files, "
        f"{len(differ)} differ {differ}"
    )
    ms = taken_apart(folder, args.stride, args.threads, 8 if args.quick else APART)
    print("  ms of a window: " + ", ".join(f"{step} {value:.0f}" for step, value in ms.items()))
    result = {
        "seconds": {**seconds, "predict": took_s, "recorded": size.lasts_s},
        "times_real_time": size.lasts_s / took_s,
        "load_before": load,
        "windows": windows,
        "memory": memory,
        "margin_mb": MARGIN_MB,
        "scores": scores,
        "stretches": {"labelled": stretches, "found": found},
        "kills": kills,
        "files": len(after),
        "differ": differ,
        "ms_a_window": ms,
    }
    return result, readings


def main() -> None:
    """Generate, fit, predict, score, kill; judge and draw it."""
    parser = options(__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the recording that is recognised")
    parser.add_argument("--people", type=int, choices=range(2, ANOTHER), default=6, help="who train")
    parser.add_argument("--stride", type=float, default=2.0, help="seconds from one window to the next")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder for what is made and the plot")
    args = parser.parse_args()
    size = Size(args.people, 240.0, 60 * args.minutes, 480, 30)
    if args.quick:
        size, args.stride, args.kills, args.threads = QUICK, 0.5, 1, 1
    print(f"{size.lasts_s:.0f} s of {size.height * 4 // 3} x {size.height}, windows {args.stride:g} s apart")
    print(said(told := machine(args.threads)), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        result, readings = measured(folder, size, args)
        drawn = for_file(plot(readings, MOST_MB))
    result = {**told, "stride_s": args.stride, "seed": args.seed, "people": size.people, **result}
    finish(args.json, result)
    table = pl.DataFrame(readings, orient="row", schema=list(Reading._fields))
    for place in filter(None, [args.out and args.out / "hour", args.json and args.json.with_suffix("")]):
        table.write_csv(place.with_suffix(".csv"))
        write_text(place.with_suffix(".svg"), drawn)
    assert not result["differ"], "a prediction that was killed ends otherwise"
    assert args.quick or (result["memory"]["flat"] and result["memory"]["peak_mb"] <= MOST_MB), "memory grows"


if __name__ == "__main__":
    main()
