"""RealWorld: a generated miniature, archives in archives, opened, cut and run; its scores by definition."""

import io
import zipfile

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from plait.analysis.benchmark import benchmark
from plait.clips import stored, survey
from plait.datasets.realworld import ACTIVITIES, PLACES, REALWORLD, REALWORLD_ACCELERATION, whole
from plait.datasets.worn import together
from plait.errors import DataError, PlaitWarning
from plait.recogniser.windows import whole_recordings
from tests.datasets.worn_worlds import G, guesses, motion, ran, scores

UP = np.array([0, 0, 1])
START_MS = 1_435_993_000_000
PREFIX = {"acc": "acc", "gyr": "Gyroscope"}


def table(activity, place, sensor, seed=0, seconds=4.3, later_ms=0):
    """A table: every device starts a little later than the one before."""
    at_s = np.arange(round(seconds * 50)) / 50
    code = np.full(len(at_s), [*ACTIVITIES].index(activity) + 8 * seed)
    felt = motion(at_s, code, PLACES.index(place) + 9 * (sensor == "gyr"))
    values = np.round(G * (felt + UP) if sensor == "acc" else 3 * felt, 4)
    values += np.random.default_rng([seed, later_ms, code[0]]).normal(0, 0.01, values.shape).round(4)
    stamps = START_MS + later_ms + np.round(at_s * 1000).astype(int) + 20 * PLACES.index(place)
    frame = pl.DataFrame({"id": np.arange(len(at_s)) + 1, "attr_time": stamps})
    frame = frame.with_columns(**{f"attr_{axis}": values[:, i] for i, axis in enumerate("xyz")})
    return frame.write_csv().encode()


def packed(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inner in members.items():
            archive.writestr(name, inner)
    return content.getvalue()


def tables(activity, sensor, infix="", seed=0, later_ms=0, without=()):
    """The members of an archive, the authors' note among them."""
    named = {
        place: f"{PREFIX[sensor]}_{activity}{infix}_{place}.csv" for place in PLACES if place not in without
    }
    found = {name: table(activity, place, sensor, seed, later_ms=later_ms) for place, name in named.items()}
    return {**found, "readMe": b"> entries: 215"}


def person(number, seed, lacking=(), places=PLACES):
    """The archives of a person; the fourth climbed in three parts and has but a second part of walking."""
    found = {"data/mag_walking_csv.zip": packed({"MagneticField_walking_chest.csv": b""})}
    found["data/acc_walking_sqlite.zip"] = b"no archive that is read"
    for activity in ACTIVITIES:
        for sensor in PREFIX:
            without = [place for act, place in lacking if act == activity]
            without += [place for place in PLACES if place not in places]
            infix = "_2" if number == 4 and activity == "walking" else ""
            members = tables(activity, sensor, infix, seed, without=without)
            if number == 4 and activity.startswith("climbing"):
                members = {}
                for part in (1, 2, 3):
                    inner = f"_{part}" if part > 1 or sensor == "acc" else ""
                    infix = f"_{part}" if part > 1 else ""
                    of_part = tables(activity, sensor, infix, seed, 60_000 * part, without)
                    members[f"{sensor}_{activity}{inner}_csv.zip"] = packed(of_part)
            found[f"data/{sensor}_{activity}_csv.zip"] = packed(members)
    return {f"proband{number}/{name}": content for name, content in found.items()}


def put(files, folder):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def three(places=("forearm", "waist")):
    lacking = [("climbingup", "forearm")]
    people = person(1, 0, places=places), person(2, 1, lacking, places), person(4, 2, places=places)
    return people[0] | people[1] | people[2]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))


def test_parts_in_archives_in_archives_are_recordings(tmp_path):
    data = put(files := three(), tmp_path / "realworld2016_dataset")
    found = {recording.name: recording for recording in whole(data)}
    climbs = [f"4-{way}{part}" for way in ("climbingdown", "climbingup") for part in ("", "-2", "-3")]
    assert [name for name in found if name.startswith("4-climb")] == climbs
    assert "4-walking-2" in found and "4-walking" not in found and len(found) == 8 + 8 + 12
    assert {found["4-climbingup-3"].subject, found["4-climbingup-3"].session} == {"4", "4-climbingup-3"}
    assert len(found["1-lying"].streams) == 4
    assert not {"forearm-acc", "forearm-gyr"} & {*found["2-climbingup"].streams}
    [label] = found["1-lying"].spans
    assert label.activity == "lying" and label.start_s == pytest.approx(0.1)
    assert label.stop_s == pytest.approx(4.28)
    stream = found["4-climbingup-2"].streams["waist-gyr"]
    np.testing.assert_allclose(
        stream.log.values, _values(table("climbingup", "waist", "gyr", 2, later_ms=120_000)), atol=1e-4
    )
    keys = {name: recording.content([*recording.streams]) for name, recording in found.items()}
    inner = {f"realworld2016_dataset/{name}": content for name, content in files.items()}
    for other in (
        put({"whole.zip": packed(files)}, tmp_path / "zipped"),
        put({"whole.zip": packed(inner)}, tmp_path / "named") / "whole.zip",
        put(_unpacked(files), tmp_path / "unpacked"),
    ):
        again = {recording.name: recording.content([*recording.streams]) for recording in whole(other)}
        assert again == keys


