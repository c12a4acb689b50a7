"""Figs. 10 and 11: clips to look at, and what each model made of them: video, signals, scores, attention."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
import torch

from plait.clips.windows import moments
from plait.fusion import Led, Symmetric
from plait.fusion.attention import attentions
from plait.report.sheet import picture
from plait.store import checksum, read_json, write_text
from plait.study.again import Again, grids_of
from plait.study.analyses import singles_of
from plait.types import Clip, Modality, Recording

CASES = "cases.json"
EACH, SIDE, FPS, CHANNELS, POINTS = 3, 192, 8, 6, 120


def write_cases(again: Again, each: int = EACH) -> Path | None:
    """Write `RUN/cases.json`: up to `each` clips of each combination of who was right, activities taking turns.

    Who: the most accurate fusion, and the single modalities that it is made of. A case holds the clip as a small H.264
    film, its signals, the models' likeliest activities with their probabilities, and where its pictures attend. What is
    there already for the same predictions stays; None where the run has no fusion.

    Raises:
        DataError: the run or its data cannot be read.
    """
    run = again.folder
    key = checksum(run / "predictions.parquet")
    if not again.fusions():
        return None
    if (run / CASES).is_file() and read_json(run / CASES)["of"] == key:
        return run / CASES
    predictions = pl.read_parquet(run / "predictions.parquet")
    fusion = again.best()
    models = [*singles_of(again.methods, predictions, fusion), fusion]
    first = predictions.filter(pl.col("method").is_in(models) & (pl.col("seed") == pl.col("seed").min()))
    of = {(row["clip"], row["method"]): row for row in first.iter_rows(named=True)}
    clips = again.clips(fusion)
    cases = []
    for row in chosen(again.cuts, of, models, each):
        recording, clip = again.cuts[row]
        fold = of[clip.name, fusion]["fold"]
        network = again.network(fusion, f"{fold}/{of[clip.name, fusion]['seed']}", clips)
        with torch.inference_mode():
            grids = grids_of(network, clips, again.study.method(fusion).modalities, np.array([row]))
            maps = attentions(network.method, grids) if isinstance(network.method, Led | Symmetric) else []
        modalities = [again.dataset.modality(name) for name in again.methods[fusion].modalities]
        films = (filmed(modality, recording, clip) for modality in modalities)
        plots = (signals(modality, recording, clip) for modality in modalities)
        heats = (heat(one.lead_shape, one.logits[0]) for one in maps)
        cases.append(
            {
                "clip": clip.name,
                "subject": clip.subject,
                "activity": clip.activity,
                "right": [of[clip.name, name]["predicted"] == clip.activity for name in models],
                "said": [likeliest(of[clip.name, name]["scores"], again.dataset.activities) for name in models],
                "film": next(filter(None, films), None),
                "seconds": round(max(_length(m, clip) for m in modalities), 3),
                "signals": list(filter(None, plots)),
                "heat": next(filter(None, heats), None),
            }
        )
    write_text(run / CASES, json.dumps({"of": key, "models": models, "cases": cases}, ensure_ascii=False))
    return run / CASES


def chosen(
    cuts: Sequence[tuple[Recording, Clip]],
    of: Mapping[tuple[str, str], Mapping[str, Any]],
    models: Sequence[str],
    each: int,
) -> list[int]:
    """Numbers of the clips to show: by who was right, fusion alone first; in a combination, activities take turns."""
    groups: dict[tuple[bool, ...], dict[str, list[int]]] = {}
    for row, (_, clip) in enumerate(cuts):
        if all((clip.name, name) in of for name in models):
            who = tuple(of[clip.name, name]["predicted"] == clip.activity for name in models)
            groups.setdefault(who, {}).setdefault(clip.activity, []).append(row)
    rows: list[int] = []
    for who in sorted(groups, key=lambda who: (not who[-1], sum(who), who)):
        left = [list(own) for own in groups[who].values()]
        taken: list[int] = []
        while left and len(taken) < each:
            taken += [own.pop(len(taken) % len(own)) for own in left][: each - len(taken)]
            left = [own for own in left if own]
        rows += taken
    return rows


def likeliest(scores: Sequence[float], activities: Sequence[str], most: int = 3) -> list[tuple[str, float]]:
    """The likeliest activities with their probabilities."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])[:most]
    return [(activities[i], round(float(scores[i]), 3)) for i in order]


def filmed(modality: Modality, recording: Recording, clip: Clip) -> str | None:
    """A clip's pictures as a small film, a `data:` address; None where its readings are no pictures."""
    seconds = moments(modality, clip.start_s, clip.stop_s)
    start, length = float(seconds[0]), float(seconds[-1] - seconds[0])
    stream = recording.streams[modality.streams[0]]
    shown = [picture(frame, SIDE) for frame in stream.at(start + np.arange(max(1, round(length * FPS))) / FPS)]
    frames = [frame for frame in shown if frame is not None]
    if not frames:
        return None
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"crf": "28", "preset": "veryfast", "threads": "1"}
        track = container.add_stream("libx264", rate=Fraction(FPS), options=options)
        track.width = track.height = SIDE
        track.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(track.encode())
    return "data:video/mp4;base64," + base64.b64encode(buffer.getvalue()).decode()


def signals(modality: Modality, recording: Recording, clip: Clip) -> dict[str, Any] | None:
    """A clip's signals as lines between 0 and 1, the most lively channels first; None where readings are pictures."""
    ends = moments(modality, clip.start_s, clip.stop_s)
    seconds = np.linspace(float(ends[0]), float(ends[-1]), POINTS)
    each = [recording.streams[name].at(seconds) for name in modality.streams]
    if picture(each[0][0], SIDE) is not None:
        return None
    values = np.concatenate([one.reshape(POINTS, -1) for one in each], axis=1).astype(float)
    spread = values.std(0) / np.maximum(np.abs(values).mean(0), 1e-9)
    kept = values[:, np.sort(np.argsort(-spread)[:CHANNELS])]
    low, high = kept.min(0), kept.max(0)
    lines = (kept - low) / np.maximum(high - low, 1e-9)
    return {"modality": modality.name, "lines": [[round(float(v), 3) for v in line] for line in lines.T]}


def heat(shape: tuple[int, ...], logits: torch.Tensor) -> dict[str, Any] | None:
    """Where a lead of time, height and width attends, 0 to 255, `t * h * w` numbers; None for other leads.

    The strongest relation f of each position with any of the context's.
    """
    if len(shape) != 3:
        return None
    f = logits.amax(1)
    scaled = (255 * (f - f.min()) / (f.max() - f.min()).clamp(min=1e-9)).round().int()
    return {"shape": list(shape), "values": scaled.tolist()}


def _length(modality: Modality, clip: Clip) -> float:
    seconds = moments(modality, clip.start_s, clip.stop_s)
    return float(seconds[-1] - seconds[0])
