"""Recordings: make, synchronise and cut them, and run frozen encoders over what was cut."""

import math
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.meter import Meter
from plait.cli.modules import trusted
from plait.cli.options import (
    Clips,
    DatasetName,
    Device,
    Different,
    Engine,
    ModalityName,
    RayAddress,
    Recordings,
    SamePerson,
    Trusted,
    Workers,
    finite,
    names_together,
    once,
)
from plait.errors import ConfigError, DataError, PlaitError
from plait.simulator.world import WORLDS, WorldName

if TYPE_CHECKING:
    from plait.recordings.by_hand import Offset
    from plait.types import Dataset, Windows

app = typer.Typer()
Sources = Annotated[list[Path], typer.Argument(help="A video, sensor logs, labels; or one folder of them.")]


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="The folder of the raw recordings.", metavar="DIR")],
    subjects: Annotated[int, typer.Option(help="How many people.")] = 6,
    clips: Annotated[int, typer.Option(help="Clips of each.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Decides everything.")] = 0,
    height: Annotated[int, typer.Option(help="Of the video, in pixels; 4:3.")] = 256,
    fps: Annotated[int, typer.Option(help="Frames per second.")] = 30,
    slips: Annotated[
        float, typer.Option(help="Share of the labels in which the camera looks past the hands.")
    ] = 0.0,
    world: Annotated[
        WorldName, typer.Option(help="How hard: people and sensors that differ little, or as in the paper.")
    ] = WorldName.hard,
    size: Annotated[
        str | None, typer.Option(help="full: GloVid's size, 19 people with 200 clips each.")
    ] = None,
    workers: Workers = None,
) -> None:
    """Write raw recordings of a simulated GloVid: video with sound, two glove logs, labels, and the truth."""
    from plait.compute.machine import cores
    from plait.simulator.simulate import simulate as record
    from plait.simulator.writer import Settings, duration_s, seconds_per_frame

    if size not in (None, "full"):
        raise ConfigError(f"--size {size}: expected full, or none for --subjects and --clips")
    if size == "full":
        subjects, clips = 19, 200
    settings = Settings(seed, clips, height, fps, slips=slips, world=WORLDS[world])
    if size == "full":
        frames = subjects * duration_s(settings) * fps
        at_once = workers or cores()
        minutes = frames * seconds_per_frame(settings) / at_once / 60
        typer.echo(f"{frames:.0f} frames: about {minutes:.0f} minutes on {at_once} cores", err=True)
    with Meter("simulating subjects") as meter:
        record(out, subjects, settings, workers=workers, progress=meter.tell)
    typer.echo(f"{out}: {subjects} raw recordings; next: plait ingest {out}/01 --out RECORDINGS, and so on")


@app.command()
def ingest(
    sources: Sources,
    out: Annotated[Path, typer.Option(help="The folder of recordings.", metavar="RECORDINGS")],
    subject: Annotated[
        str | None, typer.Option(help="Who was recorded; by default the recording's name.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The recording's name; by default the folder's or video's.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(help="gopro-gloves, camera-imu, or a recording.toml whose files are patterns."),
    ] = None,
    tier: Annotated[str | None, typer.Option(help="Which of ELAN's tiers holds the activities.")] = None,
    answers: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="A value of recording.toml: label_unit=ms."),
    ] = [],  # noqa: B006
    formats: Annotated[
        list[str],
        typer.Option("--format", metavar="FILE=FORMAT", help="Of a sensor's own file: '*.dat=mine:read'."),
    ] = [],  # noqa: B006
) -> None:
    """Make a recording of a video, sensor logs and labels; originals are left alone."""
    from plait.recordings.ingest import ingest as make
    from plait.recordings.sensor_files import Formats

    answered = [_parse_setting(text) for text in answers] + ([("tier", tier)] if tier else [])
    settings = once("--set", answered)
    said = once("--format", map(_parse_format, formats))
    own = Formats(said, trusted([], *said.values()))
    folder, notes = make(sources, out, subject, name, template, settings, own)
    for line in notes:
        typer.echo(f"  {line}")
    typer.echo(f"{folder}: check recording.toml, then: plait sync {out}")


