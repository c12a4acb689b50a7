"""`plait live` from the command line."""

import json
import os
import re
import shutil
import signal
import socket
import time
from contextlib import suppress

import polars as pl
import pytest

from tests.commands import started
from tests.live.world import folder_of, model

TRUST = ("--trust", "tests.live.world")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a model of the world and a recording."""
    folder = tmp_path_factory.mktemp("world")
    model(folder / "model", lead="video")
    folder_of(folder / "anna", 105)
    return folder


@pytest.fixture
def made(world, tmp_path):
    """The two, in a test's own folder."""
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    return tmp_path / "model", tmp_path / "anna"


@pytest.mark.filterwarnings("ignore:.*predicted without:plait.errors.PlaitWarning")
def test_a_replay_as_fast_as_possible_is_predict(plait, made, tmp_path):
    folder, recording = made
    code, _, err = plait("predict", folder, recording, "--out", tmp_path / "predicted", *TRUST)
    assert code == 0, err
    words = ("live", folder, "--stream", f"replay:{recording}", "--fast", "--out", tmp_path / "live", *TRUST)
    code, told, err = plait(*words)
    assert code == 0, err
    assert re.search(r"^\d+ windows scored, 0 skipped for want of time", told, re.MULTILINE)
    for name in ("timeline.parquet", "segments.csv", "segments.json", "anna.eaf", "predict.json"):
        assert (tmp_path / "live" / name).read_bytes() == (tmp_path / "predicted" / name).read_bytes(), name
    code, _, err = plait(*words)
    assert code == 2
    assert "holds files, expected a new folder" in err


@pytest.mark.filterwarnings("ignore:.*predicted without:plait.errors.PlaitWarning")
def test_what_is_recorded_is_a_recording(plait, made, tmp_path):
    folder, recording = made
    record = tmp_path / "again"
    words = ("live", folder, "--stream", f"replay:{recording}", "--fast", "--out", tmp_path / "live", *TRUST)
    code, _, err = plait(*words, "--record", record, "--subject", "7")
    assert code == 0, err
    code, _, err = plait("predict", folder, record, "--out", tmp_path / "predicted", *TRUST)
    assert code == 0, err
    live, again = (
        pl.read_parquet(tmp_path / name / "timeline.parquet").drop("recording")
        for name in ("live", "predicted")
    )
    assert live.equals(again)


def test_streams_are_taken_from_several_replays(plait, made):
    folder, recording = made
    streams = [word for name in ("video", "left") for word in ("--stream", f"{name}=replay:{recording}")]
    code, told, err = plait("live", folder, *streams, "--speed", 50, *TRUST)
    assert code == 0, err
    assert int(re.findall(r"^(\d+) windows scored", told, re.MULTILINE)[0]) > 0
    assert "(video, whole" in told
    assert "hands" not in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no --stream, expected one for each sensor"),
        (("--stream", "replay:nowhere"), "nowhere"),
        (("--stream", "left=replay:anna"), "sees nothing without video"),
        (("--stream", "video"), "video"),
        (("--stream", "video=gopher://x"), "gopher"),
        (("--stream", "video=file:nothing.mp4", "--fast"), "are for replays"),
        (("--stream", "replay:anna", "--stream", "left=csv:x.csv"), "replay"),
        (("--stream", "replay:anna", "--speed", "inf"), "expected a finite number"),
    ],
)
def test_what_is_refused_is_one_line(plait, made, words, said):
    code, _, err = plait("live", made[0], *words, *TRUST)
    assert code == 2
    assert said in err
    assert len([line for line in err.splitlines() if line.startswith("plait: ")]) == 1
    assert "Traceback" not in err


def test_a_refusal_leaves_nothing(plait, made, tmp_path):
    folder, recording = made
    taken, out, record = tmp_path / "taken", tmp_path / "live", tmp_path / "record"
    taken.mkdir()
    (taken / "something").touch()
    words = ("live", folder, "--stream", f"replay:{recording}", "--fast", *TRUST)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = [
            (("--out", out, "--record", taken), "holds files, expected a new folder for what is recorded"),
            (("--out", taken, "--record", record), "holds files, expected a new folder for what is seen"),
            (("--out", out, "--record", record, "--serve", "--port", port), "cannot listen there"),
        ]
        for more, said in refused:
            code, told, err = plait(*words, *more)
            assert code == 2
            assert not told
            assert said in err
            assert len(err.splitlines()) == 1
            assert not any(out.glob("*"))
            assert not record.exists()


