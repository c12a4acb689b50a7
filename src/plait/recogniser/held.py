"""What a function brings with it besides its code: settings, attributes, what it has closed over, tables.

A `prepare` may scale by numbers that were read from a file. A model that is used with others than it was
trained with sees something else, though no line of code has changed.
"""

import functools
import types
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from plait.contents import describe
from plait.errors import ConfigError
from plait.keying import source_key
from plait.source import installed, names_read, of_plait
from plait.store import content_key


def code_of(function: Any) -> str:
    """A digest of a function's code and of what it holds.

    Raises:
        ConfigError: it holds something whose content cannot be told, such as an open file.
    """
    return with_held(source_key([function]), [function])


def with_held(key: str, functions: Iterable[Any]) -> str:
    """A key, and what some functions hold, if they hold anything."""
    held = [_held(function) for function in functions]
    return key if all(one is None for one in held) else content_key([key, held])


def _held(thing: Any, within: frozenset[int] = frozenset()) -> Any:
    """What it holds, in terms of JSON; None if nothing. `within` are those that are being looked at."""
    if id(thing) in within:
        return None
    within |= {id(thing)}
    match thing:
        case functools.partial():
            args, keywords = describe(list(thing.args)), describe(dict(thing.keywords))
            return [_held(thing.func, within), args, keywords]
        case types.MethodType():
            return _held(thing.__self__, within)
        case types.FunctionType():
            reads = {**_globals(thing), **_closure(thing)}
            told = {name: _told(value, within) for name, value in sorted(reads.items())}
            return {name: one for name, one in told.items() if one is not None} or None
        case type() | types.BuiltinFunctionType() | types.ModuleType():
            return None
    return describe(dict(sorted(vars(thing).items()))) if getattr(thing, "__dict__", None) else None


def _globals(function: types.FunctionType) -> dict[str, Any]:
    """What a function of somebody's own reads of its module; what plait's read stands in their source."""
    module = function.__module__ or ""
    if of_plait(module) or installed(module):
        return {}
    there = function.__globals__
    return {name: there[name] for name in names_read(function.__code__) if name in there}


def _closure(function: types.FunctionType) -> dict[str, Any]:
    """What a function has closed over."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {}
    for name, cell in cells:
        with suppress(ValueError):  # not filled yet
            found[name] = cell.cell_contents
    return found


def _told(value: Any, within: frozenset[int]) -> Any:
    """What a function reads, unless it is code, which has a key of its own, or has no content."""
    if isinstance(value, types.FunctionType | types.MethodType | functools.partial | type | types.ModuleType):
        return _held(value, within)
    try:
        return describe(value)
    except ConfigError:  # a lock, a logger: a study has refused what decides something
        return None
