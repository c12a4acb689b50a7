"""The picture by which a recording's synchronisation is judged: `sync.svg`."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from plait.names import printable
from plait.recordings.folder import Clock
from plait.recordings.sync import Fit, claps_felt, hand_speed, within
from plait.store import atomic
from plait.types import Readings

PICTURE = "sync.svg"
MARGIN_S = 20.0  # of a log, drawn beyond the video, so that it may be moved into it
STYLE: dict[Any, Any] = {  # the same bytes every time, text as text, no mathematics in names
    "svg.hashsalt": "plait",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.usetex": False,
}


def draw(
    folder: Path,
    subject: str,
    sound: Readings | None,
    heard: np.ndarray,
    motion: Readings,
    moved: Mapping[str, Readings],
    fits: Mapping[str, Fit],
    clocks: Mapping[str, Clock],
) -> None:
    """Draw the waveform, the picture's motion, and each log's before and after, on the video's clock.

    Args:
        folder: of the recording, where the picture goes.
        subject: for the title.
        sound: the video's, `(n,)`; None: it has none.
        heard: seconds of the claps in it.
        motion: how much the video's picture changes, `(n,)`.
        moved: acceleration, `(n, 3)`, by log, on the log's own clock.
        fits: by log, for its title.
        clocks: by log.
    """
    rows = 2 + 2 * len(moved)
    stop_s = max(float(motion.times[-1]), 0.1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 1.1 * rows + 0.8), layout="constrained")
        axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
        if sound is not None:
            step = max(len(sound.times) // 4000, 1)
            count = len(sound.times) // step
            loud = np.abs(sound.values[: count * step]).reshape(count, step).max(axis=1)
            axes[0].fill_between(sound.times[: count * step : step], -loud, loud, color="0.4", linewidth=0)
        title = "sound, and what begins sharply in it" if sound is not None else "no sound"
        _mark_row(axes[0], title, np.empty(0), heard)
        axes[1].plot(motion.times, _scaled(motion.values), color="black", linewidth=0.6)
        _mark_row(axes[1], "how much the picture changes", np.empty(0), np.empty(0))
        for i, (name, acceleration) in enumerate(moved.items()):
            for axis, label, clock in (
                (axes[2 + 2 * i], "as it came", Clock(0.0)),
                (axes[3 + 2 * i], _summary(fits[name]), clocks[name]),
            ):
                start_s, end_s = clock(np.array([0.0, stop_s]))
                near = within(acceleration, start_s - MARGIN_S, end_s + MARGIN_S)
                speed = hand_speed(near)
                axis.plot(clock.video_s(speed.times), _scaled(speed.values), color="tab:blue", linewidth=0.6)
                _mark_row(axis, f"{name}, {label}", clock.video_s(claps_felt(near)), heard)
        axes[-1].set_xlim(0, stop_s)
        axes[-1].set_xlabel("seconds of the video")
        figure.suptitle(printable(f"{folder.name} ({subject})"), x=0.01, ha="left", fontsize=11)
        with atomic(folder / PICTURE) as file, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph", UserWarning)  # the reader's own fonts have it
            figure.savefig(file, format="svg", metadata={"Date": None})


def _mark_row(axis: Axes, title: str, felt: np.ndarray, heard: np.ndarray) -> None:
    """A row's title, what was heard and felt, and no frame."""
    for clap in heard:
        axis.axvline(clap, color="tab:orange", linewidth=0.8)
    axis.plot(felt, np.full(len(felt), 1.05), "v", color="tab:red", markersize=3)
    axis.set_title(printable(title), loc="left", fontsize=9)
    axis.set_yticks([])
    axis.spines[["top", "right", "left"]].set_visible(False)


def _scaled(values: np.ndarray) -> np.ndarray:
    top = float(np.quantile(values, 0.995)) or 1.0
    return np.asarray(np.clip(values / top, 0, 1))


def _summary(fit: Fit) -> str:
    line = f"offset {fit.offset_s:+.3f} s, drift {fit.drift_ppm:+.0f} ppm: {fit.status}"
    if fit.status == "manual":
        return line
    return f"{line} (confidence {fit.confidence:.2f}, residual {fit.residual_ms:.0f} ms)"