@app.command()
def sync(
    recordings: Recordings,
    offset: Annotated[
        list[str],
        typer.Option(
            metavar="[RECORDING/]LOG=SECONDS", help="Take this offset, and keep it: session-1/left=1.25."
        ),
    ] = [],  # noqa: B006
    again: Annotated[
        list[str],
        typer.Option(metavar="RECORDING[/LOG]", help="Look anew at what was set by hand; '*' for all."),
    ] = [],  # noqa: B006
    audio: Annotated[bool, typer.Option(help="Look for claps in the video's sound.")] = True,
    max_offset: Annotated[
        float,
        typer.Option(min=0.1, max=3600, callback=finite, help="Seconds either way within which to look."),
    ] = 10.0,
) -> None:
    """Lay every sensor log on its video's clock: sync.json, and sync.svg to judge it by."""
    from plait.recordings.by_hand import logs_again, offsets_by_recording
    from plait.recordings.folder import recording_folders
    from plait.recordings.synchronise import synchronise

    folders = recording_folders(recordings if recordings.name not in ("", "..") else recordings.resolve())
    offsets_s = offsets_by_recording(folders, [_parse_offset(text) for text in offset], typer.echo)
    logs = logs_again(folders, again)
    unsure, failed = 0, {}
    for folder in folders:
        notes: list[str] = []
        try:
            fits = synchronise(
                folder,
                offsets_s[folder],
                audio=audio,
                max_offset_s=max_offset,
                again=logs[folder],
                tell=notes.append,
            )
        except PlaitError as error:
            if len(folders) == 1:
                raise
            failed[folder.name] = " ".join(str(error).split())
            typer.echo(f"{folder.name}  failed")
            continue
        for log, fit in fits.items():
            clock = f"offset {fit.offset_s:+.3f} s  drift {fit.drift_ppm:+.0f} ppm"
            why = f"  {fit.why}" if fit.why else ""
            typer.echo(f"{folder.name}  {log}  {fit.status}  {clock}  confidence {fit.confidence:.3f}{why}")
            unsure += fit.status == "unsure"
            if fit.candidates and fit.status == "unsure":
                candidates = ", ".join(f"{c.offset_s:+.3f} s ({c.agreement:.0%})" for c in fit.candidates)
                typer.echo(f"  candidates (motion that agrees): {candidates}")
        for line in notes:
            typer.echo(f"  {line}")
    if unsure:
        typer.echo(f"{unsure} unsure: look at sync.svg, then give --offset RECORDING/LOG=SECONDS")
    for name, line in failed.items():
        typer.echo(f"{name}: {line}", err=True)
    if failed:
        raise DataError(
            f"{len(failed)} of {len(folders)} recordings failed: {', '.join(failed)}; the others are done"
        )


@app.command()
def clips(
    recordings: Recordings,
    out: Annotated[Path, typer.Option(help="The folder of the clip table.", metavar="CLIPS")],
    dataset: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="A data set, whose activities and windows are meant."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of a window; by default the data set's.")
    ] = None,
    purity: Annotated[
        float | None,
        typer.Option(help="1: windows inside labels, by default; less: the share that one activity fills."),
    ] = None,
    unlabelled: Annotated[
        str | None,
        typer.Option(
            metavar="ACTIVITY", help="What time between labels is; by default, and with '', it is dropped."
        ),
    ] = None,
    margins: Annotated[
        bool | None,
        typer.Option("--margins/--no-margins", help="So is time before the first and after the last."),
    ] = None,
    stride: Annotated[
        float | None, typer.Option(help="Seconds between starts; by default back to back.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=0, help="Clips of each subject, spread evenly; 0: all that there are.")
    ] = None,
    needs: Annotated[
        list[str],
        typer.Option(metavar="STREAM", help="Must have readings in every window; by default all streams."),
    ] = [],  # noqa: B006
    same_person: SamePerson = [],  # noqa: B006
    different: Different = [],  # noqa: B006
) -> None:
    """Cut synchronised recordings into windows: the clip table, CLIPS/clips.parquet."""
    from plait.clips import People, write_clips
    from plait.clips.table import told_of

    design = trusted([], dataset).dataset(dataset, "--dataset") if dataset else None
    windows = _windows(design, seconds, purity, unlabelled, margins, stride, count)
    streams = [stream for modality in design.modalities for stream in modality.streams] if design else []
    if design and design.windows:
        typer.echo(f"windows of {dataset}: {windows}")
    table = write_clips(
        recordings,
        out,
        windows,
        activities=design.activities if design else None,
        streams=tuple(dict.fromkeys(needs or streams)) or None,
        dataset=dataset,
        people=People(names_together("--same-person", same_person), names_together("--different", different)),
    )
    for (subject,), rows in table.group_by("subject", maintain_order=True):
        counts = rows["activity"].value_counts().sort("activity").iter_rows()
        typer.echo(f"{subject}: {len(rows)} clips ({', '.join(f'{name} {n}' for name, n in counts)})")
    for line in told_of(out):
        typer.echo(line, err=True)
    typer.echo(f"{out / 'clips.parquet'}: {len(table)} clips of {windows.seconds:g} s")


