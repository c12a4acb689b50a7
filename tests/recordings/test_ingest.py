"""Which files become a recording, under which names; what is left open is asked and answered."""

import io
import string
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.cli import app, main
from plait.errors import DataError, PlaitError
from plait.recordings.folder import described_by, open_recording, read_description
from plait.recordings.gather import is_prose, recording_name, stream_name
from plait.recordings.ingest import _doubt, ingest
from plait.recordings.logs import read_log

LABELS = "start,stop,activity\n0.5,2,press\n2,3.5,plug\n"
LOG = "time,acc_x,acc_y,acc_z\n" + "".join(f"{i / 20:.2f},{i % 3},{i % 5},{i % 7}\n" for i in range(80))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Four seconds of a small video, as bytes."""
    file = tmp_path_factory.mktemp("film") / "a.mp4"
    with av.open(str(file), "w") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 5 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode())
    return file.read_bytes()


@pytest.fixture
def lab(tmp_path, film):
    """A folder with a video and labels."""
    folder = tmp_path / "session 1"
    folder.mkdir()
    (folder / "cam.mp4").write_bytes(film)
    (folder / "labels.csv").write_text(LABELS)
    return folder


def test_a_folder_by_a_dot_is_called_by_its_name(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(lab)
    app(["ingest", ".", "--out", "../rec"], standalone_mode=False)
    assert read_description(tmp_path / "rec" / "session 1").subject == "session 1"
    assert not (tmp_path / "rec" / "recording.toml").exists()
    app(["ingest", ".", "--out", "rec"], standalone_mode=False)  # inside of what is ingested
    app(["ingest", ".", "--out", "rec"], standalone_mode=False)


def test_names_of_any_script_tell_logs_apart(lab, tmp_path):
    for name in ("左手", "右手", "Ärmel-Links", "हाथ"):
        (lab / f"{name}.csv").write_text(LOG)
    folder, _ = ingest([lab], tmp_path / "rec")
    assert set(read_description(folder).logs) == {"左手", "右手", "ärmel_links", "हाथ"}


def test_what_lies_beside_a_recording_is_left_out_and_said(lab, tmp_path):
    no_tables = ("GOPR1.THM", "GOPR1.LRV", "README.txt", "desktop.ini", "Thumbs.db", "manual.PDF", "readme")
    for name in (*no_tables, ".x.csv"):
        (lab / name).write_bytes(b"\0 hello")
    (lab / "notes.txt").write_text("Day one\nwe filmed, at the bench\nAnna came late; twice\n\nend\n")
    (lab / "meta.json").write_text('{"camera": "GoPro", "fps": 30}')
    (lab / "broken.json").write_text("{")
    (lab / "raw").mkdir()
    folder, told = ingest([lab], tmp_path / "rec")
    assert {file.name for file in folder.iterdir()} == {"cam.mp4", "labels.csv", "recording.toml"}
    for name in (*no_tables, "raw"):
        assert any(line.startswith(f"{name}: ") and line.endswith(", left out") for line in told), name
    assert "notes.txt: no table, left out" in told and "meta.json: no labels that are known, left out" in told
    assert "broken.json: no labels that are known, left out" in told
    (lab / "labels.csv").unlink()
    assert "no labels among the files" in ingest([lab], tmp_path / "other")[1]
    (lab / "my-annotations.json").write_text('{"camera": "GoPro"}')
    with pytest.raises(DataError, match="my-annotations.json: the file: no 'database'"):
        ingest([lab], tmp_path / "third")


@pytest.mark.parametrize("name", ["label_map.json", "annotations.json", "a_labels.json", "zlabels.json"])
@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"0": "press"}', '{"images": [], "annotations": []}', "[1, 2]", "null"]
)
def test_what_is_only_called_labels_gives_way_to_labels(lab, tmp_path, name, text):
    (lab / name).write_text(text)
    folder, told = ingest([lab], tmp_path / "rec")
    assert read_description(folder).labels == "labels.csv"
    assert f"{name}: no labels that are known, left out" in told
    (lab / "labels.csv").unlink()
    with pytest.raises(DataError, match=f"{name}: "):
        ingest([lab], tmp_path / "other")


@given(
    st.integers(0, 40), st.integers(0, 40), st.sampled_from(["s{}", "P0{}_cam", "S-{}", "2024-05-{} b", "{}"])
)
def test_labels_that_are_numbered_as_another_video_are_said(one, other, form):
    for spelt in (form, form.upper(), form + "_labels"):
        assert bool(_doubt(spelt.format(other), form.format(one))) is (one != other)
    assert not _doubt(f"labels_{other}", form.format(one))


def test_labels_of_another_video_are_said_when_they_are_taken(lab, tmp_path):
    (lab / "cam.mp4").rename(lab / "s1.mp4")
    (lab / "labels.csv").rename(lab / "s10.csv")
    assert (
        "s10.csv: labels, though called otherwise than 's1': are these its labels?"
        in ingest([lab], tmp_path / "rec")[1]
    )


@pytest.mark.parametrize(
    ("text", "prose"), [(LOG, False), ("1.0\t2.0\tpress\n3.0\t4.0\tplug\n", False), ("Time\tB\tS\n1\tp\tSTART\n", False), ("a\nb, c\n", True)]  # noqa: E501
)  # fmt: skip
def test_prose_is_told_from_tables(tmp_path, text, prose):
    (tmp_path / "a.txt").write_text(text)
    assert is_prose(tmp_path / "a.txt") is prose


@pytest.mark.parametrize(
    ("names", "joined"),
    [
        (("GX010042.mp4", "GX020042.mp4"), "GX010042.mp4' \"file 'GX020042.mp4'"),
        (("GP010042.MP4", "GOPR0042.MP4"), "GOPR0042.MP4'\" \"file 'GP010042.MP4'"),
    ],
)
def test_chapters_of_a_camera_get_advice(lab, tmp_path, film, names, joined):
    (lab / "cam.mp4").unlink()
    for name in names:
        (lab / name).write_bytes(film)
    with pytest.raises(
        DataError, match="are the chapters of one recording, expected one video; join"
    ) as error:
        ingest([lab], tmp_path / "rec")
    said, first = str(error.value), sorted(names, key=lambda n: n[:4] != "GOPR")[0]
    assert "ffmpeg -f concat" in said
    assert said.index(first + "'\"") < said.rindex("'\"")


def test_one_of_several_videos_or_labels_may_be_named(lab, tmp_path, film):
    (lab / "side.mp4").write_bytes(film)
    (lab / "old.csv").write_text("start,stop,activity\n0,1,old\n")
    with pytest.raises(DataError, match=r"expected exactly one video, got: cam.mp4, side.mp4"):
        ingest([lab], tmp_path / "rec")
    with pytest.raises(DataError, match=r"labels, but so is labels.csv; .*--set labels="):
        ingest([lab], tmp_path / "rec", answers={"video": "cam.mp4"})
    folder, told = ingest([lab], tmp_path / "rec", answers={"video": "cam.mp4", "labels": "labels.csv"})
    assert {"side.mp4: another video, left out", "old.csv: other labels, left out"} <= set(told)
    assert read_description(folder).files == ("cam.mp4", "labels.csv")


def test_answers_go_before_guesses_and_are_kept(lab, tmp_path):
    (lab / "labels.csv").write_text("start,stop,wer,was\n500,2000,anna,press\n2000,3500,anna,plug\n")
    (lab / "wrist.csv").write_text(LOG.replace("time", "when"))
    with pytest.raises(DataError, match="no column for the activity.*--set activity_column=NAME"):
        ingest([lab], tmp_path / "rec", answers={"logs.wrist.time": "when"})
    said = {
        "logs.wrist.time": "when",
        "logs.wrist.max_gap_s": "2.5",
        "activity_column": "was",
        "label_unit": "ms",
    }
    folder, _ = ingest([lab], tmp_path / "rec", answers=said)
    described = read_description(folder)
    assert (described.logs["wrist"].time, described.logs["wrist"].max_gap_s) == ("when", 2.5)
    assert (described.activity_column, described.label_unit) == ("was", "ms")
    with pytest.raises(DataError, match="stands already and says otherwise"):
        ingest([lab], tmp_path / "rec", answers={**said, "label_unit": "us"})
    assert "stands already" in ingest([lab], tmp_path / "rec", answers=said)[1][0]


def test_what_was_settled_holds_when_a_recording_is_opened(lab, tmp_path):
    rows = (
        "video,start,stop,name,action\ncam.mp4,0.5,2,anna,press\ncam.mp4,2,3,anna,plug\nb.mp4,0,50,ben,plug\n"
    )
    (lab / "labels.csv").write_text(rows)
    folder, told = ingest([lab], tmp_path / "rec")
    assert "labels.csv: 1 rows are about others and left out" in told
    assert [span.activity for span in open_recording(folder).spans] == ["press", "plug"]
    assert read_description(folder).activity_column == "action"


ODD = {
    "was it cut off": LOG[:-3],
    "gap": "".join(line for number, line in enumerate(LOG.splitlines(keepends=True)) if not 20 < number < 60),
    "same time": LOG.replace("1.05,", "1.00,"),
}


@pytest.mark.parametrize("way", ["description", "template"])
@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_about_a_log_is_said_where_it_is_described_already(lab, tmp_path, way, odd):
    (lab / "wrist.csv").write_text(ODD[odd])
    file = (lab if way == "description" else tmp_path) / "recording.toml"
    roles = 'subject = "ann"\nvideo = "cam.mp4"\nlabels = "labels.csv"\n'
    file.write_text(f'{roles}[logs.wrist]\nfile = "wrist.csv"\ntime = "time"\ncolumns = ["acc_*"]\n')
    folder, told = ingest([lab], tmp_path / "rec", template=None if way == "description" else str(file))
    said: list[str] = []
    read_log(folder / "wrist.csv", read_description(folder).logs["wrist"].log(), said)
    lines = [f"wrist.csv: {remark}" for remark in said]
    assert lines and [line for line in told if line in lines] == lines


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"label_unti": "ms"}, "--set: label_unti"),
        ({"label_unit": "hours"}, "--set: label_unit"),
        ({"label_fps": "-1"}, "--set: label_fps"),
        ({"label_fps": "inf"}, "--set: label_fps"),
        ({"logs.left.time": "t"}, "--set logs.left: no such log, expected one of: none"),
        ({"logs": "x"}, "--set logs: expected a key of recording.toml"),
        (
            {"logs.left.where": "[1]", "logs.left.where.id": "2"},
            "--set logs.left.where.id: 'where' holds a value, expected a table",
        ),
        ({"video.file": "x"}, "--set video.file: expected a key"),
        ({"logs.left": "x"}, "--set logs.left: expected a key"),
        ({"labels": "../labels.csv"}, "--set: names '../labels.csv', expected a file beside it"),
        ({"tier": "[1"}, "--set tier: '.1', expected a list as in TOML"),
        ({"labels_of": "karl"}, "labels_of is 'karl', expected a video, session or person"),
        ({"tier": "gestures"}, "labels.csv: tier is 'gestures', expected none: a table has no use for it"),
    ],
)
def test_answers_that_fit_nothing_are_one_line(lab, tmp_path, answers, message):
    with pytest.raises(DataError, match=message) as error:
        ingest([lab], tmp_path / "rec", answers=answers)
    assert "\n" not in str(error.value) and not (tmp_path / "rec" / "session 1").exists()


PARTS = st.sampled_from(["..", ".", "", "a", "raw", "C:", "~", "a b", "\0", "..\\x", "etc"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=4).map("/".join), st.sampled_from(["video", "labels", "log"]))
def test_hostile_names_never_leave_their_folder(tmp_path, name, role):
    table = {"subject": "", "video": "v.mp4"}
    table |= {"logs": {"x": {"file": name, "columns": ["a"], "time": "t"}}} if role == "log" else {role: name}
    try:
        described = described_by(table, tmp_path / "recording.toml")
    except DataError as error:
        assert "expected a file beside it" in str(error)
        return
    for named in described.files:
        assert (tmp_path / named).resolve().is_relative_to(tmp_path.resolve()) and "\\.." not in named


@settings(max_examples=150)
@given(st.text(string.ascii_letters + "./\\\0\n ~é\udc80", max_size=6))
def test_a_recording_s_name_is_one_folder_s_or_refused(name):
    try:
        assert recording_name(name) == name
    except PlaitError as error:
        assert "\n" not in str(error) and str(error).encode()
    else:
        assert name and Path(name).name == name and name not in (".", "..") and "\\" not in name


@settings(max_examples=100)
@given(st.text(min_size=1, max_size=8))
def test_a_stream_s_name_is_kept_by_itself(stem):
    name = stream_name(stem)
    assert name and stream_name(name) in (name, "log")
    assert not set(name) & set(" ./\\\"'\n\0")


def test_given_descriptions_may_not_point_elsewhere(lab, tmp_path):
    (tmp_path / "secret.csv").write_text(LABELS)
    for name in ("../secret.csv", str(tmp_path / "secret.csv")):
        (lab / "recording.toml").write_text(f'subject = "s"\nvideo = "cam.mp4"\nlabels = "{name}"\n')
        with pytest.raises(DataError, match="recording.toml: names .*secret.csv', expected a file beside it"):
            ingest([lab], tmp_path / "rec")
    (lab / "recording.toml").write_text(
        'subject = "s"\nvideo = "cam.mp4"\nlabels = "labels.csv"\nlabels_of = 3\n'
    )
    with pytest.raises(DataError, match="labels_of is '3'"):
        ingest([lab], tmp_path / "rec")


@pytest.mark.parametrize("name", ["a/b", "../x", "..", "", "/abs", ".hidden", "a\nb"])
def test_names_that_are_no_folder_s_are_refused(lab, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="--name .*expected a folder's name"):
        ingest([lab], tmp_path / "rec", name=name or "a/")
    assert sorted(tmp_path.rglob("*")) == before


def test_files_that_share_a_name_and_names_that_are_not_utf_8_are_refused(lab, tmp_path, film):
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "cam.mp4").write_bytes(film)
    with pytest.raises(DataError, match="called like"):
        ingest([lab / "cam.mp4", tmp_path / "two" / "cam.mp4"], tmp_path / "rec")
    with pytest.raises(DataError, match="two: a folder, expected a video"):
        ingest([lab / "cam.mp4", tmp_path / "two"], tmp_path / "rec")
    try:
        (lab / "cam.mp4").rename(lab / "m\udcfcller.mp4")  # a byte that is no UTF-8
    except OSError:
        pytest.skip("the file system has names in UTF-8 alone")
    with pytest.raises(DataError, match="its name is not in UTF-8") as error:
        ingest([lab], tmp_path / "rec")
    assert str(error.value).encode()


def test_a_console_without_the_letters_of_a_name_is_no_obstacle(lab, tmp_path, monkeypatch):
    (lab / "左手.csv").write_text(LOG)
    heard = io.BytesIO()
    monkeypatch.setattr("sys.argv", ["plait", "ingest", str(lab), "--out", str(tmp_path / "rec")])
    console = io.TextIOWrapper(heard, encoding="cp1252")
    monkeypatch.setattr("sys.stdout", console)
    with pytest.raises(SystemExit) as ended:
        main()
    console.flush()
    monkeypatch.undo()
    assert rb"\u5de6\u624b.csv: times in 'time'" in heard.getvalue()
    assert ended.value.code == 0


def test_a_tier_may_be_named_on_the_command_line(lab, tmp_path, capsys):
    (lab / "labels.csv").write_text("")
    (lab / "labels.csv").unlink()
    rows = "ref\t\t0.5\t2.0\tone\nact\t\t0.5\t2.0\tpress\n"
    (lab / "notes.txt").write_text(rows)
    with pytest.raises(DataError, match="labels of 2 tiers, expected one of: 'act', 'ref'"):
        app(["ingest", str(lab), "--out", str(tmp_path / "rec")], standalone_mode=False)
    app(["ingest", str(lab), "--out", str(tmp_path / "rec"), "--tier", "act"], standalone_mode=False)
    assert [span.activity for span in open_recording(tmp_path / "rec" / "session 1").spans] == ["press"]
