"""Several devices on one job, through Lightning Fabric: each takes its share of every batch.

Every device has a process and the whole network. All of them deal the same batches alike, add up gradients
and losses, and follow the sum: what comes out is what one device would make of the whole batch, up to
rounding. Networks are not wrapped: a step goes through several of their methods, and may leave parts out.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from plait.compute.alike import bound
from plait.compute.machine import follow_parent
from plait.errors import ConfigError, PlaitError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """One of the processes that train a network together; by default it trains alone.

    Args:
        number: which one, from 0.
        count: how many there are.
        fabric: what connects them, where there are several.
    """

    number: int = 0
    count: int = 1
    fabric: Any = None

    def share(self, clips: int) -> np.ndarray:
        """This one's places in a batch of so many clips; none where there are fewer clips than devices."""
        return np.array_split(np.arange(clips), self.count)[self.number]

    def add(self, weights: Iterable[nn.Parameter], loss: float) -> float:
        """Leave in `weights` the sum of all devices' gradients; the sum of their losses.

        A weight that no device has a gradient of has none, so that an optimizer leaves it as it is.
        """
        if self.count == 1:
            return loss
        trained = [weight for weight in weights if weight.requires_grad]
        kind = functools.reduce(torch.promote_types, (weight.dtype for weight in trained), torch.float32)
        has = [weight.grad is not None for weight in trained]
        for weight in trained:  # a part that one device did without has a gradient on another
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        parts = [weight.grad.flatten().to(kind) for weight in trained if weight.grad is not None]
        parts.append(parts[0].new_tensor([loss, *has]))
        sizes = [len(part) for part in parts]
        total: Tensor = self.fabric.all_reduce(torch.cat(parts), reduce_op="sum")
        *sums, told = torch.split(total, sizes)
        whole, *had = told.tolist()
        for weight, part, devices in zip(trained, sums, had, strict=True):
            weight.grad = part.view_as(weight).to(weight.dtype) if devices else None
        return float(whole)

    def settle(self, network: nn.Module) -> None:
        """Give all devices the mean of their moving statistics, which each has of its own clips.

        What is the same on all stays so to the bit: the mean of eight equal numbers need not be the number.
        """
        moving = [buffer for buffer in network.buffers() if buffer.is_floating_point() and buffer.numel()]
        if self.count == 1 or not moving:
            return
        own = torch.cat([buffer.flatten().double() for buffer in moving])
        one = own.clone() if self.number == 0 else torch.zeros_like(own)
        first = self.fabric.all_reduce(one, reduce_op="sum")
        apart = self.fabric.all_reduce((own != first).double(), reduce_op="sum") > 0
        settled = torch.where(apart, self.fabric.all_reduce(own.clone(), reduce_op="mean"), own)
        parts = torch.split(settled, [buffer.numel() for buffer in moving])
        for buffer, part in zip(moving, parts, strict=True):
            buffer.copy_(part.view_as(buffer))

    def first(self, value: T) -> T:
        """What the first of them has."""
        if self.count == 1:
            return value
        said: T = self.fabric.broadcast(value, src=0)
        return said


def launch(count: int, device: str, do: Callable[[Ranks], None]) -> None:
    """Call `do(ranks)` in a process for each of `count` devices; they end with this one, however that ends.

    Args:
        count: how many.
        device: `cpu`, where devices are processes that talk by gloo, or `cuda`, by NCCL.
        do: can be pickled.

    Raises:
        ConfigError: `plait[finetune]` is not installed, or there are not so many devices.
        PlaitError: one of the processes failed.
    """
    failed = (ProcessRaisedException, ProcessExitedException)
    with _environment_kept():
        fabric = fabric_of(count, device)
        try:
            # A function as it is, for Fabric looks into whatever it can take apart.
            fabric.launch(_be_one, partial(bound(do, device)))
        except failed as error:
            said = str(error).strip().splitlines()[-1]
            raise PlaitError(f"train.devices: one of {count} processes failed: {said[:200]}") from error


def fabric_of(count: int, device: str) -> Any:
    """What starts and connects a process for each of `count` devices.

    Raises:
        ConfigError: `plait[finetune]` is not installed, or there are not so many devices.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ConfigError(
            "train.devices: lightning-fabric is not installed: pip install 'plait[finetune]'"
        ) from error
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"train.devices: {count} on {device}, expected --device cpu or cuda")
    if device == "cuda" and count > torch.cuda.device_count():
        raise ConfigError(
            f"train.devices: {count}, expected at most {torch.cuda.device_count()}, as are here"
        )
    return Fabric(accelerator=device, devices=count, strategy="ddp_spawn")


def _be_one(fabric: Any, do: Callable[[Ranks], None]) -> None:
    follow_parent()
    do(Ranks(fabric.global_rank, fabric.world_size, fabric))


@contextmanager
def _environment_kept() -> Iterator[None]:
    """What Fabric writes into the environment is for those that it starts."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
