"""From a person's own files to synchronised streams: ingest, sync, open."""

import json
import shutil
from fractions import Fraction

import av
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from plait.cli import app
from plait.errors import ConfigError, DataError, PlaitError, PlaitWarning
from plait.recordings.folder import Clock, open_recording, read_description, read_sync, recording_folders
from plait.recordings.ingest import ingest
from plait.recordings.synchronise import synchronise
from signals import AUDIO_HZ, simulate


def film(path, signals, frame_rate=30, sound=True):
    """A small video whose picture changes as the signals' motion says, with their sound if any."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=frame_rate)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        heard = out.add_stream("aac", rate=AUDIO_HZ, layout="mono") if sound else None
        smooth = gaussian_filter(
            np.random.default_rng(0).normal(size=(48, 64 + 4096)), 6
        )  # moved twice as far, differs more
        noise = (127 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)
        place = np.cumsum(signals.motion.values / signals.motion.values.max()) * 8
        for number, at in enumerate(place):
            left = round(at) % 4096
            frame = av.VideoFrame.from_ndarray(
                np.repeat(noise[:, left : left + 64, None], 3, axis=2), format="rgb24"
            )
            frame.pts, frame.time_base = number, Fraction(1, frame_rate)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if heard is None:
            return
        values = signals.audio.values.astype(np.float32)
        for start in range(0, len(values) - 1024, 1024):
            frame = av.AudioFrame.from_ndarray(
                values[None, start : start + 1024], format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = AUDIO_HZ, start, Fraction(1, AUDIO_HZ)
            out.mux(heard.encode(frame))
        out.mux(heard.encode())


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder as a lab has it: a video, a log in milliseconds with semicolons and decimal commas, labels."""
    folder = tmp_path_factory.mktemp("lab") / "anna 1"
    folder.mkdir()
    signals = simulate(12, duration_s=100, claps=1)
    film(folder / "GOPR0001.mp4", signals)
    log = signals.logs["right"]
    rows = ["Timestamp;ax;ay;az;pressure"]
    rows += [
        ";".join(f"{value:.5f}".replace(".", ",") for value in (1e3 * t, *v, 1.0))
        for t, v in zip(log.times, log.values, strict=True)
    ]
    (folder / "Right Hand.csv").write_text("\n".join(rows), encoding="utf-8")
    (folder / "labels.csv").write_text("start,end,activity\n1,20,press\n25,60,plug\n", encoding="utf-8")
    return folder, signals


