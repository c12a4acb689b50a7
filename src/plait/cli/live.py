"""A model while it happens."""

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.modules import trusted
from plait.cli.options import Device, Threads, Trusted, finite
from plait.cli.recogniser import ModelFolder, Stride
from plait.errors import ConfigError, PlaitError

if TYPE_CHECKING:
    from plait.live.events import Event, Source
    from plait.live.keep import Keeper
    from plait.live.session import Scored, Session

app = typer.Typer()


@app.command()
def live(
    model: ModelFolder,
    streams: Annotated[
        list[str],
        typer.Option(
            "--stream",
            metavar="NAME=ADDRESS",
            help="Where a stream comes from: camera:DEVICE, rtsp://..., file:FILM, lsl:NAME, csv:PATH, "
            "MODULE:NAME; or replay:RECORDING, with or without a name.",
        ),
    ] = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option(help="Keep the timeline there, as `plait predict` does.", metavar="DIR")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Keep what is seen there, as a recording.", metavar="DIR")
    ] = None,
    subject: Annotated[str, typer.Option(help="Who is recorded.")] = "live",
    serve: Annotated[bool, typer.Option("--serve", help="Show it on a page.")] = False,
    host: Annotated[str, typer.Option(help="Where; by default to this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    stride: Stride = None,
    patience: Annotated[
        float,
        typer.Option(
            min=0.05, callback=finite, metavar="SECONDS", help="For how long a silent sensor is waited for."
        ),
    ] = 1.5,
    speed: Annotated[
        float, typer.Option(min=0.01, callback=finite, help="Of a replay: 8 is eight times as fast.")
    ] = 1.0,
    fast: Annotated[
        bool, typer.Option("--fast", help="A replay as fast as possible, with every window.")
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1, callback=finite, metavar="SECONDS", help="End so long after it began, pictures or not."
        ),
    ] = None,
    threads: Threads = 1,
    device: Device = "auto",
    trust: Trusted = [],  # noqa: B006
) -> None:
    """Say what is done while it is done, from cameras and sensors, or a recording as if it happened now."""
    import torch

    from plait.live.addresses import is_replay, modules_of, sources_of
    from plait.live.keep import Keeper, check_new
    from plait.live.pace import Pace
    from plait.live.page import serve_page
    from plait.live.record import Recorder
    from plait.live.session import Session
    from plait.recogniser.recogniser import Recogniser

    if not streams:
        raise ConfigError(
            "live: no --stream, expected one for each sensor: --stream video=camera:/dev/video0"
        )
    replayed = all(map(is_replay, streams))
    if not replayed and (fast or speed != 1):
        raise ConfigError(
            "live: --speed and --fast are for replays, expected every --stream to be replay:RECORDING"
        )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        trusting = trusted(trust, *modules_of(streams))
        recogniser = Recogniser.load(model, trust=trusting, device=device)
        pace = Pace(math.inf if fast else speed, 0.0) if replayed else Pace()
        with ExitStack() as stack:
            sources = sources_of(streams, pace, trusting)
            session = Session(recogniser, sources, pace, stride_s=stride, patience_s=patience, say=typer.echo)
            console = Console()
            session.listeners.append(console)
            page = serve_page(session, host, port) if serve else None
            if page is not None:
                stack.callback(page.close)
            stack.enter_context(stopped_by_signals(session))  # until all is written, and whatever happens
            if out is not None and record is not None and out.resolve() == record.resolve():
                raise ConfigError(f"{out}: --out and --record in one folder, expected two")
            if out is not None:
                check_new(out)  # before a recording's folder is made
            recorder = (
                None
                if record is None
                else Recorder(record, subject, sources, session.openings, waits=not pace.waits)
            )
            keeper = None if out is None else Keeper(out, session, name_of(streams, out))
            # Nothing is refused from here on, and what was made will be filled.
            if keeper is not None:
                session.listeners.append(keeper)
                stack.push(ending(partial(finish, keeper, sources)))
            if recorder is not None:
                session.listeners.append(recorder)
                stack.push(ending(recorder.close))
            if page is not None:
                typer.echo(f"{page.address} (Ctrl-C ends it)")
            session.run(seconds)
    finally:
        torch.set_num_threads(before)
    for line in summary(session):
        typer.echo(line)


class Console:
    """A line for each change of activity."""

    def __init__(self) -> None:
        self._said: tuple[str, tuple[str, ...]] | None = None

    def arrived(self, event: "Event") -> None:
        """Nothing is said of readings."""

    def scored(self, scored: "Scored") -> None:
        """Say what is done now, if it is something else than before, or seen by others."""
        if self._said != (scored.predicted, scored.seen):
            self._said = scored.predicted, scored.seen
            share = f"{scored.scores.max():.0%}"
            typer.echo(f"{scored.stop_s:9.1f} s  {scored.predicted}  {share}  ({', '.join(scored.seen)})")


@contextmanager
def stopped_by_signals(session: "Session") -> Iterator[None]:
    """Ctrl-C, a polite kill and a terminal that goes end a session, which then keeps what it has seen."""
    kinds = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {kind: signal.signal(kind, lambda *_: session.stop()) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def ending(end: Callable[[], None]) -> Callable[[Any, Any, Any], bool]:
    """What has to be done at the end as an exit of a context; of two errors, the first is raised."""

    def exit_(kind: Any, error: BaseException | None, trace: Any) -> bool:
        try:
            end()
        except (PlaitError, OSError):
            if error is None:
                raise
        return False

    return exit_


def finish(keeper: "Keeper", sources: "list[Source]") -> None:
    """Leave what `plait predict` would; of a whole replay it is the same."""
    from plait.live.replay import Replay
    from plait.recogniser.predict import plan, prediction_key, whole

    keeper.tell()
    recogniser = keeper.session.recogniser
    if len(sources) != 1 or not isinstance(sources[0], Replay):
        keeper.finish()
        return
    seen = replace(sources[0].recording, streams=sources[0].streams)
    tasks = plan(recogniser, [seen], keeper.session.sliding, cut=recogniser.facts.cut)
    key, _ = prediction_key(recogniser, tasks)
    keeper.finish(whole(tasks[0], list(recogniser.modalities.values())), key)


def name_of(streams: list[str], out: Path) -> str:
    """What a session is called: the recording that is replayed, or the folder where it is kept."""
    replays = {address.partition("replay:")[2] for address in streams if "replay:" in address}
    return Path(os.path.realpath(replays.pop())).name if len(replays) == 1 else out.resolve().name


def summary(session: "Session") -> Iterator[str]:
    """What a session has to say at its end: what was counted, and how long it took."""
    told = session.told()
    scored, skipped, unseen = told["windows"].values()
    yield f"{scored} windows scored, {skipped} skipped for want of time, {unseen} with too little to see"
    if late := {name: count for name, count in told["late"].items() if count}:
        said = ", ".join(f"{name} {count}" for name, count in late.items())
        yield f"readings that came too late, or twice: {said}"
    if left_out := {name: count for name, count in told["left_out"].items() if count}:
        yield f"left out by their sources: {', '.join(f'{name} {count}' for name, count in left_out.items())}"
    if session.pace.waits and scored:
        for name, parts in told["latency_ms"].items():
            said = ", ".join(f"{part} {ms:.1f}" for part, ms in parts.items() if part != "total")
            yield f"from the last reading to scores, {name}: {parts['total']:.0f} ms ({said})"
