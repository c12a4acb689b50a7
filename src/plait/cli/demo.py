"""The demo: from simulated raw recordings to a page, and on to somebody whom its study has never seen."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from plait.cli import recogniser
from plait.cli.options import Device, Executor, How, Out, Workers
from plait.cli.simulated import LEAST_CLIPS, NEWCOMER, simulated_clips
from plait.cli.studies import run_shown
from plait.simulator.world import WORLDS, WorldName
from plait.study.shipped import study_file

app = typer.Typer()
MODEL = "model"  # of the run's folder
SUBJECTS, CLIPS, FPS = 8, 12, 12  # what two cores do in five minutes


@app.command()
def demo(
    out: Out = Path("runs/demo"),
    subjects: Annotated[int, typer.Option(min=3, help="Simulated subjects.")] = SUBJECTS,
    clips: Annotated[int, typer.Option(min=LEAST_CLIPS, help="Clips of each.")] = CLIPS,
    fps: Annotated[int, typer.Option(min=6, max=60, help="Frames of the videos in a second.")] = FPS,
    world: Annotated[WorldName, typer.Option(help="How hard.")] = WorldName.hard,
    executor: How = Executor.processes,
    workers: Workers = None,
    device: Device = "auto",
) -> None:
    """Simulate, ingest, synchronise, cut; run every method; recognise one more person's whole recording."""
    from plait.compute.machine import device_called
    from plait.results import TIMELINES

    device_called(device, elsewhere=executor is Executor.ray)  # before anything is simulated
    data = simulated_clips(out, subjects, clips, workers, world=WORLDS[world], fps=fps, newcomer=True)
    timeline = out / TIMELINES / NEWCOMER
    before = _standing(timeline)
    page = run_shown(study_file("demo"), data, out, executor, workers=workers, device=device)
    commands = _recognise_newcomer(out, data, subjects, executor, workers, device)
    if _standing(timeline) != before:  # what the page was written with
        _write_again(out)
    typer.echo(f"page: {page}")
    typer.echo("By hand, from the run to the timeline:")
    for words in commands:
        typer.echo(f"  {shlex.join(words)}")


def _recognise_newcomer(
    out: Path, data: Path, subjects: int, executor: Executor, workers: int | None, device: str
) -> list[list[str]]:
    """Fit the fusion that the page shows on everyone, and recognise and score the newcomer's recording.

    Returns the commands that do the same.
    """
    from plait.analysis.choice import choose
    from plait.results import STUDY, TIMELINES, read_results

    run, _, validation = read_results(out)
    choice = choose(run.dataset, run.methods, run.modalities, validation)
    assert choice is not None, "the demo's study has fusions"
    typer.echo(f"fitting {choice.method}, {choice.how}, on all {subjects} people")
    study, model, timeline = out / STUDY, out / MODEL, out / TIMELINES / NEWCOMER
    recording = out / NEWCOMER / "recordings" / f"{subjects + 1:02d}"
    how = Executor.processes if executor is Executor.ray else executor
    recogniser.fit(study, choice.method, data, model, run=out, executor=how, workers=workers, device=device)
    recogniser.predict(str(model), timeline, [recording], device=device)
    recogniser.score(timeline)
    on = [] if device == "auto" else ["--device", device]
    commands: list[list[str | Path]] = [
        ["fit", study, choice.method, "--data", data, "--run", out, "--out", model, *on],
        ["predict", model, recording, "--out", timeline, *on],
        ["score", timeline],
        ["report", out],
    ]
    return [["plait", *map(str, words)] for words in commands]


def _standing(timeline: Path) -> list[bytes | None]:
    """What stands of a timeline; the key in it tells one from another."""
    from plait.recogniser.predict import PREDICTED, SCORES

    files = [timeline / name for name in (PREDICTED, SCORES)]
    return [file.read_bytes() if file.is_file() else None for file in files]


def _write_again(out: Path) -> None:
    """Write the page of a run that has got a timeline."""
    from plait.report import write_report
    from plait.study.run import reporting

    with reporting(out):
        write_report(out)
