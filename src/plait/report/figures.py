"""Figures as SVG: drawn once by matplotlib, for papers as they are, for pages in light and dark."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from plait.report.tables import GROUPS
from plait.report.words import percent, points

# Paul Tol's "high contrast" trio, darkened to 3:1 on white: told apart by the colour-blind and in greyscale. Each group
# has a shape of its own as well. The second colour is the one on a dark ground.
COLOURS = {
    "ink": ("#1d2126", "#e7e9ec"),
    "muted": ("#5f6872", "#a3acb6"),
    "grid": ("#dce0e4", "#363c43"),
    "surface": ("#ffffff", "#15181c"),
    "single": ("#a87900", "#e6b84a"),
    "combined": ("#b4446c", "#f08fae"),
    "fusion": ("#004b95", "#6db3f8"),
}
COLOUR_OF = {"single": "single", "average": "combined", "concat": "combined", "fusion": "fusion"}
MARKER = {"single": "o", "average": "s", "concat": "s", "fusion": "D"}
WIDTHS_IN = {"wide": 8.2, "narrow": 4.5}
LETTER_IN, INDENT_IN, BELOW_IN, BESIDE_IN = 0.071, 0.14, 0.62, 0.54
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, 'DejaVu Sans', sans-serif"


class Line(NamedTuple):
    """One line of a figure: a heading, or the label of what is drawn beside it."""

    y: float
    label: str
    heading: bool


def style() -> Any:
    """Matplotlib settings of every figure: text stays text, no mathematics in names, the same bytes every time."""
    ink, muted, grid = (COLOURS[name][0] for name in ("ink", "muted", "grid"))
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "plait",
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": 8.5,
        "text.color": ink,
        "axes.edgecolor": grid,
        "axes.labelcolor": muted,
        "axes.spines.left": False,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "x",
        "grid.color": grid,
        "grid.linewidth": 0.7,
        "xtick.major.size": 0,
        "xtick.color": grid,
        "xtick.labelcolor": muted,
        "ytick.left": False,
        "ytick.labelleft": False,
    }


def accuracy_plot(main: pl.DataFrame, subjects: pl.DataFrame, width_in: float = WIDTHS_IN["wide"]) -> str:
    """Accuracy of every method: a small mark per subject, at the same height in every row, a large one for the mean.

    `main` is `tables.main_table`, `subjects` is `tables.subject_table`.
    """
    grouped = {title: main.filter(pl.col("kind").is_in(kinds)) for title, kinds in GROUPS.items()}
    lines = _lines({title: rows["method"].to_list() for title, rows in grouped.items() if not rows.is_empty()})
    with mpl.rc_context(style()):
        figure, axes = _canvas(lines, width_in, row_in=0.26)
        best = main["accuracy"].max()
        for line, row in zip(_rows(lines), pl.concat(grouped.values()).iter_rows(named=True), strict=True):
            own = subjects.filter(pl.col("method") == row["method"])["accuracy"].drop_nulls().to_list()
            colour, marker, mean = COLOURS[COLOUR_OF[row["kind"]]][0], MARKER[row["kind"]], 100 * row["accuracy"]
            heights = [line.y + 0.3 * (2 * (i + 0.5) / len(own) - 1) for i in range(len(own))]
            axes.scatter([100 * a for a in own], heights, s=11, c=colour, alpha=0.55, linewidths=0, clip_on=False)
            edge = COLOURS["surface"][0]
            axes.scatter(mean, line.y, s=46, c=colour, marker=marker, edgecolors=edge, linewidths=1, clip_on=False)
            weight = "bold" if row["accuracy"] == best else "normal"
            _number(axes, line.y, percent(row["accuracy"]), weight)
        every = [100 * a for a in (*subjects["accuracy"].drop_nulls(), *main["accuracy"])]
        low, high = max(0, 10 * ((min(every) - 1) // 10)), min(100, 10 * -(-(max(every) + 1) // 10))
        axes.set_xlim(low, high)
        axes.set_xlabel("accuracy on people not seen in training, %\nsmall: one person, large: mean")
        return _svg(figure)


def forest_plot(comparisons: pl.DataFrame, width_in: float = WIDTHS_IN["wide"]) -> str:
    """Every planned comparison: mean difference with its 95 % interval; filled where the verdict is better or worse."""
    groups: dict[str, list[str]] = {}
    for row in comparisons.iter_rows(named=True):
        plain = row["baseline"] == row["baseline_kind"] or width_in < WIDTHS_IN["wide"]
        label = row["baseline"] if plain else f"{row['baseline']} ({row['baseline_kind']})"
        groups.setdefault(row["fusion"], []).append(label)
    lines = _lines(groups)
    with mpl.rc_context(style()):
        figure, axes = _canvas(lines, width_in, row_in=0.22)
        axes.axvline(0, color=COLOURS["muted"][0], linewidth=1.2)
        ink = COLOURS["fusion"][0]
        for line, row in zip(_rows(lines), comparisons.iter_rows(named=True), strict=True):
            if row["low"] is not None:
                axes.hlines(line.y, 100 * row["low"], 100 * row["high"], color=ink, linewidth=1.6)
            fill = ink if row["verdict"] in ("better", "worse") else COLOURS["surface"][0]
            axes.scatter(100 * row["difference"], line.y, s=30, marker="D", c=fill, edgecolors=ink, zorder=3)
            _number(axes, line.y, points(row["difference"]))
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
        return _svg(figure)


def for_page(svg: str) -> str:
    """`svg` to stand inside a page: colours become the page's variables, so that they follow light and dark."""
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name})")
    return svg[svg.index("<svg") :]


