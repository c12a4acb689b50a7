"""What labels of every form have in common: the person's settings, the video they are about, their clock."""

import math
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from plait.errors import QUOTED, DataError
from plait.recordings.timecodes import TIMECODE, timecode_s

LabelUnit = Literal["s", "ms", "us", "frames", "timecode", "iso"]

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
CLOCK = re.compile(r"(?:([0-9]{1,6}):)?([0-9]{1,2}):([0-9]{1,2}(?:\.[0-9]*)?)")
ISO = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ].*")
MOST_S = 1e20  # more than any clock's nanoseconds
DIGITS = 300  # which a float still holds
OTHER_S, OTHER = 1.0, 0.02  # a video's stated length may be off by so much, or by this share
EXPECTED = {
    "s": "a time in seconds or as hh:mm:ss.mmm",
    "ms": "a time in milliseconds",
    "us": "a time in microseconds",
    "frames": "the number of a frame",
    "timecode": "a time code hh:mm:ss:ff",
    "iso": "an ISO 8601 time",
}
COUNTED = ("frames", "timecode")  # units for which `label_fps` counts
SCALE = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "frames": 1.0}


class Entry(NamedTuple):
    """One label as a file has it.

    Args:
        where: its place in the file, to begin an error with.
        start_s: seconds of the video's clock at which it starts.
        stop_s: seconds of the video's clock at which it stops.
        activity: its text.
    """

    where: str
    start_s: float
    stop_s: float
    activity: str


@dataclass(frozen=True)
class LabelSettings:
    """What `recording.toml` says of its labels; None where they say it themselves.

    Args:
        tier: the name of one of ELAN's tiers.
        activity_column: the table's column of activities.
        labels_of: the video, session or person whose rows are meant, or one per column ("*": every row).
        label_unit: the unit of times.
        label_zero: the time, written as in the file, at which the video starts.
        label_fps: how many frames labels count in a second.
    """

    tier: str | None = None
    activity_column: str | None = None
    labels_of: tuple[str, ...] = ()
    label_unit: LabelUnit | None = None
    label_zero: str | None = None
    label_fps: float | None = None


@dataclass(frozen=True, eq=False)
class Footage:
    """The video that labels are about, and its clock, on which they are.

    Args:
        video: its file's name.
        names: its recording's and its subject's name.
        times: `(frames,)` seconds at which each picture appears.
        stop_s: seconds at which the last picture ends.
    """

    video: str
    names: tuple[str, ...]
    times: np.ndarray
    stop_s: float

    @cached_property
    def step_s(self) -> float:
        """Seconds from one picture to the next, on the average."""
        return float(self.times[-1] - self.times[0]) / max(1, len(self.times) - 1) or 1.0

    @property
    def even(self) -> bool:
        """Whether pictures follow one another evenly."""
        return bool(np.abs(np.diff(self.times) - self.step_s).max(initial=0) < self.step_s / 2)


def refuse_unused(file: Path, form: str, settings: LabelSettings, used: Collection[str], unit: str) -> None:
    """Refuse what a person said of labels where nothing hangs on it.

    Args:
        file: of labels.
        form: what it is, in words.
        settings: what a person said.
        used: the settings that such a file has a use for, save for `label_fps`.
        unit: of its times.

    Raises:
        DataError: another is given, or `label_fps` where no frames are counted.
    """
    counted = ("label_fps",) if unit in COUNTED else ()
    for name, value in asdict(settings).items():
        if value in (None, ()) or name in (*used, *counted):
            continue
        why = f"{form} has no use for it"
        if name == "label_fps" and "label_unit" in used:
            why = f"its times are in {unit}; if they are frames, {way_out('label_unit', 'frames')}"
        raise DataError(f"{file}: {name} is {value!r}, expected none: {why}")


def way_out(key: str, example: str) -> str:
    """How a person answers what a file leaves open."""
    return f"say it with --set {shlex.quote(f'{key}={example[:QUOTED]}')} (or {key} in recording.toml)"


