"""MEx: a generated miniature with the published files' quirks, in every form; and the real ones."""

import functools
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from plait.clips import stored, survey
from plait.datasets.mex import EXERCISES, MEX, MEX_OVERLAPPING, flip_warp, mex, recordings, shift_rescale_warp
from plait.datasets.mex.files import KINDS
from plait.errors import DataError, PlaitWarning
from plait.study.run import run_study

REAL = Path(__file__).parents[3] / "shared" / "data" / "mex"
NAMES = ["thigh", "wrist", "depth", "mat"]
START = datetime(2018, 11, 8, 11, 34, 51)
RATES_HZ = {"thigh": 100, "wrist": 100, "depth": 12, "mat": 6}


def readings(kind, at_s, seed=0):
    """What a sensor reads: its own phase of one slow movement."""
    count = int(np.prod(KINDS[kind].shape))
    phase = np.arange(count) / count + seed
    return np.round(0.5 + 0.4 * np.sin(at_s + phase), 4)


def written(kind, seconds, seed=0):
    """The lines of a file."""
    lines = []
    for at_s in seconds:
        stamp = (START + timedelta(seconds=float(at_s))).isoformat(" ")  # no fraction where it is nought
        lines.append(",".join([stamp, *map(str, readings(kind, at_s, seed).tolist())]))
    return lines


def world(people=("01", "02"), seconds=11.0):
    """The files of a miniature by path: all exercises, the clam on two sides, sensors that start apart."""
    return dict(_world(people, seconds))


@functools.cache
def _world(people, seconds):
    files = {}
    for number, person in enumerate(people):
        for exercise in range(1, len(EXERCISES) + 1):
            for side in (1, 2) if exercise == 4 else (1,):
                for kind, (folder, suffix, _) in KINDS.items():
                    begin_s = 0.2 if kind == "depth" else 0.0
                    seconds_of = np.arange(begin_s, seconds, 1 / RATES_HZ[kind])
                    path = f"{folder}/{person}/{exercise:02d}_{suffix}_{side}.csv"
                    files[path] = tuple(written(kind, np.round(seconds_of, 3), number))
    return files


def put(files, folder):
    for path, lines in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("\n".join(lines) + "\n")
    return folder


def packed(files, file, prefix="Dataset/"):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path, lines in files.items():
            archive.writestr(prefix + path, "\n".join(lines) + "\n")
            archive.writestr(f"__MACOSX/{prefix}{path}", "not a table")
    return file


def streams(data):
    return {
        recording.name: {name: stream.content_key for name, stream in recording.streams.items()}
        for recording in recordings(data)
    }


def test_a_folder_one_archive_and_several_hold_the_same(tmp_path):
    files = world(seconds=3.0)
    expected = streams(put(files, tmp_path / "folder"))
    assert len(expected) == 16 and all(set(found) == set(NAMES) for found in expected.values())
    assert streams(put(files, tmp_path / "deeper" / "Dataset").parent) == expected
    assert streams(packed(files, tmp_path / "mex.zip")) == expected
    for person in ("01", "02"):
        (tmp_path / "two").mkdir(exist_ok=True)
        packed(
            {p: f for p, f in files.items() if p.split("/")[1] == person}, tmp_path / "two" / f"{person}.zip"
        )
    assert streams(tmp_path / "two") == expected


def test_windows_of_five_seconds_hold_what_the_sensors_read_then(tmp_path, cache):
    data = put(world(), tmp_path / "mex")
    cuts = survey(MEX, data, NAMES).cuts
    assert len(cuts) == 2 * 8 * 2
    clips = stored(MEX, cuts, NAMES)
    assert clips.shapes == {"thigh": (250, 3), "wrist": (250, 3), "depth": (25, 12, 16), "mat": (25, 32, 16)}
    at_s = cuts[0][1].start_s + np.arange(25) / 5
    assert cuts[0][1].start_s == pytest.approx(0.2)  # the depth camera is the last to start
    given = clips.batch(["depth"], np.array([0]))["depth"][0]
    expected = np.stack([readings("depth", at) for at in at_s]).reshape(25, 12, 16)
    np.testing.assert_allclose(given, expected, atol=2e-3)
    assert len(survey(MEX_OVERLAPPING, data, NAMES).cuts) == 2 * 8 * 3
    assert len(survey(mex(stride_s=1.0), data, NAMES).cuts) == 2 * 8 * 6
    assert {clip.activity for _, clip in cuts} == set(EXERCISES)
    assert {clip.subject for _, clip in cuts} == {"01", "02"}


