"""Whether a process that works for another one computes what that one's keys say: its code, its processor.

A key is made where a run was started. The work is done in processes that import code later, some after hours,
some on other machines; what they would do otherwise would stand under a key that says nothing of it.
"""

import platform
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from plait.errors import PlaitError

R = TypeVar("R")
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Terms(NamedTuple):
    """What the process that made keys has put into them of itself.

    Args:
        code: modules and packages, as `keying.keyed` tells them.
        device: what is computed on.
        numerics: as `machine.settled_numerics` tells it.
        repeats: torch's switches for algorithms that repeat what they gave: whether on, and whether it warns.
        machine: where, in words that no other one has.
    """

    code: Mapping[str, Any]
    device: str
    numerics: Mapping[str, Any]
    repeats: tuple[bool, bool]
    machine: tuple[str, ...]


_asked: ContextVar[Terms | None] = ContextVar("_asked", default=None)  # of what is done just now
_met: list[Terms] = []  # what this process has met last, if anything


def terms(device: str) -> Terms:
    """What others have to meet: what keys hold by now, or what is asked of what is done here just now."""
    from plait.compute.machine import settled_numerics
    from plait.keying import keyed  # and torch, for which whoever asks for cores does not wait

    if (asked := _asked.get()) is not None:
        return asked
    numerics = settled_numerics(device)  # of a card, if there is one here
    return Terms(keyed(), device if "device" in numerics else "cpu", numerics, _repeats(), _machine())


def bound(do: Callable[..., R], device: str = "cpu") -> Callable[..., R]:
    """The same function for another process, which does it only if it meets the `terms` of this one.

    What it makes keys of is the code that it met, whatever becomes of files meanwhile.
    """
    return partial(_bound, terms(device), do)


def _bound(asked: Terms, do: Callable[..., R], *args: Any) -> R:
    from plait.keying import keying

    before, token = _repeats(), _asked.set(asked)
    _set_repeats(asked.repeats)
    try:
        meet(asked)
        with keying(asked.code):
            return do(*args)
    finally:
        _set_repeats(before)
        _asked.reset(token)


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

    here = asked.machine == _machine()
    if other := other_code(asked.code, here):
        again = ": start it again, what is done stands" if here else f" (on {platform.node()})"
        raise PlaitError(f"{other}{again}")
    numerics = settled_numerics(asked.device)
    for name in {**asked.numerics, **numerics}:
        got, expected = (str(one.get(name)).split() for one in (numerics, asked.numerics))
        if got != expected:
            where = f"{platform.node()}: would come to other last digits than where this run was started"
            more, less = _without(got, expected), _without(expected, got)
            raise PlaitError(f"{where}: {name}: got {more}, expected {less}")
    _met[:] = [asked]


def _without(words: list[str], others: list[str]) -> str:
    return " ".join(word for word in words if word not in others) or "no more"


def _repeats() -> tuple[bool, bool]:
    import torch

    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_repeats(asked: tuple[bool, bool]) -> None:
    """Set what `_repeats` tells, if it is another: torch loads its compiler for that, which takes seconds."""
    import torch

    if asked != _repeats():
        torch.use_deterministic_algorithms(asked[0], warn_only=asked[1])


def _machine() -> tuple[str, ...]:
    return platform.node(), BOOT.read_text().strip() if BOOT.exists() else ""
