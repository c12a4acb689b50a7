"""Studies: run one, make its report again, look into it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from plait.cli.meter import Meter
from plait.cli.modules import beside, beside_run
from plait.cli.options import Data, Device, Executor, How, Only, Out, RayAddress, Sets, Threads, Workers
from plait.errors import ConfigError

app = typer.Typer()


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="A study file.", metavar="STUDY.toml")],
    data: Data,
    out: Out,
    sets: Sets = [],  # noqa: B006 - typer reads the default, nobody writes it
    only: Only = [],  # noqa: B006
    executor: How = Executor.processes,
    workers: Workers = None,
    threads: Threads = 1,
    device: Device = "auto",
    ray_address: RayAddress = None,
    shuffle_labels: Annotated[
        int | None,
        typer.Option(min=0, metavar="SEED", help="A control: everybody's labels shuffled, chance expected; own RUN."),
    ] = None,
) -> None:
    """Run a study: train what is missing, then write the predictions, the tables and the page."""
    beside(Path.cwd())
    beside(study.resolve().parent)  # a user's own modules lie beside the study
    if shuffle_labels is not None:
        sets = [*sets, f"protocol.shuffle_labels={shuffle_labels}"]
    _study(study, data, out, sets, only, executor, workers, threads, device, ray_address)


@app.command()
def demo(
    out: Out = Path("runs/demo"),
    subjects: Annotated[int, typer.Option(min=3, help="Simulated subjects.")] = 6,
    clips: Annotated[int, typer.Option(min=8, help="Clips of each.")] = 24,
    executor: How = Executor.processes,
    workers: Workers = None,
    device: Device = "auto",
) -> None:
    """Simulate raw recordings; ingest, synchronise, cut them; run every method, leave-one-subject-out."""
    _study(_shipped("demo"), _simulated(out, subjects, clips, workers), out, [], [], executor, workers, 1, device)


class Reproduced(StrEnum):
    """Data sets whose published comparison can be run by name."""

    glovid = "glovid"
    simulated = "simulated"
    utd_mhad = "utd-mhad"


@app.command()
def reproduce(
    name: Annotated[Reproduced, typer.Argument(help="The data set.")],
    out: Out,
    data: Annotated[Path | None, typer.Option(help="Its folder; simulated makes its own.", metavar="DIR")] = None,
    sets: Sets = [],  # noqa: B006
    only: Only = [],  # noqa: B006
    subjects: Annotated[int, typer.Option(min=3, help="Simulated subjects.")] = 12,
    clips: Annotated[int, typer.Option(min=8, help="Clips of each.")] = 32,
    slips: Annotated[
        float, typer.Option(help="Simulated: share of the labels in which the camera looks past the hands.")
    ] = 0.3,
    executor: How = Executor.processes,
    workers: Workers = None,
    threads: Threads = 1,
    device: Device = "auto",
    ray_address: RayAddress = None,
) -> None:
    """Run the comparison of the paper on a data set, with every table, figure and analysis."""
    if data is None and name is not Reproduced.simulated:
        raise ConfigError(f"--data: missing, expected the folder of {name.value}")
    where = data or _simulated(out, subjects, clips, workers, slips)
    if name is Reproduced.simulated and data is None:
        _hands(out, where, workers, device)
    _study(_shipped(name.value), where, out, sets, only, executor, workers, threads, device, ray_address)
    _shown(out)


def _shown(run: Path) -> None:
    """Fig. 9 of the first clip to look at: what the most accurate fusion attends to, and how far to believe it."""
    from plait.report.attention import write_attention
    from plait.report.cases import CASES
    from plait.store import read_json

    if (run / CASES).is_file():
        clip = read_json(run / CASES)["cases"][0]["clip"]
        for path in write_attention(run, clip):
            typer.echo(f"attention: {path}")


def _shipped(name: str) -> Path:
    """A study file of plait's own: installed, or in a checkout."""
    places = (Path(__file__).parents[1] / "studies", Path(__file__).parents[3] / "studies")
    return next(place / f"{name}.toml" for place in places if place.is_dir())


