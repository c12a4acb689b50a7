"""A recording on disk: a folder with a video, sensor logs, labels, and `recording.toml`, which names them."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from plait.errors import ConfigError, DataError, PlaitWarning, first_fault, one_line, quote
from plait.names import inside, plain
from plait.recordings.annotations import Footage, LabelSettings, LabelUnit
from plait.recordings.curved import unsaid
from plait.recordings.labels import read_labels
from plait.recordings.logs import Log, SensorLog, TimeUnit, read_and_look
from plait.recordings.tables import Cell
from plait.recordings.video import Video
from plait.store import checksum, content_key, read_bytes, toml_of, write_json, write_toml
from plait.types import Recording, Span, Stream

DESCRIPTION, SYNC = "recording.toml", "sync.json"
OWN = (DESCRIPTION, SYNC, "sync.svg")  # names that no file of a recording may have
# Of a log's settings, those that decide from where its clock counts, and how fast.
ZERO = (
    *("file", "header_line", "names", "where", "first_line", "time", "time_unit", "fraction"),
    *("fraction_unit", "rate_hz", "decimal", "missing", "clock_set", "same_time", "absolute", "same_clock"),
)
T = TypeVar("T")
_STRICT = ConfigDict(extra="forbid")


def _texts(value: Any) -> Any:
    """One or several texts or numbers as texts."""
    if value is None or value == "":
        return ()
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)


_Text = Annotated[str | None, BeforeValidator(lambda value: value if value is None else str(value))]


@dataclass(frozen=True, config=_STRICT)
class LogFile:
    """A sensor log: its file, which columns it has, how its times are written.

    Args:
        file: its name in the recording's folder.
        columns: from here to `held`, see `plait.recordings.logs.Log`.
        acceleration: the three columns, or patterns of them, that tell how the sensor is moved.
        same_clock: the log whose device wrote the times of this one too.
        units: of its columns, where the sensor's own file or its format says them.
    """

    file: str
    columns: tuple[str, ...]
    time: str | None = None
    time_unit: TimeUnit | float = "s"
    fraction: str | None = None
    fraction_unit: TimeUnit | float = "ms"
    rate_hz: float | None = None
    scale: float = 1.0
    max_gap_s: float = 1.0
    absolute: bool = False
    where: dict[str, Cell] = field(default_factory=dict)
    clock_set: tuple[int, ...] = ()
    same_time: Literal["spread", "mean"] = "spread"
    header_line: int | None = None
    names: tuple[str, ...] = ()
    decimal: Literal[",", "."] | None = None
    missing: tuple[Cell, ...] = ()
    first_line: int | None = None
    last_line: int | None = None
    circular: dict[str, tuple[FiniteFloat, FiniteFloat] | bool] = field(default_factory=dict)
    quaternions: tuple[tuple[str, ...], ...] | bool = ()
    held: tuple[str, ...] = ()
    acceleration: tuple[str, ...] = ()
    same_clock: str | None = None
    units: dict[str, str] = field(default_factory=dict)

    def log(self) -> Log:
        """How the file is to be read."""
        return Log(**{each.name: getattr(self, each.name) for each in fields(Log)})


@dataclass(frozen=True, config=_STRICT)
class Description:
    """What `recording.toml` says; files are named relative to its folder.

    Args:
        subject: who is recorded.
        video: the file whose clock is everyone's.
        logs: sensor logs by the names of their streams.
        labels: the file of labels, if any.
        tier: from here to `label_fps`, see `plait.recordings.annotations.LabelSettings`.
        session: on which occasion, by a name that people may share.
        sha256: each file's checksum when it was ingested; of what is in `made_from` too.
        made_from: by tables that were made of sensors' own files, the names of these, which are not copied.
    """

    subject: str
    video: str
    logs: dict[str, LogFile] = field(default_factory=dict)
    labels: str | None = None
    tier: _Text = None
    activity_column: _Text = None
    labels_of: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()
    label_unit: LabelUnit | None = None
    label_zero: _Text = None
    label_fps: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    session: _Text = None
    sha256: dict[str, str] = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Every file it names."""
        labels = (self.labels,) if self.labels else ()
        return (self.video, *(log.file for log in self.logs.values()), *labels)

    def counts(self, log: str) -> dict[str, Any]:
        """What a log's clock beside the video's hangs on: what is said that decides times, as JSON has it."""
        described = self.logs[log]
        usual = LogFile("", ())
        said = {name: getattr(described, name) for name in ZERO}
        said = {name: value for name, value in said.items() if value != getattr(usual, name)}
        counts: dict[str, Any] = json.loads(json.dumps({"video": self.video, **said}))
        return counts

    @property
    def label_settings(self) -> LabelSettings:
        """How its labels are to be read."""
        return LabelSettings(**{each.name: getattr(self, each.name) for each in fields(LabelSettings)})


