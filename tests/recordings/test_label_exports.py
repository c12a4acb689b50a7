"""Labels as other programs write them come back as the same spans; what is ambiguous is asked."""

import json
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import DataError
from plait.recordings.annotations import Footage, LabelSettings
from plait.recordings.label_json import content_of
from plait.recordings.labels import read_labels

FPS, SECONDS = 25, 60
TIMES = np.arange(FPS * SECONDS) / FPS
CAM = Footage("cam.mp4", ("session", "anna"), TIMES, float(TIMES[-1]))
ZERO = datetime(2024, 5, 6, 12, tzinfo=UTC)


def clock(seconds):
    milliseconds = round(1000 * seconds)
    return f"{milliseconds // 3600000:02}:{milliseconds // 60000 % 60:02}:{milliseconds // 1000 % 60:02}.{milliseconds % 1000:03}"  # noqa: E501


def timecode(seconds):
    frames = round(seconds * FPS)
    return f"00:{frames // FPS // 60:02}:{frames // FPS % 60:02}:{frames % FPS:02}"


def lines(head, rows, separator=","):
    return (
        "\n".join(separator.join(str(cell) for cell in row) for row in ([head] if head else []) + rows) + "\n"
    )


def boris_aggregated(spans):
    head = "Observation id,Observation date,Description,Observation duration,Observation type,Source,Time offset (s),Coding duration,Media duration (s),FPS (frame/s),Subject,Behavior,Behavioral category,Behavior type,Start (s),Stop (s),Duration (s),Comment start,Comment stop"  # noqa: E501
    before = ["o1", "2024-05-06", "", SECONDS, "Media file(s)", "player #1:clips/cam.mp4", "0.0", 9, SECONDS, FPS, "No focal subject"]  # fmt: skip  # noqa: E501
    rows = [[*before, a, "", "STATE", f"{s:.3f}", f"{e:.3f}", f"{e - s:.3f}", "", ""] for s, e, a in spans]
    rows.append([*before, "look", "", "POINT", "3.000", "NA", "NA", "", ""])
    return "events.csv", lines(head.split(","), rows), {}


def boris_tabular(spans):
    head = [
        "Time",
        "Media file path",
        "Total length",
        "FPS",
        "Subject",
        "Behavior",
        "Behavioral category",
        "Comment",
        "Status",
    ]
    ends = [(t, mark, a) for s, e, a in spans for t, mark in ((s, "START"), (e, "STOP"))]
    rows = [[f"{t:.3f}", "/x/cam.mp4", SECONDS, FPS, "anna", a, "", "", mark] for t, mark, a in sorted(ends, key=lambda x: x[0])]  # fmt: skip  # noqa: E501
    return "events.tsv", lines(head, rows, "\t"), {}


def elan_text(spans):
    rows = []
    for s, e, a in spans:
        forms = [form for t in (s, e, e - s) for form in (clock(t), f"{t:.3f}", str(round(1000 * t)))]
        rows.append(["activity", "anna", *forms, a])
    return "notes.txt", lines(None, rows, "\t"), {}


def elan_text_with_names(spans):
    head = ["Tier", "Begin Time - hh:mm:ss.ms", "Begin Time - msec", "End Time - hh:mm:ss.ms", "End Time - msec", "Annotation"]  # fmt: skip  # noqa: E501
    rows = [["t", clock(s), round(1000 * s), clock(e), round(1000 * e), a] for s, e, a in spans]
    return "notes.txt", lines(head, rows, "\t"), {}


def audacity(spans):
    rows = [[f"{s:.6f}", f"{e:.6f}", a] for s, e, a in spans]
    return "labels.txt", lines(None, [*rows, ["\\", "80.0", "500.0"], ["59.0", "59.0", "a point"]], "\t"), {}


def via(spans):
    head = "# Exported using VGG Image Annotator\n# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n"  # noqa: E501
    rows = [f'"1_{i}","[""{v}""]",0,"[{s},{e}]","[]","{{""1"":""{a}""}}"' for v, i, (s, e, a) in [("cam.mp4", i, span) for i, span in enumerate(spans)] + [("other.mp4", 99, (0, 50, "x"))]]  # fmt: skip  # noqa: E501
    return "via.csv", head + "\n".join(rows), {}


def activitynet(spans):
    annotations = [{"label": a, "segment": [s, e]} for s, e, a in spans]
    other = {"annotations": [{"label": "x", "segment": [0, 50]}]}
    return "gt.json", json.dumps({"database": {"cam": {"annotations": annotations}, "other": other}}), {}


def label_studio(spans):
    results = [
        {
            "type": "timelinelabels",
            "value": {"ranges": [{"start": s * 50, "end": e * 50}], "timelinelabels": [a]},
        }
        for s, e, a in spans
    ]
    tasks = [{"data": {"video": f"/data/upload/1/0a1b2c3d-{v}.mp4"}, "annotations": [{"result": r}]} for v, r in (("cam", results), ("b", []))]  # fmt: skip  # noqa: E501
    return "project.json", json.dumps(tasks), {"label_fps": 50.0}


