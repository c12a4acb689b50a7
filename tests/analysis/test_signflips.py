"""Sign flips against scipy's permutation tests and against every pattern written out."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from plait.analysis.signflips import DRAWS, SignFlips, _swapped, detectable, spread_p

shares = st.lists(st.integers(-8, 8).map(lambda n: n / 16), min_size=1, max_size=9).map(np.array)


def flipped(d):
    """The means of all patterns of signs."""
    return np.array([np.mean(d * signs) for signs in itertools.product((1, -1), repeat=len(d))])


@given(shares)
def test_p_is_that_of_every_pattern_written_out(d):
    means, tests = flipped(d), SignFlips(d)
    assert tests.p() == pytest.approx(np.mean(np.abs(means) >= abs(d.mean()) - 1e-9))
    for at in (-0.25, 0.0, 0.1):
        moved = flipped(d - at)
        assert tests.p_above(at) == pytest.approx(np.mean(moved >= (d - at).mean() - 1e-9))
        assert tests.p_below(at) == pytest.approx(np.mean(moved <= (d - at).mean() + 1e-9))


@given(shares, st.sampled_from([0.8, 0.9, 0.95]))
def test_the_interval_holds_what_the_test_does_not_refuse_and_nothing_else(d, level):
    low, high = SignFlips(d).interval(level)
    if low is None or high is None:
        assert 2 / 2 ** len(d) > 1 - level
        return
    for at in (low, high, (low + high) / 2):
        assert SignFlips(d - at).p() > 1 - level
    for at in (low - 1e-6, high + 1e-6):
        assert SignFlips(d - at).p() <= 1 - level


def test_scipy_comes_to_the_same():
    d = np.random.default_rng(3).normal(0.4, 1, 9)
    for alternative, p in (("greater", SignFlips(d).p_above()), ("less", SignFlips(d).p_below())):
        theirs = stats.permutation_test((d,), np.mean, permutation_type="samples", alternative=alternative)
        assert p == pytest.approx(theirs.pvalue)


def test_beyond_twenty_people_patterns_are_drawn_and_said():
    d = np.random.default_rng(1).normal(0.3, 1, 30)
    tests = SignFlips(d)
    assert tests.draws == DRAWS and SignFlips(d[:20]).draws is None
    assert tests.p() == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.01)
    half = stats.t.ppf(0.975, 29) * d.std(ddof=1) / 30**0.5
    low, high = tests.interval()
    assert low == pytest.approx(d.mean() - half, abs=0.03) and high == pytest.approx(
        d.mean() + half, abs=0.03
    )
    assert SignFlips(d).interval() == (low, high)


def test_equivalence_is_two_one_sided_tests():
    d = np.array([0.01, -0.01, 0.02, -0.02, 0.0, 0.01, -0.01])
    assert SignFlips(d).p_equivalent(0.05) == 2**-7
    assert SignFlips(d).p_equivalent(0.005) > 0.1
    low, high = SignFlips(d).interval(0.9)
    assert -0.05 < low < high < 0.05


@pytest.mark.parametrize("people", [1, 2, 5])
def test_few_people_set_no_limit(people):
    tests = SignFlips(np.full(people, 0.5))
    assert tests.interval() == (None, None) and tests.p() > 0.05
    assert detectable(0.1, people) is None


@given(st.integers(2, 8), st.integers(0, 99))
def test_swaps_are_every_swap_written_out(people, seed):
    a, b = np.random.default_rng(seed).normal(0, [[1.0], [2.0]], (2, people))
    x, y = a - a.mean(), b - b.mean()
    found = []
    for swap in itertools.product((False, True), repeat=people):
        found.append(np.var(np.where(swap, y, x)) - np.var(np.where(swap, x, y)))
    assert _swapped(a, b) == pytest.approx(np.mean(np.abs(found) >= abs(found[0]) - 1e-9))


@pytest.mark.parametrize("people", [6, 8, 20, 30])
def test_a_difference_that_is_said_to_be_detectable_is_detected(people):
    """As often as is said, or, of few people, whose patterns are few, somewhat less often."""
    shift = detectable(1.0, people)
    draws = np.random.default_rng(people).normal(shift, 1, (60, people))
    share = np.mean([SignFlips(d).p() <= 0.05 for d in draws])
    assert (0.5 if people < 8 else 0.65) < share < 0.95


DRAWN = {
    "normal": lambda rng, n: rng.normal(0, 1, n) + rng.normal(0, 1, (2, n)),
    "heavy tails": lambda rng, n: rng.standard_t(3, n) + rng.standard_t(3, (2, n)),
    "few clips": lambda rng, n: rng.binomial(8, rng.beta(4, 2, n), (2, n)) / 8,
    "nearly all right": lambda rng, n: rng.binomial(60, rng.beta(20, 2, n), (2, n)) / 60,
}


@pytest.mark.parametrize("people", [6, 8, 12])
@pytest.mark.parametrize("kind", DRAWN)
def test_equal_spreads_are_rarely_told_apart(kind, people):
    rng, studies = np.random.default_rng(people), 600
    wrong = sum(spread_p(*DRAWN[kind](rng, people)) <= 0.05 for _ in range(studies))
    assert wrong / studies <= 0.05 + 2.6 * (0.05 * 0.95 / studies) ** 0.5


def test_spreads_that_differ_are_told_apart():
    rng = np.random.default_rng(0)
    skill = rng.normal(0, 1, 20)
    assert spread_p(skill, 0.2 * skill + rng.normal(0, 0.1, 20)) < 0.01
    assert spread_p(np.ones(5), np.ones(5)) == spread_p(np.arange(2.0), np.ones(2)) == 1.0
