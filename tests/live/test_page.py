"""What a page is told of a session: all there is, once, and never more than a client takes."""

import http.client
import json
import struct
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from plait.fusion.attention import attentions
from plait.live.events import Arrived, Ended
from plait.live.latency import Latency
from plait.live.light import Light
from plait.live.page import AHEAD, Client, Page, _text, serve_page
from plait.live.session import Scored
from plait.live.shown import BINS, BINS_HZ, MOST_COLUMNS, Picture, Trace
from plait.recordings.folder import Clock
from plait.report.cases import lit
from tests.live.stage import ACTIVITIES, COLUMNS, HEIGHT, WIDTH, Played


@contextmanager
def played(method="led", **where):
    """A session that runs, and its page."""
    playing = Played(method)
    serving = serve_page(playing.session, port=0, **where)
    try:
        with playing:
            yield playing, serving
    finally:
        serving.close()


@contextmanager
def client(serving, **options):
    """Somebody who looks: what they are told until something holds."""
    address = serving.address.replace("http://", "ws://").partition("?")[0] + "live"
    with connect(address, **options) as websocket:

        def until(holds, answer=True):
            told = []
            while True:
                said = websocket.recv(timeout=60)
                told.append(json.loads(said, parse_constant=pytest.fail) if isinstance(said, str) else said)
                if answer and isinstance(said, str) and told[-1]["kind"] == "now":
                    with suppress(ConnectionClosed):  # what has been said before is still read
                        websocket.send(json.dumps({"got": told[-1]["n"]}))
                if holds(told[-1]):
                    return told

        yield websocket, until


def has(key, **also):
    """Whether a message of what is new has something of that name."""
    return lambda said: isinstance(said, dict) and bool(said.get(key)) and also.items() <= said.items()


def sees(*sensors):
    """Whether a message tells of a window in which these were seen."""
    return lambda said: has("windows")(said) and said["windows"][-1]["seen"] == list(sensors)


def test_all_that_happens_is_told_once():
    with played() as (playing, serving), client(serving) as (_, until):
        opening, *_, last = until(sees("video", "left", "right"))
        assert opening["kind"] == "opening" and opening["activities"] == list(ACTIVITIES)
        assert opening["videos"] == ["video"] and opening["attention"]
        assert opening["logs"] == {name: list(columns) for name, columns in COLUMNS.items()}
        assert opening["sensors"] == {name: [name] for name in ("video", "left", "right")}
        window = last["windows"][-1]
        assert window["predicted"] == ACTIVITIES[0] and sum(window["scores"]) == pytest.approx(1, abs=0.01)
        assert window["stop_s"] - window["start_s"] == 1.0 and window["seen"] == ["video", "left", "right"]
        assert set(last["streams"]) == {"video", "left", "right"} and last["latency_ms"][0] > 0
        playing.says = ACTIVITIES[3]
        told = until(lambda said: has("windows")(said) and said["windows"][-1]["predicted"] == ACTIVITIES[3])
        for _ in range(4):
            told += until(lambda said: isinstance(said, bytes))
        news = [said for said in [last, *told] if isinstance(said, dict)]
        assert [said["n"] for said in news] == list(range(last["n"], last["n"] + len(news)))
        starts = [window["start_s"] for said in news for window in said["windows"]]
        assert starts == sorted(set(starts))
        assert all(said["clock_s"] >= before["clock_s"] for before, said in pairwise(news))
        bins = [
            place for said in news if "left" in said["signals"] for place in said["signals"]["left"]["bins"]
        ]
        assert set(np.diff(sorted(set(bins)))) == {1}  # of 100 readings a second, some in every fiftieth
        pictures = [said for said in told if isinstance(said, bytes)]
        times = [struct.unpack("<Bd", picture[:9]) for picture in pictures]
        assert (
            all(place == 0 for place, _ in times) and len({time_s for _, time_s in times}) == len(times) > 3
        )
        assert Image.open(BytesIO(pictures[-1][9:])).size == (WIDTH, HEIGHT)


