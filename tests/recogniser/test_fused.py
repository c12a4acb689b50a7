"""Models of mixtures, stacks and ensembles: the study's scores, by hand, exported, damaged."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

import plait
from plait.errors import ConfigError, DataError
from plait.fusion import Mixture
from plait.recogniser.export import export, exported
from plait.recogniser.fitting import fit_model
from plait.recogniser.fused import in_fold, row_of
from plait.recogniser.model import MODEL, read_facts
from plait.recogniser.predict import plan, timeline
from plait.recogniser.program_files import ENDINGS
from plait.recogniser.recogniser import Recogniser
from plait.recogniser.source import facts_of, sliding_of, source_of
from plait.recogniser.validation import recogniser_of
from plait.recogniser.windows import Sliding, clipped
from plait.results import CONTINUOUS
from plait.study.load import load_study
from plait.trust import Trust
from tests.recogniser import world
from tests.recogniser.test_export import ONNX, opened
from tests.shapes import unchecked

TESTS = Trust(frozenset({"tests"}))
MADE = {
    "mixture": {"mixture": ["a", "b"]},
    "stack": {"stack": ["a", "b"], "args": {"folds": 2}},
    "first": {"first": ["concat", "b", "a"]},
    "many": {"ensemble": "concat"},
    "many-mixtures": {"ensemble": "mixture"},
    "many-stacks": {"ensemble": "stack"},
}
CASES = [pytest.param(name, "onnx", marks=ONNX.marks) for name in ("mixture", "first", "many-stacks")]
CASES += [("many-stacks", "torch")]  # ONNX comes by way of the other


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, and a model of each row, fitted on all but person 4."""
    root = tmp_path_factory.mktemp("fused")
    (root / "data").mkdir()
    methods = {name: world.study()["methods"][name] for name in ("a", "b", "concat")} | MADE
    study = world.study(
        methods=methods,
        protocol={"val": ["1"]},
        train={"max_epochs": 4, "args": {"lr": 0.02}},
        evaluate={"continuous": True, "stride_s": 2.0},
    )
    plait.run(study, root / "data", root / "run", doctor=False, say=lambda line: None)
    for method in MADE:
        fit_model(
            study,
            method,
            root / "data",
            root / method,
            run=root / "run",
            leave_out=["4"],
            say=lambda line: None,
        )
    return root, study


@pytest.mark.parametrize("method", MADE)
def test_on_the_study_s_windows_a_fold_s_networks_give_the_study_s_scores(made, method):
    root, study = made
    source = source_of(load_study(study), method, root / "data", root / "run", (), print, lambda step: None)
    facts = facts_of(source, "key", {}, sliding_of(source, None)[0])
    predictions = pl.read_parquet(root / "run" / "predictions.parquet").filter(method=method)
    row = row_of(source.study, method)
    if not MADE[method].get("ensemble"):
        predictions = predictions.filter(seed=0)
    found = {}
    for fold in "234":
        weights = {p.network: source.run.weights(p.method, f"{fold}/{p.seed}") for p in row.parts}
        fusing, layers, _ = in_fold(source.run, row, fold)
        recogniser = recogniser_of(source, replace(facts, fusing=fusing), weights, {}, layers)
        modalities = list(recogniser.modalities.values())
        recordings, windows = clipped(world.WORLD, root / "data", [fold], modalities)
        table = timeline(recogniser, plan(recogniser, recordings, Sliding(None), clips=windows))
        for number, one in enumerate(table.iter_rows(named=True)):
            found[f"{one['recording']}/{number:04d}"] = one["scores"]
    assert found.keys() == set(predictions["clip"])
    for clip, scores in predictions.select("clip", "scores").iter_rows():
        np.testing.assert_allclose(found[clip], scores, atol=1e-5)


def window(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"a": torch.randn(20, 2, generator=generator), "b": torch.randn(30, 2, generator=generator)}


def of_members(recogniser, clip):
    return np.stack([member.logits(clip, {}).softmax(0).detach().numpy() for member in recogniser.members])


def cooled(p, temperature):
    hot = np.log(p.clip(1e-12)) / temperature
    return np.exp(hot) / np.exp(hot).sum()


def test_a_model_of_an_ensemble_is_the_mean_of_a_network_for_each_seed(made):
    root, _ = made
    facts = read_facts(root / "many")
    assert list(facts.networks) == ["concat, seed 0", "concat, seed 1"] and facts.training.seeds == (0, 1)
    assert "seeds 0, 1" in (root / "many" / "README.md").read_text()
    assert "an ensemble over 2 seeds" in (root / "many" / "README.md").read_text()
    recogniser = Recogniser.load(root / "many", trust=TESTS)
    p = of_members(recogniser, window())
    assert np.abs(p[0] - p[1]).max() > 1e-4
    np.testing.assert_allclose(recogniser(window()), cooled(p.mean(0), facts.temperature), atol=1e-5)


@pytest.mark.slow
def test_a_model_of_a_mixture_is_calibrated_on_all_who_validated(made):
    root, _ = made
    facts = read_facts(root / "mixture")
    (temperatures,) = facts.fusing.temperatures
    assert facts.fusing.making == "mixture" and all(t != 1 for t in temperatures)
    recogniser = Recogniser.load(root / "mixture", trust=TESTS)
    p = torch.from_numpy(of_members(recogniser, window())).double()[:, None]
    mixed = Mixture("entropy", temperatures)(p, torch.ones(2, 1, dtype=torch.bool))[0].numpy()
    np.testing.assert_allclose(recogniser(window()), cooled(mixed, facts.temperature), atol=1e-5)
    alone = {"a": window()["a"]}  # b's sensor is absent
    hot = cooled(of_members(recogniser, window())[0], temperatures[0])
    np.testing.assert_allclose(recogniser(alone), cooled(hot, facts.temperature), atol=1e-5)


