"""Memory over time while 8,000 clips go through features and a study: it must not grow with the clips.

    python benchmarks/memory.py [--clips 8000] [--quick] [--json FILE] [--plot FILE]

The clips are generated when they are asked for: 16 frames of 56 x 56 in colour and 64 readings of six
channels, of 40 people and four activities. Clips of the video go through a frozen network of one convolution
to a grid of 8x7x7x64, `plait.features.extraction`; a study of one fold (32 people train, 4 validate, 4 are
tested) then trains the signal alone and video-led fusion for two epochs. All the while, ten times a second,
RssAnon of this process and its children is read: the memory that is no file's, for arrays are mapped.
Features and each method are a phase. Memory is flat if in each, after its first tenth, the last third's
highest is at most `margin_mb` above the first third's. The ratio is what the prepared clips and grids would
take in memory, in float32, to the most that was taken beyond the start.

With --json, the readings lie beside FILE as .csv and the plot as .svg.
"""

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import polars as pl
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from common import MARGIN_MB, finish, machine, options, rss_anon_mb, said, thirds
from plait.clips import listed
from plait.encoders.glove import SignalNet
from plait.encoders.video import VideoNet
from plait.features import Extraction, extract
from plait.objects import resolve
from plait.recordings.video import rgb
from plait.report.drawing import COLOURS, WIDTHS_IN, for_file, style
from plait.store import write_text
from plait.study.run import run_study
from plait.types import Dataset, Modality, Recording, Span, Stream

SUBJECTS, ACTIVITIES = 40, ("still", "slow", "quick", "wild")
FRAMES, SIDE, READINGS, CHANNELS, GRID = 16, 56, 64, 6, (8, 7, 7, 64)
EVERY_S = 0.1
DATASET, ENCODER = "memory:DRAWN", "memory:Patches"


@dataclass(frozen=True, eq=False)
class Drawn:
    """A `Stream` whose readings of `shape` are drawn when asked for, always the same for the same seconds."""

    seed: tuple[int, ...]
    shape: tuple[int, ...]
    spans: tuple[Span, ...]

    @property
    def times(self) -> np.ndarray:
        """Seconds of the first and the last reading."""
        return np.array([0.0, self.spans[-1].stop_s])

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Noise, stronger the livelier the activity, shape `(len(seconds), *shape)`, uint8."""
        number = min(int(seconds[0]), len(self.spans) - 1)
        reach = 60 * (1 + ACTIVITIES.index(self.spans[number].activity))
        noise = np.random.default_rng((*self.seed, number))
        return noise.integers(0, reach, (len(seconds), *self.shape), np.uint8)


def recordings(data: Path) -> Iterator[Recording]:
    """One recording a person; how many clips in all, the folder's name says."""
    each = int(data.name) // SUBJECTS
    for person in range(SUBJECTS):
        spans = tuple(Span(at, at + 0.9, ACTIVITIES[at % len(ACTIVITIES)]) for at in range(each))
        streams: dict[str, Stream] = {
            "camera": Drawn((person, 0), (SIDE, SIDE, 3), spans),
            "wrist": Drawn((person, 1), (CHANNELS,), spans),
        }
        name = f"{person:02d}"
        yield Recording(name, name, streams, spans, key=f"{name} of {each}")


def signal(readings: np.ndarray) -> Tensor:
    """Readings about zero."""
    return torch.from_numpy(readings).float() / 120 - 1


class Patches(nn.Module):
    """One convolution of patches and a ReLU: a grid `(8, 7, 7, 64)` of a clip."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.convolve = nn.Conv3d(shape[-1], GRID[-1], (2, 8, 8), (2, 8, 8))

    def forward(self, clips: Tensor) -> Tensor:
        """The grid of `(b, 16, 56, 56, 3)`."""
        grid: Tensor = self.convolve(clips.movedim(-1, 1)).relu().movedim(1, -1)
        return grid


DRAWN = Dataset(
    "drawn",
    ACTIVITIES,
    (
        Modality("video", ("camera",), FRAMES, None, rgb, VideoNet),
        Modality("signal", ("wrist",), READINGS, None, signal, SignalNet),
    ),
    recordings,
    "Generated; no publication.",
)


def study() -> dict[str, Any]:
    """Two methods over one split."""
    names = [f"{person:02d}" for person in range(SUBJECTS)]
    return {
        "name": "memory",
        "dataset": DATASET,
        "modalities": ["video", "signal"],
        "seeds": [0],
        "protocol": {"kind": "fixed", "train": names[:32], "val": names[32:36], "test": names[36:]},
        "encoders": {"video": {"features": {"use": ENCODER}}},
        "train": {"max_epochs": 2},
        "methods": {
            "signal": {"use": "plait.fusion:Single", "args": {"modality": "signal"}},
            "video-led": {"use": "plait.fusion:Led", "args": {"lead": "video"}},
        },
    }


class Reading(NamedTuple):
    """RssAnon of the process and its children at a moment of a phase."""

    seconds: float
    phase: str
    mb: float


class Meter(threading.Thread):
    """Reads memory ten times a second until it is stopped; `phase` says what is being done."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.phase, self.readings, self.stopped = "start", list[Reading](), threading.Event()

    def run(self) -> None:
        """Read until stopped."""
        start = time.monotonic()
        while not self.stopped.wait(EVERY_S):
            self.readings.append(Reading(time.monotonic() - start, self.phase, rss_anon_mb("self")))