def test_clips_are_seconds_of_every_placement_with_its_gyroscope_or_without(tmp_path):
    data = put(person(1, 0), tmp_path / "data")
    cuts = survey(REALWORLD, data, [*PLACES], missing="refuse").cuts
    assert len(cuts) == 8 * 4 and {clip.activity for _, clip in cuts} == {*ACTIVITIES.values()}
    clips = stored(REALWORLD, cuts, ["thigh"])
    assert clips.shapes == {"thigh": (50, 6)}
    number = next(row for row, (_, clip) in enumerate(cuts) if clip.recording == "1-running")
    start_s = cuts[number][1].start_s
    rows = np.round((start_s - 0.08) * 50).astype(int) + np.arange(50)
    given = clips.batch(["thigh"], np.array([number]))["thigh"][0]
    np.testing.assert_allclose(given[:, :3], _values(table("running", "thigh", "acc"))[rows] / G, atol=0.05)
    np.testing.assert_allclose(given[:, 3:], _values(table("running", "thigh", "gyr"))[rows], atol=0.15)
    felt = survey(REALWORLD_ACCELERATION, data, ["thigh"]).cuts
    assert stored(REALWORLD_ACCELERATION, felt, ["thigh"]).shapes == {"thigh": (50, 3)}
    labels = {recording.name: recording.spans for recording in whole_recordings(REALWORLD, data)}
    assert len(labels) == 8 and all(len(spans) == 1 for spans in labels.values())


def test_a_clock_of_another_day_is_left_out_and_said(tmp_path):
    members = tables("lying", "acc") | {
        "acc_lying_head.csv": table("lying", "head", "acc", later_ms=9_000_000)
    }
    data = put({"proband1/data/acc_lying_csv.zip": packed(members)}, tmp_path)
    with pytest.warns(
        PlaitWarning, match=r"acc_lying_head\.csv: its clock does not meet those of the others"
    ):
        [recording] = whole(data)
    assert "head-acc" not in recording.streams and len(recording.streams) == 6


@pytest.mark.parametrize(
    ("place", "sensor"), [("waist", "acc"), ("chest", "gyr")], ids=["two places", "two sensors"]
)
def test_of_two_clocks_that_do_not_meet_one_is_left_out_and_said(tmp_path, place, sensor):
    name = f"{PREFIX[sensor]}_lying_{place}.csv"
    other = packed({name: table("lying", place, sensor, later_ms=9_000_000)})
    mine = packed({"acc_lying_chest.csv": table("lying", "chest", "acc")})
    data = put({"proband1/a/acc_lying_csv.zip": mine, f"proband1/b/{sensor}_lying_csv.zip": other}, tmp_path)
    with pytest.warns(PlaitWarning, match=f"{name}: its clock does not meet those of the others"):
        [recording] = whole(data)
    assert [*recording.streams] == ["chest-acc"]
    [label] = recording.spans
    assert (label.start_s, label.stop_s) == (0, pytest.approx(4.28))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=5))
def test_the_stretch_of_most_readings_is_found(devices):
    ends = [(float(start), float(start + lasts)) for start, lasts in devices]
    start_s, stop_s = together(ends)

    def read(start, stop):  # by trying all, second by second
        return sum(stop - start for a, b in ends if a <= start and stop <= b)

    best = max(read(start, stop) for start in range(18) for stop in range(start, 19))
    assert read(start_s, stop_s) == best > 0


