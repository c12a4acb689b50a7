"""Sensors' own files through `plait ingest`: tables in the recording, clocks, units, and what is asked."""

import json
import shutil
import sys

import numpy as np
import pytest

from plait.cli import app, main
from plait.errors import ConfigError, DataError
from plait.recordings.folder import Clock, Synced, read_description, read_sync, write_sync
from plait.recordings.folder import open_recording as opened
from plait.recordings.formats.sensed import Sensed
from plait.recordings.ingest import ingest
from plait.recordings.logs import read_log
from plait.recordings.sensor_files import Formats
from plait.recordings.synchronise import _shared_clock
from plait.trust import OWN, Trust
from tests.recordings.formats import makers, test_gopro

RNG = np.random.default_rng(5)
ACC = RNG.integers(-100, 100, (160, 3))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A GoPro's video, and its accelerometer's readings."""
    file = tmp_path_factory.mktemp("film") / "GOPR0042.MP4"
    return test_gopro.film(file), file.read_bytes()


@pytest.fixture
def lab(tmp_path, film):
    """A session: the video, an Empatica E4's folder, a Shimmer's export."""
    folder = tmp_path / "session"
    (folder / "left").mkdir(parents=True)
    (folder / "GOPR0042.MP4").write_bytes(film[1])
    for name, text in makers.e4(ACC, np.ones(320)).items():
        (folder / "left" / name).write_text(text)
    acc, gyr = RNG.normal(0, 1, (2, 100, 3))
    (folder / "imu.csv").write_text(makers.shimmer(acc, gyr))
    (folder / "labels.csv").write_text("start,stop,activity\n0.5,2,press\n2,3.5,plug\n")
    return folder


def test_a_session_of_three_devices(lab, tmp_path, film):
    folder, told = ingest([lab], tmp_path / "rec")
    described = read_description(folder)
    assert set(described.logs) == {
        *("camera_acc", "camera_gyr", "acc", "bvp", "eda", "temp", "hr", "ibi", "shimmer_68b7")
    }
    assert described.logs["acc"].units == dict.fromkeys(("acc_x", "acc_y", "acc_z"), "g")
    assert described.logs["acc"].acceleration == ("acc_x", "acc_y", "acc_z")
    assert {name for name, log in described.logs.items() if log.same_clock == "acc"} == {
        *("bvp", "eda", "temp", "hr", "ibi")
    }
    assert described.made_from["acc.parquet"] == "left"
    assert described.made_from["camera_acc.parquet"] == "GOPR0042.MP4"
    assert {"left", "imu.csv", "acc.parquet", "GOPR0042.MP4"} <= set(described.sha256)
    assert (
        not (folder / "left").exists() and not (folder / "imu.csv").exists()
    )  # the originals stay where they are
    assert "acc.parquet: units: acc_x, acc_y, acc_z: g" in told
    assert "E4 left: bvp, eda, hr, ibi, temp on the clock of acc" in told
    assert read_sync(folder) == {"camera_acc": Clock(0.0), "camera_gyr": Clock(0.0)}
    assert any("a guess" in line for line in told if line.startswith("camera_acc"))


def test_the_camera_s_readings_are_on_the_video_s_clock(lab, tmp_path, film):
    shutil.rmtree(lab / "left")
    (lab / "imu.csv").unlink()
    folder, _ = ingest([lab], tmp_path / "rec")
    recording = opened(folder)
    stream = recording.streams["camera_acc"]
    rows = np.arange(300, 340)
    found = stream.at(stream.times[rows])
    np.testing.assert_allclose(found, film[0][rows][:, [1, 2, 0]] / 417, rtol=1e-4)
    np.testing.assert_allclose(stream.times[rows], rows * 1.001 / 200, atol=0.02)


def test_streams_of_one_device_lie_on_one_clock(lab, tmp_path):
    longer = makers.e4(np.tile(ACC, (4, 1)), np.ones(1280))["ACC.csv"]
    (lab / "left" / "ACC.csv").write_text(longer)
    folder, _ = ingest([lab], tmp_path / "rec")
    recording = {name: log for name, log in read_description(folder).logs.items() if name in ("acc", "hr")}
    logs = {name: Synced(log_of(folder, log), Clock(0.0)) for name, log in recording.items()}
    assert logs["hr"].log.times[0] == 0  # each from its own start
    described = read_description(folder)
    read = {name: synced.log for name, synced in logs.items()}
    clock = _shared_clock(folder, described, read, "hr", Clock(2.0))
    assert clock.offset_s == pytest.approx(2.0 - 10.0)  # a heart rate begins 10 s after the rest


def log_of(folder, log):
    return read_log(folder / log.file, log.log())


def test_again_other_files_and_a_recording_taken_over(lab, tmp_path):
    folder, _ = ingest([lab], tmp_path / "rec")
    assert ingest([lab], tmp_path / "rec")[1] == [f"{folder}: stands already, made from the same files"]
    copy, told = ingest([folder], tmp_path / "copy")
    assert "recording.toml: taken as it is" in told and read_sync(copy) == read_sync(folder)
    assert read_description(copy) == read_description(folder)
    (lab / "left" / "ACC.csv").write_text(makers.e4(ACC + 1, np.ones(320))["ACC.csv"])
    with pytest.raises(DataError, match="stands already, made from other files"):
        ingest([lab], tmp_path / "rec")


def test_a_template_names_tables_by_streams(lab, tmp_path):
    template = tmp_path / "mine.toml"
    template.write_text(
        'subject = ""\nvideo = "*.mp4"\nlabels = "*label*"\n'
        '[logs.head]\nfile = "camera_acc.parquet"\ncolumns = ["acc_*"]\ntime = "time"\n'
        '[logs.wrist]\nfile = "acc.parquet"\ncolumns = ["acc_*"]\ntime = "time"\n'
    )
    folder, told = ingest([lab], tmp_path / "rec", template=str(template))
    described = read_description(folder)
    assert set(described.logs) == {"head", "wrist"} and described.logs["head"].absolute
    assert read_sync(folder) == {"head": Clock(0.0)} and described.logs["wrist"].units["acc_x"] == "g"
    assert "bvp.parquet: not in the template, left out" in told
    write_sync(folder, {"head": Clock(0.0), "wrist": Clock(0.5)})
    assert set(opened(folder).streams) == {"video", "head", "wrist"}


def test_two_devices_with_streams_of_one_name(lab, tmp_path):
    shutil.copytree(lab / "left", lab / "right")
    folder, told = ingest([lab], tmp_path / "rec")
    logs = read_description(folder).logs
    assert {"left_acc", "right_acc", "left_hr", "right_hr"} <= set(logs) and "acc" not in logs
    assert logs["right_hr"].same_clock == "right_acc"
    assert "right: right_acc, for acc is there more than once" in told


def test_a_rate_that_no_file_says_is_asked_and_answered(lab, tmp_path):
    acc, quat = RNG.normal(0, 1, (50, 3)), RNG.normal(0, 1, (50, 4))
    (lab / "MT_1-000_00B42D4F.txt").write_text(makers.xsens(acc, quat, range(50), newer=True))
    with pytest.raises(DataError, match=r"--set logs.00b42d4f.time_unit=HZ"):
        ingest([lab], tmp_path / "rec")
    folder, _ = ingest([lab], tmp_path / "rec", answers={"logs.00b42d4f.time_unit": "50"})
    log = read_description(folder).logs["00b42d4f"]
    assert log_of(folder, log).times[-1] == pytest.approx(0.98)


def test_a_camera_whose_own_sensors_are_damaged_keeps_its_video(lab, tmp_path):
    test_gopro.film(lab / "GOPR0042.MP4", orientation="ZZZ")
    folder, told = ingest([lab], tmp_path / "rec")
    assert any("the camera's own sensors cannot be read, left out" in line for line in told)
    assert "camera_acc" not in read_description(folder).logs


def own(file):
    """One's own format: JSON of `[[time, value], ...]`."""
    rows = np.array(json.loads(file.read_text()), float)
    yield Sensed("grip", rows[:, 0], rows[:, 1:], ("force",), {"force": "N"})