def frames(spans):
    rows = [[round(s * FPS), round(e * FPS), a] for s, e, a in spans]
    return "labels.csv", lines(["start_frame", "end_frame", "label"], rows), {}


def milliseconds(spans):
    rows = [[round(s * 1000), round((e - s) * 1000), a] for s, e, a in spans]
    return "labels.csv", lines(["onset_ms", "duration_ms", "label"], rows), {}


def codes(spans):
    return (
        "labels.csv",
        lines(["in", "out", "label"], [[timecode(s), timecode(e), a] for s, e, a in spans]),
        {},
    )


def moments(spans):
    rows = [[*((ZERO + timedelta(seconds=t)).isoformat() for t in (s, e)), a] for s, e, a in spans]
    return "labels.csv", lines(["start", "end", "label"], rows), {"label_zero": "2024-05-06 14:00:00+02:00"}


def epoch(spans):
    rows = [[f"{ZERO.timestamp() + s:.3f}", f"{ZERO.timestamp() + e:.3f}", a] for s, e, a in spans]
    return "labels.csv", lines(["start", "end", "label"], rows), {"label_zero": f"{ZERO.timestamp():.0f}"}


WRITERS = [boris_aggregated, boris_tabular, elan_text, elan_text_with_names, audacity, via, activitynet, label_studio, frames, milliseconds, codes, moments, epoch]  # fmt: skip  # noqa: E501
SPANS = st.lists(
    st.tuples(st.integers(1, 8), st.integers(1, 50), st.sampled_from(["press", "plug in", "Stück 2"])), min_size=1, max_size=5  # noqa: E501
).map(
    lambda pieces: [
        (start / FPS, (start + length) / FPS, what)
        for (gap, length, what), start in zip(
            pieces, np.cumsum([0, *(sum(piece[:2]) for piece in pieces)]).tolist(), strict=False
        )
        for start in [start + gap]
    ]
)  # fmt: skip


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(spans=SPANS, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_exports_come_back_as_the_same_spans(tmp_path, write, spans, encoding):
    name, text, said = write(spans)
    (tmp_path / name).write_text(text, encoding=encoding)
    found = read_labels(tmp_path / name, LabelSettings(**said), CAM)
    assert [span.activity for span in found.spans] == [what for _, _, what in spans]
    np.testing.assert_allclose(
        [s[:2] for s in spans], [(s.start_s, s.stop_s) for s in found.spans], atol=1e-6
    )
    again = read_labels(tmp_path / name, found.settings, CAM)
    assert again.spans == found.spans and again.settings == found.settings


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "start,end,label\n250,1250,press\n", r"ends at 1250.00 s.* if its times are ms or frames"),
        ("a.csv", "start,end,label\n1000,30000,press\n",
         r"if its times are ms: say it with --set label_unit=ms"),
        ("a.csv", "start,end,label\n1715000001,1715000005,press\n",
         "if they count from elsewhere: say it with --set label_zero=TIME"),
        ("a.csv", "start,end,label\n2024-05-06T12:00:01,2024-05-06T12:00:05,x\n",
         "line 2: .* is a time of day"),
        ("a.csv", "start,end,label\n00:00:01:25,00:00:05:00,x\n",
         "line 2: '00:00:01:25', expected a time code"),
        ("a.csv", "start,end,label\n00:00:01:00,5,x\n", "line 2: '5', expected a time code hh:mm:ss:ff"),
        ("a.csv", "start_frame,duration,label\n1,5,x\n", "durations beside starts in frames"),
        ("a.txt", "1.0\t5.0\tpress\nhello\n", "line 2: 'hello', expected start, stop and label with tabs"),
        ("a.txt", "t\t1.0\t5.0\t3.0\tpress\n", "3 columns of times that do not agree"),
        ("a.txt", "t\t1.0\t5.0\tpress\nu\t6.0\t7.0\tplug\n", "labels of 2 tiers, expected one of: 't', 'u'"),
        ("a.csv", "Time,Behavior,Status\n1,press,START\n2,press,START\n", "line 3: 'press' is marked 'START', expected"),  # noqa: E501
        ("a.csv", "Time,Behavior,Status\n1,press,STOP\n", "line 2: 'press' is marked 'STOP'"),
        ("a.csv", "Time,Behavior,Status\n1,press,START\n", "line 2: 'press' starts and never stops"),
        ("a.csv", "Time,Behavior,Status\n1,press,POINT\n", "no labels, expected some that last"),
        ("a.csv", "start,stop,label,Time offset (s)\n1,2,press,5.0\n",
         "'Time offset .s.' is '5.0', expected 0"),
        ("a.json", '{"project": {}, "attribute": {}, "metadata": {}}',
         "VIA's project, expected labels: export its"),
        ("a.json", '{"behaviors_conf": {}, "observations": {}}',
         "BORIS' project, expected labels: export its"),
        ("a.json", label_studio([(1, 2, "a")])[1], "frames as Label Studio counts them.* --set label_fps=25"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_or_wrong_is_one_line_with_the_way_out(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        read_labels(tmp_path / name, None, CAM)
    assert str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value)


USES = {  # what each form has a use for, besides label_unit and label_zero
    boris_tabular: {"activity_column", "labels_of"},
    elan_text: {"tier", "labels_of"},
    audacity: set(),
    via: {"activity_column", "labels_of"},
    activitynet: {"labels_of"},
    label_studio: {"labels_of", "label_fps"},
    frames: {"activity_column", "labels_of", "label_fps"},
    codes: {"activity_column", "labels_of", "label_fps"},
}


@pytest.mark.parametrize("write", USES, ids=lambda write: write.__name__)
@pytest.mark.parametrize(
    "answer",
    [{"tier": "gestures"}, {"activity_column": "verb"}, {"labels_of": ("ben",)}, {"label_fps": 25.0}],
)
def test_an_answer_that_changes_nothing_is_refused(tmp_path, write, answer):
    name, text, said = write([(1.0, 2.0, "press"), (3.0, 4.0, "plug in")])
    (tmp_path / name).write_text(text, encoding="utf-8")
    (key,) = answer
    if key in USES[write]:  # it is used, or is no answer to this file
        try:
            read_labels(tmp_path / name, LabelSettings(**{**said, **answer}), CAM)
        except DataError as error:
            assert f"{key} is" not in str(error) or "has no use for it" not in str(error)
        return
    with pytest.raises(DataError, match=f"{name}: {key} is .*, expected none: ") as refused:
        read_labels(tmp_path / name, LabelSettings(**{**said, **answer}), CAM)
    if key == "label_fps":
        assert "times are in s; if they are frames, say it with --set label_unit=frames" in str(refused.value)


def test_a_rate_counts_where_times_are_said_to_be_frames(tmp_path):
    (tmp_path / "a.txt").write_text("25\t75\tpress\n", encoding="utf-8")
    (span,) = read_labels(tmp_path / "a.txt", LabelSettings(label_unit="frames", label_fps=25.0), CAM).spans
    assert (span.start_s, span.stop_s) == (1.0, 3.0)


def test_frames_are_where_the_video_shows_them(tmp_path):
    uneven = np.array([0.0, 0.1, 0.5, 0.6, 2.0, 2.1])
    file = tmp_path / "a.csv"
    file.write_text("start_frame,end_frame,label\n1,4,x\n")
    (span,) = read_labels(file, None, Footage("cam.mp4", (), uneven, 2.1)).spans
    assert (span.start_s, span.stop_s) == (0.1, 2.0)
    file.write_text("start,end,label\n00:00:00:01,00:00:01:00,x\n")
    with pytest.raises(DataError, match="frames are not evenly spaced, expected their rate"):
        read_labels(file, None, Footage("cam.mp4", (), uneven, 2.1))


def test_a_late_picture_leaves_players_clocks_alone(tmp_path):
    late = Footage("cam.mp4", (), 2 + np.arange(180) / 10, 20.0)  # sound begins 2 s before the picture
    file = tmp_path / "a.csv"
    for rows, said, seen in (
        ("start,end,label\n3.0,5,x", {}, (3, 5)),
        ("start,end,label\n00:00:03:00,00:00:05:00,x", {}, (3, 5)),
        ("start_frame,end_frame,label\n75,125,x", {"label_fps": 25.0}, (3, 5)),
        ("start_frame,end_frame,label\n10,30,x", {}, (3, 5)),  # pictures, of which the first is number 0
    ):
        file.write_text(rows)
        (span,) = read_labels(file, LabelSettings(**said), late).spans
        assert (span.start_s, span.stop_s) == pytest.approx(seen)


def test_drop_frame_codes_keep_step_with_the_clock(tmp_path):
    times = np.arange(30 * 700) * 1001 / 30000
    file = tmp_path / "a.csv"
    file.write_text("start,end,label\n00:01:00;02,00:10:00;00,x\n")
    (span,) = read_labels(file, None, Footage("cam.mp4", (), times, float(times[-1]))).spans
    assert span.start_s == pytest.approx(1800 * 1001 / 30000) and span.stop_s == pytest.approx(
        17982 * 1001 / 30000
    )


def test_labels_in_the_first_moments_of_a_video_are_said(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("start,end,label\n0.1,0.2,x\n0.3,0.5,y\n")
    assert any("first 0.5 s of 60 s" in line for line in read_labels(file, None, CAM).told)


def al(number, first, last, text):
    return f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{number}" TIME_SLOT_REF1="{first}" TIME_SLOT_REF2="{last}"><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>'  # noqa: E501


def ref(number, parent, text, before=None):
    previous = f' PREVIOUS_ANNOTATION="{before}"' if before else ""
    return f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{number}" ANNOTATION_REF="{parent}"{previous}><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>'  # noqa: E501


def elan(tiers, slots, media="", units="milliseconds"):
    """An .eaf of `(tier, parent, kind, annotations)` and `(slot, ms or None)` in order."""
    body = "".join(
        f'<TIER LINGUISTIC_TYPE_REF="{kind}" TIER_ID="{name}"' + (f' PARENT_REF="{parent}"' if parent else "") + f">{inside}</TIER>"  # noqa: E501
        for name, parent, kind, inside in tiers
    )  # fmt: skip
    order = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="{name}"' + ("" if ms is None else f' TIME_VALUE="{ms}"') + "/>"
        for name, ms in slots
    )
    kinds = "".join(
        f'<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="{kind}" TIME_ALIGNABLE="true" CONSTRAINTS="{kind}"/>'
        for kind in ("Time_Subdivision", "Symbolic_Subdivision", "Symbolic_Association", "Included_In")
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT AUTHOR="" FORMAT="3.0" VERSION="3.0" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="EAFv3.0.xsd">'
        f'<HEADER MEDIA_FILE="" TIME_UNITS="{units}">{media}</HEADER>'
        f"<TIME_ORDER>{order}</TIME_ORDER>{body}{kinds}"
        '<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="plain" TIME_ALIGNABLE="true"/></ANNOTATION_DOCUMENT>'
    )


def read_elan(folder, text, footage=CAM, **said):
    (folder / "a.eaf").write_text(text, encoding="utf-8")
    found = read_labels(folder / "a.eaf", LabelSettings(**said), footage)
    return [(span.activity, span.start_s, span.stop_s) for span in found.spans], found.told


TASKS = ("task", None, "plain", al("a1", "ts1", "ts4", "assemble"))


def test_a_child_has_its_parent_s_time(tmp_path):
    numbers = ("ref", None, "plain", al("a1", "ts1", "ts2", "rec_1") + al("a2", "ts3", "ts4", "rec_2"))
    said = ("act", "ref", "Symbolic_Association", ref("a3", "a1", "press") + ref("a4", "a2", "plug"))
    kind = ("kind", "act", "Symbolic_Association", ref("a5", "a3", "hard") + ref("a6", "a4", "soft"))
    text = elan([numbers, said, kind], [("ts1", 1000), ("ts2", 5000), ("ts3", 6000), ("ts4", 12000)])
    assert read_elan(tmp_path, text, tier="act")[0] == [("press", 1, 5), ("plug", 6, 12)]
    assert read_elan(tmp_path, text, tier="kind")[0] == [("hard", 1, 5), ("soft", 6, 12)]
    with pytest.raises(
        DataError, match="several tiers hold labels, .*'act' .'press', 'plug'.*--set tier=NAME"
    ):
        read_elan(tmp_path, text)
    empty = ("ref", None, "plain", al("a1", "ts1", "ts2", "") + al("a2", "ts3", "ts4", " "))
    text = elan([empty, said], [("ts1", 1000), ("ts2", 5000), ("ts3", 6000), ("ts4", 12000)])
    # the only tier that says something
    assert read_elan(tmp_path, text)[0] == [("press", 1, 5), ("plug", 6, 12)]


def test_slots_without_a_time_lie_evenly_between_their_neighbours(tmp_path):
    steps = al("a2", "ts1", "ts2", "press") + al("a3", "ts2", "ts3", "plug") + al("a4", "ts3", "ts4", "screw")
    inner = al("b1", "ts1", "ts9", "left") + al("b2", "ts9", "ts2", "right")
    other = ("other", None, "plain", al("c1", "ts5", "ts6", "noise"))
    slots = [("ts1", 3000), ("ts5", 3100), ("ts9", None), ("ts2", None), ("ts6", 3200)]
    slots += [("ts3", None), ("ts4", 12000)]
    tiers = [("inner", "step", "Time_Subdivision", inner), ("step", "task", "Time_Subdivision", steps)]
    text = elan([*tiers, other, TASKS], slots)
    assert read_elan(tmp_path, text, tier="step")[0] == [("press", 3, 6), ("plug", 6, 9), ("screw", 9, 12)]
    assert read_elan(tmp_path, text, tier="inner")[0] == [("left", 3, 4.5), ("right", 4.5, 6)]


def test_children_of_one_parent_share_its_time_in_their_order(tmp_path):
    words = ref("a3", "a1", "b", "a2") + ref("a2", "a1", "a") + ref("a4", "a1", "c", "a3")
    text = elan([TASKS, ("word", "task", "Symbolic_Subdivision", words)], [("ts1", 3000), ("ts4", 12000)])
    assert read_elan(tmp_path, text, tier="word")[0] == [("a", 3, 6), ("b", 6, 9), ("c", 9, 12)]


@pytest.mark.parametrize(
    ("text", "said", "message"),
    [
        (elan([TASKS], [("ts1", 1), ("ts4", 9)], units="PAL-frames"), {}, "TIME_UNITS is 'PAL-frames', expected millisec"),  # noqa: E501
        (elan([TASKS], [("ts1", 1), ("ts4", None)]), {}, "annotation 'a1': no time for its start or stop"),
        (elan([TASKS, ("w", "task", "Symbolic_Association", ref("a2", "a2", "x"))], [("ts1", 1), ("ts4", 9)]), {"tier": "w"}, "refers to 'a2'"),  # noqa: E501
        (elan([TASKS, ("w", "task", "Symbolic_Association", ref("a2", "a9", "x"))], [("ts1", 1), ("ts4", 9)]), {"tier": "w"}, "refers to 'a9'"),  # noqa: E501
        (elan([TASKS, ("w", None, "plain", al("a1", "ts1", "ts4", "x"))], [("ts1", 1), ("ts4", 9)]), {}, "two annotations are called 'a1'"),  # noqa: E501
    ],
)  # fmt: skip
def test_elan_s_own_faults_are_named(tmp_path, text, said, message):
    with pytest.raises(DataError, match=message):
        read_elan(tmp_path, text, **said)


def medium(name, origin=None):
    at = "" if origin is None else f' TIME_ORIGIN="{origin}"'
    return f'<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/films/{name}" MIME_TYPE="video/mp4"{at}/>'


def test_elan_s_zero_is_the_time_origin_of_the_medium_that_is_the_video(tmp_path):
    slots = [("ts1", 1000), ("ts4", 5000)]
    media = medium("other.mp4") + medium("cam.mp4", 2500)
    found, told = read_elan(tmp_path, elan([TASKS], slots, media))
    assert found == [("assemble", 3.5, 7.5)]
    assert "a.eaf: begins 2.5 s into the video, as its time origin says" in told
    with pytest.raises(DataError, match="linked to 'a.mp4', 'b.mp4' with time origins that differ"):
        read_elan(tmp_path, elan([TASKS], slots, medium("a.mp4") + medium("b.mp4", 2500)))
    text = elan([TASKS], slots, medium("a.mp4") + medium("b.mp4", 2500))
    assert read_elan(tmp_path, text, labels_of=("b.mp4",))[0] == [("assemble", 3.5, 7.5)]
    found, told = read_elan(tmp_path, elan([TASKS], slots, medium("karl%20b.mp4")))
    assert found == [("assemble", 1, 5)] and any(
        "linked to 'karl b.mp4', not to 'cam.mp4'" in line for line in told
    )


PIECE = st.sampled_from(["", "\t", ",", '"', "-1", "1e999", "nan", "null", "[]", "START", "\0", "00:00:00:00", "\n", "9" * 30, "٣"])  # fmt: skip  # noqa: E501


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(WRITERS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), PIECE), min_size=1, max_size=3),
)
def test_damaged_exports_are_labels_or_one_line(tmp_path, write, changes):
    name, text, said = write([(1.0, 5.0, "press"), (6.0, 12.0, "plug")])
    for place, length, new in changes:
        first = round(place * len(text))
        text = text[:first] + new + text[first + length :]
    (tmp_path / name).write_text(text, encoding="utf-8")
    try:
        assert read_labels(tmp_path / name, LabelSettings(**said), CAM).spans
    except DataError as error:
        assert str(error).startswith(str(tmp_path / name)) and "\n" not in str(error)


