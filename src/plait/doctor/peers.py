"""One person against the others, by statistics that a few odd ones do not move; and how sure that is.

A number is compared with the same number of other people, of the same activity where enough of them did it.
Centres are medians, spreads are 1.4826 median absolute deviations. Few people say little of a spread, so it
is moderated: what people differ by anyway (the floor, or what recordings of one person differ by) counts as
`PRIOR` degrees of freedom beside 0.4 for each other person but one, for a median absolute deviation is worth
about 0.4 of a sample (Smyth, 2004, for variances). The distance then is Student's t, its chance is multiplied
by the number of looks (Bonferroni). What is left is that somebody is apart; that it is this one and not those
they are compared with is sure to n / (n + 1) with n others: two people are one against one, 0.5.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

MAD = 1.4826  # to a Gaussian's standard deviation
PRIOR = 3.0  # degrees of freedom
ENOUGH = 3  # other people who did the same


class Seen(NamedTuple):
    """Numbers of one kind, of many recordings.

    Args:
        names: `(recordings,)`.
        people: whose each is.
        kinds: what was done, "" where that is several things.
        values: `(recordings, numbers)`, NaN where unknown.
    """

    names: tuple[str, ...]
    people: tuple[str, ...]
    kinds: tuple[str, ...]
    values: np.ndarray


class Apart(NamedTuple):
    """How far people are from the others.

    Args:
        people: `(p,)`.
        off: `(p, numbers)`, what they are off by.
        clear: `(p, numbers)`, how likely it is more than chance, 0 to 1.
        alone: `(p, numbers)`, whether nobody else is even half as far off.
        sure: `(p, numbers)`, that it is this person who is apart, 0 to 1.
    """

    people: tuple[str, ...]
    off: np.ndarray
    clear: np.ndarray
    alone: np.ndarray
    sure: np.ndarray


def seen(
    facts: Mapping[str, tuple[str, Sequence[float] | np.ndarray]], people: Mapping[str, str]
) -> Seen | None:
    """Recordings' kinds and numbers, side by side; None of nothing, and of those that have another count."""
    if not facts:
        return None
    counts = [len(values) for _, values in facts.values()]
    usual = max(set(counts), key=counts.count)
    names = tuple(name for name, (_, values) in facts.items() if len(values) == usual)
    return Seen(
        names,
        tuple(people[name] for name in names),
        tuple(facts[name][0] for name in names),
        np.array([facts[name][1] for name in names], np.float64).reshape(len(names), usual),
    )


def expected(found: Seen) -> np.ndarray:
    """What other people's recordings say of each: `(recordings, numbers)`, NaN where there are none.

    The median over other people of their medians, of the same kind where `ENOUGH` did it.
    """
    people, kinds = np.array(found.people), np.array(found.kinds)
    everyone = sorted(set(found.people))
    overall = np.array([middle(found.values[people == person]) for person in everyone])
    by_kind = {
        one: np.array([middle(found.values[(people == person) & (kinds == one)]) for person in everyone])
        for one in set(found.kinds)
    }
    centres = np.full(found.values.shape, np.nan)
    for place, person in enumerate(everyone):
        others = np.arange(len(everyone)) != place
        for one, medians in by_kind.items():
            rows = (people == person) & (kinds == one)
            if rows.any():
                alike = medians[others]
                enough = np.isfinite(alike).sum(axis=0) >= ENOUGH
                centres[rows] = np.where(enough, middle(alike), middle(overall[others]))
    return centres


def apart(found: Seen, floor: float | np.ndarray, looks: int | None = None) -> Apart:
    """How far each person is from what others' recordings say, and how sure that is.

    Args:
        found: numbers of recordings.
        floor: what people differ by anyway, in the numbers' unit; one for all, or `(numbers,)`.
        looks: how many there were; by default people times numbers.
    """
    residuals, people = found.values - expected(found), np.array(found.people)
    everyone = tuple(sorted(set(found.people)))
    off = np.array([middle(residuals[people == person]) for person in everyone])
    within = np.abs(residuals - off[np.searchsorted(everyone, people)])
    own = np.array([MAD * middle(within[people == person]) for person in everyone])
    floors = np.fmax(np.fmax(floor, MAD * middle(within)), own)
    clear = np.zeros(off.shape)
    counts, alone = np.zeros(off.shape), np.zeros(off.shape, np.bool_)
    tries = looks if looks is not None else max(int(np.isfinite(off).sum()), 1)
    for place in range(len(everyone)):
        others = np.delete(off, place, axis=0)
        count = np.isfinite(others).sum(axis=0)
        freedom = 0.4 * np.maximum(count - 1, 0)
        spread = np.nan_to_num(MAD * middle(np.abs(others - middle(others))))
        moderated = np.sqrt((freedom * spread**2 + PRIOR * floors[place] ** 2) / (freedom + PRIOR))
        distance = np.abs(off[place]) / (moderated * np.sqrt(1 + 1 / np.maximum(count, 1)))
        chance = 2 * stats.t.sf(distance, freedom + PRIOR)
        clear[place] = np.where(count > 0, np.clip(1 - tries * chance, 0.0, 0.999), 0.0)
        counts[place] = count
        farthest = np.where(np.isfinite(others), np.abs(others), 0.0).max(axis=0, initial=0.0)
        alone[place] = np.abs(off[place]) > 2 * farthest
    clear = np.nan_to_num(clear)
    return Apart(everyone, off, clear, alone, clear * counts / (counts + 1))


def usual(found: Seen, floor: float, times: float = 3.0, share: float = 0.95) -> np.ndarray:
    """Up to where a number of a recording is nothing new: `(recordings, numbers)`.

    `times` the level that `share` of other people's recordings stay below, at least `floor`; of a single
    person, of their own other recordings.
    """
    people = np.array(found.people)
    bars = np.full(found.values.shape, floor)
    alone = len(set(found.people)) == 1
    for group in range(len(found.names)) if alone else sorted(set(found.people)):
        rows = np.arange(len(people)) == group if alone else people == group
        others = found.values[~rows]
        if len(others):
            known = np.where(np.isfinite(others), others, -np.inf)
            level = np.quantile(known, share, axis=0, method="lower")
            bars[rows] = np.maximum(floor, times * level)
    return bars


def plain(number: float) -> str:
    """A number in three digits."""
    return f"{number:.3g}"


def of_people(count: int) -> str:
    """Whom somebody was compared with."""
    return "1 other person" if count == 1 else f"{count} other people"


def middle(values: np.ndarray) -> np.ndarray:
    """The median along the first axis, of what is known; NaN where nothing is."""
    if len(values) == 0:
        return np.full(values.shape[1:], np.nan)
    ordered = np.sort(values, axis=0)  # NaN last
    count = np.isfinite(values).sum(axis=0)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[None], axis=0)[0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(values) - 1)[None], axis=0)[0]
    return np.asarray(np.where(count > 0, (low + high) / 2, np.nan))
