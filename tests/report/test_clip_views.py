"""What is shown of a clip: films, joints, signals, each the clip's own."""

import io

import av
import numpy as np
import pytest
import torch
from tests.report.test_sheet import Coloured

from plait.report.clip_views import BONES, filmed, flattened, frames, moving_joints, signals
from plait.report.sheet import is_joints
from plait.types import Clip, Modality, Readings, Recording

CLIP = Clip("r1/0000", "r1", "1", "red", 1.0, 3.0)
TIMES = np.arange(50) / 10
BODY = np.random.default_rng(0).normal(size=(50, 20, 3))
DEPTH = np.zeros((50, 48, 64), np.uint16)
DEPTH[:, 8:40, 16:48] = 2000
RECORDING = Recording(
    "r1",
    "1",
    {
        "video": Coloured(),
        "wrist": Readings(TIMES, np.sin(np.arange(100.0)).reshape(50, 2)),
        "body": Readings(TIMES, BODY),
        "depth": Readings(TIMES, DEPTH),
    },
    (),
)


def modality(name, samples=20, rate_hz=None, prepare=torch.from_numpy):
    return Modality(name, (name,), samples, rate_hz, prepare, lambda shape: torch.nn.Identity())


VIDEO, WRIST, SKELETON = modality("video", 16, 8.0), modality("wrist"), modality("body")


def decoded(film):
    with av.open(io.BytesIO(film)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_films_hold_the_clip():
    shown = decoded(filmed(VIDEO, RECORDING, CLIP))
    assert len(shown) == 15 and shown[0].shape == (192, 192, 3)
    red, green = shown[2][96, 96].astype(int), shown[-2][96, 96].astype(int)
    assert red[0] > 200 > 90 > red[1] and green[1] > 150 > 90 > green[0]  # red until 2 s, then green
    assert filmed(WRIST, RECORDING, CLIP) is None and filmed(SKELETON, RECORDING, CLIP) is None


def test_depth_is_shown_as_the_network_is_given_it():
    def left_half(depth):
        return torch.from_numpy(depth.astype(np.float32))[:, :, :32] / 2000

    shown = frames(modality("depth", 10, prepare=left_half), RECORDING, CLIP, np.array([1.5, 2.0]), 48)
    assert len(shown) == 2 and shown[0].shape == (48, 48, 3)
    # the person fills the crop's right half
    assert shown[0][24, 44].min() > 240 and shown[0][24, 10].max() == 0
    raw = frames(
        modality("depth", 10, prepare=lambda d: torch.zeros(3)), RECORDING, CLIP, np.array([1.5]), 48
    )
    assert raw[0][24, 24].min() > 0  # what is no picture any more leaves the picture as recorded


def test_signals_are_the_clip_s_own():
    found = signals(WRIST, RECORDING, CLIP)
    assert found["modality"] == "wrist" and len(found["lines"]) == 2 and len(found["lines"][0]) == 120
    line = RECORDING.streams["wrist"].at(np.linspace(1, 3, 120))[:, 0]
    assert found["lines"][0] == pytest.approx((line - line.min()) / (line.max() - line.min()), abs=1e-3)
    assert signals(VIDEO, RECORDING, CLIP) is None and signals(SKELETON, RECORDING, CLIP) is None


def test_joints_move_as_they_did_upright():
    found = moving_joints("UTD-MHAD", SKELETON, RECORDING, CLIP)
    assert len(found["frames"]) == 32 and len(found["frames"][0]) == 20 and found["bones"] == ()
    assert (
        moving_joints("any", WRIST, RECORDING, CLIP) is None
        and moving_joints("any", VIDEO, RECORDING, CLIP) is None
    )
    first = RECORDING.streams["body"].at(np.array([1.0]))[0]
    shown = np.array(found["frames"][0])
    assert np.argmin(shown[:, 1]) == np.argmax(first[:, 1])  # what is highest has the smallest y
    assert np.argmax(shown[:, 0]) == np.argmax(first[:, 0])
    flat = flattened(BODY)
    assert flat.min() == pytest.approx(0) or flat.max() == pytest.approx(1)
    distances = [np.linalg.norm(a[0] - a[1]) for a in (flat[7], BODY[7, :, :2])]
    others = [np.linalg.norm(a[3] - a[9]) for a in (flat[7], BODY[7, :, :2])]
    # the same scale along both axes
    assert distances[0] / distances[1] == pytest.approx(others[0] / others[1])


def test_bones_make_one_body():
    bones = BONES["UTD-MHAD", "skeleton"]
    reached = {0}
    for _ in bones:
        reached |= {joint for bone in bones if reached & set(bone) for joint in bone}
    assert reached == set(range(20)) and len(bones) == 19


def test_joints_are_many_points_in_space():
    assert (
        is_joints(np.zeros((20, 3))) and not is_joints(np.zeros((2, 3))) and not is_joints(np.zeros((20, 6)))
    )
    assert not is_joints(np.zeros(60))
