"""A frozen encoder before a recogniser: frames that windows share are looked at once, to the same numbers."""

import pytest
import torch
from torch import nn

from plait.encoders.frames import FrameNet
from plait.features import Extraction
from plait.recogniser.recogniser import Front

FRAMES, SHAPE = 6, (6, 8, 8, 3)
STARTS = (0, 2, 3, 3, 9, 15, 1)  # of windows, in frames
COMING = (6, 2, 1, 0, 6, 6, 6)  # frames of each that were not in the one before


def front(**settings):
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 5, 3, 2), nn.BatchNorm2d(5), nn.ReLU6())
    network[1].running_mean.normal_()
    return Front("video", Extraction("nobody:reads"), FrameNet(network, SHAPE, **settings).eval(), "cpu")


def counted(one):
    """How many clips each call of an encoder is given."""
    calls, run = [], one.run

    def counting(clips):
        calls.append(tuple(clips.shape[:2]))
        return run(clips)

    one.run = counting
    return calls


@pytest.mark.parametrize("pool", ["none", "space"])
def test_shared_frames_are_looked_at_once_and_come_to_the_same(pool):
    film = torch.rand(30, *SHAPE[1:]).half()
    seen = front(pool=pool)
    seen(film[-FRAMES:])
    calls = counted(seen)
    for start, new in zip(STARTS, COMING, strict=True):
        window = film[start : start + FRAMES]
        calls.clear()
        features = seen(window)
        assert calls == [(1, 1)] * new
        assert torch.equal(features, front(pool=pool)(window))  # which has seen nothing before
        torch.testing.assert_close(features, seen.encoder(window.float()[None])[0], atol=2e-3, rtol=2e-3)


def test_a_still_camera_is_looked_at_once_and_a_window_may_be_written_over():
    still = torch.rand(SHAPE[1:]).expand(SHAPE).clone()
    seen = front()
    before = seen(still)
    calls = counted(seen)
    assert torch.equal(seen(still), before) and not calls
    still[2:] = 0.25  # in place, as whoever reads live may do
    assert torch.equal(seen(still), front()(still)) and calls == [(1, 1)]


def test_a_window_may_be_looked_at_before_it_is_over():
    film = torch.rand(40, *SHAPE[1:]).half()
    seen = front()
    calls = counted_from(seen, film)
    for start in (0, 3, 9, 4):
        window = film[start : start + FRAMES]
        for number in range(FRAMES):
            seen(window[number : number + 1])
        calls.clear()
        assert torch.equal(seen(window), front()(window)) and not calls


def counted_from(one, film):
    """As `counted`, of an encoder that has looked at something."""
    one(film[-FRAMES:])
    return counted(one)


@pytest.mark.parametrize("settings", [{"neighbours": True}, {"pool": "all"}])
def test_a_grid_that_mixes_frames_is_made_of_whole_windows(settings):
    film = torch.rand(30, *SHAPE[1:])
    seen = front(**settings)
    seen(film[:FRAMES])
    calls = counted(seen)
    window = film[2 : 2 + FRAMES]
    assert torch.equal(seen(window), front(**settings)(window)) and calls == [(1, FRAMES)]
