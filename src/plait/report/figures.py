"""The figures of a report: drawn once by matplotlib, for papers as they are, for pages in light and dark."""

from typing import Any

import matplotlib as mpl
import polars as pl
from matplotlib.figure import Figure

from plait.report.canvas import (
    COLOUR_OF,
    COLOURS,
    MARKER,
    WIDTHS_IN,
    canvas,
    listed_lines,
    number,
    rows_of,
    style,
)
from plait.report.tables import GROUPS
from plait.report.words import percent, points


def accuracy_plot(main: pl.DataFrame, subjects: pl.DataFrame, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Accuracy of every method: a small mark per subject, at the same height in every row, a large one for the mean.

    `main` is `tables.main_table`, `subjects` is `tables.subject_table`.
    """
    grouped = {title: main.filter(pl.col("kind").is_in(kinds)) for title, kinds in GROUPS.items()}
    lines = listed_lines({title: rows["method"].to_list() for title, rows in grouped.items() if not rows.is_empty()})
    with mpl.rc_context(style()):
        figure, axes = canvas(lines, width_in, row_in=0.26)
        best = main["accuracy"].max()
        for line, row in zip(rows_of(lines), pl.concat(grouped.values()).iter_rows(named=True), strict=True):
            own = subjects.filter(pl.col("method") == row["method"])["accuracy"].drop_nulls().to_list()
            colour, marker, mean = COLOURS[COLOUR_OF[row["kind"]]][0], MARKER[row["kind"]], 100 * row["accuracy"]
            heights = [line.y + 0.3 * (2 * (i + 0.5) / len(own) - 1) for i in range(len(own))]
            axes.scatter([100 * a for a in own], heights, s=11, c=colour, alpha=0.55, linewidths=0, clip_on=False)
            edge = COLOURS["surface"][0]
            axes.scatter(mean, line.y, s=46, c=colour, marker=marker, edgecolors=edge, linewidths=1, clip_on=False)
            weight = "bold" if row["accuracy"] == best else "normal"
            number(axes, line.y, percent(row["accuracy"]), weight)
        every = [100 * a for a in (*subjects["accuracy"].drop_nulls(), *main["accuracy"])]
        low, high = max(0, 10 * ((min(every) - 1) // 10)), min(100, 10 * -(-(max(every) + 1) // 10))
        axes.set_xlim(low, high)
        axes.set_xlabel("accuracy on people not seen in training, %\nsmall: one person, large: mean")
        return figure


def forest_plot(comparisons: pl.DataFrame, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Every planned comparison: mean difference with its 95 % interval; filled where the verdict is better or worse."""
    groups: dict[str, list[str]] = {}
    for row in comparisons.iter_rows(named=True):
        plain = row["baseline"] == row["baseline_kind"] or width_in < WIDTHS_IN["wide"]
        label = row["baseline"] if plain else f"{row['baseline']} ({row['baseline_kind']})"
        groups.setdefault(row["fusion"], []).append(label)
    lines = listed_lines(groups)
    with mpl.rc_context(style()):
        figure, axes = canvas(lines, width_in, row_in=0.22)
        axes.axvline(0, color=COLOURS["muted"][0], linewidth=1.2)
        ink = COLOURS["fusion"][0]
        for line, row in zip(rows_of(lines), comparisons.iter_rows(named=True), strict=True):
            if row["low"] is not None:
                axes.hlines(line.y, 100 * row["low"], 100 * row["high"], color=ink, linewidth=1.6)
            fill = ink if row["verdict"] in ("better", "worse") else COLOURS["surface"][0]
            axes.scatter(100 * row["difference"], line.y, s=30, marker="D", c=fill, edgecolors=ink, zorder=3)
            number(axes, line.y, points(row["difference"]))
        ends = [
            100 * x for x in (*comparisons["difference"], *comparisons["low"], *comparisons["high"]) if x is not None
        ]
        low, high = min(ends), max(ends)
        air = 0.06 * max(high - low, high, -low, 0.1)
        axes.set_xlim(min(low, -3 * air) - air, max(high, 3 * air) + air)
        axes.set_xlabel("\ndifference in accuracy, points")
        under: Any = {
            "xycoords": "axes fraction",
            "textcoords": "offset points",
            "va": "top",
            "color": COLOURS["muted"][0],
        }
        axes.annotate("← baseline better", (0, 0), (0, -17), ha="left", **under)
        axes.annotate("fusion better →", (1, 0), (0, -17), ha="right", **under)
        return figure
