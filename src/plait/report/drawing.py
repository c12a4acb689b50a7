"""What every figure shares: colours, style, a canvas with labelled rows, the way into a file or a page."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import east_asian_width

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from plait.names import printable
from plait.results import LATE, Kind
from plait.store import write_bytes, write_text

# Paul Tol's "high contrast" trio, darkened to 3:1 on white: told apart by the colour-blind and in greyscale.
# Each group has a shape of its own as well. The second colour is the one on a dark ground.
COLOURS = {
    "ink": ("#1d2126", "#e7e9ec"),
    "muted": ("#5f6872", "#a3acb6"),
    "grid": ("#dce0e4", "#363c43"),
    "surface": ("#ffffff", "#15181c"),
    "single": ("#a87900", "#e6b84a"),
    "combined": ("#b4446c", "#f08fae"),
    "fusion": ("#004b95", "#6db3f8"),
}
COLOUR_OF: dict[Kind, str] = {
    "single": "single",
    **dict.fromkeys(LATE, "combined"),
    "fusion": "fusion",
    "ensemble": "muted",
}
MARKER: dict[Kind, str] = {"single": "o", **dict.fromkeys(LATE, "s"), "fusion": "D", "ensemble": "^"}
GLYPH: dict[Kind, str] = {
    kind: {"o": "●", "s": "■", "D": "◆", "^": "▲"}[mark] for kind, mark in MARKER.items()
}
# A page shows the narrow one below 49.5rem: text of 8.5 points is then nowhere less than 11 pixels high.
WIDTHS_IN = {"wide": 8.0, "narrow": 3.7}
LETTER_IN, INDENT_IN, BELOW_IN, BESIDE_IN = 0.071, 0.14, 0.62, 0.54
ABOVE_IN = 0.2  # what a label takes that stands above what is drawn of it
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, 'DejaVu Sans', sans-serif"


class Line(NamedTuple):
    """One line of a figure: a heading, or the label of what is drawn beside it."""

    y: float
    label: str
    heading: bool


def style() -> Any:
    """Matplotlib settings of every figure: text stays text, no mathematics in names, always equal bytes."""
    ink, muted, grid = (COLOURS[name][0] for name in ("ink", "muted", "grid"))
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "plait",
        "pdf.fonttype": 42,
        "text.parse_math": False,
        "image.composite_image": False,
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
        "ytick.color": grid,
        "ytick.labelcolor": muted,
        "ytick.left": False,
        "ytick.labelleft": False,
    }


def listed_lines(groups: Mapping[str, Sequence[str]]) -> list[Line]:
    """Headings and labels from the top down, y growing downwards; half a row of air before every heading."""
    lines, y = [], 0.0
    for title, labels in groups.items():
        lines.append(Line(y, title, True))
        lines += [Line(y + 1 + i, label, False) for i, label in enumerate(labels)]
        y += len(labels) + 1.5
    return lines


def rows_of(lines: Sequence[Line]) -> list[Line]:
    """The lines that are no headings."""
    return [line for line in lines if not line.heading]


def canvas(
    lines: Sequence[Line],
    width_in: float,
    row_in: float,
    *,
    stacks: bool = False,
    below_in: float = BELOW_IN,
) -> tuple[Figure, Axes]:
    """A figure with the labels of `lines` on the left of its axes and room for a number on their right.

    Args:
        lines: from the top down.
        width_in: of the figure, in inches.
        row_in: of a line, in inches.
        stacks: where labels would take nearly half of a narrow figure, each stands above its line instead.
        below_in: room for what stands below the axes, in inches.
    """
    most = int((width_in / 2 - INDENT_IN) / LETTER_IN)
    broadest = max(breadth(line.label) for line in rows_of(lines))
    stacked = stacks and width_in < WIDTHS_IN["wide"] and LETTER_IN * broadest + INDENT_IN > 0.45 * width_in
    if stacked:
        most, row_in = int((width_in - INDENT_IN) / LETTER_IN), row_in + ABOVE_IN
    labels_in = INDENT_IN + (0.0 if stacked else 0.1 + LETTER_IN * min(broadest, most))
    tall = row_in * (lines[-1].y + 1.2)
    height = tall + below_in
    figure = Figure(figsize=(width_in, height))
    box = (labels_in / width_in, below_in / height, 1 - (labels_in + BESIDE_IN) / width_in, tall / height)
    axes = figure.add_axes(box)
    axes.set_ylim(lines[-1].y + 0.7, -0.5)
    ticks = 5 if width_in < WIDTHS_IN["wide"] else 9
    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, steps=[1, 2, 5, 10]))
    inches = blended_transform_factory(figure.dpi_scale_trans, axes.transData)
    for y, label, heading in lines:
        x, colour, weight = (0.0, "muted", "bold") if heading else (INDENT_IN, "ink", "normal")
        text = short(label, int(0.88 * width_in / LETTER_IN) if heading else most)
        at = y - 0.42 if stacked and not heading else y
        axes.text(x, at, text, transform=inches, va="center", color=COLOURS[colour][0], weight=weight)
    return figure, axes


def number(axes: Axes, y: float, text: str, weight: str = "normal") -> None:
    """Write a number at the right end of a line.

    Args:
        axes: Those of the line.
        y: The line's height, in data.
        text: What to write.
        weight: Of the font, as matplotlib names it.
    """
    right = axes.get_yaxis_transform()
    axes.annotate(text, (1, y), (8, 0), right, "offset points", va="center", weight=weight)


def name_axis(axes: Axes, width_in: float, text: str, left: str = "", right: str = "") -> None:
    """Write below a `canvas` what its axis measures.

    Args:
        axes: those of the canvas.
        width_in: of the figure, in inches; below a narrow one words may be broader than its axes.
        text: at most two lines, one beside `left` and `right`.
        left: what the axis' left end means.
        right: likewise.
    """
    muted = COLOURS["muted"][0]
    figure, wide = axes.figure, width_in >= WIDTHS_IN["wide"]
    height, box = figure.bbox.height / figure.dpi, axes.get_position()
    ends = (box.x0, box.x1) if wide else (0.0, 1.0)
    for words, x, side in ((left, ends[0], "left"), (right, ends[1], "right")):
        figure.text(x, 0.26 / height, words, ha=side, va="bottom", color=muted)
    middle = (box.x0 + box.x1) / 2 if wide else 0.5
    figure.text(middle, 0.06 / height, text, ha="center", va="bottom", color=muted)


def breadth(label: str) -> int:
    """How many Latin letters a label is as broad as."""
    return sum(1 + (east_asian_width(letter) in "WF" or letter == "\ufffd") for letter in label)


def short(label: str, most: int) -> str:
    """`label` on one line, as XML can have it, its middle left out if it is broader than `most` letters."""
    label = printable(" ".join(label.split()))
    broad = breadth(label)
    if broad <= most:
        return label
    half = int(most * len(label) / broad) // 2
    return f"{label[: half - 1]}…{label[-half:]}"


def to_svg(figure: Figure) -> str:
    """The figure as SVG, without date, ids that could meet another figure's, or a font of its own."""
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    svg = re.sub(r' id="[a-z_A-Z]+[._]?\d+"(?=>)', "", _save(figure, "svg", nothing).decode())
    return svg.replace("'DejaVu Sans'", FONTS)


