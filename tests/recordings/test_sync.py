import numpy as np
import pytest

from plait.datasets.simulated.signals import simulate
from plait.recordings.sync import align, claps_felt, claps_heard, hand_speed
from plait.types import Readings


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
    assert all((fit.confidence >= 0.5) == (fit.status == "sure") for fit, *_ in fits)


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


def test_two_recordings_that_have_nothing_to_do_with_each_other_are_never_sure():
    for seed in range(6):
        one, other = simulate(50 + seed, claps=1), simulate(70 + seed, claps=1)
        for log in other.logs.values():
            assert align(claps_heard(one.audio), one.motion, log).status == "unsure"


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
