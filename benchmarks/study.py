"""The paper's study at GloVid's size: one fold and one epoch of every method, and the whole table from there.

    python benchmarks/study.py [--threads 1] [--workers 2] [--plain-steps 12] [--quick] [--json FILE] [--data DIR]

The data are 3800 clips of 19 people: a float16 array of grids 10x7x7x832 on disk (3.1 GB, mapped), pooled features of
single frames, and glove readings 134x18, all drawn at random. The methods are those of `studies/glovid.toml`; the fold
is the first of leave-one-subject-out (16 people train, 2 validate, 1 is tested).

plait does every job by its own code, `plait.study`, in processes of one thread. Against it stands the same study
written plainly: one fold after another in one process with all threads, fp32, `textbook.Fused` for every fusion, batch
8, the same optimizer; each method is timed over some batches and its validation, and an epoch is taken to last as much
longer as it has more batches. The whole table is 30 epochs of 19 folds on both sides. RssAnon is that of plait's
processes together, ten times a second.
"""

import os
import statistics
import tempfile
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import finish, machine, options, said
from memory import Meter
from plait.clips import Clips, mapped
from plait.cluster import cores
from plait.datasets.glovid import EXPECTED_HANDS
from plait.encoders.glove import GloveNet
from plait.fusion import Led, Symmetric
from plait.study.config import Study
from plait.study.executors import processes
from plait.study.jobs import Job, Setting, plan, read_facts
from plait.study.load import load_study
from plait.study.network import Network, build
from plait.study.protocol import folds
from plait.study.schedule import do_missing
from plait.study.work import batched, work_on
from plait.types import Clip, Dataset, Fold, Modality
from textbook import Fused

SUBJECTS, EACH, EPOCHS = 19, 200, 30
SHAPES = {"video": (10, 7, 7, 832), "static": (2048,), "gloves": (134, 18)}
FILE = Path(__file__).parents[1] / "studies" / "glovid.toml"
TABLES = (
    "static",
    "gloves",
    "video",
    "concat",
    "glove-led",
    "video-led",
    "symmetric",
)  # the trained rows of Tables 1, 2


def nothing(data: Path) -> Any:
    """No recordings: the clips are made already."""
    return iter(())


DATASET = Dataset(
    "glovid at random",
    tuple(EXPECTED_HANDS),
    (
        Modality("video", ("video",), 10, None, torch.from_numpy, lambda shape: nn.Identity()),
        Modality("static", ("static",), 1, None, torch.from_numpy, lambda shape: nn.Identity()),
        Modality("gloves", ("gloves",), 134, None, torch.from_numpy, GloveNet),
    ),
    nothing,
    "Generated; no publication.",
)


