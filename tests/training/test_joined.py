"""What a small network's step is spared changes no number: weights as one vector, arrays in memory."""

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from plait.clips import Clips
from plait.clips.rows import Rows
from plait.compute.machine import settled, wide_products
from plait.errors import DataError
from plait.study.run import run_study
from plait.training import course as course_module
from plait.training import fit as fit_module
from plait.training import joined as joined_module
from plait.training.joined import NUMBER_BY_NUMBER, Joined
from plait.training.objectives.base import number_of
from tests import tiny

STEPS, LAST_WHOLE = 12, 8


def weights(generator):
    """Weights of shapes that are drawn, some of a single number, some of whole cache lines."""
    shapes = [torch.randint(1, 20, (axes,), generator=generator).tolist() for axes in (1, 2, 3, 2)]
    return [
        nn.Parameter(torch.randn(shape, generator=generator)) for shape in (*shapes, (1,), (4, 16), (33, 17))
    ]


@pytest.mark.parametrize("kind", sorted(NUMBER_BY_NUMBER, key=lambda kind: kind.__name__))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_optimizer_comes_to_the_same_bits_by_one_vector_as_weight_by_weight(kind, seed):
    generator = torch.Generator().manual_seed(seed)
    plain = weights(generator)
    ours = [nn.Parameter(weight.detach().clone()) for weight in plain]
    optimizers = [kind(plain, lr=0.01), kind(ours, lr=0.01)]
    (group,) = optimizers[1].param_groups
    joined = Joined(optimizers[1], group)
    schedules = [torch.optim.lr_scheduler.ExponentialLR(one, 0.9) for one in optimizers]
    for step in range(STEPS):
        for number, (weight, other) in enumerate(zip(plain, ours, strict=True)):
            lacks = step >= LAST_WHOLE and number == step % 3  # a sensor that a whole batch is without
            weight.grad = None if lacks else torch.randn(weight.shape, generator=generator)
            other.grad = None if lacks else weight.grad.clone()
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        assert len(group["params"]) == (1 if step < LAST_WHOLE else len(ours))
        assert all(weight.data_ptr() % 64 == 0 for weight in ours)
        for weight, other in zip(plain, ours, strict=True):
            assert torch.equal(weight, other)
    joined.part()
    assert len({weight.untyped_storage().data_ptr() for weight in ours}) == len(ours)


def renormed(weight):
    weight.data = torch.renorm(weight.data, 2, 0, 1.0)


def replaced_at_times(weight):
    if float(weight.detach().sum()) > 0:
        weight.data = weight.data * 0.5


def turned(weight):
    if weight.ndim == 2 and weight.shape[0] == weight.shape[1]:
        weight.data = weight.data.t()


def in_place(weight):
    weight.data.mul_(0.9)


@pytest.mark.parametrize("change", [renormed, replaced_at_times, turned, in_place])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
@pytest.mark.parametrize("first", [0, 3])
def test_a_weight_that_is_given_other_memory_is_followed_there(change, kind, first):
    generator = torch.Generator().manual_seed(0)
    plain = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((5, 5), (7,), (3, 4))]
    ours = [nn.Parameter(weight.detach().clone()) for weight in plain]
    optimizers = [kind(plain, lr=0.1), kind(ours, lr=0.1)]
    Joined(optimizers[1], optimizers[1].param_groups[0])
    for step in range(STEPS):
        for weight, other in zip(plain, ours, strict=True):
            if step >= first and weight.ndim == 2:  # as a layer with a largest norm does in its forward pass
                change(weight)
                change(other)
            weight.grad = torch.randn(weight.shape, generator=generator)
            other.grad = weight.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
        for weight, other in zip(plain, ours, strict=True):
            assert torch.equal(weight, other)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "a piece"])
@pytest.mark.parametrize("apart", [False, True], ids=["one group", "two groups"])
def test_weights_that_share_memory_go_on_doing_so(apart, whole):
    """As where one layer was given another's `weight.data`: both are followed in the one place."""
    found = []
    for joining in (False, True):
        generator = torch.Generator().manual_seed(0)
        own = weights(generator)
        alias = nn.Parameter(own[2].data if whole else own[2].data.view(-1)[1:])
        groups = [{"params": own}, {"params": [alias, nn.Parameter(torch.ones(3))]}]
        optimizer = torch.optim.AdamW(groups if apart else [*own, *groups[1]["params"]], lr=0.01)
        if joining:
            _ = [Joined(optimizer, group) for group in optimizer.param_groups]
        for _ in range(3):
            for weight in (weight for group in groups for weight in group["params"]):
                weight.grad = torch.randn(weight.shape, generator=generator)
            optimizer.step()
        assert torch.equal(own[2] if whole else own[2].view(-1)[1:], alias)
        found.append([weight.detach().clone() for weight in [*own, alias]])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_weights_side_by_side_in_one_memory_are_joined():
    """As of a network whose weights are pieces of the file that was read."""
    file, generator = torch.randn(100), torch.Generator().manual_seed(0)
    ours = [nn.Parameter(file[:30].view(5, 6)), nn.Parameter(file[30:37]), nn.Parameter(file[37:])]
    plain = [nn.Parameter(weight.detach().clone()) for weight in ours]
    optimizers = [torch.optim.AdamW(weights, lr=0.01) for weights in (plain, ours)]
    joined = Joined(optimizers[1], optimizers[1].param_groups[0])
    for weight, other in zip(plain, ours, strict=True):
        weight.grad = torch.randn(weight.shape, generator=generator)
        other.grad = weight.grad.clone()
    for optimizer in optimizers:
        optimizer.step()
    assert joined.vector is not None
    assert all(torch.equal(weight, other) for weight, other in zip(plain, ours, strict=True))


