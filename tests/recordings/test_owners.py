"""Whose labels they are: rows about other recordings never become labels."""

import json
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import DataError
from plait.recordings.annotations import Footage, LabelSettings, way_out
from plait.recordings.labels import read_labels
from plait.recordings.owners import key, own

HERE = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
STEM = st.text("abÄöé1 _.-手", min_size=1, max_size=4).filter(
    lambda stem: stem.strip(" .") == stem and stem[0] != "-"
)


def about(video, *names, seconds=100.0, fps=10):
    times = np.arange(round(seconds * fps)) / fps
    return Footage(video, names, times, float(times[-1]))


def table(folder, rows, head="video,start,stop,activity"):
    file = folder / "labels.csv"
    file.write_text(
        "\n".join([head, *(",".join(str(cell) for cell in row) for row in rows)]), encoding="utf-8"
    )
    return file


def seen(file, footage, **said):
    return [tuple(span) for span in map(vars_of, read_labels(file, LabelSettings(**said), footage).spans)]


def vars_of(span):
    return span.activity, span.start_s, span.stop_s


SPELLINGS = (
    lambda stem: f"{stem}.mp4",
    lambda stem: stem,
    lambda stem: f"/data/2024/{stem}.mp4",
    lambda stem: f"D:\\films\\{stem}.MP4",
    lambda stem: unicodedata.normalize("NFD", stem) + ".mp4",
    lambda stem: stem.upper() + ".mp4" if key(stem.upper()) == key(stem) else f"{stem}.mp4",
)


@HERE
@given(
    stems=st.lists(STEM, min_size=1, max_size=4, unique_by=key),
    spelt=st.lists(st.integers(0, len(SPELLINGS) - 1), min_size=4, max_size=4),
    owners=st.lists(st.integers(0, 3), min_size=1, max_size=12),
)
def test_every_video_gets_its_own_rows_and_no_other(tmp_path, stems, spelt, owners):
    owners = [owner % len(stems) for owner in owners]
    names = [SPELLINGS[how](stem) for how, stem in zip(spelt, stems, strict=False)]
    rows = [(names[owner], 2 * i, 2 * i + 1, f"of {owner}") for i, owner in enumerate(owners)]
    file = table(tmp_path, rows)
    for number, stem in enumerate(stems):
        mine = [(f"of {number}", 2.0 * i, 2.0 * i + 1) for i, owner in enumerate(owners) if owner == number]
        if mine:
            assert seen(file, about(f"{stem}.mp4", "somewhere", "somebody")) == mine
        else:
            with pytest.raises(
                DataError, match="column 'video' says .* expected one that names this recording"
            ):
                read_labels(file, None, about(f"{stem}.mp4", "somewhere", "somebody"))


@HERE
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), min_size=1, max_size=5),
    st.sampled_from("ab"),
)
def test_directories_tell_equal_file_names_apart_or_it_is_asked(tmp_path, paths, folder):
    values = {f"{above}/{stem}.mp4" for above, stem in paths}
    same = {value for value in values if value.endswith("/a.mp4")}
    if len(same) > 1:
        assert own(values, about("a.mp4", folder), tmp_path, "x") == {f"{folder}/a.mp4"}
        with pytest.raises(DataError, match="may all be 'a.mp4'"):
            own(values, about("a.mp4", "elsewhere"), tmp_path, "x")
    else:
        assert own(values, about("a.mp4", "elsewhere"), tmp_path, "x") == same


ROWS = [("anna.mp4", 1, 5, "press"), ("anna.mp4", 12, 18, "press"), ("ben.mp4", 6, 11, "plug"), ("ben.mp4", 13, 17, "press")]  # fmt: skip  # noqa: E501


