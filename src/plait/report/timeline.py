"""The picture of a recording: what was labelled, what was recognised, and every score, over time."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import blended_transform_factory

from plait.errors import DataError, quote
from plait.report import captions
from plait.report.drawing import (
    BELOW_IN,
    COLOURS,
    INDENT_IN,
    WIDTHS_IN,
    Line,
    breadth,
    canvas,
    for_file,
    short,
    style,
)
from plait.store import write_text
from plait.types import Segment, Span

# Twelve colours of middling lightness, 3:1 on light and on dark ground, as far apart as they can be (Oklab),
# also for those who do not tell red from green (Machado et al. 2009).
PALETTE = (
    "#3c60d8", "#f06c0c", "#009c90", "#9c60b4", "#b4306c", "#846000",
    "#3c9cd8", "#849c54", "#f0609c", "#b46054", "#306c84", "#8478fc",
)  # fmt: skip
MOST = len(PALETTE)  # activities with a colour and a row of their own
COLUMNS = 1500  # of a strip: no recording is drawn finer, however long it is
LONG = 12  # columns, from which on stretches that touch are drawn apart
FAINTEST, GROUND = 0.4, 0.08  # how opaque what is shorter than a column is, and a score of 0
ROW_IN, SWATCH_IN, NAME_PT, NAME_LETTER_IN = 0.21, 0.08, 8.5, 0.08
TITLE_LETTER_IN, NAME_LETTERS = 0.085, 40
BRIEF_BELOW_IN = 0.24
WHITE, BLACK = "#fefefe", "#121212"  # no colours of `drawing`, which turn over on a dark ground
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
OTHER = COLOURS["muted"][0]


class Slots(NamedTuple):
    """What a model saw of a recording, and its scores; slots may overlap, and there may be gaps.

    Args:
        starts_s: seconds, shape `(slots,)`.
        stops_s: seconds, shape `(slots,)`.
        scores: from 0 to 1, shape `(slots, activities)`.
        seen: the modalities that were there, of each slot; empty: all of them, always.
    """

    starts_s: np.ndarray
    stops_s: np.ndarray
    scores: np.ndarray
    seen: Sequence[Collection[str]] = ()


class Strip(NamedTuple):
    """One line of the picture.

    Args:
        label: what stands on its left.
        colours: RGB from 0 to 1, shape `(columns, 3)`, or `(3,)` for all of them.
        opacity: from 0 to 1, shape `(columns,)`.
        height: in lines.
        swatch: the colour that explains it, if it has one.
        spans: what is written into it where there is room.
    """

    label: str
    colours: np.ndarray
    opacity: np.ndarray
    height: float
    swatch: str | None = None
    spans: Sequence[Segment | Span] = ()


def timeline_figure(
    title: str,
    activities: Sequence[str],
    slots: Slots,
    segments: Sequence[Segment],
    labels: Sequence[Span] = (),
    width_in: float = WIDTHS_IN["wide"],
    brief: bool = False,
) -> Figure:
    """Labels, what was recognised, which sensors were missing, and a strip of scores for each activity.

    Each activity has one colour. Of more than twelve, those have a strip that are labelled or recognised for
    longest, and the others share one, of the highest of their scores.

    Args:
        title: the recording's name.
        activities: in the order of the scores.
        slots: what a model saw.
        segments: what was recognised.
        labels: what was done, if that is known.
        width_in: of the figure, in inches.
        brief: leave out the scores and the title; `legend` says what colours stand for.

    Raises:
        DataError: shapes do not fit, a stretch of time does not last, or there is none at all.
    """
    spans: list[Segment | Span] = [*segments, *labels]
    edges = _edges(title, activities, slots, spans)
    colours, named = _colours(activities, slots, spans)
    strips = [_spans_strip("labelled", labels, colours, edges)] if labels else []
    strips += [_spans_strip("predicted", segments, colours, edges), *_missing_strips(slots, edges)]
    scored = [] if brief else _score_strips(colours, named, slots, edges)
    top = 0.1 if brief else 1.0
    lines = [Line(top + i, strip.label, False) for i, strip in enumerate(strips)]
    if not brief:
        lines += [Line(0.0, short(title, int(width_in / TITLE_LETTER_IN)), True)]
        lines += [Line(1.5 + len(strips), "scores", True)]
    lines += [Line(2.5 + len(strips) + i, strip.label, False) for i, strip in enumerate(scored)]
    with mpl.rc_context(style()):
        figure, axes = canvas(lines, width_in, ROW_IN, below_in=BRIEF_BELOW_IN if brief else BELOW_IN)
        axes.set_xlim(edges[0], edges[-1])
        drawn = [line for line in lines if not line.heading]
        for line, strip in zip(drawn, [*strips, *scored], strict=True):
            _draw(axes, line.y, strip, edges)
        _label_time(axes, width_in)
        if brief:  # beside the ticks, not below
            inches = blended_transform_factory(figure.dpi_scale_trans, axes.transAxes)
            look: Any = {"textcoords": "offset points", "va": "top", "color": COLOURS["muted"][0]}
            axes.annotate(axes.get_xlabel(), (INDENT_IN, 0), (0, -3.5), inches, **look)
            axes.set_xlabel("")
    return figure


def legend(
    activities: Sequence[str], slots: Slots, segments: Sequence[Segment], labels: Sequence[Span] = ()
) -> dict[str, str]:
    """The colours of what was done or recognised, by activity, in a picture of `timeline_figure`.

    Those that share one are called so: `7 others`.

    Args:
        activities: from here on, as in `timeline_figure`.
        slots: what a model saw.
        segments: what was recognised.
        labels: what was done, if that is known.
    """
    spans: list[Segment | Span] = [*segments, *labels]
    colours, named = _colours(activities, slots, spans)
    there = {span.activity for span in spans}
    found = {name: colours[name] for name in named if name in there}
    others = len(there - set(named))
    return {**found, **({captions.count(others, "other"): OTHER} if others else {})}


def write_timeline_picture(
    path: Path,
    title: str,
    activities: Sequence[str],
    slots: Slots,
    segments: Sequence[Segment],
    labels: Sequence[Span] = (),
) -> None:
    """Write `timeline_figure` as SVG: small, however long the recording is, and always the same bytes.

    Args:
        path: the `.svg`.
        title: from here on, as in `timeline_figure`.
        activities: in the order of the scores.
        slots: what a model saw.
        segments: what was recognised.
        labels: what was done, if that is known.

    Raises:
        DataError: as `timeline_figure`, or the file cannot be written.
    """
    write_text(path, for_file(timeline_figure(title, activities, slots, segments, labels)))


def _edges(
    title: str, activities: Sequence[str], slots: Slots, spans: Sequence[Segment | Span]
) -> np.ndarray:
    """Seconds between which columns lie, shape `(columns + 1,)`.

    Raises:
        DataError: as `timeline_figure`.
    """
    where, count = f"timeline of {quote(title)}", len(slots.starts_s)
    shapes = slots.starts_s.shape, slots.stops_s.shape, slots.scores.shape
    expected = (count,), (count,), (count, len(activities))
    if shapes != expected or len(slots.seen) not in (0, count):
        raise DataError(
            f"{where}: starts, stops and scores have shapes {shapes}, with {len(slots.seen)} sets of "
            f"modalities, expected {expected}, with {count} or none"
        )
    starts_s = np.array([*slots.starts_s, *(span.start_s for span in spans)], float)
    stops_s = np.array([*slots.stops_s, *(span.stop_s for span in spans)], float)
    if not len(starts_s):
        raise DataError(f"{where}: holds nothing, expected a slot, a segment or a label")
    if not np.isfinite(slots.scores).all():
        raise DataError(f"{where}: a score is not finite, expected 0 to 1")
    if not (np.isfinite(stops_s - starts_s).all() and (starts_s < stops_s).all()):
        raise DataError(f"{where}: a slot, segment or label does not last, expected a start and a later stop")
    return np.linspace(starts_s.min(), stops_s.max(), COLUMNS + 1)


def _colours(
    activities: Sequence[str], slots: Slots, spans: Sequence[Segment | Span]
) -> tuple[dict[str, str], list[str]]:
    """The colour of every activity, and the activities that have one to themselves."""
    names = [*activities, *sorted({span.activity for span in spans} - set(activities))]
    named = _named(names, slots.scores, spans)
    return dict.fromkeys(names, OTHER) | dict(zip(named, PALETTE, strict=False)), named


def _named(names: Sequence[str], scores: np.ndarray, spans: Sequence[Segment | Span]) -> list[str]:
    """The activities with a colour: all, or those with the longest spans, then with the highest scores."""
    lasting_s = dict.fromkeys(names, 0.0)
    for span in spans:
        lasting_s[span.activity] += span.stop_s - span.start_s
    means = scores.sum(axis=0).tolist() + [0.0] * (len(names) - scores.shape[1])
    ranked = sorted(zip(names, means, strict=True), key=lambda pair: (-lasting_s[pair[0]], -pair[1]))
    first = {name for name, _ in ranked[:MOST]}
    return [name for name in names if name in first]


def _spans_strip(
    label: str, spans: Sequence[Segment | Span], colours: Mapping[str, str], edges: np.ndarray
) -> Strip:
    """The colours of what fills most of each column."""
    there = sorted({span.activity for span in spans})
    ends = np.array([(span.start_s, span.stop_s) for span in spans], float).reshape(-1, 2)
    which = np.array([[span.activity == name for name in there] for span in spans], float)
    shares = _filled(ends[:, 0], ends[:, 1], which.reshape(len(spans), len(there)), edges)
    rgb = np.array([to_rgb(colours[name]) for name in there]).reshape(-1, 3)
    winners = rgb[shares.argmax(axis=1)] if there else np.zeros(3)
    opacity = _visible(shares.sum(axis=1))
    opacity[_seams(ends, edges)] = 0
    return Strip(label, winners, opacity, 0.9, spans=spans)


def _seams(ends: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The columns at which one long stretch of time follows another at once: two for each.

    Args:
        ends: start and stop of each, shape `(n, 2)`.
        edges: of the columns.
    """
    step_s, ordered = edges[1] - edges[0], ends[ends[:, 0].argsort(kind="stable")]
    long = ordered[:, 1] - ordered[:, 0] > LONG * step_s
    touch = np.abs(ordered[1:, 0] - ordered[:-1, 1]) < step_s
    starts_s = ordered[1:, 0][touch & long[1:] & long[:-1]]
    columns = np.floor((starts_s - edges[0]) / step_s).astype(int)
    return np.concatenate([columns - 1, columns])


