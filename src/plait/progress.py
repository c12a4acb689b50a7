"""How far some work is, for whoever shows it."""

from collections.abc import Callable
from typing import Literal, NamedTuple


class Step(NamedTuple):
    """`done` of `total` pieces of some work.

    `state` says what has just happened, and so what `label` names: the pieces of the work that `begins`, the
    piece that is `done`, or what the work `waits` for.
    """

    done: int
    total: int
    label: str
    state: Literal["begins", "done", "waits"] = "done"


Progress = Callable[[Step], object]


def silent(step: Step) -> None:
    """Show nothing."""
