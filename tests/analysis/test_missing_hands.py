"""Accuracy by missing hands, its interval and the claim, against numbers worked out by hand."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from plait.analysis.missing_hands import agreement, missing_hands, share_interval, visibility_claims
from plait.analysis.signflips import SignFlips
from plait.results import MethodFacts

BOTH = ("video", "gloves")
METHODS = {
    "video": MethodFacts("single", BOTH[:1]),
    "gloves": MethodFacts("single", BOTH[1:]),
    "led": MethodFacts("fusion", BOTH),
    "led[embedding=3]": MethodFacts("fusion", BOTH, sweep={"embedding": 3}),
}


def table(right, seeds=1):
    """Predictions and hands: `right[method][missing]` is, by subject, (right clips, clips)."""
    rows, hands = [], {}
    for method, levels in right.items():
        for missing, subjects in levels.items():
            for subject, (hits, clips) in enumerate(subjects):
                for clip in range(clips):
                    name = f"{subject}/{missing}/{clip}"
                    hands[name] = missing
                    for seed in range(seeds):
                        got = "sit" if clip < hits else "walk"
                        rows.append((method, str(subject), seed, name, str(subject), "sit", got))
    columns = ("method", "fold", "seed", "clip", "subject", "activity", "predicted")
    told = pl.DataFrame({"clip": list(hands), "missing": list(hands.values())})
    return pl.DataFrame(rows, schema=columns, orient="row"), told


SINGLE = {0: [(5, 10), (6, 10), (7, 10)], 1: [(2, 4), (2, 4), (0, 0)], 2: [(1, 4), (1, 4), (0, 4)]}
LED = {0: [(6, 10), (7, 10), (8, 10)], 1: [(2, 4), (3, 4), (0, 0)], 2: [(4, 4), (4, 4), (3, 4)]}
RIGHT = {"video": SINGLE, "gloves": LED, "led": LED, "led[embedding=3]": LED}


def test_every_clip_counts_alike():
    found = missing_hands(METHODS, *table(RIGHT, seeds=2))
    assert found["method"].unique(maintain_order=True).to_list() == list(METHODS)
    own = found.filter(pl.col("method") == "video")
    assert own.select("missing", "clips", "subjects").rows() == [(0, 30, 3), (1, 8, 2), (2, 12, 3)]
    assert own["accuracy"].to_list() == pytest.approx([18 / 30, 4 / 8, 2 / 12])
    assert (own["low"] < own["accuracy"]).all() and (own["accuracy"] < own["high"]).all()


def test_seeds_are_averaged_within_a_clip():
    predictions, hands = table({"video": {0: [(1, 1), (1, 1)]}}, seeds=2)
    half = predictions.with_columns(
        predicted=pl.when(pl.col("seed") == 0).then(pl.lit("walk")).otherwise("predicted")
    )
    (row,) = missing_hands({"video": METHODS["video"]}, half, hands).rows(named=True)
    assert (row["accuracy"], row["clips"]) == (0.5, 2)


def test_one_clip_a_subject_gives_nearly_clopper_and_pearson_s_interval():
    ones = np.ones(40)
    hits = np.array([1.0] * 28 + [0.0] * 12)
    # 40 independent clips are worth 39, for the variance is divided by n - 1.
    low, high = share_interval(hits, ones)
    assert low == pytest.approx(stats.beta.ppf(0.025, 39 * 0.7, 39 * 0.3 + 1))
    assert high == pytest.approx(stats.beta.ppf(0.975, 39 * 0.7 + 1, 39 * 0.3))
    exact = stats.binomtest(40, 40).proportion_ci(method="exact")
    assert share_interval(ones, ones) == pytest.approx((exact.low, exact.high))
    exact = stats.binomtest(0, 40).proportion_ci(method="exact")
    assert share_interval(0 * ones, ones) == pytest.approx((exact.low, exact.high))


def test_clips_of_one_subject_are_worth_less_where_they_are_alike():
    clips = np.full(8, 20.0)
    alike = share_interval(np.array([20.0, 20, 20, 20, 0, 0, 0, 0]), clips)
    spread = share_interval(np.full(8, 10.0), clips)
    assert alike[1] - alike[0] > 3 * (spread[1] - spread[0])
    assert share_interval(np.array([3.0]), np.array([4.0])) == (None, None)


def covered(spread, seed):
    """How often the interval holds the true share, subjects differing by `spread`."""
    rng = np.random.default_rng(seed)
    inside = 0
    for _ in range(400):
        shares = np.clip(0.7 + spread * rng.standard_normal(12), 0, 1)
        clips = rng.integers(5, 30, 12)
        low, high = share_interval(rng.binomial(clips, shares).astype(float), clips.astype(float))
        inside += low <= 0.7 <= high
    return inside / 400


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    assert covered(0.0, 1) > 0.92 and covered(0.1, 2) > 0.92


def test_the_largest_gain_at_two_missing_hands():
    found = visibility_claims(METHODS, *table(RIGHT))
    assert found.select("fusion", "against").rows() == [("led", "video"), ("led", "gloves")]
    video, same = found.rows(named=True)
    assert (same["effect"], same["low"], same["verdict"]) == (0, None, "unclear")
    # Gains: 3 / 30 at none, 1 / 8 at one, 9 / 12 at two.
    assert video["effect"] == pytest.approx(9 / 12 - 1 / 8)
    assert video["verdict"] == "unclear"  # three people show nothing


def test_a_difference_of_ratios_is_linearised_over_people():
    """Twice three people's clips: six people, with the same parts."""
    twice = {name: {k: levels[k] * 2 for k in levels} for name, levels in RIGHT.items()}
    video = visibility_claims(METHODS, *table(twice)).row(0, named=True)
    d2, n2 = np.array([3.0, 3, 3] * 2), np.array([4.0, 4, 4] * 2)
    d1, n1 = np.array([0.0, 1, 0] * 2), np.array([4.0, 4, 0] * 2)
    parts = (d2 - 9 / 12 * n2) / 24 - (d1 - 1 / 8 * n1) / 16
    expected = SignFlips(9 / 12 - 1 / 8 + 6 * parts).interval()
    assert (video["low"], video["high"]) == pytest.approx(expected) and video["verdict"] == "holds"


