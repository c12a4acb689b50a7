"""Outlets in other processes: found, received, their clocks followed, lost and back."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from plait.errors import ConfigError, DataError, PlaitWarning
from plait.live import inlets
from plait.live.lsl import Outlet

pytest.importorskip("pylsl")
HERE = Path(__file__).parent
LONG_S = 120.0  # a machine may be busy


@pytest.fixture
def name():
    """A name that no other outlet on the network has."""
    return f"plait-{uuid.uuid4().hex[:12]}"


@contextmanager
def outlet(
    name, *, rate_hz=100, source_id="", stamps="lsl", offset_s=0.0, drift_ppm=0.0, before=(), env=None
):
    """An outlet in another process, until it is killed."""
    said = [name, str(rate_hz), source_id, stamps, str(offset_s), str(drift_ppm)]
    command = [*before, sys.executable, str(HERE / "outlet.py"), *said]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **(env or {})}
    ) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def off_s(event):
    """By how much the times of some readings are later than they are true; they say the time of day."""
    day_s = time.time() - time.monotonic()
    found = event.times + day_s - event.values[:, 0]
    return found - 1000 * np.round(found / 1000)


def received(source, enough, at_most_s=LONG_S):
    """What arrives until it is enough."""
    events, until_s = [], time.monotonic() + at_most_s
    for event in source:
        events.append(event)
        if enough(events) or time.monotonic() > until_s:
            source.close()
    return events


def rows(events):
    return sum(len(event.times) for event in events)


def test_an_outlet_s_readings_are_on_the_session_s_clock(name):
    with outlet(name):
        source = Outlet("left", name, timeout_s=LONG_S)
        assert source.openings[0].names == ("true", "other")
        events = received(source, lambda events: rows(events) >= 300)
    assert rows(events) >= 300
    times = np.concatenate([event.times for event in events])
    assert (np.diff(times) > 0).all()
    assert all(event.stream == "left" and (event.times <= event.arrived_s + 0.1).all() for event in events)
    assert np.median(np.abs(np.concatenate([off_s(event) for event in events]))) < 0.005


def with_another_clock(folder, ahead_s, drift_ppm):
    """What runs a process whose monotonic clock, LSL's, is ahead and drifts."""
    before = ["unshare", "--time", "--monotonic", str(ahead_s), "--boottime", str(ahead_s)]
    if not shutil.which("unshare") or not (cc := shutil.which("cc")):
        pytest.skip("no unshare, or no cc")
    if os.getuid():
        before[1:1] = ["--user", "--map-root-user"]
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no clock of its own is allowed for a process")
    shim = folder / "drifting.so"
    made = subprocess.run(
        [cc, "-shared", "-fPIC", "-o", str(shim), str(HERE / "drifting.c"), "-ldl"], check=False
    )
    if made.returncode:
        pytest.skip("cc makes no library")
    return before, {"LD_PRELOAD": str(shim), "DRIFT_PPM": str(drift_ppm)}


def test_the_true_offset_of_a_machine_with_another_clock_is_recovered(name, tmp_path):
    """LSL's clock there is 1000 s ahead of ours, and 300 millionths faster."""
    before, env = with_another_clock(tmp_path, 1000, 300)
    with outlet(name, before=before, env=env):
        source = Outlet("left", name, timeout_s=LONG_S)

        def followed(events):
            line = source.following.line
            late = events[-1].arrived_s - events[0].arrived_s > 6
            return late and abs(line.slope + 300e-6) < 1e-4 and abs(np.median(off_s(events[-1]))) < 0.005

        events = received(source, followed)
        assert followed(events)
        assert abs(source.following.line.offset_s + 1000) < 1
    times = np.concatenate([event.times for event in events])
    assert (np.diff(times) > 0).all()


def test_stamps_of_a_device_s_own_clock_are_told_by_arrival(name):
    with outlet(name, stamps="device", offset_s=-1.5e9, drift_ppm=200):
        source = Outlet("left", name, clock="arrival", timeout_s=LONG_S)

        def followed(events):
            late = events[-1].arrived_s - events[0].arrived_s > 5
            last = np.concatenate([off_s(event) for event in events[-50:]])
            return late and abs(np.median(last)) < 0.005 and np.ptp(last) < 0.005

        events = received(source, followed)
        assert followed(events)
    assert (np.diff(np.concatenate([event.times for event in events])) > 0).all()


