"""The paper's study at GloVid's size: one fold and one epoch of every method, and the whole table from there.

    python benchmarks/study.py [--precision float32,bfloat16] [--threads 1] [--workers 2] [--plain-steps 12]
                               [--epochs 3] [--only NAME,...] [--profile] [--quick] [--json FILE] [--data DIR]
                               [--device cuda] [--clips 200]

The data are 3800 clips of 19 people: a float16 array of grids 10x7x7x832 on disk (3.1 GB, mapped), pooled
features of single frames, and glove readings 134x18, all drawn at random. The methods are those of
`studies/glovid.toml`; the fold is the first of leave-one-subject-out (16 people train, 2 validate, 1 is
tested).

plait does every job by its own code, `plait.study`, in processes of one thread, once for one epoch and once
for `--epochs`; what the others add is what an epoch takes, validation included, and the rest is what a fold
takes to begin and to end. What a study makes of features once, for all of its folds, is made before and
counted once. Against it stands the same study written plainly, `textbook.py`: one fold after another in one
process with all threads, fp32, 1x1 convolutions for every fusion, grids joined for every concatenation, batch
8, the same optimizer; each method is timed over some batches and its validation, before plait and after it,
and an epoch is taken to last as much longer as it has more batches. It is timed with torch as it comes, and
once more with matrices multiplied as plait's jobs do it (`plait.compute.machine.wide_products`). The whole
table is 19 folds of 30 epochs on both sides. `--precision` is `train.precision` of plait's side; the plain
side is float32 always. RssAnon is that of plait's processes together, ten times a second.

With --profile, instead: where the time of a step of plait's goes, in one process of `--threads` that does
nothing else; how many operations its products and convolutions are, as torch counts them (the LSTM's by its
sizes), and how long these would take at the rate of a large matrix product of the same precision.

With `--device cuda` both sides compute on the card, in float32 that is not rounded to TensorFloat-32
(`plait.compute.machine.settled`); `--clips` of each person make it shorter.
"""

import itertools
import math
import os
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from common import finish, machine, matmul_flops, options, said, settle
from glovid import DATASET, EACH, SUBJECTS, asked, generated, rows
from memory import Meter
from plait.clips import Clips, mapped
from plait.compute.executors import inline, processes
from plait.compute.machine import cores, keep_memory, settled, wide_products
from plait.compute.schedule import do_missing
from plait.config import Study
from plait.progress import Step
from plait.results import read_job
from plait.study.folds import folds
from plait.study.jobs import Setting
from plait.study.work import Item, plan_all, work_of
from plait.training.course import Course, Phase, Task
from plait.training.grid_cache import known_grids
from plait.training.inputs import Inputs
from plait.training.network import build
from plait.types import Fold
from textbook import forward, written_plainly

EPOCHS = 30
# The trained rows of Tables 1 and 2.
TABLES = ("static", "gloves", "video", "concat", "glove-led", "video-led", "symmetric")