def test_lines_out_of_order_and_doubled_are_mended_and_said(tmp_path):
    files = world(("01",))
    straight = streams(put(files, tmp_path / "straight"))
    path = "pm_1.0_1.0/01/02_pm_1.csv"
    moved = list(files[path])
    moved[10], moved[14] = moved[14], moved[10]
    twice = [*moved[:50], moved[49].replace(",0.5", ",0.6"), *moved[50:]]
    data = put({**files, path: twice}, tmp_path / "crooked")
    with pytest.warns(
        PlaitWarning, match=r"1 files, the first .*02_pm_1\.csv: lines out of order or of one moment"
    ):
        found = {recording.name: recording for recording in recordings(data)}
    mat = found["01_02_1"].streams["mat"]
    assert np.all(np.diff(mat.times) > 0)
    clean = next(r for r in recordings(tmp_path / "straight") if r.name == "01_02_1").streams["mat"]
    at_s = np.arange(0.5, 9, 0.3)
    np.testing.assert_array_equal(mat.at(at_s), clean.at(at_s))
    keys = {name: streams_of for name, streams_of in straight.items() if name != "01_02_1"}
    assert {
        n: {k: s.content_key for k, s in r.streams.items()} for n, r in found.items() if n in keys
    } == keys


def test_a_person_without_a_second_side_and_a_recording_without_a_sensor(tmp_path):
    files = world()
    for kind, (folder, suffix, _) in KINDS.items():
        del files[f"{folder}/02/04_{suffix}_2.csv"]
        if kind == "mat":
            del files[f"{folder}/02/05_{suffix}_1.csv"]
    listing = survey(MEX, put(files, tmp_path / "mex"), NAMES)
    assert len(listing.cuts) == (8 + 6) * 2
    assert [(one.recording, one.stream) for one in listing.dropped] == [("02_05_1", "mat")] * 2
    assert len(survey(MEX, tmp_path / "mex", ["thigh"]).cuts) == (8 + 7) * 2


@pytest.mark.parametrize("name", NAMES)
def test_every_sensor_has_a_network_and_an_augmentation_that_keeps_its_shape(name):
    modality = MEX.modality(name)
    reading = np.random.default_rng(0).random((modality.samples, *KINDS[name].shape))
    tensor = modality.prepare(reading)
    grid = modality.encoder(tuple(tensor.shape))(torch.stack([tensor, tensor]))
    assert grid.shape[0] == 2 and torch.isfinite(grid).all()
    augment = flip_warp if name in ("thigh", "wrist") else shift_rescale_warp
    torch.manual_seed(0)
    changed = augment(tensor[None].expand(8, *tensor.shape))
    assert changed.shape == (8, *tensor.shape) and len({float(one.sum()) for one in changed}) == 8


def test_a_sensor_worn_the_other_way_round_reads_as_much_along_each_axis():
    still = torch.tensor([[[0.6, -0.3, 0.7]]]).expand(64, 50, 3)
    torch.manual_seed(0)
    changed = flip_warp(still)
    torch.testing.assert_close(changed.abs(), still.abs())
    assert len({tuple(one) for one in changed[:, 0].sign().tolist()}) == 8


