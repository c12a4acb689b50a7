"""A window's readings as the networks take them."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def in_g(readings: Float[np.ndarray, "samples 3"]) -> Float[Tensor, "half 3"]:
    """Accelerations in g, neighbours averaged in pairs: 50 Hz of 100."""
    return torch.from_numpy(readings.reshape(-1, 2, 3).mean(axis=1)).float()


def depth_frames(readings: Float[np.ndarray, "frames 12 16"]) -> Float[Tensor, "frames 12 16"]:
    """Depths from 0 (near, or unknown) to 1."""
    return torch.from_numpy(readings).float()


def mat_frames(readings: Float[np.ndarray, "frames 32 16"]) -> Float[Tensor, "frames 32 16"]:
    """Pressures, whose largest are thousands of the sensor's units, as logarithms of about 0 to 1."""
    return torch.from_numpy(readings).float().clamp(min=0).log1p() / 8
