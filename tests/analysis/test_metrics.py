"""Metrics against numbers worked out by hand and against scikit-learn's own averages."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from plait.analysis.metrics import by_activity, by_epoch, by_subject, chance, confusion, summary

ACTIVITIES = ("sit", "walk", "run")


def table(rows):
    """Predictions from (method, fold, seed, subject, activity, predicted), one clip each."""
    columns = ("method", "fold", "seed", "subject", "activity", "predicted")
    frame = pl.DataFrame(rows, schema=columns, orient="row").cast({"seed": pl.Int64})
    clip = pl.int_range(pl.len()).over("method", "seed", "subject").cast(pl.String)
    return frame.with_columns(clip=pl.col("subject") + "-" + clip).sort("method", "seed", "fold", "clip")


def clips(method, fold, seed, subject, right, wrong):
    return [(method, fold, seed, subject, "sit", "sit")] * right + [
        (method, fold, seed, subject, "sit", "walk")
    ] * wrong


def test_accuracy_is_the_mean_over_folds_and_not_over_clips():
    rows = clips("m", "a", 0, "1", 1, 0) + clips("m", "b", 0, "2", 1, 3)
    found = summary(table(rows), ACTIVITIES)
    assert found["accuracy"].item() == pytest.approx((1 + 0.25) / 2)
    assert found.select("folds", "subjects", "seeds", "clips").row(0) == (2, 2, 1, 5)


def test_seeds_are_averaged_within_a_fold_first():
    rows = clips("m", "a", 0, "1", 1, 1) + clips("m", "a", 1, "1", 2, 0) + clips("m", "b", 0, "2", 0, 2)
    assert summary(table(rows), ACTIVITIES)["accuracy"].item() == pytest.approx(((0.5 + 1) / 2 + 0) / 2)


def test_a_clip_that_several_folds_test_counts_once():
    once = table(clips("m", "1+2", 0, "1", 1, 2) + clips("m", "1+2", 0, "2", 2, 1))
    again = once.filter(pl.col("subject") == "1").with_columns(fold=pl.lit("1+3"), predicted=pl.lit("sit"))
    found = pl.concat([once, again])
    assert by_subject(found)["clips"].to_list() == [3, 3]
    assert by_subject(found)["accuracy"].to_list() == [pytest.approx(4 / 6), pytest.approx(2 / 3)]
    assert by_activity(found, ACTIVITIES)["clips"].to_list() == [6, 0, 0]


def test_subject_sd_is_the_sample_sd_of_seed_averaged_accuracies():
    rows = []
    for subject, rights in {"1": (4, 2), "2": (1, 1), "3": (0, 2)}.items():
        for seed, right in enumerate(rights):
            rows += clips("m", "fixed", seed, subject, right, 4 - right)
    assert summary(table(rows), ACTIVITIES)["subject_sd"].item() == pytest.approx(
        np.std([0.75, 0.25, 0.25], ddof=1)
    )
    assert by_subject(table(rows))["accuracy"].to_list() == [0.75, 0.25, 0.25]
    assert by_subject(table(rows))["clips"].to_list() == [4, 4, 4]


def test_one_subject_has_no_sd():
    assert summary(table(clips("m", "a", 0, "1", 1, 1)), ACTIVITIES)["subject_sd"].to_list() == [None]


def test_chance_is_what_one_activity_gets_that_is_always_said():
    sides = {"1": "sit sit sit walk", "2": "sit walk", "3": "run"}
    rows = [(m, p, 0, p, a, "sit") for m in "mn" for p, does in sides.items() for a in does.split()]
    activity, share = chance(table(rows))
    assert (activity, share) == ("sit", pytest.approx((3 / 4 + 1 / 2 + 0) / 3))
    always = summary(table([(*row[:5], activity) for row in rows]), ACTIVITIES)["accuracy"]
    assert always.to_list() == pytest.approx([share] * 2)
    pooled = [(*row[:1], "all", *row[2:]) for row in rows]  # one fold: clips count, not people
    assert chance(table(pooled)) == ("sit", pytest.approx(4 / 7))
    assert chance(table(pooled), "subject") == ("sit", pytest.approx(share))


def test_chance_of_balanced_clips_is_one_in_all():
    rows = [("m", p, seed, p, a, "sit") for p in "12" for seed in (0, 1) for a in ACTIVITIES for _ in "ab"]
    assert chance(table(rows))[1] == pytest.approx(1 / 3)


def test_macro_f1_counts_activities_that_were_never_tested():
    # sit: precision 1, recall 1/2, F1 2/3; walk and run were never performed: F1 0
    rows = clips("m", "a", 0, "1", 1, 1)
    assert summary(table(rows), ACTIVITIES)["macro_f1"].item() == pytest.approx(2 / 9)


def test_by_activity_by_hand():
    truth = [("sit", "sit"), ("sit", "walk"), ("walk", "walk"), ("walk", "walk"), ("sit", "run")]
    found = by_activity(table([("m", "a", 0, "1", *pair) for pair in truth]), ACTIVITIES)
    assert found["activity"].to_list() == list(ACTIVITIES)
    assert found["recall"].to_list() == [pytest.approx(1 / 3), 1.0, None]
    assert found["precision"].to_list() == [1.0, pytest.approx(2 / 3), 0.0]
    assert found["f1"].to_list() == [pytest.approx(0.5), pytest.approx(0.8), 0.0]
    assert found["clips"].to_list() == [3, 2, 0]


def test_methods_keep_their_order_and_awkward_names():
    names = ["z", "<b>", "a|b, c", "10", "9"]
    rows = pl.concat([table(clips(name, "a", 0, "1", 1, 1)) for name in names])
    assert summary(rows, ACTIVITIES)["method"].to_list() == names
    assert by_subject(rows)["method"].to_list() == names
    assert by_activity(rows, ACTIVITIES)["method"].unique(maintain_order=True).to_list() == names


@st.composite
def predictions(draw):
    pairs = st.tuples(st.sampled_from(ACTIVITIES), st.sampled_from(ACTIVITIES))
    rows = []
    for subject in range(draw(st.integers(1, 4))):
        truth = draw(st.lists(pairs, min_size=1, max_size=6))
        for seed in range(2):
            rows += [
                ("m", f"f{subject}", seed, str(subject), *pair) for pair in (truth if seed else truth[::-1])
            ]
    return table(rows)


@settings(max_examples=25, deadline=None)
@given(predictions())
def test_the_tables_agree_with_each_other_and_with_scikit_learn(rows):
    whole = summary(rows, ACTIVITIES).row(0, named=True)
    counts = confusion(rows, "m", ACTIVITIES)
    oracle = [
        f1_score(own["activity"], own["predicted"], labels=ACTIVITIES, average="macro", zero_division=0)
        for own in rows.partition_by("seed")
    ]
    assert whole["macro_f1"] == pytest.approx(np.mean(oracle))
    by_name = by_activity(rows, ACTIVITIES)
    assert whole["macro_f1"] == pytest.approx(by_name["f1"].mean())
    assert whole["accuracy"] == pytest.approx(by_subject(rows)["accuracy"].mean())  # here a fold is a subject
    assert counts.sum() == len(rows)
    assert np.trace(counts) == (rows["activity"] == rows["predicted"]).sum()
    for i, true in enumerate(ACTIVITIES):
        for j, predicted in enumerate(ACTIVITIES):
            cell = rows.filter((pl.col("activity") == true) & (pl.col("predicted") == predicted))
            assert counts[i, j] == len(cell)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 1), st.integers(1, 4)), min_size=1, unique=True))
def test_a_learning_curve_lies_within_its_band_of_folds(jobs):
    """Each job, of a fold and a seed, ends after some epochs; losses are its own."""
    rows = [
        ("led", str(fold), seed, "train", epoch, fold + 0.1 * seed + 0.01 * last / epoch, None, None)
        for fold, seed, last in {(fold, seed): (fold, seed, last) for fold, seed, last in jobs}.values()
        for epoch in range(1, last + 1)
    ]
    columns = ("method", "fold", "seed", "phase", "epoch", "loss", "val_accuracy", "val_loss")
    histories = pl.DataFrame(rows, schema=columns, orient="row", infer_schema_length=None)
    for row in by_epoch(histories.cast({"val_loss": pl.Float64})).iter_rows(named=True):
        reached = [one for one in rows if one[4] == row["epoch"]]
        folds = [[one[5] for one in reached if one[1] == name] for name in {one[1] for one in reached}]
        means = [sum(losses) / len(losses) for losses in folds]
        assert row["jobs"] == len(reached)
        assert (row["loss_low"], row["loss_high"]) == pytest.approx((min(means), max(means)))
        assert row["loss_low"] - 1e-9 <= row["loss"] <= row["loss_high"] + 1e-9
        assert row["val_loss_low"] is None and row["val_loss_high"] is None
