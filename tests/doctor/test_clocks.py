"""Faults of clocks, planted at several sizes: from which on are they found, and said once?"""

from dataclasses import replace

import numpy as np
import pytest

from plait.doctor.clocks import ClockEnds, ClockJumps, ClockRates
from plait.types import Recording
from tests.doctor.test_signals import PERSON, RECORDING, clean, found, times_of, without
from tests.doctor.world import planted, verdict, with_times

CLOCKS = [ClockJumps(), ClockRates(), ClockEnds()]


@pytest.mark.parametrize(("seconds", "is_found"), [(0.1, False), (0.3, True), (1.0, True), (3.0, True)])
def test_a_clock_that_jumps_is_told_from_readings_that_are_lost(seconds, is_found):
    jumped = found(ClockJumps(), RECORDING, times_of("left", lambda s: s + seconds * (s > 6)))
    lost = found(ClockJumps(), RECORDING, without("left", 6, 6 + seconds))
    assert [one.severity for one in jumped] == ["fault"] * is_found
    assert [one.severity for one in lost] == ["warning"] * is_found


@pytest.mark.parametrize("name", ["left", "camera"])
@pytest.mark.parametrize("streams", [("left", "camera"), ("left", "right", "thigh", "camera")])
def test_a_clock_that_jumps_is_said_once(name, streams):
    few = [
        Recording(one.name, one.subject, {key: one.streams[key] for key in streams}, one.spans)
        for one in clean()
    ]
    told = verdict(CLOCKS, planted(few, RECORDING, times_of(name, lambda s: s + 2 * (s > 6))))
    assert [(one.check, one.where) for one in told] == [("clock-jumps", f"recording {RECORDING}: {name}")]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_of_few_recordings_nobody_knows_when_streams_usually_begin(count):
    few = [one for one in clean() if one.name.endswith("-walk-0")][:count]
    assert verdict([ClockEnds()], planted(few, few[0].name, without("left", -1, 0.3))) == []
    everybody = planted(clean(), few[0].name, without("left", -1, 0.3))
    assert [one.severity for one in verdict([ClockEnds()], everybody)] == ["note"]
    spans = tuple(replace(span, start_s=0.5) for span in few[0].spans)  # nobody is asked before
    later = [replace(one, spans=spans) if one.name == few[0].name else one for one in everybody]
    assert verdict([ClockEnds()], later) == []


def test_the_stream_that_is_apart_is_told_and_not_the_others():
    few = [
        replace(one, streams={name: one.streams[name] for name in ("left", "right", "camera")})
        for one in clean()
    ]
    [finding] = verdict([ClockEnds()], planted(few, RECORDING, times_of("right", lambda s: s + 4)))
    assert finding.severity == "fault" and finding.where == f"recording {RECORDING}: right"


def test_a_gap_of_all_streams_is_a_pause():
    def change(streams):
        return {name: with_times(one, lambda s: s + 3 * (s > 6)) for name, one in streams.items()}

    assert not found(ClockJumps(), RECORDING, change)


@pytest.mark.parametrize(("drift", "is_found"), [(0.002, False), (0.005, False), (0.02, True), (0.05, True)])
@pytest.mark.parametrize("who", [PERSON, RECORDING])
def test_a_clock_that_drifts(drift, is_found, who):
    change = times_of("left", lambda s: s[0] + (s - s[0]) * (1 + drift))
    assert bool(found(ClockRates(), who, change)) == is_found


@pytest.mark.parametrize(("change", "is_found"), [(0.02, False), (0.2, True), (0.5, True)])
def test_a_rate_that_changes_on_its_way(change, is_found):
    slower = times_of("left", lambda s: np.where(s > 8, 8 + (s - 8) * (1 + change), s))
    words = [one.what for one in found(ClockRates(), RECORDING, slower)]
    assert any("changes by" in what for what in words) == is_found


@pytest.mark.parametrize(("seconds", "is_found"), [(0.1, False), (0.25, True), (1.0, True)])
@pytest.mark.parametrize("who", [PERSON, RECORDING])
def test_a_clock_that_is_late_at_both_ends(seconds, is_found, who):
    findings = found(ClockEnds(), who, times_of("camera", lambda s: s + seconds + 0.3))
    assert [one.severity for one in findings] == ["fault"]
    drifting = found(ClockEnds(), who, times_of("left", lambda s: s * (1 + seconds / 16)))
    assert [one.severity for one in drifting] == ["warning"] * is_found
    assert is_found == (seconds > 0.2)
