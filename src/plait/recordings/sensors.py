"""Sensor logs in memory: irregular readings with gaps, resampled without aliasing."""

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy.signal import firwin, kaiserord, oaconvolve

from plait.contents import describe
from plait.errors import DataError
from plait.recordings.between import LINEAR, SLACK_S, Between, Straight
from plait.store import content_key
from plait.types import Readings

NEAR = 0.95  # rates closer than this are taken as equal
STOP_DB = 60.0
FINEST = 10_000  # grid points per new sample, however dense the bursts of a log


class Unbroken(NamedTuple):
    """Readings of some columns without a gap.

    Args:
        columns: their numbers in the log.
        readings: one row, `(columns,)`, per time.
        before_s, after_s: for how long the first and the last of them hold beyond the ends.
        straight: the same, where some are not linear in between.
    """

    columns: np.ndarray
    readings: Readings
    before_s: float
    after_s: float
    straight: Straight | None


@dataclass(frozen=True, eq=False)
class SensorLog:
    """A `Stream` of one sensor log.

    Args:
        times: seconds, `(n,)`.
        values: `(n, columns)`, NaN where unknown.
        names: of the columns.
        max_gap_s: where readings are farther apart, in seconds, nothing is known in between.
        between: columns that are not linear in between.

    Raises:
        DataError: the shapes disagree, nothing was read, or the times do not strictly increase.
    """

    times: Float64[np.ndarray, "n"]
    values: Float32[np.ndarray, "n columns"]
    names: tuple[str, ...]
    max_gap_s: float = 1.0
    between: Between = LINEAR

    def __post_init__(self) -> None:
        """Refuse readings that are no stream."""
        Readings(self.times, self.values)
        if self.values.shape[1:] != (len(self.names),):
            raise DataError(
                f"sensor log: got values {self.values.shape}, expected one column for {len(self.names)} names"
            )

    def __getstate__(self) -> dict[str, Any]:
        """What it was made of; of linear columns nobody has to say so for its content to be the same."""
        state = {each.name: getattr(self, each.name) for each in fields(self)}
        if not self.between:
            del state["between"]
        return state

    @cached_property
    def content_key(self) -> str:
        """Equal for equal readings."""
        return content_key(describe(self))

    @cached_property
    def rate_hz(self) -> float:
        """Readings per second by the median of their spacing, 0 for a single reading."""
        return 1.0 / float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    @property
    def lasts_s(self) -> float:
        """For how long a reading that has no successor holds: the median spacing."""
        return 1.0 / self.rate_hz if self.rate_hz else 0.0

    def has(self, seconds: Float64[np.ndarray, "m"]) -> Bool[np.ndarray, "m"]:
        """Whether each of `seconds` lies between the first reading and the end of the last; gaps aside."""
        first_s, last_s = self.times[0] - SLACK_S, self.times[-1] + self.lasts_s + SLACK_S
        return np.asarray((seconds >= first_s) & (seconds <= last_s))

    def at(self, seconds: Float64[np.ndarray, "m"]) -> Float32[np.ndarray, "m columns"]:
        """Readings at `seconds`, interpolated linearly; a low-pass keeps out what a lower rate cannot show.

        Angles go the short way round, quaternions are continuous, states are held: `between` says which.

        NaN inside gaps longer than `max_gap_s` and that far beyond both ends; up to there the end readings
        hold. When `seconds` come at a rate (median spacing) below 0.95 of
        the log's, each run of readings between gaps is put on a grid of the smallest multiple of that rate
        that is not below the log's, continued by reflection, and filtered by a symmetric Kaiser FIR: zero
        phase, 1 at 0 Hz, flat to 0.8 of the new Nyquist rate, -60 dB from it (less sharp in runs of fewer
        than about 20 new samples: it reaches no further than the run is long).
        """
        seconds = np.asarray(seconds, dtype=np.float64)
        values = np.full((len(seconds), len(self.names)), np.nan)
        steps = np.diff(seconds[np.isfinite(seconds)])
        spacing_s = float(np.median(steps)) if len(steps) else 0.0
        slower, reach = is_slower(spacing_s, self.rate_hz), reach_s(spacing_s, self.rate_hz)
        for run in self._runs:
            first_s, last_s = run.readings.times[[0, -1]]
            inside = np.flatnonzero((seconds >= first_s - run.before_s) & (seconds <= last_s + run.after_s))
            if not len(inside):
                continue
            within, straight, given = np.clip(seconds[inside], first_s, last_s), run.straight, run.readings
            if straight is not None:
                given = straight.around(within, reach)
            readings = low_passed(given, within, spacing_s, self.rate_hz) if slower else given.at(within)
            if straight is not None:
                readings = straight.as_written(readings, within, reach)
            values[np.ix_(inside, run.columns)] = readings
        return values.astype(np.float32)

    @cached_property
    def _runs(self) -> tuple[Unbroken, ...]:
        """Readings between gaps, for each set of columns that lack the same readings."""
        runs = []
        by_rows: dict[bytes, list[int]] = {}
        known = self.between.known(self.values)
        for column in range(len(self.names)):
            by_rows.setdefault(known[:, column].tobytes(), []).append(column)
        for mask, group in by_rows.items():
            columns, rows = np.array(group), np.flatnonzero(np.frombuffer(mask, dtype=bool))
            breaks = np.flatnonzero(np.diff(self.times[rows]) > self.max_gap_s + SLACK_S) + 1
            for part in np.split(rows, breaks):
                if len(part):
                    readings = Readings(self.times[part], self.values[np.ix_(part, columns)])
                    holds_s = [self.max_gap_s if end in part else 0.0 for end in (0, len(self.times) - 1)]
                    straight = Straight.of(self.between, columns, readings)
                    runs.append(Unbroken(columns, readings, holds_s[0], holds_s[1], straight))
        return tuple(runs)


