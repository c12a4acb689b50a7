"""Scores of whole recordings: frames against scikit-learn and by hand, and what holds of all scores."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from plait.analysis.continuous import frame_confusion, scores
from plait.errors import ConfigError, DataError
from plait.types import Segment
from tests.analysis.seconds import EXAMPLE, recordings, spans, stretch, stretches_of

ACTIVITIES = ("walk", "run", "sit")


def test_frames_by_hand():
    found = scores([EXAMPLE], ACTIVITIES, 1.0)
    assert (found.frames, found.labelled) == (10, 7)
    assert found.accuracy == pytest.approx(6 / 10)  # seconds 0, 2, 3, 4, 6 and 9
    assert found.accuracy_labelled == pytest.approx(4 / 7)
    table = found.by_activity
    assert table["activity"].to_list() == [*ACTIVITIES, None]
    assert table["frames"].to_list() == [4, 3, 0, 3]
    # walk: 3 right of 5 predicted and 4 labelled; run: 1 of 2 and 3; null: 2 of 3 and 3; sit: nowhere.
    assert table["precision"].to_list() == pytest.approx([3 / 5, 1 / 2, None, 2 / 3])
    assert table["recall"].to_list() == pytest.approx([3 / 4, 1 / 3, None, 2 / 3])
    assert table["f1"].to_list() == pytest.approx([6 / 9, 2 / 5, None, 4 / 6])
    # Of the seven labelled seconds walk is predicted in four.
    assert table["f1_labelled"].to_list() == pytest.approx([6 / 8, 2 / 5, None, None])
    assert found.precision == pytest.approx((3 / 5 + 1 / 2 + 2 / 3) / 3)
    assert found.recall == pytest.approx((3 / 4 + 1 / 3 + 2 / 3) / 3)
    assert found.macro_f1 == pytest.approx((2 / 3 + 2 / 5 + 2 / 3) / 3)
    assert found.macro_f1_activities == pytest.approx((2 / 3 + 2 / 5) / 2)
    assert found.macro_f1_labelled == pytest.approx((3 / 4 + 2 / 5) / 2)


def test_the_macro_mean_is_over_what_is_labelled_or_predicted_in_its_frames():
    # run is predicted only where nothing is labelled: it counts 0 in all frames, not in the labelled ones.
    found = scores([stretch([(0, 5, "walk")], [(0, 5, "walk"), (5, 6, "run")])], ACTIVITIES, 1.0)
    assert found.macro_f1 == pytest.approx((1 + 0 + 8 / 9) / 3)
    assert found.macro_f1_activities == pytest.approx((1 + 0) / 2)
    assert found.macro_f1_labelled == 1
    # run is predicted where walk is labelled: it counts 0 in both.
    found = scores([stretch([(0, 5, "walk")], [(0, 4, "walk"), (4, 5, "run")])], ACTIVITIES, 1.0)
    assert found.macro_f1_labelled == pytest.approx((8 / 9 + 0) / 2)


def test_null_predicted_where_something_is_labelled_is_a_miss_and_no_class_of_the_labelled_frames():
    found = scores([stretch([(0, 5, "walk")], [(0, 4, "walk")])], ACTIVITIES, 1.0)
    assert found.macro_f1_labelled == pytest.approx(8 / 9)
    assert found.accuracy_labelled == pytest.approx(4 / 5)


@pytest.mark.parametrize(("stop_s", "frames"), [(0.4, 0), (0.5, 0), (0.6, 1), (2.5, 2), (2.6, 3), (3.0, 3)])
def test_a_frame_is_one_whose_centre_is_within_the_extent(stop_s, frames):
    assert frame_confusion([stretch([], [], stop_s)], ACTIVITIES, 1.0).sum() == frames


def test_a_frame_shows_what_is_at_its_centre_and_starts_belong_to_what_they_start():
    labels = [(0.5, 1.5, "walk"), (1.5, 2.49, "run")]  # centres: 0.5, 1.5, 2.5
    confusion = frame_confusion([stretch(labels, [], 3.0)], ACTIVITIES, 1.0)
    assert confusion[:, -1].tolist() == [1, 1, 0, 1]


def test_rounding_of_times_is_no_overlap_and_no_gap():
    tenth = 0.1 + 0.2  # a little more than 0.3
    labels, predictions = [(0, tenth, "walk"), (0.3, 1, "run")], [(0, 0.3, "walk"), (tenth, 1, "run")]
    found = scores([stretch(labels, predictions, 1.0)], ACTIVITIES, 0.1)
    assert found.accuracy == found.macro_f1 == found.edit == 1
    assert found.by_activity.filter(found.by_activity["activity"] == "run")["overfill_s"].item() == 0


def test_what_lies_outside_the_extent_is_cut_off():
    labels = [(-5, 5, "walk"), (12, 13, "run")]
    whole = stretch(labels, [(-1, 2, "walk"), (9, 11, "walk"), (11, 12, "sit")])
    cut = stretch([(0, 5, "walk")], [(0, 2, "walk"), (9, 10, "walk")])
    assert (whole.truth, whole.found) == (cut.truth, cut.found)


def test_mean_average_precision_is_over_activities_with_labels():
    labels, predictions = [(0, 2, "walk"), (2, 4, "run")], [(0, 2, "walk"), (4, 6, "sit")]
    found = scores([stretch(labels, predictions)], ACTIVITIES, 1.0)
    assert set(found.mean_ap_at.values()) == {0.5}  # walk 1, run 0, sit has no label
    assert found.mean_ap == 0.5
    assert found.by_activity["average_precision"].to_list() == [1, 0, None, None]


def test_events_of_all_activities_are_summed():
    found = scores([EXAMPLE], ACTIVITIES, 1.0)
    assert {kind: count for kind, count in found.events.items() if count} == {
        "labelled": 2,
        "correct": 2,
        "predicted": 3,
        "inserted": 1,  # walk from 7 to 8
    }


def test_overlapping_labels_are_one_if_of_one_activity_and_refused_otherwise():
    assert stretch([(0, 3, "walk"), (1, 2, "walk"), (2, 5, "walk")], []).truth == (Segment(0, 5, "walk"),)
    with pytest.raises(DataError, match=r"recording a: label 'run' starts at 2.5 s, .* 'walk' ends at 3.0 s"):
        stretch([(2.5, 4, "run"), (0, 3.0, "walk")], [])


def test_a_name_of_null_is_no_label_and_no_prediction():
    named = stretch([(0, 5, "walk"), (5, 9, "idle")], [(0, 5, "walk"), (5, 10, "idle")], null="idle")
    plain = stretch([(0, 5, "walk")], [(0, 5, "walk")])
    ours, theirs = (scores([each], ACTIVITIES, 1.0) for each in (named, plain))
    assert ours[:-1] == theirs[:-1] and ours.by_activity.equals(theirs.by_activity)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([(0, 3, "walk"), (2, 4, "walk")], "prediction 'walk' starts at 2 s"),
        ([(3, 3, "walk")], "expected a start, a later stop"),
        ([(0, np.inf, "walk")], "expected a start, a later stop"),
        ([(0, 1, "walk", np.nan)], "and a score"),
    ],
)
def test_predictions_that_are_none(predictions, message):
    with pytest.raises(DataError, match=message):
        stretch([], predictions)


def test_what_is_refused_of_scores():
    for labels, predictions, kind in (([(0, 1, "fly")], [], "label"), ([], [(0, 1, "fly")], "prediction")):
        for score in (scores, frame_confusion):
            with pytest.raises(
                DataError, match=f"recording a: {kind} 'fly', expected one of: walk, run, sit"
            ):
                score([stretch(labels, predictions)], ACTIVITIES, 1.0)
    with pytest.raises(DataError, match="expected a later stop"):
        stretch([], [], stop_s=0.0)
    for step_s in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ConfigError, match="step_s"):
            scores([EXAMPLE], ACTIVITIES, step_s)
    with pytest.raises(ConfigError, match="each once"):
        scores([EXAMPLE], ("walk", "run", "walk"), 1.0)


def test_no_prediction_at_all():
    found = scores([stretch([(0, 4, "walk"), (5, 7, "run")], [])], ACTIVITIES, 1.0)
    assert (found.accuracy, found.accuracy_labelled) == (0.4, 0)
    assert (found.macro_f1_activities, found.macro_f1_labelled) == (0, 0)
    assert (found.mean_ap, found.edit, set(found.f1_at.values())) == (0, 0, {0.0})
    assert (found.events["deleted"], found.events["labelled"]) == (2, 2)


def test_nothing_to_score():
    for stretches, accuracy in (([], None), ([stretch([], [])], 1)):
        found = scores(stretches, ACTIVITIES, 1.0)
        assert found.accuracy == accuracy
        empty = found.accuracy_labelled, found.macro_f1_activities, found.macro_f1_labelled
        assert {*empty, found.mean_ap, found.edit, *found.mean_ap_at.values(), *found.f1_at.values()} == {
            None
        }


@settings(max_examples=60, deadline=None)
@given(recordings())
def test_frames_are_those_of_scikit_learn(rows):
    found = scores(stretches_of(rows), ACTIVITIES, 1.0)
    pairs = [(a or "", b or "") for _, truth, seen, _ in rows for a, b in zip(truth, seen, strict=True)]
    truth, seen = zip(*pairs, strict=True)
    for metric, name in ((f1_score, "macro_f1"), (precision_score, "precision"), (recall_score, "recall")):
        expected = metric(truth, seen, average="macro", zero_division=0)
        assert getattr(found, name) == pytest.approx(expected)
    assert found.accuracy == pytest.approx(np.mean([a == b for a, b in pairs]))
    classes = sorted({*truth, *seen} - {""})
    if classes:
        expected = f1_score(truth, seen, labels=classes, average="macro", zero_division=0)
        assert found.macro_f1_activities == pytest.approx(expected)
    labelled = [pair for pair in pairs if pair[0]]
    if labelled:
        truth, seen = zip(*labelled, strict=True)
        classes = sorted({*truth, *seen} - {""})
        expected = f1_score(truth, seen, labels=classes, average="macro", zero_division=0)
        assert found.macro_f1_labelled == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(recordings(), st.booleans())
def test_a_perfect_prediction_has_one_everywhere(rows, leave_out):
    perfect = [(name, truth, truth, [(*s, 0.5) for s in spans(truth)]) for name, truth, *_ in rows]
    found = scores(stretches_of(perfect, leave_out=leave_out), ACTIVITIES, 0.5)
    assert found.accuracy == found.macro_f1 == found.precision == found.recall == 1
    if any(spans(truth) for _, truth, *_ in rows):
        values = found.accuracy_labelled, found.macro_f1_labelled, found.macro_f1_activities, found.mean_ap
        assert {*values, found.edit, *found.f1_at.values(), *found.mean_ap_at.values()} == {1}
    wrong = {kind for kind, count in found.events.items() if count} - {"labelled", "correct", "predicted"}
    assert not wrong and found.events["correct"] == found.events["labelled"] == found.events["predicted"]


def lengthened(row, times):
    """A recording whose gaps last several times as long, and what is recognised in them, too."""
    name, truth, found, scored = row
    lasting = [1 if activity else times for activity in truth]
    at = [0, *np.cumsum(lasting).tolist()]
    sides = ([a for a, n in zip(side, lasting, strict=True) for _ in range(n)] for side in (truth, found))
    return name, *sides, [(at[start], at[stop], *rest) for start, stop, *rest in scored]


@settings(max_examples=60, deadline=None)
@given(recordings(), st.integers(2, 5))
def test_how_long_gaps_are_changes_nothing_where_they_are_left_out(rows, times):
    once = scores(stretches_of(rows, leave_out=True), ACTIVITIES, 1.0)
    longer = [lengthened(row, times) for row in rows]
    again = scores(stretches_of(longer, leave_out=True), ACTIVITIES, 1.0)
    kept = ("labelled", "accuracy_labelled", "macro_f1_labelled", "mean_ap_at", "edit", "f1_at", "events")
    assert [getattr(again, name) for name in kept] == [getattr(once, name) for name in kept]
    assert again.frames - again.labelled == times * (once.frames - once.labelled)


@settings(max_examples=60, deadline=None)
@given(recordings())
def test_where_all_is_labelled_there_is_nothing_to_leave_out(rows):
    rows = [(name, [a or "walk" for a in truth], *rest) for name, truth, *rest in rows]
    asked, left = (scores(stretches_of(rows, leave_out=which), ACTIVITIES, 1.0) for which in (False, True))
    assert asked[:-1] == left[:-1] and asked.by_activity.equals(left.by_activity)


@settings(max_examples=60, deadline=None)
@given(recordings())
def test_frames_are_those_of_predictions_without_what_lies_in_gaps(rows):
    sides = [[b if a else None for a, b in zip(*row[1:3], strict=True)] for row in rows]
    cut = [(*row[:3], [(*s, 0.5) for s in spans(side)]) for row, side in zip(rows, sides, strict=True)]
    ours = frame_confusion(stretches_of(rows, leave_out=True), ACTIVITIES, 1.0)
    assert (ours == frame_confusion(stretches_of(cut), ACTIVITIES, 1.0)).all()


@settings(max_examples=40, deadline=None)
@given(recordings())
def test_the_order_of_recordings_changes_nothing(rows):
    first, *others = (scores(order, ACTIVITIES, 1.0) for order in permutations(stretches_of(rows)))
    for other in others:
        assert other[:-1] == first[:-1] and other.by_activity.equals(first.by_activity)