@pytest.fixture(scope="module")
def made(own, tmp_path_factory, whole_sync_pictures):
    folder, told = ingest([own[0]], tmp_path_factory.mktemp("recordings"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plait.recordings.synchronise.draw", whole_sync_pictures)
        return folder, told, synchronise(folder)


def test_what_is_assumed_is_told_and_originals_stay(own, made):
    folder, told, _ = made
    described = read_description(folder)
    assert folder.name == described.subject == "anna 1"
    assert described.video == "GOPR0001.mp4" and described.labels == "labels.csv"
    log = described.logs["right_hand"]
    assert (log.time, log.time_unit, log.columns) == ("Timestamp", "ms", ("ax", "ay", "az", "pressure"))
    assert log.acceleration == ("ax", "ay", "az")
    assert any("times in 'Timestamp' (ms), 4 columns; acceleration: ax, ay, az" in line for line in told)
    for file in own[0].iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()
    assert set(described.sha256) == {file.name for file in own[0].iterdir()}


def test_the_log_is_laid_on_the_video_s_clock(own, made):
    folder, _, fits = made
    _, signals = own
    fit = fits["right_hand"]
    video_s = np.array([0.0, 100.0])
    found = (video_s + fit.offset_s) * (1 + fit.drift_ppm * 1e-6)
    true = (video_s + signals.offset_s["right"]) * (1 + signals.drift_ppm["right"] * 1e-6)
    assert fit.status == "sure" and np.abs(found - true).max() < 0.067
    line = json.loads((folder / "sync.json").read_text())["right_hand"]
    assert set(line) == {"offset_s", "drift_ppm", "residual_ms", "confidence", "status", "counts"}
    assert (folder / "sync.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_a_recording_opens_with_all_streams_on_one_clock(own, made):
    folder, _, _ = made
    (recording,) = map(open_recording, recording_folders(folder.parent))
    assert set(recording.streams) == {"video", "right_hand"}
    assert [(span.start_s, span.stop_s, span.activity) for span in recording.spans] == [
        (1, 20, "press"),
        (25, 60, "plug"),
    ]
    clap = own[1].claps_s[0]
    around = np.arange(clap - 1, clap + 1, 0.04)
    jerk = np.linalg.norm(np.diff(recording.streams["right_hand"].at(around)[:, :3], axis=0), axis=1)
    assert abs(around[jerk.argmax()] - clap) < 0.1
    assert np.isnan(recording.streams["right_hand"].at(np.array([500.0]))).all()


@pytest.mark.parametrize("name", ["labels.csv", "Right Hand.csv", "GOPR0001.mp4"])
def test_a_file_that_was_changed_since_is_said(made, tmp_path, name):
    folder = tmp_path / "another"
    shutil.copytree(made[0], folder)
    content = (folder / name).read_bytes()
    (folder / name).unlink()  # a link to the original
    (folder / name).write_bytes(content + b"\n")
    with pytest.warns(
        PlaitWarning, match=f"{name}: not the file that was ingested, by its SHA-256 in recording.toml"
    ):
        open_recording(folder)


@pytest.mark.filterwarnings("ignore:.*not the file that was ingested")
def test_each_stream_says_by_its_contents_what_it_is(made, tmp_path):
    """Names, labels, comments and how sure a clock is are no contents; readings, pictures and clocks are."""

    def keys(change=lambda folder: None):
        folder = tmp_path / "another name"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made[0], folder)
        change(folder)
        return {name: stream.content_key for name, stream in open_recording(folder).streams.items()}

    def written(name, old, new):
        def change(folder):
            text = (folder / name).read_text("utf-8")
            assert old in text
            (folder / name).unlink()  # a link to the original
            (folder / name).write_text(text.replace(old, new, 1), "utf-8")

        return change

    before = {name: stream.content_key for name, stream in open_recording(made[0]).streams.items()}
    assert set(before) == {"video", "right_hand"} and keys() == before
    sync = json.loads((made[0] / "sync.json").read_text())["right_hand"]
    for change in (
        written("recording.toml", "subject", "# who it was\nsubject"),
        written("labels.csv", "press", "pull"),
        written("sync.json", f'"confidence": {sync["confidence"]}', '"confidence": 0.5'),
    ):
        assert keys(change) == before
    offset = written("sync.json", f'"offset_s": {sync["offset_s"]}', '"offset_s": 0.25')
    reading = written("Right Hand.csv", ",", ",9")
    for change in (offset, reading):
        after = keys(change)
        assert after["video"] == before["video"] and after["right_hand"] != before["right_hand"]


def test_a_second_ingest_changes_nothing_and_other_files_are_refused(own, made, tmp_path):
    folder, _, _ = made
    before = (folder / "recording.toml").stat().st_mtime_ns
    again, told = ingest([own[0]], folder.parent)
    assert again == folder and "stands already" in told[0]
    assert (folder / "recording.toml").stat().st_mtime_ns == before
    (tmp_path / "other.csv").write_text("t_s,ax,ay,az\n0,1,2,3\n0.04,1,2,3\n")
    with pytest.raises(DataError, match="made from other files"):
        ingest([own[0] / "GOPR0001.mp4", tmp_path / "other.csv"], folder.parent, name="anna 1")


def test_a_manual_offset_is_taken_as_it_is(own, tmp_path):
    folder, _ = ingest([own[0]], tmp_path)
    fits = synchronise(folder, {"right_hand": 1.25})
    assert (fits["right_hand"].status, read_sync(folder)["right_hand"]) == ("manual", Clock(1.25))
    with pytest.raises(DataError, match="no log 'left', expected one of: right_hand"):
        synchronise(folder, {"left": 1.0})


def test_clocks_go_both_ways():
    clock, video_s = Clock(-3.2, 150.0), np.linspace(0, 600, 7)
    np.testing.assert_allclose(clock.video_s(clock(video_s)), video_s, atol=1e-9)
    np.testing.assert_allclose(clock(video_s), (video_s - 3.2) * 1.00015)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda d: (d / "notes.docx").write_text("?"), "not known what this is"),
        (lambda d: (d / "two.mp4").write_bytes((d / "GOPR0001.mp4").read_bytes()),
         "expected exactly one video, got"),
        (lambda d: (d / "GOPR0001.mp4").unlink(), "expected exactly one video, got: none"),
        (lambda d: (d / "empty.csv").write_text(""), "empty.csv: empty"),
        (lambda d: (d / "right-hand.csv").write_text("t,ax\n0,1\n1,2\n"),
         "two files for the stream 'right_hand'"),
        (lambda d: (d / "b.csv").write_text("who,ax\n0,1\n"), "b.csv: no column of times known by its name"),
        (lambda d: (d / "b.csv").write_text("t,ax\n5,1\n3,2\n4,x\n"), "b.csv"),
        (lambda d: (d / "more.csv").write_text("start,stop,activity\n0,1,x\n"), "labels, but so is"),
        (lambda d: (d / "GOPR0001.mp4").write_bytes((d / "GOPR0001.mp4").read_bytes()[:5000]),
         "GOPR0001.mp4"),
    ],
)  # fmt: skip
def test_bad_files_are_one_line_and_leave_nothing(own, tmp_path, write, message):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in own[0].iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    write(copy)
    with pytest.raises(PlaitError) as error:
        ingest([copy], tmp_path / "out")
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_what_recording_toml_gets_wrong_is_named(own, tmp_path):
    folder, _ = ingest([own[0]], tmp_path)
    sound = (folder / "recording.toml").read_text(encoding="utf-8")
    for text, message in (
        (sound.replace("time_unit", "time_unt"), "logs.right_hand.time_unt"),
        (sound.replace("Right Hand.csv", "gone.csv"), "names 'gone.csv', expected that file beside it"),
        ("subject =", "not a TOML file"),
    ):
        (folder / "recording.toml").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="recording.toml") as error:
            read_description(folder)
        assert message in str(error.value)


