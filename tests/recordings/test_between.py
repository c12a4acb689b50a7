"""Columns that are no straight line between readings: angles, quaternions, states."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from plait.errors import DataError
from plait.live.events import Opening
from plait.live.rings import ring_of
from plait.recordings.between import Between, Named
from plait.recordings.curved import fours, look
from plait.recordings.folder import Clock, LogFile, left_open
from plait.recordings.logs import Log, SensorLog, read_log
from plait.recordings.unknown_logs import describe_log

DEGREES, COMPASS, RADIANS, ROUND = (-180.0, 180.0), (0.0, 360.0), (-math.pi, math.pi), (0.0, 2 * math.pi)
ENDS = [DEGREES, COMPASS, RADIANS, ROUND]
quick = settings(max_examples=60, deadline=None)


def folded(angles, ends):
    low, high = ends
    return low + np.mod(angles - low, high - low)


def apart(one, other, ends):
    """How far two angles are from each other, in turns, the short way."""
    turns = (one - other) / (ends[1] - ends[0])
    return np.abs(turns - np.rint(turns))


def turning(seed, times, fastest):
    """An angle in turns that goes to and fro, by at most so many turns a second."""
    random = np.random.default_rng(seed)
    waves = random.uniform(0.1, 0.6, 3), random.uniform(0, 6, 3), random.uniform(0.2, 1, 3)
    angle = sum(a / f * np.sin(2 * np.pi * f * times + p) for f, p, a in zip(*waves, strict=True))
    return random.uniform(0, 1) + angle * fastest / (2 * np.pi * sum(waves[2]))


def log(times, column, *between, names=("yaw",)):
    values = np.asarray(column, np.float32)
    return SensorLog(times, values.reshape(len(times), -1), names, between=Between(*between))


@quick
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(ENDS),
    st.sampled_from([20.0, 33.3, 50.0, 60.0, 130.0]),
    st.floats(0.0, 1.0),
)
def test_an_angle_is_what_it_would_be_if_it_never_passed_its_ends(seed, ends, rate_hz, jitter):
    times = np.arange(0, 12, 0.02)
    times = times + 0.005 * jitter * np.random.default_rng(seed).uniform(-1, 1, len(times))
    turns = turning(seed, times, 1.5)
    moments = 1.0 + np.arange(0, 9, 1 / rate_hz)
    size = ends[1] - ends[0]
    wanted = log(times, turns).at(moments)[:, 0].astype(np.float64) * size + ends[0]
    found = log(times, folded(turns * size + ends[0], ends), ((0, *ends),)).at(moments)[:, 0]
    assert apart(found, wanted, ends).max() < 1e-5
    slack = 1e-4 * size
    assert ends[0] - slack <= found.min() and found.max() <= ends[1] + slack


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from([20.0, 50.0, 130.0]))
def test_where_nothing_passes_an_end_nothing_is_other(seed, rate_hz):
    random = np.random.default_rng(seed)
    times = np.cumsum(random.uniform(0.005, 0.03, 400))
    values = random.uniform(-80, 80, (400, 6)).astype(np.float32)
    values[random.random((400, 6)) < 0.02] = np.nan
    values[:, 1:5] = np.abs(values[:, 1:5])
    names = ("yaw", "w", "x", "y", "z", "other")
    moments = random.uniform(0, times[-1]) + np.arange(0, 3, 1 / rate_hz)
    every = Between(((0, *DEGREES),))
    assert np.array_equal(
        SensorLog(times, values, names).at(moments),
        SensorLog(times, values, names, between=every).at(moments),
        equal_nan=True,
    )
    whole = np.where(np.isnan(values[:, 1:5]).any(axis=1, keepdims=True), np.nan, values[:, 1:5])
    values[:, 1:5] = whole
    with_four = SensorLog(times, values, names, between=Between(quaternions=((1, 2, 3, 4),)))
    assert np.array_equal(SensorLog(times, values, names).at(moments), with_four.at(moments), equal_nan=True)


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from([20.0, 50.0, 130.0]))
def test_a_quaternion_may_change_its_sign_and_is_the_same_orientation(seed, rate_hz):
    random = np.random.default_rng(seed)
    keys = Rotation.random(6, random_state=seed)
    keyed = Slerp(np.linspace(0, 12, 6), keys)
    times = np.arange(0, 12, 0.01)
    numbers = keyed(times).as_quat()
    signs = np.where(random.random(len(times)) < 0.1, -1, 1).cumprod()[:, None]
    moments = 1.0 + np.arange(0, 9, 1 / rate_hz)
    turned = log(times, numbers * signs, (), ((0, 1, 2, 3),), names=("x", "y", "z", "w"))
    found = Rotation.from_quat(turned.at(moments))
    assert (found.inv() * keyed(moments)).magnitude().max() < 0.02
    lengths = np.linalg.norm(turned.at(moments), axis=1)
    assert np.abs(lengths - 1).max() < 0.02  # as they are written, some come to nothing
    assert (
        np.linalg.norm(log(times, numbers * signs, names=("x", "y", "z", "w")).at(moments), axis=1).min()
        < 0.9
    )


def test_a_sign_is_that_of_the_reading_before():
    numbers = np.tile([1.0, 0, 0, 0], (10, 1)) * np.repeat([1, -1], 5)[:, None]
    four = log(np.arange(10.0), numbers, (), ((0, 1, 2, 3),), names=tuple("wxyz"))
    assert four.at(np.array([4.0, 4.4, 4.9, 5.0, 5.5]))[:, 0].tolist() == [1, 1, 1, -1, -1]


@pytest.mark.parametrize("rate_hz", [5.0, 10.0, 40.0])
def test_a_state_is_never_one_in_between(rate_hz):
    times = np.arange(0, 10, 0.1)
    states = np.repeat([1, 4, 2, 4, 1], 20)
    moments = np.arange(0, 9.9, 1 / rate_hz) + 0.013
    found = SensorLog(times, states[:, None].astype(np.float32), ("mode",), between=Between(held=(0,)))
    assert np.array_equal(found.at(moments)[:, 0], states[np.searchsorted(times, moments, side="right") - 1])
    plain = SensorLog(times, states[:, None].astype(np.float32), ("mode",)).at(moments)
    assert not set(np.unique(plain)) <= {1.0, 2.0, 4.0}


def test_gaps_and_missing_readings_stay_what_they_are():
    times = np.arange(0, 10, 0.1)
    angle = folded(170 + 10 * times, DEGREES)
    angle[15:18] = np.nan  # bridged, over the end
    angle[40:70] = np.nan
    yaw = log(times, angle, ((0, *DEGREES),))
    found = [float(yaw.at(np.array([moment]))[0, 0]) for moment in (1.65, 3.0, 5.5, 8.0)]
    assert found == pytest.approx([-173.5, -160, np.nan, -110], abs=1e-3, nan_ok=True)


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from([20.0, 50.0]), st.integers(1, 40))
def test_live_is_the_whole_log_to_the_bit(seed, rate_hz, at_once):
    random = np.random.default_rng(seed)
    times = np.arange(0, 20, 0.02)
    turns = turning(seed, times, 2.0) + times / 3
    signs = np.where(random.random(len(times)) < 0.05, -1, 1).cumprod()
    columns = [
        folded(360 * turns, DEGREES),
        *(signs * part for part in (np.cos(turns), np.sin(turns), 0 * turns, 0 * turns)),
        np.floor(turns * 5) % 4,
        random.normal(size=len(times)),
    ]
    names = ("yaw", "qw", "qx", "qy", "qz", "mode", "ax")
    between = Between(((0, *DEGREES),), ((1, 2, 3, 4),), (5,))
    whole = SensorLog(times, np.stack(columns, 1).astype(np.float32), names, between=between)
    ring = ring_of(Opening("wrist", names, whole.rate_hz, clock=Clock(0.0), between=between))
    for first in range(0, len(times), at_once):
        ring.add(times[first : first + at_once], whole.values[first : first + at_once])
        ring.forget(times[first] - 3.0)
    ring.end(None)
    moments = times[-1] - 2.5 + np.arange(0, 2, 1 / rate_hz)
    assert np.array_equal(ring.at(moments), whole.at(moments))


# What columns look like.


def seen(names, values, called="", units=None, said=None, rate_hz=50.0):
    values = np.asarray(values, np.float32).reshape(len(values), -1)
    return look(names, np.arange(len(values)) / rate_hz, values, 1.0, said or Named(), called, units)


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from(ENDS), st.sampled_from(["yaw", "Euler_Z [deg]", "Heading"]))
def test_an_angle_that_passes_its_ends_is_seen(seed, ends, name):
    turns = turning(seed, np.arange(0, 20, 0.02), 1.0) + np.arange(0, 20, 0.02) / 7
    found = seen((name,), folded(turns * (ends[1] - ends[0]) + ends[0], ends))
    assert found.circular[name][0] == ends and not found.doubtful
    unnamed = seen(("b",), folded(turns * (ends[1] - ends[0]) + ends[0], ends))
    assert not unnamed.circular and set(unnamed.doubtful) == ({"b"} if ends in ENDS[:2] else set())
    assert seen(("b",), folded(turns * 360, COMPASS), called="orientation").circular


def test_somebody_who_faces_south_is_seen():
    random = np.random.default_rng(0)
    angle = folded(180 + 3 * random.normal(size=2000).cumsum() / 20, DEGREES)
    assert seen(("heading",), angle).circular["heading"][0] == DEGREES


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("noise", np.random.default_rng(0).uniform(-180, 180, 3000)),
        ("yaw", np.random.default_rng(0).uniform(-180, 180, 3000)),
        ("roll", 170 * np.sin(np.arange(3000) / 20)),  # swings, and passes no end
        ("gyro_yaw_deg", np.where(np.arange(3000) // 50 % 2, -179, 179.0)),  # a rate
        ("switch", np.where(np.arange(3000) // 50 % 2, 0, 100.0)),
        ("force", 100 + 50 * np.sin(np.arange(3000) / 9) * (np.arange(3000) % 40 > 2)),
        ("acc_x", np.random.default_rng(0).normal(0, 1.5, 3000).clip(-3, 3)),
        ("roll", [1.0, 2.0]),
        ("roll", [np.nan, np.nan, np.nan, 3.0]),
    ],
)
def test_what_is_no_angle_is_not_taken_for_one(name, column):
    found = seen((name,), column)
    assert not found.circular and not found.doubtful


def test_of_a_column_that_somebody_has_spoken_of_nothing_is_guessed():
    angle = folded(np.arange(500) * 3.0, COMPASS)
    for said in (Named({"y*": False}), Named({"yaw": COMPASS}), Named(held=("yaw",))):
        assert not seen(("yaw",), angle, said=said).circular


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("qw", "qx", "qy", "qz"), [("qw", "qx", "qy", "qz")]),
        (("qx", "qy", "qz", "qw", "ax"), [("qw", "qx", "qy", "qz")]),
        (("Quat_q0", "Quat_q1", "Quat_q2", "Quat_q3"), [("Quat_q0", "Quat_q1", "Quat_q2", "Quat_q3")]),
        (("q1", "q2", "q3", "q4"), [("q1", "q2", "q3", "q4")]),
        (tuple(f"quaternion{axis} [1]" for axis in "WXYZ"), [tuple(f"quaternion{a} [1]" for a in "WXYZ")]),
        (("ax", "ay", "az"), []),
    ],
)
def test_four_columns_are_told_by_their_names(names, found):
    assert fours(names) == found


def test_only_four_columns_of_length_one_that_turn_about_are_a_quaternion():
    random = np.random.default_rng(0)
    numbers = Slerp([0, 1], Rotation.random(2, random_state=0))(np.linspace(0, 1, 300)).as_quat()
    signs = np.repeat([1, -1, 1], 100)[:, None]
    names = ("x", "y", "z", "w")
    assert seen(names, numbers * signs).quaternions == {("w", "x", "y", "z"): 2}
    assert not seen(names, numbers).quaternions
    assert not seen(names, 2 * numbers * signs).quaternions
    assert not seen(names, random.normal(size=(300, 4))).quaternions


# In files.


def written(folder, **columns):
    file = folder / "wrist.csv"
    pl.DataFrame(columns).write_csv(file)
    return file


def movement(seconds=20.0):
    times = np.arange(0, seconds, 0.02)
    return times, 360 * turning(3, times, 1.0) + 40 * times, np.random.default_rng(0).normal(size=len(times))


def test_ingest_says_which_columns_are_angles_and_quaternions(tmp_path):
    times, angle, noise = movement()
    half = np.radians(angle) / 2
    signs = np.where(np.sin(times) > 0, 1, -1)
    file = written(
        tmp_path,
        time=times,
        acc_x=noise,
        acc_y=noise[::-1],
        acc_z=noise + 1,
        yaw=folded(angle, DEGREES),
        qw=np.cos(half) * signs,
        qx=np.sin(half) * signs,
        qy=0 * half,
        qz=0 * half,
        mode=np.array([2, 0, 1, 2, 1, 0, 2])[np.floor(times / 3).astype(int)],
    )
    told = []
    described = describe_log(file, "wrist", 20.0, {}, told)
    assert described.circular == {"yaw": DEGREES}
    assert described.quaternions == (("qw", "qx", "qy", "qz"),)
    text = "\n".join(told)
    assert "'yaw' passes from one end of -180 to 180 to the other" in text and "an angle" in text
    assert "'qw', 'qx', 'qy', 'qz': a quaternion, which changes its sign" in text
    assert 'held=["mode"]' in text
    read = read_log(file, described.log())
    found = read.at(1.0 + np.arange(0, 15, 0.1))
    wanted = SensorLog(times, angle[:, None].astype(np.float32), ("yaw",)).at(1.0 + np.arange(0, 15, 0.1))
    assert apart(found[:, read.names.index("yaw")], wanted[:, 0], DEGREES).max() < 1e-4
    told.clear()
    again = describe_log(file, "wrist", 20.0, {"held": ("mode",), "circular": {"yaw": DEGREES}}, told)
    assert again.held == ("mode",) and "held=" not in "\n".join(told) and "passes" not in "\n".join(told)


def test_what_only_may_be_an_angle_is_asked_about(tmp_path):
    times, angle, noise = movement()
    file = written(tmp_path, time=times, b=folded(angle, COMPASS), noise=noise)
    with pytest.raises(
        DataError, match=r"'b' passes from one end of 0 to 360.*may be an angle.*circular\.b="
    ):
        describe_log(file, "wrist", 20.0, {}, [])
    assert describe_log(file, "wrist", 20.0, {"circular": {"b": COMPASS}}, []).circular == {"b": COMPASS}
    assert describe_log(file, "wrist", 20.0, {"circular": {"b": False}}, []).circular == {"b": False}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"circular": {"jaw": DEGREES}}, r"circular: no column 'jaw', expected some of: yaw"),
        ({"circular": {"yaw": (180.0, -180.0)}}, r"expected its two ends, such as"),
        ({"circular": {"yaw": True}}, r"expected its two ends, such as"),
        ({"circular": {"yaw": (-90.0, 90.0)}}, r"column 'yaw' holds .*, expected -90 to 90"),
        ({"quaternions": (("yaw", "n"),)}, r"expected the names of four columns"),
        ({"quaternions": (("*", "n", "yaw", "n"),)}, r"expected the names of four columns|meant twice"),
        ({"held": ("yaw",), "circular": {"yaw": DEGREES}}, r"column 'yaw' is meant twice"),
    ],
)
def test_settings_that_fit_nothing_are_one_line(tmp_path, settings, message):
    times, angle, noise = movement()
    file = written(tmp_path, time=times, yaw=folded(angle, DEGREES), n=noise)
    with pytest.raises(DataError, match=message) as raised:
        read_log(file, Log(("yaw", "n"), "time", **settings))
    assert str(file) in str(raised.value) and "\n" not in str(raised.value)


def test_a_scale_is_of_the_ends_too_and_a_mean_is_no_angle_s(tmp_path):
    times, angle, _ = movement()
    halves = np.floor(times * 10) / 10  # five rows of one time
    file = written(tmp_path, time=halves, yaw=folded(angle, DEGREES))
    scale = math.pi / 180
    read = read_log(file, Log(("yaw",), "time", scale=scale, same_time="mean", circular={"yaw": DEGREES}))
    assert read.between.circular[0][1:] == pytest.approx(RADIANS)
    firsts = folded(angle, DEGREES)[np.unique(halves, return_index=True)[1]] * scale
    assert np.allclose(read.values[:, 0], firsts, atol=1e-5)


def test_a_recording_that_says_nothing_of_its_angles_is_warned_of(tmp_path):
    times, angle, noise = movement()
    file = written(tmp_path, time=times, yaw=folded(angle, DEGREES), n=noise)
    described = LogFile("wrist.csv", ("yaw", "n"), "time")
    lines = left_open("wrist", described, read_log(file, described.log()), "logs.wrist.")
    assert len(lines) == 1 and "say logs.wrist.circular.yaw=[-180,180]" in lines[0]
    described = LogFile("wrist.csv", ("yaw", "n"), "time", circular={"yaw": DEGREES})
    assert not left_open("wrist", described, read_log(file, described.log()), "logs.wrist.")
