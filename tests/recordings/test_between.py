"""Columns that are no straight line between readings: angles, quaternions, states."""

import math
import re
import shlex
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from plait.errors import DataError, PlaitWarning
from plait.live.events import Opening
from plait.live.rings import ring_of
from plait.recordings.between import Between, NamedColumns, carried
from plait.recordings.curved import fours, look
from plait.recordings.folder import Clock, read_description, read_logs
from plait.recordings.ingest import ingest
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


def test_as_it_is_written_a_turning_arm_is_where_it_never_was():
    times = np.arange(0, 10, 0.01)
    moments = np.arange(0.1, 9.9, 0.1) + 0.0031
    yaw, true = (folded(150 + 50 * at, DEGREES) for at in (times, moments))
    as_written = 360 * apart(log(times, yaw).at(moments)[:, 0], true, DEGREES)
    assert (len(moments), np.sum(as_written > 1), round(as_written.max())) == (98, 35, 155)
    assert 360 * apart(log(times, yaw, ((0, *DEGREES),)).at(moments)[:, 0], true, DEGREES).max() < 0.2


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from([20.0, 50.0, 130.0]), st.sampled_from([-180.0, 0.0, 80.0]))
def test_where_nothing_passes_an_end_nothing_is_other(seed, rate_hz, about):
    random = np.random.default_rng(seed)
    times = np.cumsum(random.uniform(0.005, 0.03, 400))
    values = random.uniform(0, 90, (400, 6)).round().astype(np.float32)
    values[:, 0] = np.clip(values[:, 0].cumsum() % 160 + about, -180, 180)  # at rest at an end, too
    values[:, 0] = np.where(random.random(400) < 0.3, about, np.minimum(values[:, 0], about + 90))
    values[random.random((400, 6)) < 0.02] = np.nan
    values[:, 1:5] = np.where(np.isnan(values[:, 1:5]).any(axis=1, keepdims=True), np.nan, values[:, 1:5])
    names = ("yaw", "w", "x", "y", "z", "other")
    moments = random.uniform(0, times[-1]) + np.arange(0, 3, 1 / rate_hz)
    plain = SensorLog(times, values, names).at(moments)
    for between in (Between(((0, *DEGREES),)), Between(quaternions=((1, 2, 3, 4),))):
        curved = SensorLog(times, values, names, between=between)
        assert np.array_equal(curved.at(moments), plain, equal_nan=True)
        assert np.isfinite(values).all() or curved.content_key != SensorLog(times, values, names).content_key


def test_content_is_what_it_was_where_all_is_linear():
    times, values = np.arange(3.0), np.ones((3, 1), np.float32)
    keys = {
        SensorLog(times, values, ("a",), between=b).content_key for b in (Between(), Between(linear=(0,)))
    }
    assert len(keys) == 1
    assert SensorLog(times, values, ("a",), between=Between(held=(0,))).content_key not in keys


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


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([20.0, 50.0]), st.integers(1, 40), st.sampled_from([0.0, 0.15])
)
def test_live_is_the_whole_log_to_the_bit(seed, rate_hz, at_once, holes):
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
    values = np.stack(columns, 1).astype(np.float32)
    values[random.random(values.shape) < holes] = np.nan
    filled = values.copy()
    carried(between, times, filled, 1.0)
    whole = SensorLog(times, filled, names, between=between)
    ring = ring_of(Opening("wrist", names, whole.rate_hz, clock=Clock(0.0), between=between))
    seen = 0
    for first in range(0, len(times), at_once):
        ring.add(times[first : first + at_once], values[first : first + at_once])
        ring.forget(times[first] - 5.0)
        moments = times[first] - 4.0 + np.arange(0, 2, 1 / rate_hz)
        if moments[0] > 1 and first % 7 == 0 and ring.settled(moments):
            assert np.array_equal(ring.at(moments), whole.at(moments), equal_nan=True)
            seen += 1
    assert seen > 0


# What columns look like.


def seen(names, values, called="", units=None, said=None, rate_hz=50.0):
    values = np.asarray(values, np.float32).reshape(len(values), -1)
    return look(names, np.arange(len(values)) / rate_hz, values, 1.0, said or NamedColumns(), called, units)


