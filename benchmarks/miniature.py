"""GloVid in miniature: simulated recordings, in each form in which plait takes it, through the paper's study.

    python benchmarks/miniature.py --out DIR [--people 4] [--clips 8] [--epochs 1] [--json FILE]

Every step is a command that is printed before it is run: simulate, ingest, sync, a detector of hands, and
`plait reproduce glovid` on the recordings, on the clips as `video.npy` of pictures, and on them as
`video.npy` of I3D's features. Public weights are not needed: files of the same keys with random values stand
for them, so that the numbers say nothing of the paper. The same clips in three forms have to come to the same
tables; that is checked at the end. What stands in DIR already is not made again.
"""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
import torchvision
from torch import Tensor, nn

from plait.clips import Cut, listed, tensors
from plait.clips.windows import moments
from plait.datasets.glovid import GLOVID
from plait.encoders.i3d import I3D
from plait.features import Extraction, extract
from plait.recordings.folder import read_sync
from plait.store import atomic, write_json

SECONDS: dict[str, float] = {}
STEPS = 60  # of the detector


def plait(*words: object) -> None:
    """Run a command of plait's, and keep its seconds."""
    said = shlex.join(map(str, words))
    print(f"\nplait {said}", flush=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "plait", *map(str, words)], check=True)
    SECONDS[said] = time.perf_counter() - start


def random_weights(network: nn.Module, file: Path) -> Path:
    """A file of a network's keys whose values keep activations alive."""
    if file.is_file():
        return file
    torch.manual_seed(0)
    made: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            made[name] = value
        elif name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            made[name] = torch.ones_like(value)
        elif value.ndim > 1:
            made[name] = torch.randn(value.shape) * (2 / value[0].numel()) ** 0.5
        else:
            made[name] = torch.zeros_like(value)
    torch.save(made, file)
    return file


def recorded(out: Path, people: int, clips: int) -> None:
    """Raw recordings with claps, ingested and synchronised."""
    plait("simulate", "--out", out / "raw", "--subjects", people, "--clips", clips)
    for raw in sorted((out / "raw").iterdir()):
        if not (out / "recordings" / raw.name / "sync.json").is_file():
            plait("ingest", raw, "--out", out / "recordings", "--template", "gopro-gloves")
            plait("sync", out / "recordings" / raw.name)
    for folder in sorted((out / "recordings").iterdir()):
        unsure = {log: clock.offset_s for log, clock in read_sync(folder).items() if clock.status == "unsure"}
        if unsure:  # a person would look at sync.svg now
            plait("sync", folder, *(word for log, s in unsure.items() for word in ("--offset", f"{log}={s}")))


def kept(out: Path, name: str, cuts: list[Cut], video: np.ndarray | None, hands: pl.DataFrame) -> Path:
    """Clips as whoever preprocessed them would pass them on: of pictures where there are no features."""
    folder = out / name
    if folder.is_dir():
        return folder
    with atomic(folder) as made:
        made.mkdir()
        modality = GLOVID.modality("video")
        if video is None:
            array = np.lib.format.open_memmap(
                made / "video.npy", "w+", np.uint8, (len(cuts), 79, 224, 224, 3)
            )
            for row, (recording, clip) in enumerate(cuts):
                array[row] = recording.streams["video"].at(moments(modality, clip.start_s, clip.stop_s))
        else:
            np.save(made / "video.npy", video)
        np.save(
            made / "gloves.npy", np.stack([one.numpy() for one in tensors(GLOVID.modality("gloves"), cuts)])
        )
        rows = [(clip.name, clip.subject, clip.activity) for _, clip in cuts]
        table = pl.DataFrame(rows, schema=["clip", "subject", "activity"], orient="row")
        counted = hands.select("clip", hands="count")
        table.join(counted, on="clip", maintain_order="left").write_csv(made / "clips.csv")
    return folder


def main() -> None:
    """Make, run, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--clips", type=int, default=8, help="of each person")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for the seconds of each command")
    args = parser.parse_args()
    out: Path = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    recorded(out, args.people, args.clips)
    if not (out / "detector").is_dir():
        plait("hands", "boxes", out / "raw", "--out", out / "boxes")
        plait("hands", "train", out / "boxes", "--out", out / "detector", "--steps", STEPS)
    i3d = random_weights(I3D("logits"), out / "rgb_imagenet.pt")
    resnet = random_weights(torchvision.models.resnet50(), out / "resnet50.pt")
    networks = [
        *("--set", f"encoders.video.features.args.weights={i3d}"),
        *("--set", f"methods.static.encoders.video.features.args.weights={resnet}"),
    ]
    short = ["--set", f"train.max_epochs={args.epochs}"]

    def study(data: Path, *more: object) -> Path:
        run = out / f"run-{data.name}"
        plait("reproduce", "glovid", "--data", data, "--out", run, *short, *more)
        return run

    detector = ["--detector", out / "detector"]
    runs = [study(out / "recordings", "--clips", args.clips, *detector, *networks)]
    hands = pl.read_parquet(runs[0] / "hands.parquet")
    cuts = listed(GLOVID, runs[0] / "clips", ["video", "gloves"])
    runs.append(study(kept(out, "preprocessed", cuts, None, hands), *detector, *networks))
    how = Extraction("plait.pretrained:i3d", {"weights": str(i3d)})
    grids = np.load(extract(GLOVID, cuts, "video", how).written()[0], mmap_mode="r")  # found, not made
    runs.append(study(kept(out, "features", cuts, grids, hands)))

    first, second, third = (
        {row["method"]: row["accuracy"] for row in pl.read_csv(run / "table.csv").to_dicts()} for run in runs
    )
    alike = [name for name in third if first[name] == second[name] == third[name]]
    print(f"\n{len(alike)} of {len(third)} rows are the same in all three forms")
    if args.json:
        write_json(args.json, {"seconds": SECONDS, "rows": len(third), "alike": len(alike)})
    if len(alike) < len(third) or first["static"] != second["static"]:
        sys.exit("the three forms come to different tables")


if __name__ == "__main__":
    main()
