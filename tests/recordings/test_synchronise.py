"""A folder of recordings, of which some are odd or bad: the rest is done, and what was set by hand stays."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from plait.cli import main
from plait.errors import ConfigError, DataError
from plait.recordings.folder import (
    Clock,
    open_recording,
    parse_description,
    read_description,
    read_sync,
    write_description,
    write_sync,
)
from plait.recordings.ingest import ingest
from plait.recordings.synchronise import synchronise
from plait.types import Readings
from signals import simulate
from tests.recordings.test_folder import film


def table(path, log, names=("ax", "ay", "az"), zero_s=0.0):
    """A log as CSV, its times from `zero_s` on."""
    rows = [",".join(("time", *names))]
    rows += [
        ",".join(f"{v:.6f}" for v in (t + zero_s, *x)) for t, x in zip(log.times, log.values, strict=True)
    ]
    path.write_text("\n".join(rows), encoding="utf-8")


def plait(capsys, monkeypatch, *words):
    """Run a command; its exit code and what it said on either stream."""
    monkeypatch.setattr(sys, "argv", ["plait", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    return stopped.value.code or 0, said.out, said.err


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Recordings of 75 s: one silent, one with brackets in names, one unreadable, one with another's log."""
    root, truth = tmp_path_factory.mktemp("lab"), {}
    truth = {
        name: simulate(300 + number, duration_s=75, claps=2)
        for number, name in enumerate(("bracketed", "silent"))
    }
    made = {**truth, "broken": simulate(302, duration_s=12), "stranger": truth["bracketed"]}
    for name, own in made.items():
        folder = root / name
        folder.mkdir()
        if name == "stranger":
            shutil.copy(root / "bracketed" / "cam.mp4", folder)
        else:
            film(folder / "cam.mp4", own, sound=name != "silent")
        names = ("AccX[mg]", "AccY[mg]", "AccZ[mg]") if name == "bracketed" else ("ax", "ay", "az")
        table(folder / "wrist.csv", (truth["silent"] if name == "stranger" else own).logs["right"], names)
        ingest([folder], root / "recordings")
    (root / "recordings" / "broken" / "wrist.csv").write_bytes(b"time,ax,ay,az\n0,1,2,3\n0.04,1,\xff\x00,3\n")
    return root / "recordings", truth


@pytest.fixture
def short(tmp_path):
    """Two recordings of 12 s, too short to be laid on their videos by themselves."""
    for number, name in enumerate(("anna", "ben")):
        folder = tmp_path / name
        folder.mkdir()
        signals = simulate(500 + number, duration_s=12, frame_rate_hz=10)
        film(folder / "cam.mp4", signals, 10)
        table(folder / "wrist.csv", signals.logs["right"])
        ingest([folder], tmp_path / "recordings")
    return tmp_path / "recordings"


def test_what_is_bad_in_a_folder_is_listed_and_the_rest_is_done(lab, sync_pictures, capsys, monkeypatch):
    recordings, truth = lab
    code, out, err = plait(capsys, monkeypatch, "sync", recordings)
    assert code == 2 and "Traceback" not in err
    assert err.splitlines()[0].startswith("broken: ") and "wrist.csv" in err.splitlines()[0]
    assert err.splitlines()[-1].endswith("1 of 4 recordings failed: broken; the others are done")
    assert not (recordings / "broken" / "sync.json").exists()
    assert "the video has no sound: motion alone" in out
    for name in ("bracketed", "silent"):
        clock = read_sync(recordings / name)["wrist"]
        video_s = np.array([0.0, 75.0])
        true = (video_s + truth[name].offset_s["right"]) * (1 + truth[name].drift_ppm["right"] * 1e-6)
        assert clock.status == "sure" and np.abs(clock(video_s) - true).max() < 0.067
    assert read_sync(recordings / "stranger")["wrist"].status == "unsure"
    assert "is it this video's log?" in out


def test_what_is_set_by_hand_stays_until_told_otherwise(short, capsys, monkeypatch):
    assert plait(capsys, monkeypatch, "sync", short)[0] == 0
    code, _, err = plait(capsys, monkeypatch, "sync", short, "--offset", "wrist=1.5")
    assert code == 2 and "anna/wrist=1.5" in err and "'*/wrist=1.5' for all 2" in err
    assert plait(capsys, monkeypatch, "sync", short, "--offset", "anna/wrist=1.5")[0] == 0
    stands = (short / "anna" / "sync.json").read_bytes()
    code, out, _ = plait(capsys, monkeypatch, "sync", short)
    assert code == 0 and "set by hand, kept (--again anna/wrist looks anew)" in out
    assert (short / "anna" / "sync.json").read_bytes() == stands
    assert read_sync(short / "anna")["wrist"] == Clock(1.5)
    assert read_sync(short / "ben")["wrist"].status == "unsure"
    assert plait(capsys, monkeypatch, "sync", short, "--offset", "*/wrist=-0.5")[0] == 0
    assert {read_sync(short / name)["wrist"] for name in ("anna", "ben")} == {Clock(-0.5)}
    assert plait(capsys, monkeypatch, "sync", short, "--again", "ben/wrist")[0] == 0
    assert [read_sync(short / name)["wrist"].status for name in ("anna", "ben")] == ["manual", "unsure"]


