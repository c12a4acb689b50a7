"""Every window is a clip, or is dropped for a reason that is said: at random, and as in a lab."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plait.clips import Windows, place, survey
from plait.clips.dropped import (
    AFTER,
    BEFORE,
    GAP,
    MIXED,
    NO_LABEL,
    NO_STREAM,
    SHORT,
    SURPLUS,
    UNLABELLED,
    table_of,
    told,
)
from plait.clips.windows import placed
from plait.errors import DataError
from plait.recordings.sensors import SensorLog
from plait.types import Clip, Dataset, Modality, Readings, Recording, Span
from tests import tiny


def log(start_s, stop_s, gaps=(), columns=2, rate_hz=10.0, name="a"):
    """A sensor from `start_s` to `stop_s`, silent in `gaps`; of a gap's third number, a column is meant."""
    times = np.arange(start_s, stop_s, 1 / rate_hz)
    values = np.ones((len(times), columns), np.float32)
    away = np.zeros(len(times), bool)
    for first, last, *column in gaps:
        inside = (times >= first) & (times <= last)
        if column:
            values[inside, column[0]] = np.nan
        else:
            away |= inside
    return SensorLog(times[~away], values[~away], tuple(f"{name}{i}" for i in range(columns)), 0.5)


def count(length_s, seconds, stride_s):
    """Windows that a stretch holds, counted one by one."""
    n = 0
    while n * stride_s + seconds <= length_s + 1e-6:
        n += 1
    return n


@settings(max_examples=150, deadline=None)
@given(
    labels=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 20), st.sampled_from("ab")), max_size=6),
    gaps=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=4),
    ends=st.tuples(st.integers(0, 20), st.integers(30, 70), st.integers(0, 20), st.integers(30, 70)),
    seconds=st.sampled_from([1.0, 2.5, 4.0]),
    stride=st.sampled_from([None, 0.7, 2.0]),
    purity=st.sampled_from([1.0, 1.0, 0.7]),
    unlabelled=st.sampled_from([None, "a", "n"]),
    wanted=st.sampled_from([None, 1, 4]),
)
@example(  # a sensor is silent before the recording begins
    labels=[],
    gaps=[(0, 1), (0, 2), (0, 2)],
    ends=(1, 30, 0, 30),
    seconds=1.0,
    stride=None,
    purity=1.0,
    unlabelled="a",
    wanted=None,
)
@example(  # windows begin a rounding error behind a sensor's last whole reading
    labels=[], gaps=[(0, 1), (0, 1), (2, 1)], ends=(0, 30, 0, 30),
    seconds=1.0, stride=None, purity=1.0, unlabelled="a", wanted=None,
)  # fmt: skip
def test_windows_in_are_windows_out_and_windows_dropped(
    labels, gaps, ends, seconds, stride, purity, unlabelled, wanted
):
    spans, at = [], 0.0
    for pause, length, activity in labels:
        spans.append(Span(at + pause, at + pause + length, activity))
        at += pause + length
    streams = {
        "left": log(ends[0], ends[1], [(first, first + length) for first, length in gaps[:2]]),
        "right": log(ends[2], ends[3], [(first, first + length, 1) for first, length in gaps[2:]]),
    }
    windows = Windows(seconds, purity, unlabelled, stride_s=None if wanted else stride, count=wanted)
    recording = Recording("r", "anna", streams, tuple(spans))
    try:
        (found,) = placed([recording], windows)
    except DataError as error:
        assert wanted and "at most, expected" in str(error)
        return
    assert found.windows == place([recording], windows)[0]
    out = Counter(one.activity for one in found.windows)
    lost = Counter()
    start_s = max(stream.times[0] for stream in streams.values())
    stop_s = min(stream.times[-1] + 0.1 for stream in streams.values())
    for one in found.dropped:
        lost[one.activity] += one.windows
        assert one.windows > 0 and (one.recording, one.subject) == ("r", "anna")
        if one.reason == GAP:
            assert one.stream in ("left", "right (a1)")
            cut_off = one.start_s == start_s or one.stop_s == pytest.approx(stop_s)
            assert one.stop_s - one.start_s > 0.5 or cut_off
    filled = stretches(spans, unlabelled, start_s, stop_s)
    if wanted:  # at a stride that it chose
        assert len(found.windows) == wanted
    elif not filled:
        assert sum(lost.values()) == max(1, count(stop_s - start_s, seconds, stride or seconds)) and not out
    elif purity == 1:
        for activity in {activity for _, _, activity in filled}:
            asked = sum(
                max(1, count(b - a, seconds, stride or seconds)) for a, b, of in filled if of == activity
            )
            assert out[activity] + lost[activity] == asked
    else:
        first, last = min(filled[0][0], start_s), max(filled[-1][1], stop_s)
        assert sum((out + lost).values()) == max(1, count(last - first, seconds, stride or seconds))


def stretches(spans, unlabelled, start_s, stop_s):
    """Labels and what is between them, neighbours of one activity joined."""
    filled = [(span.start_s, span.stop_s, span.activity) for span in spans]
    if unlabelled and not filled:
        return [(start_s, stop_s, unlabelled)] if stop_s > start_s else []
    if unlabelled:
        filled += [(a[1], b[0], unlabelled) for a, b in pairwise(filled) if b[0] > a[1]]
    joined = []
    for start, stop, activity in sorted(filled):
        if joined and joined[-1][2] == activity and start - joined[-1][1] < 1e-6:
            start = joined.pop()[0]
        joined.append((start, stop, activity))
    return joined


