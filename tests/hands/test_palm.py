"""MediaPipe's palm model behind the interface: anchors and decoding by loops, a stand-in interpreter."""

import builtins
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from plait.errors import ConfigError, DataError
from plait.hands.detections import Found
from plait.hands.detector import open_detector
from plait.hands.palm import anchors, decoded, letterboxed, suppressed


def looped_anchors():
    """SsdAnchorsCalculator of the palm graph: layers of one stride together, two anchors of each a place."""
    made, strides, layer = [], [8, 16, 16, 16], 0
    while layer < len(strides):
        same = [s for s in strides[layer:] if s == strides[layer]]
        side = 192 // strides[layer]
        for y in range(side):
            for x in range(side):
                made += [((x + 0.5) / side, (y + 0.5) / side)] * (2 * len(same))
        layer += len(same)
    return np.array(made)


def test_anchors_come_in_the_order_of_the_published_calculator():
    assert anchors().shape == (2016, 2)
    np.testing.assert_allclose(anchors(), looped_anchors())


def outputs(*hits):
    """Raw outputs in which anchor `row` says a box (centre and size in pixels of 192) with this logit."""
    raw, logits = np.zeros((2016, 18), np.float32), np.full(2016, -200.0, np.float32)
    for row, (x, y, w, h), logit in hits:
        raw[row, :4] = (x - 192 * looped_anchors()[row, 0], y - 192 * looped_anchors()[row, 1], w, h)
        logits[row] = logit
    return raw, logits


def test_boxes_are_offsets_from_their_anchor_and_scores_logistic():
    found = decoded(
        *outputs((5, (96, 48, 24, 12), 2.0), (1500, (10, 20, 8, 8), 0.0), (7, (1, 1, 1, 1), -0.01))
    )
    assert found.scores == pytest.approx([1 / (1 + np.exp(-2)), 0.5])
    np.testing.assert_allclose(found.boxes * 192, [[84, 42, 108, 54], [6, 16, 14, 24]], atol=1e-4)


def test_boxes_that_overlap_become_their_weighted_mean_and_keep_the_surest_score():
    boxes = np.array([[0.0, 0, 10, 10], [1.0, 0, 11, 10], [50.0, 50, 60, 60], [5.5, 0, 15.5, 10]])
    scores = np.array([0.6, 0.9, 0.7, 0.8])
    # From the surest, the second: the first overlaps it by 9 / 11, the last by 5.5 / 14.5 = 0.38,
    # the third does not.
    merged = suppressed(Found(boxes, scores))
    near = [1, 3, 0]
    expected = sum(scores[i] * boxes[i] for i in near) / sum(scores[i] for i in near)
    np.testing.assert_allclose(merged.boxes, [expected, boxes[2]])
    assert merged.scores.tolist() == [0.9, 0.7]
    assert len(suppressed(Found(np.zeros((0, 4)), np.zeros(0))).boxes) == 0
    assert len(suppressed(Found(np.zeros((2, 4)), np.ones(2))).boxes) == 2  # without area, nothing overlaps


def test_a_frame_keeps_its_proportions_between_black_bars():
    frame = np.full((100, 400, 3), 255, np.uint8)
    image, scale, left, top = letterboxed(frame)
    assert (scale, left, top) == (0.48, 0, 72) and image.shape == (192, 192, 3)
    assert (image[72:120] == 1).all() and (image[:72] == 0).all() and (image[120:] == 0).all()


class Interpreter:
    """LiteRT's interface, saying one thing of any image."""

    shape = (1, 192, 192, 3)

    def __init__(self, model_path):
        self.path, self.given = model_path, []

    def allocate_tensors(self):
        if b"TFL3" not in Path(self.path).read_bytes():
            raise ValueError("Model provided has model identifier 'no t', should be 'TFL3'")

    def get_input_details(self):
        return [{"index": 0, "shape": np.array(self.shape)}]

    def get_output_details(self):
        return [{"index": 3, "shape": np.array([1, 2016, 18])}, {"index": 9, "shape": np.array([1, 2016, 1])}]

    def set_tensor(self, index, value):
        assert index == 0 and value.shape == self.shape and value.dtype == np.float32
        self.given.append(value)

    def invoke(self):
        raw, logits = outputs(
            (0, (96, 96, 48, 24), 3.0), (1, (96, 96, 48, 24), 1.0), (2015, (192, 180, 40, 40), 1.0)
        )
        self.tensors = {3: raw[None], 9: logits[None, :, None]}

    def get_tensor(self, index):
        return self.tensors[index]


@pytest.fixture
def litert(monkeypatch):
    module = ModuleType("ai_edge_litert.interpreter")
    module.Interpreter = Interpreter
    monkeypatch.setitem(sys.modules, "ai_edge_litert", ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "palm.tflite").write_bytes(b"\x1c\0\0\0TFL3")
    return tmp_path / "palm.tflite"


def test_what_it_finds_is_in_pixels_of_the_frame(litert, model):
    first, second = open_detector(str(model))(np.zeros((2, 96, 384, 3), np.uint8))
    # Half as large, 72 rows of black above: (72, 84, 120, 108) of 192 is (144, 24, 240, 72) of 384 x 96.
    np.testing.assert_allclose(first.boxes[0], [144, 24, 240, 72], atol=1e-3)
    np.testing.assert_allclose(first.boxes[1], [344, 96, 384, 96], atol=1e-3)  # cut off at the frame's edges
    assert first.scores == pytest.approx([1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-1))])
    np.testing.assert_array_equal(first.boxes, second.boxes)


def test_files_that_will_not_do(litert, model, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no such file, expected MediaPipe's palm_detection_full.tflite"):
        open_detector(str(tmp_path / "none.tflite"))
    (tmp_path / "other.tflite").write_bytes(b"no tflite")
    with pytest.raises(DataError, match="expected a model for LiteRT"):
        open_detector(str(tmp_path / "other.tflite"))
    monkeypatch.setattr(Interpreter, "shape", (1, 128, 128, 3))
    with pytest.raises(DataError, match=r"\(1, 128, 128, 3\).*expected \(1, 192, 192, 3\)"):
        open_detector(str(model))


def test_without_the_extra_it_says_what_to_install(model, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **kwargs):
        if name.startswith("ai_edge_litert"):
            raise ImportError(name)
        return real(name, *rest, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"pip install 'plait\[palm\]'"):
        open_detector(str(model))
