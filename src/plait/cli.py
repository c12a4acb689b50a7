"""Verbs -> functions; the only place that prints or exits."""

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from plait.errors import PlaitError

app = typer.Typer(
    name="plait",
    help="Recognise activities from heterogeneous sensors, fused by non-local operations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class Executor(StrEnum):
    """How jobs are carried out."""

    inline = "inline"
    processes = "processes"


Sets = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: train.patience=10.")]
Only = Annotated[list[str], typer.Option("--only", metavar="METHOD", help="This method and what it needs; 'all-*'.")]
How = Annotated[Executor, typer.Option(help="One job after another here, or several processes at once.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; by default one per core and thread.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of each job; part of what decides its result.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto takes CUDA where there is one.")]
Data = Annotated[Path, typer.Option(help="The data set's folder.", metavar="DIR")]
Out = Annotated[Path, typer.Option(help="The folder of the results; what it holds is not done again.", metavar="RUN")]


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
) -> None:
    """Run a study: train what is missing, then write the predictions, the tables and the page."""
    sys.path.insert(0, str(study.resolve().parent))  # a user's own modules lie beside the study
    _study(study, data, out, sets, only, executor, workers, threads, device)


@app.command()
def demo(
    out: Out = Path("runs/demo"),
    executor: How = Executor.processes,
    workers: Workers = None,
    device: Device = "auto",
) -> None:
    """Run the embedded study on generated recordings: every method, leave-one-subject-out."""
    study = Path(__file__).parent / "study" / "demo.toml"
    _study(study, out, out, [], [], executor, workers, 1, device)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A folder that `plait run` made.", metavar="RUN")]) -> None:
    """Write the tables and the page of a finished study again."""
    from plait.report import write_report

    typer.echo(write_report(run))


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
            progress=meter.tell,
        )
    typer.echo((out / "table.md").read_text(encoding="utf-8"))
    typer.echo(f"page: {page}")


class Meter:
    """Progress with time left: a bar on a terminal, a line per finished job elsewhere."""

    def __enter__(self) -> "Meter":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=600)
        self.bar.start()
        self.task = self.bar.add_task("reading recordings", total=None)
        self.start_s = time.monotonic()
        self.already: int | None = None
        return self

    def tell(self, done: int, total: int, label: str) -> None:
        """Show that `label` is done, and how long the rest will take at the pace so far."""
        self.bar.update(self.task, completed=done, total=total, description=label)
        if self.already is None:
            self.already = done
            text = f"{total} jobs" + (f", {done} of them done before" if done else "")
        else:
            left_s = (time.monotonic() - self.start_s) / (done - self.already) * (total - done)
            text = f"[{done}/{total}] {label} · {left_s / 60:.1f} min left"
        if self.bar.disable:
            typer.echo(text, err=True)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def main() -> None:
    """Run the command line; bad input ends it with one line and exit code 2."""
    try:
        app()
    except PlaitError as error:
        typer.echo(f"plait: {' '.join(str(error).split())}", err=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        typer.echo("plait: stopped; the same command goes on from here", err=True)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
