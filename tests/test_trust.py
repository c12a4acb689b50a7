"""Nobody's code runs because data names it: a planted run, a planted clip table, a planted folder."""

import json
import shutil
import sys
import tomllib
from pathlib import Path

import polars as pl
import pytest
import tomli_w

from plait import cli
from plait.clips.table import SCHEMA, TABLE
from plait.errors import ConfigError
from plait.fusion import Led
from plait.study.load import load_study
from plait.study.run import run_study
from plait.trust import NOBODY, Trust
from tests import tiny

EVIL = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
from torch import nn
class Net(nn.Identity): pass
DATA = Net()
"""
NAMES = (
    "os:system",
    "subprocess:run",
    "builtins:exec",
    "torch:load",
    "torch.hub:load",
    "torch.nn:Identity",
    "evil:Net",
    "evil:DATA",
    "plait.objects:importlib.import_module",
    "plait.store:os.system",
    "plait.store:write_text",
    "plait.pretrained:Path.unlink",
    "plait.download:fetch",
    "plait.cli.__main__:app",
    "plait.cli:main",
    "plait:run",
    "plaits:Net",
    ":Net",
    "plait.fusion.nonlocal_:torch.load",
)
PLACES = (
    ("dataset",),
    ("methods", "led", "use"),
    ("methods", "led", "encoders", "a", "use"),
    ("methods", "led", "encoders", "a", "features", "use"),
    ("methods", "plain", "use"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of plait's own classes, whose data set is the tests'."""
    out = tmp_path_factory.mktemp("run")
    methods = {name: {"use": "plait.fusion:Led", "args": {"lead": "a"}} for name in ("led", "plain")}
    run_study(tiny.study(methods=methods, seeds=[0], train={"max_epochs": 1}), None, out)
    return out


@pytest.fixture
def plait(tmp_path, monkeypatch, capsys):
    """Runs a command in a folder with `evil.py`, and says how it ended."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("evil", "jinja2", "yaml", "own_data", "torchvision"):
        (here / f"{name}.py").write_text(EVIL)
    monkeypatch.chdir(here)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["plait", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, capsys.readouterr().err

    yield run
    assert not (here / "ran").exists()


@pytest.mark.parametrize("place", PLACES, ids="-".join)
@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_names_code_is_refused_before_it_runs(made, plait, tmp_path, place, name):
    run = tmp_path / "planted"
    shutil.copytree(made, run)
    study = tomllib.loads((run / "study.toml").read_text()) | {
        "dataset": "plait.datasets.simulated:SIMULATED"
    }
    part = study
    for key in place[:-1]:
        part = part.setdefault(key, {})
    part[place[-1]] = name
    (run / "study.toml").write_text(tomli_w.dumps(study))
    about = json.loads((run / "run.json").read_text()) | {"file": str(tmp_path / "here" / "study.toml")}
    (run / "run.json").write_text(json.dumps(about))
    (tmp_path / "here" / "study.toml").touch()
    code, said = plait("attention", run, "r1/0003")
    assert code == 2 and len(said.splitlines()) == 1, said
    assert ".".join(place) in said and name in said, said


def test_what_its_user_trusts_runs(made, plait):
    code, said = plait("attention", made, "r1/0003", "--method", "led")
    assert code == 2 and "--trust tests.tiny" in said
    code, said = plait("attention", made, "r1/0003", "--method", "led", "--trust", "tests.tiny")
    assert code == 0, said


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_table_that_names_code_is_refused(plait, tmp_path, name):
    (tmp_path / "clips").mkdir()
    said = {"recordings": "..", "windows": {"seconds": 1.0}, "activities": ["a"], "dataset": name, "key": ""}
    pl.DataFrame(schema=SCHEMA).write_parquet(
        tmp_path / "clips" / TABLE, metadata={"plait": json.dumps(said)}
    )
    for verb in (
        ["features", tmp_path / "clips", "--encoder", "plait.pretrained:resnet50"],
        ["hands", "detect", tmp_path / "clips", "--detector", "none", "--out", tmp_path / "out"],
    ):
        code, said = plait(*verb)
        assert code == 2 and len(said.splitlines()) == 1 and name in said and "clips.parquet" in said, said


def test_what_stands_in_studies_of_plait_s_own_needs_no_trust():
    files = sorted((Path(__file__).parent.parent / "studies").glob("*.toml"))
    assert files
    for file in files:
        study = load_study(file)
        NOBODY.dataset(study.dataset, "dataset")
        for method in study.methods.values():
            for where, path in method.networks():
                NOBODY.network(path, where)


def test_trust_goes_by_modules_not_by_beginnings_of_their_names():
    trust = Trust(frozenset({"mine"}))
    for name in ("mine:Net", "mine.nets:Net"):
        trust.network(name, "use")
    for name in ("mines:Net", "min:Net", "other.mine:Net"):
        with pytest.raises(ConfigError, match="not plait's"):
            trust.network(name, "use")
    assert Led.__module__.startswith("plait.")