def written(folder, name, text):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("head", "row", "said"),
    [
        ("start_time,stop_time,start_frame,stop_frame,action", "1,2,60,120,a",
         "'start_frame', 'stop_frame' say 2.4"),
        ("start_s,stop_s,start_ms,stop_ms,action", "1,2,1500,2500,a",
         "'start_ms', 'stop_ms' say 1.5 to 2.5 s"),
        ("start,stop,duration,action", "1,2,5,a",
         "'duration' is not from start to stop .line 2., not looked at"),
        ("start,stop,Media duration (s),action", "1,2,400,a",
         "its video is 400 s long, and 'cam.mp4' is 59.96 s"),
        ("start,stop,Total length,action", "1,2,00:10:00.0,a", "its video is 600 s long"),
        ("start,stop,Total length,duration,start_frame,stop_frame,action", "1,2,60,1,25,50,a", None),
    ],
)  # fmt: skip
def test_times_that_are_said_twice_and_differ_are_told(tmp_path, head, row, said):
    found = read_labels(written(tmp_path, "l.csv", f"{head}\n{row}\n"), None, CAM)
    assert [(span.start_s, span.stop_s) for span in found.spans] == [(1.0, 2.0)]
    assert len(found.told) == (1 if said is None else 2)
    assert said is None or any(re.search(said, line) for line in found.told)


