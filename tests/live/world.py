"""Recordings that are disturbed in every way, and what arrives of them in disorder."""

import math
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import polars as pl
import torch
from torch import nn

from plait.config import Method
from plait.keying import source_key
from plait.live.events import Arrived, Ended
from plait.objects import resolve
from plait.recogniser.held import code_of
from plait.recogniser.model import (
    EncoderFacts,
    ModelFacts,
    NetworkFacts,
    SensorFacts,
    Training,
    write_model,
)
from plait.recordings.folder import Clock, Description, LogFile, Synced, write_description, write_sync
from plait.recordings.sensors import SensorLog
from plait.recordings.video import Video
from plait.training.network import build
from plait.types import Dataset, Modality, Recording

RATE_HZ, SECONDS, SIDE = 15, 12.0, 16


def film(file, times):
    """A video whose pictures appear at `times`, each of another grey."""
    with av.open(str(file), "w") as container:
        track = container.add_stream("mpeg4", rate=RATE_HZ)
        track.width = track.height = SIDE
        track.pix_fmt, track.time_base = "yuv420p", Fraction(1, 1000)
        track.codec_context.time_base = Fraction(1, 1000)
        track.codec_context.gop_size = 8
        for number, time_s in enumerate(times):
            grey = np.full((SIDE, SIDE, 3), (number * 37) % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return Video(file, SIDE, None)


def irregular(rng, rate_hz, lasts_s=SECONDS):
    """Times of a sensor with jitter, drops, and perhaps a hole, a late start or an early end."""
    times = np.arange(0, lasts_s, 1 / rate_hz)
    times = times + rng.uniform(-0.3, 0.3, len(times)) / rate_hz * rng.integers(2)
    times = times[rng.random(len(times)) > rng.choice([0.0, 0.02, 0.3])]
    if rng.random() < 0.5:  # dies and comes back
        dead_s = rng.uniform(0, lasts_s)
        times = times[(times < dead_s) | (times > dead_s + rng.choice([0.4, 0.9, 1.1, 3.0]))]
    if rng.random() < 0.3:
        times = times[times > rng.uniform(0, 3)]
    if rng.random() < 0.3:
        times = times[times < rng.uniform(lasts_s - 3, lasts_s)]
    return times


def log(rng, rate_hz, clock):
    """A sensor log, whose columns may lack numbers for a while, on a clock of its own."""
    times = clock(np.unique(np.round(irregular(rng, rate_hz), 6)))
    values = rng.normal(size=(len(times), 3)).astype(np.float32)
    if rng.random() < 0.4:
        lost_s = rng.uniform(0, SECONDS)
        lost = (times > lost_s) & (times < lost_s + rng.choice([1.2, 3.0]))
        values[lost, rng.integers(3)] = np.nan
    return Synced(SensorLog(times, values, ("x", "y", "z")), clock)


def recording(folder, seed):
    """A video and two logs, disturbed as `seed` says."""
    rng = np.random.default_rng(seed)
    times = np.maximum(irregular(rng, RATE_HZ), 0)
    times = np.unique(np.round(times - times[0], 3))
    streams = {"video": film(folder / f"{seed}.mp4", times)}
    streams["left"] = log(rng, rng.choice([20.0, 50.0, 100.0]), Clock(1.25, 80.0))
    streams["right"] = log(rng, rng.choice([20.0, 50.0]), Clock(-0.5))
    return Recording(f"r{seed}", "1", streams, ())


def folder_of(root, seed):
    """A recording of `seed` as `plait ingest` and `plait sync` leave it."""
    root.mkdir(parents=True)
    whole = recording(root, seed)
    logs, clocks = {}, {}
    for name in ("left", "right"):
        stream = whole.streams[name]
        frame = pl.DataFrame({"time": stream.log.times})
        for column, values in zip(stream.log.names, stream.log.values.T, strict=True):
            frame = frame.with_columns(pl.Series(column, values).fill_nan(None))
        frame.write_csv(root / f"{name}.csv")
        logs[name] = LogFile(f"{name}.csv", ("x", "y", "z"), "time", absolute=True)
        clocks[name] = stream.clock
    write_description(root, Description("1", f"{seed}.mp4", logs))
    write_sync(root, clocks)
    return root


def recordings(data):
    """Of the world: none but those that are written."""
    return iter(())


def encoder(shape):
    """A grid of four channels without positions."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 4))


def model(folder, use="plait.fusion:Led", **args):
    """An untrained model of the world, in its folder."""
    modalities = {m.name: m for m in WORLD.modalities}
    shapes = {
        name: tuple(m.prepare(*[np.zeros((m.samples, *SIZES[s])) for s in m.streams]).shape)
        for name, m in modalities.items()
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(Method(use, args, modalities=tuple(shapes)), WORLD, shapes, "world")
    facts = ModelFacts(
        key="0",
        study="world",
        method="led",
        dataset="tests.live.world:WORLD",
        activities=WORLD.activities,
        sensors={
            name: SensorFacts(m.streams, m.samples, shapes[name], code_of(m.prepare), m.rate_hz)
            for name, m in modalities.items()
        },
        networks={
            "led": NetworkFacts(
                use,
                source_key([resolve(use, "world")]),
                {name: EncoderFacts(shape, source_key([encoder])) for name, shape in shapes.items()},
                1,
                args,
            )
        },
        training=Training(("9",), 1, 0),
        seconds=2.0,
        stride_s=0.3,
    )
    write_model(folder, facts, {"led": network}, "A model of nothing.")
    return folder


def plain(*arrays):
    """Readings as they are."""
    return torch.from_numpy(np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1))


MODALITIES = [
    Modality("video", ("video",), 20, 10.0, plain, encoder),
    Modality("whole", ("video",), 5, None, plain, encoder),
    Modality("left", ("left",), 60, 30.0, plain, encoder),
    Modality("hands", ("left", "right"), 80, 50.0, plain, encoder),
]
SIZES = {"video": (224, 224, 3), "left": (3,), "right": (3,)}
WORLD = Dataset("world", ("one", "two", "three"), tuple(MODALITIES), recordings, "nobody")


class Disturbance(NamedTuple):
    """How readings arrive: later by up to `delay_s`, each stream in its own order within `disorder_s`."""

    delay_s: float = 0.0
    disorder_s: float = 0.0
    seed: int = 0


def arriving(events, how):
    """Events in the order in which they arrive, one reading each."""
    rng = np.random.default_rng(how.seed)
    streams = {}
    for event in events:
        if isinstance(event, Ended):
            streams.setdefault(event.stream, []).append((np.inf, event))
            continue
        for own_s, value in zip(event.times, event.values, strict=True):
            one = Arrived(event.stream, np.array([own_s]), value[None], event.arrived_s)
            place_s = own_s + rng.uniform(0, how.disorder_s)
            streams.setdefault(event.stream, []).append((place_s, one))
    found = []
    for places in streams.values():
        last_s = 0.0
        for _, event in sorted(places, key=lambda place: place[0]):
            last_s = max(last_s, event.arrived_s + rng.uniform(0, how.delay_s))
            found.append(event._replace(arrived_s=last_s))
    return sorted(found, key=lambda event: event.arrived_s)
