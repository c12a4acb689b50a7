"""Code as keys hold it: a finished job stands only as long as its code does.

A run plans under one look at the code (`keying`), and whoever works for it is held to that.
"""

import functools
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import inspect
import os
import sys
import zipimport
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from plait.contents import modules
from plait.errors import ConfigError
from plait.source import among_installed, installed, syntax

MAIN, CHILD_S_MAIN = "__main__", "__mp_main__"  # a script, and what a spawned process has loaded it as


class Keyed(NamedTuple):
    """What a key holds of a module or an installed package.

    Args:
        digest: of a module's source; of a package its version.
        file: a module's.
        state: of the file: when it was changed, in ns, and its size in bytes.
        loaded: whether the module was imported.
        imports: the modules that its source imports.
    """

    digest: str
    file: Path | None = None
    state: tuple[int, int] = (0, 0)
    loaded: bool = False
    imports: tuple[str, ...] = ()


class _Planned:
    """What keys hold of code while a run is planned, in which nothing is looked at twice.

    Args:
        told: what another process's keys hold of modules that this one has loaded as they were.
    """

    def __init__(self, told: Mapping[str, Keyed]) -> None:
        self.told = told
        self.keyed: dict[str, Keyed] = {}
        self.looked: dict[str, tuple[dict[str, Keyed], tuple[str, ...]]] = {}  # as `_look`, by module
        self.homes: dict[int, tuple[Any, set[str]]] = {}  # a thing by its identity, and where it is from
        self.keys: dict[frozenset[str], str] = {}  # by the modules that things are from


_keying: ContextVar[_Planned | None] = ContextVar("_keying", default=None)
# As what each module in keys was loaded, and of which source.
_loaded: dict[str, tuple[importlib.machinery.ModuleSpec | None, str]] = {}


def source_key(things: Iterable[Any]) -> str:
    """A key of the source of the modules that hold `things`, and of all of plait's or the user's they use.

    Comments, formatting and docstrings do not count; installed packages count by their version. Modules of
    plait's that it imports only where they are needed count for whoever names the function that does.

    Raises:
        ConfigError: one of these modules is read from an archive.
    """
    planned = _keying.get()
    homes = frozenset(_homes(list(things), planned))
    if planned is None:
        return _key(homes, None)
    if homes not in planned.keys:
        planned.keys[homes] = _key(homes, planned)
    return planned.keys[homes]


def _key(homes: Iterable[str], planned: _Planned | None) -> str:
    hashes = dict[str, str]()
    todo, seen = sorted(homes), set[str]()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            held, used = _looked(name, planned)
            hashes |= {part: one.digest for part, one in held.items()}
            todo += used
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()[:32]


@contextmanager
def keying(told: Mapping[str, Keyed] = MappingProxyType({})) -> Iterator[None]:
    """Note, within, what keys hold of code, for `keyed`; around more of the same, all is noted together.

    Not for generators: what is between two of their values would be within, too.

    Args:
        told: `keyed` of another process that this one works for: so keys have it, whatever files say by now.
    """
    token = _keying.set(_Planned(told)) if _keying.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _keying.reset(token)


def keyed() -> dict[str, Keyed]:
    """Modules and packages that keys hold so far, within `keying`."""
    planned = _keying.get()
    return dict(planned.keyed) if planned else {}


def other_code(told: Mapping[str, Keyed], here: bool) -> str | None:
    """What of another process's `keyed` is another here, as a clause; None if all is the same.

    Modules that were imported there are imported here, too, if they can be. What is not here at all is left
    to whoever needs it.

    Args:
        told: what keys hold.
        here: whether that process is on this machine, so that a file of the same time and size is the same.
    """
    for name, there in told.items():
        if there.loaded and name not in sys.modules:
            with suppress(Exception, SystemExit):  # of somebody's own code; whoever needs it will say why
                importlib.import_module(name)
        if there.file is None:
            present = name in sys.modules or name in _distributions()
            if there.digest and present and (version := _version(name)) != there.digest:
                return f"{name}: got {version}, expected {there.digest}, as when this run began"
            continue
        module = sys.modules.get(name)
        if name == MAIN:  # of a node there is none
            module = sys.modules.get(CHILD_S_MAIN)
            file = Path(getattr(module, "__file__", None) or there.file) if module else None
        else:
            file = _file(name)
        if file is None or not file.is_file():
            continue
        state = _state(file)
        same = here and file == there.file and state == there.state
        if not same and syntax(file, name, state[0])[0] != there.digest:
            return f"{file}: is no longer what it was when this run began"
        if module is not None and name != MAIN and _is_stale(module, there.digest):
            return f"{file}: was changed since this process loaded it"
    return None


def _homes(things: Sequence[Any], planned: _Planned | None) -> set[str]:
    """The modules of all functions and classes that `things` are made of."""
    if planned is None:
        return modules(things)
    for thing in things:
        if id(thing) not in planned.homes:
            planned.homes[id(thing)] = thing, modules([thing])
    return set[str]().union(*(planned.homes[id(thing)][1] for thing in things))


def _looked(name: str, planned: _Planned | None) -> tuple[Mapping[str, Keyed], Iterable[str]]:
    """What keys hold of module `name`, and the modules that it uses; noted, if a run is planned.

    Raises:
        ConfigError: a module is read from an archive; or has changed since it was loaded, as far as earlier
            plans tell.
    """
    if planned is None:
        return _look(name)
    if name not in planned.looked:
        held, used = _look(name, planned.told)
        _check_loaded(name, held)
        planned.keyed |= held
        if name not in sys.modules:  # it may be loaded yet
            return held, used
        planned.looked[name] = held, tuple(used)
    return planned.looked[name]


def _look(
    name: str, told: Mapping[str, Keyed] = MappingProxyType({})
) -> tuple[dict[str, Keyed], Iterable[str]]:
    """What keys hold of module `name`, and the modules that it uses, if it is plait's or the user's."""
    module, foreign, file = sys.modules.get(name), installed(name), None
    if not foreign:
        file = _file(name) if name else None
        if module is None and file is None:
            return {}, ()
        foreign = module is None and among_installed(str(file))
    if foreign:
        package = name.partition(".")[0]
        return {package: Keyed(_version(package))}, ()
    held = Keyed("")
    if name in told and told[name].file is not None:
        held = told[name]
    elif file is not None:
        state = _state(file)
        digest, imported = syntax(file, name, state[0])
        held = Keyed(digest, file, state, module is not None, imported)
    values = list(vars(module).items()) if module else []
    homes = {_home(value) for part, value in values if not _is_below(name, part, value)}
    return {name: held}, {*held.imports, *(one for one in homes if one in sys.modules and not installed(one))}


def _check_loaded(name: str, held: Mapping[str, Keyed]) -> None:
    """Refuse a module that has changed since it was loaded, as far as earlier plans tell."""
    module, own = sys.modules.get(name), held.get(name)
    if module is None or own is None or own.file is None or name == MAIN:
        return
    if _is_stale(module, own.digest):
        old = f"{own.file}: was changed since this process loaded it, so that old code would run"
        reload = f"importlib.reload module {name!r} and whatever imports from it"
        raise ConfigError(f"{old}: start a new process, or {reload}")


def _is_stale(module: ModuleType, digest: str) -> bool:
    """Whether a module was loaded of another source, as far as this process has looked at it."""
    loaded = getattr(module, "__spec__", None)  # another one once the module is reloaded
    before, known = _loaded.get(module.__name__, (None, ""))
    if before is not None and before is loaded:
        return known != digest
    _loaded[module.__name__] = loaded, digest
    return False


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
