"""The paper's study on GloVid in miniature, from features and from preprocessed clips to the last figure."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from plait.cli.options import Executor
from plait.cli.studies import Reproduced, reproduce
from plait.errors import ConfigError, DataError
from plait.fusion.attention import attentions
from plait.study.finished import FinishedRun, grids_of
from plait.trust import OWN
from tests.figures import drawn_as_svg
from tests.miniature import write_arrays

ROWS = ["gloves", "video", "average", "concat"]
ROWS += ["glove-led", "video-led", "symmetric", "video-led-pool", "width*"]
SETS = ["train.max_epochs=1", "protocol.val_subjects=1", "methods.width.sweep.embedding=[3, 13, 416]"]
FIGURES = ("accuracy", "comparisons", "gains", "widths", "hands")


def reproduced(data, out, *, only=ROWS, sets=SETS, **own):
    reproduce(
        Reproduced.glovid, out, data, sets=sets, only=only, executor=Executor.inline, device="cpu", **own
    )
    return json.loads((out / "run.json").read_text())


@pytest.fixture(scope="module")
def features(tmp_path_factory, whole_figures):
    data = write_arrays(tmp_path_factory.mktemp("data"), "grids", people=3)
    out = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        drawn_as_svg(whole_figures, patch)
        return data, out, reproduced(data, out)


def test_features_go_through_to_every_table_and_figure(features):
    _, out, about = features
    assert about["study"] == "glovid-features" and about["dataset"] == "glovid"
    assert pl.read_csv(out / "table1.csv")["method"].to_list() == [
        "gloves",
        "video",
        "glove-led",
        "video-led",
        "symmetric",
    ]
    assert pl.read_csv(out / "table2.csv")["method"].to_list() == ["average", "concat", "video-led"]
    assert pl.read_csv(out / "widths.csv")["embedding"].to_list() == [3, 13, 416]
    assert all((out / f"{name}.svg").is_file() for name in FIGURES)
    assert json.loads((out / "cases.json").read_text())["models"] == ["video", "gloves", "video-led"]
    drawn = {
        path.stem.partition("-video-gloves")[0].partition("-v")[2]
        for path in (out / "attention").glob("*.svg")
    }
    assert drawn == {"ideo-led", "ideo-led-pool"}


def test_the_video_s_grids_are_the_file_s_own(features):
    data, out, _ = features
    again = FinishedRun.open(out, trust=OWN)
    clips = again.clips("video-led")
    given = clips.batch(["video"], np.arange(len(clips.table)))["video"]
    np.testing.assert_array_equal(given.numpy(), np.load(data / "video.npy").astype(np.float32))
    assert [clip.name for clip in clips.table] == pl.read_csv(data / "clips.csv")["clip"].to_list()


@pytest.mark.parametrize(("method", "cells"), [("video-led", (10, 28)), ("video-led-pool", (10, 14))])
def test_fig_9_has_the_paper_s_axes_under_a_pool_of_two(features, method, cells):
    again = FinishedRun.open(features[1], trust=OWN)
    clips = again.clips(method)
    network = again.network(method, "p0/0", clips)
    with torch.inference_mode():
        (found,) = attentions(network.method, grids_of(network, clips, ("gloves", "video"), np.array([0])))
    assert tuple(found.over_time()[0].shape) == tuple(found.relation_over_time()[0].shape) == cells


def test_hands_are_counted_as_the_table_says(features):
    data, out, _ = features
    said, found = pl.read_csv(data / "clips.csv"), pl.read_parquet(out / "hands.parquet")
    assert (
        found["count"].to_list() == said["hands"].to_list()
        and found["clip"].to_list() == said["clip"].to_list()
    )
    assert (found["missing"] == (found["expected"] - found["count"]).clip(0)).all()
    levels = pl.read_csv(out / "hands.csv").filter(pl.col("method") == "video-led")
    assert levels["clips"].sum() == len(said)


def test_preprocessed_clips_go_through_with_a_detector(tmp_path):
    data = write_arrays(tmp_path / "data", "pictures", people=3, hands=False)
    sets = [*SETS, "encoders.video.features.use=tests.miniature:Blocks"]
    only = ["gloves", "video", "video-led"]
    about = reproduced(data, tmp_path / "run", sets=sets, only=only, detector="tests.miniature:finds_one")
    assert about["study"] == "glovid"
    hands = pl.read_parquet(tmp_path / "run" / "hands.parquet")
    assert set(hands["count"]) == {1} and set(hands["missing"]) == {0, 1}
    assert (tmp_path / "run" / "hands.svg").is_file() and (tmp_path / "run" / "contact.jpg").is_file()
    assert json.loads((tmp_path / "run" / "cases.json").read_text())["cases"][0]["films"]


def test_what_fig_8_lacks_is_one_line_that_can_be_run(tmp_path, capsys):
    data = write_arrays(tmp_path / "my data", "grids", people=3, hands=False)
    reproduced(data, tmp_path / "run", only=["gloves"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Fig. 8")]
    assert "plait hands detect PICTURES --dataset plait.datasets.glovid:GLOVID" in line
    assert (
        f"--out {tmp_path / 'run'} && plait report {tmp_path / 'run'}" in line
        and "`hands` of clips.csv" in line
    )


def test_what_does_not_go_together_is_refused_before_anything_is_done(tmp_path):
    data = write_arrays(tmp_path / "data", "grids", people=3)
    with pytest.raises(ConfigError, match="--detector .*: .* holds features, expected pictures"):
        reproduced(data, tmp_path / "run", detector="tests.miniature:finds_one")
    with pytest.raises(ConfigError, match="--clips 8: .* cut already"):
        reproduced(data, tmp_path / "run", clips=8)
    table = pl.read_csv(data / "clips.csv").with_columns(hands=pl.lit("three"))
    table.write_csv(data / "clips.csv")
    with pytest.raises(DataError, match="clips.csv: clip 'p0-0': hands is 'three', expected 0, 1, 2"):
        reproduced(data, tmp_path / "run")
    assert not (tmp_path / "run" / "jobs").exists()