@dataclass(frozen=True, config=_STRICT)
class Clock:
    """One stream's line of `sync.json`: `stream_s = (video_s + offset_s) * (1 + drift_ppm * 1e-6)`.

    Args:
        offset_s: seconds that its clock is ahead of the video's.
        drift_ppm: millionths by which it runs faster.
        residual_ms: root mean square of what claps and motion leave unexplained.
        confidence: the probability that the offset is right.
        status: how sure that is, or `manual` where it was set by hand.
        counts: `Description.counts` when it was found, so as long as it holds; None: nobody said.
    """

    offset_s: FiniteFloat
    drift_ppm: Annotated[float, Field(gt=-1e6, lt=1e6)] = 0.0
    residual_ms: FiniteFloat = 0.0
    confidence: FiniteFloat = 1.0
    status: Literal["sure", "unsure", "manual"] = "manual"
    counts: dict[str, Any] | None = field(default=None, compare=False)

    def outlived(self, counts: Mapping[str, Any]) -> str | None:
        """How the log is read otherwise now, by its `Description.counts`; None where it is not."""
        if self.counts is None:
            return None
        for name in dict.fromkeys(("video", *ZERO, *self.counts, *counts)):
            was, now = (says.get(name) for says in (self.counts, counts))
            if was != now:
                return f"{name} was {_said(was)}, is {_said(now)}"
        return None

    def __call__(self, video_s: np.ndarray) -> np.ndarray:
        """The stream's clock at seconds of the video's."""
        stream_s: np.ndarray = (video_s + self.offset_s) * (1 + self.drift_ppm * 1e-6)
        return stream_s

    def video_s(self, own_s: np.ndarray) -> np.ndarray:
        """The video's clock at seconds of the stream's."""
        video_s: np.ndarray = own_s / (1 + self.drift_ppm * 1e-6) - self.offset_s
        return video_s


def _said(value: Any) -> str:
    return "unsaid" if value is None else quote(value)


class Synced:
    """A log as a `Stream` on the video's clock.

    Args:
        log: on its own clock.
        clock: its own beside the video's.
        units: of its columns, where somebody says them.
    """

    def __init__(self, log: SensorLog, clock: Clock, units: Mapping[str, str] | None = None) -> None:
        self.log, self.clock, self.units = log, clock, units or {}

    @property
    def content_key(self) -> str:
        """Equal for equal readings on equal clocks, however sure these are."""
        clock = {"offset_s": self.clock.offset_s, "drift_ppm": self.clock.drift_ppm}
        return content_key([self.log.content_key, clock])

    @property
    def times(self) -> np.ndarray:
        """Seconds of each reading on the video's clock."""
        return self.clock.video_s(self.log.times)

    def has(self, seconds: np.ndarray) -> np.ndarray:
        """Whether each of `(n,)` seconds of the video's clock lies between the log's ends."""
        return self.log.has(self.clock(np.asarray(seconds, dtype=np.float64)))

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Readings at `(n,)` seconds of the video's clock, `(n, columns)`; NaN where the log has none."""
        return self.log.at(self.clock(np.asarray(seconds, dtype=np.float64)))


def unsynced(stream: Stream) -> Stream | SensorLog:
    """A log on its own clock, of one that is on the video's; any other stream as it is."""
    return stream.log if isinstance(stream, Synced) else stream


def read_description(folder: Path) -> Description:
    """What `folder`'s `recording.toml` says.

    Raises:
        DataError: it is missing, damaged, says something unknown, or names a file that is not there.
    """
    path = folder / DESCRIPTION
    described = parse_description(path)
    for name in described.files:
        if not (folder / name).is_file():
            raise DataError(f"{path}: names {name!r}, expected that file beside it")
    return described


def parse_description(path: Path) -> Description:
    """What a file of `recording.toml`'s form says; its files may be patterns.

    Raises:
        DataError: it is missing, damaged, or says something unknown.
    """
    try:
        table = toml_of(read_bytes(path).decode())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; `plait ingest` makes it") from error
    except ValueError as error:
        raise DataError(f"{path}: not a TOML file: {one_line(error)}") from error
    return described_by(table, path)


def described_by(table: Mapping[str, Any], path: Path) -> Description:
    """What a table of `recording.toml`'s form says; `path` is where it comes from.

    Raises:
        DataError: it says something unknown, or names a file outside of its folder.
    """
    described = _validated(TypeAdapter(Description), table, path)
    for name in described.files:
        if not inside(name) or name in OWN:
            raise DataError(f"{path}: names {quote(name)}, expected a file beside it")
    for name, log in described.logs.items():
        try:
            log.log()
        except ConfigError as error:
            raise DataError(f"{path}: logs.{name}{str(error).removeprefix('log')}") from error
    if "video" in described.logs:
        raise DataError(f"{path}: logs.video, expected another name than that of the video's stream")
    clocks = [name for name, log in described.logs.items() if log.same_clock is None]
    for name, log in described.logs.items():
        if log.same_clock is not None and log.same_clock not in clocks:
            expected = ", ".join(clocks) or "none, for there is no other"
            raise DataError(
                f"{path}: logs.{name}.same_clock: {log.same_clock!r}, expected one of: {expected}"
            )
    return described


