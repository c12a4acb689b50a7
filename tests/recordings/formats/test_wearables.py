"""Wearables' own files: what was written is read, on the clock that was meant, and said."""

import io
import shutil
import struct
import zipfile

import numpy as np
import pytest

from plait.errors import DataError
from plait.recordings.formats import actipy as device_files
from plait.recordings.formats.known import FORMATS, format_of
from plait.recordings.formats.sensor_logger import SENSOR_LOGGER
from tests.recordings.formats import makers
from tests.recordings.formats.makers import START_S

JAVA = pytest.mark.skipif(shutil.which("java") is None, reason="actipy needs Java, which is not installed")
RNG = np.random.default_rng(0)


def sensed(path):
    """The streams of a file by name, of the format that is recognised."""
    return {one.name: one for one in format_of(path).streams(path)}


def whole(streams, name):
    return " | ".join(streams[name].notes)


@JAVA
def test_axivity_ax3(tmp_path):
    pytest.importorskip("actipy")
    counts = RNG.integers(-511, 511, (1000, 3))
    (tmp_path / "left.CWA").write_bytes(makers.cwa(counts))
    streams = sensed(tmp_path / "left.CWA")
    one = streams[""]
    np.testing.assert_array_equal(one.values, (counts / 256).astype(np.float32))
    np.testing.assert_allclose(one.times - START_S, np.arange(1000) / 100, atol=2e-3)
    assert one.columns == one.acceleration == ("acc_x", "acc_y", "acc_z")
    assert set(one.units.values()) == {"g"} and "no zone: taken as UTC" in whole(streams, "")
    assert "Axivity 4711 at 100 Hz" in whole(streams, "")


@JAVA
def test_axivity_s_own_crystal_is_followed_by_its_clock(tmp_path):
    pytest.importorskip("actipy")
    counts = np.zeros((12_000, 3), int)
    (tmp_path / "a.cwa").write_bytes(makers.cwa(counts, drift_s=0.01))
    times = sensed(tmp_path / "a.cwa")[""].times
    assert times[-1] - times[0] == pytest.approx(119.99 * 1.01, abs=0.1)


@JAVA
def test_axivity_ax6_has_a_gyroscope(tmp_path):
    pytest.importorskip("actipy")
    acc, gyro = RNG.integers(-2000, 2000, (2, 400, 3))
    (tmp_path / "a.cwa").write_bytes(makers.cwa(acc, gyro=gyro))
    one = sensed(tmp_path / "a.cwa")[""]
    assert one.columns == ("acc_x", "acc_y", "acc_z", "gyr_x", "gyr_y", "gyr_z")
    np.testing.assert_allclose(one.values[:, :3], acc / 256, rtol=1e-6)
    np.testing.assert_allclose(one.values[:, 3:], gyro * 2000 / 32768, rtol=1e-6)
    assert one.units["gyr_x"] == "deg/s"


@JAVA
def test_a_cut_or_spoiled_block_is_said(tmp_path):
    pytest.importorskip("actipy")
    content = bytearray(makers.cwa(np.ones((600, 3), int)))
    content[1024 + 512 + 40] ^= 255  # in the second block of data, whose checksum no longer holds
    (tmp_path / "a.cwa").write_bytes(bytes(content[:-100]))
    streams = sensed(tmp_path / "a.cwa")
    assert len(streams[""].times) == 3 * 120 and "2 blocks could not be read" in whole(streams, "")
    (tmp_path / "b.cwa").write_bytes(bytes(content[:1400]))
    with pytest.raises(DataError, match=r"b.cwa: cannot be read by actipy, expected a whole file"):
        sensed(tmp_path / "b.cwa")


@JAVA
def test_actigraph(tmp_path):
    pytest.importorskip("actipy")
    counts = RNG.integers(-2048, 2047, (300, 3))
    content = makers.gt3x(counts)
    (tmp_path / "hip.gt3x").write_bytes(content)
    one = sensed(tmp_path / "hip.gt3x")[""]
    np.testing.assert_allclose(one.values, counts / 256, atol=6e-4)  # the reader rounds to 0.001 g
    np.testing.assert_allclose(one.times - START_S, np.arange(300) / 30, atol=1e-3)
    (tmp_path / "idle.gt3x").write_bytes(makers.gt3x(counts, asleep=(3, 4, 5)))
    awake = np.r_[0:90, 180:300]
    idle = sensed(tmp_path / "idle.gt3x")[""]
    np.testing.assert_allclose(idle.times - START_S, awake / 30, atol=1e-3)
    np.testing.assert_allclose(idle.values, counts[awake] / 256, atol=6e-4)
    (tmp_path / "cut.gt3x").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cut.gt3x: cannot be read"):
        sensed(tmp_path / "cut.gt3x")


