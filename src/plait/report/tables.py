"""The tables of a report: polars frames for the CSV files, Markdown for people."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from plait.analysis import calibration, metrics, persons
from plait.analysis.lacking import by_lack
from plait.names import natural
from plait.report import paper, published
from plait.report.captions import chance, interval, notes, origin_of, percent, points, seconds, training_of
from plait.report.latex import tabular
from plait.results import LATE, UNSEEN, MethodFacts, RunFacts

COMBINED = "late fusion"
GROUPS = {
    "single": ("single",),
    COMBINED: LATE,
    "fusion": ("fusion",),
    "ensemble over seeds": ("ensemble",),
}
MAIN = (
    "method",
    "modalities",
    "head",
    "accuracy %",
    "subject SD",
    "macro F1 %",
    "parameters",
    "training s / job",
)
CONTRASTS = (
    "method",
    "against",
    "people × seeds",
    "difference, points",
    "interval",
    "p",
    "p (adjusted)",
    "p (equivalence)",
    "SD, people",
    "SD, seeds",
    "detectable",
    "verdict",
)
COMPARISONS = ("fusion", "against", "which is", "difference, points", "95 % interval")
MISTAKES = ("method", "subject", "activity", "taken for", "theirs, %", "all others', %")
GAINS = ("fusion", "against", "activity", "gain", "95 % interval")
CLAIMS = ("claim", "fusion", "against", "effect", "95 % interval", "verdict")
WIDTHS = ("series", "K", "accuracy %", "95 % interval")
LACKING = ("method", "lacks", "clips", "people", "not recognised", "accuracy %")
HANDS = ("method", "missing", "clips", "subjects", "accuracy %", "95 % interval")


def main_table(run: RunFacts, predictions: pl.DataFrame) -> pl.DataFrame:
    """One row per method, singles, late fusion, fusions, ensembles: `table.csv`.

    Accuracy, its SD over subjects, balanced accuracy, macro F1 and calibration errors are shares;
    `train_seconds` is a job's mean, null for what trains nothing.
    """
    methods = [name for kinds in GROUPS.values() for name, row in run.methods.items() if row.kind in kinds]
    schema = {
        "method": pl.String,
        "kind": pl.String,
        "modalities": pl.String,
        "encoders": pl.String,
        "head": pl.String,
        "parameters": pl.Int64,
        "train_seconds": pl.Float64,
    }
    facts = pl.DataFrame([_method_facts(name, run.methods[name]) for name in methods], schema=schema)
    table = facts.join(metrics.summary(predictions, run.activities), on="method", maintain_order="left")
    table = table.join(calibration.score_summary(predictions, run.activities), on="method", how="left")
    costs = ["parameters", "train_seconds"]
    return table.select(pl.exclude(costs), *costs)


def subject_table(run: RunFacts, predictions: pl.DataFrame) -> pl.DataFrame:
    """Accuracy per method and subject, and on everybody else: `subjects.csv`.

    Methods come as in the study, subjects in natural order; null where a method was not tested on a subject.
    """
    table = persons.beside_others(predictions)
    subjects = sorted(set(table["subject"]), key=natural)
    pairs = [(method, subject) for method in run.methods for subject in subjects]
    grid = pl.DataFrame(pairs, schema={"method": pl.String, "subject": pl.String}, orient="row")
    return grid.join(table, on=("method", "subject"), maintain_order="left")


def in_order(run: RunFacts, table: pl.DataFrame) -> pl.DataFrame:
    """A table's rows by method as in the study, then by subject in natural order; else as they were."""
    methods = {name: i for i, name in enumerate(run.methods)}
    subjects = {name: i for i, name in enumerate(sorted(set(table["subject"]), key=natural))}
    ranks = [pl.col("method").replace_strict(methods), pl.col("subject").replace_strict(subjects)]
    return table.sort(ranks, maintain_order=True) if len(table) else table


def activity_table(run: RunFacts, predictions: pl.DataFrame) -> pl.DataFrame:
    """Recall, precision and F1 per method and activity, both as in the study: `activities.csv`."""
    table = metrics.by_activity(predictions, run.activities)
    return pl.concat([table.filter(pl.col("method") == method) for method in run.methods])


def unshown(activities: pl.DataFrame) -> list[str]:
    """The activities of `activity_table` that no test clip shows."""
    most = activities.group_by("activity", maintain_order=True).agg(pl.col("clips").max())
    return most.filter(pl.col("clips") == 0)["activity"].to_list()


def confusion_table(run: RunFacts, predictions: pl.DataFrame) -> pl.DataFrame:
    """Clips per method, true and predicted activity, seeds and folds summed: `confusion.csv`."""
    pairs = [(true, predicted) for true in run.activities for predicted in run.activities]
    cells = pl.DataFrame(pairs, schema={"activity": pl.String, "predicted": pl.String}, orient="row")
    tables = []
    for method in run.methods:
        counts = metrics.confusion(predictions, method, run.activities).ravel()
        clips = pl.Series("clips", counts, dtype=pl.Int64)
        tables.append(cells.select(pl.lit(method).alias("method"), pl.all(), clips))
    return pl.concat(tables)


