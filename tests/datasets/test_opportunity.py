"""Opportunity: a generated miniature of its 250 columns, opened, cut and run; the challenge's scores."""

import numpy as np
import polars as pl
import pytest

from plait.analysis.benchmark import benchmark
from plait.clips import stored, survey
from plait.datasets.opportunity import (
    ACCELEROMETERS,
    GESTURES,
    IMUS,
    LOCOMOTION,
    NULL,
    OPPORTUNITY,
    OPPORTUNITY_GESTURES,
    PLACES,
    RUNS,
    SHOES,
    whole,
)
from plait.errors import DataError, PlaitWarning
from plait.recogniser.windows import whole_recordings
from tests.datasets.worn_worlds import guesses, motion, plan, ran, scores, written

BODY = 134  # columns up to the last of the body
POSTURES = [1, 2, 4, 5]


def table(seed=0, gestures=tuple(GESTURES), seconds=1.2):
    """A run: gestures with pauses, postures beneath them, a packet lost, objects that are still."""
    codes = plan(gestures, seconds, 0.8, 30)
    n = len(codes)
    found = np.zeros((n, 250))
    found[:, 0] = np.round(np.arange(n) * 1000 / 30)
    numbers = np.array([0, *GESTURES])
    kinds = np.searchsorted(np.sort(numbers), codes) + seed
    for at, first in enumerate([*ACCELEROMETERS.values(), *IMUS.values(), *SHOES.values()]):
        wide = 16 if first in SHOES.values() else 9 if first in IMUS.values() else 3
        noise = np.random.default_rng([at, *gestures]).normal(0, 9, (n, wide))  # no two runs are the same
        found[:, first : first + wide] = 300 * motion(np.arange(n) / 30, kinds, at, wide) + noise
        if wide < 16:
            found[:, first + 2] += 1000
    found[:, 134:243] = np.nan
    found[40, 37:50] = np.nan  # a packet of the IMU on the back
    found[:, 243] = np.resize(np.repeat([0, *POSTURES], 40), n)
    found[:, 249] = codes
    return np.round(found)


def world(folder, people=("S1", "S2", "S3"), runs=RUNS):
    for number, person in enumerate(people):
        for at, run in enumerate(runs):
            gestures = np.random.default_rng([number, at]).permutation([*GESTURES])
            written(folder / "dataset" / f"{person}-{run}.dat", table(number, tuple(gestures)))
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def one(tmp_path, cache):
    """A single run."""
    return world(tmp_path / "one", ("S1",), ("ADL1",))


def test_placements_hold_their_columns_at_their_times_in_their_units(one):
    cuts = survey(OPPORTUNITY, one, ["back", "left-shoe", "acc-hip"], missing="refuse").cuts
    clips = stored(OPPORTUNITY, cuts, ["back", "left-shoe", "acc-hip"])
    assert clips.shapes == {"back": (24, 9), "left-shoe": (24, 16), "acc-hip": (24, 3)}
    [file] = one.rglob("*.dat")
    raw = np.loadtxt(file)
    clip = cuts[5][1]
    rows = np.round((clip.start_s + np.arange(24) / 30) * 30).astype(int)
    given = clips.batch(["back", "left-shoe", "acc-hip"], np.array([5]))
    np.testing.assert_allclose(given["back"][0], raw[rows, 37:46] / 1000, atol=0.02)
    np.testing.assert_allclose(given["acc-hip"][0], raw[rows, 4:7] / 1000, atol=0.02)
    scale = np.array([180.0] * 3 + [1000.0] * 12 + [180.0])
    np.testing.assert_allclose(given["left-shoe"][0], raw[rows, 102:118] / scale, atol=0.1)
    columns = sorted(column for place in PLACES.values() for column in place.columns)
    assert len(columns) == 113 and columns == sorted({*columns}) and max(columns) < BODY


