"""A replay as fast as possible is `plait predict`, byte for byte; else windows are scored or counted."""

import gc
import json
import math
import time
from dataclasses import asdict, replace
from threading import Event as Flag
from threading import Thread
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from plait.cli.live import summary
from plait.errors import ConfigError, DataError, PlaitWarning
from plait.live.events import Arrived, Ended, Opening
from plait.live.keep import SESSION, Keeper
from plait.live.openings import check_openings, completed
from plait.live.pace import Pace
from plait.live.replay import Replay
from plait.live.session import WAITING, Session
from plait.live.sheet import Sheet
from plait.recogniser.model import MODEL, read_facts
from plait.recogniser.predict import plan, predict, prediction_key, whole
from plait.recogniser.recogniser import Recogniser
from plait.recogniser.windows import Sliding
from plait.recordings.between import Between
from plait.recordings.folder import Clock, open_recording
from plait.store import write_toml
from plait.trust import Trust
from tests.live.world import folder_of, model


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    folder = model(tmp_path_factory.mktemp("live") / "model", lead="video")
    return Recogniser.load(folder, trust=Trust({"tests"}))


@pytest.mark.filterwarnings("ignore:.*predicted without:plait.errors.PlaitWarning")
@pytest.mark.parametrize("seed", range(100, 105))
def test_a_replay_leaves_what_predict_leaves(recogniser, tmp_path, seed):
    folder = folder_of(tmp_path / "recording", seed)
    sliding = Sliding(2.0, 0.3)
    tasks = plan(recogniser, [open_recording(folder)], sliding)
    predict(recogniser, tasks, sliding, tmp_path / "predicted")
    session = Session(recogniser, [Replay(folder, pace := Pace(math.inf, 0.0))], pace)
    keeper = Keeper(tmp_path / "live", session, "recording")
    session.listeners.append(keeper)
    session.run()
    keeper.tell()
    keeper.finish(whole(tasks[0], list(recogniser.modalities.values())), prediction_key(recogniser, tasks)[0])
    files = {path.name: path.read_bytes() for path in (tmp_path / "predicted").iterdir() if path.is_file()}
    live = {path.name: path.read_bytes() for path in (tmp_path / "live").iterdir() if path.is_file()}
    assert session.scored > 5
    assert session.skipped == 0
    assert {name for name in files if files[name] != live.get(name)} <= {".lock"}
    assert live.keys() == files.keys() - {".lock"} | {SESSION}


def test_a_stride_that_leaves_time_between_windows_is_said(recogniser, tmp_path):
    folder = folder_of(tmp_path / "recording", 100)
    with pytest.warns(PlaitWarning, match=r"live: windows of 2 s, 5 s apart: nothing is seen in 3 s between"):
        Session(recogniser, [Replay(folder, pace := Pace(math.inf, 0.0))], pace, stride_s=5.0)


class Slow:
    """A listener that takes its time, and counts."""

    def __init__(self, seconds):
        self.seconds, self.windows, self.ended = seconds, [], set()

    def arrived(self, event):
        if isinstance(event, Ended):
            self.ended.add(event.stream)

    def scored(self, scored):
        time.sleep(self.seconds)
        self.windows.append((scored.start_s, scored.stop_s))


def test_at_a_pace_every_window_is_scored_or_counted(recogniser, tmp_path):
    folder = folder_of(tmp_path / "recording", 101)
    seen_of, counts = {}, {}
    for name, pace, wait_s in (("fast", Pace(math.inf, 0.0), 0.0), ("slow", Pace(40.0, 0.0), 0.1)):
        session = Session(recogniser, [Replay(folder, pace)], pace, listeners=[slow := Slow(wait_s)])
        session.run()
        seen_of[name] = slow.windows
        counts[name] = session.scored + session.skipped + session.unseen
        assert slow.ended == {"video", "left", "right"}
        assert len(slow.windows) == session.scored
    assert counts["slow"] == counts["fast"]
    assert len(seen_of["slow"]) < len(seen_of["fast"])
    assert set(seen_of["slow"]) <= set(seen_of["fast"])


