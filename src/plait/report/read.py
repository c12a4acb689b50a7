"""A finished run as it lies on disk: what it was, and its predictions."""

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter, ValidationError

from plait.analysis.compare import Row
from plait.analysis.metrics import PREDICTED
from plait.errors import DataError, first_fault, shown
from plait.hands.table import SCHEMA as COUNTED
from plait.hands.table import TABLE as HANDS
from plait.store import read_bytes, read_parquet

LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Run:
    """What `run.json` says: the study, its methods in the order of the study file, and how it was computed.

    `activities` are in the order of the scores; `seconds` is the training time of all jobs together;
    `said`, what is to be known of the clips, in lines; `failed`, which jobs have no scores, and why.
    """

    study: str
    dataset: str
    cite: str
    activities: tuple[str, ...]
    modalities: tuple[str, ...]
    protocol: dict[str, Any]
    seeds: tuple[int, ...]
    methods: dict[str, Row]
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    device: str = "cpu"
    threads: int = 1
    cores: int = 1
    seconds: float = 0.0
    said: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def read_run(folder: Path) -> tuple[Run, pl.DataFrame]:
    """The run in `folder` and its predictions.

    Raises:
        DataError: `run.json` or `predictions.parquet` is missing, unreadable, or the two do not belong together.
    """
    run = _described(folder / "run.json")
    path = folder / "predictions.parquet"
    predictions = read_parquet(path, "run `plait run` first", PREDICTED)
    _check(run, predictions, path)
    return run, predictions


def read_hands(folder: Path, predictions: pl.DataFrame) -> pl.DataFrame | None:
    """What `plait hands detect` found in the clips of the run in `folder`; None where it did not look.

    Raises:
        DataError: `hands.parquet` cannot be read, or is not of these clips.
    """
    path = folder / HANDS
    if not path.is_file():
        return None
    again = "run `plait hands detect` again"
    hands = read_parquet(path, again, {name: COUNTED[name] for name in ("clip", "missing", "count")})
    if hands.schema.get("visible") not in (pl.Int64, pl.Null):  # nothing where nobody knows the truth
        raise DataError(f"{path}: no numbers in a column 'visible', expected what `plait hands detect` writes; {again}")
    if unseen := set(predictions["clip"]) - set(hands["clip"]):
        raise DataError(f"{path}: nothing of clip {min(unseen)!r}; {again}")
    return hands


def _described(path: Path) -> Run:
    try:
        content = read_bytes(path)
        run = TypeAdapter(Run).validate_json(content)
        json.loads(content, parse_int=partial(_whole, path))
        return run
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}; run `plait run` first") from error


def _unreadable(path: Path, error: Exception) -> DataError:
    why = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({str(error).splitlines()[0]})"
    return DataError(f"{path}: {why}; run `plait run` first")


def _check(run: Run, predictions: pl.DataFrame, path: Path) -> None:
    """Refuse predictions that are not those of `run`."""
    expected = {"method": set(run.methods), "activity": set(run.activities), "predicted": set(run.activities)}
    for column, known in expected.items():
        strange = set(predictions[column].unique()) - known
        if strange:
            raise DataError(f"{path}: {column} {min(map(str, strange))!r} is not in run.json; run `plait run` again")
    unfinished = set(run.methods) - set(predictions["method"].unique())
    if unfinished:
        raise DataError(f"{path}: nothing of method {min(unfinished)!r}; run `plait run` again to finish the study")


def _whole(path: Path, text: str) -> int:
    """A whole number of a file that a column of a table can hold."""
    number = int(text) if len(text) < 20 else LARGEST + 1
    if abs(number) > LARGEST:
        raise DataError(f"{path}: {shown(text)}, expected whole numbers below 2^63; run `plait run` first")
    return number
