"""What is true of a simulated recording, as clips show it: where hands are, and which sensor tells."""

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import polars as pl

from plait.errors import DataError, one_line
from plait.recordings.video import Video
from plait.simulator.cycles import CYCLES
from plait.simulator.scene import hand_box, in_view, thickness
from plait.store import explained, read_json, regular

TRUTH = "truth.npz"
FARTHEST = 1e6  # pixels, or metres
WRONG = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
CROPPED = 224 / 256  # of a picture's height, the side of the square that networks see


def raw_folders(sources: Sequence[Path]) -> list[Path]:
    """The raw recordings with their truth among `sources`: each is one, or a folder of them.

    Raises:
        DataError: one holds none.
    """
    folders: list[Path] = []
    for source in sources:
        raws = sorted(path.parent for path in source.glob(f"*/{TRUTH}"))
        if (source / TRUTH).is_file():
            raws = [source]
        if not raws:
            expected = "expected a raw recording that `plait simulate` wrote, or several"
            raise DataError(f"{source}: no {TRUTH}, {expected}")
        folders += raws
    return folders


def hand_boxes(raw: Path, video: Video) -> np.ndarray:
    """Boxes (frames, 2, 4) of the left and the right hand in pixels of `video`, of the recording in `raw`.

    Left, top, right, bottom, cut off at the picture's edges; NaN where less than a third of the hand shows. A
    hand that another one covers counts.

    Raises:
        DataError: the truth is missing, damaged, or not of this video.
    """
    path = raw / TRUTH
    arrays = _arrays(path, ("joints", "pixels"))
    joints, pixels = arrays["joints"].astype(np.float64), arrays["pixels"].astype(np.float64)
    try:
        size = float(read_json(raw / "truth.json")["person"]["size"])
    except WRONG as error:
        raise DataError(
            f"{raw / 'truth.json'}: no person's size, expected what `plait simulate` wrote"
        ) from error
    if any(points.ndim != 4 or not (np.abs(points) <= FARTHEST).all() for points in (joints, pixels)):
        raise DataError(f"{path}: joints or pixels are no points, expected what `plait simulate` wrote")
    if len(pixels) != len(video.times):
        raise DataError(f"{path}: {len(pixels)} frames, expected {len(video.times)} as in {video.file}")
    height, width = Video(video.file, None, None).at(np.zeros(1)).shape[1:3]
    boxes = hand_box(pixels, thickness(joints, size, height))
    scale = 1.0 if video.short_side is None else video.short_side / min(width, height)
    wide, tall = round(width * scale), round(height * scale)
    if video.crop is None:
        return in_view(boxes * scale, (0, 0, wide, tall))
    left, top = (wide - video.crop) // 2, (tall - video.crop) // 2
    return in_view(boxes * scale - [left, top, left, top], (0, 0, video.crop, video.crop))


def _arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of the truth.

    Raises:
        DataError: they are missing or damaged.
    """
    try:
        with ZipFile(regular(path)) as packed:
            explained(path, sum(float(member.file_size) for member in packed.infolist()))
        with np.load(path, allow_pickle=False) as truth:
            return {name: truth[name] for name in names}
    except DataError:
        raise
    except Exception as error:  # damaged files raise anything: zipfile's errors, zlib's, tokenize's, ...
        why = one_line(error)
        raise DataError(f"{path}: cannot be read, expected what `plait simulate` wrote: {why}") from error


def told(raw: Path, clips: pl.DataFrame) -> pl.DataFrame:
    """Of each clip of the recording in `raw`, whether the simulation lets a sensor tell its activity.

    The video does where the leading hand is before the camera for half of the clip, a third of its joints in
    the square that is cut from pictures (in a break: where the camera does not look past both hands), and
    where the manner does not look like another activity's. The gloves do where the leading one sits firmly,
    and where the manner does not feel like another activity's.

    Args:
        raw: a raw recording that `plait simulate` wrote.
        clips: those of its clips, with columns `clip`, `start_s`, `stop_s`, `activity`.

    Returns:
        The columns `clip`, `activity`, `like`, `video`, `gloves`.

    Raises:
        DataError: the truth is missing or damaged, or knows of no such clip.
    """
    path = raw / "truth.json"
    truth, pixels = read_json(path), _arrays(raw / TRUTH, ("pixels",))["pixels"]
    rows = []
    try:
        fps, leads = float(truth["settings"]["fps"]), 0 if truth["person"]["left_handed"] else 1
        height = truth["settings"]["height"]
        middle = np.array([round(height * 4 / 3 / 2) * 2, height]) / 2
        shown = (np.abs(pixels - middle) < CROPPED * height / 2).all(-1).mean(-1) >= 1 / 3
        for clip, start_s, stop_s, activity in clips.select(
            "clip", "start_s", "stop_s", "activity"
        ).iter_rows():
            half_s = (start_s + stop_s) / 2
            [at] = [s for s in truth["stretches"] if s["start_s"] <= half_s < s["stop_s"]]
            if at["activity"] != activity:
                raise DataError(
                    f"{path}: at {half_s:.1f} s {at['activity']}, expected {activity} as in {clip}"
                )
            hand = shown[int(start_s * fps) : int(stop_s * fps), leads ^ bool(at["other_hand"])]
            up = bool(at["away"] and at["away"][1])
            seen = not up if activity == "neutral" else bool(hand.mean() >= 0.5)
            rows.append((clip, activity, at["like"], seen and at["like"] != "look", not at["loose"]))
    except WRONG as error:
        raise DataError(f"{path}: no truth of these clips, expected what `plait simulate` wrote") from error
    table = pl.DataFrame(rows, schema=["clip", "activity", "like", "video", "gloves"], orient="row")
    return table.with_columns(pl.col("gloves") & (pl.col("like") != "feel"))


def bounds(clips: pl.DataFrame) -> dict[str, float]:
    """Accuracy in % of who knows of each clip which sensor to believe, and guesses where none tells.

    Args:
        clips: as `told` says.

    Returns:
        With the video alone, the gloves alone, and both.
    """
    luck = 1 / (len(CYCLES) + 1)  # of activities, neutral included
    video, gloves = clips["video"], clips["gloves"]
    tells = {"video": video, "gloves": gloves, "both": video | gloves}
    return {name: 100 * (luck + (1 - luck) * float(each.to_numpy().mean())) for name, each in tells.items()}
