"""The cache: what lies in it, and how it goes."""

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from plait.cli.options import finite

app = typer.Typer()


@app.command()
def cache(
    clean: Annotated[
        bool,
        typer.Option(
            "--clean", help="Remove: by default what no run finds, else what --stage, --older-than say."
        ),
    ] = False,
    stage: Annotated[
        list[str],
        typer.Option(metavar="STAGE", help="Only this one: clips, features, grids, weights, models, sent."),
    ] = [],  # noqa: B006 - typer reads the default, nobody writes it
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, callback=finite, help="Only what was last used longer ago."),
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="A line for every entry.")] = False,
) -> None:
    """Say what lies in the cache: by stage, how much, how old, outdated or unfinished; and remove it."""
    from plait.cache import DAY_S, Entry, State, entries, older, useless
    from plait.cache import clean as remove
    from plait.store import cache_folder

    def line(name: str, group: list[Entry]) -> str:
        days = sorted((time.time() - entry.used_s) / DAY_S for entry in group)
        size = size_in_words(sum(entry.size for entry in group))
        return f"{name:<22}{len(group):>7}  {size:>9}  {days[0]:.0f} to {days[-1]:.0f} days"

    listed = entries(stage)
    if older_than is not None:
        listed = older(listed, older_than)
    typer.echo(f"{cache_folder('.')}")
    for name in dict.fromkeys(entry.stage for entry in listed):
        for state in State:
            group = [entry for entry in listed if entry.stage == name and entry.state is state]
            if group:
                typer.echo(line(name if state is State.whole else f"{name}, {state}", group))
            for entry in group if each else []:
                typer.echo(f"  {size_in_words(entry.size):>9}  {entry.owner}  {entry.made}")
    if not listed:
        typer.echo("nothing")
    if clean:
        chosen = listed if stage or older_than is not None else useless(listed)
        if not stage:  # some weights were put there by hand
            chosen = [entry for entry in chosen if entry.stage != "weights"]
        gone, kept = remove(chosen)
        typer.echo(f"removed: {_count(gone)}, {size_in_words(sum(entry.size for entry in gone))}")
        if kept:
            typer.echo(f"left: {_count(kept)} in work")


def _count(entries: Sequence[object]) -> str:
    return "1 entry" if len(entries) == 1 else f"{len(entries)} entries"


def size_in_words(size: float) -> str:
    """So many bytes, to read."""
    power = sum(size >= 1000**k for k in (1, 2, 3))
    return f"{size / 1000**power:.{min(power, 1)}f} {('B', 'kB', 'MB', 'GB')[power]}"
