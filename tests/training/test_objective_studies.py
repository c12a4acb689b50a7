"""Objectives in studies: bits, keys, what is refused before anything is trained, and networks put to use."""

import copy
import importlib.util
import json

import jaxtyping
import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from plait.errors import ConfigError
from plait.fusion import Concat
from plait.recogniser.export import export, exported
from plait.recogniser.fitting import fit_model
from plait.recogniser.recogniser import Recogniser
from plait.results import UNSEEN
from plait.store import write_toml
from plait.study.load import load_study
from plait.study.run import run_study
from plait.training.objectives import Objective, SensorHeads
from plait.trust import Trust
from tests import less, tiny
from tests.recogniser import world

FIXED = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
SINGLES = {name: {"use": "plait.fusion:Single", "args": {"modality": name}} for name in ("a", "b")}
TESTS = Trust(frozenset({"tests"}))


class Dropping(Concat):
    """A method that draws from torch's global generator while it is trained."""

    def __init__(self, shapes, classes, head="mean"):
        super().__init__(shapes, classes, head)
        self.dropout = nn.Dropout(0.3)

    def forward(self, grids):
        return super().forward({name: self.dropout(grid) for name, grid in grids.items()})


def objective(name, teachers=None, **args):
    said = {"use": f"plait.training.objectives:{name}", "args": args}
    return said | ({"teachers": teachers} if teachers else {})


def method(*objectives, use="plait.fusion:Concat", args=None, **own):
    row = list(objectives) if len(objectives) != 1 else objectives[0]
    return {"use": use, "args": args or {}, "train": {"objective": row}} | own


def study(methods, **own):
    settings = {"seeds": [0], "protocol": FIXED, "train": {"max_epochs": 2, "args": {"lr": 0.01}}}
    return tiny.study(methods=copy.deepcopy(methods), **settings | own)


def finished(out, methods, **own):
    """Scores, weights and records of every method's one job."""
    run_study(study(methods, **own), own.pop("data", None), out)
    facts = json.loads((out / "run.json").read_text())
    found = {}
    for name, row in facts["methods"].items():
        (key,) = set(row["keys"].values())
        folder = out / "jobs" / key
        found[name] = (
            pl.read_parquet(folder / "predictions.parquet"),
            load_file(folder / "weights.safetensors"),
            json.loads((folder / "job.json").read_text()),
        )
    return found


NOTHING = {
    "cross-entropy": [objective("CrossEntropy")],
    "heads of no weight": [objective("SensorHeads", weights=0.0)],
    "no modulation": [objective("OGM_GE", alpha=0.0, enhance=False)],
    "no dropout": [objective("ModalityDropout", p=0.0, stand_in="learned")],
    "no zeros": [objective("ModalityDropout", p=0.0, stand_in="zero")],
    "nothing mixed": [objective("MixedClips", p=0.0)],
    "nothing taught": [objective("Distilled", {"a": "a"}, weight=0.0)],
}


@pytest.mark.parametrize("use", ["plait.fusion:Concat", f"{__name__}:Dropping"])
@pytest.mark.parametrize("refit", [False, True], ids=["once", "refit"])
def test_what_asks_for_nothing_is_plain_training_bit_for_bit(tmp_path, use, refit):
    augment = {"augment": {"a": "tests.tiny:double"}}
    methods = {name: method(*row, use=use, **augment) for name, row in NOTHING.items()}
    every = [row[0] for name, row in NOTHING.items() if name != "no zeros"]
    methods["all"] = method(*every, use=use, **augment)
    methods |= SINGLES | {"plain": {"use": use, **augment}}
    train = {"max_epochs": 2, "args": {"lr": 0.01}, "label_smoothing": 0.1}
    found = finished(tmp_path, methods, protocol=FIXED | {"refit": refit}, train=train)
    scores, weights, _ = found["plain"]
    for name in (*NOTHING, "all"):
        assert found[name][0].equals(scores), name
        own = {key: w for key, w in found[name][1].items() if not key.startswith("stand_ins.")}
        assert own.keys() == weights.keys() and all(torch.equal(own[key], weights[key]) for key in own), name
    assert set(found["no zeros"][1]) - set(weights) == {"stand_ins.a", "stand_ins.b"}


