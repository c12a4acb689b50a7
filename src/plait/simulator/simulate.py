"""All subjects' raw recordings, several at once, each made only if it does not stand already."""

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from plait.compute.machine import cores, follow_parent
from plait.errors import ConfigError, DataError
from plait.progress import Progress, Step, silent
from plait.simulator.world import EASY
from plait.simulator.writer import Settings, write_recording
from plait.store import read_json, sweep


class Wanted(NamedTuple):
    """A recording that is to be simulated: the number of its subject, and what decides it."""

    subject: int
    settings: Settings


def simulate(
    out: Path,
    subjects: int,
    settings: Settings,
    *,
    workers: int | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Write the raw recordings of all subjects as `out/01`, `out/02`, ...; returns these folders.

    Args:
        out: the folder of recordings; those that stand in it are kept.
        subjects: how many there are.
        settings: what decides each recording.
        workers: processes at once; by default one per core.
        progress: told how many recordings of how many stand, and which was written.

    Raises:
        ConfigError: a number is out of range.
        DataError: a recording stands that was made with other settings, or one cannot be written.
    """
    return simulate_all(people(out, subjects, settings), workers=workers, progress=progress)


def people(out: Path, subjects: int, settings: Settings) -> dict[Path, Wanted]:
    """The recordings of all subjects, `out/01`, `out/02`, ...

    Raises:
        ConfigError: a number is out of range.
    """
    for name, value, least, most in (
        ("subjects", subjects, 1, 9999),
        ("clips", settings.clips, 1, 9999),
        ("height", settings.height, 64, 4320),
        ("fps", settings.fps, 5, 240),
    ):
        if not least <= value <= most:
            raise ConfigError(f"simulate: {name} is {value}, expected {least} to {most}")
    if not 0 <= settings.slips <= 1:
        raise ConfigError(f"simulate: slips is {settings.slips}, expected a share from 0 to 1")
    if settings.height % 2:
        raise ConfigError(f"simulate: height is {settings.height}, expected an even number")
    return {out / f"{subject:02d}": Wanted(subject, settings) for subject in range(1, subjects + 1)}


def simulate_all(
    wanted: Mapping[Path, Wanted], *, workers: int | None = None, progress: Progress = silent
) -> list[Path]:
    """Write raw recordings, several at once, in the order in which they are named; returns their folders.

    Args:
        wanted: by the folder of each; those that stand are kept.
        workers: processes at once; by default one per core.
        progress: told how many recordings of how many stand, and which was written.

    Raises:
        DataError: a recording stands that was made with other settings, or one cannot be written.
    """
    for parent in {folder.parent for folder in wanted}:
        sweep(parent)
    missing = {folder: one for folder, one in wanted.items() if not _stands(folder, one.settings)}
    total, standing = len(wanted), len(wanted) - len(missing)
    progress(Step(standing, total, "subjects", "begins"))
    workers = min(workers or cores(), len(missing))
    if workers <= 1:
        for done, (folder, one) in enumerate(missing.items(), standing + 1):
            write_recording(folder, *one)
            progress(Step(done, total, folder.name))
        return [*wanted]
    with ProcessPoolExecutor(workers, get_context("spawn"), follow_parent) as pool:
        jobs = {pool.submit(write_recording, folder, *one): folder.name for folder, one in missing.items()}
        try:
            for done, job in enumerate(as_completed(jobs), standing + 1):
                job.result()
                progress(Step(done, total, jobs[job]))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [*wanted]


def _stands(folder: Path, settings: Settings) -> bool:
    if not folder.exists():
        return False
    settled = read_json(folder / "truth.json").get("settings", {})
    if {"slips": 0.0, "world": asdict(EASY)} | settled != asdict(settings):
        expected = "expected another --out, or remove it"
        raise DataError(f"{folder}: stands already, simulated otherwise; {expected}")
    return True
