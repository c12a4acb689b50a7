"""Robustness: a finished study's networks on test clips that are made worse."""

from pathlib import Path
from typing import Annotated

import typer

from plait.cli.meter import Meter
from plait.cli.modules import beside, trusted
from plait.cli.options import Executor, How, Only, RayAddress, Run, Trusted, Workers

app = typer.Typer()


@app.command()
def robustness(
    run: Run,
    data: Annotated[
        Path | None, typer.Option(help="Where the data set lies now; by default where it lay.", metavar="DIR")
    ] = None,
    faults: Annotated[
        list[str],
        typer.Option(
            "--fault", metavar="NAME", help="This fault, or MODULE:NAME, your own; by default all of plait's."
        ),
    ] = [],  # noqa: B006 - typer reads the default, nobody writes it
    modalities: Annotated[
        list[str],
        typer.Option("--modality", metavar="NAME", help="What it befalls; by default each."),
    ] = [],  # noqa: B006
    only: Only = [],  # noqa: B006
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of what faults draw.")] = 0,
    executor: How = Executor.processes,
    workers: Workers = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, ...; by default what the run was computed on.")
    ] = None,
    ray_address: RayAddress = None,
    trust: Trusted = [],  # noqa: B006
) -> None:
    """Score a finished study's networks on test clips made worse; nothing is trained.

    A sensor is absent, frozen, noisy, turned, late, a camera dark or blurred: accuracy by severity, and what
    each method is without each sensor.
    """
    from plait.report import write_report
    from plait.report.robustness import write_robustness
    from plait.robustness.run import run_robustness
    from plait.study.run import reporting

    if any(":" in name for name in faults):
        beside(Path.cwd())
    with Meter("opening the run") as meter:
        finished = run_robustness(
            run,
            data,
            faults=faults,
            modalities=modalities,
            only=only,
            seed=seed,
            executor=executor.value,
            workers=workers,
            device=device,
            ray_address=ray_address,
            trust=trusted(trust),
            progress=meter.tell,
            say=lambda line: typer.echo(line, err=True),
        )
    with reporting(run):
        written = write_robustness(run, finished.results)
        page = write_report(run)
    typer.echo(written.read_text(encoding="utf-8"))
    typer.echo(f"page: {page}")
