"""WEAR and its challenge in miniature, in their exact layouts, made of random numbers."""

import json
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score

import plait
from plait.clips import listed, tensors
from plait.datasets.wear import WEAR, WEAR_EVERYBODY, recordings, splits
from plait.datasets.wear.challenge import CHALLENGE, challenge_recordings, draw
from plait.datasets.wear.files import ACTIVITIES, CHANNELS, NULL, PLACEMENTS
from plait.errors import DataError, PlaitWarning
from plait.recogniser.fitting import fit_model
from plait.study.folds import folds_of
from plait.study.load import load_study
from plait.types import Clip

PEOPLE = ("sbj_0", "sbj_1", "sbj_2")
GAP, LASTS = 50, 100  # rows between activities, and of each
ROWS = len(ACTIVITIES) * (GAP + LASTS) + GAP


def labels(number):
    """A label for each row: all activities in an order of one's own, null between them."""
    order = np.random.default_rng(number).permutation(len(ACTIVITIES))
    found = [*[None] * GAP]
    for place, activity in enumerate(order):
        found += [ACTIVITIES[activity]] * LASTS + [None if place % 2 else NULL] * GAP
    return found


def table(number):
    """A person's raw file, rounded as it is printed."""
    rng = np.random.default_rng(number)
    said = labels(number)
    level = np.array([0 if one in (None, NULL) else 1 + ACTIVITIES.index(one) for one in said])
    values = np.concatenate(
        [np.sin(level[:, None] * (1 + np.arange(12)) / 3), np.ones((len(said), 0))], axis=1
    )
    values = (values + rng.normal(0, 0.3, values.shape)).round(4)
    columns = {name: values[:, at] for at, name in enumerate(CHANNELS)}
    return pl.DataFrame(
        {"sbj_id": [number] * len(said), **columns, "label": pl.Series(said, dtype=pl.String)}
    )


def write_wear(folder):
    """The layout of the release, as its own scripts make features and annotations of raw files."""
    (folder / "raw/inertial/50hz").mkdir(parents=True)
    (folder / "annotations/60fps").mkdir(parents=True)
    place = folder / "processed"
    kinds = ("inertial", "i3d", "combined")
    for kind in kinds:
        (place / f"{kind}_features/60fps/60_frames_30_stride").mkdir(parents=True)
    database = {}
    for number, name in enumerate(PEOPLE):
        raw = table(number)
        raw.write_csv(folder / f"raw/inertial/50hz/{name}.csv")
        values = raw.select(CHANNELS).to_numpy()
        windows = np.stack([values[at : at + 50] for at in range(0, ROWS - 50, 25)])
        inertial = windows.transpose(0, 2, 1).reshape(len(windows), -1)
        i3d = np.random.default_rng(number).random((len(windows), 2048), np.float32)
        for kind, array in zip(kinds, (inertial, i3d, np.concatenate([inertial, i3d], axis=1)), strict=True):
            np.save(place / f"{kind}_features/60fps/60_frames_30_stride/{name}.npy", array)
        said = labels(number)
        annotations = [
            {
                "label": said[at],
                "segment": [at / 50, (at + LASTS - 1) / 50],
                "label_id": ACTIVITIES.index(said[at]),
            }
            for at in range(GAP, ROWS, GAP + LASTS)
            if at < ROWS - GAP
        ]
        database[name] = {"duration": ROWS / 50, "fps": 60, "annotations": annotations}
    for number, tested in enumerate(PEOPLE, 1):
        said = {
            name: {"subset": "Validation" if name == tested else "Training", **about}
            for name, about in database.items()
        }
        content = {
            "version": "Wear",
            "database": said,
            "label_dict": {a: i for i, a in enumerate(ACTIVITIES)},
        }
        (folder / f"annotations/60fps/wear_split_{number}.json").write_text(json.dumps(content))
    return folder


