"""The attention of a finished run on one clip: pictures for every lead and context, and the deletion test."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from tests import tiny

from plait.errors import ConfigError, DataError
from plait.report.attention import _body, write_attention
from plait.study.finished import FinishedRun
from plait.study.run import run_study
from plait.trust import OWN
from plait.types import Readings

METHODS = {
    "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
    "led": {"use": "plait.fusion:Led", "args": {"lead": "a"}},
    "both": {"use": "plait.fusion:Symmetric", "encoders": {"a": {"from": "a", "frozen": True}}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    run_study(tiny.study(methods=METHODS, seeds=[0], train={"max_epochs": 1}), None, out)
    yield out


def test_a_picture_for_every_lead_and_context(run, pdf):
    clip = pl.read_parquet(run / "predictions.parquet")["clip"][0]
    (picture,) = write_attention(run, clip, "led", trust=OWN)
    texts = [element.text or "" for element in ET.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith(f"{clip}: ") and "by led" in text for text in texts)
    assert any("query dependence" in text for text in texts) and "A" in texts
    assert picture.with_suffix(".pdf").read_bytes().startswith(b"%PDF-")
    assert len(write_attention(run, clip, "both", trust=OWN)) == 2
    assert len(write_attention(run, clip, trust=OWN)) in (1, 2)


def test_the_deletion_test_starts_at_the_run_s_own_accuracy(run):
    predictions = pl.read_parquet(run / "predictions.parquet").filter(pl.col("method") == "led")
    clip = predictions.filter(pl.col("subject") == "3")["clip"][0]
    write_attention(run, clip, "led", trust=OWN)
    told = pl.read_csv(run / "attention" / "deletion.csv")
    own = predictions.filter(pl.col("subject") == "3")
    assert told.select("method", "fold").unique().rows() == [("led", "3/0")]
    assert told.filter(pl.col("share") == 0)["accuracy"].to_list() == pytest.approx(
        [(own["activity"] == own["predicted"]).mean()] * 2
    )
    assert set(told["removed"]) == {"attended", "random"} and told["accuracy"].is_between(0, 1).all()


def test_deletion_is_measured_on_people_who_were_not_trained_on(run):
    """Whatever clip is drawn, and it is said where the fold was not tested on it."""
    predictions = pl.read_parquet(run / "predictions.parquet").filter(pl.col("method") == "led")
    clip = predictions.filter(pl.col("subject") == "3")["clip"][0]
    (picture,) = write_attention(run, clip, "led", fold="1/0", trust=OWN)
    own = predictions.filter(pl.col("fold") == "1")
    told = pl.read_csv(run / "attention" / "deletion.csv").filter(pl.col("share") == 0)
    assert told["accuracy"].to_list() == pytest.approx([(own["activity"] == own["predicted"]).mean()] * 2)
    assert "which was not tested on it" in picture.read_text()


def test_no_picture_of_other_clips_than_the_network_was_given(run, monkeypatch):
    clip = pl.read_parquet(run / "predictions.parquet")["clip"][0]

    def otherwise(data):
        for recording in tiny.recordings(data):
            stream = recording.streams["b"]
            yield replace(
                recording, streams={**recording.streams, "b": Readings(stream.times, -stream.values)}
            )

    monkeypatch.setattr(tiny, "TINY", replace(tiny.TINY, recordings=otherwise))
    with pytest.raises(DataError, match="stream 'b' of .* holds something else in .* than when it was run: "):
        write_attention(run, clip, "led", trust=OWN)
    monkeypatch.setattr("plait.study.finished.changed", lambda before, now, people: None)
    with pytest.raises(
        DataError, match=r"led, fold ./0: clips are others \(other data, .*; run it again, or"
    ):
        write_attention(run, clip, "led", trust=OWN)


def test_the_fold_that_tested_a_clip_is_found_whatever_folds_are_called(tmp_path):
    """Folds of several people are called 1, 2, ..., as people may be who are tested in others."""
    methods = {name: METHODS[name] for name in ("a", "led")}
    folds = {"kind": "subject-folds", "folds": 2, "seed": 2, "val_subjects": 0}
    train = {"max_epochs": 1, "choose": "last"}
    run_study(tiny.study(methods=methods, protocol=folds, train=train), None, tmp_path)
    finished = FinishedRun.open(tmp_path, trust=OWN)
    tested = finished.results.predictions.filter(pl.col("method") == "led").unique("subject")
    found = {row["subject"]: (row["fold"], finished.fold_of("led", row["clip"])) for row in tested.to_dicts()}
    assert all(key == f"{fold}/0" for fold, key in found.values())
    assert any(who in ("1", "2") and fold != who for who, (fold, _) in found.items())
    with pytest.raises(ConfigError, match="no fold tests clip 'x', expected --fold, one of: 1/0, 2/0"):
        finished.fold_of("led", "x")


def test_mistakes_are_named(run, tmp_path):
    clip = pl.read_parquet(run / "predictions.parquet")["clip"][0]
    for arguments, said in (
        ((run, "nobody"), "no clip 'nobody'"),
        ((run, clip, "lod"), "no trained method 'lod'"),
        ((run, clip, "a"), "Single has no attention, expected Led or Symmetric"),
    ):
        with pytest.raises(ConfigError, match=said):
            write_attention(*arguments, trust=OWN)
    with pytest.raises(ConfigError, match="no fold 'x/0', expected one of: 1/0, 2/0"):
        write_attention(run, clip, "led", fold="x/0", trust=OWN)
    with pytest.raises((ConfigError, DataError), match="study.toml"):
        write_attention(tmp_path, clip)


def test_joints_are_larger_where_they_are_attended_to():
    body = np.random.default_rng(0).normal(size=(5, 12, 3))
    attended = np.arange(12.0)
    for where, alike in ((attended, False), (np.ones(()), True)):
        axes = Figure().add_subplot()
        _body(axes, body, body[2], where, [(0, 1), (1, 2)])
        (dots,) = axes.collections
        sizes = np.broadcast_to(dots.get_sizes(), 12)
        assert len(dots.get_offsets()) == 12 and len(axes.lines) == 2
        assert (np.ptp(sizes) == 0) if alike else (np.diff(sizes) > 0).all()
        assert axes.lines[0].get_xydata() == pytest.approx(dots.get_offsets()[:2])
