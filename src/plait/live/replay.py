"""An ingested recording as a source: what it holds, as it would have arrived."""

import heapq
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from threading import Event as Flag

import numpy as np

from plait.clips.windows import ends_of
from plait.errors import DataError
from plait.live.events import Arrived, Ended, Event, Opening
from plait.live.pace import Pace
from plait.recordings.folder import Clock, Synced, open_recording
from plait.recordings.video import Video
from plait.types import Recording, Stream

_SAME = Clock(0.0)
AT_ONCE_S = 0.02  # of a log's readings


class Replay:
    """The streams of a recording in the order of their times, at some pace.

    Args:
        folder: what `plait ingest` and `plait sync` made.
        pace: the session's clock, on which 0 s is where the recording begins.
        names: which streams; by default all.

    Raises:
        DataError: the recording cannot be read, or has no stream of that name.
    """

    def __init__(self, folder: Path, pace: Pace, names: Collection[str] | None = None) -> None:
        self.recording: Recording = open_recording(folder)
        self.pace = pace
        streams = self.recording.streams
        for name in names or ():
            if name not in streams:
                expected = ", ".join(streams)
                raise DataError(f"{folder}: no stream {name!r}, expected one of: {expected}")
        self.streams = {name: stream for name, stream in streams.items() if not names or name in names}
        self.openings = tuple(opening_of(name, stream) for name, stream in self.streams.items())
        self._closed = Flag()

    def __iter__(self) -> Iterator[Event]:
        """What arrives: each reading at its own time."""
        for event in merged(self.streams):
            if not self.pace.wait(event.arrived_s, self._closed):
                return
            yield event

    def close(self) -> None:
        """End it."""
        self._closed.set()


def merged(streams: dict[str, Stream]) -> Iterator[Event]:
    """The readings of some streams in the order of their times on the recording's clock."""
    arrivals = [_pictures(n, s) if isinstance(s, Video) else _rows(n, s) for n, s in streams.items()]
    when: Callable[[Event], float] = lambda event: event.arrived_s  # noqa: E731
    return heapq.merge(*arrivals, key=when)


def opening_of(name: str, stream: Stream) -> Opening:
    """What is known of a recorded stream before its first reading."""
    if isinstance(stream, Video):
        rate_hz = 1.0 / stream.lasts_s
        begins_s = stream.ends[0]
        tolerance_s = stream.tolerance_s
        return Opening(
            name,
            rate_hz=rate_hz,
            max_gap_s=np.inf,
            clock=_SAME,
            tolerance_s=tolerance_s,
            begins_s=begins_s,
        )
    assert isinstance(stream, Synced)
    log = stream.log
    return Opening(name, log.names, log.rate_hz, log.max_gap_s, stream.clock, between=log.between)


def _pictures(name: str, video: Video) -> Iterator[Event]:
    times = video.times
    stop_s = video.ends[1]
    for number, picture in video.decoded(np.arange(len(times))):
        yield Arrived(name, times[number : number + 1], picture[None], float(times[number]))
    yield Ended(name, stop_s, stop_s)


def _rows(name: str, stream: Stream) -> Iterator[Event]:
    assert isinstance(stream, Synced)
    times, own_s, values = stream.times, stream.log.times, stream.log.values
    stop_s = ends_of(stream)[1]
    first = 0
    while first < len(times):
        last = max(first + 1, int(np.searchsorted(times, times[first] + AT_ONCE_S)))
        yield Arrived(name, own_s[first:last], values[first:last], float(times[last - 1]))
        first = last
    yield Ended(name, stop_s, max(stop_s, float(times[-1])))
