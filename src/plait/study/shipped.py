"""The study files that come with plait, found by name wherever it runs."""

from pathlib import Path


def study_file(name: str) -> Path:
    """Plait's own study of this name: installed, or in a checkout."""
    return _folder() / f"{name}.toml"


def own_studies() -> tuple[str, ...]:
    """The names of plait's own studies, sorted."""
    return tuple(sorted(file.stem for file in _folder().glob("*.toml")))


def study_path(path: Path | str, beside: Path = Path()) -> Path:
    """The file that a study's path means.

    A file that is there is meant. Where there is none, `studies/NAME.toml` and a bare `NAME` are plait's own
    study, if it has one of that name.

    Args:
        path: as it was written.
        beside: the folder that it is relative to.
    """
    written, there = Path(path), beside / path
    name = (
        written.stem if written == Path("studies", written.name) and written.suffix == ".toml" else str(path)
    )
    return study_file(name) if not there.exists() and name in own_studies() else there


def _folder() -> Path:
    places = (Path(__file__).parents[1] / "studies", Path(__file__).parents[3] / "studies")
    return next((place for place in places if place.is_dir()), places[0])