def wrong(file):
    return [file]


def test_a_format_of_one_s_own(lab, tmp_path):
    (lab / "a.grip").write_text(json.dumps([[0.5 * number, number] for number in range(8)]))
    (lab / "left" / "b.grip").write_text("nothing")
    formats = Formats({"*.grip": f"{__name__}:own"}, Trust(frozenset({__name__})))
    folder, _ = ingest([lab], tmp_path / "rec", formats=formats)
    log = read_description(folder).logs["grip"]
    np.testing.assert_array_equal(log_of(folder, log).values[:, 0], np.arange(8))
    assert log.units == {"force": "N"}
    (lab / "a.grip").write_text("{")
    with pytest.raises(ConfigError, match=r"--format \*.grip=.*:own: JSONDecodeError"):
        ingest([lab], tmp_path / "other", formats=formats)
    with pytest.raises(ConfigError, match="gives a .*Path, expected plait.recordings.formats.sensed.Sensed"):
        ingest([lab], tmp_path / "other", formats=Formats({"*.grip": f"{__name__}:wrong"}, OWN))


def test_formats_are_named_or_refused(lab, tmp_path):
    with pytest.raises(ConfigError, match=r"--format a=b: 'b', expected module:Name or one of: axivity, "):
        Formats({"a": "b"})
    with pytest.raises(ConfigError, match="code of others is run only where you say so"):
        Formats({"a": f"{__name__}:own"})
    with pytest.raises(ConfigError, match="is no function"):
        Formats({"a": f"{__name__}:ACC"}, OWN)


