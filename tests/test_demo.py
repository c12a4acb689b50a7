"""`plait demo`, small: from raw recordings to the timeline of somebody who is in no part of the study."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from plait.cli import app
from plait.errors import DataError
from plait.recogniser.model import read_facts
from plait.recogniser.predict import plan, read_predicted, timeline
from plait.recogniser.recogniser import Recogniser
from plait.recogniser.timeline import read_timeline
from plait.recogniser.windows import Sliding
from plait.recordings.folder import open_recording
from plait.results import read_facts as read_run

STUDY = """
name = "demo"
dataset = "plait.datasets.simulated:SIMULATED"
modalities = ["gloves", "thumbnails"]
seeds = [0]

[protocol]
kind = "leave-one-subject-out"
val_subjects = 1

[train]
max_epochs = 1
batch_size = 4
choose = "last"

[methods.gloves]
use = "plait.fusion:Single"
args = { modality = "gloves" }

[methods.glove-led]
use = "plait.fusion:Led"
args = { lead = "gloves" }

[methods.symmetric]
use = "plait.fusion:Symmetric"
"""
STATIONS = (  # where it is stopped, one after another
    "plait.recogniser.fitting.tuned",
    "plait.recogniser.predict.write_timeline",
    "plait.recogniser.score.write_json",
    "plait.cli.demo._write_again",
)
OWN = ("model", "timelines", "newcomer")  # what the demo has of somebody new


class Demo:
    """The demo in one folder, with a study that is quickly done."""

    def __init__(self, folder):
        self.folder, self.out = folder, folder / "runs" / "demo"

    def run(self, *words):
        words = words or ("demo", "--out", "runs/demo", "--subjects", "3", "--clips", "8", "--fps", "6")
        more = ["--executor", "inline", "--workers", "1"] if words[0] == "demo" else []
        cache = {"PLAIT_CACHE": str(self.folder / "cache")}  # one, as somebody at a terminal has
        return CliRunner().invoke(app, [*words, *more], env=cache)

    def held(self):
        """The bytes of all files, but of locks and of the moments in which jobs were done."""
        files = [file for file in self.out.rglob("*") if file.is_file() and ".lock" not in str(file)]
        return {str(file.relative_to(self.out)): file.read_bytes() for file in files}

    def touched(self):
        """When each file that costs work was written."""
        dear = ("raw", "recordings", "clips", "jobs", *OWN)
        files = [file for name in dear for file in (self.out / name).rglob("*.*") if file.is_file()]
        return {file: file.stat().st_mtime_ns for file in files if not file.name.startswith((".", "scores"))}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo that is done, and what it said."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "demo.toml").write_text(STUDY)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("plait.cli.demo.study_file", lambda name: folder / f"{name}.toml")
        patch.setattr("plait.cli.simulated.HEIGHT", 64)
        patch.setattr("plait.cli.simulated.NEWCOMER_CLIPS", 8)
        made = Demo(folder)
        made.done = made.run()
        assert made.done.exit_code == 0, made.done.output
        yield made


def test_the_page_ends_its_main_table_with_the_newcomer_s_timeline(demo):
    html = (demo.out / "index.html").read_text()
    assert html.index('id="accuracy"') < html.index('id="timelines"') < html.index('id="paper"')
    words = " ".join(re.sub(r"<[^>]*>", "", html[html.index('id="timelines"') :]).split())
    assert "of person 04, who took no part in training, validation or test." in words
    chosen = read_predicted(demo.out / "timelines" / "newcomer").method
    assert f"Recognised by {chosen}, the fusion that this page shows (chosen on validation subjects)" in words
    assert "trained on 3 people (01, 02, 03)" in words and "of the labelled frames" in words


def test_the_newcomer_is_in_no_job_and_no_clip(demo):
    three = {"01", "02", "03"}
    assert set(pl.read_parquet(demo.out / "clips" / "clips.parquet")["subject"]) == three
    jobs = sorted((demo.out / "jobs").iterdir())
    assert len(jobs) == sum(row.jobs for row in read_run(demo.out).methods.values()) == 9
    for folder in (demo.out, *jobs):
        for name in ("predictions.parquet", "validation.parquet"):
            assert set(pl.read_parquet(folder / name)["subject"]) <= three
    training = read_facts(demo.out / "model").training
    assert set(training.people) == three and training.clips == 24
    assert "04" not in training.settings and all(name in training.settings for name in three)


@pytest.mark.slow
def test_the_newcomer_is_another_person_than_the_study_s_seed_has(demo):
    mine = (demo.out / "newcomer" / "raw" / "04" / "truth.json").read_text()
    assert '"seed": 1' in mine and '"seed": 0' in (demo.out / "raw" / "01" / "truth.json").read_text()


def test_the_model_is_not_told_the_labels(demo):
    """The truth is drawn above what was recognised: without it the scores are the same bytes."""
    out = demo.out / "timelines" / "newcomer"
    predicted = read_predicted(out)
    assert predicted.recordings["04"].labels
    recogniser = Recogniser.load(demo.out / "model")
    recording = open_recording(demo.out / "newcomer" / "recordings" / "04")
    sliding = Sliding(predicted.seconds, predicted.stride_s)
    [task] = plan(recogniser, [replace(recording, spans=())], sliding, cut=recogniser.facts.cut)
    assert task.labels == ()
    assert timeline(recogniser, [task]).equals(read_timeline(out, predicted.activities))


def test_what_is_done_is_not_done_again(demo):
    before, bytes_before = demo.touched(), demo.held()
    assert len(before) > 40
    again = demo.run()
    assert again.exit_code == 0 and demo.touched() == before and demo.held() == bytes_before


def test_the_commands_that_it_names_do_what_it_did(demo):
    said = demo.done.stdout.partition("By hand")[2].splitlines()[1:]
    before, bytes_before = demo.touched(), demo.held()
    assert [line.split()[:2] for line in said] == [
        ["plait", v] for v in ("fit", "predict", "score", "report")
    ]
    for line in said:
        done = demo.run(*shlex.split(line)[1:])
        assert done.exit_code == 0, (line, done.output)
    assert demo.touched() == before and demo.held() == bytes_before


def test_a_replay_of_the_newcomer_is_the_timeline(demo):
    """The commands of docs/live.md, in a hurry."""
    page = (Path(__file__).parent.parent / "docs" / "live.md").read_text()
    commands = re.findall(r"^plait live runs/demo.*$", page, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command.replace("/09", "/04").replace("--speed 8", ""), comments=True)[1:]
        words += [] if "--fast" in words else ["--speed", "100"]
        words += ["--port", "0"] if "--serve" in words else []
        done = demo.run(*words)
        assert done.exit_code == 0, (command, done.output)
        assert re.search(r"^\d+ windows scored", done.stdout, re.MULTILINE)
        if "--fast" in words:
            live, known = demo.folder / "live-fast", demo.out / "timelines" / "newcomer"
            for name in ("timeline.parquet", "segments.csv", "predict.json"):
                assert (live / name).read_bytes() == (known / name).read_bytes(), name
        if "--serve" in words:
            assert "http://127.0.0.1:" in done.stdout


def test_people_of_another_demo_are_not_taken_for_this_one_s(demo):
    before = demo.held()
    (demo.out / "recordings" / "05").mkdir()
    refused = demo.run()
    assert isinstance(refused.exception, DataError) and "recordings/05: stands already" in str(
        refused.exception
    )
    (demo.out / "recordings" / "05").rmdir()
    assert demo.held() == before


@pytest.mark.slow
def test_stopped_again_and_again_it_goes_on_to_the_same_bytes(demo, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    whole = demo.held()
    for name in ("timelines", "model"):
        for file in sorted((demo.out / name).rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        (demo.out / name).rmdir()
    for station in STATIONS:
        with monkeypatch.context() as patch:
            stopped.__module__ = station.rpartition(".")[0]  # else keys tell it apart
            patch.setattr(station, stopped)
            assert demo.run().exit_code == 130, station
        assert demo.held() != whole
    assert demo.run().exit_code == 0
    assert demo.held() == whole
