"""The tiny data set and the world of recognisers, with streams that stop early or are not there at all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from plait.types import Readings
from tests import tiny
from tests.recogniser import world

FILE = "absent.json"  # {recording: {stream: seconds after which it is silent; 0: it is not there}}


def put(folder, absent):
    """A folder of data that lacks this."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(absent))
    return folder


def without(recording, absent):
    """A recording without some of its readings: streams that are not there, end, or say NaN from then on."""
    streams = dict(recording.streams)
    for name, stop_s in absent.items():
        stream = streams.pop(name)
        if stop_s > 0:
            before = stream.times < stop_s
            streams[name] = Readings(stream.times[before], stream.values[before])
        elif stop_s < 0:
            values = np.where(
                (stream.times < -stop_s)[:, None], stream.values.reshape(len(stream.times), -1), np.nan
            )
            streams[name] = Readings(stream.times, values.reshape(stream.values.shape))
    return replace(recording, streams=streams)


def _less(recordings, data):
    absent = json.loads((Path(data) / FILE).read_text())
    for recording in recordings(data):
        yield without(recording, absent.get(recording.name, {}))


def tiny_recordings(data):
    return _less(tiny.recordings, data)


def world_recordings(data):
    return _less(world.recordings, data)


class Doubled(nn.Module):
    """A frozen encoder of features."""

    def __init__(self, shape):
        super().__init__()
        self.register_buffer("weight", torch.full((), 2.0))

    def forward(self, x):
        return x * self.weight


TINY = replace(tiny.TINY, recordings=tiny_recordings)
WORLD = replace(world.WORLD, recordings=world_recordings)
