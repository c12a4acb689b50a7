"""`plait compare`: runs of one data set, one pair over several, and what is refused."""

import json

import polars as pl
import pytest
from tests.report.test_report import make_run


def other(run, **changes):
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(about | changes))
    return run


def test_runs_of_one_data_set(tmp_path, plait):
    before, after = (make_run(tmp_path / name, subjects=8) for name in ("before", "after"))
    table = pl.read_parquet(after / "predictions.parquet")
    table = table.with_columns(
        predicted=pl.when(pl.col("method") == "video-led").then("activity").otherwise("predicted")
    )
    table.write_parquet(after / "predictions.parquet")
    code, said, fault = plait("compare", after, before, "--out", tmp_path / "out", "--margin", "0.05")
    assert code == 0, fault
    found = pl.read_csv(tmp_path / "out" / "compare.csv")
    row = found.filter(pl.col("method") == "video-led (after)").row(0, named=True)
    assert row["baseline"] == "video-led (before)" and row["difference"] > 0 and row["subjects"] == 8
    same = found.filter(pl.col("method") == "concat (after)").row(0, named=True)
    assert same["difference"] == 0 and same["verdict"] == "equivalent"
    assert "video-led (after)" in said and "sign-flip test" in said
    assert "after and before: whether their data are the same is not known" in said
    for ending in ("md", "csv", "tex", "svg", "pdf"):
        assert (tmp_path / "out" / f"compare.{ending}").stat().st_size > 0
    for run, key in ((after, "x"), (before, "y")):
        people = {"4": {"clips": "", "streams": {"a": [key]}}}
        other(run, streams=["a"], people=people, versions={"plait": key})
    code, _, fault = plait("compare", after, before, "--out", tmp_path / "out")
    assert code == 2 and "stream 'a' of 4 holds something else" in fault and len(fault.splitlines()) == 1
    _, said, _ = plait("compare", after, before, "--out", tmp_path / "out", "--other-data")
    assert "after and before differ: versions.plait: x (after), y (before)." in said
    assert "after and before differ: stream 'a' of 4 holds something else." in said
    code, _, _ = plait(
        "compare", after, before, "--other-data", "--out", tmp_path / "one", "--contrast", "video-led,concat",
        "--order", "sequence",
    )  # fmt: skip
    assert code == 0 and pl.read_csv(tmp_path / "one" / "compare.csv").height == 1


def test_one_pair_over_data_sets(tmp_path, plait):
    runs = [make_run(tmp_path / name, subjects=people) for name, people in (("first", 7), ("second", 5))]
    other(runs[1], dataset="another")
    compared = ("compare", *runs, "--out", tmp_path / "out", "--contrast", "video-led,concat")
    code, _, fault = plait(*compared)
    assert code == 2 and "first and second: both have a clip" in fault and len(fault.splitlines()) == 1
    for number, run in enumerate(runs):
        people = {str(who): {"clips": "", "streams": {"a": [f"{number} {who}"]}} for who in range(1, 8)}
        other(run, people=people)
    code, said, fault = plait(*compared)
    assert code == 0, fault
    found = pl.read_csv(tmp_path / "out" / "compare.csv")
    assert found["method"].to_list() == ["all people", "first", "second"]
    assert found["subjects"].to_list() == [12, 7, 5] and "12 × –" in said
    written = [(tmp_path / "out" / f"compare.{ending}").read_text() for ending in ("md", "tex")]
    assert not any("None" in text for text in (said, *written))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["first"], "compare: 1 run, expected two or more"),
        (["first", "first"], "expected names that differ"),
        (["first", "nowhere"], "run.json: no such file"),
        (["first", "second", "--contrast", "x"], "--contrast x: expected METHOD,METHOD"),
        (["first", "second", "--contrast", "video,x"], "second: no method 'x'"),
        (["first", "second", "--alpha", "0"], "compare: alpha: got 0.0"),
        (["first", "fewer"], "only one of them tested fold"),
        (["first", "another"], "--contrast: 0 given, expected one pair"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(tmp_path, plait, arguments, message):
    for name in ("first", "second", "another"):
        make_run(tmp_path / name, subjects=6)
    make_run(tmp_path / "fewer", subjects=5)
    other(tmp_path / "another", dataset="another")
    folders = [tmp_path / word if word.isalpha() and i < 2 else word for i, word in enumerate(arguments)]
    code, _, fault = plait("compare", *folders, "--out", tmp_path / "out")
    assert code == 2 and message in fault and len(fault.splitlines()) == 1
    assert not (tmp_path / "out").exists()