def log_file(settings: Mapping[str, Any], file: Path) -> LogFile:
    """A log's settings, as `recording.toml` has them.

    Raises:
        DataError: one of them is unknown, or not of its kind.
    """
    return _validated(TypeAdapter(LogFile), dict(settings), file)


def write_description(folder: Path, described: Description) -> None:
    """Write `recording.toml`."""
    write_toml(folder / DESCRIPTION, asdict(described))


def read_sync(folder: Path) -> dict[str, Clock]:
    """What `folder`'s `sync.json` says of each log.

    Raises:
        DataError: it is missing or damaged.
    """
    path = folder / SYNC
    try:
        content = read_bytes(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; `plait sync` makes it") from error
    return _validated(TypeAdapter(dict[str, Clock]), content, path)


def write_sync(folder: Path, clocks: dict[str, Clock], described: Description | None = None) -> None:
    """Write `sync.json`; its clocks hold as long as `described` has the logs be read as it does."""
    if described is not None:
        clocks = {name: replace(clock, counts=described.counts(name)) for name, clock in clocks.items()}
    lines = {name: asdict(clock).items() for name, clock in clocks.items()}
    said = {name: {key: value for key, value in line if value is not None} for name, line in lines.items()}
    write_json(folder / SYNC, said)


def read_logs(folder: Path, described: Description) -> dict[str, SensorLog]:
    """The sensor logs of a recording by name, each on its own clock.

    Angles and quaternions of which the description says nothing are said.
    """
    logs: dict[str, SensorLog] = {}
    for name, log in described.logs.items():
        logs[name], seen = read_and_look(folder / log.file, log.log(), [], name, log.units)
        for line in unsaid(seen, name):
            warnings.warn(f"{folder / DESCRIPTION}: {line}", PlaitWarning, stacklevel=2)
    return logs


def open_recording(folder: Path) -> Recording:
    """A recording whose streams, `video` and its logs, are all on the video's clock.

    A file that is no longer the one that was ingested is said, and read as it is.

    Raises:
        DataError: a file is missing or damaged, a log has not been synchronised, is `unsure`, or is read
            otherwise than when it was synchronised.
    """
    described = read_description(folder)
    for line in changed(folder, described):
        warnings.warn(line, PlaitWarning, stacklevel=2)
    video = Video(folder / described.video)
    streams: dict[str, Stream] = {"video": video}
    if described.logs:
        clocks = read_sync(folder)
        for name, log in read_logs(folder, described).items():
            if name not in clocks:
                raise DataError(f"{folder / SYNC}: says nothing of log {name!r}; run `plait sync` again")
            if clocks[name].status == "unsure":
                raise DataError(
                    f"{folder / SYNC}: log {name!r} is unsure; look at its picture and give its offset"
                )
            if otherwise := clocks[name].outlived(described.counts(name)):
                raise DataError(
                    f"{folder / SYNC}: log {name!r} was read otherwise when it was synchronised: "
                    f"{otherwise} ({DESCRIPTION}); run `plait sync` again"
                )
            said = described.logs[name]
            streams[name] = Synced(log, clocks[name], said.units if said.scale == 1 else None)
    spans: tuple[Span, ...] = ()
    file = folder / described.labels if described.labels else None
    if file:
        about = footage(video, folder.name, described.subject)
        spans = read_labels(file, described.label_settings, about).spans
    session = plain(described.session or "")
    subject = plain(described.subject)
    return Recording(folder.name, subject, streams, spans, session=session, labels_file=file)


def changed(folder: Path, described: Description) -> list[str]:
    """What to say of files that are not those that were ingested, by their checksums.

    Raises:
        DataError: a file cannot be read.
    """
    return [
        f"{folder / name}: not the file that was ingested, by its SHA-256 in {DESCRIPTION}; read as it is now"
        for name, ingested in described.sha256.items()
        if name in described.files and checksum(folder / name) != ingested
    ]


def footage(video: Video, recording: str, subject: str) -> Footage:
    """What the labels of a recording are about.

    Raises:
        DataError: the video cannot be read.
    """
    return Footage(video.file.name, (recording, subject), video.times, video.ends[1])


def recording_folders(root: Path) -> list[Path]:
    """The recordings under `root`, by name; `root` itself if it is one.

    Raises:
        DataError: there is none.
    """
    if (root / DESCRIPTION).is_file():
        return [root]
    folders = sorted(path.parent for path in root.glob(f"*/{DESCRIPTION}"))
    if not folders:
        raise DataError(
            f"{root}: no recordings, expected folders with a {DESCRIPTION}; `plait ingest` makes them"
        )
    return folders


def _validated(adapter: TypeAdapter[T], content: Any, path: Path) -> T:
    validate = adapter.validate_json if isinstance(content, bytes) else adapter.validate_python
    try:
        return validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}") from error
