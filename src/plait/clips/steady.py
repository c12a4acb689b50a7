"""Whether what a `prepare` makes of a window's readings is theirs alone.

A study prepares each clip once and keeps it; a recogniser prepares windows in another order, in another
process. A function that draws at random, or remembers what it was given first, makes other tensors there.
"""

import copy
import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from types import CellType, FunctionType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from plait.clips.listing import Cut
from plait.clips.windows import prepared, readings
from plait.compute.seeds import left_alone
from plait.contents import modules
from plait.source import installed, names_read, of_plait
from plait.types import Modality


def unsteady(modality: Modality, cuts: Sequence[Cut]) -> str | None:
    """What to say of a `prepare` of somebody's own that makes of readings what hangs on more than these.

    Two clips are prepared, and it is left as it was; None where nothing is to be said, or it fails.

    Args:
        modality: whose `prepare` it is.
        cuts: clips, each with its recording.
    """
    held = [cut for cut in cuts if cut[1].holds([modality.name])]
    if not held or all(of_plait(name) or installed(name) for name in modules([modality.prepare])):
        return None
    with suppress(Exception), left_alone():  # what fails is said by whoever cuts clips
        first, last = (
            readings(modality, recording.streams, clip.start_s, clip.stop_s)
            for recording, clip in (held[0], held[-1])
        )
        once, otherwise = (_made(modality, given) for given in ([first, first, last], [last, first]))
        where = f"modality {modality.name}: prepare makes something else of the same readings"
        why = "a recogniser's windows are not a study's clips"
        if not _same(once[0], once[1]):
            return f"{where} when it is called again: {why}; does it draw at random, or remember?"
        if not (_same(once[2], otherwise[0]) and _same(once[0], otherwise[1])):
            return f"{where} when it was given others before: {why}; does it keep what it was given first?"
    return None


def _made(modality: Modality, given: Sequence[Sequence[np.ndarray]]) -> list[Tensor]:
    """What a `prepare` that has seen nothing yet makes of several clips' readings, one after another."""
    new = replace(modality, prepare=afresh(modality.prepare))
    return [prepared(new, [array.copy() for array in arrays]) for arrays in given]


def _same(one: Tensor, other: Tensor) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return True  # refused where it is kept
    wide = torch.complex128 if one.is_complex() or other.is_complex() else torch.float64
    return one.shape == other.shape and torch.allclose(one.to(wide), other.to(wide), equal_nan=True)


def afresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with a copy of all that it may remember in, so that this one is left as it is.

    That is what it, and functions of its module that it calls, hold in globals, defaults and closures; of an
    object its state.
    """
    if isinstance(function, functools.partial):
        return functools.partial(afresh(function.func), *_copy(function.args), **_copy(function.keywords))
    if isinstance(function, FunctionType):
        return _within(function, dict(function.__globals__), set())
    return cast(Callable[..., Any], _copy(function))


def _within(function: FunctionType, world: dict[str, Any], done: set[str]) -> FunctionType:
    """A function whose globals are `world`, in which what it names is copied, unless that is `done`."""
    cells = tuple(map(_cell, function.__closure__ or ()))
    new = FunctionType(function.__code__, world, function.__name__, _copy(function.__defaults__), cells)
    new.__kwdefaults__ = _copy(function.__kwdefaults__)
    for name in names_read(function.__code__) & world.keys() - done:
        done.add(name)
        value = world[name]
        own = isinstance(value, FunctionType) and value.__globals__ is function.__globals__
        world[name] = _within(value, world, done) if own else _copy(value)
    return new


def _cell(cell: CellType) -> CellType:
    """A closure's cell with a copy of what it holds; one that holds nothing is empty."""
    try:
        return CellType(_copy(cell.cell_contents))
    except ValueError:
        return CellType()


def _copy(value: Any) -> Any:
    """A copy, or the same where there can be none, as of a module."""
    with suppress(Exception):
        return copy.deepcopy(value)
    return value
