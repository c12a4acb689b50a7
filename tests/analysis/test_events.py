"""Segments and events against examples worked out by hand and against loops over seconds."""

from fractions import Fraction
from functools import cache
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.analysis.events import average_precisions, edit_score, event_errors, f1_at
from tests.analysis.seconds import EXAMPLE, recordings, spans, stretch, stretches_of

OVERLAPS = (0.1, 0.25, 0.5)


def test_average_precision_by_hand():
    first = stretch(
        [(0, 10, "walk"), (20, 30, "walk")],
        [(0, 10, "walk", 0.9), (12, 15, "walk", 0.7), (20, 28, "walk", 0.6)],
        40.0,
    )
    second = stretch([(0, 10, "walk")], [(5, 15, "walk", 0.8)], 40.0, recording="b")
    # IoU from the highest score on: 1; 5 / 15 in the other recording; 0; 8 / 10.
    # From 0.3 to 1 / 3: right, right, wrong, right: precision 1, 1, 2 / 3, 3 / 4 of three labels.
    # From 0.4 to 0.8: right, wrong, wrong, right: 1 and 2 / 4. Above 0.8 the first alone.
    found = average_precisions([first, second], ["walk"], [0.3, 0.5, 0.8, 0.9])
    assert found == pytest.approx(np.array([[(1 + 1 + 3 / 4) / 3, (1 + 1 / 2) / 3, (1 + 1 / 2) / 3, 1 / 3]]))


def test_a_prediction_takes_the_label_that_it_overlaps_most():
    # 1-9 has 3 / 9 of the first and 4 / 8 of the second, which leaves the first to 0-1: 1 / 4.
    both = stretch([(0, 4, "walk"), (5, 9, "walk")], [(1, 9, "walk", 0.9), (0, 1, "walk", 0.8)])
    assert average_precisions([both], ["walk"], [0.25]).item() == 1


def test_a_taken_label_leaves_the_next_best_to_average_precision_and_none_to_f1():
    # The first prediction takes the first label: 4 / 10. The second has 5 / 13 of that, 2 / 8 of the other.
    both = stretch([(0, 10, "walk"), (11, 13, "walk")], [(0, 4, "walk", 0.9), (5, 13, "walk", 0.8)], 20.0)
    assert average_precisions([both], ["walk"], [0.2]).item() == 1
    assert average_precisions([both], ["walk"], [0.3]).item() == 0.5
    assert f1_at([both], [0.2]) == {0.2: 0.5}  # one right, one wrong, one missed


def test_equal_scores_are_ranked_by_recording_and_time():
    right = stretch([(0, 4, "walk")], [(0, 4, "walk")], recording="b")
    wrong = stretch([], [(0, 4, "walk")], recording="a")
    assert average_precisions([right, wrong], ["walk"], [0.5]).item() == 0.5
    later = stretch([(0, 4, "walk")], [(0, 4, "walk"), (6, 8, "walk")])
    assert average_precisions([later], ["walk"], [0.5]).item() == 1


def test_edit_score_by_hand():
    # walk, run, walk recognised as walk, sit: one substitution, one deletion of three.
    first = stretch([(0, 2, "walk"), (2, 4, "run"), (5, 6, "walk")], [(0, 1, "walk"), (8, 9, "sit")])
    assert edit_score([first]) == pytest.approx(1 / 3)
    # With null: walk run . walk . against walk . sit . : two of five.
    assert edit_score([first], null=True) == pytest.approx(1 - 2 / 5)
    second = stretch([(0, 2, "walk")], [(7, 8, "walk")])
    nothing = stretch([], [])
    assert edit_score([first, second, nothing]) == pytest.approx((1 / 3 + 1) / 2)
    assert edit_score([nothing]) is None
    assert edit_score([nothing], null=True) == 1


