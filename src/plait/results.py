"""What a study leaves: the folder of a run and of each of its jobs, written and read here and nowhere else.

RUN/study.toml             the study as it was run, everything filled in
RUN/run.json               `RunFacts`
RUN/predictions.parquet    `PREDICTED`, test clips, sorted by `ORDER`
RUN/validation.parquet     the same of validation clips; empty where nobody validates
RUN/dropped.csv            windows that became no clips, if any
RUN/lacking.parquet        clips that lack a modality, if any
RUN/continuous.csv         scores on whole recordings, if the study asks for them
RUN/hands.parquet          what `plait hands detect` found, if it was asked to
RUN/timelines/NAME/        what `plait predict` was asked to leave there, for the page
RUN/tensorboard/JOB/       what trackers were told of a job, if the study asks for them: TensorBoard's files,
RUN/mlruns/                MLflow's
RUN/robustness/            what `plait robustness` found, if it was asked to
RUN/jobs/KEY/              job.json (`JobFacts`), predictions, validation, history, weights
"""

import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import TypeAdapter, ValidationError

from plait.config import BY_SESSION, Comparisons
from plait.errors import DataError, first_fault, quote
from plait.hands.table import SCHEMA as COUNTED
from plait.hands.table import TABLE as HANDS
from plait.names import inside
from plait.store import (
    checksum,
    content_key,
    read_bytes,
    read_json,
    read_parquet,
    write_bytes,
    write_json,
    write_toml,
)
from plait.types import Clip

Kind = Literal["single", "average", "mixture", "stack", "first", "concat", "fusion", "ensemble"]
LATE: tuple[Kind, ...] = ("average", "mixture", "stack", "first", "concat")  # late fusion
Schema = dict[str, pl.DataType | type[pl.DataType]]

STUDY, FACTS, JOB, JOBS = "study.toml", "run.json", "job.json", "jobs"
PREDICTIONS, VALIDATION, HISTORY = "predictions.parquet", "validation.parquet", "history.parquet"
# With refit a job leaves two networks: the one that was trained once more and, for whoever still has to
# choose an epoch on the validation subjects, the one that has not seen them.
WEIGHTS, TRAIN_WEIGHTS = "weights.safetensors", "train-weights.safetensors"
_OF_CLIP: Schema = dict.fromkeys(("clip", "subject", "activity", "predicted"), pl.String)
SCORED: Schema = {**_OF_CLIP, "scores": pl.List(pl.Float32)}
EPOCH: Schema = {
    "phase": pl.String,
    "epoch": pl.Int64,
    "loss": pl.Float64,
    "val_accuracy": pl.Float64,
    "val_loss": pl.Float64,
    "learning_rate": pl.Float64,
}
_VALIDATED = ("val_accuracy", "val_loss")
ORDER = ["method", "seed", "fold", "clip"]
PREDICTED: Schema = {"study": pl.String, "method": pl.String, "fold": pl.String, "seed": pl.Int64, **_OF_CLIP}
COLUMNS = [*PREDICTED, "scores"]
_IN_EVERY_ROW = {name: kind for name, kind in PREDICTED.items() if name != "seed"}
# Of what is asked of test clips that were made worse; without a fault, modality is "" and severity 0.
FAULTY: Schema = {"fault": pl.String, "modality": pl.String, "severity": pl.Float64}
PERSONS: Schema = {
    **FAULTY,
    "unit": pl.String,
    "method": pl.String,
    "subject": pl.String,
    "accuracy": pl.Float64,
    "clips": pl.Int64,
}
DROPPED, CASES, FILMS = "dropped.csv", "cases.json", "cases"
CONTINUOUS, LACKING, TIMELINES = "continuous.csv", "lacking.parquet", "timelines"
ROBUSTNESS, PEOPLE, JOBS_OF = "robustness", "people.parquet", "jobs.json"
UNSEEN = ""  # what is predicted of a clip that lacks what a method needs; no activity is called so
AGAIN = "run `plait run` again"
ALIKE = 1e-6  # by which the score of what is predicted may be below the highest, for rounding
_REMEDY = "remove its folder and run again"  # of a job
# What a run writes into its folder, and may not find there unless a run has left it.
WRITTEN = (
    STUDY,
    PREDICTIONS,
    VALIDATION,
    DROPPED,
    "table.csv",
    "table.md",
    "index.html",
    FILMS,
    CASES,
    CONTINUOUS,
    LACKING,
)
LARGEST = 2**63 - 1
KEY = 16  # letters of a content's key that are kept