def test_an_offset_for_all_is_said_where_nothing_stands_yet(short, capsys, monkeypatch):
    for _ in range(2):  # the second time it changes nothing
        code, out, _ = plait(capsys, monkeypatch, "sync", short, "--offset", "wrist=0", "--no-audio")
        assert code == 0 and "wrist: offset +0.000 s set by hand in 2 recordings: anna, ben" in out
    assert {read_sync(short / name)["wrist"] for name in ("anna", "ben")} == {Clock(0.0)}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--offset", "wrist=nan", "expected LOG=SECONDS or RECORDING/LOG=SECONDS"),
        ("--offset", "wrist=inf", "expected LOG=SECONDS"),
        ("--offset", "anna/wrist=1e300", "wholly outside the video, expected one between"),
        ("--offset", "anna/wrist=1250", "wholly outside the video, expected one between"),
        ("--offset", "carl/wrist=1", "no recording 'carl', expected anna, ben"),
        ("--offset", "anna/left=1", "no recording has a log 'left'"),
        ("--offset", "wrist", "expected LOG=SECONDS"),
        ("--again", "carl", "expected RECORDING/LOG of: anna, ben"),
        ("--again", "anna/left", "expected RECORDING/LOG of: anna, ben"),
    ],
)
def test_what_cannot_be_meant_is_one_line(short, capsys, monkeypatch, option, value, message):
    code, _, err = plait(capsys, monkeypatch, "sync", short, option, value)
    assert code == 2 and message in err and "Traceback" not in err


def test_an_offset_that_is_no_number_is_refused_in_code_too(short):
    with pytest.raises(ConfigError, match="expected a finite number"):
        synchronise(short / "anna", {"wrist": float("nan")})


def test_a_damaged_sync_json_is_not_written_over(short):
    (short / "anna" / "sync.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="remove it to look anew"):
        synchronise(short / "anna")
    assert (short / "anna" / "sync.json").read_text(encoding="utf-8") == "{"


def test_a_log_takes_the_clock_of_the_device_that_wrote_both(tmp_path):
    folder = tmp_path / "anna"
    folder.mkdir()
    signals = simulate(610, duration_s=75)
    film(folder / "cam.mp4", signals)
    table(folder / "imu.csv", signals.logs["right"], zero_s=1000.0)
    beats = Readings(np.arange(3.0, 70.0), np.arange(67.0)[:, None] + [60.0])
    table(folder / "heart.csv", beats, ("bpm",), zero_s=1000.0)
    made, _ = ingest([folder], tmp_path / "recordings")
    with pytest.raises(
        DataError, match=r'logs.heart.acceleration: names none, .*same_clock = "another log", or --offset'
    ):
        synchronise(made)
    description = made / "recording.toml"
    said = description.read_text(encoding="utf-8").replace("[logs.heart]", '[logs.heart]\nsame_clock = "imu"')
    description.write_text(said, encoding="utf-8")
    fits = synchronise(made)
    assert fits["imu"].status == fits["heart"].status == "sure" and fits["heart"].why == "on the clock of imu"
    true = (20.0 + signals.offset_s["right"]) * (1 + signals.drift_ppm["right"] * 1e-6)
    rate = open_recording(made).streams["heart"].at(np.array([20.0]))[0, 0]
    assert abs(rate - (60 + true - 3.0)) < 0.05  # one a second from 3 s of the device's clock on
    with pytest.raises(ConfigError, match="heart is on the clock of imu"):
        synchronise(made, {"heart": 1.0})
    synchronise(made, {"imu": 2.0})
    assert {clock.status for clock in read_sync(made).values()} == {"manual"}
    assert read_sync(made)["heart"].offset_s == pytest.approx(2.0 - 3.0, abs=1e-5)
    set_once = said.replace("[logs.imu]", "[logs.imu]\nclock_set = [400]")
    description.write_text(set_once, encoding="utf-8")  # what begins later would be off by what it was set by
    with pytest.raises(DataError, match=r"'imu' has a clock that was set 1 times .*anna/heart=SECONDS"):
        synchronise(made, {"imu": 2.0})
    description.write_text(said, encoding="utf-8")
    table(made / "heart.csv", beats, ("bpm",), zero_s=5000.0)
    with pytest.raises(
        DataError, match=r"logs.heart.same_clock: 'imu' was read from 1000\.000 .*times of one clock"
    ):
        synchronise(made)


@pytest.mark.parametrize("other", ["heart", "ear"])
def test_a_clock_is_another_log_s(tmp_path, other):
    path = tmp_path / "recording.toml"
    log = 'file = "{0}.csv"\ncolumns = ["x"]\ntime = "t"\n'
    path.write_text(
        f'subject = "a"\nvideo = "v.mp4"\n[logs.imu]\n{log.format("imu")}'
        f'[logs.heart]\nsame_clock = "{other}"\n{log.format("heart")}',
        encoding="utf-8",
    )
    with pytest.raises(DataError, match=rf"logs.heart.same_clock: '{other}', expected one of: imu"):
        parse_description(path)


def test_a_picture_has_names_as_they_are_and_the_same_bytes_each_time(short, sync_pictures):
    name = "x$\\frac$ a<b>&\"' 左手 tab\tand\x1b ${\\bf}"
    folder = short / "anna"
    description = folder / "recording.toml"
    text = description.read_text(encoding="utf-8").replace('"anna"', json.dumps(name, ensure_ascii=False))
    description.write_text(text, encoding="utf-8")
    pictures = []
    for _ in range(2):
        synchronise(folder, {"wrist": 0.0})
        pictures.append((folder / "sync.svg").read_bytes())
    assert pictures[0] == pictures[1] and b"<dc:date>" not in pictures[0]
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    escaped = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"anna ({escaped})" in pictures[0].decode("utf-8")


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (
            lambda t: Readings(t[:10], np.random.default_rng(0).normal(size=(10, 3))),
            "of log to compare, expected at least",
        ),
        (lambda t: Readings(t[:1], np.ones((1, 3))), "0 s of log to compare"),
        (lambda t: Readings(t, np.ones((len(t), 3))), "the log does not move"),
        (lambda t: Readings(t[:2] * 1e6, np.ones((2, 3))), "of log to compare"),
    ],
)
def test_a_log_that_says_too_little_is_unsure_and_takes_an_offset(short, sync_pictures, log, why):
    folder = short / "anna"
    table(folder / "wrist.csv", log(np.arange(0, 12, 0.02)))
    fit = synchronise(folder)["wrist"]
    assert fit.status == "unsure" and why in fit.why
    assert synchronise(folder, {"wrist": 0.0})["wrist"].status == "manual"