@dataclass(frozen=True)
class LabelClock:
    """From times of a label file to seconds of the video's clock.

    Args:
        file: the label file, named in errors.
        unit: how its times are written.
        settings: of which `label_zero` and `label_fps` count.
        footage: the video, None where it is not known.
        decimal_comma: whether `1,5` is one and a half.
    """

    file: Path
    unit: LabelUnit
    settings: LabelSettings
    footage: Footage | None
    decimal_comma: bool = False

    def seconds(self, text: str, where: str) -> float:
        """Seconds of the video's clock.

        Raises:
            DataError: `text` is no such time, or it cannot be said without a video, a rate or a zero.
        """
        time, zero = text.strip(), self.settings.label_zero
        value = self._value(time, where)
        if not abs(value) <= MOST_S:
            raise self._unreadable(text, where)
        if zero is not None:
            zero = zero.strip()
            if self.unit == "iso" and ISO.fullmatch(zero) and _has_zone(time) != _has_zone(zero):
                raise DataError(
                    f"{self.file}: {where}: {time!r} and label_zero {zero!r}, "
                    f"expected both with a time zone or both without; {way_out('label_zero', time)}"
                )
            value -= self._value(zero, "label_zero")
        elif self.unit == "iso":
            raise DataError(
                f"{self.file}: {where}: {text!r} is a time of day, expected seconds of the video, "
                f"or the time at which the video starts: {way_out('label_zero', time)}"
            )
        return self._frame_seconds(value, where) if self.unit == "frames" else value

    def _value(self, text: str, where: str) -> float:
        """Seconds, or the number of a frame."""
        number = text.replace(",", ".") if self.decimal_comma else text
        if self.unit == "iso" and ISO.fullmatch(text):
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise self._unreadable(text, where) from None
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if self.unit == "timecode" and (code := TIMECODE.fullmatch(text)):
            return self._timecode_seconds(code, where)
        clock = CLOCK.fullmatch(number) if self.unit == "s" else None
        if clock and int(clock[2]) < 60 and float(clock[3]) < 60:
            return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
        if self.unit in SCALE and NUMBER.fullmatch(number):
            return float(number) * SCALE[self.unit]
        raise self._unreadable(text, where)

    def _unreadable(self, text: str, where: str) -> DataError:
        return DataError(f"{self.file}: {where}: {text[:80]!r}, expected {EXPECTED[self.unit]}")

    def _timecode_seconds(self, code: re.Match[str], where: str) -> float:
        """Seconds of a time code."""
        rate = self.settings.label_fps
        if not rate and self.footage and self.footage.even:
            rate = 1 / self.footage.step_s
        if not rate:
            raise DataError(
                f"{self.file}: {where}: {code[0]!r} is a time code, but frames are not evenly spaced, "
                f"expected their rate: {way_out('label_fps', '25')}"
            )
        if (seconds := timecode_s(code, rate)) is None:
            raise DataError(
                f"{self.file}: {where}: {code[0]!r}, "
                f"expected a time code hh:mm:ss:ff at {round(rate)} frames per second"
            )
        return seconds

    def _frame_seconds(self, number: float, where: str) -> float:
        """When frame `number`, from 0, appears; with `label_fps`, when a player has counted so many."""
        if self.settings.label_fps:
            return number / self.settings.label_fps
        if self.footage is None:
            raise DataError(
                f"{self.file}: {where}: a number of a frame, expected a video that says when it is"
            )
        times, step_s = self.footage.times, self.footage.step_s
        if number < 0:
            return float(times[0]) + number * step_s
        if number >= len(times):
            return float(times[-1]) + (number - (len(times) - 1)) * step_s
        return float(np.interp(number, np.arange(len(times)), times))


def _has_zone(time: str) -> bool:
    return re.search(r"(?:[zZ]|[+-][0-9]{2}:?(?:[0-9]{2})?)$", time[10:]) is not None


def other_length(file: Path, stated_s: float, footage: Footage | None) -> str | None:
    """What to say where labels state another length of their video than it has: one may have been cut."""
    if footage is None or not 0 < stated_s < MOST_S:
        return None
    if abs(stated_s - footage.stop_s) <= OTHER_S + OTHER * footage.stop_s:
        return None
    return (
        f"{file.name}: says that its video is {stated_s:.5g} s long, and {footage.video!r} is "
        f"{footage.stop_s:.5g} s: are labels and video of one cut?"
    )


def unit_of(cells: Sequence[str]) -> LabelUnit | None:
    """The unit that times are evidently in; None for numbers alone, which are taken as seconds."""
    first = next((cell.strip() for cell in cells if cell.strip()), "")
    if TIMECODE.fullmatch(first):
        return "timecode"
    if ISO.fullmatch(first):
        return "iso"
    return "s" if ":" in first else None


def listed(values: Sequence[str], most: int = 10) -> str:
    """Values in quotes, the first `most` of them."""
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return (", ".join(repr(value[:60]) for value in values[:most]) + more) or "none at all"


def whole(text: str) -> int | float:
    """A whole number; one that no float comes near is infinite, and refused by whoever asks when that is."""
    if len(text) <= DIGITS:
        return int(text)
    return -math.inf if text.startswith("-") else math.inf
