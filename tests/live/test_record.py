"""What is recorded live is an ordinary recording of what was seen."""

import math
import signal
import subprocess
import sys
import warnings

import numpy as np
import polars as pl
import pytest
import torch

from plait.errors import ConfigError, DataError, PlaitWarning
from plait.live import cameras, record
from plait.live.cameras import Camera
from plait.live.cutter import Cutter
from plait.live.events import Arrived, Ended, Opening
from plait.live.pace import Pace
from plait.live.record import Recorder
from plait.live.replay import Replay
from plait.live.rings import LogRing
from plait.live.sheet import Sheet
from plait.recogniser.windows import Sliding, extents_of, seen
from plait.recordings.folder import Clock, open_recording, read_description, read_sync
from plait.recordings.ingest import ingest
from plait.recordings.synchronise import synchronise
from plait.types import Modality
from tests.live.films import film
from tests.live.world import MODALITIES, folder_of, plain

SLIDING = Sliding(2.0, 0.3)


class Given:
    """A source of events that are known."""

    def __init__(self, openings, events=()):
        self.openings, self.events = openings, events

    def __iter__(self):
        yield from self.events

    def close(self):
        pass


def windows_of(recording, until_s):
    """What is seen of a recording in windows that end before a moment."""
    windows = [window for window in SLIDING.windows(extents_of(recording, MODALITIES)) if window[1] < until_s]
    return {window.start_s: window.tensors for window in seen(recording, MODALITIES, windows)}


@pytest.mark.parametrize("seed", [201, 202, 203])
def test_a_replay_that_is_recorded_is_seen_alike(tmp_path, seed):
    folder = folder_of(tmp_path / "recording", seed)
    replay = Replay(folder, Pace(math.inf, 0.0))
    recorder = Recorder(tmp_path / "again", "1", [replay])
    for event in replay:
        recorder.arrived(event)
    recorder.close()
    before, after = open_recording(folder), open_recording(tmp_path / "again")
    assert after.streams.keys() == before.streams.keys()
    assert np.abs(after.streams["video"].times - before.streams["video"].times).max() <= 1e-3
    for name in ("left", "right"):
        assert np.array_equal(after.streams[name].log.times, before.streams[name].log.times)
        assert np.array_equal(after.streams[name].log.values, before.streams[name].log.values, equal_nan=True)
        assert after.streams[name].clock == before.streams[name].clock
    until_s = min(recording.streams["video"].ends[1] for recording in (before, after))
    known, found = windows_of(before, until_s), windows_of(after, until_s)
    assert found.keys() == known.keys()
    assert sum(map(len, known.values())) > 20
    for start_s, tensors in known.items():
        assert found[start_s].keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(found[start_s][name], tensor), (start_s, name)


def test_a_camera_and_a_log_on_the_sessions_clock(tmp_path):
    file = film(tmp_path / "film.mp4", "libx264", 30, {"bf": "2", "b_strategy": "0"})
    camera = Camera("video", f"file:{file}")
    log = Given([Opening("left", ("x", "time_s", "a, b", ""), max_gap_s=0.5)])
    recorder = Recorder(tmp_path / "recorded", "ann", [camera, log])
    pictures = [event for event in camera if isinstance(event, Arrived) and recorder.arrived(event) is None]
    origin_s = pictures[0].times[0]
    times = origin_s + np.arange(-5, 95) / 100 + 1e-7
    values = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    values[7, 2] = np.nan
    recorder.arrived(Arrived("left", times, values, times[-1]))
    recorder.close()
    described = read_description(tmp_path / "recorded")
    assert described.sha256.keys() == {"video.mkv", "left.csv"}
    assert read_sync(tmp_path / "recorded") == {"left": Clock(0.0)}
    recording = open_recording(tmp_path / "recorded")
    assert recording.subject == "ann"
    left = recording.streams["left"]
    assert left.log.names == ("x", "time_s 2", "a b", "4")
    assert left.log.max_gap_s == 0.5
    assert np.abs(left.times - (times - origin_s)).max() < 1e-8
    whole = np.isfinite(values)
    assert np.array_equal(left.log.values[whole], values[whole])
    video = recording.streams["video"]
    seen_s = np.concatenate([event.times for event in pictures]) - origin_s
    nearest = np.abs(video.times[:, None] - seen_s).argmin(axis=0)
    assert np.abs(video.times[nearest] - seen_s).max() <= 1e-3
    assert np.array_equal(video.at(video.times[nearest]), np.concatenate([e.values for e in pictures]))


