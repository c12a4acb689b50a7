import importlib
import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from filelock import Timeout
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

import plait
from plait import keying, objects
from plait.cli import app
from plait.errors import ConfigError, DataError, PlaitError, PlaitWarning, ShapeError
from plait.report.page import Report
from plait.results import COLUMNS, read_results
from plait.store import locked
from plait.study import jobs as jobs_module
from plait.study.load import load_study
from plait.study.run import _import_all, run_study
from tests import tiny
from tests.state import unsettled

FAST = {"train": {"max_epochs": 1}, "seeds": [0]}
ONE_FOLD = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}


CONCAT = {"use": "plait.fusion:Concat"}


def run(out, study=None, **options):
    told = []
    run_study(study or tiny.study(), None, out, progress=lambda step: told.append(step[:3]), **options)
    return pl.read_parquet(out / "predictions.parquet"), told


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, *run(out, tiny.study(train={"max_epochs": 12, "args": {"lr": 0.01}}))


def test_the_predictions_table(finished):
    out, table, told = finished
    assert table.columns == COLUMNS
    assert table.schema["seed"] == pl.Int64 and table.schema["scores"] == pl.List(pl.Float32)
    assert table.equals(table.sort("method", "seed", "fold", "clip"))
    assert table.height == 5 * 2 * 64
    assert (table["fold"] == table["subject"]).all()
    scores = np.stack(table["scores"].to_list())
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)
    assert table["predicted"].to_list() == [tiny.ACTIVITIES[i] for i in scores.argmax(1)]
    assert told[0] == (0, 32, "jobs") and told[-1][:2] == (32, 32)
    assert load_study(out / "study.toml") == load_study(
        tiny.study(train={"max_epochs": 12, "args": {"lr": 0.01}})
    )


def test_fusion_learns_what_needs_both_and_singles_cannot(finished):
    _, table, _ = finished
    right = table.group_by("method").agg(accuracy=(pl.col("activity") == pl.col("predicted")).mean())
    accuracy = dict(right.iter_rows())
    assert accuracy["concat"] > 0.9 and accuracy["a-led"] > 0.9
    assert accuracy["a"] < 0.65 and accuracy["b"] < 0.65


def test_average_is_the_mean_of_its_methods(finished):
    _, table, _ = finished
    by = {method: np.stack(part["scores"].to_list()) for (method,), part in table.group_by("method")}
    np.testing.assert_allclose(by["average"], (by["a"] + by["b"]) / 2, atol=1e-6)


def test_a_job_s_folder(finished):
    out, _, _ = finished
    folders = list((out / "jobs").iterdir())
    assert len(folders) == 32
    for folder in folders:
        assert sorted(p.name for p in folder.iterdir()) == [
            "history.parquet", "job.json", "predictions.parquet", "validation.parquet", "weights.safetensors",
        ]  # fmt: skip
        decided = json.loads((folder / "job.json").read_text())["decided by"]
        assert set(decided["fold"]["test"]).isdisjoint(decided["fold"]["train"])
    names = load_file(folder / "weights.safetensors")
    assert "method.weights.0" in {name.replace("head.", "") for name in names}


def test_run_json_says_what_each_method_is(finished):
    out, _, _ = finished
    facts = json.loads((out / "run.json").read_text())
    methods = facts["methods"]
    assert [methods[name]["kind"] for name in methods] == ["single", "single", "average", "concat", "fusion"]
    assert [methods[name]["head"] for name in methods] == ["mean", "mean", None, "flatten", "mean"]
    assert methods["concat"]["jobs"] == 8 and methods["concat"]["parameters"] > 0
    assert facts["versions"]["torch"] and facts["threads"] == 1


def test_what_is_done_is_not_done_again_and_a_lost_job_gives_the_same_table(tmp_path, finished):
    out, _, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    before = (copy / "predictions.parquet").read_bytes()
    lost = sorted((copy / "jobs").iterdir())[:2]
    for folder in lost:
        shutil.rmtree(folder)
    (copy / "predictions.parquet").unlink()
    (copy / "jobs" / ".making-left-over" / lost[0].name).mkdir(parents=True)
    with unsettled():
        _, told = run(copy, tiny.study(train={"max_epochs": 12, "args": {"lr": 0.01}}))
    assert [event[0] for event in told] == [30, 31, 32]
    assert (copy / "predictions.parquet").read_bytes() == before
    assert not (copy / "jobs" / ".making-left-over").exists()


