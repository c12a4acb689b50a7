"""What faults cost a run's methods: tables and a picture of each fault, as files and on the run's page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plait.analysis import metrics
from plait.analysis import robustness as analysis
from plait.analysis.choice import Choice, choose
from plait.analysis.claims import singles_of
from plait.errors import DataError
from plait.report import paper
from plait.report.captions import interval, percent, points
from plait.report.curves import CURVES
from plait.report.drawing import COLOUR_OF, COLOURS, MARKER, WIDTHS_IN, for_page, short, style, write_figure
from plait.report.tables import escaped, markdown_table
from plait.results import ROBUSTNESS, Results, RunFacts, read_people
from plait.store import write_csv, write_text

RELIANCE = (
    "method",
    "without",
    "accuracy %",
    "without it %",
    "difference, points",
    "95 % interval",
    "mean stands in %",
)
KEPT = ("relative", "absolute", "area")
SUMMARY = ("fault", "modality", "method", "clean %", "worst %", *KEPT)
COLUMNS = {"wide": 3, "narrow": 1}  # panels in a row
PANEL_IN, ABOVE_IN, BELOW_IN = {"wide": 1.9, "narrow": 1.7}, 0.5, 0.55


class Faults(NamedTuple):
    """What a page shows: pictures by fault and width, and what methods are without sensors, in words."""

    figures: dict[str, dict[str, str]]
    reliance: dict[str, list[list[str]]]


class Tables(NamedTuple):
    """`analysis.curves`, `analysis.robustness` and `analysis.reliance`."""

    curves: pl.DataFrame
    robustness: pl.DataFrame
    reliance: pl.DataFrame


def write_robustness(run: Path, results: Results) -> Path:
    """Write what `plait robustness` found as tables and pictures; returns the path of `robustness.md`.

    In `RUN/robustness`: `curves.csv`, `robustness.csv`, `reliance.csv`, `robustness.md`, and of each fault
    `FAULT.svg` and `.pdf`.

    Raises:
        DataError: what it found cannot be read, or the folder cannot be written.
    """
    out, facts = run / ROBUSTNESS, results.facts
    people = read_people(run, facts)
    if people is None:
        raise DataError(f"{out}: nothing of this run, expected what `plait robustness` finds")
    share = by_chance(results.predictions)
    tables = tables_of(facts, people, share)
    for name, table in tables._asdict().items():
        write_csv(out / f"{name}.csv", table)
    choice = choose(facts.dataset, facts.methods, facts.modalities, results.validation)
    stand_out = leaders(facts, choice, tables)
    faults = tables.curves["fault"].unique(maintain_order=True).to_list()
    for old in [*out.glob("*.svg"), *out.glob("*.pdf")]:
        if old.stem not in faults:  # of an earlier call
            old.unlink()
    for fault in faults:
        write_figure(fault_plot(facts, tables.curves, fault, stand_out, share), out / fault)
    write_text(out / "robustness.md", markdown(facts, tables))
    return out / "robustness.md"


def by_chance(predictions: pl.DataFrame) -> float:
    """The accuracy of saying one activity always, mean over people, as under faults."""
    return metrics.chance(predictions, "subject")[1]


def tables_of(facts: RunFacts, people: pl.DataFrame, chance: float) -> Tables:
    """The tables of what was found.

    Args:
        facts: what the run says of itself.
        people: `results.read_people`.
        chance: `by_chance`.
    """
    curved = analysis.curves(people, list(facts.methods))
    summary = analysis.robustness(curved, chance)
    return Tables(curved, summary, analysis.reliance(people, facts.methods))


def shown(run: Path | None, facts: RunFacts, choice: Choice | None, chance: float) -> Faults | None:
    """What a page shows of a run's faults; None where nobody has asked, or of a run that is another by now.

    Args:
        run: its folder.
        facts: what it says of itself.
        choice: the fusion that stands for the others.
        chance: `by_chance`.

    Raises:
        DataError: what was found cannot be read.
    """
    people = read_people(run, facts) if run is not None else None
    if people is None or people.filter(pl.col("fault") != "").is_empty():
        return None
    tables = tables_of(facts, people, chance)
    methods = leaders(facts, choice, tables)
    figures = {
        fault: {
            key: for_page(fault_plot(facts, tables.curves, fault, methods, chance, width))
            for key, width in WIDTHS_IN.items()
        }
        for fault in tables.curves["fault"].unique(maintain_order=True)
    }
    reliance: dict[str, list[list[str]]] = {}
    for row in tables.reliance.iter_rows(named=True):
        reliance.setdefault(row["method"], []).append(reliance_cells(row)[1:])
    return Faults(figures, reliance)


def leaders(facts: RunFacts, choice: Choice | None, tables: Tables) -> list[str]:
    """The methods that stand out: the fusion of Table 2, two singles of it, the concatenation or average.

    Without such a fusion the first four that were looked at.
    """
    seen = set(tables.curves["method"])
    if choice is None or choice.method not in seen:
        return [name for name in facts.methods if name in seen][:4]
    average, concat = paper.baselines(facts.methods, facts.methods[choice.method].modalities)
    alone = singles_of(facts.methods, choice.method)
    found = [*alone, concat or average, choice.method]
    return [name for name in found if name is not None and name in seen]


def fault_plot(
    facts: RunFacts,
    curved: pl.DataFrame,
    fault: str,
    leaders: Sequence[str],
    chance: float,
    width_in: float = WIDTHS_IN["wide"],
) -> Figure:
    """Accuracy by severity of one fault, a panel for each modality that it befalls.

    Args:
        facts: what the run says of itself.
        curved: `analysis.curves`.
        fault: which one.
        leaders: methods with intervals and a name; others are thin.
        chance: `by_chance`, a line.
        width_in: of the figure, in inches.
    """
    rows = curved.filter(pl.col("fault") == fault)
    modalities = rows["modality"].unique(maintain_order=True).to_list()
    key = "wide" if width_in > WIDTHS_IN["narrow"] else "narrow"
    columns = min(COLUMNS[key], len(modalities)) if key == "wide" else 1
    lines = -(-len(modalities) // columns)
    height = lines * PANEL_IN[key] + (lines - 1) * 0.35 + ABOVE_IN + BELOW_IN
    if key == "narrow":
        height += 0.32
    with mpl.rc_context(style() | CURVES):
        figure = Figure(figsize=(width_in, height))
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for axes in panels[len(modalities) :]:
            axes.set_axis_off()
        drawn: dict[str, Any] = {}
        for axes, modality in zip(panels, modalities, strict=False):
            axes.axhline(100 * chance, color=COLOURS["muted"][0], linewidth=1, linestyle=(0, (1, 2)))
            _draw_panel(axes, facts, rows.filter(pl.col("modality") == modality), leaders, drawn)
            axes.set_title(
                short(modality, 30), loc="left", fontsize=8.5, color=COLOURS["muted"][0], weight="bold"
            )
            axes.set_ylim(-3, 103)
            axes.tick_params(labelleft=True)
        for axes in panels[:: columns or 1]:
            axes.set_ylabel("accuracy, %")
        top = 1 - (ABOVE_IN if key == "wide" else ABOVE_IN + 0.32) / height
        names = [name for name in leaders if name in drawn]
        figure.legend(
            [drawn[name] for name in names],
            [short(name, 26 if key == "wide" else 20) for name in names],
            loc="upper left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=4 if key == "wide" else 2,
            frameon=False,
            fontsize=8.5,
        )
        label = f"{fault}: {rows['unit'][0]}"
        figure.text(0.5, 0.05 / height, label, ha="center", va="bottom", color=COLOURS["muted"][0])
        left, right = (0.075, 0.985) if key == "wide" else (0.13, 0.97)
        figure.subplots_adjust(
            left=left, right=right, top=top, bottom=BELOW_IN / height, wspace=0.16, hspace=0.35
        )
        return figure


def _draw_panel(
    axes: Axes, facts: RunFacts, rows: pl.DataFrame, leaders: Sequence[str], drawn: dict[str, Any]
) -> None:
    """The curves of one modality; steps lie evenly, whatever their severities."""
    steps = sorted(set(rows["severity"]))
    place = {step: at for at, step in enumerate(steps)}
    for method in rows["method"].unique(maintain_order=True):
        if method not in leaders:
            curve = rows.filter(pl.col("method") == method)
            at = [place[step] for step in curve["severity"]]
            axes.plot(at, 100 * curve["accuracy"], color=COLOURS["grid"][0], linewidth=1.1)
    singles = [name for name in leaders if facts.methods[name].kind == "single"]
    for number, method in enumerate(leaders):
        curve = rows.filter(pl.col("method") == method)
        if curve.is_empty():
            continue
        kind = facts.methods[method].kind
        colour = COLOURS[COLOUR_OF[kind]][0]
        dashes: Any = "-" if method not in singles[1:] else (0, (4, 1.5 * singles.index(method)))
        apart = 0.0125 * (len(steps) - 1)
        x_of = [place[step] + apart * (number - (len(leaders) - 1) / 2) for step in curve["severity"]]
        for x, low, high in zip(x_of, curve["low"], curve["high"], strict=True):
            if low is not None:
                ends = 100 * max(low, 0), 100 * min(high, 1)
                axes.vlines(x, *ends, color=colour, linewidth=1.1, alpha=0.5)
        [drawn[method]] = axes.plot(
            x_of,
            100 * curve["accuracy"],
            color=colour,
            marker=MARKER[kind],
            markersize=4.5,
            linewidth=1.4,
            linestyle=dashes,
        )
    axes.set_xticks(range(len(steps)), [f"{step:g}" for step in steps])
    air = 0.075 * (len(steps) - 1)
    axes.set_xlim(-air, len(steps) - 1 + air)


def markdown(facts: RunFacts, tables: Tables) -> str:
    """`robustness.md`: methods without each modality, then every fault, and how both are computed."""
    lines = [f"# {escaped(facts.study)}: sensors that fail", ""]
    if not tables.reliance.is_empty():
        cells = [reliance_cells(row) for row in tables.reliance.iter_rows(named=True)]
        lines += ["## Without each sensor", "", *markdown_table(RELIANCE, cells), ""]
    cells = [summary_cells(row) for row in tables.robustness.iter_rows(named=True)]
    lines += ["## Every fault", "", *markdown_table(SUMMARY, cells), ""]
    return "\n".join([*lines, *(f"* {note}" for note in NOTES), ""])


NOTES = (
    "Accuracies are means over people, seeds averaged within a person; methods are those of the run, and "
    "nothing was trained.",
    "Relative: accuracy with the fault over that without; absolute: 1 minus what is lost (Schiappa et al., "
    "CVPR 2023); both are means over severities. Area: mean accuracy over severity, from 0 to the highest, "
    "above chance, the accuracy of saying one activity always.",
    "Without: the modality is absent, and a method that cannot do without recognises nothing; or the mean of "
    "the fold's training clips stands in. Differences have 95 % intervals by sign flips over people.",
    "Accuracy by severity, with intervals, is in curves.csv; every prediction in robustness.parquet.",
)


def reliance_cells(row: Mapping[str, Any]) -> list[str]:
    """One method without one modality, in words, as `RELIANCE`."""
    return [
        row["method"],
        row["modality"],
        percent(row["clean"]),
        percent(row["without"]),
        points(row["difference"]),
        interval(row["low"], row["high"]),
        percent(row["stand_in"]),
    ]


def summary_cells(row: Mapping[str, Any]) -> list[str]:
    """One method under one fault of one modality, in words, as `SUMMARY`."""
    kept = ["–" if row[name] is None else f"{row[name]:.3f}".replace("-", "−") for name in KEPT]
    names = [row[name] for name in SUMMARY[:3]]
    return [*names, percent(row["clean"]), percent(row["worst"]), *kept]
