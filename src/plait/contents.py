"""What decides a value, in terms of JSON: of settings, functions, objects with state, arrays, and files that they name.

Two values that compute alike are described alike in every process; whatever changes what comes of them changes this.
"""

import ast
import copyreg
import dis
import enum
import functools
import json
import sys
import sysconfig
import types
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plait.errors import ConfigError
from plait.store import checksum

INSTALLED = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib"))
LONGEST = 4096  # letters of a path
LONG = 400  # letters of a description that is shown; a longer one is hashed, for what is held twice is described twice
MOST_FILES, MOST_BYTES = (
    1000,
    2**30,
)  # of a folder that is known by contents; a larger one by names, sizes and times
_DOCUMENTED = 0x4000000  # a code object's flag, since Python 3.13: its first constant is the docstring
_DRAWING = ("Random", "Generator", "RandomState")  # their state is where they are, not what they are


def describe(value: Any, words: Collection[str] = (), apart: tuple[type, ...] = ()) -> Any:
    """What `value` is, in terms of JSON.

    A function is its code, its default arguments, what it has closed over and the globals that it reads; a class of the
    user's its attributes; an object its class and state, as for pickling; an array or a tensor its numbers; a text or a
    path that names a file or a folder what lies there, wherever it lies. `words` are texts that name no file; of
    objects of the classes `apart` only the class counts.

    Raises:
        ConfigError: the value holds something whose content cannot be told, such as an open file.
        DataError: a file cannot be read.
    """
    return _Describing(words, apart=apart)(value)


def settings(args: Mapping[str, Any], words: Collection[str] = ()) -> dict[str, Any]:
    """Each setting described; tables have no order, as in the file that they come from.

    Raises:
        ConfigError: as `describe`.
        DataError: as `describe`.
    """
    return {name: _Describing(words, ordered=False)(value) for name, value in args.items()}


def modules(things: Collection[Any]) -> set[str]:
    """The modules of all functions and classes that `things` are made of."""
    describing = _Describing(files=False)
    for thing in things:
        with describing.leniently():
            describing(thing)
    return describing.modules


def installed(module: str) -> bool:
    """Whether a module that has been imported was installed, or is part of Python, and is not plait's."""
    found = sys.modules.get(module)
    if found is None or module == "__main__" or module.partition(".")[0] == "plait":
        return False
    file = getattr(found, "__file__", None)
    places = [file] if file else list(getattr(found, "__path__", ()))
    return not places or _among_installed(str(places[0]))  # built in, or installed


@functools.lru_cache(maxsize=4096)
def _among_installed(place: str) -> bool:
    return str(Path(place).resolve()).startswith(INSTALLED)


class _Untold(Exception):
    """What a value holds that has no content."""


