"""What arrives in another unit or at a lower rate than a model knows is said, once; what is alike is not."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

from plait.errors import PlaitWarning
from plait.live.events import Arrived, Ended, Opening
from plait.live.likeness import LEAST_S, LOOKED_S, Likeness
from plait.live.pace import Pace
from plait.live.replay import Replay
from plait.live.session import Session
from plait.recogniser.levels import Streams
from plait.recogniser.recogniser import Recogniser
from plait.recordings.between import Between
from plait.recordings.folder import open_recording
from plait.recordings.sensors import SensorLog
from plait.trust import Trust
from plait.types import Recording
from tests.live.world import MODALITIES, folder_of, model

NAMES = ("x", "y", "z")
MODALITY = replace(MODALITIES[0], streams=("imu",), rate_hz=25.0)


def readings(rate_hz, lasts_s, scale=1.0, seed=0):
    random = np.random.default_rng(seed)
    times = np.arange(0, lasts_s, 1 / rate_hz)
    return times, (scale * (random.normal(size=(len(times), 3)) + np.array([0, 0, 1]))).astype(np.float32)


def known(*kept):
    streams = Streams(["imu"])
    for times, values in kept:
        streams.add(Recording("r", "1", {"imu": SensorLog(times, values, NAMES)}, ()))
    return streams.facts


KNOWN = known(*(readings(50.0, 100.0, seed=seed) for seed in range(3)))


def said(times, values, ended=True, names=NAMES, size=7, between=Between()):
    """Lines, and how many events led to each, of readings that come a few at a time in some disorder."""
    opening = Opening("imu", names, between=between)
    likeness = Likeness(KNOWN, [opening, Opening("other", ("a",))], [MODALITY], 2.0)
    random, lines = np.random.default_rng(0), []
    order = np.argsort(np.arange(len(times)) + random.uniform(0, 20, len(times)))
    events = [
        Arrived("imu", times[at], values[at], 0.0) for at in np.split(order, range(size, len(order), size))
    ]
    events += [Ended("imu", None, 0.0)] if ended else []
    for number, event in enumerate(events):
        lines += [(line, number) for line in likeness.heard(event)]
        assert not likeness.heard(Arrived("other", np.zeros(1), np.zeros((1, 1), np.float32), 0.0))
    return lines


@pytest.mark.parametrize("scale", [9.81, 1 / 9.81, 57.3, 0.001])
def test_another_unit_is_said_once_after_a_minute(scale):
    ((line, number),) = said(*readings(50.0, 3 * LOOKED_S, scale, seed=9))
    found = float(line.split("has readings ")[1].split(" times")[0])
    assert 0.5 < found / scale < 2 and line.endswith("in another unit?")
    assert number * 7 / 50 == pytest.approx(LOOKED_S, abs=1)


def test_what_is_alike_is_not_spoken_of():
    assert not said(*readings(50.0, 3 * LOOKED_S, seed=9))
    assert not said(*readings(50.0, 3 * LOOKED_S, 2.0, seed=9))
    assert not said(*readings(25.0, 3 * LOOKED_S, seed=9))  # slower, and fast enough


def test_a_lower_rate_is_said_of_readings_and_of_pictures():
    ((line, _),) = said(*readings(5.0, 2 * LOOKED_S, seed=9))
    assert line.startswith("imu has 5 readings a second, the model was trained on 50 or more")
    times = readings(5.0, 2 * LOOKED_S)[0]
    ((line, _),) = said(times, np.zeros((len(times), 2, 2, 3), np.uint8), names=())
    assert line.startswith("imu has 5 readings a second")


def test_a_stream_that_ends_early_is_looked_at_unless_it_is_too_short():
    assert len(said(*readings(50.0, 2 * LEAST_S, 9.81))) == 1
    assert not said(*readings(50.0, 2 * LEAST_S, 9.81), ended=False)
    assert not said(*readings(50.0, LEAST_S / 2, 9.81))
    assert not said(np.empty(0), np.empty((0, 3), np.float32))


@pytest.mark.parametrize("lasts_s", [LEAST_S / 2, 2 * LEAST_S, LOOKED_S + 1])
def test_what_a_session_s_end_cuts_short_is_looked_at_once(lasts_s):
    times, values = readings(50.0, lasts_s, 9.81)
    likeness = Likeness(KNOWN, [Opening("imu", NAMES)], [MODALITY], 2.0)
    lines = likeness.heard(Arrived("imu", times, values, 0.0))
    assert len([*lines, *likeness.rest()]) == (lasts_s > LEAST_S)
    assert not [*likeness.rest()]


def test_an_angle_has_no_level():
    times, values = readings(50.0, LOOKED_S + 1, seed=9)
    values *= [100, 100, 1]
    turns = tuple((column, -180.0, 180.0) for column in range(2))
    assert said(times, values) and not said(times, values, between=Between(turns))


def test_a_session_says_it(tmp_path):
    folder = folder_of(tmp_path / "recording", 100)
    recogniser = Recogniser.load(model(tmp_path / "model", lead="video"), trust=Trust({"tests"}))
    streams = Streams(["left", "right", "video"])
    streams.add(open_recording(folder))
    like = streams.facts
    ranges = like["left"].levels
    weak = replace(like["left"], levels=tuple((low / 9.81, high / 9.81) for low, high in ranges))

    def lines(facts):
        recogniser.facts = replace(recogniser.facts, streams=facts)
        pace = Pace(math.inf, 0.0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PlaitWarning)
            Session(recogniser, [Replay(folder, pace)], pace).run()
        return [str(one.message) for one in caught if "the model was trained on" in str(one.message)]

    assert not lines(like)
    (line,) = lines({**like, "left": weak})
    assert line.startswith("live: left has readings 9.81 times")
