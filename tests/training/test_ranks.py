"""Several devices on one job add up to one: gradients, losses, statistics; here connected threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plait.training.course import Course, seeded
from plait.training.objectives.base import Draws
from plait.training.ranks import Ranks

COUNTS = st.integers(2, 9)


class Wire:
    """What connects devices: each sum goes round the ring, from the first to the last."""

    def __init__(self, count):
        self.count, self.given = count, [None] * count
        self.barrier = threading.Barrier(count, timeout=60)

    def at(self, number):
        wire = self

        class End:
            def all_reduce(self, tensor, reduce_op):
                wire.given[number] = tensor
                wire.barrier.wait()
                total = wire.given[0].clone()
                for other in wire.given[1:]:
                    total += other
                wire.barrier.wait()
                return total / wire.count if reduce_op == "mean" else total

        return End()


def on_all(count, do):
    """What `do(ranks)` comes to on each of so many devices."""
    wire = Wire(count)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(do, [Ranks(number, count, wire.at(number)) for number in range(count)]))


@pytest.mark.parametrize("clips, count", [(8, 2), (5, 2), (1, 3), (7, 3)])
def test_devices_share_a_batch_without_rest(clips, count):
    shares = [Ranks(number, count).share(clips) for number in range(count)]
    assert np.concatenate(shares).tolist() == list(range(clips))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(COUNTS, st.data())
def test_gradients_and_losses_are_summed_and_what_nobody_has_nobody_gets(count, data):
    """A weight without a gradient is left as it is; with one of zeros it would decay and go on."""
    shapes, kinds = [(2, 3), (), (4,), (1,)], [torch.float32, torch.float64, torch.float32, torch.bfloat16]
    has = [[data.draw(st.booleans()) for _ in shapes] for _ in range(count)]
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    made = [
        [
            torch.randn(shape, generator=generator, dtype=kind)
            for shape, kind in zip(shapes, kinds, strict=True)
        ]
        for _ in range(count)
    ]

    def add(ranks):
        weights = [nn.Parameter(torch.ones(s, dtype=kind)) for s, kind in zip(shapes, kinds, strict=True)]
        frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        for weight, gradient, there in zip(weights, made[ranks.number], has[ranks.number], strict=True):
            weight.grad = gradient.clone() if there else None
        loss = ranks.add([*weights, frozen], 0.25 * (ranks.number + 1))
        assert frozen.grad is None
        return loss, [weight.grad for weight in weights]

    for loss, gradients in on_all(count, add):
        assert loss == 0.25 * count * (count + 1) / 2
        for at, gradient in enumerate(gradients):
            parts = [made[number][at].double() for number in range(count) if has[number][at]]
            if not parts:
                assert gradient is None
                continue
            exact = 1e-12 if kinds[at] == torch.float64 else 1e-5 if kinds[at] == torch.float32 else 1e-1
            torch.testing.assert_close(gradient.double(), sum(parts), rtol=exact, atol=exact)


class Moving(nn.Module):
    """Buffers that are the same on all devices, some that each device has moved, and a count."""

    def __init__(self, number):
        super().__init__()
        draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
        self.register_buffer("constant", draw(300))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.register_buffer("moved", draw(5) + number)
        self.register_buffer("wide", draw(3, dtype=torch.float64) + number)
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("empty", torch.zeros(0))


@given(COUNTS)
def test_moving_statistics_are_the_mean_of_all_and_what_does_not_move_stays_to_the_bit(count):
    def settle(ranks):
        module = Moving(ranks.number)
        ranks.settle(module)
        return dict(module.named_buffers())

    before = [dict(Moving(number).named_buffers()) for number in range(count)]
    for after in on_all(count, settle):
        for name in ("constant", "mask", "count", "empty"):
            assert torch.equal(after[name], before[0][name]), name
        for name in ("moved", "wide"):
            mean = torch.stack([one[name].double() for one in before]).mean(0).to(after[name].dtype)
            torch.testing.assert_close(after[name], mean)


@pytest.mark.parametrize("count", [2, 3])
def test_clips_are_augmented_alike_on_all_devices_and_drop_out_otherwise_on_each(count):
    """Augmentations are seeded for the whole batch; what is drawn behind them is of a device's own clips."""
    clips = torch.rand(6, 4)
    augments = {"m": partial(seeded, lambda batch: batch + torch.rand(len(batch), 1), "draw")}
    whole, seen, drawn = augments["m"](clips), [], []
    for number in range(count):
        ranks = Ranks(number, count)
        inputs = SimpleNamespace(batch=lambda rows, given: ({"m": given["m"](clips[rows])}, {}), device="cpu")
        course = SimpleNamespace(inputs=inputs, ranks=ranks, draws=Draws(0, 1, 2))
        tensors, _ = Course._dealt(course, np.arange(6), ranks.share(6), augments)
        seen.append(tensors["m"])
        drawn.append(torch.rand(8))
    assert torch.equal(torch.cat(seen), whole)
    assert len({tuple(one.tolist()) for one in drawn}) == count
