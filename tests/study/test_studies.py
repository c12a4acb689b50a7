"""The studies of the published tables: each can be built and keeps to the protocol that its page names."""

import functools
import json
from pathlib import Path

import pytest

from plait.clips import Clips
from plait.config import Encoder
from plait.datasets.opportunity import OPPORTUNITY
from plait.datasets.realworld import REALWORLD
from plait.objects import made, resolve
from plait.study.folds import check_choice, folds
from plait.study.load import load_study
from plait.training.fit import check
from plait.training.network import build, grid_shape

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))
SHAPES = {
    "MEx": {"depth": (25, 12, 16), "mat": (25, 32, 16), "thigh": (250, 3), "wrist": (250, 3)},
    "UTD-MHAD": {"depth": (32, 64, 64), "inertial": (64, 6), "skeleton": (32, 20, 3)},
    "simulated": {"video": (8, 224, 224, 3), "thumbnails": (32, 56, 56, 3), "gloves": (134, 18)},
    "glovid": {"video": (79, 224, 224, 3), "gloves": (134, 18)},
    "glovid-features": {"video": (10, 7, 7, 832), "gloves": (134, 18)},
    "WEAR": {**dict.fromkeys(("right-arm", "right-leg", "left-leg", "left-arm"), (50, 3)), "i3d": (1, 2048)},
    "WEAR challenge": {"acceleration": (50, 3), "video": (15, 768)},
    "MM-Fit": {
        "pose": (150, 17, 3),
        **dict.fromkeys(("left-watch", "right-watch", "left-phone", "right-phone", "earbud"), (250, 6)),
    },
    "OpenPack": {
        **dict.fromkeys(("right-wrist", "left-wrist", "right-arm", "left-arm"), (300, 6)),
        "keypoints": (150, 17, 3),
    },
    "Opportunity, gestures": {
        **{modality.name: (24, 9) for modality in OPPORTUNITY.modalities},
        **dict.fromkeys(("left-shoe", "right-shoe"), (24, 16)),
    },
    "PAMAP2": dict.fromkeys(("hand", "chest", "ankle"), (250, 6)),
    "RealWorld": {modality.name: (50, 6) for modality in REALWORLD.modalities},
}
ONLINE = {"plait.pretrained:i3d": (10, 7, 7, 832), "plait.pretrained:resnet50": (2048,)}
EIGHT = [str(subject) for subject in range(1, 9)]
THIRTY = [f"{subject:02d}" for subject in range(1, 31)]  # as MEx calls them


@functools.cache
def features(use, args, shape):
    """The shape of a frozen encoder's grid; of one whose weights must be downloaded, the published one."""
    return ONLINE.get(use) or grid_shape(made(resolve(use, ""), (shape,), json.loads(args), ""), shape)


def given(method, shapes):
    """The shapes of what a method is given."""
    hows = {name: method.encoders.get(name, Encoder()).features for name in method.modalities}
    return {
        name: features(how.use, json.dumps(how.args), shapes[name]) if how else shapes[name]
        for name, how in hows.items()
    }


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_method_can_be_built(file):
    study = load_study(file)
    dataset = resolve(study.dataset, "")
    named = {name for part in ("subjects", "train", "val", "test") for name in getattr(study.protocol, part)}
    for fold in folds(study.protocol, THIRTY if dataset.name == "MEx" else sorted(named) or EIGHT):
        for name in study.order():
            check_choice(fold, study.training(name).choose, name)
    for name in study.order():
        method = study.method(name)
        shapes = given(method, SHAPES.get(study.name) or SHAPES[dataset.name])
        anew = functools.partial(build, method, dataset, shapes, name)
        check(method, study.training(name), anew, Clips((), {}, shapes), name)


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_fusion_stands_beside_concatenation_and_average_of_the_same_sensors(file):
    study = load_study(file)
    fusions = [m for m in study.methods.values() if m.use in ("plait.fusion:Led", "plait.fusion:Symmetric")]
    assert fusions or study.name in ("utd-mhad-depth", "mex-best")  # whose choice is a committee
    for fusion in fusions:
        others = [m for m in study.methods.values() if set(m.modalities) == set(fusion.modalities)]
        assert any(m.average for m in others)
        assert any(m.use == "plait.fusion:Concat" and m.encoders == fusion.encoders for m in others)


def test_the_fixed_split_is_the_data_set_s_own():
    study = load_study(next(file for file in STUDIES if file.stem == "utd-mhad-fixed"))
    (fold,) = folds(study.protocol, EIGHT)
    assert (fold.train, fold.val, fold.test) == (("1", "3", "5"), ("7",), ("2", "4", "6", "8"))
    assert study.protocol.refit and len(study.seeds) == 3
