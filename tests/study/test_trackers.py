"""Trackers are told what histories say, whoever trained, and change nothing."""

import importlib.util
import json
import math
import resource
import sys
from types import SimpleNamespace

import polars as pl
import pytest

from plait.errors import ConfigError, DataError
from plait.results import EPOCH
from plait.study import trackers
from plait.study.run import run_study
from tests import tiny

FOLD = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
STEPS = {"use": "torch.optim.lr_scheduler:StepLR", "args": {"step_size": 1, "gamma": 0.5}}


def study(**own):
    """Two trainings, and a stack over them, for which they are trained anew in two folds within."""
    methods = {name: tiny.study()["methods"][name] for name in ("a", "b")}
    methods |= {"stack": {"stack": ["a", "b"], "args": {"folds": 2}}}
    return tiny.study(methods=methods, protocol=FOLD, seeds=[0], train={"max_epochs": 2}) | own


def run(out, *trackers, **options):
    sets = [f"train.log={json.dumps(trackers)}"] if trackers else []
    done = []
    run_study(study(), None, out, sets=sets, progress=lambda step: done.append(step.state), **options)
    return done.count("done")


def histories(out):
    """The epochs of each job that trains a network, by the beginning of its key."""
    tables = {job.name: pl.read_parquet(job / "history.parquet") for job in (out / "jobs").iterdir()}
    return {key: table for key, table in tables.items() if table.height}


