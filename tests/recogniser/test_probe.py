"""A model that computes something else than at its fit says so, though its code and weights are the same."""

import functools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import plait
from plait.errors import PlaitWarning
from plait.fusion import Concat
from plait.recogniser.fitting import fit_model
from plait.recogniser.model import read_facts
from plait.recogniser.probe import answer, differ
from plait.recogniser.recogniser import Recogniser
from plait.training.network import Network
from plait.trust import Trust
from tests.recogniser import world
from tests.tiny import Linear

FILE = None  # of the table that `Tabled` reads


class Tabled(Linear):
    """An encoder with numbers of a file, which are no weights."""

    def __init__(self, shape):
        super().__init__(shape)
        self.table = torch.from_numpy(np.load(FILE)).float()

    def forward(self, x):
        return super().forward(x * self.table)


def loaded(model):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PlaitWarning)
        Recogniser.load(model, trust=Trust({"tests"}))
    return [str(one.message) for one in caught]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_numbers_in_a_file_that_an_encoder_reads_are_said(tmp_path, monkeypatch, precision):
    monkeypatch.setattr("tests.recogniser.test_probe.FILE", tmp_path / "table.npy")
    np.save(tmp_path / "table.npy", np.array([1.0, 2.0]))
    method = {"use": "plait.fusion:Concat", "encoders": {"a": {"use": "tests.recogniser.test_probe:Tabled"}}}
    train = {"max_epochs": 2, "args": {"lr": 0.02}, "precision": precision}
    study = world.study(methods={"both": method}, seeds=[0], train=train)
    (tmp_path / "data").mkdir()
    plait.run(study, tmp_path / "data", tmp_path / "run", doctor=False)
    fit_model(study, "both", tmp_path / "data", tmp_path / "model", run=tmp_path / "run")
    assert len(read_facts(tmp_path / "model").networks["both"].says) == len(world.ACTIVITIES)
    assert not loaded(tmp_path / "model")
    np.save(tmp_path / "table.npy", np.array([-1.0, 3.0]))
    (line,) = loaded(tmp_path / "model")
    assert "networks.both: says something else of a made-up clip than when it was fitted" in line
    np.save(tmp_path / "table.npy", np.array([1.0, 2.0]))
    assert not loaded(tmp_path / "model")


def of(encoder, precision=torch.float32):
    torch.manual_seed(0)
    return Network({"a": encoder}, Concat({"a": (4, 8)}, 3), precision=precision, shapes={"a": (4, 8)}).eval()


class Refuses(Linear):
    def forward(self, x):
        raise ValueError("wants other numbers")


class Nothing(Linear):
    def forward(self, x):
        return super().forward(x) * torch.nan


def test_a_network_that_gives_no_numbers_says_nothing():
    assert answer(of(Refuses((6, 2))), {"a": (6, 2)}) == () == answer(of(Nothing((6, 2))), {"a": (6, 2)})


def test_an_answer_leaves_everything_as_it_was():
    network, state = of(Linear((6, 2))), torch.random.get_rng_state()
    ask = functools.partial(answer, network, {"a": (6, 2)})
    assert ask() == ask() and torch.equal(state, torch.random.get_rng_state())


numbers = st.lists(st.floats(-30, 30), min_size=2, max_size=6)


@given(numbers, st.floats(-1, 1), st.integers(0, 5))
def test_rounding_is_no_difference_and_more_is(said, share, at):
    spread, largest = max(said) - min(said), max(map(abs, said))
    says = list(said)
    says[at % len(said)] += share * 0.9e-2 * spread + share * 0.9e-4 * largest
    assert not differ(said, says, halves=False)
    says = list(said)
    says[at % len(said)] += 0.3 * spread + 1e-3 * largest + 1e-3
    assert differ(said, says, halves=False) and differ(said, says, halves=True)
    assert differ(said, said[1:], halves=False) and differ(said, (), halves=False)
