"""The curves of a report: by width, by epoch, by confidence, by missing hands."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from plait.report.captions import count, percent
from plait.report.drawing import COLOUR_OF, COLOURS, LETTER_IN, MARKER, WIDTHS_IN, short, style

# What curves need beside `style`.
CURVES: Any = {"axes.grid.axis": "y", "ytick.labelleft": True, "ytick.major.size": 0}


def width_plot(
    widths: pl.DataFrame, people: pl.DataFrame, singles: Sequence[str], width_in: float = WIDTHS_IN["wide"]
) -> Figure:
    """Fig. 7: accuracy against the width of the embedding, on a logarithmic axis.

    Args:
        widths: `claims.widths`.
        people: `tables.subject_table`.
        singles: Methods whose accuracy, mean over people as that of the widths, is a dashed line.
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
        alone = people.filter(pl.col("method").is_in(singles)).group_by("method", maintain_order=True)
        for row in alone.agg(pl.col("accuracy").mean()).iter_rows(named=True):
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
    """A reliability diagram of each of `leaders`, and accuracy on the clips of which it is surest.

    A bin of confidence is a mark whose area goes by its clips; above the diagram stand the calibration error
    and what it would be by chance.

    Args:
        reliability: `calibration.reliability`.
        coverage: `calibration.coverage`.
        main: `tables.main_table`.
        leaders: methods that are drawn.
        width_in: of the figure, in inches.
    """
    wide = width_in > WIDTHS_IN["narrow"]
    columns = min(len(leaders), 4) if wide else 2
    lines = -(-len(leaders) // columns)
    left, gap, title, below, legend = (
        0.54,
        0.25,
        0.42,
        0.5,
        0.3 if wide else 0.17 * -(-len(leaders) // 2) + 0.15,
    )
    side = min(1.72, (width_in - left - 0.16 - gap * (columns - 1)) / columns)
    height = lines * (title + side) + (lines - 1) * 0.28 + below + legend + 1.7 + below
    rows = {row["method"]: row for row in main.iter_rows(named=True)}
    with mpl.rc_context(style() | CURVES):
        figure = Figure(figsize=(width_in, height))

        def place(x: float, y: float, across: float, tall: float) -> Axes:
            """Axes whose upper left corner lies at (x, y), all in inches from the upper left."""
            return figure.add_axes((x / width_in, 1 - (y + tall) / height, across / width_in, tall / height))

        y = height - below - 1.7
        sure = place(left, y, width_in - left - 0.16, 1.7)
        for number, method in enumerate(leaders):
            line, column = divmod(number, columns)
            true = place(left + column * (side + gap), title + line * (title + side + 0.28), side, side)
            kind = rows[method]["kind"]
            dashed = method in leaders[1:] and kind == "single"
            look: Any = {"color": COLOURS[COLOUR_OF[kind]][0], "linestyle": "--" if dashed else "-"}
            bins = reliability.filter(pl.col("method") == method)
            true.plot([0, 100], [0, 100], color=COLOURS["muted"][0], linewidth=1, linestyle=(0, (4, 3)))
            true.plot(100 * bins["confidence"], 100 * bins["accuracy"], linewidth=1.2, **look)
            sizes = (110 * bins["clips"] / max(1, bins["clips"].sum())).clip(3)
            true.scatter(
                100 * bins["confidence"],
                100 * bins["accuracy"],
                s=sizes,
                c=look["color"],
                clip_on=False,
                zorder=3,
            )
            errors = f"ECE {percent(rows[method]['ece'])} %, chance {percent(rows[method]['ece_by_chance'])}"
            ink: Any = {"loc": "left", "fontsize": 8.5, "color": COLOURS["ink"][0]}
            true.set_title(f"{short(method, int(side / LETTER_IN))}\n{errors}", **ink)
            ticks = [0, 50, 100]
            true.set(xlim=(0, 100), ylim=(0, 100), xticks=ticks, yticks=ticks)
            if column:
                true.tick_params(labelleft=False)
            else:
                true.set_ylabel("accuracy, %")
            if number + columns >= len(leaders):
                true.set_xlabel("confidence, %")
            else:
                true.tick_params(labelbottom=False)
            curve = coverage.filter(pl.col("method") == method)
            label = short(method, 22 if wide else 18)
            sure.plot(
                100 * curve["coverage"],
                100 * curve["accuracy"],
                label=label,
                zorder=9 - number,
                linewidth=1.4,
                **look,
            )
        sure.set(xlabel="clips, the surest first, %", ylabel="accuracy, %", xlim=(0, 101))
        columns = 4 if wide else 2
        sure.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 1),
            ncols=columns,
            frameon=False,
            columnspacing=1,
            fontsize=8.5,
        )
        return figure