@pytest.mark.filterwarnings("ignore:.*predicted without:plait.errors.PlaitWarning")
def test_part_of_a_replay_is_not_taken_for_a_prediction_of_all(plait, made, tmp_path):
    folder, recording = made
    assert plait("predict", folder, recording, "--out", tmp_path / "whole", *TRUST)[0] == 0
    keys = {json.loads((tmp_path / "whole" / "predict.json").read_text())["key"]}
    for name, words in (
        ("video", ("--stream", f"video=replay:{recording}")),
        ("short", ("--stream", f"replay:{recording}", "--seconds", 5)),
    ):
        code, _, err = plait("live", folder, *words, "--fast", "--out", tmp_path / name, *TRUST)
        assert code == 0, err
        keys.add(json.loads((tmp_path / name / "predict.json").read_text())["key"])
    assert len(keys) == 3


def test_out_and_record_are_two_folders(plait, made, tmp_path):
    folder, recording = made
    both = ("--out", tmp_path / "both", "--record", tmp_path / "both")
    code, _, err = plait("live", folder, "--stream", f"replay:{recording}", "--fast", *both, *TRUST)
    assert code == 2
    assert "--out and --record in one folder, expected two" in err
    assert not (tmp_path / "both").exists()


def test_a_stream_that_no_sensor_has_is_named(plait, made):
    folder, recording = made
    film = next(recording.glob("*.mp4"))
    code, _, err = plait("live", folder, "--stream", f"vidoe=file:{film}", *TRUST)
    assert code == 2
    assert "no sensor has a stream 'vidoe', expected some of: video, left, right" in err


def in_a_process(made, out, *more):
    """A session in a process of its own, at its own pace, that has said its first line, and that line."""
    session = started("live", made[0], "--stream", f"replay:{made[1]}", "--out", out, *TRUST, *more)
    while not (line := first_line(session)):
        assert session.process.is_alive(), session.ended()
        time.sleep(0.02)
    return session, line


def first_line(session):
    """What it has said first, or nothing yet."""
    said = session.said[0]
    line, ended, _ = (said.read_text() if said.exists() else "").partition("\n")
    return line if ended else ""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*predicted without:plait.errors.PlaitWarning")
def test_a_session_that_is_killed_leaves_what_it_has_seen(plait, made, tmp_path):
    out = tmp_path / "live"
    session, line = in_a_process(made, out)
    assert " s  " in line
    until_s = time.monotonic() + 60
    while not (out / "timeline.parquet").exists() and time.monotonic() < until_s:
        time.sleep(0.05)
    session.process.kill()
    assert session.ended()[0] == -signal.SIGKILL
    assert len(pl.read_parquet(out / "timeline.parquet")) > 0
    (out / ".making-left").mkdir(exist_ok=True)  # as if it had been killed within its next look
    (out / ".making-left" / ".lock").touch()
    code, _, err = plait("predict", *made, "--out", out, *TRUST)
    assert code == 0, err


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("SIGINT", marks=pytest.mark.slow),
        "SIGTERM",
        pytest.param("SIGHUP", marks=pytest.mark.slow),
    ],
)
def test_impatience_does_not_end_what_is_being_written(made, tmp_path, kind):
    out = tmp_path / "live"
    session, _ = in_a_process(made, out, "--record", tmp_path / "record")
    while session.process.is_alive():
        with suppress(ProcessLookupError):  # it has ended just now
            os.kill(session.process.pid, getattr(signal, kind))
        time.sleep(0.1)
    code, told, err = session.ended()
    if code in (0, 2):
        assert code == 0, err
        assert "windows scored" in told
        assert (out / "predict.json").exists()
    else:  # the signal came when nothing was left but the interpreter's own end
        assert code == -getattr(signal, kind)
        assert (out / "predict.json").exists()
