"""Studies: run one, make its report again, look into it."""

import os
import shlex
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from plait.cli.hands import count
from plait.cli.meter import Meter
from plait.cli.modules import beside, trusted
from plait.cli.options import (
    Data,
    Device,
    Executor,
    How,
    Only,
    Order,
    Out,
    RayAddress,
    Run,
    Sets,
    StudyFile,
    Threads,
    Trusted,
    Workers,
    finite,
)
from plait.cli.simulated import LEAST_CLIPS, count_simulated_hands, simulated_clips
from plait.errors import ConfigError
from plait.simulator.world import WORLDS, WorldName
from plait.study.shipped import study_file

app = typer.Typer()
GLOVID = "plait.datasets.glovid:GLOVID"


@app.command()
def run(
    study: StudyFile,
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
        typer.Option(
            min=0,
            max=2**63 - 1,
            metavar="SEED",
            help="A control: everybody's labels shuffled, chance expected; own RUN.",
        ),
    ] = None,
    doctor: Annotated[
        bool, typer.Option(help="Whether the doctor looks first at what will be trained on.")
    ] = True,
) -> None:
    """Run a study: train what is missing, then write the predictions, the tables and the page."""
    beside(Path.cwd())
    beside(Path(os.path.realpath(study)).parent)  # a user's own modules lie beside the study
    if shuffle_labels is not None:
        sets = [*sets, f"protocol.shuffle_labels={shuffle_labels}"]
    jobs = {"workers": workers, "threads": threads, "device": device, "ray_address": ray_address}
    page = run_shown(study, data, out, executor, sets=sets, only=only, doctor=doctor, **jobs)
    typer.echo(f"page: {page}")


class Reproduced(StrEnum):
    """Data sets whose published comparison can be run by name."""

    glovid = "glovid"
    simulated = "simulated"
    utd_mhad = "utd-mhad"


@app.command()
def reproduce(
    name: Annotated[Reproduced, typer.Argument(help="The data set.")],
    out: Out,
    data: Annotated[
        Path | None, typer.Option(help="Its folder; simulated makes its own.", metavar="DIR")
    ] = None,
    sets: Sets = [],  # noqa: B006
    only: Only = [],  # noqa: B006
    subjects: Annotated[int, typer.Option(min=3, help="Simulated subjects.")] = 12,
    clips: Annotated[
        int | None,
        typer.Option(min=1, help="Clips of each; 32 simulated ones, of GloVid's recordings the paper's 200."),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="GloVid: what finds hands, as `plait hands detect` takes it; Fig. 8 needs it."),
    ] = None,
    slips: Annotated[
        float,
        typer.Option(help="Simulated: share of the labels in which the camera slips, beside the world's."),
    ] = 0.0,
    world: Annotated[WorldName, typer.Option(help="Simulated: how hard.")] = WorldName.hard,
    executor: How = Executor.processes,
    workers: Workers = None,
    threads: Threads = 1,
    device: Device = "auto",
    ray_address: RayAddress = None,
) -> None:
    """Run the comparison of the paper on a data set, with every table, figure and analysis."""
    from plait.compute.machine import device_called

    device_called(device, elsewhere=executor is Executor.ray)  # before anything is simulated
    if data is None and name is not Reproduced.simulated:
        raise ConfigError(f"--data: missing, expected the folder of {name.value}")
    if name is Reproduced.simulated and clips is not None and clips < LEAST_CLIPS:
        raise ConfigError(f"--clips {clips}: expected at least {LEAST_CLIPS}, one of each activity")
    study, next_step = name.value, ""
    if data is None:
        clips = 32 if clips is None else clips
        data = simulated_clips(out, subjects, clips, workers, slips, world=WORLDS[world])
        count_simulated_hands(out, data, workers, device, WORLDS[world])
    elif name is Reproduced.glovid:
        data, study = _glovid_clips(data, out, clips)
        next_step = _count_glovid_hands(data, study, out, detector, device)
    jobs = {"workers": workers, "threads": threads, "device": device, "ray_address": ray_address}
    page = run_shown(study_file(study), data, out, executor, sets=sets, only=only, **jobs)
    typer.echo(f"page: {page}")
    _draw_attention(out)
    if next_step:
        typer.echo(next_step)


def _draw_attention(run: Path) -> None:
    """Fig. 9 of the first of a run's cases: what the fusion that stands for the others attends to.

    Fusions whose context is pooled are drawn before it: the deletion test that stays is the chosen fusion's.
    """
    from plait.report.attention import write_attention
    from plait.results import CASES, read_facts
    from plait.store import read_json
    from plait.trust import OWN

    if not (run / CASES).is_file() or not (cases := read_json(run / CASES)["cases"]):
        return
    methods = read_facts(run).methods
    pooled = [name for name, row in methods.items() if row.kind == "fusion" and row.args.get("pool", 1) > 1]
    for method in (*pooled, None):
        for path in write_attention(run, cases[0]["clip"], method, trust=OWN):
            typer.echo(f"attention: {path}")


