"""Shapes in signatures are checked in every test, of each function's first calls."""

import pytest
import torch
from jaxtyping import TypeCheckError

from plait.fusion import NonLocal
from tests import shapes


def check(block, wrong):
    with pytest.raises(TypeCheckError, match="y"):
        block.enforcing(torch.ones(1, 2, 3).softmax(-1), wrong)


def test_a_function_is_checked_at_first_and_again_in_the_next_test(request):
    block, rows, grid = NonLocal(4, 4, 2), torch.ones(1, 2, 3).softmax(-1), torch.randn(1, 3, 4)
    check(block, grid.long())
    for _ in range(2 * shapes.FIRST):
        block.enforcing(rows, grid)
    with pytest.raises(RuntimeError):  # torch's own: it is not checked any more
        block.enforcing(rows, grid.long())
    shapes.begin(request.path)
    check(block, grid.long())


def test_every_call_is_checked_in_the_rooms_of_networks(request):
    shapes.begin(request.path.parent / "fusion" / request.path.name)
    block, rows, grid = NonLocal(4, 4, 2), torch.ones(1, 2, 3).softmax(-1), torch.randn(1, 3, 4)
    for _ in range(3 * shapes.FIRST):
        block.enforcing(rows, grid)
    check(block, grid.long())


def test_nothing_that_networks_do_is_defined_anew_at_each_call():
    """Checks of a function within a function would be made again at each of its calls."""
    import ast
    from pathlib import Path

    import plait

    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    within = [
        f"{file.name}: {inner.name}"
        for room in shapes.ROOMS
        for file in (Path(plait.__file__).parent / room).rglob("*.py")
        for outer in ast.walk(ast.parse(file.read_text()))
        if isinstance(outer, kinds)
        for inner in ast.walk(outer)
        if isinstance(inner, kinds) and inner is not outer
    ]
    assert within == []