def test_labels_are_gestures_or_postures_and_null_fills_the_rest(one):
    [recording] = whole(one)
    assert (recording.name, recording.subject, recording.session) == ("S1-ADL1", "S1", "S1-ADL1")
    assert sorted(span.activity for span in recording.spans) == sorted(GESTURES.values())
    assert recording.spans[0].start_s == pytest.approx(0.8, abs=1e-3)
    assert recording.spans[0].stop_s == pytest.approx(2.0, abs=1e-3)
    clips = [clip for _, clip in survey(OPPORTUNITY, one, ["back"]).cuts]
    assert {clip.activity for clip in clips} == {NULL, *GESTURES.values()}
    starts = np.array([clip.start_s for clip in clips])
    assert np.allclose(np.diff(starts), 0.4) and starts[0] == 0
    names = np.full(len(table()), NULL, object)
    for span in recording.spans:
        names[round(span.start_s * 30) : round(span.stop_s * 30)] = span.activity
    for clip in clips:  # as counted in samples, but for ties
        counts = [(names[round(clip.start_s * 30) :][:24] == name).sum() for name in (clip.activity,)]
        assert counts[0] >= 11
    without = [clip for _, clip in survey(OPPORTUNITY_GESTURES, one, ["back"]).cuts]
    assert {clip.activity for clip in without} == {*GESTURES.values()} and len(without) < len(clips)
    postures = {clip.activity for _, clip in survey(LOCOMOTION, one, ["back"]).cuts}
    assert postures == {"stand", "walk", "sit", "lie", NULL}
    [labelled] = whole_recordings(OPPORTUNITY, one)
    assert labelled.spans == recording.spans


def test_a_lost_packet_is_bridged_and_a_long_gap_is_a_missing_sensor(one, tmp_path):
    every = len(survey(OPPORTUNITY, one, ["back", "left-shoe"]).cuts)
    broken = table()
    broken[300:330, 37:50] = np.nan
    broken[:, 4:7] = np.nan
    data = written(tmp_path / "gap" / "S1-ADL1.dat", broken).parent
    with pytest.raises(DataError, match="windows lack a sensor: no reading of back"):
        survey(OPPORTUNITY, data, ["back", "left-shoe"], missing="refuse")
    dropped = len(survey(OPPORTUNITY, data, ["back", "left-shoe"]).cuts)
    assert every - 6 <= dropped < every
    kept = survey(OPPORTUNITY, data, ["back", "left-shoe"], missing="without").cuts
    assert len(kept) == len([clip for _, clip in survey(OPPORTUNITY, data, ["left-shoe"]).cuts])
    assert {lack for _, clip in kept for lack in clip.lacks} == {"back"}
    with pytest.raises(DataError, match="no stream 'acc-hip'"):
        survey(OPPORTUNITY, data, ["acc-hip"])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t[:, :116], "line 1: 116 columns, expected 250 numbers"),
        (lambda t: _put(t, (50, 249), 506616), "column 250: line 51: label 506616, expected 0 or one"),
        (lambda t: _put(t, (50, 249), np.nan), "column 250: line 51: label empty"),
        (lambda t: _put(t, (50, 249), 406516.5), "column 250: line 51: label 406516.5, expected 0"),
        (lambda t: _put(t, (slice(None), slice(4, 7)), 0.577), "acc-hip: accelerations of .* about 1000"),
        (lambda t: _put(t, (slice(None), slice(37, 40)), 5660.0), "back: accelerations of .* about 1000"),
        (lambda t: _put(t, (slice(None), slice(37, 40)), 1.0), "back: accelerations of .* expected about 1"),
        (lambda t: _put(t, (slice(None), 0), np.arange(len(t)) * 10), "100 readings a second, expected"),
        (lambda t: _put(t, (9, 0), 0), "line 10: a time before the line above"),
        (lambda t: _put(t, (slice(None), slice(1, 134)), np.nan), "no sensor has a reading"),
        (lambda t: t[:1], "1 lines, expected two readings or more"),
    ],
)  # fmt: skip
def test_what_is_not_opportunity_ends_in_a_line(tmp_path, spoil, said):
    data = written(tmp_path / "S1-ADL1.dat", spoil(table())).parent
    with pytest.raises(DataError, match=said):
        list(whole(data))


