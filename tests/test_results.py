"""A run's folder: its tables are those it speaks of, and what was found under faults is of its rows."""

import json
from dataclasses import replace

import polars as pl
import pytest

import plait.results
from plait.errors import DataError
from plait.results import (
    PERSONS,
    MethodFacts,
    RunFacts,
    read_facts,
    read_people,
    read_results,
    read_run,
    write_people,
    write_run,
)

METHODS = {name: MethodFacts("single", ("a",), keys={"1/0": name}) for name in "abc"}
METHODS["mean"] = MethodFacts("average", ("a",), made_of=("a", "b"))
METHODS["both"] = MethodFacts("average", ("a",), made_of=("mean", "c"))
FACTS = RunFacts("s", "d", "", ("x", "y"), ("a",), {}, (0,), METHODS)


def table(predicted, methods=METHODS):
    rows = [("s", method, "1", 0, "1-0", "1", "x", predicted, [0.5, 0.5]) for method in methods]
    columns = [*plait.results.PREDICTED, "scores"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.mark.parametrize("name", ["predictions.parquet", "validation.parquet", "study.toml", "run.json"])
def test_a_run_that_was_not_written_whole_is_refused_or_is_the_one_before(tmp_path, monkeypatch, name):
    write_run(tmp_path, FACTS, table("x"), table("x"), {"name": "before"})
    before = read_results(tmp_path)
    for kind in ("write_bytes", "write_toml", "write_json"):
        write = getattr(plait.results, kind)

        def full(path, content, write=write):
            if path.name == name:
                raise OSError(28, "No space left on device")
            write(path, content)

        monkeypatch.setattr(plait.results, kind, full)
    with pytest.raises(OSError, match="No space"):
        write_run(tmp_path, replace(FACTS, study="after"), table("y"), table("y"), {"name": "after"})
    if name == "validation.parquet":  # the first that is written
        found = read_results(tmp_path)
        assert found.facts == before.facts and found.predictions.equals(before.predictions)
        return
    with pytest.raises(
        DataError, match="not the table that run.json speaks of, expected both of one run; run"
    ):
        read_results(tmp_path)


def test_a_run_of_before_whose_tables_have_no_digests_is_read(tmp_path):
    write_run(tmp_path, FACTS, table("x"), table("x"))
    facts = read_facts(tmp_path)
    assert set(facts.tables) == {"predictions.parquet", "validation.parquet"}
    said = json.loads((tmp_path / "run.json").read_text())
    del said["tables"], said["people"], said["streams"]
    (tmp_path / "run.json").write_text(json.dumps(said))
    table("y").write_parquet(tmp_path / "predictions.parquet")
    assert set(read_run(tmp_path)[1]["predicted"]) == {"y"}


def test_of_rows_that_are_made_of_others_by_now_nothing_is_shown_that_was_found_under_faults(tmp_path):
    rows = [("", "", 0.0, "clips", name, "1", 0.5, 9) for name in METHODS]
    write_people(tmp_path, FACTS, pl.DataFrame(rows, schema=PERSONS, orient="row"))
    assert read_people(tmp_path, FACTS) is not None
    for name, change in (
        ("mean", {"made_of": ("a", "c")}),
        ("mean", {"kind": "mixture", "args": {"confidence": "highest"}}),
        ("a", {"keys": {"1/0": "another"}}),
        ("both", {"made_of": ("c", "mean")}),
    ):
        others = {**METHODS, name: replace(METHODS[name], **change)}
        assert read_people(tmp_path, replace(FACTS, methods=others)) is None
