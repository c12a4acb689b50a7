"""1080p60 video to 15 frames per second of 224 x 224: plait's reader against decoding everything, in one run.

    python benchmarks/decode.py [--seconds 10] [--slices 2] [--rounds 3] [--quick] [--json FILE]

The file is made first: H.264, 1920 x 1080, 60 frames per second, a moving texture with noise, x264's preset
veryfast at crf 18 (B-frames, a key frame every second), which gives a camera's bit rate. `plait` is
`Video(file).at(...)`, finding the times included. `decode all` is the straightforward way: every frame
decoded with PyAV's defaults, every fourth to PIL, short side 256, centre 224. PyAV's default is a thread for
each slice of a picture; `decode all, AUTO` has FFmpeg's frame threads as well. `convert all` resizes every
frame and throws three quarters away. Where torchcodec is installed (it is no part of plait), its
`VideoDecoder` reads the same frames and resizes them as it decodes. Rounds are interleaved, so that whatever
else the machine does hits all alike; medians are printed, of the clock and of what all threads together had
of processors. First the pictures are compared: same frames, small differences. Of plait's time, `times` reads
the packets, `decoding` is FFmpeg's work on the packets that are not passed over, and the rest is resizing.
"""

import importlib
import importlib.util
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from PIL import __version__ as pillow

from common import film, finish, in_turn, machine, medians, options, said
from plait.recordings.decoding import frames
from plait.recordings.packets import read_packets
from plait.recordings.video import Video

RATE_HZ, STEP, SHORT, CROP = 60, 4, 256, 224


def main() -> None:
    """Make the video, compare what the three read, then time them in turn."""
    parser = options(__doc__, rounds=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--slices", type=int, default=2, help="of each picture")
    args = parser.parse_args()
    rounds, seconds, size = (1, 1.0, (640, 360)) if args.quick else (args.rounds, args.seconds, (1920, 1080))
    asked = np.arange(0, seconds, STEP / RATE_HZ)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        film(
            file,
            round(seconds * RATE_HZ),
            width=size[0],
            height=size[1],
            rate_hz=RATE_HZ,
            slices=args.slices,
        )
        mbit_per_s = 8e-6 * file.stat().st_size / seconds
        readers: dict[str, Callable[[], np.ndarray]] = {
            "plait": lambda: Video(file, SHORT, CROP).at(asked),
            "decode all": lambda: _straightforward(file, convert_all=False),
            "decode all, AUTO": lambda: _straightforward(file, convert_all=False, threads="AUTO"),
            "convert all": lambda: _straightforward(file, convert_all=True),
        }
        if importlib.util.find_spec("torchcodec"):
            readers["torchcodec"] = lambda: _by_torchcodec(file, asked, size)
            assert np.abs(readers["torchcodec"]().astype(np.int16) - readers["plait"]()).mean() < 5
        ours, theirs = readers["plait"](), readers["decode all"]()
        assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
        apart = np.abs(ours.astype(np.int16) - theirs).mean(axis=(1, 2, 3))
        shifted = np.abs(ours[1:].astype(np.int16) - theirs[:-1]).mean(axis=(1, 2, 3))
        assert apart.max() < 5 < shifted.min(), "not the same frames"
        parts = {"times": lambda: read_packets(file), "times and decoding": lambda: _decoded(file, asked)}
        worked: dict[str, list[float]] = {}
        steps = {
            name: partial(_counted, step, worked.setdefault(name, []))
            for name, step in {**readers, **parts}.items()
        }
        took = in_turn(steps, rounds)
    median, work = medians(took), medians(worked)
    spent = {
        "times": work["times"],
        "decoding": work["times and decoding"] - work["times"],
        "resizing": work["plait"] - work["times and decoding"],
    }
    ratios = {name: median[name] / median["plait"] for name in readers}
    by_work = {name: work[name] / work["plait"] for name in readers}
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    told = machine(torch.get_num_threads())
    result = {
        **told,
        "seconds": {name: median[name] for name in readers},
        "processor_seconds": {name: work[name] for name in readers},
        "ratio_to_decode_all": ratios["decode all"],
        "ratio_to_convert_all": ratios["convert all"],
        "processor_ratios": by_work,
        "plait_spends": spent,
        "slices": args.slices,
        "mean_difference": float(apart.mean()),
        "video_s": seconds,
        "video_mbit_per_s": mbit_per_s,
        "rounds": rounds,
        "av": av.__version__,
        "libavcodec": codec,
        "pillow": pillow,
    }
    print(
        f"{seconds:g} s of {size[0]} x {size[1]} at {RATE_HZ} Hz, "
        f"H.264 ({mbit_per_s:.0f} Mbit/s, {args.slices} slices) to 15 Hz, 224 px"
    )
    print(f"{said(told)}, PyAV {av.__version__} (libavcodec {codec}), Pillow {pillow}")
    for name, ratio in ratios.items():
        print(
            f"  {name:16s} {median[name]:7.2f} s {ratio:6.2f} x plait's   "
            f"processors {work[name]:7.2f} s {by_work[name]:6.2f} x"
        )
    print("plait's processors: " + ", ".join(f"{name} {value:.2f} s" for name, value in spent.items()))
    print(f"mean difference of the pictures {apart.mean():.1f} of 255 (next frame: {shifted.mean():.1f})")
    finish(args.json, result)


def _counted(step: Callable[[], object], worked: list[float]) -> None:
    """Do a step; how long processors worked for this process meanwhile."""
    start = time.process_time()
    step()
    worked.append(time.process_time() - start)


def _decoded(file: Path, seconds: np.ndarray) -> int:
    """How many frames come out of the decoder for these seconds; none is resized."""
    packets = read_packets(file)
    shown = np.searchsorted(packets.times, seconds + packets.tolerance_s, side="right") - 1
    wanted = np.sort(packets.shown[np.unique(shown)])
    return sum(1 for _ in frames(file, packets, wanted, lambda frame, reformatter: None))


def _straightforward(file: Path, *, convert_all: bool, threads: str = "SLICE") -> np.ndarray:
    """Decode every frame with PyAV's defaults, resize and crop with PIL, keep every fourth."""
    pictures = []
    with av.open(str(file)) as container:
        container.streams.video[0].thread_type = threads
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


def _by_torchcodec(file: Path, asked: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The same frames by torchcodec, which resizes as it decodes."""
    codec: Any = importlib.import_module("torchcodec")
    width = round(size[0] * SHORT / size[1])
    small = [codec.transforms.Resize((SHORT, width))]
    video = codec.decoders.VideoDecoder(
        str(file), dimension_order="NHWC", num_ffmpeg_threads=0, transforms=small
    )
    wanted = np.round(asked * RATE_HZ).astype(int).tolist()
    pictures: np.ndarray = video.get_frames_at(wanted).data.numpy()
    top, left = (SHORT - CROP) // 2, (width - CROP) // 2
    return pictures[:, top : top + CROP, left : left + CROP]


if __name__ == "__main__":
    main()
