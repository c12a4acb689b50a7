"""Rows made of other rows: against NumPy by hand, without a test person in them, stopped and resumed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import plait
from plait.analysis.calibration import temperature, tempered
from plait.errors import ConfigError, DataError
from plait.fusion import Stack
from plait.results import read_facts, read_run
from plait.study.load import load_study
from plait.study.run import run_study
from plait.types import Readings
from tests import less, tiny

TRAIN = {"max_epochs": 2, "args": {"lr": 0.02}}
ONE_FOLD = {"kind": "fixed", "train": ["2", "3"], "val": ["1"], "test": ["10"]}  # as fold 10 of all four
METHODS = {
    **{name: tiny.study()["methods"][name] for name in ("a", "b", "average", "concat")},
    "warm": {"use": "plait.fusion:Concat", "encoders": {"a": {"from": "a", "frozen": True}}},
    "mixture": {"mixture": ["a", "b"]},
    "plain": {"mixture": ["a", "b"], "args": {"confidence": "highest", "calibrated": False}},
    "stack": {"stack": ["a", "b"], "args": {"folds": 2}},
    "warm-stack": {"stack": ["warm", "b"], "args": {"folds": 2, "l2": 0.01}},
    "first": {"first": ["concat", "a", "b"]},
    "many": {"ensemble": "concat"},
    "many-average": {"ensemble": "average"},
    "many-stacks": {"ensemble": "stack"},
}


def study(**own):
    return tiny.study(**{"train": TRAIN, "methods": METHODS, **own})


def run(out, own=None, **options):
    run_study(own or study(), None, out, **options)
    return pl.read_parquet(out / "predictions.parquet")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out, said = tmp_path_factory.mktemp("made"), []
    return out, run(out, say=said.append), said


@pytest.fixture(scope="module")
def one_fold(tmp_path_factory):
    """All rows in one of the folds: what is about bytes needs no more."""
    out = tmp_path_factory.mktemp("one fold")
    run(out, study(protocol=ONE_FOLD))
    return out


def rows(table, method, **where):
    return table.filter(method=method, **where).sort("seed", "fold", "clip")


def scores(table, method, **where):
    return np.array(rows(table, method, **where)["scores"].to_list())


def within(out, key):
    """The jobs of folds within that a stack's job waited for."""
    return [job for group in decided(out, key)["inner"] for job in group]


def decided(out, key):
    return json.loads((out / "jobs" / key / "job.json").read_text())["decided by"]


def test_a_mixture_is_calibrated_fold_by_fold_on_who_validates(finished):
    out, table, _ = finished
    validation = pl.read_parquet(out / "validation.parquet")
    temperatures = set()
    for (fold, seed), mixed in table.filter(method="mixture").group_by("fold", "seed"):
        expected, weights = 0.0, 0.0
        for name in ("a", "b"):
            said = rows(validation, name, fold=fold, seed=seed)
            truth = np.array([tiny.ACTIVITIES.index(activity) for activity in said["activity"]])
            temperatures.add(found := temperature(scores(validation, name, fold=fold, seed=seed), truth))
            hot = tempered(scores(table, name, fold=fold, seed=seed), found)
            sure = 1 / np.maximum(-(hot * np.log(hot)).sum(1, keepdims=True), 1e-3)
            expected, weights = expected + sure * hot, weights + sure
        np.testing.assert_allclose(scores(mixed, "mixture"), expected / weights, atol=1e-6)
    assert len(temperatures) > 8  # each job has its own


def test_a_mixture_that_is_not_calibrated_takes_scores_as_they_come(finished):
    _, table, _ = finished
    a, b = scores(table, "a"), scores(table, "b")
    weights = [p.max(1, keepdims=True) for p in (a, b)]
    expected = (weights[0] * a + weights[1] * b) / (weights[0] + weights[1])
    np.testing.assert_allclose(scores(table, "plain"), expected, atol=1e-6)


def test_an_ensemble_is_the_mean_over_seeds_and_of_no_seed(finished):
    out, table, _ = finished
    for name, of in (("many", "concat"), ("many-average", "average"), ("many-stacks", "stack")):
        found = rows(table, name)
        assert found["seed"].null_count() == found.height == 64
        mean = (scores(table, of, seed=0) + scores(table, of, seed=1)) / 2
        np.testing.assert_allclose(scores(table, name), mean, atol=1e-6)
        assert found["predicted"].to_list() == [tiny.ACTIVITIES[i] for i in mean.argmax(1)]
    assert table.drop_nulls("seed").height == 10 * 2 * 64
    validation = pl.read_parquet(out / "validation.parquet")
    mean = (scores(validation, "concat", seed=0) + scores(validation, "concat", seed=1)) / 2
    np.testing.assert_allclose(scores(validation, "many"), mean, atol=1e-6)
    assert read_run(out)[1].equals(table)


