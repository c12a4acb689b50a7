"""Batches for a graphics card, read one ahead: on the CPU the same way gives the same bytes."""

import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from plait.clips import Clips, Rows
from plait.errors import DataError
from plait.study.run import run_study
from plait.training import inputs
from plait.training.inputs import Inputs
from tests import tiny


@pytest.fixture
def as_for_a_card(monkeypatch):
    """Inputs that take the way to a card; who has read what is noted, by the thread's name."""
    monkeypatch.setattr(Inputs, "on_card", property(lambda self: True))
    readers, read = [], Inputs.read

    def noted(self, rows, *more):
        readers.append((threading.current_thread() is threading.main_thread(), len(rows)))
        return read(self, rows, *more)

    monkeypatch.setattr(Inputs, "read", noted)
    return readers


def weights(out, study, data):
    run_study(study, data, out, executor="inline", device="cpu")
    return {file.parent.name: load_file(file) for file in sorted(out.glob("jobs/*/weights.safetensors"))}


def study(**train):
    methods = {name: own for name, own in tiny.study()["methods"].items() if name in ("concat", "a-led")}
    protocol = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
    fewer = {"max_epochs": 2, "args": {"lr": 0.01}, **train}
    return tiny.study(seeds=[0], methods=methods, protocol=protocol, train=fewer)


@pytest.mark.parametrize("train", [{}, {"objective": {"use": "plait.training.objectives:MixedClips"}}])
def test_a_study_read_ahead_ends_in_the_same_bytes(tmp_path, request, train):
    """Augmentation draws as before, and clips that an objective swaps are not read ahead of it."""
    ours = weights(tmp_path / "plain", study(**train), tmp_path)
    readers = request.getfixturevalue("as_for_a_card")
    ahead = weights(tmp_path / "ahead", study(**train), tmp_path)
    assert ours.keys() == ahead.keys() and len(ours) == 2
    for job, one in ours.items():
        assert all(torch.equal(weight, ahead[job][name]) for name, weight in one.items())
    assert any(not by_main for by_main, _ in readers)
    assert any(by_main for by_main, _ in readers) == bool(train)


def made(tmp_path, device="cpu"):
    np.save(tmp_path / "x.npy", np.arange(24, dtype=np.float32).reshape(6, 4))
    clips = Clips((), {"x": Rows.of(tmp_path / "x.npy")}, {"x": (4,)})
    return Inputs(clips, Clips((), {}, {}), ("x",), device)


def test_one_group_is_read_ahead_and_no_more(tmp_path, as_for_a_card):
    groups = [np.arange(2) + 2 * number for number in range(3)]
    coming = made(tmp_path).reading(groups)
    tensors, grids = next(coming)
    assert torch.equal(tensors["x"], torch.arange(8.0).view(2, 4)) and grids == {}
    assert len(as_for_a_card) <= 2
    assert [batch[0]["x"][0, 0].item() for batch in coming] == [8.0, 16.0]


def test_what_cannot_be_read_is_said_by_who_asks(tmp_path, as_for_a_card, monkeypatch):
    def damaged(self, modalities, rows):
        raise DataError("damaged")

    monkeypatch.setattr(Clips, "batch", damaged)
    with pytest.raises(DataError, match="^damaged$"):
        next(made(tmp_path).reading([np.arange(2)]))


def test_pages_are_locked_where_there_is_a_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self + 1)
    tensors, grids = inputs._kept_in_place(({"a": torch.zeros(2)}, {"b": torch.ones(2)}))
    assert tensors["a"].tolist() == [1, 1] and grids["b"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("device", "on_card"), [("cpu", False), ("meta", False), ("cuda", True), ("cuda:1", True)]
)
def test_only_a_card_is_read_ahead_for(tmp_path, device, on_card):
    assert made(tmp_path, device).on_card is on_card
    if not on_card:
        tensors, _ = made(tmp_path, device).batch(np.arange(3))
        assert tensors["x"].device.type == device and tensors["x"].shape == (3, 4)