def _simulated(out: Path, subjects: int, clips: int, workers: int | None, slips: float = 0.0) -> Path:
    """Simulated raw recordings, ingested, synchronised and cut: the folder of the clip table."""
    from plait.clips import write_clips
    from plait.datasets.simulated import SIMULATED, WINDOWS
    from plait.datasets.simulated.simulate import simulate as record
    from plait.datasets.simulated.writer import Settings
    from plait.recordings.folder import SYNC, read_sync
    from plait.recordings.ingest import ingest as make
    from plait.recordings.synchronise import synchronise

    settings = Settings(0, clips, 256, 30, slips=slips)
    with Meter("simulating subjects", "subjects") as meter:
        raw = record(out / "raw", subjects, settings, workers=workers, progress=meter.tell)
    recordings = out / "recordings"
    for folder in raw:
        made, _ = make([folder], recordings)
        if not (made / SYNC).is_file() or any(clock.status == "unsure" for clock in read_sync(made).values()):
            fits = synchronise(made)
            for log, fit in fits.items():
                typer.echo(f"{made.name}  {log}  {fit.status}  offset {fit.offset_s:+.3f} s", err=True)
            unsure = {log: fit.offset_s for log, fit in fits.items() if fit.status == "unsure"}
            if unsure:  # a person would look at sync.svg now
                typer.echo(f"{made.name}: taking the best candidate for {', '.join(unsure)}", err=True)
                synchronise(made, unsure)
    write_clips(recordings, out / "clips", WINDOWS, activities=SIMULATED.activities)
    return out / "clips"


def _hands(out: Path, clips: Path, workers: int | None, device: str) -> None:
    """A detector trained on other simulated people, and the hands that it finds in the clips: `out/hands.parquet`."""
    from plait.clips import listed
    from plait.datasets.simulated import SIMULATED
    from plait.datasets.simulated.simulate import simulate as record
    from plait.datasets.simulated.writer import Settings
    from plait.hands.boxes import write_boxes
    from plait.hands.count import write_counts
    from plait.hands.detector import open_detector
    from plait.hands.train import Training, train
    from plait.study.run import device_called

    folder, device = out / "hands", device_called(device)
    with Meter("simulating other people", "people") as meter:
        raw = record(folder / "raw", 16, Settings(7, 8, 256, 5), workers=workers, progress=meter.tell)
    with Meter("training a detector of hands", "steps") as meter:
        boxes = write_boxes(raw, folder / "boxes")
        made = train(boxes, folder / "detector", Training(), device=device, progress=meter.tell)
    finds = open_detector(str(made), device)
    with Meter("detecting hands", "clips") as meter:
        cuts = listed(SIMULATED, clips, ["video"])
        write_counts(SIMULATED, cuts, "video", finds, out, truth=[out / "raw"], progress=meter.tell)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A folder that `plait run` made.", metavar="RUN")],
    serve: Annotated[bool, typer.Option("--serve", help="Then serve the folder until Ctrl-C.")] = False,
    host: Annotated[str, typer.Option(help="Where to serve; by default to this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
) -> None:
    """Write the tables and the page of a finished study again."""
    from plait.report import write_report
    from plait.report.serve import server

    typer.echo(write_report(run))
    if not serve:
        return
    with server(run, host, port) as listening:
        typer.echo(f"http://{host}:{listening.server_address[1]}/ (Ctrl-C ends it)")
        try:
            listening.serve_forever()
        except KeyboardInterrupt:
            typer.echo("", err=True)


@app.command()
def attention(
    run: Annotated[Path, typer.Argument(help="A folder that `plait run` made.", metavar="RUN")],
    clip: Annotated[str, typer.Argument(help="A clip's name, as in predictions.parquet.", metavar="CLIP")],
    method: Annotated[str | None, typer.Option(help="A fusion; by default the most accurate.")] = None,
    fold: Annotated[
        str | None, typer.Option(metavar="FOLD/SEED", help="By default the one that tests the clip.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Where the data set lies now.", metavar="DIR")] = None,
) -> None:
    """Draw what attends to what in one clip, and how far that picture can be believed."""
    from plait.report.attention import write_attention

    beside_run(run)
    for path in write_attention(run, clip, method, fold=fold, data=data):
        typer.echo(path)


def _study(
    study: Path,
    data: Path,
    out: Path,
    sets: list[str],
    only: list[str],
    executor: Executor,
    workers: int | None,
    threads: int,
    device: str,
    ray_address: str | None = None,
) -> None:
    import plait

    with Meter() as meter:
        page = plait.run(
            study,
            data,
            out,
            sets=sets,
            only=only,
            executor=executor.value,
            workers=workers,
            threads=threads,
            device=device,
            ray_address=ray_address,
            progress=meter.tell,
            say=lambda line: typer.echo(line, err=True),
        )
    typer.echo((out / "table.md").read_text(encoding="utf-8"))
    typer.echo(f"page: {page}")
