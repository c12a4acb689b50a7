"""Tables 1 and 2 of the paper: its rows in its order, whatever the sensors are called.

A row's role follows from what a method is: a single modality, a fusion and who leads it, an average, a
concatenation. Of several methods of one role, the first in the study stands for it (of concatenations, the
first flattened one, as in the paper); rows of a sweep stand for none. A study of several sets of modalities
has each fusion once for each set.
"""

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from plait.analysis.choice import choices, fusions, non_local
from plait.analysis.metrics import summary
from plait.report.captions import percent
from plait.results import MethodFacts, RunFacts

SCHEMA: dict[str, type[pl.DataType]] = {
    "part": pl.String,
    "model": pl.String,
    "method": pl.String,
    "accuracy": pl.Float64,
    "subject_sd": pl.Float64,
}
PRINTED: dict[str, type[pl.DataType]] = {"paper": pl.Float64, "paper_sd": pl.Float64}
AVERAGE, CONCAT = "average of scores", "late concatenation"


def table_1(run: RunFacts, predictions: pl.DataFrame, benchmark: pl.DataFrame | None = None) -> pl.DataFrame:
    """Single modalities, then non-local and other fusions: `part, model, method, accuracy, subject_sd`.

    Accuracy and SD over subjects are `plait.analysis.metrics.summary`'s; where `benchmark`
    (`plait.analysis.benchmark`) has published accuracies of these rows, they stand beside them as `paper,
    paper_sd`.
    """
    singles: dict[tuple[str, str], str] = {}  # a modality by each of its encoders, under its first head
    for name, row in run.methods.items():
        if row.kind == "single" and not row.sweep:
            singles.setdefault((_role(row), str(row.encoders)), name)
    rows = [("single modality", role, name) for (role, _), name in singles.items()]
    sets = fusions(run.methods, run.modalities)
    for modalities, names in sets.items():
        of = f" of {' + '.join(modalities)}" if len(sets) > 1 else ""
        for role, name in names.items():
            kind = "non-local" if non_local(run.methods[name]) else "other"
            rows.append((f"{kind} fusion{of}", role, name))
    return _with_numbers(run, predictions, rows, {name: role for _, role, name in rows}, benchmark)


def table_2(
    run: RunFacts,
    predictions: pl.DataFrame,
    validation: pl.DataFrame | None = None,
    benchmark: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The average, the concatenation and one fusion of each set of modalities; the columns of `table_1`.

    Which fusion is `plait.analysis.choice.choices`'s to say; `model` says which and how it was chosen.
    """
    rows: list[tuple[str, str, str]] = []
    roles: dict[str, str] = {}
    for modalities, choice in choices(run.dataset, run.methods, run.modalities, validation).items():
        average, concat = baselines(run.methods, modalities)
        models = [(AVERAGE, average), (CONCAT, concat), (f"{choice.role}, {choice.how}", choice.method)]
        rows += [(" + ".join(modalities), model, name) for model, name in models if name]
        if average:
            roles[average] = AVERAGE
        if concat and run.methods[concat].head == "flatten":
            roles[concat] = CONCAT
        roles[choice.method] = choice.role
    return _with_numbers(run, predictions, rows, roles, benchmark)


def baselines(
    methods: Mapping[str, MethodFacts], modalities: Collection[str]
) -> tuple[str | None, str | None]:
    """The average of scores and the late concatenation (a flattened one, if any) of these modalities."""
    same = {name: row for name, row in methods.items() if set(row.modalities) == set(modalities)}
    average = [name for name, row in same.items() if row.kind == "average"]
    concat = [name for name, row in same.items() if row.kind == "concat" and not row.sweep]
    concat.sort(key=lambda name: methods[name].head != "flatten")
    return next(iter(average), None), next(iter(concat), None)


def header(table: pl.DataFrame) -> list[str]:
    """The printed columns of either table."""
    published = ["paper", "paper SD"] if "paper" in table else []
    return ["", "model", "method", "accuracy %", "subject SD", *published]


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row in words, as `header` says."""
    return [*(row[key] for key in ("part", "model", "method")), *(percent(row[key]) for key in list(row)[3:])]


def _role(row: MethodFacts) -> str:
    """The role of a single: its modality; the paper's static baseline is known by its encoder."""
    static = any("resnet50" in f"{origin.features} {origin.network}" for origin in row.encoders.values())
    return " + ".join(row.modalities) + (", ResNet-50" if static else "")


def _with_numbers(
    run: RunFacts,
    predictions: pl.DataFrame,
    rows: list[tuple[str, str, str]],
    roles: Mapping[str, str],
    benchmark: pl.DataFrame | None,
) -> pl.DataFrame:
    """Rows with their numbers, and the paper's where it has some of this data set."""
    names = pl.DataFrame(rows, schema=list(SCHEMA)[:3], orient="row").cast(pl.String)
    numbers = summary(predictions, run.activities).select("method", "accuracy", "subject_sd")
    table = names.join(numbers, on="method", how="left", maintain_order="left")
    table = table.cast(SCHEMA)  # type: ignore[arg-type]
    printed = {} if benchmark is None else _printed(benchmark)
    if not printed:
        return table
    pairs = [printed.get(roles.get(name, ""), (None, None)) for name in table["method"]]
    return table.hstack(pl.DataFrame(pairs, schema=PRINTED, orient="row"))


def _printed(benchmark: pl.DataFrame) -> dict[str, tuple[float, float | None]]:
    """Accuracy and its SD as published, by the row of either table."""
    rows = benchmark.filter(pl.col("role").is_not_null(), pl.col("metric") == "accuracy")
    return {role: (value, sd) for role, value, sd in rows.select("role", "value", "sd").iter_rows()}