def _missing_strips(slots: Slots, edges: np.ndarray) -> list[Strip]:
    """Where each modality was missing that was there at another time."""
    strips = []
    for name in sorted(set().union(*slots.seen)):
        lacking = np.array([[name not in seen] for seen in slots.seen], float)
        if lacking.any():
            shares = np.nan_to_num(_means(slots, lacking, edges)[:, 0])
            strips.append(Strip(f"without {name}", np.array(to_rgb(OTHER)), _visible(shares), 0.25))
    return strips


def _score_strips(
    colours: Mapping[str, str], named: Sequence[str], slots: Slots, edges: np.ndarray
) -> list[Strip]:
    """A strip for each activity that is named, and one for the others.

    Args:
        colours: by activity, in the order of the scores; those behind them have none.
        named: the activities with a colour of their own.
        slots: with the scores.
        edges: of the columns.
    """
    names = list(colours)
    others = [name for name in names if name not in named]
    strips = []
    for group in [*([name] for name in named), *([others] if others else [])]:
        label = group[0] if len(group) == 1 else f"{len(group)} others"
        places = [names.index(name) for name in group if names.index(name) < slots.scores.shape[1]]
        opacity = np.zeros(COLUMNS)
        if places:
            highest = slots.scores[:, places].max(axis=1, keepdims=True).astype(float)
            means = _means(slots, highest, edges)[:, 0]
            opacity = np.nan_to_num(GROUND + (1 - GROUND) * np.clip(means, 0, 1))
        colour = colours[group[0]]
        strips.append(Strip(label, np.array(to_rgb(colour)), opacity, 0.74, swatch=colour))
    return strips