class Slowed(torch.optim.AdamW):
    """Somebody's own optimizer, which may look at whole weights."""


@pytest.mark.parametrize(
    "make",
    [
        lambda weights: Slowed(weights),
        lambda weights: torch.optim.AdamW(weights, fused=True),
        lambda weights: torch.optim.AdamW([*weights, nn.Parameter(torch.zeros(3).double())]),
        lambda weights: torch.optim.AdamW([*weights, nn.Parameter(torch.zeros(3, 2).mT)]),
        lambda weights: torch.optim.Adagrad(weights),  # remembers of each weight before it steps
    ],
)
def test_others_are_left_alone(make):
    optimizer = make(weights(torch.Generator().manual_seed(0)))
    (group,) = optimizer.param_groups
    count, joined = len(group["params"]), Joined(optimizer, group)
    for weight in group["params"]:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert joined.vector is None and len(group["params"]) == count


def left(out):
    """The bytes of every job's predictions and weights, and of its history, by its key."""
    jobs = {}
    for job in sorted((out / "jobs").iterdir()):
        tables = [pl.read_parquet(job / f"{name}.parquet") for name in ("predictions", "history")]
        jobs[job.name] = [table.write_json() for table in tables]
        jobs[job.name].append((job / "weights.safetensors").read_bytes())
    return jobs


def test_a_study_s_jobs_leave_the_same_bytes_as_the_plain_way(tmp_path, monkeypatch):
    methods = tiny.study()["methods"] | {
        "a-led-frozen": {
            "use": "plait.fusion:Led",
            "args": {"lead": "b"},
            "encoders": {name: {"from": name, "frozen": True} for name in ("a", "b")},
        }
    }
    train = {"optimizer": "torch.optim:AdamW", "max_epochs": 2, "args": {"lr": 0.01}}
    fixed = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
    study = tiny.study(methods=methods, seeds=[0], train=train, protocol=fixed)
    vectors = []
    join = Joined._join
    monkeypatch.setattr(Joined, "_join", lambda self: vectors.append(self) or join(self))
    run_study(study, None, tmp_path / "ours")
    assert len(vectors) == 5  # a job each
    monkeypatch.setattr(joined_module, "NUMBER_BY_NUMBER", frozenset())
    monkeypatch.setattr(fit_module, "IN_MEMORY", 0)
    run_study(study, None, tmp_path / "plain")
    assert len(vectors) == 5
    ours, plain = left(tmp_path / "ours"), left(tmp_path / "plain")
    assert len(ours) == 5
    assert ours == plain


def test_arrays_in_memory_are_the_arrays_on_disk(tmp_path):
    rng = np.random.default_rng(0)
    files = []
    for number, kind in enumerate(("<f2", "<f4")):
        files.append(tmp_path / f"{number}.npy")
        np.save(files[-1], rng.normal(size=(5, 4, 3)).astype(kind))
    places = ((0, 3), None, (1, 0), (1, 4), (0, 0))
    rows = Rows(tuple(files), places)
    loaded = rows.loaded()
    assert rows.nbytes == 5 * 12 * 4
    for wanted in ([0], [4, 2, 2], [3, 0, 4, 2]):
        found = loaded.read(np.array(wanted))
        assert found.dtype == torch.float32 and torch.equal(found, rows.read(np.array(wanted)))
    with pytest.raises(DataError, match="lack a modality"):
        loaded.read(np.array([0, 1]))


def test_only_arrays_that_fit_are_read_at_once(tmp_path):
    arrays = {}
    for name, width in {"wide": 100, "narrow": 3, "middling": 30}.items():
        np.save(tmp_path / f"{name}.npy", np.zeros((10, width), np.float32))
        arrays[name] = Rows.of(tmp_path / f"{name}.npy")
    clips = Clips((), arrays, {})
    for most, names in (
        (10, set()),
        (120, {"narrow"}),
        (1320, {"narrow", "middling"}),
        (10_000, set(arrays)),
    ):
        loaded = clips.loaded(most, arrays).arrays
        assert {name for name in arrays if type(loaded[name]) is not Rows} == names


@pytest.mark.parametrize(("positions", "small"), [(28, True), (490, False)])
def test_products_are_by_the_size_of_known_grids(positions, small):
    of = torch.backends.mkldnn.matmul
    table = Clips((), {"a": None}, {"a": (positions, 64)})
    inputs = course_module.Inputs(table, table, ("a",), "cpu")
    asked = course_module.Course.products
    with settled(), wide_products():
        wide = of.fp32_precision
        with asked(type("Course", (), {"inputs": inputs})):
            assert of.fp32_precision == ("none" if small else wide)
        assert of.fp32_precision == wide
        beside = course_module.Inputs(table, Clips((), {}, {}), ("a",), "cpu")
        with asked(type("Course", (), {"inputs": beside})):  # an encoder computes
            assert of.fp32_precision == wide


@pytest.mark.parametrize("card", [False, True])
def test_what_an_augmentation_draws_is_what_it_draws_from_torch_s_own_seed(card, monkeypatch):
    seeded, batch, draw = [], torch.zeros(3, 4), "0/3/7/depth"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: card)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    torch.manual_seed(number_of(draw))
    expected = torch.randn(3, 4)
    seeded.clear()
    assert torch.equal(course_module.seeded(lambda x: x + torch.randn_like(x), draw, batch), expected)
    assert seeded == [number_of(draw)] * card
