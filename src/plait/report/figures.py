"""The figures of a report: drawn once by matplotlib, for papers as they are, for pages in light and dark."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from plait.analysis.across import DESCRIBED_ONLY
from plait.analysis.metrics import ROUNDING
from plait.config import UNKNOWN
from plait.report.captions import percent, points
from plait.report.drawing import (
    BESIDE_IN,
    COLOUR_OF,
    COLOURS,
    MARKER,
    WIDTHS_IN,
    canvas,
    listed_lines,
    name_axis,
    number,
    rows_of,
    short,
    style,
)
from plait.report.tables import GROUPS


def accuracy_plot(
    main: pl.DataFrame, subjects: pl.DataFrame, known: str = UNKNOWN, width_in: float = WIDTHS_IN["wide"]
) -> Figure:
    """Accuracy of every method: a small mark per subject, at one height in every row, a large one the mean.

    That is the table's, over folds, which are people unless several are tested together.

    `main` is `tables.main_table`, `subjects` is `tables.subject_table`; `known` is what networks know of who
    is tested, as `config.known_of` says it.
    """
    grouped = {title: main.filter(pl.col("kind").is_in(kinds)) for title, kinds in GROUPS.items()}
    names = {title: rows["method"].to_list() for title, rows in grouped.items() if not rows.is_empty()}
    lines = listed_lines(names)
    with mpl.rc_context(style()):
        figure, axes = canvas(lines, width_in, row_in=0.26, stacks=True)
        best = max(main["accuracy"])
        for line, row in zip(rows_of(lines), pl.concat(grouped.values()).iter_rows(named=True), strict=True):
            rows = subjects.filter(pl.col("method") == row["method"])
            shares, mean = rows["accuracy"].drop_nulls().to_list(), row["accuracy"]
            n, marker, edge = len(shares), MARKER[row["kind"]], COLOURS["surface"][0]
            heights = [line.y + 0.3 * (2 * (i + 0.5) / n - 1) for i in range(n)]
            mark: Any = {"c": COLOURS[COLOUR_OF[row["kind"]]][0], "clip_on": False}
            axes.scatter([100 * a for a in shares], heights, s=11, alpha=0.55, linewidths=0, **mark)
            axes.scatter(100 * mean, line.y, s=46, marker=marker, edgecolors=edge, linewidths=1, **mark)
            number(axes, line.y, percent(mean), "bold" if mean >= best - ROUNDING else "normal")
        percents = [100 * a for a in (*subjects["accuracy"].drop_nulls(), *main["accuracy"])]
        low, high = max(0, 10 * ((min(percents) - 1) // 10)), min(100, 10 * -(-(max(percents) + 1) // 10))
        axes.set_xlim(low, high)
        folds, people = (max(main[key], default=0) for key in ("folds", "subjects"))
        large = "mean" if folds == people else "mean over folds"
        name_axis(axes, width_in, f"accuracy on people {known}, %\nsmall: one person, large: {large}")
        return figure


class Interval(NamedTuple):
    """A difference in shares with its 95 % interval.

    Args:
        label: What stands on the left of its line.
        difference: Between two shares of clips, from -1 to 1.
        low: Lower end of the interval; None where there is none.
        high: Upper end.
        told: Whether it is more than chance: its mark is filled.
    """

    label: str
    difference: float
    low: float | None
    high: float | None
    told: bool


def forest_plot(comparisons: pl.DataFrame, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Every fusion beside simpler methods: mean difference with its 95 % interval; `compare.describe`."""
    groups: dict[str, list[Interval]] = {}
    for row in comparisons.iter_rows(named=True):
        plain = row["baseline"] == row["baseline_kind"] or width_in < WIDTHS_IN["wide"]
        label = row["baseline"] if plain else f"{row['baseline']} ({row['baseline_kind']})"
        interval = Interval(label, row["difference"], row["low"], row["high"], False)
        groups.setdefault(row["fusion"], []).append(interval)
    return _draw_forest(
        groups, width_in, "difference in accuracy, points", "baseline better", "fusion better"
    )


def contrast_plot(
    contrasts: pl.DataFrame, margin: float | None, width_in: float = WIDTHS_IN["wide"]
) -> Figure:
    """Every planned contrast that was run, with its interval, filled where it was tested and decided.

    Args:
        contrasts: `compare.decide`, or `across.over_datasets`.
        margin: of equivalence, a band about zero.
        width_in: of the figure, in inches.
    """
    groups: dict[str, list[Interval]] = {}
    for row in contrasts.drop_nulls("difference").iter_rows(named=True):
        told = row["verdict"] not in ("undecided", DESCRIBED_ONLY)
        interval = Interval(row["baseline"], row["difference"], row["low"], row["high"], told)
        groups.setdefault(f"{row['method']} against", []).append(interval)
    return _draw_forest(
        groups, width_in, "difference in accuracy, points", "baseline better", "method better", margin
    )


