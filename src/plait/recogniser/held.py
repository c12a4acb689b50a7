"""What a function brings with it besides its code: settings, attributes, what it has closed over, tables.

A `prepare` may scale by numbers that were read from a file. A model that is used with others than it was
trained with sees something else, though no line of code has changed.
"""

from collections.abc import Sequence
from typing import Any

from plait.contents import held
from plait.keying import source_key
from plait.store import content_key


def code_of(function: Any) -> str:
    """A digest of a function's code and of what it holds."""
    return with_held(source_key([function]), [function])


def with_held(key: str, functions: Sequence[Any]) -> str:
    """A key, and what some functions hold."""
    return content_key([key, *map(held, functions)])
