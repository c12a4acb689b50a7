"""All folds of a method at once: one after another, stacked, and side by side in processes, in one run.

    python benchmarks/folds.py [--rounds 3] [--quick] [--json FILE]

Nineteen folds of leave-one-subject-out at GloVid's sizes (fewer clips of each person, drawn at random, on disk), one
epoch of batches of eight, by the code that studies use: `plait.training.fit`, with `folds_at_once` 1, 4 and 19. Each is
measured in one process that has all threads, and in one process a core with one thread each, which share the folds out
(where it says 19 at once, two of them stack ten and nine). Their losses are compared first. Ratios are to one fold
after another with all threads, plait's own and the textbook's.

Last, why not more: the largest product, a video grid with the keys of its clip, for sixteen folds that share the clip,
one by one and with the grid read once for all.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from common import finish, in_turn, machine, matmul_flops, medians, options, said
from glovid import DATASET, asked, generated
from plait.clips import Clips
from plait.compute.machine import wide_products
from plait.study.folds import folds
from plait.training.course import Course, Inputs
from plait.training.fit import followed
from plait.training.grid_cache import known_grids
from plait.training.network import build
from plait.types import Fold
from study import plain_method

METHODS = ("gloves", "video", "concat-pooled", "glove-led", "video-led")
SHARING, KEYS = 16, 28


def main() -> None:
    """Every formulation of every method in turn."""
    parser = options(__doc__, rounds=3)
    chosen = parser.parse_args()
    cores = machine(1)["cores"]
    each, count, rounds = (2, 4, 1) if chosen.quick else (8, 19, chosen.rounds)
    result: dict[str, Any] = {**machine(cores), "rounds": rounds, "folds": count, "methods": {}}
    print(f"ms a step of one fold; {count} folds; {said(result)}")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PLAIT_CACHE"] = str(Path(scratch) / "cache")  # averages of grids, for the processes too
        clips = generated(Path(scratch), each)
        study = asked(list(METHODS))
        parts = folds(study.protocol, [clip.subject for clip in clips.table])[:count]
        steps = sum(-(-len(clips.of(part.train)) // study.train.batch_size) for part in parts)
        with Pool(cores) as pool:
            for name in METHODS[:1] if chosen.quick else METHODS:
                ways: dict[str, Callable[[], float]] = {}
                for size in (1, 4, count):
                    ways[f"{size} at once, {cores} threads"] = partial(one_process, name, clips, parts, size, cores)
                    ways[f"{size} at once, {cores} processes"] = partial(pool.spread, name, clips, parts, size)
                agree(name, clips, parts[:3])
                found: dict[str, list[float]] = {way: [] for way in ways}
                for _ in range(rounds):
                    for way, run in ways.items():
                        found[way].append(1e3 * run() / steps)
                ms = medians(found)
                batches = -(-len(clips.of(parts[0].train)) // study.train.batch_size)
                torch.set_num_threads(cores)
                textbook = 1e3 * plain_method(study, name, clips, parts[0], min(8, batches), batches).epoch_s / batches
                first = f"1 at once, {cores} threads"
                result["methods"][name] = {"ms": ms, "textbook_ms": textbook, "ratio": ms[first] / min(ms.values())}
                print(f"{name}: textbook, one after another {textbook:.1f}")
                for way, value in ms.items():
                    print(
                        f"  {way:28s}{value:8.2f}   {ms[first] / value:5.2f} x, {textbook / value:5.1f} x", flush=True
                    )
    result["one_read"] = one_read(3 if chosen.quick else 20)
    finish(chosen.json, result)


def courses(name: str, clips: Clips, parts: Sequence[Fold]) -> list[Course]:
    """One epoch of training for each fold."""
    study = asked([name])
    method, train = study.method(name), replace(study.training(name), max_epochs=1)
    made = []
    for part in parts:
        torch.manual_seed(0)
        network = build(method, DATASET, clips.shapes, name)
        inputs = Inputs(clips, known_grids(network, method, {}, clips, "cpu"), method.modalities, "cpu")
        rows, val = clips.of(part.train), clips.of(part.val)
        made.append(Course(network, inputs, method, train, DATASET, "train", rows, val, 0, None))
    return made


@wide_products()
def one_process(name: str, clips: Clips, parts: Sequence[Fold], size: int, threads: int) -> float:
    """Seconds of all folds here, `size` at once."""
    torch.set_num_threads(threads)
    made = courses(name, clips, parts)
    start = time.perf_counter()
    for first in range(0, len(made), size):
        followed(made[first : first + size], made[0].train)
    return time.perf_counter() - start


def agree(name: str, clips: Clips, parts: Sequence[Fold]) -> None:
    """The losses of an epoch are the same one by one and at once."""
    alone, together = courses(name, clips, parts), courses(name, clips, parts)
    for course in alone:
        followed([course], course.train)
    followed(together, together[0].train)
    for one, other in zip(alone, together, strict=True):
        assert abs(one.history[0][2] - other.history[0][2]) < 1e-3, "losses differ"


class Pool:
    """Processes of one thread each that begin together."""

    def __init__(self, workers: int) -> None:
        self.workers, context = workers, multiprocessing.get_context("spawn")
        self.pool = context.Pool(workers, begun, (context.Barrier(workers),))

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.terminate()

    def spread(self, name: str, clips: Clips, parts: Sequence[Fold], size: int) -> float:
        """Seconds of all folds, shared out evenly, `size` at once in each process, until the last is done."""
        shares = [parts[worker :: self.workers] for worker in range(self.workers)]
        sizes = max(1, min(size, len(shares[0])))
        return max(self.pool.starmap(after_the_others, [(name, clips, share, sizes) for share in shares], 1))


def begun(barrier: Any) -> None:
    """Note where the processes wait for each other."""
    global everyone
    everyone = barrier
    torch.set_num_threads(1)


def after_the_others(name: str, clips: Clips, parts: Sequence[Fold], size: int) -> float:
    """`one_process` with one thread, once all processes have come this far."""
    everyone.wait()
    return one_process(name, clips, parts, size, 1)


everyone: Any = None


@wide_products()
def one_read(rounds: int) -> dict[str, float]:
    """Keys of sixteen folds against the grids they share, grids read once for each fold or once for all."""
    torch.set_num_threads(1)
    x = torch.randn(8, 490, 832)
    apart = [torch.randn(8, KEYS, 832) for _ in range(SHARING)]
    copies = [x.clone() for _ in range(4)]  # other clips between: no grid stays in the cache
    once = torch.cat(apart, 1)
    steps = {
        "apart": lambda: [torch.bmm(keys, copies[i % 4].mT) for i, keys in enumerate(apart)],
        "once": lambda: torch.bmm(once, x.mT),
    }
    ms = {way: 1e3 * s / SHARING for way, s in medians(in_turn(steps, rounds)).items()}
    bound = 1e3 * 2 * x.numel() * KEYS / matmul_flops()
    print(
        f"largest product, ms a fold, one thread: apart {ms['apart']:.2f}, grids read once {ms['once']:.2f}; ", end=""
    )
    print(f"a large matrix product's speed would take {bound:.2f}")
    return {**ms, "bound": bound}


if __name__ == "__main__":
    main()
