"""Hands: boxes, a detector trained on them, how good it is, and counts of clips."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.meter import Meter
from plait.cli.modules import trusted
from plait.cli.options import Clips, DatasetName, Device, ModalityName, Trusted, finite
from plait.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from plait.types import Dataset

app = typer.Typer(help="Count the hands that a camera sees.", no_args_is_help=True)
Boxes = Annotated[
    Path, typer.Argument(help="A folder of pictures with annotations.json, COCO-style.", metavar="BOXES")
]
Which = Annotated[
    str,
    typer.Option(
        "--detector",
        metavar="DETECTOR",
        help="A folder of `plait hands train`, a palm model .tflite, or MODULE:NAME.",
    ),
]
Score = Annotated[
    float, typer.Option(min=0, max=1, callback=finite, help="The least score of a box that counts.")
]


class Network(StrEnum):
    """Networks that can be trained."""

    lite0 = "lite0"
    resnet50 = "resnet50"


@app.command()
def boxes(
    raw: Annotated[
        list[Path], typer.Argument(help="Raw simulated recordings, or folders of them.", metavar="RAW...")
    ],
    out: Annotated[Path, typer.Option(help="The folder of the pictures.", metavar="BOXES")],
    every: Annotated[float, typer.Option(help="Seconds between two frames.")] = 0.6,
) -> None:
    """Write frames of simulated recordings with the true boxes of their hands, COCO-style."""
    from plait.hands.boxes import read_boxes, write_boxes

    with Meter("recordings") as meter:
        write_boxes(raw, out, every, meter.tell)
    pictures = read_boxes(out)
    hands = sum(len(picture.boxes) for picture in pictures)
    typer.echo(f"{out}: {len(pictures)} pictures, {hands} hands")


@app.command()
def train(
    boxes: Boxes,
    out: Annotated[Path, typer.Option(help="The folder of the detector.", metavar="DETECTOR")],
    network: Annotated[
        Network, typer.Option(help="lite0 is quick on a CPU; resnet50 starts from COCO.")
    ] = Network.lite0,
    weights: Annotated[
        Path | None, typer.Option(help="resnet50's COCO weights, if not to be downloaded.")
    ] = None,
    side: Annotated[
        int | None, typer.Option(min=32, max=4096, help="Pixels of a picture's shorter side.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches.")] = 300,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Pictures of each.")] = 8,
    learning_rate: Annotated[
        float, typer.Option(min=0, max=1000, callback=finite, help="The highest of the cycle.")
    ] = 1e-3,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Decides what is random.")] = 0,
    device: Device = "auto",
) -> None:
    """Fine-tune a RetinaNet on boxes of hands."""
    from plait.compute.machine import device_called
    from plait.hands.train import Training
    from plait.hands.train import train as fit

    if learning_rate == 0:
        raise ConfigError("--learning-rate 0: expected more than 0")
    training = Training(network.value, side, steps, batch, learning_rate, seed)
    with Meter("training") as meter:
        fit(boxes, out, training, weights=weights, device=device_called(device), progress=meter.tell)
    typer.echo(f"{out}: next: plait hands test BOXES --detector {out}, on boxes of other people")


@app.command()
def test(boxes: Boxes, detector: Which, score: Score = 0.4, device: Device = "auto") -> None:
    """Say how good a detector is where the truth is known: precision, recall, AP50."""
    from plait.compute.machine import device_called
    from plait.hands.boxes import read_boxes
    from plait.hands.detector import detected, open_detector
    from plait.hands.measure import measure

    trusted([], detector)  # a user's own lies here
    pictures = read_boxes(boxes)
    finds = open_detector(detector, device_called(device))
    boxes_found = detected(finds, (picture.load() for picture in pictures))
    quality = measure([picture.boxes for picture in pictures], boxes_found, score)
    typer.echo(f"{quality.pictures} pictures, {quality.hands} hands")
    for name in ("precision", "recall", "ap50", "counted"):
        share = getattr(quality, name)
        typer.echo(f"{name:<9} {'–' if share is None else f'{share:.3f}'}")


@app.command()
def detect(
    data: Clips,
    detector: Which,
    out: Annotated[
        Path, typer.Option(help="A run's folder, or a file that ends in .parquet.", metavar="RUN")
    ],
    dataset: DatasetName = None,
    modality: ModalityName = "video",
    truth: Annotated[
        list[Path], typer.Option(metavar="RAW", help="Raw simulated recordings, whose hands are known.")
    ] = [],  # noqa: B006 - typer reads the default, nobody writes it
    score: Score = 0.4,
    device: Device = "auto",
    trust: Trusted = [],  # noqa: B006
) -> None:
    """Count each clip's hands: hands.parquet, from which `plait report` draws accuracy by missing hands."""
    from plait.analysis.missing_hands import agreement
    from plait.clips.table import TABLE, read_clips

    may_run = trusted(trust, detector, dataset)
    called = dataset or (read_clips(data)[1]["dataset"] if (data / TABLE).is_file() else None)
    if called is None:
        raise ConfigError(f"--dataset: missing, expected the data set of {data}")
    recorded = may_run.dataset(called, "--dataset" if dataset else f"{data / TABLE}: dataset")
    table = count(recorded, data, modality, detector, device, out, score=score, truth=truth)
    for (missing,), clips in table.sort("missing").group_by("missing", maintain_order=True):
        typer.echo(f"{missing} missing: {len(clips)} clips")
    right, of = agreement(table)
    if of:
        typer.echo(f"detected and true counts agree on {right} of {of} clips, {100 * right / of:.1f} %")


def count(
    dataset: "Dataset", data: Path, modality: str, detector: str, device: str, out: Path, **options: Any
) -> "pl.DataFrame":
    """Write and return the counts of the hands that a detector finds in every clip, showing progress.

    Args:
        dataset: The data set that the clips are of.
        data: Its folder, or the clip table's.
        modality: Whose frames are looked at.
        detector: What `plait hands detect` takes.
        device: A name that `--device` takes.
        out: A run's folder, or the parquet file to write.
        **options: `score` and `truth` of `plait.hands.count.write_counts`.
    """
    from plait.compute.machine import device_called
    from plait.hands.count import clips_to_count, write_counts
    from plait.hands.detector import open_detector
    from plait.results import FACTS, read_facts

    finds = open_detector(detector, device_called(device))
    modalities = read_facts(out).modalities if (out / FACTS).is_file() else None
    with Meter("detecting hands") as meter:
        cuts = clips_to_count(dataset, data, modality, modalities)
        return write_counts(dataset, cuts, modality, finds, out, progress=meter.tell, **options)