def judged(readings: Sequence[Reading], phase: str) -> dict[str, Any]:
    """The highest of the first and of the last third of a phase, after its first tenth."""
    own = [reading.mb for reading in readings if reading.phase == phase]
    own = own[len(own) // 10 :]
    return {"readings": len(own), **thirds(own)}


def plot(readings: Sequence[Reading], held_mb: Mapping[str, float]) -> Figure:
    """Memory over time, and what it would be if clips and grids were held."""
    quiet = {"ytick.major.size": 0, "ytick.labelcolor": COLOURS["muted"][0]}
    with mpl.rc_context(style() | {"axes.grid.axis": "y", "ytick.labelleft": True, **quiet}):
        figure = Figure(figsize=(WIDTHS_IN["wide"], 3.4))
        axes = figure.add_axes((0.075, 0.15, 0.9, 0.78))
        ink, muted = COLOURS["fusion"][0], COLOURS["muted"][0]
        axes.plot([r.seconds for r in readings], [r.mb for r in readings], color=ink, linewidth=1.5)
        top = 1.6 * max(reading.mb for reading in readings)
        axes.set_ylim(0, top)
        axes.set_xlim(0, readings[-1].seconds)
        for phase in held_mb:
            own = [reading for reading in readings if reading.phase == phase]
            axes.axvline(own[0].seconds, color=muted, linewidth=1, linestyle=(0, (4, 3)))
            text = f"{phase}\n{held_mb[phase]:,.0f} MB\nif held"
            axes.annotate(
                text, (own[0].seconds, top), (5, -4), textcoords="offset points", va="top", color=muted
            )
        axes.set_xlabel("seconds")
        axes.set_ylabel("RssAnon, MB")
        return figure


def main() -> None:
    """Make the features and run the study while memory is read; judge and draw it."""
    parser = options(__doc__)
    parser.add_argument("--clips", type=int, default=8000)
    parser.add_argument("--plot", type=Path, help="file for the plot, .svg")
    args = parser.parse_args()
    clips = (200 if args.quick else args.clips) // SUBJECTS * SUBJECTS
    torch.set_num_threads(1)
    print(f"{clips} clips through features and a study, RssAnon every {EVERY_S:g} s")
    print(said(told := machine(1)))
    video, grid, own = FRAMES * SIDE * SIDE * 3, int(np.prod(GRID)), READINGS * CHANNELS
    held_mb = {"features": 4e-6 * clips * video, "signal": 4e-6 * clips * own}
    held_mb["video-led"] = 4e-6 * clips * (grid + own)
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PLAIT_CACHE"] = f"{folder}/cache"
        data = Path(folder) / str(clips)
        meter.start()
        time.sleep(3 * EVERY_S)
        meter.phase = "features"
        dataset: Dataset = resolve(DATASET, "dataset")
        made = extract(dataset, listed(dataset, data, ["video", "signal"]), "video", Extraction(ENCODER))
        assert made.shape == GRID, made.shape
        scored: dict[str, int] = {}
        for method in study()["methods"]:
            meter.phase = method
            run_study(study(), data, Path(folder) / method, only=[method])
            scored[method] = len(pl.read_parquet(Path(folder) / method / "predictions.parquet"))
        meter.stopped.set()
        meter.join()
    assert set(scored.values()) == {clips // 10}, f"{scored} predictions, expected {clips // 10} of each"
    phases = {phase: judged(meter.readings, phase) for phase in held_mb}
    start_mb = next(r.mb for r in reversed(meter.readings) if r.phase == "start")
    most_mb = max(r.mb for r in meter.readings)
    held = sum(held_mb.values())
    flat = all(one["flat"] for one in phases.values())
    result = {
        **told,
        "clips": clips,
        "flat": flat,
        "margin_mb": MARGIN_MB,
        "phases": phases,
        "start_mb": start_mb,
        "most_mb": most_mb,
        "held_mb": held_mb,
        "ratio": held / (most_mb - start_mb),
        "seconds": meter.readings[-1].seconds,
    }
    for phase, one in phases.items():
        print(
            f"  {phase:9} first third at most {one['first_third_mb']:.0f} MB, "
            f"last {one['last_third_mb']:.0f} MB"
        )
    print(
        f"  flat within {MARGIN_MB:g} MB: {flat}; "
        f"{most_mb - start_mb:.0f} MB beyond the start's {start_mb:.0f} MB"
    )
    print(f"  clips and grids in memory would take {held:.0f} MB: {result['ratio']:.0f} times as much")
    drawn = for_file(plot(meter.readings, held_mb))
    if args.json:
        finish(args.json, result)
        pl.DataFrame(meter.readings, orient="row", schema=list(Reading._fields)).write_csv(
            args.json.with_suffix(".csv")
        )
    for file in filter(None, [args.plot, args.json and args.json.with_suffix(".svg")]):
        write_text(file, drawn)
    assert flat or args.quick, "memory grows with the clips"


if __name__ == "__main__":
    main()
