"""What settings name as `package.module:Name`: the object, and its code as a key.

A finished job stands only as long as its code does.
"""

import ast
import difflib
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from plait.contents import INSTALLED, installed, modules
from plait.errors import ConfigError, PlaitError, one_line, raised


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
    except (Exception, SystemExit) as error:  # a user's own code
        raise ConfigError(f"{where}: module {module!r} cannot be imported: {raised(error)}") from error
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
    except (
        TypeError,
        RuntimeError,
        MemoryError,
        OverflowError,
    ) as error:  # an argument of its own, or far too large
        raise ConfigError(f"{where}: {one_line(error)}") from error
    except Exception as error:
        raise ConfigError(f"{where}: {raised(error)}") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{where}: made a {type(module).__name__}, expected a torch.nn.Module")
    return module


def source_key(things: Iterable[Any]) -> str:
    """A key of the source of the modules that hold `things`, and of all modules of plait or of the user's they use.

    Comments, formatting and docstrings do not count. Installed packages count by their version, and plait's own that
    it imports only where they are needed for whoever names the function that does.
    """
    found: dict[str, str] = {}
    todo, seen = sorted(modules(list(things))), set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += _collected(name, found)
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
            foreign = name != "plait" and str(place).startswith(INSTALLED)
            if not foreign and (place.is_dir() or place.suffix == ".py"):
                found.add(place)
    return sorted(found)


def _collected(name: str, found: dict[str, str]) -> Iterable[str]:
    """Put module `name` into `found`; the modules that it uses, if it is plait's or the user's."""
    module = sys.modules.get(name)
    if module is not None and installed(name):
        top = name.partition(".")[0]
        found[top] = _version(top)
        return ()
    file = _file(name) if name else None
    if file is None and module is None:
        return ()
    if module is None and str(file).startswith(INSTALLED):
        top = name.partition(".")[0]
        found[top] = _version(top)
        return ()
    found[name], imported = ("", ()) if file is None else _source(file, name, file.stat().st_mtime_ns)
    values = list(vars(module).items()) if module else []
    homes = {_home(value) for part, value in values if not _below(name, part, value)}
    own = {home for home in homes if home in sys.modules and not installed(home)}
    return {*imported, *own}  # what is installed is imported by name


def _below(name: str, part: str, value: object) -> bool:
    """Whether a package has this part because somebody, anywhere, has imported its module."""
    return isinstance(value, ModuleType) and value.__name__ == f"{name}.{part}"


def _home(value: object) -> str:
    """A module itself; of a function or a class its module; of anything else its class's."""
    if isinstance(value, ModuleType):
        return value.__name__
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) else ""


def _file(name: str) -> Path | None:
    """The file of a module, which is not imported for that; None if there is none."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return _resolved(file) if file and os.path.isfile(file) else None  # noqa: PTH113 - asked thousands of times
    over, _, last = name.rpartition(".")
    above = sys.modules.get(over)
    if above is not None and (hasattr(above, last) or installed(over)):
        return None  # a function of a module, or what comes with it
    places: list[str] | None = None
    spec = None
    parts = name.split(".")
    for number in range(len(parts)):
        try:
            spec = importlib.machinery.PathFinder.find_spec(".".join(parts[: number + 1]), places)
        except (ImportError, ValueError):
            return None
        if spec is None or (number < len(parts) - 1 and spec.submodule_search_locations is None):
            return None
        places = list(spec.submodule_search_locations or ())
    return _resolved(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


@functools.lru_cache(maxsize=4096)
def _resolved(file: str) -> Path:
    return Path(file).resolve()


@functools.lru_cache(maxsize=4096)
def _version(package: str) -> str:
    """The versions of what has installed an import package; of Python where that is its own."""
    owners = sorted(set(_distributions().get(package, ())))
    return (
        ", ".join(f"{owner} {importlib.metadata.version(owner)}" for owner in owners)
        or sys.version.split()[0]
    )


@functools.lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@functools.lru_cache(maxsize=1024)
def _source(file: Path, name: str, changed_ns: int) -> tuple[str, tuple[str, ...]]:
    """A module's syntax tree without docstrings, as a hash, and the modules that it imports.

    Of plait's modules those count that are imported at once: what is imported where it is needed is optional.
    """
    content = file.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # compiled
        return hashlib.sha256(content).hexdigest(), ()
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    imported = tuple(sorted(set(_imported(tree, package, lazily=name.partition(".")[0] != "plait"))))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imported


def _imported(node: ast.AST, package: str, lazily: bool) -> Iterator[str]:
    """What a syntax tree imports, by full names: of `from a import b`, both `a` and what may be the module `a.b`."""
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        base = ".".join([*parts, *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{one.name}" for one in node.names if one.name != "*")
    elif lazily or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _imported(child, package, lazily)
