"""Schedules told in epochs, where batches are counted, are said before a study; others are not."""

import math
import warnings
from pathlib import Path

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from plait.config import Schedule, Train
from plait.errors import ConfigError, PlaitWarning
from plait.study.load import load_study
from plait.study.run import run_study
from plait.training.course import optimizer_of
from plait.training.rates import EARLY, LOW, MOST, hurried
from tests import tiny

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))
DESCENT = {"optimizer": "torch.optim:SGD", "args": {"lr": 0.1, "momentum": 0.9}, "batch_size": 10}


def train_of(use, args=None, epochs=50):
    name = use if ":" in use else f"torch.optim.lr_scheduler:{use}"
    return Train(**DESCENT, max_epochs=epochs, schedule=Schedule(name, args or {}))


def said(train, batches):
    """What is said where an epoch has so many batches, the last of them not full."""
    return list(hurried(train, nn.Linear(2, 2), 10 * batches - 3, "methods.c.train"))


def rates(train, steps):
    """The rate of every batch, on a weight of its own."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    schedule = getattr(lr_scheduler, train.schedule.use.rpartition(":")[2])(optimizer, **train.schedule.args)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def settings_of(name, draw):
    """Settings as of somebody who counts epochs, or batches."""
    some, gamma = st.integers(1, 2000), draw(st.sampled_from([0.1, 0.5, 0.9, 0.99, 0.9999]))
    return {
        "StepLR": {"step_size": draw(some), "gamma": gamma},
        "MultiStepLR": {"milestones": sorted(draw(st.lists(some, max_size=4))), "gamma": gamma},
        "ExponentialLR": {"gamma": gamma},
        "PolynomialLR": {"total_iters": draw(some), "power": draw(st.floats(1, 2))},
        "LinearLR": {"total_iters": draw(some), "end_factor": draw(st.sampled_from([0.001, 1.0]))},
        "ConstantLR": {"total_iters": draw(some), "factor": 0.001},
    }[name]


NAMES = ["StepLR", "MultiStepLR", "ExponentialLR", "PolynomialLR", "LinearLR", "ConstantLR"]


@given(st.sampled_from(NAMES), st.integers(2, 40), st.integers(1, 60), st.data())
def test_a_rate_that_is_gone_before_a_third_of_training_is_said(name, batches, epochs, data):
    train = train_of(name, settings_of(name, data.draw), epochs)
    every = rates(train, batches * epochs)
    most, last = 0.0, -1  # the last batch that still has a rate, if there are any after it
    for batch, rate in enumerate(every):
        most = max(most, rate)
        if rate > LOW * most * (1 + 1e-9):
            last = batch
    lines = said(train, batches)
    if last + 1 < len(every) and last + 1 < EARLY * len(every):
        at = f"from batch {last + 2} (epoch {(last + 1) // batches + 1} of {epochs}) on its rate is 1 % of"
        [line] = lines
        assert line.startswith(f"train.schedule: {name} is stepped after every batch, of which an epoch has ")
        assert at in line and "\n" not in line
    else:
        assert lines == []


@given(st.integers(1, 60), st.integers(2, 30), st.integers(1, 60))
def test_a_cosine_that_rises_again_is_said(half, batches, epochs):
    lines = said(train_of("CosineAnnealingLR", {"T_max": half}, epochs), batches)
    if batches * epochs > 1.1 * half:
        assert len(lines) == 1 and f"expected T_max = {batches * epochs}, or none" in lines[0]
    else:
        assert lines == []


@pytest.mark.parametrize(
    ("use", "args", "meant"),
    [
        ("StepLR", {"step_size": 30}, "step_size = 360"),
        ("MultiStepLR", {"milestones": [20, 40]}, "milestones = [240, 480]"),
        ("ExponentialLR", {"gamma": 0.95}, "gamma = 0.995735"),
        ("PolynomialLR", {"total_iters": 50}, "total_iters = 600"),
        ("tests.training.test_rates:warmed", {"rest": 50}, "settings that count batches"),
        ("tests.training.test_rates:both", {}, "settings that count batches"),
    ],
)
def test_what_was_meant_is_named(use, args, meant):
    [line] = said(train_of(use, args), 12)
    assert "of which an epoch has 12: from batch" in line and " on its rate is 1 % of its largest or" in line
    assert line.endswith(f" less: if it was told in epochs, expected {meant}")


def warmed(optimizer, rest):
    """Torch's own schedules, one after another."""
    parts = [
        lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 5),
        lr_scheduler.CosineAnnealingLR(optimizer, rest, 1e-5),
        lr_scheduler.ConstantLR(optimizer, 1e-4, 10**6),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, [5, 5 + rest])