class _Describing:
    """One description: what has been met, and how strictly the present part is taken."""

    def __init__(
        self,
        words: Collection[str] = (),
        ordered: bool = True,
        files: bool = True,
        apart: tuple[type, ...] = (),
    ) -> None:
        self.words, self.ordered, self.files, self.apart = frozenset(words), ordered, files, apart
        self.strict, self.folders = True, True
        self.open: list[int] = []  # identities of what is being described: a value may hold itself
        self.done: dict[
            tuple[int, bool, bool], tuple[Any, Any]
        ] = {}  # what was described, held so that it stays
        self.modules: set[str] = set()

    def __call__(self, value: Any) -> Any:
        try:
            return self.of(value)
        except _Untold as error:
            raise ConfigError(
                f"{_called(value)} holds {error}, whose content no key can tell; expected plain values, or a class "
                "whose __getstate__ leaves it out"
            ) from error

    @contextmanager
    def leniently(self, folders: bool = True) -> Iterator[None]:
        """Within, what has no content counts by its type alone; without `folders`, paths of folders by nothing."""
        before = self.strict, self.folders
        self.strict, self.folders = False, folders and self.folders
        try:
            yield
        finally:
            self.strict, self.folders = before

    def of(self, value: Any) -> Any:
        if value is None or (isinstance(value, bool | int | float) and type(value) in (bool, int, float)):
            return value
        if type(value) is str:
            return self.text(value)
        known = (id(value), self.strict, self.folders)
        if known in self.done:
            return self.done[known][1]
        if id(value) in self.open:
            return ["itself", len(self.open) - self.open.index(id(value))]
        self.open.append(id(value))
        try:
            told = self.kind(value)
        except _Untold:
            if self.strict:
                raise
            told = ["untold", _path(type(value))]
        except RecursionError as error:
            raise _Untold(f"a {type(value).__name__} that is nested too deeply") from error
        finally:
            self.open.pop()
        if len(said := json.dumps(told)) > LONG:
            told = ["hash", sha256(said.encode()).hexdigest()[:32]]
        self.done[known] = value, told
        return told

    def kind(self, value: Any) -> Any:
        """Anything but plain numbers and texts."""
        match value:
            case list() | tuple() if type(value) in (list, tuple):
                return [type(value).__name__, *map(self.of, value)]
            case set() | frozenset() if type(value) in (set, frozenset):
                return ["set", *sorted(map(self.of, value), key=json.dumps)]
            case dict() | types.MappingProxyType() if type(value) in (dict, types.MappingProxyType):
                pairs = [[self.of(key), self.of(item)] for key, item in value.items()]
                return ["table", *(pairs if self.ordered else sorted(pairs, key=json.dumps))]
            case bytes() | bytearray() | memoryview():
                return ["bytes", sha256(value).hexdigest()]
            case Path():
                return self.text(str(value), path=True)
            case np.generic():
                return ["number", value.dtype.str, repr(value.item())]
            case np.ndarray() if value.dtype.hasobject:
                return ["objects", list(value.shape), *map(self.of, value.ravel().tolist())]
            case np.ndarray() if not isinstance(value, np.ma.MaskedArray):
                flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
                return ["array", repr(value.dtype), list(value.shape), sha256(flat.data).hexdigest()]
            case torch.Tensor() if (
                value.layout == torch.strided and not value.is_quantized and not value.is_meta
            ):
                return ["tensor", str(value.dtype), list(value.shape), bits(value)]
            case torch.Generator():
                return ["tensor", str(value.device), bits(value.get_state())]
            case type():
                return self.cls(value)
            case functools.partial():
                named = [[name, self.of(item)] for name, item in sorted(value.keywords.items())]
                return [
                    "partial",
                    self.of(value.func),
                    [self.of(item) for item in value.args],
                    named,
                    self.state(value),
                ]
            case types.MethodType():
                return ["method", self.of(value.__self__), self.of(value.__func__)]
            case staticmethod() | classmethod():
                return [type(value).__name__, self.of(value.__func__)]
            case property():
                return ["property", *(self.of(part) for part in (value.fget, value.fset))]
            case functools.cached_property():
                return ["property", self.of(value.func)]
            case types.FunctionType():
                return self.function(value)
            case types.BuiltinFunctionType():
                owner = value.__self__
                owned = None if owner is None or isinstance(owner, types.ModuleType) else self.of(owner)
                return ["builtin", f"{value.__module__}:{value.__qualname__}", owned]
            case types.ModuleType():
                self.modules.add(value.__name__)
                return ["module", value.__name__]
            case types.CodeType():
                return ["code", self.code(value)]
            case enum.Enum():
                return ["member", _path(type(value)), value.name, self.of(value.value)]
        return self.instance(value)

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
                return ["folder", *([text] if bare else []), *(_folder(place) if self.folders else [])]
        except (OSError, ValueError, RuntimeError):
            pass  # no path
        return text

    def function(self, function: types.FunctionType) -> Any:
        """Its name, its code, its defaults, what it has closed over, and what it reads of its module."""
        self.modules.add(function.__module__ or "")
        name = f"{function.__module__}:{function.__qualname__}"
        foreign = installed(function.__module__ or "")
        wrapped = hasattr(function, "__wrapped__")  # decorators close over things of their own
        if foreign or wrapped:
            with self.leniently():
                held = self.held(function)
        else:
            held = self.held(function)
        if foreign:
            return ["function", name, held]
        return ["function", name, self.code(function.__code__), held, self.globals(function)]

    def held(self, function: types.FunctionType) -> list[Any]:
        cells = []
        for cell in function.__closure__ or ():
            try:
                cells.append(self.of(cell.cell_contents))
            except ValueError:  # not filled yet
                cells.append("empty")
        named = sorted((function.__kwdefaults__ or {}).items())
        defaults = [self.of(item) for item in function.__defaults__ or ()]
        return [cells, defaults, [[name, self.of(item)] for name, item in named], self.state(function)]

    def globals(self, function: types.FunctionType) -> list[Any]:
        """What a function reads of modules that were not installed; of plait's, only functions are followed."""
        own, names = function.__globals__, sorted(_names(function.__code__))
        read = {name: own[name] for name in names if name in own}
        for name, value in list(read.items()):
            if isinstance(value, types.ModuleType):
                del read[name]
                if not installed(value.__name__):
                    has = vars(value)
                    read |= {f"{name}.{attribute}": has[attribute] for attribute in names if attribute in has}
        told = []
        for name, value in read.items():
            followed = isinstance(value, types.FunctionType | functools.partial) or hasattr(
                value, "__wrapped__"
            )
            plaits = (function.__module__ or "").partition(".")[0] == "plait"
            nothing = isinstance(value, dict | list | set) and name in _empty(function.__module__)
            drawing = type(value).__name__ in _DRAWING
            if isinstance(value, types.ModuleType) or nothing or drawing or (plaits and not followed):
                continue
            with self.leniently(folders=False):
                told.append([name, self.of(value)])
        for name in _imports(function.__code__):
            self.modules.add(name)
        return told

    def code(self, code: types.CodeType) -> str:
        """A hash of byte code, without names of files, numbers of lines and docstrings."""
        constants = list(code.co_consts)
        said = bool(code.co_flags & _DOCUMENTED) if sys.version_info >= (3, 13) else bool(code.co_flags & 1)
        if said and constants and isinstance(constants[0], str):
            constants[0] = None
        with self.leniently():
            files, self.files = (
                self.files,
                False,
            )  # of texts in code only the opened counts, and that nobody knows
            told = [self.code(one) if isinstance(one, types.CodeType) else self.of(one) for one in constants]
            self.files = files
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
        counts = [code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount]
        parts = [code.co_code.hex(), code.co_exceptiontable.hex(), told, names, counts]
        return sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def cls(self, cls: type) -> Any:
        """A class by its name; one of the user's by what stands in it and in what it inherits from as well."""
        self.modules.add(cls.__module__)
        if installed(cls.__module__) or cls.__module__.partition(".")[0] == "plait":
            return ["class", _path(cls)]
        told = []
        for name, value in sorted(vars(cls).items()):
            special = name.startswith("__") and name.endswith("__")
            if special and not isinstance(value, types.FunctionType | staticmethod | classmethod):
                continue
            if name.startswith("_abc_") or (
                isinstance(value, dict | list | set) and name in _empty(cls.__module__)
            ):
                continue
            if isinstance(value, types.GetSetDescriptorType | types.MemberDescriptorType):
                continue
            with self.leniently(folders=False):
                told.append([name, self.of(value)])
        return ["class", _path(cls), [self.of(base) for base in cls.__bases__ if base is not object], told]

    def instance(self, value: Any) -> Any:
        """An object by its class and by what pickling would keep of it."""
        self.modules.add(type(value).__module__)
        if isinstance(value, self.apart):
            return ["apart", _path(type(value))]
        named = getattr(value, "__wrapped__", None)
        if isinstance(named, types.FunctionType):  # functools.cache and the like: nothing of what it has kept
            return ["wrapped", _path(type(value)), self.of(named)]
        reduce = copyreg.dispatch_table.get(type(value))
        try:
            reduced: Any = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception as error:
            if installed(type(value).__module__) and callable(value) and hasattr(value, "__name__"):
                return ["named", _path(type(value)), str(value.__name__)]
            raise _Untold(f"a {type(value).__name__}") from error
        if isinstance(reduced, str):
            return ["named", _path(type(value)), reduced]
        make, args, state, items, pairs = list(reduced[:5]) + [None] * (5 - len(reduced[:5]))
        if isinstance(state, dict):
            state = {name: item for name, item in state.items() if not _cached(type(value), name)}
        filled = [
            None if items is None else list(items),
            None if pairs is None else [list(pair) for pair in pairs],
        ]
        return ["object", *map(self.of, (type(value), make, args, state, *filled))]

    def state(self, value: Any) -> Any:
        """The attributes that somebody has given a function."""
        own = {name: item for name, item in vars(value).items() if not name.startswith("__")}
        return self.of(own) if own else None