def write_challenge(folder):
    """The challenge's training people; its columns come in another order."""
    for kind in ("inertial_feat", "videomae_feat"):
        (folder / "train" / kind).mkdir(parents=True)
    for number, name in enumerate([*PEOPLE, "sbj_0_2"]):
        person = int(name.split("_")[1])
        raw = table(number).with_columns(sbj_id=pl.lit(person))
        order = [
            c for place in ("left_arm", "left_leg", "right_arm", "right_leg") for c in CHANNELS if place in c
        ]
        raw.select("sbj_id", *order, "label").write_csv(folder / f"train/inertial_feat/{name}.csv")
        frames = np.random.default_rng(number).random((ROWS * 3 // 5, 768)).astype(np.float32)
        np.save(folder / f"train/videomae_feat/{name}.npy", frames)
    return folder


@pytest.fixture(scope="module")
def wear(tmp_path_factory):
    return write_wear(tmp_path_factory.mktemp("wear"))


@pytest.fixture
def own(tmp_path):
    return write_wear(tmp_path / "own")


def test_what_was_written_is_what_is_read(wear):
    raw = table(1)
    one = list(recordings(wear))[1]
    assert (one.name, one.subject, [*one.streams]) == ("sbj_1", "sbj_1", [*PLACEMENTS, "i3d"])
    for place in PLACEMENTS:
        expected = raw.select(f"{place}_acc_{axis}" for axis in "xyz").to_numpy()
        np.testing.assert_allclose(one.streams[place].at(np.arange(ROWS) / 50), expected, atol=1e-6)
    whole = list(recordings(wear, None))[1]
    said = labels(1)
    assert [(s.start_s * 50, s.activity) for s in whole.spans] == [
        (at, said[at]) for at in range(GAP, ROWS - GAP, GAP + LASTS)
    ]
    cuts = [cut for cut in listed(WEAR, wear, ["right-arm", "i3d"]) if cut[1].subject == "sbj_1"]
    assert {clip.activity for _, clip in cuts} == {NULL, *ACTIVITIES}
    assert all(clip.start_s * 2 == int(clip.start_s * 2) for _, clip in cuts)
    for (_, clip), i3d in zip(cuts, tensors(WEAR.modality("i3d"), cuts), strict=True):
        feature = np.load(wear / "processed/i3d_features/60fps/60_frames_30_stride/sbj_1.npy")
        np.testing.assert_allclose(i3d[0], feature[min(int(clip.start_s * 2), len(feature) - 1)])
        middle = said[int(clip.start_s * 50) + 12], said[int(clip.start_s * 50) + 37]
        assert clip.activity in [one or NULL for one in middle]


def test_features_stand_in_for_a_raw_file_that_is_missing(own):
    (own / "raw/inertial/50hz/sbj_1.csv").unlink()
    (
        own / "processed/i3d_features/60fps/60_frames_30_stride/sbj_1.npy"
    ).unlink()  # the combined ones have them
    one = list(recordings(own, None))[1]
    expected = table(1).select(CHANNELS).to_numpy()[:, 3:6]
    moments = one.streams["right_leg"].times
    np.testing.assert_allclose(
        one.streams["right_leg"].at(moments), expected[: len(moments)].astype(np.float32), atol=1e-6
    )
    assert len(moments) >= ROWS - 50 and len(one.spans) == len(ACTIVITIES) and "i3d" in one.streams


def test_a_sensor_that_is_silent_in_the_features_is_a_gap(own):
    (own / "raw/inertial/50hz/sbj_1.csv").unlink()
    for kind in ("inertial", "combined"):
        file = own / f"processed/{kind}_features/60fps/60_frames_30_stride/sbj_1.npy"
        values = np.load(file)
        values[20:40, 450:600] = np.nan  # the left arm, channel by channel
        np.save(file, values)
    cuts = {
        place: [cut for cut in listed(WEAR, own, [place]) if cut[1].subject == "sbj_1"]
        for place in ("right-arm", "left-arm")
    }
    right, left = ([clip for _, clip in each] for each in cuts.values())
    assert left == [clip for clip in right if clip.stop_s <= 10 or clip.start_s >= 20] != right
    found = tensors(WEAR.modality("left-arm"), cuts["left-arm"])
    assert all(np.isfinite(tensor.numpy()).all() for tensor in found)


def test_a_second_time_is_of_the_same_person_and_not_in_the_benchmark(own):
    for number, name in ((18, "sbj_18"), (20, "sbj_20")):
        table(number).write_csv(own / f"raw/inertial/50hz/{name}.csv")
    assert [one.name for one in WEAR.recordings(own)] == [*PEOPLE]
    people = {one.name: one.subject for one in WEAR_EVERYBODY.recordings(own)}
    assert people == {**dict(zip(PEOPLE, PEOPLE, strict=True)), "sbj_18": "sbj_0", "sbj_20": "sbj_20"}
    assert [one.subject for one in WEAR_EVERYBODY.whole(own)] == [*people.values()]


def annotated(own, change):
    """Annotations of somebody whose raw file is missing, otherwise than they were written."""
    (own / "raw/inertial/50hz/sbj_1.csv").unlink()
    for file in (own / "annotations/60fps").glob("*.json"):
        content = json.loads(file.read_text())
        change(content["database"]["sbj_1"])
        file.write_text(json.dumps(content))


def another(*segment, label="burpees"):
    return lambda about: about["annotations"].append({"label": label, "segment": [*segment]})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (another(900, 950), "burpees from 900 s to 950 s, expected it within the recording's 54.50 s"),
        (another(-9, 1), "burpees from -9 s to 1 s, expected it within"),
        (another(1.2, 5), "and burpees from 1.2 s, expected one after the other"),
        (another(9, 5), "expected a label and a segment in seconds"),
        (another(1, float("nan")), "expected a label and a segment in seconds"),
        (another(1), "expected a label and a segment in seconds"),
        (another(0, 0.5, label="yoga"), "label 'yoga', expected WEAR's activities"),
        (lambda about: about.update(annotations=None), "None, expected a list"),
        (lambda about: about.update(annotations=[5]), "5, expected a label and a segment"),
    ],
)
def test_annotations_that_are_none_are_one_line(own, change, match):
    annotated(own, change)
    with pytest.raises(DataError, match=f"annotations of sbj_1: .*{match}"):
        list(recordings(own))