def test_f1_by_hand():
    # walk 2-6 against 1-5: IoU 3 / 5; run 6-9 against 5-7: 1 / 4; walk 7-8: its only label is taken or far.
    assert f1_at([EXAMPLE]) == pytest.approx({0.1: 4 / 5, 0.25: 4 / 5, 0.5: 2 / 5})
    # Null too: 0-2 against 0-1: 1 / 2; 9-10 against 8-10: 1 / 2. All in all 4 labels and 5 predictions.
    assert f1_at([EXAMPLE], null=True) == pytest.approx({0.1: 8 / 9, 0.25: 8 / 9, 0.5: 6 / 9})
    assert f1_at([EXAMPLE, EXAMPLE, stretch([], [(0, 1, "run")])], [0.5]) == pytest.approx({0.5: 4 / 11})
    assert f1_at([stretch([], [])], [0.5]) == {0.5: None}


def test_kinds_of_event_error_by_hand():
    ends = [(1, 6), (8, 11), (14, 15), (16, 17), (18, 19), (20, 21), (22, 24), (25, 30)]
    labels = [(*pair, "walk") for pair in ends]
    ends = [(1, 2), (3, 4), (5, 7), (9, 10), (11, 12), (13, 15), (18, 21), (22, 26), (27, 28), (29, 30)]
    table = event_errors([stretch(labels, [(*pair, "walk") for pair in ends], 31.0)], ["walk", "run"])
    assert table.row(0, named=True) == {
        "activity": "walk",
        "labelled": 8,
        "correct": 2,  # 8-11 by 9-10, 14-15 by 13-15
        "deleted": 1,  # 16-17
        "fragmented": 1,  # 1-6
        "merged": 3,  # 18-19 and 20-21, and 22-24 with 25-30
        "fragmented_merged": 1,  # 25-30
        "predicted": 10,
        "inserted": 1,  # 11-12 touches 8-11 only
        "fragmenting": 5,  # three in 1-6, 27-28 and 29-30
        "merging": 1,  # 18-21
        "fragmenting_merging": 1,  # 22-26
        "right_s": 12,
        "deletion_s": 1,  # 16-17
        "fragmenting_s": 4,  # 2-3, 4-5, 26-27, 28-29
        "underfill_s": 2,  # 8-9, 10-11
        "insertion_s": 1,  # 11-12
        "merge_s": 2,  # 19-20, 24-25
        "overfill_s": 2,  # 6-7, 13-14
    }
    assert table.row(1)[0] == "run" and set(table.row(1)[1:]) == {0}


def test_segments_that_touch_are_one_event_and_two_detections():
    split = stretch([(0, 2, "walk"), (2, 4, "walk")], [(0, 1, "walk"), (1, 4, "walk")])
    joined = stretch([(0, 4, "walk")], [(0, 4, "walk")])
    assert event_errors([split], ["walk", "run"]).equals(event_errors([joined], ["walk", "run"]))
    assert edit_score([split]) == f1_at([split], [0.9])[0.9] == 1
    # 0-1 takes 0-2 (1 / 2); 1-4 takes 2-4 (2 / 3).
    assert average_precisions([split], ["walk"], [0.5, 0.6]).tolist() == [[1, 0.25]]


def test_where_gaps_are_left_out_a_segment_through_several_labels_is_one():
    labels = [(5 * n, 5 * n + 4, "walk" if n < 4 else "run") for n in range(8)]
    long = [(0, 20, "walk", 1.0), (20, 39, "run", 1.0)]
    both = stretch(labels, long, 40.0, leave_out=True)
    assert average_precisions([both], ["walk", "run"]).max() == 0  # 4 s of 16 s are a quarter
    assert edit_score([both]) == 2 / 8 and f1_at([both], [0.25, 0.5]) == {0.25: 4 / 10, 0.5: 0}
    table = event_errors([both], ["walk", "run"]).row(0, named=True)
    assert (table["merged"], table["merging"], table["right_s"], table["merge_s"]) == (4, 1, 16, 0)


