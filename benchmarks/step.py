"""A whole training step at the paper's shapes: as it is, compiled, and replayed as a CUDA graph.

    python benchmarks/step.py [--ways eager,compile,graphs] [--rounds 9] [--batch 8] [--device cuda] [--quick]
                              [--json FILE]

A step is forward, cross-entropy, backward and RMSprop in one pass; the video grid (10x7x7x832) is frozen,
gloves (134x18) go through their network. Reading batches is no part of it. `eager` is what plait does;
`compile` has `torch.compile` make one function of network and loss, gradients included; `graphs` records the
step once, optimizer and all, and replays it, which takes away the launches. The losses of the first steps are
compared first. Medians of interleaved rounds; ratios are to eager, so above 1 the other is faster. Graphs
need a card; a way that does not work says why, and the others go on.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import finish, in_turn, machine, medians, options, said
from fusion import CLASSES, SHAPES
from plait.compute.machine import keep_memory, settled, wide_products
from plait.encoders.glove import GloveNet
from plait.errors import one_line
from plait.fusion import Concat, Led, Symmetric
from plait.training.rmsprop import one_pass

READINGS = (134, 18)
COMPARED = 3  # steps
RATE = 1e-6  # of learning: the one batch is not learned by heart, whose gradients would go to nothing
METHODS: dict[str, Callable[[], nn.Module]] = {
    "concat": partial(Concat, SHAPES, CLASSES),
    "glove-led": partial(Led, SHAPES, CLASSES, "gloves"),
    "video-led": partial(Led, SHAPES, CLASSES, "video"),
    "symmetric": partial(Symmetric, SHAPES, CLASSES),
}
Step = Callable[[], Tensor]


class Whole(nn.Module):
    """The glove network and a method, from a batch to its loss."""

    def __init__(self, method: nn.Module) -> None:
        super().__init__()
        self.gloves, self.method = GloveNet(READINGS), method

    def forward(self, video: Tensor, readings: Tensor, labels: Tensor) -> Tensor:
        """The cross-entropy."""
        return F.cross_entropy(self.method({"video": video, "gloves": self.gloves(readings)}), labels)


def main() -> None:
    """Compare losses, then time all ways in turn, method by method."""
    parser = options(__doc__, rounds=9, device=True)
    parser.add_argument("--ways", default="eager,compile,graphs", help="of eager, compile, graphs")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    ways = chosen.ways.split(",")
    if not set(ways) <= set(WAYS) or "eager" not in ways:
        parser.error(f"--ways {chosen.ways}: expected eager, and some of {', '.join(WAYS)}")
    if chosen.quick:
        chosen.rounds, chosen.batch = 1, 2
    keep_memory()
    torch.set_num_threads(chosen.threads)
    result: dict[str, Any] = {**machine(chosen.threads, chosen.device), "batch": chosen.batch, "rows": []}
    print(f"{said(result)}\na training step, batch {chosen.batch}, ms; in brackets how many times as fast")
    with settled(), wide_products():
        for name in ("video-led",) if chosen.quick else METHODS:
            row = measured(name, ways, chosen)
            result["rows"].append(row)
            print(told(row), flush=True)
    finish(chosen.json, result)


def measured(name: str, ways: list[str], chosen: argparse.Namespace) -> dict[str, Any]:
    """Medians in ms and ratios, of the ways that work; why others do not."""
    torch.manual_seed(0)
    device = chosen.device
    batch = (
        torch.randn(chosen.batch, *SHAPES["video"]).to(device),
        torch.randn(chosen.batch, *READINGS).to(device),
        torch.randint(CLASSES, (chosen.batch,)).to(device),
    )
    whole = Whole(METHODS[name]()).to(device)
    steps: dict[str, Step] = {}
    failed: dict[str, str] = {}
    losses: dict[str, list[float]] = {}
    for way in ways:
        own = Whole(METHODS[name]()).to(device)
        own.load_state_dict(whole.state_dict())
        try:
            steps[way], losses[way] = WAYS[way](own, batch)
        except Exception as error:  # no compiler, no card, or code that one of them cannot take
            failed[way] = one_line(error)
    off = {way: apart(found, losses["eager"]) for way, found in losses.items()}
    for way, difference in off.items():
        assert difference < 1e-3, f"{name}, {way}: losses {losses[way]}, eager {losses['eager']}"
    ms = {way: 1e3 * s for way, s in medians(in_turn(steps, chosen.rounds, device)).items()}
    ratio = {way: ms["eager"] / s for way, s in ms.items()}
    return {"method": name, "ms": ms, "ratio": ratio, "losses_apart": off, "failed": failed}


def apart(found: list[float], true: list[float]) -> float:
    """The largest relative difference of losses."""
    return max(abs(a - b) / abs(b) for a, b in zip(found, true, strict=True))


def eager(whole: Whole, batch: tuple[Tensor, ...], run: Callable[..., Tensor] | None = None) -> Step:
    """A step as plait takes it, `run` in the place of the network."""
    optimizer = one_pass(torch.optim.RMSprop(whole.parameters(), RATE, alpha=0.9, eps=1e-7))
    forward = whole if run is None else run

    def step() -> Tensor:
        loss = forward(*batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def first(step: Step) -> list[float]:
    """The losses of the first steps."""
    return [float(step()) for _ in range(COMPARED)]


def as_it_is(whole: Whole, batch: tuple[Tensor, ...]) -> tuple[Step, list[float]]:
    """What plait does."""
    step = eager(whole, batch)
    return step, first(step)


def compiled(whole: Whole, batch: tuple[Tensor, ...]) -> tuple[Step, list[float]]:
    """Network, loss and gradients as one compiled function."""
    step = eager(whole, batch, torch.compile(whole))
    return step, first(step)


def recorded(whole: Whole, batch: tuple[Tensor, ...]) -> tuple[Step, list[float]]:
    """All of a step as one graph of launches, replayed; the first steps are taken before it is recorded."""
    if batch[0].device.type != "cuda":
        raise RuntimeError("a CUDA graph needs a card")
    step = eager(whole, batch)
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        losses = first(step)[:-1]
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay, [*losses, float(replay())]


WAYS: Mapping[str, Callable[[Whole, tuple[Tensor, ...]], tuple[Step, list[float]]]] = {
    "eager": as_it_is,
    "compile": compiled,
    "graphs": recorded,
}


def told(row: Mapping[str, Any]) -> str:
    """A row in words."""
    parts = [f"{way} {ms:.3f} ({row['ratio'][way]:.2f})" for way, ms in row["ms"].items()]
    parts += [f"{way}: not measured, {why}" for way, why in row["failed"].items()]
    return f"{row['method']:12s} {', '.join(parts)}"


if __name__ == "__main__":
    main()
