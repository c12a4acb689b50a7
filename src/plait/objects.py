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
import inspect
import os
import sys
import zipimport
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from torch import nn

from plait.contents import modules
from plait.errors import ConfigError, PlaitError, one_line, raised
from plait.source import among_installed, installed, of_plait

NOT_SENT = {"__main__", "__mp_main__"}  # of each process another one


class Keyed(NamedTuple):
    """What a key holds of a module or an installed package.

    Args:
        digest: of a module's source; of a package its version.
        file: a module's.
        state: of the file: when it was changed, in ns, and its size in bytes.
        loaded: whether the module was imported.
    """

    digest: str
    file: Path | None = None
    state: tuple[int, int] = (0, 0)
    loaded: bool = False


_keying: ContextVar[dict[str, Keyed] | None] = ContextVar("_keying", default=None)
# As what each module in keys was loaded, and of which source.
_loaded: dict[str, tuple[importlib.machinery.ModuleSpec | None, str]] = {}


def resolve(path: str, where: str) -> Any:
    """The object that `"package.module:Name"` names; `where` says which setting asked for it.

    Raises:
        ConfigError: the path is not of that form, or nothing is there.
    """
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ConfigError(f"{where}: got {path!r}, expected 'package.module:Name'")
    try:
        value: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{where}: no module {error.name!r} (from {path!r})") from error
    except TypeError as error:
        raise ConfigError(f"{where}: got {path!r}, expected a module's full name") from error
    except (Exception, SystemExit) as error:  # a user's own code
        raise ConfigError(f"{where}: module {module!r} cannot be imported: {raised(error)}") from error
    for part in name.split("."):
        if not hasattr(value, part):
            near = difflib.get_close_matches(part, dir(value), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}: module {module!r} has no {part!r}{hint}")
        value = getattr(value, part)
    return value


def made(make: object, positional: tuple[object, ...], named: Mapping[str, object], where: str) -> nn.Module:
    """The module that a class or a function makes.

    Args:
        make: what makes it.
        positional: its arguments by place.
        named: its arguments by name.
        where: which setting asked for it.

    Raises:
        PlaitError: it does not take its arguments, refuses them, or is something else.
    """
    try:
        module = make(*positional, **named)  # type: ignore[operator]
    except PlaitError as error:
        raise type(error)(f"{where}: {error}") from error
    except (TypeError, RuntimeError, MemoryError, OverflowError) as error:  # an odd argument, or too large
        raise ConfigError(f"{where}: {one_line(error)}") from error
    except Exception as error:
        raise ConfigError(f"{where}: {raised(error)}") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{where}: made a {type(module).__name__}, expected a torch.nn.Module")
    return module


def source_key(things: Iterable[Any]) -> str:
    """A key of the source of the modules that hold `things`, and of all of plait's or the user's they use.

    Comments, formatting and docstrings do not count; installed packages count by their version. Modules of
    plait's that it imports only where they are needed count for whoever names the function that does.

    Raises:
        ConfigError: one of these modules is read from an archive.
    """
    hashes: dict[str, str] = {}
    todo, seen = sorted(modules(list(things))), set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += _collect(name, hashes)
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()[:32]


@contextmanager
def keying() -> Iterator[None]:
    """Note, within, what keys hold of code, for `keyed`; around more of the same, all is noted together."""
    token = _keying.set({}) if _keying.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _keying.reset(token)


def keyed() -> dict[str, Keyed]:
    """Modules and packages that keys hold so far, within `keying`."""
    return dict(_keying.get() or {})


def other_code(told: Mapping[str, Keyed]) -> str | None:
    """What of another process's `keyed` is another here, as a clause; None if all is the same.

    Modules that were imported there are imported here, too, if they can be. What is not here at all is left
    to whoever needs it.
    """
    for name, there in told.items():
        if there.loaded and name not in sys.modules:
            with suppress(Exception, SystemExit):  # of somebody's own code; whoever needs it will say why
                importlib.import_module(name)
        if there.file is None:
            if name in sys.modules and (version := _version(name)) != there.digest:
                return f"{name}: got {version}, expected {there.digest}, as when this run began"
            continue
        file = _file(name)
        if file is None or (file == there.file and _state(file) == there.state):
            continue
        if _source(file, name, file.stat().st_mtime_ns)[0] != there.digest:
            return f"{file}: is no longer what it was when this run began"
    return None


def own_modules() -> list[Path]:
    """What must travel: files and package folders of what was imported but not installed, and plait's."""
    paths: set[Path] = set()
    for name, module in list(sys.modules.items()):
        if "." in name or name == "__main__" or not isinstance(module, ModuleType):
            continue
        file = getattr(module, "__file__", None)
        places = list(getattr(module, "__path__", ())) or ([file] if file else [])
        for path in (Path(place).resolve() for place in places):
            foreign = name != "plait" and among_installed(str(path))
            if not foreign and (path.is_dir() or path.suffix == ".py"):
                paths.add(path)
    return sorted(paths)