def test_a_sensor_that_dies_is_said_to_be_silent():
    with played() as (playing, serving), client(serving) as (_, until):
        until(has("windows"))
        playing.stage.dead.add("left")
        *_, last = until(
            lambda said: has("windows")(said) and said["windows"][-1]["seen"] == ["video", "right"]
        )
        assert last["streams"]["left"]["silent_s"] > 0.5 > last["streams"]["right"]["silent_s"]
        playing.stage.dead.clear()
        until(lambda said: has("windows")(said) and "left" in said["windows"][-1]["seen"])


def test_who_sleeps_is_told_no_more_and_keeps_nobody_waiting():
    with played() as (_, serving), client(serving) as (_, asleep), client(serving) as (_, awake):
        asleep(has("n", n=AHEAD), answer=False)
        last = awake(has("n", n=40))[-1]
        assert last["n"] == 40
        first, second = serving.page.clients
        assert first.sent == AHEAD and second.sent >= 40
        page = serving.page
        assert len(page._windows) < 200 and len(page._pictures) == len(page._jpegs) == 1
        assert all(trace._low.shape == (BINS, trace.columns) for trace in page._traces.values())


def test_who_wakes_up_is_told_the_newest():
    with played() as (_, serving), client(serving) as (websocket, asleep), client(serving) as (_, awake):
        before = asleep(has("n", n=AHEAD), answer=False)
        seen = [window for said in before if has("windows")(said) for window in said["windows"]]
        told = awake(has("n", n=60))
        websocket.send(json.dumps({"got": AHEAD}))
        (*pictures, after) = asleep(has("n", n=AHEAD + 1))
        assert len(pictures) == 1 and isinstance(pictures[0], bytes)
        assert after["clock_s"] >= told[-1]["clock_s"] and len(after["windows"]) > 3
        starts = [window["start_s"] for window in [*seen, *after["windows"]]]
        everything = [
            window["start_s"] for said in told if has("windows")(said) for window in said["windows"]
        ]
        assert starts[: len(everything)] == everything  # of half a minute


def test_attention_is_told_to_who_asks_and_found_out_for_nobody_else():
    with played() as (_, serving), client(serving) as (websocket, until):
        quiet = until(has("windows"))
        light = serving.page._light
        assert (
            not light.wanted
            and light._last is None
            and not any("light" in s for s in quiet if isinstance(s, dict))
        )
        websocket.send(json.dumps({"attention": True}))
        found = until(has("light"))[-1]["light"]
        assert found["stop_s"] - found["start_s"] == 1.0
        assert found["lit"]["video"]["shape"] == [5, 6, 6] and len(found["lit"]["video"]["values"]) == 180
        assert found["lit"]["left"]["shape"] == [10] and max(found["lit"]["left"]["values"]) == 255
        websocket.send(json.dumps({"attention": False}))
        for _ in range(3):
            until(has("windows"))
        assert not light.wanted and not light._made
        websocket.send(json.dumps({"attention": True}))
        until(has("light"))
    assert not serving.page._light.wanted  # they have gone


def test_a_model_without_attention_says_so():
    with played("concat") as (_, serving), client(serving) as (websocket, until):
        assert not until(has("windows"))[0]["attention"]
        websocket.send(json.dumps({"attention": True}))
        told = until(has("windows")) + until(has("windows"))
        assert not any(said.get("light") for said in told if isinstance(said, dict))


@pytest.mark.parametrize("absent", [(), ("left",)])
def test_lights_are_those_of_the_window_that_was_scored(absent):
    recogniser = Played().session.recogniser
    light = Light(recogniser, ["video"])
    generator = torch.Generator().manual_seed(1)
    clip = {
        name: torch.rand(sensor.shape, generator=generator)
        for name, sensor in recogniser.facts.sensors.items()
        if name not in absent
    }
    scored = SimpleNamespace(start_s=1.0, stop_s=2.0, seen=tuple(clip), tensors=clip)
    recogniser(clip)
    light.scored(scored)
    assert light.latest() is None  # nobody wanted to know
    light.wanted = True
    recogniser(clip)
    light.scored(scored)
    network = recogniser.members[0].network
    grids = {name: network.encoders[name](tensor[None]) for name, tensor in clip.items()}
    maps = attentions(network.method, grids)
    assert [one.context for one in maps] == [name for name in ("left", "right") if name not in absent]
    assert light.latest() == {"start_s": 1.0, "stop_s": 2.0, "lit": lit(maps, {"video": 2})}