@pytest.mark.parametrize(("name", "way_out"), [("a.cwa", "OMGUI"), ("a.gt3x", "ActiLife")])
def test_without_actipy_or_java_the_way_out_is_named(tmp_path, monkeypatch, name, way_out):
    file = tmp_path / name
    file.write_bytes(
        makers.cwa(np.ones((10, 3), int)) if name == "a.cwa" else makers.gt3x(np.ones((30, 3), int))
    )
    monkeypatch.setitem(__import__("sys").modules, "actipy", None)
    with pytest.raises(DataError, match=rf"pip install 'plait\[actipy\]'; or {way_out}"):
        sensed(file)
    monkeypatch.undo()
    pytest.importorskip("actipy")
    monkeypatch.setattr(device_files.shutil, "which", lambda name: None)
    with pytest.raises(DataError, match=rf"needs Java: install a Java runtime.*; or {way_out}"):
        sensed(file)


def test_a_device_s_file_by_another_name_is_refused(tmp_path):
    (tmp_path / "a.dat").write_bytes(makers.cwa(np.ones((10, 3), int)))
    with pytest.raises(DataError, match="a.dat: neither called nor begun as CWA or GT3X are"):
        list(FORMATS["axivity"].streams(tmp_path / "a.dat"))


@pytest.mark.parametrize("as_zip", [False, True])
def test_empatica(tmp_path, as_zip):
    acc = RNG.integers(-128, 128, (320, 3))
    files = makers.e4(acc, RNG.normal(0, 30, 640))
    path = tmp_path / ("left.zip" if as_zip else "left")
    if as_zip:
        path.write_bytes(makers.zipped(files))
    else:
        path.mkdir()
        for name, text in files.items():
            (path / name).write_text(text)
    streams = sensed(path)
    assert set(streams) == {"acc", "bvp", "eda", "temp", "hr", "ibi"}
    np.testing.assert_array_equal(streams["acc"].values, acc / 64)
    np.testing.assert_allclose(streams["acc"].times, START_S + np.arange(320) / 32, rtol=0, atol=1e-6)
    assert streams["hr"].times[0] == START_S + 10 and streams["bvp"].times[64] == START_S + 1
    np.testing.assert_allclose(streams["ibi"].times, [START_S + 2.5, START_S + 3.3], atol=1e-6)
    assert {one.clock for one in streams.values()} == {f"E4 {path.name}"}
    assert "64: g" in whole(streams, "acc") and "2024-03-05T10:00:00 UTC" in whole(streams, "acc")


def test_empatica_s_files_one_by_one_and_the_sensor_that_was_off(tmp_path):
    for name, text in makers.e4(np.ones((64, 3), int), np.ones(64)).items():
        (tmp_path / name).write_text(text)
    assert list(sensed(tmp_path / "ACC.csv")) == ["acc"]
    assert sensed(tmp_path / "tags.csv") == {}
    (tmp_path / "EDA.csv").write_text(f"{START_S}\n4.000000\n")
    assert sensed(tmp_path / "EDA.csv") == {}
    (tmp_path / "HR.csv").write_text("time,bpm\n1,60\n")
    assert format_of(tmp_path / "HR.csv") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3\n4,5\n", "line 4: 2 cells, expected 3"),
        ("1,2,3\n1,x,3\n", "line 4: '1,x,3', expected numbers"),
        ("1,2,3\n1,inf,3\n", "line 4: '1,inf,3', expected finite numbers"),
    ],
)
def test_empatica_s_damage_is_named(tmp_path, text, said):
    start = f"{START_S}, {START_S}, {START_S}\n32.0, 32.0, 32.0\n"
    (tmp_path / "ACC.csv").write_text(start + text)
    with pytest.raises(DataError, match=rf"ACC.csv: {said}"):
        sensed(tmp_path / "ACC.csv")


