"""A control with shuffled labels; and what a study says of its clips, people and missing sensors."""

import json
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plait
from plait.cli import main
from plait.errors import ConfigError, DataError
from plait.study.finished import FinishedRun
from plait.study.run import run_study
from plait.study.shuffled import kept, shuffled
from plait.trust import OWN
from plait.types import Clip
from tests import tiny


def clips(subject, stretches, overlap):
    """A recording's clips: each stretch of so many windows, which touch or overlap."""
    at, found = 0.0, []
    for n, activity in stretches:
        for _ in range(n):
            found.append(
                (None, Clip(f"{subject}/{len(found)}", f"r{subject}", subject, activity, at, at + 2))
            )
            at += 1.0 if overlap else 2.0
        at += 5.0
    return found


PERSON = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc")), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(people=st.lists(PERSON, min_size=1, max_size=4), overlap=st.booleans(), seed=st.integers(0, 9))
def test_labels_are_dealt_within_a_person_stretch_by_stretch(people, overlap, seed):
    cuts = [one for who, stretches in enumerate(people) for one in clips(str(who), stretches, overlap)]
    if all(len({activity for _, activity in stretches}) == 1 for stretches in people):
        with pytest.raises(ConfigError, match="nobody has two activities"):
            shuffled(cuts, seed)
        return
    dealt = shuffled(cuts, seed)
    assert [replace(clip, activity="") for _, clip in dealt] == [
        replace(clip, activity="") for _, clip in cuts
    ]
    assert shuffled(cuts, seed) == dealt and 0 <= kept(cuts, dealt) <= 1
    labels = {clip.name: clip.activity for _, clip in dealt}
    for who, stretches in enumerate(people):
        at, given_ = 0, []
        for n, _ in stretches:
            own = {labels[f"{who}/{i}"] for i in range(at, at + n)}
            assert len(own) == 1  # neighbours stay together
            given_ += own
            at += n
        assert Counter(given_) == Counter(activity for _, activity in stretches)
        if len({activity for _, activity in stretches}) > 1:  # whoever else there is
            alone = shuffled(clips(str(who), stretches, overlap), seed)
            assert all(labels[clip.name] == clip.activity for _, clip in alone)


def test_over_many_seeds_a_clip_keeps_its_label_as_often_as_chance_has_it():
    cuts = [one for who in "123456" for one in clips(who, [(2, "a"), (2, "b"), (2, "c"), (2, "d")], False)]
    shares = [kept(cuts, shuffled(cuts, seed)) for seed in range(200)]
    assert (
        abs(np.mean(shares) - 0.25) < 0.03
        and len({tuple(c.activity for _, c in shuffled(cuts, s)) for s in range(9)}) == 9
    )


ONE = {"methods": {"a": {"use": "plait.fusion:Single", "args": {"modality": "a"}}}, "seeds": [0]}


def test_a_control_is_called_so_wherever_it_is_shown(tmp_path):
    said = []
    study = tiny.study(**ONE)
    run_study(study, tmp_path, tmp_path / "real", say=said.append)
    assert said == []
    plait.run(study, "-", tmp_path / "run", sets=["protocol.shuffle_labels=7"], say=said.append)
    assert len(said) == 1 and said[0].startswith("control: labels shuffled within each person (seed 7); ")
    name = "tiny (control: labels shuffled, seed 7)"
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["study"] == name and about["protocol"]["shuffle_labels"] == 7
    predictions = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert predictions["study"].unique().to_list() == [name]
    real = pl.read_parquet(tmp_path / "real" / "predictions.parquet")
    both = real.join(predictions, on="clip", suffix="_dealt")
    assert len(both) == 64 and 0 < (both["activity"] == both["activity_dealt"]).mean() < 0.6
    assert (
        both.group_by("subject", "activity")
        .len()
        .sort("subject", "activity")
        .equals(both.group_by("subject", activity="activity_dealt").len().sort("subject", "activity"))
    )
    table, page = ((tmp_path / "run" / file).read_text() for file in ("table.md", "index.html"))
    assert name in table.replace("\\", "") and "Chance is expected" in table
    assert f"<title>{name} · plait</title>" in page and "Chance is expected" in page
    again = FinishedRun.open(tmp_path / "run", trust=OWN)
    assert {clip.name: clip.activity for _, clip in again.cuts} == dict(
        predictions.select("clip", "activity").rows()
    )
    before = predictions
    with pytest.raises(ConfigError, match="labels shuffled, seed 7.*labels as they are.*expected another"):
        run_study(study, tmp_path, tmp_path / "run")
    assert pl.read_parquet(tmp_path / "run" / "predictions.parquet").equals(before)


