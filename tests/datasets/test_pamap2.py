"""PAMAP2: a generated miniature of its 54 columns, opened, cut and run; its accuracy by definition."""

import numpy as np
import polars as pl
import pytest

from plait.analysis.benchmark import benchmark
from plait.clips import stored, survey
from plait.datasets.pamap2 import ALL, OPTIONAL, PAMAP2, PAMAP2_ALL, PLACES, PROTOCOL, whole
from plait.errors import DataError
from plait.recogniser.windows import whole_recordings
from tests.datasets.worn_worlds import G, guesses, motion, plan, ran, scores, written

THREE = [*PLACES]


def table(seed=0, codes=tuple(PROTOCOL), seconds=5.5):
    """A person's recording: activities with pauses; the pulse only here and there; orientation 1 0 0 0."""
    labels = plan(codes, seconds, 0.5, 100)
    n = len(labels)
    found = np.full((n, 54), np.nan)
    found[:, 0] = 8.38 + np.arange(n) / 100
    found[:, 1] = labels
    found[::11, 2] = 90
    for at, first in enumerate(PLACES.values()):
        felt = motion(np.arange(n) / 100, labels + seed, at, 6)
        found[:, first] = 32
        found[:, first + 1 : first + 4] = G * (felt[:, :3] + np.array([0, 0, 1]))
        found[:, first + 4 : first + 7] = 60.0  # the other accelerometer, saturated
        found[:, first + 7 : first + 10] = 3 * felt[:, 3:]
        found[:, first + 10 : first + 13] = 20
        found[:, first + 13 : first + 17] = [1, 0, 0, 0]
    found[77:80, 3:20] = np.nan  # packets of the hand
    return found


def world(folder, people=("101", "102", "103")):
    for number, person in enumerate(people):
        written(folder / "PAMAP2_Dataset" / "Protocol" / f"subject{person}.dat", table(number))
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def one(tmp_path, cache):
    """A single person, with the protocol and more."""
    data = world(tmp_path / "one", ("101",))
    extra = table(1, tuple(OPTIONAL))
    written(data / "PAMAP2_Dataset" / "Optional" / "subject101.dat", extra)
    return data


def test_imus_hold_acceleration_and_turning_in_their_units(one):
    cuts = survey(PAMAP2, one, THREE, missing="refuse").cuts
    assert [clip.activity for _, clip in cuts] == [*PROTOCOL.values()]
    clips = stored(PAMAP2, cuts, THREE)
    assert clips.shapes == dict.fromkeys(THREE, (250, 6))
    raw = np.loadtxt(one / "PAMAP2_Dataset" / "Protocol" / "subject101.dat")
    rows = round(cuts[2][1].start_s * 100) + np.arange(250) * 2
    given = clips.batch(THREE, np.array([2]))
    for place, first in PLACES.items():
        expected = raw[rows][:, [first + 1, first + 2, first + 3, first + 7, first + 8, first + 9]]
        expected[:, :3] /= G
        np.testing.assert_allclose(given[place][0][10:-10], expected[10:-10], atol=0.02)
    [recording] = whole_recordings(PAMAP2, one)
    assert (recording.name, recording.subject) == ("101", "101") and len(recording.spans) == 12
    assert recording.spans[0].start_s == pytest.approx(0.5) and recording.spans[0].stop_s == pytest.approx(
        6.0
    )


def test_optional_recordings_are_the_same_persons_and_have_six_activities_more(one):
    assert {clip.activity for _, clip in survey(PAMAP2_ALL, one, ["hand"]).cuts} == {*ALL.values()}
    assert [(r.name, r.subject) for r in whole(one, optional=True)] == [
        ("101", "101"),
        ("101-optional", "101"),
    ]


