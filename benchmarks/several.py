"""Several films at a time, within a memory: features and clips by a crew of processes against one at a time.

    python benchmarks/several.py [--films 3] [--seconds 10] [--workers N] [--memory GB] [--rounds 1]
                                 [--quick] [--json FILE]

The films are made first: H.264, 1920 x 1080, 60 frames per second, the last three times as long as the
others, whose length is --seconds. Clips are GloVid's, 79 frames of 224 x 224 at 15 per second, back to back.
`features` are EfficientNet-Lite0's, made by `plait.features.extract` with one thread a process; `all threads`
is one film at a time with as many threads as there are cores. `clips` is what a study does with films that it
reads itself. Each begins with an empty cache, getting ready included. The files of a crew are held against
those of one at a time: names and checksums are the same. Rounds are interleaved; medians are printed, and the
most that a process and its children held beyond the start (RssAnon, looked at ten times a second).
"""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from common import film, finish, in_turn, machine, medians, options, rss_anon_mb, said
from features import CROP, RATE_HZ, SHORT, data_set
from plait.clips import Cut, apart, stored
from plait.compute.crew import Crew
from plait.compute.machine import cores
from plait.datasets.glovid import FRAME_HZ, FRAMES, GLOVID
from plait.features import Extraction, extract
from plait.recordings.video import Video
from plait.store import cache_folder, checksum
from plait.types import Clip, Dataset, Recording

LITE0 = Extraction("plait.pretrained:efficientnet_lite0")
SMALL = Extraction("plait.encoders.video:VideoNet")
EVERY_S = 0.1


def cuts_of(films: list[Path], frames: int) -> list[Cut]:
    """Clips back to back of recordings opened anew."""
    cuts: list[Cut] = []
    for file in films:
        video, name = Video(file, SHORT, CROP), file.stem
        recording = Recording(name, name, {"video": video}, (), key=f"{name}, {file.stat().st_size} bytes")
        for number in range(int(video.ends[1] * FRAME_HZ) // frames):
            start = number * frames / FRAME_HZ
            cuts.append((recording, Clip(f"{name}/{number}", name, name, GLOVID.activities[0], start, start)))
    return cuts


def features(
    dataset: Dataset, films: list[Path], frames: int, how: Extraction, crew: Crew | None, threads: int
) -> None:
    """Features of all clips."""
    extract(dataset, cuts_of(films, frames), "video", how, threads=threads, crew=crew)


def clips(dataset: Dataset, films: list[Path], frames: int, crew: Crew | None) -> None:
    """Clips of all films in the cache, as a study finds them."""
    cuts = cuts_of(films, frames)
    if crew:
        apart.cut_apart(dataset, cuts, ["video"], crew)
    stored(dataset, cuts, ["video"])


@contextmanager
def empty_cache() -> Iterator[None]:
    """A cache of its own within."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PLAIT_CACHE"] = cache
        yield


def anew(make: Callable[[], None], most: list[float], left: list[dict[str, str]]) -> None:
    """With an empty cache; `most` is told what was held, `left` which files are left, and what they hold."""
    before, highest, over = rss_anon_mb("self"), [0.0], threading.Event()

    def look() -> None:
        while not over.wait(EVERY_S):
            highest.append(rss_anon_mb("self"))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with empty_cache():
            make()
            files = [*cache_folder("features").glob("*.npy"), *cache_folder("clips").glob("*.npy")]
            left.append({file.name: checksum(file) for file in files})
    finally:
        over.set()
        looking.join()
    most.append(max(highest) - before)


def main() -> None:
    """Make the films, compare what is left, then time the ways in turn."""
    parser = options(__doc__, rounds=1)
    parser.add_argument("--films", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=max(cores(), 2))
    parser.add_argument("--memory", type=float, help="GB that the crew may hold")
    args = parser.parse_args()
    seconds, frames, size, how = args.seconds, FRAMES, (1920, 1080), LITE0
    if args.quick:
        args.films, args.rounds, args.workers = 2, 1, 1
        seconds, frames, size, how = 0.5, 5, (320, 240), SMALL
    crew = Crew(args.workers, int(1e9 * args.memory) if args.memory else None)
    dataset = data_set(frames)
    torch.set_num_threads(1)
    apart.LEAST = 0  # of films however small
    with tempfile.TemporaryDirectory() as folder:
        films = [Path(folder) / f"film-{number}.mp4" for number in range(args.films)]
        for file in films:
            length = round(seconds * RATE_HZ) * (3 if file == films[-1] else 1)
            film(file, length, width=size[0], height=size[1], rate_hz=RATE_HZ)
        given = dataset, films, frames
        ways: dict[str, Callable[[], None]] = {
            "features, one at a time": partial(features, *given, how, None, 1),
            "features, crew": partial(features, *given, how, crew, 1),
            "features, all threads": partial(features, *given, how, None, cores()),
            "clips, one at a time": partial(clips, *given, None),
            "clips, crew": partial(clips, *given, crew),
        }
        most: dict[str, list[float]] = {name: [] for name in ways}
        left: dict[str, list[dict[str, str]]] = {name: [] for name in ways}
        timed = {name: partial(anew, make, most[name], left[name]) for name, make in ways.items()}
        median = medians(in_turn(timed, args.rounds))
    for kind in ("features", "clips"):
        first, *others = left[f"{kind}, one at a time"] + left[f"{kind}, crew"]
        assert first and all(first == other for other in others), kind  # films of one length are equal
    told = machine(1)
    print(f"{args.films} films, {args.workers} processes; {said(told)}")
    rows = {}
    for name, value in median.items():
        ratio = median[f"{name.partition(',')[0]}, one at a time"] / value
        rows[name] = {"seconds": value, "ratio": ratio, "most_mb": max(most[name])}
        print(f"  {name:26s} {value:8.1f} s   {ratio:5.2f} x   held {max(most[name]):6.0f} MB")
    finish(args.json, {**told, "workers": args.workers, "memory_gb": args.memory, "ways": rows})


if __name__ == "__main__":
    main()