def told_to_tensorboard(out):
    """The curves of each job, by the beginning of its key."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for folder in (out / "tensorboard").iterdir():
        events = EventAccumulator(str(folder)).Reload()
        found[folder.name.rpartition(", ")[2]] = {
            name: [(event.step, event.value) for event in events.Scalars(name)]
            for name in events.Tags()["scalars"]
        }
    return found


def needs(name):
    return pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f"{name} is not installed: plait[{name}]"
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    out = tmp_path_factory.mktemp("plain")
    assert run(out) == 7
    return out


def test_the_learning_rate_of_an_epoch_is_that_of_its_last_batch(tmp_path):
    train = {"max_epochs": 3, "args": {"lr": 0.5}, "schedule": STEPS, "batch_size": 20, "choose": "last"}
    methods = {"a": tiny.study()["methods"]["a"]}
    run_study(study(train=train, methods=methods), None, tmp_path)
    (table,) = histories(tmp_path).values()
    batches = [math.ceil(16 * 2 / 20) * epoch for epoch in (1, 2, 3)]
    assert table["learning_rate"].to_list() == [0.5 * 0.5 ** (n - 1) for n in batches]


def test_a_training_once_more_has_curves_of_its_own():
    rows = [
        ("train", 1, 2.0, 0.5, 1.5, 0.1),
        ("train", 2, 1.0, 0.75, 1.25, 0.05),
        ("refit", 1, 3.0, None, None, 0.1),
    ]
    assert trackers.curves(pl.DataFrame(rows, EPOCH, orient="row")) == {
        "loss": [(1, 2.0), (2, 1.0)],
        "val_loss": [(1, 1.5), (2, 1.25)],
        "val_accuracy": [(1, 0.5), (2, 0.75)],
        "learning_rate": [(1, 0.1), (2, 0.05)],
        "refit/loss": [(1, 3.0)],
        "refit/learning_rate": [(1, 0.1)],
    }


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (['train.log=["tensorbord"]'], r"train\.log\.0: got 'tensorbord': Input should be 'tensorboard' or"),
        (['methods.a.train.log=["wandb"]'], r"methods\.a\.train\.log\.0: got 'wandb'"),
        (['train.log=["mlflow"]'], r"train\.log: mlflow is not installed: pip install 'plait\[mlflow\]'$"),
        (['methods.a.train.log=["tensorboard"]'], r"^methods\.a\.train\.log: tensorboard is not installed"),
    ],
)
def test_an_unknown_or_missing_tracker_is_said_before_anything_is_read(tmp_path, monkeypatch, sets, message):
    absent = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.setattr(trackers, "importlib", absent)
    with pytest.raises(ConfigError, match=message) as refused:
        run_study(study(), None, tmp_path / "out", sets=sets)
    assert len(str(refused.value).splitlines()) == 1 and not (tmp_path / "out").exists()


@needs("tensorboard")
def test_a_run_that_is_started_again_with_a_tracker_does_no_job_again(plain):
    before = (plain / "predictions.parquet").read_bytes()
    assert run(plain, "tensorboard") == 0
    assert (plain / "predictions.parquet").read_bytes() == before
    told, said = told_to_tensorboard(plain), histories(plain)
    assert len(said) == 6 and told.keys() == {key[:8] for key in said}
    for key, table in said.items():
        for name, values in told[key[:8]].items():
            assert values == [
                (epoch, pytest.approx(value)) for epoch, value in table.select("epoch", name).rows()
            ]
        assert told[key[:8]].keys() == {"loss", "val_loss", "val_accuracy", "learning_rate"}
    files = sorted((plain / "tensorboard").rglob("*.*"))
    assert run(plain, "tensorboard") == 0 and sorted((plain / "tensorboard").rglob("*.*")) == files


@pytest.mark.slow
@needs("tensorboard")
def test_worker_processes_leave_the_same_with_a_tracker(plain, tmp_path, quick_workers):
    assert run(tmp_path, "tensorboard", executor="processes", workers=1) == 7
    for name in ("predictions.parquet", "validation.parquet"):
        assert (tmp_path / name).read_bytes() == (plain / name).read_bytes()
    jobs = [sorted(path.name for path in (out / "jobs").iterdir()) for out in (tmp_path, plain)]
    assert jobs[0] == jobs[1]
    for key in histories(plain):
        one, other = (out / "jobs" / key / "weights.safetensors" for out in (tmp_path, plain))
        assert one.read_bytes() == other.read_bytes()
    assert told_to_tensorboard(tmp_path).keys() == {key[:8] for key in histories(plain)}
    names = {folder.name.rpartition(", ")[0] for folder in (tmp_path / "tensorboard").iterdir()}
    assert {"a, fold fixed, seed 0", "b, fold fixed, seed 0"} < names


@needs("tensorboard")
def test_one_method_alone_may_be_told_of(tmp_path):
    run_study(study(), None, tmp_path, sets=['methods.b.train.log=["tensorboard"]'], only=["a", "b"])
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert folder.name.startswith("b, fold ")


@needs("mlflow")
def test_mlflow_has_every_job_once_though_it_was_killed_meanwhile(plain, tmp_path, capfd):
    import mlflow

    before, out = (plain / "predictions.parquet").read_bytes(), plain
    assert run(out, "mlflow") == 0 and (out / "predictions.parquet").read_bytes() == before
    store = out / "mlruns" / "mlflow.db"
    client = mlflow.MlflowClient(f"sqlite:///{store}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "tiny"]

    def runs():
        return {one.data.tags["plait.key"]: one for one in client.search_runs([experiment.experiment_id])}

    first, said = runs(), histories(out)
    assert first.keys() == said.keys()
    for key, table in said.items():
        for name in ("loss", "val_loss", "val_accuracy", "learning_rate"):
            told = [(m.step, m.value) for m in client.get_metric_history(first[key].info.run_id, name)]
            assert told == table.select("epoch", name).rows()
    assert {one.data.params["method"] for one in first.values()} == {"a", "b"}
    killed = min(said)
    client.update_run(first[killed].info.run_id, "RUNNING")
    assert run(out, "mlflow") == 0
    again = runs()
    changed = {key for key in again if again[key].info.run_id != first[key].info.run_id}
    assert changed == {killed} and again.keys() == said.keys()
    assert capfd.readouterr() == ("", "")


@needs("mlflow")
@pytest.mark.parametrize("name", ["a%20b", "a?mode=memory"])
def test_a_folder_that_a_database_s_address_cannot_name_is_refused(tmp_path, name):
    (tmp_path / "a b" / "mlruns").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"expected a path without \? and %$"):
        run(tmp_path / name, "mlflow")
    assert not list((tmp_path / "a b" / "mlruns").iterdir())


@needs("tensorboard")
def test_a_tracker_that_is_there_and_cannot_be_used_is_one_line(tmp_path, monkeypatch):
    import tensorboard

    (tmp_path / "tensorboard.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == tensorboard.__name__]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match=r"^train\.log: tensorboard cannot be used: .*not a package"):
        run(tmp_path / "out", "tensorboard")


@needs("tensorboard")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, capfd):
    job = SimpleNamespace(label="a / 手, fold f, seed 0", key="0" * 32)
    telling = trackers.Telling(job, {"loss": [(epoch, 1 / epoch) for epoch in range(1, 5001)]})
    tell = trackers._TRACKERS["tensorboard"](tmp_path, "tiny")
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, bounds[1]))
    try:
        with pytest.raises(DataError, match=r"seed 0, 0{8}: cannot be written: ") as refused:
            tell(telling)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)
    assert len(str(refused.value).splitlines()) == 1 and not list((tmp_path / "tensorboard").iterdir())
    assert capfd.readouterr() == ("", "")
    tell(telling)
    told = told_to_tensorboard(tmp_path)["0" * 8]["loss"]
    assert told[0] == (1, 1.0) and told[-1] == (5000, pytest.approx(1 / 5000))


@needs("mlflow")
def test_a_damaged_store_is_one_line(plain, tmp_path):
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DataError, match="mlruns: mlflow cannot keep what it is told: ") as refused:
        run(tmp_path, "mlflow")
    assert len(str(refused.value).splitlines()) == 1 and not list((tmp_path / "jobs").glob("[0-9a-f]*"))


@needs("tensorboard")
def test_a_history_without_learning_rates_is_one_line(tmp_path):
    run(tmp_path)
    key = min(histories(tmp_path))
    file = tmp_path / "jobs" / key / "history.parquet"
    pl.read_parquet(file).drop("learning_rate").write_parquet(file)
    with pytest.raises(DataError, match=r"history\.parquet: no numbers in a column 'learning_rate'; "):
        run(tmp_path, "tensorboard")
