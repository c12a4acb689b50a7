"""A sensor of one's own."""

import socket
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from plait.errors import ConfigError, PlaitError
from plait.live.events import Arrived, Ended
from plait.live.own import WAITING, Own
from plait.trust import NOBODY, Trust

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CODE = """
import time

class Watch:
    names, rate_hz = ("x", "y"), 50

    def __iter__(self):
        for number in range(5):
            yield time.monotonic(), (number, 0.5)

def generated():
    for number in range(5):
        yield time.monotonic(), [number]
generated.names = ("x",)

def reused():
    import numpy
    held = numpy.zeros(2, numpy.float32)
    for packet in range(4):
        for number in range(5):
            held[:] = 5 * packet + number
            yield time.monotonic(), held
reused.names = ("x", "y")

def endless():
    while True:
        endless.given += 1
        yield time.monotonic(), [1]
endless.names, endless.given = ("x",), 0

class Waits:
    names, closed = ("x",), False
    def __iter__(self):
        yield time.monotonic(), [1]
        while not Waits.closed:
            time.sleep(0.05)
    def close(self):
        Waits.closed = True

def wrong(item, **said):
    def give():
        yield item
    give.names = said.pop("names", ("x",))
    for key, value in said.items():
        setattr(give, key, value)
    return give

Wide = wrong((time.monotonic(), [1, 2]))
Bare = wrong(3)
Dated = wrong((1.7e9, [1]))
Nameless = wrong(3, names=())
Alike = wrong(3, names=("x", "x"))
Word = wrong(3, names="x")
Disorderly = wrong(3, disorder_s=-1)
Odd = wrong(3, clock="sun")
Negative = wrong(3, rate_hz=-1)

def jumps():
    for number in range(20):
        yield time.monotonic() + (number == 9) * 1e6 - (number == 14) * 1e6, [number]
jumps.names = ("x",)

def swapped():
    for number in range(30):
        own_s = 5e5 + time.monotonic()
        time.sleep(0.02)
        yield own_s, [1]
        if number == 20:
            yield own_s - 0.31, [2]
swapped.names, swapped.clock, swapped.disorder_s = ("x",), "arrival", 0.5

def fails():
    yield time.monotonic(), [1]
    raise OSError("unplugged")
fails.names = ("x",)

def breaks():
    raise KeyError("port")
breaks.names = ("x",)

class Nothing:
    names = ("x",)
"""
OWN = Trust(frozenset({"watch_of_mine"}))
LONG_S = 60.0


