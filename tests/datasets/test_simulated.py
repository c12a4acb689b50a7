import ctypes
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from plait.cli import app
from plait.clips import Windows, cut, write_clips
from plait.datasets.simulated import SIMULATED
from plait.errors import ConfigError, DataError
from plait.recordings.folder import open_recording
from plait.recordings.ingest import ingest
from plait.recordings.synchronise import synchronise
from plait.recordings.video import Video
from plait.simulator.cycles import CYCLES, Person
from plait.simulator.motion import joints, move
from plait.simulator.sensors import GRAVITY, glove_log
from plait.simulator.simulate import simulate
from plait.simulator.writer import Settings, plan, write_recording
from plait.types import Span

PERSON = Person(1.0, 1.0, False, 1.0)
SMALL = Settings(seed=3, clips=8, height=96, fps=15)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("raw"), 2, SMALL, workers=1)


def motion_of(activity, seed=0):
    return move([Span(3.0, 9.0, activity)], [], 10.0, PERSON, [seed])


def felt(activity, columns):
    table, offset = glove_log(motion_of(activity), "right", 10.0, 0.0, 0.0, [1])
    seconds = table["time"].to_numpy() - table["time"][0] - offset
    return table.select(columns).to_numpy()[(seconds > 3) & (seconds < 9)]


def test_every_activity_comes_equally_often_and_every_window_fits():
    made = plan(1, Settings(0, 32, 256, 30))
    counts = {name: sum(span.activity == name for span in made.spans) for name in CYCLES}
    assert set(counts.values()) <= {4, 5} and sum(counts.values()) in (28, 29)
    assert all(span.stop_s - span.start_s > 5.36 for span in made.spans[:-1])


def test_unplugging_is_plugging_backwards():
    rng = np.random.default_rng
    (keys, held, hits), (back, back_held, back_hits) = (
        CYCLES[name][0](PERSON, rng(4)) for name in ("plugging the cables", "unplugging the cables")
    )
    for (phase, value), (other, same) in zip(keys, reversed(back), strict=True):
        assert phase == pytest.approx(1 - other) and (value == same).all()
    assert [thing for _, thing in held] == [thing for _, thing in reversed(back_held)]
    assert [phase for phase, _ in hits] == pytest.approx([1 - phase for phase, _ in back_hits])


def test_what_tells_the_activities_apart_is_felt():
    assert felt("pressing a button", ["pressure"]).max() > 0.5
    turned, struck = (
        {name: np.abs(felt(f"using a {name}", [channel])) for name in ("screwdriver", "hammer")}
        for channel in ("gyr_z", "acc_y")
    )
    assert turned["screwdriver"].mean() > 3 * turned["hammer"].mean()
    assert struck["hammer"].std() > 2 * struck["screwdriver"].std()


def test_a_resting_glove_feels_gravity():
    table, _ = glove_log(move([], [], 30.0, PERSON, [0]), "left", 30.0, 0.0, 0.0, [1])
    norm = np.linalg.norm(table.select("acc_x", "acc_y", "acc_z").to_numpy(), axis=1)
    assert np.median(norm) == pytest.approx(GRAVITY, rel=0.2)


def test_fingers_keep_their_length():
    pose = motion_of("using a hammer").hands["right"](np.linspace(0, 10, 50))
    points = joints(pose, "right", 1.1)
    bones = np.linalg.norm(points[:, 6] - points[:, 5], axis=1)
    np.testing.assert_allclose(bones, 0.040 * 1.1, rtol=1e-9)


def test_one_seed_gives_the_same_files_and_subjects_differ(raw, tmp_path):
    again = simulate(tmp_path, 1, SMALL, workers=1)[0]
    for name in ("left.csv", "right.csv", "labels.csv", "recording.toml", "truth.json", "truth.npz"):
        assert (again / name).read_bytes() == (raw[0] / name).read_bytes(), name
        if name != "recording.toml":
            assert (raw[1] / name).read_bytes() != (raw[0] / name).read_bytes(), name
    moments = np.array([1.0, 7.5, 20.0])
    one, same, other = (
        Video(folder / "video.mp4", None, None).at(moments) for folder in (raw[0], again, raw[1])
    )
    assert (one == same).all() and (one != other).any()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc says what new memory holds")
def test_one_seed_gives_the_same_film_whatever_memory_held_before(tmp_path):
    films = set()
    for held in (0, 85, 170):
        ctypes.CDLL(None).mallopt(-6, held)  # M_PERTURB of malloc.h: what new memory is filled with
        try:
            write_recording(tmp_path / str(held), 2, Settings(seed=5, clips=1, height=128, fps=5))
        finally:
            ctypes.CDLL(None).mallopt(-6, 0)
        films.add((tmp_path / str(held) / "video.mp4").read_bytes())
    assert len(films) == 1


def test_a_script_of_one_s_own_is_what_is_written(tmp_path):
    spans, other = (Span(1.0, 3.0, "using a hammer"),), plan(2, SMALL)
    motion = move(spans, (), 4.0, other.person, [0])
    script = replace(other, spans=spans, claps=(), stop_s=4.0, motion=motion)
    write_recording(tmp_path / "raw", 1, SMALL, script)
    labels = (tmp_path / "raw" / "labels.csv").read_text()
    assert labels.splitlines() == ["start,stop,activity", "1.0,3.0,using a hammer"]
    assert Video(tmp_path / "raw" / "video.mp4").ends[1] == pytest.approx(4.0, abs=0.1)
    person = json.loads((tmp_path / "raw" / "truth.json").read_text())["person"]
    assert person["size"] == other.person.size


