"""A learning-rate schedule looked through before training: whether it is over long before training is.

Schedules are stepped after every batch. One that is told in epochs, as where it is stepped after each, is
over after so many batches, and what is trained then is trained at no rate at all.
"""

import math
import warnings
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR

from plait.config import Schedule, Train
from plait.training.course import optimizer_of, refusing

LOW = 0.01  # of the largest rate; less is all but nothing
EARLY = 1 / 3  # of all batches
LONGER = 1.1  # than the half wave of a cosine: until then it has hardly risen again
MOST = 10_000  # batches that are looked through
TOLD = OneCycleLR, CyclicLR, CosineAnnealingWarmRestarts  # their rates fall by their length, or come back
COUNTS = "step_size", "milestones", "total_iters", "T_max"  # settings of torch's schedules in steps


def hurried(train: Train, network: nn.Module, clips: int, where: str) -> Iterator[str]:
    """A line on a schedule whose rate is all but nothing before a third of training, or that rises again.

    Args:
        train: names it.
        network: whose parameters are optimized; it is left as it is.
        clips: that train, in the fold that has the fewest.
        where: what errors call the settings.

    Raises:
        ConfigError: the schedule cannot be had, or fails at a step that training takes.
    """
    batches = math.ceil(clips / train.batch_size)
    if train.schedule is None or batches < 2:
        return
    steps = batches * train.max_epochs
    optimizer, schedule = optimizer_of(train, network, where, steps)
    if isinstance(schedule, TOLD):
        return
    name = train.schedule.use.rpartition(":")[2]
    said = f"train.schedule: {name} is stepped after every batch, of which an epoch has {batches}: from batch"
    expected = f"if it was told in epochs, expected {_in_batches(train.schedule, batches)}"
    if isinstance(schedule, CosineAnnealingLR) and steps > LONGER * schedule.T_max:
        least = f"{schedule.T_max} (epoch {math.ceil(schedule.T_max / batches)} of {train.max_epochs})"
        yield f"{said} {least} on its rate rises again: expected T_max = {steps}, or none, which is the same"
        return
    with refusing(f"{where}.schedule.args: {train.schedule.use}"):
        over = _over(optimizer, schedule, min(steps, MOST))
    if over is not None and over < EARLY * steps:
        at = f"{over + 1} (epoch {over // batches + 1} of {train.max_epochs})"
        yield f"{said} {at} on its rate is {LOW * 100:.0f} % of its largest or less: {expected}"


def _over(optimizer: Any, schedule: Any, steps: int) -> int | None:
    """After how many batches the rate is `LOW` of its largest or less for good; None if it never is."""
    largest, over = 0.0, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, whose optimizer takes no step here
        for batch in range(steps):
            rates = [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]
            rate = max(rates, default=0.0)
            largest = max(largest, rate)
            if rate > LOW * largest * (1 + 1e-9):
                over = None
            elif over is None:
                over = batch
            schedule.step()
    return over


def _in_batches(schedule: Schedule, batches: int) -> str:
    """The settings of a schedule that count steps, by so many batches an epoch."""
    meant: list[str] = []
    for name, value in schedule.args.items():
        if name in COUNTS and isinstance(value, int):
            meant.append(f"{name} = {value * batches}")
        elif name in COUNTS and isinstance(value, list | tuple):
            meant.append(f"{name} = {[each * batches for each in value]}")
        elif name == "gamma" and schedule.use.endswith(":ExponentialLR"):
            meant.append(f"{name} = {value ** (1 / batches):.6g}")
    return ", ".join(meant) or "settings that count batches"
