"""Who is hard and why, against numbers worked out by hand."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.analysis.metrics import confusion, subject_confusion
from plait.analysis.persons import beside_others, hardest, mistakes

ACTIVITIES = ("sit", "walk", "run")


def table(rows):
    """Predictions from (method, subject, seed, activity, predicted)."""
    columns = ("method", "subject", "seed", "activity", "predicted")
    frame = pl.DataFrame(rows, schema=columns, orient="row").cast({"seed": pl.Int64})
    clip = pl.int_range(pl.len()).over("method", "seed", "subject").cast(pl.String)
    return frame.with_columns(clip=pl.col("subject") + "-" + clip, fold=pl.col("subject"))


def said(subject, activity, *predicted, method="m", seed=0):
    return [(method, subject, seed, activity, one) for one in predicted]


# Person 1 sits down as others walk; everybody's run is taken for a walk half of the time.
ROWS = [
    *said("1", "sit", "walk", "walk", "walk", "sit"),
    *said("1", "run", "run", "walk"),
    *said("2", "sit", "sit", "sit", "sit", "walk"),
    *said("2", "run", "run", "walk"),
    *said("3", "sit", "sit", "sit", "sit", "sit"),
    *said("3", "run", "run", "walk"),
]


def test_everybody_else_is_the_mean_of_the_others():
    found = beside_others(table(ROWS))
    assert found["accuracy"].to_list() == pytest.approx([2 / 6, 4 / 6, 5 / 6])
    assert found["others"].to_list() == pytest.approx([(4 + 5) / 12, (2 + 5) / 12, (2 + 4) / 12])
    assert beside_others(table(said("1", "sit", "sit")))["others"].to_list() == [None]


def test_what_of_theirs_is_taken_for_what_more_than_of_all_others():
    found = mistakes(table(ROWS))
    # 2's one is 1/4, but 3 of 8 of the others'
    assert found.rows() == [("m", "1", "sit", "walk", 3, 3 / 4, 1 / 8)]
    alone = mistakes(table([*said("1", "sit", "walk"), *said("2", "run", "walk")]))
    assert alone.is_empty()  # nobody else did it: nothing to stand beside


def test_the_pairs_that_cost_most_come_first():
    rows = [
        *said("1", "sit", "run", *["sit"] * 3),
        *said("1", "walk", "run", "run", "walk", "walk"),
        *said("2", "sit", *["sit"] * 4),
        *said("2", "walk", *["walk"] * 4),
    ]
    assert mistakes(table(rows))["activity"].to_list() == ["walk", "sit"]
    assert mistakes(table(rows), most=1)["activity"].to_list() == ["walk"]


def test_the_hardest_are_few_and_harder_than_the_others():
    accuracies = beside_others(table(ROWS))
    assert hardest(accuracies, "m") == ["1"]
    level = table([*said("1", "sit", "sit"), *said("2", "sit", "sit"), *said("3", "sit", "sit")])
    assert hardest(beside_others(level), "m") == []
    assert hardest(beside_others(table(said("1", "sit", "walk"))), "m") == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from("12"), st.integers(0, 1), st.sampled_from(ACTIVITIES), st.sampled_from(ACTIVITIES)
        ),
        min_size=1,
        max_size=30,
    )
)
def test_people_s_confusions_add_up_to_everybody_s(rows):
    predictions = table([("m", *row) for row in rows])
    total = subject_confusion(predictions).group_by("activity", "predicted").agg(pl.col("clips").sum())
    of = {pair[:2]: pair[2] for pair in total.iter_rows()}
    whole = confusion(predictions, "m", ACTIVITIES)
    assert [[of.get((a, b), 0) for b in ACTIVITIES] for a in ACTIVITIES] == whole.tolist()