def test_where_gaps_are_left_out_nothing_is_asked_of_them():
    labels = [(2, 4, "walk"), (6, 8, "walk"), (8, 9, "run")]
    # One begins and ends in gaps, one lies in a gap alone, one begins in it and goes on.
    found = [(0, 5, "walk", 0.5), (5, 5.5, "run", 0.9), (5.5, 8, "walk", 0.4), (8, 10, "run", 0.3)]
    loose = stretch(labels, found, leave_out=True)
    assert (average_precisions([loose], ["walk", "run"]) == 1).all()
    assert edit_score([loose]) == 1 and f1_at([loose], [0.9]) == {0.9: 1}
    table = event_errors([loose], ["walk", "run"])
    assert table["correct"].to_list() == table["predicted"].to_list() == [2, 1]
    assert table["right_s"].to_list() == [4, 1] and table["overfill_s"].sum() == 0
    assert edit_score([stretch([], [(0, 1, "run")], leave_out=True)]) is None


def iou(first, second, counting):
    """Of seconds, those that are among `counting`."""
    ours, theirs = ({*range(*ends[:2])} & counting for ends in (first, second))
    return Fraction(len(ours & theirs), len(ours | theirs))


def counting(truth, leave_out):
    return {second for second, activity in enumerate(truth) if activity or not leave_out}


def counted(ends, truth, leave_out):
    return [span for span in ends if {*range(*span[:2])} & counting(truth, leave_out)]


def average_precision(rows, activity, tiou, leave_out=False):
    """The mean, over labels, of the highest precision at which so many are found; None without a label."""
    labels = [(name, *s) for name, truth, *_ in rows for s in spans(truth) if s[2] == activity]
    seconds = {name: counting(truth, leave_out) for name, truth, *_ in rows}
    ranked = [
        (-s[3], name, *s[:2])
        for name, truth, _, scored in rows
        for s in counted(scored, truth, leave_out)
        if s[2] == activity
    ]
    taken, points = set(), []
    for rank, (_, name, *ends) in enumerate(sorted(ranked), 1):
        near = [
            (-iou(ends, label[1:], seconds[name]), label)
            for label in labels
            if label[0] == name and label not in taken
        ]
        if near and -min(near)[0] >= tiou:
            taken.add(min(near)[1])
        points.append((len(taken), Fraction(len(taken), rank)))
    best = [max((p for found, p in points if found > number), default=0) for number in range(len(labels))]
    return float(Fraction(sum(best), len(labels))) if labels else None


