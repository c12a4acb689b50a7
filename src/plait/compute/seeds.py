"""Where somebody's code draws at random: the generators that torch, NumPy and Python each have for all."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

OWN_DRAWS = (
    "draws at random from generators of its own: a job's seed does not decide what it comes to; expected "
    "torch's, NumPy's or Python's for all"
)
T = TypeVar("T")


def seed_all(number: int) -> None:
    """Have all of them begin anew, those of graphics cards in use as well."""
    # torch.manual_seed would also keep, for every kind of card that is not in use, who asks for it.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(number)
    np.random.seed(number % 2**32)  # noqa: NPY002 - it is what others draw from
    random.seed(number)


@contextmanager
def left_alone() -> Iterator[None]:
    """Whatever is drawn or seeded within, they go on afterwards as if it had not been."""
    before = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng([]):
            yield
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])


def drawn_alike(make: Callable[[], T]) -> T:
    """What is made, as it always is, whatever was drawn before."""
    with left_alone():
        seed_all(0)
        return make()
