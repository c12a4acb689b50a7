"""Planned comparisons against enumeration, formulas and a worked Holm example."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from plait.analysis.compare import SCHEMA, TOO_FEW, compare, holm, planned, sign_flip, t_interval
from plait.errors import DataError
from plait.results import MethodFacts

BOTH = ("video", "gloves")
METHODS = {
    "video": MethodFacts("single", ("video",), "mean"),
    "gloves": MethodFacts("single", ("gloves",), "mean"),
    "average": MethodFacts("average", BOTH),
    "concat": MethodFacts("concat", BOTH, "flatten"),
    "pooled": MethodFacts("concat", BOTH[::-1], "mean"),
    "hidden": MethodFacts("concat", BOTH, "hidden"),
    "led": MethodFacts("fusion", BOTH, "mean"),
}


def table(rights, clips=20, seeds=1):
    """Predictions in which `rights[method][subject]` of `clips` clips are right, in every seed."""
    rows = [
        (method, str(s), seed, f"{s}-{c}", str(s), "sit", "sit" if c < right else "walk")
        for method, per_subject in rights.items()
        for seed in range(seeds)
        for s, right in enumerate(per_subject)
        for c in range(clips)
    ]
    columns = ("method", "fold", "seed", "clip", "subject", "activity", "predicted")
    return pl.DataFrame(rows, schema=columns, orient="row")


def pair(led, concat, clips=20):
    methods = {name: METHODS[name] for name in ("concat", "led")}
    return compare(table({"led": led, "concat": concat}, clips), methods).row(0, named=True)


def test_every_fusion_meets_its_baselines_over_the_same_modalities():
    more = {
        **METHODS,
        "three": MethodFacts("fusion", (*BOTH, "imu"), "mean"),
        "imu": MethodFacts("single", ("imu",), "mean"),
        "three-concat": MethodFacts("concat", (*BOTH, "imu"), "flatten"),
    }
    rights = {name: [10, 10] for name in more} | {"gloves": [12, 10], "imu": [20, 20]}
    assert planned(more, table(rights)) == [
        ("led", "average", "average"),
        ("led", "concat", "flattened concat"),
        ("led", "pooled", "pooled concat"),
        ("led", "gloves", "best single"),
        ("three", "three-concat", "flattened concat"),
        ("three", "imu", "best single"),
    ]


def test_no_fusion_no_comparison():
    singles = {name: METHODS[name] for name in ("video", "gloves")}
    found = compare(table({"video": [1, 2], "gloves": [2, 1]}), singles)
    assert found.is_empty()
    assert dict(found.schema) == {name: kind() for name, kind in SCHEMA.items()}


def test_a_method_without_predictions_is_named():
    with pytest.raises(DataError, match="'gloves'"):
        compare(table({"video": [1, 2]}), {name: METHODS[name] for name in ("video", "gloves")})


def test_methods_that_share_no_subject():
    rows = table({"led": [1, 2], "concat": [3, 4]})
    moved = pl.when(pl.col("method") == "led").then(pl.col("subject") + "x").otherwise("subject")
    with pytest.raises(DataError, match="share no subject"):
        compare(rows.with_columns(subject=moved), {name: METHODS[name] for name in ("concat", "led")})


def test_seeds_are_averaged_within_a_subject_first():
    rows = table({"led": [10, 12], "concat": [8, 12]})
    again = table({"led": [14, 12], "concat": [8, 12]}).with_columns(seed=pl.lit(1, pl.Int64))
    found = compare(pl.concat([rows, again]), {name: METHODS[name] for name in ("concat", "led")})
    assert found["difference"].item() == pytest.approx(((10 + 14) / 2 - 8) / 20 / 2)
    assert found["subjects"].item() == 2


@pytest.mark.parametrize("subjects", [2, 3, 5])
def test_too_few_subjects_get_an_interval_only(subjects):
    found = pair([20 - i for i in range(subjects)], [10] * subjects)
    assert (found["p"], found["p_holm"], found["verdict"]) == (None, None, TOO_FEW)
    assert found["low"] < found["difference"] < found["high"]


def test_one_subject_gets_no_interval():
    found = pair([20], [10])
    assert (found["low"], found["high"], found["p"], found["verdict"]) == (None, None, None, TOO_FEW)
    assert found["difference"] == pytest.approx(0.5)


def test_six_subjects_can_tell_one_comparison_but_not_two():
    found = pair([20] * 6, range(10, 16))
    assert (found["p"], found["p_holm"], found["verdict"]) == (2 / 64, 2 / 64, "better")
    assert pair(range(10, 16), [20] * 6)["verdict"] == "worse"
    assert pair([20] * 6, [10, 11, 12, 13, 14, 20])["verdict"] == "no difference shown"
    two = {name: METHODS[name] for name in ("average", "concat", "led")}
    rights = {"average": [9] * 6, "concat": [10] * 6, "led": [20] * 6}
    found = compare(table(rights), two)
    assert found["p"].to_list() == [2 / 64] * 2
    assert found["p_holm"].to_list() == [4 / 64] * 2
    assert found["verdict"].to_list() == [TOO_FEW] * 2


def test_nineteen_subjects_give_an_exact_verdict():
    led = [15 + i % 4 for i in range(19)]
    found = pair(led, [14 + i % 5 for i in range(19)])
    differences = np.array([15 + i % 4 - 14 - i % 5 for i in range(19)]) / 20
    t = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == (pytest.approx(t.low), pytest.approx(t.high))
    assert found["subjects"] == 19
    assert found["verdict"] == ("better" if found["p_holm"] <= 0.05 else "no difference shown")


@pytest.mark.parametrize("subjects", [1, 2, 6, 19])
def test_no_difference_at_all(subjects):
    found = pair([10] * subjects, [10] * subjects)
    assert found["difference"] == 0
    assert found["p"] == (None if subjects < 6 else 1.0)
    assert found["verdict"] == (TOO_FEW if subjects < 6 else "no difference shown")


@settings(deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=9), st.sampled_from([3, 10, 20, 200]))
def test_sign_flip_is_the_share_of_all_sign_patterns(counts, clips):
    signs = np.array(list(itertools.product([-1, 1], repeat=len(counts))))
    oracle = np.mean(np.abs(signs @ np.array(counts)) >= abs(sum(counts)))  # in whole clips: no rounding
    assert sign_flip(np.array(counts) / clips) == oracle


def test_sign_flip_agrees_with_scipy():
    d = np.random.default_rng(0).normal(0.02, 0.05, 12)
    oracle = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=2**12)
    assert sign_flip(d) == pytest.approx(oracle.pvalue)


def test_beyond_twenty_subjects_random_flips_come_close_to_the_exact_share():
    d = np.random.default_rng(1).normal(0.01, 0.05, 21)
    sums = np.zeros(1)
    for x in d:
        sums = np.concatenate([sums + x, sums - x])
    assert sign_flip(d) == pytest.approx(np.mean(np.abs(sums) >= abs(d.sum())), abs=0.003)


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.4, 0.6])) == pytest.approx([0.8, 0.8])
    assert holm(np.array([0.7, 0.9])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).shape == (0,)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_and_keeps_their_order(p):
    raw = np.array(p)
    adjusted = holm(raw)
    assert np.all(adjusted >= raw)
    assert np.all(adjusted <= np.minimum(1, len(raw) * raw) + 1e-15)
    assert np.all(np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0)


def test_t_interval_is_the_formula():
    d = np.array([0.1, 0.2, 0.4])
    half = 4.302652729911275 * np.sqrt(((d - d.mean()) ** 2).sum() / 2) / np.sqrt(3)  # t of 2 degrees, 97.5 %
    assert t_interval(d) == pytest.approx((d.mean() - half, d.mean() + half))
    assert t_interval(d[:1]) == (None, None)
