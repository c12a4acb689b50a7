import subprocess
import sys
import time

import polars as pl
import pytest
import tomli_w

from plait import __version__ as version
from plait import cli
from plait.cli.meter import Meter
from plait.cli.options import once
from plait.errors import ConfigError
from plait.progress import Step
from tests import tiny
from tests.commands import started


def write(path, study):
    path.write_text(tomli_w.dumps(study))
    return path


def test_run_ends_with_the_table_and_the_page(tmp_path, plait):
    file = write(tmp_path / "study.toml", tiny.study(train={"max_epochs": 1}, seeds=[0]))
    code, told, progress = plait("run", file, "--data", ".", "--out", "runs/tiny", "--executor", "inline")
    assert code == 0, progress
    assert "[16/16] a-led, fold 10, seed 0 · 0.0 min left" in progress
    assert "a-led" in told and told.strip().endswith("index.html")
    out = tmp_path / "runs" / "tiny"
    for name in ("predictions.parquet", "table.csv", "table.md", "index.html", "study.toml", "run.json"):
        assert (out / name).stat().st_size > 0, name
    code, told, _ = plait("report", out)
    assert code == 0 and told.strip() == str(out / "index.html")


@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["run", "-h"], ["hands", "detect", "-h"]])
def test_questions_about_plait_itself(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["plait", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().out
    assert ended.value.code == 0
    if arguments == ["--version"]:
        assert f"plait {version}\n" == said
    else:
        assert "Usage: plait" in said


def test_a_shell_completes_verbs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["plait"])
    monkeypatch.setenv("_PLAIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "plait ru")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().out.split()) == (0, ["run"])


def test_a_user_s_module_beside_the_study_is_found(tmp_path, plait, quick_workers):
    (tmp_path / "my_method.py").write_text(
        "from torch import nn\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self, shapes, classes):\n"
        "        super().__init__()\n"
        "        self.linear = nn.Linear(shapes['a'][-1], classes)\n"
        "    def forward(self, grids):\n"
        "        return self.linear(grids['a'].mean(1))\n"
    )
    file = write(
        tmp_path / "study.toml",
        tiny.study(train={"max_epochs": 1}, methods={"mine": {"use": "my_method:Mine"}}),
    )
    code, _, said = plait("run", file, "--data", ".", "--out", "out", "--workers", 1, "--set", "seeds=[0]")
    assert code == 0, said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "train.patiense=2"], "train.patiense: unknown key, did you mean 'patience'?"),
        (["--set", "protocol={kind='fixed', train=[1, 2], val=[3], test=[9]}"], "unknown subject '9'"),
        (["--set", "dataset=plait.datasets.utd_mhad:UTD_MHAD"], "expected"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, plait, arguments, message):
    file = write(tmp_path / "study.toml", tiny.study())
    code, told, fault = plait("run", file, "--data", tmp_path, "--out", "out", *arguments)
    assert (code, told) == (2, "")
    assert fault.startswith("plait: ") and len(fault.splitlines()) == 1 and message in fault
    assert not (tmp_path / "out").exists()


def test_report_of_nothing_is_one_line(tmp_path, plait):
    code, _, fault = plait("report", tmp_path)
    assert code == 2 and len(fault.splitlines()) == 1 and "plait run" in fault


def test_a_study_killed_half_way_and_started_again_ends_with_the_same_bytes(tmp_path, plait):
    file = write(tmp_path / "study.toml", tiny.study(train={"max_epochs": 4}, seeds=[0]))
    asked = ["run", file, "--data", ".", "--out"]
    killed = started(*asked, "killed", "--workers", 1, folder=tmp_path, spawns=True).process
    jobs = tmp_path / "killed" / "jobs"

    def finished():
        return [p for p in jobs.iterdir() if not p.name.startswith(".")] if jobs.exists() else []

    while len(finished()) < 5:
        assert killed.is_alive()
        time.sleep(0.01)
    killed.kill()
    killed.join()
    time.sleep(1)  # the worker ends with its parent
    done = len(finished())
    time.sleep(1)
    assert len(finished()) == done < 16 and not (tmp_path / "killed" / "predictions.parquet").exists()
    assert started(*asked, "killed", "--executor", "inline", folder=tmp_path).ended()[0] == 0
    assert len(finished()) == 16
    assert plait(*asked, "whole", "--executor", "inline")[0] == 0
    one, other = (tmp_path / out / "predictions.parquet" for out in ("killed", "whole"))
    assert one.read_bytes() == other.read_bytes() and pl.read_parquet(one).height == 5 * 64


def test_an_interrupt_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(run):
        raise KeyboardInterrupt

    monkeypatch.setattr("plait.report.write_report", interrupted)
    monkeypatch.setattr("sys.argv", ["plait", "report", "runs/any"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130 and "goes on from here" in capsys.readouterr().err


def test_progress_has_time_left_only_where_something_was_done(capsys):
    with Meter() as meter:
        for step in (
            Step(0, 3, "jobs", "begins"),
            Step(1, 3, "one"),
            Step(1, 3, "another run", "waits"),
            Step(3, 3, "three"),
            Step(3, 3, "jobs", "begins"),
            Step(0, 3, "clips", "begins"),
        ):
            meter.tell(step)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "3 jobs" and said[2] == "[1/3] another run"
    assert said[4:] == ["3 jobs, 3 of them done before", "3 clips"]
    assert [line.partition(" · ")[0] for line in said[1::2]] == ["[1/3] one", "[3/3] three", "3 clips"]
    assert all(line.endswith(" min left") for line in (said[1], said[3]))


def test_reproduce_needs_data_unless_it_makes_its_own(tmp_path, plait):
    code, _, fault = plait("reproduce", "glovid", "--out", tmp_path / "run")
    assert (
        code == 2
        and "--data: missing, expected the folder of glovid" in fault
        and len(fault.splitlines()) == 1
    )


def test_neither_the_package_nor_its_help_imports_torch():
    for code in ("import plait", "from plait.cli import app"):
        heavy = "[m for m in ('torch', 'polars', 'matplotlib', 'ray', 'av') if m in sys.modules]"
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; {code}; print({heavy})"], capture_output=True, text=True
        )
        assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("device", ["cuda:999", "gpu"])
@pytest.mark.parametrize(
    "words",
    [
        ["run", "study.toml", "--data", ".", "--out", "made"],
        ["fit", "study.toml", "a", "--data", ".", "--out", "made"],
        ["features", ".", "--dataset", "tests.tiny:TINY", "--encoder", "own:Own", "--modality", "a"],
        ["predict", "no-model", "no-recording", "--out", "made"],
        ["live", "no-model", "--stream", "a=replay:no-recording"],
        ["demo", "--out", "made"],
        ["reproduce", "simulated", "--out", "made"],
    ],
    ids=lambda words: words[0],
)
def test_a_device_that_is_not_here_is_one_line_before_anything_starts(tmp_path, plait, words, device):
    write(tmp_path / "study.toml", tiny.study(seeds=[0]))
    code, told, said = plait(*words, "--device", device)
    assert (code, told) == (2, "") and said.count("\n") == 1
    assert f"device is '{device}', expected auto, cpu, cuda or cuda:N" in said
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_a_key_that_is_set_twice_is_refused():
    assert once("--set", [("tier", "a"), ("label_unit", "ms"), ("tier", "a")]) == {
        "tier": "a",
        "label_unit": "ms",
    }
    with pytest.raises(ConfigError, match="--set tier=b: tier is a already, expected it once"):
        once("--set", [("tier", "a"), ("tier", "b")])
