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
    """Acceleration in g, angular rate in half turns a second (180 deg/s): both vary by about one half."""
    return torch.from_numpy(inertial.astype(np.float32)) / torch.tensor([1.0] * 3 + [HALF_TURN_DEG] * 3)


def body_centred(skeleton: np.ndarray) -> Float[Tensor, "frames 20 3"]:
    """Positions from the hips' mean place over the clip, in mean lengths of the spine (hips to shoulders).

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
    """The square around the person, alike for all clips; each pixel says how near it is, 0 where nobody is.

    A person's height is the upper quartile over the clip's frames, their feet the median, their middle the
    mean: a raised arm or a step changes neither place nor scale. The square has 1.3 times that height, for
    arms above the head, and 3 % of it below the feet. A pixel at the clip's median depth is 1, nearer ones
    are larger, by 1 for every 500 mm, farther ones smaller, down to 0.1. So it matters neither where a person
    stands nor how tall they appear. Rows with fewer than three pixels of a person are the camera's noise.

    Raises:
        DataError: nobody is seen.
    """
    frames = torch.from_numpy(depth.astype(np.float32))
    seen = frames > 0
    rows = seen.sum(2) >= 3
    rows = rows[rows.any(1)]
    if len(rows) == 0:
        raise DataError("depth: nobody is seen in the clip, expected pixels above 0 mm")
    near = torch.where(seen, 1 + ((frames[seen].median() - frames) / REACH_MM).clamp(-0.9, 2), 0.0)
    tops, feet = rows.int().argmax(1), rows.shape[1] - rows.flip(1).int().argmax(1)
    height = int((feet - tops).float().quantile(0.75))  # most of a clip may be spent sitting
    side = max(round(1.3 * height), 1)
    middle = float((seen.sum((0, 1)) * torch.arange(seen.shape[2])).sum() / seen.sum())
    bottom, left = int(feet.median()) + round(0.03 * height), round(middle - side / 2)
    top, right = bottom - side, left + side
    borders = -left, right - near.shape[2], -top, bottom - near.shape[1]  # a negative width crops
    return F.interpolate(F.pad(near, borders)[:, None], (SIDE, SIDE), mode="area")[:, 0].half()
