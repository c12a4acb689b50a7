"""A job of plait's ends in the numbers of the same written plainly, from the same seed, up to rounding.

The plain side is `benchmarks/textbook.py`: channels-first tensors, 1-D and 3-D convolutions, the whole
relation, joined grids, torch's RMSprop weight by weight, one loop. plait's takes the orders of products that
cost least, averages and grids known beforehand, all weights as one vector.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from plait.clips import Clips, Rows
from plait.compute.machine import settled, wide_products
from plait.config import Encoder, Method, Train
from plait.encoders.glove import GloveNet
from plait.training.course import Task
from plait.training.fit import fit
from plait.training.network import build
from plait.types import Clip, Dataset, Fold, Modality

ACTIVITIES = ("assemble", "drill", "inspect", "screw")
PEOPLE, EACH, EPOCHS = ("a", "b", "c", "d"), 12, 2
FOLD = Fold("a", ("c", "d"), ("b",), ("a",))
VIDEO = (3, 2, 2, 24)
# The trained rows of Tables 1 and 2, with the other heads and widths that rows beside them have.
ROWS = {
    "gloves": ("Single", {"modality": "gloves"}),
    "video": ("Single", {"modality": "video"}),
    "video, flatten": ("Single", {"modality": "video", "head": "flatten"}),
    "concat": ("Concat", {}),
    "concat, mean": ("Concat", {"head": "mean"}),
    "glove-led": ("Led", {"lead": "gloves"}),
    "glove-led, flatten": ("Led", {"lead": "gloves", "head": "flatten", "embedding": 40}),
    "video-led": ("Led", {"lead": "video", "embedding": 12}),
    "video-led, narrow": ("Led", {"lead": "video", "embedding": 3}),
    "video-led, flatten": ("Led", {"lead": "video", "head": "flatten"}),
    "symmetric": ("Symmetric", {}),
    "symmetric, flatten": ("Symmetric", {"head": "flatten"}),
}
SETTINGS = {"torch's RMSprop": {}, "decay": {"weight_decay": 1e-2, "momentum": 0.5}}


def textbook():
    """The module of the benchmarks, which are no package."""
    file = Path(__file__).parents[2] / "benchmarks" / "textbook.py"
    spec = importlib.util.spec_from_file_location("plain_side", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PLAIN = textbook()
DATASET = Dataset(
    "drawn",
    ACTIVITIES,
    (
        Modality("video", ("video",), 3, None, torch.from_numpy, lambda shape: nn.Identity()),
        Modality("gloves", ("gloves",), 134, None, torch.from_numpy, GloveNet),
    ),
    lambda data: iter(()),
    "Generated; no publication.",
)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips whose labels are in the data, the gloves' as in any encoder's input, the video's as features."""
    rng = np.random.default_rng(3)
    table = [
        Clip(f"{who}/{i}", who, who, ACTIVITIES[i % len(ACTIVITIES)], i, i + 1.0)
        for who in PEOPLE
        for i in range(EACH)
    ]
    labels = np.array([ACTIVITIES.index(clip.activity) for clip in table])
    video = rng.standard_normal((len(table), *VIDEO))
    video[..., : len(ACTIVITIES)] += 1.5 * np.eye(len(ACTIVITIES))[labels][:, None, None, None]
    gloves = rng.standard_normal((len(table), 134, 18))
    gloves[:, :, : len(ACTIVITIES)] += np.eye(len(ACTIVITIES))[labels][:, None]
    folder, arrays = tmp_path_factory.mktemp("arrays"), {}
    for name, array in (("video", np.maximum(video, 0)), ("gloves", gloves)):
        np.save(folder / f"{name}.npy", array.astype(np.float16))
        arrays[name] = Rows.of(folder / f"{name}.npy")
    shapes = {"video": VIDEO, "gloves": (134, 18)}
    return Clips(tuple(table), arrays, shapes)


def method_of(row):
    kind, args = ROWS[row]
    alone = args.get("modality")
    modalities = (alone,) if alone else ("gloves", "video")
    encoders = {} if alone == "gloves" else {"video": Encoder()}
    return Method(use=f"plait.fusion:{kind}", args=args, modalities=modalities, encoders=encoders)


def task_of(row, clips, seed, **args):
    train = Train(max_epochs=EPOCHS, args=Train().args | args)
    return Task(method_of(row), train, DATASET, clips, FOLD, seed=seed)


def plainly(task):
    """Losses, validation accuracies and test probabilities of a plain loop."""
    clips, method, train = task.clips, task.method, task.train
    everything = {
        name: torch.from_numpy(np.load(clips.arrays[name].files[0])).float() for name in clips.shapes
    }
    labels = torch.tensor([ACTIVITIES.index(clip.activity) for clip in clips.table])
    rows, val, test = (torch.from_numpy(clips.of(names)) for names in (FOLD.train, FOLD.val, FOLD.test))
    torch.manual_seed(task.seed)
    network = PLAIN.written_plainly(build(method, DATASET, clips.shapes, "row"))
    optimizer = torch.optim.RMSprop(network.parameters(), **train.args)
    shuffle = torch.Generator().manual_seed(task.seed)

    def scores(of):
        with torch.inference_mode():
            return PLAIN.forward(network.eval(), {n: everything[n][of] for n in method.modalities}).softmax(1)

    losses, accuracies, best, kept = [], [], -1.0, {}
    for _ in range(train.max_epochs):
        network.train()
        total = 0.0
        for batch in rows[torch.randperm(len(rows), generator=shuffle)].split(train.batch_size):
            logits = PLAIN.forward(network, {name: everything[name][batch] for name in method.modalities})
            loss = F.cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(batch)
        losses.append(total / len(rows))
        accuracies.append(float((scores(val).argmax(1) == labels[val]).double().mean()))
        if accuracies[-1] > best:
            best, kept = accuracies[-1], {n: w.clone() for n, w in network.state_dict().items()}
    network.load_state_dict(kept)
    return losses, accuracies, scores(test).numpy()


@pytest.fixture(autouse=True)
def as_jobs_multiply():
    with settled(), wide_products():
        yield


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_same_seed_ends_in_the_same_numbers(row, setting, clips):
    task = task_of(row, clips, seed=4, **SETTINGS[setting])
    losses, accuracies, probabilities = plainly(task)
    ours = fit(task)
    np.testing.assert_allclose(ours.history["loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(ours.history["val_accuracy"], accuracies)
    np.testing.assert_allclose(ours.test, probabilities, atol=2e-5)
    other = fit(task_of(row, clips, seed=5, **SETTINGS[setting]))  # what a seed makes is no rounding
    assert np.abs(other.test - ours.test).max() > 1e-2
