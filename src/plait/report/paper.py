"""Tables 1 and 2 of the paper: its rows in its order, whatever the sensors are called.

A row's role follows from what a method is: a single modality, a fusion and who leads it, an average, a concatenation.
Of several methods of one role, the first in the study stands for it (of concatenations, the first flattened one, as in
the paper); rows of a sweep stand for none. A study of several sets of modalities has each fusion once for each set.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from plait.report.read import Run
from plait.report.words import percent
from plait.study.compare import Row
from plait.study.metrics import summary

SCHEMA: dict[str, type[pl.DataType]] = {
    "part": pl.String,
    "model": pl.String,
    "method": pl.String,
    "accuracy": pl.Float64,
    "subject_sd": pl.Float64,
}
PRINTED: dict[str, type[pl.DataType]] = {"paper": pl.Float64, "paper_sd": pl.Float64}
AVERAGE, CONCAT, SYMMETRIC = "average of scores", "late concatenation", "symmetric"
# Accuracy and SD over 19 subjects as the paper prints them, by data set and role.
PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "glovid": {
        "video, ResNet-50": (0.464, 0.085),
        "gloves": (0.681, 0.105),
        "video": (0.763, 0.079),
        "gloves-led": (0.801, 0.082),
        "video-led": (0.808, 0.077),
        SYMMETRIC: (0.802, 0.080),
        AVERAGE: (0.789, 0.082),
        CONCAT: (0.793, 0.079),
    }
}
CHOSEN = {"glovid": "video-led"}  # by the paper, after its Table 1


def table_1(run: Run, predictions: pl.DataFrame) -> pl.DataFrame:
    """Single modalities, then non-local fusions: `part, model, method, accuracy, subject_sd`.

    Accuracy and SD over subjects are `plait.study.metrics.summary`'s; where the paper prints numbers of this data set,
    they stand beside them as `paper, paper_sd`.
    """
    singles = [name for name, row in run.methods.items() if row.kind == "single" and not row.sweep]
    rows = [("single modality", _single(run.methods[name]), name) for name in singles]
    sets = _fusions(run)
    for modalities, fusions in sets.items():
        of = f" of {' + '.join(modalities)}" if len(sets) > 1 else ""
        rows += [(f"non-local fusion{of}", role, name) for role, name in fusions.items()]
    return _told(run, predictions, rows, {name: role for _, role, name in rows})


def table_2(run: Run, predictions: pl.DataFrame, validation: pl.DataFrame | None = None) -> pl.DataFrame:
    """The average, the concatenation and one fusion of each set of modalities; the columns of `table_1`.

    Which fusion: the one the paper chose, on its own data; elsewhere the most accurate on the validation subjects, or,
    where nobody validates, on these test subjects. `model` says which and how.
    """
    rows: list[tuple[str, str, str]] = []
    roles: dict[str, str] = {}
    for modalities, fusions in _fusions(run).items():
        same = {name: row for name, row in run.methods.items() if set(row.modalities) == set(modalities)}
        average = [name for name, row in same.items() if row.kind == "average"]
        concat = [name for name, row in same.items() if row.kind == "concat" and not row.sweep]
        concat.sort(key=lambda name: run.methods[name].head != "flatten")
        role, how = _chosen(run, predictions, validation, fusions)
        named = [(AVERAGE, average[:1]), (CONCAT, concat[:1]), (f"{role}, {how}", [fusions[role]])]
        rows += [(" + ".join(modalities), model, name) for model, names in named for name in names]
        flattened = {name: CONCAT for name in concat[:1] if run.methods[name].head == "flatten"}
        roles |= dict.fromkeys(average, AVERAGE) | flattened | {fusions[role]: role}
    return _told(run, predictions, rows, roles)


def header(table: pl.DataFrame) -> list[str]:
    """The printed columns of either table."""
    return ["", "model", "method", "accuracy %", "subject SD", *(["paper", "paper SD"] if "paper" in table else [])]


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row in words, as `header` says."""
    return [*(row[key] for key in ("part", "model", "method")), *(percent(row[key]) for key in list(row)[3:])]


def _single(row: Row) -> str:
    """The role of a single: its modality; the paper's static baseline is told by its encoder."""
    static = any("resnet50" in origin for origin in row.encoders.values())
    return " + ".join(row.modalities) + (", ResNet-50" if static else "")


def _fusions(run: Run) -> dict[tuple[str, ...], dict[str, str]]:
    """The fusions of each set of modalities by role: leads in the order of the singles, then symmetric."""
    singles = [m for row in run.methods.values() if row.kind == "single" for m in row.modalities]
    last = {m: i for i, m in enumerate([*run.modalities, *singles])}  # behind a static baseline stands the video itself
    order = [*(f"{lead}-led" for lead in sorted(last, key=last.__getitem__)), SYMMETRIC]
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for name, row in run.methods.items():
        role = f"{row.args['lead']}-led" if "lead" in row.args else SYMMETRIC
        known = "lead" in row.args or (row.use or "").endswith(":Symmetric")
        if row.kind == "fusion" and known and not row.sweep:
            found.setdefault(tuple(m for m in run.modalities if m in row.modalities), {}).setdefault(role, name)
    return {key: {role: own[role] for role in order if role in own} for key, own in found.items()}


def _chosen(
    run: Run, predictions: pl.DataFrame, validation: pl.DataFrame | None, fusions: Mapping[str, str]
) -> tuple[str, str]:
    """The role of the fusion that stands for all, and how it was chosen, in words."""
    if CHOSEN.get(run.dataset) in fusions:
        return CHOSEN[run.dataset], "the paper's choice"
    if len(fusions) == 1:
        return next(iter(fusions)), "the only fusion"
    validated = validation is not None and set(fusions.values()) <= set(validation["method"].unique())
    table = validation if validation is not None and validated else predictions
    of = dict(summary(table, run.activities).select("method", "accuracy").iter_rows())
    role = max(fusions, key=lambda role: of[fusions[role]])
    return role, f"chosen on {'validation' if validated else 'these test'} subjects"


def _told(
    run: Run, predictions: pl.DataFrame, rows: list[tuple[str, str, str]], roles: Mapping[str, str]
) -> pl.DataFrame:
    """Rows with their numbers, and the paper's where it has some of this data set."""
    named = pl.DataFrame(rows, schema=list(SCHEMA)[:3], orient="row").cast(pl.String)
    numbers = summary(predictions, run.activities).select("method", "accuracy", "subject_sd")
    table = named.join(numbers, on="method", how="left", maintain_order="left").cast(SCHEMA)  # type: ignore[arg-type]
    published = PUBLISHED.get(run.dataset)
    if published is None:
        return table
    of = [published.get(roles.get(name, ""), (None, None)) for name in table["method"]]
    beside = [pl.Series(name, [pair[i] for pair in of], dtype=kind) for i, (name, kind) in enumerate(PRINTED.items())]
    return table.with_columns(beside)
