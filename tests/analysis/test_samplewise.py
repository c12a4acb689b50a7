"""WEAR's metrics against the same from their published definition, sample by sample in plain loops."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from plait.analysis.events import TIOUS
from plait.analysis.samplewise import f1, majority, mean_ap, precision, recall
from plait.analysis.stretches import Stretch
from plait.errors import ConfigError
from plait.types import Segment, Span

ACTIVITIES = ("jog", "lunge", "sit")
STEP_S, FILTER_S = 0.5, 4.0
LENGTH = 9  # samples of the filter, odd


def spans(samples, make):
    """Runs of samples as spans, null (0) left out."""
    edges = [0, *(np.flatnonzero(np.diff(samples)) + 1).tolist(), len(samples)]
    return [
        make(a * STEP_S, b * STEP_S, ACTIVITIES[samples[a] - 1]) for a, b in pairwise(edges) if samples[a]
    ]


def held(rng, n, least, most):
    """Random classes that last for some samples each."""
    found = []
    while len(found) < n:
        found += [int(rng.integers(4))] * int(rng.integers(least, most))
    return np.array(found[:n])


def folds(seed):
    """Two folds of two recordings: samples of labels and of predictions, some of them right."""
    rng = np.random.default_rng(seed)
    found = []
    for fold in range(2):
        pairs = []
        for number in range(2):
            truth = held(rng, 90 + 7 * number, 12, 25)
            noisy = np.where(rng.random(len(truth)) < 0.75, truth, held(rng, len(truth), 1, 4))
            pairs.append((f"{fold}{number}", truth, noisy))
        found.append(pairs)
    return found


def stretches(samples):
    return [
        [
            Stretch(name, (0.0, len(truth) * STEP_S), spans(truth, Span), spans(noisy, Segment), "null")
            for name, truth, noisy in fold
        ]
        for fold in samples
    ]


def vote(samples, length):
    """The filter as WEAR describes it: a window that is moved inwards at both ends."""
    voted = []
    for i in range(len(samples)):
        first = min(max(i - length // 2, 0), max(len(samples) - length, 0))
        voted.append(np.bincount(samples[first : first + length]).argmax())
    return np.array(voted)


def average_precision(fold, activity, tiou):
    """ActivityNet's: segments of one score, by name and time; each takes the best free label."""
    labels = {name: [s[:2] for s in runs(t) if s[2] == activity] for name, t, _ in fold}
    found = [(name, *s[:2]) for name, _, p in fold for s in runs(p) if s[2] == activity]
    hits, free = [], {name: [True] * len(each) for name, each in labels.items()}
    for name, a, b in found:
        ious = [max(0, min(b, d) - max(a, c)) / (max(b, d) - min(a, c)) for c, d in labels[name]]
        ious = [iou if can else -1.0 for iou, can in zip(ious, free[name], strict=True)]
        best = int(np.argmax(ious)) if ious else -1
        hits.append(bool(ious) and ious[best] >= tiou)
        if hits[-1]:
            free[name][best] = False
    share = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    total = sum(len(each) for each in labels.values())
    return sum(share[i:].max() for i, hit in enumerate(hits) if hit) / total


def runs(samples):
    edges = [0, *(np.flatnonzero(np.diff(samples)) + 1).tolist(), len(samples)]
    return [(a, b, samples[a]) for a, b in pairwise(edges) if samples[a]]


@pytest.mark.parametrize("filter_s", [0.0, FILTER_S])
@pytest.mark.parametrize("seed", range(3))
def test_as_defined_on_random_labels(seed, filter_s):
    samples = folds(seed)
    filtered = [[(n, t, vote(p, LENGTH) if filter_s else p) for n, t, p in fold] for fold in samples]
    expected, aps = [], []
    for fold in filtered:
        sides = [np.concatenate([one[side] for one in fold]) for side in (1, 2)]
        scores = precision_recall_fscore_support(*sides, labels=range(4), zero_division=0)
        expected.append([each.mean() for each in scores[:3]])
        aps.append([[average_precision(fold, a, tiou) for tiou in TIOUS] for a in (1, 2, 3)])
    given = stretches(samples), ACTIVITIES, STEP_S, filter_s
    got = [metric(*given) for metric in (precision, recall, f1)]
    np.testing.assert_allclose(got, np.mean(expected, axis=0), atol=1e-12)
    assert mean_ap(*given) == pytest.approx(np.mean(aps))


def test_the_filter_at_both_ends_and_in_ties():
    rng = np.random.default_rng(0)
    for n in (1, 8, 9, 10, 60):
        labels = rng.integers(0, 5, n)
        np.testing.assert_array_equal(majority(labels, 9), vote(labels, 9))
    assert majority(np.array([2, 1, 1, 2]), 9).tolist() == [1, 1, 1, 1]
    assert majority(np.array([], np.int64), 9).tolist() == []
    with pytest.raises(ConfigError, match="odd"):
        majority(np.array([1]), 4)


def test_nothing_to_score_is_none():
    nothing = [Stretch("a", (0.0, 5.0), [], [], "null")]
    assert mean_ap([nothing], ACTIVITIES, STEP_S) is None and f1([], ACTIVITIES, STEP_S) is None
    assert f1([nothing], ACTIVITIES, STEP_S) == 1.0  # null alone, and all of it found