def test_a_session_ends_when_it_is_told_to_or_when_a_source_fails(recogniser, tmp_path):
    folder = folder_of(tmp_path / "recording", 102)
    session = Session(recogniser, [Replay(folder, pace := Pace(1.0, 0.0))], pace)
    session.run(seconds=0.5)
    assert session.scored == 0

    class Failing(Replay):
        def __iter__(self):
            for number, event in enumerate(super().__iter__()):
                if number == 50:
                    raise DataError("a sensor's own trouble")
                yield event

    for speed in (20.0, math.inf):
        session = Session(recogniser, [Failing(folder, pace := Pace(speed, 0.0))], pace)
        with pytest.raises(DataError, match="a sensor's own trouble"):
            session.run()


def test_what_cannot_be_seen_live_is_one_line(recogniser, tmp_path):
    folder = folder_of(tmp_path / "recording", 103)
    pace = Pace(math.inf, 0.0)
    with pytest.raises(DataError, match="no stream 'nose', expected one of: video, left, right"):
        Replay(folder, pace, ["nose"])
    with pytest.raises(ConfigError, match="sees nothing without video"):
        Session(recogniser, [Replay(folder, pace, ["left"])], pace)
    with pytest.raises(ConfigError, match="two sources give the stream 'left'"):
        Session(recogniser, [Replay(folder, pace), Replay(folder, pace, ["left"])], pace)


class Seen(Slow):
    """Which sensors were there in each window."""

    def scored(self, scored):
        self.windows.append((scored.start_s, scored.seen))


def test_a_replay_that_is_held_up_loses_no_sensor(recogniser, tmp_path):
    folder = folder_of(tmp_path / "recording", 105)

    class HeldUp(Replay):
        def __iter__(self):
            due_s = 3.0
            for event in super().__iter__():
                if event.arrived_s > due_s and self.pace.waits:
                    time.sleep(0.2)
                    due_s += 1.5
                yield event

    seen_of = []
    for speed in (math.inf, 20.0):
        session = Session(recogniser, [HeldUp(folder, pace := Pace(speed, 0.0))], pace)
        session.listeners.append(seen := Seen(0.0))
        session.run()
        seen_of.append(dict(seen.windows))
        assert session.through == (session.skipped == 0)
    assert seen_of[1].items() <= seen_of[0].items()


@pytest.mark.filterwarnings("ignore:.*predicted without:plait.errors.PlaitWarning")
def test_what_was_not_seen_to_its_end_is_not_taken_for_the_whole(recogniser, tmp_path):
    folder = folder_of(tmp_path / "recording", 105)
    sliding = Sliding(2.0, 0.3)
    tasks = plan(recogniser, [open_recording(folder)], sliding)
    known = whole(tasks[0], list(recogniser.modalities.values()))
    known = replace(known, labels=((0.0, 1.0, "one"), (3.0, 9.0, "two"), (9.0, 11.0, "one")))
    session = Session(recogniser, [Replay(folder, pace := Pace(math.inf, 0.0))], pace)
    session.listeners.append(keeper := Keeper(tmp_path / "live", session, "recording"))
    session.run(seconds=5.0)
    keeper.finish(known, "of the whole")
    told = json.loads((tmp_path / "live" / "predict.json").read_text())
    (seen,) = told["recordings"].values()
    assert not session.through
    assert told["key"] == ""
    assert 4.0 < seen["stop_s"] <= 5.0
    assert [label[:2] for label in seen["labels"]] == [[0.0, 1.0], [3.0, seen["stop_s"]]]
    again = predict(recogniser, tasks, sliding, tmp_path / "live")
    assert again.recordings["recording"].stop_s == known.stop_s


def test_what_sources_leave_out_is_told(recogniser, tmp_path):
    folder = folder_of(tmp_path / "recording", 105)

    class Losing(Replay):
        dropped = 7

    session = Session(recogniser, [Losing(folder, pace := Pace(math.inf, 0.0))], pace)
    session.run()
    assert session.told()["left_out"] == {"video": 7}
    assert "left out by their sources: video 7" in list(summary(session))
    session = Session(recogniser, [Replay(folder, pace := Pace(math.inf, 0.0))], pace)
    assert session.told()["left_out"] == {}


class Given:
    """A source whose readings are given; those of a stream that never comes, none."""

    def __init__(self, stream, names=(), events=(), stubborn=False, **opening):
        self.openings = (Opening(stream, names, **opening),)
        self.events, self.stubborn, self.closed = events, stubborn, Flag()

    def __iter__(self):
        for event in self.events:
            yield event
            if self.closed.is_set():
                return
        self.closed.wait(60 if self.stubborn else None)
        if self.stubborn:
            time.sleep(60)

    def close(self):
        if not self.stubborn:
            self.closed.set()


