"""Figs. 10 and 11: clips to look at, with film, joints, signals, and what each model made of them."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from plait.analysis.claims import singles_of
from plait.clips import Clips
from plait.clips.windows import moments
from plait.fusion import Led, Symmetric
from plait.fusion.attention import Attention, attentions
from plait.keying import source_key
from plait.report.clip_views import filmed, moving_joints, signals
from plait.results import CASES, FILMS, PREDICTIONS
from plait.store import atomic, checksum, content_key, read_json, write_text
from plait.study.finished import FinishedRun, grids_of
from plait.types import Clip, Recording

EACH = 3
Of = Mapping[tuple[str, str], Mapping[str, Any]]


def write_cases(finished: FinishedRun, each: int = EACH) -> Path | None:
    """Write `RUN/cases.json`: up to `each` clips of each combination of who was right; returns its path.

    Who: the fusion that Table 2 names, and the single modalities that it is made of; where a run has no
    fusion, there is no file (None). A case holds the clip's joints and signals, the models' likeliest
    activities with their probabilities, and what attention falls on; its pictures are a small film,
    `RUN/cases/*.mp4`. What is there already for the same predictions, made by the same code, stays.

    Raises:
        DataError: the run or its data cannot be read.
    """
    run, choice = finished.folder, finished.choice()
    if choice is None:
        (run / CASES).unlink(missing_ok=True)  # of a run before, which had one
        shutil.rmtree(run / FILMS, ignore_errors=True)
        return None
    jobs = {name: row.keys for name, row in finished.methods.items()}  # which say what of
    key = content_key([checksum(run / PREDICTIONS), jobs, each, choice.method, source_key([write_cases])])
    if (run / CASES).is_file() and read_json(run / CASES).get("of") == key:
        return run / CASES
    predictions = finished.results.predictions
    models = [*singles_of(finished.methods, choice.method), choice.method]
    first = predictions.filter(pl.col("method").is_in(models) & (pl.col("seed") == pl.col("seed").min()))
    of = {(row["clip"], row["method"]): row for row in first.iter_rows(named=True)}
    rows, clips = chosen(finished.cuts, of, models, each), finished.clips(choice.method)
    with atomic(run / FILMS) as films:
        films.mkdir()
        cases = [_write_case(finished, clips, row, of, models, films) for row in rows]
    tested = [clip for _, clip in finished.cuts if all((clip.name, name) in of for name in models)]
    counts = Counter(tuple(right(of, clip, models)) for clip in tested)
    content = {
        "of": key,
        "models": models,
        "counts": [{"right": who, "clips": n} for who, n in sorted(counts.items())],
        "cases": cases,
    }
    write_text(run / CASES, json.dumps(content, ensure_ascii=False))
    return run / CASES


def _write_case(
    finished: FinishedRun, clips: Clips, row: int, of: Of, models: Sequence[str], folder: Path
) -> dict[str, Any]:
    """One clip; its films are left in `folder`."""
    (recording, clip), fusion = finished.cuts[row], models[-1]
    about = of[clip.name, fusion]
    network = finished.network(fusion, f"{about['fold']}/{about['seed']}", clips)
    with torch.inference_mode():
        grids = grids_of(network, clips, finished.study.method(fusion).modalities, np.array([row]))
        maps = attentions(network.method, grids) if isinstance(network.method, Led | Symmetric) else []
    modalities = [finished.dataset.modality(name) for name in finished.methods[fusion].modalities]
    films: list[dict[str, str]] = []
    bodies, plots = [], []
    for modality in modalities:
        if content := filmed(modality, recording, clip):
            file = f"{row:05d}-{len(films)}.mp4"
            (folder / file).write_bytes(content)
            films.append({"modality": modality.name, "file": f"{FILMS}/{file}"})
        elif body := moving_joints(finished.dataset.name, modality, recording, clip):
            bodies.append(body)
        elif plot := signals(modality, recording, clip):
            plots.append(plot)
    times = [moments(modality, clip.start_s, clip.stop_s) for modality in modalities]
    seconds = max(float(stamps[-1] - stamps[0]) for stamps in times)
    places = {film["modality"]: 2 for film in films} | {body["modality"]: 1 for body in bodies}
    return {
        "clip": clip.name,
        "subject": clip.subject,
        "activity": clip.activity,
        "right": right(of, clip, models),
        "said": [likeliest(of[clip.name, name]["scores"], finished.dataset.activities) for name in models],
        "films": films,
        "seconds": round(seconds, 3),
        "joints": bodies,
        "signals": plots,
        "lit": lit(maps, places),
    }


def right(of: Of, clip: Clip, models: Sequence[str]) -> list[bool]:
    """Which of `models` knew what a clip shows."""
    return [of[clip.name, name]["predicted"] == clip.activity for name in models]


def chosen(cuts: Sequence[tuple[Recording, Clip]], of: Of, models: Sequence[str], each: int) -> list[int]:
    """Numbers of the clips to show, those first that the last model alone got right.

    Args:
        cuts: The run's clips.
        of: Predictions by clip and model; a clip that some model has none of is left out, and so is one that
            lacks a sensor.
        models: Singles, then the fusion.
        each: How many clips of each combination of who was right, among which activities take turns.
    """
    groups: dict[tuple[bool, ...], dict[str, list[int]]] = {}
    for row, (_, clip) in enumerate(cuts):
        if not clip.lacks and all((clip.name, name) in of for name in models):
            who = tuple(right(of, clip, models))
            groups.setdefault(who, {}).setdefault(clip.activity, []).append(row)
    rows: list[int] = []
    for who in sorted(groups, key=lambda who: (not who[-1], sum(who), who)):
        activities = list(groups[who].values())
        taken: list[int] = []
        while activities and len(taken) < each:
            taken += [clips.pop(len(taken) % len(clips)) for clips in activities][: each - len(taken)]
            activities = [clips for clips in activities if clips]
        rows += taken
    return rows


def likeliest(scores: Sequence[float], activities: Sequence[str], most: int = 3) -> list[tuple[str, float]]:
    """The likeliest activities with their probabilities."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])[:most]
    return [(activities[i], round(float(scores[i]), 3)) for i in order]


def lit(maps: Sequence[Attention], places: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """How much light falls on each step and place of each modality, 0 to 255: `shape` and flat `values`.

    On a context, how much of the lead's attention it gets: the relation's mean over the lead's positions,
    equally of every lead. On a modality that only leads, how strongly a position is related to any of the
    context's: its largest logit, less that of the least related position. `places` is how many axes behind
    time a modality is shown with; maps of other grids are summed over them.
    """
    lights: dict[str, list[torch.Tensor]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for attention in maps:
        lights.setdefault(attention.context, []).append(attention.relation[0].mean(0))
        shapes[attention.context] = attention.context_shape
    contexts = set(lights)
    for attention in maps:
        if attention.lead not in contexts:
            strength = attention.logits[0].amax(1)
            strength = strength - strength.min()
            lights.setdefault(attention.lead, []).append(strength / strength.max().clamp(min=1e-12))
            shapes[attention.lead] = attention.lead_shape
    scaled = {}
    for name, shape in shapes.items():
        if not shape:
            continue
        light = torch.stack(lights[name]).mean(0)
        if len(shape) != 1 + places.get(name, 0):
            light, shape = light.reshape(shape[0], -1).sum(1), shape[:1]
        values = (255 * (light - light.min()) / (light.max() - light.min()).clamp(min=1e-12)).round().int()
        scaled[name] = {"shape": list(shape), "values": values.tolist()}
    return scaled
