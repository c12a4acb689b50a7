"""Counts of clips from frames that say their own count, and a detector that reads it."""

from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from plait.cli import app
from plait.clips import listed
from plait.datasets.glovid import HandsDataset
from plait.datasets.simulated import SIMULATED
from plait.errors import ConfigError, DataError
from plait.hands.count import clips_to_count, count_clips, write_counts
from plait.hands.detections import Found
from plait.hands.detector import detected, open_detector
from plait.hands.table import SCHEMA, TABLE
from plait.recordings.video import rgb
from plait.results import read_hands, read_run
from plait.study.run import run_study
from plait.types import Modality, Readings, Recording, Span
from tests import tiny

HANDS = {"rest": 0, "press": 1, "plug": 2}
SAID = {"rest": [0, 0, 0, 1], "press": [0, 0, 1, 2], "plug": [2, 0, 1, 1]}  # hands in each frame of a clip


class Frames:
    """Ten frames a second, of one second's clips; the first pixel says how many hands there are."""

    def __init__(self, counts):
        self.counts, self.asked = counts, 0
        self.times = np.arange(len(counts)) / 10

    def at(self, seconds):
        self.asked += len(seconds)
        frames = np.zeros((len(seconds), 8, 8, 3), np.uint8)
        frames[:, 0, 0, 0] = np.array(self.counts)[np.round(seconds * 10).astype(int)]
        return frames


def reads(frames):
    """A detector that finds what the first pixel says, ten pixels apart, and one unsure box more."""
    boxes = np.array([[10.0 * i, 0, 10 * i + 8, 8] for i in range(4)])
    return [Found(boxes[: n + 1], np.array([0.9] * n + [0.2])) for n in frames[:, 0, 0, 0].tolist()]


# Recordings by number: what a data set's function holds is part of keys, and these count their readings.
MADE = []


def made(data, number):
    return iter([MADE[number]])


def dataset(stream, spans, key=None):
    recording = Recording("r", "1", {"video": stream}, spans, key)
    video = Modality("video", ("video",), 4, 10.0, rgb, lambda shape: None)
    MADE.append(recording)
    return HandsDataset("own", tuple(HANDS), (video,), partial(made, number=len(MADE) - 1), "", hands=HANDS)


@pytest.fixture
def own():
    stream = Frames([n for counts in SAID.values() for n in counts])
    return dataset(stream, tuple(Span(0.4 * i, 0.4 * i + 0.4, name) for i, name in enumerate(SAID)), "k")


def cuts(data, tmp_path):
    return listed(data, tmp_path, ["video"])


def test_a_clip_has_the_mode_of_its_frames_and_misses_what_is_expected_of_its_activity(own, tmp_path):
    table = count_clips(own, cuts(own, tmp_path), "video", reads)
    assert table.schema == SCHEMA and table["clip"].to_list() == ["r/0000", "r/0001", "r/0002"]
    assert table.select("frames", "count", "expected", "missing", "visible").rows() == [
        (4, 0, 0, 0, None),
        (4, 0, 1, 1, None),
        (4, 1, 2, 1, None),
    ]


def test_frames_that_clips_share_are_looked_at_once(tmp_path):
    stream = Frames([2] * 8)
    data = dataset(stream, (Span(0.0, 0.4, "plug"), Span(0.2, 0.6, "plug"), Span(0.4, 0.8, "rest")))
    table = count_clips(data, cuts(data, tmp_path), "video", reads)
    assert stream.asked == 8 and table["missing"].to_list() == [0, 0, 0]


def test_a_table_that_stands_is_kept_until_something_changes(own, tmp_path):
    stream = next(own.recordings(tmp_path)).streams["video"]
    table = write_counts(own, cuts(own, tmp_path), "video", reads, tmp_path / "run")
    asked = stream.asked
    assert write_counts(own, cuts(own, tmp_path), "video", reads, tmp_path / "run").equals(table)
    assert stream.asked == asked and pl.read_parquet(tmp_path / "run" / TABLE).equals(table)
    write_counts(own, cuts(own, tmp_path), "video", reads, tmp_path / "run", score=0.1)
    assert stream.asked == 2 * asked
    changed = replace(own, hands=HANDS | {"rest": 2})
    again = write_counts(changed, cuts(own, tmp_path), "video", reads, tmp_path / "one.parquet")
    assert again["missing"].to_list() == [2, 1, 1] and (tmp_path / "one.parquet").is_file()