def refused(words, lab, monkeypatch, capsys):
    """What `plait ingest` says as it ends with exit code 2."""
    monkeypatch.setattr("sys.argv", ["plait", "ingest", str(lab), "--out", "other", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_the_command_line(lab, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_grip", raising=False)
    (tmp_path / "my_grip.py").write_text(
        "import numpy as np\nfrom plait.recordings.formats.sensed import Sensed\n"
        "def read(file):\n    yield Sensed('grip', np.arange(9.0), np.ones((9, 1)), ('force',))\n"
    )
    (lab / "a.grip").write_text("x")
    app(["ingest", str(lab), "--out", "rec", "--format", "*.grip=my_grip:read"], standalone_mode=False)
    assert "grip" in read_description(tmp_path / "rec" / "session").logs
    assert "--format grip: expected FILE=FORMAT" in refused(["--format", "grip"], lab, monkeypatch, capsys)
    (lab / "a.grip").unlink()
    (lab / "unknown.mtb").write_bytes(b"\xfa\xff")
    assert "export it from Xsens' MT Manager as text" in refused([], lab, monkeypatch, capsys)
    sys.modules.pop("my_grip")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"times": np.arange(1.0), "values": np.ones((1, 1))}, "1 readings, expected at least 2"),
        ({"values": np.ones((2, 2))}, r"values of shape \(2, 2\), expected \(2, 1\)"),
        ({"columns": ("time",)}, "expected names that differ, none time"),
        ({"units": {"b": "g"}}, "speaks of 'b', expected one of a"),
        ({"times": np.array([0.0, np.nan])}, "reading 2: time nan s, expected seconds"),
    ],
)
def test_what_is_no_stream_is_refused(changes, said):
    with pytest.raises(DataError, match=said):
        Sensed(
            **{"name": "x", "times": np.arange(2.0), "values": np.ones((2, 1)), "columns": ("a",), **changes}
        )


@pytest.mark.parametrize("as_template", [False, True])
def test_what_is_wrong_with_a_table_names_what_it_was_made_of(lab, tmp_path, as_template):
    acc = RNG.normal(0, 1, (60, 3))
    files = makers.sensor_logger(acc, acc)
    lines = files["Accelerometer.csv"].splitlines()
    files["Accelerometer.csv"] = "\n".join(
        [*lines, *(f"{line.rpartition(',')[0]},9.5" for line in lines[1:30])]
    )
    (lab / "phone.zip").write_bytes(makers.zipped(files))
    (tmp_path / "mine.toml").write_text(
        'subject = ""\nvideo = "*.mp4"\n[logs.a]\nfile = "accelerometer.parquet"\n'
        'columns = ["x"]\ntime = "time"\n'
    )
    template = str(tmp_path / "mine.toml") if as_template else None
    with pytest.raises(DataError, match=r"^phone.zip: accelerometer: row 61: the clock runs backwards"):
        ingest([lab], tmp_path / "rec", template=template)