def test_processes_give_the_same_bytes_as_inline(tmp_path, quick_workers):
    study = tiny.study(**FAST, methods={"a": tiny.study()["methods"]["a"], "b": tiny.study()["methods"]["b"]})
    run(tmp_path / "inline", study)
    run(tmp_path / "processes", study, executor="processes", workers=1)
    one, other = (tmp_path / name / "predictions.parquet" for name in ("inline", "processes"))
    assert one.read_bytes() == other.read_bytes()


def test_early_stopping_keeps_the_earliest_best_epoch_and_refit_trains_that_long(tmp_path):
    protocol = {"kind": "fixed", "train": ["1"], "val": ["2", "3"], "test": ["10"], "refit": True}
    train = {"max_epochs": 40, "patience": 4, "args": {"lr": 0.02}}
    run(
        tmp_path,
        tiny.study(protocol=protocol, train=train, seeds=[0], methods={"concat": CONCAT}),
    )
    (folder,) = (tmp_path / "jobs").iterdir()
    history = pl.read_parquet(folder / "history.parquet")
    first, second = (history.filter(pl.col("phase") == phase) for phase in ("train", "refit"))
    accuracies = first["val_accuracy"].to_list()
    best = accuracies.index(max(accuracies)) + 1
    assert first.height == min(best + 4, 40) and first.height < 40
    assert second.height == best and second["val_accuracy"].null_count() == best
    validation = pl.read_parquet(folder / "validation.parquet")
    right = (validation["activity"] == validation["predicted"]).mean()
    assert right == pytest.approx(max(accuracies))
    assert set(validation["subject"]) == {"2", "3"}


def test_the_last_epoch_can_be_chosen_and_a_schedule_fills_its_length(tmp_path):
    train = {
        "max_epochs": 3, "choose": "last", "optimizer": "torch.optim:AdamW", "label_smoothing": 0.1,
        "schedule": {"use": "torch.optim.lr_scheduler:OneCycleLR", "args": {"max_lr": 0.01}},
    }  # fmt: skip
    protocol = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"], "refit": True}
    run(
        tmp_path,
        tiny.study(protocol=protocol, train=train, seeds=[0], methods={"concat": CONCAT}),
    )
    (folder,) = (tmp_path / "jobs").iterdir()
    history = pl.read_parquet(folder / "history.parquet")
    assert history["phase"].to_list() == ["train"] * 3 + ["refit"] * 3


def test_without_validation_every_epoch_is_trained_and_the_last_is_kept(tmp_path):
    train = {"max_epochs": 3, "choose": "last"}
    protocol = {"subjects": ["1", "2", "3"], "val_subjects": 0}
    methods = {name: tiny.study()["methods"][name] for name in ("a", "b", "average")}
    table, _ = run(tmp_path, tiny.study(protocol=protocol, train=train, seeds=[0], methods=methods))
    assert set(table["method"]) == set(methods) and set(table["subject"]) == {"1", "2", "3"}
    assert pl.read_parquet(tmp_path / "validation.parquet").is_empty()
    for folder in (tmp_path / "jobs").iterdir():
        history = pl.read_parquet(folder / "history.parquet")
        assert history.height == 3 and history["val_accuracy"].null_count() == 3


def test_rows_that_come_to_the_same_share_a_job(tmp_path):
    table, told = run(tmp_path, tiny.study(**FAST, methods={"one": CONCAT, "two": CONCAT}))
    assert told[-1][1] == 4 and table.height == 2 * 64


def test_keys_change_with_what_decides_and_with_nothing_else(tmp_path):
    def keys(**own):
        setting = {"threads": 1, **own.pop("setting", {})}
        study = tiny.study(**{**FAST, "protocol": ONE_FOLD, **own})
        (tmp_path / "run.json").unlink(missing_ok=True)  # which keeps other studies off
        run(tmp_path, study, **setting)
        return {f.name for f in (tmp_path / "jobs").iterdir()}

    before = keys(methods={"x": CONCAT})
    assert keys(methods={"renamed": CONCAT}, name="other") == before
    one = keys(methods={"x": {**CONCAT, "args": {"head": "mean"}}})
    two = keys(methods={"x": {**CONCAT, "augment": {"a": "tests.tiny:double"}}})
    three = keys(methods={"x": CONCAT}, setting={"threads": 2})
    assert [len(now) for now in (before, one, two, three)] == [1, 2, 3, 4]