def test_lines_out_of_order_and_a_last_line_that_is_cut_off_are_said(tmp_path):
    def back(lines):  # the clock is set back by a second
        early = [line.split(",") for line in lines[100:]]
        return [*lines[:100], *(",".join([n, str(int(ms) - 1010), *xyz]) for n, ms, *xyz in early)]

    name = "proband1/data/acc_lying_csv.zip"
    data = put({name: packed({"acc_lying_chest.csv": _changed("acc", back)})}, tmp_path / "back")
    with pytest.warns(PlaitWarning, match=r"1 lines before the line above, by up to 0\.99 s: put in order"):
        [recording] = whole(data)
    assert recording.spans[0].stop_s == pytest.approx(3.27)
    cut = table("lying", "chest", "acc")[:-4]  # amid a number
    data = put({"proband1/data/acc_lying_csv/acc_lying_chest.csv": cut}, tmp_path / "cut")
    with pytest.warns(PlaitWarning, match="its last line has no end, as if it were cut off: left out"):
        [recording] = whole(data)
    assert len(recording.streams["chest-acc"].times) == 214


def test_archives_of_a_person_are_found_wherever_they_lie_and_people_by_their_number(tmp_path):
    acc = packed({"acc_lying_chest.csv": table("lying", "chest", "acc")})
    gyr = packed({"Gyroscope_lying_chest.csv": table("lying", "chest", "gyr")})
    inside = {"data/acc_lying_csv.zip": acc, "data/gyr_lying_csv.zip": gyr}
    for number, files in enumerate(
        (
            {"raw/proband1.zip": packed(inside)},
            {"all.zip": packed({"proband1.zip": packed(inside)})},
            {"proband1/acc_lying_csv.zip": acc, "Proband01/gyr_lying_csv.zip": gyr},
        )
    ):
        [recording] = whole(put(files, tmp_path / str(number)))
        assert (recording.name, recording.subject) == ("1-lying", "1") and len(recording.streams) == 2
    odd = packed({"acc_lying_2_chest.csv": table("lying", "chest", "acc")})
    files = {"proband1/acc_lying_csv.zip": odd, "proband1/gyr_lying_csv.zip": gyr}
    with pytest.warns(PlaitWarning, match="person 1, lying, part 1: turning without acceleration"):
        assert len(list(whole(put(files, tmp_path / "odd")))) == 2


def _at(line, more):
    """A line whose time has more digits."""
    number, ms, *xyz = line.split(",")
    return ",".join([number, ms + more, *xyz])


def _felt(line, times):
    """A line with so many times what was felt."""
    number, ms, *xyz = line.split(",")
    return ",".join([number, ms, *(str(float(value) * times) for value in xyz)])


def _changed(sensor, change):
    lines = table("lying", "chest", sensor).decode().splitlines()
    return "\n".join([*change(lines), ""]).encode()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("acc_lying_chest.csv", _changed("acc", lambda ls: [ls[0].replace("attr_x", "x"), *ls[1:]]),
         "no column 'attr_x', expected attr_time, attr_x"),
        ("acc_lying_chest.csv", _changed("acc", lambda ls: [ls[0], *(_felt(line, 1 / G) for line in ls[1:])]),
         "accelerations of 1.* expected about 9.8"),
        ("acc_lying_chest.csv", _changed("acc", lambda ls: [ls[0], *(_felt(line, 1e3) for line in ls[1:])]),
         "accelerations of 1.*e.04 in the median, expected about 9.8"),
        ("acc_lying_chest.csv", _changed("acc", lambda ls: [ls[0], *(_at(line, "0" * 6) for line in ls[1:])]),
         "5e-05 readings a second, expected about 50"),
        ("acc_lying_chest.csv", _changed("acc", lambda ls: [line.replace(",", ";") for line in ls]),
         "no column 'attr_time', expected"),
        ("acc_lying_chest.csv", _changed("acc", lambda ls: [ls[0], *ls[1::5]]),
         "10 readings a second, expected about 50"),
        ("acc_lying_chest.csv", _changed("acc", lambda ls: ls[:2]), "1 lines, expected two readings or more"),
        ("acc_lying_knee.csv", b"", "a table of another name, expected one such as acc_walking_chest.csv"),
        ("acc_flying_chest.csv", b"", "a table of another name"),
        ("Barometer_lying_chest.csv", b"", "a table of another name"),
    ],
)  # fmt: skip
def test_what_is_not_realworld_ends_in_a_line(tmp_path, name, content, said):
    data = put({"proband1/data/acc_lying_csv.zip": packed({name: content})}, tmp_path)
    with pytest.raises(DataError, match=said):
        list(whole(data))


