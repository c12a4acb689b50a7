"""The page: one self-contained HTML file of everything a study says."""

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from plait.analysis import calibration, missing_hands
from plait.analysis.choice import Choice, choose, independent
from plait.analysis.claims import gains, paper_claims, singles_of, widths
from plait.analysis.compare import decide, describe
from plait.analysis.metrics import ROUNDING, by_epoch, first_best
from plait.analysis.persons import hardest
from plait.config import known_of
from plait.errors import DataError
from plait.names import natural
from plait.report import captions, continuous, paper, published, robustness, tables, timelines
from plait.report.curves import calibration_plot, hands_plot, learning_plot, width_plot
from plait.report.drawing import COLOUR_OF, COLOURS, GLYPH, WIDTHS_IN, for_page
from plait.report.figures import accuracy_plot, contrast_plot, forest_plot, gain_plot
from plait.report.glance import glance
from plait.report.rows import about, read_settings
from plait.report.sheet import SHEET
from plait.results import CASES, RunFacts
from plait.store import read_json

Drawing = Callable[..., Figure]
LIMIT, MARGIN = 40_000_000, 1000  # bytes of a page; what its words may grow by when films come in


@dataclass(frozen=True)
class Report:
    """A run and every table of its report, each by the function that makes it.

    Args:
        run: What `run.json` says.
        main: `tables.main_table`.
        table1: `paper.table_1`.
        table2: `paper.table_2`.
        contrasts: `compare.decide`.
        comparisons: `compare.describe`.
        subjects: `tables.subject_table`.
        activities: `tables.activity_table`.
        confusion: `tables.confusion_table`.
        subject_confusion: `tables.subject_confusion_table`.
        mistakes: `tables.mistake_table`.
        gains: `claims.gains`.
        widths: `claims.widths`.
        claims: `claims.paper_claims`, then `missing_hands.visibility_claims` where hands were counted.
        hands: `missing_hands.missing_hands`; empty where nobody counted.
        lacking: `tables.lacking_table`; empty where no clip lacks anything.
        benchmark: `benchmark.benchmark`; empty where the data set names no metrics.
        reliability: `calibration.reliability`.
        coverage: `calibration.coverage`.
        learning: `metrics.by_epoch`; empty where nobody kept the jobs.
        seen: In how many clips detected and true counts of hands agree, of how many where the truth is known.
        chance: `robustness.by_chance`.
        choice: the fusion that figures and page show, which Table 2 names.
        independent: `choice.independent`: its accuracy, were it chosen without a look at who is tested.
    """

    run: RunFacts
    main: pl.DataFrame
    table1: pl.DataFrame
    table2: pl.DataFrame
    contrasts: pl.DataFrame
    comparisons: pl.DataFrame
    subjects: pl.DataFrame
    activities: pl.DataFrame
    confusion: pl.DataFrame
    subject_confusion: pl.DataFrame
    mistakes: pl.DataFrame
    gains: pl.DataFrame
    widths: pl.DataFrame
    claims: pl.DataFrame
    hands: pl.DataFrame
    lacking: pl.DataFrame
    benchmark: pl.DataFrame
    reliability: pl.DataFrame
    coverage: pl.DataFrame
    learning: pl.DataFrame
    seen: tuple[int, int]
    chance: float
    choice: Choice | None
    independent: float | None

    @classmethod
    def of(
        cls,
        run: RunFacts,
        predictions: pl.DataFrame,
        validation: pl.DataFrame | None = None,
        hands: pl.DataFrame | None = None,
        histories: pl.DataFrame | None = None,
        lacking: pl.DataFrame | None = None,
        benchmark: pl.DataFrame | None = None,
    ) -> "Report":
        """The report of a run.

        Args:
            run: What `run.json` says.
            predictions: Of test clips.
            validation: Predictions of validation clips, which choose a fusion and do nothing else.
            hands: The hands that were detected in the test clips, a row per clip.
            histories: `results.read_histories`.
            lacking: `results.read_lacking`.
            benchmark: `benchmark.read_benchmark`.
        """
        gained = gains(run.methods, predictions, run.activities)
        choice = choose(run.dataset, run.methods, run.modalities, validation)
        claims = paper_claims(run.methods, predictions, gained)
        missing, seen = pl.DataFrame(schema=missing_hands.SCHEMA), (0, 0)
        if hands is not None:
            missing = missing_hands.missing_hands(run.methods, predictions, hands)
            claims = pl.concat([claims, missing_hands.visibility_claims(run.methods, predictions, hands)])
            seen = missing_hands.agreement(hands)
        return cls(
            run=run,
            main=tables.main_table(run, predictions),
            table1=paper.table_1(run, predictions, benchmark),
            table2=paper.table_2(run, predictions, validation, benchmark),
            contrasts=decide(predictions, run.comparisons),
            comparisons=describe(predictions, run.methods),
            subjects=tables.subject_table(run, predictions),
            activities=tables.activity_table(run, predictions),
            confusion=tables.confusion_table(run, predictions),
            subject_confusion=tables.subject_confusion_table(run, predictions),
            mistakes=tables.mistake_table(run, predictions),
            gains=gained,
            widths=widths(run.methods, predictions),
            claims=claims,
            hands=missing,
            lacking=tables.lacking_table(run, predictions, lacking),
            benchmark=pl.DataFrame() if benchmark is None else benchmark,
            reliability=calibration.reliability(predictions, run.activities),
            coverage=calibration.coverage(predictions, run.activities),
            learning=pl.DataFrame() if histories is None else by_epoch(histories),
            seen=seen,
            chance=robustness.by_chance(predictions),
            choice=choice,
            independent=independent(run.dataset, run.methods, run.modalities, predictions, validation),
        )

    def tables(self) -> dict[str, pl.DataFrame]:
        """Every table by the name of its file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        frames = {name: value for name, value in values.items() if isinstance(value, pl.DataFrame)}
        if self.hands.is_empty():  # nobody looked for hands
            frames.pop("hands")
        if self.lacking.is_empty():
            frames.pop("lacking")
        if self.benchmark.is_empty():
            frames.pop("benchmark")
        if self.learning.is_empty():  # nobody kept the jobs
            frames.pop("learning")
        return {"table": frames.pop("main"), **frames}

    def figures(self) -> dict[str, Drawing]:
        """How to draw each figure that this run has, by the name of its file, at a width in inches."""
        known = known_of(self.run.protocol)
        drawings: dict[str, Drawing] = {"accuracy": partial(accuracy_plot, self.main, self.subjects, known)}
        if not self.contrasts["difference"].drop_nulls().is_empty():
            drawings["contrasts"] = partial(contrast_plot, self.contrasts, self.run.comparisons.margin)
        if not self.comparisons.is_empty():
            drawings["comparisons"] = partial(forest_plot, self.comparisons)
        if self.choice and not self.gains.filter(pl.col("fusion") == self.choice.method).is_empty():
            drawings["gains"] = partial(gain_plot, self.gains, self.choice.method)
        if not self.widths.is_empty():
            singles = singles_of(self.run.methods, self.widths["method"][0])
            drawings["widths"] = partial(width_plot, self.widths, self.subjects, singles)
        if not self.reliability.is_empty():
            drawings["calibration"] = partial(
                calibration_plot, self.reliability, self.coverage, self.main, self.leaders()
            )
        if not self.learning.is_empty():
            drawings["learning"] = partial(learning_plot, self.learning, self.main)
        if not self.hands.is_empty():
            drawings["hands"] = partial(hands_plot, self.hands, self.main, self.leaders())
        return drawings

    def leaders(self) -> list[str]:
        """The methods that stand out: the fusion that Table 2 names, two singles of it, the concatenation.

        Without a fusion the first single of each of two modalities, and the most accurate late fusion.
        """
        if self.choice is None:
            singles = self.main.filter(pl.col("kind") == "single")
            firsts = singles.unique("modalities", keep="first", maintain_order=True)["method"].head(2)
            late = self.best(*tables.GROUPS[tables.COMBINED])
            return [*firsts, *([late["method"]] if late else [])]
        methods, fusion = self.run.methods, self.choice.method
        average, concat = paper.baselines(methods, methods[fusion].modalities)
        return [name for name in (*singles_of(methods, fusion)[:2], concat or average, fusion) if name]

    def best(self, *kinds: str) -> dict[str, Any] | None:
        """The most accurate row of these kinds in the main table (ties: the first), sweeps left out."""
        swept = [name for name, row in self.run.methods.items() if row.sweep]
        rows = self.main.filter(pl.col("kind").is_in(kinds) & ~pl.col("method").is_in(swept))
        if rows.is_empty():
            return None
        best = first_best(rows["method"].to_list(), dict(rows.select("method", "accuracy").iter_rows()))
        return rows.row(by_predicate=pl.col("method") == best, named=True)


def render(
    report: Report,
    folder: Path | None = None,
    limit: int = LIMIT,
    wide: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The page as HTML; it loads nothing, so that it opens from disk.

    From `folder` come timelines, the contact sheet and the cases with their films. As many films as fit into
    a page of `limit` bytes are part of it; the page plays the others as long as it lies beside them. `wide`
    has figures that have been drawn at that width, by name, as `drawing.to_svg` makes them.

    Raises:
        DataError: `cases.json` or a prediction in `timelines` cannot be read, or a film is missing.
    """
    sheet, cases = _sheet_and_cases(folder)
    run, main, choice = report.run, report.main, report.choice
    recordings, late = (
        timelines.shown(folder, _who_took_part(report), run.methods),
        report.best(*tables.GROUPS[tables.COMBINED]),
    )
    context = dict(  # noqa: C408 - as the arguments that they are
        run=run,
        captions=captions,
        colours=COLOURS,
        colour_of=COLOUR_OF,
        glyphs=GLYPH,
        about=about(run, read_settings(folder)),
        groups=_main_groups(run, main),
        main_rows=len(main),
        best_single=report.best("single"),
        shown=main.row(by_predicate=pl.col("method") == choice.method, named=True) if choice else None,
        how=choice.how if choice else None,
        independent=report.independent,
        best_combined=late,
        size={key: int(main.select(pl.col(key).max()).item()) for key in ("folds", "subjects", "clips")},
        contrasts=[tables.contrast_cells(row) for row in report.contrasts.iter_rows(named=True)],
        contrast_heads=tables.CONTRASTS,
        decided=captions.decided(run.comparisons, report.contrasts),
        verdicts=Counter(report.contrasts["verdict"].to_list()),
        timelines=recordings,
        continuous=continuous.rows(folder),
        continuous_heads=continuous.HEADS,
        comparisons=_cells_by("fusion", report.comparisons, tables.comparison_cells),
        claims=_cells_by("fusion", report.claims, tables.claim_cells),
        heat=_heat_map(main, report.subjects),
        hard=_hard_people(report),
        paper_tables=[
            (paper.header(table), _cells_by("part", table, lambda row: paper.cells(row)[1:]))
            for table in (report.table1, report.table2)
        ],
        printed="paper" in report.table1,
        figures={
            name: {
                key: for_page(wide[name] if key == "wide" and name in wide else draw(width_in=width))
                for key, width in WIDTHS_IN.items()
            }
            for name, draw in report.figures().items()
        },
        scored=[tables.score_cells(row) for row in main.iter_rows(named=True)],
        seen=report.seen,
        validated=not report.learning.is_empty() and report.learning["val_loss"].count() > 0,
        sheet=sheet,
        cases=cases,
        glance=glance(
            run,
            choice,
            singles_of(run.methods, choice.method) if choice else (),
            late["method"] if late else None,
            main,
            report.subjects,
            report.comparisons,
            report.contrasts,
            cases,
            recordings,
            folder,
        ),
        lacking=_cells_by("method", report.lacking, tables.lacking_cells),
        lacking_heads=tables.LACKING,
        beside=published.rows(report.benchmark),
        beside_heads=published.header(report.benchmark),
        faults=robustness.shown(folder, run, choice, report.chance),
        reliance_heads=robustness.RELIANCE,
        notes=captions.notes(
            run, main, report.contrasts, report.comparisons, report.lacking, tables.unshown(report.activities)
        ),
        data=_script_data(report),
    )
    template = _environment().get_template("page.html.j2")
    wanted = [film["file"] for case in cases["cases"] for film in case["films"]] if cases else []
    context |= {"films": {}, "films_in_all": len(wanted)}
    if folder is not None and wanted:
        left = limit - len(template.render(**context).encode()) - MARGIN
        context["films"] = _films_that_fit(folder, wanted, left)
    return template.render(**context)


