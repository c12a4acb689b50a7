"""Offsets given by hand: which recordings of a folder each is meant for."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from plait.errors import ConfigError, DataError
from plait.patterns import matching
from plait.recordings.folder import read_description, read_sync


class Offset(NamedTuple):
    """An offset given by hand: of `log` in the recordings that `recording` names, or in all if it is None."""

    log: str
    seconds: float
    recording: str | None = None


def offsets_by_recording(
    folders: Collection[Path], offsets: Collection[Offset], tell: Callable[[str], None] = lambda _: None
) -> dict[Path, dict[str, float]]:
    """The offsets by log that are meant for each of `folders`.

    An offset without a recording's name is for all that have its log. It is refused where there are several
    recordings, and one has another clock for that log already.

    Raises:
        ConfigError: an offset names no recording or no log, or is refused.
        DataError: no log is known, for `recording.toml` is damaged.
    """
    seconds_by_log: dict[Path, dict[str, float]] = {folder: {} for folder in folders}
    by_name = {folder.name: folder for folder in folders}
    for log, seconds, recording in offsets:
        names = matching(recording, by_name) if recording is not None else list(by_name)
        if not names:
            raise ConfigError(
                f"--offset {recording}/{log}: no recording {recording!r}, expected {some(by_name)}"
            )
        having = [by_name[name] for name in names if log in _logs(by_name[name])]
        if not having:
            for name in names:
                read_description(by_name[name])  # which may be damaged
            raise ConfigError(f"--offset {log}={seconds:g}: no recording has a log {log!r}")
        if recording is None and len(folders) > 1:
            differing = [folder.name for folder in having if _has_other_clock(folder, log, seconds)]
            if differing:
                raise ConfigError(
                    f"--offset {log}={seconds:g}: would change what stands for {log} in {some(differing)}; "
                    f"say whose it is, --offset {differing[0]}/{log}={seconds:g}, "
                    f"or '*/{log}={seconds:g}' for all {len(having)}"
                )
            names = [folder.name for folder in having]
            tell(f"{log}: offset {seconds:+.3f} s set by hand in {len(names)} recordings: {some(names)}")
        for folder in having:
            seconds_by_log[folder][log] = seconds
    return seconds_by_log


def logs_again(folders: Collection[Path], again: Collection[str]) -> dict[Path, set[str]]:
    """Which logs of each folder `again` names: RECORDING, or RECORDING/LOG, either of which may be a pattern.

    Raises:
        ConfigError: one names no recording, or no log.
    """
    logs_by_folder: dict[Path, set[str]] = {folder: set() for folder in folders}
    by_name = {folder.name: folder for folder in folders}
    for text in again:
        recording, _, log = text.partition("/")
        named = 0
        for name in matching(recording, by_name):
            logs = matching(log or "*", _logs(by_name[name]))
            logs_by_folder[by_name[name]].update(logs)
            named += len(logs)
        if not named:
            raise ConfigError(
                f"--again {text}: no such recording or log, expected RECORDING/LOG of: {some(by_name)}"
            )
    return logs_by_folder


def _logs(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(read_description(folder).logs)
    except DataError:
        return ()  # said when that recording's turn comes


def _has_other_clock(folder: Path, log: str, seconds: float) -> bool:
    """Whether `folder` has a clock of `log` already, and none that was set by hand to `seconds`."""
    try:
        clock = read_sync(folder).get(log)
    except DataError:
        return False
    return clock is not None and (clock.status, clock.offset_s) != ("manual", seconds)


def some(names: Collection[str]) -> str:
    """The first six of `names`, and how many more."""
    listed = list(names)
    return ", ".join(listed[:6]) + (f" and {len(listed) - 6} more" if len(listed) > 6 else "")