def test_a_manual_clock_of_one_log_does_not_keep_another_from_being_found(lab, tmp_path):
    made = tmp_path / "one"
    shutil.copytree(lab[0] / "bracketed", made)
    described = read_description(made)
    write_description(made, replace(described, logs={**described.logs, "ankle": described.logs["wrist"]}))
    write_sync(made, {"ankle": Clock(3.0)})
    fits = synchronise(made)
    assert fits["ankle"].offset_s == 3.0 and fits["wrist"].status == "sure"


def read_as(folder, **settings):
    """Have `recording.toml` say otherwise how the wrist's log is read."""
    described = read_description(folder)
    logs = {"wrist": replace(described.logs["wrist"], **settings)}
    write_description(folder, replace(described, logs=logs))


@pytest.mark.parametrize(
    ("settings", "otherwise"),
    [
        ({"first_line": 202}, "first_line was unsaid, is 202"),
        ({"time_unit": 1000.0}, "time_unit was unsaid, is 1000.0"),
        ({"clock_set": (300,)}, r"clock_set was unsaid, is \[300\]"),
        ({"absolute": True, "where": {"ax": 1}}, r"where was unsaid, is {'ax': 1.0}"),
    ],
)
def test_a_clock_is_refused_where_its_log_is_read_otherwise_since(short, sync_pictures, settings, otherwise):
    folder = short / "anna"
    synchronise(folder, {"wrist": 0.0})
    assert open_recording(folder).streams["wrist"].clock == Clock(0.0)
    read_as(folder, **settings)
    with pytest.raises(
        DataError, match=rf"wrist was set by hand .*{otherwise}; .*--offset anna/wrist=SECONDS"
    ):
        synchronise(folder)
    if "where" not in settings:  # which no row is
        with pytest.raises(DataError, match=rf"sync.json: log 'wrist' .*: {otherwise} .*`plait sync` again"):
            open_recording(folder)
    if "first_line" in settings:
        synchronise(folder, {"wrist": 0.5})
        assert open_recording(folder).streams["wrist"].clock == Clock(0.5)


def test_what_a_clock_does_not_hang_on_may_change_and_an_older_file_says_nothing(short, sync_pictures):
    folder = short / "anna"
    synchronise(folder, {"wrist": 0.0})
    key = open_recording(folder).content(["wrist"])
    read_as(folder, max_gap_s=2.0, scale=2.0)
    assert open_recording(folder).streams["wrist"].log.max_gap_s == 2.0
    read_as(folder, max_gap_s=1.0, scale=1.0, first_line=202)
    write_sync(folder, {"wrist": Clock(0.0)})
    assert "counts" not in (folder / "sync.json").read_text(encoding="utf-8")
    assert open_recording(folder).streams["wrist"].times[0] == 0.0
    read_as(folder, first_line=None)
    assert open_recording(folder).content(["wrist"]) == key