def bits(value: torch.Tensor) -> str:
    """A hash of a tensor's numbers."""
    flat = value.detach().cpu().contiguous().reshape(-1)
    return sha256(flat.view(torch.uint8).numpy().data).hexdigest() if flat.numel() else ""


def network_key(network: torch.nn.Module) -> str:
    """A key of all numbers that a network's parts hold: weights, buffers, other tensors and arrays, and settings."""
    told: list[Any] = []
    for name, part in sorted(network.named_modules()):
        own = {
            **part._parameters,
            **part._buffers,
            **{k: v for k, v in vars(part).items() if not k.startswith("_")},
        }
        held = [
            [key, _Describing(files=False).of(value)] for key, value in sorted(own.items()) if _numbers(value)
        ]
        told.append([name, _path(type(part)), held])
    return sha256(json.dumps(told).encode()).hexdigest()[:32]


def _numbers(value: Any) -> bool:
    """Whether a value is of numbers alone."""
    if isinstance(value, list | tuple):
        return all(map(_numbers, value))
    return isinstance(value, bool | int | float | torch.Tensor | np.ndarray | np.generic) or value is None


def _folder(place: Path) -> list[Any]:
    """What a folder holds, by relative path; of a large one not the contents but sizes and times."""
    files = sorted(islice((path for path in place.rglob("*") if path.is_file()), 100 * MOST_FILES))
    sizes = [path.stat().st_size for path in files]
    names = [path.relative_to(place).as_posix() for path in files]
    if len(files) > MOST_FILES or sum(sizes) > MOST_BYTES:
        times = [path.stat().st_mtime_ns for path in files]
        return [sha256(json.dumps([names, sizes, times]).encode()).hexdigest()]
    return [[name, checksum(path)] for name, path in zip(names, files, strict=True)]