def test_unsure_and_unsynchronised_logs_are_not_opened(own, tmp_path):
    folder, _ = ingest([own[0]], tmp_path)
    with pytest.raises(DataError, match=r"sync.json: cannot be read: .*; `plait sync` makes it"):
        open_recording(folder)
    (folder / "sync.json").write_text('{"right_hand": {"offset_s": 1.0, "status": "unsure"}}')
    with pytest.raises(DataError, match="log 'right_hand' is unsure"):
        open_recording(folder)
    (folder / "sync.json").write_text("{}")
    with pytest.raises(DataError, match="says nothing of log 'right_hand'"):
        open_recording(folder)


def test_parquet_logs_in_epoch_nanoseconds_are_read_too(own, tmp_path):
    source = tmp_path / "mine"
    source.mkdir()
    (source / "a.mp4").write_bytes((own[0] / "GOPR0001.mp4").read_bytes())
    times = 1_700_000_000_000_000_000 + (np.arange(50) * 40_000_000)
    columns = {"time": times, **{f"acc_{axis}": np.ones(50) for axis in "xyz"}, "note": ["x"] * 50}
    pl.DataFrame(columns).write_parquet(source / "imu.parquet")
    folder, _ = ingest([source], tmp_path / "out", subject="s7")
    log = read_description(folder).logs["imu"]
    assert (log.time_unit, log.columns) == ("ns", ("acc_x", "acc_y", "acc_z"))
    assert read_description(folder).subject == "s7"


def test_the_command_line_from_files_to_clocks(own, tmp_path, capsys):
    app(["ingest", str(own[0]), "--out", str(tmp_path / "recordings")], standalone_mode=False)
    app(["sync", str(tmp_path / "recordings")], standalone_mode=False)
    told = capsys.readouterr().out
    assert "GOPR0001.mp4: the video, whose clock is everyone's" in told
    assert "anna 1  right_hand  sure  offset " in told
    app(["sync", str(tmp_path / "recordings"), "--offset", "right_hand=0.5"], standalone_mode=False)
    assert "right_hand  manual  offset +0.500 s" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="--offset right_hand: expected LOG=SECONDS"):
        app(["sync", str(tmp_path / "recordings"), "--offset", "right_hand"], standalone_mode=False)
    with pytest.raises(DataError, match="no recordings, expected folders with a recording.toml"):
        app(["sync", str(tmp_path)], standalone_mode=False)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200), st.text(alphabet='subjectvideo=".[]logs\n#{}1,', max_size=80).map(str.encode)
    )
)
def test_any_description_is_data_or_an_error_of_one_line(tmp_path, content):
    (tmp_path / "recording.toml").write_bytes(content)
    try:
        described = read_description(tmp_path)
    except PlaitError as error:
        assert str(error).startswith(str(tmp_path / "recording.toml"))
    else:
        assert described.subject is not None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200), st.text(alphabet='{}":offset_s1.eN[],driftpm', max_size=60).map(str.encode)
    )
)
def test_any_sync_file_is_data_or_an_error(tmp_path, content):
    (tmp_path / "sync.json").write_bytes(content)
    try:
        assert isinstance(read_sync(tmp_path), dict)
    except PlaitError as error:
        assert str(error).startswith(str(tmp_path / "sync.json"))


def test_a_template_finds_its_files(own, tmp_path):
    template = tmp_path / "mine.toml"
    template.write_text(
        'subject = ""\nvideo = "*.mp4"\nlabels = "*label*"\n[logs.right]\nfile = "*right*.csv"\n'
        'columns = ["a?"]\ntime = "Timestamp"\ntime_unit = "ms"\nacceleration = ["a?"]\n'
    )
    folder, told = ingest([own[0]], tmp_path / "out", template=str(template))
    assert read_description(folder).logs["right"].file == "Right Hand.csv"
    assert "Right Hand.csv: right" in told
    template.write_text(template.read_text().replace("*right*", "*left*"))
    with pytest.raises(
        DataError, match=r"mine.toml: right: expected exactly one file like '\*left\*.csv', got: none"
    ):
        ingest([own[0]], tmp_path / "other", template=str(template))
