"""Progress with time left."""

import time

import typer


class Meter:
    """Progress with time left: a bar on a terminal, a line per finished job elsewhere."""

    def __init__(self, title: str = "reading recordings", of: str = "jobs") -> None:
        self.title, self.of = title, of

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
        self.began: tuple[float, int, int] | None = None
        self.last = 0
        return self

    def tell(self, done: int, total: int, label: str) -> None:
        """Show that `label` is done, and how long the rest will take at the pace so far.

        Another `total`, fewer done or no label starts something else; a label and no more done is waited for.
        """
        self.bar.update(self.task, completed=done, total=total, description=label)
        if self.began is None or self.began[2] != total or done < self.last or not label:
            self.began = (time.monotonic(), done, total)
            text = f"{total} {label or self.of}" + (f", {done} of them done before" if done else "")
        elif done == self.last:
            text = f"[{done}/{total}] {label}"
        else:
            start_s, already, _ = self.began
            left_s = (time.monotonic() - start_s) / (done - already) * (total - done)
            text = f"[{done}/{total}] {label} · {left_s / 60:.1f} min left"
        self.last = done
        if self.bar.disable:
            typer.echo(text, err=True)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
