"""What decides a value, in terms of JSON: settings, functions, objects with state, arrays, files named.

Two values that compute alike are described alike in every process; what computes otherwise, otherwise.
"""

import copyreg
import enum
import functools
import json
import sys
import types
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plait.errors import ConfigError
from plait.source import imports, installed, names_read, of_plait, starts_empty
from plait.store import checksum

LONGEST = 4096  # letters of a path
LONG = 400  # letters of a description; a longer one is hashed, as what is held twice is described twice
# Of a folder that is known by its contents; a larger one is known by its names, sizes and times.
MOST_FILES, MOST_BYTES = 1000, 2**30
# A code object's flag: its first constant is the docstring. Before Python 3.13 every function has the flag.
_DOCUMENTED = 0x4000000 if sys.version_info >= (3, 13) else 1
_OF_MODULES = frozenset(vars(torch.nn.Module()))  # what any part of a network has
_DRAWING = ("Random", "Generator", "RandomState")  # their state is where they are, not what they are


def describe(value: Any, words: Collection[str] = (), apart: tuple[type, ...] = ()) -> Any:
    """What `value` is, in terms of JSON.

    A function is its code, its default arguments, what it has closed over and the globals that it reads; a
    class of the user's its attributes; an object its class and state, as for pickling; an array or a tensor
    its numbers; a text or a path that names a file or a folder what lies there, wherever that is. `words` are
    texts that name no file; of objects of the classes `apart` only the class counts.

    Raises:
        ConfigError: the value holds something whose content cannot be told, such as an open file.
        DataError: a file cannot be read.
    """
    return _Describing(frozenset(words), apart=apart)(value)


def held(value: Any) -> Any:
    """What a function or an object holds besides code, in terms of JSON: the same on another machine.

    As `describe`, without byte code, which another Python has otherwise; files and folders are not looked at,
    and where they lie does not count; what has no content counts by its type; of a network, its numbers.
    """
    return _Describing(files=False, folders=False, strict=False, portable=True)(value)


def settings(args: Mapping[str, Any], words: Collection[str] = ()) -> dict[str, Any]:
    """Each setting described, or refused, as in `describe`; tables have no order, as in a study file."""
    return {name: _Describing(frozenset(words), ordered=False)(value) for name, value in args.items()}


def modules(things: Collection[Any]) -> set[str]:
    """The modules of all functions and classes that `things` are made of."""
    describing = _Describing(files=False)
    for thing in things:
        with describing.leniently():
            describing(thing)
    return describing.modules


class _NoContent(Exception):
    """A value holds something that has no content; the message is what."""