def test_sources_follow_a_user_s_modules_but_not_their_comments(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def key(method, helper):
        (tmp_path / "scratch_helper.py").write_text(helper)
        (tmp_path / "scratch_method.py").write_text(method)
        for name in ("scratch_method", "scratch_helper"):
            sys.modules.pop(name, None)
        import scratch_method

        return keying.source_key([scratch_method.make])

    method = "from scratch_helper import number\ndef make():\n    return number()\n"
    helper = "def number():\n    return 1\n"
    same = key(method, "# said otherwise\ndef number():\n    '''Say one.'''\n    return 1\n")
    assert key(method, helper) == same
    assert key(method, "def number():\n    return 2\n") != same


def test_what_travels_is_plait_and_the_user_s_own_modules_whole(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "scratch_alone.py").write_text("")
    (tmp_path / "scratch_package").mkdir()
    (tmp_path / "scratch_package" / "inside.py").write_text("")
    for name in ("scratch_alone", "scratch_package.inside"):
        importlib.import_module(name)

    found = objects.own_modules()
    ours = [Path(objects.__file__).parent, tmp_path / "scratch_alone.py", tmp_path / "scratch_package"]
    assert set(ours) <= set(found)
    assert not any(path.is_relative_to(Path(torch.__file__).parents[1]) for path in found)


@pytest.mark.parametrize(
    ("own", "options", "message"),
    [
        ({"dataset": "tests.tiny:SUBJECTS"}, {}, "'tests.tiny:SUBJECTS' is no plait.types.Dataset"),
        ({"modalities": ["a", "b", "z"]}, {}, "no modality 'z', expected one of: a, b"),
        ({"methods": {"x": {"use": "plait.fusion:Led", "args": {"lead": "z"}}}}, {},
         "methods.x.args: lead is 'z'"),
        ({"methods": {"x": {"use": "plait.fusion:Led", "args": {"laed": "a"}}}}, {}, "methods.x.args: "),
        ({"methods": {"x": {"use": "plait.fusion:Nope"}}}, {},
         "methods.x.use: module 'plait.fusion' has no 'Nope'"),
        ({"methods": {"x": {"use": "tests.tiny:tensor"}}}, {}, "methods.x.args: "),
        ({"methods": {"x": {"use": "tests.tiny:Scores", "args": {"more": 1}}}}, {},
         "methods.x: tests.tiny:Scores gives (2, 5) of 2 clips, expected (2, 4), a logit for each of: lo lo"),
        ({"methods": {"x": {"use": "tests.tiny:Scores", "args": {"more": -1}}}}, {},
         "gives (2, 3) of 2 clips, expected (2, 4)"),
        ({"methods": {"x": {**CONCAT, "augment": {"a": "tests.tiny:SUBJECTS"}}}}, {}, "is no function"),
        ({"methods": {"x": {**CONCAT, "augment": {"a": "tests.tiny:halve"}}}}, {},
         "made (2, 4, 2) of (2, 8, 2)"),
        ({"methods": {"x": {**CONCAT, "augment": {"a": "tests.tiny:failing"}}}}, {},
         "augment.a: fails on clips"),
        ({"dataset": ".tiny:TINY"}, {}, "got '.tiny:TINY', expected a module's full name"),
        ({"train": {"args": {"learning_rate": 1}}}, {}, "methods.a.train.args: torch.optim:RMSprop: "),
        ({"train": {"args": {"lr": -1.0}}}, {},
         "methods.a.train.args: torch.optim:RMSprop: Invalid learning rate"),
        ({"train": {"schedule": {"use": "torch.optim.lr_scheduler:OneCycleLR"}}}, {},
         "methods.a.train.schedule.args: "),
        ({}, {"executor": "cluster"}, "executor is 'cluster', expected one of: inline, processes"),
        ({}, {"device": "nonsense"}, "device is 'nonsense'"),
        ({}, {"device": "mps"}, "device is 'mps', expected auto, cpu, cuda or cuda:N"),
        ({"protocol": {"val_subjects": 0}}, {},
         "methods.a.train.choose is 'best', but nobody validates in fold 1"),
        ({"protocol": {"kind": "fixed", "train": [1], "val": [2], "test": [9]}}, {}, "unknown subject '9'"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_is_trained(tmp_path, monkeypatch, own, options, message):
    monkeypatch.setattr(jobs_module, "fit", lambda *args: pytest.fail("something was trained"))
    with pytest.raises(PlaitError) as caught:
        run(tmp_path, tiny.study(**own), **options)
    assert message in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("use", ["Scores", "Shares"])
def test_a_method_that_gives_probabilities_is_warned_of(tmp_path, use):
    study = tiny.study(**FAST, methods={"x": {"use": f"tests.tiny:{use}"}}, protocol=ONE_FOLD)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", PlaitWarning)
        run(tmp_path, study)
    told = [str(each.message) for each in said if issubclass(each.category, PlaitWarning)]
    assert [line.startswith("method tests.tiny:Shares: gives probabilities") for line in told] == [True] * (
        use == "Shares"
    )


def test_a_folder_that_cannot_be_written_is_said_so_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "fit", lambda *args: pytest.fail("something was trained"))
    (tmp_path / "file").write_text("")
    with pytest.raises(PlaitError, match="file/jobs.*cannot be written"):
        run(tmp_path / "file")


def test_every_module_that_a_study_names_is_imported_for_other_machines(tmp_path, monkeypatch):
    """A schedule of one's own too, in a study that names no encoder: what is imported is what is shipped."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "far_schedule.py").write_text("from torch.optim.lr_scheduler import ConstantLR as Steady\n")
    study = load_study(tiny.study(train={"schedule": {"use": "far_schedule:Steady"}}))
    assert not any(method.encoders for method in study.methods.values())
    _import_all(study)
    assert "far_schedule" in sys.modules
    monkeypatch.delitem(sys.modules, "far_schedule")


def test_an_encoder_can_be_chosen_per_method(tmp_path):
    method = {**CONCAT, "encoders": {"a": {"use": "tests.tiny:Linear", "args": {"channels": 9}}}}
    run(tmp_path, tiny.study(**FAST, methods={"x": method}))
    folder = next((tmp_path / "jobs").iterdir())
    assert load_file(folder / "weights.safetensors")["encoders.a.linear.weight"].shape == (9, 2)


def test_a_user_s_own_error_is_said_with_its_place(tmp_path):
    broken = {**CONCAT, "encoders": {"a": {"use": "tests.tiny:failing"}}}
    with pytest.raises(ConfigError, match=r"methods.x.encoders.a: .*an encoder's own trouble") as said:
        run(tmp_path, tiny.study(**FAST, methods={"x": broken}))
    assert isinstance(said.value.__cause__, ValueError)


def test_a_damaged_job_is_named(tmp_path):
    study = tiny.study(**FAST, methods={"x": CONCAT})
    run(tmp_path, study)
    damaged = next((tmp_path / "jobs").iterdir()) / "predictions.parquet"
    damaged.write_bytes(damaged.read_bytes()[:50])
    with pytest.raises(PlaitError, match=f"{damaged.parent.name}/predictions.parquet: cannot be read"):
        run(tmp_path, study)


def test_shape_errors_keep_their_kind(tmp_path):
    with pytest.raises(ShapeError):
        run(tmp_path, tiny.study(methods={"x": {**CONCAT, "args": {"head": "max"}}}))
    with pytest.raises(ConfigError):
        run(tmp_path, tiny.study(methods={"x": {**CONCAT, "args": {"heads": "mean"}}}))


def test_threads_are_given_back(tmp_path):
    before = torch.get_num_threads()
    run(tmp_path, tiny.study(**FAST, methods={"x": CONCAT}, protocol=ONE_FOLD), threads=before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "setting", [{"threads": 0}, {"workers": -1}, {"workers": 0, "executor": "processes"}]
)
def test_numbers_of_threads_and_workers_below_one_are_refused(tmp_path, setting):
    with pytest.raises(ConfigError, match=r"(threads|workers) is (0|-1), expected 1 to 1024"):
        run_study(tiny.study(), None, tmp_path, **setting)
    assert list(tmp_path.iterdir()) == []


def test_no_other_run_writes_its_tables_before_the_page_is_made_of_these(tmp_path):
    def then(finished):
        assert json.loads((finished.folder / "run.json").read_text())["methods"].keys() == {"a"}
        assert finished.methods.keys() == {"a"}
        with pytest.raises(Timeout), locked(finished.folder / ".locks" / "report", wait=False):
            pass
        seen.append(finished.folder)

    seen = []
    run_study(tiny.study(**FAST), None, tmp_path, only=["a"], then=then)
    assert seen == [tmp_path]


def test_what_a_run_hands_over_is_what_its_files_hold_to_the_last_digit(tmp_path):
    """Tables with and without polars' mark of being sorted are summed in other orders."""
    seen = []
    run_study(tiny.study(**FAST), None, tmp_path, then=lambda finished: seen.append(finished.results))
    (handed,), read = seen, read_results(tmp_path)
    for table, again in zip(handed[1:], read[1:], strict=True):
        assert table.equals(again) and table.schema == again.schema and table.n_chunks() == 1
        assert [column.flags for column in table] == [column.flags for column in again]
    tables, others = (Report.of(*results).tables() for results in (handed, read))
    for name, table in tables.items():
        assert table.equals(others[name]), name


def test_a_report_that_is_asked_for_waits_for_a_run_that_ends(finished, monkeypatch):
    out, held = finished[0], []

    def write(folder):
        with pytest.raises(Timeout), locked(folder / ".locks" / "report", wait=False):
            pass
        held.append(folder)

    monkeypatch.setattr("plait.report.write_report", write)
    assert CliRunner().invoke(app, ["report", str(out)], catch_exceptions=False).exit_code == 0
    assert held == [out]


class Diverging(nn.Module):
    """A layer on the means, whose scores become no numbers in the training of some people."""

    def __init__(self, shapes, classes):
        super().__init__()
        self.linear = nn.Linear(sum(shape[-1] for shape in shapes.values()), classes)
        self.seen = 0

    def forward(self, grids):
        grid = torch.cat([grid.flatten(1, -2).mean(1) for grid in grids.values()], 1)
        self.seen += self.training
        return self.linear(grid) * (torch.nan if self.seen > 3 and self.training else 1.0)


def test_training_that_diverged_is_named_and_left_out_and_the_rest_goes_on(tmp_path):
    methods = tiny.study()["methods"] | {
        "bad": {"use": "tests.study.test_run:Diverging"},
        "heir": {"use": "plait.fusion:Concat", "encoders": {"a": {"from": "bad"}}},
        "of-it": {"average": ["a", "bad"]},
    }
    study = tiny.study(methods=methods, seeds=[0], train={"max_epochs": 2}, protocol=ONE_FOLD)
    out, said = tmp_path / "run", []
    for _ in range(2):  # what failed is not tried again
        said.clear()
        with pytest.raises(
            DataError, match="2 of 6 jobs failed, the others are done and shown in .*: bad, fold fixed"
        ) as told:
            plait.run(study, ".", out, executor="inline", say=said.append)
        assert "\n" not in str(told.value)
        lines = [line for line in said if line.startswith("failed: ")]
        assert len(lines) == 2 and all("training diverged: from epoch" in line for line in lines)
    predictions = pl.read_parquet(out / "predictions.parquet")
    assert set(predictions["method"]) == {"a", "b", "average", "concat", "a-led"}
    assert all(np.isfinite(np.array(predictions["scores"].to_list())).ravel())
    about = json.loads((out / "run.json").read_text(), parse_constant=pytest.fail)
    assert len(about["failed"]) == 2 and set(about["methods"]) == set(predictions["method"])
    for name in ("table.md", "index.html"):
        assert "bad, fold fixed, seed 0: training diverged" in (out / name).read_text("utf-8"), name
    plait.run(study, ".", out, executor="inline", only=["a"])


def test_a_study_of_which_nothing_is_left_says_so(tmp_path):
    study = tiny.study(methods={"bad": {"use": "tests.study.test_run:Diverging"}}, seeds=[0])
    with pytest.raises(
        DataError, match="no method without a failed job: bad, fold 1, seed 0: training diverged"
    ):
        run_study(study, None, tmp_path / "run")


class OfVectors(nn.Module):
    """A batch normalisation of a vector for each clip, which one clip alone is too few for."""

    def __init__(self, shape):
        super().__init__()
        self.norm = nn.BatchNorm1d(shape[-1])

    def forward(self, x):
        return self.norm(x.mean(1))


@pytest.mark.parametrize(("size", "parts"), [(31, 1), (3, 2)])
def test_a_batch_of_one_clip_that_fails_names_the_setting(tmp_path, size, parts):
    own = {"use": "tests.study.test_run:OfVectors"}
    methods = {"a": {"use": "plait.fusion:Single", "args": {"modality": "a"}, "encoders": {"a": own}}}
    train = {"max_epochs": 1, "batch_size": size, "accumulate": parts}
    alone = rf"train\.batch_size: {size} leaves a batch or a part of one clip, which fails: Expected more"
    with pytest.raises(ConfigError, match=alone):
        run(tmp_path / "run", tiny.study(methods=methods, train=train, seeds=[0]), executor="inline")
    well = tiny.study(methods=methods, train=train | {"batch_size": 32, "accumulate": 1}, seeds=[0])
    assert run(tmp_path / "run", well, executor="inline")[0].height == 64
