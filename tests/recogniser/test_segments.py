"""Slots against moments one by one, decoders against loops and enumeration, segments against their slots."""

import itertools
import json
import tomllib

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from plait.errors import ConfigError, DataError
from plait.recogniser.decoding import (
    Decoding,
    decode,
    highest,
    median,
    minimum,
    read_decoding,
    refuse,
    transition_probabilities,
    viterbi,
)
from plait.recogniser.segments import REFUSED, Slots, segments, slots, stretches
from plait.types import Segment, Span

quick = settings(max_examples=60, deadline=None)
ABC = ("a", "b", "c")
MATRIX = np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.3, 0.1, 0.6]])
DECODINGS = (
    Decoding(),
    Decoding("median", 0.7),
    Decoding("minimum", 0.7),
    Decoding("viterbi", 0.5, 1.0),
    Decoding("viterbi", 0.5, 1.0, threshold=0.5),
)


def scored(count, seed=0, classes=3):
    return np.random.default_rng(seed).dirichlet(np.ones(classes) / 2, count)


def joined(labels, lengths_s=1.0, start_s=0.0, classes=3, seed=0, sharp=0.0):
    """Slots without a gap; `sharp` puts the labels' scores above the others'."""
    edges = start_s + np.concatenate([[0], np.cumsum(np.broadcast_to(lengths_s, len(labels)))])
    scores = scored(len(labels), seed, classes) * (1 - sharp) + np.eye(classes)[labels] * sharp
    return Slots(edges[:-1], edges[1:], scores)


@st.composite
def windows(draw):
    """Windows at a stride that may divide them or not, some missing, the last at an odd place; any order."""
    seconds = draw(st.sampled_from([0.3, 0.5, 1.0, 2.0]))
    stride_s = draw(st.sampled_from([0.1, 0.25, 0.3, 1 / 3, 0.5, 0.7, 1.0, 1 / 128 + 0.1]))
    start_s = draw(st.sampled_from([0.0, 0.1, 1 / 128, 1 / 3, 3 / 48000, 12345.678]))
    starts = [start_s + i * stride_s for i in range(draw(st.integers(1, 12)))]
    starts.append(starts[-1] + draw(st.sampled_from([0.01, 0.05, 0.123, stride_s, 5.0])))
    kept = [s for s in starts if draw(st.integers(0, 4))] or starts
    kept = draw(st.permutations(kept))
    starts = np.array(kept)
    return starts, starts + seconds, scored(len(kept), draw(st.integers(0, 99)))


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("starts_s", "stops_s", "scores")
    )


# slots


@quick
@given(windows())
def test_a_slot_holds_the_mean_of_the_windows_over_it_and_slots_fill_just_their_union(given_windows):
    starts, stops, scores = given_windows
    cut = slots(starts, stops, scores)
    assert (cut.lengths_s > 1e-6).all() and (cut.starts_s[1:] >= cut.stops_s[:-1]).all()
    moments = np.random.default_rng(0).uniform(starts.min() - 1, stops.max() + 1, 300)
    edges = np.concatenate([starts, stops])
    for moment in moments[np.abs(moments[:, None] - edges).min(axis=1) > 1e-5]:
        over = [scores[w] for w in range(len(starts)) if starts[w] < moment < stops[w]]
        slot = np.flatnonzero((cut.starts_s < moment) & (moment < cut.stops_s))
        assert len(slot) == (1 if over else 0)
        if over:
            np.testing.assert_allclose(cut.scores[slot[0]], np.mean(over, axis=0), atol=1e-12)


@quick
@given(windows())
def test_slots_before_the_latest_start_are_final_to_the_last_digit(given_windows):
    starts, stops, scores = (array[np.argsort(given_windows[0])] for array in given_windows)
    whole = slots(starts, stops, scores)
    for seen in range(1, len(starts)):
        latest = starts[seen - 1]
        part, final = slots(starts[:seen], stops[:seen], scores[:seen]), whole.stops_s <= latest
        done = part.stops_s <= latest
        assert same(
            Slots(part.starts_s[done], part.stops_s[done], part.scores[done]),
            Slots(whole.starts_s[final], whole.stops_s[final], whole.scores[final]),
        )


@quick
@given(windows())
def test_the_order_in_which_windows_are_given_changes_no_digit(given_windows):
    backwards = (array[::-1] for array in given_windows)
    assert same(slots(*given_windows), slots(*backwards))


def test_a_stride_that_divides_the_window_gives_slots_of_a_stride():
    starts = 0.3 + 0.1 * np.arange(50)
    cut = slots(starts, starts + 0.4, scored(50))
    np.testing.assert_allclose(cut.lengths_s, 0.1)
    assert len(cut) == 53 and len(list(cut.runs())) == 1


