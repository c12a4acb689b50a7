"""Options that several verbs share."""

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from plait.errors import ConfigError
from plait.study.shipped import study_path

T = TypeVar("T")


class Engine(StrEnum):
    """What runs a frozen encoder."""

    torch = "torch"
    compile = "compile"
    openvino = "openvino"


class Executor(StrEnum):
    """How jobs are carried out."""

    inline = "inline"
    processes = "processes"
    ray = "ray"


class Order(StrEnum):
    """How several contrasts share the level of their tests."""

    sequence = "sequence"
    holm = "holm"


def finite(option: typer.CallbackParam, value: float | None) -> float | None:
    """A number as it is, if it is one: nan lies within any limits.

    Raises:
        ConfigError: it is none.
    """
    if value is not None and not math.isfinite(value):
        raise ConfigError(f"{option.opts[0]} {value}: expected a finite number")
    return value


def once(option: str, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """The values by their keys.

    Raises:
        ConfigError: a key is there twice, with two values.
    """
    values: dict[str, T] = {}
    for key, value in pairs:
        if values.setdefault(key, value) != value:
            raise ConfigError(f"{option} {key}={value}: {key} is {values[key]} already, expected it once")
    return values


def names_together(option: str, texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The names of each text, which stand with `=` between them.

    Raises:
        ConfigError: a text is a name alone.
    """
    for text in texts:
        if "=" not in text:
            raise ConfigError(f"{option} {text}: expected names with = between them, such as 1=01")
    return tuple(tuple(text.split("=")) for text in texts)


def meant(study: Path | None) -> Path | None:
    """The file that a study's path means; that it is plait's own is said."""
    if study is None or (file := study_path(study)) == study:
        return study
    typer.echo(f"{study}: plait's own, {file}", err=True)
    return file


StudyFile = Annotated[
    Path,
    typer.Argument(
        help="A study file, or the name of one of plait's own (`plait info`).",
        metavar="STUDY.toml",
        callback=meant,
    ),
]
Sets = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: train.patience=10.")
]
Only = Annotated[
    list[str],
    typer.Option("--only", metavar="METHOD", help="This method, and what it needs, alone: 'all-*'."),
]
How = Annotated[
    Executor,
    typer.Option(
        help="One job after another here, several processes at once, or the nodes of a Ray cluster."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, max=1024, help="Jobs at once; by default cores / threads, on a card at most one per 4 GB free."
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="A Ray cluster; by default $RAY_ADDRESS, else this machine's."),
]
Threads = Annotated[
    int, typer.Option(min=1, max=1024, help="Threads of each job; part of what decides its result.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; auto takes CUDA where there is one.")]
Data = Annotated[Path, typer.Option(help="The data set's folder.", metavar="DIR")]
Clips = Annotated[Path, typer.Argument(help="A clip table's folder, or a data set's.", metavar="CLIPS")]
DatasetName = Annotated[
    str | None, typer.Option(metavar="MODULE:NAME", help="The data set; by default the one of `plait clips`.")
]
ModalityName = Annotated[str, typer.Option(help="Which of its modalities.")]
Run = Annotated[Path, typer.Argument(help="A folder that `plait run` made.", metavar="RUN")]
Out = Annotated[
    Path, typer.Option(help="The folder of the results; what it holds is not done again.", metavar="RUN")
]
Trusted = Annotated[
    list[str],
    typer.Option(
        "--trust", metavar="MODULE", help="Run this module's code, or FILE.py's, where the data names it."
    ),
]
SamePerson = Annotated[
    list[str],
    typer.Option("--same-person", metavar="NAME=NAME", help="Names of one person; the first is kept: 1=01."),
]
Different = Annotated[
    list[str],
    typer.Option(
        "--different", metavar="NAME=NAME", help="Names that look alike and are two people, or activities."
    ),
]
Recordings = Annotated[
    Path, typer.Argument(help="A folder of recordings, or one recording.", metavar="RECORDINGS")
]