def lines(recordings, windows, streams=None):
    found = placed(recordings, windows, streams)
    clips = [
        Clip(f"{r.name}/{i}", r.name, r.subject, w.activity, w.start_s, w.stop_s)
        for r, one in zip(recordings, found, strict=True)
        for i, w in enumerate(one.windows)
    ]
    return told([lost for one in found for lost in one.dropped], clips)


def test_a_log_that_stops_and_starts_late_is_named_with_its_windows():
    stopped = Recording("s1", "anna", {"wrist": log(2, 16), "ankle": log(0, 40)}, (Span(0, 26, "a"),))
    assert lines([stopped], Windows(2.0)) == [
        "6 of 13 windows dropped: 5 after the last reading of wrist, 1 before the first reading of wrist",
        "  s1: 5 of a: after the last reading of wrist at 16.00 s",
        "  s1: 1 of a: before the first reading of wrist at 2.00 s",
    ]


def test_a_clock_set_an_hour_forward_names_the_hour_and_the_class_that_it_costs():
    times = np.concatenate([np.arange(0, 10, 0.02), 3600 + np.arange(10, 20, 0.02)])
    wrist = SensorLog(times, np.ones((len(times), 3), np.float32), ("x", "y", "z"))
    camera = Readings(np.arange(0, 20, 0.1), np.ones((200, 1)))
    one = Recording(
        "session", "anna", {"video": camera, "wrist": wrist}, (Span(1, 9, "a"), Span(11, 19, "b"))
    )
    assert lines([one], Windows(2.0)) == [
        "4 of 8 windows dropped: 4 no reading of wrist",
        "  session: 4 of b: no reading of wrist from 9.98 s to 3610.00 s (3600.0 s)",
        "activity 'b': no clip at all (4 dropped)",
    ]


def test_a_column_that_is_filled_now_and_then_is_named():
    times = np.arange(0, 60, 0.1)
    values = np.ones((600, 2), np.float32)
    values[:, 1] = np.where(np.arange(600) % 20 == 0, 1, np.nan)  # every 2 s, in a log whose gaps are of 1 s
    one = Recording("s1", "anna", {"wrist": SensorLog(times, values, ("acc", "pulse"))}, (Span(0, 60, "a"),))
    assert lines([one], Windows(5.0)) == [
        "12 of 12 windows dropped: 12 no reading of wrist (pulse)",
        "  s1: 12 of a: no reading of wrist (pulse) from 0.00 s to 2.00 s (2.0 s), the longest of several",
        "anna: no clip at all",
    ]


def test_recordings_without_labels_short_labels_and_mixed_windows_are_counted():
    bare = Recording("bare", "ben", {"wrist": log(0, 20)}, ())
    short = Recording("short", "carl", {"wrist": log(0, 20)}, (Span(0, 1, "a"), Span(3, 12, "b")))
    (one, other) = placed([bare, short], Windows(4.0))
    assert [(lost.reason, lost.windows) for lost in one.dropped] == [(UNLABELLED, 5)]
    assert [(lost.reason, lost.activity) for lost in other.dropped] == [(SHORT, "a")] and len(
        other.windows
    ) == 2
    (mixed,) = placed([short], Windows(4.0, purity=0.8))
    assert {lost.reason for lost in mixed.dropped} == {MIXED, NO_LABEL}
    assert "ben: no clip at all" in lines([bare, short], Windows(4.0))


def test_a_count_says_how_many_it_left():
    (one,) = placed([Recording("r", "anna", {"w": log(0, 40)}, (Span(0, 40, "a"),))], Windows(4.0, count=3))
    assert [(lost.reason, lost.activity, lost.windows) for lost in one.dropped] == [(SURPLUS, "a", 7)]
    with pytest.raises(DataError, match="dropped, back to back: 5 after the last reading of w"):
        placed([Recording("r", "anna", {"w": log(0, 20)}, (Span(0, 40, "a"),))], Windows(4.0, count=3000))


def recorded(*recordings):
    modalities = tuple(
        Modality(name, (name,), 20, 10.0, tiny.tensor, tiny.Linear) for name in ("left", "right")
    )
    return Dataset("gloves", ("a", "b"), modalities, lambda data: iter(recordings), "")


def test_a_missing_glove_costs_its_recording_and_only_who_needs_it(tmp_path):
    both = Recording(
        "r1", "anna", {"left": log(0, 9), "right": log(0, 9)}, (Span(0, 4, "a"), Span(4, 8, "b"))
    )
    one = Recording("r2", "ben", {"right": log(0, 9)}, (Span(0, 4, "a"), Span(4, 5, "b")))
    dataset = recorded(both, one)
    found = survey(dataset, tmp_path, ["left", "right"])
    assert [clip.recording for _, clip in found.cuts] == ["r1"] * 4
    assert [(d.recording, d.reason, d.stream, d.windows) for d in found.dropped] == [
        ("r2", SHORT, None, 1),
        *[("r2", NO_STREAM, "left", 1)] * 2,
    ]
    assert found.told(dataset.activities) == [
        "3 of 7 windows dropped: 2 no such stream of left, 1 its label is shorter than a window",
        "  r2: 2 of a: no such stream of left",
        "  r2: 1 of b: its label is shorter than a window",
        "ben: no clip at all",
    ]
    right = survey(dataset, tmp_path, ["left", "right"], needed=["right"])
    assert len(right.cuts) == 6 and [d.reason for d in right.dropped] == [SHORT]
    assert table_of(found.dropped)["stream"].to_list() == [None, "left", "left"]
    with pytest.raises(DataError, match="recording r2: no stream 'left', got: right"):
        survey(recorded(one), tmp_path, ["left"])
    assert {BEFORE, AFTER}.isdisjoint(d.reason for d in found.dropped)
