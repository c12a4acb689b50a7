"""What the fusion attends to in the window that was scored last, for whoever wants to see it."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from plait.fusion import Led, Symmetric
from plait.fusion.attention import attentions
from plait.live.session import Scored
from plait.recogniser.recogniser import Member, Recogniser
from plait.report.cases import lit


class Light:
    """A recogniser's attention: of the first of its networks that has any, and sees the window.

    The grids are those that the network has just made: nothing is computed twice. They are kept only while
    `wanted`.

    Args:
        recogniser: whose.
        pictures: the modalities that are looked at as pictures.
    """

    def __init__(self, recogniser: Recogniser, pictures: Collection[str]) -> None:
        self.wanted = False
        self.pictures = dict.fromkeys(pictures, 2)
        self._members = [m for m in recogniser.members if isinstance(m.network.method, Led | Symmetric)]
        self._made: dict[tuple[str, str], Tensor] = {}
        self._last: tuple[Scored, Member, dict[str, Tensor]] | None = None
        for member in self._members:
            for modality, encoder in member.network.encoders.items():
                encoder.register_forward_hook(self._keeper(member.name, modality))

    @property
    def there(self) -> bool:
        """Whether the recogniser attends to anything at all."""
        return bool(self._members)

    def scored(self, scored: Scored) -> None:
        """Take note of a window, from the thread in which it was scored."""
        made, self._made = self._made, {}
        self._last = None
        for member in self._members if self.wanted else ():
            grids = {name: made[member.name, name] for name in scored.seen if (member.name, name) in made}
            if member.sees(grids.keys()):
                self._last = scored, member, member.network.completed(grids)
                return

    def latest(self) -> dict[str, Any] | None:
        """`start_s`, `stop_s` and, by modality, `lit` of the last window; None where there is none."""
        last = self._last  # which another thread may change
        if last is None:
            return None
        scored, member, grids = last
        with torch.inference_mode():
            maps = attentions(member.network.method, grids)
        lights = lit(maps, self.pictures) if maps else {}
        lights = {name: light for name, light in lights.items() if name in scored.seen}  # no stand-in's
        return {"start_s": scored.start_s, "stop_s": scored.stop_s, "lit": lights}

    def _keeper(self, network: str, modality: str) -> Any:
        def keep(module: nn.Module, given: Any, grid: Tensor) -> None:
            if self.wanted:
                self._made[network, modality] = grid

        return keep
