"""What a network is given of each sensor: physical units, the body's own frame, the person alone."""

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt16
from torch import Tensor
from torch.nn import functional as F

from plait.errors import DataError

SHOULDER_CENTRE, HIP_CENTRE = 1, 3  # joints of the skeleton
HALF_TURN_DEG = 180.0
SIDE = 64  # of a depth frame, pixels
REACH_MM = 500.0  # of an arm, about: the unit of relative depth


def in_physical_units(inertial: np.ndarray) -> Float[Tensor, "samples 6"]:
    """Acceleration in g, angular rate in half turns per second (180 deg/s): both then vary by about one half."""
    return torch.from_numpy(inertial.astype(np.float32)) / torch.tensor([1.0] * 3 + [HALF_TURN_DEG] * 3)


def body_centred(skeleton: np.ndarray) -> Float[Tensor, "frames 20 3"]:
    """Positions from the hips' mean place over the clip, in lengths of the spine (mean distance hips to shoulders).

    So it matters neither where a person stands nor how tall they are, while squatting and walking still show.

    Raises:
        DataError: the spine has no length.
    """
    positions = torch.from_numpy(skeleton.astype(np.float32))
    hips, shoulders = positions[:, HIP_CENTRE], positions[:, SHOULDER_CENTRE]
    spine = (shoulders - hips).norm(dim=-1).mean()
    if not spine > 0:
        raise DataError("skeleton: shoulders and hips are at one place, expected them apart")
    centred: Tensor = (positions - hips.mean(0)) / spine
    return centred


def person_cropped(depth: UInt16[np.ndarray, "frames height width"]) -> Float16[Tensor, "frames 64 64"]:
    """The square around everywhere the person is during the clip; each pixel says how near it is, 0 where nobody is.

    A pixel at the clip's median depth is 1, nearer ones are larger, by 1 for every 500 mm, farther ones smaller, down
    to 0.1. So it matters neither where a person stands nor how tall they appear. Rows and columns with fewer than three
    pixels of a person in every frame are noise of the camera's.

    Raises:
        DataError: nobody is seen.
    """
    frames = torch.from_numpy(depth.astype(np.float32))
    seen = frames > 0
    rows, columns = ((seen.sum(axis) >= 3).any(0).nonzero().flatten().tolist() for axis in (2, 1))
    if not rows or not columns:
        raise DataError("depth: nobody is seen in the clip, expected pixels above 0 mm")
    near = torch.where(seen, 1 + ((frames[seen].median() - frames) / REACH_MM).clamp(-0.9, 2), 0.0)
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    side = max(height, width)
    top, left = rows[0] - (side - height) // 2, columns[0] - (side - width) // 2
    bottom, right = top + side - frames.shape[1], left + side - frames.shape[2]
    square = F.pad(near, (-left, right, -top, bottom))  # a negative width crops
    return F.interpolate(square[:, None], (SIDE, SIDE), mode="area")[:, 0].half()