def gain_plot(gains: pl.DataFrame, fusion: str, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Fig. 6: what `fusion` gains over each of its single modalities, by activity; `gains` is `claims.gains`.

    Filled where the interval does not hold zero. Up to three singles stand side by side, or on one line.
    """
    groups: dict[str, list[Interval]] = {}
    for row in gains.filter(pl.col("fusion") == fusion).iter_rows(named=True):
        clear = row["low"] is not None and not row["low"] <= 0 <= row["high"]
        interval = Interval(row["activity"], row["gain"], row["low"], row["high"], clear)
        groups.setdefault(row["single"], []).append(interval)
    axis, ends = "difference in recall, points", ("single better", "fusion better")
    alike = len({tuple(row.label for row in rows) for rows in groups.values()}) == 1
    if alike and 1 < len(groups) <= 3:
        draw = _draw_side_by_side if width_in >= WIDTHS_IN["wide"] else _draw_together
        return draw(groups, width_in, f"{fusion} against", axis, *ends)
    named = {f"{fusion} against {single}": rows for single, rows in groups.items()}
    return _draw_forest(named, width_in, axis, *ends)


def _draw_forest(
    groups: Mapping[str, Sequence[Interval]],
    width_in: float,
    axis: str,
    left: str,
    right: str,
    margin: float | None = None,
) -> Figure:
    """Differences about zero, one line each, under the headings of their groups."""
    lines = listed_lines({title: [row.label for row in rows] for title, rows in groups.items()})
    intervals = [row for rows in groups.values() for row in rows]
    with mpl.rc_context(style()):
        figure, axes = canvas(lines, width_in, row_in=0.22, stacks=True)
        if margin:
            axes.axvspan(-100 * margin, 100 * margin, color=COLOURS["muted"][0], alpha=0.13, linewidth=0)
        _draw_intervals(axes, [line.y for line in rows_of(lines)], intervals, intervals)
        name_axis(axes, width_in, axis, f"← {left}", f"{right} →")
        return figure


def _draw_side_by_side(
    groups: Mapping[str, Sequence[Interval]], width_in: float, title: str, axis: str, left: str, right: str
) -> Figure:
    """Differences about zero: a line for each label, which all groups share, a column for each group."""
    lines = listed_lines({title: [row.label for row in next(iter(groups.values()))]})
    every = [row for rows in groups.values() for row in rows]
    with mpl.rc_context(style()):
        figure, whole = canvas(lines, width_in, row_in=0.22)
        whole.set_axis_off()
        box, beside = whole.get_position(), BESIDE_IN / width_in
        step = (box.width + beside) / len(groups)
        for number, (name, rows) in enumerate(groups.items()):
            axes = figure.add_axes((box.x0 + number * step, box.y0, step - beside - 0.015, box.height))
            axes.set_ylim(whole.get_ylim())
            axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
            _draw_intervals(axes, [line.y for line in rows_of(lines)], rows, every)
            axes.text(0, 0, short(name, 20), transform=axes.get_yaxis_transform(), va="center", weight="bold")
        name_axis(whole, width_in, axis, f"← {left}", f"{right} →")
        return figure


def _draw_together(
    groups: Mapping[str, Sequence[Interval]], width_in: float, title: str, axis: str, left: str, right: str
) -> Figure:
    """Differences about zero: a line for each label, which all groups share, on it a shape for each group."""
    lines = listed_lines({title: [], "": [row.label for row in next(iter(groups.values()))]})
    every = [row for rows in groups.values() for row in rows]
    with mpl.rc_context(style()):
        figure, axes = canvas(lines, width_in, row_in=0.36)
        heights = [line.y for line in rows_of(lines)]
        box, (bottom, top) = axes.get_position(), axes.get_ylim()
        first = heights[0] - 0.7  # the axes begin below the legend
        tall = box.height * (bottom - first) / (bottom - top)
        axes.set_position((box.x0, box.y0, 0.97 - box.x0, tall))
        axes.set_ylim(bottom, first)
        legend: list[Line2D] = []
        for place, (name, rows) in enumerate(groups.items()):
            at = [y + 0.26 * (place - (len(groups) - 1) / 2) for y in heights]
            shape, ink = "os^"[place], COLOURS["fusion"][0]
            _draw_intervals(axes, at, rows, every, shape)
            legend.append(
                Line2D([], [], linestyle="", color=ink, marker=shape, label=short(name, 36 // len(groups)))
            )
        above: Any = {"loc": "lower left", "bbox_to_anchor": (-0.02, box.y0 + tall)}
        figure.legend(handles=legend, ncols=3, frameon=False, columnspacing=1, handletextpad=0.1, **above)
        name_axis(axes, width_in, axis, f"← {left}", f"{right} →")
        return figure


def _draw_intervals(
    axes: Axes,
    heights: Sequence[float],
    intervals: Sequence[Interval],
    every: Sequence[Interval],
    shape: str | None = None,
) -> None:
    """Differences, each at its height, on an axis that is wide enough for `every` one.

    With a `shape` of their own they are small, and their numbers are not written.
    """
    ink = COLOURS["fusion"][0]
    axes.axvline(0, color=COLOURS["muted"][0], linewidth=1.2)
    for y, (_, difference, low, high, clear) in zip(heights, intervals, strict=True):
        if low is not None and high is not None:
            axes.hlines(y, 100 * low, 100 * high, color=ink, linewidth=1.6)
        fill = ink if clear else COLOURS["surface"][0]
        look: Any = {"marker": shape or "D", "s": 17 if shape else 30}
        axes.scatter(100 * difference, y, c=fill, edgecolors=ink, zorder=3, **look)
        if shape is None:
            number(axes, y, points(difference))
    ends = [100 * x for row in every for x in (row.difference, row.low, row.high) if x is not None]
    left_end, right_end = max(min(ends), -100), min(max(ends), 100)  # wider intervals run out of the axes
    air = 0.06 * max(right_end - left_end, right_end, -left_end, 0.1)
    axes.set_xlim(min(left_end, -3 * air) - air, max(right_end, 3 * air) + air)