PAIRS = [("start.1", "stop.1"), ("start 2", "stop 2"), ("time start", "time stop"), ("onset", "offset")]
PAIRS += [("Begin Time", "End Time"), ("in", "out"), ("from", "to")]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("taken", [("start", "stop"), ("Begin 1", "End 1")])
@pytest.mark.parametrize("swapped", [False, True])
def test_two_columns_of_starts_or_stops_are_none_unless_they_agree(tmp_path, taken, pair, swapped):
    """One of two was taken, or a start of one and a stop of the other: half of the labels, or none."""
    names = (*pair, *taken) if swapped else (*taken, *pair)
    rows = {"again": [(1, 2, 1.05, "00:00:02"), (4, 5, 4, 5)], "other": [(1, 2, 3, 3.5), (5, 6, 7, 8)]}
    rows["one ends"] = [(1, 2, 1, 2), (4, 5, 4, 9)]
    if pair[0] in ("in", "from"):
        rows["places"] = [(1, 2, "kitchen", "hall"), (4, 5, "hall", "")]
    for kind, of_kind in rows.items():
        lines = [(*row[2:], *row[:2]) if swapped else row for row in of_kind]
        text = "\n".join(
            [",".join((*names, "activity")), *(f"{','.join(map(str, line))},walk" for line in lines)]
        )
        file = written(tmp_path, "labels.csv", f"{text}\n")
        if kind in ("other", "one ends"):
            with pytest.raises(DataError, match=r"line \d: .* and .* are .* s apart, expected one st"):
                read_labels(file)
        else:
            spans = read_labels(file).spans
            expected = [(row[0], row[1]) for row in of_kind]
            assert [(round(span.start_s), round(span.stop_s)) for span in spans] == expected


