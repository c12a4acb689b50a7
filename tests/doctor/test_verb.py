"""`plait doctor`, its page, and the look before a study."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from plait.cli import app
from plait.doctor.checks import about, all_checks, chosen, quick
from plait.doctor.examine import examine
from plait.errors import ConfigError, DataError
from plait.report.findings import render
from plait.store import cache_folder
from plait.study.run import run_study
from plait.types import Span
from tests import tiny
from tests.doctor.test_people import copy, world

CLEAN = world(people=3)
DOUBLE = [*CLEAN, copy(lambda readings: readings)[-1]]


def dataset(recordings):
    """The tiny data set with other recordings."""
    return replace(tiny.TINY, recordings=lambda data: iter(recordings))


@pytest.fixture
def named(monkeypatch):
    """Data sets that a command line can name."""
    monkeypatch.setattr(tiny, "CLEAN", dataset(CLEAN), raising=False)
    monkeypatch.setattr(tiny, "DOUBLE", dataset(DOUBLE), raising=False)
    monkeypatch.setattr(tiny, "LONG", dataset([overlong(), *CLEAN[1:]]), raising=False)
    monkeypatch.setattr(sys, "path", sys.path.copy())


def overlong():
    return replace(CLEAN[0], spans=(Span(0.0, 12.0, "wave"),))


def called(*words):
    return CliRunner().invoke(app, ["doctor", *map(str, words)])


def test_exit_code_and_words_by_severity(named, tmp_path):
    at = (tmp_path, "--no-pictures", "--only", "copies", "--only", "labels-outside", "--dataset")
    clean = called(*at, "tests.tiny:CLEAN")
    assert clean.exit_code == 0 and "18 recordings of 3 people: nothing" in clean.output
    assert called(*at, "tests.tiny:LONG").exit_code == 1
    double = called(*at, "tests.tiny:DOUBLE", "--out", tmp_path / "out")
    assert double.exit_code == 3 and "fault  copies: people 'p0' and 'p5'" in double.output
    said = json.loads((tmp_path / "out/doctor.json").read_text())
    assert said["counts"] == {"fault": 1, "warning": 0, "note": 0} and said["recordings"] == 19
    assert said["findings"][0]["check"] == "copies" and said["findings"][0]["remedy"]
    page = (tmp_path / "out/index.html").read_text()
    assert "Faults: numbers would be wrong" in page and "0-wave-0 and copy" in page


def test_bad_input_is_refused(named, tmp_path):
    refused = called(tmp_path, "--dataset", "tests.tiny:CLEAN", "--only", "nothing")
    assert isinstance(refused.exception, ConfigError) and "--only nothing: no such check" in str(
        refused.exception
    )
    refused = called(tmp_path, "--dataset", "tests.tiny:CLEAN", "--study", tmp_path / "a.toml")
    assert isinstance(refused.exception, ConfigError)
    assert isinstance(called(tmp_path / "none").exception, DataError)


def test_recordings_that_do_not_open_are_faults(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recording.toml").write_text('subject = "1"\nvideo = "gone.mp4"\n')
    (tmp_path / "two/recording.toml").write_text("video = 3\n")  # another reason
    ended = called(tmp_path)
    assert ended.exit_code == 3 and "0 recordings of 0 people: 2 faults" in ended.output
    assert "fault  unreadable: recordings one, three\n" in ended.output
    assert "and so it is in 1 more recording." in ended.output
    assert "fault  unreadable: recording two\n" in ended.output


class Failing:
    times = np.arange(100) / 50

    def at(self, seconds):
        raise DataError("left.csv: damaged")


def test_a_stream_that_cannot_be_read_is_one_finding():
    recordings = [replace(r, streams={**r.streams, "left": Failing()}) for r in CLEAN]
    result = examine(recordings, chosen(quick(all_checks()), ["copies", "same-person"]))
    [finding] = result.findings
    assert finding.check == "unreadable" and "left of recordings 0-wave-0" in finding.where
    assert "17 more recordings" in finding.what


CALLS: list[str] = []


class Counting:
    """Counts how often it looks."""

    name = "counting"

    def look(self, recording) -> list[str]:
        CALLS.append(recording.name)
        return list(recording.streams)

    def judge(self, facts, people):
        return []


def test_what_was_seen_is_kept_and_not_looked_at_again():
    CALLS.clear()
    examine(CLEAN, [Counting()], keep="here")
    assert len(CALLS) == 18 and len(list(cache_folder("doctor").glob("*.json"))) == 1
    examine(CLEAN, [Counting()], keep="here")
    assert len(CALLS) == 18
    examine(DOUBLE, [Counting()], keep="here")  # one more
    assert CALLS[18:] == ["copy"]
    [kept] = cache_folder("doctor").glob("*.json")
    kept.write_text("{}")
    examine(CLEAN, [Counting()], keep="here")
    assert len(CALLS) == 19 + 18


def test_a_quick_look_decodes_no_picture():
    class Film:
        """One picture says that it is a film; more are not to be asked for."""

        times = np.arange(200) / 10

        def at(self, seconds):
            assert len(seconds) == 1
            return np.zeros((1, 24, 32), np.uint16)

    recordings = [replace(one, streams={**one.streams, "film": Film()}) for one in CLEAN]
    assert examine(recordings, quick(all_checks())).findings == ()


def test_all_facts_come_out_of_the_cache_as_they_were():
    checks = quick(all_checks())
    assert examine(DOUBLE, checks, keep="here") == examine(DOUBLE, checks, keep="here")
    [kept] = cache_folder("doctor").glob("*.json")
    assert len(json.loads(kept.read_text())) == len(checks) * len(DOUBLE)


def test_a_page_without_findings_says_so_and_every_check_says_what_it_looks_for():
    checks = all_checks()
    assert len({check.name for check in checks}) == len(checks)
    assert all(about(checks).values())
    page = render(examine(CLEAN, chosen(checks, ["names"])), checks, "DATA")
    assert "<strong>nothing</strong>" in page and "DATA · doctor" in page


# Before a study

FAST = {"train": {"max_epochs": 1}, "seeds": [0]}


def told(out, **options):
    lines = []
    run_study(tiny.study(**FAST), None, out, only=["a"], say=lines.append, **options)
    return lines, (out / "predictions.parquet").read_bytes()


def test_a_study_hears_the_doctor_and_nothing_else_changes(tmp_path, monkeypatch):
    def shifted(data):
        for recording in tiny.recordings(data):
            last = recording.spans[-1]
            spans = (*recording.spans[:-1], replace(last, stop_s=last.stop_s + 30.0))
            yield replace(recording, spans=spans)

    monkeypatch.setattr(tiny, "TINY", replace(tiny.TINY, recordings=shifted))
    heard, predictions = told(tmp_path / "a")
    assert any(line.startswith("doctor: warning: labels-outside: ") for line in heard)
    jobs = {path.name for path in (tmp_path / "a/jobs").iterdir()}
    silent, same = told(tmp_path / "b", doctor=False)
    assert not any(line.startswith("doctor") for line in silent) and same == predictions
    assert {path.name for path in (tmp_path / "b/jobs").iterdir()} == jobs


def test_a_study_may_switch_it_off_and_survives_what_goes_wrong(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ValueError("odd")

    monkeypatch.setattr("plait.study.examined.examine", fail)
    lines, _ = told(tmp_path / "a")
    assert any(line.startswith("doctor: gave up: ValueError: odd") for line in lines)
    off = []
    run_study(tiny.study(**FAST, doctor=False), None, tmp_path / "b", only=["a"], say=off.append)
    assert not any(line.startswith("doctor") for line in off)
