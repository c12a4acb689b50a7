"""What code says of itself: whether it was installed, its syntax, what it reads and imports, empty tables."""

import ast
import dis
import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_IMPORT = dis.opmap["IMPORT_NAME"]
_FILLING = ("add", "append", "extend", "insert", "setdefault", "update")
_INSTALLED = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib"))


def of_plait(module: str) -> bool:
    """Whether a module is plait's own, by its name."""
    return module.partition(".")[0] == "plait"


def installed(module: str) -> bool:
    """Whether a module that has been imported was installed, or is part of Python, and is not plait's."""
    imported = sys.modules.get(module)
    if imported is None or module == "__main__" or of_plait(module):
        return False
    file = getattr(imported, "__file__", None)
    places = [file] if file else list(getattr(imported, "__path__", ()))
    return not places or among_installed(str(places[0]))  # built in, or installed


@functools.lru_cache(maxsize=4096)
def among_installed(place: str) -> bool:
    """Whether a path lies among Python's own modules, or those that were installed."""
    return str(Path(place).resolve()).startswith(_INSTALLED)


def names_read(code: types.CodeType) -> set[str]:
    """The global names and attributes that code reads, with those of the functions within."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= names_read(constant)
    return names


def imports(code: types.CodeType) -> Iterator[str]:
    """The modules that code imports as it runs, by their full names."""
    if _IMPORT in code.co_code[::2]:  # of each two bytes the first is what is done; few functions import
        for step in dis.get_instructions(code):
            if step.opname == "IMPORT_NAME" and isinstance(step.argval, str) and step.argval:
                yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from imports(constant)


def starts_empty(value: Any, name: str, module: str) -> bool:
    """Whether a value is a table, list or set that its module leaves empty: it fills as it is used."""
    if not isinstance(value, dict | list | set):
        return False
    file = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    return file.suffix == ".py" and file.is_file() and name in _empty_names(file, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _empty_names(file: Path, changed_ns: int) -> frozenset[str]:
    """The names that a module, or a class in it, gives to empty tables, lists and sets, and does not fill."""
    names, filled = set[str](), set[str]()
    try:
        todo: list[ast.stmt] = list(ast.parse(file.read_bytes()).body)
    except (SyntaxError, ValueError):
        return frozenset()
    for node in todo:
        filled |= _filled(node)
        if isinstance(node, ast.ClassDef):
            todo += node.body
        elif isinstance(node, ast.Assign | ast.AnnAssign) and _is_empty(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(names - filled)


def _filled(statement: ast.stmt) -> set[str]:
    """The names into which a statement writes as it stands, not those that a function in it would."""
    names, todo = set[str](), list[ast.AST]([statement])
    for node in todo:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() | ast.ClassDef():
                continue
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.AugAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in _FILLING:
                names.add(name)
        todo += ast.iter_child_nodes(node)
    return names


def _is_empty(value: ast.expr | None) -> bool:
    """Whether an expression is an empty table, list or set, as far as its text tells."""
    match value:
        case ast.Dict(keys=[]) | ast.List(elts=[]):
            return True
        case ast.Call(func=ast.Name(id=name), args=[], keywords=[]):
            return name in ("dict", "list", "set", "OrderedDict", "Counter")
        case ast.Call(func=ast.Name(id="defaultdict"), args=[_], keywords=[]):
            return True
    return False


@functools.lru_cache(maxsize=1024)
def syntax(file: Path, name: str, changed_ns: int) -> tuple[str, tuple[str, ...]]:
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
