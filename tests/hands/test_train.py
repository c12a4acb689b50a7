"""A detector learns what is easy to see; the same seed gives the same bytes, whatever was set before."""

import cv2
import numpy as np
import polars as pl
import pytest
from safetensors.torch import save_file
from torchvision.models.detection import retinanet_resnet50_fpn_v2
from typer.testing import CliRunner

from plait.cli import app
from plait.clips import write_clips
from plait.datasets.simulated import SIMULATED, WINDOWS
from plait.errors import ConfigError, DataError
from plait.hands.boxes import ANNOTATIONS, read_boxes, write_boxes
from plait.hands.count import mode
from plait.hands.detections import Found
from plait.hands.detector import DESCRIPTION, WEIGHTS, detected, open_detector
from plait.hands.measure import measure
from plait.hands.train import Training, train
from plait.recordings.folder import Clock, open_recording, write_sync
from plait.recordings.ingest import ingest
from plait.simulator.simulate import simulate
from plait.simulator.truth import hand_boxes
from plait.simulator.writer import Settings
from plait.store import read_json, write_json
from tests.state import unsettled

SMALL = Training(side=96, steps=2, batch=2)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Raw recordings of two people, and boxes of the first."""
    folder = tmp_path_factory.mktemp("people")
    raws = simulate(folder / "raw", 2, Settings(5, 8, 128, 5), workers=1)
    write_boxes(raws[:1], folder / "learn")
    return folder


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Boxes to learn, and others, in noise: no, one or two blue cards in a picture, which nothing is like."""
    folder = tmp_path_factory.mktemp("cards")
    for seed, name in enumerate(("learn", "other")):
        rng = np.random.default_rng(seed)
        images, annotations = [], []
        (folder / name).mkdir()
        for number in range(24):
            picture = rng.integers(0, 90, (64, 80, 3)).astype(np.uint8)
            for half in range(number % 3):
                wide, tall = rng.integers(22, 32, 2)
                left, top = 40 * half + rng.integers(0, 40 - wide), rng.integers(0, 64 - tall)
                picture[top : top + tall, left : left + wide] = (230, 150, 90)
                box = [int(value) for value in (left, top, wide, tall)]
                annotations.append({"image_id": number, "category_id": 0, "bbox": box})
            cv2.imwrite(str(folder / name / f"{number}.png"), picture)
            images.append({"id": number, "file_name": f"{number}.png", "width": 80, "height": 64})
        said = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "hand"}]}
        write_json(folder / name / ANNOTATIONS, said)
    return folder


@pytest.mark.slow
def test_what_is_easy_to_see_is_found_where_it_was_not_learned(cards, tmp_path):
    pictures = read_boxes(cards / "other")

    def ap50(steps):
        made = train(cards / "learn", tmp_path / f"{steps}", Training(side=64, steps=steps, batch=4))
        found = detected(open_detector(str(made)), (one.load() for one in pictures))
        return measure([one.boxes for one in pictures], found).ap50

    assert ap50(1) < 0.1 and ap50(40) > 0.5  # 0.0 and 1.0, whatever the sums are rounded like


def test_clips_are_counted_and_their_truth_is_known(people, tmp_path, monkeypatch):
    raw = people / "raw" / "02"
    folder, _ = ingest([raw], tmp_path / "recordings")
    true = read_json(raw / "truth.json")
    write_sync(
        folder, {log: Clock(true["offset_s"][log], true["drift_ppm"][log]) for log in true["offset_s"]}
    )
    write_clips(
        tmp_path / "recordings",
        tmp_path / "clips",
        WINDOWS,
        activities=SIMULATED.activities,
        dataset="plait.datasets.simulated:SIMULATED",
    )
    video = open_recording(folder).streams["video"]
    showing = np.isfinite(hand_boxes(raw, video)[:, :, 0]).sum(1)
    told = dict(zip(map(bytes, video.at(video.times)), showing.tolist(), strict=True))
    monkeypatch.setitem(globals(), "KNOWN", {"hands": told})
    named = "tests.hands.test_train:knowing"
    asked = ["hands", "detect", str(tmp_path / "clips"), "--detector", named, "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*asked, "--truth", str(people / "raw")], catch_exceptions=False)
    table = pl.read_parquet(tmp_path / "run" / "hands.parquet")
    assert done.exit_code == 0 and f"agree on {len(table)} of {len(table)} clips" in done.stdout
    clips = pl.read_parquet(tmp_path / "clips" / "clips.parquet")
    right = [mode(showing[video.shown(start + np.arange(32) / 6)]) for start in clips["start_s"]]
    assert table["visible"].to_list() == table["count"].to_list() == right and len(set(right)) > 1


KNOWN: dict[str, dict[bytes, int]] = {}


def knowing(frames):
    """A detector that has been told how many hands each frame shows."""
    hands = [KNOWN["hands"][frame.tobytes()] for frame in frames]
    return [
        Found(np.array([[10.0 * i, 0, 10 * i + 8, 8] for i in range(n)]).reshape(-1, 4), np.ones(n))
        for n in hands
    ]


def test_the_same_seed_gives_the_same_bytes_and_what_stands_is_kept(people, tmp_path):
    def made(name, seed):
        return (
            train(people / "learn", tmp_path / name, Training(**{**vars_of(SMALL), "seed": seed})) / WEIGHTS
        )

    first, other = made("a", 1), made("c", 2)
    with unsettled():
        second = made("b", 1)
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


@pytest.mark.slow
def test_weights_for_a_network_that_brings_its_own_are_refused(people, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="lite0 brings its own"):
        train(people / "learn", tmp_path / "detector", SMALL, weights=tmp_path / "w.safetensors")
