"""Parts of somebody's own whose output for a clip is not that clip's and its weights' alone are named."""

import copy
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from plait.encoders.depth import DepthNet
from plait.encoders.glove import SignalNet
from plait.encoders.standardise import calibrated
from plait.features.alone import CLIPS
from plait.fusion import Concat, Led
from plait.training.alone import dependent
from plait.training.network import Network

SHAPE, GRID = (20, 3), (6, 4)


class Honest(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Linear(60, 24)

    def forward(self, x):
        return self.weights(self.seen(x).flatten(1)).view(-1, *GRID)

    def seen(self, x):
        return x


class Writes(Honest):
    def seen(self, x):
        x -= 4
        return x


class Draws(Honest):
    def seen(self, x):
        return F.dropout(x)


class Remembers(Honest):
    before = 0.0

    def seen(self, x):
        x, self.before = x + self.before, self.before + x.mean()
        return x


class Compares(Honest):
    def seen(self, x):
        return x - x.mean(dim=0)


class Ranks(Honest):
    def seen(self, x):
        return x + torch.arange(len(x), dtype=x.dtype).view(-1, 1, 1)


class NeedsTwo(Honest):
    def seen(self, x):
        return F.batch_norm(x.flatten(1), None, None, training=True).view_as(x)


class Copies(Honest):
    def seen(self, x):
        x = x.clone()
        x -= 4
        return x


def normed(*more, **settings):
    layers = nn.Linear(60, 24), nn.BatchNorm1d(24, **settings), *more
    return nn.Sequential(nn.Flatten(), *layers, nn.Unflatten(1, GRID))


def over_its_batch():
    return normed(track_running_stats=False)


def over_all_that_was_seen():
    return normed(nn.Dropout(0.5))


class Holes(Honest):
    def seen(self, x):
        return torch.where(x > 0.5, x, torch.nan)


class Gradients(Honest):
    def seen(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(x.pow(2).sum(), x)[0]


class ALittle(Honest):
    def seen(self, x):
        return 1e3 + x - x.mean(dim=0)


class Mean(nn.Module):
    def __init__(self, company, channels=GRID[-1]):
        super().__init__()
        self.last, self.company = nn.Linear(channels, 3), company

    def forward(self, grids):
        means = grids["a"].mean(dim=1)
        return self.last(means - means.mean(dim=0) if self.company else means)


def lines(make, method=partial(Mean, False), frozen=()):
    def anew():
        return Network({"a": make()}, method(), frozen)

    network = anew()
    shown = copy.deepcopy(network.encoders["a"])
    for part in calibrated(shown):
        part.calibrate([torch.rand(2, *SHAPE)])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.random.get_rng_state()
    found = list(dependent(network, {"a": SHAPE}, {"a": shown}, anew))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and torch.equal(state, torch.random.get_rng_state())
    return found


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (Writes, "encoders.a writes into what it is given"),
        (Draws, "encoders.a does not come to the same"),
        (Remembers, "encoders.a does not come to the same"),
        (Compares, "encoders.a makes of a clip what depends on the others"),
        (ALittle, "encoders.a makes of a clip what depends on the others"),
        (Ranks, "encoders.a makes of a clip what depends on the others"),
        (over_its_batch, "encoders.a (fails on a clip by itself|makes of a clip what depends)"),
        (NeedsTwo, "encoders.a fails on a clip by itself"),
    ],
)
def test_what_is_not_a_clip_s_alone_is_named(make, line):
    torch.manual_seed(0)
    found = lines(make)
    assert len(found) == 1
    assert re.match(line, found[0])


@pytest.mark.parametrize("make", [Honest, Copies, Holes, Gradients, over_all_that_was_seen])
def test_what_is_a_clip_s_alone_is_not(make):
    torch.manual_seed(0)
    assert not lines(make)


class Drawn(Honest):
    """A projection that is no buffer."""

    def __init__(self):
        super().__init__()
        self.by = torch.randn(3, 3)

    def seen(self, x):
        return x @ self.by


