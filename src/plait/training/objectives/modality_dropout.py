"""Sensors that are absent from some clips in training, so that the network can do without them.

Source: Neverova, Wolf, Taylor, Nebout, ModDrop: adaptive multi-modal gesture recognition, TPAMI 2016, arXiv
1501.00102, which puts zeros in the place of a whole modality, clip by clip. A learned stand-in in their place
is what masked autoencoders do with a mask token (He et al., CVPR 2022, arXiv 2111.06377).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from plait.errors import ConfigError, quote
from plait.training.objectives.base import Draws, Objective, Scene, share, some_of

KINDS = ("absent", "learned", "zero")


class ModalityDropout(Objective):
    """Each modality of each clip is dropped with probability `p`; of a clip that would lose all, one stays.

    What the method is given instead of a dropped grid is decided by `stand_in`. `absent`: nothing, so it must
    be a modality that the method `Reads` as optional; it is called once for all clips of a batch that hold
    the same. `learned`: a grid of the network's own, zeros at first, trained along and kept with its weights.
    `zero`: zeros. Under the latter two the trained network takes its stand-in wherever a modality is missing,
    so that a method that cannot do without a sensor now can.

    Encoders see every clip whole, and so do heads and teachers of other objectives. The draws of a modality
    depend on seed, epoch, batch and its name: methods of one seed lose the same of the same clips, but for
    who stays where all would be lost.

    Args:
        p: the probability, at least 0 and below 1.
        stand_in: `absent`, `learned` or `zero`.
        modalities: those that may be dropped; by default all.

    Raises:
        ConfigError: a setting is out of range, the method has a single modality, or cannot do without one
            that would be absent.
    """

    def __init__(self, p: float, stand_in: str = "absent", modalities: Sequence[str] | None = None) -> None:
        super().__init__()
        if stand_in not in KINDS:
            raise ConfigError(f"stand_in is {quote(stand_in)}, expected one of: {', '.join(KINDS)}")
        self.p, self.stand_in, self.names = share(p, "p"), stand_in, modalities

    def stand_ins(self, modalities: Sequence[str]) -> dict[str, bool]:
        """Of those that may be dropped, unless they are absent then."""
        if self.stand_in == "absent":
            return {}
        return dict.fromkeys(some_of(self.names, modalities), self.stand_in == "learned")

    def prepare(self, scene: Scene) -> None:
        """Refuse what cannot be dropped.

        Raises:
            ConfigError: the method has one modality, or cannot do without one that would be absent.
        """
        network = scene.network
        names = some_of(self.names, list(network.encoders))
        if len(network.encoders) < 2:
            raise ConfigError("drops one of several sensors, expected a method of at least two modalities")
        fixed = [name for name in names if name not in network.reads.optional]
        if self.stand_in == "absent" and fixed:
            optional = ", ".join(sorted(network.reads.optional)) or "none"
            raise ConfigError(
                f"stand_in is 'absent', but {type(network.method).__name__} needs {', '.join(fixed)}: "
                f"expected 'learned' or 'zero', or modalities among those it can do without ({optional})"
            )

    def held(self, modalities: Sequence[str], count: int, draws: Draws) -> dict[str, Tensor]:
        """Which clips keep which of the modalities that may be dropped."""
        names = some_of(self.names, modalities)
        kept = {
            name: torch.rand(count, generator=draws.generator(f"dropped/{name}")) >= self.p for name in names
        }
        if len(names) == len(modalities):
            nothing = ~torch.stack(list(kept.values())).any(dim=0)
            stays = torch.randint(len(names), (count,), generator=draws.generator("dropped"))
            for place, name in enumerate(names):
                kept[name] |= nothing & (stays == place)
        return kept