def test_a_model_of_a_stack_has_a_layer_of_its_own(made):
    root, _ = made
    recogniser = Recogniser.load(root / "many-stacks", trust=TESTS)
    assert [len(group) for group in recogniser.facts.fusing.groups] == [2, 2]
    p = np.log(of_members(recogniser, window()))
    p -= p.mean(-1, keepdims=True)
    stacks = []
    for number, group in enumerate(((0, 1), (2, 3))):
        layer = recogniser.fuse.hows[number]
        assert layer.weight.abs().max() > 0
        logits = np.einsum("kmc,mc->k", layer.weight.numpy(), p[list(group)]) + layer.bias.numpy()
        stacks.append(np.exp(logits) / np.exp(logits).sum())
    expected = cooled(np.mean(stacks, axis=0), recogniser.facts.temperature)
    np.testing.assert_allclose(recogniser(window()), expected, atol=1e-5)
    assert recogniser({"a": window()["a"]}).sum() == pytest.approx(1, abs=1e-5)


def test_a_model_of_a_first_goes_on_with_the_next_that_has_its_sensors(made):
    root, _ = made
    recogniser = Recogniser.load(root / "first", trust=TESTS)
    facts = read_facts(root / "first")
    assert facts.fusing.making == "first" and list(facts.networks) == ["concat", "b", "a"]
    p = of_members(recogniser, window())
    np.testing.assert_allclose(recogniser(window()), cooled(p[0], facts.temperature), atol=1e-5)
    for at, sensor in ((1, "b"), (2, "a")):
        left = {sensor: window()[sensor]}
        alone = recogniser.members[at].logits(left, {}).softmax(0).detach().numpy()
        np.testing.assert_allclose(recogniser(left), cooled(alone, facts.temperature), atol=1e-5)


def test_whole_recordings_are_scored_by_seed_and_of_an_ensemble_once(made):
    root, _ = made
    table = pl.read_csv(root / "run" / CONTINUOUS)
    for name, ensemble in (("mixture", False), ("stack", False), ("many", True), ("many-stacks", True)):
        assert table.filter(method=name)["seed"].to_list() == ([None] if ensemble else [0, 1])
        assert (table.filter(method=name)["recordings"] == 3).all()
    assert table["accuracy_labelled"].min() > 0.2


@pytest.mark.usefixtures("operations_listed_once")
@pytest.mark.parametrize("method, to", CASES)
def test_they_are_exported_with_all_that_is_in_them(made, tmp_path, method, to):
    root, _ = made
    recogniser = Recogniser.load(root / method, trust=TESTS)
    assert recogniser.facts.temperature != 1
    shapes = {name: sensor.shape for name, sensor in recogniser.facts.sensors.items()}
    clips = [window(seed) for seed in range(3)]
    samples = {name: torch.stack([clip[name] for clip in clips]) for name in shapes}
    path = tmp_path / f"model{ENDINGS[to]}"
    with unchecked():
        export(exported(recogniser), shapes, path, to, samples=samples)
    given = opened(path, to)(*samples.values())
    expected = torch.from_numpy(np.stack([recogniser(clip) for clip in clips]))
    torch.testing.assert_close(given, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ["mixture", "stack"])
def test_without_a_run_the_fit_s_own_validators_calibrate(made, tmp_path, method):
    root, study = made
    said = []
    facts = fit_model(study, method, root / "data", tmp_path / "model", say=said.append)
    assert "validation on 4," in facts.training.settings and facts.temperature != 1
    assert any("people" in line for line in said)
    scores = Recogniser.load(tmp_path / "model", trust=TESTS)(window())
    assert scores.sum() == pytest.approx(1, abs=1e-5)


def test_a_fit_that_was_made_is_not_made_again_and_a_run_over_other_seeds_is_refused(made):
    root, study = made
    before = {path: path.stat().st_mtime_ns for path in (root / "many-stacks").iterdir()}
    options = {"run": root / "run", "leave_out": ["4"], "say": lambda line: None}
    fit_model(study, "many-stacks", root / "data", root / "many-stacks", **options)
    assert before == {path: path.stat().st_mtime_ns for path in (root / "many-stacks").iterdir()}
    with pytest.raises(ConfigError, match="'many' is over other seeds there, expected a run of this study"):
        fit_model({**study, "seeds": [0]}, "many", root / "data", root / "x", run=root / "run", say=print)
    other = {**study, "methods": {**study["methods"], "stack": {"stack": ["a", "concat"]}}}
    with pytest.raises(ConfigError, match="no row 'stack' like this one, expected a run of this study"):
        fit_model(other, "stack", root / "data", root / "x", run=root / "run", say=print)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("stack", "making = \"stack\"", "making = \"pile\""), "fusing.making"),
        (("mixture", "making = \"mixture\"", "making = \"stack\""), "the stack's layer: "),
        (("mixture", "temperatures = [", "temperatures = [ [1.0], "), "expected one for each network"),
        (("stack", "groups = [", "groups = [ [\"c\"], "), "fusing.groups: .* expected each of: a, b"),
    ],
)  # fmt: skip
def test_a_damaged_model_is_a_line(made, tmp_path, change, message):
    root, _ = made
    name, before, after = change
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (root / name).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    text = (folder / MODEL).read_text()
    assert before in text, json.dumps(text)
    (folder / MODEL).write_text(text.replace(before, after))
    with pytest.raises(DataError, match=message) as caught:
        Recogniser.load(folder, trust=TESTS)
    assert "\n" not in str(caught.value)