def test_what_cannot_be_counted_is_refused(own, tmp_path):
    with pytest.raises(ConfigError, match="data set own: hands: nothing of 'plug'"):
        count_clips(replace(own, hands={"rest": 0, "press": 1}), cuts(own, tmp_path), "video", reads)
    stream = next(own.recordings(tmp_path)).streams["video"]
    stream.at = lambda seconds: np.zeros((len(seconds), 5))
    with pytest.raises(
        DataError, match="recording r, modality video: readings are float64 of shape \\(5,\\)"
    ):
        count_clips(own, cuts(own, tmp_path), "video", reads)


def test_a_user_s_own_detector_is_named_by_its_path():
    assert open_detector("tests.hands.test_count:reads") is reads
    with pytest.raises(ConfigError, match="--detector tests.hands.test_count:HANDS: a dict"):
        open_detector("tests.hands.test_count:HANDS")
    with pytest.raises(DataError, match="detector.json: cannot be read"):
        open_detector("nowhere")


def test_pictures_of_several_sizes_are_looked_at_in_order():
    pictures = [np.full((side, 8, 3), n, np.uint8) for n, side in enumerate((8, 8, 9, 8))]
    assert [len(one.boxes) for one in detected(reads, pictures)] == [1, 2, 3, 4]


def test_the_simulated_data_set_expects_hands_of_every_activity():
    assert set(SIMULATED.hands) == set(SIMULATED.activities) and set(SIMULATED.hands.values()) == {0, 1, 2}


WORK = ("rest", "plug")  # which take no hand, and two


def worked(data, turned=False):
    """Three people who rest and plug in turns of four seconds; while they plug, one hand is hidden."""
    for subject in "123":
        stops = np.arange(1, 9)
        does = [WORK[(stop + turned) % 2] for stop in stops]
        counts = np.repeat([0 if activity == "rest" else 1 for activity in does], 40)
        log = Readings(np.arange(320) / 10, np.repeat([[float(n)] for n in counts[::40]], 40, axis=0))
        spans = tuple(Span(4.0 * (n - 1), 4.0 * n, does[n - 1]) for n in stops)
        yield Recording(f"r{subject}", subject, {"video": Frames(counts), "log": log}, spans)


WORKED = HandsDataset(
    "worked",
    WORK,
    (
        Modality("video", ("video",), 9, 10.0, rgb, lambda shape: None),
        Modality("log", ("log",), 19, 10.0, torch.as_tensor, tiny.Linear),
    ),
    worked,
    "",
    hands={"rest": 0, "plug": 2},
)


def test_hands_are_counted_in_the_study_s_windows_and_in_no_others(tmp_path, monkeypatch):
    """The film's window is half the log's: clips of one name would be of other moments and activities."""
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    run, methods = tmp_path / "run", {"log": {"use": "plait.fusion:Single", "args": {"modality": "log"}}}
    study = {"name": "s", "dataset": f"{__name__}:WORKED", "modalities": ["log"], "methods": methods}
    train = {"max_epochs": 1, "choose": "last"}
    run_study(study | {"modalities": ["video", "log"], "train": train}, tmp_path, run, doctor=False)
    facts, predictions = read_run(run)

    def fig_8(cuts):
        write_counts(WORKED, cuts, "video", reads, run)
        return read_hands(run, facts, predictions)

    right = fig_8(clips_to_count(WORKED, tmp_path, "video"))
    found = predictions.join(right.select("clip", "missing"), on="clip")
    assert found["missing"].to_list() == [int(activity == "plug") for activity in found["activity"]]
    with pytest.raises(
        DataError, match="clips of 1 are cut or labelled otherwise than in the run; run `plait"
    ):
        fig_8(listed(WORKED, tmp_path, ["video"]))
    relabelled = replace(WORKED, recordings=partial(worked, turned=True))
    with pytest.raises(DataError, match="clips of 1 are cut or labelled otherwise"):
        fig_8(clips_to_count(relabelled, tmp_path, "video"))
    asked = ["hands", "detect", str(tmp_path), "--dataset", f"{__name__}:WORKED", "--trust", __name__]
    done = CliRunner().invoke(app, [*asked, "--detector", f"{__name__}:reads", "--out", str(run)])
    assert done.exit_code == 0 and "1 missing: 24 clips" in done.stdout
    assert read_hands(run, facts, predictions).equals(right)
