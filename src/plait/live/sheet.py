"""A sensor log that is written as it comes, and can be read whenever its writer dies."""

import math
import re
from bisect import bisect_left, bisect_right
from pathlib import Path

import numpy as np

from plait.errors import DataError
from plait.live.events import Opening
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
        self.first_s: float | None = None
        self._waiting: list[tuple[float, np.ndarray]] = []
        self._newest_s = self._written_s = self._taken_s = -math.inf

    def add(self, times: np.ndarray, values: np.ndarray) -> None:
        """Take readings `(n, columns)` with their times `(n,)` on the stream's own clock."""
        for own_s, row in zip(times.tolist(), values, strict=True):
            at = bisect_left(self._waiting, own_s, key=lambda item: item[0])
            again = at < len(self._waiting) and self._waiting[at][0] == own_s
            if again or not max(self._written_s, self._taken_s) < own_s < math.inf:
                self.late += 1
                continue
            self._waiting.insert(at, (own_s, row))
            self._newest_s = max(self._newest_s, own_s)
            self.first_s = own_s if self.first_s is None else min(self.first_s, own_s)
        ripe = bisect_right(self._waiting, self._newest_s - self.opening.disorder_s, key=lambda item: item[0])
        if ripe:
            self._taken_s = self._waiting[ripe - 1][0]

    def hold(self) -> None:
        """Let go of readings that lie long before the first picture."""
        del self._waiting[: bisect_left(self._waiting, self._newest_s - HELD_S, key=lambda item: item[0])]

    def write(self, shift_s: float, last: bool = False) -> None:
        """Write what nothing may come before any more, or, at last, all, times less `shift_s`.

        Raises:
            DataError: it cannot be written.
        """
        until_s = math.inf if last else self._newest_s - self.opening.disorder_s
        count = bisect_left(self._waiting, until_s, key=lambda item: item[0])
        if count < len(self._waiting) and self._waiting[count][0] == until_s:
            count += 1
        ripe, self._waiting = self._waiting[:count], self._waiting[count:]
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
        return LogFile(name, self.names, TIME, max_gap_s=gap_s, absolute=True, header_line=1)