@pytest.mark.parametrize(
    ("head", "rows", "said"),
    [
        ("start,duration,length,activity", ["1,2,2,walk", "5,1,30,sit"], "'length' says something else"),
        ("start,stop,offset,activity", ["1,3,0,walk", "5,6,0,sit"], None),
        ("start,stop,offset,activity", ["1,3,7,walk", "5,6,7,sit"], "'offset' says something else"),
        ("start,stop,start.1,activity", ["1,3,0,walk", "5,6,9,sit"], "'start.1' says something else"),
        ("Start (s),Stop (s),Start (hh:mm:ss),Stop (hh:mm:ss),activity",
         ["1.4,3.5,00:00:01,00:00:03,walk", "5,6.9,00:00:05,00:00:06,sit"], None),
        ("start,stop,start_time,stop_time,activity",
         ["1,3,10:00:01,10:00:03,walk", "5,6,10:00:05,10:00:06,sit"],
         "'start_time' is 36000 s later than 'start' in all rows"),
        ("start,end,start_timestamp,end_timestamp,activity",
         ["1,3,1700000001,1700000003,walk", "5,6,1700000005,1700000006,sit"], "is 1.7e[+]09 s later"),
        ("start,stop,start 2,stop 2,activity", ["1,3,0,0,walk", "5,6,,,sit"], None),
    ],
)  # fmt: skip
def test_columns_that_are_called_so_and_are_no_further_labels_are_passed_over(tmp_path, head, rows, said):
    found = read_labels(written(tmp_path, "labels.csv", "\n".join([head, *rows]) + "\n"))
    times = [(int(one.start_s), int(one.stop_s)) for one in found.spans]
    assert times == [(1, 3), (5, 6)]
    told = [line for line in found.told if "not looked at" in line]
    assert len(told) == (said is not None)
    assert said is None or re.search(said, told[0])