def pictures(pace, count=200, every_s=0.05):
    """A camera's pictures, as they come."""
    for _ in range(count):
        now_s = pace.now()
        yield Arrived("video", np.array([now_s]), np.zeros((1, 224, 224, 3), np.uint8), now_s)
        time.sleep(every_s)


@pytest.mark.parametrize(
    ("clock", "goes_on"),
    [(None, "windows are scored without"), (Clock(2.0), "no window is scored before it")],
)
def test_who_never_comes_is_named(recogniser, monkeypatch, clock, goes_on):
    monkeypatch.setattr("plait.live.session.FIRST_S", 0.5)
    pace, columns = Pace(), ("x", "y", "z")
    sources = [Given("video", rate_hz=20.0, events=() if clock else pictures(pace))]
    sources += [Given("left", columns, clock=clock), Given("right", columns)]
    session = Session(recogniser, sources, pace, patience_s=0.3)
    missing = "video, left, right" if clock else "left, right"
    with pytest.warns(PlaitWarning, match=f"live: {missing}: nothing has come in 0.5 s; .*{goes_on}"):
        session.run(seconds=1.5)


def test_a_source_that_does_not_end_when_it_is_closed_does_not_keep_a_session(recogniser, monkeypatch):
    monkeypatch.setattr("plait.live.session.CLOSING_S", 0.3)
    pace = Pace()
    sources = [Given("video", rate_hz=20.0, events=pictures(pace)), Given("left", ("x",), stubborn=True)]
    session = Session(recogniser, sources, pace)
    running = Thread(target=session.run, daemon=True)
    running.start()
    time.sleep(0.5)
    session.stop()
    running.join(50)
    assert not running.is_alive()


def test_who_gives_more_than_is_taken_has_to_wait(recogniser, monkeypatch):
    """Else what waits grows without end."""
    pace, asked = Pace(), [0]

    def endless():
        while True:
            asked[0] += 1
            now_s = pace.now()
            yield Arrived("video", np.array([now_s]), np.zeros((1, 224, 224, 3), np.uint8), now_s)

    class Busy(Slow):
        def arrived(self, event):
            held.wait(60)

    held = Flag()
    source = Given("video", rate_hz=20.0, events=endless())
    session = Session(recogniser, [source], pace, listeners=[Busy(0.0)])
    running = Thread(target=session.run, daemon=True)
    running.start()
    before = -1
    while asked[0] != before or not asked[0]:  # until it no longer moves
        before = asked[0]
        time.sleep(0.3)
    assert asked[0] <= WAITING + 3
    session.stop()
    held.set()
    running.join(50)
    assert not running.is_alive()


def test_scores_that_are_no_numbers_are_said_and_left_out(recogniser, tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "recording", 105)
    whole = Session(recogniser, [Replay(folder, pace := Pace(math.inf, 0.0))], pace)
    whole.run()
    scores = recogniser.scores

    def broken(tensors, features, count=iter(range(10**6))):
        return scores(tensors, features) * (np.nan if next(count) in (3, 5) else 1)

    monkeypatch.setattr(recogniser, "scores", broken)
    session = Session(recogniser, [Replay(folder, pace := Pace(math.inf, 0.0))], pace)
    session.listeners.append(slow := Slow(0.0))
    with pytest.warns(PlaitWarning, match="its scores are no numbers; left out") as said:
        session.run()
    assert len([one for one in said if "no numbers" in str(one.message)]) == 1
    assert session.unseen == whole.unseen + 2
    assert len(slow.windows) == session.scored == whole.scored - 2


def test_nothing_large_waits_for_circles_to_be_sought(recogniser, tmp_path):
    """What only the cycle collector frees stays for as long as it likes: memory grows without a leak."""
    folder = folder_of(tmp_path / "recording", 105)
    session = Session(recogniser, [Replay(folder, pace := Pace(math.inf, 0.0))], pace)
    gc.collect()
    before = gc.get_debug()
    gc.disable()
    try:
        session.run()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = {type(one) for one in gc.garbage}
    finally:
        gc.set_debug(before)
        gc.garbage.clear()
        gc.enable()
    assert session.scored > 5
    assert not kinds & {av.VideoFrame, np.ndarray, torch.Tensor}


class Failing(Given):
    """One that fails after some readings."""

    def __iter__(self):
        yield from self.events
        raise DataError("left: unplugged")