def subject_confusion_table(run: RunFacts, predictions: pl.DataFrame) -> pl.DataFrame:
    """The same for each subject, the pairs that occur alone: `subject_confusion.csv`."""
    places = {name: i for i, name in enumerate(run.activities)}
    ranks = [pl.col(name).replace_strict(places, return_dtype=pl.Int64) for name in ("activity", "predicted")]
    seen = predictions.filter(pl.col("predicted") != UNSEEN)
    return in_order(run, metrics.subject_confusion(seen).sort(ranks))


def mistake_table(run: RunFacts, predictions: pl.DataFrame) -> pl.DataFrame:
    """What of whose is taken for what, more than of everybody else's: `mistakes.csv`."""
    return in_order(run, persons.mistakes(predictions))


def lacking_table(run: RunFacts, predictions: pl.DataFrame, lacking: pl.DataFrame | None) -> pl.DataFrame:
    """Accuracy by what clips lack, methods as in the study: `lacking.csv`; empty where none lacks any."""
    table = by_lack(predictions, lacking)
    return pl.concat([table.filter(pl.col("method") == method) for method in run.methods])


def markdown(
    run: RunFacts,
    main: pl.DataFrame,
    contrasts: pl.DataFrame,
    comparisons: pl.DataFrame,
    lacking: pl.DataFrame | None = None,
    benchmark: pl.DataFrame | None = None,
    unshown: Sequence[str] = (),
) -> str:
    """`table.md`: the main table, what was decided, what is described, and how all that is computed.

    Args:
        run: what it says of itself.
        main: `main_table`.
        contrasts: `compare.decide`.
        comparisons: `compare.describe`.
        lacking: `lacking_table`.
        benchmark: `benchmark.benchmark`.
        unshown: activities that no test clip shows.
    """
    rows = [main_cells(run, row) for row in main.iter_rows(named=True)]
    lines = [f"# {escaped(run.study)}", "", *markdown_table(MAIN, rows)]
    if benchmark is not None and not benchmark.is_empty():
        beside = markdown_table(published.header(benchmark), published.lines(benchmark), texts=2)
        lines += ["", "## Beside what was published", "", *beside]
    if not contrasts.is_empty():
        rows = [contrast_cells(row) for row in contrasts.iter_rows(named=True)]
        lines += ["", "## Planned contrasts", "", *markdown_table(CONTRASTS, rows)]
    if not comparisons.is_empty():
        rows = [comparison_cells(row) for row in comparisons.iter_rows(named=True)]
        lines += ["", "## Fusion beside simpler methods", "", *markdown_table(COMPARISONS, rows)]
    if lacking is not None and not lacking.is_empty():
        rows = [lacking_cells(row) for row in lacking.iter_rows(named=True)]
        lines += ["", "## Where sensors are missing", "", *markdown_table(LACKING, rows)]
    said = [f"* {escaped(note)}" for note in notes(run, main, contrasts, comparisons, lacking, unshown)]
    return "\n".join([*lines, "", *said, ""])


def main_cells(run: RunFacts, row: Mapping[str, Any]) -> list[str]:
    """One method in words: method, modalities and where encoders come from, head, accuracy, ..., seconds."""
    return [
        row["method"],
        _describe_modalities(run.methods[row["method"]]),
        row["head"] or "–",
        percent(row["accuracy"]),
        percent(row["subject_sd"]),
        percent(row["macro_f1"]),
        f"{row['parameters']:,}" if row["parameters"] else "–",
        seconds(row["train_seconds"]),
    ]


def contrast_cells(row: Mapping[str, Any]) -> list[str]:
    """One planned contrast in words, as `CONTRASTS`."""
    return [
        row["method"],
        row["baseline"],
        f"{row['subjects']} × {row['seeds'] or '–'}" if row["subjects"] else "–",
        points(row["difference"]),
        interval(row["low"], row["high"]),
        *(chance(row[name]) for name in ("p", "p_adjusted", "p_equivalent")),
        *(percent(row[name]) for name in ("person_sd", "seed_sd", "detectable")),
        row["verdict"],
    ]


def score_cells(row: Mapping[str, Any]) -> list[str]:
    """What one method's scores tell, in words: method, balanced accuracy, NLL, ECE, ECE by chance."""
    nll = "–" if row["nll"] is None else f"{row['nll']:.3f}"
    return [
        row["method"],
        percent(row["balanced_accuracy"]),
        nll,
        percent(row["ece"]),
        percent(row["ece_by_chance"]),
    ]


def comparison_cells(row: Mapping[str, Any]) -> list[str]:
    """Two methods beside each other, in words: fusion, baseline, kind, difference, interval."""
    names = [row["fusion"], row["baseline"], row["baseline_kind"]]
    return [*names, points(row["difference"]), interval(row["low"], row["high"])]


def lacking_cells(row: Mapping[str, Any]) -> list[str]:
    """One method on the clips that lack the same, in words, as `LACKING`."""
    counts = [f"{row[key]:,}" for key in ("clips", "subjects", "unseen")]
    return [row["method"], row["lacks"], *counts, percent(row["accuracy"])]


