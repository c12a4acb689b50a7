"""Time stamps that were rounded, or that are missing."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.recordings.stamps import NO_TIME, filled, steady


@given(
    rate=st.floats(5, 250),
    first=st.floats(0, 1000),
    kept=st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=8, max_size=400),
    rounding=st.sampled_from([np.round, np.floor]),
    known=st.booleans(),
)
def test_a_rounded_constant_rate_comes_back(rate, first, kept, rounding, known):
    true = first + np.cumsum([0, *kept]) * 1000 / rate
    rates = [Fraction(rate).limit_denominator(10**6)] if known else []
    got, _ = steady(rounding(true).astype(np.int64), 1e-3, rates)
    # at most a unit from the stamp, which is at most one from the truth
    assert np.abs(got - true).max() < 2.1
    if known:  # steps are steady, whatever the start
        np.testing.assert_allclose(np.diff(got), np.diff(true), atol=1e-2)


@pytest.mark.parametrize("rate", [24, 30, Fraction(30_000, 1001), 60])
def test_a_rate_that_the_file_states_is_exact(rate):
    true = np.arange(500) * 1000 / float(rate)
    got, off = steady(np.round(true).astype(np.int64), 1e-3, [rate])
    np.testing.assert_allclose(got, true, atol=1e-6)
    assert off < 0.1


@given(st.lists(st.integers(1, 90), min_size=1, max_size=60))
def test_no_stamp_moves_by_more_than_a_unit(gaps):
    stamps = np.cumsum([0, *gaps])
    got, off = steady(stamps, 1e-3, [30, 25])
    assert np.abs(got - stamps).max() <= 1.1 and (np.diff(got) > 0).all() and 0 <= off <= 1
    assert off == 1 or off <= min(gaps) / 4 or not np.array_equal(got, stamps)


@pytest.mark.parametrize("unit_s", [1 / 90_000, 1 / 30, 1 / 25])
def test_what_is_fine_or_counts_frames_stays(unit_s):
    got, off = steady(np.array([0, 3, 7, 10, 13]), unit_s, [30])
    assert got.tolist() == [0, 3, 7, 10, 13] and off == 0


def test_missing_stamps_lie_between_their_neighbours():
    assert filled(np.array([NO_TIME, 10, NO_TIME, NO_TIME, 40, NO_TIME])).tolist() == [0, 10, 20, 30, 40, 50]
    assert filled(np.array([7])).tolist() == [7] and filled(np.array([3, 9])).tolist() == [3, 9]
    for useless in ([NO_TIME, 4, NO_TIME], [5, NO_TIME, 4], [1, 1], [NO_TIME], [0, NO_TIME, NO_TIME, 1]):
        assert filled(np.array(useless)) is None