def test_a_layer_is_fitted_on_who_trains_by_networks_that_had_not_seen_them(finished):
    out, _, _ = finished
    facts = read_facts(out)
    for name in ("stack", "warm-stack"):
        for place, key in facts.methods[name].keys.items():
            fold, _, seed = place.partition("/")
            own = decided(out, key)
            outer = decided(out, own["methods"][0])["fold"]
            assert outer["test"] == [fold]
            trained_on = []
            for group in own["inner"]:
                for method, inner in zip(METHODS[name]["stack"], group, strict=True):
                    part = decided(out, inner)
                    assert part["fold"]["val"] == outer["val"] and part["seed"] == int(seed)
                    assert not set(part["fold"]["test"]) & {*part["fold"]["train"], *part["fold"]["val"]}
                    assert {*part["fold"]["train"], *part["fold"]["test"]} == set(outer["train"])
                    predictions = pl.read_parquet(out / "jobs" / inner / "predictions.parquet")
                    assert set(predictions["subject"]) == set(part["fold"]["test"])
                    assert (len(part["donors"]) == 1) == (method == "warm")
                    for donor in part["donors"].values():  # trained in the same fold within
                        assert decided(out, donor)["fold"] == part["fold"]
                trained_on += part["fold"]["test"]
            assert sorted(trained_on) == sorted(outer["train"]) and fold not in trained_on


def test_a_stack_is_its_layer_over_the_fold_s_own_scores(finished):
    out, table, _ = finished
    for place, key in read_facts(out).methods["stack"].keys.items():
        fold, _, seed = place.partition("/")
        layer = Stack(2, 4)
        layer.load_state_dict(load_file(out / "jobs" / key / "weights.safetensors"))
        where = {"fold": fold, "seed": int(seed)}
        p = np.stack([scores(table, name, **where) for name in ("a", "b")])
        expected = layer(torch.from_numpy(p), torch.ones(p.shape[:2], dtype=torch.bool)).numpy()
        np.testing.assert_allclose(scores(table, "stack", **where), expected, atol=1e-6)
        fitted = json.loads((out / "jobs" / key / "job.json").read_text())["decided by"]["l2 chosen"]
        assert fitted in load_study(out / "study.toml").methods["stack"].args["l2"]


def garbled(data):
    """TINY, but for one person, whose readings and labels are others."""
    for recording in tiny.recordings(data):
        if recording.subject == "10":
            rng = np.random.default_rng(77)
            streams = {
                name: Readings(stream.times, 5 * rng.normal(size=stream.values.shape))
                for name, stream in recording.streams.items()
            }
            spans = [
                replace(span, activity=tiny.ACTIVITIES[at % 4]) for at, span in enumerate(recording.spans)
            ]
            spans = [replace(span, activity=spans[-1 - at].activity) for at, span in enumerate(spans)]
            recording = replace(recording, streams=streams, spans=tuple(spans))
        yield recording


GARBLED = replace(tiny.TINY, recordings=garbled)