def for_file(svg: str) -> str:
    """`svg` to stand alone: plain colours for papers, and a dark ground where the reader's screen is dark."""
    dark = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in COLOURS.values()
        for kind in ("fill", "stroke")
    )
    surface = COLOURS["surface"]
    rules = f"svg{{background:{surface[0]}}}@media (prefers-color-scheme:dark){{svg{{background:{surface[1]}}}{dark}}}"
    return _margin(svg, 12).replace("<defs>", f"<defs><style>{rules}</style>", 1)


def _margin(svg: str, by: float) -> str:
    """`svg` with `by` points of air on every side."""
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt" viewBox="[^"]*"', svg)
    if size is None:
        return svg
    wide, tall = (float(number) + 2 * by for number in size.groups())
    box = f'width="{wide:g}pt" height="{tall:g}pt" viewBox="{-by:g} {-by:g} {wide:g} {tall:g}"'
    return svg.replace(size.group(), box, 1)


def _lines(groups: Mapping[str, Sequence[str]]) -> list[Line]:
    """Headings and labels from the top down, y growing downwards; half a row of air before every heading."""
    lines, y = [], 0.0
    for title, labels in groups.items():
        lines.append(Line(y, title, True))
        lines += [Line(y + 1 + i, label, False) for i, label in enumerate(labels)]
        y += len(labels) + 1.5
    return lines


def _rows(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if not line.heading]


def _canvas(lines: Sequence[Line], width_in: float, row_in: float) -> tuple[Figure, Axes]:
    """A figure with the labels of `lines` on the left of its axes, and room for one number on the right of each."""
    most = int((width_in / 2 - INDENT_IN) / LETTER_IN)
    labels_in = INDENT_IN + 0.1 + LETTER_IN * max(len(_short(line.label, most)) for line in _rows(lines))
    tall = row_in * (lines[-1].y + 1.2)
    height = tall + BELOW_IN
    figure = Figure(figsize=(width_in, height))
    box = (labels_in / width_in, BELOW_IN / height, 1 - (labels_in + BESIDE_IN) / width_in, tall / height)
    axes = figure.add_axes(box)
    axes.set_ylim(lines[-1].y + 0.7, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5 if width_in < WIDTHS_IN["wide"] else 9, steps=[1, 2, 5, 10]))
    inches = blended_transform_factory(figure.dpi_scale_trans, axes.transData)
    for y, label, heading in lines:
        x, colour, weight = (0.0, "muted", "bold") if heading else (INDENT_IN, "ink", "normal")
        text = label if heading else _short(label, most)
        axes.text(x, y, text, transform=inches, va="center", color=COLOURS[colour][0], weight=weight)
    return figure, axes


def _number(axes: Axes, y: float, text: str, weight: str = "normal") -> None:
    """`text` at the right end of a line."""
    axes.annotate(text, (1, y), (8, 0), axes.get_yaxis_transform(), "offset points", va="center", weight=weight)


def _short(label: str, most: int) -> str:
    """`label` on one line, with its middle left out where it is longer than `most`."""
    label = " ".join(label.split())
    return label if len(label) <= most else f"{label[: most // 2 - 1]}…{label[-(most // 2) :]}"


def _svg(figure: Figure) -> str:
    """The figure as SVG, without date, ids that could meet another figure's, or a font of its own."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's own fonts draw them
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = re.sub(r' id="[a-z_A-Z]+[._]?\d+"(?=>)', "", buffer.getvalue())
    return svg.replace("'DejaVu Sans'", FONTS)