def test_another_length_in_activitynet_s_json_is_told(tmp_path):
    for length_s, doubts in ((60.0, 0), (400.0, 1)):
        entry = {"duration": length_s, "annotations": [{"segment": [1, 2], "label": "a"}]}
        found = read_labels(written(tmp_path, "l.json", json.dumps({"database": {"cam": entry}})), None, CAM)
        assert sum("are labels and video of one cut?" in line for line in found.told) == doubts


def test_scores_of_labels_and_the_number_of_the_first_frame_are_said(tmp_path):
    found = [{"segment": [1, 5], "label": "walk", "score": 0.02}, {"segment": [6, 9], "label": "sit"}]
    told = read_labels(written(tmp_path, "labels.json", json.dumps({"results": {"a": found}}))).told
    assert "labels.json: 1 of 2 labels have a score: not looked at" in told
    of_people = {"database": {"a": {"annotations": found[1:]}}}
    told = read_labels(written(tmp_path, "labels.json", json.dumps(of_people))).told
    assert not any("score" in line for line in told)
    file = written(tmp_path, "labels.csv", "start,stop,activity\n1,51,walk\n")
    footage = Footage("a.mp4", (), np.arange(100) / 25, 4.0)
    for zero, first in ((None, 0), ("1", 1)):
        told = read_labels(file, LabelSettings(label_unit="frames", label_zero=zero), footage).told
        assert f"labels.csv: times in frames from {first}" in told


def test_annotations_that_were_skipped_are_no_labels(tmp_path):
    def sheet(start_s, **said):
        return {"result": [{"value": {"start": start_s, "end": start_s + 1, "labels": ["a"]}}], **said}

    task = {
        "data": {"title": "v1.2", "video": "cam.mp4"},
        "annotations": [sheet(1, was_cancelled=True), sheet(5)],
    }
    other = {"data": {"title": "v1.2", "video": "other.mp4"}, "annotations": [sheet(9)]}
    found = read_labels(written(tmp_path, "l.json", json.dumps([task, other])), None, CAM)
    assert [span.start_s for span in found.spans] == [5.0]
    assert "l.json: 1 annotations that were skipped are left out" in found.told


