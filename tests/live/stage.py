"""A session of a camera, two sensors and a recogniser that do and say what they are told."""

import time
from threading import Event as Flag
from threading import Thread

import numpy as np
import torch
from torch import nn

from plait.fusion import Concat, Led
from plait.live.events import Arrived, Opening
from plait.live.pace import Pace
from plait.live.session import Session
from plait.recogniser.model import EncoderFacts, ModelFacts, NetworkFacts, SensorFacts, Training
from plait.recogniser.recogniser import assembled
from plait.training.network import Network
from plait.types import Dataset, Modality

ACTIVITIES = ("pour water", "stir", "tighten a screw", "open the jar", "wipe", "idle")
COLUMNS = {"left": ("x", "y", "z"), "right": ("acc x", "acc y", "acc z", "gyro x", "gyro y", "gyro z")}
RATES_HZ = {"left": 100, "right": 50}
WIDTH, HEIGHT = 160, 120
PATIENCE_S = 1.0


def pictures(video):
    return torch.from_numpy(video.astype(np.float32)) / 255


def readings(values):
    return torch.from_numpy(values)


class Seeing(nn.Module):
    """A grid of 5 steps, 6 by 6 places."""

    def __init__(self, shape):
        super().__init__()
        self.channels = nn.Linear(3, 4)

    def forward(self, clip):
        small = nn.functional.adaptive_avg_pool3d(clip.movedim(-1, 1), (5, 6, 6))
        return self.channels(small.movedim(1, -1))


class Feeling(nn.Module):
    """A grid of 10 steps."""

    def __init__(self, shape):
        super().__init__()
        self.channels = nn.Linear(shape[-1], 4)

    def forward(self, clip):
        return self.channels(nn.functional.adaptive_avg_pool1d(clip.movedim(-1, 1), 10).movedim(1, -1))


MODALITIES = (
    Modality("video", ("video",), 10, 10.0, pictures, Seeing),
    Modality("left", ("left",), 50, 50.0, readings, Feeling),
    Modality("right", ("right",), 50, 50.0, readings, Feeling),
)
DATASET = Dataset("stage", ACTIVITIES, MODALITIES, lambda data: iter(()), "nobody")
SHAPES = {"video": (10, HEIGHT, WIDTH, 3), "left": (50, 3), "right": (50, 6)}
GRIDS = {"video": (5, 6, 6, 4), "left": (10, 4), "right": (10, 4)}


class Stage:
    """A source whose streams fall silent while they are `dead`."""

    def __init__(self):
        self.dead, self._closed = set(), Flag()
        self.openings = (
            Opening("video", rate_hz=15.0),
            *(Opening(name, columns, RATES_HZ[name], 0.5) for name, columns in COLUMNS.items()),
        )

    def __iter__(self):
        last_s = time.monotonic()
        while not self._closed.wait(1 / 15):
            now_s = time.monotonic()
            for name in {"video", "left", "right"} - self.dead:
                rate_hz = RATES_HZ.get(name, 1)
                times = np.arange(np.ceil(last_s * rate_hz), np.ceil(now_s * rate_hz)) / rate_hz
                if name == "video":
                    yield Arrived(name, np.array([now_s]), picture(now_s)[None], now_s)
                elif len(times):
                    yield Arrived(name, times, waves(name, times), now_s)
            last_s = now_s

    def close(self):
        self._closed.set()


def picture(now_s):
    """A disc that goes round."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    x, y = WIDTH / 2 + 45 * np.cos(now_s), HEIGHT / 2 + 35 * np.sin(now_s)
    disc = np.hypot(rows - y, columns - x) < 18
    ground = np.stack([60 + rows // 2, 80 + columns // 3, 110 + 0 * rows], axis=-1)
    return np.where(disc[..., None], (240, 190, 70), ground).astype(np.uint8)


def waves(name, times):
    """Each column another wave."""
    phases = 2 * np.pi * np.outer(times, 0.3 + 0.25 * np.arange(len(COLUMNS[name])))
    return (np.sin(phases) * np.arange(1, len(COLUMNS[name]) + 1)).astype(np.float32)


class Played:
    """A session that runs in a thread; `says` is the activity that is recognised.

    Args:
        method: a fusion of `GRIDS`: `Led` has attention, `Concat` has none.
    """

    def __init__(self, method="led"):
        self.says, self.stage = ACTIVITIES[0], Stage()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            fusion = Led(GRIDS, 6, lead="video") if method == "led" else Concat(GRIDS, 6)
            encoders = {m.name: m.encoder(SHAPES[m.name]) for m in MODALITIES}
        facts = ModelFacts(
            key="0",
            study="workbench",
            method=method,
            dataset="tests.live.stage:DATASET",
            activities=ACTIVITIES,
            sensors={
                m.name: SensorFacts(m.streams, m.samples, SHAPES[m.name], "0", m.rate_hz) for m in MODALITIES
            },
            networks={
                method: NetworkFacts(
                    "", "0", {name: EncoderFacts(SHAPES[name], "0") for name in SHAPES}, 1, {}
                )
            },
            training=Training(("9",), 1, 0),
            seconds=1.0,
            stride_s=0.25,
        )
        recogniser = assembled(facts, DATASET, {method: Network(encoders, fusion)}, "cpu", "stage")
        scores = recogniser.scores

        def told(clip, features):
            found = 0.1 * scores(clip, features)
            found[ACTIVITIES.index(self.says)] += 0.9
            return found

        recogniser.scores = told
        self.session = Session(recogniser, [self.stage], Pace(), patience_s=PATIENCE_S)
        self._thread = Thread(target=self.session.run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.session.stop()
        self._thread.join()