def doubled(data):
    for recording in tiny.recordings(data):
        yield recording
        yield replace(recording, name=f"copy-{recording.name}", subject=f"copy-of-{recording.subject}-x")


COPIED = replace(tiny.TINY, recordings=doubled)


def spelled(data):
    for recording, subject in zip(tiny.recordings(data), ("anna", "Anna ", "ben", "carl"), strict=True):
        yield replace(recording, subject=subject)


SPELLED = replace(tiny.TINY, recordings=spelled)


def test_a_study_of_copies_or_of_one_person_under_two_names_does_not_run(tmp_path):
    with pytest.raises(DataError, match="recording r1 .* and recording copy-r1 .* are the same"):
        run_study(tiny.study(**ONE, dataset="tests.study.test_shuffled:COPIED"), tmp_path, tmp_path / "run")
    study = tiny.study(**ONE, dataset="tests.study.test_shuffled:SPELLED")
    with pytest.raises(DataError, match="'Anna' .* and 'anna' .* look alike"):
        run_study(study, tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    merged = {"same_person": [["anna", "Anna"]], "subjects": ["Anna", "ben", "carl"]}
    run_study(study | {"protocol": merged}, tmp_path, tmp_path / "run")
    predictions = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert (
        sorted(predictions["fold"].unique())
        == sorted(predictions["subject"].unique())
        == ["anna", "ben", "carl"]
    )
    assert len(predictions) == 64 and len(FinishedRun.open(tmp_path / "run", trust=OWN).cuts) == 64


def one_glove(data):
    for recording in tiny.recordings(data):
        streams = dict(recording.streams)
        if recording.subject == "10":
            del streams["b"]
        yield replace(recording, streams=streams)


GLOVE = replace(tiny.TINY, recordings=one_glove)


def test_a_missing_sensor_costs_its_clips_and_not_those_of_who_does_without(tmp_path):
    said = []
    study = tiny.study(dataset="tests.study.test_shuffled:GLOVE", seeds=[0], train={"max_epochs": 1})
    study["methods"] = {name: study["methods"][name] for name in ("a", "b")}
    plait.run(study, "-", tmp_path / "run", say=said.append)
    assert said[0] == "16 of 64 windows dropped: 16 no such stream of b" and said[-1] == "10: no clip at all"
    assert pl.read_csv(tmp_path / "run" / "dropped.csv")["windows"].sum() == 16
    assert "16 of 64 windows dropped" in (tmp_path / "run" / "table.md").read_text()
    assert "16 of 64 windows dropped" in (tmp_path / "run" / "index.html").read_text()
    said.clear()
    run_study(study, tmp_path, tmp_path / "run", only=["a"], say=said.append)
    assert said == [] and not (tmp_path / "run" / "dropped.csv").exists()
    assert len(pl.read_parquet(tmp_path / "run" / "predictions.parquet")) == 64


MODULE = """
from dataclasses import replace
from tests import tiny
OWN = replace(tiny.TINY, name="own")
"""


def test_modules_beside_the_study_are_found_when_its_run_is_looked_into(tmp_path, monkeypatch, capsys):
    for name in ("study", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "study" / "beside_control.py").write_text(MODULE)
    file = tmp_path / "study" / "study.toml"
    file.write_text(
        'name = "own"\ndataset = "beside_control:OWN"\nmodalities = ["a", "b"]\ntrain = { max_epochs = 1 }\n'
        '[methods.led]\nuse = "plait.fusion:Led"\nargs = { lead = "a" }\n'
    )
    monkeypatch.chdir(tmp_path / "elsewhere")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["plait", *map(str, words)])
        monkeypatch.setattr(sys, "path", [place for place in sys.path if not place.startswith(str(tmp_path))])
        sys.modules.pop("beside_control", None)
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, capsys.readouterr()

    out = tmp_path / "run"
    words = ("run", file, "--data", tmp_path, "--out", out, "--executor", "inline", "--shuffle-labels", 3)
    code, told = run(*words)
    assert code == 0 and "control: labels shuffled within each person (seed 3)" in told.err
    code, told = run("attention", out, "r1/0003")
    assert code == 2 and "--trust beside_control" in told.err and len(told.err.splitlines()) == 1
    code, told = run("attention", out, "r1/0003", "--trust", tmp_path / "study" / "beside_control.py")
    assert code == 0, told.err
    sys.modules.pop("beside_control", None)
