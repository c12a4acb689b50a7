"""A sensor log that is written as it comes, and can be read whenever its writer dies."""

import math
import re
from bisect import bisect_left
from operator import itemgetter
from pathlib import Path

import numpy as np

from plait.errors import DataError
from plait.live.events import Opening
from plait.live.order import InOrder
from plait.recordings.folder import LogFile
from plait.recordings.gather import stream_name

TIME = "time_s"
HELD_S = 10.0  # of readings that came before the first picture
SEPARATORS = re.compile(r"[\s,;|\"]+")


class Sheet:
    """A log as a CSV that grows by whole rows, in order of their times, as a session takes them.

    Args:
        folder: where.
        opening: whose.
    """

    def __init__(self, folder: Path, opening: Opening) -> None:
        self.opening = opening
        self.file = folder / f"{stream_name(opening.stream)}.csv"
        names = [SEPARATORS.sub(" ", name).strip() for name in opening.names]
        self.names = tuple(
            f"{name} {number}".strip() if name in ("", TIME, *names[: number - 1]) else name
            for number, name in enumerate(names, 1)
        )
        self.filled = np.zeros(len(names), np.bool_)  # columns that hold a number
        self.late = 0
        self._order = InOrder(opening.disorder_s)
        self._rows: list[tuple[float, np.ndarray]] = []  # taken, and not written yet
        self._written_s = -math.inf

    @property
    def first_s(self) -> float | None:
        """The earliest time that has come."""
        return self._order.first_s

    def add(self, times: np.ndarray, values: np.ndarray) -> None:
        """Take readings `(n, columns)` with their times `(n,)` on the stream's own clock."""
        self.late += self._order.add(times, values)
        self._rows += self._order.take()

    def hold(self) -> None:
        """Let go of readings that lie long before the first picture."""
        del self._rows[: bisect_left(self._rows, self._order.newest_s - HELD_S, key=itemgetter(0))]

    def write(self, shift_s: float, last: bool = False) -> None:
        """Write what nothing may come before any more, or, at last, all, times less `shift_s`.

        Raises:
            DataError: it cannot be written.
        """
        if last:
            self._order.settle()
        ripe, self._rows = self._rows + (self._order.take(whole=True) if last else []), []
        if not ripe:
            return
        lines = [] if math.isfinite(self._written_s) else [",".join((TIME, *self.names))]
        before = f"{self._written_s - shift_s:.9f}"
        for own_s, row in ripe:
            written = f"{own_s - shift_s:.9f}"
            if written == before:  # readings less than a nanosecond apart
                self.late += 1
                continue
            before, finite = written, np.isfinite(row)
            self.filled |= finite
            cells = (
                f"{value:.9g}" if known else "" for value, known in zip(row.tolist(), finite, strict=True)
            )
            lines.append(",".join((written, *cells)))
        self._written_s = ripe[-1][0]
        try:
            with self.file.open("ab", buffering=0) as grown:
                grown.write(("\n".join(lines) + "\n").encode())
        except OSError as error:
            raise DataError(f"{self.file}: cannot be written: {error.strerror}") from error

    @property
    def described(self) -> LogFile:
        """How it is to be read."""
        gap_s = self.opening.max_gap_s
        name = self.file.name
        named = self.opening.between.named(self.names)
        return LogFile(
            name,
            self.names,
            TIME,
            max_gap_s=gap_s,
            absolute=True,
            header_line=1,
            circular=dict(named.circular),
            quaternions=named.quaternions,
            held=named.held,
        )
