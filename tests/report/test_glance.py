"""The first screen of a page says what predictions say, counted here without plait."""

import base64
import json
from collections import Counter

import cv2
import numpy as np
import polars as pl
import pytest
from tests.report.conftest import recognised, with_films

from plait.analysis.claims import singles_of
from plait.errors import DataError
from plait.report import captions
from plait.report.glance import GAP, glance
from plait.report.page import Report
from plait.report.timelines import shown
from plait.results import read_results


def looked_at(run):
    """The glance of a run's folder, and its predictions."""
    facts, predictions, validation = read_results(run)
    report = Report.of(facts, predictions, validation)
    late = report.best("average", "concat")
    cases = json.loads((run / "cases.json").read_text()) if (run / "cases.json").is_file() else None
    found = glance(
        facts,
        report.choice,
        singles_of(facts.methods, report.choice.method) if report.choice else (),
        late["method"] if late else None,
        report.main,
        report.subjects,
        report.comparisons,
        report.contrasts,
        cases,
        shown(run, ()),
        run,
    )
    return found, predictions, cases


@pytest.fixture
def run(fused, tmp_path):
    with_films(fused, tmp_path)
    recognised(tmp_path)
    return tmp_path


def knows(predictions, method):
    """By clip whether a method is right."""
    own = predictions.filter(method=method)
    return dict(zip(own["clip"], own["predicted"] == own["activity"], strict=True))


def test_bars_are_accuracies_of_singles_late_fusion_and_the_fusion(run):
    found, predictions, _ = looked_at(run)
    assert [bar.method for bar in found.bars] == ["a", "b", "concat", found.fusion]
    for bar in found.bars:
        by_person = {}
        for row in predictions.filter(method=bar.method).iter_rows(named=True):
            by_person.setdefault(row["subject"], []).append(row["predicted"] == row["activity"])
        people = [np.mean(right) for right in by_person.values()]
        assert sorted(bar.people) == pytest.approx(sorted(people))
        assert bar.accuracy == pytest.approx(np.mean(people))


def test_the_gain_is_that_on_the_best_single_and_exchanges_are_counted(run):
    found, predictions, _ = looked_at(run)
    accuracy = {bar.method: bar.accuracy for bar in found.bars}
    best = max("a", "b", key=accuracy.__getitem__)
    gain, exchanged = found.gained
    assert f"against {best}, the best single" in gain
    assert float(gain.partition("single: ")[2].split()[0].replace("−", "-")) == pytest.approx(
        100 * (accuracy[found.fusion] - accuracy[best]), abs=0.051
    )
    right = {name: knows(predictions, name) for name in ("a", "b", found.fusion)}
    for single in "ab":
        both = Counter((right[single][clip], right[found.fusion][clip]) for clip in right[single])
        won, lost = captions.count(both[False, True], "clip"), both[True, False]
        assert f"{won} that {single} misses, and wrong on {lost} that it knows" in exchanged


def test_clips_that_are_shown_are_missed_by_the_one_and_known_by_the_fusion(run):
    found, predictions, cases = looked_at(run)
    right = {name: knows(predictions, name) for name in ("a", "b", found.fusion)}
    possible = [
        single
        for place, single in enumerate(cases["models"][:-1])
        if any(one["right"][-1] and not one["right"][place] for one in cases["cases"])
    ]
    assert len(possible) == len(found.looks) > 0
    assert all(single in look.misses for single, look in zip(possible, found.looks, strict=True))
    assert len({look.clip for look in found.looks}) == len(found.looks)
    for look in found.looks:
        assert right[found.fusion][look.clip] and not any(right[name][look.clip] for name in look.misses)
        assert [one.right for one in look.verdicts] == [right[one.method][look.clip] for one in look.verdicts]
        said = {one.method: one.said for one in look.verdicts}
        assert said[found.fusion] == look.activity and look.activity not in [
            said[name] for name in look.misses
        ]
        if look.film:
            content = base64.b64decode(look.film.partition("base64,")[2])
            height, width, _ = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape
            assert width == 3 * height + 2 * GAP
        else:
            assert look.signals or look.poses


def test_who_is_new_comes_first(run):
    recognised(run, "before", subject="1")
    found, *_ = looked_at(run)
    assert found.recording.name == "somebody" and found.recording.stranger
    assert found.timeline.colours.keys() == {"a", "b"}
    assert "scores" not in found.timeline.figures["wide"] and "scores" in found.recording.figures["wide"]


def test_a_torn_film_is_named(run):
    for film in (run / "cases").iterdir():
        film.write_bytes(film.read_bytes()[:200])
    with pytest.raises(DataError, match=r"cases/\d+\.mp4: .*run the study again"):
        looked_at(run)


def test_what_is_not_there_is_not_shown(run):
    for name in ("cases.json", "timelines/somebody/predict.json"):
        (run / name).unlink()
    found, *_ = looked_at(run)
    assert not found.looks and found.recording is None and len(found.gained) == 1
    facts = json.loads((run / "run.json").read_text())
    for row in facts["methods"].values():
        row["kind"] = "single" if row["kind"] == "fusion" else row["kind"]
    (run / "run.json").write_text(json.dumps(facts))
    predictions = pl.read_parquet(run / "predictions.parquet")
    assert not predictions.is_empty() and looked_at(run)[0] is None