@dataclass(frozen=True)
class Origin:
    """Where a method's encoder of one modality comes from, if it is not the data set's, trained from scratch.

    Args:
        donor: the method that trained it in the same fold and seed.
        frozen: it is not trained further.
        features: the encoder, with its arguments, that made features once.
        network: what is trained on top of features, or instead of the data set's.
        blocks: of `network`, those that are trained; those in front of them are run once.
    """

    donor: str | None = None
    frozen: bool = False
    features: str | None = None
    network: str | None = None
    blocks: tuple[str, ...] = ()


@dataclass(frozen=True)
class PersonFacts:
    """What a run had of one person, in keys of contents: equal contents, equal keys.

    Args:
        clips: stands for the names of their clips, when these begin and end, and what is done in them.
        streams: a key of each recording in which they have clips, in order, by the stream's name; none of
            streams that do not say what they hold.
    """

    clips: str
    streams: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class MethodFacts:
    """What a run knows of one method besides its predictions.

    Args:
        kind: how it combines modalities.
        modalities: those that it uses.
        head: `mean`, `flatten` or `hidden`; None of a row that is made of others.
        use: its class, `"package.module:Name"`; None likewise.
        args: its settings.
        encoders: where they come from, by modality.
        made_of: the rows of whose scores it is made.
        sweep: what a sweep set of this row, which belongs to a curve and is in no planned comparison.
        train: how it is trained; nothing of a row that is made of others, or in runs of before.
        keys: the names of its jobs' folders, by `fold/seed`.
        parameters: how many are trained; of a stack those of its layer.
        jobs: how many there were; what trains nothing has none.
        train_seconds: of all its jobs together; of a stack, of the networks of folds within too.
    """

    kind: Kind
    modalities: tuple[str, ...]
    head: str | None = None
    use: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    encoders: dict[str, Origin] = field(default_factory=dict)
    made_of: tuple[str, ...] = ()
    sweep: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    parameters: int = 0
    jobs: int = 0
    train_seconds: float = 0.0


@dataclass(frozen=True)
class RunFacts:
    """What `run.json` says: the study, and how it was computed.

    Args:
        study, dataset, cite: names of the study and its data set, and whom to cite.
        activities: in the order of the scores.
        modalities: those of the study.
        protocol, seeds: as in the study file.
        methods: in the order of the study file.
        versions: of plait and of what it computes with.
        data: where the data set lay.
        commit: of plait's own source, `+` behind it if there were changes.
        device, threads, feature_threads, cores: where and with how many it was computed.
        seconds: the training time of all jobs together.
        said: what is to be known of the clips, in lines.
        failed: which jobs have no scores, and why.
        streams: that its modalities are made of.
        people: what it had of each, by name; nobody in runs of before.
        tables: a digest of each of its tables, by the file's name; none in runs of before.
    """

    study: str
    dataset: str
    cite: str
    activities: tuple[str, ...]
    modalities: tuple[str, ...]
    protocol: dict[str, Any]
    seeds: tuple[int, ...]
    methods: dict[str, MethodFacts]
    comparisons: Comparisons = field(default_factory=Comparisons)
    versions: dict[str, str] = field(default_factory=dict)
    data: str | None = None
    commit: str | None = None
    device: str = "cpu"
    threads: int = 1
    feature_threads: int | None = None
    cores: int = 1
    seconds: float = 0.0
    said: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    people: dict[str, PersonFacts] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobFacts:
    """What `job.json` says.

    Args:
        seconds: that training took.
        parameters: that were trained and are kept.
        failed: why its scores are none, if so.
        measured: what its objectives have measured, by their names.
    """

    seconds: float
    parameters: int
    failed: str | None = None
    measured: dict[str, dict[str, float]] = field(default_factory=dict)