def _filled(starts_s: np.ndarray, stops_s: np.ndarray, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How much of each column is filled by stretches of time, each as much as it is worth.

    Args:
        starts_s: seconds, shape `(n,)`.
        stops_s: seconds, shape `(n,)`.
        values: what each is worth, shape `(n, kinds)`.
        edges: of the columns, shape `(columns + 1,)`.

    Returns:
        Shares, shape `(columns, kinds)`.
    """
    if not len(starts_s):
        return np.zeros((len(edges) - 1, values.shape[1]))
    times = np.concatenate([starts_s, stops_s])
    order = np.argsort(times, kind="stable")
    times, worth = times[order], np.concatenate([values, -values])[order].cumsum(axis=0)
    area = np.zeros_like(worth)  # up to each of these times
    area[1:] = (worth[:-1] * np.diff(times)[:, None]).cumsum(axis=0)
    reached = np.stack([np.interp(edges, times, kind) for kind in area.T], axis=1)
    shares: np.ndarray = np.diff(reached, axis=0) / np.diff(edges)[:, None]
    return shares


def _means(slots: Slots, values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The mean of `values`, shape `(slots, kinds)`, over the slots in each column; NaN without slots."""
    ones = np.ones((len(values), 1))
    filled = _filled(slots.starts_s, slots.stops_s, np.hstack([values, ones]), edges)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: np.ndarray = np.where(filled[:, -1:] > 1e-6, filled[:, :-1] / filled[:, -1:], np.nan)
    return means


def _visible(shares: np.ndarray) -> np.ndarray:
    """How opaque columns are of which shares are filled: what is too short for a column is seen still."""
    opacity: np.ndarray = np.where(shares > 1e-3, np.clip(shares, FAINTEST, 1), 0)
    return opacity


def _draw(axes: Axes, y: float, strip: Strip, edges: np.ndarray) -> None:
    """One strip, as a picture of a single row: as many bytes for an hour as for a minute."""
    colours = np.broadcast_to(strip.colours, (COLUMNS, 3))
    pixels = np.hstack([colours, strip.opacity[:, None]])
    low, high = y + strip.height / 2, y - strip.height / 2
    axes.imshow(
        (255 * pixels[None]).round().astype(np.uint8),
        extent=(edges[0], edges[-1], low, high),
        aspect="auto",
        interpolation="none",
        zorder=2,
    )
    if strip.swatch:
        inches = blended_transform_factory(axes.figure.dpi_scale_trans, axes.transData)
        half = SWATCH_IN / ROW_IN / 2
        box = Rectangle((0.01, y - half), SWATCH_IN, 2 * half, transform=inches, clip_on=False)
        box.set(facecolor=strip.swatch, linewidth=0)
        axes.add_patch(box)
    in_per_s = axes.bbox.width / axes.figure.dpi / (edges[-1] - edges[0])
    for span in strip.spans:
        name, middle_s = short(span.activity, NAME_LETTERS), (span.start_s + span.stop_s) / 2
        if (breadth(name) + 2) * NAME_LETTER_IN < in_per_s * (span.stop_s - span.start_s):
            ground = colours[np.searchsorted(edges, middle_s) - 1]
            look: Any = {"color": _readable_on(ground), "size": NAME_PT, "weight": "bold", "zorder": 3}
            axes.text(middle_s, y, name, ha="center", va="center_baseline", **look)


def _readable_on(ground: np.ndarray) -> str:
    """White or black, whichever stands out more from a colour (WCAG 2), on a page in light or dark."""
    linear = np.where(ground <= 0.04045, ground / 12.92, ((ground + 0.055) / 1.055) ** 2.4)
    return WHITE if linear @ (0.2126, 0.7152, 0.0722) < 0.179 else BLACK


def _label_time(axes: Axes, width_in: float) -> None:
    """Ticks at round times, in seconds, minutes or hours."""
    start_s, stop_s = axes.get_xlim()
    least_s = (stop_s - start_s) / (5 if width_in < WIDTHS_IN["wide"] else 9)
    unit = "s" if stop_s <= 120 else "min:s" if stop_s <= 3600 else "h:min:s"
    if least_s > 1:
        days_s = 86400 * math.ceil(least_s / 86400)
        step_s = next((step for step in STEPS_S if step >= least_s), days_s)
        unit = "h:min" if unit == "h:min:s" and step_s >= 60 else unit
        ticks = np.arange(math.ceil(start_s / step_s), math.floor(stop_s / step_s) + 1) * step_s
        axes.set_xticks(ticks, [_clock(int(tick), unit) for tick in ticks])
    else:
        unit = "s"
        axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel(f"time, {unit}")


def _clock(seconds: int, unit: str) -> str:
    """Whole seconds as a clock shows them."""
    minutes, rest = divmod(abs(seconds), 60)
    parts = {
        "s": (abs(seconds),),
        "min:s": (minutes, rest),
        "h:min": divmod(minutes, 60),
        "h:min:s": (*divmod(minutes, 60), rest),
    }[unit]
    return ("−" if seconds < 0 else "") + ":".join(
        f"{part:02}" if i else f"{part}" for i, part in enumerate(parts)
    )
