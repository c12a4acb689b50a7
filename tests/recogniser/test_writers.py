"""Segments written as files come back by plait's own readers, by pympi and by the csv module."""

import csv
import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pympi.Elan import Eaf

from plait.errors import DataError
from plait.names import plain
from plait.recogniser.writers import file_stems, write_eaf, write_segments
from plait.recordings.annotations import Footage, LabelSettings
from plait.recordings.labels import read_labels
from plait.recordings.owners import key
from plait.types import Segment, Span

HOSTILE = [
    'a,b;"c"', "=SUM(A1)", "+1", "-", "@x", "'=x", "''-y", "<b>&amp;</b>", "]]>", "\u202eabc", "nan", "NA",
    "1,5", "Stück", "Stu\u0308ck", "拧螺丝", "👩\u200d🔧", "two\nlines", "c\r\nd", "tab\tbed", "\x07bell",
    "a\x00b", "~", "%41",
]  # fmt: skip
ONCE = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
LETTERS = st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co", "Zl", "Zp"))
NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(LETTERS, max_size=12), st.text("=+-@'\" ", max_size=4))
ACTIVITIES = NAMES.filter(plain)  # the readers refuse names of which nothing is left


def in_turn(names):
    """Segments one after the other, at any fraction of a second, with and without gaps."""
    piece = st.tuples(st.sampled_from([0.0, 0.04, 1.23456]), st.floats(0.002, 900), names, st.floats(0, 1))

    def laid(pieces):
        segments, at = [], 0.0
        for gap_s, length_s, name, score in pieces:
            segments.append(Segment(at + gap_s, at + gap_s + length_s, name, score))
            at = segments[-1].stop_s
        return segments

    return st.lists(piece, min_size=1, max_size=6).map(laid)


def compare(found, segments, clean=plain):
    assert [clean(span.activity) for span in found] == [clean(segment.activity) for segment in segments]
    for end in ("start_s", "stop_s"):
        ends = [[getattr(span, end) for span in spans] for spans in (found, segments)]
        np.testing.assert_allclose(*ends, rtol=0, atol=0.501e-3)


def as_xml(text):
    """What is left of a text in XML: letters that it has, and line ends as its readers give them."""
    shown = "".join("\ufffd" if ord(letter) < 32 and letter not in "\t\n\r" else letter for letter in text)
    return shown.replace("\ufffe", "\ufffd").replace("\r\n", "\n").replace("\r", "\n")


@ONCE
@given(segments=in_turn(ACTIVITIES), labels=st.one_of(st.just([]), in_turn(ACTIVITIES)))
def test_elan_s_file_comes_back_by_plait_s_reader_and_by_pympi(tmp_path, segments, labels):
    spans = [Span(*label[:3]) for label in labels]
    write_eaf(tmp_path / "a.eaf", segments[::-1], spans, None)
    for tier, written in (("predicted", segments), ("labelled", spans)):
        if written:
            found = read_labels(tmp_path / "a.eaf", LabelSettings(tier=tier)).spans
            compare(found, written, lambda text: plain(as_xml(text)))
    eaf = Eaf(tmp_path / "a.eaf")
    assert list(eaf.get_tier_names()) == ["predicted", "labelled"][: 1 + bool(labels)]
    read = sorted(eaf.get_annotation_data_for_tier("predicted"))
    assert [text for _, _, text in read] == [as_xml(segment.activity) for segment in segments]
    assert list(eaf.timeslots.values()) == sorted(eaf.timeslots.values())  # as ELAN has them


@ONCE
@given(data=st.dictionaries(NAMES, in_turn(ACTIVITIES), min_size=1, max_size=4))
def test_tables_and_json_hold_every_name_as_it_is(tmp_path, data):
    write_segments(tmp_path, data, {}, {})
    with (tmp_path / "segments.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        name, activity = (
            re.sub(r"^'(['\s]*[=+\-@\t\r])", r"\1", row[cell]) for cell in ("recording", "activity")
        )
        segment = Segment(float(row["start_s"]), float(row["stop_s"]), activity, float(row["score"]))
        found.setdefault(name, []).append(segment)
    assert found.keys() == data.keys()
    results = json.loads((tmp_path / "segments.json").read_bytes())["results"]
    assert results.keys() == data.keys()
    for name, segments in data.items():
        compare(found[name], segments, str)
        compare([Segment(*hit["segment"], hit["label"]) for hit in results[name]], segments, str)
        scores = [segment.score for segment in segments]
        assert [segment.score for segment in found[name]] == pytest.approx(scores, abs=1e-6)
        assert [hit["score"] for hit in results[name]] == pytest.approx(scores, abs=1e-6)


ONE_LINE = ACTIVITIES.filter(lambda text: len(text.splitlines()) == 1 and "\0" not in text)


@ONCE
@given(
    data=st.dictionaries(ONE_LINE.filter(lambda name: name != "*"), in_turn(ONE_LINE), min_size=1, max_size=4)
)
def test_plait_reads_the_segments_of_a_recording_as_labels(tmp_path, data):
    alone = {key(name): name for name in data}
    data = {name: data[name] for name in alone.values()}
    write_segments(tmp_path, data, {}, {})
    for name, segments in data.items():
        for file in ("segments.csv", "segments.json"):
            found = read_labels(tmp_path / file, LabelSettings(labels_of=(name,)))
            compare(found.spans, segments)


