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
    """Which of `folders` each offset is meant for.

    One without a recording's name is everybody's only where it changes nothing that stands: over several recordings,
    of which one has another clock for that log, it is refused.

    Raises:
        ConfigError: an offset names no recording or no log, or would change what stands in several recordings.
        DataError: no log is known, for `recording.toml` is damaged.
    """
    meant: dict[Path, dict[str, float]] = {folder: {} for folder in folders}
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
            stand = [one.name for one in having if _other(one, log, seconds)]
            if stand:
                raise ConfigError(
                    f"--offset {log}={seconds:g}: would change what stands for {log} in {some(stand)}; say whose it "
                    f"is, --offset {stand[0]}/{log}={seconds:g}, or '*/{log}={seconds:g}' for all {len(having)}"
                )
            names = [one.name for one in having]
            tell(f"{log}: offset {seconds:+.3f} s set by hand in {len(names)} recordings: {some(names)}")
        for one in having:
            meant[one][log] = seconds
    return meant


def logs_again(folders: Collection[Path], again: Collection[str]) -> dict[Path, set[str]]:
    """Which logs of each folder `again` names: RECORDING, or RECORDING/LOG, either of which may be a pattern.

    Raises:
        ConfigError: one names no recording, or no log.
    """
    anew: dict[Path, set[str]] = {folder: set() for folder in folders}
    by_name = {folder.name: folder for folder in folders}
    for text in again:
        recording, _, log = text.partition("/")
        found = {
            by_name[name]: set(matching(log or "*", _logs(by_name[name])))
            for name in matching(recording, by_name)
        }
        if not any(found.values()):
            raise ConfigError(
                f"--again {text}: no such recording or log, expected RECORDING/LOG of: {some(by_name)}"
            )
        for folder, logs in found.items():
            anew[folder] |= logs
    return anew


def _logs(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(read_description(folder).logs)
    except DataError:
        return ()  # said when that recording's turn comes


def _other(folder: Path, log: str, seconds: float) -> bool:
    """Whether another clock of `log` stands in `folder`."""
    try:
        clock = read_sync(folder).get(log)
    except DataError:
        return False
    return clock is not None and (clock.status, clock.offset_s) != ("manual", seconds)


def some(names: Collection[str]) -> str:
    """The first six of `names`, and how many more."""
    listed = list(names)
    return ", ".join(listed[:6]) + (f" and {len(listed) - 6} more" if len(listed) > 6 else "")
