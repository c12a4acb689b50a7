"""The parts of a study that `benchmarks/scale.py` measures, each over so many generated clips."""

import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from common import CLOCK, rss_anon_mb
from memory import Drawn
from plait.clips import Clips, Rows, stored
from plait.clips.listing import survey
from plait.clips.people import People, check_clips
from plait.clips.table import TABLE, read_clips, write_clips
from plait.config import Comparisons, Study
from plait.encoders.glove import SignalNet
from plait.encoders.video import VideoNet
from plait.features import Extraction, extract
from plait.recordings.folder import Clock, Description, LogFile, write_description, write_sync
from plait.recordings.video import rgb
from plait.report import write_report
from plait.results import COLUMNS, ORDER, PREDICTIONS, MethodFacts, RunFacts, read_results, write_run
from plait.study.examined import findings_of
from plait.study.folds import check_classes, doers, folds_of
from plait.study.jobs import Job, Setting, plan
from plait.study.load import load_study
from plait.training.course import Task
from plait.training.fit import fit
from plait.types import Clip, Dataset, Fold, Modality, Readings, Recording, Span, Stream, Windows

T = TypeVar("T")
EACH, WINDOWS = 100, 1_000  # clips of a person; windows of a recording on disk
ACTIVITIES = ("still", "slow", "quick", "wild")
FRAMES, SIDE, READINGS, CHANNELS = 4, 16, 32, 4
DATASET, ENCODER = "scale_parts:GENERATED", "scale_parts:Patches"
FOLDS, MOST_FOLDS = 5, 1_000  # folds of people; above which a fold for each is not planned
PROTOCOLS: dict[str, dict[str, Any]] = {
    "five folds": {"kind": "subject-folds", "folds": FOLDS},
    "a fold each": {"kind": "leave-one-subject-out"},
}
EVERY_S = 0.05


