"""MM-Fit: a generated miniature of the release, opened, cut and run; the authors' windows and accuracy."""

import tomllib
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plait.analysis.benchmark import benchmark
from plait.clips import stored, survey
from plait.datasets.mm_fit import (
    DEVICES,
    EXERCISES,
    MM_FIT,
    NULL,
    PERSON,
    POSES,
    SECONDS,
    SENSORS,
    mm_fit,
    recordings,
)
from plait.errors import DataError, PlaitWarning
from plait.recogniser.windows import whole_recordings
from plait.study.run import run_study

STUDIES = Path(__file__).parents[2] / "studies"
START_MS = 1_562_790_000_000.0
RATES_HZ = {"sw": 100, "sp": 210, "eb": 90}
SET, PAUSE = 8, 6  # seconds
FRAME_MS = 1000 / 30 + 0.4  # the camera is a little slow
MODALITIES = ["pose", "flat-pose", *DEVICES]


def frames_of(sets):
    """How many frames a workout of so many sets has."""
    return (PAUSE + sets * (SET + PAUSE)) * 30


def labels(sets):
    """Every set's first and last frame, its repetitions and its exercise."""
    starts = [(PAUSE + number * (SET + PAUSE)) * 30 for number in range(sets)]
    return [(s, s + SET * 30, 5, EXERCISES[n % len(EXERCISES)]) for n, s in enumerate(starts)]


def written(sets):
    return "".join(f"{start},{stop},{count},{name}\n" for start, stop, count, name in labels(sets))


def pace(frames, sets):
    """How fast things move at each frame: each exercise its own way, nobody in the pauses."""
    found = np.zeros(len(frames))
    for start, stop, _, name in labels(sets):
        found[(frames >= start) & (frames <= stop)] = 0.3 + 0.2 * EXERCISES.index(name)
    return found


@lru_cache
def workout(sets, phase=0.0):
    """The arrays of a workout, by modality."""
    count, arrays = frames_of(sets), {}
    for name, channels in SENSORS.items():
        rate_hz = 1 if channels == 1 else RATES_HZ[name[:2]]
        ms = np.arange(0, count * FRAME_MS, 1000 / rate_hz) + 3
        frames = np.minimum(np.round(ms / FRAME_MS), count - 1)
        moved = np.sin(2 * np.pi * pace(frames, sets) * ms / 1000 + phase + len(arrays))
        values = moved[:, None] * np.arange(1, channels + 1) + (9.81 if name.endswith("acc") else 0)
        arrays[name] = np.column_stack([frames, START_MS + ms, values])
    frames = np.arange(count, dtype=float)
    moved = np.sin(2 * np.pi * pace(frames, sets) * frames / 30 + phase)
    for name, (coordinates, joints) in POSES.items():
        place = 100.0 * np.random.default_rng(joints).normal(size=(coordinates, 1, joints))
        pose = place + 50 * moved[None, :, None]
        column = np.broadcast_to(frames[None, :, None], (coordinates, count, 1))
        arrays[name] = np.concatenate([column, pose], axis=2)
    return arrays


def put(folder, **workouts):
    """Workouts of so many sets in a folder."""
    for name, sets in workouts.items():
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}_labels.csv").write_text(written(sets))
        for modality, array in workout(sets, int(name[1:]) / 4).items():
            np.save(folder / name / f"{name}_{modality}.npy", array)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))


