"""What validation speaks for: F1 against moments one by one, temperature against one that is known."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss

from plait.analysis.calibration import temperature, tempered
from plait.recogniser.decoding import Decoding, transition_probabilities
from plait.recogniser.segments import REFUSED, Slots
from plait.recogniser.tuning import (
    CANDIDATES_TRIED,
    THRESHOLDS_TRIED,
    Labelled,
    candidates,
    choose,
    choose_threshold,
    macro_f1,
)
from plait.types import Span

ABC = ("a", "b", "c")
F1 = partial(macro_f1, activities=ABC)


def noisy(seed=0, seconds=200, wrong=0.2):
    """Activities of 10 s to 20 s, and slots of 1 s of which a share scores another one highest."""
    rng = np.random.default_rng(seed)
    spans, start_s = [], 0.0
    while start_s < seconds:
        stop_s = start_s + float(rng.integers(10, 21))
        others = [name for name in ABC if not spans or name != spans[-1].activity]
        spans.append(Span(start_s, stop_s, str(rng.choice(others))))
        start_s = stop_s
    truth = np.concatenate([np.full(int(s.stop_s - s.start_s), ABC.index(s.activity)) for s in spans])
    best = np.where(rng.uniform(size=len(truth)) < wrong, rng.integers(0, 3, len(truth)), truth)
    scores = 0.4 * np.eye(3)[best] + 0.6 * rng.dirichlet([4, 4, 4], len(truth))
    return Labelled(Slots(np.arange(len(truth)) * 1.0, np.arange(len(truth)) + 1.0, scores), spans)


@settings(max_examples=60, deadline=None)
@given(
    timeline=st.lists(st.tuples(st.integers(1, 9), st.sampled_from([*"abcx", None])), max_size=8),
    lengths=st.lists(st.tuples(st.integers(1, 9), st.sampled_from([None, -1, 0, 1, 2])), max_size=10),
    unlabelled=st.sampled_from([None, "c", "nothing"]),
    refusing=st.booleans(),
)
def test_macro_f1_is_that_of_moments_one_by_one(timeline, lengths, unlabelled, refusing):
    spans, truth = [], []
    for length, name in timeline:
        if name is not None:
            spans.append(Span(len(truth) / 10, (len(truth) + length) / 10, name))
        truth += [name] * length
    starts, stops, labels, guess = [], [], [], []
    for length, label in lengths:
        if label is not None:
            starts.append(len(guess) / 10), stops.append((len(guess) + length) / 10), labels.append(label)
        guess += [label] * length
    truth = (truth + [None] * len(guess))[: len(guess)]
    nothing = "c" if unlabelled == "c" else "nothing"
    pairs = [
        (t if t in ABC else nothing, nothing if g == REFUSED else ABC[g])
        for t, g in zip(truth, guess, strict=True)
        if g is not None
    ]
    if nothing == "nothing" and not refusing:
        pairs = [(t, g) for t, g in pairs if t != "nothing"]
    cut = Slots(np.array(starts), np.array(stops), np.zeros((len(starts), 3)))
    found = F1(cut, np.array(labels, dtype=int), spans, unlabelled=unlabelled, refusing=refusing)
    if not pairs:
        assert math.isnan(found)
        return
    names = sorted({t for t, _ in pairs})
    expected = f1_score(*zip(*pairs, strict=True), labels=names, average="macro", zero_division=0)
    assert found == pytest.approx(expected, abs=1e-9)


def test_candidates_go_from_the_simplest_on_in_multiples_of_a_window():
    tried = candidates(2.0)
    assert tried[0] == Decoding() and len(set(tried)) == len(tried)
    assert [one.seconds for one in tried if one.kind == "median"] == [2, 4, 6, 10]
    assert {one.seconds for one in tried if one.kind == "viterbi"} == {2.0}
    assert candidates(2.0, transitions=False) == tuple(one for one in tried if one.kind != "viterbi")


def test_where_neighbours_tell_something_smoothing_is_chosen_and_the_table_says_what_it_changes():
    validation = [noisy(seed, wrong=0.35) for seed in range(3)]
    matrix = transition_probabilities([noisy(seed).spans for seed in range(10, 15)], ABC, 1.0)
    chosen, table = choose(candidates(1.0), validation, F1, matrix)
    assert table.schema == CANDIDATES_TRIED and len(table) == len(candidates(1.0))
    assert chosen.kind != "none"
    best = table.row(candidates(1.0).index(chosen), named=True)
    assert best["measure"] == table["measure"].max() > table["measure"][0] + 0.1
    assert table["changed"][0] == 0 and 0.1 < best["changed"] < 0.35
    assert best["stretches"] < table["stretches"][0] / 2
    assert table["measure"][table["kind"].to_list().index("viterbi")] > table["measure"][0]


def test_of_equals_the_first_candidate_is_chosen():
    validation = [noisy(wrong=0.0)]
    chosen, table = choose(candidates(1.0, transitions=False), validation, F1)
    assert chosen == Decoding() and (table["measure"] == 1.0).sum() > 1
    constant, _ = choose(candidates(1.0, transitions=False)[::-1], validation, lambda *_: 0.5)
    assert constant == candidates(1.0, transitions=False)[-1]


@pytest.mark.parametrize("validation", [[], [noisy()]])
def test_without_a_measure_the_first_candidate_is_chosen(validation):
    chosen, table = choose(candidates(1.0, transitions=False), validation, lambda *_: math.nan)
    assert chosen == Decoding() and table["measure"].null_count() == len(table)
    kept, table = choose_threshold(Decoding("median", 3.0), validation, lambda *_: math.nan)
    assert kept == Decoding("median", 3.0) and table["measure"].null_count() == len(table)


def test_recordings_of_which_a_measure_says_nothing_do_not_count():
    values = iter([0.5, math.nan, 0.7])
    _, table = choose([Decoding()], [noisy(), noisy(1), noisy(2)], lambda *_: next(values))
    assert table["measure"].to_list() == [pytest.approx(0.6)]


def test_a_threshold_lies_between_what_is_known_and_what_is_not():
    rng = np.random.default_rng(0)
    sure = np.concatenate([rng.uniform(0.7, 0.9, 60), rng.uniform(0.35, 0.5, 40)])
    place = np.repeat([0, 1, 2, 0, 1], 20)
    scores = np.full((100, 3), (1 - sure[:, None]) / 2)
    scores[np.arange(100), place] = sure
    cut = Slots(np.arange(100.0), np.arange(1.0, 101.0), scores)
    spans = [Span(0, 20, "a"), Span(20, 40, "b"), Span(40, 60, "c")]
    refusing = partial(F1, refusing=True)
    chosen, table = choose_threshold(Decoding(), [Labelled(cut, spans)], refusing)
    assert table.schema == THRESHOLDS_TRIED and table["measure"].max() > 0.97
    assert 0.45 < chosen.threshold <= 0.75
    assert table["refused"].to_list() == sorted(table["refused"]) and table["refused"][0] == 0
    known = [Labelled(Slots(cut.starts_s[:60], cut.stops_s[:60], scores[:60]), spans)]
    assert choose_threshold(Decoding(threshold=0.9), known, refusing)[0].threshold is None


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5, 5.0])
def test_temperature_is_found_again(true):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.2, (8000, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (honest.cumsum(axis=1) < rng.uniform(size=(8000, 1))).sum(axis=1)
    said = np.exp(logits * true)
    said /= said.sum(axis=1, keepdims=True)
    found = temperature(said, truth)
    assert found == pytest.approx(true, rel=0.06)
    assert found == temperature(said, truth)
    cool = log_loss(truth, tempered(said, found), labels=range(4))
    for other in np.geomspace(0.05, 20, 20):
        assert cool <= log_loss(truth, tempered(said, other), labels=range(4)) + 1e-6
    whole = said.min(axis=1) > 1e-12
    np.testing.assert_allclose(tempered(said, true)[whole], honest[whole], atol=1e-9)


def test_temperature_of_what_tells_nothing_is_one_and_of_the_rest_within_its_bounds():
    assert temperature(np.zeros((0, 3)), np.zeros(0, dtype=int)) == 1.0
    assert temperature(np.ones((4, 1)), np.zeros(4, dtype=int)) == 1.0
    assert temperature(np.full((4, 3), 1 / 3), np.array([0, 1, 2, 0])) == 1.0
    right, wrong = np.eye(3)[[0, 1, 2]], np.array([1, 2, 0])
    three = temperature(0.9 * right + 0.1 / 3, np.arange(3))
    hundred = temperature(np.tile(0.9 * right + 0.1 / 3, (100, 1)), np.tile(np.arange(3), 100))
    assert 0.05 <= hundred < 1 < three  # of more that are right, the surer
    assert temperature(right, wrong) == pytest.approx(20.0, rel=1e-3)
    assert tempered(right, 2.0) == pytest.approx(right, abs=2e-6)
    assert tempered(np.zeros((0, 3)), 2.0).shape == (0, 3)
