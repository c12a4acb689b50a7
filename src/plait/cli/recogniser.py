"""A study's winner, put to use: fit it on everyone, recognise recordings, score that, take it elsewhere."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from plait.cli.meter import Meter
from plait.cli.modules import beside, trusted
from plait.cli.options import Device, Executor, How, Sets, StudyFile, Threads, Trusted, Workers, finite
from plait.errors import ConfigError

app = typer.Typer()
ModelFolder = Annotated[
    str, typer.Argument(help="A folder that `plait fit` made, or hf://ORG/NAME.", metavar="MODEL")
]
Stride = Annotated[
    float | None,
    typer.Option(
        "--stride",
        min=0.001,
        callback=finite,
        metavar="SECONDS",
        help="Between two windows' starts.",
    ),
]


def _say(line: str) -> None:
    typer.echo(line, err=True)


@app.command()
def fit(
    study: StudyFile,
    method: Annotated[str, typer.Argument(help="One of its methods.", metavar="METHOD")],
    data: Annotated[Path, typer.Option(help="The data set's folder.", metavar="DIR")],
    out: Annotated[Path, typer.Option(help="The model's folder.", metavar="MODEL")],
    run: Annotated[
        Path | None,
        typer.Option(help="A run of the study, which says how many epochs and how smooth.", metavar="RUN"),
    ] = None,
    leave_out: Annotated[
        str, typer.Option(help="People whose clips are not looked at: 7,8.", metavar="NAME,NAME")
    ] = "",
    sets: Sets = [],  # noqa: B006 - typer reads the default, nobody writes it
    stride: Stride = None,
    executor: How = Executor.processes,
    workers: Workers = None,
    threads: Threads = 1,
    device: Device = "auto",
    trust: Trusted = [],  # noqa: B006
) -> None:
    """Train a method, and those it is made from, on everyone: a folder to predict with, without code."""
    from plait.recogniser.fitting import fit_model

    beside(Path.cwd())
    beside(Path(os.path.realpath(study)).parent)
    absent = [name for name in leave_out.split(",") if name.strip()]
    with Meter("training") as meter:
        facts = fit_model(
            study,
            method,
            data,
            out,
            run=run,
            leave_out=absent,
            sets=sets,
            stride_s=stride,
            executor=executor.value,
            workers=workers,
            threads=threads,
            device=device,
            trust=trusted(trust),
            progress=meter.tell,
            say=_say,
        )
    people = len(facts.training.people)
    typer.echo(f"{out}: {facts.method}, trained on {facts.training.clips} clips of {people} people")


@app.command()
def predict(
    model: ModelFolder,
    out: Annotated[Path, typer.Option(help="The folder of the timeline.", metavar="DIR")],
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(help="Recordings of `plait ingest`, or folders of them.", metavar="[RECORDING]..."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="The data set of --data; by default the model's."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="That data set's folder.", metavar="DIR")] = None,
    only: Annotated[
        str, typer.Option(help="Of a data set, the recordings of these people: 7,8.", metavar="NAME,NAME")
    ] = "",
    clips: Annotated[
        bool,
        typer.Option("--clips", help="The data set's own clips as windows."),
    ] = False,
    stride: Stride = None,
    threads: Threads = 1,
    device: Device = "auto",
    trust: Trusted = [],  # noqa: B006
) -> None:
    """Say what is done when in whole recordings: timeline, segments (CSV, ELAN, JSON), a picture of each."""
    import torch

    from plait.recogniser.predict import plan
    from plait.recogniser.predict import predict as recognise_all
    from plait.recogniser.recogniser import Recogniser
    from plait.recogniser.windows import Sliding, clipped, ingested, of_people, whole_recordings, windows_of
    from plait.report.timelines import write_pictures

    if bool(recordings) == (data is not None):
        raise ConfigError("predict: expected recordings, or --data DIR with a data set's")
    of_data = {"--dataset": dataset is not None, "--only": bool(only), "--clips": clips}
    if data is None and (given := [option for option, there in of_data.items() if there]):
        raise ConfigError(f"predict: {given[0]}: of a data set, expected --data DIR")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        trusting = trusted(trust, dataset)
        recogniser = Recogniser.load(model, trust=trusting, device=device)
        facts, modalities = recogniser.facts, list(recogniser.modalities.values())
        sliding = Sliding(facts.seconds, None if facts.seconds is None else stride or facts.stride_s)
        windows, cut = None, facts.cut
        if data is None:
            found = ingested(recordings or [])
        else:
            people = [name.strip() for name in only.split(",") if name.strip()]
            owner = trusting.dataset(dataset or facts.dataset, "--dataset")
            found = of_people(whole_recordings(owner, data), people, data)
            cut = windows_of(owner, data, modalities)[1] or cut
            if clips:
                listing, windows = clipped(owner, data, people, modalities)
                found = iter(listing)
        tasks = plan(recogniser, found, sliding, clips=windows, cut=cut)
        with Meter("recognising") as meter:
            predicted = recognise_all(recogniser, tasks, sliding, out, meter.tell)
    finally:
        torch.set_num_threads(before)
    for picture in write_pictures(out):
        typer.echo(picture)
    hours = sum(whole.stop_s - whole.start_s for whole in predicted.recordings.values()) / 3600
    smoothed = f"smoothing changes {predicted.smoothed:.1%} of the time"
    typer.echo(f"{out}: {len(predicted.recordings)} recordings, {hours:.2f} h; {smoothed}")


@app.command()
def score(
    prediction: Annotated[Path, typer.Argument(help="A folder that `plait predict` made.", metavar="DIR")],
    step: Annotated[
        float, typer.Option(min=0.001, callback=finite, metavar="SECONDS", help="Between two frames.")
    ] = 0.1,
) -> None:
    """Score a prediction against its recordings' labels: frames, segments, events."""
    from plait.recogniser.score import as_markdown
    from plait.recogniser.score import score as score_all

    typer.echo(as_markdown(score_all(prediction, step)))