@quick
@given(st.integers(0, 2**32 - 1), st.sampled_from(ENDS), st.sampled_from(["yaw", "Euler_Z [deg]", "Heading"]))
def test_an_angle_that_passes_its_ends_is_seen(seed, ends, name):
    turns = turning(seed, np.arange(0, 20, 0.02), 1.0) + np.arange(0, 20, 0.02) / 7
    found = seen((name,), folded(turns * (ends[1] - ends[0]) + ends[0], ends))
    if "deg" in name and ends not in ENDS[:2]:
        assert not found.circular and not found.doubtful
    else:
        assert found.circular[name][0] == ends and not found.doubtful
    unnamed = seen(("b",), folded(turns * (ends[1] - ends[0]) + ends[0], ends))
    assert not unnamed.circular and set(unnamed.doubtful) == ({"b"} if ends in ENDS[:2] else set())
    assert seen(("z",), folded(turns * 360, COMPASS), called="orientation").circular
    assert seen(("/sensors/persons/yaw",), folded(turns * 360, COMPASS)).circular


def test_somebody_who_faces_south_is_seen():
    random = np.random.default_rng(0)
    angle = folded(180 + 3 * random.normal(size=2000).cumsum() / 20, DEGREES)
    assert seen(("heading",), angle).circular["heading"][0] == DEGREES