def recordings(data: Path) -> Iterator[Recording]:
    """One recording a person; how many clips in all, the folder's name says."""
    for person in range(int(data.name) // EACH):
        spans = tuple(Span(at, at + 0.9, ACTIVITIES[at % len(ACTIVITIES)]) for at in range(EACH))
        streams: dict[str, Stream] = {
            "camera": Drawn((person, 0), (SIDE, SIDE, 3), spans),
            "wrist": Drawn((person, 1), (CHANNELS,), spans),
        }
        name = f"{person:06d}"
        yield Recording(name, name, streams, spans, key=name)


def signal(readings: np.ndarray) -> Tensor:
    """Readings about zero."""
    return torch.from_numpy(readings).float() / 120 - 1


class Patches(nn.Module):
    """One convolution of patches and a ReLU: a grid `(2, 2, 2, 64)` of a clip."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.convolve = nn.Conv3d(shape[-1], 64, (2, 8, 8), (2, 8, 8))

    def forward(self, clips: Tensor) -> Tensor:
        """The grid of `(b, 4, 16, 16, 3)`."""
        grid: Tensor = self.convolve(clips.movedim(-1, 1)).relu().movedim(1, -1)
        return grid


GENERATED = Dataset(
    "generated",
    ACTIVITIES,
    (
        Modality("video", ("camera",), FRAMES, None, rgb, VideoNet),
        Modality("signal", ("wrist",), READINGS, None, signal, SignalNet),
    ),
    recordings,
    "Generated; no publication.",
)


def study(**protocol: Any) -> Study:
    """Two methods over folds of people."""
    return load_study(
        {
            "name": "scale",
            "dataset": DATASET,
            "modalities": ["video", "signal"],
            "seeds": [0],
            "protocol": protocol,
            "encoders": {"video": {"features": {"use": ENCODER}}},
            "train": {"max_epochs": 1, "batch_size": 64, "choose": "last"},
            "methods": {
                "signal": {"use": "plait.fusion:Single", "args": {"modality": "signal"}},
                "video-led": {"use": "plait.fusion:Led", "args": {"lead": "video"}},
            },
        }
    )


class Gauge(threading.Thread):
    """What stages take: seconds by the benchmarks' clock, MB of RssAnon beyond what there was at first."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.taken: dict[str, dict[str, float]] = {}
        self.first, self.most = rss_anon_mb("self"), 0.0
        self.start()

    def run(self) -> None:
        """Look again and again."""
        while True:
            self.most = max(self.most, rss_anon_mb("self"))
            threading.Event().wait(EVERY_S)

    def __call__(self, stage: str, step: Callable[[], T]) -> T:
        """What a step gives; noted is what it took."""
        self.most = 0.0
        start = CLOCK()
        result = step()
        seconds = CLOCK() - start
        self.note(stage, s=seconds, MB=max(self.most, rss_anon_mb("self")) - self.first)
        return result

    def note(self, stage: str, **quantities: float) -> None:
        """Note something else of a stage."""
        self.taken.setdefault(stage, {}).update(quantities)


def table_part(clips: int, folder: Path, gauge: Gauge) -> None:
    """`plait clips`, and what opens its table."""
    for number, first in enumerate(range(0, clips, WINDOWS)):
        _record(folder / "data" / f"r{number:06d}", number, min(WINDOWS, clips - first))
    settings = Windows(seconds=1.0)
    gauge("plait clips", lambda: write_clips(folder / "data", folder / "clips", settings))
    table, _ = gauge("table read", lambda: read_clips(folder / "clips"))
    assert len(table) == clips, f"{len(table)} clips, expected {clips}"
    gauge.note("plait clips", bytes=(folder / "clips" / TABLE).stat().st_size)


def _record(folder: Path, number: int, seconds: int) -> None:
    """A recording of 16 x 16 pixels and a log of 22 columns at 25 Hz, all of it labelled."""
    rng = np.random.default_rng(number)
    folder.mkdir(parents=True)
    with av.open(str(folder / "film.mp4"), "w") as container:
        track = container.add_stream("mpeg4", rate=1)
        track.width = track.height = 16
        for _ in range(seconds + 1):
            picture = rng.integers(0, 255, (16, 16, 3), np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(track.encode())
    times = np.arange(25 * seconds + 25) / 25
    log = {"t": times, **{f"x{n}": rng.normal(size=len(times)) for n in range(22)}}
    pl.DataFrame(log).write_parquet(folder / "log.parquet")
    each = seconds / len(ACTIVITIES)
    labels = [{"start": i * each, "stop": (i + 1) * each, "activity": a} for i, a in enumerate(ACTIVITIES)]
    pl.DataFrame(labels).write_csv(folder / "labels.csv")
    log_file = LogFile("log.parquet", ("x*",), time="t")
    write_description(folder, Description(f"{number:06d}", "film.mp4", {"wrist": log_file}, "labels.csv"))
    write_sync(folder, {"wrist": Clock(0.0)})


def study_part(clips: int, folder: Path, gauge: Gauge) -> None:
    """From recordings to an epoch."""
    os.environ["PLAIT_CACHE"] = str(folder / "cache")
    names = ["video", "signal"]
    asked = partial(survey, GENERATED, folder / str(clips), names, people=People())
    cuts = gauge("listing", asked).cuts
    cut = gauge("cutting", lambda: stored(GENERATED, cuts, ["signal"]))
    features = gauge("features", lambda: extract(GENERATED, cuts, "video", Extraction(ENCODER))).rows
    given = Clips(cut.table, {**cut.arrays, "video": features}, {**cut.shapes, "video": features.shape})
    named = list(given.arrays.items())
    gauge("doubles", lambda: check_clips(folder, given.table, named, People()))
    for stage, rows in (("cutting", cut.arrays["signal"]), ("features", features)):
        gauge.note(stage, bytes=sum(file.stat().st_size for file in rows.files))
    people = sorted({clip.subject for clip in given.table})
    fold = Fold("fixed", tuple(people[1:]), (), (people[0],))
    _, method, train = next(
        training for training in study(kind="leave-one-subject-out").trainings() if training[0] == "video-led"
    )
    for epochs in (1, 4):
        task = Task(method, replace(train, max_epochs=epochs), GENERATED, given, fold, seed=0)
        gauge(f"{epochs} epochs", partial(fit, task))
    one, four = (gauge.taken.pop(f"{epochs} epochs") for epochs in (1, 4))
    gauge.note("epoch", s=(four["s"] - one["s"]) / 3, MB=four["MB"])


def doctor_part(clips: int, folder: Path, gauge: Gauge) -> None:
    """What the doctor says before a study, of recordings that lie in memory."""
    os.environ["PLAIT_CACHE"] = str(folder / "cache")
    dataset = replace(GENERATED, recordings=_in_memory)
    listing = survey(dataset, folder / str(clips), ["video", "signal"], people=People())
    asked = study(kind="leave-one-subject-out")
    gauge("doctor", partial(findings_of, asked, dataset, folder / str(clips), listing))


def _in_memory(data: Path) -> Iterator[Recording]:
    """The same people, with a thousand readings of each of two sensors."""
    for recording in recordings(data):
        rng, times = np.random.default_rng(int(recording.name)), np.arange(1000) / 10
        streams: dict[str, Stream] = {
            name: Readings(times, rng.normal(size=(1000, CHANNELS))) for name in recording.streams
        }
        yield replace(recording, streams=streams, key=None)


def plan_part(clips: int, folder: Path, gauge: Gauge) -> None:
    """Folds and jobs of clips that are nowhere."""
    table, setting = gauge("clips", lambda: _clips(clips)), Setting(DATASET, folder, 1, "cpu")
    jobs: list[Job] = []
    for kind, protocol in PROTOCOLS.items():
        if kind == "a fold each" and clips // EACH > MOST_FOLDS:
            continue
        asked = study(**protocol)
        parts = gauge(f"{kind}: folds", partial(_folds, asked, table.table))
        jobs = gauge(f"{kind}: jobs", partial(_jobs, asked, table, parts, setting))
    gauge.note("a job sent", bytes=gauge("a job sent", lambda: _sent(jobs[0])))


def _clips(count: int) -> Clips:
    """Clips of as many people, and rows of files that nobody opens."""
    table = tuple(
        Clip(
            f"{n // EACH:06d}/{n % EACH:04d}",
            f"{n // EACH:06d}",
            f"{n // EACH:06d}",
            ACTIVITIES[n % 4],
            n,
            n + 1,
        )
        for n in range(count)
    )
    files = tuple(Path(f"{number:032x}.npy") for number in range(count // EACH))
    rows = Rows(files, np.stack(np.divmod(np.arange(count, dtype=np.int32), EACH), axis=1))
    return Clips(
        table, {"video": rows, "signal": rows}, {"video": (2, 2, 2, 64), "signal": (READINGS, CHANNELS)}
    )


def _folds(asked: Study, table: Sequence[Clip]) -> tuple[Fold, ...]:
    parts = folds_of(asked.protocol, table)
    who_does = doers(table, "subject")
    for fold in parts:
        check_classes(fold, who_does, ACTIVITIES)
    return parts


def _jobs(asked: Study, clips: Clips, parts: Sequence[Fold], setting: Setting) -> list[Job]:
    """All jobs, each asked for its key and its cost as whoever hands them out does."""
    given = {name: clips for name, _, _ in asked.trainings()}
    jobs = list(plan(asked, GENERATED, given, parts, setting).values())
    assert len({job.key for job in jobs}) == len(jobs) and all(job.cost > 0 for job in jobs)
    return jobs


def _sent(job: Job) -> int:
    content = pickle.dumps(job)
    pickle.loads(content)
    return len(content)


def report_part(clips: int, folder: Path, gauge: Gauge) -> None:
    """Predictions of two methods, one of them better, with people who differ."""
    single, fusion = (
        MethodFacts("single", ("signal",), "mean"),
        MethodFacts("fusion", ("video", "signal"), "mean"),
    )
    methods = {"signal": single, "video-led": fusion}
    activities, protocol = ACTIVITIES, asdict(study(**PROTOCOLS["five folds"]).protocol)
    contrasts = Comparisons(contrasts=(("video-led", "signal"),))
    about = ("scale", GENERATED.name, "", activities, ("video", "signal"), protocol, (0,))
    facts = RunFacts(*about, methods, contrasts)
    table = _predictions(clips)
    gauge("predictions written", lambda: write_run(folder, facts, table, table.clear()))
    del table
    gauge.note("predictions written", bytes=(folder / PREDICTIONS).stat().st_size)
    results = gauge("predictions read", lambda: read_results(folder))
    page = gauge("report", lambda: write_report(folder, results=results))
    gauge.note("report", bytes=page.stat().st_size)


def _predictions(clips: int) -> pl.DataFrame:
    """Predictions of both methods on all clips, as a run sorts them."""
    rng, number = np.random.default_rng(0), np.arange(clips)
    person, truth = number // EACH, number % len(ACTIVITIES)
    skill = rng.uniform(0.5, 2.5, person[-1] + 1)[person]
    names = pl.Series(person).cast(pl.String).str.zfill(6)
    about = {
        "clip": names + "/" + pl.Series(number % EACH).cast(pl.String).str.zfill(4),
        "subject": names,
        "activity": pl.Series(ACTIVITIES)[truth],
        "fold": pl.Series(person % FOLDS + 1).cast(pl.String),
    }
    parts = []
    for method, better in (("signal", 0.0), ("video-led", 0.5)):
        scores = rng.normal(size=(clips, len(ACTIVITIES))).astype(np.float32)
        scores[number, truth] += skill + better
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        said = {
            "predicted": pl.Series(ACTIVITIES)[scores.argmax(axis=1)],
            "scores": pl.Series(scores).arr.to_list(),
        }
        of = {"study": pl.lit("scale"), "method": pl.lit(method), "seed": pl.lit(0, pl.Int64)}
        parts.append(pl.DataFrame({**about, **said}).with_columns(**of).select(COLUMNS))
    return pl.concat(parts).sort(ORDER)
