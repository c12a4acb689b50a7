"""Clips whose sensors are of two people who do the same.

Source: CutMix (Yun et al., ICCV 2019, arXiv 1905.04899) puts a region of one picture into another and mixes
    their
labels. Here a region is a whole sensor, and both clips are of one activity, so the label stays what it is.
Interpolation of tensors (mixup, arXiv 1710.09412) needs two clips in phase, which clips of movements are not.
"""

import numpy as np
import torch

from plait.errors import ConfigError
from plait.training.objectives.base import Draws, Instead, Objective, Scene, share


class MixedClips(Objective):
    """With probability `p`, sensors of a clip, not all, come from another person's clip of the same activity.

    The other clip is drawn from all training clips of the fold's phase that may stand in, each as likely;
    which sensors, from all choices but none and all. A clip whose activity nobody else does in training stays
    as it is. Sensors are swapped before anything is augmented or encoded, so it is one thing for tensors,
    features and grids of frozen encoders.

    Args:
        p: the probability, at least 0 and below 1.

    Raises:
        ConfigError: `p` is out of range, the method has a single modality, or no clip has a partner.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = share(p, "p")
        self.modalities: list[str] = []
        self.partners: dict[int, np.ndarray] = {}

    def prepare(self, scene: Scene) -> None:
        """Whose clips may stand in for whose.

        Raises:
            ConfigError: the method has one modality, or over 60, or no two people do the same activity.
        """
        self.modalities = list(scene.network.encoders)
        if not 2 <= len(self.modalities) <= 60:
            raise ConfigError("swaps some sensors of several, expected a method of at least two modalities")
        doing: dict[str, list[int]] = {}
        for row in scene.train.tolist():
            doing.setdefault(scene.clips[row].activity, []).append(row)
        self.partners = {}
        for rows in doing.values():
            who = {row: scene.clips[row].subject for row in rows}
            for person in set(who.values()):
                others = np.array([row for row in rows if who[row] != person], dtype=np.int64)
                self.partners |= {row: others for row in rows if who[row] == person and len(others)}
        if not self.partners:
            raise ConfigError("no activity is done by two people who train, so there is nothing to mix")

    def clips(self, rows: np.ndarray, draws: Draws) -> Instead:
        """The clips that sensors are taken from."""
        generator, count = draws.generator("mixed"), len(rows)
        swaps = torch.rand(count, generator=generator) < self.p
        partner = torch.rand(count, generator=generator, dtype=torch.float64)
        choice = torch.randint(1, 2 ** len(self.modalities) - 1, (count,), generator=generator)
        instead = {name: rows.copy() for name in self.modalities}
        for place, row in enumerate(rows.tolist()):
            others = self.partners.get(row)
            if others is None or not swaps[place]:
                continue
            other = others[int(partner[place] * len(others))]
            for bit, name in enumerate(self.modalities):
                if int(choice[place]) >> bit & 1:
                    instead[name][place] = other
        return instead
