"""MEx and UTD-MHAD as published: every fault that befalls a sensor of theirs, on the windows of a study."""

import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plait.clips.listing import survey
from plait.datasets.mex import MEX
from plait.datasets.utd_mhad import UTD_MHAD
from plait.robustness.faults import FAULTS, fits
from plait.robustness.run import run_robustness
from plait.robustness.streams import native
from plait.robustness.worsen import Condition, cut_all
from plait.study.run import run_study

SHARED = Path(__file__).parents[3] / "shared" / "data"
MEX_HERE, UTD_HERE = SHARED / "mex", SHARED / "utd-mhad"
TIMING = {"gap", "frozen", "dropped", "late", "drifting"}
GONE = {"absent", "stand-in"}


@pytest.fixture(scope="module")
def some_of_mex(tmp_path_factory):
    """The first third of what two people of MEx did."""
    [archive] = MEX_HERE.glob("*.zip")
    part = tmp_path_factory.mktemp("mex") / "part.zip"
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(part, "w") as some:
        for name in whole.namelist():
            if name.endswith(".csv") and name.split("/")[-2] in ("01", "02"):
                lines = whole.read(name).splitlines(keepends=True)
                some.writestr(name, b"".join(lines[: len(lines) // 3]))
    return part


def befalls(dataset, cuts):
    """Faults by modality, and how many of the first clips each leaves at its highest severity."""
    found = {}
    for modality in dataset.modalities:
        streams = {name: cuts[0][0].streams[name] for name in modality.streams}
        for name, fault in FAULTS.items():
            if name not in GONE and fits(fault, streams):
                condition = Condition(name, fault, modality.name, fault.severities[-1])
                found[modality.name, name] = list(cut_all(modality, cuts, condition))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not MEX_HERE.is_dir(), reason="needs shared/data/mex")
@pytest.mark.filterwarnings("ignore:.*lines out of order")
def test_mex(some_of_mex, tmp_path):
    cuts = survey(MEX, some_of_mex, ["thigh", "wrist", "depth", "mat"]).cuts
    for name, stream in cuts[0][0].streams.items():
        assert native(stream) is not None, name  # lines between readings: changed before they are resampled
    found = befalls(MEX, cuts[:3])
    signals = {"noisy", "biased", "saturated", "dead-channel", "turned", "other-side"}
    expected = {"thigh": signals, "wrist": signals, "depth": {"noisy", "blurred", "occluded"}}
    expected["mat"] = expected["depth"]
    for modality, names in expected.items():
        assert {name for where, name in found if where == modality} == names | TIMING
    for (modality, name), clips in found.items():
        assert len(clips) == 3 or name in ("late", "dropped", "drifting", "gap"), (modality, name)
        assert all(tensor.shape == clips[0][2].shape for _, _, tensor in clips)
    methods = {
        "thigh": {"use": "plait.fusion:Single", "args": {"modality": "thigh"}},
        "mat-led": {
            "use": "plait.fusion:Led",
            "args": {"lead": "mat"},
            "encoders": {"thigh": {"from": "thigh", "frozen": True}},
        },
    }
    study = {
        "name": "part", "dataset": "plait.datasets.mex:MEX", "modalities": ["thigh", "mat"],
        "methods": methods, "protocol": {"val_subjects": 0}, "train": {"choose": "last", "max_epochs": 1},
    }  # fmt: skip
    run_study(study, some_of_mex, tmp_path, say=lambda line: None)
    asked = {"faults": ["late", "turned", "absent", "occluded"], "say": lambda line: None}
    run_robustness(tmp_path, **asked)  # which refuses scores that are not the study's on clips as recorded
    table = pl.read_parquet(tmp_path / "robustness" / "robustness.parquet")
    assert set(table.filter(pl.col("fault") == "turned")["modality"]) == {"thigh"}
    assert set(table.filter(pl.col("fault") == "occluded")["method"]) == {"mat-led"}
    clean = table.filter(pl.col("fault") == "", pl.col("method") == "thigh").sort("clip")
    over = table.filter(pl.col("fault") == "turned", pl.col("severity") == 180, pl.col("method") == "thigh")
    moved = np.abs(np.array(over.sort("clip")["scores"].to_list()) - clean["scores"].to_list()).max(1)
    assert (moved > 1e-3).mean() > 0.9


@pytest.mark.skipif(not UTD_HERE.is_dir(), reason="needs shared/data/utd-mhad")
def test_utd_mhad():
    cuts = survey(UTD_MHAD, UTD_HERE, ["depth", "inertial", "skeleton"]).cuts[:2]
    found = befalls(UTD_MHAD, cuts)
    names = {m: {name for where, name in found if where == m} for m in ("depth", "inertial", "skeleton")}
    signals = {"noisy", "biased", "saturated", "dead-channel", "turned"}
    assert names == {
        "depth": {"noisy", "blurred", "occluded"} | TIMING,
        "inertial": signals | {"other-side"} | TIMING,
        "skeleton": signals | TIMING,
    }
    for clips in found.values():
        assert all(np.isfinite(tensor.numpy()).all() for _, _, tensor in clips)
