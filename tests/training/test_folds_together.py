"""Networks stacked, and folds trained at once: the same numbers as one after another."""

import copy

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from plait.clips import Clips, cut
from plait.encoders.glove import GloveNet
from plait.errors import ConfigError
from plait.fusion import Concat, Led, Single, Symmetric
from plait.study.folds import folds
from plait.study.load import load_study
from plait.study.run import run_study
from plait.training.fit import fit
from plait.training.folds_together import Stack, StackableLSTM
from plait.training.network import Network
from tests import tiny

SHAPES = {"video": (2, 3, 3, 5), "gloves": (28, 64)}
METHODS = {
    "single": lambda: Single(SHAPES, 3, "gloves"),
    "concat": lambda: Concat(SHAPES, 3, normalise=True),
    "led": lambda: Led(SHAPES, 3, "video"),
    "led, hidden": lambda: Led(SHAPES, 3, "gloves", head="hidden", pool=2, scale=True),
    "symmetric": lambda: Symmetric(SHAPES, 3, head="flatten", norm=True),
}


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("batch_first", [True, False])
def test_the_lstm_that_can_be_stacked_is_torch_s(options, batch_first):
    torch.manual_seed(0)
    theirs = nn.LSTM(3, 4, batch_first=batch_first, **options).double()
    ours = StackableLSTM(copy.deepcopy(theirs))
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(theirs(x)[0].shape, dtype=torch.float64)
    one, other = theirs(x)[0], ours(x)[0]
    torch.testing.assert_close(other, one)
    wanted = torch.autograd.grad((one * weights).sum(), [x, *theirs.parameters()])
    torch.testing.assert_close(torch.autograd.grad((other * weights).sum(), [x, *ours.parameters()]), wanted)


@pytest.mark.parametrize("options", [{"proj_size": 2}, {"bias": False}, {"num_layers": 2, "dropout": 0.5}])
def test_other_lstms_are_refused(options):
    with pytest.raises(ConfigError, match="cannot be trained folds together"):
        Stack([nn.LSTM(3, 4, **options)] * 2)


def test_what_cannot_be_stacked_is_said_in_one_line():
    class Asking(nn.Linear):
        def forward(self, grids):
            return super().forward(grids["x"]) if grids["x"].sum() > 0 else grids["x"]

    stack = Stack([Asking(2, 2), Asking(2, 2)])
    with pytest.raises(ConfigError, match="cannot be trained folds together"):
        stack.losses([0, 1], ({"x": torch.ones(2, 3, 2)},), torch.zeros(2, 3, dtype=torch.long), F.cross_entropy)


class Remembering(nn.Module):
    """An encoder that wants the state of its LSTM, which a stacked one does not give."""

    def __init__(self, shape):
        super().__init__()
        self.lstm = nn.LSTM(shape[-1], 2, batch_first=True)

    def forward(self, x):
        _, (last, _) = self.lstm(x.flatten(1, -2))
        return last[0]


def test_folds_at_once_that_cannot_work_are_refused_before_anything_is_trained(tmp_path, monkeypatch):
    method = {"use": "plait.fusion:Concat", "encoders": {"a": {"use": f"{__name__}:Remembering"}}}
    study = tiny.study(methods={"concat": method}, train={"max_epochs": 1, "folds_at_once": 4})
    with pytest.raises(ConfigError, match=r"methods.concat.train.folds_at_once: .*cannot be trained folds together"):
        run_study(study, None, tmp_path / "run")
    assert not list((tmp_path / "run").rglob("job.json"))


def test_no_batch_no_trouble():
    led = Led({"a": (3, 4), "b": (2, 5)}, 3, "a", head="hidden")
    assert led({"a": torch.empty(0, 3, 4), "b": torch.empty(0, 2, 5)}).shape == (0, 3)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_fifty_steps_of_stacked_networks_are_those_of_separate_ones(make):
    """In float64, with the paper's encoder and optimizer; who leaves half-way does not change the others."""
    torch.manual_seed(0)
    alone = [Network({"video": nn.Identity(), "gloves": GloveNet()}, make()).double() for _ in range(3)]
    together = copy.deepcopy(alone)
    optimizers = [
        [torch.optim.RMSprop(network.parameters(), lr=1e-3, alpha=0.9, eps=1e-7) for network in group]
        for group in (alone, together)
    ]
    going = [0, 1, 2]
    stack = Stack(together)
    for step in range(50):
        if step == 25:
            going = [0, 2]
            stack = Stack([together[0], together[2]])
        shapes = {"video": SHAPES["video"], "gloves": (134, 18)}
        clips = {name: torch.randn(len(going), 4, *shape, dtype=torch.float64) for name, shape in shapes.items()}
        target = torch.randint(3, (len(going), 4))
        losses = stack.losses(range(len(going)), (clips,), target, F.cross_entropy)
        for row, which in enumerate(going):
            loss = F.cross_entropy(alone[which]({name: x[row] for name, x in clips.items()}), target[row])
            optimizers[0][which].zero_grad()
            loss.backward()
            for group in optimizers:
                group[which].step()
            assert float(losses[row]) == pytest.approx(float(loss.detach()), abs=1e-9)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(dict(other.state_dict()), dict(one.state_dict()), rtol=0, atol=1e-9)