def distance(first, second):
    @cache
    def between(i, j):
        if i == 0 or j == 0:
            return i + j
        same = between(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(same, between(i - 1, j) + 1, between(i, j - 1) + 1)

    return between(len(first), len(second))


def right_segments(truth, found, overlap, leave_out):
    """How many predictions are right: each looks at the label of its activity that it overlaps most."""
    taken, seconds = set(), counting(truth, leave_out)
    for prediction in counted(spans(found), truth, leave_out):
        same = [label for label in spans(truth) if label[2] == prediction[2]]
        overlaps = [iou(prediction, label, seconds) for label in same]
        if same and max(overlaps) >= overlap:
            taken.add(same[overlaps.index(max(overlaps))])  # the first of equals
    return len(taken)


def segments_by_kind(truth, found, activity):
    """Ward's segments: seconds that are alike, and what they are called after their neighbours."""
    states = [(a == activity, b == activity) for a, b in zip(truth, found, strict=True)]
    groups = [(state, len(list(group))) for state, group in groupby(states)]
    names = {
        (True, False): ["deletion", "underfill", "fragmenting"],
        (False, True): ["insertion", "overfill", "merge"],
    }
    place = 0
    for number, (state, length) in enumerate(groups):
        beside = [groups[i][0] for i in (number - 1, number + 1) if 0 <= i < len(groups)]
        if state != (False, False):
            name = "right" if state == (True, True) else names[state][beside.count((True, True))]
            yield name, place, place + length
        place += length


def event_kinds(truth, found, activity, leave_out):
    """Ward's events after the segments they hold, then after the events they meet."""
    labels = {s[:2]: set() for s in spans(truth) if s[2] == activity}
    heard = counted(spans(found), truth, leave_out)
    predictions = {s[:2]: set() for s in heard if s[2] == activity}
    for name, start, _ in segments_by_kind(truth, found, activity):
        mark = {"deletion": "D", "fragmenting": "F", "insertion": "I", "merge": "M"}.get(name)
        events = labels if name in ("deletion", "fragmenting") else predictions
        for ends, kinds in events.items():
            if mark and ends[0] <= start < ends[1]:
                kinds.add(mark)
    meeting = [(a, b) for a in labels for b in predictions if {*range(*a)} & {*range(*b)}]
    for a, b in meeting:
        labels[a] |= {"M"} & predictions[b]
    for a, b in meeting:
        predictions[b] |= {"F"} & labels[a]
    return [["".join(sorted(kinds)) for kinds in events.values()] for events in (labels, predictions)]


@settings(max_examples=200, deadline=None)
@given(recordings(), st.booleans())
def test_segments_are_those_of_loops(rows, leave_out):
    stretches = stretches_of(rows, leave_out=leave_out)
    tious = [Fraction(n, 10) for n in (1, 3, 5, 7)]
    precisions = average_precisions(stretches, ("walk", "run"), [float(tiou) for tiou in tious])
    expected = [[average_precision(rows, a, tiou, leave_out) for tiou in tious] for a in ("walk", "run")]
    assert precisions == pytest.approx(np.array(expected, np.float64), nan_ok=True)

    edits, segments = [], 0
    for _, truth, found, _ in rows:
        names = [[s[2] for s in counted(spans(side), truth, leave_out)] for side in (truth, found)]
        segments += len(names[0]) + len(names[1])
        if names[0] or names[1]:
            edits.append(1 - distance(*map(tuple, names)) / max(map(len, names)))
    assert edit_score(stretches) == (pytest.approx(np.mean(edits)) if edits else None)
    for overlap, f1 in f1_at(stretches, OVERLAPS).items():
        right = sum(right_segments(truth, found, overlap, leave_out) for _, truth, found, _ in rows)
        assert f1 == (pytest.approx(2 * right / segments) if segments else None)


@settings(max_examples=200, deadline=None)
@given(recordings(), st.booleans())
def test_event_errors_are_those_of_seconds_and_their_neighbours(rows, leave_out):
    table = event_errors(stretches_of(rows, leave_out=leave_out), ("walk", "run"))
    for row in table.iter_rows(named=True):
        seconds = dict.fromkeys(
            ("right", "deletion", "fragmenting", "underfill", "insertion", "merge", "overfill"), 0
        )
        labels, predictions = [], []
        for _, truth, found, _ in rows:
            for name, start, stop in segments_by_kind(truth, found, row["activity"]):
                seconds[name] += len({*range(start, stop)} & counting(truth, leave_out))
            ours, theirs = event_kinds(truth, found, row["activity"], leave_out)
            labels, predictions = labels + ours, predictions + theirs
        assert {name: row[f"{name}_s"] for name in seconds} == seconds
        assert row["labelled"] == len(labels) and row["predicted"] == len(predictions)
        kinds = {"correct": "", "deleted": "D", "fragmented": "F", "merged": "M", "fragmented_merged": "FM"}
        assert {kind: row[kind] for kind in kinds} == {kind: labels.count(k) for kind, k in kinds.items()}
        kinds = {"inserted": "I", "fragmenting": "F", "merging": "M", "fragmenting_merging": "FM"}
        assert {kind: row[kind] for kind in kinds} == {
            kind: predictions.count(k) for kind, k in kinds.items()
        }
        assert predictions.count("") == row["correct"]
