"""What the miniatures of data sets of worn sensors share: motion that activities decide, and whole runs."""

import tomllib
from pathlib import Path

import numpy as np
import polars as pl

from plait.analysis.benchmark import benchmark
from plait.objects import resolve
from plait.study.run import run_study

STUDIES = Path(__file__).parents[2] / "studies"
G = 9.80665


def motion(times_s, codes, place, channels=3):
    """What a sensor feels, `(n, channels)`: activities have a pace and a strength, places a phase."""
    pace_hz = 0.5 + 0.35 * (codes % 13)
    strength = 0.1 + 0.08 * (codes % 7)
    phase = place + np.arange(channels) * 0.7
    turns = np.cumsum(pace_hz) * float(np.median(np.diff(times_s)))
    return strength[:, None] * np.sin(2 * np.pi * turns[:, None] + phase)


def plan(codes, seconds, pause_s, rate_hz):
    """A code for each reading: each of `codes` for so many seconds, 0 before, between and behind them."""
    parts = [np.zeros(round(pause_s * rate_hz), int)]
    for code in codes:
        parts += [np.full(round(seconds * rate_hz), code), parts[0]]
    return np.concatenate(parts)


def written(file, table):
    """A matrix as the files have it: numbers between blanks, NaN where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame(np.round(table, 4), schema=[str(i) for i in range(table.shape[1])])
    frame.write_csv(file, separator=" ", include_header=False)
    return file


def ran(study, data, out, only, protocol=None, dataset=None):
    """A study file's run of some methods, one epoch each: predictions, and what stands beside them."""
    settings = tomllib.loads((STUDIES / study).read_text())
    settings["train"] |= {"max_epochs": 1, "patience": 1, "args": {"lr": 1e-3}}
    settings["train"].pop("schedule", None)
    settings["dataset"] = dataset or settings["dataset"]
    settings["protocol"] |= protocol or {}
    run_study(settings, data, out, only=only)
    predictions = pl.read_parquet(out / "predictions.parquet")
    return predictions, benchmark(resolve(settings["dataset"], "test"), predictions)


def scores(predictions, activities, without=()):
    """Macro and weighted F1 by their definition, class by class, from counts alone."""
    truth, found = predictions["activity"].to_numpy(), predictions["predicted"].to_numpy()
    each, counts = [], []
    for activity in [name for name in activities if name not in without]:
        right = int(((truth == activity) & (found == activity)).sum())
        shown, said = int((truth == activity).sum()), int((found == activity).sum())
        precision, recall = right / said if said else 0.0, right / shown if shown else 0.0
        each.append(2 * precision * recall / (precision + recall) if right else 0.0)
        counts.append(shown)
    return float(np.mean(each)), float(np.dot(each, counts) / sum(counts))


def guesses(activities, subjects, seed=0, rows=600):
    """Predictions at random, of unequal classes: one is never there, one never said, some clips have none."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(len(activities) - 1))
    truth = rng.choice(activities[1:], rows, p=shares)
    found = np.where(rng.random(rows) < 0.4, truth, rng.choice([*activities[2:], ""], rows))
    found[found == activities[1]] = activities[2]
    who = rng.choice(subjects, rows)
    return pl.DataFrame(
        {"method": "guess", "fold": who, "seed": 0, "clip": [f"{i}" for i in range(rows)], "subject": who}
    ).with_columns(activity=pl.Series(truth), predicted=pl.Series(found))
