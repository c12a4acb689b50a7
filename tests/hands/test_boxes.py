"""Boxes as COCO writes them: what is read, what is refused, and the truth of simulated recordings."""

import json
import shutil

import av
import cv2
import numpy as np
import pytest

from plait.errors import DataError, PlaitWarning
from plait.hands.boxes import ANNOTATIONS, read_boxes, write_boxes
from plait.recordings.video import Video
from plait.simulator.scene import in_view
from plait.simulator.simulate import simulate
from plait.simulator.truth import hand_boxes
from plait.simulator.writer import Settings


def coco():
    return {
        "images": [{"id": 7, "file_name": "a/one.png", "width": 40, "height": 30, "license": 3}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [30.5, 20, 20, 5], "area": 100},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        ],
        "categories": [{"id": 2, "name": "glove"}],
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "boxes" / "a").mkdir(parents=True)
    colours = np.zeros((30, 40, 3), np.uint8)
    colours[:, :, 2] = 200  # OpenCV's order: red
    cv2.imwrite(str(tmp_path / "boxes" / "a" / "one.png"), colours)
    (tmp_path / "outside.png").write_bytes((tmp_path / "boxes" / "a" / "one.png").read_bytes())
    write(tmp_path / "boxes", coco())
    return tmp_path / "boxes"


def write(folder, said):
    (folder / ANNOTATIONS).write_text(json.dumps(said))


def test_boxes_are_edges_within_the_picture_and_crowds_are_left_out(folder):
    (picture,) = read_boxes(folder)
    assert picture.boxes.tolist() == [[30.5, 20, 40, 25]]
    assert picture.load()[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["glove", "screwdriver"], "boxes of 'screwdriver' count as hands"),
        (["hand", *"abcdefgh"], "boxes of 'a', 'b', 'c', 'd', 'e', 'f' and 2 more count as hands"),
        (["person", "bottle"], "boxes of 'person', 'bottle' count as hands"),
        (["left hand", "right hand"], None),
        (["Left", "R"], None),
        (["object"], None),
    ],
)
def test_boxes_of_what_is_called_no_hand_are_said(folder, names, said):
    content = coco()
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate([*names, "unused"])]
    content["annotations"] = [
        {"image_id": 7, "category_id": number, "bbox": [1, 2, 3, 4]} for number in range(len(names))
    ]
    write(folder, content)
    if said is None:
        assert len(read_boxes(folder)[0].boxes) == len(names)
    else:
        with pytest.warns(PlaitWarning, match=said):
            assert len(read_boxes(folder)[0].boxes) == len(names)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (
            ("images", 0, "file_name"),
            "../outside.png",
            "images.0.file_name: '../outside.png', expected a file inside",
        ),
        (("images", 0, "file_name"), "none.png", "images.0.file_name"),
        (("images", 0, "width"), 0, "images.0.width"),
        (("annotations", 0, "image_id"), 8, "annotations.0.image_id: 8, expected the id of one of images"),
        (("annotations", 0, "category_id"), 1, "annotations.0.category_id: 1"),
        (("annotations", 0, "bbox"), [1, 2, 3], "annotations.0.bbox.3: Field required"),
        (
            ("annotations", 0, "bbox"),
            [1, 2, 0, 4],
            "annotations.0.bbox: [1.0, 2.0, 0.0, 4.0], expected left, top",
        ),
        (("annotations", 0, "bbox"), [41, 2, 3, 4], "annotations.0.bbox"),
        (("annotations", 0, "bbox"), [float("nan"), 2, 3, 4], "annotations.0.bbox.0"),
        (("categories",), None, "categories"),
        (("images",), [], "images: none"),
    ],
)
def test_what_cannot_be_is_refused_with_file_and_field(folder, where, value, said):
    changed = coco() | ({"annotations": []} if where == ("images",) else {})
    inside = changed
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = value
    write(folder, changed)
    with pytest.raises(DataError) as error:
        read_boxes(folder)
    assert str(error.value).startswith(f"{folder / ANNOTATIONS}: ") and said in str(error.value)