def test_a_workout_has_its_devices_its_person_and_its_sets(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [first, second] = recordings(put(tmp_path / "mm-fit", w00=2, w08=3).parent)
    assert [(r.name, r.subject, r.session) for r in (first, second)] == [
        ("w00", "2", "w00"),
        ("w08", "0", "w08"),
    ]
    assert set(first.streams) == {*SENSORS, *POSES} and len(PERSON) == 21 and len({*PERSON.values()}) == 10
    spans = second.spans
    assert [span.activity for span in spans] == list(EXERCISES[:3])
    for span, (start, stop, *_) in zip(spans, labels(3), strict=True):
        frame_s = FRAME_MS / 1000
        assert span.start_s == pytest.approx(start * frame_s, abs=frame_s)
        assert span.stop_s == pytest.approx(stop * frame_s, abs=frame_s)
    array = workout(3, 2.0)["sw_l_gyr"]
    at_s = (array[700, 1] - START_MS - 3) / 1000
    np.testing.assert_allclose(second.streams["sw_l_gyr"].at(np.array([at_s]))[0], array[700, 2:], atol=1e-5)
    pose, frame = second.streams["pose_3d"], 300
    at_s = pose.times[frame]
    assert at_s == pytest.approx(frame * FRAME_MS / 1000, abs=FRAME_MS / 1000)
    np.testing.assert_allclose(
        pose.at(np.array([at_s]))[0], workout(3, 2.0)["pose_3d"][:, frame, 1:].T, rtol=1e-4, atol=1e-3
    )


def test_windows_are_the_authors_but_for_ties(tmp_path, cache):
    """Their rule: an exercise where the middle frame of 150 lies within its set, else none."""
    data = put(tmp_path, w00=3)
    listing = survey(mm_fit(0.2), data, ["pose"])
    [whole] = recordings(data)
    clock = whole.streams["pose_3d"].times
    checked = 0
    for _, clip in listing.cuts:
        middle = np.interp((clip.start_s + clip.stop_s) / 2, clock, np.arange(len(clock)))
        inside = [name for start, stop, _, name in labels(3) if start < middle < stop]
        if all(min(abs(middle - start), abs(middle - stop)) > 1 for start, stop, *_ in labels(3)):
            checked += 1
            assert clip.activity == (inside[0] if inside else NULL)
    assert checked > 0.9 * len(listing.cuts)
    assert len(listing.cuts) >= (clock[-1] - clock[0] - SECONDS) / 0.2 - 6
    assert len(survey(MM_FIT, data, ["pose"]).cuts) == pytest.approx(len(listing.cuts) / 5, abs=2)


def test_every_device_gives_a_tensor(tmp_path, cache):
    listing = survey(MM_FIT, put(tmp_path, w00=1), MODALITIES)
    clips = stored(MM_FIT, listing.cuts, MODALITIES)
    poses = {"pose": (150, 17, 3), "flat-pose": (150, 18, 2)}
    assert clips.shapes == {**poses, **dict.fromkeys(DEVICES, (250, 6))}


def test_whole_recordings_have_sets_for_labels(tmp_path):
    [whole] = whole_recordings(MM_FIT, put(tmp_path, w00=2))
    assert [span.activity for span in whole.spans] == list(EXERCISES[:2])
    assert MM_FIT.windows.unlabelled == NULL and MM_FIT.windows.margins


@pytest.mark.filterwarnings("ignore:.*rows that are no readings")
def test_a_missing_device_a_gap_and_odd_rows_are_said(tmp_path, cache):
    data = put(tmp_path, w00=2)
    (data / "w00" / "w00_sp_l_acc.npy").unlink()
    array = workout(2, 0.0)["sw_r_acc"].copy()
    array[20:23, 1] = array[20, 1]
    array[30, 2] = np.nan
    array[[40, 41]] = array[[41, 40]]
    array = np.delete(array, slice(500, 800), 0)  # three seconds
    np.save(data / "w00" / "w00_sw_r_acc.npy", array)
    with pytest.warns(
        PlaitWarning, match=r"1 files, the first .*w00_sw_r_acc.npy: rows that are no readings"
    ):
        listing = survey(MM_FIT, data, ["right-watch"])
    assert {drop.reason for drop in listing.dropped if drop.stream} == {"no reading"}
    kept = survey(MM_FIT, data, ["left-watch"])
    assert len(kept.cuts) - len(listing.cuts) == pytest.approx(8, abs=1)
    with pytest.raises(DataError, match="no stream 'sp_l_acc'"):
        survey(MM_FIT, data, ["left-phone"])


def test_without_sensors_there_are_thirty_frames_a_second(tmp_path):
    data = put(tmp_path, w00=1)
    for name in SENSORS:
        (data / "w00" / f"w00_{name}.npy").unlink()
    [whole] = recordings(data)
    np.testing.assert_allclose(whole.streams["pose_3d"].times, np.arange(frames_of(1)) / 30)
    assert whole.spans[0].start_s == PAUSE


def label_file(text):
    return lambda folder: (folder / "w00_labels.csv").write_text(text)


def array_file(name, change):
    return lambda folder: np.save(folder / f"w00_{name}.npy", change(workout(1, 0.0)[name].copy()))


def times(array, factor):
    array[:, 1] = START_MS + (array[:, 1] - START_MS) * factor
    return array


def only(name, change):
    """One sensor is left, and that is another."""

    def spoil(folder):
        for other in SENSORS:
            (folder / f"w00_{other}.npy").unlink()
        array_file(name, change)(folder)

    return spoil


def unsafe(folder):
    (folder / "w00_pose_3d.npy").write_bytes(b"")
    np.save(folder / "w00_pose_3d.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


BROKEN = {
    "another exercise": (label_file("10,200,5,burpees\n"), "line 1: '10,200,5,burpees', expected two frames"),
    "an empty label": (label_file("10,200,5,\n"), "line 1: '10,200,5,', expected two frames, a count and"),
    "backwards": (label_file("200,10,5,squats\n"), "line 1: '200,10,5,squats', expected"),
    "a header": (label_file("start,end,reps,activity\n"), "line 1: 'start,end,reps,activity', expected"),
    "sets that overlap": (label_file("10,200,5,squats\n150,300,5,lunges\n"), "sets of frames 10 to 200 and"),
    "no sets": (label_file("\n"), "w00_labels.csv: no set, expected one or more"),
    "sets of another workout": (
        label_file("10,200,5,squats\n90000,90200,5,lunges\n"),
        "lunges from frame 90000 on, .* s, expected it before the last reading at 20 s",
    ),
    "one sensor in seconds": (
        array_file("sw_l_gyr", lambda a: times(a, 0.001)),
        "w00_sw_l_gyr.npy: .*e.04 readings a second, expected 40 or more, up to 2000, and times in ms",
    ),
    "no times": (
        array_file("sw_l_gyr", lambda a: times(a, np.nan)),
        "w00_sw_l_gyr.npy: 0 readings, expected two",
    ),
    "no labels": (lambda folder: (folder / "w00_labels.csv").unlink(), "w00_labels.csv: cannot be read"),
    "a column too many": (
        array_file("sw_l_acc", lambda a: np.c_[a, a[:, :1]]),
        r"float64 \(\d+, 6\), expected numbers of shape \(any, 5\)",
    ),
    "32 joints": (
        array_file("pose_3d", lambda a: np.concatenate([a, a[:, :, 1:16]], 2)),
        r"expected numbers of shape \(3, any, 18\)",
    ),
    "pickled": (unsafe, "w00_pose_3d.npy: not a readable .npy file of plain numbers"),
    "cut off": (
        lambda folder: (folder / "w00_sw_l_acc.npy").write_bytes(
            (folder / "w00_sw_l_acc.npy").read_bytes()[:-9]
        ),
        "w00_sw_l_acc.npy: not a readable .npy file",
    ),
    "seconds": (only("sw_l_acc", lambda a: times(a, 0.001)), "a frame lasts for 0.03.* ms by its times"),
    "ten readings a second": (array_file("sw_l_gyr", lambda a: a[::10]), "10 readings a second, expected 40"),
    "one reading": (array_file("sw_l_gyr", lambda a: a[:1]), "1 readings, expected two or more"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_not_as_published_is_refused_in_a_line(tmp_path, what):
    spoil, expected = BROKEN[what]
    spoil(put(tmp_path, w00=1) / "w00")
    with pytest.raises(DataError, match=expected) as refused:
        list(recordings(tmp_path))
    assert "\n" not in str(refused.value) and str(tmp_path) in str(refused.value)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        list(recordings(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="no folder of a workout, expected some of w00 to w20"):
        list(recordings(tmp_path))
    (tmp_path / "w21").mkdir()
    with pytest.raises(DataError, match="w21: whose workout is it"):
        list(recordings(tmp_path))
    (tmp_path / "w21").rename(tmp_path / "w01")
    (tmp_path / "__MACOSX/w01").mkdir(parents=True)
    with pytest.raises(DataError, match="w01: no file such as w01_sw_l_acc.npy"):
        list(recordings(tmp_path))
    (tmp_path / "again/w01").mkdir(parents=True)
    with pytest.raises(DataError, match="w01 lies at .* as well, expected it once"):
        list(recordings(tmp_path))


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_of_a_study_is_the_authors(seed):
    """Their `correct / total` over all test windows, pauses among them."""
    rng = np.random.default_rng(seed)
    names = np.array([*EXERCISES, NULL])
    truth = rng.choice(names, 500)
    found = np.where(rng.random(500) < rng.random(), truth, rng.choice(names, 500))
    about = {"method": "m", "fold": "fixed", "seed": 0}
    columns = {"clip": [str(i) for i in range(500)], "subject": rng.choice(["2", "3"], 500).tolist()}
    table = pl.DataFrame({**columns, "activity": truth.tolist(), "predicted": found.tolist()})
    table = table.with_columns(**{name: pl.lit(value) for name, value in about.items()})
    correct = sum(int(a == b) for a, b in zip(truth, found, strict=True))
    found = benchmark(MM_FIT, table)
    assert found["value"][0] == pytest.approx(correct / 500)
    assert found.filter(pl.col("source").is_not_null())["value"].to_list() == [0.96, 0.94, 0.85, 0.82]


def test_the_published_splits_stand_and_the_unseen_are_unseen():
    for name, seen in (("mm-fit", False), ("mm-fit-seen", True)):
        protocol = tomllib.loads((STUDIES / f"{name}.toml").read_text())["protocol"]
        people = {part: {PERSON[workout] for workout in protocol[part]} for part in ("train", "val", "test")}
        assert people["test"].isdisjoint(people["train"] | people["val"]) is not seen
        workouts = protocol["train"] + protocol["val"] + protocol["test"]
        assert len(workouts) == len(set(workouts)) and set(workouts) <= PERSON.keys()


def test_a_run_on_the_miniature_scores_every_window(tmp_path, cache):
    data = put(tmp_path / "data", w01=10, w14=2, w00=2)
    (data / "w00" / "w00_eb_l_acc.npy").unlink()
    study = tomllib.loads((STUDIES / "mm-fit.toml").read_text())
    study["protocol"] |= {"train": ["w01"], "val": ["w14"], "test": ["w00"]}
    study["methods"] = {name: study["methods"][name] for name in ("pose", "left-watch", "earbud")}
    study["train"] |= {"max_epochs": 1}
    run_study(study, data, tmp_path / "run")
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    [counts] = {tuple(rows["clip"].sort()) for _, rows in table.group_by("method")}
    assert len(counts) == len(survey(MM_FIT, data, ["pose"], needed=["pose"]).cuts) - len(
        [c for _, c in survey(MM_FIT, data, ["pose"]).cuts if c.recording != "w00"]
    )
    assert set(table["subject"]) == {"2"} and {NULL, EXERCISES[0]} <= set(table["activity"])
    assert not set(table.filter(pl.col("method") == "earbud")["predicted"]) & {NULL, *EXERCISES}
