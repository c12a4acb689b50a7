"""Faults: nothing but what they say changes, the same whoever asks and when, before a window is resampled."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from plait.clips.windows import window
from plait.errors import ConfigError, DataError
from plait.recordings.folder import Clock, Synced
from plait.recordings.sensors import SensorLog
from plait.robustness.faults import FAULTS, Occasion, fits, named
from plait.robustness.streams import native
from plait.robustness.worsen import Condition, cut_all, cut_worse, files_of, moved, worsened
from plait.types import Clip, Modality, Readings, Recording, Span
from tests.tiny import tensor

HZ, LASTS_S = 50.0, 12.0
GRAVITY = np.array([0.0, 0.0, 9.81])
TIMES = np.arange(round(HZ * LASTS_S)) / HZ
TIMED = {"gap", "dropped", "late", "drifting", "other-side"}  # which change times
GONE = {"absent", "stand-in"}
DRAWN = {"gap", "dropped", "noisy", "biased", "dead-channel", "turned", "occluded"}


class Camera:
    """A stream that shows the nearest of its pictures."""

    def __init__(self, kind, channels=()):
        self.times = np.arange(40) / 4 + 0.01
        rng = np.random.default_rng(3)
        self.pictures = (255 * rng.random((40, 16, 20, *channels))).astype(kind)

    def at(self, seconds):
        return self.pictures[np.abs(self.times[:, None] - seconds).argmin(axis=0)]


def signal(*shape, kind=np.float64):
    values = np.cumsum(np.random.default_rng(len(shape)).normal(0, 1, (len(TIMES), *shape)), axis=0)
    return Readings(TIMES, values.astype(kind))


def log(gap=False):
    values = np.cumsum(np.random.default_rng(7).normal(0, 1, (len(TIMES), 4)), axis=0).astype(np.float32)
    if gap:
        values[100:120, 1] = np.nan
    return SensorLog(TIMES, values, ("flex", "acc_x", "acc_y", "acc_z"), max_gap_s=2.0)


WORLDS = {
    "axes": {"s": signal(3)},
    "imu": {"s": signal(6, kind=np.float32)},
    "scalar": {"s": signal()},
    "joints": {"s": signal(5, 3)},
    "log": {"s": log(gap=True)},
    "hands": {"left": Synced(log(), Clock(0.3, 40.0)), "right": log()},
    "camera": {"s": Camera(np.uint8, (3,))},
    "depth": {"s": Camera(np.uint16)},
    "mat": {"s": Readings(TIMES[::5], np.random.default_rng(1).random((120, 12, 16)))},
}
CASES = [(name, world) for name, fault in FAULTS.items() for world in WORLDS if fits(fault, WORLDS[world])]


def occasion(clip="c", seed=0, start_s=4.0, stop_s=8.0, fault="f"):
    return Occasion("r", clip, start_s, stop_s, f"{seed}/{fault}/m")


def test_which_fault_befalls_what():
    befalls = {name: {world for fault, world in CASES if fault == name} for name in FAULTS}
    signals = {"axes", "imu", "scalar", "joints", "log", "hands"}
    for name in ("absent", "stand-in", "gap", "frozen", "dropped", "late", "drifting", "noisy"):
        assert befalls[name] == WORLDS.keys()
    for name in ("biased", "saturated", "dead-channel"):
        assert befalls[name] == signals
    assert befalls["turned"] == {"axes", "imu", "joints", "log", "hands"}
    assert befalls["other-side"] == {"axes", "imu", "log", "hands"}
    assert befalls["blurred"] == befalls["occluded"] == {"camera", "depth", "mat"}
    assert befalls["dark"] == {"camera"}
    for fault in FAULTS.values():
        assert fault.unit and all(a < b for a, b in zip(fault.severities, fault.severities[1:], strict=False))


@pytest.mark.parametrize(("name", "world"), CASES)
def test_shapes_kinds_and_draws(name, world):
    fault, streams, at = FAULTS[name], WORLDS[world], occasion()
    seconds = np.linspace(at.start_s, at.stop_s, 41)
    if name in GONE:
        assert fault.worsen(streams, 1.0, at) == {}
        return
    for severity in fault.severities:
        worse = fault.worsen(streams, severity, at)
        assert list(worse) == list(streams)
        fault.worsen(streams, fault.severities[0], occasion("another"))  # whoever comes between
        again = fault.worsen(streams, severity, at)
        for key, stream in worse.items():
            before, after = streams[key].at(seconds), stream.at(seconds)
            assert after.shape == before.shape
            assert after.dtype == before.dtype
            assert np.array_equal(after, stream.at(seconds), equal_nan=True)
            assert np.array_equal(after, again[key].at(seconds), equal_nan=True)
            assert np.all(np.diff(stream.times) > 0)
            assert name in TIMED or np.array_equal(stream.times, streams[key].times)
            if after.dtype.kind == "f" and name not in TIMED | {"frozen"}:
                assert np.array_equal(np.isfinite(after), np.isfinite(before))
    if name in DRAWN and not (name == "dead-channel" and world == "scalar"):
        severity, others = fault.severities[0], []
        for seed in range(8):
            drawn = fault.worsen(streams, severity, occasion(seed=seed))
            others.append(b"".join(drawn[key].at(seconds).tobytes() for key in drawn))
        assert len(set(others)) > 1


@pytest.mark.parametrize(("name", "world"), CASES)
def test_severity_0_is_the_recording_itself(name, world):
    streams = WORLDS[world]
    recording = Recording("r", "1", streams, (Span(4.0, 8.0, "x"),))
    modality = Modality("m", tuple(streams), 9, None, lambda *arrays: tensor(arrays[0]), None)
    clip = Clip("c", "r", "1", "x", 4.0, 8.0)
    same = worsened(modality, recording, clip, Condition(name, FAULTS[name], "m", 0.0))
    assert same.streams == streams and same.key is None
    cut = cut_worse(modality, recording, same, clip)
    if cut is not None:  # a gap of the log
        assert cut.equal(window(modality, streams, 4.0, 8.0).float())


@given(st.floats(0.1, 3), st.integers(0, 9))
def test_noise_and_bias_are_of_the_strength_that_they_say(severity, seed):
    stream = signal(3)
    own = native(stream)
    at = occasion(seed=seed, start_s=0.0, stop_s=LASTS_S)
    noise = FAULTS["noisy"].worsen({"s": stream}, severity, at)["s"].values - stream.values
    np.testing.assert_allclose(noise.std(0), severity * own.sd(), rtol=0.2)
    bias = FAULTS["biased"].worsen({"s": stream}, severity, at)["s"].values - stream.values
    np.testing.assert_allclose(np.abs(bias), np.broadcast_to(severity * own.sd(), bias.shape), rtol=1e-9)


def test_noise_is_there_before_a_log_is_low_passed():
    still = SensorLog(TIMES, np.tile(np.float32([[0.0], [1.0]]), (300, 1)), ("a",))  # all of it at 25 Hz
    noisy = FAULTS["noisy"].worsen({"s": still}, 4.0, occasion())["s"]
    fine, coarse = noisy.at(np.arange(4, 8, 1 / HZ)), noisy.at(np.arange(4, 8, 0.2))
    assert fine.std() > 1.5 and coarse.std() < 0.5 * fine.std()


@given(st.floats(1, 180), st.integers(0, 9))
def test_turning_keeps_lengths_and_turns_by_the_angle(degrees, seed):
    for world in ("imu", "joints", "log"):
        streams = WORLDS[world]
        own, at = native(streams["s"]), occasion(seed=seed)
        turned = native(FAULTS["turned"].worsen(streams, degrees, at)["s"])
        columns = [1, 2, 3] if world == "log" else [0, 1, 2]
        before, after = (
            one.values.reshape(len(TIMES), -1)[:, columns].astype(float) for one in (own, turned)
        )
        known = np.isfinite(before).all(1)
        before, after = before[known], after[known]
        np.testing.assert_allclose(
            np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1), rtol=1e-4, atol=1e-4
        )
        matrix = np.linalg.lstsq(before, after, rcond=None)[0].T
        assert np.trace(matrix) == pytest.approx(1 + 2 * np.cos(np.deg2rad(degrees)), abs=1e-3)
        if world == "log":
            assert np.array_equal(own.values[:, 0], turned.values[:, 0])


def test_hands_are_swapped_and_a_single_sensor_is_mirrored():
    hands = WORLDS["hands"]
    swapped = FAULTS["other-side"].worsen(hands, 1.0, occasion())
    assert swapped["left"] is hands["right"] and swapped["right"] is hands["left"]
    imu = WORLDS["imu"]["s"]
    mirrored = FAULTS["other-side"].worsen(WORLDS["imu"], 1.0, occasion())["s"].values
    np.testing.assert_allclose(mirrored, imu.values * [-1, 1, 1, 1, -1, -1], rtol=1e-6)


def moved_sensor(mirror):
    """Acceleration and angular rate of a sensor that swings, or of its mirror image across the first axis."""
    at_s = np.arange(0, 4, 1e-3)
    turns = Rotation.from_euler("xyz", np.stack([np.sin(2 * at_s), at_s**2 / 5, np.cos(3 * at_s)], 1))
    path = np.stack([np.sin(at_s), at_s**2 / 3, np.cos(2 * at_s)], 1)
    across = np.diag([-1.0, 1.0, 1.0] if mirror else np.ones(3))
    frames, path = across @ turns.as_matrix() @ across, path @ across
    felt = np.gradient(np.gradient(path, at_s, axis=0), at_s, axis=0) + GRAVITY
    step = Rotation.from_matrix(frames[:-1].transpose(0, 2, 1) @ frames[1:]).as_rotvec() / 1e-3
    return np.einsum("tij,ti->tj", frames, felt)[5:-5], step[5:-4]


ONE_SENSOR = {  # its streams, each of acceleration (True) or of angular rate
    "names of streams": {"sw_l_acc": [True], "sw_l_gyr": [False]},
    "the other way round": {"chest-gyroscope": [False], "chest-accelerometer": [True]},
    "one log, acceleration first": {"wrist": ["acc", "gyro"]},
    "one log, turning first": {"wrist": ["gyr", "acc"]},
    "letters": {"wrist": ["w", "a"]},
    "one alone": {"thigh_gyr": [False]},
    "two of one kind": {"wrist": ["acc16", "acc6", "gyro", "mag"]},
}


@pytest.mark.parametrize("called", ONE_SENSOR)
def test_a_sensor_is_mirrored_and_turned_as_one_whatever_its_streams(called):
    def streams_of(vectors):
        felt, rate = (vectors[0].astype(np.float32), vectors[1].astype(np.float32))
        times, made = np.arange(len(felt)) * 1e-3, {}
        for name, kinds in ONE_SENSOR[called].items():
            parts = [rate if kind in (False, "gyr", "gyro", "w") else felt for kind in kinds]
            if isinstance(kinds[0], bool):
                made[name] = Readings(times, parts[0])
                continue
            names = tuple(
                f"{kind}_{axis}" if len(kind) > 1 else kind + axis for kind in kinds for axis in "xyz"
            )
            made[name] = SensorLog(times, np.concatenate(parts, axis=1), names)
        return made

    plain, expected = (streams_of(moved_sensor(mirror)) for mirror in (False, True))
    assert fits(FAULTS["other-side"], plain) and fits(FAULTS["turned"], plain)
    mirrored = FAULTS["other-side"].worsen(plain, 1.0, occasion())
    for name, stream in expected.items():
        np.testing.assert_allclose(mirrored[name].values, stream.values, rtol=1e-3, atol=1e-2)
    turned = FAULTS["turned"].worsen(plain, 45.0, occasion())
    before, after = (
        np.concatenate([one.values.reshape(-1, 3) for one in streams.values()]) for streams in (plain, turned)
    )
    matrix, left, *_ = np.linalg.lstsq(before, after, rcond=None)  # one turn takes all to all
    assert left.sum() < 1e-6 * (before**2).sum() and np.linalg.det(matrix) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "names",
    [
        ("acc_x", "acc_y", "acc_z", "quat_w", "quat_x", "quat_y", "quat_z"),
        ("qx", "qy", "qz", "qw"),
        ("angle_x", "angle_y", "angle_z", "acc_room_x", "acc_room_y", "acc_room_z"),
        ("acc_x", "acc_y", "acc_z", "roll", "pitch", "yaw"),
    ],
)
def test_what_says_how_a_sensor_is_held_is_not_turned(names):
    """Turned as a vector it would be a direction that no sensor ever had."""
    held = {"s": SensorLog(TIMES, np.ones((len(TIMES), len(names)), np.float32), names)}
    assert not fits(FAULTS["turned"], held) and not fits(FAULTS["other-side"], held)


def test_two_sensors_are_turned_about_axes_of_their_own_and_swapped():
    pair = {name: signal(3) for name in ("left_acc", "right_acc")}
    swapped = FAULTS["other-side"].worsen(pair, 1.0, occasion())
    assert swapped["left_acc"] is pair["right_acc"]
    turned = FAULTS["turned"].worsen(pair, 90.0, occasion())
    assert not np.allclose(turned["left_acc"].values, turned["right_acc"].values)


@given(st.floats(0.05, 0.95))
def test_saturation_dead_channels_and_standing_still(severity):
    stream, at = signal(3), occasion()
    values, low, high = stream.values, stream.values.min(0), stream.values.max(0)
    cut = FAULTS["saturated"].worsen({"s": stream}, severity, at)["s"].values
    np.testing.assert_allclose(np.ptp(cut, axis=0), (1 - severity) * (high - low))
    inside = (values > cut.min(0)) & (values < cut.max(0))
    assert np.array_equal(cut[inside], values[inside])
    for count in (1, 2, 3):
        dead = FAULTS["dead-channel"].worsen({"s": stream}, count, at)["s"].values
        assert [not column.any() for column in dead.T].count(True) == count
    two = FAULTS["dead-channel"].worsen({"l": signal(2), "r": signal(2)}, 3.0, at)
    assert sum(not column.any() for one in two.values() for column in one.values.T) == 3
    for world in ("axes", "camera"):
        frozen = FAULTS["frozen"].worsen(WORLDS[world], severity, at)["s"]
        from_s = at.stop_s - severity * (at.stop_s - at.start_s)
        later = frozen.at(np.linspace(from_s + 1e-6, at.stop_s, 20))
        np.testing.assert_allclose(later, np.broadcast_to(later[:1], later.shape), rtol=1e-12)
        before = np.linspace(at.start_s, from_s - 0.3, 5)
        assert np.array_equal(frozen.at(before), WORLDS[world]["s"].at(before)) or from_s - 0.3 < at.start_s


@given(st.floats(0.05, 0.8), st.integers(0, 5))
def test_what_is_lost(share, seed):
    stream, at = signal(3), occasion(seed=seed)
    gap = FAULTS["gap"].worsen({"s": stream}, share, at)["s"]
    silent = np.setdiff1d(stream.times, gap.times)
    assert at.start_s - 0.02 <= silent[0] and silent[-1] <= at.stop_s + 0.02
    assert np.diff(gap.times).max() == pytest.approx(share * 4.0, abs=0.05)
    left = FAULTS["dropped"].worsen({"s": stream}, share, at)["s"]
    near = at.around(stream.times).sum()
    assert (len(stream.times) - len(left.times)) / near == pytest.approx(share, abs=0.1)
    camera = WORLDS["camera"]["s"]
    shown = FAULTS["dropped"].worsen({"s": camera}, share, at)["s"]
    for time in camera.times[at.around(camera.times)]:
        earlier = shown.times[shown.times <= time + 1e-9]
        stands = earlier[-1] if len(earlier) else shown.times[0]
        assert np.array_equal(shown.at(np.array([time])), camera.at(np.array([stands])))


def test_a_long_gap_of_a_log_is_the_modality_s_absence():
    recording = Recording("r", "1", {"s": log()}, (Span(0.0, 10.0, "x"),))
    modality, clip = Modality("m", ("s",), 50, 5.0, tensor, None), Clip("c", "r", "1", "x", 1.0, 11.0)
    found = {}
    for severity in (0.1, 0.5):
        worse = worsened(modality, recording, clip, Condition("gap", FAULTS["gap"], "m", severity))
        found[severity] = cut_worse(modality, recording, worse, clip)
    assert found[0.1] is not None and found[0.5] is None  # 1 s and 5 s, where the log says 2 s


@given(st.floats(0.1, 2), st.integers(0, 5))
def test_clocks(off, seed):
    seconds = np.linspace(4, 8, 30)
    for world in ("axes", "hands", "camera"):
        streams = WORLDS[world]
        late = FAULTS["late"].worsen(streams, off, occasion(seed=seed))
        for name, stream in streams.items():
            shifted = [stream.at(seconds - sign * off) for sign in (-1, 1)]
            assert any(np.array_equal(late[name].at(seconds), one, equal_nan=True) for one in shifted)
            assert abs(np.abs(late[name].times - stream.times) - off).max() < 1e-9
        drifting = FAULTS["drifting"].worsen(streams, 1e4 * off, occasion(seed=seed))
        for name, stream in streams.items():
            gone = drifting[name].times - stream.times
            assert gone[0] == 0 and abs(gone[-1]) == pytest.approx(
                0.01 * off * (stream.times[-1] - stream.times[0])
            )
            assert np.array_equal(drifting[name].at(drifting[name].times[5:9]), stream.at(stream.times[5:9]))


def test_pictures():
    seconds = np.linspace(4, 8, 9)
    camera, mat = WORLDS["camera"], WORLDS["mat"]
    shown = camera["s"].at(seconds)
    dark = FAULTS["dark"].worsen(camera, 0.75, occasion())["s"].at(seconds)
    assert np.array_equal(dark, np.rint(shown * np.float32(0.25)).astype(np.uint8))
    for streams in (camera, mat):
        before = streams["s"].at(seconds)
        for share in FAULTS["occluded"].severities:
            covered = FAULTS["occluded"].worsen(streams, share, occasion())["s"].at(seconds)
            black = (covered == 0).reshape(9, *before.shape[1:3], -1).all(axis=(0, 3))
            assert black.mean() == pytest.approx(share, abs=0.08)
            assert np.array_equal(covered[:, ~black], before[:, ~black])
        spread = [before.std()]
        for sd in FAULTS["blurred"].severities:
            spread.append(FAULTS["blurred"].worsen(streams, sd, occasion())["s"].at(seconds).std())
        assert spread[-1] < 0.5 * spread[0] and all(b <= a + 1e-6 for a, b in pairwise(spread))
    noisy = FAULTS["noisy"].worsen(camera, 0.25, occasion())["s"].at(seconds)
    assert 0.15 < np.std(noisy.astype(float) - shown) / shown.std() < 0.26  # cut off at 0 and 255


def test_readings_of_which_nothing_can_be_prepared_are_none():
    def refuse(values):
        if not values.any():
            raise DataError("nothing is seen")
        return tensor(values)

    recording = Recording("r", "1", {"s": signal(2)}, (Span(0.0, 4.0, "x"),))
    modality = Modality("m", ("s",), 9, None, refuse, None)
    cuts = [(recording, Clip(f"c{at}", "r", "1", "x", at, at + 2.0)) for at in (1.0, 4.0)]
    lacking = replace(cuts[1][1], name="c9", lacks=("m",))
    for severity, left in ((1.0, [0, 1]), (2.0, [])):
        condition = Condition("dead-channel", FAULTS["dead-channel"], "m", severity)
        found = list(cut_all(modality, [*cuts, (recording, lacking)], condition))
        assert [row for row, _, _ in found] == left


class Own:
    unit = "steps"
    severities = (1, 2)

    def worsen(self, streams, severity, at):
        return streams


class Unordered(Own):
    severities = (2, 1)


class Misnamed(Own):
    name = "a/b"


class Failing(Own):
    def __init__(self):
        raise ValueError("own trouble")


def test_one_s_own_faults():
    called, fault = named("tests.robustness.test_faults:Own")
    assert called == "Own" and isinstance(fault, Own) and fits(fault, {})
    for name, why in {
        "fog": "unknown, expected MODULE:NAME or one of: absent, stand-in",
        "tests.robustness.test_faults:TIMES": "is no fault",
        "tests.robustness.test_faults:Unordered": "severities are (2, 1)",
        "tests.robustness.test_faults:Misnamed": "is called 'a/b'",
        "tests.robustness.test_faults:Failing": "own trouble",
        "nowhere:Fault": "no module 'nowhere'",
    }.items():
        with pytest.raises(ConfigError, match="fault") as error:
            named(name)
        assert why in str(error.value) and len(str(error.value).splitlines()) == 1


def test_files_of_streams_are_found_and_moved(tmp_path):
    from plait.datasets.mex.files import Log, Place
    from plait.recordings.video import Video

    for name in ("a.mp4", "b.zip"):
        (tmp_path / name).write_bytes(b"x")
    streams = {
        "video": Video(tmp_path / "a.mp4"),
        "log": Log(Place(tmp_path / "b.zip", "c.csv"), (3,), TIMES, np.arange(len(TIMES)), "k"),
        "memory": signal(3),
    }
    assert files_of(streams) == [tmp_path / "a.mp4", tmp_path / "b.zip"]
    there = moved(Recording("r", "1", streams, ()), {tmp_path / "b.zip": tmp_path / "d.zip"}).streams
    assert there["log"].place == Place(tmp_path / "d.zip", "c.csv")
    assert there["video"] is streams["video"] and there["memory"] is streams["memory"]