def test_slots_by_hand():
    cut = slots([4.0, 0.0, 1.5], [5.0, 2.0, 3.5], np.array([[5.0], [1.0], [2.0]]))
    np.testing.assert_array_equal(cut.starts_s, [0, 1.5, 2, 4])
    np.testing.assert_array_equal(cut.stops_s, [1.5, 2, 3.5, 5])
    np.testing.assert_array_equal(cut.scores[:, 0], [1, 1.5, 2, 5])
    assert [len(run) for run in cut.runs()] == [3, 1]


def test_no_windows_give_no_slots_and_none_of_them_labels():
    none = slots(np.zeros(0), np.zeros(0), np.zeros((0, 3)))
    assert len(none) == 0 and none.scores.shape == (0, 3)
    for decoding in DECODINGS:
        assert len(decode(none, decoding, MATRIX)) == 0
    assert segments(none, np.zeros(0, dtype=int), ABC) == []


@pytest.mark.parametrize(
    ("starts", "stops", "scores", "message"),
    [
        ([0.0], [1.0, 2.0], np.ones((1, 2)), "expected \\(n,\\), \\(n,\\) and"),
        ([0.0], [1.0], np.ones(1), "expected \\(n, classes\\)"),
        ([0.0, 1.0], [1.0, 1.0], np.ones((2, 2)), "number 1 is from 1.0 s to 1.0 s"),
        ([0.0], [np.nan], np.ones((1, 2)), "expected finite numbers"),
        ([0.0], [1.0], np.array([[np.nan, 1.0]]), "number 0: scores"),
    ],
)
def test_what_is_no_window_is_refused(starts, stops, scores, message):
    with pytest.raises(DataError, match=message):
        slots(starts, stops, scores)


# decoders


@quick
@given(windows(), st.sampled_from(DECODINGS))
def test_no_decoder_looks_across_a_gap(given_windows, decoding):
    cut = slots(*given_windows)
    alone = [decode(run, decoding, MATRIX) for run in cut.runs()]
    np.testing.assert_array_equal(decode(cut, decoding, MATRIX), np.concatenate(alone))


@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_an_odd_number_of_like_slots_gives_the_usual_median(count):
    cut = joined([0] * 40, lengths_s=0.1, start_s=7.3)
    reach = count // 2
    expected = [
        np.median(cut.scores[max(0, i - reach) : i + reach + 1], axis=0).argmax() for i in range(len(cut))
    ]
    np.testing.assert_array_equal(median(cut, count * 0.1), expected)


@quick
@given(
    lengths=st.lists(st.integers(1, 12).map(lambda n: 2 * n), min_size=1, max_size=12),
    centiseconds=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_among_unlike_slots_the_median_is_over_time(lengths, centiseconds, seed):
    cut = joined([0] * len(lengths), np.array(lengths) / 100, seed=seed)
    cells = np.repeat(cut.scores, 2 * np.array(lengths), axis=0)  # of 5 ms
    done, expected = 0, []
    for length in lengths:
        middle = 2 * done + length
        around = cells[max(0, middle - centiseconds) : middle + centiseconds]
        expected.append(np.median(around, axis=0).argmax())
        done += length
    np.testing.assert_array_equal(median(cut, centiseconds / 100), expected)


def test_a_median_takes_a_single_slot_for_noise():
    labels = [0, 0, 0, 1, 0, 0, 2, 2, 2, 2]
    cut = joined(labels, sharp=0.9)
    np.testing.assert_array_equal(highest(cut), labels)
    np.testing.assert_array_equal(median(cut, 3.0), [0, 0, 0, 0, 0, 0, 2, 2, 2, 2])


def least_by_rescanning(cut, seconds):
    """Each time all stretches anew, and the shortest, if too short, to a neighbour."""
    labels = list(cut.scores.argmax(axis=1))
    lengths = np.round(cut.lengths_s, 6)
    while True:
        found, first = [], 0
        for label, run in itertools.groupby(labels):
            count = len(list(run))
            found.append((round(sum(lengths[first : first + count]), 6), first, first + count, label))
            first += count
        length, first, last, _ = min(found)
        if len(found) == 1 or length >= seconds - 1e-5:
            return labels
        scores = {}
        for slot in (first - 1, last):
            if 0 <= slot < len(labels):
                scores.setdefault(
                    labels[slot], sum(cut.scores[first:last, labels[slot]] * lengths[first:last])
                )
        labels[first:last] = [max(scores, key=scores.get)] * (last - first)


@quick
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=40),
    tenths=st.integers(1, 30),
    classes=st.integers(1, 4),
    seed=st.integers(0, 999),
)
def test_short_stretches_go_as_when_all_are_looked_at_each_time(lengths, tenths, classes, seed):
    cut = joined([0] * len(lengths), np.array(lengths) / 10, seed=seed, classes=classes)
    labels = minimum(cut, tenths / 10)
    np.testing.assert_array_equal(labels, least_by_rescanning(cut, tenths / 10))
    found = stretches(cut, labels)
    for first, last in found:
        assert len(found) == 1 or cut.stops_s[last - 1] - cut.starts_s[first] > tenths / 10 - 1e-5


