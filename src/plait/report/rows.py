"""What each row of a run is, in words: what a page says of a method that somebody taps."""

import inspect
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from plait.errors import ConfigError, DataError
from plait.objects import resolve
from plait.report.captions import count, listed, origin_of, seconds
from plait.results import STUDY, MethodFacts, RunFacts
from plait.store import read_bytes

OURS = ("plait.fusion:", "plait.fusion.")


class About(NamedTuple):
    """What a row is: a sentence, and what is known of it by name."""

    sentence: str
    facts: dict[str, str]


def read_settings(run: Path | None) -> dict[str, Any]:
    """The study of the run in folder `run` as its file has it, all filled in; {} where none lies there.

    Raises:
        DataError: the file cannot be read.
    """
    if run is None or not (path := run / STUDY).is_file():
        return {}
    try:
        return tomllib.loads(read_bytes(path).decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); run `plait run` again") from error


def about(run: RunFacts, settings: Mapping[str, Any]) -> dict[str, About]:
    """What every row of a run is, by name.

    Args:
        run: what it says of itself.
        settings: `read_settings`.
    """
    return {
        name: About(sentence(run, row), _facts(run, name, row, settings)) for name, row in run.methods.items()
    }


def sentence(run: RunFacts, row: MethodFacts) -> str:
    """What a row is, in a sentence."""
    made_of, modalities = listed(row.made_of), listed(row.modalities)
    match row.kind:
        case "single":
            return f"A network that is given {modalities} and nothing else."
        case "average":
            return f"The mean of the scores of {made_of}."
        case "mixture":
            return f"The mean of the scores of {made_of}, each weighted by how sure it is of the clip."
        case "stack":
            return f"A logistic layer over the scores of {made_of}, fitted on people who train."
        case "first":
            return f"Of each clip the first of {made_of} speaks that has the sensors it needs."
        case "ensemble":
            return f"The mean of the scores of {made_of} over {count(len(run.seeds), 'seed')}."
        case "concat":
            return f"What encoders make of {modalities}, side by side in front of one layer."
        case "fusion":
            return _first_line(row.use) or f"A fusion of {modalities}, by a class that is not plait's own."


def _first_line(path: str | None) -> str | None:
    """What a fusion of plait's says of itself; None of all others, whose code is not touched for a page."""
    if path is None or not path.startswith(OURS):
        return None
    try:
        said = inspect.getdoc(resolve(path, "use"))
    except ConfigError:  # of another version of plait
        return None
    return said.partition("\n")[0].replace("`", "") if said else None


def _facts(run: RunFacts, name: str, row: MethodFacts, settings: Mapping[str, Any]) -> dict[str, str]:
    """What is known of a row, by name, in the order in which a page says it."""
    facts = {}
    if row.use:
        own = {key: value for key, value in row.args.items() if key != "modality"}
        facts["source"] = row.use + (f" ({_written(own)})" if own else "")
    elif row.made_of:
        facts["source"] = ", ".join(row.made_of)
        if row.args:
            facts["settings"] = _written(row.args)
    origins = {modality: origin_of(origin) for modality, origin in row.encoders.items()}
    facts["modalities"] = "; ".join(
        f"{modality} (encoder {origins[modality]})" if origins.get(modality) else modality
        for modality in row.modalities
    )
    if row.sweep:
        facts["of a sweep"] = _written(row.sweep)
    if row.parameters:
        facts["parameters"] = f"{row.parameters:,} trained"
    if row.jobs:
        took = seconds(row.train_seconds / row.jobs)
        facts["trained"] = f"{count(row.jobs, 'time')}, once a fold and seed, {took} s each on {run.device}"
    else:
        facts["trained"] = "nothing of its own"
    if recipe := _recipe(settings, name) if row.use else "":
        facts["with"] = recipe
    return facts


def _recipe(settings: Mapping[str, Any], name: str) -> str:
    """How a method was trained, of what its run's study file says; empty where that says nothing."""
    method = _table(_table(settings.get("methods")).get(name))
    study, own = _table(settings.get("train")), _table(method.get("train"))
    train = {**study, **own}
    if not train.get("optimizer"):
        return ""
    same = train["optimizer"] == study.get("optimizer")
    args = {**(_table(study.get("args")) if same else {}), **_table(own.get("args"))}
    parts = [_called({"use": train["optimizer"], "args": args})]
    if schedule := _table(train.get("schedule")):
        parts.append(_called(schedule))
    parts.append(f"batches of {train.get('batch_size')}")
    if train.get("choose") == "last":
        parts.append(f"{train.get('max_epochs')} epochs, the last kept")
    else:
        parts.append(f"up to {train.get('max_epochs')} epochs, the best on validation kept")
        parts.append(f"patience {train.get('patience')}")
    if train.get("label_smoothing"):
        parts.append(f"labels smoothed by {train['label_smoothing']}")
    if train.get("precision") not in (None, "float32"):
        parts.append(str(train["precision"]))
    objectives = train.get("objective") or ()
    parts += [_called(one) for one in ([objectives] if isinstance(objectives, Mapping) else objectives)]
    varied: dict[str, list[str]] = {}
    for modality, path in _table(method.get("augment")).items():
        varied.setdefault(_name(path), []).append(modality)
    parts += [f"{listed(modalities)} varied by {function}" for function, modalities in varied.items()]
    return "; ".join(parts)


def _table(value: Any) -> Mapping[str, Any]:
    """A table of a file, empty where there is none."""
    return value if isinstance(value, Mapping) else {}


def _called(what: Any) -> str:
    """A class with its settings, as `Name (setting value)`."""
    args = _table(_table(what).get("args"))
    return _name(_table(what).get("use")) + (f" ({_written(args)})" if args else "")


def _name(path: Any) -> str:
    """The last part of `"package.module:Name"`."""
    return str(path).rpartition(":")[2]


def _written(settings: Mapping[str, Any]) -> str:
    """Settings in words: `lead video, embedding 13`."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())