def test_nothing_labelled_is_said_and_nothing_read_is_refused(own):
    (own / "raw/inertial/50hz/._sbj_1.csv").write_bytes(b"left by another system")
    raw = pl.read_csv(own / "raw/inertial/50hz/sbj_1.csv", schema_overrides={"label": pl.String})
    raw.with_columns(label=pl.lit(NULL)).write_csv(own / "raw/inertial/50hz/sbj_1.csv")
    with pytest.warns(PlaitWarning, match=r"sbj_1\.csv: no label but null"):
        list(recordings(own))
    raw.with_columns(pl.lit(None, pl.Float64).alias(name) for name in CHANNELS).write_csv(
        own / "raw/inertial/50hz/sbj_1.csv"
    )
    with pytest.raises(DataError, match=r"sbj_1\.csv: no placement has two readings"):
        list(recordings(own))
    annotated(own, lambda about: about.update(annotations=[]))
    with pytest.warns(PlaitWarning, match="annotations of sbj_1: no label"):
        list(recordings(own))


@pytest.mark.filterwarnings("ignore:.*the model was trained on:plait.errors.PlaitWarning")
def test_a_fitted_placement_is_scored_on_whole_recordings_that_the_doctor_finds_nothing_in(
    wear, tmp_path, plait
):
    sets = [f"protocol.subjects={json.dumps(PEOPLE)}", "train.max_epochs=1"]
    study = Path(__file__).parents[2] / "studies/wear.toml"
    fit_model(study, "right-arm", wear, tmp_path / "model", sets=sets, say=print)
    words = ["--data", str(wear), "--only", "sbj_1", "--out", str(tmp_path / "found")]
    code, _, complaint = plait("predict", str(tmp_path / "model"), *words)
    assert code == 0, complaint
    code, _, complaint = plait("score", str(tmp_path / "found"))
    assert code == 0, complaint
    scores = json.loads((tmp_path / "found/scores.json").read_text())
    seconds = sum(span.stop_s - span.start_s for span in list(recordings(wear, None))[1].spans)
    assert scores["recordings"] == 1 and scores["labelled"] >= seconds == LASTS * len(ACTIVITIES) / 50
    code, said, _ = plait("doctor", str(wear), "--dataset", "plait.datasets.wear:WEAR", "--no-pictures")
    assert code == 0 and "3 recordings of 3 people: nothing" in said


