"""Readings in order: what is left out, and one wild time among them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plait.live.order import AHEAD_S, InOrder


def taken(order, times):
    """What is taken of readings that come one by one, each its own time, and how many were left out."""
    found, left_out = [], 0
    for own_s in times:
        left_out += order.add(np.array([own_s]), np.array([[own_s]]))
        found += order.take()
    order.settle()
    found += order.take(whole=True)
    assert all(own_s == value[0] for own_s, value in found)
    return [own_s for own_s, _ in found], left_out


STEPS = st.lists(st.one_of(st.floats(1e-3, 1.0), st.floats(AHEAD_S + 1, 1e4)), min_size=2, max_size=40)


@given(STEPS)
def test_what_comes_in_order_is_taken_whole_however_long_the_gaps(steps):
    times = np.cumsum(steps).tolist()
    assert taken(InOrder(0.0), times) == (times, 0)


@given(st.lists(st.floats(1e-3, 1.0), min_size=2, max_size=40), st.data(), st.sampled_from([0.0, 0.05]))
def test_one_wild_time_is_left_out_and_nothing_else_is(steps, data, disorder_s):
    """Of the first two readings nobody can tell which is wild, if one is long before the other."""
    times = np.cumsum(steps).tolist()
    place = data.draw(st.integers(0, len(times) - 1))
    wild_s = data.draw(st.one_of(st.floats(1e3, 1e12), st.floats(-1e12, -1e3) if place > 1 else st.nothing()))
    order = InOrder(disorder_s)
    assert taken(order, [*times[:place], wild_s, *times[place:]]) == (times, 1)
    assert order.newest_s == times[-1]


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=60), st.floats(0.0, 0.5))
def test_what_is_within_the_disorder_is_sorted_and_all_else_is_counted(times, disorder_s):
    found, left_out = taken(InOrder(disorder_s), times)
    assert found == sorted(set(found))
    assert len(found) + left_out == len(times)
    newest_s = np.maximum.accumulate([-np.inf, *times])[:-1]
    within = [own_s for own_s, before_s in zip(times, newest_s, strict=True) if own_s > before_s - disorder_s]
    assert set(within) <= set(found)