def main() -> None:
    """Do plait's jobs, time the plain study, project the whole table."""
    parser = options(__doc__, device=True)
    parser.add_argument("--threads", type=int, default=1, help="of each of plait's jobs")
    parser.add_argument(
        "--workers", type=int, default=cores(), help="of plait's processes; 0: its jobs are done here"
    )
    parser.add_argument("--precision", default="float32,bfloat16", help="of plait's jobs, several in turn")
    parser.add_argument(
        "--plain-steps", type=int, default=12, help="batches of the plain study, before and after"
    )
    parser.add_argument("--epochs", type=int, default=3, help="of plait's longer run, at least 2")
    parser.add_argument("--only", help="methods, separated by commas")
    parser.add_argument("--profile", action="store_true", help="the parts of a step, no study")
    parser.add_argument("--data", type=Path, help="folder for the arrays; by default a temporary one")
    parser.add_argument("--clips", type=int, default=EACH, help="of each person")
    chosen = parser.parse_args()
    if chosen.epochs < 2:
        parser.error("--epochs: expected at least 2")
    result: dict[str, Any] = machine(chosen.threads, chosen.device)
    result["workers"] = 0 if chosen.profile else chosen.workers
    with tempfile.TemporaryDirectory() as scratch:
        clips = generated(chosen.data or Path(scratch) / "data", 2 if chosen.quick else chosen.clips)
        small = [*TABLES, "width[embedding=416]"]  # with a row that repeats another
        study = asked(chosen.only.split(",") if chosen.only else small if chosen.quick else None)
        (fold, *_) = folds(study.protocol, [clip.subject for clip in clips.table])
        batches = -(-len(clips.of(fold.train)) // study.train.batch_size)
        at_work = f"{result['workers']} processes" if result["workers"] else "one process"
        print(f"{len(clips.table)} clips; {said(result)}; {at_work}")
        if chosen.profile:
            torch.set_num_threads(chosen.threads)
            for precision in chosen.precision.split(","):
                steps = 3 if chosen.quick else 200
                parts = (study, precision, clips, fold, Path(scratch), steps, chosen.device)
                result[precision] = profiled(*parts)
            finish(chosen.json, result)
            return
        steps = min(chosen.plain_steps, batches)
        asked_of = (study, clips, fold, steps, batches, chosen.device)
        plain_rounds = [plain_study(*asked_of)]
        ours = {}
        for precision in chosen.precision.split(","):
            own = replace(study, train=replace(study.train, precision=precision))
            ours[precision] = plait(own, clips, fold, Path(scratch) / precision, chosen)
        plain_rounds.append(plain_study(*asked_of))
    plain, same = (mean([found[side] for found in plain_rounds]) for side in (0, 1))
    result |= {"clips": len(clips.table), "plain_steps": 2 * steps}
    result |= {"plain": seconds(plain), "plain_with_plait_s_products": seconds(same)}
    for name in plain:
        epochs = f"{plain[name].epoch_s:8.1f} s an epoch, {same[name].epoch_s:8.1f} s with plait's products"
        print(f"  {name:24s} plainly {epochs}")
    for precision, made in ours.items():
        once = f"{made.once_s:.0f} s to begin with, once for all folds"
        print(
            f"plait in {precision}; {once}; "
            f"RssAnon of its processes together: at most {made.rss_anon_gb:.2f} GB"
        )
        result[precision] = {**made._asdict(), "methods": seconds(made.methods)}
        groups = {"all": list(plain), "tables": [name for name in TABLES if name in plain]}
        for title, names in groups.items():
            if names:
                result[precision][title] = compared(title, names, plain, made)
                products = f"{title}, with plait's products on both sides"
                result[precision][f"{title}_same_products"] = compared(products, names, same, made)
    finish(chosen.json, result)


class Took(NamedTuple):
    """Seconds of a method: an epoch with its validation, and what a fold takes besides."""

    epoch_s: float
    besides_s: float


class Ours(NamedTuple):
    """What plait takes: by method, jobs at once, seconds once for all folds, and memory."""

    methods: dict[str, Took]
    at_once: float
    once_s: float
    rss_anon_gb: float


def seconds(took: dict[str, Took]) -> dict[str, dict[str, float]]:
    """The same in terms of JSON."""
    return {name: one._asdict() for name, one in took.items()}


def mean(rounds: list[dict[str, Took]]) -> dict[str, Took]:
    """What a method takes in the mean of several rounds."""
    return {
        name: Took(*(statistics.mean(part) for part in zip(*(found[name] for found in rounds), strict=True)))
        for name in rounds[0]
    }


def compared(title: str, names: list[str], plain: dict[str, Took], ours: Ours) -> dict[str, Any]:
    """An epoch and the whole table of some methods on both sides."""
    epoch = [sum(took[name].epoch_s for name in names) for took in (plain, ours.methods)]
    besides = [sum(took[name].besides_s for name in names) for took in (plain, ours.methods)]
    epoch[1], besides[1] = epoch[1] / ours.at_once, besides[1] / ours.at_once
    hours = [SUBJECTS * (EPOCHS * e + b) / 3600 for e, b in zip(epoch, besides, strict=True)]
    hours[1] += ours.once_s / 3600
    print(
        f"  {title}, {len(names)} methods: one epoch of one fold {epoch[0]:.1f} s plainly, "
        f"{epoch[1]:.1f} s by plait, {epoch[0] / epoch[1]:.1f} x; "
        f"{SUBJECTS} folds, {EPOCHS} epochs: {hours[0]:.2f} h and {hours[1]:.2f} h, "
        f"{hours[0] / hours[1]:.1f} x",
        flush=True,
    )
    sides = ("plain", "plait")
    return {
        "methods": len(names),
        "epoch_s": dict(zip(sides, epoch, strict=True)), "epoch_ratio": epoch[0] / epoch[1],
        "whole_hours": dict(zip(sides, hours, strict=True)), "ratio": hours[0] / hours[1],
    }  # fmt: skip


def made_once(study: Study, clips: Clips, device: str) -> None:
    """What folds of methods without donors read in place of features: their averages, bfloat16 of them."""
    for name in rows(study):
        method = study.method(name)
        network = build(method, DATASET, clips.shapes, name, getattr(torch, study.train.precision))
        if not network.frozen:
            known_grids(network, method, {}, clips, device)


def plait(study: Study, clips: Clips, fold: Fold, out: Path, chosen: Any) -> Ours:
    """Every job of a fold by plait.

    A whole table has hundreds of jobs, so that its end, when some processes have nothing left to do, is
    nothing.
    """
    meter = Meter()
    meter.phase = "study"
    meter.start()
    os.environ["PLAIT_CACHE"] = str(out / "cache")
    before = torch.get_num_threads()
    torch.set_num_threads(chosen.threads)
    start = time.perf_counter()
    made_once(study, clips, chosen.device)
    once_s = time.perf_counter() - start
    torch.set_num_threads(before)
    took: list[dict[str, float]] = []
    for epochs in (1, chosen.epochs):
        own = replace(study, train=replace(study.train, max_epochs=epochs))
        setting = Setting("glovid:DATASET", out / str(epochs), chosen.threads, chosen.device)
        jobs = plan_all(own, DATASET, dict.fromkeys(own.order(), clips), [fold], setting)
        work = work_of(setting)
        ends: dict[str, float] = {}
        start = time.perf_counter()

        def ended(step: Step, ends: dict[str, float] = ends, start: float = start) -> None:
            if step.state == "done":
                ends[step.label] = time.perf_counter() - start

        items, many = jobs.distinct(), chosen.workers
        pool = processes(work, many, chosen.threads, setting.device) if many else inline(work)
        do_missing(items, work, pool, ended)
        spans = [(ends[work.label(item)] - said_s(setting, item), ends[work.label(item)]) for item in items]
        at_once = busy(spans, max(chosen.workers, 1))
        took.append(
            {name: said_s(setting, job) for (name, _, _), job in jobs.rows.items() if name in rows(study)}
        )
    meter.stopped.set()
    meter.join()
    one, more = took
    made = {}
    for name in one:
        epoch_s = (more[name] - one[name]) / (chosen.epochs - 1)
        made[name] = Took(epoch_s, one[name] - epoch_s)
        print(
            f"  {name:24s} by plait {epoch_s:8.2f} s an epoch, {made[name].besides_s:.2f} s besides",
            flush=True,
        )
    return Ours(made, at_once, once_s, max(reading.mb for reading in meter.readings) / 1e3)


@settled()
@wide_products()
def profiled(
    study: Study, precision: str, clips: Clips, fold: Fold, scratch: Path, steps: int, device: str
) -> dict[str, dict[str, float]]:
    """Medians in ms of the parts of a step, by method, once every clip has been read."""
    keep_memory()
    os.environ["PLAIT_CACHE"] = str(scratch / "cache")
    peak = matmul_flops(device=device, dtype=getattr(torch, precision))
    print(f"{precision}: a large product makes {peak / 1e9:.0f} GFLOP a second; ms a step:")
    columns = ("read", "forward", "backward", "optimizer", "all", "MFLOP", "at best")
    print(f"  {'':26s}" + "".join(f"{column:>10s}" for column in columns))
    found = {}
    for name in rows(study):
        torch.manual_seed(0)
        method, kind = study.method(name), getattr(torch, precision)
        network = build(method, DATASET, clips.shapes, name, kind).to(device)
        if network.frozen:  # a donor's jobs would have to be done first
            continue
        known = known_grids(network, method, {}, clips, device)
        inputs = Inputs(clips, known, method.modalities, device)
        task = Task(method, study.train, DATASET, clips, fold, seed=0, device=device)
        course = Course(task, Phase("train", clips.of(fold.train), None), network, inputs)
        for _ in course.batches():
            pass
        parts: list[list[float]] = []
        at = [now(device)]
        for tensors, grids, target in itertools.islice(course.batches(), steps):
            at.append(now(device))
            loss = F.cross_entropy(network(tensors, grids), target)
            at.append(now(device))
            course.clear()
            loss.backward()  # type: ignore[no-untyped-call]
            at.append(now(device))
            course.step(float(loss.detach()))
            at.append(now(device))
            parts.append([1e3 * (end - begin) for begin, end in itertools.pairwise(at)])
            at = at[-1:]
        ms = dict(
            zip(("read", "forward", "backward", "optimizer"), np.median(parts, axis=0).tolist(), strict=True)
        )
        with FlopCounterMode(display=False, custom_mapping=LSTM) as counter:
            F.cross_entropy(network(tensors, grids), target).backward()  # type: ignore[no-untyped-call]
        flops = counter.get_total_flops()
        found[name] = {**ms, "all": sum(ms.values()), "mflop": flops / 1e6, "at_best": 1e3 * flops / peak}
        print(f"  {name:26s}" + "".join(f"{value:10.2f}" for value in found[name].values()), flush=True)
    return found


def lstm_flops(
    entering: tuple[int, ...], w: tuple[int, ...], u: tuple[int, ...], *more: Any, **kinds: Any
) -> int:
    """Operations of one direction of an LSTM over `(t, b, n)`, with weights `(4k, n)` and `(4k, k)`."""
    return 2 * entering[0] * entering[1] * w[0] * (w[1] + u[1])


# What the counter does not know: a backward pass has as many products again for inputs, and for weights.
LSTM: dict[Any, Any] = {
    torch.ops.aten.mkldnn_rnn_layer: lstm_flops,
    torch.ops.aten.mkldnn_rnn_layer_backward: lambda *shapes, **kinds: 2 * lstm_flops(*shapes),
}


def now(device: str) -> float:
    """Seconds of a clock, once all that was asked of a card is done."""
    settle(device)
    return time.perf_counter()


def busy(spans: list[tuple[float, float]], workers: int) -> float:
    """How many jobs `(begin, end)` ran at once in the mean, as long as there was one left to start."""
    first = min(begin for begin, _ in spans)
    last = sorted(end for _, end in spans)[-min(workers, len(spans))]
    return sum(max(min(end, last) - begin, 0.0) for begin, end in spans) / (last - first)


def said_s(setting: Setting, job: Item) -> float:
    """How long a job took by its own account."""
    return read_job(setting.folder(job.key)).seconds


def plain_study(
    study: Study, clips: Clips, fold: Fold, steps: int, batches: int, device: str
) -> tuple[dict[str, Took], dict[str, Took]]:
    """What every method takes, written plainly: with torch as it comes, and with products as plait's."""
    usual, same = {}, {}
    for name in rows(study):
        timed = partial(plain_method, study, name, clips, fold, steps, batches, device)
        with settled():
            usual[name] = timed()
            with wide_products():
                same[name] = timed()
    return usual, same


def plain_method(
    study: Study, name: str, clips: Clips, fold: Fold, steps: int, batches: int, device: str
) -> Took:
    """What a method takes, written plainly; from a few batches."""
    torch.manual_seed(0)
    method = study.method(name)
    ours = build(method, DATASET, clips.shapes, name)
    network = written_plainly(ours).to(device)
    ours.to(device)
    train, val, test = (clips.of(part) for part in (fold.train, fold.val, fold.test))
    order = train[torch.randperm(len(train)).numpy()]
    with torch.inference_mode():
        batch = read(clips, method.modalities, order[:8], device)
        torch.testing.assert_close(forward(network, batch), ours(batch), rtol=1e-4, atol=1e-4)
    optimizer = torch.optim.RMSprop(
        [p for p in network.parameters() if p.requires_grad], lr=1e-3, alpha=0.9, eps=1e-7
    )
    took = []
    for step in range(steps + 1):
        at = order[step * 8 : step * 8 + 8] if (step + 1) * 8 <= len(order) else order[-8:]
        start = now(device)
        logits = forward(network, read(clips, method.modalities, at, device), as_they_lie=True)
        loss = F.cross_entropy(logits, torch.zeros(len(at)).long().to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        took.append(now(device) - start)
    scored = []
    with torch.inference_mode():
        parts = np.array_split(val[:96], math.ceil(len(val[:96]) / 16))  # as many at once as plait
        for part in (parts[0], *parts):  # the first time does not count
            start = now(device)
            forward(network.eval(), read(clips, method.modalities, part, device), as_they_lie=True)
            scored.append((now(device) - start) / len(part))
    each_s = statistics.median(scored[1:])
    epoch_s = statistics.median(took[1:]) * batches + each_s * len(val)
    return Took(epoch_s, each_s * (len(val) + len(test)))


def read(clips: Clips, modalities: tuple[str, ...], rows: np.ndarray, device: str) -> dict[str, Tensor]:
    """A batch in float32."""
    arrays = {name: mapped(clips.arrays[name].files[0]) for name in modalities}
    return {name: torch.from_numpy(array[rows]).float().to(device) for name, array in arrays.items()}


if __name__ == "__main__":
    main()
