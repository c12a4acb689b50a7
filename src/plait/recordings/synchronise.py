"""Synchronise the recordings of a folder: `sync.json` and one picture to judge it by, for each."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

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

LONGEST_VIDEO_S = 24 * 3600.0  # of a video


def synchronise(
    folder: Path,
    offsets_s: Mapping[str, float] | None = None,
    *,
    audio: bool = True,
    max_offset_s: float = 10.0,
    again: Collection[str] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Fit]:
    """Lay every log of a recording on its video's clock; write `sync.json` and `sync.svg`.

    A log with `same_clock` takes its offset from that log.

    Args:
        folder: of the recording.
        offsets_s: by log, taken as they are, with status `manual`; they stay until they are given anew.
        audio: look for claps in the video's sound, if it has any.
        max_offset_s: offsets up to this either way are looked for.
        again: logs whose offsets given by hand no longer stand.
        tell: called with what the user should know.

    Raises:
        DataError: a file is missing or damaged, `offsets_s` names no log, the video is longer than a day, a
            log has neither acceleration nor an offset nor another's clock, an offset lays it wholly outside
            the video, or was given by hand when the log was read otherwise.
        ConfigError: an offset is not finite, or of a log that has another's clock.
    """
    described = read_description(folder)
    manual = _clocks_by_hand(folder, described, offsets_s or {})
    try:
        previous = read_sync(folder) if (folder / SYNC).exists() else {}
    except DataError as error:
        raise DataError(f"{error}; remove it to look anew") from error
    shared = {name: log.same_clock for name, log in described.logs.items() if log.same_clock}
    for name, clock in previous.items():
        if clock.status == "manual" and name in described.logs and name not in {*manual, *again, *shared}:
            if otherwise := clock.outlived(described.counts(name)):
                raise DataError(
                    f"{folder / SYNC}: {name} was set by hand when it was read otherwise: {otherwise}; "
                    f"give --offset {folder.name}/{name}=SECONDS anew, or --again {folder.name}/{name}"
                )
            manual[name] = clock
            tell(f"{name}: set by hand, kept (--again {folder.name}/{name} looks anew)")
    logs = read_logs(folder, described)
    moved = {
        name: _acceleration(folder, name, log, described.logs[name])
        for name, log in logs.items()
        if name not in manual and name not in shared
    }
    motion = motion_energy(folder / described.video)
    if motion.times[-1] > LONGEST_VIDEO_S:
        raise DataError(
            f"{folder / described.video}: lasts {motion.times[-1] / 3600:.0f} hours by its frames' times, "
            f"expected at most {LONGEST_VIDEO_S / 3600:.0f}"
        )
    sound = _sound(folder / described.video, tell) if audio else None
    heard = np.empty(0) if sound is None else claps_heard(sound)
    clocks: dict[str, Clock] = {}
    fits: dict[str, Fit] = {}
    for name in sorted(logs, key=lambda name: name in shared):
        if name in moved:
            fit = align(heard, motion, moved[name], max_offset_s=max_offset_s)
            clock = Clock(fit.offset_s, fit.drift_ppm, fit.residual_ms, fit.confidence, fit.status)
        elif name in shared:
            clock = _shared_clock(folder, described, logs, name, clocks[shared[name]])
            fit = Fit(*_found(clock), why=f"on the clock of {shared[name]}")
        else:
            clock = manual[name]
            fit = Fit(*_found(clock))
        if clock.status == "manual":
            _check_overlap(folder, name, logs[name], clock, motion)
        clocks[name], fits[name] = clock, fit
    fits = {name: fits[name] for name in logs}
    write_sync(folder, {name: clocks[name] for name in logs}, described)
    for name, log in logs.items():
        if name not in moved and described.logs[name].acceleration:
            try:
                moved[name] = _acceleration(folder, name, log, described.logs[name])
            except DataError as error:
                tell(f"{name}: not in {PICTURE}: {error}")
    draw(folder, described.subject, sound, heard, motion, moved, fits, clocks)
    return fits


def _clocks_by_hand(folder: Path, described: Description, offsets_s: Mapping[str, float]) -> dict[str, Clock]:
    for name, seconds in offsets_s.items():
        if name not in described.logs:
            raise DataError(f"{folder}: no log {name!r}, expected one of: {some(described.logs) or 'none'}")
        if other := described.logs[name].same_clock:
            raise ConfigError(f"{folder}: {name} is on the clock of {other}; give that one's offset")
        if not math.isfinite(seconds):
            raise ConfigError(f"--offset {name}={seconds}: expected a finite number of seconds")
    return {name: Clock(float(seconds)) for name, seconds in offsets_s.items()}


def _found(clock: Clock) -> tuple[float, float, float, float, Any]:
    """What a `Fit` begins with."""
    return clock.offset_s, clock.drift_ppm, clock.residual_ms, clock.confidence, clock.status


def _check_overlap(folder: Path, name: str, log: SensorLog, clock: Clock, motion: Readings) -> None:
    first_s, last_s = log.times[[0, -1]]
    start_s, stop_s = clock(motion.times[[0, -1]])
    if not (start_s <= last_s and stop_s >= first_s):
        raise DataError(
            f"{folder}: offset {clock.offset_s:g} s lays {name} wholly outside the video, expected one "
            f"between {first_s - motion.times[-1]:.3f} and {last_s - motion.times[0]:.3f} s"
        )


def _shared_clock(
    folder: Path, described: Description, logs: Mapping[str, SensorLog], name: str, clock: Clock
) -> Clock:
    """The clock of a log whose device wrote another's times too: the other's, counted from its own start.

    Raises:
        DataError: they were not read at one time, or the clock was set in one of them alone: from there on it
            is off by what it was set by, and where a log begins does not say on which side.
    """
    other = described.logs[name].same_clock or name
    where = f"{folder / 'recording.toml'}: logs.{name}.same_clock: {other!r}"
    sets = [len({*described.logs[log].clock_set}) for log in (other, name)]
    if sets[0] != sets[1]:
        raise DataError(
            f"{where} has a clock that was set {sets[0]} times (clock_set), that of {name} {sets[1]} times, "
            f"expected as often of one clock; or no same_clock, and --offset {folder.name}/{name}=SECONDS"
        )
    starts_s = {}
    for log in (name, other):
        settings = described.logs[log].log()
        starts_s[log] = 0.0
        if not settings.absolute:
            absolute = read_log(folder / described.logs[log].file, replace(settings, absolute=True))
            starts_s[log] = float(absolute.times[0])
    span_s, other_s = (starts_s[log] + logs[log].times[[0, -1]] for log in (name, other))
    if span_s[0] > other_s[1] or other_s[0] > span_s[1]:
        raise DataError(
            f"{where} was read from {other_s[0]:.3f} to {other_s[1]:.3f} s, {name} from {span_s[0]:.3f} to "
            f"{span_s[1]:.3f} s; expected times of one clock"
        )
    apart_s = (starts_s[other] - starts_s[name]) / (1 + clock.drift_ppm * 1e-6)
    return replace(clock, offset_s=clock.offset_s + apart_s)


def _sound(video: Path, tell: Callable[[str], None]) -> Readings | None:
    """The video's sound; None, and the user is told, where there is none that can be read."""
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
    ways_out = (
        'expected three of its columns, or same_clock = "another log", '
        f"or --offset {folder.name}/{name}=SECONDS"
    )
    matches = (column for pattern in described.acceleration for column in matching(pattern, log.names))
    columns = list(dict.fromkeys(matches))
    if len(columns) != 3:
        raise DataError(f"{where}: names {some(columns) or 'none'}, {ways_out}")
    values = log.values[:, [log.names.index(column) for column in columns]].astype(np.float64)
    complete = np.isfinite(values).all(axis=1)
    if not complete.any():
        raise DataError(f"{folder / described.file}: no acceleration known in {some(columns)}, {ways_out}")
    return Readings(log.times[complete], values[complete])
