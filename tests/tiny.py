"""A few tiny recordings whose label needs both sensors, and networks to match: studies in a second."""

import numpy as np
import torch
from torch import nn

from plait.encoders.standardise import Standardise
from plait.types import Dataset, Modality, Readings, Recording, Span

SUBJECTS = ("1", "2", "3", "10")
ACTIVITIES = ("lo lo", "lo hi", "hi lo", "hi hi")


def recordings(data):
    for subject in SUBJECTS:
        rng = np.random.default_rng(int(subject))
        times, spans = np.arange(400) / 10, []
        a, b = rng.normal(0, 0.3, (400, 2)), rng.normal(0, 0.3, (400, 2, 3))
        for at in range(16):
            activity = ACTIVITIES[at % 4]
            inside = slice(at * 20, at * 20 + 20)
            first, second = activity.split()
            a[inside] += 1 if first == "hi" else -1
            b[inside] += 1 if second == "hi" else -1
            spans.append(Span(at * 2.0, at * 2.0 + 1.9, activity))
        streams = {"a": Readings(times, a), "b": Readings(times, b)}
        yield Recording(f"r{subject}", subject, streams, tuple(spans))


class Linear(nn.Module):
    """Every reading through one linear layer: a grid of the signal's own axes but the last."""

    def __init__(self, shape, channels=4):
        super().__init__()
        self.linear = nn.Linear(shape[-1], channels)

    def forward(self, x):
        return self.linear(x).relu()


class Normed(nn.Module):
    """A linear layer behind a batch normalisation, whose statistics move with every batch in training."""

    def __init__(self, shape, channels=4):
        super().__init__()
        self.norm = nn.BatchNorm1d(shape[-1])
        self.linear = nn.Linear(shape[-1], channels)

    def forward(self, x):
        return self.linear(self.norm(x.flatten(0, -2)).view(x.shape)).relu()


class Standardised(nn.Module):
    """A linear layer behind the mean and SD of the training clips."""

    def __init__(self, shape, channels=4):
        super().__init__()
        self.entry = Standardise(shape[-1])
        self.linear = nn.Linear(shape[-1], channels)

    def calibrate(self, clips):
        self.entry.calibrate(clips)

    def forward(self, x):
        return self.linear(self.entry(x)).relu()


class Unshown(nn.Module):
    """The same, but nothing shows its part the training clips; where `own`, it holds numbers already."""

    def __init__(self, shape, channels=4, own=False):
        super().__init__()
        self.entry = Standardise(shape[-1])
        self.linear = nn.Linear(shape[-1], channels)
        if own:
            self.entry.sd.fill_(2.0)

    def forward(self, x):
        return self.linear(self.entry(x)).relu()


def behind(shape):
    """A part that is calibrated, but does not see the clips."""
    return nn.Sequential(nn.Linear(shape[-1], 4), Standardise(4))


class Least(nn.Module):
    """Readings above the least of the training clips: a part of one's own, NaN until it is shown them."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("least", torch.full((channels,), float("nan")))

    def calibrate(self, clips):
        self.least.copy_(torch.stack([batch.flatten(0, -2).amin(0) for batch in clips]).amin(0))

    def forward(self, x):
        return x - self.least.nan_to_num()


class Above(nn.Module):
    """A linear layer behind such a part, which nobody shows the clips."""

    def __init__(self, shape, channels=4):
        super().__init__()
        self.entry = Least(shape[-1])
        self.linear = nn.Linear(shape[-1], channels)

    def forward(self, x):
        return self.linear(self.entry(x)).relu()


class Calling(Above):
    def calibrate(self, clips):
        self.entry.calibrate(clips)


class Filling(Above):
    def calibrate(self, clips):
        self.entry.least.zero_()


def in_front(shape):
    """Such a part in front, where plait shows it the clips."""
    return nn.Sequential(Least(shape[-1]), nn.Linear(shape[-1], 4))


class Unwilling(Linear):
    def calibrate(self, clips):
        raise ValueError("an encoder's own trouble")


class Scores(nn.Module):
    """A method of one's own over the means of grids, which gives `more` scores than there are activities."""

    def __init__(self, shapes, classes, more=0):
        super().__init__()
        self.linear = nn.Linear(sum(shape[-1] for shape in shapes.values()), classes + more)

    def forward(self, grids):
        means = [grid.flatten(1, -2).mean(dim=1) for grid in grids.values()]
        return self.linear(torch.cat(means, dim=1))


class Shares(Scores):
    """The same, but for a softmax that is taken of them anyway."""

    def forward(self, grids):
        return super().forward(grids).softmax(dim=1)


def tensor(values):
    return torch.from_numpy(values).float()


def double(batch):
    return batch * 2 * torch.rand(len(batch), *[1] * (batch.ndim - 1))


def halve(batch):
    return batch[:, ::2]


def failing(shape):
    raise ValueError("an encoder's own trouble")


TINY = Dataset(
    name="tiny",
    activities=ACTIVITIES,
    modalities=(
        Modality("a", ("a",), 8, None, tensor, Linear),
        Modality("b", ("b",), 6, None, tensor, Linear),
    ),
    recordings=recordings,
    cite="none",
)


def study(**own):
    """A study of every kind of method over TINY, in the form of a study file."""
    return {
        "name": "tiny",
        "dataset": "tests.tiny:TINY",
        "modalities": ["a", "b"],
        "seeds": [0, 1],
        "train": {"max_epochs": 3, "args": {"lr": 0.01}},
        "methods": {
            "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
            "b": {"use": "plait.fusion:Single", "args": {"modality": "b"}},
            "average": {"average": ["a", "b"]},
            "concat": {"use": "plait.fusion:Concat"},
            "a-led": {
                "use": "plait.fusion:Led",
                "args": {"lead": "a"},
                "augment": {"a": "tests.tiny:double"},
            },
        },
    } | own