def test_the_study_s_folds_are_the_split_files(wear):
    protocol = load_study("studies/wear.toml", [f"protocol.subjects={json.dumps(PEOPLE)}"]).protocol
    clips = [Clip(name, name, name, "jogging", 0, 1) for name in PEOPLE]
    found = [(fold.train, fold.test) for fold in folds_of(protocol, clips)]
    assert found == [*splits(wear).values()]
    assert len(load_study("studies/wear.toml", []).protocol.subjects) == 18


def change(own, old, new, name="raw/inertial/50hz/sbj_1.csv"):
    text = (own / name).read_text()
    assert old in text
    (own / name).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("left_leg_acc_z", "left_leg_gyr_z", "no column 'left_leg_acc_z'"),
        ("jogging", "yogging", "line .*label is 'yogging"),
        ("\n1,", "\n2,", "sbj_id is"),
        (",jogging\n", ",jogging,9\n", "cannot be read"),
        ("right_arm_acc_y", "right_arm_acc_x", "column 'right_arm_acc_x' 2 times, expected sbj_id"),
    ],
)
def test_a_raw_file_that_is_none_is_one_line(own, old, new, match):
    change(own, old, new)
    with (
        warnings.catch_warnings(),
        pytest.raises(DataError, match=rf"sbj_1\.csv: .*{match}|sbj_1\.csv: {match}"),
    ):
        warnings.simplefilter("ignore")
        list(recordings(own))


def test_other_faults_of_files_are_one_line(own):
    raw = pl.read_csv(own / "raw/inertial/50hz/sbj_1.csv")
    raw[::2].write_csv(own / "raw/inertial/50hz/sbj_1.csv")
    with pytest.raises(DataError, match="at 50 readings a second, expected 55.00 s"):
        list(recordings(own))
    raw.with_columns(pl.col(CHANNELS) * 9.81, pl.lit(1).alias("extra")).write_csv(
        own / "raw/inertial/50hz/sbj_1.csv"
    )
    (own / "raw/inertial/50hz/sbj_2.csv").unlink()
    for kind in ("inertial", "i3d", "combined"):
        (own / f"processed/{kind}_features/60fps/60_frames_30_stride/sbj_2.npy").unlink()
    with pytest.warns(PlaitWarning) as said:
        assert len(list(recordings(own))) == 2
    texts = " ".join(str(one.message) for one in said)
    assert "expected about 1 (g)" in texts and "'extra'" in texts and "no file of sbj_2" in texts


@pytest.mark.filterwarnings("ignore::plait.errors.PlaitWarning")
def test_what_lies_there_is_one_line(own, tmp_path):
    np.save(
        own / "processed/i3d_features/60fps/60_frames_30_stride/sbj_0.npy", np.zeros((9, 2048), np.float32)
    )
    with pytest.raises(DataError, match="9 rows, 4.5 s"):
        list(recordings(own))
    change(own, "Validation", "Test", "annotations/60fps/wear_split_2.json")
    with pytest.raises(DataError, match=r"wear_split_2\.json: sbj_1: subset is 'Test'"):
        list(recordings(own))
    with pytest.raises(DataError, match="folders called train"):
        list(challenge_recordings(own))
    with pytest.raises(DataError, match="no such folder"):
        list(recordings(tmp_path / "nowhere"))
    (own / "raw/inertial/50hz/notes.csv").write_text("a")
    change(own, "Test", "Validation", "annotations/60fps/wear_split_2.json")
    with pytest.raises(DataError, match=r"notes\.csv: a file of another name"):
        list(recordings(own))


