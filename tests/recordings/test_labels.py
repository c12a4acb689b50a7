import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import DataError, PlaitError
from plait.recordings.annotations import Footage, LabelSettings
from plait.recordings.labels import read_labels
from plait.types import Span

SPANS = (Span(1.5, 4.0, "drill"), Span(4.0, 3661.25, "hand saw"))


def written(folder, text, name="labels.csv"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def eaf(tiers, slots=None, head=""):
    """An ELAN file with `{tier: [(start_ms, stop_ms, label)]}`."""
    order, body, number = [], [], 0
    for tier, labels in tiers.items():
        body.append(f'<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="{tier}">')
        for label in labels:
            number += 1
            for end in (0, 1):
                value = "" if label[end] is None else f' TIME_VALUE="{label[end]}"'
                order.append(f'<TIME_SLOT TIME_SLOT_ID="ts{2 * number + end}"{value}/>')
            body.append(
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" '
                f'TIME_SLOT_REF1="ts{2 * number}" '
                f'TIME_SLOT_REF2="ts{2 * number + 1}"><ANNOTATION_VALUE>{label[2]}</ANNOTATION_VALUE>'
                "</ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        body.append("</TIER>")
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}'
        '<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+00:00" '
        'FORMAT="3.0" VERSION="3.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">'
        '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"/>'
        f"<TIME_ORDER>{''.join(order)}</TIME_ORDER>{''.join(body)}"
        '<LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>'
        "</ANNOTATION_DOCUMENT>"
    )


LABELS = [(4000, 3661250, "hand saw"), (1500, 4000, " drill ")]


def thumos(**videos):
    entry = {name: {"subset": "x", "fps": 60, "annotations": labels} for name, labels in videos.items()}
    return json.dumps({"database": entry})


@pytest.mark.parametrize(
    "text",
    [
        "start_s,stop_s,activity\n1.5,4,drill\n4,3661.25,hand saw\n",
        "Label,Start,End\nhand saw,4,3661.25\ndrill,1.5,4\n",
        "\ufeffonset;duration;class;\r\n1,5;2,5;drill;\r\n\r\n4;3657,25;hand saw;\r\n;;;\r\n",
        "name\tbegin\toffset\n drill \t00:00:01.500\t0:4\nhand  saw\t00:00:04\t01:01:01.25\n",
        'Begin Time,End Time,Label,name\n1.5,4,"drill",me\n4,3661.25,"hand saw",me\n',
        "start (s),stop (s),duration (s),label\n1.5,4,2.5,drill\n4,3661.25,9,hand saw\n",
    ],
)
def test_tables(tmp_path, text):
    assert read_labels(written(tmp_path, text)).spans == SPANS


def test_elan(tmp_path):
    file = written(tmp_path, eaf({"default": [], "left hand": LABELS}), "a.eaf")
    assert read_labels(file).spans == SPANS
    file = written(tmp_path, eaf({"default": [(0, 1, "x")], "left hand": LABELS}), "b.eaf")
    assert read_labels(file, LabelSettings(tier="left hand")).spans == SPANS


def test_thumos_json(tmp_path):
    labels = [{"label": s.activity, "segment": [s.start_s, s.stop_s], "label_id": 1} for s in reversed(SPANS)]
    assert read_labels(written(tmp_path, thumos(sbj_0=labels), "a.json")).spans == SPANS
    file = written(tmp_path, thumos(sbj_0=labels[:1], sbj_1=labels), "b.json")
    assert read_labels(file, LabelSettings(labels_of=("sbj_1",))).spans == SPANS


def test_overlaps_of_one_activity_are_one_span(tmp_path):
    text = "start,duration,label\n0,2,a\n1,0.5,a\n1.5,2,a\n3.5,1,a\n4.5,1,b\n"
    assert read_labels(written(tmp_path, text)).spans == (
        Span(0, 3.5, "a"),
        Span(3.5, 4.5, "a"),
        Span(4.5, 5.5, "b"),
    )
    tenths = "start,duration,label\n0.1,0.2,a\n0.3,1,b\n"
    assert len(read_labels(written(tmp_path, tenths)).spans) == 2