@pytest.fixture(autouse=True)
def _module(tmp_path, monkeypatch):
    (tmp_path / "watch_of_mine.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "watch_of_mine", raising=False)


def own(name, trust=OWN):
    return Own("left", f"watch_of_mine:{name}", trust)


@pytest.mark.parametrize(("name", "names", "rate_hz"), [("Watch", ("x", "y"), 50), ("generated", ("x",), 0)])
def test_a_class_or_a_function_gives_readings(name, names, rate_hz):
    source = own(name)
    assert source.openings[0].names == names and source.openings[0].rate_hz == rate_hz
    *events, last = source
    assert isinstance(last, Ended) and all(isinstance(event, Arrived) for event in events)
    values = np.concatenate([event.values for event in events])
    assert values.dtype == np.float32 and values[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert all((event.times <= event.arrived_s).all() for event in events)


def test_readings_are_those_of_when_they_were_given_whatever_becomes_of_the_array():
    *events, _ = own("reused")
    values = np.concatenate([event.values for event in events])
    assert values[:, 0].tolist() == [*range(20)] and (values[:, 1] == values[:, 0]).all()


def test_one_wild_time_is_left_out_and_counted():
    source = own("jumps")
    *events, last = source
    assert isinstance(last, Ended)
    values = np.concatenate([event.values for event in events])[:, 0].tolist()
    assert values == [number for number in range(20) if number not in (9, 14)]
    assert source.dropped == 2


def test_readings_may_come_as_late_as_it_says_on_a_clock_of_its_own_too():
    source = own("swapped")
    *events, _ = source
    assert 2 in np.concatenate([event.values for event in events])[:, 0]
    assert source.dropped == 0


def test_nothing_is_kept_without_end_for_one_who_does_not_take_it():
    source = own("endless")
    events = iter(source)
    next(events)
    function = sys.modules["watch_of_mine"].endless
    seen = -1
    while seen != function.given:  # until it no longer moves
        seen = function.given
        time.sleep(0.5)
    assert seen <= 2 * WAITING + 2
    source.close()
    assert list(events) is not None


@pytest.mark.parametrize("name", ["Waits", "endless"])
def test_it_ends_when_it_is_closed(name):
    source = own(name)
    events = iter(source)
    next(events)
    thread = threading.Thread(target=lambda: list(events), daemon=True)
    thread.start()
    source.close()
    thread.join(LONG_S)
    assert not thread.is_alive()
    if name == "Waits":
        until_s = time.monotonic() + LONG_S
        while not sys.modules["watch_of_mine"].Waits.closed and time.monotonic() < until_s:
            time.sleep(0.01)
        assert sys.modules["watch_of_mine"].Waits.closed


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Wide", "gave 2 numbers, expected 1 as of names"),
        ("Bare", r"gave 3, expected \(time_s, reading\)"),
        ("Dated", 'from now, expected seconds of time.monotonic.*clock = "arrival"'),
        ("Nameless", "expected some that differ"),
        ("Alike", "expected some that differ"),
        ("Word", "names is 'x', expected names of columns"),
        ("Disorderly", "disorder_s is -1, expected 0 to 30 seconds"),
        ("Odd", "clock is 'sun', expected session or arrival"),
        ("Negative", "rate_hz is -1, expected 0 or more"),
        ("fails", r"OSError: unplugged \(watch_of_mine.py, line \d+\)"),
        ("breaks", r"KeyError: 'port' \(watch_of_mine.py, line \d+\)"),
        ("Nothing", "gives no readings"),
        ("Missing", "has no 'Missing'"),
    ],
)
def test_what_it_must_not_do_is_one_line(name, line):
    with pytest.raises(ConfigError, match=line) as refused:
        list(own(name))
    assert str(refused.value).startswith(f"--stream left=watch_of_mine:{name}: ")


@pytest.mark.parametrize("path", ["watch_of_mine:Watch", "os:system", "plait.store:write_json"])
def test_nobody_s_code_runs_that_is_not_trusted(path):
    with pytest.raises(PlaitError, match=r"--trust|expected something of your own"):
        Own("left", path, NOBODY)
    assert "watch_of_mine" not in sys.modules


def test_the_example_receives_a_glove_s_packets(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import own_stream

    monkeypatch.setattr(own_stream.Glove.__init__, "__defaults__", ("127.0.0.1", 0))  # any port that is free
    source = Own("left", "own_stream:Glove", Trust(frozenset({"own_stream"})))
    assert source.openings[0].names == ("thumb", "index", "middle", "ring", "little")
    port = source.readings.socket.getsockname()[1]
    done = threading.Event()

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not done.wait(0.02):
                now_s = time.monotonic()
                packet = struct.pack("<6d", 5e5 + now_s * 1.0001, now_s % 1000, 2, 3, 4, 5)
                sender.sendto(packet, ("127.0.0.1", port))

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    off_s = []
    for event in source:
        behind_s = event.times - event.values[:, 0].astype(np.float64)
        off_s += (behind_s - 1000 * np.round(behind_s / 1000)).tolist()
        if len(off_s) >= 100:
            source.close()
    done.set()
    sending.join(LONG_S)
    assert len(off_s) >= 100 and abs(np.median(off_s[50:])) < 0.005
    assert (event.values[:, 1:] == [2, 3, 4, 5]).all()
