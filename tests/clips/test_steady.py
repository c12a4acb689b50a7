"""A `prepare` of somebody's own makes of readings what is theirs alone, or that is said."""

import functools

import numpy as np
import pytest
import torch

from plait.clips import listed
from plait.clips.steady import afresh, unsteady
from plait.types import Dataset, Modality, Readings, Recording, Span
from tests.tiny import Linear

FIRST, MEAN, TABLE, RNG, KEPT = {}, None, None, np.random.default_rng(0), {}


def recordings(data):
    for number in range(3):
        values = np.random.default_rng(number).normal(number, 1 + number, (50, 2))
        yield Recording(
            f"r{number}", str(number), {"a": Readings(np.arange(50.0), values)}, (Span(5, 20, "x"),)
        )


def tensor(values):
    return torch.from_numpy(values).float()


def draws(readings):
    return tensor(readings + np.random.normal(size=readings.shape))  # noqa: NPY002 - as many do


def draws_of_its_own(readings):
    return tensor(readings + RNG.normal(size=readings.shape))


def keeps_the_first(readings):
    FIRST.setdefault("mean", readings.mean(0))
    return tensor(readings - FIRST["mean"])


def keeps_it_in_a_global(readings):
    global MEAN
    if MEAN is None:
        MEAN = readings.mean(0)
    return tensor(readings - MEAN)


def calls_who_keeps(readings):
    return keeps_it_in_a_global(readings * 2)


def keeps_it_in_a_default(readings, seen=[]):  # noqa: B006 - as many do
    seen.append(readings.max())
    return tensor(readings / max(seen))


def closed_over():
    seen = []

    def keeps(readings):
        seen.append(readings.max())
        return tensor(readings / max(seen))

    return keeps


class Running:
    def __init__(self):
        self.count, self.mean = 0, 0.0

    def __call__(self, readings):
        self.count += 1
        self.mean = self.mean + (readings.mean(0) - self.mean) / self.count
        return tensor(readings - self.mean)

    def method(self, readings):
        return self(readings)


def table():
    global TABLE
    if TABLE is None:
        TABLE = np.hanning(8)[:, None]
    return TABLE


@functools.lru_cache
def scale():
    return np.array([1.0, 2.0])


def reads_a_table_once(readings):
    return tensor(readings * table() * scale())


def keeps_what_it_made(readings):
    key = readings.tobytes()
    if key not in KEPT:
        KEPT[key] = tensor(readings * 2)
    return KEPT[key]


def writes_into_its_own(readings):
    readings -= readings.mean(0)
    return tensor(readings)


def gaps(readings):
    return tensor(np.where(readings > 0, readings, np.nan))


def with_an_empty_cell():
    def prepare(readings):
        return tensor(readings if len(readings) else later)

    if FIRST:
        later = np.zeros(2)
    return prepare


def spectrum(readings):
    return torch.from_numpy(np.fft.rfft(readings, axis=0))


def said(prepare):
    modality = Modality("a", ("a",), 8, None, prepare, Linear)
    cuts = listed(Dataset("d", ("x",), (modality,), recordings, ""), None, ["a"])
    return unsteady(modality, cuts)


DRAWING = [draws, draws_of_its_own, functools.partial(draws)]
REMEMBERING = [keeps_the_first, keeps_it_in_a_global, calls_who_keeps, keeps_it_in_a_default, closed_over()]
REMEMBERING += [Running(), Running().method, functools.partial(Running())]
STEADY = [tensor, reads_a_table_once, keeps_what_it_made, writes_into_its_own, gaps, torch.from_numpy]
STEADY += [with_an_empty_cell(), spectrum]


def name(prepare):
    return getattr(prepare, "__name__", type(prepare).__name__)


@pytest.mark.parametrize("prepare", [*DRAWING, *REMEMBERING], ids=name)
def test_what_draws_or_remembers_is_said_and_left_as_it_was(prepare):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    line = said(prepare)
    assert line is not None and line.startswith(
        "modality a: prepare makes something else of the same readings"
    )
    assert said(prepare) == line  # nothing is remembered of it
    assert not FIRST and MEAN is None and (np.random.get_state()[1] == state).all()  # noqa: NPY002


@pytest.mark.parametrize("prepare", STEADY, ids=name)
def test_of_all_others_nothing_is_said(prepare):
    assert said(prepare) is None


def test_a_prepare_that_fails_is_left_to_whoever_cuts_clips():
    assert said(lambda readings: 1 / 0) is None


@pytest.mark.parametrize("prepare", [*REMEMBERING, *STEADY], ids=name)
def test_a_copy_does_what_it_is_a_copy_of_does(prepare):
    first = np.random.default_rng(1).normal(size=(8, 2))
    new = afresh(prepare)(first.copy())
    torch.testing.assert_close(afresh(prepare)(first.copy()), new, equal_nan=True)
