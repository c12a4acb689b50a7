"""The studies of the published tables: each can be built and keeps to the protocol that its page names."""

from pathlib import Path

import pytest

from plait.datasets.utd_mhad import UTD_MHAD
from plait.study.config import load_study
from plait.study.network import build
from plait.study.protocol import check_choice, folds
from plait.study.train import check

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))
SHAPES = {"depth": (32, 64, 64), "inertial": (64, 6), "skeleton": (32, 20, 3)}
EIGHT = [str(subject) for subject in range(1, 9)]


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_method_can_be_built(file):
    study = load_study(file)
    for fold in folds(study.protocol, EIGHT):
        for name in study.order():
            check_choice(fold, study.training(name).choose, name)
    for name in study.order():
        method = study.method(name)
        check(method, study.training(name), build(method, UTD_MHAD, SHAPES, name), SHAPES, name)


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_fusion_stands_beside_concatenation_and_average_of_the_same_sensors(file):
    study = load_study(file)
    fusions = [m for m in study.methods.values() if m.use in ("plait.fusion:Led", "plait.fusion:Symmetric")]
    assert fusions
    for fusion in fusions:
        others = [m for m in study.methods.values() if set(m.modalities) == set(fusion.modalities)]
        assert any(m.average for m in others)
        assert any(m.use == "plait.fusion:Concat" and m.encoders == fusion.encoders for m in others)


def test_the_fixed_split_is_the_data_set_s_own():
    study = load_study(next(file for file in STUDIES if file.stem == "utd-mhad-fixed"))
    (fold,) = folds(study.protocol, EIGHT)
    assert (fold.train, fold.val, fold.test) == (("1", "3", "5"), ("7",), ("2", "4", "6", "8"))
    assert study.protocol.refit and len(study.seeds) == 3
