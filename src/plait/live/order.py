"""Readings that may come out of order, taken in the order of their times."""

import math
from bisect import bisect_left, bisect_right
from operator import itemgetter

import numpy as np

AHEAD_S = 30.0  # that the next reading may be after the last, unless the one after it agrees


class InOrder:
    """Readings that wait until nothing earlier can come.

    One that comes when later ones have been taken is left out; so is a second one of the same time. One that
    is far ahead of all others, as of a damaged line, would have all that follow left out: it waits for the
    next one, and is left out if that is far before it.

    Args:
        disorder_s: by how many seconds readings may come after later ones.
        ahead_s: how far is far.
    """

    def __init__(self, disorder_s: float, ahead_s: float = AHEAD_S) -> None:
        self.disorder_s, self.ahead_s = disorder_s, ahead_s
        self.first_s: float | None = None  # the earliest that was added
        self.newest_s = self.taken_s = -math.inf
        self._waiting: list[tuple[float, np.ndarray]] = []
        self._doubted: tuple[float, np.ndarray] | None = None

    def add(self, times: np.ndarray, values: np.ndarray) -> int:
        """Add readings `(n, ...)` with their times `(n,)`; how many are left out, of these or one before."""
        left_out = 0
        for own_s, value in zip(times.tolist(), values, strict=True):
            if self._doubted is not None and math.isfinite(own_s):
                doubted, self._doubted = self._doubted, None
                right = own_s >= doubted[0] - self.ahead_s / 2
                left_out += not (right and self._insert(*doubted))
            if self.taken_s < own_s < math.inf and own_s - self.newest_s > self.ahead_s:
                self._doubted = own_s, value
            else:
                left_out += not self._insert(own_s, value)
        return left_out

    def settle(self) -> None:
        """Take the one that is doubted for right: nothing will follow it."""
        if self._doubted is not None:
            self._insert(*self._doubted)
            self._doubted = None

    def _insert(self, own_s: float, value: np.ndarray) -> bool:
        """Have a reading wait; whether it may."""
        at = bisect_left(self._waiting, own_s, key=itemgetter(0))
        again = at < len(self._waiting) and self._waiting[at][0] == own_s
        if again or not self.taken_s < own_s < math.inf:
            return False
        self._waiting.insert(at, (own_s, value))
        self.newest_s = max(self.newest_s, own_s)
        self.first_s = own_s if self.first_s is None else min(self.first_s, own_s)
        return True

    def take(self, whole: bool = False) -> list[tuple[float, np.ndarray]]:
        """Times and readings that nothing earlier can come before any more, in order; or all that wait."""
        until_s = math.inf if whole else self.newest_s - self.disorder_s
        count = bisect_right(self._waiting, until_s, key=itemgetter(0))
        ripe, self._waiting = self._waiting[:count], self._waiting[count:]
        if ripe:
            self.taken_s = ripe[-1][0]
        return ripe
