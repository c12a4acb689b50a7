"""Clips read at other places, against numpy and torch's own way of resampling pictures."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from plait.datasets.augment import paces, pictures_at, read_at, warp, zooms

SEEDS = st.integers(0, 2**31)


@given(
    seed=SEEDS,
    clips=st.integers(1, 4),
    samples=st.integers(1, 40),
    reading=st.sampled_from([(), (3,), (2, 5)]),
)
def test_readings_between_two_are_linear(seed, clips, samples, reading):
    generator = torch.Generator().manual_seed(seed)
    signal = torch.rand(clips, samples, *reading, generator=generator)
    at = torch.rand(clips, 7, generator=generator) * (samples - 1)
    at[:, 0], at[:, 1], at[:, 2] = 0, samples - 1, samples // 2  # both ends, and one where a reading is
    found = read_at(signal, at).reshape(clips, 7, -1)
    for clip in range(clips):
        lines = signal[clip].reshape(samples, -1).T.numpy()
        expected = np.stack([np.interp(at[clip], np.arange(samples), line) for line in lines], axis=1)
        np.testing.assert_allclose(found[clip], expected, atol=1e-5)


@given(
    seed=SEEDS, size=st.tuples(*[st.integers(1, 9)] * 2), frames=st.integers(1, 4), shift=st.floats(0, 0.5)
)
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_pictures_are_moved_as_torch_samples_a_grid(padding, seed, size, frames, shift):
    height, width = size
    torch.manual_seed(seed)
    clips = torch.rand(3, frames, height, width)
    torch.manual_seed(seed)
    theta = torch.zeros(3, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = 1 + (2 * torch.rand(2, 3) - 1) * 0.1
    theta[:, :, 2] = (2 * torch.rand(3, 2) - 1) * shift * 2
    grid = F.affine_grid(theta, list(clips.shape), align_corners=False)
    expected = F.grid_sample(clips, grid, align_corners=False, padding_mode=padding)
    torch.manual_seed(seed)
    rows, columns = zooms(3, height, width, shift)
    if padding == "border":
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    torch.testing.assert_close(pictures_at(clips, rows, columns), expected, atol=1e-5, rtol=0)


@given(seed=SEEDS, samples=st.integers(1, 60))
def test_a_warped_clip_is_read_in_order_and_nowhere_beyond_its_ends(seed, samples):
    torch.manual_seed(seed)
    at = paces(5, samples)
    assert at.min() >= 0 and at.max() <= samples - 1
    assert (at.diff(dim=1) >= 0).all()
    torch.manual_seed(seed)
    ramp = warp(torch.arange(samples, dtype=torch.float32).repeat(5, 1))
    torch.testing.assert_close(ramp, at, atol=1e-5 * samples, rtol=0)


def test_what_is_no_number_stays_none():
    clips = torch.ones(1, 4, 3, 3)
    clips[0, 1] = math.nan
    assert read_at(clips, torch.tensor([[0.5, 1.0, 3.0]])).isnan()[0, :, 0, 0].tolist() == [True, True, False]
