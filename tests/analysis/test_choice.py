"""One fusion stands for the others: validation people choose it, and nothing of test people changes it."""

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.analysis.choice import Choice, choices, choose, fusions, independent
from plait.analysis.metrics import summary
from plait.errors import DataError
from plait.report.page import Report
from plait.results import MethodFacts, read_run, read_validation
from tests.report.test_report import make_run

BOTH, BODY = ("gloves", "video"), ("gloves", "video", "body")
LED = {
    "g": MethodFacts("fusion", BOTH, "mean", args={"lead": "gloves"}),
    "v": MethodFacts("fusion", BOTH, "mean", args={"lead": "video"}),
    "s": MethodFacts("fusion", BOTH, "mean", use="plait.fusion:Symmetric"),
    "own": MethodFacts("fusion", BOTH, "mean", use="mine:Gate"),
}
MORE = {
    **LED,
    "v-flat": MethodFacts("fusion", BOTH, "flatten", args={"lead": "video"}),
    "w[embedding=3]": MethodFacts("fusion", BOTH, "mean", args={"lead": "video"}, sweep={"embedding": 3}),
    "all": MethodFacts("fusion", BODY, "mean", args={"lead": "body"}),
    "concat": MethodFacts("concat", BOTH, "flatten"),
}


def said(right, people="abcd"):
    """Validation predictions: a method is right on so many of ten clips of each person, or of all of them."""
    rows = []
    for method, counts in right.items():
        for person, count in zip(
            people, counts if isinstance(counts, list) else [counts] * len(people), strict=True
        ):
            rows += [
                (method, f"fold {person}", 0, str(n), person, "x", "x" if n < count else "y")
                for n in range(10)
            ]
    columns = ["method", "fold", "seed", "clip", "subject", "activity", "predicted"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def test_roles_are_what_methods_are_and_the_first_of_each_stands():
    found = fusions(MORE, BODY)
    assert found[BOTH] == {"gloves-led": "g", "video-led": "v", "symmetric": "s", "Gate": "own"}
    assert found[BODY] == {"body-led": "all"}

    others = {
        "cross": MethodFacts(
            "fusion", BOTH, "mean", use="plait.fusion:CrossAttention", args={"lead": "video"}
        ),
        "v": MethodFacts("fusion", BOTH, "mean", use="plait.fusion:Led", args={"lead": "video"}),
        "mine": MethodFacts("fusion", BOTH, "mean", use="mine:Gate", args={"lead": "gloves"}),
    }
    of = {"video-led": "v", "CrossAttention led by video": "cross", "Gate led by gloves": "mine"}
    assert fusions(others, BODY)[BOTH] == of and list(fusions(others, BODY)[BOTH]) == list(of)
    assert choose("glovid", others, BOTH, None) == Choice("v", "video-led", "the paper's choice")


def test_validation_people_choose():
    validation = said(
        {"g": 5, "v": 4, "s": 7, "own": 6, "all": 1, "v-flat": 10, "w[embedding=3]": 10, "concat": 10}
    )
    assert choices("x", MORE, BODY, validation) == {
        BOTH: Choice("s", "symmetric", "chosen on validation subjects"),
        BODY: Choice("all", "body-led", "the only fusion"),
    }
    assert choose("x", MORE, BODY, validation) == Choice("s", "symmetric", "chosen on validation subjects")
    turned = said({"g": 5, "v": 4, "s": 7, "own": 6, "all": 8})
    assert choose("x", MORE, BODY, turned) == Choice("all", "body-led", "chosen on validation subjects")
    tied = said({"g": 5, "v": 7, "s": 7, "own": 7})
    assert choose("x", LED, BOTH, tied).method == "v"  # the first in the study


def test_the_paper_s_choice_on_the_paper_s_data_and_no_other():
    validation = said({"g": 5, "v": 1, "s": 7, "own": 6})
    assert choose("glovid", LED, BOTH, validation) == Choice("v", "video-led", "the paper's choice")
    assert choose("x", LED, BOTH, validation).method == "s"
    without = {name: row for name, row in LED.items() if name != "v"}
    assert choose("glovid", without, BOTH, validation).how == "chosen on validation subjects"


def test_where_nobody_validates_the_study_s_order_decides_and_it_is_said():
    for validation in (None, said({"g": 9, "s": 1})):  # nor where only some were
        assert choose("x", LED, BOTH, validation) == Choice(
            "g", "gloves-led", "the first in the study, for nobody validates"
        )
    assert choose("x", {"concat": MORE["concat"]}, BOTH, None) is None


def test_what_the_choice_flatters_is_measured_without_the_person_s_own_say():
    """Person a alone makes g the choice; for a, chosen by the others, it is v."""
    two = {"g": LED["g"], "v": LED["v"]}
    validation = said({"g": [10, 5, 5, 5], "v": [0, 6, 6, 6]})
    tested = said({"g": [9, 5, 5, 5], "v": [1, 5, 5, 5]})
    assert choose("x", two, BOTH, validation).method == "g"
    assert independent("x", two, BOTH, tested, validation) == pytest.approx((0.1 + 3 * 0.5) / 4)
    assert independent("glovid", two, BOTH, tested, validation) is None


def test_a_choice_that_is_everybody_s_flatters_nobody():
    """In folds of several people, who do not have as many clips, its accuracy is the one that tables have."""
    two = {"g": LED["g"], "v": LED["v"]}
    validation, tested = said({"g": 6, "v": 5}), said({"g": [10, 2, 7, 1], "v": 5})
    uneven = pl.col("clip").cast(pl.Int64) < pl.col("subject").replace_strict(
        {"a": 10, "b": 4, "c": 7, "d": 2}
    )
    fold = pl.col("subject").replace_strict({"a": "1", "b": "1", "c": "1", "d": "2"})
    tested = tested.filter(uneven).with_columns(fold=fold)
    of = dict(summary(tested, ["x", "y"]).select("method", "accuracy").iter_rows())
    assert independent("x", two, BOTH, tested, validation) == pytest.approx(of["g"])
    assert independent("x", two, BOTH, tested, said({"g": 6, "v": 5}, "efgh")) is None  # who are not tested
    assert independent("x", two, BOTH, tested, None) is None


METHODS = {
    "video": ("single", BOTH[1:], "mean", 0.6),
    "gloves": ("single", BOTH[:1], "mean", 0.5),
    "concat": ("concat", BOTH, "flatten", 0.66),
    "gloves-led": ("fusion", BOTH, "mean", 0.4),
    "video-led": ("fusion", BOTH, "mean", 0.6),
}


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    return read_run(make_run(tmp_path_factory.mktemp("choice") / "run", METHODS))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_whatever_test_people_did_the_report_shows_the_same_fusion(read, seed, validated):
    run, predictions = read
    validation = predictions if validated else None
    before = Report.of(run, predictions, validation)
    mixed = np.random.default_rng(seed).permutation(predictions["predicted"].to_numpy())
    after = Report.of(run, predictions.with_columns(predicted=pl.Series(mixed)), validation)
    wanted = choose(run.dataset, run.methods, run.modalities, validation)
    for report in (before, after):
        assert report.choice == wanted and report.table2["method"].to_list()[-1] == wanted.method
        assert report.leaders() == ["video", "gloves", "concat", wanted.method]
        assert report.figures()["gains"].args[1] == wanted.method
        assert report.gains["single"].unique(maintain_order=True).to_list() == ["video", "gloves"]
    assert wanted.method == ("video-led" if validated else "gloves-led")


def test_a_damaged_file_is_one_line(tmp_path):
    assert read_validation(tmp_path) is None
    (tmp_path / "validation.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        DataError,
        match=r"validation.parquet: cannot be read, expected a parquet file .*; run `plait run` again",
    ):
        read_validation(tmp_path)
