"""A data set's own metrics, of a study's methods, beside what was published: `RUN/benchmark.parquet`.

Metrics are functions that `plait.datasets.published.Metric` names. One of clips takes the predictions of one
method and seed, all folds, as in `plait.analysis.metrics`, and the data set's activities; one of recordings
takes for each fold the `Stretch`es of its test people, and the activities that are not null. Both take the
metric's `args` by name and give a share from 0 to 1, or None where there is nothing to be scored.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl
from sklearn.metrics import precision_recall_fscore_support

from plait.analysis.metrics import by_fold
from plait.analysis.stretches import Stretch
from plait.datasets.published import Benchmark, Metric
from plait.errors import ConfigError, DataError, own_code
from plait.objects import resolve
from plait.results import AGAIN, write_table
from plait.store import read_parquet
from plait.types import Dataset

BENCHMARK = "benchmark.parquet"  # of a run's folder
SCHEMA: dict[str, type[pl.DataType]] = {
    "model": pl.String,  # a method of the study, or what a paper calls its own
    "source": pl.String,  # null: this study
    "role": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "sd": pl.Float64,
}


class Found(NamedTuple):
    """What one method and seed recognised in whole recordings; of an ensemble `seed` is None.

    Args:
        method, seed: whose it is.
        folds: by the fold's name, its test people's recordings.
        activities: that are not null.
    """

    method: str
    seed: int | None
    folds: Mapping[str, Sequence[Stretch]]
    activities: Sequence[str]


def benchmark(dataset: Dataset, predictions: pl.DataFrame, found: Sequence[Found] = ()) -> pl.DataFrame:
    """Every method by the data set's own metrics, then what was published: `SCHEMA`, a row for each number.

    A method's number is its mean over seeds. A metric of recordings that nobody has looked at is null.

    Args:
        dataset: one that names metrics; of any other the table is empty.
        predictions: of test clips.
        found: what was recognised in whole recordings, where somebody has looked.

    Raises:
        ConfigError: a metric's function is not there or has failed, or its number is no share.
    """
    if not isinstance(dataset, Benchmark):
        return pl.DataFrame(schema=SCHEMA)
    rows: list[tuple[str, str | None, str | None, str, float | None, float | None]] = []
    for method in predictions["method"].unique(maintain_order=True):
        for metric in dataset.metrics:
            value = _mean_over_seeds(dataset, metric, method, predictions, found)
            rows.append((method, None, None, metric.name, value, None))
    for one in dataset.published:
        for name, number in one.numbers.items():
            rows.append((one.model, one.source, one.role, name, number, one.sd.get(name)))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def write_benchmark(
    run: Path, dataset: Dataset, predictions: pl.DataFrame, found: Sequence[Found] = ()
) -> None:
    """Write `benchmark` into a run's folder, for its report; where it has no row, none stays there.

    Raises:
        ConfigError: as `benchmark`.
        DataError: the folder cannot be written.
    """
    table = benchmark(dataset, predictions, found)
    if table.is_empty():
        (run / BENCHMARK).unlink(missing_ok=True)
    else:
        write_table(table, run / BENCHMARK)


def read_benchmark(run: Path) -> pl.DataFrame:
    """What `benchmark.parquet` of a run says, `SCHEMA`; empty where the run has none.

    Raises:
        DataError: it cannot be read, or is of another form.
    """
    path = run / BENCHMARK
    if not path.is_file():
        return pl.DataFrame(schema=SCHEMA)
    table = read_parquet(path, AGAIN, {"model": pl.String, "metric": pl.String})
    if table.schema != SCHEMA:
        raise DataError(f"{path}: columns {', '.join(table.columns)}, expected {', '.join(SCHEMA)}; {AGAIN}")
    return table


def accuracy(predictions: pl.DataFrame, activities: Sequence[str]) -> float | None:
    """Share of right clips in a fold, mean over folds."""
    return _mean(by_fold(predictions)["accuracy"].to_list())


def macro_f1(
    predictions: pl.DataFrame, activities: Sequence[str], without: Collection[str] = (), by: str | None = None
) -> float | None:
    """Unweighted mean of F1 over activities; one that is neither there nor predicted counts 0.

    Args:
        predictions: of one method and seed.
        activities: the data set's.
        without: activities, such as null, that are not averaged over; to take them for another is wrong.
        by: `"fold"` or `"subject"`: for each of these by itself, then the mean; by default clips are pooled.
    """
    return _f1(predictions, activities, without, by, "macro")


def weighted_f1(
    predictions: pl.DataFrame, activities: Sequence[str], without: Collection[str] = (), by: str | None = None
) -> float | None:
    """Mean of F1 over activities, each weighted by how many clips show it; settings as in `macro_f1`."""
    return _f1(predictions, activities, without, by, "weighted")


def _f1(
    predictions: pl.DataFrame,
    activities: Sequence[str],
    without: Collection[str],
    by: str | None,
    average: Literal["macro", "weighted"],
) -> float | None:
    if by not in (None, "fold", "subject"):
        raise ConfigError(f"by is {by!r}, expected 'fold' or 'subject'")
    labels = [activity for activity in activities if activity not in without]
    parts = [predictions] if by is None else predictions.partition_by(by, maintain_order=True)
    scores = []
    for part in parts:
        truth, found = part["activity"].to_list(), part["predicted"].to_list()
        score = precision_recall_fscore_support(truth, found, labels=labels, average=average, zero_division=0)
        scores.append(float(score[2]))
    return _mean(scores)


def _mean_over_seeds(
    dataset: Benchmark, metric: Metric, method: str, predictions: pl.DataFrame, found: Sequence[Found]
) -> float | None:
    where = f"data set {dataset.name}: metric {metric.name!r}"
    function = resolve(metric.use, where)
    given: list[tuple[Any, Sequence[str]]]
    if metric.of == "clips":
        own = predictions.filter(pl.col("method") == method)
        given = [(rows, dataset.activities) for rows in own.partition_by("seed", maintain_order=True)]
    else:
        given = [([*one.folds.values()], one.activities) for one in found if one.method == method]
    values = []
    for things, activities in given:
        with own_code(f"{where}: {metric.use}"):
            value = function(things, activities, **metric.args)
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"{where}: {metric.use} gives {value}, expected a share from 0 to 1")
        values.append(value)
    return _mean(values)


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that there are."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
