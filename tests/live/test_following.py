"""A sender's clock is followed: drift, jitter, outliers, and clocks that are set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import DataError
from plait.live.following import AGREEING, STEP_S, Arrivals, Following, below, through

RATE_HZ = 50.0
clocks = {
    "drift_ppm": st.floats(-200, 200),
    "offset_s": st.sampled_from([-3e3, 0.25, 4e4, 1.7e9]),
    "seed": st.integers(0, 10_000),
}


def own(session_s, offset_s, drift_ppm):
    """What a sender's clock shows."""
    return (session_s + offset_s) * (1 + drift_ppm * 1e-6)


def measured(rng, session_s):
    """A measurement as LSL makes it: its error is known, and now and then large, or larger than it says."""
    error_s = 1e-4 + rng.exponential(1e-3)
    off_s = rng.uniform(-error_s, error_s)
    if rng.random() < 0.1:
        off_s = rng.choice([-1, 1]) * rng.uniform(0.01, 0.5)
    return session_s + off_s, error_s


@settings(max_examples=15)
@given(**clocks)
def test_measured_offsets_are_followed(offset_s, drift_ppm, seed):
    rng = np.random.default_rng(seed)
    following, errors_s, found = Following(through, 120.0), [], []
    for at_s in np.arange(1000.0, 1200.0, 2.0):
        session_s, error_s = measured(rng, at_s)
        following.measure(float(own(at_s, offset_s, drift_ppm)), session_s, error_s)
        true_s = at_s + np.sort(rng.uniform(0, 2, 20))
        placed = following.place(own(true_s, offset_s, drift_ppm), true_s[-1] + 0.01)
        found += placed.times.tolist()
        if at_s > 1030:
            assert placed.kept.all()
            errors_s += (placed.times - true_s).tolist()
    assert np.max(np.abs(errors_s)) < 0.005
    assert (np.diff(found) > 0).all()


@settings(max_examples=15)
@given(least_s=st.floats(0, 0.2), burst=st.integers(5, 25), **clocks)
def test_arrivals_are_followed(offset_s, drift_ppm, seed, least_s, burst):
    """Readings that come in bursts, late by some jitter, and now and then by seconds."""
    rng = np.random.default_rng(seed)
    arrivals, errors_s, found = Arrivals(), [], []
    true_s = 1000.0 + np.arange(0, 120, 1 / RATE_HZ)
    own_s = own(true_s, offset_s, drift_ppm)
    arrived_s = 0.0
    for first in range(0, len(true_s), burst):
        part = slice(first, first + burst)
        late_s = rng.exponential(0.01) + rng.choice([0, 2.0], p=[0.98, 0.02])
        arrived_s = max(arrived_s, true_s[part][-1] + least_s + late_s)
        assert arrivals.arrive(float(own_s[part][-1]), arrived_s) is None or first < 50 * AGREEING
        placed = arrivals.following.place(own_s[part], arrived_s)
        found += placed.times.tolist()
        if true_s[first] > 1060:
            assert placed.kept.all()
            errors_s += (placed.times - least_s - true_s[part]).tolist()
    assert np.max(np.abs(errors_s)) < 0.005
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("set_s", [-5.0, 0.3, 2000.0])
def test_a_measured_clock_that_is_set_is_followed(set_s):
    following, said, wrong_s, found = Following(through, 120.0), [], [], []
    for at_s in np.arange(100.0, 300.0, 2.0):
        ahead_s = 7.0 + (set_s if at_s >= 200 else 0.0)
        said.append(following.measure(at_s + ahead_s, at_s, 2e-4))
        true_s = at_s + np.arange(1, 100) / 50
        placed = following.place(true_s + ahead_s, true_s[-1])
        found += placed.times.tolist()
        if not 200 <= at_s < 200 + 2 * AGREEING:
            assert placed.kept.all()
            wrong_s += (placed.times - true_s).tolist()
    [jump_s] = [jump_s for jump_s in said if jump_s is not None]
    assert abs(jump_s - set_s) < 1e-6
    assert said.index(jump_s) == 50 + AGREEING - 1
    assert np.max(np.abs(wrong_s)) < 1e-6
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("set_s", [-50.0, 0.3, 2000.0])
def test_a_clock_that_is_set_is_seen_by_arrivals(set_s):
    arrivals, said, last_s = Arrivals(), [], []
    for true_s in np.arange(100.0, 200.0, 0.02):
        ahead_s = 7.0 + (set_s if true_s >= 150 else 0.0)
        said.append(arrivals.arrive(true_s + ahead_s, true_s + 0.004))
        placed = arrivals.following.place(np.array([true_s + ahead_s]), true_s + 0.004)
        if true_s > 150 + AGREEING + 2:
            last_s += (placed.times - true_s - 0.004).tolist()
            assert placed.kept.all()
    [jump_s] = [jump_s for jump_s in said if jump_s is not None]
    assert abs(jump_s - set_s) < 1e-3 and len(last_s) > 1000 and np.max(np.abs(last_s)) < 1e-3


@pytest.mark.parametrize("stray_s", [-3.0, 3.0])
def test_a_measurement_that_nothing_supports_changes_nothing(stray_s):
    following = Following(through, 120.0)
    for at_s in np.arange(0.0, 60.0, 2.0):
        said = following.measure(at_s, at_s + (stray_s if at_s % 6 == 0 and at_s > 20 else 0.0), 1e-4)
        assert said is None
    assert following.place(np.array([60.0]), 60.0).times == pytest.approx([60.0], abs=1e-9)


def test_what_cannot_be_is_left_out():
    following = Following(below, 60.0)
    with pytest.raises(DataError, match="not been measured"):
        following.place(np.array([1.0]), 1.0)
    following.measure(0.0, 100.0)
    placed = following.place(np.array([-1000.0, 1.0, 5.0]), 101.0)
    assert placed.kept.tolist() == [False, True, False] and placed.times.tolist() == [101.0]
    assert following.left_out == 2


@settings(max_examples=15)
@given(drift=st.floats(-0.015, 0.015))
def test_a_clock_of_another_rate_is_followed(drift):
    """A rate that is only nearly what was said, as of rows without times."""
    arrivals = Arrivals()
    for true_s in np.arange(0.0, 80.0, 0.1):
        arrivals.arrive(true_s * (1 + drift), true_s)
        times = arrivals.following.place(np.array([true_s * (1 + drift)]), true_s).times
        if true_s > 40:
            assert abs(times[0] - true_s) < 0.005


def test_a_line_lies_below_all_and_through_the_middle():
    rng = np.random.default_rng(0)
    own_s = np.sort(rng.uniform(0, 60, 500))
    offset_s = 1e-4 * own_s + 0.3 + rng.exponential(0.01, 500)
    offset, slope = below(own_s, offset_s, np.zeros(500))
    assert (offset + slope * own_s <= offset_s + 1e-12).all()
    assert abs(offset - 0.3) < 1e-3 and abs(slope - 1e-4) < 2e-5
    offset, slope = through(own_s, offset_s, np.full(500, STEP_S))
    assert abs(offset + slope * 30 - np.mean(offset_s)) < 1e-3
