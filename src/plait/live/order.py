"""Readings that may come out of order, taken in the order of their times."""

import math
from bisect import bisect_left, bisect_right
from operator import itemgetter

import numpy as np


class InOrder:
    """Readings that wait until nothing earlier can come.

    One that comes when later ones have been taken is left out; so is a second one of the same time.

    Args:
        disorder_s: by how many seconds readings may come after later ones.
    """

    def __init__(self, disorder_s: float) -> None:
        self.disorder_s = disorder_s
        self.first_s: float | None = None  # the earliest that was added
        self.newest_s = self.taken_s = -math.inf
        self._waiting: list[tuple[float, np.ndarray]] = []

    def add(self, times: np.ndarray, values: np.ndarray) -> int:
        """Add readings `(n, ...)` with their times `(n,)`; how many of them are not left out."""
        before = len(self._waiting)
        for own_s, value in zip(times.tolist(), values, strict=True):
            at = bisect_left(self._waiting, own_s, key=itemgetter(0))
            again = at < len(self._waiting) and self._waiting[at][0] == own_s
            if again or not self.taken_s < own_s < math.inf:
                continue
            self._waiting.insert(at, (own_s, value))
            self.newest_s = max(self.newest_s, own_s)
            self.first_s = own_s if self.first_s is None else min(self.first_s, own_s)
        return len(self._waiting) - before

    def take(self, whole: bool = False) -> list[tuple[float, np.ndarray]]:
        """Times and readings that nothing earlier can come before any more, in order; or all that wait."""
        until_s = math.inf if whole else self.newest_s - self.disorder_s
        count = bisect_right(self._waiting, until_s, key=itemgetter(0))
        ripe, self._waiting = self._waiting[:count], self._waiting[count:]
        if ripe:
            self.taken_s = ripe[-1][0]
        return ripe