def test_the_same_segments_are_the_same_bytes_in_the_order_of_recordings_and_time(tmp_path):
    """Whatever the order in which they come, and whatever the day."""
    data = {
        "s10": [Segment(2, 3, "b", 0.5), Segment(0, 1.5, "a", 1 / 3)],
        "s2": [Segment(1, 2, "a")],
        "s3": [],
    }
    labels = {"s2": (Span(0.5, 1.5, "a"),)}
    write_segments(tmp_path / "one", data, labels, {})
    backwards = {name: segments[::-1] for name, segments in reversed(data.items())}
    files = write_segments(tmp_path / "two", backwards, labels, {})
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "s10.eaf", "s2.eaf", "s3.eaf", "segments.csv", "segments.json",
    ]  # fmt: skip
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert (tmp_path / "one" / "segments.csv").read_text().splitlines() == [
        "recording,start_s,stop_s,activity,score",
        "s2,1.0,2.0,a,1.0",
        "s10,0.0,1.5,a,0.333333",
        "s10,2.0,3.0,b,0.5",
    ]
    assert files == {name: tmp_path / "two" / f"{name}.eaf" for name in data}
    written = (tmp_path / "one" / "s2.eaf").read_text(encoding="utf-8")
    assert re.findall(r'DATE="([^"]*)"', written) == ["1970-01-01T00:00:00+00:00"]


@pytest.mark.parametrize("video", ["film.MP4", "a b & c.mov", "50%20.mkv", "o'Neill.mpg"])
def test_elan_finds_the_video(tmp_path, video):
    """By the address as ELAN writes it, with nothing escaped, and by the way from the file."""
    film = tmp_path / "recordings" / "r" / video
    write_eaf(
        tmp_path / "out" / "r.eaf",
        [Segment(1, 2, "a")],
        [],
        tmp_path / "out" / ".." / "recordings" / "r" / video,
    )
    (link,) = Eaf(tmp_path / "out" / "r.eaf").media_descriptors
    assert Path(link["MEDIA_URL"].removeprefix("file://")) == film
    assert link["MEDIA_URL"].startswith("file:///") and "file:////" not in link["MEDIA_URL"]
    assert link["RELATIVE_MEDIA_URL"] == f"../recordings/r/{video}"
    kinds = {"mp4": "video/mp4", "mov": "video/quicktime", "mpg": "video/mpeg", "mkv": "video/*"}
    assert link["MIME_TYPE"] == kinds[video.rpartition(".")[2].lower()]
    footage = Footage(video, ("r", "anna"), np.arange(75) / 25, 3.0)
    assert read_labels(tmp_path / "out" / "r.eaf", None, footage).spans == (Span(1.0, 2.0, "a"),)
    write_eaf(tmp_path / "r.eaf", [Segment(1, 2, "a")], [], tmp_path / video)
    (beside,) = Eaf(tmp_path / "r.eaf").media_descriptors
    assert beside["RELATIVE_MEDIA_URL"] == f"./{video}"


RECORDINGS = st.one_of(
    NAMES,
    st.sampled_from(["", ".", "..", "../up", "/etc/x", "a/b", "a\\b", "a_b", "A_B", "con", "LPT1.x", "x."]),
    st.text(".~-_ aA/", max_size=4),
    st.text("aä", min_size=150, max_size=400),
)  # fmt: skip


@given(names=st.sets(RECORDINGS, max_size=8))
def test_files_of_recordings_are_good_on_any_system_and_never_the_same(names):
    stems = file_stems(names)
    assert stems.keys() == names
    folded = {unicodedata.normalize("NFC", stem).casefold() for stem in stems.values()}
    assert len(folded) == len(names)
    for stem in stems.values():
        assert stem.isprintable() and not set(stem) & set('<>:"/\\|?*')
        assert stem[0] not in ". " and stem[-1] not in ". " and len(f".making-{stem}.eaf".encode()) < 255
        assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", stem)


def test_plain_names_stay_and_each_name_s_file_is_the_same_among_any_others():
    names = ["session 1", "anna.2", "Stück", "-x", "(2)"]
    assert file_stems(names) == {name: name for name in names}
    assert file_stems(["a/b"])["a/b"] == file_stems(["a/b", "a_b", "c"])["a/b"] != "a_b"


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([Segment(-1, 2, "a")], "'a' is from -1 s to 2 s, expected a start of 0 or more"),
        ([Segment(2, 2, "a")], "'a' is from 2 s to 2 s, expected a start"),
        ([Segment(0, float("nan"), "a")], "'a' is from 0 s to nan s, expected a start"),
        (
            [Segment(0, 1, "a", float("nan"))],
            "'a' is from 0 s to 1 s, with score nan, expected a finite number",
        ),
        ([Segment(0, 1, "\ud800")], "activity is '\\ud800', expected text"),
        (
            [Segment(4, 5, "b"), Segment(0, 4.5, "a")],
            "'a' is from 0 s to 4.5 s, expected it to end before 'b'",
        ),
    ],
)
def test_segments_that_cannot_be_are_refused_before_anything_is_written(tmp_path, segments, message):
    with pytest.raises(DataError, match=re.escape(f"recording 'r\\n1': {message}")) as raised:
        write_segments(tmp_path / "out", {"r\n1": segments}, {}, {})
    assert "\n" not in str(raised.value) and not (tmp_path / "out").exists()


def test_labels_before_the_beginning_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"r\.eaf: labelled: 'a' is from -1 s to 2 s, expected a start of 0"):
        write_segments(tmp_path, {"r": []}, {"r": [Span(-1, 2, "a")]}, {})
