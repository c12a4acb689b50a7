"""Docstrings say what is there: their arguments are arguments, and their examples come out as they say."""

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest
import torch

SOURCE = Path(__file__).parent.parent / "src"
FILES = sorted((SOURCE / "plait").rglob("*.py"))


def taken(node):
    """The names of what a function takes, or of what makes an instance: those of fields, too."""
    if isinstance(node, ast.ClassDef):
        fields = {line.target.id for line in node.body if isinstance(line, ast.AnnAssign)}
        return fields.union(*(taken(line) for line in node.body if getattr(line, "name", "") == "__init__"))
    own = node.args
    every = [*own.posonlyargs, *own.args, *own.kwonlyargs, own.vararg, own.kwarg]
    return {argument.arg for argument in every if argument is not None}


def strangers(node):
    """What stands under `Args:` and is nothing of the kind."""
    part = re.search(r"^Args:\n((?:    .*\n?|\n)*)", ast.get_docstring(node) or "", re.MULTILINE)
    said = re.findall(r"^    (?! )\*{0,2}([\w*, ]+):", part[1], re.MULTILINE) if part else []
    return {name.strip(" *") for names in said for name in names.split(",")} - taken(node)


def test_arguments_are_what_docstrings_call_them():
    wrong = {}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            inherits = isinstance(node, ast.ClassDef) and not taken(node)
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not inherits and strangers(node):
                wrong[f"{file.relative_to(SOURCE)}: {node.name}"] = strangers(node)
    assert wrong == {}


def test_a_stranger_is_seen():
    (node,) = ast.parse(
        'def f(a, *b):\n    """F.\n\n    Args:\n        a, c: of two.\n        *b: more.\n    """'
    ).body
    assert strangers(node) == {"c"}


def raised(function):
    """The errors that a function itself raises, by name."""
    found, inside = set(), list(ast.iter_child_nodes(function))
    for node in inside:
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            found.add(ast.unparse(error).rpartition(".")[2])
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            inside += ast.iter_child_nodes(node)
    return {name for name in found if name.endswith("Error")}


def unsaid(node):
    """Errors that a function raises, and that stand, they or their parent, under no `Raises:`."""
    said = (ast.get_docstring(node) or "").partition("Raises:\n")[2]
    return {name for name in raised(node) if name not in said and "PlaitError" not in said}


def public(body):
    """Functions and methods with public names, of what is public."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield from public(node.body) if isinstance(node, ast.ClassDef) else [node]


def test_errors_are_said():
    wrong = {}
    for file in FILES:
        if file.parent.name == "cli":  # where docstrings are what --help says
            continue
        for node in public(ast.parse(file.read_text(encoding="utf-8")).body):
            if unsaid(node):
                wrong[f"{file.relative_to(SOURCE)}: {node.name}"] = unsaid(node)
    assert wrong == {}


def test_an_error_that_is_not_said_is_seen():
    code = (
        'class A:\n    def f(self):\n        """F."""\n        if self:\n            raise x.DataError(1)\n'
    )
    assert [unsaid(node) for node in public(ast.parse(code).body)] == [{"DataError"}]
    said = code.replace('F."""', 'F.\n\n        Raises:\n            DataError: it is so.\n        """')
    assert [unsaid(node) for node in public(ast.parse(said).body)] == [set()]


@pytest.mark.parametrize(
    "file", [file for file in FILES if ">>> " in file.read_text(encoding="utf-8")], ids=lambda file: file.stem
)
def test_examples_come_out(file):
    module = importlib.import_module(".".join(file.relative_to(SOURCE).with_suffix("").parts))
    ran = doctest.testmod(module, extraglobs={"torch": torch})
    assert ran.attempted and not ran.failed