def test_gaps_stay_gaps(own):
    raw = pl.read_csv(own / "raw/inertial/50hz/sbj_1.csv", schema_overrides={"label": pl.String})
    lost = pl.int_range(pl.len()).is_between(500, 799)
    raw.with_columns(pl.when(~lost).then(pl.col(c)) for c in CHANNELS[9:]).write_csv(
        own / "raw/inertial/50hz/sbj_1.csv"
    )
    arm = list(recordings(own))[1].streams["left_arm"]
    assert arm.has(np.array([9.9, 10.5, 15.9, 16.1])).tolist() == [True, False, False, True]
    right, left = (
        [clip for _, clip in listed(WEAR, own, [place]) if clip.subject == "sbj_1"]
        for place in ("right-arm", "left-arm")
    )
    assert left == [clip for clip in right if clip.stop_s <= 10 or clip.start_s >= 16] != right


def test_a_run_has_the_paper_s_metrics_beside_the_paper_s(wear, tmp_path):
    plait.run(
        "studies/wear.toml",
        wear,
        tmp_path / "run",
        sets=[
            f"protocol.subjects={json.dumps(PEOPLE)}",
            "train.max_epochs=1",
        ],
        only=["right-arm", "i3d"],
    )
    table = pl.read_csv(tmp_path / "run/benchmark.csv")
    ours = table.filter(pl.col("source").is_null())
    assert (
        ours.group_by("model", maintain_order=True).agg("metric")["metric"].to_list()
        == [["precision", "recall", "F1", "mAP"]] * 2
    )
    assert ours["value"].null_count() == 0
    assert table.filter(pl.col("model") == "TriDet, inertial + camera")["value"].to_list() == [
        0.7339,
        0.82,
        0.7509,
        0.8226,
    ]
    assert "TriDet, camera" in (tmp_path / "run/table.md").read_text()


def test_the_challenge_shows_a_placement_a_second(tmp_path):
    data = write_challenge(tmp_path / "data")
    found = {one.name: one for one in challenge_recordings(data)}
    assert [(one.name, one.subject) for one in found.values()][:2] == [
        ("sbj_0", "sbj_0"),
        ("sbj_0_2", "sbj_0"),
    ]
    raw, drawn = table(1).select(CHANNELS).to_numpy(), draw("sbj_1", ROWS)
    assert set(drawn.tolist()) == {0, 1, 2, 3} and (drawn.reshape(-1, 50) == drawn[::50, None]).all()
    cuts = [cut for cut in listed(CHALLENGE, data, ["acceleration"]) if cut[1].recording == "sbj_1"]
    assert all(clip.start_s == int(clip.start_s) for _, clip in cuts) and len(cuts) > 30
    frames = np.load(data / "train/videomae_feat/sbj_1.npy")
    for name in ("acceleration", "video", "placed-acceleration"):
        for (_, clip), tensor in zip(cuts, tensors(CHALLENGE.modality(name), cuts), strict=True):
            first = int(clip.start_s) * 50
            place = drawn[first]
            expected = raw[first : first + 50, 3 * place : 3 * place + 3]
            if name == "video":
                expected = frames[first * 3 // 5 + 8 : first * 3 // 5 + 23].astype(np.float16)
            if name == "placed-acceleration":
                assert tensor[:, 3:].argmax(1).tolist() == [place] * 50
                tensor = tensor[:, :3]
            np.testing.assert_allclose(tensor, expected, atol=1e-3)


def test_the_challenge_s_study_is_scored_by_macro_f1(tmp_path):
    data = write_challenge(tmp_path / "data")
    sets = ["train.max_epochs=1", "protocol.folds=3"]
    plait.run(
        "studies/wear-challenge.toml", data, tmp_path / "run", sets=sets, only=["acceleration", "video"]
    )
    predicted = pl.read_parquet(tmp_path / "run/predictions.parquet").filter(pl.col("method") == "video")
    score = f1_score(
        predicted["activity"].to_list(),
        predicted["predicted"].to_list(),
        labels=[NULL, *ACTIVITIES],
        average="macro",
    )
    table = pl.read_csv(tmp_path / "run/benchmark.csv")
    assert table.filter(pl.col("model") == "video")["value"].item() == pytest.approx(score)
    assert table.filter(pl.col("source").is_not_null())["value"].to_list() == [0.634]
