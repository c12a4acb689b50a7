"""Windows of what arrives are those of the whole recording, number for number."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.live.cutter import FIRST_S, Cutter
from plait.live.events import Arrived, Opening
from plait.live.replay import merged, opening_of
from plait.recogniser.windows import Sliding, extents_of, seen
from tests.live.world import MODALITIES, Disturbance, arriving, recording

SLIDING = Sliding(2.0, 0.3)


def cut_live(recording, how, sliding=SLIDING, patience_s=1.5):
    """The windows of a recording as it arrives, those in which something is seen."""
    openings = [
        replace(opening_of(name, stream), disorder_s=how.disorder_s)
        for name, stream in recording.streams.items()
    ]
    cutter = Cutter(MODALITIES, openings, sliding, patience_s, recorded=True)
    cutter.begin(0.0)
    found, most = [], 0
    for event in arriving(merged(recording.streams), how):
        cutter.feed(event)
        for window in cutter.ready(event.arrived_s):
            found.append(cutter.cut(window))
            cutter.forget(window)
        most = max(most, *(len(ring.own_s) for ring in cutter.rings.values()))
    return [window for window in found if window.tensors], cutter, most


def is_as_the_whole(whole, how):
    """Windows of what arrives are those of the recording."""
    windows = SLIDING.windows(extents_of(whole, MODALITIES))
    expected = [window for window in seen(whole, MODALITIES, windows) if window.tensors]
    found, cutter, _ = cut_live(whole, how)
    assert [window[:2] for window in found] == [window[:2] for window in expected]
    for live, known in zip(found, expected, strict=True):
        assert live.tensors.keys() == known.tensors.keys(), live.start_s
        for name, tensor in known.tensors.items():
            assert torch.equal(live.tensors[name], tensor), (live.start_s, name)
    assert all(ring.late == 0 for ring in cutter.rings.values())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "how", [Disturbance(), Disturbance(delay_s=0.3), Disturbance(delay_s=0.1, disorder_s=0.05)]
)
def test_windows_are_those_of_the_whole_recording(tmp_path, seed, how):
    is_as_the_whole(recording(tmp_path, seed), how._replace(seed=seed))


@settings(max_examples=20)
@given(
    st.integers(1000, 2**31),
    st.builds(Disturbance, st.floats(0, 0.4), st.floats(0, 0.05), st.integers(0, 2**31)),
)
def test_windows_are_those_of_the_whole_recording_whatever_the_jitter(seed, how):
    """Jitter of the clock, drops, sensors that die and return; delay, and disorder within 50 ms."""
    with TemporaryDirectory() as folder:
        is_as_the_whole(recording(Path(folder), seed), how)


PICTURE = np.zeros((1, 8, 8, 3), np.uint8)


class Bench:
    """A camera, `right` at 50 Hz, and `left`, which says at each fiftieth of a second what it gives."""

    def __init__(self, left, rate_hz=50.0, first_picture_s=0.0):
        openings = [
            Opening("video", rate_hz=12.5),
            Opening("left", ("x", "y", "z"), rate_hz),
            Opening("right", ("x", "y", "z"), 50.0),
        ]
        self.cutter = Cutter(MODALITIES, openings, SLIDING)
        self.windows, self.most = [], 0
        self.cutter.begin(0.0)
        for step in range(20 * 50):
            now_s = step / 50
            events = [self.readings("right", [now_s], now_s)]
            if now_s >= first_picture_s and step % 4 == 0:
                events.append(Arrived("video", np.array([now_s]), PICTURE, now_s))
            if times := left(step, now_s):
                events.append(self.readings("left", times, now_s))
            for event in events:
                self.cutter.feed(event)
                for window in self.cutter.ready(now_s):
                    self.windows.append((now_s, self.cutter.cut(window)))
                    self.cutter.forget(window)
            self.most = max(self.most, len(self.cutter.rings["video"].own_s))

    def readings(self, name, times, now_s):
        return Arrived(name, np.array(times), np.ones((len(times), 3), np.float32), now_s)

    def with_left(self):
        return [window.start_s for _, window in self.windows if "left" in window.tensors]


@pytest.mark.parametrize("stands", [True, False])
def test_a_sensor_whose_clock_stands_still_or_is_set_back_is_not_waited_for(stands):
    bench = Bench(lambda step, now_s: [min(now_s, 6.0) if stands else now_s - (15.0 if now_s > 6 else 0.0)])
    assert bench.windows[-1][1].stop_s > 19.5
    assert 3.5 < max(bench.with_left()) <= 4.1
    assert bench.most < 80
    assert bench.cutter.rings["left"].late > 600


@pytest.mark.parametrize("caught_up_s", [np.inf, 12.0])
def test_a_sensor_that_falls_behind_without_end_is_not_waited_for(caught_up_s):
    """Its readings come on and on, each later after its time than the one before."""

    def left(step, now_s):
        own_s = [now_s] if now_s < 3.0 or now_s > caught_up_s else [3.0 + (now_s - 3.0) / 4]
        return own_s

    bench = Bench(left)
    assert bench.windows[-1][1].stop_s > 19.0
    assert [window.start_s for _, window in bench.windows] == [0.3 * n for n in range(len(bench.windows))]
    assert all(now_s < window.stop_s + 1.5 + 0.7 for now_s, window in bench.windows)  # a low-pass's reach
    assert bench.most < 80
    found = bench.with_left()
    assert any(start_s < 2.0 for start_s in found)
    assert not any(6.0 < start_s < min(caught_up_s, 17.0) for start_s in found)
    assert any(start_s > 13.5 for start_s in found) == (caught_up_s == 12.0)


@pytest.mark.parametrize("wild_s", [1e9, 60.0, -1e9, np.nan, np.inf])
def test_one_wild_time_does_not_end_a_sensor(wild_s):
    bench = Bench(lambda step, now_s: [wild_s if step == 333 else now_s])
    assert bench.windows[-1][1].stop_s > 19.0
    assert len(bench.with_left()) == len(bench.windows)
    assert bench.cutter.rings["left"].late == 1


def test_an_unknown_rate_is_told_by_a_few_seconds_of_a_slow_sensor():
    bench = Bench(lambda step, now_s: [now_s] if step % 50 == 0 else [], rate_hz=0.0)
    assert bench.windows[0][0] <= 3.0
    assert len(bench.with_left()) == len(bench.windows) > 50
    assert bench.cutter.rings["left"].rate_hz == 1.0


def test_readings_that_come_after_their_windows_are_counted():
    chunk = [step / 50 for step in range(125)]  # of two and a half seconds
    bench = Bench(lambda step, now_s: [now_s - 2.48 + own_s for own_s in chunk] if step % 125 == 124 else [])
    assert len(bench.with_left()) < len(bench.windows)
    assert bench.cutter.rings["left"].late > 300
    assert bench.cutter.rings["right"].late == 0


def test_a_stride_longer_than_the_window_is_not_taken_for_lateness(tmp_path):
    whole = recording(tmp_path, 3)
    _, cutter, _ = cut_live(whole, Disturbance(), Sliding(1.0, 4.0))
    assert all(ring.late == 0 for ring in cutter.rings.values())


def test_the_recording_begins_with_a_picture_that_comes_late():
    bench = Bench(lambda step, now_s: [now_s], first_picture_s=4.0)
    assert bench.cutter.origin_s == 4.0
    assert bench.windows[0][1].tensors.keys() == {"video", "whole", "left", "hands"}
    assert all(ring.late == 0 for ring in bench.cutter.rings.values())
    without = Bench(lambda step, now_s: [now_s], first_picture_s=FIRST_S + 2.0)
    assert without.cutter.origin_s == 0.0
    assert without.windows[0][1].tensors.keys() == {"left", "hands"}
