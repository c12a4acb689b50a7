import tracemalloc
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.recordings.evidence import confidences, whitened
from plait.recordings.sync import SURE, align, claps_felt, claps_heard, hand_speed
from plait.simulator.activities import WORK
from plait.types import Readings
from signals import simulate


def worst_s(fit, signals, log):
    video_s = np.array([0.0, signals.motion.times[-1]])
    fitted = (video_s + fit.offset_s) * (1 + fit.drift_ppm * 1e-6)
    true = (video_s + signals.offset_s[log]) * (1 + signals.drift_ppm[log] * 1e-6)
    return np.abs(fitted - true).max()


@pytest.fixture(scope="module")
def fits():
    made = []
    for seed in range(10):
        signals = simulate(1000 + seed, claps=1 + seed % 3, duration_s=90 + 20 * seed)
        heard = claps_heard(signals.audio)
        made += [(align(heard, signals.motion, log), signals, name) for name, log in signals.logs.items()]
    return made


def test_offset_and_drift_are_found(fits):
    errors = [worst_s(*fit) for fit in fits]
    assert np.median(errors) <= 0.025 and np.percentile(errors, 90) <= 0.067


def test_what_is_wrong_is_called_unsure(fits):
    assert all(fit.status == "unsure" or worst_s(fit, *truth) < 0.1 for fit, *truth in fits)
    assert np.mean([fit.status == "sure" for fit, *_ in fits]) > 0.5
    assert all((fit.confidence >= SURE) == (fit.status == "sure") == (fit.why == "") for fit, *_ in fits)


def test_claps_are_heard_to_a_few_milliseconds_whatever_else_is():
    signals = simulate(3, claps=3, impostors=6)
    heard = claps_heard(signals.audio)
    for clap in signals.claps_s:
        assert np.abs(heard - clap).min() < 0.006
    assert len(heard) <= 9


def test_claps_are_felt_within_a_sample():
    signals = simulate(4, claps=3, max_drift_ppm=0.0)
    for name, log in signals.logs.items():
        felt = claps_felt(log)
        for clap in signals.claps_s:
            assert np.abs(felt - clap - signals.offset_s[name]).min() < 0.04


def test_hand_speed_undoes_gravity_and_integration():
    times = np.arange(0, 30, 0.02)
    speed = 0.5 * np.sin(2 * np.pi * times)
    acceleration = np.stack([np.pi * np.cos(2 * np.pi * times), np.full(len(times), 9.81), 0 * times], axis=1)
    found = hand_speed(Readings(times, acceleration))
    inside = slice(250, -250)
    expected = np.abs(np.interp(found.times, times, speed))
    assert np.corrcoef(found.values[inside], expected[inside])[0, 1] > 0.98
    assert found.values[inside].max() == pytest.approx(0.5, rel=0.15)


@pytest.fixture(scope="module")
def shifts():
    """Three people at every kind of work, for 45 s each."""
    return {
        kind: [simulate(700 + 3 * n + i, duration_s=45, claps=i, work=work) for i in range(3)]
        for n, (kind, work) in enumerate(WORK.items())
    }


@pytest.mark.parametrize("kind", WORK)
def test_somebody_else_s_log_is_never_sure_whatever_the_work(shifts, kind):
    for one, other in permutations(shifts[kind], 2):
        for log in other.logs.values():
            for heard in (claps_heard(one.audio), np.empty(0)):
                fit = align(heard, one.motion, log)
                assert fit.status == "unsure" and fit.confidence < SURE and "45 s are short" in fit.why


@pytest.mark.parametrize("kind", WORK)
def test_one_s_own_log_is_laid_right_or_unsure_whatever_the_work(shifts, kind):
    for one in shifts[kind]:
        for name, log in one.logs.items():
            fit = align(claps_heard(one.audio), one.motion, log)
            assert fit.status == "unsure" or worst_s(fit, one, name) < 0.1


