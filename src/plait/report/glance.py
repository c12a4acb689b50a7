"""The first screen of a page: what its fusion gained, where each sensor alone fails, and a new recording."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import polars as pl

from plait.analysis.choice import Choice
from plait.errors import DataError, one_line
from plait.report import captions
from plait.report.timelines import Brief, Drawn, Shown, brief
from plait.results import CASES, Kind, RunFacts

MOST_BARS, MOST_LOOKS, MOMENTS = 4, 2, (1 / 6, 1 / 2, 5 / 6)
GAP = 4  # pixels between pictures


class Bar(NamedTuple):
    """A method's accuracy, from 0 to 1: its mean, and each person's."""

    method: str
    kind: Kind
    accuracy: float
    people: list[float]


class Verdict(NamedTuple):
    """What a method takes a clip for, how probable it says that is, and whether it is right."""

    method: str
    kind: Kind
    right: bool
    said: str
    probability: float


class Pose(NamedTuple):
    """Joints as dots and bones as lines, in a square of side 1, y downwards."""

    joints: list[tuple[float, float]]
    bones: list[tuple[float, float, float, float]]


class Look(NamedTuple):
    """A clip that a single modality is wrong about, and the fusion is right about.

    Args:
        misses: the methods of the singles that are wrong.
        clip: its name.
        subject: whose.
        activity: what was done.
        film: three of its pictures side by side, as a `data:` address; None where nothing was filmed.
        poses: three of its poses; none where there are no joints, or there is a film.
        signals: by modality, lines of points for an SVG that is 300 wide and 60 high.
        verdicts: of the singles, then of the fusion.
    """

    misses: list[str]
    clip: str
    subject: str
    activity: str
    film: str | None
    poses: list[Pose]
    signals: dict[str, list[str]]
    verdicts: list[Verdict]


class Glance(NamedTuple):
    """What the first screen says.

    Args:
        fusion: the one that the page shows.
        how: in which way that was chosen.
        bars: the singles that it is made of, the best late fusion, the fusion.
        gained: sentences on what it gained.
        looks: a clip for each single, of the first two that have one.
        recording: a recording as it was recognised, at best of somebody new; None where there is none.
        timeline: that recording's picture in brief.
        model: who recognised it.
    """

    fusion: str
    how: str
    bars: list[Bar]
    gained: list[str]
    looks: list[Look]
    recording: Drawn | None
    timeline: Brief | None
    model: Shown | None


def glance(
    run: RunFacts,
    choice: Choice | None,
    singles: Sequence[str],
    late: str | None,
    main: pl.DataFrame,
    subjects: pl.DataFrame,
    comparisons: pl.DataFrame,
    contrasts: pl.DataFrame,
    cases: Mapping[str, Any] | None,
    timelines: Sequence[Shown],
    folder: Path | None,
) -> Glance | None:
    """The first screen of a run's page; None where it has no fusion, or nothing to hold that against.

    Args:
        run: what it says of itself.
        choice: the fusion that the page shows.
        singles: `singles_of` that fusion.
        late: the late fusion or concatenation that stands beside it, if there is one.
        main: `tables.main_table`.
        subjects: `tables.subject_table`.
        comparisons: `compare.describe`.
        contrasts: `compare.decide`; the page says the first itself.
        cases: what `cases.json` holds.
        timelines: `timelines.shown`.
        folder: of the run, where the films of the cases lie.

    Raises:
        DataError: a film cannot be read.
    """
    if choice is None or not singles:
        return None
    best = comparisons.filter(fusion=choice.method, baseline_kind="best single").row(0, named=True)
    planned = [(row["method"], row["baseline"]) for row in contrasts.iter_rows(named=True)][:1]
    accuracy = dict(main.select("method", "accuracy").iter_rows())
    shown = sorted(singles, key=lambda name: -accuracy[name])[:MOST_BARS]
    shown = list(dict.fromkeys([*(name for name in singles if name in shown), best["baseline"]]))
    bars = []
    for name in (*shown, *([late] if late else []), choice.method):
        people = subjects.filter(pl.col("method") == name)["accuracy"].drop_nulls().to_list()
        bars.append(Bar(name, run.methods[name].kind, accuracy[name], people))
    model, recording = _newest(timelines)
    return Glance(
        fusion=choice.method,
        how=choice.how,
        bars=bars,
        gained=[*([] if _pair(best) in planned else [_gain(best)]), *_exchanged(run, cases)],
        looks=_looks(run, cases, folder) if folder else [],
        recording=recording,
        timeline=brief(recording.picture) if recording and recording.picture else None,
        model=model,
    )


def _pair(described: Mapping[str, Any]) -> tuple[str, str]:
    """The two methods of a row in `compare.describe`."""
    return described["fusion"], described["baseline"]


def _gain(pair: Mapping[str, Any]) -> str:
    """How far a fusion is from the best single, on the same people, of their row in `compare.describe`."""
    low, high = pair["low"], pair["high"]
    limits = "" if low is None else f" (95 % interval {captions.interval(low, high)})"
    people = captions.count(pair["subjects"], "person", "people")
    fusion, best = _pair(pair)
    gain = captions.points(pair["difference"])
    return f"{fusion} against {best}, the best single: {gain} points{limits}, over {people}."


def _exchanged(run: RunFacts, cases: Mapping[str, Any] | None) -> list[str]:
    """For each single, how many clips the fusion won, and how many it lost, with the first seed."""
    if cases is None:
        return []
    *singles, fusion = cases["models"]
    parts = []
    for place, single in list(enumerate(singles))[:MOST_BARS]:
        won, lost = (
            sum(who["clips"] for who in cases["counts"] if who["right"][place] != right == who["right"][-1])
            for right in (True, False)
        )
        clips = captions.count(won, "clip")
        parts.append(f"{clips} that {single} misses, and wrong on {lost:,} that it knows")
    of_several = f"With seed {min(run.seeds)}, " if len(run.seeds) > 1 else ""
    return [f"{of_several}{fusion} is right on {'; on '.join(parts)}."] if parts else []


def _looks(run: RunFacts, cases: Mapping[str, Any] | None, folder: Path) -> list[Look]:
    """For each single a clip that it is wrong about, others at best right, and the fusion right."""
    if cases is None:
        return []
    singles = cases["models"][:-1]
    looks: list[Look] = []
    for place in range(len(singles)):
        missed = [one for one in cases["cases"] if one["right"][-1] and not one["right"][place]]
        known = {look.clip for look in looks}
        missed = [one for one in missed if one["clip"] not in known]
        if missed:
            looks.append(_look(run, cases["models"], max(missed, key=_telling), folder))
    return looks[:MOST_LOOKS]


def _telling(case: Mapping[str, Any]) -> tuple[int, float]:
    """How much a case tells: others know it, and those who err do so surely."""
    *singles, _ = case["right"]
    sure = sum(said[0][1] for said, right in zip(case["said"], case["right"], strict=True) if not right)
    return sum(singles), sure + case["said"][-1][0][1]


def _look(run: RunFacts, models: Sequence[str], case: Mapping[str, Any], folder: Path) -> Look:
    verdicts = [
        Verdict(name, run.methods[name].kind, right, *said[0])
        for name, right, said in zip(models, case["right"], case["said"], strict=True)
    ]
    film = _three_pictures(folder / case["films"][0]["file"]) if case["films"] else None
    return Look(
        misses=[one.method for one in verdicts if not one.right],
        clip=case["clip"],
        subject=case["subject"],
        activity=case["activity"],
        film=film,
        poses=[] if film or not case["joints"] else _three_poses(case["joints"][0]),
        signals={one["modality"]: _points(one["lines"]) for one in case["signals"]},
        verdicts=verdicts,
    )


def _three_pictures(path: Path) -> str:
    """Three pictures of a film side by side, as a `data:` address.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with av.open(str(path)) as film:
            pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        chosen = [pictures[int(share * len(pictures))] for share in MOMENTS]
    except (OSError, av.error.FFmpegError, IndexError) as error:
        raise DataError(f"{path}: {one_line(error)}; remove {CASES} and run the study again") from error
    gap = np.full((len(chosen[0]), GAP, 3), 128, np.uint8)
    beside = np.concatenate([chosen[0], gap, chosen[1], gap, chosen[2]], axis=1)
    bgr = np.ascontiguousarray(beside[:, :, ::-1])
    _, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode()


def _three_poses(body: Mapping[str, Any]) -> list[Pose]:
    """Three of a clip's poses."""
    frames = body["frames"]
    poses = []
    for joints in (frames[int(share * len(frames))] for share in MOMENTS):
        bones = [(*joints[one], *joints[other]) for one, other in body["bones"]]
        poses.append(Pose([tuple(joint) for joint in joints], bones))
    return poses


def _points(lines: Sequence[Sequence[float]], width: float = 300, height: float = 60) -> list[str]:
    """Lines one below the other, as the points of an SVG's polylines."""
    high = height / max(len(lines), 1)
    return [
        " ".join(
            f"{width * step / max(len(line) - 1, 1):.1f},{high * (number + 0.95 - 0.9 * value):.1f}"
            for step, value in enumerate(line)
        )
        for number, line in enumerate(lines)
    ]


def _newest(timelines: Sequence[Shown]) -> tuple[Shown, Drawn] | tuple[None, None]:
    """The first recording of somebody who is new to the study, or else the first."""
    there = [(one, drawn) for one in timelines for drawn in one.recordings if drawn.picture]
    new = [pair for pair in there if pair[1].stranger]
    return next(iter(new or there), (None, None))
