"""Whether a process that works for another one computes what that one's keys say: its code, its processor.

A key is made where a run was started. The work is done in processes that import code later, some after hours,
some on other machines; what they would do otherwise would stand under a key that says nothing of it.
"""

import platform
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

from plait.errors import PlaitError

R = TypeVar("R")
_met: list["Terms"] = []  # that this process has met last, if any


class Terms(NamedTuple):
    """What the process that made keys has put into them of itself.

    Args:
        code: modules and packages, as `keying.keyed` tells them.
        device: what is computed on.
        numerics: as `machine.settled_numerics` tells it.
    """

    code: Mapping[str, Any]
    device: str
    numerics: Mapping[str, Any]


def terms(device: str) -> Terms:
    """What others have to meet: what keys hold by now, or what this process itself had to meet."""
    from plait.compute.machine import settled_numerics
    from plait.keying import keyed  # and torch, for which whoever asks for cores does not wait

    if _met:
        return _met[0]
    numerics = settled_numerics(device)  # of a card, if there is one here
    return Terms(keyed(), device if "device" in numerics else "cpu", numerics)


def bound(do: Callable[..., R], device: str = "cpu") -> Callable[..., R]:
    """The same function for another process, which does it only if it meets the `terms` of this one."""
    return partial(_bound, terms(device), do)


def _bound(asked: Terms, do: Callable[..., R], *args: Any) -> R:
    meet(asked)
    return do(*args)


def meet(asked: Terms) -> None:
    """Go on only if this process computes what keys say.

    The modules that were loaded there are loaded here at once, so that what is changed later changes nothing.

    Raises:
        PlaitError: naming the first thing that is another here.
    """
    if asked in _met:
        return
    from plait.compute.machine import settled_numerics
    from plait.keying import other_code

    if other := other_code(asked.code):
        raise PlaitError(f"{other}: start it again, what is done stands")
    here = settled_numerics(asked.device)
    for name in {**asked.numerics, **here}:
        if here.get(name) != asked.numerics.get(name):
            where = f"{platform.node()}: would come to other last digits than where this run was started"
            raise PlaitError(f"{where}: {name} {here.get(name)}, expected {asked.numerics.get(name)}")
    _met[:] = [asked]
