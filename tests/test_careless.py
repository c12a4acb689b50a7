"""What careless or hostile users do to folders, names and data sets: refused in a line, nothing lost."""

import os
import sys

import numpy as np
import pytest
import tomli_w

from plait.cli import main
from plait.compute.machine import device_called
from plait.errors import ConfigError, DataError, PlaitError
from plait.fusion import NonLocal
from plait.hands.boxes import write_boxes
from plait.hands.train import Training, train
from plait.objects import resolve
from plait.report.serve import server
from plait.results import job_folder
from plait.simulator.simulate import simulate
from plait.simulator.writer import Settings
from plait.study.load import load_study
from plait.study.run import run_study
from plait.types import Dataset, Modality, Readings, Recording, Span
from tests import tiny

FAST = {"seeds": [0], "train": {"max_epochs": 1}, "methods": {"a": tiny.study()["methods"]["a"]}}


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name", ["study.toml", "index.html", "table.csv", "cases/mine.txt", "predictions.parquet"]
)
def test_a_run_overwrites_nothing_that_no_run_has_left(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(tomli_w.dumps(tiny.study(**FAST)))
    before = bytes_of(tmp_path)
    with pytest.raises(ConfigError, match="which no run has left: expected another folder"):
        run_study(tmp_path / name if name == "study.toml" else tiny.study(**FAST), tmp_path, tmp_path)
    assert bytes_of(tmp_path) == before


def test_a_run_is_not_replaced_by_another_study_s_and_goes_on_where_it_was_cut_off(tmp_path):
    run_study(tiny.study(**FAST), tmp_path, tmp_path / "run")
    before = bytes_of(tmp_path / "run")
    with pytest.raises(ConfigError, match="holds a run of 'tiny', and this is 'other'"):
        run_study(tiny.study(**FAST, name="other"), tmp_path, tmp_path / "run")
    assert bytes_of(tmp_path / "run") == before
    (tmp_path / "run" / "run.json").unlink()
    run_study(tiny.study(**FAST), tmp_path, tmp_path / "run")


def test_boxes_and_detectors_take_nobody_s_place(tmp_path):
    (raw,) = simulate(tmp_path / "raw", 1, Settings(3, 8, 96, 5), workers=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    before = bytes_of(tmp_path)
    for out in (raw, raw.parent, tmp_path, tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(ConfigError, match="expected a"):
            write_boxes([raw], out)
    assert bytes_of(tmp_path) == before
    boxes = write_boxes([raw], tmp_path / "boxes", 4.0)
    write_boxes([raw], boxes, 2.0)  # its own are made anew
    before = bytes_of(tmp_path)
    for out in (boxes, tmp_path / "mine"):
        with pytest.raises(ConfigError, match="no detector that was trained here"):
            train(boxes, out, Training(steps=1, batch=1, side=64))
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"head": []}, "comes to 0 rows"),
        ({"head": ["mean", "mean"]}, "a row 'a.head=mean.', which is there already"),
        ({f"x{i}": list(range(60)) for i in range(5)}, "comes to 777600000 rows"),
    ],
)
def test_sweeps_come_to_rows_that_differ_and_to_few_enough(sweep, said):
    methods = {"a": {**FAST["methods"]["a"], "sweep": sweep}}
    with pytest.raises(ConfigError, match=f"methods.a.*{said}"):
        load_study(tiny.study(**{**FAST, "methods": methods}))


def test_a_sweep_hides_no_method_that_is_called_like_one_of_its_rows():
    single = FAST["methods"]["a"]
    methods = {"a": {**single, "sweep": {"head": ["mean", "flatten"]}}, "a[head=mean]": single}
    with pytest.raises(ConfigError, match="which is there already"):
        load_study(tiny.study(**{**FAST, "methods": methods}))


def test_a_pool_larger_than_the_grid_is_the_whole_grid():
    import torch

    torch.manual_seed(0)
    block, x, y = NonLocal(3, 4, 2, pool=10**9), torch.randn(2, 5, 3), torch.randn(2, 6, 7, 4)
    whole = block(x, y)
    block.pool = 7
    torch.testing.assert_close(whole, block(x, y))


@pytest.mark.parametrize(
    "setting",
    [
        *({"rate_hz": value} for value in (0, -5, float("nan"), float("inf"), 1e9)),
        *({"samples": value} for value in (0, -1, 10**12)),
    ],
)
def test_a_modality_has_numbers_that_a_clip_can_have(setting):
    with pytest.raises(ConfigError, match=f"modality m: {next(iter(setting))} is "):
        Modality(
            **{
                "name": "m",
                "streams": ("m",),
                "samples": 4,
                "rate_hz": 2.0,
                "prepare": None,
                "encoder": None,
                **setting,
            }
        )


