"""Sign flips over people: exact tests of a mean difference, intervals of what they accept, equivalence.

Were two methods alike, a person's difference could as well have had the other sign. Against "the mean is at
most t", a pattern that flips the people S has a sum at least as large as the observed one exactly where the
mean of S is at most t. So the one-sided p is the share of subsets whose mean is, the empty one included, and
limits of an interval are order statistics of subset means (J. A. Hartigan, Using subsample values as typical
values, JASA 64, 1969). All 2^n subsets are taken up to `EXACT_UP_TO` people, beyond them `DRAWS` random ones
from a fixed seed.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize, stats

EXACT_UP_TO = 20  # people; 2^20 subsets
DRAWS = 199_999  # random subsets beyond; the empty one besides
BLOCK = 2**18  # drawn at once: people times random subsets
TIE = 1e-9  # differences of shares of clips that come to the same but for rounding


@dataclass(frozen=True, eq=False)
class SignFlips:
    """The sign-flip tests of `differences`, one per person, shape `(people,)`."""

    differences: np.ndarray

    @property
    def draws(self) -> int | None:
        """How many random patterns the tests take; None where they take all."""
        return None if len(self.differences) <= EXACT_UP_TO else DRAWS

    @cached_property
    def _means(self) -> np.ndarray:
        """The means of subsets of people; that of an empty one counts as minus infinity."""
        d = np.asarray(self.differences, dtype=np.float64)
        sums, counts = _subset_sums(d, np.ones(len(d)))
        means = np.full(len(sums), -np.inf)
        np.divide(sums, counts, out=means, where=counts > 0)
        return means

    def p_above(self, at: float = 0.0) -> float:
        """One-sided p of "the mean is at most `at`": small where it lies above."""
        return float(np.mean(self._means <= at + TIE))

    def p_below(self, at: float = 0.0) -> float:
        """One-sided p of "the mean is at least `at`": small where it lies below."""
        return float(np.mean((self._means >= at - TIE) | np.isneginf(self._means)))

    def p(self) -> float:
        """Two-sided p of "the mean is zero"."""
        return min(1.0, 2 * min(self.p_above(), self.p_below()))

    def p_equivalent(self, margin: float) -> float:
        """P of "the mean is `margin` or more away from zero": the larger of two one-sided ones (TOST)."""
        return max(self.p_above(-margin), self.p_below(margin))

    def interval(self, level: float = 0.95) -> tuple[float | None, float | None]:
        """Every mean that the two-sided test at 1 - `level` accepts; None, of too few people, is no limit."""
        total, empty = len(self._means), int(np.isneginf(self._means).sum())
        refused = math.floor((1 - level) / 2 * total + TIE)  # subsets on either side, the empty ones included
        if refused < empty:
            return None, None
        ends = (refused, total - 1 - (refused - empty))
        low, high = np.partition(self._means, ends)[list(ends)]
        return float(low), float(high)


def _subset_sums(*columns: np.ndarray) -> list[np.ndarray]:
    """Each column's sum over every subset of people, the empty one first; or over `DRAWS` random ones."""
    people = len(columns[0])
    if people > EXACT_UP_TO:
        draw, sums = np.random.default_rng(0), [np.zeros(DRAWS + 1) for _ in columns]
        rows = max(BLOCK // people // 4, 1) * 4  # four numbers a draw: blocks draw what a whole would
        for start in range(0, DRAWS, rows):
            chosen = draw.integers(0, 2, (min(rows, DRAWS - start), people), dtype=np.int8)
            for total, column in zip(sums, columns, strict=True):
                total[start + 1 : start + 1 + len(chosen)] = chosen @ column
        return sums
    sums = [np.zeros(1) for _ in columns]
    for place, column in enumerate(columns):
        for value in column:
            sums[place] = np.append(sums[place], sums[place] + value)
    return sums


def detectable(sd: float, people: int, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The mean difference that a two-sided test at `alpha` of so many people finds with this `power`.

    By the noncentral t distribution, for normal differences of this SD; None where no pattern of signs is
    rare enough.
    """
    if people < 2 or 2.0 ** (1 - people) > alpha:
        return None
    critical = stats.t.ppf(1 - alpha / 2, people - 1)

    def excess(shift: float) -> float:
        return float(stats.nct.sf(critical, people - 1, shift)) - power

    shift = optimize.brentq(excess, 0.0, 100.0)
    return float(shift * sd / math.sqrt(people))


def spread_p(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p of "both spread equally over people", the larger of two; both have shape `(people,)`.

    One swaps each person's two values about the two means: the share of swaps that part the variances as far.
    The other is Pitman's and Morgan's: sum and difference are uncorrelated, by ranks. Neither alone keeps its
    level for whatever distribution; in simulations (`tests/analysis/test_signflips.py`) both together do.
    """
    together, apart = first + second, first - second
    if len(first) < 3 or not np.ptp(together) or not np.ptp(apart):
        return 1.0
    return max(_swapped(first, second), float(stats.spearmanr(together, apart).pvalue))


def _swapped(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first - first.mean(), second - second.mean()
    squares, values = b**2 - a**2, b - a
    people = len(a)
    moved, gained = _subset_sums(values, squares)  # in the first: its sum and its sum of squares
    # Variances times n - 1, of the first and the second after a swap; the means of both together stay zero.
    of_first = (a**2).sum() + gained - moved**2 / people
    of_second = (b**2).sum() - gained - moved**2 / people
    differences = np.abs(of_first - of_second)
    return float(np.mean(differences >= differences[0] - TIE))
