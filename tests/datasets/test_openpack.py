"""OpenPack: a generated miniature of release 1.0.0, opened, cut and run; and the challenge's score."""

import json
import tomllib
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plait.analysis.benchmark import benchmark, read_benchmark
from plait.clips import stored, survey
from plait.datasets.openpack import OPENPACK, openpack, recordings
from plait.datasets.openpack.files import (
    E4,
    IGNORED,
    KEYPOINTS,
    KINDS,
    OPERATIONS,
    PLACES,
    SAME_PERSON,
    SIDES,
)
from plait.errors import ConfigError, DataError, PlaitWarning
from plait.recogniser.continuous import write_continuous
from plait.recogniser.fitting import fit_model
from plait.recogniser.windows import whole_recordings
from plait.report.published import lines
from plait.study.run import run_study
from plait.types import Windows

STUDIES = Path(__file__).parents[2] / "studies"
START_MS = 1_634_869_193_000  # a whole second
SECONDS = 24
IMUS = [place.replace(" ", "-") for place in PLACES.values()]
FIVE = [*IMUS, "keypoints"]


def labels(shift=0, null_at=12):
    """An operation for each second, two seconds each, null in the middle."""
    numbers = list(OPERATIONS)
    found = [numbers[(second // 2 + shift) % len(numbers)] for second in range(SECONDS)]
    found[null_at : null_at + 2] = IGNORED
    return found


def motion(times_ms, operations, phase):
    """What moves at such a moment: its own pace for every operation."""
    seconds = (np.asarray(times_ms) - START_MS) / 1000
    at = np.clip(seconds.astype(int), 0, len(operations) - 1)
    pace = np.array([operations[second] / 200 for second in at])
    return np.sin(2 * np.pi * pace * seconds + phase)


def table(names, columns):
    lines = [",".join(names), *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    return "\n".join(lines) + "\n"


def log(kind, operations, phase, begin_ms=7):
    step_ms = {30.0: 30, 32.0: 31.25, 64.0: 15.625, 4.0: 250}[kind.rate_hz]
    times = START_MS + begin_ms + np.arange(int(SECONDS * 1000 / step_ms)) * step_ms
    columns = [np.round(motion(times, operations, phase + i) * 0.3, 4) for i in range(len(kind.columns))]
    if kind.rate_hz == 30.0:
        columns[2] = np.round(columns[2] + 1, 4)  # gravity, in g
    return table([kind.time, *kind.columns], [times.astype(int).tolist(), *(c.tolist() for c in columns)])


def keypoints(operations, phase, flat=False):
    frames = []
    body = np.stack([np.linspace(560, 720, 17), np.linspace(340, 640, 17)], 1)
    for number in range(SECONDS * 15):
        time = START_MS + 28 + round(number * 1000 / 15)
        joints = np.c_[body + 10 * motion([time], operations, phase), np.full(17, 0.9)].round(3)
        found = (joints.ravel() if flat else joints).tolist()
        about = {"category_id": 1, "iscrowd": 0, "num_keypoints": 17, "track_id": 4}
        frames.append({"id": time * 1000, "image_id": time, "keypoints": found, **about})
    return json.dumps(
        {"info": {"version": "v1.0.0"}, "licenses": [], "annotations": frames, "categories": []}
    )


@lru_cache
def session(user, name, shift=0, phase=0.0):
    """The files of a session, by path."""
    operations = labels(shift)
    files = {
        f"{user}/{kind.folder}/{name}.csv": log(kind, operations, phase + place)
        for place, kind in enumerate(KINDS.values())
    }
    files[f"{user}/{KEYPOINTS}/{name}.json"] = keypoints(operations, phase)
    seconds = range(len(operations))
    columns = [[START_MS + 1000 * s for s in seconds], *([text] * len(operations) for text in (user, name))]
    rows = [*columns, [1 + s // 20 for s in seconds], operations]
    path = f"{user}/annotation/openpack-operations-1hz/{name}.csv"
    files[path] = table(["unixtime", "user", "session", "box", "id"], rows)
    files[f"{user}/system/ht/{name}.csv"] = "unixtime,datetime,order_sheet,box,item\n"
    return files


def put(files, folder):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def world(*names):
    files = {}
    for number, name in enumerate(names):
        user, _, which = name.partition("-")
        files |= session(user, which, shift=number, phase=number / 3)
    return files


def test_a_session_has_its_sensors_its_person_and_its_labels(tmp_path):
    data = put(world("U0105-S0100", "U0202-S0100"), tmp_path / "v1.0.0")
    [_, later] = recordings(tmp_path, None)
    assert (later.name, later.subject, later.session) == ("U0202-S0100", "U0105", "U0202-S0100")
    assert set(later.streams) == {*KINDS, "keypoints"} and len(KINDS) == len(PLACES) + len(SIDES) * len(E4)
    expected = [(s, OPERATIONS[n]) for s, n in enumerate(labels(1)) if n not in IGNORED]
    found = [
        (float(second), span.activity)
        for span in later.spans
        for second in np.arange(span.start_s, span.stop_s)
    ]
    assert found == expected
    assert max(span.stop_s - span.start_s for span in later.spans) == 2
    wrist = later.streams["right wrist"]
    assert wrist.times[0] == pytest.approx(0.007) and wrist.at(np.array([0.007, 5.0])).shape == (2, 10)
    at_ms = START_MS + 7 + 30 * 100
    expected = np.round(motion([at_ms], labels(1), 1 / 3) * 0.3, 4)
    np.testing.assert_allclose(wrist.at(np.array([3.007]))[0, 0], expected[0], atol=1e-6)
    assert [recording.name for recording in recordings(data)] == ["U0105-S0100", "U0202-S0100"]


def test_each_labelled_slot_is_one_clip_with_the_slot_within_and_null_is_none(tmp_path, cache):
    data = put(world("U0101-S0100"), tmp_path)
    [recording] = recordings(data)
    slots = [(s, OPERATIONS[n]) for s, n in enumerate(labels()) if n not in IGNORED]
    assert len(recording.spans) == len(slots) == SECONDS - 2
    for span, (slot_s, operation) in zip(recording.spans, slots, strict=True):
        assert span.activity == operation and span.stop_s - span.start_s == pytest.approx(10)
        assert span.start_s <= slot_s + 1e-9 and slot_s + 1 <= span.stop_s + 1e-9
    middle = recording.spans[8]
    assert middle.start_s == slots[8][0] - 4.5
    listing = survey(OPENPACK, data, FIVE)
    assert len(listing.cuts) == len(slots) and not listing.dropped
    clips = stored(OPENPACK, listing.cuts, FIVE)
    assert clips.shapes == {**dict.fromkeys(IMUS, (300, 6)), "keypoints": (150, 17, 3)}
    narrow = survey(openpack(1.0), data, IMUS).cuts
    assert [(clip.start_s, clip.activity) for _, clip in narrow] == [(float(s), a) for s, a in slots]
    physiology = [f"{side}-{kind}" for side in SIDES.values() for kind in E4]
    assert set(stored(OPENPACK, survey(OPENPACK, data, physiology).cuts, physiology).shapes) == {*physiology}


def test_whole_recordings_have_labels_none_of_which_overlap(tmp_path):
    data = put(world("U0101-S0100"), tmp_path)
    [whole] = whole_recordings(OPENPACK, data)
    assert all(a.stop_s <= b.start_s for a, b in zip(whole.spans, whole.spans[1:], strict=False))
    assert sum(span.stop_s - span.start_s for span in whole.spans) == SECONDS - 2
    assert OPENPACK.windows == Windows(10.0, purity=0.6, stride_s=1.0)


def test_flat_key_points_are_the_same(tmp_path):
    files = world("U0101-S0100")
    nested = next(recordings(put(files, tmp_path / "nested")))
    files[f"U0101/{KEYPOINTS}/S0100.json"] = keypoints(labels(), 0.0, flat=True)
    flat = next(recordings(put(files, tmp_path / "flat")))
    at = np.arange(1.0, 20.0, 0.7)
    np.testing.assert_array_equal(nested.streams["keypoints"].at(at), flat.streams["keypoints"].at(at))


def test_a_gap_is_no_motion(tmp_path):
    files = world("U0101-S0100")
    path = "U0101/atr/atr01/S0100.csv"
    lines = files[path].splitlines(keepends=True)
    files[path] = "".join(lines[:300] + lines[500:])  # 9 to 15 s
    listing = survey(openpack(1.0), put(files, tmp_path), ["right-wrist"])
    lost = {int(drop.start_s) for drop in listing.dropped}
    assert {clip.start_s for _, clip in listing.cuts}.isdisjoint(range(9, 14)) and lost
    assert all(drop.stream == "right wrist" and drop.reason == "no reading" for drop in listing.dropped)
    assert len(survey(openpack(1.0), tmp_path, ["left-wrist"]).cuts) == SECONDS - 2


def test_sessions_without_labels_or_without_sensors_are_left_out_and_said(tmp_path):
    files = world("U0101-S0100", "U0102-S0100", "U0103-S0100", "U0105-S0100")
    of = ANNOTATION.replace("U0101", "{}").format
    files[of("U0102")] = files[of("U0102")].splitlines()[0] + "\n"
    head, *lines = files[of("U0103")].splitlines()
    files[of("U0103")] = "\n".join([head, *(line.rpartition(",")[0] + ",8100" for line in lines)])
    for path in [path for path in files if path.startswith("U0105") and "annotation" not in path]:
        del files[path]
    files[ANNOTATION.replace("S0100", "._S0100")] = "left by another system"
    with pytest.warns(PlaitWarning) as said:
        found = list(recordings(put(files, tmp_path)))
    text = "\n".join(str(one.message) for one in said)
    assert [recording.name for recording in found] == ["U0101-S0100"]
    assert "2 files" in text and f"{of('U0102')}: no labels but null: the session is left out" in text
    assert f"{of('U0105')}: labels, but no sensor has a file of the session" in text


def test_rows_that_are_no_readings_columns_and_sessions_without_labels_are_said(tmp_path):
    files = world("U0101-S0100", "U0101-S0500", "U0102-S0100")
    path = "U0101/atr/atr01/S0100.csv"
    lines = files[path].splitlines()
    lines[5] = lines[5].rpartition(",")[0] + ","
    lines[20], lines[21] = lines[21], lines[20]
    files[path] = "\n".join([lines[0] + ",temperature", *(line + ",20.5" for line in lines[1:])])
    del files["U0102/annotation/openpack-operations-1hz/S0100.csv"]
    with pytest.warns(PlaitWarning) as said:
        found = list(recordings(put(files, tmp_path)))
    text = "\n".join(str(one.message) for one in said)
    assert [recording.name for recording in found] == ["U0101-S0100", "U0101-S0500"]
    assert (
        "1 files" in text and "U0102/annotation/openpack-operations-1hz/S0100.csv: no labels but null" in text
    )
    assert f"{path}: rows that are no readings of their own" in text
    assert "columns that are not OpenPack's are ignored: temperature" in text
    assert len(found[0].streams["right wrist"].times) == len(lines) - 2
    assert len(found[1].streams["right wrist"].times) == len(lines) - 2  # the toolkit's correction
    assert len(found[1].streams["left wrist"].times) == len(lines) - 1


def changed(path, old, new):
    def change(files):
        assert old in files[path]
        files[path] = files[path].replace(old, new)

    return change


def scaled(column_from, factor, path="U0101/atr/atr02/S0100.csv"):
    def change(files):
        head, *lines = files[path].splitlines()
        rows = [line.split(",") for line in lines]
        of = range(column_from, column_from + (3 if column_from else 1))
        for row in rows:
            for column in of:
                row[column] = f"{float(row[column]) * factor:.6f}"
        files[path] = "\n".join([head, *map(",".join, rows), ""])

    return change


ANNOTATION = "U0101/annotation/openpack-operations-1hz/S0100.csv"
BROKEN = {
    "m/s2": (scaled(1, 9.81), "an acceleration of 1.* for the most part, expected about 1"),
    "seconds": (scaled(0, 0.001), "readings a second, expected about 30, and times in ms"),
    "no column": (changed("U0101/atr/atr01/S0100.csv", "gyro_x", "gyr_x"), "no column 'gyro_x', expected"),
    "no number": (changed("U0101/atr/atr01/S0100.csv", "\n163", "\nx163"), "expected numbers and names"),
    "one reading": (
        lambda files: files.update({"U0101/e4/e401/eda/S0100.csv": "time,eda\n1634869193000,0.5\n"}),
        "1 readings, expected two or more",
    ),
    "an empty label": (changed(ANNOTATION, ",2,200", ",2,"), "id is empty, expected one of: 100, 200"),
    "another operation": (changed(ANNOTATION, ",2,200", ",2,201"), "id is 201, expected one of"),
    "another person": (changed(ANNOTATION, "U0101,S0100,2", "U0103,S0100,2"), "of U0103 and S0100, expected"),
    "half a second": (
        changed(ANNOTATION, f"{START_MS + 3000},", f"{START_MS + 3500},"),
        "whole seconds in ms",
    ),
    "twice": (changed(ANNOTATION, f"{START_MS + 3000},", f"{START_MS + 2000},"), "later with each line"),
    "no JSON": (
        lambda files: files.update({f"U0101/{KEYPOINTS}/S0100.json": "{"}),
        'S0100.json: cannot be read, expected "annotations"',
    ),
    "fewer joints": (changed(f"U0101/{KEYPOINTS}/S0100.json", ", 0.9]]", "]]"), 'expected "annotations"'),
    "two columns of one name": (
        changed("U0101/atr/atr01/S0100.csv", "acc_y", "acc_x"),
        "column 'acc_x' 2 times, expected unixtime, acc_x",
    ),
    "another day": (
        changed(ANNOTATION, f"{START_MS}"[:5], f"{START_MS + 86_400_000}"[:5]),
        "S0100.csv: labels from .* s after the first reading, expected some before 24 s",
    ),
    "a moment that is none": (
        changed(f"U0101/{KEYPOINTS}/S0100.json", '"image_id": 16', '"image_id": ' + "1" * 400),
        'cannot be read, expected "annotations"',
    ),
    "no bodies": (
        lambda files: files.update({f"U0101/{KEYPOINTS}/S0100.json": '{"annotations": []}'}),
        "0 readings, expected two or more",
    ),
    "a name": (
        lambda files: files.update({"U0101/atr/atr01/S100.csv": "unixtime\n"}),
        "S100.csv: a file of another name, expected one such as S0100.csv",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_not_as_published_is_refused_in_a_line(tmp_path, what):
    files, (spoil, expected) = world("U0101-S0100"), BROKEN[what]
    spoil(files)
    with pytest.raises(DataError, match=expected) as refused:
        list(recordings(put(files, tmp_path)))
    assert "\n" not in str(refused.value) and str(tmp_path) in str(refused.value)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        list(recordings(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="no folder of a user, expected some such as U0101"):
        list(recordings(tmp_path))
    put(world("U0101-S0100"), tmp_path / "a")
    put(world("U0101-S0100"), tmp_path / "b")
    with pytest.raises(DataError, match="U0101 lies there 2 times"):
        list(recordings(tmp_path))


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_of_a_study_is_the_challenges(seed):
    """`eval_operation_segmentation`: null in the truth is left out; the mean of ten F1."""
    rng = np.random.default_rng(seed)
    numbers = np.array([*OPERATIONS, IGNORED[0]])
    truth = rng.choice(numbers, 400, p=rng.dirichlet(np.ones(len(numbers))))
    found = np.where(rng.random(400) < 0.5, truth, rng.choice(numbers[:-1], 400))
    found[found == IGNORED[0]] = 100
    truth[truth == 700], found[found == 700] = 800, 900  # an operation that nobody does and none recognises
    kept = truth != IGNORED[0]
    f1 = []
    for number in OPERATIONS:
        right = np.sum((truth == number) & (found == number) & kept)
        said, done = np.sum((found == number) & kept), np.sum((truth == number) & kept)
        f1.append(2 * right / (said + done) if said + done else 0.0)
    about = {"method": "m", "fold": "fixed", "seed": 0, "subject": "U0104"}
    table = pl.DataFrame(
        {
            "clip": [str(i) for i in range(int(kept.sum()))],
            "activity": [OPERATIONS[n] for n in truth[kept].tolist()],
            "predicted": [OPERATIONS[n] for n in found[kept].tolist()],
        }
    ).with_columns(**{name: pl.lit(value) for name, value in about.items()})
    found = benchmark(OPENPACK, table)
    assert found.row(0)[:4] == ("m", None, None, "macro F1")
    assert found["value"][0] == pytest.approx(np.mean(f1))


def study(name, only, **protocol):
    text = tomllib.loads((STUDIES / "openpack.toml").read_text())
    text["protocol"] |= protocol
    methods = {method: text["methods"][method] for method in only}
    return {**text, "name": name, "methods": methods, "train": {**text["train"], "max_epochs": 1}}


def test_a_run_on_the_miniature_has_the_published_parts(tmp_path, cache):
    sessions = {"train": ["U0101-S0100", "U0105-S0100"], "val": ["U0101-S0300"], "test": ["U0203-S0100"]}
    data = put(world(*(name for part in sessions.values() for name in part)), tmp_path / "data")
    (data / f"U0203/{KEYPOINTS}/S0100.json").unlink()
    methods = ["right-wrist", "left-wrist", "keypoints", "wrists-concat"]
    whole = {**study("mini", methods, **sessions), "evaluate": {"continuous": True, "stride_s": 2.0}}
    run_study(whole, data, tmp_path / "run", then=write_continuous)
    scored = pl.read_csv(
        tmp_path / "run" / "continuous.csv"
    )  # of the tested session alone, not of who trains
    assert scored["method"].to_list() == methods and scored["recordings"].to_list() == [1] * len(methods)
    assert scored.filter(method="keypoints")["accuracy_labelled"].item() == 0
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert table.group_by("method").len().sort("method").rows() == [(m, SECONDS - 2) for m in sorted(methods)]
    assert set(table["subject"]) == {"U0108"} and set(table["fold"]) == {"fixed"}
    numbers = read_benchmark(tmp_path / "run")
    assert numbers["model"].to_list() == [*sorted(methods), *(row.model for row in OPENPACK.published)]
    cells = {model: cell for model, _, cell in lines(numbers)}
    assert cells["keypoints"] == "0.0" and cells["DeepConvLSTM, accelerations"] == "77.0"
    seen = table.filter(pl.col("method") != "keypoints")
    assert set(seen["predicted"]) <= set(OPERATIONS.values())
    assert not set(table.filter(pl.col("method") == "keypoints")["predicted"]) & set(OPERATIONS.values())


def test_the_published_split_leaves_nobody_on_both_sides():
    for name in ("openpack", "openpack-pilot"):
        protocol = tomllib.loads((STUDIES / f"{name}.toml").read_text())["protocol"]
        people = {
            part: {SAME_PERSON.get(session[:5], session[:5]) for session in protocol[part]}
            for part in ("train", "test")
        }
        assert people["train"].isdisjoint(people["test"])
        sessions = protocol["train"] + protocol["val"] + protocol["test"]
        assert len(set(sessions)) == len(sessions)


def test_a_session_that_is_not_there_is_named(tmp_path, cache):
    data = put(world("U0101-S0100", "U0104-S0100"), tmp_path / "data")
    part = study("mini", ["right-wrist"], train=["U0101-S0100"], val=["U0101-S0300"], test=["U0104-S0100"])
    with pytest.raises(ConfigError, match="protocol.val: unknown session 'U0101-S0300', expected some of"):
        run_study(part, data, tmp_path / "run")


def test_no_warning_on_what_is_whole(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [recording] = recordings(put(world("U0101-S0100"), tmp_path))
    again = next(recordings(tmp_path))
    assert recording.content(["right wrist"]) == again.content(["right wrist"])
    assert replace(recording, name="x").content(["left wrist"]) != again.content(["right wrist"])


@pytest.mark.filterwarnings("ignore:.*the model was trained on:plait.errors.PlaitWarning")
def test_a_fitted_wrist_is_scored_on_whole_sessions_slot_by_slot(tmp_path, cache, plait):
    """People validate where a model is fitted, though the study's parts are sessions."""
    data = put(world("U0101-S0100", "U0105-S0100", "U0203-S0100"), tmp_path / "data")
    fit_model(study("mini", ["right-wrist"]), "right-wrist", data, tmp_path / "model", say=print)
    words = ["--data", str(data), "--only", "U0108", "--stride", "1", "--out", str(tmp_path / "found")]
    code, _, complaint = plait("predict", str(tmp_path / "model"), *words)
    assert code == 0, complaint
    code, _, complaint = plait("score", str(tmp_path / "found"), "--step", "1")
    assert code == 0, complaint
    scores = json.loads((tmp_path / "found" / "scores.json").read_text())
    assert scores["labelled"] == SECONDS - 2 and scores["recordings"] == 1
