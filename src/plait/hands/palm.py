"""MediaPipe's palm detector, for bare hands, from a `.tflite` file that the user points at.

Anchors, decoding and suppression are those of MediaPipe's `modules/palm_detection/palm_detection_cpu.pbtxt`
and its calculators (Zhang et al., MediaPipe Hands, 2020). The boxes are of palms, smaller than of hands.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torchvision.ops import box_iou

from plait.errors import ConfigError, DataError, one_line
from plait.hands.detections import Found
from plait.store import checksum

SIDE = 192
STRIDES = ((8, 2), (16, 6))  # anchors a place: two of a layer, and three layers of stride 16
VALUES = 18  # a box and seven points
LEAST, OVERLAP, CLIPPED = 0.5, 0.3, 100.0


@dataclass(frozen=True, eq=False)
class Palm:
    """The palm model as a detector."""

    interpreter: Any  # LiteRT's, with the model
    source: int  # the number of its input
    boxes: int  # the number of its output of boxes
    scores: int  # the number of its output of scores
    key: str  # stands for the model

    def __call__(self, frames: np.ndarray) -> list[Found]:
        """What it finds in frames `(n, height, width, 3)`, one after the other, the surest first."""
        return [self._find(frame) for frame in frames]

    def _find(self, frame: np.ndarray) -> Found:
        image, scale, left, top = letterboxed(frame)
        self.interpreter.set_tensor(self.source, image[None])
        self.interpreter.invoke()
        raw, logits = (self.interpreter.get_tensor(number)[0] for number in (self.boxes, self.scores))
        shares, scores = suppressed(decoded(raw, logits[:, 0]))
        height, width = frame.shape[:2]
        boxes = (shares * SIDE - [left, top, left, top]) / scale
        return Found(np.clip(boxes, 0, [width, height, width, height]).astype(np.float32), scores)


def open_palm(path: Path) -> Palm:
    """The palm detector of `palm_detection_full.tflite` or `palm_detection_lite.tflite`: `plait[palm]`.

    Raises:
        ConfigError: the extra is not installed.
        DataError: the file is missing, damaged, or another model's.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected MediaPipe's palm_detection_full.tflite")
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ConfigError("ai-edge-litert is not installed: pip install 'plait[palm]'") from error
    try:
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({one_line(error)}), expected a model for LiteRT") from error
    (source, *_), outputs = interpreter.get_input_details(), interpreter.get_output_details()
    shape = tuple(int(n) for n in source["shape"])
    number_of = {tuple(int(n) for n in output["shape"]): output["index"] for output in outputs}
    count = len(anchors())
    image, boxes, scores = (1, SIDE, SIDE, 3), (1, count, VALUES), (1, count, 1)
    if shape != image or boxes not in number_of or scores not in number_of:
        got = f"{shape} to {', '.join(map(str, number_of))}"
        raise DataError(f"{path}: a model from {got}, expected {image} to {boxes} and {scores}")
    return Palm(interpreter, source["index"], number_of[boxes], number_of[scores], checksum(path))


def anchors() -> np.ndarray:
    """The centres (2016, 2), x and y as shares of the image, in the order of the model's outputs.

    Row by row, a stride at a time; every anchor is as large as the image (`fixed_anchor_size`).
    """
    parts = []
    for stride, each in STRIDES:
        places = (np.arange(SIDE // stride) + 0.5) * stride / SIDE
        y, x = np.meshgrid(places, places, indexing="ij")
        parts.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), each, axis=0))
    return np.concatenate(parts)


def decoded(raw: np.ndarray, logits: np.ndarray) -> Found:
    """The model's outputs `(2016, 18)` and `(2016,)` as boxes in shares of the image, scored 0.5 or more."""
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -CLIPPED, CLIPPED)))
    rows = np.flatnonzero(scores >= LEAST)
    centre, size = raw[rows, :2] / SIDE + anchors()[rows], raw[rows, 2:4] / SIDE
    return Found(np.concatenate([centre - size / 2, centre + size / 2], axis=1), scores[rows])


def suppressed(found: Found) -> Found:
    """Boxes that overlap the surest by more than 0.3 become one with it: their mean, weighted by scores.

    Then the surest of those left, and so on; each keeps its own score. (MediaPipe's `WEIGHTED` suppression.)
    """
    boxes, scores = found
    left = np.argsort(-scores, kind="stable")
    means, highest = [], []
    while len(left):
        others = torch.from_numpy(boxes[left])
        near = (box_iou(others[:1], others)[0] > OVERLAP).numpy()
        near[0] = True  # itself, even if it has no area
        means.append(np.average(boxes[left[near]], axis=0, weights=scores[left[near]]))
        highest.append(scores[left[0]])
        left = left[~near]
    return Found(np.array(means).reshape(-1, 4), np.array(highest))


def letterboxed(frame: np.ndarray) -> tuple[np.ndarray, float, int, int]:
    """A frame as the model wants it: (192, 192, 3), float32 in [0, 1], in proportion between black bars.

    Also by how much it was scaled, and how wide the bars on the left and at the top are.
    """
    height, width = frame.shape[:2]
    scale = SIDE / max(height, width)
    wide, tall = round(width * scale), round(height * scale)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(np.ascontiguousarray(frame), (wide, tall), interpolation=interpolation)
    left, top = (SIDE - wide) // 2, (SIDE - tall) // 2
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    image[top : top + tall, left : left + wide] = small.astype(np.float32) / 255
    return image, scale, left, top
