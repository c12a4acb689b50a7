"""A CSV file that a logger is writing, as a source: what is added to it, once its line is complete."""

import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event as Flag
from typing import Any

import numpy as np

from plait.errors import ConfigError, DataError
from plait.live.events import Arrived, Event, Opening
from plait.live.following import Arrivals
from plait.live.growing import Growing
from plait.live.placing import Placing, warn
from plait.recordings.folder import SYNC, Clock, log_file, read_sync
from plait.recordings.layouts import COMMENTS, Layout, layout_of, names_again, text_of
from plait.recordings.logs import Log, not_linear, read_log, scaled, times_of, where
from plait.recordings.tables import framed
from plait.recordings.unknown_logs import describe_log

TIMEOUT_S = 10.0  # for the first rows to be there
POLL_S = 0.02  # between two looks at the file
HEAD = 60  # lines by which it is told what the file holds
ROWS = 2  # that are needed where everything is said
SHARED = 0.01  # share of rows that may have the time of another


class Tail:
    """What is added to a CSV file, from the end it has when it is iterated.

    Times are on the logger's clock, which is told by when rows come; or, with `sync`, stay as they are, and
    the whole file is read. A file that is replaced or cut short is read from its start, and that is said; so
    is a row that cannot be read, which is left out. Where a logger names its columns again in another order,
    that one holds.

    Args:
        stream: what it is called.
        file: the CSV file; it may appear later.
        said: settings of `plait.recordings.folder.LogFile`; what they leave open is told by the first rows,
            as `plait ingest` would.
        sync: a `sync.json` that says which clock the stream has.
        timeout_s: how long the first rows are waited for; by default `TIMEOUT_S`.
        answer: what to write before a setting, for errors.

    Raises:
        ConfigError: the file is no text, or `sync` no `sync.json`.
        DataError: no rows come in time, or it is not clear what they are: the message says what to set.
    """

    def __init__(
        self,
        stream: str,
        file: Path,
        said: Mapping[str, Any] | None = None,
        *,
        sync: Path | None = None,
        timeout_s: float | None = None,
        answer: str = "?",
    ) -> None:
        self.stream, self.file, self.answer = stream, file, answer
        self.said, self.told = dict(said or {}), list[str]()
        if file.suffix.lower() not in (".csv", ".tsv", ".txt"):
            raise ConfigError(f"{file}: expected a .csv, .tsv or .txt file")
        clock = None if sync is None else _clock(sync, stream)
        self._closed = Flag()
        self._growing = Growing(file)
        self._layout: Layout | None = None
        self._head: list[tuple[int, bytes]] = []
        self._all_said = "columns" in self.said and (
            "rate_hz" in self.said or {"time", "time_unit"} <= self.said.keys()
        )
        if self._all_said and not file.exists() and not re.search(r"[*?\[]", "".join(self.said["columns"])):
            self.log: Log = log_file({"file": file.name, **self.said}, file).log()
            rate_hz = self.log.rate_hz or 0.0
        else:
            lines = self._first_lines(TIMEOUT_S if timeout_s is None else timeout_s)
            with tempfile.TemporaryDirectory() as folder:
                rate_hz = self._describe(Path(folder) / file.name, lines)
            self._layout = self._layout_of(lines)
        self._placing = Placing(stream, Arrivals()) if clock is None else None
        self._zero_s: float | None = 0.0 if self.log.absolute else None
        self._rows = self._bad = 0
        max_gap_s = self.log.max_gap_s
        between = not_linear(file, self.log, self.log.columns)
        self.openings = (Opening(stream, self.log.columns, rate_hz, max_gap_s, clock, between=between),)

    def __iter__(self) -> Iterator[Event]:
        """What is added, without end.

        Raises:
            DataError: a file that takes its place has other columns.
        """
        try:
            if self._placing is not None and self._layout is not None:
                self._growing.skip()
            while not self._closed.is_set():
                lines = self._growing.read()
                if lines:
                    yield from self._added(lines)
                else:
                    if (anew := self._growing.anew()) is not None:
                        warn(f"live: {self.stream}: {self.file}: {anew}: read from its start")
                        self._layout, self._head, self._zero_s = None, [], None
                    self._closed.wait(POLL_S)
        finally:
            self._closed.set()
            self._growing.close()

    @property
    def dropped(self) -> int:
        """How many rows were left out, for they could not be read or have no time."""
        return self._bad + (self._placing.following.left_out if self._placing else 0)

    def close(self) -> None:
        """End it."""
        self._closed.set()

    def _added(self, lines: list[tuple[int, bytes]]) -> Iterator[Event]:
        """The readings in some lines."""
        arrived_s = time.monotonic()
        if self._layout is None:
            self._head += lines
            if len(_filled(self._head)) < ROWS:
                return
            self._layout = self._layout_of(self._head)
            lines, self._head = self._head, []
        for layout, part in self._by_order(self._layout, lines):
            yield from self._placed(*self._parsed(layout, self._readable(layout, part)), arrived_s)

    def _by_order(
        self, layout: Layout, lines: list[tuple[int, bytes]]
    ) -> Iterator[tuple[Layout, list[tuple[int, bytes]]]]:
        """Lines without names of columns, each with the order of columns that was named last."""
        part: list[tuple[int, bytes]] = []
        first = layout.names[0].encode(errors="replace")
        for number, line in lines:
            again = None
            if number >= self._begins and first in line:
                again = names_again(line.decode(errors="replace"), layout.names, layout.separator)
            if again is None:
                part.append((number, line))
            elif again != layout.names:
                yield layout, part
                layout, part = replace(layout, names=again), []
                warn(f"live: {self.stream}: {self.file}: line {number}: columns in another order: followed")
        self._layout = layout
        yield layout, part

    def _placed(self, own_s: np.ndarray, values: np.ndarray, arrived_s: float) -> Iterator[Event]:
        """Readings at the logger's times, at those of the session."""
        if not len(own_s):
            return
        if self._placing is not None:
            yield from self._placing.events(own_s, values, np.full(len(own_s), arrived_s))
            return
        if self._zero_s is None:
            self._zero_s = float(own_s[0])
        yield Arrived(self.stream, own_s - self._zero_s, values.astype(np.float32), arrived_s)

    def _first_lines(self, timeout_s: float) -> list[tuple[int, bytes]]:
        """The lines from which it is told what the file holds.

        Raises:
            DataError: there are none in time.
        """
        needed = 1 + ROWS if self._all_said else HEAD
        until_s, lines = time.monotonic() + timeout_s, list[tuple[int, bytes]]()
        while True:
            lines += (read := self._growing.read())
            if len(_filled(lines)) >= needed or (not read and time.monotonic() >= until_s):
                break
            if not read:
                if self._growing.anew():
                    lines = []
                self._closed.wait(POLL_S)
        self._growing.close()
        if len(_filled(lines)) < 1 + ROWS:
            lacks = f"fewer than {ROWS} rows" if self.file.exists() else "no such file"
            raise DataError(f"{self.file}: {lacks} within {timeout_s:g} s, expected a logger to write it")
        return lines[: max(needed, HEAD)]

    def _describe(self, head: Path, lines: Sequence[tuple[int, bytes]]) -> float:
        """Fill `log` by what is said and what the first lines hold, in the file `head`; readings a second."""
        head.write_bytes(b"".join(line + b"\n" for _, line in lines))
        notes: list[str] = []
        try:
            if self._all_said:
                described = log_file({"file": head.name, **self.said}, head)
            else:
                described = describe_log(head, self.stream, None, self.said, self.told)
            known = read_log(head, described.log(), notes)
        except DataError as error:
            line = str(error).replace(str(head), str(self.file))
            named = rf"--set '?logs\.(?:{re.escape(self.stream)}|NAME)\."
            raise DataError(re.sub(named, lambda _: self.answer, line)) from error
        if shared := next((note for note in notes if "share" in note), None):
            raise DataError(
                f"{self.file}: {shared.partition(':')[0]}, expected a time for each; if rows are evenly "
                f"spaced, say {self.answer}rate_hz=HZ"
            )
        self.log = replace(described.log(), columns=known.names)
        return known.rate_hz

    def _layout_of(self, lines: Sequence[tuple[int, bytes]]) -> Layout:
        """How the lines of a file are laid out that begins so.

        Raises:
            DataError: it lacks a column, or is not UTF-8.
        """
        content = b"\n".join(line for _, line in lines)
        if b"\0" in content:
            raise DataError(f"{self.file}: expected text in UTF-8 while it grows")
        text, _ = text_of(self.file, content, legacy=True)
        layout = layout_of(
            self.file, text, header_line=self.log.header_line, names=self.log.names, logger=True
        )
        table = framed(self.file, replace(layout, rows=layout.rows[:1]))
        wanted = (self.log.time, self.log.fraction, *self.log.columns)
        for name in wanted:
            if name is not None and name not in table.frame.columns:
                raise DataError(f"{self.file}: no column {name!r} any more, expected those of before")
        self._begins = layout.rows[0][0]
        self._above = {line.strip() for number, line in lines if number < self._begins}
        self._blanks = layout.separator == "\t" and b"\t" not in content
        return layout

    def _readable(self, layout: Layout, lines: list[tuple[int, bytes]]) -> list[tuple[int, str]]:
        """The lines that are rows."""
        rows: list[tuple[int, str]] = []
        for number, line in lines:
            bare = line.strip()
            if number < self._begins or not bare or bare in self._above:
                continue
            try:
                text, _ = text_of(self.file, line, legacy=True)
            except DataError as error:
                self._leave_out(error)
                continue
            if text.lstrip().startswith(COMMENTS):
                continue
            rows.append((number, "\t".join(text.split()) if self._blanks else text))
        return rows

    def _parsed(self, layout: Layout, rows: list[tuple[int, str]]) -> tuple[np.ndarray, np.ndarray]:
        """Times `(n,)` on the logger's clock, and readings `(n, columns)`, of the rows that can be read."""
        nothing = np.empty(0), np.empty((0, len(self.log.columns)))
        if not rows:
            return nothing
        log = self.log
        try:
            table = replace(framed(self.file, replace(layout, rows=rows)), decimal=log.decimal)
            table = where(replace(table, missing=log.missing), log)
            if not len(table.frame):
                return nothing
            if log.time is None:
                assert log.rate_hz is not None
                own_s = (self._rows + np.arange(len(table.frame))) / log.rate_hz
                self._rows += len(table.frame)
            else:
                table, own_s = times_of(table, log)
            values = np.stack([scaled(table, name, log.scale) for name in log.columns], axis=1)
        except DataError as error:
            if len(rows) > 1:
                parts = [self._parsed(layout, [row]) for row in rows]
                return np.concatenate([times for times, _ in parts]), np.concatenate([v for _, v in parts])
            self._leave_out(error)
            return nothing
        return own_s, values

    def _leave_out(self, error: DataError) -> None:
        self._bad += 1
        if self._bad == 1:
            warn(f"live: {self.stream}: {error}: left out, as are others like it")


def _filled(lines: Sequence[tuple[int, bytes]]) -> list[bytes]:
    return [line for _, line in lines if line.strip()]


def _clock(sync: Path, stream: str) -> Clock:
    """A stream's clock.

    Raises:
        ConfigError: the file is called otherwise.
        DataError: it cannot be read, or says nothing of the stream, or nothing sure.
    """
    if sync.name != SYNC:
        raise ConfigError(f"{sync}: expected a {SYNC}, as `plait sync` writes it")
    clocks = read_sync(sync.parent)
    if stream not in clocks:
        raise DataError(f"{sync}: says nothing of log {stream!r}, expected one of: {', '.join(clocks)}")
    if clocks[stream].status == "unsure":
        raise DataError(f"{sync}: log {stream!r} is unsure; give its offset")
    return clocks[stream]
