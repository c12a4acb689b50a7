"""Two sensors whose activity needs both, over whole recordings with unlabelled time between labels."""

import numpy as np
import torch

from plait.types import Dataset, Modality, Readings, Recording, Span
from tests.tiny import Linear

ACTIVITIES = ("low", "mixed", "high")
LEVELS = {"low": (-1, -1), "mixed": (-1, 1), "high": (1, 1)}
PEOPLE = ("1", "2", "3", "4")
SECONDS = 2.0


def recording(subject, number=0, lasts_s=90.0):
    """Labels of 6 to 12 s with up to 4 s between them; readings of two clocks."""
    rng = np.random.default_rng([int(subject), number])
    spans, at = [], float(rng.uniform(0.5, 2.0))
    while (length := float(rng.uniform(6, 12))) and at + length < lasts_s - 1:
        spans.append(Span(at, at + length, ACTIVITIES[len(spans) % 3]))
        at += length + (0.0 if rng.random() < 0.3 else float(rng.uniform(1, 4)))
    streams = {}
    for place, (name, rate_hz) in enumerate((("a", 20), ("b", 50))):
        times = np.arange(0, lasts_s, 1 / rate_hz)
        values = rng.normal(0, 0.5, (len(times), 2))
        for span in spans:
            values[(times >= span.start_s) & (times < span.stop_s)] += LEVELS[span.activity][place]
        streams[name] = Readings(times, values)
    return Recording(f"r{subject}-{number}", subject, streams, tuple(spans))


def recordings(data):
    for subject in PEOPLE:
        yield recording(subject)


def tensor(values):
    return torch.from_numpy(values).float()


WORLD = Dataset(
    "world",
    ACTIVITIES,
    (
        Modality("a", ("a",), 20, 20 / SECONDS, tensor, Linear),
        Modality("b", ("b",), 30, 30 / SECONDS, tensor, Linear),
    ),
    recordings,
    "nobody",
)


def study(**settings):
    """A study of every kind of method over the world."""
    return {
        "name": "world",
        "dataset": "tests.recogniser.world:WORLD",
        "modalities": ["a", "b"],
        "seeds": [0, 1],
        "protocol": {"val_subjects": 1},
        "train": {"max_epochs": 12, "args": {"lr": 0.02}},
        "methods": {
            "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
            "b": {"use": "plait.fusion:Single", "args": {"modality": "b"}},
            "average": {"average": ["a", "b"]},
            "concat": {"use": "plait.fusion:Concat", "args": {"head": "mean"}},
            "frozen": {
                "use": "plait.fusion:Symmetric",
                "encoders": {"a": {"from": "a", "frozen": True}, "b": {"from": "b", "frozen": True}},
            },
            "a-led": {"use": "plait.fusion:Led", "args": {"lead": "a"}},
        },
    } | settings
