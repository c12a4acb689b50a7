"""What the code named in a study says, as a key: a finished job stands only as long as its code does."""

import ast
import functools
import hashlib
import importlib.metadata
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

_INSTALLED = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib"))


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
