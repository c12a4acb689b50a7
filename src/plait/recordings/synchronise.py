"""Synchronise the recordings of a folder: `sync.json` and one picture to judge it by, for each."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from plait.errors import ConfigError, DataError
from plait.patterns import matching
from plait.recordings.by_hand import some
from plait.recordings.folder import (
    SYNC,
    Clock,
    Description,
    LogFile,
    read_description,
    read_logs,
    read_sync,
    write_sync,
)
from plait.recordings.logs import SensorLog, read_log
from plait.recordings.media import opened
from plait.recordings.sound import read_sound
from plait.recordings.sync import Fit, align, claps_heard
from plait.recordings.sync_picture import PICTURE, draw
from plait.recordings.video import motion_energy
from plait.types import Readings

LONGEST_S = 24 * 3600.0  # of a video


def synchronise(
    folder: Path,
    offsets_s: Mapping[str, float] | None = None,
    *,
    audio: bool = True,
    max_offset_s: float = 10.0,
    again: Collection[str] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Fit]:
    """Lay every log of the recording in `folder` on its video's clock; write `sync.json` and `sync.svg`.

    `offsets_s` are taken as they are, by log, with status `manual`, and stay until they are given anew or the log is
    among `again`. A log with `same_clock` takes its offset from that log. Without `audio`, or without sound in the
    video, no claps are looked for. `tell` is called with what the user should know.

    Raises:
        DataError: a file is missing or damaged, `offsets_s` names no log, the video is longer than a day, a log has
            neither acceleration nor an offset nor another's clock, or an offset lays it wholly outside the video.
        ConfigError: an offset is not finite, or of a log that has another's clock.
    """
    described = read_description(folder)
    given = _given(folder, described, offsets_s or {})
    try:
        stands = read_sync(folder) if (folder / SYNC).exists() else {}
    except DataError as error:
        raise DataError(f"{error}; remove it to look anew") from error
    shared = {name: log.same_clock for name, log in described.logs.items() if log.same_clock}
    for name, clock in stands.items():
        if clock.status == "manual" and name in described.logs and name not in {*given, *again, *shared}:
            given[name] = clock
            tell(f"{name}: set by hand, kept (--again {folder.name}/{name} looks anew)")
    logs = read_logs(folder, described)
    moved = {
        name: _acceleration(folder, name, log, described.logs[name])
        for name, log in logs.items()
        if name not in given and name not in shared
    }
    motion = motion_energy(folder / described.video)
    if motion.times[-1] > LONGEST_S:
        raise DataError(
            f"{folder / described.video}: lasts {motion.times[-1] / 3600:.0f} hours by its frames' times, "
            f"expected at most {LONGEST_S / 3600:.0f}"
        )
    sound = _sound(folder / described.video, tell) if audio else None
    heard = np.empty(0) if sound is None else claps_heard(sound)
    clocks: dict[str, Clock] = {}
    fits: dict[str, Fit] = {}
    for name in (*(one for one in logs if one not in shared), *shared):
        if name in shared:
            clocks[name] = _shared(folder, described, logs, name, clocks[shared[name]])
        elif name in given:
            clocks[name] = given[name]
        else:
            fits[name] = align(heard, motion, moved[name], max_offset_s=max_offset_s)
            fit = fits[name]
            clocks[name] = Clock(fit.offset_s, fit.drift_ppm, fit.residual_ms, fit.confidence, fit.status)
        if clocks[name].status == "manual":
            _check_overlap(folder, name, logs[name], clocks[name], motion)
        if name not in fits:
            why = f"on the clock of {shared[name]}" if name in shared else ""
            fits[name] = Fit(**asdict(clocks[name]), why=why)
    fits = {name: fits[name] for name in logs}
    write_sync(folder, {name: clocks[name] for name in logs})
    for name, log in logs.items():
        if name not in moved and described.logs[name].acceleration:
            try:
                moved[name] = _acceleration(folder, name, log, described.logs[name])
            except DataError as error:
                tell(f"{name}: not in {PICTURE}: {error}")
    draw(folder, described.subject, sound, heard, motion, moved, fits, clocks)
    return fits


def _given(folder: Path, described: Description, offsets_s: Mapping[str, float]) -> dict[str, Clock]:
    """The clocks that are given by hand."""
    for name, seconds in offsets_s.items():
        if name not in described.logs:
            expected = some(described.logs) or "none"
            raise DataError(f"{folder}: no log {name!r}, expected one of: {expected}")
        if described.logs[name].same_clock:
            raise ConfigError(
                f"{folder}: {name} is on the clock of {described.logs[name].same_clock}; give that one's offset"
            )
        if not math.isfinite(seconds):
            raise ConfigError(f"--offset {name}={seconds}: expected a finite number of seconds")
    return {name: Clock(float(seconds)) for name, seconds in offsets_s.items()}


def _check_overlap(folder: Path, name: str, log: SensorLog, clock: Clock, motion: Readings) -> None:
    first_s, last_s = log.times[[0, -1]]
    start_s, stop_s = clock(motion.times[[0, -1]])
    if not (start_s <= last_s and stop_s >= first_s):
        raise DataError(
            f"{folder}: offset {clock.offset_s:g} s lays {name} wholly outside the video, expected one between "
            f"{first_s - motion.times[-1]:.3f} and {last_s - motion.times[0]:.3f} s"
        )


def _shared(
    folder: Path, described: Description, logs: Mapping[str, SensorLog], name: str, clock: Clock
) -> Clock:
    """The clock of a log whose device wrote another's times too: that one's, from its own first reading on."""
    starts = {}
    for one in (name, described.logs[name].same_clock or name):
        how = described.logs[one].log()
        starts[one] = (
            0.0
            if how.absolute
            else float(read_log(folder / described.logs[one].file, replace(how, absolute=True)).times[0])
        )
    (own, other) = starts
    own_s, other_s = (starts[one] + logs[one].times[[0, -1]] for one in (own, other))
    if own_s[0] > other_s[1] or other_s[0] > own_s[1]:
        raise DataError(
            f"{folder / 'recording.toml'}: logs.{name}.same_clock: {other!r} was read from {other_s[0]:.3f} to "
            f"{other_s[1]:.3f} s, {name} from {own_s[0]:.3f} to {own_s[1]:.3f} s; expected times of one clock"
        )
    apart_s = (starts[other] - starts[own]) / (1 + clock.drift_ppm * 1e-6)
    return replace(clock, offset_s=clock.offset_s + apart_s)


def _sound(video: Path, tell: Callable[[str], None]) -> Readings | None:
    """The video's sound; None, and a word, where there is none that can be read."""
    with opened(video) as container:
        if not container.streams.audio:
            tell("the video has no sound: motion alone")
            return None
    try:
        sound = read_sound(video)
    except DataError as error:
        tell(f"the video's sound cannot be used, motion alone: {error}")
        return None
    if sound.about:
        tell(sound.about)
    return sound.readings


def _acceleration(folder: Path, name: str, log: SensorLog, described: LogFile) -> Readings:
    """The columns of acceleration (n, 3), readings without a number left out."""
    where = f"{folder / 'recording.toml'}: logs.{name}.acceleration"
    ways_out = f'expected three of its columns, or same_clock = "another log", or --offset {folder.name}/{name}=SECONDS'
    wanted = list(
        dict.fromkeys(column for one in described.acceleration for column in matching(one, log.names))
    )
    if len(wanted) != 3:
        raise DataError(f"{where}: names {some(wanted) or 'none'}, {ways_out}")
    values = log.values[:, [log.names.index(column) for column in wanted]].astype(np.float64)
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        raise DataError(f"{folder / described.file}: no acceleration known in {some(wanted)}, {ways_out}")
    return Readings(log.times[known], values[known])