def _collect(name: str, hashes: dict[str, str]) -> Iterable[str]:
    """Put module `name` into `hashes`; the modules that it uses, if it is plait's or the user's."""
    module, foreign, file = sys.modules.get(name), installed(name), None
    if not foreign:
        file = _file(name) if name else None
        if module is None and file is None:
            return ()
        foreign = module is None and among_installed(str(file))
    if foreign:
        package = name.partition(".")[0]
        hashes[package] = _version(package)
        _note(package, Keyed(hashes[package]), None)
        return ()
    hashes[name] = ""
    imported: tuple[str, ...] = ()
    if file is not None:
        state = _state(file)
        hashes[name], imported = _source(file, name, state[0])
        _note(name, Keyed(hashes[name], file, state, module is not None), module)
    values = list(vars(module).items()) if module else []
    homes = {_home(value) for part, value in values if not _is_below(name, part, value)}
    return {*imported, *(home for home in homes if home in sys.modules and not installed(home))}


def _note(name: str, held: Keyed, module: ModuleType | None) -> None:
    """Note what a key holds, for `keyed`.

    Raises:
        ConfigError: the module was changed since it was loaded, as far as earlier keys tell.
    """
    if (noted := _keying.get()) is None or name in NOT_SENT:
        return
    noted[name] = held
    if module is None:
        return
    loaded = module.__spec__  # another one once the module is reloaded
    before, digest = _loaded.get(name, (None, ""))
    if before is not None and before is loaded and digest != held.digest:
        old = f"{held.file}: was changed since this process loaded it, so that old code would run"
        raise ConfigError(f"{old}: importlib.reload module {name!r}, or start a new process")
    _loaded[name] = loaded, held.digest


def _state(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


def _is_below(package: str, part: str, value: object) -> bool:
    """Whether a package has this part because somebody, anywhere, has imported its module."""
    return isinstance(value, ModuleType) and value.__name__ == f"{package}.{part}"


def _home(value: object) -> str:
    """A module itself; of a function or a class its module; of anything else its class's."""
    if isinstance(value, ModuleType):
        return value.__name__
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) else ""


def _file(name: str) -> Path | None:
    """The file of a module, which is not imported for that; None if there is none.

    Raises:
        ConfigError: it is in an archive.
    """
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        _refuse_archived(name, getattr(module, "__loader__", None), file or "")
        return _resolved(file) if file and os.path.isfile(file) else None  # noqa: PTH113 - asked so often
    above, _, last = name.rpartition(".")
    package = sys.modules.get(above)
    if package is not None and (hasattr(package, last) or installed(above)):
        return None  # a function of a module, or what comes with it
    places: list[str] | None = None
    spec = None
    for part in accumulate(name.split("."), "{}.{}".format):
        if places == []:  # nothing is below a module
            return None
        try:
            spec = importlib.machinery.PathFinder.find_spec(part, places)
        except KeyError:  # of a folder alone, Python asks the package above, which was not imported
            folders = [Path(place, part.rpartition(".")[2]) for place in places or ()]
            spec, places = None, [str(folder) for folder in folders if folder.is_dir()]
            continue
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
    if spec is None or not spec.origin:
        return None
    _refuse_archived(name, spec.loader, spec.origin)
    return _resolved(spec.origin) if Path(spec.origin).is_file() else None


def _refuse_archived(name: str, loader: object, file: str) -> None:
    """Refuse a module of plait's or the user's that is read out of an archive: no key would hold its code."""
    if isinstance(loader, zipimport.zipimporter) and not among_installed(file):
        raise ConfigError(f"module {name!r} is read from {loader.archive}, expected a folder: unpack it")


@functools.lru_cache(maxsize=4096)
def _resolved(file: str) -> Path:
    return Path(file).resolve()


@functools.cache
def _distributions() -> dict[str, set[str]]:
    """Who has installed each import package, as `importlib.metadata.packages_distributions` tells.

    That one makes a path of every installed file, for which each process would wait.
    """
    found: dict[str, set[str]] = {}
    for owner in importlib.metadata.distributions():
        if packages := (owner.read_text("top_level.txt") or "").split() or _recorded(owner):
            name = owner.metadata["Name"]
            for package in packages:
                found.setdefault(package, set()).add(name)
    return found


def _recorded(owner: importlib.metadata.Distribution) -> set[str]:
    """The import packages among a distribution's files."""
    record = owner.read_text("RECORD")
    files = map(str, owner.files or ()) if record is None else record.splitlines()
    tops = {top if below else top.partition(",")[0] for top, below, _ in (f.partition("/") for f in files)}
    names = {inspect.getmodulename(top) or top for top in tops}
    return {name for name in names if name.isidentifier()}


@functools.lru_cache(maxsize=4096)
def _version(package: str) -> str:
    """The versions of what has installed an import package; of Python where that is its own."""
    owners = sorted(_distributions().get(package, ()))
    versions = [f"{owner} {importlib.metadata.version(owner)}" for owner in owners]
    return ", ".join(versions) or sys.version.split()[0]


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
    imported = tuple(sorted(set(_imported(tree, package, lazily=not of_plait(name)))))
    for node in ast.walk(tree):
        match getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant()), *rest]:
                node.body = rest  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imported


def _imported(node: ast.AST, package: str, lazily: bool) -> Iterator[str]:
    """What a syntax tree imports, by full names: of `from a import b` both `a` and `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
        base = ".".join([*parts, *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
    elif lazily or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _imported(child, package, lazily)
