"""What plait runs on: versions, cores, cache, devices, what is installed beside it."""

import platform
from collections.abc import Iterable
from importlib import metadata

import typer
from packaging.requirements import Requirement

from plait.cli.cache import size_in_words
from plait.errors import DataError

app = typer.Typer()
PACKAGES = ("torch", "torchvision", "numpy", "polars", "av", "timm", "scikit-learn", "scipy", "pydantic")


@app.command()
def info() -> None:
    """Say what plait runs on: versions, cores, cache, devices, extras, its own studies."""
    import plait
    from plait.compute.machine import cores
    from plait.study.shipped import own_studies, study_file

    lines = [
        ("plait", f"{plait.__version__}, {plait.__path__[0]}"),
        ("Python", f"{platform.python_version()}, {platform.platform()}"),
        ("packages", ", ".join(f"{name} {_version(name) or 'not found'}" for name in PACKAGES)),
        ("cores", f"{cores()}"),
        ("devices", _devices()),
        ("cache", _cache()),
        ("studies", f"{study_file('').parent}: {', '.join(own_studies())}"),
    ]
    for name, said in lines:
        typer.echo(f"{name:<10}{said}")
    try:
        known = metadata.distribution("plait")
    except metadata.PackageNotFoundError:
        typer.echo("extras    not known: this plait runs from its source and is not installed")
        return
    typer.echo("extras")
    names = [name for name in known.metadata.get_all("Provides-Extra") or () if name != "dev"]
    for name, said in extras(names, known.requires or ()).items():
        typer.echo(f"  {name:<14}{said}")


def extras(names: Iterable[str], requirements: Iterable[str]) -> dict[str, str]:
    """Of each extra what of it is installed, or how to install it.

    Args:
        names: of extras.
        requirements: all of plait's, as its metadata have them.
    """
    asked = [Requirement(text) for text in requirements]
    said = {}
    for name in names:
        own = [
            one
            for one in asked
            if one.marker and one.marker.evaluate({"extra": name}) and not one.marker.evaluate({"extra": ""})
        ]
        lacking = [text for one in own if (text := _lacking(one))]
        there = ", ".join(f"{one.name} {metadata.version(one.name)}" for one in own if not lacking)
        said[name] = f"no {', '.join(lacking)}: pip install 'plait[{name}]'" if lacking else there
    return said


def _lacking(requirement: Requirement) -> str:
    """What is asked for and not installed, if so."""
    version = _version(requirement.name)
    if version is None:
        return requirement.name
    fits = requirement.specifier.contains(version, prereleases=True)
    return "" if fits else f"{requirement.name}{requirement.specifier} (but {version})"


def _version(package: str) -> str | None:
    """Of what is installed, None if nothing is."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> str:
    import torch

    cards = [f"cuda:{n} ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())]
    return ", ".join(["cpu", *cards]) + ("" if cards else "; no graphics card that torch can use")


def _cache() -> str:
    from plait.cache import entries
    from plait.store import cache_folder

    try:
        size = size_in_words(sum(entry.size for entry in entries()))
    except DataError as error:
        return str(error)
    return f"{cache_folder('.')}, {size}; `plait cache` says of what"