@pytest.mark.parametrize("separator", ["\t", ","])
def test_shimmer(tmp_path, separator):
    acc, gyr = RNG.normal(0, 5, (2, 200, 3))
    (tmp_path / "Session1_Calibrated_SD.csv").write_text(makers.shimmer(acc, gyr, separator=separator))
    streams = sensed(tmp_path / "Session1_Calibrated_SD.csv")
    one = streams["Shimmer_68B7"]
    assert one.acceleration == ("Accel_LN_X", "Accel_LN_Y", "Accel_LN_Z")
    np.testing.assert_allclose(one.values, np.hstack([acc, gyr]), atol=1e-6)
    np.testing.assert_allclose(one.times, START_S + np.arange(200) / 51.2, atol=1e-5)
    assert one.units["Accel_LN_X"] == "m/(s^2)" and one.units["Gyro_Z"] == "deg/s"
    assert "milliseconds since 1970" in whole(streams, "Shimmer_68B7")


def test_shimmers_side_by_side_are_two_streams(tmp_path):
    acc, gyr = RNG.normal(0, 5, (2, 100, 3))
    left = makers.shimmer(acc, gyr, device="L", separator=",").splitlines()
    right = makers.shimmer(-acc[:60], gyr[:60], device="R", separator=",").splitlines()
    right += ["," * 7] * (len(left) - len(right))
    lines = [left[0], *(one + two for one, two in zip(left[1:], right[1:], strict=True))]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    streams = sensed(tmp_path / "a.csv")
    assert len(streams["L"].times) == 100 and len(streams["R"].times) == 60
    np.testing.assert_allclose(streams["R"].values[:, :3], -acc[:60], atol=1e-6)


def test_xsens(tmp_path):
    acc, quat = RNG.normal(0, 5, (50, 3)), RNG.normal(0, 1, (50, 4))
    counters = (65_500 + np.r_[0:20, 25:55]) % 65_536
    (tmp_path / "MT_01-000_00B42D4F.txt").write_text(makers.xsens(acc, quat, counters))
    streams = sensed(tmp_path / "MT_01-000_00B42D4F.txt")
    one = streams["00b42d4f"]
    np.testing.assert_allclose(one.values, np.hstack([acc, quat]), atol=1e-6)
    np.testing.assert_allclose(np.diff(one.times), [0.01] * 19 + [0.06] + [0.01] * 29, atol=1e-9)
    assert "5 packets were lost" in whole(streams, "00b42d4f") and not one.ticks
    assert one.units["Acc_X"] == "m/s^2" and one.acceleration == ("Acc_X", "Acc_Y", "Acc_Z")


def test_xsens_without_a_rate_has_ticks(tmp_path):
    acc, quat = RNG.normal(0, 5, (50, 3)), RNG.normal(0, 1, (50, 4))
    (tmp_path / "a.txt").write_text(makers.xsens(acc, quat, range(7, 57), newer=True))
    one = sensed(tmp_path / "a.txt")[""]
    assert one.ticks and one.times.tolist() == list(range(7, 57))
    (tmp_path / "b.txt").write_text(makers.xsens(acc, quat, [*range(49), 40]))
    with pytest.raises(DataError, match=r"b.txt: line 54: PacketCounter goes back or stands still"):
        sensed(tmp_path / "b.txt")


def test_sensor_logger(tmp_path):
    acc, motion = RNG.normal(0, 5, (2, 200, 3))
    files = makers.sensor_logger(acc, motion)
    (tmp_path / "phone.zip").write_bytes(makers.zipped({f"rec/{name}": text for name, text in files.items()}))
    streams = sensed(tmp_path / "phone.zip")
    assert set(streams) == {"accelerometer", "wristmotion", "heartrate"}
    np.testing.assert_array_equal(streams["accelerometer"].values, acc)  # stands as z, y, x
    np.testing.assert_allclose(streams["accelerometer"].times, START_S + np.arange(200) / 100, atol=1e-6)
    assert streams["accelerometer"].units["x"] == "m/s^2"
    assert streams["wristmotion"].units["accelerationX"] == "g"
    assert "taken to be in g: iOS, and units were not standardised" in whole(streams, "wristmotion")
    assert "Europe/Vienna" in whole(streams, "heartrate") and "opposite to Android" in whole(
        streams, "wristmotion"
    )
    assert "left out: annotation.csv, location.csv" in whole(streams, "accelerometer")


@pytest.mark.parametrize(
    ("platform", "standardised", "unit", "why"),
    [
        ("ios", "true", "m/s^2", "standardised"),
        ("android", "false", "m/s^2", "Android"),
        ("", "", "g", "a guess"),
    ],
)
def test_sensor_logger_s_units_hang_on_its_settings(tmp_path, platform, standardised, unit, why):
    motion = RNG.normal(0, 1, (20, 3))
    files = makers.sensor_logger(motion, motion, platform=platform, standardised=standardised)
    (tmp_path / "a.zip").write_bytes(makers.zipped(files))
    streams = sensed(tmp_path / "a.zip")
    assert streams["wristmotion"].units["accelerationX"] == unit and why in whole(streams, "wristmotion")