def test_a_gap_of_one_imu_is_its_own(one):
    file = one / "PAMAP2_Dataset" / "Protocol" / "subject101.dat"
    broken = np.loadtxt(file)
    broken[700:800, 20:37] = np.nan  # in the second activity, of the chest
    written(file, broken)
    assert len(survey(PAMAP2, one, THREE).cuts) == 11 and len(survey(PAMAP2, one, ["hand"]).cuts) == 12
    lacking = [clip for _, clip in survey(PAMAP2, one, THREE, missing="without").cuts if clip.lacks]
    assert [(clip.activity, clip.lacks) for clip in lacking] == [("sitting", ("chest",))]
    broken[:, 20:37] = np.nan
    written(file.with_name("subject102.dat"), broken)
    clips = [clip for _, clip in survey(PAMAP2, one, THREE, missing="without").cuts]
    assert {clip.lacks for clip in clips if clip.recording == "102"} == {("chest",)}


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ((60, 1), 9, "line 61: label 9, expected 0 or one of 1, 2, 3"),
        ((60, 1), np.nan, "line 61: label empty"),
        ((60, 1), 1.5, "line 61: label 1.5, expected 0"),
        ((slice(None), slice(4, 7)), 5660.0, "hand: accelerations of .* expected about 9.80"),
        ((slice(None), slice(3, 54)), np.nan, "no IMU has a reading"),
        ((slice(None), slice(4, 7)), 0.577, "hand: accelerations of .* expected about 9.80"),
        ((slice(None), slice(27, 30)), 90.0, "chest: turns by 90 and more, expected rad/s, not degrees"),
        ((slice(None), 0), None, r"30\.\d+ readings a second, expected about 100"),
        ((5, 0), np.nan, "a time that is no number"),
    ],
)
def test_what_is_not_pamap2_ends_in_a_line(tmp_path, where, value, said):
    found = table()
    found[where] = np.arange(len(found)) / 30 if value is None else value
    written(tmp_path / "Protocol" / "subject101.dat", found)
    with pytest.raises(DataError, match=said):
        list(whole(tmp_path))


def test_folders_that_are_not_pamap2_end_in_a_line(tmp_path, one):
    with pytest.raises(DataError, match="no such folder, expected PAMAP2_Dataset"):
        list(whole(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"no Protocol/subject101\.dat or the like"):
        list(whole(one / "PAMAP2_Dataset" / "Optional"))
    written(one / "subject102.dat", table()[:, :50])
    with pytest.raises(DataError, match="expected it in a folder Protocol or Optional"):
        list(whole(one))
    for name in ("Subject103.dat", "subject3.dat", "subject110.dat", "subject103.dat.dat"):
        (odd := one / "PAMAP2_Dataset" / "Protocol" / name).write_bytes(b"")
        with pytest.raises(DataError, match=r"another name, expected subject101\.dat to subject109\.dat"):
            list(whole(one))
        odd.unlink()
    (one / "subject102.dat").rename(one / "PAMAP2_Dataset" / "Protocol" / "subject102.dat")
    with pytest.raises(DataError, match="subject102.dat: line 1: 50 columns, expected 54"):
        list(whole(one))


def test_one_person_after_the_other_is_tested_beside_what_was_published(tmp_path, cache):
    data, people = world(tmp_path / "data"), ["101", "102", "103"]
    predictions, table = ran("pamap2.toml", data, tmp_path / "run", ["concat"], {"subjects": people})
    assert (
        set(predictions["fold"]) == {*people}
        and predictions.filter(pl.col("method") == "concat").height == 36
    )
    own = predictions.filter(pl.col("method") == "concat")
    ours = table.filter(pl.col("source").is_null() & (pl.col("model") == "concat"))
    right = own.group_by("fold").agg((pl.col("activity") == pl.col("predicted")).mean().alias("share"))
    expected = [right["share"].mean(), *scores(own, PAMAP2.activities)]
    np.testing.assert_allclose(ours["value"].to_numpy(), expected, atol=1e-12)
    published = table.filter(pl.col("source").is_not_null())
    assert dict(published.select("model", "value").iter_rows())["Catal et al."] == 0.8525
    assert set(published["metric"]) == {"accuracy"}


def test_scores_are_as_defined_on_random_labels():
    found = guesses(list(PAMAP2.activities), ["101", "102", "105"])
    given = benchmark(PAMAP2, found).filter(pl.col("source").is_null())["value"].to_numpy()
    right = found.with_columns(right=pl.col("activity") == pl.col("predicted"))
    shares = [part["right"].mean() for part in right.partition_by("fold")]
    np.testing.assert_allclose(given, [np.mean(shares), *scores(found, PAMAP2.activities)], atol=1e-12)