LAUGHS = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
ONE = {"label": "a", "segment": [0, 1]}
BAD = [
    ("csv", "", "empty"),
    ("csv", "start,stop,label\n", "no rows"),
    ("csv", "start,stop,label\n,,\n", "no labels"),
    ("csv", "when,stop,label\n0,1,a\n", "no column for the start, expected one of: start, begin, onset"),
    ("csv", "start,x,label\n0,1,a\n", "no column for the stop"),
    ("csv", "start,stop,x\n0,1,a\n", "there are: 'start', 'stop', 'x'"),
    (
        "csv",
        "start,stop,label\n0,1,a\n\nnoon,2,b\n",
        "line 4: 'noon', expected a time in seconds or as hh:mm:ss.mmm",
    ),
    ("csv", "start,stop,label\n0,00:99:00,a\n", "line 2: '00:99:00', expected a time"),
    ("csv", "start,stop,label\n0,,a\n", "line 2: '', expected a time"),
    ("csv", "start,stop,label\n0,1, \n", "line 2: the activity is empty"),
    ("csv", "start,stop,label\n2,1,a\n", "line 2: 'a' is from 2.0 s to 1.0 s"),
    ("csv", "start,stop,label\n-1,1,a\n", "line 2: 'a' is from -1.0 s"),
    (
        "csv",
        "start,stop,label\n0,3,a\n5,6,b\n2,4,b\n",
        "line 4: 'b' starts at 2.0 s, expected it not before 'a' (line 2)",
    ),
    (
        "csv",
        "start,stop,label\n0,9,a\n1,2,a\n5,6,b\n",
        "line 4: 'b' starts at 5.0 s, expected it not before 'a' (line 2)",
    ),
    ("docx", "start,stop,label\n0,3,a\n", "expected to be one of .csv, .tsv, .txt, .eaf or .json"),
    ("eaf", "hello", "expected ELAN's .eaf"),
    ("eaf", "<a/>", "expected ELAN's .eaf: KeyError"),
    (
        "eaf",
        eaf({"a": LABELS, "b": LABELS}),
        "several tiers hold labels, expected one of: 'a' ('hand saw', 'drill'), 'b'",
    ),
    ("eaf", eaf({"a": []}), "no tier holds labels"),
    ("eaf", eaf({"a": [(0, None, "x")]}), "annotation 'a1': no time for its start or stop"),
    ("eaf", eaf({"a": [(0, 100, "")]}), "annotation 'a1': the activity is empty"),
    ("eaf", eaf({"a": [(300, 100, "x")]}), "annotation 'a1': 'x' is from 0.3 s to 0.1 s"),
    ("eaf", eaf({"a": [(0, 100, "&b;")]}, head=LAUGHS), "holds a DOCTYPE"),
    ("eaf", eaf({"a": LABELS}, head=LAUGHS).replace("UTF-8", "UTF-16").encode("utf-16"), "holds a DOCTYPE"),
    ("json", "{", "expected JSON"),
    ("json", "[" * 100_000, "expected JSON"),
    ("json", "[]", "the file: no 'database', expected an object there"),
    ("json", thumos(), "holds 0 videos"),
    ("json", thumos(a=[ONE], b=[ONE]), "holds 2 videos and no name was given, expected one of: 'a', 'b'"),
    ("json", '{"database": {"a": {}}}', "video 'a': no 'annotations', expected a list"),
    ("json", thumos(a=[ONE, 3]), "video 'a', annotation 2: no 'segment', expected a list"),
    (
        "json",
        thumos(a=[{**ONE, "segment": [0, "1"]}]),
        "annotation 1: segment is [0, '1'], expected [start, stop]",
    ),
    ("json", thumos(a=[{**ONE, "segment": [0, float("nan")]}]), "annotation 1: segment is [0, nan]"),
    ("json", thumos(a=[{**ONE, "segment": [1, 0]}]), "annotation 1: 'a' is from 1.0 s to 0.0 s"),
    ("json", thumos(a=[{**ONE, "label": 3}]), "annotation 1: no 'label', expected text"),
    ("json", thumos(a=[{**ONE, "label": ""}]), "annotation 1: the activity is empty"),
]


@pytest.mark.parametrize(("suffix", "text", "message"), BAD)
def test_a_bad_file_gets_one_line(tmp_path, suffix, text, message):
    file = written(tmp_path, text, f"labels.{suffix}")
    with pytest.raises(DataError, match=re.escape(message)) as raised:
        read_labels(file)
    assert str(raised.value).startswith(str(file)) and "\n" not in str(raised.value)


