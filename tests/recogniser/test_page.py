"""docs/recogniser.md: its commands, one after another, and its Python, as they stand there."""

import re
import shlex
import shutil
from contextlib import nullcontext
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from plait.cli import app
from tests.shapes import unchecked

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recogniser.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
QUICK = ["--set", "train.max_epochs=1", "--executor", "inline"]
QUICKER = {
    "run": [*QUICK, "--no-doctor"],
    "fit": [*QUICK, "--stride", "1.5"],
}  # the last stride is what counts


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """All of the page, in a folder with the examples alone; one epoch, and fewer windows than it says."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(ROOT / "examples", folder / "examples")
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in COMMANDS:
            words = shlex.split(line)
            assert words[0] == "plait"
            if words[1] == "export" and "torch" not in words:
                continue
            asked = [*words[1:], *QUICKER.get(words[1], [])]
            with unchecked() if words[1] == "export" else nullcontext():
                done = CliRunner().invoke(app, asked, catch_exceptions=False)
            assert done.exit_code == 0, (line, done.stderr)
            said[words[1]] = done.stdout + done.stderr
        for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(code, "recogniser.md", "exec"), {})
    return folder, said


def test_the_page_leads_from_a_study_to_a_timeline(followed):
    folder, said = followed
    assert [words.split()[1] for words in COMMANDS] == [
        "run", "fit", "predict", "score", "export", "export",
    ]  # fmt: skip
    table = pl.read_parquet(folder / "timeline" / "timeline.parquet")
    assert set(table["recording"]) == {"subject-6"} and table["start_s"].is_sorted()
    assert (
        "frames right, labelled ones" in said["score"] and "trained on 360 clips of 5 people" in said["fit"]
    )
    for name in ("segments.csv", "segments.json", "subject-6.eaf", "subject-6.svg", "scores.json"):
        assert (folder / "timeline" / name).stat().st_size > 100
    assert (folder / "video-led.pt2").is_file()


def test_every_option_and_file_that_the_page_names_is_there(followed):
    folder, _ = followed
    for name in re.findall(r"^\| `([a-z]+\.\w+)` \|", PAGE, re.MULTILINE):
        assert (folder / "timeline" / name).is_file(), name
