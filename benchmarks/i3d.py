"""I3D up to Mixed_5b on clips of 79x224x224: every engine against plain eager PyTorch, in one run.

    python benchmarks/i3d.py [--rounds 5] [--threads N] [--engines torch compile openvino] [--json FILE]

Eager is the network in eval mode under `torch.inference_mode()`, clip by clip. Medians of interleaved rounds,
after one round that does not count; `ready` is what an engine needs before its first clip: writing the graph
down, folding, compiling. Multiply-adds are counted from the convolutions' kernels and output positions,
padding included; the peak is that of the best of several float32 matrix products, measured in the same
rounds.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from plait.compute.machine import cores
from plait.encoders.i3d import I3D
from plait.features.engine import ENGINES, Encode, accelerate, engine_version

SHAPE = (1, 79, 224, 224, 3)
MATRICES = (1024, 2048, 4096)


def multiply_adds(network: nn.Module, clip: Tensor) -> int:
    """Multiply-adds of every convolution on one clip."""
    counted: list[int] = []

    def count(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(module, nn.Conv3d)
        counted.append(out.numel() * module.weight[0].numel())

    hooks = [part.register_forward_hook(count) for part in network.modules() if isinstance(part, nn.Conv3d)]
    with torch.inference_mode():
        network(clip)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def matmul_per_s(size: int) -> float:
    """Multiply-adds a second of one product of square matrices."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    start = time.perf_counter()
    torch.mm(a, b)
    return size**3 / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = I3D("Mixed_5b").freeze()
    for part in network.modules():  # nothing to fold is no test of folding
        if isinstance(part, nn.BatchNorm3d):
            part.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    clip = torch.rand(SHAPE) * 2 - 1
    needed = multiply_adds(network, clip)

    def eager(clips: Tensor) -> Tensor:
        with torch.inference_mode():
            out: Tensor = network(clips)
        return out

    runs: dict[str, Encode] = {"eager": eager}
    ready = {"eager": 0.0}
    expected, error = eager(clip), {"eager": 0.0}
    for engine in args.engines:
        start = time.perf_counter()
        runs[engine] = accelerate(network, clip, engine)
        ready[engine] = time.perf_counter() - start
        error[engine] = float((runs[engine](clip) - expected).abs().max() / expected.abs().max())
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    peaks: list[float] = []
    for round_ in range(args.rounds + 1):
        best = max(matmul_per_s(size) for size in MATRICES)
        for name, run in runs.items():
            start = time.perf_counter()
            run(clip)
            took = time.perf_counter() - start
            if round_ > 0:
                seconds[name].append(took)
        if round_ > 0:
            peaks.append(best)
    peak = statistics.median(peaks)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{needed / 1e9:.1f} G multiply-adds a clip; matrix products: {peak / 1e9:.0f} G a second")
    print(f"{'engine':10} {'clips/s':>8} {'ratio':>6} {'of peak':>8} {'ready s':>8} {'difference':>11}")
    for name, median in medians.items():
        print(
            f"{name:10} {1 / median:8.2f} {medians['eager'] / median:6.2f} {needed / median / peak:8.0%} "
            f"{ready[name]:8.1f} {error[name]:11.1e}"
        )
    if args.json:
        rows = {
            name: {
                "seconds": median,
                "ratio": medians["eager"] / median,
                "of_peak": needed / median / peak,
                "ready_s": ready[name],
                "difference": error[name],
                "version": engine_version("torch" if name == "eager" else name),
            }
            for name, median in medians.items()
        }
        said = {"threads": args.threads, "cores": cores(), "multiply_adds": needed, "peak_per_s": peak}
        args.json.write_text(json.dumps({**said, "engines": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
