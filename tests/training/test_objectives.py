"""Each objective against its equation, written out, and what it promises of draws and gradients."""

import copy
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from plait.clips import Clips, Rows
from plait.errors import ConfigError
from plait.fusion import Concat, Led, mean_of
from plait.training.inputs import Inputs
from plait.training.network import Network, names_outputs
from plait.training.objectives import (
    OGM_GE,
    CrossEntropy,
    Distilled,
    Draws,
    MixedClips,
    ModalityDropout,
    Objective,
    Scene,
    SensorHeads,
    Step,
)
from plait.training.objectives.ogm_ge import coefficients
from plait.training.objectives.row import named_outputs, step_of
from plait.training.objectives.sensor_heads import LEAST, blended
from plait.types import Clip

SHAPES = {"a": (5, 3), "b": (2, 2, 4), "c": (6,)}
CLASSES = 3
TARGET = torch.tensor([0, 2, 1, 2, 0, 1])
DRAWS = Draws(7, 3, 2)


def linear(shapes=SHAPES):
    return {name: nn.Linear(shape[-1], shape[-1]) for name, shape in shapes.items()}


def network(method=Concat, stand_ins=(), encoders=None, **args):
    torch.manual_seed(0)
    made = method(SHAPES, CLASSES, **args)
    made = Network(encoders or linear(), made, shapes=SHAPES, stand_ins=dict.fromkeys(stand_ins, True))
    return made.double()


def clips(count=len(TARGET), seed=1):
    torch.manual_seed(seed)
    return {name: torch.randn(count, *shape, dtype=torch.float64) for name, shape in SHAPES.items()}


