"""What a study decides and describes, against formulas, simulations and a worked Holm example."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.analysis.compare import DESCRIBED, NOT_RUN, decide, describe, holm, pairs
from plait.analysis.signflips import SignFlips
from plait.config import Comparisons
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


def decided(led, concat, clips=20, seeds=1, **settings):
    comparisons = Comparisons((("led", "concat"),), **settings)
    return decide(table({"led": led, "concat": concat}, clips, seeds), comparisons).row(0, named=True)


def test_every_fusion_meets_its_baselines_over_the_same_modalities():
    more = {
        **METHODS,
        "three": MethodFacts("fusion", (*BOTH, "imu"), "mean"),
        "imu": MethodFacts("single", ("imu",), "mean"),
        "three-concat": MethodFacts("concat", (*BOTH, "imu"), "flatten"),
    }
    rights = {name: [10, 10] for name in more} | {"gloves": [12, 10], "imu": [20, 20]}
    assert pairs(more, table(rights)) == [
        ("led", "average", "average"),
        ("led", "concat", "flattened concat"),
        ("led", "pooled", "pooled concat"),
        ("led", "gloves", "best single"),
        ("three", "three-concat", "flattened concat"),
        ("three", "imu", "best single"),
    ]


def test_rows_of_a_sweep_are_nobody_s_baseline_and_have_none():
    swept = MethodFacts("concat", BOTH, "flatten", sweep={"width": 3})
    more = {**METHODS, "concat[width=3]": swept, "led[K=3]": MethodFacts("fusion", BOTH, sweep={"K": 3})}
    found = pairs(more, table({name: [10, 10] for name in more}))
    assert {pair.fusion for pair in found} == {"led"} and "concat[width=3]" not in {p.baseline for p in found}


def test_no_fusion_no_comparison():
    singles = {name: METHODS[name] for name in ("video", "gloves")}
    found = describe(table({"video": [1, 2], "gloves": [2, 1]}), singles)
    assert found.is_empty()
    assert dict(found.schema) == {name: kind() for name, kind in DESCRIBED.items()}


def test_a_method_without_predictions_is_named():
    with pytest.raises(DataError, match="'gloves'"):
        describe(table({"video": [1, 2]}), {name: METHODS[name] for name in ("video", "gloves")})


def test_methods_that_share_no_subject_or_not_all_seeds():
    rows = table({"led": [1, 2], "concat": [3, 4]}, seeds=2)
    moved = pl.when(pl.col("method") == "led").then(pl.col("subject") + "x").otherwise("subject")
    contrast = Comparisons((("led", "concat"),))
    for compare in (
        lambda rows: describe(rows, {name: METHODS[name] for name in ("concat", "led")}),
        lambda rows: decide(rows, contrast),
    ):
        with pytest.raises(DataError, match="share no subject"):
            compare(rows.with_columns(subject=moved))
    lost = (pl.col("method") == "led") & (pl.col("seed") == 1) & (pl.col("subject") == "0")
    with pytest.raises(DataError, match="not tested on the same subjects with the same seeds"):
        decide(rows.filter(~lost), contrast)


def test_seeds_are_averaged_within_a_subject_and_their_spread_is_said_apart():
    rows = table({"led": [10, 12], "concat": [8, 12]})
    again = table({"led": [14, 12], "concat": [8, 12]}).with_columns(seed=pl.lit(1, pl.Int64))
    found = decide(pl.concat([rows, again]), Comparisons((("led", "concat"),))).row(0, named=True)
    d = np.array([[2, 6], [0, 0]]) / 20
    assert found["difference"] == pytest.approx(d.mean()) and (found["subjects"], found["seeds"]) == (2, 2)
    seed_variance = d.var(axis=1, ddof=1).mean()
    assert found["seed_sd"] == pytest.approx(seed_variance**0.5)
    person = max(0, d.mean(axis=1).var(ddof=1) - seed_variance / 2)
    assert found["person_sd"] == pytest.approx(person**0.5)
    one = decide(rows, Comparisons((("led", "concat"),))).row(0, named=True)
    assert one["seed_sd"] is None and one["person_sd"] == pytest.approx(d[:, 0].std(ddof=1))


@pytest.mark.parametrize("seeds", [2, 4])
def test_variance_of_people_and_seeds_is_recovered(seeds):
    rng = np.random.default_rng(seeds)
    person, noise = rng.normal(0, 1, (300, 1)), rng.normal(0, 2, (300, seeds))
    rights = (50 + 4 * (person + noise)).round().astype(int)
    rows = []
    for at in range(seeds):
        part = table({"led": rights[:, at].tolist(), "concat": [50] * 300}, clips=100)
        rows.append(part.with_columns(seed=pl.lit(at, pl.Int64)))
    found = decide(pl.concat(rows), Comparisons((("led", "concat"),))).row(0, named=True)
    assert found["seed_sd"] == pytest.approx(2 * 4 / 100, rel=0.2)
    assert found["person_sd"] == pytest.approx(4 / 100, rel=0.7)


def test_verdicts():
    better = decided([20] * 6, range(10, 16))
    assert (better["p"], better["p_adjusted"], better["verdict"]) == (2 / 64, 2 / 64, "better")
    assert decided(range(10, 16), [20] * 6)["verdict"] == "worse"
    assert decided([20] * 5, [10] * 5)["verdict"] == "undecided"  # no pattern of five signs is rare enough
    assert decided([20] * 5, [10] * 5)["detectable"] is None
    same = [10, 11, 10, 9, 10, 10, 11], [10, 10, 11, 10, 9, 10, 11]
    assert decided(*same)["verdict"] == "undecided"
    assert decided(*same, margin=0.1)["verdict"] == "equivalent"
    assert decided(*same, margin=0.02)["verdict"] == "undecided"
    assert decided(*same, margin=0.1, alpha=0.005)["verdict"] == "undecided"
    found = decided([20] * 6, [19] * 6, margin=0.1)
    assert found["verdict"] == "better" and found["p_equivalent"] <= 0.05  # better, if by little


ORDERED = (("a", "d"), ("b", "d"), ("c", "d"))
RIGHTS = {"a": [20] * 9, "b": [10, 9] * 4 + [10], "c": [20] * 9, "d": [10] * 9}


def test_a_sequence_stops_where_nothing_is_shown_and_holm_does_not():
    rows = table(RIGHTS)
    sequence = decide(rows, Comparisons(ORDERED, "sequence"))
    assert sequence["verdict"].to_list() == ["better", "undecided", "undecided"]
    assert sequence["p_adjusted"].to_list() == [2 / 512, sequence["p"][1], sequence["p"][1]]
    by_holm = decide(rows, Comparisons(ORDERED, "holm"))
    assert by_holm["verdict"].to_list() == ["better", "undecided", "better"]
    assert by_holm["p_adjusted"].to_list() == holm(by_holm["p"].to_list()).tolist()


def test_what_was_not_run_counts_as_not_shown():
    rows = table({name: RIGHTS[name] for name in ("a", "c", "d")})
    sequence = decide(rows, Comparisons(ORDERED, "sequence", 0.1))
    assert sequence["verdict"].to_list() == ["better", NOT_RUN, "undecided"]
    by_holm = decide(rows, Comparisons(ORDERED, "holm", 0.1))
    assert by_holm["verdict"].to_list() == ["better", NOT_RUN, "better"]
    assert by_holm["p_adjusted"].to_list() == [6 / 512, None, 6 / 512]


@pytest.mark.parametrize("people", [6, 8, 20, 30])
@pytest.mark.parametrize("margin", [0.02])
def test_false_verdicts_are_rare(people, margin):
    """Without a difference "better" or "worse", with one as large as the margin "equivalent": 5 % at most."""
    rng, studies = np.random.default_rng(people), 1500 if people <= 8 else 60
    decisive = equivalent = 0
    for _ in range(studies):
        spread = rng.choice([0.5, 1.0, 3.0]) * rng.standard_t(3, people) * margin
        d = np.round(spread * 60) / 60  # shares of clips: with ties
        decisive += SignFlips(d).p() <= 0.05
        equivalent += SignFlips(spread / 4 + margin).p_equivalent(margin) <= 0.05
    error = 2.6 * (0.05 * 0.95 / studies) ** 0.5
    assert decisive / studies <= 0.05 + error and equivalent / studies <= 0.05 + error


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


def of_all_seeds(rows, method):
    """The first seed's rows of a method as an ensemble's, which are of no seed."""
    ensemble = (pl.col("method") == method) & (pl.col("seed") == 0)
    others = rows.filter(pl.col("method") != method)
    return pl.concat([rows.filter(ensemble).with_columns(seed=pl.lit(None, pl.Int64)), others])


def test_an_ensemble_stands_against_the_mean_over_the_other_s_seeds():
    concat = [table({"concat": rights}) for rights in ([8, 12, 10], [12, 12, 7])]
    rows = [table({"led": [14, 13, 9]}), concat[0], concat[1].with_columns(seed=pl.lit(1, pl.Int64))]
    ensemble = of_all_seeds(pl.concat(rows), "led")
    d = (np.array([[14], [13], [9]]) - np.array([[8, 12], [12, 12], [10, 7]])) / 20
    for contrast, sign in ((("led", "concat"), 1), (("concat", "led"), -1)):
        found = decide(ensemble, Comparisons((contrast,))).row(0, named=True)
        assert found["difference"] == pytest.approx(sign * d.mean())
        assert (found["subjects"], found["seeds"]) == (3, 2)
        assert found["p"] == pytest.approx(SignFlips(d.mean(axis=1)).p())
        assert found["seed_sd"] == pytest.approx(d.var(axis=1, ddof=1).mean() ** 0.5)


def test_two_ensembles_have_no_seeds_and_one_that_lacks_a_person_is_refused():
    rows = of_all_seeds(of_all_seeds(table({"led": [14, 13], "concat": [8, 12]}, seeds=3), "led"), "concat")
    found = decide(rows, Comparisons((("led", "concat"),))).row(0, named=True)
    assert found["difference"] == pytest.approx(7 / 40) and (found["subjects"], found["seeds"]) == (2, 1)
    assert found["seed_sd"] is None
    fewer = rows.filter((pl.col("method") != "led") | (pl.col("subject") != "0"))
    with pytest.raises(DataError, match="not tested on the same subjects with the same seeds"):
        decide(fewer, Comparisons((("led", "concat"),)))


def test_an_ensemble_is_nobody_s_baseline_and_mixtures_and_stacks_are():
    more = {
        **METHODS,
        "mixed": MethodFacts("mixture", BOTH),
        "stacked": MethodFacts("stack", BOTH),
        "many": MethodFacts("ensemble", BOTH),
    }
    found = pairs(more, table({name: [10, 10] for name in more}))
    kinds = {(pair.baseline, pair.kind) for pair in found}
    assert {("mixed", "mixture"), ("stacked", "stack")} <= kinds
    assert "many" not in {name for pair in found for name in pair[:2]}
