"""What verbs make of the simulator: people's recordings, synchronised and cut, and who stays outside."""

from collections.abc import Sequence
from pathlib import Path

import typer

from plait.cli.hands import count
from plait.cli.meter import Meter
from plait.errors import DataError
from plait.simulator.world import HARD, World

LEAST_CLIPS = 8  # of a person: one of each activity
HEIGHT, FPS = 256, 30  # of the video
NEWCOMER = "newcomer"  # of a run's folder: recordings of somebody who is not in its study
NEWCOMER_CLIPS, NEWCOMER_SEED = 16, 1


def simulated_clips(
    out: Path,
    subjects: int,
    clips: int,
    workers: int | None,
    slips: float = 0.0,
    *,
    world: World = HARD,
    seed: int = 0,
    fps: int = FPS,
    newcomer: bool = False,
) -> Path:
    """Simulated raw recordings, ingested, synchronised and cut: the folder of the clip table.

    Args:
        out: where; `raw`, `recordings` and `clips` are made in it.
        subjects: how many people.
        clips: of each.
        workers: processes at once.
        slips: share of the labels in which the camera looks past the hands.
        world: how hard it is.
        seed: of the people in the clip table.
        fps: frames of the video in a second.
        newcomer: also simulate one more person, of another seed, as `NEWCOMER/raw`: in no clip table.

    Raises:
        DataError: recordings stand there that are others.
    """
    from plait.clips import write_clips
    from plait.datasets.simulated import SIMULATED, WINDOWS
    from plait.simulator.simulate import Wanted, people, simulate_all
    from plait.simulator.writer import Settings

    recordings = out / "recordings"
    _refuse_others(recordings, subjects)
    everybody = people(out / "raw", subjects, Settings(seed, clips, HEIGHT, fps, slips=slips, world=world))
    wanted = dict(everybody)
    if newcomer:
        settings = Settings(NEWCOMER_SEED, NEWCOMER_CLIPS, HEIGHT, fps, world=world)
        wanted[out / NEWCOMER / "raw" / f"{subjects + 1:02d}"] = Wanted(subjects + 1, settings)
    with Meter("simulating subjects") as meter:
        simulate_all(wanted, workers=workers, progress=meter.tell)
    synchronised(list(everybody), recordings)
    if newcomer:
        synchronised([folder for folder in wanted if folder not in everybody], out / NEWCOMER / "recordings")
    write_clips(recordings, out / "clips", WINDOWS, activities=SIMULATED.activities)
    return out / "clips"


def _refuse_others(recordings: Path, subjects: int) -> None:
    """Refuse recordings of more people than are wanted, who would be cut into clips as well.

    Raises:
        DataError: naming one.
    """
    wanted = {f"{subject:02d}" for subject in range(1, subjects + 1)}
    there = {folder.name for folder in recordings.glob("*") if folder.is_dir() and folder.name[0] != "."}
    if others := there - wanted:
        raise DataError(
            f"{recordings / min(others)}: stands already, of more than {subjects} people; expected another "
            "--out, or remove it"
        )


def synchronised(raw: Sequence[Path], out: Path) -> list[Path]:
    """Raw recordings, ingested into `out` and synchronised; their folders there."""
    from plait.recordings.folder import SYNC, read_sync
    from plait.recordings.ingest import ingest
    from plait.recordings.synchronise import synchronise

    recordings = []
    for folder in raw:
        recording, _ = ingest([folder], out)
        recordings.append(recording)
        if (recording / SYNC).is_file() and all(c.status != "unsure" for c in read_sync(recording).values()):
            continue
        fits = synchronise(recording)
        for log, fit in fits.items():
            typer.echo(f"{recording.name}  {log}  {fit.status}  offset {fit.offset_s:+.3f} s", err=True)
        unsure = {log: fit.offset_s for log, fit in fits.items() if fit.status == "unsure"}
        if unsure:  # a person would look at sync.svg now
            typer.echo(f"{recording.name}: taking the best candidate for {', '.join(unsure)}", err=True)
            synchronise(recording, unsure)
    return recordings


def count_simulated_hands(out: Path, clips: Path, workers: int | None, device: str, world: World) -> None:
    """Train a detector on other simulated people and count hands with it: `out/hands.parquet`."""
    from plait.compute.machine import device_called
    from plait.datasets.simulated import SIMULATED
    from plait.hands.boxes import write_boxes
    from plait.hands.train import Training, train
    from plait.simulator.simulate import simulate as record
    from plait.simulator.writer import Settings

    folder, device = out / "hands", device_called(device)
    with Meter("simulating other people") as meter:
        raw = record(
            folder / "raw", 16, Settings(7, 8, 256, 5, world=world), workers=workers, progress=meter.tell
        )
    with Meter("training a detector of hands") as meter:
        boxes = write_boxes(raw, folder / "boxes")
        detector = train(boxes, folder / "detector", Training(), device=device, progress=meter.tell)
    count(SIMULATED, clips, "video", str(detector), device, out, truth=[out / "raw"])