class DrawnElsewhere(Honest):
    def __init__(self):
        super().__init__()
        self.by = np.random.default_rng().normal()

    def seen(self, x):
        return x * self.by


class Temporary(Honest):
    def __init__(self):
        super().__init__()
        self.register_buffer("by", torch.randn(3, 3), persistent=False)

    def seen(self, x):
        return x @ self.by


class Calibrates(Honest):
    def __init__(self):
        super().__init__()
        self.mean = torch.zeros(3)

    def calibrate(self, clips):
        self.mean = torch.cat([*clips]).mean(dim=(0, 1))

    def seen(self, x):
        return x - self.mean


class Keeps(Calibrates):
    """As it should be."""

    def __init__(self):
        super().__init__()
        del self.mean
        self.register_buffer("mean", torch.zeros(3))


class Follows(Honest):
    """A running mean, in training only."""

    def __init__(self):
        super().__init__()
        self.mean = torch.zeros(3)

    def seen(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(dim=(0, 1))
        return x - self.mean


class Grows(Honest):
    """Has a buffer only once it has been shown clips."""

    def calibrate(self, clips):
        self.register_buffer("mean", torch.cat([*clips]).mean(dim=(0, 1)))


class Seeded(Honest):
    def __init__(self):
        super().__init__()
        self.by = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))

    def seen(self, x):
        return x @ self.by


class DrawnMean(Mean):
    def __init__(self):
        super().__init__(False)
        self.by = torch.randn(3)

    def forward(self, grids):
        return super().forward(grids) * self.by


def behind(make):
    return nn.Sequential(nn.Identity(), make())


@pytest.mark.parametrize(
    "make",
    [Drawn, DrawnElsewhere, Temporary, Calibrates, Follows, partial(behind, Drawn), partial(behind, Follows)],
)
def test_what_is_lost_with_a_job_is_named(make):
    torch.manual_seed(0)
    (line,) = lines(make)
    assert line.startswith("encoders.a comes to something else when it is made anew and given its weights")


def test_weights_that_do_not_fit_into_one_made_anew_are_named():
    (line,) = lines(Grows)
    assert line.startswith("encoders.a does not take its own weights") and "mean" in line


@pytest.mark.parametrize(
    "make", [Keeps, Seeded, partial(nn.Sequential, nn.Flatten(), nn.Unflatten(1, (10, 6)))]
)
def test_what_is_kept_or_made_alike_is_not(make):
    assert not lines(make, partial(Mean, False) if make in (Keeps, Seeded) else lambda: Mean(False, 6))


def test_what_is_frozen_is_not_trained():
    assert lines(Follows) and not lines(Follows, frozen=["a"])


def test_a_method_that_holds_what_is_lost_is_named():
    (line,) = lines(Honest, DrawnMean)
    assert line.startswith("method DrawnMean comes to something else")


def test_a_method_of_somebody_s_own_is_looked_at_too():
    assert not lines(Honest)
    (line,) = lines(Honest, partial(Mean, True))
    assert line.startswith("method Mean makes")


@pytest.mark.parametrize(
    ("encoder", "shape"), [(SignalNet((30, 3)), (30, 3)), (DepthNet((8, 16, 16)), (8, 16, 16))]
)
def test_plait_s_own_hold_to_it(encoder, shape):
    grid = tuple(encoder.eval()(torch.rand(1, *shape)).shape[1:])
    for method in (Led({"a": grid, "b": (5, 8)}, 3, lead="a"), Concat({"a": grid, "b": (5, 8)}, 3)):
        network = Network({"a": encoder, "b": nn.Identity()}, method).eval()
        clips = {"a": torch.rand(CLIPS, *shape), "b": torch.rand(CLIPS, 5, 8)}
        with torch.inference_mode():
            together = network(clips)
            alone = torch.cat([network({n: x[i : i + 1] for n, x in clips.items()}) for i in range(CLIPS)])
        assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)