NOISE = np.random.default_rng(0)
STEPS = np.arange(3000)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("noise", NOISE.uniform(-180, 180, 3000)),
        ("roll", 170 * np.sin(STEPS / 20)),  # swings, and passes no end
        ("gyro_yaw_dps", np.where(STEPS // 50 % 2, -179, 179.0)),  # a rate
        ("wx (deg/s)", 179 * np.sin(STEPS * 2.5)),
        ("wx (rad/s)", 3.1 * np.sin(STEPS * 2.5)),
        ("rotationRateX", 3.1 * np.sin(STEPS * 2.5)),
        ("switch", np.where(STEPS // 50 % 2, 0, 100.0)),
        ("force", 100 + 50 * np.sin(STEPS / 9) * (STEPS % 40 > 2)),
        ("acc_x", NOISE.normal(0, 1.5, 3000).clip(-3, 3)),
        ("fridge_deg_c", np.where(STEPS // 300 % 2, 0.3, 5.2)),
        ("phase", NOISE.integers(0, 6, 60).repeat(50)),
        ("device_orientation", NOISE.integers(0, 6, 60).repeat(50)),
        ("direction", NOISE.integers(-3, 4, 60).repeat(50)),
        ("finger", 3 + 3 * np.sin(STEPS * 2.5)),
        ("roll", [1.0, 2.0]),
        ("roll", [np.nan, np.nan, np.nan, 3.0]),
        ("roll", [np.nan, np.nan]),
    ],
)
def test_what_is_no_angle_is_not_taken_for_one(name, column):
    found = seen((name,), column, called="orientation")
    assert not found.circular and not found.doubtful


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("yaw", NOISE.uniform(-180, 180, 3000)),  # it may turn fast
        ("heading", folded(50.0 * STEPS[:300], COMPASS)),  # 50 degrees from reading to reading
        ("heading", np.where(NOISE.random(3000) < 0.02, 0, folded(STEPS / 3, COMPASS))),  # nothing there
        ("servo_angle", np.where(STEPS < 1000, 0, 300)),
        ("steering_angle", 170 * np.sign(np.sin(STEPS / 20 + 0.01))),
        ("gyro_heading", folded(STEPS / 3, COMPASS)),
        ("angular_position", folded(STEPS / 3, COMPASS)),
    ],
)
def test_what_only_may_be_an_angle_is_doubtful(name, column):
    found = seen((name,), column)
    assert set(found.doubtful) == {name} and not found.circular


@pytest.mark.parametrize(
    ("column", "ends"),
    [
        (np.round(folded(STEPS / 3, COMPASS)) % 360, COMPASS),
        (np.round(folded(STEPS / 50, RADIANS), 4), RADIANS),
        (np.round(folded(STEPS / 50, ROUND), 2), ROUND),
        (np.where(STEPS % 2, np.nan, folded(STEPS / 3, DEGREES)), DEGREES),  # merged with a faster sensor
        (np.where(STEPS % 5, np.nan, folded(STEPS / 3, DEGREES)), DEGREES),
        (np.where(STEPS == 77, 500.0, folded(STEPS / 3, COMPASS)), COMPASS),  # whoever reads it is told
    ],
)
def test_angles_however_they_are_written_are_seen(column, ends):
    found = seen(("yaw",), column)
    assert {**found.circular, **found.doubtful}["yaw"][0] == ends
    assert bool(found.doubtful) == bool(np.nanmax(column) > 360)


def test_of_a_column_that_somebody_has_spoken_of_nothing_is_guessed():
    angle = folded(np.arange(500) * 3.0, COMPASS)
    for said in (NamedColumns({"y*": False}), NamedColumns({"yaw": COMPASS}), NamedColumns(held=("yaw",))):
        assert not seen(("yaw",), angle, said=said).circular


LEFT, RIGHT = (tuple(f"{side}_q{axis}" for axis in "wxyz") for side in "LR")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("qw", "qx", "qy", "qz"), [("qw", "qx", "qy", "qz")]),
        (("qx", "qy", "qz", "qw", "ax"), [("qw", "qx", "qy", "qz")]),
        (("Quat_q0", "Quat_q1", "Quat_q2", "Quat_q3"), [("Quat_q0", "Quat_q1", "Quat_q2", "Quat_q3")]),
        (("q1", "q2", "q3", "q4"), [("q1", "q2", "q3", "q4")]),
        (tuple(f"quaternion{axis} [1]" for axis in "WXYZ"), [tuple(f"quaternion{a} [1]" for a in "WXYZ")]),
        (("ax", "ay", "az"), []),
        (("qw_left", "qx_left", "qy_left", "qz_left"), [("qw_left", "qx_left", "qy_left", "qz_left")]),
        (("Quat_W_raw", "Quat_X_raw", "Quat_Y_raw", "Quat_Z_raw"), [tuple(f"Quat_{a}_raw" for a in "WXYZ")]),
        (("qx", "qy", "qz", "qs"), [("qs", "qx", "qy", "qz")]),
        (("quat_i", "quat_j", "quat_k", "quat_real"), [("quat_real", "quat_i", "quat_j", "quat_k")]),
        (
            tuple(f"{side}_q{a}" for side in "LR" for a in "wxyz"),
            [tuple(f"{s}_q{a}" for a in "wxyz") for s in "LR"],
        ),
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
    holes = np.where(np.arange(300)[:, None] % 3 > 0, np.nan, numbers * signs)
    assert seen(names, holes).quaternions == {("w", "x", "y", "z"): 2}
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


def test_a_scale_makes_what_is_written_an_angle(tmp_path):
    times, angle, noise = movement()
    tenths = (folded(angle, COMPASS) * 10).round()
    file = written(tmp_path, time=times, heading=tenths, noise=noise)
    for scale, ends in ((0.1, (0.0, 3600.0)),):
        described = describe_log(file, "wrist", 20.0, {"scale": scale}, [])
        assert described.circular["heading"] == pytest.approx(ends)
        assert read_log(file, described.log()).between.circular[0][1:] == pytest.approx(COMPASS)
    degrees = written(tmp_path, time=times, yaw=folded(angle, DEGREES), noise=noise)
    described = describe_log(degrees, "wrist", 20.0, {"scale": math.pi / 180}, [])
    assert described.circular["yaw"] == pytest.approx(DEGREES)
    assert read_log(degrees, described.log()).between.circular[0][1:] == pytest.approx(RADIANS)


def test_cells_that_are_empty_at_the_ends_hold_the_nearest_reading(tmp_path):
    times, angle, _ = movement(4.0)
    yaw = folded(angle, DEGREES)
    cells = [None] * 15 + yaw[15:-10].tolist() + [None] * 10
    file = written(tmp_path, time=times, yaw=cells, mode=cells, other=cells)
    said = Log(("yaw", "mode", "other"), "time", circular={"yaw": DEGREES}, held=("mode",))
    for moment, reading in ((0.0, yaw[15]), (0.1, yaw[15]), (0.28, yaw[15]), (3.9, yaw[-11])):
        found = read_log(file, said).at(np.array([moment]))[0]
        assert found == pytest.approx([reading] * 3, abs=1e-4)


def test_a_state_that_is_written_when_it_changes_stays(tmp_path):
    times = np.arange(0, 30, 0.1)
    mode = [{0: 2, 100: 0, 220: 1}.get(row) for row in range(300)]
    file = written(tmp_path, time=times, mode=mode, ax=np.sin(times))
    found = read_log(file, Log(("mode", "ax"), "time", held=("mode",))).at(
        np.array([0.05, 9.9, 10.0, 21.9, 29.0])
    )
    assert found[:, 0].tolist() == [2, 2, 0, 0, 1]


@pytest.mark.parametrize("names", [{"y*": False, "yaw": DEGREES}, {"yaw": DEGREES, "*": False}])
def test_a_name_goes_before_a_pattern(names):
    assert NamedColumns(names).of(("yaw", "y2")) == Between(((0, *DEGREES),), (), (), (1,))


def recorded(folder, film, **columns):
    """A folder as somebody brings it home."""
    film(folder / "film.mp4", 8)
    pl.DataFrame(columns).write_csv(folder / "wrist.csv")
    return folder


def test_what_ingest_asks_can_be_answered_as_it_says(tmp_path, film):
    times, angle, noise = movement(8.0)
    angles = {"b (x)": folded(angle, COMPASS), "yaw": folded(angle, DEGREES)}
    home = recorded(tmp_path / "home", film, time=times, ax=noise, mode=np.floor(times / 3) * 2, **angles)
    with pytest.raises(DataError, match="may be an angle") as asked:
        ingest([home], tmp_path / "made")
    option, setting = shlex.split(re.search(r"told: (--set '.*?')", str(asked.value))[1])
    assert (option, setting) == ("--set", "logs.wrist.circular.b (x)=[0, 360]")
    answer = dict([setting.split("=")])
    folder, notes = ingest([home], tmp_path / "made", answers=answer)
    described = read_description(folder).logs["wrist"]
    assert described.circular == {"b (x)": COMPASS, "yaw": DEGREES}
    assert "'yaw' passes" in "\n".join(notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logs = read_logs(folder, read_description(folder))
    assert len(logs["wrist"].between.circular) == 2
    again, notes = ingest([home], tmp_path / "made", answers=answer)
    assert again == folder and "stands already, made from the same files" in "\n".join(notes)
    none, _ = ingest([home], tmp_path / "other", answers={"logs.wrist.circular.b (x)": "false"})
    assert read_description(none).logs["wrist"].circular == {"b (x)": False, "yaw": DEGREES}


def test_a_quaternion_that_is_said_leaves_the_other(tmp_path, film):
    times, angle, noise = movement(8.0)
    half, signs = np.radians(angle) / 2, np.where(np.sin(3 * times) > 0, 1, -1)
    one = {"qw": np.cos(half) * signs, "qx": np.sin(half) * signs, "qy": 0 * half, "qz": 0 * half}
    columns = {f"{side}_{name}": cells for side in "LR" for name, cells in one.items()}
    home = recorded(tmp_path / "home", film, time=times, ax=noise, **columns)
    left = ("L_qw", "L_qx", "L_qy", "L_qz")
    answer = {"logs.wrist.quaternions": str([list(left)]).replace("'", '"')}
    folder, _ = ingest([home], tmp_path / "made", answers=answer)
    assert {*read_description(folder).logs["wrist"].quaternions} == {left, tuple(f"R_q{a}" for a in "wxyz")}


def test_none_may_be_said_of_quaternions_and_a_column_that_is_named_is_a_reading(tmp_path, film):
    times, angle, noise = movement(8.0)
    half, signs = np.radians(angle) / 2, np.where(np.sin(3 * times) > 0, 1, -1)
    one = {"qw": np.cos(half) * signs, "qx": np.sin(half) * signs, "qy": 0 * half, "qz": 0 * half}
    home = recorded(tmp_path / "home", film, time=times, ax=noise, b=folded(70 * times, COMPASS), **one)
    answers = {"logs.wrist.quaternions": "false", "logs.wrist.circular.b": "[0, 360]"}
    folder, _ = ingest([home], tmp_path / "made", answers=answers)
    described = read_description(folder).logs["wrist"]
    assert described.quaternions is False and "b" in described.columns
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_logs(folder, read_description(folder))["wrist"].between.quaternions == ()


def test_a_recording_that_says_nothing_of_its_angles_is_warned_of(tmp_path, film):
    times, angle, noise = movement(8.0)
    home = recorded(tmp_path / "home", film, time=times, ax=noise, **{"Yaw (deg)": folded(angle, DEGREES)})
    folder, _ = ingest([home], tmp_path / "made")
    description = folder / "recording.toml"
    said = description.read_text()
    silent = re.sub(r"\[logs\.wrist\.circular\]\n.*?\n(?=\n|\[|$)", "", said, flags=re.DOTALL)
    assert "circular" in said and "circular" not in silent
    description.write_text(silent)
    with pytest.warns(PlaitWarning, match="that never were") as told:
        read_logs(folder, read_description(folder))
    line, table = re.search(r'say (".*\]) under (\[.*\])$', str(told[0].message)).groups()
    description.write_text(f"{silent}\n{table}\n{line}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_logs(folder, read_description(folder))["wrist"].between.circular
