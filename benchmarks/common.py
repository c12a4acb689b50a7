"""What benchmarks share: options, interleaved rounds, the machine in words, its peak, a video to read."""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from plait.compute.machine import cores, device_called
from plait.errors import ConfigError
from plait.store import write_json

MATRICES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
MARGIN_MB = 32.0  # within which memory is flat: what is in work takes some of it and gives it back
# PLAIT_BENCH_CLOCK=processor: time that one thread has had, for ratios where others use the machine.
CLOCK = time.process_time if os.environ.get("PLAIT_BENCH_CLOCK") == "processor" else time.perf_counter
SPAN_S = 0.01  # of a card: shorter steps are timed several at once, as they follow each other in training


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


def options(doc: str | None, rounds: int | None = None, device: bool = False) -> argparse.ArgumentParser:
    """The options of every benchmark, `--rounds` where it has rounds; `doc` begins with what it measures.

    With `device`, `--device` says what is computed on.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds)
    if device:
        parser.add_argument("--device", type=_device, default="cpu", help="cpu, or cuda for a card")
    parser.add_argument("--quick", action="store_true", help="a small case, to see that the benchmark works")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    return parser


def _device(name: str) -> str:
    """A device that works, or a line that argparse prints."""
    try:
        return device_called(name)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def in_turn(
    steps: Mapping[str, Callable[[], object]], rounds: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds of each step in each round; interleaved, so that what else the machine does hits all alike.

    On a card a step is done three times before, which do not count, and then often enough to fill `SPAN_S`
    between two of the card's own events.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    if torch.device(device).type == "cuda":
        with torch.cuda.device(device):
            often = {name: _often(step) for name, step in steps.items()}
            for _ in range(rounds):
                for name, step in steps.items():
                    seconds[name].append(_on_card(step, often[name]))
        return seconds
    for _ in range(rounds):
        for name, step in steps.items():
            start = CLOCK()
            step()
            seconds[name].append(CLOCK() - start)
    return seconds


def _often(step: Callable[[], object]) -> int:
    """How many of a step fill `SPAN_S`, at most 100."""
    for _ in range(2):
        step()
    return min(max(round(SPAN_S / _on_card(step, 1)), 1), 100)


def _on_card(step: Callable[[], object], times: int) -> float:
    """Seconds of one of several steps by the card's clock."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    begin.record()
    for _ in range(times):
        step()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3 / times


def settle(device: str) -> None:
    """Wait until all that was asked of a card is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def peak_on_card(step: Callable[[], object]) -> float:
    """The most MB that a step has allocated on the card at any moment, beyond what stood before."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def peak_on_processor(step: Callable[[], object], tries: int = 5) -> float:
    """The most MB that a step has allocated at any moment, beyond what stood before.

    Raises:
        RuntimeError: the profiler has said nothing of memory in so many tries; now and then it does not.
    """
    for _ in range(tries):
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            step()
        events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
        if events:
            break
    else:
        raise RuntimeError("torch's profiler says nothing of memory")
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most / 1e6


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each step."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def matmul_flops(rounds: int = 3, device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Operations a second of the best of several matrix products, two to a multiply-add."""
    best = 0.0
    for size in MATRICES[torch.device(device).type]:
        a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
        took = min(in_turn({"product": partial(torch.mm, a, b)}, rounds, device)["product"])
        best = max(best, 2 * size**3 / took)
    return best


def machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """What the numbers were measured on: the processor, and `card` where that is what computed."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    told = {"processor": processor, "cores": cores(), "threads": threads, "torch": torch.__version__}
    if torch.device(device).type == "cuda":
        told |= {"card": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return told


def said(told: Mapping[str, Any]) -> str:
    """The machine on one line."""
    card = f"{told['card']}, CUDA {told['cuda']}; " if "card" in told else ""
    here = f"{told['threads']} threads on {told['cores']} cores of {told['processor']}"
    return f"{card}{here}, torch {told['torch']}"


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


def thirds(mb: Sequence[float]) -> dict[str, Any]:
    """The highest of the first and of the last third, and whether that is flat, within `MARGIN_MB`."""
    third = max(len(mb) // 3, 1)
    first, last = max(mb[:third]), max(mb[-third:])
    return {"first_third_mb": first, "last_third_mb": last, "flat": last - first <= MARGIN_MB}


def finish(file: Path | None, result: Mapping[str, Any]) -> None:
    """Write the numbers, if a file was asked for."""
    if file is not None:
        write_json(file, dict(result))


def film(file: Path, frames: int, *, width: int, height: int, rate_hz: int, slices: int = 2) -> None:
    """Write H.264: a texture that moves, with fresh noise on every frame as cameras have.

    x264's preset veryfast at crf 18, B-frames, a key frame every second, which gives a camera's bit rate;
    each picture in so many slices, which FFmpeg may decode side by side.
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 40, width // 40, 3), np.uint8)
    texture = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    texture = np.tile(np.minimum(texture, 240), (2, 2, 1))  # of which every shift is a part
    noise = np.tile(rng.integers(0, 16, (height, width, 1), np.uint8), (2, 2, 1))
    with av.open(str(file), "w") as container:
        asked = {"preset": "veryfast", "crf": "18", "g": str(rate_hz), "slices": str(slices)}
        track = container.add_stream("libx264", rate=rate_hz, options=asked)
        track.codec_context.thread_type = "FRAME"  # else there are as many slices as cores
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
