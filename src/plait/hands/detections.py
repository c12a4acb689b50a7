"""What a detector of hands is, and what it finds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Found(NamedTuple):
    """A frame's hands: `boxes` `(n, 4)`, left, top, right, bottom in pixels; `scores` `(n,)` in [0, 1]."""

    boxes: np.ndarray
    scores: np.ndarray


Detector = Callable[[np.ndarray], list[Found]]
