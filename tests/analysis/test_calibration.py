"""Calibration against numbers by hand, scikit-learn, and models whose scores are true."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss

from plait.analysis.calibration import coverage, reliability, score_summary
from plait.analysis.metrics import summary

ACTIVITIES = ("sit", "walk", "run")


def table(scores, truth, method="m"):
    best = scores.argmax(axis=1)
    return pl.DataFrame(
        {
            "method": method,
            "fold": "1",
            "seed": 0,
            "clip": [str(clip) for clip in range(len(truth))],
            "subject": "1",
            "activity": [ACTIVITIES[place] for place in truth],
            "predicted": [ACTIVITIES[place] for place in best],
            "scores": scores.tolist(),
        }
    )


def drawn(count, seed=0, sharper=1.0):
    """Scores, and truths drawn from them; `sharper` ones are surer than is true."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet([0.6, 0.5, 0.4], count)
    truth = np.array([rng.choice(3, p=p) for p in true])
    said = true**sharper
    return said / said.sum(axis=1, keepdims=True), truth


def test_numbers_by_hand():
    scores = np.array([[0.9, 0.1, 0.0], [0.62, 0.3, 0.08], [0.2, 0.66, 0.14], [0.3, 0.3, 0.4]])
    row = score_summary(table(scores, [0, 1, 1, 0]), ACTIVITIES).row(0, named=True)
    # bins: 0.9 right; 0.62 wrong and 0.66 right; 0.4 wrong
    expected = 1 / 4 * 0.1 + 2 / 4 * abs(0.5 - 0.64) + 1 / 4 * 0.4
    assert row["ece"] == pytest.approx(expected)
    assert row["nll"] == pytest.approx(-np.log([0.9, 0.3, 0.66, 0.3]).mean())
    balanced = summary(table(scores, [0, 1, 1, 0]), ACTIVITIES)["balanced_accuracy"].item()
    assert balanced == pytest.approx(0.5)  # sit 1 of 2, walk 1 of 2, run never
    bins = reliability(table(scores, [0, 1, 1, 0]), ACTIVITIES)
    assert bins["clips"].to_list() == [1, 2, 1] and bins["accuracy"].to_list() == [0, 0.5, 1]
    curve = coverage(table(scores, [0, 1, 1, 0]), ACTIVITIES)
    by_share = dict(curve.select("coverage", "accuracy").iter_rows())
    assert by_share[0.25] == 1 and by_share[0.5] == 1 and by_share[0.75] == pytest.approx(2 / 3)
    assert by_share[1.0] == 0.5


def test_scikit_learn_comes_to_the_same():
    scores, truth = drawn(200)
    row = score_summary(table(scores, truth), ACTIVITIES).row(0, named=True)
    assert row["nll"] == pytest.approx(log_loss(truth, scores, labels=[0, 1, 2]), rel=1e-6)
    balanced = summary(table(scores, truth), ACTIVITIES)["balanced_accuracy"].item()
    assert balanced == pytest.approx(balanced_accuracy_score(truth, scores.argmax(axis=1)))


@pytest.mark.parametrize("count", [60, 400])
def test_true_scores_err_as_much_as_chance_and_sure_ones_more(count):
    errors = {1.0: [], 3.0: []}
    chance = []
    for seed in range(30):
        for sharper, found in errors.items():
            row = score_summary(table(*drawn(count, seed, sharper)), ACTIVITIES).row(0, named=True)
            found.append(row["ece"])
            if sharper == 1.0:
                chance.append(row["ece_by_chance"])
    assert np.mean(errors[1.0]) == pytest.approx(np.mean(chance), rel=0.25)
    assert np.mean(errors[3.0]) > 2 * np.mean(errors[1.0]) or count < 100


def test_calibration_errors_are_of_each_seed():
    seeds = [table(*drawn(80, seed)).with_columns(seed=pl.lit(seed)) for seed in range(3)]
    each = pl.concat([score_summary(rows, ACTIVITIES) for rows in seeds])
    row = score_summary(pl.concat(seeds), ACTIVITIES).row(0, named=True)
    assert {name: row[name] for name in ("nll", "ece", "ece_by_chance")} == pytest.approx(
        {name: each[name].mean() for name in ("nll", "ece", "ece_by_chance")}
    )


def test_seeds_that_say_the_same_tell_no_more_than_one():
    once = table(*drawn(80))
    thrice = pl.concat([once.with_columns(seed=pl.lit(seed)) for seed in range(3)])
    ours, theirs = (score_summary(rows, ACTIVITIES).row(0, named=True) for rows in (once, thrice))
    assert theirs == pytest.approx(ours)


def test_where_nobody_kept_scores_nothing_is_said():
    rows = table(*drawn(5)).drop("scores")
    for function in (score_summary, reliability, coverage):
        assert function(rows, ACTIVITIES).is_empty()
