"""What a network of somebody's own starts with and holds is part of its job's key, and of a model's."""

import warnings

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import plait
from plait.errors import DataError, PlaitWarning
from plait.recogniser.fitting import fit_model
from plait.recogniser.recogniser import Recogniser
from plait.study.run import run_study
from plait.trust import Trust
from tests import tiny
from tests.recogniser import world

HERE = "tests.study.test_start"
PLACE = None  # of the file that networks read
PERSON = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}


class FromFile(tiny.Linear):
    """Begins with weights of a file."""

    def __init__(self, shape):
        super().__init__(shape)
        self.linear.weight.data.fill_(float(np.load(PLACE)))


class Drawn(tiny.Linear):
    def __init__(self, shape):
        super().__init__(shape)
        start = np.random.default_rng().normal(size=self.linear.weight.shape)
        self.linear.weight.data.copy_(torch.from_numpy(start))


class Kept:
    def __init__(self, gain):
        self.gain = gain


class Held(nn.Module):
    """An encoder without weights, whose number is held in one of several ways."""

    def __init__(self, shape, how="table"):
        super().__init__()
        gain = float(np.load(PLACE))
        made = {"table": {"gain": gain}, "text": str(gain).replace(".", " "), "object": Kept(gain)}
        self._private, self.number, self.held = (gain if how == "private" else None), None, made.get(how)
        if how == "number":
            self.number = gain

    def forward(self, x):
        held = self.held
        gain = held["gain"] if isinstance(held, dict) else held.gain if isinstance(held, Kept) else None
        if isinstance(held, str):
            gain = float(held.replace(" ", "."))
        return x * next(one for one in (gain, self.number, self._private) if one is not None)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(f"{HERE}.PLACE", tmp_path / "number.npy")
    return tmp_path / "number.npy"


def run(out, encoder):
    """Losses by the key of the job, after a study that goes on in `out`."""
    method = {"use": "plait.fusion:Concat", "encoders": {"a": encoder}}
    study = tiny.study(methods={"a": method}, seeds=[0], protocol=PERSON, train={"max_epochs": 2})
    run_study(study, None, out)
    return {
        job.name: pl.read_parquet(job / "history.parquet")["loss"].to_list()
        for job in (out / "jobs").iterdir()
    }


@pytest.mark.parametrize(
    "encoder",
    [
        {"use": f"{HERE}:FromFile"},
        *(
            {"use": f"{HERE}:Held", "args": {"how": how}}
            for how in ("table", "private", "text", "object", "number")
        ),
        *(
            {"features": {"use": f"{HERE}:Held", "args": {"how": how}}}
            for how in ("table", "private", "text", "object", "number")
        ),
    ],
    ids=lambda encoder: "-".join(
        ["features" if "features" in encoder else "use", *encoder.get("args", {}).values()]
    ),
)
def test_another_file_is_another_job(tmp_path, place, encoder):
    np.save(place, 1.0)
    first = run(tmp_path / "run", encoder)
    assert run(tmp_path / "run", encoder) == first
    np.save(place, 50.0)
    both = run(tmp_path / "run", encoder)
    assert len(both) == 2 and both.items() > first.items()
    (new,) = both.keys() - first.keys()
    assert run(tmp_path / "fresh", encoder) == {new: both[new]}


def test_a_start_that_no_seed_decides_is_named_and_found_again(tmp_path, place):
    with pytest.warns(PlaitWarning, match="network draws at random from generators of its own"):
        first = run(tmp_path, {"use": f"{HERE}:Drawn"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlaitWarning)
        assert run(tmp_path, {"use": f"{HERE}:Drawn"}) == first


@pytest.mark.parametrize("how", ["table", "private", "text", "object", "number"])
def test_a_model_refuses_features_of_an_encoder_that_holds_something_else(tmp_path, place, how):
    np.save(place, 1.0)
    encoder = {"features": {"use": f"{HERE}:Held", "args": {"how": how}}}
    study = world.study(
        methods={"both": {"use": "plait.fusion:Concat", "encoders": {"a": encoder}}},
        seeds=[0],
        train={"max_epochs": 1},
    )
    (tmp_path / "data").mkdir()
    plait.run(study, tmp_path / "data", tmp_path / "run", doctor=False)
    fit_model(study, "both", tmp_path / "data", tmp_path / "model", run=tmp_path / "run")
    trust = Trust({"tests"})
    Recogniser.load(tmp_path / "model", trust=trust)
    np.save(place, 30.0)
    with pytest.raises(DataError, match="other weights than in training"):
        Recogniser.load(tmp_path / "model", trust=trust)