def learning_plot(learning: pl.DataFrame, main: pl.DataFrame, width_in: float = WIDTHS_IN["wide"]) -> Figure:
    """Loss of every method by epoch: mean over jobs in a band from the lowest fold to the highest.

    Dashed, the loss on validation people. Curves are pale where some jobs have ended.

    Args:
        learning: `metrics.by_epoch`; its first training of each method is drawn.
        main: `tables.main_table`, for the order.
        width_in: of the figure, in inches.
    """
    drawn = learning.filter(pl.col("phase") == "train")
    kinds = dict(main.select("method", "kind").iter_rows())
    methods = [name for name in kinds if name in set(drawn["method"])]
    wide = width_in > WIDTHS_IN["narrow"]
    columns = min(4 if wide else 2, len(methods))
    rows = -(-len(methods) // columns)
    top = 1.15 * float(drawn.select(pl.max_horizontal("loss", "val_loss").max()).item())
    panel_in, between_in, above_in, below_in = 0.95, 0.3, 0.22, 0.5
    height = rows * panel_in + (rows - 1) * between_in + above_in + below_in
    with mpl.rc_context(style() | CURVES):
        figure = Figure(figsize=(width_in, height))
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes in panels[len(methods) :]:
            axes.set_axis_off()
        for number, (axes, method) in enumerate(zip(panels, methods, strict=False)):
            curve = drawn.filter(pl.col("method") == method)
            colour = COLOURS[COLOUR_OF[kinds[method]]][0]
            for loss, dash in (("loss", "-"), ("val_loss", (0, (3, 2)))):
                seen = curve.drop_nulls(loss)
                whole = seen.filter(pl.col("jobs") == pl.col("jobs").max())
                low, high = seen[f"{loss}_low"], seen[f"{loss}_high"]
                axes.fill_between(seen["epoch"], low, high, color=colour, alpha=0.16, linewidth=0)
                axes.plot(seen["epoch"], seen[loss], color=colour, linewidth=1.2, linestyle=dash, alpha=0.4)
                dot = "o" if len(seen) == 1 else ""  # which no line shows
                look: Any = {"linestyle": dash, "marker": dot, "markersize": 3}
                axes.plot(whole["epoch"], whole[loss], color=colour, linewidth=1.3, **look)
            axes.set_ylim(0, top)
            axes.set_title(short(method, 25 if wide else 21), loc="left", fontsize=8.5, pad=3)
            if number + columns >= len(methods):  # the last of its column
                axes.tick_params(labelbottom=True)
                axes.set_xlabel("epoch")
            if number % columns == 0:
                axes.set_ylabel("loss")
        panels[0].xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        panels[0].set_xlim(0, 1.03 * max(2, *drawn["epoch"]))
        figure.subplots_adjust(
            left=0.54 / width_in,
            right=1 - 0.06 / width_in,
            bottom=below_in / height,
            top=1 - above_in / height,
            wspace=0.1,
            hspace=between_in / panel_in,
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
        figure = Figure(figsize=(width_in, 0.36 * width_in + 1.4))
        wide = width_in > WIDTHS_IN["narrow"]
        axes = figure.add_axes((0.08, 0.2, 0.72, 0.75) if wide else (0.12, 0.29, 0.54, 0.66))
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
    most = int(((1 - axes.get_position().x1) * axes.figure.bbox.width / axes.figure.dpi - 0.12) / LETTER_IN)
    places: list[float] = []
    for y, _, _ in sorted(ends):
        places.append(max(y, places[-1] + step) if places else y)
    for i in reversed(range(len(places))):  # back down where they would leave the axes
        places[i] = min(places[i], high - step * (len(places) - 1 - i))
    for at, (_, label, shade) in zip(places, sorted(ends), strict=True):
        right, colour = axes.get_yaxis_transform(), COLOURS[shade][0]
        axes.annotate(short(label, most), (1, at), (6, 0), right, "offset points", va="center", color=colour)