def test_no_light_falls_on_a_stand_in():
    recogniser = Played().session.recogniser
    network = recogniser.members[0].network
    generator = torch.Generator().manual_seed(1)
    sensors = recogniser.facts.sensors.items()
    clip = {name: torch.rand(sensor.shape, generator=generator) for name, sensor in sensors}
    network.stand_ins["video"] = network.encoders["video"](clip.pop("video")[None])[0].detach()
    light = Light(recogniser, ["video"])
    light.wanted = True
    recogniser(clip)
    light.scored(SimpleNamespace(start_s=1.0, stop_s=2.0, seen=tuple(clip), tensors=clip))
    grids = {name: network.encoders[name](tensor[None]) for name, tensor in clip.items()}
    expected = lit(attentions(network.method, grids | {"video": network.stand_ins["video"][None]}), {})
    assert set(expected) == {"left", "right", "video"}
    assert light.latest()["lit"] == {name: expected[name] for name in ("left", "right")}


def test_nonsense_ends_at_most_its_own_connection():
    with played() as (_, serving), client(serving) as (_, until):
        until(has("windows"))
        for said in ("", "[", "[]", "[" * 60_000, '{"got": "x"}', '"got"', b"\xff", "null"):
            with client(serving) as (other, _):
                other.send(said)
            until(has("windows"))


def test_in_the_end_everybody_is_told():
    with played() as (_, serving), client(serving) as (_, asleep), client(serving) as (_, until):
        asleep(has("n", n=AHEAD), answer=False)
        until(has("windows"))
        serving.close("Enough.")
        for end in (asleep, until):
            assert end(has("why"))[-1] == {"kind": "ended", "why": "Enough."}
            with pytest.raises(ConnectionClosed):
                end(has("n"))
        with pytest.raises(ConnectionRefusedError), client(serving):
            pass


