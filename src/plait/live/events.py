"""What sources of readings say: which streams there are, what has arrived, what has ended."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from plait.recordings.between import LINEAR, Between
from plait.recordings.folder import Clock


@dataclass(frozen=True)
class Opening:
    """A stream, before its first reading.

    Args:
        stream: what it is called in a recording.
        names: of its columns; empty: it is a video.
        rate_hz: readings per second by the median of their spacing; 0: to be measured.
        max_gap_s: where readings are farther apart, in seconds, nothing is known in between; infinite: a
            film's picture stands until the next one, however long.
        clock: from the recording's clock to the stream's own; None: its times are the session's
            (`plait.live.pace.Pace`), on which the recording begins with the first picture.
        tolerance_s: by how much its times are rounded at most.
        disorder_s: by how many seconds readings may come too late, after others that are later.
        begins_s: when it begins, if that is known to be before its first reading.
        between: columns that are not linear between readings.
    """

    stream: str
    names: tuple[str, ...] = ()
    rate_hz: float = 0.0
    max_gap_s: float = 1.0
    clock: Clock | None = None
    tolerance_s: float = 0.0
    disorder_s: float = 0.0
    begins_s: float | None = None
    between: Between = LINEAR


class Arrived(NamedTuple):
    """Readings of a stream.

    Args:
        stream: whose.
        times: when they were taken, `(n,)`, in seconds on the stream's own clock.
        values: `(n, columns)` float32; of a video `(n, height, width, 3)` uint8.
        arrived_s: when they arrived, on the session's clock (`plait.live.pace.Pace`).
    """

    stream: str
    times: np.ndarray
    values: np.ndarray
    arrived_s: float


class Ended(NamedTuple):
    """A stream that gives no more.

    Args:
        stream: which one.
        stop_s: when its last reading ends, on the recording's clock; None: after the usual spacing.
        arrived_s: when that was known, on the session's clock.
    """

    stream: str
    stop_s: float | None
    arrived_s: float


Event = Arrived | Ended


class Source(Protocol):
    """Where readings come from: a camera, a sensor, a recording. Each is iterated in a thread of its own."""

    @property
    def openings(self) -> tuple[Opening, ...]:
        """The streams that it gives."""
        ...

    def __iter__(self) -> Iterator[Event]:
        """What arrives, as it arrives; waits for it. It ends when nothing more can come, or when closed."""
        ...

    def close(self) -> None:
        """Ends the iteration soon, from another thread too."""
        ...


@runtime_checkable
class Dropping(Protocol):
    """A source of one stream that counts what it leaves out."""

    @property
    def dropped(self) -> int:
        """How many pictures or readings, by now."""
        ...
