"""Recording what is seen: an ordinary recording, which grows."""

import queue
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Condition, Thread

import numpy as np

from plait.errors import ConfigError, DataError, PlaitWarning
from plait.live.cameras import Camera
from plait.live.events import Arrived, Event, Opening, Source
from plait.live.film import Film
from plait.live.reel import Coded
from plait.live.session import Scored
from plait.live.sheet import Sheet
from plait.names import plain
from plait.recordings.folder import Clock, Description, write_description, write_sync
from plait.store import checksum, taken

VIDEO, FILM = "video", "video.mkv"
FLUSH_S = 0.5  # between two moments at which rows are written
MOST_BYTES = 1 << 28  # that wait to be written


class Recorder:
    """A listener that writes what comes as a recording: `video.mkv`, a CSV of each log, their clocks.

    Of a `Camera`, packets are written as they are (`plait.live.film.Film`); other pictures without a loss.
    The recording's clock begins with the first picture. Logs on the session's clock are written on the
    recording's; others keep their own, and `sync.json` has theirs. From the first picture on the folder is a
    recording: who kills its writer loses the last second at most. `close` adds checksums.

    Args:
        folder: of the recording, new or empty.
        subject: who is recorded.
        sources: of the session, before they are iterated.
        openings: their streams, with what the session knows of them; by default as they are.
        waits: whether who comes waits where writing is slower, as a replay may; else what is too much is left
            out and counted in `left_out`.

    Raises:
        ConfigError: the folder holds something, there is not one video, called `video`, or two logs are
            called nearly alike.
        DataError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        subject: str,
        sources: Sequence[Source],
        openings: Sequence[Opening] = (),
        *,
        waits: bool = False,
    ) -> None:
        openings = openings or [opening for source in sources for opening in source.openings]
        videos = [opening for opening in openings if not opening.names]
        if [opening.stream for opening in videos] != [VIDEO]:
            got = ", ".join(opening.stream for opening in videos) or "none"
            raise ConfigError(f"{folder}: a recording has one video, called {VIDEO!r}, got: {got}")
        if taken(folder):
            raise ConfigError(f"{folder}: holds files, expected a new folder for what is recorded")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: cannot be made: {error.strerror}") from error
        self.folder, self.subject, self.video = folder, plain(subject), videos[0]
        self.sheets = {o.stream: Sheet(folder, o) for o in openings if o.names}
        if len({sheet.file for sheet in self.sheets.values()}) < len(self.sheets):
            raise ConfigError(
                f"{folder}: two logs called nearly alike, expected names that differ in a letter"
            )
        self.film = Film(folder / FILM)
        self.waits, self.left_out = waits, 0
        self._cameras = [source for source in sources if isinstance(source, Camera)]
        for camera in self._cameras:
            camera.tell = self.coded
        self._described: tuple[str, ...] | None = None
        self._first_s: float | None = None  # of logs on the session's clock, where the video is on another
        self._failed: BaseException | None = None
        self._coming: queue.SimpleQueue[Event | Coded | None] = queue.SimpleQueue()
        self._bytes, self._room, self._torn = 0, Condition(), False
        self._writer = Thread(target=self._work, name="recorder", daemon=True)
        self._writer.start()

    def arrived(self, event: Event) -> None:
        """Record readings.

        Raises:
            DataError: what came before could not be written.
        """
        if isinstance(event, Arrived) and not (event.stream == VIDEO and self._cameras):
            self._put(event)

    def scored(self, scored: Scored) -> None:
        """Nothing is recorded of what was recognised."""

    def coded(self, coded: Coded) -> None:
        """Record what a camera gave.

        Raises:
            DataError: it cannot be written, or what came before could not.
        """
        if not (self._torn and not coded.key) and self.film.begin(coded):
            self._torn = not self._put(coded)

    def close(self) -> None:
        """Write what is left, and finish the recording.

        Raises:
            DataError: something could not be written.
        """
        self._coming.put(None)
        self._writer.join()
        if self._failed is not None:
            raise self._failed
        self.film.close()
        if self.film.origin_s is None:
            line = f"{self.folder}: no recording, for no picture came"
            warnings.warn(line, PlaitWarning, stacklevel=2)
            return
        self._flush(last=True)
        described = self._description()
        for name, sheet in self.sheets.items():
            if name not in described.logs:
                what = "some of its columns never held a number" if sheet.file.exists() else "nothing came"
                line = f"{self.folder}: {name} is not part of the recording: {what}"
                warnings.warn(line, PlaitWarning, stacklevel=2)
        for count, why in ((self.left_out, "for want of time"), (self.film.left_out, "of another size")):
            if count:
                line = f"{self.folder}: {count} readings or pictures {why} are not part of the recording"
                warnings.warn(line, PlaitWarning, stacklevel=2)
        sums = {name: checksum(self.folder / name) for name in described.files}
        write_description(self.folder, replace(described, sha256=sums))

    def _put(self, item: Event | Coded) -> bool:
        """Whether there is room for something to be written."""
        size = _size(item)
        with self._room:
            if self.waits:
                self._room.wait_for(
                    lambda: not self._bytes or self._bytes + size <= MOST_BYTES or self._failed
                )
            elif self._bytes + size > MOST_BYTES:
                self.left_out += 1
                return False
            if self._failed is not None:
                raise self._failed
            self._bytes += size
        self._coming.put(item)
        return True

    def _work(self) -> None:
        """Write what comes, until there is nothing more."""
        due_s = time.monotonic() + FLUSH_S
        try:
            while True:
                try:
                    item = self._coming.get(timeout=max(0.0, due_s - time.monotonic()))
                    if item is None:
                        return
                    self._write(item)
                except queue.Empty:
                    pass
                if time.monotonic() >= due_s:
                    self._flush()
                    due_s = time.monotonic() + FLUSH_S
        except BaseException as error:
            with self._room:
                self._failed = error
                self._room.notify_all()

    def _write(self, item: Event | Coded) -> None:
        if isinstance(item, Coded):
            self.film.write(item)
        elif isinstance(item, Arrived):
            if item.stream == VIDEO:
                for own_s, picture in zip(item.times.tolist(), item.values, strict=True):
                    self.film.write_picture(picture, own_s)
            else:
                self.sheets[item.stream].add(item.times, item.values)
        with self._room:
            self._bytes -= _size(item)
            self._room.notify_all()

    def _flush(self, last: bool = False) -> None:
        """Write rows, once it is known when the recording began; and what there is to be read."""
        if self.film.origin_s is None:
            for sheet in self.sheets.values():
                sheet.hold()
            return
        for sheet in self.sheets.values():
            sheet.write(self._shift_s(sheet), last)
        described = self._description()
        if self._described != tuple(described.logs):
            clocks = {name: self._clock(self.sheets[name]) for name in described.logs}
            write_sync(self.folder, clocks, described)
            write_description(self.folder, described)
            self._described = tuple(described.logs)

    def _description(self) -> Description:
        """What can be read by now: a log in which each column holds a number."""
        logs = {name: sheet.described for name, sheet in self.sheets.items() if sheet.filled.all()}
        return Description(self.subject, FILM, logs)

    @property
    def _begun_s(self) -> float:
        """When the recording begins, on the clock of what the session recognises."""
        assert self.film.origin_s is not None
        if self.video.clock is None:
            return 0.0
        return float(self.video.clock.video_s(np.array([self.film.origin_s]))[0])

    def _shift_s(self, sheet: Sheet) -> float:
        """What a log's clock is ahead of the one on which it is written."""
        if sheet.opening.clock is not None:
            return 0.0
        if self.video.clock is None:
            assert self.film.origin_s is not None
            return self.film.origin_s
        firsts = [
            s.first_s for s in self.sheets.values() if s.opening.clock is None and s.first_s is not None
        ]
        return min(firsts, default=0.0) + self._begun_s

    def _clock(self, sheet: Sheet) -> Clock:
        """From the recording's clock to the one on which a log is written."""
        clock = sheet.opening.clock
        return Clock(0.0) if clock is None else Clock(clock.offset_s + self._begun_s, clock.drift_ppm)


def _size(item: Event | Coded) -> int:
    """How many bytes something takes, about."""
    if isinstance(item, Coded):
        content = item.content
        return len(content) if isinstance(content, bytes) else 4 * content.width * content.height
    return item.values.nbytes if isinstance(item, Arrived) else 0