SOMETHING = {
    "heads": [objective("SensorHeads", weights=0.5)],
    "blended": [objective("SensorHeads", weights="g-blend", epochs=2)],
    "modulated": [objective("OGM_GE", alpha=0.8)],
    "learned": [objective("ModalityDropout", p=0.4, stand_in="learned")],
    "zeros": [objective("ModalityDropout", p=0.4, stand_in="zero")],
    "mixed": [objective("MixedClips", p=0.5)],
    "taught": [objective("Distilled", {"a": "a", "b": "b"})],
    "all": [
        objective("MixedClips", p=0.5),
        objective("ModalityDropout", p=0.4, stand_in="learned"),
        objective("SensorHeads", weights="g-blend", epochs=1),
        objective("Distilled", {"b": "b"}, pooled=True),
        objective("OGM_GE"),
    ],
}
METHODS = SINGLES | {"plain": {"use": "plait.fusion:Concat"}}
METHODS |= {name: method(*row) for name, row in SOMETHING.items()}
METHODS["led"] = method(
    objective("ModalityDropout", p=0.4, modalities=["b"]), use="plait.fusion:Led", args={"lead": "a"}
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made")
    return out, finished(out, METHODS)


def test_each_objective_trains_another_network(made):
    _, found = made
    seen = [tuple(map(tuple, found[name][0]["scores"].to_list())) for name in (*SOMETHING, "plain", "led")]
    assert len(set(seen)) == len(seen)
    for name in SOMETHING:
        others = set(found[name][1]) - set(found["plain"][1])
        assert others == ({"stand_ins.a", "stand_ins.b"} if name in ("learned", "zeros", "all") else set())
    stand_ins = {name: found[name][1]["stand_ins.a"] for name in ("learned", "zeros")}
    assert stand_ins["learned"].shape == (8, 4) and stand_ins["learned"].abs().max() > 0
    assert not stand_ins["zeros"].any()
    parameters = {name: found[name][2]["parameters"] for name in ("plain", "learned", "zeros", "heads")}
    assert parameters["heads"] == parameters["plain"] == parameters["zeros"]
    assert parameters["learned"] - parameters["plain"] == 8 * 4 + 6 * 2 * 4


def test_g_blend_s_weights_are_in_the_job_s_record(made):
    _, found = made
    for name in ("blended", "all"):
        weights = found[name][2]["measured"]["SensorHeads"]
        assert set(weights) == {"logits", "a", "b"} and sum(weights.values()) == pytest.approx(1)
    assert (
        found["heads"][2]["measured"] == {} and found["blended"][2]["measured"] != found["all"][2]["measured"]
    )


@pytest.mark.slow
def test_other_executors_and_a_second_start_give_the_same_bytes(made, tmp_path, quick_workers):
    out, _ = made
    run_study(study(METHODS), None, tmp_path, executor="processes", workers=1)
    expected = (out / "predictions.parquet").read_bytes()
    assert (tmp_path / "predictions.parquet").read_bytes() == expected
    told = []
    for job in (tmp_path / "jobs").iterdir():
        if json.loads((job / "job.json").read_text())["decided by"]["train"].get("objective"):
            for file in job.iterdir():
                file.unlink()
            job.rmdir()
    run_study(study(METHODS), None, tmp_path, progress=lambda step: told.append(step.label))
    assert len(told) == 1 + len(SOMETHING) + 1
    assert (tmp_path / "predictions.parquet").read_bytes() == expected


def test_whatever_an_objective_is_made_of_is_in_the_key(tmp_path):
    def keys(**methods):
        run_study(study(SINGLES | methods, train={"max_epochs": 1}), None, tmp_path)
        facts = json.loads((tmp_path / "run.json").read_text())["methods"]
        return {name: next(iter(row["keys"].values())) for name, row in facts.items()}

    plain = {"use": "plait.fusion:Concat"}
    rows = {
        "mixed": method(objective("MixedClips", p=0.5)),
        "more": method(objective("MixedClips", p=0.6)),
        "own": method({"use": f"{__name__}:Halved"}),
        "taught": method(objective("Distilled", {"a": "a"})),
        "both": method(objective("Distilled", {"a": "a", "b": "b"})),
        "swapped": method(objective("MixedClips"), objective("SensorHeads")),
        "turned": method(objective("SensorHeads"), objective("MixedClips")),
    }
    found = keys(plain=plain, **rows)
    assert len(set(found.values())) == len(found)
    listed = keys(mixed=plain | {"train": {"objective": [objective("MixedClips", p=0.5)]}})
    assert listed["mixed"] == found["mixed"]
    other = {"a": SINGLES["a"] | {"train": {"batch_size": 4}}, "taught": rows["taught"]}
    assert keys(**other)["taught"] != found["taught"]


class Halved(Objective):
    def loss(self, step, loss):
        return loss / 2


class Failing(Objective):
    def loss(self, step, loss):
        raise ValueError("an objective's own trouble")


class NoTerm(nn.Module):
    pass


class Unnamed(Concat):
    def outputs(self, grids):
        return {"scores": self(grids)}


FROZEN = {"a": {"from": "a", "frozen": True}, "b": {"from": "b", "frozen": True}}


@pytest.mark.parametrize(
    "row, own, message",
    [
        ({"use": f"{__name__}:Gone"}, {}, "methods.m.train.objective.use: module .* has no 'Gone'"),
        ({"use": f"{__name__}:NoTerm"}, {}, "made a NoTerm, expected an Objective of plait.training"),
        ({"use": f"{__name__}:Failing"}, {}, "objective: Failing: ValueError: an objective's own trouble"),
        (objective("MixedClips", q=1), {}, "objective.args: plait.training.objectives:MixedClips: .*'q'"),
        (objective("MixedClips", p=2), {}, "objective.args: .*: p is 2, expected a number of at least 0"),
        ({"use": "x:Y", "arg": {}}, {}, r"m.train.objective.0.arg: unknown key, did you mean 'args'\?"),
        ([objective("MixedClips"), objective("MixedClips")], {}, "MixedClips stands there twice"),
        (objective("ModalityDropout", p=0.5), {},
         "objective: ModalityDropout: stand_in is 'absent', but Concat needs a, b: expected 'learned'"),
        (objective("ModalityDropout", p=0.5, modalities=["c"], stand_in="zero"), {},
         "objective: ModalityDropout: modalities: unknown modality 'c'"),
        (objective("ModalityDropout", p=0.5), {"use": "plait.fusion:Led", "args": {"lead": "a"}},
         r"but Led needs a: expected .*, or modalities among those it can do without \(b\)"),
        (objective("OGM_GE"), {"encoders": FROZEN}, "OGM_GE: the method trains no encoder"),
        (objective("Distilled", {"a": "a"}), {"encoders": FROZEN}, r"teachers\.a: no encoder of a is"),
        (objective("Distilled"), {}, "Distilled: teaches nothing without teachers"),
        (objective("Distilled", {"a": "wide"}), {},
         r"Distilled: teachers\.a: its grid is \(8, 6\), the method's \(8, 4\)"),
        (objective("Distilled", {"a": "b"}), {}, "teachers.a: no other method 'b' trains a"),
        (objective("Distilled", {"c": "a"}), {}, "teachers.c: unknown modality 'c'"),
        (objective("Distilled", {"a": "m"}), {}, "teachers.a: no other method 'm' trains a"),
        (objective("Distilled", {"a": "waits"}), {}, "'m' itself waits for 'waits'"),
        (objective("Distilled", {"b": "featured"}), {}, "teachers.b: 'featured' is given other features"),
        (objective("MixedClips"), {"use": f"{__name__}:Unnamed"}, "Unnamed.outputs of 2 clips: got scores"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_by_is_one_line_before_anything_is_trained(tmp_path, row, own, message):
    wide = {"a": {"use": "tests.tiny:Linear", "args": {"channels": 6}}}
    methods = SINGLES | {
        "wide": SINGLES["a"] | {"encoders": wide},
        "featured": SINGLES["b"] | {"encoders": {"b": {"features": {"use": "tests.less:Doubled"}}}},
        "m": {"use": "plait.fusion:Concat", "train": {"objective": row}} | own,
    }
    if "waits" in message:
        methods["waits"] = {"use": "plait.fusion:Concat", "encoders": {"a": {"from": "m"}}}
    with pytest.raises(ConfigError, match=message) as caught:
        run_study(study(methods), None, tmp_path)
    assert "\n" not in str(caught.value) and not list(tmp_path.rglob("job.json"))


@pytest.mark.parametrize(
    "row, protocol, message",
    [
        (objective("SensorHeads", weights="g-blend"), {"kind": "fixed", "train": ["1"], "test": ["2"]},
         "SensorHeads: weights is 'g-blend', which is measured on people who validate, and nobody does"),
        (objective("MixedClips"), {"kind": "fixed", "train": ["1"], "val": ["3"], "test": ["2"]},
         "MixedClips: no activity is done by two people who train"),
    ],
)  # fmt: skip
def test_folds_in_which_it_cannot_be_are_one_line(tmp_path, row, protocol, message):
    train = {"max_epochs": 1, "choose": "last"}
    with pytest.raises(ConfigError, match=message):
        run_study(study({"m": method(row)}, protocol=protocol, train=train), None, tmp_path)
    assert not list(tmp_path.rglob("job.json"))


def test_a_stack_is_made_of_methods_with_objectives(tmp_path):
    row = [objective("MixedClips"), objective("ModalityDropout", p=0.3, stand_in="learned")]
    methods = SINGLES | {"taught": method(*row, objective("Distilled", {"a": "a"}))}
    methods["stack"] = {"stack": ["b", "taught"], "args": {"folds": 3}}
    protocol = {"kind": "fixed", "train": ["1", "2", "3"], "test": ["10"]}
    train = {"max_epochs": 1, "choose": "last"}
    run_study(study(methods, train=train, protocol=protocol), None, tmp_path)
    table = pl.read_parquet(tmp_path / "predictions.parquet")
    assert set(table["method"]) == {"a", "b", "taught", "stack"}


def test_a_fold_within_a_fold_has_people_to_mix_or_is_one_line(tmp_path):
    methods = SINGLES | {"mixed": method(objective("MixedClips"))}
    methods["stack"] = {"stack": ["b", "mixed"], "args": {"folds": 2}}
    with pytest.raises(ConfigError, match="MixedClips: no activity is done by two people who train"):
        run_study(study(methods, train={"max_epochs": 1}), None, tmp_path)
    assert not list(tmp_path.rglob("job.json"))


def test_teachers_are_a_method_s_own_and_one_objective_is_a_row_of_one(tmp_path):
    taught = {"max_epochs": 1, "objective": objective("Distilled", {"a": "a"})}
    with pytest.raises(ConfigError, match="train.objective.teachers: they are a method's own"):
        load_study(study(SINGLES, train=taught))
    mixed = {"max_epochs": 1, "objective": objective("MixedClips", p=0.5)}
    plain = method(objective("CrossEntropy"))
    loaded = load_study(study({"m": {"use": "plait.fusion:Concat"}, "n": plain}, train=mixed))
    assert [one.args for one in loaded.training("m").objective] == [{"p": 0.5}]
    assert [one.use for one in loaded.training("n").objective] == ["plait.training.objectives:CrossEntropy"]
    with pytest.raises(ConfigError, match=r"methods\.n\.train\.objective: empty, expected one or more"):
        load_study(study({"n": method()}, train=mixed))
    write_toml(tmp_path / "study.toml", study(METHODS))
    assert load_study(tmp_path / "study.toml") == load_study(study(METHODS))
    assert load_study(study(METHODS)).order()[:2] == ("a", "b")
    assert set(load_study(study(METHODS)).only(["taught"]).methods) == {"a", "b", "taught"}
    assert set(load_study(study(METHODS)).without(["a"]).methods).isdisjoint({"a", "taught"})


def test_a_run_s_study_is_read_again(made):
    out, _ = made
    assert load_study(out / "study.toml") == load_study(study(METHODS))


def test_all_sensors_heads_trained_at_once_are_each_trained_alone(tmp_path, monkeypatch):
    """What G-Blend measures beside the fusion: a sensor's encoder and head, whoever else is trained."""
    seen = {}

    def measure(self, scene, trial):
        together = SensorHeads(1.0, fusion=0.0)
        together.prepare(scene)
        apart = {"a": copy.deepcopy(together), "b": copy.deepcopy(together)}
        for name, each in apart.items():
            each.weights = {m: float(m == name) for m in each.weights}
        ours = trial(together, 3)
        for name, each in apart.items():
            theirs = trial(each, 3)
            for one, other in ((ours.network.encoders, theirs.network.encoders),
                               (ours.objectives[0].heads, theirs.objectives[0].heads)):  # fmt: skip
                pairs = zip(one[name].parameters(), other[name].parameters(), strict=True)
                seen[name] = seen.get(name, True) and all(torch.equal(p, q) for p, q in pairs)
        nets = scene.network, trial(together, 0).network, ours.network
        first, before, after = (each.encoders["a"].linear.weight for each in nets)
        assert torch.equal(first, before) and not torch.equal(first, after)
        original(self, scene, trial)

    original = SensorHeads.measure
    monkeypatch.setattr(SensorHeads, "measure", measure)
    finished(tmp_path, {"m": method(objective("SensorHeads", weights="g-blend", epochs=2))})
    assert seen == {"a": True, "b": True}


@pytest.mark.parametrize(
    "use, args, precision",
    [
        ("Concat", {"head": "mean"}, "float32"),
        ("Led", {"lead": "a"}, "float32"),
        ("Led", {"lead": "a"}, "bfloat16"),
        ("Symmetric", {"head": "hidden"}, "float32"),
    ],
)
def test_grids_and_means_that_are_known_take_part(tmp_path, use, args, precision):
    """Of frozen encoders nothing but grids is read; what teaches and drops and mixes goes by these."""
    row = [
        objective("MixedClips", p=0.5),
        objective("ModalityDropout", p=0.4, stand_in="learned"),
        objective("SensorHeads", weights=0.5),
    ]
    frozen = {"use": f"plait.fusion:{use}", "args": args, "encoders": FROZEN}
    methods = SINGLES | {"plain": frozen, "whole": method(*row, **frozen)}
    alone = {one["use"].partition(":")[2]: method(one, **frozen) for one in row}
    train = {"max_epochs": 2, "args": {"lr": 0.01}, "precision": precision}
    found = finished(tmp_path, methods | alone, train=train)
    for name in ("whole", *alone):
        differs = not found[name][0]["scores"].equals(found["plain"][0]["scores"])
        assert differs == (name != "SensorHeads"), name  # heads alone teach no frozen encoder
    assert found["whole"][1]["stand_ins.a"].abs().max() > 0


@pytest.mark.parametrize("name", ["learned", "zeros"])
def test_a_study_without_a_sensor_sees_by_its_stand_in(tmp_path, name):
    data = less.put(tmp_path / "data", {"r10": {"b": 0}, "r3": {"a": 16.0, "b": 20.0}})
    methods = {"plain": METHODS["plain"], name: METHODS[name]}
    own = {"dataset": "tests.less:TINY", "missing": "without"}
    protocol = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
    told = []
    run_study(study(methods, protocol=protocol, **own), data, tmp_path / "run", say=told.append)
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    unseen = {row: set(table.filter(pl.col("method") == row)["predicted"]) == {UNSEEN} for row in methods}
    assert unseen == {"plain": True, name: False}
    assert any(line.startswith("plain") for line in told) and not any(line.startswith(name) for line in told)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Whoever cannot do without a sensor, trained to do so, as a model."""
    root = tmp_path_factory.mktemp("fitted")
    (root / "data").mkdir()
    methods = {
        "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
        "b": {"use": "plait.fusion:Single", "args": {"modality": "b"}},
        "both": method(
            objective("ModalityDropout", p=0.4, stand_in="learned"),
            objective("SensorHeads", weights="g-blend", epochs=2),
            objective("Distilled", {"a": "a", "b": "b"}),
            args={"head": "mean"},
        ),
        "average": {"average": ["both", "a"]},
    }
    source = world.study(methods=methods, train={"max_epochs": 3, "args": {"lr": 0.02}}, seeds=[0])
    for name in ("both", "average"):
        fit_model(source, name, root / "data", root / name, say=lambda line: None)
    return root, source


def test_a_model_goes_on_without_a_sensor(fitted):
    root, _ = fitted
    recogniser = Recogniser.load(root / "both", trust=TESTS)
    (member,) = recogniser.members
    assert member.needs == frozenset() and set(recogniser.facts.networks) == {"both"}
    clip = {name: torch.randn(facts.shape) for name, facts in recogniser.facts.sensors.items()}
    stand_ins = member.network.stand_ins
    assert stand_ins["a"].abs().max() > 0
    whole = recogniser(clip)
    for absent in ("a", "b"):
        present = {name: x for name, x in clip.items() if name != absent}
        assert recogniser.can_see(present)
        (other,) = present
        grids = {other: member.network.encoders[other](clip[other][None]), absent: stand_ins[absent][None]}
        logits = member.network.method(grids)[0] / recogniser.facts.temperature
        np.testing.assert_allclose(recogniser(present), logits.softmax(0), atol=1e-6)
        assert not np.allclose(recogniser(present), whole, atol=1e-4)
    assert not recogniser.can_see([]) and "sees nothing without a, b" in recogniser.lacks([])


def test_a_study_that_was_fitted_with_a_run_takes_its_objectives(fitted, tmp_path):
    root, source = fitted
    dropping = method(objective("ModalityDropout", p=0.4, stand_in="learned"), args={"head": "mean"})
    source = source | {"methods": {"both": dropping}}
    run_study(source, root / "data", tmp_path / "run")
    facts = fit_model(
        source, "both", root / "data", tmp_path / "model", run=tmp_path / "run", say=lambda line: None
    )
    assert facts.training.people == world.PEOPLE
    assert Recogniser.load(tmp_path / "model", trust=TESTS).can_see(["b"])
    blending = source | {"methods": {"both": method(objective("SensorHeads", weights="g-blend", epochs=1))}}
    run_study(blending, root / "data", tmp_path / "blended")
    with pytest.raises(ConfigError, match="measured on people who validate, and nobody does"):
        fit_model(blending, "both", root / "data", tmp_path / "other", run=tmp_path / "blended", say=print)


@pytest.fixture
def _shapes_unchecked():
    """As plait is installed: the checks that tests put into encoders are code that no graph can say."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


ONNX = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs plait[export]")


@pytest.mark.parametrize("to", [pytest.param("onnx", marks=ONNX), "torch"])
@pytest.mark.parametrize("model", ["both", "average"])
@pytest.mark.usefixtures("_shapes_unchecked")
def test_what_is_exported_without_a_sensor_is_the_model_without_it(fitted, tmp_path, to, model):
    root, _ = fitted
    recogniser = Recogniser.load(root / model, trust=TESTS)
    module = exported(recogniser, ["a"])
    assert module.modalities == ("b",)
    shape = recogniser.facts.sensors["b"].shape
    torch.manual_seed(0)
    samples = torch.randn(5, *shape)
    file = tmp_path / {"onnx": "b.onnx", "torch": "b.pt2"}[to]
    export(module, {"b": shape}, file, to, samples={"b": samples})
    expected = np.stack([recogniser({"b": x}) for x in samples])
    with torch.no_grad():
        np.testing.assert_allclose(module(samples), expected, atol=1e-6)
    if to == "torch":
        found = torch.export.load(file).module()(samples)
        np.testing.assert_allclose(found.detach(), expected, atol=1e-6)
    with pytest.raises(ConfigError, match="--without c: no such modality, expected some of: a, b"):
        exported(recogniser, ["c"])
    with pytest.raises(ConfigError, match="--without a, b: .* sees nothing without a, b"):
        exported(recogniser, ["a", "b"])


def test_every_objective_by_the_command_line(plait, tmp_path):
    (tmp_path / "data").mkdir()
    methods = {name: METHODS[name] for name in ("a", "b", *SOMETHING)}
    source = world.study(methods=methods, seeds=[0], train={"max_epochs": 1, "args": {"lr": 0.02}})
    source["protocol"] = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["4"]}
    write_toml(tmp_path / "study.toml", source)
    words = ["--data", tmp_path / "data", "--out"]
    running = [*words, tmp_path / "run", "--executor", "inline"]
    code, _, complaint = plait("run", tmp_path / "study.toml", *running)
    assert code == 0, complaint
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert set(table["method"]) == set(methods)
    fitting = [*words, tmp_path / "model", "--executor", "inline"]
    code, _, complaint = plait("fit", tmp_path / "study.toml", "all", *fitting)
    assert code == 0, complaint
    trusting = ["--trust", "tests.recogniser.world", "--trust", "tests.tiny"]
    predict = ["predict", tmp_path / "model", "--only", "4", *words, tmp_path / "timeline", *trusting]
    code, _, complaint = plait(*predict)
    assert code == 0, complaint
    assert len(pl.read_parquet(tmp_path / "timeline" / "timeline.parquet"))