def test_the_page_asks_for_nothing_from_elsewhere_and_for_a_token_where_there_is_one():
    def ask(path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body, answer.headers

    with played() as (_, serving):
        port = serving._listening.port
        for path in ("/", "/live.css", "/live.js", "/draw.js"):
            status, body, headers = ask(path)
            assert status == 200 and len(body) > 1000 and "unsafe" not in headers["Content-Security-Policy"]
            assert "https:" not in body.replace('"https:" ? "wss"', "")
        assert ask("/live.py")[0] == 404
        assert ask("/", Host="evil.example")[0] == 404
        with pytest.raises(InvalidStatus), client(serving, origin="http://evil.example"):
            pass
    with played(host="0.0.0.0") as (_, serving):
        port = serving._listening.port
        assert ask("/")[0] == ask("/live.js")[0] == 403
        cookie = ask(f"/?token={serving.address.partition('token=')[2]}")[2]["Set-Cookie"].partition(";")[0]
        assert "<main>" in ask("/", Cookie=cookie)[1]


def test_a_trace_keeps_least_and_greatest_of_each_fiftieth():
    rng = np.random.default_rng(0)
    seconds = np.sort(rng.uniform(0, 30, 20_000))
    values = rng.normal(size=(20_000, 2)).astype(np.float32)
    values[rng.random(20_000) < 0.2, 1] = np.nan
    trace, version, told = Trace(2), 0, {}
    order = np.arange(20_000)
    for first in range(0, 20_000, 16):  # in pieces, each in some order
        order[first : first + 16] = rng.permutation(order[first : first + 16])
    for piece in np.array_split(order, 700):
        trace.add(seconds[piece], values[piece])
        if (news := trace.since(version)) is not None:
            json.dumps(news, allow_nan=False)
            high = news["high"] or news["low"]
            told |= dict(zip(news["bins"], zip(news["t"], news["low"], high, strict=True), strict=True))
        version = trace.version
    assert trace.since(version) is None
    bins = np.floor(seconds * BINS_HZ).astype(int)
    assert told.keys() == set(bins.tolist())
    for place, (t, low, high) in told.items():
        inside = values[bins == place]
        assert t == pytest.approx(seconds[bins == place].min(), abs=1e-4)
        for column in range(2):
            known = inside[np.isfinite(inside[:, column]), column]
            expected = (known.min(), known.max()) if len(known) else (None, None)
            assert (low[column], high[column]) == pytest.approx(expected, rel=1e-3)
    kept = trace.since(0)["bins"]
    assert kept == [place for place in sorted(told) if place > max(told) - BINS]


def test_a_trace_forgets_and_takes_what_is_odd():
    trace = Trace(100)
    assert trace.columns == MOST_COLUMNS and trace.since(0) is None
    trace.add(np.array([-1.0]), np.zeros((1, 100), np.float32))  # before the recording
    assert trace.since(0) is None
    trace.add(np.array([1.0, 50.0]), np.full((2, 100), np.inf, np.float32))
    assert trace.since(0)["bins"] == [2500] and trace.since(0)["low"] == [[None] * MOST_COLUMNS]
    trace.add(np.array([1.0]), np.zeros((1, 100), np.float32))  # long past
    assert trace.since(0)["bins"] == [2500]


def test_large_pictures_are_made_smaller():
    picture = Picture(1, 0.0, np.full((1080, 1920, 3), (200, 30, 60), np.uint8))
    image = Image.open(BytesIO(picture.jpeg()))
    assert image.size == (640, 360)
    assert np.abs(np.asarray(image).mean((0, 1)) - (200, 30, 60)).max() < 4


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_not_told(score):
    page, scores = Page(session := Played().session), np.full(6, score, np.float32)
    for ring in session.cutter.rings.values():
        ring.clock = Clock(0.0)
    page.scored(Scored(0.0, 1.0, "stir", scores, ("left",), {}, Latency(0.02)))
    message, _ = page.now(Client())
    with pytest.raises(ValueError, match="JSON"):
        _text(message)


def test_what_is_kept_of_an_hour_is_what_is_shown():
    page = Page(session := Played().session)
    for ring in session.cutter.rings.values():
        ring.clock = Clock(0.0)
    latency, scores = Latency(0.02), np.full(6, 1 / 6, np.float32)
    for begins_s in range(0, 3600, 2):
        times = begins_s + np.arange(200) / 100
        page.arrived(Arrived("left", times, np.zeros((200, 3), np.float32), begins_s + 2.0))
        page.arrived(Arrived("video", times[:1], np.zeros((1, 4, 4, 3), np.uint8), begins_s + 2.0))
        tensors = {"left": torch.zeros(1000)}
        page.scored(Scored(begins_s, begins_s + 1.0, "stir", scores, ("left",), tensors, latency))
    page.arrived(Ended("left", None, 3600.0))
    sleeper = Client(traces={"left": 1}, window=1)  # has slept since the first window
    message, pictures = page.now(sleeper)
    assert message["signals"]["left"]["bins"] == list(range(180_000 - BINS, 180_000))
    assert [window["stop_s"] for window in message["windows"]] == list(np.arange(3569.0, 3600.0, 2))
    assert len(page._windows) == len(message["windows"]) and not any(one.tensors for one in page._windows)
    assert len(pictures) == 1 and struct.unpack("<Bd", pictures[0][:9]) == (0, 3598.0)
    assert message["latency_ms"] == [20.0, 20.0] and message["streams"]["left"]["ended"]
    again, pictures = page.now(sleeper)
    assert (again["signals"], again["windows"], pictures) == ({}, [], [])
