"""What an encoder is shown before it is trained: the training clips of its fold and phase, no others."""

import contextlib
import copy
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from plait import clips as clips_module
from plait.encoders.glove import GloveNet, SignalNet
from plait.encoders.standardise import calibrated, neglected
from plait.errors import ConfigError, PlaitWarning
from plait.study.folds import folds
from plait.study.jobs import Setting, plan
from plait.study.load import load_study
from plait.study.run import run_study
from tests import tiny

OWN = {"use": "tests.tiny:Standardised"}
METHODS = {
    "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}, "encoders": {"a": OWN}},
    "frozen": {"use": "plait.fusion:Concat", "encoders": {"a": {"from": "a", "frozen": True}}},
    "tuned": {"use": "plait.fusion:Concat", "encoders": {"a": {"from": "a"}}},
    "doubled": {
        "use": "plait.fusion:Led",
        "args": {"lead": "a"},
        "encoders": {"a": OWN},
        "augment": {"a": "tests.tiny:double"},
    },
}


def finished(out, **own):
    """The stored weights of every job of a study by (method, fold, phase), with its fold."""
    study = tiny.study(methods=copy.deepcopy(METHODS), seeds=[0], **own)
    run_study(study, None, out)
    loaded = load_study(study)
    clips = clips_module.cut(tiny.TINY, None, loaded.modalities)
    parts = folds(loaded.protocol, [clip.subject for clip in clips.table])
    given = dict.fromkeys(loaded.methods, clips)
    jobs = plan(loaded, tiny.TINY, given, parts, Setting(loaded.dataset, out, 1, "cpu"))
    weights = {}
    for (method, _, _), job in jobs.items():
        for name in ("weights", "train-weights"):
            if (path := out / "jobs" / job.key / f"{name}.safetensors").exists():
                weights[method, job.fold, name] = load_file(path)
    return clips, weights


@pytest.mark.parametrize(
    "own",
    [
        {"train": {"max_epochs": 2, "args": {"lr": 0.01}}},
        {
            "train": {"max_epochs": 2, "args": {"lr": 0.01}},
            "protocol": {"kind": "leave-one-subject-out", "val_subjects": 1, "refit": True},
        },
    ],
    ids=["once", "refit"],
)
def test_the_training_clips_of_each_fold_and_phase_alone_decide(tmp_path, own):
    clips, weights = finished(tmp_path, **own)
    refit = "protocol" in own
    array = clips.batch(["a"], np.arange(len(clips.table)))["a"].numpy().astype(float)
    assert len(weights) == len(METHODS) * 4 * (2 if refit else 1)
    for (_, fold, name), found in weights.items():
        who = (*fold.train, *fold.val) if refit and name == "weights" else fold.train
        rows = array[clips.of(who)].reshape(-1, 2)
        np.testing.assert_allclose(found["encoders.a.entry.mean"], rows.mean(0), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found["encoders.a.entry.sd"], rows.std(0), rtol=1e-5)


def test_what_validation_and_test_people_did_is_not_seen(tmp_path, monkeypatch):
    """A fold's statistics stay when everybody else's readings are changed."""

    def others(data):
        for recording in tiny.recordings(data):
            if recording.subject in ("3", "10"):
                for stream in recording.streams.values():
                    stream.values[...] *= 7
            yield recording

    fixed = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
    found = []
    for change in (tiny.recordings, others):
        object.__setattr__(tiny.TINY, "recordings", change)
        try:
            _, weights = finished(tmp_path / change.__name__, protocol=fixed, train={"max_epochs": 1})
        finally:
            object.__setattr__(tiny.TINY, "recordings", tiny.recordings)
        found.append(weights)
    for (key, one), other in zip(found[0].items(), found[1].values(), strict=True):
        assert all(
            torch.equal(one[f"encoders.a.entry.{n}"], other[f"encoders.a.entry.{n}"]) for n in ("mean", "sd")
        ), key


