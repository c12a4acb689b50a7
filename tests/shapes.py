"""Shapes in signatures, checked; outside the rooms that are about them, of each function's first calls.

A check takes twenty times as long as many a function itself, and a study calls one thousands of times.
"""

import math
import sys
from collections import Counter
from contextlib import contextmanager
from functools import wraps

import jaxtyping
from beartype import beartype
from jaxtyping import install_import_hook

ROOMS = ("fusion", "encoders")  # whose tests check every call
FIRST = 40  # calls of a function that are checked in any other test, and in the fixtures of its module
_calls: Counter[str] = Counter()
_left = []
_most = math.inf


def check_shapes():
    """Check what functions and methods of `ROOMS` are called with, and what they return."""
    install_import_hook([f"plait.{room}" for room in ROOMS], "tests.shapes.checking")


@contextmanager
def unchecked():
    """Within, all is as plait is installed: checks are code that no graph can say."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def begin(file):
    """Check again from here on, in a test of this file."""
    global _most
    for function in _left:
        del function.__no_type_check__
    _left.clear()
    _calls.clear()
    _most = math.inf if file.parent.name in ROOMS else 2 * FIRST  # of arguments, again with what is returned


def checking(function):
    """Beartype's check of a function, until that has been called often enough."""
    checked = beartype(function)
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(checked)
    def counted(*args, **options):
        _calls[name] += 1
        if _calls[name] > _most:
            _leave(function)
        return checked(*args, **options)

    return counted


def _leave(function):
    """Have jaxtyping check this function no more."""
    found = sys.modules[function.__module__]
    for part in function.__qualname__.split("."):
        if part == "<locals>":
            return
        found = vars(found)[part]
        found = getattr(found, "__func__", None) or getattr(found, "fget", None) or found
    inner = found.__wrapped__
    if not hasattr(inner, "__no_type_check__"):
        inner.__no_type_check__ = True
        _left.append(inner)
