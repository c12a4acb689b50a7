"""Runs beside each other: the same people before and after, one pair of methods over several data sets."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from plait.analysis.across import between_runs, over_datasets
from plait.analysis.metrics import by_subject
from plait.analysis.signflips import SignFlips
from plait.config import Comparisons
from plait.errors import ConfigError, DataError
from plait.results import MethodFacts, PersonFacts, Results, RunFacts
from tests.analysis.test_compare import of_all_seeds, table

METHODS = {name: MethodFacts("fusion", ("a", "b")) for name in ("led", "concat")}


def run(rights, dataset="one", seeds=1):
    people = {str(s): PersonFacts("cut", {"a": (f"{dataset} {s}",)}) for s in range(len(rights["led"]))}
    facts = RunFacts(
        study="s", dataset=dataset, cite="", activities=("sit", "walk"), modalities=("a", "b"), protocol={},
        seeds=tuple(range(seeds)), methods={name: METHODS[name] for name in rights},
        streams=("a",), people=people,
    )  # fmt: skip
    return Results(facts, table(rights, seeds=seeds), None)


BEFORE = {"led": [10, 11, 12, 13, 14, 15, 9, 8], "concat": [10] * 8}
AFTER = {"led": [12, 14, 13, 15, 17, 16, 12, 9], "concat": [10] * 8}


def test_a_method_before_and_after():
    found = between_runs({"old": run(BEFORE), "new": run(AFTER)}, [("led", "led")], Comparisons())
    row = found.row(0, named=True)
    d = (np.array(BEFORE["led"]) - np.array(AFTER["led"])) / 20
    assert (row["method"], row["baseline"]) == ("led (old)", "led (new)")
    assert row["difference"] == pytest.approx(d.mean()) and row["p"] == pytest.approx(SignFlips(d).p())
    assert row["verdict"] == "worse"
    three = {"old": run(BEFORE), "new": run(AFTER), "newer": run(AFTER)}
    found = between_runs(three, [("led", "led"), ("led", "concat")], Comparisons(order="holm"))
    assert found["baseline"].to_list() == [
        "led (new)", "concat (new)", "led (newer)", "concat (newer)"
    ]  # fmt: skip
    assert found["p_adjusted"][0] == pytest.approx(4 * found["p"][0])


def test_every_test_of_a_clip_counts_where_several_folds_test_it():
    runs = {"old": run(BEFORE), "new": run(AFTER)}
    for name, wrong in (("old", 3), ("new", 6)):  # each clip is tested in another fold, where less is right
        table = runs[name].predictions
        again = table.with_columns(
            fold=pl.lit("again"),
            predicted=pl.when(pl.int_range(pl.len()) % wrong > 0).then("predicted").otherwise(pl.lit("walk")),
        )
        runs[name] = runs[name]._replace(predictions=pl.concat([table, again]))
    found = between_runs(runs, [("led", "led"), ("concat", "led")], Comparisons())
    means = {
        name: dict(by_subject(one.predictions).group_by("method").agg(pl.col("accuracy").mean()).iter_rows())
        for name, one in runs.items()
    }
    for method, difference in zip(("led", "concat"), found["difference"], strict=True):
        assert difference == pytest.approx(means["old"][method] - means["new"]["led"])


def test_another_split_other_seeds_or_clips_are_refused():
    old, contrast = run(BEFORE, seeds=2), [("led", "led")]
    for change in (
        lambda rows: rows.filter(pl.col("subject") != "3"),
        lambda rows: rows.filter(pl.col("seed") != 1),
        lambda rows: rows.with_columns(fold=pl.lit("another")),
        lambda rows: rows.with_columns(activity=pl.lit("walk")),
        lambda rows: rows.filter(pl.col("clip") != "4-7"),
    ):
        new = run(AFTER, seeds=2)
        new = new._replace(predictions=change(new.predictions))
        with pytest.raises(DataError, match="old and new: only one of them tested fold .*: expected one"):
            between_runs({"old": old, "new": new}, contrast, Comparisons())
    with pytest.raises(ConfigError, match="old is of one, new of two: expected runs of one data set"):
        between_runs({"old": old, "new": run(AFTER, "two", 2)}, contrast, Comparisons())
    with pytest.raises(ConfigError, match="new: no method 'x', expected one of: led, concat"):
        between_runs({"old": old, "new": run(AFTER, seeds=2)}, [("led", "x")], Comparisons())


def test_one_pair_over_data_sets_is_pooled_by_person():
    runs = {"first": run(AFTER), "second": run({name: r[:4] for name, r in AFTER.items()}, "two", 3)}
    found = over_datasets(runs, ("led", "concat"), Comparisons(margin=0.1))
    assert found["method"].to_list() == ["all people", "first", "second"]
    assert found["subjects"].to_list() == [12, 8, 4] and found["baseline"][0] == "led − concat"
    d = np.array([*AFTER["led"], *AFTER["led"][:4]]) / 20 - 0.5
    assert found["difference"][0] == pytest.approx(d.mean())
    assert found["p"].to_list() == [pytest.approx(SignFlips(d).p()), None, None]
    assert found["verdict"].to_list() == ["better", "described", "described"]
    with pytest.raises(ConfigError, match="first and second are both of one"):
        over_datasets({"first": run(AFTER), "second": run(BEFORE)}, ("led", "concat"), Comparisons())


def with_facts(results, **facts):
    return results._replace(facts=replace(results.facts, **facts))


def test_nobody_counts_twice_over_data_sets_whatever_they_are_called():
    first, second, contrast = run(AFTER), run(AFTER, "two"), ("led", "concat")
    known = {**second.facts.people, "7": PersonFacts("cut", {"b": ("x", "one 2")})}
    people = {"9" + who: person for who, person in known.items()}
    for facts, message in (
        ({"people": known}, r"both have recordings of '2' \(there '7'\)"),
        ({"people": people}, r"both have recordings of '2' \(there '97'\)"),
        ({"people": {}}, "both have a clip '0-0' of '0', and one does not say what it holds"),
    ):
        with pytest.raises(DataError, match=f"first and second: {message}"):
            over_datasets({"first": first, "second": with_facts(second, **facts)}, contrast, Comparisons())
    control = with_facts(second, protocol={"shuffle_labels": 0})
    with pytest.raises(
        ConfigError, match="second: a control with shuffled labels, expected runs with labels"
    ):
        over_datasets({"first": first, "second": control}, contrast, Comparisons())


def test_other_data_under_the_same_names_is_refused_unless_it_is_asked_for():
    old, new, contrast = run(BEFORE), run(AFTER), [("led", "led")]
    for changed, message in (
        (PersonFacts("cut", {"a": ("another",)}), "stream 'a' of 3 holds something else"),
        (PersonFacts("cut otherwise", {"a": ("one 3",)}), "clips of 3 are cut or labelled otherwise"),
    ):
        runs = {"old": old, "new": with_facts(new, people={**new.facts.people, "3": changed})}
        with pytest.raises(DataError, match=f"old and new: {message}: expected .* or --other-data"):
            between_runs(runs, contrast, Comparisons())
        between_runs(runs, contrast, Comparisons(), other_data=True)
        runs["new"] = with_facts(runs["new"], streams=("b",))  # which reads another stream
        if "stream" in message:
            between_runs(runs, contrast, Comparisons())


def of_all(results, method):
    """A run in which a method is an ensemble over all seeds."""
    rows = of_all_seeds(results.predictions, method)
    methods = {**results.facts.methods, method: MethodFacts("ensemble", ("a", "b"))}
    return results._replace(facts=replace(results.facts, methods=methods), predictions=rows)


def test_an_ensemble_is_compared_over_runs_where_it_is_over_the_same_seeds():
    old, new = run(BEFORE, seeds=2), run(AFTER, seeds=2)
    d = (np.array(BEFORE["led"]) - np.array(AFTER["led"])) / 20
    for pair in (
        (of_all(old, "led"), new),
        (old, of_all(new, "led")),
        (of_all(old, "led"), of_all(new, "led")),
    ):
        found = between_runs(dict(zip(("old", "new"), pair, strict=True)), [("led", "led")], Comparisons())
        assert found["difference"][0] == pytest.approx(d.mean())
    for other in (of_all(run(AFTER, seeds=3), "led"), run(AFTER, seeds=3)):
        with pytest.raises(DataError, match="only one of them tested .*seed 2.*: expected one split and the"):
            between_runs({"old": of_all(old, "led"), "new": other}, [("led", "led")], Comparisons())