def readings(pace, count, late_s=0.0):
    """A log's readings, so late."""
    for _ in range(count):
        now_s = pace.now()
        yield Arrived("left", np.array([now_s - late_s]), np.ones((1, 3), np.float32), now_s)
        time.sleep(0.02)


@pytest.mark.parametrize("count", [0, 30])
def test_a_sensor_that_fails_later_does_not_end_the_others(recogniser, count):
    pace, columns, said = Pace(), ("x", "y", "z"), []
    sources = [Given("video", rate_hz=20.0, events=pictures(pace))]
    sources += [Failing("left", columns, events=readings(pace, count), rate_hz=50.0)]
    session = Session(recogniser, sources, pace, patience_s=0.5, say=said.append)
    if not count:
        with pytest.raises(DataError, match="unplugged"):
            session.run(seconds=3)
        return
    with pytest.warns(PlaitWarning, match="live: left: unplugged: goes on without"):
        session.run(seconds=3.5)
    assert session.scored > 3
    assert any("left has ended" in line for line in said)


def test_readings_that_come_too_late_are_said_with_what_helps(recogniser):
    pace, said = Pace(), []
    left = Given("left", ("x", "y", "z"), events=readings(pace, 170, late_s=1.0), rate_hz=50.0)
    sources = [Given("video", rate_hz=20.0, events=pictures(pace)), left]
    session = Session(recogniser, sources, pace, patience_s=0.2, say=said.append)
    session.run(seconds=4)
    assert session.told()["late"]["left"] > 0
    assert [line for line in said if "left: readings come 1." in line and "--patience" in line]


def test_columns_that_the_model_does_not_know_are_refused():
    facts = SimpleNamespace(
        columns={"left": ("x", "y", "z")},
        sensors={"video": SimpleNamespace(streams=("video",)), "left": SimpleNamespace(streams=("left",))},
    )
    video, left = Opening("video"), Opening("left", ("x", "y", "z"))
    check_openings(facts, [video, left], recorded=False)
    check_openings(facts, [video, left, Opening("phone", ("a",))], recorded=True)
    for openings, kind, line in [
        ([Opening("phone", ("a",))], ConfigError, "no sensor has a stream 'phone'"),
        ([Opening("left")], ConfigError, "left gives pictures, expected readings of x, y, z"),
        ([Opening("video", ("x",))], ConfigError, "video gives readings of x, expected pictures"),
        ([Opening("left", ("y", "x", "z"))], DataError, r"left are y, x, z; of .*, x, y, z: .*\?columns="),
        ([Opening("left", ("x", "y", "z", "t"))], DataError, "expected the same in the same order"),
    ]:
        with pytest.raises(kind, match=line):
            check_openings(facts, openings, recorded=False)
    with pytest.warns(PlaitWarning, match="left are a, b, c; of .*: taken for the same, by their places"):
        check_openings(facts, [Opening("left", ("a", "b", "c"))], recorded=False)


def test_a_model_knows_angles_of_which_a_stream_says_nothing():
    known = Between(((1, -180.0, 180.0),), (), (2,))
    facts = SimpleNamespace(between={"left": known})
    own = Between(((0, 0.0, 360.0),), linear=(1,))
    openings = [Opening("video"), *(Opening("left", ("a", "b", "c"), between=b) for b in (Between(), own))]
    both = Between(((0, 0.0, 360.0),), held=(2,), linear=(1,))
    assert [one.between for one in completed(facts, openings)] == [Between(), known, both]


def test_a_recording_says_of_its_angles_what_the_session_knows(tmp_path):
    between = Between(((1, -180.0, 180.0),), ((3, 4, 5, 6),), (2,))
    names = ("a", "yaw", "mode", "w", "x", "y", "z")
    described = Sheet(tmp_path, Opening("left", names, between=between)).described
    assert described.log().named.of(names) == between


def test_a_model_keeps_what_it_knows_of_angles(tmp_path):
    between = Between(((1, -180.0, 180.0),), ((3, 4, 5, 6),), (2,))
    facts = replace(
        read_facts(model(tmp_path / "model", lead="video")), between={"left": between, "right": Between()}
    )
    write_toml(tmp_path / "model" / MODEL, asdict(facts))
    again = read_facts(tmp_path / "model").between
    assert again["left"] == between and not again.get("right", Between())
