"""Fig. 9: what attends to what in one clip, the strongest cells expanded; whether the map can be believed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from plait.clips.windows import moments
from plait.errors import ConfigError
from plait.fusion.attention import Attention, attentions, without
from plait.report.captions import percent
from plait.report.clip_views import BONES, flattened, frames
from plait.report.drawing import COLOURS, style, write_figure
from plait.report.sheet import is_joints
from plait.store import write_csv
from plait.study.finished import FinishedRun, grids_of
from plait.trust import NOBODY, Trust
from plait.types import Clip, Modality, Recording

SHARES = (0.1, 0.25, 0.5, 0.75)
DRAWS = 10
CELLS = 3


def write_attention(
    run: Path,
    clip: str,
    method: str | None = None,
    *,
    fold: str | None = None,
    data: Path | None = None,
    trust: Trust = NOBODY,
) -> list[Path]:
    """Draw the attention of a trained fusion on one clip; returns its `RUN/attention/*.svg` (and `.pdf`).

    There is one picture for each lead and context. `deletion.csv` beside them says what taking positions out
    does to the accuracy on the test clips of the fold; it is of the method that was drawn last, which it
    names.

    Args:
        run: Folder of a finished run.
        clip: Name of the clip.
        method: Name of a fusion; by default the one that Table 2 names.
        fold: `FOLD/SEED`; by default the first seed's of the fold that tested it.
        data: Where the data set lies now; by default where it lay.
        trust: Whose code besides plait's may run.

    Raises:
        ConfigError: there is no such clip, method or fold, or the run names code that is not trusted.
        DataError: the run or its data cannot be read.
    """
    finished = FinishedRun.open(run, data, trust)
    if method is None:
        choice = finished.choice()
        if choice is None:
            raise ConfigError(f"{run}: no fusion in this run, expected one")
        method = choice.method
    clips, row = finished.clips(method), finished.row(clip)
    recording, cut = finished.cuts[row]
    fold = fold or finished.fold_of(method, cut.name)
    network = finished.network(method, fold, clips)
    modalities = finished.study.method(method).modalities
    if not cut.holds(modalities):
        raise ConfigError(f"clip {clip} lacks {', '.join(cut.lacks)}, expected one that {method} sees whole")
    with torch.inference_mode():
        grids = grids_of(network, clips, modalities, np.array([row]))
        maps = attentions(network.method, grids)
        scores = network.method(grids).softmax(1)[0]
    rows = clips.holding(modalities, finished.tested(method, fold))
    activities = finished.dataset.activities
    labels = torch.tensor([activities.index(finished.cuts[test][1].activity) for test in rows])
    curves = deletion(network.method, grids_of(network, clips, modalities, rows), labels)
    folder = run / "attention"
    of = [pl.lit(method).alias("method"), pl.lit(fold).alias("fold")]
    write_csv(folder / "deletion.csv", curves.select(*of, pl.all()))
    guess = f"{activities[int(scores.argmax())]} ({percent(float(scores.max()))} %)"
    title = f"{cut.name}: {cut.activity}, taken for {guess} by {method}"
    if row not in rows:
        title += f", fold {fold}, which was not tested on it"
    written = []
    for attention in maps:
        figure = draw(attention, curves, finished, recording, cut, title)
        name = f"{cut.name}-{method}-{attention.lead}-{attention.context}".replace("/", "_")
        written.append(write_figure(figure, folder / name))
    return written


def deletion(method: torch.nn.Module, grids: dict[str, torch.Tensor], labels: torch.Tensor) -> pl.DataFrame:
    """Accuracy without a share of the context: `removed, share, accuracy`; random is a mean of ten draws."""
    rows: list[tuple[str, float, float]] = []
    generator = torch.Generator().manual_seed(0)

    def accuracy(scores: torch.Tensor) -> float:
        return float((scores.argmax(1) == labels).float().mean())

    with torch.inference_mode():
        whole = accuracy(method(grids))
        rows += [("attended", 0.0, whole), ("random", 0.0, whole)]
        for share in SHARES:
            rows.append(("attended", share, accuracy(without(method, grids, share))))
            draws = [accuracy(without(method, grids, share, "random", generator)) for _ in range(DRAWS)]
            rows.append(("random", share, sum(draws) / DRAWS))
    return pl.DataFrame(rows, schema=["removed", "share", "accuracy"], orient="row")


def draw(
    attention: Attention,
    told: pl.DataFrame,
    finished: FinishedRun,
    recording: Recording,
    clip: Clip,
    title: str,
) -> Figure:
    """The map over time, as f and normalised; the deletion test; the strongest cells, expanded.

    Args:
        attention: The map of one lead and context.
        told: `deletion`.
        finished: The run, for its data set.
        recording: What the clip was cut from.
        clip: Which.
        title: Of the figure.
    """
    lead, context = (finished.dataset.modality(name) for name in (attention.lead, attention.context))
    f, relation = attention.over_time()[0].numpy(), attention.relation_over_time()[0].numpy()
    cells = _strongest(f)
    with mpl.rc_context(style() | {"axes.grid": False, "ytick.labelleft": True}):
        figure = Figure(figsize=(8.2, 3.5 + 1.75 * len(cells)))
        above = 3.5 / figure.get_figheight()
        figure.text(0.02, 1 - 0.2 / figure.get_figheight(), title, weight="bold", va="top")
        maps = ((f, "f, eq. 2, not normalised"), (relation, "normalised, rows sum to 1"))
        for number, (values, name) in enumerate(maps):
            axes = figure.add_axes((0.08 + 0.32 * number, 1 - 0.82 * above, 0.26, 0.56 * above))
            _draw_map(axes, values, cells)
            axes.set_title(name, fontsize=8.5)
            axes.set_xlabel(f"{context.name}, step")
            axes.set_ylabel("" if number else f"{lead.name}, step")
        _draw_deletion(figure.add_axes((0.76, 1 - 0.82 * above, 0.2, 0.56 * above)), told)
        dependence = float(attention.query_dependence()[0])
        note = f"query dependence {dependence:.3f} (0: every position of {lead.name} attends alike)"
        note += f"; shown is {attention.shown}" if attention.shown else ""
        figure.text(0.08, 1 - 0.985 * above, note, color=COLOURS["muted"][0])
        for number, cell in enumerate(cells):
            bottom = (len(cells) - 1 - number) * (1 - above) / len(cells) + 0.09 / len(cells)
            height = (1 - above) / len(cells) * 0.72
            figure.text(0.02, bottom + height, "ABC"[number], weight="bold", va="top", fontsize=10)
            sides = zip((lead, context), _split_cell(attention, cell), strict=True)
            for side, (modality, (step, where)) in enumerate(sides):
                axes = figure.add_axes((0.08 + 0.48 * side, bottom, 0.4, height))
                _draw_moment(axes, finished.dataset.name, modality, recording, clip, step, where)
    return figure


def _draw_map(axes: Axes, values: np.ndarray, cells: Sequence[tuple[int, int]]) -> None:
    """A map over time with the letters of its strongest cells."""
    axes.imshow(values, aspect="auto", cmap="cividis", interpolation="nearest")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    for number, (t, s) in enumerate(cells):
        ink = "#000000" if values[t, s] > 0.6 * values.max() else "#ffffff"  # cividis ends in yellow
        axes.text(s, t, "ABC"[number], ha="center", va="center", color=ink, weight="bold", fontsize=8)


def _draw_deletion(axes: Axes, curves: pl.DataFrame) -> None:
    """The deletion test: if maps are true, what they point at costs more than anything else to take out."""
    for removed, colour, marker in (("attended", "fusion", "D"), ("random", "single", "o")):
        rows = curves.filter(pl.col("removed") == removed)
        percents = [[100 * x for x in rows[column]] for column in ("share", "accuracy")]
        look: Any = {"color": COLOURS[colour][0], "marker": marker, "markersize": 4, "linewidth": 1.4}
        axes.plot(*percents, label=removed, **look)
    axes.set_title("deletion, accuracy %", fontsize=8.5)
    axes.set_xlabel("context taken out, %")
    axes.legend(frameon=False, fontsize=7.5, loc="best")


def _strongest(f: np.ndarray) -> list[tuple[int, int]]:
    """The strongest cells, no two in the same row or column."""
    left, cells = f.astype(float).copy(), []
    for _ in range(min(CELLS, *f.shape)):
        t, s = np.unravel_index(int(left.argmax()), f.shape)
        cells.append((int(t), int(s)))
        left[t, :] = left[:, s] = -1.0
    return cells


def _split_cell(attention: Attention, cell: tuple[int, int]) -> list[tuple[tuple[int, int], np.ndarray]]:
    """Of the lead, then the context: which step of how many a cell is, and f at each place of that step."""
    t, s = cell
    f = (attention.logits[0] - attention.logits[0].max()).exp().numpy()
    lead, context = attention.lead_shape or (1,), attention.context_shape or (1,)
    of_lead = f.reshape(*lead, *context)[t]
    inside = of_lead.reshape(*lead[1:], context[0], -1)[..., s, :].sum(-1)
    outside = of_lead.reshape(-1, *context).sum(0)[s]
    return [((t, lead[0]), inside), ((s, context[0]), outside)]


def _draw_moment(
    axes: Axes,
    dataset: str,
    modality: Modality,
    recording: Recording,
    clip: Clip,
    step: tuple[int, int],
    where: np.ndarray,
) -> None:
    """What was recorded at one step of so many, and over it the map's values at its places."""
    seconds = moments(modality, clip.start_s, clip.stop_s)
    start, length = float(seconds[0]), float(seconds[-1] - seconds[0]) or 1.0
    number, steps = step
    middle = start + (number + 0.5) / steps * length
    axes.set_title(f"{modality.name}, {middle - clip.start_s:.1f} s into the clip", fontsize=8.5, loc="left")
    stream = recording.streams[modality.streams[0]]
    reading = stream.at(np.array([middle]))[0]
    pictures = frames(modality, recording, clip, np.array([middle]))
    if pictures is not None or reading.ndim > 2:
        _draw_picture(axes, pictures[0] if pictures else None, where)
    elif len(modality.streams) == 1 and is_joints(reading):
        _body(axes, stream.at(seconds), reading, where, BONES.get((dataset, modality.name), ()))
    elif where.ndim == 1 and len(where) > 1:  # places that are no picture and no joints
        axes.bar(range(len(where)), where / max(float(where.max()), 1e-12), color=COLOURS["fusion"][0])
        axes.set_xlabel("place")
    else:
        edges = start - clip.start_s + np.array([number, number + 1]) / steps * length
        _draw_signals(axes, modality, recording, clip, edges)