def _glovid_clips(data: Path, out: Path, clips: int | None) -> tuple[Path, str]:
    """The folder of GloVid's clips, cut anew where fewer than the paper's are wanted; the study for them."""
    from plait.clips import write_clips
    from plait.datasets.glovid import EXPECTED_HANDS, STREAMS, WINDOWS, form

    held = form(data)
    if clips is not None:
        if held != "recordings":
            raise ConfigError(
                f"--clips {clips}: {data} holds clips that are cut already ({held}), expected recordings"
            )
        windows = replace(WINDOWS, count=clips)
        write_clips(
            data, out / "clips", windows, activities=tuple(EXPECTED_HANDS), streams=STREAMS, dataset=GLOVID
        )
        data = out / "clips"
    return data, "glovid-features" if held == "features" else "glovid"


def _count_glovid_hands(data: Path, study: str, out: Path, detector: str | None, device: str) -> str:
    """`out/hands.parquet` for Fig. 8, by a detector or as `clips.csv` says; else what to run for it."""
    from plait.datasets.glovid import GLOVID as RECORDED
    from plait.datasets.glovid import GLOVID_FEATURES, hands_seen
    from plait.hands.count import clips_to_count, write_known
    from plait.hands.table import TABLE

    features = study == "glovid-features"
    dataset = GLOVID_FEATURES if features else RECORDED
    if detector is not None:
        if features:
            raise ConfigError(
                f"--detector {detector}: {data} holds features, expected pictures to find hands in"
            )
        count(dataset, data, "video", detector, device, out)
        return ""
    if (counts := hands_seen(data)) is not None:
        write_known(dataset, clips_to_count(dataset, data, "video"), counts, out)
    if (out / TABLE).is_file():
        return ""
    where, run = "PICTURES" if features else shlex.quote(str(data)), shlex.quote(str(out))
    hint = "PICTURES: the same clips as pictures; or say counts in a column `hands` of clips.csv. "
    return (
        f"Fig. 8 is missing, for nobody has counted the hands: plait hands detect {where} --dataset {GLOVID} "
        f"--detector DETECTOR --out {run} && plait report {run} "
        f"({hint if features else ''}DETECTOR: what `plait hands train` makes of pictures with boxes)"
    )


@app.command()
def report(
    run: Run,
    serve: Annotated[bool, typer.Option("--serve", help="Then serve the folder until Ctrl-C.")] = False,
    host: Annotated[
        str, typer.Option(help="Where to serve; by default to this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
) -> None:
    """Write the tables and the page of a finished study again."""
    from plait.report import write_report
    from plait.report.serve import server
    from plait.study.run import reporting

    with reporting(run):
        page = write_report(run)
    typer.echo(page)
    if not serve:
        return
    with server(run, host, port) as listening:
        typer.echo(f"{listening.address} (Ctrl-C ends it)")
        try:
            listening.wait()
        except KeyboardInterrupt:
            typer.echo("", err=True)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.", metavar="RUN")],
    out: Annotated[Path, typer.Option(help="Where compare.md, .csv, .tex, .svg and .pdf go.", metavar="DIR")],
    contrasts: Annotated[
        list[str],
        typer.Option(
            "--contrast",
            metavar="METHOD,METHOD",
            help="A method of the first run and one of every other, or a pair of every data set's run.",
        ),
    ] = [],  # noqa: B006
    order: Annotated[Order, typer.Option(help="How several contrasts share alpha.")] = Order.holm,
    margin: Annotated[
        float | None, typer.Option(min=0, max=1, callback=finite, help="Of equivalence, a share: 0.02.")
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0, max=0.5, callback=finite, help="How often a test may be wrong.")
    ] = 0.05,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="Runs differ on purpose in what clips hold.")
    ] = False,
) -> None:
    """Compare methods of runs on the same people, or one pair of methods over several data sets."""
    from plait.config import Comparisons, validated
    from plait.report.across import write_comparison

    pairs = []
    for text in contrasts:
        method, comma, baseline = text.partition(",")
        if not comma or not method.strip() or not baseline.strip():
            raise ConfigError(f"--contrast {text}: expected METHOD,METHOD")
        pairs.append((method.strip(), baseline.strip()))
    settings = {"order": order.value, "margin": margin, "alpha": alpha}
    comparisons = validated(Comparisons, settings, "compare")
    written = write_comparison(runs, pairs, comparisons, out, other_data=other_data)
    typer.echo(written.read_text(encoding="utf-8"))


@app.command()
def attention(
    run: Run,
    clip: Annotated[str, typer.Argument(help="A clip's name, as in predictions.parquet.", metavar="CLIP")],
    method: Annotated[
        str | None, typer.Option(help="A fusion; by default the one that Table 2 names.")
    ] = None,
    fold: Annotated[
        str | None, typer.Option(metavar="FOLD/SEED", help="By default the one that tests the clip.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Where the data set lies now.", metavar="DIR")] = None,
    trust: Trusted = [],  # noqa: B006
) -> None:
    """Draw what attends to what in one clip, and how far that picture can be believed."""
    from plait.report.attention import write_attention

    for path in write_attention(run, clip, method, fold=fold, data=data, trust=trusted(trust)):
        typer.echo(path)


def run_shown(study: Path, data: Path, out: Path, executor: Executor, **options: Any) -> Path:
    """Run a study as `plait.run` does, showing progress; say its main table. Returns the path of its page."""
    import plait

    with Meter() as meter:
        page = plait.run(
            study,
            data,
            out,
            executor=executor.value,
            progress=meter.tell,
            say=lambda line: typer.echo(line, err=True),
            **options,
        )
    typer.echo((out / "table.md").read_text(encoding="utf-8"))
    return page
