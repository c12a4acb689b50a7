"""A detector trained on simulated people finds the hands of another; the same seed gives the same bytes."""

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.detection import retinanet_resnet50_fpn_v2
from typer.testing import CliRunner

from plait.cli import app
from plait.clips import write_clips
from plait.datasets.simulated import SIMULATED, WINDOWS
from plait.datasets.simulated.simulate import simulate
from plait.datasets.simulated.truth import hand_boxes
from plait.datasets.simulated.writer import Settings
from plait.errors import ConfigError, DataError
from plait.hands.boxes import read_boxes, write_boxes
from plait.hands.count import mode
from plait.hands.detector import DESCRIPTION, WEIGHTS, detected, open_detector
from plait.hands.measure import measure
from plait.hands.train import Training, train
from plait.recordings.folder import Clock, open_recording, write_sync
from plait.recordings.ingest import ingest
from plait.store import read_json

SMALL = Training(side=96, steps=2, batch=2)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Raw recordings of four people, and boxes of the first three and of the last."""
    folder = tmp_path_factory.mktemp("people")
    raws = simulate(folder / "raw", 4, Settings(5, 8, 128, 5), workers=1)
    write_boxes(raws[:3], folder / "learn")
    write_boxes(raws[3:], folder / "other", 1.2)
    return folder


@pytest.fixture(scope="module")
def detector(people):
    torch.set_num_threads(1)
    return train(people / "learn", people / "detector", Training(side=96, steps=160, batch=4, learning_rate=2e-3))


def test_hands_of_a_person_not_seen_are_found(people, detector):
    pictures = read_boxes(people / "other")
    told = measure(
        [one.boxes for one in pictures], detected(open_detector(str(detector)), (one.load() for one in pictures))
    )
    assert told.hands > 30
    assert told.ap50 is not None and told.ap50 > 0.6


def test_clips_are_counted_and_their_truth_is_known(people, detector, tmp_path):
    raw = people / "raw" / "04"
    folder, _ = ingest([raw], tmp_path / "recordings")
    true = read_json(raw / "truth.json")
    write_sync(folder, {log: Clock(true["offset_s"][log], true["drift_ppm"][log]) for log in true["offset_s"]})
    write_clips(
        tmp_path / "recordings",
        tmp_path / "clips",
        WINDOWS,
        activities=SIMULATED.activities,
        dataset="plait.datasets.simulated:SIMULATED",
    )
    asked = ["hands", "detect", str(tmp_path / "clips"), "--detector", str(detector), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*asked, "--truth", str(people / "raw")], catch_exceptions=False)
    table = pl.read_parquet(tmp_path / "run" / "hands.parquet")
    right = int((table["count"] == table["visible"]).sum())
    assert done.exit_code == 0 and f"agree on {right} of {len(table)} clips" in done.stdout
    video = open_recording(folder).streams["video"]
    showing = np.isfinite(hand_boxes(raw, video)[:, :, 0]).sum(1)
    clips = pl.read_parquet(tmp_path / "clips" / "clips.parquet")
    for start, seen in zip(clips["start_s"], table["visible"], strict=True):
        assert seen == mode(showing[video.shown(start + np.arange(32) / 6)])
    assert right >= 0.6 * len(table) and table["visible"].n_unique() > 1


def test_the_same_seed_gives_the_same_bytes_and_what_stands_is_kept(people, tmp_path):
    first, second, other = (
        train(people / "learn", tmp_path / name, Training(**{**vars_of(SMALL), "seed": seed})) / WEIGHTS
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    before = first.stat().st_mtime_ns
    train(people / "learn", tmp_path / "a", Training(**{**vars_of(SMALL), "seed": 1}))
    assert first.stat().st_mtime_ns == before
    about = read_json(tmp_path / "a" / DESCRIPTION)
    assert (about["network"], about["side"], about["trained"]["seed"]) == ("lite0", 96, 1)


def vars_of(training):
    return {name: getattr(training, name) for name in Training.__annotations__}


def test_training_that_is_stopped_leaves_nothing(people, tmp_path, monkeypatch):
    def stopped(weights, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("plait.hands.detector.save_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(people / "learn", tmp_path / "detector", SMALL)
    assert not list(tmp_path.iterdir())


def test_a_damaged_detector_is_refused(people, tmp_path):
    folder = train(people / "learn", tmp_path / "detector", SMALL)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(DataError, match=WEIGHTS):
        open_detector(str(folder))
    (folder / DESCRIPTION).write_text('{"network": "yolo", "side": 96}')
    with pytest.raises(DataError, match=r"detector.json: network: Input should be 'lite0' or 'resnet50'"):
        open_detector(str(folder))


def test_resnet50_starts_from_a_file_of_coco_s_form(people, tmp_path):
    published = retinanet_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=91)
    save_file(published.state_dict(), tmp_path / "coco.safetensors")
    training = Training("resnet50", 64, 1, 1)
    made = train(people / "learn", tmp_path / "detector", training, weights=tmp_path / "coco.safetensors")
    found = open_detector(str(made))(np.zeros((2, 48, 64, 3), np.uint8))
    assert len(found) == 2 and read_json(made / DESCRIPTION)["network"] == "resnet50"
    with pytest.raises(DataError, match="none.pt: cannot be read"):
        train(people / "learn", tmp_path / "other", training, weights=tmp_path / "none.pt")


def test_weights_for_a_network_that_brings_its_own_are_refused(people, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="lite0 brings its own"):
        train(people / "learn", tmp_path / "detector", SMALL, weights=tmp_path / "w.safetensors")