def test_a_picture_that_is_absent_damaged_or_of_another_size(folder):
    changed = coco()
    changed["images"][0]["width"] = 41
    write(folder, changed)
    with pytest.raises(DataError, match=r"one.png: 40 x 30 pixels, expected 41 x 30"):
        read_boxes(folder)[0].load()
    (folder / "a" / "one.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="expected a picture"):
        read_boxes(folder)[0].load()
    with pytest.raises(DataError, match=f"{ANNOTATIONS}: cannot be read"):
        read_boxes(folder / "a")


def test_less_than_a_third_in_view_is_not_seen():
    boxes = np.array([[0.0, 0, 30, 10], [-20, 0, 10, 10], [-20.1, 0, 9.9, 10], [-30, -30, -1, -1]])
    cut = in_view(boxes, (0, 0, 100, 100))
    assert cut[:2].tolist() == [[0, 0, 30, 10], [0, 0, 10, 10]] and np.isnan(cut[2:]).all()


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("raw"), 1, Settings(3, 8, 96, 5), workers=1)[0]


def test_the_whole_frame_has_the_boxes_that_the_simulation_wrote(raw):
    whole = hand_boxes(raw, Video(raw / "video.mp4", None, None))
    with np.load(raw / "truth.npz") as truth:
        np.testing.assert_allclose(whole, truth["boxes"], atol=1e-3)


def test_boxes_follow_resize_and_crop(raw):
    # Twice as large (96 to 192), of 256 x 192 the middle 160: 48 pixels are cut off left, 16 at the top.
    shown = hand_boxes(raw, Video(raw / "video.mp4", 192, 160))
    with np.load(raw / "truth.npz") as truth:
        moved = 2 * truth["boxes"] - [48, 16, 48, 16]
    inside = np.isfinite(moved).all(2) & (moved > 1).all(2) & (moved < 159).all(2)
    assert inside.sum() > 50
    np.testing.assert_allclose(shown[inside], moved[inside], atol=1e-2)
    assert np.nanmin(shown) >= 0 and np.nanmax(shown) <= 160


def test_simulated_recordings_become_pictures_with_boxes(raw, tmp_path):
    out = write_boxes([raw.parent], tmp_path / "boxes", 2.0)
    pictures = read_boxes(out)
    video = Video(raw / "video.mp4")
    boxes = hand_boxes(raw, video)
    for picture in pictures:
        number = int(picture.file.stem)
        truth = boxes[number][np.isfinite(boxes[number, :, 0])]
        np.testing.assert_allclose(picture.boxes, truth, atol=0.03)
        there = video.at(video.times[[number]])[0]
        assert np.abs(picture.load().astype(int) - there).mean() < 4  # JPEG
    assert {len(picture.boxes) for picture in pictures} >= {0, 2}
    before = (out / ANNOTATIONS).stat().st_mtime_ns
    assert write_boxes([raw], out, 2.0) == out and (out / ANNOTATIONS).stat().st_mtime_ns == before
    write_boxes([raw], out, 4.0)
    assert len(read_boxes(out)) < len(pictures)


def test_recordings_without_truth_or_with_one_name_are_refused(raw, tmp_path):
    with pytest.raises(DataError, match="no truth.npz"):
        write_boxes([tmp_path], tmp_path / "boxes")
    with pytest.raises(DataError, match="two recordings are called '01'"):
        write_boxes([raw, raw], tmp_path / "boxes")
    assert not (tmp_path / "boxes").exists()


def test_a_film_of_which_pictures_cannot_be_decoded_is_refused(raw, tmp_path):
    damaged = tmp_path / "01"
    shutil.copytree(raw, damaged)
    with av.open(str(damaged / "video.mp4")) as container:
        packet = [one for one in container.demux(video=0) if one.size][40]
    film = bytearray((damaged / "video.mp4").read_bytes())
    film[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    (damaged / "video.mp4").write_bytes(film)
    with pytest.raises(
        DataError, match=r"video\.mp4: \d+ of \d+ frames cannot be decoded, the first at \d+\.\d+ s"
    ):
        write_boxes([damaged], tmp_path / "boxes", every_s=0.1)
    assert not (tmp_path / "boxes").exists()