def test_what_is_recorded_of_a_camera_is_what_the_session_saw(tmp_path, monkeypatch):
    monkeypatch.setattr(cameras, "BEHIND", 10_000)  # no picture is left out, however slow the machine
    monkeypatch.setattr(cameras, "LATE_S", 1e9)
    camera = Camera("video", f"file:{film(tmp_path / 'film.mp4', 'libx264', 75, {'bf': '2'})}")
    modality = Modality("video", ("video",), 5, 10.0, plain, None)
    recorder = Recorder(tmp_path / "recorded", "ann", [camera])
    cutter, found = Cutter([modality], camera.openings, Sliding(0.5, 0.1)), {}
    cutter.begin(0.0)
    for event in camera:
        recorder.arrived(event)
        cutter.feed(event)
        for window in cutter.ready(event.arrived_s):
            found[window] = cutter.cut(window).tensors
            cutter.forget(window)
    recorder.close()
    recording = open_recording(tmp_path / "recorded")
    windows = Sliding(0.5, 0.1).windows(extents_of(recording, [modality]))
    known = {window[:2]: window.tensors for window in seen(recording, [modality], windows)}
    assert len(found) > 15
    for window, tensors in found.items():
        assert torch.equal(tensors["video"], known[window]["video"]), window


def test_other_verbs_take_a_recording(tmp_path):
    camera = Camera("video", f"file:{film(tmp_path / 'film.avi', 'mjpeg', 30, form='yuvj420p')}")
    log = Given([Opening("left", ("x",), clock=Clock(-2.5, 40.0))])
    recorder = Recorder(tmp_path / "recorded", "ann", [camera, log])
    recorder.arrived(Arrived("left", np.arange(-300, -100) / 100, np.ones((200, 1), np.float32), 0.0))
    for event in camera:
        recorder.arrived(event)
    recorder.close()
    folder, notes = ingest([tmp_path / "recorded"], tmp_path / "data")
    assert "sync.json: taken as it is" in notes
    assert read_sync(folder) == {"left": Clock(-2.5, 40.0)}
    assert synchronise(folder)["left"].status == "manual"
    assert read_sync(folder) == {"left": Clock(-2.5, 40.0)}
    times = open_recording(folder).streams["left"].times
    assert np.allclose(times, Clock(-2.5, 40.0).video_s(np.arange(-300, -100) / 100), atol=1e-8)


def test_rows_are_in_order_and_late_ones_left_out(tmp_path):
    source = Given([Opening("video"), Opening("left", ("x",), disorder_s=0.05)])
    recorder = Recorder(tmp_path / "recorded", "ann", [source])
    own_s = [0.0, 0.02, 0.01, 0.03, 0.03, 0.1, 0.2, 0.19, 0.3]
    for number, time_s in enumerate(own_s):
        recorder.arrived(Arrived("left", np.array([time_s]), np.array([[number]], np.float32), time_s))
    recorder.arrived(Arrived("video", np.zeros(1), np.zeros((1, 224, 224, 3), np.uint8), 0.0))
    recorder.arrived(Arrived("video", np.ones(1), np.ones((1, 224, 224, 3), np.uint8), 1.0))
    recorder.close()
    log = open_recording(tmp_path / "recorded").streams["left"].log
    assert log.times.tolist() == [0.0, 0.01, 0.02, 0.03, 0.1, 0.19, 0.2, 0.3]
    assert log.values[:, 0].tolist() == [0, 2, 1, 3, 5, 7, 6, 8]
    assert recorder.sheets["left"].late == 1


def test_a_video_that_begins_late_begins_the_recording(tmp_path):
    source = Given([Opening("video", clock=Clock(0.0)), Opening("left", ("x",), clock=Clock(1.0))])
    recorder = Recorder(tmp_path / "recorded", "ann", [source])
    recorder.arrived(Arrived("left", np.arange(10.0), np.arange(10, dtype=np.float32)[:, None], 9.0))
    for time_s in (2.0, 3.0):
        recorder.arrived(Arrived("video", np.array([time_s]), np.zeros((1, 224, 224, 3), np.uint8), time_s))
    recorder.close()
    recording = open_recording(tmp_path / "recorded")
    assert recording.streams["video"].times.tolist() == [0.0, 1.0]
    assert recording.streams["left"].times.tolist() == list(np.arange(10.0) - 3.0)


def test_a_log_that_cannot_be_read_is_said_and_left_out(tmp_path):
    source = Given([Opening("video"), Opening("left", ("x", "y")), Opening("right", ("x",))])
    recorder = Recorder(tmp_path / "recorded", "ann", [source])
    recorder.arrived(Arrived("video", np.zeros(1), np.zeros((1, 224, 224, 3), np.uint8), 0.0))
    recorder.arrived(Arrived("video", np.ones(1), np.zeros((1, 200, 200, 3), np.uint8), 1.0))
    recorder.arrived(Arrived("left", np.arange(3.0), np.array([[1, math.nan]] * 3, np.float32), 2.0))
    with pytest.warns(PlaitWarning) as said:
        recorder.close()
    lines = "\n".join(str(warning.message) for warning in said)
    assert "left is not part of the recording: some of its columns never held a number" in lines
    assert "right is not part of the recording: nothing came" in lines
    assert "1 readings or pictures of another size are not part of the recording" in lines
    assert open_recording(tmp_path / "recorded").streams.keys() == {"video"}


def test_without_a_picture_there_is_no_recording(tmp_path):
    recorder = Recorder(tmp_path / "recorded", "ann", [Given([Opening("video"), Opening("left", ("x",))])])
    recorder.arrived(Arrived("left", np.arange(3.0), np.ones((3, 1), np.float32), 2.0))
    recorder.arrived(Ended("left", None, 3.0))
    with pytest.warns(PlaitWarning, match="no recording, for no picture came"):
        recorder.close()