BROKEN = {
    "a header": (lambda lines: ["time,x,y,z", *lines], "line 1: 'time', expected a time such as"),
    "no time": (lambda lines: [*lines[:3], "soon,1,2,3", *lines[3:]], "line 4: 'soon', expected a time"),
    "a column too many": (lambda lines: [line + ",1" for line in lines], "expected a time and 3 numbers"),
    "a column too few": (lambda lines: [line.rpartition(",")[0] for line in lines], "a time and 3 numbers"),
    "a short line": (
        lambda lines: [*lines[:5], lines[5].rpartition(",")[0], *lines[6:]],
        "line 6: not 3 finite",
    ),
    "no number": (lambda lines: [*lines[:5], lines[5] + "x", *lines[6:]], "expected a time and 3 numbers"),
    "not finite": (
        lambda lines: [*lines[:5], lines[5].rpartition(",")[0] + ",nan", *lines[6:]],
        "line 6: not 3 finite",
    ),
    "one line": (lambda lines: lines[:1], "1 lines, expected two"),
    "nothing": (lambda lines: [], "expected a time and 3 numbers"),
    "another day": (
        lambda lines: [line.replace("-11-08", "-11-09") for line in lines],
        "has ended, expected one clock",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("form", [put, lambda files, folder: packed(files, folder.with_suffix(".zip"))])
def test_what_is_not_as_published_is_refused_by_file_and_line(tmp_path, cache, what, form):
    files, (spoil, expected) = world(("01",), 6.0), BROKEN[what]
    path = "act/01/03_act_1.csv"
    files[path] = spoil(files[path])
    with pytest.raises(DataError, match=expected) as refused:
        stored(MEX, survey(MEX, form(files, tmp_path / "mex"), ["thigh"]).cuts, ["thigh"])
    assert "03_act_1.csv" in str(refused.value)


def test_other_names_doubled_files_and_other_places_are_refused(tmp_path):
    files = world(("01",), 3.0)
    lines = files["act/01/01_act_1.csv"]
    for path, expected in (
        ("act/01/08_act_1.csv", "a file of another name"),
        ("act/01/01_acw_1.csv", "a file of another name"),
        ("act/anna/01_act_1.csv", "a file of another name"),
    ):
        data = put({**files, path: lines}, tmp_path / path.replace("/", "-"))
        with pytest.raises(DataError, match=expected):
            list(recordings(data))
    both = put(files, tmp_path / "both")
    packed(files, both / "mex.zip")
    with pytest.raises(DataError, match="the same file as"):
        list(recordings(both))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file of MEx, expected folders act, acw"):
        list(recordings(tmp_path / "empty"))
    with pytest.raises(DataError, match="no such file or folder"):
        list(recordings(tmp_path / "nowhere"))
    broken = tmp_path / "broken.zip"
    broken.write_bytes(packed(files, tmp_path / "whole.zip").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"broken\.zip: cannot be read, expected a \.zip archive"):
        list(recordings(broken))


@pytest.mark.skipif(not REAL.is_dir(), reason="needs shared/data/mex")
@pytest.mark.filterwarnings("ignore:.*lines out of order")
def test_the_published_files(tmp_path):
    [archive] = REAL.glob("*.zip")
    part = tmp_path / "part.zip"
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(part, "w") as some:
        for name in whole.namelist():
            if "/08/" in name and name.endswith(".csv"):
                some.writestr(name, whole.read(name))
    listing = survey(MEX, part, NAMES)
    assert len({recording.name for recording, _ in listing.cuts}) == 8 and not listing.dropped
    recording = next(recording for recording, _ in listing.cuts)
    acceleration = recording.streams["thigh"].at(np.linspace(1, 40, 400))
    assert 0.9 < np.median(np.linalg.norm(acceleration, axis=1)) < 1.1  # g
    depth, mat = (recording.streams[name].at(np.array([5.0])) for name in ("depth", "mat"))
    assert depth.shape == (1, 12, 16) and 0 <= depth.min() <= depth.max() <= 1
    assert mat.shape == (1, 32, 16) and mat.max() > 100


@pytest.mark.parametrize(("sensors", "later_s"), [(NAMES, 0), (NAMES, 3600), (["mat"], 3600)])
def test_a_person_copied_under_another_name_is_refused_by_both_recordings(tmp_path, cache, later_s, sensors):
    """Files as they are, or their stamps moved; read by all sensors, or by one."""
    files = world(seconds=5.5)
    for path, lines in list(files.items()):
        if "/01/" in path:
            moved = [written_later(line, later_s) for line in lines] if later_s else lines
            files[path.replace("/01/", "/17/")] = moved
    data = put(files, tmp_path / "mex")
    methods = {"one": {"use": "plait.fusion:Single", "args": {"modality": sensors[-1]}}}
    study = {
        "name": "copied", "dataset": "plait.datasets.mex:MEX", "modalities": sensors, "methods": methods,
        "protocol": {"kind": "subject-folds", "folds": 3}, "train": {"choose": "last", "max_epochs": 1},
    }  # fmt: skip
    with pytest.raises(DataError, match=r"(?s)01_0\d_1.*17_0\d_1"):
        run_study(study, data, tmp_path / "run")
    study["protocol"] = {"kind": "leave-one-subject-out", "same_person": [["01", "17"]]}
    run_study(study, data, tmp_path / "run")


def written_later(line, later_s):
    stamp, comma, rest = line.partition(",")
    return str(datetime.fromisoformat(stamp) + timedelta(seconds=later_s)) + comma + rest