def test_a_short_stretch_goes_to_the_neighbour_with_the_higher_score_and_of_equals_to_the_earlier():
    rows = [[0.8, 0.1, 0.1]] * 3 + [[0.2, 0.5, 0.3]] + [[0.1, 0.1, 0.8]] * 3
    cut = Slots(np.arange(7.0), np.arange(1.0, 8.0), np.array(rows))
    np.testing.assert_array_equal(minimum(cut, 2.0), [0, 0, 0, 2, 2, 2, 2])
    np.testing.assert_array_equal(minimum(cut, 1.0), [0, 0, 0, 1, 2, 2, 2])
    cut.scores[3] = [0.25, 0.5, 0.25]
    np.testing.assert_array_equal(minimum(cut, 2.0), [0, 0, 0, 0, 2, 2, 2])
    alone = Slots(np.array([0.0, 5.0]), np.array([1.0, 6.0]), np.eye(2))
    np.testing.assert_array_equal(minimum(alone, 3.0), [0, 1])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("priors", [None, (0.5, 0.3, 0.2)])
def test_viterbi_of_slots_of_a_step_is_the_likeliest_of_all_courses(seed, priors):
    cut = joined([0] * 7, lengths_s=0.5, seed=seed)

    def likelihood(course):
        value = 1.0
        for slot, state in enumerate(course):
            value *= cut.scores[slot, state] / (priors[state] if priors else 1)
            value *= MATRIX[course[slot - 1], state] if slot else 1
        return value

    best = max(itertools.product(range(3), repeat=7), key=likelihood)
    np.testing.assert_array_equal(viterbi(cut, MATRIX.tolist(), 0.5, priors=priors), best)


@pytest.mark.parametrize("seed", range(12))
def test_viterbi_of_unlike_slots_is_the_best_of_all_courses(seed):
    rng = np.random.default_rng(seed)
    lengths, step_s, weight = rng.uniform(0.1, 1.5, 6), 0.5, 1.7
    cut = joined([0] * 6, lengths, seed=seed)
    cut.scores[:] = 0.8 / 3 + 0.2 * cut.scores  # so that transitions decide

    restless = rng.dirichlet(np.ones(3) * 5, 3)

    def merit(course):
        total = 0.0
        for slot, state in enumerate(course):
            total += np.log(cut.scores[slot, state]) * lengths[slot] / step_s
            if slot and course[slot - 1] == state:
                steps = (lengths[slot - 1] + lengths[slot]) / 2 / step_s
                total += weight * steps * np.log(restless[state, state])
            elif slot:
                total += weight * np.log(restless[course[slot - 1], state])
        return total

    best = max(itertools.product(range(3), repeat=6), key=merit)
    np.testing.assert_array_equal(viterbi(cut, restless, step_s, weight), best)


def test_transitions_that_weigh_nothing_leave_the_highest_scores_and_heavy_ones_a_single_label():
    cut = joined([0] * 30, seed=3)
    np.testing.assert_array_equal(viterbi(cut, MATRIX, 1.0, 0.0), highest(cut))
    assert len(set(viterbi(cut, np.full((3, 3), 0.05) + np.eye(3) * 0.85, 1.0, 1000.0))) == 1


def test_scores_of_zero_and_transitions_of_zero_do_not_forbid():
    cut = Slots(np.arange(3.0), np.arange(1.0, 4.0), np.array([[1.0, 0], [0, 1], [0, 1]]))
    np.testing.assert_array_equal(viterbi(cut, np.eye(2), 1.0, 0.5), [0, 1, 1])


@pytest.mark.parametrize("matrix", [np.eye(2), np.full((3, 3), np.nan), np.full((3, 3), 1.5), None])
def test_viterbi_needs_a_matrix_of_its_classes(matrix):
    with pytest.raises(DataError, match="expected"):
        decode(joined([0, 1, 2]), Decoding("viterbi", 1.0, 1.0), matrix)