@pytest.mark.parametrize("zone", ["Z", "+02:00", "-0700", "+01"])
def test_a_time_zone_on_one_side_alone_is_refused(tmp_path, zone):
    file = written(
        tmp_path, "l.csv", f"start,stop,action\n2024-05-06T12:00:01{zone},2024-05-06T12:00:02{zone},a\n"
    )
    with pytest.raises(
        DataError, match="expected both with a time zone or both without; say it with"
    ) as error:
        read_labels(file, LabelSettings(label_zero="2024-05-06T12:00:00"), CAM)
    assert "\n" not in str(error.value)
    spans = read_labels(file, LabelSettings(label_zero=f"2024-05-06T12:00:00{zone}"), CAM).spans
    assert [(span.start_s, span.stop_s) for span in spans] == [(1.0, 2.0)]


def test_epochs_of_any_unit_get_the_way_out_that_works(tmp_path):
    for unit, scale in (("ms", 1000), ("us", 1_000_000)):
        zero = 1_700_000_000 * scale
        file = written(tmp_path, "l.csv", f"start,stop,action\n{zero + scale},{zero + 2 * scale},a\n")
        with pytest.raises(DataError, match="label_zero=TIME"):
            read_labels(file, None, CAM)
        with pytest.raises(
            DataError, match="label_unit=" if unit == "ms" else "expected it within the video"
        ):
            read_labels(file, LabelSettings(label_zero=str(zero)), CAM)
        spans = read_labels(file, LabelSettings(label_zero=str(zero), label_unit=unit), CAM).spans
        assert [(span.start_s, span.stop_s) for span in spans] == [(1.0, 2.0)]


def test_units_in_front_of_names_are_units(tmp_path):
    spans = read_labels(
        written(tmp_path, "l.csv", "frame_start,frame_stop,action\n25,50,a\n"), None, CAM
    ).spans
    assert [(span.start_s, span.stop_s) for span in spans] == [(1.0, 2.0)]


def test_one_film_in_two_folders_is_told_apart_by_elan_s_links(tmp_path):
    links = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///x/anna/cam.mp4" TIME_ORIGIN="2000"/><MEDIA_DESCRIPTOR MEDIA_URL="file:///x/ben/cam.mp4"/>'
    file = written(tmp_path, "l.eaf", LINKED.replace("LINKS", links))
    assert [span.start_s for span in read_labels(file, None, CAM).spans] == [3.0]  # the subject is anna
    stranger = Footage("cam.mp4", ("session", "carl"), TIMES, 60.0)
    with pytest.raises(
        DataError, match="may all be 'cam.mp4', expected one; .*labels_of=file:///x/anna/cam.mp4"
    ):
        read_labels(file, None, stranger)
    for url, start_s in (("file:///x/anna/cam.mp4", 3.0), ("file:///x/ben/cam.mp4", 1.0)):
        spans = read_labels(file, LabelSettings(labels_of=(url,)), stranger).spans
        assert [span.start_s for span in spans] == [start_s]


