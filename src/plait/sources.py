"""What settings name as `package.module:Name`: the object, and its code as a key.

A finished job stands only as long as its code does.
"""

import ast
import difflib
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from plait.errors import ConfigError, PlaitError

_INSTALLED = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib"))


def resolve(path: str, where: str) -> Any:
    """The object that `"package.module:Name"` names; `where` says which setting asked for it.

    Raises:
        ConfigError: the path is not of that form, or nothing is there.
    """
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ConfigError(f"{where}: got {path!r}, expected 'package.module:Name'")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{where}: no module {error.name!r} (from {path!r})") from error
    except TypeError as error:
        raise ConfigError(f"{where}: got {path!r}, expected a module's full name") from error
    for part in name.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}: module {module!r} has no {part!r}{hint}")
        found = getattr(found, part)
    return found


def made(make: object, positional: tuple[object, ...], named: Mapping[str, object], where: str) -> nn.Module:
    """The module that `make` makes; `where` says which setting asked for it.

    Raises:
        PlaitError: it does not take its arguments, refuses them, or is something else.
    """
    try:
        module = make(*positional, **named)  # type: ignore[operator]
    except PlaitError as error:
        raise type(error)(f"{where}: {error}") from error
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{where}: made a {type(module).__name__}, expected a torch.nn.Module")
    return module


def describe(thing: Callable[..., Any]) -> list[Any]:
    """What a callable is, in terms of JSON: its path, and what a `functools.partial` or an instance holds."""
    if isinstance(thing, functools.partial):
        return [describe(thing.func), [_said(a) for a in thing.args], {k: _said(v) for k, v in thing.keywords.items()}]
    if hasattr(thing, "__qualname__"):
        return [f"{thing.__module__}:{thing.__qualname__}"]
    made = type(thing)
    return [
        f"{made.__module__}:{made.__qualname__}",
        {k: _said(v) for k, v in sorted(getattr(thing, "__dict__", {}).items())},
    ]


def _said(value: Any) -> Any:
    return describe(value) if callable(value) else repr(value)


def source_key(things: Iterable[Callable[..., Any]]) -> str:
    """A key of the source of the modules that hold `things`, and of all modules of plait or of the user's they use.

    Comments, formatting and docstrings do not count. Installed packages count by their version.
    """
    found: dict[str, str] = {}
    todo = list(things)
    while todo:
        thing = todo.pop()
        if isinstance(thing, functools.partial):
            todo += [thing.func, *(a for a in (*thing.args, *thing.keywords.values()) if callable(a))]
            continue
        _collect(thing.__module__ if hasattr(thing, "__qualname__") else type(thing).__module__, found)
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:32]


def own_modules() -> list[Path]:
    """The files and package folders of what has been imported and was not installed, and plait's: what must travel."""
    found: set[Path] = set()
    for name, module in list(sys.modules.items()):
        if "." in name or name == "__main__" or not isinstance(module, ModuleType):
            continue
        file = getattr(module, "__file__", None)
        places = [Path(p) for p in getattr(module, "__path__", ())] or ([Path(file)] if file else [])
        for place in (p.resolve() for p in places):
            installed = name != "plait" and str(place).startswith(_INSTALLED)
            if not installed and (place.is_dir() or place.suffix == ".py"):
                found.add(place)
    return sorted(found)


def _collect(name: str, found: dict[str, str]) -> None:
    """Put module `name` and, if it is plait's or the user's, all that it uses into `found`."""
    module = sys.modules.get(name)
    if name in found or not isinstance(module, ModuleType):
        return
    top = name.partition(".")[0]
    if top != "plait" and _installed(module):
        found[top] = _version(top)
        return
    found[name] = _code(module)
    for value in list(vars(module).values()):
        _collect(value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or "", found)


def _installed(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is None or str(Path(file).resolve()).startswith(_INSTALLED)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return sys.version.split()[0]


def _code(module: ModuleType) -> str:
    """The module's syntax tree without docstrings, as text."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError):
        return ""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:]  # type: ignore[attr-defined]
    return ast.dump(tree)