def table(count=24, people=("x", "y", "z"), activities=("0", "1", "2")):
    return [
        Clip(str(row), "r", people[row % len(people)], activities[row // len(people) % len(activities)], 0, 1)
        for row in range(count)
    ]


def scene(trained, rows=None, val=(), **own):
    listed = own.pop("clips", table())
    train = np.arange(len(listed)) if rows is None else np.array(rows)
    return Scene(trained, listed, train, np.array(val, np.int64), CLASSES, named_outputs(trained), **own)


def prepared(objective, trained, **own):
    objective.prepare(scene(trained, **own))
    return objective.double()


def step(row, trained, given=None, draws=DRAWS, smoothing=0.0):
    return step_of(row, trained, (given or clips(), {}, TARGET), draws, smoothing)


def entropy(logits, target=TARGET):
    """The mean cross-entropy, written out."""
    logs = logits - logits.exp().sum(1, keepdim=True).log()
    return -torch.stack([row[at] for row, at in zip(logs, target, strict=True)]).mean()


def gradients(of):
    return {name: p.grad for name, p in of.named_parameters()}


def test_what_nothing_is_asked_of_is_the_cross_entropy_of_its_logits():
    trained = network()
    for row in ([], [Objective()], [CrossEntropy()], [CrossEntropy(0.1)]):
        smooth = 0.1 if row and getattr(row[0], "smoothing", None) else 0.0
        _, loss = step(row, trained)
        assert torch.equal(loss, F.cross_entropy(trained(clips()), TARGET, label_smoothing=smooth))
    _, smoothed = step([CrossEntropy()], trained, smoothing=0.2)
    assert torch.equal(smoothed, F.cross_entropy(trained(clips()), TARGET, label_smoothing=0.2))


def test_sensor_heads_are_the_weighted_sum():
    trained = network()
    heads = prepared(SensorHeads({"a": 0.5, "c": 2.0}, fusion=0.3), trained)
    _, loss = step([heads], trained)
    expected = 0.3 * entropy(trained(clips()))
    for name, weight in (("a", 0.5), ("c", 2.0)):
        grid = trained.encoders[name](clips()[name])
        mean = grid.flatten(1, -2).mean(1) if grid.ndim > 2 else grid
        head = heads.heads[name]
        expected = expected + weight * entropy(mean @ head.weight.T + head.bias)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    loss.backward()
    assert heads.heads["b"].weight.grad is None and heads.heads["a"].weight.grad is not None


def test_gradients_of_sensor_heads_are_those_of_finite_differences():
    trained = network(head="mean")
    heads = prepared(SensorHeads(0.7), trained)
    given, weight = clips(), trained.encoders["a"].weight

    def loss_of(value):
        changed = copy.deepcopy(trained)
        del changed.encoders["a"]._parameters["weight"]
        changed.encoders["a"].weight = value
        grids = changed.enter(given)
        outputs = changed.outputs(grids)
        made = Step(changed, given, grids, outputs, TARGET, DRAWS)
        head = heads.heads
        total = made.cross_entropy(outputs["logits"])
        means = {n: g if g.ndim == 2 else g.flatten(1, -2).mean(1) for n, g in grids.items()}
        return total + 0.7 * sum(made.cross_entropy(head[n](means[n])) for n in means)

    _, loss = step([heads], trained, given)
    torch.testing.assert_close(loss, loss_of(weight.detach()), rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(loss_of, weight.detach().clone().requires_grad_())


def test_g_blend_s_weights_by_hand():
    found = {"logits": (1.0, 0.5), "a": (0.5, 0.1), "b": (-0.2, 0.3), "c": (0.01, -1.0)}
    raw = {"logits": 1.0 / 0.25, "a": 0.5 / 0.01, "b": 0.0, "c": 0.01 / LEAST**2}
    weights = blended(found)
    assert weights == pytest.approx({name: value / sum(raw.values()) for name, value in raw.items()})
    assert blended({"logits": (-1.0, 0.1), "a": (0.0, 0.1)}) == {"logits": 0.5, "a": 0.5}


def test_g_blend_measures_what_each_loss_gains_and_gives_away():
    """Losses that a trial reports, known in advance: its weights are those of the equations."""
    trained = network()
    heads = prepared(SensorHeads("g-blend", epochs=4), trained, rows=range(12), val=range(12, 24))

    class Looked:
        """Logits whose loss is a given number on the clips that train, and another on those that validate."""

        def __init__(self, objective, epochs):
            self.objectives, self.epochs = [objective], epochs
            for name, head in getattr(objective, "heads", {}).items():
                nn.init.zeros_(head.weight)
                head.bias.data = self.logits(losses[name, epochs > 0][0])

        def logits(self, loss):
            """Of three classes, the first right, so that its cross-entropy is `loss`."""
            return torch.tensor([0.0, math.log((math.exp(loss) - 1) / 2), math.log((math.exp(loss) - 1) / 2)])

        def look(self, rows):
            side = int(rows[0] >= 12)
            for name, head in getattr(self.objectives[0], "heads", {}).items():
                head.bias.data = self.logits(losses[name, self.epochs > 0][side])
            fused = self.logits(losses["logits", self.epochs > 0][side])
            for part in np.array_split(rows, 2):
                grids = {name: torch.zeros(len(part), *shape) for name, shape in SHAPES.items()}
                target = torch.zeros(len(part), dtype=torch.int64)
                yield Step(trained, {}, grids, {"logits": fused.expand(len(part), 3)}, target, DRAWS)

    losses = {  # by name, before and after: of those who train, of those who validate
        ("logits", False): (1.2, 1.25), ("logits", True): (0.1, 0.65),
        ("a", False): (1.1, 1.1), ("a", True): (0.3, 0.5),
        ("b", False): (1.3, 1.2), ("b", True): (0.2, 1.4),
        ("c", False): (1.1, 1.2), ("c", True): (0.9, 0.8),
    }  # fmt: skip
    asked = []

    def trial(objective, epochs):
        asked.append((type(objective), epochs))
        return Looked(copy.deepcopy(objective), epochs)

    heads.measure(scene(trained, rows=range(12), val=range(12, 24)), trial)
    assert asked == [(SensorHeads, 0), (SensorHeads, 4), (Objective, 0), (Objective, 4)]
    raw = {"logits": 0.6 / 0.5**2, "a": 0.6 / 0.2**2, "b": 0.0, "c": 0.4 / LEAST**2}
    expected = {name: value / sum(raw.values()) for name, value in raw.items()}
    assert heads.measured == pytest.approx(expected, rel=1e-4)
    again = prepared(SensorHeads("g-blend"), trained, refit=True)
    again.follow(heads)
    assert again.measured == heads.measured


def test_the_discrepancy_ratio_by_hand():
    logits = {"a": torch.tensor([[2.0, 0.0], [0.0, 1.0]]), "b": torch.tensor([[0.5, 0.0], [1.0, 0.0]])}
    target = torch.tensor([0, 1])
    p = {
        "a": 1 / (1 + math.exp(-2)) + 1 / (1 + math.exp(-1)),
        "b": 1 / (1 + math.exp(-0.5)) + 1 / (1 + math.exp(1)),
    }
    found = coefficients(logits, target, 0.4)
    assert found == pytest.approx({"a": 1 - math.tanh(0.4 * p["a"] / p["b"]), "b": 1.0}, rel=1e-6)
    three = logits | {"c": torch.zeros(2, 2)}
    ratio = p["a"] / ((p["b"] + 1.0) / 2)
    other = coefficients(three, target, 0.4)
    assert other["a"] == pytest.approx(1 - math.tanh(0.4 * ratio), rel=1e-6)
    assert other["b"] == 1.0 and other["c"] == 1.0
    assert set(coefficients(three, target, 0.0).values()) == {1.0}


def modulated(trained, objective):
    """Gradients without the objective, and with it."""
    found = []
    for row in ([], [prepared(objective, trained)]):
        trained.zero_grad()
        made, loss = step(row, trained)
        loss.backward()
        for each in row:
            each.gradients(made)
        found.append({name: grad.clone() for name, grad in gradients(trained).items() if grad is not None})
    return found


@pytest.mark.parametrize("head", ["mean", "flatten", "hidden"])
def test_concat_says_what_each_sensor_tells(head):
    trained = network(head=head)
    outputs = trained.outputs(trained.enter(clips()), more=True)
    assert torch.equal(outputs["logits"], trained(clips()))
    alone = torch.stack([outputs[f"logits.{name}"] for name in SHAPES])
    torch.testing.assert_close(alone.sum(0), outputs["logits"])
    grids = trained.enter(clips())
    bias = trained.method.head.bias
    if head == "mean":
        part = grids["a"].mean(1) @ trained.method.head.weights[0].T + bias / 3
        torch.testing.assert_close(outputs["logits.a"], part)


def test_outputs_of_a_class_that_computes_otherwise_are_not_looked_at():
    class Other(Concat):
        def forward(self, grids):
            return super().forward(grids) * 2

    class Both(Other):
        def outputs(self, grids):
            return {"logits": self(grids)}

    assert names_outputs(Concat(SHAPES, 2)) and names_outputs(Both(SHAPES, 2))
    assert not names_outputs(Other(SHAPES, 2))
    assert named_outputs(network(Other)) == {"logits"}


def test_ogm_multiplies_the_gradients_of_the_encoder_that_runs_ahead():
    trained = network(head="mean")
    plain, slowed = modulated(trained, OGM_GE(alpha=0.8, enhance=False))
    outputs = trained.outputs(trained.enter(clips()), more=True)
    factors = coefficients({name: outputs[f"logits.{name}"] for name in SHAPES}, TARGET, 0.8)
    assert min(factors.values()) < 1 and 1.0 in factors.values()
    for name, grad in plain.items():
        _, modality, *_ = name.split(".")
        torch.testing.assert_close(slowed[name], grad * factors.get(modality, 1.0))


def test_probes_measure_and_teach_nothing():
    trained = network(Led, lead="a")
    objective = OGM_GE(alpha=0.8, enhance=False)
    plain, slowed = modulated(trained, objective)
    assert set(objective.probes) == set(SHAPES)
    assert all(p.grad is not None for p in objective.probes.parameters())
    factors = coefficients(objective.logits, TARGET, 0.8)
    for name, grad in plain.items():
        modality = name.split(".")[1] if name.startswith("encoders") else ""
        torch.testing.assert_close(slowed[name], grad * factors.get(modality, 1.0))
    _, loss = step([objective], trained)
    assert loss == step([], trained)[1]


def test_the_noise_of_ogm_ge_is_as_large_as_the_gradient_and_drawn_by_name():
    encoders = {name: nn.Linear(shape[-1], shape[-1]) for name, shape in SHAPES.items()}
    wide = nn.Sequential(nn.Linear(3, 4000), nn.Linear(4000, 3))
    trained = network(encoders=encoders | {"a": wide}, head="mean")
    plain, noisy = modulated(trained, OGM_GE(alpha=0.0))
    name = "encoders.a.0.weight"
    noise = noisy[name] - plain[name]
    assert noise.std() == pytest.approx(float(plain[name].std()), rel=0.05)
    assert abs(float(noise.mean())) < 0.05 * float(noise.std())
    assert torch.equal(noisy["method.head.bias"], plain["method.head.bias"])
    again, other = modulated(trained, OGM_GE(alpha=0.0))[1], []
    assert all(torch.equal(noisy[key], again[key]) for key in noisy)
    objective = prepared(OGM_GE(alpha=0.0), trained)
    for draws in (DRAWS, replace(DRAWS, batch=3)):
        trained.zero_grad()
        made, loss = step([objective], trained, draws=draws)
        loss.backward()
        objective.gradients(made)
        other.append(gradients(trained)[name].clone())
    assert torch.equal(other[0], noisy[name]) and not torch.equal(other[1], noisy[name])


def test_ogm_ends_when_it_is_told_to():
    trained = network(head="mean")
    plain, slowed = modulated(trained, OGM_GE(alpha=0.8, until=3))  # DRAWS are of the fourth epoch
    assert all(torch.equal(plain[name], slowed[name]) for name in plain)


@given(
    st.integers(0, 2**40), st.integers(0, 99), st.floats(0, 0.99), st.integers(1, 40), st.sampled_from([2, 3])
)
def test_no_clip_loses_all_its_sensors(seed, batch, p, count, sensors):
    names = list(SHAPES)[:sensors]
    held = ModalityDropout(p, "zero").held(names, count, Draws(seed, 0, batch))
    assert torch.stack(list(held.values())).any(0).all() and set(held) == set(names)
    few = ModalityDropout(p, "zero", modalities=names[:1]).held(names, count, Draws(seed, 0, batch))
    assert list(few) == names[:1]


def test_how_often_a_sensor_is_dropped():
    draws = [Draws(0, epoch, batch) for epoch in range(20) for batch in range(20)]
    held = [ModalityDropout(0.3, "zero").held(["a", "b"], 20, each) for each in draws]
    share = 1 - torch.cat([each["a"] for each in held]).double().mean()
    assert share == pytest.approx(0.3 - 0.3**2 / 2, abs=0.02)
    pairs = Counter(tuple(x) for each in held for x in torch.stack([each["a"], each["b"]], 1).tolist())
    assert pairs[(False, False)] == 0


def test_who_loses_a_sensor_does_not_depend_on_other_sensors_or_methods():
    two = ModalityDropout(0.4, "zero", ["a", "b"]).held(["a", "b", "c"], 30, DRAWS)
    one = ModalityDropout(0.4, "absent", ["b"]).held(["b", "c"], 30, DRAWS)
    assert torch.equal(two["b"], one["b"]) and not torch.equal(two["a"], two["b"])
    later = ModalityDropout(0.4, "absent", ["b"]).held(["b", "c"], 30, replace(DRAWS, epoch=4))
    assert not torch.equal(later["b"], one["b"])


def held_of(*lost):
    """Who holds what, where these clips lack a modality."""
    held = {}
    for name, places in lost:
        held[name] = torch.ones(len(TARGET), dtype=torch.bool)
        held[name][list(places)] = False
    return held


@pytest.mark.parametrize("method, args", [(Concat, {"head": "mean"}), (Concat, {}), (Led, {"lead": "a"})])
def test_stand_ins_take_the_place_clip_by_clip_in_training_as_they_do_of_what_is_missing(method, args):
    trained = network(method, ["a", "b"], **args)
    with torch.no_grad():
        for stand_in in trained.stand_ins.values():
            stand_in.copy_(torch.randn_like(stand_in))
    held = held_of(("a", (0, 3)), ("b", (1,)))
    made = trained.outputs(trained.enter(clips()), held)["logits"]
    for at in range(len(TARGET)):
        present = {n: x[at : at + 1] for n, x in clips().items() if n not in held or held[n][at]}
        torch.testing.assert_close(made[at : at + 1], trained(present))
    assert trained.needs == frozenset({"c"}) - trained.reads.optional
    assert trained.sees(["c"]) and not trained.sees([]) and not trained.sees(["somebody's"])


def test_a_stand_in_learns_from_the_clips_that_lack_it():
    trained = network(stand_ins=["a"], head="mean")
    held, given = held_of(("a", (0, 3))), clips()

    def loss_of(stand_in):
        grids = trained.enter(given)
        grids["a"] = torch.where(held["a"][:, None, None], grids["a"], stand_in)
        return F.cross_entropy(trained.method(grids), TARGET)

    loss = F.cross_entropy(trained.outputs(trained.enter(given), held)["logits"], TARGET)
    loss.backward()
    value = trained.stand_ins["a"].detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss_of, value)
    (expected,) = torch.autograd.grad(loss_of(value), value)
    torch.testing.assert_close(trained.stand_ins["a"].grad, expected)
    assert expected.abs().max() > 0


def test_means_that_are_known_have_stand_ins_too():
    trained = network(stand_ins=["a"], head="mean").float()
    with torch.no_grad():
        trained.stand_ins["a"].copy_(torch.randn(SHAPES["a"]))
    grids = trained.enter({name: x.float() for name, x in clips().items()})
    known = {mean_of(name): grids[name].flatten(1, -2).mean(1) for name in "ab"} | {"c": grids["c"]}
    held = held_of(("a", (2, 5)))
    torch.testing.assert_close(
        trained.outputs(known, held)["logits"], trained.outputs(grids, held)["logits"], rtol=1e-5, atol=1e-6
    )


def test_what_is_absent_is_withheld_from_a_method_that_does_without():
    trained = network(Led, lead="a")
    held = held_of(("b", (0, 3)), ("c", (3, 4)))
    given = clips()
    made = trained.outputs(trained.enter(given), held, more=True)["logits"]
    for at in range(len(TARGET)):
        present = {n: x[at : at + 1] for n, x in given.items() if n not in held or held[n][at]}
        torch.testing.assert_close(made[at : at + 1], trained(present))


def test_heads_and_teachers_see_what_the_method_is_denied():
    trained = network(stand_ins=["a", "b", "c"], head="mean")
    heads = prepared(SensorHeads(1.0, fusion=0.0), trained)
    _, whole = step([heads], trained)
    _, less = step([ModalityDropout(0.9, "learned"), heads], trained)
    assert whole == less


class Tripled(nn.Module):
    def forward(self, x):
        return 3 * x


def test_distillation_is_the_mean_squared_difference():
    trained = network()
    teachers = {"a": nn.Linear(3, 3).double().requires_grad_(False), "b": Tripled()}
    own = {"teachers": teachers, "taught": {"a": SHAPES["a"], "b": SHAPES["b"]}}
    for pooled in (False, True):
        objective = prepared(Distilled(0.5, pooled), trained, **own)
        assert not list(objective.parameters())
        _, loss = step([objective], trained)
        expected = entropy(trained(clips()))
        for name, teacher in teachers.items():
            theirs, grid = teacher(clips()[name]), trained.encoders[name](clips()[name])
            if pooled:
                theirs, grid = theirs.flatten(1, -2).mean(1), grid.flatten(1, -2).mean(1)
            expected = expected + 0.5 * ((theirs - grid) ** 2).mean()
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
        loss.backward()
        assert trained.encoders["a"].weight.grad is not None


@given(st.integers(0, 2**40), st.integers(0, 50), st.floats(0, 0.99), st.integers(0, 2**32))
def test_mixed_clips_are_of_the_same_activity_and_another_person_and_keep_something(seed, batch, p, drawn):
    generator = np.random.default_rng(drawn)
    people, activities = generator.integers(0, 4, 40), generator.integers(0, 5, 40)
    listed = [Clip(str(row), "r", str(people[row]), str(activities[row]), 0, 1) for row in range(40)]
    train = np.sort(generator.choice(40, 30, replace=False))
    objective = MixedClips(p)
    objective.prepare(scene(network(), rows=train, clips=listed))
    rows = generator.choice(train, 8, replace=False)
    instead = objective.clips(rows, Draws(seed, 1, batch))
    again = objective.clips(rows, Draws(seed, 1, batch))
    assert set(instead) == set(SHAPES)
    assert all(np.array_equal(instead[name], again[name]) for name in SHAPES)
    for place, row in enumerate(rows):
        taken = {int(instead[name][place]) for name in SHAPES} - {int(row)}
        assert len(taken) <= 1  # from one clip
        assert any(instead[name][place] == row for name in SHAPES)  # not all of them
        for other in taken:
            assert other in train
            assert listed[other].activity == listed[row].activity
            assert listed[other].subject != listed[row].subject


def test_how_often_clips_are_mixed():
    objective = MixedClips(0.4)
    objective.prepare(scene(network()))
    draws = [Draws(0, epoch, 0) for epoch in range(200)]
    rows = np.arange(24)
    swapped = np.stack(
        [[objective.clips(rows, each)[name] != rows for name in SHAPES] for each in draws]
    )  # (draw, modality, clip)
    assert swapped.any(1).mean() == pytest.approx(0.4, abs=0.03)
    assert swapped.mean((0, 2)) == pytest.approx(np.full(3, 0.2), abs=0.03)
    partners = {int(x) for each in draws for x in objective.clips(rows, each)["a"][:1]}
    assert partners == {0, 1, 2, 10, 11, 19, 20}  # itself, and everybody else's of its activity


@pytest.fixture
def stored(tmp_path):
    """Six clips: a tensor of a, a known grid of b and a known mean of c."""
    arrays = {}
    for name, shape in {"a": (4, 2), "b": (3, 2), mean_of("c"): (5,)}.items():
        values = np.random.default_rng(len(name)).normal(size=(6, *shape))
        np.save(tmp_path / f"{name}.npy", values.astype("<f4"))
        arrays[name] = Rows.of(tmp_path / f"{name}.npy")
    given = Clips((None,) * 6, {"a": arrays["a"]}, {"a": (4, 2)})
    known = {name: rows for name, rows in arrays.items() if name != "a"}
    return Inputs(given, Clips((None,) * 6, known, {}), ("a", "b", "c"), "cpu")


def test_mixed_rows_are_read_for_tensors_grids_and_means_before_anything_is_augmented(stored):
    rows, instead = np.array([0, 1, 2]), {"a": np.array([0, 5, 2]), "c": np.array([4, 1, 2])}
    tensors, grids = stored.batch(rows, {"a": lambda x: x + 1}, instead)
    plain, known = stored.batch(np.arange(6))
    assert torch.equal(tensors["a"], plain["a"][[0, 5, 2]] + 1)
    assert torch.equal(grids["b"], known["b"][:3])
    assert torch.equal(grids[mean_of("c")], known[mean_of("c")][[4, 1, 2]])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: CrossEntropy(1.0), "label_smoothing is 1.0, expected a number of at least 0 and below 1"),
        (lambda: SensorHeads("blend"), "weights is 'blend', expected a number, numbers by modality"),
        (lambda: SensorHeads("g-blend", fusion=0.5), "fusion is a weight, and 'g-blend' measures it"),
        (lambda: SensorHeads("g-blend", epochs=0), "epochs is 0, expected a whole number of at least 1"),
        (lambda: SensorHeads({"d": 1.0}), "weights: unknown modality 'd', expected some of: a, b, c"),
        (lambda: SensorHeads(-1.0), "weights of a is -1.0"),
        (lambda: SensorHeads("g-blend"), "measured on people who validate, and nobody does"),
        (lambda: OGM_GE(alpha="much"), "alpha is 'much'"),
        (lambda: OGM_GE(until=0), "until is 0"),
        (lambda: ModalityDropout(1.0), "p is 1.0, expected a number of at least 0 and below 1"),
        (lambda: ModalityDropout(0.5, "gone"), "stand_in is 'gone', expected one of: absent, learned, zero"),
        (lambda: ModalityDropout(0.5), "stand_in is 'absent', but Concat needs a, b, c"),
        (lambda: ModalityDropout(0.5, "zero", ["d"]), "modalities: unknown modality 'd'"),
        (lambda: MixedClips(float("nan")), "p is nan"),
        (lambda: Distilled(), "teaches nothing without teachers"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(make, message):
    with pytest.raises(ConfigError) as caught:
        make().prepare(scene(network()))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_network_or_its_people_do_not_allow_is_one_line():
    frozen = network(encoders={name: nn.Identity() for name in SHAPES})
    alone = Network({"a": nn.Linear(3, 3)}, Concat({"a": SHAPES["a"]}, 3), shapes={"a": SHAPES["a"]})
    with pytest.raises(ConfigError, match="trains no encoder, so there are no gradients to modulate"):
        OGM_GE().prepare(scene(frozen))
    teachers = {"teachers": {"a": Tripled()}, "taught": {"a": SHAPES["a"]}}
    with pytest.raises(ConfigError, match=r"teachers\.a: no encoder of a is trained"):
        Distilled().prepare(scene(frozen, **teachers))
    with pytest.raises(ConfigError, match=r"teachers\.a: its grid is \(9, 3\), the method's \(5, 3\)"):
        Distilled().prepare(scene(network(), teachers=teachers["teachers"], taught={"a": (9, 3)}))
    for objective in (OGM_GE(), ModalityDropout(0.5, "zero"), MixedClips()):
        with pytest.raises(ConfigError, match="expected a method of at least two modalities"):
            objective.prepare(scene(alone))
    with pytest.raises(ConfigError, match="no activity is done by two people who train"):
        MixedClips().prepare(scene(network(), clips=table(people=("x",))))