@dataclass
class _Describing:
    """One description: what has been met, and how strictly the present part is taken."""

    words: frozenset[str] = frozenset()
    ordered: bool = True
    files: bool = True
    apart: tuple[type, ...] = ()
    strict: bool = True
    folders: bool = True
    portable: bool = False  # without byte code and places, which are others elsewhere
    open: list[int] = field(default_factory=list)  # identities of what is on its way: a value may hold itself
    done: dict[tuple[int, bool, bool, bool], tuple[Any, Any]] = field(
        default_factory=dict
    )  # holds the values, too
    modules: set[str] = field(default_factory=set)

    def __call__(self, value: Any) -> Any:
        try:
            return self.describe(value)
        except _NoContent as error:
            name = getattr(value, "__qualname__", None) or f"a {type(value).__qualname__}"
            expected = "plain values, or a class whose __getstate__ leaves it out"
            why = f"{name} holds {error}, whose content no key can tell; expected {expected}"
            raise ConfigError(why) from error

    @contextmanager
    def leniently(self, folders: bool = True, files: bool = True) -> Iterator[None]:
        """Within, what has no content counts by its type, and paths of no `folders` or `files` as texts."""
        before = self.strict, self.folders, self.files
        self.strict, self.folders, self.files = False, folders and self.folders, files and self.files
        try:
            yield
        finally:
            self.strict, self.folders, self.files = before

    def describe(self, value: Any) -> Any:
        """Any value, once; what it holds of itself by how far up it stands, long descriptions as a hash."""
        if value is None or type(value) in (bool, int, float):
            return value
        if type(value) is str:
            return self.text(value)
        key = (id(value), self.strict, self.folders, self.files)
        if key in self.done:
            return self.done[key][1]
        if id(value) in self.open:
            return ["itself", len(self.open) - self.open.index(id(value))]
        self.open.append(id(value))
        try:
            description = self.by_kind(value)
        except _NoContent:
            if self.strict:
                raise
            description = ["untold", _path(type(value))]
        except RecursionError as error:
            raise _NoContent(f"a {type(value).__name__} that is nested too deeply") from error
        finally:
            self.open.pop()
        if len(text := json.dumps(description)) > LONG:
            description = ["hash", sha256(text.encode()).hexdigest()[:32]]
        self.done[key] = value, description
        return description

    def by_kind(self, value: Any) -> Any:
        """Anything but plain numbers and texts."""
        match value:
            case list() | tuple() if type(value) in (list, tuple):
                return [type(value).__name__, *map(self.describe, value)]
            case set() | frozenset() if type(value) in (set, frozenset):
                return ["set", *sorted(map(self.describe, value), key=json.dumps)]
            case dict() | types.MappingProxyType() if type(value) in (dict, types.MappingProxyType):
                pairs = [[self.describe(key), self.describe(item)] for key, item in value.items()]
                return ["table", *(pairs if self.ordered else sorted(pairs, key=json.dumps))]
            case bytes() | bytearray() | memoryview():
                return ["bytes", sha256(value).hexdigest()]
            case Path() if self.portable:
                return ["path"]
            case torch.nn.Module() if self.portable:
                return ["network", _path(type(value)), self.named(value.state_dict())]
            case Path():
                return self.text(str(value), path=True)
            case np.generic():
                return ["number", value.dtype.str, repr(value.item())]
            case np.ndarray() if value.dtype.hasobject:
                return ["objects", list(value.shape), *map(self.describe, value.ravel().tolist())]
            case np.ndarray() if not isinstance(value, np.ma.MaskedArray):
                flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
                return ["array", repr(value.dtype), list(value.shape), sha256(flat.data).hexdigest()]
            case torch.Tensor(layout=torch.strided, is_quantized=False, is_meta=False):
                return ["tensor", str(value.dtype), list(value.shape), bits(value)]
            case torch.Generator():
                return ["tensor", str(value.device), bits(value.get_state())]
            case type():
                return self.cls(value)
            case functools.partial():
                func, args = self.describe(value.func), [self.describe(item) for item in value.args]
                return ["partial", func, args, self.named(value.keywords), self.state(value)]
            case types.MethodType():
                return ["method", self.describe(value.__self__), self.describe(value.__func__)]
            case staticmethod() | classmethod():
                return [type(value).__name__, self.describe(value.__func__)]
            case property():
                return ["property", self.describe(value.fget), self.describe(value.fset)]
            case functools.cached_property():
                return ["property", self.describe(value.func)]
            case types.FunctionType():
                return self.function(value)
            case types.BuiltinFunctionType():
                owner = value.__self__
                owned = None if isinstance(owner, types.ModuleType) else self.describe(owner)
                return ["builtin", f"{value.__module__}:{value.__qualname__}", owned]
            case types.ModuleType():
                self.modules.add(value.__name__)
                return ["module", value.__name__]
            case types.CodeType():
                return ["code", self.code(value)]
            case enum.Enum():
                return ["member", _path(type(value)), value.name, self.describe(value.value)]
        return self.instance(value)

    def named(self, items: Mapping[str, Any]) -> list[Any]:
        """Keyword arguments, in the order of their names."""
        return [[name, self.describe(item)] for name, item in sorted(items.items())]

    def text(self, text: str, path: bool = False) -> Any:
        """A text, or what lies where it points."""
        if not self.files or text in self.words or not any(map(str.isalnum, text)) or len(text) > LONGEST:
            return text
        try:
            place = Path(text).expanduser()
            bare = not path and place.name == text and not place.suffix  # a word, which may be meant as one
            if place.is_file():
                return ["file", text if bare else place.suffix, checksum(place)]
            if place.is_dir():
                name = [text] if bare else []
                return ["folder", *name, *(_folder_contents(place) if self.folders else [])]
        except (OSError, ValueError, RuntimeError):
            pass  # no path
        return text

    def function(self, function: types.FunctionType) -> Any:
        """Its name, its code, its defaults, what it has closed over, and what it reads of its module."""
        module = function.__module__ or ""
        self.modules.add(module)
        name = f"{function.__module__}:{function.__qualname__}"
        foreign = installed(module)
        decorated = hasattr(function, "__wrapped__")  # decorators close over things of their own
        with self.leniently() if foreign or decorated else nullcontext():
            closure = self.closure(function)
        if foreign:
            return ["function", name, closure]
        return ["function", name, self.code(function.__code__), closure, self.globals(function)]

    def closure(self, function: types.FunctionType) -> list[Any]:
        """What a function brings with it: what it has closed over, its defaults, its attributes."""
        cells = []
        for cell in function.__closure__ or ():
            try:
                cells.append(self.describe(cell.cell_contents))
            except ValueError:  # not filled yet
                cells.append("empty")
        defaults = [self.describe(item) for item in function.__defaults__ or ()]
        return [cells, defaults, self.named(function.__kwdefaults__ or {}), self.state(function)]

    def globals(self, function: types.FunctionType) -> list[Any]:
        """What a function reads of modules that were not installed; of plait's, functions alone."""
        namespace, names = function.__globals__, sorted(names_read(function.__code__))
        values = {name: namespace[name] for name in names if name in namespace}
        for name, module in list(values.items()):
            if isinstance(module, types.ModuleType):
                del values[name]
                if not installed(module.__name__):
                    values |= {f"{name}.{part}": vars(module)[part] for part in names if part in vars(module)}
        described = []
        for name, value in values.items():
            runs = isinstance(value, types.FunctionType | functools.partial) or hasattr(value, "__wrapped__")
            unread = isinstance(value, types.ModuleType) or type(value).__name__ in _DRAWING
            if unread or (of_plait(function.__module__ or "") and not runs):
                continue
            if not starts_empty(value, name, function.__module__):
                with self.leniently(folders=False):
                    described.append([name, self.describe(value)])
        self.modules.update(imports(function.__code__))
        return described

    def code(self, code: types.CodeType) -> str:
        """A hash of byte code, without names of files, numbers of lines and docstrings."""
        if self.portable:
            return ""
        constants = list(code.co_consts)
        if code.co_flags & _DOCUMENTED and constants and isinstance(constants[0], str):
            constants[0] = None
        described: list[Any] = []
        with self.leniently(files=False):  # which texts in code are opened as files, nobody knows
            for item in constants:
                described.append(self.code(item) if isinstance(item, types.CodeType) else self.describe(item))
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
        counts = [code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount]
        parts = [code.co_code.hex(), code.co_exceptiontable.hex(), described, names, counts]
        return sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def cls(self, cls: type) -> Any:
        """A class by its name; one of the user's also by what stands in it and in its bases."""
        self.modules.add(cls.__module__)
        if installed(cls.__module__) or of_plait(cls.__module__):
            return ["class", _path(cls)]
        described = []
        for name, value in sorted(vars(cls).items()):
            special = name.startswith("__") and name.endswith("__")
            if special and not isinstance(value, types.FunctionType | staticmethod | classmethod):
                continue
            if isinstance(value, types.GetSetDescriptorType | types.MemberDescriptorType):
                continue
            if not name.startswith("_abc_") and not starts_empty(value, name, cls.__module__):
                with self.leniently(folders=False):
                    described.append([name, self.describe(value)])
        bases = [self.describe(base) for base in cls.__bases__ if base is not object]
        return ["class", _path(cls), bases, described]

    def instance(self, value: Any) -> Any:
        """An object by its class and by what pickling would keep of it."""
        cls = type(value)
        self.modules.add(cls.__module__)
        if isinstance(value, self.apart):
            return ["apart", _path(cls)]
        wrapped = getattr(value, "__wrapped__", None)
        if isinstance(wrapped, types.FunctionType):  # by functools.cache or the like: not what it has kept
            return ["wrapped", _path(cls), self.describe(wrapped)]
        reduce = copyreg.dispatch_table.get(cls)
        try:
            reduced: Any = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception as error:
            if installed(cls.__module__) and callable(value) and hasattr(value, "__name__"):
                return ["named", _path(cls), str(value.__name__)]
            raise _NoContent(f"a {cls.__name__}") from error
        if isinstance(reduced, str):
            return ["named", _path(cls), reduced]
        make, args, state, items, pairs = list(reduced[:5]) + [None] * (5 - len(reduced[:5]))
        if isinstance(state, dict):
            cached = {n for n in state if isinstance(getattr(cls, n, None), functools.cached_property)}
            state = {name: item for name, item in state.items() if name not in cached}
        items = None if items is None else list(items)
        pairs = None if pairs is None else [list(pair) for pair in pairs]
        return ["object", *map(self.describe, (cls, make, args, state, items, pairs))]

    def state(self, value: Any) -> Any:
        """The attributes that somebody has given a function."""
        attributes = {name: item for name, item in vars(value).items() if not name.startswith("__")}
        return self.describe(attributes) if attributes else None