def test_stamps_of_another_clock_than_lsl_s_are_said(name):
    found = []
    with outlet(name, stamps="device", offset_s=-1e9), pytest.warns(PlaitWarning) as said:
        source = Outlet("left", name, timeout_s=LONG_S)
        thread = Thread(target=lambda: found.extend(source), daemon=True)
        thread.start()
        wait_for(lambda: said.list)
        source.close()
        thread.join(LONG_S)
    assert not thread.is_alive() and found == []
    assert "left out; if its sender stamps them by a clock of its own, say ?clock=arrival" in str(
        said[0].message
    )


@pytest.mark.parametrize("source_id", ["", "one"])
def test_an_outlet_that_dies_and_returns(name, source_id):
    found = []
    with pytest.warns(PlaitWarning) as said:
        with outlet(name, source_id=source_id) as first:
            source = Outlet("left", name, timeout_s=LONG_S)
            thread = Thread(target=lambda: found.extend(source), daemon=True)
            thread.start()
            wait_for(lambda: rows(found) > 50)
        assert first.returncode
        before = rows(found)
        with outlet(name, source_id=source_id):
            wait_for(lambda: rows(found) > before + 50)
            source.close()
            thread.join(LONG_S)
    assert not thread.is_alive()
    lines = [str(warning.message) for warning in said]
    assert any("is lost" in line for line in lines) and any("has returned" in line for line in lines)
    times = np.concatenate([event.times for event in found])
    assert (np.diff(times) > 0).all()
    assert np.median(np.abs(off_s(found[-1]))) < 0.005


def test_an_outlet_that_is_frozen_while_another_takes_its_place(name):
    found = []
    with pytest.warns(PlaitWarning) as said, outlet(name, source_id="one") as first:
        source = Outlet("left", name, timeout_s=LONG_S)
        thread = Thread(target=lambda: found.extend(source), daemon=True)
        thread.start()
        wait_for(lambda: rows(found) > 50)
        first.send_signal(signal.SIGSTOP)  # as one whose network is gone: nobody says that it has ended
        with outlet(name, source_id="one"):
            wait_for(lambda: any("has returned" in str(warning.message) for warning in said))
            before = rows(found)
            wait_for(lambda: rows(found) > before + 50)
            source.close()
            thread.join(LONG_S)
    assert not thread.is_alive()
    assert "has begun anew" in str(said[0].message)


def test_it_ends_when_it_is_closed_while_it_looks_for_an_outlet(name):
    with pytest.warns(PlaitWarning) as said:
        with outlet(name):
            source = Outlet("left", name, timeout_s=LONG_S)
            thread = Thread(target=lambda: list(source), daemon=True)
            thread.start()
        wait_for(lambda: said.list)
        source.close()
        thread.join(LONG_S)
    assert not thread.is_alive()


def wait_for(done):
    until_s = time.monotonic() + LONG_S
    while not done():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_what_cannot_be_an_outlet_is_one_line(name, monkeypatch):
    with pytest.raises(DataError, match=r"--stream left=lsl:nobody: no such outlet within 1 s; there are: "):
        Outlet("left", "nobody", timeout_s=1.0)
    with pytest.raises(ConfigError, match="clock is 'sun', expected lsl or arrival"):
        Outlet("left", name, clock="sun")
    with outlet(name, stamps="text"), pytest.raises(DataError, match="sends text, expected numbers"):
        Outlet("left", name, timeout_s=LONG_S)
    with outlet(name, source_id="a"), pytest.raises(ConfigError, match="no column 'thumb', expected one of"):
        Outlet("left", name, columns=["thumb"], timeout_s=LONG_S)
    real = inlets.importlib.import_module
    monkeypatch.setattr(inlets.importlib, "import_module", lambda name: real(f"no_{name}"))
    with pytest.raises(ConfigError, match=r"pip install 'plait\[live\]'"):
        Outlet("left", name)


def test_two_outlets_of_one_name_are_told_apart(name):
    with outlet(name, source_id="a"), outlet(name, source_id="b", rate_hz=50):
        with pytest.raises(DataError, match=r"2 outlets have that name.*'a', 'b'.*source_id="):
            Outlet("left", name, timeout_s=LONG_S)
        source = Outlet("left", name, source_id="b", columns=["tr*"], timeout_s=LONG_S)
        assert source.openings[0].names == ("true",)
        events = received(source, lambda events: rows(events) >= 60)
        times = np.concatenate([event.times for event in events])
        assert np.median(np.diff(times)) > 0.015  # of the other one 0.01
        assert events[0].values.shape[1:] == (1,)