def both(optimizer):
    """Torch's own schedules, at once."""
    parts = lr_scheduler.ExponentialLR(optimizer, 0.97), lr_scheduler.StepLR(optimizer, 40)
    return lr_scheduler.ChainedScheduler(parts, optimizer)


@pytest.mark.parametrize(
    ("use", "args"),
    [
        ("OneCycleLR", {"max_lr": 0.1}),
        ("OneCycleLR", {"max_lr": 0.1, "pct_start": 0.01, "three_phase": True}),
        ("CyclicLR", {"base_lr": 1e-5, "max_lr": 0.1, "step_size_up": 5}),
        ("CyclicLR", {"base_lr": 1e-5, "max_lr": 0.1, "step_size_up": 5, "mode": "exp_range", "gamma": 0.9}),
        ("CosineAnnealingWarmRestarts", {"T_0": 10}),
        ("CosineAnnealingWarmRestarts", {"T_0": 10, "T_mult": 2}),
        ("CosineAnnealingLR", {}),
        ("PolynomialLR", {}),
        ("PolynomialLR", {"power": 2.0}),
        ("LinearLR", {}),
        ("ConstantLR", {}),
        ("StepLR", {"step_size": 360}),
        ("MultiStepLR", {"milestones": [480, 540]}),
        ("ExponentialLR", {"gamma": 0.995735}),
        ("tests.training.test_rates:warmed", {"rest": 550}),
    ],
)
def test_what_falls_late_or_comes_back_is_not(use, args):
    assert said(train_of(use, args), 12) == []


def test_of_long_trainings_the_start_is_looked_through():
    train = train_of("StepLR", {"step_size": MOST}, 10**9)
    assert said(train, 10**6) == []
    [line] = said(train_of("StepLR", {"step_size": 30}, 10**9), 10**6)
    assert "from batch 61 (epoch 1 of 1000000000)" in line


def test_without_a_schedule_or_with_one_batch_an_epoch_nothing_is():
    assert list(hurried(Train(), nn.Linear(2, 2), 1000, "train")) == []
    assert said(train_of("StepLR", {"step_size": 5}), 1) == []


class Ending(lr_scheduler.LambdaLR):
    def __init__(self, optimizer, ends):
        super().__init__(optimizer, lambda step: 1 / (step < ends))


def test_one_that_fails_on_its_way_is_refused():
    with pytest.raises(ConfigError, match=r"^methods.c.train.schedule.args: .*Ending: .*division by zero"):
        said(train_of("tests.training.test_rates:Ending", {"ends": 100}), 12)


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_a_polynomial_goes_over_all_batches_unless_it_is_told_otherwise(power):
    train = train_of("PolynomialLR", {"power": power})
    optimizer, schedule = optimizer_of(train, nn.Linear(2, 2), "train", 40)
    found = []
    for _ in range(40):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert found == pytest.approx([0.1 * (1 - step / 40) ** power for step in range(40)])
    told = train_of("PolynomialLR", {"total_iters": 7})
    assert optimizer_of(told, nn.Linear(2, 2), "train", 40)[1].total_iters == 7


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_published_studies_are_silent(path):
    study = load_study(path)
    for _, _, train in study.trainings():
        for batches in (2, 20, 1000):
            clips = batches * train.batch_size
            assert list(hurried(train, nn.Linear(2, 2), clips, "train")) == []


def test_a_study_says_it_once_for_all_methods(tmp_path):
    schedule = {"use": "torch.optim.lr_scheduler:StepLR", "args": {"step_size": 2}}
    train = {"max_epochs": 6, "schedule": schedule, **DESCENT}
    methods = {name: {"use": "plait.fusion:Concat", "modalities": [name]} for name in "ab"}
    fixed = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
    study = tiny.study(seeds=[0], train=train, methods=methods, protocol=fixed, doctor=False)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        run_study(study, None, tmp_path / "epochs", say=lambda line: None)
    [line] = [str(one.message) for one in warned if issubclass(one.category, PlaitWarning)]
    batches = math.ceil(32 / 10)
    assert f"an epoch has {batches}: from batch 5 (epoch 2 of 6)" in line and line.endswith("step_size = 8")
    schedule["use"], schedule["args"] = "torch.optim.lr_scheduler:PolynomialLR", {}
    run_study(study, None, tmp_path / "all", say=lambda line: None)
    for job in (tmp_path / "all" / "jobs").iterdir():
        found = pl.read_parquet(job / "history.parquet")["learning_rate"]
        steps = 6 * batches
        assert found.to_list() == pytest.approx([0.1 * (1 - (n * batches - 1) / steps) for n in range(1, 7)])
