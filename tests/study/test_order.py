"""Scores go by the order of activities: a process that has another one is refused, as is a run of another."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest

import plait
from plait.errors import ConfigError, DataError
from plait.results import PREDICTIONS, read_run
from plait.store import checksum
from plait.study.finished import FinishedRun
from plait.study.jobs import Setting, dataset_here
from plait.trust import OWN
from tests import tiny

SETTING = Setting("tests.tiny:TINY", None, 1, "cpu")
SINGLE = {"a": {"use": "plait.fusion:Single", "args": {"modality": "a"}}}


@pytest.mark.parametrize("planned", [*itertools.permutations(tiny.ACTIVITIES)])
def test_a_process_with_another_order_than_a_job_was_planned_by_is_refused(planned):
    job = SimpleNamespace(decides={"activities": list(planned)})  # as a job's file has it
    if planned == tiny.ACTIVITIES:
        assert dataset_here(SETTING, job) is tiny.TINY
        return
    with pytest.raises(
        ConfigError, match=r"tests.tiny:TINY has activities .* in another, expected one order"
    ):
        dataset_here(SETTING, job)


def test_a_study_whose_worker_has_another_order_trains_nothing(tmp_path, monkeypatch):
    """As a set's is in each process: the data set is another when a job asks for it."""
    other = replace(tiny.TINY, activities=tiny.ACTIVITIES[::-1])
    monkeypatch.setattr("plait.study.jobs.resolve", lambda path, where: other)
    monkeypatch.setattr("plait.study.jobs.fit", lambda task: pytest.fail("it was trained"))
    monkeypatch.setattr("plait.study.jobs._decides", lambda *args: {"activities": tiny.ACTIVITIES})
    monkeypatch.setattr("plait.study.jobs._start", lambda *args: None)
    with pytest.raises(ConfigError, match="a set has none, sorted"):
        plait.run(tiny.study(methods=SINGLE, seeds=[0]), tmp_path, tmp_path / "run", executor="inline")


def test_a_run_is_opened_with_its_own_order_alone(tmp_path, monkeypatch):
    study = tiny.study(methods=SINGLE, seeds=[0], train={"max_epochs": 1})
    plait.run(study, tmp_path, tmp_path / "run", executor="inline")
    FinishedRun.open(tmp_path / "run", tmp_path, OWN)
    facts, predictions = read_run(tmp_path / "run")
    monkeypatch.setattr(tiny, "TINY", replace(tiny.TINY, activities=tiny.ACTIVITIES[::-1]))
    with pytest.raises(DataError, match="a run of other activities: lo lo, lo hi, hi lo, hi hi; tests.tiny"):
        FinishedRun.open(tmp_path / "run", tmp_path, OWN)
    table, fit = tmp_path / "run" / PREDICTIONS, 0
    for order in itertools.permutations(range(len(tiny.ACTIVITIES))):  # as workers of before left them
        scores = [[row[place] for place in order] for row in predictions["scores"]]
        predictions.with_columns(scores=pl.Series(scores, dtype=pl.List(pl.Float32))).write_parquet(table)
        told = replace(facts, tables={**facts.tables, PREDICTIONS: checksum(table)})
        monkeypatch.setattr("plait.results.read_facts", {tmp_path / "run": told}.get)
        places = map(tiny.ACTIVITIES.index, predictions["predicted"])
        if all(row[place] == max(row) for row, place in zip(scores, places, strict=True)):
            assert read_run(tmp_path / "run")[1]["scores"].to_list() == scores
            fit += 1
            continue
        with pytest.raises(DataError, match="predicted is another activity than that of the highest score"):
            read_run(tmp_path / "run")
    assert 0 < fit < 24
