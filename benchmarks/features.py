"""Clips a second from a video file to features on disk: plait's `extract` against plain PyTorch, in one run.

    python benchmarks/features.py [--seconds 24] [--rounds 3] [--threads N] [--engine torch]
                                  [--device cuda] [--quick] [--json FILE]

The file is made first: H.264, 1920 x 1080, 60 frames per second. Clips are GloVid's, 79 frames of 224 x 224
at 15 per second, back to back and with half of each in the next; the network is EfficientNet-Lite0 with its
ImageNet weights. `plait` is everything `plait features` does, getting ready included: no cache is found.
`plain` decodes each clip from the key frame before it with PyAV's defaults and its own resizing, runs the
network in eval mode on the whole clip in float32 and saves an array of float16. Features are compared first.
Rounds are interleaved; medians are printed.

Then each part of the way by itself, in seconds a clip: `decode` (with resizing), `prepare`, `network`,
`write`. They add up to more than a clip takes where decoding runs beside the network on cores that it leaves
free. Operations are torch's count (`torch.utils.flop_counter`), the peak is that of a large matrix product in
the same run. With `--device cuda` both ways' networks are on the card, in float32 that is not rounded to
TensorFloat-32.
"""

import copy
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from common import CLOCK, Frames, film, finish, in_turn, machine, matmul_flops, medians, options, said
from plait.clips import Cut, tensors
from plait.clips.windows import moments
from plait.compute.machine import cores, settled
from plait.datasets.glovid import FRAME_HZ, FRAMES, GLOVID
from plait.features import Extraction, extract
from plait.features.engine import ENGINES, accelerate
from plait.pretrained import efficientnet_lite0
from plait.recordings.video import Forward, Video, rgb
from plait.types import Clip, Dataset, Recording

RATE_HZ, SHORT, CROP = 60, 256, 224


def data_set(frames: int) -> Dataset:
    """GloVid with clips of so many frames."""
    return replace(GLOVID, modalities=(replace(GLOVID.modality("video"), samples=frames),))


def windows(dataset: Dataset, starts_s: Sequence[float]) -> list[np.ndarray]:
    """The seconds of each clip's frames."""
    return [moments(dataset.modality("video"), start, start) for start in starts_s]


def cut(file: Path, starts_s: Sequence[float]) -> list[Cut]:
    """Clips of the video, on a recording opened anew: its key stands for the file's contents."""
    recording = Recording("film", "1", {"video": Video(file, SHORT, CROP)}, (), key="film")
    names = [f"film/{number:04d}" for number in range(len(starts_s))]
    return [
        (recording, Clip(name, "film", "1", GLOVID.activities[0], start, start))
        for name, start in zip(names, starts_s, strict=True)
    ]


def ours(dataset: Dataset, file: Path, starts_s: Sequence[float], how: Extraction, device: str) -> np.ndarray:
    """Features by plait, with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PLAIT_CACHE"] = cache
        made = extract(dataset, cut(file, starts_s), "video", how, device=device)
        grids: np.ndarray = np.load(made.written()[0])
        return grids


def plain(
    dataset: Dataset, file: Path, starts_s: Sequence[float], network: nn.Module, device: str
) -> np.ndarray:
    """Features in the straightforward way."""
    rows = []
    for seconds in windows(dataset, starts_s):
        clip = torch.from_numpy(decoded(file, seconds)).float().to(device) / 127.5 - 1
        with settled(), torch.inference_mode():
            rows.append(network(clip.unsqueeze(0))[0].cpu().numpy().astype(np.float16))
    with tempfile.TemporaryFile() as made:
        np.save(made, np.stack(rows))
    return np.stack(rows)


def decoded(file: Path, seconds: np.ndarray) -> np.ndarray:
    """One clip's pictures, decoded from the key frame before it on."""
    wanted = np.floor(seconds * RATE_HZ + 1e-3).astype(int).tolist()
    pictures: list[np.ndarray] = []
    with av.open(str(file)) as container:
        track = container.streams.video[0]
        assert track.time_base is not None
        container.seek(int(seconds[0] / track.time_base), stream=track)
        for frame in container.decode(track):
            if frame.time is not None and round(frame.time * RATE_HZ) == wanted[len(pictures)]:
                width = round(frame.width * SHORT / frame.height)
                small = frame.reformat(
                    width, SHORT, "rgb24", interpolation=Interpolation.BILINEAR
                ).to_ndarray()
                top, left = (SHORT - CROP) // 2, (width - CROP) // 2
                pictures.append(small[top : top + CROP, left : left + CROP])
            if len(pictures) == len(wanted):
                break
    return np.stack(pictures)