def _names(code: types.CodeType) -> set[str]:
    """The global names and attributes that code reads, with those of the functions within."""
    found = set(code.co_names)
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            found |= _names(one)
    return found


def _imports(code: types.CodeType) -> Iterator[str]:
    """The top-level modules that code imports as it runs, by their full names."""
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME" and isinstance(step.argval, str) and step.argval:
            yield step.argval
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _imports(one)


def _empty(module: str) -> frozenset[str]:
    """The names that are given empty tables, lists and sets where a module starts: they fill as it is used."""
    file = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    return (
        _starting_empty(file, file.stat().st_mtime_ns)
        if file.suffix == ".py" and file.is_file()
        else frozenset()
    )


@functools.lru_cache(maxsize=256)
def _starting_empty(file: Path, changed_ns: int) -> frozenset[str]:
    found: set[str] = set()
    try:
        todo: list[ast.stmt] = list(ast.parse(file.read_bytes()).body)
    except (SyntaxError, ValueError):
        return frozenset()
    for node in todo:
        if isinstance(node, ast.ClassDef):
            todo += node.body
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if _makes_nothing(node.value):
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(found)


def _makes_nothing(value: ast.expr | None) -> bool:
    """Whether an expression is an empty table, list or set, as far as its text tells."""
    match value:
        case ast.Dict(keys=[]) | ast.List(elts=[]):
            return True
        case ast.Call(
            func=ast.Name(id="dict" | "list" | "set" | "OrderedDict" | "Counter"), args=[], keywords=[]
        ):
            return True
        case ast.Call(func=ast.Name(id="defaultdict"), args=[_], keywords=[]):
            return True
    return False


def _cached(cls: type, name: str) -> bool:
    """Whether an attribute is what a `functools.cached_property` has kept."""
    return isinstance(getattr(cls, name, None), functools.cached_property)


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _called(value: Any) -> str:
    return getattr(value, "__qualname__", None) or f"a {type(value).__qualname__}"