def test_a_zip_of_something_else_is_none_and_a_bomb_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(makers.zipped({"readme.txt": "hello"}))
    assert format_of(tmp_path / "a.zip") is None
    content = makers.zipped({"Metadata.csv": "version\n3\n", "Accelerometer.csv": b"0" * 7777})
    content = content.replace(struct.pack("<I", 7777), struct.pack("<I", 700 << 20))  # which it would come to
    (tmp_path / "b.zip").write_bytes(content)
    assert format_of(tmp_path / "b.zip") is None
    with pytest.raises(DataError, match="says that it holds 0.734 GB"):
        list(SENSOR_LOGGER.streams(tmp_path / "b.zip"))


def test_an_e4_row_that_is_missing_is_no_reading_earlier(tmp_path):
    content = makers.e4(np.ones((8, 3), int), np.arange(8))["BVP.csv"]
    (tmp_path / "BVP.csv").write_text(content.replace("3.00\n", "3.00\n\n"))
    with pytest.raises(DataError, match=r"BVP.csv: line 7 is empty, expected a reading in each"):
        sensed(tmp_path / "BVP.csv")


def test_an_e4_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    acc = RNG.integers(-99, 99, (20, 3))
    content = makers.e4(acc, np.ones(8))["ACC.csv"].rstrip()
    (tmp_path / "ACC.csv").write_text(content.rpartition(",")[0])
    streams = sensed(tmp_path / "ACC.csv")
    np.testing.assert_array_equal(streams["acc"].values, acc[:-1] / 64)
    assert "line 22 may be cut off (it has 2 of 3 cells): left out" in whole(streams, "acc")


def test_e4_files_of_one_reading_a_mark_before_the_text_and_a_folder_of_others(tmp_path):
    files = makers.e4(np.ones((64, 3), int), np.ones(64))
    for name, text in files.items():
        (tmp_path / name).write_text("\ufeff" + text)
    (tmp_path / "HR.csv").write_text(f"{START_S}\n1.000000\n71.00\n")
    assert set(sensed(tmp_path)) == {"acc", "bvp", "eda", "temp", "ibi"}
    assert list(sensed(tmp_path / "BVP.csv")) == ["bvp"]
    (tmp_path / "ACC.csv").write_text("time,x,y,z\n0,1,2,3\n1,1,2,3\n")
    assert format_of(tmp_path) is None
    (tmp_path / "ACC.csv").write_text(files["ACC.csv"].replace(",", ";"))
    with pytest.raises(DataError, match="ACC.csv: line 1: .*expected numbers"):
        sensed(tmp_path)
    (tmp_path / "ACC.csv").write_text("")
    assert "no two readings, left out: acc.csv, hr.csv" in whole(sensed(tmp_path), "bvp")


@pytest.mark.parametrize(("lasts", "unit"), [(1.0, "g"), (9.80665, "m/s^2"), (400.0, "m/s^2")])
def test_gravity_itself_tells_the_unit_of_a_watch(tmp_path, lasts, unit):
    motion = RNG.normal(0, 1, (60, 3))
    gravity = RNG.normal(0, 1, (60, 3))
    gravity *= lasts / np.linalg.norm(gravity, axis=1, keepdims=True)
    files = makers.sensor_logger(motion, motion, platform="android")
    lines = files["WristMotion.csv"].split()
    files["WristMotion.csv"] = "\n".join(
        [
            lines[0] + ",gravityX,gravityY,gravityZ",
            *(
                f"{line},{x!r},{y!r},{z!r}"
                for line, (x, y, z) in zip(lines[1:], gravity.tolist(), strict=True)
            ),
        ]
    )
    (tmp_path / "a.zip").write_bytes(makers.zipped(files))
    streams = sensed(tmp_path / "a.zip")
    assert streams["wristmotion"].units["accelerationX"] == streams["wristmotion"].units["gravityX"] == unit
    assert ("though metadata.csv would have it in m/s^2" in whole(streams, "wristmotion")) == (unit == "g")