@pytest.mark.parametrize("names", [(), ("front",), ("video", "front")])
def test_a_recording_has_one_video(tmp_path, names):
    with pytest.raises(ConfigError, match="one video, called 'video', got"):
        Recorder(tmp_path / "recorded", "ann", [Given([Opening(name) for name in names])])


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds files"):
        Recorder(tmp_path, "ann", [Given([Opening("video")])])


def test_two_logs_are_told_apart(tmp_path):
    source = Given([Opening("video"), Opening("left", ("x",)), Opening("Left", ("x",))])
    with pytest.raises(ConfigError, match="nearly alike"):
        Recorder(tmp_path / "recorded", "ann", [source])


def test_who_waits_for_room_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "MOST_BYTES", 200_000)  # of one picture
    recorder = Recorder(tmp_path / "recorded", "ann", [Given([Opening("video")])], waits=True)
    for number in range(20):
        picture = np.full((1, 224, 224, 3), number, np.uint8)
        recorder.arrived(Arrived("video", np.array([number / 10]), picture, number / 10))
    recorder.close()
    video = open_recording(tmp_path / "recorded").streams["video"]
    assert np.array_equal(video.at(video.times)[:, 0, 0, 0], np.arange(20))


def test_what_is_too_much_is_counted_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "MOST_BYTES", 1000)
    recorder = Recorder(tmp_path / "recorded", "ann", [Given([Opening("video"), Opening("left", ("x",))])])
    recorder.arrived(Arrived("video", np.zeros(1), np.zeros((1, 224, 224, 3), np.uint8), 0.0))
    with pytest.warns(PlaitWarning, match="no picture came"):
        recorder.close()
    assert recorder.left_out == 1


def test_what_cannot_be_written_ends_the_session(tmp_path):
    source = Given([Opening("video"), Opening("left", ("x",))])
    recorder = Recorder(tmp_path / "recorded", "ann", [source])
    (tmp_path / "recorded" / "left.csv").mkdir()  # where the log should be
    recorder.arrived(Arrived("video", np.zeros(1), np.zeros((1, 224, 224, 3), np.uint8), 0.0))
    recorder.arrived(Arrived("left", np.arange(3.0), np.ones((3, 1), np.float32), 2.0))
    with pytest.raises(DataError, match="left.csv: cannot be written"):
        recorder.close()


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
import polars as pl
from plait.live.events import Arrived, Opening
from plait.live.record import Recorder

class Source:
    openings = (Opening("video"), Opening("left", ("x", "y")))

folder = Path(sys.argv[1])
recorder = Recorder(folder, "ann", [Source()])
rng = np.random.default_rng(0)
for number in range(100):
    time_s = 1000 + number / 20
    picture = rng.integers(0, 255, (1, 224, 224, 3), dtype=np.uint8)
    recorder.arrived(Arrived("video", np.array([time_s]), picture, time_s))
    recorder.arrived(Arrived("left", np.array([time_s]), np.full((1, 2), number, np.float32), time_s))
written = lambda: (folder / "left.csv").read_text().count("\\n") == 101
made = lambda: (folder / "sync.json").exists() and (folder / "recording.toml").exists()
while recorder._bytes or not made() or not written():
    time.sleep(0.05)
print("written", flush=True)
time.sleep(600)
"""


def test_who_kills_it_loses_the_last_second_at_most(tmp_path):
    folder = tmp_path / "recorded"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlaitWarning)  # the file ends within a packet, perhaps
        made, _ = ingest([folder], tmp_path / "data")
        recording = open_recording(made)
        times = recording.streams["video"].times
        pictures = recording.streams["video"].at(times)
    assert times[0] == 0
    assert 4.95 - times[-1] < 1.0
    assert len(pictures) == len(times)
    rng = np.random.default_rng(0)
    for number, picture in enumerate(pictures):
        assert np.abs(times[number] - number / 20) <= 1e-3
        assert np.array_equal(picture, rng.integers(0, 255, (1, 224, 224, 3), dtype=np.uint8)[0])
    assert recording.streams["left"].log.values[:, 0].tolist() == list(range(100))
    assert np.allclose(recording.streams["left"].times, np.arange(100) / 20, atol=1e-8)


@pytest.mark.parametrize("disorder_s", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(5))
def test_what_comes_too_late_for_the_session_is_not_recorded_either(tmp_path, seed, disorder_s):
    rng = np.random.default_rng(seed)
    opening = Opening("left", ("x",), disorder_s=disorder_s)
    sheet, ring = Sheet(tmp_path, opening), LogRing(opening)
    times = np.arange(60) / 50
    order = np.argsort(times + rng.uniform(0, 0.4, len(times)))
    for batch in np.array_split(times[order], 25):
        for each in (sheet, ring):
            each.add(batch, batch[:, None].astype(np.float32))
    ring.end(None)
    sheet.write(0.0, last=True)
    written = pl.read_csv(sheet.file)["time_s"].to_numpy()
    np.testing.assert_allclose(written, ring.own_s)
    assert sheet.late == ring.late > 0