def ragged(data):
    """The tiny data set with subjects who did less: folds of different lengths, last batches of different sizes."""
    for number, recording in enumerate(tiny.recordings(data)):
        object.__setattr__(recording, "spans", recording.spans[: 16 - 2 * number])
        yield recording


RAGGED = tiny.Dataset("ragged", tiny.ACTIVITIES, tiny.TINY.modalities, ragged, "none")


@pytest.mark.parametrize("own", [{}, {"refit": True}])
def test_folds_at_once_are_trained_validated_and_stopped_as_one_by_one(tmp_path, monkeypatch, own):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path))
    batch = Clips.batch
    monkeypatch.setattr(Clips, "batch", lambda *given: {name: x.double() for name, x in batch(*given).items()})
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        clips = cut(RAGGED, tmp_path, ["a", "b"])
        method = {
            "use": "plait.fusion:Led",
            "args": {"lead": "a"},
            "augment": {"a": "tests.tiny:double"},
            "encoders": {"b": {"use": "tests.tiny:Normed"}},
        }
        train = {"max_epochs": 15, "patience": 2, "args": {"lr": 0.02}}
        study = load_study(tiny.study(methods={"led": method}, train=train, protocol=own))
        parts = folds(study.protocol, [clip.subject for clip in clips.table])
        assert len({len(clips.of(part.train)) for part in parts}) > 1
        settings = (study.method("led"), study.training("led"), study.protocol, RAGGED, clips)
        one_by_one = [fit(*settings, [part], 0, "cpu", [{}])[0] for part in parts]
        at_once = fit(*settings, parts, 0, "cpu", [{}] * len(parts))
    finally:
        torch.set_default_dtype(before)
    assert len({len(one.history) for one in one_by_one}) > 1  # they stop at different epochs
    for one, other in zip(one_by_one, at_once, strict=True):
        wanted, got = one.history, other.history
        same = ["phase", "epoch", "val_accuracy"]
        assert got.select(same).equals(wanted.select(same))
        np.testing.assert_allclose(got["loss"], wanted["loss"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(other.test, one.test, atol=1e-6)
        np.testing.assert_allclose(other.val, one.val, atol=1e-6)
        torch.testing.assert_close(dict(other.network.state_dict()), dict(one.network.state_dict()), rtol=0, atol=1e-9)


def test_a_study_with_folds_at_once_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    study = tiny.study(seeds=[0])
    study["train"] = {**study["train"], "folds_at_once": 3}
    study["methods"]["frozen"] = {
        "use": "plait.fusion:Led",
        "args": {"lead": "b"},
        "encoders": {"a": {"from": "a", "frozen": True}},
    }
    run_study(study, None, tmp_path / "one")
    wanted = (tmp_path / "one" / "predictions.parquet").read_bytes()
    apart = tiny.study(seeds=[0])
    apart["methods"] = study["methods"]
    run_study(apart, None, tmp_path / "apart")
    key = ["method", "seed", "fold", "clip"]
    one, other = (pl.read_parquet(tmp_path / name / "predictions.parquet").sort(key) for name in ("one", "apart"))
    np.testing.assert_allclose(one["scores"].to_list(), other["scores"].to_list(), atol=1e-4)
    keys = [{path.name for path in (tmp_path / name / "jobs").iterdir()} for name in ("one", "apart")]
    assert len(keys[0] - keys[1]) == 5 * 3  # the fourth fold of each method stands alone, and is the same job
    jobs = sorted((tmp_path / "one" / "jobs").iterdir())
    for folder in jobs[::3]:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    kept = {folder: folder.stat().st_mtime_ns for folder in jobs if folder.exists()}
    run_study(study, None, tmp_path / "one")
    assert (tmp_path / "one" / "predictions.parquet").read_bytes() == wanted
    assert all(folder.stat().st_mtime_ns == when for folder, when in kept.items())


class Branching(tiny.Linear):
    """What it does depends on what it sees, which cannot be stacked."""

    def forward(self, x):
        return super().forward(x) if bool((x == x).all()) else x


def test_frozen_encoders_need_not_be_ones_that_can_be_stacked(tmp_path, monkeypatch):
    encoders = {"a": {"use": f"{__name__}:Branching"}}
    single = {"use": "plait.fusion:Single", "args": {"modality": "a"}}
    methods = {
        "a": {**single, "encoders": encoders},
        "frozen": {**single, "encoders": {"a": {"from": "a", "frozen": True}}, "train": {"folds_at_once": 4}},
    }
    study = tiny.study(methods=methods, seeds=[0], train={"max_epochs": 1})
    run_study(study, None, tmp_path / "run")
    study["methods"]["a"]["train"] = {"folds_at_once": 4}
    with pytest.raises(ConfigError, match=r"methods\.a\.train\.folds_at_once: these networks cannot be trained"):
        run_study(study, None, tmp_path / "other")