def test_degrees_are_no_radians(tmp_path):
    members = {
        "acc_lying_csv.zip": tables("lying", "acc"),
        "gyr_lying_csv.zip": {
            "Gyroscope_lying_chest.csv": _changed(
                "gyr", lambda ls: [ls[0], *(f"{line}e3" for line in ls[1:])]
            )
        },
    }
    data = put({f"proband1/{name}": packed(inner) for name, inner in members.items()}, tmp_path)
    with pytest.raises(DataError, match="rad/s, not degrees"):
        list(whole(data))


def test_who_jumps_feels_half_of_gravity_and_is_no_other_unit(tmp_path):
    lines = _changed("acc", lambda ls: [ls[0], *(_felt(line, 0.45) for line in ls[1:])])
    data = put({"proband1/acc_lying_csv.zip": packed({"acc_lying_chest.csv": lines})}, tmp_path)
    assert len(list(whole(data))) == 1


def test_archives_that_are_none_of_nobody_doubled_or_swollen_end_in_a_line(tmp_path):
    one = packed(tables("lying", "acc"))
    inner = {"acc_lying_1_csv.zip": packed({"acc_lying_chest.csv": b"a"}), "acc_lying_chest.csv": b"b"}
    for number, (files, said) in enumerate(
        [
            ({}, "no table of RealWorld, expected proband1/data"),
            ({"proband1/data/acc_lying_csv.zip": b"no archive"}, r"expected a \.zip archive"),
            ({"data/acc_lying_csv.zip": one}, "of nobody, expected it in a folder such as proband1"),
            ({"proband1/data/acc_lying_csv.zip": packed(inner)}, "the same table as"),
        ]
    ):
        (folder := tmp_path / str(number)).mkdir()
        with pytest.raises(DataError, match=said):
            list(whole(put(files, folder)))
    with pytest.raises(DataError, match="no such file or folder"):
        list(whole(tmp_path / "nowhere"))
    said = _changed("acc", lambda ls: [*ls[:7], "7,1435993000120,,1,1", *ls[8:]])
    data = put({"proband1/data/acc_lying_csv.zip": packed({"acc_lying_chest.csv": said})}, tmp_path / "hole")
    with pytest.warns(PlaitWarning, match="1 lines, the first 8, without a time and three numbers: left out"):
        [recording] = whole(data)
    assert len(recording.streams["chest-acc"].times) == 214


def test_one_person_after_the_other_is_tested_beside_what_was_published(tmp_path):
    data = put(three(), tmp_path / "data")
    predictions, table = ran("realworld.toml", data, tmp_path / "run", ["forearm", "waist"])
    assert set(predictions["fold"]) == {"1", "2", "4"}
    predictions = predictions.filter(pl.col("method") == "forearm")
    unseen = predictions.filter((pl.col("subject") == "2") & (pl.col("activity") == "climbing up"))
    assert unseen.height == 4 and set(unseen["predicted"]) == {""}  # without a forearm, and counted
    ours = table.filter(pl.col("source").is_null() & (pl.col("model") == "forearm"))
    each = [scores(part, REALWORLD.activities)[0] for part in predictions.partition_by("subject")]
    assert ours["metric"][0] == "macro F1 of a person"
    assert ours["value"][0] == pytest.approx(np.mean(each)) and ours["value"][1] == pytest.approx(
        scores(predictions, REALWORLD.activities)[0]
    )
    published = table.filter(pl.col("source").is_not_null())
    assert published.select("metric", "value").rows() == [("macro F1 of a person", 0.7438)]


def test_scores_are_as_defined_on_random_labels():
    found = guesses(list(REALWORLD.activities), ["1", "2", "3"])
    given = benchmark(REALWORLD, found).filter(pl.col("source").is_null())["value"].to_numpy()
    each = [scores(part, REALWORLD.activities)[0] for part in found.partition_by("subject")]
    shares = [(part["activity"] == part["predicted"]).mean() for part in found.partition_by("fold")]
    expected = [np.mean(each), scores(found, REALWORLD.activities)[0], np.mean(shares)]
    np.testing.assert_allclose(given, expected, atol=1e-12)


def _values(content):
    return pl.read_csv(content).select("attr_x", "attr_y", "attr_z").to_numpy()


def _unpacked(files):
    """Archives as folders of the same name, as some tools unpack them."""
    found = {}
    for name, content in files.items():
        if not name.endswith("_csv.zip"):
            continue
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        found |= _unpacked(
            {f"{name.removesuffix('.zip')}/{member}": inner for member, inner in members.items()}
        )
        found |= {
            f"{name.removesuffix('.zip')}/{m}": inner for m, inner in members.items() if m.endswith(".csv")
        }
    return found