@app.command()
def push(
    model: Annotated[Path, typer.Argument(help="A folder that `plait fit` made.", metavar="MODEL")],
    name: Annotated[str, typer.Argument(help="Where to, on the Hugging Face hub.", metavar="ORG/NAME")],
    private: Annotated[bool, typer.Option("--private", help="For nobody else to see.")] = False,
) -> None:
    """Put a model on the Hugging Face hub, from where every MODEL can be read as hf://ORG/NAME."""
    from plait.recogniser.hub import push as put
    from plait.recogniser.model import read_model

    read_model(model)
    typer.echo(put(model, name, private=private))


class Target(StrEnum):
    """What a model is exported to."""

    onnx = "onnx"
    torch = "torch"


@app.command()
def export(
    model: ModelFolder,
    data: Annotated[Path, typer.Option(help="A data set's folder: clips to check it on.", metavar="DIR")],
    out: Annotated[Path, typer.Option(help="The file, .onnx or .pt2.", metavar="FILE")],
    to: Annotated[Target, typer.Option(help="ONNX (the extra export), or torch.export.")] = Target.onnx,
    dataset: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="The data set; by default the model's.")
    ] = None,
    clips: Annotated[int, typer.Option(min=1, max=4096, help="How many clips it is checked on.")] = 16,
    without: Annotated[
        list[str], typer.Option(metavar="MODALITY", help="A sensor that is never there; may be repeated.")
    ] = [],  # noqa: B006
    trust: Trusted = [],  # noqa: B006
) -> None:
    """Take a model out of plait: one file from windows' tensors to scores, checked before it is kept."""
    from plait.recogniser.export import about, exported, samples_of
    from plait.recogniser.export import export as write
    from plait.recogniser.recogniser import Recogniser

    trusting = trusted(trust, dataset)
    recogniser = Recogniser.load(model, trust=trusting)
    owner = trusting.dataset(dataset or recogniser.facts.dataset, "--dataset")
    module = exported(recogniser, without)
    shapes = {name: recogniser.facts.sensors[name].shape for name in module.modalities}
    samples = samples_of(recogniser, owner, data, clips)
    known = about(recogniser, module.modalities)
    largest = write(module, shapes, out, to.value, samples=samples, about=known)
    count = len(next(iter(samples.values())))
    inputs = ", ".join(f"{name} {('clips', *shape)}" for name, shape in shapes.items())
    typer.echo(f"{out}: {inputs} -> {len(recogniser.activities)} scores: {', '.join(recogniser.activities)}")
    typer.echo(f"on {count} clips: the same labels, scores within {largest:.1e} of plait's")