def test_one_table_of_several_videos(tmp_path):
    file = table(tmp_path, ROWS)
    found = read_labels(file, None, about("ben.mp4", "session 2"))
    assert [vars_of(span) for span in found.spans] == [("plug", 6.0, 11.0), ("press", 13.0, 17.0)]
    assert "labels.csv: 2 rows are about others and left out" in found.told
    with pytest.raises(
        DataError, match="says 'anna.mp4', 'ben.mp4', expected one that names this recording .'carl.mp4'"
    ):
        read_labels(file, None, about("carl.mp4", "session 2"))
    with pytest.raises(DataError, match="column 'video' says 'anna.mp4', 'ben.mp4'"):
        read_labels(file)
    assert len(seen(file, about("carl.mp4"), labels_of=("Ben.mp4",))) == 2
    with pytest.raises(DataError, match="labels_of is 'dora', expected a video"):
        seen(file, about("ben.mp4"), labels_of=("dora",))


def test_people_sessions_and_raters_tell_rows_apart_too(tmp_path):
    rows = [("p1", 0, 2, "a"), ("p2", 1, 3, "b")]
    file = table(tmp_path, rows, "participant,start,stop,activity")
    assert seen(file, about("GOPR1.mp4", "session", "P1")) == [("a", 0.0, 2.0)]
    with pytest.raises(DataError, match="column 'participant' says 'p1', 'p2', expected to know whose"):
        seen(file, about("GOPR1.mp4", "session", "anna"))
    assert seen(file, about("GOPR1.mp4", "session", "anna"), labels_of=("p2",)) == [("b", 1.0, 3.0)]
    one = read_labels(
        table(tmp_path, rows[:1], "subject,start,stop,activity"), None, about("x.mp4", "session", "anna")
    )
    assert any("column 'subject' says 'p1', which is not looked at" in line for line in one.told)
    both = table(tmp_path, [("m.mp4", *row) for row in rows], "file,coder,start,stop,activity")
    with pytest.raises(DataError, match="column 'coder' says"):
        seen(both, about("m.mp4"))
    assert seen(both, about("m.mp4"), labels_of=("p1",)) == [("a", 0.0, 2.0)]
    with pytest.raises(DataError, match="column 'coder' says"):
        seen(both, about("renamed.mp4"), labels_of=("m.mp4",))
    assert seen(both, about("renamed.mp4"), labels_of=("m.mp4", "p2")) == [("b", 1.0, 3.0)]
    apart = table(tmp_path, [("p1", 0, 2, "a"), ("p2", 3, 4, "b")], "person,start,stop,activity")
    assert len(seen(apart, about("m.mp4"), labels_of=("*",))) == 2


def test_a_row_without_a_name_among_named_ones_is_refused(tmp_path):
    with pytest.raises(DataError, match="line 3: column 'video' is empty"):
        seen(table(tmp_path, [ROWS[0], ("", 6, 7, "x")]), about("anna.mp4"))


def test_trials_with_clocks_of_their_own_are_refused(tmp_path):
    head = "trial,start,stop,activity"
    with pytest.raises(DataError, match="column 'trial': the labels of '1', '2' overlap in time"):
        seen(table(tmp_path, [(1, 0, 5, "a"), (1, 6, 7, "a"), (2, 0.5, 5, "a")], head), about("m.mp4"))
    assert len(seen(table(tmp_path, [(1, 0, 5, "a"), (2, 6, 7, "a")], head), about("m.mp4"))) == 2


def test_an_entry_of_a_json_file_is_chosen_by_the_video_s_name(tmp_path):
    file = tmp_path / "gt.json"
    entry = {name: {"annotations": [{"label": name, "segment": [0, 1]}]} for name in ("sbj_0", "sbj_1")}
    file.write_text(json.dumps({"database": entry}))
    assert seen(file, about("SBJ_1.mov", "x")) == [("sbj_1", 0.0, 1.0)]
    with pytest.raises(
        DataError, match="the file says 'sbj_0', 'sbj_1', expected one that names this recording"
    ):
        seen(file, about("other.mov", "x"))