def test_an_encoder_that_cannot_be_calibrated_is_one_line(tmp_path):
    methods = {"a": METHODS["a"] | {"encoders": {"a": {"use": "tests.tiny:Unwilling"}}}}
    with pytest.raises(ConfigError, match=r"methods.a.encoders.a: calibrate fails: .*own trouble"):
        run_study(tiny.study(methods=methods, seeds=[0]), None, tmp_path)


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        (
            {"use": "tests.tiny:Unshown"},
            r"methods.a.encoders.a: nobody calibrates its 'entry', a Standardise",
        ),
        ({"use": "tests.tiny:behind"}, r"methods.a.encoders.a: nobody calibrates its '1', a Standardise"),
        ({"use": "tests.tiny:Unshown", "args": {"own": True}}, None),
        (
            {"features": {"use": "tests.tiny:Standardised"}},
            r"encoders.a.features: nobody calibrates its 'entry'",
        ),
        ({"features": {"use": "tests.tiny:Unshown", "args": {"own": True}}}, None),
    ],
)
def test_a_part_that_nobody_shows_the_training_clips_is_refused(encoder, said, tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    methods = {"a": METHODS["a"] | {"encoders": {"a": encoder}}}
    study = tiny.study(methods=methods, seeds=[0], train={"max_epochs": 1})
    if said is None:
        run_study(study, None, tmp_path / "run")
        return
    with pytest.raises(ConfigError, match=said):
        run_study(study, None, tmp_path / "run")


@pytest.mark.parametrize(
    ("encoder", "warned"),
    [
        (
            {"use": "tests.tiny:Above"},
            r"^encoders.a: nobody calls calibrate of its 'entry', a Least: if",
        ),
        (
            {"features": {"use": "tests.tiny:Above"}},
            r"nobody calls calibrate of its 'entry', a Least: expected it to hold",
        ),
        (
            {"features": {"use": "tests.tiny:in_front"}},
            r"nobody calls calibrate of its '0', a Least: expected it to hold",
        ),
        ({"use": "tests.tiny:in_front"}, None),
        ({"use": "tests.tiny:Calling"}, None),
        ({"use": "tests.tiny:Filling"}, None),
    ],
)
def test_a_part_of_one_s_own_that_nobody_calibrates_is_said(encoder, warned, tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    methods = {"a": METHODS["a"] | {"encoders": {"a": encoder}}}
    study = tiny.study(methods=methods, seeds=[0], train={"max_epochs": 1})
    with contextlib.nullcontext() if warned is None else pytest.warns(PlaitWarning, match=warned):
        run_study(study, None, tmp_path / "run")


class Pictured(tiny.Linear):
    black_and_white = (-9.0, 9.0)


class OfUnit(tiny.Linear):
    black_and_white = (0.0, 1.0)


@pytest.mark.parametrize(("encoder", "warned"), [("Pictured", False), ("OfUnit", True)])
def test_an_encoder_of_other_values_is_warned_of_before_it_is_trained(encoder, warned, tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    own = {"use": f"tests.training.test_calibrated:{encoder}"}
    methods = {
        "a": METHODS["a"] | {"encoders": {"a": own}},
        "tuned": {"use": "plait.fusion:Concat", "encoders": {"a": {"from": "a"}}},
    }
    study = tiny.study(methods=methods, seeds=[0], train={"max_epochs": 1})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_study(study, None, tmp_path / "run")
    lines = [str(one.message) for one in caught if issubclass(one.category, PlaitWarning)]
    assert len(lines) == warned
    for line in lines:
        assert line.startswith("encoders.a: a goes from -")
        assert "expected 0 (black) to 1 (white), which OfUnit was made for" in line


class Edges(nn.Module):
    """A part of one's own, whose numbers a caller may come by in any way."""

    def __init__(self, edges):
        super().__init__()
        self.register_buffer("edges", edges)

    def calibrate(self, clips, bins=4, *, low=0.0):
        self.edges = torch.linspace(low, max(float(batch.max()) for batch in clips), bins)
        return self.edges


def used(part):
    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = part

    return Parent()


@pytest.mark.parametrize("edges", [None, torch.empty(0), torch.zeros(2), torch.full((4,), float("nan"))])
@pytest.mark.parametrize(
    "calibrate",
    [
        lambda part, clips: part.calibrate(clips)[-1].item(),
        lambda part, clips: part.calibrate(clips, 8, low=-1.0).sum().item(),
        lambda part, clips: part.calibrate(clips=clips).sum().item(),
        lambda part, clips: setattr(part, "edges", torch.ones(1)),
        lambda part, clips: setattr(part, "edges", torch.ones(4)),
    ],
)
def test_however_a_part_of_one_s_own_comes_by_its_numbers_nothing_is_said(edges, calibrate):
    encoder = used(Edges(edges))
    clips = [torch.rand(2, 3)]
    assert neglected(encoder, lambda encoder: calibrate(encoder.part, clips)) == []
    assert "calibrate" not in vars(encoder.part)
    assert neglected(encoder) == ["its 'part', a Edges"]


def test_a_part_that_was_given_its_calibrate_keeps_it():
    part = Edges(None)
    part.calibrate = own = lambda clips: None
    assert neglected(nn.Sequential(used(part)), lambda encoder: encoder[0].part.calibrate([])) == []
    assert vars(part)["calibrate"] is own


class Flagged(nn.Module):
    """A part with a setting of that name, which decides what it does."""

    def __init__(self, calibrate):
        super().__init__()
        self.calibrate = calibrate

    def forward(self, clips):
        return clips + 1 if self.calibrate is True else clips


@pytest.mark.parametrize("calibrate", [False, True, None, 0.5, nn.Linear(2, 2)])
def test_what_is_only_called_calibrate_is_no_method(calibrate):
    encoder = used(Flagged(calibrate))
    clip = torch.ones(1)
    before, during = encoder.part(clip), []
    assert neglected(encoder, lambda encoder: during.append(encoder.part(clip))) == []
    assert torch.equal(during[0], before) and encoder.part.calibrate is calibrate
    assert list(calibrated(encoder.part)) == []


class Mine(GloveNet):
    """One of plait's, changed."""

    def forward(self, clips):
        return super().forward(clips) * 2


class Forgetful(Edges):
    """A part that calibrates once."""

    def calibrate(self, clips):
        del self.__dict__["calibrate"]
        return super().calibrate(clips)


class Wrapping(nn.Module):
    """What hands on all that it has not."""

    def __init__(self, within):
        super().__init__()
        self.within = within

    def __getattr__(self, name):
        return nn.Module.__getattr__(self, name) if name == "within" else getattr(self.within, name)


def test_a_method_is_whose_class_has_it():
    assert neglected(Mine(standardise=False)) == [] == neglected(used(Mine()))
    assert neglected(used(Wrapping(Edges(None)))) == ["its 'part.within', a Edges"]
    part = Forgetful(None)
    assert neglected(part, lambda part: part.calibrate([torch.ones(1)])) == []


@pytest.mark.parametrize(
    "numbers", [torch.eye(3).to_sparse(), torch.ones(3).to(torch.float8_e4m3fn), torch.ones(2, device="meta")]
)
def test_of_numbers_that_cannot_be_compared_no_more_is_said_than_that_nobody_calls(numbers):
    assert neglected(Edges(numbers)) == ["a Edges"]


def test_of_plait_s_own_encoders_nothing_is_said_and_of_parts_within_parts_the_outer_one():
    signal = {"widths": (4,), "kernels": (3,), "pools": (1,), "units": 2}
    assert neglected(nn.Sequential(nn.Dropout(), SignalNet((9, 2), **signal))) == []
    assert neglected(GloveNet()) == []
    outer = Edges(None)
    outer.inner = Edges(None)
    assert neglected(outer) == ["a Edges"]
    assert neglected(outer, lambda encoder: encoder.calibrate([torch.ones(1)])) == ["its 'inner', a Edges"]
