"""What draws from generators that are for all repeats by its job's seed; what has its own is named."""

import random
import warnings

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from plait.compute.seeds import left_alone, seed_all
from plait.errors import ConfigError, PlaitWarning
from plait.fusion import Concat
from plait.study.run import run_study
from tests import tiny

HERE = "tests.training.test_draws"
OWN = np.random.default_rng(0)
PERSON = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}


def numpy_s(batch):
    return batch * float(np.random.normal(1, 0.3))  # noqa: NPY002


def python_s(batch):
    return batch * random.gauss(1, 0.3)


def torch_s(batch):
    return batch * (1 + 0.3 * torch.randn(1))


def of_its_own(batch):
    return batch * float(OWN.normal(1, 0.3))


class NumpyDropout(tiny.Linear):
    def forward(self, x):
        kept = torch.from_numpy(np.random.random(x.shape) < 0.8) if self.training else 1  # noqa: NPY002
        return super().forward(x * kept)


class OwnDropout(tiny.Linear):
    def forward(self, x):
        kept = torch.from_numpy(OWN.random(x.shape) < 0.8) if self.training else 1
        return super().forward(x * kept)


class NumpyStart(tiny.Linear):
    def __init__(self, shape):
        super().__init__(shape)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(np.random.normal(size=self.linear.weight.shape)))  # noqa: NPY002


def losses(out, method):
    """Of each epoch of a study's job, and what was warned of."""
    study = tiny.study(methods={"a": {"use": "plait.fusion:Concat"} | method}, seeds=[0], protocol=PERSON)
    study["train"] = {"max_epochs": 2, "args": {"lr": 0.01}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PlaitWarning)
        run_study(study, None, out)
    (job,) = (out / "jobs").iterdir()
    lines = [str(one.message) for one in caught if "draws at random" in str(one.message)]
    return pl.read_parquet(job / "history.parquet")["loss"].to_list(), lines


@pytest.mark.parametrize(
    "method",
    [
        *({"augment": {"a": f"{HERE}:{name}"}} for name in ("numpy_s", "python_s", "torch_s")),
        *({"encoders": {"a": {"use": f"{HERE}:{name}"}}} for name in ("NumpyDropout", "NumpyStart")),
    ],
    ids=["numpy", "python", "torch", "dropout", "start"],
)
def test_a_job_repeats_whatever_it_draws_from(tmp_path, method):
    first, said = losses(tmp_path / "first", method)
    np.random.seed(7)  # noqa: NPY002
    random.seed(7)
    again, _ = losses(tmp_path / "again", method)
    assert first == again and not said
    after = np.random.random()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    assert after == np.random.random()  # noqa: NPY002


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ({"augment": {"a": f"{HERE}:of_its_own"}}, f"augment.a: {HERE}:of_its_own draws"),
        ({"encoders": {"a": {"use": f"{HERE}:OwnDropout"}}}, "encoders.a draws"),
    ],
    ids=["augmentation", "encoder"],
)
def test_a_generator_of_its_own_is_named(tmp_path, method, what):
    _, (line,) = losses(tmp_path, method)
    assert line.startswith(what)


@pytest.mark.parametrize("number", [0, 1, 2**32, 2**56 - 1])
def test_seeds_of_any_size_decide_all_and_leave_all_as_it_was(number):
    def draw():
        return torch.rand(3).tolist(), np.random.random(3).tolist(), random.random()  # noqa: NPY002

    with left_alone():
        seed_all(number)
        first = draw()
        seed_all(number)
        assert draw() == first
        before = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
        with pytest.raises(KeyError), left_alone():
            seed_all(5)
            raise KeyError
        after = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
        assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


class Standing(Concat):
    """A method with a part that nobody calibrates."""

    def __init__(self, grids, classes):
        super().__init__(grids, classes)
        self.own = tiny.Standardise(4)


class Least(Concat):
    def __init__(self, grids, classes):
        super().__init__(grids, classes)
        self.own = tiny.Least(4)


def test_a_part_of_a_method_that_nobody_calibrates_is_refused_or_named(tmp_path):
    def studied(use):
        return tiny.study(
            methods={"a": {"use": f"{HERE}:{use}"}}, seeds=[0], protocol=PERSON, train={"max_epochs": 1}
        )

    with pytest.raises(ConfigError, match="methods.a: nobody calibrates its 'own', a Standardise, of method"):
        run_study(studied("Standing"), None, tmp_path / "refused")
    with pytest.warns(PlaitWarning, match="nobody calls calibrate of its 'own', a Least"):
        run_study(studied("Least"), None, tmp_path / "named")


class OverBatch(nn.Module):
    def __init__(self, shape):
        super().__init__()

    def forward(self, x):
        return x - x.mean(dim=0)


class Noisy(OverBatch):
    def forward(self, x):
        return x + torch.randn_like(x)


class Broken(OverBatch):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("use", "batch", "line"),
    [
        ("OverBatch", 8, "OverBatch makes of a clip what depends on the others"),
        ("OverBatch", 1, None),
        ("Noisy", 1, "Noisy does not come to the same"),
        ("Broken", 8, None),
    ],
)
def test_an_encoder_of_features_is_looked_at_where_these_are_made(tmp_path, monkeypatch, use, batch, line):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    features = {"use": f"{HERE}:{use}", "batch": batch}
    method = {"use": "plait.fusion:Concat", "encoders": {"a": {"features": features}}}
    study = tiny.study(methods={"a": method}, seeds=[0], protocol=PERSON, train={"max_epochs": 1})
    for first in (True, False):  # found again, nothing is looked at
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PlaitWarning)
            run_study(study, None, tmp_path / f"{first}")
        found = [str(one.message) for one in caught if HERE in str(one.message)]
        assert len(found) == (first and line is not None) and all(line in one for one in found)