def _draw_picture(axes: Axes, frame: np.ndarray | None, where: np.ndarray) -> None:
    """A frame with the map over it; the map by itself where there are features and no frames."""
    if frame is None:
        places = where if where.ndim == 2 else where.reshape(len(where), -1)
        axes.imshow(places, cmap="inferno", interpolation="nearest")
    else:
        axes.imshow(frame)
        if where.ndim == 2:
            side = len(frame) - 0.5
            whole = (-0.5, side, side, -0.5)
            axes.imshow(where, cmap="inferno", alpha=0.45, extent=whole, interpolation="bilinear")
    axes.set_axis_off()


def _body(
    axes: Axes, every: np.ndarray, now: np.ndarray, where: np.ndarray, bones: Sequence[tuple[int, int]]
) -> None:
    """Joints at one moment, larger and darker as they are attended to; alike where the grid has others."""
    places = flattened(np.concatenate([every, now[None]]))[-1]
    for a, b in bones:
        axes.plot(*places[[a, b]].T, color=COLOURS["muted"][0], linewidth=1.2, zorder=1)
    share = np.full(len(places), 0.2)
    if where.shape == share.shape:
        share = where / max(float(where.max()), 1e-12)
    look: Any = {"cmap": "viridis_r", "vmin": 0, "vmax": 1, "linewidths": 0}
    axes.scatter(places[:, 0], places[:, 1], s=8 + 90 * share, c=share, zorder=2, **look)
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(1.05, -0.05)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _draw_signals(
    axes: Axes, modality: Modality, recording: Recording, clip: Clip, edges: np.ndarray
) -> None:
    """A clip's signals, each about its mean, with the step between two `edges` marked."""
    seconds = moments(modality, clip.start_s, clip.stop_s)
    streams = [recording.streams[name].at(seconds).reshape(len(seconds), -1) for name in modality.streams]
    values = np.concatenate(streams, axis=1)
    spread = values - values.mean(0)
    axes.plot(seconds - clip.start_s, spread / np.maximum(spread.std(0), 1e-9), linewidth=0.6, alpha=0.7)
    axes.axvspan(float(edges[0]), float(edges[1]), color=COLOURS["fusion"][0], alpha=0.18, linewidth=0)
    axes.set_yticks([])