def test_a_tier_or_video_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="is called 'c', expected one of: 'a'"):
        read_labels(written(tmp_path, eaf({"a": LABELS}), "a.eaf"), LabelSettings(tier="c"))
    with pytest.raises(DataError, match="holds 1 videos and 'c' is not among them, expected one of: 'a'"):
        read_labels(written(tmp_path, thumos(a=[ONE]), "a.json"), LabelSettings(labels_of=("c",)))


def data_or_error(file, **named):
    try:
        spans = read_labels(file, LabelSettings(**named)).spans
    except PlaitError as error:
        assert "\n" not in str(error)
        return
    assert spans and list(spans) == sorted(spans, key=lambda span: span.start_s)


CELL = st.text("0123456789.,:-aeb \"';", max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["database", "a", "annotations", "segment", "label"]), inner, max_size=3
        )
    ),
)


@given(st.one_of(st.binary(), st.text().map(str.encode)), st.sampled_from(["csv", "eaf", "json"]))
def test_any_bytes_are_data_or_an_error(tmp_path_factory, content, suffix):
    data_or_error(written(tmp_path_factory.getbasetemp(), content, f"bytes.{suffix}"))


@given(st.lists(st.lists(CELL, max_size=4), max_size=6), st.sampled_from([",", ";", "\t"]))
def test_any_cells_are_data_or_an_error(tmp_path_factory, rows, separator):
    text = "\n".join(separator.join(row) for row in [["start", "stop", "label"], *rows])
    data_or_error(written(tmp_path_factory.getbasetemp(), text, "cells.csv"))


@given(
    JSON, st.lists(st.fixed_dictionaries({"label": JSON, "segment": st.lists(JSON, max_size=3)}), max_size=3)
)
def test_any_json_is_data_or_an_error(tmp_path_factory, document, annotations):
    folder = tmp_path_factory.getbasetemp()
    data_or_error(written(folder, json.dumps(document), "any.json"))
    data_or_error(written(folder, json.dumps({"database": {"a": document}}), "any.json"), labels_of=("a",))
    data_or_error(written(folder, thumos(a=annotations), "any.json"))


@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(1, 3), st.text('<>/"=a1& ', max_size=4)), max_size=3
    )
)
def test_any_damaged_elan_file_is_data_or_an_error(tmp_path_factory, changes):
    text = eaf({"a": LABELS})
    for place, length, new in changes:
        place %= len(text)
        text = text[:place] + new + text[place + length :]
    data_or_error(written(tmp_path_factory.getbasetemp(), text, "damaged.eaf"))


TOKEN = st.sampled_from(["ts2", "ts3", "a1", "a2", "", "9" * 5000, "-5", "x", "٣"])


@given(st.lists(st.tuples(st.sampled_from(['"ts2"', '"ts3"', '"a1"', '"4000"', '"a2"']), TOKEN), max_size=3))
def test_any_elan_references_are_data_or_an_error(tmp_path_factory, changes):
    text = eaf({"a": LABELS})
    for old, new in changes:
        text = text.replace(old, f'"{new}"')
    data_or_error(written(tmp_path_factory.getbasetemp(), text, "references.eaf"))


@pytest.mark.parametrize(
    ("rows", "video_s"),
    [("0.5,10,walk\n25.5,58,sit\n", 3600.0), ("0:05,0:30,walk\n1:10,1:55,sit\n", 7200.0)],
)
def test_minutes_beside_a_long_film_are_said(tmp_path, rows, video_s):
    file = tmp_path / "labels.csv"
    file.write_text(f"start,stop,activity\n{rows}", encoding="utf-8")
    told = read_labels(file, None, Footage("cam.mp4", (), np.arange(0, video_s), video_s)).told
    assert any(
        "are their times in s, or minutes or h:mm, which are to be seconds or hh:mm:ss?" in t for t in told
    )
    later = Footage("cam.mp4", (), np.arange(0, video_s / 2), video_s / 2)
    assert not any("are their times" in line for line in read_labels(file, None, later).told)


@pytest.mark.parametrize("word", ["nan", "NA", "None", "#N/A"])
def test_an_activity_called_as_programs_write_an_empty_cell_is_said(tmp_path, word):
    (tmp_path / "labels.csv").write_text(f"start,stop,label\n0,1,a\n1,2,{word}\n2,3,null\n3,4,{word}\n")
    labels = read_labels(tmp_path / "labels.csv")
    assert [span.activity for span in labels.spans] == ["a", word, "null", word]
    assert any(
        f"activities are called {word}, which programs write for an empty cell" in note
        for note in labels.told
    )
