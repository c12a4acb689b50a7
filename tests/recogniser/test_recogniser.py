"""From a study's method to a recording's timeline: the same scores, whatever stops on the way."""

import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

import plait
from plait.errors import ConfigError, DataError, PlaitWarning
from plait.recogniser import fitting, validation
from plait.recogniser.fitting import fit_model
from plait.recogniser.model import MODEL, WEIGHTS, read_facts
from plait.recogniser.predict import AHEAD, AT_ONCE, PARTS, plan, predict, read_predicted, timeline
from plait.recogniser.recognise import recognise, rows_of
from plait.recogniser.recogniser import Recogniser
from plait.recogniser.score import score
from plait.recogniser.source import facts_of, sliding_of, source_of
from plait.recogniser.timeline import TIMELINE, read_timeline
from plait.recogniser.validation import recogniser_of
from plait.recogniser.windows import Sliding, clipped, seen
from plait.report.continuous import HEADS
from plait.results import CONTINUOUS, row_key
from plait.results import read_facts as read_run
from plait.store import toml_of, write_toml
from plait.study.load import load_study
from plait.trust import NOBODY, Trust
from plait.types import Readings, Span, Windows
from tests.recogniser import world

TESTS = Trust(frozenset({"tests"}))
METHODS = ("a", "average", "concat", "frozen", "a-led")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, and a model of each method, fitted on all but person 4."""

    root = tmp_path_factory.mktemp("recogniser")
    (root / "data").mkdir()
    torch.set_num_threads(1)
    study = world.study(seeds=[0], evaluate={"continuous": True})
    plait.run(study, root / "data", root / "run", doctor=False, say=print)
    said = {}
    for method in METHODS:
        said[method] = []
        options = {"run": root / "run", "leave_out": ["4"], "say": said[method].append}
        fit_model(study, method, root / "data", root / method, **options)
    return root, study, said


def sliding_over(recogniser, recordings, out, stride_s=None):
    sliding = Sliding(recogniser.facts.seconds, stride_s or recogniser.facts.stride_s)
    return predict(recogniser, plan(recogniser, recordings, sliding, cut=recogniser.facts.cut), sliding, out)


@pytest.mark.parametrize("method", METHODS)
def test_on_the_study_s_windows_its_networks_give_the_study_s_scores(made, method):
    root, study, _ = made
    source = source_of(load_study(study), method, root / "data", root / "run", (), print, lambda step: None)
    facts = facts_of(source, "key", {}, sliding_of(source, None)[0])
    predictions = pl.read_parquet(root / "run" / "predictions.parquet").filter(method=method)
    found = {}
    for fold in "1234":
        weights = {name: source.run.weights(name, f"{fold}/0") for name in facts.networks}
        recogniser = recogniser_of(source, facts, weights, {})
        modalities = list(recogniser.modalities.values())
        recordings, windows = clipped(world.WORLD, root / "data", [fold], modalities)
        table = timeline(recogniser, plan(recogniser, recordings, Sliding(None), clips=windows))
        for number, row in enumerate(table.iter_rows(named=True)):
            found[f"{row['recording']}/{number:04d}"] = row
    assert found.keys() == set(predictions["clip"])
    for clip, scores, predicted in predictions.select("clip", "scores", "predicted").iter_rows():
        assert np.allclose(found[clip]["scores"], scores, atol=1e-6) and found[clip]["predicted"] == predicted


@pytest.mark.parametrize("method", METHODS)
def test_a_model_recognises_who_was_left_out(made, tmp_path, method):
    root, _, said = made
    facts = read_facts(root / method)
    assert facts.training.people == ("1", "2", "3") and facts.training.left_out == ("4",)
    assert any("macro-F1" in line for line in said[method]) and "4" not in facts.training.settings.split()
    recogniser = Recogniser.load(root / method, trust=TESTS)
    whole = world.recording("4")
    sliding_over(recogniser, [whole], tmp_path / "out")
    result = score(tmp_path / "out")
    assert result.accuracy_labelled > (0.5 if method == "a" else 0.6)
    assert result.frames == pytest.approx(900, abs=2)
    names = {"segments.csv", "segments.json", "r4-0.eaf", "timeline.parquet", "predict.json", "scores.json"}
    assert names <= {path.name for path in (tmp_path / "out").iterdir()}
    assert not (tmp_path / "out" / PARTS).exists()


def test_a_model_s_folder_holds_three_files_and_is_not_made_again(made):
    root, study, _ = made
    for method in METHODS:
        assert {path.name for path in (root / method).iterdir()} == {MODEL, WEIGHTS, "README.md"}
    before = {path: path.stat().st_mtime_ns for path in (root / "a-led").iterdir()}
    options = {"run": root / "run", "leave_out": ["4"]}
    fit_model(study, "a-led", root / "data", root / "a-led", say=print, **options)
    assert before == {path: path.stat().st_mtime_ns for path in (root / "a-led").iterdir()}
    card = (root / "a-led" / "README.md").read_text()
    assert "accuracy" in card and "Left out by name: 4." in card
    held = sorted((root / "run").rglob("*"))
    with pytest.raises(ConfigError, match="holds files that no fit has left"):
        fit_model(study, "a-led", root / "data", root / "run", say=print)
    assert held == sorted((root / "run").rglob("*"))


def test_epochs_are_the_median_of_the_folds_without_who_is_left_out(made, tmp_path):
    root, study, said = made
    assert len(read_run(root / "run").methods["a-led"].keys) == 4
    chosen = {}
    for at, key in read_run(root / "run").methods["a-led"].keys.items():
        history = pl.read_parquet(root / "run" / "jobs" / key / "history.parquet")
        accuracies = history["val_accuracy"].to_list()
        chosen[at] = accuracies.index(max(accuracies)) + 1
    # Person 4 was left out: of the folds, only the one that tested 4 did without.
    assert read_facts(root / "a-led").networks["a-led"].epochs == chosen["4/0"]
    assert any(line.startswith("a-led: ") and "the median of 1 jobs'" in line for line in said["a-led"])
    facts = fit_model(study, "a-led", root / "data", tmp_path / "all", run=root / "run", say=print)
    assert facts.networks["a-led"].epochs == max(1, round(np.median(list(chosen.values()))))
    with pytest.raises(ConfigError, match="3, 4 took part in every fold, expected a run without them"):
        options = {"run": root / "run", "leave_out": ["3", "4"], "say": print}
        fit_model(study, "a-led", root / "data", tmp_path / "none", **options)


def test_a_run_of_something_else_chooses_nothing(made, tmp_path):
    root, study, _ = made
    options = {"run": root / "run", "say": print}
    other = {**study, "train": {**study["train"], "max_epochs": 3}}
    with pytest.raises(ConfigError, match="method 'concat' has other settings there"):
        fit_model(other, "concat", root / "data", tmp_path / "m", **options)
    shuffled = {**study, "protocol": {**study["protocol"], "shuffle_labels": 0}}
    with pytest.raises(ConfigError, match=r"protocol.shuffle_labels: a control teaches nothing"):
        fit_model(shuffled, "concat", root / "data", tmp_path / "m", **options)
    few = {**study, "protocol": {"val_subjects": 1, "subjects": ["1", "2", "3"]}}
    lines = []
    fit_model(few, "concat", root / "data", tmp_path / "few", say=lines.append)
    assert read_facts(tmp_path / "few").training.people == ("1", "2", "3")
    assert "protocol.subjects: only 1, 2, 3 take part" in lines
    with pytest.raises(ConfigError, match="expected somebody left|has no clip of the training subjects"):
        fit_model(study, "concat", root / "data", tmp_path / "m", leave_out=list("1234"), say=print)
    with pytest.raises(ConfigError, match="evaluate.continuous"):
        load_study({**study, "protocol": {"kind": "leave-one-session-out"}})


def test_a_run_may_hold_rows_of_one_s_own_that_the_study_names_or_that_are_trusted(tmp_path):
    methods = {"a": {"use": "plait.fusion:Single", "args": {"modality": "a"}}}
    own = {**methods, "own": {"use": "tests.tiny:Scores"}}
    short = {"seeds": [0], "train": {"max_epochs": 1}}
    study = world.study(methods=own, **short)
    plait.run(study, tmp_path, tmp_path / "run", executor="inline")
    options = {"run": tmp_path / "run", "say": lambda line: None}
    fit_model(study, "a", tmp_path, tmp_path / "model", **options)
    later = world.study(methods=methods, **short)
    with pytest.raises(ConfigError, match="names 'tests.tiny:Scores', which is not plait's.*--trust"):
        fit_model(later, "a", tmp_path, tmp_path / "later", **options)
    trust = Trust(frozenset({"tests.tiny"}))
    fit_model(later, "a", tmp_path, tmp_path / "later", trust=trust, **options)
    first, second = (read_facts(tmp_path / name).weights for name in ("model", "later"))
    assert first == second


def test_an_array_that_may_be_filled_anew_for_each_person_is_said(made):
    root, _, _ = made
    recogniser = Recogniser.load(root / "a-led", trust=Trust(all=True))
    first, again, other = (world.recording(who, number) for who, number in (("1", 0), ("1", 1), ("2", 0)))
    shared = [replace(one, streams=first.streams) for one in (again, other)]
    assert len(plan(recogniser, [first, shared[0]], Sliding(2.0))) == 2  # one person's, seen twice
    assert len(plan(recogniser, [first, again, other], Sliding(2.0))) == 3
    with pytest.warns(PlaitWarning, match=f"[ab] of recording {first.name} and of other people is one array"):
        assert len(plan(recogniser, [first, shared[1]], Sliding(2.0))) == 2


def test_without_a_run_the_last_people_choose_and_are_trained_with(made, tmp_path):
    root, study, _ = made
    facts = fit_model(study, "concat", root / "data", tmp_path / "model", say=print)
    assert facts.training.people == ("1", "2", "3", "4") and "validation on 4" in facts.training.settings
    assert facts.training.epochs.startswith("chosen in validation on 4")
    alone = {**study, "train": {**study["train"], "choose": "last"}, "protocol": {"val_subjects": 0}}
    lines = []
    facts = fit_model(alone, "concat", root / "data", tmp_path / "last", say=lines.append)
    assert facts.networks["concat"].epochs == 12 and facts.temperature == 1 and facts.decoding.kind == "none"
    assert any("nobody validated" in line for line in lines)


class Stopped(Exception):
    pass


def test_a_stopped_prediction_goes_on_to_the_same_bytes(made, tmp_path):
    root, _, _ = made
    recordings = [world.recording("7", lasts_s=140.0), world.recording("8", lasts_s=100.0)]
    recogniser = Recogniser.load(root / "frozen", trust=TESTS)
    sliding_over(recogniser, recordings, tmp_path / "whole")
    looked = []

    def stops_at(number):
        def progress(step):
            if step.state == "done" and step.done >= number:
                raise Stopped

        return progress

    sliding = Sliding(recogniser.facts.seconds, recogniser.facts.stride_s)
    tasks = plan(recogniser, recordings, sliding, cut=recogniser.facts.cut)
    for number in (1, 100, 139, 160, 210):
        with pytest.raises(Stopped):
            predict(recogniser, tasks, sliding, tmp_path / "stopped", stops_at(number))
    count = type(recogniser).__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recogniser, "__call__", lambda self, clip: looked.append(1) or count(self, clip))
        predict(recogniser, tasks, sliding, tmp_path / "stopped")
    assert len(looked) < 100 < len(pl.read_parquet(tmp_path / "whole" / TIMELINE))
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "stopped" / path.name).read_bytes() == path.read_bytes()


def test_windows_are_looked_at_as_they_are_read_and_not_kept(made, monkeypatch):
    root, _, _ = made
    recogniser = Recogniser.load(root / "a-led", trust=TESTS)
    recording = world.recording("4")
    tasks = plan(recogniser, [recording], Sliding(recogniser.facts.seconds, 0.5))
    read, kept, look = [], [], Recogniser.__call__

    def reading(*arguments):
        for window in seen(*arguments):
            read.append(window)
            yield window

    def looking(self, tensors):
        kept.append(len(read) - len(kept))
        return look(self, tensors)

    monkeypatch.setattr("plait.recogniser.predict.seen", reading)
    monkeypatch.setattr(Recogniser, "__call__", looking)
    table = timeline(recogniser, tasks)
    assert len(table) == len(kept) == len(tasks[0].windows) > 2 * AT_ONCE
    assert max(kept) <= AHEAD + 1


def test_each_window_is_seen_alone_whoever_else_is_there(made, tmp_path):
    root, _, _ = made
    recogniser = Recogniser.load(root / "a-led", trust=TESTS)
    both = [world.recording("7"), world.recording("8")]
    sliding_over(recogniser, both, tmp_path / "both")
    sliding_over(recogniser, both[1:], tmp_path / "one")
    together = pl.read_parquet(tmp_path / "both" / TIMELINE).filter(recording="r8-0")
    assert together.equals(pl.read_parquet(tmp_path / "one" / TIMELINE))


def without(recording, stream, after_s=None):
    streams = dict(recording.streams)
    kept = streams.pop(stream)
    if after_s is not None:
        there = kept.times < after_s
        streams[stream] = Readings(kept.times[there], kept.values[there])
    return replace(recording, streams=streams)


def test_a_sensor_that_stops_half_way_is_done_without_where_that_can_be(made, tmp_path):
    root, _, _ = made
    half = without(world.recording("7"), "b", after_s=45.0)
    for method in ("a-led", "average"):
        recogniser = Recogniser.load(root / method, trust=TESTS)
        with pytest.warns(PlaitWarning, match="recording r7-0: b saw 44 of 89 windows"):
            sliding_over(recogniser, [half], tmp_path / method)
        table = read_timeline(tmp_path / method, recogniser.activities)
        seen = {tuple(row["seen"]): row["stop_s"] for row in table.iter_rows(named=True)}
        assert seen[("a", "b")] == 45.0 and seen[("a",)] > 80
        assert len(table) == len(recogniser_windows(recogniser, half))
    recogniser = Recogniser.load(root / "concat", trust=TESTS)
    sliding_over(recogniser, [half], tmp_path / "concat")
    table = read_timeline(tmp_path / "concat", recogniser.activities)
    assert table["stop_s"].max() == 45.0  # a gap behind it, no guess
    assert recognise(recogniser.facts, rows_of(table, "r7-0")).segments[-1].stop_s <= 45.0


def recogniser_windows(recogniser, recording):
    extents = dict.fromkeys(("a", "b"), (0.0, 90.0))
    return Sliding(recogniser.facts.seconds, recogniser.facts.stride_s).windows(extents)


def test_a_recording_without_a_sensor_is_one_line_where_the_method_needs_it(made, tmp_path):
    root, _, _ = made
    lacking = without(world.recording("7"), "a")
    for method in ("a-led", "concat", "frozen"):
        recogniser = Recogniser.load(root / method, trust=TESTS)
        with pytest.raises(DataError, match=rf"recording r7-0: {method} \(plait.*\) sees nothing without a$"):
            sliding_over(recogniser, [lacking], tmp_path / method)
    recogniser = Recogniser.load(root / "average", trust=TESTS)
    with pytest.warns(PlaitWarning, match="recording r7-0: has no a, and is predicted without"):
        sliding_over(recogniser, [lacking], tmp_path / "average")
    assert set(read_timeline(tmp_path / "average", recogniser.activities)["seen"].list.join("+")) == {"b"}


def test_an_absent_context_adds_nothing(made):
    root, _, _ = made
    network = Recogniser.load(root / "a-led", trust=TESTS).members[0].network
    a, b = torch.randn(1, 20, 2), torch.randn(1, 30, 2)
    with torch.no_grad():
        for parameter in network.method.enforced.blocks["b"].h.parameters():
            parameter.zero_()
        assert torch.allclose(network({"a": a}), network({"a": a, "b": b}), atol=1e-6)


def test_five_lines_of_python(made):
    root, _, _ = made
    recogniser = Recogniser.load(root / "a-led", trust=TESTS)
    clip = {"a": torch.ones(20, 2), "b": torch.ones(30, 2)}
    scores = recogniser(clip)
    assert scores.shape == (3,) and scores.sum() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ConfigError, match=r"window: b \(30, 3\), expected some of: a \(20, 2\), b \(30, 2\)"):
        recogniser({"a": clip["a"], "b": torch.ones(30, 3)})


def test_no_code_is_run_that_nobody_trusts_and_other_code_is_said(made, tmp_path):
    root, _, _ = made
    with pytest.raises(
        ConfigError, match=r"model.toml: dataset: names 'tests.*--trust tests.recogniser.world"
    ):
        Recogniser.load(root / "a-led", trust=NOBODY)
    table = toml_of((root / "a-led" / MODEL).read_text())
    for path in (root / "a-led").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    table["networks"]["a-led"]["code"] = "0" * 32
    write_toml(tmp_path / MODEL, table)
    with pytest.warns(PlaitWarning, match="other code, .* than it was trained with: plait.fusion:Led$"):
        Recogniser.load(tmp_path, trust=TESTS)
    table["networks"]["a-led"]["args"]["embedding"] = 7
    write_toml(tmp_path / MODEL, table)
    with pytest.raises(
        DataError, match=r"model.safetensors: a-led: .*size mismatch.*; other code than it was"
    ):
        Recogniser.load(tmp_path, trust=TESTS)
    table["networks"]["a-led"]["use"] = "plait.fusion:Gone"
    write_toml(tmp_path / MODEL, table)
    with pytest.raises(ConfigError, match=r"networks.a-led.use: module 'plait.fusion' has no 'Gone'"):
        Recogniser.load(tmp_path, trust=TESTS)


def test_what_unlabelled_time_is_is_said_once(made, tmp_path):
    root, study, _ = made
    with pytest.raises(ConfigError, match="unlabelled is 'activity', but the clips' windows do not make"):
        options = {"run": root / "run", "say": print}
        fit_model({**study, "unlabelled": "activity"}, "concat", root / "data", tmp_path / "m", **options)
    lines = []
    facts = fit_model(
        {**study, "unlabelled": "refuse"},
        "concat",
        root / "data",
        tmp_path / "r",
        run=root / "run",
        say=lines.append,
    )
    assert facts.unlabelled.policy == "refuse" and facts.unlabelled.threshold == facts.decoding.threshold
    assert any("are refused" in line for line in lines)


def test_a_study_scores_whole_recordings_of_who_was_tested(made):
    root, study, _ = made
    table = pl.read_csv(root / "run" / CONTINUOUS)
    assert table["method"].to_list() == list(study["methods"]) and set(table["seed"]) == {0}
    both = table.filter(pl.col("method").is_in(["concat", "frozen", "a-led"]))
    assert both["accuracy_labelled"].min() > 0.6 and table["f1_at_50"].min() > 0
    page = (root / "run" / "index.html").read_text()
    first = table.row(0, named=True)
    numbers = [str(first["recordings"]), *(f"{100 * first[name]:.1f}" for name in HEADS.values())]
    cells = "".join(f'<td class="n">{number}</td>' for number in numbers)
    assert '<section id="continuous">' in page and f'<th scope="row">{first["method"]}</th>{cells}' in page


def test_a_recording_without_labels_has_none(made, tmp_path):
    root, _, _ = made
    recogniser = Recogniser.load(root / "a-led", trust=TESTS)
    unlabelled = replace(world.recording("7"), spans=())
    sliding = Sliding(recogniser.facts.seconds, recogniser.facts.stride_s)
    cut = Windows(2.0, unlabelled="low")
    predict(recogniser, plan(recogniser, [unlabelled], sliding, cut=cut), sliding, tmp_path / "out")
    assert read_predicted(tmp_path / "out").recordings["r7-0"].labels == ()
    with pytest.raises(DataError, match="none of 1 recordings has labels"):
        score(tmp_path / "out")


def test_scores_of_people_whom_the_model_has_seen_are_said_to_be(made, tmp_path):
    root, _, _ = made
    recogniser = Recogniser.load(root / "a-led", trust=TESTS)  # trained on 1, 2 and 3
    people = {"1": {"1": "1"}, "S02": {"S02": "2"}, "4": {}}
    for name, known in people.items():
        one = replace(world.recording("7"), subject=name)
        sliding_over(recogniser, [one], tmp_path / name)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            score(tmp_path / name)
        told = [str(one.message) for one in said]
        assert json.loads((tmp_path / name / "scores.json").read_text())["trained_on"] == known
        assert len(told) == len(known)
        if name == "1":
            assert "the model was trained on 1: these scores say nothing of people whom it has" in told[0]
        if name == "S02":
            assert (
                "names look like those of whom it was trained on: S02 (2 there): if they are the same"
                in told[0]
            )


def test_labels_that_have_changed_since_the_prediction_are_said_to(made, tmp_path):
    root, _, _ = made
    recogniser, file = Recogniser.load(root / "a-led", trust=TESTS), tmp_path / "labels.csv"
    file.write_text("low")
    labelled = replace(world.recording("7"), labels_file=file)
    sliding_over(recogniser, [labelled], tmp_path / "out")
    score(tmp_path / "out")  # without a word
    file.write_text("high")
    with pytest.warns(
        PlaitWarning, match=r"r7-0: labels as of the prediction; .*labels.csv has changed since"
    ):
        score(tmp_path / "out")
    sliding_over(recogniser, [labelled], tmp_path / "out")
    score(tmp_path / "out")
    file.unlink()
    score(tmp_path / "out")


def test_a_model_knows_the_row_of_the_run_that_it_was_fitted_by(made):
    root, _, _ = made
    methods = read_run(root / "run").methods
    keys = [row_key(methods, method) for method in METHODS]
    assert [read_facts(root / method).training.row for method in METHODS] == keys
    assert len(set(keys)) == len(keys)


def test_what_no_longer_holds_is_made_again(made, tmp_path):
    root, _, _ = made
    recogniser = Recogniser.load(root / "a-led", trust=TESTS)
    recording = world.recording("7")
    sliding_over(recogniser, [recording], tmp_path / "out")
    score(tmp_path / "out")
    before = (tmp_path / "out" / TIMELINE).read_bytes()
    recogniser.facts = replace(recogniser.facts, temperature=3.0)
    sliding_over(recogniser, [recording], tmp_path / "out")
    assert (
        before != (tmp_path / "out" / TIMELINE).read_bytes()
        and not (tmp_path / "out" / "scores.json").exists()
    )
    (tmp_path / "out" / "predict.json").write_text("{")
    sliding_over(recogniser, [recording], tmp_path / "out")
    spelled = [Span(s.start_s, s.stop_s, f" {s.activity} ") for s in recording.spans]
    sliding_over(recogniser, [replace(recording, spans=tuple(spelled))], tmp_path / "out")
    assert score(tmp_path / "out").accuracy_labelled is not None


def test_a_folder_of_something_else_is_left_alone(made, tmp_path):
    root, _, _ = made
    recogniser = Recogniser.load(root / "a-led", trust=TESTS)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds files that no prediction has left"):
        sliding_over(recogniser, [world.recording("7")], tmp_path)
    sliding_over(recogniser, [world.recording("7")], tmp_path / "out")
    key = read_predicted(tmp_path / "out").key
    sliding_over(recogniser, [world.recording("8")], tmp_path / "out")
    assert read_predicted(tmp_path / "out").key != key and not (tmp_path / "out" / "r7-0.eaf").exists()
    with pytest.raises(DataError, match="two recordings are called 'r7-0'"):
        sliding_over(recogniser, [world.recording("7")] * 2, tmp_path / "twice")


def test_people_who_validate_are_recognised_on_the_device_that_a_model_is_fitted_on(
    made, tmp_path, monkeypatch
):
    root, study, _ = made
    devices, assembled = [], validation.assembled

    def noted(*given):
        devices.append(given[3])
        return assembled(*given)

    monkeypatch.setattr(validation, "assembled", noted)
    monkeypatch.setattr(fitting, "device_called", lambda name: "cpu:0" if name == "there" else "none")
    options = {"run": root / "run", "leave_out": ["4"], "device": "there", "say": print}
    fit_model(study, "a", root / "data", tmp_path / "model", **options)
    assert devices and set(devices) == {"cpu:0"}


def test_weights_of_another_model_are_refused_and_a_model_without_a_checksum_is_loaded(made, tmp_path):
    model = shutil.copytree(made[0] / "a-led", tmp_path / "model")
    weights = load_file(model / WEIGHTS)
    save_file({name: weight + 0.01 for name, weight in weights.items()}, tmp_path / "others")
    (model / WEIGHTS).write_bytes((tmp_path / "others").read_bytes())
    with pytest.raises(
        DataError, match=r"model.safetensors: checksum .*, expected .*: weights of another model"
    ):
        Recogniser.load(model, trust=TESTS)
    shutil.copy(made[0] / "a-led" / WEIGHTS, model / WEIGHTS)
    said = (model / MODEL).read_text()
    (model / MODEL).write_text("".join(line for line in said.splitlines(True) if line[:10] != "weights = "))
    assert read_facts(model).weights is None
    Recogniser.load(model, trust=TESTS)
