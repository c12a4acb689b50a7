"""Progress with time left."""

import time

import typer

from plait.progress import Step


class Meter:
    """Progress with time left: a bar on a terminal, a line per finished job elsewhere."""

    def __init__(self, title: str = "reading recordings") -> None:
        self.title = title

    def __enter__(self) -> "Meter":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Progress(
            *columns, console=console, disable=not console.is_terminal, speed_estimate_period=600
        )
        self.bar.start()
        self.task = self.bar.add_task(self.title, total=None)
        self.began_s, self.standing = time.monotonic(), 0
        return self

    def tell(self, step: Step) -> None:
        """Show a step, and how long the rest will take at the pace since the work began."""
        self.bar.update(self.task, completed=step.done, total=step.total, description=step.label)
        now_s = time.monotonic()
        if step.state == "begins":
            self.began_s, self.standing = now_s, step.done
            text = f"{step.total} {step.label}" + (f", {step.done} of them done before" if step.done else "")
        elif step.state == "waits" or step.done == self.standing:
            text = f"[{step.done}/{step.total}] {step.label}"
        else:
            left_s = (now_s - self.began_s) / (step.done - self.standing) * (step.total - step.done)
            text = f"[{step.done}/{step.total}] {step.label} · {left_s / 60:.1f} min left"
        if self.bar.disable:
            typer.echo(text, err=True)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
