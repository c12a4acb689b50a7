"""Tutorials and how-tos do what they say: their commands and their Python, one after another, on small data.

A block of Python or TOML that begins with `# FOLDER/NAME.py` is that file; what only a card, a cluster or
other people's data can do stands in blocks of `console`, and is not run.
"""

import re
import shlex
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from plait.cli import app
from signals import simulate
from tests.recordings.test_folder import film

ROOT = Path(__file__).parent.parent
INLINE = ["--executor", "inline"]


def follow(page, folder, epochs=1):
    """Do what a page says, in `folder`, but for so many epochs; what each verb said last."""
    quick = [*INLINE, "--set", f"train.max_epochs={epochs}"]
    quicker, said = {"run": quick, "reproduce": quick, "robustness": INLINE}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for kind, block in re.findall(r"^```(sh|python|toml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if named := re.match(r"# ([\w/]+\.(?:py|toml))\n", block):
                (folder / named[1]).write_text(block, encoding="utf-8")
            elif kind == "python":
                exec(compile(block, page, "exec"), {})
            for line in block.splitlines() if kind == "sh" else ():
                verb, *words = shlex.split(line)
                assert verb == "plait", line
                words += quicker.get(words[0], [])
                done = CliRunner().invoke(app, words, catch_exceptions=False)
                assert done.exit_code == 0, (line, done.stderr)
                said[words[0]] = done.stdout + done.stderr
    return said


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A folder with the examples in which the tutorial on parts of one's own was followed."""
    folder = tmp_path_factory.mktemp("parts")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    follow("your-own-parts.md", folder, epochs=8)
    return folder


@pytest.fixture
def session(tmp_path):
    """Twenty seconds of a camera, a wrist sensor, and a heart rate by the same clock."""
    (tmp_path / "session-1").mkdir()
    signals = simulate(3, duration_s=20, claps=1)
    film(tmp_path / "session-1" / "GOPR0042.MP4", signals, sound=False)
    log = signals.logs["right"]
    wrist = [
        f"{1e3 * t:.1f},{x:.3f},{y:.3f},{z:.3f}" for t, (x, y, z) in zip(log.times, log.values, strict=True)
    ]
    heart = [f"{1e3 * second:.0f},{80 + second % 4}" for second in range(20)]
    labels = ["4.0,16.0,pressing"]
    for name, head, rows in (
        ("wrist", "Timestamp,ax,ay,az", wrist),
        ("heart", "Timestamp,bpm", heart),
        ("labels", "start,stop,activity", labels),
    ):
        (tmp_path / "session-1" / f"{name}.csv").write_text("\n".join([head, *rows]))
    return tmp_path


def test_parts_of_one_s_own(followed):
    table = pl.read_parquet(followed / "runs/own/predictions.parquet")
    assert set(table["subject"]) == {"ann", "ben", "eve"}
    right = table.group_by("method").agg((pl.col("activity") == pl.col("predicted")).mean())
    accuracy = dict(right.iter_rows())
    assert set(accuracy) == {"watch", "watch-spectrum", "gated", "balanced", "watch-led"}
    assert min(accuracy.values()) > 0.6


def test_each_example_stays_under_40_lines():
    for file in (ROOT / "examples").glob("*.py"):
        assert len(file.read_text().splitlines()) < 40, file.name


@pytest.mark.slow
def test_a_sensor_is_missing(followed):
    follow("how-to/missing-sensors.md", followed)
    lacking = pl.read_csv(followed / "runs/slipped/lacking.csv")
    assert {"gated", "watch-led"} <= set(lacking["method"]) and lacking["clips"].sum() > 0
    silent = pl.read_parquet(followed / "runs/slipped/predictions.parquet").filter(
        pl.col("predicted").fill_null("") == ""
    )
    assert silent["method"].to_list() == ["gated"] * 9 and set(silent["subject"]) == {"eve"}
    assert (followed / "runs/slipped/robustness").is_dir()


def test_runs_are_compared(followed):
    follow("how-to/compare-runs.md", followed)
    assert "watch-spectrum" in (followed / "runs/compared/compare.md").read_text()


def test_a_third_sensor(followed, session):
    for name in ("lab", "examples"):
        shutil.copytree(followed / name, session / name)
    follow("how-to/third-sensor.md", session)
    clips = pl.read_parquet(session / "clips/clips.parquet")
    assert set(clips["activity"]) == {"pressing"} and "heart" in str(clips["origins"].to_list())
    assert pl.read_parquet(session / "runs/three/predictions.parquet")["method"].unique().to_list() == [
        "watch-led"
    ]


def test_a_clock_is_corrected(session):
    (session / "session-1/heart.csv").unlink()
    said = follow("how-to/clock.md", session)
    assert "+1.250 s" in said["sync"] and "manual" in (session / "recordings/session-1/sync.json").read_text()


def test_glovid_s_holder(tmp_path):
    follow("glovid.md", tmp_path)
    assert pl.read_csv(tmp_path / "runs/glovid/table1.csv")["method"].to_list() == ["gloves", "video-led"]