def claim_cells(row: Mapping[str, Any]) -> list[str]:
    """One claim in words: claim, fusion, against, effect, interval, verdict."""
    effect = [points(row["effect"]), interval(row["low"], row["high"])]
    return [row["claim"], row["fusion"], row["against"], *effect, row["verdict"]]


def latex_tables(run: RunFacts, tables: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """Every table that has rows as LaTeX, by name; shares in percent, differences in points.

    Confusion by subject has none: it is hundreds of lines.
    """

    def rows(name: str, cells: Callable[[dict[str, Any]], list[str]]) -> list[list[str]]:
        return [cells(row) for row in tables[name].iter_rows(named=True)]

    listed = {
        "table": (MAIN, rows("table", partial(main_cells, run)), 3),
        "table1": (paper.header(tables["table1"]), rows("table1", paper.cells), 3),
        "table2": (paper.header(tables["table2"]), rows("table2", paper.cells), 3),
        "contrasts": (CONTRASTS, rows("contrasts", contrast_cells), 2),
        "comparisons": (COMPARISONS, rows("comparisons", comparison_cells), 3),
        "mistakes": (MISTAKES, rows("mistakes", mistake_cells), 4),
        "gains": (GAINS, rows("gains", _gain_cells), 3),
        "claims": (CLAIMS, rows("claims", claim_cells), 3),
        "widths": (WIDTHS, rows("widths", _width_cells), 1),
        "lacking": (LACKING, rows("lacking", lacking_cells) if "lacking" in tables else [], 2),
        "hands": (HANDS, rows("hands", _hand_cells) if "hands" in tables else [], 1),
    }
    if "benchmark" in tables:
        beside = tables["benchmark"]
        listed["benchmark"] = published.header(beside), published.lines(beside), 2
    pivoted = {
        "subjects": _latex_pivot(tables["subjects"], ["method"], "subject", "accuracy", percent),
        "activities": _latex_pivot(tables["activities"], ["activity"], "method", "recall", percent),
        "confusion": _latex_pivot(tables["confusion"], ["method", "activity"], "predicted", "clips", str),
    }
    return {name: tabular(*table) for name, table in listed.items() if table[1]} | pivoted


def mistake_cells(row: Mapping[str, Any]) -> list[str]:
    """One mistake in words: method, subject, activity, taken for, share of theirs, share of all others'."""
    names = [row[key] for key in ("method", "subject", "activity", "predicted")]
    return [*names, percent(row["share"]), percent(row["others"])]


def _gain_cells(row: Mapping[str, Any]) -> list[str]:
    effect = [points(row["gain"]), interval(row["low"], row["high"])]
    return [row["fusion"], row["single"], row["activity"], *effect]


def _width_cells(row: Mapping[str, Any]) -> list[str]:
    return [row["series"], str(row["embedding"]), *_accuracy_cells(row)]


def _hand_cells(row: Mapping[str, Any]) -> list[str]:
    return [row["method"], *(str(row[key]) for key in HANDS[1:4]), *_accuracy_cells(row)]


def _accuracy_cells(row: Mapping[str, Any]) -> list[str]:
    return [percent(row["accuracy"]), f"{percent(row['low'])} to {percent(row['high'])}"]


def _latex_pivot(
    table: pl.DataFrame, rows: Sequence[str], columns: str, values: str, written: Callable[[Any], str]
) -> str:
    """A long table as LaTeX, `columns` side by side."""
    wide = table.pivot(on=columns, index=rows, values=values, maintain_order=True)
    cells = [[*row[: len(rows)], *map(written, row[len(rows) :])] for row in wide.iter_rows()]
    return tabular(wide.columns, cells, len(rows))


def escaped(text: str) -> str:
    """`text` on one line, with the characters that Markdown would take for its own escaped."""
    return re.sub(r"([\\`*_|<>&~\[\]])", r"\\\1", " ".join(text.split()))


def _method_facts(name: str, row: MethodFacts) -> dict[str, Any]:
    encoders = {modality: origin_of(origin) for modality, origin in row.encoders.items()}
    return {
        "method": name,
        "kind": row.kind,
        "modalities": " + ".join(row.modalities),
        "encoders": json.dumps(encoders, ensure_ascii=False) if encoders else "",
        "head": row.head,
        "parameters": row.parameters,
        "train_seconds": row.train_seconds / row.jobs if row.jobs else None,
    }


def _describe_modalities(row: MethodFacts) -> str:
    """Modalities, with a word on encoders that another method has trained: "depth (frozen) + inertial"."""
    ways = {m: training_of(row.encoders[m]) for m in row.modalities if m in row.encoders}
    ways = {m: way for m, way in ways.items() if way}
    if set(ways) == set(row.modalities) and len(set(ways.values())) == 1:
        return f"{' + '.join(row.modalities)} ({ways[row.modalities[0]]})"
    return " + ".join(f"{m} ({ways[m]})" if m in ways else m for m in row.modalities)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 3) -> list[str]:
    """A Markdown table; the first `texts` columns are left-aligned, the others right."""
    ruler = ["---" if i < texts else "---:" for i in range(len(header))]
    body = [[escaped(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in (header, ruler, *body)]
