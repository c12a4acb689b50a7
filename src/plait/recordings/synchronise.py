"""Synchronise the recordings of a folder: `sync.json` and one picture to judge it by, for each."""

import warnings
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from plait.errors import DataError, PlaitWarning
from plait.recordings.folder import Clock, Description, LogFile, read_description, read_logs, write_sync
from plait.recordings.logs import SensorLog
from plait.recordings.sound import read_sound
from plait.recordings.sync import Fit, align, claps_felt, claps_heard, hand_speed
from plait.recordings.video import motion_energy
from plait.store import atomic
from plait.types import Readings

PICTURE = "sync.svg"


def synchronise(
    folder: Path,
    offsets_s: Mapping[str, float] | None = None,
    *,
    audio: bool = True,
    max_offset_s: float = 10.0,
) -> dict[str, Fit]:
    """Lay every log of the recording in `folder` on its video's clock; write `sync.json` and `sync.svg`.

    `offsets_s` are taken as they are, by log, with status `manual`. Without `audio` no claps are looked for.

    Raises:
        DataError: a file is missing or damaged, the video has no audio track although `audio` is asked for, a log has
            no acceleration and no manual offset, or `offsets_s` names no log.
    """
    offsets_s = offsets_s or {}
    described = read_description(folder)
    for name in offsets_s:
        if name not in described.logs:
            raise DataError(f"{folder}: no log {name!r}, expected one of: {', '.join(described.logs) or 'none'}")
    logs = read_logs(folder, described)
    moved = {
        name: _acceleration(folder, log, described.logs[name])
        for name, log in logs.items()
        if described.logs[name].acceleration or name not in offsets_s
    }
    video = folder / described.video
    sound = _sound(video) if audio else None
    motion = motion_energy(video)
    heard = np.empty(0) if sound is None else claps_heard(sound)
    fits: dict[str, Fit] = {}
    for name in logs:
        if name in offsets_s:
            fits[name] = Fit(offsets_s[name], 0.0, 0.0, 1.0, "manual")
        else:
            fits[name] = align(heard, motion, moved[name], max_offset_s=max_offset_s)
    write_sync(folder, {name: _clock(fit) for name, fit in fits.items()})
    _picture(folder, described, sound, heard, motion, moved, fits)
    return fits


def _sound(video: Path) -> Readings:
    """A video's sound, and a word on which it is where there was a choice."""
    sound = read_sound(video)
    if sound.about:
        warnings.warn(f"{video}: {sound.about}", PlaitWarning, stacklevel=3)
    return sound.readings


def _clock(fit: Fit) -> Clock:
    return Clock(fit.offset_s, fit.drift_ppm, fit.residual_ms, fit.confidence, fit.status)


def _acceleration(folder: Path, log: SensorLog, described: LogFile) -> Readings:
    """The columns of acceleration (n, 3), readings without a number left out."""
    wanted = [i for i, name in enumerate(log.names) if any(fnmatchcase(name, one) for one in described.acceleration)]
    if len(wanted) != 3:
        got = ", ".join(log.names[i] for i in wanted) or "none"
        raise DataError(
            f"{folder / 'recording.toml'}: logs.{described.file}: acceleration names {got}, expected three columns, "
            "or give the log's offset"
        )
    values = log.values[:, wanted].astype(np.float64)
    known = np.isfinite(values).all(axis=1)
    if known.sum() < 2:
        raise DataError(f"{folder / described.file}: no acceleration known, expected readings")
    return Readings(log.times[known], values[known])


def _picture(
    folder: Path,
    described: Description,
    sound: Readings | None,
    heard: np.ndarray,
    motion: Readings,
    moved: Mapping[str, Readings],
    fits: Mapping[str, Fit],
) -> None:
    """Waveform, the picture's motion, and each log's before and after, one above the other, on the video's clock."""
    rows = 2 + 2 * len(moved)
    figure = Figure(figsize=(11, 1.1 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    stop_s = motion.times[-1]
    if sound is not None:
        step = max(len(sound.times) // 4000, 1)
        count = len(sound.times) // step
        loud = np.abs(sound.values[: count * step]).reshape(count, step).max(axis=1)
        axes[0].fill_between(sound.times[: count * step : step], -loud, loud, color="0.4", linewidth=0)
    for clap in heard:
        axes[0].axvline(clap, color="tab:orange", linewidth=0.8)
    axes[0].set_title(
        "sound, and what begins sharply in it" if sound is not None else "no sound", loc="left", fontsize=9
    )
    axes[1].plot(motion.times, _unit(motion.values), color="black", linewidth=0.6)
    axes[1].set_title("how much the picture changes", loc="left", fontsize=9)
    for i, (name, acceleration) in enumerate(moved.items()):
        fit, speed, felt = fits[name], hand_speed(acceleration), claps_felt(acceleration)
        clock = _clock(fit)
        for axis, label, times, claps in (
            (axes[2 + 2 * i], "as it came", speed.times, felt),
            (axes[3 + 2 * i], _words(fit), clock.video_s(speed.times), clock.video_s(felt)),
        ):
            axis.plot(times, _unit(speed.values), color="tab:blue", linewidth=0.6)
            for clap in heard:
                axis.axvline(clap, color="tab:orange", linewidth=0.8)
            axis.plot(claps, np.full(len(claps), 1.05), "v", color="tab:red", markersize=3)
            axis.set_title(f"{name}, {label}", loc="left", fontsize=9)
    for axis in axes:
        axis.set_yticks([])
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[-1].set_xlim(0, stop_s)
    axes[-1].set_xlabel("seconds of the video")
    figure.suptitle(f"{folder.name} ({described.subject})", x=0.01, ha="left", fontsize=11)
    with atomic(folder / PICTURE) as made:
        figure.savefig(made, format="svg", metadata={"Date": None})


def _unit(values: np.ndarray) -> np.ndarray:
    top = float(np.quantile(values, 0.995)) or 1.0
    scaled: np.ndarray = np.clip(values / top, 0, 1)
    return scaled


def _words(fit: Fit) -> str:
    """A fit in a line."""
    how = f"offset {fit.offset_s:+.3f} s, drift {fit.drift_ppm:+.0f} ppm: {fit.status}"
    return (
        how if fit.status == "manual" else f"{how} (confidence {fit.confidence:.2f}, residual {fit.residual_ms:.0f} ms)"
    )
