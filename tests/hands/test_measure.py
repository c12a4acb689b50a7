"""Matching, precision, recall and AP50 against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.hands.count import kept, mode
from plait.hands.detections import Found
from plait.hands.measure import average_precision, matched, measure

HAND, OTHER = [0.0, 0, 10, 10], [50.0, 50, 60, 60]


def found(*boxes):
    return Found(np.array([box for box, _ in boxes]).reshape(-1, 4), np.array([score for _, score in boxes]))


def moved(box, by):
    return [box[0] + by, box[1], box[2] + by, box[3]]


def test_the_surest_box_takes_a_hand_and_the_next_is_a_second_one_too_many():
    truth = np.array([HAND])
    boxes = found((HAND, 0.5), (moved(HAND, 1), 0.9))
    assert matched(truth, boxes).tolist() == [False, True]


def test_an_overlap_of_half_is_enough_and_less_is_not():
    # Moved by d, two boxes of width 10 share 10 - d of 10 + d.
    truth = np.array([HAND])
    assert matched(truth, found((moved(HAND, 10 / 3 - 1e-9), 1.0))).all()
    assert not matched(truth, found((moved(HAND, 10 / 3 + 1e-6), 1.0))).any()


def test_a_taken_hand_leaves_the_next_best():
    truth = np.array([HAND, moved(HAND, 3)])
    boxes = found((moved(HAND, 1), 0.9), (moved(HAND, 1), 0.8), (moved(HAND, 1), 0.7))
    assert matched(truth, boxes).tolist() == [True, True, False]


def test_average_precision_by_hand():
    # Two hands; right, wrong, right: precision 1 up to recall 1/2, then 2/3.
    expected = (51 * 1 + 50 * 2 / 3) / 101
    assert average_precision(np.array([0.7, 0.9, 0.8]), np.array([True, True, False]), 2) == pytest.approx(
        expected
    )
    assert average_precision(np.array([0.9]), np.array([True]), 2) == pytest.approx(51 / 101)
    assert average_precision(np.array([]), np.array([], bool), 2) == 0
    assert average_precision(np.array([0.9, 0.1]), np.array([True, False]), 1) == 1


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 5))
def test_average_precision_is_the_mean_of_the_best_precisions(right, missed):
    hands = sum(right) + missed
    if hands == 0:
        return
    curve = [(sum(right[: k + 1]) / hands, sum(right[: k + 1]) / (k + 1)) for k in range(len(right))]
    best = [max((p for r, p in curve if r >= level / 100 - 1e-12), default=0.0) for level in range(101)]
    scores = np.linspace(1, 0.1, len(right))
    assert average_precision(scores, np.array(right), hands) == pytest.approx(sum(best) / 101)


def test_precision_and_recall_are_of_the_boxes_that_count():
    truth = [np.array([HAND, OTHER]), np.zeros((0, 4))]
    told = measure(truth, [found((HAND, 0.9), (OTHER, 0.2)), found((HAND, 0.6))], score=0.5)
    assert (told.pictures, told.hands) == (2, 2)
    assert (told.precision, told.recall, told.counted) == (0.5, 0.5, 0.0)
    # 0.9 right, 0.6 wrong, 0.2 right: precision 1 up to recall 1/2, then 2/3.
    assert told.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_nothing_to_take_a_share_of_is_none():
    told = measure([np.zeros((0, 4))], [found()])
    assert (told.precision, told.recall, told.ap50, told.counted) == (None, None, None, 1.0)


def test_at_most_two_boxes_count_and_one_hand_once():
    third = [100.0, 0, 110, 10]
    one = kept(found((HAND, 0.6), (moved(HAND, 1), 0.9), (OTHER, 0.7), (third, 0.8), (third, 0.3)), score=0.5)
    assert one.scores.tolist() == [0.9, 0.8] and one.boxes.tolist() == [moved(HAND, 1), third]
    assert len(kept(found((HAND, 0.49)), score=0.5).boxes) == 0
    # two hands, close together
    assert len(kept(found((HAND, 0.9), (moved(HAND, 5), 0.8)), score=0.5).boxes) == 2


@pytest.mark.parametrize(
    ("counts", "expected"), [([0, 1, 1, 2], 1), ([0, 0, 2, 2, 1], 2), ([1, 0], 1), ([0], 0)]
)
def test_a_clip_s_count_is_the_commonest_and_of_two_the_larger(counts, expected):
    assert mode(np.array(counts)) == expected
