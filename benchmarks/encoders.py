"""One training epoch of every UTD-MHAD encoder, and of a plain 3D network on the depth, in one run.

    python benchmarks/encoders.py [--clips 432] [--batch 16] [--rounds 3] [--threads 1] [--device cuda]
                                  [--json FILE]

An epoch is `clips` generated clips in batches: augmentation, forward, mean over the grid's positions, a
linear classifier, backward, AdamW. 432 clips are four people. The 3D network has about the depth network's
widths, on clips of 32x64x64 in channels first: three 3x3x3 convolutions with batch normalisation, ReLU and
maximum pooling, then a mean. Medians of interleaved rounds. On a card, clips are augmented where plait's jobs
augment them, on the CPU, and a first round does not count.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import finish, machine, options, said, settle
from plait.compute.machine import settled
from plait.datasets.utd_mhad import UTD_MHAD, rotate_rescale_warp, shift_crop, turn_rescale_warp

SHAPES = {"depth": (32, 64, 64), "inertial": (64, 6), "skeleton": (32, 20, 3)}
AUGMENTS = {"depth": shift_crop, "inertial": rotate_rescale_warp, "skeleton": turn_rescale_warp}


class Plain3D(nn.Module):
    """The usual small 3D network, to a channels-last grid."""

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for before, after, pool in ((1, 16, (1, 2, 2)), (16, 32, (2, 2, 2)), (32, 48, (2, 2, 2))):
            stages += [nn.Conv3d(before, after, 3, padding=1, bias=False), nn.BatchNorm3d(after), nn.ReLU()]
            stages += [nn.MaxPool3d(pool)]
        self.stages = nn.Sequential(*stages)

    def forward(self, depth: Tensor) -> Tensor:
        """Grid `(b, 8, 8, 8, 48)` of `(b, 32, 64, 64)`."""
        grid: Tensor = self.stages(depth.unsqueeze(1)).movedim(1, -1)
        return grid


def epoch(
    encoder: nn.Module, augment: Callable[[Tensor], Tensor], clips: Tensor, batch: int, device: str
) -> float:
    """Seconds of one epoch."""
    with torch.no_grad():
        classify = nn.Linear(encoder(clips[:2].to(device)).shape[-1], 27).to(device)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *classify.parameters()], lr=1e-3)
    labels = torch.arange(len(clips), device=device) % 27
    settle(device)
    start = time.perf_counter()
    for x, y in zip(torch.split(clips, batch), torch.split(labels, batch), strict=True):
        loss = F.cross_entropy(classify(encoder(augment(x).to(device)).flatten(1, -2).mean(1)), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    settle(device)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, rounds=3, device=True)
    parser.add_argument("--clips", type=int, default=432)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.quick:
        args.clips, args.rounds = 4, 1
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clips = {name: torch.rand(args.clips, *shape) for name, shape in SHAPES.items()}
    rows = {name: (UTD_MHAD.modality(name).encoder(shape), name) for name, shape in SHAPES.items()}
    rows["plain 3D network, depth"] = (Plain3D(), "depth")
    seconds: dict[str, list[float]] = {row: [] for row in rows}
    unseen = int(args.device != "cpu")
    with settled():
        for _ in range(args.rounds + unseen):
            for row, (encoder, name) in rows.items():
                took = epoch(encoder.to(args.device), AUGMENTS[name], clips[name], args.batch, args.device)
                seconds[row].append(took)
    medians = {row: statistics.median(times[unseen:]) for row, times in seconds.items()}
    told = machine(args.threads, args.device)
    print(f"{args.clips} clips, batch {args.batch}; {said(told)}")
    for row, median in medians.items():
        print(f"{row:24} {median:7.2f} s an epoch")
    ratio = medians["plain 3D network, depth"] / medians["depth"]
    print(f"the depth network takes 1/{ratio:.1f} of the plain 3D network's time")
    finish(args.json, {**told, "seconds": medians, "ratio": ratio})


if __name__ == "__main__":
    main()
