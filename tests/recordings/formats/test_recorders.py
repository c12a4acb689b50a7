"""What recorders of several sensors write: XDF with its clock offsets, MCAP with its stamps."""

import io
import json
import struct
import sys

import numpy as np
import pytest

from plait.errors import DataError
from plait.recordings.formats.known import format_of
from tests.recordings.formats import makers
from tests.recordings.formats.makers import START_S

RNG = np.random.default_rng(2)


def sensed(path):
    return {one.name: one for one in format_of(path).streams(path)}


@pytest.fixture(scope="module")
def lab():
    """Two sensors and markers: the second's clock is 100 s behind the recorder's."""
    times = 500 + np.arange(400) / 100
    acc, heart = RNG.normal(0, 1, (400, 3)), RNG.normal(60, 1, (4, 1))
    streams = [
        ("Wrist", ("acc_x", "acc_y", "acc_z"), 100, times, acc, [(500.0, 0.0), (503.0, 0.0)]),
        ("Heart", ("bpm",), 0, 400.0 + np.arange(4), heart, [(400.0, 100.0), (403.0, 100.0)]),
        ("Marks", None, 0, [501.0], ["clap"], []),
    ]
    return streams, makers.xdf(streams)


def test_xdf(tmp_path, lab):
    pytest.importorskip("pyxdf")
    (tmp_path / "a.xdf").write_bytes(lab[1])
    streams = sensed(tmp_path / "a.xdf")
    wrist, heart = streams["Wrist"], streams["Heart"]
    np.testing.assert_allclose(wrist.values, lab[0][0][4].astype(np.float32))
    np.testing.assert_allclose(wrist.times, 500 + np.arange(400) / 100, atol=1e-6)
    np.testing.assert_allclose(heart.times, 500 + np.arange(4), atol=1e-6)
    assert wrist.acceleration == ("acc_x", "acc_y", "acc_z") and wrist.units["acc_x"] == "g"
    assert wrist.clock == heart.clock == "XDF a.xdf"
    assert "2 clock offsets, +100.0000 s: corrected" in heart.notes[0]
    assert "Marks: 1 readings, left out" in wrist.notes


def test_xdf_without_offsets_is_said(tmp_path, lab):
    pytest.importorskip("pyxdf")
    streams = [(*lab[0][0][:5], []), lab[0][1]]
    (tmp_path / "a.xdf").write_bytes(makers.xdf(streams))
    wrist, heart = (sensed(tmp_path / "a.xdf")[name] for name in ("Wrist", "Heart"))
    assert "its times may be of another clock" in wrist.notes[0] and wrist.clock != heart.clock


