"""The figures of a report: drawn once by matplotlib, for papers as they are, for pages in light and dark."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plait.report.captions import count, percent, points
from plait.report.drawing import (
    COLOUR_OF,
    COLOURS,
    MARKER,
    WIDTHS_IN,
    canvas,
    listed_lines,
    number,
    rows_of,
    short,
    style,
)
from plait.report.tables import GROUPS

# What curves need beside `style`.
CURVES: Any = {"axes.grid.axis": "y", "ytick.labelleft": True, "ytick.major.size": 0}


def accuracy_plot(main: pl.DataFrame, subjects: pl.DataFrame, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Accuracy of every method: a small mark per subject, at one height in every row, a large one the mean.

    `main` is `tables.main_table`, `subjects` is `tables.subject_table`.
    """
    grouped = {title: main.filter(pl.col("kind").is_in(kinds)) for title, kinds in GROUPS.items()}
    names = {title: rows["method"].to_list() for title, rows in grouped.items() if not rows.is_empty()}
    lines = listed_lines(names)
    with mpl.rc_context(style()):
        figure, axes = canvas(lines, width_in, row_in=0.26)
        best = main["accuracy"].max()
        for line, row in zip(rows_of(lines), pl.concat(grouped.values()).iter_rows(named=True), strict=True):
            rows = subjects.filter(pl.col("method") == row["method"])
            shares, mean = rows["accuracy"].drop_nulls().to_list(), row["accuracy"]
            n, marker, edge = len(shares), MARKER[row["kind"]], COLOURS["surface"][0]
            heights = [line.y + 0.3 * (2 * (i + 0.5) / n - 1) for i in range(n)]
            mark: Any = {"c": COLOURS[COLOUR_OF[row["kind"]]][0], "clip_on": False}
            axes.scatter([100 * a for a in shares], heights, s=11, alpha=0.55, linewidths=0, **mark)
            axes.scatter(100 * mean, line.y, s=46, marker=marker, edgecolors=edge, linewidths=1, **mark)
            number(axes, line.y, percent(mean), "bold" if mean == best else "normal")
        percents = [100 * a for a in (*subjects["accuracy"].drop_nulls(), *main["accuracy"])]
        low, high = max(0, 10 * ((min(percents) - 1) // 10)), min(100, 10 * -(-(max(percents) + 1) // 10))
        axes.set_xlim(low, high)
        axes.set_xlabel("accuracy on people not seen in training, %\nsmall: one person, large: mean")
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
    """Every planned contrast that was run, with its interval, filled where it was decided.

    Args:
        contrasts: `compare.decide`.
        margin: of equivalence, a band about zero.
        width_in: of the figure, in inches.
    """
    groups: dict[str, list[Interval]] = {}
    for row in contrasts.drop_nulls("difference").iter_rows(named=True):
        told = row["verdict"] != "undecided"
        interval = Interval(row["baseline"], row["difference"], row["low"], row["high"], told)
        groups.setdefault(f"{row['method']} against", []).append(interval)
    return _draw_forest(
        groups, width_in, "difference in accuracy, points", "baseline better", "method better", margin
    )


def gain_plot(gains: pl.DataFrame, fusion: str, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Fig. 6: what `fusion` gains over each of its single modalities, by activity; `gains` is `claims.gains`.

    Filled where the interval does not hold zero.
    """
    groups: dict[str, list[Interval]] = {}
    for row in gains.filter(pl.col("fusion") == fusion).iter_rows(named=True):
        clear = row["low"] is not None and not row["low"] <= 0 <= row["high"]
        interval = Interval(row["activity"], row["gain"], row["low"], row["high"], clear)
        groups.setdefault(f"{fusion} against {row['single']}", []).append(interval)
    return _draw_forest(groups, width_in, "difference in recall, points", "single better", "fusion better")


def width_plot(
    widths: pl.DataFrame, main: pl.DataFrame, singles: Sequence[str], width_in: float = WIDTHS_IN["wide"]
) -> Figure:
    """Fig. 7: accuracy against the width of the embedding, on a logarithmic axis.

    Args:
        widths: `claims.widths`.
        main: `tables.main_table`.
        singles: Methods whose accuracy is a dashed line.
        width_in: Of the figure, in inches.
    """
    with mpl.rc_context(style() | CURVES):
        figure = Figure(figsize=(width_in, 0.42 * width_in + 1.0))
        wide = width_in > WIDTHS_IN["narrow"]
        axes = figure.add_axes((0.09, 0.17, 0.74, 0.78) if wide else (0.12, 0.2, 0.66, 0.75))
        shades = ["fusion", "combined", "single"]
        ends: list[tuple[float, str, str]] = []
        for i, (series, rows) in enumerate(widths.group_by("series", maintain_order=True)):
            shade, marker, x = shades[i % 3], "Dos"[i % 3], rows["embedding"]
            colour, percents = COLOURS[shade][0], [100 * a for a in rows["accuracy"]]
            axes.plot(x, percents, color=colour, marker=marker, markersize=4.5, linewidth=1.5)
            if rows["low"].null_count() == 0:
                low, high = ([100 * a for a in rows[end]] for end in ("low", "high"))
                axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
            ends.append((percents[-1], str(series[0]), shade))
        for row in main.filter(pl.col("method").is_in(singles)).iter_rows(named=True):
            axes.axhline(100 * row["accuracy"], color=COLOURS["muted"][0], linewidth=1, linestyle=(0, (4, 3)))
            ends.append((100 * row["accuracy"], row["method"], "muted"))
        axes.set_xscale("log", base=2)
        ticks = sorted(set(widths["embedding"]))
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("width K of the embedding")
        axes.set_ylabel("accuracy, %")
        _label_ends(axes, ends)
        return figure


def calibration_plot(
    reliability: pl.DataFrame,
    coverage: pl.DataFrame,
    main: pl.DataFrame,
    leaders: Sequence[str],
    width_in: float = WIDTHS_IN["wide"],
) -> Figure:
    """Accuracy against confidence, bin by bin, and accuracy on the clips of which a method is surest.

    Args:
        reliability: `calibration.reliability`.
        coverage: `calibration.coverage`.
        main: `tables.main_table`.
        leaders: methods that are drawn.
        width_in: of the figure, in inches.
    """
    kinds = dict(main.select("method", "kind").iter_rows())
    wide = width_in > WIDTHS_IN["narrow"]
    with mpl.rc_context(style() | CURVES):
        figure = Figure(figsize=(width_in, 0.42 * width_in if wide else 1.5 * width_in))
        rows, columns = (1, 2) if wide else (2, 1)
        air: Any = {"wspace": 0.24, "hspace": 0.3}
        true, sure = figure.subplots(rows, columns, squeeze=False, gridspec_kw=air).ravel()
        true.plot([0, 100], [0, 100], color=COLOURS["muted"][0], linewidth=1, linestyle=(0, (4, 3)))
        for place, method in enumerate(leaders):
            look: Any = {
                "color": COLOURS[COLOUR_OF[kinds[method]]][0],
                "linestyle": "--" if method in leaders[1:] and kinds[method] == "single" else "-",
                "linewidth": 1.4,
            }
            bins = reliability.filter(pl.col("method") == method)
            marker = MARKER[kinds[method]]
            true.plot(100 * bins["confidence"], 100 * bins["accuracy"], marker=marker, markersize=4, **look)
            curve = coverage.filter(pl.col("method") == method)
            label = short(method, 26)
            sure.plot(100 * curve["coverage"], 100 * curve["accuracy"], label=label, zorder=3 - place, **look)
        true.set(xlabel="confidence, %", ylabel="accuracy, %", xlim=(0, 101), ylim=(0, 101))
        sure.set(xlabel="clips, the surest first, %", ylabel="accuracy, %", xlim=(0, 101))
        sure.legend(loc="best", frameon=False)
        figure.subplots_adjust(
            left=0.08 if wide else 0.13, right=0.98, bottom=0.16 if wide else 0.08, top=0.96
        )
        return figure


def learning_plot(learning: pl.DataFrame, main: pl.DataFrame, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Training loss of every method by epoch and, dashed, the loss on validation people, mean over jobs.

    Args:
        learning: `metrics.by_epoch`; its first training of each method is drawn.
        main: `tables.main_table`, for the order.
        width_in: of the figure, in inches.
    """
    drawn = learning.filter(pl.col("phase") == "train")
    methods = [name for name in main["method"] if name in set(drawn["method"])]
    columns = 5 if width_in > WIDTHS_IN["narrow"] else 3
    rows = -(-len(methods) // columns)
    top = float(drawn.select(pl.max_horizontal("loss", "val_loss").max()).item())
    with mpl.rc_context(style() | CURVES):
        figure = Figure(figsize=(width_in, 1.15 * rows + 0.5))
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes in panels[len(methods) :]:
            axes.set_axis_off()
        for axes, method in zip(panels, methods, strict=False):
            curve = drawn.filter(pl.col("method") == method)
            kind = main.row(by_predicate=pl.col("method") == method, named=True)["kind"]
            colour = COLOURS[COLOUR_OF[kind]][0]
            axes.plot(curve["epoch"], curve["loss"], color=colour, linewidth=1.3)
            axes.plot(curve["epoch"], curve["val_loss"], color=colour, linewidth=1.1, linestyle="--")
            axes.set_ylim(0, 1.05 * top)
            axes.text(
                0.97, 0.95, short(method, 22), transform=axes.transAxes, ha="right", va="top", fontsize=7
            )
        figure.supxlabel("epoch", fontsize=8)
        figure.supylabel("loss", fontsize=8)
        figure.subplots_adjust(
            left=0.07 if columns == 5 else 0.12,
            right=0.99,
            bottom=0.36 / (1.15 * rows + 0.5),
            top=0.98,
            wspace=0.08,
            hspace=0.15,
        )
        return figure


def hands_plot(
    hands: pl.DataFrame, main: pl.DataFrame, leaders: Sequence[str], width_in: float = WIDTHS_IN["wide"]
) -> Figure:
    """Fig. 8: accuracy against the number of missing hands; `leaders` stand out, the others are thin.

    Args:
        hands: `missing_hands.missing_hands`.
        main: `tables.main_table`.
        leaders: Methods with intervals and a label, singles behind the first dashed.
        width_in: Of the figure, in inches.
    """
    kinds = dict(main.select("method", "kind").iter_rows())
    levels = range(max(2, *hands["missing"]) + 1)
    with mpl.rc_context(style() | CURVES):
        figure = Figure(figsize=(width_in, 0.36 * width_in + 1.3))
        wide = width_in > WIDTHS_IN["narrow"]
        axes = figure.add_axes((0.08, 0.2, 0.72, 0.75) if wide else (0.12, 0.24, 0.56, 0.71))
        ends: list[tuple[float, str, str]] = []
        for method in main["method"]:
            if method not in leaders:
                rows = hands.filter(pl.col("method") == method)
                axes.plot(rows["missing"], 100 * rows["accuracy"], color=COLOURS["grid"][0], linewidth=1.1)
        for place, method in enumerate(leaders):
            rows = hands.filter(pl.col("method") == method)
            shade, marker = COLOUR_OF[kinds[method]], MARKER[kinds[method]]
            colour = COLOURS[shade][0]
            dash = "--" if method in leaders[1:] and kinds[method] == "single" else "-"
            x = [level + 0.05 * (place - (len(leaders) - 1) / 2) for level in rows["missing"]]
            y = [100 * a for a in rows["accuracy"]]
            for at, low, high in zip(x, rows["low"], rows["high"], strict=True):
                if low is not None:
                    axes.vlines(at, 100 * low, 100 * high, color=colour, linewidth=1.2, alpha=0.6)
            axes.plot(x, y, color=colour, marker=marker, markersize=5.5, linewidth=1.5, linestyle=dash)
            ends.append((y[-1], method, shade))
        axes.set_xticks(levels, [_level_label(hands, level, "," if wide else "\n") for level in levels])
        axes.set_xlim(levels[0] - 0.25, levels[-1] + 0.25)
        axes.set_xlabel("hands missing")
        axes.set_ylabel("accuracy, %")
        _label_ends(axes, ends)
        return figure


def _level_label(hands: pl.DataFrame, level: int, comma: str) -> str:
    """How many hands are missing, in how many clips of how many people."""
    rows = hands.filter(pl.col("missing") == level)
    if rows.is_empty():
        return f"{level}\nno clip"
    return (
        f"{level}\n{count(rows['clips'][0], 'clip')}{comma} {count(rows['subjects'][0], 'person', 'people')}"
    )


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Labels at the right end of curves, moved apart where they would meet."""
    low, high = axes.get_ylim()
    step = (high - low) * 0.135 * axes.figure.dpi / axes.bbox.height
    places: list[float] = []
    for y, _, _ in sorted(ends):
        places.append(max(y, places[-1] + step) if places else y)
    for i in reversed(range(len(places))):  # back down where they would leave the axes
        places[i] = min(places[i], high - step * (len(places) - 1 - i))
    for at, (_, label, shade) in zip(places, sorted(ends), strict=True):
        right, colour = axes.get_yaxis_transform(), COLOURS[shade][0]
        axes.annotate(short(label, 18), (1, at), (6, 0), right, "offset points", va="center", color=colour)


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
        figure, axes = canvas(lines, width_in, row_in=0.22)
        axes.axvline(0, color=COLOURS["muted"][0], linewidth=1.2)
        if margin:
            axes.axvspan(-100 * margin, 100 * margin, color=COLOURS["muted"][0], alpha=0.13, linewidth=0)
        ink = COLOURS["fusion"][0]
        for line, (_, difference, low, high, clear) in zip(rows_of(lines), intervals, strict=True):
            if low is not None and high is not None:
                axes.hlines(line.y, 100 * low, 100 * high, color=ink, linewidth=1.6)
            fill = ink if clear else COLOURS["surface"][0]
            axes.scatter(100 * difference, line.y, s=30, marker="D", c=fill, edgecolors=ink, zorder=3)
            number(axes, line.y, points(difference))
        ends = [100 * x for row in intervals for x in (row.difference, row.low, row.high) if x is not None]
        left_end, right_end = max(min(ends), -100), min(max(ends), 100)  # wider intervals run out of the axes
        air = 0.06 * max(right_end - left_end, right_end, -left_end, 0.1)
        axes.set_xlim(min(left_end, -3 * air) - air, max(right_end, 3 * air) + air)
        axes.set_xlabel(f"\n{axis}")
        for text, x, side in ((f"← {left}", 0, "left"), (f"{right} →", 1, "right")):
            at = ((x, 0), (0, -17), "axes fraction", "offset points")
            axes.annotate(text, *at, ha=side, va="top", color=COLOURS["muted"][0])
        return figure
