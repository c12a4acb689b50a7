"""One trial of the hard world's knobs, in minutes: pictures are drawn and not filmed, clocks are the truth's.

    python benchmarks/simulated_knobs.py --seed 1 --only static [--frames 8] [--knob away=0.2 ...]

The single sensors of `studies/simulated-world.toml` are trained as there, in a bare loop: `static` with each
person left out (the next one does not train, as in the study), `gloves` and `video` in six folds of people.
No fusion is trained. Prints for each sensor its accuracy, SD over people and confusions. The trials of
docs/simulated.md are of this; what it came to is checked by `benchmarks/simulated_world.py`.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.cli.simulated import HEIGHT
from plait.datasets.glovid import EXPECTED_HANDS, READING_HZ, READINGS, glove_net
from plait.datasets.simulated import FRAME_HZ, FRAMES
from plait.encoders.grid import GridNet
from plait.features.engine import accelerate
from plait.pretrained import efficientnet_lite0
from plait.recordings.video import rgb
from plait.simulator.scene import Scene
from plait.simulator.sensors import glove_log
from plait.simulator.world import HARD, World
from plait.simulator.writer import READ, WINDOW_S, Settings, plan
from plait.study.load import load_study
from plait.study.shipped import study_file
from plait.training.course import optimizer_of
from simulated_world import SINGLES

ACTIVITIES = tuple(EXPECTED_HANDS)
CROP = 224
STUDY = load_study(study_file("simulated-world"))


class Person(NamedTuple):
    """Clips of one: features `(n, frames, 7, 7, 320)` or none, readings `(n, 134, 18)`, activities `(n,)`."""

    features: np.ndarray
    readings: np.ndarray
    activities: np.ndarray


class Wanted(NamedTuple):
    """Who is simulated, how, and how many frames of each clip are drawn."""

    subject: int
    clips: int
    seed: int
    world: World
    frames: int


@lru_cache(1)
def encoder(frames: int) -> Callable[[Tensor], Tensor]:
    """The frozen network, for clips of so many frames."""
    shape = (frames, CROP, CROP, 3)
    return accelerate(efficientnet_lite0(shape), torch.zeros(1, *shape))


def simulated(wanted: Wanted) -> Person:
    """One person's clips, in the middle of each stretch."""
    torch.set_num_threads(1)
    subject, clips, seed, world, count = wanted
    settings = Settings(seed, clips, HEIGHT, round(FRAME_HZ), world=world)
    made = plan(subject, settings)
    width = round(HEIGHT * 4 / 3 / 2) * 2
    scene = Scene(made.motion, made.look, width, HEIGHT, (seed, subject, 5), made.slips)
    logs = []
    for part, side in enumerate(("left", "right")):
        noise = [seed, subject, 3 + part]
        table, _ = glove_log(made.motion, side, made.stop_s, 0.0, 0.0, noise, made.worn[side])
        logs.append((table["time"].to_numpy() - 100.0, table.select(READ).to_numpy()))
    top, left = (HEIGHT - CROP) // 2, (width - CROP) // 2
    features, readings = [], []
    for stretch in made.stretches:
        start_s = (stretch.start_s + stretch.stop_s - WINDOW_S) / 2
        at = start_s + np.arange(READINGS) / READING_HZ
        both = [np.stack([np.interp(at, s, c) for c in log.T], 1) for s, log in logs]
        readings.append(np.concatenate(both, 1))
        if count:
            frames = scene.frames(start_s + np.arange(0, FRAMES, FRAMES // count) / FRAME_HZ)
            film = np.stack([frame.draw() for frame in frames])[:, top : top + CROP, left : left + CROP]
            with torch.inference_mode():
                features.append(encoder(count)(rgb(film)[None].float())[0].half().numpy())
    activities = np.array([ACTIVITIES.index(stretch.activity) for stretch in made.stretches])
    return Person(np.array(features), np.array(readings, np.float32), activities)


class Alone(nn.Module):
    """An encoder, a LayerNorm on its grid, the mean over places and times, a linear map."""

    def __init__(self, sensor: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder: nn.Module | None = None  # of static: what enters are means of normalised features
        channels = shape[-1]
        if sensor == "video":
            self.encoder, channels = GridNet(shape, **STUDY.encoders["video"].args), 48
        elif sensor == "gloves":
            self.encoder, channels = glove_net(shape), 64
        self.gain, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.linear = nn.Linear(channels, len(ACTIVITIES))

    def forward(self, clips: Tensor) -> Tensor:
        """Logits `(b, 8)`."""
        means = clips if self.encoder is None else normalised(self.encoder(clips.float()))
        logits: Tensor = self.linear(means * self.gain + self.bias)
        return logits


def normalised(grid: Tensor) -> Tensor:
    """Means `(b, channels)` over a grid whose places have been normalised."""
    return F.layer_norm(grid.float(), grid.shape[-1:]).flatten(1, -2).mean(1)


def fitted(sensor: str, clips: Tensor, labels: Tensor) -> nn.Module:
    """A network of one sensor, trained as the study trains it."""
    torch.manual_seed(0)
    network = Alone(sensor, tuple(clips.shape[1:]))
    train = STUDY.train
    steps = train.max_epochs * -(-len(labels) // train.batch_size)
    optimizer, schedule = optimizer_of(train, network, "train", steps)
    network.train()
    for _ in range(train.max_epochs):
        for rows in torch.split(torch.randperm(len(labels)), train.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(clips[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()


def predicted(sensor: str, clips: Tensor, labels: Tensor, subject: np.ndarray) -> np.ndarray:
    """The activity `(n,)` of each clip that a network says which has not seen its person."""
    people = [int(who) for who in np.unique(subject)]
    folds = [[who] for who in people] if sensor == "static" else [people[i::6] for i in range(6)]
    said = np.empty(len(labels), np.int64)
    for fold in folds:
        out = fold if len(fold) > 1 else [*fold, people[(people.index(fold[0]) + 1) % len(people)]]
        trains, tests = ~np.isin(subject, out), np.isin(subject, fold)
        known, new = clips[trains], clips[tests]
        if sensor == "gloves":
            centre, spread = known.mean((0, 1)), known.std((0, 1))
            known, new = (known - centre) / spread, (new - centre) / spread
        network = fitted(sensor, known, labels[trains])
        with torch.no_grad():
            said[tests] = torch.cat([network(part).argmax(1) for part in torch.split(new, 16)]).numpy()
    return said


def main() -> None:
    """Simulate, train, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--people", type=int, default=19)
    parser.add_argument("--clips", type=int, default=32, help="of each person")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", type=int, choices=(8, 16, 32), default=32, help="of each clip")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--knob", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--only", action="append", choices=SINGLES, help="by default all three")
    args = parser.parse_args()
    knobs = {name: float(value) for name, _, value in (knob.partition("=") for knob in args.knob)}
    sensors, world = args.only or [*SINGLES], replace(HARD, **knobs)
    frames = 0 if sensors == ["gloves"] else args.frames
    wanted = [Wanted(i, args.clips, args.seed, world, frames) for i in range(1, args.people + 1)]
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
        everybody = list(pool.map(simulated, wanted))
    torch.set_num_threads(1)
    subject = np.repeat([one.subject for one in wanted], args.clips)
    activities = np.concatenate([one.activities for one in everybody])
    features = torch.from_numpy(np.concatenate([one.features for one in everybody]))
    readings = torch.from_numpy(np.concatenate([one.readings for one in everybody]))
    inputs = {"gloves": readings, "video": features}
    if "static" in sensors:
        inputs["static"] = torch.cat([normalised(part) for part in torch.split(features, 32)])
    for sensor in sensors:
        said = predicted(sensor, inputs[sensor], torch.from_numpy(activities), subject)
        right = [100 * (said == activities)[subject == who].mean() for who in np.unique(subject)]
        print(f"{sensor}: {np.mean(right):.1f} %, SD over people {np.std(right, ddof=1):.1f}")
        confusions = np.zeros((len(ACTIVITIES), len(ACTIVITIES)), int)
        np.add.at(confusions, (activities, said), 1)
        for name, row in zip(ACTIVITIES, confusions, strict=True):
            print(f"  {name:24}", *(f"{count:4}" for count in row), flush=True)


if __name__ == "__main__":
    main()
