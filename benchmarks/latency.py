"""From the last sample of a window to scores, one clip: plait's way against plain PyTorch, in one run.

    python benchmarks/latency.py [--rounds 15] [--threads 1 2] [--encoders i3d lite0] [--device cuda]
                                 [--quick] [--json FILE]

The window lies in memory: 79 frames of 224 x 224, decoded, at 15 per second, and 134 readings of two gloves
at 25 per second. Its way to probabilities: both tensors are cut and prepared, the frozen video encoder and
the glove network make grids, video-led fusion (K = half of the channels, mean head) makes scores. `i3d` is
the paper's network up to Mixed_5b, a grid of 10x7x7x832; `lite0` is EfficientNet-Lite0 on every frame,
79x7x7x320. Weights are drawn at random, for they cost the same. `plait` runs the encoder by the engine
`torch` (or `--engine`) and lets the fusion choose its order; `plain` runs the networks as they are in eval
mode and the textbook's fusion. Scores are compared first. Rounds are interleaved; median and 95th percentile
are printed, and fusion alone, from grids to scores. On a card a step ends when its scores are in the
processor's memory, and both ways compute in float32 as plait's recogniser does.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from common import Frames, finish, in_turn, machine, matmul_flops, medians, options, said
from plait.clips import window
from plait.compute.machine import settled
from plait.datasets.glovid import CHANNELS, FRAME_HZ, FRAMES, GLOVID, READING_HZ, READINGS
from plait.encoders.frames import FrameNet
from plait.encoders.i3d import I3D
from plait.features.engine import ENGINES, Encode, accelerate
from plait.fusion import Led
from plait.pretrained import efficientnet_lite0
from plait.training.network import Network, grid_shape
from plait.types import Modality, Readings, Stream
from textbook import Fused

SHORT_ROUNDS = 10  # of the short steps, for one of the long ones


def streams(frames: int, side: int) -> dict[str, Stream]:
    """One window of a camera and two gloves."""
    rng = np.random.default_rng(0)
    seconds = np.arange(READINGS) / READING_HZ
    pictures = rng.integers(0, 256, (frames, side, side, 3), np.uint8)
    hands = {hand: Readings(seconds, rng.normal(0, 1, (READINGS, CHANNELS))) for hand in ("left", "right")}
    return {"video": Frames(np.arange(frames) / FRAME_HZ, pictures), **hands}


def encoder(name: str, shape: tuple[int, ...]) -> nn.Module:
    """A frozen video network; batch normalisations that do something, as trained ones."""
    network = I3D("Mixed_5b") if name == "i3d" else efficientnet_lite0(shape)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm3d):
            part.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval().requires_grad_(False)


def ways(
    name: str, modalities: Mapping[str, Modality], given: Mapping[str, Stream], engine: str, device: str
) -> tuple[dict[str, Callable[[], Tensor]], nn.Module, Tensor]:
    """What is timed, by name, with the video network and its clip."""

    def cut() -> dict[str, Tensor]:
        return {m: window(modality, given, 0.0, FRAMES / FRAME_HZ) for m, modality in modalities.items()}

    def entering() -> dict[str, Tensor]:
        return {m: tensor.unsqueeze(0).float().to(device) for m, tensor in cut().items()}

    clip = cut()
    shapes = {m: tuple(tensor.shape) for m, tensor in clip.items()}
    network, gloves = (
        encoder(name, shapes["video"]),
        GLOVID.modality("gloves").encoder(shapes["gloves"]).eval(),
    )
    grids = {"video": grid_shape(network, shapes["video"]), "gloves": grid_shape(gloves, shapes["gloves"])}
    led = Led(grids, len(GLOVID.activities), lead="video").eval()
    ready = entering()["video"]
    for module in (network, gloves, led):
        module.to(device)
    textbook = Fused(led).eval().to(device)
    rest = Network({"video": nn.Identity(), "gloves": gloves}, led).eval()
    run: Encode = accelerate(network, ready, engine)
    for part in network.modules():
        if isinstance(part, FrameNet):
            part.at_once = None  # plain: the whole clip at once

    def ours() -> Tensor:
        now = entering()
        logits: Tensor = rest({"gloves": now["gloves"]}, {"video": run(now["video"])})
        return logits.softmax(dim=1).cpu()

    def plain() -> Tensor:
        now = entering()
        return fused(network(now["video"]), gloves(now["gloves"])).softmax(dim=1).cpu()

    def fused(video: Tensor, signal: Tensor) -> Tensor:
        logits: Tensor = textbook({"video": video.movedim(-1, 1), "gloves": signal.mT})
        return logits

    video = run(ready)
    signal = gloves(entering()["gloves"])
    steps: dict[str, Callable[[], Tensor]] = {
        "plait": ours,
        "plain": plain,
        "plait, network": lambda: run(ready),
        "plain, network": lambda: network(ready),
        "plait, fusion": lambda: led({"video": video, "gloves": signal}),
        "plain, fusion": lambda: fused(video, signal),
        "plait, cut and prepare": lambda: cut()["video"].float(),
    }
    return steps, network, ready


def main() -> None:
    """Compare the scores, then time both ways in turn, for each encoder and number of threads."""
    parser = options(__doc__, rounds=15, device=True)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--encoders", nargs="+", choices=("i3d", "lite0"), default=["i3d", "lite0"])
    parser.add_argument("--engine", choices=ENGINES, default="torch")
    args = parser.parse_args()
    rounds, frames, side = (2, 16, 64) if args.quick else (args.rounds, FRAMES, 224)
    modalities = {name: GLOVID.modality(name) for name in ("video", "gloves")}
    modalities["video"] = replace(modalities["video"], samples=frames)
    given = streams(frames, side)
    result: dict[str, Any] = machine(max(args.threads), args.device)
    result |= {"engine": args.engine, "rounds": rounds, "rows": []}
    print(
        f"one window: {frames} frames of {side} x {side}, {READINGS} readings; "
        f"engine {args.engine}, {rounds} rounds"
    )
    print(said(result))
    for name, threads in product(args.encoders, [1] if args.quick else args.threads):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        with settled(), torch.inference_mode():
            row = {
                "encoder": name,
                "threads": threads,
                **measured(name, modalities, given, args.engine, rounds, args.device),
            }
        result["rows"].append(row)
        print(f"{name}, {threads} threads: scores differ by {row['difference']:.1e} of their range; ", end="")
        print(f"the network reaches {row['of_peak']:.0%} of {row['peak_flops'] / 1e9:.0f} GFLOP a second")
        for step, ms in row["ms"].items():
            print(f"  {step:24} median {ms['median']:9.2f} ms   95th percentile {ms['p95']:9.2f} ms")
        print(f"  plain / plait: {row['ratio']:.2f}, fusion alone {row['ratio_fusion']:.2f}")
    finish(args.json, result)


def measured(
    name: str,
    modalities: Mapping[str, Modality],
    given: Mapping[str, Stream],
    engine: str,
    rounds: int,
    device: str,
) -> dict[str, Any]:
    """Milliseconds of every step and what follows from them."""
    steps, network, clip = ways(name, modalities, given, engine, device)
    ours, theirs = steps["plait"](), steps["plain"]()
    apart = float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))
    assert ours.shape == (1, len(GLOVID.activities)) and apart < 1e-3, (
        f"scores differ by {apart:.1e} of their range"
    )
    whole = {step: steps[step] for step in ("plait", "plain", "plait, network", "plain, network")}
    short = {step: own for step, own in steps.items() if step not in whole}
    in_turn(steps, 1)  # does not count
    seconds = {**in_turn(whole, rounds, device), **in_turn(short, SHORT_ROUNDS * rounds, device)}
    with FlopCounterMode(display=False) as counter:
        network(clip)
    median, peak = medians(seconds), matmul_flops(min(rounds, 3), device)
    return {
        "ms": {
            step: {"median": 1e3 * median[step], "p95": 1e3 * float(np.quantile(values, 0.95))}
            for step, values in seconds.items()
        },
        "ratio": median["plain"] / median["plait"],
        "ratio_fusion": median["plain, fusion"] / median["plait, fusion"],
        "difference": apart,
        "network_flops": counter.get_total_flops(),
        "peak_flops": peak,
        "of_peak": counter.get_total_flops() / median["plait, network"] / peak,
    }


if __name__ == "__main__":
    main()