@pytest.mark.parametrize(
    ("head", "rows", "column"),
    [
        ("name,start,end,action", [("anna", 1, 5, "press"), ("anna", 6, 12, "plug")], "action"),
        ("label_id,start,end,label", [(0, 1, 5, "press"), (1, 6, 12, "plug")], "label"),
        ("class,start,end,label", [("hand", 1, 5, "press"), ("hand", 6, 12, "plug")], "label"),
        ("activity,label,start,end", [("press", "x", 1, 5), ("plug", "y", 6, 12)], "activity"),
        ("name,start,end,comment", [("press", 1, 5, ""), ("plug", 6, 12, "late")], "name"),
        ("Behaviour,startTime,stopTime,notes", [("press", 1, 5, "a"), ("plug", 6, 12, "b")], "Behaviour"),
    ],
)
def test_the_column_of_activities_is_chosen_and_told(tmp_path, head, rows, column):
    found = read_labels(table(tmp_path, rows, head), None, about("m.mp4"))
    assert [span.activity for span in found.spans] == ["press", "plug"]
    assert found.settings.activity_column == column
    assert any(f"activities in {column!r}, not" in line for line in found.told)


@pytest.mark.parametrize(
    ("head", "rows", "shown"),
    [
        ("verb,noun,start,end", [("cut", "leek", 1, 5), ("cut", "egg", 6, 12)], "'verb' .*'noun'|'noun'"),
        ("activity,action,start,end", [("build", "press", 1, 5), ("build", "plug", 6, 12)], "'activity' .'build'.; 'action'"),  # noqa: E501
        ("name,start,end,wer", [("a", 1, 5, "x"), ("b", 6, 12, "x"), ("b", 13, 14, "y")], "'name' .*'wer'"),
    ],
)  # fmt: skip
def test_where_several_columns_may_be_it_it_is_asked(tmp_path, head, rows, shown):
    file = table(tmp_path, rows, head)
    if head.startswith("verb"):
        assert read_labels(file).settings.activity_column == "noun"  # `verb` is the same throughout
        file = table(tmp_path, [*rows, ("peel", "egg", 13, 14)], head)
    with pytest.raises(DataError, match="several columns may be the activity") as error:
        read_labels(file)
    assert "--set activity_column=" in str(error.value)
    last = head.split(",")[-1] if head.startswith("name") else head.split(",")[1]
    assert read_labels(file, LabelSettings(activity_column=last)).settings.activity_column == last


@pytest.mark.parametrize("head", ["name", "ID", "VP", "sample", "clip of", "which"])
@pytest.mark.parametrize("spelt", ["{}", "{}.mp4", "D:\\films\\{}.MP4"])
@settings(HERE, max_examples=20)  # of 18 columns
@given(owners=st.lists(st.integers(0, 2), min_size=2, max_size=9).filter(lambda owners: len(set(owners)) > 1))
def test_a_column_of_any_name_that_names_recordings_tells_rows_apart(tmp_path, head, spelt, owners):
    stems = ("s1", "s10", "S11")
    rows = [
        (spelt.format(stems[owner]), 2 * i, 2 * i + 1, f"of {owner % 2}") for i, owner in enumerate(owners)
    ]
    file = table(tmp_path, rows, f"{head},start,stop,activity")
    for number in {*owners} if len(owners) > len({*owners}) or len(owners) < 4 else ():
        mine = [
            (f"of {number % 2}", 2.0 * i, 2.0 * i + 1) for i, owner in enumerate(owners) if owner == number
        ]
        assert seen(file, about(f"{stems[number]}.mp4", "session", "anna")) == mine
    if spelt != "{}":  # names of files are somebody's
        with pytest.raises(DataError, match="expected one that names this recording"):
            seen(file, about("s2.mp4", "session", "anna"))


