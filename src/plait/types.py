"""The nouns of plait: streams, spans, recordings, modalities, data sets, folds."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from plait.contents import describe
from plait.errors import ConfigError, DataError
from plait.names import encodable
from plait.store import content_key

FINEST_S, LONGEST_S = 1e-3, 1e6  # of a window, and between two
Missing = Literal["refuse", "drop", "without"]  # what becomes of clips that lack a modality
MOST_SAMPLES, MOST_HZ = 10_000_000, 1e6  # of a modality


@runtime_checkable
class Stream(Protocol):
    """One sensor on its own clock. It may have a `content_key`, a text that changes with what `at` gives."""

    @property
    def times(self) -> np.ndarray:
        """Seconds of each reading, strictly increasing."""
        ...

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Readings at any `seconds`, sampled or interpolated, shape `(len(seconds), *reading)`."""
        ...


@dataclass(frozen=True, eq=False)
class Readings:
    """A `Stream` that lies in memory: one reading per time, linear in between, constant beyond both ends.

    `times` has shape `(n,)`, in seconds; `values` has shape `(n, *reading)`.

    Raises:
        DataError: no arrays of numbers, shapes that disagree, no reading, or times that do not strictly
            increase.

    Examples:
        >>> watch = Readings(np.array([0.0, 1.0, 2.0]), np.array([[0.0], [10.0], [10.0]]))
        >>> watch.at(np.array([0.5, 9.0])).tolist()
        [[5.0], [10.0]]
    """

    times: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        expected = "expected an array of numbers"
        for name, array in (("times", self.times), ("values", self.values)):
            if not isinstance(array, np.ndarray):
                raise DataError(f"readings: {name} are a {type(array).__name__}, {expected}")
            if array.dtype.kind not in "fiub":
                raise DataError(f"readings: {name} are an array of {array.dtype}, {expected}")
        if self.times.ndim != 1 or len(self.times) == 0 or len(self.times) != len(self.values):
            got = f"times {self.times.shape} and values {self.values.shape}"
            raise DataError(f"readings: got {got}, expected one time per reading and at least one reading")
        if not np.all(np.diff(self.times) > 0):
            raise DataError("readings: times must strictly increase")

    @cached_property
    def content_key(self) -> str:
        """Equal for equal readings."""
        return content_key(describe(self))

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Readings at `seconds`, interpolated linearly, shape `(len(seconds), *reading)`."""
        if len(self.times) == 1:
            return np.repeat(self.values, len(seconds), axis=0)
        after = np.clip(np.searchsorted(self.times, seconds), 1, len(self.times) - 1)
        before = after - 1
        share = np.clip((seconds - self.times[before]) / (self.times[after] - self.times[before]), 0.0, 1.0)
        share = share.reshape(-1, *[1] * (self.values.ndim - 1))
        between: np.ndarray = self.values[before] * (1 - share) + self.values[after] * share
        return between


@dataclass(frozen=True)
class Span:
    """A stretch of time in which one activity is performed.

    Raises:
        DataError: the span ends before it starts.
    """

    start_s: float
    stop_s: float
    activity: str

    def __post_init__(self) -> None:
        if not isinstance(self.activity, str):
            raise DataError(f"span: activity is {self.activity!r}, expected its name")
        start, stop, where = self.start_s, self.stop_s, f"span {self.activity!r}"
        if not math.isfinite(stop - start):
            raise DataError(f"{where}: from {start} s to {stop} s, expected finite numbers")
        if not start < stop:
            raise DataError(f"{where}: starts at {start} s, must end later, got {stop} s")


class Segment(NamedTuple):
    """A stretch of time in which an activity was recognised, and how sure that is, from 0 to 1."""

    start_s: float
    stop_s: float
    activity: str
    score: float = 1.0


@dataclass(frozen=True)
class Dropped:
    """Windows of a recording that became no clips, and why.

    Args:
        recording, subject: whose windows.
        activity: which one they would show; None: none.
        reason: why they were dropped.
        windows: how many.
        stream: the one that is to blame, if one is.
        start_s, stop_s: the time on the recording's clock in which that stream has no reading.
    """

    recording: str
    subject: str
    activity: str | None
    reason: str
    windows: int = 1
    stream: str | None = None
    start_s: float | None = None
    stop_s: float | None = None


@dataclass(frozen=True, eq=False)
class Recording:
    """What was recorded of one subject in one go: streams on one clock, and what was done when.

    Args:
        name, subject: its own name and its subject's.
        streams: by name.
        spans: what was done when.
        key: stands for the contents of its files: equal files, equal keys. With one, or with a `content_key`
            of each stream (plait's have one), clips are cut once, and found in the cache without `Stream.at`.
        dropped: where its spans are windows, those that are not among them.
        session: on which occasion, by a name that people may share; by default nobody said.
        labels_file: that its spans were read from, if it is one: who scores it is told if that has changed.

    Raises:
        DataError: a name is no text, or a stream is none.
    """

    name: str
    subject: str
    streams: dict[str, Stream]
    spans: tuple[Span, ...]
    key: str | None = None
    dropped: tuple[Dropped, ...] = ()
    session: str = ""
    labels_file: Path | None = None

    def __post_init__(self) -> None:
        for role, name in (("name", self.name), ("subject", self.subject), ("session", self.session)):
            if not isinstance(name, str) or not encodable(name):
                raise DataError(f"recording {self.name!r}: {role} is {name!r}, expected text")
        for name, stream in self.streams.items():
            if not callable(getattr(stream, "at", None)):
                got = f"stream {name!r} is a {type(stream).__name__}"
                raise DataError(f"recording {self.name}: {got}, expected one such as Readings")

    def content(self, streams: Sequence[str]) -> str | None:
        """A key of what `streams` hold, in this order; None where the recording does not say."""
        if self.key is not None:
            return content_key([self.key, list(streams)])
        keys = [getattr(self.streams[name], "content_key", None) for name in streams]
        return None if None in keys else content_key(keys)


@dataclass(frozen=True)
class Modality:
    """How one or several streams become one tensor of a clip, and which network makes a grid of it.

    Args:
        name: what studies call it.
        streams: the names of the streams it is made of.
        samples: readings of each stream in a clip.
        rate_hz: of the samples; None: evenly over the whole span, both ends included.
        prepare: from one array `(samples, *reading)` per stream to the clip's tensor, which is kept in
            float16 if that is its type, else in float32; networks get float32.
        encoder: from that tensor's shape, without the batch axis, to a module from `(batch, *shape)` to a
            channels-last grid `(batch, *grid, channels)`. Its `calibrate`, if it has one, is shown each
            fold's training clips before the first epoch (`plait.encoders.standardise.Calibrated`).

    Raises:
        ConfigError: `samples` or `rate_hz` is what no clip can have.
    """

    name: str
    streams: tuple[str, ...]
    samples: int
    rate_hz: float | None
    prepare: Callable[..., Tensor]
    encoder: Callable[[tuple[int, ...]], nn.Module]

    def __post_init__(self) -> None:
        where = f"modality {self.name}"
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise ConfigError(f"{where}: samples is {self.samples}, expected 1 to {MOST_SAMPLES}")
        if self.rate_hz is not None and not 1e-6 <= self.rate_hz <= MOST_HZ:
            raise ConfigError(f"{where}: rate_hz is {self.rate_hz}, expected 1e-6 to {MOST_HZ:g}, or None")


@dataclass(frozen=True)
class Windows:
    """How recordings are cut into windows.

    Args:
        seconds: the length of a window.
        purity: at 1, windows lie inside labels, from each label's start on. Below, they are laid over all of
            the recording, and one is kept if a single activity fills that share of it.
        unlabelled: the activity of the time between two labels; None: none.
        margins: time before the first and after the last label counts as unlabelled too.
        stride_s: from one window's start to the next one's, by default back to back.
        count: windows of every subject, spread evenly over those there are or, if those are too few, at the
            longest stride that gives enough; by default all.

    Raises:
        ConfigError: a setting is out of range.
    """

    seconds: float
    purity: float = 1.0
    unlabelled: str | None = None
    margins: bool = False
    stride_s: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if not FINEST_S <= self.seconds <= LONGEST_S:
            raise ConfigError(f"windows: seconds is {self.seconds}, expected {FINEST_S:g} to {LONGEST_S:g}")
        if not 0.5 < self.purity <= 1:
            raise ConfigError(f"windows: purity is {self.purity}, expected more than 0.5 and at most 1")
        if self.stride_s is not None and not FINEST_S <= self.stride_s <= LONGEST_S:
            raise ConfigError(f"windows: stride_s is {self.stride_s}, expected {FINEST_S:g} to {LONGEST_S:g}")
        if self.count is not None and self.count < 1:
            raise ConfigError(f"windows: count is {self.count}, expected 1 or more per subject")
        if self.count is not None and self.stride_s is not None:
            raise ConfigError("windows: both count and stride_s are given, expected one of them")
        if self.margins and self.unlabelled is None:
            raise ConfigError("windows: margins without unlabelled, expected the activity of unlabelled time")


@dataclass(frozen=True)
class Dataset:
    """A set of recordings.

    Args:
        name, cite: what it is called, and whom to cite.
        activities: in the order of the scores.
        modalities: what its clips are made of.
        recordings: opens a folder, one recording after the other.
        windows: how recordings are to be cut, if the data set says so.

    Raises:
        ConfigError: a name is none, or two activities or two modalities share one.
    """

    name: str
    activities: tuple[str, ...]
    modalities: tuple[Modality, ...]
    recordings: Callable[[Path], Iterator[Recording]]
    cite: str
    windows: Windows | None = None

    def __post_init__(self) -> None:
        modalities = tuple(modality.name for modality in self.modalities)
        for kind, names in (("activities", self.activities), ("modalities", modalities)):
            if odd := [
                name for name in names if not isinstance(name, str) or not name or names.count(name) > 1
            ]:
                raise ConfigError(f"data set {self.name}: {kind}: got {odd[0]!r}, expected names, each once")

    def modality(self, name: str) -> Modality:
        """The modality called `name`.

        Raises:
            DataError: there is none of that name.
        """
        for modality in self.modalities:
            if modality.name == name:
                return modality
        names = ", ".join(modality.name for modality in self.modalities)
        raise DataError(f"data set {self.name}: no modality {name!r}, expected one of: {names}")


@dataclass(frozen=True, slots=True)
class Clip:
    """One row of a clip table.

    Args:
        name: its own.
        recording, subject, activity: of what, by whom, doing what.
        start_s, stop_s: the window, on the recording's clock.
        session: on which occasion; empty: nobody said.
        lacks: the modalities of which it has nothing, among those that were asked for.
    """

    name: str
    recording: str
    subject: str
    activity: str
    start_s: float
    stop_s: float
    session: str = ""
    lacks: tuple[str, ...] = ()

    @property
    def row(self) -> tuple[str, str, str, str, float, float, str]:
        """What it is, whatever it lacks."""
        about = self.name, self.recording, self.subject, self.activity
        return *about, self.start_s, self.stop_s, self.session

    def holds(self, modalities: Iterable[str]) -> bool:
        """Whether it has something of each of these."""
        return set(self.lacks).isdisjoint(modalities)


@dataclass(frozen=True)
class Fold:
    """Who trains, who validates, who is tested.

    Args:
        name: the fold's.
        train, val, test: subjects by name; or sessions.
        by: which of the two.
    """

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    by: Literal["subject", "session"] = "subject"
