"""1080p60 video to 15 frames per second of 224 x 224: plait's reader against decoding everything, in one run.

    python benchmarks/decode.py [--seconds 10] [--rounds 3] [--json FILE]

The file is made first: H.264, 1920 x 1080, 60 frames per second, a moving texture with noise, x264's preset veryfast
at crf 18 (B-frames, a key frame every second), which gives a camera's bit rate. `plait` is `Video(file).at(...)`,
finding the times included. `decode all` is the straightforward way: every frame decoded with PyAV's defaults, every
fourth to PIL, short side 256, centre 224. `convert all` does so for every frame and throws three quarters away. Rounds
are interleaved, so that whatever else the machine does hits all alike; medians are printed. First the pictures are
compared: same frames, small differences.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image
from PIL import __version__ as pillow

from plait.recordings.video import Video

WIDTH, HEIGHT, RATE_HZ, STEP, SHORT, CROP = 1920, 1080, 60, 4, 256, 224


def main() -> None:
    """Make the video, compare what the three read, then time them in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        _make(file, round(options.seconds * RATE_HZ))
        readers: dict[str, Callable[[], np.ndarray]] = {
            "plait": lambda: Video(file, SHORT, CROP).at(np.arange(0, options.seconds, STEP / RATE_HZ)),
            "decode all": lambda: _straightforward(file, convert_all=False),
            "convert all": lambda: _straightforward(file, convert_all=True),
        }
        ours, theirs = readers["plait"](), readers["decode all"]()
        assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
        apart = np.abs(ours.astype(np.int16) - theirs).mean(axis=(1, 2, 3))
        shifted = np.abs(ours[1:].astype(np.int16) - theirs[:-1]).mean(axis=(1, 2, 3))
        assert apart.max() < 5 < shifted.min(), "not the same frames"
        times: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(options.rounds):
            for name, read in readers.items():
                start = time.perf_counter()
                read()
                times[name].append(time.perf_counter() - start)
        size_mb = file.stat().st_size / 1e6
    median = {name: statistics.median(values) for name, values in times.items()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    result = {
        "seconds": median,
        "ratio_to_decode_all": median["decode all"] / median["plait"],
        "ratio_to_convert_all": median["convert all"] / median["plait"],
        "mean_difference": float(apart.mean()),
        "video_s": options.seconds,
        "video_mbit_per_s": 8 * size_mb / options.seconds,
        "rounds": options.rounds,
        "cores": cores,
        "av": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
        "pillow": pillow,
        "machine": platform.machine(),
    }
    rate = f"{8 * size_mb / options.seconds:.0f} Mbit/s"
    print(f"{options.seconds:g} s of 1080p60 H.264 ({rate}) to 15 frames per second, 224 px, {cores} cores")
    print(f"PyAV {result['av']} (libavcodec {result['libavcodec']}), Pillow {pillow}, {platform.machine()}")
    for name, value in median.items():
        print(f"  {name:12s} {value:7.2f} s   {value / median['plait']:5.2f} x plait's")
    print(f"mean difference of the pictures {apart.mean():.1f} of 255 (next frame: {shifted.mean():.1f})")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def _straightforward(file: Path, *, convert_all: bool) -> np.ndarray:
    """Decode every frame with PyAV's defaults, resize and crop with PIL, keep every fourth."""
    pictures = []
    with av.open(str(file)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if convert_all or index % STEP == 0:
                picture = _resized(frame.to_image())  # type: ignore[no-untyped-call]
                if index % STEP == 0:
                    pictures.append(picture)
    return np.stack(pictures)


def _resized(image: Image.Image) -> np.ndarray:
    scale = SHORT / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    top, left = (height - CROP) // 2, (width - CROP) // 2
    return small[top : top + CROP, left : left + CROP]


def _make(file: Path, frames: int) -> None:
    """Write a texture that moves, with fresh noise on every frame as cameras have."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (HEIGHT // 40, WIDTH // 40, 3), np.uint8)
    texture = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    noise = rng.integers(0, 16, (HEIGHT, WIDTH, 1), np.uint8)
    with av.open(str(file), "w") as container:
        track = container.add_stream(
            "libx264", rate=RATE_HZ, options={"preset": "veryfast", "crf": "18", "g": str(RATE_HZ)}
        )
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            grain = np.roll(noise, rng.integers(0, HEIGHT, 2), (0, 1))
            picture = np.minimum(np.roll(texture, (3 * index, 7 * index), (0, 1)), 240) + grain
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(track.encode())


if __name__ == "__main__":
    main()