def test_a_minute_is_enough_and_half_a_minute_with_two_claps():
    sure = {}
    for seconds, claps in ((60, 0), (30, 2), (30, 0)):
        made = [simulate(900 + seed, duration_s=seconds, claps=claps) for seed in range(6)]
        fits = [
            align(claps_heard(one.audio) if claps else np.empty(0), one.motion, one.logs["left"])
            for one in made
        ]
        assert all(
            worst_s(f, one, "left") < 0.1 for f, one in zip(fits, made, strict=True) if f.status == "sure"
        )
        sure[seconds, claps] = sum(fit.status == "sure" for fit in fits)
    assert sure[60, 0] >= 5 and sure[30, 2] > sure[30, 0]


def test_logs_that_lie_still_or_hiss_are_unsure():
    one, rng = simulate(40, duration_s=60), np.random.default_rng(0)
    times = np.arange(0, 60, 0.02)
    for values in (
        np.ones((3000, 3)),
        rng.normal(size=(3000, 3)),
        np.eye(3)[rng.integers(0, 3, 3000)] * 9.81,
    ):
        fit = align(claps_heard(one.audio), one.motion, Readings(times, values))
        assert fit.status == "unsure" and fit.why


@given(
    st.lists(st.sampled_from([0.0, 1e-6, 0.02, 0.02, 0.02, 0.5, 3.0, 90.0, 3600.0, 1.7e9]), max_size=40),
    st.integers(1, 900),
    st.sampled_from([0.0, 1e-30, 1.0, 1e30]),
)
def test_whatever_a_log_s_times_are_little_is_asked_for(steps, more, size):
    times = np.unique(np.cumsum([*steps, *[0.02] * more]))
    acceleration = Readings(times, size * np.random.default_rng(len(times)).normal(size=(len(times), 3)))
    seen = np.random.default_rng(1).random(400)
    tracemalloc.start()
    fit = align(np.array([3.0]), Readings(np.arange(400) / 20, seen), acceleration)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (
        peak < 50e6
        and 0 <= fit.confidence <= 1
        and np.isfinite([fit.offset_s, fit.drift_ppm, fit.residual_ms]).all()
    )


@given(st.lists(st.floats(-50, 300), min_size=1, max_size=8), st.floats(0.5, 3600))
def test_confidences_share_what_chance_leaves(ratios, max_offset_s):
    found = confidences(np.array(ratios), 30.0, max_offset_s)
    assert (found >= 0).all() and found.sum() <= 1 + 1e-12
    assert (np.argsort(found, kind="stable") == np.argsort(ratios, kind="stable")).all() or len(
        set(found)
    ) < len(ratios)


def test_whitening_leaves_a_steady_rhythm_no_stronger_than_the_rest():
    times, rng = np.arange(0, 60, 0.02), np.random.default_rng(0)
    rhythm = [np.sin(2 * np.pi * (times + shift)) + 0.1 * rng.normal(size=len(times)) for shift in (0.0, 0.3)]
    raw = np.corrcoef(rhythm[0][:-35], rhythm[1][35:])[0, 1]
    one, other = (whitened(Readings(times, values), 30.0).values for values in rhythm)
    assert abs(raw) > 0.9 and abs(np.corrcoef(one[:-35], other[35:])[0, 1]) < 0.3


def test_stillness_and_silence_are_unsure():
    times = np.arange(0, 60, 0.04)
    motion = Readings(times, np.zeros(len(times)))
    fit = align(np.empty(0), motion, Readings(times, np.zeros((len(times), 3))))
    assert fit.status == "unsure" and np.isfinite([fit.offset_s, fit.drift_ppm, fit.confidence]).all()
    short = Readings(times[:5], np.zeros((5, 3)))
    assert align(np.array([0.1]), motion, short).status == "unsure"


def test_without_motion_seen_a_single_clap_is_not_enough():
    signals = simulate(5, claps=1)
    still = Readings(signals.motion.times, np.random.default_rng(0).random(len(signals.motion.times)))
    fit = align(claps_heard(signals.audio), still, signals.logs["left"])
    assert fit.status == "unsure"


def test_equal_seeds_equal_signals_and_other_seeds_others():
    one, same, other = simulate(1), simulate(1), simulate(2)
    np.testing.assert_array_equal(one.audio.values, same.audio.values)
    np.testing.assert_array_equal(one.logs["left"].values, same.logs["left"].values)
    assert one.offset_s == same.offset_s != other.offset_s
