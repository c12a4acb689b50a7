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


def accuracy_plot(main: pl.DataFrame, subjects: pl.DataFrame, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Accuracy of every method: a small mark per subject, at the same height in every row, a large one for the mean.

    `main` is `tables.main_table`, `subjects` is `tables.subject_table`.
    """
    grouped = {title: main.filter(pl.col("kind").is_in(kinds)) for title, kinds in GROUPS.items()}
    lines = listed_lines(
        {title: rows["method"].to_list() for title, rows in grouped.items() if not rows.is_empty()}
    )
    with mpl.rc_context(style()):
        figure, axes = canvas(lines, width_in, row_in=0.26)
        best = main["accuracy"].max()
        for line, row in zip(rows_of(lines), pl.concat(grouped.values()).iter_rows(named=True), strict=True):
            own = subjects.filter(pl.col("method") == row["method"])["accuracy"].drop_nulls().to_list()
            colour, marker, mean = (
                COLOURS[COLOUR_OF[row["kind"]]][0],
                MARKER[row["kind"]],
                100 * row["accuracy"],
            )
            heights = [line.y + 0.3 * (2 * (i + 0.5) / len(own) - 1) for i in range(len(own))]
            axes.scatter(
                [100 * a for a in own], heights, s=11, c=colour, alpha=0.55, linewidths=0, clip_on=False
            )
            edge = COLOURS["surface"][0]
            axes.scatter(
                mean, line.y, s=46, c=colour, marker=marker, edgecolors=edge, linewidths=1, clip_on=False
            )
            weight = "bold" if row["accuracy"] == best else "normal"
            number(axes, line.y, percent(row["accuracy"]), weight)
        every = [100 * a for a in (*subjects["accuracy"].drop_nulls(), *main["accuracy"])]
        low, high = max(0, 10 * ((min(every) - 1) // 10)), min(100, 10 * -(-(max(every) + 1) // 10))
        axes.set_xlim(low, high)
        axes.set_xlabel("accuracy on people not seen in training, %\nsmall: one person, large: mean")
        return figure


class Interval(NamedTuple):
    """A difference in shares with its 95 % interval; `told` where it is more than chance."""

    label: str
    difference: float
    low: float | None
    high: float | None
    told: bool


def forest_plot(comparisons: pl.DataFrame, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Every planned comparison: mean difference with its 95 % interval; filled where the verdict is better or worse."""
    groups: dict[str, list[Interval]] = {}
    for row in comparisons.iter_rows(named=True):
        plain = row["baseline"] == row["baseline_kind"] or width_in < WIDTHS_IN["wide"]
        label = row["baseline"] if plain else f"{row['baseline']} ({row['baseline_kind']})"
        told = row["verdict"] in ("better", "worse")
        one = Interval(label, row["difference"], row["low"], row["high"], told)
        groups.setdefault(row["fusion"], []).append(one)
    return _intervals(groups, width_in, "difference in accuracy, points", "baseline better", "fusion better")


def gain_plot(gains: pl.DataFrame, fusion: str, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Fig. 6: what `fusion` gains over each of its single modalities, by activity; `gains` is `claims.gains`.

    Filled where the interval does not hold zero.
    """
    groups: dict[str, list[Interval]] = {}
    for row in gains.filter(pl.col("fusion") == fusion).iter_rows(named=True):
        told = row["low"] is not None and not row["low"] <= 0 <= row["high"]
        one = Interval(row["activity"], row["gain"], row["low"], row["high"], told)
        groups.setdefault(f"{fusion} against {row['single']}", []).append(one)
    return _intervals(groups, width_in, "difference in recall, points", "single better", "fusion better")


def width_plot(
    widths: pl.DataFrame, main: pl.DataFrame, singles: Sequence[str], width_in: float = WIDTHS_IN["wide"]
) -> Figure:
    """Fig. 7: accuracy against the width of the embedding, on a logarithmic axis; dashed, `singles`.

    `widths` is `claims.widths`, `main` is `tables.main_table`.
    """
    with mpl.rc_context(style() | {"axes.grid.axis": "y", "ytick.labelleft": True, "ytick.major.size": 0}):
        figure = Figure(figsize=(width_in, 0.42 * width_in + 1.0))
        axes = figure.add_axes(
            (0.09, 0.17, 0.74, 0.78) if width_in > WIDTHS_IN["narrow"] else (0.12, 0.2, 0.66, 0.75)
        )
        shades = ["fusion", "combined", "single"]
        ends: list[tuple[float, str, str]] = []
        for number_, (series, own) in enumerate(widths.group_by("series", maintain_order=True)):
            shade, marker = shades[number_ % 3], "Dos"[number_ % 3]
            colour, percents = COLOURS[shade][0], [100 * a for a in own["accuracy"]]
            axes.plot(own["embedding"], percents, color=colour, marker=marker, markersize=4.5, linewidth=1.5)
            if own["low"].null_count() == 0:
                low, high = ([100 * x for x in own[end]] for end in ("low", "high"))
                axes.fill_between(own["embedding"], low, high, color=colour, alpha=0.13, linewidth=0)
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
        _apart(axes, ends)
        return figure


def hands_plot(
    hands: pl.DataFrame, main: pl.DataFrame, leaders: Sequence[str], width_in: float = WIDTHS_IN["wide"]
) -> Figure:
    """Fig. 8: accuracy against the number of missing hands; `leaders` stand out, with intervals, the others are thin.

    `hands` is `missing_hands.missing_hands`, `main` is `tables.main_table`.
    """
    kinds = dict(main.select("method", "kind").iter_rows())
    levels = range(max(2, *hands["missing"]) + 1)
    with mpl.rc_context(style() | {"axes.grid.axis": "y", "ytick.labelleft": True, "ytick.major.size": 0}):
        figure = Figure(figsize=(width_in, 0.36 * width_in + 1.3))
        wide = width_in > WIDTHS_IN["narrow"]
        axes = figure.add_axes((0.08, 0.2, 0.72, 0.75) if wide else (0.12, 0.24, 0.56, 0.71))
        ends: list[tuple[float, str, str]] = []
        for method in main["method"]:
            if method not in leaders:
                own = hands.filter(pl.col("method") == method)
                axes.plot(own["missing"], 100 * own["accuracy"], color=COLOURS["grid"][0], linewidth=1.1)
        for place, method in enumerate(leaders):
            own = hands.filter(pl.col("method") == method)
            shade, marker = COLOUR_OF[kinds[method]], MARKER[kinds[method]]
            colour = COLOURS[shade][0]
            dash = "--" if method in leaders[1:] and kinds[method] == "single" else "-"
            x = [level + 0.05 * (place - (len(leaders) - 1) / 2) for level in own["missing"]]
            y = [100 * a for a in own["accuracy"]]
            for at, low, high in zip(x, own["low"], own["high"], strict=True):
                if low is not None:
                    axes.vlines(at, 100 * low, 100 * high, color=colour, linewidth=1.2, alpha=0.6)
            axes.plot(x, y, color=colour, marker=marker, markersize=5.5, linewidth=1.5, linestyle=dash)
            ends.append((y[-1], method, shade))
        axes.set_xticks(levels, [_level(hands, level, "," if wide else "\n") for level in levels])
        axes.set_xlim(levels[0] - 0.25, levels[-1] + 0.25)
        axes.set_xlabel("hands missing")
        axes.set_ylabel("accuracy, %")
        _apart(axes, ends)
        return figure


def _level(hands: pl.DataFrame, level: int, apart: str) -> str:
    """How many hands are missing, in how many clips of how many people."""
    own = hands.filter(pl.col("missing") == level)
    if own.is_empty():
        return f"{level}\nno clip"
    clips, people = own["clips"][0], own["subjects"][0]
    return f"{level}\n{count(clips, 'clip')}{apart} {count(people, 'person', 'people')}"


def _apart(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Labels at the right end of curves, moved apart where they would meet."""
    low, high = axes.get_ylim()
    step = (high - low) * 0.135 * axes.figure.dpi / axes.bbox.height
    places: list[float] = []
    for y, _, _ in sorted(ends):
        places.append(max(y, places[-1] + step) if places else y)
    for i in reversed(range(len(places))):  # back down where they would leave the axes
        places[i] = min(places[i], high - step * (len(places) - 1 - i))
    for at, (_, label, shade) in zip(places, sorted(ends), strict=True):
        where: Any = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(
            short(label, 18), (1, at), xycoords=axes.get_yaxis_transform(), color=COLOURS[shade][0], **where
        )


def _intervals(
    groups: Mapping[str, Sequence[Interval]], width_in: float, axis: str, left: str, right: str
) -> Figure:
    """Differences about zero, one line each, under the headings of their groups."""
    lines = listed_lines({title: [one.label for one in rows] for title, rows in groups.items()})
    every = [one for rows in groups.values() for one in rows]
    with mpl.rc_context(style()):
        figure, axes = canvas(lines, width_in, row_in=0.22)
        axes.axvline(0, color=COLOURS["muted"][0], linewidth=1.2)
        ink = COLOURS["fusion"][0]
        for line, one in zip(rows_of(lines), every, strict=True):
            if one.low is not None and one.high is not None:
                axes.hlines(line.y, 100 * one.low, 100 * one.high, color=ink, linewidth=1.6)
            fill = ink if one.told else COLOURS["surface"][0]
            axes.scatter(100 * one.difference, line.y, s=30, marker="D", c=fill, edgecolors=ink, zorder=3)
            number(axes, line.y, points(one.difference))
        ends = [100 * x for one in every for x in (one.difference, one.low, one.high) if x is not None]
        low, high = (
            max(min(ends), -100),
            min(max(ends), 100),
        )  # no difference lies beyond: wider intervals run out
        air = 0.06 * max(high - low, high, -low, 0.1)
        axes.set_xlim(min(low, -3 * air) - air, max(high, 3 * air) + air)
        axes.set_xlabel(f"\n{axis}")
        under: Any = {
            "xycoords": "axes fraction",
            "textcoords": "offset points",
            "va": "top",
            "color": COLOURS["muted"][0],
        }
        axes.annotate(f"← {left}", (0, 0), (0, -17), ha="left", **under)
        axes.annotate(f"{right} →", (1, 0), (0, -17), ha="right", **under)
        return figure