def to_pdf(figure: Figure) -> bytes:
    """The figure as PDF, for papers: text stays text, no date."""
    return _save(figure, "pdf", {"CreationDate": None, "Creator": None, "Producer": None})


def write_figure(figure: Figure, stem: Path, svg: str | None = None) -> Path:
    """Write a figure as `stem`.svg and `stem`.pdf; returns the former.

    Args:
        figure: What is drawn.
        stem: Of both files.
        svg: What `to_svg` makes of it, where that is known.
    """
    path = stem.with_name(f"{stem.name}.svg")
    write_text(path, for_file(svg or figure))
    write_bytes(stem.with_name(f"{stem.name}.pdf"), to_pdf(figure))
    return path


def _save(figure: Figure, kind: str, metadata: Mapping[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), mpl.rc_context(style()):
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's own fonts draw them
        figure.savefig(buffer, format=kind, transparent=True, metadata=dict(metadata))
    return buffer.getvalue()


def for_page(drawn: Figure | str) -> str:
    """An SVG to stand inside a page: its colours become the page's variables and follow light and dark.

    `drawn` is a figure, or what `to_svg` makes of it.
    """
    svg = drawn if isinstance(drawn, str) else to_svg(drawn)
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name})")
    return svg[svg.index("<svg") :]


def for_file(drawn: Figure | str) -> str:
    """An SVG to stand alone: plain colours for papers, a dark ground where the reader's screen is dark.

    `drawn` is a figure, or what `to_svg` makes of it.
    """
    svg = drawn if isinstance(drawn, str) else to_svg(drawn)
    recoloured = "".join(
        f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
        for light, dark in COLOURS.values()
        for kind in ("fill", "stroke")
    )
    day, night = COLOURS["surface"]
    dark = f"@media (prefers-color-scheme:dark){{svg{{background:{night}}}{recoloured}}}"
    rules = f"svg{{background:{day}}}{dark}"
    return _add_margin(svg, 12).replace("<defs>", f"<defs><style>{rules}</style>", 1)


def _add_margin(svg: str, by: float) -> str:
    """`svg` with `by` points of air on every side."""
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt" viewBox="[^"]*"', svg)
    if size is None:
        return svg
    wide, tall = (float(number) + 2 * by for number in size.groups())
    box = f'width="{wide:g}pt" height="{tall:g}pt" viewBox="{-by:g} {-by:g} {wide:g} {tall:g}"'
    return svg.replace(size.group(), box, 1)
