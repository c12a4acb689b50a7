"""Some moments of every activity, one picture: `python benchmarks/simulated_sheet.py OUT.jpg`."""

import sys
from pathlib import Path

import cv2
import numpy as np

from plait.simulator.scene import Scene
from plait.simulator.world import HARD
from plait.simulator.writer import Settings, plan

MOMENTS_S = np.array([0.6, 1.4, 2.2, 3.0, 3.8, 4.6])
LEFT = 190  # pixels for the names


def sheet(subject: int = 3, height: int = 150) -> np.ndarray:
    """A row of pictures per activity, RGB: the first stretch of each in the hard world."""
    made = plan(subject, Settings(0, 32, height, 30, world=HARD))
    scene = Scene(made.motion, made.look, height * 4 // 3, height, (0, subject, 5), made.slips)
    starts = {stretch.activity: stretch.start_s for stretch in reversed(made.stretches)}
    rows = []
    for activity, start_s in sorted(starts.items()):
        name = np.full((height, LEFT, 3), 255, np.uint8)
        for line, word in enumerate(activity.split(" ", 1)):
            cv2.putText(
                name, word, (8, 65 + 26 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (40, 40, 40), 1, cv2.LINE_AA
            )
        frames = scene.frames(start_s + MOMENTS_S)
        pictures = [np.pad(f.draw(), ((0, 4), (0, 4), (0, 0)), constant_values=255) for f in frames]
        rows.append(
            np.concatenate([np.pad(name, ((0, 4), (0, 0), (0, 0)), constant_values=255), *pictures], axis=1)
        )
    return np.concatenate(rows)


if __name__ == "__main__":
    written, content = cv2.imencode(
        ".jpg", cv2.cvtColor(sheet(), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82]
    )
    Path(sys.argv[1]).write_bytes(content.tobytes())
