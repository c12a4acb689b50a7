"""What `--stream` says."""

import threading
from pathlib import Path

import numpy as np
import pytest

from plait.errors import ConfigError, DataError, PlaitError
from plait.live import addresses
from plait.live.addresses import is_replay, modules_of, parse, sources_of
from plait.live.csv_tail import Tail
from plait.live.own import Own
from plait.live.pace import Pace
from plait.live.replay import Replay
from plait.trust import Trust

LOG = "t_ms,acc x,y\n" + "".join(f"{20 * i},{i * i % 7},{np.sin(i):.3f}\n" for i in range(100))


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("glove.csv").write_text(LOG)
    Path("mine_of_addresses.py").write_text("def left():\n    yield from ()\nleft.names = ('x',)\n")
    return tmp_path


def test_each_address_gives_its_source(files):
    every = ["left=csv:glove.csv?unit=ms&columns=acc%20x,y&scale=2", "right=mine_of_addresses:left"]
    trust = Trust(frozenset({"mine_of_addresses"}))
    left, right = sources_of(every, Pace(), trust)
    assert isinstance(left, Tail) and left.openings[0].names == ("acc x", "y") and left.log.scale == 2
    assert isinstance(right, Own) and right.openings[0].stream == "right"
    assert modules_of(every) == ["mine_of_addresses:left"] and not any(map(is_replay, every))
    for source in (left, right):
        source.close()


def test_a_camera_is_given_its_whole_address(monkeypatch):
    monkeypatch.setattr("plait.live.cameras.Camera", lambda *given: given)
    every = ["video=camera:/dev/video0?fps=30", "side=rtsp://user:word@host/a=b?c", "top=file:a.mp4"]
    found = sources_of(every, Pace())
    assert found == [tuple(text.split("=", 1)) for text in every]


def test_options_are_settings_of_a_log():
    said = parse('left=csv:a.csv?columns=["a,b","c"]&missing=-9999&rate_hz=50&where.id=1&decimal=,&unit=1000')
    assert said.place == "a.csv"
    assert addresses._settings(said.options) == {
        "columns": ("a,b", "c"),
        "missing": ("-9999",),
        "rate_hz": 50,
        "where": {"id": "1"},
        "decimal": ",",
        "time_unit": 1000,
    }
    said = parse(
        'left=csv:a.csv?circular.yaw=[-180,180]&circular.b=false&held=mode&quaternions=[["w","x","y","z"]]'
    )
    assert addresses._settings(said.options) == {
        "circular": {"yaw": [-180, 180], "b": False},
        "held": ("mode",),
        "quaternions": [["w", "x", "y", "z"]],
    }


def test_streams_of_a_recording_are_one_source(monkeypatch):
    made = []
    monkeypatch.setattr(Replay, "__init__", lambda self, *given: made.append(given))
    pace = Pace(begins_s=0.0)
    for every in (["replay:runs/a"], ["video=replay:runs/a", "left=replay:runs/../runs/a"]):
        [source] = sources_of(every, pace)
        assert isinstance(source, Replay) and all(map(is_replay, every))
    assert made == [(Path("runs/a"), pace, None), (Path("runs/a"), pace, ["video", "left"])]


@pytest.mark.parametrize(
    ("every", "line"),
    [
        ([], "no --stream, expected NAME=ADDRESS"),
        (["left"], "--stream left: expected NAME=ADDRESS, where ADDRESS is camera:DEVICE"),
        (["lsl:Glove"], "--stream lsl:Glove: expected NAME=ADDRESS"),
        (["left="], "expected NAME=ADDRESS"),
        (["left=Glove"], "expected an address: camera:DEVICE"),
        (["left=lsl:"], "expected an address"),
        (["=lsl:Glove"], "'' is no name of a stream"),
        (["a b=lsl:Glove"], "'a b' is no name of a stream"),
        (["left=blue-tooth:Glove"], "'blue-tooth' is no kind of address, expected camera:DEVICE"),
        (["left=csv:glove.csv", "left=lsl:Glove"], "stream 'left' is said twice"),
        (["replay:a", "replay:b"], "a whole recording is said twice"),
        (["replay:a", "left=lsl:Glove"], "replay: beside what happens now"),
        (["video=replay:a", "left=replay:b"], "another recording than the first"),
        (["replay:a", "left=replay:a"], "a whole recording beside some of its streams"),
        (["replay:nowhere"], "nowhere"),
        (["left=csv:glove.csv?colour=red"], "no option 'colour', expected one of: time"),
        (["left=csv:glove.csv?unit"], "option 'unit', expected KEY=VALUE"),
        (["left=csv:glove.csv?unit=weeks"], "time_unit.*'iso' or 'timecode'"),
        (["left=csv:glove.csv?columns=z"], "no column 'z'"),
        (["left=csv:glove.mp4"], r"expected a \.csv"),
        (["left=csv:glove.csv?sync=none/sync.json"], "cannot be read"),
        (["left=lsl:Glove?speed=2"], "no option 'speed', expected one of: source_id"),
        (["left=lsl:Glove?clock=sun"], "clock is 'sun'"),
        (["left=os:system"], "--trust os"),
        (["left=mine_of_addresses:left"], "--trust mine_of_addresses"),
    ],
)
def test_each_fault_is_one_line(files, every, line):
    with pytest.raises(PlaitError, match=line) as refused:
        sources_of(every, Pace())
    assert "\n" not in str(refused.value)


def test_sources_before_one_that_cannot_be_opened_are_closed(files, monkeypatch):
    closed = threading.Event()
    monkeypatch.setattr(Tail, "close", lambda self: closed.set())
    with pytest.raises(ConfigError, match="--trust"):
        sources_of(["left=csv:glove.csv", "right=mine_of_addresses:left"], Pace())
    assert closed.is_set()


def test_a_file_that_is_not_there_is_said(files, monkeypatch):
    monkeypatch.setattr("plait.live.csv_tail.TIMEOUT_S", 0.0)
    with pytest.raises(DataError, match=r"missing\.csv: no such file within 0 s"):
        sources_of(["left=csv:missing.csv"], Pace())