def test_a_phone_s_sensor_that_measured_nothing_is_left_out(tmp_path):
    files = makers.sensor_logger(*RNG.normal(0, 1, (2, 30, 3)))
    files["HeartRate.csv"] = "time,seconds_elapsed,bpm\n"
    files["Metadata.csv"] = files["Metadata.csv"].splitlines()[0]
    (tmp_path / "a.zip").write_bytes(makers.zipped(files))
    streams = sensed(tmp_path / "a.zip")
    assert set(streams) == {"accelerometer", "wristmotion"}
    assert "heartrate.csv" in whole(streams, "accelerometer") and "a guess" in whole(streams, "wristmotion")


@pytest.mark.parametrize("names", [("Leg", "Leg_R"), ("Leg_R", "Leg"), ("A", "A_B", "A_B_C")])
def test_a_shimmer_has_no_columns_of_one_whose_name_goes_on(tmp_path, names):
    """It had the other's readings as its own, and the other's clock as one of them."""
    values = RNG.normal(0, 5, (len(names), 2, 40, 3))
    tables = [makers.shimmer(*own, device=name).splitlines() for name, own in zip(names, values, strict=True)]
    file = tmp_path / "both.csv"
    file.write_text(
        "\n".join([tables[0][0], *map("".join, zip(*(t[1:] for t in tables), strict=True))]) + "\n"
    )
    streams = sensed(file)
    assert [*streams] == [*names]
    for name, (acc, gyr) in zip(names, values, strict=True):
        assert len(streams[name].columns) == 6 and not any("Time" in one for one in streams[name].columns)
        np.testing.assert_allclose(streams[name].values, np.hstack([acc, gyr]), atol=1e-6)


def test_shimmer_s_times_are_in_ms_and_only_its_own_columns_are_its(tmp_path):
    content = makers.shimmer(*RNG.normal(0, 1, (2, 30, 3)))
    (tmp_path / "a.csv").write_text(content.replace("\nms\t", "\ns\t"))
    with pytest.raises(
        DataError, match=r"a.csv: times in 'Shimmer_68B7_Timestamp_Unix_CAL' in 's', expected ms"
    ):
        sensed(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("Shimmer_1_Timestamp_Unix_CAL (ms),x\n1,2\n2,3\n")
    assert format_of(tmp_path / "b.csv") is None


@pytest.mark.parametrize("starts", [(65_530, 3), (3, 65_530), (32_760, 32_780), (0, 40)])
def test_xsens_sensors_whose_counters_wrap_between_them_share_a_clock(tmp_path, starts):
    acc, quat = RNG.normal(0, 5, (50, 3)), RNG.normal(0, 1, (50, 4))
    begins = []
    for number, start in enumerate(starts):
        file = tmp_path / f"MT_01-000_00B42D4{number}.txt"
        file.write_text(makers.xsens(acc, quat, (start + np.arange(50)) % 65_536))
    for number in range(2):
        (one,) = sensed(tmp_path / f"MT_01-000_00B42D4{number}.txt").values()
        begins.append(one.times[0])
        np.testing.assert_allclose(np.diff(one.times), 0.01, atol=1e-9)
        assert one.clock == f"Xsens {tmp_path.name} MT_01"
    apart = (starts[1] - starts[0] + 32_768) % 65_536 - 32_768
    assert begins[1] - begins[0] == pytest.approx(apart / 100)


def test_a_table_of_packets_that_is_no_mtw_s_is_not_taken_for_one(tmp_path):
    content = makers.xsens(RNG.normal(0, 5, (9, 3)), RNG.normal(0, 1, (9, 4)), range(9))
    (tmp_path / "a.csv").write_text("".join(line for line in content.splitlines(True) if line[0] != "/"))
    assert format_of(tmp_path / "a.csv") is None
    (tmp_path / "b.txt").write_text(
        content.replace("\t\t", "\t123\t", 1).replace("00000\t\t", "00000\t123\t")
    )
    assert "SampleTimeFine is not read" in whole(sensed(tmp_path / "b.txt"), "")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_a_zip_damaged_inside_is_one_line(tmp_path, method):
    content = io.BytesIO()
    files = makers.sensor_logger(*RNG.normal(0, 1, (2, 200, 3)))
    with zipfile.ZipFile(content, "w", method) as out:
        for name, text in files.items():
            out.writestr(name, text)
    spoiled = bytearray(content.getvalue())
    at = spoiled.index(b"Accelerometer.csv") + 60
    spoiled[at : at + 40] = bytes(40)
    (tmp_path / "a.zip").write_bytes(bytes(spoiled))
    with pytest.raises(DataError, match=r"a.zip: cannot be read, expected a whole zip"):
        sensed(tmp_path / "a.zip")