def test_recordings_are_of_what_recordings_are_of():
    readings = Readings(np.arange(3.0), np.zeros(3))
    for make, said in (
        (lambda: Recording("r", 1, {}, ()), "subject is 1"),
        (lambda: Recording("r", "\ud800", {}, ()), "expected text"),
        (lambda: Recording("r", "anna", {"m": np.zeros(3)}, ()), "stream 'm' is a ndarray"),
        (lambda: Span(0.0, 1.0, None), "activity is None"),
        (lambda: Span(0.0, float("inf"), "walk"), "expected finite numbers"),
        (lambda: Readings([0.0, 1.0], np.zeros(2)), "times are a list"),
        (lambda: Readings(np.arange(2.0), np.array(["a", "b"])), "values are an array of <U1"),
    ):
        with pytest.raises(DataError, match=said):
            make()
    assert Recording("r", "anna", {"m": readings}, ()).content(["m"])
    for activities in (("walk", "walk"), (1, 2)):
        with pytest.raises(ConfigError, match="data set d: activities: got"):
            Dataset("d", activities, (), iter, "")


def raising(data):
    raise KeyError("column")


def nothing(data):
    yield None


@pytest.mark.parametrize(
    ("opened", "said"), [(raising, "KeyError: .*test_careless.py, line"), (nothing, "a NoneType")]
)
def test_a_data_set_s_own_trouble_is_one_line(tmp_path, opened, said):
    from plait.clips import survey

    with pytest.raises(ConfigError, match=f"data set d: its recordings: {said}"):
        survey(Dataset("d", ("walk",), (), opened, ""), tmp_path, [])


@pytest.mark.parametrize(
    "text", ["def x(:", "import sys; sys.exit(5)", "from plait.types import nope", "raise ValueError"]
)
def test_a_module_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch, text):
    (tmp_path / "scratch_careless.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with pytest.raises(ConfigError, match="^here: module 'scratch_careless' cannot be imported: [^\n]*$"):
        resolve("scratch_careless:Name", "here")


@pytest.mark.parametrize("device", ["meta", "hpu", "privateuseone", "cpu:0:0", "", "cuda:-1"])
def test_devices_are_those_that_are_named(device):
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda or cuda:N"):
        device_called(device)


def test_an_empty_host_is_not_everybody(tmp_path):
    (tmp_path / "index.html").write_text("")
    for host in ("", " ", "\udc80"):
        with pytest.raises(PlaitError, match="--host"):
            server(tmp_path, host, 0)


def test_links_to_themselves_and_folders_that_are_gone(tmp_path, monkeypatch, capsys):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    (tmp_path / "study.toml").write_text(tomli_w.dumps(tiny.study(**FAST)))
    monkeypatch.setattr(
        sys, "argv", ["plait", "run", str(tmp_path / "study.toml"), "--data", ".", "--out", str(loop)]
    )
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "loop" in capsys.readouterr().err
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "started in is gone" in capsys.readouterr().err


def test_names_that_cannot_be_written_down_and_empty_folders_are_named(tmp_path, monkeypatch, capsys):
    for words, said in (
        (["ingest", "/dev/null", "--out", "r"], "plait: /dev/null: a pipe or a device, expected a video"),
        (["ingest", str(tmp_path), "--out", "r"], f"plait: {tmp_path}: no file of a recording in it"),
        (
            ["clips", "/tmp/\udcffx", "--out", "c", "--seconds", "1"],
            r"plait: '/tmp/\udcffx': a name that is not UTF-8",
        ),
    ):
        monkeypatch.setattr(sys, "argv", ["plait", *words])
        with pytest.raises(SystemExit, match="2"):
            main()
        assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("key", ["../../../etc", "/etc", "a/b", ""])
def test_a_job_s_folder_lies_in_its_run(tmp_path, key):
    with pytest.raises(DataError, match=r"run.json: keys: .*, expected the name of a folder in jobs"):
        job_folder(tmp_path, key)


def test_what_a_kill_left_behind_goes_although_all_stands_already(tmp_path):
    """Killed after its result had taken its place, and before what it was made in had gone."""
    left = tmp_path / "raw" / ".making-killed"
    simulate(tmp_path / "raw", 1, Settings(3, 8, 96, 5), workers=1)
    left.mkdir()
    (left / ".lock").write_text("")
    os.utime(left, (0, 0))
    simulate(tmp_path / "raw", 1, Settings(3, 8, 96, 5), workers=1)
    assert not left.exists()