def write_table(table: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Write a parquet file that stands whole or not at all; returns the table as it will be read.

    polars knows of some columns that they are sorted, and sums them in another order, to other last digits,
    than the same columns from a file.
    """
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    content = buffer.getvalue()
    write_bytes(path, content)
    return pl.read_parquet(content)


def write_run(
    folder: Path,
    facts: RunFacts,
    predictions: pl.DataFrame,
    validation: pl.DataFrame,
    study: Mapping[str, Any] | None = None,
) -> "Results":
    """Write a run's tables and, once these stand, what it says of itself; returns what `read_results` will.

    Args:
        folder: the run's.
        facts: what it says.
        predictions: of the test clips, with `COLUMNS`, sorted by `ORDER`.
        validation: of the validation clips, likewise.
        study: as it was run, in terms of TOML; by default it stands already.

    Raises:
        DataError: the folder cannot be written.
    """
    validated = write_table(validation, folder / VALIDATION)
    predicted = write_table(predictions, folder / PREDICTIONS)
    if study is not None:
        write_toml(folder / STUDY, study)
    facts = replace(facts, tables={name: checksum(folder / name) for name in (PREDICTIONS, VALIDATION)})
    write_json(folder / FACTS, asdict(facts))
    return Results(facts, predicted, None if validated.is_empty() else validated)


def read_facts(folder: Path) -> RunFacts:
    """What the run in `folder` says of itself.

    Raises:
        DataError: `run.json` is missing, unreadable, or of another form.
    """
    path = folder / FACTS
    try:
        content = read_bytes(path)
        facts = TypeAdapter(RunFacts).validate_json(content)
        json.loads(content, parse_int=partial(_whole_number, path))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = "no such file" if missing else f"cannot be read ({str(error).splitlines()[0]})"
        raise DataError(f"{path}: {why}; run `plait run` first") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}; {AGAIN}") from error
    if bare := [name for name, row in facts.methods.items() if not row.modalities]:
        raise DataError(f"{path}: methods.{quote(bare[0])}.modalities: empty, expected at least one; {AGAIN}")
    return facts


def kept_in(folder: Path) -> dict[str, Any] | None:
    """What the run that `folder` holds says of itself, unchecked; None where it holds none.

    Raises:
        DataError: `run.json` cannot be read.
    """
    facts = read_json(folder / FACTS) if (folder / FACTS).is_file() else None
    return facts if isinstance(facts, dict) else None


def read_run(folder: Path) -> tuple[RunFacts, pl.DataFrame]:
    """The run in `folder` and its predictions.

    Raises:
        DataError: `run.json` or `predictions.parquet` is missing or unreadable, or the two do not fit.
    """
    facts = read_facts(folder)
    path = folder / PREDICTIONS
    _check_whole(folder, facts, PREDICTIONS)
    predictions = read_parquet(path, "run `plait run` first", _IN_EVERY_ROW)
    _check_seeds(path, predictions, {name for name, row in facts.methods.items() if row.kind != "ensemble"})
    predicted = (*facts.activities, UNSEEN)
    expected = {"method": facts.methods, "activity": facts.activities, "predicted": predicted}
    for column, names in expected.items():
        if strange := set(predictions[column].unique()) - set(names):
            raise DataError(f"{path}: {column} {min(map(str, strange))!r} is not in {FACTS}; {AGAIN}")
    if unfinished := set(facts.methods) - set(predictions["method"].unique()):
        raise DataError(f"{path}: nothing of method {min(unfinished)!r}; {AGAIN} to finish the study")
    _check_scores(path, predictions, facts.activities)
    return facts, predictions


def _check_whole(folder: Path, facts: RunFacts, name: str) -> None:
    """Refuse a table that is not the one of which `run.json` speaks: a run that was not written whole."""
    path = folder / name
    if name in facts.tables and path.is_file() and checksum(path) != facts.tables[name]:
        raise DataError(f"{path}: not the table that {FACTS} speaks of, expected both of one run; {AGAIN}")


def _check_seeds(path: Path, predictions: pl.DataFrame, seeded: Collection[str] = ()) -> None:
    """Refuse rows without a seed of the methods that have one: an ensemble's are of all seeds."""
    if predictions.schema.get("seed") != pl.Int64:
        raise DataError(f"{path}: no whole numbers in a column 'seed'; {AGAIN}")
    if (empty := predictions["seed"].is_null() & predictions["method"].is_in(seeded)).any():
        raise DataError(f"{path}: row {empty.arg_max()}: no seed, expected one in every row; {AGAIN}")


def _check_scores(path: Path, predictions: pl.DataFrame, activities: Sequence[str]) -> None:
    """Refuse scores that are no probabilities, one for each activity in order; a table may have none."""
    if "scores" not in predictions.columns:
        return
    kind = predictions.schema["scores"]
    expected = f"expected {len(activities)} probabilities in every row; {AGAIN}"
    if not isinstance(kind, pl.List) or kind.inner not in (pl.Float32, pl.Float64):
        raise DataError(f"{path}: scores are of {kind}, {expected}")
    scores = predictions["scores"]
    fits = (scores.list.len() == len(activities)).fill_null(False)
    flat = scores.filter(fits).explode()
    if not fits.all() or flat.null_count() or not flat.is_between(0.0, 1.0).all():
        raise DataError(f"{path}: scores that are none, {expected}")
    places = predictions["predicted"].replace_strict(activities, range(len(activities)), default=None)
    said = predictions.select(
        of_predicted=pl.col("scores").list.get(pl.lit(places, dtype=pl.Int64)),
        highest=pl.col("scores").list.max(),
    )
    if (said["of_predicted"] < said["highest"] - ALIKE).any():
        names = ", ".join(activities)
        raise DataError(
            f"{path}: predicted is another activity than that of the highest score, expected scores in the "
            f"order of {FACTS}: {names}; {AGAIN}"
        )


class Results(NamedTuple):
    """What a run came to: what it says of itself, predictions of test clips and of validation clips."""

    facts: RunFacts
    predictions: pl.DataFrame
    validation: pl.DataFrame | None


def read_results(folder: Path) -> Results:
    """All of what the run in `folder` came to.

    Raises:
        DataError: a file is missing, unreadable, or they do not belong together.
    """
    facts, predictions = read_run(folder)
    _check_whole(folder, facts, VALIDATION)
    return Results(facts, predictions, read_validation(folder))


def read_validation(folder: Path) -> pl.DataFrame | None:
    """What was predicted of the validation people of the run in `folder`; None where nobody validated.

    Raises:
        DataError: `validation.parquet` cannot be read.
    """
    path = folder / VALIDATION
    if not path.is_file():
        return None
    table = read_parquet(path, AGAIN, _IN_EVERY_ROW)
    _check_seeds(path, table)
    return None if table.is_empty() else table


def read_hands(folder: Path, facts: RunFacts, predictions: pl.DataFrame) -> pl.DataFrame | None:
    """What `plait hands detect` found in the clips of the run in `folder`; None where it did not look.

    Clips of one name may be others: cut by other windows, or labelled anew. Tables of before do not say when
    clips begin and end, and are taken.

    Raises:
        DataError: `hands.parquet` cannot be read, or is not of these clips.
    """
    path = folder / HANDS
    if not path.is_file():
        return None
    remedy = "run `plait hands detect` again"
    hands = read_parquet(path, remedy, {name: COUNTED[name] for name in ("clip", "missing", "count")})
    if hands.schema.get("visible") not in (pl.Int64, pl.Null):  # nothing where nobody knows the truth
        expected = "what `plait hands detect` writes"
        raise DataError(f"{path}: no numbers in a column 'visible', expected {expected}; {remedy}")
    lacking = read_lacking(folder)
    absent = set() if lacking is None else set(lacking["clip"])
    if unseen := set(predictions["clip"]) - set(hands["clip"]) - absent:
        raise DataError(f"{path}: nothing of clip {min(unseen)!r}; {remedy}")
    if who := _cut_otherwise(facts, predictions, hands):
        raise DataError(f"{path}: clips of {who} are cut or labelled otherwise than in the run; {remedy}")
    return hands


def _cut_otherwise(facts: RunFacts, predictions: pl.DataFrame, hands: pl.DataFrame) -> str | None:
    """Somebody whose counted clips are others than the run's; None if nobody's are, or nobody can know it.

    A control has other labels, and where sessions are tested not all of a person's clips need be.
    """
    when = ["activity", "start_s", "stop_s"]
    if facts.protocol.get("shuffle_labels") is not None or facts.protocol.get("kind") in BY_SESSION:
        return None
    if any(hands.schema.get(name) != COUNTED[name] for name in when):
        return None
    tested = predictions.select("subject", "clip").unique(maintain_order=True)
    counted = tested.join(hands.select("clip", *when), on="clip", how="left", maintain_order="left")
    for (who,), clips in counted.group_by("subject", maintain_order=True):
        person = facts.people.get(str(who))
        if person is None or clips["start_s"].null_count():  # which shows nothing to count in
            continue
        if cut_key(clips.select("clip", *when).rows()) != person.clips:
            return str(who)
    return None


def cut_key(clips: Iterable[Sequence[Any]]) -> str:
    """A key of somebody's clips: of each its name, its activity, and when it begins and ends, in seconds."""
    return content_key(sorted(map(list, clips)))[:KEY]


def write_people(run: Path, facts: RunFacts, people: pl.DataFrame) -> None:
    """Write accuracies under faults, of schema `PERSONS`, and whose they are.

    Raises:
        DataError: the folder cannot be written.
    """
    keys = {method: _made_from(facts, method) for method in people["method"].unique().sort()}
    write_table(people, run / ROBUSTNESS / PEOPLE)
    write_json(run / ROBUSTNESS / JOBS_OF, keys)


def read_people(run: Path, facts: RunFacts) -> pl.DataFrame | None:
    """Accuracy of each method on each person under each fault, as `PERSONS`.

    None where nobody has asked, or where a method's jobs, or what a row is made of, are others by now.

    Raises:
        DataError: the table cannot be read.
    """
    path, remedy = run / ROBUSTNESS / PEOPLE, "run `plait robustness` again"
    if not path.is_file():
        return None
    keys = read_json(path.with_name(JOBS_OF), remedy)
    if not isinstance(keys, dict):
        return None
    if any(name not in facts.methods or _made_from(facts, name) != made for name, made in keys.items()):
        return None
    return read_parquet(path, remedy, PERSONS)


def _made_from(facts: RunFacts, method: str) -> dict[str, Any]:
    """What decides a method's scores, as JSON: its jobs' keys; of a row made of others, also of which."""
    row = facts.methods[method]
    return {"row": row_key(facts.methods, method)} if row.made_of else row.keys


def read_lacking(folder: Path) -> pl.DataFrame | None:
    """Which clips of the run in `folder` lack which `modality`; None where none lacks any.

    Raises:
        DataError: `lacking.parquet` cannot be read.
    """
    path = folder / LACKING
    if not path.is_file():
        return None
    return read_parquet(path, AGAIN, {"clip": pl.String, "modality": pl.String})


def row_key(methods: Mapping[str, MethodFacts], name: str) -> str:
    """A key of all that decides a run's row: its jobs, how it is made, and the rows that it is made of."""
    row = methods[name]
    return content_key([row.kind, row.args, row.keys, [row_key(methods, source) for source in row.made_of]])


def job_folder(run: Path, key: str) -> Path:
    """Where the job of this key leaves its results; it stands once the job is finished, and whole.

    Raises:
        DataError: the key is none, as where `run.json` names another place.
    """
    if not inside(key) or "/" in key:
        raise DataError(f"{run / FACTS}: keys: {quote(key)}, expected the name of a folder in {JOBS}")
    return run / JOBS / key


def write_job(
    folder: Path,
    facts: JobFacts,
    decided_by: Mapping[str, Any],
    predictions: pl.DataFrame,
    validation: pl.DataFrame,
    history: pl.DataFrame,
) -> None:
    """Write a finished job but for its weights, into a folder that is not in its place yet.

    Args:
        folder: where to.
        facts: what it says of itself.
        decided_by: all that its key stands for.
        predictions: of the test clips, of schema `SCORED`.
        validation: of the validation clips, likewise.
        history: one row of `EPOCH` per epoch.
    """
    predictions.write_parquet(folder / PREDICTIONS)
    validation.write_parquet(folder / VALIDATION)
    history.write_parquet(folder / HISTORY)
    write_json(folder / JOB, {**asdict(facts), "decided by": decided_by})


def read_job(folder: Path) -> JobFacts:
    """What a finished job says of itself.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / JOB
    try:
        return TypeAdapter(JobFacts).validate_python(read_json(path, _REMEDY))
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}; {_REMEDY}") from error


def read_decided(folder: Path) -> dict[str, Any]:
    """All that a finished job's key stands for, as it was written.

    Raises:
        DataError: the file is damaged.
    """
    said = read_json(folder / JOB, _REMEDY)
    decided = said.get("decided by") if isinstance(said, dict) else None
    if not isinstance(decided, dict):
        raise DataError(f"{folder / JOB}: does not say what decided it; {_REMEDY}")
    return decided


def read_history(folder: Path) -> pl.DataFrame:
    """The epochs of a finished job, of schema `EPOCH`.

    Raises:
        DataError: the file is damaged.
    """
    return _read_epochs(folder / HISTORY, (*_VALIDATED, "learning_rate"))


def _read_epochs(path: Path, sometimes: Sequence[str]) -> pl.DataFrame:
    """A table of epochs; in the columns `sometimes`, rows may hold nothing, as where nobody validates."""
    table = read_parquet(path, _REMEDY, {name: EPOCH[name] for name in ("phase", "epoch", "loss")})
    for name in sometimes:
        if table.schema.get(name) not in (pl.Float64, pl.Null):
            raise DataError(f"{path}: no numbers in a column {name!r}; {_REMEDY}")
    return table


def read_scores(folder: Path, name: str) -> pl.DataFrame:
    """A finished job's `PREDICTIONS` or `VALIDATION`, of schema `SCORED`.

    Raises:
        DataError: the file is damaged.
    """
    return read_parquet(folder / name, _REMEDY, SCORED)


def read_histories(folder: Path, facts: RunFacts) -> pl.DataFrame:
    """The epochs of all jobs of the run in `folder` that still lie there: `method, fold, seed`, then `EPOCH`.

    But for learning rates, which jobs of before have none of.

    Raises:
        DataError: a job's history is damaged.
    """
    schema: Schema = {"method": pl.String, "fold": pl.String, "seed": pl.Int64, **EPOCH}
    del schema["learning_rate"]
    parts = [pl.DataFrame(schema=schema)]
    for method, row in facts.methods.items():
        for place, key in row.keys.items():
            path = job_folder(folder, key) / HISTORY
            if path.is_file():
                fold, _, seed = place.rpartition("/")
                if not seed.isdecimal() or len(seed) > 18:
                    raise DataError(f"{folder / FACTS}: keys: {quote(place)}, expected FOLD/SEED; {AGAIN}")
                whose = {"method": pl.lit(method), "fold": pl.lit(fold), "seed": pl.lit(int(seed), pl.Int64)}
                table = _read_epochs(path, _VALIDATED)
                parts.append(table.with_columns(**whose).select(list(schema)).cast(pl.Schema(schema)))
    return pl.concat(parts)


def scored(
    clips: Sequence[Clip], scores: np.ndarray, activities: Sequence[str], seen: Sequence[bool]
) -> pl.DataFrame:
    """A table of schema `SCORED`; of equal scores the first wins.

    Args:
        clips: which.
        scores: `(len(clips), len(activities))`.
        activities: in the order of the scores.
        seen: of each clip, whether anything is; else `UNSEEN` is predicted.
    """
    best = [activities[place] for place in scores.argmax(axis=1)]
    columns = {
        "clip": [clip.name for clip in clips],
        "subject": [clip.subject for clip in clips],
        "activity": [clip.activity for clip in clips],
        "predicted": [name if sees else UNSEEN for sees, name in zip(seen, best, strict=True)],
        "scores": scores.tolist(),
    }
    return pl.DataFrame(columns, schema=SCORED)


def _whole_number(path: Path, text: str) -> int:
    """A whole number of a file that a column of a table can hold."""
    number = int(text) if len(text) < 20 else LARGEST + 1
    if abs(number) > LARGEST:
        raise DataError(f"{path}: {quote(text)}, expected whole numbers below 2^63; run `plait run` first")
    return number
