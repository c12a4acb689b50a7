"""A data set of tiny films and a signal, and a network in blocks whose weights are drawn."""

import copy
import os

import numpy as np
import torch
from torch import nn

from plait.encoders.chain import Chain
from plait.types import Dataset, Modality, Readings, Recording, Span
from tests.tiny import Linear

SUBJECTS = ("1", "2", "3", "4")
ACTIVITIES = ("left", "right")


def recordings(data):
    for subject in SUBJECTS:
        rng = np.random.default_rng(int(subject))
        times, spans = np.arange(140) / 10, []
        film, hand = rng.normal(0, 0.3, (140, 3, 3, 3)), rng.normal(0, 0.5, (140, 2))
        for at in range(7):
            inside = slice(at * 20, at * 20 + 20)
            film[inside, :, 0 if at % 2 else 2] += 1
            hand[inside] += at % 2
            spans.append(Span(at * 2.0, at * 2.0 + 1.9, ACTIVITIES[at % 2]))
        streams = {"film": Readings(times, film), "hand": Readings(times, hand)}
        yield Recording(f"r{subject}", subject, streams, tuple(spans))


def tensor(values):
    return torch.from_numpy(values).float()


class Unit(nn.Sequential):
    """A block of its own: what it holds is not taken apart."""


def unit(channels_in, channels):
    convolution = nn.Conv3d(channels_in, channels, 3, padding=1)
    return Unit(convolution, nn.BatchNorm3d(channels), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.inner = unit(channels, channels)

    def forward(self, x):
        return x + self.inner(x)


class Small(nn.Module):
    """Three convolutions with normalisations; the second is in a residual block."""

    def __init__(self, shape, channels=6, wide=False):
        super().__init__()
        width = shape[1] if wide else channels
        parts = {"entry": unit(3, channels), "middle": Residual(channels), "last": unit(channels, width)}
        self.parts = nn.ModuleDict(parts)

    def forward(self, clips):
        maps = clips.permute(0, 4, 1, 2, 3)
        for part in self.parts.values():
            maps = part(maps)
        return maps.permute(0, 2, 3, 4, 1)

    def chain(self):
        return Chain(dict(self.parts.items()), self.up_to, False)

    def up_to(self, count):
        front = copy.copy(self)
        front._modules = {"parts": nn.ModuleDict(dict(list(self.parts.items())[:count]))}
        return front


class Published(Small):
    """The same with weights that are read, as of a file that only its code names."""

    def __init__(self, shape, **options):
        super().__init__(shape, **options)
        for name, part in self.parts.items():
            part.get_submodule("inner.0" if name == "middle" else "0").bias.data += float(
                os.environ.get(f"FILMED_{name}", "0")
            )


class Shown(Small):
    """The same, which wants to see training clips; neither half of it does."""

    def calibrate(self, clips):
        raise AssertionError

    def up_to(self, count):
        front = super().up_to(count)
        front.__class__ = Small
        return front


FILMED = Dataset(
    name="filmed",
    activities=ACTIVITIES,
    modalities=(
        Modality("film", ("film",), 4, None, tensor, Linear),
        Modality("hand", ("hand",), 6, None, tensor, Linear),
    ),
    recordings=recordings,
    cite="none",
)
NETWORK = "tests.training.filmed:Small"
TUNED = {"use": NETWORK, "trainable": "mid*"}


def study(encoder=TUNED, train=None, **own):
    """A study that trains blocks of a film's network, by plain descent, in the form of a study file."""
    descent = {"optimizer": "torch.optim:SGD", "args": {"lr": 0.05}, "batch_size": 5, "max_epochs": 2}
    return {
        "name": "filmed",
        "dataset": "tests.training.filmed:FILMED",
        "modalities": ["film", "hand"],
        "protocol": {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["4"]},
        "train": descent | (train or {}),
        "methods": {"tuned": {"use": "plait.fusion:Concat", "encoders": {"film": encoder}}},
        "doctor": False,
    } | own
