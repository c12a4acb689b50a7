"""What benchmarks share: options, interleaved rounds, the machine in words, its peak, a video to read."""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

from plait.compute.machine import cores
from plait.store import write_json

MATRICES = (1024, 2048)


@dataclass(frozen=True, eq=False)
class Frames:
    """A `Stream` of frames in memory, the one on display at each time.

    `pictures` is `(n, height, width, 3)`, uint8.
    """

    times: np.ndarray
    pictures: np.ndarray

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """The frames at `seconds`."""
        shown = np.searchsorted(self.times, seconds + 1e-4, side="right") - 1
        pictures: np.ndarray = self.pictures[shown]
        return pictures


def options(doc: str | None, rounds: int | None = None) -> argparse.ArgumentParser:
    """The options of every benchmark, `--rounds` where it has rounds; `doc` begins with what it measures."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--quick", action="store_true", help="a small case, to see that the benchmark works")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    return parser


def in_turn(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step in each round; interleaved, so that what else the machine does hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each step."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def matmul_flops(rounds: int = 3) -> float:
    """Operations a second of the best of several float32 matrix products, two to a multiply-add."""
    best = 0.0
    for size in MATRICES:
        a, b = torch.rand(size, size), torch.rand(size, size)
        took = min(in_turn({"product": partial(torch.mm, a, b)}, rounds)["product"])
        best = max(best, 2 * size**3 / took)
    return best


def machine(threads: int) -> dict[str, Any]:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    return {"processor": processor, "cores": cores(), "threads": threads, "torch": torch.__version__}


def said(told: Mapping[str, Any]) -> str:
    """The machine on one line."""
    return f"{told['threads']} threads on {told['cores']} cores of {told['processor']}, torch {told['torch']}"


def rss_anon_mb(process: str) -> float:
    """RssAnon of a process and of all its children, in MB (10^6 bytes); 0 for one that has just ended."""
    folder = Path("/proc") / process
    try:
        lines = (folder / "status").read_text().splitlines()
        children = [
            pid for task in (folder / "task").iterdir() for pid in (task / "children").read_text().split()
        ]
    except OSError:
        return 0.0
    own = sum(1024e-6 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return own + sum(rss_anon_mb(child) for child in children)


def finish(file: Path | None, result: Mapping[str, Any]) -> None:
    """Write the numbers, if a file was asked for."""
    if file is not None:
        write_json(file, dict(result))


def film(file: Path, frames: int, *, width: int, height: int, rate_hz: int) -> None:
    """Write H.264: a texture that moves, with fresh noise on every frame as cameras have.

    x264's preset veryfast at crf 18, B-frames, a key frame every second, which gives a camera's bit rate.
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 40, width // 40, 3), np.uint8)
    texture = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    texture = np.tile(np.minimum(texture, 240), (2, 2, 1))  # of which every shift is a part
    noise = np.tile(rng.integers(0, 16, (height, width, 1), np.uint8), (2, 2, 1))
    with av.open(str(file), "w") as container:
        track = container.add_stream(
            "libx264", rate=rate_hz, options={"preset": "veryfast", "crf": "18", "g": str(rate_hz)}
        )
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            parts = []
            for plane, (down, right) in (
                (texture, (3 * index, 7 * index)),
                (noise, rng.integers(0, height, 2)),
            ):
                top, left = -down % height, -right % width
                parts.append(plane[top : top + height, left : left + width])
            container.mux(track.encode(av.VideoFrame.from_ndarray(parts[0] + parts[1], "rgb24")))
        container.mux(track.encode())
