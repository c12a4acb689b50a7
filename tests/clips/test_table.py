"""The page on one's own recordings, followed to the letter; what goes wrong on the way, each in one line."""

import errno
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from plait.cli import app, main
from plait.clips import LazyClips, cut, open_clips, read_clips, survey
from plait.clips.table import recordings_of
from plait.errors import DataError, PlaitWarning
from plait.recordings.folder import Clock, write_sync
from plait.types import Modality
from signals import simulate
from tests import tiny
from tests.recordings.test_folder import film

PAGE = Path(__file__).parents[2] / "docs" / "your-own-recordings.md"


def plait(capsys, monkeypatch, *words):
    """Run a command; its exit code and what it said on either stream."""
    monkeypatch.setattr(sys, "argv", ["plait", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    return stopped.value.code or 0, said.out, said.err


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Three minutes of a camera and a wrist sensor, whose columns are called otherwise than plait's."""
    root = tmp_path_factory.mktemp("own")
    folder = root / "session-1"
    folder.mkdir()
    signals = simulate(3, duration_s=180, claps=2)
    film(folder / "GOPR0042.MP4", signals)
    log = signals.logs["right"]
    rows = ["Timestamp;ax;ay;az"]
    for t, (x, y, z) in zip(log.times, log.values, strict=True):
        rows.append(f"{1e3 * t:.3f};{x:.4f};{y:.4f};{z:.4f}")
    (folder / "wrist.csv").write_text("\n".join(rows))
    (folder / "labels.csv").write_text("start,stop,activity\n12.0,31.5,pressing\n40.0,75.0,plugging\n")
    return root


@pytest.fixture(scope="module")
def followed(session):
    """The page's commands, one after another, as they stand there."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(session)
        for line in blocks[0].splitlines():
            words = shlex.split(line)
            assert words[0] == "plait"
            done = CliRunner().invoke(app, words[1:], catch_exceptions=False)
            assert done.exit_code == 0, done.stderr
    return session / "clips"


def dataset(activities=("pressing", "plugging")):
    def wrist(values):
        return torch.from_numpy(values)

    modality = Modality("wrist", ("wrist",), 125, 25.0, wrist, tiny.Linear)
    return replace(tiny.TINY, activities=activities, modalities=(modality,), recordings=open_clips)


def test_the_page_leads_from_files_to_a_clip_table(followed):
    table, said = read_clips(followed)
    assert table["activity"].to_list() == ["pressing"] * 3 + ["plugging"] * 7
    assert table["subject"].unique().to_list() == ["anna"]
    assert said["recordings"] == followed.parent / "recordings" and said["windows"]["seconds"] == 5
    origin = {one["stream"]: one for one in table["origins"][0]}
    assert origin["video"]["file"] == "GOPR0042.MP4" and origin["video"]["start_s"] == 12.0
    assert origin["wrist"]["start_s"] != 12.0


def test_a_second_time_changes_nothing(followed, capsys, monkeypatch):
    before = (followed / "clips.parquet").stat().st_mtime_ns
    recordings = followed.parent / "recordings"
    code, out, _ = plait(capsys, monkeypatch, "clips", recordings, "--out", followed, "--seconds", 5)
    assert code == 0 and "anna: 10 clips (plugging 7, pressing 3)" in out
    assert (followed / "clips.parquet").stat().st_mtime_ns == before


def test_lazy_clips_and_cut_clips_are_the_same(followed):
    lazy = LazyClips(followed, dataset())
    clips = cut(dataset(), followed, ["wrist"])
    assert [clip.name for clip in clips.table] == lazy.table["clip"].to_list() and len(lazy) == 10
    batch = clips.batch(["wrist"], np.arange(10))["wrist"]
    for i in (0, 9):
        tensors, activity = lazy[i]
        assert torch.equal(tensors["wrist"], batch[i]) and activity == i // 9
    with pytest.raises(DataError, match="activity 'plugging', expected one of: pressing"):
        LazyClips(followed, dataset(("pressing",)))


@pytest.mark.filterwarnings("ignore:.*not the file that was ingested")
@pytest.mark.parametrize("forged", [False, True])
def test_one_file_under_two_subjects_is_refused(forged, followed, tmp_path, capsys, monkeypatch):
    for name in ("a", "b"):
        shutil.copytree(followed.parent / "recordings" / "session-1", tmp_path / "twice" / name)
    path = tmp_path / "twice" / "b" / "recording.toml"
    path.write_text(path.read_text().replace('subject = "anna"', 'subject = "ben"'))
    if forged:
        path.write_text(re.sub(r"= \"[0-9a-f]{64}\"", f'= "{64 * "0"}"', path.read_text()))
    code, _, err = plait(
        capsys, monkeypatch, "clips", tmp_path / "twice", "--out", tmp_path / "c", "--seconds", 5
    )
    assert code == 2 and "share samples" in err and not (tmp_path / "c").exists()


def test_one_person_under_two_names_is_asked_about_and_merged(followed, tmp_path, capsys, monkeypatch):
    for name in ("a", "b"):
        shutil.copytree(followed.parent / "recordings" / "session-1", tmp_path / "twice" / name)
    path = tmp_path / "twice" / "b" / "recording.toml"
    path.write_text(path.read_text().replace('subject = "anna"', 'subject = "Anna "'))
    words = ("clips", tmp_path / "twice", "--out", tmp_path / "c", "--seconds", 5)
    code, _, err = plait(capsys, monkeypatch, *words)
    assert code == 2 and "subjects 'Anna' (recording b) and 'anna' (recording a) look alike" in err
    assert not (tmp_path / "c").exists() and err.count("\n") == 1
    code, out, err = plait(capsys, monkeypatch, *words, "--same-person", "anna=Anna")
    assert code == 0 and "anna: 20 clips" in out and "recordings a and b of anna are the same" in err
    assert {recording.subject for recording in open_clips(tmp_path / "c")} == {"anna"}
    code, _, err = plait(capsys, monkeypatch, *words, "--same-person", "anna")
    assert code == 2 and "expected names with = between them" in err


MINE = """
from plait.clips import Windows, open_clips
from plait.types import Dataset, Modality
from tests import tiny
wrist = Modality("wrist", ("wrist",), 100, 25.0, tiny.tensor, tiny.Linear)
MINE = Dataset("mine", ("neutral", "pressing", "plugging"), (wrist,), open_clips, "",
               windows=Windows(4.0, unlabelled="neutral", count=9))
"""


def test_a_data_set_beside_you_is_found_and_its_windows_are_kept(followed, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(tmp_path)])
    (tmp_path / "mine_of_clips.py").write_text(MINE)
    recordings = followed.parent / "recordings"
    words = ("clips", recordings, "--out", tmp_path / "c", "--dataset", "mine_of_clips:MINE")
    code, out, _ = plait(capsys, monkeypatch, *words)
    table, said = read_clips(tmp_path / "c")
    assert code == 0 and "unlabelled='neutral'" in out and said["windows"]["count"] == len(table) == 9
    assert set(table["activity"]) == {"neutral", "pressing", "plugging"} and said["windows"]["seconds"] == 4
    code, _, err = plait(capsys, monkeypatch, *words, "--count", 0, "--unlabelled", "", "--seconds", 30)
    table, said = read_clips(tmp_path / "c")
    assert code == 0 and table["activity"].to_list() == ["plugging"]
    assert "1 of 2 windows dropped: 1 its label is shorter than a window" in err
    assert "activity 'pressing': no clip at all (1 dropped)" in err and len(said["dropped"]) == 1
    encoder = ("--encoder", "tests.tiny:Linear", "--modality", "wrist")
    sys.modules.pop("mine_of_clips")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(tmp_path)])
    code, _, err = plait(
        capsys, monkeypatch, "features", tmp_path / "c", "--dataset", "mine_of_clips:MINE", *encoder
    )
    assert code == 0 and "1 of 8 windows dropped" in err
    code, out, _ = plait(capsys, monkeypatch, *words, "--stride", 2)
    assert code == 0 and read_clips(tmp_path / "c")[1]["windows"]["count"] is None


def _labels(text):
    return lambda folder: (folder / "labels.csv").write_text(f"start,stop,activity\n{text}\n")


def _wrist(text):
    return lambda folder: (folder / "wrist.csv").write_text(text)


def _truncated(folder):
    video = folder / "GOPR0042.MP4"
    video.write_bytes(video.read_bytes()[:50_000])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_truncated, "GOPR0042.MP4"),
        (_wrist(""), "wrist.csv"),
        (_wrist("t_s,ax,ay,az\n0,1,2,3\n0.1,1,x,3\n0.2,1,2,3\n"), "line 3"),
        (_wrist("t_s,ax,ay,az\n0,1,2,3\n0.1,1,2,3\n5,1,2,3\n0.2,1,2,3\n"), "backwards"),
        (_labels("12,999,pressing"), "ends at 999.00 s, expected it within the video"),
        (
            lambda folder: shutil.copy(folder / "wrist.csv", folder / "WRIST.tsv"),
            "two files for the stream 'wrist'",
        ),
    ],
)
def test_bad_files_are_one_line_and_leave_nothing(session, tmp_path, capsys, monkeypatch, spoil, said):
    own = tmp_path / "session"
    shutil.copytree(session / "session-1", own)
    spoil(own)
    code, _, err = plait(capsys, monkeypatch, "ingest", own, "--out", tmp_path / "recordings")
    assert code == 2 and said in err and err.count("\n") == 1
    assert not list((tmp_path / "recordings").glob("*")) if (tmp_path / "recordings").exists() else True


def test_an_unknown_activity_is_one_line(followed, tmp_path, capsys, monkeypatch):
    words = (
        "clips",
        followed.parent / "recordings",
        "--out",
        tmp_path / "c",
        "--dataset",
        "plait.datasets.glovid:GLOVID",
    )
    code, _, err = plait(capsys, monkeypatch, *words)
    assert (
        code == 2 and "activity 'plugging', expected one of: neutral" in err and not (tmp_path / "c").exists()
    )


def test_a_silent_video_is_laid_by_motion_alone_and_a_line_says_so(
    session, followed, tmp_path, capsys, monkeypatch
):
    import av

    own = tmp_path / "r" / "one"
    shutil.copytree(followed.parent / "recordings" / "session-1", own)
    with (
        av.open(str(session / "session-1" / "GOPR0042.MP4")) as source,
        av.open(str(own / "GOPR0042.MP4"), "w") as out,
    ):
        track = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = track
                out.mux(packet)
    code, out, _ = plait(capsys, monkeypatch, "sync", own)
    assert code == 0 and "the video has no sound: motion alone" in out and "wrist  sure" in out


def test_a_full_disk_is_one_line_and_leaves_what_stood(followed, tmp_path, capsys, monkeypatch):
    out = tmp_path / "c"
    shutil.copytree(followed, out)
    before = (out / "clips.parquet").read_bytes()

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        recordings = followed.parent / "recordings"
        code, _, err = plait(capsys, patched, "clips", recordings, "--out", out, "--seconds", 4)
    assert code == 2 and "No space left" in err and (out / "clips.parquet").read_bytes() == before
    assert [path.name for path in out.iterdir()] == ["clips.parquet"]


def test_a_full_small_disk(session, tmp_path, capsys, monkeypatch):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount")
    try:
        code, _, err = plait(
            capsys, monkeypatch, "ingest", session / "session-1", "--out", small / "recordings"
        )
        assert code == 2 and "No space left" in err and not list((small / "recordings").glob("*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_an_unsure_log_is_not_cut(followed, tmp_path, capsys, monkeypatch):
    own = tmp_path / "r" / "one"
    shutil.copytree(followed.parent / "recordings" / "session-1", own)
    write_sync(own, {"wrist": Clock(0.0, status="unsure")})
    code, _, err = plait(capsys, monkeypatch, "clips", own, "--out", tmp_path / "c", "--seconds", 5)
    assert code == 2 and "'wrist' is unsure" in err


def cut_copy(followed, tmp_path):
    """A copy of the recordings and of their table: the folder of the one recording, and that of the table."""
    shutil.copytree(followed.parent / "recordings", tmp_path / "recordings")
    shutil.copytree(followed, tmp_path / "clips")
    return tmp_path / "recordings" / "session-1", tmp_path / "clips"


def edit(path, old, new):
    """Put `new` in the place of `old` in a text file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.filterwarnings("ignore:.*not the file that was ingested")
@pytest.mark.parametrize(
    ("kinds", "file", "old", "new"),
    [
        ("labels", "labels.csv", "31.5,pressing", "31.5,plugging"),
        ("labels", "recording.toml", "[logs.wrist]", 'label_zero = "-1"\n[logs.wrist]'),
        ("subject", "recording.toml", 'subject = "anna"', 'subject = "ben"'),
        ("session", "recording.toml", "[logs.wrist]", 'session = "monday"\n[logs.wrist]'),
        ("clocks", "sync.json", '"offset_s": ', '"offset_s": 1'),
        ("readings", "wrist.csv", ";0.", ";1."),
    ],
)
def test_a_recording_that_is_another_than_when_it_was_cut_is_refused(
    followed, tmp_path, kinds, file, old, new
):
    recording, clips = cut_copy(followed, tmp_path)
    same = [span for opened in open_clips(clips) for span in opened.spans]
    assert len(same) == 10 and len(list(recordings_of(clips))) == 1
    edit(recording / file, old, new)
    refused = rf"clips.parquet: recording session-1: its {kinds}: others .*run `plait clips` again"
    for opening in (open_clips, recordings_of):
        with pytest.raises(DataError, match=refused):
            list(opening(clips))
    with pytest.raises(DataError, match=refused):
        LazyClips(clips, dataset())[0]
    table, _ = read_clips(clips)
    metadata = json.loads(pl.read_parquet_metadata(clips / "clips.parquet")["plait"])
    del metadata["contents"]
    table.write_parquet(clips / "clips.parquet", metadata={"plait": json.dumps(metadata)})  # as before
    assert [span for opened in open_clips(clips) for span in opened.spans] == same


def test_a_recording_that_was_added_since_is_said(followed, tmp_path):
    recording, clips = cut_copy(followed, tmp_path)
    shutil.copytree(recording, recording.with_name("session-2"))
    with pytest.warns(PlaitWarning, match=r"without session-2, added since .*`plait clips` again"):
        assert len(list(open_clips(clips))) == 1


def test_names_that_were_joined_are_no_others(followed, tmp_path, capsys, monkeypatch):
    recording, _ = cut_copy(followed, tmp_path)
    edit(recording / "recording.toml", 'subject = "anna"', 'subject = "Anna "')
    words = ("clips", recording.parent, "--out", tmp_path / "c", "--seconds", 5, "--same-person", "anna=Anna")
    assert plait(capsys, monkeypatch, *words)[0] == 0
    assert [opened.subject for opened in open_clips(tmp_path / "c")] == ["anna"]


@pytest.mark.parametrize("spoil", [b"no table", b""])
def test_a_damaged_table_is_one_line(tmp_path, spoil):
    (tmp_path / "clips.parquet").write_bytes(spoil)
    with pytest.raises(
        DataError, match=r"clips.parquet: cannot be read, expected a parquet file .*plait clips"
    ):
        read_clips(tmp_path)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "clips.parquet")
    with pytest.raises(DataError, match="clips.parquet: no column 'clip', expected clip, recording"):
        read_clips(tmp_path)


BOTH = """
from plait.clips import open_clips
from plait.datasets.glovid import rgb
from plait.types import Dataset, Modality
from tests import tiny
wrist = Modality("wrist", ("wrist",), 100, 25.0, tiny.tensor, tiny.Linear)
video = Modality("video", ("video",), 4, 1.0, rgb, tiny.Linear)
BOTH = Dataset("both", ("pressing", "plugging"), (video, wrist), open_clips, "")
"""


@pytest.mark.filterwarnings("ignore:.*not the file that was ingested")
def test_windows_after_a_sensor_has_stopped_are_kept_for_what_does_without(
    followed, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both_of_clips.py").write_text(BOTH)
    shutil.copytree(followed.parent / "recordings", tmp_path / "recordings")
    log = tmp_path / "recordings" / "session-1" / "wrist.csv"
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[: len(lines) // 3]))  # stops in the second label
    words = ("clips", "recordings", "--seconds", 4, "--out")
    code, _, err = plait(capsys, monkeypatch, *words, "whole")
    assert code == 0 and "after the last reading of wrist" in err
    code, _, err = plait(capsys, monkeypatch, *words, "kept", "--needs", "video")
    assert code == 0 and "wrist" not in err
    whole, kept = (len(read_clips(tmp_path / name)[0]) for name in ("whole", "kept"))
    assert 0 < whole < kept == 4 + 8
    monkeypatch.syspath_prepend(str(tmp_path))
    from both_of_clips import BOTH as both  # type: ignore[import-not-found]

    found = survey(both, tmp_path / "kept", ["video", "wrist"], missing="without")
    assert sum(clip.lacks == ("wrist",) for _, clip in found.cuts) == kept - whole
    assert len(survey(both, tmp_path / "kept", ["video", "wrist"]).cuts) == whole
    with pytest.raises(DataError, match=r"session-1: .* after the last reading of wrist"):
        survey(both, tmp_path / "whole", ["video", "wrist"], missing="refuse")  # what was cut away counts
    code, _, err = plait(capsys, monkeypatch, *words, "none", "--needs", "glove")
    assert code == 2 and "no stream 'glove', nor elsewhere" in err
