"""Columns of logs: in one order in all recordings, whoever cuts clips of them or looks at them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.clips.listing import survey
from plait.errors import DataError, PlaitWarning
from plait.recordings.folder import Clock, Synced
from plait.recordings.same_columns import Columns, columns_of
from plait.recordings.sensors import SensorLog
from plait.types import Dataset, Modality, Readings, Recording, Span
from tests.live.world import encoder, plain

NAMES = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6, unique=True)


def log(columns):
    times = np.arange(0, 4, 0.1)
    return SensorLog(times, np.zeros((len(times), len(columns)), np.float32), tuple(columns))


@given(NAMES, st.randoms())
def test_another_order_is_refused_and_the_same_is_not(names, random):
    columns = Columns({"left": tuple(names)}, "the model")
    columns.check(columns_of({"left": log(names), "other": log(["a"])}), "one", ["left"])
    others = list(names)
    random.shuffle(others)
    if others == names:
        columns.check({"left": tuple(others)}, "one", ["left"])
    else:
        with pytest.raises(DataError, match="expected the same in the same order"):
            columns.check({"left": tuple(others)}, "one", ["left"])
    with pytest.raises(DataError, match="expected the same in the same order"):
        columns.check({"left": (*names, "one more")}, "one", ["left"])
    columns.check({"left": tuple(others)}, "one", ["right"])


def test_logs_on_a_clock_and_readings_without_names():
    bare = Readings(np.arange(2.0), np.zeros((2, 1)))
    streams = {"left": Synced(log(["x", "y"]), Clock(1.0)), "bare": bare}
    assert columns_of(streams) == {"left": ("x", "y")}


def people(*columns):
    """A data set of one recording for each, with logs of these columns."""

    def recordings(data):
        for number, names in enumerate(columns):
            streams = {"left": log(names), "phone": log(["a"] * 1 if number else ["b", "c"])}
            yield Recording(f"r{number}", str(number), streams, (Span(0.5, 3.5, "one"),))

    left = Modality("left", ("left",), 20, None, plain, encoder)
    return Dataset("people", ("one",), (left,), recordings, "nobody")


def measured(*units):
    """A data set of one recording for each, whose files say these units."""

    def recordings(data):
        for number, unit in enumerate(units):
            streams = {name: Synced(log(["x", "y"]), Clock(0.0), unit) for name in ("left", "phone")}
            yield Recording(f"r{number}", str(number), streams, (Span(0.5, 3.5, "one"),))

    return Dataset("people", ("one",), people().modalities, recordings, "nobody")


@pytest.mark.parametrize(
    ("one", "other"), [("g", "m/s^2"), ("deg/s", "rad/s"), ("uT", "mT"), ("mg", "g"), ("degC", "degF")]
)
def test_another_unit_that_a_file_says_is_said_once(one, other):
    """Ingested, units stood in `recording.toml`, or were passed over, and nobody looked at them."""
    some = {"x": one, "y": one}
    with pytest.warns(PlaitWarning, match="taken as they are") as said:
        survey(measured(some, {}, {"y": other}, {"x": other}), Path(), ["left"])
    [line] = [str(each.message) for each in said]
    assert line.startswith(f".: recording r2: y of left is in {other}; of .: recording r0, in {one}")
    survey(measured(some, None, some, {"z": other}), Path(), ["left"])


@pytest.mark.parametrize(
    "alike",
    [
        ("m/s^2", "m/s²", "m/(s^2)", "M/S2", "m/sec2", "m·s⁻²", "m/s/s", "mps2", "meters/s²"),
        ("deg/s", "°/s", "dps", "degrees/s", "deg/sec", "º/s", "deg·s⁻¹", "degrees per second"),
        ("g", "g's", "NA", "float", "no units", "-"),
        ("µT", "uT", "μT"),
        ("°C", "degC", "℃"),
        ("rad/s", "radian/s", "rad / s"),
    ],
)
def test_one_unit_is_written_in_many_ways(alike):
    survey(measured(*({"x": unit, "y": alike[0]} for unit in alike)), Path(), ["left"])


def test_clips_are_not_cut_of_logs_in_different_orders():
    survey(people(["x", "y"], ["x", "y"]), Path("data"), ["left"])
    with pytest.raises(DataError, match=r"recording r1: the columns of left are y, x; of .*r0, x, y"):
        survey(people(["x", "y"], ["y", "x"]), Path("data"), ["left"])
    with pytest.warns(PlaitWarning, match="taken for the same, by their places"):
        survey(people(["x", "y"], ["X", "Y"]), Path("data"), ["left"])