def parts(
    dataset: Dataset,
    file: Path,
    starts_s: Sequence[float],
    network: nn.Module,
    engine: str,
    rounds: int,
    device: str,
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds a clip of each part by itself, plait's and the plain way's; plait's `ready` once for all."""
    asked = windows(dataset, starts_s)
    modality, pictures = dataset.modality("video"), Video(file, SHORT, CROP).at(asked[0])
    decoded_already = Recording("memory", "1", {"video": Frames(asked[0], pictures)}, ())
    memory = [(decoded_already, replace(cut(file, [0.0])[0][1], start_s=asked[0][0]))]
    clip = rgb(pictures).unsqueeze(0).float().to(device)
    start = CLOCK()
    run = accelerate(copy.deepcopy(network), clip, engine)
    ready = CLOCK() - start
    grid = run(clip)

    def decode() -> None:
        stream = Forward(Video(file, SHORT, CROP), asked)
        for seconds in asked:
            stream.at(seconds)

    def eager() -> None:
        with torch.inference_mode():
            network(clip)

    def plainly() -> None:
        for seconds in asked:
            decoded(file, seconds)

    with tempfile.TemporaryFile() as made:

        def write() -> None:
            made.write(grid.cpu().numpy().astype("<f2").tobytes())
            made.flush()

        steps: dict[str, Callable[[], object]] = {
            "decode": decode,
            "prepare": lambda: next(tensors(modality, memory)).unsqueeze(0).float(),
            "network": partial(run, clip),
            "write": write,
            "plain decode": plainly,
            "plain network": eager,
        }
        cards = {name: steps.pop(name) for name in ("network", "plain network")}
        with settled():
            median = medians({**in_turn(cards, rounds, device), **in_turn(steps, rounds)})
    each = {name: value / (len(asked) if name.endswith("decode") else 1) for name, value in median.items()}
    theirs = {name: each.pop(f"plain {name}") for name in ("decode", "network")}
    return {**each, "ready": ready}, theirs


def main() -> None:
    """Compare the features, then time both ways in turn, then the parts."""
    parser = options(__doc__, rounds=3, device=True)
    parser.add_argument("--seconds", type=float, default=24.0, help="length of the video")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--engine", choices=ENGINES, default="torch")
    args = parser.parse_args()
    threads, rounds, seconds, size, frames = args.threads, args.rounds, args.seconds, (1920, 1080), FRAMES
    if args.quick:
        threads, rounds, seconds, size, frames = 1, 1, 0.5, (640, 360), 4
    length_s, dataset = frames / FRAME_HZ, data_set(frames)
    torch.set_num_threads(threads)
    how = Extraction("plait.pretrained:efficientnet_lite0", engine=args.engine)
    network = efficientnet_lite0((frames, CROP, CROP, 3)).eval().requires_grad_(False).to(args.device)
    result: dict[str, object] = {**machine(threads, args.device), "engine": args.engine}
    result |= {"video_s": seconds, "rounds": rounds}
    print(
        f"{seconds:g} s of {size[0]} x {size[1]} at {RATE_HZ} Hz through EfficientNet-Lite0, "
        f"engine {args.engine}"
    )
    print(said(machine(threads, args.device)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "film.mp4"
        film(file, round(seconds * RATE_HZ), width=size[0], height=size[1], rate_hz=RATE_HZ)
        for overlap, stride_s in {"back to back": length_s, "half overlapping": length_s / 2}.items():
            starts_s = np.arange(0, seconds - length_s + 1e-6, stride_s).tolist()
            steps: dict[str, Callable[[], np.ndarray]] = {
                "plait": partial(ours, dataset, file, starts_s, how, args.device),
                "plain": partial(plain, dataset, file, starts_s, network, args.device),
            }
            made = {name: step().astype(np.float32) for name, step in steps.items()}
            apart = float(np.abs(made["plait"] - made["plain"]).max() / np.abs(made["plain"]).max())
            assert apart < 5e-3, f"features differ by {apart:.1e} of the largest"
            took = medians(in_turn(steps, rounds))
            rates = {name: len(starts_s) / value for name, value in took.items()}
            ratio = took["plain"] / took["plait"]
            result[overlap] = {
                "clips": len(starts_s),
                "clips_per_s": rates,
                "ratio": ratio,
                "difference": apart,
            }
            print(f"{overlap}: {len(starts_s)} clips, largest difference {apart:.1e} of the largest feature")
            for name, rate in rates.items():
                print(
                    f"  {name:8} {rate:6.3f} clips a second  {took[name] / took['plait']:5.2f} x plait's time"
                )
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network(torch.zeros(1, frames, CROP, CROP, 3, device=args.device))
        peak, operations = matmul_flops(min(rounds, 3), args.device), counter.get_total_flops()
        own, theirs = parts(dataset, file, starts_s, network, args.engine, rounds, args.device)
    reached = {
        way: operations / one["network"] / peak for way, one in {"plait": own, "plain": theirs}.items()
    }
    result |= {"seconds_a_clip": own, "plain_seconds_a_clip": theirs}
    result |= {"flops_a_clip": operations, "peak_flops": peak, "of_peak": reached}
    print("half overlapping, each part by itself, seconds a clip (ready: once):")
    for way, one in {"plait": own, "plain": theirs}.items():
        print(f"  {way:6}" + ", ".join(f"{name} {value:.3f}" for name, value in one.items()))
    print(
        f"network: {operations / 1e9:.1f} GFLOP a clip; of the peak, {peak / 1e9:.0f} GFLOP a second, "
        f"plait reaches {reached['plait']:.0%}, eager PyTorch {reached['plain']:.0%}"
    )
    finish(args.json, result)


if __name__ == "__main__":
    main()