def test_files_that_are_missing_or_of_other_names_or_cut_off_end_in_a_line(tmp_path, one):
    with pytest.raises(DataError, match="no such folder, expected OpportunityUCIDataset"):
        list(whole(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no S1-ADL1\.dat or the like"):
        list(whole(tmp_path / "empty"))
    [file] = one.rglob("*.dat")
    names = ["S1-ADL7.dat", "s1-adl2.dat", "S1_ADL2.dat", "S5-ADL1.dat", "S1-ADL2 (1).dat", "S1-ADL2.dat.dat"]
    for name in [*names, "again/S1-ADL1.dat"]:
        said = "the same file as" if "/" in name else "another name, expected S1-ADL1"
        other = one / name
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(file.read_bytes())
        with pytest.raises(DataError, match=said):
            list(whole(one))
        other.unlink()
    text = file.read_text().splitlines()
    file.write_text("\n".join([*text[:100], text[100].rpartition(" ")[0]]))
    with pytest.raises(DataError, match="line 101: 249 columns, expected 250 numbers"):
        list(whole(one))
    for joined in ([text[100] + " 1"], [f"{text[100]} {text[101]}"], ["", text[100]]):  # 251, 500, none
        file.write_text("\n".join([*text[:100], *joined, *text[102:]]))
        with pytest.raises(DataError, match=r"line 101: (251|500|0) columns, expected 250 numbers"):
            list(whole(one))
    file.write_text("\n".join([*text[:100], text[100].replace("0", "zero", 1)]))
    with pytest.raises(DataError, match="cannot be read, expected 250 numbers on each line"):
        list(whole(one))
    for change in (
        lambda line: line.replace(" ", "  ") + " \r",
        lambda line: " " + line,
        lambda line: line.replace(" ", "\t"),
    ):
        file.write_text("\n".join(map(change, text)) + "\n\n")
        [recording] = whole(one)
        assert len(recording.spans) == 17


def test_no_label_goes_across_a_time_that_was_not_recorded(tmp_path):
    found = table(gestures=(406516,), seconds=4)
    found[60:, 0] += 3_600_000
    [recording] = whole(written(tmp_path / "S1-ADL1.dat", found).parent)
    first, second = recording.spans
    assert first.stop_s == pytest.approx(2.0, abs=0.01) and second.start_s == pytest.approx(3602.0, abs=0.01)


def test_lines_of_one_moment_are_left_out_and_labels_keep_their_lines(tmp_path):
    found = table()
    found[20:24, 0] = found[20, 0]
    found[60, 249] = 7
    data = written(tmp_path / "S1-ADL1.dat", found).parent
    with (
        pytest.warns(PlaitWarning, match="3 lines of a moment that was there before: left out"),
        pytest.raises(DataError, match="line 61: label 7"),
    ):
        list(whole(data))


def test_the_challenges_runs_are_tested_and_stand_beside_what_was_published(tmp_path, cache):
    data = world(tmp_path / "data")
    predictions, table = ran("opportunity.toml", data, tmp_path / "run", ["back", "left-shoe"])
    tested = {clip.partition("/")[0] for clip in predictions["clip"]}
    assert tested == {"S2-ADL4", "S2-ADL5", "S3-ADL4", "S3-ADL5"}
    assert set(predictions["method"]) == {"back", "left-shoe"} and set(predictions["fold"]) == {"fixed"}
    ours = table.filter(pl.col("source").is_null() & (pl.col("model") == "back"))
    assert ours["metric"].to_list() == [
        "macro F1", "weighted F1", "macro F1 without null", "weighted F1 without null",
    ]  # fmt: skip
    own = predictions.filter(pl.col("method") == "back")
    expected = [*scores(own, OPPORTUNITY.activities), *scores(own, OPPORTUNITY.activities, [NULL])]
    np.testing.assert_allclose(ours["value"].to_numpy(), expected, atol=1e-12)
    others = table.filter(pl.col("source").is_not_null())
    assert dict(others.select("model", "value").iter_rows())["DeepConvLSTM"] == 0.672
    assert all("sample by sample" in source for source in others["source"])


def test_scores_are_the_challenges_on_random_labels():
    for seed in range(3):
        found = guesses(list(OPPORTUNITY.activities), ["S2", "S3"], seed)
        given = benchmark(OPPORTUNITY, found).filter(pl.col("source").is_null())["value"].to_numpy()
        expected = [*scores(found, OPPORTUNITY.activities), *scores(found, OPPORTUNITY.activities, [NULL])]
        np.testing.assert_allclose(given, expected, atol=1e-12)


def _put(found, where, value):
    found[where] = value
    return found