def test_an_xdf_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path, lab):
    pytest.importorskip("pyxdf")
    end = lab[1].rindex(b"</info>", 0, len(lab[1]) // 2 + 2000)
    (tmp_path / "a.xdf").write_bytes(lab[1][: end + 3000])
    wrist = sensed(tmp_path / "a.xdf")["Wrist"]
    assert 10 < len(wrist.times) < 400
    assert any("damaged or cut off at byte" in note for note in wrist.notes)


def test_an_xdf_whose_sizes_cannot_be_is_refused(tmp_path, lab):
    pytest.importorskip("pyxdf")
    at = lab[1].index(struct.pack("<H", 3) + struct.pack("<I", 1) + b"\x01") + 6
    huge = lab[1][:at] + b"\x04" + struct.pack("<I", 1 << 31) + lab[1][at + 5 :]
    (tmp_path / "a.xdf").write_bytes(huge)
    with pytest.raises(DataError, match=r"a.xdf: byte \d+: 2147483648 samples in \d+ bytes"):
        sensed(tmp_path / "a.xdf")
    wide = lab[1].replace(b"<channel_count>3<", b"<channel_count>x<")
    (tmp_path / "b.xdf").write_bytes(wide)
    with pytest.raises(DataError, match=r"b.xdf: a stream of 'x' channels, expected 1 to"):
        sensed(tmp_path / "b.xdf")


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_mcap(tmp_path, compression):
    pytest.importorskip("mcap_ros2")
    acc, gyr = RNG.normal(0, 5, (2, 100, 3))
    (tmp_path / "a.mcap").write_bytes(makers.mcap(acc, gyr, compression=compression))
    streams = sensed(tmp_path / "a.mcap")
    imu, pressure = streams["/imu"], streams["/pressure"]
    chosen = [imu.columns.index(name) for name in imu.acceleration]
    assert (
        imu.acceleration == tuple(f"linear_acceleration.{axis}" for axis in "xyz") and len(imu.columns) == 6
    )
    np.testing.assert_array_equal(imu.values[:, chosen], acc)
    np.testing.assert_allclose(imu.times, START_S + np.arange(100) / 100, rtol=0, atol=1e-6)
    assert imu.units[imu.acceleration[0]] == "m/s^2" and imu.units["angular_velocity.x"] == "rad/s"
    assert "those in the messages" in imu.notes[0] and "when the log took them" in pressure.notes[0]
    np.testing.assert_array_equal(pressure.values[:, 0], 100_000 + np.arange(100))
    assert pressure.columns == ("p.pa",)
    assert "/points (q): protobuf encoding, left out" in imu.notes


def test_mcap_without_stamps_takes_the_log_s_times(tmp_path):
    pytest.importorskip("mcap_ros2")
    acc, gyr = RNG.normal(0, 5, (2, 30, 3))
    (tmp_path / "a.mcap").write_bytes(makers.mcap(acc, gyr, stamped=False))
    imu = sensed(tmp_path / "a.mcap")["/imu"]
    assert "when the log took them" in imu.notes[0] and imu.times[0] == pytest.approx(START_S + 0.02)


def test_an_mcap_that_was_cut_off_or_lies_of_its_size(tmp_path):
    pytest.importorskip("mcap_ros2")
    acc, gyr = RNG.normal(0, 5, (2, 200, 3))
    whole = makers.mcap(acc, gyr)
    (tmp_path / "a.mcap").write_bytes(whole[: len(whole) // 2])
    imu = sensed(tmp_path / "a.mcap")["/imu"]
    assert 2 < len(imu.times) < 200 and any("ends in the middle of a record" in note for note in imu.notes)
    plain = makers.mcap(acc, gyr, compression="none")
    at = plain.index(b"\x06", 8) + 9 + 16  # a chunk, behind its times: its size
    (tmp_path / "b.mcap").write_bytes(plain[:at] + struct.pack("<Q", 1 << 40) + plain[at + 8 :])
    with pytest.raises(DataError, match="b.mcap: .*(holds|size)"):
        sensed(tmp_path / "b.mcap")


@pytest.mark.parametrize(("module", "content"), [("pyxdf", b"XDF:"), ("mcap", b"\x89MCAP0\r\n")])
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, module, content):
    (tmp_path / "a.bin").write_bytes(content + b"\0" * 20)
    names = {"mcap": ("mcap", "mcap.exceptions"), "pyxdf": ("pyxdf",)}[module]
    for name in names:
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(DataError, match=r"pip install 'plait\[(xdf|mcap)\]'"):
        sensed(tmp_path / "a.bin")


@pytest.mark.parametrize("kind", ["xdf", "mcap"])
def test_any_damage_is_read_or_refused_in_one_line(tmp_path, lab, kind):
    pytest.importorskip({"xdf": "pyxdf", "mcap": "mcap_ros2"}[kind])
    acc, gyr = RNG.normal(0, 5, (2, 20, 3))
    whole = lab[1][:4000] if kind == "xdf" else makers.mcap(acc, gyr, compression="none")
    file = tmp_path / f"a.{kind}"
    rng = np.random.default_rng(3)
    for number in range(120):
        spoiled = bytearray(whole)
        if number % 2:
            spoiled = spoiled[: rng.integers(12, len(whole))]
        for place in rng.integers(8, len(spoiled), 1 + number % 4):
            spoiled[place] = rng.integers(256)
        file.write_bytes(bytes(spoiled))
        try:
            streams = sensed(file)
        except DataError as error:
            assert "\n" not in str(error) and file.name in str(error)
        else:
            assert streams


def test_two_xdf_streams_of_one_name_are_told_apart_by_their_source(tmp_path):
    pytest.importorskip("pyxdf")
    times, left, right = 500 + np.arange(60) / 20, *RNG.normal(0, 1, (2, 60, 3))
    for order in ((0, 1), (1, 0)):
        both = [("Imu", None, 20, times, left, [], "L"), ("Imu", None, 20, times, right, [], "R")]
        (tmp_path / "a.xdf").write_bytes(makers.xdf([both[place] for place in order]))
        streams = sensed(tmp_path / "a.xdf")
        np.testing.assert_allclose(streams["Imu L"].values, left.astype(np.float32))
        np.testing.assert_allclose(streams["Imu R"].values, right.astype(np.float32))
        assert any("told apart by source_id" in note for one in streams.values() for note in one.notes)
    (tmp_path / "a.xdf").write_bytes(makers.xdf([one[:6] for one in both]))
    streams = sensed(tmp_path / "a.xdf")
    assert set(streams) == {"Imu 1", "Imu 2"} and any(
        "another recording may number otherwise" in note for note in streams["Imu 1"].notes
    )


@pytest.mark.parametrize("gap_s", [1.2, 3.0, 60.0])
def test_lost_xdf_samples_are_a_gap_and_not_smeared(tmp_path, gap_s):
    pytest.importorskip("pyxdf")
    times = 500 + np.arange(600) / 100
    times[200:] += gap_s
    (tmp_path / "a.xdf").write_bytes(makers.xdf([("A", None, 100, times, RNG.normal(0, 1, (600, 3)), [])]))
    np.testing.assert_allclose(sensed(tmp_path / "a.xdf")["A"].times, times, atol=1e-6)


def test_what_smoothing_has_moved_is_said(tmp_path):
    pytest.importorskip("pyxdf")
    times = 500 + np.arange(600) / 100
    values = RNG.normal(0, 1, (600, 3))
    offsets = [(500.0, 3.0), (506.0, 3.0003)]
    steady = times + RNG.uniform(0, 0.02, 600)
    lost = times + np.where(np.arange(600) > 300, 0.8, 0)
    streams = [("Steady", None, 100, steady, values, offsets), ("Lost", None, 100, lost, values, offsets)]
    (tmp_path / "a.xdf").write_bytes(makers.xdf(streams))
    found = sensed(tmp_path / "a.xdf")
    off_s = np.abs(found["Lost"].times - (lost + 3)).max()
    assert off_s > 0.1 and not any("moved readings" in note for note in found["Steady"].notes)
    said = next(note for note in found["Lost"].notes if "moved readings" in note)
    assert float(said.split("by up to ")[1].split(" s")[0]) > off_s / 3


def test_an_xdf_stream_whose_clock_goes_back_is_left_out(tmp_path, lab):
    pytest.importorskip("pyxdf")
    times = np.r_[500 + np.arange(50) / 10, 480 + np.arange(50) / 10]
    streams = [("Back", None, 0, times, RNG.normal(0, 1, (100, 1)), []), lab[0][0]]
    (tmp_path / "a.xdf").write_bytes(makers.xdf(streams))
    found = sensed(tmp_path / "a.xdf")
    assert set(found) == {"Wrist"} and any(
        "Back: its clock goes back by" in note for note in found["Wrist"].notes
    )


def mcap_of_json(messages):
    """A log of `(topic, schema, seconds, content)`, in that order."""
    from mcap.writer import Writer

    content = io.BytesIO()
    writer = Writer(content)
    writer.start()
    channels = {}
    for topic, schema, seconds, message in messages:
        if (topic, schema) not in channels:
            described = writer.register_schema(schema, "jsonschema", b"{}")
            channels[topic, schema] = writer.register_channel(topic, "json", described)
        at = round(seconds * 1e9)
        writer.add_message(channels[topic, schema], at, json.dumps(message).encode(), at)
    writer.finish()
    return content.getvalue()


def test_a_topic_of_two_types_is_two_streams(tmp_path):
    pytest.importorskip("mcap_ros2")
    messages = [("/a", "force" if n % 2 else "torque", 100 + n, {"x": n}) for n in range(8)]
    (tmp_path / "a.mcap").write_bytes(mcap_of_json(messages))
    streams = sensed(tmp_path / "a.mcap")
    assert streams["/a torque"].values[:, 0].tolist() == [0, 2, 4, 6]
    assert streams["/a force"].times.tolist() == [101, 103, 105, 107]


def test_messages_may_lie_in_any_order_and_names_like_stamps_are_readings(tmp_path):
    pytest.importorskip("mcap_ros2")
    messages = [
        ("/a", "s", 100 + n, {"stamped_force": n, "timestamp": {"sec": 50 + n, "nsec": 0}})
        for n in (0, 3, 1, 2)
    ]
    (tmp_path / "a.mcap").write_bytes(mcap_of_json(messages))
    one = sensed(tmp_path / "a.mcap")["/a"]
    assert one.columns == ("stamped_force",) and one.values[:, 0].tolist() == [0, 1, 2, 3]
    assert one.times.tolist() == [50, 51, 52, 53]


def test_mcap_without_its_decoder_names_the_extra(tmp_path, monkeypatch):
    pytest.importorskip("mcap_ros2")
    (tmp_path / "a.mcap").write_bytes(makers.mcap(*RNG.normal(0, 5, (2, 30, 3))))
    monkeypatch.setitem(sys.modules, "mcap_ros2.decoder", None)
    with pytest.raises(DataError, match=r"a.mcap: an MCAP file, read by mcap: pip install 'plait\[mcap\]'"):
        sensed(tmp_path / "a.mcap")


@pytest.mark.parametrize("odd", [1e300, -1e200, 1e11, np.nan])
@pytest.mark.parametrize("where", ["time", "offset"])
def test_xdf_times_that_are_none_are_refused(tmp_path, where, odd):
    pytest.importorskip("pyxdf")
    times, offsets = 500 + np.arange(60) / 20, [(500.0, 1.0), (570.0, odd if where == "offset" else 1.0)]
    times[30] = odd if where == "time" else times[30]
    (tmp_path / "a.xdf").write_bytes(makers.xdf([("A", None, 0, times, RNG.normal(0, 1, (60, 1)), offsets)]))
    with pytest.raises(
        DataError, match=r"a.xdf: (stream 'A': a time or clock offset that is none|cannot be)"
    ):
        sensed(tmp_path / "a.xdf")
