"""A sensor that a recording lacks, or has for a while, is said where it is predicted without."""

import warnings
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import torch

from plait.errors import PlaitWarning
from plait.recogniser.lacking import absent, fewer
from plait.recogniser.model import ModelFacts, NetworkFacts, SensorFacts, Training
from plait.recogniser.predict import plan, predict
from plait.recogniser.recogniser import Recogniser
from plait.recogniser.windows import Sliding
from plait.types import Readings
from tests.recogniser import world

SENSORS = {name: SensorFacts((name,), 2, (2, 2), "") for name in ("a", "b")}
SENSORS["both"] = SensorFacts(("left", "a"), 2, (2, 2), "")


def test_what_is_absent_is_named_with_what_nobody_reads_and_what_looks_alike():
    assert absent(SENSORS, ["a", "b", "left", "right"]) is None
    assert absent(SENSORS, ["a", "left"]) == "has no b, and is predicted without"
    line = absent(SENSORS, ["a", "B", "left", "right"])
    assert line == "has no b, and is predicted without; nobody reads its B, right; 'B' looks like 'b'"
    assert absent(SENSORS, ["b", "a"]) == "has no both (left), and is predicted without"


def test_a_sensor_that_sees_about_as_much_as_others_is_not_spoken_of():
    seen = [["a", "b"]] * 43 + [["a"]] * 46
    assert fewer("ab", seen, 89) == "b saw 43 of 89 windows, and the rest is predicted without"
    assert fewer("a", seen, 89) is None and fewer("ab", [], 89) is None
    assert fewer("ab", [["a", "b"]] * 88 + [["a"]], 89) is None
    assert fewer("ab", [["a"]] * 9, 9) == "b saw 0 of 9 windows, and the rest is predicted without"


class Sees:
    """A recogniser that does without b."""

    code, device, activities = "", "cpu", world.ACTIVITIES
    modalities = MappingProxyType({m.name: m for m in world.WORLD.modalities})
    facts = ModelFacts(
        "0",
        "world",
        "a-led",
        "tests.recogniser.world:WORLD",
        world.ACTIVITIES,
        {m.name: SensorFacts(m.streams, m.samples, (m.samples, 2), "") for m in world.WORLD.modalities},
        {"a-led": NetworkFacts("plait.fusion:Led", "", {}, 1)},
        Training(("1",), 1, 0),
        seconds=world.SECONDS,
        stride_s=1.0,
    )
    present, lacks = Recogniser.present, Recogniser.lacks

    def can_see(self, present):
        return "a" in present

    def __call__(self, clip):
        return torch.ones(3).numpy() / 3


@pytest.mark.parametrize("case", ["whole", "half", "other name"])
def test_predict_says_so_once_for_each_recording(tmp_path, case):
    full = world.recording("9", lasts_s=30.0)
    b = full.streams["b"]
    early = np.searchsorted(b.times, 15.0)
    streams = {
        "whole": full.streams,
        "half": {**full.streams, "b": Readings(b.times[:early], b.values[:early])},
        "other name": {"a": full.streams["a"], "B": b},
    }[case]
    sliding = Sliding(world.SECONDS, 1.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PlaitWarning)
        sees = Sees()
        tasks = plan(sees, [replace(full, streams=streams)], sliding)
        predict(sees, tasks, sliding, tmp_path / "timeline")
    said = [str(one.message) for one in caught]
    expected = {"whole": 0, "half": 1, "other name": 1}[case]
    assert len(said) == expected
    if case == "half":
        assert said[0].startswith("recording r9-0: b saw 14 of 29 windows")
    if case == "other name":
        assert said[0].endswith("nobody reads its B; 'B' looks like 'b'")