def test_equal_numbers_of_clips_give_the_interval_of_paired_gains():
    rng = np.random.default_rng(0)
    single = {k: [(int(n), 10) for n in rng.integers(2, 6, 6)] for k in (0, 2)}
    led = {k: [(int(n), 10) for n in rng.integers(4, 9, 6)] for k in (0, 2)}
    methods = {name: METHODS[name] for name in ("video", "led")}
    (row,) = visibility_claims(methods, *table({"video": single, "led": led})).rows(named=True)
    gain = {k: np.array([(a[0] - b[0]) / 10 for a, b in zip(led[k], single[k], strict=True)]) for k in (0, 2)}
    assert (row["low"], row["high"]) == pytest.approx(SignFlips(gain[2] - gain[0]).interval())


def test_a_claim_fails_where_the_gain_at_two_is_surely_smaller():
    twice = {name: {k: levels[k] * 2 for k in levels} for name, levels in RIGHT.items()}
    led = twice["video"] | {0: [(10, 10)] * 6}
    found = visibility_claims(METHODS, *table(twice | {"led": led}))
    verdicts = dict(found.select("against", "verdict").iter_rows())
    assert verdicts["video"] == "fails"


def test_nothing_is_said_where_no_clip_misses_two():
    some = {name: {k: levels[k] for k in (0, 1)} for name, levels in RIGHT.items()}
    assert visibility_claims(METHODS, *table(some)).is_empty()


def test_agreement_is_over_clips_whose_truth_is_known():
    hands = pl.DataFrame({"count": [0, 1, 2, 2], "visible": [0, 2, 2, None]})
    assert agreement(hands) == (2, 3)