def is_slower(spacing_s: float, rate_hz: float) -> bool:
    """Whether samples `spacing_s` apart cannot show all that readings at `rate_hz` can."""
    return spacing_s * rate_hz * NEAR > 1.0


def reach_s(spacing_s: float, rate_hz: float) -> float:
    """How far around samples `spacing_s` apart readings at `rate_hz` decide what they are, in seconds."""
    if not is_slower(spacing_s, rate_hz):
        return 0.0
    step_s = _step_s(spacing_s, rate_hz)
    return (kaiserord(STOP_DB, 0.2 * step_s / spacing_s)[0] // 2 + 2) * step_s


def _step_s(spacing_s: float, rate_hz: float) -> float:
    """The grid on which readings are filtered: the smallest multiple of the new rate not below theirs."""
    return spacing_s / math.ceil(min(spacing_s * rate_hz * (1 - 1e-9), FINEST))


def low_passed(readings: Readings, seconds: np.ndarray, spacing_s: float, rate_hz: float) -> np.ndarray:
    """Readings `(n, columns)` at `seconds`, low-passed for samples `spacing_s` apart, as `SensorLog.at` says.

    Args:
        readings: without a gap, as far as `reach_s` around.
        seconds: inside the readings' own, `(m,)`.
        spacing_s: from one of them to the next.
        rate_hz: of the readings.
    """
    step_s = _step_s(spacing_s, rate_hz)
    taps, beta = kaiserord(STOP_DB, 0.2 * step_s / spacing_s)
    half = min(taps // 2, math.ceil((readings.times[-1] - readings.times[0]) / step_s) + 1)
    low_pass = firwin(2 * half + 1, 0.9 / spacing_s / 2, window=("kaiser", beta), fs=1 / step_s)
    start, stop = np.array([seconds.min(), seconds.max()]) - seconds[0]
    first = max(math.floor(start / step_s) - half, math.floor((readings.times[0] - seconds[0]) / step_s))
    last = min(math.ceil(stop / step_s) + half, math.ceil((readings.times[-1] - seconds[0]) / step_s))
    grid = np.arange(first, last + 1) * step_s
    padded = np.pad(readings.at(seconds[0] + grid), ((half, half), (0, 0)), mode="reflect")
    filtered = oaconvolve(padded, low_pass[:, None], mode="valid", axes=0)
    return np.asarray(Readings(grid, filtered).at(seconds - seconds[0]))