@quick
@given(
    lengths=st.lists(
        st.tuples(st.integers(1, 30), st.integers(0, 20), st.sampled_from("abcx")), min_size=1, max_size=9
    ),
    step=st.integers(1, 25),
)
def test_transitions_are_pairs_of_moments_a_step_apart(lengths, step):
    spans, labels = [], []
    for length, pause, activity in lengths:
        spans.append(Span(len(labels) / 100, (len(labels) + length) / 100, activity))
        labels += [activity] * length + [""] * pause
    for unlabelled in (None, "c"):
        counts = np.ones((3, 3))
        said = labels if unlabelled is None else [label or unlabelled for label in labels]
        ends = len(labels) - lengths[-1][1]  # the time behind the last label is not between two
        for before, after in zip(said[:ends], said[step:ends], strict=False):
            if before in ABC and after in ABC and before and after:
                counts[ABC.index(before), ABC.index(after)] += 1 / step
        found = transition_probabilities([spans, []], ABC, step / 100, unlabelled)
        np.testing.assert_allclose(found, counts / counts.sum(axis=1, keepdims=True), atol=1e-6)


def test_slots_whose_highest_score_is_below_the_threshold_are_refused():
    cut = joined([0] * 50, seed=4)
    top = cut.scores.max(axis=1)
    labels = decode(cut, Decoding("median", 3.0, threshold=float(np.sort(top)[20])))
    np.testing.assert_array_equal(labels == REFUSED, top < np.sort(top)[20])
    np.testing.assert_array_equal(labels[labels != REFUSED], median(cut, 3.0)[labels != REFUSED])
    assert (refuse(cut, labels, 0.0) == labels).all()


@pytest.mark.parametrize("decoding", DECODINGS)
def test_a_decoding_is_read_as_it_was_written(decoding):
    read = tomllib.loads(tomli_w.dumps({"decoding": decoding.table()}))
    assert read_decoding(read["decoding"], "model.toml") == decoding
    assert read_decoding(json.loads(json.dumps(decoding.table())), "model.json") == decoding


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "mean"}, "model.toml: decoding: kind"),
        ({"kind": "median"}, "seconds is None with kind 'median', expected a number"),
        ({"kind": "none", "seconds": 1.0}, "expected none"),
        ({"kind": "viterbi", "seconds": 1.0}, "transitions is None"),
        ({"kind": "median", "seconds": float("nan")}, "seconds"),
        ({"threshold": 2}, "threshold"),
        ({"smooth": 2}, "smooth"),
        (3, "model.toml"),
    ],
)
def test_what_is_no_decoding_is_refused(table, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_decoding(table, "model.toml: decoding")
    assert "\n" not in str(caught.value)
    if isinstance(table, dict):
        with pytest.raises((ValidationError, TypeError)):
            Decoding(**table)


# segments


@quick
@given(windows(), st.sampled_from(DECODINGS), st.sampled_from(["c", "nothing"]))
def test_segments_tile_the_slots_and_their_scores_are_means_over_time(given_windows, decoding, unlabelled):
    cut = slots(*given_windows)
    labels = decode(cut, decoding, MATRIX)
    found = segments(cut, labels, ABC, unlabelled, leave_out=False)
    assert sum(one.stop_s - one.start_s for one in found) == pytest.approx(cut.lengths_s.sum())
    for before, after in itertools.pairwise(found):
        assert before.stop_s < after.start_s or before.activity != after.activity
    slot = 0
    for one in found:
        assert one.start_s == cut.starts_s[slot]
        area = 0.0
        while slot < len(cut) and cut.stops_s[slot] <= one.stop_s:
            name = unlabelled if labels[slot] == REFUSED else ABC[labels[slot]]
            assert name == one.activity
            score = cut.scores[slot, ABC.index(name)] if name in ABC else 1 - cut.scores[slot].max()
            area += score * cut.lengths_s[slot]
            slot += 1
        assert one.stop_s == cut.stops_s[slot - 1]
        assert one.score == pytest.approx(area / (one.stop_s - one.start_s)) and 0 <= one.score <= 1
    assert slot == len(cut)
    kept = [one for one in found if one.activity != unlabelled]
    assert segments(cut, labels, ABC, unlabelled) == kept


def test_segments_by_hand():
    scores = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.3, 0.7], [0.1, 0.9]])
    cut = Slots(np.array([0.0, 1, 3, 4, 5, 9]), np.array([1.0, 3, 4, 5, 6, 10]), scores)
    labels = np.array([0, 0, 1, REFUSED, 1, 1])
    expected = [Segment(0, 3, "a", pytest.approx(0.8)), Segment(3, 4, "b", 0.8), Segment(5, 6, "b", 0.7)]
    assert segments(cut, labels, "ab") == [*expected, Segment(9, 10, "b", 0.9)]
    assert segments(cut, labels, "ab", leave_out=False) == segments(cut, labels, "ab")
    assert segments(cut, labels, "ab", "b") == expected[:1]
    whole = segments(cut, labels, "ab", "b", leave_out=False)
    assert whole == [*expected[:1], Segment(3, 6, "b", pytest.approx(2 / 3)), Segment(9, 10, "b", 0.9)]
