"""What a study with sensors missing leaves, put to use: whole recordings, a model."""

import numpy as np
import polars as pl
import pytest

import plait
from plait.errors import PlaitWarning
from plait.recogniser.fitting import fit_model
from plait.recogniser.predict import plan, predict
from plait.recogniser.recogniser import Recogniser
from plait.recogniser.timeline import read_timeline
from plait.recogniser.windows import Sliding, clipped
from plait.results import CONTINUOUS, UNSEEN
from plait.study.finished import FinishedRun
from plait.trust import Trust
from tests import less
from tests.recogniser import world

ABSENT = {"r1-0": {"b": 45.0}, "r3-0": {"b": 0}}
TESTS = Trust(frozenset({"tests"}))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run whose person 1 has half of b, and person 3 none."""
    root = tmp_path_factory.mktemp("missing")
    less.put(root / "data", ABSENT)
    methods = world.study()["methods"]
    study = world.study(
        dataset="tests.less:WORLD",
        seeds=[0],
        missing="without",
        evaluate={"continuous": True},
        train={"max_epochs": 5, "args": {"lr": 0.02}},
        methods={name: methods[name] for name in ("a", "b", "average", "concat", "a-led")},
    )
    plait.run(study, root / "data", root / "run", say=lambda line: None)
    return root, study


def test_every_method_stands_on_all_whole_recordings(made):
    root, _ = made
    table = pl.read_csv(root / "run" / CONTINUOUS)
    assert table["recordings"].to_list() == [4] * 5
    labelled = dict(table.select("method", "accuracy_labelled").iter_rows())
    assert labelled["b"] < labelled["a-led"] and labelled["concat"] < labelled["a-led"]
    assert labelled["concat"] < 0.8  # a recording and a half of four with nothing recognised


def test_where_recordings_are_dropped_every_method_stands_on_those_with_all_sensors(made, tmp_path):
    root, study = made
    kept = {name: study["methods"][name] for name in ("a", "b")}
    dropping = {**study, "missing": "drop", "methods": kept, "train": {"max_epochs": 1}}
    with pytest.warns(PlaitWarning, match="recording r3-0: no b, which some method reads: not scored as a"):
        plait.run(dropping, root / "data", tmp_path / "run", say=lambda line: None)
    assert pl.read_csv(tmp_path / "run" / CONTINUOUS)["recordings"].to_list() == [3, 3]
    page = (tmp_path / "run" / "index.html").read_text()
    assert '<th scope="row">b</th><td class="n">3</td>' in page and "All methods stand on the same" in page


@pytest.mark.filterwarnings("ignore:.*predicted without:plait.errors.PlaitWarning")
@pytest.mark.parametrize("method", ["a-led", "average", "b", "concat"])
def test_a_model_is_trained_on_whole_clips_and_predicts_the_rest(made, tmp_path, method):
    root, study = made
    said = []
    facts = fit_model(study, method, root / "data", tmp_path / "model", run=root / "run", say=said.append)
    predictions = pl.read_parquet(root / "run" / "predictions.parquet").filter(pl.col("method") == method)
    found = FinishedRun.open(root / "run", trust=TESTS)
    reads = {"average": [["a"], ["b"]]}.get(method, [found.methods[method].modalities])
    whole = [clip for _, clip in found.cuts if any(clip.holds(modalities) for modalities in reads)]
    assert facts.training.clips == len(whole)
    validation = pl.read_parquet(root / "run" / "validation.parquet").filter(pl.col("method") == method)
    seen = validation.filter(pl.col("predicted") != UNSEEN)
    assert any(f"fitted on {len(seen)} clips" in line for line in said)
    assert facts.temperature != 1 and len(seen)

    recogniser = Recogniser.load(tmp_path / "model", trust=TESTS)
    half = less.without(world.recording("1"), ABSENT["r1-0"])
    sliding = Sliding(recogniser.facts.seconds, recogniser.facts.stride_s)
    predict(
        recogniser, plan(recogniser, [half], sliding, cut=recogniser.facts.cut), sliding, tmp_path / "out"
    )
    latest_s = read_timeline(tmp_path / "out", recogniser.activities)["stop_s"].max()
    assert (latest_s > 80) == (method in ("a-led", "average"))
    assert (predictions["predicted"] == UNSEEN).any() == (method in ("b", "concat"))


def test_without_a_run_whoever_validates_has_whole_clips(made, tmp_path):
    _, study = made
    data = less.put(tmp_path / "data", {"r4-0": {"b": 0}})
    facts = fit_model(study, "concat", data, tmp_path / "model", say=lambda line: None)
    assert "validation on 3," in facts.training.settings


def test_a_run_s_clips_that_a_method_cannot_see_do_not_make_it_another_s(made):
    root, _ = made
    found = FinishedRun.open(root / "run", trust=TESTS)
    lacks = {clip.name: clip.lacks for _, clip in found.cuts}
    table = found.results.predictions.filter(pl.col("method") == "a-led")
    assert set(table["clip"]) == set(lacks) and np.count_nonzero(list(map(bool, lacks.values())))


def test_the_clips_that_lack_a_sensor_are_among_a_data_set_s_own(made):
    root, _ = made
    found = FinishedRun.open(root / "run", trust=TESTS)
    recordings, windows = clipped(less.WORLD, root / "data", ["1", "3"], less.WORLD.modalities)
    assert [recording.name for recording in recordings] == ["r1-0", "r3-0"]
    theirs = [clip for _, clip in found.cuts if clip.recording in windows]
    assert any(clip.lacks for clip in theirs) and not all(clip.lacks for clip in theirs)
    for name, times in windows.items():
        assert times == [(clip.start_s, clip.stop_s) for clip in theirs if clip.recording == name]
