"""From a study to a prediction by commands alone: networks and scores are the study's own."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tomli_w

from plait.encoders.weights import read_weights
from plait.recogniser.model import read_model
from plait.results import WEIGHTS, job_folder, read_facts

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "utd-mhad"
INLINE = ["--executor", "inline", "--device", "cpu"]


def done(plait, *words):
    """What a command says, which must not fail."""
    code, told, complaint = plait(*words)
    assert code == 0, complaint
    return told


def same_scores(plait, study, method, data, person, *sets):
    """The networks of a study's one fold, and those of a model without who was tested: weights and scores.

    Both train on the same people for all epochs, and nobody validates, so scores are as they come.
    """
    done(plait, "run", study, "--data", data, "--out", "run", "--only", method, "--no-doctor", *INLINE, *sets)
    without = ["--run", "run", "--leave-out", person, "--out", "model"]
    done(plait, "fit", study, method, "--data", data, *without, *INLINE, *sets)
    done(plait, "predict", "model", "--data", data, "--only", person, "--clips", "--out", "timeline")
    model, keys = read_model(Path("model")), read_facts(Path("run")).methods[method].keys
    assert list(keys) == ["fixed/0"] and list(model.facts.networks) == [method]
    weights = read_weights(job_folder(Path("run"), keys["fixed/0"]) / WEIGHTS)
    mine = model.of(method)
    assert mine.keys() == weights.keys() and all(mine[name].equal(weights[name]) for name in mine)
    studied = pl.read_parquet("run/predictions.parquet").filter(method=method).sort("clip")
    found = pl.read_parquet("timeline/timeline.parquet").sort("recording", "start_s")
    assert found["recording"].to_list() == studied["clip"].str.replace(r"/\d{4}$", "").to_list()
    np.testing.assert_allclose(found["scores"].to_list(), studied["scores"].to_list(), rtol=0, atol=1e-6)
    assert found["predicted"].to_list() == studied["predicted"].to_list()
    return len(studied)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="UTD-MHAD itself is not there")
def test_of_utd_mhad(tmp_path, plait):
    for kind in ("Depth", "Inertial", "Skeleton"):  # first trials: all, and nine of who is tested
        (tmp_path / "data" / kind).mkdir(parents=True)
        folder = REAL / kind
        for file in (*folder.glob("a*_s1_t1_*.mat"), *folder.glob("a[1-9]_s2_t1_*.mat")):
            (tmp_path / "data" / kind / file.name).symlink_to(file)
    split = ["train=['1']", "val=[]", "test=['2']", "refit=false", "val_subjects=0"]
    sets = ["seeds=[0]", "train.max_epochs=1", *(f"protocol.{text}" for text in split)]
    sets += ["methods.depth-inertial-symmetric-mean.train.max_epochs=1"]
    words = [word for text in sets for word in ("--set", text)]
    study = ROOT / "studies" / "utd-mhad-fixed.toml"
    assert same_scores(plait, study, "depth-inertial-symmetric-mean", "data", "2", *words) == 9
    assert "frames right" in done(plait, "score", "timeline")


@pytest.mark.slow
def test_of_simulated_people(tmp_path, plait):
    small = ["--clips", 8, "--height", 96, "--fps", 15]
    done(plait, "simulate", "--subjects", 2, "--out", "raw", *small, "--world", "easy", "--workers", 1)
    for person in ("01", "02"):
        done(plait, "ingest", f"raw/{person}", "--out", "recordings")
    done(plait, "sync", "recordings")
    dataset = "plait.datasets.simulated:SIMULATED"
    done(plait, "clips", "recordings", "--out", "clips", "--dataset", dataset)
    study = {
        "name": "simulated",
        "dataset": dataset,
        "modalities": ["gloves", "thumbnails"],
        "seeds": [0],
        "protocol": {"kind": "fixed", "train": ["01"], "test": ["02"]},
        "train": {"max_epochs": 1, "choose": "last"},
        "methods": {"glove-led": {"use": "plait.fusion:Led", "args": {"lead": "gloves"}}},
    }
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study))
    assert same_scores(plait, "study.toml", "glove-led", "clips", "02") > 5