def test_the_truth_fits_the_picture(raw):
    truth = np.load(raw[0] / "truth.npz", allow_pickle=False)
    video = Video(raw[0] / "video.mp4", None, None)
    assert len(truth["visible"]) == len(video.times) and set(truth["visible"]) == {0, 1, 2}
    shown = np.isfinite(truth["boxes"][:, :, 0])
    assert (shown.sum(1) == truth["visible"]).all()
    left, top, right, bottom = np.moveaxis(truth["boxes"][shown], -1, 0)
    assert (left < right).all() and (top < bottom).all() and right.max() <= 128 and bottom.max() <= 96
    colour = np.array([])
    # the palm's middle is glove: one colour, unlike the wall
    for number in np.flatnonzero(shown[:, 1])[::40]:
        u, v = truth["pixels"][number, 1, [0, 5, 17]].mean(0).round().astype(int)
        if 2 < u < 125 and 2 < v < 93:
            colour = np.append(colour, video.at(video.times[[number]])[0, v, u].astype(float))
    assert len(colour) >= 9 and np.median(colour.reshape(-1, 3).std(0)) < 40


def test_what_stands_is_kept_and_other_settings_are_refused(raw):
    before = (raw[0] / "video.mp4").stat().st_mtime_ns
    simulate(raw[0].parent, 2, SMALL)
    assert (raw[0] / "video.mp4").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="01: stands already, simulated otherwise"):
        simulate(raw[0].parent, 2, Settings(4, 8, 96, 15))
    with pytest.raises(ConfigError, match="height is 97, expected an even number"):
        simulate(raw[0].parent, 2, Settings(3, 8, 97, 15))


def test_sync_finds_what_was_written_or_is_unsure(raw, tmp_path):
    errors_ms = []
    for folder in raw:
        truth = json.loads((folder / "truth.json").read_text())
        made, _ = ingest([folder], tmp_path)
        ends = np.array([0.0, truth["claps_s"][1]])
        for log, fit in synchronise(made).items():
            found = (ends + fit.offset_s) * (1 + fit.drift_ppm * 1e-6)
            true = (ends + truth["offset_s"][log]) * (1 + truth["drift_ppm"][log] * 1e-6)
            if fit.status == "sure":
                errors_ms.append(np.abs(found - true).max() * 1e3)
    assert errors_ms and max(errors_ms) < 100


def test_raw_recordings_become_clips(raw, tmp_path):
    for folder in raw:
        truth = json.loads((folder / "truth.json").read_text())
        made, _ = ingest([folder], tmp_path / "recordings")
        synchronise(made, truth["offset_s"])
        assert set(open_recording(made).streams) == {"video", "left", "right"}
    table = write_clips(tmp_path / "recordings", tmp_path / "clips", Windows(5.36, unlabelled="neutral"))
    assert set(table["activity"]) == set(SIMULATED.activities)
    clips = cut(SIMULATED, tmp_path / "clips", ["gloves"])
    assert clips.shapes == {"gloves": (134, 18)} and len(clips.table) == len(table)


def test_the_command(raw, tmp_path, capsys):
    shutil.copytree(raw[0].parent, tmp_path / "raw")
    words = ["--subjects", 2, "--clips", 8, "--seed", 3, "--height", 96, "--fps", 15, "--world", "easy"]
    app(["simulate", "--out", str(tmp_path / "raw"), *map(str, words)], standalone_mode=False)
    assert "2 raw recordings" in capsys.readouterr().out


def test_where_the_camera_slips_the_hands_are_out_of_sight_and_nothing_else_changes(raw, tmp_path):
    (slipped,) = simulate(tmp_path, 1, replace(SMALL, slips=1.0), workers=1)
    for name in ("left.csv", "right.csv", "labels.csv"):
        assert (slipped / name).read_bytes() == (raw[0] / name).read_bytes()
    labelled = plan(1, SMALL).spans
    frames = np.concatenate(
        [np.arange(int(s.start_s * SMALL.fps) + 1, int(s.stop_s * SMALL.fps)) for s in labelled]
    )
    seen, less = (np.load(folder / "truth.npz")["visible"][frames].mean() for folder in (raw[0], slipped))
    assert less < 0.75 * seen and np.load(slipped / "truth.npz")["visible"].max() == 2
    with pytest.raises(DataError, match="simulated otherwise"):
        simulate(tmp_path, 1, SMALL, workers=1)
    with pytest.raises(ConfigError, match="slips is 1.5"):
        simulate(tmp_path / "other", 1, replace(SMALL, slips=1.5))


def test_a_recording_from_before_there_were_slips_stands(raw):
    said = json.loads((raw[1] / "truth.json").read_text())
    del said["settings"]["slips"]
    (raw[1] / "truth.json").write_text(json.dumps(said))
    before = (raw[1] / "video.mp4").stat().st_mtime_ns
    simulate(raw[1].parent, 2, SMALL, workers=1)
    assert (raw[1] / "video.mp4").stat().st_mtime_ns == before