@cache
def _environment() -> Environment:
    """Which keeps its templates, that take longer to read than to fill in."""
    return Environment(
        loader=PackageLoader("plait.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _who_took_part(report: Report) -> set[str]:
    """Everybody who trained, validated or was tested: those who were tested, or whom a split names."""
    named = [report.run.protocol.get(part) or () for part in ("train", "val", "test")]
    return {*report.subjects["subject"], *(name for names in named for name in names)}


def _sheet_and_cases(folder: Path | None) -> tuple[str | None, Any]:
    """The contact sheet in base 64 and the cases in a run's folder, each None where there is none."""
    if folder is None:
        return None, None
    sheet, path = folder / SHEET, folder / CASES
    cases = read_json(path) if path.is_file() else None
    if cases is not None and "counts" not in cases:
        raise DataError(f"{path}: of an earlier version; remove it, or run the study again")
    return base64.b64encode(sheet.read_bytes()).decode() if sheet.is_file() else None, cases


def _films_that_fit(folder: Path, files: Sequence[str], left: int) -> dict[str, str]:
    """The first of a run's films whose `data:` addresses take no more than `left` bytes together."""
    addresses: dict[str, str] = {}
    for file in files:
        try:
            address = "data:video/mp4;base64," + base64.b64encode((folder / file).read_bytes()).decode()
        except OSError as error:
            raise DataError(
                f"{folder / file}: cannot be read; remove {CASES} and run the study again"
            ) from error
        left -= len(address) + len(file) + len('"": "", ')
        if left < 0:
            break
        addresses[file] = address
    return addresses


def _main_groups(run: RunFacts, main: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of the main table by group; numbers as printed, and whether they are their column's best."""
    trained = main.filter(pl.col("train_seconds").is_not_null() & (pl.col("kind") != "stack"))
    best = {
        "accuracy": main["accuracy"].max(),
        "subject_sd": main["subject_sd"].min(),
        "macro_f1": main["macro_f1"].max(),
        "parameters": trained["parameters"].min(),
        "train_seconds": trained["train_seconds"].min(),
    }
    groups, numbered = [], main.with_row_index("number")
    for title, kinds in tables.GROUPS.items():
        rows = []
        for row in numbered.filter(pl.col("kind").is_in(kinds)).iter_rows(named=True):
            name, modalities, head, *printed = tables.main_cells(run, row)
            marked = [
                len(main) > 1 and None not in (row[key], top) and abs(row[key] - top) <= ROUNDING
                for key, top in best.items()
            ]
            cells = list(zip(printed, marked, strict=True))
            texts = {"number": row["number"], "name": name, "modalities": modalities, "head": head}
            rows.append({**texts, "scores": cells[:3], "costs": cells[3:]})
        if rows:
            groups.append({"title": title, "kind": kinds[0], "rows": rows})
    return groups


def _cells_by(
    column: str, table: pl.DataFrame, cells: Callable[[dict[str, Any]], list[str]]
) -> dict[str, list[list[str]]]:
    """The `cells` of each row, grouped by what `column` holds, in the order of the table."""
    groups: dict[str, list[list[str]]] = {}
    for row in table.iter_rows(named=True):
        groups.setdefault(row[column], []).append(cells(row))
    return groups


def _heat_map(main: pl.DataFrame, subjects: pl.DataFrame) -> dict[str, Any]:
    """Accuracy per method and subject with a shade from 0 (lowest of all) to 1 (highest)."""
    measured = subjects["accuracy"].drop_nulls()
    low, high = float(measured.min()), float(measured.max())  # type: ignore[arg-type]

    def shade(accuracy: float | None) -> float | None:
        if accuracy is None:
            return None
        return (accuracy - low) / (high - low) if high > low else 0.5

    rows = []
    for method in main["method"]:
        accuracies = subjects.filter(pl.col("method") == method)["accuracy"]
        rows.append((method, [(captions.percent(a), shade(a)) for a in accuracies]))
    of = subjects.partition_by("subject", as_dict=True, maintain_order=True)
    names = [name for (name,) in of]
    means = [captions.percent(rows["accuracy"].mean()) for rows in of.values()]  # type: ignore[arg-type]
    return {
        "subjects": names,
        "rows": rows,
        "means": means,
        "low": captions.percent(low),
        "high": captions.percent(high),
    }


def _hard_people(report: Report) -> dict[str, Any]:
    """The hardest people for the shown fusion, or else the best method, and what is said of them."""
    if report.choice:
        name = report.choice.method
    elif best := report.best(*report.main["kind"].unique()):
        name = best["method"]
    else:
        name = report.main["method"][0]
    singles = report.gains.filter(pl.col("fusion") == name)["single"].unique(maintain_order=True).to_list()
    people = []
    for subject in hardest(report.subjects, name):
        rows = report.subjects.filter(pl.col("subject") == subject).iter_rows(named=True)
        row_of = {row["method"]: row for row in rows}
        wrong = report.mistakes.filter(pl.col("method") == name, pl.col("subject") == subject)
        alone = [row_of[single] for single in singles]
        people.append(
            {"subject": subject, "own": row_of[name], "singles": alone, "mistakes": wrong.to_dicts()}
        )
    return {"method": name, "people": people}


def _script_data(report: Report) -> dict[str, Any]:
    """What the page's script draws, by method in the table's order: recall by activity, confusion by person.

    `confusion` holds, for each method, `[person, activity, taken for, clips]` in numbers.
    """
    run, main, activities = report.run, report.main, report.activities
    methods = main["method"].to_list()
    people = sorted(set(report.subjects["subject"]), key=natural)
    person = {name: i for i, name in enumerate(people)}
    place = {name: i for i, name in enumerate(run.activities)}
    confusion: dict[str, list[list[int]]] = {method: [] for method in methods}
    for method, subject, activity, predicted, clips in report.subject_confusion.iter_rows():
        confusion[method].append([person[subject], place[activity], place[predicted], clips])
    return {
        "activities": list(run.activities),
        "methods": methods,
        "people": people,
        "kinds": main["kind"].to_list(),
        "swept": [bool(run.methods[name].sweep) for name in methods],
        "accuracy": main["accuracy"].to_list(),
        "chosen": methods.index(report.choice.method) if report.choice else -1,
        "clips": activities.filter(pl.col("method") == methods[0])["clips"].to_list(),
        "recall": [activities.filter(pl.col("method") == method)["recall"].to_list() for method in methods],
        "confusion": list(confusion.values()),
    }
