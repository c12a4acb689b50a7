"""People at work (`plait.simulator`), and a model that recognises another: made by commands."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common import rss_anon_mb
from plait.compute.machine import cores
from plait.simulator.cycles import CYCLES
from plait.simulator.motion import move
from plait.simulator.writer import Plan, Settings, plan, write_recording
from plait.store import read_json
from plait.types import Span

STUDY, METHOD = Path(__file__).parent.parent / "studies" / "demo.toml", "glove-led"
ANOTHER = 9  # who is recognised
EVERY_S = 0.5  # between two readings of memory


class Size(NamedTuple):
    """What is generated."""

    people: int
    training_s: float  # of each
    lasts_s: float  # the recording that is recognised
    height: int
    fps: int
    stretch_s: tuple[float, float] = (8.0, 30.0)  # of one activity
    epochs: int = 20  # as the study has it
    tuned_s: float | None = None  # from window to window where smoothing is tuned; as the study has it
    features: str | None = None  # the network that looks at pictures; as the study has it


QUICK = Size(2, 60.0, 40.0, 64, 8, (5.4, 6.0), 2, tuned_s=4.0, features="plait.encoders.video:VideoNet")


class Reading(NamedTuple):
    """RssAnon of the command at a moment: while windows are looked at, or before and after that."""

    seconds: float
    windows: bool
    mb: float


def script(subject: int, settings: Settings, lasts_s: float, stretch_s: tuple[float, float]) -> Plan:
    """What a person does for so long: every activity about as often, and now and then nothing between two."""
    rng = np.random.default_rng([settings.seed, subject, 8])
    spans: list[Span] = []
    coming: list[str] = []
    clock = 5.0
    while clock < lasts_s - 4.0 - stretch_s[1]:
        if not coming:
            coming = [str(name) for name in rng.permutation([*CYCLES])]
        spans.append(Span(round(clock, 3), round(clock + rng.uniform(*stretch_s), 3), coming.pop()))
        clock = spans[-1].stop_s + (rng.uniform(8, 20) if rng.random() < 0.4 else 0.0)
    claps = 2.5, lasts_s - 2.5
    person = plan(subject, settings)
    motion = move(spans, claps, lasts_s, person.person, [settings.seed, subject, 1])
    return replace(person, spans=tuple(spans), claps=claps, stop_s=lasts_s, motion=motion, slips=())


def write_raw(folder: Path, subject: int, seed: int, lasts_s: float, size: Size) -> None:
    """Write a person's raw recording."""
    settings = Settings(seed, len(CYCLES), size.height, size.fps)
    write_recording(folder, subject, settings, script(subject, settings, lasts_s, size.stretch_s))


def plait(*words: object, log: Path, folder: Path) -> subprocess.Popen[bytes]:
    """A command of plait's on its way, in a process group of its own; `log` takes what it says."""
    environment = os.environ | {"PLAIT_CACHE": str(folder / "cache")}
    with log.open("ab") as told:
        return subprocess.Popen(
            [sys.executable, "-m", "plait", *map(str, words)],
            stdout=told,
            stderr=told,
            env=environment,
            start_new_session=True,
        )


def done(*words: object, folder: Path) -> float:
    """Seconds that a command of plait's took."""
    start, log = time.monotonic(), folder / "commands.log"
    code = plait(*words, log=log, folder=folder).wait()
    assert code == 0, f"plait {words[0]}: exit code {code}: {log.read_text()[-2000:]}"
    return time.monotonic() - start


def watched(words: Sequence[object], looks: Callable[[], bool], folder: Path) -> list[Reading]:
    """RssAnon of a command from its start to its end; `looks` tells whether it looks at windows."""
    readings: list[Reading] = []
    start, log = time.monotonic(), folder / "commands.log"
    process = plait(*words, log=log, folder=folder)
    while process.poll() is None:
        if (mb := rss_anon_mb(str(process.pid))) > 0:
            readings.append(Reading(time.monotonic() - start, looks(), mb))
        time.sleep(EVERY_S)
    assert process.returncode == 0, f"plait {words[0]}: {log.read_text()[-2000:]}"
    return [*readings, Reading(time.monotonic() - start, False, readings[-1].mb)]


def prepare(folder: Path, size: Size, seed: int, threads: int) -> dict[str, float]:
    """Recordings of everyone, synchronised, and a model of all but one; seconds of each step."""
    lasts = {ANOTHER: size.lasts_s, **dict.fromkeys(range(1, size.people + 1), size.training_s)}
    raws = {folder / "raw" / f"{subject:02d}": (subject, lasts_s) for subject, lasts_s in lasts.items()}
    seconds = {}
    start = time.monotonic()
    with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
        missing = [(raw, who, lasts_s) for raw, (who, lasts_s) in raws.items() if not raw.exists()]
        for job in [pool.submit(write_raw, raw, who, seed, s, size) for raw, who, s in missing]:
            job.result()
    seconds["generate"] = time.monotonic() - start
    another, others = folder / "another", folder / "others"
    for raw, (subject, _) in raws.items():
        recordings = another if subject == ANOTHER else others
        if not (recordings / raw.name).exists():
            done("ingest", raw, "--out", recordings, folder=folder)
    for recordings in (others, another):
        each = [one for one in recordings.iterdir() if one.is_dir()]
        if not all((one / "sync.json").exists() for one in each):
            seconds[f"sync {recordings.name}"] = done("sync", recordings, folder=folder)
            if by_hand := [option for one in each for option in unsure(folder, one)]:
                done("sync", recordings, *by_hand, folder=folder)
    options: tuple[object, ...] = ("--threads", threads, "--set", f"train.max_epochs={size.epochs}")
    where = ("--data", others, "--out", folder / "model")
    options += ("--stride", size.tuned_s) if size.tuned_s else ()
    options += ("--set", f"encoders.video.features.use={size.features}") if size.features else ()
    seconds["fit"] = done("fit", STUDY, METHOD, *where, *options, folder=folder)
    return seconds


def unsure(folder: Path, recording: Path) -> list[str]:
    """Options that give the true offsets of logs that sync was unsure of, as somebody who looks would."""
    clocks, true = (
        read_json(place)
        for place in (recording / "sync.json", folder / "raw" / recording.name / "truth.json")
    )
    found = {log: true["offset_s"][log] for log, clock in clocks.items() if clock["status"] == "unsure"}
    return [f"--offset={recording.name}/{log}={offset_s}" for log, offset_s in found.items()]
