"""How good a detector is where the truth is known: precision, recall, AP50, and how often it counts right."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torchvision.ops import box_iou

from plait.hands.count import SCORE, kept
from plait.hands.detections import Found

OVERLAP = 0.5  # intersection over union at which a box is the hand's
RECALLS = np.linspace(0, 1, 101)


class Measured(NamedTuple):
    """Shares from 0 to 1; `precision`, `recall` and `counted` are of the boxes that count, `ap50` of all."""

    pictures: int
    hands: int
    precision: float | None
    recall: float | None
    ap50: float | None
    counted: float


def measure(truth: Sequence[np.ndarray], found: Sequence[Found], score: float = SCORE) -> Measured:
    """A detector's boxes against the true ones `(n, 4)`, picture by picture.

    * `precision`: share of the boxes that count (`plait.hands.count.kept`) that are a hand's.
    * `recall`: share of the hands that have such a box.
    * `ap50`: `average_precision` of all boxes.
    * `counted`: share of the pictures in which as many boxes count as there are hands.

    None where there is nothing to take a share of.
    """
    counted = [kept(detections, score) for detections in found]
    hands = sum(len(boxes) for boxes in truth)
    pairs = list(zip(truth, counted, strict=True))
    right = np.concatenate([matched(boxes, detections) for boxes, detections in pairs])
    hits = np.concatenate(
        [matched(boxes, detections) for boxes, detections in zip(truth, found, strict=True)]
    )
    alike = [len(boxes) == len(detections.boxes) for boxes, detections in pairs]
    scores = np.concatenate([detections.scores for detections in found])
    return Measured(
        len(truth),
        hands,
        float(right.mean()) if len(right) else None,
        float(right.sum() / hands) if hands else None,
        average_precision(scores, hits, hands) if hands else None,
        float(np.mean(alike)),
    )


def matched(truth: np.ndarray, found: Found) -> np.ndarray:
    """Which of the boxes found in a picture are a hand's, `(n,)`, bool.

    The surest box chooses first: the true one `(m, 4)` that it overlaps most among those not yet taken, if
    that overlap (intersection over union) is 0.5 or more.
    """
    right = np.zeros(len(found.boxes), bool)
    if len(truth) == 0 or len(right) == 0:
        return right
    overlaps = box_iou(torch.from_numpy(found.boxes).double(), torch.from_numpy(truth).double()).numpy()
    for row in np.argsort(-found.scores, kind="stable"):
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= OVERLAP:
            right[row] = True
            overlaps[:, best] = -1.0
    return right


def average_precision(scores: np.ndarray, right: np.ndarray, hands: int) -> float:
    """The mean, over 101 recalls from 0 to 1, of the best precision at that recall or higher, as in COCO.

    `scores` `(n,)` and `right` `(n,)` are of all boxes in all pictures; `hands` is how many are to be found.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hits / hands, RECALLS - 1e-12)
    return float(np.mean(np.append(best, 0.0)[at]))