@app.command()
def features(
    clips: Clips,
    encoder: Annotated[
        str,
        typer.Option(metavar="MODULE:NAME", help="plait.pretrained:efficientnet_lite0, :i3d, ...; or yours."),
    ],
    args: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="A setting of the encoder: stride=16.")
    ] = [],  # noqa: B006
    dataset: DatasetName = None,
    modality: ModalityName = "video",
    fps: Annotated[
        float,
        typer.Option(
            min=0.01, max=1000, callback=finite, help="Frames per second, where there is no data set."
        ),
    ] = 15.0,
    engine: Annotated[Engine, typer.Option(help="What runs the encoder.")] = Engine.torch,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Clips at once.")] = 1,
    device: Device = "auto",
    ray: Annotated[
        bool, typer.Option("--ray", help="Share the clips among the nodes of a Ray cluster.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            help="By default all cores, with --workers its share of them, with --ray one for each task; "
            "part of the key.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Recordings at a time, each in a process of its own.")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1e6,
            callback=finite,
            metavar="GB",
            help="What these processes may hold together: with less, fewer at a time. By default three "
            "quarters of what is free.",
        ),
    ] = None,
    ray_address: RayAddress = None,
    trust: Trusted = [],  # noqa: B006
) -> None:
    """Run a frozen encoder over clips: a float16 array in the cache, its index; after a kill it goes on."""
    from plait.clips import survey
    from plait.clips.table import TABLE, read_clips
    from plait.compute.cluster import joined
    from plait.compute.crew import Crew
    from plait.compute.machine import cores, device_called
    from plait.features import Extraction, extract
    from plait.study.load import setting

    about = read_clips(clips)[1] if (clips / TABLE).is_file() else {}
    if dataset is None and not about:
        raise ConfigError(f"--dataset: missing, expected the data set of {clips}, for it holds no {TABLE}")
    if ray and workers:
        raise ConfigError("--workers: not with --ray, whose nodes have as many tasks as they have room for")
    if memory and not workers:
        raise ConfigError("--memory: expected --workers beside it, which it bounds")
    device = device_called(device, elsewhere=ray)
    may_run = trusted(trust, encoder, dataset)
    name = dataset or about.get("dataset")
    where = "--dataset" if dataset else f"{clips / TABLE}: dataset"
    design = may_run.dataset(name, where) if name else _dataset_of_video(about, modality, fps)
    extraction = Extraction(encoder, once("--set", map(setting, args)), engine.value, batch)
    listing = survey(design, clips, [modality])
    for line in listing.told(design.activities):
        typer.echo(line, err=True)
    with ExitStack() as stack:
        meter = stack.enter_context(Meter())
        cluster = stack.enter_context(joined(ray_address, threads or 1, device)) if ray else None
        crew = Crew(workers, int(1e9 * memory) if memory else None) if workers else None
        extracted = extract(
            design,
            listing.cuts,
            modality,
            extraction,
            device=device,
            threads=threads or (max(cores() // workers, 1) if workers else None),
            where=f"--encoder {encoder}",
            progress=meter.tell,
            cluster=cluster,
            crew=crew,
        )
        array, index = extracted.written()
    typer.echo(f"{array}: {len(listing.cuts)} clips of {extracted.shape}, float16")
    typer.echo(f"{index}: which row is which clip")


def _dataset_of_video(about: dict[str, Any], stream: str, fps: float) -> "Dataset":
    """A data set for a clip table that names none: one video stream at a rate."""
    from torch import nn

    from plait.clips import open_clips
    from plait.recordings.video import rgb
    from plait.types import Dataset, Modality

    frames = max(1, round(about["windows"]["seconds"] * fps))
    modality = Modality(stream, (stream,), frames, fps, rgb, lambda shape: nn.Identity())
    return Dataset("clips", tuple(about["activities"]), (modality,), open_clips, "")


def _parse_setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected KEY=VALUE, such as label_unit=ms")
    return key.strip(), value.strip()


def _parse_format(text: str) -> tuple[str, str]:
    file, equals, name = text.rpartition("=")
    if not equals or not file.strip() or not name.strip():
        raise ConfigError(f"--format {text}: expected FILE=FORMAT, such as '*.dat=mine:read'")
    return file.strip(), name.strip()


def _windows(
    dataset: "Dataset | None",
    seconds: float | None,
    purity: float | None,
    unlabelled: str | None,
    margins: bool | None,
    stride: float | None,
    count: int | None,
) -> "Windows":
    """The windows of a data set, or the default ones, with what was said instead."""
    from plait.clips import Windows
    from plait.clips.windows import longest_s

    usual = dataset.windows if dataset else None
    if seconds is None and usual:
        seconds = usual.seconds
    elif seconds is None and dataset:
        seconds = longest_s(dataset.modalities)
    if seconds is None:
        raise ConfigError("--seconds: missing, expected the length of a window, or a --dataset that has one")
    base = usual or Windows(seconds)
    if stride is not None:  # a count chooses its own
        base = replace(base, count=None, stride_s=stride)
    return Windows(
        seconds,
        base.purity if purity is None else purity,
        base.unlabelled if unlabelled is None else unlabelled or None,
        margins if margins is not None else base.margins and unlabelled != "",
        base.stride_s,
        base.count if count is None else count or None,
    )


def _parse_offset(text: str) -> "Offset":
    from plait.recordings.by_hand import Offset

    name, _, written = text.rpartition("=")
    recording, slash, log = name.rpartition("/")
    try:
        seconds = float(written)
    except ValueError:
        seconds = math.nan
    if not log or not math.isfinite(seconds):
        raise ConfigError(
            f"--offset {text}: expected LOG=SECONDS or RECORDING/LOG=SECONDS, such as left=1.25"
        )
    return Offset(log, seconds, recording if slash else None)
