"""Channels about their mean and spread in the training clips: exact, and the same in any batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plait.datasets.glovid import GLOVID
from plait.datasets.simulated import SIMULATED
from plait.encoders.glove import GloveNet, SignalNet
from plait.encoders.standardise import Standardise, calibrated
from plait.errors import ShapeError


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(1e-3, 1e5), st.floats(-1e4, 1e4))
def test_mean_and_sd_are_numpy_s_however_clips_come(seed, size, scale, shift):
    rng = np.random.default_rng(seed)
    clips = (shift + scale * rng.normal(size=(12, 7, 3))).astype(np.float32)
    own = Standardise(3)
    own.calibrate(torch.from_numpy(part) for part in np.split(clips, range(size, 12, size)))
    rows = clips.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(own.mean.numpy(), rows.mean(0), rtol=1e-5, atol=1e-5 * scale)
    if scale > 1e-4 * abs(shift):
        np.testing.assert_allclose(own.sd.numpy(), rows.std(0), rtol=1e-4)


def test_a_constant_channel_is_centred_and_no_more():
    clips = torch.full((4, 5, 2), 0.1)
    clips[..., 1] = torch.randn(4, 5)
    own = Standardise(2)
    own.calibrate([clips])
    assert own.sd[0] == 1 and own(clips)[..., 0].abs().max() < 1e-6
    assert own(clips + 1)[..., 0].sub(1).abs().max() < 1e-6  # not blown up where it moves at last


def test_until_then_readings_pass_as_they_are_and_there_is_nothing_to_train():
    own, clips = Standardise(2), torch.randn(3, 4, 2)
    assert (
        torch.equal(own(clips), clips)
        and not list(own.parameters())
        and set(own.state_dict()) == {"mean", "sd"}
    )


@pytest.mark.parametrize("clips", [[], [torch.zeros(2, 5, 4)]])
def test_no_clips_or_others_are_refused(clips):
    with pytest.raises(ShapeError, match="standardise: got"):
        Standardise(3).calibrate(clips)


@pytest.mark.parametrize("dataset", [GLOVID, SIMULATED], ids=lambda dataset: dataset.name)
def test_a_clip_s_grid_in_training_does_not_depend_on_its_batch(dataset):
    encoder, units = dataset.modality("gloves").encoder((134, 18)), torch.tensor([1023.0, 9.81, 1e-3] * 6)
    clips = units * torch.randn(9, 134, 18) + units
    encoder.calibrate(torch.split(clips, 4))
    encoder.train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    alone, among = encoder(clips[:1]), encoder(torch.cat([clips[:1], 50 * clips[5:]]))[:1]
    torch.testing.assert_close(alone, among, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(encoder.eval()(clips[:1]), alone, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_who_sees_the_clips_as_they_are_is_found():
    net, own = GloveNet(standardise=True), Standardise(18)
    assert list(calibrated(net)) == [net] and list(calibrated(nn.Linear(2, 2))) == []
    assert list(calibrated(nn.Sequential(own, nn.Linear(18, 2)))) == [own]
    assert list(calibrated(nn.Sequential(nn.Linear(18, 18), own))) == []  # what it sees is not the clips
    plain = SignalNet((60, 4))
    plain.calibrate(iter(()))  # nothing to learn, nothing looked at
    assert "entry.mean" not in plain.state_dict()