@pytest.mark.parametrize("head", ["labeler", "annotated_by", "pass", "who"])
@HERE
@given(late=st.floats(-0.9, 0.9), count=st.integers(2, 6))
def test_two_accounts_of_one_time_are_asked_about(tmp_path, head, late, count):
    mine = [("A", 4 * i, 4 * i + 2, "ab"[i % 2]) for i in range(1, count)]
    theirs = [("B", start + late, stop + late, what) for _, start, stop, what in mine]
    file = table(tmp_path, [*mine, *theirs, ("B", 50, 51, "a")], f"{head},start,stop,activity")
    with pytest.raises(
        DataError, match="say the same at one time, expected one account of it; .*labels_of=A"
    ):
        seen(file, about("m.mp4"))
    assert seen(file, about("m.mp4"), labels_of=("A",)) == [
        (what, float(a), float(b)) for _, a, b, what in mine
    ]
    assert len(seen(file, about("m.mp4"), labels_of=("*",))) == count


def test_both_hands_now_and_then_at_one_time_are_one_activity(tmp_path):
    rows = [("left", 1, 3, "press"), ("right", 2, 4, "press"), ("left", 5, 6, "plug"), ("left", 7, 8, "a"), ("right", 9, 10, "b")]  # fmt: skip  # noqa: E501
    assert len(seen(table(tmp_path, rows, "hand,start,stop,activity"), about("m.mp4"))) == 4


def test_what_lies_in_somebody_else_s_folder_is_not_this_recording_s(tmp_path):
    file = table(tmp_path, [("ben/GX01.mp4", 1, 2, "press"), ("anna/GX02.mp4", 3, 4, "plug")])
    with pytest.raises(DataError, match="expected one that names this recording"):
        seen(file, about("GX01.mp4", "session", "anna"))
    assert seen(file, about("GX02.mp4", "session", "anna")) == [("plug", 3.0, 4.0)]
    assert seen(file, about("GX01.mp4", "ben")) == [("press", 1.0, 2.0)]


def test_videos_in_one_cell_are_seen_together_or_one_after_another(tmp_path):
    head, row = "Source,Behavior,Start (s),Stop (s)", ("press", 30, 31)
    together = table(tmp_path, [("player #1:a.mp4|player #2:b.mp4", *row)], head)
    for video in ("a.mp4", "b.mp4"):
        assert seen(together, about(video)) == [("press", 30.0, 31.0)]
    with pytest.raises(DataError, match="expected one that names this recording"):
        seen(together, about("c.mp4"))
    after = table(tmp_path, [("player #1:a.mp4;b.mp4", *row)], head)
    with pytest.raises(DataError, match="has this video after others, on one clock"):
        seen(after, about("b.mp4"))
    assert seen(after, about("b.mp4"), labels_of=("*",), label_zero="20") == [("press", 10.0, 11.0)]


def test_numbers_that_tell_groups_of_rows_apart_are_said(tmp_path):
    rows = [(day, 2 * i, 2 * i + 1, "ab"[i % 2]) for i, day in enumerate("1122")]
    told = read_labels(table(tmp_path, rows, "day,start,stop,activity"), None, about("m.mp4")).told
    assert [line.partition("column ")[2] for line in told[1:]] == [
        "'day' says '1', '2' and is not looked at: are all rows of this recording?"
    ]


def test_many_labels_are_compared_in_no_time(tmp_path):
    rows = [(i % 3, i, i + 1, "ab"[i % 2]) for i in range(20_000)]
    start_s = time.process_time()
    assert len(seen(table(tmp_path, rows, "pass,start,stop,activity"), None)) == 20_000
    assert time.process_time() - start_s < 10


@pytest.mark.parametrize(
    "spelt", ["\u200bs1.mp4", "\uff531.mp4", "S01.MP4", "s-1", "\u04551.mov", "clips/s1\u00ad.mp4"]
)
def test_what_looks_like_this_recording_is_the_way_out(tmp_path, spelt):
    file = table(tmp_path, [("s10.mp4", 1, 2, "a"), (spelt, 3, 4, "b"), ("zz.mp4", 5, 6, "a")])
    with pytest.raises(DataError, match="expected one that names this recording") as said:
        seen(file, about("s1.mp4"))
    assert way_out("labels_of", spelt) in str(said.value)
    assert seen(file, about("s1.mp4"), labels_of=(spelt,)) == [("b", 3.0, 4.0)]