def bits(value: torch.Tensor) -> str:
    """A hash of a tensor's numbers."""
    flat = value.detach().cpu().contiguous().reshape(-1)
    return sha256(flat.view(torch.uint8).numpy().data).hexdigest() if flat.numel() else ""


def network_key(network: torch.nn.Module) -> str:
    """A key of all numbers that a network's parts hold: weights, buffers, other arrays, and settings.

    Of parts of somebody's own all counts that they hold, tables, texts and objects as well, but for where
    files lie.
    """
    parts: list[Any] = []
    for name, part in sorted(network.named_modules()):
        kind = type(part)
        own = not installed(kind.__module__) and not of_plait(kind.__module__)
        if own:
            attributes = {key: value for key, value in vars(part).items() if key not in _OF_MODULES}
            held = {key: value for key, value in attributes.items() if not _is_place(value)}
            describing = _Describing(files=False, strict=False, portable=True)
        else:
            attributes = {key: value for key, value in vars(part).items() if not key.startswith("_")}
            held = {key: value for key, value in attributes.items() if _is_numbers(value)}
            describing = _Describing(files=False)
        parts.append([name, _path(kind), describing.named({**part._parameters, **part._buffers, **held})])
    return sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _is_place(value: Any) -> bool:
    """Whether a text says where a file lies."""
    return isinstance(value, str) and (Path(value).is_absolute() or bool(Path(value).suffix))


def _is_numbers(value: Any) -> bool:
    """Whether a value is of numbers alone."""
    if isinstance(value, list | tuple):
        return all(map(_is_numbers, value))
    return isinstance(value, bool | int | float | torch.Tensor | np.ndarray | np.generic) or value is None


def _folder_contents(place: Path) -> list[Any]:
    """What a folder holds, by relative path; of a large one not the contents but sizes and times."""
    files = sorted(islice((path for path in place.rglob("*") if path.is_file()), 100 * MOST_FILES))
    sizes = [path.stat().st_size for path in files]
    names = [path.relative_to(place).as_posix() for path in files]
    if len(files) > MOST_FILES or sum(sizes) > MOST_BYTES:
        times = [path.stat().st_mtime_ns for path in files]
        return [sha256(json.dumps([names, sizes, times]).encode()).hexdigest()]
    return [[name, checksum(path)] for name, path in zip(names, files, strict=True)]


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"