LINKED = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-05-06T12:00:00+00:00" FORMAT="3.0" VERSION="3.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">LINKS</HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="2000"/></TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="act"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2"><ANNOTATION_VALUE>a</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="t" TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>
"""  # noqa: E501


def test_whole_numbers_beyond_the_video_get_every_way_out(tmp_path):
    file = written(tmp_path, "l.csv", "start,stop,action\n101,102,a\n103,104,b\n")
    with pytest.raises(
        DataError, match="times are frames: .*label_unit=frames.*count from elsewhere: .*label_zero="
    ):
        read_labels(file, None, CAM)
    assert [s.start_s for s in read_labels(file, LabelSettings(label_zero="100"), CAM).spans] == [1.0, 3.0]


@pytest.mark.parametrize("head", ["FPS", "Media fps", "Frame rate", "FPS (frame/s)", "framerate"])
@pytest.mark.parametrize(
    ("times", "at"), [("30,60", "{},{}"), ("0:00:01:05,0:00:02:00", "0:00:01:05,0:00:02:00")]
)
@given(rate=st.sampled_from([24, 24.97, 25, 25.06, 29.97, 30, 50, 60]))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_frames_that_were_counted_at_another_rate_are_asked_about(tmp_path, head, times, at, rate):
    unit = "_frame" if "{" in at else ""
    file = written(tmp_path, "l.csv", f"start{unit},stop{unit},{head},action\n{times},{rate},a\n")
    if abs(rate - FPS) < 0.1:
        assert read_labels(file, None, CAM).spans
        return
    with pytest.raises(DataError, match=f"expected to know how frames are counted; .*label_fps={rate:g}"):
        read_labels(file, None, CAM)
    (span,) = read_labels(file, LabelSettings(label_fps=rate), CAM).spans
    assert span.stop_s == pytest.approx(60 / rate if unit else 2 * round(rate) / rate)
    seconds = written(tmp_path, "s.csv", f"start,stop,{head},action\n1,2,{rate},a\n")
    assert read_labels(seconds, None, CAM).spans[0].stop_s == 2.0


def test_labels_that_begin_after_the_video_are_refused(tmp_path):
    end_s = CAM.stop_s
    for start_s, stop_s, fit in ((end_s - 1, end_s + 0.9, True), (end_s + 0.1, end_s + 0.9, False)):
        file = written(tmp_path, "l.csv", f"start,stop,action\n1,2,a\n{start_s},{stop_s},b\n")
        if fit:
            assert len(read_labels(file, None, CAM).spans) == 2
            continue
        with pytest.raises(DataError, match="expected it within the video"):
            read_labels(file, None, CAM)


ELAN_S, ELAN_MS = "act\t\t{0}\t{1}\t{2}\ta\n", "act\t\t00:00:0{0}.000\t{0}000\t00:00:0{1}.000\t{1}000\ta\n"
ANSWERED = {  # by form: how a label from 1 to 2 s is written in it, its ending, and in which units
    "audacity": ("{0}\t{1}\ta\n", ".txt", ("s", "ms", "us", "frames")),
    "elan's numbers": (ELAN_S, ".txt", ("s", "ms", "us", "frames")),
    "elan's text": (ELAN_MS, ".txt", ("s",)),
    "table": ("start,stop,action\n{0},{1},a\n", ".csv", ("s", "ms", "us", "frames")),
    "json": ('{{"database": {{"cam": {{"annotations": [{{"segment": [{0}, {1}], "label": "a"}}]}}}}}}',
             ".json", ("s", "ms", "us", "frames")),
    "eaf": (LINKED.replace("LINKS", "").replace("1000", "{0}000").replace("2000", "{1}000"), ".eaf", ("ms",)),
}  # fmt: skip


@pytest.mark.parametrize("form", ANSWERED)
@pytest.mark.parametrize("unit", ["s", "ms", "us", "frames", "timecode", "iso"])
@given(start=st.integers(1, 4), length=st.integers(1, 4), zero=st.integers(0, 1))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_an_answer_about_times_counts_or_is_refused_in_any_form(tmp_path, form, unit, start, length, zero):
    text, ending, units = ANSWERED[form]
    scale = (
        {"s": 1, "ms": 1000, "us": 1_000_000, "frames": FPS}.get(unit, 1)
        if form not in ("eaf", "elan's text")
        else 1
    )
    stop = start + length
    file = written(tmp_path, f"l{ending}", text.format(start * scale, stop * scale, length * scale))
    said = LabelSettings(label_unit=unit, label_zero=str(zero * scale) if zero else None)
    if unit not in units:
        with pytest.raises(DataError, match=r"expected (none|a time code|an ISO)"):
            read_labels(file, said, CAM)
        return
    (span,) = read_labels(file, said, CAM).spans
    assert (span.start_s, span.stop_s) == pytest.approx((start - zero, stop - zero))


def test_elan_s_text_of_several_people_is_one_s(tmp_path):
    file = written(tmp_path, "l.txt", "act\tanna\t1.0\t2.0\ta\nact\tben\t3.0\t4.0\tb\n")
    assert [span.activity for span in read_labels(file, None, CAM).spans] == ["a"]
    spans = read_labels(file, LabelSettings(labels_of=("ben",)), CAM).spans
    assert [span.activity for span in spans] == ["b"]
    assert len(read_labels(file, LabelSettings(labels_of=("*",)), CAM).spans) == 2
    with pytest.raises(
        DataError, match=r"the participant says 'anna', 'ben', .*labels_of=anna .* or \* for every row"
    ):
        read_labels(file, None, Footage("cam.mp4", ("session", "carl"), TIMES, 60.0))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_lists_of_labels_in_any_encoding_that_can_be_told(tmp_path, encoding):
    for text in ("1.0\t2.0\tdr\u00fcck\n", "act\t\t1.0\t2.0\tdr\u00fcck\n"):
        (tmp_path / "l.txt").write_bytes(text.encode(encoding))
        assert [span.activity for span in read_labels(tmp_path / "l.txt", None, CAM).spans] == ["dr\u00fcck"]


@given(
    st.recursive(st.integers() | st.text(max_size=3), lambda s: st.dictionaries(st.text("ab", max_size=2), s))
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_json_says_twice_is_never_half_read(tmp_path, content):
    text = json.dumps({"own": content})
    assert content_of(written(tmp_path, "l.json", text)) == {"own": content}
    for inside, outside in (("own", ""), ("database", "x")):
        twice = '{"cam": 1, "cam": 2}'
        file = written(tmp_path, "l.json", f'{{"{inside}": [{twice}], "{outside}": {text}}}')
        with pytest.raises(DataError, match="'cam' is there twice, expected one value"):
            content_of(file)


def test_no_way_out_is_offered_that_does_not_work(tmp_path):
    """A star means every row, and JSON has none."""
    entry = {"annotations": [{"segment": [1, 2], "label": "a"}]}
    with pytest.raises(DataError, match="labels_of=other") as said:
        read_labels(written(tmp_path, "l.json", json.dumps({"database": {"other": entry}})), None, CAM)
    assert "every row" not in str(said.value)
    late = written(tmp_path, "l.eaf", LINKED.replace("LINKS", "").replace("2000", "70000"))
    with pytest.raises(DataError, match="label_zero=TIME") as said:
        read_labels(late, None, CAM)
    assert "label_unit" not in str(said.value)
