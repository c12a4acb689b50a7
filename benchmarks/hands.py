"""How well the small detector finds and counts the hands of simulated people it has not seen.

Sixteen people (seed 7) to learn from; six others (seed 9), and six more whose camera slips (seed 11), to be
tested on: their boxes, and the counts of their clips.

    python benchmarks/hands.py [--quick] [--json FILE] [--data DIR]     # a folder keeps what was made
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from common import finish, machine, options, said
from plait.analysis.missing_hands import agreement
from plait.clips import listed, write_clips
from plait.datasets.simulated import SIMULATED, WINDOWS
from plait.hands.boxes import read_boxes, write_boxes
from plait.hands.count import write_counts
from plait.hands.detections import Detector
from plait.hands.detector import detected, open_detector
from plait.hands.measure import measure
from plait.hands.train import Training, train
from plait.recordings.folder import Clock, write_sync
from plait.recordings.ingest import ingest
from plait.simulator.simulate import simulate
from plait.simulator.writer import Settings
from plait.store import read_json


def clips_of(raws: list[Path], folder: Path) -> Path:
    """A clip table of raw recordings, on their true clocks (`sync_simulated.py` looks for these)."""
    for raw in raws:
        recording, _ = ingest([raw], folder / "recordings")
        true = read_json(raw / "truth.json")
        write_sync(
            recording, {log: Clock(true["offset_s"][log], true["drift_ppm"][log]) for log in true["offset_s"]}
        )
    write_clips(folder / "recordings", folder / "clips", WINDOWS, activities=SIMULATED.activities)
    return folder / "clips"


def timed(what: str, work: Callable[[], Path]) -> Path:
    """The result of `work`, with a line on how long it took."""
    start_s = time.perf_counter()
    made = work()
    print(f"{what:<34} {time.perf_counter() - start_s:8.1f} s", flush=True)
    return made


def tried(who: str, raws: list[Path], finds: Detector, folder: Path) -> dict[str, Any]:
    """Print how well a detector finds and counts the hands of these people; the numbers."""
    pictures = read_boxes(write_boxes(raws, folder / "boxes"))
    told = measure([one.boxes for one in pictures], detected(finds, (one.load() for one in pictures)))
    print(f"{who}: {told.pictures} pictures, {told.hands} hands")
    for name in ("precision", "recall", "ap50", "counted"):
        value = getattr(told, name)  # None: nothing was found at all
        print(f"  {name:<32} {'–' if value is None else format(value, '.3f'):>10}")
    cuts = listed(SIMULATED, clips_of(raws, folder), ["video"])
    table = write_counts(SIMULATED, cuts, "video", finds, folder / "hands.parquet", truth=raws)
    right, known = agreement(table)
    missing = [int((table["missing"] == number).sum()) for number in (0, 1, 2)]
    print(f"  {'clips with the true count':<32} {right / known:10.3f}   ({right} of {known})")
    print(f"  {'clips with 0, 1, 2 hands missing':<32} {missing}", flush=True)
    named = {name: getattr(told, name) for name in ("precision", "recall", "ap50", "counted")}
    return named | {"clips_counted": right / known, "clips": known, "clips_by_missing": missing}


def main() -> None:
    """Make what is missing, and print the numbers."""
    parser = options(__doc__, rounds=1)
    parser.add_argument(
        "--data", type=Path, help="folder that keeps what was made; by default a temporary one"
    )
    chosen = parser.parse_args()
    height, fps = (128, 5) if chosen.quick else (256, 10)
    people, each, training = 16, 8, Training()
    if chosen.quick:
        people, each, training = 1, 2, Training(side=96, steps=2, batch=2)
    result: dict[str, Any] = machine(torch.get_num_threads())
    print(said(result))
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = chosen.data or Path(scratch)
        learn = simulate(folder / "learn", people, Settings(7, each, height, 5))
        boxes = timed("boxes to learn from", lambda: write_boxes(learn, folder / "boxes"))
        start = time.perf_counter()
        made = timed("training", lambda: train(boxes, folder / "detector", training))
        result["training_s"] = time.perf_counter() - start
        finds = open_detector(str(made))
        tests, clips = (1, 1) if chosen.quick else (6, 16)
        others = simulate(folder / "others/raw", tests, Settings(9, clips, height, fps))
        result["others"] = tried("people not seen", others, finds, folder / "others")
        slipped = simulate(folder / "slipped/raw", tests, Settings(11, clips, height, fps, slips=0.5))
        result["slipped"] = tried("others, whose camera slips", slipped, finds, folder / "slipped")
    finish(chosen.json, result)


if __name__ == "__main__":
    main()
