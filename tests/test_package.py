"""The wheel: what is in it, and that it does without a checkout."""

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import plait
from plait.cli.info import extras
from plait.errors import ConfigError
from plait.study.load import load_study
from plait.study.shipped import own_studies, study_path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, unpacked."""
    builders = pytest.importorskip(
        "hatchling.builders.wheel", reason="hatchling is not installed: plait[dev]"
    )
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = builders.WheelBuilder(str(ROOT)).build(directory=str(folder / "dist"), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_all_of_the_source_and_all_studies_are_in_the_wheel(wheel):
    source = ROOT / "src" / "plait"
    expected = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    expected |= {path.relative_to(ROOT) for path in (ROOT / "studies").glob("*.toml")}
    packed = {path.relative_to(wheel / "plait") for path in (wheel / "plait").rglob("*") if path.is_file()}
    assert packed == {path for path in expected if "__pycache__" not in path.parts}
    assert Path("py.typed") in packed and Path("studies/mex.toml") in packed


def test_what_the_wheel_says_of_itself(wheel):
    (folder,) = wheel.glob("*.dist-info")
    said = email.message_from_string((folder / "METADATA").read_text(encoding="utf-8"))
    assert folder.name == f"plait-{plait.__version__}.dist-info"
    assert said["Version"] == plait.__version__ and said["License-Expression"] == "Apache-2.0"
    named = set(re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    documented = {name for row in named for name in re.findall(r"`(\w+)`", row)}
    assert documented == set(said.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert (folder / "licenses" / "LICENSE").is_file()
    tried = {name.rpartition(" ")[2] for name in said.get_all("Classifier") if " :: 3." in name}
    (sentences,) = re.findall(r"^Tried on Linux.*(?:\n.+)*", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert tried == set(re.findall(r"\b3\.\d+\b", sentences)) and min(tried) in said["Requires-Python"]


def test_a_version_has_one_date():
    said = (ROOT / "CITATION.cff").read_text()
    version, date = re.search(r"^version: (.+)\ndate-released: (.+)$", said, re.MULTILINE).groups()
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert version == plait.__version__
    assert headings[:2] == ["[Unreleased]", f"[{version}] - {date}"] and len(set(headings)) == len(headings)
    sections = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= sections
    for part in text.split("\n## "):
        within = re.findall(r"^### (.+)$", part, re.MULTILINE)
        assert len(set(within)) == len(within)


def test_outside_a_checkout_it_answers_and_finds_its_own_studies(wheel, tmp_path):
    code = (
        "import sys; from plait.study.load import load_study; from plait.study.shipped import study_path\n"
        "print(study_path('studies/mex.toml'), load_study('mex-best').name)"
    )
    environment = {
        "PYTHONPATH": str(wheel),
        "HOME": str(tmp_path),
        "PATH": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", code], **options)
    assert done.stdout.split() == [str(wheel / "plait" / "studies" / "mex.toml"), "mex-best"], done.stderr
    done = subprocess.run([sys.executable, "-m", "plait", "--version"], **options)
    assert done.stdout == f"plait {plait.__version__}\n", done.stderr


def test_a_study_s_path_means_a_file_that_is_there_before_plait_s_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = study_path("mex")
    assert own == study_path("studies/mex.toml") == study_path(Path("studies", "mex.toml")) != Path("mex")
    assert own.is_file() and own.name == "mex.toml" and own.stem in own_studies()
    for path in ("mex.toml", "other/studies/mex.toml", "studies/none.toml", tmp_path / "studies/mex.toml"):
        assert study_path(path) == Path(path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mex.toml").write_text("")
    (tmp_path / "mex").write_text("")
    assert study_path("studies/mex.toml") == Path("studies/mex.toml") and study_path("mex") == Path("mex")


def test_a_study_may_extend_one_of_plait_s_own(tmp_path):
    (tmp_path / "mine.toml").write_text('extends = "studies/mex.toml"\nname = "mine"\n')
    mine, whole = load_study(tmp_path / "mine.toml"), load_study("mex")
    assert mine.name == "mine" and mine.methods == whole.methods
    with pytest.raises(ConfigError, match=r"No such file or directory; of plait's own studies there is mex$"):
        load_study(tmp_path / "mexx.toml")


def test_the_command_line_says_which_file_it_takes(tmp_path, plait):
    code, _, said = plait("run", "studies/mex.toml", "--data", "nowhere", "--out", "out")
    own, fault = said.splitlines()
    assert code == 2 and own == f"studies/mex.toml: plait's own, {study_path('mex')}" and "nowhere" in fault


def test_info(plait):
    code, told, said = plait("info")
    lines = dict(line.split(maxsplit=1) for line in told.splitlines() if " " in line.strip())
    assert (code, said) == (0, "") and lines["plait"].startswith(f"{sys.modules['plait'].__version__}, ")
    assert lines["devices"].startswith("cpu") and int(lines["cores"]) >= 1 and "torch " in lines["packages"]
    assert "0 B; " in lines["cache"] and "mex" in lines["studies"].split(", ")


def test_extras_are_there_lacking_or_too_old():
    asked = [
        "pytest>=1",
        'pytest>=1; extra == "there"',
        'pytest>=9999; extra == "old"',
        'no-such-package-at-all; extra == "lacking"',
        'no-such-package-at-all; python_version < "3" and extra == "there"',
    ]
    told = extras(["there", "old", "lacking"], asked)
    assert told["there"] == f"pytest {pytest.__version__}"
    assert told["old"] == f"no pytest>=9999 (but {pytest.__version__}): pip install 'plait[old]'"
    assert told["lacking"] == "no no-such-package-at-all: pip install 'plait[lacking]'"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_is_to_run_for_completion(shell, monkeypatch, plait):
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))
    code, told, _ = plait("--show-completion")
    assert code == 0 and "_PLAIT_COMPLETE=complete_" in told