def test_nothing_of_a_test_person_is_in_a_layer_or_a_temperature(tmp_path, finished):
    """With other readings and labels of person 10, what is trained for their fold is the same to the byte."""
    out, _, _ = finished
    methods = {
        name: METHODS[name] for name in ("a", "b", "warm", "mixture", "stack", "warm-stack", "many-stacks")
    }
    own = {"dataset": "tests.study.test_made:GARBLED", "methods": methods}
    run(tmp_path / "tested", study(**own, protocol=ONE_FOLD))
    run(
        tmp_path / "trained on",
        study(**own, protocol={**ONE_FOLD, "train": ["3", "10"], "val": ["2"], "test": ["1"]}),
    )
    before = read_facts(out)
    for name in ("stack", "warm-stack"):
        for place, folder in (("10/0", "tested"), ("10/1", "tested"), ("1/0", "trained on")):
            after = read_facts(tmp_path / folder).methods[name].keys[f"fixed/{place[-1]}"]
            one, other = out / "jobs" / before.methods[name].keys[place], tmp_path / folder / "jobs" / after
            same = (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()
            assert same == place.startswith("10/"), (name, place)
            inner = [set(within(folder.parents[1], folder.name)) for folder in (one, other)]
            assert (inner[0] == inner[1]) == place.startswith("10/")
    one = pl.read_parquet(out / "validation.parquet").filter(fold="10")
    other = pl.read_parquet(tmp_path / "tested" / "validation.parquet")
    for name in ("mixture", "stack", "many-stacks"):
        assert rows(one, name).drop("fold").equals(rows(other, name).drop("fold")), name


class Stopped(Exception):
    pass


def same_tables(one, other):
    for name in ("predictions.parquet", "validation.parquet"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_a_study_that_was_stopped_anywhere_ends_with_the_same_bytes(tmp_path, one_fold):
    everything = len(list((one_fold / "jobs").iterdir()))
    for number in (5, everything // 2, everything - 1):  # among networks, those within folds, and layers

        def stop(step, number=number):
            if step.done >= number and step.state == "done":
                raise Stopped

        with pytest.raises(Stopped):
            run(tmp_path, study(protocol=ONE_FOLD), progress=stop)
        assert not (tmp_path / "predictions.parquet").exists()
    run(tmp_path, study(protocol=ONE_FOLD))
    same_tables(tmp_path, one_fold)


def test_what_was_lost_of_a_stack_is_done_again_to_the_same_bytes(tmp_path, one_fold):
    copy = tmp_path / "lost"
    shutil.copytree(one_fold, copy)
    for key in list(read_facts(copy).methods["stack"].keys.values())[:2]:
        shutil.rmtree(copy / "jobs" / decided(copy, key)["inner"][0][1])
        shutil.rmtree(copy / "jobs" / key)
    (copy / "predictions.parquet").unlink()
    run(copy, study(protocol=ONE_FOLD))
    same_tables(copy, one_fold)


@pytest.mark.slow
def test_processes_give_the_same_bytes(tmp_path, one_fold, quick_workers):
    run(tmp_path, study(protocol=ONE_FOLD), executor="processes", workers=2)
    same_tables(tmp_path, one_fold)


def test_what_stacks_cost_is_said_before_anything_is_trained(finished):
    out, _, said = finished
    inner, own = set(), set()
    for row in read_facts(out).methods.values():
        own |= set(row.keys.values()) if row.use else set()
    for name in ("stack", "warm-stack"):
        for key in read_facts(out).methods[name].keys.values():
            for job in within(out, key):
                inner |= {job, *decided(out, job)["donors"].values()}
    assert said == [
        f"stack stack, warm-stack: {len(inner)} trainings in folds within folds, beside the {len(own)} of "
        "all methods"
    ]
    assert len(inner) == 3 * 2 * 4 * 2 and not inner & own


def test_some_rows_alone_bring_what_they_are_made_of():
    loaded = load_study(study())
    assert set(loaded.only(["many-stacks"]).methods) == {"a", "b", "stack", "many-stacks"}
    assert set(loaded.without({"a"}).methods) == {"b", "concat", "many"}
    assert loaded.methods["many-stacks"].modalities == ("a", "b")
    assert loaded.methods["mixture"].args == {"confidence": "entropy", "calibrated": True}


def test_where_nobody_validates_a_mixture_has_no_temperature_and_a_stack_needs_none(tmp_path):
    halves = {"kind": "subject-folds", "folds": 2, "val_subjects": 0}
    own = study(protocol=halves, train={**TRAIN, "choose": "last"}, seeds=[0])
    table = run(tmp_path, own)
    assert pl.read_parquet(tmp_path / "validation.parquet").is_empty()
    a, b = scores(table, "a"), scores(table, "b")
    sure = [1 / np.maximum(-(p * np.log(p)).sum(1, keepdims=True), 1e-3) for p in (a, b)]
    expected = (sure[0] * a + sure[1] * b) / (sure[0] + sure[1])
    np.testing.assert_allclose(scores(table, "mixture"), expected, atol=1e-6)
    assert rows(table, "stack").height == 64
    np.testing.assert_allclose(scores(table, "many"), scores(table, "concat"), atol=1e-7)  # of one seed


def test_networks_of_folds_within_are_not_trained_again_on_who_validates(tmp_path):
    methods = {name: METHODS[name] for name in ("a", "b", "stack")}
    run(tmp_path, study(methods=methods, seeds=[0], protocol={**ONE_FOLD, "refit": True}))
    for key in read_facts(tmp_path).methods["stack"].keys.values():
        for job in within(tmp_path, key):
            history = pl.read_parquet(tmp_path / "jobs" / job / "history.parquet")
            assert set(history["phase"]) == {"train"} and not decided(tmp_path, job)["refit"]


def test_a_sweep_and_like_make_stacks_of_other_settings(tmp_path):
    methods = {name: METHODS[name] for name in ("a", "b", "stack")} | {
        "fewer": {"like": "stack", "args": {"l2": 1.0}},
        "s": {"stack": ["a", "b"], "sweep": {"l2": [0.1, 10.0], "folds": [2]}},
    }
    table = run(tmp_path, study(methods=methods, seeds=[0], protocol=ONE_FOLD))
    facts = read_facts(tmp_path).methods
    assert list(facts)[3:] == ["fewer", "s[l2=0.1,folds=2]", "s[l2=10.0,folds=2]"]
    assert facts["fewer"].args == {"folds": 2, "l2": [1.0]} and facts["s[l2=0.1,folds=2]"].sweep
    sharpness = [scores(table, f"s[l2={l2},folds=2]").max(1).mean() for l2 in ("0.1", "10.0")]
    assert sharpness[0] > sharpness[1] > 0.25
    inner = {json.dumps(decided(tmp_path, facts[name].keys["fixed/0"])["inner"]) for name in list(facts)[2:]}
    assert len(inner) == 1  # the same networks serve all


def test_the_page_the_table_and_latex_show_them(tmp_path, finished):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)  # so that nothing is trained again
    contrasts = [["many", "concat"], ["stack", "average"], ["many", "many-stacks"]]
    own = study(comparisons={"contrasts": contrasts})
    plait.run(own, ".", tmp_path, executor="inline", say=lambda line: None)
    main = pl.read_csv(tmp_path / "table.csv")
    kinds = dict(main.select("method", "kind").iter_rows())
    assert [kinds[name] for name in ("mixture", "plain", "stack", "first", "many", "many-stacks")] == [
        "mixture", "mixture", "stack", "first", "ensemble", "ensemble"
    ]  # fmt: skip
    assert main["kind"].to_list()[-3:] == ["ensemble"] * 3  # a group of their own
    text, page = ((tmp_path / name).read_text("utf-8") for name in ("table.md", "index.html"))
    for word in (
        "Mixture: ",
        "Stack: ",
        "First: of each clip",
        "Ensemble: the mean of a row's scores over 2 seeds",
    ):
        assert word in text and word.replace("'", "&#39;") in page
    assert "ensemble over seeds" in page and "late fusion" in page
    assert "many-average" in (tmp_path / "table.tex").read_text("utf-8")
    decided_rows = pl.read_csv(tmp_path / "contrasts.csv")
    assert decided_rows["seeds"].to_list() == [2, 2, 1]
    described = pl.read_csv(tmp_path / "comparisons.csv", schema_overrides={"baseline_kind": pl.String})
    assert not set(described["baseline_kind"]) & {"ensemble", "first"}


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"x": {"stack": ["a"]}}, "methods.x.stack: got ['a'], expected two methods or more, each once"),
        ({"x": {"mixture": ["a", "a"]}}, "expected two methods or more, each once"),
        ({"x": {"mixture": ["a", "averag"]}}, "methods.x.mixture: no trained method 'averag', expected some"),
        ({"x": {"stack": ["a", "average"]}}, "methods.x.stack: no trained method 'average'"),
        ({"x": {"first": ["a", "average"]}}, "methods.x.first: no trained method 'average'"),
        ({"x": {"first": ["a", "b"], "args": {"k": 1}}}, "a first trains no network, so it takes no 'args'"),
        ({"x": {"ensemble": "avrage"}},
         "methods.x.ensemble: no row 'avrage', did you mean 'average'? Expected some of: a, b, average"),
        ({"x": {"ensemble": "y"}, "y": {"ensemble": "a"}}, "methods.x.ensemble: no row 'y'"),
        ({"x": {"ensemble": "x"}}, "methods.x.ensemble: no row 'x'"),
        ({"x": {"ensemble": "a", "args": {"k": 1}}}, "an ensemble trains no network, so it takes no 'args'"),
        ({"x": {"stack": ["a", "b"], "train": {"patience": 1}}},
         "a stack trains no network, so it takes no 'train'"),
        ({"x": {"stack": ["a", "b"], "mixture": ["a", "b"]}}, "methods.x: expected exactly one of 'use'"),
        ({"x": {"stack": ["a", "b"], "args": {"fold": 2}}},
         "methods.x.args.fold: unknown key, did you mean 'folds'? Expected one of: folds, l2"),
        ({"x": {"stack": ["a", "b"], "args": {"folds": 1}}}, "methods.x.args.folds: got 1"),
        ({"x": {"stack": ["a", "b"], "args": {"l2": 0}}}, "methods.x.args.l2.0: got 0: "),
        ({"x": {"stack": ["a", "b"], "args": {"l2": []}}}, "methods.x.args.l2: got []: "),
        ({"x": {"mixture": ["a", "b"], "args": {"confidence": "energy"}}},
         "methods.x.args.confidence: got 'energy'"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(methods, message):
    with pytest.raises(ConfigError) as caught:
        load_study(tiny.study(methods=tiny.study()["methods"] | methods))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_too_few_people_for_the_groups_is_a_line_before_anything_is_trained(tmp_path):
    methods = {name: METHODS[name] for name in ("a", "b")} | {"x": {"stack": ["a", "b"]}}
    with pytest.raises(
        ConfigError, match="methods.x.args.folds: got 3, but 2 subjects train in fold 1: expected no more"
    ):
        run(tmp_path, study(methods=methods))
    assert not (tmp_path / "jobs").exists()


class Shaky(nn.Module):
    """A layer on the means, whose scores are no numbers after one person's two batches, as within folds."""

    def __init__(self, shapes, classes):
        super().__init__()
        self.linear = nn.Linear(sum(shape[-1] for shape in shapes.values()), classes)
        self.batches = 0

    def forward(self, grids):
        grid = torch.cat([grid.flatten(1, -2).mean(1) for grid in grids.values()], 1)
        self.batches += self.training
        return self.linear(grid) * (torch.nan if self.batches == 2 and not self.training else 1.0)


def test_a_network_within_that_failed_fails_its_stack_and_no_other(tmp_path):
    methods = {name: METHODS[name] for name in ("a", "b", "stack")} | {
        "shaky": {"use": "tests.study.test_made:Shaky"},
        "x": {"stack": ["a", "shaky"], "args": {"folds": 2}},
        "many": {"ensemble": "x"},
    }
    own = study(methods=methods, seeds=[0], train={"max_epochs": 1}, protocol=ONE_FOLD)
    for _ in range(2):  # what failed is not tried again
        with pytest.raises(
            DataError, match="1 of 5 jobs failed.*: x, fold fixed, seed 0: a network of a fold"
        ):
            run(tmp_path, own)
    assert set(pl.read_parquet(tmp_path / "predictions.parquet")["method"]) == {"a", "b", "shaky", "stack"}


def test_a_clip_that_a_method_does_not_see_is_left_to_the_others(tmp_path):
    """Recording 3 has no b: its clips are unseen by b, and train nothing that reads it."""
    data = less.put(tmp_path / "data", {"r3": {"b": 0}})
    methods = {name: METHODS[name] for name in ("a", "b", "average", "mixture", "stack", "many-stacks")}
    methods |= {"first": {"first": ["b", "a"]}}
    protocol = {"kind": "fixed", "train": ["1", "2"], "val": ["10"], "test": ["3"]}
    own = study(methods=methods, dataset="tests.less:TINY", missing="without", protocol=protocol)
    run_study(own, data, tmp_path / "run")
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    alone = table.filter(subject="3")
    assert set(rows(alone, "b")["predicted"]) == {""}
    for name in ("average", "mixture", "stack", "many-stacks"):
        assert "" not in set(rows(alone, name)["predicted"])
    a, mixed = scores(alone, "a"), scores(alone, "mixture")
    np.testing.assert_array_equal(scores(alone, "first"), a)
    others = table.filter(pl.col("subject") != "3")
    np.testing.assert_array_equal(scores(others, "first"), scores(others, "b"))
    assert (a.argmax(1) == mixed.argmax(1)).all()  # it is a, tempered
    facts = read_facts(tmp_path / "run").methods["stack"]
    layer = Stack(2, 4)
    layer.load_state_dict(
        load_file(tmp_path / "run" / "jobs" / facts.keys["fixed/0"] / "weights.safetensors")
    )
    p = torch.from_numpy(np.stack([a[:16], np.full((16, 4), 0.25)]))
    expected = layer(p, torch.tensor([[True] * 16, [False] * 16])).numpy()
    np.testing.assert_allclose(scores(alone, "stack", seed=0), expected, atol=1e-6)