def main() -> None:
    """Do plait's jobs, time the plain study, project the whole table."""
    parser = options(__doc__, rounds=1)
    parser.add_argument("--threads", type=int, default=1, help="of each of plait's jobs")
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--plain-steps", type=int, default=12, help="batches over which the plain study is timed")
    parser.add_argument("--data", type=Path, help="folder for the arrays; by default a temporary one")
    chosen = parser.parse_args()
    result: dict[str, Any] = {**machine(chosen.threads), "workers": chosen.workers}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PLAIT_CACHE"] = str(Path(scratch) / "cache")
        clips = generated(chosen.data or Path(scratch) / "data", 2 if chosen.quick else EACH)
        study = asked(list(TABLES) if chosen.quick else None)
        (fold, *_) = folds(study.protocol, [clip.subject for clip in clips.table])
        batches = -(-len(clips.of(fold.train)) // study.train.batch_size)
        print(f"{len(clips.table)} clips; {said(result)}; {chosen.workers} processes")
        plain_s = {}
        for name in study.order():
            plain_s[name] = plain(study, name, clips, fold, min(chosen.plain_steps, batches), batches)
            print(f"  {name:24s} plainly {plain_s[name]:8.1f} s an epoch", flush=True)
        meter = Meter()
        meter.phase = "study"
        meter.start()
        jobs, took_s = done(study, clips, fold, Path(scratch) / "run", chosen)
        meter.stopped.set()
        meter.join()
    result |= {
        "epoch_s": {name: {"plain": plain_s[name], "plait": jobs[name]} for name in plain_s},
        "rss_anon_gb": max(reading.mb for reading in meter.readings) / 1e3,
        "clips": len(clips.table),
        "plain_steps": chosen.plain_steps,
    }
    whole = EPOCHS * SUBJECTS / 3600
    for title, names in (("all", list(plain_s)), ("tables", [name for name in TABLES if name in plain_s])):
        # Seconds of one-thread jobs, as they went side by side, shared among the workers.
        ours = sum(jobs[name] for name in names) / sum(jobs.values()) * took_s
        theirs = sum(plain_s[name] for name in names)
        result[title] = {
            "methods": len(names), "epoch_s": {"plain": theirs, "plait": ours}, "ratio": theirs / ours,
            "whole_hours": {"plain": whole * theirs, "plait": whole * ours},
        }  # fmt: skip
        print(
            f"{title}, {len(names)} methods: one epoch of one fold {theirs:.0f} s plainly, {ours:.0f} s by plait, "
            f"{theirs / ours:.1f} x; {SUBJECTS} folds, {EPOCHS} epochs: {whole * theirs:.1f} h and {whole * ours:.1f} h"
        )
    print(f"RssAnon of plait's processes together: at most {result['rss_anon_gb']:.2f} GB")
    finish(chosen.json, result)


def generated(folder: Path, each: int) -> Clips:
    """Random clips of 19 people, `each` of every one, as arrays on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    table = [
        Clip(f"{s:02d}/{i:03d}", f"{s:02d}", f"{s:02d}", DATASET.activities[i % len(DATASET.activities)], i, i + 1.0)
        for s in range(1, SUBJECTS + 1)
        for i in range(each)
    ]
    generator = np.random.default_rng(0)
    arrays = {}
    for name, shape in SHAPES.items():
        arrays[name] = folder / f"{name}-{each}.npy"
        if arrays[name].exists():
            continue
        made = np.lib.format.open_memmap(arrays[name], "w+", np.float16, (len(table), *shape))
        for start in range(0, len(table), 50):
            block = generator.standard_normal((len(made[start : start + 50]), *shape), np.float32)
            made[start : start + 50] = np.maximum(block, 0) if name != "gloves" else block  # features follow a ReLU
        made.flush()
    return Clips(tuple(table), arrays, dict(SHAPES))


def asked(only: list[str] | None) -> Study:
    """The study of GloVid over the arrays: what a frozen network would make is there already."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    del table["encoders"]
    table |= {"dataset": "study:DATASET", "modalities": ["gloves", "video", "static"]}
    for name, method in table["methods"].items():
        if name == "static":
            method |= {"args": {"modality": "static"}, "encoders": {}}
        elif "average" not in method and "modality" not in method.get("args", {}):
            method["modalities"] = ["gloves", "video"]
    study = load_study(table)
    return study if only is None else study.only(only)


def done(study: Study, clips: Clips, fold: Fold, out: Path, chosen: Any) -> tuple[dict[str, float], float]:
    """Every job of a fold by plait: seconds of each method, and of all as they went, starting included."""
    one = replace(study, train=replace(study.train, max_epochs=1))
    setting = Setting("study:DATASET", out, chosen.threads, "cpu")
    jobs = plan(one, DATASET, dict.fromkeys(one.order(), clips), [fold], setting)
    work = work_on(setting)
    start = time.perf_counter()
    do_missing(batched(jobs), work, processes(work, chosen.workers, chosen.threads), lambda done, total, label: None)
    took_s = time.perf_counter() - start
    seconds = {job.label.partition(",")[0]: said_s(setting, job) for job in jobs.values()}
    return seconds, took_s


def said_s(setting: Setting, job: Job) -> float:
    """How long a job took by its own account."""
    return float(read_facts(setting.folder(job.key))["seconds"])


def plain(study: Study, name: str, clips: Clips, fold: Fold, steps: int, batches: int) -> float:
    """Seconds of an epoch, its validation and a job's one test, written plainly; from a few batches."""
    torch.manual_seed(0)
    method = study.method(name)
    network = build(method, DATASET, clips.shapes, name)
    fused = isinstance(network.method, Led | Symmetric)
    if fused:
        network.method = Fused(network.method)  # type: ignore[arg-type]
    optimizer = torch.optim.RMSprop([p for p in network.parameters() if p.requires_grad], lr=1e-3, alpha=0.9, eps=1e-7)
    rows = clips.of(fold.train)
    order = rows[torch.randperm(len(rows)).numpy()]
    took = []
    for step in range(steps + 1):
        at = order[step * 8 : step * 8 + 8] if (step + 1) * 8 <= len(order) else order[-8:]
        start = time.perf_counter()
        loss = F.cross_entropy(forward(network, clips, method.modalities, at, fused), torch.zeros(len(at)).long())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        took.append(time.perf_counter() - start)
    scored = np.concatenate([clips.of(fold.val), clips.of(fold.val), clips.of(fold.test)])  # once more at the end
    with torch.inference_mode():
        start = time.perf_counter()
        forward(network.eval(), clips, method.modalities, scored[:64], fused)
        score_s = (time.perf_counter() - start) / min(64, len(scored)) * len(scored)
    return statistics.median(took[1:]) * batches + score_s


def forward(network: Network, clips: Clips, modalities: tuple[str, ...], rows: np.ndarray, fused: bool) -> Tensor:
    """Logits; a textbook's video stands channels first on disk, so its bytes are taken as they are."""
    grids: dict[str, Tensor] = {}
    for name in modalities:
        tensor = torch.tensor(mapped(clips.arrays[name])[rows]).float()
        if name == "video" and fused:
            grids[name] = tensor.reshape(len(rows), 832, 10, 7, 7)
        elif name in network.frozen:
            with torch.no_grad():
                grids[name] = network.encoders[name](tensor)
        else:
            grids[name] = network.encoders[name](tensor)
        if name == "gloves" and fused:
            grids[name] = grids[name].mT
    logits: Tensor = network.method(grids)
    return logits


if __name__ == "__main__":
    main()
